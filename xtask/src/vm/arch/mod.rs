//! Architectures of the lab's machines: what each runs, and how its machine is put together.
//!
//! Beside a module here, an architecture has a file of `lab/arch`: how its modules are built.

mod arm64;
mod x86_64;

use super::lab::Lab;
use super::{Args, Cell, Iommu};
use crate::setup::{self, Package};
use anyhow::Result;
use clap::ValueEnum;
use std::path::Path;
use std::process::Command;

/// Scenarios, and the IOMMUs that each is about.
pub(crate) type Scenarios = &'static [(&'static str, &'static [Iommu])];

/// An architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// A PC.
    #[default]
    #[value(name = "x86-64")]
    X86_64,
    /// QEMU's virt machine.
    Arm64,
}

impl Arch {
    /// Whose kernel this is, by the end of its name.
    pub(crate) fn of(kernel: &str) -> Self {
        if kernel.ends_with("-arm64") {
            Self::Arm64
        } else {
            Self::X86_64
        }
    }

    /// The name of its file in `lab/arch`, and of what is built for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::Arm64 => "arm64",
        }
    }

    /// Debian's name.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Returns the packages for machines of this architecture.
    pub(crate) fn packages(self) -> &'static [Package] {
        match self {
            Self::X86_64 => setup::VM,
            Self::Arm64 => setup::ARM64,
        }
    }

    /// The IOMMUs that its machines can have, the lack of one among them.
    pub(crate) fn iommus(self) -> &'static [Iommu] {
        match self {
            Self::X86_64 => x86_64::IOMMUS,
            Self::Arm64 => arm64::IOMMUS,
        }
    }

    /// All scenarios, with the IOMMUs that they are about.
    pub(crate) fn everything(self) -> Scenarios {
        match self {
            Self::X86_64 => x86_64::EVERYTHING,
            Self::Arm64 => arm64::EVERYTHING,
        }
    }

    /// What CI runs of it on the newest kernel, and on others.
    pub(crate) fn chosen(self, newest: bool) -> Scenarios {
        match (self, newest) {
            (Self::X86_64, true) => x86_64::EVERYTHING,
            (Self::X86_64, false) => x86_64::OLDER,
            (Self::Arm64, true) => arm64::CHOSEN,
            (Self::Arm64, false) => &[],
        }
    }

    /// The machine of a cell, without its size and what it runs; and arguments of its kernel.
    /// `size` is that size in QEMU's words, `dir` takes the files `console` and `results`.
    ///
    /// # Errors
    /// A part of the machine cannot be made.
    pub(super) fn machine(
        self,
        lab: &Lab,
        cell: &Cell,
        args: &Args,
        dir: &Path,
        size: &[String],
    ) -> Result<(Command, String)> {
        match self {
            Self::X86_64 => x86_64::machine(lab, cell, args, dir),
            Self::Arm64 => arm64::machine(cell, dir, size),
        }
    }
}

/// An argument of QEMU's that puts what a serial port says into a file.
fn file(dir: &Path, name: &str) -> String {
    format!("file:{}", dir.join(name).display())
}
