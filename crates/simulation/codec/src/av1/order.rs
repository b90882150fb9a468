//! The order of frames by their order hints (AV1, 5.9.3 and 5.9.22).

use super::{FrameHeader, Sequence, frame_flag, sequence_flag};

/// Returns by how much `a` is later than `b`. The result is negative if `a` is earlier.
fn distance(a: u32, b: u32, bits: u8) -> i64 {
    let half = 1_i64 << bits.clamp(1, 8).saturating_sub(1);
    let apart = i64::from(a) - i64::from(b);
    (apart & (half - 1)) - (apart & half)
}

/// Returns whether a frame may have `skip_mode`. `hints` are the order hints of its seven references.
/// The frame may if one reference is before it and one after it, or if two are before it.
#[must_use]
pub fn is_skip_mode_allowed(sequence: &Sequence, frame: &FrameHeader, hints: &[u32; 7]) -> bool {
    if frame.is_intra()
        || frame.flags & frame_flag::REFERENCE_SELECT == 0
        || sequence.flags & sequence_flag::ENABLE_ORDER_HINT == 0
    {
        return false;
    }
    let distance = |a, b| distance(a, b, sequence.order_hint_bits);
    let before = |than| {
        let before = hints
            .iter()
            .copied()
            .filter(move |hint| distance(*hint, than) < 0);
        before.reduce(|last, hint| if distance(hint, last) > 0 { hint } else { last })
    };
    let is_after = |hint: &u32| distance(*hint, frame.order_hint) > 0;
    before(frame.order_hint)
        .is_some_and(|last| hints.iter().any(is_after) || before(last).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skip_mode_needs_two_references() {
        let sequence = Sequence {
            flags: sequence_flag::ENABLE_ORDER_HINT,
            order_hint_bits: 7,
            ..Sequence::default()
        };
        let frame = FrameHeader {
            flags: frame_flag::REFERENCE_SELECT,
            frame_type: super::super::frame_type::INTER,
            order_hint: 1,
            ..FrameHeader::default()
        };
        let is_allowed = |hints| is_skip_mode_allowed(&sequence, &frame, &hints);
        assert!(is_allowed([0, 0, 0, 0, 0, 0, 2]));
        assert!(!is_allowed([0; 7]) && !is_allowed([2, 3, 4, 5, 6, 7, 8]));
        // Hints wrap around.
        assert!(is_allowed([127, 0, 0, 0, 0, 0, 0]));
        let single = FrameHeader {
            flags: 0,
            ..frame.clone()
        };
        assert!(!is_skip_mode_allowed(
            &sequence,
            &single,
            &[0, 0, 0, 0, 0, 0, 2]
        ));
    }
}
