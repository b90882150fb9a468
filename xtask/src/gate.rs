//! `cargo xtask gate`: what must pass before a change lands; at most an hour on two processors.
//! `cargo xtask nightly`: what takes longer, or needs what may change from day to day.

use crate::sh::{self, cmd};
use crate::test::{self, Tier};
use crate::{arch::Arch, bare_metal, bindings, dist, no_std, setup, table, tidy};
use anyhow::{Context as _, Result, ensure};
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these steps, by name; a wrong name lists all
    only: Vec<String>,
}

/// A named step.
type Step = (&'static str, fn() -> Result<()>);

/// The steps of the gate. The same for each commit; none may be skipped.
const GATE: &[Step] = &[
    ("tools", tools),
    ("format", format),
    ("clippy", clippy),
    ("documentation", documentation),
    ("tidy", tidy::run),
    ("packages for crates.io", packages),
    ("fuzz inputs", || xtask("fuzz --replay")),
    ("tests", || test::run_tier(Tier::Gate, &workspace(), &[])),
    ("documentation tests", || test::documentation(&workspace())),
    ("no std", no_std::run),
    ("misuse", || misuse(50_000)),
    ("conformance", || xtask("conform")),
    ("bare metal", bare_metal::run),
    ("kernel modules", || {
        xtask("vm --build --arch x86-64 --arch arm64")
    }),
];

/// The steps of the night. All run, even if one fails.
const NIGHTLY: &[Step] = &[
    ("tools", tools),
    ("dependencies", dependencies),
    ("all tests", || {
        test::run_tier(Tier::Full, &workspace(), &[])
    }),
    ("streams at random", || {
        let mut tests = sh::cargo("nextest run -p vb3 exact::streams_at_random");
        sh::run(tests.env("VB3_EXACT_STREAMS", "200"))
    }),
    ("fuzzing", || xtask("fuzz --seconds 600")),
    ("address sanitizer", sanitizer),
    ("bindings", bindings::run),
    ("a million seeds", || xtask("seeds --seeds 1000000")),
    ("a million misuses", || misuse(1_000_000)),
    ("planted errors", || xtask("seeds --planted")),
    ("mutants", mutants),
    ("Debian's other releases", || {
        xtask("conform programs trixie sid")
    }),
    ("libcamera's own tests", || xtask("conform libcamera")),
    ("installation", dist::try_source),
    ("packages", || xtask("dist --try")),
    ("containers and kernels", || xtask("reach")),
    ("arm64", || xtask("reach arm64 --e2e ::")),
    ("virtual machines", || xtask("vm --chosen --again")),
    ("checked kernel", || xtask("vm --checked")),
    ("soak", soak),
];

pub(crate) fn gate(args: &Args) -> Result<()> {
    run("gate", GATE, &args.only, false)
}

pub(crate) fn nightly(args: &Args) -> Result<()> {
    run("nightly", NIGHTLY, &args.only, true)
}

/// Runs steps, and prints a table of their times. Stops at the first step that fails, unless `goes_on` is set.
fn run(what: &str, all: &[Step], only: &[String], goes_on: bool) -> Result<()> {
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let unknown = only.iter().find(|name| !names.contains(&name.as_str()));
    ensure!(
        unknown.is_none(),
        "{what} has the steps: {}",
        names.join(", ")
    );
    let start = Instant::now();
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for (name, step) in all {
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("\n==> [{:4} s] {name}", start.elapsed().as_secs());
        let began = Instant::now();
        let result = step();
        let verdict = if result.is_ok() { "passed" } else { "FAILED" };
        let seconds = began.elapsed().as_secs().to_string();
        rows.push(table::row([name, &seconds, verdict]));
        if let Err(e) = result {
            eprintln!("xtask: {name}: {e:#}");
            failed.push(*name);
            if !goes_on {
                break;
            }
        }
    }
    rows.push(table::row([
        "together",
        &start.elapsed().as_secs().to_string(),
        "",
    ]));
    println!("\n{}", table::format(&["step", "seconds", ""], &rows));
    ensure!(failed.is_empty(), "{what} failed: {}", failed.join(", "));
    println!("{what}: everything passed");
    Ok(())
}

fn workspace() -> Vec<String> {
    vec!["--workspace".to_owned()]
}

/// Runs another task of this program.
fn xtask(line: &str) -> Result<()> {
    let words = line.split(' ');
    let own = std::env::current_exe().context("this program has no path")?;
    sh::run(cmd!("{own} {words...}"))
}

/// The workspaces: directory, clippy's words, and directory of built files.
const WORKSPACES: [(&str, &str, &str); 6] = [
    ("", "--workspace --all-targets", ""),
    ("fuzz", "--no-default-features", ""),
    ("examples/no-std", "--release", "no-std"),
    ("examples/bare-metal", "--release", "bare-metal"),
    ("examples/misuse", "--all-targets", "misuse"),
    ("kernel", "--lib", "kernel"),
];

/// Installs what the other steps need.
fn tools() -> Result<()> {
    setup::install(&["demo", "tests", "x86-64", "arm64", "gate"])?;
    for component in ["rustfmt", "clippy"] {
        sh::run(cmd!("rustup component add {component}"))?;
    }
    let mut targets = no_std::targets();
    targets.extend(Arch::ALL.map(Arch::target));
    sh::run(cmd!("rustup target add {targets...}"))?;
    let floor = no_std::FLOOR;
    if sh::quietly(cmd!("cargo +{floor} --version")).is_err() {
        sh::run(cmd!("rustup toolchain install {floor} --profile minimal"))?;
    }
    if sh::quietly(sh::cargo("nextest --version")).is_err() {
        sh::run(sh::cargo("install --locked cargo-nextest"))?;
    }
    Ok(())
}

fn format() -> Result<()> {
    sh::run(sh::cargo("fmt --all --check"))?;
    for (dir, ..) in &WORKSPACES[1..] {
        sh::run(sh::cargo("fmt --check").current_dir(sh::root().join(dir)))?;
    }
    Ok(())
}

fn clippy() -> Result<()> {
    for (dir, words, target) in WORKSPACES {
        let mut cargo = sh::cargo("clippy");
        // cargo finds the settings of a bare target in the directory.
        cargo
            .current_dir(sh::root().join(dir))
            .args(words.split(' '));
        cargo.env("CARGO_TARGET_DIR", sh::target().join(target));
        sh::run(cargo.args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn documentation() -> Result<()> {
    let mut cargo = sh::cargo("doc --workspace --no-deps --quiet");
    sh::run(cargo.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Packs each crate as for crates.io, without sending it.
fn packages() -> Result<()> {
    sh::run(sh::cargo(
        "publish --workspace --dry-run --no-verify --allow-dirty --quiet",
    ))
}

/// Uses the mapping layer wrongly from a crate outside the workspace, with this many random steps.
fn misuse(steps: u32) -> Result<()> {
    let mut cargo = sh::cargo("test --quiet");
    cargo
        .current_dir(sh::root().join("examples/misuse"))
        .env("CARGO_TARGET_DIR", sh::target().join("misuse"))
        .env("VB3_STEPS", steps.to_string());
    sh::run(cargo)
}

/// Tests the crate with most unsafe code, and the one that attackers in guests reach, under AddressSanitizer, which needs
/// nightly Rust.
fn sanitizer() -> Result<()> {
    let target = Arch::default().target();
    let tests = [
        "-p",
        "vb3-intercept",
        "-p",
        "vb3-guest",
        "--lib",
        "--test",
        "guests",
    ];
    let mut cargo = cmd!("cargo +nightly test {tests...} --target {target}");
    let target = sh::target().join("sanitizer");
    // Tests keep the RAM of their guests to the end.
    cargo
        .current_dir(sh::root())
        .env("CARGO_TARGET_DIR", target)
        .env("ASAN_OPTIONS", "detect_leaks=0");
    sh::run(cargo.env("RUSTFLAGS", "-Zsanitizer=address"))
}

/// Looks for advisories, and checks licences and sources of dependencies.
fn dependencies() -> Result<()> {
    if !sh::has("cargo-deny") {
        sh::run(sh::cargo("install --locked cargo-deny"))?;
    }
    sh::run(sh::cargo("deny --workspace check"))
}

/// Tests a sample of mutants of the core crates.
fn mutants() -> Result<()> {
    if !sh::has("cargo-mutants") {
        sh::run(sh::cargo("install --locked cargo-mutants"))?;
    }
    let core =
        "-p vb3-dma -p vb3-dmabuf -p vb3-plane -p vb3-queue --sharding round-robin --shard 1/16";
    let status = sh::cargo("mutants").args(core.split(' ')).status()?;
    // 2: a mutant survived; 3: the tests of one took too long. Both are listed.
    let code = status.code();
    ensure!(
        matches!(code, Some(0 | 2 | 3)),
        "cargo-mutants failed: {status}"
    );
    Ok(())
}

/// Repeats the tests that stop, kill and interrupt programs, for an hour.
fn soak() -> Result<()> {
    let start = Instant::now();
    while start.elapsed().as_secs() < 3600 {
        test::run_tier(
            Tier::Full,
            &["--package=vb3".to_owned()],
            &["storms::".to_owned()],
        )?;
    }
    Ok(())
}
