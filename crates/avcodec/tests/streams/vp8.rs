//! Pictures to VP8 frames.

use crate::tools::{Driven, Said, assert_same_pictures, decoded_by_ffmpeg, ffmpeg, psnr};
use crate::{decode, launch, library};
use vb3_codec::{Config, Framing, Job, Kind, Planes, Vp8Settings};

pub(crate) const WIDTH: u32 = 320;
pub(crate) const HEIGHT: u32 = 240;
pub(crate) const FRAMES: usize = 40;

const SETTINGS: Vp8Settings = Vp8Settings {
    width: WIDTH,
    height: HEIGHT,
    rate: (25, 1),
    bitrate: 3_000_000,
    constant: false,
    gop: 16,
    profile: 0,
    qp: (0, 127),
};

pub(crate) fn source() -> Vec<u8> {
    let words = format!(
        "-f lavfi -i testsrc2=size={WIDTH}x{HEIGHT}:rate=25 -frames:v {FRAMES} \
         -pix_fmt yuv420p -f rawvideo"
    );
    ffmpeg(&words.split_whitespace().collect::<Vec<_>>(), &[])
}

pub(crate) fn planes(picture: &[u8], width: u32, height: u32) -> Planes<'_> {
    let luma = (width * height) as usize;
    let (y, rest) = picture.split_at(luma);
    let (u, v) = rest.split_at(luma / 4);
    let half = width as usize / 2;
    Planes {
        width,
        height,
        data: [y, u, v],
        strides: [width as usize, half, half],
    }
}

/// Encodes all pictures, the one tagged 7 as a forced key frame.
fn encode(settings: Vp8Settings, pictures: &[u8]) -> Driven {
    let mut driven = Driven::new(Kind::Vp8Encoder, &launch());
    driven.submit(Job::Configure(Config::Vp8Encoder(settings)));
    for (tag, picture) in (1..).zip(pictures.chunks(pictures.len() / FRAMES)) {
        driven.submit(Job::Encode {
            tag,
            picture: planes(picture, WIDTH, HEIGHT),
            force_key: tag == 7,
        });
    }
    driven.submit(Job::Drain);
    driven.wait_for(|said| *said == Said::Drained);
    assert_eq!(driven.faults(), Vec::<&Said>::new());
    driven
}

pub(crate) fn packets(driven: &Driven) -> Vec<(u64, bool, &[u8])> {
    let packets = driven.said.iter().filter_map(|said| match said {
        Said::Packet { tag, key, bytes } => Some((*tag, *key, bytes.as_slice())),
        _ => None,
    });
    packets.collect()
}

/// The frames as an IVF file.
fn ivf(packets: &[(u64, bool, &[u8])]) -> Vec<u8> {
    let mut file = b"DKIF\0\0\x20\0VP80".to_vec();
    for size in [WIDTH, HEIGHT] {
        file.extend(u16::try_from(size).unwrap().to_le_bytes());
    }
    for word in [25u32, 1, u32::try_from(packets.len()).unwrap(), 0] {
        file.extend(word.to_le_bytes());
    }
    for (tag, _, bytes) in packets {
        file.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        file.extend(tag.to_le_bytes());
        file.extend(*bytes);
    }
    file
}

#[test]
fn every_picture_becomes_a_frame_that_ffmpeg_decodes() {
    if library().is_none() {
        return;
    }
    let pictures = source();
    for profile in 0..4 {
        let settings = Vp8Settings {
            profile,
            ..SETTINGS
        };
        let driven = encode(settings, &pictures);
        let packets = packets(&driven);
        let tags: Vec<u64> = packets.iter().map(|(tag, ..)| *tag).collect();
        assert_eq!(tags, (1..=FRAMES as u64).collect::<Vec<_>>());
        let keys: Vec<u64> = packets.iter().filter(|p| p.1).map(|p| p.0).collect();
        assert_eq!(keys, [1, 7, 23, 39], "first, forced, and 16 after each");
        for (tag, key, bytes) in &packets {
            assert_eq!(bytes[0] & 1 == 0, *key, "frame {tag}");
            assert_eq!(bytes[0] >> 1 & 7, profile, "frame {tag}");
        }
        let theirs = decoded_by_ffmpeg(&ivf(&packets), "ivf");
        assert_eq!(theirs.len(), pictures.len(), "{profile}");
        let ratio = psnr(&theirs, &pictures);
        assert!(ratio > 32.0, "profile {profile}: {ratio:.1} dB");
        let frames: Vec<&[u8]> = packets.iter().map(|p| p.2).collect();
        let back = decode(Kind::Vp8Decoder, Framing::Auto, &frames);
        assert_same_pictures("both ways", &back.pictures(), &theirs);
    }
}

#[test]
fn bitrate_and_quantizers_are_kept() {
    if library().is_none() {
        return;
    }
    let pictures = source();
    let len = |settings| {
        let driven = encode(settings, &pictures);
        packets(&driven).iter().map(|p| p.2.len()).sum::<usize>()
    };
    let bits = |bitrate| Vp8Settings {
        bitrate,
        constant: true,
        ..SETTINGS
    };
    let (low, high) = (len(bits(200_000)), len(bits(1_000_000)));
    assert!(low * 2 < high, "{low} and {high} bytes");
    let coarse = len(Vp8Settings {
        qp: (120, 127),
        ..SETTINGS
    });
    let fine = len(Vp8Settings {
        bitrate: 200_000,
        qp: (0, 10),
        ..SETTINGS
    });
    assert!(coarse * 4 < fine, "{coarse} and {fine} bytes");
}

#[test]
fn a_new_size_and_a_flush_begin_a_stream() {
    if library().is_none() {
        return;
    }
    let grey = vec![128; 64 * 48 * 3 / 2];
    let mut driven = Driven::new(Kind::Vp8Encoder, &launch());
    let mut tag = 0;
    for (width, height) in [(64, 48), (32, 16), (64, 48)] {
        let settings = Vp8Settings {
            width,
            height,
            ..SETTINGS
        };
        let picture = &grey[..(width * height * 3 / 2) as usize];
        driven.submit(Job::Configure(Config::Vp8Encoder(settings)));
        for flushes in [false, false, true] {
            if flushes {
                driven.submit(Job::Flush);
                driven.wait_for(|said| *said == Said::Flushed);
            }
            tag += 1;
            driven.submit(Job::Encode {
                tag,
                picture: planes(picture, width, height),
                force_key: false,
            });
            let this = tag;
            driven.wait_for(|said| *said == Said::Consumed(this));
        }
    }
    assert_eq!(driven.faults(), Vec::<&Said>::new());
    let packets = packets(&driven);
    let keys: Vec<bool> = packets.iter().map(|p| p.1).collect();
    assert_eq!(keys, [true, false, true].repeat(3));
    let sizes = packets.iter().filter(|p| p.1).map(|p| {
        let word = |at: usize| u16::from_le_bytes([p.2[at], p.2[at + 1]]);
        (word(6), word(8))
    });
    let wanted = [(64, 48), (64, 48), (32, 16), (32, 16), (64, 48), (64, 48)];
    assert_eq!(sizes.collect::<Vec<_>>(), wanted);
}
