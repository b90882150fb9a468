//! Structures have their values where the kernel's have them.

use super::*;

const CAPTURE: Kind = Kind {
    output: false,
    mplane: false,
};

#[test]
fn bytes_outside_a_structure_are_left_out() {
    let mut arg = Arg::new(8, &[(4, 7)]);
    assert_eq!((arg.u32(0), arg.u32(4), arg.u32(8)), (0, 7, 0));
    arg.put(5, &[1; 4]);
    assert_eq!(arg.u32(4), 7);
    arg.put(0, &(-2i64).to_ne_bytes());
    assert_eq!((arg.i64(0), arg.i64(1)), (-2, 0));
}

#[test]
fn buffer_returns_what_it_was_given() {
    for mplane in [false, true] {
        let kind = Kind { mplane, ..CAPTURE };
        let own = buffer(kind, Model::Mmap, 3, Source::Own, 9);
        let user = buffer(kind, Model::UserPtr, 3, Source::User(0x1_2345_6789, 77), 9);
        let shared = buffer(kind, Model::DmaBuf, 3, Source::Fd(-1), 9);
        for ((mut arg, plane), length, offset) in
            [(own, 0, 0), (user, 77, 0x2345_6789), (shared, 0, u32::MAX)]
        {
            assert_eq!(plane.is_some(), mplane);
            put_time(&mut arg, 5);
            put_request(&mut arg, 40);
            let told = told(&arg, plane.as_ref());
            assert_eq!((told.index, told.used, told.time_us), (3, 9, 5_000_000));
            assert_eq!((told.length, told.offset), (length, offset));
            assert_eq!(told.flags, V4L2_BUF_FLAG_REQUEST_FD);
            let request = arg.u32(offset_of!(v4l2_buffer, __bindgen_anon_1));
            assert_eq!(request, 40);
            put_request(&mut arg, 41);
            assert_eq!(arg.u32(offset_of!(v4l2_buffer, flags)), told.flags);
            let micros = offset_of!(v4l2_buffer, timestamp) + 8;
            arg.put(micros, &7i64.to_ne_bytes());
            let time_us = super::told(&arg, plane.as_ref()).time_us;
            assert_eq!(time_us, 5_000_007);
        }
    }
}

#[test]
fn only_an_empty_buffer_with_the_flag_is_last() {
    let (arg, _) = buffer(CAPTURE, Model::Mmap, 0, Source::Own, 0);
    let told = told(&arg, None);
    for (used, flags, is_last) in [
        (0, 0, false),
        (0, LAST, true),
        (0, LAST | ERROR, true),
        (0, ERROR | DONE | QUEUED, false),
        (1, LAST, false),
    ] {
        let told = Told {
            used,
            flags,
            ..told
        };
        assert_eq!(told.is_last(), is_last, "{told:?}");
    }
}

#[test]
fn requests_for_buffers_have_all_values() {
    for (cached, flags) in [(false, 0), (true, NON_COHERENT)] {
        let arg = reqbufs(CAPTURE, Model::DmaBuf, 5, cached);
        assert_eq!((granted(&arg), arg.u32(4), arg.u32(8)), (5, 1, 4));
        // Its flags are one byte.
        let at = offset_of!(v4l2_requestbuffers, flags);
        assert_eq!(arg.u32(at), flags);
        let format = super::format(CAPTURE);
        let arg = create(Model::UserPtr, 6, cached, &format);
        assert_eq!(created(&arg), (0, 6));
        let at = offset_of!(v4l2_create_buffers, flags);
        assert_eq!(arg.u32(at), flags);
        let at = offset_of!(v4l2_create_buffers, format);
        assert_eq!(arg.0[at..at + format.0.len()], format.0);
    }
    let arg = remove(CAPTURE, 7, 2);
    assert_eq!((arg.u32(0), arg.u32(4), arg.u32(8)), (7, 2, 1));
    let arg = export(CAPTURE, 7);
    assert_eq!((arg.u32(0), arg.u32(4), exported(&arg)), (1, 7, 0));
}

#[test]
fn picture_is_read_from_the_format() {
    let format = Arg::of::<v4l2_format>(&[
        (WIDTH, 64),
        (WIDTH + 4, 48),
        (WIDTH + 8, 1234),
        (WIDTH + 20, 6144),
    ]);
    assert_eq!(picture_of(&format), (64, 48, 1234, 6144));
    let kinds = [(false, false), (true, false), (false, true), (true, true)];
    let kinds = kinds.map(|(output, mplane)| Kind { output, mplane });
    assert_eq!(kinds.map(Kind::number), [1, 2, 9, 10]);
}
