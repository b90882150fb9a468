//! `dma_api::DmaOp` over the mapping layer, for one device.
//!
//! Devices of this machine see the CPU's caches, and need no cache syncs. The trait's default methods
//! for syncs do nothing, so this module does not override them.

use crate::driven::Driven;
use crate::machine::Dma;
use crate::vtd::Bdf;
use core::alloc::Layout;
use core::num::{NonZeroU64, NonZeroUsize};
use core::ptr::NonNull;
use dma_api::{
    DeviceDma, DmaAllocHandle, DmaCoherency, DmaConstraints, DmaDeviceInfo, DmaDirection,
    DmaDomainId, DmaError, DmaMapHandle, DmaOp,
};
use vb3_dma::{Direction, Error};

/// A device's memory behind the interface of `dma-api`.
pub(crate) struct OpOnDma {
    pub(crate) driven: Driven,
}

impl OpOnDma {
    /// Lets a device use DMA.
    pub(crate) fn attach(dma: &'static Dma, device: Bdf) -> Result<Self, Error> {
        let driven = Driven::attach(dma, device)?;
        Ok(Self { driven })
    }

    /// Returns the handle that a driver uses.
    pub(crate) fn device_dma(&'static self, translates: bool) -> DeviceDma {
        let domain = match NonZeroU64::new(u64::from(self.driven.bdf().0) + 1) {
            Some(id) if translates => DmaDomainId::Translated(id),
            _ => DmaDomainId::Direct,
        };
        let constraints = DmaConstraints::new(u64::MAX);
        let info = DmaDeviceInfo::new(domain, DmaCoherency::Coherent, constraints);
        DeviceDma::new(info, self)
    }

    fn alloc(&self, layout: Layout) -> Option<DmaAllocHandle> {
        // Memory is aligned to pages. If a layout needs more, `dma-api` checks the address and may refuse it.
        let (addr, seen) = self.driven.alloc(layout.size())?;
        // SAFETY: the pages are zeroed, have the layout's size and this address for the device, and
        // no other code uses them until they are freed.
        Some(unsafe { DmaAllocHandle::new(seen, seen, addr.into(), layout) })
    }
}

impl DmaOp for OpOnDma {
    fn page_size(&self) -> usize {
        4096
    }

    unsafe fn alloc_contiguous(
        &self,
        _constraints: DmaConstraints,
        layout: Layout,
    ) -> Option<DmaAllocHandle> {
        self.alloc(layout)
    }

    unsafe fn dealloc_contiguous(&self, handle: DmaAllocHandle) {
        let is_known = self.driven.free(handle.dma_addr().as_u64());
        assert!(is_known, "{handle:?} was never allocated");
    }

    unsafe fn alloc_coherent(
        &self,
        _constraints: DmaConstraints,
        layout: Layout,
    ) -> Option<DmaAllocHandle> {
        self.alloc(layout)
    }

    unsafe fn dealloc_coherent(&self, handle: DmaAllocHandle) -> Result<(), DmaError> {
        let is_known = self.driven.free(handle.dma_addr().as_u64());
        is_known
            .then_some(())
            .ok_or(DmaError::CoherentReleaseFailed)
    }

    unsafe fn map_streaming(
        &self,
        constraints: DmaConstraints,
        addr: NonNull<u8>,
        size: NonZeroUsize,
        direction: DmaDirection,
    ) -> Result<DmaMapHandle, DmaError> {
        let layout = Layout::from_size_align(size.get(), constraints.align)?;
        let direction = match direction {
            DmaDirection::ToDevice => Direction::ToDevice,
            DmaDirection::FromDevice => Direction::FromDevice,
            DmaDirection::Bidirectional => Direction::Bidirectional,
        };
        let buffer = NonNull::slice_from_raw_parts(addr, size.get());
        let shared = self.driven.share(buffer, direction);
        let shared = shared.map_err(|_| DmaError::NoMemory)?;
        // SAFETY: the caller's buffer, mapped in place.
        Ok(unsafe { DmaMapHandle::new(addr, shared.into(), layout, None) })
    }

    unsafe fn unmap_streaming(&self, handle: DmaMapHandle) {
        self.driven.unshare(handle.dma_addr().as_u64());
    }
}
