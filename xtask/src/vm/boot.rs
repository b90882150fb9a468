//! One boot: packs an initial RAM disk from parts, runs QEMU, and reads the results as they come.

use super::arch::Arch;
use super::lab::Lab;
use super::step::{Running, tail};
use super::{Args, Cell, build, results};
use crate::sh;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Interval at which a machine's output is read.
const TICK: Duration = Duration::from_millis(100);

/// Longest time of a boot with its scenario, unless the scenario sets another one (`seconds`).
const LIMIT: Duration = Duration::from_secs(900);

/// Longest time between two results.
const SILENCE: Duration = Duration::from_secs(300);

/// Factor by which the checked kernel may be slower.
const CHECKED_FACTOR: u32 = 4;

/// Longest time that a kernel takes to print its state.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Boots a cell. Returns the steps that its scenario reported.
///
/// # Errors
/// The machine does not boot, or reports nothing for too long. The message has the end of its console.
pub(crate) fn run(lab: &Lab, cell: &Cell, args: &Args) -> Result<Heard> {
    let dir = results().join(cell.name());
    // Removes files of an earlier run.
    let _none = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("overlay/scenario"))?;
    fill(lab, cell, args, &dir.join("overlay"))?;
    let initrd = dir.join("initrd");
    pack(lab, cell, &dir, &initrd)?;
    let mut heard = boot(lab, cell, args, &dir)?;
    if heard.steps.is_empty() && !has_begun(&dir) {
        // QEMU's translation can run an instruction that another processor has just replaced. Then the kernel
        // dies while it starts, before any module is loaded.
        eprintln!("vm: {} died before its scenario began: again", cell.name());
        heard = boot(lab, cell, args, &dir)?;
    }
    // The file is large, and no longer needed.
    let _gone = std::fs::remove_file(&initrd);
    if !heard.is_complete() {
        bail!(
            "{} ended early:\n{}{}",
            cell.name(),
            tail(&dir.join("qemu.log")),
            tail(&dir.join("console"))
        );
    }
    Ok(heard)
}

/// Returns whether the guest reached its scenario.
fn has_begun(dir: &Path) -> bool {
    let console = std::fs::read(dir.join("console")).unwrap_or_default();
    String::from_utf8_lossy(&console).contains("guest: up")
}

/// Boots a cell and reads results to the end, or until the machine is silent before its scenario.
fn boot(lab: &Lab, cell: &Cell, args: &Args, dir: &Path) -> Result<Heard> {
    let (console, serial) = (dir.join("console"), dir.join("serial"));
    eprintln!("vm: booting {} (log: {})", cell.name(), console.display());
    let start = Instant::now();
    let log = File::create(dir.join("qemu.log"))?;
    let mut qemu = Running::start(
        machine(lab, cell, args, dir)?
            .arg("-initrd")
            .arg(dir.join("initrd"))
            .stdout(log.try_clone()?)
            .stderr(log),
    )?;
    let mut heard = Heard::default();
    let mut last = Instant::now();
    let factor = if args.checked { CHECKED_FACTOR } else { 1 };
    let seconds = wishes(&cell.scenario, "seconds").pop();
    let limit = match seconds.and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => Duration::from_secs(seconds),
        None => LIMIT,
    };
    loop {
        let ended = qemu.ended()?;
        heard.cpu = qemu.cpu().unwrap_or(heard.cpu);
        if heard.listen(&cell.name(), &serial)? {
            last = Instant::now();
        }
        if ended.is_some() || heard.is_complete() {
            return Ok(heard);
        }
        if start.elapsed() > limit * factor || last.elapsed() > SILENCE * factor {
            let said = tail(&console);
            last_words(&mut qemu)?;
            if !has_begun(dir) {
                return Ok(heard);
            }
            bail!(
                "{} stopped printing; its log is {}:\n{said}",
                cell.name(),
                console.display()
            );
        }
        std::thread::sleep(TICK);
    }
}

/// Makes a silent machine print its state.
/// The processors' registers go to QEMU's log, the kernel's tasks and stacks to the console.
fn last_words(qemu: &mut Running) -> Result<()> {
    qemu.tell("info registers -a");
    qemu.tell("info irq");
    qemu.tell("info pic");
    qemu.tell("nmi");
    let start = Instant::now();
    while qemu.ended()?.is_none() && start.elapsed() < LAST_WORDS {
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// Fills the overlay with the scenario's files.
fn fill(lab: &Lab, cell: &Cell, args: &Args, overlay: &Path) -> Result<()> {
    let from = sh::root().join("lab");
    let to = overlay.join("scenario");
    let path = from.join("scenarios").join(format!("{}.sh", cell.scenario));
    let script = std::fs::read_to_string(&path)
        .with_context(|| format!("there is no scenario {}", path.display()))?;
    let modules = args.modules();
    let iommu = cell.iommu.name();
    std::fs::write(
        to.join("run.sh"),
        format!("MODULES='{modules}'\nIOMMU={iommu}\n{script}"),
    )?;
    std::fs::copy(from.join("scenarios/lib.sh"), to.join("lib.sh"))?;
    std::fs::copy(from.join("init"), overlay.join("init"))?;
    for entry in lab.work().join(&cell.kernel).read_dir()?.flatten() {
        let built = entry.path();
        if built.extension().is_some_and(|ext| ext == "ko") {
            std::fs::copy(&built, to.join(entry.file_name()))?;
        }
    }
    if needs(&cell.scenario, "patched") {
        let program = "vb2_memory_test";
        std::fs::copy(
            lab.work().join(&cell.kernel).join(program),
            to.join(program),
        )
        .context("the patches' kselftest is missing")?;
    }
    if needs(&cell.scenario, "package") {
        let installed = lab.work().join(&cell.kernel).join("updates");
        let tree = overlay.join("usr/lib/modules").join(&cell.kernel);
        std::fs::create_dir_all(&tree)?;
        sh::quietly(Command::new("cp").arg("-r").arg(&installed).arg(&tree))?;
    }
    for name in wishes(&cell.scenario, "file") {
        let path = sh::root().join(&name);
        std::fs::copy(&path, to.join(path.file_name().unwrap_or_default()))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    if needs(&cell.scenario, "peers") {
        for entry in lab.peers(&cell.kernel)?.read_dir()?.flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    if cell.is_of_process() {
        for entry in build::user_programs(lab).read_dir()?.flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    let programs = build::programs(lab, Arch::of(&cell.kernel));
    for entry in programs.read_dir().into_iter().flatten().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Concatenates guest, modules and overlay. The kernel unpacks them in this order.
fn pack(lab: &Lab, cell: &Cell, dir: &Path, initrd: &Path) -> Result<()> {
    let overlay = dir.join("overlay.cpio");
    sh::quietly(
        Command::new("sh")
            .args([
                "-euc",
                "chmod +x init; find . | cpio -o -H newc --quiet >\"$1\"",
                "sh",
            ])
            .arg(&overlay)
            .current_dir(dir.join("overlay")),
    )?;
    let mut out = File::create(initrd)?;
    for part in [
        lab.guest(Arch::of(&cell.kernel))?,
        lab.kernel(&cell.kernel, &lab.packed()?),
        overlay,
    ] {
        let mut bytes = Vec::new();
        File::open(&part)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("cannot read {}", part.display()))?;
        // Each archive begins at a multiple of four bytes.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Returns whether a scenario needs `what`.
/// This is `peers`, drivers built from the kernel's source, or `package`, the module as packaged.
pub(crate) fn needs(scenario: &str, what: &str) -> bool {
    wishes(scenario, "needs").iter().any(|name| name == what)
}

/// Returns the values of a scenario's lines `#KEY …`.
/// The keys: arguments of the kernel (`append`), MiB of memory (`memory`), devices (`device`), drivers
/// (`needs`), files of this tree (`file`), longest time (`seconds`), UEFI Secure Boot (`firmware`).
pub(crate) fn wishes(scenario: &str, key: &str) -> Vec<String> {
    let name = format!("lab/scenarios/{scenario}.sh");
    let script = std::fs::read_to_string(sh::root().join(name)).unwrap_or_default();
    let key = format!("#{key} ");
    let wishes = script.lines().filter_map(|line| line.strip_prefix(&key));
    wishes.map(str::to_owned).collect()
}

/// Returns the command of the machine, without its initial RAM disk.
fn machine(lab: &Lab, cell: &Cell, args: &Args, dir: &Path) -> Result<Command> {
    let memory = wishes(&cell.scenario, "memory").pop();
    let memory = memory.unwrap_or_else(|| args.memory.to_string());
    // KVM of some hosts cannot run a stock guest. Translation always can.
    let (accel, processors) = match (args.kvm, args.count) {
        (true, _) => ("kvm", "2"),
        (false, true) => ("tcg,thread=single", "1"),
        (false, false) => ("tcg,thread=multi", "2"),
    };
    let size = ["-smp", processors, "-m", &memory].map(str::to_owned);
    let (mut qemu, own) = Arch::of(&cell.kernel).machine(lab, cell, args, dir, &size)?;
    if args.count {
        qemu.args(["-icount", "shift=0,sleep=off"]);
    }
    qemu.args(["-accel", accel])
        .args(size)
        .args(["-nodefaults", "-no-reboot", "-display", "none"])
        .args(["-monitor", "stdio"])
        .arg("-kernel")
        .arg(lab.kernel(&cell.kernel, "vmlinuz"));
    if wishes(&cell.scenario, "device")
        .iter()
        .any(|name| name == "ivshmem")
    {
        qemu.args(["-object", "memory-backend-ram,id=ram,size=16M,share=on"])
            .args(["-device", "ivshmem-plain,memdev=ram"]);
    }
    let line = format!(
        "{own} quiet oops=panic panic=-1 {} {}",
        args.append,
        wishes(&cell.scenario, "append").join(" ")
    );
    qemu.args(["-device", "edu,dma_mask=0xffffffff", "-append", line.trim()]);
    Ok(qemu)
}

/// The results that came over the second serial port so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    text: String,
    taken: usize,
    pub(crate) steps: Vec<Value>,
    /// Processor time of the emulator.
    pub(crate) cpu: Duration,
}

impl Heard {
    /// Reads complete lines. Returns whether there was one.
    fn listen(&mut self, cell: &str, serial: &Path) -> Result<bool> {
        let Ok(bytes) = std::fs::read(serial) else {
            return Ok(false);
        };
        self.text = String::from_utf8_lossy(&bytes).into_owned();
        let rest = self.text.get(self.taken..).unwrap_or_default();
        let Some(end) = rest.rfind('\n') else {
            return Ok(false);
        };
        for line in rest[..end].lines().filter(|line| !line.trim().is_empty()) {
            let step: Value = serde_json::from_str(line.trim())
                .with_context(|| format!("the guest sent no JSON: {line}"))?;
            eprintln!("vm:   {cell}: {}", super::report::line(&step));
            self.steps.push(step);
        }
        self.taken += end + 1;
        Ok(true)
    }

    fn is_complete(&self) -> bool {
        self.steps.last().is_some_and(|step| step["step"] == "end")
    }
}
