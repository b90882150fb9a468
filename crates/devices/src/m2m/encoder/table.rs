//! A table of the encoders, one row each.

use super::controls::Controls;
use crate::m2m::codec_controls as all;
use vb3_codec::levels;
use vb3_codec::{
    Colour, Config, H264Profile, H264Settings, HevcSettings, Kind, StreamSettings, Subsampling,
    Vp8Settings,
};
use vb3_picture::{HEIGHT_MAX, SIZE_MIN, WIDTH_MAX};
use vb3_v4l2::{ControlSpec, FourCc, FrameSizes, cid};

/// Columns and lines of a macroblock.
const MACROBLOCK: u32 = 16;

/// A row of the table: one encoder.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) card: &'static str,
    pub(super) fourcc: FourCc,
    /// Smallest width and height of pictures.
    pub(super) least: u32,
    /// Side of the blocks of coded pictures, in pixels.
    pub(super) block: u32,
    pub(super) controls: &'static [ControlSpec],
    /// Returns the worker's set-up for a stream.
    pub(super) config: fn(&Controls, &StreamSettings, Colour) -> Config,
}

const LEAST_BUFFERS: ControlSpec = all::read_only(all::MIN_BUFFERS_FOR_OUTPUT);

static ROWS: [Row; 4] = [
    Row {
        kind: Kind::H264Encoder,
        card: "H.264 Encoder",
        fourcc: FourCc::H264,
        least: MACROBLOCK,
        block: MACROBLOCK,
        controls: &[
            LEAST_BUFFERS,
            all::MPEG_VIDEO_GOP_SIZE,
            // There is only this mode, because the library varies the bitrate within the stream.
            all::menu(all::MPEG_VIDEO_BITRATE_MODE, &["Variable Bitrate"], 0),
            all::MPEG_VIDEO_BITRATE,
            all::MPEG_VIDEO_FORCE_KEY_FRAME,
            all::MPEG_VIDEO_HEADER_MODE,
            all::menu(all::MPEG_VIDEO_H264_LEVEL, levels::H264, 11),
            all::menu(all::MPEG_VIDEO_H264_PROFILE, all::H264_PROFILES, 1),
        ],
        config: |controls, stream, colour| {
            Config::H264Encoder(H264Settings {
                stream: *stream,
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
            all::MPEG_VIDEO_GOP_SIZE,
            all::MPEG_VIDEO_BITRATE_MODE,
            all::MPEG_VIDEO_BITRATE,
            all::MPEG_VIDEO_FORCE_KEY_FRAME,
            all::MPEG_VIDEO_HEVC_MIN_QP,
            all::MPEG_VIDEO_HEVC_MAX_QP,
            all::MPEG_VIDEO_HEADER_MODE,
            all::menu(all::MPEG_VIDEO_HEVC_PROFILE, &["Main"], 0),
            all::menu(all::MPEG_VIDEO_HEVC_LEVEL, levels::HEVC, 5),
            all::menu(all::MPEG_VIDEO_HEVC_TIER, all::HEVC_TIERS, 0),
        ],
        config: |controls, stream, colour| {
            let level = controls.number(cid::MPEG_VIDEO_HEVC_LEVEL);
            let is_high_tier = controls.is_on(cid::MPEG_VIDEO_HEVC_TIER);
            let (level, most_kilobits) = levels::hevc(level, is_high_tier, stream);
            Config::HevcEncoder(HevcSettings {
                stream: *stream,
                constant: controls.is_on(cid::MPEG_VIDEO_BITRATE_MODE),
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
            all::MPEG_VIDEO_GOP_SIZE,
            all::MPEG_VIDEO_BITRATE_MODE,
            all::MPEG_VIDEO_BITRATE,
            all::MPEG_VIDEO_FORCE_KEY_FRAME,
            all::MPEG_VIDEO_VPX_MIN_QP,
            all::MPEG_VIDEO_VPX_MAX_QP,
            all::MPEG_VIDEO_VP8_PROFILE,
        ],
        config: |controls, stream, _| {
            Config::Vp8Encoder(Vp8Settings {
                stream: *stream,
                constant: controls.is_on(cid::MPEG_VIDEO_BITRATE_MODE),
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
        controls: &[all::JPEG_COMPRESSION_QUALITY],
        config: |controls, stream, _| Config::JpegEncoder {
            width: stream.width,
            height: stream.height,
            quality: controls.number(cid::JPEG_COMPRESSION_QUALITY),
            sampling: Subsampling::Yuv420,
        },
    },
];

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
