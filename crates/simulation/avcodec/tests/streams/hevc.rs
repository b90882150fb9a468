//! Encodes pictures to an HEVC byte stream.

use crate::encoders::{
    FRAMES, HEIGHT, WIDTH, byte_stream, check_decoding, check_order, packet_bytes, packets, source,
    submit,
};
use crate::tools::{Driven, TestEvent, decoded_by_ffmpeg, psnr};
use crate::{encoders, has_encoder};
use vb3_codec::{Config, Framing, HevcSettings, Job, Kind, Refused, StreamColor, StreamSettings};

const STREAM: StreamSettings = StreamSettings {
    width: WIDTH,
    height: HEIGHT,
    rate: (25, 1),
    bitrate: 3_000_000,
    gop: 16,
};

const SETTINGS: HevcSettings = HevcSettings {
    stream: STREAM,
    constant: false,
    level: 40,
    most_kilobits: 12_000,
    qp: (0, 51),
    color: StreamColor {
        primaries: 1,
        transfer: 1,
        matrix: 1,
        full_range: false,
    },
};

fn encode(settings: HevcSettings, pictures: &[u8]) -> Driven {
    encoders::encode(Kind::HevcEncoder, Config::HevcEncoder(settings), pictures)
}

fn start(settings: HevcSettings) -> Driven {
    encoders::start(Kind::HevcEncoder, Config::HevcEncoder(settings))
}

/// Returns the types of an access unit's NAL units (ITU-T H.265, table 7-1), and the bytes after each
/// header.
fn units(bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let starts = bytes.windows(3).enumerate();
    let starts = starts.filter(|(_, window)| *window == [0, 0, 1]);
    let unit = |at: usize| (bytes[at + 3] >> 1 & 0x3f, &bytes[at + 5..]);
    starts.map(|(at, _)| unit(at)).collect()
}

/// Returns tier and level (times 30) of the parameter set, without regard to emulation prevention bytes.
fn tier_and_level(packet: &[u8]) -> (u8, u8) {
    let units = units(packet);
    let (_, set) = units.iter().find(|(kind, _)| *kind == 33).unwrap();
    // One byte, then profile_tier_level: space, tier and profile, 4 bytes of flags, 6 of constraints
    // with emulation prevention after each two zeroes, the level.
    let bytes: Vec<u8> = set.iter().copied().take(20).collect();
    let mut plain = Vec::new();
    for byte in bytes {
        let is_prevention = byte == 3 && plain.ends_with(&[0, 0]);
        if !is_prevention {
            plain.push(byte);
        }
    }
    (plain[1] >> 5 & 1, plain[12])
}

#[test]
fn ffmpeg_decodes_hevc_packets() {
    if !has_encoder(Kind::HevcEncoder) {
        return;
    }
    let pictures = source();
    let driven = encode(SETTINGS, &pictures);
    let packets = packets(&driven);
    check_order(&packets);
    for (tag, key, bytes) in &packets {
        let kinds: Vec<u8> = units(bytes).iter().map(|unit| unit.0).collect();
        // Parameter sets and IDR_W_RADL or IDR_N_LP; or one slice of a dependent picture.
        match key {
            true => assert!(
                kinds.starts_with(&[32, 33, 34]) && matches!(kinds.last(), Some(19 | 20)),
                "{tag}: {kinds:?}"
            ),
            false => assert!(matches!(kinds[..], [0 | 1]), "{tag}: {kinds:?}"),
        }
    }
    let decoder = (Kind::HevcDecoder, Framing::AccessUnits);
    let stream = byte_stream(&packets);
    let back = check_decoding(&packets, (&stream, "hevc"), decoder, (&pictures, 32.0));
    let formats = back.events.iter().filter_map(|event| match event {
        TestEvent::Format(format) => Some(format.color),
        _ => None,
    });
    assert_eq!(formats.collect::<Vec<_>>(), [SETTINGS.color]);
}

#[test]
fn level_tier_bitrate_and_quantizers_are_kept() {
    if !has_encoder(Kind::HevcEncoder) {
        return;
    }
    let pictures = source();
    let of = |settings| {
        let driven = encode(settings, &pictures);
        (tier_and_level(packets(&driven)[0].2), packet_bytes(&driven))
    };
    let bits = |bitrate| HevcSettings {
        stream: StreamSettings { bitrate, ..STREAM },
        constant: true,
        ..SETTINGS
    };
    let ((_, low), (_, high)) = (of(bits(200_000)), of(bits(1_000_000)));
    assert!(low * 2 < high, "{low} and {high} bytes");
    let (coarse, fine) = ((45, 51), (0, 15));
    let (_, coarse) = of(HevcSettings {
        qp: coarse,
        ..SETTINGS
    });
    let (found, fine) = of(HevcSettings {
        qp: fine,
        ..SETTINGS
    });
    assert!(coarse * 4 < fine, "{coarse} and {fine} bytes");
    assert_eq!(found, (0, 120));
    let high = HevcSettings {
        level: 62,
        most_kilobits: 800_000,
        stream: StreamSettings { gop: 0, ..STREAM },
        ..SETTINGS
    };
    assert_eq!(of(high).0, (1, 186));
}

#[test]
#[ignore = "full: large pictures"]
fn extreme_sizes_survive_encoding() {
    if !has_encoder(Kind::HevcEncoder) {
        return;
    }
    // At a level where the library uses larger blocks.
    for (width, height) in [(32, 32), (34, 50), (250, 32), (4096, 2304)] {
        let settings = HevcSettings {
            stream: StreamSettings {
                width,
                height,
                ..STREAM
            },
            level: 60,
            ..SETTINGS
        };
        let picture = vec![90; (width * height * 3 / 2) as usize];
        let mut driven = start(settings);
        submit(&mut driven, 1, &picture, (width, height));
        driven.wait_for(|event| *event == TestEvent::Consumed(1));
        assert_eq!(driven.faults(), Vec::<&TestEvent>::new());
        let theirs = decoded_by_ffmpeg(packets(&driven)[0].2, "hevc");
        assert_eq!(theirs.len(), picture.len(), "{width}x{height}");
        let ratio = psnr(&theirs, &picture);
        assert!(ratio > 40.0, "{width}x{height}: {ratio:.1} dB");
    }
}

#[test]
fn flush_restarts_and_second_set_up_is_refused() {
    if !has_encoder(Kind::HevcEncoder) {
        return;
    }
    let pictures = source();
    let mut driven = start(SETTINGS);
    for (tag, picture) in (1..=4).zip(pictures.chunks(pictures.len() / FRAMES)) {
        if tag == 3 {
            driven.submit(Job::Flush);
            driven.wait_for(|event| *event == TestEvent::Flushed);
        }
        submit(&mut driven, tag, picture, (WIDTH, HEIGHT));
        driven.wait_for(|event| *event == TestEvent::Consumed(tag));
    }
    let keys: Vec<bool> = packets(&driven).iter().map(|p| p.1).collect();
    assert_eq!(keys, [true, false, true, false]);
    let bitrate = 1_000_000;
    let other = HevcSettings {
        stream: StreamSettings { bitrate, ..STREAM },
        ..SETTINGS
    };
    let refused = driven
        .worker
        .submit(Job::Configure(Config::HevcEncoder(other)));
    assert!(matches!(refused, Err(Refused::Wrong(_))), "{refused:?}");
}

/// The library's thread exists from set-up on, is confined like the first one, and is the only one.
#[test]
fn library_thread_is_confined() {
    if !has_encoder(Kind::HevcEncoder) {
        return;
    }
    let pictures = source();
    let mut driven = start(SETTINGS);
    let picture = &pictures[..pictures.len() / FRAMES];
    submit(&mut driven, 1, picture, (WIDTH, HEIGHT));
    driven.wait_for(|event| *event == TestEvent::Consumed(1));
    let pid = driven.worker.pid().unwrap();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let filters: Vec<bool> = tasks
        .map(|task| {
            let status = task.unwrap().path().join("status");
            let status = std::fs::read_to_string(status).unwrap();
            status.lines().any(|line| line == "Seccomp:\t2")
        })
        .collect();
    assert_eq!(filters, [true; 2]);
}
