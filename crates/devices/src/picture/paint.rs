//! Painting: rectangles and mirrors.

use super::{Frame, Layout, Size, Yuv};

/// A rectangle of whole 2x2 blocks; measures in pixels.
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
    /// The part inside `size`, with all edges rounded down to even numbers; `None` if empty.
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
    /// Fills a rectangle with one colour. Edges are rounded down to even pixels.
    pub fn fill(&mut self, rect: Rect, color: Yuv) {
        let Some(rect) = rect.inside(self.size) else {
            return;
        };
        let rgb = color.to_rgb();
        let (left, top) = (rect.x as usize, rect.y as usize);
        let (width, height) = (rect.width as usize, rect.height as usize);
        match self.layout {
            Layout::Yuyv => {
                let cell = [color.y, color.u, color.y, color.v];
                self.fill_lines(0, (left * 2, width * 2), (top, height), &cell);
            }
            Layout::Rgb24 => {
                let cell = [rgb.r, rgb.g, rgb.b];
                self.fill_lines(0, (left * 3, width * 3), (top, height), &cell);
            }
            Layout::Nv12 => {
                self.fill_lines(0, (left, width), (top, height), &[color.y]);
                let cell = [color.u, color.v];
                self.fill_lines(1, (left, width), (top / 2, height / 2), &cell);
            }
        }
    }

    /// Fills `columns` (first byte, bytes) of `lines` (first, count) with copies of `cell`.
    fn fill_lines(
        &mut self,
        component: usize,
        columns: (usize, usize),
        lines: (usize, usize),
        cell: &[u8],
    ) {
        let Some((line_bytes, _)) = self.layout.component(self.size, component) else {
            return;
        };
        let area = self.component_mut(component).chunks_exact_mut(line_bytes);
        for line in area.skip(lines.0).take(lines.1) {
            let Some(part) = line.get_mut(columns.0..columns.0 + columns.1) else {
                return;
            };
            for to in part.chunks_exact_mut(cell.len()) {
                to.copy_from_slice(cell);
            }
        }
    }

    /// Copies a rectangle from a picture of the same shape; does nothing for another shape.
    pub fn restore(&mut self, from: &Self, rect: Rect) {
        if (self.layout, self.size) != (from.layout, from.size) {
            return;
        }
        let Some(rect) = rect.inside(self.size) else {
            return;
        };
        for index in 0..2 {
            let Some((line_bytes, lines)) = self.layout.component(self.size, index) else {
                break;
            };
            // Bytes of a line for one pixel, and lines of the picture for one line of this.
            let (pixel, step) = (
                line_bytes / self.size.width as usize,
                self.size.height as usize / lines,
            );
            let columns = rect.x as usize * pixel..(rect.x + rect.width) as usize * pixel;
            let to = self.component_mut(index).chunks_exact_mut(line_bytes);
            let from = from.component(index).chunks_exact(line_bytes);
            let (first, count) = (rect.y as usize / step, rect.height as usize / step);
            for (to, from) in to.zip(from).skip(first).take(count) {
                if let (Some(to), Some(from)) =
                    (to.get_mut(columns.clone()), from.get(columns.clone()))
                {
                    to.copy_from_slice(from);
                }
            }
        }
    }

    /// Turns the picture over, left to right and upside down.
    pub fn flip(&mut self, horizontal: bool, vertical: bool) {
        let components = if self.layout == Layout::Nv12 { 2 } else { 1 };
        for index in 0..components {
            let Some((line_bytes, lines)) = self.layout.component(self.size, index) else {
                return;
            };
            let layout = self.layout;
            let data = self.component_mut(index);
            if vertical {
                let (upper, lower) = data.split_at_mut(lines / 2 * line_bytes);
                let below = lower.chunks_exact_mut(line_bytes).rev();
                for (a, b) in upper.chunks_exact_mut(line_bytes).zip(below) {
                    a.swap_with_slice(b);
                }
            }
            if horizontal {
                for line in data.chunks_exact_mut(line_bytes) {
                    mirror(line, layout, index);
                }
            }
        }
    }
}

fn mirror(line: &mut [u8], layout: Layout, component: usize) {
    let cell = match (layout, component) {
        (Layout::Yuyv, _) => 4,
        (Layout::Rgb24, _) => 3,
        (Layout::Nv12, 0) => 1,
        (Layout::Nv12, _) => 2,
    };
    // The whole line backwards, then each cell forwards again.
    line.reverse();
    for bytes in line.chunks_exact_mut(cell) {
        bytes.reverse();
        if layout == Layout::Yuyv {
            bytes.swap(0, 2);
        }
    }
}
