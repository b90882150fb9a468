//! Builds what users install: packages of a static binary, and a package with the codecs.
//! The binary's packages are a tarball, a Debian package and a Python wheel.

pub(crate) mod codec;
mod licences;
mod root;
mod stage;
mod trial;
mod wheel;

use crate::arch::Arch;
use crate::setup;
use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Try the built files in an empty directory and in roots of Debian 12 and 13, which mmdebstrap
    /// makes once; try files for another processor in a virtual machine
    #[arg(long = "try")]
    trial: bool,
    /// Make only the package of vb3-codec, for this system's libavcodec. NAME ends the package's version and names
    /// the system, such as ubuntu24.04. Needs the packages libavcodec-dev, pkg-config and dpkg-dev
    #[arg(long, value_name = "NAME", conflicts_with = "trial")]
    codec_here: Option<String>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the directory of the release.
fn dir() -> PathBuf {
    sh::target().join("dist")
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(system) = &args.codec_here {
        println!("{}", codec::make_here(system)?.display());
        return Ok(());
    }
    setup::install(&["dist", "arm64"])?;
    let targets = Arch::ALL.map(Arch::target);
    if !targets.into_iter().all(sh::has_target) {
        sh::run(cmd!("rustup target add {targets...}"))?;
    }
    Arch::ALL
        .into_iter()
        .try_for_each(|arch| make(arch, args.trial))
}

/// Follows README's installation in fresh roots.
pub(crate) fn try_source() -> Result<()> {
    setup::install(&["dist"])?;
    trial::run("source", &root::SUITES.map(|(_, suite)| suite), &[])
}

fn make(arch: Arch, try_it: bool) -> Result<()> {
    let binary = build(arch)?;
    let stage = stage::stage(arch, &binary)?;
    let tarball = stage::tarball(arch)?;
    let package = stage::debian(arch, &stage)?;
    let wheel = wheel::make(arch, &stage, &binary)?;
    for file in [&tarball, &package, &wheel] {
        println!("{}", file.display());
    }
    let suites = root::SUITES.map(|(_, suite)| suite);
    if try_it && arch.is_here() {
        trial::alone(&stage.join("vb3"))?;
        trial::run("package", &suites, &[package.clone(), tarball.clone()])?;
        trial::run("wheel", &suites, &trial::with_tests(&wheel)?)?;
    } else if try_it && arch == Arch::Arm64 {
        trial::arm64(&stage.join("vb3"), &wheel)?;
    }
    for (number, suite) in root::SUITES {
        let codec = codec::make(arch, number, suite)
            .with_context(|| format!("vb3-codec cannot be made for Debian {number}"))?;
        println!("{}", codec.display());
        if try_it && arch.is_here() {
            trial::run(
                "codec",
                &[suite],
                &[package.clone(), tarball.clone(), codec],
            )?;
        }
    }
    Ok(())
}

fn build(arch: Arch) -> Result<PathBuf> {
    let mut cargo = sh::cargo("build --release --package vb3 --bin vb3 --target");
    arch.linked_statically(cargo.arg(arch.target()));
    sh::run(&mut cargo)?;
    let binary = sh::target().join(arch.target()).join("release/vb3");
    let (readelf, name) = (arch.tool("readelf"), binary.display());
    let text = sh::text(cmd!("{readelf} -dlW {binary}"))?;
    let needs = |line: &&str| line.contains("(NEEDED)") || line.contains("INTERP");
    if let Some(line) = text.lines().find(needs) {
        bail!("{name} is not static: {}", line.trim());
    }
    // CAST: a binary has far fewer than 2^52 bytes.
    let mib = binary.metadata()?.len() as f64 / f64::from(1 << 20);
    println!("{name}: {mib:.1} MiB, needs no file of the system");
    Ok(binary)
}
