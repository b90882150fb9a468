//! Codecs as devices: what `vb3_codec`'s table of codecs says, and the engines of stateless decoders and encoders.

use super::codec_controls as all;
use super::encoder_controls::Controls;
use super::stateless::{MACROBLOCK, Syntax, av1, h264, hevc, vp8, vp9};
use crate::Failure;
use std::sync::LazyLock;
use vb3_codec::{
    CODECS, CodecRow, Config, H264Profile, H264Settings, HevcSettings, Input, Kind, StreamColor,
    StreamSettings, Subsampling, Vp8Settings, Work, levels,
};
use vb3_picture::SIZE_MIN;
use vb3_v4l2::{ControlSpec, FourCc, PixelFormat, cid, pixfmt};

const DECODER_BUFFERS: ControlSpec = all::read_only(all::MIN_BUFFERS_FOR_CAPTURE);
const ENCODER_BUFFERS: ControlSpec = all::read_only(all::MIN_BUFFERS_FOR_OUTPUT);

/// A codec as a device.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) codec: &'static CodecRow,
    pub(super) engine: Engine,
    pub(super) controls: Vec<ControlSpec>,
}

/// The engine that drives a codec, with its settings for the codec.
#[derive(Clone, Copy, Debug)]
pub(super) enum Engine {
    Decoder(Input),
    Stateless(Syntax),
    Encoder(Coding),
}

/// What differs between encoders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coding {
    /// Smallest width and height of pictures.
    pub(super) least: u32,
    /// Side of the blocks of coded pictures, in pixels.
    pub(super) block: u32,
    /// Returns the worker's set-up for a stream.
    pub(super) config: fn(&Controls, &StreamSettings, StreamColor) -> Config,
}

/// Menus of decoders with the stream's profile and level.
const PROFILES: &[ControlSpec] = &[
    all::MPEG_VIDEO_H264_LEVEL,
    all::MPEG_VIDEO_H264_PROFILE,
    all::MPEG_VIDEO_HEVC_PROFILE,
    all::MPEG_VIDEO_HEVC_LEVEL,
    all::MPEG_VIDEO_HEVC_TIER,
    all::MPEG_VIDEO_VP8_PROFILE,
    all::MPEG_VIDEO_VP9_PROFILE,
    all::MPEG_VIDEO_VP9_LEVEL,
    all::MPEG_VIDEO_AV1_PROFILE,
    all::MPEG_VIDEO_AV1_LEVEL,
    all::MPEG_VIDEO_MPEG2_LEVEL,
    all::MPEG_VIDEO_MPEG2_PROFILE,
    all::MPEG_VIDEO_MPEG4_LEVEL,
    all::MPEG_VIDEO_MPEG4_PROFILE,
];

/// The engines of stateless decoders and of encoders, with their controls.
#[rustfmt::skip]
static ENGINES: [(Kind, Engine, &[ControlSpec]); 9] = [
    (Kind::H264StatelessDecoder, Engine::Stateless(Syntax { step: MACROBLOCK, check: h264::check, describe: h264::describe }),
        &[all::MPEG_VIDEO_H264_LEVEL, all::MPEG_VIDEO_H264_PROFILE,
          all::STATELESS_H264_DECODE_MODE, all::STATELESS_H264_START_CODE,
          all::STATELESS_H264_SPS, all::STATELESS_H264_PPS,
          all::STATELESS_H264_SCALING_MATRIX, all::STATELESS_H264_DECODE_PARAMS]),
    (Kind::HevcStatelessDecoder, Engine::Stateless(Syntax {
          step: hevc::SMALLEST_BLOCK, check: hevc::check, describe: hevc::describe }),
        &[all::menu(all::MPEG_VIDEO_HEVC_PROFILE, &["Main", "Main Still Picture"], 0),
          all::MPEG_VIDEO_HEVC_LEVEL,
          all::STATELESS_HEVC_DECODE_MODE, all::STATELESS_HEVC_START_CODE,
          all::STATELESS_HEVC_SPS, all::STATELESS_HEVC_PPS,
          all::STATELESS_HEVC_SCALING_MATRIX, all::STATELESS_HEVC_DECODE_PARAMS]),
    (Kind::Vp8StatelessDecoder, Engine::Stateless(Syntax { step: 2, check: |_, _| Ok(()), describe: vp8::describe }),
        &[all::STATELESS_VP8_FRAME]),
    (Kind::Vp9StatelessDecoder, Engine::Stateless(Syntax { step: 2, check: vp9::check, describe: vp9::describe }),
        &[all::menu(all::MPEG_VIDEO_VP9_PROFILE, &["0"], 0),
          all::STATELESS_VP9_FRAME, all::STATELESS_VP9_COMPRESSED_HDR]),
    (Kind::Av1StatelessDecoder, Engine::Stateless(Syntax { step: 2, check: av1::check, describe: av1::describe }),
        &[all::MPEG_VIDEO_AV1_PROFILE, all::STATELESS_AV1_SEQUENCE,
          all::STATELESS_AV1_TILE_GROUP_ENTRY, all::STATELESS_AV1_FRAME,
          all::STATELESS_AV1_FILM_GRAIN]),

    // This encoder has only one mode, because the library varies the bitrate within the stream.
    (Kind::H264Encoder, Engine::Encoder(Coding { least: MACROBLOCK, block: MACROBLOCK, config: h264_config }),
        &[ENCODER_BUFFERS, all::MPEG_VIDEO_GOP_SIZE,
          all::menu(all::MPEG_VIDEO_BITRATE_MODE, &["Variable Bitrate"], 0),
          all::MPEG_VIDEO_BITRATE, all::MPEG_VIDEO_FORCE_KEY_FRAME, all::MPEG_VIDEO_HEADER_MODE,
          all::menu(all::MPEG_VIDEO_H264_LEVEL, levels::H264, 11),
          all::menu(all::MPEG_VIDEO_H264_PROFILE, all::H264_PROFILES, 1)]),
    // x265 encodes pictures of 32x32 at every level.
    (Kind::HevcEncoder, Engine::Encoder(Coding { least: 32, block: MACROBLOCK, config: hevc_config }),
        &[ENCODER_BUFFERS, all::MPEG_VIDEO_GOP_SIZE, all::MPEG_VIDEO_BITRATE_MODE,
          all::MPEG_VIDEO_BITRATE, all::MPEG_VIDEO_FORCE_KEY_FRAME, all::MPEG_VIDEO_HEVC_MIN_QP,
          all::MPEG_VIDEO_HEVC_MAX_QP, all::MPEG_VIDEO_HEADER_MODE,
          all::menu(all::MPEG_VIDEO_HEVC_PROFILE, &["Main"], 0),
          all::menu(all::MPEG_VIDEO_HEVC_LEVEL, levels::HEVC, 5),
          all::menu(all::MPEG_VIDEO_HEVC_TIER, all::HEVC_TIERS, 0)]),
    (Kind::Vp8Encoder, Engine::Encoder(Coding { least: MACROBLOCK, block: MACROBLOCK, config: vp8_config }),
        &[ENCODER_BUFFERS, all::MPEG_VIDEO_GOP_SIZE, all::MPEG_VIDEO_BITRATE_MODE,
          all::MPEG_VIDEO_BITRATE, all::MPEG_VIDEO_FORCE_KEY_FRAME, all::MPEG_VIDEO_VPX_MIN_QP,
          all::MPEG_VIDEO_VPX_MAX_QP, all::MPEG_VIDEO_VP8_PROFILE]),
    (Kind::JpegEncoder, Engine::Encoder(Coding { least: SIZE_MIN, block: 1, config: jpeg_config }),
        &[all::JPEG_COMPRESSION_QUALITY]),
];

fn h264_config(controls: &Controls, stream: &StreamSettings, color: StreamColor) -> Config {
    let level = controls.number(cid::MPEG_VIDEO_H264_LEVEL);
    Config::H264Encoder(H264Settings {
        stream: *stream,
        profile: match controls.number(cid::MPEG_VIDEO_H264_PROFILE) {
            2 => H264Profile::Main,
            4 => H264Profile::High,
            _ => H264Profile::ConstrainedBaseline,
        },
        level: Some(levels::h264(level, stream)),
        color,
    })
}

fn hevc_config(controls: &Controls, stream: &StreamSettings, color: StreamColor) -> Config {
    let level = controls.number(cid::MPEG_VIDEO_HEVC_LEVEL);
    let is_high_tier = controls.is_on(cid::MPEG_VIDEO_HEVC_TIER);
    let (level, most_kilobits) = levels::hevc(level, is_high_tier, stream);
    Config::HevcEncoder(HevcSettings {
        stream: *stream,
        constant: controls.is_on(cid::MPEG_VIDEO_BITRATE_MODE),
        level,
        most_kilobits,
        qp: controls.qp(cid::MPEG_VIDEO_HEVC_MIN_QP, cid::MPEG_VIDEO_HEVC_MAX_QP),
        color,
    })
}

fn vp8_config(controls: &Controls, stream: &StreamSettings, _: StreamColor) -> Config {
    Config::Vp8Encoder(Vp8Settings {
        stream: *stream,
        constant: controls.is_on(cid::MPEG_VIDEO_BITRATE_MODE),
        profile: controls.number(cid::MPEG_VIDEO_VP8_PROFILE),
        qp: controls.qp(cid::MPEG_VIDEO_VPX_MIN_QP, cid::MPEG_VIDEO_VPX_MAX_QP),
    })
}

fn jpeg_config(controls: &Controls, stream: &StreamSettings, _: StreamColor) -> Config {
    Config::JpegEncoder {
        width: stream.width,
        height: stream.height,
        quality: controls.number(cid::JPEG_COMPRESSION_QUALITY),
        sampling: Subsampling::Yuv420,
        has_limited_range: false,
    }
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| CODECS.iter().filter_map(Row::new).collect());

impl Row {
    fn new(codec: &'static CodecRow) -> Option<Self> {
        if let Work::Decoder(input) = codec.work {
            let is_own = |menu: &&ControlSpec| {
                let name = cid::name(menu.id).unwrap_or_default();
                !codec.profiles.is_empty() && name.starts_with(codec.profiles)
            };
            let buffers = (!input.is_file()).then_some(DECODER_BUFFERS);
            let menus = PROFILES.iter().filter(is_own).copied();
            return Some(Self {
                codec,
                engine: Engine::Decoder(input),
                controls: buffers.into_iter().chain(menus).collect(),
            });
        }
        let (_, engine, controls) = ENGINES.iter().find(|(kind, ..)| *kind == codec.kind)?;
        Some(Self {
            codec,
            engine: *engine,
            controls: controls.to_vec(),
        })
    }

    pub(super) fn of(kind: Kind) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.codec.kind == kind)
    }

    /// Returns the row of a codec. Fails for the kinds for tests.
    pub(super) fn find(kind: Kind) -> Result<&'static Self, Failure> {
        Self::of(kind).ok_or_else(|| Failure::new("the device is no codec"))
    }

    /// Returns the format of the stream or the files.
    pub(super) const fn fourcc(&self) -> FourCc {
        FourCc::new(self.codec.fourcc)
    }

    pub(super) fn coded(&self) -> Vec<&'static PixelFormat> {
        pixfmt::lookup(self.fourcc()).into_iter().collect()
    }
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
            let controls = &*Row::of(kind).unwrap().controls;
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

    #[test]
    fn each_codec_has_an_engine_and_a_format() {
        for codec in CODECS {
            let row = Row::of(codec.kind).expect(codec.word);
            assert_eq!(row.coded().len(), 1, "{}", codec.word);
        }
    }
}
