//! Memory that another process writes for a device: its location, and how the machine counts the writes.

use crate::common::*;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use vb3_dma::{Attrs, Coherency, Direction, DmaAddr, DmaOps as _, SyncFor};
use vb3_machine::{BusSpan, Device, DeviceLimits, Event, FaultKind, Machine};

type Mapper = vb3_dma::Mapper<Machine>;

const LEN: u64 = 5 * PAGE;

fn with_device(lines: &str) -> (Mapper, Device) {
    let mut mapper = mapper(lines);
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    (mapper, dev)
}

fn span(addr: DmaAddr, offset: u64, len: u64) -> BusSpan {
    let addr = addr.checked_add(offset).unwrap();
    BusSpan { addr, len }
}

#[test]
fn what_is_written_there_is_what_the_device_writes() {
    for lines in [CMA, &with_iommu(CMA)] {
        let (mut mapper, dev) = with_device(lines);
        let alloc = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
        let other = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
        let addr = mapper.alloc_dma_addr(&alloc).unwrap();
        let elsewhere = mapper.alloc_dma_addr(&other).unwrap();
        let machine = mapper.platform_mut();
        let spans = [
            span(addr, 7, 9000),
            span(addr, LEN - 1, 1),
            span(elsewhere, 0, LEN),
        ];
        let found = machine.bus_host_spans(dev, &spans).unwrap();
        let places: Vec<_> = found.iter().map(|s| (s.fd_len, s.offset, s.len)).collect();
        assert_eq!(places, [(LEN, 7, 9000), (LEN, LEN - 1, 1), (LEN, 0, LEN)]);
        assert_eq!(found[0].number, found[1].number);
        assert_ne!(found[0].number, found[2].number);
        let file = File::from(found[0].fd.try_clone_to_owned().unwrap());
        file.write_all_at(b"written", found[0].offset).unwrap();
        let before = bus_stats(machine, dev);
        machine.trace_mut().start(10);
        machine.bus_note_written(dev, span(addr, 7, 7)).unwrap();
        let events: Vec<Event> = machine.trace().events().iter().map(|(_, e)| *e).collect();
        let (dev_index, at) = (dev.index(), addr.get() + 7);
        let wanted = Event::BusWrite {
            dev: dev_index,
            addr: at,
            len: 7,
        };
        assert_eq!(events, [wanted], "{lines}");
        let after = bus_stats(machine, dev);
        assert_eq!(after.bytes_written - before.bytes_written, 7);
        let mut bytes = [0; 7];
        machine
            .bus_read(dev, span(addr, 7, 7).addr, &mut bytes)
            .unwrap();
        assert_eq!(&bytes, b"written");
    }
}

/// The device writes through the CPU's caches, so a later clean writes the device's bytes back, even if they equal the
/// old bytes.
#[test]
fn what_is_written_there_makes_lines_dirty() {
    for is_noted in [false, true] {
        let (mut mapper, deaf) = with_device(&CMA.replace("true", "false"));
        let limits = DeviceLimits {
            coherency: Some(Coherency::Coherent),
            ..DeviceLimits::default()
        };
        let snoops = mapper.platform_mut().add_device("snoops", limits).unwrap();
        let alloc = mapper.alloc_virtual(PAGE).unwrap();
        let table = mapper.share(&alloc).unwrap();
        let both = Direction::Bidirectional;
        let [by_snoops, by_deaf] =
            [snoops, deaf].map(|dev| mapper.map(dev, &table, both, Attrs::empty()).unwrap());
        let at = segments(&mapper, &by_snoops)[0].addr;
        let seen = segments(&mapper, &by_deaf)[0].addr;
        for bytes in [b"AAAA", b"BBBB", b"AAAA"] {
            let machine = mapper.platform_mut();
            if bytes == b"BBBB" {
                machine.bus_write(deaf, seen, bytes).unwrap();
                continue;
            }
            match is_noted {
                false => machine.bus_write(snoops, at, bytes).unwrap(),
                true => {
                    let place = machine.bus_host_spans(snoops, &[span(at, 0, 4)]).unwrap();
                    let file = File::from(place[0].fd.try_clone_to_owned().unwrap());
                    file.write_all_at(bytes, place[0].offset).unwrap();
                    machine.bus_note_written(snoops, span(at, 0, 4)).unwrap();
                }
            }
            mapper.sync(&by_deaf, both, SyncFor::Device).unwrap();
        }
        let mut found = [0; 4];
        mapper
            .platform_mut()
            .bus_read(deaf, seen, &mut found)
            .unwrap();
        assert_eq!(&found, b"AAAA", "noted: {is_noted}");
        mapper.unmap(by_snoops, Attrs::empty());
        mapper.unmap(by_deaf, Attrs::empty());
        mapper.free(table);
        mapper.free(alloc);
    }
}

#[test]
fn shared_bytes_are_what_the_device_reads() {
    for lines in [CMA, &with_iommu(CMA)] {
        let (mut mapper, dev) = with_device(lines);
        let alloc = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
        let addr = mapper.alloc_dma_addr(&alloc).unwrap();
        let part = [span(addr, 7, 9000)];
        let machine = mapper.platform_mut();
        machine.bus_write(dev, part[0].addr, b"written").unwrap();
        let before = bus_stats(machine, dev);
        let bytes = machine
            .bus_shared_bytes(dev, &part, false)
            .unwrap()
            .remove(0);
        let mut out = [0; 7];
        let read = std::thread::scope(|scope| scope.spawn(|| bytes.read(0, &mut out)).join());
        assert!(read.unwrap() && &out == b"written");
        assert!(bytes.read(8993, &mut out));
        assert!(!bytes.read(8994, &mut out) && !bytes.read(u64::MAX, &mut out));
        let lent = machine
            .bus_shared_bytes(dev, &part, true)
            .unwrap()
            .remove(0);
        let wrote = std::thread::scope(|scope| scope.spawn(|| lent.write(8993, b"by hand")).join());
        assert!(wrote.unwrap());
        assert!(!lent.write(8994, b"by hand") && !lent.write(u64::MAX, b"by hand"));
        assert!(bytes.read(8993, &mut out) && &out == b"by hand");
        assert_eq!(bus_stats(machine, dev), before, "nothing is counted");
        mapper.free(alloc);
        assert!(bytes.read(0, &mut out), "it stays mapped");
        let machine = mapper.platform_mut();
        assert!(machine.bus_shared_bytes(dev, &part, false).is_none());
    }
}

#[test]
fn a_mapping_that_went_away_is_a_fault() {
    let (mut mapper, dev) = with_device(&with_iommu(CMA));
    let alloc = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let whole = span(addr, 0, LEN);
    assert!(
        mapper
            .platform_mut()
            .bus_host_spans(dev, &[whole])
            .is_some()
    );
    mapper.free(alloc);
    let machine = mapper.platform_mut();
    assert!(machine.bus_host_spans(dev, &[whole]).is_none());
    assert_eq!(bus_stats(machine, dev).faults, 0, "nothing was accessed");
    let fault = machine.bus_note_written(dev, whole).unwrap_err();
    assert_eq!((fault.addr, fault.kind), (addr, FaultKind::Unmapped));
    let stats = bus_stats(machine, dev);
    assert_eq!((stats.faults, stats.bytes_written), (1, 0));
}

/// Another process still has the file, and may write it after the revocation.
#[test]
fn late_write_to_revoked_memory_faults_and_is_wiped() {
    let (mut mapper, dev) = with_device(CMA);
    let alloc = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let file = File::from(mapper.mmap(&alloc, 0, LEN).unwrap().fd);
    let machine = mapper.platform_mut();
    let own = machine.own_memory(alloc.pages(), alloc.segments()).unwrap();
    machine.withdraw(own);
    for len in [LEN, 7] {
        file.write_all_at(b"written", 0).unwrap();
        let fault = machine.bus_note_written(dev, span(addr, 0, len));
        assert_eq!(fault.unwrap_err().kind, FaultKind::NoMemory, "{len} bytes");
        let mut seen = [1; 7];
        file.read_exact_at(&mut seen, 0).unwrap();
        assert_eq!(seen, [0; 7], "{len} bytes");
    }
    mapper.free(alloc);
}

/// The result of a lookup is stored, and used until translations change.
#[test]
fn a_rewritten_page_table_is_noticed() {
    let (mut mapper, dev) = with_device(&with_iommu(CMA));
    let alloc = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let machine = mapper.platform_mut();
    let whole = [span(addr, 0, LEN)];
    for _ in 0..3 {
        assert!(machine.bus_host_spans(dev, &whole).is_some());
        machine.bus_note_written(dev, whole[0]).unwrap();
        machine
            .bus_note_written(dev, span(addr, 1, LEN - 1))
            .unwrap();
    }
    let fault = machine.bus_note_written(dev, span(addr, 0, LEN + 1));
    assert!(fault.is_err(), "what was not looked for is");
    // Clears the root's entries, so that nothing is mapped. `set_staleness` then flushes old translations.
    let root = machine.iommu_root(dev).unwrap();
    for entry in 0..512 {
        let at = root.checked_add(entry * 8).unwrap();
        assert!(machine.set_iommu_word(at, 0));
    }
    machine.set_staleness(dev, vb3_machine::Staleness::default());
    assert!(machine.bus_note_written(dev, whole[0]).is_err());
    assert!(machine.bus_host_spans(dev, &whole).is_none());
}

/// A large access also uses its stored result until translations change.
#[test]
fn large_accesses_repeat_until_their_mapping_ends() {
    let (mut mapper, dev) = with_device(&with_iommu(CMA));
    let alloc = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let machine = mapper.platform_mut();
    let mut bytes = vec![7; LEN as usize];
    machine.bus_write(dev, addr, &bytes).unwrap();
    machine.bus_read(dev, addr, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 7));
    for _ in 0..3 {
        machine.bus_write(dev, addr, &bytes).unwrap();
        machine.bus_read(dev, addr, &mut bytes).unwrap();
        machine.bus_note_read(dev, span(addr, 0, LEN)).unwrap();
    }
    assert_eq!(bus_stats(machine, dev).bytes_read, 7 * LEN);
    mapper.free(alloc);
    let machine = mapper.platform_mut();
    let fault = machine.bus_read(dev, addr, &mut bytes).unwrap_err();
    assert_eq!((fault.addr, fault.kind), (addr, FaultKind::Unmapped));
    assert!(machine.bus_write(dev, addr, &bytes).is_err());
}

#[test]
fn a_place_to_read_is_none_to_write() {
    let (mut mapper, dev) = with_device(&with_iommu(CMA));
    let alloc = mapper
        .alloc_noncontiguous(dev, LEN, Direction::ToDevice, Attrs::empty())
        .unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let machine = mapper.platform_mut();
    let mut bytes = vec![7; LEN as usize];
    machine.bus_read(dev, addr, &mut bytes).unwrap();
    let fault = machine.bus_write(dev, addr, &bytes).unwrap_err();
    assert_eq!((fault.addr, fault.kind), (addr, FaultKind::ReadOnly));
    mapper.free(alloc);
}

/// Devices that do not snoop write to a store of their own. Another process could only write the CPU's.
#[test]
fn what_the_cpu_does_not_see_at_once_is_not_shown() {
    let (mut mapper, dev) = with_device(&with_iommu("coherent = false"));
    let cached = mapper
        .alloc_noncontiguous(dev, LEN, Direction::Bidirectional, Attrs::empty())
        .unwrap();
    let addr = mapper.alloc_dma_addr(&cached).unwrap();
    let machine = mapper.platform_mut();
    assert!(machine.bus_host_spans(dev, &[span(addr, 0, 64)]).is_none());
    // Uncached memory has one store for the CPU and all devices.
    let uncached = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&uncached).unwrap();
    let machine = mapper.platform_mut();
    assert!(machine.bus_host_spans(dev, &[span(addr, 0, 64)]).is_some());
}

/// The bounce pool's memory also has other owners' bytes, so another process must not write it.
#[test]
fn memory_that_bounces_is_not_shown() {
    let lines = format!("{COHERENT}\n[bounce]\nmode = \"always\"\npool = \"128KiB\"");
    let (mut mapper, dev) = with_device(&lines);
    let program = Program::new(0x10_0000, vec![3; 2 * PAGE as usize]);
    let user: vb3_machine::User = program;
    let direction = Direction::FromDevice;
    let table = mapper
        .pin_user(&user, 0x10_0000, 2 * PAGE, direction)
        .unwrap();
    let mapping = mapper.map(dev, &table, direction, Attrs::empty()).unwrap();
    let first = segments(&mapper, &mapping)[0].addr;
    let machine = mapper.platform_mut();
    let spans = [span(first, 0, 64)];
    assert!(machine.bus_host_spans(dev, &spans).is_none());
    machine.bus_write(dev, first, &[1; 64]).unwrap();
}
