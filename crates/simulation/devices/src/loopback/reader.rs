//! The CAPTURE node, from which programs read.

use super::file::FilePlayer;
use super::formats::{PORTS, only};
use super::link::{Frame, Link, Loan, Shared, has_same_layout};
use crate::choice::Pace;
use crate::hosted::RESIZED;
use crate::settings::Settings;
use crate::streaming::{Engine, Formats, Stamp, Stream, StreamingDevice, Tick};
use crate::surface::{EINVAL, EIO, Trouble, only_plane};
use std::collections::VecDeque;
use vb3_queue::{Active, DriverError, MAX_PLANES};
use vb3_v4l2::{
    Bus, CopyFault, EventKinds, Flow, Format, FourCc, Fraction, FrameSizes, PixelFormat, Port,
    Span, WakeFd,
};

/// A CAPTURE node of a loopback.
///
/// It offers only the writer's format. A reader starts with the newest frame and gets all later ones, unless
/// it is slow. A slow reader misses frames, which are counted and leave a gap in the sequence. After the
/// writer's end, readers wait for the next writer. If the next writer sets another format, each reader gets
/// `V4L2_EVENT_SOURCE_CHANGE`, or EIO without a subscription to it, and no frames until it has freed its
/// buffers. With `exclusive-caps=on`, there is no format and no streaming (EIO) without a writer, so that
/// programs skip the node.
pub(crate) type LoopbackCapture<C> = StreamingDevice<Reader<C>, ReaderFormats, C>;

pub(crate) struct Reader<C> {
    /// Number of the frame that has sequence 0; `None` before that frame.
    first: Option<u64>,
    /// Number of the frame to take next.
    next: u64,
    /// The format that this reader's program knows: the initial one, or that of the last event.
    announced: Format,
    copying: Option<Copying<C>>,
    file: FilePlayer,
}

/// A frame that is being copied to a buffer, one piece in each tick (a call by the host). Meanwhile, the
/// loopback keeps the writer's buffer. If that buffer is lost nevertheless, the next frame is copied to the
/// reader's buffer instead.
struct Copying<C> {
    number: u64,
    token: Active<C>,
    /// Number of the frame's bytes that are in the buffer already.
    done: u64,
    /// Number of bytes that this copy has moved in memory so far, which the statistics count.
    copied: u64,
}

pub(crate) struct ReaderFormats {
    link: Link,
    /// The reader's id among the loopback's writers and readers.
    pub(super) id: u32,
    pixels: Vec<&'static PixelFormat>,
    /// Whether there is a format only while a writer streams.
    pub(super) exclusive: bool,
}

impl<C: Send + 'static> LoopbackCapture<C> {
    /// Makes a CAPTURE node.
    pub(crate) fn new(settings: &Settings, link: &Link, exclusive: bool) -> Self {
        let id = link.lock().new_party(false);
        let announced = link.lock().format;
        let formats = ReaderFormats {
            link: link.clone(),
            id,
            pixels: settings.pixels.clone(),
            exclusive,
        };
        let reader = Reader {
            first: None,
            next: 0,
            announced,
            copying: None,
            file: FilePlayer::default(),
        };
        let mut node = Self::with_engine(settings, "Loopback", formats, reader);
        // `pace=` is for the writer. Readers get frames as they are written.
        node.stream.pace = Pace::Real;
        node
    }
}

/// Returns whether a reader's buffer has the same memory as the writer's.
fn is_same<C>(loan: &Loan<C>, token: &Active<C>, bus: &mut dyn Bus<C>) -> bool {
    let (Some(frame), Ok(Some(plane))) = (loan.span(), token.plane(0)) else {
        return false;
    };
    let whole = Span {
        offset: 0,
        len: frame.offset.saturating_add(frame.len),
        ..frame
    };
    bus.is_same_memory(loan.peer, &whole, &plane.cookie)
}

/// Finds the buffer in a reader's queue for a frame. Returns its index, and whether it has the writer's memory,
/// so that nothing is copied. `None` if each buffer shares its memory with a frame of the writer that a copy
/// would overwrite.
fn delivery<C: 'static>(
    shared: &Shared,
    at: usize,
    tokens: &VecDeque<Active<C>>,
    bus: &mut dyn Bus<C>,
) -> Option<(usize, bool)> {
    let loan = shared.frames.get(at).and_then(Frame::loan::<C>);
    // A reader expects a frame at the start of its buffer, so the writer's frame must begin there, too.
    let found = loan.filter(|loan| loan.offset == 0).and_then(|loan| {
        let mut tokens = tokens.iter();
        tokens.position(|token| is_same(loan, token, bus))
    });
    if let Some(at) = found {
        return Some((at, true));
    }
    let mut tokens = tokens.iter();
    let at = tokens.position(|token| is_free(shared, token, bus))?;
    Some((at, false))
}

/// Returns whether a reader's buffer has memory in which the loopback keeps no frame.
fn is_free<C: 'static>(shared: &Shared, token: &Active<C>, bus: &mut dyn Bus<C>) -> bool {
    let mut loans = shared.frames.iter().filter_map(Frame::loan);
    !loans.any(|loan| is_same(loan, token, bus))
}

/// Why a frame does not reach a reader's buffer.
enum Miss {
    /// The writer's buffer no longer has the frame.
    Lost,
    /// The reader's buffer cannot get the frame.
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for Miss {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

/// The length of a delivered frame in bytes, and the number of bytes moved in memory for it.
struct Arrived {
    len: u64,
    copied: u64,
}

/// Returns the length of a frame if it fits in a buffer.
fn length<C: 'static>(frame: &Frame, token: &Active<C>) -> Result<u64, Miss> {
    let plane = only_plane(token)?;
    let len = match frame.own() {
        // CAST: widening.
        Some(bytes) => bytes.len() as u64,
        None => {
            frame
                .loan::<C>()
                .and_then(Loan::span)
                .ok_or(Miss::Lost)?
                .len
        }
    };
    match len <= plane.length_bytes {
        true => Ok(len),
        false => Err(Trouble::TooSmall.into()),
    }
}

/// Continues to copy a frame, at most `left` bytes. Returns the result once the copy is complete.
fn copy_on<C: 'static>(
    frame: &Frame,
    to: &mut Copying<C>,
    left: &mut usize,
    bus: &mut dyn Bus<C>,
) -> Result<Option<Arrived>, Miss> {
    let len = length(frame, &to.token)?;
    let plane = only_plane(&to.token)?;
    // CAST: the first widens; the part is not longer than `left`.
    let part = len.saturating_sub(to.done).min(*left as u64);
    let copied = match (frame.own(), frame.loan::<C>()) {
        (Some(bytes), _) => {
            let bytes = bytes.get(to.done as usize..(to.done + part) as usize);
            bus.write(&plane.cookie, to.done, bytes.ok_or(Miss::Lost)?)?;
            part
        }
        (_, Some(loan)) => {
            let whole = loan.span().ok_or(Miss::Lost)?;
            let span = Span {
                offset: whole.offset.saturating_add(to.done),
                len: part,
                ..whole
            };
            let copied = bus.copy_from(loan.peer, &span, &plane.cookie, to.done);
            copied.map_err(|fault| match fault {
                CopyFault::From(_) => Miss::Lost,
                CopyFault::To(fault) => fault.into(),
            })?
        }
        (None, None) => return Err(Miss::Lost),
    };
    *left -= part as usize;
    (to.done, to.copied) = (to.done + part, to.copied + copied);
    let copied = to.copied;
    Ok((to.done == len).then_some(Arrived { len, copied }))
}

impl<C: Send + 'static> Reader<C> {
    /// Counts the frames that the reader had not got when the writer ended.
    fn count_missed(&mut self, stream: &mut Stream<ReaderFormats, C>, shared: &mut Shared) {
        let missed = std::mem::take(&mut shared.party(stream.formats.id).missed);
        stream.count_dropped(missed);
        // The stream's next frame, if there is one, comes from another writer.
        self.next = self.next.saturating_add(missed);
    }

    /// Skips the reader's next frame, which cannot be read.
    fn pass_over(&mut self, stream: &mut Stream<ReaderFormats, C>, shared: &mut Shared) {
        stream.count_dropped(u64::from(self.first.is_some()));
        let at = shared.from(self.next);
        let number = at.and_then(|at| Some(shared.frames.get(at)?.number));
        self.next = number.unwrap_or(self.next).saturating_add(1);
        shared.party(stream.formats.id).next = Some(self.next);
    }

    /// Continues to copy the frame that was begun, within this tick's limit.
    fn resume(&mut self, tick: &mut Tick<'_, ReaderFormats, C>, shared: &mut Shared) {
        let Some(mut copying) = self.copying.take() else {
            return;
        };
        let id = tick.stream.formats.id;
        shared.party(id).copying = None;
        let at = shared.from(copying.number);
        let found = at.and_then(|at| Some((at, shared.frames.get(at)?)));
        let found = found.filter(|(_, frame)| frame.number == copying.number);
        let (Some((at, frame)), true) = (found, is_free(shared, &copying.token, tick.bus)) else {
            return tick.stream.tokens.push_front(copying.token);
        };
        let stamp = frame.stamp;
        let arrived = match copy_on(frame, &mut copying, &mut tick.stream.left, tick.bus) {
            Ok(None) => {
                shared.party(id).copying = Some(copying.number);
                self.copying = Some(copying);
                return;
            }
            Err(Miss::Lost) => {
                tick.stream.tokens.push_front(copying.token);
                return shared.remove(at, Err(DriverError::EIO));
            }
            Ok(Some(arrived)) => Ok(arrived),
            Err(Miss::Trouble(trouble)) => Err(trouble),
        };
        let Copying { number, token, .. } = copying;
        self.deliver(tick, shared, ((number, stamp), token, arrived));
    }

    /// Completes a buffer with its frame, the frame's number and the writer's stamp.
    fn deliver(
        &mut self,
        tick: &mut Tick<'_, ReaderFormats, C>,
        shared: &mut Shared,
        ((number, stamp), token, arrived): ((u64, Stamp), Active<C>, Result<Arrived, Trouble>),
    ) {
        let Some((outcome, arrived)) = tick.stream.outcome(arrived) else {
            return;
        };
        let first = *self.first.get_or_insert(number);
        tick.stream
            .count_dropped(number.saturating_sub(self.next.max(first)));
        self.next = number.saturating_add(1);
        shared.party(tick.stream.formats.id).next = Some(self.next);
        let mut payloads = None;
        if let Some(Arrived { len, copied }) = arrived {
            tick.stream.count_copied(copied);
            let mut lens = [0; MAX_PLANES];
            lens[0] = len;
            payloads = Some(lens);
        }
        let counted = (number - first) & u64::from(u32::MAX);
        let stamp = Stamp {
            // The sequence wraps at 32 bits, as V4L2's does.
            sequence: match shared.settings {
                Some(_) => stamp.sequence,
                None => u32::try_from(counted).unwrap_or_default(),
            },
            ..stamp
        };
        stamp.finish(Flow::Capture, token, outcome, payloads, tick.progress);
    }

    /// Passes the writer's buffer with a frame to this reader. Copies the frame if other readers need it.
    fn give(
        tick: &mut Tick<'_, ReaderFormats, C>,
        shared: &mut Shared,
        at: usize,
        (token, len): (&Active<C>, u64),
    ) -> u64 {
        let id = tick.stream.formats.id;
        let number = shared.frames.get(at).map(|frame| frame.number);
        let is_wanted = |number| shared.is_wanted_beside(id, number);
        if !number.is_some_and(is_wanted) {
            shared.give(at, id, None);
            shared.remove(at, Ok(()));
            return 0;
        }
        let mut copy = shared.memory(len);
        let read = match token.plane(0) {
            Ok(Some(plane)) => tick.bus.inspect(&plane.cookie, 0, &mut copy).is_ok(),
            _ => false,
        };
        shared.give(at, id, Some(copy));
        if !read {
            shared.remove(at, Ok(()));
        }
        len
    }
}

impl<C: Send + 'static> Engine<C> for Reader<C> {
    type Formats = ReaderFormats;

    const FLOW: Flow = Flow::Capture;
    const PORTS: &'static [Port] = PORTS;
    const EVENTS: EventKinds = EventKinds::SOURCE_CHANGE;

    fn start(&mut self, stream: &mut Stream<ReaderFormats, C>) -> Result<(), DriverError> {
        if !stream.formats.may_start() {
            return Err(EIO);
        }
        self.first = None;
        self.next = stream.formats.link.lock().join(stream.formats.id);
        Ok(())
    }

    fn stop(&mut self, stream: &mut Stream<ReaderFormats, C>) {
        self.copying = None;
        let link = stream.formats.link.clone();
        let mut shared = link.lock();
        self.count_missed(stream, &mut shared);
        shared.leave(stream.formats.id);
        self.file.put_back(&mut shared);
    }

    fn begin_tick(&mut self, tick: &mut Tick<'_, ReaderFormats, C>) {
        self.file.end_wait();
        let link = tick.stream.formats.link.clone();
        let shared = &mut *link.lock();
        self.count_missed(tick.stream, shared);
        if !has_same_layout(&self.announced, &shared.format) {
            self.announced = shared.format;
            tick.progress.events.push(RESIZED);
        }
        self.resume(tick, shared);
    }

    fn step(&mut self, tick: &mut Tick<'_, ReaderFormats, C>) -> bool {
        if self.copying.is_some() {
            return false;
        }
        let (link, id) = (tick.stream.formats.link.clone(), tick.stream.formats.id);
        let shared = &mut *link.lock();
        let is_outdated = shared.outdated(id).is_some();
        if is_outdated {
            shared.leave(id);
            tick.progress.outdated = true;
        }
        if is_outdated || tick.stream.tokens.is_empty() {
            self.file.put_back(shared);
            return false;
        }
        shared.party(id).next = Some(self.next);
        shared.add_fill(tick.now_ns);
        if let Err(failure) = self.file.play(shared, tick.now_ns) {
            tick.stream.fail(failure, tick.progress);
            return false;
        }
        let tokens = &tick.stream.tokens;
        shared.reclaim(id, |loan| {
            tokens.iter().any(|token| is_same(loan, token, tick.bus))
        });
        let Some(at) = shared.from(self.next) else {
            return false;
        };
        let delivery = delivery(shared, at, &tick.stream.tokens, tick.bus);
        let (Some(frame), Some((place, is_there))) = (shared.frames.get(at), delivery) else {
            self.pass_over(tick.stream, shared);
            return true;
        };
        let (number, stamp) = (frame.number, frame.stamp);
        let Some(token) = tick.stream.tokens.remove(place) else {
            return false;
        };
        if !is_there {
            self.copying = Some(Copying {
                number,
                token,
                done: 0,
                copied: 0,
            });
            self.resume(tick, shared);
            return self.copying.is_none();
        }
        let arrived = match length(frame, &token) {
            Ok(len) => {
                let copied = Self::give(tick, shared, at, (&token, len));
                Ok(Arrived { len, copied })
            }
            Err(Miss::Trouble(trouble)) => Err(trouble),
            Err(Miss::Lost) => {
                tick.stream.tokens.push_front(token);
                shared.remove(at, Err(DriverError::EIO));
                return true;
            }
        };
        self.deliver(tick, shared, ((number, stamp), token, arrived));
        true
    }

    fn next_step(&self, stream: &Stream<ReaderFormats, C>) -> Option<u64> {
        let has_buffer = !stream.tokens.is_empty();
        let shared = stream.formats.link.lock();
        let takes_frames = has_buffer && shared.outdated(stream.formats.id).is_none();
        if !takes_frames {
            // This reader takes no frames. If it plays the placeholder's file, it must pass the file on at
            // once, so that another reader can play it.
            return self.file.is_playing().then_some(0);
        }
        let next = shared.from(self.next).map(|_| 0);
        let of_file = || self.file.next(&shared);
        next.or_else(|| shared.next_added()).or_else(of_file)
    }

    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        self.file.wake_fd()
    }

    fn is_preparing(&self) -> bool {
        self.file.is_waiting()
    }

    fn has_event(&self, formats: &ReaderFormats) -> bool {
        !has_same_layout(&self.announced, &formats.link.lock().format)
    }

    fn has_begun(&self) -> bool {
        self.copying.is_some()
    }

    fn buf_init(&mut self, formats: &ReaderFormats) -> Result<(), DriverError> {
        formats.link.lock().hold(formats.id).ok_or(EINVAL)
    }

    fn buf_cleanup(&mut self, formats: &ReaderFormats) {
        formats.link.lock().unhold(formats.id);
    }
}

impl ReaderFormats {
    /// Returns whether the node looks like a camera to programs.
    fn is_there(&self, shared: &Shared) -> bool {
        let holds = shared.settings.is_some() && shared.has_buffers(self.id);
        !self.exclusive || shared.is_camera() || holds
    }

    /// Returns whether a reader can start. A reader whose buffers have an old format cannot start, since these
    /// buffers would get no frames. With the identity v4l2loopback, a reader without a placeholder also cannot
    /// start before a writer streams or the format is fixed.
    ///
    /// Source: v4l2loopback 0.13.2 `vidioc_streamon`.
    fn may_start(&self) -> bool {
        let shared = self.link.lock();
        let waits = shared.settings.is_none() || shared.fill.placeholder.is_some();
        let is_current = shared.outdated(self.id).is_none();
        is_current && (waits || shared.is_camera()) && self.is_there(&shared)
    }
}

impl Formats for ReaderFormats {
    fn pixels(&self) -> &[&'static PixelFormat] {
        if !self.is_there(&self.link.lock()) {
            return &[];
        }
        only(&self.pixels, self.format().fourcc)
    }

    fn sizes(&self, _: FourCc) -> FrameSizes<'_> {
        let format = self.format();
        FrameSizes::One(format.width, format.height)
    }

    fn refuses(&self, fourcc: FourCc) -> bool {
        self.link.lock().refuses(&self.pixels, fourcc)
    }

    fn format(&self) -> Format {
        let shared = self.link.lock();
        shared.outdated(self.id).unwrap_or(shared.format)
    }

    fn set_format(&mut self, _: &Format) -> Result<(), DriverError> {
        self.link.lock().party(self.id).has_set_format = true;
        Ok(())
    }

    fn interval(&self) -> Fraction {
        self.link.lock().interval
    }
}
