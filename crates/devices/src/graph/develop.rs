//! Renders a frame as vimc does: the sensor's pattern as a mosaic, then debayered and scaled.
//!
//! Source: Linux 7.2 drivers/media/test-drivers/vimc/vimc-debayer.c and vimc-scaler.c.

use super::Scene;
use super::vimc::{MEAN_WINDOW, TEST_PATTERN};
use std::ops::Range;
use vb3_picture::{Background, Frame, Pattern, Picture, Size};
use vb3_v4l2::pixfmt::Sample;
use vb3_v4l2::{MediaGraph, PixelFormat, Rect, cid, pixfmt, sys};

/// A scaler's settings: the part of its input that it uses, and the size of its output.
#[derive(Debug)]
struct Scaling {
    crop: Rect,
    width: u32,
    height: u32,
}

impl Scaling {
    /// Returns the input pixel that an output pixel shows.
    const fn source(&self, x: u32, y: u32) -> (u32, u32) {
        // No product overflows: a crop rectangle lies within its bounds, and all sizes are below 2^13.
        (
            x * self.crop.width / self.width + self.crop.left.unsigned_abs(),
            y * self.crop.height / self.height + self.crop.top.unsigned_abs(),
        )
    }
}

/// The entities from a sensor to a video node, with their formats at the start of the stream.
#[derive(Debug)]
pub(super) struct Chain {
    sensor: usize,
    size: Size,
    /// The mosaic that the sensor sends; `None` if it sends RGB.
    mosaic: Option<&'static PixelFormat>,
    /// The entity that turns a mosaic into RGB.
    debayer: Option<usize>,
    scaling: Option<Scaling>,
    output: &'static PixelFormat,
    width: u32,
    pattern: Pattern,
    /// The colour of the whole picture, if the sensor's test pattern has only one.
    solid: Option<[u8; 3]>,
    /// How many pixels on each side of a pixel the debayer averages.
    window: u32,
}

fn is_mosaic(pixel: &PixelFormat) -> bool {
    pixel.components.iter().any(|plane| plane.cell.len() > 1)
}

/// Returns the smallest repeated part of a format's first component: its lines of samples.
fn cell(pixel: &PixelFormat) -> &'static [&'static [Sample]] {
    let first = pixel.components.first();
    first.map_or(&[], |plane| plane.cell)
}

/// Returns the colour that a mosaic has at a pixel.
pub(super) fn sample_at(mosaic: &PixelFormat, x: u32, y: u32) -> Sample {
    // CAST: `y & 1` is one bit.
    let line = cell(mosaic)
        .get((y & 1) as usize)
        .copied()
        .unwrap_or_default();
    line.get((x & 1) as usize).copied().unwrap_or(Sample::G)
}

/// Returns the index of a colour in an RGB pixel.
pub(super) const fn channel(sample: Sample) -> usize {
    match sample {
        Sample::R => 0,
        Sample::B => 2,
        _ => 1,
    }
}

impl Chain {
    /// Makes the chain of a path; `None` for a path without a sensor.
    pub(super) fn new(graph: &MediaGraph, path: &[usize]) -> Option<Self> {
        let (&sensor, rest) = path.split_first()?;
        let (&video, between) = rest.split_last()?;
        let format = *graph.pads(sensor)?.formats.first()?;
        let sensed = pixfmt::lookup(graph.topology().pixel_of(format.code)?)?;
        let node = *graph.pads(video)?.formats.first()?;
        let mut chain = Self {
            sensor,
            size: Size::nearest(format.width, format.height),
            mosaic: is_mosaic(sensed).then_some(sensed),
            debayer: None,
            scaling: None,
            output: pixfmt::lookup(vb3_v4l2::FourCc(node.code))?,
            width: node.width,
            pattern: Pattern::default(),
            solid: None,
            window: 1,
        };
        for &entity in between {
            let pads = graph.pads(entity)?;
            let output = pads.formats.last()?;
            match graph.entity(entity)?.function {
                sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_ENC_CONV => chain.debayer = Some(entity),
                sys::MEDIA_ENT_F_PROC_VIDEO_SCALER => {
                    chain.scaling = Some(Scaling {
                        crop: pads.crop,
                        width: output.width.max(1),
                        height: output.height.max(1),
                    });
                }
                _ => {}
            }
        }
        Some(chain)
    }

    /// Appends the bytes of a mosaic's sample, widened to the output's number of bits.
    fn push_raw(&self, value: u8, out: &mut Vec<u8>) {
        let wide = u16::from(value);
        match self.output.bits {
            8 => out.push(value),
            bits => {
                let extra = bits - 8;
                let deep = wide << extra | wide >> (8 - extra);
                out.extend(deep.to_le_bytes());
            }
        }
    }

    /// Returns the sensor's pixel that a pixel of the video node shows.
    const fn source(&self, x: u32, y: u32) -> (u32, u32) {
        match &self.scaling {
            Some(scaling) => scaling.source(x, y),
            None => (x, y),
        }
    }

    /// Returns the colours of a line of the sensor, debayered if the chain has a debayer.
    fn row(&self, y: u32) -> Vec<[u8; 3]> {
        match (self.mosaic, self.debayer) {
            (Some(mosaic), Some(_)) => self.debayered(mosaic, y),
            _ => (0..self.size.width()).map(|x| self.seen(x, y)).collect(),
        }
    }

    /// Returns the colour of the light at a pixel of the sensor.
    fn seen(&self, x: u32, y: u32) -> [u8; 3] {
        if let Some(solid) = self.solid {
            return solid;
        }
        let frame: &Frame = self.pattern.last();
        // CAST: widening, on every target there is.
        let at = (y as usize * frame.size().width() as usize + x as usize) * 3;
        let color = frame.bytes().get(at..).and_then(|rest| rest.first_chunk());
        color.copied().unwrap_or_default()
    }

    /// Debayers a line: each colour of a pixel is the mean of the mosaic's samples in the window around the
    /// pixel.
    fn debayered(&self, mosaic: &PixelFormat, y: u32) -> Vec<[u8; 3]> {
        let (width, height) = (self.size.width(), self.size.height());
        let around = |at: u32, len: u32| {
            at.saturating_sub(self.window)..at.saturating_add(self.window + 1).min(len)
        };
        // By colour: sum and count of the samples left of a column. `before` has these for every column.
        let mut all = [(0_u32, 0_u32); 3];
        let mut before = vec![all];
        for x in 0..width {
            for line in around(y, height) {
                let channel = channel(sample_at(mosaic, x, line));
                let (sum, count) = &mut all[channel];
                *sum += u32::from(self.seen(x, line)[channel]);
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
}

impl Scene for Chain {
    fn begin(&mut self, sequence: u32, graph: &MediaGraph) {
        let value = |id, default| graph.control(self.sensor, id).unwrap_or(default);
        let byte = |id, default: u8| u8::try_from(value(id, default.into())).unwrap_or(default);
        let picture = Picture {
            brightness: byte(cid::BRIGHTNESS, 128),
            contrast: byte(cid::CONTRAST, 128),
            saturation: byte(cid::SATURATION, 128),
            hue: i8::try_from(value(cid::HUE, 0)).unwrap_or(0),
            hflip: value(cid::HFLIP, 0) != 0,
            vflip: value(cid::VFLIP, 0) != 0,
            ..Picture::default()
        };
        let (solid, background) = match value(TEST_PATTERN, 0) {
            5 => (Some([0; 3]), Background::Bars),
            6 => (Some([255; 3]), Background::Bars),
            7 => (Some([255, 0, 0]), Background::Bars),
            8 => (Some([0, 255, 0]), Background::Bars),
            9 => (Some([0, 0, 255]), Background::Bars),
            10 => (None, Background::Checkerboard),
            20 => (None, Background::Ramp),
            _ => (None, Background::Bars),
        };
        self.solid = solid;
        let window = self
            .debayer
            .and_then(|entity| graph.control(entity, MEAN_WINDOW));
        self.window = window
            .and_then(|size| u32::try_from(size / 2).ok())
            .unwrap_or(1);
        self.pattern.set_background(background);
        self.pattern
            .frame(&pixfmt::RGB24, self.size, sequence, &picture);
    }

    fn samples(&self) -> u32 {
        let lines = match (self.mosaic, self.debayer) {
            (Some(_), Some(_)) => 2 * self.window + 1,
            _ => 1,
        };
        self.size.width() * lines
    }

    fn render(&self, lines: Range<u32>, out: &mut Vec<u8>) {
        let cell = cell(self.output);
        for y in lines {
            // A mosaic's cell has two lines. CAST: the remainder is at most 2.
            let line = cell.get((y % cell.len().max(1) as u32) as usize);
            let line = line.copied().unwrap_or_default();
            if is_mosaic(self.output) {
                for x in 0..self.width {
                    let color = self.seen(x, y);
                    self.push_raw(color[channel(sample_at(self.output, x, y))], out);
                }
                continue;
            }
            let row = self.row(self.source(0, y).1);
            for x in 0..self.width {
                // CAST: widening, on every target there is.
                let color = row.get(self.source(x, y).0 as usize).copied();
                let color = color.unwrap_or_default();
                out.extend(line.iter().map(|sample| match sample {
                    Sample::X => 255,
                    sample => color[channel(*sample)],
                }));
            }
        }
    }
}
