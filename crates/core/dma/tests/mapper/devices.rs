//! Devices that are added, removed, or share an address space; and page tables that fail to unmap.

use vb3_dma::{Attrs, Constraint, Direction, DmaOps, Error, FlushPolicy, Mapper, Reason};
use vb3_dma_test::fake::{CountedLocks, Fake, FakeUser, PAGE, Setup, ram};

const BOTH: Direction = Direction::Bidirectional;

/// The error of an unmap that failed on a host that gives no reason.
const STILL: Error = Error::StillReachable(Reason::new(Constraint::Hardware, 1, 0));

/// A device may still reach memory that could not be unmapped. Neither its addresses nor its memory
/// are used again, and the quarantine is counted.
#[test]
fn what_could_not_be_unmapped_is_quarantined() {
    for policy in [FlushPolicy::Strict, FlushPolicy::Lazy] {
        // The space has only 15 granules, so an address that was freed too early would be reused below.
        let mapper = Setup::iommu(16).mapper();
        mapper.set_flush_policy(0, policy).unwrap();
        let memory = mapper.lend(&[ram(0, 2 * PAGE)]).unwrap();
        let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
        let stuck = mapping.segments()[0].addr;
        let alloc = mapper.alloc_coherent(0, PAGE, Attrs::empty()).unwrap();
        mapper.platform().fail_unmaps(true);
        assert_eq!(mapper.try_unmap(mapping, Attrs::empty()), Err(STILL));
        mapper.free(alloc);
        mapper.platform().fail_unmaps(false);
        let live = mapper.live();
        assert_eq!((live.mappings, live.allocs, live.iova_bytes), (0, 0, 0));
        assert_eq!(
            live.quarantined_bytes,
            2 * PAGE + PAGE + PAGE,
            "addresses and a page"
        );
        assert_eq!(mapper.platform().freed_in_reach(), [], "the page was kept");
        assert_eq!(mapper.platform().pages_out(), 1);
        // All other addresses are assigned again, but never the quarantined ones.
        let mut held = Vec::new();
        while let Ok(mapping) = mapper.map(0, &memory, BOTH, Attrs::empty()) {
            assert!(mapping.segments()[0].addr != stuck);
            held.push(mapping);
        }
        // 12 of the 15 granules are left. Pairs start at even granules, so one granule at each end stays
        // free.
        assert_eq!(held.len(), 5);
        assert_eq!(mapper.platform().stale_reuse(), []);
        held.into_iter()
            .for_each(|mapping| mapper.unmap(mapping, Attrs::empty()));
        mapper.free(memory);
    }
}

/// Interrupts may wait for a lock, so it is not held for all runs of a long allocation.
#[test]
fn quarantine_is_looked_up_for_a_few_runs_at_a_time() {
    let fake = Fake::new(Setup::iommu(32));
    let mapper = Mapper::<_, CountedLocks>::with_locks(fake, 1).unwrap();
    let taken = |pages: u64| {
        let before = CountedLocks::taken();
        let alloc = mapper.alloc_virtual(pages * PAGE).unwrap();
        let taken = CountedLocks::taken() - before;
        mapper.free(alloc);
        taken
    };
    taken(1);
    assert_eq!(taken(1), taken(1000), "nothing is quarantined");
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    mapper.platform().fail_unmaps(true);
    mapper.try_unmap(mapping, Attrs::empty()).unwrap_err();
    mapper.platform().fail_unmaps(false);
    mapper.free(memory);
    let (few, many) = (taken(1), taken(1000));
    assert!(many > few + 10, "{few}, {many}");
}

/// A host that reports reserved regions without end must not hang the first map.
#[test]
fn reserved_regions_without_end_are_refused() {
    for (regions, wanted) in [(64, None), (65, Some(Error::Invalid))] {
        let setup = Setup {
            reserved: vec![(0x1000, 0x1fff); regions],
            ..Setup::iommu(32)
        };
        let mapper = setup.mapper();
        let alloc = mapper.alloc_coherent(0, PAGE, Attrs::empty());
        assert_eq!(alloc.as_ref().err(), wanted.as_ref(), "{regions}");
        if let Ok(alloc) = alloc {
            mapper.free(alloc);
        }
    }
}

/// A bounce slot that a device may still reach is not used for another mapping.
#[test]
fn slots_of_a_view_that_does_not_end_stay_taken() {
    let mapper = Setup::untrusted().mapper();
    let memory = mapper.lend(&[ram(100, 200)]).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    let slots = mapper.live().bounce_bytes;
    assert!(slots > 0);
    mapper.platform().fail_unmaps(true);
    mapper.unmap(mapping, Attrs::empty());
    assert_eq!(mapper.live().bounce_bytes, slots);
    mapper.free(memory);
}

/// Memory that a device may still reach is not freed or unpinned, for any kind of mapping.
#[test]
fn memory_in_reach_goes_back_to_nobody() {
    let setup = Setup {
        devices: 2,
        ..Setup::iommu(32)
    };
    let mapper = setup.mapper();
    let memory = mapper.alloc_virtual(2 * PAGE).unwrap();
    let part = mapper.alloc_coherent(1, PAGE, Attrs::empty()).unwrap();
    let (of_memory, of_part) = (mapper.share(&memory), mapper.share(&part));
    let pinned = mapper.pin_user(&FakeUser::default(), PAGE + 5, 20, BOTH);
    let handles = [of_memory, of_part, pinned].map(Result::unwrap);
    let mapped = |handle| mapper.map(0, handle, BOTH, Attrs::empty()).unwrap();
    let mappings = handles.each_ref().map(mapped);
    mapper.platform().fail_unmaps(true);
    for mapping in mappings {
        // Calls `try_unmap` through `DmaOps`, as code does that works with any layer.
        let layer = &mapper;
        let told = DmaOps::try_unmap(&layer, mapping, Attrs::empty());
        assert_eq!(told, Err(STILL));
    }
    mapper.platform().fail_unmaps(false);
    let before = mapper.live().quarantined_bytes;
    assert_eq!(before, 4 * PAGE, "addresses");
    let out = mapper.platform().pages_out();
    for handle in handles {
        mapper.free(handle);
    }
    mapper.free(memory);
    mapper.free(part);
    assert_eq!(mapper.platform().freed_in_reach(), []);
    assert_eq!(mapper.platform().pages_out(), out);
    assert_eq!(mapper.platform().vmaps_and_pins(), (0, 1));
    let live = mapper.live();
    assert_eq!((live.handles, live.pins), (0, 0), "the caller has neither");
    let kept = 3 * PAGE + 20;
    assert_eq!(live.quarantined_bytes - before, kept);
    // One pin is enough to keep the page, so later pins of it end as usual.
    for _ in 0..3 {
        let again = mapper
            .pin_user(&FakeUser::default(), PAGE + 5, 20, BOTH)
            .unwrap();
        mapper.free(again);
    }
    assert_eq!(mapper.platform().vmaps_and_pins(), (0, 1));
    assert_eq!(mapper.live(), live);
}

/// If a map fails half-way and cannot be undone, slots that the device may reach are not used again.
#[test]
fn slots_of_a_map_that_cannot_be_undone_stay_taken() {
    let mut in_reach = 0;
    for call in 0.. {
        let mapper = Setup::untrusted().mapper();
        let parts = [ram(100, 200), ram(8 * PAGE + 100, 200)];
        let memory = mapper.lend(&parts).unwrap();
        mapper.platform().fail_unmaps(true);
        mapper.platform().fail(Some(call));
        if mapper.map(0, &memory, BOTH, Attrs::empty()).is_ok() {
            break;
        }
        let reached = mapper.platform().reached().len() as u64;
        assert!(mapper.live().bounce_bytes >= reached * PAGE, "call {call}");
        assert_eq!(mapper.live().mappings, 0);
        in_reach += reached;
        mapper.free(memory);
    }
    assert!(in_reach > 0);
}

/// Devices have no numbers, so that the mapper searches for them, or they have numbers in two orders.
fn numberings() -> [Vec<usize>; 3] {
    [vec![], vec![0, 1, 2], vec![2, 0, 1]]
}

#[test]
fn a_device_goes_when_nothing_is_held_for_it() {
    numberings().into_iter().for_each(goes_when_nothing_is_held);
}

fn goes_when_nothing_is_held(numbers: Vec<usize>) {
    let setup = Setup {
        devices: 3,
        numbers,
        ..Setup::iommu(32)
    };
    let mapper = setup.mapper();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    for dev in [0, 1, 2, 1, 0] {
        let mapping = mapper.map(dev, &memory, BOTH, Attrs::empty()).unwrap();
        assert_eq!(mapper.remove_device(dev), Err(Error::Busy));
        mapper.unmap(mapping, Attrs::empty());
        let part = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
        assert_eq!(mapper.remove_device(dev), Err(Error::Busy));
        mapper.free(part);
        assert_eq!(mapper.remove_device(dev), Ok(()));
        assert_eq!(mapper.counters(dev).maps, 0, "forgotten");
        assert_eq!(mapper.remove_device(dev), Ok(()), "there is none");
    }
    mapper.free(memory);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

#[test]
fn one_device_too_many_is_busy_until_another_goes() {
    let setup = Setup {
        devices: 3,
        ..Setup::iommu(32)
    };
    let mapper: vb3_dma::Mapper<Fake> = vb3_dma::Mapper::with_locks(Fake::new(setup), 2).unwrap();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let map = |dev| mapper.map(dev, &memory, BOTH, Attrs::empty());
    let (first, second) = (map(0).unwrap(), map(1).unwrap());
    assert_eq!(map(2).unwrap_err(), Error::Busy);
    assert_eq!(map(7).unwrap_err(), Error::Invalid, "no such device");
    mapper.unmap(first, Attrs::empty());
    mapper.remove_device(0).unwrap();
    let third = map(2).unwrap();
    mapper.unmap(second, Attrs::empty());
    mapper.unmap(third, Attrs::empty());
    mapper.free(memory);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

#[test]
fn bad_device_numbers_are_busy_or_invalid() {
    let setup = Setup {
        devices: 4,
        numbers: vec![1, 2, 1, 0],
        ..Setup::iommu(32)
    };
    let mapper: vb3_dma::Mapper<Fake> = vb3_dma::Mapper::with_locks(Fake::new(setup), 2).unwrap();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let map = |dev| mapper.map(dev, &memory, BOTH, Attrs::empty());
    let (first, last) = (map(0).unwrap(), map(3).unwrap());
    assert_eq!(map(1).unwrap_err(), Error::Busy);
    assert_eq!(map(2).unwrap_err(), Error::Invalid);
    mapper.unmap(first, Attrs::empty());
    mapper.remove_device(0).unwrap();
    let second = map(2).unwrap();
    mapper.unmap(second, Attrs::empty());
    mapper.unmap(last, Attrs::empty());
    mapper.free(memory);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

/// Devices that the IOMMU cannot tell apart see one address space, so no two ranges of theirs may
/// overlap, and each reaches what is mapped for the other.
#[test]
fn a_group_has_one_address_space() {
    numberings().into_iter().for_each(has_one_address_space);
}

fn has_one_address_space(numbers: Vec<usize>) {
    let setup = Setup {
        devices: 3,
        numbers,
        grouped: vec![2],
        ..Setup::iommu(32)
    };
    let mapper = setup.mapper();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let map = |dev| mapper.map(dev, &memory, BOTH, Attrs::empty()).unwrap();
    let (leader, alone, member) = (map(0), map(1), map(2));
    let at = |mapping: &vb3_dma::Mapping<Fake>| mapping.segments()[0].addr;
    assert_eq!(at(&leader), at(&alone), "of different page tables");
    assert_ne!(at(&leader), at(&member));
    let seen = mapper.platform().dev_read_as(2, at(&leader), 8);
    assert!(seen.is_some(), "in the same page table");
    mapper.unmap(leader, Attrs::empty());
    assert_eq!(
        mapper.remove_device(0),
        Err(Error::Busy),
        "another uses its space"
    );
    mapper.unmap(member, Attrs::empty());
    assert_eq!(mapper.counters(2).unmaps, 1);
    mapper.remove_device(2).unwrap();
    mapper.remove_device(0).unwrap();
    mapper.unmap(alone, Attrs::empty());
    mapper.free(memory);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

/// A freed range of a device is reused for another device of its group only if the range is aligned for that
/// device, too.
#[test]
fn reused_addresses_are_aligned_for_each_device() {
    for align in [2 * PAGE, 4 * PAGE] {
        let strict = Setup {
            align,
            ..Setup::iommu(32)
        };
        let setup = Setup {
            grouped: vec![1],
            ..Setup::iommu(32).with_device(1, strict)
        };
        let mapper = setup.mapper();
        let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
        let map = |dev| mapper.map(dev, &memory, BOTH, Attrs::empty()).unwrap();
        // The three highest pages of the space. The last one is at a multiple of neither alignment.
        for freed in [(); 3].map(|()| map(0)) {
            mapper.unmap(freed, Attrs::empty());
        }
        let mapping = map(1);
        let addr = mapping.segments()[0].addr;
        assert!(addr.is_aligned(align), "{addr}");
        mapper.unmap(mapping, Attrs::empty());
        mapper.free(memory);
        assert!(mapper.live().is_empty());
    }
}

/// The range that was freed last is used first, because its translations are in the caches.
#[test]
fn the_last_freed_range_is_used_next() {
    let mapper = Setup::iommu(32).mapper();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let map = || mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    let mappings = [map(), map(), map()];
    let addrs = [0, 1, 2].map(|n: usize| mappings[n].segments()[0].addr);
    let [high, middle, low] = mappings;
    for freed in [high, low, middle] {
        mapper.unmap(freed, Attrs::empty());
    }
    let again = map();
    assert_eq!(again.segments()[0].addr, addrs[1]);
    mapper.unmap(again, Attrs::empty());
    mapper.free(memory);
    assert!(mapper.live().is_empty());
}

#[test]
fn a_pin_counts_until_it_ends() {
    let mapper = Setup::direct().mapper();
    let user = FakeUser::default();
    let memory = mapper.pin_user(&user, 0x1000_3000, PAGE, BOTH).unwrap();
    let live = mapper.live();
    assert_eq!((live.pins, live.handles), (1, 0));
    mapper.free(memory);
    assert!(mapper.live().is_empty());
}

#[test]
fn a_pin_begins_at_any_page() {
    let mapper = Setup::direct().mapper();
    let user = mapper.platform().add_user(4, false);
    let pages = mapper.platform().user_memory(user);
    let addr = FakeUser::BASE + PAGE + 64;
    let memory = mapper.pin_user(&user, addr, 2 * PAGE, BOTH).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    let found = mapping.segments().iter().map(|s| (s.addr.get(), s.len));
    let page = |n: usize| pages[n].addr.get();
    let wanted = [(page(1) + 64, PAGE - 64), (page(2), PAGE), (page(3), 64)];
    assert!(found.eq(wanted), "{mapping:?}");
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(memory);
}
