//! Jobs that a host submits to a [`Worker`](crate::Worker), and events that the worker reports.

use crate::slots::{Packet, Picture};

/// A worker's codec, and whether it encodes or decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// H.264 byte stream (Annex B) to pictures.
    H264Decoder,
    /// H.264 pictures (Annex B), each with its parameter sets, to pictures in decoding order.
    ///
    /// Each piece of input is a picture, or one field of a picture. As soon as a picture is complete, it is
    /// returned, before the next piece is read.
    H264StatelessDecoder,
    /// As [`H264StatelessDecoder`](Self::H264StatelessDecoder) for HEVC.
    HevcStatelessDecoder,
    /// VP8 frames to pictures in decoding order. Each frame gives a picture, even if it is hidden.
    Vp8StatelessDecoder,
    /// VP9 frames to pictures in decoding order. Each frame gives a picture, even if it is hidden.
    Vp9StatelessDecoder,
    /// AV1 frames with their headers to pictures in decoding order. Each piece of input gives a picture.
    ///
    /// A piece contains one shown frame. Hidden frames may precede it.
    Av1StatelessDecoder,
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
    /// Pictures to an HEVC byte stream (annex B).
    /// The encoder can be set up only once ([`is_set_up_once`](Self::is_set_up_once)).
    HevcEncoder,
    /// Pictures to VP8 frames.
    Vp8Encoder,
    /// JPEG files to pictures.
    JpegDecoder,
    /// Pictures to JPEG files.
    JpegEncoder,
    /// A codec for tests of the worker's host: it returns every input unchanged, and misbehaves on request (see
    /// `serve::harm`).
    #[doc(hidden)]
    Harm,
    /// As `Harm`, in a thread that is started at set-up.
    #[doc(hidden)]
    HarmInThread,
}

/// A job. A worker runs its jobs in the order in which the host submits them.
#[derive(Clone, Copy, Debug)]
pub enum Job<'a> {
    /// Sets up the codec. An encoder needs this before its first picture; for a decoder it is optional.
    ///
    /// An encoder that is set up again starts a new stream at the next picture. Exception: an H.264 encoder
    /// continues its stream if only its bitrate changes. An HEVC encoder can be set up only once.
    Configure(Config),
    /// Decodes a piece of a stream.
    ///
    /// The answer is [`Event::Consumed`], after the events of all pictures that became ready. The caller may
    /// reuse the input bytes as soon as the job is submitted.
    Decode {
        /// Returned with [`Event::Consumed`], and with the picture whose first slice (or image header)
        /// begins in this piece.
        tag: u64,
        /// At most [`MAX_INPUT`](crate::MAX_INPUT) bytes; may be empty.
        data: &'a [u8],
    },
    /// Encodes a picture. The answer is one [`Event::Packet`], then [`Event::Consumed`].
    Encode {
        /// Returned with both answers.
        tag: u64,
        /// Planes Y, U and V, with the configured size and chroma subsampling.
        picture: Planes<'a>,
        /// Whether to encode an independent picture; in H.264, an IDR picture.
        force_key: bool,
    },
    /// Returns all pending output. The stream may continue after this job. The answer is [`Event::Drained`].
    Drain,
    /// Drops all pending output for a seek, but keeps parameter sets. The answer is [`Event::Flushed`].
    ///
    /// Input from before the flush gives no more pictures, formats or faults; its [`Event::Consumed`] arrives
    /// before `Flushed`. A format that the host has not yet accepted (`Proceed`) is withdrawn, and announced
    /// again with the next picture that has it. Decoding resumes at the next independent picture.
    Flush,
    /// The host accepts pictures of the format announced by the latest [`Event::Format`], with this chroma.
    Proceed(Chroma),
    /// As `Proceed`, but the worker writes pictures to memory that the host lends by
    /// [`Worker::lend`](crate::Worker::lend). The host must not rely on the order in which the worker uses the
    /// loans. If the worker cannot write a picture to lent memory, it returns the picture in its own memory, with
    /// this chroma, too.
    ProceedByLoan(Chroma),
}

/// The settings of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Config {
    /// For a decoder. The framing matters only for byte streams, such as those of [`Kind::H264Decoder`].
    Decoder(Framing),
    /// For [`Kind::H264Encoder`].
    H264Encoder(H264Settings),
    /// For [`Kind::HevcEncoder`].
    HevcEncoder(HevcSettings),
    /// For [`Kind::Vp8Encoder`].
    Vp8Encoder(Vp8Settings),
    /// For [`Kind::JpegEncoder`].
    JpegEncoder {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// 1 to 100.
        quality: u8,
        /// Chroma of the pictures and of the JPEG files.
        sampling: Subsampling,
        /// Whether the pictures have limited range. Files have full range.
        has_limited_range: bool,
    },
}

/// Chroma subsampling of pictures to encode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subsampling {
    /// Half the columns and half the lines (4:2:0).
    #[default]
    Yuv420,
    /// Half the columns and all lines (4:2:2).
    Yuv422,
}

/// The places where input may be cut into pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Detected from the pieces. At first, the pieces are read as a [`Stream`](Self::Stream). The first piece
    /// that follows a slice decides: if this piece begins an access unit, it and all further pieces are read as
    /// [`AccessUnits`](Self::AccessUnits). If a later piece cannot begin an access unit, that piece and all
    /// further ones are read as a `Stream` again.
    #[default]
    Auto,
    /// Every piece is one or more access units, so pictures are decoded without waiting for the next piece.
    AccessUnits,
    /// Pieces may end anywhere. A picture is decoded when the next one begins, or on [`Job::Drain`].
    Stream,
}

/// Settings that all encoders of streams have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Width in pixels. The width for H.264 is an even number, at least 16; the width for HEVC is an even number,
    /// at least 32.
    pub width: u32,
    /// Height in pixels, with the same limits.
    pub height: u32,
    /// Pictures per second, as numerator and denominator; both at least 1.
    pub rate: (u32, u32),
    /// Bits per second.
    pub bitrate: u32,
    /// Largest distance of key pictures (H.264 and HEVC: IDR pictures), in pictures; 0 for no limit.
    pub gop: u32,
}

/// Settings of an H.264 encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Settings {
    /// Size, rates and key pictures.
    pub stream: StreamSettings,
    /// Coding tools that the encoder may use.
    pub profile: H264Profile,
    /// `level_idc`: 10 times the level, 9 for level 1b; `None` for the lowest that fits.
    pub level: Option<u8>,
    /// Colour description in the stream. If the colours are unknown, the stream has no description.
    pub color: StreamColor,
}

/// Settings of an HEVC encoder. It makes profile Main and predicts from earlier pictures only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HevcSettings {
    /// Size, rates and key pictures.
    pub stream: StreamSettings,
    /// Whether the bitrate is constant, rather than an average.
    pub constant: bool,
    /// Level, times 10: 10 to 62.
    pub level: u8,
    /// Largest bitrate that the level allows in the chosen tier, in kbit/s. If this bitrate is above the limit of
    /// the level's tier Main, the stream has the tier High.
    pub most_kilobits: u32,
    /// Smallest and largest quantizer, 0 to 51.
    pub qp: (u8, u8),
    /// Colour description in the stream. If the colours are unknown, the stream has no description.
    pub color: StreamColor,
}

/// Settings of a VP8 encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Settings {
    /// Size, rates and key pictures.
    pub stream: StreamSettings,
    /// Whether the bitrate is constant, rather than an average.
    pub constant: bool,
    /// Profile 0 to 3: the allowed filters (RFC 6386, section 9.1).
    pub profile: u8,
    /// Smallest and largest quantizer index, 0 to 127.
    pub qp: (u8, u8),
}

/// Profile of an H.264 encoder. The encoder makes no B pictures in any profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum H264Profile {
    /// Codes with CAVLC.
    #[default]
    ConstrainedBaseline,
    /// Codes with CABAC.
    Main,
    /// Codes with CABAC, and may use 8x8 transforms.
    High,
}

/// Part of a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Distance from the picture's left edge.
    pub left: u32,
    /// Distance from the picture's top.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The order of capture of a picture's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field {
    /// All lines at the same time.
    #[default]
    Progressive,
    /// Top field before bottom field.
    TopFirst,
    /// Bottom field before top field.
    BottomFirst,
}

/// Colour description: code points of ITU-T H.273, 2 if unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamColor {
    /// Colour primaries.
    pub primaries: u8,
    /// Transfer characteristics.
    pub transfer: u8,
    /// Matrix coefficients.
    pub matrix: u8,
    /// Whether luma ranges from 0 to 255 rather than 16 to 235.
    pub full_range: bool,
}

impl Default for StreamColor {
    fn default() -> Self {
        Self {
            primaries: 2,
            transfer: 2,
            matrix: 2,
            full_range: false,
        }
    }
}

/// The memory layout of a decoded picture's chroma.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chroma {
    /// All of U, then all of V (I420).
    #[default]
    Planar,
    /// U and V interleaved (NV12).
    Pairs,
}

/// Format of decoded pictures, which contain only the visible part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFormat {
    /// Coded width in pixels, in whole macroblocks.
    pub coded_width: u32,
    /// Coded height in pixels.
    pub coded_height: u32,
    /// The visible part of the coded picture. A [`Picture`] has this size.
    pub visible: Rect,
    /// Colour description.
    pub color: StreamColor,
    /// Bits of a sample, 8 or 10.
    pub bits: u8,
    /// H.264: `profile_idc`; 0 for JPEG.
    pub profile: u8,
    /// H.264: `level_idc`; 0 for JPEG.
    pub level: u8,
}

impl StreamFormat {
    /// Returns the format of 8-bit pictures that are visible in full. Their colours are unknown.
    #[must_use]
    pub fn of_size(width: u32, height: u32) -> Self {
        Self {
            coded_width: width,
            coded_height: height,
            visible: Rect {
                width,
                height,
                ..Rect::default()
            },
            color: StreamColor::default(),
            bits: 8,
            profile: 0,
            level: 0,
        }
    }
}

/// An I420 picture to read: planes Y, U, V. Chroma has half the columns and rows, rounded up.
///
/// A sample is one byte, or two bytes (little endian) for 10 bits. In pictures from a codec library, the
/// lower 10 bits are the sample. In a [`Picture`], the upper 10 bits are, as in P010.
#[derive(Clone, Copy)]
pub struct Planes<'a> {
    /// Columns of luma.
    pub width: u32,
    /// Rows of luma.
    pub height: u32,
    /// Y, U and V. The last row may be shorter than the stride.
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

/// An I420 picture to write, without gaps between rows.
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

/// An event of a worker.
#[derive(Debug)]
pub enum Event {
    /// A piece of input, or a picture to encode, has been consumed.
    Consumed {
        /// Tag of the job with the input, as submitted.
        tag: u64,
    },
    /// Pictures of this format follow once the host submits [`Job::Proceed`]. All pictures of the
    /// previous format have been returned.
    Format(StreamFormat),
    /// A decoded picture.
    Picture {
        /// Tag of the piece with the start of the picture's first slice.
        tag: u64,
        /// The picture's pixels.
        picture: Picture,
        /// Number of the loan that the worker claimed for the picture but did not use, if any.
        loan: Option<u64>,
        /// Whether parts are concealed, because the stream was damaged.
        damaged: bool,
    },
    /// A decoded picture is in the memory that was lent for it.
    Filled {
        /// Tag of the piece with the start of the picture's first slice.
        tag: u64,
        /// Number of the loan, from [`Worker::lend`](crate::Worker::lend).
        loan: u64,
        /// The order of capture of the picture's lines.
        field: Field,
        /// Whether parts are concealed, because the stream was damaged.
        damaged: bool,
        /// Bytes that the worker copied into the memory.
        copied: u64,
    },
    /// An encoded picture.
    Packet {
        /// Tag of the picture.
        tag: u64,
        /// An Annex B access unit (with parameter sets before an IDR picture), a VP8 frame, or a
        /// JPEG file.
        data: Packet,
        /// Whether the packet is decodable without other packets.
        key: bool,
    },
    /// All pending output has been returned.
    Drained,
    /// All pending output has been dropped.
    Flushed,
    /// Input was damaged or of an unsupported kind. The work continues.
    Corrupt {
        /// Tag of the input.
        tag: u64,
        /// The fault, as a sentence.
        sentence: String,
    },
    /// A picture was not decoded: the library cannot decode it, or cannot decode it exactly.
    ///
    /// Later pictures are not decoded either, until the stream changes its parameter set. Each of them has
    /// its own event, in the order of the pictures.
    Unsupported {
        /// Tag of the input.
        tag: u64,
        /// Number of the loan that the worker claimed for the picture but did not use, if any.
        loan: Option<u64>,
        /// The reason with its numbers, and a remedy.
        sentence: String,
    },
    /// The process has ended and lost its state. Sent once, as the last event.
    Died {
        /// How the process ended.
        sentence: String,
    },
}

/// Why a job was refused. A refused job changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The maximum number of jobs is pending. Poll for events, then try again.
    #[error("{0} jobs are under way")]
    Full(usize),
    /// Input is too long.
    #[error("{found} bytes of input where {limit} are allowed")]
    TooLong {
        /// Length of the refused input in bytes.
        found: usize,
        /// Maximum length in bytes.
        limit: usize,
    },
    /// The job does not fit the worker or its state.
    #[error("{0}")]
    Wrong(&'static str),
    /// The process is gone.
    #[error("the codec process is gone")]
    Dead,
}
