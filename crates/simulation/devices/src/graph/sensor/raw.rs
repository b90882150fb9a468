//! Raw frames of a sensor: a mosaic with light, exposure, gain, noise and black level.

use super::setting::{Setting, WHITE_NS};
use crate::graph::scene::Scene;
use std::ops::Range;
use vb3_picture::{Pattern, Picture, Size, mosaic};
use vb3_v4l2::{Flips, MediaGraph, PixelFormat, Sensor, cid, pixfmt};

/// How the sensor responds to white light: red, green, blue. Green is strongest, as with most sensors.
const RESPONSE: [f64; 3] = [0.6, 1.0, 0.75];
/// Exponent that converts a picture's samples to light.
const GAMMA: f64 = 2.2;
/// Largest sample of ten bits.
const FULL: u16 = 1023;
/// Width and height of a test pattern's squares.
const SQUARE: u32 = 64;
/// State of the generator of pattern PN9 at the start of each line.
const PN9_SEED: u32 = 0x1ff;
/// Colours of the bars, from left to right.
const BARS: [[u8; 3]; 8] = [
    [255, 255, 255],
    [255, 255, 0],
    [0, 255, 255],
    [0, 255, 0],
    [255, 0, 255],
    [255, 0, 0],
    [0, 0, 255],
    [0, 0, 0],
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TestPattern {
    Bars,
    GreyBars,
    Squares,
    Pn9,
    Random,
    Solid,
}

/// How a video node stores samples that have ten bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// One byte with the upper eight bits.
    Eight,
    /// Four samples in five bytes.
    Packed,
}

pub(crate) struct Raw {
    sensor: &'static Sensor,
    entity: usize,
    /// Size of the pattern. Its lines are repeated if the frame has more than a picture can have.
    size: Size,
    /// Lines of a frame.
    height: u32,
    /// The arrangement of colours on the sensor's array.
    mosaic: &'static PixelFormat,
    flips: Flips,
    storage: Storage,
    pattern: Pattern,
    /// The light for each sample value of the pattern, where white is 1.
    light: [f64; 256],
    /// Raw values for each sample value of the pattern: red, green and blue.
    levels: [[u16; 256]; 3],
    /// The exposure that was set when the last frame began, in lines. It takes effect in the next frame.
    exposure: Option<i64>,
    test_pattern: Option<TestPattern>,
    /// Red, green of red lines, blue, green of blue lines: the samples of a solid test pattern.
    solid: [u16; 4],
    sequence: u32,
    frame_ns: u64,
}

/// Returns the raw value for an amount of light, without noise. White is 1.
fn level(light: f64, black: u16) -> u16 {
    let range = f64::from(FULL - black);
    // CAST: between 0 and 1023.
    let above = (light * range).clamp(0.0, range) as u16;
    black + above
}

/// Returns noise from -3 to 3, and advances the random generator.
pub(super) const fn noise(state: &mut u32) -> i32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    // CAST: both values have two bits.
    (*state >> 30) as i32 + ((*state >> 28) & 3) as i32 - 3
}

/// Returns ten bits of the sequence of x^9 + x^5 + 1, and advances it.
fn pn9(state: &mut u32) -> u16 {
    // CAST: ten bits.
    (0..10).fold(0, |bits, _| {
        let bit = (*state >> 8 ^ *state >> 4) & 1;
        *state = *state << 1 & 0x1ff | bit;
        bits << 1 | bit as u16
    })
}

impl Raw {
    /// Makes the sensor at the start of a path; `None` if the path has none.
    pub(crate) fn new(graph: &MediaGraph, path: &[usize]) -> Option<Self> {
        let (&entity, &video) = (path.first()?, path.last()?);
        let setting = Setting::of(graph, entity)?;
        let node = *graph.pads(video)?.formats.first()?;
        let pixel: &PixelFormat = pixfmt::lookup(vb3_v4l2::FourCc(node.code))?;
        let native = graph.entity(entity)?.pads.first()?.code;
        let native = graph.topology().pixel_of(native).and_then(pixfmt::lookup)?;
        let mut light = [0.0; 256];
        for (value, light) in (0_u32..).zip(&mut light) {
            *light = (f64::from(value) / 255.0).powf(GAMMA);
        }
        Some(Self {
            sensor: setting.sensor,
            entity,
            size: Size::nearest(node.width, node.height),
            height: node.height,
            mosaic: native,
            flips: graph.flips(entity),
            storage: match pixel.components.first()?.across {
                4 => Storage::Packed,
                _ => Storage::Eight,
            },
            pattern: Pattern::default(),
            light,
            levels: [[0; 256]; 3],
            exposure: None,
            test_pattern: None,
            solid: [0; 4],
            sequence: 0,
            frame_ns: setting.frame_ns(),
        })
    }

    /// Appends the raw samples of a line of the array, with noise.
    fn read_light(&self, y: u32, state: &mut u32, line: &mut Vec<u16>) {
        let channels = mosaic::channels_of_line(self.mosaic, y);
        let y = u64::from(y) * u64::from(self.size.height()) / u64::from(self.height.max(1));
        let seen = mosaic::line_of(self.pattern.last(), u32::try_from(y).unwrap_or(u32::MAX));
        let black = self.sensor.black;
        for (pixel, channel) in seen.iter().zip(channels.into_iter().cycle()) {
            let value = self.levels[channel][usize::from(pixel[channel])];
            // Noise grows with light.
            let grain = noise(state) * (256 + i32::from(value - black.min(value))) / 256;
            // CAST: `clamp` keeps it within ten bits.
            line.push((i32::from(value) + grain).clamp(0, FULL.into()) as u16);
        }
    }

    /// Returns the sample of the test pattern at a pixel of the array.
    fn test_sample(&self, pattern: TestPattern, x: u32, y: u32, state: &mut u32) -> u16 {
        let channels = mosaic::channels_of_line(self.mosaic, y);
        let channel = channels[(x % 2) as usize];
        let of = |color: u32| {
            // CAST: below eight.
            let value = u16::from(BARS[(color % 8) as usize][channel]);
            value << 2 | value >> 6
        };
        let bar = of(x * 8 / self.size.width().max(1));
        match pattern {
            TestPattern::Bars => bar,
            TestPattern::GreyBars => {
                let (y, height) = (u64::from(y), u64::from(self.height.max(1)));
                let grey = u64::from(FULL / 2) * y + u64::from(bar) * height.saturating_sub(y);
                u16::try_from(grey / height).unwrap_or(FULL)
            }
            TestPattern::Squares => of(x / SQUARE + y / SQUARE),
            TestPattern::Pn9 => pn9(state),
            TestPattern::Random => {
                noise(state);
                // CAST: ten bits.
                (*state >> 22) as u16
            }
            TestPattern::Solid => {
                let of_blue_line = channel == 1 && channels.contains(&2);
                self.solid[channel + 2 * usize::from(of_blue_line)]
            }
        }
    }

    /// Returns the mean of light of the last picture, where white is 1; `None` before the first picture.
    fn mean(&self) -> Option<f64> {
        // A prime step meets all columns and channels.
        let some = self.pattern.last().bytes().iter().step_by(997);
        let (sum, count) = some.fold((0.0, 0.0), |(sum, count), value| {
            (sum + self.light[usize::from(*value)], count + 1.0)
        });
        (count > 0.0).then(|| sum / count)
    }

    /// Reads a line of the frame from the array into `line`, flipped if the sensor flips.
    fn read_line(&self, y: u32, line: &mut Vec<u16>) {
        let last = self.height.saturating_sub(1);
        let y = match self.flips.vertical {
            true => last.saturating_sub(y),
            false => y,
        };
        let mut state = match self.test_pattern {
            Some(TestPattern::Pn9) => PN9_SEED,
            _ => (self.sequence ^ y.rotate_left(16)).wrapping_mul(2_654_435_761),
        };
        line.clear();
        match self.test_pattern {
            None => self.read_light(y, &mut state, line),
            Some(pattern) => {
                let columns = 0..self.size.width();
                line.extend(columns.map(|x| self.test_sample(pattern, x, y, &mut state)));
            }
        }
        if self.flips.horizontal {
            line.reverse();
        }
    }
}

impl Scene for Raw {
    // A new gain affects this frame, a new exposure affects the next one.
    fn begin(&mut self, sequence: u32, graph: &MediaGraph) {
        let Some(setting) = Setting::of(graph, self.entity) else {
            return;
        };
        let (next, gain) = setting.exposed(self.mean());
        let lines = self.exposure.replace(next).unwrap_or(next);
        // CAST: exposures are far below 2^52 ns.
        let amount = setting.exposure_ns(lines) as f64 / WHITE_NS * gain as f64 / 256.0;
        let response = match setting.value(cid::AUTO_WHITE_BALANCE, 0) {
            0 => RESPONSE,
            _ => [1.0; 3],
        };
        for (levels, response) in self.levels.iter_mut().zip(response) {
            for (to, light) in levels.iter_mut().zip(self.light) {
                *to = level(light * response * amount, self.sensor.black);
            }
        }
        let index = usize::try_from(setting.value(cid::TEST_PATTERN, 0)).unwrap_or(0);
        let name = self.sensor.patterns.get(index).filter(|_| index != 0);
        self.test_pattern = name.map(|name| match *name {
            "Color Bars" => TestPattern::Bars,
            "Grey Color Bars" => TestPattern::GreyBars,
            "Color Squares" => TestPattern::Squares,
            "PN9" => TestPattern::Pn9,
            "Random Data" => TestPattern::Random,
            _ => TestPattern::Solid,
        });
        for (id, to) in (cid::TEST_PATTERN_RED..).zip(&mut self.solid) {
            *to =
                u16::try_from(setting.value(id, FULL.into()).clamp(0, FULL.into())).unwrap_or(FULL);
        }
        self.flips = graph.flips(self.entity);
        self.sequence = sequence;
        self.frame_ns = setting.frame_ns();
    }

    fn paint(&mut self) {
        if self.test_pattern.is_none() {
            let picture = Picture::default();
            self.pattern
                .frame(&pixfmt::RGB24, self.size, self.sequence, &picture);
        }
    }

    fn frame_ns(&self) -> Option<u64> {
        Some(self.frame_ns)
    }

    fn render(&self, lines: Range<u32>, out: &mut Vec<u8>) {
        let mut line = Vec::new();
        for y in lines {
            self.read_line(y, &mut line);
            // CAST: the upper eight of ten bits, and four times the lower two.
            let upper = |sample: &u16| (sample >> 2) as u8;
            match self.storage {
                Storage::Eight => out.extend(line.iter().map(upper)),
                Storage::Packed => {
                    for four in line.chunks(4) {
                        out.extend(four.iter().map(upper));
                        let low = (0..).zip(four);
                        out.push(low.fold(0, |low, (at, s)| low | ((s & 3) as u8) << (2 * at)));
                    }
                }
            }
        }
    }
}
