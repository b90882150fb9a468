//! Memory that is promised first and placed later: its bytes are in one memfd from the beginning,
//! its frames are given when somebody says where, and may be others afterwards.

use crate::front::Machine;
use crate::machine::{Pages, State, host_exhausted};
use crate::memory::{Backing, Object};
use crate::ram::{FRAME, Ram, Spot};
use crate::store::Shared;
use crate::trace::Event;
use vb3_dma::{Caching, Constraint, Error, Reason, SegmentKind};

impl Machine {
    /// Promises `len` bytes (whole pages), zeroed for the CPU and every device. They lie nowhere,
    /// and so are reached by programs alone, until [`place_pages`](Self::place_pages). They go back
    /// as all pages do.
    ///
    /// As many bytes of RAM as were promised and not yet placed stay free of everything that pages
    /// are allocated for. Which ones is open, and so is whether they lie together.
    ///
    /// # Errors
    /// `Invalid` for a length of zero or not of whole pages; `NoMemory` (ENOMEM) where RAM has not
    /// as many bytes left, or the process none.
    pub fn promise_pages(&self, len: u64, caching: Caching) -> Result<Pages, Error> {
        self.state.borrow_mut().promise_pages(len, caching)
    }

    /// Lets pages lie somewhere, or somewhere else: their bytes, and the file that programs map,
    /// stay the same. No device may have them mapped. From then on the CPU sees them by `caching`;
    /// no cache stands before an area without pages. Gives the bytes that a machine would have
    /// copied: none if they lay nowhere before.
    ///
    /// While they are moved, both places are taken.
    ///
    /// # Errors
    /// `Invalid` for pages that are gone or were not promised by
    /// [`promise_pages`](Self::promise_pages); `NoMemory` (ENOMEM) where the spot is not free. They
    /// then lie where they lay.
    pub fn place_pages(&self, pages: &Pages, spot: Spot, caching: Caching) -> Result<u64, Error> {
        self.state.borrow_mut().place_pages(pages, spot, caching)
    }

    /// Takes `len` bytes (whole pages) of a reserved area, by its number in the profile: one run, made
    /// for no device. They go back as all pages do.
    ///
    /// # Errors
    /// `Invalid` for a length of zero or not of whole pages, and for no area; `NoMemory` (ENOMEM).
    pub fn alloc_in_area(&self, area: usize, len: u64) -> Result<Pages, Error> {
        self.state.borrow_mut().alloc_in_area(area, len)
    }

    /// Bytes that were promised and lie nowhere yet.
    #[must_use]
    pub fn promised_bytes(&self) -> u64 {
        self.state.borrow().promised
    }
}

impl State {
    /// Refuses what would leave less RAM than was promised.
    pub(crate) fn keep_promises(&self, len: u64) -> Result<(), Error> {
        let left = self.ram.unreserved_bytes().saturating_sub(self.promised);
        // Without promises, who takes the frames knows better what there is in whole pieces.
        if self.promised > 0 && len > left {
            return Err(Error::NoMemory(Reason {
                constraint: Constraint::Ram,
                wanted: len,
                found: left,
            }));
        }
        Ok(())
    }

    fn alloc_in_area(&mut self, area: usize, len: u64) -> Result<Pages, Error> {
        self.may_fail()?;
        if len == 0 || len % self.profile.page_size != 0 {
            return Err(Error::Invalid);
        }
        let frames = self.ram.take_area(area, len)?;
        let kind = kind_of(&self.ram, &frames);
        let stores = Shared::new(len).and_then(|store| {
            Ok((
                store,
                self.dram_for(caching_of(kind, Caching::Cached), len)?,
            ))
        });
        let Ok((store, dram)) = stores else {
            self.ram.give(&frames);
            return Err(host_exhausted(len));
        };
        let backing = Backing::Shared(store);
        let shared = kind == SegmentKind::Physical;
        let object = Object::new(backing, dram, frames, kind, (0, len), shared);
        let addr = object.segments.first().map_or(0, |s| s.addr.get());
        let id = self.memory.insert(object);
        self.note(Event::Alloc { addr, len, runs: 1 });
        Ok(Pages { id })
    }

    fn promise_pages(&mut self, len: u64, caching: Caching) -> Result<Pages, Error> {
        self.may_fail()?;
        if len == 0 || len % self.profile.page_size != 0 {
            return Err(Error::Invalid);
        }
        self.keep_promises(len)?;
        let stores = Shared::new(len).and_then(|store| Ok((store, self.dram_for(caching, len)?)));
        let (store, dram) = stores.map_err(|_| host_exhausted(len))?;
        let (backing, kind) = (Backing::Shared(store), SegmentKind::Pages);
        let id = self
            .memory
            .insert(Object::new(backing, dram, Vec::new(), kind, (0, len), true));
        self.promised += len;
        self.movable.insert(id);
        Ok(Pages { id })
    }

    fn place_pages(&mut self, pages: &Pages, spot: Spot, caching: Caching) -> Result<u64, Error> {
        self.may_fail()?;
        let object = self.memory.get(pages.id).ok_or(Error::Invalid)?;
        if !self.movable.contains(&pages.id) {
            return Err(Error::Invalid);
        }
        let len = object.len;
        let page = self.profile.page_size;
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
        let from = object.segments.first().map_or(0, |s| s.addr.get());
        if !is_new {
            self.keep_promises(len)?;
        }
        let frames = self.ram.take_at(len, spot)?;
        let kind = kind_of(&self.ram, &frames);
        let Ok(dram) = self.dram_for(caching_of(kind, caching), len) else {
            self.ram.give(&frames);
            return Err(host_exhausted(len));
        };
        let place = (frames, kind, dram);
        let old = self.memory.relocate(pages.id, place).unwrap_or_default();
        self.ram.give(&old);
        let object = self.memory.get(pages.id).ok_or(Error::Invalid)?;
        let addr = object.segments.first().map_or(0, |s| s.addr.get());
        let runs = object.segments.len() as u64;
        if is_new {
            self.promised -= len;
            self.note(Event::Alloc { addr, len, runs });
            return Ok(0);
        }
        self.note(Event::Move {
            from,
            addr,
            len,
            runs,
        });
        Ok(len)
    }

    /// Forgets what was promised of pages that are gone.
    pub(crate) fn release_promise(&mut self, id: u64, object: &Object) {
        if self.movable.remove(&id) && object.frames.is_empty() {
            self.promised -= object.len;
        }
    }
}

/// What stands behind frames, which all lie in one part of memory.
fn kind_of(ram: &Ram, frames: &[(u64, u64)]) -> SegmentKind {
    let first = frames.first().map_or(0, |&(first, _)| first);
    ram.kind_at(first.saturating_mul(FRAME))
}

/// How the CPU sees memory that it would see by `caching` if pages stood behind it.
const fn caching_of(kind: SegmentKind, caching: Caching) -> Caching {
    match kind {
        SegmentKind::Pages => caching,
        SegmentKind::Physical => Caching::Uncached,
    }
}
