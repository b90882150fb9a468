//! What must pass.

use crate::{bindings, fuzz, nostd, setup, sh, tidy, vm};
use anyhow::Result;

/// How long each target is fuzzed.
const FUZZ_SECONDS: u32 = 20;

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
    // With everything installed, a test that would skip itself is a failure.
    let mut cargo = sh::cargo();
    cargo.env("VB3_TESTS_NEED_ALL", "1").arg("test");
    let one = |word: &String| word.starts_with("-p") || word.starts_with("--package");
    if !args.rest.iter().any(one) {
        cargo.arg("--workspace");
    }
    cargo.args(&args.rest);
    sh::run(&mut cargo)?;
    if args.vm {
        vm::test()?;
    }
    Ok(())
}

/// Everything that must pass.
pub(crate) fn run() -> Result<()> {
    sh::run(sh::cargo().args(["fmt", "--all", "--check"]))?;
    sh::run(sh::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    sh::run(sh::cargo().env("RUSTDOCFLAGS", "-D warnings").args([
        "doc",
        "--workspace",
        "--no-deps",
        "--quiet",
    ]))?;
    tidy::run()?;
    bindings::run()?;
    nostd::run()?;
    fuzz::run(&fuzz::Args::all(FUZZ_SECONDS))?;
    test(&TestArgs {
        vm: false,
        rest: Vec::new(),
    })?;
    vm::conform::run()?;
    vm::test_if_possible()
}
