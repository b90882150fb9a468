//! `vb3-codec`: the process that decodes, or encodes, for a device of `vb3`, by libavcodec.
//!
//! A program of its own, so that `vb3` is linked with nothing. `vb3` starts it with a socket as its
//! standard input; `vb3-codec --list` says which codecs it has.
#![deny(unsafe_code)]

mod decoder;
mod encoder;
mod encoders;
mod frames;
mod h264;
mod hevc;
mod library;
mod stateless;
mod vp8;

use decoder::Decoder;
use encoder::Encoder;
use frames::Frames;
use library::Codec;
use stateless::Stateless;
use std::path::PathBuf;
use std::process::ExitCode;
use vb3_codec::units::{Av1, Cutter, H264, Hevc, Mpeg2, Mpeg4, Vp8, Vp9};
use vb3_codec::{H264Settings, Kind, Library, Vp8Settings};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        None => vb3_codec::serve_stdin_with(make),
        Some(word) if word == "--list" => {
            list();
            ExitCode::SUCCESS
        }
        Some(_) => {
            eprintln!("vb3-codec is started by vb3; `vb3-codec --list` lists its codecs");
            ExitCode::from(2)
        }
    }
}

/// What does each kind.
fn make(kind: Kind) -> Option<Box<dyn vb3_codec::Codec>> {
    Some(match kind {
        Kind::H264Decoder => Box::new(Decoder::<Cutter<H264>>::new(Codec::H264)?),
        Kind::H264StatelessDecoder => Box::new(Stateless::new(Codec::H264)?),
        Kind::HevcDecoder => Box::new(Decoder::<Cutter<Hevc>>::new(Codec::Hevc)?),
        Kind::Mpeg2Decoder => Box::new(Decoder::<Cutter<Mpeg2>>::new(Codec::Mpeg2)?),
        Kind::Mpeg4Decoder => Box::new(Decoder::<Cutter<Mpeg4>>::new(Codec::Mpeg4)?),
        Kind::Vp8Decoder => Box::new(Decoder::<Frames<Vp8>>::new(Codec::Vp8)?),
        Kind::Vp9Decoder => Box::new(Decoder::<Frames<Vp9>>::new(Codec::Vp9)?),
        Kind::Av1Decoder => Box::new(Decoder::<Frames<Av1>>::new(Codec::Av1)?),
        Kind::HevcEncoder => Box::new(hevc::Encoder::new()?),
        Kind::H264Encoder => Box::new(Encoder::<H264Settings>::new()?),
        Kind::Vp8Encoder => Box::new(Encoder::<Vp8Settings>::new()?),
        _ => return None,
    })
}

/// Says which library it is, what it decodes and what it encodes, for [`Library::ask`].
fn list() {
    let Some(version) = library::version() else {
        println!("library none");
        return;
    };
    let kinds = Codec::ALL.into_iter().flat_map(|codec| {
        let kinds = codec.kinds().iter();
        kinds.filter_map(move |kind| Some((*kind, library::decoder_name(codec)?)))
    });
    let made = encoders::Codec::ALL.into_iter();
    let encoders = made.filter_map(|codec| Some((codec.kind(), codec.name()?)));
    let library = Library {
        program: PathBuf::new(),
        name: format!("libavcodec {version}"),
        license: library::license(),
        kinds: kinds.chain(encoders).collect(),
    };
    print!("{}", library.list());
}
