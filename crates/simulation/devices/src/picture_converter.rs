//! Converts pictures on their way to a buffer: small ones within a call, large ones on a thread.

use crate::conversion::{Conversion, Task};
use crate::convert_thread::{ConvertThread, LARGE};
use crate::surface::{Gate, LentLines, LentTarget, PictureCursor, Step, Surface, Trouble, fit};
use crate::worker::FrameWorker;
use std::sync::Arc;
use vb3_picture::Frame;
use vb3_picture::convert::Converter;
use vb3_queue::Active;
use vb3_v4l2::{Bus, Format, WakeFd};

/// Converts pictures, one at a time.
#[derive(Default)]
pub(crate) struct PictureConverter {
    pub(crate) engine: Converter,
    /// The source part without padding. While the thread converts, the thread has this memory.
    pub(crate) source: Vec<u8>,
    /// The converted part without padding.
    target: Vec<u8>,
    /// The thread for large pictures. It starts with the first large picture.
    thread: Option<ConvertThread<Task>>,
    /// Lets the thread write to the buffer that it got last.
    gate: Option<Gate>,
    /// The picture that was converted last, until its memory is taken back.
    converted: Option<Task>,
    /// Whether calls convert all pictures, without the thread.
    at_once: bool,
}

impl FrameWorker for PictureConverter {
    fn is_busy(&self) -> bool {
        (self.thread.as_ref()).is_some_and(|thread| thread.is_busy)
    }

    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        self.thread.as_ref()?.wake_fd()
    }

    fn work_at_once(&mut self) {
        self.at_once = true;
    }
}

impl PictureConverter {
    /// Sets the thread that converts large pictures.
    #[cfg(test)]
    pub(crate) fn convert_by(&mut self, thread: ConvertThread<Task>) {
        self.thread = Some(thread);
    }

    /// Returns whether the thread must convert a picture and can begin now. If no thread can be started, calls
    /// convert all pictures.
    pub(crate) fn wants_thread(&mut self, conversion: &Conversion) -> bool {
        let [source, target] = conversion.bytes;
        if source.saturating_add(target) < LARGE || self.at_once || self.is_busy() {
            return false;
        }
        if self.thread.is_none() {
            let mut engine = Converter::new();
            let run = move |task: &mut Task| task.run(&mut engine);
            self.thread = ConvertThread::start(run);
        }
        self.thread.is_some()
    }

    /// Converts a picture: `frame`, the `lent` lines, or `source` if there is neither. Converts the picture within
    /// this call, unless the picture is for the thread and the thread accepts the picture. The result is also
    /// written to `buffer`, if that is set.
    pub(crate) fn begin(
        &mut self,
        conversion: &Conversion,
        frame: Option<Arc<Frame>>,
        lent: Vec<LentLines>,
        buffer: Option<LentTarget>,
        on_thread: bool,
    ) {
        self.gate = buffer.as_ref().map(LentTarget::gate);
        let mut target = std::mem::take(&mut self.target);
        fit(&mut target, conversion.bytes[1]);
        let task = Task {
            conversion: *conversion,
            frame,
            lent,
            source: std::mem::take(&mut self.source),
            target,
            buffer,
            done: false,
            written: PictureCursor::default(),
        };
        let given = match self.thread.as_mut().filter(|_| on_thread) {
            Some(thread) => thread.give(task),
            None => Err(task),
        };
        if let Err(mut task) = given {
            task.run(&mut self.engine);
            self.converted = Some(task);
        }
    }

    pub(crate) fn is_converted(&mut self) -> bool {
        if let Some((mut task, ran)) = self.thread.as_mut().and_then(ConvertThread::take) {
            task.done &= ran;
            self.converted = Some(task);
        }
        self.converted.is_some()
    }

    /// Continues to write the converted picture, at most `left` bytes. If the thread has written the picture
    /// itself, only counts the picture as written. Fails if there is no converted picture, if the device no longer
    /// owns the buffer, or if the conversion failed.
    pub(crate) fn resume_write<C>(
        &mut self,
        format: &Format,
        buffer: &Active<C>,
        left: &mut usize,
        bus: &mut dyn Bus<C>,
    ) -> Step {
        let Some(task) = self.converted.as_mut().filter(|_| !buffer.is_stale()) else {
            return Err(Trouble::Stale);
        };
        if !task.done {
            return Err(Trouble::Fault);
        }
        let place = (buffer, task.conversion.selection.compose);
        if task.buffer.is_some() {
            return Surface(format).note_written(place, bus).map(Some);
        }
        Surface(format).write_rect_on(place, (&mut task.written, left), bus, &task.target)
    }

    /// Takes back the memory of the converted picture for reuse.
    pub(crate) fn take_back(&mut self) {
        if let Some(task) = self.converted.take() {
            (self.source, self.target) = (task.source, task.target);
        }
    }

    /// Takes the lent buffer back. The thread does not write to it any more. Waits while the thread writes a stripe,
    /// which takes well below a millisecond.
    pub(crate) fn recall(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.close();
        }
    }
}

impl Drop for PictureConverter {
    fn drop(&mut self) {
        self.recall();
    }
}
