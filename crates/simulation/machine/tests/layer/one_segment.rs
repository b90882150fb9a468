//! Devices that support only one segment, with limits of length, boundary and alignment.

use crate::common::*;
use vb3_dma::{
    Attrs, Constraint, Direction, DmaAddr, DmaOps as _, Error, Mapper, Reason, Segment,
    SegmentKind, SegmentMode,
};
use vb3_machine::{Device, DeviceLimits, Machine};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;

fn one(limits: DeviceLimits) -> DeviceLimits {
    DeviceLimits {
        max_segments: Some(1),
        ..limits
    }
}

fn device(mapper: &mut Mapper<Machine>, limits: DeviceLimits) -> Device {
    mapper.platform_mut().add_device("dev", limits).unwrap()
}

/// Returns the result of mapping `len` bytes of memory that another device allocated.
fn shared(
    profile: &str,
    limits: DeviceLimits,
    mode: SegmentMode,
    len: u64,
) -> Result<DmaAddr, (i32, Reason)> {
    let mut mapper = mapper(profile);
    let exporter = device(&mut mapper, DeviceLimits::default());
    let importer = device(&mut mapper, limits);
    mapper.set_segment_mode(importer, mode).unwrap();
    let alloc = mapper
        .alloc_coherent(exporter, len, Attrs::empty())
        .unwrap();
    let table = mapper.share(&alloc).unwrap();
    let mapped = mapper.map(importer, &table, Direction::ToDevice, Attrs::empty());
    let said = match mapped {
        Ok(mapping) => {
            let found = segments(&mapper, &mapping);
            assert_eq!((found.len(), found[0].len), (1, len));
            mapper.unmap(mapping, Attrs::empty());
            Ok(found[0].addr)
        }
        Err(err) => Err((err.errno(), err.reason().unwrap())),
    };
    mapper.free(table);
    mapper.free(alloc);
    assert!(mapper.live().is_empty(), "{:?}", mapper.live());
    said
}

const MODES: [SegmentMode; 2] = [SegmentMode::Contiguous, SegmentMode::Compatible];

#[test]
fn a_longer_run_is_refused_with_both_lengths() {
    let limits = one(DeviceLimits {
        max_segment: Some(64 * K),
        ..DeviceLimits::default()
    });
    let reason = Reason {
        constraint: Constraint::MaxSegment,
        wanted: 256 * K,
        found: 64 * K,
    };
    for profile in [CMA, &with_iommu(CMA)] {
        for mode in MODES {
            assert!(shared(profile, limits, mode, 64 * K).is_ok());
            assert_eq!(shared(profile, limits, mode, 256 * K), Err((5, reason)));
            // A device that accepts several segments can have memory beyond the limits of one.
            let several = DeviceLimits {
                max_segments: None,
                ..limits
            };
            let mut mapper = mapper(profile);
            let dev = device(&mut mapper, several);
            let alloc = mapper.alloc_coherent(dev, 256 * K, Attrs::empty()).unwrap();
            mapper.free(alloc);
        }
        // The limits apply in the same way to memory that the device itself allocates.
        let mut mapper = mapper(profile);
        let dev = device(&mut mapper, limits);
        let err = mapper.alloc_coherent(dev, 256 * K, Attrs::empty());
        assert_eq!(err.err(), Some(Error::NoMemory(reason)));
        assert!(mapper.live().is_empty());
    }
}

#[test]
fn scattered_memory_is_refused_with_its_first_run() {
    let limits = DeviceLimits {
        iommu: Some(false),
        max_segment: Some(M),
        ..one(DeviceLimits::default())
    };
    let reason = Reason {
        constraint: Constraint::Contiguous,
        wanted: 128 * K,
        found: PAGE,
    };
    for mode in MODES {
        assert_eq!(
            shared(&with_iommu(CMA), limits, mode, 128 * K),
            Err((5, reason))
        );
    }
}

#[test]
fn boundary_is_kept_if_address_can_be_chosen() {
    let limits = one(DeviceLimits {
        boundary: Some(64 * K - 1),
        ..DeviceLimits::default()
    });
    let behind = with_iommu(CMA);
    for len in [PAGE, 3 * PAGE, 64 * K] {
        for mode in MODES {
            let addr = shared(&behind, limits, mode, len).unwrap().get();
            assert_eq!(addr / (64 * K), (addr + len - 1) / (64 * K), "{mode:?}");
        }
    }
    let reason = Reason {
        constraint: Constraint::Boundary,
        wanted: 128 * K - 1,
        found: 64 * K - 1,
    };
    let mut mapper = mapper(CMA);
    let dev = device(&mut mapper, limits);
    // The odd lengths make the next free place cross the boundary, so it must not be used.
    let mut allocs = Vec::new();
    for len in [PAGE, 9 * PAGE, 9 * PAGE, 16 * PAGE] {
        let alloc = mapper.alloc_coherent(dev, len, Attrs::empty()).unwrap();
        let addr = mapper.alloc_dma_addr(&alloc).unwrap().get();
        assert_eq!(addr / (64 * K), (addr + len - 1) / (64 * K));
        allocs.push(alloc);
    }
    allocs.into_iter().for_each(|alloc| mapper.free(alloc));
    let err = mapper.alloc_coherent(dev, 17 * PAGE, Attrs::empty());
    let reason_at = err.err().and_then(Error::reason).unwrap();
    assert_eq!(
        (reason_at.constraint, reason_at.found),
        (Constraint::Boundary, reason.found)
    );
    assert!(reason_at.wanted >= reason.wanted);
}

#[test]
fn alignment_holds_where_address_is_free() {
    let limits = DeviceLimits {
        align: Some(M),
        ..DeviceLimits::default()
    };
    for mode in MODES {
        let addr = shared(&with_iommu(CMA), limits, mode, 3 * PAGE).unwrap();
        assert!(addr.is_aligned(M), "{addr:?}");
    }
    let mut mapper = mapper(CMA);
    let (dev, other) = (
        device(&mut mapper, limits),
        device(&mut mapper, DeviceLimits::default()),
    );
    let mut allocs = Vec::new();
    for _ in 0..3 {
        let alloc = mapper
            .alloc_coherent(dev, 2 * PAGE, Attrs::empty())
            .unwrap();
        assert!(mapper.alloc_dma_addr(&alloc).unwrap().is_aligned(M));
        allocs.push(alloc);
        allocs.push(
            mapper
                .alloc_coherent(other, 2 * PAGE, Attrs::empty())
                .unwrap(),
        );
    }
    // Memory that is already placed cannot be aligned. The refusal states the alignment that it has.
    let segment = Segment {
        addr: mapper_segment(&mapper, &allocs[1]),
        len: 2 * PAGE,
        kind: SegmentKind::Pages,
    };
    assert!(!segment.addr.is_aligned(M));
    let table = mapper.lend(&[segment]).unwrap();
    let err = mapper
        .map(dev, &table, Direction::ToDevice, Attrs::empty())
        .unwrap_err();
    let found = 1 << segment.addr.get().trailing_zeros();
    let reason = Reason {
        constraint: Constraint::Alignment,
        wanted: M,
        found,
    };
    assert_eq!(err, Error::Unmappable(reason));
    mapper.free(table);
    allocs.into_iter().for_each(|alloc| mapper.free(alloc));
    assert!(mapper.live().is_empty());
}

fn mapper_segment(mapper: &Mapper<Machine>, alloc: &vb3_dma::Memory<Machine>) -> vb3_dma::PhysAddr {
    // Without an IOMMU, the bus address is the physical address.
    vb3_dma::PhysAddr::new(mapper.alloc_dma_addr(alloc).unwrap().get())
}

#[test]
fn an_alignment_is_a_power_of_two() {
    let mut mapper = mapper(CMA);
    let limits = DeviceLimits {
        align: Some(3 * PAGE),
        ..DeviceLimits::default()
    };
    let added = mapper.platform_mut().add_device("dev", limits);
    assert_eq!(added, Err(Error::Invalid));
}

#[test]
fn a_mask_is_the_highest_address_whatever_its_bits() {
    // The first mask is that of venus (`dma_mask = 0xddc00000 - 1`). The others end within small memory.
    for (lines, last) in [
        (with_iommu("coherent = true\ncma = \"16MiB\""), 0xddbf_ffff),
        ("coherent = true".to_owned(), 48 * M - 1),
        ("coherent = true".to_owned(), 47 * M + 4 * K - 1),
    ] {
        let mut mapper = mapper(&lines);
        let limits = DeviceLimits {
            mask: Some(last),
            ..DeviceLimits::default()
        };
        let dev = device(&mut mapper, limits);
        let mut taken = Vec::new();
        // With an IOMMU, the highest addresses are assigned first; else the lowest memory is used first.
        for _ in 0..64 {
            let Ok(alloc) = mapper.alloc_coherent(dev, M, Attrs::empty()) else {
                break;
            };
            let addr = mapper.alloc_dma_addr(&alloc).unwrap();
            let end = addr.checked_add(M - 1).unwrap();
            assert!(end.get() <= last, "{end:?} {last:#x}");
            // The device may write up to the last byte.
            assert!(mapper.platform().bus_translate(dev, end, true).is_ok());
            taken.push((alloc, end.get()));
        }
        // Addresses are used beyond the largest mask of the form `2^n - 1` below the limit.
        let highest = taken.iter().map(|(_, end)| *end).max().unwrap();
        assert!(highest > last.next_power_of_two() / 2, "{highest:#x}");
        for (alloc, _) in taken {
            mapper.free(alloc);
        }
        assert!(mapper.live().is_empty());
    }
}
