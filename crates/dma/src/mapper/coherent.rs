//! Preallocated coherent memory: a device's own (SRAM, a carve-out), and a pool for callers that
//! may not sleep.
//!
//! A device's own memory has no pages. It is allocated from and mapped into programs like other
//! memory, and another device gets it through a table of physical ranges, mapped by physical
//! address. Only a request for its pages is refused.
//!
//! Source: Linux 7.2 kernel/dma/coherent.c and pool.c, differs: allocations may have any number of
//! pages; sharing works.

use super::{Alloc, At, Mapper, OwnMapping, Slot, push, push_within, room_for_runs};
use crate::ranges::{RangeAllocator, RangeError, RangeRoom};
use crate::{
    Attrs, Caching, Constraint, Direction, DmaAddr, Error, Lock, Locks, PhysAddr, Platform, Reason,
    Segment, SegmentKind,
};
use alloc::vec::Vec;
use core::fmt;

/// Maximum number of pool chunks, over all devices.
const MAX_CHUNKS: usize = 64;

/// Source of an allocation.
#[derive(Debug)]
pub(super) enum Backing<Pages> {
    /// Separately allocated pages.
    Pages(Pages),
    /// Part of the memory declared for its device.
    Region { unit: u64 },
    /// Part of a pool.
    Pool { chunk: usize, unit: u64 },
}

/// Memory declared for a device.
#[derive(Debug)]
pub(super) struct Region {
    memory: Segment,
    addr: DmaAddr,
    space: RangeAllocator,
}

impl Region {
    /// Returns whether part of it is allocated.
    pub(super) fn is_used(&self) -> bool {
        self.space.live() > 0
    }
}

/// A chunk of a pool: coherent memory that is allocated in pages.
pub(super) struct Chunk<P: Platform> {
    dev: P::Device,
    /// The memory; `None` once it has been drained.
    alloc: Option<Alloc<P>>,
    /// Allocator, in units of this many bytes. No two parts share a unit.
    unit_bytes: u64,
    space: RangeAllocator,
    /// Bytes of parts that could not be zeroed and stay unused.
    aside: u64,
}

/// The chunks of all pools, by number. Each lies on the heap by itself (a list of one, because making
/// a box cannot fail), so that nothing is moved, allocated or freed while they are locked.
pub(super) struct Pools<P: Platform> {
    chunks: Vec<Vec<Chunk<P>>>,
}

impl<P: Platform> Pools<P> {
    pub(super) fn new() -> Result<Self, Error> {
        let mut chunks = Vec::new();
        let bytes = MAX_CHUNKS.saturating_mul(size_of::<Vec<Chunk<P>>>());
        chunks
            .try_reserve_exact(MAX_CHUNKS)
            .map_err(|_| super::heap_exhausted(bytes))?;
        Ok(Self { chunks })
    }

    fn get(&self, index: usize) -> Option<&Chunk<P>> {
        self.chunks.get(index)?.first()
    }

    fn get_mut(&mut self, index: usize) -> Option<&mut Chunk<P>> {
        self.chunks.get_mut(index)?.first_mut()
    }

    fn of(&self, dev: P::Device) -> impl Iterator<Item = &Chunk<P>> {
        self.chunks.iter().flatten().filter(move |c| c.dev == dev)
    }

    fn of_mut(&mut self, dev: P::Device) -> impl Iterator<Item = &mut Chunk<P>> {
        let all = self.chunks.iter_mut().flatten();
        all.filter(move |c| c.dev == dev)
    }

    /// Adds a chunk in place of a drained one, or at the end. Leaves the drained one in `chunk`.
    /// Returns whether there was room.
    fn add(&mut self, chunk: &mut Vec<Chunk<P>>) -> bool {
        let is_empty = |chunk: &&mut Vec<Chunk<P>>| chunk.iter().all(|c| c.alloc.is_none());
        if let Some(empty) = self.chunks.iter_mut().find(is_empty) {
            core::mem::swap(empty, chunk);
        } else if self.chunks.len() < MAX_CHUNKS {
            // There is room, reserved when the mapper was made.
            self.chunks.push(core::mem::take(chunk));
        } else {
            return false;
        }
        true
    }
}

impl<P: Platform> fmt::Debug for Chunk<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("dev", &self.dev)
            .field("bytes", &self.alloc.as_ref().map(|alloc| alloc.len))
            .field("space", &self.space)
            .finish()
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Declares a physical range as the coherent memory of `dev`. The range is at `addr` on the
    /// device's bus. From then on, `alloc_coherent` uses only this memory.
    ///
    /// # Errors
    /// * `Invalid` for a range that is empty, not of whole pages or past the end.
    /// * `Busy` (EBUSY) if the device already has such memory.
    /// * `Unmappable` with `Mask` if the device does not reach all of it.
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
            return Err(Error::Unmappable(Reason::new(
                Constraint::Mask,
                last.get(),
                info.limits.mask,
            )));
        }
        let space = pages_of_len(memory.len, page)?;
        let memory = Segment {
            kind: SegmentKind::Physical,
            ..memory
        };
        let at = self.at(dev)?;
        let declared = self.with_device(at, |state| {
            if state.region.is_some() {
                return Err(Error::Busy);
            }
            state.region = Some(Region {
                memory,
                addr,
                space,
            });
            Ok(())
        });
        declared?
    }

    /// Removes the declaration.
    ///
    /// # Errors
    /// `Busy` (EBUSY) while anything of it is allocated; `Invalid` (EINVAL) if there is none.
    pub fn release_coherent(&self, dev: P::Device) -> Result<(), Error> {
        let slot = self.find(dev).ok_or(Error::Invalid)?;
        let released = self.with_slot(slot, |state| match &state.region {
            None => Err(Error::Invalid),
            Some(region) if region.is_used() => Err(Error::Busy),
            Some(_) => Ok(state.region.take()),
        });
        // Freed here, without a lock.
        released.unwrap_or(Err(Error::Invalid)).map(drop)
    }

    /// Returns whether a device has its own memory region.
    pub(super) fn has_region(&self, at: At<P::Device>) -> bool {
        self.with_slot(at.slot, |state| state.region.is_some()) == Some(true)
    }

    /// Allocates `len` bytes, whole pages, of the device's own memory.
    pub(super) fn alloc_from_region(&self, at: At<P::Device>, len: u64) -> Result<Alloc<P>, Error> {
        let page = self.platform.page_size();
        let info = self.device_info(at.dev)?;
        let align = self.placing(at.dev, &info, len).div_ceil(page);
        let take = |state: &mut Slot<P::Device>, room: &mut RangeRoom| {
            let region = state.region.as_mut().ok_or(Error::Invalid)?;
            let taken = region.space.take_with(room, len / page, align, u64::MAX);
            let unit = taken.map_err(|err| no_pages_because(err, len, page))?;
            // No overflow: the unit lies in the region.
            let offset = unit.saturating_mul(page);
            let memory = Segment {
                addr: PhysAddr::new(region.memory.addr.get().saturating_add(offset)),
                len,
                kind: SegmentKind::Physical,
            };
            let addr = DmaAddr::new(region.addr.get().saturating_add(offset));
            Ok((unit, memory, addr))
        };
        let taken = RangeRoom::retry(|room| self.with_device(at, |state| take(state, room))?);
        let (unit, memory, addr) = taken?;
        let mut segments = Vec::new();
        let ready = self
            .check_one_address(at.dev, &info, addr, len)
            .map_err(as_shortage)
            .and_then(|()| push(&mut segments, memory));
        if let Err(err) = ready.and_then(|()| self.platform.claim_physical(memory)) {
            self.give_to_region(at, unit, len);
            return Err(err);
        }
        self.count_bytes(at.slot, len);
        Ok(Alloc {
            owner: self.id,
            backing: Backing::Region { unit },
            segments,
            len,
            granule: page,
            caching: Caching::Uncached,
            own: Some(OwnMapping {
                at,
                addr,
                iova: None,
                needs_sync: false,
            }),
        })
    }

    pub(super) fn give_to_region(&self, at: At<P::Device>, unit: u64, len: u64) {
        let page = self.platform.page_size();
        self.with_slot(at.slot, |state| {
            // The allocator refuses a range that is not allocated, without a change.
            let region = state.region.as_mut();
            region.map(|region| region.space.give_back(unit, len / page))
        });
    }

    /// Adds `len` bytes to the pool that [`alloc_coherent_atomic`] uses for `dev`. May sleep.
    ///
    /// # Errors
    /// As `alloc_coherent`; `Busy` (EBUSY) after 64 chunks over all devices.
    ///
    /// [`alloc_coherent_atomic`]: Self::alloc_coherent_atomic
    pub fn fill_atomic_pool(&self, dev: P::Device, len: u64) -> Result<(), Error> {
        let info = self.device_info(dev)?;
        let at = self.at(dev)?;
        let unit_bytes = if self.has_region(at) {
            self.platform.page_size()
        } else {
            self.piece_bytes(&info)?
        };
        let len = self.checked_len(len)?;
        let len = super::round_up(len, unit_bytes).ok_or(Error::Invalid)?;
        let space = pages_of_len(len, unit_bytes)?;
        let direction = Direction::Bidirectional;
        let alloc = self.alloc_for(dev, len, Attrs::empty(), None, direction)?;
        let mut chunk = Vec::new();
        let mut added = chunk
            .try_reserve_exact(1)
            .map_err(|_| super::heap_exhausted(size_of::<Chunk<P>>()));
        if added.is_err() {
            self.free_alloc(alloc);
            return added;
        }
        chunk.push(Chunk {
            dev,
            alloc: Some(alloc),
            unit_bytes,
            space,
            aside: 0,
        });
        if !self.pools.with(|pools| pools.add(&mut chunk)) {
            added = Err(Error::Busy);
        }
        // Frees chunks that were not added or that were drained.
        for alloc in chunk.into_iter().filter_map(|chunk| chunk.alloc) {
            self.free_alloc(alloc);
        }
        added
    }

    /// Allocates `len` bytes of zeroed coherent memory without sleeping: from the device's pool
    /// alone.
    ///
    /// # Context
    /// Does not sleep, unless the layer's heap does. Freeing the memory may sleep, because it
    /// zeroes the memory.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) with `AtomicPool`; `Invalid` (EINVAL) for length zero.
    pub fn alloc_coherent_atomic(&self, dev: P::Device, len: u64) -> Result<Alloc<P>, Error> {
        let len = self.checked_len(len)?;
        let page = self.platform.page_size();
        let mut segments = room_for_runs(len.div_ceil(page))?;
        let part = RangeRoom::retry(|room| {
            self.pools
                .with(|pools| take_part(pools, dev, len, (&mut segments, room)))
        });
        let Part {
            chunk,
            unit,
            unit_bytes,
            caching,
            at,
            addr,
        } = part?;
        self.with_slot(at.slot, |state| {
            state.live.allocs = state.live.allocs.saturating_add(1);
        });
        // Its bytes count as allocated from the time the pool was filled.
        Ok(Alloc {
            owner: self.id,
            backing: Backing::Pool { chunk, unit },
            segments,
            len,
            granule: unit_bytes,
            caching,
            own: Some(OwnMapping {
                at,
                addr,
                iova: None,
                needs_sync: false,
            }),
        })
    }

    /// Zeroes and frees a part of a pool. Memory that cannot be zeroed, or that a device may still
    /// reach, is not used again.
    pub(super) fn give_to_pool(&self, index: usize, unit: u64, len: u64, is_gone: bool) {
        // Everything that the device saw, which may be more than was requested.
        let parts = room_for_runs(len.div_ceil(self.platform.page_size())).ok();
        let memory = parts.filter(|_| is_gone).and_then(|mut parts| {
            let caching = self.pools.with(|pools| {
                let chunk = pools.get(index)?;
                let whole = chunk.alloc.as_ref()?;
                let offset = unit.saturating_mul(chunk.unit_bytes);
                part_of(&whole.segments, (offset, len), &mut parts)?;
                Some(whole.caching)
            });
            Some((parts, caching?))
        });
        let is_clean = memory.is_some_and(|(parts, caching)| {
            let mut parts = parts.into_iter();
            parts.all(|part| self.platform.zero(part, caching).is_ok())
        });
        self.pools.with(|pools| {
            let Some(chunk) = pools.get_mut(index) else {
                return;
            };
            let units = len / chunk.unit_bytes;
            if !is_clean || chunk.space.give_back(unit, units).is_err() {
                chunk.aside = chunk.aside.saturating_add(1);
            }
        });
    }

    /// Frees the pool of `dev`, including parts that could not be zeroed.
    ///
    /// # Errors
    /// `Busy` (EBUSY) while part of it is allocated. An error changes nothing.
    pub fn drain_atomic_pool(&self, dev: P::Device) -> Result<(), Error> {
        let is_busy = self.pools.with(|pools| {
            let mut chunks = pools.of(dev);
            chunks.any(|chunk| chunk.alloc.is_some() && chunk.space.live() > chunk.aside)
        });
        if is_busy {
            return Err(Error::Busy);
        }
        loop {
            let taken = self.pools.with(|pools| {
                let mut chunks = pools.of_mut(dev);
                chunks.find_map(|chunk| {
                    // Another context may have allocated a part meanwhile.
                    if chunk.space.live() > chunk.aside {
                        return None;
                    }
                    chunk.alloc.take()
                })
            });
            match taken {
                Some(alloc) => self.free_alloc(alloc),
                None => return Ok(()),
            }
        }
    }

    /// Describes part of an allocation for mapping into a program. The mapping keeps the memory.
    pub(super) fn mmap_part(
        &self,
        alloc: &Alloc<P>,
        offset: u64,
        len: u64,
    ) -> Result<P::Mmap, Error> {
        match &alloc.backing {
            Backing::Pages(pages) => self.platform.mmap(pages, offset, len),
            // Parts of a pool are described by physical address, because only the pool knows their
            // pages.
            Backing::Region { .. } | Backing::Pool { .. } => {
                let memory = alloc.segments.first().ok_or(Error::Invalid)?;
                let addr = memory.addr.checked_add(offset).ok_or(Error::Invalid)?;
                self.platform.mmap_physical(Segment {
                    addr,
                    len,
                    kind: memory.kind,
                })
            }
        }
    }
}

/// A part of a pool.
struct Part<D> {
    chunk: usize,
    unit: u64,
    unit_bytes: u64,
    caching: Caching,
    at: At<D>,
    addr: DmaAddr,
}

/// Takes `len` bytes, whole units, from the pools of `dev`, and lists their runs. A failure for
/// lack of room is recorded in `room`.
fn take_part<P: Platform>(
    pools: &mut Pools<P>,
    dev: P::Device,
    len: u64,
    (segments, room): (&mut Vec<Segment>, &mut RangeRoom),
) -> Result<Part<P::Device>, Error> {
    let mut longest = 0u64;
    for index in 0..pools.chunks.len() {
        let Some(chunk) = pools.get_mut(index).filter(|chunk| chunk.dev == dev) else {
            continue;
        };
        let Some(whole) = &chunk.alloc else {
            continue;
        };
        let (unit_bytes, units) = (chunk.unit_bytes, len.div_ceil(chunk.unit_bytes));
        let unit = match chunk.space.take_with(room, units, 1, u64::MAX) {
            Ok(unit) => unit,
            Err(RangeError::Exhausted(found)) => {
                longest = longest.max(found.saturating_mul(unit_bytes));
                continue;
            }
            Err(RangeError::Heap) => {
                return Err(super::heap_exhausted(size_of::<RangeAllocator>()));
            }
            Err(RangeError::Invalid) => continue,
        };
        let offset = unit.saturating_mul(unit_bytes);
        let own = whole.own.as_ref();
        let own = own.and_then(|own| Some((own.at, own.addr.checked_add(offset)?)));
        let listed = part_of(&whole.segments, (offset, len), segments);
        let (Some(()), Some((at, addr))) = (listed, own) else {
            let _ = chunk.space.give_back(unit, units);
            return Err(super::heap_exhausted(size_of::<Segment>()));
        };
        return Ok(Part {
            chunk: index,
            unit,
            unit_bytes,
            caching: whole.caching,
            at,
            addr,
        });
    }
    Err(no_pages(Constraint::AtomicPool, len, longest))
}

fn pages_of_len(len: u64, page: u64) -> Result<RangeAllocator, Error> {
    let last = (len / page).checked_sub(1).ok_or(Error::Invalid)?;
    RangeAllocator::new(0, last).map_err(|err| match err {
        RangeError::Invalid => Error::Invalid,
        RangeError::Exhausted(_) | RangeError::Heap => {
            super::heap_exhausted(size_of::<RangeAllocator>())
        }
    })
}

/// Returns the error for a device's own memory without room for `len` bytes.
fn no_pages_because(err: RangeError, len: u64, page: u64) -> Error {
    match err {
        RangeError::Exhausted(found) => {
            no_pages(Constraint::CoherentRegion, len, found.saturating_mul(page))
        }
        RangeError::Invalid => Error::Invalid,
        RangeError::Heap => super::heap_exhausted(size_of::<RangeAllocator>()),
    }
}

fn no_pages(constraint: Constraint, wanted: u64, found: u64) -> Error {
    Error::NoMemory(Reason::new(constraint, wanted, found))
}

/// Lists the physical runs of `len` bytes from `offset`; `None` if the list has no room for them.
fn part_of(segments: &[Segment], (offset, len): (u64, u64), list: &mut Vec<Segment>) -> Option<()> {
    list.clear();
    let end = offset.checked_add(len)?;
    parts_of(segments, offset, end).try_for_each(|part| push_within(list, part).ok())
}

/// Returns the parts of physical runs between bytes `start` and `end`.
fn parts_of(segments: &[Segment], start: u64, end: u64) -> impl Iterator<Item = Segment> + '_ {
    let mut at = 0u64;
    segments.iter().filter_map(move |segment| {
        let (first, next) = (at, at.saturating_add(segment.len));
        at = next;
        let (from, to) = (start.max(first), end.min(next));
        let len = to.checked_sub(from).filter(|&len| len > 0)?;
        let addr = segment.addr.checked_add(from - first)?;
        Some(Segment {
            addr,
            len,
            kind: segment.kind,
        })
    })
}

/// Converts the error: an allocation that cannot be mapped counts as out of suitable memory.
pub(super) fn as_shortage(err: Error) -> Error {
    match err {
        Error::Unmappable(reason) => Error::NoMemory(reason),
        other => other,
    }
}
