//! The format and rate of cameras and displays.

use crate::colors::{COLOR, captured, color_of, default_color};
use crate::likeness::{Likeness, uvc_size};
use crate::limits::{INTERVALS, SIZES, nearest_interval, same, upside_down};
use crate::settings::Settings;
use crate::streaming::Formats;
use crate::surface::{
    BufferPlanes, EINVAL, PictureCursor, Surface, Trouble, align_lines, each_run, resume,
};
use std::sync::Arc;
use vb3_picture::{Color, Frame, Size};
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{
    Bus, Flow, Format, FourCc, Fraction, FrameIntervals, FrameSizes, PixelFormat, Planarity, Rect,
    Timings, pixfmt,
};

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
    /// Returns the sizes and rates that the user chose. If there are none, returns those of the source first,
    /// then the usual ones that do not exceed the source's.
    fn new(
        settings: &Settings,
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
        let listed_sizes = settings.sizes.iter().copied().map(measures).collect();
        let listed_intervals = settings.rates.iter().copied().map(upside_down).collect();
        let first = (measures(size), settings.size.is_some());
        Self {
            sizes: offered(listed_sizes, first, sizes, |a, b| a == b),
            intervals: offered(
                listed_intervals,
                (interval, settings.fps.is_some()),
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
    like: Option<Arc<Likeness>>,
    /// Line lengths are multiples of this many bytes.
    stride: u32,
}

impl Mode {
    /// Makes the mode of a node, with the source's defaults. `None` for an unsupported format.
    pub(crate) fn new(
        settings: &Settings,
        captures: bool,
        native: Option<(Size, Fraction)>,
    ) -> Option<Self> {
        let formats = settings.pixels.clone();
        let (native_size, native_interval) = native.unzip();
        let size = settings
            .size
            .or(settings.sizes.first().copied())
            .or(native_size)
            .unwrap_or(Size::nearest(640, 480));
        let stride = settings.stride;
        let specified = || {
            let pixel = match settings.format {
                Some(wanted) => formats.iter().find(|pixel| pixel.fourcc == wanted),
                None => formats.first(),
            }?;
            let format = Format::new(pixel, size.width(), size.height())?;
            let mut format = align_lines(format, &formats, stride)?;
            format.color = if captures {
                captured(pixel)
            } else {
                default_color(pixel.fourcc)
            };
            Some(format)
        };
        let asked = settings
            .fps
            .or(settings.rates.first().copied())
            .map(upside_down)
            .or(native_interval)
            .unwrap_or(Fraction::new(1, 30));
        let (format, interval) = match &settings.likeness {
            Some(like) => like.first()?,
            None => (specified()?, asked),
        };
        Some(Self {
            offer: (captures && settings.has_lists)
                .then(|| Offer::new(settings, size, interval, native)),
            planarity: settings.planarity,
            formats,
            format,
            interval,
            default_interval: interval,
            captures,
            is_uvc: settings.is_webcam,
            stride,
            like: settings.likeness.clone(),
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
            format.color = default_color(format.fourcc);
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

    fn inspect<C>(&self, planes: &BufferPlanes<C>, bus: &mut dyn Bus<C>) -> Option<Frame> {
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
