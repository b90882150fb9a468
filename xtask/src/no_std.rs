//! Links the sample library of `examples/no-std` without std, and calls it from C.

use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, bail};

/// Builds the library and a C program, and runs the program.
///
/// # Errors
/// A part cannot be built or fails, or the control program, which links std, can be built: then the library's own
/// build does not show that the library needs no std.
pub(crate) fn run() -> Result<()> {
    let target = sh::target().join("no-std");
    let build = |more: &str| {
        let line = "build --release --manifest-path examples/no-std/Cargo.toml --target-dir";
        let mut cargo = sh::cargo(line);
        cargo.arg(&target).args(more.split_whitespace());
        cargo
    };
    sh::run(build(""))?;
    // The control program links std, so its build must fail, with E0152 (a lang item is defined twice).
    let control = build("--features control").output();
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
