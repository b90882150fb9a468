//! A table of the decoders, one row each.

use crate::m2m::codec_controls as all;
use vb3_codec::Kind;
use vb3_v4l2::{ControlSpec, FourCc};

const LEAST_BUFFERS: ControlSpec = all::read_only(all::MIN_BUFFERS_FOR_CAPTURE);

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

#[rustfmt::skip]
static ROWS: [Row; 8] = [
    row(Kind::H264Decoder, "H.264 Decoder", FourCc::H264, Input::Stream,
        &[LEAST_BUFFERS, all::MPEG_VIDEO_H264_LEVEL, all::MPEG_VIDEO_H264_PROFILE]),
    row(Kind::HevcDecoder, "HEVC Decoder", FourCc::HEVC, Input::Stream,
        &[LEAST_BUFFERS, all::MPEG_VIDEO_HEVC_PROFILE, all::MPEG_VIDEO_HEVC_LEVEL, all::MPEG_VIDEO_HEVC_TIER]),
    row(Kind::Vp8Decoder, "VP8 Decoder", FourCc::VP8, Input::Frames,
        &[LEAST_BUFFERS, all::MPEG_VIDEO_VP8_PROFILE]),
    row(Kind::Vp9Decoder, "VP9 Decoder", FourCc::VP9, Input::Frames,
        &[LEAST_BUFFERS, all::MPEG_VIDEO_VP9_PROFILE, all::MPEG_VIDEO_VP9_LEVEL]),
    row(Kind::Av1Decoder, "AV1 Decoder", FourCc::AV1, Input::Frames,
        &[LEAST_BUFFERS, all::MPEG_VIDEO_AV1_PROFILE, all::MPEG_VIDEO_AV1_LEVEL]),
    row(Kind::Mpeg2Decoder, "MPEG-2 Decoder", FourCc::MPEG2, Input::Stream,
        &[LEAST_BUFFERS, all::MPEG_VIDEO_MPEG2_LEVEL, all::MPEG_VIDEO_MPEG2_PROFILE]),
    row(Kind::Mpeg4Decoder, "MPEG-4 Decoder", FourCc::MPEG4, Input::Stream,
        &[LEAST_BUFFERS, all::MPEG_VIDEO_MPEG4_LEVEL, all::MPEG_VIDEO_MPEG4_PROFILE]),
    row(Kind::JpegDecoder, "JPEG Decoder", FourCc::JPEG, Input::File, &[]),
];

pub(crate) fn row_of(kind: Kind) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_v4l2::{ControlKind, cid};

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
