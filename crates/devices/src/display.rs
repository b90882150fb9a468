//! A display: shows the buffers it is given, and has them recorded.

use crate::Failure;
use crate::device::Outside;
use crate::mode::{INTERVALS, Mode, SIZES};
use crate::place::{Place, identity, policy};
use crate::sink::{Record, Shape, Sink, Thumbnail};
use crate::spec::{Clock, DeviceKind, DeviceSpec};
use crate::surface::{EINVAL, FIELD_NONE, Trouble};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use vb3_queue::{Active, Completion, DoneState, Driver, DriverError, PlaneSizes, Prepare};
use vb3_v4l2::{
    Bus, ControlFlags, ControlSpec, ControlValue, DriverEvent, EventKinds, Flow, Format, Fraction,
    FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity, Port, Progress, QueuePolicy,
    Role, Statistics, VideoDriver, cid,
};

/// Most frames of one tick, so that a tick ends.
const FRAMES_PER_TICK: u32 = 8;

const PORTS: &[Port] = &[Port {
    name: "Display",
    kind: 2,
}];

/// The first numbers of the user class that are free for drivers' own.
const FRAMES_SHOWN: u32 = cid::DRIVERS_OWN;
const FRAMES_REPEATED: u32 = cid::DRIVERS_OWN + 1;

/// A display.
///
/// At each refresh it reads the oldest buffer, hands the picture to its sink and gives the buffer
/// back. Where there is none it repeats the last picture, which is counted and not recorded. While
/// the sink has no room, the display holds its buffers: a recording lacks no frame. With
/// [`Clock::Free`] buffers are shown as they come.
#[derive(Debug)]
pub struct Display<C> {
    identity: Identity,
    policy: QueuePolicy,
    mode: Mode,
    sink: Sink,
    clock: Clock,
    tokens: VecDeque<Active<C>>,
    stream: Option<Stream>,
    statistics: Statistics,
    repeated: u64,
    failure: Option<Failure>,
}

/// From STREAMON to STREAMOFF.
#[derive(Debug, Default)]
struct Stream {
    /// Number of the next picture.
    sequence: u32,
    /// When it is due; `None` before the first.
    due_ns: Option<u64>,
    /// The last tick left no buffer.
    starved: bool,
    /// The sink had no room.
    held: bool,
}

impl<C> Display<C> {
    /// Makes the display of a SPEC.
    ///
    /// # Errors
    /// A sentence, for a recording that cannot be written.
    pub fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let DeviceKind::Display { sink } = &spec.kind else {
            return Err(Failure::new("a camera is no display"));
        };
        let sink = Sink::open(sink)?;
        let mode = Mode::new(spec, false, None).ok_or_else(|| spec.no_such_format())?;
        Ok(Self {
            identity: identity(spec, place, "Display"),
            policy: policy(spec, place),
            mode,
            sink,
            clock: spec.clock,
            tokens: VecDeque::new(),
            stream: None,
            statistics: Statistics::default(),
            repeated: 0,
            failure: None,
        })
    }

    /// What was shown: checksums, the last picture, small pictures.
    #[must_use]
    pub const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Refreshes that found no new picture and repeated the last.
    #[must_use]
    pub const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Waits until everything that was shown is written. To be called once, at the end of a run.
    pub fn finish(&mut self) -> Record {
        self.sink.finish()
    }

    /// Readable when the display waits for room in its sink and there is some; `None` where it
    /// does not wait. Calls for a [`tick`](VideoDriver::tick).
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream
            .as_ref()
            .filter(|stream| stream.held)
            .and(self.sink.wake_fd())
    }

    /// Why streaming did not start, if it did not.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Shows the next picture, if there is one and it is due. Whether to go on.
    fn step(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) -> bool {
        let interval_ns = self.mode.interval_ns();
        let Some(stream) = &mut self.stream else {
            return false;
        };
        if self.tokens.is_empty() {
            stream.starved = true;
            return false;
        }
        let mut due_ns = stream.due_ns.unwrap_or(now_ns);
        if stream.starved && now_ns > due_ns {
            // Refreshes that went by while there was nothing new.
            let missed = (now_ns - due_ns) / interval_ns;
            self.repeated = self.repeated.saturating_add(missed);
            due_ns = due_ns.saturating_add(missed.saturating_mul(interval_ns));
        }
        stream.starved = false;
        stream.due_ns = Some(due_ns);
        if self.clock == Clock::Real && now_ns < due_ns {
            return false;
        }
        if !self.sink.has_room() {
            stream.held = true;
            return false;
        }
        if self.clock == Clock::Free || core::mem::take(&mut stream.held) {
            due_ns = due_ns.max(now_ns);
        }
        stream.held = false;
        self.show(due_ns, bus, progress);
        if let Some(stream) = &mut self.stream {
            stream.due_ns = Some(due_ns.saturating_add(interval_ns));
        }
        true
    }

    /// Reads the oldest buffer, and shows what it holds.
    fn show(&mut self, time_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let (Some(stream), Some(token)) = (&mut self.stream, self.tokens.pop_front()) else {
            return;
        };
        let mut frame = self.sink.take_frame(self.mode.pixel(), self.mode.size());
        frame.set_matrix(self.mode.matrix());
        let outcome = match self.mode.read(&mut frame, &token, bus) {
            Ok(()) => DoneState::Done,
            Err(Trouble::Stale) => {
                self.sink.put_back(frame);
                return;
            }
            Err(Trouble::Fault | Trouble::TooSmall) => DoneState::Error,
        };
        if outcome == DoneState::Done {
            self.sink.show(frame);
        } else {
            self.sink.put_back(frame);
            self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
            self.statistics.dropped = self.statistics.dropped.saturating_add(1);
        }
        let sequence = stream.sequence;
        stream.sequence = sequence.wrapping_add(1);
        progress.events.push(DriverEvent::FrameSync { sequence });
        let completion = Completion {
            outcome,
            payloads: None,
            data_offsets: None,
            timestamp_ns: Some(time_ns),
            sequence,
            field: FIELD_NONE,
            last: false,
            timecode: None,
            frame_flags: None,
        };
        progress.finish(Flow::Output, token, completion);
    }
}

impl<C> Driver for Display<C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        self.mode.queue_setup(create)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        self.mode.prepare(buffer, Flow::Output)
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.tokens.push_back(buffer);
    }

    fn start_streaming(&mut self, _queued: u32) -> Result<(), DriverError> {
        let shape = Shape {
            format: self.mode.pixel(),
            size: self.mode.size(),
            interval: self.mode.interval,
        };
        if let Err(failure) = self.sink.begin(shape) {
            self.failure = Some(failure);
            self.tokens.clear();
            return Err(EINVAL);
        }
        self.stream = Some(Stream::default());
        Ok(())
    }

    fn stop_streaming(&mut self) {
        self.stream = None;
        self.tokens.clear();
    }
}

impl<C> VideoDriver for Display<C> {
    type Cookie = C;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        Role::Output
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

    fn frame_sizes(&self, _pixel: &PixelFormat) -> FrameSizes<'_> {
        SIZES
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        Some(INTERVALS)
    }

    fn format(&self, _: Flow) -> Format {
        self.mode.format
    }

    fn try_format(&self, _: Flow, wanted: &Format) -> Format {
        self.mode.try_format(wanted, true)
    }

    fn set_format(&mut self, _: Flow, format: &Format, _: bool) -> Result<(), DriverError> {
        self.mode.set_format(format)
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
        let count = |id, name| {
            ControlSpec::integer(id, name, (0, i32::MAX, 1), 0)
                .with(ControlFlags::READ_ONLY.union(ControlFlags::VOLATILE))
        };
        vec![
            count(FRAMES_SHOWN, "Frames Shown"),
            count(FRAMES_REPEATED, "Frames Repeated"),
        ]
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        let count = match id {
            FRAMES_SHOWN => self.sink.record().shown,
            FRAMES_REPEATED => self.repeated,
            _ => return None,
        };
        let count = i64::try_from(count)
            .unwrap_or(i64::MAX)
            .min(i64::from(i32::MAX));
        Some(ControlValue::Number(count))
    }

    fn events(&self) -> EventKinds {
        EventKinds::FRAME_SYNC
    }

    fn queue_policy(&self, _: Flow) -> QueuePolicy {
        self.policy
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.sink.acknowledge();
        self.tokens.retain(|token| !token.is_stale());
        for _ in 0..FRAMES_PER_TICK {
            if !self.step(now_ns, bus, progress) {
                return;
            }
        }
    }

    fn next_tick(&self) -> Option<u64> {
        let stream = self.stream.as_ref()?;
        if self.tokens.is_empty() || stream.held {
            return None;
        }
        match self.clock {
            Clock::Free => Some(0),
            Clock::Real => Some(stream.due_ns.unwrap_or(0)),
        }
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}

impl<C> Outside for Display<C> {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Self::wake_fd(self)
    }

    fn finish(&mut self) -> Option<Failure> {
        Self::finish(self).failure
    }

    fn thumbnails(&self, count: usize) -> Vec<Thumbnail> {
        self.sink.thumbnails(count)
    }

    fn failure(&self) -> Option<&Failure> {
        Self::failure(self)
    }
}

#[cfg(test)]
mod tests;
