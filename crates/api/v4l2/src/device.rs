//! A video device with its files and contexts.

use crate::context::Context;
use crate::contexts::{Contexts, FlowProgress};
use crate::driver::{Identity, Role};
use crate::file::{File, FileHandle};
use crate::poll::PollLook;
use crate::priority::Priorities;
use crate::program::{CallContext, Run, V4l2Outcome};
use crate::refusal::Refusal;
use crate::request::{self, Call};
use crate::requests::{Requests, Scope};
use crate::stream::Stream;
use crate::{Bus, Error, Flow, Planarity, Program, Statistics, VideoDriver};
use std::collections::BTreeMap;
use vb3_plane::MemOps;
use vb3_queue::{Direction, Memory};

/// Maximum number of files open at a time.
pub(crate) const MAX_FILES: usize = 1 << 16;

/// The result of a call on an unknown file.
const NO_FILE: V4l2Outcome = V4l2Outcome::Fail(Error::NoFile);

/// Counters of a device's queue and its driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatistics {
    /// Counters of the queue.
    pub queue: vb3_queue::Statistics,
    /// Counters of the driver.
    pub driver: Statistics,
}

impl DeviceStatistics {
    fn add(&mut self, queue: Option<vb3_queue::Statistics>, driver: Statistics) {
        if let Some(queue) = queue {
            self.queue.add(queue);
        }
        self.driver.add(driver);
    }
}

/// Makes the driver for one open file, on a device whose files do not share one driver (a memory-to-memory or duplex
/// device).
pub type Opener<D> = Box<dyn FnMut() -> Result<D, Error> + Send>;

/// A video device.
pub struct VideoDevice<M: MemOps, D> {
    identity: Identity,
    role: Role,
    planarity: Planarity,
    /// The device whose memory constraints apply to the planes.
    memory: M::Device,
    /// Makes a driver for each open file. `None` if all files share one driver.
    opener: Option<Opener<D>>,
    /// The contexts by number: the shared one (0), or one for each open file.
    pub(crate) contexts: Contexts<M, D>,
    /// The number of each file's context.
    files: BTreeMap<FileHandle, u64>,
    next_file: u64,
    /// The first context of the next tick. If it is gone, the tick begins with the context after it.
    next_turn: u64,
    pub(crate) requests: Requests,
    pub(crate) offers_requests: bool,
    /// Counters of removed contexts.
    past: [DeviceStatistics; 2],
    interest: Interest,
    priorities: Priorities,
}

/// Counters of the programs' use of a device, including use without streaming.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Number of times that the device was opened.
    pub opens: u64,
    /// Calls that enumerate, read or set formats, sizes and rates.
    pub format_calls: u64,
    /// Calls that allocate buffers, including read() and write().
    pub buffer_calls: u64,
}

impl<M: MemOps, D> core::fmt::Debug for VideoDevice<M, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VideoDevice")
            .field("identity", &self.identity)
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl<M, D> VideoDevice<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Makes a device whose files share one driver. `device` gives the memory constraints of the planes.
    ///
    /// # Errors
    /// EINVAL for an invalid queue policy, ENOMEM.
    pub fn new(mem: &M, driver: D, device: M::Device) -> Result<Self, Error> {
        let mut made = Self::empty(&driver, device);
        let context = Context::new(mem, driver, device)?;
        made.contexts.insert(0, context);
        Ok(made)
    }

    /// Makes a device whose open files have separate drivers, queues and controls.
    ///
    /// # Errors
    /// As [`new`](Self::new), and the errors of the opener, which is called once as a test.
    pub fn per_open(mem: &M, mut opener: Opener<D>, device: M::Device) -> Result<Self, Error> {
        let first = opener()?;
        let mut made = Self::empty(&first, device);
        let context = Context::new(mem, first, device)?;
        let output = context.stream(Flow::Output);
        made.offers_requests = output.is_ok_and(Stream::offers_requests);
        made.opener = Some(opener);
        Ok(made)
    }

    fn empty(driver: &D, memory: M::Device) -> Self {
        let mut contexts = Contexts::default();
        contexts.are_linked = driver.role() == Role::Duplex;
        Self {
            identity: driver.identity().clone(),
            role: driver.role(),
            planarity: driver.planarity(),
            memory,
            opener: None,
            contexts,
            files: BTreeMap::new(),
            next_file: 1,
            next_turn: 0,
            requests: Requests::new(),
            offers_requests: false,
            past: [DeviceStatistics::default(); 2],
            interest: Interest::default(),
            priorities: Priorities::default(),
        }
    }

    /// Makes this node share the priorities of `other`, because both are nodes of one device: a call that checks
    /// priorities then also fails with EBUSY if a file of the other node has a higher priority. This applies to files
    /// of this node that are opened from now on.
    pub fn share_priorities(&mut self, other: &Self) {
        self.priorities = other.priorities.clone();
    }

    /// Returns the device's identity.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the device's role.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Returns whether the device's buffer types are single- or multi-planar.
    #[must_use]
    pub const fn planarity(&self) -> Planarity {
        self.planarity
    }

    /// Opens the device, and returns the new file.
    ///
    /// # Errors
    /// EMFILE when 65,536 files are open; the errors of the [`Opener`], if each file has its own driver.
    pub fn open(&mut self, mem: &M) -> Result<FileHandle, Error> {
        if self.files.len() >= MAX_FILES {
            return Err(Error::TooManyFiles);
        }
        let number = self.next_file;
        let of = match &mut self.opener {
            None => 0,
            Some(opener) => {
                let context = Context::new(mem, opener()?, self.memory)?;
                self.contexts.insert(number, context);
                number
            }
        };
        let handle = FileHandle(number);
        self.interest.opens = self.interest.opens.saturating_add(1);
        self.next_file = number.wrapping_add(1);
        self.files.insert(handle, of);
        if let Some(context) = self.contexts.get_mut(of) {
            context
                .files
                .insert(handle, File::new(self.priorities.clone()));
        }
        Ok(handle)
    }

    /// Closes a file, frees its buffers and cancels its waiting calls.
    pub fn release(&mut self, mem: &mut M, file: FileHandle) {
        let Some(of) = self.files.remove(&file) else {
            return;
        };
        let Some(context) = self.contexts.get_mut(of) else {
            return;
        };
        context.release(mem, file);
        context.advance_requests(of, &mut self.requests, 0);
        if self.opener.is_some()
            && let Some(context) = self.contexts.remove(of)
        {
            self.requests.forget_file(of);
            let driver = context.driver.statistics();
            for &flow in self.role.flows() {
                let queue = context.queue(flow).map(vb3_queue::Queue::statistics);
                self.past[flow.index()].add(queue, driver);
            }
        }
    }

    /// Iterates over the contexts.
    pub fn contexts(&self) -> impl Iterator<Item = &Context<M, D>> {
        self.contexts.values()
    }

    /// Iterates over the contexts mutably.
    pub fn contexts_mut(&mut self) -> impl Iterator<Item = &mut Context<M, D>> {
        self.contexts.iter_mut().map(|(_, context)| context)
    }

    /// Iterates over the contexts whose drivers have scheduled work or wait for an external event.
    /// The cost does not grow with the number of idle contexts.
    pub fn contexts_at_work(&self) -> impl Iterator<Item = &Context<M, D>> {
        self.contexts.at_work()
    }

    /// Calls `each` with every driver that may have changed since this method was last called.
    /// A driver that all files share is always included. `each` must not change the drivers.
    pub fn ask_drivers(&mut self, each: impl FnMut(&mut D)) {
        if self.opener.is_none() {
            self.contexts.get_mut(0);
        }
        self.contexts.ask_changed(each);
    }

    /// Returns the counters of the queues of one direction, summed over all files.
    #[must_use]
    pub fn statistics(&self, flow: Flow) -> DeviceStatistics {
        let mut sum = self.past[flow.index()];
        for context in self.contexts() {
            let queue = context.queue(flow).map(vb3_queue::Queue::statistics);
            sum.add(queue, context.driver.statistics());
        }
        sum
    }

    /// Returns the counters of how programs have used the device.
    #[must_use]
    pub const fn interest(&self) -> Interest {
        self.interest
    }

    /// Returns the progress of the queues of one direction, summed over all files.
    pub fn progress(&mut self, flow: Flow) -> FlowProgress {
        self.contexts.progress(flow)
    }

    /// Returns the refusals since this method was last called, at most 256. The refusals of one file are in order.
    pub fn take_refusals(&mut self) -> Vec<Refusal> {
        self.contexts.take_refusals()
    }

    /// Calls `each` with every file whose poll state or waiting calls may have changed since this method was last
    /// called. Returns whether those of any media request of the device may have.
    pub fn take_woken(&mut self, mut each: impl FnMut(FileHandle)) -> bool {
        let mut is_any = false;
        self.contexts.take_woken(|file| {
            is_any = true;
            each(file);
        });
        self.requests.take_wake() | is_any
    }

    /// Returns the context of a file.
    pub(crate) fn context_mut(&mut self, file: FileHandle) -> Option<&mut Context<M, D>> {
        self.contexts.get_mut(*self.files.get(&file)?)
    }

    /// Calls `act` with the context of a file and access to the device's requests. Then updates the requests.
    /// `None` for an unknown file.
    fn in_context<T>(
        &mut self,
        file: FileHandle,
        now_ns: u64,
        act: impl FnOnce(&mut Context<M, D>, &mut Scope<'_>) -> T,
    ) -> Option<T> {
        let of = *self.files.get(&file)?;
        let context = self.contexts.get_mut(of)?;
        let requests = &mut self.requests;
        let done = act(context, &mut Scope { requests, of });
        context.advance_requests(of, &mut self.requests, now_ns);
        Some(done)
    }

    /// Returns whether a call is a QBUF or DQBUF on a queue that streams and that only this file uses, or a poll
    /// (`None`) on such queues. `argument` has the bytes of the ioctl's argument, or none if they are not known yet.
    ///
    /// Returns false for buffers in the program's own memory (USERPTR), and for QBUF of a dma-buf, because this call
    /// may map the dma-buf. If the result is true, the host may report the earlier closes of other files after this
    /// call: if the call succeeds or finds no buffer ready, its result is the same whether or not these closes were
    /// reported before. No close makes a buffer ready at once: the device must still fill or show it.
    #[must_use]
    pub fn passes_own_buffers(
        &self,
        file: FileHandle,
        request: Option<u32>,
        argument: &[u8],
    ) -> bool {
        // A poll tells whether a DQBUF would find a buffer.
        let call = request.map_or(Some(Call::DequeueBuf), |request| {
            request::lookup(request).map(|request| request.call)
        });
        let is_own = |stream: &Stream<M>| {
            let passes = match stream.queue.memory() {
                Some(Memory::Mmap) => true,
                Some(Memory::DmaBuf) => matches!(call, Some(Call::DequeueBuf)),
                _ => false,
            };
            passes && stream.owner == Some(file) && stream.queue.is_streaming()
        };
        let at = self.files.get(&file);
        let Some(context) = at.and_then(|at| self.contexts.get(*at)) else {
            return false;
        };
        if request.is_none() {
            return context.streams().all(is_own);
        }
        let buf_type = argument.get(core::mem::offset_of!(crate::sys::v4l2_buffer, type_)..);
        let buf_type = buf_type.and_then(|bytes| bytes.first_chunk().copied());
        let buf_type = buf_type.map(u32::from_ne_bytes);
        let flow = buf_type.and_then(|buf_type| context.flow_of(buf_type).ok());
        let stream = flow.and_then(|flow| context.stream(flow).ok());
        matches!(call, Some(Call::QueueBuf | Call::DequeueBuf)) && stream.is_some_and(is_own)
    }

    /// Answers an ioctl. `arg` is an address in the program.
    pub fn ioctl(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        request: u32,
        arg: u64,
        program: &dyn Program<M>,
    ) -> V4l2Outcome {
        let interest = &mut self.interest;
        match request::lookup(request).map(|request| request.call) {
            Some(
                Call::EnumFmt
                | Call::TryFmt
                | Call::SetFmt
                | Call::EnumFrameSizes
                | Call::EnumFrameIntervals,
            ) => interest.format_calls = interest.format_calls.saturating_add(1),
            Some(Call::ReqBufs | Call::CreateBufs) => {
                interest.buffer_calls = interest.buffer_calls.saturating_add(1);
            }
            _ => {}
        }
        self.in_context(cx.file, cx.now_ns, |context, scope| {
            context.ioctl(&mut Run { mem, cx, program }, request, arg, scope)
        })
        .unwrap_or(NO_FILE)
    }

    /// Describes the memory for an mmap of the device. Any file may map, not only the owner, as on Linux.
    ///
    /// # Errors
    /// EINVAL for a mapping that is not shared, lacks the access that the direction needs, is longer
    /// than the plane, or names no plane. EBUSY during read() or write().
    pub fn mmap(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        offset: u64,
        len_bytes: u64,
        access: Option<Direction>,
        now_ns: u64,
    ) -> Result<M::Mmap, Error> {
        self.in_context(file, now_ns, |context, _| {
            context.mmap(mem, offset, len_bytes, access)
        })
        .unwrap_or(Err(Error::NoFile))
    }

    /// Returns the pending poll events of a file.
    ///
    /// The result has POLLIN, POLLRDNORM, POLLOUT, POLLWRNORM and POLLPRI only if `events` has them, and POLLERR in
    /// any case.
    ///
    /// Without buffers, polling for data starts read() or write(), and the file then owns the queue.
    pub fn poll(&mut self, mem: &mut M, file: FileHandle, events: i16, now_ns: u64) -> i16 {
        self.poll_by(mem, file, events, now_ns, PollLook::Program)
    }

    /// Returns the result of [`poll`](Self::poll) without starting read() or write(), for the host's own use.
    pub fn peek(&mut self, mem: &mut M, file: FileHandle, events: i16, now_ns: u64) -> i16 {
        self.poll_by(mem, file, events, now_ns, PollLook::Host)
    }

    fn poll_by(
        &mut self,
        mem: &mut M,
        file: FileHandle,
        events: i16,
        now_ns: u64,
        look: PollLook,
    ) -> i16 {
        self.in_context(file, now_ns, |context, _| {
            context.poll(mem, file, events, look)
        })
        .unwrap_or(crate::POLL_ERR)
    }

    /// Records that a program waits for `events` of a file, after [`poll`](Self::poll) found none pending.
    pub fn poll_waits(&mut self, file: FileHandle, events: i16) {
        if let Some(context) = self.context_mut(file) {
            context.poll_waits(events);
        }
    }

    /// Answers a read() (CAPTURE) or write() (OUTPUT) of at most `len_bytes` at `addr` in the program.
    pub fn transfer(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        flow: Flow,
        (addr, len_bytes): (u64, u64),
        program: &dyn Program<M>,
    ) -> V4l2Outcome {
        self.interest.buffer_calls = self.interest.buffer_calls.saturating_add(1);
        self.in_context(cx.file, cx.now_ns, |context, _| {
            context.transfer(&mut Run { mem, cx, program }, flow, (addr, len_bytes))
        })
        .unwrap_or(NO_FILE)
    }

    /// Continues the read() or write() `cx.call` after [`V4l2Outcome::Part`].
    /// `addr` is the address of the call's next byte in the program.
    pub fn resume(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        addr: u64,
        program: &dyn Program<M>,
    ) -> V4l2Outcome {
        self.in_context(cx.file, cx.now_ns, |context, _| {
            context.resume(&mut Run { mem, cx, program }, addr)
        })
        .unwrap_or(NO_FILE)
    }

    /// Cancels a waiting or unfinished call of a file.
    pub fn abandon(&mut self, file: FileHandle, call: u64) {
        if let Some(context) = self.context_mut(file) {
            context.abandon(call);
        }
    }

    /// Runs the drivers. Finished buffers can then be dequeued, and events are raised. `now_ns` is the
    /// monotonic clock.
    pub fn tick(&mut self, mem: &mut M, now_ns: u64)
    where
        M: Bus<M::Cookie>,
    {
        self.tick_through(mem, now_ns, &|| true, |mem, work| work(mem));
    }

    /// Runs [`tick`](Self::tick) for a host that makes a [`Bus`] for each context.
    ///
    /// Calls `with_bus` for the shared context, or for each context whose driver has scheduled work or waits for an
    /// external event. `with_bus` makes a bus and passes it to the given closure. `has_time` is called before each
    /// context except the first. If `has_time` returns false, this method returns, and the next tick begins with the
    /// context that was not run. Returns whether all these contexts have run.
    pub fn tick_through(
        &mut self,
        mem: &mut M,
        now_ns: u64,
        has_time: &dyn Fn() -> bool,
        mut with_bus: impl FnMut(&mut M, &mut dyn FnMut(&mut dyn Bus<M::Cookie>)),
    ) -> bool {
        // The driver of a shared context is always called, because it may have work that it did not announce.
        let shared = self.opener.is_none().then_some(0);
        let mut to_tick = match shared {
            Some(of) => vec![of],
            None => self.contexts.to_tick(),
        };
        let first = to_tick.partition_point(|of| *of < self.next_turn);
        to_tick.rotate_left(first);
        self.next_turn = 0;
        for (at, of) in to_tick.into_iter().enumerate() {
            if at > 0 && !has_time() {
                self.next_turn = of;
                return false;
            }
            if let Some(context) = self.contexts.get_mut(of) {
                context.tick(mem, now_ns, &mut with_bus);
                context.advance_requests(of, &mut self.requests, now_ns);
            }
        }
        true
    }

    /// Gives the drivers the queued buffers whose fences have signalled.
    pub fn settle_queues(&mut self, mem: &mut M, now_ns: u64) {
        for of in self.contexts.holding_back() {
            if let Some(context) = self.contexts.get_mut(of) {
                context.settle_queues(mem);
                context.advance_requests(of, &mut self.requests, now_ns);
            }
        }
    }

    /// Marks the queues selected by `has_failed` as broken.
    /// Callers that wait for such a queue get an error, until the program stops streaming.
    ///
    /// Source: Linux 7.2 drivers/media/common/videobuf2/videobuf2-core.c `vb2_queue_error`.
    pub fn fail_queues(
        &mut self,
        mem: &mut M,
        now_ns: u64,
        has_failed: impl Fn(&M, &vb3_queue::Queue<M>) -> bool,
    ) {
        for (of, context) in self.contexts.iter_mut() {
            context.fail_queues(mem, &has_failed);
            context.advance_requests(of, &mut self.requests, now_ns);
        }
    }

    /// Completes with an error all buffers that the device owns and that have a plane for which `is_lost` returns
    /// true. In buffers that the driver gets later, these planes are missing.
    pub fn withdraw(&mut self, mem: &mut M, now_ns: u64, is_lost: impl Fn(&M, &M::Plane) -> bool) {
        for (of, context) in self.contexts.iter_mut() {
            context.withdraw(mem, &is_lost);
            context.advance_requests(of, &mut self.requests, now_ns);
        }
    }

    /// Returns the time (ns) of the next tick that begins work. Ignores ticks that only continue work.
    #[must_use]
    pub fn next_beginning(&self) -> Option<u64> {
        self.contexts_at_work()
            .filter(|context| !context.driver.has_begun())
            .filter_map(|context| context.driver.next_tick())
            .min()
    }

    /// Returns whether a [`tick`](Self::tick) would continue work that an earlier tick has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.contexts_at_work()
            .any(|context| context.driver.has_begun())
    }

    /// Returns the time of the next [`tick`](Self::tick), on the monotonic clock (ns).
    #[must_use]
    pub fn next_tick(&self) -> Option<u64> {
        self.contexts_at_work()
            .filter_map(|context| context.driver.next_tick())
            .min()
    }
}

#[cfg(test)]
impl<M, D> VideoDevice<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Returns the shared context, or the one of the oldest open file.
    pub(crate) fn context(&self) -> &Context<M, D> {
        self.contexts.values().next().unwrap()
    }

    pub(crate) fn driver(&self) -> &D {
        &self.context().driver
    }

    pub(crate) fn driver_mut(&mut self) -> &mut D {
        &mut self.contexts_mut().next().unwrap().driver
    }

    pub(crate) fn open_files(&self) -> Vec<FileHandle> {
        self.files.keys().copied().collect()
    }
}
