//! The codecs of this crate.

use crate::job::Kind;
use crate::jpeg;
use crate::serve::{Codec, Harm, InThread, serve_stdin_with};
use std::process::ExitCode;

/// Serves one parent on standard input until the parent ends, with the codecs of this crate.
///
/// Call it in the main function of the program for [`Launch::program`](crate::Launch::program). The program
/// should then exit with the returned code. Its memory, its files and each job's CPU time are limited from then on.
/// It dies with its parent.
#[must_use]
pub fn serve_stdin() -> ExitCode {
    serve_stdin_with(built_in)
}

/// Makes a codec of this crate; `None` if the kind needs another library.
#[must_use]
pub fn built_in(kind: Kind) -> Option<Box<dyn Codec>> {
    match kind {
        Kind::JpegDecoder => Some(Box::new(jpeg::Decoder::default())),
        Kind::JpegEncoder => Some(Box::new(jpeg::Encoder::default())),
        Kind::Harm => Some(Box::new(Harm)),
        Kind::HarmInThread => Some(Box::new(InThread::default())),
        _ => None,
    }
}
