//! Detects independent frames of codecs whose streams have no start codes.

use super::{Parser, Unit};
use crate::headers::Vp9Header;
use std::collections::VecDeque;
use std::marker::PhantomData;

/// Treats every piece of input as one unit for the decoder.
#[derive(Debug, Default)]
pub struct Frames<K> {
    units: VecDeque<Unit>,
    codec: PhantomData<K>,
}

impl<K: Key> Parser for Frames<K> {
    fn push(&mut self, tag: u64, data: &[u8]) {
        if !data.is_empty() {
            self.units.push_back(Unit {
                bytes: data.to_vec(),
                tag,
                key: K::is_key(data),
            });
        }
    }

    fn next(&mut self, _: bool) -> Option<Unit> {
        self.units.pop_front()
    }

    fn clear(&mut self) {
        self.units.clear();
    }
}

/// Detects a codec's independent frames.
pub trait Key: Default {
    /// Returns whether `frame` is independent. If `frame` holds several frames, the first one decides.
    fn is_key(frame: &[u8]) -> bool;
}

/// VP8: RFC 6386, 9.1.
#[derive(Debug, Default)]
pub struct Vp8;

impl Key for Vp8 {
    fn is_key(frame: &[u8]) -> bool {
        frame.first().is_some_and(|tag| tag & 1 == 0)
    }
}

/// VP9: bitstream specification, 6.2.
#[derive(Debug, Default)]
pub struct Vp9;

impl Key for Vp9 {
    fn is_key(frame: &[u8]) -> bool {
        matches!(
            Vp9Header::read(frame),
            Some(Vp9Header::Frame { is_key: true, .. })
        )
    }
}

/// AV1: bitstream specification, 5.3. A sequence header precedes each key frame.
#[derive(Debug, Default)]
pub struct Av1;

/// Types of OBUs.
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

impl Key for Av1 {
    fn is_key(unit: &[u8]) -> bool {
        let mut rest = unit;
        // The sequence header is the first OBU, or follows the temporal delimiter.
        for _ in 0..2 {
            let Some((&header, after)) = rest.split_first() else {
                return false;
            };
            match header >> 3 & 0xf {
                SEQUENCE_HEADER => return true,
                // The delimiter may have an extension byte, and a size byte, which is 0.
                TEMPORAL_DELIMITER => {
                    let skipped = usize::from(header >> 2 & 1) + usize::from(header >> 1 & 1);
                    rest = after.get(skipped..).unwrap_or_default();
                }
                _ => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_are_detected_by_first_bits() {
        assert!(Vp8::is_key(&[0x10, 2, 0, 0x9d]));
        assert!(!Vp8::is_key(&[0x11, 2, 0]));
        assert!(Vp9::is_key(&[0b1000_0010]) && Vp9::is_key(&[0b1011_0001]));
        // A frame to show again, one that depends on another, and something that is no frame.
        let others = [[0b1000_1000], [0b1000_0110], [0b0100_0000]];
        assert!(others.iter().all(|frame| !Vp9::is_key(frame)));
        assert!(Av1::is_key(&[0x12, 0, 0x0a, 11]) && Av1::is_key(&[0x0a, 11]));
        assert!(!Av1::is_key(&[0x12, 0, 0x32, 9]) && !Av1::is_key(&[0x12]));
        assert!(!Vp8::is_key(&[]) && !Vp9::is_key(&[]) && !Av1::is_key(&[]));
    }
}
