//! Compares the syncs that are done with a second implementation of the rule.

use super::*;
use Coherency::{Coherent, NonCoherent};
use Direction::{Bidirectional, FromDevice, ToDevice};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mmap(Coherency),
    UserPtr,
    DmaBuf,
}

/// Returns the expected numbers of syncs: cleans at prepare, invalidates at finish.
fn expected(kind: Kind, direction: Direction, no_clean: bool, no_invalidate: bool) -> (u64, u64) {
    let table: &[(Kind, Direction, u64, u64)] = &[
        (Kind::Mmap(Coherent), ToDevice, 0, 0),
        (Kind::Mmap(Coherent), FromDevice, 0, 0),
        (Kind::Mmap(Coherent), Bidirectional, 0, 0),
        (Kind::Mmap(NonCoherent), ToDevice, 1, 0),
        (Kind::Mmap(NonCoherent), FromDevice, 1, 1),
        (Kind::Mmap(NonCoherent), Bidirectional, 1, 1),
        (Kind::UserPtr, ToDevice, 1, 0),
        (Kind::UserPtr, FromDevice, 1, 1),
        (Kind::UserPtr, Bidirectional, 1, 1),
        (Kind::DmaBuf, ToDevice, 0, 0),
        (Kind::DmaBuf, FromDevice, 0, 0),
        (Kind::DmaBuf, Bidirectional, 0, 0),
    ];
    let row = table.iter().find(|r| r.0 == kind && r.1 == direction);
    let &(_, _, device, cpu) = row.expect("in the table");
    (
        if no_clean { 0 } else { device },
        if no_invalidate { 0 } else { cpu },
    )
}

fn make(t: &Test, dev: u32, kind: Kind, dir: Direction) -> (TestPlane, Option<Both>) {
    let dev = Device::contig(dev);
    match kind {
        Kind::Mmap(coherency) => (alloc(t, dev, dir, coherency), None),
        Kind::UserPtr => {
            let user = t.ops().platform().add_user(2, false);
            let plane = t.get_userptr(dev, &user, FakeUser::BASE, 2 * PAGE, dir);
            (plane.expect("user memory"), None)
        }
        Kind::DmaBuf => {
            let exporter = Device::contig(DISPLAY);
            let owner = alloc(t, exporter, Bidirectional, NonCoherent);
            let buf = export(t, &owner);
            let mut plane = t.attach_dmabuf(dev, &buf, 2 * PAGE, dir).expect("attached");
            t.map_dmabuf(&mut plane).expect("mapped");
            (plane, Some((owner, buf)))
        }
    }
}

type Both = (TestPlane, BufRef);

fn end(t: Test, plane: TestPlane, both: Option<Both>) {
    t.put(plane);
    if let Some((owner, buf)) = both {
        t.put_dmabuf(buf);
        t.put(owner);
    }
    assert_nothing(&t);
}

#[test]
fn every_kind_direction_coherency_and_hint() {
    let mut rows = 0;
    for coherent in [false, true] {
        let dev = if coherent { PC } else { CAMERA };
        for kind in [
            Kind::Mmap(Coherent),
            Kind::Mmap(NonCoherent),
            Kind::UserPtr,
            Kind::DmaBuf,
        ] {
            for dir in [ToDevice, FromDevice, Bidirectional] {
                for hints in [0u8, 1, 2, 3] {
                    let skip = HintSkip::from_bits_truncate(hints);
                    let t = planes();
                    let (mut plane, both) = make(&t, dev, kind, dir);
                    let before = t.counters(dev);
                    t.prepare(&mut plane, skip).expect("prepared");
                    let prepared = t.counters(dev);
                    t.finish(&mut plane, skip).unwrap();
                    let after = t.counters(dev);
                    let (mut device, mut cpu) = expected(kind, dir, hints & 1 != 0, hints & 2 != 0);
                    if coherent {
                        (device, cpu) = (0, 0);
                    }
                    let row = (coherent, kind, dir, hints);
                    assert_eq!(
                        prepared.syncs_for_device - before.syncs_for_device,
                        device,
                        "{row:?}"
                    );
                    assert_eq!(prepared.syncs_for_cpu, before.syncs_for_cpu, "{row:?}");
                    assert_eq!(after.syncs_for_cpu - prepared.syncs_for_cpu, cpu, "{row:?}");
                    assert_eq!(after.syncs_for_device, prepared.syncs_for_device, "{row:?}");
                    let (full_device, full_cpu) = expected(kind, dir, false, false);
                    let full = if coherent {
                        (0, 0)
                    } else {
                        (full_device, full_cpu)
                    };
                    assert_eq!(
                        (after.skipped_for_device, after.skipped_for_cpu),
                        (full.0 - device, full.1 - cpu),
                        "{row:?}"
                    );
                    end(t, plane, both);
                    rows += 1;
                }
            }
        }
    }
    assert_eq!(rows, 96);
}

#[test]
fn defect_20_a_hint_lasts_for_one_hand_over() {
    let t = planes();
    let mut plane = alloc(&t, Device::contig(CAMERA), Bidirectional, NonCoherent);
    t.prepare(&mut plane, HintSkip::all()).unwrap();
    t.finish(&mut plane, HintSkip::all()).unwrap();
    let syncs = || {
        let done = t.ops().counters(CAMERA);
        done.syncs_for_device + done.syncs_for_cpu
    };
    assert_eq!(syncs(), 0);
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    t.finish(&mut plane, HintSkip::empty()).unwrap();
    assert_eq!(syncs(), 2);
    t.put(plane);
    assert_nothing(&t);
}

#[test]
fn bytes_are_right_with_the_syncs_and_stale_without() {
    for (skip, seen) in [(HintSkip::empty(), 5), (HintSkip::all(), 0)] {
        let t = planes();
        let mut plane = alloc(&t, Device::contig(CAMERA), Bidirectional, NonCoherent);
        let addr = dma(&t, &plane);
        cpu_write(&t, &plane, 0, &[5]);
        t.prepare(&mut plane, skip).unwrap();
        assert_eq!(t.ops().dev_read(CAMERA, addr, 1).unwrap(), [seen]);
        assert!(
            t.ops()
                .dev_write(CAMERA, addr.checked_add(1).unwrap(), &[5])
        );
        t.finish(&mut plane, skip).unwrap();
        assert_eq!(cpu_read(&t, &plane, 1, 1), [seen]);
        t.put(plane);
    }
}

#[test]
fn a_missing_clean_is_told() {
    let t = planes();
    let mut plane = alloc(&t, Device::contig(CAMERA), ToDevice, NonCoherent);
    cpu_write(&t, &plane, 0, &[5; 3]);
    t.prepare(&mut plane, HintSkip::PREPARE).unwrap();
    let tag = plane.memory().unwrap().get();
    let told = (CAMERA, tag, SyncFor::Device, Some(3));
    assert_eq!(t.host().missing.borrow()[0], told);
    t.finish(&mut plane, HintSkip::PREPARE).unwrap();
    t.prepare(&mut plane, HintSkip::empty()).unwrap();
    assert_eq!(t.host().missing.borrow().len(), 1);
    t.put(plane);
}
