//! QEMU's virt machine, with SMMUv3 or virtio-iommu.
//! Results come over a serial port on PCI, because the machine itself has only one serial port.

use super::{Scenarios, file};
use crate::sh;
use crate::vm::{Cell, Iommu, boot};
use anyhow::{Context as _, Result};
use std::path::Path;
use std::process::Command;

pub(super) const IOMMUS: &[Iommu] = &[Iommu::None, Iommu::Smmuv3, Iommu::Virtio];

/// Every scenario except those about parts of x86-64 only. The longest scenarios come first.
pub(super) const EVERYTHING: Scenarios = &[
    ("peers", &[Iommu::None]),
    ("package", &[Iommu::None]),
    ("stress", &[Iommu::None, Iommu::Smmuv3]),
    ("compliance", IOMMUS),
    ("edu", IOMMUS),
    ("vmalloc", &[Iommu::None]),
    ("links", &[Iommu::Smmuv3, Iommu::Virtio]),
    ("far", &[Iommu::None]),
    ("planes", &[Iommu::None]),
    ("conformance", IOMMUS),
    ("pool", &[Iommu::None, Iommu::Smmuv3]),
    ("noncoherent", &[Iommu::None, Iommu::Smmuv3]),
    ("reserved", &[Iommu::None, Iommu::Smmuv3]),
    ("sg", &[Iommu::None, Iommu::Smmuv3]),
    ("why", &[Iommu::None]),
    ("reloads", &[Iommu::None]),
    ("board", &[Iommu::None]),
];

/// Scenarios for CI on the newest kernel: those that only these machines can show.
pub(super) const CHOSEN: Scenarios = &[
    ("noncoherent", &[Iommu::None]),
    ("reserved", &[Iommu::Smmuv3]),
];

/// Returns the machine, and the same machine with the scenario's additions to the device tree.
/// `size` has the arguments for memory and processors.
pub(super) fn machine(cell: &Cell, dir: &Path, size: &[String]) -> Result<(Command, String)> {
    let mut qemu = bare(cell, dir);
    let additions = boot::wishes(&cell.scenario, "tree");
    if !additions.is_empty() {
        let mut tree = dir.join("machine.dtb");
        let dump = format!("dumpdtb={}", tree.display());
        sh::quietly(
            bare(cell, dir)
                .args(size)
                .args(["-display", "none", "-M", &dump]),
        )
        .context("QEMU does not tell its device tree")?;
        for name in additions {
            let more = dir.join(format!("{name}.dtb"));
            let mut make = Command::new("sh");
            make.arg(sh::root().join("lab/make-tree.sh"))
                .arg(&tree)
                .arg(sh::root().join(format!("lab/trees/{name}.dts")))
                .arg(&more);
            sh::quietly(&mut make).with_context(|| format!("the device tree takes no {name}"))?;
            tree = more;
        }
        qemu.arg("-dtb").arg(tree);
    }
    Ok((qemu, "console=ttyAMA0 results=ttyS0".to_owned()))
}

fn bare(cell: &Cell, dir: &Path) -> Command {
    let mut qemu = Command::new("nice");
    let mut virt = "virt,gic-version=3".to_owned();
    if cell.iommu == Iommu::Smmuv3 {
        virt.push_str(",iommu=smmuv3");
    }
    if boot::wishes(&cell.scenario, "device")
        .iter()
        .any(|name| name == "ivshmem")
    {
        // The memory must be where 32-bit devices reach it.
        virt.push_str(",highmem=off");
    }
    // The architecture's own function for signing pointers would take QEMU ten times as long as all else.
    qemu.args(["qemu-system-aarch64", "-M", &virt])
        .args(["-cpu", "max,pauth-impdef=on"])
        .args(["-serial", &file(dir, "console")])
        .arg("-chardev")
        .arg(format!(
            "{},id=results",
            file(dir, "serial").replacen("file:", "file,path=", 1)
        ))
        .args(["-device", "pci-serial,chardev=results"]);
    if cell.iommu == Iommu::Virtio {
        qemu.args(["-device", "virtio-iommu-pci"]);
    }
    qemu
}
