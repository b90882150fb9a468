//! Tests with a CPU cache that goes stale. The layer makes every necessary hand-over; a missing one would
//! lose bytes, which these tests detect.

use proptest::prelude::*;
use vb3_dma::{Attrs, Caching, Direction, DmaOps as _, Error, Segment, SyncFor};
use vb3_dma_test::fake::{DIRT, PAGE, Setup, ram};

const BOTH: Direction = Direction::Bidirectional;
const WAYS: [Direction; 3] = [Direction::ToDevice, Direction::FromDevice, BOTH];

fn setups() -> [Setup; 4] {
    [
        Setup::direct(),
        Setup::iommu(32),
        Setup::untrusted(),
        Setup::narrow(64 * PAGE),
    ]
    .map(Setup::non_coherent)
}

#[test]
fn a_device_has_the_hosts_line_size() {
    let mapper = Setup {
        cache_alignment: 64,
        ..Setup::direct()
    }
    .mapper();
    assert_eq!(mapper.cache_alignment(0), 64);
    assert_eq!(mapper.cache_alignment(9), 1, "a device that is not there");
}

/// After the map, the device sees what the CPU wrote before. After the unmap, the CPU sees what the device
/// wrote before. The CPU's cache holds lines of the memory at both times.
#[test]
fn mapping_and_unmapping_hand_memory_over() {
    for setup in setups() {
        for direction in WAYS {
            let mapper = setup.clone().mapper();
            let fake = mapper.platform();
            // The memory starts at a cache line, but not at a page.
            let memory = ram(3 * 64, 2 * PAGE);
            let addr = memory.addr.get();
            fake.poke(addr, &[1; 2 * PAGE as usize]);
            let handle = mapper.lend(&[memory]).unwrap();
            let mapping = mapper.map(0, &handle, direction, Attrs::empty()).unwrap();
            let at = mapping.segments()[0].addr;
            if direction.device_reads() {
                let seen = fake.dev_read(at, memory.len).unwrap();
                assert!(seen.iter().all(|&b| b == 1), "{direction:?} {setup:?}");
            }
            // The CPU reads memory of the device, which it must not do, and so gets lines that will be stale.
            let _ = fake.peek(addr, memory.len);
            if direction.device_writes() {
                fake.dev_write(at, &[2; 2 * PAGE as usize]).unwrap();
            }
            mapper.unmap(mapping, Attrs::empty());
            let seen = fake.peek(addr, memory.len);
            let byte = if direction.device_writes() { 2 } else { 1 };
            assert!(seen.iter().all(|&b| b == byte), "{direction:?} {setup:?}");
            // If a line were still dirty, the eviction would write it over the device's bytes.
            fake.evict();
            let seen = fake.peek(addr, memory.len);
            assert!(seen.iter().all(|&b| b == byte), "{direction:?} {setup:?}");
            mapper.free(handle);
            assert!(mapper.live().is_empty());
        }
    }
}

/// The device must not see what memory held before the CPU wrote to it, even if the map fails and the device
/// keeps its view.
#[test]
fn device_sees_no_memory_before_the_clean() {
    let parts = [ram(0, PAGE), ram(8 * PAGE, PAGE)];
    let mut in_reach = 0;
    for (len, call) in [(1, 1), (2, 1), (2, 2)] {
        let mapper = Setup::untrusted().non_coherent().mapper();
        let fake = mapper.platform();
        let memory = mapper.lend(&parts[..len]).unwrap();
        let map = || mapper.map(0, &memory, BOTH, Attrs::empty());
        // Makes the address space, so that the short path can allocate in it.
        mapper.unmap(map().unwrap(), Attrs::empty());
        for part in parts {
            fake.poke(part.addr.get(), &[0; PAGE as usize]);
        }
        fake.fail_unmaps(true);
        fake.fail(Some(call));
        assert!(map().is_err());
        let reached = fake.reached();
        for part in parts.iter().filter(|p| reached.contains(&p.addr.get())) {
            in_reach += 1;
            assert_eq!(fake.stale(&[*part]), 0, "call {call} of {len} runs");
        }
        mapper.free(memory);
    }
    assert_eq!(in_reach, 4);
}

/// A map that fails counts neither as a mapping nor as a sync. A device can be removed once it has no
/// mapping.
#[test]
fn failed_maps_are_not_counted() {
    let runs = [ram(0, PAGE), ram(4 * PAGE, PAGE)];
    let mut failures = 0;
    for setup in [Setup::direct(), Setup::iommu(32)].map(Setup::non_coherent) {
        for len in 1..=2 {
            for call in 0.. {
                let mapper = setup.clone().mapper();
                let memory = mapper.lend(&runs[..len]).unwrap();
                let map = || mapper.map(0, &memory, BOTH, Attrs::empty());
                // Makes the address space, so that the short path can allocate in it.
                mapper.unmap(map().unwrap(), Attrs::empty());
                mapper.platform().fail(Some(call));
                let mapped = map();
                mapper.platform().fail(None);
                let (counters, live) = (mapper.counters(0), mapper.live());
                let counts = [counters.maps, counters.syncs_for_device, live.mappings + 1];
                assert_eq!(counts, [1 + u64::from(mapped.is_ok()); 3], "call {call}");
                mapper.free(memory);
                let Ok(mapping) = mapped else {
                    mapper.remove_device(0).unwrap();
                    failures += 1;
                    continue;
                };
                assert_eq!(mapper.remove_device(0), Err(Error::Busy));
                mapper.unmap(mapping, Attrs::empty());
                mapper.remove_device(0).unwrap();
                break;
            }
        }
    }
    assert!(failures >= 2);
}

/// With `SKIP_CPU_SYNC`, map and unmap do not sync: device and CPU see old bytes.
#[test]
fn a_skipped_sync_is_seen() {
    let mapper = Setup::direct().non_coherent().mapper();
    let fake = mapper.platform();
    let memory = ram(0, PAGE);
    fake.poke(memory.addr.get(), &[1; 64]);
    let handle = mapper.lend(&[memory]).unwrap();
    let mapping = mapper.map(0, &handle, BOTH, Attrs::SKIP_CPU_SYNC).unwrap();
    let at = mapping.segments()[0].addr;
    assert_eq!(fake.dev_read(at, 64).unwrap(), [DIRT; 64], "not cleaned");
    fake.dev_write(at, &[2; 64]).unwrap();
    mapper.unmap(mapping, Attrs::SKIP_CPU_SYNC);
    assert_eq!(fake.peek(memory.addr.get(), 64), [1; 64], "not invalidated");
    assert_eq!(fake.stale(&[memory]), 64);
    fake.evict();
    assert_eq!(fake.dev_read(at, 64).unwrap(), [1; 64], "written back");
    assert_eq!(fake.stale(&[memory]), 0);
    mapper.free(handle);
}

/// Coherent memory of a device that does not snoop is mapped uncached, and is zero for device and CPU.
#[test]
fn coherent_memory_needs_no_hand_over() {
    for setup in [
        Setup::direct().non_coherent(),
        Setup::iommu(32).non_coherent(),
    ] {
        let mapper = setup.mapper();
        let alloc = mapper.alloc_coherent(0, PAGE, Attrs::empty()).unwrap();
        assert_eq!(mapper.alloc_caching(&alloc), Caching::Uncached);
        let at = mapper.alloc_dma_addr(&alloc).unwrap();
        let view = mapper.vmap(&alloc).unwrap();
        assert_eq!(mapper.platform().dev_read(at, 8).unwrap(), [0; 8]);
        mapper.vmap_write(&view, 0, b"command!").unwrap();
        assert_eq!(mapper.platform().dev_read(at, 8).unwrap(), b"command!");
        mapper.platform().dev_write(at, b"answered").unwrap();
        let mut seen = [0; 8];
        mapper.vmap_read(&view, 0, &mut seen).unwrap();
        assert_eq!(&seen, b"answered");
        mapper.platform().poke_in(alloc.segments(), 0, b"uncached");
        assert_eq!(mapper.platform().dev_read(at, 8).unwrap(), b"uncached");
        mapper.vunmap(view);
        mapper.free(alloc);
        assert!(mapper.live().is_empty() && mapper.platform().is_clean());
    }
}

/// A sync of cached memory is counted if the caches need it, and only then.
#[test]
fn syncs_of_cached_memory_are_counted() {
    let mapper = Setup::direct().non_coherent().mapper();
    let alloc = mapper
        .alloc_noncontiguous(0, PAGE, BOTH, Attrs::empty())
        .unwrap();
    let at = mapper.alloc_dma_addr(&alloc).unwrap();
    let view = mapper.vmap(&alloc).unwrap();
    let before = mapper.counters(0);
    mapper.vmap_write(&view, 0, b"command!").unwrap();
    assert!(mapper.sync_alloc(&alloc, BOTH, SyncFor::Device));
    assert_eq!(mapper.platform().dev_read(at, 8).unwrap(), b"command!");
    mapper.platform().dev_write(at, b"answered").unwrap();
    assert!(!mapper.sync_alloc(&alloc, Direction::ToDevice, SyncFor::Cpu));
    assert!(mapper.sync_alloc(&alloc, Direction::FromDevice, SyncFor::Cpu));
    let mut seen = [0; 8];
    mapper.vmap_read(&view, 0, &mut seen).unwrap();
    assert_eq!(&seen, b"answered");
    let counters = mapper.counters(0);
    assert_eq!(counters.syncs_for_device, before.syncs_for_device + 1);
    assert_eq!(counters.syncs_for_cpu, before.syncs_for_cpu + 1);
    mapper.vunmap(view);
    mapper.free(alloc);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

#[derive(Clone, Copy, Debug)]
enum Op {
    CpuWrites(u64, u64, u8),
    DeviceWrites(u64, u64, u8),
    Evict,
}

fn op() -> impl Strategy<Value = Op> {
    let part = || (0u64..3 * PAGE, 1u64..PAGE);
    prop_oneof![
        (part(), any::<u8>()).prop_map(|((at, len), byte)| Op::CpuWrites(at, len, byte)),
        (part(), any::<u8>()).prop_map(|((at, len), byte)| Op::DeviceWrites(at, len, byte)),
        Just(Op::Evict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// CPU and device write in turns, with hand-overs around each write of the CPU. Both always see the
    /// latest bytes, in one segment or several, bounced or not.
    #[test]
    fn turns_with_hand_overs_lose_nothing(
        which in 0usize..4,
        cut in 1u64..3 * PAGE,
        ops in prop::collection::vec(op(), 1..30),
    ) {
        let mapper = setups()[which].clone().mapper();
        let fake = mapper.platform();
        // Two runs, divided at a cache line.
        let cut = (cut.next_multiple_of(64)).min(3 * PAGE - 64);
        let (first, second) = (ram(0, cut), ram(1 << 20, 4 * PAGE - cut));
        let phys = |at: u64| if at < cut {
            (first.addr.get() + at, cut - at)
        } else {
            (second.addr.get() + at - cut, 4 * PAGE - at)
        };
        let mut model = vec![0u8; 4 * PAGE as usize];
        for Segment { addr, len, .. } in [first, second] {
            fake.poke(addr.get(), &vec![0; len as usize]);
        }
        let memory = mapper.lend(&[first, second]).unwrap();
        assert_eq!(memory.segments(), &[first, second]);
        let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
        let segments = mapping.segments().to_vec();
        let bus = |at: u64| {
            let mut left = at;
            for segment in &segments {
                if left < segment.len {
                    return (segment.addr.checked_add(left).unwrap(), segment.len - left);
                }
                left -= segment.len;
            }
            unreachable!("inside the mapping");
        };
        for op in ops {
            match op {
                Op::CpuWrites(at, len, byte) => {
                    mapper.sync(&mapping, BOTH, SyncFor::Cpu).unwrap();
                    let mut done = 0;
                    while done < len {
                        let (addr, run) = phys(at + done);
                        let part = run.min(len - done);
                        fake.poke(addr, &vec![byte; part as usize]);
                        done += part;
                    }
                    mapper.sync(&mapping, BOTH, SyncFor::Device).unwrap();
                    model[at as usize..(at + len) as usize].fill(byte);
                }
                Op::DeviceWrites(at, len, byte) => {
                    let mut done = 0;
                    while done < len {
                        let (addr, run) = bus(at + done);
                        let part = run.min(len - done);
                        fake.dev_write(addr, &vec![byte; part as usize]).unwrap();
                        done += part;
                    }
                    model[at as usize..(at + len) as usize].fill(byte);
                }
                Op::Evict => fake.evict(),
            }
            let mut seen = Vec::new();
            while seen.len() < model.len() {
                let (addr, run) = bus(seen.len() as u64);
                seen.extend(fake.dev_read(addr, run).unwrap());
            }
            prop_assert!(seen == model, "the device sees something else");
        }
        mapper.unmap(mapping, Attrs::empty());
        let mut seen = fake.peek(first.addr.get(), first.len);
        seen.extend(fake.peek(second.addr.get(), second.len));
        prop_assert!(seen == model, "the CPU sees something else");
        mapper.free(memory);
        prop_assert!(mapper.live().is_empty());
    }
}
