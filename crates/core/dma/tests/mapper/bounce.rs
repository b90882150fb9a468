//! Tests the bounce pool: which memory bounces and where to, which bytes the device sees, and the counters.

use proptest::prelude::*;
use vb3_dma::{
    Attrs, Constraint, Direction, DmaOps, DmaSegment, Error, Mapper, Mapping, PhysAddr, Segment,
    SyncFor,
};
use vb3_dma_test::fake::{DIRT, Fake, PAGE, POOL, Setup, ram, sram};

const BOTH: Direction = Direction::Bidirectional;
const SLOT: u64 = 2048;

fn map(
    mapper: &mut Mapper<Fake>,
    segments: &[Segment],
    direction: Direction,
    attrs: Attrs,
) -> Result<Mapping<Fake>, Error> {
    let memory = mapper.lend(segments).unwrap();
    let mapping = mapper.map(0, &memory, direction, attrs);
    mapper.free(memory);
    mapping
}

fn done(mapper: &Mapper<Fake>) {
    assert!(mapper.live().is_empty(), "{:?}", mapper.live());
    assert!(mapper.platform().is_clean());
}

fn fill(mapper: &mut Mapper<Fake>, segment: Segment, byte: u8) {
    let bytes = vec![byte; segment.len as usize];
    mapper.platform_mut().poke(segment.addr.get(), &bytes);
}

/// Only memory that the device does not reach bounces. Only a mapping that copies or cleans counts as a sync.
#[test]
fn memory_in_reach_is_mapped_where_it_is() {
    let near = Segment::pages(PhysAddr::new(0x1000_0000), 2 * PAGE);
    for (list, direct) in [
        (vec![near], 1),
        (vec![near, ram(0, PAGE)], 1),
        (vec![ram(0, PAGE), near], 1),
        (vec![ram(0, PAGE)], 0),
    ] {
        let mut mapper = Setup::narrow(16 * SLOT).mapper();
        for (attrs, syncs) in [(Attrs::empty(), 1), (Attrs::SKIP_CPU_SYNC, 0)] {
            let before = mapper.counters(0).syncs_for_device;
            let mapping = map(&mut mapper, &list, Direction::ToDevice, attrs).unwrap();
            let in_place = |segment: &&DmaSegment| segment.addr.get() == near.addr.get();
            let found = mapping.segments().iter().filter(in_place).count();
            assert_eq!(found, direct, "{list:?}");
            let synced = mapper.counters(0).syncs_for_device - before;
            let copies = u64::from(list != [near]);
            assert_eq!(synced, syncs * copies, "{list:?} {attrs:?}");
            mapper.unmap(mapping, attrs);
        }
        done(&mapper);
    }
}

/// CVE-2022-48853: if a device fills only part of a slot, the program must not see the slot's older bytes.
#[test]
fn from_device_never_shows_what_another_device_left() {
    for attrs in [Attrs::empty(), Attrs::SKIP_CPU_SYNC] {
        let mut mapper = Setup::narrow(16 * SLOT).mapper();
        let secret = ram(0, 4 * SLOT);
        fill(&mut mapper, secret, 0x5e);
        let first = map(&mut mapper, &[secret], Direction::ToDevice, Attrs::empty()).unwrap();
        mapper.unmap(first, Attrs::empty());
        let mine = ram(8 * PAGE, 4 * SLOT);
        fill(&mut mapper, mine, 0x11);
        let second = map(&mut mapper, &[mine], Direction::FromDevice, attrs).unwrap();
        let at = second.segments()[0].addr;
        let seen = mapper.platform_mut().dev_read(at, mine.len).unwrap();
        assert!(!seen.contains(&0x5e), "the device");
        mapper.platform_mut().dev_write(at, &[0x22; 100]).unwrap();
        mapper
            .sync(&second, Direction::FromDevice, SyncFor::Cpu)
            .unwrap();
        mapper.unmap(second, Attrs::empty());
        let got = mapper.platform_mut().peek(mine.addr.get(), mine.len);
        assert_eq!(got[..100], [0x22; 100]);
        assert!(
            got[100..].iter().all(|&b| b == 0x11),
            "what was there before"
        );
        done(&mapper);
    }
    // Memory that the device only reads, and that the caller has not synced yet, reads as zeroes.
    let mut mapper = Setup::narrow(16 * SLOT).mapper();
    let old = map(&mut mapper, &[ram(0, SLOT)], BOTH, Attrs::empty()).unwrap();
    mapper.unmap(old, Attrs::empty());
    let new = map(
        &mut mapper,
        &[ram(0, SLOT)],
        Direction::ToDevice,
        Attrs::SKIP_CPU_SYNC,
    )
    .unwrap();
    let at = new.segments()[0].addr;
    assert_eq!(
        mapper.platform_mut().dev_read(at, SLOT).unwrap(),
        vec![0; SLOT as usize]
    );
    mapper.unmap(new, Attrs::empty());
    done(&mapper);
}

/// The device must not see a slot before the copy, even if the map fails and the device keeps its view.
#[test]
fn device_sees_no_slot_before_the_copy() {
    let parts = [ram(100, 200), ram(8 * PAGE + 100, 200)];
    let mut in_reach = 0;
    for call in 0.. {
        let mut mapper = Setup::untrusted().mapper();
        let secret = ram(16 * PAGE + 1, 2 * PAGE - 2);
        fill(&mut mapper, secret, 0x5e);
        let old = map(&mut mapper, &[secret], Direction::ToDevice, Attrs::empty()).unwrap();
        mapper.unmap(old, Attrs::empty());
        mapper.platform().fail_unmaps(true);
        mapper.platform().fail(Some(call));
        if map(&mut mapper, &parts, BOTH, Attrs::empty()).is_ok() {
            break;
        }
        for page in mapper.platform().reached() {
            in_reach += 1;
            let seen = mapper.platform().peek(page, PAGE);
            assert!(!seen.contains(&0x5e), "call {call}");
        }
    }
    assert!(in_reach > 0);
}

/// Defect 5 of stock kernels: here, each hand-over to a device renews the bounce copy in each mapping.
#[test]
fn what_the_cpu_wrote_is_seen_after_each_hand_over() {
    let mut mapper = Setup::narrow(64 * SLOT).mapper();
    let memory = ram(0, PAGE);
    let first = map(&mut mapper, &[memory], BOTH, Attrs::empty()).unwrap();
    let second = map(&mut mapper, &[memory], Direction::ToDevice, Attrs::empty()).unwrap();
    for byte in [11, 22, 33] {
        fill(&mut mapper, memory, byte);
        for mapping in [&first, &second] {
            assert!(
                mapper
                    .sync(mapping, Direction::ToDevice, SyncFor::Device)
                    .unwrap()
            );
            let at = mapping.segments()[0].addr;
            let seen = mapper.platform_mut().dev_read(at, PAGE).unwrap();
            assert!(
                seen.iter().all(|&b| b == byte),
                "the device still sees old bytes"
            );
        }
    }
    for mapping in [first, second] {
        assert!(mapper.bounces(&mapping));
        mapper.unmap(mapping, Attrs::empty());
    }
    done(&mapper);
}

/// Defect 9 of stock kernels: here, a mapping records how it was made. An unmap with other attributes ends it
/// in the same way.
#[test]
fn unmap_follows_the_map_not_its_own_attributes() {
    let mut mapper = Setup::untrusted().mapper();
    for (map_attrs, unmap_attrs) in [
        (Attrs::MMIO, Attrs::empty()),
        (Attrs::empty(), Attrs::MMIO | Attrs::REQUIRE_COHERENT),
        (Attrs::SKIP_CPU_SYNC, Attrs::empty()),
    ] {
        let mapping = map(&mut mapper, &[ram(0, 2 * PAGE)], BOTH, map_attrs).unwrap();
        mapper.unmap(mapping, unmap_attrs);
        done(&mapper);
    }
    let memory = ram(0x10, PAGE);
    let mapping = map(&mut mapper, &[memory], BOTH, Attrs::SKIP_CPU_SYNC).unwrap();
    let at = mapping.segments()[0].addr;
    mapper.platform_mut().dev_write(at, &[9; 8]).unwrap();
    mapper.unmap(mapping, Attrs::MMIO);
    assert_eq!(mapper.platform_mut().peek(memory.addr.get(), 8), [9; 8]);
    done(&mapper);
}

/// The bytes around a copy, in its slots or granules, are zero.
#[test]
fn the_rest_of_slots_and_granules_is_zero() {
    let mut mapper = Setup::untrusted().mapper();
    let mapping = map(&mut mapper, &[ram(0x300, 0x200)], BOTH, Attrs::empty()).unwrap();
    let at = mapping.segments()[0].addr;
    assert_eq!(at.get() % PAGE, 0x300, "the offset in the granule is kept");
    let granule = vb3_dma::DmaAddr::new(at.get() - 0x300);
    let seen = mapper.platform_mut().dev_read(granule, PAGE).unwrap();
    assert!(seen[..0x300].iter().chain(&seen[0x500..]).all(|&b| b == 0));
    assert!(
        seen[0x300..0x500].iter().all(|&b| b == DIRT),
        "as the memory is"
    );
    mapper.unmap(mapping, Attrs::empty());
    done(&mapper);
}

#[test]
fn untrusted_device_bounces_ends_without_gaps() {
    let mut mapper = Setup::untrusted().mapper();
    for (offset, len, bounced) in [
        (0, 4 * PAGE, 0),
        (0x100, 4 * PAGE - 0x100, PAGE - 0x100),
        (0, 3 * PAGE + 5, 5),
        (0x100, 4 * PAGE, PAGE),
        (0x100, 0x100, 0x100),
        (0, 0x100, 0x100),
        (0xf00, 0x200, 0x200),
        (0xf00, 0x100 + PAGE, 0x100),
    ] {
        let memory = ram(offset, len);
        let before = mapper.counters(0).bytes_bounced;
        let mapping = map(&mut mapper, &[memory], BOTH, Attrs::ONE_RUN);
        // Memory across a granule's end has a head and a tail. These take two granules of the pool, in one
        // run.
        let mapping = mapping.unwrap();
        assert_eq!(mapping.bounced_bytes(), bounced, "{offset:#x} {len:#x}");
        assert_eq!(mapper.counters(0).bytes_bounced - before, bounced);
        let total: u64 = mapping.segments().iter().map(|s| s.len).sum();
        assert_eq!((total, mapping.segments().len()), (len, 1));
        let at = mapping.segments()[0].addr;
        let bytes: Vec<u8> = (0..len).map(|n| (n % 241) as u8).collect();
        mapper.platform_mut().dev_write(at, &bytes).unwrap();
        mapper.unmap(mapping, Attrs::empty());
        assert_eq!(mapper.platform_mut().peek(memory.addr.get(), len), bytes);
        done(&mapper);
    }
    let err = map(&mut mapper, &[ram(5, PAGE)], BOTH, Attrs::NO_BOUNCE).unwrap_err();
    assert_eq!(err.reason().unwrap().constraint, Constraint::NoBounce);
    let err = map(&mut mapper, &[sram(5, PAGE)], BOTH, Attrs::empty()).unwrap_err();
    assert_eq!(err.errno(), 5, "without pages there is nothing to copy");
    done(&mapper);
}

/// The device gets the address of the copy, so the copy has the alignment that the device needs.
#[test]
fn a_copy_lies_as_the_device_needs_it() {
    let setup = Setup {
        align: PAGE,
        ..Setup::narrow(16 * SLOT)
    };
    let mut mapper = setup.mapper();
    // After this mapping, the next free slot is in the middle of a page.
    let odd = map(&mut mapper, &[ram(0, SLOT)], BOTH, Attrs::empty()).unwrap();
    for offset in [0, 100] {
        let memory = ram(PAGE + offset, SLOT);
        let mapping = map(&mut mapper, &[memory], BOTH, Attrs::empty()).unwrap();
        assert!(mapping.segments()[0].addr.is_aligned(PAGE));
        mapper.unmap(mapping, Attrs::empty());
    }
    mapper.unmap(odd, Attrs::empty());
    done(&mapper);
}

#[test]
fn running_out_says_how_much_was_wanted_and_found() {
    let mut mapper = Setup::narrow(8 * SLOT).mapper();
    let held = map(&mut mapper, &[ram(0, 5 * SLOT)], BOTH, Attrs::empty()).unwrap();
    let err = map(&mut mapper, &[ram(0, 4 * SLOT)], BOTH, Attrs::empty()).unwrap_err();
    let reason = err.reason().unwrap();
    assert_eq!(
        (err.errno(), reason.constraint),
        (5, Constraint::BouncePool)
    );
    assert_eq!((reason.wanted, reason.found), (4 * SLOT, 3 * SLOT));
    mapper.unmap(held, Attrs::empty());
    // CVE-2023-52790: slots past the pool's end are not used.
    let err = map(&mut mapper, &[ram(0, 9 * SLOT)], BOTH, Attrs::empty()).unwrap_err();
    assert_eq!(err.reason().unwrap().found, 8 * SLOT);
    let all = map(&mut mapper, &[ram(0, 8 * SLOT)], BOTH, Attrs::empty()).unwrap();
    assert_eq!(all.segments()[0].addr.get(), POOL);
    mapper.unmap(all, Attrs::empty());
    done(&mapper);
    // In Linux, a set has 128 slots, so a run is at most 256 KiB in any pool.
    let setup = Setup {
        run_bytes: 256 << 10,
        ..Setup::narrow(1 << 20)
    };
    let mut mapper = setup.mapper();
    let err = map(
        &mut mapper,
        &[ram(0, (256 << 10) + 1)],
        BOTH,
        Attrs::empty(),
    )
    .unwrap_err();
    assert_eq!(err.reason().unwrap().found, 256 << 10);
    // Pieces that each fit in a set are accepted.
    let pieces = [ram(0, 200 << 10), ram(1 << 20, 200 << 10)];
    let mapping = map(&mut mapper, &pieces, BOTH, Attrs::empty()).unwrap();
    mapper.unmap(mapping, Attrs::empty());
    done(&mapper);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Mappings never share a slot, and the device's bytes return to the right memory (a class of CVEs).
    #[test]
    fn mappings_never_share_bytes_of_the_pool(
        ops in prop::collection::vec((any::<bool>(), 0u64..PAGE, 1u64..9000, any::<usize>()), 1..60),
        granule in prop::option::of(prop_oneof![Just(PAGE), Just(4 * PAGE), Just(16 * PAGE)]),
        pages in 0u64..20,
    ) {
        let setup = match granule {
            Some(granule) => Setup {
                pool_bytes: 10 * granule,
                pool_base: POOL + pages * PAGE,
                ..Setup::untrusted().granule(granule)
            },
            None => Setup::narrow(40 * SLOT),
        };
        let mut mapper = setup.mapper();
        let mut live: Vec<(Mapping<Fake>, Segment, u8)> = Vec::new();
        // Size and number of the pool's slots, or of its granules (the pool's ends may lie inside a granule).
        let unit = granule.unwrap_or(SLOT);
        let units = granule.map_or(40, |_| 9);
        for (n, (take, offset, len, which)) in ops.into_iter().enumerate() {
            let mark = n as u8;
            if take || live.is_empty() {
                let memory = ram(n as u64 * 8 * PAGE + pages * PAGE + offset, len);
                fill(&mut mapper, memory, mark);
                match map(&mut mapper, &[memory], BOTH, Attrs::empty()) {
                    Ok(mapping) => live.push((mapping, memory, mark)),
                    Err(err) => {
                        prop_assert_eq!(err.reason().unwrap().constraint, Constraint::BouncePool);
                        // The free slots form at most this many gaps, each too short. Each live mapping has
                        // at most two runs, and this mapping may already have got one.
                        let gaps = 2 + 2 * live.len() as u64;
                        let free = u64::saturating_sub(units, mapper.live().bounce_bytes / unit);
                        let wanted = granule.map_or(len.div_ceil(SLOT), |_| 2);
                        prop_assert!(free < 1 + wanted * gaps, "{} free in {} gaps", free, gaps);
                    }
                }
            } else {
                let (mapping, memory, mark) = live.swap_remove(which % live.len());
                mapper.unmap(mapping, Attrs::empty());
                let back = mapper.platform_mut().peek(memory.addr.get(), memory.len);
                prop_assert!(back.iter().all(|&b| b == mark), "another mapping's bytes");
            }
            for (mapping, _, mark) in &live {
                for s in mapping.segments() {
                    let seen = mapper.platform_mut().dev_read(s.addr, s.len).unwrap();
                    prop_assert!(seen.iter().all(|b| b == mark));
                    mapper.platform_mut().dev_write(s.addr, &vec![*mark; s.len as usize]).unwrap();
                }
            }
        }
        live.into_iter().for_each(|(mapping, ..)| mapper.unmap(mapping, Attrs::empty()));
        done(&mapper);
    }
}

#[test]
fn pools_that_are_no_whole_pages_are_refused() {
    for (pool_base, pool_bytes) in [(POOL + 2048, 16 * PAGE), (POOL, 16 * PAGE + 2048)] {
        let setup = Setup {
            pool_bytes,
            pool_base,
            ..Setup::narrow(40 * SLOT)
        };
        assert_eq!(Mapper::new(Fake::new(setup)).err(), Some(Error::Invalid));
    }
}
