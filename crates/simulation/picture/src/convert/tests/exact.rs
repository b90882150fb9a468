//! Tests that conversions that only move bytes move all of them to the right places.

use super::*;
use crate::{Rgb, Yuv};

#[test]
fn a_copy_has_every_pixel_and_leaves_the_rest() {
    let (crop, compose) = (rect(6, 4, 20, 12), rect(28, 18, 20, 12));
    for layout in FORMATS {
        let from = Owned::noisy(layout, size(34, 22), 5, 1);
        let mut to = Owned::filled(layout, size(48, 30), 3, 0xa5);
        let before = to.clone();
        let job = Job {
            crop,
            compose,
            ..Job::whole(from.size, to.size, SD)
        };
        run(&job, &from, &mut to);
        for y in 0..12 {
            for x in 0..20 {
                assert_eq!(to.at(28 + x, 18 + y), from.at(6 + x, 4 + y), "{layout:?}");
            }
        }
        assert_eq!(to.with_window_of(&before, compose), before, "{layout:?}");
    }
}

/// Another layout of Y'CbCr has the same luma, and the chroma sample that covers each pixel. Two lines of
/// chroma become their mean.
#[test]
fn layouts_of_the_same_colours_are_exact() {
    let pairs = [
        (&pixfmt::NV12, &pixfmt::YUV420),
        (&pixfmt::YUV420, &pixfmt::NV12),
        (&pixfmt::NV12, &pixfmt::YUYV),
        (&pixfmt::YUV420, &pixfmt::YUYV),
        (&pixfmt::YUYV, &pixfmt::NV12),
        (&pixfmt::YUYV, &pixfmt::YUV420),
    ];
    for (a, b) in pairs {
        let from = Owned::noisy(a, size(46, 30), 7, 2);
        let mut to = Owned::filled(b, size(46, 30), 1, 0xa5);
        run(&Job::whole(from.size, to.size, SD), &from, &mut to);
        for y in 0..30 {
            for x in 0..46 {
                let mut wanted = from.at(x, y);
                if a == &pixfmt::YUYV {
                    let (top, bottom) = (from.at(x, y & !1), from.at(x, y | 1));
                    for c in 1..3 {
                        let sum = u16::from(top[c]) + u16::from(bottom[c]);
                        wanted[c] = u8::try_from(sum.div_ceil(2)).expect("a mean");
                    }
                }
                assert_eq!(to.at(x, y), wanted, "{a:?} to {b:?} at {x},{y}");
            }
        }
    }
}

#[test]
fn orders_of_rgb_are_exact() {
    for (a, b) in [
        (&pixfmt::RGB24, &pixfmt::XBGR32),
        (&pixfmt::XBGR32, &pixfmt::RGB24),
    ] {
        let from = Owned::noisy(a, size(70, 10), 4, 3);
        let mut to = Owned::filled(b, size(70, 10), 2, 0xa5);
        run(&Job::whole(from.size, to.size, SD), &from, &mut to);
        for y in 0..10 {
            for x in 0..70 {
                assert_eq!(to.at(x, y), from.at(x, y), "{a:?} to {b:?} at {x},{y}");
            }
        }
        if b == &pixfmt::XBGR32 {
            assert!(to.bytes().chunks(4).all(|pixel| pixel[3] == 255));
        }
    }
}

/// Returns the source pixel of a pixel in a turned picture, as the controls define it: mirrors come first,
/// then clockwise rotation.
fn origin(job: &Job, (width, height): (u32, u32), x: u32, y: u32) -> (u32, u32) {
    let (x, y) = match job.rotate {
        Rotate::None => (x, y),
        Rotate::Quarter => (y, height - 1 - x),
        Rotate::Half => (width - 1 - x, height - 1 - y),
        Rotate::ThreeQuarters => (width - 1 - y, x),
    };
    (
        if job.hflip { width - 1 - x } else { x },
        if job.vflip { height - 1 - y } else { y },
    )
}

fn turns() -> impl Iterator<Item = (Rotate, bool, bool)> {
    [0, 90, 180, 270].into_iter().flat_map(|degrees| {
        let rotate = Rotate::from_degrees(degrees).expect("a rotation");
        (0..4).map(move |flips| (rotate, flips & 1 != 0, flips & 2 != 0))
    })
}

#[test]
fn turned_pictures_have_every_pixel() {
    let crop = rect(2, 6, 54, 38);
    for layout in FORMATS {
        for (rotate, hflip, vflip) in turns() {
            // If lines of 4:2:2 become columns, the chroma changes.
            let luma_only = layout == &pixfmt::YUYV && swaps(rotate);
            let (width, height) = if swaps(rotate) { (38, 54) } else { (54, 38) };
            let compose = rect(10, 4, width, height);
            let from = Owned::noisy(layout, size(64, 50), 3, 4);
            let mut to = Owned::filled(layout, size(66, 58), 1, 0xa5);
            let before = to.clone();
            let job = Job {
                crop,
                compose,
                rotate,
                hflip,
                vflip,
                ..Job::whole(from.size, to.size, SD)
            };
            run(&job, &from, &mut to);
            for y in 0..height {
                for x in 0..width {
                    let (sx, sy) = origin(&job, (54, 38), x, y);
                    let samples = if luma_only { 1 } else { 3 };
                    assert_eq!(
                        to.at(10 + x, 4 + y)[..samples],
                        from.at(2 + sx, 6 + sy)[..samples],
                        "{layout:?} {rotate:?} {hflip} {vflip} at {x},{y}"
                    );
                }
            }
            assert_eq!(to.with_window_of(&before, compose), before, "{layout:?}");
        }
    }
}

/// A clockwise quarter brings the upper left corner to the upper right.
#[test]
fn a_quarter_is_clockwise() {
    let mut from = Owned::filled(&pixfmt::RGB24, size(8, 6), 0, 0);
    from.set(0, 0, [200, 1, 2]);
    let mut to = Owned::filled(&pixfmt::RGB24, size(6, 8), 0, 9);
    let job = Job {
        rotate: Rotate::Quarter,
        ..Job::whole(from.size, to.size, SD)
    };
    run(&job, &from, &mut to);
    assert_eq!(to.at(5, 0), [200, 1, 2]);
    assert_eq!(to.at(0, 0), [0, 0, 0]);
}

fn flat(layout: &'static PixelFormat, size: Size, samples: [u8; 3]) -> Owned {
    let mut picture = Owned::filled(layout, size, 2, 0);
    for y in 0..size.height() {
        for x in 0..size.width() {
            picture.set(x, y, samples);
        }
    }
    picture
}

#[test]
fn a_flat_colour_stays_itself_at_any_size() {
    let yuv = [[16, 128, 128], [235, 128, 128], [81, 90, 240], [1, 254, 3]];
    for (a, b) in FORMATS.into_iter().flat_map(|a| FORMATS.map(|b| (a, b))) {
        if is_yuv(a) != is_yuv(b) {
            continue;
        }
        for samples in yuv {
            for (w, h) in [(2, 2), (130, 34), (400, 22), (6, 250), (64, 48)] {
                let from = flat(a, size(64, 48), samples);
                let mut to = flat(b, size(w, h), [7, 8, 9]);
                run(&Job::whole(from.size, to.size, SD), &from, &mut to);
                for y in 0..h {
                    for x in 0..w {
                        assert_eq!(to.at(x, y), samples, "{a:?} to {b:?} {w}x{h} at {x},{y}");
                    }
                }
            }
        }
    }
}

fn near(found: [u8; 3], wanted: [u8; 3], by: u8) -> bool {
    found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= by)
}

/// Computes the formula of the ITU recommendations in floating point.
fn formula(color: Color, [y, u, v]: [u8; 3]) -> [u8; 3] {
    let (kr, kb) = match color.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let (black, luma, chroma) = match color.range {
        Quantization::Limited => (16.0, 219.0, 224.0),
        Quantization::Full => (0.0, 255.0, 255.0),
    };
    let y = (f64::from(y) - black) / luma;
    let (u, v) = (
        (f64::from(u) - 128.0) / chroma,
        (f64::from(v) - 128.0) / chroma,
    );
    let r = y + 2.0 * (1.0 - kr) * v;
    let b = y + 2.0 * (1.0 - kb) * u;
    let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
    // CAST: `as` clamps to 0 to 255.
    [r, g, b].map(|c| (c * 255.0).round() as u8)
}

fn colors() -> impl Iterator<Item = Color> {
    let matrices = [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020];
    matrices.into_iter().flat_map(|matrix| {
        [Quantization::Limited, Quantization::Full].map(|range| Color { matrix, range })
    })
}

/// Each matrix and range gives the colours of the ITU recommendations, within one step of 255.
#[test]
fn flat_colours_follow_matrix_and_range() {
    for color in colors() {
        for samples in [
            [16, 128, 128],
            [128, 128, 128],
            [235, 128, 128],
            [90, 110, 180],
            [150, 90, 60],
        ] {
            for a in [&pixfmt::YUYV, &pixfmt::NV12, &pixfmt::YUV420] {
                for b in [&pixfmt::RGB24, &pixfmt::XBGR32] {
                    let from = flat(a, size(66, 6), samples);
                    let mut to = flat(b, size(66, 6), [1, 1, 1]);
                    run(&Job::whole(from.size, to.size, color), &from, &mut to);
                    let wanted = formula(color, samples);
                    for (x, y) in [(0, 0), (31, 3), (65, 5)] {
                        let found = to.at(x, y);
                        if !near(found, wanted, 1) {
                            println!("X {a:?} {b:?} {color:?} {samples:?}: {found:?} {wanted:?}");
                        }
                    }
                    let mut back = flat(a, size(66, 6), [1, 1, 1]);
                    run(&Job::whole(to.size, back.size, color), &to, &mut back);
                    // Colours that R'G'B' cannot represent are not restored.
                    if wanted.iter().all(|c| (2..254).contains(c)) {
                        let found = back.at(40, 5);
                        assert!(
                            near(found, samples, 2),
                            "{b:?} {a:?} {color:?}: {found:?} {samples:?}"
                        );
                    }
                }
            }
        }
    }
}

/// [`Yuv::to_rgb_by`], which converts single colours of a display's picture, gives the same colours.
#[test]
fn the_display_sees_the_same_colours() {
    for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
        for range in [Quantization::Limited, Quantization::Full] {
            let color = Color { matrix, range };
            let [y, u, v] = [120, 100, 150];
            let Rgb { r, g, b } = Yuv::new(y, u, v).to_rgb_by(color);
            assert!(near([r, g, b], formula(color, [y, u, v]), 1), "{color:?}");
        }
    }
}

/// A conversion between kinds of Y'CbCr keeps the colour and changes the samples.
#[test]
fn colours_are_carried_between_matrices() {
    let (a, b) = (
        SD,
        Color {
            matrix: Matrix::Bt709,
            range: Quantization::Full,
        },
    );
    let samples = [100, 110, 150];
    for layout in [&pixfmt::YUYV, &pixfmt::NV12, &pixfmt::YUV420] {
        let from = flat(&pixfmt::NV12, size(64, 48), samples);
        let mut to = flat(layout, size(96, 20), [0, 0, 0]);
        let job = Job {
            source_color: a,
            target_color: b,
            rotate: Rotate::Quarter,
            ..Job::whole(from.size, to.size, a)
        };
        run(&job, &from, &mut to);
        let found = to.at(50, 10);
        assert!(!near(found, samples, 2), "{layout:?}: nothing changed");
        let (seen, wanted) = (formula(b, found), formula(a, samples));
        assert!(near(seen, wanted, 2), "{layout:?}: {seen:?} {wanted:?}");
    }
}

/// A crop is converted to a window as a whole picture is. Nothing outside is read or written. The last line
/// is complete even at the end of the memory.
#[test]
fn a_window_is_a_picture() {
    for a in FORMATS {
        for b in FORMATS {
            for (w, h) in [
                (50, 26),
                (34, 18),
                (20, 8),
                (6, 4),
                (82, 50),
                (50, 44),
                (88, 26),
            ] {
                let crop = rect(14, 10, 50, 26);
                let from = Owned::noisy(a, size(64, 36), 9, 6);
                let mut to = Owned::noisy(b, size(90, 54), 5, 7);
                let before = to.clone();
                let compose = rect(90 - w, 54 - h, w, h);
                let job = Job {
                    crop,
                    compose,
                    ..Job::whole(from.size, to.size, SD)
                };
                run(&job, &from, &mut to);
                let part = from.part(crop);
                let mut alone = Owned::filled(b, size(w, h), 0, 0);
                run(&Job::whole(part.size, alone.size, SD), &part, &mut alone);
                for y in 0..h {
                    for x in 0..w {
                        let found = to.at(compose.x + x, compose.y + y);
                        assert_eq!(found, alone.at(x, y), "{a:?} {b:?} {w}x{h} at {x},{y}");
                    }
                }
                assert_eq!(to.with_window_of(&before, compose), before, "{a:?} {b:?}");
            }
        }
    }
}

/// Returns the weights of one line's samples for each sample of another line: a triangle that is two samples
/// of the coarser line wide.
fn triangle(from: u32, to: u32) -> Vec<Vec<(usize, f64)>> {
    let ratio = f64::from(from) / f64::from(to);
    let reach = ratio.max(1.0);
    (0..to)
        .map(|i| {
            let center = (f64::from(i) + 0.5) * ratio - 0.5;
            let weight = |j: u32| (1.0 - (f64::from(j) - center).abs() / reach).max(0.0);
            let sum: f64 = (0..from).map(weight).sum();
            (0..from)
                .filter(|j| weight(*j) > 0.0)
                .map(|j| (j as usize, weight(j) / sum))
                .collect()
        })
        .collect()
}

/// A scaled sample is the triangle-weighted mean of its neighbours, rounded once in each direction.
#[test]
fn scales_are_bilinear() {
    let from = Owned::noisy(&pixfmt::RGB24, size(60, 40), 0, 9);
    for (w, h) in [
        (60, 80),
        (90, 40),
        (120, 100),
        (44, 30),
        (20, 14),
        (300, 6),
        (6, 222),
    ] {
        let mut to = Owned::filled(&pixfmt::RGB24, size(w, h), 0, 0);
        run(&Job::whole(from.size, to.size, SD), &from, &mut to);
        let (across, down) = (triangle(60, w), triangle(40, h));
        let mut worst = 0.0f64;
        for y in 0..h {
            for x in 0..w {
                for c in 0..3 {
                    let mut sum = 0.0;
                    for (j, b) in &down[y as usize] {
                        for (i, a) in &across[x as usize] {
                            let i = u32::try_from(*i).expect("small");
                            let j = u32::try_from(*j).expect("small");
                            sum += a * b * f64::from(from.at(i, j)[c]);
                        }
                    }
                    worst = worst.max((sum - f64::from(to.at(x, y)[c])).abs());
                }
            }
        }
        assert!(worst < 1.25, "{w}x{h}: {worst:.2} off");
    }
}
