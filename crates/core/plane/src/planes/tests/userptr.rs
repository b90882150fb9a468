//! Memory of a program.

use super::*;
use Direction::{Bidirectional, FromDevice, ToDevice};

const BASE: u64 = FakeUser::BASE;

fn refuse(dev: u32, addr: u64, len: u64, read_only: bool) -> PlaneError {
    let t = planes();
    let user = t.ops().platform().add_user(4, read_only);
    let refused = t
        .get_userptr(Device::contig(dev), &user, addr, len, FromDevice)
        .expect_err("refused");
    assert_nothing(&t);
    refused
}

#[test]
fn checks_come_in_their_order() {
    // Checked in this order: alignment, length, memory, contiguity.
    let e = refuse(CAMERA, BASE + 1, PAGE, false);
    assert_eq!(e.errno(), 22);
    assert_eq!(reason(e), (Constraint::Alignment, 64, 1));
    let e = refuse(CAMERA, BASE, PAGE + 32, false);
    assert_eq!(
        (e.errno(), reason(e)),
        (22, (Constraint::Alignment, 64, 32))
    );
    let e = refuse(CAMERA, 1, 0, false);
    assert_eq!((e.errno(), reason(e)), (22, (Constraint::Alignment, 64, 1)));
    assert_eq!(refuse(CAMERA, 0, 0, false), PlaneError::Invalid(None));
    for (addr, len, read_only) in [
        (0, PAGE, false),
        (BASE, 5 * PAGE, false),
        (BASE, PAGE, true),
        (BASE, 0xffff_f000, false),
        (u64::MAX - 63, 128, false),
        (BASE, u64::MAX - 63, false),
    ] {
        let e = refuse(DIRECT, addr, len, read_only);
        assert_eq!(e.errno(), 14, "{addr:#x} {len:#x}");
        assert_eq!(reason(e).0, Constraint::UserPages);
    }
}

#[test]
fn a_pin_error_of_the_host_keeps_its_errno() {
    const EINTR: i32 = 4;
    for dev in [Device::contig(CAMERA), Device::vmalloc(CAMERA)] {
        let t = planes();
        let user = t.ops().platform().add_user(1, false);
        t.ops().platform().fail_pins(Some(EINTR));
        let refused = t.get_userptr(dev, &user, BASE, PAGE, FromDevice);
        assert_eq!(refused.expect_err("refused").errno(), EINTR);
        assert_nothing(&t);
    }
}

#[test]
fn a_byte_address_is_fine_where_caches_are_coherent() {
    let t = planes();
    let user = t.ops().platform().add_user(4, false);
    let plane = t
        .get_userptr(Device::contig(PC), &user, BASE + 1, PAGE, FromDevice)
        .unwrap();
    t.put(plane);
    assert_nothing(&t);
}

#[test]
fn defect_13_scattered_memory_is_one_run_or_refused() {
    let e = refuse(DIRECT, BASE, 4 * PAGE, false);
    assert_eq!(e.errno(), 14);
    assert_eq!(reason(e), (Constraint::Contiguous, 4 * PAGE, PAGE));
    let t = planes();
    let user = t.ops().platform().add_user(4, false);
    let at = t.ops().platform().user_memory(user);
    let dev = Device::contig(CAMERA);
    let mut plane = t.get_userptr(dev, &user, BASE, 4 * PAGE, ToDevice).unwrap();
    let addr = dma(&t, &plane);
    t.ops().platform().poke_in(&at, 3 * PAGE, &[9]);
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    let last = addr.checked_add(3 * PAGE).unwrap();
    assert_eq!(t.ops().dev_read(CAMERA, last, 1).unwrap(), [9]);
    t.finish(&mut plane, HintSkip::empty()).unwrap();
    t.put(plane);
    // One page is one run for every device.
    let one = Device::contig(DIRECT);
    let plane = t.get_userptr(one, &user, BASE, PAGE, ToDevice).unwrap();
    t.put(plane);
    assert_nothing(&t);
}

#[test]
fn a_failed_pin_or_mapping_keeps_nothing() {
    let refusals = [
        (Device::contig(CAMERA), [12, 5]),
        (Device::sg(CAMERA), [12, 12]),
        (Device::vmalloc(CAMERA), [12, 12]),
    ];
    for (dev, errnos) in refusals {
        for (after, errno) in (0..).zip(errnos) {
            let t = planes();
            let user = t.ops().platform().add_user(4, false);
            t.ops().fail_after(after);
            let refused = t.get_userptr(dev, &user, BASE, PAGE, FromDevice);
            let e = refused.unwrap_err();
            assert_eq!(e.errno(), errno, "{dev:?}, call {after}");
            assert_eq!(reason(e).0, Constraint::InjectedFault);
            assert_nothing(&t);
        }
    }
}

#[test]
fn identity_is_the_memory_and_not_the_address() {
    let t = planes();
    let user = t.ops().platform().add_user(4, false);
    let other = t.ops().platform().add_user(4, false);
    let dev = Device::contig(CAMERA);
    let plane = t.get_userptr(dev, &user, BASE, PAGE, FromDevice).unwrap();
    assert!(t.is_current(&plane, &user, BASE));
    assert!(!t.is_current(&plane, &user, BASE + PAGE));
    assert!(!t.is_current(&plane, &other, BASE));
    t.ops().platform().remap_user(user);
    assert!(!t.is_current(&plane, &user, BASE), "mapped anew");
    t.put(plane);
    let plane = alloc(&t, dev, FromDevice, Coherency::Coherent);
    assert!(!t.is_current(&plane, &user, BASE), "not user memory");
    t.put(plane);
    assert_nothing(&t);
}

#[test]
fn bounced_user_memory_is_copied_at_the_hand_overs() {
    let t = planes();
    let user = t.ops().platform().add_user(2, false);
    let at = t.ops().platform().user_memory(user);
    let dev = Device::contig(BOUNCER);
    let mut plane = t
        .get_userptr(dev, &user, BASE, 2 * PAGE, Bidirectional)
        .unwrap();
    let addr = dma(&t, &plane);
    for byte in 1..4 {
        t.ops().platform().poke_in(&at, 0, &[byte]);
        t.prepare(&mut plane, HintSkip::empty()).unwrap();
        assert_eq!(t.ops().dev_read(BOUNCER, addr, 1).unwrap(), [byte]);
        assert!(t.ops().dev_write(BOUNCER, addr, &[byte + 100]));
        t.finish(&mut plane, HintSkip::empty()).unwrap();
        assert_eq!(t.ops().platform().peek_in(&at, 0, 1), [byte + 100]);
    }
    assert_eq!(t.counters(BOUNCER).syncs_for_cpu, 3);
    t.put(plane);
    assert_nothing(&t);
}

#[test]
fn user_memory_is_neither_exported_nor_mapped() {
    let t = planes();
    let user = t.ops().platform().add_user(2, false);
    let dev = Device::contig(CAMERA);
    let mut plane = t.get_userptr(dev, &user, BASE, PAGE, FromDevice).unwrap();
    assert_eq!(t.mmap(&plane, PAGE).unwrap_err().errno(), 22);
    let e = t.export(&plane).unwrap_err();
    assert_eq!(e.errno(), 22);
    assert_eq!(t.map_dmabuf(&mut plane).unwrap_err().errno(), 22);
    assert_eq!(t.num_users(&plane), 1);
    t.put(plane);
    assert_nothing(&t);
}

/// The program must not take the buffer's old bytes for a frame.
#[test]
fn bytes_that_cannot_be_copied_back_are_reported() {
    let t = planes();
    let user = t.ops().platform().add_user(2, false);
    let dev = Device::contig(BOUNCER);
    let mut plane = t
        .get_userptr(dev, &user, BASE, 2 * PAGE, FromDevice)
        .unwrap();
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    t.ops().platform().fail(Some(0));
    let e = t.finish(&mut plane, HintSkip::empty()).unwrap_err();
    assert_eq!(e.errno(), 14);
    t.put(plane);
    let (owner, buf) = {
        let owner = alloc(&t, Device::contig(CAMERA), FromDevice, Coherency::Coherent);
        let buf = export(&t, &owner);
        (owner, buf)
    };
    let mut plane = t.attach_dmabuf(dev, &buf, PAGE, FromDevice).unwrap();
    t.map_dmabuf(&mut plane).unwrap();
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    t.ops().platform().fail(Some(0));
    let e = t.finish(&mut plane, HintSkip::empty()).unwrap_err();
    assert_eq!(e.errno(), 5);
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    t.finish(&mut plane, HintSkip::empty()).unwrap();
    t.put(plane);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}
