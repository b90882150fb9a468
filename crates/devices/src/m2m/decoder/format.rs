//! Formats of a decoder: what it takes, what it gives, and what the stream says.

use crate::picture::{HEIGHT_MAX, WIDTH_MAX};
use crate::spec::DeviceSpec;
use crate::surface::align_lines;
use vb3_codec::{Colour, Kind};
use vb3_v4l2::{Colorimetry, Format, FourCc, FrameSizes, PixelFormat, PlaneLayout, pixfmt};

/// Sizes of streams: from one macroblock, pictures of one pair of pixels being cropped ones.
pub(super) const SIZES: FrameSizes = FrameSizes {
    width: (2, WIDTH_MAX, 2),
    height: (2, HEIGHT_MAX, 2),
};

/// `V4L2_COLORSPACE_REC709`, what is said where nobody says anything.
const REC709: u32 = 3;
/// `V4L2_COLORSPACE_JPEG`.
const JPEG: u32 = 7;

/// What a decoder takes.
pub(super) fn coded(kind: Kind) -> Vec<&'static PixelFormat> {
    let code = match kind {
        Kind::JpegDecoder => FourCc::JPEG,
        _ => FourCc::H264,
    };
    pixfmt::lookup(code).into_iter().collect()
}

/// What it gives.
pub(super) fn raw(spec: &DeviceSpec) -> Vec<&'static PixelFormat> {
    [FourCc::NV12, FourCc::NV12M, FourCc::YUV420]
        .into_iter()
        .filter_map(pixfmt::lookup)
        .filter(|pixel| spec.mplane || pixel.memory_planes == 1)
        .collect()
}

/// The format that a SPEC asks for, or the first.
pub(super) fn first(raw: &[&'static PixelFormat], wanted: Option<FourCc>) -> Option<FourCc> {
    let wanted = raw.iter().find(|pixel| Some(pixel.fourcc) == wanted);
    Some(wanted.or_else(|| raw.first())?.fourcc)
}

/// A stream of so many pixels.
pub(super) fn coded_at(coded: &[&'static PixelFormat], width: u32, height: u32) -> Option<Format> {
    let mut format = Format::new(coded.first()?, width, height)?;
    format.color = default_color(format.fourcc);
    Some(format)
}

const fn default_color(fourcc: FourCc) -> Colorimetry {
    Colorimetry {
        colorspace: if fourcc.0 == FourCc::JPEG.0 {
            JPEG
        } else {
            REC709
        },
        xfer_func: 0,
        ycbcr_enc: 0,
        quantization: 0,
    }
}

/// What S_FMT makes of a wish for OUTPUT.
pub(super) fn try_coded(coded: &[&'static PixelFormat], wanted: &Format, now: &Format) -> Format {
    let Some(mut format) = Format::negotiate(wanted, coded, SIZES, true) else {
        return *now;
    };
    if wanted.color.colorspace == 0 {
        format.color = default_color(format.fourcc);
    } else if wanted.color.colorspace == JPEG {
        // Not one of raw pictures, but of these.
        format.color = wanted.color;
    }
    format
}

/// What S_FMT makes of a wish for CAPTURE: the size and the colours are the stream's.
pub(super) fn try_raw(
    raw: &[&'static PixelFormat],
    wanted: &Format,
    now: &Format,
    stride: u32,
) -> Format {
    let wanted = Format {
        width: now.width,
        height: now.height,
        ..*wanted
    };
    let format = Format::negotiate(&wanted, raw, SIZES, false);
    let Some(mut format) = format.and_then(|format| align_lines(format, raw, stride)) else {
        return *now;
    };
    format.color = now.color;
    format
}

/// A raw format of the size and colours of another.
pub(super) fn raw_like(
    raw: &[&'static PixelFormat],
    fourcc: FourCc,
    like: &Format,
    stride: u32,
) -> Option<Format> {
    let wanted = Format {
        fourcc,
        planes: [PlaneLayout::default(); vb3_queue::MAX_PLANES],
        ..*like
    };
    let format = Format::negotiate(&wanted, raw, SIZES, false)?;
    let mut format = align_lines(format, raw, stride)?;
    format.color = like.color;
    Some(format)
}

/// Colours of a stream in V4L2's terms; what it leaves open stays as it was.
pub(super) fn color_of(colour: Colour, before: Colorimetry) -> Colorimetry {
    let colorspace = match colour.primaries {
        1 => REC709,
        4 => 5,
        5 => 6,
        6 => 1,
        7 => 2,
        9 => 10,
        11 | 12 => 12,
        _ => before.colorspace,
    };
    let xfer_func = match colour.transfer {
        1 | 6 | 14 | 15 => 1,
        7 => 4,
        8 => 5,
        11 | 12 | 13 => 2,
        16 => 7,
        _ => before.xfer_func,
    };
    let ycbcr_enc = match colour.matrix {
        1 => 2,
        5 | 6 => 1,
        7 => 8,
        9 => 6,
        10 => 7,
        _ => before.ycbcr_enc,
    };
    Colorimetry {
        colorspace,
        xfer_func,
        ycbcr_enc,
        // Full range is only there if the stream says so.
        quantization: if colour.full_range { 1 } else { 2 },
    }
}
