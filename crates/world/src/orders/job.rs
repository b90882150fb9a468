//! Runs the work of one order on a thread, because the work may wait for files or programs.

use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

/// Work that runs on its own thread. The thread ends with the work and is never joined.
#[derive(Debug)]
pub(super) struct Job<T> {
    done: Receiver<Result<T, String>>,
    wake: Arc<OwnedFd>,
}

impl<T: Send + 'static> Job<T> {
    /// Starts the work on a thread with this name.
    ///
    /// # Errors
    /// Fails, with a message for the client, if no descriptor is free or the thread cannot be started.
    pub(super) fn start(
        name: &str,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<Self, String> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| format!("cannot make an eventfd: {e}"))?;
        let wake = Arc::new(wake);
        let (sender, done) = channel();
        let ready = Arc::clone(&wake);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Fails if the order was dropped in between.
                let _ = sender.send(work());
                // Nothing else writes to the eventfd, so its counter is not full.
                let _ = rustix::io::write(&*ready, &1u64.to_ne_bytes());
            })
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self { done, wake })
    }

    /// Returns the work's result once it is done.
    pub(super) fn take(&self) -> Option<Result<T, String>> {
        match self.done.try_recv() {
            Ok(done) => Some(done),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("the work ended early".to_owned())),
        }
    }
}

impl<T> Job<T> {
    /// Returns a descriptor that is readable once the work is done.
    pub(super) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
