//! The controls that describe a frame to a stateless AV1 decoder.

use crate::bytes::{Image, field};
use crate::sys;

/// All valid flags of a sequence and of a frame: the lowest bits, up to the last defined flag.
const SEQUENCE_FLAGS: u32 = (sys::V4L2_AV1_SEQUENCE_FLAG_SEPARATE_UV_DELTA_Q << 1) - 1;
const FRAME_FLAGS: u32 = (sys::V4L2_AV1_FRAME_FLAG_FRAME_REFS_SHORT_SIGNALING << 1) - 1;

/// Source: Linux `validate_av1_sequence`.
pub(super) fn validate_sequence(sequence: &mut Image<&mut [u8]>) -> bool {
    let flags = sequence.u32(field!(v4l2_ctrl_av1_sequence.flags));
    let is_mono = flags & sys::V4L2_AV1_SEQUENCE_FLAG_MONO_CHROME != 0;
    let profile = sequence.u8(field!(v4l2_ctrl_av1_sequence.seq_profile));
    flags & !SEQUENCE_FLAGS == 0 && profile <= 2 && !(profile == 1 && is_mono)
}

/// Source: Linux `validate_av1_frame`.
pub(super) fn validate_frame(frame: &mut Image<&mut [u8]>) -> bool {
    let flags = frame.u32(field!(v4l2_ctrl_av1_frame.flags));
    flags & !FRAME_FLAGS == 0
        && frame.u8(field!(v4l2_ctrl_av1_frame.superres_denom)) <= 16
        && has_valid_quantization(frame)
        && has_valid_segmentation(frame)
        && has_valid_loop_filter(frame)
        && has_valid_cdef(frame)
        && frame.u8(field!(v4l2_ctrl_av1_frame.loop_restoration.lr_unit_shift)) <= 3
        && frame.u8(field!(v4l2_ctrl_av1_frame.loop_restoration.lr_uv_shift)) <= 1
}

/// Returns whether `len` bytes are at most `limit`.
fn are_at_most(image: &Image<&mut [u8]>, at: usize, len: usize, limit: u8) -> bool {
    (at..at + len).all(|at| image.u8(at) <= limit)
}

/// Returns whether `len` bytes are signed numbers of 7 bits.
fn have_7_bits(image: &Image<&mut [u8]>, at: usize, len: usize) -> bool {
    (at..at + len).all(|at| matches!(image.i8(at), -64..=63))
}

fn has_valid_quantization(frame: &Image<&mut [u8]>) -> bool {
    let most = |at, limit| are_at_most(frame, at, 1, limit);
    let deltas = field!(v4l2_ctrl_av1_frame.quantization.delta_q_y_dc);
    most(field!(v4l2_ctrl_av1_frame.quantization.flags), 7)
        && have_7_bits(frame, deltas, 5)
        && are_at_most(frame, field!(v4l2_ctrl_av1_frame.quantization.qm_y), 3, 15)
        && most(field!(v4l2_ctrl_av1_frame.quantization.delta_q_res), 3)
}

fn has_valid_segmentation(frame: &Image<&mut [u8]>) -> bool {
    /// Limits of the features of a segment. The last three features cannot be negative.
    const LIMITS: [(i16, i16); 8] = [
        (-255, 255),
        (-63, 63),
        (-63, 63),
        (-63, 63),
        (-63, 63),
        (0, 7),
        (0, 0),
        (0, 0),
    ];
    let data = field!(v4l2_ctrl_av1_frame.segmentation.feature_data);
    let values = (0..64).map(|index| frame.u16(data + 2 * index).cast_signed());
    frame.u8(field!(v4l2_ctrl_av1_frame.segmentation.flags)) <= 0x1f
        && values
            .zip(LIMITS.into_iter().cycle())
            .all(|(value, (least, most))| (least..=most).contains(&value))
}

fn has_valid_loop_filter(frame: &Image<&mut [u8]>) -> bool {
    let most = |at, len, limit| are_at_most(frame, at, len, limit);
    let ref_deltas = field!(v4l2_ctrl_av1_frame.loop_filter.ref_deltas);
    let mode_deltas = field!(v4l2_ctrl_av1_frame.loop_filter.mode_deltas);
    most(field!(v4l2_ctrl_av1_frame.loop_filter.flags), 1, 0xf)
        && most(field!(v4l2_ctrl_av1_frame.loop_filter.level), 4, 63)
        && most(field!(v4l2_ctrl_av1_frame.loop_filter.sharpness), 1, 7)
        && have_7_bits(frame, ref_deltas, 8)
        && have_7_bits(frame, mode_deltas, 2)
}

fn has_valid_cdef(frame: &Image<&mut [u8]>) -> bool {
    let bits = frame.u8(field!(v4l2_ctrl_av1_frame.cdef.bits));
    let strengths = [
        (field!(v4l2_ctrl_av1_frame.cdef.y_pri_strength), 15),
        (field!(v4l2_ctrl_av1_frame.cdef.y_sec_strength), 4),
        (field!(v4l2_ctrl_av1_frame.cdef.uv_pri_strength), 15),
        (field!(v4l2_ctrl_av1_frame.cdef.uv_sec_strength), 4),
    ];
    bits <= 3
        && frame.u8(field!(v4l2_ctrl_av1_frame.cdef.damping_minus_3)) <= 3
        && (strengths.into_iter()).all(|(at, limit)| are_at_most(frame, at, 1 << bits, limit))
}

/// Source: Linux `validate_av1_film_grain`.
pub(super) fn validate_film_grain(grain: &mut Image<&mut [u8]>) -> bool {
    let flags = grain.u8(field!(v4l2_ctrl_av1_film_grain.flags));
    let limits = [
        (field!(v4l2_ctrl_av1_film_grain.flags), 0x1f),
        (
            field!(v4l2_ctrl_av1_film_grain.film_grain_params_ref_idx),
            7,
        ),
        (field!(v4l2_ctrl_av1_film_grain.num_y_points), 14),
        (field!(v4l2_ctrl_av1_film_grain.num_cb_points), 10),
        // Linux allows 15, although an AV1 stream has at most 10.
        (field!(v4l2_ctrl_av1_film_grain.num_cr_points), 15),
        (field!(v4l2_ctrl_av1_film_grain.grain_scaling_minus_8), 3),
        (field!(v4l2_ctrl_av1_film_grain.ar_coeff_lag), 3),
        (field!(v4l2_ctrl_av1_film_grain.ar_coeff_shift_minus_6), 3),
        (field!(v4l2_ctrl_av1_film_grain.grain_scale_shift), 3),
    ];
    if !(limits.iter()).all(|(at, limit)| are_at_most(grain, *at, 1, *limit)) {
        return false;
    }
    let points = [
        (
            field!(v4l2_ctrl_av1_film_grain.num_y_points),
            field!(v4l2_ctrl_av1_film_grain.point_y_value),
        ),
        (
            field!(v4l2_ctrl_av1_film_grain.num_cb_points),
            field!(v4l2_ctrl_av1_film_grain.point_cb_value),
        ),
        (
            field!(v4l2_ctrl_av1_film_grain.num_cr_points),
            field!(v4l2_ctrl_av1_film_grain.point_cr_value),
        ),
    ];
    let ascend = |(count, values): &(usize, usize)| {
        let count = usize::from(grain.u8(*count));
        (1..count).all(|at| grain.u8(values + at) > grain.u8(values + at - 1))
    };
    u32::from(flags) & sys::V4L2_AV1_FILM_GRAIN_FLAG_APPLY_GRAIN == 0 || points.iter().all(ascend)
}

#[cfg(test)]
mod tests {
    use super::super::compound::tests::{expect, judged};
    use super::*;
    use crate::CompoundType;

    fn signed(value: i8) -> u8 {
        value.cast_unsigned()
    }

    #[test]
    fn invalid_av1_sequences_are_refused() {
        let profile = field!(v4l2_ctrl_av1_sequence.seq_profile);
        let flags = field!(v4l2_ctrl_av1_sequence.flags);
        let rows = [
            (profile, 2, true),
            (profile, 3, false),
            (flags + 2, 0x0f, true),
            (flags + 2, 0x10, false),
        ];
        expect(CompoundType::Av1Sequence, &rows);
        let mono = judged(CompoundType::Av1Sequence, |sequence| {
            sequence.set_u8(profile, 1);
            sequence.set_u32(flags, sys::V4L2_AV1_SEQUENCE_FLAG_MONO_CHROME);
        });
        assert_eq!(mono, None, "profile 1 without colour");
    }

    #[test]
    fn invalid_av1_frames_are_refused() {
        let data = field!(v4l2_ctrl_av1_frame.segmentation.feature_data);
        let deltas = field!(v4l2_ctrl_av1_frame.loop_filter.ref_deltas);
        let quantization = field!(v4l2_ctrl_av1_frame.quantization.delta_q_y_dc);
        let cdef = field!(v4l2_ctrl_av1_frame.cdef.y_sec_strength);
        let rows = [
            (field!(v4l2_ctrl_av1_frame.flags) + 2, 0x0f, true),
            (field!(v4l2_ctrl_av1_frame.flags) + 2, 0x10, false),
            (field!(v4l2_ctrl_av1_frame.superres_denom), 16, true),
            (field!(v4l2_ctrl_av1_frame.superres_denom), 17, false),
            (quantization, signed(-64), true),
            (quantization + 4, signed(-65), false),
            (field!(v4l2_ctrl_av1_frame.quantization.qm_v), 16, false),
            (field!(v4l2_ctrl_av1_frame.quantization.flags), 8, false),
            (
                field!(v4l2_ctrl_av1_frame.quantization.delta_q_res),
                4,
                false,
            ),
            (field!(v4l2_ctrl_av1_frame.segmentation.flags), 0x20, false),
            (data + 16 * 7 + 2 * 5, 7, true),
            (data + 16 * 7 + 2 * 5, 8, false),
            (data + 16 * 7 + 2 * 5 + 1, 0x80, false),
            (data + 16 * 3 + 2, 64, false),
            (data + 16 * 3 + 1, 1, false),
            (field!(v4l2_ctrl_av1_frame.loop_filter.level) + 3, 64, false),
            (field!(v4l2_ctrl_av1_frame.loop_filter.sharpness), 8, false),
            (field!(v4l2_ctrl_av1_frame.loop_filter.flags), 16, false),
            (deltas + 7, signed(-64), true),
            (deltas + 7, 64, false),
            (
                field!(v4l2_ctrl_av1_frame.loop_filter.mode_deltas),
                64,
                false,
            ),
            (field!(v4l2_ctrl_av1_frame.cdef.bits), 4, false),
            (field!(v4l2_ctrl_av1_frame.cdef.damping_minus_3), 4, false),
            (cdef, 4, true),
            (cdef, 5, false),
            // If `cdef.bits` is 0, only the first strength is used.
            (cdef + 1, 5, true),
            (
                field!(v4l2_ctrl_av1_frame.loop_restoration.lr_unit_shift),
                4,
                false,
            ),
            (
                field!(v4l2_ctrl_av1_frame.loop_restoration.lr_uv_shift),
                2,
                false,
            ),
        ];
        expect(CompoundType::Av1Frame, &rows);
    }

    #[test]
    fn invalid_av1_film_grain_is_refused() {
        let points = field!(v4l2_ctrl_av1_film_grain.num_cb_points);
        let rows = [
            (points, 10, true),
            (points, 11, false),
            (field!(v4l2_ctrl_av1_film_grain.num_cr_points), 15, true),
            (field!(v4l2_ctrl_av1_film_grain.num_cr_points), 16, false),
            (field!(v4l2_ctrl_av1_film_grain.num_y_points), 15, false),
            (field!(v4l2_ctrl_av1_film_grain.flags), 0x20, false),
            (field!(v4l2_ctrl_av1_film_grain.ar_coeff_lag), 4, false),
        ];
        expect(CompoundType::Av1FilmGrain, &rows);
        let with = |flags, second| {
            judged(CompoundType::Av1FilmGrain, |grain| {
                grain.set_u8(field!(v4l2_ctrl_av1_film_grain.flags), flags);
                grain.set_u8(points, 2);
                grain.set_u8(field!(v4l2_ctrl_av1_film_grain.point_cb_value), 5);
                grain.set_u8(field!(v4l2_ctrl_av1_film_grain.point_cb_value) + 1, second);
            })
            .is_some()
        };
        assert!(with(1, 6) && !with(1, 5) && with(0, 5));
    }
}
