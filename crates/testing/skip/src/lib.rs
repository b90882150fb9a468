//! How a test says that it cannot run here.
//!
//! A test that lacks a program, a right or a feature of the kernel calls [`skip`] and returns. It then passes, but
//! `cargo xtask test` lists it with the reason. In the gate (`.ci/run`), which sets `VB3_TESTS_NEED_ALL`, it fails.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// If this environment variable is set, a test that cannot run fails.
pub const NEED_ALL: &str = "VB3_TESTS_NEED_ALL";

/// This environment variable names the file that gets a line for each skipped test.
pub const LIST: &str = "VB3_TESTS_SKIPPED";

/// Says that the test cannot run, and why.
///
/// # Panics
/// Panics in the gate.
#[track_caller]
pub fn skip(reason: impl Display) {
    let need = std::env::var_os(NEED_ALL).is_some();
    assert!(!need, "cannot run, but must here: {reason}");
    elsewhere(reason);
}

/// Says that the test is for another kind of host, and why. The gate accepts this: no host is of both kinds.
pub fn elsewhere(reason: impl Display) {
    let thread = std::thread::current();
    // nextest runs a test in the first thread of its own process.
    let test = std::env::var("NEXTEST_TEST_NAME").ok();
    let test = test.as_deref().or(thread.name()).unwrap_or("a test");
    println!("skipped: {reason}");
    if let Some(file) = std::env::var_os(LIST) {
        let file = File::options().append(true).create(true).open(file);
        // A single write, so that no test of another process writes into the middle of the line.
        let line = format!("{test}: {reason}\n");
        let _only_the_summary_lacks_it = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// Returns whether a program is missing, and if so, calls [`skip`]. `program` is a path, or a name in PATH.
#[track_caller]
pub fn lacks(program: &str) -> bool {
    let there = Path::new(program).is_file()
        || std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
        });
    if !there {
        skip(format_args!(
            "{program} is not installed; `cargo xtask test` installs it"
        ));
    }
    !there
}

#[cfg(test)]
mod tests {
    #[test]
    fn present_programs_are_not_lacking() {
        assert!(!super::lacks("sh") && !super::lacks("/bin/sh"));
    }
}
