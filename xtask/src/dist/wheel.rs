//! Python wheels: the static binary, the module and the pytest plugin, packed by maturin.

use super::stage::THIRD_PARTY;
use crate::arch::Arch;
use crate::sh::{self, cmd};
use anyhow::{Context as _, Result};
use fs_err as fs;
use std::path::{Path, PathBuf};

/// The program from PyPI that builds wheels.
const MATURIN: &str = "maturin>=1.8,<2";
/// Oldest systems on which pip installs the wheel. The binary needs none of their files.
const PLATFORM: &str = "manylinux2014";

/// Fails unless a wheel contains exactly this binary.
const COMPARE: &str = "
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
names = [name for name in wheel.namelist() if name.endswith('/scripts/vb3')]
assert [wheel.read(name) for name in names] == [open(sys.argv[2], 'rb').read()], names
";

/// Makes the wheel for a processor. It contains exactly this binary, which is also tried without a wheel.
pub(super) fn make(arch: Arch, stage: &Path, binary: &Path) -> Result<PathBuf> {
    let (python, target) = (sh::root().join("python"), arch.target());
    fs::copy(stage.join(THIRD_PARTY), python.join(THIRD_PARTY))?;
    // maturin is installed once, in a virtual environment.
    let tools = super::dir().join("maturin");
    if !tools.join("bin/maturin").exists() {
        sh::quietly(cmd!("python3 -m venv {tools}"))?;
        sh::quietly(cmd!("{tools}/bin/pip install {MATURIN}"))?;
    }
    let out = super::dir().join(format!("wheel-{}", arch.debian()));
    sh::fresh(&out)?;
    let mut build = cmd!(
        "{tools}/bin/maturin build --release --locked --target {target} --compatibility {PLATFORM} --out {out}"
    );
    arch.linked_statically(build.current_dir(&python));
    sh::quietly(&mut build)?;
    let wheel = fs::read_dir(&out)?.next();
    let wheel = wheel.context("maturin made no wheel")??;
    let to = super::dir().join(wheel.file_name());
    fs::rename(wheel.path(), &to)?;
    fs::remove_dir(&out)?;
    sh::quietly(cmd!("python3 -c {COMPARE} {to} {binary}"))
        .with_context(|| format!("{} has another binary", to.display()))?;
    Ok(to)
}
