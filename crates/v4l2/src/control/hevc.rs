//! The controls that describe a picture to a stateless HEVC decoder.
//!
//! Source: Linux 7.2 include/uapi/linux/v4l2-controls.h, differs: slice controls are left out, since
//! decoders of whole frames parse slice headers themselves.

use super::compound::{CompoundType, sized, structure};
use crate::bytes::{Image, field};
use crate::sys;

/// Maximum number of entries of a decoded picture buffer.
const ENTRIES: u8 = sys::V4L2_HEVC_DPB_ENTRIES_NUM_MAX as u8;

fn has(image: &Image<'_>, at: usize, flag: u64) -> bool {
    image.u64(at) & flag != 0
}

pub(super) fn validate_sps(sps: &mut Image<'_>) -> bool {
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

pub(super) fn validate_pps(pps: &mut Image<'_>) -> bool {
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

pub(super) fn validate_decode_params(params: &mut Image<'_>) -> bool {
    let count = params.u8(field!(v4l2_ctrl_hevc_decode_params.num_active_dpb_entries));
    for index in 0..count.min(ENTRIES) {
        params.clear(entry(index) + field!(v4l2_hevc_dpb_entry.reserved), 2);
    }
    count <= ENTRIES
}

structure! {
    /// A sequence parameter set. Names are those of the standard; `flags` are
    /// `V4L2_HEVC_SPS_FLAG_*`.
    HevcSps, HevcSps, v4l2_ctrl_hevc_sps {
        video_parameter_set_id: u8,
        seq_parameter_set_id: u8,
        pic_width_in_luma_samples: u16,
        pic_height_in_luma_samples: u16,
        bit_depth_luma_minus8: u8,
        bit_depth_chroma_minus8: u8,
        log2_max_pic_order_cnt_lsb_minus4: u8,
        sps_max_dec_pic_buffering_minus1: u8,
        sps_max_num_reorder_pics: u8,
        sps_max_latency_increase_plus1: u8,
        log2_min_luma_coding_block_size_minus3: u8,
        log2_diff_max_min_luma_coding_block_size: u8,
        log2_min_luma_transform_block_size_minus2: u8,
        log2_diff_max_min_luma_transform_block_size: u8,
        max_transform_hierarchy_depth_inter: u8,
        max_transform_hierarchy_depth_intra: u8,
        pcm_sample_bit_depth_luma_minus1: u8,
        pcm_sample_bit_depth_chroma_minus1: u8,
        log2_min_pcm_luma_coding_block_size_minus3: u8,
        log2_diff_max_min_pcm_luma_coding_block_size: u8,
        num_short_term_ref_pic_sets: u8,
        num_long_term_ref_pics_sps: u8,
        chroma_format_idc: u8,
        sps_max_sub_layers_minus1: u8,
        flags: u64,
    }
}

structure! {
    /// A picture parameter set. Names are those of the standard; `flags` are `V4L2_HEVC_PPS_FLAG_*`.
    #[derive(Default)]
    HevcPps, HevcPps, v4l2_ctrl_hevc_pps {
        pic_parameter_set_id: u8,
        num_extra_slice_header_bits: u8,
        num_ref_idx_l0_default_active_minus1: u8,
        num_ref_idx_l1_default_active_minus1: u8,
        init_qp_minus26: i8,
        diff_cu_qp_delta_depth: u8,
        pps_cb_qp_offset: i8,
        pps_cr_qp_offset: i8,
        num_tile_columns_minus1: u8,
        num_tile_rows_minus1: u8,
        pps_beta_offset_div2: i8,
        pps_tc_offset_div2: i8,
        log2_parallel_merge_level_minus2: u8,
        flags: u64,
        ;
        column_width_minus1: [u8; 20],
        row_height_minus1: [u8; 22],
    }
}

/// Scaling lists, in the order of the standard. The factors of a list are row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HevcScalingMatrix {
    /// For blocks of 4x4, 8x8, 16x16 and 32x32: a list for each `matrixId`.
    pub lists: [Vec<Vec<u8>>; 4],
    /// The DC factor of each list for 16x16 and for 32x32.
    pub first: [Vec<u8>; 2],
}

impl HevcScalingMatrix {
    /// Parses a control's value; `None` if its size is wrong.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = sized(bytes, CompoundType::HevcScalingMatrix)?;
        macro_rules! part {
            ($field:ident, $len:expr) => {{
                let from = field!(v4l2_ctrl_hevc_scaling_matrix.$field);
                bytes.get(from..from + $len).unwrap_or_default()
            }};
        }
        let lists = |part: &[u8], len| part.chunks(len).map(<[u8]>::to_vec).collect();
        Some(Self {
            lists: [
                lists(part!(scaling_list_4x4, 6 * 16), 16),
                lists(part!(scaling_list_8x8, 6 * 64), 64),
                lists(part!(scaling_list_16x16, 6 * 64), 64),
                lists(part!(scaling_list_32x32, 2 * 64), 64),
            ],
            first: [
                part!(scaling_list_dc_coef_16x16, 6).to_vec(),
                part!(scaling_list_dc_coef_32x32, 2).to_vec(),
            ],
        })
    }
}

/// A reference picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HevcReference {
    /// Timestamp of the reference's CAPTURE buffer in nanoseconds.
    pub timestamp_ns: u64,
    /// The reference's place in display order.
    pub order: i32,
    /// Whether the picture is a long-term reference.
    pub is_long_term: bool,
    /// Whether the current picture may refer to it. If not, only later pictures may.
    pub is_current: bool,
}

/// A picture's references.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HevcDecodeParams {
    /// The picture's place in display order.
    pub order: i32,
    /// `NumDeltaPocs` of the sequence's reference picture set from which the slice header predicts its set.
    pub num_delta_pocs_of_ref_rps_idx: u8,
    /// The decoded picture buffer.
    pub references: Vec<HevcReference>,
}

impl HevcDecodeParams {
    /// Parses a control's value; `None` if its size is wrong.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut copy = sized(bytes, CompoundType::HevcDecodeParams)?;
        let image = Image(&mut copy);
        let mut current = [false; ENTRIES as usize];
        for (count, list) in [
            (
                field!(v4l2_ctrl_hevc_decode_params.num_poc_st_curr_before),
                field!(v4l2_ctrl_hevc_decode_params.poc_st_curr_before),
            ),
            (
                field!(v4l2_ctrl_hevc_decode_params.num_poc_st_curr_after),
                field!(v4l2_ctrl_hevc_decode_params.poc_st_curr_after),
            ),
            (
                field!(v4l2_ctrl_hevc_decode_params.num_poc_lt_curr),
                field!(v4l2_ctrl_hevc_decode_params.poc_lt_curr),
            ),
        ] {
            for at in 0..image.u8(count).min(ENTRIES) {
                let index = usize::from(image.u8(list + usize::from(at)));
                if let Some(is_current) = current.get_mut(index) {
                    *is_current = true;
                }
            }
        }
        let count = image.u8(field!(v4l2_ctrl_hevc_decode_params.num_active_dpb_entries));
        let long_term = sys::V4L2_HEVC_DPB_ENTRY_LONG_TERM_REFERENCE as u8;
        let references = (0..count.min(ENTRIES)).zip(current);
        let references = references.map(|(index, is_current)| HevcReference {
            timestamp_ns: image.u64(entry(index) + field!(v4l2_hevc_dpb_entry.timestamp)),
            order: image.i32(entry(index) + field!(v4l2_hevc_dpb_entry.pic_order_cnt_val)),
            is_long_term: image.u8(entry(index) + field!(v4l2_hevc_dpb_entry.flags)) & long_term
                != 0,
            is_current,
        });
        Some(Self {
            order: image.i32(field!(v4l2_ctrl_hevc_decode_params.pic_order_cnt_val)),
            num_delta_pocs_of_ref_rps_idx: image.u8(field!(
                v4l2_ctrl_hevc_decode_params.num_delta_pocs_of_ref_rps_idx
            )),
            references: references.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
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
        let sps = HevcSps::read(&sps).unwrap();
        assert_eq!(sps.pcm_sample_bit_depth_luma_minus1, 0);
        assert_eq!(sps.log2_diff_max_min_pcm_luma_coding_block_size, 0);
        assert_eq!(
            (
                sps.num_short_term_ref_pic_sets,
                sps.num_long_term_ref_pics_sps
            ),
            (1, 0)
        );
        let pps = filled(CompoundType::HevcPps, field!(v4l2_ctrl_hevc_pps.flags));
        let pps = HevcPps::read(&pps).unwrap();
        assert_eq!(
            (pps.num_tile_rows_minus1, pps.row_height_minus1),
            (0, [0; 22])
        );
        assert_eq!((pps.diff_cu_qp_delta_depth, pps.pps_tc_offset_div2), (0, 1));
    }

    #[test]
    fn references_are_those_of_lists() {
        let count = field!(v4l2_ctrl_hevc_decode_params.num_active_dpb_entries);
        expect(
            CompoundType::HevcDecodeParams,
            &[(count, 16, true), (count, 17, false)],
        );
        let bytes = judged(CompoundType::HevcDecodeParams, |params| {
            params.set_u8(count, 2);
            params.set_u8(
                field!(v4l2_ctrl_hevc_decode_params.num_poc_st_curr_after),
                255,
            );
            let list = field!(v4l2_ctrl_hevc_decode_params.poc_st_curr_after);
            params.0.get_mut(list..list + 16).unwrap().fill(0xff);
            params.set_u8(list + 15, 1);
            params.set_u64(entry(1) + field!(v4l2_hevc_dpb_entry.timestamp), 7000);
            params.set_i32(entry(1) + field!(v4l2_hevc_dpb_entry.pic_order_cnt_val), -3);
            params.set_u8(entry(1) + field!(v4l2_hevc_dpb_entry.reserved), 9);
        });
        let bytes = bytes.unwrap();
        assert!(!bytes.contains(&9));
        let params = HevcDecodeParams::read(&bytes).unwrap();
        let found = params.references.iter();
        let found: Vec<_> = found
            .map(|r| (r.timestamp_ns, r.order, r.is_current))
            .collect();
        assert_eq!(found, [(0, 0, false), (7000, -3, true)]);
    }
}
