//! One open file of a decoder or an encoder: two queues, and the codec process between them.
//!
//! A [`Coder`] has the queues with their formats, the process, metadata of the frames in the process,
//! and the drain. [`Coding`] has the parts that differ between decoder and encoder.

use super::{CodecProcess, M2mQueue, M2mQueueDriver, Meta, PendingFrames};
use crate::Failure;
use crate::device::Outside;
use crate::place::{HostSettings, identity, policy};
use crate::spec::DeviceSpec;
use crate::surface::{EBUSY, PIECE, Trouble};
use std::os::fd::BorrowedFd;
use vb3_codec::{Kind, Refused};
use vb3_queue::{Active, DoneState, Driver, DriverError, TimestampKind};
use vb3_v4l2::{
    Bus, Command, CommandSet, ControlSpec, ControlValue, DriverEvent, EventKinds, Flow, Format,
    FormatFlags, Fraction, FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity, Progress,
    QueuePolicy, Rect, Role, SelectionFlags, SelectionTarget, Statistics, VideoDriver,
};

/// Progress of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drain {
    /// None is under way.
    Idle,
    /// This many OUTPUT buffers still belong to the drain.
    Feeding(usize),
    /// The process returns its pending output.
    Asked,
    /// All output has been returned. The rest waits for buffers.
    Ready,
    /// The last buffer has been returned.
    Stopped,
}

/// The codec process's answer to an offered buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It works on the frame, and the buffer is kept.
    Taken,
    /// The buffer is returned with the error flag, or the device has lost it.
    Failed,
    /// The buffer waits for its next turn.
    Later,
}

/// The parts that differ between decoders and encoders.
pub(super) trait Coding<C> {
    /// The queue of pictures. The other one has the stream or files.
    const RAW: Flow;
    const COMMANDS: CommandSet;
    const EVENTS: EventKinds;

    fn flags(&self, flow: Flow) -> FormatFlags;

    fn sizes(&self) -> FrameSizes<'_>;

    /// Seconds per frame; `None` if frames have no timing of their own.
    fn intervals(&self) -> Option<FrameIntervals<'static>> {
        None
    }

    /// Returns the format that would be set for `wanted`; `None` for the current one.
    fn negotiate(&self, flow: Flow, wanted: &Format) -> Option<Format>;

    fn set(&mut self, flow: Flow, format: &Format, peer_busy: bool) -> Result<(), DriverError>;

    fn interval(&self, flow: Flow) -> Option<Fraction> {
        let _ = flow;
        None
    }

    fn set_interval(&mut self, flow: Flow, wanted: Fraction) {
        let _ = (flow, wanted);
    }

    fn rect(&self, flow: Flow, target: SelectionTarget) -> Option<Rect>;

    fn set_rect(
        &mut self,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError>;

    /// Returns whether running streams can be drained.
    fn can_drain(&self) -> bool;

    /// Handles STREAMON and STREAMOFF since the last call.
    fn notice(&mut self);

    fn controls(&self) -> Vec<ControlSpec>;

    fn set_control(&mut self, id: u32, value: i64) -> Result<(), DriverError> {
        let _ = (id, value);
        Ok(())
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue>;

    fn capture_driver(&mut self) -> Box<dyn Driver<Cookie = C> + '_>;

    /// Moves as much as possible.
    fn work(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>);

    /// Returns whether [`work`](Self::work) would do anything now, apart from the process's events.
    fn has_work(&self) -> bool;

    /// Returns whether a picture is partly moved.
    fn has_begun(&self) -> bool {
        false
    }

    /// As [`Outside::is_preparing`].
    fn is_preparing(&self) -> bool;
}

/// One open file of a codec; `own` has the part of its kind.
#[derive(Debug)]
pub(crate) struct Coder<S, C> {
    identity: Identity,
    policies: [QueuePolicy; 2],
    planarity: Planarity,
    pub(super) coded: Vec<&'static PixelFormat>,
    pub(super) raw: Vec<&'static PixelFormat>,
    /// Lines of pictures are multiples of this many bytes.
    pub(super) stride: u32,
    pub(super) output: M2mQueue<C>,
    pub(super) capture: M2mQueue<C>,
    pub(super) codec: CodecProcess,
    /// Metadata of the pieces or pictures in the process.
    pub(super) frames: PendingFrames,
    pub(super) drain: Drain,
    /// The count of OUTPUT's starts when the drain began.
    pub(super) drained_start: u64,
    pub(super) statistics: Statistics,
    /// Largest number of picture bytes that one tick moves.
    pub(super) piece: usize,
    pub(super) own: S,
}

/// Parts of a coder besides the SPEC.
pub(super) struct Parts<S> {
    pub(super) kind: Kind,
    pub(super) card: &'static str,
    pub(super) coded: Vec<&'static PixelFormat>,
    pub(super) raw: Vec<&'static PixelFormat>,
    /// The initial formats.
    pub(super) output: Format,
    pub(super) capture: Format,
    /// Smallest number of buffers of each queue.
    pub(super) min_output: u32,
    pub(super) min_capture: u32,
    /// Whether an OUTPUT buffer may be empty.
    pub(super) allow_empty: bool,
    pub(super) own: S,
}

impl<S, C> Coder<S, C> {
    /// Makes a coder. The process starts with the stream.
    pub(super) fn with_parts(spec: &DeviceSpec, place: &HostSettings, parts: Parts<S>) -> Self {
        let policy = |min_reqbufs, allow_zero_bytesused| QueuePolicy {
            file_io: false,
            timestamps: TimestampKind::Copy,
            min_reqbufs,
            allow_zero_bytesused,
            ..policy(spec, place)
        };
        Self {
            identity: identity(spec, place, parts.card),
            policies: [
                policy(parts.min_capture, false),
                policy(parts.min_output, parts.allow_empty),
            ],
            planarity: match spec.mplane {
                true => Planarity::Multi,
                false => Planarity::Single,
            },
            coded: parts.coded,
            raw: parts.raw,
            stride: spec.stride.unwrap_or(1),
            output: M2mQueue::new(Flow::Output, parts.output),
            capture: M2mQueue::new(Flow::Capture, parts.capture),
            codec: CodecProcess::new(parts.kind, place.codecs.launch(parts.kind)),
            frames: PendingFrames::new(),
            drain: Drain::Idle,
            drained_start: 0,
            statistics: Statistics::default(),
            piece: PIECE,
            own: parts.own,
        }
    }

    fn queue(&self, flow: Flow) -> &M2mQueue<C> {
        match flow {
            Flow::Capture => &self.capture,
            Flow::Output => &self.output,
        }
    }

    pub(super) fn count_fault(&mut self) {
        let faults = &mut self.statistics.bus_faults;
        *faults = faults.saturating_add(1);
    }

    pub(super) fn count_dropped(&mut self) {
        let dropped = &mut self.statistics.dropped;
        *dropped = dropped.saturating_add(1);
    }

    /// Handles the answer to an offered OUTPUT buffer: keeps it, returns it, or lets it wait.
    pub(super) fn handle_offer(
        &mut self,
        token: Active<C>,
        tag: u64,
        taken: Result<Result<(), Trouble>, Refused>,
        progress: &mut Progress<C>,
    ) -> Offered {
        match taken {
            Ok(Ok(())) => {
                self.frames.insert(Meta::of(&token));
                self.output.hold(tag, token);
                return Offered::Taken;
            }
            Ok(Err(Trouble::Stale)) => return Offered::Failed,
            Err(Refused::Full(_) | Refused::Dead) => {
                self.output.tokens.push_front(token);
                return Offered::Later;
            }
            Ok(Err(Trouble::Fault | Trouble::TooSmall)) => self.count_fault(),
            Err(Refused::TooLong { .. } | Refused::Wrong(_)) => self.count_dropped(),
        }
        self.output.hold(tag, token);
        self.output.release(tag, DoneState::Error, progress);
        Offered::Failed
    }

    /// Ends a drain after its last buffer.
    pub(super) fn end_drain(&mut self, then: Drain, progress: &mut Progress<C>) {
        self.drain = then;
        progress.events.push(DriverEvent::Eos);
    }
}

impl<S, C> Outside for Coder<S, C>
where
    Self: Coding<C>,
{
    fn work_at_once(&mut self) {
        self.piece = usize::MAX;
    }

    fn is_preparing(&self) -> bool {
        Coding::is_preparing(self)
    }

    fn failure(&self) -> Option<&Failure> {
        self.codec.failure()
    }
}

impl<S, C> VideoDriver for Coder<S, C>
where
    Self: Coding<C>,
{
    type Cookie = C;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        Role::MemToMem
    }

    fn planarity(&self) -> Planarity {
        self.planarity
    }

    fn queue_driver(&mut self, flow: Flow) -> Box<dyn Driver<Cookie = C> + '_> {
        match flow {
            Flow::Capture => self.capture_driver(),
            Flow::Output => Box::new(M2mQueueDriver(&mut self.output)),
        }
    }

    fn formats(&self, flow: Flow) -> &[&'static PixelFormat] {
        match flow == Self::RAW {
            true => &self.raw,
            false => &self.coded,
        }
    }

    fn format_flags(&self, flow: Flow, _: &PixelFormat) -> FormatFlags {
        self.flags(flow)
    }

    fn frame_sizes(&self, _: &PixelFormat) -> FrameSizes<'_> {
        self.sizes()
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        self.intervals()
    }

    fn format(&self, flow: Flow) -> Format {
        self.queue(flow).format
    }

    fn try_format(&self, flow: Flow, wanted: &Format) -> Format {
        let found = self.negotiate(flow, wanted);
        found.unwrap_or_else(|| self.queue(flow).format)
    }

    fn set_format(
        &mut self,
        flow: Flow,
        format: &Format,
        peer_busy: bool,
    ) -> Result<(), DriverError> {
        self.set(flow, format, peer_busy)
    }

    fn interval(&self, flow: Flow) -> Option<Fraction> {
        Coding::interval(self, flow)
    }

    fn set_interval(&mut self, flow: Flow, wanted: Fraction) {
        Coding::set_interval(self, flow, wanted);
    }

    fn has_selection(&self) -> bool {
        true
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        self.rect(flow, target)
    }

    fn set_selection(
        &mut self,
        _: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        self.set_rect(target, wanted, flags)
    }

    fn commands(&self) -> Option<CommandSet> {
        Some(Self::COMMANDS)
    }

    /// A decoder's drain that is requested before CAPTURE streams waits for it. Linux does not specify
    /// this.
    fn command(&mut self, command: Command) -> Result<(), DriverError> {
        // A stream that began since then is not the drained one.
        self.notice();
        match (command, self.drain) {
            (_, Drain::Feeding(_) | Drain::Asked | Drain::Ready) => return Err(EBUSY),
            (Command::Stop, Drain::Idle) if self.can_drain() => {
                self.drain = Drain::Feeding(self.output.tokens.len());
                self.drained_start = self.output.starts;
            }
            (Command::Start, Drain::Stopped) => self.drain = Drain::Idle,
            (Command::Stop, _) | (Command::Start, Drain::Idle) => {}
        }
        Ok(())
    }

    fn controls(&self) -> Vec<ControlSpec> {
        Coding::controls(self)
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        Coding::set_control(self, id, value.number())
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        Coding::volatile_control(self, id)
    }

    fn events(&self) -> EventKinds {
        Self::EVENTS
    }

    fn queue_policy(&self, flow: Flow) -> QueuePolicy {
        let [capture, output] = self.policies;
        match flow {
            Flow::Capture => capture,
            Flow::Output => output,
        }
    }

    fn tick(&mut self, _: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.work(bus, progress);
    }

    fn next_tick(&self) -> Option<u64> {
        self.has_work().then_some(0)
    }

    fn has_begun(&self) -> bool {
        Coding::has_begun(self)
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.codec.wake_fd()
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}
