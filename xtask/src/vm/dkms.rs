//! `cargo xtask dkms`: each module as a package.

use super::arch::Arch;
use super::lab::Lab;
use super::{build, results};
use crate::{setup, sh};
use anyhow::{Context as _, Result};

/// Arguments of `dkms`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install them in the build root, look what each kernel would load, and remove them
    #[arg(long)]
    test: bool,
}

/// Builds the packages.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(setup::VM)?;
    let lab = Lab::open(None, false)?;
    build::sources(&lab)?;
    build::object(&lab, Arch::X86_64, None)?;
    if args.test {
        test(&lab)
    } else {
        packages(&lab).map(drop)
    }
}

/// The modules: directories of kernel/module, and what of videobuf2 each takes the place of.
const MODULES: [(&str, &str); 3] = [
    ("contig", "dma-contig"),
    ("sg", "dma-sg"),
    ("vmalloc", "vmalloc"),
];

/// Builds the packages; gives their names in the work directory.
fn packages(lab: &Lab) -> Result<Vec<String>> {
    let all = MODULES.iter();
    all.map(|(module, kind)| package(lab, module, kind))
        .collect()
}

fn package(lab: &Lab, module: &str, kind: &str) -> Result<String> {
    let arch = Arch::X86_64;
    let version = version()?;
    let name = format!("videobuf3-{kind}-dkms_{version}_amd64.deb");
    let inside = format!("/work/{name}");
    lab.step(
        &format!("building the package of {kind}"),
        60,
        &format!("package-{module}"),
        &[
            "sh",
            "/work/src/lab/package.sh",
            "/work/src",
            &build::object_dir(arch, None),
            arch.name(),
            &version,
            module,
            &inside,
        ],
    )?;
    std::fs::create_dir_all(results()).context("cannot make the directory of results")?;
    let to = results().join(&name);
    std::fs::copy(lab.work().join(&name), &to).context("the package is missing")?;
    println!("{}", to.display());
    Ok(name)
}

/// Builds the packages, installs them in the build root, looks what each kernel would load, and
/// removes them.
///
/// # Errors
/// A step fails; the text has the end of its log.
pub(crate) fn test(lab: &Lab) -> Result<()> {
    let names = packages(lab)?;
    let inside: Vec<String> = names.iter().map(|name| format!("/work/{name}")).collect();
    let mut words = vec!["sh", "/work/src/lab/package-test.sh"];
    words.extend(inside.iter().map(String::as_str));
    let _lock = lab.lock()?;
    lab.step(
        "installing and removing the packages in the build root",
        600,
        "package-test",
        &words,
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
