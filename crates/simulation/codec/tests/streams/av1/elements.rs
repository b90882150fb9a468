//! The values that a reader must find in headers.

use crate::headers::Elements;
use vb3_codec::av1::{FrameHeader, Sequence, frame_flag, sequence_flag};

/// Returns the values of all elements that a sequence header codes.
pub(super) fn of_sequence(sequence: &Sequence) -> Elements {
    let flag = |bits| i64::from(sequence.flags & bits != 0);
    let values = [
        ("still_picture", flag(sequence_flag::STILL_PICTURE)),
        (
            "max_frame_width_minus_1",
            sequence.max_frame_width_minus_1.into(),
        ),
        (
            "max_frame_height_minus_1",
            sequence.max_frame_height_minus_1.into(),
        ),
        (
            "use_128x128_superblock",
            flag(sequence_flag::USE_128X128_SUPERBLOCK),
        ),
        (
            "enable_filter_intra",
            flag(sequence_flag::ENABLE_FILTER_INTRA),
        ),
        (
            "enable_intra_edge_filter",
            flag(sequence_flag::ENABLE_INTRA_EDGE_FILTER),
        ),
        (
            "enable_interintra_compound",
            flag(sequence_flag::ENABLE_INTERINTRA_COMPOUND),
        ),
        (
            "enable_masked_compound",
            flag(sequence_flag::ENABLE_MASKED_COMPOUND),
        ),
        (
            "enable_warped_motion",
            flag(sequence_flag::ENABLE_WARPED_MOTION),
        ),
        (
            "enable_dual_filter",
            flag(sequence_flag::ENABLE_DUAL_FILTER),
        ),
        ("enable_order_hint", flag(sequence_flag::ENABLE_ORDER_HINT)),
        ("enable_superres", flag(sequence_flag::ENABLE_SUPERRES)),
        ("enable_cdef", flag(sequence_flag::ENABLE_CDEF)),
        (
            "enable_restoration",
            flag(sequence_flag::ENABLE_RESTORATION),
        ),
        ("color_range", flag(sequence_flag::COLOR_RANGE)),
        (
            "separate_uv_delta_q",
            flag(sequence_flag::SEPARATE_UV_DELTA_Q),
        ),
        (
            "film_grain_params_present",
            flag(sequence_flag::FILM_GRAIN_PARAMS_PRESENT),
        ),
    ];
    let with_hints = [
        ("enable_jnt_comp", flag(sequence_flag::ENABLE_JNT_COMP)),
        (
            "enable_ref_frame_mvs",
            flag(sequence_flag::ENABLE_REF_FRAME_MVS),
        ),
        (
            "order_hint_bits_minus_1",
            i64::from(sequence.order_hint_bits) - 1,
        ),
    ];
    let has_hints = flag(sequence_flag::ENABLE_ORDER_HINT) != 0;
    let with_hints = with_hints.into_iter().filter(|_| has_hints);
    let values = values.into_iter().chain(with_hints);
    values
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Returns the values of all elements, even those that this header does not code.
pub(super) fn of_frame(header: &FrameHeader, hints: &[u32; 8]) -> Elements {
    let flag = |bits| i64::from(header.flags & bits != 0);
    let mut all: Elements = [
        ("frame_type", header.frame_type.into()),
        ("show_frame", flag(frame_flag::SHOW_FRAME)),
        (
            "error_resilient_mode",
            flag(frame_flag::ERROR_RESILIENT_MODE),
        ),
        ("disable_cdf_update", flag(frame_flag::DISABLE_CDF_UPDATE)),
        (
            "allow_screen_content_tools",
            flag(frame_flag::ALLOW_SCREEN_CONTENT_TOOLS),
        ),
        ("order_hint", header.order_hint.into()),
        ("primary_ref_frame", header.primary_ref_frame.into()),
        ("refresh_frame_flags", header.refresh_frame_flags.into()),
        ("frame_width_minus_1", i64::from(header.upscaled_width) - 1),
        ("frame_height_minus_1", i64::from(header.frame_height) - 1),
        ("use_superres", flag(frame_flag::USE_SUPERRES)),
        ("coded_denom", i64::from(header.superres_denom) - 9),
        ("render_and_frame_size_different", 0),
        ("allow_intrabc", flag(frame_flag::ALLOW_INTRABC)),
        ("frame_refs_short_signaling", 0),
        (
            "allow_high_precision_mv",
            flag(frame_flag::ALLOW_HIGH_PRECISION_MV),
        ),
        (
            "is_filter_switchable",
            (header.interpolation_filter == 4).into(),
        ),
        ("interpolation_filter", header.interpolation_filter.into()),
        (
            "is_motion_mode_switchable",
            flag(frame_flag::IS_MOTION_MODE_SWITCHABLE),
        ),
        ("use_ref_frame_mvs", flag(frame_flag::USE_REF_FRAME_MVS)),
        (
            "disable_frame_end_update_cdf",
            flag(frame_flag::DISABLE_FRAME_END_UPDATE_CDF),
        ),
        ("uniform_tile_spacing_flag", header.tiles.is_uniform.into()),
        (
            "context_update_tile_id",
            header.tiles.context_update_tile_id.into(),
        ),
        ("reference_select", flag(frame_flag::REFERENCE_SELECT)),
        ("skip_mode_present", flag(frame_flag::SKIP_MODE_PRESENT)),
        ("allow_warped_motion", flag(frame_flag::ALLOW_WARPED_MOTION)),
        ("reduced_tx_set", flag(frame_flag::REDUCED_TX_SET)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let mut list = |name: &str, values: &[i64]| {
        let named = (0..).zip(values);
        all.extend(named.map(|(at, value): (usize, _)| (format!("{name}[{at}]"), *value)));
    };
    list("ref_order_hint", &hints.map(i64::from));
    list("ref_frame_idx", &header.ref_frame_idx.map(i64::from));
    list("found_ref", &[0; 7]);
    let filter = &header.loop_filter;
    list("loop_filter_level", &filter.level.map(i64::from));
    list("loop_filter_ref_deltas", &filter.ref_deltas.map(i64::from));
    list(
        "loop_filter_mode_deltas",
        &filter.mode_deltas.map(i64::from),
    );
    let cdef = &header.cdef;
    list("cdef_y_pri_strength", &cdef.y_pri_strength.map(i64::from));
    list("cdef_uv_pri_strength", &cdef.uv_pri_strength.map(i64::from));
    // 3 stands for 4.
    list(
        "cdef_y_sec_strength",
        &cdef.y_sec_strength.map(|s| s.min(3).into()),
    );
    list(
        "cdef_uv_sec_strength",
        &cdef.uv_sec_strength.map(|s| s.min(3).into()),
    );
    let code = |kind: u32| [0, 2, 3, 1][kind as usize];
    list("lr_type", &header.restoration.types.map(code));
    let kinds = header.motion.types;
    list("is_global", &kinds.map(|kind| (kind != 0).into()));
    list("is_rot_zoom", &kinds.map(|kind| (kind == 2).into()));
    list("is_translation", &kinds.map(|kind| (kind == 1).into()));
    let segments = &header.segmentation;
    for (at, (enabled, data)) in segments
        .feature_enabled
        .iter()
        .zip(segments.feature_data)
        .enumerate()
    {
        let bits: [i64; 8] = std::array::from_fn(|bit| (enabled >> bit & 1).into());
        list(&format!("feature_enabled[{at}]"), &bits);
        list(&format!("feature_value[{at}]"), &data.map(i64::from));
    }
    if let Some(grain) = &header.film_grain {
        for (name, points) in [("y", &grain.y), ("cb", &grain.cb), ("cr", &grain.cr)] {
            list(
                &format!("point_{name}_value"),
                &points.values.map(i64::from),
            );
            list(
                &format!("point_{name}_scaling"),
                &points.scalings.map(i64::from),
            );
        }
        list(
            "ar_coeffs_y_plus_128",
            &grain.ar_coeffs_y_plus_128.map(i64::from),
        );
        list(
            "ar_coeffs_cb_plus_128",
            &grain.ar_coeffs_cb_plus_128.map(i64::from),
        );
        list(
            "ar_coeffs_cr_plus_128",
            &grain.ar_coeffs_cr_plus_128.map(i64::from),
        );
    }
    all.extend(numbers(header).map(|(name, value)| (name.to_owned(), value)));
    all
}

/// Returns the values of elements without index, of quantisers, filters and film grain.
fn numbers(header: &FrameHeader) -> impl Iterator<Item = (&'static str, i64)> {
    let bit = |flags: u8, bit: u8| i64::from(flags & bit != 0);
    let (q, segments) = (&header.quantization, &header.segmentation);
    let (filter, cdef, sizes) = (&header.loop_filter, &header.cdef, header.restoration.sizes);
    let of_all = [
        ("base_q_idx", q.base_q_idx.into()),
        ("delta_q_y_dc.delta_q", q.delta_q_y_dc.into()),
        ("diff_uv_delta", bit(q.flags, 1)),
        ("delta_q_u_dc.delta_q", q.delta_q_u_dc.into()),
        ("delta_q_u_ac.delta_q", q.delta_q_u_ac.into()),
        ("delta_q_v_dc.delta_q", q.delta_q_v_dc.into()),
        ("delta_q_v_ac.delta_q", q.delta_q_v_ac.into()),
        ("using_qmatrix", bit(q.flags, 2)),
        ("qm_y", q.qm[0].into()),
        ("qm_u", q.qm[1].into()),
        ("segmentation_enabled", bit(segments.flags, 1)),
        ("segmentation_update_map", bit(segments.flags, 2)),
        ("segmentation_temporal_update", bit(segments.flags, 4)),
        ("delta_q_present", bit(q.flags, 4)),
        ("delta_q_res", q.delta_q_res.into()),
        ("delta_lf_present", bit(filter.flags, 4)),
        ("delta_lf_res", filter.delta_lf_res.into()),
        ("delta_lf_multi", bit(filter.flags, 8)),
        ("loop_filter_sharpness", filter.sharpness.into()),
        ("loop_filter_delta_enabled", bit(filter.flags, 1)),
        ("cdef_damping_minus_3", cdef.damping_minus_3.into()),
        ("cdef_bits", cdef.bits.into()),
        ("lr_unit_shift", (sizes[0] / 64).ilog2().into()),
        ("lr_uv_shift", (sizes[0] != sizes[1]).into()),
        ("tx_mode", header.tx_mode.into()),
    ];
    let of_grain = header.film_grain.map(|grain| {
        [
            ("apply_grain", bit(grain.flags, 1)),
            ("grain_seed", grain.grain_seed.into()),
            ("update_grain", 1),
            ("num_y_points", grain.y.count.into()),
            ("chroma_scaling_from_luma", bit(grain.flags, 4)),
            ("num_cb_points", grain.cb.count.into()),
            ("num_cr_points", grain.cr.count.into()),
            ("grain_scaling_minus_8", grain.grain_scaling_minus_8.into()),
            ("ar_coeff_lag", grain.ar_coeff_lag.into()),
            (
                "ar_coeff_shift_minus_6",
                grain.ar_coeff_shift_minus_6.into(),
            ),
            ("grain_scale_shift", grain.grain_scale_shift.into()),
            ("cb_mult", grain.cb_mult.0.into()),
            ("cb_luma_mult", grain.cb_mult.1.into()),
            ("cb_offset", grain.cb_mult.2.into()),
            ("cr_mult", grain.cr_mult.0.into()),
            ("cr_luma_mult", grain.cr_mult.1.into()),
            ("cr_offset", grain.cr_mult.2.into()),
            ("overlap_flag", bit(grain.flags, 8)),
            ("clip_to_restricted_range", bit(grain.flags, 16)),
        ]
    });
    let of_grain = of_grain.map_or(vec![("apply_grain", 0)], Vec::from);
    of_all.into_iter().chain(of_grain)
}
