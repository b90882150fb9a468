//! `cargo xtask mutants`: tests a random sample of mutants (small changes of the code) by cargo-mutants.

use crate::sh;
use crate::table;
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Arguments of `mutants`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of mutants
    #[arg(long, value_name = "N", default_value_t = 300)]
    sample: usize,
    /// Seed that chooses them
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Mutants that are tested at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: u32,
    /// Packages, such as vb3-queue
    #[arg(default_values = ["vb3-dma", "vb3-dmabuf", "vb3-plane", "vb3-queue"])]
    packages: Vec<String>,
}

/// A mutant, as cargo-mutants describes it.
#[derive(Deserialize)]
struct Mutant {
    name: String,
    package: String,
}

/// The content of cargo-mutants' file `outcomes.json`.
#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    scenario: Scenario,
    summary: String,
}

/// The unchanged code, or a mutant.
#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant(Mutant),
}

/// Tests a sample of the packages' mutants with each package's tests. Prints the survivors and a table.
///
/// # Errors
/// cargo-mutants is not installed, the tests fail without a mutant, or a package has no mutant.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        sh::has("cargo-mutants"),
        "cargo-mutants is not installed: cargo install --locked cargo-mutants"
    );
    let sample = sample(all(&args.packages)?, args.sample, args.seed);
    ensure!(!sample.is_empty(), "the packages have no mutants");
    let out = sh::target().join("mutants");
    sh::fresh(&out)?;
    let mut cargo = sh::cargo("mutants --no-shuffle --colors=never --cap-lints=true --output");
    cargo.arg(&out).arg(format!("--jobs={}", args.jobs));
    cargo.args(args.packages.iter().flat_map(|name| ["-p", name]));
    for mutant in &sample {
        let pattern = format!("^{}$", escape(&mutant.name));
        cargo.args(["--re", &pattern]);
    }
    eprintln!(
        "testing {} mutants; results are in {}",
        sample.len(),
        out.display()
    );
    // The status is 2 if a mutant survived, and 3 if the tests of one took too long.
    let status = cargo.status().context("cannot run cargo-mutants")?;
    ensure!(
        matches!(status.code(), Some(0 | 2 | 3)),
        "cargo-mutants failed: {status}"
    );
    let text = fs::read_to_string(out.join("mutants.out/outcomes.json"))?;
    let outcomes: Outcomes = serde_json::from_str(&text).context("outcomes.json")?;
    show(&outcomes.outcomes);
    Ok(())
}

/// Lists all mutants of packages.
fn all(packages: &[String]) -> Result<Vec<Mutant>> {
    let packages = packages.iter().flat_map(|name| ["-p", name]);
    let listed = sh::quietly(sh::cargo("mutants --list --json").args(packages))?;
    serde_json::from_slice(&listed).context("cargo mutants --list")
}

/// Chooses `count` mutants: those with the lowest hashes of their seed and name.
fn sample(mut all: Vec<Mutant>, count: usize, seed: u64) -> Vec<Mutant> {
    all.sort_by_cached_key(|mutant| {
        let mut hasher = DefaultHasher::new();
        (seed, &mutant.name).hash(&mut hasher);
        hasher.finish()
    });
    all.truncate(count);
    all
}

/// Returns a regular expression that matches `text` only.
fn escape(text: &str) -> String {
    let special = |c: &char| r"\.+*?()|[]{}^$#&-~".contains(*c);
    let escaped = text
        .chars()
        .flat_map(|c| special(&c).then_some('\\').into_iter().chain([c]));
    escaped.collect()
}

/// Prints the survivors, and the number of caught mutants of each package. Mutants that do not compile are
/// not counted. Mutants whose tests hang count as caught.
fn show(outcomes: &[Outcome]) {
    let mut packages: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for outcome in outcomes {
        let Scenario::Mutant(mutant) = &outcome.scenario else {
            continue;
        };
        let count = packages.entry(&mutant.package).or_default();
        match outcome.summary.as_str() {
            "CaughtMutant" | "Timeout" => count[0] += 1,
            "MissedMutant" => {
                println!("survived: {}", mutant.name);
                count[1] += 1;
            }
            _ => {}
        }
    }
    let row = |(name, [caught, missed]): (&&str, &[usize; 2])| {
        let tested = caught + missed;
        let percent = (100 * caught).checked_div(tested).unwrap_or(0);
        [
            name.to_string(),
            caught.to_string(),
            tested.to_string(),
            format!("{percent} %"),
        ]
        .into()
    };
    let rows: Vec<Vec<String>> = packages.iter().map(row).collect();
    println!(
        "{}",
        table::format(&["package", "caught", "tested", "share"], &rows)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sample_follows_seed() {
        let all = || {
            let mutant = |n: u32| Mutant {
                name: n.to_string(),
                package: "p".to_owned(),
            };
            (0..100).map(mutant).collect::<Vec<_>>()
        };
        let names = |seed| {
            sample(all(), 5, seed)
                .into_iter()
                .map(|m| m.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }

    #[test]
    fn outcomes_of_cargo_mutants_are_read() {
        let text = r#"{"outcomes": [
            {"scenario": "Baseline", "summary": "Success", "log_path": "a.log"},
            {"scenario": {"Mutant": {"name": "a.rs:1:2: replace f with ()", "package": "p", "file": "a.rs"}},
             "summary": "MissedMutant"}], "total_mutants": 1}"#;
        let read: Outcomes = serde_json::from_str(text).unwrap();
        assert!(matches!(&read.outcomes[1].scenario, Scenario::Mutant(m) if m.package == "p"));
        assert_eq!(escape("a.rs:1: f(x)"), r"a\.rs:1: f\(x\)");
    }
}
