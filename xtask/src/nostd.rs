//! Checks the `no_std` crates without std, on other targets, and with the oldest supported compiler.

use crate::sh;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const CRATES: &[&str] = &["vb3-dma", "vb3-dmabuf", "vb3-plane", "vb3-queue"];

/// The oldest compiler that builds the crates.
const FLOOR: &str = "1.85";

/// The crate that simulates a machine for the crates' tests. Its own tests run with the same compiler.
const MACHINE: &str = "vb3-machine";

/// Targets that are checked if their core library is installed, and the kind that each stands for.
const TARGETS: &[(&str, &str)] = &[
    ("i686-unknown-linux-gnu", "32 bits"),
    ("s390x-unknown-linux-gnu", "big endian"),
    ("powerpc-unknown-linux-gnu", "32 bits, big endian"),
    ("thumbv7em-none-eabi", "32 bits, no std at all"),
    (BARE, "no std at all"),
];

/// A target without an operating system. The sample host is built for it, too.
const BARE: &str = "x86_64-unknown-none";

/// Targets without 64-bit atomics, which the queue needs.
const WITHOUT_QUEUE: &[&str] = &["powerpc-unknown-linux-gnu", "thumbv7em-none-eabi"];

/// The second target that the front end must build for, with std.
const OTHER: &str = "aarch64-unknown-linux-gnu";

/// Builds the library without std, runs it from C, and checks other targets that are installed.
///
/// # Errors
/// A build fails, or std is linked although it must not be.
pub(crate) fn run() -> Result<()> {
    let target = sh::target().join("nostd");
    link(&target)?;
    let installed = lines("rustup", &["target", "list", "--installed"]);
    let mut missing = Vec::new();
    for (name, what) in TARGETS {
        if !installed.iter().any(|line| line == name) {
            missing.push(*name);
            continue;
        }
        eprintln!("{name}: {what}");
        check(&["--target", name], WITHOUT_QUEUE.contains(name))?;
    }
    if !missing.contains(&BARE) {
        let mut cargo = sh::cargo();
        cargo.args(["check", "--manifest-path", "nostd/Cargo.toml"]);
        cargo.args(["--target", BARE, "--target-dir"]).arg(&target);
        sh::run(&mut cargo)?;
    }
    if installed.iter().any(|line| line == OTHER) {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(sh::root())
            .args(["check", "--target", OTHER]);
        cargo.args(["-p", "vb3-intercept", "--target-dir"]);
        sh::run(cargo.arg(&target))?;
    } else {
        missing.push(OTHER);
    }
    let toolchains = lines("rustup", &["toolchain", "list"]);
    if toolchains.iter().any(|line| line.starts_with(FLOOR)) {
        let with_floor = |what: &[&str]| {
            let mut cargo = Command::new("cargo");
            cargo.current_dir(sh::root()).arg(format!("+{FLOOR}"));
            cargo.args(what).arg("--target-dir").arg(&target);
            cargo
        };
        let mut cargo = with_floor(&["check"]);
        sh::run(cargo.args(CRATES.iter().flat_map(|name| ["-p", name])))?;
        let mut cargo = with_floor(&["test", "--quiet"]);
        let tested = CRATES.iter().chain([&MACHINE]);
        sh::run(cargo.args(tested.flat_map(|name| ["-p", name])))?;
    } else {
        missing.push(FLOOR);
    }
    if !missing.is_empty() {
        eprintln!(
            "not checked, since rustup has not got it: {}",
            missing.join(", ")
        );
    }
    Ok(())
}

fn link(target: &Path) -> Result<()> {
    let build = || {
        let mut cargo = sh::cargo();
        cargo.args(["build", "--release", "--manifest-path", "nostd/Cargo.toml"]);
        cargo.arg("--target-dir").arg(target);
        cargo
    };
    sh::run(&mut build())?;
    // The control program must fail, and for the right reason.
    let mut control = build();
    let output = control.args(["--features", "control"]).output();
    let output = output.context("cargo does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success(),
        "links although std is in it: the check is worth nothing"
    );
    if !said.contains("E0152") {
        bail!("the control fails for another reason:\n{said}");
    }
    let (library, program) = (target.join("release/libvb3_nostd.a"), target.join("map"));
    let mut cc = Command::new("cc");
    cc.current_dir(sh::root()).args(["-Wall", "-Werror", "-o"]);
    sh::run(cc.arg(&program).arg("nostd/main.c").arg(library))?;
    sh::run(&mut Command::new(program))
}

fn check(how: &[&str], without_queue: bool) -> Result<()> {
    let some = |name: &&&str| !(without_queue && **name == "vb3-queue");
    let mut cargo = sh::cargo();
    cargo.arg("check").args(how);
    sh::run(cargo.args(CRATES.iter().filter(some).flat_map(|name| ["-p", name])))
}

/// Returns a program's output, or nothing if it does not run.
fn lines(program: &str, args: &[&str]) -> Vec<String> {
    let text = sh::text(Command::new(program).args(args));
    text.unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}
