//! Tests in three tiers, and CI.

use crate::{setup, sh};
use anyhow::{Context as _, Result, ensure};
use std::process::Command;
use std::str::FromStr;

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Run part K of N of the end-to-end tests of `full`, instead of a tier
    #[arg(long, value_name = "K/N", conflicts_with = "words")]
    part: Option<Part>,
    /// `quick` (unit, model and documentation tests), `full` (all tests), or arguments for
    /// `cargo test`, such as a test's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// One of several parts, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    number: usize,
    of: usize,
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        let (number, of) = numbers.ok_or("write it as K/N, such as 3/8")?;
        if (1..=of).contains(&number) {
            Ok(Self { number, of })
        } else {
            Err("the parts of N are 1/N to N/N")
        }
    }
}

/// The end-to-end tests. Like other tests, they are built with the features of the whole workspace.
pub(crate) const E2E: [&str; 4] = ["test", "--workspace", "--test", "e2e"];
/// Tests of libraries and of model checkers: all except `e2e`, and `program` of `intercept`.
const UNIT: [&str; 6] = ["test", "--workspace", "--lib", "--bins", "--test", "[!ep]*"];
const DOC: [&str; 3] = ["test", "--workspace", "--doc"];

/// Runs tests. If they run other programs, first installs what they need.
///
/// # Errors
/// A test fails, or is skipped although its programs are installed, or an installation fails.
pub(crate) fn test(args: &TestArgs) -> Result<()> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    if words == ["quick"] {
        sh::run(sh::cargo().args(UNIT))?;
        return sh::run(sh::cargo().args(DOC));
    }
    setup::install(setup::ALL)?;
    let cargo = |words: &[&str]| {
        let mut cargo = sh::cargo();
        // Everything is installed, so a test that would be skipped must fail.
        cargo.env("VB3_TESTS_NEED_ALL", "1").args(words);
        cargo
    };
    if let Some(part) = args.part {
        let names = names_of(part)?;
        let mut cargo = cargo(&E2E);
        cargo.args(["--", "--include-ignored", "--exact"]);
        return sh::run(cargo.args(names));
    }
    match words.as_slice() {
        [] => sh::run(&mut cargo(&["test", "--workspace", "--no-fail-fast"])),
        ["full"] => {
            sh::run(cargo(&UNIT).args(["--test", "program", "--examples", "--no-fail-fast"]))?;
            sh::run(&mut cargo(&DOC))?;
            sh::run(cargo(&E2E).args(["--", "--include-ignored"]))
        }
        words => {
            let is_package = |word: &&str| word.starts_with("-p") || word.starts_with("--package");
            let all = (!words.iter().any(is_package)).then_some("--workspace");
            sh::run(cargo(&["test"]).args(all).args(words))
        }
    }
}

/// Returns the tests of a part: every N-th, so that the slow tests of a module are in different parts.
fn names_of(part: Part) -> Result<Vec<String>> {
    let list = ["--", "--include-ignored", "--list", "--format", "terse"];
    let listed = sh::quietly(sh::cargo().args(E2E).args(list))?;
    let listed = String::from_utf8(listed).context("a test's name is not UTF-8")?;
    let names = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    let names = names.skip(part.number - 1).step_by(part.of);
    let names: Vec<String> = names.map(str::to_owned).collect();
    ensure!(!names.is_empty(), "there are no tests in this part");
    Ok(names)
}

/// Runs end-to-end tests one after another. `numbers` are passed in their environment.
///
/// # Errors
/// As [`test()`].
pub(crate) fn one_by_one(
    filter: &str,
    numbers: impl IntoIterator<Item = (&'static str, u32)>,
) -> Result<()> {
    setup::install(setup::ALL)?;
    let mut cargo = sh::cargo();
    cargo.args(E2E).args(["--", filter, "--include-ignored"]);
    cargo.args(["--nocapture", "--test-threads=1"]);
    cargo.env("VB3_TESTS_NEED_ALL", "1");
    let numbers = numbers.into_iter();
    sh::run(cargo.envs(numbers.map(|(name, number)| (name, number.to_string()))))
}

/// Runs everything that must pass, as CI does.
pub(crate) fn run() -> Result<()> {
    sh::run(Command::new(sh::root().join(".ci/run")).current_dir(sh::root()))
}

#[cfg(test)]
mod tests {
    use super::Part;

    #[test]
    fn parts_are_counted_from_one() {
        let part = |text: &str| text.parse::<Part>().ok();
        assert_eq!(part("3/8"), Some(Part { number: 3, of: 8 }));
        for wrong in ["0/8", "9/8", "3", "3/", "x/8", "0/0", ""] {
            assert_eq!(part(wrong), None, "{wrong}");
        }
    }
}
