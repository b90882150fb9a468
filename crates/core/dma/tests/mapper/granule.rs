//! IOMMUs with pages of the CPU's size or larger, and the memory that devices then see.

use proptest::prelude::*;
use std::collections::BTreeSet;
use vb3_dma::{
    Attrs, BounceMode, Constraint, Direction, DmaOps, Error, Mapper, Mapping, Memory, Platform,
    Reason, Segment, SegmentMode, first_run,
};
use vb3_dma_test::fake::{DIRT, Fake, FakeUser, PAGE, POOL, RAM, Setup, ram, sram};

const BOTH: Direction = Direction::Bidirectional;
const K: u64 = 1 << 10;
const GRANULES: [u64; 3] = [4 * K, 16 * K, 64 * K];

fn trusted(granule: u64) -> Setup {
    Setup::iommu(32).granule(granule)
}

fn with_pool(granule: u64, untrusted: bool) -> Setup {
    Setup {
        untrusted,
        bounce: BounceMode::WhenNeeded,
        pool_bytes: 32 * granule + PAGE,
        // If the IOMMU's pages are larger than the CPU's, the pool starts inside one.
        pool_base: POOL + PAGE,
        ..trusted(granule)
    }
}

fn map(mapper: &mut Mapper<Fake>, list: &[Segment], attrs: Attrs) -> Result<Mapping<Fake>, Error> {
    let memory = mapper.lend(list).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, attrs);
    mapper.free(memory);
    mapping
}

fn done(mapper: &Mapper<Fake>) {
    assert!(mapper.live().is_empty(), "{:?}", mapper.live());
    assert!(mapper.platform().is_clean());
    assert!(mapper.platform().stale_reuse().is_empty());
    assert!(mapper.platform().freed_in_reach().is_empty());
}

fn own_pages(alloc: &Memory<Fake>) -> BTreeSet<u64> {
    let runs = alloc.pages().unwrap().runs.iter();
    runs.flat_map(|&(first, len)| (first..first + len).step_by(PAGE as usize))
        .collect()
}

fn refused(err: Error, granule: u64, found: u64) {
    let reason = Reason {
        constraint: Constraint::IommuGranule,
        wanted: granule,
        found,
    };
    assert_eq!((err.errno(), err.reason()), (5, Some(reason)));
}

fn lens(granule: u64) -> [u64; 9] {
    [
        1,
        PAGE,
        PAGE + 1,
        granule - 1,
        granule,
        granule + 1,
        3 * granule,
        3 * granule + PAGE,
        5 * granule - 5,
    ]
}

#[test]
fn parts_of_granules_without_pages_are_refused() {
    let granule = 64 * K;
    let registers = sram(PAGE, granule);
    for (setup, constraint) in [
        (trusted(granule), Constraint::IommuGranule),
        (with_pool(granule, false), Constraint::IommuGranule),
        (with_pool(granule, true), Constraint::NoBounce),
    ] {
        let mut mapper = setup.mapper();
        let err = map(&mut mapper, &[registers], Attrs::empty()).unwrap_err();
        assert_eq!(err.reason().unwrap().constraint, constraint);
        done(&mapper);
    }
}

#[test]
fn allocations_fill_whole_pieces() {
    type Take = fn(&mut Mapper<Fake>, u64) -> Result<Memory<Fake>, Error>;
    let kinds: [(&str, Take); 4] = [
        ("coherent", |m, len| {
            m.alloc_coherent(0, len, Attrs::empty())
        }),
        ("in one piece", |m, len| {
            m.alloc_coherent(0, len, Attrs::FORCE_CONTIGUOUS)
        }),
        ("noncontiguous", |m, len| {
            m.alloc_noncontiguous(0, len, BOTH, Attrs::empty())
        }),
        ("unmapped at first", |m, len| m.alloc_virtual(len)),
    ];
    for granule in GRANULES {
        for untrusted in [false, true] {
            for (kind, take) in kinds {
                let setup = Setup {
                    untrusted,
                    unmapped_granule: granule,
                    ..trusted(granule)
                };
                let mut mapper = setup.mapper();
                let neighbour = mapper.alloc_virtual(granule).unwrap();
                for len in lens(granule) {
                    let what = format!("{granule:#x} {kind} {len:#x} {untrusted}");
                    let alloc = take(&mut mapper, len).unwrap();
                    let pages = len.next_multiple_of(PAGE);
                    let held = len.next_multiple_of(granule);
                    let taken = mapper.live().page_bytes - granule;
                    assert_eq!((alloc.len_bytes(), taken), (pages, held));
                    let described: u64 = alloc.segments().iter().map(|s| s.len).sum();
                    assert_eq!(described, pages, "{what}");
                    assert!(alloc.segments().iter().all(|s| s.addr.is_aligned(granule)));
                    let own = own_pages(&alloc);
                    assert_eq!(own.len() as u64 * PAGE, held, "{what}");
                    assert_eq!(mapper.live().page_bytes, granule + held);

                    // Another handle of the allocation is mapped as a whole, in one run, with nothing copied.
                    let memory = mapper.share(&alloc).unwrap();
                    assert_eq!(mapper.memory_len(&memory), pages);
                    let attrs = Attrs::ONE_RUN | Attrs::NO_BOUNCE;
                    let mapping = mapper.map(0, &memory, BOTH, attrs).unwrap();
                    let run = first_run(|index| mapper.segment(&mapping, index), u64::MAX);
                    assert_eq!(run.map(|run| run.len), Some(pages), "{what}");
                    assert_eq!(mapper.platform().reached(), own, "{what}");
                    let lent = mapping.segments()[0].addr;
                    mapper.platform_mut().dev_write(lent, b"lent").unwrap();
                    assert_eq!(shown(&mut mapper, &alloc, 4), b"lent");
                    mapper.unmap(mapping, attrs);
                    mapper.free(memory);

                    if let Some(at) = mapper.alloc_dma_addr(&alloc) {
                        assert!(at.is_aligned(granule));
                        let bytes: Vec<u8> = (0..pages).map(|n| (n % 251) as u8).collect();
                        mapper.platform_mut().dev_write(at, &bytes).unwrap();
                        assert_eq!(shown(&mut mapper, &alloc, pages as usize), bytes);
                        assert_eq!(mapper.platform().reached(), own, "{what}");
                        let counters = mapper.counters(0);
                        assert_eq!(counters.allocated_bytes, held, "{what}");
                    }
                    mapper.free(alloc);
                    assert_eq!(mapper.counters(0).allocated_bytes, 0);
                    assert!(mapper.platform().reached().is_empty(), "{what}");
                }
                mapper.free(neighbour);
                done(&mapper);
            }
        }
    }
}

/// Returns the start of an allocation as a program sees it, page by page through its mapping.
fn shown(mapper: &mut Mapper<Fake>, alloc: &Memory<Fake>, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for offset in (0..alloc.len_bytes()).step_by(PAGE as usize) {
        let (at, len) = mapper.mmap(alloc, offset, PAGE).unwrap();
        bytes.extend(mapper.platform_mut().peek(at, len));
    }
    // Bytes beyond the requested length are allocated, but no device or program sees them.
    let end = alloc.len_bytes();
    assert_eq!(mapper.mmap(alloc, end, PAGE).unwrap_err().errno(), 6);
    assert_eq!(mapper.mmap(alloc, 0, end + 1).unwrap_err().errno(), 6);
    bytes.truncate(len);
    bytes
}

#[test]
fn what_is_asked_for_is_bounded_before_it_is_rounded() {
    let mapper = trusted(64 * K).mapper();
    let ram = mapper.platform().ram_bytes();
    for len in [ram + 1, u64::MAX - 64 * K, u64::MAX] {
        let err = mapper.alloc_coherent(0, len, Attrs::empty()).unwrap_err();
        assert_eq!(err.reason().unwrap().constraint, Constraint::SizeLimit);
    }
    for granule in [0, PAGE / 2, 3 * PAGE] {
        let setup = Setup {
            unmapped_granule: granule,
            ..Setup::direct()
        };
        let err = setup.mapper().alloc_virtual(PAGE).unwrap_err();
        assert_eq!(err, Error::Invalid, "{granule:#x}");
    }
    let err = trusted(0)
        .mapper()
        .alloc_coherent(0, PAGE, Attrs::empty())
        .unwrap_err();
    assert_eq!(err, Error::Invalid, "an IOMMU without pages");
}

/// The mapper refuses pieces of the platform that are smaller than requested.
#[test]
fn pieces_that_are_too_small_go_back() {
    for unmapped_granule in [PAGE, 64 * K] {
        let setup = Setup {
            small_pieces: true,
            unmapped_granule,
            ..trusted(64 * K)
        };
        let mapper = setup.mapper();
        let err = mapper.alloc_coherent(0, PAGE, Attrs::empty()).unwrap_err();
        assert_eq!(err, Error::Invalid);
        let plain = mapper.alloc_virtual(PAGE);
        assert_eq!(plain.is_ok(), unmapped_granule == PAGE);
        plain.into_iter().for_each(|alloc| mapper.free(alloc));
        done(&mapper);
    }
}

/// A program's pages are scattered. A granule that contains one of them also contains other memory.
#[test]
fn shared_granules_are_refused_with_the_constraint() {
    for granule in [16 * K, 64 * K] {
        for mode in [SegmentMode::Contiguous, SegmentMode::Compatible] {
            let mut mapper = trusted(granule).mapper();
            mapper.set_segment_mode(0, mode).unwrap();
            let page = ram(3 * PAGE, PAGE);
            for (list, found) in [
                (vec![page], 3 * PAGE),
                (vec![ram(0, PAGE)], PAGE),
                (vec![ram(0, granule), ram(4 * granule, PAGE + 5)], PAGE + 5),
                (vec![ram(granule - 5, granule + 5)], granule - 5),
                (vec![ram(0, granule + 1)], 1),
                (vec![sram(PAGE, granule - PAGE)], PAGE),
            ] {
                let err = map(&mut mapper, &list, Attrs::empty()).unwrap_err();
                refused(err, granule, found);
                assert!(mapper.platform().table().is_empty());
            }
            // A pool does not help a device whose memory never bounces.
            let never = Setup {
                bounce: BounceMode::Never,
                ..with_pool(granule, false)
            };
            let err = map(&mut never.mapper(), &[page], Attrs::empty()).unwrap_err();
            refused(err, granule, 3 * PAGE);
            let memory = mapper
                .pin_user(&FakeUser::default(), 0x1000_3000, PAGE, BOTH)
                .unwrap();
            let err = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap_err();
            refused(err, granule, 3 * PAGE);
            mapper.free(memory);
            // A trusted device may see the rest of the memory's own pages.
            let own = ram(0x123, 2 * granule - 0x123 - 0x456);
            let mapping = map(&mut mapper, &[own], Attrs::ONE_RUN).unwrap();
            assert_eq!(mapping.segments()[0].addr.get() % granule, 0x123);
            assert_eq!(mapping.segments()[0].len, own.len);
            let reached = mapper.platform().reached();
            assert_eq!(reached.len() as u64, 2 * granule / PAGE);
            assert_eq!(reached.first(), Some(&ram(0, 1).addr.get()));
            mapper.unmap(mapping, Attrs::empty());
            done(&mapper);
        }
    }
}

#[test]
fn only_joints_on_granules_make_one_run() {
    for granule in GRANULES {
        let mut mapper = trusted(granule).mapper();
        let list = [
            ram(7, granule - 7),
            ram(8 * granule, 3 * granule),
            ram(4 * granule, 2 * granule),
            ram(20 * granule, granule - 3),
        ];
        let mapping = map(&mut mapper, &list, Attrs::ONE_RUN).unwrap();
        assert_eq!(mapping.segments().len(), 1);
        let mut at = mapping.segments()[0].addr;
        for part in list {
            for n in [0, part.len / 2, part.len - 1] {
                let reached = mapper.platform().reach(at.checked_add(n).unwrap());
                assert_eq!(reached, Some(part.addr.get() + n));
            }
            at = at.checked_add(part.len).unwrap();
        }
        mapper.unmap(mapping, Attrs::empty());
        // The segments have granules of their own, but are not one run: the first one ends inside a granule.
        let odd = [ram(0, granule - 0x10), ram(8 * granule, granule)];
        let err = map(&mut mapper, &odd, Attrs::ONE_RUN).unwrap_err();
        let reason = err.reason().unwrap();
        let constraint = if granule > PAGE {
            Constraint::IommuGranule
        } else {
            Constraint::Alignment
        };
        assert_eq!((err.errno(), reason.constraint), (5, constraint));
        assert_eq!((reason.wanted, reason.found), (granule, granule - 0x10));
        // If gaps are allowed, each segment has separate granules.
        for mode in [SegmentMode::Contiguous, SegmentMode::Compatible] {
            mapper.set_segment_mode(0, mode).unwrap();
            let mapping = map(&mut mapper, &odd, Attrs::empty()).unwrap();
            let [first, second] = *mapping.segments() else {
                panic!("two segments");
            };
            assert_eq!(second.addr.get() - first.addr.get(), granule);
            mapper.unmap(mapping, Attrs::empty());
        }
        done(&mapper);
    }
}

/// Pages that do not fill a granule become one run, because they are copied together.
#[test]
fn scattered_pages_become_one_run_in_the_pool() {
    for untrusted in [false, true] {
        let mut mapper = with_pool(64 * K, untrusted).mapper();
        let list: Vec<Segment> = (0..9).map(|n| ram((40 - 2 * n) * PAGE, PAGE)).collect();
        for (n, segment) in list.iter().enumerate() {
            let bytes = [n as u8; PAGE as usize];
            mapper.platform_mut().poke(segment.addr.get(), &bytes);
        }
        let mapping = map(&mut mapper, &list, Attrs::ONE_RUN).unwrap();
        assert_eq!(mapping.bounced_bytes(), 9 * PAGE);
        let [run] = *mapping.segments() else {
            panic!("one run");
        };
        let seen = mapper.platform_mut().dev_read(run.addr, run.len).unwrap();
        let expected: Vec<u8> = (0..9u8).flat_map(|n| [n; PAGE as usize]).collect();
        assert_eq!(seen, expected);
        let written: Vec<u8> = (0..run.len).map(|n| (n % 253) as u8).collect();
        mapper.platform_mut().dev_write(run.addr, &written).unwrap();
        let of = |m: &mut Mapper<Fake>, n: usize| m.platform_mut().peek(list[n].addr.get(), PAGE);
        mapper.unmap(mapping, Attrs::empty());
        for n in 0..9 {
            let from = n * PAGE as usize;
            assert_eq!(of(&mut mapper, n), written[from..from + PAGE as usize]);
        }
        let err = map(&mut mapper, &list, Attrs::NO_BOUNCE).unwrap_err();
        let reason = err.reason().unwrap();
        assert_eq!((err.errno(), reason.constraint), (5, Constraint::NoBounce));
        assert_eq!(reason.wanted, 9 * PAGE);
        // Memory without pages cannot be copied.
        let err = map(&mut mapper, &[sram(0, PAGE)], Attrs::empty()).unwrap_err();
        assert_eq!(err.errno(), 5);
        done(&mapper);
    }
    // The pages together are longer than a run of slots may be, so each gets a run of its own.
    let setup = Setup {
        run_bytes: 2 * PAGE,
        ..with_pool(64 * K, false)
    };
    let mut mapper = setup.mapper();
    let list = [ram(0, PAGE), ram(64 * K, PAGE), ram(128 * K, PAGE)];
    let mapping = map(&mut mapper, &list, Attrs::empty()).unwrap();
    assert_eq!(mapping.segments().len(), 3);
    mapper.unmap(mapping, Attrs::empty());
    done(&mapper);
}

/// A program's scattered pages, which begin at an offset, do not take one granule each.
#[test]
fn pages_that_always_bounce_become_one_run() {
    for (granule, untrusted) in GRANULES.map(|g| [(g, false), (g, true)]).concat() {
        let setup = Setup {
            bounce: BounceMode::Always,
            pool_bytes: 2 << 20,
            ..with_pool(granule, untrusted)
        };
        let mut mapper = setup.mapper();
        let (offset, count) = (0x321, 256);
        let mut list: Vec<Segment> = (0..count).map(|n| ram(2 * n * PAGE, PAGE)).collect();
        list[0] = ram(offset, PAGE - offset);
        let len = count * PAGE - offset;
        let mapping = map(&mut mapper, &list, Attrs::ONE_RUN).unwrap();
        let [run] = *mapping.segments() else {
            panic!("one run");
        };
        assert_eq!((mapping.bounced_bytes(), run.len), (len, len));
        let bytes: Vec<u8> = (0..len).map(|n| (n % 253) as u8).collect();
        mapper.platform_mut().dev_write(run.addr, &bytes).unwrap();
        mapper.unmap(mapping, Attrs::empty());
        let mut copied = bytes.as_slice();
        for part in list {
            let (expected, rest) = copied.split_at(part.len as usize);
            let seen = mapper.platform_mut().peek(part.addr.get(), part.len);
            assert_eq!(seen, expected, "{granule:#x} {untrusted}");
            copied = rest;
        }
        done(&mapper);
    }
}

/// Returns whether the device may see all bytes around the segment in its granules. By definition,
/// these must lie in pages that the segment touches; for an untrusted device, no such byte may
/// exist.
fn is_whole(segment: Segment, granule: u64, unit: u64) -> bool {
    let (first, end) = (segment.addr.get(), segment.addr.get() + segment.len);
    let around = (first / granule * granule)..end.next_multiple_of(granule);
    let touched = (first / unit * unit)..end.next_multiple_of(unit);
    around.start >= touched.start && around.end <= touched.end
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    /// With any lists, the device sees its memory byte by byte, and reaches no page of another owner.
    #[test]
    fn devices_see_their_memory_and_never_a_neighbours(
        bits in prop_oneof![Just(12u32), Just(14), Just(16)],
        untrusted in any::<bool>(),
        pool in any::<bool>(),
        compatible in any::<bool>(),
        one_run in any::<bool>(),
        lists in prop::collection::vec(
            prop::collection::vec((0u64..20, 0u64..3, 1u64..200 * K, any::<bool>()), 1..5),
            1..4,
        ),
    ) {
        let granule = 1u64 << bits;
        let setup = match pool {
            true => Setup { pool_bytes: 4 << 20, ..with_pool(granule, untrusted) },
            false => Setup { untrusted, ..trusted(granule) },
        };
        let mut mapper = setup.mapper();
        let mode = if compatible { SegmentMode::Compatible } else { SegmentMode::Contiguous };
        mapper.set_segment_mode(0, mode).unwrap();
        let attrs = if one_run { Attrs::ONE_RUN } else { Attrs::empty() };
        let unit = if untrusted { 1 } else { PAGE };
        let mut live = Vec::new();
        let mut next = 0u64;
        for (which, list) in lists.into_iter().enumerate() {
            let mark = which as u8 + 1;
            let segments: Vec<Segment> = list.into_iter().map(|(page, odd, len, whole)| {
                let offset = if whole { 0 } else { page * PAGE + odd * 0x123 };
                let len = if whole { len.next_multiple_of(granule) } else { len };
                next = (next + 2 * PAGE).next_multiple_of(granule);
                let segment = ram(next + offset, len);
                next += offset + len;
                segment
            }).collect();
            for s in &segments {
                mapper.platform_mut().poke(s.addr.get(), &vec![mark; s.len as usize]);
            }
            let joined = segments.iter().all(|&s| is_whole(s, granule, unit));
            let result = map(&mut mapper, &segments, attrs);
            match result {
                Ok(mapping) => {
                    prop_assert!(joined || pool);
                    prop_assert_eq!(mapping.bounced_bytes() == 0, joined);
                    live.push((mapping, segments, mark));
                }
                Err(err) => {
                    let reason = err.reason().unwrap().constraint;
                    let own = [Constraint::IommuGranule, Constraint::Alignment];
                    let missing = untrusted && reason == Constraint::BouncePool;
                    prop_assert!(own.contains(&reason) || missing && !pool, "{}", err);
                    prop_assert!(reason != Constraint::IommuGranule || granule > PAGE);
                    prop_assert!(one_run || (!pool && !joined), "{}", err);
                }
            }
            let fake = mapper.platform();
            for page in fake.reached() {
                let pool_end = POOL + PAGE + (4 << 20);
                let lent = live.iter().flat_map(|(_, segments, _)| segments).any(|s| {
                    let (first, end) = (s.addr.get(), s.addr.get() + s.len);
                    if untrusted {
                        first <= page && page + PAGE <= end
                    } else {
                        first < page + PAGE && page < end
                    }
                });
                prop_assert!(lent || (POOL..pool_end).contains(&page), "{page:#x}");
            }
            // In the pool, devices see copies of their own memory, and zeroes around the copies.
            let reached: Vec<u64> = fake.reached().into_iter().filter(|&p| p < RAM).collect();
            for page in reached {
                let bytes = mapper.platform_mut().peek(page, PAGE);
                prop_assert!(bytes.iter().all(|&b| b <= mark), "somebody's bytes");
            }
        }
        for (mapping, segments, mark) in live {
            for s in mapping.segments().to_vec() {
                let seen = mapper.platform_mut().dev_read(s.addr, s.len).unwrap();
                prop_assert!(seen.iter().all(|&b| b == mark));
                let bytes = vec![mark | 0x40; s.len as usize];
                mapper.platform_mut().dev_write(s.addr, &bytes).unwrap();
            }
            mapper.unmap(mapping, Attrs::empty());
            for s in segments {
                let (at, len) = (s.addr.get(), s.len);
                let bytes = mapper.platform_mut().peek(at, len);
                prop_assert!(bytes.iter().all(|&b| b == mark | 0x40));
                for beside in [at - 1, at + len] {
                    prop_assert_eq!(mapper.platform_mut().peek(beside, 1), vec![DIRT]);
                }
            }
        }
        done(&mapper);
    }
}

/// A mapping of whole pages shows no other bytes, so an untrusted device may join the group while it exists.
#[test]
fn whole_pages_leave_a_group_open_to_the_untrusted() {
    let setup = Setup {
        devices: 2,
        grouped: vec![1],
        trusted: vec![0],
        ..Setup::untrusted()
    };
    for (len, joins) in [(PAGE, true), (100, false)] {
        let mapper = setup.clone().mapper();
        let memory = mapper.lend(&[ram(0, len)]).unwrap();
        let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
        let page = mapper.alloc_virtual(PAGE).unwrap();
        let joined = mapper.map(1, &page, BOTH, Attrs::empty());
        assert_eq!(joined.is_ok(), joins, "{len}: {:?}", joined.as_ref().err());
        if let Ok(joined) = joined {
            mapper.unmap(joined, Attrs::empty());
        }
        mapper.unmap(mapping, Attrs::empty());
        mapper.free(page);
        mapper.free(memory);
    }
}

/// A device may need addresses that are aligned to more than its IOMMU's pages.
#[test]
fn one_page_gets_the_devices_alignment_or_none() {
    let setup = Setup {
        align: 16 * PAGE,
        ..Setup::iommu(32)
    };
    let mapper = setup.mapper();
    let memory = mapper.lend(&[ram(3 * PAGE, PAGE)]).unwrap();
    let maps: Vec<_> = (0..3)
        .map(|_| mapper.map(0, &memory, BOTH, Attrs::empty()))
        .collect();
    for mapping in maps {
        match mapping {
            Ok(mapping) => {
                assert!(mapping.segments()[0].addr.is_aligned(16 * PAGE));
                mapper.unmap(mapping, Attrs::empty());
            }
            Err(err) => assert_eq!(
                err.reason().map(|reason| reason.constraint),
                Some(Constraint::Alignment)
            ),
        }
    }
    mapper.free(memory);
}
