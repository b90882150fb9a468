//! Encodes pictures to VP8 frames.

use crate::encoders::*;
use crate::tools::{Driven, TestEvent, ivf};
use crate::{encoders, launch, library};
use vb3_codec::{Config, Framing, Job, Kind, StreamSettings, Vp8Settings};

const STREAM: StreamSettings = StreamSettings {
    width: WIDTH,
    height: HEIGHT,
    rate: (25, 1),
    bitrate: 3_000_000,
    gop: 16,
};

const SETTINGS: Vp8Settings = Vp8Settings {
    stream: STREAM,
    constant: false,
    profile: 0,
    qp: (0, 127),
};

fn encode(settings: Vp8Settings, pictures: &[u8]) -> Driven {
    encoders::encode(Kind::Vp8Encoder, Config::Vp8Encoder(settings), pictures)
}

/// Returns an IVF file of the frames.
fn file(packets: &[Packet<'_>]) -> Vec<u8> {
    let size = [WIDTH, HEIGHT].map(|side| side.try_into().unwrap());
    let frames: Vec<_> = packets
        .iter()
        .map(|(tag, _, bytes)| (*tag, *bytes))
        .collect();
    ivf(*b"VP80", size, &frames)
}

#[test]
fn ffmpeg_decodes_vp8_frames() {
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
        check_order(&packets);
        for (tag, key, bytes) in &packets {
            assert_eq!(bytes[0] & 1 == 0, *key, "frame {tag}");
            assert_eq!(bytes[0] >> 1 & 7, profile, "frame {tag}");
        }
        let decoder = (Kind::Vp8Decoder, Framing::Auto);
        let file = file(&packets);
        check_decoding(&packets, (&file, "ivf"), decoder, (&pictures, 32.0));
    }
}

#[test]
fn bitrate_and_quantizers_are_kept() {
    if library().is_none() {
        return;
    }
    let pictures = source();
    let len = |settings| packet_bytes(&encode(settings, &pictures));
    let bits = |bitrate| Vp8Settings {
        stream: StreamSettings { bitrate, ..STREAM },
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
        qp: (0, 10),
        constant: false,
        ..bits(200_000)
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
            stream: StreamSettings {
                width,
                height,
                ..STREAM
            },
            ..SETTINGS
        };
        let picture = &grey[..(width * height * 3 / 2) as usize];
        driven.submit(Job::Configure(Config::Vp8Encoder(settings)));
        for flushes in [false, false, true] {
            if flushes {
                driven.submit(Job::Flush);
                driven.wait_for(|event| *event == TestEvent::Flushed);
            }
            tag += 1;
            submit(&mut driven, tag, picture, (width, height));
            let this = tag;
            driven.wait_for(|event| *event == TestEvent::Consumed(this));
        }
    }
    assert_eq!(driven.faults(), Vec::<&TestEvent>::new());
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
