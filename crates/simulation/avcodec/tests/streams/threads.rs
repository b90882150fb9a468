//! Decoders with several threads.

use crate::h264::jvt_streams;
use crate::others::{encoded, frames};
use crate::tools::{Driven, TestEvent, access_units, x264};
use crate::{launch, library};
use rand_core::Rng as _;
use vb3_codec::{Config, Framing, Job, Kind, MAX_THREADS};

const SIZE: &str = "640x368";

/// Decodes a stream. Returns all events but those of consumed pieces, and the number of threads of the decoder's
/// process.
fn decode(kind: Kind, pieces: &[&[u8]], threads: usize) -> (Vec<TestEvent>, usize) {
    let mut driven = Driven::new(kind, &launch().with_threads(threads));
    driven.submit(Job::Configure(Config::Decoder(Framing::Auto)));
    driven.decode(pieces.iter().copied());
    let pid = driven.worker.pid().expect("a process");
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let is_output = |event: &TestEvent| !matches!(event, TestEvent::Consumed(_));
    driven.events.retain(is_output);
    (driven.events, tasks.count())
}

/// Describes an event without its pixels.
fn name_of(event: &TestEvent) -> String {
    match event {
        TestEvent::Picture { tag, damaged, .. } => format!("picture {tag}, damaged: {damaged}"),
        other => format!("{other:?}"),
    }
}

/// Checks that all pictures and faults are the same with more threads, in the same order.
fn expect_same(name: &str, kind: Kind, pieces: &[&[u8]]) -> Vec<TestEvent> {
    expect_same_before(name, kind, pieces, u64::MAX)
}

/// As `expect_same`, but compares the pixels only of pictures with tags below `end`.
fn expect_same_before(name: &str, kind: Kind, pieces: &[&[u8]], end: u64) -> Vec<TestEvent> {
    let (one, threads) = decode(kind, pieces, 1);
    for _ in 0..4 {
        let (more, further) = decode(kind, pieces, MAX_THREADS);
        assert!(further > threads, "{name}");
        let names = |events: &[TestEvent]| events.iter().map(name_of).collect::<Vec<_>>();
        assert_eq!(names(&more), names(&one), "{name}");
        for (one, more) in one.iter().zip(&more) {
            let is_before = matches!(one, TestEvent::Picture { tag, .. } if *tag < end);
            assert!(one == more || !is_before, "{name}: {}", name_of(one));
        }
    }
    one
}

#[test]
fn pictures_are_the_same_with_more_threads() {
    let Some(library) = library() else { return };
    for (kind, words, container) in [
        (
            Kind::HevcDecoder,
            "-c:v libx265 -x265-params log-level=none:wpp=1",
            "hevc",
        ),
        (
            Kind::HevcDecoder,
            "-c:v libx265 -x265-params log-level=none:wpp=1:slices=4",
            "hevc",
        ),
        (Kind::Mpeg2Decoder, "-c:v mpeg2video", "mpegvideo"),
        (
            Kind::Vp9Decoder,
            "-c:v libvpx-vp9 -b:v 500k -tile-columns 1",
            "ivf",
        ),
        (
            Kind::Av1Decoder,
            "-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 500k -tiles 2x2",
            "ivf",
        ),
    ] {
        let stream = encoded(words, SIZE, container);
        let is_there = library.kinds.iter().any(|(known, _)| *known == kind);
        if stream.is_empty() || !is_there {
            vb3_skip::skip(format_args!("ffmpeg or the library lacks {words}"));
            continue;
        }
        let pieces: Vec<&[u8]> = match container {
            "ivf" => frames(&stream),
            _ => stream.chunks(4096).collect(),
        };
        let events = expect_same(words, kind, &pieces);
        let is_whole =
            |event: &&TestEvent| matches!(event, TestEvent::Picture { damaged: false, .. });
        assert_eq!(events.iter().filter(is_whole).count(), 25, "{words}");
    }
}

#[test]
fn jvt_streams_are_the_same_with_more_threads() {
    if library().is_none() {
        return;
    }
    for (name, stream) in jvt_streams() {
        let pieces: Vec<&[u8]> = stream.chunks(4096).collect();
        expect_same(&name, Kind::H264Decoder, &pieces);
    }
}

/// Makes a stream of HEVC.
fn x265(options: &str) -> Vec<u8> {
    let options = format!("-c:v libx265 -x265-params log-level=none:{options}");
    encoded(&options, SIZE, "hevc")
}

/// Waits after each piece for all pictures that one thread passes on by then.
#[test]
fn no_picture_waits_for_a_later_piece() {
    if library().is_none() {
        return;
    }
    let h264 = x264(SIZE, 24, "high", "bframes=2:slices=2");
    let hevc = x265("bframes=2:keyint=10");
    for (kind, stream) in [(Kind::H264Decoder, h264), (Kind::HevcDecoder, hevc)] {
        let units = match kind {
            Kind::H264Decoder => access_units(&stream),
            _ => stream.chunks(2000).collect(),
        };
        let is_picture = |event: &TestEvent| matches!(event, TestEvent::Picture { .. });
        let mut wanted = Vec::new();
        for threads in [1, MAX_THREADS] {
            let mut driven = Driven::new(kind, &launch().with_threads(threads));
            driven.submit(Job::Configure(Config::Decoder(Framing::Auto)));
            for (tag, data) in (1..).zip(&units) {
                driven.submit(Job::Decode { tag, data });
                driven.wait_for(|event| *event == TestEvent::Consumed(tag));
                let pictures = match threads {
                    1 => driven.count(is_picture),
                    _ => wanted.remove(0),
                };
                while driven.count(is_picture) < pictures {
                    driven.wait();
                }
                if threads == 1 {
                    wanted.push(pictures);
                }
            }
            assert!(driven.count(is_picture) > 10, "{kind:?}");
        }
    }
}

/// libavcodec's threads would conceal the missing slices in another way.
#[test]
fn threads_conceal_the_same_errors_in_h264() {
    if library().is_none() {
        return;
    }
    for options in ["slices=4", "slices=4:bframes=3:keyint=8"] {
        let stream = x264(SIZE, 24, "high", options);
        let mut units = access_units(&stream);
        for unit in units.iter_mut().skip(2).step_by(3) {
            *unit = &unit[..unit.len() / 2];
        }
        let events = expect_same(options, Kind::H264Decoder, &units);
        let is_damaged =
            |event: &TestEvent| matches!(event, TestEvent::Picture { damaged: true, .. });
        assert!(events.iter().any(is_damaged), "{options}");
    }
}

/// Flips bits, from the middle of the stream on. libavcodec's repair of H.264 reads memory of earlier pictures, so
/// repaired pixels depend on where decoding began.
#[test]
fn damaged_streams_are_the_same_with_more_threads() {
    if library().is_none() {
        return;
    }
    let h264 = x264(SIZE, 24, "high", "bframes=2:keyint=9:slices=2");
    let hevc = x265("bframes=2:keyint=9");
    for (kind, stream) in [(Kind::H264Decoder, h264), (Kind::HevcDecoder, hevc)] {
        for seed in 0..6 {
            let mut random = rand_pcg::Pcg32::new(seed, 1);
            let mut stream = stream.clone();
            let mut first = stream.len();
            for _ in 0..3 {
                let half = stream.len() / 2;
                let at = half + random.next_u32() as usize % half;
                stream[at] ^= 1 << (random.next_u32() % 8);
                first = first.min(at);
            }
            let pieces: Vec<&[u8]> = stream.chunks(4096).collect();
            let name = format!("{kind:?}, seed {seed}");
            expect_same_before(&name, kind, &pieces, first as u64 / 4096);
        }
    }
}

/// The stream allows fields as units of their own, so one thread decodes it. But x264 writes none, so this test does not
/// show that several threads would fail.
#[test]
fn fields_are_the_same_with_more_threads() {
    if library().is_none() {
        return;
    }
    let stream = x264(SIZE, 12, "high", "interlaced=1:bframes=1");
    let (one, threads) = decode(Kind::H264Decoder, &access_units(&stream), 1);
    let (more, further) = decode(Kind::H264Decoder, &access_units(&stream), MAX_THREADS);
    assert!(further > threads && one == more);
}
