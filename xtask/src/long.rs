//! `cargo xtask storm` and `exact`: end-to-end tests with more kills, calls and streams, by seed.

use crate::ci;
use anyhow::Result;
use std::time::{SystemTime, UNIX_EPOCH};

/// Arguments of `storm`.
#[derive(Debug, clap::Args)]
pub(crate) struct StormArgs {
    /// Programs killed by SIGKILL, each at a random moment
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..))]
    kills: u32,
    /// Random system calls of eight threads on device and dma-buf descriptors: so many with one
    /// descriptor table for all, and so many with one for each
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    calls: u32,
    /// Opens and closes at the numbers that devices get
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    opens: u32,
    /// Frames at 60 a second that are captured while 10,000 signals a second come; twice
    #[arg(long, value_name = "N", default_value_t = 3_600, value_parser = clap::value_parser!(u32).range(60..))]
    frames: u32,
    /// Which moments, calls and numbers; drawn and printed without it
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// Seconds after which a storm counts as hanging
    #[arg(long, value_name = "SECONDS", default_value_t = 7_200)]
    patience: u32,
    /// Only the storms whose test has this in its name
    #[arg(value_name = "NAME", default_value = "")]
    name: String,
}

/// Arguments of `exact`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExactArgs {
    /// Number of x264 streams; the other codecs together make as many again
    #[arg(long, value_name = "N", default_value_t = 200)]
    streams: u32,
    /// Which streams; drawn and printed without it
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
}

/// Runs the tests of `crates/vb3/tests/e2e/storms.rs` for longer.
///
/// # Errors
/// A program hung, a resource was held at the end or lost, or a package cannot be installed.
pub(crate) fn storm(args: &StormArgs) -> Result<()> {
    let numbers = [
        ("VB3_STORM_KILLS", args.kills),
        ("VB3_STORM_CALLS", args.calls),
        ("VB3_STORM_OPENS", args.opens),
        ("VB3_STORM_FRAMES", args.frames),
        ("VB3_STORM_PATIENCE", args.patience),
        ("VB3_STORM_SEED", chosen(args.seed)),
    ];
    ci::one_by_one(&format!("storms::{}", args.name), numbers)
}

/// Runs the tests of `crates/vb3/tests/e2e/exact.rs` with more streams.
///
/// # Errors
/// A picture differs, or a package that the tests need cannot be installed.
pub(crate) fn exact(args: &ExactArgs) -> Result<()> {
    let (streams, seed) = (args.streams, chosen(args.seed));
    let numbers = [("VB3_EXACT_STREAMS", streams), ("VB3_EXACT_SEED", seed)];
    ci::one_by_one("exact::", numbers)
}

/// Returns the given seed, or draws one and prints it.
fn chosen(seed: Option<u32>) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = seed.unwrap_or_else(|| now.map_or(1, |since| since.subsec_nanos()));
    eprintln!("seed {seed}");
    seed
}
