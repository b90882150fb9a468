//! What must pass.

pub(crate) mod again;

use crate::{setup, sh, vm};
use anyhow::Result;
use std::process::Command;

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Test the kernel module in virtual machines as well
    #[arg(long)]
    vm: bool,
    /// Arguments for `cargo test`, e.g. a test's name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Installs what the tests need and runs them.
pub(crate) fn test(args: &TestArgs) -> Result<()> {
    setup::install(setup::ALL)?;
    let one = |word: &String| word.starts_with("-p") || word.starts_with("--package");
    let some = args.rest.iter().any(one);
    let cargo_test = || {
        let mut cargo = sh::cargo();
        // With everything installed, a test that would skip itself is a failure.
        cargo.env("VB3_TESTS_NEED_ALL", "1").arg("test");
        if !some {
            cargo.arg("--workspace");
        }
        cargo
    };
    if args.rest.is_empty() {
        again::test(cargo_test().arg("--no-fail-fast"), cargo_test)?;
    } else {
        sh::run(cargo_test().args(&args.rest))?;
    }
    if args.vm {
        vm::test()?;
    }
    Ok(())
}

/// Everything that must pass: what CI runs.
pub(crate) fn run() -> Result<()> {
    sh::run(Command::new(sh::root().join(".ci/run")).current_dir(sh::root()))
}
