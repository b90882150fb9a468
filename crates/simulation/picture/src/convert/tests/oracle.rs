//! Compares conversions with ffmpeg's conversions of the same pictures.

use super::*;
use crate::tests::ffmpeg;

fn name(layout: &'static PixelFormat) -> &'static str {
    layout.ffmpeg.expect("ffmpeg writes it")
}

/// Makes a picture with edges, gradients and small print.
fn scene(layout: &'static PixelFormat, size: Size) -> Option<Owned> {
    let source = format!(
        "mandelbrot=size={size}:start_scale=0.2,format={}",
        name(layout)
    );
    let bytes = ffmpeg(&["-f", "lavfi", "-i", &source, "-frames:v", "1"], &[])?;
    Some(Owned::from_bytes(layout, size, &bytes))
}

/// Applies a filter of ffmpeg to a picture.
fn filtered(from: &Owned, filter: &str, layout: &'static PixelFormat, size: Size) -> Option<Owned> {
    let (pixels, measures) = (name(from.layout), from.size.to_string());
    let filter = format!("{filter},format={}", name(layout));
    let arguments = [
        "-f",
        "rawvideo",
        "-pixel_format",
        pixels,
        "-video_size",
        &measures,
        "-i",
        "-",
        "-vf",
        &filter,
    ];
    let bytes = ffmpeg(&arguments, &from.bytes())?;
    Some(Owned::from_bytes(layout, size, &bytes))
}

/// Returns the signal-to-noise ratio of all samples, in decibels.
fn psnr(a: &Owned, b: &Owned) -> f64 {
    let (a, b) = (a.bytes(), b.bytes());
    assert_eq!(a.len(), b.len());
    let squares: u64 = a
        .iter()
        .zip(&b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2))
        .sum();
    // CAST: exact below 2^53.
    let mean = squares as f64 / a.len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}

const BILINEAR: &str = "flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp";

/// Scaled pictures agree with ffmpeg's to 55 dB.
#[test]
fn scales_are_close_to_those_of_ffmpeg() {
    let cases = [
        (&pixfmt::NV12, (1280, 720), (640, 360)),
        (&pixfmt::NV12, (640, 480), (1280, 720)),
        (&pixfmt::NV12, (1280, 720), (426, 240)),
        (&pixfmt::YUV420, (1280, 720), (854, 480)),
        (&pixfmt::YUYV, (640, 480), (320, 400)),
        (&pixfmt::RGB24, (640, 480), (400, 300)),
        (&pixfmt::XBGR32, (640, 480), (800, 600)),
    ];
    for (layout, (w, h), (tw, th)) in cases {
        let Some(from) = scene(layout, size(w, h)) else {
            return;
        };
        let target = size(tw, th);
        let scale = format!("scale={tw}:{th}:{BILINEAR}");
        let wanted = filtered(&from, &scale, layout, target).expect("it started before");
        let mut to = Owned::filled(layout, target, 0, 0);
        run(&Job::whole(from.size, target, SD), &from, &mut to);
        let found = psnr(&to, &wanted);
        let sizes = format!("{layout:?} {} to {target}", from.size);
        assert!(found >= 55.0, "{sizes}: {found:.1} dB");
    }
}

/// Makes ffmpeg use one chroma sample for all pixels that it covers, as this crate does.
const COVERING: &str = "flags=neighbor+accurate_rnd+full_chroma_int";
/// Makes ffmpeg use the mean of the pixels that a chroma sample covers, as this crate does.
const MEAN: &str = "flags=area+accurate_rnd+full_chroma_inp";

/// Y'CbCr and R'G'B' agree with ffmpeg's to 50 dB. Layouts of the same kind agree byte for byte.
#[test]
fn conversions_are_close_to_those_of_ffmpeg() {
    let matrices = [
        (Matrix::Bt601, "bt601"),
        (Matrix::Bt709, "bt709"),
        (Matrix::Bt2020, "bt2020"),
    ];
    let ranges = [(Quantization::Limited, "tv"), (Quantization::Full, "pc")];
    let colors = || matrices.into_iter().flat_map(|m| ranges.map(|r| (m, r)));
    let shape = size(320, 240);
    for a in FORMATS {
        let Some(from) = scene(a, shape) else {
            return;
        };
        for b in FORMATS.into_iter().filter(|b| *b != a) {
            for ((matrix, m), (range, r)) in colors() {
                let scale = match (is_yuv(a), is_yuv(b)) {
                    (true, false) => format!("scale=in_color_matrix={m}:in_range={r}:{COVERING}"),
                    (false, true) => format!("scale=out_color_matrix={m}:out_range={r}:{MEAN}"),
                    _ if a == &pixfmt::YUYV => format!("scale={MEAN}"),
                    _ => format!("scale={COVERING}"),
                };
                let wanted = filtered(&from, &scale, b, shape).expect("it started before");
                let mut to = Owned::filled(b, shape, 0, 0);
                let color = Color { matrix, range };
                run(&Job::whole(shape, shape, color), &from, &mut to);
                let found = psnr(&to, &wanted);
                let which = format!("{a:?} to {b:?}, {m} {r}: {found:.1} dB");
                if is_yuv(a) != is_yuv(b) {
                    assert!(found >= 50.0, "{which}");
                } else {
                    assert!(to == wanted, "{which}");
                }
                // For one pair of layouts in each direction, the test covers all matrices and ranges.
                let pair = [a.fourcc, b.fourcc];
                if !(pair.contains(&FourCc::NV12) && pair.contains(&FourCc::RGB24)) {
                    break;
                }
            }
        }
    }
}

/// ffmpeg's `transpose=clock` is a quarter turn, byte for byte.
#[test]
fn turns_are_those_of_ffmpeg() {
    for layout in [&pixfmt::NV12, &pixfmt::YUV420, &pixfmt::RGB24] {
        let Some(from) = scene(layout, size(640, 480)) else {
            return;
        };
        for (rotate, filter) in [
            (Rotate::Quarter, "transpose=clock"),
            (Rotate::Half, "hflip,vflip"),
            (Rotate::ThreeQuarters, "transpose=cclock"),
        ] {
            let target = if swaps(rotate) {
                size(480, 640)
            } else {
                from.size
            };
            let wanted = filtered(&from, filter, layout, target).expect("it started before");
            let mut to = Owned::filled(layout, target, 0, 0);
            let job = Job {
                rotate,
                ..Job::whole(from.size, target, SD)
            };
            run(&job, &from, &mut to);
            assert!(to == wanted, "{layout:?} {filter}");
        }
    }
}
