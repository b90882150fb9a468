//! A stateful encoder: pictures at OUTPUT, a stream or files at CAPTURE.
//!
//! It follows the kernel's stateful encoder interface. The coded size follows from the OUTPUT format and its
//! crop rectangle. A drain ends with an empty last buffer, and stopping CAPTURE begins a new stream. The
//! codec library runs in a separate process, the worker. An OUTPUT buffer is returned with its packet.
//!
//! The last buffer never has the last packet. Otherwise, GStreamer 1.22's encoders take the end of a drain
//! for the end of the stream, and drop all pictures after a change of size.
//!
//! Source: Linux Documentation/userspace-api/media/v4l/dev-encoder.rst.

mod read;
mod work;

use super::codec_controls::MIN_BUFFERS;
use super::codecs::{Coding, Engine, Row};
use super::color;
use super::device::{Coder, Drain, M2mEngine, Offered};
use super::encoder_controls::Controls;
use super::raw::{self, RawFormats};
use crate::Failure;
use crate::limits::nearest_interval;
use crate::select::fit;
use crate::settings::Settings;
use crate::surface::{EBUSY, EINVAL, PictureCursor};
use std::collections::VecDeque;
use vb3_codec::{Config, Kind, Packet, StreamSettings};
use vb3_picture::{HEIGHT_MAX, SIZE_MIN, WIDTH_MAX};
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{
    Bus, CommandSet, ControlValue, EventKinds, Flow, Format, FormatFlags, FourCc, Fraction,
    FrameIntervals, FrameSizes, PixelFormat, Progress, Rect, SelectionFlags, SelectionTarget, cid,
};

/// Largest number in a frame interval.
const MAX_TERM: u32 = 1_000_000_000;
const INTERVALS: FrameIntervals = FrameIntervals::Continuous {
    min: Fraction::new(1, 60),
    max: Fraction::new(1, 1),
};

/// A picture's packet, which waits for a buffer.
struct Coded {
    tag: u64,
    /// `None` if the library could not encode the picture.
    packet: Option<Packet>,
    key: bool,
}

/// A picture that is being read into the worker's memory.
struct Reading<C> {
    token: Active<C>,
    cursor: PictureCursor,
}

pub(crate) type Encoder<C> = Coder<Encoding<C>, C>;

pub(crate) struct Encoding<C> {
    coding: &'static Coding,
    /// Whether the encoder makes a stream, whose pictures have timing, and not files.
    is_stream: bool,
    /// The part of OUTPUT pictures that is encoded.
    crop: Rect,
    /// Requested bytes of CAPTURE buffers; 0 if the program requested no size.
    wanted_bytes: u32,
    /// Seconds per OUTPUT picture, as the program has set it.
    interval: Fraction,
    /// Seconds per picture in the stream.
    coded_interval: Fraction,
    default_interval: Fraction,
    controls: Controls,
    /// The worker's set-up; `None` before it is set up.
    configured: Option<Config>,
    packets: VecDeque<Coded>,
    reading: Option<Reading<C>>,
    /// Memory for reordering chroma pairs.
    scratch: Vec<u8>,
}

impl<C> Encoder<C> {
    /// Makes the encoder for one open file.
    /// Fails with a message for the user if `kind` is no encoder.
    pub(crate) fn new(settings: &Settings, kind: Kind) -> Result<Self, Failure> {
        let row = Row::find(kind)?;
        let Engine::Encoder(coding) = &row.engine else {
            return Err(Failure::new("the device is no encoder"));
        };
        let sizes = FrameSizes::Stepwise {
            width: (coding.least, WIDTH_MAX, SIZE_MIN),
            height: (coding.least, HEIGHT_MAX, SIZE_MIN),
        };
        let raw = RawFormats::new(settings, Flow::Output, sizes);
        let mut source = settings.first_format(FourCc::NV12)?;
        source.color = raw::REC709;
        let interval = settings.fps.map_or(Fraction::new(1, 30), |fps| {
            let interval = Fraction::new(fps.denominator, fps.numerator);
            nearest_interval(INTERVALS, interval).unwrap_or(interval)
        });
        let is_stream = row.fourcc() != FourCc::JPEG;
        let own = Encoding {
            coding,
            is_stream,
            crop: Rect::default(),
            wanted_bytes: 0,
            interval,
            coded_interval: interval,
            default_interval: interval,
            controls: Controls::new(&row.controls),
            configured: None,
            packets: VecDeque::new(),
            reading: None,
            scratch: Vec::new(),
        };
        let mut device = Self::of_row(row, settings, raw, (source, source), own)?;
        // CAPTURE's format follows from OUTPUT's.
        let made = device.negotiate(Flow::Output, &source).ok_or(EINVAL);
        let set = made
            .and_then(|source| M2mEngine::set_format(&mut device, Flow::Output, &source, false));
        set.map_err(|_| settings.no_such_format())?;
        device.output.policy.min_reqbufs = MIN_BUFFERS.cast_unsigned();
        if is_stream {
            device.capture.flags = FormatFlags::ENC_CAP_FRAME_INTERVAL;
        }
        Ok(device)
    }

    /// Returns the CAPTURE format for OUTPUT pictures of this format and the encoded part `crop`.
    /// Its size is rounded up to whole blocks of the codec.
    fn coded_for(&self, source: &Format, crop: Rect) -> Option<Format> {
        let (block, pixel) = (self.own.coding.block, *self.coded.first()?);
        let width = crop.width.next_multiple_of(block);
        let height = crop.height.next_multiple_of(block);
        let mut format = Format::new(pixel, width, height)?;
        let layout = pixel.compressed_layout(source.width, source.height, self.own.wanted_bytes);
        *format.planes.first_mut()? = layout;
        format.color = match self.own.is_stream {
            true => source.color,
            false => raw::JPEG,
        };
        Some(format)
    }

    /// Adjusts a format for CAPTURE. Size and colorimetry follow from OUTPUT.
    fn try_coded(&self, wanted: &Format) -> Format {
        let mut format = self.capture.format;
        if let (Some(pixel), Some(plane)) = (self.coded.first(), format.planes.first_mut()) {
            let asked = wanted.planes.first().map_or(0, |plane| plane.sizeimage);
            *plane = pixel.compressed_layout(format.width, format.height, asked);
        }
        format
    }

    /// Returns the worker's set-up for the current formats and controls.
    fn config(&self) -> Config {
        let (crop, interval) = (self.own.crop, self.own.coded_interval);
        let stream = StreamSettings {
            width: crop.width,
            height: crop.height,
            rate: (interval.denominator, interval.numerator),
            bitrate: self.own.controls.number(cid::MPEG_VIDEO_BITRATE),
            gop: self.own.controls.number(cid::MPEG_VIDEO_GOP_SIZE),
        };
        let color = color::stream_color_of(self.output.format.color);
        (self.own.coding.config)(&self.own.controls, &stream, color)
    }
}

/// Returns the bytes that a program requested with a CAPTURE format; 0 for the default.
fn wish(formats: &[&'static PixelFormat], format: &Format) -> u32 {
    let bytes = format.planes.first().map_or(0, |plane| plane.sizeimage);
    let offered = formats.first().map(|pixel| {
        let layout = pixel.compressed_layout(format.width, format.height, 0);
        layout.sizeimage
    });
    if offered == Some(bytes) { 0 } else { bytes }
}

impl<C> M2mEngine<C> for Encoder<C> {
    fn commands(&self) -> Option<CommandSet> {
        Some(CommandSet::Encoder)
    }

    fn events(&self) -> EventKinds {
        EventKinds::EOS
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        self.own.is_stream.then_some(INTERVALS)
    }

    fn negotiate(&self, flow: Flow, wanted: &Format) -> Option<Format> {
        match flow {
            Flow::Output => {
                let mut format = self.raw.negotiate(wanted)?;
                let model = self.raw.pixels.first()?.model();
                format.color = match self.own.is_stream {
                    true => wanted.color.sanitized(model),
                    // A JPEG file has no other colorimetry.
                    false => raw::JPEG_PICTURE,
                };
                Some(format)
            }
            Flow::Capture => Some(self.try_coded(wanted)),
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
                self.own.wanted_bytes = wish(&self.coded, format);
                self.capture.format = *format;
            }
            Flow::Output => {
                let crop = Rect::whole(format.width, format.height);
                let made = self.coded_for(format, crop).ok_or(EINVAL)?;
                let (now, then) = (self.capture.format, made);
                if peer_busy && (now.width, now.height) != (then.width, then.height) {
                    return Err(EBUSY);
                }
                self.output.format = *format;
                self.own.crop = crop;
                self.capture.format = made;
            }
        }
        Ok(())
    }

    fn interval(&self, flow: Flow) -> Option<Fraction> {
        self.own.is_stream.then_some(match flow {
            Flow::Capture => self.own.coded_interval,
            Flow::Output => self.own.interval,
        })
    }

    fn set_interval(&mut self, flow: Flow, wanted: Fraction) {
        let is_default = wanted.numerator == 0 || wanted.denominator == 0;
        let nearest = nearest_interval(INTERVALS, wanted).filter(|_| !is_default);
        let mut interval = nearest.unwrap_or(self.own.default_interval);
        // Codecs' libraries have signed numbers of 32 bits, or less.
        while interval.numerator.max(interval.denominator) > MAX_TERM {
            interval = Fraction::new(interval.numerator / 2, interval.denominator / 2);
        }
        self.own.coded_interval = interval;
        if flow == Flow::Output {
            self.own.interval = self.own.coded_interval;
        }
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        let format = &self.output.format;
        match (flow, target) {
            (Flow::Output, SelectionTarget::Crop) => Some(self.own.crop),
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
        let format = &self.output.format;
        let size = (format.width, format.height);
        let crop = fit(wanted, self.own.coding.least, size, flags)?;
        let made = self.coded_for(format, crop).ok_or(EINVAL)?;
        self.own.crop = crop;
        // Only width and height change. Existing buffers are large enough for the whole picture.
        (self.capture.format.width, self.capture.format.height) = (made.width, made.height);
        Ok(crop)
    }

    fn can_drain(&self) -> bool {
        self.output.streaming && self.capture.streaming
    }

    fn started(&mut self, flow: Flow) {
        if flow == Flow::Output && self.drain == Drain::Stopped {
            self.drain = Drain::Idle;
        }
    }

    fn stopped(&mut self, flow: Flow) {
        if flow == Flow::Capture {
            return self.reset();
        }
        // A drain still delivers the packets of the worker's pictures.
        if let Drain::Feeding(left) = &mut self.drain {
            *left = 0;
        }
        if self.worker.is_down {
            self.stop_codec();
        }
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        let busy = self.output.streaming && self.capture.streaming;
        self.own.controls.set(id, value.number(), busy)
    }

    fn work(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.listen(|encoder, event| encoder.handle(event, progress));
        self.deliver(bus, progress);
        self.feed(bus, progress);
        if self.is_drained() && self.capture.streaming && self.capture.give_last(progress) {
            self.stop(progress);
        }
    }

    fn has_begun(&self) -> bool {
        self.own.reading.is_some()
    }
}
