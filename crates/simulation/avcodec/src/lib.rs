//! Codec processes with libavcodec as their library.
//!
//! The program `vb3-codec` consists of [`main`]. It is separate from `vb3`, which therefore links with no
//! codec library. `vb3` starts `vb3-codec` with a socket as standard input. `vb3-codec --list` prints codecs;
//! with `--serve`, it then serves its standard input.
//! Without libavcodec's headers, this crate can be built, but has no codec.
#![deny(unsafe_code)]

#[cfg(libavcodec)]
mod codecs;
#[cfg(not(libavcodec))]
#[path = "missing.rs"]
mod codecs;
#[cfg(libavcodec)]
mod decoder;
#[cfg(libavcodec)]
mod encoder;
#[cfg(libavcodec)]
mod encoders;
#[cfg(libavcodec)]
mod h264;
#[cfg(libavcodec)]
mod library;
#[cfg(libavcodec)]
mod stateless;
#[cfg(libavcodec)]
mod vp8;

use std::process::ExitCode;
use vb3_codec::{Codec, Kind, Library};

/// The message if this crate was built without codecs.
const MISSING: &str = "vb3-codec was built without libavcodec and has no codec. On Debian: apt-get \
                       install libavcodec-dev pkg-config, then install vb3 again by cargo; or install \
                       the package vb3-codec.";

/// Runs the program `vb3-codec`: serves its parent process on standard input, or prints the codecs.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_str()).collect();
    match (library(), &*words) {
        (None, words) => {
            println!("library none");
            if !words.contains(&Some("--serve")) {
                eprintln!("{MISSING}");
            }
            ExitCode::FAILURE
        }
        (Some(_), []) => vb3_codec::serve_stdin_with(make),
        (Some(library), [Some("--list")]) => {
            print!("{}", library.list());
            ExitCode::SUCCESS
        }
        (Some(library), [Some("--list"), Some("--serve")]) => {
            vb3_codec::list_and_serve_stdin(&library, make)
        }
        (Some(_), _) => {
            eprintln!("vb3-codec is started by vb3; `vb3-codec --list` lists its codecs");
            ExitCode::from(2)
        }
    }
}

/// Makes the codec for a kind of codec process; `None` if the library does not have the codec.
#[must_use]
pub fn make(kind: Kind) -> Option<Box<dyn Codec>> {
    codecs::make(kind)
}

/// Returns the library with its version, licence and codecs; `None` if the crate was built without one.
#[must_use]
pub fn library() -> Option<Library> {
    codecs::library()
}
