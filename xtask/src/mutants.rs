//! `cargo xtask mutants`: tests a sample of mutants (small changes of the code) by cargo-mutants.

use crate::{sh, table};
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Approximate number of mutants
    #[arg(long, value_name = "N", default_value_t = 300)]
    sample: usize,
    /// Number that chooses them
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Mutants that are tested at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: u32,
    /// Another package whose tests run for each mutant, as vb3-dma's for vb3-dma-test
    #[arg(long, value_name = "PACKAGE")]
    tests: Vec<String>,
    /// Packages, such as vb3-queue
    #[arg(default_values = ["vb3-dma", "vb3-dmabuf", "vb3-plane", "vb3-queue"])]
    packages: Vec<String>,
}

/// Tests a sample of the packages' mutants with each package's tests. Prints the survivors and a table.
///
/// # Errors
/// cargo-mutants is not installed, the tests fail without a mutant, or the packages have no mutants.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        sh::has("cargo-mutants"),
        "cargo-mutants is not installed: cargo install --locked cargo-mutants"
    );
    let all = sh::quietly(mutants("--list --json", &args.packages))?;
    let all: Vec<Value> = serde_json::from_slice(&all).context("cargo mutants --list")?;
    ensure!(!all.is_empty(), "the packages have no mutants");
    let out = sh::target().join("mutants");
    sh::fresh(&out)?;
    let mut cargo = mutants(
        "--no-shuffle --colors=never --cap-lints=true --cargo-arg=--tests --timeout-multiplier=2",
        &args.packages,
    );
    // Most of the time goes into random tests and into linking.
    cargo.envs([
        ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"),
        ("CARGO_PROFILE_DEV_DEBUG", "0"),
        ("PROPTEST_MAX_SHRINK_ITERS", "0"),
        ("RUST_BACKTRACE", "0"),
        ("VB3_TESTS_NEED_ALL", "1"),
    ]);
    if !args.tests.is_empty() {
        let packages = args.tests.iter().chain(&args.packages);
        cargo.args(packages.flat_map(|name| ["--test-package", name]));
        // cargo-mutants measures only the tests of the packages with mutants.
        cargo.arg("--minimum-test-timeout=600");
    }
    cargo.arg("--output").arg(&out);
    cargo.arg(format!("--jobs={}", args.jobs));
    cargo.args(["--sharding=round-robin", "--shard"]);
    cargo.arg(shard(all.len(), args.sample, args.seed));
    eprintln!("results are in {}", out.display());
    // The status is 2 if a mutant survived, and 3 if the tests of one took too long.
    let status = cargo.status().context("cannot run cargo-mutants")?;
    ensure!(
        matches!(status.code(), Some(0 | 2 | 3)),
        "cargo-mutants failed: {status}"
    );
    let text = fs::read_to_string(out.join("mutants.out/outcomes.json"))?;
    let outcomes: Value = serde_json::from_str(&text).context("outcomes.json")?;
    let rows = rows(&outcomes).context("outcomes.json has no such outcomes")?;
    let header = ["package", "caught", "tested", "share"];
    println!("{}", table::format(&header, &rows));
    Ok(())
}

/// Returns a command of cargo-mutants about the packages without their tests and generated bindings.
fn mutants(line: &str, packages: &[String]) -> Command {
    let mut cargo = sh::cargo("mutants --exclude tests --exclude tests.rs --exclude bindings.rs");
    cargo.args(line.split(' '));
    cargo.args(packages.iter().flat_map(|name| ["-p", name]));
    cargo
}

/// Returns the sample as cargo-mutants names it: every n-th mutant, from the one that `seed` chooses.
fn shard(all: usize, sample: usize, seed: u64) -> String {
    let every = all.div_ceil(sample.max(1)).max(1) as u64;
    format!("{}/{every}", seed % every)
}

/// Prints the survivors. Returns the number of caught mutants of each package, or `None` if the outcomes are not as
/// cargo-mutants writes them. Mutants that do not compile are not counted. Mutants whose tests hang count as caught.
fn rows(outcomes: &Value) -> Option<Vec<Vec<String>>> {
    let mut packages: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for outcome in outcomes["outcomes"].as_array()? {
        // The other scenario is the unchanged code.
        let Some(mutant) = outcome["scenario"].get("Mutant") else {
            continue;
        };
        let count = packages.entry(mutant["package"].as_str()?).or_default();
        match outcome["summary"].as_str()? {
            "CaughtMutant" | "Timeout" => count[0] += 1,
            "MissedMutant" => {
                println!("survived: {}", mutant["name"].as_str()?);
                count[1] += 1;
            }
            _ => {}
        }
    }
    let row = |(name, [caught, missed]): (&str, [usize; 2])| {
        let tested = caught + missed;
        let percent = (100 * caught).checked_div(tested).unwrap_or(0);
        let [caught, tested] = [caught, tested].map(|count| count.to_string());
        table::row([name, &caught, &tested, &format!("{percent} %")])
    };
    Some(packages.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_have_about_the_wanted_size() {
        assert_eq!(shard(1000, 300, 6), "2/4");
        assert_eq!(shard(10, 300, 6), "0/1");
        assert_eq!(shard(10, 0, 6), "6/10");
    }

    #[test]
    fn outcomes_of_cargo_mutants_are_read() {
        let text = r#"{"outcomes": [
            {"scenario": "Baseline", "summary": "Success", "log_path": "a.log"},
            {"scenario": {"Mutant": {"name": "a.rs:1:2: replace f with ()", "package": "p", "file": "a.rs"}},
             "summary": "MissedMutant"}], "total_mutants": 1}"#;
        let read = serde_json::from_str(text).unwrap();
        assert_eq!(rows(&read).unwrap(), [["p", "0", "1", "0 %"]]);
        assert_eq!(rows(&Value::Null), None);
    }
}
