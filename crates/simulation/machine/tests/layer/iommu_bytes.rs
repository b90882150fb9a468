//! Devices follow the bytes of their page table, and a fault names the level at which the walk ended.

use crate::common::*;
use vb3_dma::{Attrs, Direction, DmaAddr, DmaOps as _, Mapper, PhysAddr};
use vb3_machine::{DeviceLimits, FaultKind, Machine};

/// Format, bits of a page, name of the last level, and the number of levels below the root.
///
/// VT-d has three levels in total. Arm stage 1 with 32 bits starts at level 1, and stage 2 has four
/// adjacent tables at level 2. With pages of 16 and 64 KiB, stage 1 starts at level 2.
const FORMATS: [(&str, u32, &str, u32); 5] = [
    ("vt-d", 12, "SS-PTE", 2),
    ("arm-lpae-s1", 12, "level 3", 2),
    ("arm-lpae-s2", 12, "level 3", 1),
    ("arm-lpae-s1", 14, "level 3", 1),
    ("arm-lpae-s1", 16, "level 3", 1),
];

fn lines(format: &str, bits: u32) -> String {
    let page = 1 << bits;
    format!("{COHERENT}\n[iommu]\nformat = \"{format}\"\npage_sizes = [{page}]\naperture = 32")
}

/// Returns the address of the last-level entry for an I/O address, by a walk of the test's own.
///
/// A table is a page of eight-byte entries. Tables are aligned. In all formats, an entry's bits from 47 down
/// to the page size are the address of the next table.
fn last_entry(
    machine: &vb3_machine::Machine,
    root: PhysAddr,
    iova: u64,
    (bits, tables): (u32, u32),
) -> PhysAddr {
    let address = ((1u64 << 48) - 1) & !((1 << bits) - 1);
    let index = bits - 3;
    // The first index consists of all remaining high bits.
    let mut at = root.get() | iova >> (bits + index * tables) << 3;
    for level in (0..tables).rev() {
        let entry = machine.iommu_word(PhysAddr::new(at)).unwrap();
        at = entry & address | (iova >> (bits + index * level) & ((1 << index) - 1)) << 3;
    }
    PhysAddr::new(at)
}

#[test]
fn a_changed_entry_changes_where_the_device_goes() {
    for (format, bits, last, below) in FORMATS {
        let page = 1 << bits;
        let mut mapper = mapper(&lines(format, bits));
        let dev = mapper
            .platform_mut()
            .add_device("dev", DeviceLimits::default())
            .unwrap();
        let alloc = mapper
            .alloc_coherent(dev, 2 * page, Attrs::empty())
            .unwrap();
        let addr = mapper.alloc_dma_addr(&alloc).unwrap();
        let second = addr.checked_add(page).unwrap();
        let machine = mapper.platform_mut();
        machine.bus_write(dev, addr, &[1; 4096]).unwrap();
        machine.bus_write(dev, second, &[2; 4096]).unwrap();
        let root = machine.iommu_root(dev).unwrap();
        let entries = [addr, second].map(|a| last_entry(machine, root, a.get(), (bits, below)));
        let words = entries.map(|at| machine.iommu_word(at).unwrap());
        // The translation buffer keeps the table's former entry until a flush.
        machine.set_iommu_word(entries[0], words[1]);
        vb3_dma::Platform::iommu_flush(machine, dev).unwrap();
        let mut out = [0u8; 4];
        machine.bus_read(dev, addr, &mut out).unwrap();
        assert_eq!(out, [2; 4], "{format}: the device did not walk these bytes");
        machine.set_iommu_word(entries[0], 0);
        vb3_dma::Platform::iommu_flush(machine, dev).unwrap();
        let fault = machine.bus_read(dev, addr, &mut out).unwrap_err();
        assert_eq!((fault.kind, fault.level), (FaultKind::Unmapped, Some(last)));
        assert!(fault.to_string().ends_with(&format!("ended at {last})")));
        machine.set_iommu_word(entries[0], words[0]);
        mapper.free(alloc);
        assert_eq!(mapper.platform().held(), Default::default());
    }
}

#[test]
fn entry_for_freed_memory_is_an_exposed_page() {
    for (format, bits, _, below) in FORMATS {
        let page = 1 << bits;
        let mut mapper = mapper(&lines(format, bits));
        let machine = mapper.platform_mut();
        let dev = machine.add_device("dev", DeviceLimits::default()).unwrap();
        let [freed, kept] = [(); 2].map(|()| mapper.alloc_coherent(dev, page, Attrs::empty()));
        let (freed, kept) = (freed.unwrap(), kept.unwrap());
        let addrs = [&freed, &kept].map(|alloc| mapper.alloc_dma_addr(alloc).unwrap());
        let machine = mapper.platform_mut();
        let root = machine.iommu_root(dev).unwrap();
        let [of_freed, of_kept] = addrs.map(|a| last_entry(machine, root, a.get(), (bits, below)));
        let [to_freed, to_kept] = [of_freed, of_kept].map(|at| machine.iommu_word(at).unwrap());
        assert_eq!(machine.exposed_pages(), 0, "{format}");
        mapper.free(freed);
        let machine = mapper.platform_mut();
        machine.set_iommu_word(of_kept, to_freed);
        assert_eq!(machine.exposed_pages(), 1, "{format}");
        machine.set_iommu_word(of_kept, to_kept);
        mapper.free(kept);
        assert_eq!(mapper.platform().exposed_pages(), 0, "{format}");
    }
}

#[test]
fn faults_name_the_level_at_which_the_walk_ended() {
    let tops = ["SS-PDPE", "level 1", "level 2", "level 2", "level 2"];
    for ((format, bits, last, _), top) in FORMATS.into_iter().zip(tops) {
        let page = 1 << bits;
        let mut mapper = mapper(&lines(format, bits));
        let dev = mapper
            .platform_mut()
            .add_device("dev", DeviceLimits::default())
            .unwrap();
        let level = |mapper: &vb3_dma::Mapper<vb3_machine::Machine>, addr: u64| {
            let reached = mapper
                .platform()
                .bus_translate(dev, DmaAddr::new(addr), false);
            reached.unwrap_err().level
        };
        assert_eq!(level(&mapper, 0x8000_0000), Some(top));
        let alloc = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
        let addr = mapper.alloc_dma_addr(&alloc).unwrap().get();
        // The next page has an entry in the same last table.
        assert_eq!(level(&mapper, addr ^ page), Some(last));
        assert_eq!(level(&mapper, addr ^ 0x8000_0000), Some(top));
        mapper.free(alloc);
    }
}

#[test]
fn tables_use_ram_that_devices_cannot_reach() {
    let mut mapper = mapper(&lines("vt-d", 12));
    let free = |mapper: &Mapper<Machine>| {
        let runs = mapper.platform().free_memory().ordinary;
        runs.iter().map(|run| run.len).sum::<u64>()
    };
    let at_first = free(&mapper);
    let limits = DeviceLimits::default();
    let dev = mapper.platform_mut().add_device("dev", limits).unwrap();
    let bare = DeviceLimits {
        iommu: Some(false),
        ..limits
    };
    let bare = mapper.platform_mut().add_device("bare", bare).unwrap();
    assert_eq!(at_first - free(&mapper), PAGE, "the root");
    let alloc = mapper.alloc_coherent(dev, PAGE, Attrs::empty()).unwrap();
    assert_eq!(at_first - free(&mapper), 4 * PAGE, "three tables");
    assert_eq!(mapper.platform().held().ram_bytes, PAGE);
    let root = mapper.platform().iommu_root(dev).unwrap();
    let stray = DmaAddr::new(root.get());
    let fault = mapper
        .platform_mut()
        .bus_write(bare, stray, &[0; 8])
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::PageTable);
    mapper.free(alloc);
    assert_eq!(at_first - free(&mapper), PAGE);
    assert_eq!(mapper.platform().iommu_word(PhysAddr::new(0)), None);
    assert!(!mapper.platform_mut().set_iommu_word(PhysAddr::new(0), 1));
}

#[test]
fn second_pass_over_a_buffer_needs_no_table() {
    let mut mapper = mapper(&lines("arm-lpae-s1", 12));
    let dev = mapper
        .platform_mut()
        .add_device("dev", DeviceLimits::default())
        .unwrap();
    let alloc = mapper
        .alloc_noncontiguous(dev, 16 * PAGE, Direction::FromDevice, Attrs::empty())
        .unwrap();
    let addr = mapper.alloc_dma_addr(&alloc).unwrap();
    let machine = mapper.platform_mut();
    // Larger accesses store their result instead of asking the translation buffer again (host_spans.rs).
    let pass = |machine: &mut Machine| {
        let pages = (0..16).map(|page| addr.checked_add(page * PAGE).unwrap());
        let writes = pages.map(|addr| machine.bus_write(dev, addr, &[7; PAGE as usize]));
        writes.filter(Result::is_ok).count()
    };
    assert_eq!(pass(machine), 16);
    // The root's entries: four GiB of I/O addresses.
    let root = machine.iommu_root(dev).unwrap();
    for entry in 0..4 {
        assert!(machine.set_iommu_word(root.checked_add(entry * 8).unwrap(), 0));
    }
    assert_eq!(pass(machine), 16, "from the translation buffer");
    vb3_dma::Platform::iommu_flush(machine, dev).unwrap();
    assert_eq!(pass(machine), 0);
}
