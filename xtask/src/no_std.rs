//! Checks the `no_std` crates without std, on other targets, and with the oldest supported compiler.

use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const CRATES: &str = "-p vb3-dma -p vb3-dmabuf -p vb3-plane -p vb3-queue";
/// The crates for targets without 64-bit atomics, which the queue needs.
const WITHOUT_QUEUE: &str = "-p vb3-dma -p vb3-dmabuf -p vb3-plane";

/// The oldest supported compiler.
pub(crate) const FLOOR: &str = "1.85";

/// Targets, and cargo's words for the packages that are checked for each. The targets have 32 bits, big endian, both,
/// or no std. The front end (`vb3-intercept`) needs std.
const TARGETS: [(&str, &str); 8] = [
    ("i686-unknown-linux-gnu", CRATES),
    ("s390x-unknown-linux-gnu", CRATES),
    ("powerpc-unknown-linux-gnu", WITHOUT_QUEUE),
    ("thumbv7em-none-eabi", WITHOUT_QUEUE),
    (BARE, CRATES),
    (BARE, "-p vb3-dma-test --no-default-features"),
    (BARE, "--manifest-path examples/no-std/Cargo.toml"),
    ("aarch64-unknown-linux-gnu", "-p vb3-intercept"),
];

const BARE: &str = "x86_64-unknown-none";

pub(crate) fn targets() -> Vec<&'static str> {
    TARGETS.iter().map(|(name, _)| *name).collect()
}

/// Builds the sample library without std, calls it from C, and checks the other targets.
///
/// # Errors
/// A check fails, a target's core library is not installed, or the oldest supported compiler is not installed.
pub(crate) fn run() -> Result<()> {
    let target = sh::target().join("no-std");
    link(&target)?;
    for (name, what) in TARGETS {
        ensure!(
            sh::has_target(name),
            "no core library for {name}: rustup target add {name}"
        );
        sh::run(in_target(&format!("check --target {name} {what}"), &target))?;
    }
    // vb3-machine simulates a machine for the crates' tests.
    for line in ["check", "test --quiet -p vb3-machine"] {
        let line = format!("{line} {CRATES}");
        let words = line.split(' ');
        // `+VERSION` works with rustup's cargo, which chooses the toolchain.
        let mut cargo = cmd!("cargo +{FLOOR} {words...} --target-dir {target}");
        sh::run(cargo.current_dir(sh::root()))
            .with_context(|| format!("if it is missing: rustup toolchain install {FLOOR}"))?;
    }
    Ok(())
}

fn in_target(line: &str, target: &Path) -> Command {
    let mut cargo = sh::cargo(line);
    cargo.arg("--target-dir").arg(target);
    cargo
}

fn link(target: &Path) -> Result<()> {
    const BUILD: &str = "build --release --manifest-path examples/no-std/Cargo.toml";
    sh::run(in_target(BUILD, target))?;
    // The control program links std, so its build must fail, with E0152 (a lang item is defined twice).
    let control = in_target(&format!("{BUILD} --features control"), target).output();
    let control = control.context("cargo does not start")?;
    let said = String::from_utf8_lossy(&control.stderr);
    match control.status.success() {
        true => bail!("the control program links with std, so this check detects nothing"),
        false if said.contains("E0152") => {}
        false => bail!("the control fails for another reason:\n{said}"),
    }
    let (library, program) = (target.join("release/libvb3_no_std.a"), target.join("map"));
    let source = sh::root().join("examples/no-std/main.c");
    sh::run(cmd!("cc -Wall -Werror -o {program} {source} {library}"))?;
    sh::run(cmd!("{program}"))
}
