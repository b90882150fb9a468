//! mmap, poll, read, write and tick.

use crate::bytes::write_user;
use crate::context::Context;
use crate::driver::Role;
use crate::event::Topic;
use crate::file::FileHandle;
use crate::pixfmt;
use crate::poll::{POLL_ERR, POLL_IN, POLL_OUT, POLL_PRI, PollLook};
use crate::program::{Run, V4l2Outcome};
use crate::progress::Progress;
use crate::{Bus, Error, Flow, Program, VideoDriver, Waiter, sys};
use vb3_plane::MemOps;
use vb3_queue::{Direction, Error as QueueError, IoModes, Pieces, Source};

/// The part of the program's memory that a read() fills, or that a write() takes bytes from.
struct Window<'a, M: MemOps> {
    program: &'a dyn Program<M>,
    addr: u64,
}

impl<M: MemOps> Window<'_, M> {
    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), QueueError> {
        let addr = self.addr.checked_add(offset).ok_or(QueueError::Fault)?;
        write_user(self.program, addr, data).map_err(|_| QueueError::Fault)
    }
}

impl<M: MemOps> Source for Window<'_, M> {
    fn prepare(&mut self, len_bytes: u64) -> Result<(), QueueError> {
        let prepared = self.program.prepare_read(self.addr, len_bytes);
        prepared.map_err(|_| QueueError::Fault)
    }

    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), QueueError> {
        let addr = self.addr.checked_add(offset).ok_or(QueueError::Fault)?;
        self.program.read(addr, out).map_err(|_| QueueError::Fault)
    }
}

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    pub(crate) fn mmap(
        &mut self,
        mem: &mut M,
        offset: u64,
        len_bytes: u64,
        access: Option<Direction>,
    ) -> Result<M::Mmap, Error> {
        // A device with two queues marks the mmap offsets of its CAPTURE buffers.
        let flow = match self.driver.role() {
            Role::Capture => Flow::Capture,
            Role::Output => Flow::Output,
            Role::MemToMem | Role::Duplex if vb3_queue::is_m2m_capture(offset) => Flow::Capture,
            Role::MemToMem | Role::Duplex => Flow::Output,
            Role::Subdevice => return Err(Error::Invalid),
        };
        let mapped =
            self.in_session(mem, flow, |mut queue| queue.mmap(offset, len_bytes, access))?;
        mapped.map_err(|error| {
            self.record("mmap", error.into());
            error.into()
        })
    }

    /// Returns those of `events` that are pending, and `POLL_ERR` on an error.
    /// `look` says whether a program or the host polls.
    pub(crate) fn poll(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        events: i16,
        look: PollLook,
    ) -> i16 {
        let Ok(handle) = self.file_mut(file) else {
            return POLL_ERR;
        };
        let mut found = if handle.events.is_pending() {
            POLL_PRI
        } else {
            0
        };
        found |= match self.driver.role() {
            Role::Capture => self.poll_one(mem, file, events, (Flow::Capture, look)),
            Role::Output => self.poll_one(mem, file, events, (Flow::Output, look)),
            Role::MemToMem => self.poll_both(mem, events),
            Role::Duplex => self.poll_used(mem, file, events, look),
            // Only a subdevice with controls has events.
            Role::Subdevice if self.controls.is_empty() => POLL_ERR,
            Role::Subdevice => 0,
        };
        found & (events | POLL_ERR)
    }

    /// Polls the queues that have buffers.
    /// If none has, polls the queues of the requested events, which may start read() or write().
    fn poll_used(&mut self, mem: &mut M, file: FileHandle, events: i16, look: PollLook) -> i16 {
        let is_idle = !self.streams().any(|stream| stream.queue.is_busy());
        let mut found = 0;
        for (flow, wanted) in [(Flow::Capture, POLL_IN), (Flow::Output, POLL_OUT)] {
            if self.is_busy(flow) || (is_idle && events & wanted != 0) {
                found |= self.poll_one(mem, file, events, (flow, look));
            }
        }
        found
    }

    fn poll_one(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        events: i16,
        (flow, look): (Flow, PollLook),
    ) -> i16 {
        let event = match flow {
            Flow::Capture => POLL_IN,
            Flow::Output => POLL_OUT,
        };
        let is_asked = events & event != 0;
        let found = self.in_session(mem, flow, |mut session| match look {
            PollLook::Program => session.poll(is_asked),
            PollLook::Host => session.peek(is_asked),
        });
        let (Ok(found), Ok(stream)) = (found, self.stream_mut(flow)) else {
            return POLL_ERR;
        };
        stream.update_owner(file);
        match found {
            Ok(false) => {
                self.note_poll(events, flow, Waiter::GoesOn);
                0
            }
            Ok(true) => event,
            Err(_) => POLL_ERR,
        }
    }

    /// Notifies the driver that a caller waits for poll events, and none of them is pending.
    pub(crate) fn poll_waits(&mut self, events: i16) {
        for &flow in self.driver.role().flows() {
            let is_ready = self.queue(flow).is_none_or(vb3_queue::Queue::is_ready);
            if !is_ready {
                self.note_poll(events, flow, Waiter::Waits);
            }
        }
    }

    /// Notifies the driver that a poll for these events found no finished buffer.
    fn note_poll(&mut self, events: i16, flow: Flow, waiter: Waiter) {
        let wanted = match flow {
            Flow::Capture => POLL_IN,
            Flow::Output => POLL_OUT,
        };
        if events & wanted != 0 {
            self.driver.note_waiter(flow, waiter);
        }
    }

    /// Source: Linux 7.2 `v4l2_m2m_poll`.
    fn poll_both(&mut self, mem: &mut M, events: i16) -> i16 {
        if events & (POLL_IN | POLL_OUT) == 0 {
            return 0;
        }
        let mut useful = false;
        let mut found = 0;
        for flow in Flow::ALL {
            let _ = self.in_session(mem, flow, |mut queue| queue.reap());
            let Some(queue) = self.queue(flow) else {
                continue;
            };
            useful |= queue.is_worth_waiting();
            match flow {
                _ if !queue.is_ready() => self.note_poll(events, flow, Waiter::GoesOn),
                Flow::Output => found |= POLL_OUT,
                Flow::Capture => found |= POLL_IN,
            }
        }
        if useful { found } else { POLL_ERR }
    }

    /// Runs read() of a CAPTURE queue, or write() to an OUTPUT queue.
    /// `window` is the address and length in the program's memory.
    pub(crate) fn transfer(
        &mut self,
        run: &mut Run<'_, M>,
        flow: Flow,
        (addr, len_bytes): (u64, u64),
    ) -> V4l2Outcome {
        let window = &mut Window {
            program: run.program,
            addr,
        };
        let outcome = self.begin_transfer(run, flow, window, len_bytes);
        self.transferred(flow, outcome)
    }

    /// Moves the next piece of an unfinished read() or write().
    pub(crate) fn resume(&mut self, run: &mut Run<'_, M>, addr: u64) -> V4l2Outcome {
        let is_its = |flow| {
            let queue: Option<&vb3_queue::Queue<M>> = self.queue(flow);
            queue.and_then(vb3_queue::Queue::transfer_under_way) == Some(run.cx.call)
        };
        let mut flows = self.driver.role().flows().iter();
        let Some(&flow) = flows.find(|flow| is_its(**flow)) else {
            // The queue has ended this transfer, because its buffers were freed meanwhile.
            return V4l2Outcome::Fail(Error::Busy);
        };
        let window = &mut Window {
            program: run.program,
            addr,
        };
        let now_ns = run.cx.now_ns;
        let outcome = self.move_piece(run, flow, |mut session, pieces| match flow {
            Flow::Capture => session.resume_read(&mut |at, data| window.put(at, data), pieces),
            Flow::Output => session.resume_write(window, now_ns, pieces),
        });
        self.transferred(flow, outcome)
    }

    /// Cancels a waiting or unfinished call.
    pub(crate) fn abandon(&mut self, call: u64) {
        let mut ended = false;
        for stream in self.streams_mut() {
            stream.wake_up(call);
            ended |= stream.queue.transfer_under_way() == Some(call);
            stream.queue.end_transfer(call);
        }
        // Other calls may wait for the end of this call.
        self.wake |= ended;
    }

    fn transferred(&mut self, flow: Flow, outcome: Result<V4l2Outcome, Error>) -> V4l2Outcome {
        outcome.unwrap_or_else(|error| {
            let call = match flow {
                Flow::Capture => "read",
                Flow::Output => "write",
            };
            self.record(call, error);
            V4l2Outcome::Fail(error)
        })
    }

    fn begin_transfer(
        &mut self,
        run: &mut Run<'_, M>,
        flow: Flow,
        window: &mut Window<'_, M>,
        len_bytes: u64,
    ) -> Result<V4l2Outcome, Error> {
        let mode = match flow {
            Flow::Capture => IoModes::READ,
            Flow::Output => IoModes::WRITE,
        };
        let stream = self.stream_mut(flow)?;
        stream.wake_up(run.cx.call);
        if !stream.queue.config().io_modes.contains(mode) {
            return Err(Error::Invalid);
        }
        stream.check_owner(run.cx.file)?;
        if window.addr == 0 {
            return Err(Error::Invalid);
        }
        let under_way = stream.queue.transfer_under_way();
        if under_way.is_some_and(|call| call != run.cx.call) {
            // Another read() or write() is under way. This call waits for its end, even on a file with O_NONBLOCK,
            // because Linux waits here for the queue's lock.
            return Ok(V4l2Outcome::Wait);
        }
        if flow == Flow::Output {
            // Compressed frames have no common length: each write() is a frame, as in v4l2loopback.
            let pixel = pixfmt::lookup(self.driver.format(flow).fourcc);
            let is_compressed = pixel.is_some_and(|pixel| pixel.is_compressed());
            self.stream_mut(flow)?.queue.queue_each_write(is_compressed);
        }
        let now_ns = run.cx.now_ns;
        self.move_piece(run, flow, |mut session, pieces| match flow {
            Flow::Capture => {
                session.begin_read(&mut |at, data| window.put(at, data), len_bytes, pieces)
            }
            Flow::Output => session.begin_write(window, len_bytes, now_ns, pieces),
        })
    }

    fn move_piece(
        &mut self,
        run: &mut Run<'_, M>,
        flow: Flow,
        piece: impl FnOnce(vb3_queue::Session<'_, M>, Pieces) -> Result<u64, vb3_queue::Error>,
    ) -> Result<V4l2Outcome, Error> {
        let pieces = Pieces {
            call: run.cx.call,
            most_bytes: run.cx.piece_bytes,
        };
        let was_under_way = self.stream(flow)?.queue.transfer_under_way().is_some();
        let moved = self.in_session(run.mem, flow, |session| piece(session, pieces))?;
        let stream = self.stream_mut(flow)?;
        stream.update_owner(run.cx.file);
        let is_under_way = stream.queue.transfer_under_way().is_some();
        let value = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        match moved {
            Ok(bytes) if is_under_way => Ok(V4l2Outcome::Part(value(bytes))),
            Ok(bytes) => {
                self.wake = true;
                Ok(V4l2Outcome::Done(value(bytes)))
            }
            Err(error) => {
                // Other calls may have waited for the end of this call.
                self.wake |= was_under_way && !is_under_way;
                let waits: Option<i64> = self.wait_for(flow, run.cx, error)?;
                Ok(Ok(waits).into())
            }
        }
    }

    /// Completes buffers whose `Active` token was dropped. Gives the driver buffers whose fences have signalled.
    pub(crate) fn settle_queues(&mut self, mem: &mut M) {
        for flow in Flow::ALL {
            let _ = self.in_session(mem, flow, |mut queue| queue.settle());
        }
        self.resume_stop(mem);
    }

    /// See [`VideoDevice::fail_queues`](crate::VideoDevice::fail_queues).
    pub(crate) fn fail_queues(
        &mut self,
        mem: &mut M,
        has_failed: &impl Fn(&M, &vb3_queue::Queue<M>) -> bool,
    ) {
        self.streams_mut()
            .filter(|stream| has_failed(mem, &stream.queue))
            .for_each(|stream| stream.queue.set_error());
        self.settle_queues(mem);
    }

    /// See [`VideoDevice::withdraw`](crate::VideoDevice::withdraw).
    pub(crate) fn withdraw(&mut self, mem: &mut M, is_lost: &impl Fn(&M, &M::Plane) -> bool) {
        for flow in Flow::ALL {
            let _ = self.in_session(mem, flow, |mut queue| queue.withdraw(is_lost));
        }
    }

    pub(crate) fn tick(
        &mut self,
        mem: &mut M,
        now_ns: u64,
        mut with_bus: impl FnMut(&mut M, &mut dyn FnMut(&mut dyn Bus<M::Cookie>)),
    ) {
        let mut progress = Progress::default();
        let driver = &mut self.driver;
        with_bus(mem, &mut |bus| driver.tick(now_ns, bus, &mut progress));
        for finished in progress.finished {
            // An error means that the program took the buffer back (stale token). The queue counts such
            // tokens. They are not failures.
            let _ = self.in_session(mem, finished.flow, |mut queue| {
                queue.complete(finished.token, finished.completion)
            });
        }
        if progress.broken || progress.outdated {
            let changed = Topic {
                kind: sys::V4L2_EVENT_SOURCE_CHANGE,
                id: 0,
            };
            let files = &self.files;
            let follows = |owner| {
                files
                    .get(&owner)
                    .is_some_and(|file| file.events.has(changed))
            };
            for stream in self.streams.iter_mut().flatten() {
                if progress.broken || !stream.owner.is_some_and(follows) {
                    stream.queue.set_error();
                }
            }
        }
        self.settle_queues(mem);
        self.wake |= core::mem::take(&mut self.driver_stops);
        for event in progress.events {
            self.raise_driver_event(event, now_ns);
        }
    }
}
