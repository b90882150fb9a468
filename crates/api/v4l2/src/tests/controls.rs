//! Controls: enumeration, ranges, and the extended calls' error index.

use super::driver::{AUTO, BUTTON, GOVERNED, GRABBED, MASK, NUMBERS, STRUCTURE, WIDE};
use super::*;
use crate::bytes::field;
use crate::sys;

const EXPOSURE: u32 = sys::V4L2_CID_EXPOSURE_ABSOLUTE;
const BRIGHTNESS: u32 = sys::V4L2_CID_BRIGHTNESS;
const CONTRAST: u32 = sys::V4L2_CID_CONTRAST;
const EFFECT: u32 = sys::V4L2_CID_COLORFX;
const USER_CLASS: u32 = sys::V4L2_CTRL_CLASS_USER | 1;
const NEXT: u32 = sys::V4L2_CTRL_FLAG_NEXT_CTRL;
const COMPOUND: u32 = sys::V4L2_CTRL_FLAG_NEXT_COMPOUND;
const ENOSPC: i32 = 28;

fn query_ext(b: &mut Bench, id: u32) -> (i32, Vec<u8>) {
    let mut arg = vec![0xff; size_of::<sys::v4l2_query_ext_ctrl>()];
    Image(&mut arg).set_u32(0, id);
    let errno = b.call(sys::VIDIOC_QUERY_EXT_CTRL, &mut arg);
    (errno, arg)
}

fn query(b: &mut Bench, id: u32) -> (i32, Vec<u8>) {
    let mut arg = vec![0xff; size_of::<sys::v4l2_queryctrl>()];
    Image(&mut arg).set_u32(0, id);
    let errno = b.call(sys::VIDIOC_QUERYCTRL, &mut arg);
    (errno, arg)
}

fn get_ctrl(b: &mut Bench, id: u32) -> Result<i32, i32> {
    let mut arg: [u8; 8] = record(&[(0, id), (4, 0xdead)]);
    match b.call(sys::VIDIOC_G_CTRL, &mut arg) {
        0 => Ok(Image(&mut arg).i32(4)),
        errno => Err(errno),
    }
}

fn set_ctrl(b: &mut Bench, id: u32, value: i32) -> Result<i32, i32> {
    let mut arg: [u8; 8] = record(&[(0, id), (4, value.cast_unsigned())]);
    match b.call(sys::VIDIOC_S_CTRL, &mut arg) {
        0 => Ok(Image(&mut arg).i32(4)),
        errno => Err(errno),
    }
}

#[test]
fn enumeration_ascends_and_includes_classes() {
    let mut b = Bench::capture();
    let mut ids = Vec::new();
    let mut id = 0;
    loop {
        let (errno, arg) = query_ext(&mut b, id | NEXT | COMPOUND);
        if errno != 0 {
            assert_eq!(errno, EINVAL);
            break;
        }
        id = get(&arg, 0);
        ids.push(id);
        let (errno, old) = query(&mut b, id);
        assert_eq!((errno, get(&old, 0), get(&old, 4)), (0, id, get(&arg, 4)));
        assert_eq!(&arg[8..40], &old[8..40], "one name");
        assert_eq!(&arg[arg.len() - 128..], &[0; 128], "reserved");
    }
    assert_eq!(
        ids,
        [
            USER_CLASS,
            BRIGHTNESS,
            CONTRAST,
            AUTO,
            sys::V4L2_CID_HFLIP,
            GOVERNED,
            EFFECT,
            BUTTON,
            STRUCTURE,
            WIDE,
            MASK,
            NUMBERS,
            GRABBED,
            sys::V4L2_CTRL_CLASS_CAMERA | 1,
            EXPOSURE,
        ]
    );
    let (errno, arg) = query(&mut b, COMPOUND);
    assert_eq!((errno, get(&arg, 0)), (0, STRUCTURE));
    assert_eq!(query(&mut b, STRUCTURE | COMPOUND).0, EINVAL, "the last");
    assert_eq!(query(&mut b, NEXT).0, 0);
    assert_eq!(query(&mut b, 0x1234).0, EINVAL);
    b.close();
}

#[test]
fn old_private_ids_number_driver_controls() {
    let mut b = Bench::capture();
    for (nth, id) in [(0, BUTTON), (1, MASK), (2, NUMBERS), (3, GRABBED)] {
        let old = sys::V4L2_CID_PRIVATE_BASE + nth;
        let (errno, arg) = query(&mut b, old);
        assert_eq!((errno, get(&arg, 0)), (0, old));
        assert_eq!(&arg[8..40], &query(&mut b, id).1[8..40], "{nth}");
    }
    assert_eq!(query(&mut b, sys::V4L2_CID_PRIVATE_BASE + 4).0, EINVAL);
    assert!(get_ctrl(&mut b, BRIGHTNESS).is_ok());
    let asked = get_ctrl(&mut b, BRIGHTNESS | NEXT);
    assert_eq!(
        asked,
        get_ctrl(&mut b, BRIGHTNESS),
        "flags are no part of an id"
    );
    b.close();
}

#[test]
fn ranges_and_flags() {
    let mut b = Bench::capture();
    let rows: [(u32, u32, i64, i64, u64, i64, u32, u32); 6] = [
        (CONTRAST, 1, -10, 100, 5, 50, 0x20, 4),
        (EFFECT, 3, 0, 2, 1, 0, 0, 4),
        (BUTTON, 4, 0, 0, 0, 0, 0x240, 4),
        (STRUCTURE, 0x201, 0, 0, 0, 0, 0x100, 12),
        (MASK, 8, 0, 0x8000_000f, 0, 0x8000_0001, 0, 4),
        (EXPOSURE, 1, 1, 99, 1, 5, 0x84, 4),
    ];
    for (id, ty, min, max, step, default, flags, elem) in rows {
        let (errno, mut arg) = query_ext(&mut b, id);
        let image = Image(&mut arg);
        assert_eq!((errno, image.u32(4)), (0, ty), "{id:#x}");
        let got = (
            image.i64(field!(v4l2_query_ext_ctrl.minimum)),
            image.i64(field!(v4l2_query_ext_ctrl.maximum)),
            image.u64(field!(v4l2_query_ext_ctrl.step)),
            image.i64(field!(v4l2_query_ext_ctrl.default_value)),
            image.u32(field!(v4l2_query_ext_ctrl.flags)),
            image.u32(field!(v4l2_query_ext_ctrl.elem_size)),
            image.u32(field!(v4l2_query_ext_ctrl.elems)),
        );
        assert_eq!(got, (min, max, step, default, flags, elem, 1), "{id:#x}");
    }
    let (_, wide) = query(&mut b, WIDE);
    assert_eq!(
        &wide[40..56],
        &[0; 16],
        "a 64-bit range does not fit QUERYCTRL"
    );
    b.close();
}

#[test]
fn menus() {
    let mut b = Bench::capture();
    let mut ask = |id, index| {
        let mut arg = vec![0xff; size_of::<sys::v4l2_querymenu>()];
        Image(&mut arg).set_u32(0, id);
        Image(&mut arg).set_u32(4, index);
        (b.call(sys::VIDIOC_QUERYMENU, &mut arg), arg)
    };
    let (errno, sepia) = ask(EFFECT, 2);
    assert_eq!(
        (errno, &sepia[8..14], get(&sepia, 40)),
        (0, &b"Sepia\0"[..], 0)
    );
    assert_eq!(ask(EFFECT, 1).0, EINVAL, "a gap");
    assert_eq!(ask(EFFECT, 3).0, EINVAL);
    let (errno, mut number) = ask(NUMBERS, 1);
    assert_eq!((errno, Image(&mut number).i64(8)), (0, 1 << 40));
    assert_eq!(ask(NUMBERS, u32::MAX).0, EINVAL);
    assert_eq!(ask(BRIGHTNESS, 0).0, EINVAL);
    assert_eq!(ask(0, 0).0, EINVAL);
    b.close();
}

#[test]
fn values_are_rounded_clamped_or_refused() {
    let mut b = Bench::capture();
    let low = i32::MIN;
    let rows: [(u32, i32, Result<i32, i32>); 19] = [
        (BRIGHTNESS, 300, Ok(255)),
        (BRIGHTNESS, low, Ok(0)),
        (CONTRAST, 52, Ok(50)),
        (CONTRAST, 53, Ok(55)),
        (CONTRAST, i32::MAX, Ok(100)),
        (CONTRAST, -11, Ok(-10)),
        (sys::V4L2_CID_HFLIP, -7, Ok(1)),
        (EFFECT, 2, Ok(2)),
        (EFFECT, 1, Err(EINVAL)),
        (EFFECT, 3, Err(ERANGE)),
        (EFFECT, -1, Err(ERANGE)),
        (NUMBERS, 2, Err(ERANGE)),
        (MASK, -1, Ok(0x8000_000f_u32.cast_signed())),
        (BUTTON, 5, Ok(0)),
        (GRABBED, 0, Err(EBUSY)),
        (EXPOSURE, 7, Err(EACCES)),
        (USER_CLASS, 1, Err(EACCES)),
        (STRUCTURE, 1, Err(EINVAL)),
        (WIDE, 1, Err(EINVAL)),
    ];
    for (id, value, wanted) in rows {
        assert_eq!(set_ctrl(&mut b, id, value), wanted, "{id:#x} = {value}");
        if let (Ok(value), true) = (wanted, id != BUTTON) {
            assert_eq!(get_ctrl(&mut b, id), Ok(value), "{id:#x}");
        }
    }
    assert_eq!(get_ctrl(&mut b, EXPOSURE), Ok(5));
    b.device.driver_mut().exposure = 6;
    assert_eq!(
        get_ctrl(&mut b, EXPOSURE),
        Ok(6),
        "a volatile one is asked for each time"
    );
    for id in [BUTTON, USER_CLASS] {
        assert_eq!(get_ctrl(&mut b, id), Err(EACCES));
    }
    for id in [STRUCTURE, WIDE, 0, u32::MAX] {
        assert_eq!(get_ctrl(&mut b, id), Err(EINVAL), "{id:#x}");
    }
    b.close();
}

#[test]
fn drivers_see_changes_and_may_refuse_them() {
    let mut b = Bench::capture();
    set_ctrl(&mut b, BRIGHTNESS, 9).unwrap();
    set_ctrl(&mut b, BRIGHTNESS, 9).unwrap();
    set_ctrl(&mut b, BUTTON, 1).unwrap();
    set_ctrl(&mut b, BUTTON, 1).unwrap();
    let number = crate::ControlValue::Number;
    let heard = [
        (BRIGHTNESS, number(9)),
        (BUTTON, number(0)),
        (BUTTON, number(0)),
    ];
    assert_eq!(b.device.driver().written, heard);
    b.device.driver_mut().control_errno = EIO;
    assert_eq!(set_ctrl(&mut b, BRIGHTNESS, 10), Err(EIO));
    assert_eq!(get_ctrl(&mut b, BRIGHTNESS), Ok(9), "it keeps its value");
    b.close();
}

#[test]
fn a_reset_sets_no_read_only_control_and_no_button() {
    let mut b = Bench::capture();
    set_ctrl(&mut b, BRIGHTNESS, 9).unwrap();
    b.device
        .contexts_mut()
        .for_each(|context| context.reset_controls(0));
    assert_eq!(get_ctrl(&mut b, BRIGHTNESS), Ok(128));
    let written = b.device.driver().written.iter();
    let untouched = [BUTTON, sys::V4L2_CID_EXPOSURE_ABSOLUTE];
    assert_eq!(written.filter(|(id, _)| untouched.contains(id)).count(), 0);
    b.close();
}

/// One control of an extended call: id, size, value.
type Entry = (u32, u32, u64);

/// Makes an extended call. Returns errno, error_idx and the entries.
fn ext(b: &mut Bench, request: u32, which: u32, entries: &[Entry]) -> (i32, u32, Vec<Entry>) {
    let (errno, arg, answered) = ext_call(b, request, which, entries);
    (errno, get(&arg, 8), answered)
}

/// Makes an extended call. Returns errno, the structure and the entries.
fn ext_call(
    b: &mut Bench,
    request: u32,
    which: u32,
    entries: &[Entry],
) -> (i32, [u8; 32], Vec<Entry>) {
    let mut array = vec![0; entries.len() * 20];
    for (bytes, &(id, size, value)) in array.chunks_exact_mut(20).zip(entries) {
        let mut image = Image(bytes);
        image.set_u32(0, id);
        image.set_u32(4, size);
        image.set_u32(8, 0xffff);
        image.set_u64(12, value);
    }
    b.program.poke(ARRAY, &array);
    let count = u32::try_from(entries.len()).unwrap();
    let mut arg: [u8; 32] = record(&[(0, which), (4, count), (8, 0xdead), (16, 0xffff)]);
    Image(&mut arg).set_u64(24, ARRAY);
    let errno = b.call(request, &mut arg);
    assert_eq!(get(&arg, 16), 0, "reserved");
    b.program.peek(ARRAY, &mut array);
    let answered = array
        .chunks_exact_mut(20)
        .map(|bytes| {
            let image = Image(bytes);
            assert_eq!(image.u32(8), 0, "reserved2");
            (image.u32(0), image.u32(4), image.u64(12))
        })
        .collect();
    (errno, arg, answered)
}

const G: u32 = sys::VIDIOC_G_EXT_CTRLS;
const S: u32 = sys::VIDIOC_S_EXT_CTRLS;
const T: u32 = sys::VIDIOC_TRY_EXT_CTRLS;

/// Source: Linux 7.2 `prepare_ext_ctrls`, `v4l2_g_ext_ctrls_common`.
#[test]
fn minima_and_maxima_are_read_where_flagged() {
    let mut b = Bench::capture();
    for (which, value) in [(0x0f02_0000, i64::MIN), (0x0f03_0000, i64::MAX)] {
        let (errno, _, array) = ext(&mut b, G, which, &[(WIDE, 0, 0)]);
        assert_eq!((errno, array[0].2), (0, value.cast_unsigned()));
        let (errno, ..) = ext(&mut b, G, which, &[(WIDE, 0, 0), (BRIGHTNESS, 0, 0)]);
        assert_eq!(errno, EINVAL);
    }
    b.close();
}

#[test]
fn error_index_differs_for_try_and_set() {
    let mut b = Bench::capture();
    let good: Entry = (BRIGHTNESS, 0, 3);
    let (user, camera) = (sys::V4L2_CTRL_CLASS_USER, sys::V4L2_CTRL_CLASS_CAMERA);
    let default = sys::V4L2_CTRL_WHICH_DEF_VAL;
    let (least, most) = (0x0f02_0000, 0x0f03_0000);
    let rows: [(&str, u32, u32, &[Entry], i32, u32); 26] = [
        ("get no minima", G, least, &[], 0, 0),
        ("get an unknown minimum", G, least, &[good], EINVAL, 1),
        ("try maxima", T, most, &[good], EINVAL, 1),
        ("set maxima", S, most, &[], EINVAL, 0),
        ("none", G, 0, &[], 0, 0),
        ("none of a class", T, user, &[], 0, 0),
        ("none of no class", S, 0x0055_0000, &[], EINVAL, 0),
        ("get unknown", G, 0, &[good, (0, 0, 0)], EINVAL, 2),
        ("try unknown", T, 0, &[good, (0, 0, 0)], EINVAL, 1),
        ("set unknown", S, 0, &[good, (0, 0, 0)], EINVAL, 2),
        ("get write-only", G, 0, &[good, (BUTTON, 0, 0)], EACCES, 2),
        ("try read-only", T, 0, &[good, (EXPOSURE, 0, 0)], EACCES, 1),
        ("set read-only", S, 0, &[good, (EXPOSURE, 0, 0)], EACCES, 2),
        ("try out of range", T, 0, &[good, (EFFECT, 0, 9)], ERANGE, 1),
        ("set out of range", S, 0, &[good, (EFFECT, 0, 9)], ERANGE, 2),
        ("set grabbed", S, 0, &[good, (GRABBED, 0, 0)], EBUSY, 2),
        ("try grabbed", T, 0, &[good, (GRABBED, 0, 0)], 0, 1),
        ("get mixed", G, user, &[good, (EXPOSURE, 0, 0)], EINVAL, 2),
        ("try mixed", T, user, &[good, (EXPOSURE, 0, 0)], EINVAL, 1),
        ("set mixed", S, camera, &[good, good], EINVAL, 2),
        ("try defaults", T, default, &[good], EINVAL, 1),
        ("set defaults", S, default, &[], EINVAL, 0),
        (
            "get of a request",
            G,
            sys::V4L2_CTRL_WHICH_REQUEST_VAL,
            &[good],
            EINVAL,
            1,
        ),
        (
            "old private id",
            G,
            0,
            &[(sys::V4L2_CID_PRIVATE_BASE, 0, 0)],
            EINVAL,
            1,
        ),
        ("get two classes", G, 0, &[good, (EXPOSURE, 0, 0)], 0, 1),
        ("try fine", T, user, &[good], 0, 0),
    ];
    for (id, request, which, entries, errno, index) in rows {
        let (got, error_idx, _) = ext(&mut b, request, which, entries);
        assert_eq!((got, error_idx), (errno, index), "{id}");
    }
    assert_eq!(
        get_ctrl(&mut b, BRIGHTNESS),
        Ok(128),
        "nothing was set by any of these"
    );
    assert!(b.device.driver().written.is_empty());
    b.close();
}

/// Source: Linux 7.2 `prepare_ext_ctrls`, `validate_ctrls`.
#[test]
fn the_first_of_two_errors_wins() {
    let mut b = Bench::capture();
    let unknown: Entry = (sys::V4L2_CID_USER_BASE | 0x0fff, 0, 0);
    let read_only: Entry = (EXPOSURE, 0, 0);
    let grabbed: Entry = (GRABBED, 0, 9);
    let out_of_range: Entry = (EFFECT, 0, 9);
    let too_small: Entry = (STRUCTURE, 1, 0);
    let unreadable: Entry = (STRUCTURE, 12, 0);
    let user = sys::V4L2_CTRL_CLASS_USER;
    let rows: [(&str, u32, u32, [Entry; 2], i32, u32); 11] = [
        ("unknown, mixed", T, user, [unknown, read_only], EINVAL, 0),
        (
            "too small, mixed",
            T,
            user,
            [too_small, read_only],
            EFAULT,
            0,
        ),
        ("too small, unknown", G, 0, [too_small, unknown], ENOSPC, 2),
        ("read-only, unknown", T, 0, [read_only, unknown], EINVAL, 1),
        (
            "out of range, unknown",
            S,
            0,
            [out_of_range, unknown],
            EINVAL,
            2,
        ),
        ("grabbed, read-only", S, 0, [grabbed, read_only], EBUSY, 2),
        (
            "grabbed and out of range",
            T,
            0,
            [grabbed, read_only],
            ERANGE,
            0,
        ),
        (
            "unreadable, out of range",
            S,
            0,
            [unreadable, out_of_range],
            ERANGE,
            2,
        ),
        (
            "unreadable, out of range",
            T,
            0,
            [unreadable, out_of_range],
            ERANGE,
            1,
        ),
        (
            "unreadable",
            T,
            0,
            [(BRIGHTNESS, 0, 1), unreadable],
            EFAULT,
            1,
        ),
        (
            "write-only, no memory",
            G,
            0,
            [unreadable, (BUTTON, 0, 0)],
            EACCES,
            2,
        ),
    ];
    for (id, request, which, entries, errno, index) in rows {
        let (got, error_idx, _) = ext(&mut b, request, which, &entries);
        assert_eq!((got, error_idx), (errno, index), "{id}");
    }
    assert!(b.device.driver().written.is_empty(), "nothing was set");
    b.close();
}

/// Source: Linux 7.2 `try_set_ext_ctrls_common`: structures are read when they are set.
#[test]
fn a_bad_structure_leaves_earlier_entries_set() {
    let mut b = Bench::capture();
    let at = ARRAY + 0x800;
    // `num_slice_groups_minus1` is at most 7.
    b.program.poke(at, &[0, 0, 8]);
    for (value, addr, errno) in [(3, 0, EFAULT), (4, at, EINVAL)] {
        let entries = [
            (BRIGHTNESS, 0, value),
            (STRUCTURE, 12, addr),
            (CONTRAST, 0, 5),
        ];
        let (got, index, _) = ext(&mut b, S, 0, &entries);
        assert_eq!((got, index), (errno, 1), "{addr:#x}");
        let brightness = get_ctrl(&mut b, BRIGHTNESS).map(i64::from);
        assert_eq!(brightness, Ok(value.cast_signed()));
        assert_eq!(get_ctrl(&mut b, CONTRAST), Ok(50), "{addr:#x}");
    }
    b.close();
}

#[test]
fn nothing_is_set_before_all_structures_are_fetched() {
    let mut b = Bench::capture();
    b.program.lacks.set(true);
    let entries = [(BRIGHTNESS, 0, 3), (STRUCTURE, 12, ARRAY + 0x800)];
    assert_ne!(ext(&mut b, S, 0, &entries).0, 0);
    assert!(b.device.driver().written.is_empty());
    b.program.lacks.set(false);
    assert_eq!(ext(&mut b, S, 0, &entries).0, 0);
    assert_eq!(get_ctrl(&mut b, BRIGHTNESS), Ok(3));
    b.close();
}

/// Source: Linux 7.2 `validate_ctrls`.
#[test]
fn numbers_are_clamped_before_a_later_refusal() {
    let mut b = Bench::capture();
    for (request, index) in [(T, 1), (S, 2)] {
        let entries = [(CONTRAST, 0, 53), (EFFECT, 0, 9), (CONTRAST, 0, 53)];
        let (errno, found, answered) = ext(&mut b, request, 0, &entries[..2]);
        assert_eq!((errno, found), (ERANGE, index));
        assert_eq!(answered[0], (CONTRAST, 0, 55));
    }
    b.close();
}

/// Source: Linux `V4L2_CTRL_ID2WHICH` in `v4l2_g_ext_ctrls_common` and `try_set_ext_ctrls_common`.
#[test]
fn which_is_reduced_to_its_class() {
    let mut b = Bench::capture();
    let contrast: Entry = (CONTRAST, 0, 60);
    let (user, default) = (sys::V4L2_CTRL_CLASS_USER, sys::V4L2_CTRL_WHICH_DEF_VAL);
    assert_eq!(set_ctrl(&mut b, CONTRAST, 60), Ok(60));
    let rows = [
        (G, 5, 0, Ok(60)),
        (S, 5, 0, Ok(60)),
        (G, user | 0x1000_0001, user, Ok(60)),
        (T, user | 1, user, Ok(60)),
        (G, default, default, Ok(50)),
        (T, default, default, Err(EINVAL)),
        // Not the default values.
        (G, 0x1000_0000 | default, default, Ok(60)),
        (S, 0x1000_0000 | default, default, Ok(60)),
        (G, 0x0055_0001, 0x0055_0000, Err(EINVAL)),
    ];
    for (request, which, reduced, wanted) in rows {
        let (errno, arg, entries) = ext_call(&mut b, request, which, &[contrast]);
        let got = if errno == 0 {
            Ok(entries[0].2)
        } else {
            Err(errno)
        };
        assert_eq!((got, get(&arg, 0)), (wanted, reduced), "{which:#x}");
        if wanted.is_ok() {
            assert_eq!(ext(&mut b, request, which, &[]).0, 0, "{which:#x}");
        }
    }
    b.close();
}

#[test]
fn a_governed_control_is_active_in_manual_mode() {
    let mut b = Bench::capture();
    let flags = |b: &mut Bench| get(&query(b, GOVERNED).1, 56);
    for (mode, inactive) in [(1, 0x10), (0, 0), (1, 0x10)] {
        assert_eq!(set_ctrl(&mut b, AUTO, mode), Ok(mode));
        assert_eq!(flags(&mut b), inactive, "mode {mode}");
        assert_eq!(set_ctrl(&mut b, GOVERNED, 7), Ok(7));
    }
    b.close();
    let mut fresh = Bench::capture();
    assert_eq!(flags(&mut fresh), 0x10, "the default is automatic");
    fresh.close();
}

#[test]
fn drivers_grab_controls() {
    let mut b = Bench::capture();
    let entries = [(BRIGHTNESS, 0, 3), (CONTRAST, 0, 5)];
    for (grabbed, flag, errno, index) in [(vec![CONTRAST], 2, EBUSY, 2), (vec![], 0, 0, 1)] {
        b.device.driver_mut().grabbed = grabbed;
        let flags = field!(v4l2_query_ext_ctrl.flags);
        assert_eq!(get(&query_ext(&mut b, CONTRAST).1, flags) & 2, flag);
        let flags = field!(v4l2_queryctrl.flags);
        assert_eq!(get(&query(&mut b, CONTRAST).1, flags) & 2, flag);
        // Its present value.
        assert_eq!(set_ctrl(&mut b, CONTRAST, 50).err().unwrap_or(0), errno);
        let (found, error_idx, _) = ext(&mut b, S, 0, &entries);
        assert_eq!((found, error_idx), (errno, index));
        let brightness = if errno == 0 { 3 } else { 128 };
        assert_eq!(get_ctrl(&mut b, BRIGHTNESS), Ok(brightness));
    }
    b.close();
}

/// Source: Linux 7.2 `check_ext_ctrls`, `uvc_ctrl_check_access`, `uvc_ioctl_s_try_ext_ctrls`.
#[test]
fn webcams_check_access_before_values() {
    const DEF: u32 = sys::V4L2_CTRL_WHICH_DEF_VAL;
    const USER: u32 = sys::V4L2_CTRL_CLASS_USER;
    let mut b = Bench::capture();
    b.device.driver_mut().identity.driver = "uvcvideo".into();
    let (light, odd, unknown) = ((BRIGHTNESS, 0, 3), (EFFECT, 0, 7), (0x0098_0999, 0, 0));
    let (fixed, class, push) = ((EXPOSURE, 0, 1), (USER_CLASS, 0, 0), (BUTTON, 0, 0));
    for (request, which, entries, errno, index) in [
        // `which` is a class that contains all controls of the call, or one of four special numbers.
        (S, DEF, vec![light], EINVAL, 1),
        (T, 0x0f01_0000, vec![light], EINVAL, 1),
        (G, 0x0f01_0000, vec![], EINVAL, 0),
        (S, USER | 1, vec![light], EINVAL, 1),
        (T, USER, vec![light, fixed], EINVAL, 1),
        (S, USER, vec![light, fixed], EINVAL, 2),
        (S, USER, vec![], 0, 0),
        // Access is checked before values.
        (S, 0, vec![odd, fixed], EACCES, 2),
        (T, 0, vec![odd, fixed], EACCES, 1),
        (S, 0, vec![light, unknown], EINVAL, 2),
        (T, 0, vec![class, unknown], EACCES, 0),
        (S, 0, vec![light, odd], ERANGE, 2),
        (T, 0, vec![light, odd], ERANGE, 1),
        // The first readable control ends the check of access.
        (G, 0, vec![class, light], EACCES, 2),
        (G, 0, vec![unknown, light], EINVAL, 2),
        (G, 0, vec![light, class], EACCES, 1),
        (G, 0, vec![light, push], EACCES, 1),
        (G, 0, vec![push, unknown], EINVAL, 2),
        (G, 0x0f02_0000, vec![light], EINVAL, 1),
        (G, DEF, vec![light, odd], 0, 0),
        (S, 0, vec![light], 0, 0),
    ] {
        let (found, error_idx, _) = ext(&mut b, request, which, &entries);
        let asked = format!("{request:#x} {which:#x} {entries:x?}");
        assert_eq!((found, error_idx), (errno, index), "{asked}");
        let (_, _, now) = ext(&mut b, G, 0, &[light]);
        let is_last = entries == [light] && found == 0;
        assert_eq!(now[0].2, if is_last { 3 } else { 128 }, "{asked}");
    }
    assert_eq!(set_ctrl(&mut b, AUTO, -5), Ok(0), "the nearest value");
    assert_eq!(set_ctrl(&mut b, AUTO, 5), Ok(1));
    assert_eq!(set_ctrl(&mut b, EXPOSURE, 4), Err(EACCES));
    b.close();
}

#[test]
fn drivers_refusal_sets_the_error_index() {
    let mut b = Bench::capture();
    b.device.driver_mut().control_errno = EIO;
    let unchanged: Entry = (CONTRAST, 0, 50);
    let (errno, index, _) = ext(&mut b, S, 0, &[unchanged, (BRIGHTNESS, 0, 3)]);
    assert_eq!((errno, index), (EIO, 1));
    b.close();
}

#[test]
fn values_of_all_kinds_are_set_and_read() {
    let mut b = Bench::capture();
    let wide = u64::from_ne_bytes((-5_i64 << 40).to_ne_bytes());
    let (errno, _, set) = ext(&mut b, S, 0, &[(CONTRAST, 0, 53), (WIDE, 0, wide)]);
    assert_eq!((errno, set), (0, vec![(CONTRAST, 0, 55), (WIDE, 0, wide)]));
    let (_, _, got) = ext(&mut b, G, 0, &[(CONTRAST, 0, 0), (WIDE, 0, 0)]);
    assert_eq!(got, [(CONTRAST, 0, 55), (WIDE, 0, wide)]);
    let default = sys::V4L2_CTRL_WHICH_DEF_VAL;
    let (errno, _, got) = ext(&mut b, G, default, &[(CONTRAST, 0, 0), (WIDE, 0, 0)]);
    assert_eq!(
        (errno, got),
        (0, vec![(CONTRAST, 0, 50), (WIDE, 0, u64::MAX)])
    );
    let (errno, _, tried) = ext(&mut b, T, 0, &[(BRIGHTNESS, 0, 999)]);
    assert_eq!((errno, tried), (0, vec![(BRIGHTNESS, 0, 255)]));
    assert_eq!(get_ctrl(&mut b, BRIGHTNESS), Ok(128), "trying sets nothing");
    b.close();
}

/// Source: Linux `prepare_ext_ctrls`.
#[test]
fn structures_have_sizes() {
    let mut b = Bench::capture();
    let at = ARRAY + 0x800;
    let rows: [(&str, u32, u32, u64, i32, u32); 7] = [
        ("too small to read", G, 3, at, ENOSPC, 12),
        ("just enough to read", G, 12, at, 0, 12),
        ("more than enough", G, 99, at, 0, 12),
        ("no memory to read to", G, 12, 0, EFAULT, 12),
        ("too small to set", S, 11, at, EFAULT, 11),
        ("more than needed", S, 99, at, 0, 12),
        ("no memory to set from", S, 12, 0, EFAULT, 12),
    ];
    for (id, request, size, at, errno, answered) in rows {
        let (got, _, entries) = ext(&mut b, request, 0, &[(STRUCTURE, size, at)]);
        assert_eq!((got, entries[0].1), (errno, answered), "{id}");
    }
    b.close();
}

#[test]
fn arrays_out_of_bounds() {
    let mut b = Bench::capture();
    for (count, addr, errno) in [
        (1025, ARRAY, EINVAL),
        (u32::MAX, ARRAY, EINVAL),
        (1, 0, EFAULT),
        (1, u64::MAX, EFAULT),
    ] {
        let mut arg: [u8; 32] = record(&[(4, count), (8, 77)]);
        Image(&mut arg).set_u64(24, addr);
        assert_eq!(b.call(G, &mut arg), errno, "{count} at {addr:#x}");
        assert_eq!(get(&arg, 8), 77, "nothing is answered");
    }
    b.close();
}

/// Source: Linux `video_usercopy`.
#[test]
fn arrays_are_read_before_the_priority_is_checked() {
    let mut b = Bench::capture();
    assert_eq!(b.number(sys::VIDIOC_S_PRIORITY, 3), 0);
    let other = b.open();
    for (count, errno) in [(1025, EINVAL), (1, EFAULT), (0, EBUSY)] {
        let mut arg: [u8; 32] = record(&[(4, count)]);
        assert_eq!(b.call_by(other, S, &mut arg), errno, "{count}");
    }
    b.close();
}
