//! The picture controls: how brightness, contrast, saturation, hue, gain and flips change samples. All
//! arithmetic is in integers, so equal values give equal bytes.

use crate::{Frame, Rgb, Yuv, places};
use vb3_v4l2::pixfmt::{ColorModel, Sample};

/// Values of the picture controls. The default changes no byte.
///
/// The controls change luma `y` and chroma `u`, `v` in this order. All divisions round down.
///
/// - gain `g`: `y = 16 + (y - 16) * g / 64`;
/// - contrast `c`: `y = 126 + (y - 126) * c / 128` (126 is middle grey);
/// - brightness `b`: `y = y + b - 128`;
/// - hue `h` turns the vector (`u - 128`, `v - 128`) by `h * 180 / 128` degrees. Then saturation `s`
///   and gain `g` scale it, by `s / 128` and `g / 64`;
/// - only the final `y`, `u` and `v` are clamped to 0 to 255, not the results of single steps.
///
/// RGB24 pictures are converted by [`Rgb::to_yuv`] and back if any of these controls has another value
/// than the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Picture {
    /// 0 to 255, neutral at 128.
    pub brightness: u8,
    /// 0 to 255, neutral at 128.
    pub contrast: u8,
    /// 0 (grey) to 255, neutral at 128.
    pub saturation: u8,
    /// -128 to 127, neutral at 0; 64 is a quarter turn.
    pub hue: i8,
    /// 0 to 255, neutral at 64.
    pub gain: u8,
    /// Whether left and right are exchanged.
    pub hflip: bool,
    /// Whether top and bottom are exchanged.
    pub vflip: bool,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            brightness: 128,
            contrast: 128,
            saturation: 128,
            hue: 0,
            gain: 64,
            hflip: false,
            vflip: false,
        }
    }
}

/// The value 1.0 in the fixed-point format of sines and of factors for chroma.
const ONE: i32 = 1 << 14;

/// Returns the sine of `step * 180 / 128` degrees in units of 1/16384. `step` is 0 to 128 (half a turn).
///
/// This is Bhaskara's approximation: exact at 0, 30, 90, 150 and 180 degrees, and within 0.0017 elsewhere.
fn half_sine(step: i32) -> i32 {
    let x = step * (128 - step);
    // `x` is at most 2^12, so `ONE * 4 * x` is at most 2^28, which fits.
    (ONE * 4 * x / (5 * 128 * 128 - 4 * x)) * 4
}

/// Returns sine and cosine of `hue * 180 / 128` degrees in units of 1/16384.
fn turn(hue: i8) -> (i32, i32) {
    let sine = |step: i32| {
        let step = step.rem_euclid(256);
        if step <= 128 {
            half_sine(step)
        } else {
            -half_sine(step - 128)
        }
    };
    let hue = i32::from(hue);
    (sine(hue), sine(hue + 64))
}

/// The arithmetic of a [`Picture`]'s values, prepared for many samples.
#[derive(Clone, Debug)]
pub struct Adjust {
    luma: [u8; 256],
    sin: i32,
    cos: i32,
    scale: i32,
}

impl Picture {
    /// Returns whether the values leave all colours unchanged.
    #[must_use]
    pub fn keeps_colors(&self) -> bool {
        Self {
            hflip: false,
            vflip: false,
            ..*self
        } == Self::default()
    }

    /// Prepares the arithmetic of these values.
    #[must_use]
    pub fn adjust(&self) -> Adjust {
        let (gain, contrast) = (i32::from(self.gain), i32::from(self.contrast));
        let mut luma = [0; 256];
        for (to, from) in luma.iter_mut().zip(0..) {
            let y: i32 = 16 + (((from - 16) * gain) >> 6);
            let y = 126 + (((y - 126) * contrast) >> 7);
            *to = crate::byte(y + i32::from(self.brightness) - 128);
        }
        let (sin, cos) = turn(self.hue);
        Adjust {
            luma,
            sin,
            cos,
            scale: i32::from(self.saturation) * gain,
        }
    }

    /// Applies all controls, including flips, to a whole picture.
    pub fn apply(&self, frame: &mut Frame) {
        if !self.keeps_colors() {
            self.adjust().apply(frame);
        }
        frame.flip(self.hflip, self.vflip);
    }
}

impl Adjust {
    /// Returns a luma sample as the controls change it.
    #[must_use]
    pub fn luma(&self, y: u8) -> u8 {
        self.luma.get(usize::from(y)).copied().unwrap_or(y)
    }

    /// Returns a pair of chroma samples as the controls change it.
    #[must_use]
    pub fn chroma(&self, u: u8, v: u8) -> (u8, u8) {
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        // No overflow: each sum is at most 181 * 2^14, and each turned value at most 181 * 2^7. A turned
        // value times 255 * 255 fits in 31 bits.
        let turned_u = (u * self.cos - v * self.sin) >> 7;
        let turned_v = (u * self.sin + v * self.cos) >> 7;
        let scale = |value: i32| crate::byte(((value * self.scale) >> 20) + 128);
        (scale(turned_u), scale(turned_v))
    }

    /// Returns a colour as the controls change it.
    #[must_use]
    pub fn color(&self, color: Yuv) -> Yuv {
        let (u, v) = self.chroma(color.u, color.v);
        Yuv {
            y: self.luma(color.y),
            u,
            v,
        }
    }

    fn apply(&self, frame: &mut Frame) {
        let format = frame.format();
        if format.model() == ColorModel::Rgb {
            self.apply_to_primaries(frame);
            return;
        }
        let plane_of = |sample| {
            let mut planes = format.components.iter().enumerate();
            let (index, component) = planes.find(|(_, component)| component.has(sample))?;
            Some((index, places(format, component, sample)))
        };
        let cell = |index| format.cell_bytes(index).max(1) as usize;
        if let Some((index, at)) = plane_of(Sample::Y) {
            for bytes in frame.component_mut(index).chunks_exact_mut(cell(index)) {
                for (_, byte) in &at {
                    if let Some(y) = bytes.get_mut(*byte) {
                        *y = self.luma(*y);
                    }
                }
            }
        }
        let (Some((u_plane, u_at)), Some((v_plane, v_at))) =
            (plane_of(Sample::U), plane_of(Sample::V))
        else {
            return;
        };
        let (Some((_, u_at)), Some((_, v_at))) = (u_at.first(), v_at.first()) else {
            return;
        };
        if u_plane == v_plane {
            for bytes in frame.component_mut(u_plane).chunks_exact_mut(cell(u_plane)) {
                if let Ok([u, v]) = bytes.get_disjoint_mut([*u_at, *v_at]) {
                    (*u, *v) = self.chroma(*u, *v);
                }
            }
        } else {
            let mut reds = frame.component(v_plane).to_vec();
            let blues = frame.component_mut(u_plane).iter_mut();
            for (u, v) in blues.zip(&mut reds) {
                (*u, *v) = self.chroma(*u, *v);
            }
            frame.component_mut(v_plane).copy_from_slice(&reds);
        }
    }

    /// Changes R'G'B' samples cell by cell. Treats a mosaic's cell of 2x2 pixels as having one colour.
    fn apply_to_primaries(&self, frame: &mut Frame) {
        let format = frame.format();
        let Some(component) = format.components.first() else {
            return;
        };
        let at = [Sample::R, Sample::G, Sample::B].map(|sample| places(format, component, sample));
        // CAST: widening, on every target there is.
        let cell_bytes = format.cell_bytes(0).max(1) as usize;
        let width = frame.size().width();
        let line_bytes = format.line_bytes(0, width).unwrap_or(1).max(1) as usize;
        let rows = component.cell.len().max(1);
        for row in frame.bytes_mut().chunks_exact_mut(line_bytes * rows) {
            for cell in (0..line_bytes).step_by(cell_bytes) {
                let offset = |place: &(usize, usize)| place.0 * line_bytes + cell + place.1;
                let mean = |places: &Vec<(usize, usize)>| {
                    let found = places.iter().filter_map(|place| row.get(offset(place)));
                    let sum: usize = found.map(|byte| usize::from(*byte)).sum();
                    // CAST: a mean of bytes is a byte.
                    (sum / places.len().max(1)) as u8
                };
                let color = Rgb::new(mean(&at[0]), mean(&at[1]), mean(&at[2])).to_yuv();
                let color = self.color(color).to_rgb().bytes();
                for (places, value) in at.iter().zip(color) {
                    for place in places {
                        if let Some(byte) = row.get_mut(offset(place)) {
                            *byte = value;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
