//! Formats of a decoder's queues, and the stream's format.

use crate::m2m::raw;
use vb3_picture::{HEIGHT_MAX, WIDTH_MAX};
use vb3_v4l2::{Format, FrameSizes, PixelFormat};

/// Sizes of pictures in pixels. The minimum is 2, because a stream may crop its pictures that far.
pub(super) const SIZES: FrameSizes<'static> = FrameSizes::Stepwise {
    width: (2, WIDTH_MAX, 2),
    height: (2, HEIGHT_MAX, 2),
};

/// Adjusts a format for OUTPUT.
///
/// Keeps any colorimetry, even for JPEG, whose pictures have only one colorimetry. GStreamer requests BT.601
/// for JPEG files and fails if it gets another.
pub(super) fn try_coded(coded: &[&'static PixelFormat], wanted: &Format, now: &Format) -> Format {
    let Some(mut format) = Format::negotiate(wanted, coded, SIZES, true) else {
        return *now;
    };
    // Buffers hold the largest frame. ffmpeg requests half of that, and truncates longer frames.
    if let (Some(pixel), Some(plane)) = (coded.first(), format.planes.first_mut()) {
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
