//! Builds the kernel modules, and other programs for the guests.

use super::arch::Arch;
use super::lab::{Lab, is_checked};
use super::step;
use crate::sh;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Copies the sources into the build root.
pub(crate) fn sources(lab: &Lab) -> Result<()> {
    let work = lab.work();
    let sources = work.join("src");
    let mut copy = Command::new("sh");
    copy.args(["-euc", "rm -rf \"$1\"; mkdir -p \"$1/crates\" \"$2/rust\"; cp -r lab \"$1/\"; cp conformance/*.[ch] crates/vb3/tests/programs/rows*.h crates/vb3/tests/programs/*other.[ch] \"$1/lab/programs/\"; cp -r kernel \"$1/\"; cp -r docs/upstream \"$1/\"; cp -r crates/dma crates/dmabuf crates/plane \"$1/crates/\"; cp -r \"$3\" \"$1/bitflags\"", "sh"])
        .arg(&sources)
        .arg(&work)
        .arg(bitflags()?)
        .current_dir(sh::root());
    step::run(
        "copying the sources",
        Duration::from_secs(60),
        &lab.log("copy"),
        &mut copy,
    )
}

/// Builds an architecture's Rust object, and the programs of its guests, from the copied sources.
pub(crate) fn common(lab: &Lab, arch: Arch) -> Result<()> {
    object(lab, arch, None)?;
    let name = arch.name();
    lab.step(
        &format!("building the programs of {name}'s guests"),
        120,
        "programs",
        &format!("programs.sh /work/src/lab {name} /work/programs-{name}"),
    )
}

/// Returns the directory of the programs for an architecture's guests.
pub(crate) fn programs(lab: &Lab, arch: Arch) -> PathBuf {
    lab.work().join(format!("programs-{}", arch.name()))
}

/// Returns the directory of an architecture's Rust object, inside the build root.
pub(crate) fn object_dir(arch: Arch, checker: Option<&str>) -> String {
    let end = checker.map(|checker| format!("-{checker}"));
    format!("/work/rust-{}{}", arch.name(), end.unwrap_or_default())
}

/// Builds the Rust object. `checker` is a checker of the kernel (`kasan`), if one is used.
pub(crate) fn object(lab: &Lab, arch: Arch, checker: Option<&str>) -> Result<()> {
    let out = object_dir(arch, checker);
    let name = arch.name();
    let checker = checker.map(|checker| format!(" {checker}"));
    let checker = checker.unwrap_or_default();
    lab.step(
        &format!("building the Rust object of {name}{checker}"),
        600,
        "rust-object",
        &format!("rust-object.sh /work/src {out} {name}{checker}"),
    )
}

/// Builds `vb3` and the driver over VFIO for the guest, with this system's own compiler.
/// This system is usually older than the guest's.
pub(crate) fn process(lab: &Lab) -> Result<()> {
    step::run(
        "building vb3",
        Duration::from_secs(1800),
        &lab.log("vb3"),
        sh::cargo().args(["build", "--release", "--package", "vb3", "--bin", "vb3"]),
    )?;
    step::run(
        "building the driver over VFIO",
        Duration::from_secs(300),
        &lab.log("vfio"),
        sh::cargo()
            .args(["build", "--release", "--package", "vb3-dma"])
            .args(["--example", "vfio_edu"]),
    )?;
    let to = user_programs(lab);
    std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    for built in ["vb3", "examples/vfio_edu"] {
        let from = sh::target().join("release").join(built);
        let name = from.file_name().unwrap_or_default();
        std::fs::copy(&from, to.join(name))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// Returns the directory of our programs for guests.
pub(crate) fn user_programs(lab: &Lab) -> PathBuf {
    lab.work().join("process")
}

/// Returns the source of the only crate of another project that the module links.
fn bitflags() -> Result<PathBuf> {
    let manifest = sh::root().join("kernel/Cargo.toml");
    let out = sh::quietly(
        sh::cargo()
            .args(["metadata", "--format-version=1", "--manifest-path"])
            .arg(manifest),
    )?;
    let metadata: Value =
        serde_json::from_slice(&out).context("the output of cargo metadata is not JSON")?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "bitflags")
        .and_then(|package| package["manifest_path"].as_str())
        .and_then(|path| Path::new(path).parent())
        .map(Path::to_path_buf)
        .context("the kernel crate does not use bitflags")
}

/// Builds the modules for a kernel, and packs the modules of the kernel itself.
pub(crate) fn modules(lab: &Lab, kernel: &str) -> Result<()> {
    let out = format!("/work/{kernel}");
    let arch = Arch::of(kernel);
    let object = object_dir(arch, is_checked(kernel).then_some("kasan"));
    let arch = arch.name();
    lab.step(
        &format!("building the modules for {kernel}"),
        300,
        &format!("module-{kernel}"),
        &format!("module.sh /work/src {object} {arch} {kernel} {out}"),
    )?;
    lab.step(
        &format!("building the test driver for {kernel}"),
        300,
        &format!("driver-{kernel}"),
        &format!("driver.sh /work/src/lab {out} {arch} {kernel}"),
    )?;
    let name = lab.packed()?;
    if lab.kernel(kernel, &name).exists() {
        return Ok(());
    }
    let _lock = lab.lock()?;
    if !lab.kernel(kernel, &name).exists() {
        lab.step(
            &format!("packing the modules of {kernel}"),
            300,
            &format!("pack-{kernel}"),
            &format!("make-modules.sh {kernel} /kernels/{kernel}/{name}"),
        )?;
    }
    Ok(())
}

/// Builds the C modules with the patches of docs/upstream.
pub(crate) fn patched(lab: &Lab, kernel: &str) -> Result<()> {
    lab.step(
        &format!("building the C modules with patches for {kernel}: about 160 MB to load"),
        600,
        &format!("patched-{kernel}"),
        &format!("patched.sh /work/src/upstream {kernel} /work/{kernel}"),
    )
}

/// Builds the drivers that Debian's kernels leave out, from the kernel's source.
pub(crate) fn peers(lab: &Lab, kernel: &str) -> Result<()> {
    let _lock = lab.lock()?;
    let out = lab.peers(kernel)?;
    if out.exists() {
        return Ok(());
    }
    let arch = Arch::of(kernel).name();
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    lab.step(
        &format!("building vimc, vim2m, vicodec and vkms for {kernel}: about 160 MB to load"),
        600,
        &format!("peers-{kernel}"),
        &format!("peers.sh /work/src/lab {arch} {kernel} /kernels/{kernel}/{name}"),
    )
}
