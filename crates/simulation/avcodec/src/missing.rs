//! Stands in for the codecs if libavcodec's headers are missing.

use vb3_codec::{Codec, Kind, Library};

pub(crate) fn make(_: Kind) -> Option<Box<dyn Codec>> {
    None
}

pub(crate) const fn library() -> Option<Library> {
    None
}
