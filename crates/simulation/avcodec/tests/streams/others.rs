//! Codecs other than H.264.

use crate::tools::*;
use crate::{decode, expect_exact, launch, library};
use std::collections::BTreeMap;
use std::process::Command;
use vb3_codec::{Framing, Kind};

/// A codec, its encoder options for ffmpeg, and the container of its stream.
pub(crate) const CASES: [(Kind, &str, &str); 11] = [
    (
        Kind::HevcDecoder,
        "-c:v libx265 -x265-params log-level=0:bframes=4",
        "hevc",
    ),
    (
        Kind::HevcDecoder,
        "-c:v libx265 -x265-params log-level=0:keyint=8:open-gop=1",
        "hevc",
    ),
    (
        Kind::HevcDecoder,
        "-c:v libx265 -x265-params log-level=0:slices=3:bframes=0",
        "hevc",
    ),
    (
        Kind::Mpeg2Decoder,
        "-c:v mpeg2video -bf 2 -g 12 -b:v 800k",
        "mpegvideo",
    ),
    (
        Kind::Mpeg2Decoder,
        "-c:v mpeg2video -bf 0 -flags +ildct+ilme",
        "mpegvideo",
    ),
    (Kind::Mpeg2Decoder, "-c:v mpeg1video -bf 2", "mpegvideo"),
    (
        Kind::Mpeg4Decoder,
        "-c:v mpeg4 -bf 2 -g 12 -b:v 800k",
        "m4v",
    ),
    (
        Kind::Mpeg4Decoder,
        "-c:v mpeg4 -bf 0 -flags +mv4+qpel",
        "m4v",
    ),
    (
        Kind::Vp8Decoder,
        "-c:v libvpx -b:v 500k -auto-alt-ref 1 -lag-in-frames 10",
        "ivf",
    ),
    (
        Kind::Vp9Decoder,
        "-c:v libvpx-vp9 -b:v 500k -auto-alt-ref 1 -lag-in-frames 10",
        "ivf",
    ),
    (
        Kind::Av1Decoder,
        "-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 500k",
        "ivf",
    ),
];

/// Returns the sizes to encode. In pictures of other sizes than the first, x265 3.5 and 4.1 make slices that are invalid:
/// ffmpeg says so, and its pictures then depend on its number of threads.
fn sizes(words: &str) -> &'static [&'static str] {
    match words.contains("slices=") {
        true => &["176x144"],
        false => &["176x144", "98x66"],
    }
}

pub(crate) fn encoded(words: &str, size: &str, container: &str) -> Vec<u8> {
    let source = format!("testsrc2=size={size}:rate=25");
    let mut args = vec!["-f", "lavfi", "-i", &source, "-frames:v", "25"];
    args.extend(["-pix_fmt", "yuv420p", "-threads", "1"]);
    args.extend(words.split(' '));
    let muxer = match container {
        "mpegvideo" if words.contains("mpeg1video") => "mpeg1video",
        "mpegvideo" => "mpeg2video",
        other => other,
    };
    args.extend(["-f", muxer]);
    ffmpeg(&args, &[])
}

/// Returns the frames of an IVF file.
pub(crate) fn frames(ivf: &[u8]) -> Vec<&[u8]> {
    let mut rest = &ivf[32..];
    let mut frames = Vec::new();
    while let Some((head, after)) = rest.split_at_checked(12) {
        let len = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let (frame, after) = after.split_at(len);
        frames.push(frame);
        rest = after;
    }
    frames
}

/// ffmpeg may use another version than the worker, but pkg-config names the one that the worker was built with.
#[test]
fn the_version_is_the_installed_librarys() {
    let Some(library) = library() else { return };
    let mut installed = Command::new("pkg-config");
    let installed = installed.args(["--modversion", "libavcodec"]).output();
    let installed = String::from_utf8(installed.unwrap().stdout).unwrap();
    assert_eq!(library.name, format!("libavcodec {}", installed.trim()));
}

#[test]
fn every_codec_is_exact() {
    let Some(library) = library() else { return };
    let names: BTreeMap<_, _> = library.kinds.iter().map(|(k, n)| (k.word(), n)).collect();
    for (kind, words, container) in CASES {
        if !names.contains_key(kind.word()) {
            vb3_skip::skip(format_args!("{} has no {}", library.name, kind.word()));
            continue;
        }
        for &size in sizes(words) {
            let stream = encoded(words, size, container);
            if stream.is_empty() {
                vb3_skip::skip(format_args!("ffmpeg has no encoder for {words}"));
                continue;
            }
            let name = format!("{words} {size}");
            if container == "ivf" {
                let driven = decode(kind, Framing::AccessUnits, &frames(&stream));
                expect_exact(&name, &driven, &stream, container);
                continue;
            }
            for (framing, len) in [(Framing::Stream, 1000), (Framing::Auto, 100_000)] {
                let pieces: Vec<&[u8]> = stream.chunks(len).collect();
                let driven = decode(kind, framing, &pieces);
                expect_exact(&name, &driven, &stream, container);
                assert_eq!(driven.pictures().len(), 25, "{name}");
            }
        }
    }
}

/// A sample is in the upper bits of two bytes, as in P010.
#[test]
fn ten_bits_are_exact() {
    let Some(library) = library() else { return };
    for (kind, words, container) in [
        (
            Kind::HevcDecoder,
            "-c:v libx265 -x265-params log-level=0:bframes=4 -pix_fmt yuv420p10le",
            "hevc",
        ),
        (
            Kind::Vp9Decoder,
            "-c:v libvpx-vp9 -b:v 500k -lag-in-frames 10 -profile:v 2 -pix_fmt yuv420p10le",
            "ivf",
        ),
        (
            Kind::Av1Decoder,
            "-c:v libaom-av1 -cpu-used 8 -usage realtime -b:v 500k -pix_fmt yuv420p10le",
            "ivf",
        ),
    ] {
        assert!(library.kinds.iter().any(|(known, _)| *known == kind));
        for size in ["176x144", "98x66"] {
            let stream = encoded(words, size, container);
            let mut theirs = decoded_by_ffmpeg(&stream, container);
            for sample in theirs.as_chunks_mut::<2>().0 {
                *sample = (u16::from_le_bytes(*sample) << 6).to_le_bytes();
            }
            let pieces: Vec<&[u8]> = match container {
                "ivf" => frames(&stream),
                _ => stream.chunks(1000).collect(),
            };
            let driven = decode(kind, Framing::Auto, &pieces);
            assert_eq!(driven.faults(), Vec::<&TestEvent>::new(), "{words}");
            assert!(driven.formats().iter().all(|format| format.bits == 10));
            assert_eq!(driven.pictures().len(), 25, "{words}");
            assert_same_pictures(words, &driven.pictures(), &theirs);
        }
    }
}

#[test]
fn unsupported_formats_are_refused() {
    if library().is_none() {
        return;
    }
    let deep = "the device offers only 4:2:0 of 8 or 10 bits";
    for (kind, words, container, message) in [
        (
            Kind::HevcDecoder,
            "libx265 -pix_fmt yuv420p12le",
            "hevc",
            deep,
        ),
        (Kind::HevcDecoder, "libx265 -pix_fmt yuv444p", "hevc", deep),
        (
            Kind::HevcDecoder,
            "libx265 -pix_fmt yuv422p10le",
            "hevc",
            deep,
        ),
        (
            Kind::H264Decoder,
            "libx264 -pix_fmt yuv420p10le",
            "h264",
            "the device offers only 8-bit 4:2:0",
        ),
    ] {
        let words = format!("-c:v {words}");
        let stream = encoded(&words, "176x144", container);
        assert!(!stream.is_empty(), "{words}");
        let driven = decode(kind, Framing::Stream, &[&stream]);
        assert_eq!(driven.pictures().len(), 0, "{words}");
        let faults = format!("{:?}", driven.faults());
        assert!(faults.contains(message), "{words}: {faults}");
    }
}

/// Pictures after a drain refer to some before it.
#[test]
fn every_codec_continues_after_drain() {
    let Some(library) = library() else { return };
    for (kind, words, container) in CASES {
        let has = library.kinds.iter().any(|(known, _)| *known == kind);
        // Only IVF marks where a frame begins. This test cannot cut the other streams at a frame.
        if !has || container != "ivf" {
            continue;
        }
        let stream = encoded(words, "176x144", container);
        let frames = frames(&stream);
        let good = decoded_by_ffmpeg(&stream, container);
        let mut driven = Driven::new(kind, &launch());
        driven.decode(frames[..11].iter().copied());
        driven.decode(frames[11..].iter().copied());
        assert_eq!(driven.faults(), Vec::<&TestEvent>::new(), "{words}");
        assert_same_pictures(words, &driven.pictures(), &good);
    }
}

/// The pictures between the last one of a GOP and the first one of the next refer to both.
#[test]
fn a_drain_between_open_gops_loses_nothing() {
    let Some(library) = library() else { return };
    for (kind, words, container) in CASES {
        let has = library.kinds.iter().any(|(known, _)| *known == kind);
        if !has || !words.contains("-bf 2 -g 12") {
            continue;
        }
        let stream = encoded(words, "176x144", container);
        let good = decoded_by_ffmpeg(&stream, container);
        // ffmpeg's encoders repeat the sequence's header at the beginning of each group.
        let code = [0, 0, 1, if container == "m4v" { 0xb0 } else { 0xb3 }];
        let mut groups = stream.windows(4).enumerate().filter(|(_, at)| *at == code);
        let (second, _) = groups.nth(1).expect("two groups");
        let mut driven = Driven::new(kind, &launch());
        driven.decode([&stream[..second]]);
        driven.decode([&stream[second..]]);
        assert_eq!(driven.faults(), Vec::<&TestEvent>::new(), "{words}");
        assert_same_pictures(words, &driven.pictures(), &good);
    }
}
