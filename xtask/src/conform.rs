//! `cargo xtask conform`: compares with stock Linux's what programs see.

mod libcamera;

use crate::setup;
use crate::sh::{self, cmd};
use crate::test::{Tests, Tier};
use crate::vm::{conform as calls, lab};
use anyhow::{Result, bail, ensure};
use std::path::PathBuf;

/// Parts of test names, which select all tests that run v4l2-compliance, libcamera or a newer GStreamer.
const FILTERS: [&str; 5] = ["av1_streams", "compli", "libcamera::", "sensor::", "vimc::"];

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum What {
    /// The answers to single calls
    #[default]
    Calls,
    /// Our tests with v4l2-compliance, libcamera and GStreamer of other Debian releases
    Programs,
    /// This system's libcamera, built here: its own tests
    Libcamera,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is compared
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Debian's releases whose programs run
    #[arg(default_values = ["trixie", "sid"])]
    suites: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match args.what {
        What::Calls => calls::run(),
        What::Programs => programs(&args.suites),
        What::Libcamera => libcamera::run(),
    }
}

fn programs(suites: &[String]) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("the programs of other releases are for x86-64, and this machine is not");
    }
    setup::install(&["demo", "tests", "x86-64"])?;
    let filters = FILTERS.map(str::to_owned);
    let chosen = ["--package=vb3", "--test=e2e"].map(str::to_owned);
    let mut failed = Vec::new();
    for suite in suites {
        let programs = unpacked(suite)?;
        println!("conform: {suite}");
        sh::run(cmd!("{programs}/v4l2-compliance --version"))?;
        let tests = Tests::of(Tier::Default, &chosen, &filters);
        if tests.with_programs_of(programs)?.run().is_err() {
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
