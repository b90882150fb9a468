//! Handles, orphans, names, mmap, SYNC flags, errors.

use super::*;
use crate::{Error, Slab, SlabKey, Store, sync_flags};
use alloc::vec;

fn num_users(b: &Bufs, id: MemoryId) -> u32 {
    b.inspect(id, |memory| memory.num_users()).expect("memory")
}

#[test]
fn memory_lives_as_long_as_its_last_handle() {
    let b = buffers();
    let id = memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 2);
    let is_shared = |own| {
        b.inspect(id, |memory| memory.is_shared(own))
            .expect("memory")
    };
    assert!(!is_shared(0));
    let attachment = b.attach(id, DISPLAY).unwrap();
    assert!(is_shared(0) && !is_shared(1), "the plane's own attachment");
    b.detach(attachment);
    let buf = export(&b, id);
    assert!(is_shared(0));
    let of_memory = b.vma_open(id).unwrap();
    let of_buf = b.vma_open_buf(buf.id()).unwrap();
    assert_eq!(num_users(&b, id), 4);
    let live = Live {
        memories: 1,
        bytes: 2 * PAGE,
        bufs: 1,
        buf_refs: 2,
        program_mappings: 2,
        ..Live::default()
    };
    assert_eq!(b.live(), live);
    b.drop_user(id, UserKind::Plane);
    assert_eq!(num_users(&b, id), 3, "orphaned");
    assert!(!b.vma_close(of_memory));
    let at = buf.id();
    assert!(!b.put_buf(buf), "its mapping keeps the dma-buf");
    assert_eq!((b.memory_of(at), b.references(at)), (Ok(id), 1));
    assert!(b.vma_close(of_buf), "the last reference");
    assert_eq!(
        (b.memory_of(at), b.references(at)),
        (Err(Error::Invalid), 0)
    );
    assert_eq!(b.get_buf(at).unwrap_err(), Error::Invalid);
    assert_nothing(&b);
}

#[test]
fn foreign_memory_lives_as_long_as_its_dma_buf() {
    let b = buffers();
    let alloc = b.ops().alloc_virtual(2 * PAGE).unwrap();
    let buf = b.adopt(alloc, 2 * PAGE).unwrap();
    let id = buf.memory();
    let seen = b.inspect(id, |m| {
        (m.num_users(), m.device(), m.backing(), m.len_bytes())
    });
    assert_eq!(seen, Some((1, None, Backing::Foreign, 2 * PAGE)));
    let attachment = b.import(&buf, DISPLAY).unwrap();
    b.map(&attachment, Direction::ToDevice).unwrap();
    let held = b.inspect(id, |m| {
        let mapped = m.attachments().iter().map(|(_, at)| at.direction());
        (m.users(UserKind::Export), mapped.collect::<Vec<_>>())
    });
    assert_eq!(held.unwrap(), (1, [Some(Direction::ToDevice)].to_vec()));
    assert!(b.put_buf(buf), "the only handle, with the device's mapping");
    assert_nothing(&b);
}

#[test]
fn changed_memories_are_listed_up_to_a_limit() {
    let b = buffers();
    let make = || memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 1);
    let (one, two) = (make(), make());
    assert_eq!(b.take_changed(), Some(vec![one, two]));
    let before = b.changes();
    let buf = export(&b, two);
    assert!(b.changes() > before);
    assert_eq!(b.take_changed(), Some(vec![two]));
    b.put_buf(buf);
    for id in [one].repeat(66) {
        b.put_buf(export(&b, id));
    }
    assert_eq!(b.take_changed(), Some(vec![two, one]), "each once");
    for id in [one, two].repeat(33) {
        b.put_buf(export(&b, id));
    }
    assert_eq!(b.take_changed(), None, "more than 64 changes");
    assert_eq!(b.take_changed(), Some(vec![]));
    b.drop_user(one, UserKind::Plane);
    end(b, two);
}

#[test]
fn each_export_is_a_dma_buf_of_its_own() {
    let b = buffers();
    let id = memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 1);
    let (one, two) = (export(&b, id), export(&b, id));
    assert_ne!(one.id(), two.id());
    assert_eq!(one.memory(), two.memory());
    b.put_buf(one);
    assert_eq!(num_users(&b, id), 2);
    b.put_buf(two);
    end(b, id);
}

#[test]
fn a_handle_dropped_too_often_frees_nothing() {
    let b = buffers();
    let id = memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 1);
    b.drop_user(id, UserKind::Mapping);
    b.drop_user(id, UserKind::Export);
    assert_eq!(num_users(&b, id), 1);
    end(b, id);
}

#[test]
fn sizes_are_whole_pages_and_may_not_overflow() {
    let b = buffers();
    let spec = |len_bytes| Spec {
        backing: Backing::Coherent(CAMERA),
        len_bytes,
        direction: Direction::FromDevice,
        attrs: Attrs::empty(),
    };
    for (len_bytes, errno) in [(0, 22), (u64::MAX, 12), (u64::MAX - PAGE + 2, 12)] {
        let refused = b.allocate(spec(len_bytes)).unwrap_err();
        assert_eq!(refused.errno(), errno, "{len_bytes}");
    }
    assert_nothing(&b);
    let id = b.allocate(spec(PAGE + 1)).unwrap();
    let len_bytes = b.inspect(id, |memory| memory.len_bytes());
    assert_eq!(len_bytes, Some(2 * PAGE));
    end(b, id);
}

#[test]
fn defect_11_mmap_honours_the_page_offset() {
    for backing in [
        Backing::Coherent(CAMERA),
        Backing::NonCoherent(CAMERA),
        Backing::Virtual(CAMERA),
    ] {
        let b = buffers();
        let id = memory(&b, backing, Direction::FromDevice, 8);
        let buf = export(&b, id);
        let map = b.mmap_buf(buf.id(), 5 * PAGE, 2 * PAGE).unwrap();
        let segments = b.inspect(id, |m| m.memory().segments().to_vec()).unwrap();
        let page = segments
            .iter()
            .flat_map(|s| (s.addr.get()..s.addr.get() + s.len).step_by(4096));
        assert_eq!(
            Some(map),
            page.clone().nth(5).map(|first| (first, 2 * PAGE))
        );
        assert!(b.mmap_buf(buf.id(), 7 * PAGE, PAGE).is_ok());
        for (offset, len) in [
            (7 * PAGE, PAGE + 1),
            (8 * PAGE, 1),
            (0, 8 * PAGE + 1),
            (5, PAGE),
            (0, 0),
            (u64::MAX - PAGE + 1, PAGE),
            (PAGE, u64::MAX),
        ] {
            let refused = b.mmap_buf(buf.id(), offset, len).unwrap_err();
            assert_eq!(refused.errno(), 22, "{offset} {len}");
        }
        b.put_buf(buf);
        end(b, id);
    }
}

#[test]
fn sync_flags_are_checked() {
    let ok = |raw| sync_flags(raw);
    assert_eq!(ok(1), Ok((Direction::FromDevice, false)));
    assert_eq!(ok(2), Ok((Direction::ToDevice, false)));
    assert_eq!(ok(3), Ok((Direction::Bidirectional, false)));
    assert_eq!(ok(5), Ok((Direction::FromDevice, true)));
    assert_eq!(ok(6), Ok((Direction::ToDevice, true)));
    assert_eq!(ok(7), Ok((Direction::Bidirectional, true)));
    for raw in [0, 4, 8, 9, 1 << 63 | 1, u64::MAX] {
        assert_eq!(ok(raw), Err(Error::Invalid), "{raw:#x}");
    }
    let b = buffers();
    let id = memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 1);
    let buf = export(&b, id);
    assert_eq!(b.sync(buf.id(), 6), Ok(()), "END without START");
    assert_eq!(b.sync(buf.id(), 0), Err(Error::Invalid));
    let gone = buf.id();
    b.put_buf(buf);
    assert_eq!(b.sync(gone, 1), Err(Error::Invalid));
    end(b, id);
}

#[test]
fn every_error_has_its_errno() {
    for (error, errno) in [
        (Error::Invalid, 22),
        (Error::Busy, 16),
        (Error::Revoked, 19),
        (Error::Quarantined, 5),
        (Error::TableFull { entries: 1 }, 12),
        (Error::Dma(vb3_dma::Error::Unsupported), 95),
    ] {
        assert_eq!(error.errno(), errno, "{error}");
    }
}

#[test]
fn memory_counts_users_and_lists_attachments() {
    let b = buffers();
    b.set_now(10);
    let id = memory(&b, Backing::Coherent(CAMERA), Direction::FromDevice, 1);
    b.set_now(20);
    let buf = export(&b, id);
    b.set_now(30);
    let display = b.import(&buf, DISPLAY).unwrap();
    let camera = b.import(&buf, BOUNCER).unwrap();
    b.map(&display, Direction::ToDevice).unwrap();
    b.set_now(40);
    let vma = b.vma_open(id).unwrap();
    b.vmap(id).unwrap();
    let seen = b.inspect(id, |memory| {
        let kinds = [UserKind::Plane, UserKind::Mapping, UserKind::Export];
        let users = kinds.map(|kind| memory.users(kind));
        let attached = memory.attachments().iter();
        let attached = attached.map(|(_, at)| (at.device(), at.direction(), at.since_ns()));
        (
            users,
            memory.vmapped().is_some(),
            attached.collect::<Vec<_>>(),
        )
    });
    let attached = [(2, Some(Direction::ToDevice), 30), (3, None, 30)];
    assert_eq!(seen.unwrap(), ([1, 1, 1], true, attached.to_vec()));
    b.vunmap(id);
    b.vma_close(vma);
    b.detach(display);
    b.detach(camera);
    b.put_buf(buf);
    end(b, id);
}

#[test]
fn defect_19_a_cpu_mapping_is_made_once_and_counted() {
    let b = buffers();
    let id = memory(&b, Backing::NonCoherent(CAMERA), Direction::FromDevice, 1);
    let buf = export(&b, id);
    b.vmap(id).unwrap();
    b.vmap(id).unwrap();
    assert_eq!(b.ops().live().vmaps, 1);
    b.vunmap(id);
    assert_eq!(b.ops().live().vmaps, 1);
    b.vunmap(id);
    b.vunmap(id);
    assert_eq!(b.ops().live().vmaps, 0);
    b.ops().fail_after(0);
    assert_eq!(b.vmap(id).unwrap_err().errno(), 12);
    b.vmap(id).unwrap();
    assert_eq!(b.ops().live().vmaps, 1, "a failed call counts nothing");
    b.put_buf(buf);
    end(b, id);
}

#[test]
fn slab_keys_do_not_name_what_came_later() {
    let mut slab = Slab::new(2);
    let one: SlabKey = slab.insert('a').unwrap();
    let two = slab.insert('b').unwrap();
    assert_eq!(slab.insert('c'), Err('c'), "bounded");
    assert!(slab.remove(one));
    let three = slab.insert('d').unwrap();
    assert_eq!(slab.get(one), None);
    assert!(!slab.remove(one));
    assert_eq!(slab.get(three), Some(&'d'));
    assert_eq!(
        (slab.next(None), slab.next(Some(three))),
        (Some(three), Some(two))
    );
    assert_eq!(slab.next(Some(two)), None);
    assert_ne!(three.get(), 0);
    assert_eq!(slab.len(), 2);
}

#[test]
fn a_program_that_lets_go_unread_is_told_of() {
    let b = buffers();
    let id = memory(&b, Backing::NonCoherent(CAMERA), Direction::FromDevice, 1);
    let vma = b.vma_open(id).unwrap();
    let addr = own_addr(&b, id);
    cpu_read(&b, id, 0, PAGE);
    b.with_memory(id, |m, cx| {
        m.owner_to_device(cx, true);
        Ok(())
    })
    .unwrap();
    assert!(b.ops().dev_write(CAMERA, addr, &[7; 9]));
    b.with_memory(id, |m, cx| {
        m.owner_from_device(cx, false);
        Ok(())
    })
    .unwrap();
    b.vma_close(vma);
    let told = (CAMERA, id.get(), SyncFor::Cpu, Some(9));
    assert_eq!(b.observer().get().missing[0], told);
    end(b, id);
}
