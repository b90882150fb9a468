//! `cargo xtask reach` tests containers and kernels. `cargo xtask confine` runs a command under a
//! container's seccomp profile.

mod machine;
mod matrix;
mod profile;
mod same;

use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these places, by name or a part of it
    only: Vec<String>,
    #[command(flatten)]
    save: crate::docs::Save,
    /// Instead of making the table, run the tests with real programs whose names contain this, in
    /// virtual machines; may be given more than once
    #[arg(long = "e2e", value_name = "FILTER")]
    tests: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.tests.is_empty() {
        matrix::run(&args.only, &args.save)
    } else {
        machine::run_tests(&args.only, &args.tests)
    }
}

/// Checks that each filter is part of a name. Otherwise, a filter with an outdated name would select nothing unnoticed.
fn expect_matches(names: &[impl AsRef<str>], filters: &[String]) -> Result<()> {
    let is_stale = |filter: &&String| !names.iter().any(|name| name.as_ref().contains(*filter));
    match filters.iter().find(is_stale) {
        Some(stale) => bail!("none of {} names contains: {stale}", names.len()),
        None => Ok(()),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfineArgs {
    /// Profile; a wrong name lists all
    profile: String,
    /// Command and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs a command under a profile, in place of this process.
pub(crate) fn confine(args: &ConfineArgs) -> Result<()> {
    let profile = profile::find(&args.profile)?;
    let command = args.command.split_first();
    let (name, rest) = command.context("there is no command to run")?;
    profile.apply()?;
    Err(Command::new(name).args(rest).exec().into())
}
