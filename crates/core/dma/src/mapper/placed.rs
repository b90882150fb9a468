//! Allocations that get their physical pages later, and that can be moved.

use super::alloc::{are_pieces, shorten};
use super::{Kind, Mapper, Memory, collect, room};
use crate::{Caching, DmaOps, Error, Locks, Platform};
use ::alloc::vec::Vec;

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Makes an allocation of pages that the platform has reserved and not yet placed. The pages have no
    /// physical runs until [`place_pages`](Self::place_pages). The allocation belongs to no device, and is
    /// freed like any other.
    ///
    /// The allocation uses `len_bytes` of the reserved bytes. Rounded up to whole pieces
    /// ([`Platform::unmapped_granule`](crate::Platform::unmapped_granule)), `len_bytes` must be the
    /// reserved size. `place_pages` checks this.
    ///
    /// # Errors
    /// The pages are freed after these errors:
    /// * `Invalid` (EINVAL): `len_bytes` is zero, or the host's granule is not valid.
    /// * `NoMemory` (ENOMEM): `len_bytes` is greater than the machine's RAM.
    pub fn adopt_unplaced(
        &self,
        pages: P::Pages,
        len_bytes: u64,
        caching: Caching,
    ) -> Result<Memory<P>, Error> {
        let (len, granule, held) = match self.unmapped_lens(len_bytes) {
            Ok(lens) => lens,
            Err(err) => {
                self.platform.free_pages(pages);
                return Err(err);
            }
        };
        self.count_pages(held);
        self.own(pages, held, self.extent(Vec::new(), len, granule, caching))
    }

    /// Calls `place`, which places or moves an allocation's pages, and returns the value of `place`. Later
    /// CPU views have the caching mode `caching`. The allocation must have no other handle, mapping or CPU view.
    ///
    /// # Errors
    /// * `Invalid` (EINVAL): the allocation was made for a device, or does not consist of pages.
    /// * `Busy` (EBUSY): the allocation has another handle, a mapping or a CPU view, or a device may still reach the
    ///   current pages.
    /// * `NoMemory` (ENOMEM): no heap for the list of runs.
    /// * The error of `place`.
    ///
    /// After these errors the allocation has not moved. `place` must leave whole, aligned pages with the
    /// reserved total length. Otherwise the call fails with `Invalid`, and the allocation has no runs.
    pub fn place_pages<R>(
        &self,
        memory: &mut Memory<P>,
        caching: Caching,
        place: impl FnOnce(&P, &P::Pages) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let extent = &mut memory.extent;
        let pages = match &memory.kind {
            Kind::Pages(pages, None) if self.is_own(extent.owner) => pages,
            _ => return Err(Error::Invalid),
        };
        // Flushes removed translations, so that no device reaches the old pages through them.
        self.flush()?;
        if !extent.entry.is_some_and(|key| self.is_sole(key)) {
            return Err(Error::Busy);
        }
        let held = extent.held_bytes();
        // Reserves list entries first, because nothing may fail after the pages have moved.
        // Adopted memory has a granule of one byte.
        let granule = extent.granule.max(self.platform.page_size());
        let most = usize::try_from(held / granule).unwrap_or(usize::MAX);
        let segments = room(most)?;
        let answer = place(&self.platform, pages)?;
        extent.caching = caching;
        extent.segments = Vec::new();
        let next = |index| self.platform.pages_segment(pages, index);
        let mut segments = collect(segments, held, next)?;
        if !are_pieces(&segments, held, granule) {
            return Err(Error::Invalid);
        }
        shorten(&mut segments, extent.len);
        // Joined runs need fewer entries than reserved. A copy returns the rest to the heap.
        extent.segments = super::copy_segments(&segments).unwrap_or(segments);
        Ok(answer)
    }
}
