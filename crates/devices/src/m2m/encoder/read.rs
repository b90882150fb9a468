//! The way of a picture from a buffer to the worker.

use crate::surface::{Surface, Trouble};
use vb3_codec::PlanesMut;
use vb3_queue::Active;
use vb3_v4l2::{Bus, Format, PixelFormat, Rect, pixfmt};

/// Where the part of one plane of samples lies that is encoded.
struct Part<'a, C> {
    cookie: &'a C,
    /// Of its first byte, from the start of the plane.
    offset: u64,
    lines: usize,
    line_bytes: usize,
    stride: u64,
}

/// Reads the part of a picture that `crop` says. Pairs of chroma are taken apart by way of
/// `scratch`.
pub(super) fn read<C>(
    format: &Format,
    crop: Rect,
    token: &Active<C>,
    bus: &mut dyn Bus<C>,
    scratch: &mut Vec<u8>,
    to: PlanesMut<'_>,
) -> Result<(), Trouble> {
    let pixel = pixfmt::lookup(format.fourcc).ok_or(Trouble::TooSmall)?;
    let [luma, u, v] = to.data;
    let mut copy = |component: usize, to: &mut [u8]| {
        // The planes of the token live as long as this.
        with_part(format, pixel, crop, token, component, |part| {
            part.copy(bus, to)
        })
    };
    copy(0, luma)?;
    if pixel.components.len() == 3 {
        copy(1, u)?;
        return copy(2, v);
    }
    scratch.resize(u.len() + v.len(), 0);
    copy(1, scratch)?;
    for (pair, (u, v)) in scratch.chunks_exact(2).zip(u.iter_mut().zip(v)) {
        if let [first, second] = pair {
            *u = *first;
            *v = *second;
        }
    }
    Ok(())
}

fn with_part<C>(
    format: &Format,
    pixel: &PixelFormat,
    crop: Rect,
    token: &Active<C>,
    component: usize,
    take: impl FnOnce(&Part<'_, C>) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let small = || Trouble::TooSmall;
    let layout = pixel.component_layout(component, format.width, format.height, format.layouts());
    let layout = layout.ok_or_else(small)?;
    let samples = pixel.components.get(component).ok_or_else(small)?;
    let plane = token
        .plane(layout.memory_plane)
        .map_err(|_| Trouble::Stale)?
        .ok_or_else(small)?;
    let all = Surface(format).picture_bytes(layout.memory_plane);
    let end = all.and_then(|bytes| plane.data_offset.checked_add(bytes));
    if end.is_none_or(|end| end > plane.payload_bytes.min(plane.length_bytes)) {
        return Err(Trouble::TooSmall);
    }
    let steps = (samples.horizontal_step.max(1), samples.vertical_step.max(1));
    let (left, top) = (crop.left.unsigned_abs(), crop.top.unsigned_abs());
    let before = u64::from(left / steps.0) * u64::from(samples.bytes_per_pixel);
    let above = u64::from(top / steps.1) * u64::from(layout.bytesperline);
    let line_bytes = pixel.line_bytes(component, crop.width).ok_or_else(small)?;
    // CAST: widening, on every target there is.
    take(&Part {
        cookie: &plane.cookie,
        offset: plane.data_offset + layout.offset + above + before,
        lines: crop.height.div_ceil(steps.1) as usize,
        line_bytes: line_bytes as usize,
        stride: u64::from(layout.bytesperline),
    })
}

impl<C> Part<'_, C> {
    fn copy(&self, bus: &mut dyn Bus<C>, to: &mut [u8]) -> Result<(), Trouble> {
        let bytes = self.lines * self.line_bytes;
        let to = to.get_mut(..bytes).ok_or(Trouble::TooSmall)?;
        let mut read = |offset: u64, to: &mut [u8]| {
            bus.read(self.cookie, offset, to)
                .map_err(|_| Trouble::Fault)
        };
        if self.line_bytes as u64 == self.stride {
            return read(self.offset, to);
        }
        let mut offset = self.offset;
        for line in to.chunks_exact_mut(self.line_bytes.max(1)) {
            read(offset, line)?;
            offset += self.stride;
        }
        Ok(())
    }
}
