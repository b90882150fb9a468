//! `cargo xtask vm`: runs stock kernels in virtual machines, with videobuf2's C module and ours.
//!
//! The lab (`kernel/lab/`) makes its build root and guest image by itself, and keeps them in the cache. Each step
//! prints its purpose, and has a time limit and a log. When a step ends, all processes that it started stop.

pub(crate) mod bench;
mod boot;
mod build;
mod cells;
pub(crate) mod conform;
pub(crate) mod dkms;
pub(crate) mod lab;
mod machine;
mod report;

use crate::arch::Arch;
use crate::{setup, sh};
use anyhow::{Context as _, Result, bail, ensure};
use cells::Cell;
use clap::{Parser as _, ValueEnum};
use fs_err as fs;
use lab::Lab;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// Scenarios of kernel/lab/scenarios to run, in one boot each [default: compliance, or all that the
    /// checked kernel is for]
    scenarios: Vec<String>,
    /// Architectures; may be given more than once [default: x86-64; of what CI runs, all]
    #[arg(long = "arch", value_enum)]
    archs: Vec<Arch>,
    /// Kernels whose version begins with this; may be given more than once [default: all]
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// IOMMUs; may be given more than once [default: for each scenario, the first one in its list]
    #[arg(long = "iommu", value_enum)]
    iommus: Vec<Iommu>,
    /// Run every scenario on every kernel, with all IOMMUs in its list, and the package's test
    #[arg(long, conflicts_with_all = ["scenarios", "iommus"])]
    everything: bool,
    /// Run CI's selection: everything on the newest kernel of x86-64; on the others, one machine
    /// for each feature that depends on the kernel; on arm64, tests that need its machines
    #[arg(long, conflicts_with_all = ["scenarios", "iommus", "everything", "kernels"])]
    chosen: bool,
    /// Only build the modules, for all kernels
    #[arg(long, conflicts_with_all = ["scenarios", "iommus", "everything", "chosen"])]
    build: bool,
    /// Use a small kernel with the kernel's own checkers (KASAN, lockdep, kmemleak, DMA_API_DEBUG and
    /// others), which is built once from Debian's source in about seven minutes of two cores
    #[arg(long, conflicts_with_all = ["everything", "chosen", "kernels", "archs"])]
    checked: bool,
    /// Use kernels that CI does not use: with PREEMPT_RT, and Debian 12's, which only vb2-why supports. With
    /// `--build`, also for Clang, without IBT on x86-64, and with shadow call stacks on arm64. Makes them once
    #[arg(long, conflicts_with_all = ["everything", "chosen", "checked", "archs"])]
    more: bool,
    /// If a machine's first boot has faults, print them and boot it a second time
    #[arg(long)]
    again: bool,
    /// Kernel command line arguments
    #[arg(long, default_value = "")]
    append: String,
    /// Use a machine with one processor and a clock that counts one nanosecond per instruction
    #[arg(long)]
    count: bool,
}

impl Args {
    /// Returns the arguments with default values, for these scenarios.
    fn new(scenarios: &[&str]) -> Self {
        Self::parse_from([&["vm"], scenarios].concat())
    }

    fn archs(&self) -> Vec<Arch> {
        match self.archs.as_slice() {
            [] if self.chosen => Arch::ALL.to_vec(),
            [] => vec![Arch::default()],
            some => some.to_vec(),
        }
    }

    /// Returns the modules to load one after the other. The checked kernel does not load the C module, because
    /// some checkers stop at the first report.
    fn modules(&self) -> &'static [&'static str] {
        if self.checked {
            &["rust"]
        } else {
            &["c", "rust"]
        }
    }
}

/// The IOMMU that translates the devices' addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Iommu {
    /// Nothing.
    #[default]
    None,
    /// QEMU's VT-d.
    Intel,
    /// QEMU's SMMUv3.
    Smmuv3,
    /// virtio-iommu.
    Virtio,
}

impl Iommu {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Names of scenarios, each with the IOMMUs on which it runs.
type Scenarios = Vec<(String, Vec<Iommu>)>;

/// The scenarios of an architecture, as `scenarios.toml` lists and explains them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    iommus: Vec<Iommu>,
    everything: Scenarios,
    newest: Option<Scenarios>,
    #[serde(default)]
    older: Scenarios,
    #[serde(default)]
    checked: Scenarios,
}

impl Known {
    fn of(arch: Arch) -> Result<Self> {
        let all = toml::from_str(include_str!("scenarios.toml"));
        let mut all: HashMap<String, Self> = all.context("scenarios.toml")?;
        all.remove(arch.name())
            .with_context(|| format!("{} has no scenarios", arch.name()))
    }

    /// Returns a scenario and the IOMMUs to run it with: `iommus` or, if `iommus` is empty, the first one that
    /// `scenarios.toml` lists for this scenario. A scenario such as `links`, which needs an IOMMU, lists only real
    /// ones.
    fn named(&self, name: &str, iommus: &[Iommu]) -> (String, Vec<Iommu>) {
        let mut known = self.everything.iter().filter(|(own, _)| own == name);
        let mut first = || known.find_map(|(_, own)| own.first().copied());
        let iommus = match iommus {
            [] => vec![first().unwrap_or_default()],
            some => some.to_vec(),
        };
        (name.to_owned(), iommus)
    }
}

pub(crate) fn results() -> PathBuf {
    sh::target().join("vm")
}

/// Builds what is missing, runs the cells (virtual machines with a scenario each), and evaluates the results. Returns
/// the files with the results.
pub(crate) fn run(args: &Args) -> Result<Vec<PathBuf>> {
    let start = Instant::now();
    check(args)?;
    setup::install(&["x86-64"])?;
    for arch in args.archs() {
        setup::install(&[arch.name()])?;
    }
    let lab = Lab::open()?;
    build::sources(&lab)?;
    let kernels = kernels(&lab, args)?;
    for arch in Arch::ALL {
        if kernels.iter().any(|kernel| lab::arch_of(kernel) == arch) {
            build::common(&lab, arch)?;
        }
    }
    if args.build {
        return build_all(&lab, &kernels);
    }
    let cells = wanted(args, &kernels)?;
    prepare(&lab, &kernels, &cells)?;
    for arch in args.archs() {
        let mut own = cells.iter().filter(|cell| cell.arch() == arch);
        if own.any(|cell| cell.needs("package")) {
            dkms::test(&lab, arch)?;
        }
    }
    fs::create_dir_all(results())?;
    let outcomes = cells::run(&lab, &cells, args);
    println!("{}", cells::table(&outcomes));
    let faults = outcomes.iter().flat_map(|outcome| {
        let (name, faults) = (outcome.cell.name(), outcome.faults.iter());
        faults.map(move |fault| format!("{name}: {fault}"))
    });
    let (took, results) = (start.elapsed().as_secs(), results());
    let place = results.display();
    sh::expect_none("vm", &faults.collect::<Vec<_>>())
        .with_context(|| format!("not in order after {took} s; results and logs: {place}"))?;
    println!("vm: all in order after {took} s; results: {place}");
    Ok(cells.iter().map(Cell::file).collect())
}

/// Builds the modules for all kernels.
fn build_all(lab: &Lab, kernels: &[String]) -> Result<Vec<PathBuf>> {
    for kernel in kernels {
        build::modules(lab, kernel, true)?;
    }
    println!("vm: the modules compile for {}", kernels.join(", "));
    Ok(Vec::new())
}

fn prepare(lab: &Lab, kernels: &[String], cells: &[Cell]) -> Result<()> {
    if kernels.iter().any(|kernel| lab::is_checked(kernel)) {
        build::object(lab, Arch::X86_64, Some("kasan"))?;
    }
    let is_used = |kernel: &&String| cells.iter().any(|cell| cell.kernel == **kernel);
    for kernel in kernels.iter().filter(is_used) {
        build::modules(lab, kernel, true)?;
        if needs(cells, kernel, "peers") {
            build::peers(lab, kernel)?;
        }
        if needs(cells, kernel, "patched") {
            build::patched(lab, kernel)?;
        }
    }
    for cell in cells {
        if let Some(other) = boot::other_kernel(lab, cell)? {
            build::modules(lab, &other, true)?;
        }
    }
    if cells.iter().any(Cell::needs_vb3) {
        build::process(lab)?;
    }
    Ok(())
}

/// Returns whether a scenario on this kernel needs `what`, as for `Cell::needs`.
fn needs(cells: &[Cell], kernel: &str, what: &str) -> bool {
    let mut cells = cells.iter().filter(|cell| cell.kernel == kernel);
    cells.any(|cell| cell.needs(what))
}

/// Returns the kernels that the arguments select. Those of an architecture are together, the oldest first.
fn kernels(lab: &Lab, args: &Args) -> Result<Vec<String>> {
    if args.checked {
        return Ok(vec![lab.checked()?]);
    }
    let mut all = Vec::new();
    for arch in args.archs() {
        lab.add(arch)?;
        all.extend(lab.kernels(arch)?);
    }
    if args.more {
        lab.add(Arch::Arm64)?;
        all = lab.more()?;
        // Kernels for Clang only have what the compilation of modules needs.
        all.retain(|kernel| args.build || lab.kernel(kernel, "vmlinuz").exists());
    }
    let mut some = all.clone();
    some.retain(|kernel| {
        args.kernels.is_empty() || args.kernels.iter().any(|w| kernel.starts_with(w))
    });
    let all = all.join(" ");
    ensure!(!some.is_empty(), "no such kernel; there are: {all}");
    Ok(some)
}

fn wanted(args: &Args, kernels: &[String]) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for arch in args.archs() {
        let known = Known::of(arch)?;
        let list: Scenarios = match args.scenarios.as_slice() {
            _ if args.everything || args.chosen => known.everything.clone(),
            [] if args.checked => known.checked,
            [] => vec![known.named("compliance", &args.iommus)],
            some => some
                .iter()
                .map(|name| known.named(name, &args.iommus))
                .collect(),
        };
        let newest = known.newest.unwrap_or(known.everything);
        let own = || kernels.iter().filter(|kernel| lab::arch_of(kernel) == arch);
        let last = own().max_by_key(|kernel| version(kernel));
        for (scenario, iommus) in list {
            for kernel in own() {
                let chosen = if Some(kernel) == last {
                    &newest
                } else {
                    &known.older
                };
                let chosen = chosen.iter().find(|(name, _)| *name == scenario);
                let chosen = chosen.map(|(_, iommus)| iommus);
                let iommus = if args.chosen { chosen } else { Some(&iommus) };
                cells.extend(iommus.into_iter().flatten().map(|iommu| Cell {
                    kernel: kernel.clone(),
                    iommu: *iommu,
                    scenario: scenario.clone(),
                }));
            }
        }
    }
    Ok(cells)
}

/// Returns the numbers at the beginning of a release: 6, 12 and 57 of `6.12.57+deb13-amd64`.
fn version(kernel: &str) -> Vec<u32> {
    let numbers = kernel.split(|c: char| !c.is_ascii_digit());
    numbers.map_while(|n| n.parse().ok()).collect()
}

/// Checks that the architectures have the IOMMUs and scenarios that the arguments name.
fn check(args: &Args) -> Result<()> {
    for arch in args.archs() {
        let (known, name) = (Known::of(arch)?, arch.name());
        let mut iommus = args.iommus.iter();
        if let Some(other) = iommus.find(|iommu| !known.iommus.contains(iommu)) {
            bail!("machines of {name} have no IOMMU {}", other.name());
        }
        let all: Vec<String> = known.everything.into_iter().map(|(name, _)| name).collect();
        let other = args.scenarios.iter().find(|name| !all.contains(name));
        if let Some(other) = other.filter(|_| arch != Arch::X86_64) {
            bail!("{name} has no scenario {other}; it has: {}", all.join(" "));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_runs_everything_on_the_newest_kernel() {
        let kernels = ["6.12.9-amd64", "7.2.1-amd64", "6.9.12-amd64"].map(str::to_owned);
        let mut args = Args::new(&[]);
        args.chosen = true;
        let chosen = wanted(&args, &kernels).unwrap();
        let on = |kernel: &str| chosen.iter().filter(|cell| cell.kernel == kernel).count();
        args.everything = true;
        args.chosen = false;
        let all = wanted(&args, &kernels).unwrap();
        assert_eq!(on(&kernels[1]), all.len() / kernels.len());
        let older = Known::of(Arch::X86_64).unwrap().older;
        let older: usize = older.iter().map(|(_, iommus)| iommus.len()).sum();
        assert_eq!([on(&kernels[0]), on(&kernels[2])], [older; 2]);
    }

    #[test]
    fn ci_runs_a_few_machines_of_arm64() {
        let kernels = ["6.12.9-arm64", "7.2.1-arm64"].map(str::to_owned);
        let mut args = Args::new(&[]);
        args.chosen = true;
        let chosen = wanted(&args, &kernels).unwrap();
        let newest = chosen.iter().all(|cell| cell.kernel == kernels[1]);
        let few = Known::of(Arch::Arm64).unwrap().newest.unwrap();
        let few: usize = few.iter().map(|(_, iommus)| iommus.len()).sum();
        assert!(newest && chosen.len() == few, "{chosen:?}");
    }

    #[test]
    fn a_machine_has_an_iommu_of_its_architecture() {
        let kernels = ["6.12.9-amd64", "6.12.9-arm64"].map(str::to_owned);
        let mut args = Args::new(&[]);
        args.archs = vec![Arch::Arm64, Arch::X86_64];
        args.everything = true;
        let cells = wanted(&args, &kernels).unwrap();
        let edu = cells.iter().filter(|cell| cell.scenario == "edu");
        assert_eq!(edu.count(), 6);
        for cell in cells {
            let known = Known::of(lab::arch_of(&cell.kernel)).unwrap();
            assert!(known.iommus.contains(&cell.iommu));
        }
    }

    #[test]
    fn a_named_scenario_gets_an_iommu_it_is_about() {
        let mut args = Args::new(&["links", "edu"]);
        let kernels = ["6.12.9-amd64".to_owned()];
        let iommus = |args: &Args| -> Vec<Iommu> {
            let cells = wanted(args, &kernels).unwrap();
            cells.iter().map(|cell| cell.iommu).collect()
        };
        assert_eq!(iommus(&args), [Iommu::Intel, Iommu::None]);
        args.iommus = vec![Iommu::Virtio];
        assert_eq!(iommus(&args), [Iommu::Virtio; 2]);
    }

    #[test]
    fn wrong_arguments_are_errors_without_machines() {
        let mut args = Args::new(&["edu", "--iommu=smmuv3"]);
        let why = run(&args).unwrap_err().to_string();
        assert_eq!(why, "machines of x86-64 have no IOMMU smmuv3");
        args.archs = vec![Arch::Arm64];
        check(&args).unwrap();
    }
}
