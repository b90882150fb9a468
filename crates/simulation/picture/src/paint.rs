//! Painting in pictures: rectangles, repeated lines and mirrors.

use super::{Frame, Size, Yuv, places};
use std::ops::Range;
use vb3_v4l2::PixelFormat;
use vb3_v4l2::pixfmt::Sample;

/// A rectangle in pixels, used in whole 2x2 blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Rect {
    /// Returns the part inside `size`. Rounds all edges down to even numbers; `None` if nothing is left.
    fn inside(self, size: Size) -> Option<Self> {
        let right = self.x.saturating_add(self.width).min(size.width) & !1;
        let bottom = self.y.saturating_add(self.height).min(size.height) & !1;
        let (x, y) = (self.x & !1, self.y & !1);
        let (width, height) = (right.checked_sub(x)?, bottom.checked_sub(y)?);
        (width > 0 && height > 0).then_some(Self {
            x,
            y,
            width,
            height,
        })
    }
}

impl Frame {
    /// Fills a rectangle with one colour. Rounds the rectangle's edges down to even numbers.
    pub fn fill(&mut self, rect: Rect, color: Yuv) {
        let Some(rect) = rect.inside(self.size) else {
            return;
        };
        let rgb = color.to_rgb();
        let format = self.format;
        let value = |sample| match sample {
            Sample::Y => color.y,
            Sample::U => color.u,
            Sample::V => color.v,
            Sample::R => rgb.r,
            Sample::G => rgb.g,
            Sample::B => rgb.b,
            Sample::X => 255,
        };
        for (index, component) in format.components.iter().enumerate() {
            let area = Area::new(format, index, rect);
            for (line, samples) in component.cell.iter().enumerate() {
                let mut cell = [0; CELL_MAX];
                let bytes = area.cell_bytes.min(CELL_MAX);
                let step = (bytes / samples.len().max(1)).max(1);
                for (to, sample) in cell.chunks_exact_mut(step).zip(*samples) {
                    // The last byte of a sample has its upper 8 bits.
                    if let Some(upper) = to.last_mut() {
                        *upper = value(*sample);
                    }
                }
                let cell = cell.get(..bytes).unwrap_or_default();
                self.fill_lines(index, &area, (line, component.cell.len()), cell);
            }
        }
    }

    /// Fills lines of an area with copies of `cell` (the bytes of the smallest part of a line that repeats): from
    /// line `lines.0` on, every `lines.1`th line. Makes the first of these lines, and copies this line to the
    /// others.
    fn fill_lines(&mut self, component: usize, area: &Area, lines: (usize, usize), cell: &[u8]) {
        let line_bytes = self.line_bytes(component).max(1);
        let mut every = self
            .component_mut(component)
            .chunks_exact_mut(line_bytes)
            .skip(area.lines.start)
            .take(area.lines.len())
            .skip(lines.0)
            .step_by(lines.1.max(1))
            .filter_map(|line| line.get_mut(area.columns.clone()));
        let Some(first) = every.next() else {
            return;
        };
        repeat(cell, first);
        for line in every {
            line.copy_from_slice(first);
        }
    }

    /// Returns the upper lines of the picture, at most `lines`.
    pub(crate) fn top(&self, lines: u32) -> Self {
        let size = Size::nearest(self.size.width, self.size.height.min(lines));
        let mut top = Self::new(self.format, size);
        for index in 0..self.format.components.len() {
            let to = top.component_mut(index);
            if let Some(from) = self.component(index).get(..to.len()) {
                to.copy_from_slice(from);
            }
        }
        top
    }

    /// Copies a rectangle from a picture of the same format and width; does nothing for another picture.
    /// If the picture `from` has fewer lines, they repeat.
    pub fn restore(&mut self, from: &Self, rect: Rect) {
        if (self.format, self.size.width) != (from.format, from.size.width) {
            return;
        }
        let Some(rect) = rect.inside(self.size) else {
            return;
        };
        for index in 0..self.format.components.len() {
            let area = Area::new(self.format, index, rect);
            let line_bytes = self.line_bytes(index).max(1);
            let to = self.component_mut(index).chunks_exact_mut(line_bytes);
            let from = from.component(index).chunks_exact(line_bytes);
            let first = area.lines.start % from.len().max(1);
            let from = from.cycle().skip(first);
            let lines = to.skip(area.lines.start).zip(from);
            for (to, from) in lines.take(area.lines.len()) {
                let columns = area.columns.clone();
                if let (Some(to), Some(from)) = (to.get_mut(columns.clone()), from.get(columns)) {
                    to.copy_from_slice(from);
                }
            }
        }
    }

    /// Repeats a strip of the same format and width, down from the top or up from the bottom. Cells of
    /// several lines (a sensor's mosaic) stay whole.
    pub(crate) fn repeat(&mut self, strip: &Self, from_below: bool) {
        let format = self.format;
        if (format, self.size.width) != (strip.format, strip.size.width) {
            return;
        }
        for (index, component) in format.components.iter().enumerate() {
            let row = self.line_bytes(index).max(1) * component.cell.len().max(1);
            let mut to = self.component_mut(index).chunks_exact_mut(row);
            let mut from = strip.component(index).chunks_exact(row).cycle();
            let next = || match from_below {
                true => to.next_back(),
                false => to.next(),
            };
            for (to, from) in std::iter::from_fn(next).zip(&mut from) {
                to.copy_from_slice(from);
            }
        }
    }

    /// Mirrors the picture horizontally or vertically. Cells of several lines (a sensor's mosaic) move as a
    /// whole.
    pub fn flip(&mut self, horizontal: bool, vertical: bool) {
        let format = self.format;
        for (index, component) in format.components.iter().enumerate() {
            let line_bytes = self.line_bytes(index).max(1);
            let row = line_bytes * component.cell.len().max(1);
            let data = self.component_mut(index);
            if vertical {
                let rows = data.len() / row;
                let (upper, lower) = data.split_at_mut(rows / 2 * row);
                let below = lower.chunks_exact_mut(row).rev();
                for (a, b) in upper.chunks_exact_mut(row).zip(below) {
                    a.swap_with_slice(b);
                }
            }
            if horizontal {
                let order: Vec<Vec<usize>> = (component.cell.iter())
                    .map(|samples| mirrored(format, samples))
                    .collect();
                for (line, order) in data.chunks_exact_mut(line_bytes).zip(order.iter().cycle()) {
                    mirror(line, order);
                }
            }
        }
    }

    /// Takes over the samples of an RGB24 or YUYV picture of the same size.
    ///
    /// The target's format must have no vertical chroma subsampling. The caller uses this only for formats that
    /// ffmpeg cannot write, and none of these has vertical chroma subsampling.
    pub fn take_samples(&mut self, from: &Self) {
        let format = self.format;
        let Some(source) = from.format.components.first() else {
            return;
        };
        // CAST: widening, on every target there is.
        let pixel = (from.format.cell_bytes(0) / source.across.max(1)) as usize;
        let place = |sample| {
            let found = places(from.format, source, sample);
            found.first().map_or(0, |(_, byte)| *byte)
        };
        for (index, component) in format.components.iter().enumerate() {
            let across = component.across as usize;
            // For each byte of a cell: where the source has its sample, as an offset from the cell's first
            // pixel.
            let offsets = component.cell.iter().map(|samples| {
                let column = |at: usize, sample| match sample {
                    // All pixels of the cell share these samples.
                    Sample::U | Sample::V => 0,
                    _ => at * across / samples.len(),
                };
                let samples = samples.iter().enumerate();
                samples
                    .map(|(at, sample)| column(at, *sample) * pixel + place(*sample))
                    .collect::<Vec<usize>>()
            });
            let offsets: Vec<Vec<usize>> = offsets.collect();
            let lines = self.line_bytes(index).max(1);
            let lines = self.component_mut(index).chunks_exact_mut(lines);
            let sources = from.component(0).chunks_exact(from.line_bytes(0).max(1));
            for ((to, source), offsets) in lines.zip(sources).zip(offsets.iter().cycle()) {
                let cells = to.chunks_exact_mut(offsets.len().max(1));
                for (cell, start) in cells.zip((0..).step_by((across * pixel).max(1))) {
                    for (to, offset) in cell.iter_mut().zip(offsets) {
                        *to = source.get(start + offset).copied().unwrap_or_default();
                    }
                }
            }
        }
    }
}

/// Maximum number of bytes in a line of a cell.
const CELL_MAX: usize = 8;

/// Fills `to` with copies of `cell`, by copying the filled part until it is large enough.
fn repeat(cell: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(cell) {
        *to = *from;
    }
    let mut filled = cell.len().min(to.len());
    while filled > 0 && filled < to.len() {
        let more = filled.min(to.len() - filled);
        to.copy_within(..more, filled);
        filled += more;
    }
}

/// A rectangle in a component's memory: bytes of each line, and lines.
struct Area {
    columns: Range<usize>,
    lines: Range<usize>,
    cell_bytes: usize,
}

impl Area {
    fn new(format: &PixelFormat, index: usize, rect: Rect) -> Self {
        // CAST: widening, on every target there is.
        let column = |x| format.line_bytes(index, x).unwrap_or_default() as usize;
        let line = |y| format.lines(index, y) as usize;
        Self {
            columns: column(rect.x)..column(rect.x + rect.width),
            lines: line(rect.y)..line(rect.y + rect.height),
            cell_bytes: format.cell_bytes(index) as usize,
        }
    }
}

/// Exchanges left and right in a line of cells. `order` says where each sample of a mirrored cell was.
fn mirror(line: &mut [u8], order: &[usize]) {
    match order.len() {
        0 => {}
        1 => line.reverse(),
        2 => mirror_cells::<2>(line, order),
        3 => mirror_cells::<3>(line, order),
        4 => mirror_cells::<4>(line, order),
        len => {
            let before = line.to_vec();
            let cells = before.chunks_exact(len).rev();
            for (to, from) in line.chunks_exact_mut(len).zip(cells) {
                for (to, at) in to.iter_mut().zip(order) {
                    *to = from.get(*at).copied().unwrap_or_default();
                }
            }
        }
    }
}

/// Does the work of [`mirror`] for cells of `N` samples, but faster: all devices wait while a picture is mirrored.
fn mirror_cells<const N: usize>(line: &mut [u8], order: &[usize]) {
    let cells = line.as_chunks_mut::<N>().0;
    cells.reverse();
    let order: [usize; N] =
        std::array::from_fn(|at| order.get(at).map_or(at, |it| (*it).min(N - 1)));
    if order != std::array::from_fn(|at| at) {
        for cell in cells {
            let before = *cell;
            *cell = order.map(|at| before[at]);
        }
    }
}

/// Returns, for each byte of a cell's line, the byte that replaces it when columns are mirrored. Samples are
/// exchanged if each column has its own sample.
fn mirrored(format: &PixelFormat, samples: &[Sample]) -> Vec<usize> {
    // CAST: widening, on every target there is.
    let step = format.sample_bytes() as usize;
    let place = |at: usize, sample: Sample| {
        let alike = |index: &usize| samples.get(*index) == Some(&sample);
        let before = (0..at).filter(alike).count();
        (0..samples.len())
            .rev()
            .filter(alike)
            .nth(before)
            .unwrap_or(at)
    };
    let order = samples
        .iter()
        .enumerate()
        .map(|(at, sample)| place(at, *sample));
    order.flat_map(|at| at * step..(at + 1) * step).collect()
}
