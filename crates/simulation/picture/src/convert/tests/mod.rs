//! Test pictures, and separate arithmetic that reads them.

mod bounds;
mod exact;
mod oracle;

use super::{Job, Rotate, View, ViewMut, plane};
use crate::{Color, Matrix, Quantization, Rect, Size};
use vb3_v4l2::{FourCc, PixelFormat, pixfmt};

/// All supported formats that have one memory plane.
const FORMATS: [&PixelFormat; 5] = [
    &pixfmt::YUYV,
    &pixfmt::NV12,
    &pixfmt::YUV420,
    &pixfmt::RGB24,
    &pixfmt::XBGR32,
];

fn is_yuv(format: &PixelFormat) -> bool {
    format.model() == pixfmt::ColorModel::Yuv
}

/// BT.601 in limited range.
const SD: Color = Color {
    matrix: Matrix::Bt601,
    range: Quantization::Limited,
};

fn size(width: u32, height: u32) -> Size {
    Size::new(width, height).expect("a valid size")
}

/// Returns whether a rotation exchanges width and height.
fn swaps(rotate: Rotate) -> bool {
    matches!(rotate, Rotate::Quarter | Rotate::ThreeQuarters)
}

fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    Rect {
        x,
        y,
        width,
        height,
    }
}

/// Returns pseudo-random numbers, which depend only on the seed.
fn noise(seed: u64) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // CAST: only the lowest byte is used.
        (state >> 24) as u8
    }
}

/// A picture with separate planes. Each plane ends with its last line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    layout: &'static PixelFormat,
    size: Size,
    planes: Vec<(Vec<u8>, usize)>,
}

impl Owned {
    /// Makes a picture whose bytes all have one value, with `pad` bytes of padding in each line.
    fn filled(layout: &'static PixelFormat, size: Size, pad: usize, byte: u8) -> Self {
        let planes = (0..layout.components.len())
            .map(|index| {
                let (line, lines) = plane(layout, size, index).expect("a plane");
                (vec![byte; (line + pad) * (lines - 1) + line], line + pad)
            })
            .collect();
        Self {
            layout,
            size,
            planes,
        }
    }

    fn noisy(layout: &'static PixelFormat, size: Size, pad: usize, seed: u64) -> Self {
        let mut picture = Self::filled(layout, size, pad, 0);
        let mut next = noise(seed);
        for byte in picture.planes.iter_mut().flat_map(|plane| &mut plane.0) {
            *byte = next();
        }
        picture
    }

    fn view(&self) -> View<'_> {
        let planes = self
            .planes
            .iter()
            .map(|(data, stride)| (&data[..], *stride));
        View::new(self.layout, self.size, planes).expect("valid planes")
    }

    fn view_mut(&mut self) -> ViewMut<'_> {
        let planes = self.planes.iter_mut();
        let planes = planes.map(|(data, stride)| (&mut data[..], *stride));
        ViewMut::new(self.layout, self.size, planes).expect("valid planes")
    }

    /// Returns plane and offset of a pixel's three samples: Y, U and V, or R, G and B.
    fn places(&self, x: u32, y: u32) -> [(usize, usize); 3] {
        let (x, y) = (x as usize, y as usize);
        let at = |plane: usize, column: usize, line: usize| {
            (plane, line * self.planes[plane].1 + column)
        };
        match self.layout.fourcc {
            FourCc::YUYV => [
                at(0, x * 2, y),
                at(0, x / 2 * 4 + 1, y),
                at(0, x / 2 * 4 + 3, y),
            ],
            FourCc::NV12 => [
                at(0, x, y),
                at(1, x / 2 * 2, y / 2),
                at(1, x / 2 * 2 + 1, y / 2),
            ],
            FourCc::YUV420 => [at(0, x, y), at(1, x / 2, y / 2), at(2, x / 2, y / 2)],
            FourCc::RGB24 => [at(0, x * 3, y), at(0, x * 3 + 1, y), at(0, x * 3 + 2, y)],
            FourCc::XBGR32 => [at(0, x * 4 + 2, y), at(0, x * 4 + 1, y), at(0, x * 4, y)],
            other => unreachable!("{other}"),
        }
    }

    /// Returns the three samples of a pixel.
    fn at(&self, x: u32, y: u32) -> [u8; 3] {
        self.places(x, y)
            .map(|(plane, byte)| self.planes[plane].0[byte])
    }

    fn set(&mut self, x: u32, y: u32, samples: [u8; 3]) {
        for ((plane, byte), sample) in self.places(x, y).into_iter().zip(samples) {
            self.planes[plane].0[byte] = sample;
        }
    }

    /// Returns a copy that has the bytes of `rect` from `other`.
    fn with_window_of(&self, other: &Self, rect: Rect) -> Self {
        let mut out = self.clone();
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                out.set(x, y, other.at(x, y));
                if self.layout == &pixfmt::XBGR32 {
                    let byte = y as usize * self.planes[0].1 + x as usize * 4 + 3;
                    out.planes[0].0[byte] = other.planes[0].0[byte];
                }
            }
        }
        out
    }

    /// Returns the part inside `rect` as a picture without padding.
    fn part(&self, rect: Rect) -> Self {
        let mut out = Self::filled(self.layout, size(rect.width, rect.height), 0, 255);
        for y in 0..rect.height {
            for x in 0..rect.width {
                out.set(x, y, self.at(rect.x + x, rect.y + y));
            }
        }
        out
    }

    /// Returns all bytes without padding.
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, (data, stride)) in self.planes.iter().enumerate() {
            let (line, lines) = plane(self.layout, self.size, index).expect("a plane");
            for y in 0..lines {
                out.extend_from_slice(&data[y * stride..][..line]);
            }
        }
        out
    }

    /// Makes a picture from the result of [`bytes`](Self::bytes).
    fn from_bytes(layout: &'static PixelFormat, size: Size, bytes: &[u8]) -> Self {
        let mut picture = Self::filled(layout, size, 0, 0);
        let mut rest = bytes;
        for (data, _) in &mut picture.planes {
            let (head, tail) = rest.split_at(data.len());
            data.copy_from_slice(head);
            rest = tail;
        }
        assert!(rest.is_empty(), "bytes of another picture");
        picture
    }
}

/// Runs a job on a new converter.
fn run(job: &Job, from: &Owned, to: &mut Owned) {
    let mut converter = super::Converter::new();
    converter
        .run(job, &from.view(), &mut to.view_mut())
        .expect("the job can be done");
}
