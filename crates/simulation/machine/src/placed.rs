//! Memory that is reserved first and placed later.
//!
//! Such memory has its bytes in one memfd from the beginning. It gets frames at the first placement, and
//! other frames when it is moved.

use crate::front::Machine;
use crate::machine::Pages;
use crate::ram::Spot;
use crate::trace::Event;
use vb3_dma::{Caching, Error, SegmentKind};

impl Machine {
    /// Reserves `len` bytes (whole pages), zeroed for the CPU and every device.
    ///
    /// Until [`place_pages`](Self::place_pages), only programs reach the pages. Meanwhile, the machine keeps
    /// the same number of bytes of RAM free, at any addresses, contiguous or not. The pages are freed like
    /// all pages.
    ///
    /// # Errors
    /// `Invalid` for a length that is zero or not a multiple of pages; `NoMemory` (ENOMEM) if RAM has not
    /// enough bytes left, or the process has no memory.
    pub fn promise_pages(&self, len: u64, caching: Caching) -> Result<Pages, Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        state.check_pages(len)?;
        state.ram.check_promise(len)?;
        let kind = SegmentKind::Pages;
        let mut object = state.object_at(Vec::new(), (kind, caching), len, true)?;
        object.movable = true;
        let id = state.memory.insert(object);
        state.ram.promised += len;
        Ok(Pages { id })
    }

    /// Places pages, or moves them. Neither their bytes nor the file that programs map changes.
    ///
    /// The caller guarantees that no device has the pages mapped. After the call, the CPU accesses them with
    /// `caching`, or uncached in an area without struct pages. Returns how many bytes a real machine would
    /// have copied: none at the first placement. Both places are occupied during a move.
    ///
    /// # Errors
    /// `Invalid` for freed pages, or pages not from [`promise_pages`](Self::promise_pages); `NoMemory`
    /// (ENOMEM) if the spot is not free. The pages then stay at their old place.
    pub fn place_pages(&self, pages: &Pages, spot: Spot, caching: Caching) -> Result<u64, Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        let object = state.memory.get(pages.id);
        let object = object.filter(|object| object.movable);
        let object = object.ok_or(Error::Invalid)?;
        let len = object.len;
        let page = state.profile.page_size;
        let is_whole = match spot {
            Spot::Run(at) => at.get() % page == 0,
            Spot::Pieces { granule, .. } => {
                granule.is_power_of_two() && granule >= page && len % granule == 0
            }
        };
        if !is_whole {
            return Err(Error::Invalid);
        }
        let is_new = object.frames.is_empty();
        let from = object.first_addr();
        let is_in_area = matches!(spot, Spot::Run(at) if state.ram.area_at(at.get()).is_some());
        if !is_new && !is_in_area {
            state.ram.check_free(len)?;
        }
        let frames = state.ram.take_at(len, spot)?;
        let kind = state.ram.kind_of(&frames);
        let dram = state.dram_at(&frames, caching_of(kind, caching), len)?;
        let place = (frames, kind, dram);
        let old = state.memory.relocate(pages.id, place).unwrap_or_default();
        state.ram.give(&old);
        let object = state.memory.get(pages.id).ok_or(Error::Invalid)?;
        let (addr, runs) = (object.first_addr(), object.segments.len() as u64);
        if is_new {
            state.ram.promised -= len;
            state.note(Event::Alloc { addr, len, runs });
            return Ok(0);
        }
        state.note(Event::Move {
            from,
            addr,
            len,
            runs,
        });
        Ok(len)
    }

    /// Allocates `len` bytes of a reserved area, by its number in the profile: one run, for no particular
    /// device. The pages are freed like all pages.
    ///
    /// # Errors
    /// `Invalid` for a length that is zero or not a multiple of pages, or an unknown area; `NoMemory`
    /// (ENOMEM).
    pub fn alloc_in_area(&self, area: usize, len: u64) -> Result<Pages, Error> {
        let state = &mut *self.state.borrow_mut();
        state.may_fail()?;
        state.check_pages(len)?;
        let frames = state.ram.take_area(area, len)?;
        let kind = state.ram.kind_of(&frames);
        let caching = caching_of(kind, Caching::Cached);
        let shared = kind == SegmentKind::Physical;
        let object = state.object_at(frames, (kind, caching), len, shared)?;
        Ok(state.insert_new(object))
    }

    /// Returns the bytes that are reserved but not placed.
    #[must_use]
    pub fn promised_bytes(&self) -> u64 {
        self.state.borrow().ram.promised
    }
}

/// Returns the actual caching of memory, given the caching that it would have with struct pages.
const fn caching_of(kind: SegmentKind, caching: Caching) -> Caching {
    match kind {
        SegmentKind::Pages => caching,
        SegmentKind::Physical => Caching::Uncached,
    }
}
