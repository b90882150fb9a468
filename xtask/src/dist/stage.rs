//! The files of a release, and the archives that contain them.

use super::{VERSION, licences};
use crate::arch::Arch;
use crate::sh::{self, cmd};
use anyhow::{Context as _, Result};
use fs_err as fs;
use std::path::{Path, PathBuf};

/// Completions: the shell and the file's name.
const COMPLETIONS: [[&str; 2]; 3] = [["bash", "vb3.bash"], ["zsh", "_vb3"], ["fish", "vb3.fish"]];
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
pub(super) const THIRD_PARTY: &str = "THIRD-PARTY-LICENSES.txt";

/// Directory of the files that packages have besides programs, below a build's target directory.
pub(super) const FILES: &str = "release/deb";

/// Copies a file, with a mode in octal digits. Replaces the file at `to`, which a process may still use.
pub(super) fn copy(from: &Path, to: &Path, mode: &str) -> Result<()> {
    sh::quietly(cmd!("install -D -m {mode} {from} {to}")).map(drop)
}

/// Puts the files of a release into a directory.
/// For another processor, this machine's binary writes the completions and manual pages.
pub(super) fn stage(arch: Arch, binary: &Path) -> Result<PathBuf> {
    let dir = super::dir().join(name(arch));
    sh::fresh(&dir)?;
    copy(binary, &dir.join("vb3"), "755")?;
    let speaks = match arch.is_here() {
        true => binary.to_owned(),
        false => sh::release_vb3()?,
    };
    let (completions, manual) = (dir.join("completions"), dir.join("man/man1"));
    fs::create_dir_all(&completions)?;
    for [shell, name] in COMPLETIONS {
        let text = sh::quietly(cmd!("{speaks} completions {shell}"))?;
        fs::write(completions.join(name), text)?;
    }
    sh::quietly(cmd!("{speaks} manual {manual}"))?;
    for name in DOCUMENTS {
        copy(&sh::root().join(name), &dir.join(name), "644")?;
    }
    fs::write(dir.join(THIRD_PARTY), licences::text("vb3", arch.target())?)?;
    Ok(dir)
}

fn name(arch: Arch) -> String {
    format!("vb3-{VERSION}-{}-linux", arch.machine())
}

/// Packs the directory reproducibly: equal files make equal archives.
pub(super) fn tarball(arch: Arch) -> Result<PathBuf> {
    let (stage, dir) = (name(arch), super::dir());
    let archive = dir.join(format!("{stage}.tar.gz"));
    sh::quietly(cmd!(
        "tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0
             --use-compress-program='gzip --no-name --best' --create --file {archive} --directory {dir} {stage}"
    ))?;
    Ok(archive)
}

/// Makes the binary's Debian package, as crates/front/vb3/Cargo.toml describes it.
pub(super) fn debian(arch: Arch, stage: &Path) -> Result<PathBuf> {
    let target = arch.target();
    let files = sh::target().join(target).join(FILES);
    sh::fresh(&files)?;
    sh::copy_files(stage, &files)?;
    sh::quietly(cmd!("gzip --no-name --best --recursive {files}/man"))?;
    let package = super::dir().join(format!("vb3_{VERSION}_{}.deb", arch.debian()));
    let deb = cargo_deb()?;
    let mut deb = cmd!(
        "{deb} --no-build --package vb3 --target {target} --deb-version {VERSION} --output {package}"
    );
    sh::quietly(deb.current_dir(sh::root()))?;
    Ok(package)
}

/// Returns the path of cargo-deb, which makes Debian packages. It is installed once, and linked statically:
/// it also runs in roots of other systems.
pub(super) fn cargo_deb() -> Result<PathBuf> {
    let tools = super::dir().join("cargo-deb");
    let program = tools.join("bin/cargo-deb");
    if !program.exists() {
        let here = Arch::ALL.into_iter().find(|arch| arch.is_here());
        let here = here.context("there are no packages of this processor")?;
        let mut install = sh::cargo("install --quiet --locked cargo-deb@^3 --target");
        here.linked_statically(install.arg(here.target()).arg("--root").arg(&tools));
        sh::run(&mut install)?;
    }
    Ok(program)
}
