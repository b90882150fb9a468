//! What a picture costs, against a copy of the same bytes:
//! `cargo test --release -p vb3-devices -- --ignored --nocapture convert::bench`.

use super::{Color, Converter, Job, PixelLayout, Rotate, View, ViewMut};
use crate::picture::Size;
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;

/// The median of a few runs, in milliseconds, after one that warms.
fn median(mut work: impl FnMut()) -> f64 {
    work();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2].as_secs_f64() * 1e3
}

fn bytes(layout: PixelLayout, size: Size) -> usize {
    (0..layout.planes())
        .filter_map(|index| layout.plane(size, index))
        .map(|(line, lines)| line * lines)
        .sum()
}

fn stride(layout: PixelLayout, size: Size) -> usize {
    layout.plane(size, 0).expect("a plane").0
}

fn measure(
    name: &str,
    (a, from): (PixelLayout, Size),
    (b, to): (PixelLayout, Size),
    rotate: Rotate,
) {
    let source: Vec<u8> = (0..bytes(a, from)).map(|i| (i * 31 % 251) as u8).collect();
    let mut target = vec![0; bytes(b, to)];
    let job = Job {
        rotate,
        ..Job::whole(from, to, Color::default())
    };
    let mut converter = Converter::new();
    let time = median(|| {
        let view = View::contiguous(a, from, &source, stride(a, from)).expect("a view");
        let mut out = ViewMut::contiguous(b, to, &mut target, stride(b, to)).expect("a view");
        converter.run(&job, &view, &mut out).expect("a job");
        black_box(&mut target);
    });
    let larger = source.len().max(target.len());
    let (one, mut other) = (vec![1u8; larger], vec![0u8; larger]);
    let copy = median(|| {
        other.copy_from_slice(black_box(&one));
        black_box(&mut other);
    });
    println!(
        "{name:24} {from:>9} {to:>9} {time:8.3} ms  copy {copy:6.3} ms  {:6.1}",
        time / copy
    );
}

#[test]
#[ignore = "a measurement"]
fn pictures() {
    use PixelLayout::{Nv12, Rgb24, Xbgr32, Yuv420, Yuyv};
    let sizes = [(1280, 720), (1920, 1080)];
    let [hd, full] = sizes.map(|(w, h)| Size::new(w, h).expect("a size"));
    for size in [hd, full] {
        for (name, a, b) in [
            ("NV12 copy", Nv12, Nv12),
            ("I420 to NV12", Yuv420, Nv12),
            ("NV12 to I420", Nv12, Yuv420),
            ("NV12 to YUYV", Nv12, Yuyv),
            ("I420 to YUYV", Yuv420, Yuyv),
            ("YUYV to NV12", Yuyv, Nv12),
            ("NV12 to RGB24", Nv12, Rgb24),
            ("NV12 to XBGR32", Nv12, Xbgr32),
            ("YUYV to RGB24", Yuyv, Rgb24),
            ("RGB24 to NV12", Rgb24, Nv12),
        ] {
            measure(name, (a, size), (b, size), Rotate::None);
        }
        let turned = Size::new(size.height(), size.width()).expect("a size");
        measure(
            "NV12 turned by 180",
            (Nv12, size),
            (Nv12, size),
            Rotate::Half,
        );
        measure(
            "NV12 turned by 90",
            (Nv12, size),
            (Nv12, turned),
            Rotate::Quarter,
        );
    }
    measure("NV12 scaled", (Nv12, full), (Nv12, hd), Rotate::None);
    measure("NV12 scaled up", (Nv12, hd), (Nv12, full), Rotate::None);
    measure(
        "I420 scaled to NV12",
        (Yuv420, full),
        (Nv12, hd),
        Rotate::None,
    );
    measure(
        "NV12 scaled to RGB24",
        (Nv12, full),
        (Rgb24, hd),
        Rotate::None,
    );
    measure("RGB24 scaled", (Rgb24, full), (Rgb24, hd), Rotate::None);
}
