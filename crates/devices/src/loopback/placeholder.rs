//! Makes the pictures that readers get while no writer streams.

use crate::picture::Frame;
use std::path::PathBuf;
use vb3_v4l2::pixfmt::{self, Sample};
use vb3_v4l2::{Format, FourCc, PixelFormat};

/// The pictures that readers get while no writer streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// A black picture.
    Black,
    /// The last writer's last frame. Before the first writer, a black picture.
    Hold,
    /// The pictures of a file that ffmpeg decodes, scaled to the format.
    File(PathBuf),
}

/// Returns the pixel format if the loopback can make pictures of it.
pub(super) fn drawable(fourcc: FourCc) -> Option<&'static PixelFormat> {
    let pixel = pixfmt::lookup(fourcc)?;
    let packs_chroma = matches!(fourcc, FourCc::YUV444 | FourCc::YUV555 | FourCc::YUV565);
    (!pixel.is_compressed() && !packs_chroma).then_some(pixel)
}

/// Returns the bytes of a black picture.
pub(super) fn black(format: &Format) -> Option<Vec<u8>> {
    let pixel = drawable(format.fourcc)?;
    draw(format, |index, line, to| {
        let cell = pixel.components.get(index)?.cell;
        let samples = cell.get(line % cell.len().max(1))?.iter();
        let samples: Vec<u8> = samples
            .flat_map(|sample| black_sample(pixel, *sample))
            .collect();
        to.iter_mut()
            .zip(samples.iter().cycle())
            .for_each(|(to, from)| *to = *from);
        Some(())
    })
}

/// Returns the bytes of a frame with the line lengths of this format.
pub(super) fn padded(format: &Format, frame: &Frame) -> Option<Vec<u8>> {
    draw(format, |index, line, to| {
        let from = frame.component(index).chunks(to.len().max(1)).nth(line)?;
        to.get_mut(..from.len())?.copy_from_slice(from);
        Some(())
    })
}

/// Makes a picture of a format. `line` fills one line of a component.
fn draw(format: &Format, line: impl Fn(usize, usize, &mut [u8]) -> Option<()>) -> Option<Vec<u8>> {
    let pixel = drawable(format.fourcc)?;
    let layouts = format.layouts();
    // CAST: widening, on every target there is.
    let mut bytes = vec![0; layouts.first()?.sizeimage as usize];
    for index in 0..pixel.components.len() {
        let at = pixel.component_layout(index, format.width, format.height, layouts)?;
        let (offset, pitch) = (usize::try_from(at.offset).ok()?, at.bytesperline as usize);
        let lines = bytes.get_mut(offset..)?.chunks_mut(pitch.max(1));
        for (number, to) in lines.take(at.lines as usize).enumerate() {
            line(index, number, to.get_mut(..at.line_bytes as usize)?)?;
        }
    }
    Some(bytes)
}

/// Returns the bytes of one sample of black. The last byte has the upper 8 bits.
fn black_sample(pixel: &PixelFormat, sample: Sample) -> impl Iterator<Item = u8> + use<> {
    let value = match sample {
        Sample::Y => 16,
        Sample::U | Sample::V => 128,
        Sample::X if !pixel.is_opaque() => 255,
        Sample::R | Sample::G | Sample::B | Sample::X => 0,
    };
    // CAST: 1 or 2.
    let below = pixel.sample_bytes().saturating_sub(1) as usize;
    std::iter::repeat_n(0, below).chain([value])
}
