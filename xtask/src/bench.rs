//! Measurements.
//! Most figures are ratios of two timings from the same run, so the speed of the machine matters little.

mod beside;
mod camera;
mod card;
mod counts;
mod pipeline;
mod scale;

use crate::sh::{self, cmd};
use crate::table::{self, Table};
use crate::{docs, setup, vm};
use anyhow::{Context as _, Result};
use fs_err as fs;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A ratio clearly misses its aim if it is larger than the aim by this factor.
const MAX_OVER_AIM: f64 = 1.05;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    save: docs::Save,
}

/// What else can be measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// The mapping layer alone: addresses, mapping, flushing, bouncing, bookkeeping
    Dma {
        /// Count the instructions of a map and unmap instead, with valgrind
        #[arg(long)]
        count: bool,
    },
    /// The core crates alone: QBUF, completion and DQBUF of a buffer, and freeing memory
    Core {
        /// Count the instructions of a frame instead, with valgrind
        #[arg(long)]
        count: bool,
    },
    /// Compare a pipeline of decoder, converter and display by dma-buf with direct calls of their
    /// libraries
    Pipeline(pipeline::Args),
    /// Measure many threads, descriptors, epoll sets and processes while a camera runs at 60 fps
    Scale(docs::Save),
    /// Measure how long a camera's calls wait, and how far apart its frames are, while another device works
    Beside(docs::Save),
    /// Measure CPU time and memory of one more camera, compared with ffmpeg that writes to a pipe
    Camera,
    /// Measure a display card: calls with few and many framebuffers, and a flip compared with a frame of a display
    Card(docs::Save),
    /// Compare the kernel module with the C module, alternating in one virtual machine
    Kernel(vm::bench::Args),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        Some(What::Dma { count: true, .. }) => count_dma(),
        Some(What::Dma { count: false }) => sh::run(sh::cargo(
            "run --quiet --release -p vb3-dma --example bench_dma",
        )),
        Some(What::Core { count: true }) => count_core(),
        Some(What::Core { count: false }) => sh::run(sh::cargo(
            "run --quiet --release -p vb3-queue --example bench_core",
        )),
        Some(What::Pipeline(args)) if args.count => counts::run().map(|table| table::print(&table)),
        Some(What::Pipeline(args)) => args.save.table("bench pipeline", || pipeline::run(args)),
        Some(What::Scale(save)) => save.table("bench scale", scale::run),
        Some(What::Beside(save)) => save.table("bench beside", beside::run),
        Some(What::Camera) => camera::run().map(|table| table::print(&table)),
        Some(What::Card(save)) => save.table("bench card", card::run),
        Some(What::Kernel(args)) => vm::bench::run(args).map(|table| table::print(&table)),
        None => {
            args.save.table("bench", calls)?;
            camera::run().map(|table| table::print(&table))
        }
    }
}

/// `vb3` with optimisation, and options of `vb3 run`.
struct Vb3 {
    program: PathBuf,
    options: Vec<String>,
}

impl Vb3 {
    /// Installs a C compiler for the clients, and these packages. Builds `vb3`.
    fn new(packages: &[&str]) -> Result<Self> {
        setup::install(&[packages, &["gcc", "libc6-dev"]].concat())?;
        let (program, options) = (sh::release_vb3()?, Vec::new());
        Ok(Self { program, options })
    }

    /// Returns a `vb3 run` command with these devices. The caller adds the program to run.
    fn with(&self, devices: &[&str]) -> Command {
        let Self { program, options } = self;
        let devices = devices.iter().flat_map(|device| ["--device", device]);
        cmd!("{program} run {options...} {devices...} --")
    }
}

const CALLS: [&str; 10] = [
    "a call that touches no memory / shortest notification",
    "QBUF / shortest notification",
    "DQBUF / shortest notification",
    "CPU time of capturing 1920x1080 NV12 at 60 fps / memcpy of the same bytes",
    "CPU time of the same capture / memcpy, source and target not in the cache",
    "CPU time of the same capture / such a memcpy, one frame every 1/60 s",
    "CPU time of the client alone / such a memcpy",
    "QBUF and DQBUF with 1,024 buffers / with 4",
    "`vb3 run -- true` / `true`",
    "a run with 20 devices / with one",
];

/// QBUF/DQBUF cycles in a run.
const CYCLES: &str = "20000";
/// Frames of 1920x1080 to capture.
const FRAMES: &str = "180";

fn calls() -> Result<Table> {
    let vb3 = Vb3::new(&[])?;
    let client = client("bench")?;
    let measured = |spec: &str, words: &[&str]| measure(vb3.with(&[spec]).arg(&client).args(words));
    let free = "camera=pattern,profile=sensor,pace=free";
    let few = measured(free, &["cycles", "4", CYCLES])?;
    let free = format!("{free},max-buffers=1024");
    let many = measured(&free, &["cycles", "1024", CYCLES])?;
    let sensor = "camera=pattern,profile=sensor,fps=60";
    let capture = measured(sensor, &["cameras", "1", FRAMES])?;
    let startup = alternating(vb3.with(&[]).arg("true"), &mut cmd!("true"))?;
    let [one, twenty] = [1, 20].map(|count| vec!["camera=pattern"; count]);
    let devices = alternating(vb3.with(&twenty).arg("true"), vb3.with(&one).arg("true"))?;

    let spent = capture.value("client_cpu_ns")?;
    let cpu = spent + capture.value("supervisor_cpu_ns")?;
    let (cached, uncached) = (capture.value("cached_ns")?, capture.value("uncached_ns")?);
    let paced = capture.value("paced_ns")?;
    let bare = few.value("bare_ns")?;
    let quotients = [
        (few.value("refused_ns")?, bare, None),
        (few.value("qbuf_ns")?, bare, Some(1.5)),
        (few.value("dqbuf_ns")?, bare, Some(1.5)),
        (cpu, cached, None),
        (cpu, uncached, Some(1.3)),
        (cpu, paced, None),
        (spent, uncached, None),
        (many.value("cycle_ns")?, few.value("cycle_ns")?, Some(1.0)),
        (startup.0, startup.1, Some(6.0)),
        (devices.0, devices.1, Some(1.5)),
    ];
    Ok(ratios(CALLS.into_iter().zip(quotients)))
}

/// Returns the table of quotients of two times in nanoseconds, with their aims.
fn ratios<'a>(rows: impl IntoIterator<Item = (&'a str, (u64, u64, Option<f64>))>) -> Table {
    let rows = rows.into_iter().map(|(what, (this, over, aim))| {
        let ratio = this as f64 / over.max(1) as f64;
        let times = format!("{} / {}", time(this), time(over));
        table::row([what, &format!("{ratio:.2}"), &times, &verdict(ratio, aim)])
    });
    let header = table::row(["ratio of", "ratio", "times", "aim"]);
    (header, rows.collect())
}

/// Returns a ratio's aim, and whether the ratio clearly misses it.
fn verdict(ratio: f64, aim: Option<f64>) -> String {
    match aim {
        None => String::new(),
        Some(aim) if ratio > aim * MAX_OVER_AIM => format!("{aim:.2}: **loss**"),
        Some(aim) => format!("{aim:.2}"),
    }
}

/// Counts the instructions of a map and unmap of one segment.
fn count_dma() -> Result<()> {
    let counts = count_rounds("vb3-dma", "bench_dma", &["direct", "iommu"])?;
    for (spent, what) in counts.iter().zip(["without an IOMMU", "with an IOMMU"]) {
        println!("map and unmap one segment {what}: {spent} instructions");
    }
    Ok(())
}

/// Counts the instructions of a frame's QBUF, completion and DQBUF.
fn count_core() -> Result<()> {
    let rows = ["mmap", "same", "turns"];
    let what = [
        "MMAP",
        "DMABUF, the same in each buffer",
        "DMABUF, 66 in turn",
    ];
    let counts = count_rounds("vb3-queue", "bench_core", &rows)?;
    for (spent, what) in counts.iter().zip(what) {
        println!("QBUF, completion and DQBUF, {what}: {spent} instructions");
    }
    Ok(())
}

/// Counts the instructions of one round of each of an example's operations (`rows`). The count is the difference
/// between a run with many rounds and a run with half as many, so it excludes the start and end of the program.
fn count_rounds(package: &str, example: &str, rows: &[&str]) -> Result<Vec<u64>> {
    const ROUNDS: u64 = 1000;
    setup::install(&["valgrind"])?;
    let build = format!("build --quiet --release -p {package} --example {example}");
    sh::run(sh::cargo(&build))?;
    let program = sh::target().join("release/examples").join(example);
    let file = sh::target().join("callgrind.out");
    let count = |row: &str, rounds: u64| {
        let rounds = rounds.to_string();
        sh::quietly(cmd!(
            "valgrind --quiet --tool=callgrind --callgrind-out-file={file} {program} rounds {row} {rounds}"
        ))?;
        let found = fs::read_to_string(&file)?;
        let total = found.lines().find_map(|line| line.strip_prefix("totals: "));
        let total = total.and_then(|total| total.trim().parse::<u64>().ok());
        total.context("callgrind counted nothing")
    };
    let spent = |row: &&str| -> Result<u64> {
        Ok(count(row, 2 * ROUNDS)?.saturating_sub(count(row, ROUNDS)?) / ROUNDS)
    };
    rows.iter().map(spent).collect()
}

fn client(name: &str) -> Result<PathBuf> {
    let source = sh::root().join("xtask/programs").join(name);
    compile(&source.with_extension("c"), name)
}

/// Compiles a C program, and returns its path.
fn compile(source: &Path, name: &str) -> Result<PathBuf> {
    let dir = sh::target().join("bench");
    fs::create_dir_all(&dir)?;
    let client = dir.join(name);
    sh::quietly(cmd!("gcc -O2 -static -pthread -o {client} {source}"))?;
    Ok(client)
}

struct Run {
    command: String,
    values: HashMap<String, u64>,
}

impl Run {
    fn value(&self, key: &str) -> Result<u64> {
        let value = self.values.get(key).copied();
        value.with_context(|| format!("{} gave no {key}", self.command))
    }

    /// Returns a time that the client reported, formatted for a reader.
    fn time(&self, key: &str) -> Result<String> {
        self.value(key).map(time)
    }
}

/// Runs a client and reads the `key value` lines that it prints.
fn measure(command: &mut Command) -> Result<Run> {
    let shown = sh::shown(command);
    eprintln!("+ {shown}");
    let text = sh::text(command)?;
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    });
    Ok(Run {
        values: values.collect(),
        command: shown,
    })
}

/// Runs two commands alternately, and returns the median time of each.
fn alternating(one: &mut Command, other: &mut Command) -> Result<(u64, u64)> {
    let timed = |command: &mut Command| {
        let start = Instant::now();
        sh::quietly(command)?;
        nanoseconds(start.elapsed())
    };
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        of_one.push(timed(one)?);
        of_other.push(timed(other)?);
    }
    Ok((spread(of_one, u64::cmp)[1], spread(of_other, u64::cmp)[1]))
}

fn nanoseconds(time: Duration) -> Result<u64> {
    u64::try_from(time.as_nanos()).context("a run of centuries")
}

/// Returns the smallest value, the middle one, and the largest.
fn spread<T: Copy>(mut values: Vec<T>, order: impl Fn(&T, &T) -> Ordering) -> [T; 3] {
    values.sort_by(order);
    let last = values.len() - 1;
    [0, values.len() / 2, last].map(|index| values[index])
}

fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{}.{} µs", ns / 1000, ns / 100 % 10),
        _ => format!("{}.{} ms", ns / 1_000_000, ns / 100_000 % 10),
    }
}
