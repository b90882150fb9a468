//! Frames for readers while no writer streams.

use super::link::has_same_layout;
use std::sync::Arc;
use vb3_v4l2::pixfmt::{self, Sample};
use vb3_v4l2::{Format, FourCc, PixelFormat};

/// The picture that readers get while no writer streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// Black.
    Black,
    /// The last writer's last frame, and black before the first writer.
    Hold,
}

/// Repeats a placeholder's picture at the loopback's frame rate.
#[derive(Debug)]
pub(super) struct Still {
    pub(super) kind: Placeholder,
    picture: Option<(Format, Arc<[u8]>)>,
    /// Time of its next frame.
    due_ns: u64,
}

impl Still {
    pub(super) const fn new(kind: Placeholder) -> Self {
        Self {
            kind,
            picture: None,
            due_ns: 0,
        }
    }

    /// Repeats a writer's last frame from now on.
    pub(super) fn keep(&mut self, format: Format, bytes: Vec<u8>) {
        if self.kind == Placeholder::Hold {
            self.picture = Some((format, bytes.into()));
        }
    }

    fn fits(&self, format: &Format) -> bool {
        let picture = self.picture.as_ref();
        picture.is_some_and(|(of, _)| has_same_layout(of, format))
    }

    /// Returns the time of its next frame; `None` if it has no picture in this format.
    pub(super) fn due(&self, format: &Format) -> Option<u64> {
        let is_there = self.fits(format) || blackable(format.fourcc).is_some();
        is_there.then_some(self.due_ns)
    }

    /// Returns its picture if that is due.
    pub(super) fn take(
        &mut self,
        format: &Format,
        now_ns: u64,
        interval_ns: u64,
    ) -> Option<Arc<[u8]>> {
        if self.due(format)? > now_ns {
            return None;
        }
        let next_ns = self.due_ns.saturating_add(interval_ns);
        self.due_ns = match next_ns > now_ns {
            true => next_ns,
            false => now_ns.saturating_add(interval_ns),
        };
        if !self.fits(format) {
            self.picture = Some((*format, black(format)?.into()));
        }
        self.picture.as_ref().map(|(_, bytes)| Arc::clone(bytes))
    }
}

/// Returns the format if black pictures of it can be made.
fn blackable(fourcc: FourCc) -> Option<&'static PixelFormat> {
    let pixel = pixfmt::lookup(fourcc)?;
    let packs_chroma = matches!(fourcc, FourCc::YUV444 | FourCc::YUV555 | FourCc::YUV565);
    (!pixel.is_compressed() && !packs_chroma).then_some(pixel)
}

/// Returns the bytes of a black picture.
fn black(format: &Format) -> Option<Vec<u8>> {
    let pixel = blackable(format.fourcc)?;
    let layouts = format.layouts();
    // CAST: widening, on every target there is.
    let mut bytes = vec![0; layouts.first()?.sizeimage as usize];
    for (index, component) in pixel.components.iter().enumerate() {
        let at = pixel.component_layout(index, format.width, format.height, layouts)?;
        let (offset, pitch) = (usize::try_from(at.offset).ok()?, at.bytesperline as usize);
        let lines = bytes.get_mut(offset..)?.chunks_mut(pitch.max(1));
        let cell = component.cell.iter().map(|samples| {
            let samples = samples
                .iter()
                .flat_map(|sample| black_sample(pixel, *sample));
            let line: Vec<u8> = samples.collect();
            line.into_iter().cycle().take(at.line_bytes as usize)
        });
        let cell: Vec<Vec<u8>> = cell.map(Iterator::collect).collect();
        let lines = lines.take(at.lines as usize).zip(cell.iter().cycle());
        for (to, from) in lines {
            to.get_mut(..from.len())?.copy_from_slice(from);
        }
    }
    Some(bytes)
}

/// Returns the bytes of a sample of black. The upper 8 bits are the last byte.
fn black_sample(pixel: &PixelFormat, sample: Sample) -> impl Iterator<Item = u8> + use<> {
    let value = match sample {
        Sample::Y => 16,
        Sample::U | Sample::V => 128,
        Sample::X if !pixel.is_opaque() => 255,
        Sample::R | Sample::G | Sample::B | Sample::X => 0,
    };
    // CAST: 1 or 2.
    let below = pixel.sample_bytes().saturating_sub(1) as usize;
    std::iter::repeat_n(0, below).chain([value])
}
