//! Map and unmap of one segment, again and again, for a tool that counts instructions.

use crate::platform::{Devices, PAGE};
use std::hint::black_box;
use vb3_dma::mapped::{FromDevice, ToDevice};
use vb3_dma::{Mapper, PhysAddr, Segment};
use vb3_dma_test::fake::Mutexes;

const DEVICE: u32 = 0;

const fn page(n: u64) -> Segment {
    Segment::pages(PhysAddr::new((1 << 40) + n * PAGE), PAGE)
}

/// Maps and unmaps `rounds` times, with an IOMMU or without.
pub(crate) fn rounds(has_iommu: bool, rounds: u64) {
    let hosts = Devices::new(usize::from(has_iommu));
    let dma = Mapper::<_, Mutexes>::with_locks(hosts, 1).expect("a mapper");
    let device = dma.device(DEVICE).expect("a device");
    // Stays mapped, as a driver's queue does. Without it, each mapping would be the device's only one.
    let queue = device.map_raw(page(0), ToDevice).expect("mapped");
    for _ in 0..rounds {
        let mapped = device.map_raw(black_box(page(2)), FromDevice);
        black_box(mapped.expect("mapped").addr());
    }
    drop(queue);
}
