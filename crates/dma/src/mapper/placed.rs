//! Allocations that lie nowhere until somebody says where, and that can be moved.

use super::alloc::whole_pieces;
use super::coherent::Backing;
use super::{Alloc, Mapper, collect, total_len};
use crate::{Caching, Error, Lock, Locks, Platform};
use ::alloc::vec::Vec;

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Makes an allocation of pages that the platform has promised and not yet placed: they have no
    /// physical runs until [`place_pages`](Self::place_pages). `len_bytes` of them are used. It is
    /// made for no device, and goes back as every allocation does.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a length of zero or above what the pages were promised to be, which
    /// is whole pieces. The pages have then been given back.
    pub fn adopt_unplaced(
        &self,
        pages: P::Pages,
        len_bytes: u64,
        caching: Caching,
    ) -> Result<Alloc<P>, Error> {
        let granule = self.platform.unmapped_granule();
        let lens = self
            .checked_len(len_bytes)
            .and_then(|len| Ok((len, whole_pieces(len, granule)?)));
        let (len, held) = match lens {
            Ok(lens) => lens,
            Err(err) => {
                self.platform.free_pages(pages);
                return Err(err);
            }
        };
        self.live.with(|live| {
            live.page_bytes = live.page_bytes.saturating_add(held);
            live.allocs = live.allocs.saturating_add(1);
        });
        Ok(Alloc {
            owner: self.id,
            backing: Backing::Pages(pages),
            segments: Vec::new(),
            len,
            granule,
            caching,
            own: None,
        })
    }

    /// Lets an allocation lie where `place` puts its pages, and the CPU see it by `caching` from
    /// then on. It must be mapped for no device, and tables of it show where it lay before. Answers
    /// what `place` says.
    ///
    /// # Errors
    /// * `Invalid` for an allocation that was made for a device or is not of pages, and for pages
    ///   that do not lie in whole pieces.
    /// * `Busy` (EBUSY) while a device may still reach where it lies now.
    /// * What `place` says. It then lies where it lay.
    pub fn place_pages<R>(
        &self,
        alloc: &mut Alloc<P>,
        caching: Caching,
        place: impl FnOnce(&P, &P::Pages) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let Backing::Pages(pages) = &alloc.backing else {
            return Err(Error::Invalid);
        };
        if !self.is_own(alloc.owner) || alloc.own.is_some() {
            return Err(Error::Invalid);
        }
        // What is given up must be out of reach of all devices.
        self.flush_all_lazy();
        if self.is_stuck(&alloc.segments) {
            return Err(Error::Busy);
        }
        let answer = place(&self.platform, pages)?;
        let mut segments = collect(|index| self.platform.pages_segment(pages, index))?;
        let mask = alloc.granule - 1;
        let in_pieces = segments
            .iter()
            .all(|run| (run.addr.get() | run.len) & mask == 0);
        super::alloc::shorten(&mut segments, alloc.len);
        let is_whole = in_pieces && total_len(&segments) == Ok(alloc.len);
        alloc.segments = segments;
        alloc.caching = caching;
        is_whole.then_some(answer).ok_or(Error::Invalid)
    }
}
