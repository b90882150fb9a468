//! Quantizers of VP8 and of libvpx.

/// Lists the stream's quantizer index for each of libvpx's quantizers, 0 to 63.
///
/// Source: libvpx `vp8/encoder/onyx_if.c` `q_trans`.
const QUANTIZERS: [u8; 64] = [
    0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 15, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30,
    31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 64, 67, 70, 73, 76, 79, 82, 85,
    88, 91, 94, 97, 100, 103, 106, 109, 112, 115, 118, 121, 124, 127,
];

/// Converts a range of the stream's quantizer indices to libvpx's smallest and largest quantizer.
/// If libvpx has no quantizer in the range, both are libvpx's next larger quantizer.
pub(crate) fn quantizers((least, greatest): (u8, u8)) -> (u32, u32) {
    let below = |limit: u8| QUANTIZERS.partition_point(|index| *index < limit);
    let first = below(least).min(QUANTIZERS.len() - 1);
    let last = below(greatest.saturating_add(1)).saturating_sub(1);
    let small = |value: usize| u32::try_from(value).unwrap_or(0);
    (small(first), small(last.max(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantizers_stay_in_wanted_range() {
        assert_eq!(quantizers((0, 127)), (0, 63));
        assert_eq!(quantizers((6, 11)), (6, 9));
        assert_eq!(quantizers((6, 6)), (6, 6));
        assert_eq!(quantizers((127, 127)), (63, 63));
        for least in 0..=127 {
            let (first, last) = quantizers((least, 127));
            assert!(QUANTIZERS[first as usize] >= least && first <= last);
        }
    }
}
