//! The JPEG decoder. Each piece of input is one file.

use crate::job::{Field, Planes, StreamColor, StreamFormat};
use crate::serve::{Codec, Out, Stop};
use crate::slots::Layout;
use crate::{MAX_HEIGHT, MAX_WIDTH};
use libjpeg_turbo_rs::{ColorSpace, DecodeWarning, Decoder as Library, RawImage};

/// Decodes JPEG files to pictures.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The format that the host has accepted.
    format: Option<StreamFormat>,
    picture: Vec<u8>,
}

/// A decoded file: the samples that it contains, and each component's sampling factors.
struct Image {
    width: u32,
    height: u32,
    raw: RawImage,
    sampling: Vec<(usize, usize)>,
}

impl Codec for Decoder {
    fn decode(&mut self, tag: u64, data: &[u8], out: &mut Out) -> Result<(), Stop> {
        if data.is_empty() {
            return Ok(());
        }
        let (image, damage) = match read(data) {
            Ok(read) => read,
            Err(sentence) => return out.corrupt(tag, &sentence),
        };
        // A partial picture is better than no picture.
        if let Some(damage) = &damage {
            out.corrupt(tag, damage)?;
        }
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
        for (component, plane) in planes.iter_mut().enumerate() {
            take(&image, component, layout.plane(component).0, plane);
        }
        let picture = Planes {
            width: image.width,
            height: image.height,
            data: planes.map(|plane| &*plane),
            strides: layout.strides(),
        };
        out.picture(tag, damage.is_some(), &picture, Field::Progressive)
    }
}

/// Decodes a file. Fills in missing parts with grey, and then also returns a message about the damage.
fn read(data: &[u8]) -> Result<(Image, Option<String>), String> {
    let broken = |e: &dyn std::fmt::Display| format!("the JPEG file is damaged: {e}");
    let mut library = Library::new(data).map_err(|e| broken(&e))?;
    let header = library.header();
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    if width > MAX_WIDTH || height > MAX_HEIGHT {
        return Err(format!(
            "a picture of {width}x{height} is larger than {MAX_WIDTH}x{MAX_HEIGHT}"
        ));
    }
    let factors = |c: &libjpeg_turbo_rs::ComponentInfo| {
        (
            usize::from(c.horizontal_sampling),
            usize::from(c.vertical_sampling),
        )
    };
    let sampling = header.components.iter().map(factors).collect();
    match library.jpeg_color_space() {
        ColorSpace::Grayscale | ColorSpace::YCbCr => {}
        other => return Err(format!("a JPEG file of {other:?} cannot be decoded")),
    }
    library.set_lenient(true);
    let (raw, warnings) = (library.decode_raw_with_warnings()).map_err(|e| broken(&e))?;
    let is_harmless = |warning: &&DecodeWarning| {
        // Cameras leave bytes between segments.
        !matches!(warning, DecodeWarning::ExtraneousData { .. })
    };
    let damage = warnings.iter().find(is_harmless).map(|e| broken(e));
    let image = Image {
        width,
        height,
        raw,
        sampling,
    };
    Ok((image, damage))
}

/// Returns the format of a JFIF file: sRGB colours, Rec. 601 matrix, full range.
fn format(width: u32, height: u32) -> StreamFormat {
    StreamFormat {
        color: StreamColor {
            primaries: 1,
            transfer: 13,
            matrix: 5,
            full_range: true,
        },
        ..StreamFormat::of_size(width, height)
    }
}

/// Takes a component's plane, with rows of `columns` samples. If the file has one sample for each sample of
/// the plane, the file's samples stay exact. If the file has more samples, each sample of the plane is the
/// mean of the file's samples at its place.
fn take(image: &Image, component: usize, columns: usize, plane: &mut [u8]) {
    let max = |of: fn(&(usize, usize)) -> usize| image.sampling.iter().map(of).max().unwrap_or(1);
    let (max_across, max_down) = (max(|it| it.0), max(|it| it.1));
    let raw = &image.raw;
    let (Some(samples), Some(&stride), Some(&(across, down))) = (
        raw.planes.get(component),
        raw.plane_widths.get(component),
        image.sampling.get(component),
    ) else {
        // A grey picture.
        return plane.fill(128);
    };
    // The pixels of the picture that share a sample of the plane.
    let shared = if component == 0 { 1 } else { 2 };
    // The last pixel without a neighbour is its own neighbour.
    let (last_column, last_row) = (raw.width.max(1) - 1, raw.height.max(1) - 1);
    let column = |x: usize| x.min(last_column) * across / max_across;
    let row = |y: usize| {
        let start = (y.min(last_row) * down / max_down) * stride;
        samples.get(start..start + stride).unwrap_or_default()
    };
    let is_exact = |own: usize, max: usize| own * shared == max;
    let is_copied = is_exact(across, max_across) && is_exact(down, max_down);
    for (y, line) in plane.chunks_mut(columns).enumerate() {
        let (above, below) = (row(shared * y), row(shared * y + shared - 1));
        if is_copied {
            let len = line.len().min(above.len());
            line[..len].copy_from_slice(&above[..len]);
            continue;
        }
        for (x, sample) in line.iter_mut().enumerate() {
            let (left, right) = (column(shared * x), column(shared * x + shared - 1));
            let at = |row: &[u8], x: usize| u32::from(row.get(x).copied().unwrap_or(128));
            let sum = at(above, left) + at(above, right) + at(below, left) + at(below, right);
            // CAST: the mean of four bytes is at most 255.
            *sample = ((sum + 2) / 4) as u8;
        }
    }
}
