//! A stateful decoder: a stream of bytes at OUTPUT, pictures at CAPTURE.
//!
//! It follows the kernel's stateful decoder interface: the stream's format is announced by an
//! event, a change of resolution ends with a last buffer, drain and seek are the program's. The
//! codec library runs in a [`Worker`], a process of its own.
//!
//! Source: Linux Documentation/userspace-api/media/v4l/dev-decoder.rst, differs: an OUTPUT buffer of
//! a stream comes back once its bytes are the worker's, which may be before its picture; one with a
//! JPEG file comes back with its picture.

mod format;
mod lend;
mod table;
mod work;

use super::{CodecProcess, M2mQueue, M2mQueueDriver, PendingFrames, raw};
use crate::Failure;
use crate::device::Outside;
use crate::place::{Place, identity, policy};
use crate::spec::{DeviceKind, DeviceSpec};
use crate::surface::{EBUSY, EINVAL};
use lend::{CaptureDriver, Lending};
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use table::{Input, Row};
use vb3_codec::{Field, Picture, StreamFormat};
use vb3_queue::{Active, Driver, DriverError, TimestampKind};
use vb3_v4l2::{
    Bus, Command, CommandSet, ControlFlags, ControlSpec, ControlValue, EventKinds, Flow, Format,
    FormatFlags, Fraction, FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity, Progress,
    QueuePolicy, Rect, Role, SelectionFlags, SelectionTarget, Statistics, VideoDriver, cid, pixfmt,
};

/// CAPTURE buffers it needs: pictures that wait for others are the worker's own.
const MIN_BUFFERS: i32 = 2;

/// A decoded picture that waits for a buffer, or to be given back in one.
#[derive(Debug)]
struct Decoded<C> {
    tag: u64,
    content: Content,
    damaged: bool,
    /// The buffer that was lent for it.
    token: Option<Active<C>>,
}

/// Where a decoded picture is.
#[derive(Debug)]
enum Content {
    /// There is none: of a file without one, or of what is not decoded.
    None,
    /// With the codec process.
    Slot(Picture),
    /// In the buffer.
    Buffer(Field),
}

/// What is to be done with the stream's format.
#[derive(Debug)]
enum Pending {
    /// Nothing: pictures are of the format that the buffers have.
    None,
    /// A format was found, and the program does not know.
    Found(StreamFormat),
    /// The program was told, and is expected to make buffers and start CAPTURE.
    Told(StreamFormat),
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// None is under way.
    Idle,
    /// So many buffers at OUTPUT are still part of it.
    Feeding(usize),
    /// The worker brings out what it holds.
    Asked,
    /// Everything is out; what waits for a buffer is the rest.
    Ready,
    /// The last buffer was given back.
    Stopped,
}

/// What one open file has of a decoder.
#[derive(Debug)]
pub struct Decoder<C> {
    row: &'static Row,
    identity: Identity,
    policies: [QueuePolicy; 2],
    planarity: Planarity,
    coded: Vec<&'static PixelFormat>,
    raw: Vec<&'static PixelFormat>,
    /// Lines of pictures are multiples of so many bytes.
    stride: u32,
    output: M2mQueue<C>,
    capture: M2mQueue<C>,
    /// What the CAPTURE buffers in use were made for.
    held: Format,
    /// The stream's size and place in the coded picture; all zero before it is known.
    visible: Rect,
    coded_size: (u32, u32),
    codec: CodecProcess,
    /// Of pieces whose pictures may still come.
    frames: PendingFrames,
    /// H.264: the last piece while CAPTURE does not stream. Its OUTPUT buffer stays with the
    /// device until the codec is done with it: a program that polls for the stream's format would
    /// see POLLERR where nothing is queued at all.
    kept: Option<u64>,
    /// JPEG: the file whose picture came last.
    answered: u64,
    decoded: VecDeque<Decoded<C>>,
    lent: Lending<C>,
    pending: Pending,
    drain: Drain,
    /// Flushes that the worker has not answered.
    flushing: usize,
    seen_output_stops: u64,
    seen_capture_starts: u64,
    /// Chroma in another order than the worker gave it.
    scratch: Vec<u8>,
    /// Luma of a picture of an odd size.
    padded: Vec<u8>,
    statistics: Statistics,
}

impl<C> Decoder<C> {
    /// Makes what one open file has of the decoder of a SPEC. The worker starts with the stream.
    ///
    /// # Errors
    /// A sentence, for a SPEC that is no decoder's.
    pub fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let row = match spec.kind {
            DeviceKind::Decoder(kind) => table::row_of(kind),
            _ => None,
        };
        let row = row.ok_or_else(|| Failure::new("the device is no decoder"))?;
        place.codecs.describe(row.kind).map_err(Failure::new)?;
        let coded: Vec<_> = pixfmt::lookup(row.fourcc).into_iter().collect();
        let mut raw = raw::formats(spec);
        // Separate planes first: GStreamer takes a decoder's format as it is, and of two that are
        // alike it prefers separate planes where it imports.
        raw.sort_by_key(|pixel| Reverse(pixel.memory_planes));
        let stride = spec.stride.unwrap_or(1);
        let none = || spec.no_such_format();
        let size = spec.size.unwrap_or(crate::picture::Size::nearest(640, 480));
        let start = format::coded_at(&coded, size.width(), size.height()).ok_or_else(none)?;
        let first = raw::first(&raw, spec.format).ok_or_else(none)?;
        let shown = format::raw_like(&raw, first, &start, stride).ok_or_else(none)?;
        let policy = QueuePolicy {
            file_io: false,
            timestamps: TimestampKind::Copy,
            min_reqbufs: 1,
            ..policy(spec, place)
        };
        Ok(Self {
            row,
            identity: identity(spec, place, row.card),
            policies: [
                QueuePolicy {
                    min_reqbufs: MIN_BUFFERS.cast_unsigned(),
                    ..policy
                },
                QueuePolicy {
                    // An empty piece of a stream asks for a drain; a file is never empty.
                    allow_zero_bytesused: row.input != Input::File,
                    ..policy
                },
            ],
            planarity: if spec.mplane {
                Planarity::Multi
            } else {
                Planarity::Single
            },
            coded,
            raw,
            stride,
            output: M2mQueue::new(Flow::Output, start),
            capture: M2mQueue::new(Flow::Capture, shown),
            held: shown,
            visible: Rect::default(),
            coded_size: (0, 0),
            codec: CodecProcess::new(row.kind, place.codecs.launch(row.kind)),
            frames: PendingFrames::new(),
            kept: None,
            answered: 0,
            decoded: VecDeque::new(),
            lent: Lending::new(),
            pending: Pending::None,
            drain: Drain::Idle,
            flushing: 0,
            seen_output_stops: 0,
            seen_capture_starts: 0,
            scratch: Vec::new(),
            padded: Vec::new(),
            statistics: Statistics::default(),
        })
    }

    fn queue(&self, flow: Flow) -> &M2mQueue<C> {
        match flow {
            Flow::Capture => &self.capture,
            Flow::Output => &self.output,
        }
    }

    /// The part of a CAPTURE buffer that holds the picture.
    fn shown(&self) -> Rect {
        let (format, visible) = (&self.capture.format, self.visible);
        // One of an odd size leaves a column or a line.
        let size = |whole: u32, part: u32| {
            if part == whole.wrapping_sub(1) {
                part
            } else {
                whole
            }
        };
        Rect::whole(
            size(format.width, visible.width),
            size(format.height, visible.height),
        )
    }
}

impl<C> Outside for Decoder<C> {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.codec.wake_fd()
    }

    fn failure(&self) -> Option<&Failure> {
        self.codec.failure()
    }
}

impl<C> VideoDriver for Decoder<C> {
    type Cookie = C;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        Role::MemToMem
    }

    fn planarity(&self) -> Planarity {
        self.planarity
    }

    fn queue_driver(&mut self, flow: Flow) -> Box<dyn Driver<Cookie = C> + '_> {
        match flow {
            Flow::Capture => Box::new(CaptureDriver {
                queue: M2mQueueDriver(&mut self.capture),
                codec: &mut self.codec,
                lent: &mut self.lent,
                decoded: &mut self.decoded,
            }),
            Flow::Output => Box::new(M2mQueueDriver(&mut self.output)),
        }
    }

    fn formats(&self, flow: Flow) -> &[&'static PixelFormat] {
        match flow {
            Flow::Capture => &self.raw,
            Flow::Output => &self.coded,
        }
    }

    fn format_flags(&self, flow: Flow, _: &PixelFormat) -> FormatFlags {
        match (flow, self.row.input) {
            (Flow::Output, Input::Stream) => {
                FormatFlags::CONTINUOUS_BYTESTREAM | FormatFlags::DYN_RESOLUTION
            }
            (Flow::Output, _) => FormatFlags::DYN_RESOLUTION,
            (Flow::Capture, _) => FormatFlags::empty(),
        }
    }

    fn frame_sizes(&self, _: &PixelFormat) -> FrameSizes<'_> {
        format::SIZES
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        None
    }

    fn format(&self, flow: Flow) -> Format {
        self.queue(flow).format
    }

    fn try_format(&self, flow: Flow, wanted: &Format) -> Format {
        match flow {
            Flow::Output => format::try_coded(&self.coded, wanted, &self.output.format),
            Flow::Capture => format::try_raw(&self.raw, wanted, &self.capture.format, self.stride),
        }
    }

    fn set_format(
        &mut self,
        flow: Flow,
        format: &Format,
        peer_busy: bool,
    ) -> Result<(), DriverError> {
        if flow == Flow::Output && !peer_busy {
            // A guess, until the stream tells.
            let fourcc = self.capture.format.fourcc;
            let guess = format::raw_like(&self.raw, fourcc, format, self.stride);
            self.capture.format = guess.ok_or(EINVAL)?;
        }
        match flow {
            Flow::Capture => self.capture.format = *format,
            Flow::Output => self.output.format = *format,
        }
        Ok(())
    }

    fn interval(&self, _: Flow) -> Option<Fraction> {
        None
    }

    fn has_selection(&self) -> bool {
        true
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        if flow == Flow::Output {
            return None;
        }
        Some(match target {
            SelectionTarget::CropBounds if self.coded_size.0 != 0 => {
                Rect::whole(self.coded_size.0, self.coded_size.1)
            }
            SelectionTarget::Crop | SelectionTarget::CropDefault if self.visible.width != 0 => {
                self.visible
            }
            _ => self.shown(),
        })
    }

    fn set_selection(
        &mut self,
        _: Flow,
        target: SelectionTarget,
        _: Rect,
        _: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        match target {
            // The picture is where it is.
            SelectionTarget::Compose => Ok(self.shown()),
            _ => Err(EINVAL),
        }
    }

    fn commands(&self) -> Option<CommandSet> {
        Some(CommandSet::Decoder)
    }

    /// A drain that is asked for before CAPTURE streams waits for it, which Linux leaves open.
    fn command(&mut self, command: Command) -> Result<(), DriverError> {
        // A stream that began since is not the one that was drained.
        self.notice_stop();
        self.notice_start();
        match (command, self.drain) {
            (Command::Stop, Drain::Idle) if self.output.streaming => {
                self.drain = Drain::Feeding(self.output.tokens.len());
                Ok(())
            }
            (Command::Stop, Drain::Idle | Drain::Stopped) | (Command::Start, Drain::Idle) => Ok(()),
            (Command::Start, Drain::Stopped) => {
                self.drain = Drain::Idle;
                Ok(())
            }
            (_, Drain::Feeding(_) | Drain::Asked | Drain::Ready) => Err(EBUSY),
        }
    }

    fn controls(&self) -> Vec<ControlSpec> {
        if self.row.input == Input::File {
            return Vec::new();
        }
        let (id, name) = (
            cid::MIN_BUFFERS_FOR_CAPTURE,
            "Min Number of Capture Buffers",
        );
        let least = ControlSpec::integer(id, name, (1, 32, 1), MIN_BUFFERS)
            .with(ControlFlags::READ_ONLY.union(ControlFlags::VOLATILE));
        std::iter::once(least).chain(self.row.controls()).collect()
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        (id == cid::MIN_BUFFERS_FOR_CAPTURE).then_some(ControlValue::Number(MIN_BUFFERS.into()))
    }

    fn events(&self) -> EventKinds {
        EventKinds::EOS | EventKinds::SOURCE_CHANGE
    }

    fn queue_policy(&self, flow: Flow) -> QueuePolicy {
        let [capture, output] = self.policies;
        match flow {
            Flow::Capture => capture,
            Flow::Output => output,
        }
    }

    fn tick(&mut self, _: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.work(bus, progress);
    }

    fn next_tick(&self) -> Option<u64> {
        self.has_work().then_some(0)
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}
