//! Link as you go: several pieces in one run, and nothing left behind when one of them fails.

use proptest::prelude::*;
use vb3_dma::fake::{PAGE, Setup, ram, sram};
use vb3_dma::{
    Attrs, BounceMode, Coherency, Constraint, Direction, Error, PhysAddr, Segment, SegmentKind,
};

const BOTH: Direction = Direction::Bidirectional;

/// Defect N4: two ranges were both linked at offset 0.
#[test]
fn several_ranges_stand_each_at_its_own_offset() {
    let mapper = Setup::iommu(32).mapper();
    let ranges = [
        ram(0x800, 2 * PAGE - 0x800),
        sram(0, PAGE),
        ram(9 * PAGE, 3 * PAGE),
        ram(20 * PAGE, 0x123),
    ];
    let links = mapper.link_all(0, &ranges, BOTH, Attrs::empty()).unwrap();
    assert_eq!(links.linked_bytes(), 6 * PAGE - 0x800 + 0x123);
    let mut at = links.addr();
    for range in &ranges {
        for n in [0, range.len / 2, range.len - 1] {
            let reached = mapper.platform().reach(at.checked_add(n).unwrap());
            assert_eq!(reached, Some(range.addr.get() + n));
        }
        at = at.checked_add(range.len).unwrap();
    }
    let done = &mapper.platform().map_done();
    assert_eq!(done.len(), 1, "one sync for all of it");
    assert_eq!(done[0].1, 7 * PAGE);
    let first = links.addr();
    mapper.free_links(links);
    assert_eq!(mapper.platform().reach(first), None);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

/// Defect N4: after a failure the addresses were lost, or freed with the wrong size.
#[test]
fn a_failure_at_any_piece_gives_all_addresses_back() {
    // 31 granules: a leak shows at the second round, a short one soon.
    let mut mapper = Setup::iommu(17).mapper();
    let ranges = [
        ram(0, 2 * PAGE),
        ram(8 * PAGE, 3 * PAGE),
        ram(30 * PAGE, PAGE),
    ];
    for round in 0..200 {
        mapper.platform_mut().fail(Some(round % 4));
        let err = mapper
            .link_all(0, &ranges, BOTH, Attrs::empty())
            .unwrap_err();
        assert_eq!(err.reason().unwrap().constraint, Constraint::InjectedFault);
        assert!(
            mapper.live().is_empty(),
            "round {round}: {:?}",
            mapper.live()
        );
        assert!(mapper.platform().is_clean(), "round {round}");
    }
    mapper.platform_mut().fail(None);
    let whole = mapper
        .reserve_links(0, PhysAddr::new(0), 31 * PAGE)
        .unwrap();
    mapper.free_links(whole);
    assert!(mapper.platform().stale_reuse().is_empty());
}

#[test]
fn unfitting_pieces_are_refused_without_effect() {
    let mapper = Setup::iommu(32).mapper();
    let mut links = mapper
        .reserve_links(0, PhysAddr::new(0x100), 4 * PAGE)
        .unwrap();
    let mut refused = |offset, memory: Segment| {
        let before = mapper.platform().table().len();
        let result = mapper.link(&mut links, offset, memory, BOTH, Attrs::empty());
        assert_eq!(mapper.platform().table().len(), before);
        result.unwrap_err()
    };
    // EIO, as Linux: an offset that is not that of its place.
    let err = refused(0, ram(0x200, PAGE));
    let reason = err.reason().unwrap();
    assert_eq!((err.errno(), reason.constraint), (5, Constraint::Alignment));
    assert_eq!((reason.wanted, reason.found), (PAGE, 0x200));
    assert_eq!(
        refused(PAGE, ram(0x100, PAGE)).errno(),
        5,
        "behind the start"
    );
    assert_eq!(refused(PAGE, ram(0, PAGE)).errno(), 5);
    for (offset, len) in [
        (0, 0),
        (0, 4 * PAGE + 1),
        (PAGE, u64::MAX),
        (u64::MAX, 2),
        (4 * PAGE, 1),
    ] {
        let memory = Segment {
            len,
            ..ram(0x100, 1)
        };
        assert_eq!(
            refused(offset, memory),
            Error::Invalid,
            "{offset:#x} {len:#x}"
        );
    }
    let past_the_end = Segment {
        addr: PhysAddr::new(u64::MAX - 0xeff),
        len: PAGE,
        kind: SegmentKind::Pages,
    };
    assert_eq!(refused(0, past_the_end), Error::Invalid);
    mapper
        .link(&mut links, 0, ram(0x100, PAGE), BOTH, Attrs::empty())
        .unwrap();
    // Its tail shares a granule with what would come next.
    let over = mapper.link(&mut links, 0, ram(0x100, 1), BOTH, Attrs::empty());
    assert_eq!(over, Err(Error::Invalid));
    let err = mapper.unlink(&mut links, 0, PAGE / 2).unwrap_err();
    assert_eq!(err, Error::Invalid, "part of a piece");
    assert_eq!(mapper.unlink(&mut links, 0, 5 * PAGE), Err(Error::Invalid));
    mapper.unlink(&mut links, 0, PAGE).unwrap();
    assert!(mapper.platform().table().is_empty());
    assert_eq!(links.linked_bytes(), 0);
    mapper.free_links(links);
    assert!(mapper.live().is_empty());
}

#[test]
fn devices_without_what_it_takes_are_refused() {
    let direct = Setup::direct().mapper();
    let err = direct.reserve_links(0, PhysAddr::new(0), PAGE).unwrap_err();
    assert_eq!((err, err.errno()), (Error::Unsupported, 95));
    let mapper = Setup::iommu(32).mapper();
    for len in [0, u64::MAX, u64::MAX - PAGE + 2] {
        let err = mapper.reserve_links(0, PhysAddr::new(1), len).unwrap_err();
        assert_eq!(err, Error::Invalid);
    }
    let cold = Setup {
        coherency: Coherency::NonCoherent,
        ..Setup::iommu(32)
    }
    .mapper();
    let err = cold
        .link_all(0, &[ram(0, PAGE)], BOTH, Attrs::REQUIRE_COHERENT)
        .unwrap_err();
    assert_eq!(err.errno(), 95);
    let links = cold.link_all(0, &[sram(0, PAGE)], BOTH, Attrs::REQUIRE_COHERENT);
    cold.free_links(links.unwrap());
    assert!(cold.live().is_empty() && cold.platform().is_clean());
}

#[test]
fn head_and_tail_bounce_for_an_untrusted_device() {
    let mut mapper = Setup::untrusted().mapper();
    let memory = ram(0x300, 3 * PAGE);
    let bytes: Vec<u8> = (0..3 * PAGE).map(|n| (n * 7 + n / 251) as u8).collect();
    mapper.platform_mut().poke(memory.addr.get(), &bytes);
    for attrs in [Attrs::MMIO, Attrs::REQUIRE_COHERENT, Attrs::NO_BOUNCE] {
        let err = mapper.link_all(0, &[memory], BOTH, attrs).unwrap_err();
        let reason = err.reason().unwrap();
        assert_eq!(
            (err.errno(), reason.constraint),
            (1, Constraint::NoBounce),
            "EPERM"
        );
        assert_eq!(reason.wanted, PAGE, "head and tail");
    }
    let links = mapper.link_all(0, &[memory], BOTH, Attrs::empty()).unwrap();
    let at = links.addr();
    assert_eq!(mapper.platform_mut().dev_read(at, 3 * PAGE).unwrap(), bytes);
    let middle = mapper.platform().reach(at.checked_add(PAGE).unwrap());
    assert_eq!(middle, Some(memory.addr.get() + PAGE), "not a copy");
    mapper.platform_mut().dev_write(at, &[1; 0x10]).unwrap();
    mapper.free_links(links);
    assert_eq!(
        mapper.platform_mut().peek(memory.addr.get(), 0x10),
        [1; 0x10]
    );
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Pieces linked and unlinked in any order: the device sees exactly what is linked.
    #[test]
    fn the_device_sees_what_is_linked_and_nothing_else(
        ops in prop::collection::vec((any::<bool>(), 0u64..16, 1u64..5), 1..60),
        fail in prop::option::of(0u64..20),
        granule in prop_oneof![Just(PAGE), Just(4 * PAGE), Just(16 * PAGE)],
    ) {
        let mut mapper = Setup::iommu(32).granule(granule).mapper();
        let mut links = mapper.reserve_links(0, PhysAddr::new(0), 16 * granule).unwrap();
        mapper.platform_mut().fail(fail);
        // For each granule of the range: which piece covers it, as (first granule, granules).
        let mut model: Vec<Option<(u64, u64)>> = vec![None; 16];
        for (link, first, pages) in ops {
            let end = first + pages;
            if link {
                let memory = ram(first * 2 * granule, pages * granule);
                let result = mapper.link(&mut links, first * granule, memory, BOTH, Attrs::empty());
                let free = end <= 16 && (first..end).all(|p| model[p as usize].is_none());
                if mapper.platform().calls_and_failures().1 == 0 {
                    prop_assert_eq!(result.is_ok(), free);
                }
                if result.is_ok() {
                    model[first as usize..end as usize].fill(Some((first, pages)));
                }
            } else {
                let result = mapper.unlink(&mut links, first * granule, pages * granule);
                let whole = end <= 16 && model.iter().flatten().all(|&(f, n)| {
                    (f >= first && f + n <= end) || f + n <= first || f >= end
                });
                prop_assert_eq!(result.is_ok(), whole);
                if whole {
                    model[first as usize..end as usize].fill(None);
                }
            }
            for page in 0..16 {
                let at = links.addr().checked_add(page * granule).unwrap();
                let expected = model[page as usize].map(|(f, _)| {
                    ram(f * 2 * granule, 1).addr.get() + (page - f) * granule
                });
                prop_assert_eq!(mapper.platform().reach(at), expected);
            }
        }
        mapper.free_links(links);
        prop_assert!(mapper.live().is_empty() && mapper.platform().is_clean());
        prop_assert!(mapper.platform().stale_reuse().is_empty());
    }
}

/// A piece that bounces as a whole begins as far into its granule as the memory does.
#[test]
fn a_piece_that_bounces_keeps_its_offset() {
    for bounce in [BounceMode::Always, BounceMode::WhenNeeded] {
        let setup = Setup {
            bounce,
            untrusted: bounce == BounceMode::WhenNeeded,
            ..Setup::untrusted()
        };
        let mut mapper = setup.mapper();
        let ranges = [
            ram(0x234, PAGE - 0x234),
            ram(8 * PAGE, 2 * PAGE),
            ram(20 * PAGE, 0x111),
        ];
        let len: u64 = ranges.iter().map(|r| r.len).sum();
        let links = mapper.link_all(0, &ranges, BOTH, Attrs::empty()).unwrap();
        let bytes: Vec<u8> = (0..len).map(|n| (n % 249) as u8).collect();
        let written = mapper.platform_mut().dev_write(links.addr(), &bytes);
        assert_eq!(written, Some(()), "all of it is mapped");
        mapper.free_links(links);
        let mut at = 0;
        for range in &ranges {
            let seen = mapper.platform_mut().peek(range.addr.get(), range.len);
            let end = at + range.len as usize;
            assert!(seen == bytes[at..end], "{bounce:?} {:#x}", range.addr.get());
            at = end;
        }
        assert!(mapper.live().is_empty() && mapper.platform().is_clean());
    }
}
