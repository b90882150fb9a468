//! The format and rate of cameras and displays.

use crate::description::Description;
use crate::place::is_uvc;
use crate::shown::BufferPlanes;
use crate::spec::{DeviceSpec, MAX_FPS, Profile, same};
use crate::streaming::Formats;
use crate::surface::{EINVAL, PictureCursor, Surface, Trouble, align_lines, each_run, resume};
use std::sync::Arc;
use vb3_picture::{Color, Frame, HEIGHT_MAX, Matrix, Quantization, SIZE_MIN, Size, WIDTH_MAX};
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{
    Bus, Colorimetry, Flow, Format, FourCc, Fraction, FrameIntervals, FrameSizes, PixelFormat,
    Planarity, Rect, Timings,
    pixfmt::{self, ColorModel},
    sys,
};

/// The devices' colorimetry: sRGB primaries. For Y'CbCr, this implies BT.601 in limited range, which
/// [`vb3_picture`] uses.
pub(crate) const COLOR: Colorimetry = Colorimetry::for_model(ColorModel::Rgb);

/// The sizes that all devices support.
pub(crate) const SIZES: FrameSizes<'_> = FrameSizes::Stepwise {
    width: (SIZE_MIN, WIDTH_MAX, SIZE_MIN),
    height: (SIZE_MIN, HEIGHT_MAX, SIZE_MIN),
};

/// The intervals that all devices support.
pub(crate) const INTERVALS: FrameIntervals<'_> = FrameIntervals::Continuous {
    min: Fraction::new(1, MAX_FPS),
    max: Fraction::new(1, 1),
};

/// Returns the offered interval that is nearest to the wanted one; `None` if none is offered.
pub(crate) fn nearest_interval(offered: FrameIntervals<'_>, wanted: Fraction) -> Option<Fraction> {
    let cross = |a: u32, b: u32| u64::from(a) * u64::from(b);
    let is_below = |a: Fraction, b: Fraction| {
        cross(a.numerator, b.denominator) < cross(b.numerator, a.denominator)
    };
    match offered {
        FrameIntervals::Continuous { min, max } | FrameIntervals::Stepwise { min, max, .. } => {
            Some(match (wanted, offered) {
                (long, _) if !is_below(long, max) => max,
                (short, _) if is_below(short, min) => min,
                (_, FrameIntervals::Stepwise { step, .. }) => nearest_step((min, step), wanted),
                _ => wanted,
            })
        }
        FrameIntervals::One(one) => Some(one),
        FrameIntervals::Discrete(all) => {
            let wanted = wanted.as_nanos()?;
            let far = |interval: &&Fraction| interval.as_nanos().map(|ns| ns.abs_diff(wanted));
            all.iter().min_by_key(far).copied()
        }
    }
}

/// Returns the interval nearest to `wanted` that is whole steps longer than the shortest. `wanted` is not
/// shorter. Intervals that 32-bit numbers cannot express are in units of 100 ns.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_v4l2.c `uvc_try_frame_interval`.
fn nearest_step((min, step): (Fraction, Fraction), wanted: Fraction) -> Fraction {
    let ns = |interval: Fraction| interval.as_nanos().unwrap_or(0);
    let beyond = ns(wanted).saturating_sub(ns(min));
    let step_ns = ns(step).max(1);
    let steps = beyond.saturating_add(step_ns / 2) / step_ns;
    let exact = || {
        let added = u32::try_from(steps).ok()?.checked_mul(step.numerator)?;
        let numerator = (min.numerator.checked_mul(step.denominator)?)
            .checked_add(added.checked_mul(min.denominator)?)?;
        let denominator = min.denominator.checked_mul(step.denominator)?;
        let (mut a, mut b) = (numerator, denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Some(Fraction::new(numerator / a, denominator / a))
    };
    exact().unwrap_or_else(|| {
        let units = ns(min).saturating_add(steps.saturating_mul(step_ns)) / 100;
        Fraction::new(u32::try_from(units).unwrap_or(u32::MAX), 10_000_000)
    })
}

/// Returns the colorimetry that a display assumes if the program sets none.
fn told_nothing(fourcc: FourCc) -> Colorimetry {
    pixfmt::lookup(fourcc).map_or(COLOR, |pixel| Colorimetry::for_model(pixel.model()))
}

/// Returns the colorimetry of a camera's pictures. JPEG files have BT.601 in full range.
pub(crate) fn captured(pixel: &PixelFormat) -> Colorimetry {
    match pixel.is_compressed() {
        true => Colorimetry {
            ycbcr_enc: sys::V4L2_YCBCR_ENC_601,
            quantization: sys::V4L2_QUANTIZATION_FULL_RANGE,
            ..COLOR
        },
        false => COLOR,
    }
}

/// Returns the size that uvcvideo would choose of discrete ones: with the smallest area outside the overlap
/// with `wanted`. Returns other sizes unchanged.
///
/// Source: Linux 7.2 drivers/media/usb/uvc/uvc_v4l2.c `uvc_v4l2_try_format`, with its 32-bit numbers.
pub(crate) fn uvc_size(sizes: FrameSizes<'_>, wanted: (u32, u32)) -> FrameSizes<'_> {
    let FrameSizes::Discrete(all) = sizes else {
        return sizes;
    };
    let outside = |&&(width, height): &&(u32, u32)| {
        let area = |width: u32, height: u32| width.wrapping_mul(height);
        let overlap = area(width.min(wanted.0), height.min(wanted.1));
        let sum = area(width, height).wrapping_add(area(wanted.0, wanted.1));
        sum.wrapping_sub(overlap.wrapping_mul(2))
    };
    let nearest = all.iter().min_by_key(outside);
    nearest.map_or(sizes, |&(width, height)| FrameSizes::One(width, height))
}

const fn upside_down(rate: Fraction) -> Fraction {
    Fraction::new(rate.denominator, rate.numerator)
}

/// Usual sizes of webcams, the largest first.
const USUAL_SIZES: [(u32, u32); 9] = [
    (1920, 1080),
    (1280, 720),
    (1024, 576),
    (800, 600),
    (640, 480),
    (640, 360),
    (320, 240),
    (320, 180),
    (160, 120),
];
/// Usual rates of webcams in frames per second, the highest first.
const USUAL_RATES: [u32; 9] = [60, 50, 30, 25, 24, 20, 15, 10, 5];

/// The discrete sizes and intervals that a camera offers. The first of each is the default.
struct Offer {
    sizes: Vec<(u32, u32)>,
    intervals: Vec<Fraction>,
}

impl Offer {
    /// Returns the sizes and rates that a SPEC names. If it names none, returns those of the source first,
    /// then the usual ones that do not exceed the source's.
    fn new(
        spec: &DeviceSpec,
        size: Size,
        interval: Fraction,
        native: Option<(Size, Fraction)>,
    ) -> Self {
        let measures = |size: Size| (size.width(), size.height());
        let most = native.map_or(USUAL_SIZES[0], |(size, _)| measures(size));
        let mut sizes = USUAL_SIZES.to_vec();
        sizes.retain(|size| size.0 <= most.0 && size.1 <= most.1);
        let mut intervals = USUAL_RATES.map(|rate| Fraction::new(1, rate)).to_vec();
        intervals.retain(|usual| usual.as_nanos() >= interval.as_nanos());
        let listed_sizes = spec.sizes.iter().copied().map(measures).collect();
        let listed_intervals = spec.rates.iter().copied().map(upside_down).collect();
        let first = (measures(size), spec.size.is_some());
        Self {
            sizes: offered(listed_sizes, first, sizes, |a, b| a == b),
            intervals: offered(
                listed_intervals,
                (interval, spec.fps.is_some()),
                intervals,
                same,
            ),
        }
    }
}

/// Returns the listed values. If there are none, returns `first`, followed by the usual ones unless `is_only`.
fn offered<T: Copy>(
    listed: Vec<T>,
    (first, is_only): (T, bool),
    mut usual: Vec<T>,
    is_same: impl Fn(T, T) -> bool,
) -> Vec<T> {
    if !listed.is_empty() {
        return listed;
    }
    usual.retain(|one| !is_only && !is_same(*one, first));
    usual.insert(0, first);
    usual
}

/// Returns the Y'CbCr encoding of a V4L2 colour description.
pub(crate) const fn color_of(color: &Colorimetry) -> Color {
    Color {
        matrix: match (color.ycbcr_enc, color.colorspace) {
            (sys::V4L2_YCBCR_ENC_709 | sys::V4L2_YCBCR_ENC_XV709, _)
            | (0, sys::V4L2_COLORSPACE_REC709 | sys::V4L2_COLORSPACE_DCI_P3) => Matrix::Bt709,
            (sys::V4L2_YCBCR_ENC_BT2020, _) | (0, sys::V4L2_COLORSPACE_BT2020) => Matrix::Bt2020,
            _ => Matrix::Bt601,
        },
        // Colour space 7 (JPEG), whose default is full range, is only for JPEG files.
        range: match color.quantization {
            sys::V4L2_QUANTIZATION_FULL_RANGE => Quantization::Full,
            _ => Quantization::Limited,
        },
    }
}

/// The current format and rate of a device, and those that it supports.
pub(crate) struct Mode {
    pub(crate) planarity: Planarity,
    pub(crate) formats: Vec<&'static PixelFormat>,
    pub(crate) format: Format,
    pub(crate) interval: Fraction,
    default_interval: Fraction,
    /// Whether the device is a camera, which sets the colorimetry itself.
    captures: bool,
    /// Whether the device is a USB webcam, whose S_FMT resets the interval.
    is_uvc: bool,
    /// Discrete sizes and rates that are offered; `None` if all are offered.
    offer: Option<Offer>,
    like: Option<Arc<Description>>,
    /// Line lengths are multiples of this many bytes.
    stride: u32,
}

/// Returns the formats of a camera or display that `accepts` allows.
pub(crate) fn formats(
    spec: &DeviceSpec,
    accepts: impl Fn(&PixelFormat) -> bool,
) -> Vec<&'static PixelFormat> {
    let wanted = spec.formats.iter();
    let all: Vec<_> = match spec.formats.is_empty() {
        true => pixfmt::TABLE.to_vec(),
        // A loopback's further formats have no samples to paint.
        false => wanted
            .filter_map(|fourcc| pixfmt::TABLE.iter().find(|pixel| pixel.fourcc == *fourcc))
            .copied()
            .collect(),
    };
    all.into_iter()
        .filter(|pixel| spec.mplane || pixel.memory_planes == 1)
        .filter(|pixel| accepts(pixel))
        .collect()
}

/// Returns the format and the interval that a real camera has at first, from its description.
fn described(like: &Description) -> Option<(Format, Fraction)> {
    let format = like.first_format()?;
    let mode = like.file.mode.as_ref();
    let wanted = mode.map_or(Fraction::new(1, 30), |mode| mode.get_ref().interval.0);
    let offered = like.intervals(format.fourcc, (format.width, format.height));
    Some((format, nearest_interval(offered, wanted)?))
}

impl Mode {
    /// Makes the mode of a SPEC, with the source's defaults. `None` for an unsupported format.
    pub(crate) fn new(
        spec: &DeviceSpec,
        captures: bool,
        native: Option<(Size, Fraction)>,
    ) -> Option<Self> {
        let formats = spec.offered_formats();
        let (native_size, native_interval) = native.unzip();
        let size = spec
            .size
            .or(spec.sizes.first().copied())
            .or(native_size)
            .unwrap_or(Size::nearest(640, 480));
        let stride = spec.stride.unwrap_or(1);
        let specified = || {
            let pixel = match spec.format {
                Some(wanted) => formats.iter().find(|pixel| pixel.fourcc == wanted),
                None => formats.first(),
            }?;
            let format = Format::new(pixel, size.width(), size.height())?;
            let mut format = align_lines(format, &formats, stride)?;
            format.color = if captures {
                captured(pixel)
            } else {
                told_nothing(pixel.fourcc)
            };
            Some(format)
        };
        let asked = spec
            .fps
            .or(spec.rates.first().copied())
            .map(upside_down)
            .or(native_interval)
            .unwrap_or(Fraction::new(1, 30));
        let (format, interval) = match &spec.like {
            Some(like) => described(like)?,
            None => (specified()?, asked),
        };
        let lists = captures && spec.like.is_none() && spec.profile() == Profile::Webcam;
        Some(Self {
            offer: lists.then(|| Offer::new(spec, size, interval, native)),
            planarity: spec.planarity(),
            formats,
            format,
            interval,
            default_interval: interval,
            captures,
            is_uvc: is_uvc(spec),
            stride,
            like: spec.like.clone(),
        })
    }

    pub(crate) fn pixel(&self) -> &'static PixelFormat {
        pixfmt::lookup(self.format.fourcc).unwrap_or(&pixfmt::YUYV)
    }

    pub(crate) fn size(&self) -> Size {
        Size::nearest(self.format.width, self.format.height)
    }

    /// Returns the encoding of the current format's Y'CbCr.
    pub(crate) const fn color(&self) -> Color {
        color_of(&self.format.color)
    }

    /// Returns the nearest interval that is offered for the current format.
    fn nearest(&self, wanted: Fraction) -> Option<Fraction> {
        let size = (self.format.width, self.format.height);
        nearest_interval(self.intervals(self.format.fourcc, size), wanted)
    }

    /// Reads the picture in a buffer that the device has already returned. Counts no access.
    pub(crate) fn inspect<C>(
        &self,
        planes: &BufferPlanes<C>,
        bus: &mut dyn Bus<C>,
    ) -> Option<Frame> {
        let mut frame = Frame::new(self.pixel(), self.size());
        let plane_of = |index: usize| Ok(planes.get(index).and_then(Option::as_ref));
        let whole = Rect::whole(self.format.width, self.format.height);
        let all = Surface(&self.format).rect_lines_in(plane_of, Flow::Output, whole);
        let read = each_run(&all.ok()?, |run| {
            let component = frame.component_mut(run.component);
            let bytes = component.get_mut(run.packed).ok_or(Trouble::TooSmall)?;
            Ok(bus.inspect(run.cookie, run.offset, bytes)?)
        });
        read.ok()?;
        frame.set_color(self.color());
        Some(frame)
    }

    /// Continues to read a picture from a buffer, at most `left` bytes. Without a `frame`, only counts the
    /// bytes as read. Returns whether everything is read.
    pub(crate) fn resume_read<C>(
        &self,
        mut frame: Option<&mut Frame>,
        buffer: &Active<C>,
        (cursor, left): (&mut PictureCursor, &mut usize),
        bus: &mut dyn Bus<C>,
    ) -> Result<bool, Trouble> {
        let all = Surface(&self.format).lines(buffer, Flow::Output)?;
        resume(&all, cursor, left, |run| {
            match &mut frame {
                Some(frame) => {
                    let component = frame.component_mut(run.component);
                    let bytes = component.get_mut(run.packed).ok_or(Trouble::TooSmall)?;
                    bus.read(run.cookie, run.offset, bytes)?;
                }
                // CAST: widening, on every target there is.
                None => bus.note_read(run.cookie, run.offset, run.packed.len() as u64)?,
            }
            Ok(())
        })
    }
}

impl Formats for Mode {
    fn planarity(&self) -> Planarity {
        self.planarity
    }

    fn pixels(&self) -> &[&'static PixelFormat] {
        &self.formats
    }

    fn sizes(&self, pixel: FourCc) -> FrameSizes<'_> {
        if let Some(like) = &self.like {
            return like.sizes(pixel);
        }
        let offer = self.offer.as_ref();
        offer.map_or(SIZES, |offer| FrameSizes::Discrete(&offer.sizes))
    }

    fn intervals(&self, pixel: FourCc, size: (u32, u32)) -> FrameIntervals<'_> {
        if let Some(like) = &self.like {
            return like.intervals(pixel, size);
        }
        let offer = self.offer.as_ref();
        offer.map_or(INTERVALS, |offer| {
            FrameIntervals::Discrete(&offer.intervals)
        })
    }

    fn format(&self) -> Format {
        self.format
    }

    fn interval(&self) -> Fraction {
        self.interval
    }

    fn try_format(&self, wanted: &Format) -> Format {
        if let Some(like) = &self.like {
            return like.negotiate(wanted).unwrap_or(self.format);
        }
        let keep_color = !self.captures;
        let mut asked = *wanted;
        if self.offer.is_some() {
            // A webcam sets the lengths of lines and buffers itself and ignores the program's. Source: Linux
            // 7.2 drivers/media/usb/uvc/uvc_v4l2.c `uvc_v4l2_try_format`.
            asked.planes = Default::default();
        }
        let mut sizes = self.sizes(asked.fourcc);
        if self.is_uvc {
            sizes = uvc_size(sizes, (asked.width, asked.height));
        }
        let negotiated = Format::negotiate(&asked, &self.formats, sizes, keep_color)
            .and_then(|format| align_lines(format, &self.formats, self.stride));
        let Some(mut format) = negotiated else {
            return self.format;
        };
        if !keep_color {
            format.color = pixfmt::lookup(format.fourcc).map_or(COLOR, captured);
        } else if wanted.color.colorspace == 0 {
            format.color = told_nothing(format.fourcc);
        }
        format
    }

    fn set_format(&mut self, format: &Format) -> Result<(), DriverError> {
        let mut formats = self.formats.iter();
        let is_known = formats.any(|pixel| pixel.fourcc == format.fourcc);
        if !is_known || Size::new(format.width, format.height).is_none() {
            return Err(EINVAL);
        }
        self.format = *format;
        if self.is_uvc {
            // Source: Linux 7.2 drivers/media/usb/uvc/uvc_v4l2.c `uvc_v4l2_try_format`.
            self.interval = self.default_interval;
        }
        if self.like.is_some() {
            // The description lists intervals for each size.
            self.interval = self.nearest(self.interval).unwrap_or(self.interval);
        }
        Ok(())
    }

    fn set_interval(&mut self, wanted: Fraction) {
        let has_zero = wanted.numerator == 0 || wanted.denominator == 0;
        let nearest = match wanted.denominator {
            // Source: Linux 7.2 drivers/media/v4l2-core/v4l2-common.c `v4l2_fraction_to_interval`.
            0 if self.is_uvc => self.nearest(Fraction::new(u32::MAX, 1)),
            _ => self.nearest(wanted).filter(|_| self.is_uvc || !has_zero),
        };
        self.interval = nearest.unwrap_or(self.default_interval);
    }

    fn set_timings(&mut self, mode: &Timings) {
        self.offer = Some(Offer {
            sizes: vec![(mode.width, mode.height)],
            intervals: vec![mode.interval()],
        });
        self.default_interval = mode.interval();
        self.interval = mode.interval();
        if let Some(fresh) = Format::new(self.pixel(), mode.width, mode.height) {
            self.format = self.try_format(&fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stepwise_interval_is_rounded_to_its_step() {
        let offered = |step| FrameIntervals::Stepwise {
            min: Fraction::new(1, 30),
            max: Fraction::new(1, 5),
            step,
        };
        let tick = Fraction::new(1, 30);
        for (wanted, granted) in [
            ((1, 20), (1, 15)),
            ((1, 24), (1, 30)),
            ((1, 12), (1, 10)),
            ((1, 120), (1, 30)),
            ((3, 1), (1, 5)),
        ] {
            let wanted = Fraction::new(wanted.0, wanted.1);
            let granted = Fraction::new(granted.0, granted.1);
            assert_eq!(nearest_interval(offered(tick), wanted), Some(granted));
        }
        // One step of 7/4294967295 seconds: 32 bits cannot express the sum.
        let odd = Fraction::new(7, u32::MAX);
        let found = nearest_interval(offered(odd), Fraction::new(1, 20));
        assert_eq!(found, Some(Fraction::new(500_000, 10_000_000)));
    }

    /// Source: Linux include/uapi/linux/videodev2.h `V4L2_MAP_YCBCR_ENC_DEFAULT`.
    #[test]
    fn the_encoding_follows_the_colour_space() {
        for (colorspace, ycbcr_enc, matrix) in [
            (sys::V4L2_COLORSPACE_SRGB, 0, Matrix::Bt601),
            (sys::V4L2_COLORSPACE_REC709, 0, Matrix::Bt709),
            (sys::V4L2_COLORSPACE_DCI_P3, 0, Matrix::Bt709),
            (sys::V4L2_COLORSPACE_BT2020, 0, Matrix::Bt2020),
            (
                sys::V4L2_COLORSPACE_BT2020,
                sys::V4L2_YCBCR_ENC_709,
                Matrix::Bt709,
            ),
            (
                sys::V4L2_COLORSPACE_REC709,
                sys::V4L2_YCBCR_ENC_BT2020,
                Matrix::Bt2020,
            ),
            (
                sys::V4L2_COLORSPACE_REC709,
                sys::V4L2_YCBCR_ENC_601,
                Matrix::Bt601,
            ),
            (
                sys::V4L2_COLORSPACE_SRGB,
                sys::V4L2_YCBCR_ENC_XV709,
                Matrix::Bt709,
            ),
        ] {
            let color = |quantization| Colorimetry {
                colorspace,
                ycbcr_enc,
                quantization,
                ..COLOR
            };
            for (quantization, range) in [
                (sys::V4L2_QUANTIZATION_FULL_RANGE, Quantization::Full),
                (sys::V4L2_QUANTIZATION_LIM_RANGE, Quantization::Limited),
                (0, Quantization::Limited),
            ] {
                let found = color_of(&color(quantization));
                assert_eq!((found.matrix, found.range), (matrix, range));
            }
        }
    }
}
