//! Media requests: buffers that are queued together, with the settings that hold for them.
//!
//! A [`Request`] knows which buffers it has and how far it is; its host keeps it, knows the queues
//! by number, and does to buffers what [`RequestHost`] asks.
//!
//! Source: Linux 7.2 drivers/media/mc/mc-request.c and `vb2_request_validate`, differs: a request
//! takes one buffer of a queue at most (Linux takes more, and warns when they complete); one that
//! goes before it was queued gives its buffers back at once (Linux keeps them until STREAMOFF).

use crate::{Busy, Error, RequestState};
use alloc::vec::Vec;

/// Most buffers of a request, each of another queue.
pub const MAX_REQUEST_BUFFERS: usize = 64;

/// A buffer in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BoundBuffer {
    /// The host's number for its queue.
    pub queue: u64,
    /// Its index.
    pub index: u32,
}

/// The work of a host on the buffers of a request. Each names its method of
/// [`Session`](crate::Session).
pub trait RequestHost {
    /// [`req_prepare`](crate::Session::req_prepare).
    ///
    /// # Errors
    /// Passed to who queues the request.
    fn prepare(&mut self, buffer: BoundBuffer) -> Result<(), Error>;
    /// [`req_unprepare`](crate::Session::req_unprepare).
    fn unprepare(&mut self, buffer: BoundBuffer);
    /// [`req_queue`](crate::Session::req_queue).
    fn queue(&mut self, buffer: BoundBuffer);
    /// [`req_release`](crate::Session::req_release).
    fn free(&mut self, buffer: BoundBuffer);
}

/// A media request.
///
/// # Invariants
/// At most one buffer of each queue. Complete ones have none. Buffers in it are InRequest while it
/// is Idle, and Queued or Active while it is Queued.
#[derive(Debug, Default)]
pub struct Request {
    state: RequestState,
    buffers: Vec<BoundBuffer>,
}

impl Request {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: RequestState::Idle,
            buffers: Vec::new(),
        }
    }

    /// How far it is.
    #[must_use]
    pub const fn state(&self) -> RequestState {
        self.state
    }

    /// Its buffers, in the order of their arrival.
    #[must_use]
    pub fn buffers(&self) -> &[BoundBuffer] {
        &self.buffers
    }

    /// Fails unless things may be put into it.
    ///
    /// # Errors
    /// [`Busy::Request`] (EBUSY).
    pub fn check_idle(&self) -> Result<(), Error> {
        if self.state == RequestState::Idle {
            Ok(())
        } else {
            Err(Busy::Request { state: self.state }.into())
        }
    }

    /// Takes a buffer in.
    ///
    /// # Errors
    /// [`Busy::Request`], [`Busy::RequestHasBuffer`] (EBUSY); [`Error::NoMemory`] (ENOMEM).
    pub(crate) fn bind(&mut self, buffer: BoundBuffer) -> Result<(), Error> {
        self.check_idle()?;
        let known = self.buffers.iter().find(|b| b.queue == buffer.queue);
        if let Some(&BoundBuffer { index, .. }) = known {
            return Err(Busy::RequestHasBuffer { index }.into());
        }
        let full = Error::NoMemory {
            wanted: MAX_REQUEST_BUFFERS as u64,
            found: self.buffers.len() as u64,
            cause: None,
        };
        if self.buffers.len() >= MAX_REQUEST_BUFFERS {
            return Err(full);
        }
        self.buffers.try_reserve(1).map_err(|_| full)?;
        self.buffers.push(buffer);
        Ok(())
    }

    /// Removes a buffer from the request: the device has finished it, or its queue returned it to
    /// the program ([`Driver::buf_request_complete`](crate::Driver::buf_request_complete)). Returns whether this
    /// completes the request.
    pub fn unbind(&mut self, buffer: BoundBuffer) -> bool {
        self.buffers.retain(|b| *b != buffer);
        let complete = self.state == RequestState::Queued && self.buffers.is_empty();
        if complete {
            self.state = RequestState::Complete;
        }
        complete
    }

    /// Queues all buffers (`MEDIA_REQUEST_IOC_QUEUE`), or none. All are prepared first; where one
    /// cannot be, those before it are unprepared, the last one first, and the request is as it was.
    ///
    /// # Errors
    /// * [`Busy::Request`] (EBUSY): it is queued, or complete.
    /// * [`Error::RequestEmpty`] (ENOENT).
    /// * What preparing a buffer says.
    pub fn enqueue<H: RequestHost + ?Sized>(&mut self, host: &mut H) -> Result<(), Error> {
        self.check_idle()?;
        if self.buffers.is_empty() {
            return Err(Error::RequestEmpty);
        }
        self.state = RequestState::Validating;
        for (at, buffer) in self.buffers.iter().enumerate() {
            if let Err(e) = host.prepare(*buffer) {
                let before = self.buffers.iter().take(at);
                before.rev().for_each(|buffer| host.unprepare(*buffer));
                self.state = RequestState::Idle;
                return Err(e);
            }
        }
        self.state = RequestState::Queued;
        self.buffers.iter().for_each(|buffer| host.queue(*buffer));
        Ok(())
    }

    /// Empties the request, so that it can be filled again (`MEDIA_REQUEST_IOC_REINIT`), or goes.
    ///
    /// # Errors
    /// [`Busy::Request`] (EBUSY): it is queued.
    pub fn reinit<H: RequestHost + ?Sized>(&mut self, host: &mut H) -> Result<(), Error> {
        if !matches!(self.state, RequestState::Idle | RequestState::Complete) {
            return Err(Busy::Request { state: self.state }.into());
        }
        self.state = RequestState::Cleaning;
        self.buffers.iter().for_each(|buffer| host.free(*buffer));
        self.buffers.clear();
        self.state = RequestState::Idle;
        Ok(())
    }
}
