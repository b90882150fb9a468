//! `cargo xtask vm`: stock kernels in virtual machines, with the C module and ours.
//!
//! The lab (`lab/`) makes its build root and guest image by itself and keeps them in the cache.
//! Each step says what it does, has a time limit and a log, and what it starts is stopped with it.

pub(crate) mod bench;
mod boot;
mod build;
pub(crate) mod conform;
pub(crate) mod dkms;
mod lab;
mod report;
mod step;

use crate::{setup, sh};
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use lab::Lab;
use serde_json::Value;
use std::path::PathBuf;

/// Arguments of `vm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scenarios of lab/scenarios to run, in one boot each
    #[arg(default_value = "compliance")]
    scenarios: Vec<String>,
    /// Kernels whose version begins with this; may be given more than once [default: all]
    #[arg(long = "kernel")]
    kernels: Vec<String>,
    /// IOMMUs; may be given more than once [default: none]
    #[arg(long = "iommu", value_enum)]
    iommus: Vec<Iommu>,
    /// Every kernel with every IOMMU
    #[arg(long)]
    matrix: bool,
    /// Modules to load in turn: c, rust
    #[arg(long, default_value = "c rust")]
    modules: String,
    /// Kernel command line arguments
    #[arg(long, default_value = "")]
    append: String,
    /// Memory of the machine in MiB
    #[arg(long, default_value_t = 2048)]
    memory: u32,
    /// Use KVM; without it, instructions are translated
    #[arg(long)]
    kvm: bool,
    /// A Debian mirror, if this system's apt sources name none
    #[arg(long)]
    mirror: Option<String>,
    /// Look for newer kernels: make build root and guest image again
    #[arg(long)]
    refresh: bool,
}

impl Args {
    /// The default of every argument.
    fn new(scenarios: &[&str]) -> Self {
        Self {
            scenarios: scenarios.iter().map(|&name| name.to_owned()).collect(),
            kernels: Vec::new(),
            iommus: Vec::new(),
            matrix: false,
            modules: "c rust".to_owned(),
            append: String::new(),
            memory: 2048,
            kvm: false,
            mirror: None,
            refresh: false,
        }
    }
}

/// What `cargo xtask test --vm` runs: all on every kernel with every IOMMU, and the package.
///
/// # Errors
/// Something is wrong; the text counts the faults.
pub(crate) fn test() -> Result<()> {
    let mut args = Args::new(&["compliance", "conformance", "edu"]);
    args.matrix = true;
    run(&args)?;
    let mut args = Args::new(&["stress"]);
    args.iommus = vec![Iommu::None, Iommu::Intel];
    run(&args)?;
    dkms::run(&dkms::Args::tested())
}

/// What translates the devices' addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Iommu {
    /// Nothing.
    None,
    /// QEMU's VT-d.
    Intel,
    /// virtio-iommu.
    Virtio,
}

impl Iommu {
    const ALL: [Self; 3] = [Self::None, Self::Intel, Self::Virtio];

    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Intel => "intel",
            Self::Virtio => "virtio",
        }
    }
}

/// One machine: a kernel, an IOMMU and what runs on it.
#[derive(Debug)]
pub(crate) struct Cell {
    kernel: String,
    iommu: Iommu,
    scenario: String,
}

impl Cell {
    fn name(&self) -> String {
        format!("{}-{}-{}", self.scenario, self.kernel, self.iommu.name())
    }
}

/// Where results are put.
fn results() -> PathBuf {
    sh::target().join("vm")
}

/// Builds what is missing, runs the cells and judges them.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(setup::VM)?;
    let lab = Lab::open(args.mirror.as_deref(), args.refresh)?;
    let kernels: Vec<String> = lab
        .kernels()?
        .into_iter()
        .filter(|k| args.kernels.is_empty() || args.kernels.iter().any(|want| k.starts_with(want)))
        .collect();
    if kernels.is_empty() {
        bail!("no such kernel; there are: {}", lab.kernels()?.join(" "));
    }
    let iommus = match args.iommus.as_slice() {
        [] if args.matrix => Iommu::ALL.to_vec(),
        [] => vec![Iommu::None],
        some => some.to_vec(),
    };
    build::common(&lab)?;
    for kernel in &kernels {
        build::modules(&lab, kernel)?;
    }
    std::fs::create_dir_all(results()).context("cannot make the directory of results")?;
    let mut faults = Vec::new();
    for scenario in &args.scenarios {
        for kernel in &kernels {
            for iommu in &iommus {
                let cell = Cell {
                    kernel: kernel.clone(),
                    iommu: *iommu,
                    scenario: scenario.clone(),
                };
                let steps = boot::run(&lab, &cell, args)?;
                let to = results().join(format!("{}.json", cell.name()));
                let all = Value::Array(steps.clone());
                std::fs::write(&to, format!("{all:#}\n"))
                    .with_context(|| format!("cannot write {}", to.display()))?;
                let mut found = report::faults(&steps);
                if scenario == "conformance" {
                    let expected = conform::Expected::read()?;
                    for (module, home) in [("c", "stock"), ("rust", "kernel")] {
                        if args.modules.split(' ').any(|wanted| wanted == module) {
                            let seen = conform::of_module(&steps, module);
                            found.extend(expected.faults(home, &seen));
                        }
                    }
                }
                println!("{}: {}", cell.name(), report::summary(&steps, &found));
                faults.extend(found.into_iter().map(|f| format!("{}: {f}", cell.name())));
            }
        }
    }
    for fault in &faults {
        eprintln!("vm: {fault}");
    }
    if !faults.is_empty() {
        bail!(
            "{} faults; results and logs: {}",
            faults.len(),
            results().display()
        );
    }
    println!("vm: all in order; results: {}", results().display());
    Ok(())
}
