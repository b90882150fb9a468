//! Who owns memory, and the limits of devices.

use vb3_dma::{
    Attrs, Caching, Constraint, Direction, DmaAddr, DmaOps, Error, IommuInfo, Limits, PageRequest,
    PhysAddr, Platform, Segment, SegmentKind, SyncFor,
};
use vb3_dma_test::fake::{Fake, PAGE, Setup, ram};

const BOTH: Direction = Direction::Bidirectional;

/// If a mapper accepted another mapper's mapping, it would unmap its own memory at the same address.
#[test]
fn what_another_mapper_made_is_left_alone() {
    let (mut mine, mut other) = (Setup::iommu(32).mapper(), Setup::iommu(32).mapper());
    let segments = [ram(0, 2 * PAGE)];
    let make = |mapper: &mut vb3_dma::Mapper<Fake>| {
        let memory = mapper.lend(&segments).unwrap();
        let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
        (memory, mapping)
    };
    let (memory, mapping) = make(&mut mine);
    let (their_table, theirs) = make(&mut other);
    let at = mapping.segments()[0].addr;
    assert_eq!(theirs.segments()[0].addr, at, "at the same address");
    assert_eq!(mine.sync(&theirs, BOTH, SyncFor::Cpu), Err(Error::Invalid));
    let refused = mine.map(0, &their_table, BOTH, Attrs::empty());
    assert_eq!(refused.unwrap_err(), Error::Invalid);
    mine.unmap(theirs, Attrs::empty());
    assert!(mine.platform().reach(at).is_some(), "still mapped here");
    mine.free(their_table);
    let alloc = other.alloc_coherent(0, PAGE, Attrs::empty()).unwrap();
    let held = mine.platform().pages_out();
    mine.free(alloc);
    assert_eq!(mine.platform().pages_out(), held);
    let (own, theirs) = (mine.vmap(&memory), other.alloc_virtual(PAGE));
    let theirs = other.vmap(&theirs.unwrap()).unwrap();
    let read = mine.vmap_read(&theirs, 0, &mut [0; 4]);
    assert_eq!(read, Err(Error::Invalid));
    assert_eq!(mine.vmap_write(&theirs, 0, &[0; 4]), Err(Error::Invalid));
    mine.vunmap(theirs);
    assert_eq!(
        (mine.live().vmaps, mine.platform().vmaps_and_pins().0),
        (1, 1)
    );
    mine.vunmap(own.unwrap());
    mine.unmap(mapping, Attrs::empty());
    mine.free(memory);
    assert!(mine.live().is_empty() && mine.platform().is_clean());
    // The refused objects stay with the mapper that made them.
    let live = other.live();
    assert_eq!((live.mappings, live.handles, live.allocs), (1, 1, 2));
    assert_eq!(live.vmaps, 1);
}

/// A device that accepts one segment takes runs that touch, up to its boundary.
#[test]
fn a_single_segment_ends_at_the_boundary() {
    let setup = Setup {
        limits: Limits {
            max_segments: 1,
            boundary: 0xffff,
            ..Setup::direct().limits
        },
        ..Setup::direct()
    };
    let mapper = setup.mapper();
    for (segments, refused) in [
        (vec![ram(0, PAGE), ram(PAGE, 15 * PAGE)], None),
        (vec![ram(0x1_f000, PAGE)], None),
        (
            vec![ram(0, PAGE), ram(2 * PAGE, PAGE)],
            Some(Constraint::Contiguous),
        ),
        (vec![ram(0xf000, 2 * PAGE)], Some(Constraint::Boundary)),
    ] {
        let memory = mapper.lend(&segments).unwrap();
        match mapper.map(0, &memory, BOTH, Attrs::ONE_RUN) {
            Ok(mapping) => {
                assert_eq!((mapping.segments().len(), refused), (1, None));
                mapper.unmap(mapping, Attrs::empty());
            }
            Err(err) => assert_eq!(err.reason().map(|r| r.constraint), refused, "{segments:?}"),
        }
        mapper.free(memory);
    }
    assert!(mapper.live().is_empty());
}

/// Adjacent runs of one kind are one run. Memory without pages stays apart from pages.
#[test]
fn runs_of_two_kinds_are_never_joined() {
    let mapper = Setup::direct().mapper();
    let behind = ram(PAGE, PAGE);
    let physical = Segment {
        kind: SegmentKind::Physical,
        ..behind
    };
    for (second, runs) in [(behind, 1), (physical, 2)] {
        let memory = mapper.lend(&[ram(0, PAGE), second]).unwrap();
        assert_eq!(memory.segments().len(), runs);
        mapper.free(memory);
    }
}

/// The layer chooses an I/O address, but not the offset in the first page.
#[test]
fn an_offset_off_the_alignment_is_refused() {
    for setup in [Setup::direct(), Setup::iommu(32)] {
        let mapper = Setup { align: 64, ..setup }.mapper();
        for (offset, refused) in [(0, None), (64, None), (16, Some((64, 16)))] {
            let memory = mapper.lend(&[ram(offset, 128)]).unwrap();
            let mapped = mapper.map(0, &memory, BOTH, Attrs::empty());
            let reason = mapped.map(|it| mapper.unmap(it, Attrs::empty())).err();
            let reason = reason.map(|err| err.reason().unwrap());
            let found = reason.map(|r| (r.constraint, r.wanted, r.found));
            let wanted = refused.map(|(wanted, found)| (Constraint::Alignment, wanted, found));
            assert_eq!(found, wanted, "{offset}");
            mapper.free(memory);
        }
        assert!(mapper.live().is_empty());
    }
}

/// The mapper owns adopted pages, and gives them back with the allocation.
#[test]
fn adopted_pages_are_mapped_and_freed() {
    let mapper = Setup::iommu(32).mapper();
    let pages = mapper.platform().alloc_pages(PageRequest {
        len: 3 * PAGE,
        granule: PAGE,
        contiguous: false,
        max_addr: PhysAddr::new(u64::MAX),
        caching: Caching::Cached,
        device: None,
    });
    let alloc = mapper.adopt(pages.unwrap()).unwrap();
    assert_eq!(
        (alloc.len_bytes(), mapper.live().page_bytes),
        (3 * PAGE, 3 * PAGE)
    );
    let memory = mapper.share(&alloc).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    let at = mapping.segments()[0].addr;
    assert_eq!(
        mapper.platform().dev_read(at, 3 * PAGE).unwrap(),
        [0; 3 * PAGE as usize]
    );
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(memory);
    mapper.free(alloc);
    assert_eq!(mapper.platform().pages_out(), 0);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

/// No segment can meet a boundary mask of zero or a maximum length of zero.
#[test]
fn limits_that_no_memory_meets_are_an_error() {
    let good = Setup::direct().limits;
    let bad = [
        Limits {
            boundary: 0,
            ..good
        },
        Limits {
            boundary: 0xfff0,
            ..good
        },
        Limits {
            max_segment: 0,
            ..good
        },
        Limits {
            max_segments: 0,
            ..good
        },
    ];
    let pages = IommuInfo {
        page_sizes: 0,
        first: DmaAddr::new(0),
        last: DmaAddr::new(u32::MAX.into()),
    };
    let setups = bad.map(|limits| Setup {
        limits,
        ..Setup::direct()
    });
    let no_pages = Setup {
        iommu: Some(pages),
        ..Setup::direct()
    };
    for setup in setups.into_iter().chain([no_pages]) {
        let mapper = setup.clone().mapper();
        let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
        let mapped = mapper.map(0, &memory, BOTH, Attrs::empty());
        assert_eq!(mapped.unwrap_err(), Error::Invalid, "{setup:?}");
        let alloc = mapper.alloc_coherent(0, PAGE, Attrs::empty());
        assert_eq!(alloc.unwrap_err(), Error::Invalid);
        mapper.free(memory);
        assert!(mapper.live().is_empty() && mapper.platform().is_clean());
    }
}
