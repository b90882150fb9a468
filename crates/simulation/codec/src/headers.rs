//! Parses headers of VP8 and VP9 frames, to compare them with the frame parameters that a program passes.

/// The header of a VP8 frame (RFC 6386, 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vp8Header {
    /// Columns and lines of a key frame; `None` for other frames.
    pub key_size: Option<(u16, u16)>,
    /// Bytes of the header. The first partition follows it.
    pub len: u32,
    /// Bytes of the first partition.
    pub first_part_size: u32,
}

impl Vp8Header {
    /// Parses a frame; `None` if it has no complete header.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (tag, rest) = frame.split_first_chunk::<3>()?;
        let tag = u32::from_le_bytes([tag[0], tag[1], tag[2], 0]);
        let key_size = match (tag & 1, rest) {
            (1, _) => None,
            (_, [0x9d, 1, 0x2a, left, right, top, bottom, ..]) => {
                // The upper two bits are the scaling.
                let side = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
                Some((side(*left, *right), side(*top, *bottom)))
            }
            _ => return None,
        };
        Some(Self {
            key_size,
            len: if key_size.is_some() { 10 } else { 3 },
            first_part_size: tag >> 5,
        })
    }
}

/// The first fields of a VP9 frame (bitstream specification, 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vp9Header {
    /// Codes no new frame: the header has the number of an earlier frame to show again.
    ShowExisting,
    /// A frame.
    Frame {
        /// The profile, 0 to 3.
        profile: u8,
        /// Whether the frame is independent.
        is_key: bool,
        /// Columns and lines of a key frame of profile 0; `None` for other or incomplete frames.
        key_size: Option<(u32, u32)>,
    },
}

impl Vp9Header {
    /// Parses a frame; `None` if it has no header.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let first = *frame.first()?;
        let bit = |at: u8| first >> (7 - at) & 1;
        let profile = bit(2) | bit(3) << 1;
        // A reserved bit follows profile 3.
        let at = if profile == 3 { 5 } else { 4 };
        (first >> 6 == 2).then(|| match bit(at) {
            1 => Self::ShowExisting,
            _ => {
                let is_key = bit(at + 1) == 0;
                let has_size = is_key && profile == 0;
                let size = frame.get(4..9).filter(|_| has_size);
                Self::Frame {
                    profile,
                    is_key,
                    key_size: size.map(Self::size),
                }
            }
        })
    }

    /// Parses a key frame's size, which follows four bits of colour information.
    fn size(bytes: &[u8]) -> (u32, u32) {
        let bits = bytes
            .iter()
            .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        // CAST: 16 bits.
        let side = |from: u32| (bits >> from & 0xffff) as u32 + 1;
        (side(20), side(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp8_headers_have_size_and_partition() {
        let key = [0x50, 3, 0, 0x9d, 1, 0x2a, 0xb0, 0, 0x90, 0x40];
        let wanted = Vp8Header {
            key_size: Some((176, 144)),
            len: 10,
            first_part_size: 0x350 >> 5,
        };
        assert_eq!(Vp8Header::read(&key), Some(wanted));
        assert_eq!(Vp8Header::read(&key[..9]), None);
        let mut other = key;
        other[3] = 0;
        assert_eq!(Vp8Header::read(&other), None);
        other[0] |= 1;
        let wanted = Vp8Header {
            key_size: None,
            len: 3,
            ..wanted
        };
        assert_eq!(Vp8Header::read(&other), Some(wanted));
        assert_eq!(Vp8Header::read(&other[..2]), None);
    }

    #[test]
    fn vp9_headers_have_profile_and_kind() {
        let with = |profile, is_key, key_size| {
            Some(Vp9Header::Frame {
                profile,
                is_key,
                key_size,
            })
        };
        let frame = |profile, is_key| with(profile, is_key, None);
        for (first, wanted) in [
            (0b1000_0010, frame(0, true)),
            (0b1000_0110, frame(0, false)),
            (0b1001_0110, frame(2, false)),
            (0b1011_0001, frame(3, true)),
            (0b1000_1000, Some(Vp9Header::ShowExisting)),
            (0b0100_0000, None),
        ] {
            assert_eq!(Vp9Header::read(&[first]), wanted, "{first:08b}");
        }
        assert_eq!(Vp9Header::read(&[]), None);
        let key = [0b1000_0010, 0x49, 0x83, 0x42, 0xf0, 3, 0xe1, 0x23, 0x4f];
        assert_eq!(Vp9Header::read(&key), with(0, true, Some((63, 0x1235))));
        assert_eq!(Vp9Header::read(&key[..8]), frame(0, true));
    }
}
