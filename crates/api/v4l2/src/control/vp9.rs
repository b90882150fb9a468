//! The controls that describe a frame to a stateless VP9 decoder.

use crate::bytes::{Image, field};
use crate::sys;

/// The flags of 4:2:0, which subsamples in both directions.
const SUBSAMPLING: u32 =
    sys::V4L2_VP9_FRAME_FLAG_X_SUBSAMPLING | sys::V4L2_VP9_FRAME_FLAG_Y_SUBSAMPLING;
/// All valid flags of a frame, of its loop filter, and of its segmentation.
const FLAGS: u32 = 0x3ff;
const FILTER_FLAGS: u8 = 3;
const SEGMENTATION_FLAGS: u8 = 0x1f;

pub(super) fn initialise(frame: &mut Image<&mut [u8]>) {
    frame.set_u8(field!(v4l2_ctrl_vp9_frame.bit_depth), 8);
    frame.set_u32(field!(v4l2_ctrl_vp9_frame.flags), SUBSAMPLING);
}

pub(super) fn validate_compressed_header(header: &mut Image<&mut [u8]>) -> bool {
    let mode = header.u8(field!(v4l2_ctrl_vp9_compressed_hdr.tx_mode));
    u32::from(mode) <= sys::V4L2_VP9_TX_MODE_SELECT
}

/// Source: Linux `validate_vp9_frame`.
pub(super) fn validate_frame(frame: &mut Image<&mut [u8]>) -> bool {
    frame.clear(field!(v4l2_ctrl_vp9_frame.lf.reserved), 7);
    frame.clear(field!(v4l2_ctrl_vp9_frame.quant.reserved), 4);
    frame.clear(field!(v4l2_ctrl_vp9_frame.seg.reserved), 5);
    frame.clear(field!(v4l2_ctrl_vp9_frame.reserved), 7);
    let flags = frame.u32(field!(v4l2_ctrl_vp9_frame.flags));
    let exclusive =
        sys::V4L2_VP9_FRAME_FLAG_ERROR_RESILIENT | sys::V4L2_VP9_FRAME_FLAG_REFRESH_FRAME_CTX;
    let profile = frame.u8(field!(v4l2_ctrl_vp9_frame.profile));
    let depth = frame.u8(field!(v4l2_ctrl_vp9_frame.bit_depth));
    let has_samples = match profile {
        0 | 1 => depth == 8,
        2 | 3 => matches!(depth, 10 | 12),
        _ => false,
    };
    let is_420 = flags & SUBSAMPLING == SUBSAMPLING;
    let most = |at, limit: u32| u32::from(frame.u8(at)) <= limit;
    flags & !FLAGS == 0
        && flags & exclusive != exclusive
        && has_samples
        && is_420 == (profile.is_multiple_of(2))
        && most(
            field!(v4l2_ctrl_vp9_frame.reset_frame_context),
            sys::V4L2_VP9_RESET_FRAME_CTX_ALL,
        )
        && most(
            field!(v4l2_ctrl_vp9_frame.frame_context_idx),
            sys::V4L2_VP9_NUM_FRAME_CTX - 1,
        )
        && most(
            field!(v4l2_ctrl_vp9_frame.interpolation_filter),
            sys::V4L2_VP9_INTERP_FILTER_SWITCHABLE,
        )
        && most(field!(v4l2_ctrl_vp9_frame.tile_cols_log2), 6)
        && most(
            field!(v4l2_ctrl_vp9_frame.reference_mode),
            sys::V4L2_VP9_REFERENCE_MODE_SELECT,
        )
        && has_valid_filter(frame)
        && has_valid_quantisation(frame)
        && has_valid_segmentation(frame)
}

/// Returns whether `len` signed bytes lie within `limit` of 0.
fn are_near_zero(frame: &Image<&mut [u8]>, at: usize, len: usize, limit: u8) -> bool {
    (at..at + len).all(|at| frame.i8(at).unsigned_abs() <= limit)
}

fn has_valid_filter(frame: &Image<&mut [u8]>) -> bool {
    frame.u8(field!(v4l2_ctrl_vp9_frame.lf.flags)) & !FILTER_FLAGS == 0
        && frame.u8(field!(v4l2_ctrl_vp9_frame.lf.level)) <= 63
        && frame.u8(field!(v4l2_ctrl_vp9_frame.lf.sharpness)) <= 7
        && are_near_zero(frame, field!(v4l2_ctrl_vp9_frame.lf.ref_deltas), 4, 63)
        && are_near_zero(frame, field!(v4l2_ctrl_vp9_frame.lf.mode_deltas), 2, 63)
}

fn has_valid_quantisation(frame: &Image<&mut [u8]>) -> bool {
    [
        field!(v4l2_ctrl_vp9_frame.quant.delta_q_y_dc),
        field!(v4l2_ctrl_vp9_frame.quant.delta_q_uv_dc),
        field!(v4l2_ctrl_vp9_frame.quant.delta_q_uv_ac),
    ]
    .into_iter()
    .all(|at| are_near_zero(frame, at, 1, 15))
}

fn has_valid_segmentation(frame: &Image<&mut [u8]>) -> bool {
    let enabled = field!(v4l2_ctrl_vp9_frame.seg.feature_enabled);
    let data = field!(v4l2_ctrl_vp9_frame.seg.feature_data);
    // Limits of the features of each segment: quantiser, filter level, reference, skipping.
    let limits = [255, 63, 3, 0].into_iter().cycle();
    let mut data = (0..32).map(|index| frame.u16(data + 2 * index).cast_signed());
    frame.u8(field!(v4l2_ctrl_vp9_frame.seg.flags)) & !SEGMENTATION_FLAGS == 0
        && (enabled..enabled + 8).all(|at| frame.u8(at) & !0xf == 0)
        && limits
            .zip(&mut data)
            .all(|(limit, value)| value.unsigned_abs() <= limit)
}

#[cfg(test)]
mod tests {
    use super::super::compound::CompoundType;
    use super::super::compound::tests::{expect, judged};
    use super::*;

    fn signed(value: i8) -> u8 {
        value.cast_unsigned()
    }

    #[test]
    fn invalid_vp9_frames_are_refused() {
        let rows = [
            (field!(v4l2_ctrl_vp9_frame.profile), 1, false),
            (field!(v4l2_ctrl_vp9_frame.profile), 4, false),
            (field!(v4l2_ctrl_vp9_frame.bit_depth), 10, false),
            (field!(v4l2_ctrl_vp9_frame.reset_frame_context), 2, true),
            (field!(v4l2_ctrl_vp9_frame.reset_frame_context), 3, false),
            (field!(v4l2_ctrl_vp9_frame.frame_context_idx), 3, true),
            (field!(v4l2_ctrl_vp9_frame.frame_context_idx), 4, false),
            (field!(v4l2_ctrl_vp9_frame.interpolation_filter), 5, false),
            (field!(v4l2_ctrl_vp9_frame.tile_cols_log2), 6, true),
            (field!(v4l2_ctrl_vp9_frame.tile_cols_log2), 7, false),
            (field!(v4l2_ctrl_vp9_frame.reference_mode), 3, false),
            (field!(v4l2_ctrl_vp9_frame.lf.level), 63, true),
            (field!(v4l2_ctrl_vp9_frame.lf.level), 64, false),
            (field!(v4l2_ctrl_vp9_frame.lf.sharpness), 8, false),
            (field!(v4l2_ctrl_vp9_frame.lf.flags), 4, false),
            (field!(v4l2_ctrl_vp9_frame.lf.ref_deltas), signed(-63), true),
            (
                field!(v4l2_ctrl_vp9_frame.lf.ref_deltas) + 3,
                signed(-64),
                false,
            ),
            (field!(v4l2_ctrl_vp9_frame.lf.mode_deltas) + 1, 64, false),
            (
                field!(v4l2_ctrl_vp9_frame.quant.delta_q_y_dc),
                signed(-15),
                true,
            ),
            (field!(v4l2_ctrl_vp9_frame.quant.delta_q_uv_ac), 16, false),
            (field!(v4l2_ctrl_vp9_frame.seg.flags), 0x20, false),
            (
                field!(v4l2_ctrl_vp9_frame.seg.feature_enabled) + 7,
                0x10,
                false,
            ),
            (
                field!(v4l2_ctrl_vp9_frame.seg.feature_data) + 8 * 7 + 2,
                63,
                true,
            ),
            (
                field!(v4l2_ctrl_vp9_frame.seg.feature_data) + 8 * 7 + 2,
                64,
                false,
            ),
            (
                field!(v4l2_ctrl_vp9_frame.seg.feature_data) + 8 * 7 + 6,
                1,
                false,
            ),
            (field!(v4l2_ctrl_vp9_frame.flags) + 1, 4, false),
            (field!(v4l2_ctrl_vp9_frame.flags), 0, false),
        ];
        expect(CompoundType::Vp9Frame, &rows);
        let both = judged(CompoundType::Vp9Frame, |frame| {
            frame.set_u32(field!(v4l2_ctrl_vp9_frame.flags), SUBSAMPLING | 0x24);
        });
        assert_eq!(both, None, "error resilient with a refreshed context");
        let deep = judged(CompoundType::Vp9Frame, |frame| {
            frame.set_u8(field!(v4l2_ctrl_vp9_frame.profile), 3);
            frame.set_u8(field!(v4l2_ctrl_vp9_frame.bit_depth), 12);
            frame.set_u32(field!(v4l2_ctrl_vp9_frame.flags), 0);
        });
        assert!(deep.is_some(), "12 bits");
        let mode = field!(v4l2_ctrl_vp9_compressed_hdr.tx_mode);
        expect(
            CompoundType::Vp9CompressedHdr,
            &[(mode, 4, true), (mode, 5, false)],
        );
    }
}
