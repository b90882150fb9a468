//! The decoders, one row each.

use vb3_codec::Kind;
use vb3_v4l2::{ControlFlags, ControlSpec, FourCc, cid};

/// The content of an OUTPUT buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A piece of a stream, with any end.
    Stream,
    /// A frame, or several that belong together.
    Frames,
    /// A file with one picture.
    File,
    /// A picture's slices, with its parameters in the controls of a media request.
    Request,
}

/// A menu of profiles or levels.
#[derive(Debug)]
struct Menu {
    id: u32,
    name: &'static str,
    /// In the order of the kernel's numbers. An unsupported one is empty.
    items: &'static [&'static str],
    default: u32,
}

/// A decoder.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// The name of the card.
    pub(crate) card: &'static str,
    pub(crate) fourcc: FourCc,
    pub(crate) input: Input,
    menus: &'static [Menu],
}

const fn menu(id: u32, name: &'static str, items: &'static [&'static str], default: u32) -> Menu {
    Menu {
        id,
        name,
        items,
        default,
    }
}

const fn row(
    kind: Kind,
    card: &'static str,
    fourcc: FourCc,
    input: Input,
    menus: &'static [Menu],
) -> Row {
    Row {
        kind,
        card,
        fourcc,
        input,
        menus,
    }
}

const H264_LEVEL: Menu = menu(
    cid::MPEG_VIDEO_H264_LEVEL,
    "H264 Level",
    &[
        "1", "1b", "1.1", "1.2", "1.3", "2", "2.1", "2.2", "3", "3.1", "3.2", "4", "4.1", "4.2",
        "5", "5.1", "5.2",
    ],
    16,
);
const H264_PROFILE: Menu = menu(
    cid::MPEG_VIDEO_H264_PROFILE,
    "H264 Profile",
    &["Baseline", "Constrained Baseline", "Main", "", "High"],
    4,
);
/// For VP9 and later codecs.
const LEVELS_TO_6_2: &[&str] = &[
    "1", "1.1", "2", "2.1", "3", "3.1", "4", "4.1", "5", "5.1", "5.2", "6", "6.1", "6.2",
];

/// All decoders. Numbers and names of controls are the kernel's.
///
/// Source: Linux include/uapi/linux/v4l2-controls.h, drivers/media/v4l2-core/v4l2-ctrls-defs.c
/// `v4l2_ctrl_get_menu`.
static ROWS: [Row; 9] = [
    row(
        Kind::H264Decoder,
        "H.264 Decoder",
        FourCc::H264,
        Input::Stream,
        &[H264_LEVEL, H264_PROFILE],
    ),
    row(
        Kind::HevcDecoder,
        "HEVC Decoder",
        FourCc::HEVC,
        Input::Stream,
        &[
            menu(
                cid::MPEG_VIDEO_HEVC_PROFILE,
                "HEVC Profile",
                &["Main", "Main Still Picture", "Main 10"],
                0,
            ),
            menu(
                cid::MPEG_VIDEO_HEVC_LEVEL,
                "HEVC Level",
                &[
                    "1", "2", "2.1", "3", "3.1", "4", "4.1", "5", "5.1", "5.2", "6", "6.1", "6.2",
                ],
                12,
            ),
            menu(cid::MPEG_VIDEO_HEVC_TIER, "HEVC Tier", &["Main", "High"], 1),
        ],
    ),
    row(
        Kind::Vp8Decoder,
        "VP8 Decoder",
        FourCc::VP8,
        Input::Frames,
        &[menu(
            cid::MPEG_VIDEO_VP8_PROFILE,
            "VP8 Profile",
            &["0", "1", "2", "3"],
            0,
        )],
    ),
    row(
        Kind::Vp9Decoder,
        "VP9 Decoder",
        FourCc::VP9,
        Input::Frames,
        &[
            menu(
                cid::MPEG_VIDEO_VP9_PROFILE,
                "VP9 Profile",
                &["0", "", "2"],
                0,
            ),
            menu(cid::MPEG_VIDEO_VP9_LEVEL, "VP9 Level", LEVELS_TO_6_2, 13),
        ],
    ),
    row(
        Kind::Av1Decoder,
        "AV1 Decoder",
        FourCc::AV1,
        Input::Frames,
        &[
            menu(cid::MPEG_VIDEO_AV1_PROFILE, "AV1 Profile", &["Main"], 0),
            menu(
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
            menu(
                cid::MPEG_VIDEO_MPEG2_LEVEL,
                "MPEG2 Level",
                &["Low", "Main", "High 1440", "High"],
                3,
            ),
            menu(
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
            menu(
                cid::MPEG_VIDEO_MPEG4_LEVEL,
                "MPEG4 Level",
                &["0", "0b", "1", "2", "3", "3b", "4", "5"],
                7,
            ),
            menu(
                cid::MPEG_VIDEO_MPEG4_PROFILE,
                "MPEG4 Profile",
                &["Simple", "Advanced Simple"],
                1,
            ),
        ],
    ),
    row(
        Kind::H264StatelessDecoder,
        "H.264 Stateless Decoder",
        FourCc::H264_SLICE,
        Input::Request,
        &[
            H264_LEVEL,
            H264_PROFILE,
            menu(
                cid::STATELESS_H264_DECODE_MODE,
                "H264 Decode Mode",
                &["", "Frame-Based"],
                1,
            ),
            menu(
                cid::STATELESS_H264_START_CODE,
                "H264 Start Code",
                &["", "Annex B Start Code"],
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

impl Row {
    /// Returns the controls for profiles and levels.
    pub(crate) fn controls(&self) -> impl Iterator<Item = ControlSpec> {
        let flags = ControlFlags::empty();
        let menus = self.menus.iter();
        menus.map(move |m| ControlSpec::menu(m.id, m.name, m.items, m.default).with(flags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let menus = row_of(kind).unwrap().menus;
            let found: Vec<u32> = menus.iter().map(|menu| menu.id).collect();
            assert_eq!(found, wanted, "{kind:?}");
            for menu in menus {
                let item = menu.items.get(menu.default as usize);
                assert!(item.is_some_and(|item| !item.is_empty()), "{}", menu.name);
            }
        }
    }
}
