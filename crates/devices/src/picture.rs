//! Pictures in memory: how samples are laid out, and the colour arithmetic all devices share.

use vb3_v4l2::FourCc;

mod color;
mod paint;

pub(crate) use color::byte;
pub use color::{Matrix, Rgb, Yuv};
pub use paint::Rect;

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

/// A picture with its lines packed, components one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    layout: Layout,
    size: Size,
    matrix: Matrix,
    data: Vec<u8>,
}

impl Frame {
    /// A picture of zero bytes.
    #[must_use]
    pub fn new(layout: Layout, size: Size) -> Self {
        Self {
            layout,
            size,
            matrix: Matrix::Bt601,
            data: vec![0; layout.bytes(size)],
        }
    }

    /// Wraps bytes; `None` if their number is wrong.
    #[must_use]
    pub fn from_bytes(layout: Layout, size: Size, data: Vec<u8>) -> Option<Self> {
        (data.len() == layout.bytes(size)).then_some(Self {
            layout,
            size,
            matrix: Matrix::Bt601,
            data,
        })
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
        self.matrix = other.matrix;
        self.data.clear();
        self.data.extend_from_slice(&other.data);
    }

    /// Says how the samples become R'G'B', which is by BT.601 otherwise.
    pub const fn set_matrix(&mut self, matrix: Matrix) {
        self.matrix = matrix;
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
                    Yuv::new(if x & 1 == 0 { pair[0] } else { pair[2] }, pair[1], pair[3])
                        .to_rgb_by(self.matrix)
                }
                Layout::Nv12 => {
                    let luma = *self.component(0).get(y * width..)?.get(..width)?.get(x)?;
                    let line = self.component(1).get(y / 2 * width..)?.get(..width)?;
                    let pair = line.get(x / 2 * 2..)?.get(..2)?;
                    Yuv::new(luma, pair[0], pair[1]).to_rgb_by(self.matrix)
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

    /// The whole picture as R, G, B bytes. Exact for RGB24; for the others limited range and
    /// the matrix that was set, each pixel with the chroma sample that covers it (no interpolation).
    #[must_use]
    pub fn to_rgb(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.luma_bytes() * 3);
        let width = self.size.width as usize;
        match self.layout {
            Layout::Rgb24 => out.extend_from_slice(&self.data),
            Layout::Yuyv => {
                for pair in self.data.chunks_exact(4) {
                    out.extend(
                        Yuv::new(pair[0], pair[1], pair[3])
                            .to_rgb_by(self.matrix)
                            .bytes(),
                    );
                    out.extend(
                        Yuv::new(pair[2], pair[1], pair[3])
                            .to_rgb_by(self.matrix)
                            .bytes(),
                    );
                }
            }
            Layout::Nv12 => {
                let chroma = self.component(1).chunks_exact(width);
                let luma = self.component(0).chunks_exact(width * 2);
                for (two_lines, chroma_line) in luma.zip(chroma) {
                    for line in two_lines.chunks_exact(width) {
                        for (y, uv) in line.chunks_exact(2).zip(chroma_line.chunks_exact(2)) {
                            out.extend(Yuv::new(y[0], uv[0], uv[1]).to_rgb_by(self.matrix).bytes());
                            out.extend(Yuv::new(y[1], uv[0], uv[1]).to_rgb_by(self.matrix).bytes());
                        }
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
