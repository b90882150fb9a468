//! A device's own coherent memory: SRAM, a carve-out.
//!
//! The memory has no pages. Drivers allocate this memory, and programs and other devices map it, like other memory.
//! Only uses that need pages are refused.
//!
//! Source: Linux 7.2 kernel/dma/coherent.c, differs: an allocation may have any number of pages, and other
//! devices can use it.

use super::{At, Facts, Kind, Mapper, Memory, OwnMapping, Slot, push_segment};
use crate::ranges::{RangeAllocator, RangeRoom};
use crate::{
    Caching, Constraint, DmaAddr, Error, Locks, PhysAddr, Platform, Reason, Segment, SegmentKind,
};
use alloc::vec::Vec;

/// Coherent memory declared for a device.
#[derive(Debug)]
pub(super) struct Region {
    start: PhysAddr,
    addr: DmaAddr,
    /// Allocator of the memory's addresses on the device's bus, so that aligned blocks are aligned for the device.
    pub(super) space: RangeAllocator,
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Declares a physical range as the coherent memory of `dev`. The range is at `addr` on the
    /// device's bus. From then on, `alloc_coherent` uses only this memory, until
    /// [`remove_device`](Self::remove_device).
    ///
    /// The platform must be able to [zero](crate::Platform::claim_physical) the range. On a platform
    /// without views, each allocation fails with `Unsupported` (EOPNOTSUPP).
    ///
    /// # Errors
    /// * `Invalid` for a range that is empty, is not whole pages, or exceeds the address space.
    /// * `Busy` (EBUSY) if the device already has such memory.
    /// * `Unmappable` with `Mask` if the device does not reach the whole range.
    /// * `NoMemory`.
    ///
    /// Source: Linux `dma_declare_coherent_memory`.
    pub fn declare_coherent(
        &self,
        dev: P::Device,
        memory: Segment,
        addr: DmaAddr,
    ) -> Result<(), Error> {
        let info = self.device_info(dev)?;
        let page = self.platform.page_size();
        let last = memory.len.checked_sub(1).ok_or(Error::Invalid)?;
        let whole = memory.len % page == 0 && memory.addr.is_aligned(page) && addr.is_aligned(page);
        let (Some(_), Some(last), true) =
            (memory.addr.checked_add(last), addr.checked_add(last), whole)
        else {
            return Err(Error::Invalid);
        };
        if last.get() > info.limits.mask {
            let reason = Reason::new(Constraint::Mask, last.get(), info.limits.mask);
            return Err(Error::Unmappable(reason));
        }
        let space = RangeAllocator::new(Constraint::CoherentRegion, page, addr.get(), last.get())?;
        let at = self.at(dev)?;
        let mut region = Some(Region {
            start: memory.addr,
            addr,
            space,
        });
        // If the call fails, the region is dropped outside the lock.
        let declared = self.with_device(at, |state| {
            if state.region.is_some() {
                return Err(Error::Busy);
            }
            state.region = region.take();
            Ok(())
        });
        declared?
    }

    /// Allocates `len` bytes, whole pages, of the device's own memory.
    pub(super) fn alloc_from_region(
        &self,
        facts: &Facts<P::Device>,
        len: u64,
    ) -> Result<Memory<P>, Error> {
        let (at, page) = (facts.at, self.platform.page_size());
        let align = facts.placing(len);
        let take = |state: &mut Slot<P::Device>, room: &mut RangeRoom| -> Result<_, Error> {
            let region = state.region.as_mut().ok_or(Error::Invalid)?;
            let addr = region.space.take_with(room, len, align, u64::MAX)?;
            // No overflow: the part lies in the region.
            let offset = addr.saturating_sub(region.addr.get());
            let memory = Segment {
                addr: PhysAddr::new(region.start.get().saturating_add(offset)),
                len,
                kind: SegmentKind::Physical,
            };
            Ok((memory, DmaAddr::new(addr)))
        };
        let taken = RangeRoom::retry(|room| {
            self.with_device(at, |state| take(state, room))
                .and_then(|taken| taken)
        });
        let (memory, addr) = taken?;
        let mut segments = Vec::new();
        let ready = facts
            .check_one_address(addr, len)
            .map_err(as_shortage)
            .and_then(|()| push_segment(&mut segments, memory))
            .and_then(|()| self.new_entry());
        let claimed = ready.and_then(|key| {
            let claimed = self.platform.claim_physical(memory);
            claimed.inspect_err(|_| self.put(Some(key))).map(|()| key)
        });
        let key = claimed.inspect_err(|_| {
            self.give_to_region(at, addr, len);
        })?;
        self.count_bytes(at.slot, len);
        let mut extent = self.extent(segments, len, page, Caching::Uncached);
        extent.entry = Some(key);
        let kind = Kind::Region(OwnMapping {
            at,
            addr,
            iova: None,
            needs_sync: false,
        });
        Ok(Memory { extent, kind })
    }

    pub(super) fn give_to_region(&self, at: At<P::Device>, addr: DmaAddr, len: u64) {
        self.with_slot(at.slot, |state| {
            // If the range is not allocated, this fails and changes nothing.
            let region = state.region.as_mut();
            region.map(|region| region.space.give_back(addr.get(), len))
        });
    }
}

/// Turns `Unmappable` into `NoMemory`: to the caller of an allocation, memory that cannot be mapped is
/// missing memory.
pub(super) fn as_shortage(err: Error) -> Error {
    match err {
        Error::Unmappable(reason) | Error::StillReachable(reason) => Error::NoMemory(reason),
        other => other,
    }
}
