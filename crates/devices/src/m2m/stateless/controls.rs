//! The controls of a stateless H.264 decoder, and the parameter sets made from them.

use crate::surface::EINVAL;
use vb3_codec::parameter_sets::{PictureOrder, Pps, ScalingLists, Sps};
use vb3_queue::DriverError;
use vb3_v4l2::{ControlValue, H264Pps, H264ScalingMatrix, H264Sps, cid, sys};

/// The values of the controls. `None` for initial values, which are all zero: an unchanged value is not
/// set again.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    sps: Option<H264Sps>,
    pps: Option<H264Pps>,
    scaling: Option<H264ScalingMatrix>,
}

/// The parameter sets of a picture, as a byte stream.
#[derive(Debug)]
pub(super) struct Sets {
    pub(super) bytes: Vec<u8>,
    pub(super) pps: Pps,
}

impl Parameters {
    /// A control was set.
    pub(super) fn set(&mut self, id: u32, value: &ControlValue) {
        let ControlValue::Compound(bytes) = value else {
            return;
        };
        match id {
            cid::STATELESS_H264_SPS => self.sps = H264Sps::read(bytes),
            cid::STATELESS_H264_PPS => self.pps = H264Pps::read(bytes),
            cid::STATELESS_H264_SCALING_MATRIX => self.scaling = H264ScalingMatrix::read(bytes),
            _ => {}
        }
    }

    /// Returns the parameter sets of the next picture, whose size must be the format's.
    ///
    /// # Errors
    /// A sentence about a missing or unsupported part.
    pub(super) fn sets(&self, (width, height): (u32, u32)) -> Result<Sets, String> {
        let missing = |name| format!("the control {name} was never set");
        let sps = self.sps.as_ref();
        let sps = sps.ok_or_else(|| missing("V4L2_CID_STATELESS_H264_SPS"))?;
        let pps = &self.pps.unwrap_or_default();
        check_samples(sps)?;
        let size = coded_size(sps);
        if size != (width, height) {
            let (wide, high) = size;
            return Err(format!(
                "the sequence parameter set is for pictures of {wide}x{high}, and the buffers are \
                 for {width}x{height}; set the format at OUTPUT first"
            ));
        }
        if pps.seq_parameter_set_id != sps.seq_parameter_set_id {
            return Err(format!(
                "the picture parameter set belongs to sequence parameter set {}, and the one given \
                 has number {}",
                pps.seq_parameter_set_id, sps.seq_parameter_set_id
            ));
        }
        if pps.num_slice_groups_minus1 > 0 {
            return Err(format!(
                "the picture has {} slice groups, whose map no control holds; only pictures of one \
                 are decoded",
                u32::from(pps.num_slice_groups_minus1) + 1
            ));
        }
        let flag = |flag: u32| u32::from(pps.flags) & flag != 0;
        let scaling = match flag(sys::V4L2_H264_PPS_FLAG_SCALING_MATRIX_PRESENT) {
            true => Some(
                self.scaling
                    .as_ref()
                    .ok_or_else(|| missing("V4L2_CID_STATELESS_H264_SCALING_MATRIX"))?,
            ),
            false => None,
        };
        let pps = picture_set(pps, scaling);
        let mut bytes = sequence_set(sps).write();
        bytes.extend(pps.write()?);
        Ok(Sets { bytes, pps })
    }
}

/// Checks the value of a control.
///
/// # Errors
/// EINVAL for a sequence with unsupported samples.
pub(super) fn check(id: u32, value: &ControlValue) -> Result<(), DriverError> {
    match value {
        ControlValue::Compound(bytes) if id == cid::STATELESS_H264_SPS => {
            let sps = H264Sps::read(bytes).ok_or(EINVAL)?;
            check_samples(&sps).map_err(|_| EINVAL)
        }
        _ => Ok(()),
    }
}

/// Checks that samples are 8-bit 4:2:0.
fn check_samples(sps: &H264Sps) -> Result<(), String> {
    let depths = [sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8];
    if sps.chroma_format_idc == 1 && depths == [0, 0] {
        return Ok(());
    }
    Err(format!(
        "the device decodes 8-bit 4:2:0 (chroma_format_idc 1), and the sequence has \
         chroma_format_idc {} with {} bits of luma and {} of chroma",
        sps.chroma_format_idc,
        u32::from(depths[0]) + 8,
        u32::from(depths[1]) + 8,
    ))
}

/// Returns a frame's size in pixels, with all its macroblocks.
fn coded_size(sps: &H264Sps) -> (u32, u32) {
    let fields = match sps.flags & sys::V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY {
        0 => 2,
        _ => 1,
    };
    let width = (u32::from(sps.pic_width_in_mbs_minus1) + 1) * 16;
    let height = (u32::from(sps.pic_height_in_map_units_minus1) + 1) * 16 * fields;
    (width, height)
}

fn sequence_set(sps: &H264Sps) -> Sps {
    let flag = |flag| sps.flags & flag != 0;
    Sps {
        profile_idc: sps.profile_idc,
        constraint_set_flags: sps.constraint_set_flags,
        level_idc: sps.level_idc,
        seq_parameter_set_id: sps.seq_parameter_set_id,
        chroma_format_idc: sps.chroma_format_idc,
        bit_depth_luma_minus8: sps.bit_depth_luma_minus8,
        bit_depth_chroma_minus8: sps.bit_depth_chroma_minus8,
        qpprime_y_zero_transform_bypass: flag(
            sys::V4L2_H264_SPS_FLAG_QPPRIME_Y_ZERO_TRANSFORM_BYPASS,
        ),
        log2_max_frame_num_minus4: sps.log2_max_frame_num_minus4,
        order: match sps.pic_order_cnt_type {
            0 => PictureOrder::Lsb {
                log2_max_pic_order_cnt_lsb_minus4: sps.log2_max_pic_order_cnt_lsb_minus4,
            },
            1 => PictureOrder::Expected {
                delta_pic_order_always_zero: flag(
                    sys::V4L2_H264_SPS_FLAG_DELTA_PIC_ORDER_ALWAYS_ZERO,
                ),
                offset_for_non_ref_pic: sps.offset_for_non_ref_pic,
                offset_for_top_to_bottom_field: sps.offset_for_top_to_bottom_field,
                offset_for_ref_frame: sps.offset_for_ref_frame.clone(),
            },
            _ => PictureOrder::Decoding,
        },
        max_num_ref_frames: sps.max_num_ref_frames,
        gaps_in_frame_num_value_allowed: flag(
            sys::V4L2_H264_SPS_FLAG_GAPS_IN_FRAME_NUM_VALUE_ALLOWED,
        ),
        pic_width_in_mbs_minus1: sps.pic_width_in_mbs_minus1,
        pic_height_in_map_units_minus1: sps.pic_height_in_map_units_minus1,
        frame_mbs_only: flag(sys::V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY),
        mb_adaptive_frame_field: flag(sys::V4L2_H264_SPS_FLAG_MB_ADAPTIVE_FRAME_FIELD),
        direct_8x8_inference: flag(sys::V4L2_H264_SPS_FLAG_DIRECT_8X8_INFERENCE),
    }
}

fn picture_set(pps: &H264Pps, scaling: Option<&H264ScalingMatrix>) -> Pps {
    let flag = |flag: u32| u32::from(pps.flags) & flag != 0;
    Pps {
        pic_parameter_set_id: pps.pic_parameter_set_id,
        seq_parameter_set_id: pps.seq_parameter_set_id,
        entropy_coding_mode: flag(sys::V4L2_H264_PPS_FLAG_ENTROPY_CODING_MODE),
        bottom_field_pic_order_in_frame_present: flag(
            sys::V4L2_H264_PPS_FLAG_BOTTOM_FIELD_PIC_ORDER_IN_FRAME_PRESENT,
        ),
        num_ref_idx_l0_default_active_minus1: pps.num_ref_idx_l0_default_active_minus1,
        num_ref_idx_l1_default_active_minus1: pps.num_ref_idx_l1_default_active_minus1,
        weighted_pred: flag(sys::V4L2_H264_PPS_FLAG_WEIGHTED_PRED),
        weighted_bipred_idc: pps.weighted_bipred_idc,
        pic_init_qp_minus26: pps.pic_init_qp_minus26,
        pic_init_qs_minus26: pps.pic_init_qs_minus26,
        chroma_qp_index_offset: pps.chroma_qp_index_offset,
        second_chroma_qp_index_offset: pps.second_chroma_qp_index_offset,
        deblocking_filter_control_present: flag(
            sys::V4L2_H264_PPS_FLAG_DEBLOCKING_FILTER_CONTROL_PRESENT,
        ),
        constrained_intra_pred: flag(sys::V4L2_H264_PPS_FLAG_CONSTRAINED_INTRA_PRED),
        redundant_pic_cnt_present: flag(sys::V4L2_H264_PPS_FLAG_REDUNDANT_PIC_CNT_PRESENT),
        transform_8x8_mode: flag(sys::V4L2_H264_PPS_FLAG_TRANSFORM_8X8_MODE),
        scaling: scaling.map(|lists| ScalingLists {
            lists_4x4: lists.lists_4x4,
            lists_8x8: [lists.lists_8x8[0], lists.lists_8x8[1]],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_v4l2::CompoundType;

    fn sized(of: CompoundType) -> Vec<u8> {
        vec![0; of.size()]
    }

    /// Returns parameters of 64x32 pixels.
    fn parameters() -> Parameters {
        let mut sps = H264Sps::read(&sized(CompoundType::H264Sps)).unwrap();
        sps.chroma_format_idc = 1;
        sps.pic_width_in_mbs_minus1 = 3;
        sps.pic_height_in_map_units_minus1 = 1;
        sps.flags = sys::V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY;
        Parameters {
            sps: Some(sps),
            pps: H264Pps::read(&sized(CompoundType::H264Pps)),
            scaling: None,
        }
    }

    #[test]
    fn what_is_not_decoded_is_named() {
        let refused = |change: fn(&mut H264Sps, &mut H264Pps)| {
            let mut parameters = parameters();
            let sets = parameters.sps.as_mut().zip(parameters.pps.as_mut());
            let (sps, pps) = sets.unwrap();
            change(sps, pps);
            parameters.sets((64, 32)).unwrap_err()
        };
        assert!(parameters().sets((64, 32)).is_ok());
        assert!(parameters().sets((64, 64)).unwrap_err().contains("64x32"));
        let fields = refused(|sps, _| sps.flags = 0);
        assert!(fields.contains("64x64"), "{fields}");
        let deep = refused(|sps, _| sps.bit_depth_luma_minus8 = 2);
        assert!(deep.contains("10 bits"), "{deep}");
        let groups = refused(|_, pps| pps.num_slice_groups_minus1 = 1);
        assert!(groups.contains("2 slice groups"), "{groups}");
        let others = refused(|_, pps| pps.seq_parameter_set_id = 3);
        assert!(others.contains("set 3"), "{others}");
        let unset = refused(|_, pps| pps.flags = 0x80);
        assert!(unset.contains("SCALING_MATRIX"), "{unset}");
        let zero = Parameters {
            pps: None,
            ..parameters()
        };
        assert_eq!(
            zero.sets((64, 32)).unwrap().bytes,
            parameters().sets((64, 32)).unwrap().bytes
        );
        let none = Parameters::default().sets((64, 32)).unwrap_err();
        assert!(none.contains("H264_SPS"), "{none}");
    }

    #[test]
    fn a_sequence_that_is_not_decoded_cannot_be_set() {
        let mut bytes = sized(CompoundType::H264Sps);
        bytes[4] = 1;
        let check = |bytes: &[u8]| {
            check(
                cid::STATELESS_H264_SPS,
                &ControlValue::Compound(bytes.to_vec()),
            )
        };
        assert_eq!(check(&bytes), Ok(()));
        bytes[5] = 1;
        assert_eq!(check(&bytes), Err(EINVAL));
        assert_eq!(check(&[]), Err(EINVAL));
    }
}
