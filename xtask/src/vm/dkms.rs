//! `cargo xtask dkms`: builds the module's package.

use super::lab::Lab;
use super::{build, results};
use crate::arch::Arch;
use crate::{setup, sh};
use anyhow::Result;
use fs_err as fs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Architecture of the package
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(&["x86-64", args.arch.name()])?;
    let lab = Lab::open()?;
    build::sources(&lab)?;
    lab.add(args.arch)?;
    build::object(&lab, args.arch, None)?;
    released(&lab, args.arch).map(drop)
}

/// The version that a test upgrades the package to.
const NEXT_VERSION: &str = "99";

/// Builds the package for an architecture, with the source of the Rust object. Returns the file's name.
fn package(lab: &Lab, arch: Arch, version: &str) -> Result<String> {
    let archive = format!("rust-object-{version}.tar.xz");
    let line = format!("source.sh /work/src {version} /work/{archive}");
    lab.step("packing the Rust object's source", 60, &line)?;
    let (object, arch, debian) = (build::object_dir(arch, None), arch.name(), arch.debian());
    let name = format!("videobuf3-dma-contig-dkms_{version}_{debian}.deb");
    let what = format!("building the package for {arch}");
    let line = format!(
        "package.sh /work/src {object} {arch} {debian} {version} /work/{archive} /work/{name}"
    );
    lab.step(&what, 60, &line)?;
    Ok(name)
}

/// Builds the package that users install, and copies it to the results.
fn released(lab: &Lab, arch: Arch) -> Result<String> {
    let name = package(
        lab,
        arch,
        &sh::field(build::KERNEL, "vb3-kernel", "version")?,
    )?;
    fs::create_dir_all(results())?;
    let to = results().join(&name);
    fs::copy(lab.work().join(&name), &to)?;
    println!("{}", to.display());
    Ok(name)
}

/// Tests the package in the build root: installs it, upgrades it to a newer version, downgrades it, and removes it.
/// Checks each time which module each kernel would load.
pub(crate) fn test(lab: &Lab, arch: Arch) -> Result<()> {
    let (this, next) = (released(lab, arch)?, package(lab, arch, NEXT_VERSION)?);
    let arch = arch.name();
    let _lock = lab.lock()?;
    let what = format!("installing and removing the package of {arch} in the build root");
    let line = format!("package-test.sh /work/src/kernel/lab {arch} /work/{next} /work/{this}");
    lab.step(&what, 3600, &line)?;
    let what = format!("rebuilding the Rust object of {arch} from the package's source");
    lab.step(&what, 900, &format!("rebuild-test.sh {arch} /work/{this}"))
}
