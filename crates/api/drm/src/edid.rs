//! EDID: what a monitor says of itself. The bytes come from a file, and are checked.
//!
//! Source: VESA E-EDID Standard, Release A2; CTA-861 for the extension's timings.

use crate::mode::Mode;
use thiserror::Error as ThisError;

/// Bytes of a block, and the largest number of blocks.
const BLOCK: usize = 128;
const MAX_BLOCKS: usize = 4;
const HEADER: [u8; 8] = [0, 255, 255, 255, 255, 255, 255, 0];
/// Maximum number of modes that are taken from an EDID.
const MAX_MODES: usize = 64;

/// Why bytes are no EDID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum EdidError {
    /// The length in bytes is not that of the blocks that the first block announces.
    #[error("it has {found} bytes; its first block announces {wanted}")]
    Length {
        /// The length in bytes.
        found: usize,
        /// The length in bytes that the first block announces; at most 512.
        wanted: usize,
    },
    /// It does not begin with the fixed header.
    #[error("it does not begin with 00 ff ff ff ff ff ff 00")]
    Header,
    /// A block's checksum is wrong.
    #[error("the last byte of block {block} is {found:#04x}; the checksum needs {wanted:#04x}")]
    Checksum {
        /// The block, from zero.
        block: usize,
        /// Its last byte.
        found: u8,
        /// The byte with which the block's sum is zero.
        wanted: u8,
    },
    /// It has no mode that a card can set.
    #[error("it has no timings that a card can set (progressive, at least 10x10 pixels)")]
    NoMode,
}

/// A monitor's EDID, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edid(Vec<u8>);

impl Edid {
    /// Checks the bytes of an EDID.
    ///
    /// # Errors
    /// Wrong lengths, headers and checksums, and an EDID without a usable mode.
    pub fn new(bytes: &[u8]) -> Result<Self, EdidError> {
        let extensions = bytes.get(BLOCK - 2).copied().unwrap_or(0);
        let wanted = (usize::from(extensions) + 1).min(MAX_BLOCKS) * BLOCK;
        if bytes.len() != wanted {
            let found = bytes.len();
            return Err(EdidError::Length { found, wanted });
        }
        if !bytes.starts_with(&HEADER) {
            return Err(EdidError::Header);
        }
        for (block, bytes) in bytes.as_chunks::<BLOCK>().0.iter().enumerate() {
            let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            let found = bytes[BLOCK - 1];
            if sum != 0 {
                let wanted = found.wrapping_sub(sum);
                return Err(EdidError::Checksum {
                    block,
                    found,
                    wanted,
                });
            }
        }
        let this = Self(bytes.to_vec());
        match this.modes().is_empty() {
            true => Err(EdidError::NoMode),
            false => Ok(this),
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the picture's width and height in millimetres; zero if unknown.
    #[must_use]
    pub fn size_mm(&self) -> (u32, u32) {
        let cm = |at: usize| u32::from(self.0.get(at).copied().unwrap_or(0));
        (cm(21) * 10, cm(22) * 10)
    }

    /// Returns the modes: detailed timings, the preferred one first, then standard timings.
    #[must_use]
    pub fn modes(&self) -> Vec<Mode> {
        let mut modes: Vec<Mode> = Vec::new();
        for (block, bytes) in self.0.as_chunks::<BLOCK>().0.iter().enumerate() {
            // A CTA extension has its timings from the byte that its third byte names.
            let first = match (block, bytes) {
                (0, _) => 54,
                (_, [2, _, at, ..]) if *at >= 4 => usize::from(*at),
                _ => continue,
            };
            let last = if block == 0 { 126 } else { BLOCK - 1 };
            let timings = bytes.get(first..last).unwrap_or_default();
            let all = timings.as_chunks::<18>().0.iter();
            for timing in all {
                modes.extend(detailed(timing, modes.is_empty()));
            }
        }
        let standard = self.0.get(38..54).unwrap_or_default();
        for &[across, shape] in standard.as_chunks::<2>().0 {
            let width = (u32::from(across) + 31) * 8;
            let (w, h) = [(16, 10), (4, 3), (5, 4), (16, 9)][usize::from(shape >> 6)];
            let fps = u32::from(shape & 63) + 60;
            if across > 1 && width * h % w == 0 {
                modes.push(Mode::new(width, width * h / w, fps, modes.is_empty()));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        modes.retain(|mode| seen.insert(mode.name()));
        modes.truncate(MAX_MODES);
        modes
    }
}

/// Returns the mode of a detailed timing; `None` for other descriptors, and for what no card can set.
fn detailed(timing: &[u8; 18], is_preferred: bool) -> Option<Mode> {
    let byte = |at: usize| u32::from(timing[at]);
    let clock = byte(0) | byte(1) << 8;
    let pair = |low: usize, high: u32| byte(low) | (high & 15) << 8;
    let (width, across) = (pair(2, byte(4) >> 4), pair(3, byte(4)));
    let (height, down) = (pair(5, byte(7) >> 4), pair(6, byte(7)));
    let is_interlaced = timing[17] & 0x80 != 0;
    // The largest size, 4095, is below the card's limit.
    let fits = |size: u32| size >= crate::framebuffer::SIZES.0;
    if clock == 0 || is_interlaced || !fits(width) || !fits(height) {
        return None;
    }
    let starts = |active: u32, blank: u32, front: u32, sync: u32| {
        [
            active,
            active + front,
            active + front + sync,
            active + blank,
        ]
    };
    let high = byte(11);
    let (front, sync) = (
        byte(8) | (high >> 6 & 3) << 8,
        byte(9) | (high >> 4 & 3) << 8,
    );
    let h = starts(width, across, front, sync);
    let front = byte(10) >> 4 | (high >> 2 & 3) << 4;
    let v = starts(height, down, front, byte(10) & 15 | (high & 3) << 4);
    let flags = if timing[17] & 2 != 0 { 1 } else { 2 } | if timing[17] & 4 != 0 { 4 } else { 8 };
    (h.is_sorted() && v.is_sorted()).then(|| Mode::timed(clock * 10, (h, v), flags, is_preferred))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a block with this content from byte 8 on, and the right checksum.
    fn block(first: &[u8], from: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK];
        for (at, part) in [(0, first)].iter().chain(from) {
            bytes[*at..*at + part.len()].copy_from_slice(part);
        }
        let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[BLOCK - 1] = sum.wrapping_neg();
        bytes
    }

    /// 1920x1080 at 60 frames per second, as CTA-861 has it.
    const FULL: [u8; 18] = [
        0x02, 0x3a, 0x80, 0x18, 0x71, 0x38, 0x2d, 0x40, 0x58, 0x2c, 0x45, 0, 0, 0, 0, 0, 0, 0x1e,
    ];

    fn whole() -> Vec<u8> {
        block(
            &HEADER,
            &[(21, &[60, 34]), (38, &[0x81, 0xc0]), (54, &FULL)],
        )
    }

    #[test]
    fn modes_come_from_timings() {
        let edid = Edid::new(&whole()).expect("an EDID");
        let modes = edid.modes();
        let names: Vec<String> = modes.iter().map(Mode::name).collect();
        assert_eq!(names, ["1920x1080", "1280x720"]);
        assert_eq!(modes[0].frame_ns(), 16_666_666);
        assert_eq!(edid.size_mm(), (600, 340));
    }

    #[test]
    fn an_extension_has_timings_too() {
        let mut small = FULL;
        (small[2], small[4]) = (0x40, 0x61);
        let first = block(&HEADER, &[(54, &FULL), (126, &[1])]);
        let second = block(&[2, 3, 6, 0], &[(6, &small)]);
        let edid = Edid::new(&[first, second].concat()).expect("an EDID");
        assert_eq!(edid.modes()[1].name(), "1600x1080");
    }

    #[test]
    fn bad_bytes_are_refused_with_a_reason() {
        let with = |at: usize, value: u8| {
            let mut bytes = whole();
            bytes[at] = value;
            Edid::new(&bytes).expect_err("bad bytes")
        };
        let found = whole()[127].wrapping_add(1);
        let wanted = whole()[127];
        let block = 0;
        let bad = EdidError::Checksum {
            block,
            found,
            wanted,
        };
        assert_eq!(with(127, found), bad);
        assert_eq!(with(0, 1), EdidError::Header);
        let (found, wanted) = (128, 256);
        assert_eq!(with(126, 1), EdidError::Length { found, wanted });
        assert_eq!(
            Edid::new(&super::tests::block(&HEADER, &[])),
            Err(EdidError::NoMode)
        );
    }

    #[test]
    fn any_bytes_end_without_a_panic() {
        let mut state = 1u32;
        for _ in 0..5000 {
            let mut bytes = whole();
            for _ in 0..8 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                bytes[8 + (state >> 8) as usize % 117] = (state >> 24) as u8;
            }
            let _ = Edid::new(&block(&bytes[..126], &[]));
        }
    }
}
