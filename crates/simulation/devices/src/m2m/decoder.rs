//! A stateful decoder: a stream of bytes at OUTPUT, pictures at CAPTURE.
//!
//! It follows the kernel's stateful decoder interface. An event announces the stream's format, a last buffer
//! ends the pictures of each resolution, and programs control drain and seek. The codec library runs in a
//! separate process, a [`Worker`].
//!
//! Source: Linux Documentation/userspace-api/media/v4l/dev-decoder.rst, differs: a stream's OUTPUT buffer is
//! returned once the worker has its bytes, which may be before their picture is decoded. An OUTPUT buffer
//! with a JPEG file is returned together with the picture.

mod lend;
mod work;

use super::codec_controls::MIN_BUFFERS;
use super::codecs::{Engine, Row};
use super::device::{Coder, Drain, M2mEngine, Offered};
use super::picture::Content;
use super::raw::{self, RawFormats};
use crate::Failure;
use crate::settings::Settings;
use crate::surface::EINVAL;
use std::cmp::Reverse;
use std::collections::VecDeque;
use vb3_codec::{Input, Kind, StreamFormat};
use vb3_picture::{HEIGHT_MAX, WIDTH_MAX};
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{
    Bus, CommandSet, EventKinds, Flow, Format, FormatFlags, FrameSizes, PixelFormat, Progress,
    Rect, SelectionFlags, SelectionTarget,
};

/// Sizes of pictures in pixels. The minimum is 2, because a stream may crop its pictures that far.
const SIZES: FrameSizes<'static> = FrameSizes::Stepwise {
    width: (2, WIDTH_MAX, 2),
    height: (2, HEIGHT_MAX, 2),
};

/// A decoded picture that has no CAPTURE buffer yet, or whose buffer is not completed yet.
struct Decoded<C> {
    tag: u64,
    content: Content,
    damaged: bool,
    /// The buffer that has the picture, or gets it now.
    token: Option<Active<C>>,
    /// Whether the worker decoded the picture into a CAPTURE buffer that was lent to it.
    was_lent: bool,
}

/// An OUTPUT buffer that is being read to the worker's memory, and how many bytes of it are read.
struct Reading<C> {
    token: Active<C>,
    done: usize,
}

/// The state of a change of the stream's format.
enum Pending {
    /// No change: pictures have the format of the buffers.
    None,
    /// The worker has found a format that the program does not know.
    Found(StreamFormat),
    /// The program was notified. It must make buffers and start CAPTURE.
    Told(StreamFormat),
}

pub(crate) type Decoder<C> = Coder<Decoding<C>, C>;

pub(crate) struct Decoding<C> {
    input: Input,
    /// All formats of CAPTURE. Once the stream's format is known, only matching formats are offered.
    all: Vec<&'static PixelFormat>,
    /// The format of the current CAPTURE buffers.
    streamed: Format,
    /// The visible part of the coded picture; all zero before it is known.
    visible: Rect,
    coded_size: (u32, u32),
    /// Except for JPEG: tag of the latest piece that the codec got while CAPTURE did not stream.
    ///
    /// The device keeps the OUTPUT buffer of the piece until the codec has finished with it. Without any
    /// queued buffer, a program that polls for the stream's format would see POLLERR.
    kept: Option<u64>,
    reading: Option<Reading<C>>,
    /// JPEG: tag of the latest file that the worker has decoded to a picture.
    answered: u64,
    decoded: VecDeque<Decoded<C>>,
    /// Whether the process accepts loans now.
    is_lending: bool,
    /// Buffers that are lent to the codec process, by the numbers of their loans, oldest first.
    lent: VecDeque<(u64, Active<C>)>,
    pending: Pending,
    /// Number of flushes that the worker has not answered.
    flushing: usize,
    /// Number of drains that the worker has not answered.
    draining: usize,
    /// Whether the worker has ended, and the next tick (a call by the host) must break the queues.
    is_broken: bool,
    /// Memory for reordering chroma, and for luma of an odd-sized picture.
    scratch: Vec<u8>,
}

impl<C> Decoder<C> {
    /// Makes the decoder for one open file.
    /// Fails with a message for the user if `kind` is no stateful decoder.
    pub(crate) fn new(settings: &Settings, kind: Kind) -> Result<Self, Failure> {
        let row = Row::find(kind)?;
        let Engine::Decoder(input) = row.engine else {
            return Err(Failure::new("the device is no decoder"));
        };
        let mut raw = RawFormats::new(settings, Flow::Capture, SIZES);
        // Formats with separate planes come first. Of two similar formats, GStreamer takes a decoder's first
        // one, but prefers separate planes when it imports.
        (raw.pixels).sort_by_key(|pixel| Reverse(pixel.memory_planes));
        let size = settings.first_size();
        let size = (size.width(), size.height());
        let first = raw.first_formats(settings, row.fourcc(), size)?;
        let own = Decoding {
            input,
            all: raw.pixels.clone(),
            streamed: first.1,
            visible: Rect::default(),
            coded_size: (0, 0),
            kept: None,
            reading: None,
            answered: 0,
            decoded: VecDeque::new(),
            is_lending: false,
            lent: VecDeque::new(),
            pending: Pending::None,
            flushing: 0,
            draining: 0,
            is_broken: false,
            scratch: Vec::new(),
        };
        let mut device = Self::of_row(row, settings, raw, first, own)?;
        device.capture.policy.min_reqbufs = MIN_BUFFERS.cast_unsigned();
        device.output.flags = match input {
            Input::Stream(_) => FormatFlags::CONTINUOUS_BYTESTREAM | FormatFlags::DYN_RESOLUTION,
            _ => FormatFlags::DYN_RESOLUTION,
        };
        // An empty piece of a stream requests a drain. A file is never empty.
        device.output.policy.allow_zero_bytesused = !input.is_file();
        Ok(device)
    }

    /// Adjusts a format for OUTPUT.
    ///
    /// Keeps any colorimetry, even for JPEG, whose pictures have only one colorimetry. GStreamer requests BT.601
    /// for JPEG files and fails if it gets another.
    fn try_coded(&self, wanted: &Format) -> Format {
        let Some(mut format) = Format::negotiate(wanted, &self.coded, SIZES, true) else {
            return self.output.format;
        };
        // Buffers hold the largest frame. ffmpeg requests half of that, and truncates longer frames.
        if let (Some(pixel), Some(plane)) = (self.coded.first(), format.planes.first_mut()) {
            let whole = pixel.compressed_layout(format.width, format.height, 0);
            plane.sizeimage = plane.sizeimage.max(whole.sizeimage);
        }
        let own = raw::coded_color(format.fourcc);
        let is_jpegs_own = own == raw::JPEG && wanted.color.colorspace == own.colorspace;
        if wanted.color.colorspace == 0 || is_jpegs_own {
            format.color = own;
        }
        format
    }

    /// Returns the part of a CAPTURE buffer that the picture covers.
    fn shown(&self) -> Rect {
        let (format, visible) = (&self.capture.format, self.own.visible);
        // An odd-sized picture leaves a column or a line of its buffer unused.
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

impl<C> M2mEngine<C> for Decoder<C> {
    fn commands(&self) -> Option<CommandSet> {
        Some(CommandSet::Decoder)
    }

    fn events(&self) -> EventKinds {
        EventKinds::EOS | EventKinds::SOURCE_CHANGE
    }

    fn negotiate(&self, flow: Flow, wanted: &Format) -> Option<Format> {
        match flow {
            Flow::Output => Some(self.try_coded(wanted)),
            // The stream determines size and colorimetry.
            Flow::Capture => self.raw.negotiate_like(wanted, &self.capture.format),
        }
    }

    fn set_format(
        &mut self,
        flow: Flow,
        format: &Format,
        peer_busy: bool,
    ) -> Result<(), DriverError> {
        if flow == Flow::Output && !peer_busy {
            // CAPTURE's format is a guess until the stream's format is known.
            self.raw.pixels.clone_from(&self.own.all);
            let guess = self.raw.like(self.capture.format.fourcc, format);
            self.capture.format = guess.ok_or(EINVAL)?;
            self.own.visible = Rect::default();
            self.own.coded_size = (0, 0);
            // The next worker announces the next stream's format, even if it is the same again.
            self.restart();
        }
        self.queue_mut(flow).format = *format;
        Ok(())
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        if flow == Flow::Output {
            return None;
        }
        let (coded, visible) = (self.own.coded_size, self.own.visible);
        Some(match target {
            SelectionTarget::CropBounds if coded.0 != 0 => Rect::whole(coded.0, coded.1),
            SelectionTarget::Crop | SelectionTarget::CropDefault if visible.width != 0 => visible,
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
            // Programs cannot move the picture in its buffer.
            SelectionTarget::Compose => Ok(self.shown()),
            _ => Err(EINVAL),
        }
    }

    fn can_drain(&self) -> bool {
        self.output.streaming
    }

    fn started(&mut self, flow: Flow) {
        if flow == Flow::Capture {
            self.start_pictures();
        }
    }

    fn try_take_back(&mut self) -> bool {
        self.own.lent.is_empty() || self.take_back_unwritten()
    }

    fn stopped(&mut self, flow: Flow) {
        if flow == Flow::Output {
            return self.flush();
        }
        self.worker.take_all_back();
        self.own.lent.clear();
        self.own.decoded.retain_mut(Decoded::leave_buffer);
        // This ends a drain. Exception: a drain that has found a new format goes on after the program has made
        // new buffers.
        if matches!(self.own.pending, Pending::None) && self.drain != Drain::Stopped {
            self.drain = Drain::Idle;
        }
    }

    fn recall(&mut self) {
        self.worker.take_all_back();
        self.requeue_lent();
    }

    /// A new format needs new buffers: STREAMOFF and STREAMON continue, START does not.
    fn can_continue(&self) -> bool {
        !(self.capture.streaming && matches!(self.own.pending, Pending::Told(_)))
    }

    fn work(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        if self.capture.streaming {
            self.release_kept(progress);
        }
        self.listen(|decoder, event| decoder.handle(event, progress));
        self.feed(bus, progress);
        self.deliver(bus, progress);
        self.announce_format(progress);
        self.finish_drain(progress);
        self.lend(bus);
        progress.broken |= std::mem::take(&mut self.own.is_broken);
    }

    fn has_begun(&self) -> bool {
        let first = self.own.decoded.front();
        let writes = self.capture.streaming && first.is_some_and(|it| it.content.has_begun());
        writes || self.own.reading.is_some()
    }

    /// The worker does not wait for buffers before it has announced the first format.
    fn waits_for_buffers(&self) -> bool {
        let is_known = self.own.visible.width != 0;
        !matches!(self.own.pending, Pending::None) || is_known && !self.has_buffer()
    }
}
