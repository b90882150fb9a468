//! The JPEG encoder: baseline, 4:2:0 or 4:2:2.

use crate::job::{Config, Planes, Subsampling};
use crate::serve::{Codec, Out, Stop};
use libjpeg_turbo_rs::{Subsampling as Sampling, compress_raw};
use std::borrow::Cow;

/// Encodes pictures as JPEG files.
#[derive(Default)]
pub(crate) struct Encoder {
    settings: Option<(u8, Subsampling)>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }
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

impl Codec for Encoder {
    fn configure(&mut self, config: Config) {
        if let Config::JpegEncoder {
            quality, sampling, ..
        } = config
        {
            self.settings = Some((quality, sampling));
        }
    }

    fn encode(
        &mut self,
        tag: u64,
        picture: &Planes<'_>,
        _force_key: bool,
        out: &mut Out,
    ) -> Result<(), Stop> {
        let Some((quality, sampling)) = self.settings else {
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
        let planes = [0, 1, 2].map(|plane| dense(picture, plane, shapes[plane]));
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

    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }

    fn flush(&mut self, _: &mut Out) {}
}
