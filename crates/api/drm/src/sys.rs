//! Structures of `drm.h` and `drm_mode.h` on machines whose addresses and `unsigned long` have 64 bits.
//!
//! They only give sizes and offsets (`offset_of!`). A program's bytes are read by offset. `cargo xtask bindings` compares
//! them with Linux's headers.

/// Defines structures by one row each: the name, and the fields after their type.
macro_rules! structs {
    ($($name:ident { $($ty:ty: $($field:ident)+),+ })*) => {$(
        #[doc = concat!("`struct ", stringify!($name), "`.")]
        #[allow(non_camel_case_types, missing_docs, reason = "the names are Linux's")]
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            $($(pub $field: $ty,)+)+
        }
    )*};
}

structs! {
    drm_version { i32: version_major version_minor version_patchlevel,
        u64: name_len name date_len date desc_len desc }
    drm_unique { u64: unique_len unique }
    drm_client { i32: idx auth, u64: pid uid magic iocs }
    drm_auth { u32: magic }
    drm_set_version { i32: drm_di_major drm_di_minor drm_dd_major drm_dd_minor }
    drm_gem_close { u32: handle pad }
    drm_gem_flink { u32: handle name }
    drm_gem_open { u32: name handle, u64: size }
    drm_get_cap { u64: capability value }
    drm_set_client_cap { u64: capability value }
    drm_prime_handle { u32: handle flags, i32: fd }
    drm_wait_vblank_request { u32: type_ sequence, u64: signal }
    drm_wait_vblank_reply { u32: type_ sequence, i64: tval_sec tval_usec }
    drm_crtc_get_sequence { u32: crtc_id active, u64: sequence, i64: sequence_ns }
    drm_crtc_queue_sequence { u32: crtc_id flags, u64: sequence user_data }
    drm_mode_modeinfo { u32: clock, u16: hdisplay hsync_start hsync_end htotal hskew vdisplay
        vsync_start vsync_end vtotal vscan, u32: vrefresh flags type_, [u8; 32]: name }
    drm_mode_card_res { u64: fb_id_ptr crtc_id_ptr connector_id_ptr encoder_id_ptr,
        u32: count_fbs count_crtcs count_connectors count_encoders min_width max_width min_height
        max_height }
    drm_mode_crtc { u64: set_connectors_ptr, u32: count_connectors crtc_id fb_id x y gamma_size
        mode_valid, drm_mode_modeinfo: mode }
    drm_mode_set_plane { u32: plane_id crtc_id fb_id flags, i32: crtc_x crtc_y,
        u32: crtc_w crtc_h src_x src_y src_h src_w }
    drm_mode_get_plane { u32: plane_id crtc_id fb_id possible_crtcs gamma_size count_format_types,
        u64: format_type_ptr }
    drm_mode_get_plane_res { u64: plane_id_ptr, u32: count_planes }
    drm_mode_get_encoder { u32: encoder_id encoder_type crtc_id possible_crtcs possible_clones }
    drm_mode_get_connector { u64: encoders_ptr modes_ptr props_ptr prop_values_ptr,
        u32: count_modes count_props count_encoders encoder_id connector_id connector_type
        connector_type_id connection mm_width mm_height subpixel pad }
    drm_mode_get_property { u64: values_ptr enum_blob_ptr, u32: prop_id flags, [u8; 32]: name,
        u32: count_values count_enum_blobs }
    drm_mode_connector_set_property { u64: value, u32: prop_id connector_id }
    drm_mode_obj_get_properties { u64: props_ptr prop_values_ptr, u32: count_props obj_id obj_type }
    drm_mode_obj_set_property { u64: value, u32: prop_id obj_id obj_type }
    drm_mode_get_blob { u32: blob_id length, u64: data }
    drm_mode_fb_cmd { u32: fb_id width height pitch bpp depth handle }
    drm_mode_fb_cmd2 { u32: fb_id width height pixel_format flags, [u32; 4]: handles pitches offsets,
        [u64; 4]: modifier }
    drm_mode_fb_dirty_cmd { u32: fb_id flags color num_clips, u64: clips_ptr }
    drm_mode_mode_cmd { u32: connector_id, drm_mode_modeinfo: mode }
    drm_mode_cursor { u32: flags crtc_id, i32: x y, u32: width height handle }
    drm_mode_cursor2 { u32: flags crtc_id, i32: x y, u32: width height handle, i32: hot_x hot_y }
    drm_mode_crtc_lut { u32: crtc_id gamma_size, u64: red green blue }
    drm_mode_crtc_page_flip { u32: crtc_id fb_id flags reserved, u64: user_data }
    drm_mode_create_dumb { u32: height width bpp flags handle pitch, u64: size }
    drm_mode_map_dumb { u32: handle pad, u64: offset }
    drm_mode_destroy_dumb { u32: handle }
    drm_mode_atomic { u32: flags count_objs, u64: objs_ptr count_props_ptr props_ptr
        prop_values_ptr reserved user_data }
    drm_mode_create_blob { u64: data, u32: length blob_id }
    drm_mode_destroy_blob { u32: blob_id }
    drm_mode_create_lease { u64: object_ids, u32: object_count flags lessee_id fd }
    drm_mode_list_lessees { u32: count_lessees pad, u64: lessees_ptr }
    drm_mode_get_lease { u32: count_objects pad, u64: objects_ptr }
    drm_mode_revoke_lease { u32: lessee_id }
    drm_mode_closefb { u32: fb_id pad }
    drm_event { u32: type_ length }
    drm_event_vblank { drm_event: base, u64: user_data, u32: tv_sec tv_usec sequence crtc_id }
    drm_event_crtc_sequence { drm_event: base, u64: user_data, i64: time_ns, u64: sequence }
}
