use super::*;
use crate::{Background, Picture, read_number, render};
use std::io::Write as _;
use std::process::{Command, Stdio};
use vb3_v4l2::pixfmt::Sample;

const REC709: Color = Color {
    matrix: Matrix::Bt709,
    range: Quantization::Limited,
};

impl Frame {
    /// Returns a pixel's colour, with the chroma sample that covers the pixel. Black outside the picture.
    pub(crate) fn rgb_at(&self, x: u32, y: u32) -> Rgb {
        Reader::new(self).rgb(x, y)
    }

    /// Returns a pixel's luma: the Y sample, or a value computed from R'G'B'.
    pub(crate) fn luma_at(&self, x: u32, y: u32) -> u8 {
        Reader::new(self).luma(x, y)
    }
}

/// Returns all formats that have samples, with one memory plane each.
fn formats() -> impl Iterator<Item = &'static PixelFormat> {
    let single = |format: &&PixelFormat| !format.is_compressed() && format.memory_planes == 1;
    pixfmt::TABLE.iter().copied().filter(single)
}

/// Makes a picture in which neighbouring bytes always differ.
fn scrambled(layout: &'static PixelFormat, size: Size) -> Frame {
    let bytes = (0..crate::bytes(layout, size))
        .map(|i| (i * 37 % 251) as u8)
        .collect();
    Frame::from_bytes(layout, size, bytes).expect("as many bytes as the picture has")
}

#[test]
fn sizes_are_even_and_bounded() {
    assert!(Size::new(2, 2).is_some() && Size::new(4096, 2304).is_some());
    for (width, height) in [(0, 2), (2, 0), (3, 2), (2, 3), (4098, 2), (2, 2306)] {
        assert_eq!(Size::new(width, height), None, "{width}x{height}");
    }
    assert_eq!(Some(Size::nearest(0, 5000)), Size::new(2, 2304));
    assert_eq!(Some(Size::nearest(641, 481)), Size::new(640, 480));
}

#[test]
fn colors_match_the_reference_within_one() {
    // BT.601 in limited range, from the recommendation's table of colour bars.
    let table = [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (81, 90, 240)),
        ((0, 255, 0), (145, 54, 34)),
        ((0, 0, 255), (41, 240, 110)),
        ((255, 255, 0), (210, 16, 146)),
        ((0, 255, 255), (170, 166, 16)),
        ((255, 0, 255), (106, 202, 222)),
        ((191, 191, 191), (180, 128, 128)),
    ];
    for ((r, g, b), (y, u, v)) in table {
        let rgb = Rgb::new(r, g, b);
        assert_eq!(rgb.to_yuv(), Yuv::new(y, u, v), "{rgb:?}");
        let back = rgb.to_yuv().to_rgb();
        for (was, is) in rgb.bytes().into_iter().zip(back.bytes()) {
            assert!(was.abs_diff(is) <= 2, "{rgb:?} comes back as {back:?}");
        }
    }
}

#[test]
fn whole_pictures_and_single_pixels_convert_alike() {
    let size = Size::nearest(6, 4);
    for layout in formats() {
        let frame = scrambled(layout, size);
        let mut one_by_one = Vec::new();
        for y in 0..4 {
            for x in 0..6 {
                one_by_one.extend(frame.rgb_at(x, y).bytes());
            }
        }
        assert_eq!(frame.to_rgb(), one_by_one, "{layout:?}");
    }
    let frame = Frame::from_bytes(
        &pixfmt::YUYV,
        Size::nearest(2, 2),
        vec![81, 90, 145, 240, 0, 0, 0, 0],
    )
    .expect("8 bytes");
    assert_eq!(frame.rgb_at(0, 0), Yuv::new(81, 90, 240).to_rgb());
    assert_eq!(frame.rgb_at(1, 0), Yuv::new(145, 90, 240).to_rgb());
    assert_eq!(frame.rgb_at(0, 2), Rgb::new(0, 0, 0), "outside");
    assert_eq!(frame.rgb_at(2, 0), Rgb::new(0, 0, 0), "outside");
}

#[test]
fn filling_touches_the_rectangle_and_nothing_else() {
    let size = Size::nearest(8, 6);
    let rect = Rect {
        x: 2,
        y: 2,
        width: 4,
        height: 2,
    };
    for layout in formats() {
        let mut frame = Frame::new(layout, size);
        frame.fill(
            Rect {
                x: 0,
                y: 0,
                width: 8,
                height: 6,
            },
            Yuv::grey(16),
        );
        frame.fill(rect, Yuv::new(145, 54, 34));
        for y in 0..6 {
            for x in 0..8 {
                let inside = (2..6).contains(&x) && (2..4).contains(&y);
                let color = if inside {
                    Yuv::new(145, 54, 34)
                } else {
                    Yuv::grey(16)
                };
                let seen = if layout.has(Sample::U) || layout.has(Sample::R) {
                    color
                } else {
                    Yuv::grey(color.y)
                };
                assert_eq!(frame.rgb_at(x, y), seen.to_rgb(), "{layout:?} at {x},{y}");
            }
        }
        let before = frame.clone();
        frame.fill(
            Rect {
                x: 8,
                y: 0,
                width: 4,
                height: 4,
            },
            Yuv::grey(235),
        );
        frame.fill(
            Rect {
                x: u32::MAX,
                y: u32::MAX,
                width: u32::MAX,
                height: 2,
            },
            Yuv::grey(235),
        );
        assert_eq!(
            frame, before,
            "{layout:?}: a rectangle outside paints nothing"
        );
    }
}

#[test]
fn restoring_brings_back_one_rectangle() {
    let size = Size::nearest(8, 6);
    let rect = Rect {
        x: 4,
        y: 2,
        width: 4,
        height: 4,
    };
    for layout in formats() {
        let original = scrambled(layout, size);
        let mut frame = original.clone();
        frame.fill(rect, Yuv::grey(235));
        assert_ne!(frame, original);
        frame.restore(&original, rect);
        assert_eq!(frame, original, "{layout:?}");
    }
}

#[test]
fn flips_put_every_pixel_where_it_belongs() {
    let size = Size::nearest(8, 4);
    for layout in formats().filter(|format| !format.is_mosaic()) {
        let original = scrambled(layout, size);
        for (horizontal, vertical) in [(true, false), (false, true), (true, true)] {
            let mut frame = original.clone();
            frame.flip(horizontal, vertical);
            for y in 0..4 {
                for x in 0..8 {
                    let from_x = if horizontal { 7 - x } else { x };
                    let from_y = if vertical { 3 - y } else { y };
                    assert_eq!(
                        frame.rgb_at(x, y),
                        original.rgb_at(from_x, from_y),
                        "{layout:?} at {x},{y}, flipped {horizontal} {vertical}"
                    );
                }
            }
            frame.flip(horizontal, vertical);
            assert_eq!(frame, original, "{layout:?}: two flips change nothing");
        }
    }
}

#[test]
fn wrong_numbers_of_bytes_are_no_picture() {
    let size = Size::nearest(4, 2);
    for (layout, bytes) in [
        (&pixfmt::YUYV, 16),
        (&pixfmt::NV12, 12),
        (&pixfmt::RGB24, 24),
    ] {
        assert!(Frame::from_bytes(layout, size, vec![0; bytes]).is_some());
        assert!(Frame::from_bytes(layout, size, vec![0; bytes + 1]).is_none());
    }
}

#[test]
fn high_definition_has_its_own_matrix() {
    // Red, green and blue in BT.709, limited range.
    let table = [
        (Yuv::new(63, 102, 240), [255, 0, 0]),
        (Yuv::new(173, 42, 26), [0, 255, 0]),
        (Yuv::new(32, 240, 118), [0, 0, 255]),
        (Yuv::grey(235), [255, 255, 255]),
    ];
    for (color, wanted) in table {
        let got = color.to_rgb_by(REC709).bytes();
        for (is, should) in got.into_iter().zip(wanted) {
            assert!(is.abs_diff(should) <= 2, "{color:?}: {got:?}");
        }
        let mut frame = Frame::new(&pixfmt::NV12, Size::nearest(2, 2));
        let everywhere = Rect {
            x: 0,
            y: 0,
            width: 2,
            height: 2,
        };
        frame.fill(everywhere, color);
        frame.set_color(REC709);
        assert_eq!(frame.to_rgb(), got.repeat(4));
        assert_eq!(frame.rgb_at(1, 1).bytes(), got);
    }
}

/// A mosaic's cells move as a whole, so each sample keeps its colour.
#[test]
fn flips_keep_the_order_of_a_mosaic() {
    let size = Size::nearest(4, 4);
    // The cells A and B above C and D. Each has the lines 1 and 2.
    let bytes = b"A1B1A2B2C1D1C2D2".to_vec();
    let mut frame = Frame::from_bytes(&pixfmt::SBGGR8, size, bytes).expect("16 bytes");
    frame.flip(true, false);
    assert_eq!(frame.bytes(), b"B1A1B2A2D1C1D2C2");
    frame.flip(false, true);
    assert_eq!(frame.bytes(), b"D1C1D2C2B1A1B2A2");
}

/// Runs ffmpeg and returns its output. Without ffmpeg, prints the reason and returns `None`.
pub(crate) fn ffmpeg(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let started = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(arguments)
        .args(["-f", "rawvideo", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(e) => {
            vb3_skip::skip(format_args!("ffmpeg does not start ({e})"));
            return None;
        }
    };
    let mut pipe = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().expect("ffmpeg ends");
    assert!(output.status.success(), "ffmpeg failed: {arguments:?}");
    writer.join().expect("a writer").expect("ffmpeg reads all");
    Some(output.stdout)
}

/// Converts raw bytes with ffmpeg. Without ffmpeg, prints the reason and returns `None`.
fn filtered(input: &[u8], pixels: &str, size: Size, filter: &str) -> Option<Vec<u8>> {
    let size = size.to_string();
    let from = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", &size, "-i", "-"];
    ffmpeg(&[&from[..], &["-vf", filter]].concat(), input)
}

/// ffmpeg decodes the pattern in each format to the RGB24 picture.
///
/// Luma and primaries agree to three of 256 levels in each pixel. For a mosaic, this holds where neighbouring
/// cells are alike.
#[test]
fn ffmpeg_sees_the_same_picture_in_every_format() {
    let size = Size::nearest(320, 240);
    let draw = |format| render(format, size, 0x5a5a, Background::Bars, &Picture::default());
    let rgb = draw(&pixfmt::RGB24);
    for format in formats() {
        let frame = draw(format);
        assert_eq!(read_number(&frame), (0x5a5a, 32), "{format}");
        let reading = "scale=in_color_matrix=bt601:in_range=tv:\
                       flags=neighbor+accurate_rnd+full_chroma_int,format=rgb24";
        let name = match format.fourcc {
            vb3_v4l2::FourCc::GREY => {
                // For grey, ffmpeg extracts the Y plane of the same picture.
                let filter = "extractplanes=y";
                let Some(luma) = filtered(draw(&pixfmt::NV12).bytes(), "nv12", size, filter) else {
                    return;
                };
                assert!(frame.bytes() == luma, "GREY");
                continue;
            }
            vb3_v4l2::FourCc::NV16 => {
                // swscale does not read this format. Its planes are yuv422p's, with chroma in pairs.
                let yuyv = draw(&pixfmt::YUYV);
                let Some(planes) = filtered(yuyv.bytes(), "yuyv422", size, "format=yuv422p") else {
                    return;
                };
                let (luma, chroma) = planes.split_at(planes.len() / 2);
                let (u, v) = chroma.split_at(chroma.len() / 2);
                let pairs: Vec<u8> = u.iter().zip(v).flat_map(|(u, v)| [*u, *v]).collect();
                assert!(
                    frame.component(0) == luma && frame.component(1) == pairs,
                    "NV16"
                );
                continue;
            }
            vb3_v4l2::FourCc::SBGGR8 => "bayer_bggr8",
            vb3_v4l2::FourCc::SRGGB8 => "bayer_rggb8",
            _ => format.ffmpeg.expect("ffmpeg reads it"),
        };
        let Some(seen) = filtered(frame.bytes(), name, size, reading) else {
            return;
        };
        assert_eq!(seen.len(), rgb.bytes().len(), "{format}");
        let far = seen
            .iter()
            .zip(rgb.bytes())
            .filter(|(a, b)| a.abs_diff(**b) > 3);
        let share = far.count() * 100 / seen.len();
        let allowed = if format.is_mosaic() { 6 } else { 0 };
        assert!(
            share <= allowed,
            "{format}: {share} % of all samples differ"
        );
    }
}
