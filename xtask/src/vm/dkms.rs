//! `cargo xtask dkms`: builds a package of each module.

use super::lab::Lab;
use super::{build, results};
use crate::arch::Arch;
use crate::{setup, sh};
use anyhow::{Context as _, Result};
use fs_err as fs;

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
    setup::install(&["x86-64", args.arch.name()])?;
    let lab = Lab::open(false)?;
    lab.add(args.arch)?;
    build::sources(&lab)?;
    build::object(&lab, args.arch, None)?;
    match args.test {
        true => test(&lab, args.arch),
        false => Packages::new(&lab, args.arch)?.all().map(drop),
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

/// The packages of an architecture.
struct Packages<'a> {
    lab: &'a Lab,
    arch: Arch,
    version: String,
    /// The archive of the source of the kernel crate's object file, for all architectures.
    archive: String,
}

impl<'a> Packages<'a> {
    fn new(lab: &'a Lab, arch: Arch) -> Result<Self> {
        let kernel = sh::package(&build::kernel_packages()?, "vb3-kernel")?;
        let version = kernel["version"]
            .as_str()
            .context("the kernel crate has no version")?;
        let archive = format!("videobuf3-kernel_{version}_source.tar.xz");
        let version = version.to_owned();
        Ok(Self {
            lab,
            arch,
            version,
            archive,
        })
    }

    /// Builds the packages and the archive of the Rust object's source. Returns the packages' names.
    fn all(&self) -> Result<Vec<String>> {
        let Self {
            version, archive, ..
        } = self;
        self.lab.step(
            "packing the Rust object's source",
            60,
            "source",
            &format!("source.sh /work/src {version} /work/{archive}"),
        )?;
        let mut names = vec![archive.clone()];
        for (module, kind) in MODULES {
            names.push(self.package(module, kind, version)?);
        }
        fs::create_dir_all(results())?;
        for name in &names {
            let to = results().join(name);
            fs::copy(self.lab.work().join(name), &to)?;
            println!("{}", to.display());
        }
        Ok(names.split_off(1))
    }

    fn package(&self, module: &str, kind: &str, version: &str) -> Result<String> {
        let (arch, debian, archive) = (self.arch.name(), self.arch.debian(), &self.archive);
        let name = format!("videobuf3-{kind}-dkms_{version}_{debian}.deb");
        let object = build::object_dir(self.arch, None);
        self.lab.step(
            &format!("building the package of {kind} for {arch}"),
            60,
            &format!("package-{module}"),
            &format!(
                "package.sh /work/src {object} {arch} {debian} {version} {module} /work/{archive} \
                 /work/{name}"
            ),
        )?;
        Ok(name)
    }
}

/// Tests the packages in the build root, with upgrades in each order.
/// Installs them, checks which module each kernel would load, and removes them.
pub(crate) fn test(lab: &Lab, arch: Arch) -> Result<()> {
    let packages = Packages::new(lab, arch)?;
    let names = packages.all()?;
    let next = packages.package("vmalloc", "vmalloc", NEXT_VERSION)?;
    let inside: String = names.iter().map(|name| format!(" /work/{name}")).collect();
    let arch = arch.name();
    let _lock = lab.lock()?;
    lab.step(
        &format!("installing and removing the packages of {arch} in the build root"),
        3600,
        &format!("package-test-{arch}"),
        &format!("package-test.sh /work/src/lab {arch} /work/{next}{inside}"),
    )?;
    if arch == Arch::X86_64.name() {
        let object = build::object_dir(Arch::X86_64, None);
        let line = format!("older.sh /work/src {object} /work/older");
        lab.step("compiling the modules for Linux 6.1", 600, "older", &line)?;
    }
    lab.step(
        &format!("rebuilding the Rust object of {arch} from its source"),
        900,
        &format!("rebuild-{arch}"),
        &format!("rebuild-test.sh {arch} /work/{}{inside}", packages.archive),
    )
}
