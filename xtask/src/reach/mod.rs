//! `cargo xtask reach` tests containers and kernels, or runs a command under a container's seccomp profile.

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
    /// Run a command under this container's default profile; a wrong name lists all
    #[arg(long, value_name = "NAME", requires = "command")]
    profile: Option<String>,
    /// The command for `--profile`
    #[arg(last = true, requires = "profile")]
    command: Vec<OsString>,
    #[command(flatten)]
    save: crate::docs::Save,
    /// Instead of making the table, run the tests with real programs whose names contain this, in
    /// virtual machines; may be given more than once
    #[arg(long = "e2e", value_name = "FILTER")]
    tests: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(name) = &args.profile {
        confine(name, &args.command)
    } else if args.tests.is_empty() {
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

/// Runs a command under a profile, in place of this process.
fn confine(name: &str, command: &[OsString]) -> Result<()> {
    let profile = profile::find(name)?;
    let command = command.split_first();
    let (name, rest) = command.context("there is no command to run")?;
    profile.apply()?;
    Err(Command::new(name).args(rest).exec().into())
}
