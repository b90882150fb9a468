//! Pictures in memory: sample layouts, colours, conversion and scaling, and the test pattern.
//!
//! A [`Frame`] is a picture with its own memory. [`convert`] converts a picture to another format and size.
//! [`mosaic`] makes the lines that image sensors send. [`render`] paints the test pattern, whose frames show their
//! numbers. Nothing here knows devices or queues.
#![forbid(unsafe_code)]

use std::ops::Range;
use vb3_v4l2::{PixelFormat, pixfmt};

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod convert;
pub mod mosaic;

mod cell;
mod color;
mod controls;
mod paint;
mod pattern;

pub use cell::{Reader, places};
use color::byte;
pub use color::{Color, Matrix, Quantization, Rgb, Yuv};
pub use controls::{Adjust, Picture};
pub use paint::Rect;
pub use pattern::{Background, NUMBER_BITS, Pattern, read_number, render};

/// Minimum width and height of a picture, and the step of both, in pixels.
pub const SIZE_MIN: u32 = 2;
/// Maximum width of a picture, in pixels.
pub const WIDTH_MAX: u32 = 4096;
/// Maximum height of a picture, in lines.
pub const HEIGHT_MAX: u32 = 2304;

/// Width and height of a picture: even numbers, from 2x2 to 4096x2304.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    width: u32,
    height: u32,
}

impl Size {
    /// Makes a size; `None` if a side is odd, too small or too large.
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

    /// Returns the nearest supported size. It is not larger than requested, if possible.
    #[must_use]
    pub fn nearest(width: u32, height: u32) -> Self {
        Self {
            width: width.clamp(SIZE_MIN, WIDTH_MAX) & !1,
            height: height.clamp(SIZE_MIN, HEIGHT_MAX) & !1,
        }
    }

    /// Returns the width in pixels.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.width
    }

    /// Returns the height in lines.
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

/// Returns the bytes of a picture without padding, at most 36 MiB; 0 for a compressed format.
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

/// A picture in memory: all components (planes of samples) one after the other, without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The pixel format, which has one memory plane.
    format: &'static PixelFormat,
    size: Size,
    color: Color,
    data: Vec<u8>,
}

impl Frame {
    /// Makes a picture whose bytes are all zero.
    #[must_use]
    pub fn new(format: &'static PixelFormat, size: Size) -> Self {
        let format = format.in_one_plane();
        Self {
            format,
            size,
            color: Color::default(),
            data: vec![0; bytes(format, size)],
        }
    }

    /// Makes a picture of these bytes; `None` if their number is wrong.
    #[must_use]
    pub fn from_bytes(format: &'static PixelFormat, size: Size, data: Vec<u8>) -> Option<Self> {
        let format = format.in_one_plane();
        (data.len() == bytes(format, size)).then_some(Self {
            format,
            size,
            color: Color::default(),
            data,
        })
    }

    /// Changes the picture's format and size, but keeps its memory. The contents are then unspecified.
    pub fn reshape(&mut self, format: &'static PixelFormat, size: Size) {
        self.format = format.in_one_plane();
        self.data.resize(bytes(self.format, size), 0);
        self.size = size;
    }

    /// Sets the encoding of Y'CbCr, which a conversion to R'G'B' uses. The default is BT.601 with limited range.
    pub const fn set_color(&mut self, color: Color) {
        self.color = color;
    }

    /// Returns the pixel format, which has one memory plane.
    #[must_use]
    pub const fn format(&self) -> &'static PixelFormat {
        self.format
    }

    /// Returns the width and height.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Returns all bytes of the picture.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// Returns all bytes of the picture for changes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Returns the lines of component `index` without padding; empty if there is no such component.
    #[must_use]
    pub fn component(&self, index: usize) -> &[u8] {
        self.data.get(self.range(index)).unwrap_or(&[])
    }

    /// Returns the lines of component `index` for changes.
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

    /// Returns the bytes in a line of component `index`.
    fn line_bytes(&self, index: usize) -> usize {
        // CAST: widening, on every target there is.
        self.format
            .line_bytes(index, self.size.width)
            .unwrap_or_default() as usize
    }

    /// Returns the CRC-32 (IEEE) of all bytes, as `ffmpeg -f framehash -hash crc32` does.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(&self.data)
    }

    /// Returns the whole picture as RGB24 bytes.
    ///
    /// The result is exact for RGB24. For Y'CbCr, it uses the picture's encoding. Each pixel uses
    /// the chroma sample that covers the pixel, without interpolation.
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
