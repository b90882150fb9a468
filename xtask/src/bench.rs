//! Measurements. Each figure is a ratio of two timings that were taken in the same run, so that
//! the machine it runs on matters little.

mod beside;
mod pipeline;
mod scale;

use crate::{setup, sh, table};
use anyhow::{Context as _, Result, bail};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Parts of the mapping layer that can be measured alone.
const DMA_PARTS: &[&str] = &["iova", "threads", "map", "flush", "bounce", "memory"];

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
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
}

/// Measures and prints the table.
///
/// # Errors
/// A part cannot be built or run.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        Some(What::Dma { count: true, .. }) => return count_dma(),
        Some(What::Dma { parts, .. }) => return dma(parts),
        Some(What::Pipeline(args)) => return pipeline::run(args),
        Some(What::Scale(args)) => return scale::run(args),
        Some(What::Beside { machine }) => return beside::run(machine),
        Some(What::Kernel(args)) => return crate::vm::bench::run(args),
        None => {}
    }
    setup::install(setup::ALL)?;
    let vb3 = sh::release_vb3()?;
    let client = build_client("bench")?;
    let measure = |spec: &str, words: &[&str]| measure(&vb3, &client, &args.machine, spec, words);
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
    let startup = startup(&vb3, &args.machine)?;

    let bare = few.value("bare_ns")?;
    let cpu = capture.value("client_cpu_ns")? + capture.value("supervisor_cpu_ns")?;
    let rows = [
        row(
            "call on a device, no memory touched / bare notification",
            few.value("refused_ns")?,
            bare,
            "",
        ),
        row(
            "QBUF / bare notification",
            few.value("qbuf_ns")?,
            bare,
            "aim 1.50",
        ),
        row(
            "DQBUF / bare notification",
            few.value("dqbuf_ns")?,
            bare,
            "aim 1.50",
        ),
        row(
            "capture 1080p60 NV12, CPU / memcpy",
            cpu,
            capture.value("memcpy_ns")?,
            "less is better",
        ),
        row(
            "  of it, the client",
            capture.value("client_cpu_ns")?,
            capture.value("memcpy_ns")?,
            "",
        ),
        row(
            "cycle, 1024 / 4 buffers",
            many.value("cycle_ns")?,
            few.value("cycle_ns")?,
            "aim 1.00",
        ),
        row(
            "start-up, vb3 run -- true / true",
            startup.0,
            startup.1,
            "less is better",
        ),
    ];
    println!(
        "{}",
        table::format(&["what", "ratio", "this", "over", ""], &rows)
    );
    let rate = u64::from(args.frames) * 1_000_000_000_000 / capture.value("wall_ns")?.max(1);
    println!("captured at {}.{:03} fps", rate / 1000, rate % 1000);
    println!("commands:");
    for command in [&few.command, &many.command, &capture.command] {
        println!("  {command}");
    }
    Ok(())
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

/// Counts the instructions of map and unmap of one segment: those of more rounds, less those of few.
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

/// Compiles a client, statically.
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

fn measure(vb3: &Path, client: &Path, machine: &str, spec: &str, words: &[&str]) -> Result<Run> {
    let mut command = Command::new(vb3);
    command
        .args(["run", "--machine", machine, "--device", spec, "--"])
        .arg(client)
        .args(words);
    let shown = sh::shown(&command);
    eprintln!("+ {shown}");
    let out = sh::quietly(&mut command)?;
    let text = String::from_utf8(out).context("the client's output is not UTF-8")?;
    Ok(Run {
        command: shown,
        values: values(&text),
    })
}

/// The `key value` lines of a client's output.
fn values(text: &str) -> HashMap<String, u64> {
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    });
    values.collect()
}

/// Median times of `vb3 run -- true` and of `true`, turn by turn.
fn startup(vb3: &Path, machine: &str) -> Result<(u64, u64)> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        with.push(timed(Command::new(vb3).args([
            "run",
            "--machine",
            machine,
            "--",
            "true",
        ]))?);
        without.push(timed(&mut Command::new("true"))?);
    }
    Ok((median(with), median(without)))
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

fn row(what: &str, this: u64, over: u64, aim: &str) -> Vec<String> {
    let hundredths = u128::from(this) * 100 / u128::from(over.max(1));
    let ratio = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    vec![
        what.to_owned(),
        ratio,
        time(this),
        time(over),
        aim.to_owned(),
    ]
}

fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{}.{} us", ns / 1000, ns / 100 % 10),
        _ => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_and_times_are_readable() {
        assert_eq!(
            row("x", 6_600, 4_400, "")[1..4],
            ["1.50", "6600 ns", "4400 ns"]
        );
        assert_eq!(row("x", 1, 0, "")[1], "1.00");
        assert_eq!(time(12_345), "12.3 us");
        assert_eq!(time(12_345_678), "12.3 ms");
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median([5, 1, 3].map(Duration::from_nanos).to_vec()), 3);
    }
}
