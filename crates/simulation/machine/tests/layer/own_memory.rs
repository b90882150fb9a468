//! A device's own memory: only claimed parts have bytes, and no owner sees another's.

use crate::common::*;
use vb3_dma::{Attrs, Constraint, DmaAddr, DmaOps as _};
use vb3_machine::{DeviceLimits, Faults, Held};

#[test]
fn each_part_of_own_memory_has_its_file() {
    let mut mapper = mapper(CMA);
    let machine = mapper.platform_mut();
    let dev = machine.add_device("dev", DeviceLimits::default()).unwrap();
    let own = mapper.platform_mut().reserve_physical(8 * PAGE).unwrap();
    let at = DmaAddr::new(own.addr.get());
    let mut byte = [0u8; 1];
    let nothing = mapper.platform_mut().bus_read(dev, at, &mut byte);
    assert_eq!(nothing.unwrap_err().addr, at, "nothing is claimed yet");
    mapper.declare_coherent(dev, own, at).unwrap();
    let allocs = [3, 2].map(|pages| {
        let alloc = mapper.alloc_coherent(dev, pages * PAGE, Attrs::empty());
        alloc.unwrap()
    });
    assert_eq!(mapper.platform().claimed_bytes(), 5 * PAGE);
    let mut ends = Vec::new();
    for alloc in &allocs {
        let addr = mapper.alloc_dma_addr(alloc).unwrap();
        mapper.platform_mut().bus_write(dev, addr, b"own").unwrap();
        let shown = mapper.mmap(alloc, 0, PAGE).unwrap();
        let mut seen = [0u8; 3];
        assert_eq!(rustix::io::pread(&shown.fd, &mut seen, 0), Ok(3));
        assert_eq!((shown.offset, &seen), (0, b"own"));
        ends.push(shown);
    }
    let [first, second] = allocs;
    let addr = mapper.alloc_dma_addr(&first).unwrap();
    mapper.free(first);
    assert_eq!(mapper.platform().claimed_bytes(), 2 * PAGE);
    let gone = mapper.platform_mut().bus_read(dev, addr, &mut byte);
    assert_eq!(gone.unwrap_err().addr, addr, "it is nobody's now");
    // The next allocation there has new bytes, for the device and for programs that kept the old file.
    let again = mapper
        .alloc_coherent(dev, 6 * PAGE, Attrs::empty())
        .unwrap_err();
    assert_eq!(again.errno(), 12);
    let again = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&again).unwrap();
    mapper
        .platform_mut()
        .bus_read(dev, addr, &mut byte)
        .unwrap();
    assert_eq!(byte, [0]);
    mapper.platform_mut().bus_write(dev, addr, b"new").unwrap();
    let mut old = [0u8; 3];
    assert_eq!(rustix::io::pread(&ends[0].fd, &mut old, 0), Ok(3));
    assert_eq!(
        &old, b"own",
        "who kept the old memory sees nothing of the new"
    );
    mapper.free(again);
    mapper.free(second);
    assert_eq!(mapper.platform().claimed_bytes(), 0);
    assert!(mapper.live().is_empty());
    assert_eq!(mapper.platform().held(), Held::default());
}

#[test]
fn a_claim_that_fails_leaves_nothing() {
    let mut mapper = mapper(CMA);
    let machine = mapper.platform_mut();
    let dev = machine.add_device("dev", DeviceLimits::default()).unwrap();
    let own = mapper.platform_mut().reserve_physical(2 * PAGE).unwrap();
    let at = DmaAddr::new(own.addr.get());
    mapper.declare_coherent(dev, own, at).unwrap();
    mapper.platform_mut().set_faults(Faults::Nth(0));
    let err = mapper
        .alloc_coherent(dev, 2 * PAGE, Attrs::empty())
        .unwrap_err();
    assert_eq!(err.reason().unwrap().constraint, Constraint::InjectedFault);
    mapper.platform_mut().set_faults(Faults::Off);
    assert_eq!(mapper.platform().claimed_bytes(), 0);
    assert!(mapper.live().is_empty());
    let alloc = mapper
        .alloc_coherent(dev, 2 * PAGE, Attrs::empty())
        .unwrap();
    mapper.free(alloc);
    mapper.remove_device(dev).unwrap();
}
