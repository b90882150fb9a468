//! Raw pictures on one side of a codec.

use crate::spec::{DeviceKind, DeviceSpec};
use crate::surface::align_lines;
use vb3_codec::Kind;
use vb3_v4l2::{Colorimetry, Format, FourCc, FrameSizes, PixelFormat, PlaneLayout, pixfmt};

/// `V4L2_COLORSPACE_REC709`, what is said where nobody says anything.
pub(crate) const REC709: Colorimetry = Colorimetry {
    colorspace: 3,
    xfer_func: 0,
    ycbcr_enc: 0,
    quantization: 0,
};
/// Of a JPEG file: `V4L2_COLORSPACE_JPEG`, which says all.
pub(crate) const JPEG: Colorimetry = Colorimetry {
    colorspace: 7,
    ..REC709
};
/// Of the pictures in JPEG files, which know no other: sRGB, BT.601's matrix, full range.
pub(crate) const JPEG_PICTURE: Colorimetry = Colorimetry {
    colorspace: 8,
    xfer_func: 2,
    ycbcr_enc: 1,
    quantization: 1,
};

/// The raw formats of codecs.
pub(crate) fn formats(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    let has_ten_bits = matches!(
        spec.kind,
        DeviceKind::Decoder(Kind::HevcDecoder | Kind::Vp9Decoder | Kind::Av1Decoder)
    );
    [FourCc::NV12, FourCc::NV12M, FourCc::YUV420]
        .into_iter()
        .chain(has_ten_bits.then_some(FourCc::P010))
        .filter_map(pixfmt::lookup)
        .filter(|pixel| spec.mplane || pixel.memory_planes == 1)
        .collect()
}

/// The format that a SPEC asks for, if there is such a one, or the first.
pub(crate) fn first(raw: &[&'static PixelFormat], wanted: Option<FourCc>) -> Option<FourCc> {
    let pixel = match wanted {
        Some(wanted) => raw.iter().find(|pixel| pixel.fourcc == wanted),
        None => raw.first(),
    };
    Some(pixel?.fourcc)
}

/// A raw format of the size of another, and of the colours that its pictures have.
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

/// What is made of a wish: lines are multiples of `stride` bytes. Colours are those wished for,
/// whatever they are.
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
