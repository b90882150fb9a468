//! Renders a frame as vimc does: the sensor's pattern as a mosaic, then debayered and scaled.
//!
//! Source: Linux 7.2 drivers/media/test-drivers/vimc/vimc-debayer.c and vimc-scaler.c.

use super::scene::Scene;
use super::vimc::{MEAN_WINDOW, TEST_PATTERN};
use std::ops::Range;
use vb3_picture::{Background, Frame, Pattern, Picture, Size, mosaic};
use vb3_v4l2::{MediaGraph, PixelFormat, Rect, cid, pixfmt, sys};

/// The entities from a sensor to a video node, with their formats at the start of the stream.
pub(super) struct Chain {
    sensor: usize,
    size: Size,
    /// The mosaic that the sensor sends; `None` if it sends RGB.
    mosaic: Option<&'static PixelFormat>,
    /// The entity that turns a mosaic into RGB.
    debayer: Option<usize>,
    /// The part of its input that a scaler uses, and the width and height of its output.
    scaling: Option<(Rect, u32, u32)>,
    output: &'static PixelFormat,
    width: u32,
    pattern: Pattern,
    /// Number and controls of the frame to paint.
    next: (u32, Picture),
    /// The colour of the frame to paint, if the sensor's test pattern has only one.
    color: Option<[u8; 3]>,
    /// The whole picture, if the sensor's test pattern has only one colour.
    solid: Option<Frame>,
    /// How many pixels on each side of a pixel the debayer averages.
    window: u32,
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
            mosaic: sensed.is_mosaic().then_some(sensed),
            debayer: None,
            scaling: None,
            output: pixfmt::lookup(vb3_v4l2::FourCc(node.code))?,
            width: node.width,
            pattern: Pattern::default(),
            next: (0, Picture::default()),
            color: None,
            solid: None,
            window: 1,
        };
        for &entity in between {
            let pads = graph.pads(entity)?;
            let output = pads.formats.last()?;
            match graph.entity(entity)?.function {
                sys::MEDIA_ENT_F_PROC_VIDEO_PIXEL_ENC_CONV => chain.debayer = Some(entity),
                sys::MEDIA_ENT_F_PROC_VIDEO_SCALER => {
                    let (width, height) = (output.width.max(1), output.height.max(1));
                    chain.scaling = Some((pads.crop, width, height));
                }
                _ => {}
            }
        }
        Some(chain)
    }

    /// Returns the sensor's pixel that a pixel of the video node shows.
    const fn source(&self, x: u32, y: u32) -> (u32, u32) {
        let Some((crop, width, height)) = self.scaling else {
            return (x, y);
        };
        // No product overflows: a crop rectangle lies within its bounds, and all sizes are below 2^13.
        (
            x * crop.width / width + crop.left.unsigned_abs(),
            y * crop.height / height + crop.top.unsigned_abs(),
        )
    }

    fn seen(&self) -> &Frame {
        self.solid.as_ref().unwrap_or_else(|| self.pattern.last())
    }
}

fn plain(size: Size, color: [u8; 3]) -> Frame {
    let mut frame = Frame::new(&pixfmt::RGB24, size);
    let (pixels, _) = frame.bytes_mut().as_chunks_mut();
    pixels.fill(color);
    frame
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
        let window = self
            .debayer
            .and_then(|entity| graph.control(entity, MEAN_WINDOW));
        self.window = window
            .and_then(|size| u32::try_from(size / 2).ok())
            .unwrap_or(1);
        self.color = solid;
        self.pattern.set_background(background);
        self.next = (sequence, picture);
    }

    fn paint(&mut self) {
        let (sequence, picture) = &self.next;
        self.solid = self.color.map(|color| plain(self.size, color));
        if self.solid.is_none() {
            self.pattern
                .frame(&pixfmt::RGB24, self.size, *sequence, picture);
        }
    }

    fn render(&self, lines: Range<u32>, out: &mut Vec<u8>) {
        let frame = self.seen();
        if self.output.is_mosaic() {
            return lines.for_each(|y| {
                mosaic::append_mosaic(frame, self.output, (self.width, y), out);
            });
        }
        let columns: Vec<u32> = (0..self.width).map(|x| self.source(x, 0).0).collect();
        for y in lines {
            let y = self.source(0, y).1;
            let debayered = match (self.mosaic, self.debayer) {
                (Some(mosaic), Some(_)) => Some(mosaic::debayered(frame, mosaic, self.window, y)),
                _ => None,
            };
            let line = debayered
                .as_deref()
                .unwrap_or_else(|| mosaic::line_of(frame, y));
            mosaic::append_rgb(line, &columns, self.output, out);
        }
    }
}
