//! Tables of image sensors: pixel arrays, modes, timings and ranges of controls.

use crate::selection::Rect;
use crate::{ControlSpec, sys};

/// Bus codes of colour mosaics: rows for 8 and 10 bits, with the colours' orders BGGR, GBRG, GRBG, RGGB.
pub const MOSAICS: [[u32; 4]; 2] = [
    [
        sys::MEDIA_BUS_FMT_SBGGR8_1X8,
        sys::MEDIA_BUS_FMT_SGBRG8_1X8,
        sys::MEDIA_BUS_FMT_SGRBG8_1X8,
        sys::MEDIA_BUS_FMT_SRGGB8_1X8,
    ],
    [
        sys::MEDIA_BUS_FMT_SBGGR10_1X10,
        sys::MEDIA_BUS_FMT_SGBRG10_1X10,
        sys::MEDIA_BUS_FMT_SGRBG10_1X10,
        sys::MEDIA_BUS_FMT_SRGGB10_1X10,
    ],
];

/// How controls can mirror a sensor's frames. Mirroring changes the order of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flipping {
    /// The sensor has no such controls.
    Never,
    /// The pad's bus code changes at the next S_FMT. A streaming sensor does not flip.
    AtFormat,
    /// The pad's bus code changes with the controls.
    AtOnce,
}

/// Whether a sensor mirrors its frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flips {
    /// Whether left and right are exchanged.
    pub horizontal: bool,
    /// Whether top and bottom are exchanged.
    pub vertical: bool,
}

impl Flips {
    /// Returns the bus code of a mosaic after these flips, for an even width and height.
    #[must_use]
    pub fn mirrored(self, code: u32) -> u32 {
        let change = usize::from(self.horizontal) | usize::from(self.vertical) << 1;
        let orders = MOSAICS.iter().find(|orders| orders.contains(&code));
        let mirrored = orders.and_then(|orders| {
            let index = orders.iter().position(|known| *known == code)?;
            orders.get(index ^ change)
        });
        mirrored.copied().unwrap_or(code)
    }

    /// Returns whether two bus codes differ at most in the order of colours.
    #[must_use]
    pub fn may_change(from: u32, to: u32) -> bool {
        let of_both = |orders: &[u32; 4]| orders.contains(&from) && orders.contains(&to);
        from == to || MOSAICS.iter().any(of_both)
    }
}

/// How a sensor turns its gain code into a gain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gain {
    /// The gain is `code / unit`.
    Linear {
        /// The code of gain 1.
        unit: u32,
    },
    /// The gain is `top / (top - code)`.
    Inverse {
        /// The code at which the gain would be infinite.
        top: u32,
    },
}

impl Gain {
    /// Returns the gain of a code, in units of 1/256.
    #[must_use]
    pub fn of(self, code: i64) -> u64 {
        let code = u64::try_from(code).unwrap_or(0);
        match self {
            Self::Linear { unit } => code.saturating_mul(256) / u64::from(unit.max(1)),
            Self::Inverse { top } => {
                let top = u64::from(top);
                top * 256 / top.saturating_sub(code).max(1)
            }
        }
    }
}

/// A mode of a sensor: its size, the part of the pixel array that it reads, and its initial timing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorMode {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// The part of the pixel array that the mode reads.
    pub crop: Rect,
    /// Pixels per second.
    pub pixel_rate: i64,
    /// Pixels of a line, including blanking.
    pub line: u32,
    /// Lines of a frame, including blanking.
    pub frame: u32,
    /// Index of the mode's frequency in [`Sensor::links`].
    pub link: u32,
}

impl SensorMode {
    /// Returns the initial number of blank pixels of a line.
    #[must_use]
    pub fn hblank(&self) -> i64 {
        i64::from(self.line) - i64::from(self.size.0)
    }

    /// Returns the initial number of blank lines.
    #[must_use]
    pub fn vblank(&self) -> i64 {
        i64::from(self.frame) - i64::from(self.size.1)
    }
}

/// An image sensor.
#[derive(Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Name of the model.
    pub model: &'static str,
    /// Width and height of the whole pixel array.
    pub native: (u32, u32),
    /// The part of the array that makes pictures.
    pub active: Rect,
    /// The sensor's modes.
    pub modes: &'static [SensorMode],
    /// The initial mode.
    pub initial: SensorMode,
    /// Maximum number of pixels of a line, including blanking.
    pub longest_line: u32,
    /// Whether S_FMT keeps the line's length, rather than its blanking.
    pub keeps_line: bool,
    /// Minimum number of blank lines, and maximum number of lines of a frame including them.
    pub lines: (u32, u32),
    /// Shortest exposure in lines, and the initial one.
    pub exposure: (i32, i32),
    /// Number of lines by which the longest exposure is shorter than the frame.
    pub margin: i32,
    /// Smallest and largest code of the analogue gain, and the initial one.
    pub gain_codes: (i32, i32, i32),
    /// How the sensor turns such a code into a gain.
    pub gain: Gain,
    /// Further controls, whose ranges never change.
    pub controls: &'static [ControlSpec],
    /// Value of a dark pixel's sample, with ten bits.
    pub black: u16,
    /// Frequencies of the sensor's link, in Hz.
    pub links: &'static [Option<i64>],
    /// How controls mirror the sensor's frames.
    pub flipping: Flipping,
    /// Names of the test patterns. The first means no pattern.
    pub patterns: &'static [&'static str],
}

impl Sensor {
    /// Returns the mode whose size is nearest.
    ///
    /// Source: Linux 7.2 `v4l2_find_nearest_size`.
    #[must_use]
    pub fn nearest(&self, width: u32, height: u32) -> Option<&'static SensorMode> {
        let modes = self.modes.iter();
        modes.min_by_key(|mode| {
            let (w, h) = mode.size;
            u64::from(w.abs_diff(width)) + u64::from(h.abs_diff(height))
        })
    }

    /// Returns the smallest and the largest horizontal blanking of a mode.
    #[must_use]
    pub fn hblanks(&self, mode: &SensorMode) -> (i64, i64) {
        let most = i64::from(self.longest_line) - i64::from(mode.size.0);
        (mode.hblank(), most.max(mode.hblank()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Flips, Gain, sys};

    #[test]
    fn gains_follow_their_laws() {
        let inverse = Gain::Inverse { top: 256 };
        assert_eq!([0, 128, 232].map(|code| inverse.of(code)), [256, 512, 2730]);
        let linear = Gain::Linear { unit: 16 };
        assert_eq!(
            [16, 32, 1023].map(|code| linear.of(code)),
            [256, 512, 16368]
        );
        // A code at or above `top` does not divide by zero.
        assert_eq!((inverse.of(256), inverse.of(i64::MAX)), (65536, 65536));
        assert_eq!(linear.of(-1), 0);
    }

    #[test]
    fn flips_mirror_the_order_of_colours() {
        let mirrored = |horizontal, vertical| {
            let flips = Flips {
                horizontal,
                vertical,
            };
            flips.mirrored(sys::MEDIA_BUS_FMT_SRGGB10_1X10)
        };
        assert_eq!(mirrored(false, false), sys::MEDIA_BUS_FMT_SRGGB10_1X10);
        assert_eq!(mirrored(true, false), sys::MEDIA_BUS_FMT_SGRBG10_1X10);
        assert_eq!(mirrored(false, true), sys::MEDIA_BUS_FMT_SGBRG10_1X10);
        assert_eq!(mirrored(true, true), sys::MEDIA_BUS_FMT_SBGGR10_1X10);
        let rgb = sys::MEDIA_BUS_FMT_RGB888_1X24;
        assert_eq!(
            Flips {
                horizontal: true,
                vertical: true
            }
            .mirrored(rgb),
            rgb
        );
    }
}
