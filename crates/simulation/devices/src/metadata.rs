//! The metadata node of a webcam. Each of its buffers has the USB payload header of one frame.
//!
//! Source: Linux 7.2 drivers/media/usb/uvc/uvc_metadata.c, uvc_video.c `uvc_video_decode_meta`.
//! Differs: each frame has one payload; a frame of a real webcam has many.

use crate::lock::lock;
use crate::settings::Settings;
use crate::streaming::{Engine, Formats, Stamp, Stream, StreamingDevice, Tick};
use crate::surface::write_bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use vb3_queue::DriverError;
use vb3_v4l2::{Flow, Format, FourCc, Fraction, FrameSizes, PixelFormat, Planarity, Port, pixfmt};

/// Bytes of a buffer (`UVC_METADATA_BUF_SIZE`).
const BUFFER_BYTES: u32 = 10_240;
/// Maximum number of frames whose headers wait for the node's next tick (a call by the host).
const PENDING_MAX: usize = 64;
/// Bytes of a payload header with both optional fields: presentation time and source clock.
const HEADER: u8 = 12;
/// Ticks of the webcam's clock in a microsecond (`dwClockFrequency` is 48 MHz).
const TICKS_PER_US: u64 = 48;

/// Frames of a camera whose headers the metadata node has not written yet.
#[derive(Debug, Default)]
struct Frames {
    /// Whether the metadata node streams.
    is_on: bool,
    /// The frames' stamps, oldest first.
    pending: VecDeque<Stamp>,
}

/// The link from a camera to its metadata node.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetadataLink(Arc<Mutex<Frames>>);

/// Compares references: links are equal if they lead to the same state.
impl PartialEq for MetadataLink {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for MetadataLink {}

impl MetadataLink {
    /// Passes on the stamp of a frame that the camera has begun to write.
    pub(crate) fn push(&self, stamp: Stamp) {
        let mut frames = lock(&self.0);
        if frames.is_on {
            frames.pending.push_back(stamp);
            if frames.pending.len() > PENDING_MAX {
                frames.pending.pop_front();
            }
        }
    }
}

/// The metadata node. Drops and counts a frame if there is no buffer for its header.
pub(crate) type Metadata<C> = StreamingDevice<Headers, MetadataFormats, C>;

pub(crate) struct Headers {
    link: MetadataLink,
    /// The bit of the header that toggles with each frame.
    frame_id: u8,
}

impl<C> Metadata<C> {
    /// Makes the metadata node of the camera with this link.
    pub(crate) fn new(settings: &Settings, link: &MetadataLink) -> Self {
        let headers = Headers {
            link: link.clone(),
            frame_id: 0,
        };
        let mut node = Self::with_engine(settings, "Webcam", MetadataFormats, headers);
        node.policy.file_io = false;
        node.policy.dmabuf = false;
        node
    }
}

/// Returns the contents of a buffer: a `struct uvc_meta_buf` with one header.
fn contents(stamp: Stamp, frame_id: u8) -> Vec<u8> {
    /// Flags: end of header, source clock, presentation time, end of frame.
    const FLAGS: u8 = 0x80 | 8 | 4 | 2;
    // CAST: the webcam's counters wrap at 32 bits.
    let ticks = ((stamp.time_ns / 1000).wrapping_mul(TICKS_PER_US) as u32).to_le_bytes();
    let usb_frame = (stamp.time_ns / 1_000_000 % 2048) as u16;
    let mut bytes = stamp.time_ns.to_ne_bytes().to_vec();
    bytes.extend(usb_frame.to_ne_bytes());
    bytes.extend([HEADER, FLAGS | frame_id]);
    bytes.extend(ticks);
    bytes.extend(ticks);
    bytes.extend(usb_frame.to_le_bytes());
    bytes
}

impl<C> Engine<C> for Headers {
    type Formats = MetadataFormats;

    const FLOW: Flow = Flow::Capture;
    const PORTS: &'static [Port] = &[];

    fn start(&mut self, _: &mut Stream<MetadataFormats, C>) -> Result<(), DriverError> {
        lock(&self.link.0).is_on = true;
        Ok(())
    }

    fn stop(&mut self, _: &mut Stream<MetadataFormats, C>) {
        *lock(&self.link.0) = Frames::default();
    }

    fn step(&mut self, tick: &mut Tick<'_, MetadataFormats, C>) -> bool {
        let Some(stamp) = lock(&self.link.0).pending.pop_front() else {
            return false;
        };
        let Some(token) = tick.stream.tokens.pop_front() else {
            tick.stream.count_dropped(1);
            return true;
        };
        self.frame_id ^= 1;
        let written = write_bytes(&token, &contents(stamp, self.frame_id), tick.bus);
        tick.complete(stamp, token, written);
        true
    }

    fn next_step(&self, _: &Stream<MetadataFormats, C>) -> Option<u64> {
        (!lock(&self.link.0).pending.is_empty()).then_some(0)
    }
}

pub(crate) struct MetadataFormats;

pub(crate) const FORMATS: &[&PixelFormat] = &[&pixfmt::UVC_METADATA];

impl Formats for MetadataFormats {
    fn planarity(&self) -> Planarity {
        Planarity::Meta
    }

    fn pixels(&self) -> &[&'static PixelFormat] {
        FORMATS
    }

    fn sizes(&self, _: FourCc) -> FrameSizes<'_> {
        FrameSizes::One(0, 0)
    }

    fn format(&self) -> Format {
        Format::meta(pixfmt::UVC_METADATA.fourcc, BUFFER_BYTES)
    }

    /// Metadata has no interval that programs can set.
    fn interval(&self) -> Fraction {
        Fraction::new(1, 30)
    }
}

#[cfg(test)]
mod tests;
