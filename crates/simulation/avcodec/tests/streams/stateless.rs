//! Stateless decoders: each piece of input is one picture, which comes at once.

use crate::others::{encoded, frames};
use crate::tools::*;
use crate::{expect_exact, launch, library};
use vb3_codec::{Job, Kind};

const SIZE: &str = "176x144";

/// Splits a stream of HEVC at its access unit delimiters.
fn delimited(stream: &[u8]) -> Vec<&[u8]> {
    let codes = stream.windows(6).enumerate();
    let starts = codes.filter(|(_, window)| window.starts_with(&[0, 0, 0, 1, 0x46]));
    let mut cuts: Vec<usize> = starts.map(|(at, _)| at).collect();
    cuts.push(stream.len());
    cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect()
}

/// Returns the tag and the pixels of a picture that is not damaged.
fn whole(event: &TestEvent) -> Option<(u64, &[u8])> {
    match event {
        TestEvent::Picture {
            tag,
            damaged: false,
            pixels,
        } => Some((*tag, pixels)),
        _ => None,
    }
}

/// Decodes pieces tagged 1, 2, … and waits for each one's end.
fn decode(kind: Kind, pieces: &[&[u8]]) -> Driven {
    let mut driven = Driven::new(kind, &launch());
    for (tag, data) in (1..).zip(pieces.iter().copied()) {
        driven.submit(Job::Decode { tag, data });
        driven.wait_for(|event| *event == TestEvent::Consumed(tag));
    }
    driven.decode([]);
    driven
}

#[test]
fn every_codec_gives_a_picture_for_each_piece() {
    if library().is_none() {
        return;
    }
    for (kind, words, container) in [
        (
            Kind::HevcStatelessDecoder,
            "-c:v libx265 -x265-params log-level=0:bframes=0:aud=1",
            "hevc",
        ),
        (
            Kind::Vp8StatelessDecoder,
            "-c:v libvpx -b:v 500k -lag-in-frames 0",
            "ivf",
        ),
        (
            Kind::Vp9StatelessDecoder,
            "-c:v libvpx-vp9 -b:v 500k -lag-in-frames 0",
            "ivf",
        ),
        (
            Kind::Av1StatelessDecoder,
            "-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 500k -lag-in-frames 0",
            "ivf",
        ),
    ] {
        let stream = encoded(words, SIZE, container);
        if stream.is_empty() {
            vb3_skip::skip(format_args!("ffmpeg has no encoder for {words}"));
            continue;
        }
        let pieces = match container {
            "ivf" => frames(&stream),
            _ => delimited(&stream),
        };
        assert_eq!(pieces.len(), 25, "{words}");
        let driven = decode(kind, &pieces);
        expect_exact(words, &driven, &stream, container);
        assert_eq!(driven.tags(), (1..=25).collect::<Vec<_>>(), "{words}");
        assert_eq!(driven.formats().len(), 1, "{words}");
    }
}

/// The program of a stateless decoder orders pictures for display.
#[test]
fn pictures_come_in_decoding_order() {
    if library().is_none() {
        return;
    }
    let stream = x264(SIZE, 25, "high", "bframes=3:b-adapt=0:b-pyramid=normal");
    let driven = decode(Kind::H264StatelessDecoder, &access_units(&stream));
    assert_eq!(driven.faults(), Vec::<&TestEvent>::new());
    assert_eq!(driven.tags(), (1..=25).collect::<Vec<_>>());
    let theirs = decoded_by_ffmpeg(&stream, "h264");
    let mut wanted: Vec<&[u8]> = theirs.chunks(176 * 144 * 3 / 2).collect();
    let mut found = driven.pictures();
    assert!(found != wanted, "the stream is not reordered");
    found.sort_unstable();
    wanted.sort_unstable();
    assert!(found == wanted);
}

#[test]
fn pieces_without_a_picture_are_faults() {
    if library().is_none() {
        return;
    }
    let (small, large) = (x264(SIZE, 2, "high", ""), x264("320x240", 1, "high", ""));
    let small = access_units(&small);
    let deep = encoded("-c:v libx264 -pix_fmt yuv420p10le -bf 0", SIZE, "h264");
    let pieces = [small[0], &[], b"no stream", access_units(&deep)[0], &large];
    let driven = decode(Kind::H264StatelessDecoder, &pieces);
    let wholes = driven.events.iter().filter_map(whole);
    assert_eq!(wholes.map(|(tag, _)| tag).collect::<Vec<_>>(), [1, 5]);
    let sizes = driven
        .formats()
        .into_iter()
        .map(|format| format.coded_width);
    assert_eq!(sizes.collect::<Vec<_>>(), [176, 320]);
    match *driven.faults() {
        [TestEvent::Corrupt(3, _), TestEvent::Unsupported(4, why)] => {
            let pixels = "pictures are yuv420p10le; the device offers only 8-bit 4:2:0";
            assert!(why.contains(pixels), "{why}");
        }
        ref faults => panic!("{faults:?}"),
    }
}

#[test]
fn a_flush_drops_references() {
    if library().is_none() {
        return;
    }
    let stream = x264(SIZE, 2, "high", "bframes=0");
    let units = access_units(&stream);
    let mut driven = Driven::new(Kind::H264StatelessDecoder, &launch());
    driven.submit(Job::Decode {
        tag: 1,
        data: units[0],
    });
    driven.submit(Job::Flush);
    driven.wait_for(|event| *event == TestEvent::Flushed);
    driven.submit(Job::Decode {
        tag: 2,
        data: units[1],
    });
    driven.wait_for(|event| *event == TestEvent::Consumed(2));
    let theirs = decoded_by_ffmpeg(&stream, "h264");
    let (_, second) = theirs.split_at(theirs.len() / 2);
    let mut wholes = driven.events.iter().filter_map(whole);
    assert!(!wholes.any(|picture| picture == (2, second)));
}
