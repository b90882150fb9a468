//! Thumbnails for a contact sheet. However long a run is, their number is limited.

use crate::lock::lock;
use std::sync::{Arc, Mutex};
use vb3_picture::{Frame, Reader, Size};

/// Maximum number of thumbnails kept.
pub const THUMBNAILS_MAX: usize = 32;
/// Maximum width and height of a thumbnail, in pixels.
const EDGE_MAX: u32 = 320;

/// A small picture in R, G, B bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// The number of the picture, from 0.
    pub number: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in lines.
    pub height: u32,
    /// The `width * height * 3` bytes of the pixels.
    pub rgb: Vec<u8>,
}

impl Thumbnail {
    /// Returns a thumbnail that is reduced to sides of at most `edge` pixels.
    #[must_use]
    pub fn within(&self, edge: u32) -> Self {
        let step = self.width.max(self.height).div_ceil(edge.max(1)).max(1);
        // CAST: widening, on every target there is.
        let (line, skip) = (self.width.max(1) as usize * 3, step as usize);
        let lines = self.rgb.chunks_exact(line).step_by(skip);
        let pixels = lines.flat_map(|line| line.chunks_exact(3).step_by(skip));
        Self {
            number: self.number,
            width: self.width.div_ceil(step),
            height: self.height.div_ceil(step),
            rgb: pixels.flatten().copied().collect(),
        }
    }

    /// Returns the thumbnail as a PNG file.
    #[must_use]
    pub fn png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.rgb));
        // Writing to memory cannot fail. A picture without pixels gives an empty file.
        if written.is_err() {
            file.clear();
        }
        file
    }

    /// Returns the smallest `n` for which every `n`th pixel of every `n`th line makes a small enough picture.
    pub(crate) fn step(size: Size) -> u32 {
        size.width().max(size.height()).div_ceil(EDGE_MAX).max(1)
    }

    /// Makes a thumbnail of every `n`th pixel of every `n`th line.
    pub(crate) fn of(frame: &Frame, number: u64) -> Self {
        let (width, height) = (frame.size().width(), frame.size().height());
        let step = Self::step(frame.size());
        let (columns, lines) = (width.div_ceil(step), height.div_ceil(step));
        let mut rgb = Vec::new();
        let reader = Reader::new(frame);
        for line in 0..lines {
            for column in 0..columns {
                rgb.extend(reader.rgb(column * step, line * step).bytes());
            }
        }
        Self {
            number,
            width: columns,
            height: lines,
            rgb,
        }
    }
}

/// Collects thumbnails of every `stride`th picture. When there are too many, the stride doubles.
#[derive(Debug)]
pub(crate) struct Collection {
    kept: Vec<Thumbnail>,
    stride: u64,
    offered: u64,
}

impl Default for Collection {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            stride: 1,
            offered: 0,
        }
    }
}

impl Collection {
    /// Returns whether the next picture may be selected.
    pub(super) const fn keeps_next(&self) -> bool {
        self.offered.is_multiple_of(self.stride)
    }

    /// Counts a picture, and makes and keeps its thumbnail if it is selected. `make` returns `None` if reading
    /// fails.
    pub(crate) fn offer(&mut self, make: impl FnOnce(u64) -> Option<Thumbnail>) {
        let number = self.offered;
        self.offered = self.offered.saturating_add(1);
        if !number.is_multiple_of(self.stride) {
            return;
        }
        if self.kept.len() >= THUMBNAILS_MAX {
            self.stride = self.stride.saturating_mul(2);
            let stride = self.stride;
            self.kept.retain(|thumb| thumb.number % stride == 0);
            if !number.is_multiple_of(stride) {
                return;
            }
        }
        self.kept.extend(make(number));
    }

    /// Returns at most `count` thumbnails, evenly spread, with the first and the last.
    pub(crate) fn spread(&self, count: usize) -> Vec<Thumbnail> {
        let kept = self.kept.len();
        if count >= kept {
            return self.kept.clone();
        }
        let steps = count.saturating_sub(1).max(1);
        (0..count)
            .filter_map(|index| self.kept.get(index * kept.saturating_sub(1) / steps))
            .cloned()
            .collect()
    }
}

/// Thumbnails of the frames that a device delivers, for all its open files.
#[derive(Clone, Debug, Default)]
pub struct Shots(Arc<Mutex<Collection>>);

impl Shots {
    /// Counts a frame, and keeps its thumbnail if it is selected, as [`Collection::offer`].
    pub(crate) fn offer(&self, make: impl FnOnce(u64) -> Option<Thumbnail>) {
        lock(&self.0).offer(make);
    }

    /// Returns thumbnails of at most `count` frames, evenly spread over all frames that were delivered.
    #[must_use]
    pub fn spread(&self, count: usize) -> Vec<Thumbnail> {
        lock(&self.0).spread(count)
    }
}
