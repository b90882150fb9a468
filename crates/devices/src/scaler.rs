//! The scaler behind a camera's sensor: takes a part of what the sensor sees, and writes it in
//! another size into a part of the buffer. fimc's other half.

use crate::beside::{Beside, LARGE, Task};
use crate::convert::{Color, ConvertError, Converter, Job, Range};
use crate::mode::matrix_of;
use crate::picture::{Frame, Size};
use crate::select::{fit, settable};
use crate::surface::{EINVAL, Surface, Trouble, Way};
use std::os::fd::BorrowedFd;
use vb3_queue::{Active, DriverError, MAX_PLANES};
use vb3_v4l2::{Bus, Format, Rect, SelectionFlags, SelectionTarget};

/// A scaler, and what it is set to.
pub(crate) struct Scaler {
    /// The sensor's picture.
    sensor: Size,
    /// What is taken of it.
    crop: Rect,
    /// Where that is put in a buffer.
    compose: Rect,
    engine: Converter,
    /// What is put there, its lines without padding.
    target: Vec<u8>,
    /// The sensor's picture, for the thread.
    source: Vec<u8>,
    /// Scales large pictures, from the first one on.
    beside: Option<Beside>,
    /// Where the picture is put that it scales, whatever is set meanwhile.
    under_way: Option<Rect>,
    /// Nothing is scaled beside the devices.
    at_once: bool,
}

/// What is to be made of a picture, whatever is set meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    job: Job,
    /// Its size then.
    to: Size,
    /// Where that is put in a buffer.
    compose: Rect,
    /// Its bytes, lines without padding.
    bytes: usize,
}

/// A picture that was scaled beside the devices, and how far it has got to its buffer.
pub(crate) struct Scaled {
    task: Task,
    compose: Rect,
    way: Way,
}

impl std::fmt::Debug for Scaled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaled")
            .field("compose", &self.compose)
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Scaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaler")
            .field("crop", &self.crop)
            .field("compose", &self.compose)
            .finish_non_exhaustive()
    }
}

impl Scaler {
    /// All of what a sensor sees, to all of a buffer.
    pub(crate) fn new(sensor: Size, format: &Format) -> Self {
        Self {
            sensor,
            crop: Rect::whole(sensor.width(), sensor.height()),
            compose: Rect::whole(format.width, format.height),
            engine: Converter::new(),
            target: Vec::new(),
            source: Vec::new(),
            beside: None,
            under_way: None,
            at_once: false,
        }
    }

    /// Scales every picture within [`write`](Self::write) from now on.
    pub(crate) fn work_at_once(&mut self) {
        self.at_once = true;
    }

    /// Has large pictures scaled by this thread.
    #[cfg(test)]
    pub(crate) fn scale_by(&mut self, beside: Beside) {
        self.beside = Some(beside);
    }

    /// Whether a picture is being scaled beside the devices: there is room for no other.
    pub(crate) const fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Readable when the picture that is being scaled is there; `None` while none is.
    pub(crate) fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let thread = self.beside.as_ref().filter(|_| self.is_busy());
        thread.and_then(Beside::wake_fd)
    }

    /// The size of the pictures to give to [`write`](Self::write).
    pub(crate) const fn sensor(&self) -> Size {
        self.sensor
    }

    /// The format was set: all of the buffer is written again.
    pub(crate) fn fill(&mut self, format: &Format) {
        self.compose = Rect::whole(format.width, format.height);
    }

    pub(crate) fn rect(&self, target: SelectionTarget, format: &Format) -> Rect {
        match target {
            SelectionTarget::Crop => self.crop,
            SelectionTarget::CropDefault | SelectionTarget::CropBounds => {
                Rect::whole(self.sensor.width(), self.sensor.height())
            }
            SelectionTarget::Compose | SelectionTarget::ComposePadded => self.compose,
            SelectionTarget::ComposeDefault | SelectionTarget::ComposeBounds => {
                Rect::whole(format.width, format.height)
            }
        }
    }

    pub(crate) fn set_rect(
        &mut self,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
        format: &Format,
    ) -> Result<Rect, DriverError> {
        let (slot, bounds) = match target {
            SelectionTarget::Crop => (&mut self.crop, (self.sensor.width(), self.sensor.height())),
            SelectionTarget::Compose => (&mut self.compose, (format.width, format.height)),
            _ => return Err(EINVAL),
        };
        *slot = fit(wanted, bounds, flags)?;
        Ok(*slot)
    }

    /// What is to be made of a picture of the sensor's size as things are set now.
    pub(crate) fn plan(&self, frame: &Frame, format: &Format) -> Result<Plan, Trouble> {
        let bytes = Surface(format).rect_bytes(self.compose);
        let bytes = bytes.ok_or(Trouble::TooSmall)?;
        let color = Color {
            matrix: matrix_of(&format.color),
            range: Range::Limited,
        };
        let to = settable(self.compose).ok_or(Trouble::TooSmall)?;
        let job = Job {
            crop: crate::picture::Rect {
                x: self.crop.left.unsigned_abs(),
                y: self.crop.top.unsigned_abs(),
                width: self.crop.width,
                height: self.crop.height,
            },
            ..Job::whole(frame.size(), to, color)
        };
        Ok(Plan {
            job,
            to,
            compose: self.compose,
            bytes,
        })
    }

    /// Scales a picture into a buffer, within this call.
    pub(crate) fn write<C>(
        &mut self,
        plan: &Plan,
        frame: &Frame,
        format: &Format,
        buffer: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        let (surface, pixel) = (Surface(format), frame.format());
        self.target.resize(plan.bytes, 0);
        let source = (pixel, frame.size(), frame.bytes());
        let target = (pixel, plan.to, self.target.as_mut_slice());
        let done = self.engine.run_unpadded(&plan.job, source, target);
        done.map_err(|_: ConvertError| Trouble::Fault)?;
        let (mut way, mut left) = (Way::default(), usize::MAX);
        let (place, going) = ((buffer, plan.compose), (&mut way, &mut left));
        surface.write_rect_on(place, going, bus, &self.target)?;
        surface.payloads()
    }

    /// Whether a picture is to be scaled beside the devices, which may begin now.
    pub(crate) fn wants_thread(&mut self, plan: &Plan, frame: &Frame) -> bool {
        self.is_large(frame, plan.bytes) && self.has_thread()
    }

    /// Goes on to take a picture over for the thread, `left` bytes at most, of which `taken` are
    /// there. Whether it has all.
    pub(crate) fn take_in(&mut self, frame: &Frame, taken: &mut usize, left: &mut usize) -> bool {
        self.source.truncate(*taken);
        let rest = frame.bytes().get(*taken..).unwrap_or_default();
        let some = rest.get(..*left).unwrap_or(rest);
        self.source.extend_from_slice(some);
        *taken += some.len();
        *left -= some.len();
        some.len() == rest.len()
    }

    /// Whether what is taken of a picture and the `target_bytes` made of it are worth a thread.
    fn is_large(&self, frame: &Frame, target_bytes: usize) -> bool {
        let bytes = |rect: Rect| {
            let made = Format::new(frame.format(), rect.width, rect.height);
            made.and_then(|format| {
                Surface(&format).rect_bytes(Rect::whole(rect.width, rect.height))
            })
        };
        let source_bytes = bytes(self.crop).unwrap_or(frame.bytes().len());
        source_bytes.saturating_add(target_bytes) >= LARGE
    }

    /// Whether there is a thread that may scale a picture now; where none is to be had, pictures are
    /// scaled at once.
    fn has_thread(&mut self) -> bool {
        if self.at_once || self.is_busy() {
            return false;
        }
        if self.beside.is_none() {
            self.beside = Beside::converting().ok();
        }
        self.beside.is_some()
    }

    /// Gives the picture that was taken over to the thread. Whether it takes it.
    pub(crate) fn begin(&mut self, plan: &Plan, frame: &Frame) -> bool {
        let Some(thread) = &self.beside else {
            return false;
        };
        let mut target = std::mem::take(&mut self.target);
        target.resize(plan.bytes, 0);
        let pixel = frame.format();
        let task = Task {
            job: plan.job,
            shapes: [(pixel, frame.size()), (pixel, plan.to)],
            source: std::mem::take(&mut self.source),
            target,
            done: false,
        };
        match thread.give(task) {
            Ok(()) => self.under_way = Some(plan.compose),
            Err(refused) => (self.source, self.target) = (refused.source, refused.target),
        }
        self.is_busy()
    }

    /// The picture that was scaled beside the devices, if it is there by now.
    pub(crate) fn take(&mut self) -> Option<Scaled> {
        let compose = self.under_way?;
        let task = self.beside.as_ref().and_then(Beside::take)?;
        self.under_way = None;
        let way = Way::default();
        Some(Scaled { task, compose, way })
    }

    /// Goes on to write what was scaled to its buffer, if that still is the device's, `left` bytes
    /// at most. The bytes used in each plane, once all is written.
    pub(crate) fn finish_on<C>(
        scaled: &mut Scaled,
        format: &Format,
        buffer: &Active<C>,
        left: &mut usize,
        bus: &mut dyn Bus<C>,
    ) -> Result<Option<[u64; MAX_PLANES]>, Trouble> {
        if buffer.is_stale() {
            return Err(Trouble::Stale);
        }
        if !scaled.task.done {
            return Err(Trouble::Fault);
        }
        let surface = Surface(format);
        let (place, going) = ((buffer, scaled.compose), (&mut scaled.way, left));
        match surface.write_rect_on(place, going, bus, &scaled.task.target)? {
            true => surface.payloads().map(Some),
            false => Ok(None),
        }
    }

    /// Takes the memory of a picture back.
    pub(crate) fn put_back(&mut self, scaled: Scaled) {
        (self.source, self.target) = (scaled.task.source, scaled.task.target);
    }
}

#[cfg(test)]
mod tests;
