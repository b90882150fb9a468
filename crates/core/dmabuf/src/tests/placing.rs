//! Memory that is placed when it is first mapped, and that moves.

use super::host::{CAMERA, DIRECT, DISPLAY, FakePlacer, PAGE, TestOps as _};
use super::{Bufs, Calls, assert_nothing, buffers, cpu_read, cpu_write, end, export, memory};
use crate::{Backing, Error, MemoryId, UserKind};
use alloc::boxed::Box;
use std::sync::Arc;
use vb3_dma::{Coherency, Direction};

const LAZY: Backing<u32> = Backing::Lazy {
    device: CAMERA,
    coherency: Coherency::NonCoherent,
};

fn lazy(has_runs: bool) -> (Bufs, MemoryId) {
    let mut b = buffers();
    b.set_placer(Box::new(FakePlacer::new(has_runs)));
    let id = memory(&b, LAZY, Direction::FromDevice, 2);
    (b, id)
}

#[test]
fn there_is_none_without_a_placer() {
    let mut b = buffers();
    let spec = crate::Spec {
        backing: LAZY,
        len_bytes: PAGE,
        direction: Direction::FromDevice,
        attrs: vb3_dma::Attrs::empty(),
    };
    assert_eq!(b.allocate(spec), Err(Error::Invalid));
    let id = memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 1);
    assert_eq!(b.place(id), Err(Error::Invalid));
    b.set_placer(Box::new(FakePlacer::new(true)));
    assert_eq!(b.place(id), Err(Error::Invalid), "it has its place");
    end(b, id);
}

#[test]
fn what_lies_nowhere_is_mapped_for_nobody() {
    let (b, id) = lazy(true);
    let buf = export(&b, id);
    let display = b.import(&buf, DISPLAY).unwrap();
    assert_eq!(b.map(&display, Direction::ToDevice), Err(Error::Unplaced));
    assert_eq!(b.vmap(id), Err(Error::Unplaced));
    // A program may keep the memory mapped meanwhile.
    assert!(b.mmap_buf(buf.id(), 0, PAGE).is_ok());
    assert_eq!(b.inspect(id, |memory| memory.is_placed()), Some(false));
    assert_eq!(b.place(id), Ok(0));
    assert_eq!(b.inspect(id, |memory| memory.is_placed()), Some(true));
    b.map(&display, Direction::ToDevice).unwrap();
    b.detach(display);
    b.put_buf(buf);
    end(b, id);
}

#[test]
fn a_search_is_told_of_mappings() {
    for is_mapped in [false, true] {
        let mut b = buffers();
        let placer = FakePlacer::new(true);
        let were_mapped = Arc::clone(&placer.were_mapped);
        b.set_placer(Box::new(placer));
        let id = memory(&b, LAZY, Direction::FromDevice, 2);
        let buf = export(&b, id);
        let vma = is_mapped.then(|| b.vma_open_buf(buf.id()).unwrap());
        assert_eq!(b.place(id), Ok(0));
        assert_eq!(*were_mapped.lock().unwrap(), [is_mapped]);
        if let Some(vma) = vma {
            b.vma_close(vma);
        }
        b.put_buf(buf);
        end(b, id);
    }
}

#[test]
fn it_moves_once_for_whom_it_does_not_suit() {
    let (b, id) = lazy(true);
    let buf = export(&b, id);
    let display = b.import(&buf, DISPLAY).unwrap();
    b.place(id).unwrap();
    b.map(&display, Direction::ToDevice).unwrap();
    cpu_write(&b, id, 0, b"kept");
    let direct = b.import(&buf, DIRECT).unwrap();
    b.map(&direct, Direction::ToDevice).unwrap();
    assert!(b.segment(&direct, 1).is_some(), "in pages");
    b.unmap(&direct);
    assert_eq!(b.place(id), Ok(2 * PAGE));
    assert_eq!(b.observer().get().moved, 2 * PAGE);
    assert_eq!(b.segment(&display, 0), None, "unmapped by the move");
    for attachment in [&display, &direct] {
        b.map(attachment, Direction::ToDevice).unwrap();
        assert!(b.segment(attachment, 0).is_some());
        assert!(b.segment(attachment, 1).is_none(), "one run");
    }
    assert_eq!(cpu_read(&b, id, 0, 4), b"kept");
    assert_eq!(b.place(id), Err(Error::Invalid), "no new device");
    assert!(b.segment(&display, 0).is_some(), "and nothing changed");
    b.detach(display);
    b.detach(direct);
    b.put_buf(buf);
    end(b, id);
}

#[test]
fn a_device_pins_it_while_it_uses_it() {
    let (b, id) = lazy(true);
    let buf = export(&b, id);
    let display = b.import(&buf, DISPLAY).unwrap();
    b.place(id).unwrap();
    b.map(&display, Direction::ToDevice).unwrap();
    b.hand_to_device(&display).unwrap();
    let direct = b.import(&buf, DIRECT).unwrap();
    let at = b.segment(&display, 0);
    assert_eq!(b.place(id), Err(Error::Pinned));
    assert_eq!(b.segment(&display, 0), at, "it stays");
    b.take_from_device(&display).unwrap();
    assert_eq!(b.place(id), Ok(2 * PAGE));
    // A CPU mapping of a driver pins it as well.
    b.vmap(id).unwrap();
    let third = b.import(&buf, DISPLAY).unwrap();
    assert_eq!(b.place(id), Err(Error::Pinned));
    b.vunmap(id);
    assert_eq!(b.place(id), Ok(2 * PAGE));
    for attachment in [display, direct, third] {
        b.detach(attachment);
    }
    b.put_buf(buf);
    end(b, id);
}

/// Two buffers of a queue may name one dma-buf: they share its attachment.
#[test]
fn each_use_of_an_attachment_pins_its_memory() {
    let (b, id) = lazy(true);
    let buf = export(&b, id);
    let display = b.import(&buf, DISPLAY).unwrap();
    b.place(id).unwrap();
    b.map(&display, Direction::ToDevice).unwrap();
    let direct = b.import(&buf, DIRECT).unwrap();
    b.hand_to_device(&display).unwrap();
    b.hand_to_device(&display).unwrap();
    b.take_from_device(&display).unwrap();
    assert_eq!(b.place(id), Err(Error::Pinned), "one use is left");
    b.take_from_device(&display).unwrap();
    // This call does nothing: no use by `hand_to_device` is left.
    b.take_from_device(&display).unwrap();
    b.hand_to_device(&display).unwrap();
    assert_eq!(b.place(id), Err(Error::Pinned));
    b.take_from_device(&display).unwrap();
    assert_eq!(b.place(id), Ok(2 * PAGE));
    b.detach(display);
    b.detach(direct);
    b.put_buf(buf);
    end(b, id);
}

#[test]
fn device_that_does_not_follow_pins_while_mapped() {
    let (b, id) = lazy(true);
    b.place(id).unwrap();
    let key = b
        .with_memory(id, |memory, cx| {
            let key = memory.attach(cx, DISPLAY)?;
            memory.map(cx, key, Direction::ToDevice)?;
            Ok(key)
        })
        .unwrap();
    assert_eq!(b.place(id), Err(Error::Pinned));
    let unmap = b.with_memory(id, |memory, cx| {
        memory.unmap(cx, key);
        Ok(())
    });
    assert_eq!(unmap, Ok(()));
    assert_eq!(b.place(id), Ok(2 * PAGE));
    end(b, id);
}

#[test]
fn where_there_is_no_better_place_it_stays() {
    let (b, id) = lazy(false);
    let buf = export(&b, id);
    let display = b.import(&buf, DISPLAY).unwrap();
    b.place(id).unwrap();
    b.map(&display, Direction::ToDevice).unwrap();
    let at = b.segment(&display, 0);
    let direct = b.import(&buf, DIRECT).unwrap();
    assert!(matches!(b.place(id), Err(Error::Dma(_))));
    assert_eq!(b.place(id), Err(Error::Invalid), "asked once");
    assert_eq!(b.segment(&display, 0), at);
    b.detach(direct);
    // If a placer fails half-way, the memory stays at its place, and can be mapped again.
    let other = b.import(&buf, DISPLAY).unwrap();
    b.ops().fail_after(0);
    assert!(matches!(b.place(id), Err(Error::Dma(_))));
    assert_eq!(b.observer().get().moved, 0);
    b.detach(other);
    b.unmap(&display);
    b.map(&display, Direction::ToDevice).unwrap();
    b.detach(display);
    b.put_buf(buf);
    b.revoke(id).unwrap();
    assert_eq!(b.place(id), Err(Error::Revoked));
    b.drop_user(id, UserKind::Plane);
    assert_nothing(&b);
}

/// The move happens before the mapping fails, so the later mapping is at the new place.
#[test]
fn a_mapping_that_fails_after_a_move_is_made_later() {
    let (b, id) = lazy(true);
    let buf = export(&b, id);
    let display = b.import(&buf, DISPLAY).unwrap();
    b.place(id).unwrap();
    let direct = b.import(&buf, DIRECT).unwrap();
    assert_eq!(b.place(id), Ok(2 * PAGE));
    b.ops().fail_after(0);
    assert!(b.map(&display, Direction::ToDevice).is_err());
    for attachment in [&display, &direct] {
        b.map(attachment, Direction::ToDevice).unwrap();
        assert!(b.segment(attachment, 1).is_none(), "one run");
    }
    b.detach(display);
    b.detach(direct);
    b.put_buf(buf);
    end(b, id);
}

/// A move would free the old place, which could then be allocated again.
#[test]
fn what_a_device_may_still_reach_is_not_moved() {
    let (b, id) = lazy(true);
    let buf = export(&b, id);
    let display = b.import(&buf, DISPLAY).unwrap();
    b.place(id).unwrap();
    b.map(&display, Direction::ToDevice).unwrap();
    let other = b.import(&buf, DIRECT).unwrap();
    b.ops().platform().fail_unmaps(true);
    assert_eq!(b.place(id), Err(Error::Quarantined));
    b.ops().platform().fail_unmaps(false);
    assert_eq!(b.observer().get().moved, 0);
    assert_eq!(b.place(id), Err(Error::Quarantined), "for ever");
    b.detach(display);
    b.detach(other);
    b.put_buf(buf);
    b.drop_user(id, UserKind::Plane);
    assert_nothing(&b);
}
