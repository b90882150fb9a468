//! Formats of raw pictures on one side of a codec.

use crate::Failure;
use crate::settings::Settings;
use crate::surface::align_lines;
use vb3_codec::Kind;
use vb3_v4l2::pixfmt::{self, ColorModel};
use vb3_v4l2::{Colorimetry, Flow, Format, FourCc, FrameSizes, PixelFormat, PlaneLayout, sys};

/// The default colorimetry.
pub(crate) const REC709: Colorimetry = Colorimetry::for_model(ColorModel::Yuv);
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

pub(crate) fn formats(kind: Kind, mplane: bool) -> Vec<&'static PixelFormat> {
    let has_ten_bits = kind.row().is_some_and(|row| row.has_ten_bits);
    let others = match kind.is_stateless() {
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

pub(super) const fn coded_color(fourcc: FourCc) -> Colorimetry {
    if fourcc.0 == FourCc::JPEG.0 {
        JPEG
    } else {
        REC709
    }
}

/// The formats of raw pictures, with their limits.
pub(crate) struct RawFormats {
    /// The queue of raw pictures. The other queue has the stream or files.
    pub(crate) flow: Flow,
    pub(crate) pixels: Vec<&'static PixelFormat>,
    pub(crate) sizes: FrameSizes<'static>,
    /// Line lengths are multiples of this many bytes.
    pub(crate) stride: u32,
}

impl RawFormats {
    pub(crate) fn new(settings: &Settings, flow: Flow, sizes: FrameSizes<'static>) -> Self {
        Self {
            flow,
            pixels: settings.pixels.clone(),
            sizes,
            stride: settings.stride,
        }
    }

    /// Returns the initial formats of a decoder: OUTPUT's at this size, and CAPTURE's.
    /// Fails, with a message for the user, if the user chose an unsupported format.
    pub(super) fn first_formats(
        &self,
        settings: &Settings,
        coded: FourCc,
        (width, height): (u32, u32),
    ) -> Result<(Format, Format), Failure> {
        let find = || {
            let mut start = Format::new(pixfmt::lookup(coded)?, width, height)?;
            start.color = coded_color(start.fourcc);
            let mut fourccs = self.pixels.iter().map(|pixel| pixel.fourcc);
            let fourcc =
                fourccs.find(|fourcc| settings.format.is_none_or(|wanted| *fourcc == wanted))?;
            Some((start, self.like(fourcc, &start)?))
        };
        find().ok_or_else(|| settings.no_such_format())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry;
    use crate::tests::bench::host;
    use vb3_v4l2::Rect;

    #[test]
    fn raw_formats_depend_on_codec_and_planarity() {
        use FourCc as F;
        for (kind, mplane, wanted) in [
            (Kind::H264Decoder, true, &[F::NV12, F::NV12M, F::YUV420][..]),
            (Kind::H264Decoder, false, &[F::NV12, F::YUV420]),
            (Kind::Vp9Decoder, false, &[F::NV12, F::YUV420, F::P010]),
            (Kind::H264StatelessDecoder, true, &[F::NV12]),
        ] {
            let found: Vec<FourCc> = formats(kind, mplane).iter().map(|p| p.fourcc).collect();
            assert_eq!(found, wanted, "{kind:?}");
        }
    }

    #[test]
    fn raw_formats_follow_the_stream() {
        let text = "h264dec,stride=64,format=YU12";
        let settings = registry::settings(&text.parse().expect("a SPEC"), &host());
        let sizes = FrameSizes::Stepwise {
            width: (16, 4096, 2),
            height: (16, 4096, 2),
        };
        let raw = RawFormats::new(&settings, Flow::Capture, sizes);
        let first = raw.first_formats(&settings, FourCc::H264, (100, 50));
        let (coded, first) = first.expect("YU12");
        assert_eq!((coded.fourcc, coded.color), (FourCc::H264, REC709));
        assert_eq!(
            (first.fourcc, first.width, first.height),
            (FourCc::YUV420, 100, 50)
        );
        assert_eq!(first.planes[0].bytesperline, 128);
        let mut odd = coded;
        (odd.width, odd.height) = (65, 33);
        odd.planes[0].bytesperline = 4096;
        odd.color.colorspace = 10;
        let like = raw.like(FourCc::NV12, &odd).expect("NV12");
        assert_eq!(
            (like.fourcc, like.width, like.height),
            (FourCc::NV12, 66, 34)
        );
        assert_eq!(
            (like.planes[0].bytesperline, like.color.colorspace),
            (128, 10)
        );
        odd.fourcc = FourCc::JPEG;
        let like = raw.like(FourCc::NV12, &odd).expect("NV12");
        assert_eq!(like.color, JPEG_PICTURE);
        assert_eq!(
            coded_color(FourCc::JPEG).colorspace,
            sys::V4L2_COLORSPACE_JPEG
        );
        // A program can choose the pixel format only.
        let mut wanted = first;
        (wanted.fourcc, wanted.width, wanted.height) = (FourCc::NV12, 640, 480);
        wanted.color.colorspace = 3;
        let now = raw.negotiate_like(&wanted, &first).expect("NV12");
        let visible = Rect::whole(now.width, now.height);
        assert_eq!((now.fourcc, visible), (FourCc::NV12, Rect::whole(100, 50)));
        assert_eq!(now.color, first.color);
    }
}
