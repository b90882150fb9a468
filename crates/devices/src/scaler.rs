//! The scaler behind a camera's sensor. It crops the sensor's picture, scales it, and places it in the
//! buffer. Its model is the capture side of fimc.

use crate::beside::{Beside, LARGE, Task};
use crate::convert::{Color, ConvertError, Converter, Job, Range};
use crate::mode::matrix_of;
use crate::picture::{Frame, Size};
use crate::select::{fit, settable};
use crate::surface::{EINVAL, PictureCursor, Surface, Trouble};
use std::os::fd::BorrowedFd;
use vb3_queue::{Active, DriverError, MAX_PLANES};
use vb3_v4l2::{Bus, Format, Rect, SelectionFlags, SelectionTarget};

/// A scaler with its settings.
pub(crate) struct Scaler {
    /// The sensor's picture.
    sensor: Size,
    /// The used part of the sensor's picture.
    crop: Rect,
    /// Its place in the buffer.
    compose: Rect,
    engine: Converter,
    /// The scaled part, lines without padding.
    target: Vec<u8>,
    /// The sensor's picture, for the thread.
    source: Vec<u8>,
    /// The thread for large pictures, started with the first one.
    beside: Option<Beside>,
    /// The place of the picture being scaled, fixed at its start.
    under_way: Option<Rect>,
    /// Whether all pictures are scaled within ticks.
    at_once: bool,
}

/// The parameters of a scaling, fixed at its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    job: Job,
    /// Size of the scaled picture.
    to: Size,
    /// Its place in the buffer.
    compose: Rect,
    /// Its bytes, lines without padding.
    bytes: usize,
}

/// A picture scaled by the thread, and how far it has been copied to its buffer.
pub(crate) struct Scaled {
    task: Task,
    compose: Rect,
    cursor: PictureCursor,
}

impl std::fmt::Debug for Scaled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scaled")
            .field("compose", &self.compose)
            .field("cursor", &self.cursor)
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
    /// Scales the sensor's whole picture to the whole buffer.
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

    /// Makes [`write`](Self::write) scale every picture from now on.
    pub(crate) fn work_at_once(&mut self) {
        self.at_once = true;
    }

    /// Makes the thread `beside` scale large pictures.
    #[cfg(test)]
    pub(crate) fn scale_by(&mut self, beside: Beside) {
        self.beside = Some(beside);
    }

    /// Returns whether the thread is scaling a picture and accepts no other.
    pub(crate) const fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Returns a descriptor that is readable when the picture being scaled is ready; `None` while there
    /// is none.
    pub(crate) fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let thread = self.beside.as_ref().filter(|_| self.is_busy());
        thread.and_then(Beside::wake_fd)
    }

    /// Returns the size of the pictures for [`write`](Self::write).
    pub(crate) const fn sensor(&self) -> Size {
        self.sensor
    }

    /// Handles a new format: the whole buffer is used again.
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

    /// Returns the parameters for a picture of the sensor's size with the current settings.
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
        let (mut cursor, mut left) = (PictureCursor::default(), usize::MAX);
        let (place, going) = ((buffer, plan.compose), (&mut cursor, &mut left));
        surface.write_rect_on(place, going, bus, &self.target)?;
        surface.payloads()
    }

    /// Returns whether the thread must scale a picture and can begin now.
    pub(crate) fn wants_thread(&mut self, plan: &Plan, frame: &Frame) -> bool {
        self.is_large(frame, plan.bytes) && self.has_thread()
    }

    /// Continues to copy a picture for the thread, at most `left` bytes, after the first `taken` bytes.
    /// Updates both numbers. Returns whether the whole picture has been copied.
    pub(crate) fn take_in(&mut self, frame: &Frame, taken: &mut usize, left: &mut usize) -> bool {
        self.source.truncate(*taken);
        let rest = frame.bytes().get(*taken..).unwrap_or_default();
        let some = rest.get(..*left).unwrap_or(rest);
        self.source.extend_from_slice(some);
        *taken += some.len();
        *left -= some.len();
        some.len() == rest.len()
    }

    /// Returns whether the used part of a picture and the `target_bytes` are large enough for a thread.
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

    /// Returns whether a thread can scale a picture now. Without one, pictures are scaled within ticks.
    fn has_thread(&mut self) -> bool {
        if self.at_once || self.is_busy() {
            return false;
        }
        if self.beside.is_none() {
            self.beside = Beside::converting().ok();
        }
        self.beside.is_some()
    }

    /// Passes the copied picture to the thread. Returns whether it was accepted.
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
            lent: Vec::new(),
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

    /// Returns the picture that the thread has scaled, if it is ready.
    pub(crate) fn take(&mut self) -> Option<Scaled> {
        let compose = self.under_way?;
        let task = self.beside.as_ref().and_then(Beside::take)?;
        self.under_way = None;
        let cursor = PictureCursor::default();
        Some(Scaled {
            task,
            compose,
            cursor,
        })
    }

    /// Continues to write a scaled picture to its buffer, at most `left` bytes. Fails if the device
    /// no longer owns the buffer. Returns the bytes used in each plane once the picture is
    /// complete.
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
        let (place, going) = ((buffer, scaled.compose), (&mut scaled.cursor, left));
        match surface.write_rect_on(place, going, bus, &scaled.task.target)? {
            true => surface.payloads().map(Some),
            false => Ok(None),
        }
    }

    /// Returns a picture's memory for reuse.
    pub(crate) fn put_back(&mut self, scaled: Scaled) {
        (self.source, self.target) = (scaled.task.source, scaled.task.target);
    }
}

#[cfg(test)]
mod tests;
