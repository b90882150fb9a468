//! `vb3-seeds`: runs the simulation of one seed or of many seeds.
#![forbid(unsafe_code)]
#![allow(
    clippy::doc_paragraphs_missing_punctuation,
    reason = "clap shows them as help, which has no full stops"
)]

use clap::Parser;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use vb3_seeds::{Counts, Plan, shrink, simulate};

/// Simulate the whole stack by seed
#[derive(Debug, Parser)]
#[command(name = "vb3-seeds")]
struct Args {
    /// Run this seed alone and print its trace
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"], value_parser = seed)]
    seed: Option<u64>,
    /// How many seeds to run
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    from: u64,
    /// Stop at the first failure, and print its seed only
    #[arg(long)]
    brief: bool,
}

/// Maximum number of failing seeds that are printed.
const MOST_SHOWN: usize = 5;

fn seed(text: &str) -> Result<u64, String> {
    let parsed = text.parse::<u64>();
    parsed.map_err(|_| format!("a seed is a number from 0 to {}", u64::MAX))
}

fn main() -> ExitCode {
    let args = Args::parse();
    // The panic's message is reported as the failure of its seed.
    std::panic::set_hook(Box::new(|_| {}));
    match args.seed {
        Some(seed) => one(seed),
        None => many(&args),
    }
}

fn one(seed: u64) -> ExitCode {
    let plan = Plan::of(seed);
    let outcome = simulate(&plan, true);
    say(&format!("{plan}\n{}", outcome.trace));
    match outcome.failure {
        None => ExitCode::SUCCESS,
        Some(_) => {
            show(&plan);
            ExitCode::FAILURE
        }
    }
}

/// Prints a text to standard output. If this fails, as on a full disk, prints it to standard error. Ignores a
/// closed pipe.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let done = writeln!(out, "{text}").and_then(|()| out.flush());
    let Err(e) = done else { return };
    if e.kind() != ErrorKind::BrokenPipe {
        let _ = writeln!(
            std::io::stderr().lock(),
            "vb3-seeds: standard output cannot be written ({e}). The text is:\n{text}"
        );
    }
}

/// Makes a failing plan as small as possible, and prints it with its trace.
fn show(plan: &Plan) {
    let least = shrink(plan);
    let outcome = simulate(&least, true);
    let why = outcome.failure.unwrap_or_default();
    let trace = outcome.trace;
    say(&format!(
        "{least}\nthe smallest list of steps that still fails:\n{trace}FAILED: {why}"
    ));
    say(&format!(
        "again: cargo run --release -p vb3-seeds -- --seed {}",
        plan.seed
    ));
}

fn many(args: &Args) -> ExitCode {
    let began = Instant::now();
    let mut told = began;
    let mut total = Counts::default();
    let mut failed = Vec::new();
    // On a terminal, each progress line overwrites the previous one. A file gets new lines, less often.
    let terminal = std::io::stderr().is_terminal();
    let (every, end) = if terminal {
        (Duration::from_millis(200), "\r")
    } else {
        (Duration::from_secs(10), "\n")
    };
    for done in 0..args.seeds {
        let plan = Plan::of(args.from.saturating_add(done));
        let outcome = simulate(&plan, false);
        total.calls += outcome.counts.calls;
        total.cycles += outcome.counts.cycles;
        total.pictures += outcome.counts.pictures;
        total.faults += outcome.counts.faults;
        total.time_ns = total.time_ns.saturating_add(outcome.counts.time_ns);
        if let Some(why) = outcome.failure {
            say(&format!("seed {} failed: {why}", plan.seed));
            failed.push(plan.seed);
            if args.brief {
                return ExitCode::FAILURE;
            }
            if failed.len() <= MOST_SHOWN {
                show(&plan);
            }
        }
        if told.elapsed() > every {
            told = Instant::now();
            let (done, failed) = (done + 1, failed.len());
            eprint!("{done} of {} seeds, {failed} failed{end}", args.seeds);
        }
    }
    if terminal {
        eprintln!();
    }
    let took = began.elapsed().as_secs_f64();
    let per_second = |n: u64| n as f64 / took.max(1e-9);
    say(&format!(
        "{} seeds in {took:.1} s on one core: {:.0} seeds, {:.0} calls and {:.0} buffer cycles a \
         second; {} pictures compared, {} injected faults, {:.1} hours of simulated time; {} failed",
        args.seeds,
        per_second(args.seeds),
        per_second(total.calls),
        per_second(total.cycles),
        total.pictures,
        total.faults,
        total.time_ns as f64 / 3.6e12,
        failed.len(),
    ));
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
