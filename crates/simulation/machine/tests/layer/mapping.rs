//! The DMA addresses of devices: without an IOMMU, behind one, and at the limits.

use crate::common::*;
use vb3_dma::{
    Attrs, Caching, Constraint, Direction, DmaAddr, DmaOps as _, Error, Mapper, PageRequest,
    PhysAddr, Platform, Reason, Segment, SegmentKind,
};
use vb3_machine::{Device, DeviceLimits, FaultKind, Machine, Pages};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;

/// A scatter table of physically separate pieces with given lengths, as an importer gets. The pieces are
/// allocated pages, so that devices can write them.
struct Pieces {
    pages: Vec<Pages>,
    table: Vec<Segment>,
}

fn pieces(mapper: &mut Mapper<Machine>, lens: &[u64]) -> Pieces {
    let (mut pages, mut table) = (Vec::new(), Vec::new());
    for &len in lens {
        // Allocates one page more than necessary, so that no two pieces are adjacent.
        let request = PageRequest {
            len: len + PAGE,
            granule: PAGE,
            contiguous: true,
            max_addr: PhysAddr::new(u64::MAX),
            caching: Caching::Cached,
            device: None,
        };
        let run = mapper.platform_mut().alloc_pages(request).unwrap();
        let addr = mapper.platform().pages_segment(&run, 0).unwrap().addr;
        table.push(Segment {
            addr,
            len,
            kind: SegmentKind::Pages,
        });
        pages.push(run);
    }
    Pieces { pages, table }
}

fn release(mapper: &mut Mapper<Machine>, pieces: Pieces) {
    for pages in pieces.pages {
        mapper.platform_mut().free_pages(pages);
    }
    assert!(mapper.live().is_empty(), "{:?}", mapper.live());
    assert_eq!(mapper.platform().held(), Default::default());
}

fn device(mapper: &mut Mapper<Machine>, limits: DeviceLimits) -> Device {
    mapper.platform_mut().add_device("dev", limits).unwrap()
}

/// Maps pieces of these lengths. Returns the segments' lengths, and the bytes in the first run.
fn map_pieces(profile: &str, limits: DeviceLimits, lens: &[u64]) -> (Vec<u64>, u64) {
    let mut mapper = mapper(profile);
    let dev = device(&mut mapper, limits);
    let pieces = pieces(&mut mapper, lens);
    let table = mapper.lend(&pieces.table).unwrap();
    let total: u64 = lens.iter().sum();
    let mapping = mapper
        .map(dev, &table, Direction::Bidirectional, Attrs::empty())
        .unwrap();
    let found = segments(&mapper, &mapping);
    let run = run_len(&mapper, &mapping, total);
    assert_eq!(
        found.iter().map(|s| s.len).sum::<u64>(),
        total,
        "every byte once"
    );
    let info = mapper.platform().device_info(dev).unwrap();
    for segment in &found {
        let last = segment.addr.get() + segment.len - 1;
        assert!(segment.len <= info.limits.max_segment);
        assert_eq!(
            segment.addr.get() | info.limits.boundary,
            last | info.limits.boundary
        );
    }
    // Each address of the run leads to the corresponding byte of the pieces.
    let mut rel = 0;
    for piece in &pieces.table {
        let at = found[0].addr.checked_add(rel).unwrap();
        if rel + piece.len <= run {
            assert_eq!(
                mapper.platform().bus_translate(dev, at, true).unwrap().0,
                piece.addr
            );
        }
        rel += piece.len;
    }
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(table);
    release(&mut mapper, pieces);
    (found.iter().map(|s| s.len).collect(), run)
}

fn bounded(boundary: u64, max_segment: u64) -> DeviceLimits {
    DeviceLimits {
        boundary: Some(boundary.wrapping_sub(1)),
        max_segment: Some(max_segment),
        ..DeviceLimits::default()
    }
}

#[test]
fn scattered_pieces_are_one_run_behind_an_iommu() {
    let profile = with_iommu(CMA);
    // Without a boundary, and with long segments, the device gets one segment.
    let (lens, run) = map_pieces(&profile, bounded(0, 1 << 30), &[64 * K, 16 * K, 64 * K]);
    assert_eq!((lens, run), (vec![144 * K], 144 * K));
    // With segments of at most 64 KiB, it gets several, which are adjacent.
    let (lens, run) = map_pieces(&profile, bounded(0, 64 * K), &[64 * K, 16 * K, 64 * K]);
    assert_eq!((lens, run), (vec![64 * K, 64 * K, 16 * K], 144 * K));
    // A boundary of 64 KiB makes no gap either. Padding up to the boundary would make one.
    let (lens, run) = map_pieces(&profile, bounded(64 * K, 64 * K), &[16 * K, 64 * K]);
    assert_eq!(run, 80 * K, "{lens:?}");
    let (lens, run) = map_pieces(&profile, bounded(64 * K, 64 * K), &[64 * K, 16 * K, 64 * K]);
    assert_eq!(run, 144 * K, "{lens:?}");
    let (lens, run) = map_pieces(&profile, bounded(64 * K, 64 * K), &[32 * K, 32 * K]);
    assert_eq!((lens, run), (vec![64 * K], 64 * K));
}

#[test]
fn scattered_pieces_stay_apart_without_an_iommu() {
    let (lens, run) = map_pieces(CMA, bounded(0, 1 << 30), &[64 * K, 16 * K, 64 * K]);
    assert_eq!((lens, run), (vec![64 * K, 16 * K, 64 * K], 64 * K));
    // One physical run is split at the limits, but its segments still are one run.
    let (lens, run) = map_pieces(CMA, bounded(0, 48 * K), &[128 * K]);
    assert_eq!((lens, run), (vec![48 * K, 48 * K, 32 * K], 128 * K));
}

#[test]
fn joint_inside_a_page_exposes_no_neighbour() {
    let mut mapper = mapper(&with_iommu(CMA));
    let dev = device(&mut mapper, DeviceLimits::default());
    let pieces = pieces(&mut mapper, &[2 * PAGE, 2 * PAGE]);
    let mut inside = pieces.table.clone();
    inside[0].len = PAGE + 0x800;
    let table = mapper.lend(&inside).unwrap();
    let mapping = mapper
        .map(dev, &table, Direction::FromDevice, Attrs::empty())
        .unwrap();
    let found = segments(&mapper, &mapping);
    assert_eq!(found.len(), 2);
    assert_eq!(run_len(&mapper, &mapping, u64::MAX), PAGE + 0x800);
    // The device sees only pages of the table: four pages are mapped, and none before or after them.
    assert_eq!(mapper.platform().held().iommu_pages, 4);
    let behind = found[1].addr.checked_add(2 * PAGE).unwrap();
    let before = DmaAddr::new(found[0].addr.get() - 1);
    for outside in [behind, before] {
        let fault = mapper
            .platform()
            .bus_translate(dev, outside, false)
            .unwrap_err();
        // The run may end at the highest address that the device reaches.
        assert!(matches!(
            fault.kind,
            FaultKind::Unmapped | FaultKind::BeyondMask
        ));
    }
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(table);
    release(&mut mapper, pieces);
}

#[test]
fn too_many_segments_are_refused_with_count() {
    let mut mapper = mapper(CMA);
    let limits = DeviceLimits {
        max_segments: Some(2),
        ..DeviceLimits::default()
    };
    let dev = device(&mut mapper, limits);
    let pieces = pieces(&mut mapper, &[PAGE, PAGE, PAGE]);
    let table = mapper.lend(&pieces.table).unwrap();
    let err = mapper
        .map(dev, &table, Direction::ToDevice, Attrs::empty())
        .unwrap_err();
    let reason = Reason {
        constraint: Constraint::SegmentCount,
        wanted: 3,
        found: 2,
    };
    assert_eq!((err, err.errno()), (Error::Unmappable(reason), 5));
    mapper.free(table);
    release(&mut mapper, pieces);
}

#[test]
fn address_beyond_mask_names_both_addresses() {
    let mut mapper = mapper(CMA);
    // With 20 bits, the device reaches only the first MiB, which is never allocated.
    let narrow = DeviceLimits {
        mask: Some((1 << 20) - 1),
        ..DeviceLimits::default()
    };
    let dev = device(&mut mapper, narrow);
    let pieces = pieces(&mut mapper, &[PAGE]);
    let table = mapper.lend(&pieces.table).unwrap();
    let last = pieces.table[0].addr.get() + PAGE - 1;
    let reason = Reason {
        constraint: Constraint::Mask,
        wanted: last,
        found: (1 << 20) - 1,
    };
    let err = mapper
        .map(dev, &table, Direction::ToDevice, Attrs::empty())
        .unwrap_err();
    assert_eq!((err, err.errno()), (Error::Unmappable(reason), 5));
    let err = mapper
        .alloc_coherent(dev, 2 * PAGE, Attrs::empty())
        .unwrap_err();
    let reason = Reason {
        constraint: Constraint::Mask,
        wanted: (1 << 20) + 4 * PAGE - 1,
        found: (1 << 20) - 1,
    };
    assert_eq!((err, err.errno()), (Error::NoMemory(reason), 12));
    mapper.free(table);
    release(&mut mapper, pieces);
}

#[test]
fn iovas_stay_below_mask_and_run_out_with_counts() {
    let mut mapper = mapper(&with_iommu(COHERENT));
    let limits = DeviceLimits {
        mask: Some(0xff_ffff),
        ..DeviceLimits::default()
    };
    let dev = device(&mut mapper, limits);
    let first = mapper.alloc_coherent(dev, 8 * M, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&first).unwrap();
    assert!(addr.get() > 0 && addr.get() + 8 * M - 1 <= 0xff_ffff);
    // 16 MiB of addresses lack page zero, so another 8 MiB do not fit.
    let err = mapper
        .alloc_coherent(dev, 8 * M, Attrs::empty())
        .unwrap_err();
    let reason = Reason {
        constraint: Constraint::IovaSpace,
        wanted: 8 * M,
        found: 8 * M - PAGE,
    };
    assert_eq!((err, err.errno()), (Error::NoMemory(reason), 12));
    let rest = mapper
        .alloc_coherent(dev, 8 * M - PAGE, Attrs::empty())
        .unwrap();
    assert_eq!(
        mapper.alloc_dma_addr(&rest),
        Some(DmaAddr::new(PAGE)),
        "zero is never given"
    );
    mapper.free(first);
    mapper.free(rest);
    assert!(mapper.live().is_empty());
    assert_eq!(mapper.platform().held(), Default::default());
}

#[test]
fn a_device_faults_once_the_memory_is_unmapped() {
    let mut mapper = mapper(&with_iommu(CMA));
    let dev = device(&mut mapper, DeviceLimits::default());
    let other = device(&mut mapper, DeviceLimits::default());
    let pieces = pieces(&mut mapper, &[PAGE, PAGE]);
    let table = mapper.lend(&pieces.table).unwrap();
    let mapping = mapper
        .map(dev, &table, Direction::ToDevice, Attrs::empty())
        .unwrap();
    let addr = segments(&mapper, &mapping)[0].addr;
    let mut byte = [1];
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut byte)
        .unwrap();
    assert_eq!(byte, [0]);
    // The mapping is read-only, and other devices do not have it.
    let fault = mapper
        .platform_mut()
        .bus_write(dev, addr, &[1])
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::ReadOnly);
    let fault = mapper
        .platform_mut()
        .bus_read(other, addr, &mut byte)
        .unwrap_err();
    assert_eq!((fault.kind, fault.dev), (FaultKind::Unmapped, other));
    // An access that begins inside the mapping and leaves it faults at the first address outside.
    let mut long = vec![0; 3 * PAGE as usize];
    let fault = mapper
        .platform_mut()
        .bus_read(dev, addr, &mut long)
        .unwrap_err();
    assert_eq!(fault.addr, addr.checked_add(2 * PAGE).unwrap());
    mapper.unmap(mapping, Attrs::empty());
    let fault = mapper
        .platform_mut()
        .bus_read(dev, addr, &mut byte)
        .unwrap_err();
    assert_eq!((fault.kind, fault.addr), (FaultKind::Unmapped, addr));
    assert_eq!(bus_stats(mapper.platform(), dev).faults, 3);
    mapper.free(table);
    release(&mut mapper, pieces);
}

#[test]
fn memory_without_pages_maps_by_its_address() {
    for profile in [CMA.to_owned(), with_iommu(CMA)] {
        let mut mapper = mapper(&profile);
        let dev = device(&mut mapper, DeviceLimits::default());
        let sram = mapper.platform_mut().reserve_physical(2 * PAGE).unwrap();
        mapper.platform().claim_physical(sram).unwrap();
        let table = mapper.lend(&[sram]).unwrap();
        let attrs = Attrs::MMIO | Attrs::NO_BOUNCE;
        let mapping = mapper
            .map(dev, &table, Direction::Bidirectional, attrs)
            .unwrap();
        let found = segments(&mapper, &mapping);
        assert_eq!((found.len(), found[0].len), (1, 2 * PAGE));
        mapper
            .platform_mut()
            .bus_write(dev, found[0].addr, b"sram")
            .unwrap();
        let reached = mapper
            .platform()
            .bus_translate(dev, found[0].addr, true)
            .unwrap();
        assert_eq!(reached.0, sram.addr);
        assert!(
            !mapper
                .sync(&mapping, Direction::Bidirectional, vb3_dma::SyncFor::Cpu)
                .unwrap()
        );
        mapper.unmap(mapping, Attrs::empty());
        mapper.free(table);
        assert!(mapper.live().is_empty());
    }
}

/// A mapping for one direction faults in the other direction, as on a board.
#[test]
fn a_mapping_allows_its_own_direction_alone() {
    let mut mapper = mapper(&with_iommu(COHERENT));
    let dev = device(&mut mapper, DeviceLimits::default());
    let alloc = mapper.alloc_virtual(PAGE).unwrap();
    let table = mapper.share(&alloc).unwrap();
    let cases = [
        (Direction::ToDevice, None, Some(FaultKind::ReadOnly)),
        (Direction::FromDevice, Some(FaultKind::WriteOnly), None),
        (Direction::Bidirectional, None, None),
    ];
    for (direction, read, write) in cases {
        let mapping = mapper.map(dev, &table, direction, Attrs::empty()).unwrap();
        let at = segments(&mapper, &mapping)[0].addr;
        let machine = mapper.platform_mut();
        let got = machine.bus_read(dev, at, &mut [0; 4]);
        assert_eq!(got.err().map(|fault| fault.kind), read, "{direction:?}");
        let put = machine.bus_write(dev, at, &[0; 4]);
        assert_eq!(put.err().map(|fault| fault.kind), write, "{direction:?}");
        mapper.unmap(mapping, Attrs::empty());
    }
    mapper.free(table);
    mapper.free(alloc);
    assert!(mapper.live().is_empty(), "{:?}", mapper.live());
}
