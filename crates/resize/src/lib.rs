//! Scales planes of bytes with the `fast_image_resize` crate.
//!
//! That crate's code is generic, so each crate that calls it compiles it, which takes minutes with
//! optimisation. This crate compiles it once. Its tests are in `tests/`: unit tests would compile it again.
#![forbid(unsafe_code)]

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

use fast_image_resize::images::{
    TypedCroppedImage, TypedCroppedImageMut, TypedImage, TypedImageRef,
};
use fast_image_resize::pixels::{U8, U8x2, U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions};

/// The cells of a plane in its memory. A cell is the bytes that are scaled together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    /// Bytes of a cell, from 1 to 4.
    pub bytes: usize,
    /// Bytes from a line to the next, a multiple of a cell.
    pub stride: usize,
    /// Bytes before the first cell of a line, a multiple of a cell.
    pub left: usize,
    /// Cells of a line.
    pub width: usize,
    /// Number of lines. The memory has each with its padding.
    pub lines: usize,
}

impl Cells {
    /// Returns stride, left edge, width and lines for the crate, in cells.
    fn measures(self) -> Option<[u32; 4]> {
        let cells = |bytes: usize| u32::try_from(bytes.checked_div(self.bytes)?).ok();
        Some([
            cells(self.stride)?,
            cells(self.left)?,
            u32::try_from(self.width).ok()?,
            u32::try_from(self.lines).ok()?,
        ])
    }
}

/// Scales planes, and keeps memory for this.
#[derive(Debug, Default)]
pub struct Resizer(fast_image_resize::Resizer);

impl Resizer {
    /// Scales a plane into another one with cells of the same size. Returns `None` if the memory is too
    /// short for its cells.
    pub fn resize(&mut self, from: (&[u8], Cells), to: (&mut [u8], Cells)) -> Option<()> {
        if from.1.bytes != to.1.bytes {
            return None;
        }
        match from.1.bytes {
            1 => self.resize_as::<U8>(from, to),
            2 => self.resize_as::<U8x2>(from, to),
            3 => self.resize_as::<U8x3>(from, to),
            4 => self.resize_as::<U8x4>(from, to),
            _ => None,
        }
    }

    fn resize_as<P: PixelTrait>(
        &mut self,
        (from, from_cells): (&[u8], Cells),
        (to, to_cells): (&mut [u8], Cells),
    ) -> Option<()> {
        let [stride, left, width, lines] = from_cells.measures()?;
        let source = TypedImageRef::<P>::from_buffer(stride, lines, from).ok()?;
        let source = TypedCroppedImage::new(source, left, 0, width, lines).ok()?;

        let [stride, left, width, lines] = to_cells.measures()?;
        let target = TypedImage::<P>::from_buffer(stride, lines, to).ok()?;
        let mut target = TypedCroppedImageMut::new(target, left, 0, width, lines).ok()?;

        // All samples of a cell are colours, none is alpha.
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .use_alpha(false);
        self.0.resize_typed(&source, &mut target, &options).ok()
    }
}
