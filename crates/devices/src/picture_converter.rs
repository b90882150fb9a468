//! Converts pictures on their way to a buffer: small ones within a call, large ones on a thread.

use crate::beside::{Beside, LARGE, Task};
use crate::surface::{LentLines, PictureCursor, Surface, Trouble};
use std::sync::Arc;
use vb3_picture::convert::{Converter, Job};
use vb3_picture::{Frame, Size};
use vb3_queue::{Active, MAX_PLANES};
use vb3_v4l2::{Bus, Format, PixelFormat, Rect, WakeFd};

/// The parameters of a conversion, which are fixed when it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversion {
    pub(crate) job: Job,
    /// Format and size of the source part, then of the target part.
    pub(crate) shapes: [(&'static PixelFormat, Size); 2],
    /// Bytes of the source part, then of the target part, without padding.
    pub(crate) bytes: [usize; 2],
    /// The rectangle of the target part in its buffer.
    pub(crate) compose: Rect,
}

/// A converted picture, and how much of it is written to its buffer.
struct Converted {
    task: Task,
    compose: Rect,
    cursor: PictureCursor,
}

/// Converts pictures, one at a time.
pub(crate) struct PictureConverter {
    pub(crate) engine: Converter,
    /// The source part without padding. While the thread converts, the thread has this memory.
    pub(crate) source: Vec<u8>,
    /// The converted part without padding.
    target: Vec<u8>,
    /// The thread for large pictures. It starts with the first large picture.
    thread: Option<Beside>,
    /// The target rectangle of the picture that the thread is converting.
    under_way: Option<Rect>,
    /// The picture that was converted last, until its memory is taken back.
    converted: Option<Converted>,
    /// Whether all pictures are converted within calls, none by the thread.
    pub(crate) at_once: bool,
}

impl std::fmt::Debug for PictureConverter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PictureConverter")
            .field("under_way", &self.under_way)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

impl PictureConverter {
    pub(crate) fn new() -> Self {
        Self {
            engine: Converter::new(),
            source: Vec::new(),
            target: Vec::new(),
            thread: None,
            under_way: None,
            converted: None,
            at_once: false,
        }
    }

    /// Sets the thread that converts large pictures.
    #[cfg(test)]
    pub(crate) fn convert_by(&mut self, thread: Beside) {
        self.thread = Some(thread);
    }

    /// Returns whether the thread has a picture, so that it accepts no other.
    pub(crate) const fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Returns a descriptor that becomes readable when the thread has converted its picture.
    /// `None` if the thread has no picture.
    pub(crate) fn wake_fd(&self) -> Option<WakeFd<'_>> {
        let thread = self.thread.as_ref().filter(|_| self.is_busy());
        thread.map(Beside::wake_fd)
    }

    /// Returns whether the thread must convert a picture and can begin now. `bytes` counts source and target
    /// together. If no thread can be started, calls convert all pictures.
    pub(crate) fn wants_thread(&mut self, bytes: usize) -> bool {
        if bytes < LARGE || self.at_once || self.is_busy() {
            return false;
        }
        if self.thread.is_none() {
            self.thread = Beside::converting().ok();
        }
        self.thread.is_some()
    }

    /// Passes a picture to the thread: `frame`, the `lent` lines, or `source` if there is neither.
    /// If the thread refuses the picture, converts the picture within this call.
    pub(crate) fn begin(
        &mut self,
        conversion: &Conversion,
        frame: Option<Arc<Frame>>,
        lent: Vec<LentLines>,
    ) {
        let mut target = std::mem::take(&mut self.target);
        target.resize(conversion.bytes[1], 0);
        let task = Task {
            job: conversion.job,
            shapes: conversion.shapes,
            frame,
            lent,
            source: std::mem::take(&mut self.source),
            target,
            done: false,
        };
        let given = match &self.thread {
            Some(thread) => thread.give(task),
            None => Err(Box::new(task)),
        };
        self.under_way = Some(conversion.compose);
        if let Err(mut task) = given {
            task.run(&mut self.engine);
            self.keep(*task);
        }
    }

    /// Returns whether the picture is converted, and can be written.
    pub(crate) fn is_converted(&mut self) -> bool {
        if let Some(task) = self.thread.as_ref().and_then(Beside::take) {
            self.keep(task);
        }
        self.converted.is_some()
    }

    fn keep(&mut self, task: Task) {
        self.converted = self.under_way.take().map(|compose| Converted {
            task,
            compose,
            cursor: PictureCursor::default(),
        });
    }

    /// Continues to write the converted picture, at most `left` bytes. Returns the bytes used in each plane
    /// once the picture is complete. Fails if there is no converted picture, if the device no longer owns the
    /// buffer, or if the conversion failed.
    pub(crate) fn resume_write<C>(
        &mut self,
        format: &Format,
        buffer: &Active<C>,
        left: &mut usize,
        bus: &mut dyn Bus<C>,
    ) -> Result<Option<[u64; MAX_PLANES]>, Trouble> {
        let Some(converted) = self.converted.as_mut().filter(|_| !buffer.is_stale()) else {
            return Err(Trouble::Stale);
        };
        if !converted.task.done {
            return Err(Trouble::Fault);
        }
        let surface = Surface(format);
        let (place, going) = ((buffer, converted.compose), (&mut converted.cursor, left));
        match surface.write_rect_on(place, going, bus, &converted.task.target)? {
            true => surface.payloads().map(Some),
            false => Ok(None),
        }
    }

    /// Takes back the memory of the converted picture for reuse.
    pub(crate) fn take_back(&mut self) {
        if let Some(Converted { task, .. }) = self.converted.take() {
            (self.source, self.target) = (task.source, task.target);
        }
    }

    /// Converts `source`, or the converter's own source, into a buffer within this call.
    pub(crate) fn write<C>(
        &mut self,
        conversion: &Conversion,
        source: Option<&[u8]>,
        format: &Format,
        buffer: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        let [(from, from_size), (to, to_size)] = conversion.shapes;
        self.target.resize(conversion.bytes[1], 0);
        let source = (from, from_size, source.unwrap_or(&self.source));
        let target = (to, to_size, self.target.as_mut_slice());
        let done = self.engine.run_unpadded(&conversion.job, source, target);
        done.map_err(|_| Trouble::Fault)?;
        let (mut cursor, mut left) = (PictureCursor::default(), usize::MAX);
        let (place, going) = ((buffer, conversion.compose), (&mut cursor, &mut left));
        let surface = Surface(format);
        surface.write_rect_on(place, going, bus, &self.target)?;
        surface.payloads()
    }
}
