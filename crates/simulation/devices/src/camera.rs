//! A camera: plays a source into its buffers.

mod controls;
mod jpeg;
mod moving;
mod program;

use crate::choice::{CameraInput, ClipEnd, Pace, SourceSpec};
use crate::hdmi::Hdmi;
use crate::m2m::CodecProcess;
use crate::metadata::MetadataLink;
use crate::mode::Mode;
use crate::picture_converter::PictureConverter;
use crate::rhythm::Rhythm;
use crate::select::Selection;
use crate::settings::Settings;
use crate::source::{NextSource, Ready, Source};
use crate::streaming::{Engine, Formats as _, Stamp, Stream, StreamingDevice, Tick};
use crate::surface::EIO;
use crate::worker::FrameWorker as _;
use crate::{Failure, PlayError};
use controls::Controls;
use jpeg::JpegEncoder;
use moving::Moving;
use program::Program;
use vb3_picture::Size;
use vb3_queue::{DriverError, forward};
use vb3_v4l2::{
    ControlSpec, ControlValue, DriverEvent, EventKinds, Flow, Port, Progress, Timings, Waiter,
    WakeFd, pixfmt,
};

/// Maximum number of pictures of a clip that one late tick (a call by the host) skips, and of frame-sync
/// events that the tick reports. Later ticks skip the rest. In virtual time, one tick skips all pictures.
const SKIP_MAX: u64 = 64;

/// The size of the test pattern in a camera with a scaler: the sensor's picture before it is scaled.
const PATTERN: (u32, u32) = (1280, 720);

/// A camera.
///
/// At each frame time, a camera fills its oldest buffer. A frame without a buffer waits for one until the
/// next frame is due, as in a sensor's line buffer. It is then dropped and counted, and leaves a gap in the
/// sequence. A late tick fills the queued buffers with the newest frames that were due, and drops only frames
/// without a buffer. A frame's timestamp is the time when it was due. Frame 0 is taken when the first buffer is
/// queued. If a clip's decoder is late, its pictures are shown later and none is skipped, but the frame numbers
/// still follow the time. With [`Pace::Free`], each buffer gets a frame immediately, and no frame is dropped.
///
/// A codec process makes JPEG files while the camera continues. A file's buffer finishes when the file is
/// ready.
///
/// At the end of a clip, the camera acts as its [`ClipEnd`] says. With `Stop`, the stream ends only after the
/// program has taken the last frame and waits for another, so a slow program loses no frame. After that, the
/// queue has an error (EIO, POLLERR) until STREAMOFF, and STREAMON starts the clip again.
///
/// Source: Linux 7.2 drivers/staging/media/imx/imx-media-capture.c `imx_media_capture_device_error`,
/// which calls `vb2_queue_error` when the sensor sends no frame any more; buffers are returned with the
/// error flag at STREAMOFF.
pub(crate) type Camera<C> = StreamingDevice<Player<C>, Mode, C>;

/// What a user chooses for a camera, besides the settings of all devices.
pub(crate) struct CameraChoice<'a> {
    pub(crate) source: &'a SourceSpec,
    pub(crate) end: ClipEnd,
    pub(crate) input: CameraInput,
    /// The initial mode of an HDMI source.
    pub(crate) timings: Option<&'static Timings>,
    /// The link to the camera's metadata node, if it has one.
    pub(crate) metadata: Option<MetadataLink>,
}

/// Returns the default card of a camera.
pub(crate) const fn default_card(input: CameraInput, source: &SourceSpec) -> &'static str {
    match (input, source) {
        (CameraInput::Scaler, _) => "Camera with Scaler",
        (CameraInput::Hdmi, _) => "HDMI Capture",
        (_, SourceSpec::Pattern) => "Test Pattern Camera",
        (_, SourceSpec::Clip(_)) => "Clip Camera",
    }
}

pub(crate) struct Player<C> {
    /// Scales pictures, if the stream has a scaler.
    pub(crate) converter: PictureConverter,
    moving: Option<Moving<C>>,
    source: Source,
    /// The host's commands for the source: to play another source, or to pause.
    program: Program,
    jpeg: JpegEncoder<C>,
    /// The measured frame times of the real camera, if the description has any.
    rhythm: Option<Rhythm>,
    controls: Controls,
    metadata: Option<MetadataLink>,
    state: State,
    /// While the camera waits for its source: when it looks at the source again, in nanoseconds of the host's clock,
    /// even if [`wake_fd`](Engine::wake_fd) reports something else.
    look_ns: u64,
    /// Number of pictures to skip before the next one is shown.
    owed: u64,
    /// Whether a program has taken all frames and waits for another.
    is_awaited: bool,
    /// Whether the clip has ended and the device must be unplugged.
    wants_unplug: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    /// The source has no picture yet, but will have one.
    AwaitsSource,
    /// The clip has ended. The program may not have taken all frames yet.
    AtEnd,
    /// The stream has ended or failed, and no frame follows.
    Ended,
}

impl<C> Camera<C> {
    /// Makes a camera.
    /// Fails for a clip that cannot be played, with a message for the user.
    pub(crate) fn new(settings: &Settings, choice: CameraChoice<'_>) -> Result<Self, Failure> {
        let card = default_card(choice.input, choice.source);
        let source = Source::open(choice.source, choice.end)?;
        let native = source.native();
        let native_mode = native.map(|info| (info.size, info.interval));
        let mut mode =
            Mode::new(settings, true, native_mode).ok_or_else(|| settings.no_such_format())?;
        let sensor = native.map_or(PATTERN, |info| (info.size.width(), info.size.height()));
        if let Some(timings) = choice.timings {
            mode.set_timings(timings);
        }
        let has_scaler = choice.input == CameraInput::Scaler;
        let scaler = has_scaler.then(|| Selection::whole(sensor, &mode.format));
        let rhythm = || settings.likeness.as_ref().and_then(Rhythm::new);
        let encoder = CodecProcess::new(vb3_codec::Kind::JpegEncoder, &settings.codecs)?;
        let player = Player {
            converter: PictureConverter::default(),
            moving: None,
            source,
            program: Program::default(),
            jpeg: JpegEncoder::new(encoder, rhythm()),
            rhythm: rhythm(),
            controls: Controls::new(settings, native.is_some(), choice.timings.is_some()),
            metadata: choice.metadata,
            state: State::default(),
            look_ns: 0,
            owed: 0,
            is_awaited: false,
            wants_unplug: false,
        };
        let mut camera = Self::with_engine(settings, card, mode, player);
        camera.stream.scaler = scaler;
        camera.stream.hdmi = choice.timings.map(Hdmi::new);
        Ok(camera)
    }
}

impl<C> Player<C> {
    /// Returns whether a frame can be put into a buffer now.
    fn has_buffer(&self, stream: &Stream<Mode, C>) -> bool {
        !stream.tokens.is_empty() && self.jpeg.has_room() && self.moving.is_none()
    }

    /// Returns whether a frame is being moved or encoded.
    fn has_under_way(&self) -> bool {
        self.moving.is_some() || self.jpeg.wake_fd().is_some()
    }

    /// Skips the frames that were due and have no buffer. Returns the time of the oldest frame that remains.
    /// `before` is the state at the start of this tick.
    fn catch_up(&mut self, tick: &mut Tick<'_, Mode, C>, before: State, due_ns: u64) -> u64 {
        if tick.stream.pace == Pace::Free {
            return tick.now_ns;
        }
        let was_waiting = before == State::AwaitsSource;
        if was_waiting && tick.stream.sequence == 0 {
            // The frames' times begin with the first picture.
            return tick.now_ns;
        }
        // The newest frame remains even without a buffer. If the camera has waited for the source, only the
        // newest frame remains, and shows the picture that came late.
        let kept = match was_waiting {
            true => 1,
            false => tick.stream.tokens.len().max(1),
        };
        let (missed, time_ns) = tick.stream.missed(tick.now_ns, due_ns, kept);
        // CAST: sequence numbers wrap.
        let first = tick.stream.sequence;
        tick.stream.sequence = first.wrapping_add(missed as u32);
        tick.stream.due_ns = Some(time_ns);
        tick.stream.count_dropped(missed);
        self.controls.count_frames(missed);
        for sequence in (first..).take(missed.min(SKIP_MAX) as usize) {
            tick.progress
                .events
                .push(DriverEvent::FrameSync { sequence });
        }
        self.owed += match (was_waiting, tick.stream.at_once) {
            // Only frame numbers are skipped here. If the pictures of these frames were skipped, too, a late
            // decoder would never catch up.
            (true, false) => 0,
            (_, true) => missed,
            (false, false) => missed.min(SKIP_MAX),
        };
        time_ns
    }

    /// Skips the next `owed` pictures. Returns the source's state after them.
    fn next_picture(&mut self) -> Ready {
        loop {
            let ready = self.source.ready();
            if ready != Ready::Frame {
                return ready;
            }
            if self.owed == 0 {
                let background = self.controls.background(self.source.is_clip());
                let is_done = self.source.adjust(&self.controls.picture, background);
                return if is_done { ready } else { Ready::Later };
            }
            self.advance_source();
            self.owed -= 1;
        }
    }

    /// Begins to write the source's picture to the oldest buffer. Returns false if there is no picture or no
    /// buffer, or if the encoder fails.
    fn give(&mut self, tick: &mut Tick<'_, Mode, C>, stamp: Stamp) -> bool {
        let background = self.controls.background(self.source.is_clip());
        let picture = &self.controls.picture;
        let number = self.program.number(stamp.sequence);
        let Some(frame) = self.source.picture(number, picture, background) else {
            return false;
        };
        tick.stream.tokens.retain(|token| !token.is_stale());
        let Some(token) = tick.stream.tokens.pop_front() else {
            return false;
        };
        if tick.stream.formats.pixel().is_compressed()
            && let Err(failure) = self.jpeg.begin(frame)
        {
            tick.stream.fail(failure, tick.progress);
            return false;
        }
        if let Some(metadata) = &self.metadata {
            metadata.push(stamp);
        }
        self.begin(tick, stamp, token);
        true
    }

    /// Plans the next frame. Counts as dropped the frames that the imitated camera loses before this frame.
    fn plan_next(&mut self, stream: &mut Stream<Mode, C>, time_ns: u64) {
        let interval = stream.formats.interval;
        let next = self
            .rhythm
            .as_mut()
            .and_then(|rhythm| rhythm.next_interval(interval));
        let (ns, lost) = next.unwrap_or((stream.interval_ns(), 0));
        stream.due_ns = Some(time_ns.saturating_add(ns));
        stream.sequence = stream.sequence.wrapping_add(lost);
        stream.count_dropped(lost.into());
        self.controls.count_frames(lost.into());
        self.owed += u64::from(lost).min(SKIP_MAX);
    }

    /// Advances to the next picture, after the current one was copied or dropped.
    fn leave_picture(&mut self) {
        self.advance_source();
        self.controls.count_frames(1);
    }

    /// Ends the stream after the clip: unplugs the device, or fails the stream, as the user chose.
    fn end_stream(&mut self, stream: &mut Stream<Mode, C>, progress: &mut Progress<C>) {
        self.state = State::Ended;
        let Some((path, end)) = self.source.end() else {
            return;
        };
        if end == ClipEnd::Unplug {
            self.wants_unplug = true;
            return;
        }
        let (name, frames) = (path.display(), stream.sequence);
        let sentence = format!(
            "{name} ended after {frames} frames, and the stream with it (end=stop): calls fail with \
             EIO until the program streams anew; end=loop plays on"
        );
        stream.fail(Failure::asked_for(sentence), progress);
    }
}

fn has_signal<C>(stream: &Stream<Mode, C>) -> bool {
    stream.hdmi.as_ref().is_none_or(Hdmi::sends)
}

impl<C> Engine<C> for Player<C> {
    type Formats = Mode;

    const FLOW: Flow = Flow::Capture;
    const PORTS: &'static [Port] = &[Port {
        name: "Camera",
        kind: 2,
    }];
    const EVENTS: EventKinds = EventKinds::FRAME_SYNC;

    fn start(&mut self, stream: &mut Stream<Mode, C>) -> Result<(), DriverError> {
        let mode = &stream.formats;
        let format = match mode.pixel() {
            // The JPEG encoder reads this format.
            pixel if pixel.is_compressed() => &pixfmt::YUV422P,
            pixel => pixel,
        };
        let size = match &stream.scaler {
            None => mode.size(),
            Some(scaler) => Size::nearest(scaler.source.0, scaler.source.1),
        };
        if let Some(hdmi) = &mut stream.hdmi {
            hdmi.start();
        }
        self.state = State::Running;
        (self.owed, self.is_awaited) = (0, false);
        if let Some(rhythm) = &mut self.rhythm {
            rhythm.reset();
        }
        self.take_program_before_start();
        let started = self.source.start(format, size, mode.interval);
        let started = started.and_then(|()| self.program.start(&self.source, mode.interval));
        started.map_err(|failure| {
            stream.failure = Some(failure);
            EIO
        })
    }

    fn stop(&mut self, _: &mut Stream<Mode, C>) {
        self.state = State::Running;
        self.stop_moving();
        self.source.stop();
        self.program.stop();
        self.jpeg.stop();
    }

    fn recall(&mut self) {
        self.recall_lost();
    }

    fn begin_tick(&mut self, tick: &mut Tick<'_, Mode, C>) {
        self.look_ns = tick.now_ns.saturating_add(tick.stream.interval_ns());
        self.source.acknowledge();
        self.program.acknowledge();
        self.resume(tick);
        if let Err(failure) = self.jpeg.finish(tick) {
            self.stop_moving();
            tick.stream.fail(failure, tick.progress);
        }
        // A waiting program first gets the frames that are finished now, so it does not wait for the end yet.
        self.is_awaited &= tick.progress.finished.is_empty();
    }

    /// Takes the next frame if it is due. Returns whether to continue.
    fn step(&mut self, tick: &mut Tick<'_, Mode, C>) -> bool {
        if self.program_follows() {
            self.switch();
        }
        if self.state == State::AtEnd && self.is_awaited && !self.has_under_way() {
            self.end_stream(tick.stream, tick.progress);
        }
        if !has_signal(tick.stream) {
            // The frames' times start again when the signal returns.
            tick.stream.due_ns = None;
            if self.state == State::AwaitsSource {
                // This tick may have cleared the descriptor that reports the source's picture, so the camera
                // must not wait for that descriptor.
                self.state = State::Running;
            }
            return false;
        }
        let has_buffer = self.has_buffer(tick.stream);
        let needs_buffer = tick.stream.pace == Pace::Free || tick.stream.due_ns.is_none();
        let is_over = matches!(self.state, State::AtEnd | State::Ended) || self.needs_picture();
        if is_over || !has_buffer && needs_buffer {
            return false;
        }
        let first_ns = self.rhythm.as_ref().map_or(0, Rhythm::first_ns);
        let due_ns = *(tick.stream.due_ns).get_or_insert(tick.now_ns.saturating_add(first_ns));
        if tick.stream.pace == Pace::Real && tick.now_ns < due_ns {
            return false;
        }
        let before = self.state;
        let time_ns = self.catch_up(tick, before, due_ns);
        self.follow_program(tick.stream);
        match self.next_picture() {
            Ready::Frame => self.state = State::Running,
            Ready::Later => {
                self.state = State::AwaitsSource;
                return false;
            }
            Ready::Failed(failure) => {
                self.state = State::Ended;
                tick.stream.fail(failure, tick.progress);
                return false;
            }
            Ready::End => {
                self.state = State::AtEnd;
                return false;
            }
        }
        if !has_buffer {
            // The newest frame is kept until there is a buffer for it.
            return false;
        }
        let sequence = tick.stream.next_sequence();
        self.plan_next(tick.stream, time_ns);
        tick.progress
            .events
            .push(DriverEvent::FrameSync { sequence });
        self.is_awaited = false;
        let stamp = Stamp::new(sequence, time_ns);
        if !self.give(tick, stamp) {
            tick.stream.count_dropped(1);
            self.leave_picture();
        }
        true
    }

    fn next_step(&self, stream: &Stream<Mode, C>) -> Option<u64> {
        if !has_signal(stream) {
            return None;
        }
        let at_once = self.has_buffer(stream).then_some(0);
        match (self.state, stream.pace, stream.due_ns) {
            (State::Ended, ..) => None,
            // The next source may hang. Its descriptor does not tell of the current source's picture.
            (State::AwaitsSource, ..) => self.program.wake_fd().map(|_| self.look_ns),
            (State::AtEnd, ..) if self.program_follows() => Some(0),
            (State::AtEnd, ..) => (self.is_awaited && !self.has_under_way()).then_some(0),
            (_, Pace::Free, _) | (_, _, None) => at_once,
            (State::Running, Pace::Real, Some(due_ns)) => at_once.map(|_| due_ns).or_else(|| {
                // The next work is to drop a frame. As long as the camera cannot fill a buffer, as many frames
                // wait as there are buffers, and at least one. CAST: widening.
                let waiting = stream.tokens.len().max(1) as u64;
                let until_drop_ns = stream.interval_ns().saturating_mul(waiting);
                Some(due_ns.saturating_add(until_drop_ns))
            }),
        }
    }

    fn has_begun(&self) -> bool {
        self.moving.is_some() && !self.converter.is_busy()
    }

    /// Returns a descriptor that is readable when an awaited picture or file is available.
    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        let waits = self.state == State::AwaitsSource;
        let source = || waits.then(|| self.source.wake_fd()).flatten();
        let scaled = || self.converter.wake_fd();
        let next = || self.program.wake_fd();
        // A source that hangs is awaited no longer once the next one has a picture.
        self.jpeg
            .wake_fd()
            .or_else(scaled)
            .or_else(next)
            .or_else(source)
    }

    fn note_waiter(&mut self, _: Waiter) {
        self.is_awaited = true;
    }

    fn is_preparing(&self) -> bool {
        self.state == State::AwaitsSource || self.has_under_way()
    }

    fn work_at_once(&mut self) {
        self.source.at_once = true;
        self.converter.work_at_once();
    }

    fn play(&mut self, stream: &mut Stream<Mode, C>, next: NextSource) -> Result<(), PlayError> {
        self.order(stream, next)
    }

    fn is_next_ready(&mut self) -> Result<bool, Failure> {
        self.program.is_ready()
    }

    fn pause(&mut self, is_paused: bool) -> bool {
        self.program.pause(is_paused);
        true
    }

    fn take_unplug(&mut self) -> bool {
        std::mem::take(&mut self.wants_unplug)
    }

    fn ports(&self) -> &[Port] {
        self.controls.ports().unwrap_or(Self::PORTS)
    }

    fn is_webcam(&self) -> bool {
        self.controls.is_webcam
    }

    forward! { self.controls =>
        fn controls(&self) -> Vec<ControlSpec>;
        fn set_control(&mut self, id: u32, value: i64) -> Result<(), DriverError>;
        fn volatile_control(&self, id: u32) -> Option<ControlValue>;
    }
}

#[cfg(test)]
mod tests;
