//! Tests in three tiers, and CI.

use crate::setup;
use crate::sh::{self, cmd};
use anyhow::{Result, ensure};
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Run part K of N of the end-to-end tests of `full`, instead of a tier; the last part also runs the unit
    /// and model tests that only `full` runs
    #[arg(long, num_args = 2, value_names = ["K", "N"], conflicts_with = "words", value_parser = clap::value_parser!(u16).range(1..))]
    part: Vec<u16>,
    /// `quick` (short unit, model and documentation tests), `full` (all tests), or arguments for
    /// `cargo test`, such as a test's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// The end-to-end tests. Like other tests, they are built with the features of the whole workspace.
pub(crate) const E2E: &str = "test --workspace --test e2e";
/// Unit and model tests: all tests except the files `e2e` and `program` (of `vb3-intercept`).
const UNIT: &str = "test --workspace --lib --bins --test [!ep]* --test p[!r]*";
/// The quick ones of these: no files `seeds`, `stack` or `streams`, and no tests with ffmpeg in their names.
const QUICK: &str = "test --workspace --exclude vb3-avcodec --no-fail-fast --lib --bins --test [!eps]* \
    --test p[!r]* -- --skip ffmpeg";
const DOC: &str = "test --workspace --doc";

/// Returns cargo's command for tests. None may be skipped, because all programs that they need are installed.
/// Two tests run for each processor, because many wait for other programs.
pub(crate) fn needing_all(line: &str) -> Command {
    let mut cargo = sh::cargo(line);
    cargo.env("VB3_TESTS_NEED_ALL", "1");
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        let processors = available_parallelism().map_or(1, NonZero::get);
        cargo.env("RUST_TEST_THREADS", (2 * processors).to_string());
    }
    cargo
}

/// Runs tests. If they run other programs, first installs what they need.
pub(crate) fn test(args: &TestArgs) -> Result<()> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    if words == ["quick"] {
        // The compiler uses one processor for a crate's documentation tests, so other tests run meanwhile.
        let mut doc = sh::cargo(DOC);
        let doc = doc.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let others = sh::run(sh::cargo(QUICK));
        let doc = doc.wait_with_output()?;
        print!("{}", String::from_utf8_lossy(&doc.stdout));
        eprint!("{}", String::from_utf8_lossy(&doc.stderr));
        ensure!(doc.status.success(), "documentation tests failed");
        return others;
    }
    setup::install(setup::ALL)?;
    if let [number, of] = args.part[..] {
        if number == of {
            sh::run(needing_all(UNIT).args(["--no-fail-fast", "--", "--ignored"]))?;
        }
        let names = names_of(number, of)?;
        let options = ["--", "--include-ignored", "--exact"];
        return sh::run(needing_all(E2E).args(options).args(names));
    }
    match words.as_slice() {
        [] => sh::run(needing_all("test --workspace --no-fail-fast")),
        ["full"] => {
            sh::run(needing_all(UNIT).args(["--no-fail-fast", "--", "--include-ignored"]))?;
            let others = ["--test", "program", "--examples", "--no-fail-fast"];
            sh::run(needing_all("test --workspace").args(others))?;
            sh::run(needing_all(DOC))?;
            sh::run(needing_all(E2E).args(["--", "--include-ignored"]))
        }
        words => {
            let is_package = |word: &&str| word.starts_with("-p") || word.starts_with("--package");
            let all = (!words.iter().any(is_package)).then_some("--workspace");
            sh::run(needing_all("test").args(all).args(words))
        }
    }
}

/// Returns the names of the end-to-end tests.
pub(crate) fn e2e_names() -> Result<Vec<String>> {
    let list = ["--", "--include-ignored", "--list", "--format", "terse"];
    let listed = sh::text(sh::cargo(E2E).args(list))?;
    let names = listed.lines();
    let names = names.filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(str::to_owned).collect())
}

/// Returns the tests of a part: every N-th, so that the slow tests of a module are in different parts.
fn names_of(number: u16, of: u16) -> Result<Vec<String>> {
    ensure!(number <= of, "the parts of {of} are 1 to {of}");
    let names = e2e_names()?.into_iter().skip(usize::from(number - 1));
    let names: Vec<String> = names.step_by(of.into()).collect();
    ensure!(!names.is_empty(), "there are no tests in this part");
    Ok(names)
}

/// Checks that each filter is part of a name. Tests that a stale filter should select would not run.
pub(crate) fn expect_matches(names: &[impl AsRef<str>], filters: &[String]) -> Result<()> {
    let is_stale = |filter: &&str| !names.iter().any(|name| name.as_ref().contains(*filter));
    let stale: Vec<&str> = filters
        .iter()
        .map(String::as_str)
        .filter(is_stale)
        .collect();
    let (count, stale) = (names.len(), stale.join(", "));
    ensure!(stale.is_empty(), "none of {count} names contains: {stale}");
    Ok(())
}

pub(crate) fn run() -> Result<()> {
    let script = sh::root().join(".ci/run");
    sh::run(cmd!("{script}").current_dir(sh::root()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

    #[test]
    fn each_filter_must_match() {
        let names = ["vimc::links", "sensor::modes"];
        let check = |filters: &[&str]| {
            let filters: Vec<String> = filters.iter().copied().map(str::to_owned).collect();
            expect_matches(&names, &filters)
        };
        check(&[]).unwrap();
        check(&["vimc::", "modes"]).unwrap();
        let stale = check(&["vimc::", "typo"]).unwrap_err().to_string();
        assert_eq!(stale, "none of 2 names contains: typo");
    }

    #[test]
    fn unit_tests_are_all_but_two_files() {
        let layers = fs::read_dir(sh::root().join("crates")).unwrap();
        let crates = layers.flat_map(|layer| fs::read_dir(layer.unwrap().path()).unwrap());
        for krate in crates {
            let Ok(tests) = fs::read_dir(krate.unwrap().path().join("tests")) else {
                continue;
            };
            for test in tests {
                let name = test.unwrap().file_name().into_string().unwrap();
                let is_apart = name.starts_with('e') || name.starts_with("pr");
                let is_known = ["e2e", "program", "programs"].contains(&name.as_str());
                assert_eq!(is_apart, is_known, "{UNIT}: {name}");
                let is_slow = name.starts_with('s');
                let is_known = ["seeds.rs", "stack", "streams"].contains(&name.as_str());
                assert_eq!(is_slow, is_known, "{QUICK}: {name}");
            }
        }
    }
}
