//! Makes the codec for each kind of codec process.

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::encoders;
use crate::library::{decoder_name, keeps_current, license, version};
use crate::stateless::Stateless;
use std::path::PathBuf;
use vb3_codec::{CODECS, CodecRow, Kind, Library, Work};

pub(crate) fn make(kind: Kind) -> Option<Box<dyn vb3_codec::Codec>> {
    let row = kind.row()?;
    Some(match row.work {
        Work::Decoder(_) => Box::new(Decoder::new(row)?),
        Work::Stateless => Box::new(Stateless::new(row)?),
        Work::Encoder { .. } => Box::new(Encoder::new(row)?),
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
