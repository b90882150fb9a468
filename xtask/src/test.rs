//! `cargo xtask test`: runs tests. `.config/nextest.toml` says which tests a tier has.

use crate::{setup, sh};
use anyhow::{Context as _, Result};
use fs_err as fs;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::thread::available_parallelism;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// `quick` (short tests without real programs), `full` (all tests), or parts of tests' names; by default, common
    /// real programs on two machines
    words: Vec<String>,
    /// Only the tests of this crate, such as vb3-queue; installs nothing
    #[arg(short, long = "package", value_name = "CRATE")]
    packages: Vec<String>,
}

/// Parts of the names of tests that other tests would disturb, as `.config/nextest.toml` has them. Without nextest,
/// these tests run one after the other, after all others.
const ALONE: [&str; 5] = [
    "stalls::",
    "hostile::",
    "::against_the_clock",
    "swap::",
    "cards::ten_thousand_",
];

/// Which tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    Quick,
    Default,
    Full,
    Gate,
}

/// A command that runs tests, with the summary of those that it skipped.
#[derive(Debug)]
pub(crate) struct Tests {
    command: Command,
    skipped: PathBuf,
}

impl Tests {
    /// Prepares the tests of a tier, except documentation tests. `chosen` are the words that choose packages.
    pub(crate) fn of(tier: Tier, chosen: &[String], filters: &[String]) -> Self {
        let (profile, all) = match tier {
            Tier::Quick => ("quick", false),
            Tier::Default => ("default", false),
            Tier::Full => ("full", true),
            Tier::Gate => ("gate", true),
        };
        let has_nextest = has_nextest();
        let mut cargo = match has_nextest {
            true => sh::cargo("nextest run --no-tests=warn --profile"),
            false => sh::cargo("test --no-fail-fast"),
        };
        if has_nextest {
            cargo.arg(profile);
            cargo.args(all.then_some("--run-ignored=all"));
        }
        cargo.args(chosen);
        match has_nextest {
            true => cargo.args(filters),
            false if tier == Tier::Quick => cargo.args(["--lib", "--bins"]),
            false => {
                cargo.arg("--");
                cargo.args(all.then_some("--include-ignored")).args(filters)
            }
        };
        if has_e2e(chosen) {
            // Many tests wait for other programs.
            let two = 2 * available_parallelism().map_or(1, NonZero::get);
            for variable in ["NEXTEST_TEST_THREADS", "RUST_TEST_THREADS"] {
                if std::env::var_os(variable).is_none() {
                    cargo.env(variable, two.to_string());
                }
            }
        }
        let skipped = sh::target().join("skipped-tests.txt");
        cargo.env("VB3_TESTS_SKIPPED", &skipped);
        let command = cargo;
        Self { command, skipped }
    }

    /// Puts a directory before PATH.
    pub(crate) fn with_programs_of(mut self, dir: PathBuf) -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(dir).chain(std::env::split_paths(&path));
        self.command.env("PATH", std::env::join_paths(path)?);
        Ok(self)
    }

    /// Runs the tests. Lists the tests that could not run here, with the reasons.
    pub(crate) fn run(mut self) -> Result<()> {
        let _none_yet = fs::remove_file(&self.skipped);
        let result = sh::run(&mut self.command);
        let list = fs::read_to_string(&self.skipped).unwrap_or_default();
        let mut lines: Vec<&str> = list.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        if !lines.is_empty() {
            println!("{} of these tests could not run here:", lines.len());
            lines.iter().for_each(|line| println!("  {line}"));
        }
        result
    }
}

/// Returns whether these words choose the tests with real programs.
fn has_e2e(chosen: &[String]) -> bool {
    let mut words = chosen.iter();
    words.any(|word| word == "--workspace" || word == "--package=vb3")
}

fn has_nextest() -> bool {
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        let works = sh::quietly(sh::cargo("nextest --version")).is_ok();
        if !works {
            eprintln!(
                "without cargo-nextest, `cargo test` is used: cargo install --locked cargo-nextest"
            );
        }
        works
    });
    *FOUND
}

/// Runs tests. If they run other programs, first installs what they need.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (tier, filters) = match args.words.split_first() {
        Some((word, rest)) if word == "quick" => (Tier::Quick, rest),
        Some((word, rest)) if word == "full" => (Tier::Full, rest),
        // What the gate runs of `full`.
        Some((word, rest)) if word == "gate" => (Tier::Gate, rest),
        _ => (Tier::Default, &args.words[..]),
    };
    if tier != Tier::Quick && args.packages.is_empty() {
        setup::install(setup::ALL)?;
        if matches!(tier, Tier::Full | Tier::Gate) {
            setup::install(&["browsers"])?;
        }
    }
    let packages = args.packages.iter();
    let mut chosen: Vec<String> = packages.map(|name| format!("--package={name}")).collect();
    if chosen.is_empty() {
        chosen.push("--workspace".to_owned());
    }
    let tests = run_tier(tier, &chosen, filters);
    // With filters, runs no documentation tests: filters choose from the other tests.
    if filters.is_empty() && has_library(&args.packages)? {
        documentation(&chosen)?;
    }
    tests
}

/// Runs the tests of a tier, except documentation tests.
fn run_tier(tier: Tier, chosen: &[String], filters: &[String]) -> Result<()> {
    let is_whole = filters.is_empty() && has_e2e(chosen);
    let mut result = match tier != Tier::Quick && is_whole && !has_nextest() {
        true => {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let skips: Vec<String> = words(&ALONE.map(|name| ["--skip", name]).concat());
            let others = Tests::of(tier, chosen, &skips).run();
            let alone: Vec<String> = words(&[&ALONE[..], &["--test-threads=1"]].concat());
            others.and(Tests::of(tier, chosen, &alone).run())
        }
        false => Tests::of(tier, chosen, filters).run(),
    };
    let has_programs = |word: &String| word == "--workspace" || word.contains("vb3-intercept");
    if matches!(tier, Tier::Full | Tier::Gate)
        && filters.is_empty()
        && chosen.iter().any(has_programs)
    {
        let programs = ["--package=vb3-intercept", "--test=program"].map(str::to_owned);
        result = result.and(Tests::of(Tier::Default, &programs, &[]).run());
    }
    result
}

fn documentation(chosen: &[String]) -> Result<()> {
    sh::run(sh::cargo("test --quiet --doc").args(chosen))
}

/// Returns whether there are documentation tests, which only libraries have: whether one of the `chosen` packages is
/// a library. If no package is chosen, all packages are tested, and some of them are libraries.
fn has_library(chosen: &[String]) -> Result<bool> {
    if chosen.is_empty() {
        return Ok(true);
    }
    let packages = sh::packages("--no-deps")?;
    let find = |name: &String| packages.iter().find(|package| package["name"] == *name);
    let mut any = false;
    for name in chosen {
        let package = find(name).with_context(|| format!("there is no crate {name}"))?;
        let targets = package["targets"].as_array().into_iter().flatten();
        any |= targets.clone().any(|target| target["kind"][0] == "lib");
    }
    Ok(any)
}
