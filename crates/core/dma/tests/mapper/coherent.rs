//! A device's own memory without pages, and allocations of one run.

use vb3_dma::{
    Attrs, Caching, Constraint, Direction, DmaAddr, DmaOps as _, Error, Limits, Prot, Segment,
    SegmentKind, first_run,
};
use vb3_dma_test::fake::{PAGE, SRAM, Setup, ram, sram};

const BOTH: Direction = Direction::Bidirectional;
const ON_BUS: DmaAddr = DmaAddr::new(0x2000_0000);

/// Maps a device's own memory into a program, and behind an IOMMU as memory without pages.
#[test]
fn device_memory_is_shared_by_physical_address() {
    let mut mapper = Setup::iommu(32).mapper();
    // The layer never asks for the pages of such memory, whatever the caller says.
    let memory = Segment {
        kind: SegmentKind::Pages,
        ..sram(0, 8 * PAGE)
    };
    mapper.declare_coherent(0, memory, ON_BUS).unwrap();
    let alloc = mapper
        .alloc_coherent(0, 3 * PAGE - 5, Attrs::empty())
        .unwrap();
    let [memory] = *alloc.segments() else {
        panic!("one run");
    };
    assert_eq!((memory.kind, memory.len), (SegmentKind::Physical, 3 * PAGE));
    let offset = memory.addr.get() - SRAM;
    let at = mapper.alloc_dma_addr(&alloc).unwrap();
    assert_eq!(at.get(), ON_BUS.get() + offset, "as the device sees it");
    assert_eq!(mapper.alloc_caching(&alloc), Caching::Uncached);
    // The memory held other bytes before.
    let zeroed = mapper.platform_mut().peek(memory.addr.get(), 3 * PAGE);
    assert!(
        zeroed.iter().all(|&b| b == 0),
        "zeroed before a program or device sees it"
    );
    assert_eq!(mapper.platform().pages_out(), 0, "no page was taken for it");

    let shown = mapper.mmap(&alloc, PAGE, 2 * PAGE).unwrap();
    assert_eq!(shown, (memory.addr.get() + PAGE, 2 * PAGE));
    assert_eq!(mapper.mmap(&alloc, PAGE, 3 * PAGE).unwrap_err().errno(), 6);

    // The memory is also mapped behind the IOMMU.
    let handle = mapper.share(&alloc).unwrap();
    assert!(
        handle
            .segments()
            .iter()
            .all(|s| s.kind == SegmentKind::Physical)
    );
    let mapping = mapper.map(0, &handle, BOTH, Attrs::ONE_RUN).unwrap();
    let there = mapping.segments()[0].addr;
    let run = first_run(|index| mapper.segment(&mapping, index), u64::MAX);
    assert_eq!(run.map(|run| run.len), Some(3 * PAGE));
    assert_eq!(mapper.platform().reach(there), Some(memory.addr.get()));
    let entry = mapper.platform().table()[&there.get()];
    assert_eq!(entry.prot, Prot::READ | Prot::WRITE | Prot::MMIO);
    assert!(
        !mapper
            .sync(&mapping, BOTH, vb3_dma::SyncFor::Device)
            .unwrap(),
        "never synced"
    );
    mapper.unmap(mapping, Attrs::empty());

    // A caller that needs pages finds that there are none.
    assert!(alloc.pages().is_none());

    mapper.free(handle);
    mapper.free(alloc);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

/// The device's address is aligned, wherever the region begins.
#[test]
fn region_at_an_odd_page_has_aligned_parts() {
    let setup = Setup {
        align: 16 * PAGE,
        ..Setup::direct()
    };
    let mapper = setup.mapper();
    let memory = sram(3 * PAGE, 32 * PAGE);
    let addr = DmaAddr::new(ON_BUS.get() + 17 * PAGE);
    mapper.declare_coherent(0, memory, addr).unwrap();
    // Only one aligned address has so much room behind it.
    let alloc = mapper.alloc_coherent(0, 17 * PAGE, Attrs::empty()).unwrap();
    let at = DmaAddr::new(ON_BUS.get() + 32 * PAGE);
    assert_eq!(mapper.alloc_dma_addr(&alloc), Some(at));
    assert_eq!(alloc.segments()[0].addr.get(), SRAM + 18 * PAGE);
    mapper.free(alloc);
    assert!(mapper.live().is_empty());
}

#[test]
fn exhausted_region_refuses_without_fallback() {
    let mapper = Setup::iommu(32).mapper();
    mapper
        .declare_coherent(0, sram(0, 4 * PAGE), ON_BUS)
        .unwrap();
    let first = mapper.alloc_coherent(0, 3 * PAGE, Attrs::empty()).unwrap();
    let err = mapper
        .alloc_coherent(0, 2 * PAGE, Attrs::empty())
        .unwrap_err();
    let reason = err.reason().unwrap();
    assert_eq!(
        (err.errno(), reason.constraint),
        (12, Constraint::CoherentRegion)
    );
    assert_eq!((reason.wanted, reason.found), (2 * PAGE, PAGE));
    assert_eq!(mapper.platform().pages_out(), 0);
    let second = mapper.alloc_coherent(0, PAGE, Attrs::empty()).unwrap();
    assert_ne!(first.segments()[0].addr, second.segments()[0].addr);
    assert_eq!(mapper.remove_device(0), Err(Error::Busy));
    mapper.free(first);
    mapper.free(second);
    mapper.remove_device(0).unwrap();
    let ordinary = mapper.alloc_coherent(0, PAGE, Attrs::empty()).unwrap();
    assert!(ordinary.pages().is_some());
    mapper.free(ordinary);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

#[test]
fn declarations_that_make_no_sense_are_refused() {
    let mapper = Setup::narrow(0).mapper();
    let cases = [
        (sram(0, 0), ON_BUS, 22),
        (sram(0, PAGE + 1), ON_BUS, 22),
        (sram(1, PAGE), ON_BUS, 22),
        (sram(0, PAGE), DmaAddr::new(1), 22),
        (sram(0, !(PAGE - 1)), ON_BUS, 22),
        (sram(0, 2 * PAGE), DmaAddr::new(!(PAGE - 1)), 22),
        (sram(0, 2 * PAGE), DmaAddr::new(0xffff_f000), 5),
    ];
    for (memory, addr, errno) in cases {
        let err = mapper.declare_coherent(0, memory, addr).unwrap_err();
        assert_eq!(err.errno(), errno, "{memory:?} {addr}");
    }
    assert_eq!(
        mapper.declare_coherent(7, sram(0, PAGE), ON_BUS),
        Err(Error::Invalid)
    );
    mapper.declare_coherent(0, sram(0, PAGE), ON_BUS).unwrap();
    let again = mapper
        .declare_coherent(0, sram(PAGE, PAGE), ON_BUS)
        .unwrap_err();
    assert_eq!((again, again.errno()), (Error::Busy, 16));
}

#[test]
fn what_cannot_be_zeroed_is_not_handed_out() {
    let mut mapper = Setup::direct().mapper();
    mapper
        .declare_coherent(0, sram(0, 2 * PAGE), ON_BUS)
        .unwrap();
    for n in 0..3 {
        mapper.platform_mut().fail(Some(n));
        let err = mapper.alloc_coherent(0, PAGE, Attrs::empty()).unwrap_err();
        assert_eq!(err.reason().unwrap().constraint, Constraint::InjectedFault);
        assert!(mapper.live().is_empty() && mapper.platform().is_clean());
    }
    mapper.platform_mut().fail(None);
    let whole = mapper.alloc_coherent(0, 2 * PAGE, Attrs::empty()).unwrap();
    mapper.free(whole);
    assert!(mapper.live().is_empty());
}

/// Scattered pages are one range of addresses for the kernel, and the device sees the same bytes.
#[test]
fn scattered_pages_are_one_range_for_the_cpu_too() {
    let mut mapper = Setup::iommu(32).mapper();
    let alloc = mapper.alloc_coherent(0, 5 * PAGE, Attrs::empty()).unwrap();
    assert_eq!(alloc.segments().len(), 5, "nowhere near each other");
    let vmap = mapper.vmap(&alloc).unwrap();
    let bytes: Vec<u8> = (0..5 * PAGE).map(|n| (n % 239) as u8).collect();
    mapper.vmap_write(&vmap, 0, &bytes).unwrap();
    let at = mapper.alloc_dma_addr(&alloc).unwrap();
    assert_eq!(mapper.platform_mut().dev_read(at, 5 * PAGE).unwrap(), bytes);
    mapper.vunmap(vmap);
    mapper.free(alloc);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

#[test]
fn one_run_is_kept_or_refused_with_the_constraint() {
    // Defect 13 of stock kernels: contiguity was assumed, not checked.
    let scattered: Vec<Segment> = (0..4).map(|n| ram(n * 3 * PAGE, PAGE)).collect();
    let odd = [ram(0, PAGE + 0x800), ram(8 * PAGE, PAGE)];
    let mapper = Setup::iommu(32).mapper();
    let memory = mapper.lend(&scattered).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::ONE_RUN).unwrap();
    assert_eq!(mapping.segments().len(), 1);
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(memory);
    let memory = mapper.lend(&odd).unwrap();
    let err = mapper.map(0, &memory, BOTH, Attrs::ONE_RUN).unwrap_err();
    let reason = err.reason().unwrap();
    assert_eq!((err.errno(), reason.constraint), (5, Constraint::Alignment));
    assert_eq!((reason.wanted, reason.found), (PAGE, 0x800));
    mapper.free(memory);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());

    let direct = Setup::direct().mapper();
    let memory = direct.lend(&scattered).unwrap();
    let err = direct.map(0, &memory, BOTH, Attrs::ONE_RUN).unwrap_err();
    let reason = err.reason().unwrap();
    assert_eq!(
        (err.errno(), reason.constraint),
        (5, Constraint::Contiguous)
    );
    assert_eq!((reason.wanted, reason.found), (4 * PAGE, PAGE));
    let mapping = direct.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    assert_eq!(mapping.segments().len(), 4);
    direct.unmap(mapping, Attrs::empty());
    direct.free(memory);
    // Adjacent pieces are one run, wherever the list divides them.
    let touching = [ram(0, PAGE + 0x800), ram(PAGE + 0x800, PAGE)];
    let memory = direct.lend(&touching).unwrap();
    let mapping = direct.map(0, &memory, BOTH, Attrs::ONE_RUN).unwrap();
    direct.unmap(mapping, Attrs::empty());
    direct.free(memory);
    assert!(direct.live().is_empty());
}

/// An allocation is one segment for a device that takes only one.
#[test]
fn a_device_of_one_segment_limits_allocations() {
    let limited = |setup: Setup| {
        let limits = Limits {
            max_segment: 2 * PAGE,
            max_segments: 1,
            ..setup.limits
        };
        Setup { limits, ..setup }.mapper()
    };
    let own = limited(Setup::direct());
    own.declare_coherent(0, sram(0, 8 * PAGE), ON_BUS).unwrap();
    for mapper in [limited(Setup::direct()), limited(Setup::iommu(32)), own] {
        let err = mapper.alloc_coherent(0, 3 * PAGE, Attrs::empty());
        let reason = err.unwrap_err().reason().unwrap();
        assert_eq!(
            (reason.constraint, reason.wanted, reason.found),
            (Constraint::MaxSegment, 3 * PAGE, 2 * PAGE)
        );
        let alloc = mapper.alloc_coherent(0, 2 * PAGE, Attrs::empty()).unwrap();
        mapper.free(alloc);
        assert!(mapper.live().is_empty() && mapper.platform().is_clean());
    }
}

/// An allocation has one address for its device, with or without an IOMMU, so the device's maximum number of segments
/// limits only further mappings of the memory.
#[test]
fn segment_limits_do_not_limit_allocations() {
    for setup in [Setup::direct(), Setup::iommu(32)] {
        let limits = Limits {
            max_segment: 64 << 10,
            max_segments: 4,
            ..setup.limits
        };
        let mapper = Setup { limits, ..setup }.mapper();
        let alloc = mapper.alloc_coherent(0, 1 << 20, Attrs::empty()).unwrap();
        let memory = mapper.share(&alloc).unwrap();
        let err = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap_err();
        let reason = err.reason().unwrap();
        assert_eq!(
            (reason.constraint, reason.found),
            (Constraint::SegmentCount, 4)
        );
        mapper.free(memory);
        mapper.free(alloc);
        assert!(mapper.live().is_empty() && mapper.platform().is_clean());
    }
}
