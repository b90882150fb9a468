//! `cargo xtask exact`: many streams at random through the decoder, compared with ffmpeg.

use crate::ci;
use anyhow::Result;
use std::path::PathBuf;

/// Arguments of `exact`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of x264 streams; the other codecs together make as many again
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
    let mut variables = vec![("VB3_EXACT_STREAMS", args.streams.to_string().into())];
    if let Some(vectors) = &args.vectors {
        variables.push(("VB3_H264_VECTORS", std::path::absolute(vectors)?.into()));
    }
    ci::with_seed("exact::", ("VB3_EXACT_SEED", args.seed), variables)
}
