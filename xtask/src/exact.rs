//! `cargo xtask exact`: many streams at random through the decoder, compared with ffmpeg.

use crate::{setup, sh};
use anyhow::Result;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Arguments of `exact`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many streams x264 makes, and as many again of the other codecs in turn
    #[arg(long, value_name = "N", default_value_t = 200)]
    streams: u32,
    /// Which streams; drawn and printed without it
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// The JVT's conformance streams, each a file of this directory
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
}

/// Runs the tests of `crates/vb3/tests/e2e/exact.rs` with more streams.
///
/// # Errors
/// A picture differs; what the tests need cannot be installed.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::install(setup::ALL)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = args
        .seed
        .unwrap_or_else(|| now.map_or(1, |since| since.subsec_nanos()));
    let mut cargo = sh::cargo();
    cargo.args(["test", "--package", "vb3", "--test", "e2e", "--"]);
    cargo.args(["exact::", "--nocapture", "--test-threads=1"]);
    cargo.env("VB3_TESTS_NEED_ALL", "1");
    cargo.env("VB3_EXACT_SEED", seed.to_string());
    cargo.env("VB3_EXACT_STREAMS", args.streams.to_string());
    if let Some(vectors) = &args.vectors {
        cargo.env("VB3_H264_VECTORS", std::path::absolute(vectors)?);
    }
    sh::run(&mut cargo)
}
