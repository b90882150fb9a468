//! A conversion of one picture, from memory or a buffer to memory or a buffer.

use crate::select::Selection;
use crate::surface::{LentLines, LentTarget, PictureCursor, STRIPE};
use std::sync::Arc;
use vb3_picture::convert::{Converter, Job, View, ViewMut, plane};
use vb3_picture::{Frame, Size};
use vb3_v4l2::PixelFormat;

/// The parameters of a conversion, which are fixed when it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversion {
    pub(crate) job: Job,
    /// Format and size of the source part, then of the target part.
    pub(crate) shapes: [(&'static PixelFormat, Size); 2],
    /// Bytes of the source part, then of the target part, without padding.
    pub(crate) bytes: [usize; 2],
    /// The rectangles of both parts in their pictures.
    pub(crate) selection: Selection,
}

/// A picture to convert: source and target bytes, lines without padding.
pub(crate) struct Task {
    pub(crate) conversion: Conversion,
    /// The source; `None` if `lent` or `source` has its bytes.
    pub(crate) frame: Option<Arc<Frame>>,
    /// The source's components in their buffer; empty if `frame` or `source` has the bytes.
    pub(crate) lent: Vec<LentLines>,
    pub(crate) source: Vec<u8>,
    /// The converted lines. If the thread writes the lines to `buffer`, this field has only the lines of the
    /// latest stripe (the lines that the thread converts in one step).
    pub(crate) target: Vec<u8>,
    /// The target's components in their buffer; `None` if the device writes `target` to the buffer.
    pub(crate) buffer: Option<LentTarget>,
    /// Whether the picture was converted, and written if `buffer` is set.
    pub(crate) done: bool,
    /// How much of `target` the device has written to the buffer.
    pub(crate) written: PictureCursor,
}

impl Task {
    /// Converts the picture. `done` then tells whether this succeeded.
    pub(crate) fn run(&mut self, engine: &mut Converter) {
        self.done = self.convert(engine).is_some();
        self.lent.clear();
        self.frame = None;
    }

    fn convert(&mut self, engine: &mut Converter) -> Option<()> {
        let (lines, whole_job) = (self.stripe_lines(), self.conversion.job);
        let [(from, size), (to, to_size)] = self.conversion.shapes;
        let pitch = |format, size| plane(format, size, 0).map(|(line, _)| line);
        let mut is_written = self.buffer.is_none();
        for first in (0..size.height()).step_by(lines as usize) {
            let part = Size::new(size.width(), lines.min(size.height() - first))?;
            if !self.lent.is_empty() {
                read(&self.lent, (from, part), first, &mut self.source)?;
            }
            let frame = self.frame.as_ref();
            let bytes = frame.map_or(&*self.source, |frame| frame.bytes());
            let source = View::contiguous(from, part, bytes, pitch(from, part)?).ok()?;
            let mut job = whole_job;
            if part != size {
                job = job.part(size, first, part.height());
            }
            // After a quarter turn, the lines become columns. The buffer then gets the whole target at the end.
            let place = job.compose;
            let is_stripe = self.buffer.is_some() && place.width == to_size.width();
            let mut made = to_size;
            if is_stripe {
                (job.compose.y, made) = (0, Size::new(place.width, place.height)?);
            }
            let bytes = &mut self.target;
            let mut target = ViewMut::contiguous(to, made, bytes, pitch(to, made)?).ok()?;
            engine.run(&job, &source, &mut target).ok()?;
            if is_stripe {
                self.write(place.y, made)?;
                is_written = true;
            }
        }
        match is_written {
            true => Some(()),
            false => self.write(0, to_size),
        }
    }

    /// Writes converted lines to the buffer, from line `first` on. `None` if the buffer was taken back.
    fn write(&self, first: u32, part: Size) -> Option<()> {
        let (format, _) = self.conversion.shapes[1];
        let mut start = 0;
        for index in 0..format.components.len() {
            let end = start + format.component_bytes(index, part.width(), part.height())?;
            let bytes = self.target.get(start..end)?;
            // CAST: widening, on every target there is.
            let above = format.lines(index, first) as usize;
            let buffer = self.buffer.as_ref()?;
            buffer.write(index, above, bytes).then_some(())?;
            start = end;
        }
        Some(())
    }

    /// Returns how many lines of the source to convert at once.
    fn stripe_lines(&self) -> u32 {
        let [(from, size), to] = self.conversion.shapes;
        if self.lent.is_empty() || self.conversion.job.scales((from, size), to) {
            return size.height();
        }
        let lines = [from, to.0].into_iter().flat_map(|format| {
            let count = format.components.len();
            (0..count).filter_map(|index| format.component_bytes(index, size.width(), 16))
        });
        let stripes = STRIPE / lines.sum::<usize>().max(1);
        // CAST: the number of stripes is at most `STRIPE`.
        (stripes.max(1) as u32 * 16).min(size.height())
    }
}

/// Reads some lines of a picture from line `first` on; `None` if they are not readable.
fn read(
    lent: &[LentLines],
    (format, part): (&PixelFormat, Size),
    first: u32,
    to: &mut Vec<u8>,
) -> Option<()> {
    let mut filled = 0;
    for (index, lines) in lent.iter().enumerate() {
        let end = filled + format.component_bytes(index, part.width(), part.height())?;
        to.resize(end.max(to.len()), 0);
        // CAST: widening, on every target there is.
        let above = format.lines(index, first) as usize;
        lines.read(above, to.get_mut(filled..end)?).then_some(())?;
        filled = end;
    }
    Some(())
}
