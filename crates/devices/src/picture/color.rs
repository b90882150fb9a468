//! Colours and the one conversion between them: BT.601, limited range, in integers.

/// A colour in R'G'B', full range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
}

/// A colour in Y'CbCr: Y from 16 (black) to 235 (white), chroma around 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Yuv {
    /// Luma.
    pub y: u8,
    /// Blue-difference chroma.
    pub u: u8,
    /// Red-difference chroma.
    pub v: u8,
}

/// Clamps to a byte.
pub(crate) fn byte(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).unwrap_or(0)
}

impl Rgb {
    /// A colour of its three primaries.
    #[must_use]
    pub const fn new(r: u8, g: u8, b: u8) -> Self {
        Self { r, g, b }
    }

    /// In memory order of RGB24.
    #[must_use]
    pub const fn bytes(self) -> [u8; 3] {
        [self.r, self.g, self.b]
    }

    /// The same colour in Y'CbCr, coefficients in 1/65536, rounded to nearest.
    #[must_use]
    pub fn to_yuv(self) -> Yuv {
        let (r, g, b) = (i32::from(self.r), i32::from(self.g), i32::from(self.b));
        let scale = |sum: i32, offset: i32| byte(((sum + 32_768) >> 16) + offset);
        Yuv {
            y: scale(16_829 * r + 33_039 * g + 6_416 * b, 16),
            u: scale(-9_714 * r - 19_070 * g + 28_784 * b, 128),
            v: scale(28_784 * r - 24_103 * g - 4_681 * b, 128),
        }
    }
}

impl Yuv {
    /// Black, grey or white of the given luma.
    #[must_use]
    pub const fn grey(y: u8) -> Self {
        Self { y, u: 128, v: 128 }
    }

    /// A colour of its three samples.
    #[must_use]
    pub const fn new(y: u8, u: u8, v: u8) -> Self {
        Self { y, u, v }
    }

    /// The same colour in R'G'B', coefficients in 1/65536, rounded to nearest, clamped.
    #[must_use]
    pub fn to_rgb(self) -> Rgb {
        let y = (i32::from(self.y) - 16) * 76_309 + 32_768;
        let (u, v) = (i32::from(self.u) - 128, i32::from(self.v) - 128);
        Rgb {
            r: byte((y + 104_597 * v) >> 16),
            g: byte((y - 25_675 * u - 53_279 * v) >> 16),
            b: byte((y + 132_201 * u) >> 16),
        }
    }
}
