//! Measurements.
//! Each figure is a ratio of two timings from the same run, so the speed of the machine matters little.

mod beside;
mod camera;
mod pipeline;
mod scale;

use crate::table::Table;
use crate::{docs, setup, sh};
use anyhow::{Context as _, Result, bail};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A ratio that is larger than its aim by this factor misses the aim.
const MAX_OVER_AIM: f64 = 1.05;

/// Parts of the mapping layer that can be measured alone.
const DMA_PARTS: &[&str] = &["iova", "threads", "map", "flush", "bounce", "memory"];

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    save: docs::Save,
    /// Machine to measure on
    #[arg(long, value_name = "NAME", default_value = "pc")]
    machine: String,
    /// QBUF/DQBUF cycles in a run
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    cycles: u32,
    /// Frames of 1920x1080 to capture
    #[arg(long, value_name = "N", default_value_t = 180, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    frames: u32,
}

/// What else can be measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// The mapping layer alone: addresses, mapping, flushing, bouncing, bookkeeping
    Dma {
        /// Parts to measure; all if none is named
        #[arg(value_name = "PART", value_parser = clap::builder::PossibleValuesParser::new(DMA_PARTS.iter().copied()))]
        parts: Vec<String>,
        /// Count the instructions of a map and unmap instead, with valgrind
        #[arg(long, conflicts_with = "parts")]
        count: bool,
    },
    /// Compare a pipeline of decoder, converter and display by dma-buf with direct calls of their
    /// libraries
    Pipeline(pipeline::Args),
    /// Measure many threads, descriptors, epoll sets and processes while a camera runs at 60 fps
    Scale(scale::Args),
    /// How long a call waits while another camera's frames are copied
    Beside {
        /// Machine to measure on
        #[arg(long, value_name = "NAME", default_value = "pc")]
        machine: String,
    },
    /// CPU time and memory of one more camera, beside ffmpeg that writes to a pipe
    Camera {
        /// Machine to measure on
        #[arg(long, value_name = "NAME", default_value = "pc")]
        machine: String,
    },
    /// Compare the kernel module with the C module, alternating in one virtual machine
    Kernel(crate::vm::bench::Args),
}

/// One measured run of the client.
struct Run {
    command: String,
    values: HashMap<String, u64>,
}

impl Run {
    fn value(&self, key: &str) -> Result<u64> {
        self.values
            .get(key)
            .copied()
            .with_context(|| format!("{} gave no {key}", self.command))
    }

    /// Returns a time that the client reported, formatted for a reader.
    fn time(&self, key: &str) -> Result<String> {
        self.value(key).map(time)
    }
}

/// Measures, and prints the table.
///
/// # Errors
/// A part cannot be built or run, or the table cannot be stored.
pub(crate) fn run(args: &Args) -> Result<()> {
    let save = &args.save;
    match &args.what {
        Some(What::Dma { .. }) if save.save => bail!("bench dma has no table to save"),
        Some(What::Dma { count: true, .. }) => count_dma(),
        Some(What::Dma { parts, .. }) => dma(parts),
        Some(What::Pipeline(args)) => save.table("bench pipeline", || pipeline::run(args)),
        Some(What::Scale(args)) => save.table("bench scale", || scale::run(args)),
        Some(What::Beside { machine }) => save.table("bench beside", || beside::run(machine)),
        Some(What::Camera { machine }) => save.table("bench camera", || camera::run(machine)),
        Some(What::Kernel(args)) => save.table("bench kernel", || crate::vm::bench::run(args)),
        None => {
            save.table("bench", || calls(args))?;
            save.table("bench camera", || camera::run(&args.machine))
        }
    }
}

/// Names of the ratios that [`calls`] measures.
const CALLS: [&str; 9] = [
    "a call that touches no memory / shortest notification",
    "QBUF / shortest notification",
    "DQBUF / shortest notification",
    "CPU time of capturing 1920x1080 NV12 at 60 fps / memcpy of the same bytes",
    "the same / memcpy from memory to memory, not from the cache",
    "of it, the client",
    "QBUF and DQBUF with 1,024 buffers / with 4",
    "`vb3 run -- true` / `true`",
    "a run with 20 devices / with one",
];

/// Measures single calls, capture and start-up.
fn calls(args: &Args) -> Result<Table> {
    setup::install(&setup::some(&["gcc", "libc6-dev"]))?;
    let vb3 = sh::release_vb3()?;
    let client = build_client("bench")?;
    let measure = |spec: &str, words: &[&str]| {
        let mut command = Command::new(&vb3);
        command.args(["run", "--machine", &args.machine, "--device", spec, "--"]);
        measure(command.arg(&client).args(words))
    };
    let cycles = args.cycles.to_string();
    let few = measure(
        "camera=pattern,profile=sensor,pace=free",
        &["cycles", "4", &cycles],
    )?;
    let many = measure(
        "camera=pattern,profile=sensor,pace=free,max-buffers=1024",
        &["cycles", "1024", &cycles],
    )?;
    let frames = args.frames.to_string();
    let capture = measure(
        "camera=pattern,profile=sensor,fps=60",
        &["capture", &frames],
    )?;
    let run_of = |devices: usize| {
        let mut run = Command::new(&vb3);
        run.args(["run", "--machine", &args.machine]);
        for _ in 0..devices {
            run.args(["--device", "camera=pattern"]);
        }
        run.args(["--", "true"]);
        run
    };
    let startup = alternating(&mut run_of(0), &mut Command::new("true"))?;
    let devices = alternating(&mut run_of(20), &mut run_of(1))?;

    let capture_ns = |key| capture.value(key);
    let cpu = capture_ns("client_cpu_ns")? + capture_ns("supervisor_cpu_ns")?;
    let (few, many) = (|key| few.value(key), |key| many.value(key));
    let (bare, cached) = (few("bare_ns")?, capture_ns("cached_ns")?);
    let uncached = capture_ns("uncached_ns")?;
    let quotients = [
        (few("refused_ns")?, bare, None),
        (few("qbuf_ns")?, bare, Some(1.5)),
        (few("dqbuf_ns")?, bare, Some(1.5)),
        (cpu, cached, None),
        (cpu, uncached, Some(1.3)),
        (capture_ns("client_cpu_ns")?, uncached, None),
        (many("cycle_ns")?, few("cycle_ns")?, Some(1.0)),
        (startup.0, startup.1, Some(6.0)),
        (devices.0, devices.1, Some(1.5)),
    ];
    let rows = CALLS
        .iter()
        .zip(quotients)
        .map(|(what, (this, over, aim))| {
            let ratio = this as f64 / over.max(1) as f64;
            let (what, shown) = ((*what).to_owned(), format!("{ratio:.2}"));
            let times = format!("{} / {}", time(this), time(over));
            vec![what, shown, times, verdict(ratio, aim)]
        });
    let rows = rows.collect();
    Ok((vec!["ratio of", "ratio", "times", "aim"], rows))
}

/// Returns a ratio's aim, and whether the ratio clearly misses it.
fn verdict(ratio: f64, aim: Option<f64>) -> String {
    let loss = |aim| {
        if ratio > aim * MAX_OVER_AIM {
            ": **loss**"
        } else {
            ""
        }
    };
    aim.map_or_else(String::new, |aim| format!("{aim:.2}{}", loss(aim)))
}

/// Measures the mapping layer, part by part.
fn dma(parts: &[String]) -> Result<()> {
    let example = |part: Option<&String>| {
        let mut cargo = sh::cargo();
        cargo.args(["run", "--quiet", "--release", "-p", "vb3-dma"]);
        cargo.args(["--example", "bench_dma", "--"]).args(part);
        sh::run(&mut cargo)
    };
    if parts.is_empty() {
        return example(None);
    }
    parts.iter().try_for_each(|part| example(Some(part)))
}

/// Counts the instructions of a map and unmap of one segment, as the difference of two runs.
fn count_dma() -> Result<()> {
    const ROUNDS: u64 = 1000;
    let mut cargo = sh::cargo();
    cargo.args(["build", "--quiet", "--release", "-p", "vb3-dma"]);
    sh::run(cargo.args(["--example", "bench_dma"]))?;
    let program = sh::target().join("release/examples/bench_dma");
    let file = sh::target().join("callgrind.out");
    let count = |host: &str, rounds: u64| {
        let mut tool = Command::new("valgrind");
        tool.args(["--quiet", "--tool=callgrind"]);
        tool.arg(format!("--callgrind-out-file={}", file.display()));
        tool.arg(&program).args(["rounds", host]);
        sh::quietly(tool.arg(rounds.to_string()))?;
        let found = std::fs::read_to_string(&file)?;
        let total = found.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.trim().parse::<u64>().ok());
        total.context("callgrind counted nothing")
    };
    for (host, what) in [("direct", "without an IOMMU"), ("iommu", "with an IOMMU")] {
        let spent = count(host, 2 * ROUNDS)?.saturating_sub(count(host, ROUNDS)?);
        println!(
            "map and unmap one segment {what}: {} instructions",
            spent / ROUNDS
        );
    }
    Ok(())
}

/// Compiles a client, linked statically.
fn build_client(name: &str) -> Result<PathBuf> {
    let dir = sh::target().join("bench");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let client = dir.join(name);
    sh::quietly(
        Command::new("gcc")
            .args(["-O2", "-static", "-pthread", "-o"])
            .arg(&client)
            .arg(sh::root().join(format!("xtask/programs/{name}.c"))),
    )?;
    Ok(client)
}

/// Runs a client and reads the `key value` lines that it prints.
fn measure(command: &mut Command) -> Result<Run> {
    let shown = sh::shown(command);
    eprintln!("+ {shown}");
    let text = String::from_utf8(sh::quietly(command)?);
    let text = text.context("the client's output is not UTF-8")?;
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    });
    let values = values.collect();
    Ok(Run {
        command: shown,
        values,
    })
}

/// Runs two commands alternately, and returns the median time of each.
fn alternating(one: &mut Command, other: &mut Command) -> Result<(u64, u64)> {
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        of_one.push(timed(one)?);
        of_other.push(timed(other)?);
    }
    Ok((median(of_one), median(of_other)))
}

fn timed(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{} failed: {status}", sh::shown(command));
    }
    Ok(start.elapsed())
}

fn median(mut times: Vec<Duration>) -> u64 {
    times.sort();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    u64::try_from(middle.as_nanos()).unwrap_or(u64::MAX)
}

fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{}.{} µs", ns / 1000, ns / 100 % 10),
        _ => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_verdicts_are_readable() {
        assert_eq!(time(6_600), "6600 ns");
        assert_eq!(time(12_345), "12.3 µs");
        assert_eq!(time(12_345_678), "12.3 ms");
        assert_eq!(verdict(1.11, Some(1.05)), "1.05: **loss**");
        assert_eq!(verdict(1.55, Some(1.5)), "1.50");
        assert_eq!(verdict(9.0, None), "");
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median([5, 1, 3].map(Duration::from_nanos).to_vec()), 3);
    }
}
