//! A camera: plays a source into the buffers it is given.

mod controls;
mod jpeg;
mod scaler;

use crate::Failure;
use crate::device::Outside;
use crate::mode::Mode;
use crate::picture::Size;
use crate::place::{Place, identity, policy};
use crate::source::{Ready, Source};
use crate::spec::{Clock, DeviceKind, DeviceSpec, SourceSpec};
use crate::surface::{EINVAL, EIO, FIELD_NONE, Trouble};
use controls::Controls;
use jpeg::JpegEncoder;
use scaler::Scaler;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use vb3_queue::{
    Active, Completion, DoneState, Driver, DriverError, MAX_PLANES, PlaneSizes, Prepare,
};
use vb3_v4l2::{
    Bus, ControlSpec, ControlValue, DriverEvent, EventKinds, Flow, Format, Fraction,
    FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity, Port, Progress, QueuePolicy,
    Rect, Role, SelectionFlags, SelectionTarget, Statistics, VideoDriver, pixfmt,
};

/// Most frames of one tick, so that a tick ends.
const FRAMES_PER_TICK: u32 = 8;
/// Most pictures of a clip that a late tick leaves out, and most events that it raises for frames
/// left out; pictures beyond come later.
const SKIP_MAX: u64 = 64;

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
/// the sequence. So do the frames of times that a late tick finds in the past: it delivers the
/// newest, with its own time. Frame 0 is taken when the first buffer is there. Where a clip's
/// decoder is late, its pictures are shown later and none is left out, but the camera's frames are
/// numbered by time all the same. With [`Clock::Free`] each buffer gets a frame at once, and none
/// is dropped.
///
/// JPEG files are made by a codec process, while the camera goes on; their buffers come back when
/// they are ready.
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
    jpeg: JpegEncoder<C>,
    controls: Controls,
    clock: Clock,
    tokens: VecDeque<Active<C>>,
    stream: Option<Stream>,
    statistics: Statistics,
    failure: Option<Failure>,
    /// Streams that saw the clip's end.
    ends: u64,
}

/// When a frame was taken, and which it is.
#[derive(Clone, Copy, Debug)]
struct Taken {
    sequence: u32,
    time_ns: u64,
    /// None follows.
    last: bool,
}

impl Taken {
    /// Gives its buffer back.
    fn finish<C>(
        self,
        token: Active<C>,
        outcome: DoneState,
        payloads: [u64; MAX_PLANES],
        progress: &mut Progress<C>,
    ) {
        let completion = Completion {
            outcome,
            payloads: Some(payloads),
            data_offsets: None,
            timestamp_ns: Some(self.time_ns),
            sequence: self.sequence,
            field: FIELD_NONE,
            last: self.last,
            timecode: None,
            frame_flags: None,
        };
        progress.finish(Flow::Capture, token, completion);
    }
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
            jpeg: JpegEncoder::new(place.codecs.launch(vb3_codec::Kind::JpegEncoder)),
            controls: Controls::new(native.is_some()),
            clock: spec.clock,
            tokens: VecDeque::new(),
            stream: None,
            statistics: Statistics::default(),
            failure: None,
            ends: 0,
        })
    }

    /// Readable when the camera waits for a picture or a file that has come; `None` where it waits
    /// for none. Calls for a [`tick`](VideoDriver::tick).
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        let waits = |stream: &Stream| stream.state == State::AwaitsSource;
        let source = || {
            let waiting = self.stream.as_ref().filter(|stream| waits(stream));
            waiting.and(self.source.wake_fd())
        };
        self.jpeg.wake_fd().or_else(source)
    }

    /// Why the source failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether a frame could go to a buffer now.
    fn has_buffer(&self) -> bool {
        !self.tokens.is_empty() && self.jpeg.has_room()
    }

    /// Takes the next frame, if there is one and it is due. Whether to go on.
    fn step(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) -> bool {
        let has_buffer = self.has_buffer();
        let Some(stream) = &mut self.stream else {
            return false;
        };
        if stream.state == State::Ended || (!has_buffer && self.clock == Clock::Free) {
            return false;
        }
        if stream.due_ns.is_none() && !has_buffer {
            return false;
        }
        let due_ns = *stream.due_ns.get_or_insert(now_ns);
        if self.clock == Clock::Real && now_ns < due_ns {
            return false;
        }
        let before = stream.state;
        let last = match self.source.ready() {
            Ready::Frame { last } => {
                stream.state = State::Running;
                last
            }
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
            Ready::End => return self.end_empty(due_ns, progress),
        };
        let Some((time_ns, last)) = self.catch_up(before, (now_ns, due_ns), last, progress) else {
            return false;
        };
        let Some(stream) = &mut self.stream else {
            return false;
        };
        if !has_buffer {
            // The newest frame waits for a buffer.
            if last {
                stream.state = State::AwaitsBuffer;
            }
            return false;
        }
        let sequence = stream.sequence;
        stream.state = if last { State::Ended } else { State::Running };
        stream.sequence = sequence.wrapping_add(1);
        stream.due_ns = Some(time_ns.saturating_add(self.mode.interval_ns()));
        progress.events.push(DriverEvent::FrameSync { sequence });
        let taken = Taken {
            sequence,
            time_ns,
            last,
        };
        self.ends = self.ends.saturating_add(u64::from(last));
        if !self.give(taken, bus, progress) {
            self.statistics.dropped = self.statistics.dropped.saturating_add(1);
        }
        self.source.advance();
        self.controls.count_frames(1);
        true
    }

    /// Leaves out the frames whose time is over, and answers the time of the newest and whether it
    /// is the source's last. `None` where the source has no picture for it yet. `before` is the
    /// state that this tick found.
    fn catch_up(
        &mut self,
        before: State,
        (now_ns, due_ns): (u64, u64),
        mut last: bool,
        progress: &mut Progress<C>,
    ) -> Option<(u64, bool)> {
        let stream = self.stream.as_mut()?;
        if self.clock == Clock::Free {
            return Some((now_ns, last));
        }
        let interval_ns = self.mode.interval_ns();
        let was_waiting = before == State::AwaitsSource;
        if was_waiting && stream.sequence == 0 {
            // The clock begins with the first picture.
            return Some((now_ns, last));
        }
        if before == State::AwaitsBuffer {
            // The last picture is kept.
            return Some((due_ns, last));
        }
        let missed = (now_ns - due_ns) / interval_ns;
        let time_ns = due_ns.saturating_add(missed.saturating_mul(interval_ns));
        // The numbers of an absurd time wrap, as those of a counter do.
        let first = stream.sequence;
        stream.sequence = first.wrapping_add(missed as u32);
        stream.due_ns = Some(time_ns);
        self.statistics.dropped = self.statistics.dropped.saturating_add(missed);
        self.controls.count_frames(missed);
        for sequence in (first..).take(missed.min(SKIP_MAX) as usize) {
            progress.events.push(DriverEvent::FrameSync { sequence });
        }
        // A decoder that is late would never catch up if its pictures were left out, too.
        let skip = if was_waiting { 0 } else { missed.min(SKIP_MAX) };
        for _ in 0..skip {
            if last {
                break;
            }
            self.source.advance();
            match self.source.ready() {
                Ready::Frame { last: is_last } => last = is_last,
                _ => {
                    stream.state = State::AwaitsSource;
                    return None;
                }
            }
        }
        Some((time_ns, last))
    }

    /// Writes the source's picture to the oldest buffer that still is the camera's. Whether
    /// there was one.
    fn give(&mut self, taken: Taken, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) -> bool {
        while let Some(token) = self.tokens.pop_front() {
            let background = self.controls.background();
            let Some(frame) =
                self.source
                    .picture(taken.sequence, self.controls.picture(), background)
            else {
                self.tokens.push_front(token);
                return false;
            };
            if self.mode.pixel().is_compressed() {
                if token.is_stale() {
                    continue;
                }
                if let Err(failure) = self.jpeg.begin(frame, taken, token) {
                    self.failure = Some(failure);
                    progress.broken = true;
                    return false;
                }
                return true;
            }
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
            taken.finish(token, outcome, payloads, progress);
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
        self.ends = self.ends.saturating_add(1);
        let taken = Taken {
            sequence: stream.sequence,
            time_ns,
            last: true,
        };
        taken.finish(token, DoneState::Done, [0; MAX_PLANES], progress);
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
        let format = match self.mode.pixel() {
            // What a JPEG encoder takes.
            pixel if pixel.is_compressed() => &pixfmt::YUV420,
            pixel => pixel,
        };
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
        self.jpeg.stop();
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

    fn frame_sizes(&self, _pixel: &PixelFormat) -> FrameSizes<'_> {
        self.mode.sizes()
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        Some(self.mode.intervals())
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
        match self.jpeg.finish(bus, progress) {
            Ok(faults) => {
                self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(faults);
            }
            Err(failure) => {
                self.failure = Some(failure);
                progress.broken = true;
            }
        }
        for _ in 0..FRAMES_PER_TICK {
            if !self.step(now_ns, bus, progress) {
                return;
            }
        }
    }

    fn next_tick(&self) -> Option<u64> {
        let stream = self.stream.as_ref()?;
        let at_once = self.has_buffer().then_some(0);
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

    fn remark(&self) -> Option<String> {
        (self.ends > 0).then(|| {
            format!(
                "its clip ended {} without loop=on: a program that goes on reading gets EPIPE \
                 (\"Broken pipe\") until it streams anew; loop=on plays the clip again and again",
                if self.ends == 1 {
                    "once".to_owned()
                } else {
                    format!("{} times", self.ends)
                }
            )
        })
    }
}

#[cfg(test)]
mod tests;
