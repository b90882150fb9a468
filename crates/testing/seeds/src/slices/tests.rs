//! Slices and their parameters say the same as their pictures.

use super::*;

#[test]
fn parameters_name_the_request_and_the_size() {
    let (arg, control) = parameters(64, 48, 1005);
    assert_eq!(arg.u32(0), V4L2_CTRL_WHICH_REQUEST_VAL);
    assert_eq!(arg.u32(offset_of!(v4l2_ext_controls, count)), 1);
    assert_eq!(arg.u32(offset_of!(v4l2_ext_controls, request_fd)), 1005);
    let at = arg.i64(offset_of!(v4l2_ext_controls, controls));
    assert_eq!(at, PLANES as i64);
    let (head, sps) = control.0.split_at(size_of::<v4l2_ext_control>());
    let head = Arg(head.to_vec());
    assert_eq!(head.u32(0), cid::STATELESS_H264_SPS);
    let size = head.u32(offset_of!(v4l2_ext_control, size));
    assert_eq!(
        (size as usize, sps.len()),
        (sps.len(), size_of::<v4l2_ctrl_h264_sps>())
    );
    let at = head.i64(offset_of!(v4l2_ext_control, __bindgen_anon_1));
    assert_eq!(at as usize, PLANES as usize + head.0.len());
    for (at, side) in [
        (offset_of!(v4l2_ctrl_h264_sps, pic_width_in_mbs_minus1), 64),
        (
            offset_of!(v4l2_ctrl_h264_sps, pic_height_in_map_units_minus1),
            48,
        ),
    ] {
        let macroblocks = u16::from_ne_bytes([sps[at], sps[at + 1]]) + 1;
        assert_eq!(macroblocks * 16, side);
    }
    let flags = Arg(sps.to_vec()).u32(offset_of!(v4l2_ctrl_h264_sps, flags));
    assert_eq!(flags, V4L2_H264_SPS_FLAG_FRAME_MBS_ONLY);
    assert_eq!(sps[offset_of!(v4l2_ctrl_h264_sps, profile_idc)], 66);
}

#[test]
fn pictures_differ_by_number_and_neighbour() {
    let [y, u, v] = planes(32, 16, 3);
    assert_eq!([y.len(), u.len(), v.len()], [512, 128, 128]);
    assert!(y.windows(2).all(|two| two[0] != two[1]));
    let whole = nv12(32, 16, 3);
    assert!(whole[..512] == y && whole.len() == 768);
    assert!(whole[512..].chunks(2).map(|pair| pair[0]).eq(u));
    assert!(whole != nv12(32, 16, 4));
    assert_ne!(slice(32, 16, 3), slice(32, 16, 4));
    assert!(slice(64, 48, 9).ends_with(&[4, 3, 9]));
}
