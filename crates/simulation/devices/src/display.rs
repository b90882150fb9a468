//! A display: shows its buffers, and records them.

use crate::Failure;
use crate::choice::{Pace, SinkSpec};
use crate::control::{counted, counter};
use crate::mode::Mode;
use crate::settings::Settings;
use crate::sink::{LastShown, Shape, Sink};
use crate::streaming::{Engine, Stamp, Stream, StreamingDevice, Tick};
use crate::surface::{EINVAL, PictureCursor};
use vb3_picture::Frame;
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{ControlSpec, ControlValue, DriverEvent, EventKinds, Flow, Port, WakeFd, cid};

/// The first free control ids for drivers in the user class.
const FRAMES_SHOWN: u32 = cid::DRIVERS_OWN;
const FRAMES_REPEATED: u32 = cid::DRIVERS_OWN + 1;

/// A display.
///
/// At each refresh, a display reads the oldest buffer, passes the picture to its sink and returns the buffer.
/// Without a buffer, it repeats the last picture. A repetition is counted, but not recorded. While the sink
/// has no room, the display keeps its buffers, so a recording lacks no frame. With [`Pace::Free`], the
/// display shows buffers as they arrive.
pub(crate) type Display<C> = StreamingDevice<Screen<C>, Mode, C>;

struct Reading<C> {
    token: Active<C>,
    /// The picture read so far; `None` if nothing needs the picture.
    frame: Option<Frame>,
    cursor: PictureCursor,
    time_ns: u64,
}

/// Shows buffers, and repeats the last one if none is new.
pub(crate) struct Screen<C> {
    sink: Sink,
    reading: Option<Reading<C>>,
    last: LastShown,
    /// Whether no buffer was left at the last tick (a call by the host).
    starved: bool,
    /// Whether the sink had no room at the last tick.
    awaits_sink: bool,
    /// Number of refreshes that showed no new picture.
    repeated: u64,
}

impl<C> Display<C> {
    /// Makes a display.
    /// Fails for a recording that cannot be written, with a message for the user.
    pub(crate) fn new(settings: &Settings, sink: &SinkSpec) -> Result<Self, Failure> {
        let screen = Screen {
            sink: Sink::open(sink)?,
            reading: None,
            last: LastShown::Nothing,
            starved: false,
            awaits_sink: false,
            repeated: 0,
        };
        let mode = Mode::new(settings, false, None);
        let mode = mode.ok_or_else(|| settings.no_such_format())?;
        Ok(Self::with_engine(settings, "Display", mode, screen))
    }
}

impl<C> Screen<C> {
    /// Begins to read the oldest buffer, whose picture is shown at `time_ns`.
    fn show(&mut self, tick: &mut Tick<'_, Mode, C>, time_ns: u64) {
        let Some(token) = tick.stream.tokens.pop_front() else {
            return;
        };
        let mode = &tick.stream.formats;
        let mut frame = self.sink.take_next(mode.pixel(), mode.size());
        if let Some(frame) = &mut frame {
            frame.set_color(mode.color());
        }
        self.reading = Some(Reading {
            token,
            frame,
            cursor: PictureCursor::default(),
            time_ns,
        });
        self.resume(tick);
    }

    /// Continues to read a picture, and shows it when it is complete.
    fn resume(&mut self, tick: &mut Tick<'_, Mode, C>) {
        let Some(reading) = &mut self.reading else {
            return;
        };
        let going = (&mut reading.cursor, &mut tick.stream.left);
        let frame = reading.frame.as_mut();
        let read = tick
            .stream
            .formats
            .resume_read(frame, &reading.token, going, tick.bus);
        if read == Ok(false) {
            return;
        }
        let Some(Reading {
            token,
            frame,
            time_ns,
            ..
        }) = self.reading.take()
        else {
            return;
        };
        let Some((outcome, _)) = tick.stream.outcome(read) else {
            return self.sink.put_back(frame);
        };
        let sequence = tick.stream.next_sequence();
        match (outcome, frame) {
            (Ok(()), Some(frame)) => {
                let frame = self.sink.show(frame);
                self.last = LastShown::Picture { sequence, frame };
            }
            (Ok(()), None) => {
                self.sink.show_unseen();
                let index = token.index();
                self.last = LastShown::Buffer { sequence, index };
            }
            (Err(_), frame) => {
                self.sink.put_back(frame);
                tick.stream.count_dropped(1);
            }
        }
        tick.progress
            .events
            .push(DriverEvent::FrameSync { sequence });
        let stamp = Stamp::new(sequence, time_ns);
        stamp.finish(Flow::Output, token, outcome, None, tick.progress);
    }
}

impl<C> Engine<C> for Screen<C> {
    type Formats = Mode;

    const FLOW: Flow = Flow::Output;
    const PORTS: &'static [Port] = &[Port {
        name: "Display",
        kind: 2,
    }];
    const EVENTS: EventKinds = EventKinds::FRAME_SYNC;

    fn start(&mut self, stream: &mut Stream<Mode, C>) -> Result<(), DriverError> {
        let mode = &stream.formats;
        (self.starved, self.awaits_sink) = (false, false);
        let shape = Shape {
            format: mode.pixel(),
            size: mode.size(),
            interval: mode.interval,
            color: mode.color(),
        };
        let begun = self.sink.begin(shape);
        begun.map_err(|failure| {
            stream.failure = Some(failure);
            EINVAL
        })
    }

    fn stop(&mut self, stream: &mut Stream<Mode, C>) {
        self.awaits_sink = false;
        let begun = self.reading.iter().map(|reading| &reading.token);
        let mut queued = stream.tokens.iter().chain(begun).map(Active::index);
        if let LastShown::Buffer { index, .. } = self.last
            && queued.any(|queued| queued == index)
        {
            self.last = LastShown::Lost;
        }
        let reading = self.reading.take();
        self.sink
            .put_back(reading.and_then(|reading| reading.frame));
    }

    fn begin_tick(&mut self, tick: &mut Tick<'_, Mode, C>) {
        self.sink.acknowledge();
        self.resume(tick);
    }

    /// Begins to show the next picture if it is due. Returns whether to continue.
    fn step(&mut self, tick: &mut Tick<'_, Mode, C>) -> bool {
        if self.reading.is_some() {
            return false;
        }
        if tick.stream.tokens.is_empty() {
            // A revocation may have taken the buffer that waited for room.
            (self.starved, self.awaits_sink) = (true, false);
            return false;
        }
        let mut due_ns = tick.stream.due_ns.unwrap_or(tick.now_ns);
        if self.starved && tick.now_ns > due_ns {
            // These refreshes passed without a new picture.
            let (missed, newest_ns) = tick.stream.missed(tick.now_ns, due_ns, 1);
            self.repeated = self.repeated.saturating_add(missed);
            due_ns = newest_ns;
        }
        self.starved = false;
        tick.stream.due_ns = Some(due_ns);
        if tick.stream.pace == Pace::Real && tick.now_ns < due_ns {
            return false;
        }
        if !self.sink.has_room() {
            self.awaits_sink = true;
            return false;
        }
        if core::mem::take(&mut self.awaits_sink) || tick.stream.pace == Pace::Free {
            due_ns = due_ns.max(tick.now_ns);
        }
        self.show(tick, due_ns);
        tick.stream.due_ns = Some(due_ns.saturating_add(tick.stream.interval_ns()));
        true
    }

    fn next_step(&self, stream: &Stream<Mode, C>) -> Option<u64> {
        if stream.tokens.is_empty() || self.awaits_sink {
            return None;
        }
        match stream.pace {
            Pace::Free => Some(0),
            Pace::Real => Some(stream.due_ns.unwrap_or(0)),
        }
    }

    fn has_begun(&self) -> bool {
        self.reading.is_some()
    }

    /// Returns a descriptor that becomes readable when the sink has room again; `None` if the sink has room.
    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        self.awaits_sink.then(|| self.sink.wake_fd()).flatten()
    }

    /// Returns whether the sink has no room. A virtual clock then stands still until the sink has written.
    fn is_preparing(&self) -> bool {
        self.awaits_sink
    }

    fn sink(&mut self) -> Option<&mut Sink> {
        Some(&mut self.sink)
    }

    fn last_shown(&mut self) -> Option<LastShown> {
        self.sink.reads_all = true;
        Some(self.last.clone())
    }

    fn controls(&self) -> Vec<ControlSpec> {
        vec![
            counter(FRAMES_SHOWN, "Frames Shown"),
            counter(FRAMES_REPEATED, "Frames Repeated"),
        ]
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        let count = match id {
            FRAMES_SHOWN => self.sink.counters().shown,
            FRAMES_REPEATED => self.repeated,
            _ => return None,
        };
        Some(counted(count))
    }
}

#[cfg(test)]
mod tests;
