//! The table of codecs, one row each. Devices, messages and libraries derive from it what differs between codecs.

use crate::job::Kind;
use crate::units::{Av1, Cutter, Frames, H264, Hevc, Mpeg2, Mpeg4, Parser, Vp8, Vp9};
use std::ffi::CStr;

/// A row of the table: one codec.
#[derive(Debug)]
pub struct CodecRow {
    /// The kind of codec process.
    pub kind: Kind,
    /// The codec as one word, by which `vb3 run --device` names the codec's device.
    pub word: &'static str,
    /// The codec's work, such as `decoding H.264`.
    pub name: &'static str,
    /// The device's card, as QUERYCAP returns it.
    pub card: &'static str,
    /// The device's description in help texts.
    pub meaning: &'static str,
    /// The V4L2 pixel format of the stream or the files.
    pub fourcc: [u8; 4],
    /// libavcodec's name of the codec, or of the encoder; empty if this crate has the codec.
    pub library: &'static CStr,
    /// Whether the codec also decodes 4:2:0 of 10 bits.
    pub has_ten_bits: bool,
    /// The beginning of the names of V4L2 controls with a decoder's profiles and levels; empty if it has none.
    pub profiles: &'static str,
    /// The direction, and what it needs.
    pub work: Work,
}

/// A codec's direction.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Decodes a stream or files.
    Decoder(Input),
    /// Decodes single pictures in decoding order, whose parameters a program passes.
    Stateless,
    /// Encodes pictures.
    Encoder {
        /// Whether the library starts threads at set-up. The process can start no threads afterwards. For another
        /// configuration or a new stream, start another worker.
        is_set_up_once: bool,
    },
}

/// The contents of a decoder's pieces of input.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// Pieces of a stream, which may end anywhere, and the stream's parser.
    Stream(fn() -> Box<dyn Parser>),
    /// One frame, or several frames that belong together; and the frames' parser.
    Frames(fn() -> Box<dyn Parser>),
    /// A file with one picture.
    File,
}

impl Input {
    /// Returns whether a piece is a file.
    #[must_use]
    pub const fn is_file(self) -> bool {
        matches!(self, Self::File)
    }
}

fn parser<P: Parser + Default + 'static>() -> Box<dyn Parser> {
    Box::new(P::default())
}

const fn stream<P: Parser + Default + 'static>() -> Work {
    Work::Decoder(Input::Stream(parser::<P>))
}

const fn frames<P: Parser + Default + 'static>() -> Work {
    Work::Decoder(Input::Frames(parser::<P>))
}

const ENCODER: Work = Work::Encoder {
    is_set_up_once: false,
};

/// All codecs, in the order of help texts.
#[rustfmt::skip]
pub static CODECS: &[CodecRow] = &[
    CodecRow { kind: Kind::H264Decoder, word: "h264dec", name: "decoding H.264", card: "H.264 Decoder",
        meaning: "a stateful H.264 decoder; needs libavcodec", fourcc: *b"H264", library: c"h264",
        has_ten_bits: false, profiles: "MPEG_VIDEO_H264_", work: stream::<Cutter<H264>>() },
    CodecRow { kind: Kind::H264StatelessDecoder, word: "h264dec-stateless", name: "decoding H.264 by requests",
        card: "H.264 Stateless Decoder",
        meaning: "a stateless H.264 decoder, memory to memory by media requests; needs libavcodec",
        fourcc: *b"S264", library: c"h264", has_ten_bits: false, profiles: "", work: Work::Stateless },
    CodecRow { kind: Kind::HevcStatelessDecoder, word: "hevcdec-stateless", name: "decoding HEVC by requests",
        card: "HEVC Stateless Decoder",
        meaning: "a stateless HEVC decoder, memory to memory by media requests; needs libavcodec",
        fourcc: *b"S265", library: c"hevc", has_ten_bits: false, profiles: "", work: Work::Stateless },
    CodecRow { kind: Kind::Vp8StatelessDecoder, word: "vp8dec-stateless", name: "decoding VP8 by requests",
        card: "VP8 Stateless Decoder",
        meaning: "a stateless VP8 decoder, memory to memory by media requests; needs libavcodec",
        fourcc: *b"VP8F", library: c"vp8", has_ten_bits: false, profiles: "", work: Work::Stateless },
    CodecRow { kind: Kind::Vp9StatelessDecoder, word: "vp9dec-stateless", name: "decoding VP9 by requests",
        card: "VP9 Stateless Decoder",
        meaning: "a stateless VP9 decoder, memory to memory by media requests; needs libavcodec",
        fourcc: *b"VP9F", library: c"vp9", has_ten_bits: false, profiles: "", work: Work::Stateless },
    CodecRow { kind: Kind::Av1StatelessDecoder, word: "av1dec-stateless", name: "decoding AV1 by requests",
        card: "AV1 Stateless Decoder",
        meaning: "a stateless AV1 decoder, memory to memory by media requests; needs libavcodec",
        fourcc: *b"AV1F", library: c"av1", has_ten_bits: false, profiles: "", work: Work::Stateless },
    CodecRow { kind: Kind::HevcDecoder, word: "hevcdec", name: "decoding HEVC", card: "HEVC Decoder",
        meaning: "a stateful HEVC decoder; needs libavcodec", fourcc: *b"HEVC", library: c"hevc",
        has_ten_bits: true, profiles: "MPEG_VIDEO_HEVC_", work: stream::<Cutter<Hevc>>() },
    CodecRow { kind: Kind::Vp8Decoder, word: "vp8dec", name: "decoding VP8", card: "VP8 Decoder",
        meaning: "a stateful VP8 decoder; needs libavcodec", fourcc: *b"VP80", library: c"vp8",
        has_ten_bits: false, profiles: "MPEG_VIDEO_VP8_", work: frames::<Frames<Vp8>>() },
    CodecRow { kind: Kind::Vp9Decoder, word: "vp9dec", name: "decoding VP9", card: "VP9 Decoder",
        meaning: "a stateful VP9 decoder; needs libavcodec", fourcc: *b"VP90", library: c"vp9",
        has_ten_bits: true, profiles: "MPEG_VIDEO_VP9_", work: frames::<Frames<Vp9>>() },
    CodecRow { kind: Kind::Av1Decoder, word: "av1dec", name: "decoding AV1", card: "AV1 Decoder",
        meaning: "a stateful AV1 decoder; needs libavcodec", fourcc: *b"AV01", library: c"av1",
        has_ten_bits: true, profiles: "MPEG_VIDEO_AV1_", work: frames::<Frames<Av1>>() },
    CodecRow { kind: Kind::Mpeg2Decoder, word: "mpeg2dec", name: "decoding MPEG-2", card: "MPEG-2 Decoder",
        meaning: "a stateful MPEG-2 decoder; needs libavcodec", fourcc: *b"MPG2", library: c"mpeg2video",
        has_ten_bits: false, profiles: "MPEG_VIDEO_MPEG2_", work: stream::<Cutter<Mpeg2>>() },
    CodecRow { kind: Kind::Mpeg4Decoder, word: "mpeg4dec", name: "decoding MPEG-4", card: "MPEG-4 Decoder",
        meaning: "a stateful MPEG-4 part 2 decoder; needs libavcodec", fourcc: *b"MPG4", library: c"mpeg4",
        has_ten_bits: false, profiles: "MPEG_VIDEO_MPEG4_", work: stream::<Cutter<Mpeg4>>() },
    CodecRow { kind: Kind::JpegDecoder, word: "jpegdec", name: "decoding JPEG", card: "JPEG Decoder",
        meaning: "a JPEG decoder, memory to memory", fourcc: *b"JPEG", library: c"",
        has_ten_bits: false, profiles: "", work: Work::Decoder(Input::File) },
    CodecRow { kind: Kind::H264Encoder, word: "h264enc", name: "encoding H.264", card: "H.264 Encoder",
        meaning: "a stateful H.264 encoder; needs libavcodec with x264", fourcc: *b"H264", library: c"libx264",
        has_ten_bits: false, profiles: "", work: ENCODER },
    CodecRow { kind: Kind::HevcEncoder, word: "hevcenc", name: "encoding HEVC", card: "HEVC Encoder",
        meaning: "a stateful HEVC encoder; needs libavcodec with x265", fourcc: *b"HEVC", library: c"libx265",
        has_ten_bits: false, profiles: "", work: Work::Encoder { is_set_up_once: true } },
    CodecRow { kind: Kind::Vp8Encoder, word: "vp8enc", name: "encoding VP8", card: "VP8 Encoder",
        meaning: "a stateful VP8 encoder; needs libavcodec with libvpx", fourcc: *b"VP80", library: c"libvpx",
        has_ten_bits: false, profiles: "", work: ENCODER },
    CodecRow { kind: Kind::JpegEncoder, word: "jpegenc", name: "encoding JPEG", card: "JPEG Encoder",
        meaning: "a JPEG encoder, memory to memory", fourcc: *b"JPEG", library: c"",
        has_ten_bits: false, profiles: "", work: ENCODER },
];

impl Kind {
    /// Returns the codec's row; `None` for the kinds for tests.
    #[must_use]
    pub fn row(self) -> Option<&'static CodecRow> {
        CODECS.iter().find(|row| row.kind == self)
    }

    /// Iterates over all kinds besides those for tests.
    pub fn all() -> impl Iterator<Item = Self> {
        CODECS.iter().map(|row| row.kind)
    }

    /// Returns the kind as one word, e.g. `h264dec`.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().map_or("", |row| row.word)
    }

    /// Parses a [`word`](Self::word).
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let codec = CODECS.iter().find(|row| row.word == word);
        codec.map(|row| row.kind)
    }

    /// Returns a description of the kind's work, such as `decoding H.264`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// Returns the kind's number in a message.
    pub(crate) const fn to_number(self) -> u64 {
        // CAST: the number of the variant.
        self as u64
    }

    /// Reads a kind's number in a message.
    #[doc(hidden)]
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        let mut all = Self::all().chain([Self::Harm, Self::HarmInThread]);
        all.find(|kind| kind.to_number() == number)
    }

    /// Returns whether the kind needs a library that this crate does not have.
    pub(crate) fn needs_library(self) -> bool {
        self.row().is_some_and(|codec| !codec.library.is_empty())
    }

    /// Returns whether the kind's library starts threads at set-up ([`Work::Encoder`]).
    #[must_use]
    pub fn is_set_up_once(self) -> bool {
        let work = self.row().map(|row| row.work);
        self == Self::HarmInThread
            || matches!(
                work,
                Some(Work::Encoder {
                    is_set_up_once: true
                })
            )
    }

    /// Returns whether a program passes the parameters of each picture.
    #[must_use]
    pub fn is_stateless(self) -> bool {
        matches!(self.row().map(|row| row.work), Some(Work::Stateless))
    }

    /// Returns whether the kind encodes pictures.
    #[must_use]
    pub fn encodes(self) -> bool {
        matches!(self.row().map(|row| row.work), Some(Work::Encoder { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_row_and_one_number() {
        for codec in CODECS {
            assert!(std::ptr::eq(codec.kind.row().unwrap(), codec), "{codec:?}");
            assert_eq!(Kind::from_word(codec.word), Some(codec.kind));
            assert_eq!(Kind::from_number(codec.kind.to_number()), Some(codec.kind));
        }
        for kind in [Kind::Harm, Kind::HarmInThread] {
            assert_eq!(Kind::from_number(kind.to_number()), Some(kind));
        }
        assert_eq!(Kind::from_number(u64::MAX), None);
    }
}
