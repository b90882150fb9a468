//! Checks the `no_std` crates without std, on other targets, and with the oldest supported compiler.

use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, bail};
use std::path::Path;
use std::process::Command;

const CRATES: &str = "-p vb3-dma -p vb3-dmabuf -p vb3-plane -p vb3-queue";
/// The crates for targets without 64-bit atomics, which the queue needs.
const WITHOUT_QUEUE: &str = "-p vb3-dma -p vb3-dmabuf -p vb3-plane";

const FLOOR: &str = "1.85";

/// The crate that simulates a machine for the crates' tests. Its own tests run with the same compiler.
const MACHINE: &str = "vb3-machine";

/// Targets that are checked if their core library is installed, and their crates: 32 bits, big endian, both, and
/// two without any std.
const TARGETS: [(&str, &str); 5] = [
    ("i686-unknown-linux-gnu", CRATES),
    ("s390x-unknown-linux-gnu", CRATES),
    ("powerpc-unknown-linux-gnu", WITHOUT_QUEUE),
    ("thumbv7em-none-eabi", WITHOUT_QUEUE),
    (BARE, CRATES),
];

/// A target without an operating system. The sample host is built for it, too.
const BARE: &str = "x86_64-unknown-none";

/// The target besides this machine's that the front end (`vb3-intercept`) must build for, with std.
const OTHER: &str = "aarch64-unknown-linux-gnu";

/// Builds the sample library without std, calls it from C, and checks the other targets that are installed.
pub(crate) fn run() -> Result<()> {
    let target = sh::target().join("nostd");
    link(&target)?;
    let mut missing = Vec::new();
    for (name, crates) in TARGETS {
        if !sh::has_target(name) {
            missing.push(name);
            continue;
        }
        sh::run(sh::cargo(&format!("check --target {name} {crates}")))?;
    }
    if sh::has_target(BARE) {
        let check = format!("check -p vb3-dma-test --no-default-features --target {BARE}");
        sh::run(sh::cargo(&check))?;
        let check = format!("check --manifest-path nostd/Cargo.toml --target {BARE}");
        sh::run(in_target(&check, &target))?;
    }
    if sh::has_target(OTHER) {
        let check = format!("check -p vb3-intercept --target {OTHER}");
        sh::run(in_target(&check, &target))?;
    } else {
        missing.push(OTHER);
    }
    let toolchains = sh::text(cmd!("rustup toolchain list")).unwrap_or_default();
    if toolchains.lines().any(|line| line.starts_with(FLOOR)) {
        let test = format!("test --quiet -p {MACHINE}");
        for line in ["check", &test] {
            let line = format!("{line} {CRATES}");
            let words = line.split(' ');
            // `+VERSION` works with rustup's cargo, which chooses the toolchain.
            let mut cargo = cmd!("cargo +{FLOOR} {words...} --target-dir {target}");
            sh::run(cargo.current_dir(sh::root()))?;
        }
    } else {
        missing.push(FLOOR);
    }
    if !missing.is_empty() {
        let missing = missing.join(", ");
        eprintln!("not checked, since rustup has not got it: {missing}");
    }
    Ok(())
}

fn in_target(line: &str, target: &Path) -> Command {
    let mut cargo = sh::cargo(line);
    cargo.arg("--target-dir").arg(target);
    cargo
}

fn link(target: &Path) -> Result<()> {
    const BUILD: &str = "build --release --manifest-path nostd/Cargo.toml";
    sh::run(in_target(BUILD, target))?;
    // The control program links std, so its build must fail, with E0152 (a lang item is defined twice).
    let control = in_target(&format!("{BUILD} --features control"), target).output();
    let control = control.context("cargo does not start")?;
    let said = String::from_utf8_lossy(&control.stderr);
    match control.status.success() {
        true => bail!("links although std is in it: the check is worth nothing"),
        false if said.contains("E0152") => {}
        false => bail!("the control fails for another reason:\n{said}"),
    }
    let (library, program) = (target.join("release/libvb3_nostd.a"), target.join("map"));
    let source = sh::root().join("nostd/main.c");
    sh::run(cmd!("cc -Wall -Werror -o {program} {source} {library}"))?;
    sh::run(cmd!("{program}"))
}
