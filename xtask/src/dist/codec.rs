//! Makes a package of `vb3-codec` for each Debian release, since it is linked with that release's libavcodec.
//! The program is built in a root of that release, with this system's Rust.

use super::{VERSION, licences, root, stage};
use crate::arch::Arch;
use crate::sh::{self, cmd};
use anyhow::{Result, ensure};
use fs_err as fs;
use std::path::{Path, PathBuf};

/// Directory of the build in the root.
const BUILD: &str = "build";
/// The program of vb3-avcodec. The package installs it as vb3-codec.
const PROGRAM: &str = "avcodec-worker";

/// Returns the packages of the root: build tools, and for another processor its compiler and libraries.
fn packages(arch: Arch) -> String {
    let tools = "gcc,libc6-dev,pkg-config,dpkg-dev";
    if arch.is_here() {
        return format!("{tools},libavcodec-dev");
    }
    let (name, machine) = (arch.debian(), arch.machine().replace('_', "-"));
    format!("{tools},gcc-{machine}-linux-gnu,libc6-dev:{name},libavcodec-dev:{name}")
}

fn build_root(arch: Arch, suite: &str) -> Result<PathBuf> {
    let include = format!("--include={}", packages(arch));
    let mut options = vec!["--variant=apt".to_owned(), include];
    if !arch.is_here() {
        let own = sh::text(cmd!("dpkg --print-architecture"))?;
        options.push(format!("--architectures={own},{}", arch.debian()));
    }
    let kind = format!("codec-{}", arch.debian());
    root::fresh(suite, &kind, &options)
}

/// Builds the program in a root of Debian, and then runs the command `more` there. Returns the program's path.
fn build(root: &Path, arch: Arch, more: &str) -> Result<PathBuf> {
    let (target, machine) = (arch.target(), arch.machine());
    sh::run(sh::cargo("fetch --locked --target").arg(target))?;
    let (shared, mut script) = root::rust(BUILD)?;
    if !arch.is_here() {
        for (name, value) in arch.cross() {
            script += &format!("export {name}={value}\n");
        }
        let libraries = format!("/usr/lib/{machine}-linux-gnu/pkgconfig");
        script += &format!("export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_LIBDIR={libraries}\n");
    }
    script += &format!(
        "cargo build --release --locked --offline \
             --package vb3-avcodec --bin {PROGRAM} --target {target}\n{more}"
    );
    root::inside(root, &shared, &["sh", "-ec", &script])?;
    Ok(root.join(format!("{BUILD}/{target}/release/{PROGRAM}")))
}

/// Builds the program for a Debian release and puts it at a path.
pub(crate) fn put(arch: Arch, suite: &str, to: &Path) -> Result<()> {
    let root = build_root(arch, suite)?;
    stage::copy(&build(&root, arch, "")?, to, "755")?;
    Ok(fs::remove_dir_all(&root)?)
}

/// Builds the program for a Debian release and packs it, as crates/simulation/avcodec/Cargo.toml describes it.
pub(super) fn make(arch: Arch, number: &str, suite: &str) -> Result<PathBuf> {
    let (root, target) = (build_root(arch, suite)?, arch.target());
    let files = root.join(BUILD).join(target).join(stage::FILES);
    fs::create_dir_all(&files)?;
    let licences = licences::text("vb3-avcodec", target)?;
    fs::write(files.join(stage::THIRD_PARTY), licences)?;
    let version = format!("{VERSION}+deb{number}");
    let name = format!("vb3-codec_{version}_{}.deb", arch.debian());
    stage::copy(&stage::cargo_deb()?, &root.join("cargo-deb"), "755")?;
    let pack = format!(
        "/cargo-deb --no-build --locked --offline --package vb3-avcodec --target {target} \
             --deb-version {version} --output /{name}"
    );
    build(&root, arch, &pack)?;
    let package = super::dir().join(&name);
    stage::copy(&root.join(&name), &package, "644")?;
    fs::remove_dir_all(&root)?;
    let depends = sh::text(cmd!("dpkg-deb --field {package} Depends"))?;
    ensure!(
        depends.contains("libavcodec"),
        "{name} needs no libavcodec: {depends}"
    );
    Ok(package)
}
