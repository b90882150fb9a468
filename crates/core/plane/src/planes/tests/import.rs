//! Imported dma-bufs.

use super::*;
use Coherency::{Coherent, NonCoherent};
use Direction::{Bidirectional, FromDevice, ToDevice};
use vb3_dma::SyncFor;
use vb3_dmabuf::fence::Usage;

const HERE: Device<u32> = Device::contig(DISPLAY);

fn owned(t: &Test) -> (TestPlane, BufRef) {
    let owner = alloc(t, Device::contig(CAMERA), FromDevice, NonCoherent);
    let buf = export(t, &owner);
    (owner, buf)
}

fn mapped(t: &Test, buf: &BufRef) -> TestPlane {
    let mut plane = t.attach_dmabuf(HERE, buf, PAGE, ToDevice).expect("attach");
    t.map_dmabuf(&mut plane).expect("map");
    plane
}

#[test]
fn defect_02_each_plane_is_checked_against_dma_buf() {
    let t = planes();
    let (owner, buf) = owned(&t);
    let one = mapped(&t, &buf);
    let e = t
        .attach_dmabuf(HERE, &buf, 2 * PAGE + 1, ToDevice)
        .unwrap_err();
    assert_eq!(e.errno(), 14);
    assert_eq!(reason(e), (Constraint::BufferSize, 2 * PAGE + 1, 2 * PAGE));
    let memory = owner.used_memory().expect("allocated");
    let refused = t.host().refused.take();
    assert_eq!(refused, [(DISPLAY, memory, 2 * PAGE + 1)]);
    let two = mapped(&t, &buf);
    assert_eq!(t.counters(DISPLAY).maps, 1, "one mapping for both");
    assert_eq!(dma(&t, &one), dma(&t, &two));
    let memory = owner.used_memory();
    assert!(memory.is_some() && one.used_memory() == memory);
    t.put(one);
    assert!(t.cookie(&two).is_some());
    t.put(two);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn an_access_lasts_from_its_begin_to_its_end() {
    let t = planes();
    let mut plane = alloc(&t, Device::contig(CAMERA), FromDevice, NonCoherent);
    let counts = || t.buffers().fence_counts();
    let before = counts();
    t.begin_access(&mut plane);
    let during = counts();
    let memory = plane.used_memory().unwrap();
    // A device waits for the access only once a program has imported the access's fence.
    let buf = export(&t, &plane);
    let reader = mapped(&t, &buf);
    assert!(!t.is_held_back(&reader));
    let file = t.buffers().export_fences(memory, Usage::Read).unwrap();
    let fences = file.fences();
    (t.buffers().import_fences(memory, fences, Usage::Write)).unwrap();
    t.buffers()
        .with_fences(|fences, _| fences.put_sync_file(file));
    assert!(t.is_held_back(&reader));
    t.end_access(&mut plane, Ok(()));
    assert!(!t.is_held_back(&reader));
    let after = counts();
    assert_eq!(during.0, before.0 + 1);
    assert_eq!((during.1, after.1), (before.1, during.0));
    t.put(reader);
    t.put_dmabuf(buf);
    t.put(plane);
    assert_nothing(&t);
}

#[test]
fn size_is_tested_before_all_else() {
    let t = planes();
    let (owner, buf) = owned(&t);
    t.ops().fail_after(0);
    let e = t.attach_dmabuf(HERE, &buf, u64::MAX, ToDevice).unwrap_err();
    assert_eq!((e.errno(), reason(e).0), (14, Constraint::BufferSize));
    t.ops().platform().fail(None);
    assert_eq!(
        t.attach_dmabuf(HERE, &buf, 0, ToDevice).unwrap_err(),
        PlaneError::Invalid(None)
    );
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn failed_mapping_is_einval_and_may_be_retried() {
    let t = planes();
    let (owner, buf) = owned(&t);
    let mut plane = t.attach_dmabuf(HERE, &buf, PAGE, ToDevice).unwrap();
    assert_eq!(
        t.prepare(&mut plane, HintSkip::empty()),
        Err(PlaneError::Invalid(None))
    );
    t.ops().fail_after(0);
    let e = t.map_dmabuf(&mut plane).unwrap_err();
    assert_eq!((e.errno(), reason(e).0), (22, Constraint::InjectedFault));
    assert_eq!(t.cookie(&plane), None);
    assert_eq!(t.ops().live().mappings, 0);
    t.map_dmabuf(&mut plane).unwrap();
    assert!(t.cookie(&plane).is_some());
    t.put(plane);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn scattered_memory_is_efault_and_unmapped_again() {
    let t = planes();
    let owner = alloc(&t, Device::vmalloc(CAMERA), FromDevice, NonCoherent);
    let buf = export(&t, &owner);
    let direct = Device::contig(DIRECT);
    let mut plane = t.attach_dmabuf(direct, &buf, 2 * PAGE, ToDevice).unwrap();
    let e = t.map_dmabuf(&mut plane).unwrap_err();
    assert_eq!(e.errno(), 14);
    assert_eq!(reason(e), (Constraint::Contiguous, 2 * PAGE, PAGE));
    assert_eq!(t.ops().live().mappings, 0);
    // A plane that needs only the contiguous part accepts the import. A refused longer plane does not unmap
    // it.
    let mut small = t.attach_dmabuf(direct, &buf, PAGE, ToDevice).unwrap();
    t.map_dmabuf(&mut small).unwrap();
    assert_eq!(t.map_dmabuf(&mut plane).unwrap_err().errno(), 14);
    assert_eq!(t.ops().live().mappings, 1);
    assert!(t.cookie(&small).is_some());
    t.put(small);
    t.put(plane);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn defect_20_import_at_address_zero_works() {
    let mut setup = host::setup();
    setup.ram_base = 0;
    let t = Planes::new(host::ops(setup), Log::default());
    let here = Device::contig(DIRECT);
    let owner = alloc(&t, here, FromDevice, NonCoherent);
    let buf = export(&t, &owner);
    let mut plane = t.attach_dmabuf(here, &buf, PAGE, ToDevice).unwrap();
    t.map_dmabuf(&mut plane).unwrap();
    assert_eq!(dma(&t, &plane), DmaAddr::new(0));
    t.map_dmabuf(&mut plane).unwrap();
    assert_eq!(t.counters(DIRECT).maps, 1, "mapping twice is a no-op");
    t.unmap_dmabuf(&mut plane);
    t.unmap_dmabuf(&mut plane);
    assert_eq!(t.cookie(&plane), None);
    t.put(plane);
    t.end_imports(here);
    assert_eq!(t.counters(DIRECT).unmaps, 1);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn mappings_follow_the_buffer_and_not_the_index() {
    let t = planes();
    let sources: Vec<_> = (0..3).map(|_| owned(&t)).collect();
    // Two indexes take turns with three buffers.
    let mut indexes: Vec<_> = (0..2).map(|i| mapped(&t, &sources[i].1)).collect();
    for turn in 2..20 {
        let old = indexes.remove(0);
        t.put(old);
        indexes.push(mapped(&t, &sources[turn % 3].1));
    }
    assert_eq!(t.counters(DISPLAY).maps, 3);
    assert_eq!(t.counters(DISPLAY).unmaps, 0);
    for plane in indexes {
        t.put(plane);
    }
    assert_eq!(t.counters(DISPLAY).unmaps, 0, "they may return");
    t.end_imports(HERE);
    assert_eq!(
        t.counters(DISPLAY).unmaps,
        3,
        "the queue has freed its buffers"
    );
    for (owner, buf) in sources {
        t.put_dmabuf(buf);
        t.put(owner);
    }
    assert_nothing(&t);
}

#[test]
fn an_idle_mapping_does_not_keep_the_buffer() {
    let t = planes();
    let (owner, buf) = owned(&t);
    let (other, stays) = owned(&t);
    let (one, two) = (mapped(&t, &buf), mapped(&t, &stays));
    t.put(one);
    assert_eq!(t.live().imports, 2);
    t.put(owner);
    t.put_dmabuf(buf);
    assert_eq!((t.live().imports, t.live().memories), (1, 1));
    t.put(two);
    t.put_dmabuf(stays);
    t.put(other);
    assert_nothing(&t);
}

/// A queue of one buffer may take turns with any number of dma-bufs.
#[test]
fn each_dma_buf_is_mapped_once() {
    let t = planes();
    let sources: Vec<_> = (0..200).map(|_| owned(&t)).collect();
    for _ in 0..2 {
        for (_, buf) in &sources {
            t.put(mapped(&t, buf));
        }
    }
    assert_eq!((t.live().imports, t.counters(DISPLAY).maps), (200, 200));
    let stays = mapped(&t, &sources[0].1);
    t.end_imports(Device::contig(PC));
    assert_eq!(t.live().imports, 200, "another device's");
    t.end_imports(HERE);
    assert_eq!(t.live().imports, 1);
    t.put(stays);
    for (owner, buf) in sources {
        t.put_dmabuf(buf);
        t.put(owner);
    }
    assert_nothing(&t);
}

/// Idle imports hold addresses and bounce slots only as long as no other mapping needs them.
#[test]
fn idle_imports_end_when_their_device_lacks_slots() {
    let t = planes();
    // The pool has room for 128 of these copies.
    let sources: Vec<_> = (0..200).map(|_| owned(&t)).collect();
    let bouncer = Device::contig(BOUNCER);
    for (_, buf) in &sources {
        let mut plane = t.attach_dmabuf(bouncer, buf, PAGE, ToDevice).unwrap();
        t.map_dmabuf(&mut plane).unwrap();
        t.put(plane);
    }
    assert_eq!(t.live().imports, 200 - 128);
    for (owner, buf) in sources {
        t.put_dmabuf(buf);
        t.put(owner);
    }
    assert_nothing(&t);
}

#[test]
fn camera_to_display_without_a_sync_or_a_copy() {
    for coherency in [Coherent, NonCoherent] {
        let t = planes();
        let camera = Device::contig(CAMERA);
        let mut owner = alloc(&t, camera, FromDevice, coherency);
        let buf = export(&t, &owner);
        let mut plane = mapped(&t, &buf);
        let (from, to) = (dma(&t, &owner), dma(&t, &plane));
        for byte in 1..10 {
            t.prepare(&mut owner, HintSkip::empty()).unwrap();
            assert!(t.ops().dev_write(CAMERA, from, &[byte]));
            t.finish(&mut owner, HintSkip::FINISH).unwrap();
            let before = t.ops().counters(DISPLAY);
            t.prepare(&mut plane, HintSkip::empty()).unwrap();
            assert_eq!(t.ops().dev_read(DISPLAY, to, 1).unwrap(), [byte]);
            t.finish(&mut plane, HintSkip::empty()).unwrap();
            assert_eq!(t.ops().counters(DISPLAY), before);
        }
        assert_eq!(t.counters(DISPLAY).maps, 1);
        assert_eq!(t.counters(DISPLAY).copied_bytes, 0);
        t.put(plane);
        t.put_dmabuf(buf);
        t.put(owner);
        assert_nothing(&t);
    }
}

#[test]
fn skipped_sync_is_stale_and_reported() {
    for sync in [false, true] {
        let t = planes();
        // The camera writes into a buffer of the display, which the program has mapped.
        let mut owner = alloc(&t, HERE, ToDevice, NonCoherent);
        let buf = export(&t, &owner);
        let vma = t.buffers().vma_open_buf(buf.id()).unwrap();
        let camera = Device::contig(CAMERA);
        let mut plane = t.attach_dmabuf(camera, &buf, PAGE, FromDevice).unwrap();
        t.map_dmabuf(&mut plane).unwrap();
        let addr = dma(&t, &plane);
        cpu_read(&t, &owner, 0, 16);
        t.prepare(&mut plane, HintSkip::empty()).unwrap();
        assert!(t.ops().dev_write(CAMERA, addr, &[3; 16]));
        t.finish(&mut plane, HintSkip::empty()).unwrap();
        if sync {
            t.buffers().sync(buf.id(), 1).unwrap();
        }
        let seen = cpu_read(&t, &owner, 0, 16);
        assert_eq!(seen, [if sync { 3 } else { 0 }; 16]);
        t.prepare(&mut owner, HintSkip::empty()).unwrap();
        let tag = owner.memory().unwrap().get();
        let told = [(1, tag, SyncFor::Cpu, Some(16))];
        let wanted = if sync { &[][..] } else { &told };
        assert_eq!(*t.host().missing.borrow(), wanted);
        t.finish(&mut owner, HintSkip::empty()).unwrap();
        t.put(plane);
        t.vma_close(vma);
        t.put_dmabuf(buf);
        t.put(owner);
        assert_nothing(&t);
    }
}

#[test]
fn defect_18_failed_acquire_keeps_former_planes() {
    let t = planes();
    let (owner, buf) = owned(&t);
    let plane = mapped(&t, &buf);
    let (small, tiny) = {
        let one = t
            .alloc(Device::contig(CAMERA), 1, FromDevice, Coherent)
            .unwrap();
        let buf = export(&t, &one);
        (one, buf)
    };
    let (live, layer) = (t.live(), t.ops().live());
    for _ in 0..10 {
        let e = t
            .attach_dmabuf(HERE, &tiny, PAGE + 1, ToDevice)
            .unwrap_err();
        assert_eq!(e.errno(), 14);
        let user = t.ops().platform().add_user(1, false);
        assert!(t.get_userptr(HERE, &user, 64, PAGE, ToDevice).is_err());
    }
    assert_eq!((t.live(), t.ops().live()), (live, layer));
    assert!(t.cookie(&plane).is_some());
    t.put(plane);
    for (plane, buf) in [(owner, buf), (small, tiny)] {
        t.put_dmabuf(buf);
        t.put(plane);
    }
    assert_nothing(&t);
}

#[test]
fn revoked_memory_fails_at_the_next_hand_over() {
    let t = planes();
    let (owner, buf) = owned(&t);
    let mut plane = mapped(&t, &buf);
    let addr = dma(&t, &plane);
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    t.revoke(owner.memory().unwrap()).unwrap();
    assert!(t.ops().dev_read(DISPLAY, addr, 1).is_none());
    t.finish(&mut plane, HintSkip::empty()).unwrap();
    assert_eq!(
        t.prepare(&mut plane, HintSkip::empty())
            .unwrap_err()
            .errno(),
        19
    );
    t.unmap_dmabuf(&mut plane);
    assert_eq!(t.map_dmabuf(&mut plane).unwrap_err().errno(), 19);
    t.put(plane);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn references_are_told_apart_by_buffer_and_counted() {
    let t = planes();
    let (owner, buf) = owned(&t);
    let again = export(&t, &owner);
    let more = t.clone_dmabuf(&buf).unwrap();
    let by_id = t.buffers().get_buf(buf.id()).unwrap();
    assert!(t.same_dmabuf(&buf, &more) && t.same_dmabuf(&more, &by_id));
    assert!(!t.same_dmabuf(&buf, &again), "each export is a dma-buf");
    assert_eq!(t.dmabuf_len(&buf), 2 * PAGE);
    assert_eq!(t.buffers().references(buf.id()), 3);
    assert_eq!(t.num_users(&owner), 3);
    for reference in [buf, again, more, by_id] {
        t.put_dmabuf(reference);
    }
    assert_eq!(t.num_users(&owner), 1);
    t.put(owner);
    assert_nothing(&t);
}

#[test]
fn each_direction_keeps_its_own_mapping() {
    let t = planes();
    let (owner, buf) = owned(&t);
    let to = mapped(&t, &buf);
    let mut from = t.attach_dmabuf(HERE, &buf, PAGE, Bidirectional).unwrap();
    t.map_dmabuf(&mut from).unwrap();
    let (a, b) = (dma(&t, &to), dma(&t, &from));
    assert_ne!(a, b);
    t.put(from);
    t.end_imports(HERE);
    assert!(t.ops().dev_read(DISPLAY, a, 1).is_some());
    assert!(t.ops().dev_read(DISPLAY, b, 1).is_none());
    t.put(to);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_nothing(&t);
}
