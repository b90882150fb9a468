//! Bounce copies, stale caches and user memory: the bytes that each party sees.

use crate::common::*;
use std::sync::Arc;
use vb3_dma::{Attrs, Constraint, Direction, DmaOps as _, Error, Reason, SyncFor};
use vb3_machine::{Device, DeviceLimits, FaultKind, Machine, User};

const PRIVATE: &str = "coherent = true\ncma = \"8MiB\"\nprivate_memory = true\n\
                       [bounce]\nmode = \"when-needed\"\npool = \"64KiB\"";

type Mapper = vb3_dma::Mapper<Machine>;

fn with_device(lines: &str) -> (Mapper, Device) {
    let mut mapper = mapper(lines);
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    (mapper, dev)
}

fn no_bounce(bytes: u64) -> Error {
    let constraint = Constraint::NoBounce;
    Error::Unmappable(Reason {
        constraint,
        wanted: bytes,
        found: 0,
    })
}

#[test]
fn private_memory_is_copied_and_counted() {
    let (mut mapper, dev) = with_device(PRIVATE);
    let len = 3 * PAGE;
    let alloc = mapper.alloc_virtual(len).unwrap();
    let table = mapper.share(&alloc).unwrap();
    assert_eq!(table.segments().len(), 3);
    let vmap = mapper.vmap(&alloc).unwrap();
    let data = pattern(len as usize);
    mapper.vmap_write(&vmap, 0, &data).unwrap();

    let mapping = mapper
        .map(dev, &table, Direction::Bidirectional, Attrs::empty())
        .unwrap();
    assert!(mapper.bounces(&mapping));
    assert_eq!(mapping.bounced_bytes(), len);
    assert_eq!(run_len(&mapper, &mapping, len), len, "the copy is one run");
    let addr = segments(&mapper, &mapping)[0].addr;
    let mut seen = vec![0; len as usize];
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut seen)
        .unwrap();
    assert_eq!(seen, data);
    assert_eq!(mapper.counters(dev).bytes_bounced, len);

    // The device's write is visible after a sync for the CPU, not before.
    mapper
        .platform_mut()
        .bus_write(dev, addr, b"device")
        .unwrap();
    mapper.vmap_read(&vmap, 0, &mut seen[..6]).unwrap();
    assert_eq!(seen[..6], data[..6]);
    assert!(
        mapper
            .sync(&mapping, Direction::FromDevice, SyncFor::Cpu)
            .unwrap()
    );
    mapper.vmap_read(&vmap, 0, &mut seen).unwrap();
    assert_eq!((&seen[..6], &seen[6..]), (&b"device"[..], &data[6..]));
    // The CPU's write is visible to the device after a sync for the device, not before.
    mapper.vmap_write(&vmap, 0, b"theCPU").unwrap();
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut seen[..6])
        .unwrap();
    assert_eq!(&seen[..6], b"device");
    assert!(
        mapper
            .sync(&mapping, Direction::ToDevice, SyncFor::Device)
            .unwrap()
    );
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut seen[..6])
        .unwrap();
    assert_eq!(&seen[..6], b"theCPU");
    assert!(
        !mapper
            .sync(&mapping, Direction::ToDevice, SyncFor::Cpu)
            .unwrap(),
        "nothing to copy back"
    );
    mapper
        .platform_mut()
        .bus_write(dev, addr, b"at end")
        .unwrap();
    mapper.unmap(mapping, Attrs::empty());
    mapper.vmap_read(&vmap, 0, &mut seen[..6]).unwrap();
    assert_eq!(&seen[..6], b"at end");

    let counters = mapper.counters(dev);
    assert_eq!(counters.bytes_bounced, 4 * len);
    assert_eq!((counters.maps, counters.unmaps), (1, 1));
    assert_eq!((counters.syncs_for_device, counters.syncs_for_cpu), (2, 2));
    mapper.vunmap(vmap);
    mapper.free(table);
    mapper.free(alloc);
    assert!(mapper.live().is_empty());
}

#[test]
fn a_bounce_slot_shows_no_earlier_bytes() {
    let (mut mapper, dev) = with_device(PRIVATE);
    let secret = mapper.alloc_virtual(16 * PAGE).unwrap();
    let vmap = mapper.vmap(&secret).unwrap();
    mapper
        .vmap_write(&vmap, 0, &vec![0xa5; 16 * PAGE as usize])
        .unwrap();
    let table = mapper.share(&secret).unwrap();
    let mapping = mapper
        .map(dev, &table, Direction::ToDevice, Attrs::empty())
        .unwrap();
    let base = segments(&mapper, &mapping)[0].addr;
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(table);

    // 100 bytes of user memory take one slot. The slot's other bytes are zero.
    let program = Program::new(0x1000_0000, vec![1; 2 * PAGE as usize]);
    let user: User = program;
    for (direction, attrs) in [
        (Direction::FromDevice, Attrs::empty()),
        (Direction::FromDevice, Attrs::SKIP_CPU_SYNC),
        (Direction::ToDevice, Attrs::SKIP_CPU_SYNC),
    ] {
        let table = mapper.pin_user(&user, 0x1000_0010, 100, direction).unwrap();
        let mapping = mapper.map(dev, &table, direction, attrs).unwrap();
        let found = segments(&mapper, &mapping);
        assert_eq!((found.len(), found[0].len), (1, 100));
        assert!(found[0].addr.get() >= base.get());
        let mut slot = vec![0xff; 2048];
        mapper
            .platform_mut()
            .bus_read(dev, found[0].addr, &mut slot)
            .unwrap();
        assert!(slot.iter().all(|&b| b <= 1), "only its own bytes or zero");
        assert!(slot[100..].iter().all(|&b| b == 0));
        mapper.unmap(mapping, attrs);
        mapper.free(table);
    }
    mapper.vunmap(vmap);
    mapper.free(secret);
    assert!(mapper.live().is_empty());
}

#[test]
fn refused_bounce_names_its_bytes() {
    let (mut mapper, dev) = with_device(PRIVATE);
    let alloc = mapper.alloc_virtual(2 * PAGE).unwrap();
    let table = mapper.share(&alloc).unwrap();
    for attrs in [Attrs::REQUIRE_COHERENT, Attrs::NO_BOUNCE] {
        let err = mapper
            .map(dev, &table, Direction::ToDevice, attrs)
            .unwrap_err();
        assert_eq!((err, err.errno()), (no_bounce(2 * PAGE), 5));
    }
    mapper.free(table);
    mapper.free(alloc);

    // Memory allocated for a device is shared (unencrypted), so another device reaches it without bouncing.
    let other = mapper
        .platform_mut()
        .add_device("other", DeviceLimits::default())
        .unwrap();
    let alloc = mapper
        .alloc_coherent(dev, 2 * PAGE, Attrs::empty())
        .unwrap();
    let table = mapper.share(&alloc).unwrap();
    let mapping = mapper
        .map(other, &table, Direction::ToDevice, Attrs::NO_BOUNCE)
        .unwrap();
    assert_eq!(
        segments(&mapper, &mapping)[0].addr,
        mapper.alloc_dma_addr(&alloc).unwrap()
    );
    assert_eq!(mapper.counters(other).bytes_bounced, 0);
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(table);
    mapper.free(alloc);
    assert!(mapper.live().is_empty());
}

#[test]
fn a_bounce_pool_that_is_used_up_names_itself() {
    let (mapper, dev) = with_device(PRIVATE);
    let alloc = mapper.alloc_virtual(17 * PAGE).unwrap();
    let table = mapper.share(&alloc).unwrap();
    let err = mapper
        .map(dev, &table, Direction::ToDevice, Attrs::empty())
        .unwrap_err();
    // The pages bounce one by one. The pool has room for 16, so the 17th fails.
    let constraint = Constraint::BouncePool;
    let reason = Reason {
        constraint,
        wanted: 17 * PAGE,
        found: 16 * PAGE,
    };
    assert_eq!((err, err.errno()), (Error::Unmappable(reason), 5));
    assert_eq!(mapper.live().bounce_bytes, 0);
    mapper.free(table);
    mapper.free(alloc);
    assert!(mapper.live().is_empty());
}

#[test]
fn private_memory_is_out_of_reach_by_its_own_address() {
    let (mut mapper, dev) = with_device(PRIVATE);
    let alloc = mapper.alloc_virtual(PAGE).unwrap();
    let phys = alloc.segments()[0].addr.get();
    let fault = mapper
        .platform_mut()
        .bus_read(dev, vb3_dma::DmaAddr::new(phys), &mut [0])
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Private);
    mapper.free(alloc);
}

/// A second mapping gets the same bounce slot. The device must not find bytes there that it wrote through the first
/// mapping, even if the second mapping does not sync.
#[test]
fn device_sees_no_bytes_of_an_earlier_mapping() {
    for attrs in [Attrs::empty(), Attrs::SKIP_CPU_SYNC] {
        let bounce = "[bounce]\nmode = \"always\"\npool = \"4KiB\"";
        let (mut mapper, dev) = with_device(&format!("coherent = false\n{bounce}"));
        let alloc = mapper.alloc_virtual(PAGE).unwrap();
        let table = mapper.share(&alloc).unwrap();
        let from = mapper.map(dev, &table, Direction::FromDevice, Attrs::empty());
        let from = from.unwrap();
        let addr = segments(&mapper, &from)[0].addr;
        mapper.platform_mut().bus_write(dev, addr, &[0xaa]).unwrap();
        mapper.unmap(from, Attrs::SKIP_CPU_SYNC);
        let to = mapper.map(dev, &table, Direction::ToDevice, attrs).unwrap();
        assert_eq!(segments(&mapper, &to)[0].addr, addr, "the same slot");
        let mut seen = [1];
        mapper
            .platform_mut()
            .bus_read(dev, addr, &mut seen)
            .unwrap();
        assert_eq!(seen, [0], "{attrs:?}");
        mapper.unmap(to, Attrs::empty());
        mapper.free(table);
        mapper.free(alloc);
    }
}

#[test]
fn bounce_always_bounces_streaming_mappings() {
    use vb3_dma::Coherency::{Coherent, NonCoherent};
    let all = [(false, NonCoherent), (true, NonCoherent), (false, Coherent)];
    for (iommu, coherency) in all {
        let bounce = "[bounce]\nmode = \"always\"\npool = \"64KiB\"";
        let lines = format!("coherent = false\ncma = \"8MiB\"\n{bounce}");
        let lines = if iommu { with_iommu(&lines) } else { lines };
        let mut mapper = mapper(&lines);
        let limits = DeviceLimits {
            coherency: Some(coherency),
            ..DeviceLimits::default()
        };
        let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
        let alloc = mapper.alloc_virtual(2 * PAGE).unwrap();
        let vmap = mapper.vmap(&alloc).unwrap();
        mapper.vmap_write(&vmap, PAGE, b"out").unwrap();
        let table = mapper.share(&alloc).unwrap();
        let mapping = mapper
            .map(dev, &table, Direction::Bidirectional, Attrs::empty())
            .unwrap();
        let addr = segments(&mapper, &mapping)[0]
            .addr
            .checked_add(PAGE)
            .unwrap();
        let mut seen = [0; 3];
        mapper
            .platform_mut()
            .bus_read(dev, addr, &mut seen)
            .unwrap();
        assert_eq!(&seen, b"out");
        mapper.platform_mut().bus_write(dev, addr, b"in!").unwrap();
        mapper.unmap(mapping, Attrs::empty());
        mapper.vmap_read(&vmap, PAGE, &mut seen).unwrap();
        assert_eq!(&seen, b"in!");
        assert_eq!(mapper.counters(dev).bytes_bounced, 4 * PAGE);
        mapper.vunmap(vmap);
        mapper.free(table);
        mapper.free(alloc);
        assert!(mapper.live().is_empty());
        assert_eq!(mapper.platform().held(), Default::default());
    }
}

#[test]
fn caches_are_stale_until_a_sync_in_both_directions() {
    let (mut mapper, dev) = with_device(&with_iommu("coherent = false"));
    let alloc = mapper.alloc_virtual(2 * PAGE).unwrap();
    let table = mapper.share(&alloc).unwrap();
    let vmap = mapper.vmap(&alloc).unwrap();
    mapper.vmap_write(&vmap, 0, b"first").unwrap();
    let mapping = mapper
        .map(dev, &table, Direction::Bidirectional, Attrs::empty())
        .unwrap();
    let addr = segments(&mapper, &mapping)[0].addr;
    let mut seen = [0; 5];
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut seen)
        .unwrap();
    assert_eq!(&seen, b"first", "mapping hands over");

    mapper.vmap_write(&vmap, 0, b"again").unwrap();
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut seen)
        .unwrap();
    assert_eq!(&seen, b"first", "the device reads old bytes");
    assert_eq!(mapper.platform().stale_bytes_of(alloc.pages().unwrap()), 5);
    assert!(
        mapper
            .sync(&mapping, Direction::ToDevice, SyncFor::Device)
            .unwrap()
    );
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut seen)
        .unwrap();
    assert_eq!(&seen, b"again");

    mapper
        .platform_mut()
        .bus_write(dev, addr, b"photo")
        .unwrap();
    mapper.vmap_read(&vmap, 0, &mut seen).unwrap();
    assert_eq!(&seen, b"again", "the CPU reads old bytes");
    assert!(
        mapper
            .sync(&mapping, Direction::FromDevice, SyncFor::Cpu)
            .unwrap()
    );
    mapper.vmap_read(&vmap, 0, &mut seen).unwrap();
    assert_eq!(&seen, b"photo");
    assert_eq!(mapper.platform().stale_bytes_of(alloc.pages().unwrap()), 0);
    let counters = mapper.counters(dev);
    assert_eq!((counters.syncs_for_device, counters.syncs_for_cpu), (2, 1));

    // With `SKIP_CPU_SYNC`, neither unmap nor map syncs.
    mapper.unmap(mapping, Attrs::SKIP_CPU_SYNC);
    assert_eq!(mapper.counters(dev).syncs_for_cpu, 1);
    mapper.vmap_write(&vmap, 0, b"dirty").unwrap();
    let mapping = mapper
        .map(dev, &table, Direction::ToDevice, Attrs::SKIP_CPU_SYNC)
        .unwrap();
    let addr = segments(&mapper, &mapping)[0].addr;
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut seen)
        .unwrap();
    assert_eq!(&seen, b"photo");
    mapper.unmap(mapping, Attrs::SKIP_CPU_SYNC);
    // This device needs syncs, so a mapping that must not need any is refused.
    let refused = mapper.map(dev, &table, Direction::ToDevice, Attrs::REQUIRE_COHERENT);
    assert_eq!(refused.err(), Some(Error::Unsupported));

    mapper.vunmap(vmap);
    mapper.free(table);
    mapper.free(alloc);
    assert!(mapper.live().is_empty());
}

#[test]
fn only_snooping_device_sees_cpu_writes() {
    let (mut mapper, deaf) = with_device(&with_iommu("coherent = false"));
    let limits = DeviceLimits {
        coherency: Some(vb3_dma::Coherency::Coherent),
        ..DeviceLimits::default()
    };
    let snoops = mapper.platform_mut().add_device("snoops", limits).unwrap();
    let alloc = mapper.alloc_virtual(PAGE).unwrap();
    let table = mapper.share(&alloc).unwrap();
    let vmap = mapper.vmap(&alloc).unwrap();
    let mut seen = [0];
    for (dev, expected) in [(deaf, 0), (snoops, 1)] {
        let mapping = mapper
            .map(dev, &table, Direction::ToDevice, Attrs::SKIP_CPU_SYNC)
            .unwrap();
        mapper.vmap_write(&vmap, 0, &[1]).unwrap();
        let at = segments(&mapper, &mapping)[0].addr;
        mapper.platform_mut().bus_read(dev, at, &mut seen).unwrap();
        assert_eq!(seen, [expected]);
        assert_eq!(
            mapper.sync(&mapping, Direction::ToDevice, SyncFor::Device),
            Ok(dev == deaf)
        );
        mapper.unmap(mapping, Attrs::SKIP_CPU_SYNC);
    }
    mapper.vunmap(vmap);
    mapper.free(table);
    mapper.free(alloc);
}

#[test]
fn user_memory_is_reached_through_the_program() {
    for lines in [with_iommu(COHERENT), with_iommu("coherent = false")] {
        let (mut mapper, dev) = with_device(&lines);
        let noncoherent = mapper.cache_alignment(dev) > 1;
        let data = pattern(5 * PAGE as usize);
        let program = Program::new(0x7000_0000, data.clone());
        let user: User = program.clone();
        let (addr, len) = (0x7000_0123, 3 * PAGE);
        let table = mapper
            .pin_user(&user, addr, len, Direction::Bidirectional)
            .unwrap();
        assert_eq!(
            table.segments().len(),
            4,
            "scattered, with a part of a page at each end"
        );
        assert_eq!(mapper.memory_len(&table), len);
        assert!(mapper.is_current(&table, &user, addr));
        assert!(!mapper.is_current(&table, &user, addr + 1));
        let other: User = Program::new(0x9000_0000, Vec::new());
        assert!(!mapper.is_current(&table, &other, addr));

        let mapping = mapper
            .map(dev, &table, Direction::Bidirectional, Attrs::empty())
            .unwrap();
        assert_eq!(run_len(&mapper, &mapping, len), len);
        let at = segments(&mapper, &mapping)[0].addr;
        assert_eq!(at.get() & (PAGE - 1), 0x123);
        let mut seen = vec![0; len as usize];
        mapper.platform_mut().bus_read(dev, at, &mut seen).unwrap();
        assert_eq!(seen, data[0x123..0x123 + len as usize]);
        mapper
            .platform_mut()
            .bus_write(dev, at, &vec![9; len as usize])
            .unwrap();
        let written = !noncoherent;
        assert_eq!(
            program.peek()[0x123] == 9,
            written,
            "seen at once only if coherent"
        );
        assert_eq!(
            mapper.sync(&mapping, Direction::FromDevice, SyncFor::Cpu),
            Ok(noncoherent)
        );
        let now = program.peek();
        let (end, total) = (0x123 + len as usize, now.len());
        assert_eq!(now[..0x123], data[..0x123], "nothing before it");
        assert!(now[0x123..end].iter().all(|&b| b == 9));
        assert_eq!(now[end..total], data[end..total], "nothing behind it");
        // A CPU mapping of the table shows the program's bytes.
        let vmap = mapper.vmap(&table).unwrap();
        program.poke(addr + PAGE, b"new");
        let mut three = [0; 3];
        mapper.vmap_read(&vmap, PAGE, &mut three).unwrap();
        assert_eq!(&three, b"new");
        mapper.vunmap(vmap);
        // The program ends while its memory is mapped. Nothing hangs or panics; the device faults or sees old
        // bytes.
        program.die();
        let gone = mapper.platform_mut().bus_write(dev, at, &[0]);
        assert_eq!(
            gone.err().map(|f| f.kind),
            (!noncoherent).then_some(FaultKind::UserGone)
        );
        mapper.unmap(mapping, Attrs::empty());
        mapper.free(table);
        assert!(mapper.live().is_empty());
        assert_eq!(mapper.platform().held(), Default::default());
    }
}

#[test]
fn missing_user_pages_are_refused_with_found_bytes() {
    let (mapper, _) = with_device(COHERENT);
    let program = Program::new(0x10_0000, vec![0; 3 * PAGE as usize]);
    let user: User = program;
    let pin = |addr, len, dir| mapper.pin_user(&user, addr, len, dir).err();
    let short = |wanted, found| {
        let constraint = Constraint::UserPages;
        Some(Error::BadUserMemory(Reason {
            constraint,
            wanted,
            found,
        }))
    };
    let from = Direction::FromDevice;
    assert_eq!(pin(0x10_0000, 4 * PAGE, from), short(4 * PAGE, 3 * PAGE));
    assert_eq!(pin(0x20_0000, 1, from), short(1, 0));
    assert_eq!(
        pin(0x10_0000, 0xffff_f000, from),
        short(0xffff_f000, 3 * PAGE)
    );
    assert_eq!(pin(0x10_0000, 0, from), Some(Error::Invalid));
    assert_eq!(pin(0x10_0000, u64::MAX, from), Some(Error::Invalid));
    assert_eq!(pin(u64::MAX, 1, from), Some(Error::Invalid));
    let read_only: User = Arc::new(Program {
        base: 0x10_0000,
        bytes: vec![0; 10].into(),
        writable: false,
        id: 7,
    });
    assert_eq!(
        mapper.pin_user(&read_only, 0x10_0000, 10, from).err(),
        short(10, 0)
    );
    let table = mapper
        .pin_user(&read_only, 0x10_0000, 10, Direction::ToDevice)
        .unwrap();
    mapper.free(table);
    assert_eq!(mapper.platform().held(), Default::default());
}

#[test]
fn scattered_user_memory_is_no_run_without_iommu() {
    let (mapper, dev) = with_device(CMA);
    let user: User = Program::new(0x10_0000, vec![0; 16 * PAGE as usize]);
    let table = mapper
        .pin_user(&user, 0x10_0000, 16 * PAGE, Direction::FromDevice)
        .unwrap();
    let mapping = mapper
        .map(dev, &table, Direction::FromDevice, Attrs::empty())
        .unwrap();
    assert_eq!(segments(&mapper, &mapping).len(), 16);
    assert_eq!(run_len(&mapper, &mapping, 16 * PAGE), PAGE);
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(table);
}

const LARGE: &str = "coherent = true\nscattered = true";

/// Makes a machine with RAM above and below 4 GiB, for devices with 32 address bits.
fn large(lines: &str) -> (Mapper, Device) {
    let text = format!("name = \"t\"\nram = \"8GiB\"\ndma_mask = 32\n{LARGE}\n{lines}");
    let profile = vb3_machine::Profile::parse(&text).unwrap();
    let mut mapper = vb3_dma::Mapper::new(Machine::new(&profile, 3).unwrap()).unwrap();
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    (mapper, dev)
}

#[test]
fn only_what_the_mask_does_not_reach_bounces() {
    let bounce = "[bounce]\nmode = \"when-needed\"\npool = \"1MiB\"";
    for (lines, bounces) in [("", false), (bounce, true)] {
        let (mut mapper, dev) = large(lines);
        let alloc = mapper.alloc_virtual(64 * PAGE).unwrap();
        let above = |s: &&vb3_dma::Segment| s.addr.get() + s.len > 1 << 32;
        let high: u64 = alloc.segments().iter().filter(above).map(|s| s.len).sum();
        assert!(
            high > 0 && high < 64 * PAGE,
            "some pages are out of reach: {high}"
        );
        let table = mapper.share(&alloc).unwrap();
        let direction = Direction::Bidirectional;
        match mapper.map(dev, &table, direction, Attrs::empty()) {
            Err(err) => {
                assert!(!bounces);
                let reason = err.reason().unwrap();
                assert_eq!((err.errno(), reason.constraint), (5, Constraint::Mask));
                assert!(reason.wanted > reason.found && reason.found == 0xffff_ffff);
            }
            Ok(mapping) => {
                assert!(bounces);
                assert_eq!(mapping.bounced_bytes(), high);
                assert_eq!(mapper.counters(dev).bytes_bounced, high);
                // The bytes arrive in order, whether a page bounces or not.
                let vmap = mapper.vmap(&alloc).unwrap();
                let data = pattern(64 * PAGE as usize);
                let mut at = 0usize;
                for segment in segments(&mapper, &mapping) {
                    let end = at + segment.len as usize;
                    let machine = mapper.platform_mut();
                    machine
                        .bus_write(dev, segment.addr, &data[at..end])
                        .unwrap();
                    at = end;
                }
                mapper.unmap(mapping, Attrs::empty());
                let mut seen = vec![0; data.len()];
                mapper.vmap_read(&vmap, 0, &mut seen).unwrap();
                assert_eq!(seen, data);
                assert_eq!(mapper.counters(dev).bytes_bounced, 2 * high);
                mapper.vunmap(vmap);
            }
        }
        mapper.free(table);
        mapper.free(alloc);
        assert!(mapper.live().is_empty());
    }
}

#[test]
fn memory_for_a_device_lies_where_its_mask_reaches() {
    let (mapper, dev) = large("");
    for _ in 0..32 {
        let alloc = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
        assert!(mapper.alloc_dma_addr(&alloc).unwrap().get() + PAGE <= 1 << 32);
        mapper.free(alloc);
    }
}
