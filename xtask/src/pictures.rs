//! Reading what a display recorded (y4m), and drawing a contact sheet of it.

mod sheet;

use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

pub(crate) use sheet::{Row, write_sheet};

/// Longest header line taken.
const MAX_HEADER: u64 = 4096;

/// One picture, 8 bits a channel.
#[derive(Clone, Debug)]
pub(crate) struct Rgb {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// `width * height * 3` bytes.
    pub(crate) pixels: Vec<u8>,
}

/// A y4m stream with 4:2:0 or 4:2:2 pictures, 8 bits.
#[derive(Debug)]
pub(crate) struct Y4m<R> {
    input: BufReader<R>,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Chroma rows are as many as luma rows.
    full_height_chroma: bool,
}

/// The planes of one frame, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame(pub(crate) Vec<u8>);

impl Frame {
    /// Takes an NV12 picture of `luma` pixels: the same samples in y4m's order.
    pub(crate) fn set_nv12(&mut self, nv12: &[u8], luma: usize) {
        let (y, uv) = nv12.split_at(luma.min(nv12.len()));
        self.0.clear();
        self.0.extend_from_slice(y);
        self.0.extend(uv.iter().step_by(2));
        self.0.extend(uv.iter().skip(1).step_by(2));
    }

    /// A number that tells frames apart.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.0);
        hasher.finish()
    }
}

impl Y4m<File> {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::new(file).with_context(|| format!("{} is not a y4m file", path.display()))
    }
}

impl<R: Read> Y4m<R> {
    /// Reads the header.
    pub(crate) fn new(input: R) -> Result<Self> {
        let mut input = BufReader::with_capacity(1 << 20, input);
        let line = line(&mut input)?;
        let mut words = line.split(' ');
        if words.next() != Some("YUV4MPEG2") {
            bail!("it does not begin with YUV4MPEG2");
        }
        let (mut width, mut height, mut full_height_chroma) = (0, 0, false);
        for word in words {
            let Some(kind) = word.chars().next() else {
                continue;
            };
            let value = &word[kind.len_utf8()..];
            match kind {
                'W' => width = value.parse().context("its width is not a number")?,
                'H' => height = value.parse().context("its height is not a number")?,
                'C' if value.starts_with("422") => full_height_chroma = true,
                'C' if !value.starts_with("420") => {
                    bail!("its colour space {value} is not read here")
                }
                _ => {}
            }
        }
        if !(1..=1 << 14).contains(&width) || !(1..=1 << 14).contains(&height) {
            bail!("its size {width}x{height} is out of range");
        }
        Ok(Self {
            input,
            width,
            height,
            full_height_chroma,
        })
    }

    /// Bytes of a frame.
    pub(crate) fn frame_len(&self) -> usize {
        self.width * self.height + 2 * self.chroma_width() * self.chroma_height()
    }

    fn chroma_width(&self) -> usize {
        self.width.div_ceil(2)
    }

    fn chroma_height(&self) -> usize {
        if self.full_height_chroma {
            self.height
        } else {
            self.height.div_ceil(2)
        }
    }

    /// Reads the next frame; false at the end.
    pub(crate) fn next(&mut self, frame: &mut Frame) -> Result<bool> {
        let line = line(&mut self.input)?;
        if line.is_empty() {
            return Ok(false);
        }
        if line != "FRAME" && !line.starts_with("FRAME ") {
            bail!("a frame is expected and \"{line}\" found");
        }
        frame.0.resize(self.frame_len(), 0);
        self.input
            .read_exact(&mut frame.0)
            .context("the last frame is cut off")?;
        Ok(true)
    }

    /// A frame as a picture of `width` pixels, averaged down (BT.601, limited range).
    pub(crate) fn thumbnail(&self, frame: &Frame, width: usize) -> Rgb {
        let width = width.clamp(1, self.width);
        let height = (self.height * width / self.width).max(1);
        let (luma, chroma) = frame.0.split_at(self.width * self.height);
        let (cw, ch) = (self.chroma_width(), self.chroma_height());
        let (cb, cr) = chroma.split_at(cw * ch);
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                let mean =
                    |plane: &[u8], w: usize, h: usize| mean(plane, w, h, (x, width), (y, height));
                let (y, u, v) = (
                    mean(luma, self.width, self.height),
                    mean(cb, cw, ch),
                    mean(cr, cw, ch),
                );
                pixels.extend(to_rgb(y, u, v));
            }
        }
        Rgb {
            width,
            height,
            pixels,
        }
    }
}

/// One line without its end; empty at the end of the stream.
fn line<R: Read>(input: &mut BufReader<R>) -> Result<String> {
    let mut line = Vec::new();
    input
        .by_ref()
        .take(MAX_HEADER)
        .read_until(b'\n', &mut line)
        .context("cannot read")?;
    if line.pop_if(|end| *end == b'\n').is_none() && !line.is_empty() {
        bail!("a header line is cut off or too long");
    }
    String::from_utf8(line).context("a header line is not UTF-8")
}

/// The mean of the part of a plane that one pixel of a smaller picture covers.
fn mean(plane: &[u8], w: usize, h: usize, (x, xs): (usize, usize), (y, ys): (usize, usize)) -> i32 {
    let columns = x * w / xs..((x + 1) * w / xs).max(x * w / xs + 1);
    let rows = y * h / ys..((y + 1) * h / ys).max(y * h / ys + 1);
    let (mut sum, mut count) = (0_u32, 0_u32);
    for row in rows {
        for byte in plane
            .get(row * w + columns.start..row * w + columns.end)
            .unwrap_or(&[])
        {
            sum += u32::from(*byte);
            count += 1;
        }
    }
    i32::try_from(sum / count.max(1)).unwrap_or(0)
}

fn to_rgb(y: i32, u: i32, v: i32) -> [u8; 3] {
    let (c, d, e) = (298 * (y - 16), u - 128, v - 128);
    [c + 409 * e, c - 100 * d - 208 * e, c + 516 * d]
        .map(|channel| u8::try_from(((channel + 128) >> 8).clamp(0, 255)).unwrap_or(0))
}

#[cfg(test)]
mod tests;
