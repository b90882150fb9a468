//! Picture formats, frame sizes and intervals.

use crate::pixfmt::{ColorModel, FourCc, PixelFormat, PlaneLayout};
use vb3_queue::MAX_PLANES;

/// `V4L2_FIELD_NONE`: progressive.
pub(crate) const FIELD_NONE: u32 = 1;
/// Longest line that a program may request, in bytes.
pub(crate) const MAX_BYTESPERLINE: u32 = 1 << 16;

/// Whether buffers hold pictures, single- or multi-planar (`*_MPLANE`), or metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Planarity {
    /// `V4L2_BUF_TYPE_VIDEO_CAPTURE` or `_OUTPUT`.
    Single,
    /// `V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE` or `_OUTPUT_MPLANE`.
    Multi,
    /// `V4L2_BUF_TYPE_META_CAPTURE` or `_OUTPUT`. Only the format's code and buffer size have a meaning.
    Meta,
}

/// Colorimetry: colour space, transfer function, encoding and range. Zero means the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colorimetry {
    /// `V4L2_COLORSPACE_*`.
    pub colorspace: u32,
    /// `V4L2_XFER_FUNC_*`.
    pub xfer_func: u32,
    /// `V4L2_YCBCR_ENC_*`.
    pub ycbcr_enc: u32,
    /// `V4L2_QUANTIZATION_*`.
    pub quantization: u32,
}

impl Colorimetry {
    /// Returns the colorimetry of a colour model: Rec. 709 for luma and chroma, sRGB for RGB.
    #[must_use]
    pub const fn for_model(model: ColorModel) -> Self {
        let colorspace = match model {
            ColorModel::Yuv => 3,
            ColorModel::Rgb => 8,
        };
        Self {
            colorspace,
            xfer_func: 0,
            ycbcr_enc: 0,
            quantization: 0,
        }
    }

    /// Replaces unknown values, and values that raw pictures cannot have, by `model`'s.
    #[must_use]
    pub const fn sanitized(self, model: ColorModel) -> Self {
        // Colour space 4 is obsolete (BT.878), and 7 is only for JPEG.
        match self.colorspace {
            1..=3 | 5 | 6 | 8..=12 => self.with_known_parts(),
            _ => Self::for_model(model),
        }
    }

    /// Replaces an unknown transfer function, encoding or range by the default.
    pub(crate) const fn with_known_parts(self) -> Self {
        const fn known(value: u32, last: u32) -> u32 {
            if value <= last { value } else { 0 }
        }
        Self {
            colorspace: self.colorspace,
            xfer_func: known(self.xfer_func, 7),
            ycbcr_enc: known(self.ycbcr_enc, 8),
            quantization: known(self.quantization, 2),
        }
    }
}

/// A picture format, as S_FMT sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Pixel format.
    pub fourcc: FourCc,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// Colours.
    pub color: Colorimetry,
    /// Layout of each memory plane; zero from index `num_planes` on.
    pub planes: [PlaneLayout; MAX_PLANES],
    /// Memory planes, 1 to [`MAX_PLANES`].
    pub num_planes: usize,
}

impl Format {
    /// Returns the smallest layout of a picture; `None` if a length does not fit in 32 bits.
    #[must_use]
    pub fn new(pixel: &PixelFormat, width: u32, height: u32) -> Option<Self> {
        let mut format = Self {
            width,
            height,
            fourcc: pixel.fourcc,
            field: FIELD_NONE,
            color: Colorimetry::for_model(pixel.model()),
            planes: [PlaneLayout::default(); MAX_PLANES],
            num_planes: pixel.memory_planes.min(MAX_PLANES),
        };
        let planes = format.planes.iter_mut().take(pixel.memory_planes);
        for (index, plane) in planes.enumerate() {
            *plane = pixel.plane_layout(index, width, height, 0, MAX_BYTESPERLINE)?;
        }
        Some(format)
    }

    /// Returns a format of metadata, with a buffer size of `len_bytes`.
    #[must_use]
    pub fn meta(fourcc: FourCc, len_bytes: u32) -> Self {
        let mut planes = [PlaneLayout::default(); MAX_PLANES];
        if let Some(first) = planes.first_mut() {
            first.sizeimage = len_bytes;
        }
        Self {
            width: 0,
            height: 0,
            fourcc,
            field: FIELD_NONE,
            color: Colorimetry::default(),
            planes,
            num_planes: 1,
        }
    }

    /// Returns the layouts of the existing memory planes.
    #[must_use]
    pub fn layouts(&self) -> &[PlaneLayout] {
        self.planes.get(..self.num_planes).unwrap_or(&[])
    }

    /// Adjusts a program's `wanted` format to a supported one.
    ///
    /// The pixel format is one of `formats` (by default the first), the size one of `sizes`, and the field
    /// order progressive. The program's line length is kept if it is longer than necessary, up to a limit.
    /// The sizes of the planes follow from the adjusted format; only CREATE_BUFS makes larger planes.
    ///
    /// With `keep_color` (for OUTPUT devices), the program's colorimetry is kept; else it is the pixel
    /// format's.
    ///
    /// Returns `None` only if the driver offers no format, or one with a size beyond 32 bits.
    #[must_use]
    pub fn negotiate(
        wanted: &Self,
        formats: &[&'static PixelFormat],
        sizes: FrameSizes<'_>,
        keep_color: bool,
    ) -> Option<Self> {
        let pixel = formats
            .iter()
            .find(|p| p.fourcc == wanted.fourcc)
            .or_else(|| formats.first())?;
        let (width, height) = sizes.nearest((wanted.width, wanted.height), pixel.align());
        let mut format = Self::new(pixel, width, height)?;
        let planes = format.planes.iter_mut().zip(&wanted.planes);
        for (index, (plane, asked)) in planes.take(pixel.memory_planes).enumerate() {
            if pixel.is_compressed() {
                *plane = pixel.compressed_layout(width, height, asked.sizeimage);
                continue;
            }
            let line = asked.bytesperline;
            *plane = pixel.plane_layout(index, width, height, line, MAX_BYTESPERLINE)?;
        }
        if keep_color {
            format.color = wanted.color.sanitized(pixel.model());
        }
        Some(format)
    }
}

/// Frame sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSizes<'a> {
    /// Discrete (width, height) pairs, in the order of enumeration. At least one; multiples of the
    /// pixel formats' alignments.
    Discrete(&'a [(u32, u32)]),
    /// A single width and height.
    One(u32, u32),
    /// A range with steps.
    Stepwise {
        /// Smallest width, largest width and step, in pixels.
        width: (u32, u32, u32),
        /// Smallest height, largest height and step, in lines.
        height: (u32, u32, u32),
    },
}

impl FrameSizes<'_> {
    /// Returns the nearest offered size.
    ///
    /// Of discrete sizes, the nearest has the smallest sum of the differences in width and height. Of a
    /// range, it is the largest size up to `wanted` that is on the steps and a multiple of `align`.
    ///
    /// Source: Linux `v4l2_find_nearest_size`.
    #[must_use]
    pub fn nearest(&self, wanted: (u32, u32), align: (u32, u32)) -> (u32, u32) {
        match *self {
            Self::Discrete(sizes) => {
                let far = |size: &&(u32, u32)| {
                    u64::from(size.0.abs_diff(wanted.0)) + u64::from(size.1.abs_diff(wanted.1))
                };
                sizes.iter().min_by_key(far).copied().unwrap_or_default()
            }
            Self::One(width, height) => (width, height),
            Self::Stepwise { width, height } => (
                nearest(wanted.0, width, align.0),
                nearest(wanted.1, height, align.1),
            ),
        }
    }

    /// Returns whether a picture of this size is offered.
    #[must_use]
    pub fn contains(&self, width: u32, height: u32) -> bool {
        match self {
            Self::Discrete(sizes) => sizes.contains(&(width, height)),
            Self::One(..) | Self::Stepwise { .. } => {
                self.nearest((width, height), (1, 1)) == (width, height)
            }
        }
    }
}

fn nearest(wanted: u32, (min, max, step): (u32, u32, u32), align: u32) -> u32 {
    let step = step.max(align).max(1);
    let min = min.checked_next_multiple_of(align.max(1)).unwrap_or(min);
    let clamped = wanted.clamp(min, max.max(min));
    let offset = clamped.saturating_sub(min);
    min.saturating_add(offset - offset % step)
}

/// A fraction, e.g. seconds per frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// The number above the line.
    pub numerator: u32,
    /// The number below the line; not zero.
    pub denominator: u32,
}

impl Fraction {
    /// Makes a fraction.
    #[must_use]
    pub const fn new(numerator: u32, denominator: u32) -> Self {
        Self {
            numerator,
            denominator,
        }
    }

    /// Converts seconds to nanoseconds; `None` if the denominator is zero.
    #[must_use]
    pub const fn as_nanos(self) -> Option<u64> {
        // CAST: widening.
        let upper = self.numerator as u64 * 1_000_000_000;
        upper.checked_div(self.denominator as u64)
    }
}

/// Frame intervals in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameIntervals<'a> {
    /// One of these intervals.
    Discrete(&'a [Fraction]),
    /// A single interval.
    One(Fraction),
    /// A range with steps.
    Stepwise {
        /// Shortest interval.
        min: Fraction,
        /// Longest interval.
        max: Fraction,
        /// Difference of neighbouring intervals.
        step: Fraction,
    },
    /// Any interval from a shortest to a longest.
    Continuous {
        /// Shortest interval.
        min: Fraction,
        /// Longest interval.
        max: Fraction,
    },
}

#[cfg(test)]
mod tests;
