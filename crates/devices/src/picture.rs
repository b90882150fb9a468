//! Pictures in memory: how samples are laid out, and the colour arithmetic all devices share.

use vb3_v4l2::FourCc;

mod color;

pub(crate) use color::byte;
pub use color::{Rgb, Yuv};

/// Narrowest and lowest picture, and the step of both measures, in pixels.
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
    /// Takes a size; `None` if it is odd, too small or too large.
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

    /// The nearest size there is, not larger where possible.
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

/// How the samples of a picture follow each other. Where lines lie in memory, and in how many
/// planes, is the pixel format's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Y0 U Y1 V, 4:2:2.
    Yuyv,
    /// A plane of Y, then one of UV pairs for 2x2 pixels, 4:2:0.
    Nv12,
    /// R, G, B.
    Rgb24,
}

impl Layout {
    /// The layout behind a pixel format; `None` for one that devices do not speak.
    #[must_use]
    pub const fn of(fourcc: FourCc) -> Option<Self> {
        match fourcc {
            FourCc::YUYV => Some(Self::Yuyv),
            FourCc::NV12 | FourCc::NV12M => Some(Self::Nv12),
            FourCc::RGB24 => Some(Self::Rgb24),
            _ => None,
        }
    }

    /// ffmpeg's name of it.
    #[must_use]
    pub const fn ffmpeg_name(self) -> &'static str {
        match self {
            Self::Yuyv => "yuyv422",
            Self::Nv12 => "nv12",
            Self::Rgb24 => "rgb24",
        }
    }

    /// Bytes of a line and lines of component `index`; `None` if there is no such component.
    #[must_use]
    pub const fn component(self, size: Size, index: usize) -> Option<(usize, usize)> {
        let (width, height) = (size.width as usize, size.height as usize);
        match (self, index) {
            (Self::Yuyv, 0) => Some((width * 2, height)),
            (Self::Rgb24, 0) => Some((width * 3, height)),
            (Self::Nv12, 0) => Some((width, height)),
            (Self::Nv12, 1) => Some((width, height / 2)),
            _ => None,
        }
    }

    /// Bytes of a picture without padding: at most 27 MiB.
    #[must_use]
    pub const fn bytes(self, size: Size) -> usize {
        let pixels = size.width as usize * size.height as usize;
        match self {
            Self::Yuyv => pixels * 2,
            Self::Nv12 => pixels + pixels / 2,
            Self::Rgb24 => pixels * 3,
        }
    }
}

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

/// A picture with its lines packed, components one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    layout: Layout,
    size: Size,
    data: Vec<u8>,
}

impl Frame {
    /// A picture of zero bytes.
    #[must_use]
    pub fn new(layout: Layout, size: Size) -> Self {
        Self {
            layout,
            size,
            data: vec![0; layout.bytes(size)],
        }
    }

    /// Wraps bytes; `None` if their number is wrong.
    #[must_use]
    pub fn from_bytes(layout: Layout, size: Size, data: Vec<u8>) -> Option<Self> {
        (data.len() == layout.bytes(size)).then_some(Self { layout, size, data })
    }

    /// Makes this a picture of another shape, keeping the memory. Contents are unspecified.
    pub fn reshape(&mut self, layout: Layout, size: Size) {
        self.data.resize(layout.bytes(size), 0);
        self.layout = layout;
        self.size = size;
    }

    /// Copies another picture, keeping the memory.
    pub fn copy_from(&mut self, other: &Self) {
        self.layout = other.layout;
        self.size = other.size;
        self.data.clear();
        self.data.extend_from_slice(&other.data);
    }

    /// How samples are laid out.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
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

    /// The lines of component `index`, packed; empty if there is no such component.
    #[must_use]
    pub fn component(&self, index: usize) -> &[u8] {
        match (self.layout, index) {
            (Layout::Nv12, _) => {
                let pixels = self.luma_bytes();
                match index {
                    0 => self.data.get(..pixels).unwrap_or(&[]),
                    1 => self.data.get(pixels..).unwrap_or(&[]),
                    _ => &[],
                }
            }
            (_, 0) => &self.data,
            _ => &[],
        }
    }

    /// As [`component`](Self::component), to change.
    pub fn component_mut(&mut self, index: usize) -> &mut [u8] {
        match (self.layout, index) {
            (Layout::Nv12, _) => {
                let pixels = self.luma_bytes();
                match index {
                    0 => self.data.get_mut(..pixels).unwrap_or(&mut []),
                    1 => self.data.get_mut(pixels..).unwrap_or(&mut []),
                    _ => &mut [],
                }
            }
            (_, 0) => &mut self.data,
            _ => &mut [],
        }
    }

    const fn luma_bytes(&self) -> usize {
        self.size.width as usize * self.size.height as usize
    }

    /// CRC-32 (IEEE) of all bytes, as `ffmpeg -f framehash -hash crc32` gives it.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(&self.data)
    }

    /// The colour of a pixel, chroma taken from the sample that covers it; black outside.
    #[must_use]
    pub fn rgb_at(&self, x: u32, y: u32) -> Rgb {
        let read = || {
            let (x, y) = (x as usize, y as usize);
            let width = self.size.width as usize;
            Some(match self.layout {
                Layout::Yuyv => {
                    let line = self.data.get(y * width * 2..)?.get(..width * 2)?;
                    let pair = line.get(x / 2 * 4..)?.get(..4)?;
                    Yuv::new(if x & 1 == 0 { pair[0] } else { pair[2] }, pair[1], pair[3]).to_rgb()
                }
                Layout::Nv12 => {
                    let luma = *self.component(0).get(y * width..)?.get(..width)?.get(x)?;
                    let line = self.component(1).get(y / 2 * width..)?.get(..width)?;
                    let pair = line.get(x / 2 * 2..)?.get(..2)?;
                    Yuv::new(luma, pair[0], pair[1]).to_rgb()
                }
                Layout::Rgb24 => {
                    let line = self.data.get(y * width * 3..)?.get(..width * 3)?;
                    let pixel = line.get(x * 3..)?.get(..3)?;
                    Rgb::new(pixel[0], pixel[1], pixel[2])
                }
            })
        };
        read().unwrap_or(Rgb::new(0, 0, 0))
    }

    /// Luma of a pixel: the Y sample, or computed from RGB.
    #[must_use]
    pub fn luma_at(&self, x: u32, y: u32) -> u8 {
        let (column, line) = (x as usize, y as usize);
        let width = self.size.width as usize;
        let read = |stride: usize, step: usize| {
            let line = self.data.get(line * stride..)?.get(..stride)?;
            line.get(column * step).copied()
        };
        match self.layout {
            Layout::Yuyv => read(width * 2, 2).unwrap_or(16),
            Layout::Nv12 => read(width, 1).unwrap_or(16),
            Layout::Rgb24 => self.rgb_at(x, y).to_yuv().y,
        }
    }

    /// The whole picture as R, G, B bytes. Exact for RGB24; for the others BT.601 in limited
    /// range, each pixel with the chroma sample that covers it (no interpolation).
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.luma_bytes() * 3);
        let width = self.size.width as usize;
        match self.layout {
            Layout::Rgb24 => out.extend_from_slice(&self.data),
            Layout::Yuyv => {
                for pair in self.data.chunks_exact(4) {
                    out.extend(Yuv::new(pair[0], pair[1], pair[3]).to_rgb().bytes());
                    out.extend(Yuv::new(pair[2], pair[1], pair[3]).to_rgb().bytes());
                }
            }
            Layout::Nv12 => {
                let chroma = self.component(1).chunks_exact(width);
                let luma = self.component(0).chunks_exact(width * 2);
                for (two_lines, chroma_line) in luma.zip(chroma) {
                    for line in two_lines.chunks_exact(width) {
                        for (y, uv) in line.chunks_exact(2).zip(chroma_line.chunks_exact(2)) {
                            out.extend(Yuv::new(y[0], uv[0], uv[1]).to_rgb().bytes());
                            out.extend(Yuv::new(y[1], uv[0], uv[1]).to_rgb().bytes());
                        }
                    }
                }
            }
        }
        out
    }

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

#[cfg(test)]
mod tests;
