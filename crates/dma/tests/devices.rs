//! Devices that come, go, share an address space, and whose page table does not let go.

mod common;

use common::*;
use vb3_dma::{Attrs, Direction, Error, FlushPolicy, PhysAddr};

const BOTH: Direction = Direction::Bidirectional;

/// What could not be unmapped may still be reached: neither its addresses nor its memory are used
/// for anything else, and what is quarantined is said.
#[test]
fn what_could_not_be_unmapped_is_quarantined() {
    for policy in [FlushPolicy::Strict, FlushPolicy::Lazy] {
        // 15 granules: an address that came back too early would be seen at once.
        let mapper = Setup::iommu(16).mapper();
        mapper.set_flush_policy(0, policy).unwrap();
        let table = mapper.table_of_segments(&[ram(0, 2 * PAGE)]).unwrap();
        let mapping = mapper.map(0, &table, BOTH, Attrs::empty()).unwrap();
        let stuck = mapping.segments()[0].addr;
        let alloc = mapper.alloc_coherent(0, PAGE, Attrs::empty()).unwrap();
        mapper.platform().fail_unmaps(true);
        assert_eq!(
            mapper.try_unmap(mapping, Attrs::empty()),
            Err(Error::Unsupported)
        );
        mapper.free(alloc);
        mapper.platform().fail_unmaps(false);
        let live = mapper.live();
        assert_eq!((live.mappings, live.allocs, live.iova_bytes), (0, 0, 0));
        assert_eq!(
            live.quarantined_bytes,
            2 * PAGE + PAGE + PAGE,
            "addresses and a page"
        );
        assert_eq!(mapper.counters(0).failed_unmaps, 2);
        assert_eq!(mapper.platform().freed_in_reach(), [], "the page was kept");
        assert_eq!(mapper.platform().pages_out(), 1);
        // All other addresses go out, those never.
        let mut held = Vec::new();
        while let Ok(mapping) = mapper.map(0, &table, BOTH, Attrs::empty()) {
            assert!(mapping.segments()[0].addr != stuck);
            held.push(mapping);
        }
        // Of 15 granules less 3: pairs lie on even ones, and a single one is left at either end.
        assert_eq!(held.len(), 5);
        assert_eq!(mapper.platform().stale_reuse(), []);
        held.into_iter()
            .for_each(|mapping| mapper.unmap(mapping, Attrs::empty()));
        mapper.free_table(table, false);
    }
}

/// A bounce slot that a device may still reach is not lent to another one.
#[test]
fn slots_of_a_view_that_does_not_end_stay_taken() {
    let mapper = Setup::untrusted().mapper();
    let table = mapper.table_of_segments(&[ram(100, 200)]).unwrap();
    let mapping = mapper.map(0, &table, BOTH, Attrs::empty()).unwrap();
    let slots = mapper.live().bounce_bytes;
    assert!(slots > 0);
    mapper.platform().fail_unmaps(true);
    mapper.unmap(mapping, Attrs::empty());
    assert_eq!(mapper.live().bounce_bytes, slots);
    let links = mapper.reserve_links(0, PhysAddr::new(0), PAGE);
    let mut links = links.unwrap();
    mapper
        .link(&mut links, 0, ram(0, PAGE), BOTH, Attrs::empty())
        .unwrap();
    let before = mapper.live().quarantined_bytes;
    mapper.free_links(links);
    assert_eq!(
        mapper.live().quarantined_bytes - before,
        PAGE,
        "nor addresses of links"
    );
    mapper.free_table(table, false);
}

#[test]
fn a_device_goes_when_nothing_is_held_for_it() {
    let setup = Setup {
        devices: 3,
        ..Setup::iommu(32)
    };
    let mapper = setup.mapper();
    let table = mapper.table_of_segments(&[ram(0, PAGE)]).unwrap();
    for dev in [0, 1, 2, 1, 0] {
        let mapping = mapper.map(dev, &table, BOTH, Attrs::empty()).unwrap();
        assert_eq!(mapper.remove_device(dev), Err(Error::Busy));
        mapper.unmap(mapping, Attrs::empty());
        mapper.fill_atomic_pool(dev, PAGE).unwrap();
        let part = mapper.alloc_coherent_atomic(dev, PAGE).unwrap();
        assert_eq!(mapper.remove_device(dev), Err(Error::Busy));
        mapper.free(part);
        assert_eq!(mapper.remove_device(dev), Ok(()));
        assert_eq!(mapper.counters(dev).maps, 0, "forgotten");
        assert_eq!(mapper.remove_device(dev), Ok(()), "there is none");
    }
    mapper.free_table(table, false);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

#[test]
fn one_device_too_many_is_busy_until_another_goes() {
    let setup = Setup {
        devices: 3,
        ..Setup::iommu(32)
    };
    let mapper: vb3_dma::Mapper<Fake> = vb3_dma::Mapper::with_locks(Fake::new(setup), 2).unwrap();
    let table = mapper.table_of_segments(&[ram(0, PAGE)]).unwrap();
    let map = |dev| mapper.map(dev, &table, BOTH, Attrs::empty());
    let (first, second) = (map(0).unwrap(), map(1).unwrap());
    assert_eq!(map(2).unwrap_err(), Error::Busy);
    assert_eq!(map(7).unwrap_err(), Error::Invalid, "no such device");
    mapper.unmap(first, Attrs::empty());
    mapper.remove_device(0).unwrap();
    let third = map(2).unwrap();
    mapper.unmap(second, Attrs::empty());
    mapper.unmap(third, Attrs::empty());
    mapper.free_table(table, false);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

/// Devices that the IOMMU cannot tell apart see one address space, so no two ranges of theirs may
/// overlap, and each reaches what is mapped for the other.
#[test]
fn a_group_has_one_address_space() {
    let setup = Setup {
        devices: 3,
        grouped: vec![2],
        ..Setup::iommu(32)
    };
    let mapper = setup.mapper();
    let table = mapper.table_of_segments(&[ram(0, PAGE)]).unwrap();
    let map = |dev| mapper.map(dev, &table, BOTH, Attrs::empty()).unwrap();
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
    mapper.free_table(table, false);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}
