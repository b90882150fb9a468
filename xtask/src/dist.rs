//! Builds what users install: packages of a static binary, and a package with the codecs.
//! The binary's packages are a tarball, a Debian package and a Python wheel.

mod codec;
mod licences;
mod root;
mod services;
mod stage;
mod trial;
mod wheel;

use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Arguments of `dist`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Processor to build for; all whose tools are installed without. May be repeated
    #[arg(long, value_enum)]
    arch: Vec<Arch>,
    /// Try what was made in an empty directory and in roots of Debian 12 and 13, which are made by
    /// mmdebstrap once and kept; what is for another processor, in a virtual machine
    #[arg(long = "try")]
    trial: bool,
}

/// A processor architecture to build for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Arch {
    #[value(name = "x86-64")]
    X86_64,
    Arm64,
}

impl Arch {
    /// Returns the names of Rust's target, of Debian's architecture, and of the processor.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::X86_64 => ("x86_64-unknown-linux-gnu", "amd64", "x86_64"),
            Self::Arm64 => ("aarch64-unknown-linux-gnu", "arm64", "aarch64"),
        }
    }

    const fn target(self) -> &'static str {
        self.names().0
    }

    const fn debian(self) -> &'static str {
        self.names().1
    }

    const fn machine(self) -> &'static str {
        self.names().2
    }

    fn is_here(self) -> bool {
        std::env::consts::ARCH == self.machine()
    }

    /// Returns the name of a program of the C compiler for this architecture.
    fn tool(self, name: &str) -> String {
        if self.is_here() {
            name.to_owned()
        } else {
            format!("{}-linux-gnu-{name}", self.machine())
        }
    }

    /// Lets a build link statically for this architecture.
    fn linked_statically(self, build: &mut Command) {
        build.env("RUSTFLAGS", "-C target-feature=+crt-static");
        if !self.is_here() {
            cross(build, self.target(), &self.tool(""));
        }
    }

    /// Returns the missing tool or library for builds of this architecture, if any.
    fn missing(self) -> Option<String> {
        let tool = self.tool("gcc");
        if !sh::has(&tool) {
            return Some(format!("{tool} is not installed"));
        }
        let mut gcc = Command::new(&tool);
        // If the compiler lacks the library, it prints only the name.
        let library = sh::quietly(gcc.arg("--print-file-name=libc.a")).unwrap_or_default();
        if !library.starts_with(b"/") {
            return Some(format!("{tool} has no static C library, libc.a"));
        }
        let target = self.target();
        let why = || format!("rustc has no standard library for {target}");
        (!sh::has_target(target)).then(why)
    }
}

/// The release: name, version and directory.
struct Release {
    version: String,
    dir: PathBuf,
}

impl Release {
    fn new() -> Result<Self> {
        Ok(Self {
            version: version()?,
            dir: sh::target().join("dist"),
        })
    }
}

/// Makes the packages, and tries them if asked to.
pub(crate) fn run(args: &Args) -> Result<()> {
    let release = Release::new()?;
    let all = [Arch::X86_64, Arch::Arm64];
    let wanted = if args.arch.is_empty() {
        &all[..]
    } else {
        &args.arch
    };
    let mut made = 0;
    for &arch in wanted {
        match arch.missing() {
            Some(why) if args.arch.is_empty() => println!("{}: not made, {why}", arch.machine()),
            Some(why) => bail!("{} cannot be made: {why}", arch.machine()),
            None => {
                make(&release, arch, args.trial)?;
                made += 1;
            }
        }
    }
    if made == 0 {
        bail!("nothing could be made");
    }
    Ok(())
}

fn make(release: &Release, arch: Arch, try_it: bool) -> Result<()> {
    let binary = build(arch)?;
    let size = binary.metadata()?.len();
    println!(
        "{}: {} MiB, {}",
        binary.display(),
        size / 1024 * 10 / 1024 / 10,
        needs(arch, &binary)?
    );
    let stage = stage::stage(release, arch, &binary)?;
    let tarball = stage::tarball(release, arch, &stage)?;
    println!("{}", tarball.display());
    let package = stage::debian(release, arch, &stage)?;
    println!("{}", package.display());
    let wheel = match wheel::missing() {
        Some(why) => {
            println!("wheel for {}: not made, {why}", arch.machine());
            None
        }
        None => Some(wheel::make(release, arch, &binary)?),
    };
    if let Some(wheel) = &wheel {
        println!("{}", wheel.display());
    }
    if try_it && arch.is_here() {
        trial::everywhere(release, &stage.join("vb3"), &package)?;
        services::everywhere(release, &package, &tarball)?;
        if let Some(wheel) = &wheel {
            trial::wheel(release, wheel)?;
        }
    } else if try_it && arch == Arch::Arm64 {
        trial::arm64(release, &stage.join("vb3"), wheel.as_deref())?;
    }
    for (number, suite) in root::SUITES {
        if let Some(why) = codec::missing() {
            println!(
                "vb3-codec for Debian {number}, {}: not made, {why}",
                arch.debian()
            );
            continue;
        }
        let codec = codec::make(release, arch, number, suite)
            .with_context(|| format!("vb3-codec cannot be made for Debian {number}"))?;
        println!("{}", codec.display());
        if try_it && arch.is_here() {
            trial::codec(release, &package, &codec, suite)?;
        }
    }
    Ok(())
}

/// Builds the statically linked binary.
fn build(arch: Arch) -> Result<PathBuf> {
    let mut cargo = sh::cargo();
    cargo.args(["build", "--release", "--package", "vb3", "--bin", "vb3"]);
    cargo.args(["--target", arch.target()]);
    arch.linked_statically(&mut cargo);
    sh::run(&mut cargo)?;
    Ok(sh::target().join(arch.target()).join("release/vb3"))
}

/// Builds `vb3-codec` for Debian 13 on arm64, if a root of it can be made, and puts it at a path.
pub(crate) fn arm64_codec(to: &Path) -> Result<()> {
    if let Some(why) = codec::missing() {
        println!("vb3-codec for arm64: not made, {why}");
        return Ok(());
    }
    codec::put(&Release::new()?, Arch::Arm64, "trixie", to)
}

/// Lets cargo build for another processor with the tools whose names begin with `prefix`.
pub(crate) fn cross(cargo: &mut Command, target: &str, prefix: &str) {
    let lower = target.replace('-', "_");
    let linker = format!("CARGO_TARGET_{}_LINKER", lower.to_uppercase());
    cargo.env(linker, format!("{prefix}gcc"));
    cargo.env(format!("CC_{lower}"), format!("{prefix}gcc"));
}

/// Describes the files that the binary needs from a system.
///
/// # Errors
/// The binary needs a file, so it is not linked statically.
fn needs(arch: Arch, binary: &Path) -> Result<&'static str> {
    let mut readelf = Command::new(arch.tool("readelf"));
    let text = sh::quietly(readelf.args(["-dlW"]).arg(binary))?;
    let text = String::from_utf8_lossy(&text);
    if let Some(line) = text
        .lines()
        .find(|line| line.contains("(NEEDED)") || line.contains("INTERP"))
    {
        bail!("{} is not static: {}", binary.display(), line.trim());
    }
    Ok("needs no file of the system")
}

/// Returns the version of the packages.
fn version() -> Result<String> {
    let packages = sh::packages()?;
    let vb3 = packages.iter().find(|package| package["name"] == "vb3");
    let version = vb3.and_then(|package| package["version"].as_str());
    Ok(version.context("cargo knows no package vb3")?.to_owned())
}
