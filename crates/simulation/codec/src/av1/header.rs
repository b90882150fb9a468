//! The values of sequence and frame headers.

use super::Motion;

/// Number of reference slots.
pub const SLOTS: usize = 8;

/// Flags of a [`Sequence`], with Linux's numbers.
#[expect(missing_docs, reason = "flags are syntax elements of AV1, 5.5.1")]
pub mod sequence_flag {
    pub const STILL_PICTURE: u32 = 1;
    pub const USE_128X128_SUPERBLOCK: u32 = 1 << 1;
    pub const ENABLE_FILTER_INTRA: u32 = 1 << 2;
    pub const ENABLE_INTRA_EDGE_FILTER: u32 = 1 << 3;
    pub const ENABLE_INTERINTRA_COMPOUND: u32 = 1 << 4;
    pub const ENABLE_MASKED_COMPOUND: u32 = 1 << 5;
    pub const ENABLE_WARPED_MOTION: u32 = 1 << 6;
    pub const ENABLE_DUAL_FILTER: u32 = 1 << 7;
    pub const ENABLE_ORDER_HINT: u32 = 1 << 8;
    pub const ENABLE_JNT_COMP: u32 = 1 << 9;
    pub const ENABLE_REF_FRAME_MVS: u32 = 1 << 10;
    pub const ENABLE_SUPERRES: u32 = 1 << 11;
    pub const ENABLE_CDEF: u32 = 1 << 12;
    pub const ENABLE_RESTORATION: u32 = 1 << 13;
    pub const MONO_CHROME: u32 = 1 << 14;
    pub const COLOR_RANGE: u32 = 1 << 15;
    pub const SUBSAMPLING_X: u32 = 1 << 16;
    pub const SUBSAMPLING_Y: u32 = 1 << 17;
    pub const FILM_GRAIN_PARAMS_PRESENT: u32 = 1 << 18;
    pub const SEPARATE_UV_DELTA_Q: u32 = 1 << 19;
}

/// Flags of a [`FrameHeader`], with Linux's numbers.
#[expect(missing_docs, reason = "flags are syntax elements of AV1, 5.9.2")]
pub mod frame_flag {
    pub const SHOW_FRAME: u32 = 1;
    pub const ERROR_RESILIENT_MODE: u32 = 1 << 2;
    pub const DISABLE_CDF_UPDATE: u32 = 1 << 3;
    pub const ALLOW_SCREEN_CONTENT_TOOLS: u32 = 1 << 4;
    pub const FORCE_INTEGER_MV: u32 = 1 << 5;
    pub const ALLOW_INTRABC: u32 = 1 << 6;
    pub const USE_SUPERRES: u32 = 1 << 7;
    pub const ALLOW_HIGH_PRECISION_MV: u32 = 1 << 8;
    pub const IS_MOTION_MODE_SWITCHABLE: u32 = 1 << 9;
    pub const USE_REF_FRAME_MVS: u32 = 1 << 10;
    pub const DISABLE_FRAME_END_UPDATE_CDF: u32 = 1 << 11;
    pub const ALLOW_WARPED_MOTION: u32 = 1 << 12;
    pub const REFERENCE_SELECT: u32 = 1 << 13;
    pub const REDUCED_TX_SET: u32 = 1 << 14;
    pub const SKIP_MODE_PRESENT: u32 = 1 << 16;
}

/// Types of a [`FrameHeader`].
#[expect(missing_docs, reason = "names are those of AV1, 6.8.2")]
pub mod frame_type {
    pub const KEY: u32 = 0;
    pub const INTER: u32 = 1;
    pub const INTRA_ONLY: u32 = 2;
    pub const SWITCH: u32 = 3;
}

/// A sequence header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Bits of [`sequence_flag`].
    pub flags: u32,
    /// Number of bits of an order hint.
    pub order_hint_bits: u8,
    /// Largest width less 1.
    pub max_frame_width_minus_1: u16,
    /// Largest height less 1.
    pub max_frame_height_minus_1: u16,
}

/// A frame header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are syntax elements of AV1, 5.9")]
pub struct FrameHeader {
    /// Bits of [`frame_flag`].
    pub flags: u32,
    /// One of the numbers in [`frame_type`].
    pub frame_type: u32,
    pub order_hint: u32,
    pub primary_ref_frame: u8,
    pub refresh_frame_flags: u8,
    pub ref_frame_idx: [u8; 7],
    pub upscaled_width: u32,
    pub frame_height: u32,
    pub superres_denom: u8,
    pub interpolation_filter: u32,
    pub tx_mode: u32,
    pub tiles: Tiles,
    pub quantization: Quantization,
    pub segmentation: Segmentation,
    pub loop_filter: LoopFilter,
    pub cdef: Cdef,
    pub restoration: Restoration,
    pub motion: Motion,
    /// The film grain; `None` if the frame has none.
    pub film_grain: Option<FilmGrain>,
}

/// Sizes of a frame's tiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiles {
    /// Whether all tiles have one size, except those at the right and bottom edges.
    pub is_uniform: bool,
    /// Number of the tile whose final probabilities later frames can start from.
    pub context_update_tile_id: u8,
    /// The width of each column in superblocks.
    pub columns: Vec<u32>,
    /// The height of each row in superblocks.
    pub rows: Vec<u32>,
}

/// Quantisers. Bits of `flags`: 1: V's differ from U's; 2: matrices used; 4: blocks may change quantisers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are syntax elements of AV1, 5.9.12")]
pub struct Quantization {
    pub flags: u8,
    pub base_q_idx: u8,
    pub delta_q_y_dc: i8,
    pub delta_q_u_dc: i8,
    pub delta_q_u_ac: i8,
    pub delta_q_v_dc: i8,
    pub delta_q_v_ac: i8,
    /// The matrices of Y, U and V.
    pub qm: [u8; 3],
    pub delta_q_res: u8,
}

/// Segments. Bits of `flags`: 1: enabled; 2: a map is coded; 4: it is coded relative to the previous map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are syntax elements of AV1, 5.9.14")]
pub struct Segmentation {
    pub flags: u8,
    /// The features of each segment, as bits.
    pub feature_enabled: [u8; 8],
    pub feature_data: [[i16; 8]; 8],
}

/// Loop filter. Bits of `flags`: 1: levels depend on reference and mode; 4: a block may change the level;
/// 8: a block may change each of the four levels separately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are syntax elements of AV1, 5.9.11")]
pub struct LoopFilter {
    pub flags: u8,
    pub level: [u8; 4],
    pub sharpness: u8,
    pub ref_deltas: [i8; 8],
    pub mode_deltas: [i8; 2],
    pub delta_lf_res: u8,
}

/// The constrained directional enhancement filter (CDEF).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are syntax elements of AV1, 5.9.19")]
pub struct Cdef {
    pub damping_minus_3: u8,
    pub bits: u8,
    pub y_pri_strength: [u8; 8],
    pub y_sec_strength: [u8; 8],
    pub uv_pri_strength: [u8; 8],
    pub uv_sec_strength: [u8; 8],
}

/// Loop restoration of Y, U and V.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Type of each plane: 0: none, 1: Wiener, 2: self-guided, 3: either.
    pub types: [u32; 3],
    /// Side of each plane's units in samples: 64, 128 or 256.
    pub sizes: [u32; 3],
}

/// Film grain. Bits of `flags`: 1: applied; 4: chroma uses luma's points; 8: blocks overlap;
/// 16: samples are clipped to limited range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are syntax elements of AV1, 5.9.30")]
pub struct FilmGrain {
    pub flags: u8,
    pub grain_seed: u16,
    pub y: GrainPoints,
    pub cb: GrainPoints,
    pub cr: GrainPoints,
    pub grain_scaling_minus_8: u8,
    pub ar_coeff_lag: u8,
    pub ar_coeffs_y_plus_128: [u8; 25],
    pub ar_coeffs_cb_plus_128: [u8; 25],
    pub ar_coeffs_cr_plus_128: [u8; 25],
    pub ar_coeff_shift_minus_6: u8,
    pub grain_scale_shift: u8,
    /// `mult`, `luma_mult` and `offset` of U and V.
    pub cb_mult: (u8, u8, u16),
    pub cr_mult: (u8, u8, u16),
}

/// Points of the function from a sample's value to the strength of grain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrainPoints {
    /// Number of points.
    pub count: u8,
    /// Sample values of the points.
    pub values: [u8; 16],
    /// Strengths of the points.
    pub scalings: [u8; 16],
}

#[cfg(test)]
mod tests {
    use super::{frame_flag as frame, sequence_flag as sequence};

    /// Linux has two more flags of a frame, in bits 1 and 15.
    #[test]
    fn flags_have_linuxs_numbers() {
        let of_sequence = [
            sequence::STILL_PICTURE,
            sequence::USE_128X128_SUPERBLOCK,
            sequence::ENABLE_FILTER_INTRA,
            sequence::ENABLE_INTRA_EDGE_FILTER,
            sequence::ENABLE_INTERINTRA_COMPOUND,
            sequence::ENABLE_MASKED_COMPOUND,
            sequence::ENABLE_WARPED_MOTION,
            sequence::ENABLE_DUAL_FILTER,
            sequence::ENABLE_ORDER_HINT,
            sequence::ENABLE_JNT_COMP,
            sequence::ENABLE_REF_FRAME_MVS,
            sequence::ENABLE_SUPERRES,
            sequence::ENABLE_CDEF,
            sequence::ENABLE_RESTORATION,
            sequence::MONO_CHROME,
            sequence::COLOR_RANGE,
            sequence::SUBSAMPLING_X,
            sequence::SUBSAMPLING_Y,
            sequence::FILM_GRAIN_PARAMS_PRESENT,
            sequence::SEPARATE_UV_DELTA_Q,
        ];
        assert!((0..).zip(of_sequence).all(|(bit, flag)| flag == 1 << bit));
        let of_frame = [
            frame::SHOW_FRAME,
            frame::ERROR_RESILIENT_MODE,
            frame::DISABLE_CDF_UPDATE,
            frame::ALLOW_SCREEN_CONTENT_TOOLS,
            frame::FORCE_INTEGER_MV,
            frame::ALLOW_INTRABC,
            frame::USE_SUPERRES,
            frame::ALLOW_HIGH_PRECISION_MV,
            frame::IS_MOTION_MODE_SWITCHABLE,
            frame::USE_REF_FRAME_MVS,
            frame::DISABLE_FRAME_END_UPDATE_CDF,
            frame::ALLOW_WARPED_MOTION,
            frame::REFERENCE_SELECT,
            frame::REDUCED_TX_SET,
            frame::SKIP_MODE_PRESENT,
        ];
        let mut bits = (0..).filter(|bit| !matches!(bit, 1 | 15)).zip(of_frame);
        assert!(bits.all(|(bit, flag)| flag == 1 << bit));
    }
}
