//! Compares the speed of conversions with copies of the same bytes. To run: `cargo test --release -p
//! vb3-devices -- --ignored --nocapture convert::bench`.

use super::plane;
use super::{Color, Converter, Job, Rotate, View, ViewMut};
use crate::picture::Size;
use std::hint::black_box;
use std::time::{Duration, Instant};
use vb3_v4l2::{PixelFormat, pixfmt};

const ROUNDS: usize = 40;

/// Returns the median duration of several runs after a warm-up, in milliseconds.
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

fn bytes(layout: &'static PixelFormat, size: Size) -> usize {
    (0..layout.components.len())
        .filter_map(|index| plane(layout, size, index))
        .map(|(line, lines)| line * lines)
        .sum()
}

fn stride(layout: &'static PixelFormat, size: Size) -> usize {
    plane(layout, size, 0).expect("a plane").0
}

fn measure(
    name: &str,
    (a, from): (&'static PixelFormat, Size),
    (b, to): (&'static PixelFormat, Size),
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
#[ignore = "prints timings and checks nothing"]
fn pictures() {
    let sizes = [(1280, 720), (1920, 1080)];
    let [hd, full] = sizes.map(|(w, h)| Size::new(w, h).expect("a size"));
    for size in [hd, full] {
        for (name, a, b) in [
            ("NV12 copy", &pixfmt::NV12, &pixfmt::NV12),
            ("I420 to NV12", &pixfmt::YUV420, &pixfmt::NV12),
            ("NV12 to I420", &pixfmt::NV12, &pixfmt::YUV420),
            ("NV12 to YUYV", &pixfmt::NV12, &pixfmt::YUYV),
            ("I420 to YUYV", &pixfmt::YUV420, &pixfmt::YUYV),
            ("YUYV to NV12", &pixfmt::YUYV, &pixfmt::NV12),
            ("NV12 to RGB24", &pixfmt::NV12, &pixfmt::RGB24),
            ("NV12 to XBGR32", &pixfmt::NV12, &pixfmt::XBGR32),
            ("YUYV to RGB24", &pixfmt::YUYV, &pixfmt::RGB24),
            ("RGB24 to NV12", &pixfmt::RGB24, &pixfmt::NV12),
        ] {
            measure(name, (a, size), (b, size), Rotate::None);
        }
        let turned = Size::new(size.height(), size.width()).expect("a size");
        measure(
            "NV12 turned by 180",
            (&pixfmt::NV12, size),
            (&pixfmt::NV12, size),
            Rotate::Half,
        );
        measure(
            "NV12 turned by 90",
            (&pixfmt::NV12, size),
            (&pixfmt::NV12, turned),
            Rotate::Quarter,
        );
    }
    measure(
        "NV12 scaled",
        (&pixfmt::NV12, full),
        (&pixfmt::NV12, hd),
        Rotate::None,
    );
    measure(
        "NV12 scaled up",
        (&pixfmt::NV12, hd),
        (&pixfmt::NV12, full),
        Rotate::None,
    );
    measure(
        "I420 scaled to NV12",
        (&pixfmt::YUV420, full),
        (&pixfmt::NV12, hd),
        Rotate::None,
    );
    measure(
        "NV12 scaled to RGB24",
        (&pixfmt::NV12, full),
        (&pixfmt::RGB24, hd),
        Rotate::None,
    );
    measure(
        "RGB24 scaled",
        (&pixfmt::RGB24, full),
        (&pixfmt::RGB24, hd),
        Rotate::None,
    );
}
