//! `cargo xtask bench kernel`: measures videobuf2's C module and ours alternately, in one boot.

use super::lab::Lab;
use super::{Cell, Iommu, boot, build, report, results};
use crate::arch::Arch;
use crate::table::{self, Table};
use crate::{setup, sh};
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kernel whose version begins with this [default: the newest]
    #[arg(long)]
    kernel: Option<String>,
    /// Use one processor, and count its instructions instead of time; the counts hardly differ between runs
    #[arg(long)]
    count: bool,
}

/// Measures a row for each operation.
pub(crate) fn run(args: &Args) -> Result<Table> {
    setup::install(&["x86-64"])?;
    let lab = Lab::open()?;
    let mut how = super::Args::new(&["bench"]);
    how.kernels.extend(args.kernel.clone());
    how.count = args.count;
    let kernel = super::kernels(&lab, &how)?.pop();
    let cell = Cell {
        kernel: kernel.context("the lab has no kernel")?,
        iommu: Iommu::Intel,
        scenario: "bench".to_owned(),
    };
    build::sources(&lab)?;
    build::common(&lab, Arch::X86_64)?;
    build::modules(&lab, &cell.kernel, false)?;
    fs::create_dir_all(results())?;
    let steps = boot::run(&lab, &cell, &how)?;
    let (kernel, iommu) = (&cell.kernel, cell.iommu.name());
    println!(
        "{kernel}, IOMMU {iommu}; order C, Rust, Rust, C, C, Rust, Rust, C; the fastest of each"
    );
    let mut pairs = pairs(&steps)?;
    if let [Some(c), Some(rust)] = ["c.module", "rust.module"].map(|name| bytes(&steps, name)) {
        pairs.push(("bytes when loaded".to_owned(), c, rust));
    }
    let rows = pairs.into_iter().map(|(name, c, rust)| {
        // CAST: an operation takes far less than 2^52 nanoseconds.
        let ratio = format!("{:.2}", rust as f64 / c.max(1) as f64);
        vec![name, c.to_string(), rust.to_string(), ratio]
    });
    let unit = if args.count { "instr." } else { "ns" };
    let [c, rust] = ["C", "Rust"].map(|module| format!("{module} {unit}"));
    let header = table::row(["operation", &c, &rust, "ratio"]);
    Ok((header, rows.collect()))
}

fn bytes(steps: &[Value], name: &str) -> Option<u64> {
    steps.iter().find(|step| step["step"] == name)?["bytes"].as_u64()
}

/// Returns each operation with its fastest run for each module, in order.
/// The fastest run counts, because other work of the machine can only make a run slower.
///
/// # Errors
/// A step failed, a module lacks an operation, or there is none.
fn pairs(steps: &[Value]) -> Result<Vec<(String, u64, u64)>> {
    sh::expect_none("bench kernel", &report::faults(steps))?;
    let fastest = |module: &str, name: &str| {
        let name = format!("{module}.bench.{name}");
        let runs = steps.iter().filter(|step| step["step"] == name);
        runs.filter_map(|step| step["ns"].as_u64()).min()
    };
    let mut names = Vec::new();
    for step in steps {
        let name = step["step"].as_str().unwrap_or_default();
        let name = name.strip_prefix("c.bench.");
        names.extend(name.filter(|name| !names.contains(name)));
    }
    let pair = |name: &str| Some((name.to_owned(), fastest("c", name)?, fastest("rust", name)?));
    let pairs: Vec<_> = names.into_iter().filter_map(pair).collect();
    ensure!(!pairs.is_empty(), "no operation was measured");
    Ok(pairs)
}
