//! A stream with pictures coded field by field, which no available encoder makes. Its macroblocks
//! are raw samples, or copies from an earlier field.

/// Size of a frame.
pub(super) const SIZE: &str = "64x64";
/// Number of macroblocks of a field.
const MACROBLOCKS: u32 = 4 * 2;

/// A list of bits, the highest first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        self.0
            .extend((0..count).rev().map(|at| value >> at & 1 != 0));
        self
    }

    fn ue(&mut self, value: u32) -> &mut Self {
        let len = (value + 1).ilog2();
        self.put(0, len).put(value + 1, len + 1)
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(8), false);
    }

    /// Writes the raw samples of a macroblock. None of them resembles a part of a start code.
    fn samples(&mut self, seed: &mut u32) {
        self.align();
        for _ in 0..384 {
            *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            self.put(4 + (*seed >> 24) % 250, 8);
        }
    }

    fn nal_unit(&mut self, header: u8) -> Vec<u8> {
        self.put(1, 1).align();
        let bytes = self.0.chunks(8);
        let bytes = bytes.map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)));
        let mut nal = vec![0, 0, 0, 1, header];
        nal.extend(bytes);
        // Only parameter sets contain zero bytes, and never three in a row.
        assert!(
            !nal[4..]
                .windows(3)
                .any(|three| three[..2] == [0, 0] && three[2] < 4)
        );
        nal
    }
}

fn sets() -> Vec<u8> {
    let mut sps = Bits::default();
    // Main profile, level 3; frame numbers of 4 bits; two reference frames; field coding.
    sps.put(77, 8).put(0, 8).put(30, 8);
    sps.ue(0).ue(0).ue(0).ue(0).ue(2).put(0, 1).ue(3).ue(1);
    sps.put(0b0_0100, 5);
    let mut pps = Bits::default();
    pps.ue(0).ue(0).put(0, 2).ue(0).ue(0).ue(0).put(0, 3);
    pps.ue(0).ue(0).ue(0).put(0, 3);
    [sps.nal_unit(0x67), pps.nal_unit(0x68)].concat()
}

/// Writes a field. The first field has raw macroblocks only; later ones have one raw macroblock
/// among copied ones.
fn field(number: u32, is_bottom: bool, seed: &mut u32) -> Vec<u8> {
    let is_first = number == 0 && !is_bottom;
    let mut bits = Bits::default();
    bits.ue(0).ue(if is_first { 7 } else { 5 }).ue(0);
    bits.put(number % 16, 4).put(1, 1).put(is_bottom.into(), 1);
    if is_first {
        bits.ue(0);
    }
    bits.put((2 * number + u32::from(is_bottom)) % 16, 4);
    // Reference lists, marking of references and the quantiser do not change.
    bits.put(0, if is_first { 2 } else { 3 }).ue(0);
    if is_first {
        for _ in 0..MACROBLOCKS {
            bits.ue(25).samples(seed);
        }
        return bits.nal_unit(0x65);
    }
    let at = (number * 3 + u32::from(is_bottom)) % MACROBLOCKS;
    bits.ue(at).ue(30).samples(seed);
    let rest = MACROBLOCKS - 1 - at;
    if rest > 0 {
        bits.ue(rest);
    }
    bits.nal_unit(0x61)
}

/// Returns a stream of `frames` frames.
pub(super) fn stream(frames: u32) -> Vec<u8> {
    let mut seed = 1;
    let fields = (0..frames)
        .flat_map(|number| [false, true].map(|is_bottom| field(number, is_bottom, &mut seed)));
    std::iter::once(sets()).chain(fields).flatten().collect()
}
