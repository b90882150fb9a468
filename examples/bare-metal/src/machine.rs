//! The machine behind the mapping layer: its pages, and its IOMMU if it has one.

use crate::frames::{Frames, PAGE, view};
use crate::lock::{Spin, SpinLocks};
use crate::vtd::{Bdf, Fault, Vtd};
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::Once;
use vb3_dma::{
    DeviceInfo, DmaAddr, Error, IommuInfo, Limits, Mapper, PageRequest, PhysAddr, Platform, Prot,
    Segment, SegmentKind,
};

/// The mapping layer on this machine.
pub(crate) type Dma = Mapper<Machine, SpinLocks>;

static DMA: Once<Dma> = Once::new();

/// Maximum number of devices.
const DEVICES: usize = 8;

/// Makes the mapping layer for the whole program.
pub(crate) fn start(machine: Machine) -> Result<&'static Dma, Error> {
    DMA.try_call_once(|| Dma::with_locks(machine, DEVICES))
}

/// A PC whose devices see the CPU's caches. The CPU sees all memory at its physical address.
pub(crate) struct Machine {
    frames: Spin<Frames>,
    vtd: Option<Spin<Vtd>>,
    iommu: Option<IommuInfo>,
    /// The highest address that each device on bus 0 reaches; 0 for a device that is not attached.
    masks: [AtomicU64; 256],
}

impl Machine {
    pub(crate) fn new(frames: Frames, vtd: Option<Vtd>) -> Self {
        Self {
            frames: Spin::holding(frames),
            iommu: vtd.as_ref().map(Vtd::info),
            vtd: vtd.map(Spin::holding),
            masks: [const { AtomicU64::new(0) }; 256],
        }
    }

    /// Returns whether an IOMMU translates the devices' addresses.
    pub(crate) fn translates(&self) -> bool {
        self.vtd.is_some()
    }

    /// Lets a device use DMA. With an IOMMU, the device reaches only mapped memory.
    pub(crate) fn attach(&self, device: Bdf, mask: u64) -> Result<(), Error> {
        let place = self.masks.get(usize::from(device.0));
        place.ok_or(Error::Invalid)?.store(mask, Ordering::Relaxed);
        self.vtd(|vtd, frames| vtd.attach(device, frames))
            .unwrap_or(Ok(()))
    }

    /// Takes the oldest fault that the IOMMU recorded.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.vtd(|vtd, _| vtd.take_fault()).flatten()
    }

    /// Returns how many pages a device reaches through the IOMMU.
    pub(crate) fn mapped_pages(&self, device: Bdf) -> u64 {
        self.vtd(|vtd, _| vtd.pages(device)).unwrap_or(0)
    }

    /// Removes a page table entry without the mapping layer's knowledge, to simulate a defect.
    pub(crate) fn break_entry(&self, device: Bdf, iova: DmaAddr) -> Result<(), Error> {
        self.vtd(|vtd, frames| {
            vtd.unmap(frames, device, iova, PAGE)?;
            vtd.flush(frames, device)
        })
        .unwrap_or(Err(Error::Unsupported))
    }

    fn vtd<R>(&self, act: impl FnOnce(&mut Vtd, &mut Frames) -> R) -> Option<R> {
        let vtd = self.vtd.as_ref()?;
        Some(vtd.with(|vtd| self.frames.with(|frames| act(vtd, frames))))
    }
}

/// Describes this program's memory for the mapping layer: one segment, because the CPU uses
/// physical addresses.
pub(crate) fn run_of(memory: NonNull<[u8]>) -> Segment {
    Segment {
        addr: PhysAddr::new(memory.cast::<u8>().as_ptr().expose_provenance() as u64),
        len: memory.len() as u64,
        kind: SegmentKind::Pages,
    }
}

/// Returns the CPU's pointer to the first byte of a segment.
pub(crate) fn view_of(run: &Segment) -> Option<NonNull<u8>> {
    NonNull::new(view(run.addr))
}

impl Platform for Machine {
    type Device = Bdf;
    type Pages = Vec<Segment>;

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn ram_bytes(&self) -> u64 {
        self.frames.with(|frames| frames.bytes())
    }

    fn device_info(&self, device: Bdf) -> Option<DeviceInfo> {
        let mask = self.masks.get(usize::from(device.0))?;
        let mask = mask.load(Ordering::Relaxed);
        if mask == 0 {
            return None;
        }
        let limits = Limits {
            mask,
            max_segment: u64::MAX,
            ..Limits::default()
        };
        Some(DeviceInfo::new(limits).with_iommu(self.iommu))
    }

    fn alloc_pages(&self, request: PageRequest<Bdf>) -> Result<Vec<Segment>, Error> {
        let run = match request.contiguous {
            true => request.len,
            false => PAGE,
        };
        let mut pages = Vec::new();
        for _ in 0..request.len / run {
            match self
                .frames
                .with(|frames| frames.take((run / PAGE) as usize))
            {
                Ok(addr) => pages.push(Segment {
                    addr,
                    len: run,
                    kind: SegmentKind::Pages,
                }),
                Err(err) => {
                    self.free_pages(pages);
                    return Err(err);
                }
            }
        }
        Ok(pages)
    }

    fn free_pages(&self, pages: Vec<Segment>) {
        self.frames
            .with(|frames| pages.iter().for_each(|run| frames.give(run.addr, run.len)));
    }

    fn pages_segment(&self, pages: &Vec<Segment>, index: usize) -> Option<Segment> {
        pages.get(index).copied()
    }

    fn iommu_map(
        &self,
        device: Bdf,
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        self.vtd(|vtd, frames| vtd.map(frames, device, (iova, phys, len), prot))
            .unwrap_or(Err(Error::Unsupported))
    }

    fn iommu_unmap(&self, device: Bdf, iova: DmaAddr, len: u64) -> Result<(), Error> {
        self.vtd(|vtd, frames| vtd.unmap(frames, device, iova, len))
            .unwrap_or(Err(Error::Unsupported))
    }

    fn iommu_flush(&self, device: Bdf) -> Result<(), Error> {
        self.vtd(|vtd, frames| vtd.flush(frames, device))
            .unwrap_or(Err(Error::Unsupported))
    }

    fn iommu_map_done(&self, device: Bdf, _iova: DmaAddr, _len: u64) -> Result<(), Error> {
        self.vtd(|vtd, frames| match vtd.keeps_absence() {
            true => vtd.flush(frames, device),
            false => Ok(()),
        })
        .unwrap_or(Ok(()))
    }

    /// Reserves the addresses where a device's write is an interrupt, not an access to memory.
    fn reserved_iova(&self, _device: Bdf, index: usize) -> Option<(DmaAddr, DmaAddr)> {
        (index == 0).then_some((DmaAddr::new(0xfee0_0000), DmaAddr::new(0xfeef_ffff)))
    }

    vb3_dma::without!(caches, bounce, users, views);
}

// This machine has no non-coherent caches, no bounce pool and no user memory. The CPU needs no
// mappings, because it uses physical addresses.
