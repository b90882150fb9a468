//! Plain adapters, as in the drivers' examples: they give devices CPU addresses.

use crate::hal::OnDma;
use crate::machine::run_of;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use dma_api::{DmaAllocHandle, DmaConstraints, DmaDirection, DmaError, DmaMapHandle, DmaOp};
use virtio_drivers::{BufferDirection, Hal};

/// Allocates memory from the heap, and gives devices CPU addresses.
pub(super) struct PlainAdapter;

/// Number of the disk. `PlainAdapter` allocates this device's rings by `OnDma<DISK>`.
pub(super) const DISK: usize = 3;

// SAFETY: `OnDma` meets the contract of all methods but `share`, which returns CPU addresses. A
// device gets them only without an IOMMU, and then sees memory at these addresses.
unsafe impl Hal for PlainAdapter {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (u64, NonNull<u8>) {
        OnDma::<DISK>::dma_alloc(pages, direction)
    }

    unsafe fn dma_dealloc(addr: u64, seen: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: by the caller.
        unsafe { OnDma::<DISK>::dma_dealloc(addr, seen, pages) }
    }

    unsafe fn mmio_phys_to_virt(addr: u64, size: usize) -> NonNull<u8> {
        // SAFETY: by the caller.
        unsafe { OnDma::<DISK>::mmio_phys_to_virt(addr, size) }
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> u64 {
        run_of(buffer).addr.get()
    }

    unsafe fn unshare(_addr: u64, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

impl DmaOp for PlainAdapter {
    fn page_size(&self) -> usize {
        4096
    }

    unsafe fn alloc_contiguous(
        &self,
        _constraints: DmaConstraints,
        layout: Layout,
    ) -> Option<DmaAllocHandle> {
        // SAFETY: callers never request zero bytes.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let addr = memory.as_ptr().expose_provenance() as u64;
        // SAFETY: just allocated with this layout; devices see it at the CPU's address.
        Some(unsafe { DmaAllocHandle::new(memory, memory, addr.into(), layout) })
    }

    unsafe fn dealloc_contiguous(&self, handle: DmaAllocHandle) {
        // SAFETY: allocated above, with this layout.
        unsafe { dealloc(handle.allocation_ptr().as_ptr(), handle.layout()) }
    }

    unsafe fn alloc_coherent(
        &self,
        constraints: DmaConstraints,
        layout: Layout,
    ) -> Option<DmaAllocHandle> {
        // SAFETY: by the caller.
        unsafe { self.alloc_contiguous(constraints, layout) }
    }

    unsafe fn dealloc_coherent(&self, handle: DmaAllocHandle) -> Result<(), DmaError> {
        // SAFETY: by the caller.
        unsafe { self.dealloc_contiguous(handle) };
        Ok(())
    }

    unsafe fn map_streaming(
        &self,
        constraints: DmaConstraints,
        addr: NonNull<u8>,
        size: NonZeroUsize,
        _direction: DmaDirection,
    ) -> Result<DmaMapHandle, DmaError> {
        let layout = Layout::from_size_align(size.get(), constraints.align)?;
        let seen = addr.as_ptr().expose_provenance() as u64;
        // SAFETY: the caller's buffer; devices see it at the CPU's address.
        Ok(unsafe { DmaMapHandle::new(addr, seen.into(), layout, None) })
    }

    unsafe fn unmap_streaming(&self, _handle: DmaMapHandle) {}
}
