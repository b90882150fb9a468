//! `cargo xtask compliance`: the tests that run v4l2-compliance, by other versions of it than this
//! system's, taken from Debian's releases and unpacked.

use crate::vm::{lab, step};
use crate::{setup, sh};
use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest time for the packages of one release, about 10 MB.
const UNPACK: Duration = Duration::from_secs(600);

/// Common part of the names of all tests that run v4l2-compliance.
const FILTER: &str = "compli";

/// Arguments of `compliance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Debian's releases whose v4l-utils are taken
    #[arg(default_values = ["trixie", "sid"])]
    suites: Vec<String>,
    /// Only tests whose names contain this
    #[arg(long, default_value = FILTER)]
    filter: String,
    /// On every machine and board
    #[arg(long)]
    full: bool,
}

/// Runs the tests once with the v4l2-compliance of each release.
///
/// # Errors
/// A release cannot be had, or a test fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("programs are taken for x86-64, which this machine is not");
    }
    setup::install(setup::ALL)?;
    setup::install(setup::VM)?;
    let mut done = Vec::new();
    for suite in &args.suites {
        let programs = unpacked(suite)?;
        let version = version(&programs)?;
        println!("compliance: {version}, of Debian {suite}");
        let path = before_others(&programs)?;
        let mut cargo = sh::cargo();
        cargo.env("PATH", path).env("VB3_TESTS_NEED_ALL", "1");
        cargo.args(["test", "--workspace", "--test", "e2e", "--"]);
        cargo.args(args.full.then_some("--include-ignored"));
        let found = sh::run(cargo.arg(&args.filter));
        found.with_context(|| format!("{version} finds something"))?;
        done.push(version);
    }
    println!("compliance: nothing failed: {}", done.join(", "));
    Ok(())
}

/// The directory that has the release's v4l2-compliance, made where it is not kept.
fn unpacked(suite: &str) -> Result<PathBuf> {
    const SCRIPT: &str = "make-v4l-utils.sh";
    let cache = sh::cache()?.join("lab");
    std::fs::create_dir_all(&cache).context("cannot make the cache")?;
    std::fs::create_dir_all(lab::logs()).context("cannot make the directory of logs")?;
    let out = cache.join(format!("v4l-utils-{suite}-{}", lab::key(SCRIPT)?));
    if !out.exists() {
        let mut make = lab::namespace();
        make.arg("sh")
            .arg(sh::root().join("lab").join(SCRIPT))
            .arg(lab::own_mirror()?)
            .arg(suite)
            .arg(&out);
        let log = lab::logs().join(format!("v4l-utils-{suite}.log"));
        let what = format!("getting v4l-utils of {suite}");
        step::run(&what, UNPACK, &log, &mut make)?;
    }
    Ok(out.join("wrappers"))
}

/// Returns the version that v4l2-compliance prints.
fn version(programs: &Path) -> Result<String> {
    let program = programs.join("v4l2-compliance");
    let said = sh::quietly(Command::new(program).arg("--version"))?;
    let said = String::from_utf8_lossy(&said);
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
