//! Writes HEVC parameter sets, and slices whose headers contain the picture's set of references.
//!
//! A program passes the references of each picture to a stateless decoder. It does not pass the sets of
//! references that a sequence parameter set contains, and that slice headers name by number. So in a sequence
//! with these sets, each slice header is written again, with the picture's own set instead of the number.

mod slices;

use super::bits::{BitWriter, upward_diagonals};
pub use slices::picture;

/// A sequence parameter set. Names are those of ITU-T H.265 7.3.2.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "fields are syntax elements of ITU-T H.265, 7.3.2.2"
)]
pub struct SequenceSet {
    pub video_parameter_set_id: u8,
    pub seq_parameter_set_id: u8,
    pub pic_width_in_luma_samples: u16,
    pub pic_height_in_luma_samples: u16,
    pub bit_depth_luma_minus8: u8,
    pub bit_depth_chroma_minus8: u8,
    pub log2_max_pic_order_cnt_lsb_minus4: u8,
    pub sps_max_dec_pic_buffering_minus1: u8,
    pub sps_max_num_reorder_pics: u8,
    pub sps_max_latency_increase_plus1: u8,
    pub log2_min_luma_coding_block_size_minus3: u8,
    pub log2_diff_max_min_luma_coding_block_size: u8,
    pub log2_min_luma_transform_block_size_minus2: u8,
    pub log2_diff_max_min_luma_transform_block_size: u8,
    pub max_transform_hierarchy_depth_inter: u8,
    pub max_transform_hierarchy_depth_intra: u8,
    pub pcm_sample_bit_depth_luma_minus1: u8,
    pub pcm_sample_bit_depth_chroma_minus1: u8,
    pub log2_min_pcm_luma_coding_block_size_minus3: u8,
    pub log2_diff_max_min_pcm_luma_coding_block_size: u8,
    pub num_short_term_ref_pic_sets: u8,
    pub chroma_format_idc: u8,
    pub sps_max_sub_layers_minus1: u8,
    /// Bits of [`sps_flag`].
    pub flags: u64,
}

/// Flags of a [`SequenceSet`], with Linux's numbers.
#[expect(
    missing_docs,
    reason = "flags are syntax elements of ITU-T H.265, 7.3.2.2"
)]
pub mod sps_flag {
    pub const SCALING_LIST_ENABLED: u64 = 1 << 1;
    pub const AMP_ENABLED: u64 = 1 << 2;
    pub const SAMPLE_ADAPTIVE_OFFSET: u64 = 1 << 3;
    pub const PCM_ENABLED: u64 = 1 << 4;
    pub const PCM_LOOP_FILTER_DISABLED: u64 = 1 << 5;
    pub const LONG_TERM_REF_PICS_PRESENT: u64 = 1 << 6;
    pub const TEMPORAL_MVP_ENABLED: u64 = 1 << 7;
    pub const STRONG_INTRA_SMOOTHING_ENABLED: u64 = 1 << 8;
}

/// A picture parameter set. Names are those of ITU-T H.265 7.3.2.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "fields are syntax elements of ITU-T H.265, 7.3.2.3"
)]
pub struct PictureSet {
    pub pic_parameter_set_id: u8,
    pub num_extra_slice_header_bits: u8,
    pub num_ref_idx_l0_default_active_minus1: u8,
    pub num_ref_idx_l1_default_active_minus1: u8,
    pub init_qp_minus26: i8,
    pub diff_cu_qp_delta_depth: u8,
    pub pps_cb_qp_offset: i8,
    pub pps_cr_qp_offset: i8,
    /// The widths of all tile columns except the last.
    pub column_width_minus1: Vec<u8>,
    /// The heights of all tile rows except the last.
    pub row_height_minus1: Vec<u8>,
    pub pps_beta_offset_div2: i8,
    pub pps_tc_offset_div2: i8,
    pub log2_parallel_merge_level_minus2: u8,
    /// Bits of [`pps_flag`].
    pub flags: u64,
    pub scaling: Option<ScalingFactors>,
}

/// Flags of a [`PictureSet`], with Linux's numbers.
#[expect(
    missing_docs,
    reason = "flags are syntax elements of ITU-T H.265, 7.3.2.3"
)]
pub mod pps_flag {
    pub const DEPENDENT_SLICE_SEGMENT_ENABLED: u64 = 1 << 0;
    pub const OUTPUT_FLAG_PRESENT: u64 = 1 << 1;
    pub const SIGN_DATA_HIDING_ENABLED: u64 = 1 << 2;
    pub const CABAC_INIT_PRESENT: u64 = 1 << 3;
    pub const CONSTRAINED_INTRA_PRED: u64 = 1 << 4;
    pub const TRANSFORM_SKIP_ENABLED: u64 = 1 << 5;
    pub const CU_QP_DELTA_ENABLED: u64 = 1 << 6;
    pub const SLICE_CHROMA_QP_OFFSETS_PRESENT: u64 = 1 << 7;
    pub const WEIGHTED_PRED: u64 = 1 << 8;
    pub const WEIGHTED_BIPRED: u64 = 1 << 9;
    pub const TRANSQUANT_BYPASS_ENABLED: u64 = 1 << 10;
    pub const TILES_ENABLED: u64 = 1 << 11;
    pub const ENTROPY_CODING_SYNC_ENABLED: u64 = 1 << 12;
    pub const LOOP_FILTER_ACROSS_TILES_ENABLED: u64 = 1 << 13;
    pub const LOOP_FILTER_ACROSS_SLICES_ENABLED: u64 = 1 << 14;
    pub const DEBLOCKING_FILTER_OVERRIDE_ENABLED: u64 = 1 << 15;
    pub const DISABLE_DEBLOCKING_FILTER: u64 = 1 << 16;
    pub const LISTS_MODIFICATION_PRESENT: u64 = 1 << 17;
    pub const SLICE_SEGMENT_HEADER_EXTENSION_PRESENT: u64 = 1 << 18;
    pub const DEBLOCKING_FILTER_CONTROL_PRESENT: u64 = 1 << 19;
    pub const UNIFORM_SPACING: u64 = 1 << 20;
}

/// Scaling lists, row by row, as in ITU-T H.265 7.3.4. Names are those of Linux. `dc_coef` is the first factor
/// of each list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "names tell sizes of blocks")]
pub struct ScalingFactors {
    pub scaling_list_4x4: [[u8; 16]; 6],
    pub scaling_list_8x8: [[u8; 64]; 6],
    pub scaling_list_16x16: [[u8; 64]; 6],
    pub scaling_list_32x32: [[u8; 64]; 2],
    pub scaling_list_dc_coef_16x16: [u8; 6],
    pub scaling_list_dc_coef_32x32: [u8; 2],
}

/// The short-term references of a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// The picture's place in display order.
    pub order: i32,
    /// The display order of each reference, and whether this picture may refer to it.
    pub short_term: Vec<(i32, bool)>,
    /// `NumDeltaPocs` of that set of references in the sequence parameter set from which the slice headers
    /// predict their own set.
    pub num_delta_pocs_of_ref_rps_idx: u8,
}

impl SequenceSet {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// Returns the video parameter set, with a start code.
    fn write_video_set(&self) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.put(self.video_parameter_set_id.into(), 4);
        // The stream contains the base layer, and no other layer.
        bits.put(0b11, 2);
        bits.put(0, 6);
        self.write_layers(&mut bits, |bits| bits.put(0xffff, 16));
        bits.flag(false);
        self.write_buffering(&mut bits);
        // One layer, one set of layers, no timing, no extension.
        bits.put(0, 6);
        bits.ue(0);
        bits.put(0, 2);
        bits.nal_unit(&[32 << 1, 1])
    }

    /// Writes the number of temporal layers, a profile and a level.
    /// Programs pass no profile and no level. The written ones allow everything that can be decoded.
    fn write_layers(&self, bits: &mut BitWriter, reserved: impl Fn(&mut BitWriter)) {
        let layers = u32::from(self.sps_max_sub_layers_minus1 & 7);
        bits.put(layers.into(), 3);
        bits.flag(layers == 0);
        reserved(bits);
        let (main, compatible, level) = (1, 0b0110 << 28, 186);
        bits.put(main, 8);
        bits.put(compatible, 32);
        bits.put(0, 48);
        bits.put(level, 8);
        if layers > 0 {
            // Two bits for each of 8 temporal layers: all have the stream's profile and level.
            bits.put(0, 16);
        }
    }

    fn write_buffering(&self, bits: &mut BitWriter) {
        bits.ue(self.sps_max_dec_pic_buffering_minus1.into());
        bits.ue(self.sps_max_num_reorder_pics.into());
        bits.ue(self.sps_max_latency_increase_plus1.into());
    }

    /// Returns the NAL unit, with a start code and without sets of references.
    fn write(&self) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.put(self.video_parameter_set_id.into(), 4);
        self.write_layers(&mut bits, |_| ());
        bits.ue(self.seq_parameter_set_id.into());
        bits.ue(self.chroma_format_idc.into());
        bits.ue(self.pic_width_in_luma_samples.into());
        bits.ue(self.pic_height_in_luma_samples.into());
        bits.flag(false);
        bits.ue(self.bit_depth_luma_minus8.into());
        bits.ue(self.bit_depth_chroma_minus8.into());
        bits.ue(self.log2_max_pic_order_cnt_lsb_minus4.into());
        bits.flag(false);
        self.write_buffering(&mut bits);
        for value in [
            self.log2_min_luma_coding_block_size_minus3,
            self.log2_diff_max_min_luma_coding_block_size,
            self.log2_min_luma_transform_block_size_minus2,
            self.log2_diff_max_min_luma_transform_block_size,
            self.max_transform_hierarchy_depth_inter,
            self.max_transform_hierarchy_depth_intra,
        ] {
            bits.ue(value.into());
        }
        if bits.flag(self.has(sps_flag::SCALING_LIST_ENABLED)) {
            // The scaling lists are in the picture parameter set.
            bits.flag(false);
        }
        bits.flag(self.has(sps_flag::AMP_ENABLED));
        bits.flag(self.has(sps_flag::SAMPLE_ADAPTIVE_OFFSET));
        if bits.flag(self.has(sps_flag::PCM_ENABLED)) {
            bits.put(self.pcm_sample_bit_depth_luma_minus1.into(), 4);
            bits.put(self.pcm_sample_bit_depth_chroma_minus1.into(), 4);
            bits.ue(self.log2_min_pcm_luma_coding_block_size_minus3.into());
            bits.ue(self.log2_diff_max_min_pcm_luma_coding_block_size.into());
            bits.flag(self.has(sps_flag::PCM_LOOP_FILTER_DISABLED));
        }
        let sets_of_references = 0;
        bits.ue(sets_of_references);
        if bits.flag(self.has(sps_flag::LONG_TERM_REF_PICS_PRESENT)) {
            bits.ue(sets_of_references);
        }
        bits.flag(self.has(sps_flag::TEMPORAL_MVP_ENABLED));
        bits.flag(self.has(sps_flag::STRONG_INTRA_SMOOTHING_ENABLED));
        // Neither VUI parameters nor an extension.
        bits.put(0, 2);
        bits.nal_unit(&[33 << 1, 1])
    }
}

impl PictureSet {
    /// Returns the NAL unit, with a start code.
    fn write(&self, sps: &SequenceSet, extra_bits: u8) -> Result<Vec<u8>, String> {
        let has = |flag: u64| self.flags & flag != 0;
        let mut bits = BitWriter::default();
        bits.ue(self.pic_parameter_set_id.into());
        bits.ue(sps.seq_parameter_set_id.into());
        bits.flag(has(pps_flag::DEPENDENT_SLICE_SEGMENT_ENABLED));
        bits.flag(has(pps_flag::OUTPUT_FLAG_PRESENT));
        bits.put(extra_bits.into(), 3);
        bits.flag(has(pps_flag::SIGN_DATA_HIDING_ENABLED));
        bits.flag(has(pps_flag::CABAC_INIT_PRESENT));
        bits.ue(self.num_ref_idx_l0_default_active_minus1.into());
        bits.ue(self.num_ref_idx_l1_default_active_minus1.into());
        bits.se(self.init_qp_minus26.into());
        bits.flag(has(pps_flag::CONSTRAINED_INTRA_PRED));
        bits.flag(has(pps_flag::TRANSFORM_SKIP_ENABLED));
        if bits.flag(has(pps_flag::CU_QP_DELTA_ENABLED)) {
            bits.ue(self.diff_cu_qp_delta_depth.into());
        }
        bits.se(self.pps_cb_qp_offset.into());
        bits.se(self.pps_cr_qp_offset.into());
        bits.flag(has(pps_flag::SLICE_CHROMA_QP_OFFSETS_PRESENT));
        bits.flag(has(pps_flag::WEIGHTED_PRED));
        bits.flag(has(pps_flag::WEIGHTED_BIPRED));
        bits.flag(has(pps_flag::TRANSQUANT_BYPASS_ENABLED));
        bits.flag(has(pps_flag::TILES_ENABLED));
        bits.flag(has(pps_flag::ENTROPY_CODING_SYNC_ENABLED));
        if has(pps_flag::TILES_ENABLED) {
            self.write_tiles(&mut bits);
        }
        bits.flag(has(pps_flag::LOOP_FILTER_ACROSS_SLICES_ENABLED));
        if bits.flag(has(pps_flag::DEBLOCKING_FILTER_CONTROL_PRESENT)) {
            bits.flag(has(pps_flag::DEBLOCKING_FILTER_OVERRIDE_ENABLED));
            if !bits.flag(has(pps_flag::DISABLE_DEBLOCKING_FILTER)) {
                bits.se(self.pps_beta_offset_div2.into());
                bits.se(self.pps_tc_offset_div2.into());
            }
        }
        bits.flag(self.scaling.is_some());
        if let Some(lists) = &self.scaling {
            lists.write(&mut bits)?;
        }
        bits.flag(has(pps_flag::LISTS_MODIFICATION_PRESENT));
        bits.ue(self.log2_parallel_merge_level_minus2.into());
        bits.flag(has(pps_flag::SLICE_SEGMENT_HEADER_EXTENSION_PRESENT));
        let extension = false;
        bits.flag(extension);
        Ok(bits.nal_unit(&[34 << 1, 1]))
    }

    fn write_tiles(&self, bits: &mut BitWriter) {
        let has = |flag: u64| self.flags & flag != 0;
        let sides = [&self.column_width_minus1, &self.row_height_minus1];
        for side in sides {
            // CAST: widening, on all existing targets.
            bits.ue(side.len() as u64);
        }
        if !bits.flag(has(pps_flag::UNIFORM_SPACING)) {
            sides
                .into_iter()
                .flatten()
                .for_each(|length| bits.ue((*length).into()));
        }
        bits.flag(has(pps_flag::LOOP_FILTER_ACROSS_TILES_ENABLED));
    }
}

impl ScalingFactors {
    fn write(&self, bits: &mut BitWriter) -> Result<(), String> {
        for list in &self.scaling_list_4x4 {
            write_list(4, list, None, bits)?;
        }
        for list in &self.scaling_list_8x8 {
            write_list(8, list, None, bits)?;
        }
        let firsts = self.scaling_list_dc_coef_16x16;
        for (list, first) in self.scaling_list_16x16.iter().zip(firsts) {
            write_list(16, list, Some(first), bits)?;
        }
        let firsts = self.scaling_list_dc_coef_32x32;
        for (list, first) in self.scaling_list_32x32.iter().zip(firsts) {
            write_list(32, list, Some(first), bits)?;
        }
        Ok(())
    }
}

/// Writes the factors of blocks with this many pixels on each side.
fn write_list(
    side: usize,
    list: &[u8],
    first: Option<u8>,
    bits: &mut BitWriter,
) -> Result<(), String> {
    // The list itself follows, not the number of an earlier list.
    bits.flag(true);
    let mut last = 8;
    if let Some(value) = first {
        bits.se(i32::from(value) - 8);
        last = value;
    }
    let in_order = upward_diagonals(side.min(8)).flatten();
    let factors = in_order.map(|at| list.get(at).copied().unwrap_or_default());
    for value in factors {
        if value == 0 || last == 0 {
            return Err(format!(
                "a scaling list of {side}x{side} blocks has a 0; factors are 1 to 255"
            ));
        }
        bits.se(value.wrapping_sub(last).cast_signed().into());
        last = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
