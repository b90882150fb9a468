//! Decoders with several threads.

use crate::tools::{Driven, TestEvent, ffmpeg, x264};
use crate::{launch, library};
use vb3_codec::{Config, Framing, Job, Kind, MAX_THREADS};

/// Decodes a stream as one piece. Returns the pictures and whether each is damaged.
fn decode(kind: Kind, stream: &[&[u8]], threads: usize) -> Vec<(bool, Vec<u8>)> {
    let mut driven = Driven::new(kind, &launch().with_threads(threads));
    driven.submit(Job::Configure(Config::Decoder(Framing::Auto)));
    driven.decode(stream.iter().copied());
    let pictures = driven.events.into_iter().filter_map(|event| match event {
        TestEvent::Picture {
            damaged, pixels, ..
        } => Some((damaged, pixels)),
        _ => None,
    });
    pictures.collect()
}

/// Encodes moving pictures by an encoder of ffmpeg.
fn encoded(encoder: &[&str], format: &str) -> Vec<u8> {
    let source = "testsrc2=size=640x368:rate=25";
    let start = [
        "-f",
        "lavfi",
        "-i",
        source,
        "-frames:v",
        "24",
        "-pix_fmt",
        "yuv420p",
    ];
    ffmpeg(&[&start[..], encoder, &["-f", format]].concat(), &[])
}

#[test]
fn pictures_are_the_same_with_more_threads() {
    if library().is_none() {
        return;
    }
    let streams = [
        (
            "h264",
            Kind::H264Decoder,
            x264("640x368", 24, "high", "slices=4"),
        ),
        (
            "h264 in one slice",
            Kind::H264Decoder,
            x264("640x368", 24, "high", "slices=1"),
        ),
        (
            "hevc",
            Kind::HevcDecoder,
            encoded(
                &["-c:v", "libx265", "-x265-params", "wpp=1:log-level=none"],
                "hevc",
            ),
        ),
        (
            "hevc in slices",
            Kind::HevcDecoder,
            encoded(
                &[
                    "-c:v",
                    "libx265",
                    "-x265-params",
                    "wpp=1:slices=4:log-level=none",
                ],
                "hevc",
            ),
        ),
        (
            "mpeg2",
            Kind::Mpeg2Decoder,
            encoded(&["-c:v", "mpeg2video"], "mpeg2video"),
        ),
    ];
    for (name, kind, stream) in streams {
        if stream.is_empty() {
            continue;
        }
        let one = decode(kind, &[&stream], 1);
        assert_eq!(one.len(), 24, "{name}");
        for _ in 0..4 {
            let more = decode(kind, &[&stream], MAX_THREADS);
            let differs = one.iter().zip(&more).position(|(one, more)| one != more);
            assert_eq!((more.len(), differs), (24, None), "{name}");
        }
    }
}
