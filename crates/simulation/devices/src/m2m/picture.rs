//! Moves decoded pictures from the codec process to buffers in pieces, one in each tick (a call by the
//! host).

use crate::surface::{PictureCursor, Step, Surface, Trouble, resume};
use std::ops::Range;
use vb3_codec::{Chroma, Field, Picture, Planes};
use vb3_queue::{Active, MAX_PLANES};
use vb3_v4l2::{Bus, Flow, Format, FourCc, PixelFormat, Rect, pixfmt};

/// The location of a decoded picture.
pub(super) enum Content {
    /// No picture: the file has none, or it cannot be decoded.
    None,
    /// In the codec process's memory. The cursor shows how much of it was copied.
    Slot(Picture, PictureCursor),
    /// In the buffer, where the process wrote it.
    Buffer(Field),
}

impl Content {
    pub(super) fn slot(picture: Picture) -> Self {
        Self::Slot(picture, PictureCursor::default())
    }

    /// Handles the loss of the picture's buffer. Returns whether the picture can be put into another buffer.
    pub(super) fn begin_again(&mut self) -> bool {
        if let Self::Slot(_, cursor) = self {
            *cursor = PictureCursor::default();
        }
        !matches!(self, Self::Buffer(_))
    }

    /// Returns whether the picture is partly written to its buffer.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self, Self::Slot(_, cursor) if *cursor != PictureCursor::default())
    }

    pub(super) const fn field(&self) -> Field {
        match self {
            Self::None => Field::Progressive,
            Self::Slot(picture, _) => picture.field(),
            Self::Buffer(field) => *field,
        }
    }

    /// Continues to write a picture to a buffer of this format, at most `left` bytes.
    pub(super) fn resume_write<C>(
        &mut self,
        format: &Format,
        token: &Active<C>,
        (left, scratch): (&mut usize, &mut Vec<u8>),
        bus: &mut dyn Bus<C>,
    ) -> Step {
        let (picture, cursor) = match self {
            Self::None => return Ok(Some([0; MAX_PLANES])),
            Self::Slot(picture, cursor) => (picture, cursor),
            Self::Buffer(_) => {
                let place = (token, Rect::whole(format.width, format.height));
                return Surface(format).note_written(place, bus).map(Some);
            }
        };
        let planes = picture.planes();
        if !holds(format, (planes.width, planes.height), picture.bits()) {
            return Err(Trouble::TooSmall);
        }
        let samples = Samples {
            planes,
            sample_bytes: if picture.bits() == 8 { 1 } else { 2 },
            found: picture.chroma(),
            wanted: chroma_of(format),
        };
        let all = Surface(format).lines(token, Flow::Capture)?;
        let is_written = resume(&all, cursor, left, |run| {
            let bytes = samples.part(run.component, run.packed, scratch);
            Ok(bus.write(run.cookie, run.offset, bytes.ok_or(Trouble::TooSmall)?)?)
        })?;
        Surface(format).step(is_written)
    }
}

/// Returns whether buffers of a format hold pictures of this size and sample depth. Buffers round odd sizes
/// up.
pub(super) fn holds(format: &Format, (width, height): (u32, u32), bits: u8) -> bool {
    let has_bits = pixfmt::lookup(format.fourcc).is_some_and(|pixel| has_bits(pixel, bits));
    let size = (width + width % 2, height + height % 2);
    has_bits && size == (format.width, format.height)
}

pub(super) fn has_bits(pixel: &PixelFormat, bits: u8) -> bool {
    pixel.bits == u32::from(bits)
}

pub(super) fn chroma_of(format: &Format) -> Chroma {
    match format.fourcc {
        FourCc::YUV420 => Chroma::Planar,
        _ => Chroma::Pairs,
    }
}

/// A picture's samples in the codec process's memory, and the chroma layouts there and in the buffer.
struct Samples<'a> {
    planes: Planes<'a>,
    sample_bytes: usize,
    found: Chroma,
    wanted: Chroma,
}

impl<'a> Samples<'a> {
    /// Returns bytes of a component in the buffer's layout, converted in `scratch` if necessary. The layouts
    /// differ only if the program has changed the buffers' format.
    fn part<'s>(
        &self,
        component: usize,
        bytes: Range<usize>,
        scratch: &'s mut Vec<u8>,
    ) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        let [luma, u, v] = self.planes.data;
        let (found, wanted) = (self.found, self.wanted);
        let lies = match (component, found, wanted) {
            (0, ..) if self.is_even() => luma,
            (0, ..) => return self.pad(bytes, scratch),
            (_, Chroma::Planar, Chroma::Pairs) => return interleave(scratch, u, v, bytes),
            (_, Chroma::Pairs, Chroma::Planar) => {
                return take_apart(scratch, u, component - 1, bytes);
            }
            (1, ..) => u,
            _ => v,
        };
        lies.get(bytes)
    }

    const fn is_even(&self) -> bool {
        self.planes.width.is_multiple_of(2) && self.planes.height.is_multiple_of(2)
    }

    /// Returns luma bytes of a picture padded to an even size, with the last column and line repeated.
    fn pad<'s>(&self, bytes: Range<usize>, padded: &'s mut Vec<u8>) -> Option<&'s [u8]> {
        // CAST: widening, on every target there is.
        let (width, height) = (self.planes.width as usize, self.planes.height as usize);
        let line_bytes = width * self.sample_bytes;
        let padded_bytes = (width + width % 2) * self.sample_bytes;
        let [luma, ..] = self.planes.data;
        padded.clear();
        let mut at = bytes.start;
        while at < bytes.end {
            let (line, column) = (at / padded_bytes, at % padded_bytes);
            let from = line.min(height.checked_sub(1)?) * line_bytes;
            let samples = luma.get(from..from + line_bytes)?;
            let last = samples.get(line_bytes - self.sample_bytes..)?;
            let end = padded_bytes.min(column + bytes.end - at);
            padded.extend_from_slice(samples.get(column.min(line_bytes)..end.min(line_bytes))?);
            let beyond = |column: usize| column.saturating_sub(line_bytes);
            padded.extend_from_slice(last.get(beyond(column)..beyond(end))?);
            at += end - column;
        }
        Some(padded)
    }
}

/// Interleaves some bytes of U and V into pairs.
fn interleave<'s>(
    to: &'s mut Vec<u8>,
    u: &[u8],
    v: &[u8],
    bytes: Range<usize>,
) -> Option<&'s [u8]> {
    let pairs = bytes.start / 2..bytes.end.div_ceil(2);
    let (u, v) = (u.get(pairs.clone())?, v.get(pairs)?);
    to.resize(u.len() + v.len(), 0);
    let (all, _) = to.as_chunks_mut();
    for ([first, second], (u, v)) in all.iter_mut().zip(u.iter().zip(v)) {
        (*first, *second) = (*u, *v);
    }
    let skipped = bytes.start % 2;
    to.get(skipped..skipped + bytes.len())
}

/// Extracts some bytes of U (`which` is 0) or V (1) from pairs.
fn take_apart<'s>(
    to: &'s mut Vec<u8>,
    pairs: &[u8],
    which: usize,
    bytes: Range<usize>,
) -> Option<&'s [u8]> {
    let pairs = pairs.get(2 * bytes.start..2 * bytes.end)?;
    to.clear();
    to.extend(pairs.iter().skip(which).step_by(2));
    Some(to)
}

#[cfg(test)]
mod tests;
