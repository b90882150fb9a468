//! One boot: packs an initial RAM disk from parts, runs QEMU, and reads the results as they come.

use super::lab::Lab;
use super::{Args, Cell, build, machine, results};
use crate::sh::{self, cmd};
use crate::step::{Lines, Running, tail};
use anyhow::{Context as _, Result, bail};
use fs_err::{self as fs, File};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest time of a boot with its scenario, in seconds. A scenario can set another limit (`seconds`).
const LIMIT: u64 = 900;

/// Longest time between two results.
const SILENCE: Duration = Duration::from_secs(300);

/// Factor by which the checked kernel (with KASAN and other checkers) may be slower.
const CHECKED_FACTOR: u32 = 4;

/// Longest time that a kernel takes to print its state.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Boots a cell (a virtual machine with a scenario). Returns the steps that its scenario reported.
///
/// # Errors
/// The machine does not boot, or reports nothing for too long. The message has the end of its console.
pub(crate) fn run(lab: &Lab, cell: &Cell, args: &Args) -> Result<Vec<Value>> {
    let (dir, name) = (results().join(cell.name()), cell.name());
    // Removes files of an earlier run.
    sh::fresh(&dir)?;
    fs::create_dir_all(dir.join("overlay/scenario"))?;
    fill(lab, cell, args, &dir.join("overlay"))?;
    pack(lab, cell, &dir)?;
    let mut heard = boot(lab, cell, args, &dir)?;
    if heard.steps.is_empty() && !has_begun(&dir) {
        // Before 8.1, QEMU can run an instruction that another processor has just replaced. This may end
        // the kernel while it starts, before any module is loaded.
        eprintln!("vm: {name} died before its scenario began: again");
        heard = boot(lab, cell, args, &dir)?;
    }
    // The file is large, and no longer needed.
    let _gone = fs::remove_file(dir.join("initrd"));
    if !heard.is_complete() {
        let [log, console] = ["qemu.log", "console"].map(|name| tail(&dir.join(name)));
        bail!("{name} ended early:\n{log}{console}");
    }
    Ok(heard.steps)
}

/// Returns whether the guest reached its scenario.
fn has_begun(dir: &Path) -> bool {
    let console = fs::read(dir.join("console")).unwrap_or_default();
    String::from_utf8_lossy(&console).contains("guest: up")
}

/// Boots a cell and reads its results. Returns early if the machine is silent before its scenario begins.
fn boot(lab: &Lab, cell: &Cell, args: &Args, dir: &Path) -> Result<Heard> {
    let (console, name) = (dir.join("console"), cell.name());
    eprintln!("vm: booting {name} (log: {})", console.display());
    let mut command = machine::command(lab, cell, args, dir)?;
    command.arg("-initrd").arg(dir.join("initrd"));
    let mut qemu = Running::start(&mut command, &dir.join("qemu.log"))?;
    let (mut heard, mut last) = (Heard::default(), Instant::now());
    let factor = if args.checked { CHECKED_FACTOR } else { 1 };
    let limit = Duration::from_secs(cell.number("seconds", LIMIT));
    let is_silent = qemu.watch(|qemu| {
        let ended = qemu.ended()?;
        if heard.listen(&name, &dir.join("serial"))? {
            last = Instant::now();
        }
        if ended.is_some() || heard.is_complete() {
            return Ok(Some(false));
        }
        let is_late = qemu.took() > limit * factor || last.elapsed() > SILENCE * factor;
        Ok(is_late.then_some(true))
    })?;
    if is_silent {
        let said = tail(&console);
        last_words(&mut qemu)?;
        if has_begun(dir) {
            let log = console.display();
            bail!("{name} stopped printing; its log is {log}:\n{said}");
        }
    }
    Ok(heard)
}

/// Makes a silent machine print its state.
/// The processors' registers go to QEMU's log, the kernel's tasks and stacks to the console.
fn last_words(qemu: &mut Running) -> Result<()> {
    for line in ["info registers -a", "info irq", "info pic", "nmi"] {
        qemu.tell(line);
    }
    let limit = qemu.took() + LAST_WORDS;
    qemu.wait(limit, || ()).map(drop)
}

fn fill(lab: &Lab, cell: &Cell, args: &Args, overlay: &Path) -> Result<()> {
    let (from, to) = (sh::root().join("kernel/lab"), overlay.join("scenario"));
    let built = lab.work().join(&cell.kernel);
    let path = from.join("scenarios").join(format!("{}.sh", cell.scenario));
    let script = fs::read_to_string(path)?;
    let (modules, iommu) = (args.modules().join(" "), cell.iommu.name());
    let script = format!("MODULES='{modules}'\nIOMMU={iommu}\n{script}");
    fs::write(to.join("run.sh"), script)?;
    fs::copy(from.join("scenarios/lib.sh"), to.join("lib.sh"))?;
    fs::copy(from.join("init"), overlay.join("init"))?;
    for entry in fs::read_dir(&built)?.flatten() {
        if entry.path().extension().is_some_and(|ext| ext == "ko") {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    if cell.needs("patched") {
        let program = "vb2_memory_test";
        fs::copy(built.join(program), to.join(program))
            .context("the patches' kselftest is missing")?;
    }
    if cell.needs("package") {
        let tree = overlay.join("usr/lib/modules").join(&cell.kernel);
        fs::create_dir_all(&tree)?;
        sh::quietly(cmd!("cp -r {built}/updates {tree}"))?;
    }
    for name in cell.wishes("file") {
        let path = sh::root().join(name);
        fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
    }
    if cell.needs("peers") {
        sh::copy_files(&lab.peers(&cell.kernel)?, &to)?;
    }
    if let Some(other) = other_kernel(lab, cell)? {
        let from = lab.work().join(other).join("vb2-why.ko");
        fs::copy(from, to.join("other-vb2-why.ko"))?;
    }
    if cell.needs_vb3() {
        sh::copy_files(&build::user_programs(lab), &to)?;
    }
    let programs = build::programs(lab, cell.arch());
    if programs.exists() {
        sh::copy_files(&programs, &to)?;
    }
    Ok(())
}

/// Returns another kernel of the same architecture, if the scenario needs its modules.
pub(super) fn other_kernel(lab: &Lab, cell: &Cell) -> Result<Option<String>> {
    if !cell.needs("other-kernel") {
        return Ok(None);
    }
    let mut all = lab.kernels(cell.arch())?.into_iter();
    let other = all.rfind(|kernel| *kernel != cell.kernel);
    other.map(Some).context("there is only one kernel")
}

/// Concatenates the archives of guest, modules and overlay. The kernel unpacks them in this order.
fn pack(lab: &Lab, cell: &Cell, dir: &Path) -> Result<()> {
    let overlay = dir.join("overlay.cpio");
    let script = "chmod +x init; find . | cpio -o -H newc --quiet >\"$1\"";
    let mut pack = cmd!("sh -euc {script} sh {overlay}");
    sh::quietly(pack.current_dir(dir.join("overlay")))?;
    let mut out = File::create(dir.join("initrd"))?;
    let modules = lab.kernel(&cell.kernel, &lab.packed()?);
    for part in [lab.guest(cell.arch())?, modules, overlay] {
        let mut bytes = fs::read(part)?;
        // Each archive begins at a multiple of four bytes.
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// The results that came over the second serial port so far.
#[derive(Debug, Default)]
struct Heard {
    lines: Lines,
    steps: Vec<Value>,
}

impl Heard {
    /// Reads complete lines. Returns whether there was at least one.
    /// Lines before the first result are skipped: UEFI firmware prints its messages to the same port.
    fn listen(&mut self, cell: &str, serial: &Path) -> Result<bool> {
        let lines = self.lines.new_in(serial);
        let trimmed = lines.iter().map(|line| line.trim());
        let is_firmware = self.steps.is_empty();
        let results = trimmed.skip_while(|line| is_firmware && !line.starts_with('{'));
        for line in results.filter(|line| !line.is_empty()) {
            let step: Value = serde_json::from_str(line)
                .with_context(|| format!("the guest sent no JSON: {line}"))?;
            eprintln!("vm:   {cell}: {}", super::report::line(&step));
            self.steps.push(step);
        }
        Ok(!lines.is_empty())
    }

    fn is_complete(&self) -> bool {
        self.steps.last().is_some_and(|step| step["step"] == "end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_vivid_hides_no_other_message() {
        let late = "schedule_timeout: wrong timeout value ffff\n\
            [ 1.0] CPU: 0 UID: 0 PID: 99 Comm: vivid-000-vid-c Not tainted 6.12.9 #1\n";
        // x86-64's and arm64's trace.
        let x86 = "[ 1.0] Call Trace:\n[ 1.0]  <TASK>\n[ 1.0]  kthread+0x1/0x2\n[ 1.0]  </TASK>\n";
        let arm = "[ 1.0] Call trace:\n[ 1.0]  kthread+0x1/0x2\n";
        let others = late.replace("vivid", "other");
        let log = format!(
            "[ 1.0] {late}{x86}[ 1.0] {late}{arm}[ 1.0] BUG: one\n\
             [ 1.0] {late}{arm}[ 1.0] {others}{arm}[ 1.0] {late}{x86}"
        );
        let init = fs::read_to_string(sh::root().join("kernel/lab/init")).unwrap();
        let mut programs = init.split('\'');
        let program = programs.find(|part| part.contains("schedule_timeout"));
        let (program, file) = (
            program.unwrap(),
            sh::target().join(format!("late-test-{}", std::process::id())),
        );
        fs::write(&file, log).unwrap();
        let kept = sh::text(cmd!("awk {program} {file}")).unwrap();
        fs::remove_file(&file).unwrap();
        let wanted = format!("[ 1.0] BUG: one\n[ 1.0] {others}{arm}vivid came late: 4");
        assert_eq!(kept, wanted);
    }
}
