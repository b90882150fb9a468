//! `cargo xtask compliance`: the tests that run v4l2-compliance or libcamera, by other versions of them
//! than this system's, taken from Debian's releases and unpacked; and libcamera's own tests.

mod libcamera;

use crate::vm::{lab, step};
use crate::{setup, sh, table};
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest time for the packages of one release, about 100 MB.
const UNPACK: Duration = Duration::from_secs(600);

/// Parts of the names of all tests that run v4l2-compliance or libcamera.
const FILTERS: [&str; 4] = ["compli", "libcamera::", "sensor::", "vimc::"];

/// Arguments of `compliance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Debian's releases whose v4l-utils, libcamera and GStreamer are taken
    #[arg(default_values = ["trixie", "sid"])]
    suites: Vec<String>,
    /// Only tests whose names contain one of these
    #[arg(long, default_values = FILTERS)]
    filter: Vec<String>,
    /// On every machine and board
    #[arg(long)]
    full: bool,
    /// Instead build this system's libcamera, and run its own tests without a camera and in `vb3 run`
    #[arg(long, conflicts_with_all = ["suites", "filter", "full"])]
    libcamera: bool,
}

/// Runs the tests once with the programs of each release, and prints a table of results.
///
/// # Errors
/// A release cannot be had, or a test fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("programs are taken for x86-64, which this machine is not");
    }
    if args.libcamera {
        return libcamera::run();
    }
    setup::install(setup::ALL)?;
    setup::install(setup::VM)?;
    let mut results: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut versions = Vec::new();
    for suite in &args.suites {
        let programs = unpacked(suite)?;
        versions.push(format!("{suite} ({})", version(&programs)?));
        println!("compliance: {}", versions.join(", "));
        let path = before_others(&programs)?;
        let mut cargo = sh::cargo();
        cargo.env("PATH", path).env("VB3_TESTS_NEED_ALL", "1");
        cargo.args(["test", "--workspace", "--test", "e2e"]);
        cargo.args(["--no-fail-fast", "--"]);
        cargo.args(args.full.then_some("--include-ignored"));
        let said = cargo.args(&args.filter).stderr(Stdio::inherit()).output();
        let said = said.context("cannot run cargo")?.stdout;
        let said = String::from_utf8_lossy(&said);
        if said.contains("FAILED") {
            println!("{said}");
        }
        for (test, result) in said.lines().filter_map(result) {
            let row = results.entry(test.to_owned()).or_default();
            row.resize(versions.len() - 1, String::new());
            row.push(result.to_owned());
        }
    }
    report(&versions, &results)
}

/// Returns a test's name and result from a line of its harness.
fn result(line: &str) -> Option<(&str, &str)> {
    let (test, result) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((test, result.split(',').next().unwrap_or(result)))
}

/// Prints the table.
///
/// # Errors
/// No test ran, or one failed.
fn report(versions: &[String], results: &BTreeMap<String, Vec<String>>) -> Result<()> {
    let header: Vec<&str> = (std::iter::once("test"))
        .chain(versions.iter().map(String::as_str))
        .collect();
    let rows = results.iter();
    let rows: Vec<Vec<String>> = rows
        .map(|(test, row)| [std::slice::from_ref(test), row].concat())
        .collect();
    println!("{}", table::format(&header, &rows));
    let passed = |row: &Vec<String>| {
        row.len() == versions.len() && row.iter().all(|cell| cell == "ok" || cell == "ignored")
    };
    if results.is_empty() || !results.values().all(passed) {
        bail!("a test failed, or did not end");
    }
    Ok(())
}

/// The directory that has the release's programs, made where it is not kept.
fn unpacked(suite: &str) -> Result<PathBuf> {
    const SCRIPT: &str = "make-video-programs.sh";
    let cache = sh::cache()?.join("lab");
    std::fs::create_dir_all(&cache).context("cannot make the cache")?;
    std::fs::create_dir_all(lab::logs()).context("cannot make the directory of logs")?;
    let out = cache.join(format!("video-programs-{suite}-{}", lab::key(SCRIPT)?));
    if !out.exists() {
        let mut make = lab::namespace();
        make.arg("sh")
            .arg(sh::root().join("lab").join(SCRIPT))
            .arg(lab::own_mirror()?)
            .arg(suite)
            .arg(&out);
        let log = lab::logs().join(format!("video-programs-{suite}.log"));
        let what = format!("getting v4l-utils, libcamera and GStreamer of {suite}");
        step::run(&what, UNPACK, &log, &mut make)?;
    }
    Ok(out.join("wrappers"))
}

/// Returns the version that v4l2-compliance prints.
fn version(programs: &Path) -> Result<String> {
    let program = programs.join("v4l2-compliance");
    let said = sh::text(Command::new(program).arg("--version"))?;
    let (version, _) = said
        .split_once(',')
        .context("v4l2-compliance does not say its version")?;
    Ok(version.to_owned())
}

/// The search path with this directory in front.
fn before_others(programs: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).context("the search path cannot be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_from_the_harness() {
        assert_eq!(result("test a::b ... ok"), Some(("a::b", "ok")));
        let ignored = "test c ... ignored, takes long";
        assert_eq!(result(ignored), Some(("c", "ignored")));
        assert_eq!(result("running 3 tests"), None);
    }

    #[test]
    fn a_failed_test_fails_the_run() {
        let versions = ["trixie".to_owned()];
        let with = |result: &str| {
            let row = ("a".to_owned(), vec![result.to_owned()]);
            report(&versions, &BTreeMap::from([row])).is_ok()
        };
        assert!(with("ok") && !with("FAILED"));
        assert!(report(&versions, &BTreeMap::new()).is_err());
    }
}
