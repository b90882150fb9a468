//! One open file of a memory-to-memory device: two queues, and a worker (a codec process or a thread).
//!
//! [`M2mDevice`] has everything that memory-to-memory devices share: two queues with their formats, the
//! worker, metadata of the worker's frames, and the drain. [`M2mEngine`] has the parts that differ by kind.

use super::codecs::Row;
use super::process::MAX_EVENTS;
use super::raw::RawFormats;
use super::{CodecProcess, M2mQueue};
use crate::Failure;
use crate::hosted::HostedDevice;
use crate::settings::Settings;
use crate::streaming::Stamp;
use crate::surface::{EBUSY, EINVAL, PIECE, Payloads, Surface, Trouble, outcome};
use crate::worker::FrameWorker;
use std::collections::BTreeMap;
use vb3_codec::{Event, Refused};
use vb3_queue::{Active, Driver, DriverError, PlaneSizes, Prepare, forward};
use vb3_v4l2::{
    Bus, Command, CommandSet, ControlSpec, ControlValue, DriverEvent, EventKinds, Flow, Format,
    FormatFlags, Fraction, FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity, Progress,
    QueuePolicy, Rect, Role, SelectionFlags, SelectionTarget, Statistics, VideoDriver, WakeFd,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    Idle,
    /// The device still has to pass on this many OUTPUT buffers for the drain.
    Feeding(usize),
    /// The worker was asked to drain, and returns its pending output.
    Asked,
    /// The worker has returned all output. Some of it may wait for buffers.
    Ready,
    /// The last buffer has been returned.
    Stopped,
}

/// Longest time for which STREAMOFF waits until the worker has written a picture, in nanoseconds. It is long,
/// because a worker that gets little processor time may need seconds.
const STOP_TIMEOUT_NS: u64 = 5_000_000_000;

/// Whether a STREAMOFF waits for the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// STREAMOFF began to wait after the last tick (a call by the host).
    Begun,
    /// It waits until this time.
    Until(u64),
    /// It has waited too long.
    Overdue,
}

/// What happened to an OUTPUT buffer that was offered to the codec process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// The process works on the frame, and the device keeps the buffer.
    Taken,
    /// The buffer is returned with the error flag, or the device has lost the buffer.
    Failed,
    /// The buffer waits until the process accepts it.
    Later,
}

/// The state of a finished buffer, and the bytes used in each plane.
pub(super) type Outcome = (Result<(), DriverError>, Payloads);

/// Maximum number of frames whose stamps are kept. A further frame replaces the oldest. A picture may consist of
/// many small pieces, each a frame.
const MAX_FRAMES: usize = 8192;

/// The parts that differ between memory-to-memory devices. Methods of [`VideoDriver`] have the same names there.
#[expect(unused_variables, reason = "default methods ignore their arguments")]
pub(crate) trait M2mEngine<C> {
    /// Returns the format that would be set for `wanted`; `None` keeps the current format.
    fn negotiate(&self, flow: Flow, wanted: &Format) -> Option<Format>;

    fn set_format(&mut self, flow: Flow, to: &Format, peer_busy: bool) -> Result<(), DriverError>;

    fn frame_intervals(&self, _: &PixelFormat, w: u32, h: u32) -> Option<FrameIntervals<'_>> {
        None
    }

    fn interval(&self, flow: Flow) -> Option<Fraction> {
        None
    }

    fn set_interval(&mut self, flow: Flow, wanted: Fraction) {}

    fn has_selection(&self) -> bool {
        true
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        None
    }

    fn set_selection(
        &mut self,
        flow: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        Err(EINVAL)
    }

    fn commands(&self) -> Option<CommandSet> {
        None
    }

    fn events(&self) -> EventKinds {
        EventKinds::empty()
    }

    /// Returns whether the device can drain now.
    fn can_drain(&self) -> bool {
        false
    }

    /// Returns whether START can continue the stream now.
    fn can_continue(&self) -> bool {
        true
    }

    fn try_control(&self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        Ok(())
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        Ok(())
    }

    /// Handles STREAMON of a queue.
    fn started(&mut self, flow: Flow) {}

    /// Takes back the buffers that are with the worker, except those to which the worker is writing now. Returns
    /// whether the worker has no buffer left.
    fn try_take_back(&mut self) -> bool {
        true
    }

    /// Handles STREAMOFF of a queue, which has dropped its buffers. Drops those that are in use or with the
    /// worker.
    fn stopped(&mut self, flow: Flow) {}

    /// Takes back the CAPTURE buffers that are with the worker, because some were taken from the device.
    fn recall(&mut self) {}

    /// Moves as many frames and results as this tick allows.
    fn work(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>);

    /// Returns whether a picture is partly moved.
    fn has_begun(&self) -> bool;

    /// Returns whether a busy worker waits for buffers of the program.
    fn waits_for_buffers(&self) -> bool {
        false
    }
}

/// One open file of a memory-to-memory device. `own` is the state that only this kind of device has.
pub(crate) struct M2mDevice<S, W, C> {
    identity: Identity,
    planarity: Planarity,
    pub(super) coded: Vec<&'static PixelFormat>,
    pub(super) raw: RawFormats,
    controls: &'static [ControlSpec],
    pub(super) output: M2mQueue<C>,
    pub(super) capture: M2mQueue<C>,
    pub(super) worker: W,
    /// The stamps of the frames that the worker has, by the worker's tags.
    pub(super) frames: BTreeMap<u64, Stamp>,
    /// The next frame's tag. Tags are not reused, so late output of a dropped frame is ignored.
    pub(super) next_tag: u64,
    pub(super) drain: Drain,
    /// Whether OUTPUT was started since the drain began.
    pub(super) has_restarted: bool,
    pub(super) statistics: Statistics,
    /// Whether a tick may find work: a queue has changed since the last tick, or that tick moved something.
    is_due: bool,
    pub(super) stopping: Stopping,
    /// Largest number of picture bytes that one tick moves.
    pub(super) piece: usize,
    pub(super) own: S,
}

pub(super) type Coder<S, C> = M2mDevice<S, CodecProcess, C>;

/// The parts of a device that do not follow from its settings alone.
pub(super) struct Parts<S, W> {
    pub(super) card: &'static str,
    pub(super) coded: Vec<&'static PixelFormat>,
    pub(super) raw: RawFormats,
    pub(super) controls: &'static [ControlSpec],
    /// The initial formats.
    pub(super) output: Format,
    pub(super) capture: Format,
    pub(super) worker: W,
    pub(super) own: S,
}

impl<S, W, C> M2mDevice<S, W, C> {
    /// Makes a device. Its worker is started later, with the stream.
    pub(super) fn with_parts(settings: &Settings, parts: Parts<S, W>) -> Self {
        let policy = QueuePolicy {
            file_io: false,
            copy_timestamps: true,
            min_reqbufs: 1,
            ..settings.policy
        };
        Self {
            identity: settings.identity(parts.card),
            planarity: settings.planarity,
            coded: parts.coded,
            raw: parts.raw,
            controls: parts.controls,
            output: M2mQueue::new(Flow::Output, parts.output, policy),
            capture: M2mQueue::new(Flow::Capture, parts.capture, policy),
            worker: parts.worker,
            frames: BTreeMap::new(),
            next_tag: 1,
            drain: Drain::Idle,
            has_restarted: false,
            statistics: Statistics::default(),
            is_due: false,
            stopping: Stopping::No,
            piece: PIECE,
            own: parts.own,
        }
    }

    pub(super) const fn queue(&self, flow: Flow) -> &M2mQueue<C> {
        match flow {
            Flow::Capture => &self.capture,
            Flow::Output => &self.output,
        }
    }

    pub(super) const fn queue_mut(&mut self, flow: Flow) -> &mut M2mQueue<C> {
        match flow {
            Flow::Capture => &mut self.capture,
            Flow::Output => &mut self.output,
        }
    }

    /// Returns the state of a buffer after its picture was moved, as [`outcome`] does.
    pub(super) fn outcome(&mut self, moved: Result<Payloads, Trouble>) -> Option<Outcome> {
        let (outcome, payloads) = outcome(moved, &mut self.statistics)?;
        Some((outcome, payloads.unwrap_or_default()))
    }

    /// Ends a drain after its last buffer: raises the end event and sets the state `then`.
    pub(super) fn end_drain(&mut self, then: Drain, progress: &mut Progress<C>) {
        self.drain = then;
        progress.events.push(DriverEvent::Eos);
    }
}

impl<S, C> Coder<S, C> {
    /// Makes the device of a codec. `first` are the initial formats of OUTPUT and CAPTURE.
    /// Fails, with a message for the user, if no available library has the codec.
    pub(super) fn of_row(
        row: &'static Row,
        settings: &Settings,
        raw: RawFormats,
        first: (Format, Format),
        own: S,
    ) -> Result<Self, Failure> {
        let parts = Parts {
            card: row.codec.card,
            coded: row.coded(),
            raw,
            controls: &row.controls,
            output: first.0,
            capture: first.1,
            worker: CodecProcess::new(row.codec.kind, &settings.codecs)?,
            own,
        };
        Ok(Self::with_parts(settings, parts))
    }

    /// Passes the process's events to `handle`, and counts the bytes that the process copied.
    pub(super) fn listen(&mut self, mut handle: impl FnMut(&mut Self, Event)) {
        // In virtual time, each tick takes one event, so that ticks do not depend on the process's speed.
        let at_once = self.piece == usize::MAX;
        let most = if at_once { 1 } else { MAX_EVENTS };
        for _ in 0..most {
            let Some(event) = self.worker.poll() else {
                return;
            };
            let copied = match &event {
                // The process copied the picture from its library to shared memory.
                Event::Picture { picture, .. } => {
                    let planes = picture.planes().data;
                    planes.iter().map(|plane| plane.len() as u64).sum()
                }
                Event::Filled { copied, .. } => *copied,
                _ => 0,
            };
            let count = &mut self.statistics.codec_bytes_copied;
            *count = count.saturating_add(copied);
            handle(self, event);
        }
    }

    /// Keeps, completes or requeues an OUTPUT buffer, according to the process's answer. A requeued buffer still counts
    /// among those that a drain must pass on. The buffer's frame has the next tag.
    pub(super) fn handle_offer(
        &mut self,
        token: Active<C>,
        taken: Result<Result<(), Trouble>, Refused>,
        progress: &mut Progress<C>,
    ) -> Offered {
        let tag = self.next_tag;
        match taken {
            Ok(Ok(())) => {
                if self.frames.len() >= MAX_FRAMES {
                    self.frames.pop_first();
                }
                self.frames.insert(tag, Stamp::of(&token));
                self.next_tag = tag.wrapping_add(1);
                self.output.hold(tag, token);
                return Offered::Taken;
            }
            Ok(Err(Trouble::Stale)) => return Offered::Failed,
            Err(Refused::Full(_) | Refused::Dead) => {
                self.output.tokens.push_front(token);
                if let Drain::Feeding(left) = &mut self.drain {
                    *left += 1;
                }
                return Offered::Later;
            }
            Ok(Err(Trouble::Fault | Trouble::TooSmall)) => self.statistics.bus_faults += 1,
            Err(refused @ (Refused::TooLong { .. } | Refused::Wrong(_))) => {
                self.worker.report(refused.to_string());
                self.statistics.dropped += 1;
            }
        }
        self.output.hold(tag, token);
        self.output.release(tag, Err(DriverError::EIO), progress);
        Offered::Failed
    }
}

/// Presents one of a device's queues as a driver of `vb3_queue`.
struct QueueDriver<'a, D> {
    device: &'a mut D,
    flow: Flow,
}

impl<S, W, C> Driver for QueueDriver<'_, M2mDevice<S, W, C>>
where
    M2mDevice<S, W, C>: M2mEngine<C>,
{
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        Surface(&self.device.queue(self.flow).format).queue_setup(create)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        self.device.queue(self.flow).prepare(buffer)
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.device.queue_mut(self.flow).tokens.push_back(buffer);
        self.device.is_due = true;
    }

    fn start_streaming(&mut self, _queued: u32) -> Result<(), DriverError> {
        self.device.queue_mut(self.flow).start();
        self.device.has_restarted |= self.flow == Flow::Output;
        self.device.started(self.flow);
        self.device.is_due = true;
        Ok(())
    }

    fn stop_streaming(&mut self) {
        self.device.stopping = Stopping::No;
        self.device.queue_mut(self.flow).stop();
        self.device.stopped(self.flow);
        self.device.is_due = true;
    }

    fn buffers_withdrawn(&mut self) {
        if self.flow == Flow::Capture {
            self.device.recall();
            self.device.is_due = true;
        }
    }
}

impl<S: 'static, W: 'static, C: 'static> HostedDevice for M2mDevice<S, W, C>
where
    W: FrameWorker,
    Self: M2mEngine<C>,
{
    fn work_at_once(&mut self) {
        self.piece = usize::MAX;
        self.worker.work_at_once();
    }

    fn is_preparing(&self) -> bool {
        self.worker.is_busy() && !self.waits_for_buffers()
    }

    fn failure(&self) -> Option<&Failure> {
        self.worker.failure()
    }
}

impl<S, W, C> M2mDevice<S, W, C>
where
    Self: M2mEngine<C>,
{
    fn engine(&self) -> &dyn M2mEngine<C> {
        self
    }

    fn engine_mut(&mut self) -> &mut dyn M2mEngine<C> {
        self
    }
}

impl<S, W, C> VideoDriver for M2mDevice<S, W, C>
where
    W: FrameWorker,
    Self: M2mEngine<C>,
{
    type Cookie = C;

    forward! { self.engine() =>
        fn frame_intervals(&self, pixel: &PixelFormat, w: u32, h: u32) -> Option<FrameIntervals<'_>>;
        fn interval(&self, flow: Flow) -> Option<Fraction>;
        fn has_selection(&self) -> bool;
        fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect>;
        fn commands(&self) -> Option<CommandSet>;
        fn events(&self) -> EventKinds;
        fn try_control(&self, id: u32, value: &ControlValue) -> Result<(), DriverError>;
        fn has_begun(&self) -> bool;
    }

    forward! { self.engine_mut() =>
        fn set_format(&mut self, flow: Flow, to: &Format, peer_busy: bool) -> Result<(), DriverError>;
        fn set_interval(&mut self, flow: Flow, wanted: Fraction);
        fn set_selection(
            &mut self, flow: Flow, target: SelectionTarget, wanted: Rect, flags: SelectionFlags,
        ) -> Result<Rect, DriverError>;
        fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError>;
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        Role::MemToMem
    }

    fn planarity(&self) -> Planarity {
        self.planarity
    }

    fn with_queue_driver(&mut self, flow: Flow, act: &mut dyn FnMut(&mut dyn Driver<Cookie = C>)) {
        act(&mut QueueDriver { device: self, flow });
    }

    fn formats(&self, flow: Flow) -> &[&'static PixelFormat] {
        match flow == self.raw.flow {
            true => &self.raw.pixels,
            false => &self.coded,
        }
    }

    fn format_flags(&self, flow: Flow, _: &PixelFormat) -> FormatFlags {
        self.queue(flow).flags
    }

    fn frame_sizes(&self, _: &PixelFormat) -> FrameSizes<'_> {
        self.raw.sizes
    }

    fn format(&self, flow: Flow) -> Format {
        self.queue(flow).format
    }

    fn try_format(&self, flow: Flow, wanted: &Format) -> Format {
        let found = self.negotiate(flow, wanted);
        found.unwrap_or_else(|| self.queue(flow).format)
    }

    /// If a program drains a decoder whose CAPTURE queue does not stream, the drain begins, and continues once
    /// CAPTURE streams. By Linux's documentation, the drain would not begin.
    fn command(&mut self, command: Command) -> Result<(), DriverError> {
        self.is_due = true;
        match (command, self.drain) {
            (Command::Start, _) if !self.can_continue() => return Err(EBUSY),
            (_, Drain::Feeding(_) | Drain::Asked | Drain::Ready) => return Err(EBUSY),
            (Command::Stop, Drain::Idle) if self.can_drain() => {
                self.drain = Drain::Feeding(self.output.tokens.len());
                self.has_restarted = false;
            }
            (Command::Start, Drain::Stopped) => self.drain = Drain::Idle,
            (Command::Stop, _) | (Command::Start, Drain::Idle) => {}
        }
        Ok(())
    }

    fn controls(&self) -> Vec<ControlSpec> {
        self.controls.to_vec()
    }

    fn queue_policy(&self, flow: Flow) -> QueuePolicy {
        self.queue(flow).policy
    }

    fn may_stop(&mut self, _: Flow) -> bool {
        // In virtual time, STREAMOFF waits at once, so that its time does not depend on the worker's speed.
        let waits = self.piece != usize::MAX && self.stopping != Stopping::Overdue;
        if waits && !self.try_take_back() {
            if self.stopping == Stopping::No {
                (self.stopping, self.is_due) = (Stopping::Begun, true);
            }
            return false;
        }
        true
    }

    fn end(&mut self) {
        self.worker.end();
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.stopping = match self.stopping {
            Stopping::Begun => Stopping::Until(now_ns.saturating_add(STOP_TIMEOUT_NS)),
            Stopping::Until(end) if end <= now_ns => Stopping::Overdue,
            // The program has given up its STREAMOFF: nobody has waited since the last tick.
            Stopping::Overdue => Stopping::No,
            other => other,
        };
        let before = (progress.finished.len(), progress.events.len());
        self.work(bus, progress);
        let after = (progress.finished.len(), progress.events.len());
        self.is_due = before != after || M2mEngine::has_begun(self);
    }

    fn next_tick(&self) -> Option<u64> {
        match self.stopping {
            _ if self.is_due => Some(0),
            Stopping::Until(end) => Some(end),
            _ => None,
        }
    }

    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        self.worker.wake_fd()
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}
