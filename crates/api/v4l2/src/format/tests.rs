use super::*;
use crate::pixfmt::lookup;

const SIZES: FrameSizes<'_> = FrameSizes::Stepwise {
    width: (2, 4096, 2),
    height: (2, 2304, 2),
};

fn offered() -> Vec<&'static PixelFormat> {
    [FourCc::YUYV, FourCc::NV12]
        .into_iter()
        .filter_map(lookup)
        .collect()
}

fn wanted(fourcc: FourCc, width: u32, height: u32) -> Format {
    let mut format = Format::new(lookup(FourCc::YUYV).unwrap(), 2, 2).unwrap();
    (format.fourcc, format.width, format.height) = (fourcc, width, height);
    format
}

#[test]
fn odd_and_huge_sizes_round_to_steps() {
    for (asked, granted) in [
        ((641, 481), (640, 480)),
        ((0, 0), (2, 2)),
        ((u32::MAX, 9999), (4096, 2304)),
    ] {
        let got = Format::negotiate(
            &wanted(FourCc::NV12, asked.0, asked.1),
            &offered(),
            SIZES,
            false,
        )
        .unwrap();
        assert_eq!((got.width, got.height), granted, "{asked:?}");
    }
}

#[test]
fn unknown_pixel_format_becomes_the_first() {
    let got = Format::negotiate(&wanted(FourCc(1), 64, 64), &offered(), SIZES, false).unwrap();
    assert_eq!(got.fourcc, FourCc::YUYV);
    assert_eq!(
        Format::negotiate(&wanted(FourCc(1), 64, 64), &[], SIZES, false),
        None
    );
}

#[test]
fn longer_lines_are_granted_and_sizes_follow() {
    let mut ask = wanted(FourCc::YUYV, 64, 64);
    ask.planes[0] = PlaneLayout {
        bytesperline: 256,
        sizeimage: u32::MAX,
    };
    let got = Format::negotiate(&ask, &offered(), SIZES, false).unwrap();
    assert_eq!(
        got.planes[0],
        PlaneLayout {
            bytesperline: 256,
            sizeimage: 256 * 64
        }
    );
    ask.planes[0].bytesperline = u32::MAX;
    let got = Format::negotiate(&ask, &offered(), SIZES, false).unwrap();
    assert_eq!(got.planes[0].bytesperline, MAX_BYTESPERLINE);
}

#[test]
fn an_output_keeps_known_colours_only() {
    let mut ask = wanted(FourCc::YUYV, 64, 64);
    ask.color = Colorimetry {
        colorspace: 1,
        xfer_func: 99,
        ycbcr_enc: 2,
        quantization: 3,
    };
    let got = Format::negotiate(&ask, &offered(), SIZES, true).unwrap();
    assert_eq!(
        got.color,
        Colorimetry {
            colorspace: 1,
            xfer_func: 0,
            ycbcr_enc: 2,
            quantization: 0
        }
    );
    let got = Format::negotiate(&ask, &offered(), SIZES, false).unwrap();
    assert_eq!(got.color.colorspace, 3);
    for nonsense in [0, 4, 7, 13, u32::MAX] {
        ask.color.colorspace = nonsense;
        let got = Format::negotiate(&ask, &offered(), SIZES, true).unwrap();
        assert_eq!(got.color.colorspace, 3, "{nonsense}");
    }
}

#[test]
fn membership_and_intervals() {
    assert!(SIZES.contains(640, 480));
    assert!(!SIZES.contains(641, 480) && !SIZES.contains(4098, 480) && !SIZES.contains(0, 2));
    assert_eq!(Fraction::new(1, 30).as_nanos(), Some(33_333_333));
    assert_eq!(Fraction::new(1, 0).as_nanos(), None);
}

#[test]
fn only_listed_discrete_sizes_are_offered() {
    let sizes = FrameSizes::Discrete(&[(1280, 720), (640, 480), (320, 240)]);
    assert!(sizes.contains(640, 480) && !sizes.contains(640, 360));
    for (asked, granted) in [
        ((640, 480), (640, 480)),
        ((0, 0), (320, 240)),
        ((u32::MAX, u32::MAX), (1280, 720)),
        ((640, 360), (640, 480)),
        ((1000, 650), (1280, 720)),
    ] {
        let ask = wanted(FourCc::NV12, asked.0, asked.1);
        let got = Format::negotiate(&ask, &offered(), sizes, false).unwrap();
        assert_eq!((got.width, got.height), granted, "{asked:?}");
    }
}
