//! Converts the values of AV1's controls to headers.

use crate::m2m::stateless::control::{Bytes, Value, fields};
use core::mem::offset_of;
use vb3_codec::av1::{
    Cdef, FilmGrain, FrameHeader, GrainPoints, LoopFilter, Motion, Quantization, Restoration,
    Segmentation, Sequence, Tiles,
};
use vb3_v4l2::sys;

/// Returns the offset of a field in the frame control.
macro_rules! at {
    ($($name:ident).+) => {
        offset_of!(sys::v4l2_ctrl_av1_frame, $($name).+)
    };
}
#[cfg(test)]
pub(super) use at;

/// A sequence header, and the format of its samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct SequenceControl {
    pub(super) header: Sequence,
    pub(super) seq_profile: u8,
    pub(super) bit_depth: u8,
}

impl SequenceControl {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let control = Bytes::of::<sys::v4l2_ctrl_av1_sequence>(bytes)?;
        Some(fields!(
            Self from control, v4l2_ctrl_av1_sequence: seq_profile, bit_depth;
            header: fields!(
                Sequence from control, v4l2_ctrl_av1_sequence:
                flags, order_hint_bits, max_frame_width_minus_1, max_frame_height_minus_1;
            ),
        ))
    }
}

/// Returns each tile's entry: offset and size in bytes, row, column.
pub(super) fn tile_entries(bytes: &[u8]) -> Option<Vec<[u32; 4]>> {
    let entries = bytes.chunks_exact(size_of::<sys::v4l2_ctrl_av1_tile_group_entry>());
    Some(entries.map(Value::read).collect())
}

/// The frame control: a frame header, and values that the header lacks.
#[derive(Clone, Debug)]
pub(super) struct FrameControl {
    /// The header without film grain.
    pub(super) header: FrameHeader,
    /// Number of tile columns and of tile rows.
    pub(super) tile_counts: (u8, u8),
    /// The timestamps of the frames in the reference slots, in nanoseconds.
    pub(super) slots: [u64; 8],
}

impl FrameControl {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let control = Bytes::of::<sys::v4l2_ctrl_av1_frame>(bytes)?;
        let tile_counts = (
            control.get(at!(tile_info.tile_cols)),
            control.get(at!(tile_info.tile_rows)),
        );
        Some(Self {
            header: header(&control, tile_counts),
            tile_counts,
            slots: control.get(at!(reference_frame_ts)),
        })
    }
}

fn header(control: &Bytes<'_>, tile_counts: (u8, u8)) -> FrameHeader {
    fields!(
        FrameHeader from control, v4l2_ctrl_av1_frame:
        flags, frame_type, order_hint, primary_ref_frame, refresh_frame_flags, ref_frame_idx,
        upscaled_width, superres_denom, interpolation_filter, tx_mode;
        frame_height: control.get::<u32>(at!(frame_height_minus_1)).saturating_add(1),
        tiles: tiles(control, tile_counts),
        quantization: fields!(
            Quantization from control.part(at!(quantization)), v4l2_av1_quantization:
            flags, base_q_idx, delta_q_y_dc, delta_q_u_dc, delta_q_u_ac, delta_q_v_dc,
            delta_q_v_ac, delta_q_res;
            qm: control.get(at!(quantization.qm_y)),
        ),
        segmentation: fields!(
            Segmentation from control.part(at!(segmentation)), v4l2_av1_segmentation:
            flags, feature_enabled, feature_data;
        ),
        loop_filter: fields!(
            LoopFilter from control.part(at!(loop_filter)), v4l2_av1_loop_filter:
            flags, level, sharpness, ref_deltas, mode_deltas, delta_lf_res;
        ),
        cdef: fields!(
            Cdef from control.part(at!(cdef)), v4l2_av1_cdef:
            damping_minus_3, bits, y_pri_strength, y_sec_strength, uv_pri_strength,
            uv_sec_strength;
        ),
        restoration: Restoration {
            types: control.get(at!(loop_restoration.frame_restoration_type)),
            sizes: control.get(at!(loop_restoration.loop_restoration_size)),
        },
        motion: Motion {
            types: control.get(at!(global_motion.type_)),
            params: control.get(at!(global_motion.params)),
        },
        film_grain: None,
    )
}

fn tiles(control: &Bytes<'_>, (columns, rows): (u8, u8)) -> Tiles {
    // Counts above 64 give a wrong sum of sizes, so a later check refuses them.
    let sizes = |at, count: u8| {
        let sizes: [u32; 64] = control.get(at);
        let sizes = sizes.into_iter().map(|less_one| less_one.saturating_add(1));
        sizes.take(count.into()).collect()
    };
    Tiles {
        is_uniform: control.get::<u8>(at!(tile_info.flags)) & 1 != 0,
        context_update_tile_id: control.get(at!(tile_info.context_update_tile_id)),
        columns: sizes(at!(tile_info.width_in_sbs_minus_1), columns),
        rows: sizes(at!(tile_info.height_in_sbs_minus_1), rows),
    }
}

/// Returns the film grain of a frame from its control.
pub(super) fn film_grain(bytes: &[u8]) -> Option<FilmGrain> {
    use sys::v4l2_ctrl_av1_film_grain as Control;
    let control = Bytes::of::<Control>(bytes)?;
    // In Linux's structure, the number of points is followed by 16 values and then by 16 scalings.
    let points = |at| GrainPoints {
        count: control.get(at),
        values: control.get(at + 1),
        scalings: control.get(at + 17),
    };
    let mult = |mult, luma_mult, offset| {
        let (mult, luma_mult) = (control.get(mult), control.get(luma_mult));
        (mult, luma_mult, control.get(offset))
    };
    Some(fields!(
        FilmGrain from control, v4l2_ctrl_av1_film_grain:
        flags, grain_seed, grain_scaling_minus_8, ar_coeff_lag, ar_coeffs_y_plus_128,
        ar_coeffs_cb_plus_128, ar_coeffs_cr_plus_128, ar_coeff_shift_minus_6, grain_scale_shift;
        y: points(offset_of!(Control, num_y_points)),
        cb: points(offset_of!(Control, num_cb_points)),
        cr: points(offset_of!(Control, num_cr_points)),
        cb_mult: mult(
            offset_of!(Control, cb_mult),
            offset_of!(Control, cb_luma_mult),
            offset_of!(Control, cb_offset),
        ),
        cr_mult: mult(
            offset_of!(Control, cr_mult),
            offset_of!(Control, cr_luma_mult),
            offset_of!(Control, cr_offset),
        ),
    ))
}
