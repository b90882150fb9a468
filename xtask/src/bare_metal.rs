//! Boots other projects' drivers, and a driver that uses our queue, on a bare machine in QEMU (see `examples/bare-metal/`).

use crate::setup;
use crate::sh::{self, cmd};
use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use serde::Deserialize;
use std::path::Path;

const TARGET: &str = "x86_64-unknown-none";
const QEMU: &str = "qemu-system-x86_64";

/// Longest time of a boot, in seconds. A boot takes one second.
const LIMIT: &str = "60";

/// QEMU's exit status if the program reports success.
const GOOD: i32 = 33;

/// Bytes of each half of the disk.
const HALF: usize = 2 << 20;

/// The boots, as `bare_metal.toml` lists and explains them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Boots {
    boot: Vec<Boot>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Boot {
    name: String,
    actions: String,
    machine: String,
}

pub(crate) fn run() -> Result<()> {
    setup::install(&["qemu-system-x86"])?;
    ensure!(
        sh::has_target(TARGET),
        "no core library for {TARGET}: rustup target add {TARGET}"
    );
    let target = sh::target().join("bare-metal");
    let mut cargo = sh::cargo("build --release --target-dir");
    // cargo finds the settings for the bare target in this directory.
    sh::run(
        cargo
            .arg(&target)
            .current_dir(sh::root().join("examples/bare-metal")),
    )?;
    let program = target.join(TARGET).join("release/bare-metal");
    let Boots { boot: boots } = toml::from_str(include_str!("bare_metal.toml"))?;
    for boot in &boots {
        once(boot, &program, &target).with_context(|| format!("bare-metal: {}", boot.name))?;
    }
    println!("bare-metal: ok: {} boots", boots.len());
    Ok(())
}

fn once(boot: &Boot, program: &Path, dir: &Path) -> Result<()> {
    let Boot {
        name,
        actions,
        machine,
    } = boot;
    let has = |action: &str| actions.split(' ').any(|word| word == action);
    let (disk, console) = (dir.join("disk"), dir.join("console"));
    let written = numbers();
    fs::write(&disk, [&written[..], &vec![0; HALF]].concat())?;
    // On QEMU's command line, the IOMMU must precede the devices that it translates for.
    let iommu = ["-device", "intel-iommu,aw-bits=48"]
        .into_iter()
        .filter(|_| has("iommu"));
    let machine = machine.split_whitespace();
    let mut qemu = cmd!(
        "timeout -k 5 {LIMIT} {QEMU} -machine q35,accel=tcg -cpu max -m 128M -nodefaults -no-reboot
             -display none -device isa-debug-exit,iobase=0xf4,iosize=4 {iommu...}
             -drive if=none,id=disk,format=raw,cache=writeback,file={disk} {machine...}
             -serial file:{console} -kernel {program} -append {actions}"
    );
    let ended = qemu.output().context("cannot run timeout")?;
    let said = fs::read(&console).unwrap_or_default();
    for line in String::from_utf8_lossy(&said).lines() {
        println!("bare-metal: {name}: {line}");
    }
    let (status, complaints) = (ended.status, String::from_utf8_lossy(&ended.stderr));
    // If the machine still runs at the limit, timeout's exit status is 124.
    let is_good = status.code() == Some(GOOD);
    ensure!(
        is_good,
        "the machine ended with {status}. {QEMU} says: {complaints}"
    );
    if has("disk") || has("nvme") {
        let sectors = compared(&fs::read(&disk)?, &written)?;
        println!("bare-metal: {name}: {sectors} sectors of the disk are as they should be");
    }
    Ok(())
}

/// Returns bytes for the disk's first half. Each word has its own number, so no two sectors are equal.
fn numbers() -> Vec<u8> {
    (0..HALF / 8).flat_map(usize::to_le_bytes).collect()
}

/// Checks that the disk has the `written` bytes, then these inverted. Returns the number of sectors.
fn compared(disk: &[u8], written: &[u8]) -> Result<usize> {
    let inverted = written.iter().map(|byte| !byte);
    let expected = written.iter().copied().chain(inverted);
    ensure!(disk.len() == 2 * HALF, "the disk has {} bytes", disk.len());
    let wrong = disk.iter().zip(expected).position(|(&is, want)| is != want);
    match wrong {
        Some(place) => bail!("sector {} of the disk is wrong", place / 512),
        None => Ok(disk.len() / 512),
    }
}
