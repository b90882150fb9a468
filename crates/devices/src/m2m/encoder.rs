//! A stateful encoder: pictures at OUTPUT, a stream or files at CAPTURE.
//!
//! It follows the kernel's stateful encoder interface: the coded size follows from the OUTPUT
//! format and its crop rectangle, a drain ends with a last buffer, stopping CAPTURE begins a new
//! stream. The codec library runs in a process of its own. An OUTPUT buffer comes back with its
//! packet.
//!
//! Source: Linux Documentation/userspace-api/media/v4l/dev-encoder.rst.

mod controls;
mod format;
mod read;
mod work;

use super::{CodecProcess, M2mQueue, M2mQueueDriver, PendingFrames, color, raw};
use crate::Failure;
use crate::device::Outside;
use crate::place::{Place, identity, policy};
use crate::spec::{DeviceKind, DeviceSpec};
use crate::surface::{EBUSY, EINVAL};
use controls::Controls;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use vb3_codec::{Config, H264Settings, Kind, Packet};
use vb3_queue::{Driver, DriverError, TimestampKind};
use vb3_v4l2::{
    Bus, Command, CommandSet, ControlSpec, ControlValue, EventKinds, Flow, Format, FormatFlags,
    Fraction, FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity, Progress, QueuePolicy,
    Rect, Role, SelectionFlags, SelectionTarget, Statistics, VideoDriver,
};

/// OUTPUT buffers it needs.
const MIN_BUFFERS: u32 = 2;

/// What came of a picture, waiting for a buffer.
#[derive(Debug)]
struct Coded {
    tag: u64,
    /// `None` where the library could not encode it.
    packet: Option<Packet>,
    key: bool,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// None is under way.
    Idle,
    /// So many buffers at OUTPUT are still part of it.
    Feeding(usize),
    /// The last buffer was given back.
    Stopped,
}

/// What one open file has of an encoder.
#[derive(Debug)]
pub struct Encoder<C> {
    identity: Identity,
    policies: [QueuePolicy; 2],
    planarity: Planarity,
    coded_formats: Vec<&'static PixelFormat>,
    raw_formats: Vec<&'static PixelFormat>,
    /// Lines of pictures are multiples of so many bytes.
    stride: u32,
    output: M2mQueue<C>,
    capture: M2mQueue<C>,
    /// The part of OUTPUT pictures that is encoded.
    crop: Rect,
    /// Bytes of CAPTURE buffers that the program asked for; 0 if it left that open.
    wanted_bytes: u32,
    /// At which pictures come.
    interval: Fraction,
    /// Which the stream says.
    coded_interval: Fraction,
    default_interval: Fraction,
    controls: Controls,
    codec: CodecProcess,
    /// How the worker is set up.
    configured: Option<Config>,
    /// It takes nothing until it has said something.
    is_full: bool,
    /// Of pictures that the worker has.
    frames: PendingFrames,
    coded: VecDeque<Coded>,
    drain: Drain,
    /// How often OUTPUT had begun when the drain did.
    drained_start: u64,
    seen_output: (u64, u64),
    seen_capture_stops: u64,
    /// Chroma as pairs.
    scratch: Vec<u8>,
    statistics: Statistics,
}

impl<C> Encoder<C> {
    /// Makes what one open file has of the encoder of a SPEC. The worker starts with the first
    /// picture.
    ///
    /// # Errors
    /// A sentence, for a SPEC that is no encoder's.
    pub fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let (kind, card) = match spec.kind {
            DeviceKind::Encoder(Kind::H264Encoder) => (Kind::H264Encoder, "H.264 Encoder"),
            DeviceKind::Encoder(Kind::JpegEncoder) => (Kind::JpegEncoder, "JPEG Encoder"),
            _ => return Err(Failure::new("the device is no encoder")),
        };
        let coded_formats = format::coded(kind);
        let raw_formats = raw::formats(spec);
        let stride = spec.stride.unwrap_or(1);
        let none = || spec.no_such_format();
        let size = spec.size.unwrap_or(crate::picture::Size::nearest(640, 480));
        let source = format::first(kind, &raw_formats, spec.format, size, stride);
        let source = source.ok_or_else(none)?;
        let crop = Rect::whole(source.width, source.height);
        let made = format::coded_for(kind, &coded_formats, &source, crop, 0);
        let made = made.ok_or_else(none)?;
        let policy = QueuePolicy {
            file_io: false,
            timestamps: TimestampKind::Copy,
            min_reqbufs: 1,
            ..policy(spec, place)
        };
        let interval = spec.fps.map_or(Fraction::new(1, 30), |fps| {
            format::nearest_interval(Fraction::new(fps.denominator, fps.numerator))
        });
        Ok(Self {
            identity: identity(spec, place, card),
            policies: [
                policy,
                QueuePolicy {
                    min_reqbufs: MIN_BUFFERS,
                    ..policy
                },
            ],
            planarity: if spec.mplane {
                Planarity::Multi
            } else {
                Planarity::Single
            },
            coded_formats,
            raw_formats,
            stride,
            output: M2mQueue::new(Flow::Output, source),
            capture: M2mQueue::new(Flow::Capture, made),
            crop,
            wanted_bytes: 0,
            interval,
            coded_interval: interval,
            default_interval: interval,
            controls: Controls::new(kind),
            codec: CodecProcess::new(kind, place.codecs.launch(kind)),
            configured: None,
            is_full: false,
            frames: PendingFrames::new(),
            coded: VecDeque::new(),
            drain: Drain::Idle,
            drained_start: 0,
            seen_output: (0, 0),
            seen_capture_stops: 0,
            scratch: Vec::new(),
            statistics: Statistics::default(),
        })
    }

    fn queue(&self, flow: Flow) -> &M2mQueue<C> {
        match flow {
            Flow::Capture => &self.capture,
            Flow::Output => &self.output,
        }
    }

    /// What CAPTURE becomes for pictures of a format, of which a part is encoded.
    fn coded_for(&self, source: &Format, crop: Rect) -> Result<Format, DriverError> {
        let (kind, formats) = (self.codec.kind(), &self.coded_formats);
        format::coded_for(kind, formats, source, crop, self.wanted_bytes).ok_or(EINVAL)
    }

    /// How the worker is to be set up.
    fn config(&self) -> Config {
        let (width, height) = (self.crop.width, self.crop.height);
        match self.codec.kind() {
            Kind::JpegEncoder => Config::JpegEncoder {
                width,
                height,
                quality: self.controls.quality,
            },
            _ => {
                let interval = self.coded_interval;
                let rate = (interval.denominator, interval.numerator);
                Config::H264Encoder(H264Settings {
                    width,
                    height,
                    rate,
                    bitrate: self.controls.bitrate,
                    gop: self.controls.gop,
                    profile: self.controls.profile(),
                    level: Some(self.controls.level((width, height), rate)),
                    colour: color::colour_of(self.output.format.color),
                })
            }
        }
    }
}

impl<C> Outside for Encoder<C> {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.codec.wake_fd()
    }

    fn failure(&self) -> Option<&Failure> {
        self.codec.failure()
    }
}

impl<C> VideoDriver for Encoder<C> {
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
        Box::new(M2mQueueDriver(match flow {
            Flow::Capture => &mut self.capture,
            Flow::Output => &mut self.output,
        }))
    }

    fn formats(&self, flow: Flow) -> &[&'static PixelFormat] {
        match flow {
            Flow::Capture => &self.coded_formats,
            Flow::Output => &self.raw_formats,
        }
    }

    fn format_flags(&self, flow: Flow, _: &PixelFormat) -> FormatFlags {
        match (flow, self.codec.kind()) {
            (Flow::Capture, Kind::H264Encoder) => FormatFlags::ENC_CAP_FRAME_INTERVAL,
            _ => FormatFlags::empty(),
        }
    }

    fn frame_sizes(&self, _: &PixelFormat) -> FrameSizes<'_> {
        format::sizes(self.codec.kind())
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        (self.codec.kind() == Kind::H264Encoder).then_some(format::INTERVALS)
    }

    fn format(&self, flow: Flow) -> Format {
        self.queue(flow).format
    }

    fn try_format(&self, flow: Flow, wanted: &Format) -> Format {
        let kind = self.codec.kind();
        match flow {
            Flow::Output => format::try_source(kind, &self.raw_formats, wanted, self.stride)
                .unwrap_or(self.output.format),
            Flow::Capture => format::try_coded(&self.coded_formats, wanted, &self.capture.format),
        }
    }

    fn set_format(
        &mut self,
        flow: Flow,
        format: &Format,
        peer_busy: bool,
    ) -> Result<(), DriverError> {
        match flow {
            Flow::Capture => {
                if peer_busy && *format != self.capture.format {
                    return Err(EBUSY);
                }
                self.wanted_bytes = format::wish(&self.coded_formats, format);
                self.capture.format = *format;
            }
            Flow::Output => {
                let crop = Rect::whole(format.width, format.height);
                let made = self.coded_for(format, crop)?;
                let (now, then) = (self.capture.format, made);
                if peer_busy && (now.width, now.height) != (then.width, then.height) {
                    return Err(EBUSY);
                }
                self.output.format = *format;
                self.crop = crop;
                self.capture.format = made;
            }
        }
        Ok(())
    }

    fn interval(&self, flow: Flow) -> Option<Fraction> {
        (self.codec.kind() == Kind::H264Encoder).then_some(match flow {
            Flow::Capture => self.coded_interval,
            Flow::Output => self.interval,
        })
    }

    fn set_interval(&mut self, flow: Flow, wanted: Fraction) {
        self.coded_interval = if wanted.numerator == 0 || wanted.denominator == 0 {
            self.default_interval
        } else {
            format::nearest_interval(wanted)
        };
        if flow == Flow::Output {
            self.interval = self.coded_interval;
        }
    }

    fn has_selection(&self) -> bool {
        true
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        let format = &self.output.format;
        match (flow, target) {
            (Flow::Output, SelectionTarget::Crop) => Some(self.crop),
            (Flow::Output, SelectionTarget::CropDefault | SelectionTarget::CropBounds) => {
                Some(Rect::whole(format.width, format.height))
            }
            _ => None,
        }
    }

    fn set_selection(
        &mut self,
        _: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        if target != SelectionTarget::Crop {
            return Err(EINVAL);
        }
        if self.output.streaming || self.capture.streaming {
            return Err(EBUSY);
        }
        let sizes = format::sizes(self.codec.kind());
        let crop = format::crop(&self.output.format, wanted, flags, sizes)?;
        let made = self.coded_for(&self.output.format, crop)?;
        self.crop = crop;
        // Buffers may be there already; they are large enough for the whole picture.
        (self.capture.format.width, self.capture.format.height) = (made.width, made.height);
        Ok(crop)
    }

    fn commands(&self) -> Option<CommandSet> {
        Some(CommandSet::Encoder)
    }

    fn command(&mut self, command: Command) -> Result<(), DriverError> {
        self.notice();
        match (command, self.drain) {
            (_, Drain::Feeding(_)) => Err(EBUSY),
            (Command::Stop, Drain::Idle) if self.output.streaming && self.capture.streaming => {
                self.drain = Drain::Feeding(self.output.tokens.len());
                self.drained_start = self.output.starts;
                Ok(())
            }
            (Command::Start, Drain::Stopped) => {
                self.drain = Drain::Idle;
                Ok(())
            }
            (Command::Stop, _) | (Command::Start, Drain::Idle) => Ok(()),
        }
    }

    fn controls(&self) -> Vec<ControlSpec> {
        self.controls.specs()
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        let busy = self.output.streaming && self.capture.streaming;
        self.controls.set(id, value.number(), busy)
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        controls::volatile(id)
    }

    fn events(&self) -> EventKinds {
        EventKinds::EOS
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
