//! HEVC: the device makes parameter sets from the controls, and puts them before a picture's slices.

use super::syntax::{Input, Parameters, copied, expect_samples, expect_size};
use vb3_codec::parameter_sets::hevc::{
    PictureSet, References, ScalingFactors, SequenceSet, picture, sps_flag,
};
use vb3_v4l2::{HevcDecodeParams, HevcPps, HevcScalingMatrix, HevcSps, cid};

/// Side of the smallest coding block of a picture, in pixels.
pub(super) const SMALLEST_BLOCK: u32 = 8;

/// Checks the value of a control.
///
/// As in Linux, a chroma format of 0 is accepted, since this is the control's initial value.
/// Source: Linux drivers/staging/media/rkvdec/rkvdec-hevc.c `rkvdec_hevc_validate_sps`.
pub(super) fn check(id: u32, value: &[u8]) -> Result<(), String> {
    match HevcSps::read(value).filter(|_| id == cid::STATELESS_HEVC_SPS) {
        Some(sps) => check_samples(&sps, sps.chroma_format_idc.max(1)),
        None => Ok(()),
    }
}

fn check_samples(sps: &HevcSps, chroma_format_idc: u8) -> Result<(), String> {
    let depths = [sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8];
    expect_samples(chroma_format_idc, depths)
}

/// Puts the parameter sets in front of a picture's slices.
pub(super) fn describe(
    parameters: &Parameters,
    size: (u32, u32),
    slices: Vec<u8>,
) -> Result<Input, String> {
    let sps = parameters.need(cid::STATELESS_HEVC_SPS, HevcSps::read)?;
    check_samples(&sps, sps.chroma_format_idc)?;
    let found = (
        sps.pic_width_in_luma_samples,
        sps.pic_height_in_luma_samples,
    );
    expect_size((found.0.into(), found.1.into()), size)?;
    if sps.num_long_term_ref_pics_sps > 0 {
        return Err(format!(
            "the sequence has {} long-term reference pictures, which no control holds; only \
             sequences with 0 are decoded",
            sps.num_long_term_ref_pics_sps
        ));
    }
    let scaling = match sps.flags & sps_flag::SCALING_LIST_ENABLED {
        0 => None,
        _ => Some(parameters.need(cid::STATELESS_HEVC_SCALING_MATRIX, HevcScalingMatrix::read)?),
    };
    let pps = parameters.get(cid::STATELESS_HEVC_PPS, HevcPps::read);
    let pps = picture_set(&pps.unwrap_or_default(), scaling)?;
    let params = parameters.get(cid::STATELESS_HEVC_DECODE_PARAMS, HevcDecodeParams::read);
    // Without this control, the picture has no references.
    let params = params.unwrap_or_default();
    let entries = params.references.iter();
    let short_term = entries.clone().filter(|entry| !entry.is_long_term);
    let references = References {
        order: params.order,
        short_term: short_term
            .map(|entry| (entry.order, entry.is_current))
            .collect(),
        num_delta_pocs_of_ref_rps_idx: params.num_delta_pocs_of_ref_rps_idx,
    };
    let bytes = picture(&sequence_set(&sps), &pps, &references, &slices)?;
    let references = entries.map(|entry| entry.timestamp_ns).collect();
    Ok(Input::new(bytes, references))
}

fn sequence_set(sps: &HevcSps) -> SequenceSet {
    copied!(
        SequenceSet from sps:
        video_parameter_set_id, seq_parameter_set_id, pic_width_in_luma_samples,
        pic_height_in_luma_samples, bit_depth_luma_minus8, bit_depth_chroma_minus8,
        log2_max_pic_order_cnt_lsb_minus4, sps_max_dec_pic_buffering_minus1,
        sps_max_num_reorder_pics, sps_max_latency_increase_plus1,
        log2_min_luma_coding_block_size_minus3, log2_diff_max_min_luma_coding_block_size,
        log2_min_luma_transform_block_size_minus2, log2_diff_max_min_luma_transform_block_size,
        max_transform_hierarchy_depth_inter, max_transform_hierarchy_depth_intra,
        pcm_sample_bit_depth_luma_minus1, pcm_sample_bit_depth_chroma_minus1,
        log2_min_pcm_luma_coding_block_size_minus3, log2_diff_max_min_pcm_luma_coding_block_size,
        num_short_term_ref_pic_sets, chroma_format_idc, sps_max_sub_layers_minus1, flags;
    )
}

fn picture_set(pps: &HevcPps, scaling: Option<HevcScalingMatrix>) -> Result<PictureSet, String> {
    let (columns, rows) = (pps.num_tile_columns_minus1, pps.num_tile_rows_minus1);
    let widths = pps.column_width_minus1.get(..usize::from(columns));
    let heights = pps.row_height_minus1.get(..usize::from(rows));
    let (Some(widths), Some(heights)) = (widths, heights) else {
        return Err(format!(
            "the picture has {} columns and {} rows of tiles; at most 21 and 23 are possible",
            u32::from(columns) + 1,
            u32::from(rows) + 1
        ));
    };
    let scaling = scaling.map(|HevcScalingMatrix { lists, first }| ScalingFactors { lists, first });
    Ok(copied!(
        PictureSet from pps:
        pic_parameter_set_id, num_extra_slice_header_bits, num_ref_idx_l0_default_active_minus1,
        num_ref_idx_l1_default_active_minus1, init_qp_minus26, diff_cu_qp_delta_depth,
        pps_cb_qp_offset, pps_cr_qp_offset, pps_beta_offset_div2, pps_tc_offset_div2,
        log2_parallel_merge_level_minus2, flags;
        column_width_minus1: widths.to_vec(),
        row_height_minus1: heights.to_vec(),
        scaling,
    ))
}
