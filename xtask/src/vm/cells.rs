//! Cells: each is one virtual machine. Several run at a time.

use super::lab::{self, Lab};
use super::{Args, Iommu, boot, conform, report, results};
use crate::arch::Arch;
use crate::{sh, step, table};
use anyhow::Result;
use fs_err as fs;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Largest number of machines that run at a time.
const JOBS: usize = 4;

/// MiB of memory that an emulator needs in addition to the memory of its virtual machine.
const EMULATOR_MIB: u64 = 256;

/// One virtual machine: a kernel, an IOMMU, and a scenario that runs on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) kernel: String,
    pub(crate) iommu: Iommu,
    pub(crate) scenario: String,
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        format!("{}-{}-{}", self.scenario, self.kernel, self.iommu.name())
    }

    pub(crate) fn file(&self) -> PathBuf {
        results().join(format!("{}.json", self.name()))
    }

    /// Returns whether the scenario needs `vb3` and its programs. They are built for x86-64 only.
    pub(crate) fn needs_vb3(&self) -> bool {
        self.arch() == Arch::X86_64 && self.needs("vb3")
    }

    pub(crate) fn arch(&self) -> Arch {
        lab::arch_of(&self.kernel)
    }

    /// Returns whether the scenario needs `what`. `what` is `peers` (drivers built from the kernel's source),
    /// `package` (the module's Debian package), `patched` (the C modules with the patches of docs/upstream), `vb3`,
    /// or `other-kernel` (modules built for another kernel).
    pub(crate) fn needs(&self, what: &str) -> bool {
        self.wishes("needs").iter().any(|name| name == what)
    }

    pub(crate) fn has_ivshmem(&self) -> bool {
        self.wishes("device") == ["ivshmem"]
    }

    pub(crate) fn memory_mib(&self) -> u64 {
        self.number("memory", 2048)
    }

    /// Returns the number that the scenario sets for a key, or the default.
    pub(crate) fn number(&self, key: &str, default: u64) -> u64 {
        let wish = self.wishes(key).pop();
        wish.and_then(|number| number.parse().ok())
            .unwrap_or(default)
    }

    /// Returns the values of the scenario's lines `#KEY VALUE`, which describe its machine.
    ///
    /// The keys:
    /// * `append`: arguments of the kernel.
    /// * `memory`: memory in MiB.
    /// * `device`: `ivshmem`, a device that the machine has besides the usual ones.
    /// * `needs`: something that is built first and copied into the machine (see [`needs`](Self::needs)).
    /// * `file`: a file of this repository that is copied into the machine.
    /// * `tree`: a file of kernel/lab/trees (without `.dts`), which is added to an arm64 machine's device tree.
    /// * `share`: a directory of the host that the machine can read, but not change.
    /// * `seconds`: the time after which the machine is stopped; four times as long on the checked kernel.
    /// * `firmware`: `secure-boot` if the machine, a PC, starts with UEFI Secure Boot.
    /// * `processors`: `in-turn` if the processors run one after the other instead of at the same time.
    pub(crate) fn wishes(&self, key: &str) -> Vec<String> {
        let name = format!("kernel/lab/scenarios/{}.sh", self.scenario);
        let script = fs::read_to_string(sh::root().join(name)).unwrap_or_default();
        let key = format!("#{key} ");
        let wishes = script.lines().filter_map(|line| line.strip_prefix(&key));
        wishes.map(str::to_owned).collect()
    }
}

#[derive(Debug, Default)]
pub(crate) struct CellOutcome {
    pub(crate) cell: Cell,
    /// Checks passed and failed, for each module.
    c: report::Score,
    rust: report::Score,
    pub(crate) faults: Vec<String>,
    /// Whether the first boot had faults, so that there was a second one.
    is_second: bool,
    took: Duration,
}

/// Returns how many virtual machines of the largest size fit into this machine's memory.
fn room(cells: &[Cell]) -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.split_once("MemAvailable:");
    let kib = kib.and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok());
    let largest = cells.iter().map(Cell::memory_mib).max().unwrap_or(0);
    let each = largest.saturating_add(EMULATOR_MIB);
    usize::try_from(kib.unwrap_or(0) / 1024 / each).map_or(1, |room| room.max(1))
}

/// Runs all cells, [`JOBS`] at a time if memory allows, and prints the progress.
pub(crate) fn run(lab: &Lab, cells: &[Cell], args: &Args) -> Vec<CellOutcome> {
    let (jobs, done) = (JOBS.min(room(cells)), AtomicUsize::new(0));
    step::at_a_time(jobs, cells, |cell| {
        let mut outcome = one(lab, cell, args);
        if args.again && !outcome.faults.is_empty() {
            keep(&outcome);
            outcome = one(lab, cell, args);
            outcome.is_second = true;
        }
        let number = done.fetch_add(1, Ordering::Relaxed) + 1;
        eprintln!("vm: [{number}/{}] {}", cells.len(), outcome.line());
        outcome
    })
}

/// Keeps the files of a machine that had faults, before it boots a second time.
fn keep(first: &CellOutcome) {
    let name = first.cell.name();
    let kept = results().join(format!("{name}-first"));
    // Both calls may fail: there may be no files of an earlier run, and none to keep.
    let _ = fs::remove_dir_all(&kept);
    let _ = fs::rename(results().join(&name), &kept);
    let faults = first.faults.join("; ");
    eprintln!("vm: {name}: {faults}: once more (log: {})", kept.display());
}

fn one(lab: &Lab, cell: &Cell, args: &Args) -> CellOutcome {
    let start = Instant::now();
    let mut outcome = CellOutcome {
        cell: cell.clone(),
        ..CellOutcome::default()
    };
    let steps = boot::run(lab, cell, args);
    if let Err(e) = steps.and_then(|steps| outcome.judge(args, steps)) {
        outcome.faults.push(format!("{e:#}"));
    }
    outcome.took = start.elapsed();
    outcome
}

impl CellOutcome {
    fn line(&self) -> String {
        let verdict = match self.faults.len() {
            0 => "in order".to_owned(),
            n => format!("{n} faults"),
        };
        let Self { c, rust, .. } = self;
        let (name, took) = (self.cell.name(), self.took.as_secs());
        format!("{name}: {verdict} in {took} s; C {c}, Rust {rust}")
    }

    fn judge(&mut self, args: &Args, steps: Vec<Value>) -> Result<()> {
        let all = Value::Array(steps.clone());
        fs::write(self.cell.file(), format!("{all:#}\n"))?;
        self.c = report::score(&steps, "c");
        self.rust = report::score(&steps, "rust");
        self.rust.join(report::score(&steps, "vb3"));
        self.faults = report::faults(&steps);
        let [c, rust] = ["c", "rust"].map(|module| conform::of_module(&steps, module));
        let expected = match self.cell.scenario.as_str() {
            "conformance" => conform::Expected::read()?.on(self.cell.arch().name()),
            _ if c.is_empty() || rust.is_empty() => return Ok(()),
            // The table of expected answers is for one kind of memory. For others, the C module's answers are
            // expected.
            _ => conform::Expected::of(c.clone()),
        };
        let modules = [
            ("c", "stock", c, &mut self.c),
            ("rust", "kernel", rust, &mut self.rust),
        ];
        for (module, home, seen, score) in modules {
            if args.modules().contains(&module) {
                let found = expected.faults(home, &seen);
                score.add(seen.len(), found.len());
                self.faults.extend(found);
            }
        }
        Ok(())
    }

    fn row(&self) -> Vec<String> {
        let verdict = match (self.faults.is_empty(), self.is_second) {
            (true, false) => "in order",
            (true, true) => "2nd time",
            (false, _) => "FAULTY",
        };
        vec![
            self.cell.scenario.clone(),
            self.cell.kernel.clone(),
            self.cell.iommu.name(),
            self.c.to_string(),
            self.rust.to_string(),
            verdict.to_owned(),
            self.took.as_secs().to_string(),
        ]
    }
}

/// Returns the table of all results: scenarios by kernel and IOMMU, with passed and made checks.
pub(crate) fn table(outcomes: &[CellOutcome]) -> String {
    let mut rows: Vec<_> = outcomes.iter().map(CellOutcome::row).collect();
    let (mut c, mut rust) = (report::Score::default(), report::Score::default());
    for outcome in outcomes {
        c.join(outcome.c);
        rust.join(outcome.rust);
    }
    let (c, rust) = (c.to_string(), rust.to_string());
    rows.push(table::row(["all", "", "", &c, &rust, "", ""]));
    let header = ["scenario", "kernel", "IOMMU", "C", "Rust", "", "s"];
    table::format(&header, &rows)
}
