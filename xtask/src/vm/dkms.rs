//! `cargo xtask dkms`: builds a package of each module.

use super::lab::Lab;
use super::{build, results};
use crate::arch::Arch;
use crate::{setup, sh};
use anyhow::Result;
use fs_err as fs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The architecture that they are for
    #[arg(long, value_enum, default_value_t)]
    arch: Arch,
    /// Install them in the build root, look what each kernel would load, and remove them
    #[arg(long)]
    test: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(&["x86-64", args.arch.name()])?;
    let lab = Lab::open(false)?;
    build::sources(&lab)?;
    lab.add(args.arch)?;
    build::object(&lab, args.arch, None)?;
    match args.test {
        true => test(&lab, args.arch),
        false => packages(&lab, args.arch).map(drop),
    }
}

/// The modules: the directory in kernel/module, and the module of videobuf2 that each replaces.
const MODULES: [(&str, &str); 3] = [("contig", "dma-contig"), ("sg", "dma-sg"), VMALLOC];
const VMALLOC: (&str, &str) = ("vmalloc", "vmalloc");

/// The version that a test upgrades a package to.
const NEXT_VERSION: &str = "99";

/// Builds the archive of the Rust object's source, and an architecture's packages. Returns the files' names.
fn packages(lab: &Lab, arch: Arch) -> Result<(String, Vec<String>)> {
    let version = &sh::field(build::KERNEL, "vb3-kernel", "version")?;
    let archive = format!("videobuf3-kernel_{version}_source.tar.xz");
    let line = format!("source.sh /work/src {version} /work/{archive}");
    lab.step("packing the Rust object's source", 60, &line)?;
    let package = |module| package(lab, arch, module, version, &archive);
    let names: Vec<String> = MODULES.into_iter().map(package).collect::<Result<_>>()?;
    fs::create_dir_all(results())?;
    for name in std::iter::once(&archive).chain(&names) {
        let to = results().join(name);
        fs::copy(lab.work().join(name), &to)?;
        println!("{}", to.display());
    }
    Ok((archive, names))
}

fn package(
    lab: &Lab,
    arch: Arch,
    (module, kind): (&str, &str),
    version: &str,
    archive: &str,
) -> Result<String> {
    let (object, arch, debian) = (build::object_dir(arch, None), arch.name(), arch.debian());
    let name = format!("videobuf3-{kind}-dkms_{version}_{debian}.deb");
    let what = format!("building the package of {kind} for {arch}");
    let line = format!(
        "package.sh /work/src {object} {arch} {debian} {version} {module} /work/{archive} /work/{name}"
    );
    lab.step(&what, 60, &line)?;
    Ok(name)
}

/// Tests the packages in the build root, with upgrades in each order.
/// Installs them, checks which module each kernel would load, and removes them.
pub(crate) fn test(lab: &Lab, arch: Arch) -> Result<()> {
    let (archive, names) = packages(lab, arch)?;
    let next = package(lab, arch, VMALLOC, NEXT_VERSION, &archive)?;
    let inside: String = names.iter().map(|name| format!(" /work/{name}")).collect();
    let arch = arch.name();
    let _lock = lab.lock()?;
    let what = format!("installing and removing the packages of {arch} in the build root");
    let line = format!("package-test.sh /work/src/kernel/lab {arch} /work/{next}{inside}");
    lab.step(&what, 3600, &line)?;
    let what = format!("rebuilding the Rust object of {arch} from its source");
    let line = format!("rebuild-test.sh {arch} /work/{archive}{inside}");
    lab.step(&what, 900, &line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sh::cmd;

    #[test]
    fn derivatives_of_ubuntu_use_its_certificate() {
        let dir = sh::target().join(format!("trusted-test-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(".config"), "CONFIG_MODULE_SIG_FORCE=y\n").unwrap();
        let (script, release) = (
            sh::root().join("kernel/package/trusted.sh"),
            dir.join("os-release"),
        );
        for (text, certificate) in [
            ("ID=ubuntu\nID_LIKE=debian", "shim-signed/mok/MOK.der"),
            (
                "ID=linuxmint\nID_LIKE=\"ubuntu debian\"",
                "shim-signed/mok/MOK.der",
            ),
            ("ID=pop\nID_LIKE='ubuntu debian'", "shim-signed/mok/MOK.der"),
            ("ID=debian", "dkms/mok.pub"),
            ("ID=raspbian\nID_LIKE=debian", "dkms/mok.pub"),
        ] {
            fs::write(&release, text).unwrap();
            let mut trusted = cmd!("sh {script} {dir}");
            let output = trusted.env("OS_RELEASE", &release).output().unwrap();
            let reason = String::from_utf8(output.stdout).unwrap();
            assert!(
                reason.contains(&format!("/var/lib/{certificate}")),
                "{text}: {reason}"
            );
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
