//! Arbitrary reports. Each is refused with a message, or `vb3 why` and `vb3 diff` can print it.
#![cfg_attr(feature = "libfuzzer", no_main)]

use vb3_fuzz::random::Rest;
use vb3_report::{diff, why};

vb3_fuzz::target!(|bytes: Rest| {
    let name = format!("vb3-fuzz-{}.json", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, &bytes.0).expect("room for a report");
    match why::load(&path) {
        Ok(report) => {
            let mut text = Vec::new();
            why::print(&report, &mut text).expect("memory takes it");
            assert!(!text.is_empty());
            let same = diff::print((&path, &path), false, &mut text);
            assert_eq!(
                same.expect("a report that was loaded"),
                0,
                "it equals itself"
            );
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
});
