//! Pixel formats: names, planes and picture sizes in bytes.

mod table;

use core::fmt;

pub use table::*;

/// Line length and size of one memory plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaneLayout {
    /// Bytes from one line to the next.
    pub bytesperline: u32,
    /// Size of the plane in bytes.
    pub sizeimage: u32,
}

/// A pixel format's four-character code (`V4L2_PIX_FMT_*`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub u32);

impl FourCc {
    /// Packs four characters.
    #[must_use]
    pub const fn new(code: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(code))
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_le_bytes().iter().try_for_each(|&byte| {
            let c = if byte.is_ascii_graphic() || byte == b' ' {
                char::from(byte)
            } else {
                '?'
            };
            write!(f, "{c}")
        })
    }
}

/// Smallest buffer for a compressed picture, in bytes.
pub const MIN_COMPRESSED_BYTES: u32 = 64 << 10;
/// Largest buffer for a compressed picture, in bytes.
pub const MAX_COMPRESSED_BYTES: u32 = 32 << 20;

/// Whether samples are luma and chroma, or RGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColorModel {
    /// Luma, with or without chroma.
    Yuv,
    /// Red, green and blue samples, also in a Bayer format.
    Rgb,
}

/// The meaning of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sample {
    /// Luma.
    Y,
    /// Blue-difference chroma.
    U,
    /// Red-difference chroma.
    V,
    /// Red.
    R,
    /// Green.
    G,
    /// Blue.
    B,
    /// Padding. A device that writes padding writes 255.
    X,
}

/// One plane of samples. It consists of rows of cells. A cell is the pattern of samples that repeats across the
/// plane, such as Y U Y V, or B G above G R in a Bayer mosaic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// The samples of a cell in memory order, line by line.
    pub cell: &'static [&'static [Sample]],
    /// Columns of the picture that a cell covers: 1, 2, 4 or 8.
    pub across: u32,
    /// Lines of the picture that a cell covers: 1, 2 or 4.
    pub down: u32,
}

impl Component {
    /// Returns the number of samples in a line of a cell.
    const fn width(&self) -> u32 {
        // CAST: a cell has a handful of samples.
        match self.cell.first() {
            Some(line) => line.len() as u32,
            None => 0,
        }
    }

    /// Returns whether a cell contains such a sample.
    #[must_use]
    pub fn has(&self, sample: Sample) -> bool {
        self.cell.iter().any(|line| line.contains(&sample))
    }
}

/// A pixel format: a row of [`TABLE`].
/// Sizes, strides, painting, conversion and recording all derive from this row.
#[derive(Clone, Copy)]
pub struct PixelFormat {
    /// Name of the format without `V4L2_PIX_FMT_`.
    pub name: &'static str,
    /// Value of `V4L2_PIX_FMT_*`.
    pub fourcc: FourCc,
    /// Description in ENUM_FMT.
    pub description: &'static str,
    /// Name of the format in ffmpeg (`-pix_fmt`), if ffmpeg can write it.
    pub ffmpeg: Option<&'static str>,
    /// Bits of a sample. A sample of more than 8 bits is stored in 16 bits, little endian: Bayer formats use
    /// the lower bits, and other formats the upper ones.
    pub bits: u32,
    /// Number of memory planes: 1, or one per component.
    pub memory_planes: usize,
    /// The format with the same samples in one memory plane, if this format has several.
    pub single: Option<&'static PixelFormat>,
    /// Planes of samples, in memory order; empty for a compressed format.
    pub components: &'static [Component],
}

impl PartialEq for PixelFormat {
    fn eq(&self, other: &Self) -> bool {
        self.fourcc == other.fourcc
    }
}

impl Eq for PixelFormat {}

impl core::hash::Hash for PixelFormat {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.fourcc.hash(state);
    }
}

impl fmt::Debug for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The metadata of a webcam: headers of USB payloads. It is no picture format, so [`TABLE`] lacks it.
pub static UVC_METADATA: PixelFormat = PixelFormat {
    name: "UVC",
    fourcc: FourCc::new(*b"UVCH"),
    description: "UVC Payload Header Metadata",
    ffmpeg: None,
    bits: 8,
    memory_planes: 1,
    single: None,
    components: &[],
};

/// Returns the formats of all tables.
pub fn all() -> impl Iterator<Item = &'static PixelFormat> {
    let tables = [TABLE, GRAPH_TABLE, LOOPBACK_TABLE];
    tables.into_iter().flatten().copied()
}

/// Finds a format by its code.
#[must_use]
pub fn lookup(fourcc: FourCc) -> Option<&'static PixelFormat> {
    all().find(|format| format.fourcc == fourcc)
}

/// Finds a format by its name or code. Prefers a code that is exactly equal, and else ignores case.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static PixelFormat> {
    let exact = all().find(|format| format.fourcc.to_string() == name);
    exact.or_else(|| {
        all().find(|format| {
            let code = format.fourcc.to_string();
            [format.name, &code]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        })
    })
}

/// The layout of one plane of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComponentLayout {
    /// Index of the memory plane.
    pub memory_plane: usize,
    /// Bytes from the start of that memory plane.
    pub offset: u64,
    /// Bytes from one line to the next.
    pub bytesperline: u32,
    /// Number of lines.
    pub lines: u32,
    /// Length of a line in bytes, without padding.
    pub line_bytes: u32,
}

impl PixelFormat {
    /// Returns whether the format is compressed. Such a format has no planes of samples.
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        self.components.is_empty()
    }

    /// Returns `Rgb` if the format has red samples; else `Yuv`, also for compressed and opaque formats.
    #[must_use]
    pub fn model(&self) -> ColorModel {
        if self.components.iter().any(|plane| plane.has(Sample::R)) {
            ColorModel::Rgb
        } else {
            ColorModel::Yuv
        }
    }

    /// Returns whether the table says only how long a pixel is, not what its bits mean, as for `RGB565`.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        !self.is_compressed() && !self.has(Sample::Y) && !self.has(Sample::R)
    }

    /// Returns whether this is a Bayer mosaic: each pixel has one colour, which depends on its column and line.
    #[must_use]
    pub fn is_mosaic(&self) -> bool {
        self.has(Sample::R) && self.components.iter().any(|plane| plane.cell.len() > 1)
    }

    /// Returns whether some plane contains such a sample.
    #[must_use]
    pub fn has(&self, sample: Sample) -> bool {
        self.components.iter().any(|plane| plane.has(sample))
    }

    /// Returns the format with the same samples in one memory plane: itself or its counterpart.
    #[must_use]
    pub fn in_one_plane(&'static self) -> &'static Self {
        self.single.unwrap_or(self)
    }

    /// Returns the numbers that width and height must be multiples of.
    #[must_use]
    pub fn align(&self) -> (u32, u32) {
        if self.is_compressed() {
            return (2, 2);
        }
        let cells = self.components.iter();
        cells.fold((1, 1), |(x, y), cell| {
            (x.max(cell.across), y.max(cell.down))
        })
    }

    /// Returns the number of bytes in which a sample is stored.
    #[must_use]
    pub const fn sample_bytes(&self) -> u32 {
        self.bits.div_ceil(8)
    }

    /// Returns the length in bytes of a cell's line in component `index`; 0 if there is no such component.
    #[must_use]
    pub fn cell_bytes(&self, index: usize) -> u32 {
        let component = self.components.get(index);
        component.map_or(0, |component| component.width() * self.sample_bytes())
    }

    /// Returns a line's length in bytes without padding; `None` on overflow or without component `index`.
    #[must_use]
    pub fn line_bytes(&self, index: usize, width: u32) -> Option<u32> {
        let component = self.components.get(index)?;
        let cells = width.div_ceil(component.across.max(1));
        cells.checked_mul(self.cell_bytes(index))
    }

    /// Returns the number of lines of component `index`; 0 if there is no such component.
    #[must_use]
    pub fn lines(&self, index: usize, height: u32) -> u32 {
        let Some(component) = self.components.get(index) else {
            return 0;
        };
        // CAST: at most 2.
        let lines = component.cell.len() as u32;
        height.div_ceil(component.down.max(1)).saturating_mul(lines)
    }

    /// Returns the size of component `index` in bytes, without padding. `None` if there is no such component,
    /// or on overflow.
    #[must_use]
    pub fn component_bytes(&self, index: usize, width: u32, height: u32) -> Option<usize> {
        let line = u64::from(self.line_bytes(index, width)?);
        let bytes = line.checked_mul(u64::from(self.lines(index, height)))?;
        usize::try_from(bytes).ok()
    }

    /// Returns the layout of a compressed format's plane: `wanted` bytes, clamped to limits.
    ///
    /// The lower limit depends on the picture size; the upper one is [`MAX_COMPRESSED_BYTES`]. If `wanted` is
    /// 0, the plane has the size of an uncompressed 4:2:0 picture, within the limits. `bytesperline` is 0.
    #[must_use]
    pub fn compressed_layout(&self, width: u32, height: u32, wanted: u32) -> PlaneLayout {
        // By default, even an incompressible 4:2:0 picture fits. The minimum leaves small pictures room for
        // headers.
        let picture = width.saturating_mul(height).saturating_mul(3) / 2;
        let least = MIN_COMPRESSED_BYTES.max(picture / 4);
        let sizeimage = match wanted {
            0 => MIN_COMPRESSED_BYTES.max(picture),
            wanted => wanted.max(least),
        };
        PlaneLayout {
            bytesperline: 0,
            sizeimage: sizeimage.min(MAX_COMPRESSED_BYTES),
        }
    }

    /// Returns the layout of memory plane `index`.
    ///
    /// The line has `bytesperline` bytes, aligned as the cells need, and at most `max_bytesperline`. A line
    /// that is too short for the samples is lengthened. `None` if there is no such plane, or on overflow.
    #[must_use]
    pub fn plane_layout(
        &self,
        index: usize,
        width: u32,
        height: u32,
        bytesperline: u32,
        max_bytesperline: u32,
    ) -> Option<PlaneLayout> {
        if index >= self.memory_planes {
            return None;
        }
        if self.is_compressed() {
            return Some(self.compressed_layout(width, height, 0));
        }
        let shortest = self.line_bytes(index, width)?;
        // A line must have whole macropixels and whole chroma lines.
        let align = self.line_alignment(index);
        let longest = max_bytesperline - max_bytesperline % align;
        let wanted = bytesperline.min(longest).checked_next_multiple_of(align)?;
        let line = wanted.min(longest).max(shortest);
        let here = if self.memory_planes == 1 {
            0..self.components.len()
        } else {
            index..index + 1
        };
        let mut size = 0u32;
        for component in here {
            let bytes = self
                .component_line(component, line)
                .checked_mul(self.lines(component, height))?;
            size = size.checked_add(bytes)?;
        }
        Some(PlaneLayout {
            bytesperline: line,
            sizeimage: size,
        })
    }

    /// Returns the location of component `index` in a picture of `width` x `height`.
    /// `layouts` has an entry for each memory plane. `None` without this component or entry, or on overflow.
    #[must_use]
    pub fn component_layout(
        &self,
        index: usize,
        width: u32,
        height: u32,
        layouts: &[PlaneLayout],
    ) -> Option<ComponentLayout> {
        let memory_plane = if self.memory_planes == 1 { 0 } else { index };
        let layout = layouts.get(memory_plane)?;
        let mut offset = 0u64;
        if self.memory_planes == 1 {
            for before in 0..index {
                let lines = u64::from(self.lines(before, height));
                let line = self.component_line(before, layout.bytesperline);
                let bytes = lines.checked_mul(u64::from(line))?;
                offset = offset.checked_add(bytes)?;
            }
        }
        Some(ComponentLayout {
            memory_plane,
            offset,
            line_bytes: self.line_bytes(index, width)?,
            bytesperline: self.component_line(index, layout.bytesperline),
            lines: self.lines(index, height),
        })
    }

    /// Returns the line stride of component `index`.
    /// `bytesperline` is the stride of the first component in the same memory plane.
    #[must_use]
    pub fn component_line(&self, index: usize, bytesperline: u32) -> u32 {
        let (Some(first), Some(here)) = (self.components.first(), self.components.get(index))
        else {
            return bytesperline;
        };
        if self.memory_planes != 1 || index == 0 {
            return bytesperline;
        }
        // A line of this component covers as many pixels as a line of the first component. So the lengths of these
        // two lines have the same ratio as the samples per pixel of the two components.
        let (upper, lower) = (here.width() * first.across, first.width() * here.across);
        let line = u64::from(bytesperline) * u64::from(upper) / u64::from(lower.max(1));
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    /// Returns the number of bytes that a line's length must be a multiple of. This number is the length of the cells
    /// that cover the smallest possible width, which [`align`](Self::align) returns. The result is 1 if that length
    /// is not a power of two, as for three-byte pixels.
    fn line_alignment(&self, index: usize) -> u32 {
        let Some(component) = self.components.get(index) else {
            return 1;
        };
        let cells = self.align().0 / component.across.max(1);
        let bytes = self.cell_bytes(index).saturating_mul(cells.max(1));
        if bytes.is_power_of_two() { bytes } else { 1 }
    }
}

#[cfg(test)]
mod tests;
