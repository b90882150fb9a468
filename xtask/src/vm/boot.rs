//! One boot: an initial RAM disk out of parts, QEMU, and the results as they come.

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

/// How often a machine is listened to.
const TICK: Duration = Duration::from_millis(100);

/// Longest boot with its scenario, unless that names a number of `seconds`.
const LIMIT: Duration = Duration::from_secs(900);

/// Longest time without a result.
const SILENCE: Duration = Duration::from_secs(300);

/// How many times slower the checked kernel may be.
const CHECKED_FACTOR: u32 = 4;

/// Longest time that a kernel takes to say what it was doing.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Boots a cell; gives the steps its scenario reported.
///
/// # Errors
/// It does not boot, or reports nothing for too long; the text has the end of its console.
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
        // QEMU's translation can run an instruction that another processor has just replaced, and
        // the kernel dies of it on its way up. No module of anybody's was loaded.
        eprintln!("vm: {} died before its scenario began: again", cell.name());
        heard = boot(lab, cell, args, &dir)?;
    }
    // Nobody needs it again, and it is large.
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

/// Whether the guest came as far as its scenario.
fn has_begun(dir: &Path) -> bool {
    let console = std::fs::read(dir.join("console")).unwrap_or_default();
    String::from_utf8_lossy(&console).contains("guest: up")
}

/// Boots it and listens to the end, or until it is silent before its scenario.
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

/// Lets a machine that is silent tell what it does: the processors' registers go to the emulator's
/// log, the kernel's tasks and stacks to the console.
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

/// Concatenates guest, modules and overlay; the kernel unpacks them in this order.
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
        // Archives begin at multiples of four.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Whether a scenario needs `what`: the drivers that are built from the kernel's source (`peers`),
/// the module as its package installs it (`package`).
pub(crate) fn needs(scenario: &str, what: &str) -> bool {
    wishes(scenario, "needs").iter().any(|name| name == what)
}

/// Returns the values of a scenario's lines `#KEY …`: arguments of the kernel (`append`), MiB of
/// memory (`memory`), further devices (`device`), drivers (`needs`), files of this tree (`file`), the
/// longest time (`seconds`), UEFI Secure Boot with the packages' certificate (`firmware`).
pub(crate) fn wishes(scenario: &str, key: &str) -> Vec<String> {
    let name = format!("lab/scenarios/{scenario}.sh");
    let script = std::fs::read_to_string(sh::root().join(name)).unwrap_or_default();
    let key = format!("#{key} ");
    let wishes = script.lines().filter_map(|line| line.strip_prefix(&key));
    wishes.map(str::to_owned).collect()
}

/// The machine without its initial RAM disk.
fn machine(lab: &Lab, cell: &Cell, args: &Args, dir: &Path) -> Result<Command> {
    let memory = wishes(&cell.scenario, "memory").pop();
    let memory = memory.unwrap_or_else(|| args.memory.to_string());
    // Not all hosts' KVM runs a stock guest; translation always does.
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

/// What came over the second serial port so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    text: String,
    taken: usize,
    pub(crate) steps: Vec<Value>,
    /// Processor time of the emulator.
    pub(crate) cpu: Duration,
}

impl Heard {
    /// Takes complete lines; true if there was one.
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
