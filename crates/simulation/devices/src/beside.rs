//! Converts pictures on a separate thread, one at a time, so that no program's call waits for it.

use crate::Failure;
use crate::ring::Ring;
use crate::select::Selection;
use crate::surface::{LentLines, PictureCursor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use vb3_picture::convert::{Converter, Job, View, ViewMut, plane};
use vb3_picture::{Frame, Size};
use vb3_v4l2::{PixelFormat, WakeFd};

/// Minimum size of source and target together, in bytes, for a conversion on the thread.
/// Smaller pictures take at most half a millisecond.
pub(crate) const LARGE: usize = 512 << 10;

/// Bytes of source and target that the thread converts in one step, where possible.
/// They fit into a core's cache.
const STRIPE: usize = 256 << 10;

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
    pub(crate) target: Vec<u8>,
    /// Whether the picture was converted.
    pub(crate) done: bool,
    /// How much of the target is written to its buffer.
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
        let (lines, job) = (self.stripe_lines(), self.conversion.job);
        let [(from, size), (to, to_size)] = self.conversion.shapes;
        let line = |format, size| plane(format, size, 0).map(|(line, _)| line);
        let pitch = line(to, to_size)?;
        let mut target = ViewMut::contiguous(to, to_size, &mut self.target, pitch).ok()?;
        for first in (0..size.height()).step_by(lines as usize) {
            let part = Size::new(size.width(), lines.min(size.height() - first))?;
            if !self.lent.is_empty() {
                read(&self.lent, (from, part), first, &mut self.source)?;
            }
            let bytes = self
                .frame
                .as_ref()
                .map_or(&*self.source, |frame| frame.bytes());
            let source = View::contiguous(from, part, bytes, line(from, part)?).ok()?;
            let job = if part == size {
                job
            } else {
                job.part(size, first, part.height())
            };
            engine.run(&job, &source, &mut target).ok()?;
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

/// The owner's handle of the thread. The thread has at most one picture. When the owner drops the handle, the
/// thread finishes its picture and ends. The thread is never joined.
pub(crate) struct Beside {
    todo: SyncSender<Task>,
    /// The converted picture. The thread keeps no reference during a conversion, so the queue's descriptor
    /// closes when the owner drops its handle.
    done: Arc<Ring<Task>>,
    /// Whether the thread is busy: from [`give`](Self::give) to [`take`](Self::take).
    pub(crate) has_picture: bool,
}

impl Beside {
    /// Starts a thread that converts each picture.
    /// Fails as [`start`](Self::start) does.
    pub(crate) fn converting() -> Result<Self, Failure> {
        let mut engine = Converter::new();
        Self::start(move |task| task.run(&mut engine))
    }

    /// Starts a thread that calls `run` for each picture.
    /// Fails, with a message for the user, if no thread or descriptor is available.
    pub(crate) fn start(mut run: impl FnMut(&mut Task) + Send + 'static) -> Result<Self, Failure> {
        let done = Ring::new(1)?;
        let (todo, tasks) = sync_channel::<Task>(1);
        let finished = Arc::downgrade(&done);
        let thread = std::thread::Builder::new().name("vb3-convert".to_owned());
        let spawned = thread.spawn(move || {
            for mut task in tasks {
                // The owner waits for the picture, even if the library has a fault.
                let ran = catch_unwind(AssertUnwindSafe(|| run(&mut task)));
                task.done &= ran.is_ok();
                if let Some(done) = finished.upgrade() {
                    // This does not block: there is at most one picture.
                    let _ = done.push_wait(task);
                }
            }
        });
        let failed = |e| Failure::new(format!("cannot start a thread for conversions: {e}"));
        spawned.map_err(failed)?;
        Ok(Self {
            todo,
            done,
            has_picture: false,
        })
    }

    /// Passes a picture to the thread. Returns the picture if the thread is busy.
    pub(crate) fn give(&mut self, task: Task) -> Result<(), Box<Task>> {
        if self.has_picture {
            return Err(Box::new(task));
        }
        // Asks for a wake-up when the picture is converted.
        let _ = self.done.try_pop();
        let sent = self.todo.try_send(task);
        self.has_picture = sent.is_ok();
        sent.map_err(|refused| match refused {
            TrySendError::Full(task) | TrySendError::Disconnected(task) => Box::new(task),
        })
    }

    /// Returns the picture if the thread has converted it.
    pub(crate) fn take(&mut self) -> Option<Task> {
        self.done.acknowledge();
        let task = self.done.try_pop().ok()?;
        self.has_picture = false;
        Some(task)
    }

    /// Returns a descriptor that is readable from the picture's completion until the picture is taken.
    pub(crate) fn wake_fd(&self) -> WakeFd<'_> {
        self.done.wake_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::sync::mpsc::channel;
    use vb3_picture::{Color, Matrix, Quantization};
    use vb3_v4l2::{Rect, pixfmt};

    fn task() -> Task {
        let size = Size::nearest(2, 2);
        let color = Color {
            matrix: Matrix::Bt709,
            range: Quantization::Limited,
        };
        Task {
            conversion: Conversion {
                job: Job::whole(size, size, color),
                shapes: [(&pixfmt::GREY, size); 2],
                bytes: [4; 2],
                selection: Selection {
                    source: (2, 2),
                    crop: Rect::whole(2, 2),
                    compose: Rect::whole(2, 2),
                },
            },
            frame: None,
            lent: Vec::new(),
            source: vec![7; 4],
            target: vec![0; 4],
            done: false,
            written: PictureCursor::default(),
        }
    }

    #[test]
    fn it_has_one_picture_until_that_is_taken() {
        let (go, may_go) = channel();
        let beside = Beside::start(move |task| {
            may_go.recv().ok();
            task.done = true;
        });
        let mut beside = beside.expect("a thread");
        assert!(beside.give(task()).is_ok());
        assert!(beside.give(task()).is_err() && beside.take().is_none());
        go.send(()).expect("it waits");
        let mut taken = None;
        while taken.is_none() {
            taken = beside.take();
            std::thread::yield_now();
        }
        assert!(taken.is_some_and(|task| task.done));
        assert!(beside.give(task()).is_ok(), "it has none");
    }

    #[test]
    fn picture_of_a_panic_returns_undone() {
        let mut beside = Beside::start(|task| {
            task.done = true;
            panic!("a fault of the library");
        })
        .expect("a thread");
        for _ in 0..2 {
            assert!(beside.give(task()).is_ok(), "the thread goes on");
            let wake = beside.wake_fd();
            assert_eq!(poll(&mut [PollFd::new(&wake, PollFlags::IN)], None), Ok(1));
            assert!(beside.take().is_some_and(|task| !task.done));
        }
    }

    #[test]
    fn descriptor_closes_with_owner_during_conversion() {
        let (go, may_go) = channel::<()>();
        let (say, said) = channel();
        let beside = Beside::start(move |_| {
            say.send("begun").ok();
            may_go.recv().ok();
            say.send("done").ok();
        });
        let mut beside = beside.expect("a thread");
        let wake = Arc::downgrade(&beside.done);
        assert!(beside.give(task()).is_ok());
        assert_eq!(said.recv(), Ok("begun"));
        drop(beside);
        assert_eq!(wake.strong_count(), 0, "it is held by the thread");
        drop(go);
        assert_eq!(said.recv(), Ok("done"));
        assert!(said.recv().is_err(), "it ends");
    }
}
