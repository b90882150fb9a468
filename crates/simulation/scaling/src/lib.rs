//! Scales planes of bytes with the `fast_image_resize` crate.
//!
//! That crate's code is generic, so each crate that calls it compiles it, which takes long with optimisation.
//! This crate compiles it once. Its tests are in `tests/`: unit tests would compile it again.
#![forbid(unsafe_code)]

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

use core::iter::zip;
use core::ops::Range;
use fast_image_resize::images::{
    TypedCroppedImage, TypedCroppedImageMut, TypedImage, TypedImageRef,
};
use fast_image_resize::pixels::{U8, U8x2};
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
    /// Number of lines. The memory must contain the whole stride of each line, also of the last one.
    pub lines: usize,
}

impl Cells {
    /// Returns stride, left edge, width and lines in cells, as fast_image_resize wants them.
    fn measures(self) -> Option<[u32; 4]> {
        let cells = |bytes: usize| u32::try_from(bytes.checked_div(self.bytes)?).ok();
        Some([
            cells(self.stride)?,
            cells(self.left)?,
            u32::try_from(self.width).ok()?,
            u32::try_from(self.lines).ok()?,
        ])
    }

    /// Returns the range of the cells in their line, in bytes; `None` if `memory` bytes are too few for the plane.
    fn span(self, memory: usize) -> Option<Range<usize>> {
        let end = self.width.checked_mul(self.bytes)?.checked_add(self.left)?;
        let fits = end <= self.stride && self.stride.checked_mul(self.lines)? <= memory;
        fits.then_some(self.left..end)
    }
}

/// Scales planes, and keeps its working memory for the next ones.
#[derive(Debug, Default)]
pub struct Resizer {
    /// Made when the first plane is scaled: making it examines the processor, which takes long on virtual machines.
    inner: Option<fast_image_resize::Resizer>,
    /// A part of each cell, before and after scaling.
    parts: [Vec<u8>; 2],
}

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
            3 => {
                self.resize_part::<3, 0, 2>(from, (&mut *to.0, to.1))?;
                self.resize_part::<3, 2, 1>(from, to)
            }
            4 => {
                self.resize_part::<4, 0, 2>(from, (&mut *to.0, to.1))?;
                self.resize_part::<4, 2, 2>(from, to)
            }
            _ => None,
        }
    }

    /// Scales `LEN` bytes from byte `AT` on of each cell of `N` bytes. Such cells are rarely scaled: only from R'G'B'
    /// to R'G'B'. Scaling them at once would be faster, but compiling the crate's code for them takes longer than
    /// for all other cells.
    fn resize_part<const N: usize, const AT: usize, const LEN: usize>(
        &mut self,
        (from, from_cells): (&[u8], Cells),
        (to, to_cells): (&mut [u8], Cells),
    ) -> Option<()> {
        let from_span = from_cells.span(from.len())?;
        let to_span = to_cells.span(to.len())?;
        if from_span.is_empty() || to_span.is_empty() {
            return Some(());
        }
        // The copies have no padding, so they need less memory than the plane, and these products cannot overflow.
        let dense = |cells: Cells| Cells {
            bytes: LEN,
            stride: cells.width * LEN,
            left: 0,
            ..cells
        };
        let (from_part, to_part) = (dense(from_cells), dense(to_cells));
        let [mut source, mut target] = core::mem::take(&mut self.parts);
        source.resize(from_part.stride * from_part.lines, 0);
        target.resize(to_part.stride * to_part.lines, 0);
        let parts = source.chunks_exact_mut(from_part.stride);
        for (part, line) in zip(parts, from.chunks_exact(from_cells.stride)) {
            let cells = line[from_span.clone()].as_chunks::<N>().0;
            for (part, cell) in zip(part.as_chunks_mut::<LEN>().0, cells) {
                part.copy_from_slice(&cell[AT..AT + LEN]);
            }
        }
        self.resize((&source, from_part), (&mut target, to_part))?;
        let parts = target.chunks_exact(to_part.stride);
        for (part, line) in zip(parts, to.chunks_exact_mut(to_cells.stride)) {
            let cells = line[to_span.clone()].as_chunks_mut::<N>().0;
            for (part, cell) in zip(part.as_chunks::<LEN>().0, cells) {
                cell[AT..AT + LEN].copy_from_slice(part);
            }
        }
        self.parts = [source, target];
        Some(())
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
        let inner = self.inner.get_or_insert_default();
        inner.resize_typed(&source, &mut target, &options).ok()
    }
}
