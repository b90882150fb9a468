//! Streams through libavcodec's worker, compared with ffmpeg's pictures.

mod encoders;
mod h264;
mod h264_encoder;
mod h264_host;
mod hevc;
mod hostile;
mod others;
mod stateless;
mod threads;
mod tools;
mod vp8;

use std::path::Path;
use tools::{Driven, TestEvent, assert_same_pictures, decoded_by_ffmpeg, ffmpeg_is_here};
use vb3_codec::{Config, Framing, Job, Kind, Launch, Library};

/// Returns the program's library; `None` if it or ffmpeg is missing, which skips the test.
fn library() -> Option<Library> {
    let program = Path::new(env!("CARGO_BIN_EXE_avcodec-worker"));
    let asked = match Library::ask(program) {
        Ok(_) if !ffmpeg_is_here() => Err("there is no ffmpeg".to_owned()),
        asked => asked,
    };
    match asked {
        Ok(library) => Some(library),
        Err(why) => {
            vb3_skip::skip(why);
            None
        }
    }
}

/// Returns whether the library encodes a kind of stream, with a note if not. H.264 and HEVC need a GPL
/// build.
fn has_encoder(kind: Kind) -> bool {
    let there = library().is_some_and(|library| {
        let mut kinds = library.kinds.iter();
        kinds.any(|(known, _)| *known == kind)
    });
    if !there {
        vb3_skip::skip(format_args!("libavcodec was built without {}", kind.name()));
    }
    there
}

/// How the program is started.
fn launch() -> Launch {
    Launch::other_program(env!("CARGO_BIN_EXE_avcodec-worker"))
}

/// Decodes pieces of a stream.
fn decode(kind: Kind, framing: Framing, pieces: &[&[u8]]) -> Driven {
    let mut driven = Driven::new(kind, &launch());
    driven.submit(Job::Configure(Config::Decoder(framing)));
    driven.decode(pieces.iter().copied());
    driven
}

/// Checks that pictures equal ffmpeg's, in order, without any fault.
fn expect_exact(name: &str, driven: &Driven, stream: &[u8], format: &str) {
    assert_eq!(driven.faults(), Vec::<&TestEvent>::new(), "{name}");
    assert_same_pictures(name, &driven.pictures(), &decoded_by_ffmpeg(stream, format));
}
