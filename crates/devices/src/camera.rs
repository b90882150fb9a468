//! A camera: plays a source into the buffers it is given.

mod controls;
mod scaler;

use crate::Failure;
use crate::device::Outside;
use crate::mode::{INTERVALS, Mode, SIZES};
use crate::picture::Size;
use crate::place::{Place, identity, policy};
use crate::source::{Ready, Source};
use crate::spec::{Clock, DeviceKind, DeviceSpec, SourceSpec};
use crate::surface::{EINVAL, EIO, FIELD_NONE, Trouble};
use controls::Controls;
use scaler::Scaler;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use vb3_queue::{
    Active, Completion, DoneState, Driver, DriverError, MAX_PLANES, PlaneSizes, Prepare,
};
use vb3_v4l2::{
    Bus, ControlSpec, ControlValue, DriverEvent, EventKinds, Flow, Format, Fraction,
    FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity, Port, Progress, QueuePolicy,
    Rect, Role, SelectionFlags, SelectionTarget, Statistics, VideoDriver,
};

/// Most frames of one tick, so that a tick ends.
const FRAMES_PER_TICK: u32 = 8;

/// What the sensor of a camera with a scaler sees of the test pattern.
const PATTERN: (u32, u32) = (1280, 720);

const PORTS: &[Port] = &[Port {
    name: "Camera",
    kind: 2,
}];

/// A camera.
///
/// At each frame time it fills the oldest buffer. A frame that finds none waits for one, as in a
/// sensor's line buffer, until the next is due; then it is dropped, counted, and leaves a gap in
/// the sequence. Frame 0 is taken when the first buffer is there. A tick that comes later than
/// that sets the pace anew: what the machine under the camera was too slow for is no fault of the
/// program, and leaves no gap. With [`Clock::Free`] each buffer gets a frame at once, and none is
/// dropped.
///
/// After the last frame of a clip, which comes with `V4L2_BUF_FLAG_LAST`, there is none (EPIPE)
/// until streaming starts again, which starts the clip again. There is no EOS event, as no kernel
/// driver of a camera has one: programs take it for the end before they took the frames that are
/// done, or wait for another event after it.
#[derive(Debug)]
pub struct Camera<C> {
    identity: Identity,
    policy: QueuePolicy,
    mode: Mode,
    /// Between sensor and buffer, where the device has one.
    scaler: Option<Scaler>,
    source: Source,
    controls: Controls,
    clock: Clock,
    tokens: VecDeque<Active<C>>,
    stream: Option<Stream>,
    statistics: Statistics,
    failure: Option<Failure>,
}

/// From STREAMON to STREAMOFF.
#[derive(Debug, Default)]
struct Stream {
    /// Number of the next frame.
    sequence: u32,
    /// When it is due; `None` before the first.
    due_ns: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    /// The source has no picture yet.
    AwaitsSource,
    /// The end of the source awaits a buffer that says so.
    AwaitsBuffer,
    /// Nothing follows.
    Ended,
}

impl<C> Camera<C> {
    /// Makes the camera of a SPEC.
    ///
    /// # Errors
    /// A sentence, for a clip that cannot be played.
    pub fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let DeviceKind::Camera {
            source,
            looping,
            scaler,
        } = &spec.kind
        else {
            return Err(Failure::new("a display is no camera"));
        };
        let has_scaler = *scaler;
        let card = match source {
            _ if *scaler => "Camera with Scaler",
            SourceSpec::Pattern => "Test Pattern Camera",
            SourceSpec::Clip(_) => "Clip Camera",
        };
        let source = Source::open(source, *looping)?;
        let native = source.native();
        let mode = Mode::new(spec, true, native.map(|info| (info.size, info.interval)))
            .ok_or_else(|| spec.no_such_format())?;
        let sensor = native.map_or_else(|| Size::nearest(PATTERN.0, PATTERN.1), |info| info.size);
        Ok(Self {
            identity: identity(spec, place, card),
            policy: policy(spec, place),
            scaler: has_scaler.then(|| Scaler::new(sensor, &mode)),
            mode,
            source,
            controls: Controls::new(native.is_some()),
            clock: spec.clock,
            tokens: VecDeque::new(),
            stream: None,
            statistics: Statistics::default(),
            failure: None,
        })
    }

    /// Readable when the camera waits for a picture that has come; `None` where it waits for
    /// none. Calls for a [`tick`](VideoDriver::tick).
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let waits = |stream: &Stream| stream.state == State::AwaitsSource;
        self.stream
            .as_ref()
            .filter(|stream| waits(stream))
            .and(self.source.wake_fd())
    }

    /// Why the source failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Takes the next frame, if there is one and it is due. Whether to go on.
    fn step(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) -> bool {
        let interval_ns = self.mode.interval_ns();
        let Some(stream) = &mut self.stream else {
            return false;
        };
        let has_buffer = !self.tokens.is_empty();
        if stream.state == State::Ended || (!has_buffer && self.clock == Clock::Free) {
            return false;
        }
        if stream.due_ns.is_none() && !has_buffer {
            return false;
        }
        let due_ns = *stream.due_ns.get_or_insert(now_ns);
        let late_ns = now_ns.saturating_sub(due_ns);
        let time_ns = match self.clock {
            Clock::Free => now_ns,
            Clock::Real if now_ns < due_ns => return false,
            // A picture that came late sets the pace anew.
            Clock::Real if stream.state == State::AwaitsSource => now_ns,
            Clock::Real if late_ns < interval_ns && !has_buffer => return false,
            Clock::Real if late_ns < interval_ns.saturating_mul(2) && !has_buffer => due_ns,
            Clock::Real if !has_buffer => now_ns.saturating_sub(interval_ns),
            Clock::Real if late_ns < interval_ns => due_ns,
            Clock::Real => now_ns,
        };
        let last = match self.source.ready() {
            Ready::Frame { last } => last,
            Ready::Later => {
                stream.state = State::AwaitsSource;
                return false;
            }
            Ready::Failed(failure) => {
                self.failure = Some(failure);
                stream.state = State::Ended;
                progress.broken = true;
                return false;
            }
            Ready::End => return self.end_empty(time_ns, progress),
        };
        if last && !has_buffer {
            stream.state = State::AwaitsBuffer;
            return false;
        }
        let sequence = stream.sequence;
        stream.state = if last { State::Ended } else { State::Running };
        stream.sequence = sequence.wrapping_add(1);
        stream.due_ns = Some(time_ns.saturating_add(interval_ns));
        progress.events.push(DriverEvent::FrameSync { sequence });
        let given = self.give(sequence, time_ns, last, bus, progress);
        if !given {
            self.statistics.dropped = self.statistics.dropped.saturating_add(1);
        }
        self.source.advance();
        self.controls.count_frame();
        true
    }

    /// Writes the source's picture to the oldest buffer that still is the camera's. Whether
    /// there was one.
    fn give(
        &mut self,
        sequence: u32,
        time_ns: u64,
        last: bool,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) -> bool {
        while let Some(token) = self.tokens.pop_front() {
            let background = self.controls.background();
            let Some(frame) = self
                .source
                .picture(sequence, self.controls.picture(), background)
            else {
                self.tokens.push_front(token);
                return false;
            };
            let written = match &mut self.scaler {
                None => self.mode.write(frame, &token, bus),
                Some(scaler) => scaler.write(frame, &self.mode, &token, bus),
            };
            let (outcome, payloads) = match written {
                Ok(payloads) => (DoneState::Done, payloads),
                Err(Trouble::Stale) => continue,
                Err(Trouble::Fault | Trouble::TooSmall) => {
                    self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
                    (DoneState::Error, [0; MAX_PLANES])
                }
            };
            let completion = Completion {
                outcome,
                payloads: Some(payloads),
                data_offsets: None,
                timestamp_ns: Some(time_ns),
                sequence,
                field: FIELD_NONE,
                last,
                timecode: None,
                frame_flags: None,
            };
            progress.finish(Flow::Capture, token, completion);
            return true;
        }
        false
    }

    /// The source ended without a last picture: an empty buffer says so.
    fn end_empty(&mut self, time_ns: u64, progress: &mut Progress<C>) -> bool {
        let Some(stream) = &mut self.stream else {
            return false;
        };
        let Some(token) = self.tokens.pop_front() else {
            stream.state = State::AwaitsBuffer;
            return false;
        };
        stream.state = State::Ended;
        let completion = Completion {
            outcome: DoneState::Done,
            payloads: Some([0; MAX_PLANES]),
            data_offsets: None,
            timestamp_ns: Some(time_ns),
            sequence: stream.sequence,
            field: FIELD_NONE,
            last: true,
            timecode: None,
            frame_flags: None,
        };
        progress.finish(Flow::Capture, token, completion);
        false
    }
}

impl<C> Driver for Camera<C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        self.mode.queue_setup(create)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        self.mode.prepare(buffer, Flow::Capture)
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.tokens.push_back(buffer);
    }

    fn start_streaming(&mut self, _queued: u32) -> Result<(), DriverError> {
        let format = self.mode.pixel();
        let size = match &self.scaler {
            None => self.mode.size(),
            Some(scaler) => scaler.sensor(),
        };
        if let Err(failure) = self.source.start(format, size, self.mode.interval) {
            self.failure = Some(failure);
            self.tokens.clear();
            return Err(EIO);
        }
        self.stream = Some(Stream::default());
        Ok(())
    }

    fn stop_streaming(&mut self) {
        self.stream = None;
        self.source.stop();
        self.tokens.clear();
    }
}

impl<C> VideoDriver for Camera<C> {
    type Cookie = C;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        Role::Capture
    }

    fn queue_driver(&mut self, _: Flow) -> Box<dyn Driver<Cookie = C> + '_> {
        Box::new(self)
    }

    fn planarity(&self) -> Planarity {
        self.mode.planarity
    }

    fn formats(&self, _: Flow) -> &[&'static PixelFormat] {
        &self.mode.formats
    }

    fn frame_sizes(&self, _pixel: &PixelFormat) -> FrameSizes {
        SIZES
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals> {
        Some(INTERVALS)
    }

    fn format(&self, _: Flow) -> Format {
        self.mode.format
    }

    fn try_format(&self, _: Flow, wanted: &Format) -> Format {
        self.mode.try_format(wanted, false)
    }

    fn set_format(&mut self, _: Flow, format: &Format, _: bool) -> Result<(), DriverError> {
        self.mode.set_format(format)?;
        if let Some(scaler) = &mut self.scaler {
            scaler.fill(&self.mode);
        }
        Ok(())
    }

    fn has_selection(&self) -> bool {
        self.scaler.is_some()
    }

    fn selection(&self, _: Flow, target: SelectionTarget) -> Option<Rect> {
        self.scaler.as_ref()?.rect(target, &self.mode)
    }

    fn set_selection(
        &mut self,
        _: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        let scaler = self.scaler.as_mut().ok_or(EINVAL)?;
        scaler.set_rect(target, wanted, flags, &self.mode)
    }

    fn interval(&self, _: Flow) -> Option<Fraction> {
        Some(self.mode.interval)
    }

    fn set_interval(&mut self, _: Flow, wanted: Fraction) {
        self.mode.set_interval(wanted);
    }

    fn ports(&self) -> &[Port] {
        PORTS
    }

    fn controls(&self) -> Vec<ControlSpec> {
        self.controls.declare()
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        self.controls.set(id, value.number())
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        self.controls.volatile(id)
    }

    fn events(&self) -> EventKinds {
        EventKinds::FRAME_SYNC
    }

    fn queue_policy(&self, _: Flow) -> QueuePolicy {
        self.policy
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.source.acknowledge();
        self.tokens.retain(|token| !token.is_stale());
        for _ in 0..FRAMES_PER_TICK {
            if !self.step(now_ns, bus, progress) {
                return;
            }
        }
    }

    fn next_tick(&self) -> Option<u64> {
        let stream = self.stream.as_ref()?;
        let at_once = (!self.tokens.is_empty()).then_some(0);
        match (stream.state, self.clock, stream.due_ns) {
            (State::Ended | State::AwaitsSource, ..) => None,
            (State::AwaitsBuffer, ..) | (_, Clock::Free, _) | (_, _, None) => at_once,
            (State::Running, Clock::Real, Some(due_ns)) => at_once
                .map(|_| due_ns)
                .or(Some(due_ns.saturating_add(self.mode.interval_ns()))),
        }
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}

impl<C> Outside for Camera<C> {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Self::wake_fd(self)
    }

    fn failure(&self) -> Option<&Failure> {
        Self::failure(self)
    }
}

#[cfg(test)]
mod tests;
