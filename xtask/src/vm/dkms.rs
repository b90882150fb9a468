//! `cargo xtask dkms`: the module as a package.

use super::lab::Lab;
use super::{build, results, step};
use crate::{setup, sh};
use anyhow::{Context as _, Result};
use std::time::Duration;

/// Arguments of `dkms`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install it in the build root, look what each kernel would load, and remove it
    #[arg(long)]
    test: bool,
}

/// Builds the package.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(setup::VM)?;
    let lab = Lab::open(None, false)?;
    build::common(&lab)?;
    if args.test {
        test(&lab)
    } else {
        package(&lab).map(drop)
    }
}

/// Builds the package; gives its name in the work directory.
fn package(lab: &Lab) -> Result<String> {
    let version = version()?;
    let name = format!("videobuf3-dma-contig-dkms_{version}_amd64.deb");
    let inside = format!("/work/{name}");
    step::run(
        "building the package",
        Duration::from_secs(60),
        &lab.log("package"),
        &mut lab.inside(&[
            "sh",
            "/work/src/lab/package.sh",
            "/work/src",
            "/work/rust",
            &version,
            &inside,
        ]),
    )?;
    std::fs::create_dir_all(results()).context("cannot make the directory of results")?;
    let to = results().join(&name);
    std::fs::copy(lab.work().join(&name), &to).context("the package is missing")?;
    println!("{}", to.display());
    Ok(name)
}

/// Builds the package, installs it in the build root, looks what each kernel would load, and
/// removes it.
///
/// # Errors
/// A step fails; the text has the end of its log.
pub(crate) fn test(lab: &Lab) -> Result<()> {
    let name = package(lab)?;
    let _lock = lab.lock()?;
    step::run(
        "installing and removing the package in the build root",
        Duration::from_secs(600),
        &lab.log("package-test"),
        &mut lab.inside(&[
            "sh",
            "/work/src/lab/package-test.sh",
            &format!("/work/{name}"),
        ]),
    )
}

/// The version of the kernel crate.
fn version() -> Result<String> {
    let path = sh::root().join("kernel/Cargo.toml");
    let manifest = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .map(|version| version.trim_matches('"').to_owned())
        .context("the kernel crate has no version")
}
