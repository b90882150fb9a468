//! Copies from one device's memory to another's, and memory that two devices share.

use crate::common::*;
use vb3_dma::{Attrs, Direction, DmaAddr, DmaOps as _};
use vb3_machine::{BusSpan, Device, DeviceLimits, Machine};

type Mapper = vb3_dma::Mapper<Machine>;

const LEN: u64 = 40 * PAGE;

fn with_two(lines: &str) -> (Mapper, Device, Device) {
    let mut mapper = mapper(lines);
    let mut add = |name| {
        let machine = mapper.platform_mut();
        machine.add_device(name, DeviceLimits::default()).unwrap()
    };
    let devices = (add("one"), add("other"));
    (mapper, devices.0, devices.1)
}

fn span(addr: DmaAddr, offset: u64, len: u64) -> BusSpan {
    let addr = addr.checked_add(offset).unwrap();
    BusSpan { addr, len }
}

/// On every machine, each byte that one device reads and another writes arrives once.
#[test]
fn bytes_go_straight_from_one_device_to_another() {
    let not = "coherent = false\ncma = \"16MiB\"";
    for lines in [CMA, not, &with_iommu(CMA), &with_iommu(not)] {
        let (mut mapper, one, other) = with_two(lines);
        let source = mapper.alloc_coherent(one, LEN, Attrs::empty()).unwrap();
        let target = mapper.alloc_coherent(other, LEN, Attrs::empty()).unwrap();
        let from = mapper.alloc_dma_addr(&source).unwrap();
        let to = mapper.alloc_dma_addr(&target).unwrap();
        let machine = mapper.platform_mut();
        let data = pattern(LEN as usize);
        machine.bus_write(one, from, &data).unwrap();
        let before = (bus_stats(machine, one), bus_stats(machine, other));
        let into = span(to, 9, 0).addr;
        let part = span(from, 5, LEN - 100);
        let moved = machine.bus_copy((one, part), (other, into)).unwrap();
        assert_eq!(moved, LEN - 100, "{lines}");
        let mut seen = vec![0; data.len()];
        machine.bus_read(other, to, &mut seen).unwrap();
        let moved = &data[5..data.len() - 95];
        assert_eq!(&seen[9..9 + moved.len()], moved, "{lines}");
        assert!(seen[..9].iter().all(|byte| *byte == 0));
        let after = (bus_stats(machine, one), bus_stats(machine, other));
        assert_eq!(after.0, before.0, "what is read was counted before");
        assert_eq!(
            after.1.bytes_written - before.1.bytes_written,
            LEN - 100,
            "{lines}"
        );
        assert!(!machine.bus_is_same((one, span(from, 0, LEN)), (other, to)));
    }
}

#[test]
fn a_fault_says_whose_address_it_was() {
    let (mut mapper, one, other) = with_two(&with_iommu(CMA));
    let source = mapper.alloc_coherent(one, LEN, Attrs::empty()).unwrap();
    let target = mapper.alloc_coherent(other, LEN, Attrs::empty()).unwrap();
    let from = mapper.alloc_dma_addr(&source).unwrap();
    let to = mapper.alloc_dma_addr(&target).unwrap();
    let whole = span(from, 0, LEN);
    mapper.free(target);
    let machine = mapper.platform_mut();
    let fault = machine.bus_copy((one, whole), (other, to)).unwrap_err();
    assert_eq!((fault.dev, fault.write), (other, true));
    let target = mapper.alloc_coherent(other, LEN, Attrs::empty()).unwrap();
    let to = mapper.alloc_dma_addr(&target).unwrap();
    mapper.free(source);
    let machine = mapper.platform_mut();
    let fault = machine.bus_copy((one, whole), (other, to)).unwrap_err();
    assert_eq!((fault.dev, fault.write), (one, false));
    let faults = |dev| bus_stats(machine, dev).faults;
    assert_eq!((faults(one), faults(other)), (1, 1));
    assert!(!machine.bus_is_same((one, whole), (other, to)));
}

/// The injected faults hit only the writing device, because the read was counted before.
#[test]
fn a_fault_that_was_asked_for_strikes_once() {
    let (mut mapper, one, other) = with_two(&with_iommu(CMA));
    let source = mapper.alloc_coherent(one, LEN, Attrs::empty()).unwrap();
    let target = mapper.alloc_coherent(other, LEN, Attrs::empty()).unwrap();
    let from = span(mapper.alloc_dma_addr(&source).unwrap(), 0, LEN);
    let to = mapper.alloc_dma_addr(&target).unwrap();
    let machine = mapper.platform_mut();
    assert!(machine.fault_next_access(one) && machine.fault_next_access(other));
    let fault = machine.bus_copy((one, from), (other, to)).unwrap_err();
    assert_eq!((fault.dev, fault.write), (other, true));
    assert_eq!(machine.bus_copy((one, from), (other, to)), Ok(LEN));
    assert!(machine.bus_note_read(one, from).is_err());
}

/// Two devices may have different addresses for the same memory, and the same address for different
/// memory.
#[test]
fn memory_is_known_by_itself_and_not_by_its_address() {
    for lines in [CMA, &with_iommu(CMA), &with_iommu(COHERENT)] {
        let (mut mapper, one, other) = with_two(lines);
        // Shifts the second device's addresses, so that the two devices do not assign equal ones.
        let before = mapper.alloc_coherent(other, PAGE, Attrs::empty()).unwrap();
        let shared = mapper.alloc_coherent(one, LEN, Attrs::empty()).unwrap();
        let table = mapper.share(&shared).unwrap();
        let direction = Direction::Bidirectional;
        let mapping = mapper
            .map(other, &table, direction, Attrs::empty())
            .unwrap();
        let from = mapper.alloc_dma_addr(&shared).unwrap();
        let to = segments(&mapper, &mapping)[0].addr;
        let machine = mapper.platform_mut();
        assert!(machine.bus_is_same((one, span(from, 0, LEN)), (other, to)));
        assert!(machine.bus_is_same((one, span(from, 100, PAGE)), (other, span(to, 100, 0).addr)));
        assert!(!machine.bus_is_same((one, span(from, 0, PAGE)), (other, span(to, PAGE, 0).addr)));
        assert!(!machine.bus_is_same((one, span(from, 0, 0)), (other, to)));
        // A copy of memory onto itself leaves its bytes unchanged, and counts as indirect: each byte moves
        // twice.
        let data = pattern(LEN as usize);
        machine.bus_write(one, from, &data).unwrap();
        let whole = span(from, 0, LEN);
        let moved = machine.bus_copy((one, whole), (other, to)).unwrap();
        assert_eq!(moved, 2 * LEN);
        let mut seen = vec![0; data.len()];
        machine.bus_read(other, to, &mut seen).unwrap();
        assert!(seen == data);
        mapper.unmap(mapping, Attrs::empty());
        mapper.free(table);
        mapper.free(before);
        mapper.free(shared);
    }
}
