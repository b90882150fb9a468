//! The picture controls: what brightness, contrast, saturation, hue, gain and the flips do to
//! samples. Integers only, so that the same values always give the same bytes.

use crate::picture::{Frame, Layout, Rgb, Yuv};

/// Values of the picture controls. The default leaves every byte as it is.
///
/// On luma `y` and chroma `u`, `v`, in this order, all divisions rounding down:
///
/// - gain `g`: `y = 16 + (y - 16) * g / 64`; `u - 128` and `v - 128` are scaled alike, below;
/// - contrast `c`: `y = 126 + (y - 126) * c / 128` (126 is middle grey);
/// - brightness `b`: `y = y + b - 128`;
/// - hue `h` turns the vector (`u - 128`, `v - 128`) by `h * 180 / 128` degrees, saturation `s`
///   scales it by `s / 128` and gain by `g / 64`;
/// - each result is clamped to a byte.
///
/// RGB24 pictures go through [`Rgb::to_yuv`] and back when any of these is off its default.
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
    /// Left and right exchanged.
    pub hflip: bool,
    /// Top and bottom exchanged.
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

/// One in the fixed point of sines and chroma factors.
const ONE: i32 = 1 << 14;

/// Sine of `step * 180 / 128` degrees for steps of half a turn (0 to 128), by Bhaskara's
/// approximation: exact at 0, 30, 90, 150 and 180 degrees, within 0.0017 elsewhere.
fn half_sine(step: i32) -> i32 {
    let x = step * (128 - step);
    // `x` is at most 2^12, so the product is at most 2^28 before the last factor of 4.
    (ONE * 4 * x / (5 * 128 * 128 - 4 * x)) * 4
}

/// Sine and cosine of `hue * 180 / 128` degrees in 1/16384.
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

/// The arithmetic of a [`Picture`], prepared for many samples.
#[derive(Clone, Debug)]
pub struct Adjust {
    luma: [u8; 256],
    sin: i32,
    cos: i32,
    scale: i32,
}

impl Picture {
    /// Whether colours come out as they went in.
    #[must_use]
    pub fn keeps_colors(&self) -> bool {
        Self {
            hflip: false,
            vflip: false,
            ..*self
        } == Self::default()
    }

    /// Prepares the arithmetic.
    #[must_use]
    pub fn adjust(&self) -> Adjust {
        let (gain, contrast) = (i32::from(self.gain), i32::from(self.contrast));
        let mut luma = [0; 256];
        for (to, from) in luma.iter_mut().zip(0..) {
            let y: i32 = 16 + (((from - 16) * gain) >> 6);
            let y = 126 + (((y - 126) * contrast) >> 7);
            *to = crate::picture::byte(y + i32::from(self.brightness) - 128);
        }
        let (sin, cos) = turn(self.hue);
        Adjust {
            luma,
            sin,
            cos,
            scale: i32::from(self.saturation) * gain,
        }
    }

    /// Applies the controls to a whole picture.
    pub fn apply(&self, frame: &mut Frame) {
        if !self.keeps_colors() {
            self.adjust().apply(frame);
        }
        frame.flip(self.hflip, self.vflip);
    }
}

impl Adjust {
    /// What a luma sample becomes.
    #[must_use]
    pub fn luma(&self, y: u8) -> u8 {
        self.luma.get(usize::from(y)).copied().unwrap_or(y)
    }

    /// What a pair of chroma samples becomes.
    #[must_use]
    pub fn chroma(&self, u: u8, v: u8) -> (u8, u8) {
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        // At most 181 * 2^14, then 181 * 2^7, then times 255 * 255: within 31 bits.
        let turned_u = (u * self.cos - v * self.sin) >> 7;
        let turned_v = (u * self.sin + v * self.cos) >> 7;
        let scale = |value: i32| crate::picture::byte(((value * self.scale) >> 20) + 128);
        (scale(turned_u), scale(turned_v))
    }

    /// What a colour becomes.
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
        match frame.layout() {
            Layout::Yuyv => {
                for pair in frame.bytes_mut().chunks_exact_mut(4) {
                    let (u, v) = self.chroma(pair[1], pair[3]);
                    pair.copy_from_slice(&[self.luma(pair[0]), u, self.luma(pair[2]), v]);
                }
            }
            Layout::Nv12 => {
                for y in frame.component_mut(0) {
                    *y = self.luma(*y);
                }
                for pair in frame.component_mut(1).chunks_exact_mut(2) {
                    let (u, v) = self.chroma(pair[0], pair[1]);
                    pair.copy_from_slice(&[u, v]);
                }
            }
            Layout::Rgb24 => {
                for pixel in frame.bytes_mut().chunks_exact_mut(3) {
                    let color = Rgb::new(pixel[0], pixel[1], pixel[2]).to_yuv();
                    pixel.copy_from_slice(&self.color(color).to_rgb().bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
