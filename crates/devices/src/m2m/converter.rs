//! A converter: takes a part of each picture at OUTPUT and puts it, scaled, turned and in another
//! pixel format, into a part of one at CAPTURE. What s5p-fimc did.

use super::{M2mQueue, M2mQueueDriver, Meta};
use crate::Failure;
use crate::beside::{Beside, LARGE, Task};
use crate::convert::{self, Color, Job, Range, Rotate, View, ViewMut};
use crate::device::Outside;
use crate::mode::{SIZES, matrix_of};
use crate::picture::Size;
use crate::place::{Place, identity, policy};
use crate::select::{fit, settable};
use crate::spec::DeviceSpec;
use crate::surface::{EINVAL, Surface, Trouble, align_lines};
use std::os::fd::BorrowedFd;
use vb3_queue::{Active, DoneState, Driver, DriverError, MAX_PLANES, Requests, TimestampKind};
use vb3_v4l2::{
    Bus, Colorimetry, ControlSpec, ControlValue, Flow, Format, FourCc, Fraction, FrameIntervals,
    FrameSizes, Identity, Lines, PixelFormat, Planarity, Progress, QueuePolicy, Rect, Role,
    SelectionFlags, SelectionTarget, Statistics, VideoDriver, cid, pixfmt,
};

/// A picture that is being converted beside the devices.
struct UnderWay<C> {
    source: Active<C>,
    target: Active<C>,
    /// Where it is put, whatever is set meanwhile.
    compose: Rect,
}

/// What one open file has of a converter.
pub(crate) struct FrameConverter<C> {
    identity: Identity,
    policy: QueuePolicy,
    planarity: Planarity,
    formats: Vec<&'static PixelFormat>,
    /// Lines of pictures are multiples of so many bytes.
    stride: u32,
    output: M2mQueue<C>,
    capture: M2mQueue<C>,
    /// What is taken of pictures at OUTPUT.
    crop: Rect,
    /// Where it is put at CAPTURE.
    compose: Rect,
    hflip: bool,
    vflip: bool,
    rotate: Rotate,
    engine: convert::Converter,
    /// What is taken of a picture, its lines without padding.
    source: Vec<u8>,
    /// What is made of it, likewise.
    target: Vec<u8>,
    /// Converts large pictures, from the first one on.
    beside: Option<Beside>,
    under_way: Option<UnderWay<C>>,
    /// Nothing is converted beside the devices.
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

/// The formats of both sides.
pub(crate) fn formats(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    pixfmt::TABLE
        .iter()
        .copied()
        .filter(|pixel| spec.mplane || pixel.memory_planes == 1)
        .filter(|pixel| convert::converts(pixel))
        .collect()
}

impl<C> FrameConverter<C> {
    /// Makes what one open file has of the converter of a SPEC.
    ///
    /// # Errors
    /// A sentence, for a SPEC that names no format it has.
    pub(crate) fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
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

    /// Converts the oldest picture into the oldest empty buffer, if there are both; one at a time.
    fn step(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        if self.under_way.is_some() {
            self.finish_large(bus, progress);
            return;
        }
        if !self.output.is_ready() || !self.capture.is_ready() {
            return;
        }
        let Some(source) = self.output.take() else {
            return;
        };
        let Some(target) = self.capture.take() else {
            self.output.tokens.push_front(source);
            return;
        };
        match self.convert(&source, &target, bus) {
            Ok(Some(payloads)) => self.give_back(source, target, Ok(payloads), progress),
            Ok(None) => {
                let compose = self.compose;
                self.under_way = Some(UnderWay {
                    source,
                    target,
                    compose,
                });
                // From now on it says when it is done.
                self.finish_large(bus, progress);
            }
            Err(trouble) => self.give_back(source, target, Err(trouble), progress),
        }
    }

    /// Puts what was converted beside into its buffer, if it is done. Buffers whose stream has ended
    /// meanwhile are not written.
    fn finish_large(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let Some(task) = self.beside.as_ref().and_then(Beside::take) else {
            return;
        };
        let Some(UnderWay {
            source,
            target,
            compose,
        }) = self.under_way.take()
        else {
            return;
        };
        let to = Surface(&self.capture.format);
        let made = match task.done {
            _ if source.is_stale() || target.is_stale() => Err(Trouble::Stale),
            true => to
                .write_rect(&target, compose, bus, &task.target)
                .and_then(|()| to.payloads()),
            false => Err(Trouble::Fault),
        };
        (self.source, self.target) = (task.source, task.target);
        self.give_back(source, target, made, progress);
    }

    /// Gives both buffers back, with what came of them.
    fn give_back(
        &mut self,
        source: Active<C>,
        target: Active<C>,
        made: Result<[u64; MAX_PLANES], Trouble>,
        progress: &mut Progress<C>,
    ) {
        let (outcome, payloads) = match made {
            Ok(payloads) => (DoneState::Done, payloads),
            Err(Trouble::Stale) => {
                // One of the two is no longer ours; the other waits for its next partner.
                self.put_back(source, target);
                return;
            }
            Err(Trouble::Fault | Trouble::TooSmall) => {
                self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
                self.statistics.dropped = self.statistics.dropped.saturating_add(1);
                (DoneState::Error, [0; MAX_PLANES])
            }
        };
        let sequence = self.capture.next_sequence();
        let completion = Meta::of(&source).completion(outcome, payloads, sequence, false);
        self.output.consume(source, outcome, progress);
        progress.finish(Flow::Capture, target, completion);
    }

    fn put_back(&mut self, source: Active<C>, target: Active<C>) {
        if !source.is_stale() {
            self.output.tokens.push_front(source);
        }
        if !target.is_stale() {
            self.capture.tokens.push_front(target);
        }
    }

    /// Converts a picture; `None` where that has only begun, beside the devices.
    fn convert(
        &mut self,
        source: &Active<C>,
        target: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<Option<[u64; MAX_PLANES]>, Trouble> {
        let formats = (self.output.format, self.capture.format);
        let (from, to) = (Surface(&formats.0), Surface(&formats.1));
        let pixel_of = |format: &Format| pixfmt::lookup(format.fourcc).ok_or(Trouble::TooSmall);
        let (from_pixel, to_pixel) = (pixel_of(from.0)?, pixel_of(to.0)?);
        let size_of = |rect: Rect| settable(rect).ok_or(Trouble::TooSmall);
        let (from_size, to_size) = (size_of(self.crop)?, size_of(self.compose)?);
        let job = Job {
            rotate: self.rotate,
            hflip: self.hflip,
            vflip: self.vflip,
            target_color: color_of(&to.0.color),
            ..Job::whole(from_size, to_size, color_of(&from.0.color))
        };
        let shapes = [(from_pixel, from_size), (to_pixel, to_size)];
        let source_bytes = from.rect_bytes(self.crop).ok_or(Trouble::TooSmall)?;
        let target_bytes = to.rect_bytes(self.compose).ok_or(Trouble::TooSmall)?;
        let is_large = source_bytes.saturating_add(target_bytes) >= LARGE;
        let beside = is_large && !self.at_once && self.has_thread();
        if !beside {
            let sources = from.rect_lines(source, Flow::Output, self.crop)?;
            let targets = to.rect_lines(target, Flow::Capture, self.compose)?;
            match in_place(&mut self.engine, &job, &sources, &targets, shapes, bus) {
                Some(true) => return to.payloads().map(Some),
                Some(false) => return Err(Trouble::Fault),
                None => {}
            }
        }
        from.read_rect(source, self.crop, bus, &mut self.source)?;
        self.target.resize(target_bytes, 0);
        let mut task = Task {
            job,
            shapes,
            source: std::mem::take(&mut self.source),
            target: std::mem::take(&mut self.target),
            done: false,
        };
        if let Some(thread) = self.beside.as_ref().filter(|_| beside) {
            match thread.give(task) {
                Ok(()) => return Ok(None),
                Err(refused) => task = *refused,
            }
        }
        task.run(&mut self.engine);
        (self.source, self.target) = (task.source, task.target);
        if !task.done {
            return Err(Trouble::Fault);
        }
        to.write_rect(target, self.compose, bus, &self.target)?;
        to.payloads().map(Some)
    }

    /// Has large pictures converted by this thread.
    #[cfg(test)]
    pub(crate) fn convert_by(&mut self, beside: Beside) {
        self.beside = Some(beside);
    }

    /// Whether there is a thread to convert large pictures; where none is to be had, they are
    /// converted at once.
    fn has_thread(&mut self) -> bool {
        if self.beside.is_none() {
            self.beside = Beside::converting().ok();
        }
        self.beside.is_some()
    }
}

/// Converts without a copy. Whether it worked; `None` where memory cannot be seen.
fn in_place<C>(
    engine: &mut convert::Converter,
    job: &Job,
    from: &[Lines<'_, C>],
    to: &[Lines<'_, C>],
    [from_shape, to_shape]: [(&'static PixelFormat, Size); 2],
    bus: &mut dyn Bus<C>,
) -> Option<bool> {
    // CAST: widening, on every target there is.
    let pitch = |lines: &Lines<'_, C>| lines.pitch as usize;
    bus.in_place(from, to, &mut |sources, targets| {
        let planes = sources.iter().zip(from);
        let planes = planes.map(|(bytes, lines)| (*bytes, pitch(lines)));
        let view = View::new(from_shape.0, from_shape.1, planes);
        let planes = targets.iter_mut().zip(to);
        let planes = planes.map(|(bytes, lines)| (&mut **bytes, pitch(lines)));
        let made = ViewMut::new(to_shape.0, to_shape.1, planes);
        view.and_then(|view| engine.run(job, &view, &mut made?))
            .is_ok()
    })
}

/// Rec. 709, what is said before a program says anything.
const BT709: Colorimetry = Colorimetry {
    colorspace: 3,
    xfer_func: 0,
    ycbcr_enc: 0,
    quantization: 0,
};

/// How Y'CbCr is meant where V4L2 says so.
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
        // Programs that stream say the format once more; what they chose of it stays.
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
        let is_free = self.under_way.is_none();
        (is_free && self.output.is_ready() && self.capture.is_ready()).then_some(0)
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let thread = self.beside.as_ref().filter(|_| self.under_way.is_some());
        thread.and_then(Beside::wake_fd)
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}
