//! Writes the number codes of AV1 headers, and the open bitstream units (OBUs) that contain the headers.

use crate::parameter_sets::bits::BitWriter;

/// `OBU_TEMPORAL_DELIMITER` without content.
pub(super) const DELIMITER: [u8; 2] = [2 << 3 | 2, 0];
/// `OBU_SEQUENCE_HEADER`.
pub(super) const SEQUENCE: u8 = 1;
/// `OBU_FRAME`: a frame header and tiles.
pub(super) const FRAME: u8 = 6;

/// Writes a signed number of `count` bits.
pub(super) fn put_signed(bits: &mut BitWriter, value: i32, count: u32) {
    // `put` writes only the lowest `count` bits.
    bits.put(u64::from(value.cast_unsigned()), count);
}

/// Writes a number below `limit` with as few bits as possible (AV1, 4.10.7).
pub(super) fn put_below(bits: &mut BitWriter, value: u32, limit: u32) {
    let count = limit.max(1).ilog2() + 1;
    // CAST: the difference is at most 2 to the power of 32.
    let short = ((1_u64 << count) - u64::from(limit)) as u32;
    if value < short {
        bits.put(value.into(), count - 1);
    } else {
        let value = u64::from(value) + u64::from(short);
        bits.put(value >> 1, count - 1);
        bits.put(value & 1, 1);
    }
}

/// Returns an OBU of this type, with its length.
pub(super) fn unit(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut unit = vec![kind << 3 | 2];
    let mut rest = content.len();
    while rest > 0x7f {
        // CAST: 7 bits.
        unit.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    // CAST: 7 bits.
    unit.push(rest as u8);
    unit.extend(content);
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut BitWriter)) -> String {
        let mut bits = BitWriter::default();
        write(&mut bits);
        let count = bits.len();
        let bytes = bits.into_bytes();
        let text: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
        text.chars().take(count).collect()
    }

    #[test]
    fn numbers_below_a_limit_take_few_bits() {
        let codes =
            |limit| (0..limit).map(move |value| written(|bits| put_below(bits, value, limit)));
        let five: Vec<_> = codes(5).collect();
        assert_eq!(five, ["00", "01", "10", "110", "111"]);
        assert_eq!(codes(1).collect::<Vec<_>>(), [""]);
        assert_eq!(codes(4).collect::<Vec<_>>(), ["00", "01", "10", "11"]);
        assert_eq!(written(|bits| put_signed(bits, -3, 7)), "1111101");
    }

    #[test]
    fn units_tell_their_length() {
        assert_eq!(unit(1, &[7])[..], [0x0a, 1, 7]);
        assert_eq!(unit(6, &[0; 300])[..3], [0x32, 0xac, 2]);
    }
}
