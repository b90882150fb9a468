//! Cells: each is one virtual machine. Several run at a time.

use super::arch::Arch;
use super::lab::Lab;
use super::{Args, Iommu, boot, conform, report, results};
use crate::table;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// MiB of memory that an emulator needs in addition to its machine's.
const EMULATOR_MIB: usize = 256;

/// One virtual machine: a kernel, an IOMMU, and a scenario that runs on it.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) kernel: String,
    pub(crate) iommu: Iommu,
    pub(crate) scenario: String,
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        format!("{}-{}-{}", self.scenario, self.kernel, self.iommu.name())
    }

    /// Returns whether the scenario is about user space, so that it needs `vb3` and its programs.
    pub(crate) fn is_of_process(&self) -> bool {
        matches!(self.scenario.as_str(), "process" | "vfio")
    }
}

/// The result of a cell.
#[derive(Debug)]
pub(crate) struct CellOutcome {
    pub(crate) cell: Cell,
    /// Checks passed and failed, for each module.
    pub(crate) c: report::Score,
    pub(crate) rust: report::Score,
    pub(crate) faults: Vec<String>,
    /// Faults of the first boot, if there was a second one.
    pub(crate) first: Vec<String>,
    pub(crate) took: Duration,
    /// Processor time of the machine's emulator.
    pub(crate) cpu: Duration,
}

/// Returns for how many virtual machines this machine has memory.
fn room(args: &Args) -> usize {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else {
        return 1;
    };
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?
            .split_whitespace()
            .next()
    });
    let mib = kib.and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) / 1024;
    let each = usize::try_from(args.memory).unwrap_or(usize::MAX) + EMULATOR_MIB;
    (mib / each).max(1)
}

/// Runs all cells, `args.jobs` at a time if memory allows, and prints the progress.
pub(crate) fn run(lab: &Lab, cells: &[Cell], args: &Args) -> Vec<CellOutcome> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.clamp(1, 16).min(room(args)) {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut outcome = one(lab, cell, args);
                    if args.again && !outcome.faults.is_empty() {
                        outcome = again(lab, cell, args, outcome.faults);
                    }
                    let Ok(mut done) = done.lock() else {
                        return;
                    };
                    done.push(outcome);
                    let last = done.last().map(line).unwrap_or_default();
                    eprintln!("vm: [{}/{}] {last}", done.len(), cells.len());
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    let place = |outcome: &CellOutcome| {
        let name = outcome.cell.name();
        cells.iter().position(|cell| cell.name() == name)
    };
    done.sort_by_key(place);
    done
}

/// Boots a machine with faults a second time. The files of the first boot are kept.
fn again(lab: &Lab, cell: &Cell, args: &Args, first: Vec<String>) -> CellOutcome {
    let name = cell.name();
    let (dir, kept) = (
        results().join(&name),
        results().join(format!("{name}-first")),
    );
    // The files of an earlier run are no longer needed. There may be none to keep now.
    let _ = std::fs::remove_dir_all(&kept);
    let _ = std::fs::rename(&dir, &kept);
    eprintln!(
        "vm: {name}: {}: once more (log: {})",
        first.join("; "),
        kept.display()
    );
    CellOutcome {
        first,
        ..one(lab, cell, args)
    }
}

fn line(outcome: &CellOutcome) -> String {
    let verdict = match outcome.faults.len() {
        0 => "in order".to_owned(),
        n => format!("{n} faults"),
    };
    format!(
        "{}: {verdict} in {:.0} s ({:.0} s of CPU); C {}, Rust {}",
        outcome.cell.name(),
        outcome.took.as_secs_f64(),
        outcome.cpu.as_secs_f64(),
        outcome.c,
        outcome.rust
    )
}

fn one(lab: &Lab, cell: &Cell, args: &Args) -> CellOutcome {
    let start = Instant::now();
    let mut outcome = CellOutcome {
        cell: cell.clone(),
        c: report::Score::default(),
        rust: report::Score::default(),
        faults: Vec::new(),
        first: Vec::new(),
        took: Duration::ZERO,
        cpu: Duration::ZERO,
    };
    match boot::run(lab, cell, args).and_then(|heard| judge(cell, args, heard, &mut outcome)) {
        Ok(()) => {}
        Err(e) => outcome.faults.push(format!("{e:#}")),
    }
    outcome.took = start.elapsed();
    outcome
}

fn judge(cell: &Cell, args: &Args, heard: boot::Heard, outcome: &mut CellOutcome) -> Result<()> {
    let steps = heard.steps;
    outcome.cpu = heard.cpu;
    let to = results().join(format!("{}.json", cell.name()));
    let all = Value::Array(steps.clone());
    std::fs::write(&to, format!("{all:#}\n"))
        .with_context(|| format!("cannot write {}", to.display()))?;
    outcome.c = report::score(&steps, "c");
    outcome.rust = report::score(&steps, "rust");
    outcome.rust.join(report::score(&steps, "vb3"));
    outcome.faults = report::faults(&steps);
    if cell.scenario != "conformance" {
        // For other kinds of memory, no table lists the right answers, so the C module's answers count.
        let [c, rust] = ["c", "rust"].map(|module| conform::of_module(&steps, module));
        if !c.is_empty() && !rust.is_empty() {
            let found = conform::differences(&c, &rust);
            outcome.c.add(c.len(), 0);
            outcome
                .rust
                .add(rust.len().saturating_sub(found.len()), found.len());
            outcome.faults.extend(found);
        }
        return Ok(());
    }
    let expected = conform::Expected::read()?.on(Arch::of(&cell.kernel).name());
    for (module, home) in [("c", "stock"), ("rust", "kernel")] {
        if !args.modules().split(' ').any(|wanted| wanted == module) {
            continue;
        }
        let seen = conform::of_module(&steps, module);
        let found = expected.faults(home, &seen);
        let score = if module == "c" {
            &mut outcome.c
        } else {
            &mut outcome.rust
        };
        score.add(seen.len().saturating_sub(found.len()), found.len());
        outcome.faults.extend(found);
    }
    Ok(())
}

/// Returns the table of all results: scenarios by kernel and IOMMU, with passed and made checks.
pub(crate) fn table(outcomes: &[CellOutcome]) -> String {
    let (mut c, mut rust) = (report::Score::default(), report::Score::default());
    let mut cpu = Duration::ZERO;
    let seconds = |time: Duration| format!("{:.0}", time.as_secs_f64());
    let mut rows = Vec::new();
    for outcome in outcomes {
        let verdict = match (outcome.faults.len(), outcome.first.len()) {
            (0, 0) => "in order",
            (0, _) => "2nd time",
            _ => "FAULTY",
        };
        rows.push(vec![
            outcome.cell.scenario.clone(),
            outcome.cell.kernel.clone(),
            outcome.cell.iommu.name().to_owned(),
            outcome.c.to_string(),
            outcome.rust.to_string(),
            verdict.to_owned(),
            seconds(outcome.took),
            seconds(outcome.cpu),
        ]);
        c.join(outcome.c);
        rust.join(outcome.rust);
        cpu += outcome.cpu;
    }
    let cells = [
        "all",
        "",
        "",
        &c.to_string(),
        &rust.to_string(),
        "",
        "",
        &seconds(cpu),
    ];
    rows.push(cells.map(str::to_owned).into());
    let header = ["scenario", "kernel", "IOMMU", "C", "Rust", "", "s", "CPU s"];
    table::format(&header, &rows) + "\n"
}
