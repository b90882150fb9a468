//! Conversion of colour descriptions between V4L2 and streams (ITU-T H.273).

use vb3_codec::StreamColor;
use vb3_v4l2::Colorimetry;
use vb3_v4l2::sys::{
    V4L2_COLORSPACE_470_SYSTEM_BG as SYSTEM_BG, V4L2_COLORSPACE_470_SYSTEM_M as SYSTEM_M,
    V4L2_COLORSPACE_BT2020 as BT2020, V4L2_COLORSPACE_DCI_P3 as DCI_P3,
    V4L2_COLORSPACE_JPEG as JPEG, V4L2_COLORSPACE_OPRGB as OPRGB, V4L2_COLORSPACE_RAW as RAW,
    V4L2_COLORSPACE_REC709 as REC709, V4L2_COLORSPACE_SMPTE170M as SMPTE170M,
    V4L2_COLORSPACE_SMPTE240M as SMPTE240M, V4L2_COLORSPACE_SRGB as SRGB,
};

/// Converts a stream's colour description to V4L2's. Parts that the stream leaves open stay unchanged.
pub(super) fn colorimetry_of(color: StreamColor, before: Colorimetry) -> Colorimetry {
    let colorspace = match color.primaries {
        // sRGB has the same primaries as Rec. 709.
        1 if color.transfer == 13 => SRGB,
        1 => REC709,
        4 => SYSTEM_M,
        5 => SYSTEM_BG,
        6 => SMPTE170M,
        7 => SMPTE240M,
        9 => BT2020,
        11 | 12 => DCI_P3,
        _ => before.colorspace,
    };
    let xfer_func = match color.transfer {
        // Curves 11 and 12 equal Rec. 709's between black and white, and extend it beyond.
        1 | 6 | 11 | 12 | 14 | 15 => 1,
        7 => 4,
        8 => 5,
        13 => 2,
        16 => 7,
        17 => 6,
        _ => before.xfer_func,
    };
    let ycbcr_enc = match (color.matrix, color.transfer) {
        (5 | 6, 11) => 3,
        (1, 11) => 4,
        (1, _) => 2,
        (5 | 6, _) => 1,
        (7, _) => 8,
        (9, _) => 6,
        (10, _) => 7,
        _ => before.ycbcr_enc,
    };
    Colorimetry {
        colorspace,
        xfer_func,
        ycbcr_enc,
        // The range is full only if the stream says so.
        quantization: if color.full_range { 1 } else { 2 },
    }
}

/// Converts V4L2's colour description of Y'CbCr to a stream's. Replaces V4L2's defaults by their meaning.
/// H.273 has no code points for opRGB, which becomes "unspecified" (2).
pub(super) const fn stream_color_of(color: Colorimetry) -> StreamColor {
    let ycbcr_enc = match (color.ycbcr_enc, color.colorspace) {
        (0, REC709 | DCI_P3) => 2,
        (0, BT2020) => 6,
        (0, SMPTE240M) => 8,
        (0, 0 | RAW) => 0,
        (0, _) => 1,
        (said, _) => said,
    };
    let xfer_func = match (color.xfer_func, color.colorspace) {
        (0, OPRGB) => 3,
        (0, SMPTE240M) => 4,
        (0, DCI_P3) => 6,
        (0, RAW) => 5,
        (0, SRGB | JPEG) => 2,
        (0, 0) => 0,
        (0, _) => 1,
        (said, _) => said,
    };
    StreamColor {
        primaries: match color.colorspace {
            REC709 | SRGB | JPEG => 1,
            SYSTEM_M => 4,
            SYSTEM_BG => 5,
            SMPTE170M => 6,
            SMPTE240M => 7,
            BT2020 => 9,
            DCI_P3 => 11,
            _ => 2,
        },
        transfer: match (xfer_func, color.colorspace) {
            (1, _) if ycbcr_enc == 3 || ycbcr_enc == 4 => 11,
            (1, SMPTE170M | SYSTEM_BG) => 6,
            (1, BT2020) => 14,
            (1, _) => 1,
            (2, _) => 13,
            (4, _) => 7,
            (5, _) => 8,
            (6, _) => 17,
            (7, _) => 16,
            _ => 2,
        },
        matrix: match (ycbcr_enc, color.colorspace) {
            (1 | 3 | 5, SYSTEM_BG) => 5,
            (1 | 3 | 5, _) => 6,
            (2 | 4, _) => 1,
            (6, _) => 9,
            (7, _) => 10,
            (8, _) => 7,
            _ => 2,
        },
        full_range: color.quantization == 1 || color.quantization == 0 && color.colorspace == JPEG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn color(colorspace: u32, xfer_func: u32, ycbcr_enc: u32, quantization: u32) -> Colorimetry {
        Colorimetry {
            colorspace,
            xfer_func,
            ycbcr_enc,
            quantization,
        }
    }

    #[test]
    fn defaults_are_spelt_out() {
        // Each row: a colour space with its default transfer function and encoding.
        for (space, xfer, enc) in [
            (1, 1, 1),
            (2, 4, 8),
            (3, 1, 2),
            (5, 1, 1),
            (6, 1, 1),
            (8, 2, 1),
            (10, 1, 6),
            (12, 6, 2),
        ] {
            let said = stream_color_of(color(space, 0, 0, 0));
            let back = colorimetry_of(said, Colorimetry::default());
            assert_eq!(back, color(space, xfer, enc, 2), "{said:?}");
        }
        let said = stream_color_of(color(7, 0, 0, 0));
        let back = colorimetry_of(said, Colorimetry::default());
        assert_eq!(back, color(8, 2, 1, 1));
    }

    #[test]
    fn what_is_said_comes_back() {
        let all = |n: u32| 1..=n;
        for space in [1, 2, 3, 5, 6, 8, 10, 12] {
            for (xfer, enc) in all(7).flat_map(|xfer| all(8).map(move |enc| (xfer, enc))) {
                // These have no code point: opRGB's curve, and sYCC, which equals BT.601.
                if xfer == 3 || enc == 5 {
                    continue;
                }
                // The wide-gamut matrices determine the curve.
                if (enc == 3 || enc == 4) && xfer != 1 {
                    continue;
                }
                for range in [1, 2] {
                    // sRGB differs from Rec. 709 only in its curve.
                    let expected = match (space, xfer) {
                        (3, 2) => 8,
                        (8, other) if other != 2 => 3,
                        _ => space,
                    };
                    let said = stream_color_of(color(space, xfer, enc, range));
                    let back = colorimetry_of(said, Colorimetry::default());
                    assert_eq!(back, color(expected, xfer, enc, range), "{said:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_said_where_nothing_is_known() {
        assert_eq!(
            stream_color_of(Colorimetry::default()),
            StreamColor::default()
        );
        let before = color(9, 3, 5, 0);
        let back = colorimetry_of(stream_color_of(color(9, 0, 5, 0)), before);
        assert_eq!(back, color(9, 3, 1, 2));
    }
}
