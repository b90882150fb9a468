//! HEVC: the device makes parameter sets from the controls, and puts them before a picture's slices.

use super::control::{Bytes, fields};
use super::syntax::{Input, Parameters, expect_samples, expect_size};
use core::mem::offset_of;
use vb3_codec::parameter_sets::hevc::{
    PictureSet, References, ScalingFactors, SequenceSet, picture, sps_flag,
};
use vb3_v4l2::{cid, sys};

use sys::v4l2_ctrl_hevc_decode_params as ParamsControl;
use sys::v4l2_ctrl_hevc_pps as PpsControl;
use sys::v4l2_ctrl_hevc_scaling_matrix as MatrixControl;
use sys::v4l2_ctrl_hevc_sps as SpsControl;

/// Side of the smallest coding block of a picture, in pixels.
pub(crate) const SMALLEST_BLOCK: u32 = 8;

/// Checks the value of a control.
///
/// As in Linux, a chroma format of 0 is accepted, since this is the control's initial value.
/// Source: Linux drivers/staging/media/rkvdec/rkvdec-hevc.c `rkvdec_hevc_validate_sps`.
pub(crate) fn check(id: u32, value: &[u8]) -> Result<(), String> {
    match Bytes::of::<SpsControl>(value).filter(|_| id == cid::STATELESS_HEVC_SPS) {
        Some(sps) => {
            let sps = sequence_set(&sps);
            check_samples(&sps, sps.chroma_format_idc.max(1))
        }
        None => Ok(()),
    }
}

fn check_samples(sps: &SequenceSet, chroma_format_idc: u8) -> Result<(), String> {
    let depths = [sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8];
    expect_samples(chroma_format_idc, depths)
}

/// Puts the parameter sets in front of a picture's slices.
pub(crate) fn describe(
    parameters: &Parameters,
    size: (u32, u32),
    slices: Vec<u8>,
) -> Result<Input, String> {
    let control = parameters.need(cid::STATELESS_HEVC_SPS, Bytes::of::<SpsControl>)?;
    let sps = sequence_set(&control);
    check_samples(&sps, sps.chroma_format_idc)?;
    let found = (
        sps.pic_width_in_luma_samples,
        sps.pic_height_in_luma_samples,
    );
    expect_size((found.0.into(), found.1.into()), size)?;
    let long_term: u8 = control.get(offset_of!(SpsControl, num_long_term_ref_pics_sps));
    if long_term > 0 {
        return Err(format!(
            "the sequence has {long_term} long-term reference pictures, which no control holds; only \
             sequences with 0 are decoded"
        ));
    }
    let pps = parameters.get(cid::STATELESS_HEVC_PPS, Bytes::of::<PpsControl>);
    let mut pps = picture_set(&pps.unwrap_or_default())?;
    if sps.flags & sps_flag::SCALING_LIST_ENABLED != 0 {
        let id = cid::STATELESS_HEVC_SCALING_MATRIX;
        let matrix = parameters.need(id, Bytes::of::<MatrixControl>)?;
        pps.scaling = Some(fields!(
            ScalingFactors from matrix, v4l2_ctrl_hevc_scaling_matrix:
            scaling_list_4x4, scaling_list_8x8, scaling_list_16x16, scaling_list_32x32,
            scaling_list_dc_coef_16x16, scaling_list_dc_coef_32x32;
        ));
    }
    let params = parameters.get(
        cid::STATELESS_HEVC_DECODE_PARAMS,
        Bytes::of::<ParamsControl>,
    );
    // Without this control, the picture has no references.
    let (references, timestamps) = references(&params.unwrap_or_default());
    let bytes = picture(&sps, &pps, &references, &slices)?;
    Ok(Input::new(bytes, timestamps))
}

fn sequence_set(control: &Bytes<'_>) -> SequenceSet {
    fields!(
        SequenceSet from control, v4l2_ctrl_hevc_sps:
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

/// Returns a picture parameter set without scaling lists.
fn picture_set(control: &Bytes<'_>) -> Result<PictureSet, String> {
    let columns: u8 = control.get(offset_of!(PpsControl, num_tile_columns_minus1));
    let rows: u8 = control.get(offset_of!(PpsControl, num_tile_rows_minus1));
    let widths: [u8; 20] = control.get(offset_of!(PpsControl, column_width_minus1));
    let heights: [u8; 22] = control.get(offset_of!(PpsControl, row_height_minus1));
    let widths = widths.get(..usize::from(columns));
    let heights = heights.get(..usize::from(rows));
    let (Some(widths), Some(heights)) = (widths, heights) else {
        return Err(format!(
            "the picture has {} columns and {} rows of tiles; at most 21 and 23 are possible",
            u32::from(columns) + 1,
            u32::from(rows) + 1
        ));
    };
    Ok(fields!(
        PictureSet from control, v4l2_ctrl_hevc_pps:
        pic_parameter_set_id, num_extra_slice_header_bits, num_ref_idx_l0_default_active_minus1,
        num_ref_idx_l1_default_active_minus1, init_qp_minus26, diff_cu_qp_delta_depth,
        pps_cb_qp_offset, pps_cr_qp_offset, pps_beta_offset_div2, pps_tc_offset_div2,
        log2_parallel_merge_level_minus2, flags;
        column_width_minus1: widths.to_vec(),
        row_height_minus1: heights.to_vec(),
        scaling: None,
    ))
}

/// Returns a picture's references, and the timestamps of their CAPTURE buffers in nanoseconds.
fn references(control: &Bytes<'_>) -> (References, Vec<u64>) {
    use sys::v4l2_hevc_dpb_entry as Entry;
    const ENTRIES: usize = sys::V4L2_HEVC_DPB_ENTRIES_NUM_MAX as usize;
    macro_rules! at {
        ($field:ident) => {
            offset_of!(ParamsControl, $field)
        };
    }
    let current = [
        (at!(num_poc_st_curr_before), at!(poc_st_curr_before)),
        (at!(num_poc_st_curr_after), at!(poc_st_curr_after)),
        (at!(num_poc_lt_curr), at!(poc_lt_curr)),
    ]
    .map(|(count, list)| (control.get::<u8>(count), control.get::<[u8; ENTRIES]>(list)));
    let is_current = |index: usize| {
        let mut indexes =
            (current.iter()).flat_map(|(count, list)| list.iter().take((*count).into()));
        indexes.any(|current| usize::from(*current) == index)
    };
    let (mut short_term, mut timestamps) = (Vec::new(), Vec::new());
    let count: u8 = control.get(at!(num_active_dpb_entries));
    for index in 0..ENTRIES.min(count.into()) {
        let entry = control.part(at!(dpb) + index * size_of::<Entry>());
        timestamps.push(entry.get(offset_of!(Entry, timestamp)));
        let flags: u8 = entry.get(offset_of!(Entry, flags));
        if u32::from(flags) & sys::V4L2_HEVC_DPB_ENTRY_LONG_TERM_REFERENCE == 0 {
            let order = entry.get(offset_of!(Entry, pic_order_cnt_val));
            short_term.push((order, is_current(index)));
        }
    }
    let references = References {
        order: control.get(at!(pic_order_cnt_val)),
        short_term,
        num_delta_pocs_of_ref_rps_idx: control.get(at!(num_delta_pocs_of_ref_rps_idx)),
    };
    (references, timestamps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_v4l2::CompoundType;

    #[test]
    fn references_are_those_of_lists() {
        let mut params = CompoundType::HevcDecodeParams.initial();
        params[offset_of!(ParamsControl, num_active_dpb_entries)] = 2;
        params[offset_of!(ParamsControl, num_poc_st_curr_after)] = 255;
        let list = offset_of!(ParamsControl, poc_st_curr_after);
        params[list..list + 16].fill(0xff);
        params[list + 15] = 1;
        let entry = offset_of!(ParamsControl, dpb) + size_of::<sys::v4l2_hevc_dpb_entry>();
        params[entry + offset_of!(sys::v4l2_hevc_dpb_entry, timestamp)] = 70;
        let order = entry + offset_of!(sys::v4l2_hevc_dpb_entry, pic_order_cnt_val);
        params[order..order + 4].copy_from_slice(&(-3_i32).to_ne_bytes());
        let (references, timestamps) = references(&Bytes::of::<ParamsControl>(&params).unwrap());
        assert_eq!(references.short_term, [(0, false), (-3, true)]);
        assert_eq!(timestamps, [0, 70]);
    }
}
