//! Streams decoded and encoded by workers, compared with ffmpeg's results.

mod av1;
mod harm;
mod headers;
mod hevc;
mod jpeg;
mod loans;
mod tools;

/// The worker as a process.
pub(crate) fn process() -> vb3_codec::Launch {
    vb3_codec::Launch::program(env!("CARGO_BIN_EXE_codec-worker"), [""; 0])
}
