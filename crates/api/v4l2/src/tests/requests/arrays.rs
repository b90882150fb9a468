//! Dynamic arrays: their sizes, alone and in requests.

use super::*;

/// Reads or writes [`TILES`] with `size` bytes, in a request if `fd` names one. Returns the errno and
/// the size after it.
fn tiles(b: &mut Bench, call: u32, fd: Option<i32>, size: u32) -> (i32, u32) {
    const VALUE: u64 = ARRAY + 0x100;
    let mut one = [0; size_of::<sys::v4l2_ext_control>()];
    let mut image = Image(&mut one);
    image.set_u32(0, TILES);
    image.set_u32(field!(v4l2_ext_control.size), size);
    image.set_u64(field!(v4l2_ext_control.__bindgen_anon_1), VALUE);
    b.program.poke(ARRAY, &one);
    let mut arg = [0; size_of::<sys::v4l2_ext_controls>()];
    let mut image = Image(&mut arg);
    if let Some(fd) = fd {
        image.set_u32(0, sys::V4L2_CTRL_WHICH_REQUEST_VAL);
        image.set_i32(field!(v4l2_ext_controls.request_fd), fd);
    }
    image.set_u32(field!(v4l2_ext_controls.count), 1);
    image.set_u64(field!(v4l2_ext_controls.controls), ARRAY);
    let errno = b.call(b.files[0], call, &mut arg);
    b.program.peek(ARRAY, &mut one);
    (errno, get(&one, field!(v4l2_ext_control.size)))
}

/// Source: Linux `prepare_ext_ctrls`.
#[test]
fn dynamic_arrays_have_the_size_last_set() {
    const EFAULT: i32 = 14;
    const ENOSPC: i32 = 28;
    let (g, s) = (sys::VIDIOC_G_EXT_CTRLS, sys::VIDIOC_S_EXT_CTRLS);
    let mut b = Bench::new(Requests::Optional);
    let elements = |b: &mut Bench| {
        let mut arg = [0; size_of::<sys::v4l2_query_ext_ctrl>()];
        Image(&mut arg).set_u32(0, TILES);
        assert_eq!(b.call(b.files[0], sys::VIDIOC_QUERY_EXT_CTRL, &mut arg), 0);
        let at = |at| get(&arg, at);
        let flags = at(field!(v4l2_query_ext_ctrl.flags));
        assert_eq!(flags, 0x100 | sys::V4L2_CTRL_FLAG_DYNAMIC_ARRAY);
        let dims = field!(v4l2_query_ext_ctrl.dims);
        assert_eq!(
            (at(field!(v4l2_query_ext_ctrl.nr_of_dims)), at(dims)),
            (1, 512)
        );
        at(field!(v4l2_query_ext_ctrl.elems))
    };
    assert_eq!(elements(&mut b), 1);
    assert_eq!(tiles(&mut b, g, None, 0), (ENOSPC, 16));
    assert_eq!(tiles(&mut b, g, None, 99), (0, 16));
    assert_eq!(tiles(&mut b, s, None, 15), (EFAULT, 0));
    assert_eq!(tiles(&mut b, s, None, 513 * 16), (ENOSPC, 512 * 16));
    assert_eq!(tiles(&mut b, s, None, 3 * 16 + 5), (0, 3 * 16));
    assert_eq!(elements(&mut b), 3);
    assert_eq!(tiles(&mut b, g, None, 2 * 16), (ENOSPC, 3 * 16));
    // A request has its own size.
    let (id, fd) = b.alloc();
    assert_eq!(tiles(&mut b, s, Some(fd), 2 * 16), (0, 2 * 16));
    assert_eq!(elements(&mut b), 3);
    b.close((id, fd));
}
