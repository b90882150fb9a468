//! A stateless H.264 decoder: slices of a picture at OUTPUT, its parameters in the controls of a media
//! request, the picture at CAPTURE.
//!
//! The program parses the stream and assigns buffers to pictures. The codec library in its
//! [`Worker`](vb3_codec::Worker) parses streams, too. So it gets each picture with parameter sets made
//! from the controls, and keeps its own reference pictures, chosen by the slice headers. The controls
//! for references are checked and not used.
//!
//! The process copies each complete picture to the CAPTURE buffer of its request. It does not decode in
//! place, since the program may use the buffer again while the library still reads the picture.
//!
//! Source: Linux Documentation/userspace-api/media/v4l/dev-stateless-decoder.rst, differs: only whole
//! frames with start codes; STREAMOFF at either queue drops all reference pictures; a picture whose
//! slices use several picture parameter sets is returned with an error.

mod controls;
mod work;

use super::loan::CaptureDriver;
use super::{CodecProcess, M2mQueue, M2mQueueDriver, raw};
use crate::Failure;
use crate::device::Outside;
use crate::picture::{HEIGHT_MAX, Size, WIDTH_MAX};
use crate::place::{HostSettings, identity, policy};
use crate::spec::DeviceSpec;
use crate::surface::{EBUSY, EINVAL, PIECE};
use controls::Parameters;
use std::os::fd::BorrowedFd;
use vb3_codec::Kind;
use vb3_queue::{Driver, DriverError, Requests, TimestampKind};
use vb3_v4l2::{
    Bus, ControlSpec, ControlValue, Flow, Format, FourCc, Fraction, FrameIntervals, FrameSizes,
    Identity, PixelFormat, Planarity, Progress, QueuePolicy, Role, Statistics, VideoDriver, pixfmt,
};
use work::Work;

/// Pixels of a macroblock's side. Pictures contain whole macroblocks.
const MACROBLOCK: u32 = 16;

const SIZES: FrameSizes<'_> = FrameSizes::Stepwise {
    width: (MACROBLOCK, WIDTH_MAX, MACROBLOCK),
    height: (MACROBLOCK, HEIGHT_MAX, MACROBLOCK),
};

/// The raw formats.
pub(crate) fn formats() -> Vec<&'static PixelFormat> {
    pixfmt::lookup(FourCc::NV12).into_iter().collect()
}

/// One open file of a stateless decoder.
#[derive(Debug)]
pub(crate) struct StatelessDecoder<C> {
    identity: Identity,
    policy: QueuePolicy,
    planarity: Planarity,
    coded: Vec<&'static PixelFormat>,
    raw: Vec<&'static PixelFormat>,
    /// Lines of pictures are multiples of this many bytes.
    stride: u32,
    output: M2mQueue<C>,
    capture: M2mQueue<C>,
    parameters: Parameters,
    codec: CodecProcess,
    work: Work<C>,
    statistics: Statistics,
    /// Largest number of picture bytes that one tick moves.
    piece: usize,
}

impl<C> StatelessDecoder<C> {
    /// Makes one open file's part of the decoder of a SPEC. The worker starts with the first request.
    ///
    /// # Errors
    /// Fails with a sentence for the user: no available library decodes H.264 by requests, or the SPEC
    /// names an unsupported format.
    pub(crate) fn new(spec: &DeviceSpec, place: &HostSettings) -> Result<Self, Failure> {
        let kind = Kind::H264StatelessDecoder;
        place.codecs.describe(kind).map_err(Failure::new)?;
        let coded: Vec<_> = pixfmt::lookup(FourCc::H264_SLICE).into_iter().collect();
        let raw = formats();
        let stride = spec.stride.unwrap_or(1);
        let none = || spec.no_such_format();
        let size = spec.size.unwrap_or(Size::nearest(640, 480));
        let start = coded.first().and_then(|pixel| {
            let (width, height) = whole_macroblocks(size.width(), size.height());
            Format::new(pixel, width, height)
        });
        let mut start = start.ok_or_else(none)?;
        start.color = raw::REC709;
        let first = raw::first(&raw, spec.format).ok_or_else(none)?;
        let shown = raw::like(&raw, first, &start, SIZES, stride).ok_or_else(none)?;
        Ok(Self {
            identity: identity(spec, place, "H.264 Stateless Decoder"),
            policy: QueuePolicy {
                file_io: false,
                timestamps: TimestampKind::Copy,
                min_reqbufs: 1,
                requests: Requests::Required,
                holds_capture: true,
                ..policy(spec, place)
            },
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
            parameters: Parameters::default(),
            codec: CodecProcess::new(kind, place.codecs.launch(kind)),
            work: Work::new(),
            statistics: Statistics::default(),
            piece: PIECE,
        })
    }

    fn queue(&self, flow: Flow) -> &M2mQueue<C> {
        match flow {
            Flow::Capture => &self.capture,
            Flow::Output => &self.output,
        }
    }

    /// Adjusts a format for OUTPUT.
    fn try_coded(&self, wanted: &Format) -> Format {
        let (width, height) = whole_macroblocks(wanted.width, wanted.height);
        let wanted = Format {
            width,
            height,
            ..*wanted
        };
        let made = Format::negotiate(&wanted, &self.coded, SIZES, true);
        let mut format = made.unwrap_or(self.output.format);
        if wanted.color.colorspace == 0 {
            format.color = raw::REC709;
        }
        format
    }
}

/// Returns the size in pixels, rounded up to whole macroblocks.
fn whole_macroblocks(width: u32, height: u32) -> (u32, u32) {
    let whole = |length: u32, most| length.min(most).next_multiple_of(MACROBLOCK);
    (whole(width, WIDTH_MAX), whole(height, HEIGHT_MAX))
}

impl<C> Outside for StatelessDecoder<C> {
    fn work_at_once(&mut self) {
        self.piece = usize::MAX;
    }

    /// The buffer of the request's picture is lent with it.
    fn is_preparing(&self) -> bool {
        self.codec.is_busy()
    }

    fn failure(&self) -> Option<&Failure> {
        self.codec.failure()
    }
}

impl<C> VideoDriver for StatelessDecoder<C> {
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
                forget: || self.work.drop_targets(),
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

    fn frame_sizes(&self, _: &PixelFormat) -> FrameSizes<'_> {
        SIZES
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        None
    }

    fn format(&self, flow: Flow) -> Format {
        self.queue(flow).format
    }

    fn try_format(&self, flow: Flow, wanted: &Format) -> Format {
        let now = self.capture.format;
        match flow {
            Flow::Output => self.try_coded(wanted),
            Flow::Capture => {
                // Size and colorimetry are those of OUTPUT.
                let wanted = Format {
                    width: now.width,
                    height: now.height,
                    color: now.color,
                    ..*wanted
                };
                raw::negotiate(&self.raw, &wanted, SIZES, self.stride).unwrap_or(now)
            }
        }
    }

    fn set_format(
        &mut self,
        flow: Flow,
        format: &Format,
        peer_busy: bool,
    ) -> Result<(), DriverError> {
        if flow == Flow::Capture {
            self.capture.format = *format;
            return Ok(());
        }
        let now = self.output.format;
        if peer_busy && (now.width, now.height) != (format.width, format.height) {
            return Err(EBUSY);
        }
        if !peer_busy {
            let fourcc = self.capture.format.fourcc;
            let shown = raw::like(&self.raw, fourcc, format, SIZES, self.stride);
            self.capture.format = shown.ok_or(EINVAL)?;
        }
        self.output.format = *format;
        Ok(())
    }

    fn interval(&self, _: Flow) -> Option<Fraction> {
        None
    }

    fn controls(&self) -> Vec<ControlSpec> {
        controls::specs()
    }

    fn try_control(&self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        controls::check(id, value)
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        self.parameters.set(id, value);
        Ok(())
    }

    fn queue_policy(&self, flow: Flow) -> QueuePolicy {
        match flow {
            Flow::Capture => QueuePolicy {
                requests: Requests::None,
                ..self.policy
            },
            Flow::Output => self.policy,
        }
    }

    fn tick(&mut self, _: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.work(bus, progress);
    }

    fn next_tick(&self) -> Option<u64> {
        self.has_work().then_some(0)
    }

    fn has_begun(&self) -> bool {
        self.work.is_writing()
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.codec.wake_fd()
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}
