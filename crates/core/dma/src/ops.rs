//! The upper interface: the calls of buffer code on a DMA layer.

use crate::{Attrs, Caching, Coherency, Direction, DmaAddr, DmaSegment, Error, SyncFor};

/// The interface of a DMA layer for buffer code.
///
/// [`Mapper`](crate::Mapper) implements it over any [`Platform`](crate::Platform); a kernel implements it
/// with its own DMA API. Each value of `Memory`, `Mapping` and `Vmap` owns a resource. To release it,
/// the caller passes the value to `free`, `unmap` or `vunmap`.
///
/// All methods take `&self`: several queues may call one layer at the same time. The layer keeps
/// its own locks, and holds none of them while it waits for memory.
///
/// # Context
/// All methods may sleep unless they say otherwise.
#[expect(
    unused_variables,
    reason = "some default methods need not use their arguments"
)]
pub trait DmaOps {
    /// A device that does DMA.
    type Device: Copy + Eq + core::fmt::Debug;
    /// The memory of a program, whose ranges can be pinned.
    type User: Clone;
    /// Memory: allocated, or pinned in a program. [`Mapper`](crate::Mapper) counts it, so that it outlives its
    /// mappings.
    type Memory;
    /// Memory mapped for one device.
    type Mapping;
    /// A kernel (CPU) mapping of memory.
    type Vmap;
    /// A description of memory that a front end can map into a program.
    type Mmap;

    /// Returns the size of a CPU page, in bytes.
    fn page_size(&self) -> u64;

    /// Returns the alignment in bytes that user memory must have for `dev`: a cache line, or 1 if coherent.
    ///
    /// Source: Linux `dma_get_cache_alignment`.
    fn cache_alignment(&self, dev: Self::Device) -> u64;

    /// Returns whether `dev` sees the CPU's caches.
    fn coherency(&self, dev: Self::Device) -> Coherency;

    /// Allocates zeroed memory that device and CPU see alike without syncs, as one run of addresses for `dev`.
    ///
    /// Source: Linux `dma_alloc_coherent`, differs: the address is a multiple of a page (or of the IOMMU's larger
    /// granule), and not always of the size rounded up to a power of two.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) with the pool that ran out; `Invalid` for size zero or overflow.
    fn alloc_coherent(
        &self,
        dev: Self::Device,
        len_bytes: u64,
        attrs: Attrs,
    ) -> Result<Self::Memory, Error>;

    /// Allocates zeroed cached memory that is one run of addresses for `dev` and needs syncs.
    ///
    /// Source: Linux `dma_alloc_noncontiguous`, differs: always zeroed.
    ///
    /// # Errors
    /// As [`alloc_coherent`](Self::alloc_coherent).
    fn alloc_noncontiguous(
        &self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Memory, Error>;

    /// Allocates zeroed, cached memory that is contiguous only for the CPU (`vmalloc_user`). The call does not map it
    /// for a device.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM).
    fn alloc_virtual(&self, len_bytes: u64) -> Result<Self::Memory, Error>;

    /// Allocates as [`alloc_virtual`](Self::alloc_virtual), in pages that `dev` reaches: without an IOMMU, pages
    /// below the device's mask (`__GFP_DMA32`). The default method allocates any pages.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM).
    fn alloc_scattered(&self, dev: Self::Device, len_bytes: u64) -> Result<Self::Memory, Error> {
        self.alloc_virtual(len_bytes)
    }

    /// Gives memory back: frees an allocation and its own device mapping, or unpins a program's memory. Marks pinned
    /// pages dirty if they were pinned for a device that writes.
    fn free(&self, memory: Self::Memory);

    /// Returns the allocation's address for the device that requested it; `None` for virtual memory.
    fn alloc_dma_addr(&self, memory: &Self::Memory) -> Option<DmaAddr>;

    /// Hands the whole allocation over to the device or the CPU (`sync`). Returns whether cache maintenance was
    /// necessary and done.
    ///
    /// # Context
    /// Does not sleep.
    fn sync_alloc(&self, memory: &Self::Memory, direction: Direction, sync: SyncFor) -> bool;

    /// Returns how the CPU maps the allocation.
    fn alloc_caching(&self, memory: &Self::Memory) -> Caching;

    /// Prepares an allocation to be mapped for devices, so that no later call fails for lack of a scatter table. The
    /// default method is for layers that need no preparation.
    ///
    /// # Errors
    /// `NoMemory`; `NoSuchMemory` (ENXIO) if the memory cannot be described.
    fn describe(&self, memory: &mut Self::Memory) -> Result<(), Error> {
        Ok(())
    }

    /// Pins `len_bytes` of a program's memory at `addr`.
    ///
    /// # Errors
    /// `BadUserMemory` (EFAULT) when part of the memory is missing, read-only where `direction` lets the
    /// device write, or not ordinary memory; `NoMemory`; `Pin` with the host's errno for any other failure;
    /// `Invalid` for length zero or overflow.
    fn pin_user(
        &self,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Memory, Error>;

    /// Returns whether pinned memory is still the memory at `addr` of `user`. A host that pins pages returns
    /// false after the program has mapped other memory there; a host that looks up the address at each access
    /// may always return true.
    fn is_current(&self, memory: &Self::Memory, user: &Self::User, addr: u64) -> bool;

    /// Returns the length of memory in bytes.
    fn memory_len(&self, memory: &Self::Memory) -> u64;

    /// Maps memory for `dev`. If the memory is an allocation, the caller has [described](Self::describe) it before.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM), `Unmappable` (EIO), `Invalid`. After these errors, nothing is mapped and no
    /// resource is held. `StillReachable` (EIO): the memory could neither be mapped as a whole nor unmapped.
    fn map(
        &self,
        dev: Self::Device,
        memory: &Self::Memory,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Mapping, Error>;

    /// Ends a mapping. Behind an IOMMU, later accesses of the device fault. If a translation cannot be removed,
    /// the layer quarantines the memory; [`try_unmap`](Self::try_unmap) reports this failure.
    fn unmap(&self, mapping: Self::Mapping, attrs: Attrs);

    /// Ends a mapping as [`unmap`](Self::unmap). The default method is for layers whose unmaps cannot fail.
    ///
    /// # Errors
    /// `StillReachable` (EIO): the device may still reach the memory, so the memory's owner must not reuse
    /// it. The layer itself quarantines memory that it allocated or pinned.
    fn try_unmap(&self, mapping: Self::Mapping, attrs: Attrs) -> Result<(), Error> {
        self.unmap(mapping, attrs);
        Ok(())
    }

    /// Makes ended mappings unreachable for devices now, in a layer that flushes I/O page tables later.
    ///
    /// # Errors
    /// The hardware's error. Devices may still reach the memory of ended mappings, which stays allocated.
    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Hands mapped memory over to the device or the CPU (`sync`). Returns whether cache maintenance or a
    /// bounce copy was necessary. As in Linux, the CPU's writes between syncs to a `FromDevice` mapping
    /// that bounces are lost.
    ///
    /// # Errors
    /// The error of the bounce copy, such as `BadUserMemory` (EFAULT). The receiver does not see all bytes.
    ///
    /// # Context
    /// Does not sleep.
    fn sync(
        &self,
        mapping: &Self::Mapping,
        direction: Direction,
        sync: SyncFor,
    ) -> Result<bool, Error>;

    /// Returns segment `index` of the mapping as the device sees it; `None` past the last.
    fn segment(&self, mapping: &Self::Mapping, index: usize) -> Option<DmaSegment>;

    /// Returns whether the device sees a copy (a bounce slot) of all or part of the mapping's memory.
    fn bounces(&self, mapping: &Self::Mapping) -> bool {
        false
    }

    /// Maps memory for the CPU (the kernel's view).
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM); `Invalid` (EINVAL) if the memory is not placed yet; `NoSuchMemory` (ENXIO) for ranges
    /// without pages that have no CPU address.
    fn vmap(&self, memory: &Self::Memory) -> Result<Self::Vmap, Error>;

    /// Removes a CPU mapping.
    fn vunmap(&self, vmap: Self::Vmap);

    /// Reads bytes of a CPU mapping from `offset` on, as the CPU sees the memory.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) outside the mapping; `Unsupported` where mappings cannot be read
    /// through this interface.
    fn vmap_read(&self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Writes bytes to a CPU mapping from `offset` on, as the CPU sees the memory.
    ///
    /// # Errors
    /// As [`vmap_read`](Self::vmap_read).
    fn vmap_write(&self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Describes `len_bytes` at `offset` of an allocation, so that they can be mapped into a program.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) if the range ends beyond the allocation, whose length is rounded up to pages.
    fn mmap(&self, memory: &Self::Memory, offset: u64, len_bytes: u64)
    -> Result<Self::Mmap, Error>;
}

/// Forwards calls to the layer behind a reference, and keeps the caller's source location.
macro_rules! forward {
    ($(fn $name:ident(&self $(, $arg:ident: $ty:ty)*) $(-> $ret:ty)?;)*) => {
        $(
            #[track_caller]
            fn $name(&self $(, $arg: $ty)*) $(-> $ret)? {
                (**self).$name($($arg),*)
            }
        )*
    };
}

/// Implements the trait for a reference to a layer.
macro_rules! implement_for {
    ($reference:ty) => {
        impl<O: DmaOps + ?Sized> DmaOps for $reference {
            type Device = O::Device;
            type User = O::User;
            type Memory = O::Memory;
            type Mapping = O::Mapping;
            type Vmap = O::Vmap;
            type Mmap = O::Mmap;

            forward! {
                fn page_size(&self) -> u64;
                fn cache_alignment(&self, dev: O::Device) -> u64;
                fn coherency(&self, dev: O::Device) -> Coherency;
                fn alloc_coherent(&self, dev: O::Device, len: u64, attrs: Attrs) -> Result<O::Memory, Error>;
                fn alloc_noncontiguous(&self, dev: O::Device, len: u64, direction: Direction, attrs: Attrs)
                    -> Result<O::Memory, Error>;
                fn alloc_virtual(&self, len: u64) -> Result<O::Memory, Error>;
                fn alloc_scattered(&self, dev: O::Device, len: u64) -> Result<O::Memory, Error>;
                fn free(&self, memory: O::Memory);
                fn alloc_dma_addr(&self, memory: &O::Memory) -> Option<DmaAddr>;
                fn sync_alloc(&self, memory: &O::Memory, direction: Direction, sync: SyncFor) -> bool;
                fn alloc_caching(&self, memory: &O::Memory) -> Caching;
                fn describe(&self, memory: &mut O::Memory) -> Result<(), Error>;
                fn pin_user(&self, user: &O::User, addr: u64, len: u64, direction: Direction)
                    -> Result<O::Memory, Error>;
                fn is_current(&self, memory: &O::Memory, user: &O::User, addr: u64) -> bool;
                fn memory_len(&self, memory: &O::Memory) -> u64;
                fn map(&self, dev: O::Device, memory: &O::Memory, direction: Direction, attrs: Attrs)
                    -> Result<O::Mapping, Error>;
                fn unmap(&self, mapping: O::Mapping, attrs: Attrs);
                fn try_unmap(&self, mapping: O::Mapping, attrs: Attrs) -> Result<(), Error>;
                fn flush(&self) -> Result<(), Error>;
                fn sync(&self, mapping: &O::Mapping, direction: Direction, sync: SyncFor)
                    -> Result<bool, Error>;
                fn segment(&self, mapping: &O::Mapping, index: usize) -> Option<DmaSegment>;
                fn bounces(&self, mapping: &O::Mapping) -> bool;
                fn vmap(&self, memory: &O::Memory) -> Result<O::Vmap, Error>;
                fn vunmap(&self, vmap: O::Vmap);
                fn vmap_read(&self, vmap: &O::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error>;
                fn vmap_write(&self, vmap: &O::Vmap, offset: u64, data: &[u8]) -> Result<(), Error>;
                fn mmap(&self, memory: &O::Memory, offset: u64, len: u64) -> Result<O::Mmap, Error>;
            }
        }
    };
}

implement_for!(&O);
#[cfg(feature = "alloc")]
implement_for!(alloc::sync::Arc<O>);

/// Returns the run that begins at the first of a mapping's segments. Stops counting at `enough` bytes.
///
/// Adjacent segments form one run, even if the DMA layer has not merged them.
///
/// Source: Linux 7.2 `vb2_dc_get_contiguous_size`.
pub fn first_run(
    mut segment: impl FnMut(usize) -> Option<DmaSegment>,
    enough: u64,
) -> Option<DmaSegment> {
    let mut run = segment(0)?;
    let mut end = run.addr.checked_add(run.len);
    let mut index = 1usize;
    while run.len < enough {
        let Some(next) = segment(index).filter(|next| Some(next.addr) == end) else {
            break;
        };
        run.len = run.len.saturating_add(next.len);
        end = next.addr.checked_add(next.len);
        index = index.saturating_add(1);
    }
    Some(run)
}
