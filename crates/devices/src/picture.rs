//! Pictures in memory: sample layouts, and the colour arithmetic of all devices.

use std::ops::Range;
use vb3_v4l2::{PixelFormat, pixfmt};

mod cell;
mod color;
mod paint;

pub(crate) use cell::{Reader, places};
pub(crate) use color::byte;
pub use color::{Matrix, Rgb, Yuv};
pub use paint::Rect;

/// Smallest width and height of a picture, and the step of both, in pixels.
pub const SIZE_MIN: u32 = 2;
/// Widest picture, in pixels.
pub const WIDTH_MAX: u32 = 4096;
/// Highest picture, in pixels.
pub const HEIGHT_MAX: u32 = 2304;

/// Width and height of a picture: even, from 2x2 to 4096x2304.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    width: u32,
    height: u32,
}

impl Size {
    /// Returns a size; `None` if it is odd, too small or too large.
    #[must_use]
    pub const fn new(width: u32, height: u32) -> Option<Self> {
        let even = width.is_multiple_of(SIZE_MIN) && height.is_multiple_of(SIZE_MIN);
        if even
            && width >= SIZE_MIN
            && height >= SIZE_MIN
            && width <= WIDTH_MAX
            && height <= HEIGHT_MAX
        {
            Some(Self { width, height })
        } else {
            None
        }
    }

    /// Returns the nearest supported size, not larger if possible.
    #[must_use]
    pub fn nearest(width: u32, height: u32) -> Self {
        Self {
            width: width.clamp(SIZE_MIN, WIDTH_MAX) & !1,
            height: height.clamp(SIZE_MIN, HEIGHT_MAX) & !1,
        }
    }

    /// Pixels in a line.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.width
    }

    /// Lines.
    #[must_use]
    pub const fn height(self) -> u32 {
        self.height
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Returns the bytes of a picture without padding, at most 36 MiB; zero for a compressed format.
#[must_use]
pub fn bytes(format: &PixelFormat, size: Size) -> usize {
    let planes = 0..format.components.len();
    planes
        .map(|index| component_bytes(format, size, index))
        .sum()
}

fn component_bytes(format: &PixelFormat, size: Size, index: usize) -> usize {
    let bytes = format.component_bytes(index, size.width, size.height);
    // No supported size overflows.
    bytes.unwrap_or_default()
}

/// A picture with packed lines, component after component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// A format of one memory plane.
    format: &'static PixelFormat,
    size: Size,
    matrix: Matrix,
    data: Vec<u8>,
}

impl Frame {
    /// Makes a picture of zero bytes.
    #[must_use]
    pub fn new(format: &'static PixelFormat, size: Size) -> Self {
        let format = format.in_one_plane();
        Self {
            format,
            size,
            matrix: Matrix::Bt601,
            data: vec![0; bytes(format, size)],
        }
    }

    /// Wraps bytes; `None` if their number is wrong.
    #[must_use]
    pub fn from_bytes(format: &'static PixelFormat, size: Size, data: Vec<u8>) -> Option<Self> {
        let format = format.in_one_plane();
        (data.len() == bytes(format, size)).then_some(Self {
            format,
            size,
            matrix: Matrix::Bt601,
            data,
        })
    }

    /// Changes the picture's shape and keeps the memory. Contents are unspecified.
    pub fn reshape(&mut self, format: &'static PixelFormat, size: Size) {
        self.format = format.in_one_plane();
        self.data.resize(bytes(self.format, size), 0);
        self.size = size;
    }

    /// Copies another picture, keeping the memory.
    pub fn copy_from(&mut self, other: &Self) {
        self.format = other.format;
        self.size = other.size;
        self.matrix = other.matrix;
        self.data.clear();
        self.data.extend_from_slice(&other.data);
    }

    /// Sets the matrix for the conversion to R'G'B'. The default is BT.601.
    pub const fn set_matrix(&mut self, matrix: Matrix) {
        self.matrix = matrix;
    }

    /// Returns the sample layout: a format of one memory plane.
    #[must_use]
    pub const fn format(&self) -> &'static PixelFormat {
        self.format
    }

    /// Width and height.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// All bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Returns the packed lines of component `index`; empty if there is no such component.
    #[must_use]
    pub fn component(&self, index: usize) -> &[u8] {
        self.data.get(self.range(index)).unwrap_or(&[])
    }

    /// As [`component`](Self::component), to change.
    pub fn component_mut(&mut self, index: usize) -> &mut [u8] {
        let range = self.range(index);
        self.data.get_mut(range).unwrap_or(&mut [])
    }

    fn range(&self, index: usize) -> Range<usize> {
        let before = 0..index.min(self.format.components.len());
        let start = before
            .map(|index| component_bytes(self.format, self.size, index))
            .sum();
        start..start + component_bytes(self.format, self.size, index)
    }

    /// Returns the bytes of a line of component `index`.
    fn line_bytes(&self, index: usize) -> usize {
        // CAST: widening, on every target there is.
        self.format
            .line_bytes(index, self.size.width)
            .unwrap_or_default() as usize
    }

    /// Returns the CRC-32 (IEEE) of all bytes, like `ffmpeg -f framehash -hash crc32`.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(&self.data)
    }

    /// Returns the colour of a pixel with the chroma sample that covers it; black outside.
    #[must_use]
    pub fn rgb_at(&self, x: u32, y: u32) -> Rgb {
        Reader::new(self).rgb(x, y)
    }

    /// Returns the luma of a pixel: the Y sample, or computed from RGB.
    #[must_use]
    pub fn luma_at(&self, x: u32, y: u32) -> u8 {
        Reader::new(self).luma(x, y)
    }

    /// Returns the whole picture as R, G, B bytes.
    ///
    /// Exact for RGB24. Y'CbCr uses limited range and the set matrix. Each pixel has the samples of its
    /// cell (no interpolation).
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        if *self.format == pixfmt::RGB24 {
            return self.data.clone();
        }
        let (width, height) = (self.size.width, self.size.height);
        let mut out = Vec::with_capacity(bytes(&pixfmt::RGB24, self.size));
        let reader = Reader::new(self);
        for y in 0..height {
            for x in 0..width {
                out.extend(reader.rgb(x, y).bytes());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
