//! H.264 by x264: one access unit for each picture.

/// Types of NAL units (ITU-T H.264, table 7-1): slices, and supplemental enhancement information.
const SLICES: [u8; 2] = [1, 5];
const SEI: u8 = 6;

/// Returns the type of a NAL unit with its start code; 0 for anything else.
fn kind(unit: &[u8]) -> u8 {
    let after = unit.iter().position(|byte| *byte != 0).map(|at| at + 1);
    let header = after.and_then(|at| unit.get(at));
    header.map_or(0, |header| header & 0x1f)
}

/// Splits a packet into NAL units with their start codes.
/// The last part is the first slice with everything after it.
fn units(packet: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = packet;
    while !SLICES.contains(&kind(rest)) {
        let codes = rest.windows(3).enumerate().skip(3);
        let mut codes = codes.filter(|(_, window)| *window == [0, 0, 1]);
        let Some((code, _)) = codes.next() else {
            break;
        };
        // A long start code begins with one more zero.
        let zero = code.checked_sub(1).and_then(|before| rest.get(before));
        let (unit, after) = rest.split_at(code - usize::from(zero == Some(&0)));
        parts.push(unit);
        rest = after;
    }
    parts.push(rest);
    parts
}

/// Returns the parts of a stream's first packet without x264's description of itself, which a device's stream does
/// not have.
pub(crate) fn without_description(packet: &[u8]) -> Vec<&[u8]> {
    let mut parts = units(packet);
    parts.retain(|unit| kind(unit) != SEI);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_packet_has_no_description() {
        let (set, sei): (&[u8], &[u8]) = (&[0, 0, 0, 1, 0x67, 9], &[0, 0, 1, 6, 5, 0x80]);
        // A slice's bytes are not searched, so the start code inside the slice does not count.
        let slice: &[u8] = &[0, 0, 0, 1, 0x65, 0, 0, 1, 6];
        let whole = [set, sei, slice].concat();
        assert_eq!(units(&whole), [set, sei, slice]);
        assert_eq!(without_description(&whole), [set, slice]);
        assert_eq!(without_description(slice), [slice]);
        assert_eq!(without_description(&[]), [&[0u8; 0]]);
    }
}
