//! The waiting line for OUTPUT buffers of media requests.
//!
//! A request's controls must apply to its buffer only. So the driver gets one such buffer at a time: the gate waits
//! until the previous buffer has finished and a CAPTURE buffer is available, sets the request's controls, and then
//! gives the driver the buffer. Drivers need no code for this. Buffers that are queued without a request pass
//! immediately.

use crate::context::Context;
use crate::requests::Requests;
use crate::stream::Stream;
use crate::{Flow, VideoDriver, with_queue_driver};
use std::collections::VecDeque;
use vb3_plane::MemOps;
use vb3_queue::{
    Active, BoundBuffer, Driver, DriverError, PlaneSizes, Prepare, RequestId, forward,
};

/// Requests' buffers, which wait for the driver, oldest first; at most as many as the queue has.
#[derive(Debug)]
pub(crate) struct Gate<C> {
    held: VecDeque<Active<C>>,
    /// The request whose buffer the driver has now.
    out: Option<RequestId>,
    /// Buffers that have left their requests, until the requests are updated.
    /// At most as many as the queue has.
    left: Vec<(u32, RequestId)>,
}

impl<C> Gate<C> {
    pub(crate) const fn new() -> Self {
        Self {
            held: VecDeque::new(),
            out: None,
            left: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.held.clear();
        self.out = None;
    }
}

/// A queue's driver, which gets buffers of media requests only through the gate.
pub(crate) struct GateDriver<'a, C> {
    pub(crate) gate: &'a mut Gate<C>,
    pub(crate) driver: &'a mut dyn Driver<Cookie = C>,
}

impl<C> Driver for GateDriver<'_, C> {
    type Cookie = C;

    forward! { self.driver =>
        fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError>;
        fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError>;
        fn buf_init(&mut self, index: u32) -> Result<(), DriverError>;
        fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError>;
        fn buf_finish(&mut self, index: u32);
        fn buf_cleanup(&mut self, index: u32);
        fn prepare_streaming(&mut self) -> Result<(), DriverError>;
        fn unprepare_streaming(&mut self);
        fn buffers_withdrawn(&mut self);
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        if buffer.request().is_some() {
            self.gate.held.push_back(buffer);
        } else {
            self.driver.buf_queue(buffer);
        }
    }

    fn buf_request_complete(&mut self, index: u32, request: RequestId) {
        self.gate.left.push((index, request));
    }

    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        self.driver
            .start_streaming(queued)
            .inspect_err(|_| self.gate.clear())
    }

    fn stop_streaming(&mut self) {
        self.gate.clear();
        self.driver.stop_streaming();
    }
}

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Removes finished buffers from their requests, and passes the next buffer to the driver.
    ///
    /// Called after every call and tick, and after fences have signalled. `of` is this context's number.
    pub(crate) fn advance_requests(&mut self, of: u64, requests: &mut Requests, now_ns: u64) {
        if !self.stream(Flow::Output).is_ok_and(Stream::offers_requests) {
            return;
        }
        for (index, request) in core::mem::take(&mut self.gate.left) {
            if self.gate.out == Some(request) {
                self.gate.out = None;
            }
            let buffer = BoundBuffer { queue: of, index };
            let values = || self.controls.values(&self.driver);
            requests.unbind(request, buffer, values);
        }
        self.hand_on(of, requests, now_ns);
    }

    /// Gives the driver the next buffer of a request, unless the driver has such a buffer now.
    fn hand_on(&mut self, of: u64, requests: &Requests, now_ns: u64) {
        let capture = self.queue(Flow::Capture);
        let is_job = capture.is_some_and(|q| q.is_started() && q.active_count() != 0);
        if self.gate.out.is_some() || !is_job {
            return;
        }
        while let Some(token) = self.gate.held.pop_front() {
            let Some(id) = token.request().filter(|_| !token.is_stale()) else {
                continue;
            };
            for (control, value) in requests.controls(id, of) {
                // If the device refuses a control's new value, the control keeps its old value, as on Linux.
                let set = self.controls.set(control, value.clone(), &mut self.driver);
                if set == Ok(true) {
                    self.follow_value(control, now_ns, None);
                }
            }
            self.gate.out = Some(id);
            with_queue_driver(&mut self.driver, Flow::Output, |driver| {
                driver.buf_queue(token)
            });
            return;
        }
    }
}
