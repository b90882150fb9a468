//! Conversions beside the devices: a thread that converts one picture at a time, so that no call of
//! any program waits for pixels.

use crate::Failure;
use crate::convert::{Converter, Job, View, ViewMut, plane};
use crate::picture::Size;
use crate::ring::Ring;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vb3_v4l2::PixelFormat;

/// Bytes of both pictures from which on they are converted beside the devices. What is smaller takes
/// half a millisecond.
pub(crate) const LARGE: usize = 512 << 10;

/// A picture to convert: what is taken of one, and what is made of it, lines without padding.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) job: Job,
    /// Format and size of the source, and of the target.
    pub(crate) shapes: [(&'static PixelFormat, Size); 2],
    pub(crate) source: Vec<u8>,
    pub(crate) target: Vec<u8>,
    /// Whether it was converted.
    pub(crate) done: bool,
}

impl Task {
    /// Converts the picture.
    pub(crate) fn run(&mut self, engine: &mut Converter) {
        let [from, to] = self.shapes;
        let line = |(format, size)| plane(format, size, 0).map_or(0, |(line, _)| line);
        let view = View::contiguous(from.0, from.1, &self.source, line(from));
        let made = ViewMut::contiguous(to.0, to.1, &mut self.target, line(to));
        let done = view.and_then(|view| engine.run(&self.job, &view, &mut made?));
        self.done = done.is_ok();
    }
}

/// The thread, as its owner sees it. It has one picture at most, and ends after it when the owner is
/// gone: nobody waits for it.
#[derive(Debug)]
pub(crate) struct Beside {
    todo: Arc<Ring<Task>>,
    done: Arc<Ring<Task>>,
}

impl Beside {
    /// Starts a thread that converts each picture.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) fn converting() -> Result<Self, Failure> {
        let mut engine = Converter::new();
        Self::start(move |task| task.run(&mut engine))
    }

    /// Starts a thread that does `run` to each picture.
    ///
    /// # Errors
    /// A sentence, where no thread or descriptor is to be had.
    pub(crate) fn start(mut run: impl FnMut(&mut Task) + Send + 'static) -> Result<Self, Failure> {
        let (todo, done) = (Ring::<Task>::new(1)?, Ring::<Task>::new(1)?);
        let (from, to) = (Arc::clone(&todo), Arc::clone(&done));
        let thread = std::thread::Builder::new().name("vb3-convert".to_owned());
        let spawned = thread.spawn(move || {
            while let Some(mut task) = from.pop_wait() {
                run(&mut task);
                if to.push_wait(task).is_err() {
                    return;
                }
            }
        });
        let failed = |e| Failure::new(format!("cannot start a thread for conversions: {e}"));
        spawned.map_err(failed)?;
        Ok(Self { todo, done })
    }

    /// Gives it a picture; gives that back if it has one.
    pub(crate) fn give(&self, task: Task) -> Result<(), Box<Task>> {
        self.todo.try_push(task).map_err(Box::new)
    }

    /// The picture that it had, once it is done with it; [`wake_fd`](Self::wake_fd) becomes
    /// readable then.
    pub(crate) fn take(&self) -> Option<Task> {
        self.done.acknowledge();
        self.done.try_pop().ok()
    }

    /// Readable when the picture is done, after [`take`](Self::take) has found that it was not.
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.done.wake_fd()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.todo.close();
        self.done.close();
    }
}
