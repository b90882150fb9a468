//! H.264.

use crate::tools::*;
use crate::{decode, expect_exact, launch, library};
use rand_core::Rng as _;
use vb3_codec::{Config, Framing, Job, Kind};

const KIND: Kind = Kind::H264Decoder;

/// Options of x264: its defaults, and rarer coding tools.
const OPTIONS: [&str; 10] = [
    "bframes=3:direct=spatial",
    "bframes=3:direct=temporal:b-pyramid=strict",
    "bframes=16:direct=auto:b-adapt=0:b-pyramid=normal",
    "bframes=3:weightp=2:weightb=1:ref=8:8x8dct=1",
    "bframes=2:direct=auto:slices=4",
    "bframes=2:open-gop=1:keyint=12:scenecut=0",
    "bframes=3:interlaced=1",
    "bframes=2:fake-interlaced=1",
    "bframes=3:cabac=0:trellis=0:no-deblock=1",
    "bframes=0:intra-refresh=1:keyint=20",
];

#[test]
fn every_coding_tool_is_exact() {
    if library().is_none() {
        return;
    }
    for options in OPTIONS {
        for size in ["176x144", "66x52"] {
            let stream = x264(size, 30, "high", options);
            let units = access_units(&stream);
            let driven = decode(KIND, Framing::AccessUnits, &units);
            expect_exact(options, &driven, &stream, "h264");
            assert_eq!(driven.pictures().len(), 30, "{options}");
            let mut tags = driven.tags();
            tags.sort_unstable();
            assert_eq!(tags, (1..=30).collect::<Vec<_>>(), "{options}");
        }
    }
}

/// The coding order is I0 P2 b1 P4 b3 P6 b5 P8 b7. The numbers give the display order.
#[test]
fn tags_follow_pictures_through_reordering() {
    if library().is_none() {
        return;
    }
    let options = "bframes=1:b-adapt=0:b-pyramid=none:keyint=250:scenecut=0";
    let stream = x264("64x64", 9, "main", options);
    let driven = decode(KIND, Framing::AccessUnits, &access_units(&stream));
    expect_exact("one b", &driven, &stream, "h264");
    assert_eq!(driven.tags(), [1, 3, 2, 5, 4, 7, 6, 9, 8]);
}

#[test]
fn pieces_of_any_size_give_the_same_pictures() {
    if library().is_none() {
        return;
    }
    let stream = x264("176x144", 30, "high", "bframes=3:slices=3:keyint=8");
    for seed in 0..8 {
        let mut random = rand_pcg::Pcg32::new(seed, 1);
        let most = [1, 7, 300, 5000][seed as usize % 4];
        let framing = [Framing::Stream, Framing::Auto][seed as usize / 4 % 2];
        let mut pieces = Vec::new();
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let len = (1 + random.next_u32() as usize % most).min(rest.len());
            let (piece, after) = rest.split_at(len);
            pieces.push(piece);
            rest = after;
        }
        let driven = decode(KIND, framing, &pieces);
        expect_exact(&format!("seed {seed}"), &driven, &stream, "h264");
    }
}

#[test]
fn the_format_is_known_from_the_first_unit() {
    if library().is_none() {
        return;
    }
    let stream = x264(
        "66x50",
        9,
        "high",
        "bframes=3:fullrange=on:colormatrix=bt709",
    );
    let mut driven = Driven::new(KIND, &launch());
    driven.submit(Job::Decode {
        tag: 1,
        data: access_units(&stream)[0],
    });
    driven.wait_for(|event| matches!(event, TestEvent::Format(_)));
    let format = driven.formats()[0];
    assert_eq!((format.coded_width, format.coded_height), (80, 64));
    assert_eq!((format.visible.width, format.visible.height), (66, 50));
    assert!(format.color.full_range && format.color.matrix == 1);
    assert_eq!(format.profile, 100);
}

/// The pictures after a drain refer to some before it.
#[test]
fn decoding_continues_after_drain() {
    if library().is_none() {
        return;
    }
    for options in [
        "bframes=0:keyint=250",
        "bframes=3:keyint=250:b-pyramid=normal",
        "bframes=3:keyint=10:open-gop=1:scenecut=0",
    ] {
        let stream = x264("176x144", 40, "high", options);
        let units = access_units(&stream);
        let good = decoded_by_ffmpeg(&stream, "h264");
        let one = 176 * 144 * 3 / 2;
        for at in [1, 7, 23, 31] {
            let mut driven = Driven::new(KIND, &launch());
            driven.submit(Job::Configure(Config::Decoder(Framing::AccessUnits)));
            driven.decode(units[..at].iter().copied());
            assert_eq!(driven.pictures().len(), at, "{options}");
            driven.decode(units[at..].iter().copied());
            assert_eq!(driven.faults(), Vec::<&TestEvent>::new());
            // A drain may return a picture before one that is displayed earlier but decoded later.
            let mut found = driven.pictures();
            let mut wanted: Vec<&[u8]> = good.chunks(one).collect();
            found.sort_unstable();
            wanted.sort_unstable();
            assert!(found == wanted, "{options}: drained after {at}");
        }
    }
}

#[test]
fn a_new_size_comes_after_all_of_the_old() {
    if library().is_none() {
        return;
    }
    let small = x264("176x144", 10, "high", "bframes=3");
    let large = x264("320x240", 10, "high", "bframes=3");
    let both = [small.as_slice(), &large].concat();
    for framing in [Framing::AccessUnits, Framing::Stream, Framing::Auto] {
        let driven = decode(KIND, framing, &access_units(&both));
        assert_eq!(driven.faults(), Vec::<&TestEvent>::new());
        let wanted = [&small, &large].map(|stream| decoded_by_ffmpeg(stream, "h264"));
        assert_same_pictures("two sizes", &driven.pictures(), &wanted.concat());
        let widths: Vec<u32> = driven.formats().iter().map(|f| f.visible.width).collect();
        assert_eq!(widths, [176, 320]);
    }
}

#[test]
fn flush_drops_earlier_output() {
    if library().is_none() {
        return;
    }
    let options = "bframes=3:keyint=10:scenecut=0:open-gop=0";
    let stream = x264("176x144", 30, "high", options);
    let units = access_units(&stream);
    let mut driven = Driven::new(KIND, &launch());
    driven.submit(Job::Configure(Config::Decoder(Framing::AccessUnits)));
    for (tag, data) in (1..).zip(units[..8].iter().copied()) {
        driven.submit(Job::Decode { tag, data });
    }
    driven.wait_for(|event| matches!(event, TestEvent::Picture { .. }));
    driven.submit(Job::Flush);
    driven.wait_for(|event| *event == TestEvent::Flushed);
    driven.events.clear();
    driven.decode(units[13..].iter().copied());
    let all = decoded_by_ffmpeg(&stream, "h264");
    let one = 176 * 144 * 3 / 2;
    assert_same_pictures("flushed", &driven.pictures(), &all[20 * one..]);
    assert!(driven.formats().is_empty(), "the format is the same");
}

#[test]
fn unsupported_streams_are_refused_with_reason() {
    if library().is_none() {
        return;
    }
    let ten = ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=64x64",
            "-frames:v",
            "4",
            "-pix_fmt",
            "yuv420p10le",
            "-c:v",
            "libx264",
            "-f",
            "h264",
        ],
        &[],
    );
    let cases = [
        (ten, "yuv420p10le"),
        (x264("4112x16", 4, "high", ""), "4112x16"),
        (x264("64x64", 4, "high444", "qp=0:bframes=0"), ""),
        (x264("4096x16", 4, "high", ""), ""),
    ];
    for (stream, part) in cases {
        let driven = decode(KIND, Framing::AccessUnits, &access_units(&stream));
        if part.is_empty() {
            // Lossless pictures of 8-bit 4:2:0, and pictures of the largest width.
            expect_exact("supported", &driven, &stream, "h264");
            continue;
        }
        assert!(driven.pictures().is_empty(), "{part}");
        let unsupported =
            |s: &TestEvent| matches!(s, TestEvent::Unsupported(_, why) if why.contains(part));
        assert_eq!(driven.count(unsupported), 4, "{:?}", driven.events);
    }
}

/// Damaged pictures equal ffmpeg's, with the same concealed parts, and are marked.
#[test]
fn damage_is_reported_and_survived() {
    if library().is_none() {
        return;
    }
    let options = "bframes=2:keyint=8:scenecut=0:open-gop=0:slices=2";
    let mut stream = x264("320x240", 24, "high", options);
    let units = access_units(&stream);
    let start = units[0].len();
    let middle = start + units[1].len() / 3;
    stream[middle..middle + 40].fill(0x5a);
    let driven = decode(KIND, Framing::AccessUnits, &access_units(&stream));
    let wrong = driven.events.iter().filter(|event| {
        matches!(
            event,
            TestEvent::Corrupt(2, _)
                | TestEvent::Picture {
                    tag: 2,
                    damaged: true,
                    ..
                }
        )
    });
    assert!(wrong.count() > 0, "{:?}", driven.faults());
    let theirs = decoded_by_ffmpeg(&stream, "h264");
    assert_same_pictures("damaged", &driven.pictures(), &theirs);
}

/// A piece may have millions of faults.
#[test]
fn each_damaged_piece_is_reported_once() {
    if library().is_none() {
        return;
    }
    let stream = x264("64x64", 6, "high", "bframes=0");
    let units = access_units(&stream);
    // Slices that end after their first bytes.
    let mut damaged = Vec::new();
    for unit in &units[1..] {
        damaged.extend_from_slice(&unit[..7]);
    }
    let driven = decode(KIND, Framing::Auto, &[units[0], &damaged, &damaged]);
    let of = |wanted| {
        driven.count(|event| matches!(event, TestEvent::Corrupt(tag, _) if *tag == wanted))
    };
    assert_eq!([of(1), of(2), of(3)], [0, 1, 1], "{:?}", driven.faults());
}

#[test]
fn garbage_input_is_survived() {
    if library().is_none() {
        return;
    }
    let stream = x264("64x64", 4, "high", "bframes=2");
    let mut noise = vec![0u8; 20_000];
    rand_pcg::Pcg32::new(5, 5).fill_bytes(&mut noise);
    let mut driven = Driven::new(KIND, &launch());
    driven.decode([&[][..], &noise[..], &[0; 100], b"no stream at all"]);
    assert_eq!(driven.count(|s| matches!(s, TestEvent::Consumed(_))), 4);
    assert_eq!(driven.count(|s| matches!(s, TestEvent::Died(_))), 0);
    driven.events.clear();
    driven.decode(access_units(&stream));
    let good = decoded_by_ffmpeg(&stream, "h264");
    assert_same_pictures("after noise", &driven.pictures(), &good);
}

/// Returns the JVT's conformance streams with their names, from the directory in `VB3_H264_VECTORS`. If the variable is
/// not set, records the test as skipped, and returns an empty list.
pub(crate) fn jvt_streams() -> Vec<(String, Vec<u8>)> {
    let Some(dir) = std::env::var_os("VB3_H264_VECTORS") else {
        vb3_skip::elsewhere("VB3_H264_VECTORS names no directory of streams");
        return Vec::new();
    };
    let files = std::fs::read_dir(dir).unwrap().flatten();
    let mut streams: Vec<_> = files
        .map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(file.path()).unwrap())
        })
        .collect();
    streams.sort();
    streams
}

#[test]
fn jvt_streams_decode_exactly() {
    if library().is_none() {
        return;
    }
    for (name, stream) in jvt_streams() {
        let pieces: Vec<&[u8]> = stream.chunks(4096).collect();
        let driven = decode(KIND, Framing::Stream, &pieces);
        expect_exact(&name, &driven, &stream, "h264");
    }
}
