//! H.264: the device makes parameter sets from the controls, and puts them before a picture's slices.

use super::control::{Bytes, fields};
use super::syntax::{Input, Parameters, expect_samples, expect_size};
use core::mem::offset_of;
use vb3_codec::parameter_sets::{PictureOrder, Pps, ScalingLists, Sps, check_slices};
use vb3_v4l2::{cid, sys};

use sys::v4l2_ctrl_h264_pps as PpsControl;
use sys::v4l2_ctrl_h264_scaling_matrix as MatrixControl;
use sys::v4l2_ctrl_h264_sps as SpsControl;

/// Puts the parameter sets in front of a picture's slices.
pub(crate) fn describe(
    parameters: &Parameters,
    size: (u32, u32),
    slices: Vec<u8>,
) -> Result<Input, String> {
    let (mut bytes, pps) = sets(parameters, size)?;
    check_slices(&slices, &pps)?;
    bytes.extend(slices);
    Ok(Input::new(bytes, Vec::new()))
}

/// Returns the next picture's parameter sets. Fails if their size is not the format's.
fn sets(parameters: &Parameters, size: (u32, u32)) -> Result<(Vec<u8>, Pps), String> {
    let sps = parameters.need(cid::STATELESS_H264_SPS, Bytes::of::<SpsControl>)?;
    let sps = sequence_set(&sps);
    let control = parameters.get(cid::STATELESS_H264_PPS, Bytes::of::<PpsControl>);
    let control = control.unwrap_or_default();
    let mut pps = picture_set(&control);
    check_samples(&sps)?;
    expect_size(coded_size(&sps), size)?;
    if pps.seq_parameter_set_id != sps.seq_parameter_set_id {
        return Err(format!(
            "the picture parameter set belongs to sequence parameter set {}, and the one given has \
             number {}",
            pps.seq_parameter_set_id, sps.seq_parameter_set_id
        ));
    }
    let groups: u8 = control.get(offset_of!(PpsControl, num_slice_groups_minus1));
    if groups > 0 {
        return Err(format!(
            "the picture has {} slice groups, whose map no control holds; only pictures of one are \
             decoded",
            u32::from(groups) + 1
        ));
    }
    let flags: u16 = control.get(offset_of!(PpsControl, flags));
    if u32::from(flags) & sys::V4L2_H264_PPS_FLAG_SCALING_MATRIX_PRESENT != 0 {
        let id = cid::STATELESS_H264_SCALING_MATRIX;
        let matrix = parameters.need(id, Bytes::of::<MatrixControl>)?;
        pps.scaling = Some(ScalingLists {
            lists_4x4: matrix.get(offset_of!(MatrixControl, scaling_list_4x4)),
            lists_8x8: matrix.get(offset_of!(MatrixControl, scaling_list_8x8)),
        });
    }
    let mut bytes = sps.write();
    bytes.extend(pps.write()?);
    Ok((bytes, pps))
}

pub(crate) fn check(id: u32, value: &[u8]) -> Result<(), String> {
    match Bytes::of::<SpsControl>(value).filter(|_| id == cid::STATELESS_H264_SPS) {
        Some(sps) => check_samples(&sequence_set(&sps)),
        None => Ok(()),
    }
}

fn check_samples(sps: &Sps) -> Result<(), String> {
    let depths = [sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8];
    expect_samples(sps.chroma_format_idc, depths)
}

/// Returns a frame's size in pixels before cropping.
fn coded_size(sps: &Sps) -> (u32, u32) {
    let fields = if sps.frame_mbs_only { 1 } else { 2 };
    let width = (u32::from(sps.pic_width_in_mbs_minus1) + 1) * 16;
    let height = (u32::from(sps.pic_height_in_map_units_minus1) + 1) * 16 * fields;
    (width, height)
}

fn sequence_set(control: &Bytes<'_>) -> Sps {
    let flags: u32 = control.get(offset_of!(SpsControl, flags));
    let flag = |flag| flags & flag != 0;
    fields!(
        Sps from control, v4l2_ctrl_h264_sps:
        profile_idc, constraint_set_flags, level_idc, seq_parameter_set_id, chroma_format_idc,
        bit_depth_luma_minus8, bit_depth_chroma_minus8, log2_max_frame_num_minus4,
        max_num_ref_frames, pic_width_in_mbs_minus1, pic_height_in_map_units_minus1;
        qpprime_y_zero_transform_bypass: flag(
            sys::V4L2_H264_SPS_FLAG_QPPRIME_Y_ZERO_TRANSFORM_BYPASS,
        ),
        order: picture_order(
            control,
            flag(sys::V4L2_H264_SPS_FLAG_DELTA_PIC_ORDER_ALWAYS_ZERO),
        ),
        gaps_in_frame_num_value_allowed: flag(
            sys::V4L2_H264_SPS_FLAG_GAPS_IN_FRAME_NUM_VALUE_ALLOWED,
        ),
        frame_mbs_only: flag(sys::V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY),
        mb_adaptive_frame_field: flag(sys::V4L2_H264_SPS_FLAG_MB_ADAPTIVE_FRAME_FIELD),
        direct_8x8_inference: flag(sys::V4L2_H264_SPS_FLAG_DIRECT_8X8_INFERENCE),
    )
}

fn picture_order(sps: &Bytes<'_>, delta_pic_order_always_zero: bool) -> PictureOrder {
    let log2_max_pic_order_cnt_lsb_minus4 =
        sps.get(offset_of!(SpsControl, log2_max_pic_order_cnt_lsb_minus4));
    let cycle: u8 = sps.get(offset_of!(
        SpsControl,
        num_ref_frames_in_pic_order_cnt_cycle
    ));
    let offsets: [i32; 255] = sps.get(offset_of!(SpsControl, offset_for_ref_frame));
    match sps.get::<u8>(offset_of!(SpsControl, pic_order_cnt_type)) {
        0 => PictureOrder::Lsb {
            log2_max_pic_order_cnt_lsb_minus4,
        },
        1 => PictureOrder::Expected {
            delta_pic_order_always_zero,
            offset_for_non_ref_pic: sps.get(offset_of!(SpsControl, offset_for_non_ref_pic)),
            offset_for_top_to_bottom_field: sps
                .get(offset_of!(SpsControl, offset_for_top_to_bottom_field)),
            offset_for_ref_frame: offsets.into_iter().take(cycle.into()).collect(),
        },
        _ => PictureOrder::Decoding,
    }
}

/// Returns a picture parameter set without scaling lists.
fn picture_set(control: &Bytes<'_>) -> Pps {
    let flags: u16 = control.get(offset_of!(PpsControl, flags));
    let flag = |flag| u32::from(flags) & flag != 0;
    fields!(
        Pps from control, v4l2_ctrl_h264_pps:
        pic_parameter_set_id, seq_parameter_set_id, num_ref_idx_l0_default_active_minus1,
        num_ref_idx_l1_default_active_minus1, weighted_bipred_idc, pic_init_qp_minus26,
        pic_init_qs_minus26, chroma_qp_index_offset, second_chroma_qp_index_offset;
        entropy_coding_mode: flag(sys::V4L2_H264_PPS_FLAG_ENTROPY_CODING_MODE),
        bottom_field_pic_order_in_frame_present: flag(
            sys::V4L2_H264_PPS_FLAG_BOTTOM_FIELD_PIC_ORDER_IN_FRAME_PRESENT,
        ),
        weighted_pred: flag(sys::V4L2_H264_PPS_FLAG_WEIGHTED_PRED),
        deblocking_filter_control_present: flag(
            sys::V4L2_H264_PPS_FLAG_DEBLOCKING_FILTER_CONTROL_PRESENT,
        ),
        constrained_intra_pred: flag(sys::V4L2_H264_PPS_FLAG_CONSTRAINED_INTRA_PRED),
        redundant_pic_cnt_present: flag(sys::V4L2_H264_PPS_FLAG_REDUNDANT_PIC_CNT_PRESENT),
        transform_8x8_mode: flag(sys::V4L2_H264_PPS_FLAG_TRANSFORM_8X8_MODE),
        scaling: None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_v4l2::CompoundType;

    /// Returns why parameters of 64x32 pixels are refused if one byte is changed, or `None`.
    fn refused(id: u32, at: usize, value: u8, size: (u32, u32)) -> Option<String> {
        let mut sps = vec![0; CompoundType::H264Sps.size()];
        sps[core::mem::offset_of!(sys::v4l2_ctrl_h264_sps, chroma_format_idc)] = 1;
        sps[core::mem::offset_of!(sys::v4l2_ctrl_h264_sps, pic_width_in_mbs_minus1)] = 3;
        sps[core::mem::offset_of!(sys::v4l2_ctrl_h264_sps, pic_height_in_map_units_minus1)] = 1;
        let flags = core::mem::offset_of!(sys::v4l2_ctrl_h264_sps, flags);
        sps[flags] = sys::V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY.to_le_bytes()[0];
        let mut pps = vec![0; CompoundType::H264Pps.size()];
        match id {
            cid::STATELESS_H264_SPS => sps[at] = value,
            _ => pps[at] = value,
        }
        let mut parameters = Parameters::default();
        parameters.set(cid::STATELESS_H264_SPS, &sps);
        parameters.set(cid::STATELESS_H264_PPS, &pps);
        sets(&parameters, size).err()
    }

    #[test]
    fn what_is_not_decoded_is_named() {
        const SPS: u32 = cid::STATELESS_H264_SPS;
        const PPS: u32 = cid::STATELESS_H264_PPS;
        let flags = core::mem::offset_of!(sys::v4l2_ctrl_h264_sps, flags);
        let depth = core::mem::offset_of!(sys::v4l2_ctrl_h264_sps, bit_depth_luma_minus8);
        let groups = core::mem::offset_of!(sys::v4l2_ctrl_h264_pps, num_slice_groups_minus1);
        let set = core::mem::offset_of!(sys::v4l2_ctrl_h264_pps, seq_parameter_set_id);
        let matrix = core::mem::offset_of!(sys::v4l2_ctrl_h264_pps, flags);
        let fits = (64, 32);
        assert_eq!(refused(SPS, 0, 0, fits), None);
        for (id, at, value, size, reason) in [
            (SPS, 0, 0, (64, 64), "64x32"),
            (SPS, flags, 0, fits, "64x64"),
            (SPS, depth, 2, fits, "10 bits"),
            (PPS, groups, 1, fits, "2 slice groups"),
            (PPS, set, 3, fits, "set 3"),
            (PPS, matrix, 0x80, fits, "SCALING_MATRIX"),
        ] {
            let said = refused(id, at, value, size).expect(reason);
            assert!(said.contains(reason), "{reason}: {said}");
        }
        let none = sets(&Parameters::default(), fits).unwrap_err();
        assert!(none.contains("H264_SPS"), "{none}");
    }

    #[test]
    fn a_sequence_that_is_not_decoded_cannot_be_set() {
        let mut bytes = vec![0; CompoundType::H264Sps.size()];
        bytes[core::mem::offset_of!(sys::v4l2_ctrl_h264_sps, chroma_format_idc)] = 1;
        assert_eq!(check(cid::STATELESS_H264_SPS, &bytes), Ok(()));
        bytes[core::mem::offset_of!(sys::v4l2_ctrl_h264_sps, bit_depth_luma_minus8)] = 1;
        assert!(check(cid::STATELESS_H264_SPS, &bytes).is_err());
    }
}
