//! Media requests of a device, and the calls on them.
//!
//! A request has at most one OUTPUT buffer of each open file. It also has controls, which apply while the
//! device processes these buffers.
//!
//! Buffers stay in the state `InRequest` until the whole request is queued. This crate then applies the
//! controls and passes the driver one buffer at a time, so drivers know nothing about requests.

use crate::contexts::Contexts;
use crate::control::ControlValue;
use crate::{Error, Flow, POLL_ERR, POLL_PRI, V4l2Outcome, VideoDevice, VideoDriver, sys};
use std::collections::BTreeMap;
use vb3_plane::MemOps;
use vb3_queue::{BoundBuffer, Request, RequestHost, RequestId, RequestState, Session};

/// Maximum number of requests of a device that exist at a time.
pub(crate) const MAX_REQUESTS: usize = 4096;

/// Values of controls by id.
pub(crate) type Values = BTreeMap<u32, ControlValue>;

/// A request with the controls of each open file.
/// When a file's buffer finishes, the request stores the values of all controls of this file.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) request: Request,
    controls: BTreeMap<u64, Values>,
    /// Whether the request's descriptor has been closed. If so, the request is removed once it is complete.
    closed: bool,
}

impl Entry {
    /// Returns the values to set for a file's buffer.
    pub(crate) fn values_mut(&mut self, of: u64) -> &mut Values {
        self.controls.entry(of).or_default()
    }

    /// Returns the values that a file's controls had when its buffer finished.
    ///
    /// # Errors
    /// EACCES before the request is complete. ENOMEM if the request has no controls of the file, as on Linux.
    pub(crate) fn completed(&self, of: u64) -> Result<&Values, Error> {
        if self.request.state() != RequestState::Complete {
            return Err(Error::RequestIncomplete);
        }
        self.controls.get(&of).ok_or(Error::Full)
    }
}

/// All requests of a device.
#[derive(Debug)]
pub(crate) struct Requests {
    pub(crate) all: BTreeMap<RequestId, Entry>,
    next: u64,
    wake: bool,
}

/// The part of the device that a call on a file may use, besides the file's context.
pub(crate) struct Scope<'a> {
    pub(crate) requests: &'a mut Requests,
    /// The context's number.
    pub(crate) of: u64,
}

impl Scope<'_> {
    /// Returns the request that a QBUF names; `None` if it does not exist.
    pub(crate) fn request(&mut self, id: RequestId) -> Option<(RequestId, &mut Request)> {
        Some((id, &mut self.requests.get_mut(id)?.request))
    }
}

impl Requests {
    pub(crate) const fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            next: 1,
            wake: false,
        }
    }

    pub(crate) fn get_mut(&mut self, id: RequestId) -> Option<&mut Entry> {
        self.all.get_mut(&id)
    }

    pub(crate) fn take_wake(&mut self) -> bool {
        core::mem::take(&mut self.wake)
    }

    /// Returns a file's controls in a request.
    pub(crate) fn controls(
        &self,
        id: RequestId,
        of: u64,
    ) -> impl Iterator<Item = (u32, &ControlValue)> {
        let values = self.all.get(&id).and_then(|entry| entry.controls.get(&of));
        values.into_iter().flatten().map(|(id, value)| (*id, value))
    }

    /// Removes a finished buffer from its request, and stores `values`: all controls of the buffer's file.
    pub(crate) fn unbind(
        &mut self,
        id: RequestId,
        buffer: BoundBuffer,
        values: impl FnOnce() -> Values,
    ) {
        let Some(entry) = self.all.get_mut(&id) else {
            return;
        };
        if entry.request.state() == RequestState::Queued {
            // Values that the request itself contains take precedence.
            let mut all = values();
            let known = entry.controls.entry(buffer.queue).or_default();
            all.append(known);
            *known = all;
        }
        let complete = entry.request.unbind(buffer);
        if complete && entry.closed {
            self.all.remove(&id);
        }
        self.wake |= complete;
    }

    /// Removes a closed file's controls. The file's buffers have left their requests already.
    pub(crate) fn forget_file(&mut self, of: u64) {
        for entry in self.all.values_mut() {
            entry.controls.remove(&of);
        }
    }
}

/// Lets requests access the device's queues.
struct Host<'a, M: MemOps, D> {
    mem: &'a mut M,
    contexts: &'a mut Contexts<M, D>,
}

impl<M, D> Host<'_, M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Calls `act` with the buffer's queue; `None` if the queue is gone.
    fn with_queue<T>(
        &mut self,
        buffer: BoundBuffer,
        act: impl FnOnce(&mut Session<'_, M>) -> T,
    ) -> Option<T> {
        let context = self.contexts.get_mut(buffer.queue)?;
        let acted = context.in_session(self.mem, Flow::Output, |mut session| act(&mut session));
        acted.ok()
    }
}

impl<M, D> RequestHost for Host<'_, M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    fn prepare(&mut self, buffer: BoundBuffer) -> Result<(), vb3_queue::Error> {
        self.with_queue(buffer, |session| session.req_prepare(buffer.index))
            .unwrap_or(Err(vb3_queue::Error::RequestEmpty))
    }

    fn unprepare(&mut self, buffer: BoundBuffer) {
        self.with_queue(buffer, |session| session.req_unprepare(buffer.index));
    }

    fn queue(&mut self, buffer: BoundBuffer) {
        self.with_queue(buffer, |session| session.req_queue(buffer.index));
    }

    fn free(&mut self, buffer: BoundBuffer) {
        self.with_queue(buffer, |session| session.req_release(buffer.index));
    }
}

/// The calls on media requests, for a host that gives programs descriptors of them.
impl<M, D> VideoDevice<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Returns whether buffers may be queued by media requests.
    #[must_use]
    pub const fn offers_requests(&self) -> bool {
        self.offers_requests
    }

    /// Makes a request (`MEDIA_IOC_REQUEST_ALLOC`).
    ///
    /// # Errors
    /// ENOMEM if the device has 4096 requests.
    pub fn alloc_request(&mut self) -> Result<RequestId, Error> {
        let requests = &mut self.requests;
        if requests.all.len() >= MAX_REQUESTS {
            return Err(Error::Full);
        }
        let id = RequestId(requests.next);
        requests.next = requests.next.wrapping_add(1);
        requests.all.insert(id, Entry::default());
        Ok(id)
    }

    /// Answers an ioctl on a request's descriptor, without waiting.
    pub fn request_ioctl(
        &mut self,
        mem: &mut M,
        id: RequestId,
        request: u32,
        now_ns: u64,
    ) -> V4l2Outcome {
        let done = match request {
            sys::MEDIA_REQUEST_IOC_QUEUE => self.queue_request(mem, id, now_ns),
            sys::MEDIA_REQUEST_IOC_REINIT => self.empty_request(mem, id),
            _ => Err(Error::NotTty),
        };
        V4l2Outcome::from(done.map(|()| Some(0)))
    }

    /// Queues a request (`MEDIA_REQUEST_IOC_QUEUE`).
    ///
    /// Differs from Linux: if a request has a file's controls but no buffer of the file, the call fails with
    /// ENOENT, since the request could never complete.
    fn queue_request(&mut self, mem: &mut M, id: RequestId, now_ns: u64) -> Result<(), Error> {
        let entry = self.requests.get_mut(id).ok_or(Error::NoFile)?;
        entry.request.check_idle()?;
        let buffers = entry.request.buffers();
        let files: Vec<u64> = buffers.iter().map(|buffer| buffer.queue).collect();
        if !entry.controls.keys().all(|of| files.contains(of)) {
            return Err(vb3_queue::Error::RequestEmpty.into());
        }
        let contexts = &mut self.contexts;
        entry.request.enqueue(&mut Host { mem, contexts })?;
        for of in files {
            if let Some(context) = self.contexts.get_mut(of) {
                context.advance_requests(of, &mut self.requests, now_ns);
                context.wake = true;
            }
        }
        self.requests.wake = true;
        Ok(())
    }

    fn empty_request(&mut self, mem: &mut M, id: RequestId) -> Result<(), Error> {
        let entry = self.requests.get_mut(id).ok_or(Error::NoFile)?;
        let contexts = &mut self.contexts;
        entry.request.reinit(&mut Host { mem, contexts })?;
        entry.controls.clear();
        self.requests.wake = true;
        Ok(())
    }

    /// Records that a request's last descriptor was closed. A queued request stays until it is complete.
    pub fn close_request(&mut self, mem: &mut M, id: RequestId) {
        if self.empty_request(mem, id).is_ok() {
            self.requests.all.remove(&id);
        } else if let Some(entry) = self.requests.get_mut(id) {
            entry.closed = true;
        }
    }

    /// Returns the pending poll event of a request; 0 unless `events` has POLLPRI.
    /// POLLPRI: the request is complete. POLLERR: it was not queued, so it cannot complete.
    ///
    /// Source: Linux 7.2 `media_request_poll`.
    #[must_use]
    pub fn request_poll(&self, id: RequestId, events: i16) -> i16 {
        if events & POLL_PRI == 0 {
            return 0;
        }
        let entry = self.requests.all.get(&id);
        match entry.map(|entry| entry.request.state()) {
            Some(RequestState::Complete) => POLL_PRI,
            Some(RequestState::Queued) => 0,
            _ => POLL_ERR,
        }
    }
}
