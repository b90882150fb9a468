//! The virtual machine of a cell, as QEMU's command.
//!
//! A PC with VT-d or virtio-iommu has two serial ports. QEMU's virt machine, with SMMUv3 or virtio-iommu, has
//! one, so its results come over a serial port on PCI.

use super::lab::Lab;
use super::{Args, Cell, Iommu};
use crate::arch::Arch;
use crate::sh::{self, cmd};
use anyhow::{Context as _, Result};
use fs_err as fs;
use std::path::Path;
use std::process::Command;

/// Rate of the time stamp counter in kHz if each instruction takes a nanosecond.
const TSC_KHZ_COUNTED: u64 = 1_000_000;

/// Arguments of a PC's kernel that make an unexpected NMI end it.
/// The kernel first prints the stacks of all processors and tasks, timers and locks.
const LAST_WORDS_OF_KERNEL: &str = "unknown_nmi_panic panic_print=0x4d";

/// Returns the command of the machine, without its initial RAM disk. Its output goes to files in `dir`.
pub(super) fn command(lab: &Lab, cell: &Cell, args: &Args, dir: &Path) -> Result<Command> {
    let memory = cell.memory_mib().to_string();
    let in_turn = cell.wishes("processors") == ["in-turn"];
    // On some hosts, KVM cannot run a stock guest. QEMU's translation of the guest's instructions (TCG) always can.
    let (accel, processors) = match args.count {
        true => ("tcg,thread=single", "1"),
        false if in_turn => ("tcg,thread=single", "2"),
        false => ("tcg,thread=multi", "2"),
    };
    let size = ["-smp", processors, "-m", &memory];
    let (mut qemu, own) = match cell.arch() {
        Arch::X86_64 => pc(lab, cell, args, dir)?,
        Arch::Arm64 => virt_with_tree(cell, dir, &size)?,
    };
    if args.count {
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    if cell.iommu == Iommu::Virtio {
        qemu.args(["-device", "virtio-iommu-pci"]);
    }
    if cell.has_ivshmem() {
        qemu.args(["-object", "memory-backend-ram,id=ram,size=16M,share=on"]);
        qemu.args(["-device", "ivshmem-plain,memdev=ram"]);
    }
    for dir in cell.wishes("share") {
        qemu.arg("-virtfs").arg(format!(
            "local,path={dir},mount_tag=share,security_model=none,multidevs=remap,readonly=on"
        ));
    }
    qemu.args(["-accel", accel, "-monitor", "stdio"]).args(size);
    let wanted = cell.wishes("append").join(" ");
    let line = format!("{own} quiet oops=panic panic=-1 {} {wanted}", args.append);
    qemu.args(["-device", "edu,dma_mask=0xffffffff", "-append", line.trim()]);
    qemu.arg("-kernel").arg(lab.kernel(&cell.kernel, "vmlinuz"));
    Ok(qemu)
}

/// Returns a PC (without its memory, processors and kernel), and arguments of its kernel.
fn pc(lab: &Lab, cell: &Cell, args: &Args, dir: &Path) -> Result<(Command, String)> {
    let mut qemu = Arch::X86_64.qemu();
    for name in ["console", "serial"] {
        let file = dir.join(name);
        qemu.arg("-serial").arg(format!("file:{}", file.display()));
    }
    let mut line = format!("console=ttyS0 results=ttyS1 no_timer_check {LAST_WORDS_OF_KERNEL}");
    let rate = match args.count {
        true => Some(TSC_KHZ_COUNTED),
        false => lab.tsc_khz(),
    };
    if let Some(rate) = rate {
        line.push_str(&format!(" tsc_early_khz={rate} tsc=reliable"));
    }
    if cell.iommu == Iommu::Intel {
        qemu.args(["-device", "intel-iommu,aw-bits=48"]);
        line.push_str(" intel_iommu=on");
    }
    if !cell.wishes("firmware").is_empty() {
        // The firmware writes its variables, so each machine has a copy.
        let from = lab.work().join("firmware");
        let (code, variables) = (from.join("code"), dir.join("variables"));
        fs::copy(from.join("variables"), &variables)
            .context("there is no firmware; the packages' test makes it")?;
        // Only code in system management mode (SMM), such as the firmware's, may write the variables.
        qemu.args(["-machine", "smm=on", "-global", "ICH9-LPC.disable_s3=1"]);
        qemu.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        // The kernel has no signature of the machine's owner. Newer firmware starts such a kernel only with this
        // option.
        qemu.args([
            "-fw_cfg",
            "name=opt/org.tianocore/EnableLegacyLoader,string=yes",
        ]);
        for (unit, file) in [("0,readonly=on", &code), ("1", &variables)] {
            let file = file.display();
            qemu.arg("-drive")
                .arg(format!("if=pflash,format=raw,unit={unit},file={file}"));
        }
    }
    Ok((qemu, line))
}

/// Returns the virt machine with the scenario's additions to its device tree, and arguments of its kernel.
/// `size` has the arguments for memory and processors.
fn virt_with_tree(cell: &Cell, dir: &Path, size: &[&str]) -> Result<(Command, String)> {
    let mut qemu = virt(cell, dir);
    let additions = cell.wishes("tree");
    if !additions.is_empty() {
        let mut tree = dir.join("machine.dtb");
        let dump = format!("dumpdtb={}", tree.display());
        sh::quietly(virt(cell, dir).args(size).args(["-M", &dump]))
            .context("QEMU writes no device tree")?;
        let lab = sh::root().join("kernel/lab");
        for name in additions {
            let more = dir.join(format!("{name}.dtb"));
            sh::quietly(cmd!(
                "sh {lab}/make-tree.sh {tree} {lab}/trees/{name}.dts {more}"
            ))
            .with_context(|| format!("cannot add {name} to the device tree"))?;
            tree = more;
        }
        qemu.arg("-dtb").arg(tree);
    }
    Ok((qemu, "console=ttyAMA0 results=ttyS0".to_owned()))
}

fn virt(cell: &Cell, dir: &Path) -> Command {
    let mut qemu = Arch::Arm64.qemu();
    if cell.iommu == Iommu::Smmuv3 {
        qemu.args(["-M", "iommu=smmuv3"]);
    }
    if cell.has_ivshmem() {
        // The memory must be where 32-bit devices reach it.
        qemu.args(["-M", "highmem=off"]);
    }
    let dir = dir.display();
    qemu.arg("-serial").arg(format!("file:{dir}/console"));
    let results = format!("file,path={dir}/serial,id=results");
    qemu.arg("-chardev").arg(results);
    qemu.args(["-device", "pci-serial,chardev=results"]);
    qemu
}
