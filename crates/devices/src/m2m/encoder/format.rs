//! Formats of an encoder's queues.

use super::raw;
use crate::picture::{HEIGHT_MAX, SIZE_MIN, Size, WIDTH_MAX};
use crate::surface::ERANGE;
use vb3_codec::Kind;
use vb3_queue::DriverError;
use vb3_v4l2::{
    Format, FourCc, Fraction, FrameIntervals, FrameSizes, PixelFormat, Rect, SelectionFlags, pixfmt,
};

/// Most pictures a second.
const MAX_FPS: u32 = 60;
/// Smallest width and height that x265 encodes at every level.
const HEVC_LEAST: u32 = 32;
/// Columns and lines of a macroblock.
const MACROBLOCK: u32 = 16;

/// Intervals of a stream's pictures.
pub(super) const INTERVALS: FrameIntervals = FrameIntervals::Continuous {
    min: Fraction::new(1, MAX_FPS),
    max: Fraction::new(1, 1),
};

/// Returns the sizes of pictures.
pub(super) const fn sizes(kind: Kind) -> FrameSizes<'static> {
    let least = match kind {
        Kind::JpegEncoder => SIZE_MIN,
        Kind::HevcEncoder => HEVC_LEAST,
        _ => MACROBLOCK,
    };
    FrameSizes::Stepwise {
        width: (least, WIDTH_MAX, SIZE_MIN),
        height: (least, HEIGHT_MAX, SIZE_MIN),
    }
}

/// Returns the output formats.
pub(super) fn coded(kind: Kind) -> Vec<&'static PixelFormat> {
    let code = match kind {
        Kind::JpegEncoder => FourCc::JPEG,
        Kind::HevcEncoder => FourCc::HEVC,
        Kind::Vp8Encoder => FourCc::VP8,
        _ => FourCc::H264,
    };
    pixfmt::lookup(code).into_iter().collect()
}

/// Returns the initial OUTPUT format.
pub(super) fn first(
    kind: Kind,
    formats: &[&'static PixelFormat],
    wanted: Option<FourCc>,
    size: Size,
    stride: u32,
) -> Option<Format> {
    let fourcc = raw::first(formats, wanted)?;
    let pixel = formats.iter().find(|pixel| pixel.fourcc == fourcc)?;
    let mut format = Format::new(pixel, size.width(), size.height())?;
    format.color = raw::REC709;
    try_source(kind, formats, &format, stride)
}

/// Adjusts a format for OUTPUT.
pub(super) fn try_source(
    kind: Kind,
    formats: &[&'static PixelFormat],
    wanted: &Format,
    stride: u32,
) -> Option<Format> {
    let mut format = raw::negotiate(formats, wanted, sizes(kind), stride)?;
    let model = formats.first()?.model();
    format.color = match kind {
        // A JPEG file has no other colorimetry.
        Kind::JpegEncoder => raw::JPEG_PICTURE,
        _ => wanted.color.sanitized(model),
    };
    Some(format)
}

/// Returns the CAPTURE format for pictures of a format with the encoded part `crop`. Its size is in
/// whole macroblocks. `wanted_bytes` is a result of [`wish`].
pub(super) fn coded_for(
    kind: Kind,
    formats: &[&'static PixelFormat],
    source: &Format,
    crop: Rect,
    wanted_bytes: u32,
) -> Option<Format> {
    let pixel = *formats.first()?;
    let step = match kind {
        Kind::JpegEncoder => 1,
        _ => MACROBLOCK,
    };
    let (width, height) = (
        crop.width.next_multiple_of(step),
        crop.height.next_multiple_of(step),
    );
    let mut format = Format::new(pixel, width, height)?;
    let layout = pixel.compressed_layout(source.width, source.height, wanted_bytes);
    *format.planes.first_mut()? = layout;
    format.color = match kind {
        Kind::JpegEncoder => raw::JPEG,
        _ => source.color,
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

/// Returns the nearest supported interval. Neither part is 0.
pub(super) fn nearest_interval(wanted: Fraction) -> Fraction {
    let (seconds, frames) = (u64::from(wanted.numerator), u64::from(wanted.denominator));
    if seconds >= frames {
        Fraction::new(1, 1)
    } else if seconds.saturating_mul(u64::from(MAX_FPS)) < frames {
        Fraction::new(1, MAX_FPS)
    } else {
        wanted
    }
}

/// Returns the nearest supported rectangle: inside the picture, on whole pairs of pixels, and not
/// smaller than the encoder's limit.
pub(super) fn crop(
    format: &Format,
    wanted: Rect,
    flags: SelectionFlags,
    sizes: FrameSizes<'_>,
) -> Result<Rect, DriverError> {
    let even = |value: u32| match flags.contains(SelectionFlags::GE) {
        true => value.saturating_add(1) & !1,
        false => value & !1,
    };
    let least = sizes.nearest((0, 0), (1, 1));
    let width = even(wanted.width).clamp(least.0.min(format.width), format.width);
    let height = even(wanted.height).clamp(least.1.min(format.height), format.height);
    let smaller = width < wanted.width || height < wanted.height;
    let larger = width > wanted.width || height > wanted.height;
    if flags.contains(SelectionFlags::GE) && smaller || flags.contains(SelectionFlags::LE) && larger
    {
        return Err(ERANGE);
    }
    let place = |at: i32, room: u32| {
        let at = u32::try_from(at).unwrap_or(0).min(room) & !1;
        i32::try_from(at).unwrap_or(0)
    };
    Ok(Rect {
        left: place(wanted.left, format.width.saturating_sub(width)),
        top: place(wanted.top, format.height.saturating_sub(height)),
        width,
        height,
    })
}
