pub type __time_t = ::core::ffi::c_long;
pub type __suseconds_t = ::core::ffi::c_long;
pub type __syscall_slong_t = ::core::ffi::c_long;
pub type __s8 = ::core::ffi::c_schar;
pub type __u8 = ::core::ffi::c_uchar;
pub type __s16 = ::core::ffi::c_short;
pub type __u16 = ::core::ffi::c_ushort;
pub type __s32 = ::core::ffi::c_int;
pub type __u32 = ::core::ffi::c_uint;
pub type __s64 = ::core::ffi::c_longlong;
pub type __u64 = ::core::ffi::c_ulonglong;
pub type v4l2_power_line_frequency = ::core::ffi::c_uint;
pub type v4l2_exposure_auto_type = ::core::ffi::c_uint;
pub type v4l2_auto_focus_range = ::core::ffi::c_uint;
pub type v4l2_av1_warp_model = ::core::ffi::c_uint;
pub type v4l2_av1_frame_restoration_type = ::core::ffi::c_uint;
pub type v4l2_av1_frame_type = ::core::ffi::c_uint;
pub type v4l2_av1_interpolation_filter = ::core::ffi::c_uint;
pub type v4l2_av1_tx_mode = ::core::ffi::c_uint;
pub type v4l2_field = ::core::ffi::c_uint;
pub type v4l2_buf_type = ::core::ffi::c_uint;
pub type v4l2_memory = ::core::ffi::c_uint;
pub type v4l2_colorspace = ::core::ffi::c_uint;
pub type v4l2_xfer_func = ::core::ffi::c_uint;
pub type v4l2_ycbcr_encoding = ::core::ffi::c_uint;
pub type v4l2_quantization = ::core::ffi::c_uint;
pub type v4l2_priority = ::core::ffi::c_uint;
pub type v4l2_frmsizetypes = ::core::ffi::c_uint;
pub type v4l2_frmivaltypes = ::core::ffi::c_uint;
pub type v4l2_std_id = __u64;
pub type v4l2_ctrl_type = ::core::ffi::c_uint;
pub type v4l2_subdev_format_whence = ::core::ffi::c_uint;
#[derive(PartialEq, Eq, Copy, Clone, Debug, Hash)]
#[repr(C)]
pub struct __BindgenOpaqueArray<T>(pub T);
#[derive(PartialEq, Eq, Copy, Clone, Debug, Hash)]
#[repr(C, align(8))]
pub struct __BindgenOpaqueArray8<T>(pub T);
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct timeval {
    pub tv_sec: __time_t,
    pub tv_usec: __suseconds_t,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct timespec {
    pub tv_sec: __time_t,
    pub tv_nsec: __syscall_slong_t,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_h264_sps {
    pub profile_idc: __u8,
    pub constraint_set_flags: __u8,
    pub level_idc: __u8,
    pub seq_parameter_set_id: __u8,
    pub chroma_format_idc: __u8,
    pub bit_depth_luma_minus8: __u8,
    pub bit_depth_chroma_minus8: __u8,
    pub log2_max_frame_num_minus4: __u8,
    pub pic_order_cnt_type: __u8,
    pub log2_max_pic_order_cnt_lsb_minus4: __u8,
    pub max_num_ref_frames: __u8,
    pub num_ref_frames_in_pic_order_cnt_cycle: __u8,
    pub offset_for_ref_frame: [__s32; 255usize],
    pub offset_for_non_ref_pic: __s32,
    pub offset_for_top_to_bottom_field: __s32,
    pub pic_width_in_mbs_minus1: __u16,
    pub pic_height_in_map_units_minus1: __u16,
    pub flags: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_h264_pps {
    pub pic_parameter_set_id: __u8,
    pub seq_parameter_set_id: __u8,
    pub num_slice_groups_minus1: __u8,
    pub num_ref_idx_l0_default_active_minus1: __u8,
    pub num_ref_idx_l1_default_active_minus1: __u8,
    pub weighted_bipred_idc: __u8,
    pub pic_init_qp_minus26: __s8,
    pub pic_init_qs_minus26: __s8,
    pub chroma_qp_index_offset: __s8,
    pub second_chroma_qp_index_offset: __s8,
    pub flags: __u16,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_h264_scaling_matrix {
    pub scaling_list_4x4: [[__u8; 16usize]; 6usize],
    pub scaling_list_8x8: [[__u8; 64usize]; 6usize],
}
#[repr(C)]
#[repr(align(2))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_h264_pred_weights {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray<[u16; 386usize]>,
}
#[repr(C)]
#[repr(align(4))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_h264_slice_params {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray<[u32; 38usize]>,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_h264_dpb_entry {
    pub reference_ts: __u64,
    pub pic_num: __u32,
    pub frame_num: __u16,
    pub fields: __u8,
    pub reserved: [__u8; 5usize],
    pub top_field_order_cnt: __s32,
    pub bottom_field_order_cnt: __s32,
    pub flags: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_h264_decode_params {
    pub dpb: [v4l2_h264_dpb_entry; 16usize],
    pub nal_ref_idc: __u16,
    pub frame_num: __u16,
    pub top_field_order_cnt: __s32,
    pub bottom_field_order_cnt: __s32,
    pub idr_pic_id: __u16,
    pub pic_order_cnt_lsb: __u16,
    pub delta_pic_order_cnt_bottom: __s32,
    pub delta_pic_order_cnt0: __s32,
    pub delta_pic_order_cnt1: __s32,
    pub dec_ref_pic_marking_bit_size: __u32,
    pub pic_order_cnt_bit_size: __u32,
    pub slice_group_change_cycle: __u32,
    pub reserved: __u32,
    pub flags: __u32,
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_fwht_params {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 40usize]>,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp8_segment {
    pub quant_update: [__s8; 4usize],
    pub lf_update: [__s8; 4usize],
    pub segment_probs: [__u8; 3usize],
    pub padding: __u8,
    pub flags: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp8_loop_filter {
    pub ref_frm_delta: [__s8; 4usize],
    pub mb_mode_delta: [__s8; 4usize],
    pub sharpness_level: __u8,
    pub level: __u8,
    pub padding: __u16,
    pub flags: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp8_quantization {
    pub y_ac_qi: __u8,
    pub y_dc_delta: __s8,
    pub y2_dc_delta: __s8,
    pub y2_ac_delta: __s8,
    pub uv_dc_delta: __s8,
    pub uv_ac_delta: __s8,
    pub padding: __u16,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp8_entropy {
    pub coeff_probs: [[[[__u8; 11usize]; 3usize]; 8usize]; 4usize],
    pub y_mode_probs: [__u8; 4usize],
    pub uv_mode_probs: [__u8; 3usize],
    pub mv_probs: [[__u8; 19usize]; 2usize],
    pub padding: [__u8; 3usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp8_entropy_coder_state {
    pub range: __u8,
    pub value: __u8,
    pub bit_count: __u8,
    pub padding: __u8,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_vp8_frame {
    pub segment: v4l2_vp8_segment,
    pub lf: v4l2_vp8_loop_filter,
    pub quant: v4l2_vp8_quantization,
    pub entropy: v4l2_vp8_entropy,
    pub coder_state: v4l2_vp8_entropy_coder_state,
    pub width: __u16,
    pub height: __u16,
    pub horizontal_scale: __u8,
    pub vertical_scale: __u8,
    pub version: __u8,
    pub prob_skip_false: __u8,
    pub prob_intra: __u8,
    pub prob_last: __u8,
    pub prob_gf: __u8,
    pub num_dct_parts: __u8,
    pub first_part_size: __u32,
    pub first_part_header_bits: __u32,
    pub dct_part_sizes: [__u32; 8usize],
    pub last_frame_ts: __u64,
    pub golden_frame_ts: __u64,
    pub alt_frame_ts: __u64,
    pub flags: __u64,
}
#[repr(C)]
#[repr(align(4))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_mpeg2_sequence {
    pub _bindgen_opaque_blob: [u32; 3usize],
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_mpeg2_picture {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 32usize]>,
}
#[repr(C)]
#[repr(align(1))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_mpeg2_quantisation {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray<[u8; 256usize]>,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_hevc_sps {
    pub video_parameter_set_id: __u8,
    pub seq_parameter_set_id: __u8,
    pub pic_width_in_luma_samples: __u16,
    pub pic_height_in_luma_samples: __u16,
    pub bit_depth_luma_minus8: __u8,
    pub bit_depth_chroma_minus8: __u8,
    pub log2_max_pic_order_cnt_lsb_minus4: __u8,
    pub sps_max_dec_pic_buffering_minus1: __u8,
    pub sps_max_num_reorder_pics: __u8,
    pub sps_max_latency_increase_plus1: __u8,
    pub log2_min_luma_coding_block_size_minus3: __u8,
    pub log2_diff_max_min_luma_coding_block_size: __u8,
    pub log2_min_luma_transform_block_size_minus2: __u8,
    pub log2_diff_max_min_luma_transform_block_size: __u8,
    pub max_transform_hierarchy_depth_inter: __u8,
    pub max_transform_hierarchy_depth_intra: __u8,
    pub pcm_sample_bit_depth_luma_minus1: __u8,
    pub pcm_sample_bit_depth_chroma_minus1: __u8,
    pub log2_min_pcm_luma_coding_block_size_minus3: __u8,
    pub log2_diff_max_min_pcm_luma_coding_block_size: __u8,
    pub num_short_term_ref_pic_sets: __u8,
    pub num_long_term_ref_pics_sps: __u8,
    pub chroma_format_idc: __u8,
    pub sps_max_sub_layers_minus1: __u8,
    pub reserved: [__u8; 6usize],
    pub flags: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_hevc_pps {
    pub pic_parameter_set_id: __u8,
    pub num_extra_slice_header_bits: __u8,
    pub num_ref_idx_l0_default_active_minus1: __u8,
    pub num_ref_idx_l1_default_active_minus1: __u8,
    pub init_qp_minus26: __s8,
    pub diff_cu_qp_delta_depth: __u8,
    pub pps_cb_qp_offset: __s8,
    pub pps_cr_qp_offset: __s8,
    pub num_tile_columns_minus1: __u8,
    pub num_tile_rows_minus1: __u8,
    pub column_width_minus1: [__u8; 20usize],
    pub row_height_minus1: [__u8; 22usize],
    pub pps_beta_offset_div2: __s8,
    pub pps_tc_offset_div2: __s8,
    pub log2_parallel_merge_level_minus2: __u8,
    pub reserved: __u8,
    pub flags: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_hevc_dpb_entry {
    pub timestamp: __u64,
    pub flags: __u8,
    pub field_pic: __u8,
    pub reserved: __u16,
    pub pic_order_cnt_val: __s32,
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_hevc_slice_params {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 280usize]>,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_hevc_decode_params {
    pub pic_order_cnt_val: __s32,
    pub short_term_ref_pic_set_size: __u16,
    pub long_term_ref_pic_set_size: __u16,
    pub num_active_dpb_entries: __u8,
    pub num_poc_st_curr_before: __u8,
    pub num_poc_st_curr_after: __u8,
    pub num_poc_lt_curr: __u8,
    pub poc_st_curr_before: [__u8; 16usize],
    pub poc_st_curr_after: [__u8; 16usize],
    pub poc_lt_curr: [__u8; 16usize],
    pub num_delta_pocs_of_ref_rps_idx: __u8,
    pub reserved: [__u8; 3usize],
    pub dpb: [v4l2_hevc_dpb_entry; 16usize],
    pub flags: __u64,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_hevc_scaling_matrix {
    pub scaling_list_4x4: [[__u8; 16usize]; 6usize],
    pub scaling_list_8x8: [[__u8; 64usize]; 6usize],
    pub scaling_list_16x16: [[__u8; 64usize]; 6usize],
    pub scaling_list_32x32: [[__u8; 64usize]; 2usize],
    pub scaling_list_dc_coef_16x16: [__u8; 6usize],
    pub scaling_list_dc_coef_32x32: [__u8; 2usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp9_loop_filter {
    pub ref_deltas: [__s8; 4usize],
    pub mode_deltas: [__s8; 2usize],
    pub level: __u8,
    pub sharpness: __u8,
    pub flags: __u8,
    pub reserved: [__u8; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp9_quantization {
    pub base_q_idx: __u8,
    pub delta_q_y_dc: __s8,
    pub delta_q_uv_dc: __s8,
    pub delta_q_uv_ac: __s8,
    pub reserved: [__u8; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp9_segmentation {
    pub feature_data: [[__s16; 4usize]; 8usize],
    pub feature_enabled: [__u8; 8usize],
    pub tree_probs: [__u8; 7usize],
    pub pred_probs: [__u8; 3usize],
    pub flags: __u8,
    pub reserved: [__u8; 5usize],
}
#[repr(C)]
#[repr(align(2))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_hdr10_cll_info {
    pub _bindgen_opaque_blob: [u16; 2usize],
}
#[repr(C)]
#[repr(align(4))]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_hdr10_mastering_display {
    pub _bindgen_opaque_blob: [u32; 6usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_vp9_frame {
    pub lf: v4l2_vp9_loop_filter,
    pub quant: v4l2_vp9_quantization,
    pub seg: v4l2_vp9_segmentation,
    pub flags: __u32,
    pub compressed_header_size: __u16,
    pub uncompressed_header_size: __u16,
    pub frame_width_minus_1: __u16,
    pub frame_height_minus_1: __u16,
    pub render_width_minus_1: __u16,
    pub render_height_minus_1: __u16,
    pub last_frame_ts: __u64,
    pub golden_frame_ts: __u64,
    pub alt_frame_ts: __u64,
    pub ref_frame_sign_bias: __u8,
    pub reset_frame_context: __u8,
    pub frame_context_idx: __u8,
    pub profile: __u8,
    pub bit_depth: __u8,
    pub interpolation_filter: __u8,
    pub tile_cols_log2: __u8,
    pub tile_rows_log2: __u8,
    pub reference_mode: __u8,
    pub reserved: [__u8; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vp9_mv_probs {
    pub joint: [__u8; 3usize],
    pub sign: [__u8; 2usize],
    pub classes: [[__u8; 10usize]; 2usize],
    pub class0_bit: [__u8; 2usize],
    pub bits: [[__u8; 10usize]; 2usize],
    pub class0_fr: [[[__u8; 3usize]; 2usize]; 2usize],
    pub fr: [[__u8; 3usize]; 2usize],
    pub class0_hp: [__u8; 2usize],
    pub hp: [__u8; 2usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_vp9_compressed_hdr {
    pub tx_mode: __u8,
    pub tx8: [[__u8; 1usize]; 2usize],
    pub tx16: [[__u8; 2usize]; 2usize],
    pub tx32: [[__u8; 3usize]; 2usize],
    pub coef: [[[[[[__u8; 3usize]; 6usize]; 6usize]; 2usize]; 2usize]; 4usize],
    pub skip: [__u8; 3usize],
    pub inter_mode: [[__u8; 3usize]; 7usize],
    pub interp_filter: [[__u8; 2usize]; 4usize],
    pub is_inter: [__u8; 4usize],
    pub comp_mode: [__u8; 5usize],
    pub single_ref: [[__u8; 2usize]; 5usize],
    pub comp_ref: [__u8; 5usize],
    pub y_mode: [[__u8; 9usize]; 4usize],
    pub uv_mode: [[__u8; 9usize]; 10usize],
    pub partition: [[__u8; 3usize]; 16usize],
    pub mv: v4l2_vp9_mv_probs,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_av1_sequence {
    pub flags: __u32,
    pub seq_profile: __u8,
    pub order_hint_bits: __u8,
    pub bit_depth: __u8,
    pub reserved: __u8,
    pub max_frame_width_minus_1: __u16,
    pub max_frame_height_minus_1: __u16,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_av1_tile_group_entry {
    pub tile_offset: __u32,
    pub tile_size: __u32,
    pub tile_row: __u32,
    pub tile_col: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_av1_global_motion {
    pub flags: [__u8; 8usize],
    pub type_: [v4l2_av1_warp_model; 8usize],
    pub params: [[__s32; 6usize]; 8usize],
    pub invalid: __u8,
    pub reserved: [__u8; 3usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_av1_loop_restoration {
    pub flags: __u8,
    pub lr_unit_shift: __u8,
    pub lr_uv_shift: __u8,
    pub reserved: __u8,
    pub frame_restoration_type: [v4l2_av1_frame_restoration_type; 3usize],
    pub loop_restoration_size: [__u32; 3usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_av1_cdef {
    pub damping_minus_3: __u8,
    pub bits: __u8,
    pub y_pri_strength: [__u8; 8usize],
    pub y_sec_strength: [__u8; 8usize],
    pub uv_pri_strength: [__u8; 8usize],
    pub uv_sec_strength: [__u8; 8usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_av1_segmentation {
    pub flags: __u8,
    pub last_active_seg_id: __u8,
    pub feature_enabled: [__u8; 8usize],
    pub feature_data: [[__s16; 8usize]; 8usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_av1_loop_filter {
    pub flags: __u8,
    pub level: [__u8; 4usize],
    pub sharpness: __u8,
    pub ref_deltas: [__s8; 8usize],
    pub mode_deltas: [__s8; 2usize],
    pub delta_lf_res: __u8,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_av1_quantization {
    pub flags: __u8,
    pub base_q_idx: __u8,
    pub delta_q_y_dc: __s8,
    pub delta_q_u_dc: __s8,
    pub delta_q_u_ac: __s8,
    pub delta_q_v_dc: __s8,
    pub delta_q_v_ac: __s8,
    pub qm_y: __u8,
    pub qm_u: __u8,
    pub qm_v: __u8,
    pub delta_q_res: __u8,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_av1_tile_info {
    pub flags: __u8,
    pub context_update_tile_id: __u8,
    pub tile_cols: __u8,
    pub tile_rows: __u8,
    pub mi_col_starts: [__u32; 65usize],
    pub mi_row_starts: [__u32; 65usize],
    pub width_in_sbs_minus_1: [__u32; 64usize],
    pub height_in_sbs_minus_1: [__u32; 64usize],
    pub tile_size_bytes: __u8,
    pub reserved: [__u8; 3usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_av1_frame {
    pub tile_info: v4l2_av1_tile_info,
    pub quantization: v4l2_av1_quantization,
    pub superres_denom: __u8,
    pub segmentation: v4l2_av1_segmentation,
    pub loop_filter: v4l2_av1_loop_filter,
    pub cdef: v4l2_av1_cdef,
    pub skip_mode_frame: [__u8; 2usize],
    pub primary_ref_frame: __u8,
    pub loop_restoration: v4l2_av1_loop_restoration,
    pub global_motion: v4l2_av1_global_motion,
    pub flags: __u32,
    pub frame_type: v4l2_av1_frame_type,
    pub order_hint: __u32,
    pub upscaled_width: __u32,
    pub interpolation_filter: v4l2_av1_interpolation_filter,
    pub tx_mode: v4l2_av1_tx_mode,
    pub frame_width_minus_1: __u32,
    pub frame_height_minus_1: __u32,
    pub render_width_minus_1: __u16,
    pub render_height_minus_1: __u16,
    pub current_frame_id: __u32,
    pub buffer_removal_time: [__u32; 32usize],
    pub reserved: [__u8; 4usize],
    pub order_hints: [__u32; 8usize],
    pub reference_frame_ts: [__u64; 8usize],
    pub ref_frame_idx: [__s8; 7usize],
    pub refresh_frame_flags: __u8,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_ctrl_av1_film_grain {
    pub flags: __u8,
    pub cr_mult: __u8,
    pub grain_seed: __u16,
    pub film_grain_params_ref_idx: __u8,
    pub num_y_points: __u8,
    pub point_y_value: [__u8; 16usize],
    pub point_y_scaling: [__u8; 16usize],
    pub num_cb_points: __u8,
    pub point_cb_value: [__u8; 16usize],
    pub point_cb_scaling: [__u8; 16usize],
    pub num_cr_points: __u8,
    pub point_cr_value: [__u8; 16usize],
    pub point_cr_scaling: [__u8; 16usize],
    pub grain_scaling_minus_8: __u8,
    pub ar_coeff_lag: __u8,
    pub ar_coeffs_y_plus_128: [__u8; 25usize],
    pub ar_coeffs_cb_plus_128: [__u8; 25usize],
    pub ar_coeffs_cr_plus_128: [__u8; 25usize],
    pub ar_coeff_shift_minus_6: __u8,
    pub grain_scale_shift: __u8,
    pub cb_mult: __u8,
    pub cb_luma_mult: __u8,
    pub cr_luma_mult: __u8,
    pub cb_offset: __u16,
    pub cr_offset: __u16,
    pub reserved: [__u8; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_rect {
    pub left: __s32,
    pub top: __s32,
    pub width: __u32,
    pub height: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_fract {
    pub numerator: __u32,
    pub denominator: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_area {
    pub width: __u32,
    pub height: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_capability {
    pub driver: [__u8; 16usize],
    pub card: [__u8; 32usize],
    pub bus_info: [__u8; 32usize],
    pub version: __u32,
    pub capabilities: __u32,
    pub device_caps: __u32,
    pub reserved: [__u32; 3usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_pix_format {
    pub width: __u32,
    pub height: __u32,
    pub pixelformat: __u32,
    pub field: __u32,
    pub bytesperline: __u32,
    pub sizeimage: __u32,
    pub colorspace: __u32,
    pub priv_: __u32,
    pub flags: __u32,
    pub __bindgen_anon_1: v4l2_pix_format__bindgen_ty_1,
    pub quantization: __u32,
    pub xfer_func: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_fmtdesc {
    pub index: __u32,
    pub type_: __u32,
    pub flags: __u32,
    pub description: [__u8; 32usize],
    pub pixelformat: __u32,
    pub mbus_code: __u32,
    pub reserved: [__u32; 3usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_frmsize_discrete {
    pub width: __u32,
    pub height: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_frmsize_stepwise {
    pub min_width: __u32,
    pub max_width: __u32,
    pub step_width: __u32,
    pub min_height: __u32,
    pub max_height: __u32,
    pub step_height: __u32,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_frmsizeenum {
    pub index: __u32,
    pub pixel_format: __u32,
    pub type_: __u32,
    pub __bindgen_anon_1: v4l2_frmsizeenum__bindgen_ty_1,
    pub reserved: [__u32; 2usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_frmival_stepwise {
    pub min: v4l2_fract,
    pub max: v4l2_fract,
    pub step: v4l2_fract,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_frmivalenum {
    pub index: __u32,
    pub pixel_format: __u32,
    pub width: __u32,
    pub height: __u32,
    pub type_: __u32,
    pub __bindgen_anon_1: v4l2_frmivalenum__bindgen_ty_1,
    pub reserved: [__u32; 2usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_timecode {
    pub type_: __u32,
    pub flags: __u32,
    pub frames: __u8,
    pub seconds: __u8,
    pub minutes: __u8,
    pub hours: __u8,
    pub userbits: [__u8; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_requestbuffers {
    pub count: __u32,
    pub type_: __u32,
    pub memory: __u32,
    pub capabilities: __u32,
    pub flags: __u8,
    pub reserved: [__u8; 3usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_plane {
    pub bytesused: __u32,
    pub length: __u32,
    pub m: v4l2_plane__bindgen_ty_1,
    pub data_offset: __u32,
    pub reserved: [__u32; 11usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_buffer {
    pub index: __u32,
    pub type_: __u32,
    pub bytesused: __u32,
    pub flags: __u32,
    pub field: __u32,
    pub __bindgen_padding_0: [u8; 4usize],
    pub timestamp: timeval,
    pub timecode: v4l2_timecode,
    pub sequence: __u32,
    pub memory: __u32,
    pub m: v4l2_buffer__bindgen_ty_1,
    pub length: __u32,
    pub reserved2: __u32,
    pub __bindgen_anon_1: v4l2_buffer__bindgen_ty_2,
    pub __bindgen_padding_1: [u8; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_exportbuffer {
    pub type_: __u32,
    pub index: __u32,
    pub plane: __u32,
    pub flags: __u32,
    pub fd: __s32,
    pub reserved: [__u32; 11usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_clip {
    pub c: v4l2_rect,
    pub next: *mut v4l2_clip,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_window {
    pub w: v4l2_rect,
    pub field: __u32,
    pub chromakey: __u32,
    pub clips: *mut v4l2_clip,
    pub clipcount: __u32,
    pub __bindgen_padding_0: [u8; 4usize],
    pub bitmap: *mut ::core::ffi::c_void,
    pub global_alpha: __u8,
    pub __bindgen_padding_1: [u8; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_captureparm {
    pub capability: __u32,
    pub capturemode: __u32,
    pub timeperframe: v4l2_fract,
    pub extendedmode: __u32,
    pub readbuffers: __u32,
    pub reserved: [__u32; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_outputparm {
    pub capability: __u32,
    pub outputmode: __u32,
    pub timeperframe: v4l2_fract,
    pub extendedmode: __u32,
    pub writebuffers: __u32,
    pub reserved: [__u32; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_cropcap {
    pub type_: __u32,
    pub bounds: v4l2_rect,
    pub defrect: v4l2_rect,
    pub pixelaspect: v4l2_fract,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_crop {
    pub type_: __u32,
    pub c: v4l2_rect,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_selection {
    pub type_: __u32,
    pub target: __u32,
    pub flags: __u32,
    pub r: v4l2_rect,
    pub reserved: [__u32; 9usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_edid {
    pub pad: __u32,
    pub start_block: __u32,
    pub blocks: __u32,
    pub reserved: [__u32; 5usize],
    pub edid: *mut __u8,
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_bt_timings {
    pub width: __u32,
    pub height: __u32,
    pub interlaced: __u32,
    pub polarities: __u32,
    pub pixelclock: __u64,
    pub hfrontporch: __u32,
    pub hsync: __u32,
    pub hbackporch: __u32,
    pub vfrontporch: __u32,
    pub vsync: __u32,
    pub vbackporch: __u32,
    pub il_vfrontporch: __u32,
    pub il_vsync: __u32,
    pub il_vbackporch: __u32,
    pub standards: __u32,
    pub flags: __u32,
    pub picture_aspect: v4l2_fract,
    pub cea861_vic: __u8,
    pub hdmi_vic: __u8,
    pub reserved: [__u8; 46usize],
}
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub struct v4l2_dv_timings {
    pub type_: __u32,
    pub __bindgen_anon_1: v4l2_dv_timings__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_enum_dv_timings {
    pub index: __u32,
    pub pad: __u32,
    pub reserved: [__u32; 2usize],
    pub timings: v4l2_dv_timings,
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_bt_timings_cap {
    pub min_width: __u32,
    pub max_width: __u32,
    pub min_height: __u32,
    pub max_height: __u32,
    pub min_pixelclock: __u64,
    pub max_pixelclock: __u64,
    pub standards: __u32,
    pub capabilities: __u32,
    pub reserved: [__u32; 16usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_dv_timings_cap {
    pub type_: __u32,
    pub pad: __u32,
    pub reserved: [__u32; 2usize],
    pub __bindgen_anon_1: v4l2_dv_timings_cap__bindgen_ty_1,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_input {
    pub index: __u32,
    pub name: [__u8; 32usize],
    pub type_: __u32,
    pub audioset: __u32,
    pub tuner: __u32,
    pub std: v4l2_std_id,
    pub status: __u32,
    pub capabilities: __u32,
    pub reserved: [__u32; 3usize],
    pub __bindgen_padding_0: [u8; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_output {
    pub index: __u32,
    pub name: [__u8; 32usize],
    pub type_: __u32,
    pub audioset: __u32,
    pub modulator: __u32,
    pub std: v4l2_std_id,
    pub capabilities: __u32,
    pub reserved: [__u32; 3usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_control {
    pub id: __u32,
    pub value: __s32,
}
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub struct v4l2_ext_control {
    pub id: __u32,
    pub size: __u32,
    pub reserved2: [__u32; 1usize],
    pub __bindgen_anon_1: v4l2_ext_control__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_ext_controls {
    pub __bindgen_anon_1: v4l2_ext_controls__bindgen_ty_1,
    pub count: __u32,
    pub error_idx: __u32,
    pub request_fd: __s32,
    pub reserved: [__u32; 1usize],
    pub __bindgen_padding_0: [u8; 4usize],
    pub controls: *mut v4l2_ext_control,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_queryctrl {
    pub id: __u32,
    pub type_: __u32,
    pub name: [__u8; 32usize],
    pub minimum: __s32,
    pub maximum: __s32,
    pub step: __s32,
    pub default_value: __s32,
    pub flags: __u32,
    pub reserved: [__u32; 2usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_query_ext_ctrl {
    pub id: __u32,
    pub type_: __u32,
    pub name: [::core::ffi::c_char; 32usize],
    pub minimum: __s64,
    pub maximum: __s64,
    pub step: __u64,
    pub default_value: __s64,
    pub flags: __u32,
    pub elem_size: __u32,
    pub elems: __u32,
    pub nr_of_dims: __u32,
    pub dims: [__u32; 4usize],
    pub reserved: [__u32; 32usize],
}
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub struct v4l2_querymenu {
    pub id: __u32,
    pub index: __u32,
    pub __bindgen_anon_1: v4l2_querymenu__bindgen_ty_1,
    pub reserved: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_vbi_format {
    pub sampling_rate: __u32,
    pub offset: __u32,
    pub samples_per_line: __u32,
    pub sample_format: __u32,
    pub start: [__s32; 2usize],
    pub count: [__u32; 2usize],
    pub flags: __u32,
    pub reserved: [__u32; 2usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_sliced_vbi_format {
    pub service_set: __u16,
    pub service_lines: [[__u16; 24usize]; 2usize],
    pub __bindgen_padding_0: [u8; 2usize],
    pub io_size: __u32,
    pub reserved: [__u32; 2usize],
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_plane_pix_format {
    pub sizeimage: __u32,
    pub bytesperline: __u32,
    pub reserved: [__u16; 6usize],
}
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub struct v4l2_pix_format_mplane {
    pub width: __u32,
    pub height: __u32,
    pub pixelformat: __u32,
    pub field: __u32,
    pub colorspace: __u32,
    pub plane_fmt: [v4l2_plane_pix_format; 8usize],
    pub num_planes: __u8,
    pub flags: __u8,
    pub __bindgen_anon_1: v4l2_pix_format_mplane__bindgen_ty_1,
    pub quantization: __u8,
    pub xfer_func: __u8,
    pub reserved: [__u8; 7usize],
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_sdr_format {
    pub pixelformat: __u32,
    pub buffersize: __u32,
    pub reserved: [__u8; 24usize],
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_meta_format {
    pub dataformat: __u32,
    pub buffersize: __u32,
    pub width: __u32,
    pub height: __u32,
    pub bytesperline: __u32,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_format {
    pub type_: __u32,
    pub __bindgen_padding_0: [u8; 4usize],
    pub fmt: v4l2_format__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_streamparm {
    pub type_: __u32,
    pub parm: v4l2_streamparm__bindgen_ty_1,
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_event_vsync {
    pub field: __u8,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_event_ctrl {
    pub changes: __u32,
    pub type_: __u32,
    pub __bindgen_anon_1: v4l2_event_ctrl__bindgen_ty_1,
    pub flags: __u32,
    pub minimum: __s32,
    pub maximum: __s32,
    pub step: __s32,
    pub default_value: __s32,
    pub __bindgen_padding_0: [u8; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_event_frame_sync {
    pub frame_sequence: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_event_src_change {
    pub changes: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_event_motion_det {
    pub flags: __u32,
    pub frame_sequence: __u32,
    pub region_mask: __u32,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_event {
    pub type_: __u32,
    pub __bindgen_padding_0: [u8; 4usize],
    pub u: v4l2_event__bindgen_ty_1,
    pub pending: __u32,
    pub sequence: __u32,
    pub timestamp: timespec,
    pub id: __u32,
    pub reserved: [__u32; 8usize],
    pub __bindgen_padding_1: [u8; 4usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_event_subscription {
    pub type_: __u32,
    pub id: __u32,
    pub flags: __u32,
    pub reserved: [__u32; 5usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_create_buffers {
    pub index: __u32,
    pub count: __u32,
    pub memory: __u32,
    pub __bindgen_padding_0: [u8; 4usize],
    pub format: v4l2_format,
    pub capabilities: __u32,
    pub flags: __u32,
    pub max_num_buffers: __u32,
    pub reserved: [__u32; 5usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_remove_buffers {
    pub index: __u32,
    pub count: __u32,
    pub type_: __u32,
    pub reserved: [__u32; 13usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct media_device_info {
    pub driver: [::core::ffi::c_char; 16usize],
    pub model: [::core::ffi::c_char; 32usize],
    pub serial: [::core::ffi::c_char; 40usize],
    pub bus_info: [::core::ffi::c_char; 32usize],
    pub media_version: __u32,
    pub hw_revision: __u32,
    pub driver_version: __u32,
    pub reserved: [__u32; 31usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct media_entity_desc {
    pub id: __u32,
    pub name: [::core::ffi::c_char; 32usize],
    pub type_: __u32,
    pub revision: __u32,
    pub flags: __u32,
    pub group_id: __u32,
    pub pads: __u16,
    pub links: __u16,
    pub reserved: [__u32; 4usize],
    pub __bindgen_anon_1: media_entity_desc__bindgen_ty_1,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct media_entity_desc__bindgen_ty_1__bindgen_ty_1 {
    pub major: __u32,
    pub minor: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct media_entity_desc__bindgen_ty_1__bindgen_ty_2 {
    pub card: __u32,
    pub device: __u32,
    pub subdevice: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct media_entity_desc__bindgen_ty_1__bindgen_ty_3 {
    pub major: __u32,
    pub minor: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct media_entity_desc__bindgen_ty_1__bindgen_ty_4 {
    pub major: __u32,
    pub minor: __u32,
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct media_pad_desc {
    pub entity: __u32,
    pub index: __u16,
    pub __bindgen_padding_0: [u8; 2usize],
    pub flags: __u32,
    pub reserved: [__u32; 2usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct media_link_desc {
    pub source: media_pad_desc,
    pub sink: media_pad_desc,
    pub flags: __u32,
    pub reserved: [__u32; 2usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct media_links_enum {
    pub entity: __u32,
    pub __bindgen_padding_0: [u8; 4usize],
    pub pads: *mut media_pad_desc,
    pub links: *mut media_link_desc,
    pub reserved: [__u32; 4usize],
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct media_v2_entity {
    pub id: __u32,
    pub name: [::core::ffi::c_char; 64usize],
    pub function: __u32,
    pub flags: __u32,
    pub reserved: [__u32; 5usize],
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct media_v2_intf_devnode {
    pub major: __u32,
    pub minor: __u32,
}
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub struct media_v2_interface {
    pub id: __u32,
    pub intf_type: __u32,
    pub flags: __u32,
    pub reserved: [__u32; 9usize],
    pub __bindgen_anon_1: media_v2_interface__bindgen_ty_1,
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct media_v2_pad {
    pub id: __u32,
    pub entity_id: __u32,
    pub flags: __u32,
    pub index: __u32,
    pub reserved: [__u32; 4usize],
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct media_v2_link {
    pub id: __u32,
    pub source_id: __u32,
    pub sink_id: __u32,
    pub flags: __u32,
    pub reserved: [__u32; 6usize],
}
#[repr(C, packed)]
#[derive(Debug, Copy, Clone)]
pub struct media_v2_topology {
    pub topology_version: __u64,
    pub num_entities: __u32,
    pub reserved1: __u32,
    pub ptr_entities: __u64,
    pub num_interfaces: __u32,
    pub reserved2: __u32,
    pub ptr_interfaces: __u64,
    pub num_pads: __u32,
    pub reserved3: __u32,
    pub ptr_pads: __u64,
    pub num_links: __u32,
    pub reserved4: __u32,
    pub ptr_links: __u64,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_mbus_framefmt {
    pub width: __u32,
    pub height: __u32,
    pub code: __u32,
    pub field: __u32,
    pub colorspace: __u32,
    pub __bindgen_anon_1: v4l2_mbus_framefmt__bindgen_ty_1,
    pub quantization: __u16,
    pub xfer_func: __u16,
    pub flags: __u16,
    pub reserved: [__u16; 10usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct v4l2_subdev_format {
    pub which: __u32,
    pub pad: __u32,
    pub format: v4l2_mbus_framefmt,
    pub stream: __u32,
    pub reserved: [__u32; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_subdev_crop {
    pub which: __u32,
    pub pad: __u32,
    pub rect: v4l2_rect,
    pub stream: __u32,
    pub reserved: [__u32; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_subdev_mbus_code_enum {
    pub pad: __u32,
    pub index: __u32,
    pub code: __u32,
    pub which: __u32,
    pub flags: __u32,
    pub stream: __u32,
    pub reserved: [__u32; 6usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_subdev_frame_size_enum {
    pub index: __u32,
    pub pad: __u32,
    pub code: __u32,
    pub min_width: __u32,
    pub max_width: __u32,
    pub min_height: __u32,
    pub max_height: __u32,
    pub which: __u32,
    pub stream: __u32,
    pub reserved: [__u32; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_subdev_frame_interval {
    pub pad: __u32,
    pub interval: v4l2_fract,
    pub stream: __u32,
    pub which: __u32,
    pub reserved: [__u32; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_subdev_frame_interval_enum {
    pub index: __u32,
    pub pad: __u32,
    pub code: __u32,
    pub width: __u32,
    pub height: __u32,
    pub interval: v4l2_fract,
    pub which: __u32,
    pub stream: __u32,
    pub reserved: [__u32; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_subdev_selection {
    pub which: __u32,
    pub pad: __u32,
    pub target: __u32,
    pub flags: __u32,
    pub r: v4l2_rect,
    pub stream: __u32,
    pub reserved: [__u32; 7usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_subdev_capability {
    pub version: __u32,
    pub capabilities: __u32,
    pub reserved: [__u32; 14usize],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct v4l2_subdev_client_capability {
    pub capabilities: __u64,
}
pub const V4L2_SEL_TGT_CROP: u32 = 0;
pub const V4L2_SEL_TGT_CROP_DEFAULT: u32 = 1;
pub const V4L2_SEL_TGT_CROP_BOUNDS: u32 = 2;
pub const V4L2_SEL_TGT_NATIVE_SIZE: u32 = 3;
pub const V4L2_SEL_TGT_COMPOSE: u32 = 256;
pub const V4L2_SEL_TGT_COMPOSE_DEFAULT: u32 = 257;
pub const V4L2_SEL_TGT_COMPOSE_BOUNDS: u32 = 258;
pub const V4L2_SEL_TGT_COMPOSE_PADDED: u32 = 259;
pub const V4L2_CTRL_CLASS_USER: u32 = 9961472;
pub const V4L2_CTRL_CLASS_CODEC: u32 = 10027008;
pub const V4L2_CTRL_CLASS_CAMERA: u32 = 10092544;
pub const V4L2_CTRL_CLASS_FLASH: u32 = 10223616;
pub const V4L2_CTRL_CLASS_JPEG: u32 = 10289152;
pub const V4L2_CTRL_CLASS_IMAGE_SOURCE: u32 = 10354688;
pub const V4L2_CTRL_CLASS_IMAGE_PROC: u32 = 10420224;
pub const V4L2_CTRL_CLASS_DV: u32 = 10485760;
pub const V4L2_CTRL_CLASS_DETECT: u32 = 10682368;
pub const V4L2_CTRL_CLASS_CODEC_STATELESS: u32 = 10747904;
pub const V4L2_H264_SPS_FLAG_SEPARATE_COLOUR_PLANE: u32 = 1;
pub const V4L2_H264_SPS_FLAG_QPPRIME_Y_ZERO_TRANSFORM_BYPASS: u32 = 2;
pub const V4L2_H264_SPS_FLAG_DELTA_PIC_ORDER_ALWAYS_ZERO: u32 = 4;
pub const V4L2_H264_SPS_FLAG_GAPS_IN_FRAME_NUM_VALUE_ALLOWED: u32 = 8;
pub const V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY: u32 = 16;
pub const V4L2_H264_SPS_FLAG_MB_ADAPTIVE_FRAME_FIELD: u32 = 32;
pub const V4L2_H264_SPS_FLAG_DIRECT_8X8_INFERENCE: u32 = 64;
pub const V4L2_H264_PPS_FLAG_ENTROPY_CODING_MODE: u32 = 1;
pub const V4L2_H264_PPS_FLAG_BOTTOM_FIELD_PIC_ORDER_IN_FRAME_PRESENT: u32 = 2;
pub const V4L2_H264_PPS_FLAG_WEIGHTED_PRED: u32 = 4;
pub const V4L2_H264_PPS_FLAG_DEBLOCKING_FILTER_CONTROL_PRESENT: u32 = 8;
pub const V4L2_H264_PPS_FLAG_CONSTRAINED_INTRA_PRED: u32 = 16;
pub const V4L2_H264_PPS_FLAG_REDUNDANT_PIC_CNT_PRESENT: u32 = 32;
pub const V4L2_H264_PPS_FLAG_TRANSFORM_8X8_MODE: u32 = 64;
pub const V4L2_H264_PPS_FLAG_SCALING_MATRIX_PRESENT: u32 = 128;
pub const V4L2_H264_NUM_DPB_ENTRIES: u32 = 16;
pub const V4L2_H264_DECODE_PARAM_FLAG_IDR_PIC: u32 = 1;
pub const V4L2_CID_USER_BASE: u32 = 9963776;
pub const V4L2_CID_BRIGHTNESS: u32 = 9963776;
pub const V4L2_CID_CONTRAST: u32 = 9963777;
pub const V4L2_CID_SATURATION: u32 = 9963778;
pub const V4L2_CID_HUE: u32 = 9963779;
pub const V4L2_CID_AUTO_WHITE_BALANCE: u32 = 9963788;
pub const V4L2_CID_DO_WHITE_BALANCE: u32 = 9963789;
pub const V4L2_CID_GAMMA: u32 = 9963792;
pub const V4L2_CID_EXPOSURE: u32 = 9963793;
pub const V4L2_CID_AUTOGAIN: u32 = 9963794;
pub const V4L2_CID_GAIN: u32 = 9963795;
pub const V4L2_CID_HFLIP: u32 = 9963796;
pub const V4L2_CID_VFLIP: u32 = 9963797;
pub const V4L2_CID_POWER_LINE_FREQUENCY: u32 = 9963800;
pub const V4L2_CID_HUE_AUTO: u32 = 9963801;
pub const V4L2_CID_WHITE_BALANCE_TEMPERATURE: u32 = 9963802;
pub const V4L2_CID_SHARPNESS: u32 = 9963803;
pub const V4L2_CID_COLORFX: u32 = 9963807;
pub const V4L2_CID_AUTOBRIGHTNESS: u32 = 9963808;
pub const V4L2_CID_ROTATE: u32 = 9963810;
pub const V4L2_CID_BG_COLOR: u32 = 9963811;
pub const V4L2_CID_MIN_BUFFERS_FOR_CAPTURE: u32 = 9963815;
pub const V4L2_CID_MIN_BUFFERS_FOR_OUTPUT: u32 = 9963816;
pub const V4L2_CID_ALPHA_COMPONENT: u32 = 9963817;
pub const V4L2_CID_EXPOSURE_AUTO: u32 = 10094849;
pub const V4L2_CID_EXPOSURE_ABSOLUTE: u32 = 10094850;
pub const V4L2_CID_EXPOSURE_AUTO_PRIORITY: u32 = 10094851;
pub const V4L2_CID_FOCUS_ABSOLUTE: u32 = 10094858;
pub const V4L2_CID_FOCUS_AUTO: u32 = 10094860;
pub const V4L2_CID_ZOOM_ABSOLUTE: u32 = 10094861;
pub const V4L2_CID_CAMERA_ORIENTATION: u32 = 10094882;
pub const V4L2_CID_CAMERA_SENSOR_ROTATION: u32 = 10094883;
pub const V4L2_CID_VBLANK: u32 = 10356993;
pub const V4L2_CID_HBLANK: u32 = 10356994;
pub const V4L2_CID_ANALOGUE_GAIN: u32 = 10356995;
pub const V4L2_CID_LINK_FREQ: u32 = 10422529;
pub const V4L2_CID_PIXEL_RATE: u32 = 10422530;
pub const V4L2_CID_TEST_PATTERN: u32 = 10422531;
pub const V4L2_CID_DIGITAL_GAIN: u32 = 10422533;
pub const V4L2_VP8_FRAME_FLAG_KEY_FRAME: u32 = 1;
pub const V4L2_HEVC_SPS_FLAG_PCM_ENABLED: u32 = 16;
pub const V4L2_HEVC_SPS_FLAG_LONG_TERM_REF_PICS_PRESENT: u32 = 64;
pub const V4L2_HEVC_PPS_FLAG_CU_QP_DELTA_ENABLED: u32 = 64;
pub const V4L2_HEVC_PPS_FLAG_TILES_ENABLED: u32 = 2048;
pub const V4L2_HEVC_PPS_FLAG_LOOP_FILTER_ACROSS_TILES_ENABLED: u32 = 8192;
pub const V4L2_HEVC_PPS_FLAG_PPS_DISABLE_DEBLOCKING_FILTER: u32 = 65536;
pub const V4L2_HEVC_DPB_ENTRY_LONG_TERM_REFERENCE: u32 = 1;
pub const V4L2_HEVC_DPB_ENTRIES_NUM_MAX: u32 = 16;
pub const V4L2_VP9_FRAME_FLAG_KEY_FRAME: u32 = 1;
pub const V4L2_VP9_FRAME_FLAG_ERROR_RESILIENT: u32 = 4;
pub const V4L2_VP9_FRAME_FLAG_INTRA_ONLY: u32 = 8;
pub const V4L2_VP9_FRAME_FLAG_REFRESH_FRAME_CTX: u32 = 32;
pub const V4L2_VP9_FRAME_FLAG_X_SUBSAMPLING: u32 = 128;
pub const V4L2_VP9_FRAME_FLAG_Y_SUBSAMPLING: u32 = 256;
pub const V4L2_VP9_RESET_FRAME_CTX_ALL: u32 = 2;
pub const V4L2_VP9_INTERP_FILTER_SWITCHABLE: u32 = 4;
pub const V4L2_VP9_REFERENCE_MODE_SELECT: u32 = 2;
pub const V4L2_VP9_NUM_FRAME_CTX: u32 = 4;
pub const V4L2_VP9_TX_MODE_SELECT: u32 = 4;
pub const V4L2_AV1_MAX_TILE_COUNT: u32 = 512;
pub const V4L2_AV1_SEQUENCE_FLAG_MONO_CHROME: u32 = 16384;
pub const V4L2_AV1_SEQUENCE_FLAG_SEPARATE_UV_DELTA_Q: u32 = 524288;
pub const V4L2_AV1_FRAME_FLAG_FRAME_REFS_SHORT_SIGNALING: u32 = 524288;
pub const V4L2_AV1_FILM_GRAIN_FLAG_APPLY_GRAIN: u32 = 1;
pub const VIDEO_MAX_FRAME: u32 = 32;
pub const VIDEO_MAX_PLANES: u32 = 8;
pub const V4L2_CAP_VIDEO_CAPTURE: u32 = 1;
pub const V4L2_CAP_VIDEO_OUTPUT: u32 = 2;
pub const V4L2_CAP_VIDEO_CAPTURE_MPLANE: u32 = 4096;
pub const V4L2_CAP_VIDEO_OUTPUT_MPLANE: u32 = 8192;
pub const V4L2_CAP_VIDEO_M2M_MPLANE: u32 = 16384;
pub const V4L2_CAP_VIDEO_M2M: u32 = 32768;
pub const V4L2_CAP_EXT_PIX_FORMAT: u32 = 2097152;
pub const V4L2_CAP_META_CAPTURE: u32 = 8388608;
pub const V4L2_CAP_READWRITE: u32 = 16777216;
pub const V4L2_CAP_STREAMING: u32 = 67108864;
pub const V4L2_CAP_META_OUTPUT: u32 = 134217728;
pub const V4L2_CAP_IO_MC: u32 = 536870912;
pub const V4L2_CAP_DEVICE_CAPS: u32 = 2147483648;
pub const V4L2_PIX_FMT_PRIV_MAGIC: u32 = 4276996862;
pub const V4L2_FMT_FLAG_COMPRESSED: u32 = 1;
pub const V4L2_FMT_FLAG_EMULATED: u32 = 2;
pub const V4L2_FMT_FLAG_CONTINUOUS_BYTESTREAM: u32 = 4;
pub const V4L2_FMT_FLAG_DYN_RESOLUTION: u32 = 8;
pub const V4L2_FMT_FLAG_ENC_CAP_FRAME_INTERVAL: u32 = 16;
pub const V4L2_MEMORY_FLAG_NON_COHERENT: u32 = 1;
pub const V4L2_BUF_CAP_SUPPORTS_MMAP: u32 = 1;
pub const V4L2_BUF_CAP_SUPPORTS_USERPTR: u32 = 2;
pub const V4L2_BUF_CAP_SUPPORTS_DMABUF: u32 = 4;
pub const V4L2_BUF_CAP_SUPPORTS_REQUESTS: u32 = 8;
pub const V4L2_BUF_CAP_SUPPORTS_ORPHANED_BUFS: u32 = 16;
pub const V4L2_BUF_CAP_SUPPORTS_M2M_HOLD_CAPTURE_BUF: u32 = 32;
pub const V4L2_BUF_CAP_SUPPORTS_MMAP_CACHE_HINTS: u32 = 64;
pub const V4L2_BUF_CAP_SUPPORTS_MAX_NUM_BUFFERS: u32 = 128;
pub const V4L2_BUF_CAP_SUPPORTS_REMOVE_BUFS: u32 = 256;
pub const V4L2_BUF_FLAG_MAPPED: u32 = 1;
pub const V4L2_BUF_FLAG_QUEUED: u32 = 2;
pub const V4L2_BUF_FLAG_DONE: u32 = 4;
pub const V4L2_BUF_FLAG_KEYFRAME: u32 = 8;
pub const V4L2_BUF_FLAG_PFRAME: u32 = 16;
pub const V4L2_BUF_FLAG_BFRAME: u32 = 32;
pub const V4L2_BUF_FLAG_ERROR: u32 = 64;
pub const V4L2_BUF_FLAG_IN_REQUEST: u32 = 128;
pub const V4L2_BUF_FLAG_TIMECODE: u32 = 256;
pub const V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF: u32 = 512;
pub const V4L2_BUF_FLAG_PREPARED: u32 = 1024;
pub const V4L2_BUF_FLAG_NO_CACHE_INVALIDATE: u32 = 2048;
pub const V4L2_BUF_FLAG_NO_CACHE_CLEAN: u32 = 4096;
pub const V4L2_BUF_FLAG_TIMESTAMP_MASK: u32 = 57344;
pub const V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC: u32 = 8192;
pub const V4L2_BUF_FLAG_TIMESTAMP_COPY: u32 = 16384;
pub const V4L2_BUF_FLAG_TSTAMP_SRC_MASK: u32 = 458752;
pub const V4L2_BUF_FLAG_TSTAMP_SRC_EOF: u32 = 0;
pub const V4L2_BUF_FLAG_TSTAMP_SRC_SOE: u32 = 65536;
pub const V4L2_BUF_FLAG_LAST: u32 = 1048576;
pub const V4L2_BUF_FLAG_REQUEST_FD: u32 = 8388608;
pub const V4L2_CAP_TIMEPERFRAME: u32 = 4096;
pub const V4L2_DV_VSYNC_POS_POL: u32 = 1;
pub const V4L2_DV_HSYNC_POS_POL: u32 = 2;
pub const V4L2_DV_BT_STD_CEA861: u32 = 1;
pub const V4L2_DV_BT_STD_DMT: u32 = 2;
pub const V4L2_DV_BT_STD_CVT: u32 = 4;
pub const V4L2_DV_BT_STD_GTF: u32 = 8;
pub const V4L2_DV_BT_STD_SDI: u32 = 16;
pub const V4L2_DV_FL_REDUCED_BLANKING: u32 = 1;
pub const V4L2_DV_FL_CAN_REDUCE_FPS: u32 = 2;
pub const V4L2_DV_FL_REDUCED_FPS: u32 = 4;
pub const V4L2_DV_FL_HALF_LINE: u32 = 8;
pub const V4L2_DV_FL_IS_CE_VIDEO: u32 = 16;
pub const V4L2_DV_FL_FIRST_FIELD_EXTRA_LINE: u32 = 32;
pub const V4L2_DV_FL_HAS_PICTURE_ASPECT: u32 = 64;
pub const V4L2_DV_FL_HAS_CEA861_VIC: u32 = 128;
pub const V4L2_DV_FL_HAS_HDMI_VIC: u32 = 256;
pub const V4L2_DV_FL_CAN_DETECT_REDUCED_FPS: u32 = 512;
pub const V4L2_DV_BT_656_1120: u32 = 0;
pub const V4L2_DV_BT_CAP_INTERLACED: u32 = 1;
pub const V4L2_DV_BT_CAP_PROGRESSIVE: u32 = 2;
pub const V4L2_DV_BT_CAP_REDUCED_BLANKING: u32 = 4;
pub const V4L2_DV_BT_CAP_CUSTOM: u32 = 8;
pub const V4L2_INPUT_TYPE_CAMERA: u32 = 2;
pub const V4L2_IN_ST_NO_SIGNAL: u32 = 2;
pub const V4L2_IN_ST_NO_H_LOCK: u32 = 256;
pub const V4L2_IN_CAP_DV_TIMINGS: u32 = 2;
pub const V4L2_OUTPUT_TYPE_ANALOG: u32 = 2;
pub const V4L2_CTRL_ID_MASK: u32 = 268435455;
pub const V4L2_CTRL_WHICH_CUR_VAL: u32 = 0;
pub const V4L2_CTRL_WHICH_DEF_VAL: u32 = 251658240;
pub const V4L2_CTRL_WHICH_REQUEST_VAL: u32 = 251723776;
pub const V4L2_CTRL_FLAG_INACTIVE: u32 = 16;
pub const V4L2_CTRL_FLAG_DYNAMIC_ARRAY: u32 = 2048;
pub const V4L2_CTRL_FLAG_NEXT_CTRL: u32 = 2147483648;
pub const V4L2_CTRL_FLAG_NEXT_COMPOUND: u32 = 1073741824;
pub const V4L2_CID_MAX_CTRLS: u32 = 1024;
pub const V4L2_CID_PRIVATE_BASE: u32 = 134217728;
pub const V4L2_ENC_CMD_START: u32 = 0;
pub const V4L2_ENC_CMD_STOP: u32 = 1;
pub const V4L2_ENC_CMD_PAUSE: u32 = 2;
pub const V4L2_ENC_CMD_RESUME: u32 = 3;
pub const V4L2_DEC_CMD_START: u32 = 0;
pub const V4L2_DEC_CMD_STOP: u32 = 1;
pub const V4L2_DEC_CMD_PAUSE: u32 = 2;
pub const V4L2_DEC_CMD_RESUME: u32 = 3;
pub const V4L2_DEC_CMD_FLUSH: u32 = 4;
pub const V4L2_EVENT_ALL: u32 = 0;
pub const V4L2_EVENT_VSYNC: u32 = 1;
pub const V4L2_EVENT_EOS: u32 = 2;
pub const V4L2_EVENT_CTRL: u32 = 3;
pub const V4L2_EVENT_FRAME_SYNC: u32 = 4;
pub const V4L2_EVENT_SOURCE_CHANGE: u32 = 5;
pub const V4L2_EVENT_MOTION_DET: u32 = 6;
pub const V4L2_EVENT_PRIVATE_START: u32 = 134217728;
pub const V4L2_EVENT_CTRL_CH_VALUE: u32 = 1;
pub const V4L2_EVENT_CTRL_CH_FLAGS: u32 = 2;
pub const V4L2_EVENT_CTRL_CH_RANGE: u32 = 4;
pub const V4L2_EVENT_SRC_CH_RESOLUTION: u32 = 1;
pub const V4L2_EVENT_SUB_FL_SEND_INITIAL: u32 = 1;
pub const V4L2_EVENT_SUB_FL_ALLOW_FEEDBACK: u32 = 2;
pub const VIDIOC_QUERYCAP: u32 = 2154321408;
pub const VIDIOC_ENUM_FMT: u32 = 3225441794;
pub const VIDIOC_G_FMT: u32 = 3234878980;
pub const VIDIOC_S_FMT: u32 = 3234878981;
pub const VIDIOC_REQBUFS: u32 = 3222558216;
pub const VIDIOC_QUERYBUF: u32 = 3227014665;
pub const VIDIOC_G_FBUF: u32 = 2150651402;
pub const VIDIOC_S_FBUF: u32 = 1076909579;
pub const VIDIOC_OVERLAY: u32 = 1074025998;
pub const VIDIOC_QBUF: u32 = 3227014671;
pub const VIDIOC_EXPBUF: u32 = 3225441808;
pub const VIDIOC_DQBUF: u32 = 3227014673;
pub const VIDIOC_STREAMON: u32 = 1074026002;
pub const VIDIOC_STREAMOFF: u32 = 1074026003;
pub const VIDIOC_G_PARM: u32 = 3234616853;
pub const VIDIOC_S_PARM: u32 = 3234616854;
pub const VIDIOC_G_STD: u32 = 2148029975;
pub const VIDIOC_S_STD: u32 = 1074288152;
pub const VIDIOC_ENUMSTD: u32 = 3225966105;
pub const VIDIOC_ENUMINPUT: u32 = 3226490394;
pub const VIDIOC_G_CTRL: u32 = 3221771803;
pub const VIDIOC_S_CTRL: u32 = 3221771804;
pub const VIDIOC_G_TUNER: u32 = 3226752541;
pub const VIDIOC_S_TUNER: u32 = 1079268894;
pub const VIDIOC_G_AUDIO: u32 = 2150913569;
pub const VIDIOC_S_AUDIO: u32 = 1077171746;
pub const VIDIOC_QUERYCTRL: u32 = 3225703972;
pub const VIDIOC_QUERYMENU: u32 = 3224131109;
pub const VIDIOC_G_INPUT: u32 = 2147767846;
pub const VIDIOC_S_INPUT: u32 = 3221509671;
pub const VIDIOC_G_EDID: u32 = 3223868968;
pub const VIDIOC_S_EDID: u32 = 3223868969;
pub const VIDIOC_G_OUTPUT: u32 = 2147767854;
pub const VIDIOC_S_OUTPUT: u32 = 3221509679;
pub const VIDIOC_ENUMOUTPUT: u32 = 3225966128;
pub const VIDIOC_G_AUDOUT: u32 = 2150913585;
pub const VIDIOC_S_AUDOUT: u32 = 1077171762;
pub const VIDIOC_G_MODULATOR: u32 = 3225703990;
pub const VIDIOC_S_MODULATOR: u32 = 1078220343;
pub const VIDIOC_G_FREQUENCY: u32 = 3224131128;
pub const VIDIOC_S_FREQUENCY: u32 = 1076647481;
pub const VIDIOC_CROPCAP: u32 = 3224131130;
pub const VIDIOC_G_CROP: u32 = 3222558267;
pub const VIDIOC_S_CROP: u32 = 1075074620;
pub const VIDIOC_G_JPEGCOMP: u32 = 2156680765;
pub const VIDIOC_S_JPEGCOMP: u32 = 1082938942;
pub const VIDIOC_QUERYSTD: u32 = 2148030015;
pub const VIDIOC_TRY_FMT: u32 = 3234879040;
pub const VIDIOC_ENUMAUDIO: u32 = 3224655425;
pub const VIDIOC_ENUMAUDOUT: u32 = 3224655426;
pub const VIDIOC_G_PRIORITY: u32 = 2147767875;
pub const VIDIOC_S_PRIORITY: u32 = 1074026052;
pub const VIDIOC_G_SLICED_VBI_CAP: u32 = 3228849733;
pub const VIDIOC_LOG_STATUS: u32 = 22086;
pub const VIDIOC_G_EXT_CTRLS: u32 = 3223344711;
pub const VIDIOC_S_EXT_CTRLS: u32 = 3223344712;
pub const VIDIOC_TRY_EXT_CTRLS: u32 = 3223344713;
pub const VIDIOC_ENUM_FRAMESIZES: u32 = 3224131146;
pub const VIDIOC_ENUM_FRAMEINTERVALS: u32 = 3224655435;
pub const VIDIOC_G_ENC_INDEX: u32 = 2283296332;
pub const VIDIOC_ENCODER_CMD: u32 = 3223869005;
pub const VIDIOC_TRY_ENCODER_CMD: u32 = 3223869006;
pub const VIDIOC_DBG_S_REGISTER: u32 = 1077433935;
pub const VIDIOC_DBG_G_REGISTER: u32 = 3224917584;
pub const VIDIOC_S_HW_FREQ_SEEK: u32 = 1076909650;
pub const VIDIOC_S_DV_TIMINGS: u32 = 3229898327;
pub const VIDIOC_G_DV_TIMINGS: u32 = 3229898328;
pub const VIDIOC_DQEVENT: u32 = 2156418649;
pub const VIDIOC_SUBSCRIBE_EVENT: u32 = 1075861082;
pub const VIDIOC_UNSUBSCRIBE_EVENT: u32 = 1075861083;
pub const VIDIOC_CREATE_BUFS: u32 = 3238024796;
pub const VIDIOC_PREPARE_BUF: u32 = 3227014749;
pub const VIDIOC_G_SELECTION: u32 = 3225441886;
pub const VIDIOC_S_SELECTION: u32 = 3225441887;
pub const VIDIOC_DECODER_CMD: u32 = 3225966176;
pub const VIDIOC_TRY_DECODER_CMD: u32 = 3225966177;
pub const VIDIOC_ENUM_DV_TIMINGS: u32 = 3230946914;
pub const VIDIOC_QUERY_DV_TIMINGS: u32 = 2156156515;
pub const VIDIOC_DV_TIMINGS_CAP: u32 = 3230684772;
pub const VIDIOC_ENUM_FREQ_BANDS: u32 = 3225441893;
pub const VIDIOC_DBG_G_CHIP_INFO: u32 = 3234354790;
pub const VIDIOC_QUERY_EXT_CTRL: u32 = 3236451943;
pub const VIDIOC_REMOVE_BUFS: u32 = 3225441896;
pub const MEDIA_ENT_F_OLD_BASE: u32 = 65536;
pub const MEDIA_ENT_F_V4L2_SUBDEV_UNKNOWN: u32 = 131072;
pub const MEDIA_ENT_F_IO_V4L: u32 = 65537;
pub const MEDIA_ENT_F_CAM_SENSOR: u32 = 131073;
pub const MEDIA_ENT_F_LENS: u32 = 131075;
pub const MEDIA_ENT_F_PROC_VIDEO_PIXEL_FORMATTER: u32 = 16386;
pub const MEDIA_ENT_F_PROC_VIDEO_PIXEL_ENC_CONV: u32 = 16387;
pub const MEDIA_ENT_F_PROC_VIDEO_SCALER: u32 = 16389;
pub const MEDIA_ENT_F_PROC_VIDEO_ENCODER: u32 = 16391;
pub const MEDIA_ENT_F_PROC_VIDEO_DECODER: u32 = 16392;
pub const MEDIA_ENT_F_VID_IF_BRIDGE: u32 = 20482;
pub const MEDIA_ENT_FL_DEFAULT: u32 = 1;
pub const MEDIA_ENT_ID_FLAG_NEXT: u32 = 2147483648;
pub const MEDIA_PAD_FL_SINK: u32 = 1;
pub const MEDIA_PAD_FL_SOURCE: u32 = 2;
pub const MEDIA_LNK_FL_ENABLED: u32 = 1;
pub const MEDIA_LNK_FL_IMMUTABLE: u32 = 2;
pub const MEDIA_LNK_FL_DYNAMIC: u32 = 4;
pub const MEDIA_LNK_FL_INTERFACE_LINK: u32 = 268435456;
pub const MEDIA_LNK_FL_ANCILLARY_LINK: u32 = 536870912;
pub const MEDIA_INTF_T_V4L_VIDEO: u32 = 512;
pub const MEDIA_INTF_T_V4L_SUBDEV: u32 = 515;
pub const MEDIA_IOC_DEVICE_INFO: u32 = 3238034432;
pub const MEDIA_IOC_ENUM_ENTITIES: u32 = 3238034433;
pub const MEDIA_IOC_ENUM_LINKS: u32 = 3223878658;
pub const MEDIA_IOC_SETUP_LINK: u32 = 3224665091;
pub const MEDIA_IOC_G_TOPOLOGY: u32 = 3225975812;
pub const MEDIA_IOC_REQUEST_ALLOC: u32 = 2147777541;
pub const MEDIA_REQUEST_IOC_QUEUE: u32 = 31872;
pub const MEDIA_REQUEST_IOC_REINIT: u32 = 31873;
pub const MEDIA_ENT_T_DEVNODE_UNKNOWN: u32 = 131071;
pub const MEDIA_BUS_FMT_BGR888_1X24: u32 = 4115;
pub const MEDIA_BUS_FMT_BGR888_3X8: u32 = 4123;
pub const MEDIA_BUS_FMT_GBR888_1X24: u32 = 4116;
pub const MEDIA_BUS_FMT_RGB888_1X24: u32 = 4106;
pub const MEDIA_BUS_FMT_RGB888_2X12_BE: u32 = 4107;
pub const MEDIA_BUS_FMT_RGB888_2X12_LE: u32 = 4108;
pub const MEDIA_BUS_FMT_RGB888_3X8: u32 = 4124;
pub const MEDIA_BUS_FMT_RGB888_1X7X4_SPWG: u32 = 4113;
pub const MEDIA_BUS_FMT_RGB888_1X7X4_JEIDA: u32 = 4114;
pub const MEDIA_BUS_FMT_ARGB8888_1X32: u32 = 4109;
pub const MEDIA_BUS_FMT_RGB888_1X32_PADHI: u32 = 4111;
pub const MEDIA_BUS_FMT_SBGGR8_1X8: u32 = 12289;
pub const MEDIA_BUS_FMT_SGBRG8_1X8: u32 = 12307;
pub const MEDIA_BUS_FMT_SGRBG8_1X8: u32 = 12290;
pub const MEDIA_BUS_FMT_SRGGB8_1X8: u32 = 12308;
pub const MEDIA_BUS_FMT_SBGGR10_ALAW8_1X8: u32 = 12309;
pub const MEDIA_BUS_FMT_SGBRG10_ALAW8_1X8: u32 = 12310;
pub const MEDIA_BUS_FMT_SGRBG10_ALAW8_1X8: u32 = 12311;
pub const MEDIA_BUS_FMT_SRGGB10_ALAW8_1X8: u32 = 12312;
pub const MEDIA_BUS_FMT_SBGGR10_DPCM8_1X8: u32 = 12299;
pub const MEDIA_BUS_FMT_SGBRG10_DPCM8_1X8: u32 = 12300;
pub const MEDIA_BUS_FMT_SGRBG10_DPCM8_1X8: u32 = 12297;
pub const MEDIA_BUS_FMT_SRGGB10_DPCM8_1X8: u32 = 12301;
pub const MEDIA_BUS_FMT_SBGGR10_1X10: u32 = 12295;
pub const MEDIA_BUS_FMT_SGBRG10_1X10: u32 = 12302;
pub const MEDIA_BUS_FMT_SGRBG10_1X10: u32 = 12298;
pub const MEDIA_BUS_FMT_SRGGB10_1X10: u32 = 12303;
pub const MEDIA_BUS_FMT_SBGGR12_1X12: u32 = 12296;
pub const MEDIA_BUS_FMT_SGBRG12_1X12: u32 = 12304;
pub const MEDIA_BUS_FMT_SGRBG12_1X12: u32 = 12305;
pub const MEDIA_BUS_FMT_SRGGB12_1X12: u32 = 12306;
pub const V4L2_SUBDEV_CAP_RO_SUBDEV: u32 = 1;
pub const V4L2_SUBDEV_CAP_STREAMS: u32 = 2;
pub const V4L2_SUBDEV_CLIENT_CAP_STREAMS: u32 = 1;
pub const V4L2_SUBDEV_CLIENT_CAP_INTERVAL_USES_WHICH: u32 = 2;
pub const VIDIOC_SUBDEV_QUERYCAP: u32 = 2151699968;
pub const VIDIOC_SUBDEV_G_FMT: u32 = 3227014660;
pub const VIDIOC_SUBDEV_S_FMT: u32 = 3227014661;
pub const VIDIOC_SUBDEV_G_FRAME_INTERVAL: u32 = 3224393237;
pub const VIDIOC_SUBDEV_S_FRAME_INTERVAL: u32 = 3224393238;
pub const VIDIOC_SUBDEV_ENUM_MBUS_CODE: u32 = 3224393218;
pub const VIDIOC_SUBDEV_ENUM_FRAME_SIZE: u32 = 3225441866;
pub const VIDIOC_SUBDEV_ENUM_FRAME_INTERVAL: u32 = 3225441867;
pub const VIDIOC_SUBDEV_G_CROP: u32 = 3224917563;
pub const VIDIOC_SUBDEV_S_CROP: u32 = 3224917564;
pub const VIDIOC_SUBDEV_G_SELECTION: u32 = 3225441853;
pub const VIDIOC_SUBDEV_S_SELECTION: u32 = 3225441854;
pub const VIDIOC_SUBDEV_G_ROUTING: u32 = 3225441830;
pub const VIDIOC_SUBDEV_S_ROUTING: u32 = 3225441831;
pub const VIDIOC_SUBDEV_G_CLIENT_CAP: u32 = 2148030053;
pub const VIDIOC_SUBDEV_S_CLIENT_CAP: u32 = 3221771878;
pub const VIDIOC_SUBDEV_G_STD: u32 = 2148029975;
pub const VIDIOC_SUBDEV_S_STD: u32 = 1074288152;
pub const VIDIOC_SUBDEV_ENUMSTD: u32 = 3225966105;
pub const VIDIOC_SUBDEV_G_EDID: u32 = 3223868968;
pub const VIDIOC_SUBDEV_S_EDID: u32 = 3223868969;
pub const VIDIOC_SUBDEV_QUERYSTD: u32 = 2148030015;
pub const VIDIOC_SUBDEV_S_DV_TIMINGS: u32 = 3229898327;
pub const VIDIOC_SUBDEV_G_DV_TIMINGS: u32 = 3229898328;
pub const VIDIOC_SUBDEV_ENUM_DV_TIMINGS: u32 = 3230946914;
pub const VIDIOC_SUBDEV_QUERY_DV_TIMINGS: u32 = 2156156515;
pub const VIDIOC_SUBDEV_DV_TIMINGS_CAP: u32 = 3230684772;
const _: () = {
    ["Size of timeval"][::core::mem::size_of::<timeval>() - 16usize];
    ["Alignment of timeval"][::core::mem::align_of::<timeval>() - 8usize];
    ["Offset of field: timeval::tv_sec"][::core::mem::offset_of!(timeval, tv_sec) - 0usize];
    ["Offset of field: timeval::tv_usec"][::core::mem::offset_of!(timeval, tv_usec) - 8usize];
};
const _: () = {
    ["Size of timespec"][::core::mem::size_of::<timespec>() - 16usize];
    ["Alignment of timespec"][::core::mem::align_of::<timespec>() - 8usize];
    ["Offset of field: timespec::tv_sec"][::core::mem::offset_of!(timespec, tv_sec) - 0usize];
    ["Offset of field: timespec::tv_nsec"][::core::mem::offset_of!(timespec, tv_nsec) - 8usize];
};
pub const V4L2_CID_POWER_LINE_FREQUENCY_DISABLED: v4l2_power_line_frequency = 0;
pub const V4L2_CID_POWER_LINE_FREQUENCY_50HZ: v4l2_power_line_frequency = 1;
pub const V4L2_CID_POWER_LINE_FREQUENCY_60HZ: v4l2_power_line_frequency = 2;
pub const V4L2_CID_POWER_LINE_FREQUENCY_AUTO: v4l2_power_line_frequency = 3;
pub const V4L2_EXPOSURE_AUTO: v4l2_exposure_auto_type = 0;
pub const V4L2_EXPOSURE_MANUAL: v4l2_exposure_auto_type = 1;
pub const V4L2_EXPOSURE_SHUTTER_PRIORITY: v4l2_exposure_auto_type = 2;
pub const V4L2_EXPOSURE_APERTURE_PRIORITY: v4l2_exposure_auto_type = 3;
pub const V4L2_AUTO_FOCUS_RANGE_AUTO: v4l2_auto_focus_range = 0;
pub const V4L2_AUTO_FOCUS_RANGE_NORMAL: v4l2_auto_focus_range = 1;
pub const V4L2_AUTO_FOCUS_RANGE_MACRO: v4l2_auto_focus_range = 2;
pub const V4L2_AUTO_FOCUS_RANGE_INFINITY: v4l2_auto_focus_range = 3;
const _: () = {
    ["Size of v4l2_ctrl_h264_sps"][::core::mem::size_of::<v4l2_ctrl_h264_sps>() - 1048usize];
    ["Alignment of v4l2_ctrl_h264_sps"][::core::mem::align_of::<v4l2_ctrl_h264_sps>() - 4usize];
    ["Offset of field: v4l2_ctrl_h264_sps::profile_idc"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, profile_idc) - 0usize];
    ["Offset of field: v4l2_ctrl_h264_sps::constraint_set_flags"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, constraint_set_flags) - 1usize];
    ["Offset of field: v4l2_ctrl_h264_sps::level_idc"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, level_idc) - 2usize];
    ["Offset of field: v4l2_ctrl_h264_sps::seq_parameter_set_id"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, seq_parameter_set_id) - 3usize];
    ["Offset of field: v4l2_ctrl_h264_sps::chroma_format_idc"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, chroma_format_idc) - 4usize];
    ["Offset of field: v4l2_ctrl_h264_sps::bit_depth_luma_minus8"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, bit_depth_luma_minus8) - 5usize];
    ["Offset of field: v4l2_ctrl_h264_sps::bit_depth_chroma_minus8"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, bit_depth_chroma_minus8) - 6usize];
    ["Offset of field: v4l2_ctrl_h264_sps::log2_max_frame_num_minus4"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, log2_max_frame_num_minus4) - 7usize];
    ["Offset of field: v4l2_ctrl_h264_sps::pic_order_cnt_type"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, pic_order_cnt_type) - 8usize];
    ["Offset of field: v4l2_ctrl_h264_sps::log2_max_pic_order_cnt_lsb_minus4"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, log2_max_pic_order_cnt_lsb_minus4) - 9usize];
    ["Offset of field: v4l2_ctrl_h264_sps::max_num_ref_frames"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, max_num_ref_frames) - 10usize];
    ["Offset of field: v4l2_ctrl_h264_sps::num_ref_frames_in_pic_order_cnt_cycle"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, num_ref_frames_in_pic_order_cnt_cycle) - 11usize];
    ["Offset of field: v4l2_ctrl_h264_sps::offset_for_ref_frame"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, offset_for_ref_frame) - 12usize];
    ["Offset of field: v4l2_ctrl_h264_sps::offset_for_non_ref_pic"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, offset_for_non_ref_pic) - 1032usize];
    ["Offset of field: v4l2_ctrl_h264_sps::offset_for_top_to_bottom_field"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, offset_for_top_to_bottom_field) - 1036usize];
    ["Offset of field: v4l2_ctrl_h264_sps::pic_width_in_mbs_minus1"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, pic_width_in_mbs_minus1) - 1040usize];
    ["Offset of field: v4l2_ctrl_h264_sps::pic_height_in_map_units_minus1"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, pic_height_in_map_units_minus1) - 1042usize];
    ["Offset of field: v4l2_ctrl_h264_sps::flags"][::core::mem::offset_of!(v4l2_ctrl_h264_sps, flags) - 1044usize];
};
const _: () = {
    ["Size of v4l2_ctrl_h264_pps"][::core::mem::size_of::<v4l2_ctrl_h264_pps>() - 12usize];
    ["Alignment of v4l2_ctrl_h264_pps"][::core::mem::align_of::<v4l2_ctrl_h264_pps>() - 2usize];
    ["Offset of field: v4l2_ctrl_h264_pps::pic_parameter_set_id"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, pic_parameter_set_id) - 0usize];
    ["Offset of field: v4l2_ctrl_h264_pps::seq_parameter_set_id"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, seq_parameter_set_id) - 1usize];
    ["Offset of field: v4l2_ctrl_h264_pps::num_slice_groups_minus1"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, num_slice_groups_minus1) - 2usize];
    ["Offset of field: v4l2_ctrl_h264_pps::num_ref_idx_l0_default_active_minus1"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, num_ref_idx_l0_default_active_minus1) - 3usize];
    ["Offset of field: v4l2_ctrl_h264_pps::num_ref_idx_l1_default_active_minus1"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, num_ref_idx_l1_default_active_minus1) - 4usize];
    ["Offset of field: v4l2_ctrl_h264_pps::weighted_bipred_idc"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, weighted_bipred_idc) - 5usize];
    ["Offset of field: v4l2_ctrl_h264_pps::pic_init_qp_minus26"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, pic_init_qp_minus26) - 6usize];
    ["Offset of field: v4l2_ctrl_h264_pps::pic_init_qs_minus26"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, pic_init_qs_minus26) - 7usize];
    ["Offset of field: v4l2_ctrl_h264_pps::chroma_qp_index_offset"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, chroma_qp_index_offset) - 8usize];
    ["Offset of field: v4l2_ctrl_h264_pps::second_chroma_qp_index_offset"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, second_chroma_qp_index_offset) - 9usize];
    ["Offset of field: v4l2_ctrl_h264_pps::flags"][::core::mem::offset_of!(v4l2_ctrl_h264_pps, flags) - 10usize];
};
const _: () = {
    ["Size of v4l2_ctrl_h264_scaling_matrix"][::core::mem::size_of::<v4l2_ctrl_h264_scaling_matrix>() - 480usize];
    ["Alignment of v4l2_ctrl_h264_scaling_matrix"][::core::mem::align_of::<v4l2_ctrl_h264_scaling_matrix>() - 1usize];
    ["Offset of field: v4l2_ctrl_h264_scaling_matrix::scaling_list_4x4"][::core::mem::offset_of!(v4l2_ctrl_h264_scaling_matrix, scaling_list_4x4) - 0usize];
    ["Offset of field: v4l2_ctrl_h264_scaling_matrix::scaling_list_8x8"][::core::mem::offset_of!(v4l2_ctrl_h264_scaling_matrix, scaling_list_8x8) - 96usize];
};
const _: () = {
    ["Size of v4l2_ctrl_h264_pred_weights"]
        [::core::mem::size_of::<v4l2_ctrl_h264_pred_weights>() - 772usize];
    ["Alignment of v4l2_ctrl_h264_pred_weights"]
        [::core::mem::align_of::<v4l2_ctrl_h264_pred_weights>() - 2usize];
};
const _: () = {
    ["Size of v4l2_ctrl_h264_slice_params"]
        [::core::mem::size_of::<v4l2_ctrl_h264_slice_params>() - 152usize];
    ["Alignment of v4l2_ctrl_h264_slice_params"]
        [::core::mem::align_of::<v4l2_ctrl_h264_slice_params>() - 4usize];
};
const _: () = {
    ["Size of v4l2_h264_dpb_entry"][::core::mem::size_of::<v4l2_h264_dpb_entry>() - 32usize];
    ["Alignment of v4l2_h264_dpb_entry"][::core::mem::align_of::<v4l2_h264_dpb_entry>() - 8usize];
    ["Offset of field: v4l2_h264_dpb_entry::reference_ts"][::core::mem::offset_of!(v4l2_h264_dpb_entry, reference_ts) - 0usize];
    ["Offset of field: v4l2_h264_dpb_entry::pic_num"][::core::mem::offset_of!(v4l2_h264_dpb_entry, pic_num) - 8usize];
    ["Offset of field: v4l2_h264_dpb_entry::frame_num"][::core::mem::offset_of!(v4l2_h264_dpb_entry, frame_num) - 12usize];
    ["Offset of field: v4l2_h264_dpb_entry::fields"][::core::mem::offset_of!(v4l2_h264_dpb_entry, fields) - 14usize];
    ["Offset of field: v4l2_h264_dpb_entry::reserved"][::core::mem::offset_of!(v4l2_h264_dpb_entry, reserved) - 15usize];
    ["Offset of field: v4l2_h264_dpb_entry::top_field_order_cnt"][::core::mem::offset_of!(v4l2_h264_dpb_entry, top_field_order_cnt) - 20usize];
    ["Offset of field: v4l2_h264_dpb_entry::bottom_field_order_cnt"][::core::mem::offset_of!(v4l2_h264_dpb_entry, bottom_field_order_cnt) - 24usize];
    ["Offset of field: v4l2_h264_dpb_entry::flags"][::core::mem::offset_of!(v4l2_h264_dpb_entry, flags) - 28usize];
};
const _: () = {
    ["Size of v4l2_ctrl_h264_decode_params"][::core::mem::size_of::<v4l2_ctrl_h264_decode_params>() - 560usize];
    ["Alignment of v4l2_ctrl_h264_decode_params"][::core::mem::align_of::<v4l2_ctrl_h264_decode_params>() - 8usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::dpb"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, dpb) - 0usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::nal_ref_idc"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, nal_ref_idc) - 512usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::frame_num"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, frame_num) - 514usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::top_field_order_cnt"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, top_field_order_cnt) - 516usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::bottom_field_order_cnt"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, bottom_field_order_cnt) - 520usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::idr_pic_id"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, idr_pic_id) - 524usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::pic_order_cnt_lsb"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, pic_order_cnt_lsb) - 526usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::delta_pic_order_cnt_bottom"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, delta_pic_order_cnt_bottom) - 528usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::delta_pic_order_cnt0"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, delta_pic_order_cnt0) - 532usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::delta_pic_order_cnt1"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, delta_pic_order_cnt1) - 536usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::dec_ref_pic_marking_bit_size"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, dec_ref_pic_marking_bit_size) - 540usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::pic_order_cnt_bit_size"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, pic_order_cnt_bit_size) - 544usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::slice_group_change_cycle"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, slice_group_change_cycle) - 548usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::reserved"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, reserved) - 552usize];
    ["Offset of field: v4l2_ctrl_h264_decode_params::flags"][::core::mem::offset_of!(v4l2_ctrl_h264_decode_params, flags) - 556usize];
};
const _: () = {
    ["Size of v4l2_ctrl_fwht_params"][::core::mem::size_of::<v4l2_ctrl_fwht_params>() - 40usize];
    ["Alignment of v4l2_ctrl_fwht_params"]
        [::core::mem::align_of::<v4l2_ctrl_fwht_params>() - 8usize];
};
const _: () = {
    ["Size of v4l2_vp8_segment"][::core::mem::size_of::<v4l2_vp8_segment>() - 16usize];
    ["Alignment of v4l2_vp8_segment"][::core::mem::align_of::<v4l2_vp8_segment>() - 4usize];
    ["Offset of field: v4l2_vp8_segment::quant_update"]
        [::core::mem::offset_of!(v4l2_vp8_segment, quant_update) - 0usize];
    ["Offset of field: v4l2_vp8_segment::lf_update"]
        [::core::mem::offset_of!(v4l2_vp8_segment, lf_update) - 4usize];
    ["Offset of field: v4l2_vp8_segment::segment_probs"]
        [::core::mem::offset_of!(v4l2_vp8_segment, segment_probs) - 8usize];
    ["Offset of field: v4l2_vp8_segment::padding"]
        [::core::mem::offset_of!(v4l2_vp8_segment, padding) - 11usize];
    ["Offset of field: v4l2_vp8_segment::flags"]
        [::core::mem::offset_of!(v4l2_vp8_segment, flags) - 12usize];
};
const _: () = {
    ["Size of v4l2_vp8_loop_filter"][::core::mem::size_of::<v4l2_vp8_loop_filter>() - 16usize];
    ["Alignment of v4l2_vp8_loop_filter"][::core::mem::align_of::<v4l2_vp8_loop_filter>() - 4usize];
    ["Offset of field: v4l2_vp8_loop_filter::ref_frm_delta"]
        [::core::mem::offset_of!(v4l2_vp8_loop_filter, ref_frm_delta) - 0usize];
    ["Offset of field: v4l2_vp8_loop_filter::mb_mode_delta"]
        [::core::mem::offset_of!(v4l2_vp8_loop_filter, mb_mode_delta) - 4usize];
    ["Offset of field: v4l2_vp8_loop_filter::sharpness_level"]
        [::core::mem::offset_of!(v4l2_vp8_loop_filter, sharpness_level) - 8usize];
    ["Offset of field: v4l2_vp8_loop_filter::level"]
        [::core::mem::offset_of!(v4l2_vp8_loop_filter, level) - 9usize];
    ["Offset of field: v4l2_vp8_loop_filter::padding"]
        [::core::mem::offset_of!(v4l2_vp8_loop_filter, padding) - 10usize];
    ["Offset of field: v4l2_vp8_loop_filter::flags"]
        [::core::mem::offset_of!(v4l2_vp8_loop_filter, flags) - 12usize];
};
const _: () = {
    ["Size of v4l2_vp8_quantization"][::core::mem::size_of::<v4l2_vp8_quantization>() - 8usize];
    ["Alignment of v4l2_vp8_quantization"]
        [::core::mem::align_of::<v4l2_vp8_quantization>() - 2usize];
    ["Offset of field: v4l2_vp8_quantization::y_ac_qi"]
        [::core::mem::offset_of!(v4l2_vp8_quantization, y_ac_qi) - 0usize];
    ["Offset of field: v4l2_vp8_quantization::y_dc_delta"]
        [::core::mem::offset_of!(v4l2_vp8_quantization, y_dc_delta) - 1usize];
    ["Offset of field: v4l2_vp8_quantization::y2_dc_delta"]
        [::core::mem::offset_of!(v4l2_vp8_quantization, y2_dc_delta) - 2usize];
    ["Offset of field: v4l2_vp8_quantization::y2_ac_delta"]
        [::core::mem::offset_of!(v4l2_vp8_quantization, y2_ac_delta) - 3usize];
    ["Offset of field: v4l2_vp8_quantization::uv_dc_delta"]
        [::core::mem::offset_of!(v4l2_vp8_quantization, uv_dc_delta) - 4usize];
    ["Offset of field: v4l2_vp8_quantization::uv_ac_delta"]
        [::core::mem::offset_of!(v4l2_vp8_quantization, uv_ac_delta) - 5usize];
    ["Offset of field: v4l2_vp8_quantization::padding"]
        [::core::mem::offset_of!(v4l2_vp8_quantization, padding) - 6usize];
};
const _: () = {
    ["Size of v4l2_vp8_entropy"][::core::mem::size_of::<v4l2_vp8_entropy>() - 1104usize];
    ["Alignment of v4l2_vp8_entropy"][::core::mem::align_of::<v4l2_vp8_entropy>() - 1usize];
    ["Offset of field: v4l2_vp8_entropy::coeff_probs"]
        [::core::mem::offset_of!(v4l2_vp8_entropy, coeff_probs) - 0usize];
    ["Offset of field: v4l2_vp8_entropy::y_mode_probs"]
        [::core::mem::offset_of!(v4l2_vp8_entropy, y_mode_probs) - 1056usize];
    ["Offset of field: v4l2_vp8_entropy::uv_mode_probs"]
        [::core::mem::offset_of!(v4l2_vp8_entropy, uv_mode_probs) - 1060usize];
    ["Offset of field: v4l2_vp8_entropy::mv_probs"]
        [::core::mem::offset_of!(v4l2_vp8_entropy, mv_probs) - 1063usize];
    ["Offset of field: v4l2_vp8_entropy::padding"]
        [::core::mem::offset_of!(v4l2_vp8_entropy, padding) - 1101usize];
};
const _: () = {
    ["Size of v4l2_vp8_entropy_coder_state"]
        [::core::mem::size_of::<v4l2_vp8_entropy_coder_state>() - 4usize];
    ["Alignment of v4l2_vp8_entropy_coder_state"]
        [::core::mem::align_of::<v4l2_vp8_entropy_coder_state>() - 1usize];
    ["Offset of field: v4l2_vp8_entropy_coder_state::range"]
        [::core::mem::offset_of!(v4l2_vp8_entropy_coder_state, range) - 0usize];
    ["Offset of field: v4l2_vp8_entropy_coder_state::value"]
        [::core::mem::offset_of!(v4l2_vp8_entropy_coder_state, value) - 1usize];
    ["Offset of field: v4l2_vp8_entropy_coder_state::bit_count"]
        [::core::mem::offset_of!(v4l2_vp8_entropy_coder_state, bit_count) - 2usize];
    ["Offset of field: v4l2_vp8_entropy_coder_state::padding"]
        [::core::mem::offset_of!(v4l2_vp8_entropy_coder_state, padding) - 3usize];
};
const _: () = {
    ["Size of v4l2_ctrl_vp8_frame"][::core::mem::size_of::<v4l2_ctrl_vp8_frame>() - 1232usize];
    ["Alignment of v4l2_ctrl_vp8_frame"][::core::mem::align_of::<v4l2_ctrl_vp8_frame>() - 8usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::segment"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, segment) - 0usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::lf"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, lf) - 16usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::quant"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, quant) - 32usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::entropy"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, entropy) - 40usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::coder_state"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, coder_state) - 1144usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::width"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, width) - 1148usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::height"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, height) - 1150usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::horizontal_scale"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, horizontal_scale) - 1152usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::vertical_scale"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, vertical_scale) - 1153usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::version"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, version) - 1154usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::prob_skip_false"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, prob_skip_false) - 1155usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::prob_intra"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, prob_intra) - 1156usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::prob_last"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, prob_last) - 1157usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::prob_gf"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, prob_gf) - 1158usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::num_dct_parts"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, num_dct_parts) - 1159usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::first_part_size"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, first_part_size) - 1160usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::first_part_header_bits"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, first_part_header_bits) - 1164usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::dct_part_sizes"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, dct_part_sizes) - 1168usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::last_frame_ts"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, last_frame_ts) - 1200usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::golden_frame_ts"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, golden_frame_ts) - 1208usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::alt_frame_ts"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, alt_frame_ts) - 1216usize];
    ["Offset of field: v4l2_ctrl_vp8_frame::flags"]
        [::core::mem::offset_of!(v4l2_ctrl_vp8_frame, flags) - 1224usize];
};
const _: () = {
    ["Size of v4l2_ctrl_mpeg2_sequence"]
        [::core::mem::size_of::<v4l2_ctrl_mpeg2_sequence>() - 12usize];
    ["Alignment of v4l2_ctrl_mpeg2_sequence"]
        [::core::mem::align_of::<v4l2_ctrl_mpeg2_sequence>() - 4usize];
};
const _: () = {
    ["Size of v4l2_ctrl_mpeg2_picture"]
        [::core::mem::size_of::<v4l2_ctrl_mpeg2_picture>() - 32usize];
    ["Alignment of v4l2_ctrl_mpeg2_picture"]
        [::core::mem::align_of::<v4l2_ctrl_mpeg2_picture>() - 8usize];
};
const _: () = {
    ["Size of v4l2_ctrl_mpeg2_quantisation"]
        [::core::mem::size_of::<v4l2_ctrl_mpeg2_quantisation>() - 256usize];
    ["Alignment of v4l2_ctrl_mpeg2_quantisation"]
        [::core::mem::align_of::<v4l2_ctrl_mpeg2_quantisation>() - 1usize];
};
const _: () = {
    ["Size of v4l2_ctrl_hevc_sps"][::core::mem::size_of::<v4l2_ctrl_hevc_sps>() - 40usize];
    ["Alignment of v4l2_ctrl_hevc_sps"][::core::mem::align_of::<v4l2_ctrl_hevc_sps>() - 8usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::video_parameter_set_id"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, video_parameter_set_id) - 0usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::seq_parameter_set_id"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, seq_parameter_set_id) - 1usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::pic_width_in_luma_samples"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, pic_width_in_luma_samples) - 2usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::pic_height_in_luma_samples"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, pic_height_in_luma_samples) - 4usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::bit_depth_luma_minus8"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, bit_depth_luma_minus8) - 6usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::bit_depth_chroma_minus8"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, bit_depth_chroma_minus8) - 7usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::log2_max_pic_order_cnt_lsb_minus4"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, log2_max_pic_order_cnt_lsb_minus4) - 8usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::sps_max_dec_pic_buffering_minus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, sps_max_dec_pic_buffering_minus1) - 9usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::sps_max_num_reorder_pics"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, sps_max_num_reorder_pics) - 10usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::sps_max_latency_increase_plus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, sps_max_latency_increase_plus1) - 11usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::log2_min_luma_coding_block_size_minus3"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_sps,
        log2_min_luma_coding_block_size_minus3
    ) - 12usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::log2_diff_max_min_luma_coding_block_size"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_sps,
        log2_diff_max_min_luma_coding_block_size
    ) - 13usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::log2_min_luma_transform_block_size_minus2"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_sps,
        log2_min_luma_transform_block_size_minus2
    ) - 14usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::log2_diff_max_min_luma_transform_block_size"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_sps,
        log2_diff_max_min_luma_transform_block_size
    )
        - 15usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::max_transform_hierarchy_depth_inter"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_sps,
        max_transform_hierarchy_depth_inter
    ) - 16usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::max_transform_hierarchy_depth_intra"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_sps,
        max_transform_hierarchy_depth_intra
    ) - 17usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::pcm_sample_bit_depth_luma_minus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, pcm_sample_bit_depth_luma_minus1) - 18usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::pcm_sample_bit_depth_chroma_minus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, pcm_sample_bit_depth_chroma_minus1) - 19usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::log2_min_pcm_luma_coding_block_size_minus3"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_sps,
        log2_min_pcm_luma_coding_block_size_minus3
    )
        - 20usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::log2_diff_max_min_pcm_luma_coding_block_size"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_sps,
        log2_diff_max_min_pcm_luma_coding_block_size
    )
        - 21usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::num_short_term_ref_pic_sets"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, num_short_term_ref_pic_sets) - 22usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::num_long_term_ref_pics_sps"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, num_long_term_ref_pics_sps) - 23usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::chroma_format_idc"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, chroma_format_idc) - 24usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::sps_max_sub_layers_minus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, sps_max_sub_layers_minus1) - 25usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::reserved"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, reserved) - 26usize];
    ["Offset of field: v4l2_ctrl_hevc_sps::flags"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_sps, flags) - 32usize];
};
const _: () = {
    ["Size of v4l2_ctrl_hevc_pps"][::core::mem::size_of::<v4l2_ctrl_hevc_pps>() - 64usize];
    ["Alignment of v4l2_ctrl_hevc_pps"][::core::mem::align_of::<v4l2_ctrl_hevc_pps>() - 8usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::pic_parameter_set_id"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, pic_parameter_set_id) - 0usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::num_extra_slice_header_bits"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, num_extra_slice_header_bits) - 1usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::num_ref_idx_l0_default_active_minus1"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_pps,
        num_ref_idx_l0_default_active_minus1
    ) - 2usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::num_ref_idx_l1_default_active_minus1"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_pps,
        num_ref_idx_l1_default_active_minus1
    ) - 3usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::init_qp_minus26"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, init_qp_minus26) - 4usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::diff_cu_qp_delta_depth"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, diff_cu_qp_delta_depth) - 5usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::pps_cb_qp_offset"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, pps_cb_qp_offset) - 6usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::pps_cr_qp_offset"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, pps_cr_qp_offset) - 7usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::num_tile_columns_minus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, num_tile_columns_minus1) - 8usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::num_tile_rows_minus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, num_tile_rows_minus1) - 9usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::column_width_minus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, column_width_minus1) - 10usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::row_height_minus1"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, row_height_minus1) - 30usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::pps_beta_offset_div2"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, pps_beta_offset_div2) - 52usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::pps_tc_offset_div2"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, pps_tc_offset_div2) - 53usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::log2_parallel_merge_level_minus2"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, log2_parallel_merge_level_minus2) - 54usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::reserved"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, reserved) - 55usize];
    ["Offset of field: v4l2_ctrl_hevc_pps::flags"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_pps, flags) - 56usize];
};
const _: () = {
    ["Size of v4l2_hevc_dpb_entry"][::core::mem::size_of::<v4l2_hevc_dpb_entry>() - 16usize];
    ["Alignment of v4l2_hevc_dpb_entry"][::core::mem::align_of::<v4l2_hevc_dpb_entry>() - 8usize];
    ["Offset of field: v4l2_hevc_dpb_entry::timestamp"]
        [::core::mem::offset_of!(v4l2_hevc_dpb_entry, timestamp) - 0usize];
    ["Offset of field: v4l2_hevc_dpb_entry::flags"]
        [::core::mem::offset_of!(v4l2_hevc_dpb_entry, flags) - 8usize];
    ["Offset of field: v4l2_hevc_dpb_entry::field_pic"]
        [::core::mem::offset_of!(v4l2_hevc_dpb_entry, field_pic) - 9usize];
    ["Offset of field: v4l2_hevc_dpb_entry::reserved"]
        [::core::mem::offset_of!(v4l2_hevc_dpb_entry, reserved) - 10usize];
    ["Offset of field: v4l2_hevc_dpb_entry::pic_order_cnt_val"]
        [::core::mem::offset_of!(v4l2_hevc_dpb_entry, pic_order_cnt_val) - 12usize];
};
const _: () = {
    ["Size of v4l2_ctrl_hevc_slice_params"]
        [::core::mem::size_of::<v4l2_ctrl_hevc_slice_params>() - 280usize];
    ["Alignment of v4l2_ctrl_hevc_slice_params"]
        [::core::mem::align_of::<v4l2_ctrl_hevc_slice_params>() - 8usize];
};
const _: () = {
    ["Size of v4l2_ctrl_hevc_decode_params"]
        [::core::mem::size_of::<v4l2_ctrl_hevc_decode_params>() - 328usize];
    ["Alignment of v4l2_ctrl_hevc_decode_params"]
        [::core::mem::align_of::<v4l2_ctrl_hevc_decode_params>() - 8usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::pic_order_cnt_val"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, pic_order_cnt_val) - 0usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::short_term_ref_pic_set_size"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_decode_params,
        short_term_ref_pic_set_size
    ) - 4usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::long_term_ref_pic_set_size"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_decode_params,
        long_term_ref_pic_set_size
    ) - 6usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::num_active_dpb_entries"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, num_active_dpb_entries) - 8usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::num_poc_st_curr_before"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, num_poc_st_curr_before) - 9usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::num_poc_st_curr_after"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, num_poc_st_curr_after) - 10usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::num_poc_lt_curr"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, num_poc_lt_curr) - 11usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::poc_st_curr_before"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, poc_st_curr_before) - 12usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::poc_st_curr_after"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, poc_st_curr_after) - 28usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::poc_lt_curr"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, poc_lt_curr) - 44usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::num_delta_pocs_of_ref_rps_idx"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_decode_params,
        num_delta_pocs_of_ref_rps_idx
    ) - 60usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::reserved"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, reserved) - 61usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::dpb"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, dpb) - 64usize];
    ["Offset of field: v4l2_ctrl_hevc_decode_params::flags"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_decode_params, flags) - 320usize];
};
const _: () = {
    ["Size of v4l2_ctrl_hevc_scaling_matrix"]
        [::core::mem::size_of::<v4l2_ctrl_hevc_scaling_matrix>() - 1000usize];
    ["Alignment of v4l2_ctrl_hevc_scaling_matrix"]
        [::core::mem::align_of::<v4l2_ctrl_hevc_scaling_matrix>() - 1usize];
    ["Offset of field: v4l2_ctrl_hevc_scaling_matrix::scaling_list_4x4"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_scaling_matrix, scaling_list_4x4) - 0usize];
    ["Offset of field: v4l2_ctrl_hevc_scaling_matrix::scaling_list_8x8"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_scaling_matrix, scaling_list_8x8) - 96usize];
    ["Offset of field: v4l2_ctrl_hevc_scaling_matrix::scaling_list_16x16"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_scaling_matrix, scaling_list_16x16) - 480usize];
    ["Offset of field: v4l2_ctrl_hevc_scaling_matrix::scaling_list_32x32"]
        [::core::mem::offset_of!(v4l2_ctrl_hevc_scaling_matrix, scaling_list_32x32) - 864usize];
    ["Offset of field: v4l2_ctrl_hevc_scaling_matrix::scaling_list_dc_coef_16x16"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_scaling_matrix,
        scaling_list_dc_coef_16x16
    ) - 992usize];
    ["Offset of field: v4l2_ctrl_hevc_scaling_matrix::scaling_list_dc_coef_32x32"][::core::mem::offset_of!(
        v4l2_ctrl_hevc_scaling_matrix,
        scaling_list_dc_coef_32x32
    ) - 998usize];
};
const _: () = {
    ["Size of v4l2_vp9_loop_filter"][::core::mem::size_of::<v4l2_vp9_loop_filter>() - 16usize];
    ["Alignment of v4l2_vp9_loop_filter"][::core::mem::align_of::<v4l2_vp9_loop_filter>() - 1usize];
    ["Offset of field: v4l2_vp9_loop_filter::ref_deltas"]
        [::core::mem::offset_of!(v4l2_vp9_loop_filter, ref_deltas) - 0usize];
    ["Offset of field: v4l2_vp9_loop_filter::mode_deltas"]
        [::core::mem::offset_of!(v4l2_vp9_loop_filter, mode_deltas) - 4usize];
    ["Offset of field: v4l2_vp9_loop_filter::level"]
        [::core::mem::offset_of!(v4l2_vp9_loop_filter, level) - 6usize];
    ["Offset of field: v4l2_vp9_loop_filter::sharpness"]
        [::core::mem::offset_of!(v4l2_vp9_loop_filter, sharpness) - 7usize];
    ["Offset of field: v4l2_vp9_loop_filter::flags"]
        [::core::mem::offset_of!(v4l2_vp9_loop_filter, flags) - 8usize];
    ["Offset of field: v4l2_vp9_loop_filter::reserved"]
        [::core::mem::offset_of!(v4l2_vp9_loop_filter, reserved) - 9usize];
};
const _: () = {
    ["Size of v4l2_vp9_quantization"][::core::mem::size_of::<v4l2_vp9_quantization>() - 8usize];
    ["Alignment of v4l2_vp9_quantization"]
        [::core::mem::align_of::<v4l2_vp9_quantization>() - 1usize];
    ["Offset of field: v4l2_vp9_quantization::base_q_idx"]
        [::core::mem::offset_of!(v4l2_vp9_quantization, base_q_idx) - 0usize];
    ["Offset of field: v4l2_vp9_quantization::delta_q_y_dc"]
        [::core::mem::offset_of!(v4l2_vp9_quantization, delta_q_y_dc) - 1usize];
    ["Offset of field: v4l2_vp9_quantization::delta_q_uv_dc"]
        [::core::mem::offset_of!(v4l2_vp9_quantization, delta_q_uv_dc) - 2usize];
    ["Offset of field: v4l2_vp9_quantization::delta_q_uv_ac"]
        [::core::mem::offset_of!(v4l2_vp9_quantization, delta_q_uv_ac) - 3usize];
    ["Offset of field: v4l2_vp9_quantization::reserved"]
        [::core::mem::offset_of!(v4l2_vp9_quantization, reserved) - 4usize];
};
const _: () = {
    ["Size of v4l2_vp9_segmentation"][::core::mem::size_of::<v4l2_vp9_segmentation>() - 88usize];
    ["Alignment of v4l2_vp9_segmentation"]
        [::core::mem::align_of::<v4l2_vp9_segmentation>() - 2usize];
    ["Offset of field: v4l2_vp9_segmentation::feature_data"]
        [::core::mem::offset_of!(v4l2_vp9_segmentation, feature_data) - 0usize];
    ["Offset of field: v4l2_vp9_segmentation::feature_enabled"]
        [::core::mem::offset_of!(v4l2_vp9_segmentation, feature_enabled) - 64usize];
    ["Offset of field: v4l2_vp9_segmentation::tree_probs"]
        [::core::mem::offset_of!(v4l2_vp9_segmentation, tree_probs) - 72usize];
    ["Offset of field: v4l2_vp9_segmentation::pred_probs"]
        [::core::mem::offset_of!(v4l2_vp9_segmentation, pred_probs) - 79usize];
    ["Offset of field: v4l2_vp9_segmentation::flags"]
        [::core::mem::offset_of!(v4l2_vp9_segmentation, flags) - 82usize];
    ["Offset of field: v4l2_vp9_segmentation::reserved"]
        [::core::mem::offset_of!(v4l2_vp9_segmentation, reserved) - 83usize];
};
const _: () = {
    ["Size of v4l2_ctrl_hdr10_cll_info"]
        [::core::mem::size_of::<v4l2_ctrl_hdr10_cll_info>() - 4usize];
    ["Alignment of v4l2_ctrl_hdr10_cll_info"]
        [::core::mem::align_of::<v4l2_ctrl_hdr10_cll_info>() - 2usize];
};
const _: () = {
    ["Size of v4l2_ctrl_hdr10_mastering_display"]
        [::core::mem::size_of::<v4l2_ctrl_hdr10_mastering_display>() - 24usize];
    ["Alignment of v4l2_ctrl_hdr10_mastering_display"]
        [::core::mem::align_of::<v4l2_ctrl_hdr10_mastering_display>() - 4usize];
};
const _: () = {
    ["Size of v4l2_ctrl_vp9_frame"][::core::mem::size_of::<v4l2_ctrl_vp9_frame>() - 168usize];
    ["Alignment of v4l2_ctrl_vp9_frame"][::core::mem::align_of::<v4l2_ctrl_vp9_frame>() - 8usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::lf"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, lf) - 0usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::quant"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, quant) - 16usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::seg"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, seg) - 24usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::flags"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, flags) - 112usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::compressed_header_size"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, compressed_header_size) - 116usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::uncompressed_header_size"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, uncompressed_header_size) - 118usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::frame_width_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, frame_width_minus_1) - 120usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::frame_height_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, frame_height_minus_1) - 122usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::render_width_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, render_width_minus_1) - 124usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::render_height_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, render_height_minus_1) - 126usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::last_frame_ts"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, last_frame_ts) - 128usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::golden_frame_ts"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, golden_frame_ts) - 136usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::alt_frame_ts"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, alt_frame_ts) - 144usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::ref_frame_sign_bias"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, ref_frame_sign_bias) - 152usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::reset_frame_context"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, reset_frame_context) - 153usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::frame_context_idx"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, frame_context_idx) - 154usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::profile"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, profile) - 155usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::bit_depth"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, bit_depth) - 156usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::interpolation_filter"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, interpolation_filter) - 157usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::tile_cols_log2"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, tile_cols_log2) - 158usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::tile_rows_log2"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, tile_rows_log2) - 159usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::reference_mode"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, reference_mode) - 160usize];
    ["Offset of field: v4l2_ctrl_vp9_frame::reserved"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_frame, reserved) - 161usize];
};
const _: () = {
    ["Size of v4l2_vp9_mv_probs"][::core::mem::size_of::<v4l2_vp9_mv_probs>() - 69usize];
    ["Alignment of v4l2_vp9_mv_probs"][::core::mem::align_of::<v4l2_vp9_mv_probs>() - 1usize];
    ["Offset of field: v4l2_vp9_mv_probs::joint"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, joint) - 0usize];
    ["Offset of field: v4l2_vp9_mv_probs::sign"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, sign) - 3usize];
    ["Offset of field: v4l2_vp9_mv_probs::classes"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, classes) - 5usize];
    ["Offset of field: v4l2_vp9_mv_probs::class0_bit"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, class0_bit) - 25usize];
    ["Offset of field: v4l2_vp9_mv_probs::bits"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, bits) - 27usize];
    ["Offset of field: v4l2_vp9_mv_probs::class0_fr"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, class0_fr) - 47usize];
    ["Offset of field: v4l2_vp9_mv_probs::fr"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, fr) - 59usize];
    ["Offset of field: v4l2_vp9_mv_probs::class0_hp"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, class0_hp) - 65usize];
    ["Offset of field: v4l2_vp9_mv_probs::hp"]
        [::core::mem::offset_of!(v4l2_vp9_mv_probs, hp) - 67usize];
};
const _: () = {
    ["Size of v4l2_ctrl_vp9_compressed_hdr"]
        [::core::mem::size_of::<v4l2_ctrl_vp9_compressed_hdr>() - 2040usize];
    ["Alignment of v4l2_ctrl_vp9_compressed_hdr"]
        [::core::mem::align_of::<v4l2_ctrl_vp9_compressed_hdr>() - 1usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::tx_mode"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, tx_mode) - 0usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::tx8"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, tx8) - 1usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::tx16"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, tx16) - 3usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::tx32"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, tx32) - 7usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::coef"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, coef) - 13usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::skip"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, skip) - 1741usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::inter_mode"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, inter_mode) - 1744usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::interp_filter"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, interp_filter) - 1765usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::is_inter"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, is_inter) - 1773usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::comp_mode"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, comp_mode) - 1777usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::single_ref"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, single_ref) - 1782usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::comp_ref"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, comp_ref) - 1792usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::y_mode"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, y_mode) - 1797usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::uv_mode"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, uv_mode) - 1833usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::partition"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, partition) - 1923usize];
    ["Offset of field: v4l2_ctrl_vp9_compressed_hdr::mv"]
        [::core::mem::offset_of!(v4l2_ctrl_vp9_compressed_hdr, mv) - 1971usize];
};
const _: () = {
    ["Size of v4l2_ctrl_av1_sequence"][::core::mem::size_of::<v4l2_ctrl_av1_sequence>() - 12usize];
    ["Alignment of v4l2_ctrl_av1_sequence"]
        [::core::mem::align_of::<v4l2_ctrl_av1_sequence>() - 4usize];
    ["Offset of field: v4l2_ctrl_av1_sequence::flags"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_sequence, flags) - 0usize];
    ["Offset of field: v4l2_ctrl_av1_sequence::seq_profile"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_sequence, seq_profile) - 4usize];
    ["Offset of field: v4l2_ctrl_av1_sequence::order_hint_bits"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_sequence, order_hint_bits) - 5usize];
    ["Offset of field: v4l2_ctrl_av1_sequence::bit_depth"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_sequence, bit_depth) - 6usize];
    ["Offset of field: v4l2_ctrl_av1_sequence::reserved"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_sequence, reserved) - 7usize];
    ["Offset of field: v4l2_ctrl_av1_sequence::max_frame_width_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_sequence, max_frame_width_minus_1) - 8usize];
    ["Offset of field: v4l2_ctrl_av1_sequence::max_frame_height_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_sequence, max_frame_height_minus_1) - 10usize];
};
const _: () = {
    ["Size of v4l2_ctrl_av1_tile_group_entry"]
        [::core::mem::size_of::<v4l2_ctrl_av1_tile_group_entry>() - 16usize];
    ["Alignment of v4l2_ctrl_av1_tile_group_entry"]
        [::core::mem::align_of::<v4l2_ctrl_av1_tile_group_entry>() - 4usize];
    ["Offset of field: v4l2_ctrl_av1_tile_group_entry::tile_offset"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_tile_group_entry, tile_offset) - 0usize];
    ["Offset of field: v4l2_ctrl_av1_tile_group_entry::tile_size"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_tile_group_entry, tile_size) - 4usize];
    ["Offset of field: v4l2_ctrl_av1_tile_group_entry::tile_row"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_tile_group_entry, tile_row) - 8usize];
    ["Offset of field: v4l2_ctrl_av1_tile_group_entry::tile_col"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_tile_group_entry, tile_col) - 12usize];
};
pub const V4L2_AV1_WARP_MODEL_IDENTITY: v4l2_av1_warp_model = 0;
pub const V4L2_AV1_WARP_MODEL_TRANSLATION: v4l2_av1_warp_model = 1;
pub const V4L2_AV1_WARP_MODEL_ROTZOOM: v4l2_av1_warp_model = 2;
pub const V4L2_AV1_WARP_MODEL_AFFINE: v4l2_av1_warp_model = 3;
const _: () = {
    ["Size of v4l2_av1_global_motion"][::core::mem::size_of::<v4l2_av1_global_motion>() - 236usize];
    ["Alignment of v4l2_av1_global_motion"]
        [::core::mem::align_of::<v4l2_av1_global_motion>() - 4usize];
    ["Offset of field: v4l2_av1_global_motion::flags"]
        [::core::mem::offset_of!(v4l2_av1_global_motion, flags) - 0usize];
    ["Offset of field: v4l2_av1_global_motion::type_"]
        [::core::mem::offset_of!(v4l2_av1_global_motion, type_) - 8usize];
    ["Offset of field: v4l2_av1_global_motion::params"]
        [::core::mem::offset_of!(v4l2_av1_global_motion, params) - 40usize];
    ["Offset of field: v4l2_av1_global_motion::invalid"]
        [::core::mem::offset_of!(v4l2_av1_global_motion, invalid) - 232usize];
    ["Offset of field: v4l2_av1_global_motion::reserved"]
        [::core::mem::offset_of!(v4l2_av1_global_motion, reserved) - 233usize];
};
pub const V4L2_AV1_FRAME_RESTORE_NONE: v4l2_av1_frame_restoration_type = 0;
pub const V4L2_AV1_FRAME_RESTORE_WIENER: v4l2_av1_frame_restoration_type = 1;
pub const V4L2_AV1_FRAME_RESTORE_SGRPROJ: v4l2_av1_frame_restoration_type = 2;
pub const V4L2_AV1_FRAME_RESTORE_SWITCHABLE: v4l2_av1_frame_restoration_type = 3;
const _: () = {
    ["Size of v4l2_av1_loop_restoration"]
        [::core::mem::size_of::<v4l2_av1_loop_restoration>() - 28usize];
    ["Alignment of v4l2_av1_loop_restoration"]
        [::core::mem::align_of::<v4l2_av1_loop_restoration>() - 4usize];
    ["Offset of field: v4l2_av1_loop_restoration::flags"]
        [::core::mem::offset_of!(v4l2_av1_loop_restoration, flags) - 0usize];
    ["Offset of field: v4l2_av1_loop_restoration::lr_unit_shift"]
        [::core::mem::offset_of!(v4l2_av1_loop_restoration, lr_unit_shift) - 1usize];
    ["Offset of field: v4l2_av1_loop_restoration::lr_uv_shift"]
        [::core::mem::offset_of!(v4l2_av1_loop_restoration, lr_uv_shift) - 2usize];
    ["Offset of field: v4l2_av1_loop_restoration::reserved"]
        [::core::mem::offset_of!(v4l2_av1_loop_restoration, reserved) - 3usize];
    ["Offset of field: v4l2_av1_loop_restoration::frame_restoration_type"]
        [::core::mem::offset_of!(v4l2_av1_loop_restoration, frame_restoration_type) - 4usize];
    ["Offset of field: v4l2_av1_loop_restoration::loop_restoration_size"]
        [::core::mem::offset_of!(v4l2_av1_loop_restoration, loop_restoration_size) - 16usize];
};
const _: () = {
    ["Size of v4l2_av1_cdef"][::core::mem::size_of::<v4l2_av1_cdef>() - 34usize];
    ["Alignment of v4l2_av1_cdef"][::core::mem::align_of::<v4l2_av1_cdef>() - 1usize];
    ["Offset of field: v4l2_av1_cdef::damping_minus_3"]
        [::core::mem::offset_of!(v4l2_av1_cdef, damping_minus_3) - 0usize];
    ["Offset of field: v4l2_av1_cdef::bits"][::core::mem::offset_of!(v4l2_av1_cdef, bits) - 1usize];
    ["Offset of field: v4l2_av1_cdef::y_pri_strength"]
        [::core::mem::offset_of!(v4l2_av1_cdef, y_pri_strength) - 2usize];
    ["Offset of field: v4l2_av1_cdef::y_sec_strength"]
        [::core::mem::offset_of!(v4l2_av1_cdef, y_sec_strength) - 10usize];
    ["Offset of field: v4l2_av1_cdef::uv_pri_strength"]
        [::core::mem::offset_of!(v4l2_av1_cdef, uv_pri_strength) - 18usize];
    ["Offset of field: v4l2_av1_cdef::uv_sec_strength"]
        [::core::mem::offset_of!(v4l2_av1_cdef, uv_sec_strength) - 26usize];
};
const _: () = {
    ["Size of v4l2_av1_segmentation"][::core::mem::size_of::<v4l2_av1_segmentation>() - 138usize];
    ["Alignment of v4l2_av1_segmentation"]
        [::core::mem::align_of::<v4l2_av1_segmentation>() - 2usize];
    ["Offset of field: v4l2_av1_segmentation::flags"]
        [::core::mem::offset_of!(v4l2_av1_segmentation, flags) - 0usize];
    ["Offset of field: v4l2_av1_segmentation::last_active_seg_id"]
        [::core::mem::offset_of!(v4l2_av1_segmentation, last_active_seg_id) - 1usize];
    ["Offset of field: v4l2_av1_segmentation::feature_enabled"]
        [::core::mem::offset_of!(v4l2_av1_segmentation, feature_enabled) - 2usize];
    ["Offset of field: v4l2_av1_segmentation::feature_data"]
        [::core::mem::offset_of!(v4l2_av1_segmentation, feature_data) - 10usize];
};
const _: () = {
    ["Size of v4l2_av1_loop_filter"][::core::mem::size_of::<v4l2_av1_loop_filter>() - 17usize];
    ["Alignment of v4l2_av1_loop_filter"][::core::mem::align_of::<v4l2_av1_loop_filter>() - 1usize];
    ["Offset of field: v4l2_av1_loop_filter::flags"]
        [::core::mem::offset_of!(v4l2_av1_loop_filter, flags) - 0usize];
    ["Offset of field: v4l2_av1_loop_filter::level"]
        [::core::mem::offset_of!(v4l2_av1_loop_filter, level) - 1usize];
    ["Offset of field: v4l2_av1_loop_filter::sharpness"]
        [::core::mem::offset_of!(v4l2_av1_loop_filter, sharpness) - 5usize];
    ["Offset of field: v4l2_av1_loop_filter::ref_deltas"]
        [::core::mem::offset_of!(v4l2_av1_loop_filter, ref_deltas) - 6usize];
    ["Offset of field: v4l2_av1_loop_filter::mode_deltas"]
        [::core::mem::offset_of!(v4l2_av1_loop_filter, mode_deltas) - 14usize];
    ["Offset of field: v4l2_av1_loop_filter::delta_lf_res"]
        [::core::mem::offset_of!(v4l2_av1_loop_filter, delta_lf_res) - 16usize];
};
const _: () = {
    ["Size of v4l2_av1_quantization"][::core::mem::size_of::<v4l2_av1_quantization>() - 11usize];
    ["Alignment of v4l2_av1_quantization"]
        [::core::mem::align_of::<v4l2_av1_quantization>() - 1usize];
    ["Offset of field: v4l2_av1_quantization::flags"]
        [::core::mem::offset_of!(v4l2_av1_quantization, flags) - 0usize];
    ["Offset of field: v4l2_av1_quantization::base_q_idx"]
        [::core::mem::offset_of!(v4l2_av1_quantization, base_q_idx) - 1usize];
    ["Offset of field: v4l2_av1_quantization::delta_q_y_dc"]
        [::core::mem::offset_of!(v4l2_av1_quantization, delta_q_y_dc) - 2usize];
    ["Offset of field: v4l2_av1_quantization::delta_q_u_dc"]
        [::core::mem::offset_of!(v4l2_av1_quantization, delta_q_u_dc) - 3usize];
    ["Offset of field: v4l2_av1_quantization::delta_q_u_ac"]
        [::core::mem::offset_of!(v4l2_av1_quantization, delta_q_u_ac) - 4usize];
    ["Offset of field: v4l2_av1_quantization::delta_q_v_dc"]
        [::core::mem::offset_of!(v4l2_av1_quantization, delta_q_v_dc) - 5usize];
    ["Offset of field: v4l2_av1_quantization::delta_q_v_ac"]
        [::core::mem::offset_of!(v4l2_av1_quantization, delta_q_v_ac) - 6usize];
    ["Offset of field: v4l2_av1_quantization::qm_y"]
        [::core::mem::offset_of!(v4l2_av1_quantization, qm_y) - 7usize];
    ["Offset of field: v4l2_av1_quantization::qm_u"]
        [::core::mem::offset_of!(v4l2_av1_quantization, qm_u) - 8usize];
    ["Offset of field: v4l2_av1_quantization::qm_v"]
        [::core::mem::offset_of!(v4l2_av1_quantization, qm_v) - 9usize];
    ["Offset of field: v4l2_av1_quantization::delta_q_res"]
        [::core::mem::offset_of!(v4l2_av1_quantization, delta_q_res) - 10usize];
};
const _: () = {
    ["Size of v4l2_av1_tile_info"][::core::mem::size_of::<v4l2_av1_tile_info>() - 1040usize];
    ["Alignment of v4l2_av1_tile_info"][::core::mem::align_of::<v4l2_av1_tile_info>() - 4usize];
    ["Offset of field: v4l2_av1_tile_info::flags"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, flags) - 0usize];
    ["Offset of field: v4l2_av1_tile_info::context_update_tile_id"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, context_update_tile_id) - 1usize];
    ["Offset of field: v4l2_av1_tile_info::tile_cols"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, tile_cols) - 2usize];
    ["Offset of field: v4l2_av1_tile_info::tile_rows"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, tile_rows) - 3usize];
    ["Offset of field: v4l2_av1_tile_info::mi_col_starts"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, mi_col_starts) - 4usize];
    ["Offset of field: v4l2_av1_tile_info::mi_row_starts"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, mi_row_starts) - 264usize];
    ["Offset of field: v4l2_av1_tile_info::width_in_sbs_minus_1"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, width_in_sbs_minus_1) - 524usize];
    ["Offset of field: v4l2_av1_tile_info::height_in_sbs_minus_1"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, height_in_sbs_minus_1) - 780usize];
    ["Offset of field: v4l2_av1_tile_info::tile_size_bytes"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, tile_size_bytes) - 1036usize];
    ["Offset of field: v4l2_av1_tile_info::reserved"]
        [::core::mem::offset_of!(v4l2_av1_tile_info, reserved) - 1037usize];
};
pub const V4L2_AV1_KEY_FRAME: v4l2_av1_frame_type = 0;
pub const V4L2_AV1_INTER_FRAME: v4l2_av1_frame_type = 1;
pub const V4L2_AV1_INTRA_ONLY_FRAME: v4l2_av1_frame_type = 2;
pub const V4L2_AV1_SWITCH_FRAME: v4l2_av1_frame_type = 3;
pub const V4L2_AV1_INTERPOLATION_FILTER_EIGHTTAP: v4l2_av1_interpolation_filter = 0;
pub const V4L2_AV1_INTERPOLATION_FILTER_EIGHTTAP_SMOOTH: v4l2_av1_interpolation_filter = 1;
pub const V4L2_AV1_INTERPOLATION_FILTER_EIGHTTAP_SHARP: v4l2_av1_interpolation_filter = 2;
pub const V4L2_AV1_INTERPOLATION_FILTER_BILINEAR: v4l2_av1_interpolation_filter = 3;
pub const V4L2_AV1_INTERPOLATION_FILTER_SWITCHABLE: v4l2_av1_interpolation_filter = 4;
pub const V4L2_AV1_TX_MODE_ONLY_4X4: v4l2_av1_tx_mode = 0;
pub const V4L2_AV1_TX_MODE_LARGEST: v4l2_av1_tx_mode = 1;
pub const V4L2_AV1_TX_MODE_SELECT: v4l2_av1_tx_mode = 2;
const _: () = {
    ["Size of v4l2_ctrl_av1_frame"][::core::mem::size_of::<v4l2_ctrl_av1_frame>() - 1784usize];
    ["Alignment of v4l2_ctrl_av1_frame"][::core::mem::align_of::<v4l2_ctrl_av1_frame>() - 8usize];
    ["Offset of field: v4l2_ctrl_av1_frame::tile_info"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, tile_info) - 0usize];
    ["Offset of field: v4l2_ctrl_av1_frame::quantization"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, quantization) - 1040usize];
    ["Offset of field: v4l2_ctrl_av1_frame::superres_denom"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, superres_denom) - 1051usize];
    ["Offset of field: v4l2_ctrl_av1_frame::segmentation"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, segmentation) - 1052usize];
    ["Offset of field: v4l2_ctrl_av1_frame::loop_filter"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, loop_filter) - 1190usize];
    ["Offset of field: v4l2_ctrl_av1_frame::cdef"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, cdef) - 1207usize];
    ["Offset of field: v4l2_ctrl_av1_frame::skip_mode_frame"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, skip_mode_frame) - 1241usize];
    ["Offset of field: v4l2_ctrl_av1_frame::primary_ref_frame"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, primary_ref_frame) - 1243usize];
    ["Offset of field: v4l2_ctrl_av1_frame::loop_restoration"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, loop_restoration) - 1244usize];
    ["Offset of field: v4l2_ctrl_av1_frame::global_motion"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, global_motion) - 1272usize];
    ["Offset of field: v4l2_ctrl_av1_frame::flags"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, flags) - 1508usize];
    ["Offset of field: v4l2_ctrl_av1_frame::frame_type"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, frame_type) - 1512usize];
    ["Offset of field: v4l2_ctrl_av1_frame::order_hint"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, order_hint) - 1516usize];
    ["Offset of field: v4l2_ctrl_av1_frame::upscaled_width"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, upscaled_width) - 1520usize];
    ["Offset of field: v4l2_ctrl_av1_frame::interpolation_filter"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, interpolation_filter) - 1524usize];
    ["Offset of field: v4l2_ctrl_av1_frame::tx_mode"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, tx_mode) - 1528usize];
    ["Offset of field: v4l2_ctrl_av1_frame::frame_width_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, frame_width_minus_1) - 1532usize];
    ["Offset of field: v4l2_ctrl_av1_frame::frame_height_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, frame_height_minus_1) - 1536usize];
    ["Offset of field: v4l2_ctrl_av1_frame::render_width_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, render_width_minus_1) - 1540usize];
    ["Offset of field: v4l2_ctrl_av1_frame::render_height_minus_1"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, render_height_minus_1) - 1542usize];
    ["Offset of field: v4l2_ctrl_av1_frame::current_frame_id"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, current_frame_id) - 1544usize];
    ["Offset of field: v4l2_ctrl_av1_frame::buffer_removal_time"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, buffer_removal_time) - 1548usize];
    ["Offset of field: v4l2_ctrl_av1_frame::reserved"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, reserved) - 1676usize];
    ["Offset of field: v4l2_ctrl_av1_frame::order_hints"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, order_hints) - 1680usize];
    ["Offset of field: v4l2_ctrl_av1_frame::reference_frame_ts"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, reference_frame_ts) - 1712usize];
    ["Offset of field: v4l2_ctrl_av1_frame::ref_frame_idx"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, ref_frame_idx) - 1776usize];
    ["Offset of field: v4l2_ctrl_av1_frame::refresh_frame_flags"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_frame, refresh_frame_flags) - 1783usize];
};
const _: () = {
    ["Size of v4l2_ctrl_av1_film_grain"]
        [::core::mem::size_of::<v4l2_ctrl_av1_film_grain>() - 194usize];
    ["Alignment of v4l2_ctrl_av1_film_grain"]
        [::core::mem::align_of::<v4l2_ctrl_av1_film_grain>() - 2usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::flags"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, flags) - 0usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::cr_mult"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, cr_mult) - 1usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::grain_seed"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, grain_seed) - 2usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::film_grain_params_ref_idx"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, film_grain_params_ref_idx) - 4usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::num_y_points"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, num_y_points) - 5usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::point_y_value"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, point_y_value) - 6usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::point_y_scaling"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, point_y_scaling) - 22usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::num_cb_points"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, num_cb_points) - 38usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::point_cb_value"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, point_cb_value) - 39usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::point_cb_scaling"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, point_cb_scaling) - 55usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::num_cr_points"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, num_cr_points) - 71usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::point_cr_value"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, point_cr_value) - 72usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::point_cr_scaling"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, point_cr_scaling) - 88usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::grain_scaling_minus_8"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, grain_scaling_minus_8) - 104usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::ar_coeff_lag"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, ar_coeff_lag) - 105usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::ar_coeffs_y_plus_128"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, ar_coeffs_y_plus_128) - 106usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::ar_coeffs_cb_plus_128"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, ar_coeffs_cb_plus_128) - 131usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::ar_coeffs_cr_plus_128"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, ar_coeffs_cr_plus_128) - 156usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::ar_coeff_shift_minus_6"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, ar_coeff_shift_minus_6) - 181usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::grain_scale_shift"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, grain_scale_shift) - 182usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::cb_mult"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, cb_mult) - 183usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::cb_luma_mult"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, cb_luma_mult) - 184usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::cr_luma_mult"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, cr_luma_mult) - 185usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::cb_offset"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, cb_offset) - 186usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::cr_offset"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, cr_offset) - 188usize];
    ["Offset of field: v4l2_ctrl_av1_film_grain::reserved"]
        [::core::mem::offset_of!(v4l2_ctrl_av1_film_grain, reserved) - 190usize];
};
pub const V4L2_FIELD_ANY: v4l2_field = 0;
pub const V4L2_FIELD_NONE: v4l2_field = 1;
pub const V4L2_FIELD_TOP: v4l2_field = 2;
pub const V4L2_FIELD_BOTTOM: v4l2_field = 3;
pub const V4L2_FIELD_INTERLACED: v4l2_field = 4;
pub const V4L2_FIELD_SEQ_TB: v4l2_field = 5;
pub const V4L2_FIELD_SEQ_BT: v4l2_field = 6;
pub const V4L2_FIELD_ALTERNATE: v4l2_field = 7;
pub const V4L2_FIELD_INTERLACED_TB: v4l2_field = 8;
pub const V4L2_FIELD_INTERLACED_BT: v4l2_field = 9;
pub const V4L2_BUF_TYPE_VIDEO_CAPTURE: v4l2_buf_type = 1;
pub const V4L2_BUF_TYPE_VIDEO_OUTPUT: v4l2_buf_type = 2;
pub const V4L2_BUF_TYPE_VIDEO_OVERLAY: v4l2_buf_type = 3;
pub const V4L2_BUF_TYPE_VBI_CAPTURE: v4l2_buf_type = 4;
pub const V4L2_BUF_TYPE_VBI_OUTPUT: v4l2_buf_type = 5;
pub const V4L2_BUF_TYPE_SLICED_VBI_CAPTURE: v4l2_buf_type = 6;
pub const V4L2_BUF_TYPE_SLICED_VBI_OUTPUT: v4l2_buf_type = 7;
pub const V4L2_BUF_TYPE_VIDEO_OUTPUT_OVERLAY: v4l2_buf_type = 8;
pub const V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE: v4l2_buf_type = 9;
pub const V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE: v4l2_buf_type = 10;
pub const V4L2_BUF_TYPE_SDR_CAPTURE: v4l2_buf_type = 11;
pub const V4L2_BUF_TYPE_SDR_OUTPUT: v4l2_buf_type = 12;
pub const V4L2_BUF_TYPE_META_CAPTURE: v4l2_buf_type = 13;
pub const V4L2_BUF_TYPE_META_OUTPUT: v4l2_buf_type = 14;
pub const V4L2_BUF_TYPE_PRIVATE: v4l2_buf_type = 128;
pub const V4L2_MEMORY_MMAP: v4l2_memory = 1;
pub const V4L2_MEMORY_USERPTR: v4l2_memory = 2;
pub const V4L2_MEMORY_OVERLAY: v4l2_memory = 3;
pub const V4L2_MEMORY_DMABUF: v4l2_memory = 4;
pub const V4L2_COLORSPACE_DEFAULT: v4l2_colorspace = 0;
pub const V4L2_COLORSPACE_SMPTE170M: v4l2_colorspace = 1;
pub const V4L2_COLORSPACE_SMPTE240M: v4l2_colorspace = 2;
pub const V4L2_COLORSPACE_REC709: v4l2_colorspace = 3;
pub const V4L2_COLORSPACE_BT878: v4l2_colorspace = 4;
pub const V4L2_COLORSPACE_470_SYSTEM_M: v4l2_colorspace = 5;
pub const V4L2_COLORSPACE_470_SYSTEM_BG: v4l2_colorspace = 6;
pub const V4L2_COLORSPACE_JPEG: v4l2_colorspace = 7;
pub const V4L2_COLORSPACE_SRGB: v4l2_colorspace = 8;
pub const V4L2_COLORSPACE_OPRGB: v4l2_colorspace = 9;
pub const V4L2_COLORSPACE_BT2020: v4l2_colorspace = 10;
pub const V4L2_COLORSPACE_RAW: v4l2_colorspace = 11;
pub const V4L2_COLORSPACE_DCI_P3: v4l2_colorspace = 12;
pub const V4L2_XFER_FUNC_DEFAULT: v4l2_xfer_func = 0;
pub const V4L2_XFER_FUNC_709: v4l2_xfer_func = 1;
pub const V4L2_XFER_FUNC_SRGB: v4l2_xfer_func = 2;
pub const V4L2_XFER_FUNC_OPRGB: v4l2_xfer_func = 3;
pub const V4L2_XFER_FUNC_SMPTE240M: v4l2_xfer_func = 4;
pub const V4L2_XFER_FUNC_NONE: v4l2_xfer_func = 5;
pub const V4L2_XFER_FUNC_DCI_P3: v4l2_xfer_func = 6;
pub const V4L2_XFER_FUNC_SMPTE2084: v4l2_xfer_func = 7;
pub const V4L2_YCBCR_ENC_DEFAULT: v4l2_ycbcr_encoding = 0;
pub const V4L2_YCBCR_ENC_601: v4l2_ycbcr_encoding = 1;
pub const V4L2_YCBCR_ENC_709: v4l2_ycbcr_encoding = 2;
pub const V4L2_YCBCR_ENC_XV601: v4l2_ycbcr_encoding = 3;
pub const V4L2_YCBCR_ENC_XV709: v4l2_ycbcr_encoding = 4;
pub const V4L2_YCBCR_ENC_SYCC: v4l2_ycbcr_encoding = 5;
pub const V4L2_YCBCR_ENC_BT2020: v4l2_ycbcr_encoding = 6;
pub const V4L2_YCBCR_ENC_BT2020_CONST_LUM: v4l2_ycbcr_encoding = 7;
pub const V4L2_YCBCR_ENC_SMPTE240M: v4l2_ycbcr_encoding = 8;
pub const V4L2_QUANTIZATION_DEFAULT: v4l2_quantization = 0;
pub const V4L2_QUANTIZATION_FULL_RANGE: v4l2_quantization = 1;
pub const V4L2_QUANTIZATION_LIM_RANGE: v4l2_quantization = 2;
pub const V4L2_PRIORITY_UNSET: v4l2_priority = 0;
pub const V4L2_PRIORITY_BACKGROUND: v4l2_priority = 1;
pub const V4L2_PRIORITY_INTERACTIVE: v4l2_priority = 2;
pub const V4L2_PRIORITY_RECORD: v4l2_priority = 3;
pub const V4L2_PRIORITY_DEFAULT: v4l2_priority = 2;
const _: () = {
    ["Size of v4l2_rect"][::core::mem::size_of::<v4l2_rect>() - 16usize];
    ["Alignment of v4l2_rect"][::core::mem::align_of::<v4l2_rect>() - 4usize];
    ["Offset of field: v4l2_rect::left"][::core::mem::offset_of!(v4l2_rect, left) - 0usize];
    ["Offset of field: v4l2_rect::top"][::core::mem::offset_of!(v4l2_rect, top) - 4usize];
    ["Offset of field: v4l2_rect::width"][::core::mem::offset_of!(v4l2_rect, width) - 8usize];
    ["Offset of field: v4l2_rect::height"][::core::mem::offset_of!(v4l2_rect, height) - 12usize];
};
const _: () = {
    ["Size of v4l2_fract"][::core::mem::size_of::<v4l2_fract>() - 8usize];
    ["Alignment of v4l2_fract"][::core::mem::align_of::<v4l2_fract>() - 4usize];
    ["Offset of field: v4l2_fract::numerator"]
        [::core::mem::offset_of!(v4l2_fract, numerator) - 0usize];
    ["Offset of field: v4l2_fract::denominator"]
        [::core::mem::offset_of!(v4l2_fract, denominator) - 4usize];
};
const _: () = {
    ["Size of v4l2_area"][::core::mem::size_of::<v4l2_area>() - 8usize];
    ["Alignment of v4l2_area"][::core::mem::align_of::<v4l2_area>() - 4usize];
    ["Offset of field: v4l2_area::width"][::core::mem::offset_of!(v4l2_area, width) - 0usize];
    ["Offset of field: v4l2_area::height"][::core::mem::offset_of!(v4l2_area, height) - 4usize];
};
const _: () = {
    ["Size of v4l2_capability"][::core::mem::size_of::<v4l2_capability>() - 104usize];
    ["Alignment of v4l2_capability"][::core::mem::align_of::<v4l2_capability>() - 4usize];
    ["Offset of field: v4l2_capability::driver"]
        [::core::mem::offset_of!(v4l2_capability, driver) - 0usize];
    ["Offset of field: v4l2_capability::card"]
        [::core::mem::offset_of!(v4l2_capability, card) - 16usize];
    ["Offset of field: v4l2_capability::bus_info"]
        [::core::mem::offset_of!(v4l2_capability, bus_info) - 48usize];
    ["Offset of field: v4l2_capability::version"]
        [::core::mem::offset_of!(v4l2_capability, version) - 80usize];
    ["Offset of field: v4l2_capability::capabilities"]
        [::core::mem::offset_of!(v4l2_capability, capabilities) - 84usize];
    ["Offset of field: v4l2_capability::device_caps"]
        [::core::mem::offset_of!(v4l2_capability, device_caps) - 88usize];
    ["Offset of field: v4l2_capability::reserved"]
        [::core::mem::offset_of!(v4l2_capability, reserved) - 92usize];
};
const _: () = {
    ["Size of v4l2_pix_format__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_pix_format__bindgen_ty_1>() - 4usize];
    ["Alignment of v4l2_pix_format__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_pix_format__bindgen_ty_1>() - 4usize];
    ["Offset of field: v4l2_pix_format__bindgen_ty_1::ycbcr_enc"]
        [::core::mem::offset_of!(v4l2_pix_format__bindgen_ty_1, ycbcr_enc) - 0usize];
    ["Offset of field: v4l2_pix_format__bindgen_ty_1::hsv_enc"]
        [::core::mem::offset_of!(v4l2_pix_format__bindgen_ty_1, hsv_enc) - 0usize];
};
const _: () = {
    ["Size of v4l2_pix_format"][::core::mem::size_of::<v4l2_pix_format>() - 48usize];
    ["Alignment of v4l2_pix_format"][::core::mem::align_of::<v4l2_pix_format>() - 4usize];
    ["Offset of field: v4l2_pix_format::width"]
        [::core::mem::offset_of!(v4l2_pix_format, width) - 0usize];
    ["Offset of field: v4l2_pix_format::height"]
        [::core::mem::offset_of!(v4l2_pix_format, height) - 4usize];
    ["Offset of field: v4l2_pix_format::pixelformat"]
        [::core::mem::offset_of!(v4l2_pix_format, pixelformat) - 8usize];
    ["Offset of field: v4l2_pix_format::field"]
        [::core::mem::offset_of!(v4l2_pix_format, field) - 12usize];
    ["Offset of field: v4l2_pix_format::bytesperline"]
        [::core::mem::offset_of!(v4l2_pix_format, bytesperline) - 16usize];
    ["Offset of field: v4l2_pix_format::sizeimage"]
        [::core::mem::offset_of!(v4l2_pix_format, sizeimage) - 20usize];
    ["Offset of field: v4l2_pix_format::colorspace"]
        [::core::mem::offset_of!(v4l2_pix_format, colorspace) - 24usize];
    ["Offset of field: v4l2_pix_format::priv_"]
        [::core::mem::offset_of!(v4l2_pix_format, priv_) - 28usize];
    ["Offset of field: v4l2_pix_format::flags"]
        [::core::mem::offset_of!(v4l2_pix_format, flags) - 32usize];
    ["Offset of field: v4l2_pix_format::quantization"]
        [::core::mem::offset_of!(v4l2_pix_format, quantization) - 40usize];
    ["Offset of field: v4l2_pix_format::xfer_func"]
        [::core::mem::offset_of!(v4l2_pix_format, xfer_func) - 44usize];
};
const _: () = {
    ["Size of v4l2_fmtdesc"][::core::mem::size_of::<v4l2_fmtdesc>() - 64usize];
    ["Alignment of v4l2_fmtdesc"][::core::mem::align_of::<v4l2_fmtdesc>() - 4usize];
    ["Offset of field: v4l2_fmtdesc::index"][::core::mem::offset_of!(v4l2_fmtdesc, index) - 0usize];
    ["Offset of field: v4l2_fmtdesc::type_"][::core::mem::offset_of!(v4l2_fmtdesc, type_) - 4usize];
    ["Offset of field: v4l2_fmtdesc::flags"][::core::mem::offset_of!(v4l2_fmtdesc, flags) - 8usize];
    ["Offset of field: v4l2_fmtdesc::description"]
        [::core::mem::offset_of!(v4l2_fmtdesc, description) - 12usize];
    ["Offset of field: v4l2_fmtdesc::pixelformat"]
        [::core::mem::offset_of!(v4l2_fmtdesc, pixelformat) - 44usize];
    ["Offset of field: v4l2_fmtdesc::mbus_code"]
        [::core::mem::offset_of!(v4l2_fmtdesc, mbus_code) - 48usize];
    ["Offset of field: v4l2_fmtdesc::reserved"]
        [::core::mem::offset_of!(v4l2_fmtdesc, reserved) - 52usize];
};
pub const V4L2_FRMSIZE_TYPE_DISCRETE: v4l2_frmsizetypes = 1;
pub const V4L2_FRMSIZE_TYPE_CONTINUOUS: v4l2_frmsizetypes = 2;
pub const V4L2_FRMSIZE_TYPE_STEPWISE: v4l2_frmsizetypes = 3;
const _: () = {
    ["Size of v4l2_frmsize_discrete"][::core::mem::size_of::<v4l2_frmsize_discrete>() - 8usize];
    ["Alignment of v4l2_frmsize_discrete"]
        [::core::mem::align_of::<v4l2_frmsize_discrete>() - 4usize];
    ["Offset of field: v4l2_frmsize_discrete::width"]
        [::core::mem::offset_of!(v4l2_frmsize_discrete, width) - 0usize];
    ["Offset of field: v4l2_frmsize_discrete::height"]
        [::core::mem::offset_of!(v4l2_frmsize_discrete, height) - 4usize];
};
const _: () = {
    ["Size of v4l2_frmsize_stepwise"][::core::mem::size_of::<v4l2_frmsize_stepwise>() - 24usize];
    ["Alignment of v4l2_frmsize_stepwise"]
        [::core::mem::align_of::<v4l2_frmsize_stepwise>() - 4usize];
    ["Offset of field: v4l2_frmsize_stepwise::min_width"]
        [::core::mem::offset_of!(v4l2_frmsize_stepwise, min_width) - 0usize];
    ["Offset of field: v4l2_frmsize_stepwise::max_width"]
        [::core::mem::offset_of!(v4l2_frmsize_stepwise, max_width) - 4usize];
    ["Offset of field: v4l2_frmsize_stepwise::step_width"]
        [::core::mem::offset_of!(v4l2_frmsize_stepwise, step_width) - 8usize];
    ["Offset of field: v4l2_frmsize_stepwise::min_height"]
        [::core::mem::offset_of!(v4l2_frmsize_stepwise, min_height) - 12usize];
    ["Offset of field: v4l2_frmsize_stepwise::max_height"]
        [::core::mem::offset_of!(v4l2_frmsize_stepwise, max_height) - 16usize];
    ["Offset of field: v4l2_frmsize_stepwise::step_height"]
        [::core::mem::offset_of!(v4l2_frmsize_stepwise, step_height) - 20usize];
};
const _: () = {
    ["Size of v4l2_frmsizeenum__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_frmsizeenum__bindgen_ty_1>() - 24usize];
    ["Alignment of v4l2_frmsizeenum__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_frmsizeenum__bindgen_ty_1>() - 4usize];
    ["Offset of field: v4l2_frmsizeenum__bindgen_ty_1::discrete"]
        [::core::mem::offset_of!(v4l2_frmsizeenum__bindgen_ty_1, discrete) - 0usize];
    ["Offset of field: v4l2_frmsizeenum__bindgen_ty_1::stepwise"]
        [::core::mem::offset_of!(v4l2_frmsizeenum__bindgen_ty_1, stepwise) - 0usize];
};
const _: () = {
    ["Size of v4l2_frmsizeenum"][::core::mem::size_of::<v4l2_frmsizeenum>() - 44usize];
    ["Alignment of v4l2_frmsizeenum"][::core::mem::align_of::<v4l2_frmsizeenum>() - 4usize];
    ["Offset of field: v4l2_frmsizeenum::index"]
        [::core::mem::offset_of!(v4l2_frmsizeenum, index) - 0usize];
    ["Offset of field: v4l2_frmsizeenum::pixel_format"]
        [::core::mem::offset_of!(v4l2_frmsizeenum, pixel_format) - 4usize];
    ["Offset of field: v4l2_frmsizeenum::type_"]
        [::core::mem::offset_of!(v4l2_frmsizeenum, type_) - 8usize];
    ["Offset of field: v4l2_frmsizeenum::reserved"]
        [::core::mem::offset_of!(v4l2_frmsizeenum, reserved) - 36usize];
};
pub const V4L2_FRMIVAL_TYPE_DISCRETE: v4l2_frmivaltypes = 1;
pub const V4L2_FRMIVAL_TYPE_CONTINUOUS: v4l2_frmivaltypes = 2;
pub const V4L2_FRMIVAL_TYPE_STEPWISE: v4l2_frmivaltypes = 3;
const _: () = {
    ["Size of v4l2_frmival_stepwise"][::core::mem::size_of::<v4l2_frmival_stepwise>() - 24usize];
    ["Alignment of v4l2_frmival_stepwise"]
        [::core::mem::align_of::<v4l2_frmival_stepwise>() - 4usize];
    ["Offset of field: v4l2_frmival_stepwise::min"]
        [::core::mem::offset_of!(v4l2_frmival_stepwise, min) - 0usize];
    ["Offset of field: v4l2_frmival_stepwise::max"]
        [::core::mem::offset_of!(v4l2_frmival_stepwise, max) - 8usize];
    ["Offset of field: v4l2_frmival_stepwise::step"]
        [::core::mem::offset_of!(v4l2_frmival_stepwise, step) - 16usize];
};
const _: () = {
    ["Size of v4l2_frmivalenum__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_frmivalenum__bindgen_ty_1>() - 24usize];
    ["Alignment of v4l2_frmivalenum__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_frmivalenum__bindgen_ty_1>() - 4usize];
    ["Offset of field: v4l2_frmivalenum__bindgen_ty_1::discrete"]
        [::core::mem::offset_of!(v4l2_frmivalenum__bindgen_ty_1, discrete) - 0usize];
    ["Offset of field: v4l2_frmivalenum__bindgen_ty_1::stepwise"]
        [::core::mem::offset_of!(v4l2_frmivalenum__bindgen_ty_1, stepwise) - 0usize];
};
const _: () = {
    ["Size of v4l2_frmivalenum"][::core::mem::size_of::<v4l2_frmivalenum>() - 52usize];
    ["Alignment of v4l2_frmivalenum"][::core::mem::align_of::<v4l2_frmivalenum>() - 4usize];
    ["Offset of field: v4l2_frmivalenum::index"]
        [::core::mem::offset_of!(v4l2_frmivalenum, index) - 0usize];
    ["Offset of field: v4l2_frmivalenum::pixel_format"]
        [::core::mem::offset_of!(v4l2_frmivalenum, pixel_format) - 4usize];
    ["Offset of field: v4l2_frmivalenum::width"]
        [::core::mem::offset_of!(v4l2_frmivalenum, width) - 8usize];
    ["Offset of field: v4l2_frmivalenum::height"]
        [::core::mem::offset_of!(v4l2_frmivalenum, height) - 12usize];
    ["Offset of field: v4l2_frmivalenum::type_"]
        [::core::mem::offset_of!(v4l2_frmivalenum, type_) - 16usize];
    ["Offset of field: v4l2_frmivalenum::reserved"]
        [::core::mem::offset_of!(v4l2_frmivalenum, reserved) - 44usize];
};
const _: () = {
    ["Size of v4l2_timecode"][::core::mem::size_of::<v4l2_timecode>() - 16usize];
    ["Alignment of v4l2_timecode"][::core::mem::align_of::<v4l2_timecode>() - 4usize];
    ["Offset of field: v4l2_timecode::type_"]
        [::core::mem::offset_of!(v4l2_timecode, type_) - 0usize];
    ["Offset of field: v4l2_timecode::flags"]
        [::core::mem::offset_of!(v4l2_timecode, flags) - 4usize];
    ["Offset of field: v4l2_timecode::frames"]
        [::core::mem::offset_of!(v4l2_timecode, frames) - 8usize];
    ["Offset of field: v4l2_timecode::seconds"]
        [::core::mem::offset_of!(v4l2_timecode, seconds) - 9usize];
    ["Offset of field: v4l2_timecode::minutes"]
        [::core::mem::offset_of!(v4l2_timecode, minutes) - 10usize];
    ["Offset of field: v4l2_timecode::hours"]
        [::core::mem::offset_of!(v4l2_timecode, hours) - 11usize];
    ["Offset of field: v4l2_timecode::userbits"]
        [::core::mem::offset_of!(v4l2_timecode, userbits) - 12usize];
};
const _: () = {
    ["Size of v4l2_requestbuffers"][::core::mem::size_of::<v4l2_requestbuffers>() - 20usize];
    ["Alignment of v4l2_requestbuffers"][::core::mem::align_of::<v4l2_requestbuffers>() - 4usize];
    ["Offset of field: v4l2_requestbuffers::count"]
        [::core::mem::offset_of!(v4l2_requestbuffers, count) - 0usize];
    ["Offset of field: v4l2_requestbuffers::type_"]
        [::core::mem::offset_of!(v4l2_requestbuffers, type_) - 4usize];
    ["Offset of field: v4l2_requestbuffers::memory"]
        [::core::mem::offset_of!(v4l2_requestbuffers, memory) - 8usize];
    ["Offset of field: v4l2_requestbuffers::capabilities"]
        [::core::mem::offset_of!(v4l2_requestbuffers, capabilities) - 12usize];
    ["Offset of field: v4l2_requestbuffers::flags"]
        [::core::mem::offset_of!(v4l2_requestbuffers, flags) - 16usize];
    ["Offset of field: v4l2_requestbuffers::reserved"]
        [::core::mem::offset_of!(v4l2_requestbuffers, reserved) - 17usize];
};
const _: () = {
    ["Size of v4l2_plane__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_plane__bindgen_ty_1>() - 8usize];
    ["Alignment of v4l2_plane__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_plane__bindgen_ty_1>() - 8usize];
    ["Offset of field: v4l2_plane__bindgen_ty_1::mem_offset"]
        [::core::mem::offset_of!(v4l2_plane__bindgen_ty_1, mem_offset) - 0usize];
    ["Offset of field: v4l2_plane__bindgen_ty_1::userptr"]
        [::core::mem::offset_of!(v4l2_plane__bindgen_ty_1, userptr) - 0usize];
    ["Offset of field: v4l2_plane__bindgen_ty_1::fd"]
        [::core::mem::offset_of!(v4l2_plane__bindgen_ty_1, fd) - 0usize];
};
const _: () = {
    ["Size of v4l2_plane"][::core::mem::size_of::<v4l2_plane>() - 64usize];
    ["Alignment of v4l2_plane"][::core::mem::align_of::<v4l2_plane>() - 8usize];
    ["Offset of field: v4l2_plane::bytesused"]
        [::core::mem::offset_of!(v4l2_plane, bytesused) - 0usize];
    ["Offset of field: v4l2_plane::length"][::core::mem::offset_of!(v4l2_plane, length) - 4usize];
    ["Offset of field: v4l2_plane::m"][::core::mem::offset_of!(v4l2_plane, m) - 8usize];
    ["Offset of field: v4l2_plane::data_offset"]
        [::core::mem::offset_of!(v4l2_plane, data_offset) - 16usize];
    ["Offset of field: v4l2_plane::reserved"]
        [::core::mem::offset_of!(v4l2_plane, reserved) - 20usize];
};
const _: () = {
    ["Size of v4l2_buffer__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_buffer__bindgen_ty_1>() - 8usize];
    ["Alignment of v4l2_buffer__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_buffer__bindgen_ty_1>() - 8usize];
    ["Offset of field: v4l2_buffer__bindgen_ty_1::offset"]
        [::core::mem::offset_of!(v4l2_buffer__bindgen_ty_1, offset) - 0usize];
    ["Offset of field: v4l2_buffer__bindgen_ty_1::userptr"]
        [::core::mem::offset_of!(v4l2_buffer__bindgen_ty_1, userptr) - 0usize];
    ["Offset of field: v4l2_buffer__bindgen_ty_1::planes"]
        [::core::mem::offset_of!(v4l2_buffer__bindgen_ty_1, planes) - 0usize];
    ["Offset of field: v4l2_buffer__bindgen_ty_1::fd"]
        [::core::mem::offset_of!(v4l2_buffer__bindgen_ty_1, fd) - 0usize];
};
const _: () = {
    ["Size of v4l2_buffer__bindgen_ty_2"]
        [::core::mem::size_of::<v4l2_buffer__bindgen_ty_2>() - 4usize];
    ["Alignment of v4l2_buffer__bindgen_ty_2"]
        [::core::mem::align_of::<v4l2_buffer__bindgen_ty_2>() - 4usize];
    ["Offset of field: v4l2_buffer__bindgen_ty_2::request_fd"]
        [::core::mem::offset_of!(v4l2_buffer__bindgen_ty_2, request_fd) - 0usize];
    ["Offset of field: v4l2_buffer__bindgen_ty_2::reserved"]
        [::core::mem::offset_of!(v4l2_buffer__bindgen_ty_2, reserved) - 0usize];
};
const _: () = {
    ["Size of v4l2_buffer"][::core::mem::size_of::<v4l2_buffer>() - 88usize];
    ["Alignment of v4l2_buffer"][::core::mem::align_of::<v4l2_buffer>() - 8usize];
    ["Offset of field: v4l2_buffer::index"][::core::mem::offset_of!(v4l2_buffer, index) - 0usize];
    ["Offset of field: v4l2_buffer::type_"][::core::mem::offset_of!(v4l2_buffer, type_) - 4usize];
    ["Offset of field: v4l2_buffer::bytesused"]
        [::core::mem::offset_of!(v4l2_buffer, bytesused) - 8usize];
    ["Offset of field: v4l2_buffer::flags"][::core::mem::offset_of!(v4l2_buffer, flags) - 12usize];
    ["Offset of field: v4l2_buffer::field"][::core::mem::offset_of!(v4l2_buffer, field) - 16usize];
    ["Offset of field: v4l2_buffer::timestamp"]
        [::core::mem::offset_of!(v4l2_buffer, timestamp) - 24usize];
    ["Offset of field: v4l2_buffer::timecode"]
        [::core::mem::offset_of!(v4l2_buffer, timecode) - 40usize];
    ["Offset of field: v4l2_buffer::sequence"]
        [::core::mem::offset_of!(v4l2_buffer, sequence) - 56usize];
    ["Offset of field: v4l2_buffer::memory"]
        [::core::mem::offset_of!(v4l2_buffer, memory) - 60usize];
    ["Offset of field: v4l2_buffer::m"][::core::mem::offset_of!(v4l2_buffer, m) - 64usize];
    ["Offset of field: v4l2_buffer::length"]
        [::core::mem::offset_of!(v4l2_buffer, length) - 72usize];
    ["Offset of field: v4l2_buffer::reserved2"]
        [::core::mem::offset_of!(v4l2_buffer, reserved2) - 76usize];
};
const _: () = {
    ["Size of v4l2_exportbuffer"][::core::mem::size_of::<v4l2_exportbuffer>() - 64usize];
    ["Alignment of v4l2_exportbuffer"][::core::mem::align_of::<v4l2_exportbuffer>() - 4usize];
    ["Offset of field: v4l2_exportbuffer::type_"]
        [::core::mem::offset_of!(v4l2_exportbuffer, type_) - 0usize];
    ["Offset of field: v4l2_exportbuffer::index"]
        [::core::mem::offset_of!(v4l2_exportbuffer, index) - 4usize];
    ["Offset of field: v4l2_exportbuffer::plane"]
        [::core::mem::offset_of!(v4l2_exportbuffer, plane) - 8usize];
    ["Offset of field: v4l2_exportbuffer::flags"]
        [::core::mem::offset_of!(v4l2_exportbuffer, flags) - 12usize];
    ["Offset of field: v4l2_exportbuffer::fd"]
        [::core::mem::offset_of!(v4l2_exportbuffer, fd) - 16usize];
    ["Offset of field: v4l2_exportbuffer::reserved"]
        [::core::mem::offset_of!(v4l2_exportbuffer, reserved) - 20usize];
};
const _: () = {
    ["Size of v4l2_clip"][::core::mem::size_of::<v4l2_clip>() - 24usize];
    ["Alignment of v4l2_clip"][::core::mem::align_of::<v4l2_clip>() - 8usize];
    ["Offset of field: v4l2_clip::c"][::core::mem::offset_of!(v4l2_clip, c) - 0usize];
    ["Offset of field: v4l2_clip::next"][::core::mem::offset_of!(v4l2_clip, next) - 16usize];
};
const _: () = {
    ["Size of v4l2_window"][::core::mem::size_of::<v4l2_window>() - 56usize];
    ["Alignment of v4l2_window"][::core::mem::align_of::<v4l2_window>() - 8usize];
    ["Offset of field: v4l2_window::w"][::core::mem::offset_of!(v4l2_window, w) - 0usize];
    ["Offset of field: v4l2_window::field"][::core::mem::offset_of!(v4l2_window, field) - 16usize];
    ["Offset of field: v4l2_window::chromakey"]
        [::core::mem::offset_of!(v4l2_window, chromakey) - 20usize];
    ["Offset of field: v4l2_window::clips"][::core::mem::offset_of!(v4l2_window, clips) - 24usize];
    ["Offset of field: v4l2_window::clipcount"]
        [::core::mem::offset_of!(v4l2_window, clipcount) - 32usize];
    ["Offset of field: v4l2_window::bitmap"]
        [::core::mem::offset_of!(v4l2_window, bitmap) - 40usize];
    ["Offset of field: v4l2_window::global_alpha"]
        [::core::mem::offset_of!(v4l2_window, global_alpha) - 48usize];
};
const _: () = {
    ["Size of v4l2_captureparm"][::core::mem::size_of::<v4l2_captureparm>() - 40usize];
    ["Alignment of v4l2_captureparm"][::core::mem::align_of::<v4l2_captureparm>() - 4usize];
    ["Offset of field: v4l2_captureparm::capability"]
        [::core::mem::offset_of!(v4l2_captureparm, capability) - 0usize];
    ["Offset of field: v4l2_captureparm::capturemode"]
        [::core::mem::offset_of!(v4l2_captureparm, capturemode) - 4usize];
    ["Offset of field: v4l2_captureparm::timeperframe"]
        [::core::mem::offset_of!(v4l2_captureparm, timeperframe) - 8usize];
    ["Offset of field: v4l2_captureparm::extendedmode"]
        [::core::mem::offset_of!(v4l2_captureparm, extendedmode) - 16usize];
    ["Offset of field: v4l2_captureparm::readbuffers"]
        [::core::mem::offset_of!(v4l2_captureparm, readbuffers) - 20usize];
    ["Offset of field: v4l2_captureparm::reserved"]
        [::core::mem::offset_of!(v4l2_captureparm, reserved) - 24usize];
};
const _: () = {
    ["Size of v4l2_outputparm"][::core::mem::size_of::<v4l2_outputparm>() - 40usize];
    ["Alignment of v4l2_outputparm"][::core::mem::align_of::<v4l2_outputparm>() - 4usize];
    ["Offset of field: v4l2_outputparm::capability"]
        [::core::mem::offset_of!(v4l2_outputparm, capability) - 0usize];
    ["Offset of field: v4l2_outputparm::outputmode"]
        [::core::mem::offset_of!(v4l2_outputparm, outputmode) - 4usize];
    ["Offset of field: v4l2_outputparm::timeperframe"]
        [::core::mem::offset_of!(v4l2_outputparm, timeperframe) - 8usize];
    ["Offset of field: v4l2_outputparm::extendedmode"]
        [::core::mem::offset_of!(v4l2_outputparm, extendedmode) - 16usize];
    ["Offset of field: v4l2_outputparm::writebuffers"]
        [::core::mem::offset_of!(v4l2_outputparm, writebuffers) - 20usize];
    ["Offset of field: v4l2_outputparm::reserved"]
        [::core::mem::offset_of!(v4l2_outputparm, reserved) - 24usize];
};
const _: () = {
    ["Size of v4l2_cropcap"][::core::mem::size_of::<v4l2_cropcap>() - 44usize];
    ["Alignment of v4l2_cropcap"][::core::mem::align_of::<v4l2_cropcap>() - 4usize];
    ["Offset of field: v4l2_cropcap::type_"][::core::mem::offset_of!(v4l2_cropcap, type_) - 0usize];
    ["Offset of field: v4l2_cropcap::bounds"]
        [::core::mem::offset_of!(v4l2_cropcap, bounds) - 4usize];
    ["Offset of field: v4l2_cropcap::defrect"]
        [::core::mem::offset_of!(v4l2_cropcap, defrect) - 20usize];
    ["Offset of field: v4l2_cropcap::pixelaspect"]
        [::core::mem::offset_of!(v4l2_cropcap, pixelaspect) - 36usize];
};
const _: () = {
    ["Size of v4l2_crop"][::core::mem::size_of::<v4l2_crop>() - 20usize];
    ["Alignment of v4l2_crop"][::core::mem::align_of::<v4l2_crop>() - 4usize];
    ["Offset of field: v4l2_crop::type_"][::core::mem::offset_of!(v4l2_crop, type_) - 0usize];
    ["Offset of field: v4l2_crop::c"][::core::mem::offset_of!(v4l2_crop, c) - 4usize];
};
const _: () = {
    ["Size of v4l2_selection"][::core::mem::size_of::<v4l2_selection>() - 64usize];
    ["Alignment of v4l2_selection"][::core::mem::align_of::<v4l2_selection>() - 4usize];
    ["Offset of field: v4l2_selection::type_"]
        [::core::mem::offset_of!(v4l2_selection, type_) - 0usize];
    ["Offset of field: v4l2_selection::target"]
        [::core::mem::offset_of!(v4l2_selection, target) - 4usize];
    ["Offset of field: v4l2_selection::flags"]
        [::core::mem::offset_of!(v4l2_selection, flags) - 8usize];
    ["Offset of field: v4l2_selection::r"][::core::mem::offset_of!(v4l2_selection, r) - 12usize];
    ["Offset of field: v4l2_selection::reserved"]
        [::core::mem::offset_of!(v4l2_selection, reserved) - 28usize];
};
const _: () = {
    ["Size of v4l2_edid"][::core::mem::size_of::<v4l2_edid>() - 40usize];
    ["Alignment of v4l2_edid"][::core::mem::align_of::<v4l2_edid>() - 8usize];
    ["Offset of field: v4l2_edid::pad"][::core::mem::offset_of!(v4l2_edid, pad) - 0usize];
    ["Offset of field: v4l2_edid::start_block"]
        [::core::mem::offset_of!(v4l2_edid, start_block) - 4usize];
    ["Offset of field: v4l2_edid::blocks"][::core::mem::offset_of!(v4l2_edid, blocks) - 8usize];
    ["Offset of field: v4l2_edid::reserved"]
        [::core::mem::offset_of!(v4l2_edid, reserved) - 12usize];
    ["Offset of field: v4l2_edid::edid"][::core::mem::offset_of!(v4l2_edid, edid) - 32usize];
};
const _: () = {
    ["Size of v4l2_bt_timings"][::core::mem::size_of::<v4l2_bt_timings>() - 124usize];
    ["Alignment of v4l2_bt_timings"][::core::mem::align_of::<v4l2_bt_timings>() - 1usize];
    ["Offset of field: v4l2_bt_timings::width"]
        [::core::mem::offset_of!(v4l2_bt_timings, width) - 0usize];
    ["Offset of field: v4l2_bt_timings::height"]
        [::core::mem::offset_of!(v4l2_bt_timings, height) - 4usize];
    ["Offset of field: v4l2_bt_timings::interlaced"]
        [::core::mem::offset_of!(v4l2_bt_timings, interlaced) - 8usize];
    ["Offset of field: v4l2_bt_timings::polarities"]
        [::core::mem::offset_of!(v4l2_bt_timings, polarities) - 12usize];
    ["Offset of field: v4l2_bt_timings::pixelclock"]
        [::core::mem::offset_of!(v4l2_bt_timings, pixelclock) - 16usize];
    ["Offset of field: v4l2_bt_timings::hfrontporch"]
        [::core::mem::offset_of!(v4l2_bt_timings, hfrontporch) - 24usize];
    ["Offset of field: v4l2_bt_timings::hsync"]
        [::core::mem::offset_of!(v4l2_bt_timings, hsync) - 28usize];
    ["Offset of field: v4l2_bt_timings::hbackporch"]
        [::core::mem::offset_of!(v4l2_bt_timings, hbackporch) - 32usize];
    ["Offset of field: v4l2_bt_timings::vfrontporch"]
        [::core::mem::offset_of!(v4l2_bt_timings, vfrontporch) - 36usize];
    ["Offset of field: v4l2_bt_timings::vsync"]
        [::core::mem::offset_of!(v4l2_bt_timings, vsync) - 40usize];
    ["Offset of field: v4l2_bt_timings::vbackporch"]
        [::core::mem::offset_of!(v4l2_bt_timings, vbackporch) - 44usize];
    ["Offset of field: v4l2_bt_timings::il_vfrontporch"]
        [::core::mem::offset_of!(v4l2_bt_timings, il_vfrontporch) - 48usize];
    ["Offset of field: v4l2_bt_timings::il_vsync"]
        [::core::mem::offset_of!(v4l2_bt_timings, il_vsync) - 52usize];
    ["Offset of field: v4l2_bt_timings::il_vbackporch"]
        [::core::mem::offset_of!(v4l2_bt_timings, il_vbackporch) - 56usize];
    ["Offset of field: v4l2_bt_timings::standards"]
        [::core::mem::offset_of!(v4l2_bt_timings, standards) - 60usize];
    ["Offset of field: v4l2_bt_timings::flags"]
        [::core::mem::offset_of!(v4l2_bt_timings, flags) - 64usize];
    ["Offset of field: v4l2_bt_timings::picture_aspect"]
        [::core::mem::offset_of!(v4l2_bt_timings, picture_aspect) - 68usize];
    ["Offset of field: v4l2_bt_timings::cea861_vic"]
        [::core::mem::offset_of!(v4l2_bt_timings, cea861_vic) - 76usize];
    ["Offset of field: v4l2_bt_timings::hdmi_vic"]
        [::core::mem::offset_of!(v4l2_bt_timings, hdmi_vic) - 77usize];
    ["Offset of field: v4l2_bt_timings::reserved"]
        [::core::mem::offset_of!(v4l2_bt_timings, reserved) - 78usize];
};
const _: () = {
    ["Size of v4l2_dv_timings__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_dv_timings__bindgen_ty_1>() - 128usize];
    ["Alignment of v4l2_dv_timings__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_dv_timings__bindgen_ty_1>() - 4usize];
    ["Offset of field: v4l2_dv_timings__bindgen_ty_1::bt"]
        [::core::mem::offset_of!(v4l2_dv_timings__bindgen_ty_1, bt) - 0usize];
    ["Offset of field: v4l2_dv_timings__bindgen_ty_1::reserved"]
        [::core::mem::offset_of!(v4l2_dv_timings__bindgen_ty_1, reserved) - 0usize];
};
const _: () = {
    ["Size of v4l2_dv_timings"][::core::mem::size_of::<v4l2_dv_timings>() - 132usize];
    ["Alignment of v4l2_dv_timings"][::core::mem::align_of::<v4l2_dv_timings>() - 1usize];
    ["Offset of field: v4l2_dv_timings::type_"]
        [::core::mem::offset_of!(v4l2_dv_timings, type_) - 0usize];
};
const _: () = {
    ["Size of v4l2_enum_dv_timings"][::core::mem::size_of::<v4l2_enum_dv_timings>() - 148usize];
    ["Alignment of v4l2_enum_dv_timings"][::core::mem::align_of::<v4l2_enum_dv_timings>() - 4usize];
    ["Offset of field: v4l2_enum_dv_timings::index"]
        [::core::mem::offset_of!(v4l2_enum_dv_timings, index) - 0usize];
    ["Offset of field: v4l2_enum_dv_timings::pad"]
        [::core::mem::offset_of!(v4l2_enum_dv_timings, pad) - 4usize];
    ["Offset of field: v4l2_enum_dv_timings::reserved"]
        [::core::mem::offset_of!(v4l2_enum_dv_timings, reserved) - 8usize];
    ["Offset of field: v4l2_enum_dv_timings::timings"]
        [::core::mem::offset_of!(v4l2_enum_dv_timings, timings) - 16usize];
};
const _: () = {
    ["Size of v4l2_bt_timings_cap"][::core::mem::size_of::<v4l2_bt_timings_cap>() - 104usize];
    ["Alignment of v4l2_bt_timings_cap"][::core::mem::align_of::<v4l2_bt_timings_cap>() - 1usize];
    ["Offset of field: v4l2_bt_timings_cap::min_width"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, min_width) - 0usize];
    ["Offset of field: v4l2_bt_timings_cap::max_width"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, max_width) - 4usize];
    ["Offset of field: v4l2_bt_timings_cap::min_height"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, min_height) - 8usize];
    ["Offset of field: v4l2_bt_timings_cap::max_height"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, max_height) - 12usize];
    ["Offset of field: v4l2_bt_timings_cap::min_pixelclock"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, min_pixelclock) - 16usize];
    ["Offset of field: v4l2_bt_timings_cap::max_pixelclock"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, max_pixelclock) - 24usize];
    ["Offset of field: v4l2_bt_timings_cap::standards"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, standards) - 32usize];
    ["Offset of field: v4l2_bt_timings_cap::capabilities"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, capabilities) - 36usize];
    ["Offset of field: v4l2_bt_timings_cap::reserved"]
        [::core::mem::offset_of!(v4l2_bt_timings_cap, reserved) - 40usize];
};
const _: () = {
    ["Size of v4l2_dv_timings_cap__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_dv_timings_cap__bindgen_ty_1>() - 128usize];
    ["Alignment of v4l2_dv_timings_cap__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_dv_timings_cap__bindgen_ty_1>() - 4usize];
    ["Offset of field: v4l2_dv_timings_cap__bindgen_ty_1::bt"]
        [::core::mem::offset_of!(v4l2_dv_timings_cap__bindgen_ty_1, bt) - 0usize];
    ["Offset of field: v4l2_dv_timings_cap__bindgen_ty_1::raw_data"]
        [::core::mem::offset_of!(v4l2_dv_timings_cap__bindgen_ty_1, raw_data) - 0usize];
};
const _: () = {
    ["Size of v4l2_dv_timings_cap"][::core::mem::size_of::<v4l2_dv_timings_cap>() - 144usize];
    ["Alignment of v4l2_dv_timings_cap"][::core::mem::align_of::<v4l2_dv_timings_cap>() - 4usize];
    ["Offset of field: v4l2_dv_timings_cap::type_"]
        [::core::mem::offset_of!(v4l2_dv_timings_cap, type_) - 0usize];
    ["Offset of field: v4l2_dv_timings_cap::pad"]
        [::core::mem::offset_of!(v4l2_dv_timings_cap, pad) - 4usize];
    ["Offset of field: v4l2_dv_timings_cap::reserved"]
        [::core::mem::offset_of!(v4l2_dv_timings_cap, reserved) - 8usize];
};
const _: () = {
    ["Size of v4l2_input"][::core::mem::size_of::<v4l2_input>() - 80usize];
    ["Alignment of v4l2_input"][::core::mem::align_of::<v4l2_input>() - 8usize];
    ["Offset of field: v4l2_input::index"][::core::mem::offset_of!(v4l2_input, index) - 0usize];
    ["Offset of field: v4l2_input::name"][::core::mem::offset_of!(v4l2_input, name) - 4usize];
    ["Offset of field: v4l2_input::type_"][::core::mem::offset_of!(v4l2_input, type_) - 36usize];
    ["Offset of field: v4l2_input::audioset"]
        [::core::mem::offset_of!(v4l2_input, audioset) - 40usize];
    ["Offset of field: v4l2_input::tuner"][::core::mem::offset_of!(v4l2_input, tuner) - 44usize];
    ["Offset of field: v4l2_input::std"][::core::mem::offset_of!(v4l2_input, std) - 48usize];
    ["Offset of field: v4l2_input::status"][::core::mem::offset_of!(v4l2_input, status) - 56usize];
    ["Offset of field: v4l2_input::capabilities"]
        [::core::mem::offset_of!(v4l2_input, capabilities) - 60usize];
    ["Offset of field: v4l2_input::reserved"]
        [::core::mem::offset_of!(v4l2_input, reserved) - 64usize];
};
const _: () = {
    ["Size of v4l2_output"][::core::mem::size_of::<v4l2_output>() - 72usize];
    ["Alignment of v4l2_output"][::core::mem::align_of::<v4l2_output>() - 8usize];
    ["Offset of field: v4l2_output::index"][::core::mem::offset_of!(v4l2_output, index) - 0usize];
    ["Offset of field: v4l2_output::name"][::core::mem::offset_of!(v4l2_output, name) - 4usize];
    ["Offset of field: v4l2_output::type_"][::core::mem::offset_of!(v4l2_output, type_) - 36usize];
    ["Offset of field: v4l2_output::audioset"]
        [::core::mem::offset_of!(v4l2_output, audioset) - 40usize];
    ["Offset of field: v4l2_output::modulator"]
        [::core::mem::offset_of!(v4l2_output, modulator) - 44usize];
    ["Offset of field: v4l2_output::std"][::core::mem::offset_of!(v4l2_output, std) - 48usize];
    ["Offset of field: v4l2_output::capabilities"]
        [::core::mem::offset_of!(v4l2_output, capabilities) - 56usize];
    ["Offset of field: v4l2_output::reserved"]
        [::core::mem::offset_of!(v4l2_output, reserved) - 60usize];
};
const _: () = {
    ["Size of v4l2_control"][::core::mem::size_of::<v4l2_control>() - 8usize];
    ["Alignment of v4l2_control"][::core::mem::align_of::<v4l2_control>() - 4usize];
    ["Offset of field: v4l2_control::id"][::core::mem::offset_of!(v4l2_control, id) - 0usize];
    ["Offset of field: v4l2_control::value"][::core::mem::offset_of!(v4l2_control, value) - 4usize];
};
const _: () = {
    ["Size of v4l2_ext_control__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_ext_control__bindgen_ty_1>() - 8usize];
    ["Alignment of v4l2_ext_control__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_ext_control__bindgen_ty_1>() - 1usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::value"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, value) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::value64"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, value64) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::string"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, string) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_u8"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_u8) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_u16"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_u16) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_u32"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_u32) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_s32"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_s32) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_s64"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_s64) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_area"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_area) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_rect"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_rect) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_h264_sps"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_h264_sps) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_h264_pps"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_h264_pps) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_h264_scaling_matrix"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_h264_scaling_matrix) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_h264_pred_weights"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_h264_pred_weights) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_h264_slice_params"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_h264_slice_params) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_h264_decode_params"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_h264_decode_params) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_fwht_params"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_fwht_params) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_vp8_frame"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_vp8_frame) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_mpeg2_sequence"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_mpeg2_sequence) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_mpeg2_picture"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_mpeg2_picture) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_mpeg2_quantisation"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_mpeg2_quantisation) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_vp9_compressed_hdr_probs"][::core::mem::offset_of!(
        v4l2_ext_control__bindgen_ty_1,
        p_vp9_compressed_hdr_probs
    ) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_vp9_frame"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_vp9_frame) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_hevc_sps"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_hevc_sps) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_hevc_pps"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_hevc_pps) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_hevc_slice_params"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_hevc_slice_params) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_hevc_scaling_matrix"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_hevc_scaling_matrix) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_hevc_decode_params"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_hevc_decode_params) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_av1_sequence"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_av1_sequence) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_av1_tile_group_entry"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_av1_tile_group_entry) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_av1_frame"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_av1_frame) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_av1_film_grain"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_av1_film_grain) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_hdr10_cll_info"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, p_hdr10_cll_info) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::p_hdr10_mastering_display"][::core::mem::offset_of!(
        v4l2_ext_control__bindgen_ty_1,
        p_hdr10_mastering_display
    ) - 0usize];
    ["Offset of field: v4l2_ext_control__bindgen_ty_1::ptr"]
        [::core::mem::offset_of!(v4l2_ext_control__bindgen_ty_1, ptr) - 0usize];
};
const _: () = {
    ["Size of v4l2_ext_control"][::core::mem::size_of::<v4l2_ext_control>() - 20usize];
    ["Alignment of v4l2_ext_control"][::core::mem::align_of::<v4l2_ext_control>() - 1usize];
    ["Offset of field: v4l2_ext_control::id"]
        [::core::mem::offset_of!(v4l2_ext_control, id) - 0usize];
    ["Offset of field: v4l2_ext_control::size"]
        [::core::mem::offset_of!(v4l2_ext_control, size) - 4usize];
    ["Offset of field: v4l2_ext_control::reserved2"]
        [::core::mem::offset_of!(v4l2_ext_control, reserved2) - 8usize];
};
const _: () = {
    ["Size of v4l2_ext_controls__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_ext_controls__bindgen_ty_1>() - 4usize];
    ["Alignment of v4l2_ext_controls__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_ext_controls__bindgen_ty_1>() - 4usize];
    ["Offset of field: v4l2_ext_controls__bindgen_ty_1::ctrl_class"]
        [::core::mem::offset_of!(v4l2_ext_controls__bindgen_ty_1, ctrl_class) - 0usize];
    ["Offset of field: v4l2_ext_controls__bindgen_ty_1::which"]
        [::core::mem::offset_of!(v4l2_ext_controls__bindgen_ty_1, which) - 0usize];
};
const _: () = {
    ["Size of v4l2_ext_controls"][::core::mem::size_of::<v4l2_ext_controls>() - 32usize];
    ["Alignment of v4l2_ext_controls"][::core::mem::align_of::<v4l2_ext_controls>() - 8usize];
    ["Offset of field: v4l2_ext_controls::count"]
        [::core::mem::offset_of!(v4l2_ext_controls, count) - 4usize];
    ["Offset of field: v4l2_ext_controls::error_idx"]
        [::core::mem::offset_of!(v4l2_ext_controls, error_idx) - 8usize];
    ["Offset of field: v4l2_ext_controls::request_fd"]
        [::core::mem::offset_of!(v4l2_ext_controls, request_fd) - 12usize];
    ["Offset of field: v4l2_ext_controls::reserved"]
        [::core::mem::offset_of!(v4l2_ext_controls, reserved) - 16usize];
    ["Offset of field: v4l2_ext_controls::controls"]
        [::core::mem::offset_of!(v4l2_ext_controls, controls) - 24usize];
};
pub const V4L2_CTRL_TYPE_INTEGER: v4l2_ctrl_type = 1;
pub const V4L2_CTRL_TYPE_BOOLEAN: v4l2_ctrl_type = 2;
pub const V4L2_CTRL_TYPE_MENU: v4l2_ctrl_type = 3;
pub const V4L2_CTRL_TYPE_BUTTON: v4l2_ctrl_type = 4;
pub const V4L2_CTRL_TYPE_INTEGER64: v4l2_ctrl_type = 5;
pub const V4L2_CTRL_TYPE_CTRL_CLASS: v4l2_ctrl_type = 6;
pub const V4L2_CTRL_TYPE_STRING: v4l2_ctrl_type = 7;
pub const V4L2_CTRL_TYPE_BITMASK: v4l2_ctrl_type = 8;
pub const V4L2_CTRL_TYPE_INTEGER_MENU: v4l2_ctrl_type = 9;
pub const V4L2_CTRL_COMPOUND_TYPES: v4l2_ctrl_type = 256;
pub const V4L2_CTRL_TYPE_U8: v4l2_ctrl_type = 256;
pub const V4L2_CTRL_TYPE_U16: v4l2_ctrl_type = 257;
pub const V4L2_CTRL_TYPE_U32: v4l2_ctrl_type = 258;
pub const V4L2_CTRL_TYPE_AREA: v4l2_ctrl_type = 262;
pub const V4L2_CTRL_TYPE_HDR10_CLL_INFO: v4l2_ctrl_type = 272;
pub const V4L2_CTRL_TYPE_HDR10_MASTERING_DISPLAY: v4l2_ctrl_type = 273;
pub const V4L2_CTRL_TYPE_H264_SPS: v4l2_ctrl_type = 512;
pub const V4L2_CTRL_TYPE_H264_PPS: v4l2_ctrl_type = 513;
pub const V4L2_CTRL_TYPE_H264_SCALING_MATRIX: v4l2_ctrl_type = 514;
pub const V4L2_CTRL_TYPE_H264_SLICE_PARAMS: v4l2_ctrl_type = 515;
pub const V4L2_CTRL_TYPE_H264_DECODE_PARAMS: v4l2_ctrl_type = 516;
pub const V4L2_CTRL_TYPE_H264_PRED_WEIGHTS: v4l2_ctrl_type = 517;
pub const V4L2_CTRL_TYPE_FWHT_PARAMS: v4l2_ctrl_type = 544;
pub const V4L2_CTRL_TYPE_VP8_FRAME: v4l2_ctrl_type = 576;
pub const V4L2_CTRL_TYPE_MPEG2_QUANTISATION: v4l2_ctrl_type = 592;
pub const V4L2_CTRL_TYPE_MPEG2_SEQUENCE: v4l2_ctrl_type = 593;
pub const V4L2_CTRL_TYPE_MPEG2_PICTURE: v4l2_ctrl_type = 594;
pub const V4L2_CTRL_TYPE_VP9_COMPRESSED_HDR: v4l2_ctrl_type = 608;
pub const V4L2_CTRL_TYPE_VP9_FRAME: v4l2_ctrl_type = 609;
pub const V4L2_CTRL_TYPE_HEVC_SPS: v4l2_ctrl_type = 624;
pub const V4L2_CTRL_TYPE_HEVC_PPS: v4l2_ctrl_type = 625;
pub const V4L2_CTRL_TYPE_HEVC_SLICE_PARAMS: v4l2_ctrl_type = 626;
pub const V4L2_CTRL_TYPE_HEVC_SCALING_MATRIX: v4l2_ctrl_type = 627;
pub const V4L2_CTRL_TYPE_HEVC_DECODE_PARAMS: v4l2_ctrl_type = 628;
pub const V4L2_CTRL_TYPE_AV1_SEQUENCE: v4l2_ctrl_type = 640;
pub const V4L2_CTRL_TYPE_AV1_TILE_GROUP_ENTRY: v4l2_ctrl_type = 641;
pub const V4L2_CTRL_TYPE_AV1_FRAME: v4l2_ctrl_type = 642;
pub const V4L2_CTRL_TYPE_AV1_FILM_GRAIN: v4l2_ctrl_type = 643;
const _: () = {
    ["Size of v4l2_queryctrl"][::core::mem::size_of::<v4l2_queryctrl>() - 68usize];
    ["Alignment of v4l2_queryctrl"][::core::mem::align_of::<v4l2_queryctrl>() - 4usize];
    ["Offset of field: v4l2_queryctrl::id"][::core::mem::offset_of!(v4l2_queryctrl, id) - 0usize];
    ["Offset of field: v4l2_queryctrl::type_"]
        [::core::mem::offset_of!(v4l2_queryctrl, type_) - 4usize];
    ["Offset of field: v4l2_queryctrl::name"]
        [::core::mem::offset_of!(v4l2_queryctrl, name) - 8usize];
    ["Offset of field: v4l2_queryctrl::minimum"]
        [::core::mem::offset_of!(v4l2_queryctrl, minimum) - 40usize];
    ["Offset of field: v4l2_queryctrl::maximum"]
        [::core::mem::offset_of!(v4l2_queryctrl, maximum) - 44usize];
    ["Offset of field: v4l2_queryctrl::step"]
        [::core::mem::offset_of!(v4l2_queryctrl, step) - 48usize];
    ["Offset of field: v4l2_queryctrl::default_value"]
        [::core::mem::offset_of!(v4l2_queryctrl, default_value) - 52usize];
    ["Offset of field: v4l2_queryctrl::flags"]
        [::core::mem::offset_of!(v4l2_queryctrl, flags) - 56usize];
    ["Offset of field: v4l2_queryctrl::reserved"]
        [::core::mem::offset_of!(v4l2_queryctrl, reserved) - 60usize];
};
const _: () = {
    ["Size of v4l2_query_ext_ctrl"][::core::mem::size_of::<v4l2_query_ext_ctrl>() - 232usize];
    ["Alignment of v4l2_query_ext_ctrl"][::core::mem::align_of::<v4l2_query_ext_ctrl>() - 8usize];
    ["Offset of field: v4l2_query_ext_ctrl::id"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, id) - 0usize];
    ["Offset of field: v4l2_query_ext_ctrl::type_"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, type_) - 4usize];
    ["Offset of field: v4l2_query_ext_ctrl::name"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, name) - 8usize];
    ["Offset of field: v4l2_query_ext_ctrl::minimum"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, minimum) - 40usize];
    ["Offset of field: v4l2_query_ext_ctrl::maximum"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, maximum) - 48usize];
    ["Offset of field: v4l2_query_ext_ctrl::step"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, step) - 56usize];
    ["Offset of field: v4l2_query_ext_ctrl::default_value"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, default_value) - 64usize];
    ["Offset of field: v4l2_query_ext_ctrl::flags"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, flags) - 72usize];
    ["Offset of field: v4l2_query_ext_ctrl::elem_size"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, elem_size) - 76usize];
    ["Offset of field: v4l2_query_ext_ctrl::elems"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, elems) - 80usize];
    ["Offset of field: v4l2_query_ext_ctrl::nr_of_dims"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, nr_of_dims) - 84usize];
    ["Offset of field: v4l2_query_ext_ctrl::dims"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, dims) - 88usize];
    ["Offset of field: v4l2_query_ext_ctrl::reserved"]
        [::core::mem::offset_of!(v4l2_query_ext_ctrl, reserved) - 104usize];
};
const _: () = {
    ["Size of v4l2_querymenu__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_querymenu__bindgen_ty_1>() - 32usize];
    ["Alignment of v4l2_querymenu__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_querymenu__bindgen_ty_1>() - 8usize];
    ["Offset of field: v4l2_querymenu__bindgen_ty_1::name"]
        [::core::mem::offset_of!(v4l2_querymenu__bindgen_ty_1, name) - 0usize];
    ["Offset of field: v4l2_querymenu__bindgen_ty_1::value"]
        [::core::mem::offset_of!(v4l2_querymenu__bindgen_ty_1, value) - 0usize];
};
const _: () = {
    ["Size of v4l2_querymenu"][::core::mem::size_of::<v4l2_querymenu>() - 44usize];
    ["Alignment of v4l2_querymenu"][::core::mem::align_of::<v4l2_querymenu>() - 1usize];
    ["Offset of field: v4l2_querymenu::id"][::core::mem::offset_of!(v4l2_querymenu, id) - 0usize];
    ["Offset of field: v4l2_querymenu::index"]
        [::core::mem::offset_of!(v4l2_querymenu, index) - 4usize];
    ["Offset of field: v4l2_querymenu::reserved"]
        [::core::mem::offset_of!(v4l2_querymenu, reserved) - 40usize];
};
const _: () = {
    ["Size of v4l2_vbi_format"][::core::mem::size_of::<v4l2_vbi_format>() - 44usize];
    ["Alignment of v4l2_vbi_format"][::core::mem::align_of::<v4l2_vbi_format>() - 4usize];
    ["Offset of field: v4l2_vbi_format::sampling_rate"]
        [::core::mem::offset_of!(v4l2_vbi_format, sampling_rate) - 0usize];
    ["Offset of field: v4l2_vbi_format::offset"]
        [::core::mem::offset_of!(v4l2_vbi_format, offset) - 4usize];
    ["Offset of field: v4l2_vbi_format::samples_per_line"]
        [::core::mem::offset_of!(v4l2_vbi_format, samples_per_line) - 8usize];
    ["Offset of field: v4l2_vbi_format::sample_format"]
        [::core::mem::offset_of!(v4l2_vbi_format, sample_format) - 12usize];
    ["Offset of field: v4l2_vbi_format::start"]
        [::core::mem::offset_of!(v4l2_vbi_format, start) - 16usize];
    ["Offset of field: v4l2_vbi_format::count"]
        [::core::mem::offset_of!(v4l2_vbi_format, count) - 24usize];
    ["Offset of field: v4l2_vbi_format::flags"]
        [::core::mem::offset_of!(v4l2_vbi_format, flags) - 32usize];
    ["Offset of field: v4l2_vbi_format::reserved"]
        [::core::mem::offset_of!(v4l2_vbi_format, reserved) - 36usize];
};
const _: () = {
    ["Size of v4l2_sliced_vbi_format"][::core::mem::size_of::<v4l2_sliced_vbi_format>() - 112usize];
    ["Alignment of v4l2_sliced_vbi_format"]
        [::core::mem::align_of::<v4l2_sliced_vbi_format>() - 4usize];
    ["Offset of field: v4l2_sliced_vbi_format::service_set"]
        [::core::mem::offset_of!(v4l2_sliced_vbi_format, service_set) - 0usize];
    ["Offset of field: v4l2_sliced_vbi_format::service_lines"]
        [::core::mem::offset_of!(v4l2_sliced_vbi_format, service_lines) - 2usize];
    ["Offset of field: v4l2_sliced_vbi_format::io_size"]
        [::core::mem::offset_of!(v4l2_sliced_vbi_format, io_size) - 100usize];
    ["Offset of field: v4l2_sliced_vbi_format::reserved"]
        [::core::mem::offset_of!(v4l2_sliced_vbi_format, reserved) - 104usize];
};
const _: () = {
    ["Size of v4l2_plane_pix_format"][::core::mem::size_of::<v4l2_plane_pix_format>() - 20usize];
    ["Alignment of v4l2_plane_pix_format"]
        [::core::mem::align_of::<v4l2_plane_pix_format>() - 1usize];
    ["Offset of field: v4l2_plane_pix_format::sizeimage"]
        [::core::mem::offset_of!(v4l2_plane_pix_format, sizeimage) - 0usize];
    ["Offset of field: v4l2_plane_pix_format::bytesperline"]
        [::core::mem::offset_of!(v4l2_plane_pix_format, bytesperline) - 4usize];
    ["Offset of field: v4l2_plane_pix_format::reserved"]
        [::core::mem::offset_of!(v4l2_plane_pix_format, reserved) - 8usize];
};
const _: () = {
    ["Size of v4l2_pix_format_mplane__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_pix_format_mplane__bindgen_ty_1>() - 1usize];
    ["Alignment of v4l2_pix_format_mplane__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_pix_format_mplane__bindgen_ty_1>() - 1usize];
    ["Offset of field: v4l2_pix_format_mplane__bindgen_ty_1::ycbcr_enc"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane__bindgen_ty_1, ycbcr_enc) - 0usize];
    ["Offset of field: v4l2_pix_format_mplane__bindgen_ty_1::hsv_enc"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane__bindgen_ty_1, hsv_enc) - 0usize];
};
const _: () = {
    ["Size of v4l2_pix_format_mplane"][::core::mem::size_of::<v4l2_pix_format_mplane>() - 192usize];
    ["Alignment of v4l2_pix_format_mplane"]
        [::core::mem::align_of::<v4l2_pix_format_mplane>() - 1usize];
    ["Offset of field: v4l2_pix_format_mplane::width"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, width) - 0usize];
    ["Offset of field: v4l2_pix_format_mplane::height"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, height) - 4usize];
    ["Offset of field: v4l2_pix_format_mplane::pixelformat"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, pixelformat) - 8usize];
    ["Offset of field: v4l2_pix_format_mplane::field"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, field) - 12usize];
    ["Offset of field: v4l2_pix_format_mplane::colorspace"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, colorspace) - 16usize];
    ["Offset of field: v4l2_pix_format_mplane::plane_fmt"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, plane_fmt) - 20usize];
    ["Offset of field: v4l2_pix_format_mplane::num_planes"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, num_planes) - 180usize];
    ["Offset of field: v4l2_pix_format_mplane::flags"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, flags) - 181usize];
    ["Offset of field: v4l2_pix_format_mplane::quantization"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, quantization) - 183usize];
    ["Offset of field: v4l2_pix_format_mplane::xfer_func"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, xfer_func) - 184usize];
    ["Offset of field: v4l2_pix_format_mplane::reserved"]
        [::core::mem::offset_of!(v4l2_pix_format_mplane, reserved) - 185usize];
};
const _: () = {
    ["Size of v4l2_sdr_format"][::core::mem::size_of::<v4l2_sdr_format>() - 32usize];
    ["Alignment of v4l2_sdr_format"][::core::mem::align_of::<v4l2_sdr_format>() - 1usize];
    ["Offset of field: v4l2_sdr_format::pixelformat"]
        [::core::mem::offset_of!(v4l2_sdr_format, pixelformat) - 0usize];
    ["Offset of field: v4l2_sdr_format::buffersize"]
        [::core::mem::offset_of!(v4l2_sdr_format, buffersize) - 4usize];
    ["Offset of field: v4l2_sdr_format::reserved"]
        [::core::mem::offset_of!(v4l2_sdr_format, reserved) - 8usize];
};
const _: () = {
    ["Size of v4l2_meta_format"][::core::mem::size_of::<v4l2_meta_format>() - 20usize];
    ["Alignment of v4l2_meta_format"][::core::mem::align_of::<v4l2_meta_format>() - 1usize];
    ["Offset of field: v4l2_meta_format::dataformat"]
        [::core::mem::offset_of!(v4l2_meta_format, dataformat) - 0usize];
    ["Offset of field: v4l2_meta_format::buffersize"]
        [::core::mem::offset_of!(v4l2_meta_format, buffersize) - 4usize];
    ["Offset of field: v4l2_meta_format::width"]
        [::core::mem::offset_of!(v4l2_meta_format, width) - 8usize];
    ["Offset of field: v4l2_meta_format::height"]
        [::core::mem::offset_of!(v4l2_meta_format, height) - 12usize];
    ["Offset of field: v4l2_meta_format::bytesperline"]
        [::core::mem::offset_of!(v4l2_meta_format, bytesperline) - 16usize];
};
const _: () = {
    ["Size of v4l2_format__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_format__bindgen_ty_1>() - 200usize];
    ["Alignment of v4l2_format__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_format__bindgen_ty_1>() - 8usize];
    ["Offset of field: v4l2_format__bindgen_ty_1::pix"]
        [::core::mem::offset_of!(v4l2_format__bindgen_ty_1, pix) - 0usize];
    ["Offset of field: v4l2_format__bindgen_ty_1::pix_mp"]
        [::core::mem::offset_of!(v4l2_format__bindgen_ty_1, pix_mp) - 0usize];
    ["Offset of field: v4l2_format__bindgen_ty_1::win"]
        [::core::mem::offset_of!(v4l2_format__bindgen_ty_1, win) - 0usize];
    ["Offset of field: v4l2_format__bindgen_ty_1::vbi"]
        [::core::mem::offset_of!(v4l2_format__bindgen_ty_1, vbi) - 0usize];
    ["Offset of field: v4l2_format__bindgen_ty_1::sliced"]
        [::core::mem::offset_of!(v4l2_format__bindgen_ty_1, sliced) - 0usize];
    ["Offset of field: v4l2_format__bindgen_ty_1::sdr"]
        [::core::mem::offset_of!(v4l2_format__bindgen_ty_1, sdr) - 0usize];
    ["Offset of field: v4l2_format__bindgen_ty_1::meta"]
        [::core::mem::offset_of!(v4l2_format__bindgen_ty_1, meta) - 0usize];
    ["Offset of field: v4l2_format__bindgen_ty_1::raw_data"]
        [::core::mem::offset_of!(v4l2_format__bindgen_ty_1, raw_data) - 0usize];
};
const _: () = {
    ["Size of v4l2_format"][::core::mem::size_of::<v4l2_format>() - 208usize];
    ["Alignment of v4l2_format"][::core::mem::align_of::<v4l2_format>() - 8usize];
    ["Offset of field: v4l2_format::type_"][::core::mem::offset_of!(v4l2_format, type_) - 0usize];
    ["Offset of field: v4l2_format::fmt"][::core::mem::offset_of!(v4l2_format, fmt) - 8usize];
};
const _: () = {
    ["Size of v4l2_streamparm__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_streamparm__bindgen_ty_1>() - 200usize];
    ["Alignment of v4l2_streamparm__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_streamparm__bindgen_ty_1>() - 4usize];
    ["Offset of field: v4l2_streamparm__bindgen_ty_1::capture"]
        [::core::mem::offset_of!(v4l2_streamparm__bindgen_ty_1, capture) - 0usize];
    ["Offset of field: v4l2_streamparm__bindgen_ty_1::output"]
        [::core::mem::offset_of!(v4l2_streamparm__bindgen_ty_1, output) - 0usize];
    ["Offset of field: v4l2_streamparm__bindgen_ty_1::raw_data"]
        [::core::mem::offset_of!(v4l2_streamparm__bindgen_ty_1, raw_data) - 0usize];
};
const _: () = {
    ["Size of v4l2_streamparm"][::core::mem::size_of::<v4l2_streamparm>() - 204usize];
    ["Alignment of v4l2_streamparm"][::core::mem::align_of::<v4l2_streamparm>() - 4usize];
    ["Offset of field: v4l2_streamparm::type_"]
        [::core::mem::offset_of!(v4l2_streamparm, type_) - 0usize];
    ["Offset of field: v4l2_streamparm::parm"]
        [::core::mem::offset_of!(v4l2_streamparm, parm) - 4usize];
};
const _: () = {
    ["Size of v4l2_event_vsync"][::core::mem::size_of::<v4l2_event_vsync>() - 1usize];
    ["Alignment of v4l2_event_vsync"][::core::mem::align_of::<v4l2_event_vsync>() - 1usize];
    ["Offset of field: v4l2_event_vsync::field"]
        [::core::mem::offset_of!(v4l2_event_vsync, field) - 0usize];
};
const _: () = {
    ["Size of v4l2_event_ctrl__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_event_ctrl__bindgen_ty_1>() - 8usize];
    ["Alignment of v4l2_event_ctrl__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_event_ctrl__bindgen_ty_1>() - 8usize];
    ["Offset of field: v4l2_event_ctrl__bindgen_ty_1::value"]
        [::core::mem::offset_of!(v4l2_event_ctrl__bindgen_ty_1, value) - 0usize];
    ["Offset of field: v4l2_event_ctrl__bindgen_ty_1::value64"]
        [::core::mem::offset_of!(v4l2_event_ctrl__bindgen_ty_1, value64) - 0usize];
};
const _: () = {
    ["Size of v4l2_event_ctrl"][::core::mem::size_of::<v4l2_event_ctrl>() - 40usize];
    ["Alignment of v4l2_event_ctrl"][::core::mem::align_of::<v4l2_event_ctrl>() - 8usize];
    ["Offset of field: v4l2_event_ctrl::changes"]
        [::core::mem::offset_of!(v4l2_event_ctrl, changes) - 0usize];
    ["Offset of field: v4l2_event_ctrl::type_"]
        [::core::mem::offset_of!(v4l2_event_ctrl, type_) - 4usize];
    ["Offset of field: v4l2_event_ctrl::flags"]
        [::core::mem::offset_of!(v4l2_event_ctrl, flags) - 16usize];
    ["Offset of field: v4l2_event_ctrl::minimum"]
        [::core::mem::offset_of!(v4l2_event_ctrl, minimum) - 20usize];
    ["Offset of field: v4l2_event_ctrl::maximum"]
        [::core::mem::offset_of!(v4l2_event_ctrl, maximum) - 24usize];
    ["Offset of field: v4l2_event_ctrl::step"]
        [::core::mem::offset_of!(v4l2_event_ctrl, step) - 28usize];
    ["Offset of field: v4l2_event_ctrl::default_value"]
        [::core::mem::offset_of!(v4l2_event_ctrl, default_value) - 32usize];
};
const _: () = {
    ["Size of v4l2_event_frame_sync"][::core::mem::size_of::<v4l2_event_frame_sync>() - 4usize];
    ["Alignment of v4l2_event_frame_sync"]
        [::core::mem::align_of::<v4l2_event_frame_sync>() - 4usize];
    ["Offset of field: v4l2_event_frame_sync::frame_sequence"]
        [::core::mem::offset_of!(v4l2_event_frame_sync, frame_sequence) - 0usize];
};
const _: () = {
    ["Size of v4l2_event_src_change"][::core::mem::size_of::<v4l2_event_src_change>() - 4usize];
    ["Alignment of v4l2_event_src_change"]
        [::core::mem::align_of::<v4l2_event_src_change>() - 4usize];
    ["Offset of field: v4l2_event_src_change::changes"]
        [::core::mem::offset_of!(v4l2_event_src_change, changes) - 0usize];
};
const _: () = {
    ["Size of v4l2_event_motion_det"][::core::mem::size_of::<v4l2_event_motion_det>() - 12usize];
    ["Alignment of v4l2_event_motion_det"]
        [::core::mem::align_of::<v4l2_event_motion_det>() - 4usize];
    ["Offset of field: v4l2_event_motion_det::flags"]
        [::core::mem::offset_of!(v4l2_event_motion_det, flags) - 0usize];
    ["Offset of field: v4l2_event_motion_det::frame_sequence"]
        [::core::mem::offset_of!(v4l2_event_motion_det, frame_sequence) - 4usize];
    ["Offset of field: v4l2_event_motion_det::region_mask"]
        [::core::mem::offset_of!(v4l2_event_motion_det, region_mask) - 8usize];
};
const _: () = {
    ["Size of v4l2_event__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_event__bindgen_ty_1>() - 64usize];
    ["Alignment of v4l2_event__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_event__bindgen_ty_1>() - 8usize];
    ["Offset of field: v4l2_event__bindgen_ty_1::vsync"]
        [::core::mem::offset_of!(v4l2_event__bindgen_ty_1, vsync) - 0usize];
    ["Offset of field: v4l2_event__bindgen_ty_1::ctrl"]
        [::core::mem::offset_of!(v4l2_event__bindgen_ty_1, ctrl) - 0usize];
    ["Offset of field: v4l2_event__bindgen_ty_1::frame_sync"]
        [::core::mem::offset_of!(v4l2_event__bindgen_ty_1, frame_sync) - 0usize];
    ["Offset of field: v4l2_event__bindgen_ty_1::src_change"]
        [::core::mem::offset_of!(v4l2_event__bindgen_ty_1, src_change) - 0usize];
    ["Offset of field: v4l2_event__bindgen_ty_1::motion_det"]
        [::core::mem::offset_of!(v4l2_event__bindgen_ty_1, motion_det) - 0usize];
    ["Offset of field: v4l2_event__bindgen_ty_1::data"]
        [::core::mem::offset_of!(v4l2_event__bindgen_ty_1, data) - 0usize];
};
const _: () = {
    ["Size of v4l2_event"][::core::mem::size_of::<v4l2_event>() - 136usize];
    ["Alignment of v4l2_event"][::core::mem::align_of::<v4l2_event>() - 8usize];
    ["Offset of field: v4l2_event::type_"][::core::mem::offset_of!(v4l2_event, type_) - 0usize];
    ["Offset of field: v4l2_event::u"][::core::mem::offset_of!(v4l2_event, u) - 8usize];
    ["Offset of field: v4l2_event::pending"]
        [::core::mem::offset_of!(v4l2_event, pending) - 72usize];
    ["Offset of field: v4l2_event::sequence"]
        [::core::mem::offset_of!(v4l2_event, sequence) - 76usize];
    ["Offset of field: v4l2_event::timestamp"]
        [::core::mem::offset_of!(v4l2_event, timestamp) - 80usize];
    ["Offset of field: v4l2_event::id"][::core::mem::offset_of!(v4l2_event, id) - 96usize];
    ["Offset of field: v4l2_event::reserved"]
        [::core::mem::offset_of!(v4l2_event, reserved) - 100usize];
};
const _: () = {
    ["Size of v4l2_event_subscription"]
        [::core::mem::size_of::<v4l2_event_subscription>() - 32usize];
    ["Alignment of v4l2_event_subscription"]
        [::core::mem::align_of::<v4l2_event_subscription>() - 4usize];
    ["Offset of field: v4l2_event_subscription::type_"]
        [::core::mem::offset_of!(v4l2_event_subscription, type_) - 0usize];
    ["Offset of field: v4l2_event_subscription::id"]
        [::core::mem::offset_of!(v4l2_event_subscription, id) - 4usize];
    ["Offset of field: v4l2_event_subscription::flags"]
        [::core::mem::offset_of!(v4l2_event_subscription, flags) - 8usize];
    ["Offset of field: v4l2_event_subscription::reserved"]
        [::core::mem::offset_of!(v4l2_event_subscription, reserved) - 12usize];
};
const _: () = {
    ["Size of v4l2_create_buffers"][::core::mem::size_of::<v4l2_create_buffers>() - 256usize];
    ["Alignment of v4l2_create_buffers"][::core::mem::align_of::<v4l2_create_buffers>() - 8usize];
    ["Offset of field: v4l2_create_buffers::index"]
        [::core::mem::offset_of!(v4l2_create_buffers, index) - 0usize];
    ["Offset of field: v4l2_create_buffers::count"]
        [::core::mem::offset_of!(v4l2_create_buffers, count) - 4usize];
    ["Offset of field: v4l2_create_buffers::memory"]
        [::core::mem::offset_of!(v4l2_create_buffers, memory) - 8usize];
    ["Offset of field: v4l2_create_buffers::format"]
        [::core::mem::offset_of!(v4l2_create_buffers, format) - 16usize];
    ["Offset of field: v4l2_create_buffers::capabilities"]
        [::core::mem::offset_of!(v4l2_create_buffers, capabilities) - 224usize];
    ["Offset of field: v4l2_create_buffers::flags"]
        [::core::mem::offset_of!(v4l2_create_buffers, flags) - 228usize];
    ["Offset of field: v4l2_create_buffers::max_num_buffers"]
        [::core::mem::offset_of!(v4l2_create_buffers, max_num_buffers) - 232usize];
    ["Offset of field: v4l2_create_buffers::reserved"]
        [::core::mem::offset_of!(v4l2_create_buffers, reserved) - 236usize];
};
const _: () = {
    ["Size of v4l2_remove_buffers"][::core::mem::size_of::<v4l2_remove_buffers>() - 64usize];
    ["Alignment of v4l2_remove_buffers"][::core::mem::align_of::<v4l2_remove_buffers>() - 4usize];
    ["Offset of field: v4l2_remove_buffers::index"]
        [::core::mem::offset_of!(v4l2_remove_buffers, index) - 0usize];
    ["Offset of field: v4l2_remove_buffers::count"]
        [::core::mem::offset_of!(v4l2_remove_buffers, count) - 4usize];
    ["Offset of field: v4l2_remove_buffers::type_"]
        [::core::mem::offset_of!(v4l2_remove_buffers, type_) - 8usize];
    ["Offset of field: v4l2_remove_buffers::reserved"]
        [::core::mem::offset_of!(v4l2_remove_buffers, reserved) - 12usize];
};
const _: () = {
    ["Size of media_device_info"][::core::mem::size_of::<media_device_info>() - 256usize];
    ["Alignment of media_device_info"][::core::mem::align_of::<media_device_info>() - 4usize];
    ["Offset of field: media_device_info::driver"]
        [::core::mem::offset_of!(media_device_info, driver) - 0usize];
    ["Offset of field: media_device_info::model"]
        [::core::mem::offset_of!(media_device_info, model) - 16usize];
    ["Offset of field: media_device_info::serial"]
        [::core::mem::offset_of!(media_device_info, serial) - 48usize];
    ["Offset of field: media_device_info::bus_info"]
        [::core::mem::offset_of!(media_device_info, bus_info) - 88usize];
    ["Offset of field: media_device_info::media_version"]
        [::core::mem::offset_of!(media_device_info, media_version) - 120usize];
    ["Offset of field: media_device_info::hw_revision"]
        [::core::mem::offset_of!(media_device_info, hw_revision) - 124usize];
    ["Offset of field: media_device_info::driver_version"]
        [::core::mem::offset_of!(media_device_info, driver_version) - 128usize];
    ["Offset of field: media_device_info::reserved"]
        [::core::mem::offset_of!(media_device_info, reserved) - 132usize];
};
const _: () = {
    ["Size of media_entity_desc__bindgen_ty_1__bindgen_ty_1"]
        [::core::mem::size_of::<media_entity_desc__bindgen_ty_1__bindgen_ty_1>() - 8usize];
    ["Alignment of media_entity_desc__bindgen_ty_1__bindgen_ty_1"]
        [::core::mem::align_of::<media_entity_desc__bindgen_ty_1__bindgen_ty_1>() - 4usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_1::major"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1__bindgen_ty_1, major) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_1::minor"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1__bindgen_ty_1, minor) - 4usize];
};
const _: () = {
    ["Size of media_entity_desc__bindgen_ty_1__bindgen_ty_2"]
        [::core::mem::size_of::<media_entity_desc__bindgen_ty_1__bindgen_ty_2>() - 12usize];
    ["Alignment of media_entity_desc__bindgen_ty_1__bindgen_ty_2"]
        [::core::mem::align_of::<media_entity_desc__bindgen_ty_1__bindgen_ty_2>() - 4usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_2::card"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1__bindgen_ty_2, card) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_2::device"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1__bindgen_ty_2, device) - 4usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_2::subdevice"][::core::mem::offset_of!(
        media_entity_desc__bindgen_ty_1__bindgen_ty_2,
        subdevice
    ) - 8usize];
};
const _: () = {
    ["Size of media_entity_desc__bindgen_ty_1__bindgen_ty_3"]
        [::core::mem::size_of::<media_entity_desc__bindgen_ty_1__bindgen_ty_3>() - 8usize];
    ["Alignment of media_entity_desc__bindgen_ty_1__bindgen_ty_3"]
        [::core::mem::align_of::<media_entity_desc__bindgen_ty_1__bindgen_ty_3>() - 4usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_3::major"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1__bindgen_ty_3, major) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_3::minor"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1__bindgen_ty_3, minor) - 4usize];
};
const _: () = {
    ["Size of media_entity_desc__bindgen_ty_1__bindgen_ty_4"]
        [::core::mem::size_of::<media_entity_desc__bindgen_ty_1__bindgen_ty_4>() - 8usize];
    ["Alignment of media_entity_desc__bindgen_ty_1__bindgen_ty_4"]
        [::core::mem::align_of::<media_entity_desc__bindgen_ty_1__bindgen_ty_4>() - 4usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_4::major"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1__bindgen_ty_4, major) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1__bindgen_ty_4::minor"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1__bindgen_ty_4, minor) - 4usize];
};
const _: () = {
    ["Size of media_entity_desc__bindgen_ty_1"]
        [::core::mem::size_of::<media_entity_desc__bindgen_ty_1>() - 184usize];
    ["Alignment of media_entity_desc__bindgen_ty_1"]
        [::core::mem::align_of::<media_entity_desc__bindgen_ty_1>() - 4usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1::dev"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1, dev) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1::alsa"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1, alsa) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1::v4l"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1, v4l) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1::fb"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1, fb) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1::dvb"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1, dvb) - 0usize];
    ["Offset of field: media_entity_desc__bindgen_ty_1::raw"]
        [::core::mem::offset_of!(media_entity_desc__bindgen_ty_1, raw) - 0usize];
};
const _: () = {
    ["Size of media_entity_desc"][::core::mem::size_of::<media_entity_desc>() - 256usize];
    ["Alignment of media_entity_desc"][::core::mem::align_of::<media_entity_desc>() - 4usize];
    ["Offset of field: media_entity_desc::id"]
        [::core::mem::offset_of!(media_entity_desc, id) - 0usize];
    ["Offset of field: media_entity_desc::name"]
        [::core::mem::offset_of!(media_entity_desc, name) - 4usize];
    ["Offset of field: media_entity_desc::type_"]
        [::core::mem::offset_of!(media_entity_desc, type_) - 36usize];
    ["Offset of field: media_entity_desc::revision"]
        [::core::mem::offset_of!(media_entity_desc, revision) - 40usize];
    ["Offset of field: media_entity_desc::flags"]
        [::core::mem::offset_of!(media_entity_desc, flags) - 44usize];
    ["Offset of field: media_entity_desc::group_id"]
        [::core::mem::offset_of!(media_entity_desc, group_id) - 48usize];
    ["Offset of field: media_entity_desc::pads"]
        [::core::mem::offset_of!(media_entity_desc, pads) - 52usize];
    ["Offset of field: media_entity_desc::links"]
        [::core::mem::offset_of!(media_entity_desc, links) - 54usize];
    ["Offset of field: media_entity_desc::reserved"]
        [::core::mem::offset_of!(media_entity_desc, reserved) - 56usize];
};
const _: () = {
    ["Size of media_pad_desc"][::core::mem::size_of::<media_pad_desc>() - 20usize];
    ["Alignment of media_pad_desc"][::core::mem::align_of::<media_pad_desc>() - 4usize];
    ["Offset of field: media_pad_desc::entity"]
        [::core::mem::offset_of!(media_pad_desc, entity) - 0usize];
    ["Offset of field: media_pad_desc::index"]
        [::core::mem::offset_of!(media_pad_desc, index) - 4usize];
    ["Offset of field: media_pad_desc::flags"]
        [::core::mem::offset_of!(media_pad_desc, flags) - 8usize];
    ["Offset of field: media_pad_desc::reserved"]
        [::core::mem::offset_of!(media_pad_desc, reserved) - 12usize];
};
const _: () = {
    ["Size of media_link_desc"][::core::mem::size_of::<media_link_desc>() - 52usize];
    ["Alignment of media_link_desc"][::core::mem::align_of::<media_link_desc>() - 4usize];
    ["Offset of field: media_link_desc::source"]
        [::core::mem::offset_of!(media_link_desc, source) - 0usize];
    ["Offset of field: media_link_desc::sink"]
        [::core::mem::offset_of!(media_link_desc, sink) - 20usize];
    ["Offset of field: media_link_desc::flags"]
        [::core::mem::offset_of!(media_link_desc, flags) - 40usize];
    ["Offset of field: media_link_desc::reserved"]
        [::core::mem::offset_of!(media_link_desc, reserved) - 44usize];
};
const _: () = {
    ["Size of media_links_enum"][::core::mem::size_of::<media_links_enum>() - 40usize];
    ["Alignment of media_links_enum"][::core::mem::align_of::<media_links_enum>() - 8usize];
    ["Offset of field: media_links_enum::entity"]
        [::core::mem::offset_of!(media_links_enum, entity) - 0usize];
    ["Offset of field: media_links_enum::pads"]
        [::core::mem::offset_of!(media_links_enum, pads) - 8usize];
    ["Offset of field: media_links_enum::links"]
        [::core::mem::offset_of!(media_links_enum, links) - 16usize];
    ["Offset of field: media_links_enum::reserved"]
        [::core::mem::offset_of!(media_links_enum, reserved) - 24usize];
};
const _: () = {
    ["Size of media_v2_entity"][::core::mem::size_of::<media_v2_entity>() - 96usize];
    ["Alignment of media_v2_entity"][::core::mem::align_of::<media_v2_entity>() - 1usize];
    ["Offset of field: media_v2_entity::id"][::core::mem::offset_of!(media_v2_entity, id) - 0usize];
    ["Offset of field: media_v2_entity::name"]
        [::core::mem::offset_of!(media_v2_entity, name) - 4usize];
    ["Offset of field: media_v2_entity::function"]
        [::core::mem::offset_of!(media_v2_entity, function) - 68usize];
    ["Offset of field: media_v2_entity::flags"]
        [::core::mem::offset_of!(media_v2_entity, flags) - 72usize];
    ["Offset of field: media_v2_entity::reserved"]
        [::core::mem::offset_of!(media_v2_entity, reserved) - 76usize];
};
const _: () = {
    ["Size of media_v2_intf_devnode"][::core::mem::size_of::<media_v2_intf_devnode>() - 8usize];
    ["Alignment of media_v2_intf_devnode"]
        [::core::mem::align_of::<media_v2_intf_devnode>() - 1usize];
    ["Offset of field: media_v2_intf_devnode::major"]
        [::core::mem::offset_of!(media_v2_intf_devnode, major) - 0usize];
    ["Offset of field: media_v2_intf_devnode::minor"]
        [::core::mem::offset_of!(media_v2_intf_devnode, minor) - 4usize];
};
const _: () = {
    ["Size of media_v2_interface__bindgen_ty_1"]
        [::core::mem::size_of::<media_v2_interface__bindgen_ty_1>() - 64usize];
    ["Alignment of media_v2_interface__bindgen_ty_1"]
        [::core::mem::align_of::<media_v2_interface__bindgen_ty_1>() - 4usize];
    ["Offset of field: media_v2_interface__bindgen_ty_1::devnode"]
        [::core::mem::offset_of!(media_v2_interface__bindgen_ty_1, devnode) - 0usize];
    ["Offset of field: media_v2_interface__bindgen_ty_1::raw"]
        [::core::mem::offset_of!(media_v2_interface__bindgen_ty_1, raw) - 0usize];
};
const _: () = {
    ["Size of media_v2_interface"][::core::mem::size_of::<media_v2_interface>() - 112usize];
    ["Alignment of media_v2_interface"][::core::mem::align_of::<media_v2_interface>() - 1usize];
    ["Offset of field: media_v2_interface::id"]
        [::core::mem::offset_of!(media_v2_interface, id) - 0usize];
    ["Offset of field: media_v2_interface::intf_type"]
        [::core::mem::offset_of!(media_v2_interface, intf_type) - 4usize];
    ["Offset of field: media_v2_interface::flags"]
        [::core::mem::offset_of!(media_v2_interface, flags) - 8usize];
    ["Offset of field: media_v2_interface::reserved"]
        [::core::mem::offset_of!(media_v2_interface, reserved) - 12usize];
};
const _: () = {
    ["Size of media_v2_pad"][::core::mem::size_of::<media_v2_pad>() - 32usize];
    ["Alignment of media_v2_pad"][::core::mem::align_of::<media_v2_pad>() - 1usize];
    ["Offset of field: media_v2_pad::id"][::core::mem::offset_of!(media_v2_pad, id) - 0usize];
    ["Offset of field: media_v2_pad::entity_id"]
        [::core::mem::offset_of!(media_v2_pad, entity_id) - 4usize];
    ["Offset of field: media_v2_pad::flags"][::core::mem::offset_of!(media_v2_pad, flags) - 8usize];
    ["Offset of field: media_v2_pad::index"]
        [::core::mem::offset_of!(media_v2_pad, index) - 12usize];
    ["Offset of field: media_v2_pad::reserved"]
        [::core::mem::offset_of!(media_v2_pad, reserved) - 16usize];
};
const _: () = {
    ["Size of media_v2_link"][::core::mem::size_of::<media_v2_link>() - 40usize];
    ["Alignment of media_v2_link"][::core::mem::align_of::<media_v2_link>() - 1usize];
    ["Offset of field: media_v2_link::id"][::core::mem::offset_of!(media_v2_link, id) - 0usize];
    ["Offset of field: media_v2_link::source_id"]
        [::core::mem::offset_of!(media_v2_link, source_id) - 4usize];
    ["Offset of field: media_v2_link::sink_id"]
        [::core::mem::offset_of!(media_v2_link, sink_id) - 8usize];
    ["Offset of field: media_v2_link::flags"]
        [::core::mem::offset_of!(media_v2_link, flags) - 12usize];
    ["Offset of field: media_v2_link::reserved"]
        [::core::mem::offset_of!(media_v2_link, reserved) - 16usize];
};
const _: () = {
    ["Size of media_v2_topology"][::core::mem::size_of::<media_v2_topology>() - 72usize];
    ["Alignment of media_v2_topology"][::core::mem::align_of::<media_v2_topology>() - 1usize];
    ["Offset of field: media_v2_topology::topology_version"]
        [::core::mem::offset_of!(media_v2_topology, topology_version) - 0usize];
    ["Offset of field: media_v2_topology::num_entities"]
        [::core::mem::offset_of!(media_v2_topology, num_entities) - 8usize];
    ["Offset of field: media_v2_topology::reserved1"]
        [::core::mem::offset_of!(media_v2_topology, reserved1) - 12usize];
    ["Offset of field: media_v2_topology::ptr_entities"]
        [::core::mem::offset_of!(media_v2_topology, ptr_entities) - 16usize];
    ["Offset of field: media_v2_topology::num_interfaces"]
        [::core::mem::offset_of!(media_v2_topology, num_interfaces) - 24usize];
    ["Offset of field: media_v2_topology::reserved2"]
        [::core::mem::offset_of!(media_v2_topology, reserved2) - 28usize];
    ["Offset of field: media_v2_topology::ptr_interfaces"]
        [::core::mem::offset_of!(media_v2_topology, ptr_interfaces) - 32usize];
    ["Offset of field: media_v2_topology::num_pads"]
        [::core::mem::offset_of!(media_v2_topology, num_pads) - 40usize];
    ["Offset of field: media_v2_topology::reserved3"]
        [::core::mem::offset_of!(media_v2_topology, reserved3) - 44usize];
    ["Offset of field: media_v2_topology::ptr_pads"]
        [::core::mem::offset_of!(media_v2_topology, ptr_pads) - 48usize];
    ["Offset of field: media_v2_topology::num_links"]
        [::core::mem::offset_of!(media_v2_topology, num_links) - 56usize];
    ["Offset of field: media_v2_topology::reserved4"]
        [::core::mem::offset_of!(media_v2_topology, reserved4) - 60usize];
    ["Offset of field: media_v2_topology::ptr_links"]
        [::core::mem::offset_of!(media_v2_topology, ptr_links) - 64usize];
};
const _: () = {
    ["Size of v4l2_mbus_framefmt__bindgen_ty_1"]
        [::core::mem::size_of::<v4l2_mbus_framefmt__bindgen_ty_1>() - 2usize];
    ["Alignment of v4l2_mbus_framefmt__bindgen_ty_1"]
        [::core::mem::align_of::<v4l2_mbus_framefmt__bindgen_ty_1>() - 2usize];
    ["Offset of field: v4l2_mbus_framefmt__bindgen_ty_1::ycbcr_enc"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt__bindgen_ty_1, ycbcr_enc) - 0usize];
    ["Offset of field: v4l2_mbus_framefmt__bindgen_ty_1::hsv_enc"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt__bindgen_ty_1, hsv_enc) - 0usize];
};
const _: () = {
    ["Size of v4l2_mbus_framefmt"][::core::mem::size_of::<v4l2_mbus_framefmt>() - 48usize];
    ["Alignment of v4l2_mbus_framefmt"][::core::mem::align_of::<v4l2_mbus_framefmt>() - 4usize];
    ["Offset of field: v4l2_mbus_framefmt::width"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, width) - 0usize];
    ["Offset of field: v4l2_mbus_framefmt::height"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, height) - 4usize];
    ["Offset of field: v4l2_mbus_framefmt::code"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, code) - 8usize];
    ["Offset of field: v4l2_mbus_framefmt::field"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, field) - 12usize];
    ["Offset of field: v4l2_mbus_framefmt::colorspace"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, colorspace) - 16usize];
    ["Offset of field: v4l2_mbus_framefmt::quantization"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, quantization) - 22usize];
    ["Offset of field: v4l2_mbus_framefmt::xfer_func"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, xfer_func) - 24usize];
    ["Offset of field: v4l2_mbus_framefmt::flags"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, flags) - 26usize];
    ["Offset of field: v4l2_mbus_framefmt::reserved"]
        [::core::mem::offset_of!(v4l2_mbus_framefmt, reserved) - 28usize];
};
pub const V4L2_SUBDEV_FORMAT_TRY: v4l2_subdev_format_whence = 0;
pub const V4L2_SUBDEV_FORMAT_ACTIVE: v4l2_subdev_format_whence = 1;
const _: () = {
    ["Size of v4l2_subdev_format"][::core::mem::size_of::<v4l2_subdev_format>() - 88usize];
    ["Alignment of v4l2_subdev_format"][::core::mem::align_of::<v4l2_subdev_format>() - 4usize];
    ["Offset of field: v4l2_subdev_format::which"]
        [::core::mem::offset_of!(v4l2_subdev_format, which) - 0usize];
    ["Offset of field: v4l2_subdev_format::pad"]
        [::core::mem::offset_of!(v4l2_subdev_format, pad) - 4usize];
    ["Offset of field: v4l2_subdev_format::format"]
        [::core::mem::offset_of!(v4l2_subdev_format, format) - 8usize];
    ["Offset of field: v4l2_subdev_format::stream"]
        [::core::mem::offset_of!(v4l2_subdev_format, stream) - 56usize];
    ["Offset of field: v4l2_subdev_format::reserved"]
        [::core::mem::offset_of!(v4l2_subdev_format, reserved) - 60usize];
};
const _: () = {
    ["Size of v4l2_subdev_crop"][::core::mem::size_of::<v4l2_subdev_crop>() - 56usize];
    ["Alignment of v4l2_subdev_crop"][::core::mem::align_of::<v4l2_subdev_crop>() - 4usize];
    ["Offset of field: v4l2_subdev_crop::which"]
        [::core::mem::offset_of!(v4l2_subdev_crop, which) - 0usize];
    ["Offset of field: v4l2_subdev_crop::pad"]
        [::core::mem::offset_of!(v4l2_subdev_crop, pad) - 4usize];
    ["Offset of field: v4l2_subdev_crop::rect"]
        [::core::mem::offset_of!(v4l2_subdev_crop, rect) - 8usize];
    ["Offset of field: v4l2_subdev_crop::stream"]
        [::core::mem::offset_of!(v4l2_subdev_crop, stream) - 24usize];
    ["Offset of field: v4l2_subdev_crop::reserved"]
        [::core::mem::offset_of!(v4l2_subdev_crop, reserved) - 28usize];
};
const _: () = {
    ["Size of v4l2_subdev_mbus_code_enum"]
        [::core::mem::size_of::<v4l2_subdev_mbus_code_enum>() - 48usize];
    ["Alignment of v4l2_subdev_mbus_code_enum"]
        [::core::mem::align_of::<v4l2_subdev_mbus_code_enum>() - 4usize];
    ["Offset of field: v4l2_subdev_mbus_code_enum::pad"]
        [::core::mem::offset_of!(v4l2_subdev_mbus_code_enum, pad) - 0usize];
    ["Offset of field: v4l2_subdev_mbus_code_enum::index"]
        [::core::mem::offset_of!(v4l2_subdev_mbus_code_enum, index) - 4usize];
    ["Offset of field: v4l2_subdev_mbus_code_enum::code"]
        [::core::mem::offset_of!(v4l2_subdev_mbus_code_enum, code) - 8usize];
    ["Offset of field: v4l2_subdev_mbus_code_enum::which"]
        [::core::mem::offset_of!(v4l2_subdev_mbus_code_enum, which) - 12usize];
    ["Offset of field: v4l2_subdev_mbus_code_enum::flags"]
        [::core::mem::offset_of!(v4l2_subdev_mbus_code_enum, flags) - 16usize];
    ["Offset of field: v4l2_subdev_mbus_code_enum::stream"]
        [::core::mem::offset_of!(v4l2_subdev_mbus_code_enum, stream) - 20usize];
    ["Offset of field: v4l2_subdev_mbus_code_enum::reserved"]
        [::core::mem::offset_of!(v4l2_subdev_mbus_code_enum, reserved) - 24usize];
};
const _: () = {
    ["Size of v4l2_subdev_frame_size_enum"]
        [::core::mem::size_of::<v4l2_subdev_frame_size_enum>() - 64usize];
    ["Alignment of v4l2_subdev_frame_size_enum"]
        [::core::mem::align_of::<v4l2_subdev_frame_size_enum>() - 4usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::index"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, index) - 0usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::pad"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, pad) - 4usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::code"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, code) - 8usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::min_width"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, min_width) - 12usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::max_width"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, max_width) - 16usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::min_height"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, min_height) - 20usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::max_height"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, max_height) - 24usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::which"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, which) - 28usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::stream"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, stream) - 32usize];
    ["Offset of field: v4l2_subdev_frame_size_enum::reserved"]
        [::core::mem::offset_of!(v4l2_subdev_frame_size_enum, reserved) - 36usize];
};
const _: () = {
    ["Size of v4l2_subdev_frame_interval"]
        [::core::mem::size_of::<v4l2_subdev_frame_interval>() - 48usize];
    ["Alignment of v4l2_subdev_frame_interval"]
        [::core::mem::align_of::<v4l2_subdev_frame_interval>() - 4usize];
    ["Offset of field: v4l2_subdev_frame_interval::pad"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval, pad) - 0usize];
    ["Offset of field: v4l2_subdev_frame_interval::interval"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval, interval) - 4usize];
    ["Offset of field: v4l2_subdev_frame_interval::stream"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval, stream) - 12usize];
    ["Offset of field: v4l2_subdev_frame_interval::which"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval, which) - 16usize];
    ["Offset of field: v4l2_subdev_frame_interval::reserved"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval, reserved) - 20usize];
};
const _: () = {
    ["Size of v4l2_subdev_frame_interval_enum"]
        [::core::mem::size_of::<v4l2_subdev_frame_interval_enum>() - 64usize];
    ["Alignment of v4l2_subdev_frame_interval_enum"]
        [::core::mem::align_of::<v4l2_subdev_frame_interval_enum>() - 4usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::index"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, index) - 0usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::pad"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, pad) - 4usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::code"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, code) - 8usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::width"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, width) - 12usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::height"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, height) - 16usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::interval"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, interval) - 20usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::which"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, which) - 28usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::stream"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, stream) - 32usize];
    ["Offset of field: v4l2_subdev_frame_interval_enum::reserved"]
        [::core::mem::offset_of!(v4l2_subdev_frame_interval_enum, reserved) - 36usize];
};
const _: () = {
    ["Size of v4l2_subdev_selection"][::core::mem::size_of::<v4l2_subdev_selection>() - 64usize];
    ["Alignment of v4l2_subdev_selection"]
        [::core::mem::align_of::<v4l2_subdev_selection>() - 4usize];
    ["Offset of field: v4l2_subdev_selection::which"]
        [::core::mem::offset_of!(v4l2_subdev_selection, which) - 0usize];
    ["Offset of field: v4l2_subdev_selection::pad"]
        [::core::mem::offset_of!(v4l2_subdev_selection, pad) - 4usize];
    ["Offset of field: v4l2_subdev_selection::target"]
        [::core::mem::offset_of!(v4l2_subdev_selection, target) - 8usize];
    ["Offset of field: v4l2_subdev_selection::flags"]
        [::core::mem::offset_of!(v4l2_subdev_selection, flags) - 12usize];
    ["Offset of field: v4l2_subdev_selection::r"]
        [::core::mem::offset_of!(v4l2_subdev_selection, r) - 16usize];
    ["Offset of field: v4l2_subdev_selection::stream"]
        [::core::mem::offset_of!(v4l2_subdev_selection, stream) - 32usize];
    ["Offset of field: v4l2_subdev_selection::reserved"]
        [::core::mem::offset_of!(v4l2_subdev_selection, reserved) - 36usize];
};
const _: () = {
    ["Size of v4l2_subdev_capability"][::core::mem::size_of::<v4l2_subdev_capability>() - 64usize];
    ["Alignment of v4l2_subdev_capability"]
        [::core::mem::align_of::<v4l2_subdev_capability>() - 4usize];
    ["Offset of field: v4l2_subdev_capability::version"]
        [::core::mem::offset_of!(v4l2_subdev_capability, version) - 0usize];
    ["Offset of field: v4l2_subdev_capability::capabilities"]
        [::core::mem::offset_of!(v4l2_subdev_capability, capabilities) - 4usize];
    ["Offset of field: v4l2_subdev_capability::reserved"]
        [::core::mem::offset_of!(v4l2_subdev_capability, reserved) - 8usize];
};
const _: () = {
    ["Size of v4l2_subdev_client_capability"]
        [::core::mem::size_of::<v4l2_subdev_client_capability>() - 8usize];
    ["Alignment of v4l2_subdev_client_capability"]
        [::core::mem::align_of::<v4l2_subdev_client_capability>() - 8usize];
    ["Offset of field: v4l2_subdev_client_capability::capabilities"]
        [::core::mem::offset_of!(v4l2_subdev_client_capability, capabilities) - 0usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_pix_format__bindgen_ty_1 {
    pub ycbcr_enc: __u32,
    pub hsv_enc: __u32,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_frmsizeenum__bindgen_ty_1 {
    pub discrete: v4l2_frmsize_discrete,
    pub stepwise: v4l2_frmsize_stepwise,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_frmivalenum__bindgen_ty_1 {
    pub discrete: v4l2_fract,
    pub stepwise: v4l2_frmival_stepwise,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_plane__bindgen_ty_1 {
    pub mem_offset: __u32,
    pub userptr: ::core::ffi::c_ulong,
    pub fd: __s32,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_buffer__bindgen_ty_1 {
    pub offset: __u32,
    pub userptr: ::core::ffi::c_ulong,
    pub planes: *mut v4l2_plane,
    pub fd: __s32,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_dv_timings__bindgen_ty_1 {
    pub bt: v4l2_bt_timings,
    pub reserved: [__u32; 32usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_dv_timings_cap__bindgen_ty_1 {
    pub bt: v4l2_bt_timings_cap,
    pub raw_data: [__u32; 32usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_buffer__bindgen_ty_2 {
    pub request_fd: __s32,
    pub reserved: __u32,
}
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub union v4l2_ext_control__bindgen_ty_1 {
    pub value: __s32,
    pub value64: __s64,
    pub string: *mut ::core::ffi::c_char,
    pub p_u8: *mut __u8,
    pub p_u16: *mut __u16,
    pub p_u32: *mut __u32,
    pub p_s32: *mut __s32,
    pub p_s64: *mut __s64,
    pub p_area: *mut v4l2_area,
    pub p_rect: *mut v4l2_rect,
    pub p_h264_sps: *mut v4l2_ctrl_h264_sps,
    pub p_h264_pps: *mut v4l2_ctrl_h264_pps,
    pub p_h264_scaling_matrix: *mut v4l2_ctrl_h264_scaling_matrix,
    pub p_h264_pred_weights: *mut v4l2_ctrl_h264_pred_weights,
    pub p_h264_slice_params: *mut v4l2_ctrl_h264_slice_params,
    pub p_h264_decode_params: *mut v4l2_ctrl_h264_decode_params,
    pub p_fwht_params: *mut v4l2_ctrl_fwht_params,
    pub p_vp8_frame: *mut v4l2_ctrl_vp8_frame,
    pub p_mpeg2_sequence: *mut v4l2_ctrl_mpeg2_sequence,
    pub p_mpeg2_picture: *mut v4l2_ctrl_mpeg2_picture,
    pub p_mpeg2_quantisation: *mut v4l2_ctrl_mpeg2_quantisation,
    pub p_vp9_compressed_hdr_probs: *mut v4l2_ctrl_vp9_compressed_hdr,
    pub p_vp9_frame: *mut v4l2_ctrl_vp9_frame,
    pub p_hevc_sps: *mut v4l2_ctrl_hevc_sps,
    pub p_hevc_pps: *mut v4l2_ctrl_hevc_pps,
    pub p_hevc_slice_params: *mut v4l2_ctrl_hevc_slice_params,
    pub p_hevc_scaling_matrix: *mut v4l2_ctrl_hevc_scaling_matrix,
    pub p_hevc_decode_params: *mut v4l2_ctrl_hevc_decode_params,
    pub p_av1_sequence: *mut v4l2_ctrl_av1_sequence,
    pub p_av1_tile_group_entry: *mut v4l2_ctrl_av1_tile_group_entry,
    pub p_av1_frame: *mut v4l2_ctrl_av1_frame,
    pub p_av1_film_grain: *mut v4l2_ctrl_av1_film_grain,
    pub p_hdr10_cll_info: *mut v4l2_ctrl_hdr10_cll_info,
    pub p_hdr10_mastering_display: *mut v4l2_ctrl_hdr10_mastering_display,
    pub ptr: *mut ::core::ffi::c_void,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_ext_controls__bindgen_ty_1 {
    pub ctrl_class: __u32,
    pub which: __u32,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_querymenu__bindgen_ty_1 {
    pub name: [__u8; 32usize],
    pub value: __s64,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_pix_format_mplane__bindgen_ty_1 {
    pub ycbcr_enc: __u8,
    pub hsv_enc: __u8,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_format__bindgen_ty_1 {
    pub pix: v4l2_pix_format,
    pub pix_mp: v4l2_pix_format_mplane,
    pub win: v4l2_window,
    pub vbi: v4l2_vbi_format,
    pub sliced: v4l2_sliced_vbi_format,
    pub sdr: v4l2_sdr_format,
    pub meta: v4l2_meta_format,
    pub raw_data: [__u8; 200usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_streamparm__bindgen_ty_1 {
    pub capture: v4l2_captureparm,
    pub output: v4l2_outputparm,
    pub raw_data: [__u8; 200usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_event_ctrl__bindgen_ty_1 {
    pub value: __s32,
    pub value64: __s64,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_event__bindgen_ty_1 {
    pub vsync: v4l2_event_vsync,
    pub ctrl: v4l2_event_ctrl,
    pub frame_sync: v4l2_event_frame_sync,
    pub src_change: v4l2_event_src_change,
    pub motion_det: v4l2_event_motion_det,
    pub data: [__u8; 64usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union media_entity_desc__bindgen_ty_1 {
    pub dev: media_entity_desc__bindgen_ty_1__bindgen_ty_1,
    pub alsa: media_entity_desc__bindgen_ty_1__bindgen_ty_2,
    pub v4l: media_entity_desc__bindgen_ty_1__bindgen_ty_3,
    pub fb: media_entity_desc__bindgen_ty_1__bindgen_ty_4,
    pub dvb: ::core::ffi::c_int,
    pub raw: [__u8; 184usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union media_v2_interface__bindgen_ty_1 {
    pub devnode: media_v2_intf_devnode,
    pub raw: [__u32; 16usize],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union v4l2_mbus_framefmt__bindgen_ty_1 {
    pub ycbcr_enc: __u16,
    pub hsv_enc: __u16,
}
impl<T: Copy + Default, const N: usize> Default for __BindgenOpaqueArray<[T; N]> {
    fn default() -> Self {
        Self([<T as Default>::default(); N])
    }
}
impl<T: Copy + Default, const N: usize> Default for __BindgenOpaqueArray8<[T; N]> {
    fn default() -> Self {
        Self([<T as Default>::default(); N])
    }
}
