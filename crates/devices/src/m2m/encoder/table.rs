//! A table of the encoders, one row each.

use super::controls::Controls;
use super::levels::{self, Stream};
use crate::m2m::decoder::table::{H264_PROFILES, HEVC_TIERS, VP8_PROFILES};
use crate::picture::{HEIGHT_MAX, SIZE_MIN, WIDTH_MAX};
use vb3_codec::{
    Colour, Config, H264Profile, H264Settings, HevcSettings, Kind, Subsampling, Vp8Settings,
};
use vb3_v4l2::{ControlFlags, ControlSpec, FourCc, FrameSizes, cid};

/// Minimum number of OUTPUT buffers.
pub(super) const MIN_BUFFERS: u32 = 2;
/// Columns and lines of a macroblock.
const MACROBLOCK: u32 = 16;

/// A row of the table: one encoder.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    /// The name of the card.
    pub(super) card: &'static str,
    pub(super) fourcc: FourCc,
    /// Smallest width and height of pictures.
    pub(super) least: u32,
    /// Side of the blocks of coded pictures, in pixels.
    pub(super) block: u32,
    pub(super) controls: &'static [ControlSpec],
    /// Returns the worker's set-up for a stream.
    pub(super) config: fn(&Controls, &Stream, Colour) -> Config,
}

const LEAST_BUFFERS: ControlSpec = ControlSpec::integer(
    cid::MIN_BUFFERS_FOR_OUTPUT,
    "Min Number of Output Buffers",
    (1, 32, 1),
    MIN_BUFFERS.cast_signed(),
)
.with(ControlFlags::READ_ONLY.union(ControlFlags::VOLATILE));
const GOP_SIZE: ControlSpec =
    ControlSpec::integer(cid::MPEG_VIDEO_GOP_SIZE, "Video GOP Size", (0, 3600, 1), 30);
const BITRATE: ControlSpec = ControlSpec::integer(
    cid::MPEG_VIDEO_BITRATE,
    "Video Bitrate",
    (16_000, 200_000_000, 1),
    2_000_000,
);
const FORCE_KEY_FRAME: ControlSpec =
    ControlSpec::button(cid::MPEG_VIDEO_FORCE_KEY_FRAME, "Force Key Frame");
/// Bitrate modes in the kernel's order. libvpx and x265 have both.
const BITRATE_MODES: ControlSpec = ControlSpec::menu(
    cid::MPEG_VIDEO_BITRATE_MODE,
    "Video Bitrate Mode",
    &["Variable Bitrate", "Constant Bitrate"],
    0,
);
/// Where parameter sets are: in the buffer of their picture.
const HEADER_MODE: ControlSpec = ControlSpec::menu(
    cid::MPEG_VIDEO_HEADER_MODE,
    "Sequence Header Mode",
    &["", "Joined With 1st Frame"],
    1,
);
/// Largest index of a VP8 quantizer (RFC 6386, section 9.6).
const MAX_QP: i32 = 127;
/// Largest quantizer of 8-bit HEVC (ITU-T H.265, 7.4.9.14).
const MAX_HEVC_QP: i32 = 51;

static ROWS: [Row; 4] = [
    Row {
        kind: Kind::H264Encoder,
        card: "H.264 Encoder",
        fourcc: FourCc::H264,
        least: MACROBLOCK,
        block: MACROBLOCK,
        controls: &[
            LEAST_BUFFERS,
            GOP_SIZE,
            // There is only this mode, because the library varies the bitrate within the stream.
            ControlSpec::menu(
                cid::MPEG_VIDEO_BITRATE_MODE,
                "Video Bitrate Mode",
                &["Variable Bitrate"],
                0,
            ),
            BITRATE,
            FORCE_KEY_FRAME,
            HEADER_MODE,
            ControlSpec::menu(cid::MPEG_VIDEO_H264_LEVEL, "H264 Level", levels::H264, 11),
            ControlSpec::menu(
                cid::MPEG_VIDEO_H264_PROFILE,
                "H264 Profile",
                H264_PROFILES,
                1,
            ),
        ],
        config: |controls, stream, colour| {
            Config::H264Encoder(H264Settings {
                width: stream.size.0,
                height: stream.size.1,
                rate: stream.rate,
                bitrate: stream.bitrate,
                gop: controls.number(cid::MPEG_VIDEO_GOP_SIZE),
                profile: match controls.number(cid::MPEG_VIDEO_H264_PROFILE) {
                    2 => H264Profile::Main,
                    4 => H264Profile::High,
                    _ => H264Profile::ConstrainedBaseline,
                },
                level: Some(levels::h264(
                    controls.number(cid::MPEG_VIDEO_H264_LEVEL),
                    stream,
                )),
                colour,
            })
        },
    },
    Row {
        kind: Kind::HevcEncoder,
        card: "HEVC Encoder",
        fourcc: FourCc::HEVC,
        // x265 encodes this size at every level.
        least: 32,
        block: MACROBLOCK,
        controls: &[
            LEAST_BUFFERS,
            GOP_SIZE,
            BITRATE_MODES,
            BITRATE,
            FORCE_KEY_FRAME,
            ControlSpec::integer(
                cid::MPEG_VIDEO_HEVC_MIN_QP,
                "HEVC Minimum QP Value",
                (0, MAX_HEVC_QP, 1),
                0,
            ),
            ControlSpec::integer(
                cid::MPEG_VIDEO_HEVC_MAX_QP,
                "HEVC Maximum QP Value",
                (0, MAX_HEVC_QP, 1),
                MAX_HEVC_QP,
            ),
            HEADER_MODE,
            ControlSpec::menu(cid::MPEG_VIDEO_HEVC_PROFILE, "HEVC Profile", &["Main"], 0),
            ControlSpec::menu(cid::MPEG_VIDEO_HEVC_LEVEL, "HEVC Level", levels::HEVC, 5),
            ControlSpec::menu(cid::MPEG_VIDEO_HEVC_TIER, "HEVC Tier", HEVC_TIERS, 0),
        ],
        config: |controls, stream, colour| {
            let level = controls.number(cid::MPEG_VIDEO_HEVC_LEVEL);
            let is_high_tier = controls.is_on(cid::MPEG_VIDEO_HEVC_TIER);
            let (level, most_kilobits) = levels::hevc(level, is_high_tier, stream);
            Config::HevcEncoder(HevcSettings {
                width: stream.size.0,
                height: stream.size.1,
                rate: stream.rate,
                bitrate: stream.bitrate,
                constant: controls.is_on(cid::MPEG_VIDEO_BITRATE_MODE),
                gop: controls.number(cid::MPEG_VIDEO_GOP_SIZE),
                level,
                most_kilobits,
                qp: controls.qp(cid::MPEG_VIDEO_HEVC_MIN_QP, cid::MPEG_VIDEO_HEVC_MAX_QP),
                colour,
            })
        },
    },
    Row {
        kind: Kind::Vp8Encoder,
        card: "VP8 Encoder",
        fourcc: FourCc::VP8,
        least: MACROBLOCK,
        block: MACROBLOCK,
        controls: &[
            LEAST_BUFFERS,
            GOP_SIZE,
            BITRATE_MODES,
            BITRATE,
            FORCE_KEY_FRAME,
            ControlSpec::integer(
                cid::MPEG_VIDEO_VPX_MIN_QP,
                "VPX Minimum QP Value",
                (0, MAX_QP, 1),
                0,
            ),
            ControlSpec::integer(
                cid::MPEG_VIDEO_VPX_MAX_QP,
                "VPX Maximum QP Value",
                (0, MAX_QP, 1),
                MAX_QP,
            ),
            ControlSpec::menu(cid::MPEG_VIDEO_VP8_PROFILE, "VP8 Profile", VP8_PROFILES, 0),
        ],
        config: |controls, stream, _| {
            Config::Vp8Encoder(Vp8Settings {
                width: stream.size.0,
                height: stream.size.1,
                rate: stream.rate,
                bitrate: stream.bitrate,
                constant: controls.is_on(cid::MPEG_VIDEO_BITRATE_MODE),
                gop: controls.number(cid::MPEG_VIDEO_GOP_SIZE),
                profile: controls.number(cid::MPEG_VIDEO_VP8_PROFILE),
                qp: controls.qp(cid::MPEG_VIDEO_VPX_MIN_QP, cid::MPEG_VIDEO_VPX_MAX_QP),
            })
        },
    },
    Row {
        kind: Kind::JpegEncoder,
        card: "JPEG Encoder",
        fourcc: FourCc::JPEG,
        least: SIZE_MIN,
        block: 1,
        controls: &[ControlSpec::integer(
            cid::JPEG_COMPRESSION_QUALITY,
            "Compression Quality",
            (1, 100, 1),
            80,
        )],
        config: |controls, stream, _| Config::JpegEncoder {
            width: stream.size.0,
            height: stream.size.1,
            quality: controls.number(cid::JPEG_COMPRESSION_QUALITY),
            sampling: Subsampling::Yuv420,
        },
    },
];

/// Returns the row of an encoder.
pub(super) fn row_of(kind: Kind) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.kind == kind)
}

impl Row {
    /// Returns the supported sizes of pictures.
    pub(super) const fn sizes(&self) -> FrameSizes<'static> {
        FrameSizes::Stepwise {
            width: (self.least, WIDTH_MAX, SIZE_MIN),
            height: (self.least, HEIGHT_MAX, SIZE_MIN),
        }
    }

    /// Returns whether the encoder makes a stream, whose pictures have timing, and not files.
    pub(super) fn is_stream(&self) -> bool {
        self.fourcc != FourCc::JPEG
    }
}
