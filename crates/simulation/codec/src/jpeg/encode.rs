//! The JPEG encoder: baseline, 4:2:0 or 4:2:2.

use crate::job::{Config, Planes, Subsampling};
use crate::serve::{Codec, Out, Stop};
use libjpeg_turbo_rs::{Subsampling as Sampling, compress_raw};
use std::borrow::Cow;

/// Encodes pictures as JPEG files.
#[derive(Default)]
pub(crate) struct Encoder {
    /// Quality, subsampling, and whether pictures have limited range.
    settings: Option<(u8, Subsampling, bool)>,
}

/// Returns the samples of a plane without gaps between its rows.
fn dense<'a>(planes: &Planes<'a>, plane: usize, (columns, lines): (usize, usize)) -> Cow<'a, [u8]> {
    let (data, stride) = (planes.data[plane], planes.strides[plane]);
    if stride == columns {
        return data.into();
    }
    let rows = data.chunks(stride.max(1)).take(lines);
    let dense = rows.flat_map(|row| &row[..columns.min(row.len())]);
    Cow::Owned(dense.copied().collect())
}

/// Number of steps in limited range from black to white, and from the least to the greatest chroma.
const LUMA: u32 = 219;
const CHROMA: u32 = 224;

/// Stretches samples of limited range with `STEPS` steps to full range. `FROM` becomes `TO`; values are rounded.
///
/// The compiler vectorises the division by a constant.
fn stretch<const STEPS: u32, const FROM: u32, const TO: u32>(samples: &mut [u8]) {
    for sample in samples {
        // A whole number of `STEPS` is added, so that nothing is below zero.
        let scaled = u32::from(*sample) * 255 + STEPS / 2 + 256 * STEPS - FROM * 255;
        // CAST: `clamp` keeps it within a byte.
        *sample = (scaled / STEPS + TO)
            .clamp(256, 256 + 255)
            .wrapping_sub(256) as u8;
    }
}

impl Codec for Encoder {
    fn configure(&mut self, config: Config) {
        if let Config::JpegEncoder {
            quality,
            sampling,
            has_limited_range,
            ..
        } = config
        {
            self.settings = Some((quality, sampling, has_limited_range));
        }
    }

    fn encode(
        &mut self,
        tag: u64,
        picture: &Planes<'_>,
        _force_key: bool,
        out: &mut Out,
    ) -> Result<(), Stop> {
        let Some((quality, sampling, has_limited_range)) = self.settings else {
            return out.corrupt(tag, "the encoder is not set up");
        };
        // CAST: widening.
        let (width, height) = (picture.width as usize, picture.height as usize);
        let half = width.div_ceil(2);
        let (sampling, chroma) = match sampling {
            Subsampling::Yuv420 => (Sampling::S420, (half, height.div_ceil(2))),
            Subsampling::Yuv422 => (Sampling::S422, (half, height)),
        };
        let shapes = [(width, height), chroma, chroma];
        let mut planes = [0, 1, 2].map(|plane| dense(picture, plane, shapes[plane]));
        if has_limited_range {
            let [y, u, v] = &mut planes;
            stretch::<LUMA, 16, 0>(y.to_mut());
            stretch::<CHROMA, 128, 128>(u.to_mut());
            stretch::<CHROMA, 128, 128>(v.to_mut());
        }
        let file = compress_raw(
            &planes.each_ref().map(|plane| &**plane),
            &shapes.map(|shape| shape.0),
            &shapes.map(|shape| shape.1),
            width,
            height,
            quality,
            sampling,
        );
        match file {
            Ok(file) => out.packet(tag, true, &[&file]),
            Err(e) => out.corrupt(tag, &format!("the picture cannot be encoded: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_range_is_the_nearest_to_limited() {
        for sample in 0..=255_u8 {
            let exact = |steps: f64, from: f64, to: f64| {
                let level = ((f64::from(sample) - from) * 255.0 / steps + to).clamp(0.0, 255.0);
                level.round() as u8
            };
            let (mut luma, mut chroma) = ([sample], [sample]);
            stretch::<LUMA, 16, 0>(&mut luma);
            stretch::<CHROMA, 128, 128>(&mut chroma);
            assert_eq!(luma, [exact(219.0, 16.0, 0.0)], "{sample}");
            assert_eq!(chroma, [exact(224.0, 128.0, 128.0)], "{sample}");
        }
    }
}
