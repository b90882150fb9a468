//! Architectures of the lab's machines: the scenarios of each, and how its machine is built.
//!
//! Besides a module here, an architecture has a file in `lab/arch`, which says how its modules are built.

mod arm64;
mod x86_64;

use super::lab::Lab;
use super::{Args, Cell, Iommu};
use crate::setup::{self, Package};
use anyhow::Result;
use clap::ValueEnum;
use std::path::Path;
use std::process::Command;

/// Names of scenarios, each with the IOMMUs that it is about.
pub(crate) type Scenarios = &'static [(&'static str, &'static [Iommu])];

/// The architecture of a virtual machine.
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
    /// Returns the architecture of a kernel, judged by the end of its name.
    pub(crate) fn of(kernel: &str) -> Self {
        if kernel.ends_with("-arm64") {
            Self::Arm64
        } else {
            Self::X86_64
        }
    }

    /// Returns the name of the architecture's file in `lab/arch`, and of its build products.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::Arm64 => "arm64",
        }
    }

    /// Returns Debian's name of the architecture.
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

    /// Returns the IOMMUs that the architecture's machines can have, `None` included.
    pub(crate) fn iommus(self) -> &'static [Iommu] {
        match self {
            Self::X86_64 => x86_64::IOMMUS,
            Self::Arm64 => arm64::IOMMUS,
        }
    }

    /// Returns all scenarios, each with the IOMMUs that it is about.
    pub(crate) fn everything(self) -> Scenarios {
        match self {
            Self::X86_64 => x86_64::EVERYTHING,
            Self::Arm64 => arm64::EVERYTHING,
        }
    }

    /// Returns the scenarios that CI runs on the newest kernel, or on the other kernels.
    pub(crate) fn chosen(self, newest: bool) -> Scenarios {
        match (self, newest) {
            (Self::X86_64, true) => x86_64::EVERYTHING,
            (Self::X86_64, false) => x86_64::OLDER,
            (Self::Arm64, true) => arm64::CHOSEN,
            (Self::Arm64, false) => &[],
        }
    }

    /// Returns the machine of a cell without its size and programs, and arguments of its kernel.
    /// `size` has QEMU's arguments for the size. The files `console` and `results` go to `dir`.
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

/// Returns QEMU's argument for a serial port whose output goes to a file.
fn file(dir: &Path, name: &str) -> String {
    format!("file:{}", dir.join(name).display())
}
