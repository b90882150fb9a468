//! Makes the codec for each kind of codec process.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::encoders;
use crate::library::{decoder_name, keeps_current, license, version};
use crate::stateless::Stateless;
use std::path::PathBuf;
use vb3_codec::{CODECS, CodecRow, H264Settings, HevcSettings, Kind, Library, Vp8Settings, Work};

pub(crate) fn make(kind: Kind) -> Option<Box<dyn vb3_codec::Codec>> {
    let row = kind.row()?;
    Some(match (row.work, kind) {
        (Work::Decoder(_), _) => Box::new(Decoder::new(row)?),
        (Work::Stateless, _) => Box::new(Stateless::new(row)?),
        (_, Kind::H264Encoder) => Box::new(Encoder::<H264Settings>::new(row)?),
        (_, Kind::HevcEncoder) => Box::new(Encoder::<HevcSettings>::new(row)?),
        (_, Kind::Vp8Encoder) => Box::new(Encoder::<Vp8Settings>::new(row)?),
        _ => return None,
    })
}

/// Returns the library's name for its decoder or encoder of a row, if it has one.
fn found(row: &CodecRow) -> Option<String> {
    match row.work {
        Work::Encoder { .. } => encoders::name(row.library),
        Work::Stateless if !keeps_current() => None,
        Work::Decoder(_) | Work::Stateless => decoder_name(row.library),
    }
}

pub(crate) fn library() -> Option<Library> {
    let rows = CODECS.iter().filter(|row| !row.library.is_empty());
    let kinds = rows.filter_map(|row| Some((row.kind, found(row)?)));
    let (major, minor, micro) = version();
    Some(Library {
        program: PathBuf::new(),
        name: format!("libavcodec {major}.{minor}.{micro}"),
        license: license(),
        kinds: kinds.collect(),
    })
}
