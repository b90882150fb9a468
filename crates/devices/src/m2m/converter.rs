//! A converter: crops each OUTPUT picture, scales, turns and converts it, and places it in a CAPTURE
//! picture. Its model is s5p-fimc.
//!
//! A thread for each open file converts a picture if both sides together have 512 KiB or more. It reads
//! the buffer itself if it can, else ticks copy the picture for it. In virtual time, the tick converts it.

mod work;

use super::{M2mQueue, M2mQueueDriver};
use crate::Failure;
use crate::beside::Beside;
use crate::convert::{self, Color, Range, Rotate};
use crate::device::Outside;
use crate::mode::{SIZES, matrix_of};
use crate::picture::Size;
use crate::place::{HostSettings, identity, policy};
use crate::select::fit;
use crate::spec::DeviceSpec;
use crate::surface::{EINVAL, align_lines};
use std::os::fd::BorrowedFd;
use vb3_queue::{Driver, DriverError, Requests, TimestampKind};
use vb3_v4l2::{
    Bus, Colorimetry, ControlSpec, ControlValue, Flow, Format, FourCc, Fraction, FrameIntervals,
    FrameSizes, Identity, PixelFormat, Planarity, Progress, QueuePolicy, Rect, Role,
    SelectionFlags, SelectionTarget, Statistics, VideoDriver, cid, pixfmt,
};
use work::UnderWay;

/// One open file of a converter.
pub(crate) struct FrameConverter<C> {
    identity: Identity,
    policy: QueuePolicy,
    planarity: Planarity,
    formats: Vec<&'static PixelFormat>,
    /// Lines of pictures are multiples of this many bytes.
    stride: u32,
    output: M2mQueue<C>,
    capture: M2mQueue<C>,
    /// The used part of OUTPUT pictures.
    crop: Rect,
    /// Its place in CAPTURE pictures.
    compose: Rect,
    hflip: bool,
    vflip: bool,
    rotate: Rotate,
    engine: convert::Converter,
    /// The used part of a picture, lines without padding.
    source: Vec<u8>,
    /// The converted part, lines without padding.
    target: Vec<u8>,
    /// The thread for large pictures, started with the first one.
    beside: Option<Beside>,
    under_way: Option<UnderWay<C>>,
    /// Whether all pictures are converted within ticks.
    at_once: bool,
    statistics: Statistics,
}

impl<C> std::fmt::Debug for FrameConverter<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameConverter")
            .field("identity", &self.identity)
            .field("crop", &self.crop)
            .field("compose", &self.compose)
            .finish_non_exhaustive()
    }
}

/// Returns the formats of both sides.
pub(crate) fn formats(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    pixfmt::TABLE
        .iter()
        .copied()
        .filter(|pixel| spec.mplane || pixel.memory_planes == 1)
        .filter(|pixel| convert::converts(pixel))
        .collect()
}

impl<C> FrameConverter<C> {
    /// Makes one open file's part of the converter of a SPEC.
    ///
    /// # Errors
    /// Fails for a SPEC with an unsupported format, with a sentence for the user.
    pub(crate) fn new(spec: &DeviceSpec, place: &HostSettings) -> Result<Self, Failure> {
        let formats = formats(spec);
        let none = || spec.no_such_format();
        let size = spec.size.unwrap_or(Size::nearest(640, 480));
        let wanted = spec.format.unwrap_or(FourCc::NV12);
        let pixel = formats.iter().find(|pixel| pixel.fourcc == wanted);
        let made = pixel.and_then(|pixel| Format::new(pixel, size.width(), size.height()));
        let stride = spec.stride.unwrap_or(1);
        let mut format = align_lines(made.ok_or_else(none)?, &formats, stride).ok_or_else(none)?;
        format.color = BT709;
        let whole = Rect::whole(format.width, format.height);
        Ok(Self {
            identity: identity(spec, place, "Converter"),
            policy: QueuePolicy {
                file_io: false,
                timestamps: TimestampKind::Copy,
                min_reqbufs: 1,
                requests: Requests::Optional,
                ..policy(spec, place)
            },
            planarity: if spec.mplane {
                Planarity::Multi
            } else {
                Planarity::Single
            },
            formats,
            stride,
            output: M2mQueue::new(Flow::Output, format),
            capture: M2mQueue::new(Flow::Capture, format),
            crop: whole,
            compose: whole,
            hflip: false,
            vflip: false,
            rotate: Rotate::None,
            engine: convert::Converter::new(),
            source: Vec::new(),
            target: Vec::new(),
            beside: None,
            under_way: None,
            at_once: false,
            statistics: Statistics::default(),
        })
    }

    fn queue(&self, flow: Flow) -> &M2mQueue<C> {
        match flow {
            Flow::Capture => &self.capture,
            Flow::Output => &self.output,
        }
    }
}

/// Rec. 709, the default colorimetry.
const BT709: Colorimetry = Colorimetry {
    colorspace: 3,
    xfer_func: 0,
    ycbcr_enc: 0,
    quantization: 0,
};

/// Returns the Y'CbCr encoding of a V4L2 colour description.
fn color_of(color: &Colorimetry) -> Color {
    const FULL: u32 = 1;
    const DEFAULT: u32 = 0;
    const JPEG: u32 = 7;
    let full =
        color.quantization == FULL || color.quantization == DEFAULT && color.colorspace == JPEG;
    Color {
        matrix: matrix_of(color),
        range: if full { Range::Full } else { Range::Limited },
    }
}

impl<C> FrameConverter<C> {
    fn rect(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        let whole = |format: &Format| Rect::whole(format.width, format.height);
        match (flow, target) {
            (Flow::Output, SelectionTarget::Crop) => Some(self.crop),
            (Flow::Output, SelectionTarget::CropDefault | SelectionTarget::CropBounds) => {
                Some(whole(&self.output.format))
            }
            (Flow::Capture, SelectionTarget::Compose) => Some(self.compose),
            (Flow::Capture, SelectionTarget::ComposePadded) => Some(self.compose),
            (Flow::Capture, SelectionTarget::ComposeDefault | SelectionTarget::ComposeBounds) => {
                Some(whole(&self.capture.format))
            }
            _ => None,
        }
    }

    fn set_rect(
        &mut self,
        flow: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        let (slot, format) = match (flow, target) {
            (Flow::Output, SelectionTarget::Crop) => (&mut self.crop, &self.output.format),
            (Flow::Capture, SelectionTarget::Compose) => (&mut self.compose, &self.capture.format),
            _ => return Err(EINVAL),
        };
        *slot = fit(wanted, (format.width, format.height), flags)?;
        Ok(*slot)
    }
}

impl<C> Outside for FrameConverter<C> {
    fn work_at_once(&mut self) {
        self.at_once = true;
    }

    fn is_preparing(&self) -> bool {
        self.under_way
            .as_ref()
            .is_some_and(UnderWay::is_with_thread)
    }

    fn failure(&self) -> Option<&Failure> {
        None
    }
}

impl<C> VideoDriver for FrameConverter<C> {
    type Cookie = C;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        Role::MemToMem
    }

    fn planarity(&self) -> Planarity {
        self.planarity
    }

    fn queue_driver(&mut self, flow: Flow) -> Box<dyn Driver<Cookie = C> + '_> {
        Box::new(M2mQueueDriver(match flow {
            Flow::Capture => &mut self.capture,
            Flow::Output => &mut self.output,
        }))
    }

    fn formats(&self, _: Flow) -> &[&'static PixelFormat] {
        &self.formats
    }

    fn frame_sizes(&self, _: &PixelFormat) -> FrameSizes<'_> {
        SIZES
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        None
    }

    fn format(&self, flow: Flow) -> Format {
        self.queue(flow).format
    }

    fn try_format(&self, flow: Flow, wanted: &Format) -> Format {
        let made = Format::negotiate(wanted, &self.formats, SIZES, true)
            .and_then(|format| align_lines(format, &self.formats, self.stride));
        let Some(mut format) = made else {
            return self.queue(flow).format;
        };
        if wanted.color.colorspace == 0 {
            format.color = match flow {
                // Carried, unless the program wants others.
                Flow::Capture => self.output.format.color,
                Flow::Output => BT709,
            };
        }
        format
    }

    fn set_format(&mut self, flow: Flow, format: &Format, _: bool) -> Result<(), DriverError> {
        let before = self.queue(flow).format;
        let whole = Rect::whole(format.width, format.height);
        // Programs set the format again while streaming. Their rectangles are kept.
        let is_same_size = (before.width, before.height) == (format.width, format.height);
        let keep = |chosen: Rect| if is_same_size { chosen } else { whole };
        match flow {
            Flow::Capture => {
                self.capture.format = *format;
                self.compose = keep(self.compose);
            }
            Flow::Output => {
                self.output.format = *format;
                self.capture.format.color = format.color;
                self.crop = keep(self.crop);
            }
        }
        Ok(())
    }

    fn interval(&self, _: Flow) -> Option<Fraction> {
        None
    }

    fn has_selection(&self) -> bool {
        true
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        self.rect(flow, target)
    }

    fn set_selection(
        &mut self,
        flow: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        self.set_rect(flow, target, wanted, flags)
    }

    fn controls(&self) -> Vec<ControlSpec> {
        vec![
            ControlSpec::boolean(cid::HFLIP, "Horizontal Flip", false),
            ControlSpec::boolean(cid::VFLIP, "Vertical Flip", false),
            ControlSpec::integer(cid::ROTATE, "Rotate", (0, 270, 90), 0),
        ]
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        let number = value.number();
        match id {
            cid::HFLIP => self.hflip = number != 0,
            cid::VFLIP => self.vflip = number != 0,
            cid::ROTATE => {
                let degrees = i32::try_from(number).map_err(|_| EINVAL)?;
                self.rotate = Rotate::from_degrees(degrees).ok_or(EINVAL)?;
            }
            _ => return Err(EINVAL),
        }
        Ok(())
    }

    fn queue_policy(&self, _: Flow) -> QueuePolicy {
        self.policy
    }

    fn tick(&mut self, _: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.step(bus, progress);
    }

    fn next_tick(&self) -> Option<u64> {
        let is_due = match &self.under_way {
            Some(at) => !at.is_with_thread(),
            None => self.output.is_ready() && self.capture.is_ready(),
        };
        is_due.then_some(0)
    }

    fn has_begun(&self) -> bool {
        let at = self.under_way.as_ref();
        at.is_some_and(|at| !at.is_with_thread())
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let at = self.under_way.as_ref();
        let thread = self
            .beside
            .as_ref()
            .filter(|_| at.is_some_and(UnderWay::is_with_thread));
        thread.and_then(Beside::wake_fd)
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}
