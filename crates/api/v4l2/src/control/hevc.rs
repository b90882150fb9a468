//! The controls that describe a picture to a stateless HEVC decoder.
//!
//! Source: Linux 7.2 include/uapi/linux/v4l2-controls.h, differs: slice controls are left out, since
//! decoders of whole frames parse slice headers themselves.

use crate::bytes::{Image, field};
use crate::sys;

/// Maximum number of entries of a decoded picture buffer.
const ENTRIES: u8 = sys::V4L2_HEVC_DPB_ENTRIES_NUM_MAX as u8;

fn has(image: &Image<&mut [u8]>, at: usize, flag: u64) -> bool {
    image.u64(at) & flag != 0
}

pub(super) fn validate_sps(sps: &mut Image<&mut [u8]>) -> bool {
    const FLAGS: usize = field!(v4l2_ctrl_hevc_sps.flags);
    if !has(sps, FLAGS, sys::V4L2_HEVC_SPS_FLAG_PCM_ENABLED.into()) {
        let from = field!(v4l2_ctrl_hevc_sps.pcm_sample_bit_depth_luma_minus1);
        let to = field!(v4l2_ctrl_hevc_sps.num_short_term_ref_pic_sets);
        sps.clear(from, to - from);
    }
    let long_term = sys::V4L2_HEVC_SPS_FLAG_LONG_TERM_REF_PICS_PRESENT;
    if !has(sps, FLAGS, long_term.into()) {
        sps.set_u8(field!(v4l2_ctrl_hevc_sps.num_long_term_ref_pics_sps), 0);
    }
    true
}

pub(super) fn validate_pps(pps: &mut Image<&mut [u8]>) -> bool {
    const FLAGS: usize = field!(v4l2_ctrl_hevc_pps.flags);
    if !has(
        pps,
        FLAGS,
        sys::V4L2_HEVC_PPS_FLAG_CU_QP_DELTA_ENABLED.into(),
    ) {
        pps.set_u8(field!(v4l2_ctrl_hevc_pps.diff_cu_qp_delta_depth), 0);
    }
    if !has(pps, FLAGS, sys::V4L2_HEVC_PPS_FLAG_TILES_ENABLED.into()) {
        let from = field!(v4l2_ctrl_hevc_pps.num_tile_columns_minus1);
        let to = field!(v4l2_ctrl_hevc_pps.pps_beta_offset_div2);
        pps.clear(from, to - from);
        let across = u64::from(sys::V4L2_HEVC_PPS_FLAG_LOOP_FILTER_ACROSS_TILES_ENABLED);
        let flags = pps.u64(FLAGS) & !across;
        pps.set_u64(FLAGS, flags);
    }
    let disabled = sys::V4L2_HEVC_PPS_FLAG_PPS_DISABLE_DEBLOCKING_FILTER;
    if has(pps, FLAGS, disabled.into()) {
        pps.clear(field!(v4l2_ctrl_hevc_pps.pps_beta_offset_div2), 2);
    }
    pps.set_u8(field!(v4l2_ctrl_hevc_pps.reserved), 0);
    true
}

/// Returns the offset of an entry of the decoded picture buffer.
fn entry(index: u8) -> usize {
    let entries = field!(v4l2_ctrl_hevc_decode_params.dpb);
    entries + usize::from(index) * size_of::<sys::v4l2_hevc_dpb_entry>()
}

pub(super) fn validate_decode_params(params: &mut Image<&mut [u8]>) -> bool {
    let count = params.u8(field!(v4l2_ctrl_hevc_decode_params.num_active_dpb_entries));
    for index in 0..count.min(ENTRIES) {
        params.clear(entry(index) + field!(v4l2_hevc_dpb_entry.reserved), 2);
    }
    count <= ENTRIES
}

#[cfg(test)]
mod tests {
    use super::super::compound::CompoundType;
    use super::super::compound::tests::{expect, judged};
    use super::*;

    #[test]
    fn meaningless_hevc_fields_are_cleared() {
        let filled = |of: CompoundType, flags: usize| {
            let bytes = judged(of, |image| {
                image.0.fill(1);
                image.set_u64(flags, 0);
            });
            bytes.unwrap()
        };
        let sps = filled(CompoundType::HevcSps, field!(v4l2_ctrl_hevc_sps.flags));
        let byte = |bytes: &[u8], at: usize| bytes.get(at).copied();
        for (field, value) in [
            (
                field!(v4l2_ctrl_hevc_sps.pcm_sample_bit_depth_luma_minus1),
                0,
            ),
            (
                field!(v4l2_ctrl_hevc_sps.log2_diff_max_min_pcm_luma_coding_block_size),
                0,
            ),
            (field!(v4l2_ctrl_hevc_sps.num_short_term_ref_pic_sets), 1),
            (field!(v4l2_ctrl_hevc_sps.num_long_term_ref_pics_sps), 0),
        ] {
            assert_eq!(byte(&sps, field), Some(value), "{field}");
        }
        let pps = filled(CompoundType::HevcPps, field!(v4l2_ctrl_hevc_pps.flags));
        for (field, value) in [
            (field!(v4l2_ctrl_hevc_pps.num_tile_rows_minus1), 0),
            (field!(v4l2_ctrl_hevc_pps.row_height_minus1), 0),
            (field!(v4l2_ctrl_hevc_pps.row_height_minus1) + 21, 0),
            (field!(v4l2_ctrl_hevc_pps.diff_cu_qp_delta_depth), 0),
            (field!(v4l2_ctrl_hevc_pps.pps_tc_offset_div2), 1),
        ] {
            assert_eq!(byte(&pps, field), Some(value), "{field}");
        }
    }

    #[test]
    fn active_hevc_references_are_checked() {
        let count = field!(v4l2_ctrl_hevc_decode_params.num_active_dpb_entries);
        expect(
            CompoundType::HevcDecodeParams,
            &[(count, 16, true), (count, 17, false)],
        );
        let bytes = judged(CompoundType::HevcDecodeParams, |params| {
            params.set_u8(count, 2);
            params.set_u8(entry(1) + field!(v4l2_hevc_dpb_entry.reserved), 9);
        });
        assert!(!bytes.unwrap().contains(&9));
    }
}
