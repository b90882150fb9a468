//! `cargo xtask dkms`: builds a package of each module.

use super::arch::Arch;
use super::lab::Lab;
use super::{build, results};
use crate::{setup, sh};
use anyhow::{Context as _, Result};

/// Arguments of `dkms`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The architecture that they are for
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// Install them in the build root, look what each kernel would load, and remove them
    #[arg(long)]
    test: bool,
}

/// Builds the packages.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(setup::VM)?;
    setup::install(args.arch.packages())?;
    let lab = Lab::open(None, false)?;
    lab.add(args.arch, None)?;
    build::sources(&lab)?;
    build::object(&lab, args.arch, None)?;
    if args.test {
        test(&lab, args.arch)
    } else {
        packages(&lab, args.arch).map(drop)
    }
}

/// The modules: the directory in kernel/module, and the module of videobuf2 that each replaces.
const MODULES: [(&str, &str); 3] = [
    ("contig", "dma-contig"),
    ("sg", "dma-sg"),
    ("vmalloc", "vmalloc"),
];

/// The version that a test upgrades a package to.
const NEXT_VERSION: &str = "99";

/// Builds the packages and the archive of the Rust object's source. Returns the packages' names.
fn packages(lab: &Lab, arch: Arch) -> Result<Vec<String>> {
    let version = version()?;
    let archive = archive(&version);
    lab.step(
        "packing the Rust object's source",
        60,
        "source",
        &format!("source.sh /work/src {version} /work/{archive}"),
    )?;
    keep(lab, &archive)?;
    let mut names = Vec::new();
    for (module, kind) in MODULES {
        let name = package(lab, arch, module, kind, &version)?;
        keep(lab, &name)?;
        names.push(name);
    }
    Ok(names)
}

/// Returns the name of the archive of the Rust object's source, for all architectures.
fn archive(version: &str) -> String {
    format!("videobuf3-kernel_{version}_source.tar.xz")
}

fn package(lab: &Lab, arch: Arch, module: &str, kind: &str, version: &str) -> Result<String> {
    let name = format!("videobuf3-{kind}-dkms_{version}_{}.deb", arch.debian());
    lab.step(
        &format!("building the package of {kind} for {}", arch.name()),
        60,
        &format!("package-{module}"),
        &format!(
            "package.sh /work/src {} {} {} {version} {module} /work/{} /work/{name}",
            build::object_dir(arch, None),
            arch.name(),
            arch.debian(),
            archive(&self::version()?),
        ),
    )?;
    Ok(name)
}

/// Copies a file from the work directory to the directory of results.
fn keep(lab: &Lab, name: &str) -> Result<()> {
    std::fs::create_dir_all(results()).context("cannot make the directory of results")?;
    let to = results().join(name);
    std::fs::copy(lab.work().join(name), &to).with_context(|| format!("{name} is missing"))?;
    println!("{}", to.display());
    Ok(())
}

/// Tests the packages in the build root, with upgrades in each order.
/// Installs them, looks which module each kernel would load, and removes them.
///
/// # Errors
/// A step fails. The message has the end of its log.
pub(crate) fn test(lab: &Lab, arch: Arch) -> Result<()> {
    let names = packages(lab, arch)?;
    let next = package(lab, arch, "vmalloc", "vmalloc", NEXT_VERSION)?;
    let inside: String = names.iter().map(|name| format!(" /work/{name}")).collect();
    let arch = arch.name();
    let _lock = lab.lock()?;
    lab.step(
        &format!("installing and removing the packages of {arch} in the build root"),
        3600,
        &format!("package-test-{arch}"),
        &format!("package-test.sh /work/src/lab {arch} /work/{next}{inside}"),
    )?;
    lab.step(
        &format!("rebuilding the Rust object of {arch} from its source"),
        900,
        &format!("rebuild-{arch}"),
        &format!(
            "rebuild-test.sh {arch} /work/{}{inside}",
            archive(&version()?)
        ),
    )
}

/// Returns the version of the kernel crate.
fn version() -> Result<String> {
    let path = sh::root().join("kernel/Cargo.toml");
    let manifest = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let manifest: toml::Table = toml::from_str(&manifest)?;
    let version = manifest["package"]["version"].as_str();
    Ok(version
        .context("the kernel crate has no version")?
        .to_owned())
}
