//! The OUTPUT node, to which a program writes.

use super::formats::{PORTS, only};
use super::link::{Body, Link, Loan, Shared};
use crate::choice::Pace;
use crate::limits::{INTERVALS, SIZES, nearest_interval};
use crate::settings::Settings;
use crate::streaming::{Engine, Formats, Stamp, Stream, StreamingDevice, Tick};
use crate::surface::{EBUSY, Trouble, align_lines, extent};
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{
    Bus, Flow, Format, FourCc, Fraction, FrameFlags, FrameIntervals, FrameSizes, Peer, PixelFormat,
    Port, Waiter,
};

/// The OUTPUT node of a loopback. With [`Pace::Free`], it takes buffers as they arrive: the program sets the
/// pace. With [`Pace::Real`], it takes one buffer in each interval, as a display does.
pub(crate) type LoopbackOutput<C> = StreamingDevice<Writer, WriterFormats, C>;

/// Keeps the writer's buffers for readers, and later gives them back.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    waits: Waits,
}

/// Whether the writing program waits for a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    #[default]
    Nobody,
    /// The program found no buffer, but continued. It may queue another buffer before its next DQBUF or poll.
    Perhaps,
    /// The program has begun to wait since the last tick (a call by the host).
    Anew,
    /// The program waits, and readers have had a tick since it began to wait.
    ForATick,
}

/// The loopback's format, as the writer sees and sets it.
pub(crate) struct WriterFormats {
    link: Link,
    /// The writer's id among the loopback's writers and readers.
    pub(super) id: u32,
    /// Whether the writer provides the timeout image instead of frames.
    is_image: bool,
    pixels: Vec<&'static PixelFormat>,
    /// Line lengths are multiples of this many bytes.
    stride: u32,
    default_interval: Fraction,
}

impl<C: Send + 'static> LoopbackOutput<C> {
    /// Makes the OUTPUT node. `starts_empty` says whether it streams without a buffer, as v4l2loopback does.
    pub(crate) fn new(settings: &Settings, link: &Link, starts_empty: bool) -> Self {
        let shared = &mut *link.lock();
        let default_interval = shared.interval;
        let id = shared.new_party(true);
        let is_image = shared
            .settings
            .is_some_and(|settings| settings.timeout_image_io);
        let formats = WriterFormats {
            link: link.clone(),
            id,
            is_image,
            pixels: settings.pixels.clone(),
            stride: settings.stride,
            default_interval,
        };
        let engine = Writer::default();
        let mut node = Self::with_engine(settings, "Loopback", formats, engine);
        node.policy.copy_timestamps = true;
        node.policy.starts_empty = starts_empty;
        node
    }
}

/// A frame taken from a buffer: its location in the buffer, or its bytes.
enum Taken {
    Lent { peer: Peer, offset: u64, len: u64 },
    Read(Vec<u8>),
}

/// Takes the frame of a buffer.
/// Leaves the frame in the buffer if readers can reach the memory, unless `is_read` is set.
fn take<C>(
    token: &Active<C>,
    shared: &mut Shared,
    is_read: bool,
    bus: &mut dyn Bus<C>,
) -> Result<Taken, Trouble> {
    let (plane, len) = extent(token)?;
    let offset = plane.data_offset;
    if let Some(peer) = bus
        .peer()
        .filter(|_| !is_read && !shared.fill.keeps_frames())
    {
        bus.note_read(&plane.cookie, offset, len)?;
        return Ok(Taken::Lent { peer, offset, len });
    }
    let mut bytes = shared.memory(len);
    bus.read(&plane.cookie, offset, &mut bytes)?;
    Ok(Taken::Read(bytes))
}

/// Takes the oldest buffer if its frame is due. Returns the buffer and the frame's time.
fn next_frame<C>(tick: &mut Tick<'_, WriterFormats, C>) -> Option<(Active<C>, u64)> {
    let (stream, now_ns) = (&mut *tick.stream, tick.now_ns);
    if stream.pace == Pace::Free {
        return Some((stream.tokens.pop_front()?, now_ns));
    }
    let interval_ns = stream.interval_ns();
    // A writer that was late by an interval or more does not catch up.
    let due_ns = stream.due_ns.unwrap_or(now_ns);
    let due_ns = match now_ns.saturating_sub(due_ns) < interval_ns {
        true => due_ns,
        false => now_ns,
    };
    if now_ns < due_ns {
        return None;
    }
    let token = stream.tokens.pop_front()?;
    stream.due_ns = Some(due_ns.saturating_add(interval_ns));
    Some((token, due_ns))
}

impl Writer {
    /// Gives the writer the buffers back that readers do not need.
    /// If there are none, and readers have had a tick since the writer began to wait, gives back a buffer
    /// that they still need.
    fn give_back<C: 'static>(&mut self, tick: &mut Tick<'_, WriterFormats, C>) {
        let link = tick.stream.formats.link.clone();
        let mut shared = link.lock();
        let mut back = shared.take_back();
        match self.waits {
            Waits::Nobody | Waits::Perhaps => {}
            _ if !back.is_empty() || !shared.has_loans() => {}
            // The next frame, which is not due yet, gives back the buffer of this one.
            _ if !tick.stream.tokens.is_empty() => {}
            // Readers are still copying. A copy made now would copy their frame a second time.
            _ if shared.parties.values().any(|party| party.copying.is_some()) => {}
            Waits::Anew => self.waits = Waits::ForATick,
            Waits::ForATick => {
                back.extend(shared.relieve(|loan, bytes| copy(tick.stream, loan, bytes, tick.bus)));
            }
        }
        for (loan, outcome) in back {
            let Ok(loan) = loan.downcast::<Loan<C>>() else {
                continue;
            };
            let Loan { token, stamp, .. } = *loan;
            if outcome.is_err() {
                tick.stream.statistics.bus_faults += 1;
            }
            if !token.is_stale() {
                self.waits = Waits::Nobody;
                stamp.finish(Flow::Output, token, outcome, None, tick.progress);
            }
        }
    }
}

/// Copies a frame from the writer's buffer to `bytes`. Returns whether the buffer was readable.
fn copy<C>(
    stream: &mut Stream<WriterFormats, C>,
    loan: &Loan<C>,
    bytes: &mut [u8],
    bus: &mut dyn Bus<C>,
) -> bool {
    let Some(span) = loan.span() else {
        return false;
    };
    // `inspect` counts no read: the read was counted when the frame was taken.
    let read = bus.inspect(span.cookie, span.offset, bytes);
    // CAST: widening.
    stream.count_copied(bytes.len() as u64);
    read.is_ok()
}

impl<C: Send + 'static> Engine<C> for Writer {
    type Formats = WriterFormats;

    const FLOW: Flow = Flow::Output;
    const PORTS: &'static [Port] = PORTS;
    const KEEPS_FIELD: bool = true;

    fn start(&mut self, stream: &mut Stream<WriterFormats, C>) -> Result<(), DriverError> {
        self.waits = Waits::Nobody;
        if !stream.formats.is_image {
            stream.formats.link.lock().begin();
        }
        Ok(())
    }

    fn stop(&mut self, stream: &mut Stream<WriterFormats, C>) {
        let WriterFormats { id, is_image, .. } = stream.formats;
        let mut shared = stream.formats.link.lock();
        if !is_image && shared.has_buffers(id) {
            shared.end();
        }
    }

    fn may_allocate(&self, formats: &WriterFormats) -> Result<(), DriverError> {
        match formats.is_taken(&formats.link.lock()) {
            true => Err(EBUSY),
            false => Ok(()),
        }
    }

    fn buf_init(&mut self, formats: &WriterFormats) -> Result<(), DriverError> {
        let mut shared = formats.link.lock();
        if !formats.is_image {
            let is_free = !shared.is_taken(formats.id);
            return (is_free.then(|| shared.hold(formats.id)).flatten()).ok_or(EBUSY);
        }
        if let Some(settings) = &mut shared.settings {
            settings.timeout_image_io = false;
        }
        Ok(())
    }

    fn buf_cleanup(&mut self, formats: &WriterFormats) {
        formats.link.lock().unhold(formats.id);
    }

    fn step(&mut self, tick: &mut Tick<'_, WriterFormats, C>) -> bool {
        let Some((token, now_ns)) = next_frame(tick) else {
            self.give_back(tick);
            return false;
        };
        if self.waits == Waits::Perhaps {
            self.waits = Waits::Nobody;
        }
        let is_image = tick.stream.formats.is_image;
        let link = tick.stream.formats.link.clone();
        let mut shared = link.lock();
        let taken = take(&token, &mut shared, is_image, tick.bus);
        if !is_image {
            shared.fill.note_written(now_ns);
        }
        let Some((outcome, taken)) = tick.stream.outcome(taken) else {
            return true;
        };
        let time_ns = match token.timestamp_ns() {
            0 => now_ns,
            given_ns => given_ns,
        };
        let sequence = match shared.settings {
            Some(_) if !is_image => {
                shared.written = shared.written.wrapping_add(1);
                shared.written.wrapping_sub(1)
            }
            _ => tick.stream.next_sequence(),
        };
        let stamp = Stamp {
            sequence,
            time_ns,
            frame_flags: Some(token.frame_flags() & FrameFlags::all().bits()),
            ..Stamp::of(&token)
        };
        match taken {
            Some(Taken::Lent { peer, offset, len }) => {
                let loan = Loan {
                    token,
                    peer,
                    offset,
                    len,
                    stamp,
                };
                shared.push(Body::Lent(Box::new(loan)), stamp);
                return true;
            }
            Some(Taken::Read(bytes)) => {
                // CAST: widening.
                tick.stream.count_copied(bytes.len() as u64);
                let format = shared.format;
                match is_image {
                    true => shared.fill.set_picture(format, bytes.into()),
                    false => shared.push(Body::Own(bytes.into()), stamp),
                }
            }
            None => {}
        }
        self.waits = Waits::Nobody;
        stamp.finish(Flow::Output, token, outcome, None, tick.progress);
        true
    }

    fn next_step(&self, stream: &Stream<WriterFormats, C>) -> Option<u64> {
        let waits = matches!(self.waits, Waits::Anew | Waits::ForATick);
        let gives_back = || waits && stream.formats.link.lock().has_loans();
        match (stream.tokens.is_empty(), stream.pace) {
            (false, Pace::Real) => Some(stream.due_ns.unwrap_or(0)),
            (is_empty, _) => (!is_empty || gives_back()).then_some(0),
        }
    }

    fn note_waiter(&mut self, waiter: Waiter) {
        self.waits = match (self.waits, waiter) {
            (Waits::Nobody, Waiter::GoesOn) => Waits::Perhaps,
            (Waits::Nobody | Waits::Perhaps, _) => Waits::Anew,
            (waits, _) => waits,
        };
    }
}

impl WriterFormats {
    fn is_v4l2loopback(&self) -> bool {
        self.link.lock().settings.is_some()
    }

    /// Returns whether another writer has buffers, so that this one cannot write.
    fn is_taken(&self, shared: &Shared) -> bool {
        shared.is_taken(self.id) && !self.is_image
    }

    /// Returns whether the format is fixed. With v4l2loopback, readers' buffers fix it.
    fn is_fixed(&self) -> bool {
        let shared = self.link.lock();
        self.is_image || shared.keeps_format() || (shared.settings.is_some() && shared.is_read())
    }

    /// Removes the current format's line length from `wanted`, if `wanted` has another width or pixel format.
    ///
    /// ffmpeg changes only the pixel format and size in G_FMT's answer, and writes lines without padding.
    fn forget_lines(&self, wanted: &mut Format) {
        let current = self.format();
        let is_other = (wanted.width, wanted.fourcc) != (current.width, current.fourcc);
        for (plane, now) in wanted.planes.iter_mut().zip(&current.planes) {
            if is_other && plane.bytesperline == now.bytesperline {
                plane.bytesperline = 0;
            }
        }
    }
}

/// The sizes of v4l2loopback.
const FREE_SIZES: FrameSizes<'_> = FrameSizes::Stepwise {
    width: (2, 8192, 1),
    height: (1, 8192, 1),
};
/// The intervals of v4l2loopback, down to 1000 frames per second.
const FREE_INTERVALS: FrameIntervals<'_> = FrameIntervals::Continuous {
    min: Fraction::new(1, 1000),
    max: Fraction::new(u32::MAX, 1),
};

/// Returns the size that v4l2loopback sets for a wanted one.
///
/// Source: v4l2loopback 0.13.2 `v4l2l_fill_format`.
fn free_size(wanted: &Format) -> FrameSizes<'static> {
    let or = |size: u32, default: u32| if size == 0 { default } else { size };
    let wanted = (or(wanted.width, 640), or(wanted.height, 480));
    let (width, height) = FREE_SIZES.nearest(wanted, (1, 1));
    FrameSizes::One(width, height)
}

impl Formats for WriterFormats {
    fn refuses(&self, fourcc: FourCc) -> bool {
        self.link.lock().refuses(&self.pixels, fourcc)
    }

    fn takes_short_frames(&self) -> bool {
        self.is_v4l2loopback()
    }

    fn pixels(&self) -> &[&'static PixelFormat] {
        match self.is_fixed() {
            true => only(&self.pixels, self.format().fourcc),
            false => &self.pixels,
        }
    }

    fn sizes(&self, _: FourCc) -> FrameSizes<'_> {
        let format = self.format();
        match self.is_fixed() {
            true => FrameSizes::One(format.width, format.height),
            false if self.is_v4l2loopback() => FREE_SIZES,
            false => SIZES,
        }
    }

    fn intervals(&self, _: FourCc, _: (u32, u32)) -> FrameIntervals<'_> {
        match self.is_v4l2loopback() {
            true => FREE_INTERVALS,
            false => INTERVALS,
        }
    }

    fn format(&self) -> Format {
        self.link.lock().format
    }

    fn try_format(&self, wanted: &Format) -> Format {
        if self.is_fixed() {
            return self.format();
        }
        let mut wanted = *wanted;
        self.forget_lines(&mut wanted);
        let sizes = match self.is_v4l2loopback() {
            true => free_size(&wanted),
            false => SIZES,
        };
        let made = Format::negotiate(&wanted, &self.pixels, sizes, true);
        let made = made.and_then(|format| align_lines(format, &self.pixels, self.stride));
        made.unwrap_or_else(|| self.format())
    }

    /// Sets the format.
    /// Readers with buffers of another format get an event, and no frames until they free these buffers.
    fn set_format(&mut self, format: &Format) -> Result<(), DriverError> {
        let mut shared = self.link.lock();
        if self.is_taken(&shared) {
            return Err(EBUSY);
        }
        shared.set_format(format);
        shared.party(self.id).has_set_format = true;
        Ok(())
    }

    fn interval(&self) -> Fraction {
        self.link.lock().interval
    }

    /// Source: v4l2loopback 0.14 `set_timeperframe`.
    fn set_interval(&mut self, wanted: Fraction) {
        let nearest = match (wanted.numerator, wanted.denominator) {
            (0, 0) => None,
            _ if self.is_v4l2loopback() => nearest_interval(FREE_INTERVALS, wanted),
            (0, _) | (_, 0) => None,
            _ => nearest_interval(INTERVALS, wanted),
        };
        self.link.lock().interval = nearest.unwrap_or(self.default_interval);
    }
}
