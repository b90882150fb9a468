//! `cargo xtask vm`: runs stock kernels in virtual machines, with the C module and ours.
//!
//! The lab (`lab/`) makes its build root and guest image by itself, and keeps them in the cache. Each step
//! prints what it does, and has a time limit and a log. Its end stops all processes that it started.

pub(crate) mod arch;
pub(crate) mod bench;
mod boot;
mod build;
mod cells;
pub(crate) mod conform;
pub(crate) mod dkms;
pub(crate) mod lab;
mod report;
pub(crate) mod step;

use crate::{setup, sh};
use anyhow::{Context as _, Result, bail};
use arch::Arch;
use cells::Cell;
use clap::{Parser as _, ValueEnum};
use lab::Lab;
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `vm`.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// Scenarios of lab/scenarios to run, in one boot each [default: compliance, or all that the
    /// checked kernel is for]
    scenarios: Vec<String>,
    /// Architectures; may be given more than once [default: x86-64; of what CI runs, all]
    #[arg(long = "arch", value_enum)]
    archs: Vec<Arch>,
    /// Kernels whose version begins with this; may be given more than once [default: all]
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// IOMMUs; may be given more than once [default: none]
    #[arg(long = "iommu", value_enum)]
    iommus: Vec<Iommu>,
    /// Every kernel with every IOMMU
    #[arg(long)]
    matrix: bool,
    /// Every scenario on every kernel, with the IOMMUs that it is about, and the package's test
    #[arg(long, conflicts_with_all = ["scenarios", "iommus", "matrix"])]
    everything: bool,
    /// Run CI's selection: everything on the newest kernel of x86-64; on the others, one machine
    /// for each feature that depends on the kernel; on arm64, tests that need its machines
    #[arg(long, conflicts_with_all = ["scenarios", "iommus", "matrix", "everything", "kernels"])]
    chosen: bool,
    /// In a small kernel with the kernel's own checkers on (KASAN, lockdep, kmemleak, DMA_API_DEBUG
    /// and others), built once from Debian's source in about seven minutes of two cores
    #[arg(long, conflicts_with_all = ["everything", "chosen", "kernels", "refresh", "archs"])]
    checked: bool,
    /// Boot a machine a second time whose first result was not in order, and say what it was
    #[arg(long)]
    again: bool,
    /// If virtual machines are unavailable, print the reason and succeed
    #[arg(long)]
    if_possible: bool,
    /// Machines to run at a time, if there is the memory
    #[arg(long, default_value_t = 4)]
    jobs: usize,
    /// Modules to load one after the other: c, rust [default: c rust; only rust in the checked
    /// kernel, because some checkers stop at the first report]
    #[arg(long)]
    modules: Option<String>,
    /// Kernel command line arguments
    #[arg(long, default_value = "")]
    append: String,
    /// Memory of the machine in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u32,
    /// Use KVM; without it, instructions are translated
    #[arg(long)]
    kvm: bool,
    /// Use a machine with one processor and a clock that counts one nanosecond per instruction
    #[arg(long, conflicts_with = "kvm")]
    count: bool,
    /// A Debian mirror, if this system's apt sources name none
    #[arg(long)]
    mirror: Option<String>,
    /// Look for newer kernels: make build root and guest image again
    #[arg(long)]
    refresh: bool,
}

impl Args {
    /// Returns the arguments with default values, for these scenarios.
    fn new(scenarios: &[&str]) -> Self {
        Self::parse_from([&["vm"], scenarios].concat())
    }

    /// Returns the architectures, each once.
    fn archs(&self) -> Vec<Arch> {
        match self.archs.as_slice() {
            [] if self.chosen => Arch::value_variants().to_vec(),
            [] => vec![Arch::default()],
            some => Arch::value_variants()
                .iter()
                .copied()
                .filter(|a| some.contains(a))
                .collect(),
        }
    }

    /// Returns the modules to load one after the other.
    fn modules(&self) -> &str {
        match &self.modules {
            Some(modules) => modules,
            None if self.checked => "rust",
            None => "c rust",
        }
    }
}

/// Scenarios of `--checked`, unless others are named: the checkers themselves, and scenarios without reports.
/// `pool` is not among them: the checker of the DMA API needs a page, and that memory has none.
const CHECKED: &[(&str, &[Iommu])] = &[
    ("planted", &[Iommu::None]),
    ("failing", &[Iommu::None]),
    ("edu", &[Iommu::None]),
    ("conformance", &[Iommu::None]),
    ("planes", &[Iommu::None]),
    ("sg", &[Iommu::None]),
    ("vmalloc", &[Iommu::None]),
    ("far", &[Iommu::None]),
    ("links", &[Iommu::Intel]),
    ("buffers", &[Iommu::None]),
    ("peers", &[Iommu::None]),
    ("stress", &[Iommu::None]),
];

/// The IOMMU that translates the devices' addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Iommu {
    /// Nothing.
    None,
    /// QEMU's VT-d.
    Intel,
    /// QEMU's SMMUv3.
    Smmuv3,
    /// virtio-iommu.
    Virtio,
}

impl Iommu {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Intel => "intel",
            Self::Smmuv3 => "smmuv3",
            Self::Virtio => "virtio",
        }
    }
}

/// Returns the directory of the results.
fn results() -> PathBuf {
    sh::target().join("vm")
}

/// Builds what is missing, runs the cells, and evaluates the results.
///
/// # Errors
/// There are faults. The message counts them.
pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    match possible(args) {
        Err(reason) if args.if_possible => {
            println!("vm: left out, because virtual machines cannot be had here: {reason:#}");
            return Ok(());
        }
        other => other?,
    }
    let lab = Lab::open(args.mirror.as_deref(), args.refresh)?;
    let kernels = kernels(&lab, args)?;
    let cells = wanted(args, &kernels);
    prepare(&lab, &kernels, &cells)?;
    for arch in args.archs() {
        let own = kernels.iter().filter(|kernel| Arch::of(kernel) == arch);
        if own
            .into_iter()
            .any(|kernel| needs(&cells, kernel, "package"))
        {
            dkms::test(&lab, arch)?;
        }
    }
    std::fs::create_dir_all(results()).context("cannot make the directory of results")?;
    let outcomes = cells::run(&lab, &cells, args);
    print!("{}", cells::table(&outcomes));
    let mut faults = Vec::new();
    for outcome in &outcomes {
        let name = outcome.cell.name();
        faults.extend(outcome.faults.iter().map(|f| format!("{name}: {f}")));
    }
    for fault in &faults {
        eprintln!("vm: {fault}");
    }
    let took = start.elapsed().as_secs();
    if !faults.is_empty() {
        bail!(
            "{} faults in {took} s; results and logs: {}",
            faults.len(),
            results().display()
        );
    }
    println!(
        "vm: all in order after {took} s; results: {}",
        results().display()
    );
    Ok(())
}

/// Builds everything that the cells need.
fn prepare(lab: &Lab, kernels: &[String], cells: &[Cell]) -> Result<()> {
    build::sources(lab)?;
    for arch in [Arch::X86_64, Arch::Arm64] {
        if kernels.iter().any(|kernel| Arch::of(kernel) == arch) {
            build::common(lab, arch)?;
        }
    }
    if kernels.iter().any(|kernel| lab::is_checked(kernel)) {
        build::object(lab, Arch::X86_64, Some("kasan"))?;
    }
    for kernel in kernels
        .iter()
        .filter(|k| cells.iter().any(|cell| cell.kernel == **k))
    {
        build::modules(lab, kernel)?;
        if needs(cells, kernel, "peers") {
            build::peers(lab, kernel)?;
        }
        if needs(cells, kernel, "patched") {
            build::patched(lab, kernel)?;
        }
    }
    if cells.iter().any(Cell::is_of_process) {
        build::process(lab)?;
    }
    Ok(())
}

/// Returns whether a scenario on this kernel needs `what`.
fn needs(cells: &[Cell], kernel: &str, what: &str) -> bool {
    let mut cells = cells.iter().filter(|cell| cell.kernel == kernel);
    cells.any(|cell| boot::needs(&cell.scenario, what))
}

/// Returns the kernels that the arguments select, for each architecture the oldest first.
fn kernels(lab: &Lab, args: &Args) -> Result<Vec<String>> {
    if args.checked {
        return Ok(vec![lab.checked()?]);
    }
    let mut all = Vec::new();
    for arch in args.archs() {
        lab.add(arch, args.mirror.as_deref())?;
        all.extend(lab.kernels(arch)?);
    }
    let is_wanted = |kernel: &&String| {
        args.kernels.is_empty() || args.kernels.iter().any(|w| kernel.starts_with(w))
    };
    let some: Vec<String> = all.iter().filter(is_wanted).cloned().collect();
    if some.is_empty() {
        bail!("no such kernel; there are: {}", all.join(" "));
    }
    Ok(some)
}

/// Returns the cells that the arguments select.
fn wanted(args: &Args, kernels: &[String]) -> Vec<Cell> {
    let archs = args.archs().into_iter();
    archs
        .flat_map(|arch| wanted_of(arch, args, kernels))
        .collect()
}

/// Returns the selected cells of one architecture.
fn wanted_of(arch: Arch, args: &Args, kernels: &[String]) -> Vec<Cell> {
    let named = match args.iommus.as_slice() {
        [] if args.matrix => arch.iommus(),
        [] => &[Iommu::None],
        some => some,
    };
    let list: Vec<(&str, &[Iommu])> = match args.scenarios.as_slice() {
        _ if args.everything || args.chosen => arch.everything().to_vec(),
        [] if args.checked => CHECKED.to_vec(),
        [] => vec![("compliance", named)],
        some => some.iter().map(|name| (name.as_str(), named)).collect(),
    };
    let own = || kernels.iter().filter(|kernel| Arch::of(kernel) == arch);
    let newest = own().max_by_key(|kernel| version(kernel));
    let mut cells = Vec::new();
    for (scenario, iommus) in list {
        for kernel in own() {
            let mut chosen = arch.chosen(Some(kernel) == newest).iter();
            let some = match chosen.find(|(name, _)| *name == scenario) {
                _ if !args.chosen => iommus,
                Some((_, some)) => some,
                None => continue,
            };
            cells.extend(some.iter().map(|iommu| Cell {
                kernel: kernel.clone(),
                iommu: *iommu,
                scenario: scenario.to_owned(),
            }));
        }
    }
    cells
}

/// Returns the numbers at the beginning of a release: 6, 12 and 57 of `6.12.57+deb13-amd64`.
fn version(kernel: &str) -> Vec<u32> {
    let numbers = kernel.split(|c: char| !c.is_ascii_digit());
    numbers.map_while(|n| n.parse().ok()).collect()
}

/// Checks whether virtual machines can run here: tools, namespaces, and a source for the guests.
///
/// # Errors
/// They cannot. The message says what is missing.
fn possible(args: &Args) -> Result<()> {
    setup::install(setup::VM)?;
    for arch in args.archs() {
        setup::install(arch.packages())?;
        if let Some(other) = args
            .iommus
            .iter()
            .find(|iommu| !arch.iommus().contains(iommu))
        {
            bail!("machines of {} have no IOMMU {}", arch.name(), other.name());
        }
        let known = |name: &String| arch.everything().iter().any(|(known, _)| known == name);
        match args.scenarios.iter().find(|name| !known(name)) {
            Some(other) if arch != Arch::X86_64 => {
                let all: Vec<&str> = arch.everything().iter().map(|(name, _)| *name).collect();
                bail!(
                    "{} has no scenario {other}; it has: {}",
                    arch.name(),
                    all.join(" ")
                );
            }
            _ => {}
        }
    }
    Lab::possible(args.mirror.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_runs_everything_on_the_newest_kernel() {
        let kernels = ["6.12.9-amd64", "7.2.1-amd64", "6.9.12-amd64"].map(str::to_owned);
        let mut args = Args::new(&[]);
        args.chosen = true;
        let chosen = wanted(&args, &kernels);
        let on = |kernel: &str| chosen.iter().filter(|cell| cell.kernel == kernel).count();
        args.everything = true;
        args.chosen = false;
        let all = wanted(&args, &kernels);
        assert_eq!(on(&kernels[1]), all.len() / kernels.len());
        let older = Arch::X86_64.chosen(false).iter();
        let older: usize = older.map(|(_, iommus)| iommus.len()).sum();
        assert_eq!([on(&kernels[0]), on(&kernels[2])], [older; 2]);
    }

    #[test]
    fn ci_runs_a_few_machines_of_arm64() {
        let kernels = ["6.12.9-arm64", "7.2.1-arm64"].map(str::to_owned);
        let mut args = Args::new(&[]);
        args.chosen = true;
        let chosen = wanted(&args, &kernels);
        let newest = chosen.iter().all(|cell| cell.kernel == kernels[1]);
        assert!(newest && chosen.len() == 2, "{chosen:?}");
    }

    #[test]
    fn a_machine_has_an_iommu_of_its_architecture() {
        let kernels = ["6.12.9-amd64", "6.12.9-arm64"].map(str::to_owned);
        let mut args = Args::new(&["edu"]);
        args.archs = vec![Arch::Arm64, Arch::X86_64];
        args.matrix = true;
        let cells = wanted(&args, &kernels);
        assert_eq!(cells.len(), 6);
        for cell in cells {
            assert!(Arch::of(&cell.kernel).iommus().contains(&cell.iommu));
        }
    }

    #[test]
    fn unneeded_parts_of_a_kernel_are_not_built() {
        let cells =
            [("6.9-amd64", "peers"), ("6.9-arm64", "compliance")].map(|(kernel, scenario)| Cell {
                kernel: kernel.to_owned(),
                iommu: Iommu::None,
                scenario: scenario.to_owned(),
            });
        assert!(needs(&cells, "6.9-amd64", "peers"));
        assert!(!needs(&cells, "6.9-arm64", "peers"));
        assert!(!needs(&cells, "7.2-amd64", "peers"));
    }

    #[test]
    fn releases_compare_by_their_numbers() {
        assert!(version("6.9.12-amd64") < version("6.12.9-amd64"));
        assert!(version("6.12.9-amd64") < version("7.2~rc1-amd64"));
    }
}
