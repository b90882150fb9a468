//! The meaning of each byte in a picture's cells, from the format's entry in the table of formats. A cell is
//! the smallest repeated part of a component (a plane of samples).

use super::{Frame, Rgb, Yuv};
use vb3_v4l2::PixelFormat;
use vb3_v4l2::pixfmt::{Component, Sample};

/// Returns the offset of the byte that has a sample's upper 8 bits.
const fn upper(format: &PixelFormat) -> usize {
    // CAST: the offset is 0 or 1.
    format.sample_bytes() as usize - 1
}

/// Returns the positions of all samples of kind `sample` in a component's cell. A position is a line of the
/// cell and a byte in this line.
pub fn places(format: &PixelFormat, component: &Component, sample: Sample) -> Vec<(usize, usize)> {
    let step = format.sample_bytes() as usize;
    let lines = component.cell.iter().enumerate();
    lines
        .flat_map(|(line, samples)| samples.iter().enumerate().map(move |(at, s)| (line, at, s)))
        .filter(|(_, _, found)| **found == sample)
        .map(|(line, at, _)| (line, at * step + upper(format)))
        .collect()
}

/// A picture's samples of one kind (Y, U, V, R, G or B), and their positions in a cell.
#[derive(Clone, Copy, Debug)]
struct Taps<'a> {
    data: &'a [u8],
    line_bytes: usize,
    cell_bytes: usize,
    /// Lines of memory that a cell has.
    lines: usize,
    across: usize,
    down: usize,
    /// The two samples to average, as line and byte, for each half of a cell.
    at: [[(usize, usize); 2]; 2],
}

impl<'a> Taps<'a> {
    /// Finds the samples of one kind; `None` if the picture has none.
    fn new(frame: &'a Frame, sample: Sample) -> Option<Self> {
        let format = frame.format;
        let mut planes = format.components.iter().enumerate();
        let (index, component) = planes.find(|(_, component)| component.has(sample))?;
        let found = places(format, component, sample);
        let (first, last) = (*found.first()?, *found.last()?);
        let across = component.across as usize;
        // Either each column has its own sample, or all columns share the cell's samples.
        let own = found.len() == across && component.cell.len() == 1;
        Some(Self {
            data: frame.component(index),
            line_bytes: frame.line_bytes(index),
            cell_bytes: format.cell_bytes(index) as usize,
            lines: component.cell.len(),
            across,
            down: component.down as usize,
            at: if own {
                [[first; 2], [last; 2]]
            } else {
                [[first, last]; 2]
            },
        })
    }

    fn get(&self, x: usize, y: usize) -> Option<u8> {
        let start = x / self.across * self.cell_bytes;
        let [a, b] = self
            .at
            .get(x % self.across * 2 / self.across)?
            .map(|(line, byte)| {
                let line = (y / self.down * self.lines + line) * self.line_bytes;
                self.data.get(line + start + byte).copied()
            });
        // CAST: a mean of bytes is a byte.
        Some(((u16::from(a?) + u16::from(b?) + 1) >> 1) as u8)
    }
}

/// Reads the pixels of a picture from the upper 8 bits of each sample.
#[derive(Debug)]
pub struct Reader<'a> {
    frame: &'a Frame,
    /// The samples of Y, U and V, or of R, G and B.
    taps: [Option<Taps<'a>>; 3],
    is_rgb: bool,
}

impl<'a> Reader<'a> {
    /// Makes a reader of a picture.
    #[must_use]
    pub fn new(frame: &'a Frame) -> Self {
        let is_rgb = frame.format.has(Sample::R);
        let kinds = if is_rgb {
            [Sample::R, Sample::G, Sample::B]
        } else {
            [Sample::Y, Sample::U, Sample::V]
        };
        Self {
            frame,
            taps: kinds.map(|kind| Taps::new(frame, kind)),
            is_rgb,
        }
    }

    /// Returns a pixel's three samples, neutral for missing chroma; `None` outside the picture.
    fn samples(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.frame.size.width || y >= self.frame.size.height {
            return None;
        }
        let mut out = [128; 3];
        for (to, taps) in out.iter_mut().zip(&self.taps) {
            if let Some(taps) = taps {
                *to = taps.get(x as usize, y as usize)?;
            }
        }
        Some(out)
    }

    /// Returns a pixel's colour. Black outside the picture.
    pub fn rgb(&self, x: u32, y: u32) -> Rgb {
        match self.samples(x, y) {
            Some([r, g, b]) if self.is_rgb => Rgb::new(r, g, b),
            Some([y, u, v]) => Yuv::new(y, u, v).to_rgb_by(self.frame.color),
            None => Rgb::new(0, 0, 0),
        }
    }

    /// Returns a pixel's luma: the Y sample, or a value computed from R'G'B'.
    pub fn luma(&self, x: u32, y: u32) -> u8 {
        match self.samples(x, y) {
            Some([r, g, b]) if self.is_rgb => Rgb::new(r, g, b).to_yuv().y,
            Some([y, ..]) => y,
            None => 16,
        }
    }
}
