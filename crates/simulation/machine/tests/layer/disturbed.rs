//! Disturbances of a machine: occupied contiguous memory, and an injected access fault.

use crate::common::*;
use vb3_dma::{Attrs, Constraint, DmaOps as _};
use vb3_machine::{BusLines, BusSpan, DeviceLimits, FaultKind, Held};

#[test]
fn occupied_memory_leaves_short_runs_and_is_not_held() {
    let mut mapper = mapper(CMA);
    let limits = DeviceLimits::default();
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    let own = mapper
        .alloc_coherent(dev, 5 * PAGE, Attrs::empty())
        .unwrap();
    let before = mapper.platform().held();
    let taken = mapper.platform_mut().occupy_cma(16 * PAGE);
    // One page of each 17 free pages is taken.
    let free = (16 << 20) - 5 * PAGE;
    assert_eq!(taken, free / (17 * PAGE) * PAGE);
    let runs = mapper.platform().free_memory().contiguous;
    let longest = runs.iter().map(|run| run.len).max();
    assert_eq!(longest, Some(16 * PAGE));
    assert_eq!(runs.iter().map(|run| run.len).sum::<u64>(), free - taken);
    assert_eq!(mapper.platform().held(), before);
    let refused = mapper.alloc_coherent(dev, 17 * PAGE, Attrs::empty());
    let reason = refused.unwrap_err().reason().unwrap();
    assert_eq!(
        (reason.constraint, reason.wanted, reason.found),
        (Constraint::Contiguous, 17 * PAGE, 16 * PAGE)
    );
    let more = mapper.alloc_coherent(dev, 16 * PAGE, Attrs::empty());
    assert_eq!(mapper.platform().cma_peak(), 21 * PAGE);
    mapper.free(more.unwrap());
    // With a limit of zero, the remaining pages are taken, too.
    let rest = mapper.platform_mut().occupy_cma(0);
    assert_eq!(rest, free - taken);
    let refused = mapper.alloc_coherent(dev, 2 * PAGE, Attrs::empty());
    let reason = refused.unwrap_err().reason().unwrap();
    assert_eq!(reason.constraint, Constraint::ContiguousPool);
    assert_eq!(mapper.platform_mut().vacate_cma(), free);
    assert_eq!(mapper.platform_mut().vacate_cma(), 0);
    mapper.free(own);
    let runs = mapper.platform().free_memory().contiguous;
    assert_eq!(
        runs.iter().map(|run| run.len).collect::<Vec<_>>(),
        [16 << 20]
    );
    assert_eq!(mapper.platform().held(), Held::default());
}

#[test]
fn one_access_faults_and_no_way_around_it_is_offered() {
    let mut mapper = mapper(&with_iommu(CMA));
    let limits = DeviceLimits::default();
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    let alloc = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let machine = mapper.platform_mut();
    let span = BusSpan { addr, len: 8 };
    assert!(machine.bus_host_spans(dev, &[span]).is_some());
    assert!(machine.fault_next_access(dev));
    assert!(machine.bus_host_spans(dev, &[span]).is_none());
    let mut untouched = |_: &[&[u8]], _: &mut [&mut [u8]]| true;
    let lines = BusLines {
        addr,
        line_bytes: 8,
        count: 1,
        pitch: 8,
    };
    let in_place = machine.bus_in_place(dev, &[], &[lines], &mut untouched);
    assert_eq!(in_place, None);
    let fault = machine.bus_write(dev, addr, b"lost").unwrap_err();
    assert_eq!((fault.kind, fault.addr), (FaultKind::Unmapped, addr));
    assert_eq!(bus_stats(machine, dev).faults, 1);
    let mut seen = [1; 4];
    machine.bus_read(dev, addr, &mut seen).unwrap();
    assert_eq!(seen, [0; 4], "nothing of it has arrived");
    machine.bus_write(dev, addr, b"here").unwrap();
}

#[test]
fn a_device_without_an_iommu_does_not_fault() {
    let mut mapper = mapper(CMA);
    let limits = DeviceLimits::default();
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    assert!(!mapper.platform_mut().fault_next_access(dev));
}
