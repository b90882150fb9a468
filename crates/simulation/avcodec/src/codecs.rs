//! Makes the codec for each kind of codec process.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::encoders;
use crate::frames::Frames;
use crate::library::{self, Codec};
use crate::stateless::Stateless;
use std::path::PathBuf;
use vb3_codec::units::{Av1, Cutter, H264, Hevc, Mpeg2, Mpeg4, Vp8, Vp9};
use vb3_codec::{H264Settings, HevcSettings, Kind, Library, Vp8Settings};

pub(crate) fn make(kind: Kind) -> Option<Box<dyn vb3_codec::Codec>> {
    Some(match kind {
        Kind::H264Decoder => Box::new(Decoder::<Cutter<H264>>::new(Codec::H264)?),
        Kind::H264StatelessDecoder => Box::new(Stateless::new(Codec::H264)?),
        Kind::HevcStatelessDecoder => Box::new(Stateless::new(Codec::Hevc)?),
        Kind::Vp8StatelessDecoder => Box::new(Stateless::new(Codec::Vp8)?),
        Kind::Vp9StatelessDecoder => Box::new(Stateless::new(Codec::Vp9)?),
        Kind::Av1StatelessDecoder => Box::new(Stateless::new(Codec::Av1)?),
        Kind::HevcDecoder => Box::new(Decoder::<Cutter<Hevc>>::new(Codec::Hevc)?),
        Kind::Mpeg2Decoder => Box::new(Decoder::<Cutter<Mpeg2>>::new(Codec::Mpeg2)?),
        Kind::Mpeg4Decoder => Box::new(Decoder::<Cutter<Mpeg4>>::new(Codec::Mpeg4)?),
        Kind::Vp8Decoder => Box::new(Decoder::<Frames<Vp8>>::new(Codec::Vp8)?),
        Kind::Vp9Decoder => Box::new(Decoder::<Frames<Vp9>>::new(Codec::Vp9)?),
        Kind::Av1Decoder => Box::new(Decoder::<Frames<Av1>>::new(Codec::Av1)?),
        Kind::H264Encoder => Box::new(Encoder::<H264Settings>::new()?),
        Kind::HevcEncoder => Box::new(Encoder::<HevcSettings>::new()?),
        Kind::Vp8Encoder => Box::new(Encoder::<Vp8Settings>::new()?),
        _ => return None,
    })
}

pub(crate) fn library() -> Option<Library> {
    let decoders = Codec::ALL.into_iter().flat_map(|codec| {
        let is_there =
            |kind: &&Kind| !kind.word().ends_with("-stateless") || library::keeps_current();
        let kinds = codec.kinds().iter().filter(is_there);
        kinds.filter_map(move |kind| Some((*kind, library::decoder_name(codec)?)))
    });
    let encoders = encoders::Codec::ALL.into_iter();
    let encoders = encoders.filter_map(|codec| Some((codec.kind(), codec.name()?)));
    let (major, minor, micro) = library::version();
    Some(Library {
        program: PathBuf::new(),
        name: format!("libavcodec {major}.{minor}.{micro}"),
        license: library::license(),
        kinds: decoders.chain(encoders).collect(),
    })
}
