//! Media requests of a device, and the calls on them.
//!
//! A request has at most one OUTPUT buffer of each open file, and controls that apply while the device
//! processes them.
//!
//! Buffers stay InRequest until the whole request is queued. This crate then applies the controls and
//! passes the driver one token at a time, so drivers know nothing about requests.

use crate::contexts::Contexts;
use crate::control::ControlValue;
use crate::{Error, Flow, POLL_ERR, POLL_PRI, V4l2Outcome, VideoDevice, VideoDriver, sys};
use std::collections::BTreeMap;
use vb3_plane::MemOps;
use vb3_queue::{Binding, BoundBuffer, Request, RequestHost, RequestId, RequestState};

/// Largest number of simultaneous requests of a device.
pub(crate) const MAX_REQUESTS: usize = 4096;

/// Values of controls by id.
type Values = BTreeMap<u32, ControlValue>;

/// A request with the controls of each open file. Once a file's buffer has finished, they are all its
/// controls at that time.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) request: Request,
    controls: BTreeMap<u64, Values>,
    /// Its descriptor has been closed. It is removed at completion.
    closed: bool,
}

impl Entry {
    /// Stores values to set for a file's buffer.
    pub(crate) fn set(&mut self, of: u64, values: Vec<(u32, ControlValue)>) {
        self.controls.entry(of).or_default().extend(values);
    }

    /// Returns a file's control values at the end of its buffer.
    ///
    /// # Errors
    /// EACCES before that. ENOMEM if the file has no part in the request, as on Linux.
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
    all: BTreeMap<RequestId, Entry>,
    next: u64,
    wake: bool,
}

/// The part of a device that a call on a file may use besides its context.
pub(crate) struct Scope<'a> {
    pub(crate) requests: &'a mut Requests,
    /// The context's number.
    pub(crate) of: u64,
}

impl Scope<'_> {
    /// Resolves the request descriptor of a QBUF.
    pub(crate) fn binding(&mut self, id: Option<RequestId>, fd: i32) -> Binding<'_> {
        let queue = self.of;
        let named = id.and_then(|id| Some((id, &mut self.requests.get_mut(id)?.request)));
        Binding {
            request: named,
            fd,
            queue,
        }
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

    /// Removes a buffer from its request. `values` are now all controls of its file.
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
            // Values that the request itself has set take precedence.
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

    /// Forgets a closed file, whose buffers have left their requests.
    pub(crate) fn forget_file(&mut self, of: u64) {
        for entry in self.all.values_mut() {
            entry.controls.remove(&of);
        }
    }
}

/// The queues of a device, for requests.
struct Host<'a, M: MemOps, D> {
    mem: &'a mut M,
    contexts: &'a mut Contexts<M, D>,
}

type Parts<'a, M> = (&'a mut M, crate::context::Parts<'a, M>);

impl<M, D> Host<'_, M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    fn parts(&mut self, of: u64) -> Option<Parts<'_, M>> {
        let context = self.contexts.get_mut(of)?;
        Some((self.mem, context.parts(Flow::Output).ok()?))
    }
}

impl<M, D> RequestHost for Host<'_, M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    fn prepare(&mut self, buffer: BoundBuffer) -> Result<(), vb3_queue::Error> {
        match self.parts(buffer.queue) {
            Some((mem, (stream, mut driver))) => {
                let mut session = stream.session(mem, &mut *driver);
                session.req_prepare(buffer.index)
            }
            None => Err(vb3_queue::Error::RequestEmpty),
        }
    }

    fn unprepare(&mut self, buffer: BoundBuffer) {
        if let Some((mem, (stream, mut driver))) = self.parts(buffer.queue) {
            let mut session = stream.session(mem, &mut *driver);
            session.req_unprepare(buffer.index);
        }
    }

    fn queue(&mut self, buffer: BoundBuffer) {
        if let Some((mem, (stream, mut driver))) = self.parts(buffer.queue) {
            let mut session = stream.session(mem, &mut *driver);
            session.req_queue(buffer.index);
        }
    }

    fn free(&mut self, buffer: BoundBuffer) {
        if let Some((mem, (stream, mut driver))) = self.parts(buffer.queue) {
            let mut session = stream.session(mem, &mut *driver);
            session.req_release(buffer.index);
        }
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
    /// ENOMEM when there are 4096 on this device.
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

    /// Returns the number of requests, including those whose descriptors are closed.
    #[must_use]
    pub fn num_requests(&self) -> usize {
        self.requests.all.len()
    }

    /// Answers an ioctl on a request's descriptor. It never waits.
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
    /// Differs from Linux: a request with a file's controls and no buffer of it fails with ENOENT,
    /// since it could never complete.
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

    /// The last descriptor of a request has been closed. A queued request stays until it is complete.
    pub fn close_request(&mut self, mem: &mut M, id: RequestId) {
        if self.empty_request(mem, id).is_ok() {
            self.requests.all.remove(&id);
        } else if let Some(entry) = self.requests.get_mut(id) {
            entry.closed = true;
        }
    }

    /// Returns which of POLLPRI and POLLERR hold for a caller interested in `events`. POLLPRI means
    /// complete; POLLERR means that completion needs more calls.
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
