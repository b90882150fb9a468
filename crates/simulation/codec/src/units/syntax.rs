//! Rules for cutting byte streams of HEVC, MPEG-2 and MPEG-4 part 2.
//!
//! As in H.264, the bytes after a start code are called a NAL unit.

use super::Syntax;

/// HEVC (ITU-T H.265 7.4.2.4.4 and annex B).
#[derive(Debug, Default)]
pub struct Hevc;

/// Returns the type of a NAL unit.
fn hevc_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0xff, |header| header >> 1 & 0x3f)
}

/// Returns whether a slice segment is the first of its picture.
fn is_first_segment(nal: &[u8]) -> bool {
    nal.get(2).is_some_and(|byte| byte & 0x80 != 0)
}

impl Syntax for Hevc {
    type SliceId = ();

    fn is_slice(&self, nal: &[u8]) -> bool {
        hevc_type(nal) < 32
    }

    fn is_key(&self, nal: &[u8]) -> bool {
        // IDR and BLA pictures. CRA is left out, because pictures after it may refer to pictures before it.
        matches!(hevc_type(nal), 16..=20)
    }

    fn begins(&self, _: Option<&()>, nal: &[u8]) -> bool {
        match hevc_type(nal) {
            0..32 => is_first_segment(nal),
            32..=35 | 39 | 41..=44 | 48..=55 => true,
            _ => false,
        }
    }

    fn could_begin(&self, nal: &[u8]) -> bool {
        !self.is_slice(nal) || is_first_segment(nal)
    }
}

/// MPEG-1 and MPEG-2 video (ISO/IEC 13818-2 6.2.2).
#[derive(Debug, Default)]
pub struct Mpeg2 {
    /// Whether there was a sequence header since the last picture.
    has_header: bool,
    /// Whether the latest picture is an intra picture and follows a sequence header.
    is_key: bool,
}

/// Values of start codes.
const PICTURE: u8 = 0x00;
const USER_DATA: u8 = 0xb2;
const SEQUENCE_HEADER: u8 = 0xb3;
const EXTENSION: u8 = 0xb5;
const GROUP: u8 = 0xb8;

impl Syntax for Mpeg2 {
    type SliceId = ();

    // A slice may end with a zero byte.
    const TRAILING_ZEROS: bool = false;

    fn is_slice(&self, nal: &[u8]) -> bool {
        matches!(nal.first(), Some(0x01..=0xaf))
    }

    fn is_key(&self, _: &[u8]) -> bool {
        self.is_key
    }

    fn begins(&self, _: Option<&()>, nal: &[u8]) -> bool {
        matches!(nal.first(), Some(&(PICTURE | SEQUENCE_HEADER | GROUP)))
    }

    fn could_begin(&self, nal: &[u8]) -> bool {
        !self.is_slice(nal) && !matches!(nal.first(), Some(&(USER_DATA | EXTENSION)))
    }

    fn take(&mut self, nal: &[u8]) -> Result<(), String> {
        match nal {
            [SEQUENCE_HEADER, ..] => self.has_header = true,
            // The header has ten bits of time, then three of type. Type 1 is intra.
            [PICTURE, _, second, ..] => {
                self.is_key = std::mem::take(&mut self.has_header) && second >> 3 & 7 == 1;
            }
            _ => {}
        }
        Ok(())
    }
}

/// MPEG-4 part 2 (ISO/IEC 14496-2 6.2).
#[derive(Debug, Default)]
pub struct Mpeg4;

/// Start code of a VOP, which is a whole picture.
const VOP: u8 = 0xb6;
/// Start code of the end of a sequence.
const SEQUENCE_END: u8 = 0xb1;

impl Syntax for Mpeg4 {
    type SliceId = ();

    const TRAILING_ZEROS: bool = false;

    fn is_slice(&self, nal: &[u8]) -> bool {
        nal.first() == Some(&VOP)
    }

    fn is_key(&self, nal: &[u8]) -> bool {
        matches!(nal, [VOP, kind, ..] if kind >> 6 == 0)
    }

    fn begins(&self, _: Option<&()>, nal: &[u8]) -> bool {
        nal.first() != Some(&SEQUENCE_END)
    }

    fn could_begin(&self, nal: &[u8]) -> bool {
        nal.first() != Some(&SEQUENCE_END)
    }
}

#[cfg(test)]
mod tests;
