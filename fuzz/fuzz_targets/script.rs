//! Arbitrary scripts: each one is parsed, or is refused with a message and the wrong line.
#![cfg_attr(feature = "libfuzzer", no_main)]

use vb3_fuzz::random::Rest;
use vb3_run::script::{MAX_STEPS, Script};

vb3_fuzz::target!(|input: Rest| {
    let Ok(text) = std::str::from_utf8(&input.0) else {
        return;
    };
    let lines = text.split('\n').count();
    match Script::parse(text) {
        Ok(script) => {
            assert!((1..=MAX_STEPS).contains(&script.steps.len()));
            assert!(script.steps.is_sorted_by_key(|step| step.line));
            let lines = 1..=lines;
            assert!(script.steps.iter().all(|step| lines.contains(&step.line)));
        }
        Err(e) => {
            assert!((1..=lines).contains(&e.line), "{e}: {lines} lines");
            assert!(!e.message.is_empty() && !e.message.contains('\n'), "{e}");
        }
    }
});
