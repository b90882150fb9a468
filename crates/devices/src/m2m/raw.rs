//! Raw pictures on one side of a codec.

use super::decoder::table::is_stateless;
use crate::surface::align_lines;
use vb3_codec::Kind;
use vb3_v4l2::{Colorimetry, Format, FourCc, FrameSizes, PixelFormat, PlaneLayout, pixfmt};

/// `V4L2_COLORSPACE_REC709`, the default.
pub(crate) const REC709: Colorimetry = Colorimetry {
    colorspace: 3,
    xfer_func: 0,
    ycbcr_enc: 0,
    quantization: 0,
};
/// A JPEG file's `V4L2_COLORSPACE_JPEG`, which implies everything.
pub(crate) const JPEG: Colorimetry = Colorimetry {
    colorspace: 7,
    ..REC709
};
/// The only colorimetry of pictures in JPEG files: sRGB, BT.601's matrix, full range.
pub(crate) const JPEG_PICTURE: Colorimetry = Colorimetry {
    colorspace: 8,
    xfer_func: 2,
    ycbcr_enc: 1,
    quantization: 1,
};

/// Returns the raw formats of a codec.
pub(crate) fn formats(kind: Kind, mplane: bool) -> Vec<&'static PixelFormat> {
    let has_ten_bits = matches!(
        kind,
        Kind::HevcDecoder | Kind::Vp9Decoder | Kind::Av1Decoder
    );
    let others = match is_stateless(kind) {
        true => &[][..],
        false => &[FourCc::NV12M, FourCc::YUV420],
    };
    std::iter::once(FourCc::NV12)
        .chain(others.iter().copied())
        .chain(has_ten_bits.then_some(FourCc::P010))
        .filter_map(pixfmt::lookup)
        .filter(|pixel| mplane || pixel.memory_planes == 1)
        .collect()
}

/// Returns the wanted format of a SPEC if it is supported, or the first.
pub(crate) fn first(raw: &[&'static PixelFormat], wanted: Option<FourCc>) -> Option<FourCc> {
    let pixel = match wanted {
        Some(wanted) => raw.iter().find(|pixel| pixel.fourcc == wanted),
        None => raw.first(),
    };
    Some(pixel?.fourcc)
}

/// Returns a raw format with another's size and picture colorimetry.
pub(crate) fn like(
    raw: &[&'static PixelFormat],
    fourcc: FourCc,
    like: &Format,
    sizes: FrameSizes,
    stride: u32,
) -> Option<Format> {
    let wanted = Format {
        fourcc,
        planes: [PlaneLayout::default(); vb3_queue::MAX_PLANES],
        ..*like
    };
    let mut format = negotiate(raw, &wanted, sizes, stride)?;
    if like.fourcc == FourCc::JPEG {
        format.color = JPEG_PICTURE;
    }
    Some(format)
}

/// Adjusts a format. Lines are multiples of `stride` bytes, and any colorimetry is kept.
pub(crate) fn negotiate(
    raw: &[&'static PixelFormat],
    wanted: &Format,
    sizes: FrameSizes,
    stride: u32,
) -> Option<Format> {
    let format = Format::negotiate(wanted, raw, sizes, false)?;
    let mut format = align_lines(format, raw, stride)?;
    format.color = wanted.color;
    Some(format)
}

/// Adjusts a format. Size and colorimetry are those of `now`.
pub(crate) fn negotiate_like(
    raw: &[&'static PixelFormat],
    wanted: &Format,
    now: &Format,
    sizes: FrameSizes<'_>,
    stride: u32,
) -> Option<Format> {
    let wanted = Format {
        width: now.width,
        height: now.height,
        color: now.color,
        ..*wanted
    };
    negotiate(raw, &wanted, sizes, stride)
}
