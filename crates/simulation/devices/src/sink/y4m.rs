//! YUV4MPEG2: a line of text, then planar Y, U, V. The samples are only reordered, so the recording is exact.

use super::file::Shape;
use vb3_picture::{Frame, Quantization, places};
use vb3_v4l2::PixelFormat;
use vb3_v4l2::pixfmt::Sample;

/// Returns the file's first line. It has frames per second, the inverse of the interval.
fn header(shape: &Shape) -> String {
    let chroma = chroma(shape.format).unwrap_or_default();
    let (width, height) = (shape.size.width(), shape.size.height());
    let (seconds, frames) = (shape.interval.numerator, shape.interval.denominator);
    let range = match shape.color.range {
        Quantization::Limited => "LIMITED",
        Quantization::Full => "FULL",
    };
    format!(
        "YUV4MPEG2 W{width} H{height} F{frames}:{seconds} Ip A1:1 C{chroma} XCOLORRANGE={range}\n"
    )
}

/// Returns y4m's name for a format's chroma; `None` if y4m has none.
pub(super) fn chroma(format: &PixelFormat) -> Option<&'static str> {
    let plane = |sample| (format.components.iter()).find(move |plane| plane.has(sample));
    plane(Sample::Y)?;
    let Some(chroma) = plane(Sample::U) else {
        return (format.bits == 8).then_some("mono");
    };
    match (chroma.across, chroma.down, format.bits) {
        (2, 2, 8) => Some("420jpeg"),
        (2, 2, 10) => Some("420p10"),
        (2, 1, 8) => Some("422"),
        _ => None,
    }
}

/// Appends the samples of one kind. Samples of more than 8 bits are in the lower bits of two bytes.
fn pick(out: &mut Vec<u8>, frame: &Frame, sample: Sample) {
    let format = frame.format();
    let mut planes = format.components.iter().enumerate();
    let Some((index, component)) = planes.find(|(_, plane)| plane.has(sample)) else {
        return;
    };
    // CAST: widening, on every target there is.
    let cell_bytes = format.cell_bytes(index).max(1) as usize;
    let cells = frame.component(index).chunks_exact(cell_bytes);
    let places = places(format, component, sample);
    let byte = |cell: &[u8], at: usize| cell.get(at).copied().unwrap_or_default();
    match (places.as_slice(), format.bits) {
        ([(_, at)], 8) => out.extend(cells.map(|cell| byte(cell, *at))),
        (_, 8) => out.extend(cells.flat_map(|cell| places.iter().map(|(_, at)| byte(cell, *at)))),
        (_, bits) => out.extend(cells.flat_map(|cell| {
            places.iter().flat_map(move |(_, at)| {
                let sample = [byte(cell, at.saturating_sub(1)), byte(cell, *at)];
                (u16::from_le_bytes(sample) >> 16_u32.saturating_sub(bits)).to_le_bytes()
            })
        })),
    }
}

/// Appends a picture in the file's layout, after the file's first line if `first` has the picture's shape.
pub(super) fn append(out: &mut Vec<u8>, first: Option<&Shape>, frame: &Frame) {
    out.extend(first.map(header).unwrap_or_default().into_bytes());
    out.extend_from_slice(b"FRAME\n");
    for sample in [Sample::Y, Sample::U, Sample::V] {
        pick(out, frame, sample);
    }
}
