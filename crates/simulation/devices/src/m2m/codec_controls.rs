//! All controls of codecs. A control's constant has the name of its id.
//!
//! Source: Linux include/uapi/linux/v4l2-controls.h, drivers/media/v4l2-core/v4l2-ctrls-defs.c
//! `v4l2_ctrl_get_menu`, drivers/media/platform/verisilicon.

use vb3_codec::levels;
use vb3_v4l2::CompoundType as Of;
use vb3_v4l2::{ControlFlags, ControlSpec, cid};

/// Declares a constant for each control: its name, type, and arguments of the type's constructor.
macro_rules! controls {
    ($($id:ident $name:literal $kind:ident($($arg:expr),*);)*) => {
        $(pub(super) const $id: ControlSpec = ControlSpec::$kind(cid::$id, $name $(, $arg)*);)*
    };
}

pub(super) const H264_PROFILES: &[&str] = &["Baseline", "Constrained Baseline", "Main", "", "High"];
pub(super) const HEVC_TIERS: &[&str] = &["Main", "High"];
const LEVELS_TO_6_2: &[&str] = &[
    "1", "1.1", "2", "2.1", "3", "3.1", "4", "4.1", "5", "5.1", "5.2", "6", "6.1", "6.2",
];
const AV1_LEVELS: &[&str] = &[
    "2.0", "2.1", "2.2", "2.3", "3.0", "3.1", "3.2", "3.3", "4.0", "4.1", "4.2", "4.3", "5.0",
    "5.1", "5.2", "5.3", "6.0", "6.1", "6.2", "6.3",
];
/// Largest quantizer of 8-bit HEVC (ITU-T H.265, 7.4.9.14), and largest index of a VP8 quantizer (RFC 6386,
/// section 9.6).
const MAX_QP: (i32, i32) = (51, 127);

// The name of an unsupported menu item is empty.
controls! {
    MPEG_VIDEO_H264_LEVEL "H264 Level" menu(levels::H264, 16);
    MPEG_VIDEO_H264_PROFILE "H264 Profile" menu(H264_PROFILES, 4);
    MPEG_VIDEO_HEVC_LEVEL "HEVC Level" menu(levels::HEVC, 12);
    MPEG_VIDEO_HEVC_PROFILE "HEVC Profile" menu(&["Main", "Main Still Picture", "Main 10"], 0);
    MPEG_VIDEO_HEVC_TIER "HEVC Tier" menu(HEVC_TIERS, 1);
    MPEG_VIDEO_VP8_PROFILE "VP8 Profile" menu(&["0", "1", "2", "3"], 0);
    MPEG_VIDEO_VP9_LEVEL "VP9 Level" menu(LEVELS_TO_6_2, 13);
    MPEG_VIDEO_VP9_PROFILE "VP9 Profile" menu(&["0", "", "2"], 0);
    MPEG_VIDEO_AV1_LEVEL "AV1 Level" menu(AV1_LEVELS, 19);
    MPEG_VIDEO_AV1_PROFILE "AV1 Profile" menu(&["Main"], 0);
    MPEG_VIDEO_MPEG2_LEVEL "MPEG2 Level" menu(&["Low", "Main", "High 1440", "High"], 3);
    MPEG_VIDEO_MPEG2_PROFILE "MPEG2 Profile" menu(&["Simple", "Main"], 1);
    MPEG_VIDEO_MPEG4_LEVEL "MPEG4 Level" menu(&["0", "0b", "1", "2", "3", "3b", "4", "5"], 7);
    MPEG_VIDEO_MPEG4_PROFILE "MPEG4 Profile" menu(&["Simple", "Advanced Simple"], 1);

    STATELESS_H264_DECODE_MODE "H264 Decode Mode" menu(&["", "Frame-Based"], 1);
    STATELESS_H264_START_CODE "H264 Start Code" menu(&["", "Annex B Start Code"], 1);
    STATELESS_H264_SPS "H264 Sequence Parameter Set" compound(Of::H264Sps);
    STATELESS_H264_PPS "H264 Picture Parameter Set" compound(Of::H264Pps);
    STATELESS_H264_SCALING_MATRIX "H264 Scaling Matrix" compound(Of::H264ScalingMatrix);
    STATELESS_H264_DECODE_PARAMS "H264 Decode Parameters" compound(Of::H264DecodeParams);
    STATELESS_HEVC_DECODE_MODE "HEVC Decode Mode" menu(&["", "Frame-Based"], 1);
    STATELESS_HEVC_START_CODE "HEVC Start Code" menu(&["", "Annex B Start Code"], 1);
    STATELESS_HEVC_SPS "HEVC Sequence Parameter Set" compound(Of::HevcSps);
    STATELESS_HEVC_PPS "HEVC Picture Parameter Set" compound(Of::HevcPps);
    STATELESS_HEVC_SCALING_MATRIX "HEVC Scaling Matrix" compound(Of::HevcScalingMatrix);
    STATELESS_HEVC_DECODE_PARAMS "HEVC Decode Parameters" compound(Of::HevcDecodeParams);
    STATELESS_VP8_FRAME "VP8 Frame Parameters" compound(Of::Vp8Frame);
    STATELESS_VP9_FRAME "VP9 Frame Decode Parameters" compound(Of::Vp9Frame);
    STATELESS_VP9_COMPRESSED_HDR "VP9 Probabilities Updates" compound(Of::Vp9CompressedHdr);
    STATELESS_AV1_SEQUENCE "AV1 Sequence Parameters" compound(Of::Av1Sequence);
    STATELESS_AV1_TILE_GROUP_ENTRY "AV1 Tile Group Entry" compound(Of::Av1TileGroupEntry);
    STATELESS_AV1_FRAME "AV1 Frame Parameters" compound(Of::Av1Frame);
    STATELESS_AV1_FILM_GRAIN "AV1 Film Grain" compound(Of::Av1FilmGrain);

    MPEG_VIDEO_GOP_SIZE "Video GOP Size" integer((0, 3600, 1), 30);
    MPEG_VIDEO_BITRATE "Video Bitrate" integer((16_000, 200_000_000, 1), 2_000_000);
    MPEG_VIDEO_BITRATE_MODE "Video Bitrate Mode"
        menu(&["Variable Bitrate", "Constant Bitrate"], 0);
    MPEG_VIDEO_FORCE_KEY_FRAME "Force Key Frame" button();
    MPEG_VIDEO_HEADER_MODE "Sequence Header Mode" menu(&["", "Joined With 1st Frame"], 1);
    MPEG_VIDEO_HEVC_MIN_QP "HEVC Minimum QP Value" integer((0, MAX_QP.0, 1), 0);
    MPEG_VIDEO_HEVC_MAX_QP "HEVC Maximum QP Value" integer((0, MAX_QP.0, 1), MAX_QP.0);
    MPEG_VIDEO_VPX_MIN_QP "VPX Minimum QP Value" integer((0, MAX_QP.1, 1), 0);
    MPEG_VIDEO_VPX_MAX_QP "VPX Maximum QP Value" integer((0, MAX_QP.1, 1), MAX_QP.1);
    JPEG_COMPRESSION_QUALITY "Compression Quality" integer((1, 100, 1), 80);
    MIN_BUFFERS_FOR_CAPTURE "Min Number of Capture Buffers" integer((1, 32, 1), MIN_BUFFERS);
    MIN_BUFFERS_FOR_OUTPUT "Min Number of Output Buffers" integer((1, 32, 1), MIN_BUFFERS);
}

/// Number of CAPTURE buffers that a stateful decoder needs, and of OUTPUT buffers that an encoder needs.
/// Pictures that wait for reordering are in the codec process's memory.
pub(super) const MIN_BUFFERS: i32 = 2;

pub(super) const fn read_only(control: ControlSpec) -> ControlSpec {
    control.with(ControlFlags::READ_ONLY.union(ControlFlags::VOLATILE))
}

/// Returns a menu with another list of items and another default.
pub(super) const fn menu(
    control: ControlSpec,
    items: &'static [&'static str],
    default: u32,
) -> ControlSpec {
    ControlSpec::menu(control.id, control.name, items, default)
}
