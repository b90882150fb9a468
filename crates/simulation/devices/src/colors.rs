//! The colorimetry of the devices' pictures.

use vb3_picture::{Color, Matrix, Quantization};
use vb3_v4l2::pixfmt::{self, ColorModel};
use vb3_v4l2::{Colorimetry, FourCc, PixelFormat, sys};

/// The devices' colorimetry: sRGB primaries. For Y'CbCr, this implies BT.601 in limited range, which
/// [`vb3_picture`] uses.
pub(crate) const COLOR: Colorimetry = Colorimetry::for_model(ColorModel::Rgb);

/// Returns the colorimetry that a display assumes if the program sets none.
pub(crate) fn default_color(fourcc: FourCc) -> Colorimetry {
    pixfmt::lookup(fourcc).map_or(COLOR, |pixel| Colorimetry::for_model(pixel.model()))
}

/// Returns the colorimetry of a camera's pictures. JPEG files have BT.601 in full range.
pub(crate) fn captured(pixel: &PixelFormat) -> Colorimetry {
    match pixel.is_compressed() {
        true => Colorimetry {
            ycbcr_enc: sys::V4L2_YCBCR_ENC_601,
            quantization: sys::V4L2_QUANTIZATION_FULL_RANGE,
            ..COLOR
        },
        false => COLOR,
    }
}

/// Returns the Y'CbCr encoding of a V4L2 colour description.
pub(crate) const fn color_of(color: &Colorimetry) -> Color {
    Color {
        matrix: match (color.ycbcr_enc, color.colorspace) {
            (sys::V4L2_YCBCR_ENC_709 | sys::V4L2_YCBCR_ENC_XV709, _)
            | (0, sys::V4L2_COLORSPACE_REC709 | sys::V4L2_COLORSPACE_DCI_P3) => Matrix::Bt709,
            (sys::V4L2_YCBCR_ENC_BT2020, _) | (0, sys::V4L2_COLORSPACE_BT2020) => Matrix::Bt2020,
            _ => Matrix::Bt601,
        },
        // Colour space 7 (JPEG), whose default is full range, is only for JPEG files.
        range: match color.quantization {
            sys::V4L2_QUANTIZATION_FULL_RANGE => Quantization::Full,
            _ => Quantization::Limited,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: Linux include/uapi/linux/videodev2.h `V4L2_MAP_YCBCR_ENC_DEFAULT`.
    #[test]
    fn the_encoding_follows_the_colour_space() {
        for (colorspace, ycbcr_enc, matrix) in [
            (sys::V4L2_COLORSPACE_SRGB, 0, Matrix::Bt601),
            (sys::V4L2_COLORSPACE_REC709, 0, Matrix::Bt709),
            (sys::V4L2_COLORSPACE_DCI_P3, 0, Matrix::Bt709),
            (sys::V4L2_COLORSPACE_BT2020, 0, Matrix::Bt2020),
            (
                sys::V4L2_COLORSPACE_BT2020,
                sys::V4L2_YCBCR_ENC_709,
                Matrix::Bt709,
            ),
            (
                sys::V4L2_COLORSPACE_REC709,
                sys::V4L2_YCBCR_ENC_BT2020,
                Matrix::Bt2020,
            ),
            (
                sys::V4L2_COLORSPACE_REC709,
                sys::V4L2_YCBCR_ENC_601,
                Matrix::Bt601,
            ),
            (
                sys::V4L2_COLORSPACE_SRGB,
                sys::V4L2_YCBCR_ENC_XV709,
                Matrix::Bt709,
            ),
        ] {
            let color = |quantization| Colorimetry {
                colorspace,
                ycbcr_enc,
                quantization,
                ..COLOR
            };
            for (quantization, range) in [
                (sys::V4L2_QUANTIZATION_FULL_RANGE, Quantization::Full),
                (sys::V4L2_QUANTIZATION_LIM_RANGE, Quantization::Limited),
                (0, Quantization::Limited),
            ] {
                let found = color_of(&color(quantization));
                assert_eq!((found.matrix, found.range), (matrix, range));
            }
        }
    }
}
