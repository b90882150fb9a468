//! The control that describes a frame to a stateless VP8 decoder.

use crate::bytes::{Image, field};

/// Offset and length of the padding at the end of each part.
const PADDING: [(usize, usize); 5] = [
    (field!(v4l2_ctrl_vp8_frame.segment.padding), 1),
    (field!(v4l2_ctrl_vp8_frame.lf.padding), 2),
    (field!(v4l2_ctrl_vp8_frame.quant.padding), 2),
    (field!(v4l2_ctrl_vp8_frame.entropy.padding), 3),
    (field!(v4l2_ctrl_vp8_frame.coder_state.padding), 1),
];

pub(super) fn validate(frame: &mut Image<&mut [u8]>) -> bool {
    PADDING.iter().for_each(|(at, len)| frame.clear(*at, *len));
    let parts = frame.u8(field!(v4l2_ctrl_vp8_frame.num_dct_parts));
    matches!(parts, 1 | 2 | 4 | 8)
}

#[cfg(test)]
mod tests {
    use super::super::compound::CompoundType;
    use super::super::compound::tests::{expect, judged};
    use super::*;

    #[test]
    fn number_of_vp8_partitions_is_checked() {
        const PARTS: usize = field!(v4l2_ctrl_vp8_frame.num_dct_parts);
        let rows = (0..=16).map(|parts| (PARTS, parts, matches!(parts, 1 | 2 | 4 | 8)));
        expect(CompoundType::Vp8Frame, &rows.collect::<Vec<_>>());
    }

    #[test]
    fn vp8_padding_is_cleared() {
        let bytes = judged(CompoundType::Vp8Frame, |frame| {
            PADDING.iter().for_each(|(at, _)| frame.set_u8(*at, 1));
            frame.set_u8(field!(v4l2_ctrl_vp8_frame.version), 3);
        });
        let bytes = bytes.unwrap();
        // The only non-zero bytes are the number of partitions and the version.
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 2);
    }
}
