//! Pixel formats of framebuffers: how many bytes each plane needs.

use crate::Error;

/// `DRM_FORMAT_MOD_LINEAR`.
pub(crate) const LINEAR: u64 = 0;
/// `DRM_FORMAT_MOD_INVALID`.
pub(crate) const INVALID: u64 = 0x00ff_ffff_ffff_ffff;

/// A pixel format by its code (`DRM_FORMAT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// The code, such as `XR24`, as a number.
    pub code: u32,
    /// Bits of a pixel's red, green and blue in the calls of old (depth); zero if they cannot name the format.
    pub depth: u32,
    /// Bytes of a sample group in each plane.
    pub bytes: &'static [u32],
    /// Pixels that a sample group covers: across in all planes of chroma, and down.
    pub chroma: (u32, u32),
    /// Pixels across that a group of the first plane covers.
    pub across: u32,
}

const fn code(name: [u8; 4]) -> u32 {
    u32::from_le_bytes(name)
}

const fn rgb(name: [u8; 4], depth: u32, bytes: &'static [u32]) -> Format {
    yuv(name, depth, bytes, (1, 1), 1)
}

const fn yuv(
    name: [u8; 4],
    depth: u32,
    bytes: &'static [u32],
    chroma: (u32, u32),
    across: u32,
) -> Format {
    let code = code(name);
    Format {
        code,
        depth,
        bytes,
        chroma,
        across,
    }
}

/// All formats that framebuffers of some card may have.
pub static FORMATS: &[Format] = &[
    rgb(*b"AR24", 32, &[4]),
    rgb(*b"XR24", 24, &[4]),
    rgb(*b"XR48", 0, &[8]),
    rgb(*b"AR48", 0, &[8]),
    rgb(*b"RG16", 16, &[2]),
    rgb(*b"RG24", 0, &[3]),
    rgb(*b"BG24", 0, &[3]),
    yuv(*b"NV12", 0, &[1, 2], (2, 2), 1),
    yuv(*b"NV21", 0, &[1, 2], (2, 2), 1),
    yuv(*b"NV16", 0, &[1, 2], (2, 1), 1),
    yuv(*b"YU12", 0, &[1, 1, 1], (2, 2), 1),
    yuv(*b"YUYV", 0, &[4], (1, 1), 2),
    yuv(*b"UYVY", 0, &[4], (1, 1), 2),
    yuv(*b"P010", 0, &[2, 4], (2, 2), 1),
];

impl Format {
    /// Returns the format with this code.
    #[must_use]
    pub fn find(code: u32) -> Option<&'static Self> {
        FORMATS.iter().find(|format| format.code == code)
    }

    /// Returns the bytes of a line and the number of lines of a plane of a picture.
    #[must_use]
    pub fn plane(&self, plane: usize, width: u32, height: u32) -> (u64, u64) {
        let bytes = self.bytes.get(plane).copied().unwrap_or(0);
        let (across, down) = match plane {
            0 => (self.across, 1),
            _ => self.chroma,
        };
        let line = u64::from(width.div_ceil(across.max(1))) * u64::from(bytes);
        (line, u64::from(height.div_ceil(down.max(1))))
    }

    /// Returns whether each pixel has red, green and blue of its own.
    pub(crate) fn is_rgb(&self) -> bool {
        self.bytes.len() == 1 && self.across == 1
    }

    /// Finds the format that ADDFB names by depth and bits per pixel.
    pub(crate) fn of_depth(bpp: u32, depth: u32) -> Result<&'static Self, Error> {
        let is_it = |f: &&Self| {
            depth != 0 && f.depth == depth && f.bytes.first().is_some_and(|b| b * 8 == bpp)
        };
        let found = FORMATS.iter().find(is_it);
        found.ok_or(Error::Invalid("depth (with this bpp)", depth.into()))
    }
}
