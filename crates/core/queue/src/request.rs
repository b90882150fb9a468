//! Media requests: buffers that are queued together, with the controls that belong to them.
//!
//! A [`Request`] stores its buffers and its state. The host stores the request, numbers the queues,
//! and implements [`RequestHost`] to prepare, queue and free the buffers.
//!
//! Source: Linux 7.2 drivers/media/mc/mc-request.c and `vb2_request_validate`. Two differences:
//!
//! * A request has at most one buffer of each queue. Linux accepts more, and warns when they complete.
//! * A request that is freed before it was queued returns its buffers at once. Linux keeps them until
//!   STREAMOFF.

use crate::{Busy, Error, RequestState};
use alloc::vec::Vec;

/// Maximum number of buffers in a request. No two of them belong to the same queue.
const MAX_REQUEST_BUFFERS: usize = 64;

/// A buffer in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BoundBuffer {
    /// The host's number for the buffer's queue.
    pub queue: u64,
    /// The buffer's index in its queue.
    pub index: u32,
}

/// The host's access to the buffers of a request. Each method finds the buffer's queue and calls one
/// method of its [`Session`](crate::Session).
pub trait RequestHost {
    /// Calls [`req_prepare`](crate::Session::req_prepare).
    ///
    /// # Errors
    /// The error of `req_prepare`. [`Request::enqueue`] returns it.
    fn prepare(&mut self, buffer: BoundBuffer) -> Result<(), Error>;
    /// Calls [`req_unprepare`](crate::Session::req_unprepare).
    fn unprepare(&mut self, buffer: BoundBuffer);
    /// Calls [`req_queue`](crate::Session::req_queue).
    fn queue(&mut self, buffer: BoundBuffer);
    /// Calls [`req_release`](crate::Session::req_release).
    fn free(&mut self, buffer: BoundBuffer);
}

/// A media request.
///
/// # Invariants
/// * A request has at most one buffer of each queue.
/// * The buffers of an Idle request are InRequest; those of a Queued request are Queued or Active.
/// * A Complete request has no buffers.
#[derive(Debug, Default)]
pub struct Request {
    state: RequestState,
    buffers: Vec<BoundBuffer>,
}

impl Request {
    /// Returns the request's state.
    #[must_use]
    pub const fn state(&self) -> RequestState {
        self.state
    }

    /// Returns the buffers, in the order in which they were added.
    #[must_use]
    pub fn buffers(&self) -> &[BoundBuffer] {
        &self.buffers
    }

    /// Fails if buffers and controls may not be added now.
    ///
    /// # Errors
    /// [`Busy::Request`] (EBUSY): the request is not Idle.
    pub fn check_idle(&self) -> Result<(), Error> {
        match self.state {
            RequestState::Idle => Ok(()),
            state => Err(Busy::Request { state }.into()),
        }
    }

    /// Adds a buffer.
    ///
    /// # Errors
    /// * [`Busy::Request`] (EBUSY): the request is not Idle.
    /// * [`Busy::RequestHasBuffer`] (EBUSY): it has another buffer of this queue.
    /// * [`Error::NoMemory`] (ENOMEM): it has [`MAX_REQUEST_BUFFERS`], or the heap is exhausted.
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

    /// Removes a finished buffer, or one that its queue returned to the program
    /// ([`Driver::buf_request_complete`](crate::Driver::buf_request_complete)). Returns whether the request
    /// is then complete.
    pub fn unbind(&mut self, buffer: BoundBuffer) -> bool {
        self.buffers.retain(|b| *b != buffer);
        let complete = self.state == RequestState::Queued && self.buffers.is_empty();
        if complete {
            self.state = RequestState::Complete;
        }
        complete
    }

    /// Queues all buffers or none (`MEDIA_REQUEST_IOC_QUEUE`). Prepares all of them first. If that fails for
    /// a buffer, unprepares the earlier ones in reverse order, and the request stays Idle.
    ///
    /// # Errors
    /// * [`Busy::Request`] (EBUSY): the request is queued or complete.
    /// * [`Error::RequestEmpty`] (ENOENT): it has no buffer.
    /// * The error of [`RequestHost::prepare`].
    pub fn enqueue<H: RequestHost + ?Sized>(&mut self, host: &mut H) -> Result<(), Error> {
        self.check_idle()?;
        if self.buffers.is_empty() {
            return Err(Error::RequestEmpty);
        }
        for (at, buffer) in self.buffers.iter().enumerate() {
            if let Err(e) = host.prepare(*buffer) {
                let before = self.buffers.iter().take(at);
                before.rev().for_each(|buffer| host.unprepare(*buffer));
                return Err(e);
            }
        }
        self.state = RequestState::Queued;
        self.buffers.iter().for_each(|buffer| host.queue(*buffer));
        Ok(())
    }

    /// Removes all buffers, so that the request can be used again (`MEDIA_REQUEST_IOC_REINIT`) or
    /// dropped.
    ///
    /// # Errors
    /// [`Busy::Request`] (EBUSY): the request is queued.
    pub fn reinit<H: RequestHost + ?Sized>(&mut self, host: &mut H) -> Result<(), Error> {
        if self.state == RequestState::Queued {
            return Err(Busy::Request { state: self.state }.into());
        }
        self.buffers.iter().for_each(|buffer| host.free(*buffer));
        self.buffers.clear();
        self.state = RequestState::Idle;
        Ok(())
    }
}
