//! Translates each device's requirements on shared memory (alignment, addresses) for
//! `vb3_machine::solve`, which finds memory that suits all devices.

use vb3_devices::spec::Allocator;
use vb3_dma::{DmaOps as _, Mapper, Platform as _, Protected};
use vb3_machine::solve::{Needs, Translation};
use vb3_machine::{Demands, Device, Machine};

/// A device, and its needs beyond those that the machine knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants {
    pub(super) dma: Device,
    pub(super) allocator: Allocator,
    /// Alignment of picture lines in bytes.
    pub(super) stride_align: u32,
    pub(super) demands: Demands,
}

impl Wants {
    /// Returns what the device needs of a buffer, or `None` if the machine has no such device.
    pub(super) fn needs(&self, ops: &Mapper<Machine>) -> Option<Needs> {
        let machine = ops.platform();
        let stride_align = u64::from(self.stride_align);
        if self.allocator == Allocator::Vmalloc {
            // The device accesses memory with the CPU.
            return Some(Needs {
                stride_align,
                ..of_programs()
            });
        }
        let info = machine.device_info(self.dma)?;
        let iommu = info.iommu.and_then(|iommu| {
            let last = info.limits.mask.min(iommu.last.get());
            let held = ops.iova_bytes(self.dma);
            Some(Translation {
                granule: iommu.granule()?,
                // Address 0 is never allocated.
                free_bytes: last.saturating_sub(iommu.granule()?).saturating_sub(held),
            })
        });
        let mut limits = info.limits;
        let (mut first, mut offset) = (0, 0);
        if let Some(window) = machine.bus_window(self.dma)
            && let Some((_, last)) = window.last()
        {
            limits.mask = limits.mask.min(last.get());
            first = window.bus.get();
            // Two's complement: the offset is negative if the bus addresses are below the memory's addresses.
            offset = first.wrapping_sub(window.memory.get()).cast_signed();
        }
        Some(Needs {
            limits,
            first,
            offset,
            align: machine.min_address_align(self.dma),
            iommu,
            one_run: self.allocator == Allocator::Contig,
            snoops: ops.coherency(self.dma) == vb3_dma::Coherency::Coherent,
            coherent: self.demands.coherent,
            pages: self.demands.pages,
            protection: match self.demands.protected {
                Protected::Also if machine.profile().private_memory => Protected::Never,
                other => other,
            },
            stride_align,
            ..Needs::default()
        })
    }
}

/// Returns the needs of programs that map memory. They need memory that is not protected from the CPU.
pub(super) fn of_programs() -> Needs {
    Needs {
        protection: Protected::Never,
        ..Needs::default()
    }
}
