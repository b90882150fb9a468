//! Converts the values of AV1's controls to headers.

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

/// The bytes of a control's value.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let tail = self.0.get(at..).and_then(<[u8]>::first_chunk);
        tail.copied().unwrap_or([0; N])
    }

    fn u8(&self, at: usize) -> u8 {
        u8::from_ne_bytes(self.get(at))
    }

    fn i8(&self, at: usize) -> i8 {
        i8::from_ne_bytes(self.get(at))
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.get(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.get(at))
    }

    /// Reads an array at an offset. Each of its values has `size` bytes.
    fn list<T, const N: usize>(&self, at: usize, size: usize, one: impl Fn(usize) -> T) -> [T; N] {
        std::array::from_fn(|index| one(at + index * size))
    }

    fn u32s<const N: usize>(&self, at: usize) -> [u32; N] {
        self.list(at, 4, |at| self.u32(at))
    }

    fn i8s<const N: usize>(&self, at: usize) -> [i8; N] {
        self.list(at, 1, |at| self.i8(at))
    }
}

/// A sequence header, and the format of its samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct SequenceControl {
    pub(super) header: Sequence,
    pub(super) profile: u8,
    pub(super) bit_depth: u8,
}

impl SequenceControl {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        use sys::v4l2_ctrl_av1_sequence as Control;
        let control = (bytes.len() == size_of::<Control>()).then_some(Bytes(bytes))?;
        Some(Self {
            header: Sequence {
                flags: control.u32(offset_of!(Control, flags)),
                order_hint_bits: control.u8(offset_of!(Control, order_hint_bits)),
                max_frame_width_minus_1: control.u16(offset_of!(Control, max_frame_width_minus_1)),
                max_frame_height_minus_1: control
                    .u16(offset_of!(Control, max_frame_height_minus_1)),
            },
            profile: control.u8(offset_of!(Control, seq_profile)),
            bit_depth: control.u8(offset_of!(Control, bit_depth)),
        })
    }
}

/// Returns each tile's entry: offset and size in bytes, row, column.
pub(super) fn tile_entries(bytes: &[u8]) -> Option<Vec<[u32; 4]>> {
    let entries = bytes.chunks_exact(size_of::<sys::v4l2_ctrl_av1_tile_group_entry>());
    Some(entries.map(|entry| Bytes(entry).u32s(0)).collect())
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
        let is_whole = bytes.len() == size_of::<sys::v4l2_ctrl_av1_frame>();
        let control = is_whole.then_some(Bytes(bytes))?;
        let ts = |at| u64::from_ne_bytes(control.get(at));
        let denominator = control.u8(at!(superres_denom));
        Some(Self {
            header: FrameHeader {
                flags: control.u32(at!(flags)),
                frame_type: control.u32(at!(frame_type)),
                order_hint: control.u32(at!(order_hint)),
                primary_ref_frame: control.u8(at!(primary_ref_frame)),
                refresh_frame_flags: control.u8(at!(refresh_frame_flags)),
                ref_frame_idx: control.get(at!(ref_frame_idx)),
                upscaled_width: control.u32(at!(upscaled_width)),
                frame_height: control.u32(at!(frame_height_minus_1)).saturating_add(1),
                superres_denom: denominator,
                interpolation_filter: control.u32(at!(interpolation_filter)),
                tx_mode: control.u32(at!(tx_mode)),
                tiles: tiles(&control),
                quantization: quantization(&control),
                segmentation: segmentation(&control),
                loop_filter: loop_filter(&control),
                cdef: Cdef {
                    damping_minus_3: control.u8(at!(cdef.damping_minus_3)),
                    bits: control.u8(at!(cdef.bits)),
                    y_pri_strength: control.get(at!(cdef.y_pri_strength)),
                    y_sec_strength: control.get(at!(cdef.y_sec_strength)),
                    uv_pri_strength: control.get(at!(cdef.uv_pri_strength)),
                    uv_sec_strength: control.get(at!(cdef.uv_sec_strength)),
                },
                restoration: Restoration {
                    types: control.u32s(at!(loop_restoration.frame_restoration_type)),
                    sizes: control.u32s(at!(loop_restoration.loop_restoration_size)),
                },
                motion: motion(&control),
                film_grain: None,
            },
            tile_counts: (
                control.u8(at!(tile_info.tile_cols)),
                control.u8(at!(tile_info.tile_rows)),
            ),
            slots: control.list(at!(reference_frame_ts), 8, ts),
        })
    }
}

fn tiles(control: &Bytes<'_>) -> Tiles {
    // Counts above 64 give a wrong sum of sizes, so a later check refuses them.
    let sizes = |at, count: u8| {
        let sizes: [u32; 64] = control.u32s(at);
        let sizes = sizes.into_iter().map(|less_one| less_one.saturating_add(1));
        sizes.take(count.into()).collect()
    };
    Tiles {
        is_uniform: control.u8(at!(tile_info.flags)) & 1 != 0,
        context_update_tile_id: control.u8(at!(tile_info.context_update_tile_id)),
        columns: sizes(
            at!(tile_info.width_in_sbs_minus_1),
            control.u8(at!(tile_info.tile_cols)),
        ),
        rows: sizes(
            at!(tile_info.height_in_sbs_minus_1),
            control.u8(at!(tile_info.tile_rows)),
        ),
    }
}

fn quantization(control: &Bytes<'_>) -> Quantization {
    Quantization {
        flags: control.u8(at!(quantization.flags)),
        base_q_idx: control.u8(at!(quantization.base_q_idx)),
        delta_q_y_dc: control.i8(at!(quantization.delta_q_y_dc)),
        delta_q_u_dc: control.i8(at!(quantization.delta_q_u_dc)),
        delta_q_u_ac: control.i8(at!(quantization.delta_q_u_ac)),
        delta_q_v_dc: control.i8(at!(quantization.delta_q_v_dc)),
        delta_q_v_ac: control.i8(at!(quantization.delta_q_v_ac)),
        qm: control.get(at!(quantization.qm_y)),
        delta_q_res: control.u8(at!(quantization.delta_q_res)),
    }
}

fn segmentation(control: &Bytes<'_>) -> Segmentation {
    let data = |at| control.list(at, 2, |at| control.u16(at).cast_signed());
    Segmentation {
        flags: control.u8(at!(segmentation.flags)),
        feature_enabled: control.get(at!(segmentation.feature_enabled)),
        feature_data: control.list(at!(segmentation.feature_data), 16, data),
    }
}

fn loop_filter(control: &Bytes<'_>) -> LoopFilter {
    LoopFilter {
        flags: control.u8(at!(loop_filter.flags)),
        level: control.get(at!(loop_filter.level)),
        sharpness: control.u8(at!(loop_filter.sharpness)),
        ref_deltas: control.i8s(at!(loop_filter.ref_deltas)),
        mode_deltas: control.i8s(at!(loop_filter.mode_deltas)),
        delta_lf_res: control.u8(at!(loop_filter.delta_lf_res)),
    }
}

fn motion(control: &Bytes<'_>) -> Motion {
    let params = |at| control.list(at, 4, |at| i32::from_ne_bytes(control.get(at)));
    Motion {
        types: control.u32s(at!(global_motion.type_)),
        params: control.list(at!(global_motion.params), 24, params),
    }
}

/// Returns the film grain of a frame from its control.
pub(super) fn film_grain(bytes: &[u8]) -> Option<FilmGrain> {
    use sys::v4l2_ctrl_av1_film_grain as Control;
    let control = (bytes.len() == size_of::<Control>()).then_some(Bytes(bytes))?;
    let points = |count, values, scalings| GrainPoints {
        count: control.u8(count),
        values: control.get(values),
        scalings: control.get(scalings),
    };
    Some(FilmGrain {
        flags: control.u8(offset_of!(Control, flags)),
        grain_seed: control.u16(offset_of!(Control, grain_seed)),
        y: points(
            offset_of!(Control, num_y_points),
            offset_of!(Control, point_y_value),
            offset_of!(Control, point_y_scaling),
        ),
        cb: points(
            offset_of!(Control, num_cb_points),
            offset_of!(Control, point_cb_value),
            offset_of!(Control, point_cb_scaling),
        ),
        cr: points(
            offset_of!(Control, num_cr_points),
            offset_of!(Control, point_cr_value),
            offset_of!(Control, point_cr_scaling),
        ),
        grain_scaling_minus_8: control.u8(offset_of!(Control, grain_scaling_minus_8)),
        ar_coeff_lag: control.u8(offset_of!(Control, ar_coeff_lag)),
        ar_coeffs_y_plus_128: control.get(offset_of!(Control, ar_coeffs_y_plus_128)),
        ar_coeffs_cb_plus_128: control.get(offset_of!(Control, ar_coeffs_cb_plus_128)),
        ar_coeffs_cr_plus_128: control.get(offset_of!(Control, ar_coeffs_cr_plus_128)),
        ar_coeff_shift_minus_6: control.u8(offset_of!(Control, ar_coeff_shift_minus_6)),
        grain_scale_shift: control.u8(offset_of!(Control, grain_scale_shift)),
        cb_mult: (
            control.u8(offset_of!(Control, cb_mult)),
            control.u8(offset_of!(Control, cb_luma_mult)),
            control.u16(offset_of!(Control, cb_offset)),
        ),
        cr_mult: (
            control.u8(offset_of!(Control, cr_mult)),
            control.u8(offset_of!(Control, cr_luma_mult)),
            control.u16(offset_of!(Control, cr_offset)),
        ),
    })
}
