//! Lets every call of the platform fail in every operation: the state after the failure is the state before.
//! Also tests that this layer lacks some numbered defects of stock kernels, and some classes of CVEs.

use std::cell::Cell;
use vb3_dma::{
    Attrs, Caching, Constraint, DeviceInfo, Direction, DmaAddr, DmaOps as _, Error, FlushPolicy,
    Limits, Live, Mapper, PageRequest, PhysAddr, Platform, Prot, Segment, SegmentMode, SyncFor,
};
use vb3_dma_test::fake::{Fake, FakeUser, PAGE, Setup, ram, sram};

const BOTH: Direction = Direction::Bidirectional;

/// The observable state of the layer and the machine.
#[derive(Debug, PartialEq)]
struct State {
    live: Live,
    pages: u64,
    vmaps: u64,
    pins: u64,
    table: usize,
}

fn state(mapper: &Mapper<Fake>) -> State {
    let fake = mapper.platform();
    State {
        live: mapper.live(),
        pages: fake.pages_out(),
        vmaps: fake.vmaps_and_pins().0,
        pins: fake.vmaps_and_pins().1,
        table: fake.table().len(),
    }
}

type Step = fn(&mut Mapper<Fake>) -> Result<(), Error>;

fn mapped(mapper: &mut Mapper<Fake>, list: &[Segment], attrs: Attrs) -> Result<(), Error> {
    let memory = mapper.lend(list)?;
    let mapping = mapper.map(0, &memory, BOTH, attrs);
    mapper.free(memory);
    let mapping = mapping?;
    let synced = mapper.sync(&mapping, BOTH, SyncFor::Cpu);
    mapper.unmap(mapping, attrs);
    synced.map(drop)
}

/// A granule that is larger than a page.
const BIG: u64 = 16 * PAGE;

fn large(setup: Setup) -> Setup {
    Setup {
        iommu: Setup::iommu(24).granule(BIG).iommu,
        pool_bytes: 4 * setup.pool_bytes,
        unmapped_granule: BIG,
        ..setup
    }
}

const OPERATIONS: [(&str, Step); 14] = [
    ("map", |m| {
        mapped(m, &[ram(0, 3 * PAGE), ram(9 * PAGE, PAGE)], Attrs::empty())
    }),
    ("map one run", |m| {
        let list: Vec<Segment> = (0..5).map(|n| ram(n * 2 * PAGE, PAGE)).collect();
        mapped(m, &list, Attrs::empty())
    }),
    ("map odd ends", |m| {
        mapped(m, &[ram(0x123, 5 * PAGE), ram(1 << 20, 77)], Attrs::empty())
    }),
    ("map without pages", |m| {
        mapped(m, &[sram(0, 2 * PAGE)], Attrs::MMIO)
    }),
    ("coherent", |m| {
        let alloc = m.alloc_coherent(0, 3 * PAGE, Attrs::empty())?;
        m.free(alloc);
        Ok(())
    }),
    ("coherent, contiguous", |m| {
        let alloc = m.alloc_coherent(0, 3 * PAGE, Attrs::FORCE_CONTIGUOUS)?;
        m.free(alloc);
        Ok(())
    }),
    ("noncontiguous", |m| {
        let alloc = m.alloc_noncontiguous(0, 4 * PAGE, BOTH, Attrs::empty())?;
        let vmap = m.vmap(&alloc).map(|vmap| m.vunmap(vmap));
        let shown = m.mmap(&alloc, 0, PAGE);
        m.free(alloc);
        vmap.and(shown.map(|_| ()))
    }),
    ("pin", |m| {
        let memory = m.pin_user(&FakeUser::default(), 0x1000_0321, 2 * PAGE, BOTH)?;
        let mapping = m.map(0, &memory, BOTH, Attrs::empty());
        let result = mapping.map(|mapping| m.unmap(mapping, Attrs::empty()));
        m.free(memory);
        result
    }),
    ("own memory", |m| {
        m.declare_coherent(0, sram(0, 4 * PAGE), DmaAddr::new(0x2000_0000))?;
        let alloc = m.alloc_coherent(0, 3 * PAGE, Attrs::empty());
        let result = alloc.and_then(|alloc| {
            let shown = m.mmap(&alloc, 0, PAGE);
            m.free(alloc);
            shown
        });
        m.remove_device(0)?;
        result.map(|_| ())
    }),
    ("coherent", |m| {
        m.device(0)?.alloc_coherent(2 * PAGE)?.write(0, &[1])
    }),
    ("large pieces", |m| {
        mapped(m, &[ram(0, 2 * BIG), ram(8 * BIG, BIG)], Attrs::ONE_RUN)
    }),
    ("lent", |m| {
        let alloc = m.alloc_coherent(0, BIG + PAGE, Attrs::empty())?;
        let memory = match m.share(&alloc) {
            Ok(memory) => memory,
            Err(err) => {
                m.free(alloc);
                return Err(err);
            }
        };
        let mapping = m.map(0, &memory, BOTH, Attrs::empty());
        let result = mapping.map(|mapping| m.unmap(mapping, Attrs::empty()));
        m.free(memory);
        m.free(alloc);
        result
    }),
    ("pages together", |m| {
        let list: Vec<Segment> = (0..5).map(|n| ram((9 - n) * 2 * PAGE, PAGE)).collect();
        mapped(m, &list, Attrs::ONE_RUN)
    }),
    ("virtual", |m| {
        let alloc = m.alloc_virtual(2 * PAGE)?;
        m.free(alloc);
        Ok(())
    }),
];

#[test]
fn a_fault_at_any_call_leaves_the_state_as_it_was() {
    let setups = [
        ("direct", Setup::direct()),
        ("iommu", Setup::iommu(20)),
        (
            "narrow",
            Setup {
                iommu: None,
                ..Setup::narrow(64 * PAGE)
            },
        ),
        (
            "untrusted",
            Setup {
                iommu: Setup::iommu(20).iommu,
                ..Setup::untrusted()
            },
        ),
        ("large", large(Setup::direct())),
        (
            "large, copying",
            large(Setup {
                untrusted: false,
                ..Setup::untrusted()
            }),
        ),
        ("large, untrusted", large(Setup::untrusted())),
    ];
    let mut faults = 0;
    for (name, setup) in setups {
        for mode in [SegmentMode::Contiguous, SegmentMode::Compatible] {
            for (what, step) in OPERATIONS {
                let mut mapper = setup.clone().mapper();
                mapper.set_segment_mode(0, mode).unwrap();
                // The operations must not change this older allocation.
                let kept = mapper.alloc_virtual(PAGE).unwrap();
                let before = state(&mapper);
                let whole = step(&mut mapper);
                assert_eq!(state(&mapper), before, "{name}: {what}");
                for n in 0.. {
                    assert!(n < 1000, "it ends");
                    mapper.platform_mut().fail(Some(n));
                    let result = step(&mut mapper);
                    let hits = mapper.platform().calls_and_failures().1;
                    mapper.platform_mut().fail(None);
                    assert_eq!(state(&mapper), before, "{name}: {what}, call {n}");
                    if hits == 0 {
                        let same = result.map_err(Error::errno) == whole.map_err(Error::errno);
                        assert!(same, "{name}: {what}: works as before");
                        break;
                    }
                    faults += 1;
                    if let Err(err) = result.and(whole) {
                        let reason = err.reason().map(|r| r.constraint);
                        let told = reason == Some(Constraint::InjectedFault) || whole.is_err();
                        assert!(told, "{name}: {what}, call {n}: {err}");
                    }
                }
                mapper.free(kept);
                assert!(mapper.platform().stale_reuse().is_empty());
                assert!(mapper.platform().freed_in_reach().is_empty());
                assert!(mapper.live().is_empty() && mapper.platform().is_clean());
            }
        }
    }
    assert!(faults > 600, "{faults} faults");
}

/// A hung IOMMU fails the call that maps, and then the call that removes the part already mapped. The memory
/// stays out of use.
#[test]
fn a_hung_iommu_gets_no_page_freed_in_its_reach() {
    let setups = [Setup::iommu(20), Setup::untrusted(), large(Setup::direct())];
    let mut quarantined = 0;
    for (setup, (what, step)) in setups.iter().flat_map(|s| OPERATIONS.map(|o| (s, o))) {
        for n in 0.. {
            let mut mapper = setup.clone().mapper();
            mapper.platform().fail_unmaps(true);
            mapper.platform().fail(Some(n));
            let _ = step(&mut mapper);
            let hits = mapper.platform().calls_and_failures().1;
            mapper.platform().fail(None);
            mapper.platform().fail_unmaps(false);
            let freed = mapper.platform().freed_in_reach();
            assert!(freed.is_empty(), "{what}, call {n}: {freed:x?}");
            quarantined += u64::from(mapper.live().quarantined_bytes > 0);
            if hits == 0 {
                break;
            }
        }
    }
    assert!(quarantined > 50, "{quarantined}");
}

/// After any number of failures, all addresses can still be assigned, also with lazy flushing (defect N4).
#[test]
fn failures_never_wear_the_address_space_out() {
    for policy in [FlushPolicy::Strict, FlushPolicy::Lazy] {
        let mut mapper = Setup::iommu(17).mapper();
        mapper.set_flush_policy(0, policy).unwrap();
        for round in 0..300u64 {
            mapper.platform_mut().fail(Some(round % 7));
            let list: Vec<Segment> = (0..6).map(|n| ram(n * 2 * PAGE, PAGE)).collect();
            let _ = mapped(&mut mapper, &list, Attrs::empty());
        }
        mapper.platform_mut().fail(None);
        mapped(&mut mapper, &[ram(0, 31 * PAGE)], Attrs::empty()).unwrap();
        mapper.flush_lazy(0).unwrap();
        assert!(mapper.live().is_empty());
        assert!(mapper.platform().stale_reuse().is_empty());
    }
}

/// Defect 4: padding up to a boundary exposed the memory behind a segment to the device.
#[test]
fn padding_shows_the_device_nothing() {
    for mode in [SegmentMode::Compatible, SegmentMode::Contiguous] {
        let mut setup = Setup::iommu(32);
        setup.limits.boundary = 0xffff;
        let mapper = setup.mapper();
        mapper.set_segment_mode(0, mode).unwrap();
        let list = [ram(0, 4 * PAGE), ram(1 << 20, 16 * PAGE)];
        let memory = mapper.lend(&list).unwrap();
        let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
        let first = mapping.segments()[0];
        let behind = first.addr.checked_add(4 * PAGE).unwrap();
        let expected = match mode {
            SegmentMode::Compatible => None,
            SegmentMode::Contiguous => Some(list[1].addr.get()),
        };
        assert_eq!(mapper.platform().reach(behind), expected, "{mode:?}");
        assert_eq!(mapper.platform().table().len(), 20, "no page more");
        mapper.unmap(mapping, Attrs::empty());
        mapper.free(memory);
    }
}

/// Defect 14: a map succeeded without mapping anything. Defect 21: an unmap of memory that was never mapped.
#[test]
fn failed_maps_leave_nothing_mapped() {
    let mapper = Setup::direct().mapper();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let unknown = mapper.map(7, &memory, BOTH, Attrs::empty());
    assert_eq!(unknown.err(), Some(Error::Invalid), "no such device");
    mapper.free(memory);
    assert_eq!(mapper.lend(&[]).err(), Some(Error::Invalid));
    assert!(mapper.live().is_empty());

    let mut mapper = Setup::iommu(32).mapper();
    mapper.platform_mut().fail(Some(1));
    let list = [ram(0, PAGE), ram(9 * PAGE, PAGE)];
    assert!(mapped(&mut mapper, &list, Attrs::empty()).is_err());
    // The platform asserts that only whole, mapped granules are unmapped.
    assert!(mapper.platform().is_clean());
}

/// Defect N5, and a class of CVEs: sizes from outside are refused before any call of the platform.
#[test]
fn oversized_requests_are_refused_at_once() {
    for setup in [Setup::direct(), Setup::iommu(32)] {
        let mapper = setup.mapper();
        for len in [u64::MAX, 1 << 62, 0xffff_f000, (1 << 30) + 1] {
            let before = mapper.platform().calls_and_failures().0;
            let errors = [
                mapper.alloc_coherent(0, len, Attrs::empty()).err(),
                mapper
                    .alloc_noncontiguous(0, len, BOTH, Attrs::empty())
                    .err(),
                mapper.alloc_virtual(len).err(),
            ];
            for err in errors {
                let reason = err.and_then(Error::reason).unwrap();
                assert_eq!(reason.constraint, Constraint::SizeLimit);
                assert_eq!((reason.wanted, reason.found), (len, 1 << 30));
            }
            assert_eq!(mapper.platform().calls_and_failures().0, before, "{len:#x}");
        }
        assert_eq!(mapper.alloc_virtual(0).err(), Some(Error::Invalid));
        for segment in [
            Segment {
                len: 0,
                ..ram(0, 1)
            },
            Segment {
                len: u64::MAX,
                ..ram(0, 1)
            },
            Segment {
                addr: PhysAddr::new(u64::MAX),
                ..ram(0, 2)
            },
        ] {
            assert_eq!(mapper.lend(&[segment]).err(), Some(Error::Invalid));
        }
        assert!(mapper.live().is_empty());
    }
}

/// The last byte of the address space can be mapped like any other.
#[test]
fn memory_at_the_end_of_the_address_space_maps() {
    let last = Segment {
        addr: PhysAddr::new(u64::MAX - PAGE + 1),
        len: PAGE,
        kind: vb3_dma::SegmentKind::Physical,
    };
    let mapper = Setup::direct().mapper();
    let memory = mapper.lend(&[last]).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::ONE_RUN).unwrap();
    assert_eq!(mapping.segments()[0].addr.get(), u64::MAX - PAGE + 1);
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(memory);
}

/// A class of CVEs: here, an allocation of any kind is zero for the device and the program.
#[test]
fn every_allocation_is_zeroed() {
    for setup in [Setup::direct(), Setup::iommu(32)] {
        let mut mapper = setup.mapper();
        for _ in 0..3 {
            let all = [
                mapper.alloc_coherent(0, 2 * PAGE, Attrs::empty()).unwrap(),
                mapper
                    .alloc_coherent(0, 2 * PAGE, Attrs::NO_KERNEL_MAPPING)
                    .unwrap(),
                mapper
                    .alloc_noncontiguous(0, 2 * PAGE, BOTH, Attrs::empty())
                    .unwrap(),
            ];
            for alloc in all {
                let at = mapper.alloc_dma_addr(&alloc).unwrap();
                let seen = mapper.platform_mut().dev_read(at, 2 * PAGE).unwrap();
                assert!(seen.iter().all(|&b| b == 0));
                mapper.platform_mut().dev_write(at, &[0x77; 4096]).unwrap();
                mapper.free(alloc);
            }
        }
    }
}

#[test]
fn reserved_addresses_are_never_mapped() {
    let setup = Setup {
        reserved: vec![(0xfee0_0000, 0xfeef_ffff), (0xf000_0000, 0xffff_ffff)],
        ..Setup::iommu(32)
    };
    let mapper = setup.mapper();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    assert_eq!(mapping.segments()[0].addr.get(), 0xefff_f000);
    mapper.unmap(mapping, Attrs::empty());
    mapper.free(memory);
    let setup = Setup {
        reserved: (1..66).map(|n| (n << 20, (n << 20) + 1)).collect(),
        ..Setup::iommu(48)
    };
    let mapper = setup.mapper();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let err = mapper.map(0, &memory, BOTH, Attrs::empty()).err();
    assert_eq!(err, Some(Error::Invalid), "bounded");
    mapper.free(memory);
}

/// If a host places another number of pages than it promised, the call fails. The allocation then has no
/// place, so no map can show the old one to a device.
#[test]
fn wrongly_placed_pages_lie_nowhere() {
    for setup in [Setup::iommu(32), Setup::direct()] {
        for (promised, placed) in [(4 * PAGE, 2 * PAGE), (2 * PAGE, 4 * PAGE), (PAGE, PAGE)] {
            place_wrongly(&setup.clone().mapper(), promised, placed);
        }
    }
}

fn place_wrongly(mapper: &Mapper<Fake>, promised: u64, placed: u64) {
    let pages = mapper.platform().alloc_pages(PageRequest {
        len: placed,
        granule: PAGE,
        contiguous: false,
        max_addr: PhysAddr::new(u64::MAX),
        caching: Caching::Cached,
        device: None,
    });
    let before = mapper.live();
    let alloc = mapper.adopt_unplaced(pages.unwrap(), promised, Caching::Cached);
    let mut alloc = alloc.unwrap();
    let told = mapper.place_pages(&mut alloc, Caching::Cached, |_, _| Ok(7));
    let is_right = promised == placed;
    let (wanted, runs) = if is_right {
        (Ok(7), 1)
    } else {
        (Err(Error::Invalid), 0)
    };
    assert_eq!(told, wanted, "{promised}, {placed}");
    assert_eq!(alloc.segments().len(), runs);
    let memory = mapper.share(&alloc).unwrap();
    let mapped = mapper.map(0, &memory, BOTH, Attrs::empty());
    assert_eq!(mapped.is_ok(), is_right, "{promised}, {placed}");
    assert_eq!(mapper.vmap(&alloc).is_ok(), is_right);
    mapper.free(memory);
    if !is_right {
        mapper.free(alloc);
        assert_eq!(mapper.live(), before);
    }
}

/// A host whose pages have runs without end, or whose pieces have a wrong size.
#[derive(Default)]
struct Endless {
    asked: Cell<usize>,
    freed: Cell<usize>,
    granule: u64,
    /// If not zero: there are two runs, of two pages in total, which begin this far inside a page.
    inside: u64,
}

impl Platform for Endless {
    type Device = u8;
    type Pages = ();

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn unmapped_granule(&self) -> u64 {
        self.granule
    }
    fn ram_bytes(&self) -> u64 {
        64 * PAGE
    }
    fn device_info(&self, _: u8) -> Option<DeviceInfo> {
        Some(DeviceInfo::new(Limits::default()))
    }
    fn alloc_pages(&self, _: PageRequest<u8>) -> Result<(), Error> {
        Ok(())
    }
    fn free_pages(&self, (): ()) {
        self.freed.set(self.freed.get() + 1);
    }
    fn pages_segment(&self, (): &(), index: usize) -> Option<Segment> {
        self.asked.set(self.asked.get() + 1);
        assert!(self.asked.get() < 1000, "asked without end");
        let at = PhysAddr::new(2 * PAGE * index as u64 + self.inside);
        let len = match (self.inside, index) {
            (0, _) => PAGE,
            (inside, 0) => PAGE + inside,
            (inside, 1) => PAGE - inside,
            _ => return None,
        };
        Some(Segment::pages(at, len))
    }

    vb3_dma::without!(caches, iommu, bounce, users, views);
}

#[test]
fn a_host_does_nothing_that_it_does_not_define() {
    let host = Endless::default();
    let at = PhysAddr::new(0);
    let iova = DmaAddr::new(0);
    let done = [
        host.iommu_map(0, iova, at, PAGE, Prot::READ),
        host.iommu_unmap(0, iova, PAGE),
        host.bounce_in(at, at, PAGE),
        host.bounce_out(at, at, PAGE),
        host.vmap_read(&(), 0, &mut []),
        host.vmap_write(&(), 0, &[]),
    ];
    assert_eq!(done, [Err(Error::Unsupported); 6]);
}

#[test]
fn runs_without_end_are_refused() {
    let mapper = Mapper::new(Endless {
        granule: PAGE,
        ..Endless::default()
    });
    let mapper = mapper.unwrap();
    let refused = [
        mapper.alloc_coherent(0, 4 * PAGE, Attrs::empty()).err(),
        mapper.alloc_virtual(4 * PAGE).err(),
        mapper.adopt(()).err(),
    ];
    assert_eq!(refused, [Some(Error::Invalid); 3]);
    assert_eq!(mapper.platform().freed.get(), 3);
    let mut alloc = mapper
        .adopt_unplaced((), 4 * PAGE, Caching::Cached)
        .unwrap();
    let told = mapper.place_pages(&mut alloc, Caching::Cached, |_, ()| Ok(()));
    assert_eq!(told, Err(Error::Invalid));
    mapper.free(alloc);
    assert_eq!(mapper.platform().freed.get(), 4);
}

/// Adopted memory may begin inside a page. It cannot be placed again.
#[test]
fn adopted_parts_of_pages_are_not_placed() {
    let mapper = Mapper::new(Endless {
        granule: PAGE,
        inside: PAGE / 2,
        ..Endless::default()
    });
    let mapper = mapper.unwrap();
    let mut alloc = mapper.adopt(()).unwrap();
    let told = mapper.place_pages(&mut alloc, Caching::Cached, |_, ()| Ok(()));
    assert_eq!(told, Err(Error::Invalid));
    mapper.free(alloc);
}

#[test]
fn runs_that_begin_inside_a_page_are_refused() {
    for inside in [PAGE / 2, PAGE / 2 + 1] {
        let mapper = Mapper::new(Endless {
            granule: PAGE,
            inside,
            ..Endless::default()
        });
        let mapper = mapper.unwrap();
        let err = mapper.alloc_virtual(2 * PAGE).err();
        assert_eq!(err, Some(Error::Invalid));
        assert_eq!(mapper.platform().freed.get(), 1);
    }
}

#[test]
fn hosts_with_a_wrong_granule_are_refused() {
    for granule in [0, PAGE / 2, PAGE + 1] {
        let mapper = Mapper::new(Endless {
            granule,
            ..Endless::default()
        });
        let mapper = mapper.unwrap();
        let err = mapper.adopt_unplaced((), PAGE, Caching::Cached).err();
        assert_eq!(err, Some(Error::Invalid), "{granule}");
        assert_eq!(mapper.alloc_virtual(PAGE).err(), Some(Error::Invalid));
        assert_eq!(mapper.platform().freed.get(), 1);
    }
}

#[test]
fn an_errno_of_the_host_never_looks_like_success() {
    for errno in [1, 4, 4095] {
        assert_eq!(Error::Pin { errno }.errno(), errno);
    }
    for errno in [0, -4, i32::MIN, 4096] {
        assert_eq!(Error::Pin { errno }.errno(), 14);
    }
}
