//! Fuzzes, or runs each stored input once.

use crate::sh::{self, cmd};
use crate::{setup, step, tidy};
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Only run the kept inputs, without fuzzing
    #[arg(long)]
    replay: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let dir = sh::root().join("fuzz");
    let files = tidy::files(&dir.join("fuzz_targets"), "rs")?;
    let targets = files.iter().filter_map(|file| file.file_stem()?.to_str());
    let targets: Vec<&str> = targets.collect();
    ensure!(!targets.is_empty(), "fuzz/fuzz_targets has no targets");
    // The codec process of `decoder` is the ordinary program: the target's instrumentation does not cover it.
    let build = "build --quiet --release --package vb3 --bin vb3-codec";
    sh::run(sh::cargo(build))?;
    if args.replay {
        return targets.iter().try_for_each(|target| replay(&dir, target));
    }
    setup::install(&["g++"])?;
    sh::cargo_tool("cargo-fuzz")?;
    sh::run(cargo_fuzz(&dir, "build"))
        .context("if it is missing: rustup toolchain install nightly")?;
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let (count, seconds) = (targets.len(), args.seconds);
    eprintln!("fuzzing {count} targets for {seconds} s each, {jobs} at a time");
    let results = step::at_a_time(jobs, &targets, |target| fuzz(&dir, target, seconds));
    let faults = results.into_iter().filter_map(Result::err);
    let faults: Vec<String> = faults.map(|err| format!("{err:#}")).collect();
    sh::expect_none("fuzz", &faults)
}

fn cargo_fuzz(dir: &Path, what: &str) -> Command {
    let target = sh::target().join("fuzz");
    let mut cargo = cmd!("cargo +nightly fuzz {what} --fuzz-dir {dir} --target-dir {target}");
    cargo.current_dir(dir).env("VB3_CODEC", codec());
    cargo
}

fn codec() -> PathBuf {
    sh::target().join("release/vb3-codec")
}

fn fuzz(dir: &Path, target: &str, seconds: u32) -> Result<()> {
    let corpus = dir.join("corpus").join(target);
    fs::create_dir_all(&corpus)?;
    // Bytes of the longest input. Streams need long inputs.
    let longest = match target {
        "stream" | "decoder" => 8192,
        _ => 1024,
    };
    let mut cargo = cargo_fuzz(dir, "run");
    cargo.arg(target).arg(&corpus).arg(seeds(dir, target));
    cargo.arg("--").arg(format!("-max_total_time={seconds}"));
    cargo.arg(format!("-max_len={longest}"));
    // Inputs may be long from the start, because even a simple use of a driver takes many steps.
    sh::quietly(cargo.args(["-len_control=0", "-verbosity=0"]))?;
    eprintln!("{target}: fuzzed for {seconds} s, nothing found");
    Ok(())
}

fn replay(dir: &Path, target: &str) -> Result<()> {
    let seeds = seeds(dir, target);
    let kept = fs::read_dir(&seeds).is_ok_and(|mut list| list.next().is_some());
    ensure!(kept, "{} has no inputs", seeds.display());
    // There are few inputs, so the target is not optimized, and uses crates that the tests have built.
    let mut cargo = sh::cargo("run --quiet --no-default-features --manifest-path fuzz/Cargo.toml");
    cargo.arg("--target-dir").arg(sh::target());
    cargo.env("VB3_CODEC", codec());
    sh::run(cargo.args(["--bin", target, "--"]).arg(seeds))
}

fn seeds(dir: &Path, target: &str) -> PathBuf {
    dir.join("seeds").join(target)
}
