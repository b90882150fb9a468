//! Tests that wrong input is refused, and that writes stay in bounds.

use super::*;
use crate::convert::{ConvertError, Converter, Rotate};
use proptest::prelude::*;

fn attempt(job: &Job) -> Result<(), ConvertError> {
    let from = Owned::filled(&pixfmt::NV12, size(64, 48), 0, 1);
    let mut to = Owned::filled(&pixfmt::NV12, size(32, 16), 0, 2);
    let before = to.clone();
    let result = Converter::new().run(job, &from.view(), &mut to.view_mut());
    assert!(result.is_ok() || to == before, "a refused job wrote");
    result
}

#[test]
fn rectangles_outside_are_refused() {
    let good = Job::whole(size(64, 48), size(32, 16), SD);
    assert_eq!(attempt(&good), Ok(()));
    let wrong = [
        rect(0, 0, 66, 48),
        rect(2, 0, 64, 48),
        rect(0, 2, 64, 48),
        rect(0, 0, 0, 48),
        rect(0, 0, 64, 0),
        rect(1, 0, 2, 2),
        rect(0, 0, 3, 2),
        rect(0, 1, 2, 2),
        rect(u32::MAX - 1, 0, 4, 2),
        rect(0, u32::MAX - 1, 2, 4),
        rect(0, 0, u32::MAX - 1, 2),
    ];
    for rect in wrong {
        let crop = attempt(&Job { crop: rect, ..good });
        assert_eq!(crop, Err(ConvertError::Crop(rect)));
        let compose = attempt(&Job {
            compose: rect,
            ..good
        });
        assert_eq!(compose, Err(ConvertError::Compose(rect)));
    }
    assert_eq!(ConvertError::Crop(good.crop).errno(), 22);
}

#[test]
fn planes_that_do_not_hold_the_picture_are_refused() {
    let bytes = vec![0; 64 * 48 * 3 / 2];
    let view = |luma: usize, chroma: usize, stride: usize| {
        View::new(
            &pixfmt::NV12,
            size(64, 48),
            [(&bytes[..luma], stride), (&bytes[..chroma], 64)],
        )
        .map(drop)
    };
    assert_eq!(view(64 * 48, 64 * 24, 64), Ok(()));
    assert_eq!(
        view(64 * 48 - 1, 64 * 24, 64),
        Err(ConvertError::Short {
            plane: 0,
            wanted: 64 * 48,
            found: 64 * 48 - 1
        })
    );
    assert_eq!(
        view(64 * 48, 64 * 24 - 1, 64),
        Err(ConvertError::Short {
            plane: 1,
            wanted: 64 * 24,
            found: 64 * 24 - 1
        })
    );
    for stride in [0, 63, usize::MAX] {
        let wanted = ConvertError::Stride {
            plane: 0,
            wanted: 64,
            found: stride,
        };
        assert_eq!(view(64 * 48, 64 * 24, stride), Err(wanted));
    }
    for found in [0, 1, 3] {
        let planes = std::iter::repeat_n((&bytes[..], 64), found);
        let view = View::new(&pixfmt::NV12, size(64, 48), planes);
        let wanted = ConvertError::Planes { wanted: 2, found };
        assert_eq!(view.map(drop), Err(wanted));
    }
}

/// Planes that share one memory have the layout of V4L2's formats.
#[test]
fn one_memory_is_divided_as_v4l2_does() {
    let mut next = noise(8);
    for layout in FORMATS {
        let size = size(20, 6);
        let stride = plane(layout, size, 0).expect("a plane").0 + 12;
        let bytes: usize = (0..layout.components.len())
            .map(|i| {
                layout.component_line(i, stride as u32) as usize
                    * plane(layout, size, i).expect("a plane").1
            })
            .sum();
        let data: Vec<u8> = (0..bytes).map(|_| next()).collect();
        let view = View::contiguous(layout, size, &data, stride).expect("enough memory");
        let mut to = Owned::filled(layout, size, 0, 0);
        let job = Job::whole(size, size, SD);
        let mut converter = Converter::new();
        converter
            .run(&job, &view, &mut to.view_mut())
            .expect("a copy");
        let mut at = 0;
        let mut wanted = Vec::new();
        for index in 0..layout.components.len() {
            let (line, lines) = plane(layout, size, index).expect("a plane");
            let step = if index > 0 && layout == &pixfmt::YUV420 {
                stride / 2
            } else {
                stride
            };
            for y in 0..lines {
                wanted.extend_from_slice(&data[at + y * step..][..line]);
            }
            at += step * lines;
        }
        assert_eq!(to.bytes(), wanted, "{layout:?}");
        let mut copy = vec![0; bytes];
        let mut back = ViewMut::contiguous(layout, size, &mut copy, stride).expect("enough memory");
        converter.run(&job, &to.view(), &mut back).expect("a copy");
        let view = View::contiguous(layout, size, &copy, stride).expect("enough memory");
        let mut again = Owned::filled(layout, size, 0, 0);
        converter
            .run(&job, &view, &mut again.view_mut())
            .expect("a copy");
        assert_eq!(again, to, "{layout:?}");
        assert!(View::contiguous(layout, size, &data[..bytes / 2], stride).is_err());
    }
}

/// Scales between a very small picture and a large, a tall and a wide one.
fn expect_extremes(rotate: Rotate, large: Size, [tall, wide]: [Size; 2]) {
    let small = size(2, 2);
    let mut converter = Converter::new();
    for (a, b, source, target) in [
        (small, large, &pixfmt::NV12, &pixfmt::YUV420),
        (large, small, &pixfmt::NV12, &pixfmt::RGB24),
        (tall, wide, &pixfmt::RGB24, &pixfmt::YUYV),
        (wide, tall, &pixfmt::YUYV, &pixfmt::XBGR32),
    ] {
        let from = Owned::filled(source, a, 0, 128);
        let mut to = Owned::filled(target, b, 0, 1);
        let job = Job {
            rotate,
            ..Job::whole(a, b, SD)
        };
        converter
            .run(&job, &from.view(), &mut to.view_mut())
            .expect("within bounds");
        let (x, y) = (b.width() - 1, b.height() - 1);
        let found = to.at(x, y);
        assert!(
            found.iter().all(|s| *s > 100),
            "{source:?} {a} to {b}: {found:?}"
        );
        assert_eq!(to.at(0, 0), found, "{source:?} {a} to {b}");
    }
}

#[test]
fn extremes_can_be_scaled() {
    let narrow = [size(2, 2304), size(1024, 2)];
    expect_extremes(Rotate::None, size(4096, 288), narrow);
}

#[test]
fn extremes_can_be_turned() {
    let narrow = [size(2, 2304), size(4096, 2)];
    expect_extremes(Rotate::Quarter, size(1024, 576), narrow);
}

fn even(most: u32) -> impl Strategy<Value = u32> {
    (1..=most / 2).prop_map(|half| half * 2)
}

/// Makes a picture's size, and a rectangle inside it.
fn window() -> impl Strategy<Value = (Size, Rect)> {
    (even(90), even(70)).prop_flat_map(|(w, h)| {
        (even(w), even(h)).prop_flat_map(move |(rw, rh)| {
            (0..=(w - rw) / 2, 0..=(h - rh) / 2)
                .prop_map(move |(x, y)| (size(w, h), rect(x * 2, y * 2, rw, rh)))
        })
    })
}

fn layout() -> impl Strategy<Value = &'static PixelFormat> {
    proptest::sample::select(FORMATS.to_vec())
}

fn color() -> impl Strategy<Value = Color> {
    let matrix = [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020];
    let range = [Quantization::Limited, Quantization::Full];
    (
        proptest::sample::select(matrix.to_vec()),
        proptest::sample::select(range.to_vec()),
    )
        .prop_map(|(matrix, range)| Color { matrix, range })
}

fn job() -> impl Strategy<Value = (Size, Size, Job)> {
    let turn = (0..4i32, any::<bool>(), any::<bool>());
    (window(), window(), turn, color(), color()).prop_map(
        |((a, crop), (b, compose), (quarters, hflip, vflip), source_color, target_color)| {
            let job = Job {
                crop,
                compose,
                rotate: Rotate::from_degrees(quarters * 90).expect("a rotation"),
                hflip,
                vflip,
                source_color,
                target_color,
            };
            (a, b, job)
        },
    )
}

proptest! {
    /// Any job writes its whole compose rectangle and nothing else, and reads only its crop rectangle.
    #[test]
    fn jobs_stay_inside(
        (a, b, job) in job(),
        (source, target) in (layout(), layout()),
        pads in (0..40usize, 0..40usize),
        seed in 1..u64::MAX,
    ) {
        let from = Owned::noisy(source, a, pads.0, seed);
        // Inside the crop rectangle, the bytes are the same; outside, they differ.
        let other = Owned::noisy(source, a, pads.0, !seed).with_window_of(&from, job.crop);
        let mut to = Owned::filled(target, b, pads.1, 0x5a);
        let before = to.clone();
        let mut converter = Converter::new();
        converter.run(&job, &from.view(), &mut to.view_mut()).expect("a valid job");
        prop_assert!(to.with_window_of(&before, job.compose) == before, "wrote outside");

        // A converter that was used before gives the same result, whatever the target's bytes were.
        let mut again = Owned::filled(target, b, pads.1, 0xc3);
        let before = again.clone();
        converter.run(&job, &other.view(), &mut again.view_mut()).expect("a valid job");
        prop_assert!(again.with_window_of(&to, job.compose) == again, "not the same");
        prop_assert!(again.with_window_of(&before, job.compose) == before, "wrote outside");
    }
}
