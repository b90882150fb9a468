//! A fault at any fallible call leaves nothing behind, and a run depends only on its seed.

use crate::common::*;
use proptest::prelude::*;
use vb3_dma::{Attrs, Constraint, Direction, DmaOps, Error, Mapper, Platform, SyncFor};
use vb3_machine::{Device, DeviceLimits, Event, Faults, Machine, Profile, User};

const ALL_LAYERS: &str = "coherent = false\ncma = \"8MiB\"\n\
                          [bounce]\nmode = \"always\"\npool = \"128KiB\"";

/// Uses every feature of the layer once, and frees everything on success and failure.
fn scenario(mapper: &mut Mapper<Machine>, dev: Device, user: &User) -> Result<(), Error> {
    let coherent = mapper.alloc_coherent(dev, 3 * PAGE, Attrs::empty())?;
    let result = with_coherent(mapper, dev, user, &coherent);
    mapper.free(coherent);
    result
}

fn with_coherent(
    mapper: &mut Mapper<Machine>,
    dev: Device,
    user: &User,
    coherent: &vb3_dma::Memory<Machine>,
) -> Result<(), Error> {
    drop(mapper.mmap(coherent, 0, PAGE)?);
    let cached =
        mapper.alloc_noncontiguous(dev, 5 * PAGE, Direction::FromDevice, Attrs::empty())?;
    let result = with_cached(mapper, dev, user, &cached);
    mapper.free(cached);
    result
}

fn with_cached(
    mapper: &mut Mapper<Machine>,
    dev: Device,
    user: &User,
    cached: &vb3_dma::Memory<Machine>,
) -> Result<(), Error> {
    let vmap = mapper.vmap(cached)?;
    mapper.vunmap(vmap);
    let table = mapper.share(cached)?;
    let result = map_and_sync(mapper, dev, &table);
    mapper.free(table);
    result?;
    let table = mapper.pin_user(user, 0x10_0800, 4 * PAGE, Direction::Bidirectional)?;
    let result = map_and_sync(mapper, dev, &table);
    mapper.free(table);
    result?;
    let pages = mapper.platform_mut().import(other_drivers(3 * PAGE))?;
    let foreign = mapper.adopt(pages)?;
    let table = mapper.share(&foreign);
    let result = table.and_then(|table| {
        let result = map_and_sync(mapper, dev, &table);
        mapper.free(table);
        result
    });
    mapper.free(foreign);
    result
}

/// Makes memory of another driver, from a memfd.
fn map_and_sync(
    mapper: &mut Mapper<Machine>,
    dev: Device,
    table: &vb3_dma::Memory<Machine>,
) -> Result<(), Error> {
    let mapping = mapper.map(dev, table, Direction::Bidirectional, Attrs::empty())?;
    let both = Direction::Bidirectional;
    let synced = mapper.sync(&mapping, both, SyncFor::Cpu);
    let synced = synced.and(mapper.sync(&mapping, both, SyncFor::Device));
    let vmap = mapper.vmap(table);
    let result = vmap.map(|vmap| mapper.vunmap(vmap));
    mapper.unmap(mapping, Attrs::empty());
    synced.and(result)
}

fn setup(lines: &str) -> (Mapper<Machine>, Device, User) {
    let mut mapper = mapper(lines);
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    let user: User = Program::new(0x10_0000, pattern(8 * PAGE as usize));
    (mapper, dev, user)
}

#[test]
fn fault_at_each_call_leaves_nothing() {
    for lines in [
        CMA.to_owned(),
        with_iommu(CMA),
        with_iommu("coherent = false"),
        ALL_LAYERS.to_owned(),
        with_iommu(ALL_LAYERS),
    ] {
        let (mut mapper, dev, user) = setup(&lines);
        scenario(&mut mapper, dev, &user).unwrap();
        let before = mapper.platform().held();
        assert_eq!(before, Default::default());
        let mut failures = 0;
        for n in 0.. {
            mapper.platform_mut().set_faults(Faults::Nth(n));
            let result = scenario(&mut mapper, dev, &user);
            let hits = mapper.platform().injected_faults();
            assert!(mapper.live().is_empty(), "call {n}: {:?}", mapper.live());
            assert_eq!(mapper.platform().held(), before, "call {n}");
            if hits == 0 {
                result.unwrap();
                break;
            }
            match result {
                Err(err) => {
                    let reason = err.reason().unwrap();
                    assert_eq!(reason.constraint, Constraint::InjectedFault);
                    assert_eq!(reason.wanted, n);
                    failures += 1;
                }
                // If a sync's copy into a bounce slot fails, only the result of `sync` shows it, and the
                // scenario succeeds.
                Ok(()) => assert!(lines.contains("bounce"), "call {n} was swallowed"),
            }
        }
        // At least these calls can fail: two allocations, their mmap and vmap, a pin, and two CPU mappings of
        // tables. With an IOMMU, so can the call for each page-table entry.
        assert!(failures >= 7, "{failures} failures");
        assert!(
            !lines.contains("iommu") || failures >= 20,
            "{failures} failures"
        );
        // After the failures, the layer works as before.
        mapper.platform_mut().set_faults(Faults::Off);
        scenario(&mut mapper, dev, &user).unwrap();
        assert_eq!(mapper.platform().held(), before);
    }
}

#[test]
fn failed_mapping_leaves_no_usable_entry() {
    let (mut mapper, dev, _) = setup(&with_iommu(COHERENT));
    let alloc = mapper.alloc_virtual(4 * PAGE).unwrap();
    let table = mapper.share(&alloc).unwrap();
    for n in 0..4 {
        mapper.platform_mut().trace_mut().start(100);
        mapper.platform_mut().set_faults(Faults::Nth(n));
        let err = mapper
            .map(dev, &table, Direction::ToDevice, Attrs::empty())
            .unwrap_err();
        assert_eq!(err.errno(), 12);
        let events = mapper.platform().trace().events().to_vec();
        let bytes = |pick: fn(&Event) -> u64| events.iter().map(|(_, e)| pick(e)).sum::<u64>();
        let mapped = bytes(|e| {
            if let Event::IommuMap { len, .. } = e {
                *len
            } else {
                0
            }
        });
        let unmapped = bytes(|e| {
            if let Event::IommuUnmap { len, .. } = e {
                *len
            } else {
                0
            }
        });
        assert_eq!((mapped, unmapped), (n * PAGE, n * PAGE));
        assert_eq!(mapper.platform().held().iommu_pages, 0);
        assert_eq!(mapper.live().iova_bytes, 0);
        let flushed = events
            .iter()
            .any(|(_, e)| matches!(e, Event::IommuFlush { .. }));
        assert_eq!(flushed, n > 0, "what the device may have seen is flushed");
    }
    mapper.platform_mut().set_faults(Faults::Off);
    mapper.free(table);
    mapper.free(alloc);
}

fn run_of(seed: u64, faults: Faults) -> String {
    let text = format!(
        "name = \"t\"\nram = \"64MiB\"\ndma_mask = 32\n{}",
        with_iommu(ALL_LAYERS)
    );
    let machine = Machine::new(&Profile::parse(&text).unwrap(), seed).unwrap();
    let mut mapper = Mapper::new(machine).unwrap();
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    let user: User = Program::new(0x10_0000, pattern(8 * PAGE as usize));
    mapper.platform_mut().trace_mut().start(10_000);
    mapper.platform_mut().set_faults(faults);
    for step in 0..20 {
        mapper.platform_mut().set_now_ns(step * 1_000);
        let _ = scenario(&mut mapper, dev, &user);
        if let Ok(alloc) = mapper.alloc_coherent(dev, 2 * PAGE, Attrs::empty()) {
            let at = mapper.alloc_dma_addr(&alloc).unwrap();
            mapper
                .platform_mut()
                .bus_write(dev, at, &[1, 2, 3])
                .unwrap();
            mapper.free(alloc);
        }
    }
    assert!(mapper.live().is_empty());
    mapper.platform().trace().to_string()
}

#[test]
fn memory_of_a_failed_unmap_stays_in_use() {
    let (mut mapper, dev, _) = setup(&with_iommu(CMA));
    let alloc = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
    let at = mapper.alloc_dma_addr(&alloc).unwrap();
    mapper.platform_mut().set_unmap_faults(Faults::Nth(0));
    mapper.platform_mut().trace_mut().start(100);
    mapper.free(alloc);
    let machine = mapper.platform_mut();
    assert_eq!(machine.injected_faults(), 1);
    assert_eq!(
        (machine.held().ram_bytes, machine.held().iommu_pages),
        (PAGE, 1)
    );
    machine.bus_write(dev, at, b"still there").unwrap();
    assert_eq!(
        mapper.live().quarantined_bytes,
        2 * PAGE,
        "page and address"
    );
    let trace = mapper.platform().trace();
    let injected = |(_, event): &&_| matches!(event, Event::Injected { .. });
    assert_eq!(trace.events().iter().filter(injected).count(), 1);
    drop(trace);
    // Only one unmap fails.
    let alloc = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
    mapper.free(alloc);
    assert_eq!(mapper.platform().held().iommu_pages, 1);
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    let dice = Faults::Random {
        per_million: 50_000,
        seed: 11,
    };
    let first = run_of(7, dice);
    assert_eq!(first, run_of(7, dice));
    assert_ne!(first, run_of(8, dice), "the seed decides where pages lie");
    let other_dice = Faults::Random {
        per_million: 50_000,
        seed: 12,
    };
    assert_ne!(first, run_of(7, other_dice), "the dice decide what fails");
    assert!(first.contains("Injected") && first.contains("BusWrite"));
}

#[test]
fn the_trace_is_bounded_and_says_what_it_left_out() {
    let (mut mapper, dev, user) = setup(CMA);
    mapper.platform_mut().trace_mut().start(3);
    scenario(&mut mapper, dev, &user).unwrap();
    let trace = mapper.platform().trace();
    assert_eq!(trace.events().len(), 3);
    assert!(trace.dropped() > 0);
    assert!(
        trace
            .to_string()
            .ends_with(&format!("{} more\n", trace.dropped()))
    );
}

#[derive(Clone, Debug)]
enum Op {
    Coherent(u64),
    Cached(u64),
    Virtual(u64),
    Free(usize),
    Map(usize, bool),
    Unmap(usize),
    Write(usize, u8),
    Pin(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![
        1u64..(4 << 20),
        Just(0),
        Just(u64::MAX),
        (1u64 << 20)..(1 << 30)
    ];
    prop_oneof![
        len.clone().prop_map(Op::Coherent),
        len.clone().prop_map(Op::Cached),
        len.prop_map(Op::Virtual),
        any::<usize>().prop_map(Op::Free),
        (any::<usize>(), any::<bool>()).prop_map(|(i, second)| Op::Map(i, second)),
        any::<usize>().prop_map(Op::Unmap),
        (any::<usize>(), any::<u8>()).prop_map(|(i, byte)| Op::Write(i, byte)),
        (0u64..9 * PAGE, 0u64..9 * PAGE).prop_map(|(at, len)| Op::Pin(at, len)),
    ]
}

struct Buffer {
    alloc: Option<vb3_dma::Memory<Machine>>,
    table: vb3_dma::Memory<Machine>,
    mappings: Vec<vb3_dma::Mapping<Machine>>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// For any sequence of calls with faults, devices reach only memory mapped for them, and everything
    /// is freed.
    #[test]
    fn any_sequence_of_calls_gives_everything_back(
        ops in prop::collection::vec(op(), 1..60),
        kind in 0usize..4,
        per_million in prop_oneof![Just(0u32), Just(100_000)],
        seed in any::<u64>(),
    ) {
        let kinds = [CMA.to_owned(), with_iommu(CMA), with_iommu("coherent = false"),
            ALL_LAYERS.to_owned()];
        let (mut mapper, dev, user) = setup(&kinds[kind]);
        let second = mapper.platform_mut().add_device("second", DeviceLimits::default()).unwrap();
        mapper.platform_mut().set_faults(Faults::Random { per_million, seed });
        let mut buffers: Vec<Buffer> = Vec::new();
        for op in ops {
            match op {
                Op::Coherent(len) | Op::Cached(len) | Op::Virtual(len) => {
                    let alloc = match op {
                        Op::Coherent(_) => mapper.alloc_coherent(dev, len, Attrs::empty()),
                        Op::Cached(_) => mapper.alloc_noncontiguous(
                            dev, len, Direction::Bidirectional, Attrs::empty()),
                        _ => mapper.alloc_virtual(len),
                    };
                    if let Ok(alloc) = alloc {
                        let table = mapper.share(&alloc).unwrap();
                        buffers.push(Buffer { alloc: Some(alloc), table, mappings: Vec::new() });
                    }
                }
                Op::Pin(at, len) => {
                    let pinned = mapper.pin_user(&user, 0x10_0000 + at, len, Direction::FromDevice);
                    if let Ok(table) = pinned {
                        prop_assert!(len > 0 && at + len <= 8 * PAGE);
                        buffers.push(Buffer { alloc: None, table, mappings: Vec::new() });
                    }
                }
                Op::Free(i) if !buffers.is_empty() => {
                    let at = i % buffers.len();
                    if buffers[at].mappings.is_empty() {
                        let buffer = buffers.swap_remove(at);
                        mapper.free(buffer.table);
                        buffer.alloc.into_iter().for_each(|alloc| mapper.free(alloc));
                    }
                }
                Op::Map(i, other) if !buffers.is_empty() => {
                    let at = i % buffers.len();
                    let dev = if other { second } else { dev };
                    let mapped = mapper.map(
                        dev, &buffers[at].table, Direction::Bidirectional, Attrs::empty());
                    if let Ok(mapping) = mapped {
                        buffers[at].mappings.push(mapping);
                    }
                }
                Op::Unmap(i) if !buffers.is_empty() => {
                    let at = i % buffers.len();
                    if let Some(mapping) = buffers[at].mappings.pop() {
                        let (dev, first) = (mapping.device(), mapping.segments()[0]);
                        let behind_iommu =
                            mapper.platform().device_info(dev).unwrap().iommu.is_some();
                        mapper.unmap(mapping, Attrs::empty());
                        let reached = mapper.platform().bus_translate(dev, first.addr, false);
                        prop_assert!(!behind_iommu || reached.is_err());
                    }
                }
                Op::Write(i, byte) if !buffers.is_empty() => {
                    let at = i % buffers.len();
                    if let Some(mapping) = buffers[at].mappings.last() {
                        let (dev, found) = (mapping.device(), mapping.segments().to_vec());
                        let total: u64 = found.iter().map(|s| s.len).sum();
                        prop_assert_eq!(total, mapper.memory_len(&buffers[at].table));
                        for segment in found.iter().take(8) {
                            let last = segment.addr.checked_add(segment.len - 1).unwrap();
                            for addr in [segment.addr, last] {
                                let mut back = [0];
                                mapper.platform_mut().bus_write(dev, addr, &[byte]).unwrap();
                                mapper.platform_mut().bus_read(dev, addr, &mut back).unwrap();
                                prop_assert_eq!(back, [byte]);
                            }
                        }
                    }
                }
                _ => {}
            }
            let live = mapper.live();
            prop_assert_eq!(live.handles + live.pins, buffers.len() as u64);
            let mapped: usize = buffers.iter().map(|b| b.mappings.len()).sum();
            prop_assert_eq!(live.mappings, mapped as u64);
        }
        for buffer in buffers {
            buffer.mappings.into_iter().for_each(|m| mapper.unmap(m, Attrs::empty()));
            mapper.free(buffer.table);
            buffer.alloc.into_iter().for_each(|alloc| mapper.free(alloc));
        }
        prop_assert!(mapper.live().is_empty(), "{:?}", mapper.live());
        prop_assert_eq!(mapper.platform().held(), Default::default());
    }
}
