//! Tests how often the location of a device's memory is searched.

use crate::{BusSpan, DeviceLimits, Machine, Profile};
use std::sync::atomic::Ordering;
use vb3_dma::{Attrs, DmaOps as _, Mapper};

const LEN: u64 = 5 * 4096;

#[test]
fn memory_is_found_once_until_translations_change() {
    let text = "name = \"test\"\nram = \"64MiB\"\ncoherent = true\ndma_mask = 32\n\
                [iommu]\npage_sizes = [\"4KiB\"]\naperture = 32\n";
    let machine = Machine::new(&Profile::parse(text).unwrap(), 1).unwrap();
    let mut mapper: Mapper<Machine> = Mapper::new(machine).unwrap();
    let limits = DeviceLimits::default();
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    let alloc = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let whole = BusSpan { addr, len: LEN };
    let mut bytes = vec![7; LEN as usize];
    let mut searches = |machine: &mut Machine| {
        let looked = |machine: &mut Machine| {
            machine
                .state
                .get_mut()
                .memory
                .looked
                .load(Ordering::Relaxed)
        };
        let before = looked(machine);
        machine.bus_write(dev, addr, &bytes).unwrap();
        machine.bus_read(dev, addr, &mut bytes).unwrap();
        assert!(machine.bus_host_spans(dev, &[whole]).is_some());
        machine.bus_note_written(dev, whole).unwrap();
        machine.bus_note_read(dev, whole).unwrap();
        looked(machine) - before
    };
    assert!(searches(mapper.platform_mut()) > 0);
    assert_eq!(searches(mapper.platform_mut()), 0);
    // A loopback compares its buffers in each tick.
    let looked = |machine: &Machine| machine.state.borrow().memory.looked.load(Ordering::Relaxed);
    let before = looked(mapper.platform_mut());
    assert!(mapper.platform_mut().bus_is_same((dev, whole), (dev, addr)));
    assert!(looked(mapper.platform_mut()) - before <= 2, "not all pages");
    let other = mapper.alloc_coherent(dev, LEN, Attrs::empty()).unwrap();
    assert!(searches(mapper.platform_mut()) > 0);
    mapper.free(alloc);
    mapper.free(other);
}
