//! Pictures to H.264 streams.
#![cfg(feature = "h264")]

use crate::process;
use crate::tools::*;
use std::process::Command;
use vb3_codec::{Colour, Config, H264Profile, H264Settings, Job, Kind, Launch, Planes, Refused};

const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;
const FRAMES: usize = 40;

fn settings(profile: H264Profile) -> H264Settings {
    H264Settings {
        width: WIDTH,
        height: HEIGHT,
        rate: (25, 1),
        bitrate: 1_500_000,
        gop: 16,
        profile,
        level: None,
        colour: Colour::default(),
    }
}

fn source() -> Vec<u8> {
    let frames = FRAMES.to_string();
    let source = format!("testsrc2=size={WIDTH}x{HEIGHT}:rate=25");
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-frames:v",
            &frames,
            "-pix_fmt",
            "yuv420p",
            "-f",
            "rawvideo",
        ],
        &[],
    )
}

fn planes(picture: &[u8]) -> Planes<'_> {
    let luma = (WIDTH * HEIGHT) as usize;
    let (y, rest) = picture.split_at(luma);
    let (u, v) = rest.split_at(luma / 4);
    let half = WIDTH as usize / 2;
    Planes {
        width: WIDTH,
        height: HEIGHT,
        data: [y, u, v],
        strides: [WIDTH as usize, half, half],
    }
}

/// Encodes all pictures, the one tagged 7 as a forced key frame.
fn encode(settings: H264Settings, pictures: &[u8], launch: &Launch) -> Driven {
    let mut driven = Driven::new(Kind::H264Encoder, launch);
    driven.submit(Job::Configure(Config::H264Encoder(settings)));
    for (tag, picture) in (1..).zip(pictures.chunks(pictures.len() / FRAMES)) {
        driven.submit(Job::Encode {
            tag,
            picture: planes(picture),
            force_key: tag == 7,
        });
    }
    driven.submit(Job::Drain);
    driven.wait_for(|said| *said == Said::Drained);
    assert_eq!(driven.faults(), Vec::<&Said>::new());
    driven
}

fn packets(driven: &Driven) -> Vec<(u64, bool, &[u8])> {
    let packets = driven.said.iter().filter_map(|said| match said {
        Said::Packet { tag, key, bytes } => Some((*tag, *key, bytes.as_slice())),
        _ => None,
    });
    packets.collect()
}

#[test]
fn every_picture_becomes_a_packet_that_ffmpeg_decodes() {
    if !ffmpeg_is_here() {
        return;
    }
    let pictures = source();
    for (profile, idc) in [
        (H264Profile::ConstrainedBaseline, 66),
        (H264Profile::Main, 77),
        (H264Profile::High, 100),
    ] {
        let driven = encode(settings(profile), &pictures, &process());
        let packets = packets(&driven);
        let tags: Vec<u64> = packets.iter().map(|(tag, ..)| *tag).collect();
        assert_eq!(tags, (1..=FRAMES as u64).collect::<Vec<_>>());
        let keys: Vec<u64> = packets.iter().filter(|p| p.1).map(|p| p.0).collect();
        assert_eq!(keys, [1, 7, 23, 39], "first, forced, and 16 after each");
        for (tag, key, bytes) in &packets {
            let starts_with_sps = bytes[..4] == [0, 0, 0, 1] && bytes[4] & 0x1f == 7;
            assert_eq!(starts_with_sps, *key, "packet {tag}");
        }
        assert_eq!(packets[0].2[5], idc, "{profile:?}");
        let stream: Vec<u8> = packets.iter().flat_map(|p| p.2).copied().collect();
        let theirs = decoded_by_ffmpeg(&stream, "h264");
        assert_eq!(theirs.len(), pictures.len(), "{profile:?}");
        let ratio = psnr(&theirs, &pictures);
        assert!(ratio > 30.0, "{profile:?}: {ratio:.1} dB");
        // What the decoder makes of it.
        let mut back = Driven::new(Kind::H264Decoder, &process());
        back.decode(packets.iter().map(|p| p.2));
        assert_same_pictures("both ways", &back.pictures(), &theirs);
    }
}

#[test]
fn the_stream_says_what_its_numbers_mean() {
    if !ffmpeg_is_here() {
        return;
    }
    let pictures = source();
    let points = |primaries, transfer, matrix, full_range| Colour {
        primaries,
        transfer,
        matrix,
        full_range,
    };
    for (colour, said) in [
        (Colour::default(), ["unknown"; 4]),
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
                colour,
                ..settings(profile)
            };
            let driven = encode(settings, &pictures, &Launch::in_thread());
            let packets = packets(&driven);
            let mut back = Driven::new(Kind::H264Decoder, &Launch::in_thread());
            back.decode(packets.iter().map(|p| p.2));
            let found: Vec<Colour> = back.formats().iter().map(|f| f.colour).collect();
            assert_eq!(found, [colour], "{profile:?}");
            let stream: Vec<u8> = packets.iter().flat_map(|p| p.2.to_vec()).collect();
            assert_eq!(colours_by_ffprobe(&stream), said, "{profile:?}");
        }
    }
}

#[test]
fn the_bitrate_is_kept() {
    if !ffmpeg_is_here() {
        return;
    }
    let pictures = source();
    let len = |bitrate| {
        let settings = H264Settings {
            bitrate,
            ..settings(H264Profile::Main)
        };
        let driven = encode(settings, &pictures, &Launch::in_thread());
        packets(&driven).iter().map(|p| p.2.len()).sum::<usize>()
    };
    let (low, high) = (len(150_000), len(600_000));
    assert!(low * 2 < high, "{low} and {high} bytes");
    let wanted = 150_000 / 8 * FRAMES / 25;
    assert!(low < wanted * 2, "{low} bytes where {wanted} were wanted");
}

#[test]
fn setting_up_anew_begins_a_stream_of_the_new_size() {
    let mut driven = Driven::new(Kind::H264Encoder, &Launch::in_thread());
    let grey = vec![128; (64 * 64 * 3 / 2) as usize];
    let picture = |width: u32, height: u32| {
        let luma = (width * height) as usize;
        let half = width as usize / 2;
        Planes {
            width,
            height,
            data: [&grey[..luma], &grey[..luma / 4], &grey[..luma / 4]],
            strides: [width as usize, half, half],
        }
    };
    for (i, (width, height)) in [(64, 64), (32, 48), (64, 64)].into_iter().enumerate() {
        driven.submit(Job::Configure(Config::H264Encoder(H264Settings {
            width,
            height,
            ..settings(H264Profile::Main)
        })));
        for tag in [1, 2] {
            driven.submit(Job::Encode {
                tag: i as u64 * 2 + tag,
                picture: picture(width, height),
                force_key: false,
            });
        }
        let other = driven.worker.submit(Job::Encode {
            tag: 0,
            picture: picture(16, 16),
            force_key: false,
        });
        assert!(matches!(other, Err(Refused::Wrong(_))), "{other:?}");
    }
    driven.submit(Job::Drain);
    driven.wait_for(|said| *said == Said::Drained);
    assert_eq!(driven.faults(), Vec::<&Said>::new());
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
fn a_picture_may_be_written_bit_by_bit() {
    if !ffmpeg_is_here() {
        return;
    }
    let refused = |done| assert!(matches!(done, Err(Refused::Wrong(_))), "{done:?}");
    let config = Job::Configure(Config::H264Encoder(settings(H264Profile::Main)));
    let all = source();
    let len = all.len() / FRAMES;
    let mut driven = Driven::new(Kind::H264Encoder, &Launch::in_thread());
    refused(driven.worker.begin_picture());
    driven.submit(config);
    refused(driven.worker.encode_picture(0, false));
    for (tag, picture) in (1..).zip(all.chunks_exact(len).take(3)) {
        driven.worker.begin_picture().unwrap();
        for part in 0..2 {
            driven.take();
            let to = driven.worker.picture().unwrap();
            for (to, from) in to.data.into_iter().zip(planes(picture).data) {
                let half = to.len() / 2;
                let part = part * half..(part + 1) * half;
                to[part.clone()].copy_from_slice(&from[part]);
            }
        }
        driven.worker.encode_picture(tag, false).unwrap();
        assert!(driven.worker.picture().is_none());
    }
    driven.submit(Job::Drain);
    driven.wait_for(|said| *said == Said::Drained);
    assert_eq!(driven.faults(), Vec::<&Said>::new());
    let whole = encode(settings(H264Profile::Main), &all, &Launch::in_thread());
    assert!(packets(&driven)[..] == packets(&whole)[..3]);
    // One of another set-up is none of this one.
    driven.worker.begin_picture().unwrap();
    driven.submit(config);
    refused(driven.worker.encode_picture(0, false));
}

#[test]
fn settings_that_cannot_be_are_refused_at_once() {
    let mut driven = Driven::new(Kind::H264Encoder, &Launch::in_thread());
    let good = settings(H264Profile::Main);
    for bad in [
        H264Settings { width: 321, ..good },
        H264Settings { height: 8, ..good },
        H264Settings {
            width: 4098,
            ..good
        },
        H264Settings {
            rate: (0, 1),
            ..good
        },
        H264Settings { bitrate: 0, ..good },
    ] {
        let refused = driven
            .worker
            .submit(Job::Configure(Config::H264Encoder(bad)));
        assert!(matches!(refused, Err(Refused::Wrong(_))), "{bad:?}");
    }
    let jpeg = Config::JpegEncoder {
        width: 64,
        height: 64,
        quality: 50,
    };
    assert!(driven.worker.submit(Job::Configure(jpeg)).is_err());
    driven.submit(Job::Configure(Config::H264Encoder(good)));
}

/// Range, matrix, transfer and primaries that ffprobe finds in an H.264 byte stream.
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
