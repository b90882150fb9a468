//! Makes a package of `vb3-codec` for each Debian release, since it is linked with that release's libavcodec.
//! The program is built in a root of that release, with this system's Rust, or on the system that will use it.

use super::{VERSION, licences, root, stage};
use crate::arch::Arch;
use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, ensure};
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
    let root = build_root(arch, suite)?;
    let name = prepare(&root.join(BUILD), arch, &format!("deb{number}"))?;
    stage::copy(&stage::cargo_deb()?, &root.join("cargo-deb"), "755")?;
    let pack = format!("/cargo-deb {} --output /{name}", deb_options(arch, &name));
    build(&root, arch, &pack)?;
    let package = super::dir().join(&name);
    stage::copy(&root.join(&name), &package, "644")?;
    fs::remove_dir_all(&root)?;
    check(&package)
}

/// Builds the program for the libavcodec of this system and packs it. `system` names the system in the version.
pub(super) fn make_here(system: &str) -> Result<PathBuf> {
    let here = Arch::ALL.into_iter().find(|arch| arch.is_here());
    let arch = here.context("there are no packages of this processor")?;
    let (dir, target) = (super::dir().join(BUILD), arch.target());
    let name = prepare(&dir, arch, system)?;
    let package = super::dir().join(&name);
    let words = format!("--package vb3-avcodec --bin {PROGRAM} --target {target}");
    let mut cargo = sh::cargo(&format!("build --release --locked {words}"));
    sh::run(cargo.env("CARGO_TARGET_DIR", &dir))?;
    let (deb, options) = (stage::cargo_deb()?, deb_options(arch, &name));
    let options: Vec<&str> = options.split_whitespace().collect();
    let mut pack = cmd!("{deb} {options...} --output {package}");
    sh::quietly(pack.env("CARGO_TARGET_DIR", &dir).current_dir(sh::root()))?;
    check(&package)
}

/// Writes the licences to a build's directory. Returns the package's file name.
fn prepare(build: &Path, arch: Arch, system: &str) -> Result<String> {
    let files = build.join(arch.target()).join(stage::FILES);
    fs::create_dir_all(&files)?;
    let licences = licences::text("vb3-avcodec", arch.target())?;
    fs::write(files.join(stage::THIRD_PARTY), licences)?;
    let name = format!("vb3-codec_{VERSION}+{system}_{}.deb", arch.debian());
    Ok(name)
}

/// Returns cargo-deb's options for a package with this file name.
fn deb_options(arch: Arch, name: &str) -> String {
    let version = name.split('_').nth(1).unwrap_or(VERSION);
    let target = arch.target();
    format!(
        "--no-build --locked --offline --package vb3-avcodec --target {target} --deb-version {version}"
    )
}

/// Checks that a package depends on libavcodec.
fn check(package: &Path) -> Result<PathBuf> {
    let depends = sh::text(cmd!("dpkg-deb --field {package} Depends"))?;
    let name = package.display();
    ensure!(
        depends.contains("libavcodec"),
        "{name} needs no libavcodec: {depends}"
    );
    Ok(package.to_owned())
}
