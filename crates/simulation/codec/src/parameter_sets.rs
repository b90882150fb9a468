//! Writes H.264 parameter sets, and those of [HEVC](hevc).
//!
//! A stateless decoder gets a picture's slices without parameter sets. If they are written in front of the
//! slices, a library that expects a stream can decode the picture.

pub(crate) mod bits;
pub mod hevc;

use bits::{BitWriter, Bits, nal_units, unescape, upward_diagonals};

/// A sequence parameter set. Names are those of ITU-T H.264 7.3.2.1.1.
///
/// The set has no colour description. It has no cropping either, so that the library returns complete
/// pictures. Scaling lists are in a [`Pps`]. Pictures are not reordered (`max_num_reorder_frames` is 0).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "fields are syntax elements of ITU-T H.264, 7.3.2"
)]
pub struct Sps {
    pub profile_idc: u8,
    /// `constraint_set0_flag` is the lowest bit, `constraint_set1_flag` the next.
    pub constraint_set_flags: u8,
    pub level_idc: u8,
    pub seq_parameter_set_id: u8,
    pub chroma_format_idc: u8,
    pub bit_depth_luma_minus8: u8,
    pub bit_depth_chroma_minus8: u8,
    pub qpprime_y_zero_transform_bypass: bool,
    pub log2_max_frame_num_minus4: u8,
    pub order: PictureOrder,
    pub max_num_ref_frames: u8,
    pub gaps_in_frame_num_value_allowed: bool,
    pub pic_width_in_mbs_minus1: u16,
    pub pic_height_in_map_units_minus1: u16,
    pub frame_mbs_only: bool,
    pub mb_adaptive_frame_field: bool,
    pub direct_8x8_inference: bool,
}

/// How the display order is coded (`pic_order_cnt_type`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "fields are syntax elements of ITU-T H.264, 7.3.2"
)]
pub enum PictureOrder {
    /// Type 0: each slice contains the low bits of its picture's order.
    Lsb {
        log2_max_pic_order_cnt_lsb_minus4: u8,
    },
    /// Type 1: each slice contains the difference to an expected order.
    Expected {
        delta_pic_order_always_zero: bool,
        offset_for_non_ref_pic: i32,
        offset_for_top_to_bottom_field: i32,
        /// At most 255.
        offset_for_ref_frame: Vec<i32>,
    },
    /// Type 2: the display order is the decoding order.
    Decoding,
}

impl Default for PictureOrder {
    fn default() -> Self {
        Self::Lsb {
            log2_max_pic_order_cnt_lsb_minus4: 0,
        }
    }
}

/// A picture parameter set with one slice group. Names are those of ITU-T H.264 7.3.2.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "fields are syntax elements of ITU-T H.264, 7.3.2"
)]
pub struct Pps {
    pub pic_parameter_set_id: u8,
    pub seq_parameter_set_id: u8,
    pub entropy_coding_mode: bool,
    pub bottom_field_pic_order_in_frame_present: bool,
    pub num_ref_idx_l0_default_active_minus1: u8,
    pub num_ref_idx_l1_default_active_minus1: u8,
    pub weighted_pred: bool,
    /// 0 to 2.
    pub weighted_bipred_idc: u8,
    pub pic_init_qp_minus26: i8,
    pub pic_init_qs_minus26: i8,
    pub chroma_qp_index_offset: i8,
    pub second_chroma_qp_index_offset: i8,
    pub deblocking_filter_control_present: bool,
    pub constrained_intra_pred: bool,
    pub redundant_pic_cnt_present: bool,
    pub transform_8x8_mode: bool,
    pub scaling: Option<ScalingLists>,
}

/// Scaling lists of 4:2:0 pictures, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalingLists {
    /// For 4x4 blocks: intra Y, Cb, Cr, inter Y, Cb, Cr.
    pub lists_4x4: [[u8; 16]; 6],
    /// For 8x8 blocks: intra Y, inter Y. Written only with 8x8 transforms.
    pub lists_8x8: [[u8; 64]; 2],
}

/// Values of `profile_idc` whose sequence parameter sets contain the chroma format.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

impl Sps {
    /// Returns the NAL unit, with a start code.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.put(self.profile_idc.into(), 8);
        bits.put(self.constraint_set_flags.reverse_bits().into(), 8);
        bits.put(self.level_idc.into(), 8);
        bits.ue(self.seq_parameter_set_id.into());
        if HIGH_PROFILES.contains(&self.profile_idc) {
            bits.ue(self.chroma_format_idc.into());
            if self.chroma_format_idc == 3 {
                bits.flag(false);
            }
            bits.ue(self.bit_depth_luma_minus8.into());
            bits.ue(self.bit_depth_chroma_minus8.into());
            bits.flag(self.qpprime_y_zero_transform_bypass);
            bits.flag(false);
        }
        bits.ue(self.log2_max_frame_num_minus4.into());
        self.order.write(&mut bits);
        bits.ue(self.max_num_ref_frames.into());
        bits.flag(self.gaps_in_frame_num_value_allowed);
        bits.ue(self.pic_width_in_mbs_minus1.into());
        bits.ue(self.pic_height_in_map_units_minus1.into());
        if !bits.flag(self.frame_mbs_only) {
            bits.flag(self.mb_adaptive_frame_field);
        }
        bits.flag(self.direct_8x8_inference);
        // No cropping; VUI parameters are present.
        bits.put(0b01, 2);
        self.write_vui(&mut bits);
        bits.nal_unit(&[0x67])
    }

    /// Writes VUI parameters that contain only the limit of picture reordering.
    fn write_vui(&self, bits: &mut BitWriter) {
        // No aspect ratio, overscan, signal type, chroma location, timing, HRD parameters or picture
        // structure. Bitstream restrictions are present; motion vectors may cross the picture's edges.
        bits.put(0b00_0000_0011, 10);
        let most_vector_bits = 16;
        let restrictions = [0, 0, most_vector_bits, most_vector_bits];
        restrictions.iter().for_each(|value| bits.ue(*value));
        let reordered = 0;
        bits.ue(reordered);
        bits.ue(self.max_num_ref_frames.max(1).into());
    }
}

impl PictureOrder {
    fn write(&self, bits: &mut BitWriter) {
        match self {
            Self::Lsb {
                log2_max_pic_order_cnt_lsb_minus4,
            } => {
                bits.ue(0);
                bits.ue((*log2_max_pic_order_cnt_lsb_minus4).into());
            }
            Self::Expected {
                delta_pic_order_always_zero,
                offset_for_non_ref_pic,
                offset_for_top_to_bottom_field,
                offset_for_ref_frame,
            } => {
                bits.ue(1);
                bits.flag(*delta_pic_order_always_zero);
                bits.se(*offset_for_non_ref_pic);
                bits.se(*offset_for_top_to_bottom_field);
                let cycle = u8::try_from(offset_for_ref_frame.len()).unwrap_or(u8::MAX);
                bits.ue(cycle.into());
                let offsets = offset_for_ref_frame.iter().take(cycle.into());
                offsets.for_each(|offset| bits.se(*offset));
            }
            Self::Decoding => bits.ue(2),
        }
    }
}

impl Pps {
    /// Returns the NAL unit, with a start code.
    ///
    /// # Errors
    /// Fails with a message for the user: a scaling list has a 0, which a stream cannot contain.
    pub fn write(&self) -> Result<Vec<u8>, String> {
        let mut bits = BitWriter::default();
        bits.ue(self.pic_parameter_set_id.into());
        bits.ue(self.seq_parameter_set_id.into());
        bits.flag(self.entropy_coding_mode);
        bits.flag(self.bottom_field_pic_order_in_frame_present);
        let slice_groups_minus1 = 0;
        bits.ue(slice_groups_minus1);
        bits.ue(self.num_ref_idx_l0_default_active_minus1.into());
        bits.ue(self.num_ref_idx_l1_default_active_minus1.into());
        bits.flag(self.weighted_pred);
        bits.put((self.weighted_bipred_idc & 3).into(), 2);
        bits.se(self.pic_init_qp_minus26.into());
        bits.se(self.pic_init_qs_minus26.into());
        bits.se(self.chroma_qp_index_offset.into());
        bits.flag(self.deblocking_filter_control_present);
        bits.flag(self.constrained_intra_pred);
        bits.flag(self.redundant_pic_cnt_present);
        let offsets_differ = self.second_chroma_qp_index_offset != self.chroma_qp_index_offset;
        if self.transform_8x8_mode || self.scaling.is_some() || offsets_differ {
            bits.flag(self.transform_8x8_mode);
            bits.flag(self.scaling.is_some());
            if let Some(lists) = &self.scaling {
                self.write_lists(lists, &mut bits)?;
            }
            bits.se(self.second_chroma_qp_index_offset.into());
        }
        Ok(bits.nal_unit(&[0x68]))
    }

    fn write_lists(&self, lists: &ScalingLists, bits: &mut BitWriter) -> Result<(), String> {
        for list in &lists.lists_4x4 {
            write_list(list, 4, bits)?;
        }
        if self.transform_8x8_mode {
            for list in &lists.lists_8x8 {
                write_list(list, 8, bits)?;
            }
        }
        Ok(())
    }
}

/// Writes a square list in zig-zag order. Each value is written as the difference from the previous one.
fn write_list(list: &[u8], side: usize, bits: &mut BitWriter) -> Result<(), String> {
    bits.flag(true);
    let mut last = 8_u8;
    for at in zigzag(side) {
        let value = list.get(at).copied().unwrap_or_default();
        if value == 0 {
            return Err(format!(
                "a scaling list of {side}x{side} blocks has a 0; factors are 1 to 255"
            ));
        }
        bits.se(value.wrapping_sub(last).cast_signed().into());
        last = value;
    }
    Ok(())
}

/// Iterates over a square of `side` rows along its diagonals, from the top left, alternately up and down.
fn zigzag(side: usize) -> impl Iterator<Item = usize> {
    upward_diagonals(side)
        .enumerate()
        .flat_map(|(number, mut diagonal)| {
            if number % 2 == 1 {
                diagonal.reverse();
            }
            diagonal
        })
}

/// Maximum length in bytes of a slice's NAL unit type and the first three numbers of its header.
const MAX_HEAD: usize = 32;

/// Checks that a byte stream contains only the slices of one picture or field, and that they name this
/// picture parameter set.
///
/// # Errors
/// Fails with a message for the user, which names the other content.
pub fn check_slices(stream: &[u8], pps: &Pps) -> Result<(), String> {
    let mut first_slices = 0;
    let mut slices = 0;
    for nal in nal_units(stream) {
        let kind = nal.first().map_or(0, |header| header & 0x1f);
        match kind {
            1 | 5 => {}
            // SEI, delimiters, ends of sequences and streams, and filler.
            6 | 9..=12 => continue,
            _ => {
                return Err(format!(
                    "the buffer has a NAL unit of type {kind}, where slices (types 1 and 5) are wanted"
                ));
            }
        }
        let head = unescape(nal.get(1..nal.len().min(MAX_HEAD)).unwrap_or_default());
        let mut bits = Bits::new(&head);
        let head = bits.ue().zip(bits.ue()).zip(bits.ue());
        let Some(((first_macroblock, _), id)) = head else {
            return Err("a slice ends within its header".to_owned());
        };
        let wanted = pps.pic_parameter_set_id;
        if id != wanted.into() {
            return Err(format!(
                "a slice uses picture parameter set {id}, and the request has number {wanted}: a \
                 decoder of whole frames takes one for all slices of a picture"
            ));
        }
        slices += 1;
        first_slices += u32::from(first_macroblock == 0);
    }
    if slices == 0 {
        return Err(
            "the buffer has no slice; each must begin with a start code (Annex B)".to_owned(),
        );
    }
    if first_slices > 1 && !pps.redundant_pic_cnt_present {
        return Err(format!(
            "the buffer has slices of {first_slices} pictures, where those of one are wanted"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
