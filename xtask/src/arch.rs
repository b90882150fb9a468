//! Processor architectures: their names, tools and virtual machines.

use crate::sh::cmd;
use std::process::Command;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arch {
    /// A PC.
    #[default]
    #[value(name = "x86-64")]
    X86_64,
    /// 64-bit Arm; QEMU's virt machine.
    Arm64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Arm64];

    /// Returns our name, Debian's, the processor's, and Rust's target.
    const fn names(self) -> [&'static str; 4] {
        match self {
            Self::X86_64 => ["x86-64", "amd64", "x86_64", "x86_64-unknown-linux-gnu"],
            Self::Arm64 => ["arm64", "arm64", "aarch64", "aarch64-unknown-linux-gnu"],
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        self.names()[0]
    }

    pub(crate) const fn debian(self) -> &'static str {
        self.names()[1]
    }

    pub(crate) const fn machine(self) -> &'static str {
        self.names()[2]
    }

    pub(crate) const fn target(self) -> &'static str {
        self.names()[3]
    }

    pub(crate) fn is_here(self) -> bool {
        std::env::consts::ARCH == self.machine()
    }

    /// Returns the name of a program for C builds, such as `gcc`, for this architecture.
    pub(crate) fn tool(self, name: &str) -> String {
        match self.is_here() {
            true => name.to_owned(),
            false => format!("{}-linux-gnu-{name}", self.machine()),
        }
    }

    /// Returns the variables that let cargo build for this architecture.
    pub(crate) fn cross(self) -> Vec<(String, String)> {
        if self.is_here() {
            return Vec::new();
        }
        let (lower, compiler) = (self.target().replace('-', "_"), self.tool("gcc"));
        let linker = format!("CARGO_TARGET_{}_LINKER", lower.to_uppercase());
        let cc = format!("CC_{lower}");
        vec![(linker, compiler.clone()), (cc, compiler)]
    }

    /// Lets a build link statically for this architecture.
    pub(crate) fn linked_statically(self, build: &mut Command) {
        build.env("RUSTFLAGS", "-C target-feature=+crt-static");
        build.envs(self.cross());
    }

    /// Returns QEMU's command for a machine of this architecture that boots a kernel with an initial RAM disk.
    /// QEMU ends with the thread that starts it.
    pub(crate) fn qemu(self) -> Command {
        let program = format!("qemu-system-{}", self.machine());
        let (machine, cpu) = match self {
            Self::X86_64 => ("q35", "max"),
            // In emulation, the architecture's own algorithm for signing pointers takes most of the time.
            Self::Arm64 => ("virt,gic-version=3", "max,pauth-impdef=on"),
        };
        cmd!(
            "setpriv --pdeathsig KILL nice {program} -M {machine} -cpu {cpu} -nodefaults -no-reboot -display none"
        )
    }
}
