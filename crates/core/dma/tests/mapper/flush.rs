//! No address is assigned again while a device may still use its old translation.

use proptest::prelude::*;
use vb3_dma::{
    Attrs, Coherency, Constraint, Direction, DmaOps, FlushPolicy, Mapper, Mapping, Memory,
};
use vb3_dma_test::fake::{Fake, FakeUser, PAGE, Setup, ram};

const BOTH: Direction = Direction::Bidirectional;

fn lend(mapper: &mut Mapper<Fake>, page: u64, pages: u64) -> Memory<Fake> {
    mapper.lend(&[ram(page * PAGE, pages * PAGE)]).unwrap()
}

fn map(mapper: &mut Mapper<Fake>, pages: u64) -> Mapping<Fake> {
    let memory = lend(mapper, 0, pages);
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    mapper.free(memory);
    mapping
}

#[test]
fn strict_ends_the_devices_reach_at_once() {
    let mut mapper = Setup::iommu(32).mapper();
    let mapping = map(&mut mapper, 3);
    let at = mapping.segments()[0].addr;
    assert!(mapper.platform().reach(at).is_some());
    mapper.unmap(mapping, Attrs::empty());
    assert_eq!(mapper.platform().reach(at), None);
    assert_eq!(mapper.live().iova_bytes, 0);
}

#[test]
fn lazy_flush_batches_and_holds_addresses() {
    let mut mapper = Setup::iommu(32).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let memory = lend(&mut mapper, 0, 2);
    let map = |mapper: &mut Mapper<Fake>| mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    let mut seen = Vec::new();
    for n in 0..255 {
        let mapping = map(&mut mapper);
        let at = mapping.segments()[0].addr;
        assert!(!seen.contains(&at), "{at} given out again");
        seen.push(at);
        mapper.unmap(mapping, Attrs::empty());
        assert_eq!(mapper.platform().flushes(), 0, "{n}");
        assert_eq!(mapper.live().iova_bytes, 2 * PAGE * (n + 1));
    }
    let last = map(&mut mapper);
    seen.push(last.segments()[0].addr);
    mapper.unmap(last, Attrs::empty());
    assert_eq!(mapper.platform().flushes(), 1, "256 ranges, one flush");
    assert_eq!(mapper.live().iova_bytes, 0);
    let again = map(&mut mapper);
    assert!(seen.contains(&again.segments()[0].addr));
    mapper.unmap(again, Attrs::empty());
    // The queue is flushed ten milliseconds after its first range was queued, by the host's clock.
    mapper.tick(9_999_999);
    assert_eq!(mapper.platform().flushes(), 1);
    mapper.tick(10_000_000);
    assert_eq!(
        (mapper.platform().flushes(), mapper.live().iova_bytes),
        (2, 0)
    );
    // The clock never goes back, and the wait begins when the first range is queued.
    mapper.tick(5);
    let third = map(&mut mapper);
    mapper.unmap(third, Attrs::empty());
    mapper.tick(19_999_999);
    assert_eq!(mapper.platform().flushes(), 2);
    mapper.tick(20_000_000);
    assert_eq!(mapper.platform().flushes(), 3);
    mapper.free(memory);
    assert!(mapper.live().is_empty());
}

#[test]
fn running_out_flushes_before_it_refuses() {
    // The space has 15 granules, because granule zero is never assigned.
    let mut mapper = Setup::iommu(16).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    for _ in 0..20 {
        let mapping = map(&mut mapper, 5);
        mapper.unmap(mapping, Attrs::empty());
    }
    assert!(mapper.platform().stale_reuse().is_empty());
    let big = lend(&mut mapper, 0, 16);
    let err = mapper.map(0, &big, BOTH, Attrs::empty()).unwrap_err();
    assert_eq!((err.errno(), err.reason().unwrap().found), (12, 15 * PAGE));
    mapper.free(big);
    assert!(mapper.live().is_empty(), "and leaves nothing queued");
}

/// A class of CVEs: here, no device reaches memory that is freed, or slots that others may use next.
#[test]
fn freed_memory_is_out_of_reach_even_when_lazy() {
    let mapper = Setup::iommu(32).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let alloc = mapper.alloc_coherent(0, 3 * PAGE, Attrs::empty()).unwrap();
    mapper.free(alloc);
    assert_eq!(mapper.platform().freed_in_reach(), []);

    let mut mapper = Setup::untrusted().mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let memory = mapper.lend(&[ram(100, 200)]).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    let at = mapping.segments()[0].addr;
    mapper.unmap(mapping, Attrs::empty());
    assert_eq!(mapper.platform().reach(at), None, "a bounce slot");
    mapper.free(memory);
    // An untrusted device is never flushed lazily.
    let mapping = map(&mut mapper, 1);
    let at = mapping.segments()[0].addr;
    mapper.unmap(mapping, Attrs::empty());
    assert_eq!(mapper.platform().reach(at), None);
}

/// Devices of a group see each other's translations, also those that wait for a flush.
#[test]
fn a_group_with_an_untrusted_member_is_strict() {
    let setup = Setup {
        devices: 3,
        grouped: vec![1, 2],
        trusted: vec![0, 1],
        ..Setup::untrusted()
    };
    for is_known in [true, false] {
        let mapper = setup.clone().mapper();
        let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
        let once = |dev| {
            let mapping = mapper.map(dev, &memory, BOTH, Attrs::empty()).unwrap();
            let at = mapping.segments()[0].addr;
            mapper.unmap(mapping, Attrs::empty());
            at
        };
        if is_known {
            once(2);
        }
        mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
        let waits = once(1);
        let reach = |at| mapper.platform().dev_read_as(2, at, 1).is_some();
        assert_eq!(reach(waits), !is_known, "lazy, and the member is unknown");
        once(2);
        assert!(!reach(waits), "flushed when the member came");
        mapper.set_flush_policy(1, FlushPolicy::Lazy).unwrap();
        assert!(!reach(once(0)), "strict from then on");
        // After the untrusted member was removed, the group may be set to lazy again.
        mapper.remove_device(2).unwrap();
        assert!(!reach(once(0)));
        mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
        assert!(reach(once(1)));
        mapper.free(memory);
    }
    // If the device that represents the group is untrusted, the whole group is.
    let setup = Setup {
        trusted: vec![1],
        ..setup
    };
    let mapper = setup.mapper();
    mapper.set_flush_policy(1, FlushPolicy::Lazy).unwrap();
    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
    let mapping = mapper.map(1, &memory, BOTH, Attrs::empty()).unwrap();
    let at = mapping.segments()[0].addr;
    mapper.unmap(mapping, Attrs::empty());
    assert_eq!(mapper.platform().dev_read_as(0, at, 1), None);
    mapper.free(memory);
}

/// Once the handle of lent memory is freed, no device reaches the memory, and the caller may reuse it.
#[test]
fn freed_handle_leaves_lent_memory_unreachable() {
    let mut mapper = Setup::iommu(32).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let memory = lend(&mut mapper, 0, 2);
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    let at = mapping.segments()[0].addr;
    mapper.unmap(mapping, Attrs::empty());
    assert!(mapper.platform().reach(at).is_some(), "postponed");
    mapper.free(memory);
    assert_eq!(mapper.platform().reach(at), None);
}

/// If lent memory was shared, no device reaches the memory once the last of its handles is freed, also if that is not
/// the first one.
#[test]
fn freed_share_leaves_lent_memory_unreachable() {
    let mut mapper = Setup::iommu(32).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let lent = lend(&mut mapper, 0, 2);
    let shared = mapper.share(&lent).unwrap();
    mapper.free(lent);
    let mapping = mapper.map(0, &shared, BOTH, Attrs::empty()).unwrap();
    let at = mapping.segments()[0].addr;
    mapper.unmap(mapping, Attrs::empty());
    assert!(mapper.platform().reach(at).is_some(), "postponed");
    mapper.free(shared);
    assert_eq!(mapper.platform().reach(at), None);
}

/// Allocated memory is freed only after a flush, even if it was mapped through another handle.
#[test]
fn memory_is_released_only_after_a_flush() {
    let mapper = Setup::iommu(32).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let alloc = mapper.alloc_virtual(3 * PAGE).unwrap();
    let memory = mapper.share(&alloc).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    mapper.unmap(mapping, Attrs::empty());
    assert_eq!(mapper.platform().flushes(), 0, "no flush yet");
    mapper.free(memory);
    mapper.free(alloc);
    assert_eq!(mapper.platform().freed_in_reach(), []);
    assert_eq!(mapper.live().page_bytes, 3 * PAGE);
    mapper.flush_lazy(0).unwrap();
    assert!(mapper.live().is_empty());

    let memory = mapper
        .pin_user(&FakeUser::default(), 0, PAGE, BOTH)
        .unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    let at = mapping.segments()[0].addr;
    mapper.unmap(mapping, Attrs::empty());
    assert!(mapper.platform().reach(at).is_some());
    mapper.free(memory);
    assert_eq!(mapper.platform().vmaps_and_pins().1, 1, "still pinned");
    mapper.flush_lazy(0).unwrap();
    assert_eq!(mapper.platform().reach(at), None, "a program's memory");
    assert!(mapper.live().is_empty());
}

#[test]
fn going_back_to_strict_flushes_what_waits() {
    let mut mapper = Setup::iommu(32).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let mapping = map(&mut mapper, 1);
    mapper.unmap(mapping, Attrs::empty());
    assert!(!mapper.live().is_empty());
    mapper.set_flush_policy(0, FlushPolicy::Strict).unwrap();
    assert!(mapper.live().is_empty());
}

#[derive(Clone, Debug)]
enum Op {
    Map(u64, u64),
    Unmap(usize),
    Alloc(u64),
    Free(usize),
    Tick(u64),
    Flush,
    Policy(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0u64..64, 1u64..6).prop_map(|(page, pages)| Op::Map(page, pages)),
        6 => any::<usize>().prop_map(Op::Unmap),
        1 => (1u64..4).prop_map(Op::Alloc),
        1 => any::<usize>().prop_map(Op::Free),
        1 => (0u64..4_000_000).prop_map(Op::Tick),
        1 => Just(Op::Flush),
        1 => prop_oneof![9 => Just(true), 1 => Just(false)].prop_map(Op::Policy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// The device keeps each translation until a flush. After any operations in any order, mappings
    /// lead to their memory, and no address is mapped again while the device holds an old
    /// translation.
    #[test]
    fn a_stale_translation_is_never_in_the_way(
        ops in prop::collection::vec(op(), 1..300),
        bits in 17u32..22,
        large in prop_oneof![Just(0u32), Just(2), Just(4)],
        coherent in any::<bool>(),
    ) {
        let coherency = if coherent { Coherency::Coherent } else { Coherency::NonCoherent };
        // The IOMMU's page, which has `1 << large` pages of the CPU.
        let granule = PAGE << large;
        let setup = Setup::iommu(bits + large).granule(granule);
        let mut mapper = Setup { coherency, ..setup }.mapper();
        mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
        let (mut maps, mut allocs) = (Vec::new(), Vec::new());
        let (mut now, mut handles) = (0, Vec::new());
        let units = (1u64 << bits) / PAGE - 1;
        for op in ops {
            match op {
                Op::Map(page, pages) => {
                    let handle = lend(&mut mapper, page << large, pages << large);
                    match mapper.map(0, &handle, BOTH, Attrs::empty()) {
                        Ok(mapping) => maps.push((mapping, ram(page * granule, pages * granule))),
                        Err(err) => {
                            prop_assert_eq!(err.reason().unwrap().constraint, Constraint::IovaSpace);
                            // The free addresses form at most this many gaps, each too short.
                            let gaps = 1 + (maps.len() + allocs.len()) as u64;
                            let free = units - mapper.live().iova_bytes / granule;
                            prop_assert!(free < pages * gaps, "{} free in {} gaps", free, gaps);
                        }
                    }
                    // Freeing the handle now would flush.
                    handles.push(handle);
                }
                Op::Unmap(which) if !maps.is_empty() => {
                    let (mapping, _) = maps.swap_remove(which % maps.len());
                    mapper.unmap(mapping, Attrs::empty());
                }
                Op::Alloc(pages) => {
                    allocs.extend(mapper.alloc_coherent(0, pages * PAGE, Attrs::empty()));
                }
                Op::Free(which) if !allocs.is_empty() => {
                    let alloc = allocs.swap_remove(which % allocs.len());
                    mapper.free(alloc);
                }
                Op::Tick(ns) => { now += ns; mapper.tick(now); }
                Op::Flush => mapper.flush_lazy(0).unwrap(),
                Op::Policy(lazy) => {
                    let policy = if lazy { FlushPolicy::Lazy } else { FlushPolicy::Strict };
                    mapper.set_flush_policy(0, policy).unwrap();
                }
                _ => {}
            }
            prop_assert_eq!(&mapper.platform().stale_reuse(), &Vec::<u64>::new());
            prop_assert_eq!(&mapper.platform().freed_in_reach(), &Vec::<u64>::new());
            for (mapping, memory) in &maps {
                let reached = mapper.platform().reach(mapping.segments()[0].addr);
                prop_assert_eq!(reached, Some(memory.addr.get()));
            }
        }
        maps.into_iter().for_each(|(mapping, _)| mapper.unmap(mapping, Attrs::empty()));
        allocs.into_iter().for_each(|alloc| mapper.free(alloc));
        mapper.flush_lazy(0).unwrap();
        handles.into_iter().for_each(|handle| mapper.free(handle));
        prop_assert!(mapper.live().is_empty() && mapper.platform().is_clean());
    }
}
