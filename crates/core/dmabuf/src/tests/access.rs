//! Syncs and their directions, and the bytes that the CPU and devices see.

use super::host::{OTHER, PC};
use super::*;
use crate::{AttachRef, intersect};
use vb3_dma::Direction::{Bidirectional, FromDevice, ToDevice};
use vb3_dma::{DmaAddr, SyncFor};

struct Set {
    b: Bufs,
    id: MemoryId,
    buf: BufRef,
    a: AttachRef,
}

/// Makes memory of the camera's, attached and mapped for `dev`.
fn set(backing: Backing<u32>, own: Direction, dev: u32, dir: Direction) -> Set {
    let b = buffers();
    let id = memory(&b, backing, own, 2);
    let buf = export(&b, id);
    let a = b.import(&buf, dev).unwrap();
    b.map(&a, dir).unwrap();
    // From here on, the CPU's cache holds all of the memory.
    cpu_read(&b, id, 0, 2 * PAGE);
    Set { b, id, buf, a }
}

impl Set {
    fn addr(&self) -> DmaAddr {
        self.b.segment(&self.a, 0).unwrap().addr
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

    fn seen_by(&self, dev: u32) -> Vec<u8> {
        self.b.ops().dev_read(dev, self.addr(), 8).unwrap()
    }

    fn cpu(&self) -> Vec<u8> {
        cpu_read(&self.b, self.id, 0, 8)
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
fn defect_05_mapping_a_cached_export_syncs_it() {
    for dev in [DISPLAY, BOUNCER] {
        let b = buffers();
        let id = memory(&b, Backing::NonCoherent(CAMERA), Bidirectional, 1);
        let buf = export(&b, id);
        let a = b.import(&buf, dev).unwrap();
        for byte in [22, 33] {
            cpu_write(&b, id, 0, &[byte; 8]);
            b.map(&a, ToDevice).unwrap();
            let addr = b.segment(&a, 0).unwrap().addr;
            assert_eq!(b.ops().dev_read(dev, addr, 8).unwrap(), [byte; 8]);
            b.unmap(&a);
        }
        b.detach(a);
        b.put_buf(buf);
        end(b, id);
    }
}

#[test]
fn defect_05_begin_and_end_sync_while_mapped() {
    for dev in [DISPLAY, BOUNCER] {
        let s = set(Backing::NonCoherent(CAMERA), FromDevice, dev, ToDevice);
        let (at, buf) = (s.id, s.buf.id());
        for byte in [22, 33] {
            s.b.sync(buf, 2).unwrap();
            cpu_write(&s.b, at, 0, &[byte; 8]);
            s.b.sync(buf, 6).unwrap();
            assert_eq!(
                s.seen_by(dev),
                [byte; 8],
                "{dev:?}, which reads all the time"
            );
            s.b.hand_to_device(&s.a).unwrap();
            assert_eq!(s.seen_by(dev), [byte; 8], "{dev:?}");
        }
        assert_eq!(s.b.observer().get().missing, []);
        s.end();
    }
}

#[test]
fn defect_06_sync_reaches_all_attachments() {
    let s = set(
        Backing::NonCoherent(CAMERA),
        Bidirectional,
        DISPLAY,
        ToDevice,
    );
    let second = s.b.import(&s.buf, OTHER).unwrap();
    s.b.map(&second, Bidirectional).unwrap();
    let third = s.b.import(&s.buf, BOUNCER).unwrap();
    // Counts, for each of these devices, the syncs for the device and the syncs for the CPU.
    let devices = [CAMERA, DISPLAY, OTHER];
    let counts = |s: &Set| {
        devices.map(|dev| {
            let counters = s.b.ops().counters(dev);
            (counters.syncs_for_device, counters.syncs_for_cpu)
        })
    };
    let syncs = |s: &Set, flags| {
        let before = counts(s);
        s.b.sync(s.buf.id(), flags).unwrap();
        let after = counts(s);
        [0, 1, 2].map(|n| (after[n].0 - before[n].0, after[n].1 - before[n].1))
    };
    // The display's mapping is not synced for a read by the CPU: the display cannot have written.
    assert_eq!(syncs(&s, 1), [(0, 1), (0, 0), (0, 1)]);
    assert_eq!(syncs(&s, 6), [(1, 0); 3]);
    assert_eq!(syncs(&s, 7), [(1, 0); 3]);
    assert_eq!(syncs(&s, 2), [(0, 0); 3], "nothing to bring in for a write");
    s.b.detach(second);
    s.b.detach(third);
    s.end();
}

#[test]
fn device_to_device_needs_no_cache_maintenance() {
    let mut s = set(Backing::NonCoherent(CAMERA), FromDevice, DISPLAY, ToDevice);
    for byte in 1..20 {
        s.capture(byte, false);
        let before = s.b.ops().counters(DISPLAY);
        s.b.hand_to_device(&s.a).unwrap();
        assert_eq!(s.seen_by(DISPLAY), [byte; 8]);
        s.b.take_from_device(&s.a).unwrap();
        assert_eq!(s.b.ops().counters(DISPLAY), before);
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
            s.b.take_from_device(&s.a).unwrap();
        }
        s.end();
    }
}

/// The CPU makes the first bounced copy, but its view is older than the camera's write.
#[test]
fn new_bounced_mapping_shows_last_device_write() {
    let mut s = set(Backing::NonCoherent(CAMERA), FromDevice, BOUNCER, ToDevice);
    s.b.unmap(&s.a);
    s.capture(7, false);
    s.b.map(&s.a, ToDevice).unwrap();
    assert_eq!(s.seen_by(BOUNCER), [7; 8]);
    s.end();
}

#[test]
fn bounced_write_reaches_cpu_and_other_devices() {
    for backing in [Backing::NonCoherent(DISPLAY), Backing::Coherent(DISPLAY)] {
        let mut s = set(backing, ToDevice, BOUNCER, FromDevice);
        let own = own_addr(&s.b, s.id);
        for byte in 1..5 {
            s.b.hand_to_device(&s.a).unwrap();
            let addr = s.addr();
            assert!(s.b.ops().dev_write(BOUNCER, addr, &[byte; 8]));
            s.b.take_from_device(&s.a).unwrap();
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
        let s = set(
            Backing::NonCoherent(CAMERA),
            FromDevice,
            BOUNCER,
            FromDevice,
        );
        let reader = s.b.import(&s.buf, DISPLAY).unwrap();
        s.b.map(&reader, ToDevice).unwrap();
        let (from, to) = (s.addr(), s.b.segment(&reader, 0).unwrap().addr);
        s.b.hand_to_device(&s.a).unwrap();
        assert!(s.b.ops().dev_write(BOUNCER, from, &[6; 8]));
        if unmap {
            s.b.unmap(&s.a);
        } else {
            s.b.take_from_device(&s.a).unwrap();
        }
        s.b.hand_to_device(&reader).unwrap();
        assert_eq!(s.b.ops().dev_read(DISPLAY, to, 8).unwrap(), [6; 8]);
        s.b.detach(reader);
        s.end();
    }
}

#[test]
fn unwritten_bounce_copy_overwrites_nothing() {
    for was_used in [false, true] {
        let mut s = set(
            Backing::NonCoherent(CAMERA),
            FromDevice,
            BOUNCER,
            FromDevice,
        );
        if was_used {
            s.b.hand_to_device(&s.a).unwrap();
            s.b.take_from_device(&s.a).unwrap();
        }
        s.capture(5, true);
        s.b.sync(s.buf.id(), 1).unwrap();
        assert_eq!(s.cpu(), [5; 8]);
        s.b.unmap(&s.a);
        assert_eq!(s.cpu(), [5; 8]);
        s.end();
    }
}

#[test]
fn reading_without_begin_is_stale_and_told() {
    let s = set(Backing::NonCoherent(DISPLAY), ToDevice, CAMERA, FromDevice);
    let vma = s.b.vma_open_buf(s.buf.id()).unwrap();
    s.b.hand_to_device(&s.a).unwrap();
    let addr = s.addr();
    assert!(s.b.ops().dev_write(CAMERA, addr, &[3; 8]));
    s.b.take_from_device(&s.a).unwrap();
    assert_eq!(s.cpu(), [0; 8], "stale");
    assert_eq!(
        s.b.observer().get().missing,
        [],
        "not yet: it may still come"
    );
    s.b.hand_to_device(&s.a).unwrap();
    let told = (CAMERA, s.id.get(), SyncFor::Cpu, Some(8));
    assert_eq!(s.b.observer().get().missing, [told]);
    s.b.hand_to_device(&s.a).unwrap();
    assert_eq!(s.b.observer().get().missing.len(), 1, "reported once");
    s.b.vma_close(vma);
    s.end();
}

/// A program that maps the memory after the device's write sees the stale bytes, too.
#[test]
fn a_mapping_made_after_the_write_is_told_of() {
    let s = set(Backing::NonCoherent(DISPLAY), ToDevice, CAMERA, FromDevice);
    s.b.hand_to_device(&s.a).unwrap();
    let addr = s.addr();
    assert!(s.b.ops().dev_write(CAMERA, addr, &[3; 8]));
    s.b.take_from_device(&s.a).unwrap();
    let vma = s.b.vma_open_buf(s.buf.id()).unwrap();
    s.b.hand_to_device(&s.a).unwrap();
    assert_eq!(s.b.observer().get().missing.len(), 1);
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
        s.b.take_from_device(&s.a).unwrap();
        s.b.sync(s.buf.id(), 1).unwrap();
        assert_eq!(s.cpu(), [byte; 8]);
        s.b.sync(s.buf.id(), 5).unwrap();
    }
    s.b.vma_close(vma);
    assert_eq!(s.b.observer().get().missing, []);
    s.end();
}

/// The camera never reads. Still, the bytes that the CPU wrote must leave its cache, or the next sync for a
/// reader drops them.
#[test]
fn what_the_cpu_wrote_stays_in_a_cameras_memory() {
    for own in [DISPLAY, CAMERA] {
        let direction = if own == CAMERA { FromDevice } else { ToDevice };
        let s = set(Backing::NonCoherent(own), direction, CAMERA, FromDevice);
        for byte in [22, 33] {
            s.b.sync(s.buf.id(), 2).unwrap();
            cpu_write(&s.b, s.id, 0, &[byte; 8]);
            s.b.sync(s.buf.id(), 6).unwrap();
            s.b.sync(s.buf.id(), 1).unwrap();
            assert_eq!(s.cpu(), [byte; 8], "{own:?}");
        }
        s.end();
    }
}

/// A program that draws into a captured picture must not lose the rest of the picture.
#[test]
fn a_cpu_that_writes_keeps_the_bytes_around() {
    let s = set(Backing::NonCoherent(DISPLAY), ToDevice, CAMERA, FromDevice);
    s.b.hand_to_device(&s.a).unwrap();
    assert!(s.b.ops().dev_write(CAMERA, s.addr(), &[3; 8]));
    s.b.take_from_device(&s.a).unwrap();
    s.b.sync(s.buf.id(), 2).unwrap();
    cpu_write(&s.b, s.id, 0, &[9; 4]);
    s.b.sync(s.buf.id(), 6).unwrap();
    s.b.sync(s.buf.id(), 1).unwrap();
    assert_eq!(s.cpu(), [9, 9, 9, 9, 3, 3, 3, 3]);
    s.end();
}

/// Nothing is invalidated for a coherent device, so the CPU still has to read what the camera wrote.
#[test]
fn a_coherent_device_keeps_the_note_of_a_write() {
    let mut s = set(Backing::NonCoherent(CAMERA), FromDevice, PC, FromDevice);
    s.capture(5, false);
    s.b.unmap(&s.a);
    s.b.sync(s.buf.id(), 2).unwrap();
    cpu_write(&s.b, s.id, 0, &[9; 4]);
    s.b.sync(s.buf.id(), 6).unwrap();
    s.b.sync(s.buf.id(), 1).unwrap();
    assert_eq!(s.cpu(), [9, 9, 9, 9, 5, 5, 5, 5]);
    s.end();
}

/// The owner's device is attached, too. A sync is counted if its caches need one.
#[test]
fn the_owner_is_synced_where_caches_are_not_coherent() {
    for (owner, needs_sync) in [(CAMERA, true), (PC, false)] {
        let b = buffers();
        let id = memory(&b, Backing::NonCoherent(owner), FromDevice, 1);
        let syncs = b.with_memory(id, |m, cx| {
            let key = m.attach_dynamic(cx, owner)?;
            m.map(cx, key, FromDevice)?;
            for sync in [true, false] {
                m.hand_to_device(cx, key, sync)?;
                m.take_from_device(cx, key, sync)?;
            }
            m.detach(cx, key);
            Ok(cx.observer.get().syncs_for_cpu)
        });
        assert_eq!(syncs, Ok(u32::from(needs_sync)));
        end(b, id);
    }
}

#[test]
fn write_without_end_is_stale_and_reported() {
    let s = set(Backing::NonCoherent(CAMERA), FromDevice, DISPLAY, ToDevice);
    let at = s.id;
    cpu_write(&s.b, at, 0, &[4; 5]);
    s.b.hand_to_device(&s.a).unwrap();
    assert_eq!(s.seen_by(DISPLAY), [0; 8], "stale");
    let told = (DISPLAY, at.get(), SyncFor::Device, Some(5));
    assert_eq!(s.b.observer().get().missing[0], told);
    s.b.sync(s.buf.id(), 6).unwrap();
    s.b.hand_to_device(&s.a).unwrap();
    assert_eq!(s.seen_by(DISPLAY), [4, 4, 4, 4, 4, 0, 0, 0]);
    assert_eq!(s.b.observer().get().missing.len(), 1);
    s.end();
}

#[test]
fn coherent_memory_and_coherent_devices_miss_nothing() {
    for (backing, dev) in [
        (Backing::Coherent(CAMERA), DISPLAY),
        (Backing::NonCoherent(PC), PC),
    ] {
        let s = set(backing, Bidirectional, dev, Bidirectional);
        let vma = s.b.vma_open_buf(s.buf.id()).unwrap();
        let at = s.id;
        cpu_write(&s.b, at, 0, &[4; 8]);
        s.b.hand_to_device(&s.a).unwrap();
        assert_eq!(s.seen_by(dev), [4; 8]);
        let addr = s.addr();
        assert!(s.b.ops().dev_write(dev, addr, &[6; 8]));
        s.b.take_from_device(&s.a).unwrap();
        assert_eq!(s.cpu(), [6; 8]);
        s.b.vma_close(vma);
        assert_eq!(s.b.observer().get().missing, [], "{backing:?}");
        s.end();
    }
}
