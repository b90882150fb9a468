//! JPEG files, both ways.

use crate::process;
use crate::tools::*;
use vb3_codec::{Config, Event, Job, Kind, Launch, MAX_INPUT, Planes, Subsampling};

/// Raw I420 of ffmpeg's test pictures.
fn source(size: &str, frames: u32) -> Vec<u8> {
    // Scaled, since the source itself would round odd sizes.
    let source = format!("testsrc2=size=640x480:rate=25,scale={size}");
    let frames = frames.to_string();
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-frames:v",
            &frames,
            "-pix_fmt",
            "yuvj420p",
            "-f",
            "rawvideo",
        ],
        &[],
    )
}

pub(crate) fn file(size: &str, format: &str, quality: &str) -> Vec<u8> {
    let source = format!("testsrc2=size={size}:rate=25");
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-frames:v",
            "1",
            "-pix_fmt",
            format,
            "-q:v",
            quality,
            "-f",
            "mjpeg",
        ],
        &[],
    )
}

fn planes(picture: &[u8], width: u32, height: u32) -> Planes<'_> {
    let half = (width.div_ceil(2), height.div_ceil(2));
    let (y, rest) = picture.split_at((width * height) as usize);
    let (u, v) = rest.split_at((half.0 * half.1) as usize);
    let half = half.0 as usize;
    Planes {
        width,
        height,
        data: [y, u, v],
        strides: [width as usize, half, half],
    }
}

#[test]
fn files_decode_like_ffmpeg() {
    if !ffmpeg_is_here() {
        return;
    }
    for (size, format) in [
        ("320x240", "yuvj420p"),
        ("322x242", "yuvj422p"),
        ("66x50", "yuvj444p"),
        ("1920x1080", "yuvj420p"),
        ("320x240", "gray"),
    ] {
        let file = file(size, format, "2");
        let mut driven = Driven::new(Kind::JpegDecoder, &Launch::in_thread());
        driven.decode([file.as_slice()]);
        assert_eq!(driven.faults(), Vec::<&TestEvent>::new(), "{size} {format}");
        let theirs = ffmpeg(
            &[
                "-f", "mjpeg", "-i", "INPUT", "-pix_fmt", "yuvj420p", "-f", "rawvideo",
            ],
            &file,
        );
        let ours = driven.pictures().concat();
        let ratio = psnr(&ours, &theirs);
        assert!(ratio > 35.0, "{size} {format}: {ratio:.1} dB");
        assert!(driven.formats()[0].color.full_range);
    }
}

/// A file has one chroma sample for four pixels, as has the picture, so that decoding must not mix them.
#[test]
fn chroma_samples_are_not_mixed() {
    let (width, height) = (66, 34);
    let shade = |x: u32, y: u32, high: u8| {
        if (x + y).is_multiple_of(2) {
            255 - high
        } else {
            high
        }
    };
    let plane = |columns: u32, lines: u32, high| {
        (0..lines).flat_map(move |y| (0..columns).map(move |x| shade(x, y, high)))
    };
    let luma = plane(width, height, 128);
    let chroma = [200, 30].map(|high| plane(width / 2, height / 2, high));
    let picture: Vec<u8> = luma.chain(chroma.into_iter().flatten()).collect();
    let mut encoder = Driven::new(Kind::JpegEncoder, &Launch::in_thread());
    encoder.submit(Job::Configure(Config::JpegEncoder {
        width,
        height,
        quality: 100,
        sampling: Subsampling::Yuv420,
        has_limited_range: false,
    }));
    encoder.submit(Job::Encode {
        tag: 1,
        picture: planes(&picture, width, height),
        force_key: false,
    });
    encoder.submit(Job::Drain);
    encoder.wait_for(|event| *event == TestEvent::Drained);
    let file = encoder.events.iter().find_map(|event| match event {
        TestEvent::Packet { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    let mut decoder = Driven::new(Kind::JpegDecoder, &Launch::in_thread());
    decoder.decode([file.expect("a file").as_slice()]);
    let decoded = decoder.pictures().concat();
    let worst = picture
        .iter()
        .zip(&decoded)
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert_eq!(decoded.len(), picture.len());
    assert!(worst <= Some(3), "{worst:?}");
}

#[test]
fn damaged_file_leaves_the_next_one_intact() {
    if !ffmpeg_is_here() {
        return;
    }
    let good = file("320x240", "yuvj420p", "5");
    let cut = &good[..good.len() / 2];
    let large = {
        let mut large = good.clone();
        let sof = large.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        large[sof + 5..sof + 9].copy_from_slice(&[0x23, 0x28, 0x10, 0x01]);
        large
    };
    let mut driven = Driven::new(Kind::JpegDecoder, &process());
    driven.decode([cut, b"no file", &[], &large, &good]);
    for tag in [1, 2, 4] {
        assert_eq!(
            driven.count(|s| matches!(s, TestEvent::Corrupt(t, _) if *t == tag)),
            1,
            "{tag}"
        );
    }
    let numbers = |s: &TestEvent| matches!(s, TestEvent::Corrupt(4, sentence) if sentence.contains("4097x9000"));
    assert_eq!(driven.count(numbers), 1, "{:?}", driven.faults());
    let whole = |s: &TestEvent| {
        matches!(
            s,
            TestEvent::Picture {
                tag: 5,
                damaged: false,
                ..
            }
        )
    };
    assert_eq!(driven.count(whole), 1);
    let broken = |s: &TestEvent| matches!(s, TestEvent::Picture { damaged: false, .. });
    assert_eq!(driven.count(broken), 1, "damage is marked");
    assert_eq!(driven.count(|s| matches!(s, TestEvent::Consumed(_))), 5);
}

#[test]
fn ffmpeg_decodes_encoded_files() {
    if !ffmpeg_is_here() {
        return;
    }
    for (width, height) in [(320, 240), (65, 33), (1920, 1080)] {
        let pictures = source(&format!("{width}:{height}"), 2);
        let one = pictures.len() / 2;
        let mut driven = Driven::new(Kind::JpegEncoder, &Launch::in_thread());
        driven.submit(Job::Configure(Config::JpegEncoder {
            width,
            height,
            quality: 90,
            sampling: Subsampling::Yuv420,
            has_limited_range: false,
        }));
        for (tag, picture) in (1..).zip(pictures.chunks(one)) {
            driven.submit(Job::Encode {
                tag,
                picture: planes(picture, width, height),
                force_key: false,
            });
        }
        driven.submit(Job::Drain);
        driven.wait_for(|event| *event == TestEvent::Drained);
        let mut files = Vec::new();
        for event in &driven.events {
            if let TestEvent::Packet { bytes, key, .. } = event {
                assert!(key);
                files.extend_from_slice(bytes);
            }
        }
        let theirs = ffmpeg(&["-f", "mjpeg", "-i", "INPUT", "-f", "rawvideo"], &files);
        let ratio = psnr(&pictures, &theirs);
        assert!(ratio > 30.0, "{width}x{height}: {ratio:.1} dB");
    }
}

/// A packet's memory is used again only after the parent has dropped the packet.
#[test]
fn held_packets_are_not_overwritten() {
    let (width, height) = (64, 64);
    let mut driven = Driven::new(Kind::JpegEncoder, &Launch::in_thread());
    let submit = |driven: &mut Driven, tag, shade| {
        let picture = [shade; 64 * 64 * 3 / 2];
        driven.submit(Job::Encode {
            tag,
            picture: planes(&picture, width, height),
            force_key: false,
        });
    };
    driven.submit(Job::Configure(Config::JpegEncoder {
        width,
        height,
        quality: 90,
        sampling: Subsampling::Yuv420,
        has_limited_range: false,
    }));
    let shades = [20, 120, 220];
    for (tag, shade) in (1..).zip(shades) {
        submit(&mut driven, tag, shade);
    }
    let mut held = Vec::new();
    while held.len() < shades.len() {
        driven.wait_until_ready();
        while let Some(event) = driven.worker.poll() {
            match event {
                Event::Packet { data, .. } => held.push(data),
                Event::Died { sentence } => panic!("{sentence}"),
                _ => {}
            }
        }
    }
    for (packet, (tag, shade)) in held.iter().zip((4..).zip(shades)) {
        submit(&mut driven, tag, shade);
        driven.wait_for(|event| *event == TestEvent::Consumed(tag));
        let last = driven.events.iter().rev().find_map(|event| match event {
            TestEvent::Packet { bytes, .. } => Some(bytes),
            _ => None,
        });
        assert_eq!(packet.bytes(), last.unwrap());
    }
}

#[test]
fn the_longest_piece_is_read() {
    let mut driven = Driven::new(Kind::JpegDecoder, &Launch::in_thread());
    driven.decode([&vec![0; MAX_INPUT][..]]);
    assert_eq!(driven.faults().len(), 1, "it is no file");
    assert!(matches!(driven.faults()[0], TestEvent::Corrupt(1, _)));
    let longer = Job::Decode {
        tag: 2,
        data: &vec![0; MAX_INPUT + 1],
    };
    assert!(driven.worker.submit(longer).is_err());
}
