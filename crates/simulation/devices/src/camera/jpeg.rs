//! Makes JPEG files of a camera's pictures with a codec process, while the camera continues.

use crate::Failure;
use crate::m2m::{CodecProcess, MAX_EVENTS};
use crate::mode::Mode;
use crate::rhythm::{Rhythm, pad};
use crate::streaming::{Stamp, Tick};
use crate::surface::{Payloads, Trouble, only_plane, write_bytes};
use crate::worker::FrameWorker as _;
use std::collections::VecDeque;
use std::ops::Range;
use vb3_codec::{Config, Event, Job, PlanesMut, Refused, Subsampling, Worker};
use vb3_picture::{Frame, Size};
use vb3_queue::Active;
use vb3_v4l2::{Bus, WakeFd};

/// Maximum number of pictures that are being encoded at one time.
const MAX_AHEAD: usize = 3;
/// JPEG quality, as webcams have it.
const QUALITY: u8 = 85;

/// A picture that is being encoded, with the buffer for its file.
struct Coding<C> {
    stamp: Stamp,
    token: Active<C>,
    /// The file is padded to this length, that of a real camera's file; `None` for no padding.
    bytes: Option<usize>,
}

pub(super) struct JpegEncoder<C> {
    process: CodecProcess,
    coding: VecDeque<Coding<C>>,
    /// Sizes of a real camera's files, if a description has them.
    sizes: Option<Rhythm>,
    /// The size of the picture that is being copied to the encoder.
    size: Option<Size>,
}

impl<C> JpegEncoder<C> {
    pub(super) const fn new(process: CodecProcess, sizes: Option<Rhythm>) -> Self {
        Self {
            process,
            coding: VecDeque::new(),
            sizes,
            size: None,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.coding.len() < MAX_AHEAD
    }

    /// Returns a descriptor that is readable when a file is ready; `None` while none is expected.
    pub(super) fn wake_fd(&self) -> Option<WakeFd<'_>> {
        let wake_fd = self.process.wake_fd();
        wake_fd.filter(|_| !self.coding.is_empty())
    }

    /// Drops the pictures that are being encoded. The program gets their buffers back with errors.
    pub(super) fn stop(&mut self) {
        self.coding.clear();
        self.process.stop();
        if let Some(sizes) = &mut self.sizes {
            sizes.reset();
        }
    }

    /// Reserves memory for a YUV422P picture to encode.
    pub(super) fn begin(&mut self, frame: &Frame) -> Result<(), Failure> {
        let size = frame.size();
        self.size = Some(size);
        let config = Config::JpegEncoder {
            width: size.width(),
            height: size.height(),
            quality: QUALITY,
            // Programs expect 4:2:2, as UVC webcams have it.
            sampling: Subsampling::Yuv422,
            has_limited_range: true,
        };
        let worker = (self.process).start(|worker| worker.submit(Job::Configure(config)));
        let begun = worker.ok_or(Refused::Dead).and_then(Worker::begin_picture);
        begun.map_err(|refused| self.refusal(refused))
    }

    /// Continues to copy a picture's samples, at most `left`. `filled` is the number of samples copied so
    /// far. Returns whether all samples are copied. `bytes_of` returns samples of a component: the given range, or
    /// its beginning (at least one).
    pub(super) fn fill_on<'p>(
        &mut self,
        (filled, left): (&mut usize, &mut usize),
        bytes_of: impl Fn(usize, Range<usize>) -> Option<&'p [u8]>,
    ) -> Result<bool, Failure> {
        match self.process.running().and_then(Worker::picture) {
            Some(to) => Ok(fill_on(to, (filled, left), bytes_of).unwrap_or(true)),
            None => Err(self.refusal(Refused::Dead)),
        }
    }

    /// Submits the copied picture for encoding.
    pub(super) fn encode(&mut self, stamp: Stamp, token: Active<C>) -> Result<(), Failure> {
        let worker = self.process.running().ok_or(Refused::Dead);
        let encode = |worker: &mut Worker| worker.encode_picture(stamp.sequence.into(), false);
        let taken = worker.and_then(encode);
        taken.map_err(|refused| self.refusal(refused))?;
        let next = |(sizes, size): (&mut Rhythm, Size)| sizes.next_bytes(size);
        let bytes = self.sizes.as_mut().zip(self.size).and_then(next);
        self.coding.push_back(Coding {
            stamp,
            token,
            bytes,
        });
        Ok(())
    }

    /// Returns why the encoder does not run, or else why it refused a picture.
    fn refusal(&self, refused: Refused) -> Failure {
        let down = self.process.failure().filter(|_| self.process.is_down);
        down.cloned().unwrap_or_else(|| {
            Failure::new(format!(
                "the camera's JPEG encoder refused a picture: {refused}"
            ))
        })
    }

    /// Completes the buffers whose files are ready. An error says how the encoder ended.
    pub(super) fn finish(&mut self, tick: &mut Tick<'_, Mode, C>) -> Result<(), Failure> {
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.process.poll() else {
                break;
            };
            let (tag, file) = match event {
                Event::Packet { tag, data, .. } => (tag, Some(data)),
                Event::Corrupt { tag, .. } => (tag, None),
                Event::Died { sentence } => {
                    self.stop();
                    return Err(Failure::new(sentence));
                }
                _ => continue,
            };
            // Files are returned in the order of their pictures.
            let is_next = |coding: &mut Coding<C>| u64::from(coding.stamp.sequence) == tag;
            let Some(coding) = self.coding.pop_front_if(is_next) else {
                continue;
            };
            let written = match &file {
                Some(file) => write((file.bytes(), coding.bytes), &coding.token, tick.bus),
                None => Err(Trouble::TooSmall),
            };
            tick.complete(coding.stamp, coding.token, written);
        }
        Ok(())
    }
}

/// Continues to copy a picture's samples to `to`, at most `left`. Returns whether all are copied; `None` if the picture
/// is too small.
fn fill_on<'p>(
    to: PlanesMut<'_>,
    (filled, left): (&mut usize, &mut usize),
    bytes_of: impl Fn(usize, Range<usize>) -> Option<&'p [u8]>,
) -> Option<bool> {
    let mut before = 0;
    for (component, plane) in to.data.into_iter().enumerate() {
        while let Some(rest) = plane.get_mut(*filled - before..)
            && !rest.is_empty()
        {
            if *left == 0 {
                return Some(false);
            }
            let (start, len) = (*filled - before, rest.len().min(*left));
            let bytes = bytes_of(component, start..start + len)?;
            let bytes = bytes
                .get(..len.min(bytes.len()))
                .filter(|bytes| !bytes.is_empty())?;
            rest.get_mut(..bytes.len())?.copy_from_slice(bytes);
            (*filled, *left) = (*filled + bytes.len(), *left - bytes.len());
        }
        before += plane.len();
    }
    Some(true)
}

/// Writes a file to its buffer, padded to the length of a real camera's file.
fn write<C>(
    (file, padded_bytes): (&[u8], Option<usize>),
    token: &Active<C>,
    bus: &mut dyn Bus<C>,
) -> Result<Payloads, Trouble> {
    let room = usize::try_from(only_plane(token)?.length_bytes).unwrap_or(usize::MAX);
    let padded = padded_bytes.map(|bytes| pad(file, bytes.min(room)));
    write_bytes(token, padded.as_deref().unwrap_or(file), bus)
}
