//! Lines of RGB pictures, and of the mosaics that image sensors send: each pixel has one colour.

use crate::Frame;
use vb3_v4l2::PixelFormat;
use vb3_v4l2::pixfmt::Sample;

/// Returns the samples of a line of a format's first component.
fn samples_of_line(format: &PixelFormat, y: u32) -> &'static [Sample] {
    let cell = format
        .components
        .first()
        .map_or(&[][..], |plane| plane.cell);
    // CAST: a cell has at most two lines.
    let line = cell.get((y % cell.len().max(1) as u32) as usize);
    line.copied().unwrap_or_default()
}

/// Returns the index of a sample in an RGB pixel. Samples without a colour count as green.
const fn channel(sample: Sample) -> usize {
    match sample {
        Sample::R => 0,
        Sample::B => 2,
        _ => 1,
    }
}

/// Returns which colour (0 red, 1 green, 2 blue) a mosaic's line has in even and in odd columns.
#[must_use]
pub fn channels_of_line(mosaic: &PixelFormat, y: u32) -> [usize; 2] {
    let line = samples_of_line(mosaic, y);
    [0, 1].map(|x| channel(line.get(x).copied().unwrap_or(Sample::G)))
}

/// Returns a line of an RGB24 picture; an empty one below the picture.
#[must_use]
pub fn line_of(frame: &Frame, y: u32) -> &[[u8; 3]] {
    // CAST: widening, on every target there is.
    let (width, y) = (frame.size().width() as usize, y as usize);
    let (pixels, _) = frame.bytes().as_chunks();
    pixels.get(y * width..(y + 1) * width).unwrap_or_default()
}

/// Appends line `y` of an RGB24 picture as `width` samples of a mosaic that is not packed: one byte each, or two
/// (little endian) if `mosaic.bits` is 9 to 16. Pixels outside the picture are black.
pub fn append_mosaic(
    frame: &Frame,
    mosaic: &PixelFormat,
    (width, y): (u32, u32),
    out: &mut Vec<u8>,
) {
    let (line, channels) = (line_of(frame, y), channels_of_line(mosaic, y));
    // CAST: widening, on every target there is.
    for x in 0..width as usize {
        let value = line.get(x).map_or(0, |pixel| pixel[channels[x % 2]]);
        let wide = u16::from(value);
        match mosaic.bits {
            8 => out.push(value),
            bits => {
                let extra = bits - 8;
                out.extend((wide << extra | wide >> (8 - extra)).to_le_bytes());
            }
        }
    }
}

/// Debayers a line of the mosaic that a sensor makes of an RGB24 picture. Each colour of a pixel is the mean of the
/// mosaic's samples that are at most `window` pixels away, across and down; 0 if there are none.
#[must_use]
pub fn debayered(frame: &Frame, mosaic: &PixelFormat, window: u32, y: u32) -> Vec<[u8; 3]> {
    let (width, height) = (frame.size().width(), frame.size().height());
    let around = |at: u32, len: u32| {
        let (first, last) = (at.saturating_sub(window), at.saturating_add(window));
        first..last.saturating_add(1).min(len)
    };
    let lines =
        around(y, height).map(|line| (line_of(frame, line), channels_of_line(mosaic, line)));
    let lines: Vec<_> = lines.collect();
    // By colour: sum and count of the samples left of a column. `before` has these for every column.
    let mut all = [(0_u32, 0_u32); 3];
    let mut before = vec![all];
    // CAST: widening, on every target there is.
    for x in 0..width as usize {
        for (line, channels) in &lines {
            let channel = channels[x % 2];
            let (sum, count) = &mut all[channel];
            *sum += u32::from(line.get(x).map_or(0, |pixel| pixel[channel]));
            *count += 1;
        }
        before.push(all);
    }
    // CAST: widening, on every target there is.
    let sums = |x: u32| before.get(x as usize).copied().unwrap_or_default();
    let pixels = (0..width).map(|x| {
        let columns = around(x, width);
        let (first, last) = (sums(columns.start), sums(columns.end));
        [0, 1, 2].map(|channel| {
            let (sum, count) = last[channel];
            let (sum, count) = (sum - first[channel].0, count - first[channel].1);
            // CAST: a mean of bytes is a byte.
            (sum / count.max(1)) as u8
        })
    });
    pixels.collect()
}

/// Appends pixels of a line in an RGB format: for each of `columns`, the pixel there. Padding becomes 255. Pixels
/// outside the line are black.
pub fn append_rgb(line: &[[u8; 3]], columns: &[u32], format: &PixelFormat, out: &mut Vec<u8>) {
    let samples = samples_of_line(format, 0);
    for &x in columns {
        // CAST: widening, on every target there is.
        let color = line.get(x as usize).copied().unwrap_or_default();
        out.extend(samples.iter().map(|sample| match sample {
            Sample::X => 255,
            sample => color[channel(*sample)],
        }));
    }
}

#[cfg(test)]
mod tests;
