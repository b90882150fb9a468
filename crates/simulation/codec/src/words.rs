//! Conversion of jobs and events to the numbers of a message.

use crate::job::{
    Chroma, Config, Field, Framing, H264Profile, H264Settings, HevcSettings, Kind, Rect,
    StreamColor, StreamFormat, StreamSettings, Subsampling, Vp8Settings,
};
use crate::slots::Layout;

pub(crate) const fn chroma_from_word(word: u64) -> Chroma {
    match word {
        0 => Chroma::Planar,
        _ => Chroma::Pairs,
    }
}

pub(crate) const fn field_from_word(word: u64) -> Field {
    match word {
        1 => Field::TopFirst,
        2 => Field::BottomFirst,
        _ => Field::Progressive,
    }
}

/// Number of words of a [`Config`]. For an encoder, words about its output memory follow.
pub(crate) const CONFIG_WORDS: usize = 13;

fn color_to_word(c: StreamColor) -> u64 {
    u32::from_le_bytes([c.primaries, c.transfer, c.matrix, u8::from(c.full_range)]).into()
}

const fn color_from_word(word: u32) -> StreamColor {
    let [primaries, transfer, matrix, full_range] = word.to_le_bytes();
    StreamColor {
        primaries,
        transfer,
        matrix,
        full_range: full_range != 0,
    }
}

/// Smallest width and height for HEVC. For less, x265 3.5 crashes when it writes level 5 or above.
const HEVC_LEAST: u32 = 32;

/// Returns whether width and height are even and at least `least`.
fn is_even(stream: &StreamSettings, least: u32) -> bool {
    let sides = [stream.width, stream.height];
    sides
        .iter()
        .all(|side| side.is_multiple_of(2) && *side >= least)
}

/// Converts the settings that all encoders of streams have to words, with the encoder's number in front.
fn stream_to_words(number: u64, s: &StreamSettings) -> Result<[u64; 7], &'static str> {
    let (frames, seconds) = s.rate;
    if frames == 0 || seconds == 0 || s.bitrate == 0 {
        return Err("frame rate and bitrate must not be 0");
    }
    let words = [s.width, s.height, frames, seconds, s.bitrate, s.gop].map(u64::from);
    let [width, height, frames, seconds, bitrate, gop] = words;
    Ok([number, width, height, frames, seconds, bitrate, gop])
}

/// A configuration as words, and for an encoder also the layout of its input pictures.
type Checked = ([u64; CONFIG_WORDS], Option<Layout>);

/// Converts a configuration to words. If the configuration is invalid, returns a message about the fault.
pub(crate) fn config_to_words(kind: Kind, config: Config) -> Result<Checked, &'static str> {
    let mut words = [0; CONFIG_WORDS];
    let mut set = |given: &[&[u64]]| {
        for (word, given) in words.iter_mut().zip(given.iter().copied().flatten()) {
            *word = *given;
        }
    };
    match (kind, config) {
        (kind, Config::Decoder(framing)) if !kind.encodes() => {
            set(&[&[0, framing as u64]]);
        }
        (Kind::H264Encoder, Config::H264Encoder(s)) => {
            if !is_even(&s.stream, 16) {
                return Err("an H.264 encoder needs an even width and height of at least 16");
            }
            let own = [
                s.profile as u64,
                s.level.map_or(0, u64::from),
                color_to_word(s.color),
            ];
            set(&[&stream_to_words(1, &s.stream)?[..], &own]);
        }
        (Kind::HevcEncoder, Config::HevcEncoder(s)) => {
            if !is_even(&s.stream, HEVC_LEAST) {
                return Err("an HEVC encoder needs an even width and height of at least 32");
            }
            if s.most_kilobits == 0 {
                return Err("a level's bitrate must not be 0");
            }
            if !(10..=62).contains(&s.level) || s.qp.0 > s.qp.1 || s.qp.1 > 51 {
                return Err("HEVC has levels 1 to 6.2 and quantizers 0 to 51, the least first");
            }
            let own = [
                s.level.into(),
                s.most_kilobits.into(),
                s.qp.0.into(),
                s.qp.1.into(),
                s.constant.into(),
                color_to_word(s.color),
            ];
            set(&[&stream_to_words(4, &s.stream)?[..], &own]);
        }
        (Kind::Vp8Encoder, Config::Vp8Encoder(s)) => {
            if s.profile > 3 || s.qp.0 > s.qp.1 || s.qp.1 > 127 {
                return Err("VP8 has profiles 0 to 3 and quantizers 0 to 127, the least first");
            }
            let own = [
                s.profile.into(),
                s.qp.0.into(),
                s.qp.1.into(),
                s.constant.into(),
            ];
            set(&[&stream_to_words(3, &s.stream)?[..], &own]);
        }
        (
            Kind::JpegEncoder,
            Config::JpegEncoder {
                width,
                height,
                quality,
                sampling,
                has_limited_range,
            },
        ) => {
            if !(1..=100).contains(&quality) {
                return Err("JPEG quality is 1 to 100");
            }
            let is_422 = sampling == Subsampling::Yuv422;
            set(&[&[
                2,
                width.into(),
                height.into(),
                quality.into(),
                is_422.into(),
                has_limited_range.into(),
            ]]);
        }
        _ => return Err("the configuration is for another kind of codec"),
    }
    let layout = layout_of(&config);
    match layout.is_none() && kind.encodes() {
        true => Err("the picture is larger than 4096x2304"),
        false => Ok((words, layout)),
    }
}

/// Returns the layout of an encoder's input pictures; `None` for a decoder, or for pictures that are too large.
pub(crate) fn layout_of(config: &Config) -> Option<Layout> {
    let stream = match config {
        Config::Decoder(_) => return None,
        Config::H264Encoder(s) => s.stream,
        Config::HevcEncoder(s) => s.stream,
        Config::Vp8Encoder(s) => s.stream,
        Config::JpegEncoder {
            width,
            height,
            sampling,
            ..
        } => return Layout::sampled(*width, *height, *sampling),
    };
    Layout::new(stream.width, stream.height)
}

/// Reads the output of `config_to_words`.
pub(crate) fn config_from_words(words: &[u64]) -> Option<Config> {
    let small = |i: usize| u32::try_from(*words.get(i)?).ok();
    let stream = || {
        Some(StreamSettings {
            width: small(1)?,
            height: small(2)?,
            rate: (small(3)?, small(4)?),
            bitrate: small(5)?,
            gop: small(6)?,
        })
    };
    match words.first()? {
        0 => Some(Config::Decoder(match small(1)? {
            0 => Framing::Auto,
            1 => Framing::AccessUnits,
            _ => Framing::Stream,
        })),
        1 => Some(Config::H264Encoder(H264Settings {
            stream: stream()?,
            profile: match small(7)? {
                0 => H264Profile::ConstrainedBaseline,
                1 => H264Profile::Main,
                _ => H264Profile::High,
            },
            level: u8::try_from(small(8)?).ok().filter(|level| *level != 0),
            color: color_from_word(small(9)?),
        })),
        3 => Some(Config::Vp8Encoder(Vp8Settings {
            stream: stream()?,
            profile: u8::try_from(small(7)?).ok()?,
            qp: (u8::try_from(small(8)?).ok()?, u8::try_from(small(9)?).ok()?),
            constant: small(10)? != 0,
        })),
        4 => Some(Config::HevcEncoder(HevcSettings {
            stream: stream()?,
            level: u8::try_from(small(7)?).ok()?,
            most_kilobits: small(8)?,
            qp: (
                u8::try_from(small(9)?).ok()?,
                u8::try_from(small(10)?).ok()?,
            ),
            constant: small(11)? != 0,
            color: color_from_word(small(12)?),
        })),
        _ => Some(Config::JpegEncoder {
            width: small(1)?,
            height: small(2)?,
            quality: u8::try_from(small(3)?).ok()?,
            sampling: match small(4)? {
                0 => Subsampling::Yuv420,
                _ => Subsampling::Yuv422,
            },
            has_limited_range: small(5)? != 0,
        }),
    }
}

pub(crate) fn format_to_words(f: &StreamFormat) -> [u64; 13] {
    [
        f.coded_width.into(),
        f.coded_height.into(),
        f.visible.left.into(),
        f.visible.top.into(),
        f.visible.width.into(),
        f.visible.height.into(),
        f.color.primaries.into(),
        f.color.transfer.into(),
        f.color.matrix.into(),
        f.color.full_range.into(),
        f.profile.into(),
        f.level.into(),
        f.bits.into(),
    ]
}

/// Reads the output of `format_to_words`; `None` for impossible sizes.
pub(crate) fn format_from_words(words: &[u64]) -> Option<StreamFormat> {
    let small = |i: usize| u32::try_from(*words.get(i)?).ok();
    let byte = |i: usize| u8::try_from(*words.get(i)?).ok();
    let format = StreamFormat {
        coded_width: small(0)?,
        coded_height: small(1)?,
        visible: Rect {
            left: small(2)?,
            top: small(3)?,
            width: small(4)?,
            height: small(5)?,
        },
        color: StreamColor {
            primaries: byte(6)?,
            transfer: byte(7)?,
            matrix: byte(8)?,
            full_range: small(9)? != 0,
        },
        profile: byte(10)?,
        level: byte(11)?,
        bits: byte(12)?,
    };
    let inside = |start: u32, len: u32, all: u32| start.checked_add(len).is_some_and(|e| e <= all);
    let v = format.visible;
    Layout::with_bits(format.coded_width, format.coded_height, format.bits)?;
    Layout::new(v.width, v.height)?;
    let fits =
        inside(v.left, v.width, format.coded_width) && inside(v.top, v.height, format.coded_height);
    fits.then_some(format)
}

#[cfg(test)]
mod tests;
