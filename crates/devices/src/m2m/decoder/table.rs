//! A table of the decoders, one row each.

use crate::m2m::encoder::levels;
use vb3_codec::Kind;
use vb3_v4l2::{ControlFlags, ControlSpec, FourCc, cid};

/// Number of CAPTURE buffers that a stateful decoder needs. Reordered pictures wait in the worker's memory.
pub(super) const MIN_BUFFERS: i32 = 2;

const LEAST_BUFFERS: ControlSpec = ControlSpec::integer(
    cid::MIN_BUFFERS_FOR_CAPTURE,
    "Min Number of Capture Buffers",
    (1, 32, 1),
    MIN_BUFFERS,
)
.with(ControlFlags::READ_ONLY.union(ControlFlags::VOLATILE));

/// The contents of an OUTPUT buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A piece of a stream, which may end anywhere.
    Stream,
    /// One frame, or several frames that belong together.
    Frames,
    /// A file with one picture.
    File,
}

/// A row of the table: one decoder.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// The name of the card.
    pub(crate) card: &'static str,
    pub(crate) fourcc: FourCc,
    pub(crate) input: Input,
    /// The controls for profile, level and parameters.
    pub(crate) controls: &'static [ControlSpec],
}

const fn row(
    kind: Kind,
    card: &'static str,
    fourcc: FourCc,
    input: Input,
    controls: &'static [ControlSpec],
) -> Row {
    Row {
        kind,
        card,
        fourcc,
        input,
        controls,
    }
}

/// Names of menu items. The name of an unsupported item is empty.
pub(crate) const H264_PROFILES: &[&str] = &["Baseline", "Constrained Baseline", "Main", "", "High"];
pub(crate) const VP8_PROFILES: &[&str] = &["0", "1", "2", "3"];
pub(crate) const HEVC_TIERS: &[&str] = &["Main", "High"];
pub(crate) const H264_LEVEL: ControlSpec =
    ControlSpec::menu(cid::MPEG_VIDEO_H264_LEVEL, "H264 Level", levels::H264, 16);
pub(crate) const H264_PROFILE: ControlSpec = ControlSpec::menu(
    cid::MPEG_VIDEO_H264_PROFILE,
    "H264 Profile",
    H264_PROFILES,
    4,
);
/// Level names of VP9 and later codecs.
const LEVELS_TO_6_2: &[&str] = &[
    "1", "1.1", "2", "2.1", "3", "3.1", "4", "4.1", "5", "5.1", "5.2", "6", "6.1", "6.2",
];

/// All decoders. Their controls have the kernel's numbers and names.
///
/// Source: Linux include/uapi/linux/v4l2-controls.h, drivers/media/v4l2-core/v4l2-ctrls-defs.c
/// `v4l2_ctrl_get_menu`.
static ROWS: [Row; 8] = [
    row(
        Kind::H264Decoder,
        "H.264 Decoder",
        FourCc::H264,
        Input::Stream,
        &[LEAST_BUFFERS, H264_LEVEL, H264_PROFILE],
    ),
    row(
        Kind::HevcDecoder,
        "HEVC Decoder",
        FourCc::HEVC,
        Input::Stream,
        &[
            LEAST_BUFFERS,
            ControlSpec::menu(
                cid::MPEG_VIDEO_HEVC_PROFILE,
                "HEVC Profile",
                &["Main", "Main Still Picture", "Main 10"],
                0,
            ),
            ControlSpec::menu(cid::MPEG_VIDEO_HEVC_LEVEL, "HEVC Level", levels::HEVC, 12),
            ControlSpec::menu(cid::MPEG_VIDEO_HEVC_TIER, "HEVC Tier", HEVC_TIERS, 1),
        ],
    ),
    row(
        Kind::Vp8Decoder,
        "VP8 Decoder",
        FourCc::VP8,
        Input::Frames,
        &[
            LEAST_BUFFERS,
            ControlSpec::menu(cid::MPEG_VIDEO_VP8_PROFILE, "VP8 Profile", VP8_PROFILES, 0),
        ],
    ),
    row(
        Kind::Vp9Decoder,
        "VP9 Decoder",
        FourCc::VP9,
        Input::Frames,
        &[
            LEAST_BUFFERS,
            ControlSpec::menu(
                cid::MPEG_VIDEO_VP9_PROFILE,
                "VP9 Profile",
                &["0", "", "2"],
                0,
            ),
            ControlSpec::menu(cid::MPEG_VIDEO_VP9_LEVEL, "VP9 Level", LEVELS_TO_6_2, 13),
        ],
    ),
    row(
        Kind::Av1Decoder,
        "AV1 Decoder",
        FourCc::AV1,
        Input::Frames,
        &[
            LEAST_BUFFERS,
            ControlSpec::menu(cid::MPEG_VIDEO_AV1_PROFILE, "AV1 Profile", &["Main"], 0),
            ControlSpec::menu(
                cid::MPEG_VIDEO_AV1_LEVEL,
                "AV1 Level",
                &[
                    "2.0", "2.1", "2.2", "2.3", "3.0", "3.1", "3.2", "3.3", "4.0", "4.1", "4.2",
                    "4.3", "5.0", "5.1", "5.2", "5.3", "6.0", "6.1", "6.2", "6.3",
                ],
                19,
            ),
        ],
    ),
    row(
        Kind::Mpeg2Decoder,
        "MPEG-2 Decoder",
        FourCc::MPEG2,
        Input::Stream,
        &[
            LEAST_BUFFERS,
            ControlSpec::menu(
                cid::MPEG_VIDEO_MPEG2_LEVEL,
                "MPEG2 Level",
                &["Low", "Main", "High 1440", "High"],
                3,
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_MPEG2_PROFILE,
                "MPEG2 Profile",
                &["Simple", "Main"],
                1,
            ),
        ],
    ),
    row(
        Kind::Mpeg4Decoder,
        "MPEG-4 Decoder",
        FourCc::MPEG4,
        Input::Stream,
        &[
            LEAST_BUFFERS,
            ControlSpec::menu(
                cid::MPEG_VIDEO_MPEG4_LEVEL,
                "MPEG4 Level",
                &["0", "0b", "1", "2", "3", "3b", "4", "5"],
                7,
            ),
            ControlSpec::menu(
                cid::MPEG_VIDEO_MPEG4_PROFILE,
                "MPEG4 Profile",
                &["Simple", "Advanced Simple"],
                1,
            ),
        ],
    ),
    row(
        Kind::JpegDecoder,
        "JPEG Decoder",
        FourCc::JPEG,
        Input::File,
        &[],
    ),
];

/// Returns the row of a decoder.
pub(crate) fn row_of(kind: Kind) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_v4l2::ControlKind;

    /// The controls in the kernel's headers, by codec.
    const CONTROLS: [(Kind, &[u32]); 7] = [
        (
            Kind::H264Decoder,
            &[cid::MPEG_VIDEO_H264_LEVEL, cid::MPEG_VIDEO_H264_PROFILE],
        ),
        (
            Kind::HevcDecoder,
            &[
                cid::MPEG_VIDEO_HEVC_PROFILE,
                cid::MPEG_VIDEO_HEVC_LEVEL,
                cid::MPEG_VIDEO_HEVC_TIER,
            ],
        ),
        (Kind::Vp8Decoder, &[cid::MPEG_VIDEO_VP8_PROFILE]),
        (
            Kind::Vp9Decoder,
            &[cid::MPEG_VIDEO_VP9_PROFILE, cid::MPEG_VIDEO_VP9_LEVEL],
        ),
        (
            Kind::Av1Decoder,
            &[cid::MPEG_VIDEO_AV1_PROFILE, cid::MPEG_VIDEO_AV1_LEVEL],
        ),
        (
            Kind::Mpeg2Decoder,
            &[cid::MPEG_VIDEO_MPEG2_LEVEL, cid::MPEG_VIDEO_MPEG2_PROFILE],
        ),
        (
            Kind::Mpeg4Decoder,
            &[cid::MPEG_VIDEO_MPEG4_LEVEL, cid::MPEG_VIDEO_MPEG4_PROFILE],
        ),
    ];

    #[test]
    fn codec_profiles_and_levels_match_the_kernel() {
        for (kind, wanted) in CONTROLS {
            let controls = row_of(kind).unwrap().controls;
            let [least, controls @ ..] = controls else {
                panic!("{kind:?} has controls");
            };
            assert_eq!(least.id, cid::MIN_BUFFERS_FOR_CAPTURE);
            let found: Vec<u32> = controls.iter().map(|menu| menu.id).collect();
            assert_eq!(found, wanted, "{kind:?}");
            for control in controls {
                let ControlKind::Menu { items, default, .. } = control.kind else {
                    panic!("{} is no menu", control.name);
                };
                let item = items.get(default as usize);
                assert!(
                    item.is_some_and(|item| !item.is_empty()),
                    "{}",
                    control.name
                );
            }
        }
    }
}
