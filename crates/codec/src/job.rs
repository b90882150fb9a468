//! What a worker is asked and what it answers.

use crate::slots::{Packet, Picture};

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// H.264 byte stream (Annex B) to pictures.
    H264Decoder,
    /// H.264 pictures (Annex B), each with its parameter sets, to pictures in the order of decoding:
    /// a piece of input is a picture or a field, and its picture comes before the next is looked at.
    H264StatelessDecoder,
    /// HEVC byte stream (annex B) to pictures.
    HevcDecoder,
    /// VP8 frames to pictures.
    Vp8Decoder,
    /// VP9 frames or superframes to pictures.
    Vp9Decoder,
    /// AV1 temporal units to pictures.
    Av1Decoder,
    /// MPEG-1 or MPEG-2 video to pictures.
    Mpeg2Decoder,
    /// MPEG-4 part 2 video to pictures.
    Mpeg4Decoder,
    /// Pictures to an H.264 byte stream (Annex B).
    H264Encoder,
    /// Pictures to an HEVC byte stream (annex B). It is set up once; its library starts threads then.
    HevcEncoder,
    /// Pictures to VP8 frames.
    Vp8Encoder,
    /// JPEG files to pictures.
    JpegDecoder,
    /// Pictures to JPEG files.
    JpegEncoder,
    /// Gives every input back, and does harm on request; see `serve::harm`.
    #[doc(hidden)]
    Harm,
    /// The same from a thread that its set-up starts.
    #[doc(hidden)]
    HarmInThread,
}

impl Kind {
    const TABLE: [(Self, &'static str, &'static str); 13] = [
        (Self::H264Decoder, "h264dec", "decoding H.264"),
        (
            Self::H264StatelessDecoder,
            "h264dec-stateless",
            "decoding H.264 by requests",
        ),
        (Self::HevcDecoder, "hevcdec", "decoding HEVC"),
        (Self::Vp8Decoder, "vp8dec", "decoding VP8"),
        (Self::Vp9Decoder, "vp9dec", "decoding VP9"),
        (Self::Av1Decoder, "av1dec", "decoding AV1"),
        (Self::Mpeg2Decoder, "mpeg2dec", "decoding MPEG-2"),
        (Self::Mpeg4Decoder, "mpeg4dec", "decoding MPEG-4"),
        (Self::JpegDecoder, "jpegdec", "decoding JPEG"),
        (Self::H264Encoder, "h264enc", "encoding H.264"),
        (Self::HevcEncoder, "hevcenc", "encoding HEVC"),
        (Self::Vp8Encoder, "vp8enc", "encoding VP8"),
        (Self::JpegEncoder, "jpegenc", "encoding JPEG"),
    ];

    /// All kinds that are of use.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::TABLE.into_iter().map(|(kind, ..)| kind)
    }

    /// One word for it, e.g. `h264dec`.
    #[must_use]
    pub fn word(self) -> &'static str {
        let row = Self::TABLE.iter().find(|(kind, ..)| *kind == self);
        row.map_or("", |(_, word, _)| word)
    }

    /// What a [`word`](Self::word) stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let row = Self::TABLE.iter().find(|(_, known, _)| *known == word);
        row.map(|(kind, ..)| *kind)
    }

    /// What it does, in words, e.g. `decoding H.264`.
    #[must_use]
    pub fn name(self) -> &'static str {
        let row = Self::TABLE.iter().find(|(kind, ..)| *kind == self);
        row.map_or("", |(.., name)| name)
    }

    /// Whether it needs another library than this crate's own.
    pub(crate) const fn needs_library(self) -> bool {
        let is_own = matches!(
            self,
            Self::JpegDecoder | Self::JpegEncoder | Self::Harm | Self::HarmInThread
        );
        !is_own
    }

    /// Whether its library starts threads as it is set up. That happens once in its process, which
    /// can start none afterwards: another configuration, or a new stream, is another worker's.
    #[must_use]
    pub const fn is_set_up_once(self) -> bool {
        matches!(self, Self::HevcEncoder | Self::HarmInThread)
    }

    /// Whether it takes pictures.
    #[must_use]
    pub const fn encodes(self) -> bool {
        matches!(
            self,
            Self::H264Encoder | Self::HevcEncoder | Self::Vp8Encoder | Self::JpegEncoder
        )
    }
}

/// One thing to do. Jobs are done in order.
#[derive(Clone, Copy, Debug)]
pub enum Job<'a> {
    /// Sets up the codec. An encoder needs it before its first picture; a decoder may do without.
    /// An encoder that is set up again starts a new stream at the next picture, unless it is one of
    /// H.264 and nothing but the bitrate is another. One of HEVC is set up once.
    Configure(Config),
    /// Decodes a piece of a stream. Answered by [`Event::Consumed`], after the events of all
    /// pictures that became ready; its bytes may be used again at once.
    Decode {
        /// Given back with [`Event::Consumed`] and with the picture whose first slice (or image
        /// header) begins in this piece.
        tag: u64,
        /// At most [`MAX_INPUT`](crate::MAX_INPUT) bytes; may be empty.
        data: &'a [u8],
    },
    /// Encodes a picture. Answered by one [`Event::Packet`] and then [`Event::Consumed`].
    Encode {
        /// Given back with both answers.
        tag: u64,
        /// I420 of the configured size; chroma as configured.
        picture: Planes<'a>,
        /// Makes this picture one that needs no other: in H.264 an IDR picture.
        force_key: bool,
    },
    /// Brings out everything that is held; the stream may go on after it. Answered by
    /// [`Event::Drained`].
    Drain,
    /// Forgets everything that is held, for seeking; parameter sets are kept. Answered by
    /// [`Event::Flushed`]. From here on no picture, format or fault of earlier input comes;
    /// [`Event::Consumed`] of earlier input does, before `Flushed`. A format that was announced and
    /// not proceeded with is taken back, and announced again when it is met again. Decoding goes on at the next
    /// picture that needs no other.
    Flush,
    /// The host is ready for pictures of the format announced last, and wants their chroma so.
    Proceed(Chroma),
    /// The same, and pictures go to memory that is lent by [`Worker::lend`](crate::Worker::lend),
    /// in whatever order; those that come in a slot all the same have this chroma.
    ProceedByLoan(Chroma),
}

/// How a codec is to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Config {
    /// Of [`Kind::H264Decoder`].
    Decoder(Framing),
    /// Of [`Kind::H264Encoder`].
    H264Encoder(H264Settings),
    /// Of [`Kind::HevcEncoder`].
    HevcEncoder(HevcSettings),
    /// Of [`Kind::Vp8Encoder`].
    Vp8Encoder(Vp8Settings),
    /// Of [`Kind::JpegEncoder`].
    JpegEncoder {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// 1 to 100.
        quality: u8,
        /// Of the pictures and of the files made of them.
        sampling: Subsampling,
    },
}

/// How many chroma samples a picture to encode has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subsampling {
    /// Half the columns and half the lines (4:2:0).
    #[default]
    Yuv420,
    /// Half the columns and all lines (4:2:2).
    Yuv422,
}

/// How input is cut into pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Found out: once a piece begins where a picture begins, the end of a piece is taken for the
    /// end of a picture, until a piece begins elsewhere.
    #[default]
    Auto,
    /// Every piece is one access unit or several: a picture is decoded at once.
    AccessUnits,
    /// Pieces end anywhere: a picture is decoded when the next one begins, or on [`Job::Drain`].
    Stream,
}

/// What an H.264 encoder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Settings {
    /// Width in pixels; even, at least 16.
    pub width: u32,
    /// Height in pixels; even, at least 16.
    pub height: u32,
    /// Pictures per second, as a fraction; both at least 1.
    pub rate: (u32, u32),
    /// Bits per second.
    pub bitrate: u32,
    /// Pictures from one IDR picture to the next; 0 for the first alone.
    pub gop: u32,
    /// Tools that may be used.
    pub profile: H264Profile,
    /// `level_idc`: 10 times the level, 9 for level 1b; `None` for the lowest that fits.
    pub level: Option<u8>,
    /// What the stream says that the numbers of its pictures mean; nothing if nothing is known.
    pub colour: Colour,
}

/// What an HEVC encoder makes: profile Main, each picture from those before it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HevcSettings {
    /// Width in pixels; even, at least 32.
    pub width: u32,
    /// Height in pixels; even, at least 32.
    pub height: u32,
    /// Pictures per second, as a fraction; both at least 1.
    pub rate: (u32, u32),
    /// Bits per second.
    pub bitrate: u32,
    /// Whether as many are spent at all times, rather than in the long run.
    pub constant: bool,
    /// Most pictures from one IDR picture to the next; 0 for no such limit.
    pub gop: u32,
    /// Level, times 10: 10 to 62.
    pub level: u8,
    /// Most bits a second at any time that the level allows, in thousands. What it allows in the
    /// high tier alone makes a stream of that tier.
    pub most_kilobits: u32,
    /// Least and greatest quantizer, 0 to 51.
    pub qp: (u8, u8),
    /// What the stream says that the numbers of its pictures mean; nothing if nothing is known.
    pub colour: Colour,
}

/// What a VP8 encoder makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Settings {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pictures per second, as a fraction; both at least 1.
    pub rate: (u32, u32),
    /// Bits per second.
    pub bitrate: u32,
    /// Whether as many are spent at all times, rather than in the long run.
    pub constant: bool,
    /// Most pictures from one key frame to the next; 0 for no such limit.
    pub gop: u32,
    /// Profile 0 to 3: which filters may be used (RFC 6386, section 9.1).
    pub profile: u8,
    /// Least and greatest index of the quantizer, 0 to 127.
    pub qp: (u8, u8),
}

/// Coding tools of an H.264 encoder. B pictures are never made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum H264Profile {
    /// CAVLC.
    #[default]
    ConstrainedBaseline,
    /// CABAC.
    Main,
    /// CABAC and 8x8 transforms.
    High,
}

/// Part of a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// From the left.
    pub left: u32,
    /// From the top.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// How the lines of a picture were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field {
    /// All at once.
    #[default]
    Progressive,
    /// Every other line, the topmost among them, before the rest.
    TopFirst,
    /// Every other line, the topmost not among them, before the rest.
    BottomFirst,
}

/// What the numbers of a picture mean: code points of ITU-T H.273, 2 where the stream does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// Colour primaries.
    pub primaries: u8,
    /// Transfer characteristics.
    pub transfer: u8,
    /// Matrix coefficients.
    pub matrix: u8,
    /// Whether luma uses 0 to 255 rather than 16 to 235.
    pub full_range: bool,
}

impl Default for Colour {
    fn default() -> Self {
        Self {
            primaries: 2,
            transfer: 2,
            matrix: 2,
            full_range: false,
        }
    }
}

/// How chroma of a decoded picture lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chroma {
    /// All of U, then all of V (I420).
    #[default]
    Planar,
    /// U and V in turn (NV12).
    Pairs,
}

/// Format of decoded pictures. They hold the visible part alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFormat {
    /// Coded width in pixels: whole macroblocks.
    pub coded_width: u32,
    /// Coded height in pixels.
    pub coded_height: u32,
    /// The part of the coded picture to be shown; a [`Picture`] is as large as this.
    pub visible: Rect,
    /// What the numbers mean.
    pub colour: Colour,
    /// How many pictures the decoder may hold back, at most 16. They are the worker's own and use
    /// none of the host's buffers.
    pub held_back: u32,
    /// Bits of a sample, 8 or 10.
    pub bits: u8,
    /// H.264: `profile_idc`; 0 for JPEG.
    pub profile: u8,
    /// H.264: `level_idc`; 0 for JPEG.
    pub level: u8,
}

/// An I420 picture to read: planes Y, U, V. Chroma has half the columns and rows, rounded up. A
/// sample is a byte; of a format of 10 bits it is two, the lower first: the library's own samples are
/// the lower bits of these, those of a [`Picture`] the upper, as in P010.
#[derive(Clone, Copy)]
pub struct Planes<'a> {
    /// Columns of luma.
    pub width: u32,
    /// Rows of luma.
    pub height: u32,
    /// Y, U and V; the last row need not be as long as the stride.
    pub data: [&'a [u8]; 3],
    /// Bytes from one row to the next.
    pub strides: [usize; 3],
}

impl core::fmt::Debug for Planes<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Planes")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("strides", &self.strides)
            .finish_non_exhaustive()
    }
}

/// An I420 picture to write, rows without gaps.
#[derive(Debug)]
pub struct PlanesMut<'a> {
    /// Columns of luma.
    pub width: u32,
    /// Rows of luma.
    pub height: u32,
    /// Y, U and V.
    pub data: [&'a mut [u8]; 3],
    /// Bytes from one row to the next.
    pub strides: [usize; 3],
}

/// What a worker has to say.
#[derive(Debug)]
pub enum Event {
    /// The piece of input has been used.
    Consumed {
        /// As it was submitted.
        tag: u64,
    },
    /// Pictures of this format come next, once the host has said [`Job::Proceed`]. All pictures of
    /// the format before have come.
    Format(StreamFormat),
    /// A decoded picture.
    Picture {
        /// Of the piece in which its first slice began.
        tag: u64,
        /// Its pixels.
        picture: Picture,
        /// The loan that was for it.
        loan: Option<u64>,
        /// Whether parts are made up because the stream was damaged.
        damaged: bool,
    },
    /// A decoded picture lies in the memory that was lent for it.
    Filled {
        /// Of the piece in which its first slice began.
        tag: u64,
        /// As [`Worker::lend`](crate::Worker::lend) gave it.
        loan: u64,
        /// How its lines were taken.
        field: Field,
        /// Whether parts are made up because the stream was damaged.
        damaged: bool,
        /// Bytes that the worker says it copied there: all of a picture that its library decoded
        /// elsewhere.
        copied: u64,
    },
    /// An encoded picture.
    Packet {
        /// Of the picture.
        tag: u64,
        /// Annex B access unit with parameter sets before an IDR picture, a VP8 frame or a JPEG
        /// file.
        data: Packet,
        /// Whether it can be decoded without others.
        key: bool,
    },
    /// All that was held has come.
    Drained,
    /// All that was held is forgotten.
    Flushed,
    /// Input was damaged or is of a kind that cannot be decoded; the work goes on.
    Corrupt {
        /// Of the input.
        tag: u64,
        /// What was wrong.
        sentence: String,
    },
    /// A picture is not decoded, because the library would not decode it exactly or not at all, and
    /// neither are those after it, until the stream changes its parameter set. Comes once for each
    /// picture, after all pictures before it.
    Unsupported {
        /// Of the input.
        tag: u64,
        /// The loan that was for it.
        loan: Option<u64>,
        /// Why, with the numbers, and what to do.
        sentence: String,
    },
    /// The process is gone, and what it had with it. Comes once; nothing comes after it.
    Died {
        /// How it ended.
        sentence: String,
    },
}

/// Why a job was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many jobs are under way as may be; poll, then try again.
    #[error("{0} jobs are under way")]
    Full(usize),
    /// Input is too long.
    #[error("{found} bytes of input where {limit} are allowed")]
    TooLong {
        /// Bytes.
        found: usize,
        /// Most bytes.
        limit: usize,
    },
    /// The job does not fit the worker or its state.
    #[error("{0}")]
    Wrong(&'static str),
    /// The process is gone.
    #[error("the codec process is gone")]
    Dead,
}
