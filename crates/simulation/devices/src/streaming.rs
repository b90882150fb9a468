//! A device with one queue: the part that cameras, displays and loopback nodes share.
//!
//! A [`StreamingDevice`] has the queue's buffers, the format, the clock and the counters. It implements the
//! calls that all these devices answer alike. An [`Engine`] moves the pictures, and has everything that
//! belongs to one kind of device.

use crate::choice::Pace;
use crate::hdmi::Hdmi;
use crate::hosted::HostedDevice;
use crate::select::Selection;
use crate::settings::Settings;
use crate::sink::{LastShown, Sink};
use crate::source::NextSource;
use crate::surface::{
    BufferPlanes, EINVAL, FIELD_ANY, FIELD_NONE, PIECE, Payloads, Surface, Trouble, outcome,
};
use crate::{Failure, PlayError};
use std::collections::VecDeque;
use vb3_picture::Frame;
use vb3_queue::{Active, Completion, Driver, DriverError, PlaneSizes, Prepare, forward};
use vb3_v4l2::{
    Bus, ControlSpec, ControlValue, EventKinds, Flow, Format, FourCc, Fraction, FrameFlags,
    FrameIntervals, FrameSizes, Identity, MediaGraph, PixelFormat, Planarity, Port, Progress,
    QueuePolicy, Receiver, Rect, Role, SelectionFlags, SelectionTarget, Statistics, Timings,
    VideoDriver, Waiter, WakeFd,
};

/// Maximum number of frames in one tick (a call by the host), so that each tick ends.
const FRAMES_PER_TICK: u32 = 8;

/// The current format and rate of a device, and those that it offers.
pub(crate) trait Formats {
    fn planarity(&self) -> Planarity {
        Planarity::Single
    }

    /// Returns the offered pixel formats, in the order of ENUM_FMT.
    fn pixels(&self) -> &[&'static PixelFormat];

    /// Returns the sizes that are offered for a pixel format.
    fn sizes(&self, pixel: FourCc) -> FrameSizes<'_>;

    /// Returns the intervals (seconds per frame) that are offered for a pixel format and size.
    fn intervals(&self, _pixel: FourCc, _size: (u32, u32)) -> FrameIntervals<'_> {
        FrameIntervals::One(self.interval())
    }

    fn format(&self) -> Format;

    /// Returns whether a pixel format is refused, as [`VideoDriver::refuses_format`].
    fn refuses(&self, _fourcc: FourCc) -> bool {
        false
    }

    /// Returns whether buffers of an OUTPUT queue may have less than a whole picture.
    fn takes_short_frames(&self) -> bool {
        false
    }

    /// Returns the format that would be set for `wanted`.
    fn try_format(&self, _wanted: &Format) -> Format {
        self.format()
    }

    fn set_format(&mut self, _format: &Format) -> Result<(), DriverError> {
        Ok(())
    }

    /// Returns the current interval, in seconds per frame.
    fn interval(&self) -> Fraction;

    /// Sets the offered interval that is nearest. Sets the default if either part of `wanted` is zero.
    fn set_interval(&mut self, _wanted: Fraction) {}

    /// Reads the picture in a buffer that the device has already returned, as [`HostedDevice::inspect`].
    fn inspect<C>(&self, _planes: &BufferPlanes<C>, _bus: &mut dyn Bus<C>) -> Option<Frame> {
        None
    }

    /// Sets the mode of an HDMI source, after which only one size and one interval are offered.
    fn set_timings(&mut self, _mode: &Timings) {}
}

/// Moves pictures between a device's buffers and their source or destination.
pub(crate) trait Engine<C> {
    type Formats: Formats;

    const FLOW: Flow;
    /// The device's input or output.
    const PORTS: &'static [Port];
    /// Whether programs may read and set the device's frame interval.
    const TIMED: bool = true;
    /// Whether OUTPUT buffers keep the field order that the program named.
    const KEEPS_FIELD: bool = false;
    /// Events that the device has besides those of controls.
    const EVENTS: EventKinds = EventKinds::empty();

    fn role(&self) -> Role {
        match Self::FLOW {
            Flow::Capture => Role::Capture,
            Flow::Output => Role::Output,
        }
    }

    /// Returns the device's input or output, which may depend on the SPEC (the text that requests the
    /// device).
    fn ports(&self) -> &[Port] {
        Self::PORTS
    }

    /// Converts a bus code to the pixel format that stores it, as [`VideoDriver::stored_as`].
    fn stored_as(&self, _code: u32) -> Option<Option<FourCc>> {
        None
    }

    /// Returns controls whose ranges have changed, as [`VideoDriver::take_ranges`].
    fn take_ranges(&mut self) -> Vec<(ControlSpec, i64)> {
        Vec::new()
    }

    /// Returns the entity of a subdevice, as [`VideoDriver::subdevice`].
    fn subdevice(&self) -> Option<(&MediaGraph, usize)> {
        None
    }

    /// Starts streaming. An error is the program's errno; the reason is in [`Stream::failure`].
    fn start(&mut self, stream: &mut Stream<Self::Formats, C>) -> Result<(), DriverError>;

    /// Stops streaming. The device may call this without [`start`](Self::start).
    fn stop(&mut self, stream: &mut Stream<Self::Formats, C>);

    /// If the device has lost a buffer that it has lent to a thread, takes this buffer back from the thread.
    fn recall(&mut self) {}

    /// Begins a tick, whether or not the device streams. Called before the tick's frames are moved.
    fn begin_tick(&mut self, _tick: &mut Tick<'_, Self::Formats, C>) {}

    /// Moves the stream's next picture if it is due. Returns whether to call this again in the same tick.
    fn step(&mut self, tick: &mut Tick<'_, Self::Formats, C>) -> bool;

    /// Returns when [`step`](Self::step) has work next, in nanoseconds of the host's clock. Called unless
    /// [`has_begun`](Self::has_begun) returns true.
    fn next_step(&self, stream: &Stream<Self::Formats, C>) -> Option<u64>;

    /// Returns whether [`begin_tick`](Self::begin_tick) has an event to report, whether or not the device
    /// streams.
    fn has_event(&self, _formats: &Self::Formats) -> bool {
        false
    }

    /// Returns whether [`begin_tick`](Self::begin_tick) has a further piece of a picture to move.
    fn has_begun(&self) -> bool {
        false
    }

    /// Notes that a program's call, such as DQBUF or poll(), has found no finished buffer.
    fn note_waiter(&mut self, _waiter: Waiter) {}

    /// Returns a descriptor that is readable when an external event has occurred that the device awaits.
    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        None
    }

    /// Checks whether buffers may be allocated now. Fails with EBUSY for the program's call if another file of
    /// the device has buffers that exclude these.
    fn may_allocate(&self, _formats: &Self::Formats) -> Result<(), DriverError> {
        Ok(())
    }

    fn buf_init(&mut self, _formats: &Self::Formats) -> Result<(), DriverError> {
        Ok(())
    }

    fn buf_cleanup(&mut self, _formats: &Self::Formats) {}

    /// Returns whether the device is a USB webcam, which shows the bounds of its picture and cannot crop.
    ///
    /// Source: Linux 7.2 drivers/media/usb/uvc/uvc_v4l2.c `uvc_ioctl_g_selection`.
    fn is_webcam(&self) -> bool {
        false
    }

    fn controls(&self) -> Vec<ControlSpec> {
        Vec::new()
    }

    fn set_control(&mut self, _id: u32, _value: i64) -> Result<(), DriverError> {
        Ok(())
    }

    fn is_grabbed(&self, _id: u32) -> bool {
        false
    }

    fn volatile_control(&self, _id: u32) -> Option<ControlValue> {
        None
    }

    /// Makes the device work only within ticks, as [`HostedDevice::work_at_once`].
    fn work_at_once(&mut self) {}

    /// Plays another source, as [`HostedDevice::play`].
    fn play(
        &mut self,
        _stream: &mut Stream<Self::Formats, C>,
        _next: NextSource,
    ) -> Result<(), PlayError> {
        Err(PlayError::NoCamera)
    }

    /// Returns whether the next source has a picture, as [`HostedDevice::is_next_ready`].
    fn is_next_ready(&mut self) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Pauses or continues the source, as [`HostedDevice::pause`].
    fn pause(&mut self, _is_paused: bool) -> bool {
        false
    }

    /// Returns whether the device must be unplugged now, as [`HostedDevice::take_unplug`].
    fn take_unplug(&mut self) -> bool {
        false
    }

    /// Returns where the device's pictures go, as [`HostedDevice::sink`].
    fn sink(&mut self) -> Option<&mut Sink> {
        None
    }

    /// Returns the picture that was shown last, as [`HostedDevice::last_shown`].
    fn last_shown(&mut self) -> Option<LastShown> {
        None
    }

    /// Returns whether the device waits for its own process or thread, as [`HostedDevice::is_preparing`].
    fn is_preparing(&self) -> bool {
        false
    }
}

/// A tick (a call by the host), as an engine sees it.
pub(crate) struct Tick<'a, F, C> {
    pub(crate) stream: &'a mut Stream<F, C>,
    /// The time in nanoseconds of the host's clock.
    pub(crate) now_ns: u64,
    pub(crate) bus: &'a mut dyn Bus<C>,
    pub(crate) progress: &'a mut Progress<C>,
}

impl<F: Formats, C> Tick<'_, F, C> {
    /// Completes a CAPTURE buffer after its frame was moved, unless the device has lost the buffer.
    pub(crate) fn complete(
        &mut self,
        stamp: Stamp,
        token: Active<C>,
        moved: Result<Payloads, Trouble>,
    ) {
        if let Some((outcome, payloads)) = self.stream.outcome(moved) {
            stamp.finish(Flow::Capture, token, outcome, payloads, self.progress);
        }
    }
}

/// The stream of a device, as its engine sees it.
pub(crate) struct Stream<F, C> {
    pub(crate) formats: F,
    pub(crate) pace: Pace,
    /// The device's buffers, oldest first.
    pub(crate) tokens: VecDeque<Active<C>>,
    /// Whether the stream is between STREAMON and STREAMOFF.
    pub(crate) is_on: bool,
    /// Number of the next frame.
    pub(crate) sequence: u32,
    /// Time of the next frame, in nanoseconds of the host's clock; `None` before the first frame.
    pub(crate) due_ns: Option<u64>,
    pub(crate) statistics: Statistics,
    /// The last failure of something outside the device.
    pub(crate) failure: Option<Failure>,
    /// The rectangles of the scaler between pictures and buffers, if the device has one.
    pub(crate) scaler: Option<Selection>,
    /// The HDMI input of a camera that has one instead of a sensor.
    pub(crate) hdmi: Option<Hdmi>,
    /// Whether each tick moves whole pictures, as in virtual time, and not pieces.
    pub(crate) at_once: bool,
    /// Number of picture bytes that this tick may still move.
    pub(crate) left: usize,
}

impl<F: Formats, C> Stream<F, C> {
    pub(crate) fn interval_ns(&self) -> u64 {
        self.formats.interval().as_nanos().unwrap_or(1).max(1)
    }

    /// The first frame was due at `due_ns`, and one more frame after each interval. Of the frames that were
    /// due by `now_ns`, the newest `kept` ones are kept. Returns the number of the others, and the time when
    /// the oldest kept frame was due.
    pub(crate) fn missed(&self, now_ns: u64, due_ns: u64, kept: usize) -> (u64, u64) {
        let interval_ns = self.interval_ns();
        let late = now_ns.saturating_sub(due_ns) / interval_ns;
        // CAST: widening.
        let missed = late.saturating_add(1).saturating_sub(kept as u64);
        let oldest_ns = due_ns.saturating_add(missed.saturating_mul(interval_ns));
        (missed, oldest_ns)
    }

    /// Returns the number of the next frame, and increments the counter.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }

    /// Handles a failure that ends the stream.
    pub(crate) fn fail(&mut self, failure: Failure, progress: &mut Progress<C>) {
        self.failure = Some(failure);
        progress.broken = true;
    }

    /// Returns the state of a buffer after its picture was moved, as [`outcome`] does.
    pub(crate) fn outcome<T>(
        &mut self,
        moved: Result<T, Trouble>,
    ) -> Option<(Result<(), DriverError>, Option<T>)> {
        outcome(moved, &mut self.statistics)
    }

    pub(crate) fn count_dropped(&mut self, count: u64) {
        let dropped = &mut self.statistics.dropped;
        *dropped = dropped.saturating_add(count);
    }

    pub(crate) fn count_copied(&mut self, bytes: u64) {
        let copied = &mut self.statistics.bytes_copied;
        *copied = copied.saturating_add(bytes);
    }
}

/// The number, time and flags of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) sequence: u32,
    pub(crate) time_ns: u64,
    /// The frame's `V4L2_FIELD_*`.
    pub(crate) field: u32,
    pub(crate) timecode: Option<[u8; 16]>,
    /// The frame's `V4L2_BUF_FLAG_*`; `None` keeps the buffer's flags.
    pub(crate) frame_flags: Option<u32>,
}

impl Stamp {
    /// Makes the stamp of a progressive frame.
    pub(crate) const fn new(sequence: u32, time_ns: u64) -> Self {
        Self {
            sequence,
            time_ns,
            field: FIELD_NONE,
            timecode: None,
            frame_flags: None,
        }
    }

    /// Returns the stamp that a program gave a buffer.
    pub(crate) fn of<C>(token: &Active<C>) -> Self {
        Self {
            field: token.field(),
            timecode: token.timecode(),
            frame_flags: Some(token.frame_flags()),
            ..Self::new(0, token.timestamp_ns())
        }
    }

    /// Sets the frame kind that the device determined. A codec does not copy the kind from OUTPUT.
    pub(crate) fn with_kind(mut self, kind: FrameFlags) -> Self {
        let flags = self.frame_flags.unwrap_or_default();
        self.frame_flags = Some(flags & !FrameFlags::all().bits() | kind.bits());
        self
    }

    /// Returns the completion of a buffer that has this frame.
    pub(crate) const fn completion(
        self,
        outcome: Result<(), DriverError>,
        payloads: Option<Payloads>,
    ) -> Completion {
        Completion {
            payloads,
            timestamp_ns: Some(self.time_ns),
            field: self.field,
            timecode: self.timecode,
            frame_flags: self.frame_flags,
            ..Completion::new(outcome, self.sequence)
        }
    }

    /// Completes the frame's buffer.
    /// `payloads` are the bytes used in each plane of a CAPTURE buffer. An OUTPUT buffer keeps its own
    /// payloads.
    pub(crate) fn finish<C>(
        self,
        flow: Flow,
        token: Active<C>,
        outcome: Result<(), DriverError>,
        payloads: Option<Payloads>,
        progress: &mut Progress<C>,
    ) {
        let payloads = (flow == Flow::Capture).then(|| payloads.unwrap_or_default());
        progress.finish(flow, token, self.completion(outcome, payloads));
    }
}

/// A device with one queue.
pub(crate) struct StreamingDevice<E, F, C> {
    identity: Identity,
    pub(crate) policy: QueuePolicy,
    pub(crate) stream: Stream<F, C>,
    pub(crate) engine: E,
}

impl<E: Engine<C>, C> StreamingDevice<E, E::Formats, C> {
    /// Makes the device. `card` is the card's name unless the user chose one.
    pub(crate) fn with_engine(
        settings: &Settings,
        card: &str,
        formats: E::Formats,
        engine: E,
    ) -> Self {
        Self {
            identity: settings.identity(card),
            policy: settings.policy,
            stream: Stream {
                formats,
                pace: settings.pace,
                tokens: VecDeque::new(),
                is_on: false,
                sequence: 0,
                due_ns: None,
                statistics: Statistics::default(),
                failure: None,
                scaler: None,
                hdmi: None,
                at_once: false,
                left: 0,
            },
            engine,
        }
    }
}

impl<E: Engine<C>, C> Driver for StreamingDevice<E, E::Formats, C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        self.engine.may_allocate(&self.stream.formats)?;
        Surface(&self.stream.formats.format()).queue_setup(create)
    }

    fn buf_init(&mut self, _index: u32) -> Result<(), DriverError> {
        self.engine.buf_init(&self.stream.formats)
    }

    fn buf_cleanup(&mut self, _index: u32) {
        self.engine.buf_cleanup(&self.stream.formats);
    }

    fn buf_prepare(&mut self, mut buffer: Prepare<'_>) -> Result<(), DriverError> {
        let given = *buffer.field;
        let format = self.stream.formats.format();
        match self.stream.formats.takes_short_frames() {
            true => Surface(&format).limit_payloads(&mut buffer),
            false => Surface(&format).prepare(&mut buffer, E::FLOW)?,
        }
        if E::KEEPS_FIELD && given != FIELD_ANY {
            *buffer.field = given;
        }
        Ok(())
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.stream.tokens.push_back(buffer);
    }

    fn start_streaming(&mut self, _queued: u32) -> Result<(), DriverError> {
        (self.stream.sequence, self.stream.due_ns) = (0, None);
        let started = self.engine.start(&mut self.stream);
        match started {
            Ok(()) => self.stream.is_on = true,
            Err(_) => self.stream.tokens.clear(),
        }
        started
    }

    fn stop_streaming(&mut self) {
        self.stream.is_on = false;
        self.engine.stop(&mut self.stream);
        self.stream.tokens.clear();
    }

    fn buffers_withdrawn(&mut self) {
        self.engine.recall();
    }
}

impl<E: Engine<C>, C> VideoDriver for StreamingDevice<E, E::Formats, C> {
    type Cookie = C;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    forward! { self.engine =>
        fn role(&self) -> Role;
        fn stored_as(&self, code: u32) -> Option<Option<FourCc>>;
        fn take_ranges(&mut self) -> Vec<(ControlSpec, i64)>;
        fn subdevice(&self) -> Option<(&MediaGraph, usize)>;
        fn ports(&self) -> &[Port];
        fn controls(&self) -> Vec<ControlSpec>;
        fn is_grabbed(&self, id: u32) -> bool;
        fn volatile_control(&self, id: u32) -> Option<ControlValue>;
        fn wake_fd(&self) -> Option<WakeFd<'_>>;
    }

    fn with_queue_driver(&mut self, _: Flow, act: &mut dyn FnMut(&mut dyn Driver<Cookie = C>)) {
        act(self);
    }

    fn planarity(&self) -> Planarity {
        self.stream.formats.planarity()
    }

    fn formats(&self, _: Flow) -> &[&'static PixelFormat] {
        self.stream.formats.pixels()
    }

    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes<'_> {
        self.stream.formats.sizes(pixel.fourcc)
    }

    fn frame_intervals(
        &self,
        pixel: &PixelFormat,
        width: u32,
        height: u32,
    ) -> Option<FrameIntervals<'_>> {
        let formats = &self.stream.formats;
        E::TIMED.then(|| formats.intervals(pixel.fourcc, (width, height)))
    }

    fn format(&self, _: Flow) -> Format {
        self.stream.formats.format()
    }

    fn refuses_format(&self, _: Flow, fourcc: FourCc) -> bool {
        self.stream.formats.refuses(fourcc)
    }

    fn try_format(&self, _: Flow, wanted: &Format) -> Format {
        self.stream.formats.try_format(wanted)
    }

    fn set_format(&mut self, _: Flow, format: &Format, _: bool) -> Result<(), DriverError> {
        self.stream.formats.set_format(format)?;
        if let Some(scaler) = &mut self.stream.scaler {
            // The scaled picture fills the whole buffer again.
            scaler.compose = Rect::whole(format.width, format.height);
        }
        Ok(())
    }

    fn interval(&self, _: Flow) -> Option<Fraction> {
        E::TIMED.then(|| self.stream.formats.interval())
    }

    fn set_interval(&mut self, _: Flow, wanted: Fraction) {
        self.stream.formats.set_interval(wanted);
    }

    fn receiver(&self) -> Option<&Receiver> {
        self.stream.hdmi.as_ref().map(|hdmi| &hdmi.receiver)
    }

    fn set_timings(&mut self, mode: &Timings) {
        if let Some(hdmi) = &mut self.stream.hdmi {
            hdmi.receiver.timings = *mode;
            self.stream.formats.set_timings(mode);
        }
    }

    fn set_edid(&mut self, edid: Vec<u8>) {
        if let Some(hdmi) = &mut self.stream.hdmi {
            hdmi.set_edid(edid);
        }
    }

    fn has_selection(&self) -> bool {
        self.sets_selection() || self.engine.is_webcam()
    }

    fn sets_selection(&self) -> bool {
        self.stream.scaler.is_some()
    }

    fn selection(&self, _: Flow, target: SelectionTarget) -> Option<Rect> {
        let format = self.stream.formats.format();
        if let Some(scaler) = &self.stream.scaler {
            return Some(scaler.rect(target, &format));
        }
        let is_fixed = self.engine.is_webcam()
            && matches!(
                target,
                SelectionTarget::CropDefault | SelectionTarget::CropBounds
            );
        is_fixed.then_some(Rect::whole(format.width, format.height))
    }

    fn set_selection(
        &mut self,
        _: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        let format = self.stream.formats.format();
        let scaler = self.stream.scaler.as_mut().ok_or(EINVAL)?;
        scaler.set_rect((target, flags), wanted, &format)
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        self.engine.set_control(id, value.number())
    }

    fn events(&self) -> EventKinds {
        match self.stream.hdmi {
            Some(_) => E::EVENTS | EventKinds::SOURCE_CHANGE,
            None => E::EVENTS,
        }
    }

    fn queue_policy(&self, _: Flow) -> QueuePolicy {
        self.policy
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let (stream, engine) = (&mut self.stream, &mut self.engine);
        stream.tokens.retain(|token| !token.is_stale());
        stream.left = if stream.at_once { usize::MAX } else { PIECE };
        let mut tick = Tick {
            stream,
            now_ns,
            bus,
            progress,
        };
        engine.begin_tick(&mut tick);
        for _ in 0..FRAMES_PER_TICK {
            let goes_on = tick.stream.is_on && tick.stream.left > 0;
            if !goes_on || !engine.step(&mut tick) {
                return;
            }
        }
    }

    fn note_waiter(&mut self, _: Flow, waiter: Waiter) {
        self.engine.note_waiter(waiter);
    }

    fn next_tick(&self) -> Option<u64> {
        if self.engine.has_event(&self.stream.formats) || self.has_begun() {
            return Some(0);
        }
        let is_on = self.stream.is_on;
        is_on.then(|| self.engine.next_step(&self.stream)).flatten()
    }

    fn has_begun(&self) -> bool {
        self.stream.is_on && self.engine.has_begun()
    }

    fn statistics(&self) -> Statistics {
        self.stream.statistics
    }
}

impl<E: Engine<C> + 'static, C: 'static> HostedDevice for StreamingDevice<E, E::Formats, C> {
    fn work_at_once(&mut self) {
        self.stream.at_once = true;
        self.engine.work_at_once();
    }

    fn failure(&self) -> Option<&Failure> {
        self.stream.failure.as_ref()
    }

    fn is_preparing(&self) -> bool {
        self.stream.is_on && self.engine.is_preparing()
    }

    fn is_free(&self) -> bool {
        self.stream.pace == Pace::Free
    }

    fn hdmi(&mut self) -> Option<&mut Hdmi> {
        self.stream.hdmi.as_mut()
    }

    fn play(&mut self, next: NextSource) -> Result<(), PlayError> {
        self.engine.play(&mut self.stream, next)
    }

    fn is_next_ready(&mut self) -> Result<bool, Failure> {
        match self.stream.is_on {
            true => self.engine.is_next_ready(),
            false => Ok(true),
        }
    }

    forward! { self.engine =>
        fn pause(&mut self, is_paused: bool) -> bool;
        fn take_unplug(&mut self) -> bool;
        fn sink(&mut self) -> Option<&mut Sink>;
        fn last_shown(&mut self) -> Option<LastShown>;
    }

    fn inspect(&self, planes: &BufferPlanes<C>, bus: &mut dyn Bus<C>) -> Option<Frame> {
        self.stream.formats.inspect(planes, bus)
    }
}
