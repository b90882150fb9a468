//! Python wheels: the static binary, the module and the pytest plugin, packed by maturin.

use super::{Arch, Release, licences, stage};
use crate::sh;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program from PyPI that builds wheels.
const MATURIN: &str = "maturin>=1.8,<2";
/// Oldest systems on which pip installs the wheel. The binary needs none of their files.
const PLATFORM: &str = "manylinux2014";

/// Returns the reason why no wheel can be made here, if any.
pub(super) fn missing() -> Option<String> {
    (!sh::has("python3")).then(|| "python3 is not installed".to_owned())
}

/// Installs maturin in a virtual environment, once. Returns its path.
fn maturin(release: &Release) -> Result<PathBuf> {
    let dir = release.dir.join("maturin");
    let maturin = dir.join("bin/maturin");
    if !maturin.exists() {
        sh::quietly(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        sh::quietly(Command::new(dir.join("bin/pip")).args(["install", MATURIN]))?;
    }
    Ok(maturin)
}

/// Fails unless a wheel contains exactly this binary.
const COMPARE: &str = "
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
names = [name for name in wheel.namelist() if name.endswith('/scripts/vb3')]
assert [wheel.read(name) for name in names] == [open(sys.argv[2], 'rb').read()], names
";

/// Makes the wheel for a processor. It contains exactly the binary that is tried alone.
pub(super) fn make(release: &Release, arch: Arch, binary: &Path) -> Result<PathBuf> {
    let python = sh::root().join("python");
    let text = licences::text("vb3", arch.target())?;
    fs::write(python.join(stage::THIRD_PARTY), text)?;
    let out = release.dir.join(format!("wheel-{}", arch.debian()));
    sh::fresh(&out)?;
    let mut build = Command::new(maturin(release)?);
    build.args(["build", "--release", "--locked", "--target", arch.target()]);
    build.args(["--compatibility", PLATFORM, "--out"]).arg(&out);
    build.current_dir(&python);
    arch.linked_statically(&mut build);
    sh::quietly(&mut build)?;
    let mut made = fs::read_dir(&out)?;
    let wheel = made.next().context("maturin made no wheel")??;
    let to = release.dir.join(wheel.file_name());
    fs::rename(wheel.path(), &to)?;
    fs::remove_dir(&out)?;
    let mut compare = Command::new("python3");
    sh::quietly(compare.args(["-c", COMPARE]).arg(&to).arg(binary))
        .with_context(|| format!("{} has another binary", to.display()))?;
    Ok(to)
}
