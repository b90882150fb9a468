//! Encodes pictures to H.264 streams.

use crate::encoders::*;
use crate::tools::Driven;
use crate::{decode, encoders, has_encoder, launch};
use std::process::Command;
use vb3_codec::{
    Config, Framing, H264Profile, H264Settings, Job, Kind, Refused, StreamColor, StreamSettings,
    Subsampling,
};

const KIND: Kind = Kind::H264Encoder;

const STREAM: StreamSettings = StreamSettings {
    width: WIDTH,
    height: HEIGHT,
    rate: (25, 1),
    bitrate: 1_500_000,
    gop: 16,
};

fn settings(profile: H264Profile) -> H264Settings {
    H264Settings {
        stream: STREAM,
        profile,
        level: None,
        color: StreamColor::default(),
    }
}

fn encode(settings: H264Settings, pictures: &[u8]) -> Driven {
    encoders::encode(KIND, Config::H264Encoder(settings), pictures)
}

#[test]
fn ffmpeg_decodes_h264_packets() {
    if !has_encoder(KIND) {
        return;
    }
    let pictures = source();
    for (profile, idc) in [
        (H264Profile::ConstrainedBaseline, 66),
        (H264Profile::Main, 77),
        (H264Profile::High, 100),
    ] {
        let driven = encode(settings(profile), &pictures);
        let packets = packets(&driven);
        check_order(&packets);
        for (tag, key, bytes) in &packets {
            let starts_with_sps = bytes[..4] == [0, 0, 0, 1] && bytes[4] & 0x1f == 7;
            assert_eq!(starts_with_sps, *key, "packet {tag}");
        }
        assert_eq!(packets[0].2[5], idc, "{profile:?}");
        let decoder = (Kind::H264Decoder, Framing::AccessUnits);
        let stream = byte_stream(&packets);
        check_decoding(&packets, (&stream, "h264"), decoder, (&pictures, 30.0));
    }
}

#[test]
fn streams_contain_colour_description() {
    if !has_encoder(KIND) {
        return;
    }
    let pictures = source();
    let points = |primaries, transfer, matrix, full_range| StreamColor {
        primaries,
        transfer,
        matrix,
        full_range,
    };
    for (color, named) in [
        (StreamColor::default(), ["unknown"; 4]),
        (
            points(2, 2, 2, true),
            ["pc", "unknown", "unknown", "unknown"],
        ),
        (points(1, 1, 1, false), ["tv", "bt709", "bt709", "bt709"]),
        (
            points(9, 16, 9, true),
            ["pc", "bt2020nc", "smpte2084", "bt2020"],
        ),
        (
            points(6, 6, 6, false),
            ["tv", "smpte170m", "smpte170m", "smpte170m"],
        ),
    ] {
        for profile in [
            H264Profile::ConstrainedBaseline,
            H264Profile::Main,
            H264Profile::High,
        ] {
            let settings = H264Settings {
                color,
                ..settings(profile)
            };
            let driven = encode(settings, &pictures);
            let packets = packets(&driven);
            let units: Vec<&[u8]> = packets.iter().map(|p| p.2).collect();
            let back = decode(Kind::H264Decoder, Framing::AccessUnits, &units);
            let found: Vec<StreamColor> = back.formats().iter().map(|f| f.color).collect();
            assert_eq!(found, [color], "{profile:?}");
            assert_eq!(
                colours_by_ffprobe(&byte_stream(&packets)),
                named,
                "{profile:?}"
            );
        }
    }
}

#[test]
fn the_bitrate_is_kept() {
    if !has_encoder(KIND) {
        return;
    }
    let pictures = source();
    let len = |bitrate| {
        let settings = H264Settings {
            stream: StreamSettings { bitrate, ..STREAM },
            ..settings(H264Profile::Main)
        };
        packet_bytes(&encode(settings, &pictures))
    };
    let (low, high) = (len(150_000), len(600_000));
    assert!(low * 2 < high, "{low} and {high} bytes");
    let wanted = 150_000 / 8 * FRAMES / 25;
    assert!(low < wanted * 2, "{low} bytes where {wanted} were wanted");
}

#[test]
fn new_set_up_begins_stream_of_new_size() {
    if !has_encoder(KIND) {
        return;
    }
    let mut driven = Driven::new(KIND, &launch());
    let grey = vec![128; (64 * 64 * 3 / 2) as usize];
    let picture = |width: u32, height: u32| &grey[..(width * height * 3 / 2) as usize];
    for (i, (width, height)) in [(64, 64), (32, 48), (64, 64)].into_iter().enumerate() {
        driven.submit(Job::Configure(Config::H264Encoder(H264Settings {
            stream: StreamSettings {
                width,
                height,
                ..STREAM
            },
            ..settings(H264Profile::Main)
        })));
        for tag in [1, 2] {
            let picture = picture(width, height);
            submit(&mut driven, i as u64 * 2 + tag, picture, (width, height));
        }
        let other = driven.worker.submit(Job::Encode {
            tag: 0,
            picture: planes(picture(16, 16), 16, 16),
            force_key: false,
        });
        assert!(matches!(other, Err(Refused::Wrong(_))), "{other:?}");
    }
    drain(&mut driven);
    let packets = packets(&driven);
    let keys: Vec<(u64, bool)> = packets.iter().map(|p| (p.0, p.1)).collect();
    assert_eq!(
        keys,
        [
            (1, true),
            (2, false),
            (3, true),
            (4, false),
            (5, true),
            (6, false)
        ]
    );
}

#[test]
fn pictures_may_be_written_in_parts() {
    if !has_encoder(KIND) {
        return;
    }
    let refused = |done| assert!(matches!(done, Err(Refused::Wrong(_))), "{done:?}");
    let config = Job::Configure(Config::H264Encoder(settings(H264Profile::Main)));
    let all = source();
    let len = all.len() / FRAMES;
    let mut driven = Driven::new(KIND, &launch());
    refused(driven.worker.begin_picture());
    driven.submit(config);
    refused(driven.worker.encode_picture(0, false));
    for (tag, picture) in (1..).zip(all.chunks_exact(len).take(3)) {
        driven.worker.begin_picture().unwrap();
        for part in 0..2 {
            driven.take();
            let to = driven.worker.picture().unwrap();
            for (to, from) in to.data.into_iter().zip(planes(picture, WIDTH, HEIGHT).data) {
                let half = to.len() / 2;
                let part = part * half..(part + 1) * half;
                to[part.clone()].copy_from_slice(&from[part]);
            }
        }
        driven.worker.encode_picture(tag, false).unwrap();
        assert!(driven.worker.picture().is_none());
    }
    drain(&mut driven);
    let whole = encode(settings(H264Profile::Main), &all);
    assert!(packets(&driven)[..] == packets(&whole)[..3]);
    // A picture begun before a set-up does not belong to the new set-up.
    driven.worker.begin_picture().unwrap();
    driven.submit(config);
    refused(driven.worker.encode_picture(0, false));
}

#[test]
fn invalid_settings_are_refused_at_once() {
    if !has_encoder(KIND) {
        return;
    }
    let mut driven = Driven::new(KIND, &launch());
    let good = settings(H264Profile::Main);
    for bad in [
        StreamSettings {
            width: 321,
            ..STREAM
        },
        StreamSettings {
            height: 8,
            ..STREAM
        },
        StreamSettings {
            width: 4098,
            ..STREAM
        },
        StreamSettings {
            rate: (0, 1),
            ..STREAM
        },
        StreamSettings {
            bitrate: 0,
            ..STREAM
        },
    ] {
        let bad = H264Settings {
            stream: bad,
            ..good
        };
        let refused = driven
            .worker
            .submit(Job::Configure(Config::H264Encoder(bad)));
        assert!(matches!(refused, Err(Refused::Wrong(_))), "{bad:?}");
    }
    let jpeg = Config::JpegEncoder {
        width: 64,
        height: 64,
        quality: 50,
        sampling: Subsampling::Yuv420,
        has_limited_range: false,
    };
    assert!(driven.worker.submit(Job::Configure(jpeg)).is_err());
    driven.submit(Job::Configure(Config::H264Encoder(good)));
}

/// Returns the range, matrix, transfer and primaries that ffprobe finds in an H.264 byte stream.
fn colours_by_ffprobe(stream: &[u8]) -> [String; 4] {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stream.h264");
    std::fs::write(&file, stream).unwrap();
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_streams"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    ["range", "space", "transfer", "primaries"].map(|name| {
        let key = format!("\"color_{name}\": \"");
        let found = text
            .split_once(&key)
            .and_then(|(_, rest)| rest.split_once('"'));
        found.map_or("unknown", |(value, _)| value).to_owned()
    })
}
