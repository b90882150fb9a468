//! The controls that describe a picture to a stateless H.264 decoder.
//!
//! Source: Linux 7.2 include/uapi/linux/v4l2-controls.h, differs: slice controls are left out, since
//! decoders of whole frames parse slice headers themselves.

use crate::bytes::{Image, field};
use crate::sys;

/// Maximum number of entries in a list of field references.
const MAX_REFERENCES: u8 = 2 * sys::V4L2_H264_NUM_DPB_ENTRIES as u8;

/// Returns whether the profile's parameter sets contain the chroma format.
fn has_chroma_format(profile_idc: u8) -> bool {
    matches!(
        profile_idc,
        100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
    )
}

pub(super) fn validate_sps(sps: &mut Image<&mut [u8]>) -> bool {
    let profile = sps.u8(field!(v4l2_ctrl_h264_sps.profile_idc));
    let mut flags = sps.u32(field!(v4l2_ctrl_h264_sps.flags));
    let order = sps.u8(field!(v4l2_ctrl_h264_sps.pic_order_cnt_type));
    let lsb = field!(v4l2_ctrl_h264_sps.log2_max_pic_order_cnt_lsb_minus4);
    if order != 0 {
        sps.set_u8(lsb, 0);
    }
    // As in Linux, the fields of picture order count type 1 are cleared for type 0, but not for type 2.
    if order == 0 {
        let cycle = field!(v4l2_ctrl_h264_sps.num_ref_frames_in_pic_order_cnt_cycle);
        sps.set_u8(cycle, 0);
        let from = field!(v4l2_ctrl_h264_sps.offset_for_ref_frame);
        let to = field!(v4l2_ctrl_h264_sps.pic_width_in_mbs_minus1);
        sps.clear(from, to - from);
    }
    let chroma = field!(v4l2_ctrl_h264_sps.chroma_format_idc);
    let luma_depth = field!(v4l2_ctrl_h264_sps.bit_depth_luma_minus8);
    let chroma_depth = field!(v4l2_ctrl_h264_sps.bit_depth_chroma_minus8);
    if !has_chroma_format(profile) {
        sps.set_u8(chroma, 1);
        sps.set_u8(luma_depth, 0);
        sps.set_u8(chroma_depth, 0);
        flags &= !sys::V4L2_H264_SPS_FLAG_QPPRIME_Y_ZERO_TRANSFORM_BYPASS;
    }
    let chroma = sps.u8(chroma);
    if chroma < 3 {
        flags &= !sys::V4L2_H264_SPS_FLAG_SEPARATE_COLOUR_PLANE;
    }
    if flags & sys::V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY != 0 {
        flags &= !sys::V4L2_H264_SPS_FLAG_MB_ADAPTIVE_FRAME_FIELD;
    }
    sps.set_u32(field!(v4l2_ctrl_h264_sps.flags), flags);
    let most_chroma = match profile {
        0..122 => 1,
        122..244 => 2,
        _ => 3,
    };
    chroma <= most_chroma
        && sps.u8(luma_depth) <= 6
        && sps.u8(chroma_depth) <= 6
        && sps.u8(field!(v4l2_ctrl_h264_sps.log2_max_frame_num_minus4)) <= 12
        && order <= 2
        && sps.u8(lsb) <= 12
        && sps.u8(field!(v4l2_ctrl_h264_sps.max_num_ref_frames)) <= MAX_REFERENCES
}

pub(super) fn validate_pps(pps: &mut Image<&mut [u8]>) -> bool {
    let signed = |at| pps.u8(at).cast_signed();
    let references = [
        field!(v4l2_ctrl_h264_pps.num_ref_idx_l0_default_active_minus1),
        field!(v4l2_ctrl_h264_pps.num_ref_idx_l1_default_active_minus1),
    ];
    let offsets = [
        field!(v4l2_ctrl_h264_pps.chroma_qp_index_offset),
        field!(v4l2_ctrl_h264_pps.second_chroma_qp_index_offset),
    ];
    pps.u8(field!(v4l2_ctrl_h264_pps.num_slice_groups_minus1)) <= 7
        && references.iter().all(|at| pps.u8(*at) < MAX_REFERENCES)
        && pps.u8(field!(v4l2_ctrl_h264_pps.weighted_bipred_idc)) <= 2
        // -62 is the lower bound for samples of 14 bits, the largest bit depth.
        && (-62..=25).contains(&signed(field!(v4l2_ctrl_h264_pps.pic_init_qp_minus26)))
        && (-26..=25).contains(&signed(field!(v4l2_ctrl_h264_pps.pic_init_qs_minus26)))
        && offsets.iter().all(|at| (-12..=12).contains(&signed(*at)))
}

pub(super) fn validate_decode_params(params: &mut Image<&mut [u8]>) -> bool {
    let entry = size_of::<sys::v4l2_h264_dpb_entry>();
    for index in 0..sys::V4L2_H264_NUM_DPB_ENTRIES as usize {
        params.clear(index * entry + field!(v4l2_h264_dpb_entry.reserved), 5);
    }
    params.set_u32(field!(v4l2_ctrl_h264_decode_params.reserved), 0);
    params.u16(field!(v4l2_ctrl_h264_decode_params.nal_ref_idc)) <= 3
}

#[cfg(test)]
mod tests {
    use super::super::compound::CompoundType;
    use super::super::compound::tests::judged;
    use super::*;

    #[test]
    fn invalid_sequence_parameters_are_refused() {
        const PROFILE: usize = field!(v4l2_ctrl_h264_sps.profile_idc);
        const CHROMA: usize = field!(v4l2_ctrl_h264_sps.chroma_format_idc);
        const ORDER: usize = field!(v4l2_ctrl_h264_sps.pic_order_cnt_type);
        const REFERENCES: usize = field!(v4l2_ctrl_h264_sps.max_num_ref_frames);
        let rows: [(&[(usize, u8)], bool); 12] = [
            (&[], true),
            (&[(PROFILE, 100), (CHROMA, 1)], true),
            (&[(PROFILE, 100), (CHROMA, 2)], false),
            (&[(PROFILE, 122), (CHROMA, 2)], true),
            (&[(PROFILE, 122), (CHROMA, 3)], false),
            (&[(PROFILE, 244), (CHROMA, 3)], true),
            (&[(PROFILE, 244), (CHROMA, 4)], false),
            (&[(ORDER, 2)], true),
            (&[(ORDER, 3)], false),
            (&[(REFERENCES, 32)], true),
            (&[(REFERENCES, 33)], false),
            (
                &[(field!(v4l2_ctrl_h264_sps.log2_max_frame_num_minus4), 13)],
                false,
            ),
        ];
        for (bytes, is_good) in rows {
            let found = judged(CompoundType::H264Sps, |sps| {
                bytes.iter().for_each(|(at, value)| sps.set_u8(*at, *value));
            });
            assert_eq!(found.is_some(), is_good, "{bytes:?}");
        }
    }

    #[test]
    fn meaningless_fields_are_cleared() {
        const LSB: usize = field!(v4l2_ctrl_h264_sps.log2_max_pic_order_cnt_lsb_minus4);
        const OFFSET: usize = field!(v4l2_ctrl_h264_sps.offset_for_non_ref_pic);
        for (order, lsb, offset) in [(0, 12, 0), (1, 0, -1), (2, 0, -1)] {
            let sps = judged(CompoundType::H264Sps, |sps| {
                sps.set_u8(field!(v4l2_ctrl_h264_sps.pic_order_cnt_type), order);
                sps.set_u8(LSB, 12);
                sps.set_u8(field!(v4l2_ctrl_h264_sps.bit_depth_luma_minus8), 200);
                sps.set_i32(OFFSET, -1);
                sps.set_u32(field!(v4l2_ctrl_h264_sps.flags), 0x7f);
            });
            let mut sps = sps.unwrap();
            let sps = Image(&mut sps);
            assert_eq!((sps.u8(LSB), sps.i32(OFFSET)), (lsb, offset), "{order}");
            assert_eq!(sps.u8(field!(v4l2_ctrl_h264_sps.chroma_format_idc)), 1);
            assert_eq!(sps.u8(field!(v4l2_ctrl_h264_sps.bit_depth_luma_minus8)), 0);
            // The flags for separate planes, lossless coding and field macroblocks are cleared.
            assert_eq!(sps.u32(field!(v4l2_ctrl_h264_sps.flags)), 0x5c);
        }
        let params = judged(CompoundType::H264DecodeParams, |params| params.0.fill(1));
        assert_eq!(params, None, "nal_ref_idc is 0x101");
        let params = judged(CompoundType::H264DecodeParams, |params| {
            params.set_u8(field!(v4l2_h264_dpb_entry.reserved) + 32, 1);
            params.set_u8(field!(v4l2_h264_dpb_entry.fields) + 32, 3);
        });
        let bytes = params.unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 1);
    }

    #[test]
    fn invalid_picture_parameters_are_refused() {
        let signed = |value: i8| value.cast_unsigned();
        let quantiser = field!(v4l2_ctrl_h264_pps.pic_init_qp_minus26);
        let offset = field!(v4l2_ctrl_h264_pps.second_chroma_qp_index_offset);
        let list = field!(v4l2_ctrl_h264_pps.num_ref_idx_l1_default_active_minus1);
        for (at, value, is_good) in [
            (quantiser, signed(-62), true),
            (quantiser, signed(-63), false),
            (quantiser, 26, false),
            (offset, signed(-12), true),
            (offset, 13, false),
            (list, 31, true),
            (list, 32, false),
            (field!(v4l2_ctrl_h264_pps.weighted_bipred_idc), 3, false),
            (field!(v4l2_ctrl_h264_pps.num_slice_groups_minus1), 8, false),
        ] {
            let found = judged(CompoundType::H264Pps, |pps| pps.set_u8(at, value));
            assert_eq!(found.is_some(), is_good, "{at}: {value}");
        }
    }
}
