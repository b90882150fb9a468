//! Attaching, mapping, revoking, faults.

use super::host::DIRECT;
use super::*;
use crate::fence::{Owner, Usage};
use crate::{AttachRef, Error};
use vb3_dma::{Constraint, DmaAddr, FlushPolicy};

fn addr(b: &Bufs, attachment: &AttachRef) -> DmaAddr {
    b.segment(attachment, 0).expect("mapped").addr
}

#[test]
fn defect_10_second_direction_keeps_first_mapping() {
    let b = buffers();
    let id = memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 2);
    let buf = export(&b, id);
    let a = b.import(&buf, DISPLAY).unwrap();
    b.map(&a, Direction::ToDevice).unwrap();
    let first = addr(&b, &a);
    for other in [Direction::FromDevice, Direction::Bidirectional] {
        assert_eq!(b.map(&a, other), Err(Error::Busy));
        assert_eq!(addr(&b, &a), first);
        assert!(b.ops().dev_read(DISPLAY, first, 1).is_some());
    }
    b.map(&a, Direction::ToDevice).unwrap();
    assert_eq!(addr(&b, &a), first, "shared");
    b.unmap(&a);
    assert!(
        b.ops().dev_read(DISPLAY, first, 1).is_some(),
        "still held once"
    );
    b.unmap(&a);
    assert!(b.ops().dev_read(DISPLAY, first, 1).is_none(), "not cached");
    b.map(&a, Direction::Bidirectional).unwrap();
    b.map(&a, Direction::FromDevice).unwrap();
    b.unmap(&a);
    b.unmap(&a);
    b.unmap(&a);
    b.detach(a);
    b.put_buf(buf);
    end(b, id);
}

#[test]
fn defect_20_address_zero_is_an_address() {
    let mut setup = host::setup();
    setup.ram_base = 0;
    let b = Buffers::new(host::ops(setup), Log::default());
    let id = memory(&b, Backing::Coherent(DIRECT), Direction::FromDevice, 1);
    let buf = export(&b, id);
    let a = b.import(&buf, DIRECT).unwrap();
    b.map(&a, Direction::ToDevice).unwrap();
    assert_eq!(addr(&b, &a), DmaAddr::new(0));
    b.detach(a);
    assert_eq!(b.ops().live().mappings, 0, "detach unmapped it");
    b.put_buf(buf);
    end(b, id);
}

#[test]
fn revoked_memory_is_unreachable_and_unmappable() {
    let b = buffers();
    for dev in [DISPLAY, BOUNCER] {
        b.ops().set_flush_policy(dev, FlushPolicy::Lazy).unwrap();
    }
    let id = memory(&b, Backing::NonCoherent(CAMERA), Direction::FromDevice, 1);
    let buf = export(&b, id);
    let one = b.import(&buf, DISPLAY).unwrap();
    let two = b.import(&buf, BOUNCER).unwrap();
    b.map(&one, Direction::ToDevice).unwrap();
    b.map(&two, Direction::FromDevice).unwrap();
    let (at_one, at_two) = (addr(&b, &one), addr(&b, &two));
    let is_revoked = || b.inspect(id, |shared| shared.is_revoked());
    assert_eq!(is_revoked(), Some(false));
    let camera = b.begin_access(id, Owner::Device(CAMERA), Usage::Write);
    let is_busy = || b.is_busy(id, Usage::Read);
    assert!(is_busy());
    b.revoke(id).unwrap();
    assert_eq!(is_revoked(), Some(true));
    assert!(!is_busy());
    b.end_access(id, camera.unwrap(), Ok(()));
    assert_eq!(b.fence_counts(), (1, 1));
    assert!(b.ops().dev_read(DISPLAY, at_one, 1).is_none());
    assert!(!b.ops().dev_write(BOUNCER, at_two, &[1]));
    assert_eq!(b.segment(&one, 0), None);
    let refused = b.map(&one, Direction::ToDevice).unwrap_err();
    let constraint = refused.reason().map(|reason| reason.constraint);
    assert_eq!(
        (refused, constraint),
        (Error::Revoked, Some(Constraint::Revoked))
    );
    assert_eq!(b.hand_to_device(&two), Err(Error::Revoked));
    assert_eq!(b.import(&buf, DISPLAY), Err(Error::Revoked));
    assert_eq!(b.vmap(id), Err(Error::Revoked));
    b.unmap(&one);
    b.detach(one);
    b.detach(two);
    b.put_buf(buf);
    end(b, id);
}

#[test]
fn what_is_gone_is_refused_without_harm() {
    let b = buffers();
    let id = memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 1);
    let buf = export(&b, id);
    let a = b.import(&buf, DISPLAY).unwrap();
    b.map(&a, Direction::ToDevice).unwrap();
    b.drop_user(id, UserKind::Plane);
    b.put_buf(buf);
    assert_nothing(&b);
    assert_eq!(b.map(&a, Direction::ToDevice), Err(Error::Invalid));
    assert_eq!(b.segment(&a, 0), None);
    b.unmap(&a);
    assert_eq!(b.take_from_device(&a), Err(Error::Invalid));
    b.detach(a);
    assert_nothing(&b);
}

/// After a failed unmap, existing users keep the memory, new users are refused, and the memory is never freed.
#[test]
fn memory_whose_unmap_failed_is_quarantined() {
    let b = buffers();
    let id = memory(&b, Backing::NonCoherent(CAMERA), Direction::FromDevice, 1);
    let buf = export(&b, id);
    let one = b.import(&buf, DISPLAY).unwrap();
    let two = b.import(&buf, BOUNCER).unwrap();
    b.map(&one, Direction::ToDevice).unwrap();
    let at = addr(&b, &one);
    assert!(!b.inspect(id, |m| m.is_quarantined()).unwrap());
    b.ops().platform().fail_unmaps(true);
    b.unmap(&one);
    b.ops().platform().fail_unmaps(false);
    assert!(b.ops().dev_read(DISPLAY, at, 1).is_some(), "in reach");
    assert!(b.inspect(id, |m| m.is_quarantined()).unwrap());
    assert_eq!(b.observer().get().quarantined, [(DISPLAY, PAGE)]);
    let refused = Err(Error::Quarantined);
    for device in [&one, &two] {
        assert_eq!(b.map(device, Direction::ToDevice).map(drop), refused);
    }
    assert_eq!(b.import(&buf, DISPLAY).unwrap_err().errno(), 5);
    let exported = b.export(id);
    assert_eq!(exported.unwrap_err(), Error::Quarantined);
    assert!(b.mmap_buf(buf.id(), 0, PAGE).is_ok(), "the CPU may map it");
    assert_eq!(b.revoke(id), refused, "it was not taken back");
    b.detach(one);
    b.detach(two);
    b.put_buf(buf);
    b.drop_user(id, UserKind::Plane);
    assert_nothing(&b);
    assert_ne!(b.ops().live().quarantined_bytes, 0);
    assert_eq!(b.ops().platform().pages_out(), 1, "kept");
}

/// Runs the life of a shared buffer with the fault at call `n`; false once `n` is past the end.
fn life(n: u32) -> bool {
    let b = buffers();
    b.ops().fail_after(n.into());
    let spec = Spec {
        backing: Backing::NonCoherent(CAMERA),
        len_bytes: 3 * PAGE,
        direction: Direction::FromDevice,
        attrs: Attrs::empty(),
    };
    if let Ok(id) = b.allocate(spec) {
        if let Ok(buf) = b.export(id) {
            if let Ok(a) = b.import(&buf, DISPLAY) {
                for direction in [Direction::ToDevice, Direction::FromDevice] {
                    if b.map(&a, direction).is_ok() {
                        b.unmap(&a);
                    }
                }
                b.detach(a);
            }
            if b.vmap(id).is_ok() {
                b.vunmap(id);
            }
            let _ = b.mmap_buf(buf.id(), 0, PAGE);
            b.put_buf(buf);
        }
        b.drop_user(id, UserKind::Plane);
    }
    assert_nothing(&b);
    b.ops().faults() > 0
}

#[test]
fn a_fault_at_any_call_leaks_nothing() {
    let calls = (0..100).take_while(|&n| life(n)).count();
    assert!(
        calls > 6,
        "memory, three mappings, a CPU mapping, a program's: {calls}"
    );
}
