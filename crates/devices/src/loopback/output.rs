//! The node that a program writes to.

use super::{Link, PORTS, formats};
use crate::Failure;
use crate::mode::{INTERVALS, SIZES};
use crate::place::Place;
use crate::spec::{DeviceKind, DeviceSpec};
use crate::streaming::{Engine, Formats, Stamp, Stream, StreamingDevice};
use crate::surface::{EBUSY, Trouble, align_lines};
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{
    Bus, Flow, Format, Fraction, FrameIntervals, FrameSizes, PixelFormat, Planarity, Port, Progress,
};

/// The OUTPUT node of a loopback. It takes buffers as they come: the program sets the pace.
pub(crate) type LoopbackOutput<C> = StreamingDevice<Writer, WriterFormats, C>;

/// What copies frames from buffers to the loopback.
#[derive(Debug)]
pub(crate) struct Writer;

/// The loopback's format, as its writer sets it.
#[derive(Debug)]
pub(crate) struct WriterFormats {
    link: Link,
    pixels: Vec<&'static PixelFormat>,
    /// Bytes that lines are multiples of.
    stride: u32,
    default_interval: Fraction,
}

impl<C> LoopbackOutput<C> {
    /// Makes the node of a SPEC of [`DeviceSpec::nodes`].
    ///
    /// # Errors
    /// A sentence, for another device.
    pub(crate) fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let DeviceKind::LoopbackOutput { link } = &spec.kind else {
            return Err(Failure::new("this is no OUTPUT node of a loopback"));
        };
        let default_interval = link.lock().interval;
        let formats = WriterFormats {
            link: link.clone(),
            pixels: formats(),
            stride: spec.stride.unwrap_or(1),
            default_interval,
        };
        Ok(Self::with_engine(spec, place, "Loopback", formats, Writer))
    }
}

/// Reads what a buffer holds, into memory that a frame had before.
fn read<C>(
    token: &Active<C>,
    format: &Format,
    mut planes: Vec<Vec<u8>>,
    bus: &mut dyn Bus<C>,
) -> Result<Vec<Vec<u8>>, Trouble> {
    planes.resize_with(format.num_planes, Vec::new);
    for (index, bytes) in planes.iter_mut().enumerate() {
        let plane = token.plane(index).map_err(|_| Trouble::Stale)?;
        let plane = plane.ok_or(Trouble::TooSmall)?;
        let end = plane.payload_bytes.min(plane.length_bytes);
        let len = end
            .checked_sub(plane.data_offset)
            .ok_or(Trouble::TooSmall)?;
        // CAST: no longer than a buffer that was allocated.
        bytes.resize(len as usize, 0);
        bus.read(&plane.cookie, plane.data_offset, bytes)
            .map_err(|_| Trouble::Fault)?;
    }
    Ok(planes)
}

impl<C> Engine<C> for Writer {
    type Formats = WriterFormats;

    const FLOW: Flow = Flow::Output;
    const PORTS: &'static [Port] = PORTS;

    fn start(&mut self, stream: &mut Stream<WriterFormats, C>) -> Result<(), DriverError> {
        stream.formats.link.lock().is_written = true;
        Ok(())
    }

    fn stop(&mut self, stream: &mut Stream<WriterFormats, C>) {
        stream.formats.link.lock().end();
    }

    fn step(
        &mut self,
        stream: &mut Stream<WriterFormats, C>,
        now_ns: u64,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) -> bool {
        let Some(token) = stream.tokens.pop_front() else {
            return false;
        };
        let link = stream.formats.link.clone();
        let mut shared = link.lock();
        let planes = shared.spare();
        let read = read(&token, &shared.format, planes, bus);
        let Some((outcome, planes)) = stream.outcome(read) else {
            return true;
        };
        if let Some(planes) = planes {
            let bytes: usize = planes.iter().map(Vec::len).sum();
            // CAST: widening.
            stream.count_copied(bytes as u64);
            shared.push(planes, now_ns);
        }
        let stamp = Stamp {
            sequence: stream.next_sequence(),
            time_ns: now_ns,
            last: false,
        };
        stamp.finish(Flow::Output, token, outcome, None, progress);
        true
    }

    fn next_step(&self, stream: &Stream<WriterFormats, C>) -> Option<u64> {
        (!stream.tokens.is_empty()).then_some(0)
    }
}

impl Formats for WriterFormats {
    fn planarity(&self) -> Planarity {
        Planarity::Single
    }

    fn pixels(&self) -> &[&'static PixelFormat] {
        &self.pixels
    }

    fn sizes(&self) -> FrameSizes<'_> {
        SIZES
    }

    fn intervals(&self) -> FrameIntervals<'_> {
        INTERVALS
    }

    fn format(&self) -> Format {
        self.link.lock().format
    }

    fn try_format(&self, wanted: &Format) -> Format {
        let made = Format::negotiate(wanted, &self.pixels, SIZES, true);
        let made = made.and_then(|format| align_lines(format, &self.pixels, self.stride));
        made.unwrap_or_else(|| self.format())
    }

    /// EBUSY for another format while a reader has buffers, which hold this one.
    fn set_format(&mut self, format: &Format) -> Result<(), DriverError> {
        let mut shared = self.link.lock();
        // What colours mean changes no buffer.
        let held = Format {
            color: format.color,
            ..shared.format
        };
        if shared.reader_buffers > 0 && held != *format {
            return Err(EBUSY);
        }
        shared.format = *format;
        Ok(())
    }

    fn interval(&self) -> Fraction {
        self.link.lock().interval
    }

    fn set_interval(&mut self, wanted: Fraction) {
        const LEAST: u64 = 1_000_000_000 / crate::spec::MAX_FPS as u64;
        let wanted = match (wanted.numerator, wanted.as_nanos()) {
            (0, _) | (_, None) => self.default_interval,
            (_, Some(..LEAST)) => Fraction::new(1, crate::spec::MAX_FPS),
            (_, Some(1_000_000_001..)) => Fraction::new(1, 1),
            _ => wanted,
        };
        self.link.lock().interval = wanted;
    }
}
