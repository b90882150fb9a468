//! A node that a program reads from.

use super::link::Frame;
use super::{Link, PORTS};
use crate::Failure;
use crate::place::Place;
use crate::spec::{DeviceKind, DeviceSpec};
use crate::streaming::{Engine, Formats, Stamp, Stream, StreamingDevice};
use crate::surface::{EINVAL, EIO, Trouble};
use vb3_queue::{Active, DriverError, MAX_PLANES};
use vb3_v4l2::{
    Bus, Flow, Format, Fraction, FrameIntervals, FrameSizes, PixelFormat, Planarity, Port,
    Progress, pixfmt,
};

/// A CAPTURE node of a loopback.
///
/// It has the writer's format and no other. A reader gets the newest frame there is when it starts,
/// and each one after it; one that is too slow misses frames, which are counted and leave a gap in
/// the sequence. When the writer goes, readers wait for the next. With `exclusive-caps=on` there is
/// no format and no streaming (EIO) while nobody writes, so that programs pass the node over.
pub(crate) type LoopbackCapture<C> = StreamingDevice<Reader, ReaderFormats, C>;

/// What copies frames from the loopback to buffers.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The number of the frame that has sequence 0; `None` before it.
    first: Option<u64>,
    /// The number of the frame to take next.
    next: u64,
}

/// The loopback's format, which its writer sets.
#[derive(Debug)]
pub(crate) struct ReaderFormats {
    link: Link,
    /// Whether there is none while nobody writes.
    exclusive: bool,
}

impl<C> LoopbackCapture<C> {
    /// Makes the node of a SPEC of [`DeviceSpec::nodes`].
    ///
    /// # Errors
    /// A sentence, for another device.
    pub(crate) fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let DeviceKind::LoopbackCapture { link, exclusive } = &spec.kind else {
            return Err(Failure::new("this is no CAPTURE node of a loopback"));
        };
        let formats = ReaderFormats {
            link: link.clone(),
            exclusive: *exclusive,
        };
        let reader = Reader::default();
        Ok(Self::with_engine(spec, place, "Loopback", formats, reader))
    }
}

/// Writes a frame to a buffer; answers the bytes of each plane.
fn write<C>(
    frame: &Frame,
    token: &Active<C>,
    bus: &mut dyn Bus<C>,
) -> Result<[u64; MAX_PLANES], Trouble> {
    let mut payloads = [0; MAX_PLANES];
    for (index, (bytes, payload)) in frame.planes.iter().zip(&mut payloads).enumerate() {
        let plane = token.plane(index).map_err(|_| Trouble::Stale)?;
        let plane = plane.ok_or(Trouble::TooSmall)?;
        // CAST: widening.
        let len = bytes.len() as u64;
        if len > plane.length_bytes {
            return Err(Trouble::TooSmall);
        }
        bus.write(&plane.cookie, 0, bytes)
            .map_err(|_| Trouble::Fault)?;
        *payload = len;
    }
    Ok(payloads)
}

impl<C> Engine<C> for Reader {
    type Formats = ReaderFormats;

    const FLOW: Flow = Flow::Capture;
    const PORTS: &'static [Port] = PORTS;

    fn start(&mut self, stream: &mut Stream<ReaderFormats, C>) -> Result<(), DriverError> {
        if !stream.formats.is_there() {
            return Err(EIO);
        }
        let next = stream.formats.link.lock().newest();
        *self = Self { first: None, next };
        Ok(())
    }

    fn stop(&mut self, _: &mut Stream<ReaderFormats, C>) {}

    fn step(
        &mut self,
        stream: &mut Stream<ReaderFormats, C>,
        _: u64,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) -> bool {
        if stream.tokens.is_empty() {
            return false;
        }
        let Some(frame) = stream.formats.link.lock().from(self.next) else {
            return false;
        };
        let Some(token) = stream.tokens.pop_front() else {
            return false;
        };
        let first = *self.first.get_or_insert(frame.number);
        stream.count_dropped(frame.number.saturating_sub(self.next.max(first)));
        let Some((outcome, payloads)) = stream.outcome(write(&frame, &token, bus)) else {
            return true;
        };
        self.next = frame.number.saturating_add(1);
        stream.count_copied(payloads.iter().flatten().sum());
        let stamp = Stamp {
            // A sequence wraps, as V4L2's does.
            sequence: u32::try_from((frame.number - first) & u64::from(u32::MAX))
                .unwrap_or_default(),
            time_ns: frame.time_ns,
            last: false,
        };
        stamp.finish(Flow::Capture, token, outcome, payloads, progress);
        true
    }

    fn next_step(&self, stream: &Stream<ReaderFormats, C>) -> Option<u64> {
        let has_buffer = !stream.tokens.is_empty();
        has_buffer.then(|| stream.formats.link.lock().from(self.next))??;
        Some(0)
    }

    fn buf_init(&mut self, formats: &ReaderFormats) -> Result<(), DriverError> {
        let held = &mut formats.link.lock().reader_buffers;
        *held = held.checked_add(1).ok_or(EINVAL)?;
        Ok(())
    }

    fn buf_cleanup(&mut self, formats: &ReaderFormats) {
        let held = &mut formats.link.lock().reader_buffers;
        *held = held.saturating_sub(1);
    }
}

impl ReaderFormats {
    /// Whether programs are to see a camera.
    fn is_there(&self) -> bool {
        !self.exclusive || self.link.lock().is_written
    }
}

impl Formats for ReaderFormats {
    fn planarity(&self) -> Planarity {
        Planarity::Single
    }

    fn pixels(&self) -> &[&'static PixelFormat] {
        if !self.is_there() {
            return &[];
        }
        let fourcc = self.link.lock().format.fourcc;
        let at = pixfmt::TABLE
            .iter()
            .position(|pixel| pixel.fourcc == fourcc);
        at.and_then(|at| pixfmt::TABLE.get(at..=at))
            .unwrap_or_default()
    }

    fn sizes(&self) -> FrameSizes<'_> {
        let format = self.format();
        FrameSizes::One(format.width, format.height)
    }

    fn intervals(&self) -> FrameIntervals<'_> {
        FrameIntervals::One(self.interval())
    }

    fn format(&self) -> Format {
        self.link.lock().format
    }

    fn try_format(&self, _: &Format) -> Format {
        self.format()
    }

    fn set_format(&mut self, _: &Format) -> Result<(), DriverError> {
        Ok(())
    }

    fn interval(&self) -> Fraction {
        self.link.lock().interval
    }
}
