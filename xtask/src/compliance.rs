//! `cargo xtask compliance`: runs our tests of v4l2-compliance and libcamera with other versions of them.
//! The versions are those of other Debian releases. Also runs libcamera's own tests.

mod libcamera;

use crate::vm::{lab, step};
use crate::{ci, setup, sh};
use anyhow::{Context as _, Result, bail, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Longest time to get the packages of one release, about 100 MB.
const UNPACK: Duration = Duration::from_secs(600);

/// Parts of the names of all tests that run v4l2-compliance, libcamera or a newer GStreamer.
const FILTERS: [&str; 5] = ["av1_streams", "compli", "libcamera::", "sensor::", "vimc::"];

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

/// Runs the tests once with the programs of each release.
///
/// # Errors
/// The packages of a release cannot be downloaded, or a test fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("programs are taken for x86-64, which this machine is not");
    }
    if args.libcamera {
        return libcamera::run();
    }
    setup::install(setup::ALL)?;
    setup::install(setup::VM)?;
    let mut failed = Vec::new();
    for suite in &args.suites {
        let programs = unpacked(suite)?;
        println!("compliance: {suite} ({})", version(&programs)?);
        let mut cargo = sh::cargo();
        cargo.env("PATH", before_others(&programs)?);
        cargo.env("VB3_TESTS_NEED_ALL", "1").args(ci::E2E);
        cargo
            .arg("--")
            .args(args.full.then_some("--include-ignored"));
        if sh::run(cargo.args(&args.filter)).is_err() {
            failed.push(suite.as_str());
        }
    }
    ensure!(failed.is_empty(), "tests failed with {}", failed.join(", "));
    Ok(())
}

/// Returns the directory with the release's programs. Makes it if it is not kept.
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

/// Returns the search path with this directory in front.
fn before_others(programs: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).context("the search path cannot be written")
}
