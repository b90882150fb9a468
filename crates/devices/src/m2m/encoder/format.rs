//! Formats of an encoder's queues.

use super::raw::{self, RawFormats};
use super::table::Row;
use vb3_v4l2::{Format, Fraction, FrameIntervals, PixelFormat, Rect};

/// Maximum number of pictures per second.
pub(super) const MAX_FPS: u32 = 60;
/// Intervals of a stream's pictures.
pub(super) const INTERVALS: FrameIntervals = FrameIntervals::Continuous {
    min: Fraction::new(1, MAX_FPS),
    max: Fraction::new(1, 1),
};

/// Adjusts a format for OUTPUT.
pub(super) fn try_source(row: &Row, formats: &RawFormats, wanted: &Format) -> Option<Format> {
    let mut format = formats.negotiate(wanted)?;
    let model = formats.pixels.first()?.model();
    format.color = match row.is_stream() {
        true => wanted.color.sanitized(model),
        // A JPEG file has no other colorimetry.
        false => raw::JPEG_PICTURE,
    };
    Some(format)
}

/// Returns the CAPTURE format for pictures of a format and the encoded part `crop`.
/// Its size is rounded up to whole blocks of the codec. `wanted_bytes` is a result of [`wish`].
pub(super) fn coded_for(
    row: &Row,
    formats: &[&'static PixelFormat],
    source: &Format,
    crop: Rect,
    wanted_bytes: u32,
) -> Option<Format> {
    let pixel = *formats.first()?;
    let width = crop.width.next_multiple_of(row.block);
    let height = crop.height.next_multiple_of(row.block);
    let mut format = Format::new(pixel, width, height)?;
    let layout = pixel.compressed_layout(source.width, source.height, wanted_bytes);
    *format.planes.first_mut()? = layout;
    format.color = match row.is_stream() {
        true => source.color,
        false => raw::JPEG,
    };
    Some(format)
}

/// Adjusts a format for CAPTURE. Size and colorimetry follow from OUTPUT.
pub(super) fn try_coded(formats: &[&'static PixelFormat], wanted: &Format, now: &Format) -> Format {
    let mut format = *now;
    if let (Some(pixel), Some(plane)) = (formats.first(), format.planes.first_mut()) {
        let asked = wanted.planes.first().map_or(0, |plane| plane.sizeimage);
        *plane = pixel.compressed_layout(now.width, now.height, asked);
    }
    format
}

/// Returns the bytes that a program requested with a CAPTURE format; 0 for the default.
pub(super) fn wish(formats: &[&'static PixelFormat], format: &Format) -> u32 {
    let bytes = format.planes.first().map_or(0, |plane| plane.sizeimage);
    let offered = formats.first().map(|pixel| {
        let layout = pixel.compressed_layout(format.width, format.height, 0);
        layout.sizeimage
    });
    if offered == Some(bytes) { 0 } else { bytes }
}
