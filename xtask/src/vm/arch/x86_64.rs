//! A PC with VT-d or virtio-iommu, and two serial ports.

use super::{Scenarios, file};
use crate::vm::lab::Lab;
use crate::vm::{Args, Cell, Iommu, boot};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

pub(super) const IOMMUS: &[Iommu] = &[Iommu::None, Iommu::Intel, Iommu::Virtio];

/// The scenarios of `cargo xtask vm --everything`.
/// The longest come first, so that none runs alone at the end.
pub(super) const EVERYTHING: Scenarios = &[
    ("peers", &[Iommu::None]),
    ("package", &[Iommu::None]),
    ("signed", &[Iommu::None]),
    ("stress", &[Iommu::None, Iommu::Intel]),
    ("process", &[Iommu::None]),
    ("compliance", IOMMUS),
    ("edu", IOMMUS),
    ("links", &[Iommu::Intel, Iommu::Virtio]),
    ("untrusted", &[Iommu::Intel]),
    ("far", &[Iommu::None]),
    ("planes", &[Iommu::None]),
    ("conformance", IOMMUS),
    ("pool", &[Iommu::None, Iommu::Intel]),
    ("vmalloc", &[Iommu::None]),
    ("sg", &[Iommu::None, Iommu::Intel]),
    ("vfio", &[Iommu::Intel]),
    ("buffers", &[Iommu::None]),
    ("why", &[Iommu::None]),
    ("reloads", &[Iommu::None]),
    ("swap", &[Iommu::None]),
];

pub(super) const OLDER: Scenarios = &[
    ("package", &[Iommu::None]),
    ("process", &[Iommu::None]),
    ("compliance", &[Iommu::None]),
    ("edu", &[Iommu::Intel]),
    ("conformance", &[Iommu::Virtio]),
    ("pool", &[Iommu::None]),
];

/// Rate of the time stamp counter in kHz if each instruction takes a nanosecond.
const TSC_KHZ_COUNTED: u64 = 1_000_000;

/// Arguments of the kernel that make an unexpected NMI end it.
/// The kernel first prints the stacks of all processors and tasks, timers and locks.
const LAST_WORDS_OF_KERNEL: &str = "unknown_nmi_panic panic_print=0x4d";

pub(super) fn machine(
    lab: &Lab,
    cell: &Cell,
    args: &Args,
    dir: &Path,
) -> Result<(Command, String)> {
    let mut qemu = Command::new("nice");
    qemu.args(["qemu-system-x86_64", "-M", "q35", "-cpu", "max"])
        .args(["-serial", &file(dir, "console")])
        .args(["-serial", &file(dir, "serial")]);
    let mut line = format!("console=ttyS0 results=ttyS1 no_timer_check {LAST_WORDS_OF_KERNEL}");
    let rate = match (args.kvm, args.count) {
        (true, _) => None,
        (false, true) => Some(TSC_KHZ_COUNTED),
        (false, false) => lab.tsc_khz(),
    };
    if let Some(rate) = rate {
        line.push_str(&format!(" tsc_early_khz={rate} tsc=reliable"));
    }
    match cell.iommu {
        Iommu::Intel => {
            qemu.args(["-device", "intel-iommu,aw-bits=48"]);
            line.push_str(" intel_iommu=on");
        }
        Iommu::Virtio => {
            qemu.args(["-device", "virtio-iommu-pci"]);
        }
        Iommu::None | Iommu::Smmuv3 => {}
    }
    if !boot::wishes(&cell.scenario, "firmware").is_empty() {
        // The firmware writes its variables, so each machine has a copy.
        let from = lab.work().join("firmware");
        let variables = dir.join("variables");
        std::fs::copy(from.join("variables"), &variables)
            .context("there is no firmware; the packages' test makes it")?;
        let flash = "if=pflash,format=raw";
        let code = from.join("code");
        // Only code in the firmware's own mode may write the variables.
        qemu.args(["-machine", "smm=on"])
            .args(["-global", "driver=cfi.pflash01,property=secure,value=on"])
            .args(["-global", "ICH9-LPC.disable_s3=1"])
            .args([
                "-drive",
                &format!("{flash},unit=0,readonly=on,file={}", code.display()),
            ])
            .args([
                "-drive",
                &format!("{flash},unit=1,file={}", variables.display()),
            ]);
    }
    Ok((qemu, line))
}
