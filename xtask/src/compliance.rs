//! `cargo xtask compliance`: runs our tests with other versions of v4l2-compliance and libcamera. The
//! versions are those of other Debian releases. Also runs libcamera's own tests.

mod libcamera;

use crate::sh::{self, cmd};
use crate::vm::lab;
use crate::{ci, setup};
use anyhow::{Result, bail, ensure};
use std::path::PathBuf;

/// Parts of test names, which select all tests that run v4l2-compliance, libcamera or a newer GStreamer.
const FILTERS: [&str; 5] = ["av1_streams", "compli", "libcamera::", "sensor::", "vimc::"];

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

pub(crate) fn run(args: &Args) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("programs are taken for x86-64, which this machine is not");
    }
    if args.libcamera {
        return libcamera::run();
    }
    setup::install(&["demo", "tests", "x86-64"])?;
    ci::expect_matches(&ci::e2e_names()?, &args.filter)?;
    let mut failed = Vec::new();
    for suite in &args.suites {
        let programs = unpacked(suite)?;
        println!("compliance: {suite}");
        sh::run(cmd!("{programs}/v4l2-compliance --version"))?;
        let mut cargo = ci::needing_all(ci::E2E);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs).chain(std::env::split_paths(&path));
        cargo.env("PATH", std::env::join_paths(path)?);
        let full = args.full.then_some("--include-ignored");
        if sh::run(cargo.arg("--").args(full).args(&args.filter)).is_err() {
            failed.push(suite.as_str());
        }
    }
    ensure!(failed.is_empty(), "tests failed with {}", failed.join(", "));
    Ok(())
}

/// Returns the directory with the release's programs. Makes it if it is not kept.
fn unpacked(suite: &str) -> Result<PathBuf> {
    let name = format!("video-programs-{suite}");
    let what = format!("getting v4l-utils, libcamera and GStreamer of {suite}: about 100 MB");
    let script = "make-video-programs.sh";
    let out = lab::kept(&name, &what, 10, script, &[suite.as_ref()])?;
    Ok(out.join("wrappers"))
}
