//! The rhythm of a real camera's stream: intervals, lost frames and file sizes.

use crate::likeness::{Likeness, Measured};
use std::sync::Arc;
use vb3_picture::Size;
use vb3_v4l2::Fraction;

/// Repeats what was measured of a real camera's stream: intervals, or sizes of compressed pictures.
#[derive(Clone, Debug)]
pub(crate) struct Rhythm {
    like: Arc<Likeness>,
    /// Index of the next frame.
    at: usize,
}

impl Rhythm {
    /// Makes the rhythm of a camera; `None` if its stream was not measured.
    pub(crate) fn new(like: &Arc<Likeness>) -> Option<Self> {
        like.stream.as_ref()?;
        Some(Self {
            like: Arc::clone(like),
            at: 0,
        })
    }

    fn stream(&self) -> Option<&Measured> {
        self.like.stream.as_ref()
    }

    /// Returns the time from the stream's start to its first frame in nanoseconds.
    pub(crate) fn first_ns(&self) -> u64 {
        let stream = self.stream();
        stream.map_or(0, |stream| stream.first_frame_us) * 1000
    }

    pub(crate) const fn reset(&mut self) {
        self.at = 0;
    }

    /// Returns the nanoseconds until the next frame, and how many frames are lost before it.
    ///
    /// The measured intervals are scaled to `interval`, the camera's current one.
    pub(crate) fn next_interval(&mut self, interval: Fraction) -> Option<(u64, u32)> {
        let stream = self.stream()?;
        let at = self.at.checked_rem(stream.intervals_us.len())?;
        let measured_ns = u128::from(stream.interval.as_nanos()?.max(1));
        let now_ns = u128::from(interval.as_nanos()?);
        let us = u128::from(*stream.intervals_us.get(at)?);
        let ns = us * 1000 * now_ns / measured_ns;
        let lost = stream
            .lost
            .iter()
            .find(|[index, _]| usize::try_from(*index) == Ok(at));
        let lost = lost.map_or(0, |[_, count]| *count);
        self.at = at + 1;
        Some((u64::try_from(ns).unwrap_or(u64::MAX), lost))
    }

    /// Returns the length of the next compressed picture in bytes, scaled to its size in pixels.
    pub(crate) fn next_bytes(&mut self, size: Size) -> Option<usize> {
        let stream = self.stream()?;
        let at = self.at.checked_rem(stream.image_bytes.len())?;
        let area = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        let bytes = u64::from(*stream.image_bytes.get(at)?);
        let bytes = bytes * area((size.width(), size.height())) / area(stream.size).max(1);
        self.at = at + 1;
        usize::try_from(bytes).ok()
    }
}

/// Pads a JPEG file to a length, with comments after its first marker.
///
/// A comment takes at least four bytes, so the file may be up to three bytes shorter than `len`.
pub(crate) fn pad(file: &[u8], len: usize) -> Vec<u8> {
    const COMMENT: [u8; 2] = [0xff, 0xfe];
    let (start, rest) = file.split_at(file.len().min(2));
    let mut padded = start.to_vec();
    let mut left = len.saturating_sub(file.len());
    while left >= 4 {
        // A comment's length field counts its own two bytes.
        let part = left.min(usize::from(u16::MAX) + 2);
        let length = u16::try_from(part - 2).unwrap_or(u16::MAX);
        padded.extend(COMMENT);
        padded.extend(length.to_be_bytes());
        padded.resize(padded.len() + part - 4, b' ');
        left -= part;
    }
    padded.extend_from_slice(rest);
    padded
}
