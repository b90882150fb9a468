//! Devices whose bus reaches only a part of memory, at other addresses.

use crate::common::*;
use vb3_dma::{Attrs, Constraint, Direction, DmaAddr, DmaOps as _, Error, PhysAddr};
use vb3_machine::{BusWindow, Device, DeviceLimits, FaultKind, Machine};

type Mapper = vb3_dma::Mapper<Machine>;

const BUS: u64 = 0xc000_0000;

/// Adds a device that reaches the first `len` bytes of memory, at [`BUS`].
fn with_window(lines: &str, len: u64) -> (Mapper, Device) {
    let mut mapper = mapper(lines);
    let window = BusWindow {
        memory: PhysAddr::new(0),
        bus: DmaAddr::new(BUS),
        len,
    };
    let limits = DeviceLimits {
        window: Some(window),
        ..DeviceLimits::default()
    };
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    (mapper, dev)
}

#[test]
fn allocations_are_seen_only_in_the_window() {
    let (mut mapper, dev) = with_window(CMA, 8 << 20);
    let alloc = mapper
        .alloc_coherent(dev, 4 * PAGE, Attrs::empty())
        .unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    assert!((BUS..BUS + (8 << 20)).contains(&addr.get()), "{addr}");
    let machine = mapper.platform_mut();
    machine.bus_write(dev, addr, b"seen").unwrap();
    let (phys, _) = machine.bus_translate(dev, addr, true).unwrap();
    assert_eq!(phys.get(), addr.get() - BUS);
    for at in [phys.get(), BUS - 4, BUS + (8 << 20)] {
        let fault = machine
            .bus_write(dev, DmaAddr::new(at), b"lost")
            .unwrap_err();
        assert_eq!(fault.kind, FaultKind::NoMemory, "{at:#x}");
    }
    // An access that leaves the window faults.
    let end = DmaAddr::new(BUS + (8 << 20) - 2);
    assert!(machine.bus_write(dev, end, b"lost").is_err());
    mapper.free(alloc);
}

#[test]
fn it_gets_no_memory_from_beyond_its_window() {
    // The contiguous area has 16 MiB and begins at 1 MiB. The device reaches 3 MiB of it.
    let (mapper, dev) = with_window(CMA, 4 << 20);
    let all = mapper.alloc_coherent(dev, 3 << 20, Attrs::empty()).unwrap();
    let error = mapper
        .alloc_coherent(dev, 2 * PAGE, Attrs::empty())
        .unwrap_err();
    assert_eq!(error.reason().unwrap().constraint, Constraint::Mask);
    mapper.free(all);
}

/// The mask limits addresses on the bus, not the addresses of memory.
#[test]
fn memory_above_the_mask_is_allocated_in_the_window() {
    const M: u64 = 1 << 20;
    let mut mapper = mapper(CMA);
    let limits = DeviceLimits::default();
    let other = mapper.platform_mut().add_device("other", limits).unwrap();
    let limits = DeviceLimits {
        mask: Some(2 * M - 1),
        window: Some(BusWindow {
            memory: PhysAddr::new(16 * M),
            bus: DmaAddr::new(0),
            len: 2 * M,
        }),
        ..limits
    };
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    // The window begins in the last MiB of the contiguous area and ends in ordinary memory.
    let below = mapper.alloc_coherent(other, 15 * M, Attrs::empty());
    let last = mapper.alloc_coherent(dev, M, Attrs::empty()).unwrap();
    assert_eq!(mapper.alloc_dma_addr(&last), Some(DmaAddr::new(0)));
    let pages = mapper.alloc_scattered(dev, 8 * PAGE).unwrap();
    let table = mapper.share(&pages).unwrap();
    let mapping = mapper.map(dev, &table, Direction::ToDevice, Attrs::empty());
    mapper.unmap(mapping.unwrap(), Attrs::empty());
    mapper.free(table);
    for alloc in [below.unwrap(), last, pages] {
        mapper.free(alloc);
    }
}

/// Memory that ends beyond a device's window is refused, and the reason has the first address beyond it. On
/// a board, the device would reach other memory there.
#[test]
fn memory_across_the_end_of_a_window_is_refused() {
    let (mut mapper, dev) = with_window(CMA, 4 << 20);
    let limits = DeviceLimits::default();
    let other = mapper.platform_mut().add_device("other", limits).unwrap();
    // The contiguous area has 16 MiB and begins at 1 MiB.
    let allocs = [(), ()].map(|()| {
        let alloc = mapper.alloc_coherent(other, 2 << 20, Attrs::empty());
        alloc.unwrap()
    });
    let [below, across] = [0, 1].map(|n: usize| {
        let table = mapper.share(&allocs[n]).unwrap();
        let mapped = mapper.map(dev, &table, Direction::ToDevice, Attrs::empty());
        let mapped = mapped.map(|mapping| {
            let addr = segments(&mapper, &mapping)[0].addr;
            mapper.unmap(mapping, Attrs::empty());
            addr.get()
        });
        mapper.free(table);
        mapped
    });
    assert_eq!(below, Ok(BUS + (1 << 20)));
    let reason = across.unwrap_err().reason().unwrap();
    assert_eq!(
        (reason.constraint, reason.wanted),
        (Constraint::BusWindow, 4 << 20)
    );
    allocs.into_iter().for_each(|alloc| mapper.free(alloc));
}

#[test]
fn a_window_that_cannot_be_is_refused() {
    let window = |memory, bus, len| DeviceLimits {
        window: Some(BusWindow {
            memory: PhysAddr::new(memory),
            bus: DmaAddr::new(bus),
            len,
        }),
        ..DeviceLimits::default()
    };
    let mut plain = machine(CMA);
    for limits in [
        window(0, BUS, 0),
        window(0, BUS, 1 << 31),
        window(u64::MAX, 0, 2),
        window(0, u64::MAX, 2),
    ] {
        assert_eq!(plain.add_device("dev", limits), Err(Error::Invalid));
    }
    let mut translated = machine(&with_iommu(COHERENT));
    let limits = window(0, BUS, PAGE);
    assert_eq!(translated.add_device("dev", limits), Err(Error::Invalid));
}
