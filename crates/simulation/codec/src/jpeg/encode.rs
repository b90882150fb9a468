//! The JPEG encoder: baseline, 4:2:0 or 4:2:2.

use crate::job::{Config, Planes, Subsampling};
use crate::serve::{Codec, Out, Stop};
use jpeg_encoder::{
    ChromaSubsamplingMethod, Encoder as Library, ImageBuffer, JpegColorType, SamplingFactor,
};

/// Encodes pictures as JPEG files.
#[derive(Default)]
pub(crate) struct Encoder {
    settings: Option<(u8, Subsampling)>,
    file: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

/// Passes a picture to the JPEG library row by row, with a chroma sample for each pixel.
///
/// For this, each of the picture's chroma samples is repeated for all pixels that share it. The library takes
/// the chroma of one of these pixels, and so encodes exactly the picture's samples.
struct Rows<'a> {
    planes: &'a Planes<'a>,
    sampling: Subsampling,
    width: u16,
    height: u16,
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let width = usize::from(self.width);
        let [luma, cb, cr, _] = buffers;
        luma.extend_from_slice(self.row(0, usize::from(y), width));
        let line = match self.sampling {
            Subsampling::Yuv420 => y / 2,
            Subsampling::Yuv422 => y,
        };
        for (plane, buffer) in [(1, cb), (2, cr)] {
            let row = self.row(plane, usize::from(line), width.div_ceil(2));
            let start = buffer.len();
            buffer.resize(start + width, 0);
            for (pair, value) in buffer[start..].chunks_mut(2).zip(row) {
                pair.fill(*value);
            }
        }
    }
}

impl Rows<'_> {
    fn row(&self, plane: usize, y: usize, len: usize) -> &[u8] {
        let start = y * self.planes.strides[plane];
        self.planes.data[plane]
            .get(start..start + len)
            .unwrap_or_default()
    }
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
        let (Some((quality, sampling)), Ok(width), Ok(height)) = (
            self.settings,
            u16::try_from(picture.width),
            u16::try_from(picture.height),
        ) else {
            return out.corrupt(tag, "the encoder is not set up");
        };
        self.file.clear();
        let mut library = Library::new(&mut self.file, quality);
        library.set_sampling_factor(match sampling {
            Subsampling::Yuv420 => SamplingFactor::F_2_2,
            Subsampling::Yuv422 => SamplingFactor::F_2_1,
        });
        library.set_chroma_subsampling_method(ChromaSubsamplingMethod::Nearest);
        let rows = Rows {
            planes: picture,
            sampling,
            width,
            height,
        };
        match library.encode_image(rows) {
            Ok(()) => out.packet(tag, true, &[&self.file]),
            Err(e) => out.corrupt(tag, &format!("the picture cannot be encoded: {e}")),
        }
    }

    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }

    fn flush(&mut self, _: &mut Out) {}
}
