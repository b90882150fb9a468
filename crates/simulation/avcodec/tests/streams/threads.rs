//! Decoders with several threads.

use crate::others::{encoded, frames};
use crate::tools::{Driven, TestEvent, access_units, x264};
use crate::{launch, library};
use vb3_codec::{Config, Framing, Job, Kind, MAX_THREADS};

const SIZE: &str = "640x368";

/// Decodes a stream. Returns all events, and the number of threads of the decoder's process.
fn decode(kind: Kind, pieces: &[&[u8]], threads: usize) -> (Vec<TestEvent>, usize) {
    let mut driven = Driven::new(kind, &launch().with_threads(threads));
    driven.submit(Job::Configure(Config::Decoder(Framing::Auto)));
    driven.decode(pieces.iter().copied());
    let pid = driven.worker.pid().expect("a process");
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    (driven.events, tasks.count())
}

/// Checks that all events are the same with more threads, in the same order: no picture comes after more
/// pieces of the stream than with one thread.
fn expect_same(name: &str, kind: Kind, pieces: &[&[u8]]) -> Vec<TestEvent> {
    let (one, threads) = decode(kind, pieces, 1);
    for _ in 0..4 {
        let (more, further) = decode(kind, pieces, MAX_THREADS);
        let is_threaded = kind != Kind::H264Decoder;
        assert_eq!(further > threads, is_threaded, "{name}");
        let differs = one.iter().zip(&more).position(|(one, more)| one != more);
        let pair = differs.map(|at| (&one[at], &more[at]));
        assert_eq!((more.len(), pair), (one.len(), None), "{name}");
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

/// With several threads, libavcodec would not conceal the missing slices.
#[test]
fn threads_conceal_the_same_errors_in_h264() {
    if library().is_none() {
        return;
    }
    let stream = x264(SIZE, 24, "high", "slices=4");
    let mut units = access_units(&stream);
    for unit in units.iter_mut().skip(2).step_by(3) {
        *unit = &unit[..unit.len() / 2];
    }
    let events = expect_same("h264", Kind::H264Decoder, &units);
    let is_damaged = |event: &TestEvent| matches!(event, TestEvent::Picture { damaged: true, .. });
    assert!(events.iter().any(is_damaged));
}
