//! `cargo xtask dkms`: each module as a package.

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

/// The modules: directories of kernel/module, and what of videobuf2 each takes the place of.
const MODULES: [(&str, &str); 3] = [
    ("contig", "dma-contig"),
    ("sg", "dma-sg"),
    ("vmalloc", "vmalloc"),
];

/// Builds the packages; gives their names in the work directory.
fn packages(lab: &Lab, arch: Arch) -> Result<Vec<String>> {
    let all = MODULES.iter();
    all.map(|(module, kind)| package(lab, arch, module, kind))
        .collect()
}

fn package(lab: &Lab, arch: Arch, module: &str, kind: &str) -> Result<String> {
    let version = version()?;
    let name = format!("videobuf3-{kind}-dkms_{version}_{}.deb", arch.debian());
    let inside = format!("/work/{name}");
    lab.step(
        &format!("building the package of {kind} for {}", arch.name()),
        60,
        &format!("package-{module}"),
        &format!(
            "package.sh /work/src {} {} {} {version} {module} {inside}",
            build::object_dir(arch, None),
            arch.name(),
            arch.debian()
        ),
    )?;
    std::fs::create_dir_all(results()).context("cannot make the directory of results")?;
    let to = results().join(&name);
    std::fs::copy(lab.work().join(&name), &to).context("the package is missing")?;
    println!("{}", to.display());
    Ok(name)
}

/// Builds the packages, installs them in the build root, looks what each kernel would load, and
/// removes them. For another architecture than this machine's, a cross compiler builds the modules
/// there.
///
/// # Errors
/// A step fails; the text has the end of its log.
pub(crate) fn test(lab: &Lab, arch: Arch) -> Result<()> {
    let names = packages(lab, arch)?;
    let inside: String = names.iter().map(|name| format!(" /work/{name}")).collect();
    let arch = arch.name();
    let _lock = lab.lock()?;
    lab.step(
        &format!("installing and removing the packages of {arch} in the build root"),
        1200,
        &format!("package-test-{arch}"),
        &format!("package-test.sh /work/src/lab {arch}{inside}"),
    )
}

/// The version of the kernel crate.
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
