//! Parameter sets of HEVC, as ffmpeg reads them.

use crate::headers::{Elements, assert_same, traced};
use crate::tools::ffmpeg_is_here;
use rand_core::Rng as _;
use rand_pcg::Pcg32;
use vb3_codec::parameter_sets::hevc::{
    PictureSet, References, ScalingFactors, SequenceSet, picture, pps_flag, sps_flag,
};

/// An IDR picture's slice, with one byte of its content.
const SLICE: &[u8] = &[0, 0, 1, 19 << 1, 1, 0x95];

struct Draw(Pcg32);

impl Draw {
    fn below(&mut self, limit: u8) -> u8 {
        (self.0.next_u32() % u32::from(limit)).try_into().unwrap()
    }

    fn signed(&mut self, most: u8) -> i8 {
        let value = i16::from(self.below(2 * most + 1)) - i16::from(most);
        value.try_into().unwrap()
    }

    fn flags(&mut self) -> u64 {
        self.0.next_u32().into()
    }

    fn sequence(&mut self) -> SequenceSet {
        let (block, more) = (self.below(2), 1 + self.below(2));
        // Blocks of raw samples have at most 32x32.
        let largest = (block + more).min(2);
        let pcm = block.min(largest);
        let depth = self.below(3);
        SequenceSet {
            video_parameter_set_id: self.below(16),
            seq_parameter_set_id: self.below(16),
            pic_width_in_luma_samples: 64 * (1 + u16::from(self.below(20))),
            pic_height_in_luma_samples: 64 * (1 + u16::from(self.below(20))),
            bit_depth_luma_minus8: depth,
            bit_depth_chroma_minus8: depth,
            log2_max_pic_order_cnt_lsb_minus4: self.below(13),
            sps_max_dec_pic_buffering_minus1: 4 + self.below(8),
            sps_max_num_reorder_pics: self.below(5),
            sps_max_latency_increase_plus1: self.below(50),
            log2_min_luma_coding_block_size_minus3: block,
            log2_diff_max_min_luma_coding_block_size: more,
            log2_min_luma_transform_block_size_minus2: self.below(block + 1),
            log2_diff_max_min_luma_transform_block_size: self.below(2),
            max_transform_hierarchy_depth_inter: self.below(3),
            max_transform_hierarchy_depth_intra: self.below(3),
            pcm_sample_bit_depth_luma_minus1: self.below(8),
            pcm_sample_bit_depth_chroma_minus1: self.below(8),
            log2_min_pcm_luma_coding_block_size_minus3: pcm,
            log2_diff_max_min_pcm_luma_coding_block_size: self.below(largest - pcm + 1),
            num_short_term_ref_pic_sets: 0,
            chroma_format_idc: 1,
            sps_max_sub_layers_minus1: self.below(7),
            flags: self.flags(),
        }
    }

    fn picture(&mut self) -> PictureSet {
        let mut lengths = || (0..self.below(4)).map(|_| self.below(3)).collect();
        let (column_width_minus1, row_height_minus1) = (lengths(), lengths());
        PictureSet {
            // The slice names set 1.
            pic_parameter_set_id: 1,
            num_extra_slice_header_bits: self.below(3),
            num_ref_idx_l0_default_active_minus1: self.below(15),
            num_ref_idx_l1_default_active_minus1: self.below(15),
            init_qp_minus26: self.signed(25),
            diff_cu_qp_delta_depth: self.below(2),
            pps_cb_qp_offset: self.signed(12),
            pps_cr_qp_offset: self.signed(12),
            column_width_minus1,
            row_height_minus1,
            pps_beta_offset_div2: self.signed(6),
            pps_tc_offset_div2: self.signed(6),
            log2_parallel_merge_level_minus2: self.below(2),
            flags: self.flags(),
            scaling: (self.below(4) == 0).then(|| self.scaling()),
        }
    }

    fn scaling(&mut self) -> ScalingFactors {
        let mut factor = || 1 + self.below(255);
        ScalingFactors {
            scaling_list_4x4: std::array::from_fn(|_| std::array::from_fn(|_| factor())),
            scaling_list_8x8: std::array::from_fn(|_| std::array::from_fn(|_| factor())),
            scaling_list_16x16: std::array::from_fn(|_| std::array::from_fn(|_| factor())),
            scaling_list_32x32: std::array::from_fn(|_| std::array::from_fn(|_| factor())),
            scaling_list_dc_coef_16x16: std::array::from_fn(|_| factor()),
            scaling_list_dc_coef_32x32: std::array::from_fn(|_| factor()),
        }
    }
}

/// Names fields, which have the names of syntax elements, with their values.
macro_rules! fields {
    ($set:expr; $($field:ident)*) => {
        [$((stringify!($field), i64::from($set.$field))),*]
    };
}

fn of_sequence(set: &SequenceSet) -> Elements {
    let numbers = fields! { set;
        sps_max_sub_layers_minus1
        chroma_format_idc
        pic_width_in_luma_samples
        pic_height_in_luma_samples
        bit_depth_luma_minus8
        bit_depth_chroma_minus8
        log2_max_pic_order_cnt_lsb_minus4
        log2_min_luma_coding_block_size_minus3
        log2_diff_max_min_luma_coding_block_size
        log2_min_luma_transform_block_size_minus2
        log2_diff_max_min_luma_transform_block_size
        max_transform_hierarchy_depth_inter
        max_transform_hierarchy_depth_intra
        pcm_sample_bit_depth_luma_minus1
        pcm_sample_bit_depth_chroma_minus1
        log2_min_pcm_luma_coding_block_size_minus3
        log2_diff_max_min_pcm_luma_coding_block_size
    };
    let flags = [
        ("scaling_list_enabled_flag", sps_flag::SCALING_LIST_ENABLED),
        ("amp_enabled_flag", sps_flag::AMP_ENABLED),
        (
            "sample_adaptive_offset_enabled_flag",
            sps_flag::SAMPLE_ADAPTIVE_OFFSET,
        ),
        ("pcm_enabled_flag", sps_flag::PCM_ENABLED),
        (
            "pcm_loop_filter_disabled_flag",
            sps_flag::PCM_LOOP_FILTER_DISABLED,
        ),
        (
            "long_term_ref_pics_present_flag",
            sps_flag::LONG_TERM_REF_PICS_PRESENT,
        ),
        (
            "sps_temporal_mvp_enabled_flag",
            sps_flag::TEMPORAL_MVP_ENABLED,
        ),
        (
            "strong_intra_smoothing_enabled_flag",
            sps_flag::STRONG_INTRA_SMOOTHING_ENABLED,
        ),
        ("vui_parameters_present_flag", 0),
        ("sps_extension_present_flag", 0),
    ];
    let layer = set.sps_max_sub_layers_minus1;
    let layers = fields! { set;
        sps_max_dec_pic_buffering_minus1
        sps_max_num_reorder_pics
        sps_max_latency_increase_plus1
    };
    let ids = [
        (
            "sps_video_parameter_set_id",
            set.video_parameter_set_id.into(),
        ),
        ("sps_seq_parameter_set_id", set.seq_parameter_set_id.into()),
    ];
    let flags = flags.map(|(name, bit)| (name, (set.flags & bit != 0).into()));
    let all = numbers.into_iter().chain(flags).chain(ids);
    let all = all.map(|(name, value)| (name.to_owned(), value));
    all.chain(layers.map(|(name, value)| (format!("{name}[{layer}]"), value)))
        .collect()
}

fn of_picture(set: &PictureSet, sequence: &SequenceSet) -> Elements {
    let numbers = fields! { set;
        num_extra_slice_header_bits
        num_ref_idx_l0_default_active_minus1
        num_ref_idx_l1_default_active_minus1
        init_qp_minus26
        diff_cu_qp_delta_depth
        pps_cb_qp_offset
        pps_cr_qp_offset
        pps_beta_offset_div2
        pps_tc_offset_div2
        log2_parallel_merge_level_minus2
    };
    let flags = [
        (
            "dependent_slice_segments_enabled_flag",
            pps_flag::DEPENDENT_SLICE_SEGMENT_ENABLED,
        ),
        ("output_flag_present_flag", pps_flag::OUTPUT_FLAG_PRESENT),
        (
            "sign_data_hiding_enabled_flag",
            pps_flag::SIGN_DATA_HIDING_ENABLED,
        ),
        ("cabac_init_present_flag", pps_flag::CABAC_INIT_PRESENT),
        (
            "constrained_intra_pred_flag",
            pps_flag::CONSTRAINED_INTRA_PRED,
        ),
        (
            "transform_skip_enabled_flag",
            pps_flag::TRANSFORM_SKIP_ENABLED,
        ),
        ("cu_qp_delta_enabled_flag", pps_flag::CU_QP_DELTA_ENABLED),
        (
            "pps_slice_chroma_qp_offsets_present_flag",
            pps_flag::SLICE_CHROMA_QP_OFFSETS_PRESENT,
        ),
        ("weighted_pred_flag", pps_flag::WEIGHTED_PRED),
        ("weighted_bipred_flag", pps_flag::WEIGHTED_BIPRED),
        (
            "transquant_bypass_enabled_flag",
            pps_flag::TRANSQUANT_BYPASS_ENABLED,
        ),
        ("tiles_enabled_flag", pps_flag::TILES_ENABLED),
        (
            "entropy_coding_sync_enabled_flag",
            pps_flag::ENTROPY_CODING_SYNC_ENABLED,
        ),
        ("uniform_spacing_flag", pps_flag::UNIFORM_SPACING),
        (
            "loop_filter_across_tiles_enabled_flag",
            pps_flag::LOOP_FILTER_ACROSS_TILES_ENABLED,
        ),
        (
            "pps_loop_filter_across_slices_enabled_flag",
            pps_flag::LOOP_FILTER_ACROSS_SLICES_ENABLED,
        ),
        (
            "deblocking_filter_control_present_flag",
            pps_flag::DEBLOCKING_FILTER_CONTROL_PRESENT,
        ),
        (
            "deblocking_filter_override_enabled_flag",
            pps_flag::DEBLOCKING_FILTER_OVERRIDE_ENABLED,
        ),
        (
            "pps_deblocking_filter_disabled_flag",
            pps_flag::DISABLE_DEBLOCKING_FILTER,
        ),
        (
            "lists_modification_present_flag",
            pps_flag::LISTS_MODIFICATION_PRESENT,
        ),
        (
            "slice_segment_header_extension_present_flag",
            pps_flag::SLICE_SEGMENT_HEADER_EXTENSION_PRESENT,
        ),
        ("pps_extension_present_flag", 0),
    ];
    let flags = flags.map(|(name, bit)| (name, (set.flags & bit != 0).into()));
    let count = |lengths: &[u8]| i64::try_from(lengths.len()).unwrap();
    let others = [
        ("pps_pic_parameter_set_id", set.pic_parameter_set_id.into()),
        (
            "pps_seq_parameter_set_id",
            sequence.seq_parameter_set_id.into(),
        ),
        ("num_tile_columns_minus1", count(&set.column_width_minus1)),
        ("num_tile_rows_minus1", count(&set.row_height_minus1)),
        (
            "pps_scaling_list_data_present_flag",
            set.scaling.is_some().into(),
        ),
    ];
    let all = numbers.into_iter().chain(flags).chain(others);
    let mut all: Elements = all.map(|(name, value)| (name.to_owned(), value)).collect();
    let mut list = |name: &str, values: &[u8]| {
        let named = values.iter().enumerate();
        all.extend(named.map(|(at, value)| (format!("{name}[{at}]"), (*value).into())));
    };
    list("column_width_minus1", &set.column_width_minus1);
    list("row_height_minus1", &set.row_height_minus1);
    all
}

/// A wrong bit moves all elements after it.
#[test]
fn ffmpeg_reads_random_parameter_sets() {
    if !ffmpeg_is_here() {
        return;
    }
    let mut draw = Draw(Pcg32::new(1, 1));
    let (mut stream, mut wanted) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let (sps, pps) = (draw.sequence(), draw.picture());
        stream.extend(picture(&sps, &pps, &References::default(), SLICE).unwrap());
        wanted.push((of_sequence(&sps), of_picture(&pps, &sps)));
    }
    let titles = ["Sequence Parameter Set", "Picture Parameter Set"];
    let found = traced((&stream, "hevc"), titles, wanted.len());
    for (at, ([sps, pps], (of_sps, of_pps))) in found.iter().zip(&wanted).enumerate() {
        assert_same(at, sps, of_sps);
        assert_same(at, pps, of_pps);
        assert!(
            sps.contains_key("sps_extension_present_flag"),
            "{at}: {sps:#?}"
        );
        assert!(
            pps.contains_key("pps_extension_present_flag"),
            "{at}: {pps:#?}"
        );
    }
}
