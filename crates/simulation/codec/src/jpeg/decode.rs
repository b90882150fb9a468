//! The JPEG decoder. Each piece of input is one file.

use crate::job::{Colour, Config, Field, Planes, StreamFormat};
use crate::serve::{Codec, Out, Stop};
use crate::slots::Layout;
use crate::{MAX_HEIGHT, MAX_WIDTH};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Decodes JPEG files to pictures.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The format that the host has accepted.
    format: Option<StreamFormat>,
    picture: Vec<u8>,
}

/// A decoded file, as the JPEG library returns it.
struct Image {
    width: u32,
    height: u32,
    /// Whether `bytes` has only Y, rather than Y, Cb and Cr for each pixel.
    grey: bool,
    bytes: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

impl Codec for Decoder {
    fn configure(&mut self, _: Config) {}

    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        if data.is_empty() {
            return Ok(());
        }
        let (image, damaged) = match read(data, true) {
            Ok(image) => (image, false),
            Err(sentence) => {
                out.corrupt(tag, &sentence)?;
                // A partial picture is better than no picture.
                match read(data, false) {
                    Ok(image) => (image, true),
                    Err(_) => return Ok(()),
                }
            }
        };
        let Some(layout) = Layout::new(image.width, image.height) else {
            return Ok(());
        };
        let format = format(image.width, image.height);
        if self.format != Some(format) {
            out.format(&format)?;
            self.format = Some(format);
        }
        self.picture.resize(layout.len(), 0);
        let Some(mut planes) = layout.split_mut(&mut self.picture) else {
            return Ok(());
        };
        separate(&image, &layout, &mut planes);
        let picture = Planes {
            width: image.width,
            height: image.height,
            data: planes.map(|plane| &*plane),
            strides: layout.strides(),
        };
        out.picture(tag, damaged, &picture, Field::Progressive)
    }

    fn drain(&mut self, _: &mut Out) -> Result<(), Stop> {
        Ok(())
    }

    fn flush(&mut self, _: &mut Out) {}
}

/// Decodes a file. Unless `strict`, missing parts are filled in.
fn read(data: &[u8], strict: bool) -> Result<Image, String> {
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut library = JpegDecoder::new_with_options(ZCursor::new(data), options);
    let broken = |e| format!("the JPEG file is damaged: {e:?}");
    library.decode_headers().map_err(broken)?;
    let info = library.info().ok_or("the JPEG file has no picture")?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if width > MAX_WIDTH || height > MAX_HEIGHT {
        return Err(format!(
            "a picture of {width}x{height} is larger than {MAX_WIDTH}x{MAX_HEIGHT}"
        ));
    }
    let grey = match library.input_colorspace() {
        Some(ColorSpace::Luma) => true,
        Some(ColorSpace::YCbCr) => false,
        other => return Err(format!("a JPEG file of {other:?} cannot be decoded")),
    };
    let wanted = if grey {
        ColorSpace::Luma
    } else {
        ColorSpace::YCbCr
    };
    library.set_options(options.jpeg_set_out_colorspace(wanted));
    let bytes = library.decode().map_err(broken)?;
    let pixels = width as usize * height as usize;
    if bytes.len() != pixels * if grey { 1 } else { 3 } {
        return Err("the JPEG file is damaged: it has another size than it says".to_owned());
    }
    Ok(Image {
        width,
        height,
        grey,
        bytes,
    })
}

/// Returns the format of a JFIF file: sRGB colours, Rec. 601 matrix, full range.
fn format(width: u32, height: u32) -> StreamFormat {
    StreamFormat {
        colour: Colour {
            primaries: 1,
            transfer: 13,
            matrix: 5,
            full_range: true,
        },
        ..StreamFormat::of_size(width, height)
    }
}

/// Separates pixels into planes. Chroma is the mean of up to four pixels.
fn separate(image: &Image, layout: &Layout, planes: &mut [&mut [u8]; 3]) {
    let [luma, cb, cr] = planes;
    if image.grey {
        luma.copy_from_slice(&image.bytes);
        cb.fill(128);
        cr.fill(128);
        return;
    }
    for (y, pixel) in luma.iter_mut().zip(image.bytes.chunks_exact(3)) {
        *y = pixel[0];
    }
    let row_len = image.width as usize * 3;
    let half = layout.plane(1).0;
    let rows = image.bytes.chunks(2 * row_len);
    for ((two, cb), cr) in rows.zip(cb.chunks_mut(half)).zip(cr.chunks_mut(half)) {
        let (above, below) = two.split_at(row_len);
        let below = if below.is_empty() { above } else { below };
        let blocks = above.chunks(6).zip(below.chunks(6));
        for (((above, below), cb), cr) in blocks.zip(cb).zip(cr) {
            let mean = |at: usize| {
                let right = if above.len() == 6 { at + 3 } else { at };
                let sum = u32::from(above[at])
                    + u32::from(above[right])
                    + u32::from(below[at])
                    + u32::from(below[right]);
                // CAST: the mean of four bytes is at most 255.
                ((sum + 2) / 4) as u8
            };
            *cb = mean(1);
            *cr = mean(2);
        }
    }
}
