//! Every built-in machine under the checking wrapper: it reports no misuse, even if calls fail.

use crate::common::*;
use std::cell::RefCell;
use std::rc::Rc;
use vb3_dma::{Attrs, Direction, DmaOps, Error, Mapper, Platform, SyncFor};
use vb3_dma_test::check::{Checked, Report};
use vb3_machine::{Device, DeviceLimits, Faults, Machine, Profile, User, profile};

/// Uses every call of `DmaOps` once. Frees everything, whether the calls succeed or not.
fn scenario<O>(ops: &O, dev: Device, (user, shown): (&User, bool)) -> Result<(), Error>
where
    O: DmaOps<Device = Device, User = User>,
{
    let coherent = ops.alloc_coherent(dev, 3 * PAGE, Attrs::empty())?;
    let result = with_memory(ops, dev, (user, shown), &coherent);
    ops.free(coherent);
    result?;
    let cached = ops.alloc_noncontiguous(dev, 5 * PAGE, Direction::FromDevice, Attrs::empty())?;
    ops.sync_alloc(&cached, Direction::FromDevice, SyncFor::Device);
    ops.sync_alloc(&cached, Direction::FromDevice, SyncFor::Cpu);
    let result = with_memory(ops, dev, (user, shown), &cached);
    ops.free(cached);
    result?;
    let plain = ops.alloc_virtual(2 * PAGE)?;
    let result = with_memory(ops, dev, (user, shown), &plain);
    ops.free(plain);
    result
}

fn with_memory<O>(
    ops: &O,
    dev: Device,
    (user, shown): (&User, bool),
    alloc: &O::Memory,
) -> Result<(), Error>
where
    O: DmaOps<Device = Device, User = User>,
{
    ops.mmap(alloc, 0, PAGE)?;
    let vmap = ops.vmap(alloc)?;
    let written = ops.vmap_write(&vmap, 0, &[7; 100]);
    ops.vunmap(vmap);
    written?;
    // A machine that bounces everything may refuse memory that is longer than its pool.
    map_and_sync(ops, dev, alloc, Direction::ToDevice)?;
    let table = ops.pin_user(user, 0x10_0800, 4 * PAGE, Direction::Bidirectional)?;
    let result = if shown {
        map_and_sync(ops, dev, &table, Direction::Bidirectional)
    } else {
        ops.vmap(&table).map(|vmap| ops.vunmap(vmap))
    };
    ops.free(table);
    result
}

fn map_and_sync<O>(
    ops: &O,
    dev: Device,
    table: &O::Memory,
    direction: Direction,
) -> Result<(), Error>
where
    O: DmaOps<Device = Device, User = User>,
{
    let mapping = ops.map(dev, table, direction, Attrs::empty())?;
    let for_cpu = ops.sync(&mapping, direction, SyncFor::Cpu);
    let for_device = ops.sync(&mapping, direction, SyncFor::Device);
    ops.unmap(mapping, Attrs::empty());
    for_cpu.and(for_device).map(drop)
}

/// The result of a run: its outcome, the injected faults, and the reports.
type RunResult = (Result<(), Error>, u64, Vec<Report<Device>>);

fn run(profile: &Profile, faults: Faults) -> RunResult {
    let reports: Rc<RefCell<Vec<Report<Device>>>> = Rc::default();
    let mut mapper = Mapper::new(Machine::new(profile, 3).unwrap()).unwrap();
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    let info = mapper.platform().device_info(dev).unwrap();
    mapper.platform_mut().set_faults(faults);
    let to_reports = Rc::clone(&reports);
    let sink = move |report| to_reports.borrow_mut().push(report);
    let ops = Checked::new(mapper, sink, 4096);
    ops.set_limits(dev, info.limits);
    let user: User = Program::new(0x10_0000, pattern(64 << 10));
    // An IOMMU with larger pages cannot map scattered pages of a program.
    let shown = profile
        .iommu
        .as_ref()
        .is_none_or(|iommu| iommu.granule() == PAGE);
    let result = scenario(&ops, dev, (&user, shown));
    ops.remove_device(dev);
    assert_eq!(ops.live_segments(), 0);
    let mapper = ops.into_inner();
    let hits = mapper.platform().injected_faults();
    assert!(mapper.live().is_empty(), "{:?}", mapper.live());
    (result, hits, reports.take())
}

#[test]
fn right_use_is_silent_whatever_fails() {
    for (name, _) in profile::BUILTINS {
        let profile = Profile::builtin(name).unwrap();
        let (result, _, reports) = run(&profile, Faults::Off);
        assert_eq!(result, Ok(()), "{name}");
        assert_eq!(reports, [], "{name}");
        // Makes each fallible call of the machine fail once.
        for n in 0.. {
            let (result, hits, reports) = run(&profile, Faults::Nth(n));
            assert_eq!(reports, [], "{name}, call {n}");
            // The run may succeed despite a fault: a sync does not return the error of a failed copy.
            assert!(result.is_ok() || hits > 0, "{name}, call {n}");
            if hits == 0 {
                assert!(n > 10, "{name}: only {n} calls could fail");
                break;
            }
        }
    }
}

#[test]
fn what_a_forgetful_driver_leaks_is_named() {
    let profile = Profile::builtin("soc-noncoherent").unwrap();
    let reports: Rc<RefCell<Vec<Report<Device>>>> = Rc::default();
    let to_reports = Rc::clone(&reports);
    let mut mapper = Mapper::new(Machine::new(&profile, 3).unwrap()).unwrap();
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    let sink = move |report| to_reports.borrow_mut().push(report);
    let ops = Checked::new(mapper, sink, 64);
    ops.set_tag("forgetful");
    let user: User = Program::new(0x10_0000, pattern(64 << 10));
    let table = ops
        .pin_user(&user, 0x10_0000, 2 * PAGE, Direction::FromDevice)
        .unwrap();
    let mapping = ops
        .map(dev, &table, Direction::FromDevice, Attrs::empty())
        .unwrap();
    ops.sync(&mapping, Direction::ToDevice, SyncFor::Device)
        .unwrap();
    ops.remove_device(dev);
    let texts: Vec<String> = reports.borrow().iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("syncs ToDevice a mapping for FromDevice"));
    assert!(texts[1].contains("removes the device before this memory was unmapped"));
    assert!(texts[1].contains("mapped by forgetful at "));
}
