//! Allocations: their requirements, exhausted resources, and initial content.

use crate::common::*;
use vb3_dma::{Attrs, Caching, Constraint, Direction, DmaOps as _, Error, Reason, SyncFor};
use vb3_dma_test::check::{Checked, Report};
use vb3_machine::{Device, DeviceLimits, Faults, Machine};

const M: u64 = 1 << 20;

type Mapper = vb3_dma::Mapper<Machine>;

fn with_device(lines: &str) -> (Mapper, Device) {
    let mut mapper = mapper(lines);
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    (mapper, dev)
}

fn refused(result: Result<vb3_dma::Memory<Machine>, Error>) -> (i32, Reason) {
    let err = result.expect_err("is refused");
    (err.errno(), err.reason().expect("has a reason"))
}

#[test]
fn exhausted_contiguous_memory_names_the_rest() {
    let (mapper, dev) = with_device(CMA);
    let first = mapper.alloc_coherent(dev, 10 * M, Attrs::empty()).unwrap();
    assert_eq!(first.segments().len(), 1, "one physical run");
    let constraint = Constraint::ContiguousPool;
    let reason = Reason {
        constraint,
        wanted: 8 * M,
        found: 6 * M,
    };
    assert_eq!(
        refused(mapper.alloc_coherent(dev, 8 * M, Attrs::empty())),
        (12, reason)
    );
    // Now enough memory is free, but not in one run.
    let second = mapper.alloc_coherent(dev, 2 * M, Attrs::empty()).unwrap();
    let third = mapper.alloc_coherent(dev, 4 * M, Attrs::empty()).unwrap();
    mapper.free(first);
    mapper.free(third);
    let constraint = Constraint::Contiguous;
    let reason = Reason {
        constraint,
        wanted: 12 * M,
        found: 10 * M,
    };
    assert_eq!(
        refused(mapper.alloc_coherent(dev, 12 * M, Attrs::empty())),
        (12, reason)
    );
    mapper.free(second);
    let all = mapper.alloc_coherent(dev, 16 * M, Attrs::empty()).unwrap();
    assert_eq!(mapper.platform().cma_peak(), 16 * M);
    assert_eq!(mapper.counters(dev).allocated_bytes, 16 * M);
    mapper.free(all);
    assert_eq!(mapper.counters(dev).allocated_bytes, 0);
    assert_eq!(mapper.counters(dev).peak_bytes, 16 * M);
    assert!(mapper.live().is_empty());
}

#[test]
fn unreachable_memory_names_both_addresses() {
    let (mut mapper, far) = with_device(CMA);
    let limits = DeviceLimits {
        mask: Some((4 * M) - 1),
        ..DeviceLimits::default()
    };
    let near = mapper.platform_mut().add_device("near", limits).unwrap();
    // The area begins at 1 MiB, so the device reaches three MiB of it. Another device gets these.
    let first = mapper.alloc_coherent(far, 3 * M, Attrs::empty()).unwrap();
    let constraint = Constraint::Mask;
    let reason = Reason {
        constraint,
        wanted: 6 * M - 1,
        found: 4 * M - 1,
    };
    assert_eq!(
        refused(mapper.alloc_coherent(near, 2 * M, Attrs::empty())),
        (12, reason)
    );
    mapper.free(first);
    let second = mapper.alloc_coherent(near, 3 * M, Attrs::empty()).unwrap();
    mapper.free(second);
    // No free memory is below this limit.
    let limits = DeviceLimits {
        mask: Some(M / 2 - 1),
        ..DeviceLimits::default()
    };
    let low = mapper.platform_mut().add_device("low", limits).unwrap();
    let reason = Reason {
        constraint,
        wanted: 3 * M - 1,
        found: M / 2 - 1,
    };
    assert_eq!(
        refused(mapper.alloc_coherent(low, 2 * M, Attrs::empty())),
        (12, reason)
    );
    assert!(mapper.live().is_empty());
}

#[test]
fn without_a_contiguous_area_four_mib_is_the_most() {
    let (mapper, dev) = with_device(COHERENT);
    let some = mapper.alloc_coherent(dev, 4 * M, Attrs::empty()).unwrap();
    let constraint = Constraint::Contiguous;
    let reason = Reason {
        constraint,
        wanted: 4 * M + PAGE,
        found: 4 * M,
    };
    assert_eq!(
        refused(mapper.alloc_coherent(dev, 4 * M + 1, Attrs::empty())),
        (12, reason)
    );
    mapper.free(some);
}

#[test]
fn an_iommu_makes_scattered_pages_one_run() {
    let (mut mapper, dev) = with_device(&with_iommu(CMA));
    let alloc = mapper.alloc_coherent(dev, 5 * M, Attrs::empty()).unwrap();
    assert_eq!(alloc.segments().len(), 5, "no two pieces touch");
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let data = pattern(5 * M as usize);
    mapper.platform_mut().bus_write(dev, addr, &data).unwrap();
    let mut back = vec![0; data.len()];
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut back)
        .unwrap();
    assert_eq!(back, data);
    // The CPU sees the same bytes in the same order.
    let vmap = mapper.vmap(&alloc).unwrap();
    back.fill(0);
    mapper.vmap_read(&vmap, 0, &mut back).unwrap();
    assert_eq!(back, data);
    mapper.vunmap(vmap);
    let forced = mapper
        .alloc_coherent(dev, 2 * M, Attrs::FORCE_CONTIGUOUS)
        .unwrap();
    assert_eq!(forced.segments().len(), 1);
    mapper.free(forced);
    mapper.free(alloc);
    assert_eq!(mapper.platform().held(), Default::default());
}

#[test]
fn bad_sizes_are_refused_before_any_work() {
    for profile in [CMA.to_owned(), with_iommu(CMA)] {
        let (mut mapper, dev) = with_device(&profile);
        mapper.platform_mut().trace_mut().start(100);
        mapper.platform_mut().set_faults(Faults::Nth(0));
        for len in [
            0xffff_f000,
            u64::from(u32::MAX),
            1 << 62,
            u64::MAX - 4095,
            u64::MAX,
        ] {
            let constraint = Constraint::SizeLimit;
            let reason = Reason {
                constraint,
                wanted: len,
                found: 64 * M,
            };
            assert_eq!(
                refused(mapper.alloc_coherent(dev, len, Attrs::empty())),
                (12, reason)
            );
            let direction = Direction::FromDevice;
            let got = mapper.alloc_noncontiguous(dev, len, direction, Attrs::empty());
            assert_eq!(refused(got), (12, reason));
            assert_eq!(refused(mapper.alloc_virtual(len)), (12, reason));
        }
        assert_eq!(
            mapper.alloc_coherent(dev, 0, Attrs::empty()).err(),
            Some(Error::Invalid)
        );
        assert_eq!(mapper.alloc_virtual(0).err(), Some(Error::Invalid));
        let tried = mapper.platform().injected_faults();
        assert_eq!(tried, 0, "nothing was tried");
        mapper.platform_mut().set_faults(Faults::Off);
        // This is not more than all of RAM, but part of RAM is never available.
        let (errno, reason) = refused(mapper.alloc_virtual(64 * M));
        assert_eq!(
            (errno, reason.constraint, reason.wanted),
            (12, Constraint::Ram, 64 * M)
        );
        assert!(reason.found < 64 * M);
        assert!(mapper.platform().trace().events().is_empty());
        assert!(mapper.live().is_empty());
    }
}

#[test]
fn memory_is_zero_although_it_was_used_before() {
    for profile in [
        CMA.to_owned(),
        with_iommu(CMA),
        with_iommu("coherent = false"),
    ] {
        let (mut mapper, dev) = with_device(&profile);
        let (dirt, zeroes) = (vec![0xa5; M as usize], vec![0; M as usize]);
        for attrs in [Attrs::empty(), Attrs::NO_KERNEL_MAPPING] {
            for coherent in [true, false] {
                // Allocates more than half of the memory twice, so that frames are reused.
                for _ in 0..2 {
                    let mut held = Vec::new();
                    for _ in 0..10 {
                        let alloc = if coherent {
                            mapper.alloc_coherent(dev, M, attrs)
                        } else {
                            mapper.alloc_noncontiguous(dev, M, Direction::Bidirectional, attrs)
                        }
                        .unwrap();
                        let addr = mapper.alloc_dma_addr(&alloc).unwrap();
                        let vmap = mapper.vmap(&alloc).unwrap();
                        let mut seen = vec![1; M as usize];
                        mapper
                            .platform_mut()
                            .bus_read(dev, addr, &mut seen)
                            .unwrap();
                        assert!(seen == zeroes, "zero for the device");
                        seen.fill(1);
                        mapper.vmap_read(&vmap, 0, &mut seen).unwrap();
                        assert!(seen == zeroes, "zero for the CPU");
                        mapper.platform_mut().bus_write(dev, addr, &dirt).unwrap();
                        mapper.vmap_write(&vmap, 0, &dirt).unwrap();
                        mapper.vunmap(vmap);
                        held.push(alloc);
                    }
                    held.into_iter().for_each(|alloc| mapper.free(alloc));
                }
            }
        }
        assert!(mapper.live().is_empty());
    }
}

#[test]
fn only_noncontiguous_memory_needs_syncs() {
    let (mut mapper, dev) = with_device(&with_iommu("coherent = false"));
    let coherent = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
    let cached = mapper
        .alloc_noncontiguous(dev, PAGE, Direction::Bidirectional, Attrs::empty())
        .unwrap();
    assert_eq!(mapper.alloc_caching(&coherent), Caching::Uncached);
    assert_eq!(mapper.alloc_caching(&cached), Caching::Cached);
    for (alloc, needs) in [(&coherent, false), (&cached, true)] {
        let addr = mapper.alloc_dma_addr(alloc).unwrap();
        let vmap = mapper.vmap(alloc).unwrap();
        let mut byte = [0];
        mapper.vmap_write(&vmap, 5, &[7]).unwrap();
        let at = addr.checked_add(5).unwrap();
        mapper.platform_mut().bus_read(dev, at, &mut byte).unwrap();
        assert_eq!(byte, [if needs { 0 } else { 7 }]);
        assert_eq!(
            mapper.platform().stale_bytes_of(alloc.pages().unwrap()),
            u64::from(needs)
        );
        assert_eq!(
            mapper.sync_alloc(alloc, Direction::ToDevice, SyncFor::Device),
            needs
        );
        mapper.platform_mut().bus_read(dev, at, &mut byte).unwrap();
        assert_eq!(byte, [7]);
        mapper.platform_mut().bus_write(dev, at, &[9]).unwrap();
        mapper.vmap_read(&vmap, 5, &mut byte).unwrap();
        assert_eq!(byte, [if needs { 7 } else { 9 }]);
        assert!(
            !mapper.sync_alloc(alloc, Direction::ToDevice, SyncFor::Cpu),
            "nothing written"
        );
        assert_eq!(
            mapper.sync_alloc(alloc, Direction::FromDevice, SyncFor::Cpu),
            needs
        );
        mapper.vmap_read(&vmap, 5, &mut byte).unwrap();
        assert_eq!(byte, [9]);
        assert_eq!(mapper.platform().stale_bytes_of(alloc.pages().unwrap()), 0);
        mapper.vunmap(vmap);
    }
    assert_eq!(mapper.counters(dev).syncs_for_device, 1);
    assert_eq!(mapper.counters(dev).syncs_for_cpu, 1);
    mapper.free(coherent);
    mapper.free(cached);
}

#[test]
fn a_program_maps_the_very_memory_the_device_writes() {
    let (mut mapper, dev) = with_device(CMA);
    let alloc = mapper
        .alloc_coherent(dev, 3 * PAGE, Attrs::empty())
        .unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    mapper
        .platform_mut()
        .bus_write(dev, addr.checked_add(PAGE).unwrap(), b"frame")
        .unwrap();
    let map = mapper.mmap(&alloc, PAGE, 2 * PAGE).unwrap();
    assert_eq!((map.offset, map.len), (PAGE, 2 * PAGE));
    let mut seen = [0; 5];
    rustix::io::pread(&map.fd, &mut seen, map.offset).unwrap();
    assert_eq!(&seen, b"frame");
    rustix::io::pwrite(&map.fd, b"drawn", map.offset).unwrap();
    mapper
        .platform_mut()
        .bus_read(dev, addr.checked_add(PAGE).unwrap(), &mut seen)
        .unwrap();
    assert_eq!(&seen, b"drawn");
    // The memfd has a fixed size.
    assert!(rustix::fs::ftruncate(&map.fd, 0).is_err());
    assert!(rustix::fs::ftruncate(&map.fd, 4 * PAGE).is_err());
    // Ranges that end beyond the memory, or overflow.
    for (offset, len) in [(PAGE, 3 * PAGE), (3 * PAGE, 1), (!(PAGE - 1), 2 * PAGE)] {
        assert_eq!(mapper.mmap(&alloc, offset, len).unwrap_err().errno(), 6);
    }
    assert_eq!(mapper.mmap(&alloc, 0, 0).err().map(Error::errno), Some(22));
    assert_eq!(
        mapper.mmap(&alloc, 1, PAGE).err().map(Error::errno),
        Some(22)
    );
    mapper.free(alloc);
    // The program's descriptor still works, and shows its old bytes, not those of later owners.
    rustix::io::pread(&map.fd, &mut seen, map.offset).unwrap();
    assert_eq!(&seen, b"drawn");
}

#[test]
fn a_cpu_mapping_keeps_its_memory() {
    let (mapper, _) = with_device(COHERENT);
    let alloc = mapper.alloc_virtual(2 * PAGE + 1).unwrap();
    assert_eq!(alloc.len_bytes(), 3 * PAGE);
    assert_eq!(mapper.alloc_dma_addr(&alloc), None);
    let vmap = mapper.vmap(&alloc).unwrap();
    let mut byte = [0];
    mapper.vmap_read(&vmap, 3 * PAGE - 1, &mut byte).unwrap();
    assert_eq!(
        mapper
            .vmap_read(&vmap, 3 * PAGE, &mut byte)
            .unwrap_err()
            .errno(),
        6
    );
    assert_eq!(
        mapper
            .vmap_write(&vmap, u64::MAX, &byte)
            .unwrap_err()
            .errno(),
        6
    );
    mapper.free(alloc);
    mapper.vmap_read(&vmap, 0, &mut byte).unwrap();
    assert_eq!(mapper.live().page_bytes, 3 * PAGE);
    mapper.vunmap(vmap);
    assert!(mapper.live().is_empty());
}

#[test]
fn single_pages_adjoin_only_if_profile_says() {
    let (mapper, _) = with_device("coherent = true\nscattered = false");
    let alloc = mapper.alloc_virtual(M).unwrap();
    assert_eq!(alloc.segments().len(), 1);
    mapper.free(alloc);
    let (mapper, _) = with_device(COHERENT);
    // Even if all memory is allocated, no two consecutive pages are adjacent.
    let len = 3 * M;
    let all: Vec<_> = (0..21)
        .map(|_| mapper.alloc_virtual(len).unwrap())
        .collect();
    assert!(
        all.iter()
            .all(|alloc| alloc.segments().len() as u64 == len / PAGE)
    );
    assert_eq!(refused(mapper.alloc_virtual(1)).1.found, 0);
    all.into_iter().for_each(|alloc| mapper.free(alloc));
    assert_eq!(mapper.platform().held(), Default::default());
}

/// The cost of a large allocation must not grow with each page: REQBUFS of 32 buffers of a 4K picture would hold the
/// lock of all devices for a second.
#[test]
fn large_memory_is_scattered_in_large_pieces() {
    let (mapper, dev) = with_device("coherent = true");
    for (len, most) in [(M, 256), (4 * M, 4), (7 * M + PAGE, 10), (32 * M, 16)] {
        let alloc = mapper.alloc_scattered(dev, len).unwrap();
        let pieces = alloc.segments().len();
        assert!((4..=most).contains(&pieces), "{len}: {pieces} pieces");
        mapper.free(alloc);
    }
}

#[test]
fn scattered_memory_lies_within_the_mask() {
    // The device reaches 16 of 64 MiB.
    let limits = DeviceLimits {
        mask: Some(0xff_ffff),
        ..DeviceLimits::default()
    };
    let highest = |alloc: &vb3_dma::Memory<Machine>| {
        let runs = alloc.segments().iter();
        runs.map(|run| run.addr.get() + run.len - 1).max()
    };
    let mut direct = mapper(COHERENT);
    let dev = direct.platform_mut().add_device("dev", limits);
    let dev = dev.unwrap();
    let alloc = direct.alloc_scattered(dev, 4 * M).unwrap();
    assert!(highest(&alloc) <= Some(0xff_ffff));
    let free = direct.alloc_virtual(4 * M).unwrap();
    assert!(highest(&free) > Some(0xff_ffff), "the mask is the device's");
    direct.free(alloc);
    direct.free(free);
    // This is more memory than the device reaches.
    let beyond = direct.alloc_scattered(dev, 32 * M).unwrap_err();
    assert_eq!(beyond.errno(), 12);
    // The checker asks for pages in the device's reach, too.
    let checked = Checked::new(&direct, |report: Report<Device>| panic!("{report}"), 8);
    let alloc = checked.alloc_scattered(dev, 4 * M).unwrap();
    checked.free(alloc);
    assert_eq!(checked.alloc_scattered(dev, 32 * M).err(), Some(beyond));
    // Behind an IOMMU, the device reaches any page.
    let mut behind = mapper(&with_iommu(COHERENT));
    let dev = behind.platform_mut().add_device("dev", limits).unwrap();
    let alloc = behind.alloc_scattered(dev, 32 * M).unwrap();
    assert!(highest(&alloc) > Some(0xff_ffff));
    behind.free(alloc);
}
