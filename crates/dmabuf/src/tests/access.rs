//! Who syncs, in which direction, and whether the bytes are right.

use super::*;
use crate::{AttachRef, Importer, SyncKind, intersect};
use vb3_dma::Direction::{Bidirectional, FromDevice, ToDevice};
use vb3_dma::{DmaAddr, SyncFor};

struct Set {
    b: Bufs,
    id: MemoryId,
    buf: BufRef,
    a: AttachRef,
}

/// Memory of the camera's, attached and mapped for `dev`.
fn set(backing: Backing<FakeDevice>, own: Direction, dev: FakeDevice, dir: Direction) -> Set {
    let b = buffers();
    let id = memory(&b, backing, own, 2);
    let buf = export(&b, id);
    let mut a = b.attach(&buf, dev).unwrap();
    b.map(&mut a, dir).unwrap();
    b.ops().state().syncs.clear();
    Set { b, id, buf, a }
}

impl Set {
    fn addr(&self) -> DmaAddr {
        self.b.segment(&self.a, 0).unwrap().addr
    }

    fn block(&self) -> usize {
        block(&self.b, self.id)
    }

    fn owner(&mut self, to_device: bool, sync: bool) {
        self.b
            .with_memory(self.id, |m, cx| {
                if to_device {
                    m.owner_to_device(cx, sync);
                } else {
                    m.owner_from_device(cx, sync);
                }
                Ok(())
            })
            .unwrap();
    }

    /// The owner's device writes; the CPU is synced if `sync`.
    fn capture(&mut self, byte: u8, sync: bool) {
        self.owner(true, true);
        let addr = own_addr(&self.b, self.id);
        assert!(self.b.ops().dev_write(CAMERA, addr, &[byte; 8]));
        self.owner(false, sync);
    }

    fn seen_by(&self, dev: FakeDevice) -> Vec<u8> {
        self.b.ops().dev_read(dev, self.addr(), 8).unwrap()
    }

    fn cpu(&self) -> Vec<u8> {
        self.b.ops().cpu_read(self.block(), 0, 8)
    }

    fn end(self) {
        self.b.detach(self.a);
        self.b.put_buf(self.buf);
        end(self.b, self.id);
    }
}

#[test]
fn intersections() {
    for (wanted, allowed, part) in [
        (ToDevice, ToDevice, Some(ToDevice)),
        (ToDevice, FromDevice, None),
        (ToDevice, Bidirectional, Some(ToDevice)),
        (FromDevice, ToDevice, None),
        (FromDevice, FromDevice, Some(FromDevice)),
        (FromDevice, Bidirectional, Some(FromDevice)),
        (Bidirectional, ToDevice, Some(ToDevice)),
        (Bidirectional, FromDevice, Some(FromDevice)),
        (Bidirectional, Bidirectional, Some(Bidirectional)),
    ] {
        assert_eq!(intersect(wanted, allowed), part);
    }
}

#[test]
fn defect_05_mapping_an_exported_cached_buffer_hands_it_over() {
    for dev in [DISPLAY, BOUNCER] {
        let b = buffers();
        let id = memory(&b, Backing::NonCoherent(CAMERA), Bidirectional, 1);
        let buf = export(&b, id);
        let mut a = b.attach(&buf, dev).unwrap();
        let at = block(&b, id);
        for byte in [22, 33] {
            b.ops().cpu_write(at, 0, &[byte; 8]);
            b.map(&mut a, ToDevice).unwrap();
            let addr = b.segment(&a, 0).unwrap().addr;
            assert_eq!(b.ops().dev_read(dev, addr, 8).unwrap(), [byte; 8]);
            b.unmap(&mut a);
        }
        b.detach(a);
        b.put_buf(buf);
        end(b, id);
    }
}

#[test]
fn defect_05_begin_and_end_do_the_work_while_it_stays_mapped() {
    for dev in [DISPLAY, BOUNCER] {
        let s = set(Backing::NonCoherent(CAMERA), FromDevice, dev, ToDevice);
        let (at, buf) = (s.block(), s.buf.id());
        for byte in [22, 33] {
            s.b.sync(buf, 2).unwrap();
            s.b.ops().cpu_write(at, 0, &[byte; 8]);
            s.b.sync(buf, 6).unwrap();
            s.b.hand_to_device(&s.a).unwrap();
            assert_eq!(s.seen_by(dev), [byte; 8], "{dev:?}");
        }
        assert_eq!(s.b.observer().get().missing, []);
        s.end();
    }
}

#[test]
fn defect_06_all_attachments_are_synced_in_the_requested_direction() {
    let mut s = set(
        Backing::NonCoherent(CAMERA),
        Bidirectional,
        DISPLAY,
        ToDevice,
    );
    let other = FakeDevice::new(9);
    let mut second = s.b.attach(&s.buf, other).unwrap();
    s.b.map(&mut second, Bidirectional).unwrap();
    let third = s.b.attach(&s.buf, BOUNCER).unwrap();
    let syncs = |s: &mut Set, flags| {
        s.b.ops().state().syncs.clear();
        s.b.sync(s.buf.id(), flags).unwrap();
        s.b.ops().state().syncs.clone()
    };
    // The display's mapping takes no part in a read by the CPU: it cannot have written.
    assert_eq!(
        syncs(&mut s, 1),
        [(1, FromDevice, SyncFor::Cpu), (9, FromDevice, SyncFor::Cpu)]
    );
    assert_eq!(
        syncs(&mut s, 6),
        [
            (1, ToDevice, SyncFor::Device),
            (2, ToDevice, SyncFor::Device),
            (9, ToDevice, SyncFor::Device)
        ]
    );
    assert_eq!(
        syncs(&mut s, 7),
        [
            (1, Bidirectional, SyncFor::Device),
            (2, ToDevice, SyncFor::Device),
            (9, Bidirectional, SyncFor::Device)
        ]
    );
    assert_eq!(syncs(&mut s, 2), [], "nothing to bring in for a write");
    s.b.detach(second);
    s.b.detach(third);
    s.end();
}

#[test]
fn device_to_device_takes_no_cache_maintenance_and_the_bytes_are_right() {
    let mut s = set(Backing::NonCoherent(CAMERA), FromDevice, DISPLAY, ToDevice);
    for byte in 1..20 {
        s.capture(byte, false);
        s.b.ops().state().syncs.clear();
        s.b.hand_to_device(&s.a).unwrap();
        assert_eq!(s.seen_by(DISPLAY), [byte; 8]);
        s.b.take_from_device(&s.a);
        assert_eq!(s.b.ops().state().syncs, []);
    }
    assert_eq!(s.cpu(), [0; 8], "the CPU asked for nothing");
    assert_eq!(s.b.observer().get().missing, [], "and wrote nothing");
    s.b.sync(s.buf.id(), 1).unwrap();
    assert_eq!(s.cpu(), [19; 8]);
    s.end();
}

#[test]
fn device_to_device_through_a_bounced_copy() {
    for backing in [Backing::NonCoherent(CAMERA), Backing::Coherent(CAMERA)] {
        let mut s = set(backing, FromDevice, BOUNCER, ToDevice);
        for byte in 1..5 {
            s.capture(byte, false);
            s.b.hand_to_device(&s.a).unwrap();
            assert_eq!(s.seen_by(BOUNCER), [byte; 8], "{backing:?}");
            s.b.take_from_device(&s.a);
        }
        s.end();
    }
}

/// The first copy is made by the CPU, whose view is older than what the camera wrote.
#[test]
fn a_new_bounced_mapping_shows_what_a_device_wrote_last() {
    let mut s = set(Backing::NonCoherent(CAMERA), FromDevice, BOUNCER, ToDevice);
    s.b.unmap(&mut s.a);
    s.capture(7, false);
    s.b.map(&mut s.a, ToDevice).unwrap();
    assert_eq!(s.seen_by(BOUNCER), [7; 8]);
    s.end();
}

#[test]
fn a_bounced_writer_reaches_the_cpu_and_other_devices() {
    for backing in [Backing::NonCoherent(DISPLAY), Backing::Coherent(DISPLAY)] {
        let mut s = set(backing, ToDevice, BOUNCER, FromDevice);
        let own = own_addr(&s.b, s.id);
        for byte in 1..5 {
            s.b.hand_to_device(&s.a).unwrap();
            let addr = s.addr();
            assert!(s.b.ops().dev_write(BOUNCER, addr, &[byte; 8]));
            s.b.take_from_device(&s.a);
            s.owner(true, true);
            assert_eq!(s.b.ops().dev_read(DISPLAY, own, 8).unwrap(), [byte; 8]);
            assert_eq!(s.cpu(), [byte; 8]);
        }
        s.end();
    }
}

#[test]
fn a_bounced_writer_reaches_other_mapped_devices() {
    for unmap in [false, true] {
        let mut s = set(
            Backing::NonCoherent(CAMERA),
            FromDevice,
            BOUNCER,
            FromDevice,
        );
        let mut reader = s.b.attach(&s.buf, DISPLAY).unwrap();
        s.b.map(&mut reader, ToDevice).unwrap();
        let (from, to) = (s.addr(), s.b.segment(&reader, 0).unwrap().addr);
        s.b.hand_to_device(&s.a).unwrap();
        assert!(s.b.ops().dev_write(BOUNCER, from, &[6; 8]));
        if unmap {
            s.b.unmap(&mut s.a);
        } else {
            s.b.take_from_device(&s.a);
        }
        s.b.hand_to_device(&reader).unwrap();
        assert_eq!(s.b.ops().dev_read(DISPLAY, to, 8).unwrap(), [6; 8]);
        s.b.detach(reader);
        s.end();
    }
}

#[test]
fn a_bounced_copy_that_was_not_written_overwrites_nothing() {
    let mut s = set(
        Backing::NonCoherent(CAMERA),
        FromDevice,
        BOUNCER,
        FromDevice,
    );
    s.b.take_from_device(&s.a);
    s.capture(5, true);
    s.b.sync(s.buf.id(), 1).unwrap();
    assert_eq!(s.cpu(), [5; 8]);
    s.b.unmap(&mut s.a);
    assert_eq!(s.cpu(), [5; 8]);
    s.end();
}

#[test]
fn reading_without_begin_is_stale_and_told() {
    let s = set(Backing::NonCoherent(DISPLAY), ToDevice, CAMERA, FromDevice);
    s.b.set_now(77);
    let vma = s.b.vma_open_buf(s.buf.id()).unwrap();
    s.b.hand_to_device(&s.a).unwrap();
    let addr = s.addr();
    assert!(s.b.ops().dev_write(CAMERA, addr, &[3; 8]));
    s.b.take_from_device(&s.a);
    assert_eq!(s.cpu(), [0; 8], "stale");
    let fact = s.b.inspect(s.id, |m| m.missing_sync()).flatten().unwrap();
    assert_eq!((fact.sync, fact.device.id), (SyncKind::BeginRead, 1));
    assert_eq!(
        s.b.observer().get().missing,
        [],
        "not yet: it may still come"
    );
    s.b.hand_to_device(&s.a).unwrap();
    let told = MissingSync {
        stale_bytes: Some(8),
        at_ns: 77,
        ..fact
    };
    assert_eq!(s.b.observer().get().missing, [told]);
    s.b.hand_to_device(&s.a).unwrap();
    assert_eq!(s.b.observer().get().missing.len(), 1, "told once");
    s.b.vma_close(vma);
    s.end();
}

#[test]
fn reading_with_begin_is_right_and_nothing_is_told() {
    let s = set(Backing::NonCoherent(DISPLAY), ToDevice, CAMERA, FromDevice);
    let vma = s.b.vma_open_buf(s.buf.id()).unwrap();
    for byte in 1..4 {
        s.b.hand_to_device(&s.a).unwrap();
        let addr = s.addr();
        assert!(s.b.ops().dev_write(CAMERA, addr, &[byte; 8]));
        s.b.take_from_device(&s.a);
        s.b.sync(s.buf.id(), 1).unwrap();
        assert_eq!(s.cpu(), [byte; 8]);
        s.b.sync(s.buf.id(), 5).unwrap();
    }
    s.b.vma_close(vma);
    assert_eq!(s.b.observer().get().missing, []);
    s.end();
}

#[test]
fn writing_without_end_is_stale_at_the_device_and_told() {
    let s = set(Backing::NonCoherent(CAMERA), FromDevice, DISPLAY, ToDevice);
    let at = s.block();
    s.b.ops().cpu_write(at, 0, &[4; 5]);
    s.b.hand_to_device(&s.a).unwrap();
    assert_eq!(s.seen_by(DISPLAY), [0; 8], "stale");
    let fact = s.b.observer().get().missing[0];
    assert_eq!((fact.sync, fact.device.id), (SyncKind::EndWrite, 2));
    assert_eq!(fact.stale_bytes, Some(5));
    s.b.sync(s.buf.id(), 6).unwrap();
    s.b.hand_to_device(&s.a).unwrap();
    assert_eq!(s.seen_by(DISPLAY), [4, 4, 4, 4, 4, 0, 0, 0]);
    assert_eq!(s.b.observer().get().missing.len(), 1);
    s.end();
}

#[test]
fn coherent_memory_and_coherent_devices_miss_nothing() {
    let pc = FakeDevice {
        coherent: true,
        ..DISPLAY
    };
    for (backing, dev) in [
        (Backing::Coherent(CAMERA), DISPLAY),
        (Backing::NonCoherent(pc), pc),
    ] {
        let s = set(backing, Bidirectional, dev, Bidirectional);
        let vma = s.b.vma_open_buf(s.buf.id()).unwrap();
        let at = s.block();
        s.b.ops().cpu_write(at, 0, &[4; 8]);
        s.b.hand_to_device(&s.a).unwrap();
        assert_eq!(s.seen_by(dev), [4; 8]);
        let addr = s.addr();
        assert!(s.b.ops().dev_write(dev, addr, &[6; 8]));
        s.b.take_from_device(&s.a);
        assert_eq!(s.cpu(), [6; 8]);
        s.b.vma_close(vma);
        assert_eq!(s.b.observer().get().missing, [], "{backing:?}");
        s.end();
    }
}
