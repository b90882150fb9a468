//! Colours, and their conversion in integers: BT.601, BT.709 or BT.2020, in limited range.

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

/// The matrix that converts between R'G'B' and Y'CbCr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// For standard definition (BT.601). The test pattern and the picture controls use it.
    #[default]
    Bt601,
    /// For high definition (BT.709).
    Bt709,
    /// For ultra-high definition (BT.2020) with non-constant luminance.
    Bt2020,
}

/// The range of Y'CbCr values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quantization {
    /// Y from 16 to 235, chroma from 16 to 240.
    #[default]
    Limited,
    /// All components from 0 to 255.
    Full,
}

/// Colour encoding of Y'CbCr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Color {
    /// The matrix of the conversion from R'G'B'.
    pub matrix: Matrix,
    /// Range of the values.
    pub range: Quantization,
}

/// Clamps a value to 0 to 255.
pub(crate) fn byte(value: i32) -> u8 {
    // CAST: the value is clamped to a byte's range.
    value.clamp(0, 255) as u8
}

impl Rgb {
    /// Makes a colour of its three primaries.
    #[must_use]
    pub const fn new(r: u8, g: u8, b: u8) -> Self {
        Self { r, g, b }
    }

    /// Returns the bytes in RGB24's memory order.
    #[must_use]
    pub const fn bytes(self) -> [u8; 3] {
        [self.r, self.g, self.b]
    }

    /// Converts to Y'CbCr, with coefficients in 1/65536, rounded to nearest.
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
    /// Makes the grey that has this luma: from 16 (black) to 235 (white).
    #[must_use]
    pub const fn grey(y: u8) -> Self {
        Self { y, u: 128, v: 128 }
    }

    /// Makes a colour of its three samples.
    #[must_use]
    pub const fn new(y: u8, u: u8, v: u8) -> Self {
        Self { y, u, v }
    }

    /// Converts to R'G'B' by the matrix of BT.601 and limited range.
    #[must_use]
    pub fn to_rgb(self) -> Rgb {
        self.to_rgb_by(Color::default())
    }

    /// Converts to R'G'B'. Coefficients are in 1/65536; results are rounded to nearest and clamped.
    #[must_use]
    pub fn to_rgb_by(self, color: Color) -> Rgb {
        let chroma = match color.matrix {
            Matrix::Bt601 => [104_597, 25_675, 53_279, 132_201],
            Matrix::Bt709 => [117_489, 13_975, 34_925, 138_438],
            Matrix::Bt2020 => [110_014, 12_277, 42_626, 140_363],
        };
        // Full range has 255 steps. Limited range has 219 for Y, and 224 for chroma.
        let (black, luma, [red_v, green_u, green_v, blue_u]) = match color.range {
            Quantization::Limited => (16, 76_309, chroma),
            Quantization::Full => (0, 65_536, chroma.map(|c| (c * 224 + 127) / 255)),
        };
        let y = (i32::from(self.y) - black) * luma + 32_768;
        let (u, v) = (i32::from(self.u) - 128, i32::from(self.v) - 128);
        Rgb {
            r: byte((y + red_v * v) >> 16),
            g: byte((y - green_u * u - green_v * v) >> 16),
            b: byte((y + blue_u * u) >> 16),
        }
    }
}
