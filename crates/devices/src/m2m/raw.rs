//! Formats of raw pictures on one side of a codec.

use super::stateless::is_stateless;
use crate::spec::DeviceSpec;
use crate::surface::align_lines;
use vb3_codec::Kind;
use vb3_v4l2::{Colorimetry, Format, FourCc, FrameSizes, PixelFormat, PlaneLayout, pixfmt, sys};

/// The default colorimetry.
pub(crate) const REC709: Colorimetry = Colorimetry {
    colorspace: sys::V4L2_COLORSPACE_REC709,
    xfer_func: 0,
    ycbcr_enc: 0,
    quantization: 0,
};
/// The colorimetry of JPEG files. The colorspace implies all other parts.
pub(crate) const JPEG: Colorimetry = Colorimetry {
    colorspace: sys::V4L2_COLORSPACE_JPEG,
    ..REC709
};
/// The only colorimetry of pictures in JPEG files: sRGB primaries, BT.601's matrix, full range.
pub(crate) const JPEG_PICTURE: Colorimetry = Colorimetry {
    colorspace: sys::V4L2_COLORSPACE_SRGB,
    xfer_func: sys::V4L2_XFER_FUNC_SRGB,
    ycbcr_enc: sys::V4L2_YCBCR_ENC_601,
    quantization: sys::V4L2_QUANTIZATION_FULL_RANGE,
};

/// Returns the raw formats that a codec supports.
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

/// Returns a decoder's initial OUTPUT format at this size.
pub(super) fn coded_at(coded: &[&'static PixelFormat], width: u32, height: u32) -> Option<Format> {
    let mut format = Format::new(coded.first()?, width, height)?;
    format.color = coded_color(format.fourcc);
    Some(format)
}

/// Returns the default colorimetry of a coded format.
pub(super) const fn coded_color(fourcc: FourCc) -> Colorimetry {
    if fourcc.0 == FourCc::JPEG.0 {
        JPEG
    } else {
        REC709
    }
}

/// The formats of raw pictures, with their limits.
#[derive(Debug)]
pub(crate) struct RawFormats {
    pub(crate) pixels: Vec<&'static PixelFormat>,
    pub(crate) sizes: FrameSizes<'static>,
    /// Line lengths are multiples of this many bytes.
    pub(crate) stride: u32,
}

impl RawFormats {
    pub(crate) fn new(
        spec: &DeviceSpec,
        pixels: Vec<&'static PixelFormat>,
        sizes: FrameSizes<'static>,
    ) -> Self {
        Self {
            pixels,
            sizes,
            stride: spec.stride.unwrap_or(1),
        }
    }

    /// Returns the format that a SPEC names, if it is supported; the first format if the SPEC names none.
    pub(crate) fn first(&self, wanted: Option<FourCc>) -> Option<&'static PixelFormat> {
        let mut pixels = self.pixels.iter().copied();
        pixels.find(|pixel| wanted.is_none_or(|wanted| pixel.fourcc == wanted))
    }

    /// Returns the format `fourcc` with the size and picture colorimetry of `like`. Odd sizes are rounded up.
    pub(crate) fn like(&self, fourcc: FourCc, like: &Format) -> Option<Format> {
        let even = |value: u32| value.saturating_add(value % 2);
        let wanted = Format {
            fourcc,
            width: even(like.width),
            height: even(like.height),
            planes: [PlaneLayout::default(); vb3_queue::MAX_PLANES],
            ..*like
        };
        let mut format = self.negotiate(&wanted)?;
        if like.fourcc == FourCc::JPEG {
            format.color = JPEG_PICTURE;
        }
        Some(format)
    }

    /// Adjusts a format, but keeps its colorimetry.
    pub(crate) fn negotiate(&self, wanted: &Format) -> Option<Format> {
        let format = Format::negotiate(wanted, &self.pixels, self.sizes, false)?;
        let mut format = align_lines(format, &self.pixels, self.stride)?;
        format.color = wanted.color;
        Some(format)
    }

    /// Adjusts a format, with the size and colorimetry of `now`.
    pub(crate) fn negotiate_like(&self, wanted: &Format, now: &Format) -> Option<Format> {
        self.negotiate(&Format {
            width: now.width,
            height: now.height,
            color: now.color,
            ..*wanted
        })
    }
}
