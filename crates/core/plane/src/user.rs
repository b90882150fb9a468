//! A program's memory as a plane (USERPTR).

use crate::{Allocator, PlaneError, contig};
use vb3_dma::{Attrs, Constraint, Direction, DmaAddr, DmaOps, DmaSegment, Error, Reason, SyncFor};
use vb3_dmabuf::{Cx, Observer};

/// The driver's access to pinned memory.
#[derive(Debug)]
enum Reached<M, V> {
    /// A mapping as one run.
    OneRun(M),
    /// A mapping as any number of segments.
    Runs(M),
    Virtual(V),
}

/// A program's memory, pinned and mapped for a device (contig, sg) or for the CPU (vmalloc).
#[must_use = "pinned memory goes back through `put`"]
#[derive(Debug)]
pub struct UserMemory<O: DmaOps> {
    memory: O::Memory,
    reached: Reached<O::Mapping, O::Vmap>,
    dev: O::Device,
    direction: Direction,
}

const fn user_pages(wanted: u64) -> PlaneError {
    PlaneError::Fault(Some(Reason::new(Constraint::UserPages, wanted, 0)))
}

/// Checks that address and length, whose bits are `bits`, are multiples of `align` bytes.
fn check_alignment(align: u64, bits: u64) -> Result<(), PlaneError> {
    let align = align.max(1);
    if bits & align.wrapping_sub(1) == 0 {
        return Ok(());
    }
    let found = 1u64.checked_shl(bits.trailing_zeros()).unwrap_or(0);
    let reason = Reason::new(Constraint::Alignment, align, found);
    Err(PlaneError::Invalid(Some(reason)))
}

/// Pins a program's memory.
fn pin<O: DmaOps>(
    ops: &O,
    user: &O::User,
    addr: u64,
    len_bytes: u64,
    direction: Direction,
) -> Result<O::Memory, PlaneError> {
    if len_bytes == 0 {
        return Err(PlaneError::Invalid(None));
    }
    if addr.checked_add(len_bytes).is_none() {
        return Err(user_pages(len_bytes));
    }
    let pinned = ops.pin_user(user, addr, len_bytes, direction);
    pinned.map_err(|e| match e {
        Error::NoMemory(reason) => PlaneError::NoMemory(Some(reason)),
        Error::Invalid => user_pages(len_bytes),
        Error::Pin { errno } => PlaneError::Pin(errno),
        e => PlaneError::Fault(e.reason()),
    })
}

/// Converts the error of a mapping as one run.
fn refused(e: Error) -> PlaneError {
    let reason = e.reason();
    match reason.map(|reason| reason.constraint) {
        Some(Constraint::IommuGranule) => PlaneError::Fault(reason),
        _ => PlaneError::Io(reason),
    }
}

impl<O: DmaOps> UserMemory<O> {
    /// Pins a program's memory, and maps it as `allocator` does: `Contig` for `dev` as one run, `Sg` for `dev` as any
    /// number of segments, `Vmalloc` for the CPU. Does no cache maintenance yet.
    ///
    /// The first failing step decides the error: for `Contig`, the check that address and length are multiples of a
    /// cache line; then the check of the length, the pin, the mapping; for `Contig`, the check that the mapping is one
    /// run. A failed call keeps no resource.
    ///
    /// # Errors
    /// * `Contig`: `Invalid` (EINVAL) for a wrong alignment or a length of zero; `Fault` (EFAULT) for memory that is
    ///   missing, read-only or past the end of the address space; `NoMemory`; `Io` (EIO) when the DMA layer cannot map
    ///   the memory. `Fault` (EFAULT) also when the mapping is not one run for the device, or when the memory shares an
    ///   IOMMU's pages with memory of other owners.
    /// * `Sg`: `NoMemory` (ENOMEM) for any cause, with its reason.
    /// * `Vmalloc`: as `Contig`, but any alignment is accepted, and `NoMemory` if the CPU cannot map the memory.
    ///
    /// Source: Linux 7.2 `vb2_dc_get_userptr`, `vb2_dma_sg_get_userptr`, `vb2_vmalloc_get_userptr`, differs: an IOMMU
    /// with larger pages than the CPU's works.
    #[inline]
    pub fn pin<W: Observer<O>>(
        cx: &Cx<'_, O, W>,
        (dev, allocator): (O::Device, Allocator),
        user: &O::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self, PlaneError> {
        let no_memory = |e: Error| PlaneError::NoMemory(e.reason());
        let told = |e: PlaneError| match allocator {
            Allocator::Contig | Allocator::Vmalloc => e,
            Allocator::Sg => PlaneError::NoMemory(e.reason()),
        };
        if allocator == Allocator::Contig {
            check_alignment(cx.ops.cache_alignment(dev), addr | len_bytes)?;
        }
        let memory = pin(cx.ops, user, addr, len_bytes, direction).map_err(told)?;
        let map = || cx.ops.map(dev, &memory, direction, Attrs::SKIP_CPU_SYNC);
        let reached = match allocator {
            Allocator::Contig => map().map_err(refused).and_then(|mapping| {
                match contig::one_run(|index| cx.ops.segment(&mapping, index), len_bytes) {
                    Ok(_) => Ok(Reached::OneRun(mapping)),
                    Err(e) => {
                        end_mapping(cx, dev, mapping, &memory);
                        Err(e)
                    }
                }
            }),
            Allocator::Sg => map().map(Reached::Runs).map_err(no_memory),
            Allocator::Vmalloc => {
                let vmap = cx.ops.vmap(&memory);
                vmap.map(Reached::Virtual).map_err(no_memory)
            }
        };
        match reached {
            Ok(reached) => {
                if allocator != Allocator::Vmalloc {
                    cx.observer.mapped(dev);
                }
                Ok(Self {
                    memory,
                    reached,
                    dev,
                    direction,
                })
            }
            Err(e) => {
                cx.ops.free(memory);
                Err(e)
            }
        }
    }

    /// Unmaps and unpins the memory. Pages are marked dirty if the device could write. If the unmap fails,
    /// the observer is notified, and the DMA layer keeps the pages pinned, so no other program gets them.
    pub fn put<W: Observer<O>>(self, cx: &Cx<'_, O, W>) {
        match self.reached {
            Reached::OneRun(mapping) | Reached::Runs(mapping) => {
                end_mapping(cx, self.dev, mapping, &self.memory);
                cx.observer.unmapped(self.dev);
            }
            Reached::Virtual(vmap) => cx.ops.vunmap(vmap),
        }
        cx.ops.free(self.memory);
    }

    /// Returns whether the byte at address `addr` of `user` is still in this pinned memory.
    pub fn is_current(&self, ops: &O, user: &O::User, addr: u64) -> bool {
        ops.is_current(&self.memory, user, addr)
    }

    /// Returns the address of the device's single run; `None` for a scattered mapping or a CPU mapping.
    pub fn dma_addr(&self, ops: &O) -> Option<DmaAddr> {
        match &self.reached {
            Reached::OneRun(mapping) => Some(ops.segment(mapping, 0)?.addr),
            Reached::Runs(_) | Reached::Virtual(_) => None,
        }
    }

    /// Returns the device's mapping; `None` for memory mapped for the CPU.
    const fn mapping(&self) -> Option<&O::Mapping> {
        match &self.reached {
            Reached::OneRun(mapping) | Reached::Runs(mapping) => Some(mapping),
            Reached::Virtual(_) => None,
        }
    }

    /// Returns segment `index` as the device sees it; `None` after the last, or without a device mapping.
    pub fn segment(&self, ops: &O, index: usize) -> Option<DmaSegment> {
        ops.segment(self.mapping()?, index)
    }

    /// Returns the driver's CPU mapping; `None` for memory mapped for a device.
    pub const fn vmap(&self) -> Option<&O::Vmap> {
        match &self.reached {
            Reached::OneRun(_) | Reached::Runs(_) => None,
            Reached::Virtual(vmap) => Some(vmap),
        }
    }

    /// Returns the direction of the device's transfers.
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// Returns the pinned memory.
    pub const fn memory(&self) -> &O::Memory {
        &self.memory
    }

    /// Does the cache maintenance before or after a device's use.
    ///
    /// # Errors
    /// `Fault` (EFAULT) when the program has unmapped its memory, so the memory cannot be copied to or from the
    /// bounce pool.
    ///
    /// # Context
    /// Does not sleep.
    pub fn sync<W: Observer<O>>(&self, cx: &Cx<'_, O, W>, sync: SyncFor) -> Result<(), PlaneError> {
        let Some(mapping) = self.mapping() else {
            return Ok(());
        };
        let done = cx.ops.sync(mapping, self.direction, sync);
        if done.map_err(|_| user_pages(cx.ops.memory_len(&self.memory)))? {
            cx.observer.synced(self.dev, sync);
        }
        Ok(())
    }
}

/// Removes a mapping. If that fails, notifies the observer of the bytes that the device may still reach.
fn end_mapping<O: DmaOps, W: Observer<O>>(
    cx: &Cx<'_, O, W>,
    dev: O::Device,
    mapping: O::Mapping,
    memory: &O::Memory,
) {
    if cx.ops.try_unmap(mapping, Attrs::SKIP_CPU_SYNC).is_err() {
        cx.observer.quarantined(dev, cx.ops.memory_len(memory));
    }
}
