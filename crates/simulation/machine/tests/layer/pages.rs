//! Machines whose CPU has pages of 4, 16 and 64 KiB: rounding, alignment and refusals.

use crate::common::*;
use vb3_dma::{
    Attrs, Caching, Constraint, Direction, DmaOps as _, Error, Mapper, Memory, PageRequest,
    PhysAddr, Platform as _,
};
use vb3_machine::{Device, DeviceLimits, Foreign, Machine, Profile, Spot, User};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Bytes of a page, and of the longest run of ordinary memory.
const PAGES: [(u64, u64); 3] = [
    (4 * KIB, 4 * MIB),
    (16 * KIB, 32 * MIB),
    (64 * KIB, 512 * MIB),
];
const BOTH: Direction = Direction::Bidirectional;

fn bench(page: u64, ram: &str, lines: &str) -> (Mapper<Machine>, Device) {
    let text = format!(
        "name = \"test\"\npage_size = {page}\nram = \"{ram}\"\ncoherent = true\ndma_mask = 32\n{lines}\n"
    );
    let profile = Profile::parse(&text).unwrap_or_else(|err| panic!("{err} in:\n{text}"));
    let mut mapper = Mapper::new(Machine::new(&profile, 1).unwrap()).unwrap();
    let limits = DeviceLimits::default();
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    (mapper, dev)
}

fn reason(result: Result<Memory<Machine>, Error>) -> (Constraint, u64, u64) {
    let reason = result.expect_err("is refused").reason().expect("a reason");
    (reason.constraint, reason.wanted, reason.found)
}

#[test]
fn single_page_does_not_use_contiguous_area() {
    for (page, _) in PAGES {
        let (mapper, dev) = bench(page, "64MiB", "cma = \"16MiB\"");
        assert_eq!(mapper.platform().page_size(), page);
        let one = mapper.alloc_coherent(dev, 5, Attrs::empty()).unwrap();
        let held = mapper.platform().held();
        assert_eq!((held.ram_bytes, held.cma_bytes), (page, 0), "{page:#x}");
        let two = mapper
            .alloc_coherent(dev, page + 1, Attrs::empty())
            .unwrap();
        assert_eq!(mapper.platform().held().cma_bytes, 2 * page, "{page:#x}");
        for alloc in [&one, &two] {
            assert!(alloc.segments()[0].addr.is_aligned(page), "{page:#x}");
        }
        // The CPU maps whole pages, so an offset inside a page is refused.
        assert_eq!(mapper.mmap(&two, page, 1).map(|mmap| mmap.offset), Ok(page));
        assert_eq!(mapper.mmap(&two, page / 2, 1).unwrap_err().errno(), 22);
        mapper.free(one);
        mapper.free(two);
        assert_eq!(mapper.platform().held(), Default::default());
    }
}

/// Linux aligns allocations from the contiguous area to their length, rounded up to a power of two, up to 256 pages.
#[test]
fn contiguous_allocations_are_aligned_to_their_length() {
    for (page, _) in PAGES {
        let (mapper, dev) = bench(page, "256MiB", &format!("cma = {}", 1024 * page));
        let start = mapper.platform().free_memory().contiguous[0].addr.get();
        let alloc = |pages| mapper.alloc_coherent(dev, pages * page, Attrs::empty());
        let at = |alloc: &Memory<Machine>| (alloc.segments()[0].addr.get() - start) / page;
        let allocs = [3, 3, 129, 257].map(|pages| alloc(pages).unwrap());
        // Free: pages 3, 7 to 255, 385 to 511, 769 to 1023.
        assert_eq!(allocs.each_ref().map(at), [0, 4, 256, 512], "{page:#x}");
        let said = (Constraint::Contiguous, 256 * page, 128 * page);
        assert_eq!(reason(alloc(256)), said, "{page:#x}");
        mapper.free(alloc(128).unwrap());
        allocs.into_iter().for_each(|alloc| mapper.free(alloc));
    }
}

#[test]
fn ordinary_memory_gives_longer_runs_of_larger_pages() {
    for (page, longest) in PAGES {
        let (mapper, dev) = bench(page, "2GiB", "");
        let whole = mapper.alloc_coherent(dev, longest, Attrs::empty()).unwrap();
        assert_eq!(whole.segments().len(), 1);
        let more = mapper.alloc_coherent(dev, longest + 1, Attrs::empty());
        let said = (Constraint::Contiguous, longest + page, longest);
        assert_eq!(reason(more), said, "{page:#x}");
        mapper.free(whole);
    }
}

#[test]
fn deviceless_pages_and_areas_are_page_multiples() {
    for (page, _) in PAGES {
        let (mapper, _) = bench(page, "64MiB", "cma = \"16MiB\"\n[areas]\nown = \"1MiB\"");
        let machine = mapper.platform();
        let request = |len, granule| PageRequest {
            len,
            granule,
            contiguous: false,
            max_addr: PhysAddr::new(u64::MAX),
            caching: Caching::Cached,
            device: None,
        };
        assert_eq!(
            machine.alloc_pages(request(page, page / 2)),
            Err(Error::Invalid)
        );
        assert_eq!(machine.alloc_in_area(0, page / 2), Err(Error::Invalid));
        assert_eq!(
            machine.promise_pages(page / 2, Caching::Cached),
            Err(Error::Invalid)
        );
        let pages = machine.alloc_pages(request(8 * page, page)).unwrap();
        for run in (0..).map_while(|index| machine.pages_segment(&pages, index)) {
            assert!(run.addr.is_aligned(page) && run.len % page == 0, "{run:?}");
        }
        let lazy = machine.promise_pages(page, Caching::Cached).unwrap();
        let half = Spot::Run(PhysAddr::new(MIB + page / 2));
        assert_eq!(
            machine.place_pages(&lazy, half, Caching::Cached),
            Err(Error::Invalid)
        );
        let whole = Spot::Run(PhysAddr::new(MIB + page));
        assert_eq!(machine.place_pages(&lazy, whole, Caching::Cached), Ok(0));
        machine.free_pages(lazy);
        machine.free_pages(pages);
        assert_eq!(machine.held(), Default::default());
    }
}

#[test]
fn memory_without_pages_is_as_large_as_pages() {
    for (page, _) in PAGES {
        let (mut mapper, _) = bench(page, "64MiB", "");
        let machine = mapper.platform_mut();
        for len in [0, page / 2, page + page / 2] {
            let reserved = machine.reserve_physical(len);
            assert_eq!(reserved, Err(Error::Invalid), "{len:#x}");
        }
        assert_eq!(machine.reserve_physical(page).unwrap().len, page);
    }
}

/// Another driver's memory consists of pages of the host, which may be smaller than the machine's.
#[test]
fn another_drivers_memory_takes_whole_pages() {
    for (page, _) in PAGES {
        let (mut mapper, _) = bench(page, "64MiB", "");
        let fd = rustix::fs::memfd_create("other", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, page + 4 * KIB).unwrap();
        let foreign = Foreign::map(std::sync::Arc::new(fd)).unwrap();
        let pages = mapper.platform_mut().import(foreign).unwrap();
        let whole = (page + 4 * KIB).next_multiple_of(page);
        assert_eq!(mapper.platform().held().ram_bytes, whole, "{page:#x}");
        mapper.platform().free_pages(pages);
        assert_eq!(mapper.platform().held(), Default::default());
    }
}

/// Memory without a device may later be mapped behind any of the machine's IOMMUs.
#[test]
fn pieces_match_the_largest_iommu_page() {
    for (page, _) in PAGES {
        let (mapper, _) = bench(page, "64MiB", "");
        assert_eq!(mapper.platform().unmapped_granule(), page);
        let further =
            "[iommus.large]\nformat = \"arm-lpae-s1\"\npage_sizes = [\"64KiB\"]\naperture = 32";
        let (mapper, _) = bench(page, "64MiB", further);
        assert_eq!(mapper.platform().unmapped_granule(), 64 * KIB);
    }
}

/// A program's memory consists of pieces of one page. A page-aligned picture of 64 KiB has sixteen, four or
/// one, depending on the page size.
#[test]
fn a_programs_memory_is_pinned_in_pages() {
    for (page, _) in PAGES {
        let (mut mapper, dev) = bench(page, "64MiB", "");
        let program = Program::new(0x40_0000, pattern(0x4_0000));
        let user: User = program.clone();
        let mut pin = |addr, len| {
            let table = mapper.pin_user(&user, addr, len, BOTH).unwrap();
            let mapping = mapper.map(dev, &table, BOTH, Attrs::empty()).unwrap();
            let pieces = segments(&mapper, &mapping);
            for (n, piece) in (0_u64..).zip(&pieces) {
                let mut seen = [0];
                mapper
                    .platform_mut()
                    .bus_read(dev, piece.addr, &mut seen)
                    .unwrap();
                let before: u64 = pieces[..n as usize].iter().map(|piece| piece.len).sum();
                let at = (addr - 0x40_0000 + before) as usize;
                assert_eq!(seen[0], program.peek()[at], "{page:#x} {n}");
            }
            mapper.unmap(mapping, Attrs::empty());
            mapper.free(table);
            pieces.len() as u64
        };
        assert_eq!(pin(0x40_0000, 64 * KIB), 64 * KIB / page, "{page:#x}");
        // The range goes from the middle of one page to the middle of the next.
        assert_eq!(pin(0x40_0000 + page / 2, page), 2, "{page:#x}");
        assert_eq!(pin(0x40_0001, page - 1), 1, "{page:#x}");
        assert_eq!(mapper.platform().held(), Default::default());
    }
}

/// An IOMMU's page may be smaller or larger than the CPU's. Memory consists of pieces of the larger size, so
/// an IOMMU never exposes another owner's bytes behind the memory.
#[test]
fn iommu_shows_whole_pages_of_the_larger_size() {
    for (page, _) in PAGES {
        for granule in [4 * KIB, 16 * KIB, 64 * KIB] {
            let iommu = format!(
                "[iommu]\nformat = \"arm-lpae-s1\"\npage_sizes = [{granule}]\naperture = 32"
            );
            let (mut mapper, dev) = bench(page, "64MiB", &iommu);
            let piece = page.max(granule);
            let alloc = mapper
                .alloc_coherent(dev, piece + 1, Attrs::empty())
                .unwrap();
            assert!(alloc.segments().iter().all(|s| s.addr.is_aligned(piece)));
            assert_eq!(mapper.platform().held().ram_bytes, 2 * piece);
            let at = mapper.alloc_dma_addr(&alloc).unwrap();
            let bytes = pattern(2 * piece as usize);
            mapper.platform_mut().bus_write(dev, at, &bytes).unwrap();
            let end = at.checked_add(2 * piece).unwrap();
            assert!(mapper.platform_mut().bus_write(dev, end, &[1]).is_err());
            mapper.free(alloc);
            assert_eq!(mapper.platform().held(), Default::default());
        }
    }
}
