//! Makes roots (root directories) of Debian releases by mmdebstrap, keeps them, and runs commands in them.

use crate::sh::{self, cmd};
use crate::vm::lab;
use anyhow::{Context as _, Result};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Version and name of Debian's releases that get packages.
pub(super) const SUITES: [(&str, &str); 2] = [("12", "bookworm"), ("13", "trixie")];

/// Makes a fresh root of a Debian release with mmdebstrap's `options`. `kind` is part of its name.
pub(super) fn fresh(suite: &str, kind: &str, options: &[String]) -> Result<PathBuf> {
    let archive = sh::cache("roots")?.join(archive(suite, kind, options));
    if !archive.exists() {
        let half = archive.with_extension("half.tar");
        sh::run(cmd!("mmdebstrap {options...} {suite} {half}"))?;
        fs::rename(&half, &archive)?;
    }
    let root = super::dir().join(format!("root-{suite}-{kind}"));
    sh::fresh(&root)?;
    sh::quietly(cmd!(
        "tar --extract --exclude=./dev/* --file {archive} --directory {root}"
    ))?;
    Ok(root)
}

/// Returns the name of a root's archive. It changes with the options, so that no old root is used for new ones.
fn archive(suite: &str, kind: &str, options: &[String]) -> String {
    format!("{suite}-{kind}-{}.tar", lab::hash(options))
}

/// Returns the directories that a root shares to build this tree with this system's Rust, and shell commands that set
/// the environment for it. The build's files go to `build` in the root.
pub(super) fn rust(build: &str) -> Result<([PathBuf; 3], String)> {
    let sysroot = PathBuf::from(sh::text(cmd!("rustc --print sysroot"))?);
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let home = home.context("there is no home directory for cargo")?;
    let shared = [sh::root(), sysroot, home];
    let [tree, rust, own] = shared.each_ref().map(|dir| dir.display());
    let script = format!(
        "cd '{tree}'
         export CARGO_HOME='{own}' PATH='{rust}/bin':$PATH CARGO_TARGET_DIR=/{build}\n"
    );
    Ok((shared, script))
}

/// Runs a command in separate namespaces, with a directory as its root. It shares /proc, /dev, /sys
/// and the directories `shared` with this system.
pub(super) fn inside(root: &Path, shared: &[PathBuf], command: &[&str]) -> Result<Vec<u8>> {
    const SCRIPT: &str = r#"cd "$0"; mkdir -p proc dev sys tmp
mount --rbind /dev dev; mount --bind /sys sys; mount -t proc proc proc
while [ "$1" != -- ]; do mkdir -p "$0$1"; mount --rbind "$1" "$0$1"; shift; done; shift
exec chroot "$0" "$@""#;
    let mut unshare: Command = lab::namespace();
    unshare.env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    unshare.args(["sh", "-ec", SCRIPT]).arg(root).args(shared);
    sh::quietly(unshare.arg("--").args(command))
}
