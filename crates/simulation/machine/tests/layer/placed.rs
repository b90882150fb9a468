//! Memory that is reserved first, placed later and moved.

use crate::common::{COHERENT, PAGE, Program, machine, mapper, other_drivers, pattern, with_iommu};
use vb3_dma::{
    Attrs, Caching, Constraint, Direction, DmaAddr, DmaOps as _, Error, Mapper, PhysAddr, Platform,
};
use vb3_machine::{Device, DeviceLimits, Event, Machine, Spot, User};

const M: u64 = 1 << 20;

fn with_device(lines: &str) -> (Mapper<Machine>, Device) {
    let mut mapper = mapper(lines);
    let device = mapper
        .platform_mut()
        .add_device("camera", DeviceLimits::default());
    (mapper, device.unwrap())
}

const ANYWHERE: Spot = Spot::Pieces {
    granule: PAGE,
    first: PhysAddr::new(0),
    last: PhysAddr::new(u64::MAX),
};

#[test]
fn bytes_and_file_stay_while_the_place_changes() {
    for lines in [
        COHERENT,
        "coherent = false",
        "coherent = true\ncma = \"16MiB\"",
    ] {
        let (mut mapper, dev) = with_device(&with_iommu(lines));
        mapper.platform_mut().trace_mut().start(64);
        let before = mapper.platform().held();
        let pages = mapper.platform().promise_pages(4 * PAGE, Caching::Cached);
        let mut alloc = mapper
            .adopt_unplaced(pages.unwrap(), 4 * PAGE, Caching::Cached)
            .unwrap();
        assert_eq!(alloc.segments(), []);
        assert_eq!(mapper.platform().held().ram_bytes, before.ram_bytes);
        // A program writes to the memory before it is placed.
        let map = mapper.mmap(&alloc, 0, 4 * PAGE).unwrap();
        rustix::io::pwrite(&map.fd, &pattern(64), 0).unwrap();
        let place = |mapper: &Mapper<Machine>, alloc: &mut _, spot| {
            mapper.place_pages(alloc, Caching::Cached, |machine, pages| {
                machine.place_pages(pages, spot, Caching::Cached)
            })
        };
        let look = |mapper: &mut Mapper<Machine>, alloc: &_| {
            let table = mapper.share(alloc).unwrap();
            let mapping = mapper
                .map(dev, &table, Direction::Bidirectional, Attrs::empty())
                .unwrap();
            let at: DmaAddr = mapping.segments()[0].addr;
            let mut seen = [0; 64];
            mapper.platform_mut().bus_read(dev, at, &mut seen).unwrap();
            let last = at.checked_add(4 * PAGE - 4).unwrap();
            mapper.platform_mut().bus_write(dev, last, b"last").unwrap();
            mapper.unmap(mapping, Attrs::empty());
            mapper.free(table);
            seen.to_vec()
        };
        assert_eq!(
            place(&mapper, &mut alloc, ANYWHERE),
            Ok(0),
            "nothing to copy"
        );
        assert_eq!(look(&mut mapper, &alloc), pattern(64));
        let first = mapper.platform().free_memory().ordinary[0];
        let run = Spot::Run(first.addr);
        assert_eq!(place(&mapper, &mut alloc, run), Ok(4 * PAGE));
        assert_eq!(alloc.segments().len(), 1);
        assert_eq!(alloc.segments()[0].addr, first.addr);
        assert_eq!(look(&mut mapper, &alloc), pattern(64));
        let held = mapper.platform().held().ram_bytes - before.ram_bytes;
        assert_eq!(held, 4 * PAGE, "the old place is free");
        let mut last = [0; 4];
        rustix::io::pread(&map.fd, &mut last, 4 * PAGE - 4).unwrap();
        assert_eq!(&last, b"last", "the same file");
        // Memory cannot move to a place that is occupied, and stays where it is.
        assert!(place(&mapper, &mut alloc, run).is_err());
        assert_eq!(alloc.segments()[0].addr, first.addr);
        let trace = mapper.platform().trace();
        let moves = trace.events().iter().filter(
            |(_, event)| matches!(event, Event::Move { addr, .. } if *addr == first.addr.get()),
        );
        assert_eq!(moves.count(), 1);
        drop(trace);
        mapper.free(alloc);
        mapper.flush_lazy(dev).unwrap();
        assert!(mapper.live().is_empty());
        assert_eq!(mapper.platform().held().objects, before.objects);
    }
}

#[test]
fn what_is_promised_is_kept_free() {
    let mut machine = machine(COHERENT);
    let free: u64 = machine
        .free_memory()
        .ordinary
        .iter()
        .map(|run| run.len)
        .sum();
    assert!(machine.promise_pages(free + M, Caching::Cached).is_err());
    let most = machine.promise_pages(free - M, Caching::Cached).unwrap();
    assert_eq!(machine.promised_bytes(), free - M);
    let refused = machine.promise_pages(2 * M, Caching::Cached).unwrap_err();
    let Error::NoMemory(reason) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (reason.constraint, reason.wanted, reason.found),
        (Constraint::Ram, 2 * M, M)
    );
    // Ordinary allocations cannot take the reserved memory either.
    let request = |len| vb3_dma::PageRequest {
        len,
        granule: PAGE,
        contiguous: false,
        max_addr: PhysAddr::new(u64::MAX),
        caching: Caching::Cached,
        device: None,
    };
    assert!(machine.alloc_pages(request(2 * M)).is_err());
    // Nor can a program's pinned memory, or another driver's.
    let user: User = Program::new(0x10_0000, vec![0; 2 * M as usize]);
    assert!(machine.pin_user(&user, 0x10_0000, 2 * M, true).is_err());
    assert!(machine.import(other_drivers(2 * M)).is_err());
    let small = machine.alloc_pages(request(M)).unwrap();
    assert_eq!(machine.place_pages(&most, ANYWHERE, Caching::Cached), Ok(0));
    assert_eq!(machine.promised_bytes(), 0);
    // Pages that were not reserved before placement do not move.
    let refused = machine.place_pages(&small, ANYWHERE, Caching::Cached);
    assert_eq!(refused, Err(Error::Invalid));
    machine.free_pages(small);
    // A move needs both places at the same time, and there is not enough free memory for that.
    assert!(
        machine
            .place_pages(&most, ANYWHERE, Caching::Cached)
            .is_err()
    );
    machine.free_pages(most);
    let unplaced = machine.promise_pages(free, Caching::Cached).unwrap();
    machine.free_pages(unplaced);
    assert_eq!(machine.promised_bytes(), 0);
    for bad in [0, 1, PAGE + 1] {
        let refused = machine.promise_pages(bad, Caching::Cached);
        assert_eq!(refused.unwrap_err(), Error::Invalid, "{bad}");
    }
    assert_eq!(machine.held(), Default::default());
}

#[test]
fn page_tables_leave_promised_memory_free() {
    let (mut mapper, dev) = with_device(&with_iommu(COHERENT));
    let chip = mapper.platform_mut().reserve_physical(PAGE).unwrap();
    let machine = mapper.platform();
    let free = machine.free_memory().ordinary;
    let free = free.iter().map(|run| run.len).sum();
    let pages = machine.promise_pages(free, Caching::Cached).unwrap();
    let table = mapper.lend(&[chip]).unwrap();
    let map = || mapper.map(dev, &table, Direction::ToDevice, Attrs::empty());
    assert_eq!(map().unwrap_err().errno(), 12);
    let placed = machine.place_pages(&pages, ANYWHERE, Caching::Cached);
    assert_eq!(placed, Ok(0));
    machine.free_pages(pages);
    mapper.unmap(map().unwrap(), Attrs::empty());
    mapper.free(table);
}

#[test]
fn move_to_an_area_needs_no_other_memory() {
    let machine = machine("coherent = true\n[areas]\nvpu = \"4MiB\"");
    let free = machine.free_memory();
    let rest: u64 = free.ordinary.iter().map(|run| run.len - M).sum();
    let place = |pages, spot| machine.place_pages(pages, spot, Caching::Cached);
    let moved = machine.promise_pages(M, Caching::Cached).unwrap();
    assert_eq!(place(&moved, ANYWHERE), Ok(0));
    let promised = machine.promise_pages(rest, Caching::Cached).unwrap();
    assert_eq!(place(&moved, Spot::Run(free.areas[0][0].addr)), Ok(M));
    assert_eq!(place(&promised, ANYWHERE), Ok(0));
    machine.free_pages(moved);
    machine.free_pages(promised);
    assert_eq!(machine.free_memory(), free);
}

#[test]
fn a_reserved_area_is_kept_for_who_names_it() {
    const AREA: u64 = 4 * M;
    let machine =
        machine("coherent = true\ncma = \"8MiB\"\n[areas]\nvpu = \"4MiB\"\nwifi = \"1MiB\"");
    let free = machine.free_memory();
    let [vpu, wifi] = &free.areas[..] else {
        panic!("{free:?}")
    };
    assert_eq!((vpu[0].len, wifi[0].len), (AREA, M));
    // Takes all memory outside the reserved areas. The area is not touched.
    let request = |len, contiguous| vb3_dma::PageRequest {
        len,
        granule: PAGE,
        contiguous,
        max_addr: PhysAddr::new(u64::MAX),
        caching: Caching::Cached,
        device: None,
    };
    let rest = free.ordinary.iter().map(|run| run.len).sum();
    let all = machine.alloc_pages(request(rest, false));
    let cma = machine.alloc_pages(request(8 * M, true));
    let (all, cma) = (all.unwrap(), cma.unwrap());
    let first = machine.alloc_in_area(0, 3 * M).unwrap();
    assert_eq!(machine.pages_segment(&first, 0).unwrap().addr, vpu[0].addr);
    assert_eq!(machine.pages_segment(&first, 1), None, "one run");
    let Err(Error::NoMemory(reason)) = machine.alloc_in_area(0, 2 * M) else {
        panic!("more than there is")
    };
    assert_eq!(
        (reason.constraint, reason.wanted, reason.found),
        (Constraint::ContiguousPool, 2 * M, M)
    );
    for (area, bad) in [(0, 0), (0, 1), (2, PAGE)] {
        assert!(machine.alloc_in_area(area, bad).is_err(), "{area}, {bad}");
    }
    for pages in [first, all, cma] {
        machine.free_pages(pages);
    }
    assert_eq!(machine.free_memory(), free);
    assert_eq!(machine.held(), Default::default());
}

/// On-chip memory is one uncached run among devices' addresses. Memory moved there and back keeps its
/// bytes.
#[test]
fn what_is_placed_on_the_chip_is_seen_without_syncs() {
    let lines = "coherent = false\n[areas]\nocram = { size = \"1MiB\", pages = false }";
    let machine = machine(lines);
    let free = machine.free_memory();
    let chip = free.areas[0][0];
    assert_eq!((chip.addr.get(), chip.len), (3 << 30, M));
    assert_eq!(chip.kind, vb3_dma::SegmentKind::Physical);
    let total = |runs: &[vb3_dma::Segment]| runs.iter().map(|run| run.len).sum::<u64>();
    assert_eq!(total(&free.ordinary) + M, 64 * M, "it is no part of RAM");
    let given = machine.alloc_in_area(0, PAGE).unwrap();
    assert_eq!(machine.pages_segment(&given, 0).unwrap().kind, chip.kind);
    machine.free_pages(given);

    let pages = machine.promise_pages(2 * PAGE, Caching::Cached).unwrap();
    let stale = |machine: &Machine| {
        let fd = machine.mmap(&pages, 0, 2 * PAGE).unwrap().fd;
        rustix::io::pwrite(&fd, &pattern(64), 0).unwrap();
        machine.stale_bytes_of(&pages)
    };
    machine
        .place_pages(&pages, ANYWHERE, Caching::Cached)
        .unwrap();
    assert_ne!(stale(&machine), 0, "behind a cache");
    let spot = Spot::Run(chip.addr);
    assert_eq!(
        machine.place_pages(&pages, spot, Caching::Cached),
        Ok(2 * PAGE)
    );
    assert_eq!(machine.pages_segment(&pages, 0).unwrap().kind, chip.kind);
    assert_eq!(stale(&machine), 0, "without one");
    let back = machine.place_pages(&pages, ANYWHERE, Caching::Cached);
    assert_eq!(back, Ok(2 * PAGE));
    assert_eq!(machine.stale_bytes_of(&pages), 0, "with its bytes");
    machine.free_pages(pages);
    assert_eq!(machine.free_memory(), free);
}
