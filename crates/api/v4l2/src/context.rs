//! A context of a device: the driver, queues and controls that one of its open files uses, or that all share.

use crate::file::{File, FileHandle};
use crate::gate::{Gate, GateDriver};
use crate::handler::Handler;
use crate::program::{Run, V4l2Outcome};
use crate::refusal::{Refusal, Refusals};
use crate::request;
use crate::requests::Scope;
use crate::stream::Stream;
use crate::{Error, Flow, Planarity, VideoDriver, sys, with_queue_driver};
use std::collections::BTreeMap;
use vb3_plane::MemOps;
use vb3_queue::{Queue, Session};

/// A driver with its queues.
///
/// All files of a camera or a display share one context. Each file of a memory-to-memory or duplex device has
/// its own context.
pub struct Context<M: MemOps, D> {
    pub(crate) driver: D,
    /// The queue of each direction.
    pub(crate) streams: [Option<Stream<M>>; 2],
    /// Holds OUTPUT buffers of media requests until the driver gets them.
    pub(crate) gate: Gate<M::Cookie>,
    pub(crate) controls: Handler,
    pub(crate) files: BTreeMap<FileHandle, File>,
    /// Index of the selected input or output.
    pub(crate) port: u32,
    /// Whether a codec's STOP waits for OUTPUT buffers that wait for fences.
    pub(crate) stop_waits: bool,
    /// Whether a STREAMOFF waits for the driver's next tick.
    pub(crate) driver_stops: bool,
    refusals: Refusals,
    /// Whether something happened that may end a caller's wait.
    pub(crate) wake: bool,
}

impl<M: MemOps, D> core::fmt::Debug for Context<M, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Context")
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Makes a context with the driver's queues.
    pub(crate) fn new(mem: &M, driver: D, device: M::Device) -> Result<Self, Error> {
        let role = driver.role();
        let flows = role.flows();
        let stream = |flow| {
            let policy = driver.queue_policy(flow);
            flows
                .contains(&flow)
                .then(|| Stream::new(mem, flow, &policy, role, device))
                .transpose()
        };
        Ok(Self {
            streams: [stream(Flow::Capture)?, stream(Flow::Output)?],
            gate: Gate::new(),
            controls: Handler::new(&driver.controls()),
            driver,
            files: BTreeMap::new(),
            port: 0,
            stop_waits: false,
            driver_stops: false,
            refusals: Refusals::default(),
            wake: false,
        })
    }

    /// Returns the driver that serves the calls of this context.
    #[must_use]
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Returns the driver, to change its state.
    pub fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    /// Returns the queue of this direction, if the device has one.
    #[must_use]
    pub fn queue(&self, flow: Flow) -> Option<&Queue<M>> {
        self.stream(flow).ok().map(|stream| &stream.queue)
    }

    /// Returns a queue's buffer type (`V4L2_BUF_TYPE_*`).
    pub(crate) fn buf_type(&self, flow: Flow) -> u32 {
        match (flow, self.driver.planarity()) {
            (Flow::Capture, Planarity::Single) => sys::V4L2_BUF_TYPE_VIDEO_CAPTURE,
            (Flow::Capture, Planarity::Multi) => sys::V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
            (Flow::Output, Planarity::Single) => sys::V4L2_BUF_TYPE_VIDEO_OUTPUT,
            (Flow::Output, Planarity::Multi) => sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
            (Flow::Capture, Planarity::Meta) => sys::V4L2_BUF_TYPE_META_CAPTURE,
            (Flow::Output, Planarity::Meta) => sys::V4L2_BUF_TYPE_META_OUTPUT,
        }
    }

    /// Returns the direction of a buffer type. EINVAL for another type.
    pub(crate) fn flow_of(&self, buf_type: u32) -> Result<Flow, Error> {
        let flows = self.driver.role().flows().iter().copied();
        flows
            .into_iter()
            .find(|&flow| self.buf_type(flow) == buf_type && self.driver.announces(flow))
            .ok_or(Error::Invalid)
    }

    pub(crate) fn stream(&self, flow: Flow) -> Result<&Stream<M>, Error> {
        self.streams[flow.index()].as_ref().ok_or(Error::Invalid)
    }

    pub(crate) fn stream_mut(&mut self, flow: Flow) -> Result<&mut Stream<M>, Error> {
        self.streams[flow.index()].as_mut().ok_or(Error::Invalid)
    }

    /// Calls `act` with a session of a queue. EINVAL if there is no such queue.
    pub(crate) fn in_session<T>(
        &mut self,
        mem: &M,
        flow: Flow,
        act: impl FnOnce(Session<'_, M>) -> T,
    ) -> Result<T, Error> {
        let stream = &mut self.streams[flow.index()];
        let stream = stream.as_mut().ok_or(Error::Invalid)?;
        let gate = stream.offers_requests().then_some(&mut self.gate);
        let queue = &mut stream.queue;
        let done = with_queue_driver(&mut self.driver, flow, |driver| match gate {
            Some(gate) => act(queue.session(mem, &mut GateDriver { gate, driver })),
            None => act(queue.session(mem, driver)),
        });
        done.ok_or(Error::Invalid)
    }

    /// Iterates over the queues.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream<M>> {
        self.streams.iter().flatten()
    }

    pub(crate) fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream<M>> {
        self.streams.iter_mut().flatten()
    }

    /// Returns whether a queue is in use.
    pub(crate) fn is_busy(&self, flow: Flow) -> bool {
        self.queue(flow).is_some_and(Queue::is_busy)
    }

    pub(crate) fn file_mut(&mut self, file: FileHandle) -> Result<&mut File, Error> {
        self.files.get_mut(&file).ok_or(Error::NoFile)
    }

    /// Returns whether read() or write() is offered.
    pub(crate) fn offers_file_io(&self) -> bool {
        self.streams().any(Stream::offers_file_io)
    }

    pub(crate) fn record(&mut self, call: &'static str, error: Error) {
        self.refusals.record(call, error);
    }

    pub(crate) fn take_refusals(&mut self) -> Vec<Refusal> {
        self.refusals.take()
    }

    /// Closes a file and frees its buffers.
    pub(crate) fn release(&mut self, mem: &mut M, file: FileHandle) {
        self.files.remove(&file);
        if self.files.is_empty() {
            self.driver.end();
        }
        for &flow in self.driver.role().flows() {
            let Ok(stream) = self.stream_mut(flow) else {
                continue;
            };
            stream.end_wait_of(file);
            if stream.owner.take_if(|owner| *owner == file).is_some() {
                let _ = self.in_session(mem, flow, |mut queue| queue.release());
            }
        }
        self.wake = true;
    }

    /// Returns whether poll states or waiting calls may have changed since the last call.
    pub(crate) fn take_wake(&mut self) -> bool {
        let mut wake = core::mem::take(&mut self.wake);
        for stream in self.streams_mut() {
            wake |= stream.take_events();
        }
        wake
    }

    /// Answers an ioctl. `arg` is an address in the program.
    pub(crate) fn ioctl(
        &mut self,
        run: &mut Run<'_, M>,
        request: u32,
        arg: u64,
        scope: &mut Scope<'_>,
    ) -> V4l2Outcome {
        let Some(request) = request::lookup(request) else {
            return V4l2Outcome::Fail(Error::NotTty);
        };
        let result = self.run(run, request, arg, scope);
        let streams = self.streams.iter_mut().flatten();
        let shortfalls = streams.filter_map(|stream| stream.queue.take_shortfall());
        match result {
            Err(error) => {
                // The collected reasons are dropped, because `error` already contains the reason for the failure.
                shortfalls.for_each(drop);
                self.record(request.name, error);
            }
            // A success may still have made fewer buffers than requested.
            Ok(_) => {
                shortfalls.for_each(|reason| self.refusals.record_shortfall(request.name, reason));
                // Only calls that check priorities change settings, which may change the ranges of controls.
                if request.prio {
                    self.change_ranges(run.cx.now_ns);
                }
            }
        }
        result.into()
    }
}
