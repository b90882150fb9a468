//! Coherent memory that is there beforehand: a device's own (SRAM, a carve-out), and a pool for
//! callers that may not sleep.
//!
//! A device's own memory has no pages. It is allocated from and mapped into programs like other
//! memory, and another device gets it through a table of physical ranges, mapped by physical
//! address. Only a request for its pages is refused.
//!
//! Source: Linux 7.2 kernel/dma/coherent.c and pool.c, differs: allocations are of any number of
//! pages; sharing works.

use super::alloc::as_shortage;
use super::{Alloc, At, Mapper, OwnMapping, copy_segments, push, push_segment};
use crate::ranges::{RangeAllocator, RangeError};
use crate::{
    Attrs, Caching, Constraint, Direction, DmaAddr, Error, Lock, Locks, PhysAddr, Platform, Reason,
    Segment, SegmentKind,
};
use alloc::vec::Vec;
use core::fmt;

/// Most chunks of pools, over all devices.
const MAX_CHUNKS: usize = 64;

/// Where an allocation comes from.
#[derive(Debug)]
pub(super) enum Backing<Pages> {
    /// Pages of its own.
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
    /// Whether part of it is allocated.
    pub(super) fn is_used(&self) -> bool {
        self.space.live() > 0
    }
}

/// A piece of a pool: coherent memory that is handed out by pages.
pub(super) struct Chunk<P: Platform> {
    dev: P::Device,
    /// The memory; `None` once it has been drained.
    alloc: Option<Alloc<P>>,
    /// In units of so many bytes, which no two parts share.
    unit_bytes: u64,
    space: RangeAllocator,
    /// Parts that could not be zeroed and stay out of use.
    aside: u64,
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
    /// Declares a physical range as the coherent memory of `dev`, which has it at `addr` on its
    /// bus. From then on `alloc_coherent` takes from it alone.
    ///
    /// # Errors
    /// * `Invalid` for a range that is empty, not of whole pages or past the end.
    /// * `Busy` (EBUSY) if the device has one.
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
            return Err(Error::Unmappable(Reason {
                constraint: Constraint::Mask,
                wanted: last.get(),
                found: info.limits.mask,
            }));
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

    /// Takes the declaration back.
    ///
    /// # Errors
    /// `Busy` (EBUSY) while anything of it is allocated; `Invalid` (EINVAL) if there is none.
    pub fn release_coherent(&self, dev: P::Device) -> Result<(), Error> {
        let slot = self.find(dev).ok_or(Error::Invalid)?;
        let released = self.with_slot(slot, |state| match &state.region {
            None => Err(Error::Invalid),
            Some(region) if region.is_used() => Err(Error::Busy),
            Some(_) => {
                state.region = None;
                Ok(())
            }
        });
        released.unwrap_or(Err(Error::Invalid))
    }

    /// Whether a device has memory of its own.
    pub(super) fn has_region(&self, at: At<P::Device>) -> bool {
        self.with_slot(at.slot, |state| state.region.is_some()) == Some(true)
    }

    /// Takes `len` bytes of whole pages of the device's own memory.
    pub(super) fn alloc_from_region(&self, at: At<P::Device>, len: u64) -> Result<Alloc<P>, Error> {
        let page = self.platform.page_size();
        let info = self.device_info(at.dev)?;
        let align = self.placing(at.dev, &info, len).div_ceil(page);
        let taken = self.with_device(at, |state| {
            let region = state.region.as_mut().ok_or(Error::Invalid)?;
            let what = Constraint::CoherentRegion;
            let unit = take_pages(&mut region.space, len, (page, align), what)?;
            // No overflow: the unit lies in the region.
            let offset = unit.saturating_mul(page);
            let memory = Segment {
                addr: PhysAddr::new(region.memory.addr.get().saturating_add(offset)),
                len,
                kind: SegmentKind::Physical,
            };
            let addr = DmaAddr::new(region.addr.get().saturating_add(offset));
            Ok((unit, memory, addr))
        });
        let (unit, memory, addr) = taken??;
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
            // Refuses what is not allocated; then nothing has changed.
            let region = state.region.as_mut();
            region.map(|region| region.space.give_back(unit, len / page))
        });
    }

    /// Adds `len` bytes to the pool from which [`alloc_coherent_atomic`] takes for `dev`. May
    /// sleep.
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
        let mut chunk = Some(Chunk {
            dev,
            alloc: Some(alloc),
            unit_bytes,
            space,
            aside: 0,
        });
        let added = self.pools.with(|pools| {
            if let Some(empty) = pools.iter_mut().find(|chunk| chunk.alloc.is_none()) {
                if let Some(chunk) = chunk.take() {
                    *empty = chunk;
                }
                return Ok(());
            }
            if pools.len() >= MAX_CHUNKS {
                return Err(Error::Busy);
            }
            pools
                .try_reserve(1)
                .map_err(|_| super::heap_exhausted(size_of::<Chunk<P>>()))?;
            pools.extend(chunk.take());
            Ok(())
        });
        if let Some(alloc) = chunk.and_then(|chunk| chunk.alloc) {
            self.free_alloc(alloc);
        }
        added
    }

    /// Allocates `len` bytes of zeroed coherent memory without sleeping: from the device's pool
    /// alone.
    ///
    /// # Context
    /// Does not sleep, if the layer's heap does not. Giving the memory back may: it is zeroed
    /// then.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) with `AtomicPool`; `Invalid` (EINVAL) for length zero.
    pub fn alloc_coherent_atomic(&self, dev: P::Device, len: u64) -> Result<Alloc<P>, Error> {
        let len = self.checked_len(len)?;
        let part = self.pools.with(|pools| take_part(pools, dev, len))?;
        let Part {
            chunk,
            unit,
            unit_bytes,
            segments,
            caching,
            at,
            addr,
        } = part;
        self.with_slot(at.slot, |state| {
            state.live.allocs = state.live.allocs.saturating_add(1);
        });
        // Its bytes count as allocated since the pool was filled.
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

    /// Zeroes and takes back a part of a pool. What cannot be zeroed is not handed out again, nor
    /// what a device may still reach.
    pub(super) fn give_to_pool(&self, index: usize, unit: u64, len: u64, is_gone: bool) {
        // All the device saw, which may be more than was asked for.
        let memory = self.pools.with(|pools| {
            let chunk = pools.get(index)?;
            let whole = chunk.alloc.as_ref()?;
            let offset = unit.saturating_mul(chunk.unit_bytes);
            let parts = part_of(&whole.segments, offset, len).ok()?;
            Some((parts, whole.caching))
        });
        let memory = memory.filter(|_| is_gone);
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

    /// Gives the pool of `dev` back, with what could not be zeroed.
    ///
    /// # Errors
    /// `Busy` (EBUSY) while part of it is allocated. Nothing has changed.
    pub fn drain_atomic_pool(&self, dev: P::Device) -> Result<(), Error> {
        let is_busy = self.pools.with(|pools| {
            let mut chunks = pools.iter().filter(|chunk| chunk.dev == dev);
            chunks.any(|chunk| chunk.alloc.is_some() && chunk.space.live() > chunk.aside)
        });
        if is_busy {
            return Err(Error::Busy);
        }
        loop {
            let taken = self.pools.with(|pools| {
                let mut chunks = pools.iter_mut().filter(|chunk| chunk.dev == dev);
                chunks.find_map(|chunk| {
                    // Another context may have taken a part of it meanwhile.
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

    /// The pages of an allocation, for a caller that cannot do without.
    ///
    /// # Errors
    /// `NoSuchMemory` with `PagesBehind` (ENXIO): a device's own memory has none, and a pool's
    /// are not its own.
    ///
    /// Source: Linux `dma_get_sgtable`, differs: never a page that is not there.
    pub fn pages_of<'a>(&self, alloc: &'a Alloc<P>) -> Result<&'a P::Pages, Error> {
        alloc.pages().ok_or(Error::NoSuchMemory(Reason {
            constraint: Constraint::PagesBehind,
            wanted: alloc.len,
            found: 0,
        }))
    }

    /// Describes part of an allocation, which holds it, for mapping into a program.
    pub(super) fn mmap_part(
        &self,
        alloc: &Alloc<P>,
        offset: u64,
        len: u64,
    ) -> Result<P::Mmap, Error> {
        match &alloc.backing {
            Backing::Pages(pages) => self.platform.mmap(pages, offset, len),
            // Parts of a pool go by their physical address: whose pages they are part of is known to
            // the pool alone.
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

/// What a part of a pool is.
struct Part<D> {
    chunk: usize,
    unit: u64,
    unit_bytes: u64,
    segments: Vec<Segment>,
    caching: Caching,
    at: At<D>,
    addr: DmaAddr,
}

/// Takes `len` bytes of whole units of the pools of `dev`.
fn take_part<P: Platform>(
    pools: &mut [Chunk<P>],
    dev: P::Device,
    len: u64,
) -> Result<Part<P::Device>, Error> {
    let mut longest = 0u64;
    for (index, chunk) in pools.iter_mut().enumerate() {
        let (true, Some(whole)) = (chunk.dev == dev, &chunk.alloc) else {
            continue;
        };
        let (unit_bytes, units) = (chunk.unit_bytes, len.div_ceil(chunk.unit_bytes));
        let unit = match chunk.space.take(units, 1, u64::MAX) {
            Ok(unit) => unit,
            Err(RangeError::Exhausted(found)) => {
                longest = longest.max(found.saturating_mul(unit_bytes));
                continue;
            }
            Err(_) => continue,
        };
        let offset = unit.saturating_mul(unit_bytes);
        let own = whole.own.as_ref();
        let own = own.and_then(|own| Some((own.at, own.addr.checked_add(offset)?)));
        let (Ok(segments), Some((at, addr))) = (part_of(&whole.segments, offset, len), own) else {
            let _ = chunk.space.give_back(unit, units);
            return Err(super::heap_exhausted(size_of::<Segment>()));
        };
        return Ok(Part {
            chunk: index,
            unit,
            unit_bytes,
            segments,
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

fn take_pages(
    space: &mut RangeAllocator,
    len: u64,
    (page, align): (u64, u64),
    constraint: Constraint,
) -> Result<u64, Error> {
    space
        .take(len / page, align, u64::MAX)
        .map_err(|err| match err {
            RangeError::Exhausted(found) => no_pages(constraint, len, found.saturating_mul(page)),
            RangeError::Invalid => Error::Invalid,
            RangeError::Heap => super::heap_exhausted(size_of::<RangeAllocator>()),
        })
}

fn no_pages(constraint: Constraint, wanted: u64, found: u64) -> Error {
    Error::NoMemory(Reason {
        constraint,
        wanted,
        found,
    })
}

/// The physical runs of `len` bytes from `offset`.
fn part_of(segments: &[Segment], offset: u64, len: u64) -> Result<Vec<Segment>, Error> {
    let end = offset.checked_add(len).ok_or(Error::Invalid)?;
    let mut list = copy_segments(&[])?;
    for part in parts_of(segments, offset, end) {
        push_segment(&mut list, part)?;
    }
    Ok(list)
}

/// The parts of physical runs from byte `start` to byte `end` of them.
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
