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
use super::{Alloc, Home, Mapper, copy_segments, push, push_segment};
use crate::ranges::{RangeAllocator, RangeError};
use crate::{
    Attrs, Caching, Constraint, Direction, DmaAddr, Error, PhysAddr, Platform, Reason, Segment,
    SegmentKind,
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

impl<P: Platform> Mapper<P> {
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
        &mut self,
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
        let state = self.state_mut(dev)?;
        if state.region.is_some() {
            return Err(Error::Busy);
        }
        state.region = Some(Region {
            memory: Segment {
                kind: SegmentKind::Physical,
                ..memory
            },
            addr,
            space,
        });
        Ok(())
    }

    /// Takes the declaration back.
    ///
    /// # Errors
    /// `Busy` while anything of it is allocated; `Invalid` if there is none.
    pub fn release_coherent(&mut self, dev: P::Device) -> Result<(), Error> {
        let state = self.state_mut(dev)?;
        match &state.region {
            None => Err(Error::Invalid),
            Some(region) if region.space.live() > 0 => Err(Error::Busy),
            Some(_) => {
                state.region = None;
                Ok(())
            }
        }
    }

    /// Takes `len` bytes of whole pages of the device's own memory.
    pub(super) fn alloc_from_region(
        &mut self,
        dev: P::Device,
        len: u64,
    ) -> Result<Alloc<P>, Error> {
        let page = self.platform.page_size();
        let info = self.device_info(dev)?;
        let align = self.placing(dev, &info, len).div_ceil(page);
        let region = self.state_mut(dev)?.region.as_mut().ok_or(Error::Invalid)?;
        let unit = take_pages(
            &mut region.space,
            len,
            (page, align),
            Constraint::CoherentRegion,
        )?;
        // No overflow: the unit lies in the region.
        let offset = unit.saturating_mul(page);
        let memory = Segment {
            addr: PhysAddr::new(region.memory.addr.get().saturating_add(offset)),
            len,
            kind: SegmentKind::Physical,
        };
        let addr = DmaAddr::new(region.addr.get().saturating_add(offset));
        let mut segments = Vec::new();
        let ready = self
            .check_alone(dev, &info, addr, len)
            .map_err(as_shortage)
            .and_then(|()| push(&mut segments, memory));
        if let Err(err) = ready.and_then(|()| self.platform.claim_physical(memory)) {
            self.give_to_region(dev, unit, len);
            return Err(err);
        }
        self.count_alloc(dev, len);
        Ok(Alloc {
            owner: self.id,
            backing: Backing::Region { unit },
            segments,
            len,
            granule: page,
            caching: Caching::Uncached,
            home: Some(Home {
                dev,
                addr,
                iova: None,
                needs_sync: false,
            }),
        })
    }

    pub(super) fn give_to_region(&mut self, dev: P::Device, unit: u64, len: u64) {
        let page = self.platform.page_size();
        if let Ok(Some(region)) = self.state_mut(dev).map(|state| state.region.as_mut()) {
            // Refuses what is not allocated; then nothing has changed.
            let _ = region.space.give_back(unit, len / page);
        }
    }

    /// Adds `len` bytes to the pool from which [`alloc_coherent_atomic`] takes for `dev`. May
    /// sleep.
    ///
    /// # Errors
    /// As `alloc_coherent`; `Busy` after 64 chunks over all devices.
    ///
    /// [`alloc_coherent_atomic`]: Self::alloc_coherent_atomic
    pub fn fill_atomic_pool(&mut self, dev: P::Device, len: u64) -> Result<(), Error> {
        let place = self.pools.iter().position(|chunk| chunk.alloc.is_none());
        if place.is_none() {
            if self.pools.len() >= MAX_CHUNKS {
                return Err(Error::Busy);
            }
            self.pools
                .try_reserve(1)
                .map_err(|_| super::heap_exhausted(size_of::<Chunk<P>>()))?;
        }
        let info = self.device_info(dev)?;
        let unit_bytes = match self.state_mut(dev)?.region {
            Some(_) => self.platform.page_size(),
            None => self.piece_bytes(&info)?,
        };
        let len = self.checked_len(len)?;
        let len = super::round_up(len, unit_bytes).ok_or(Error::Invalid)?;
        let space = pages_of_len(len, unit_bytes)?;
        let direction = Direction::Bidirectional;
        let alloc = self.alloc_for(dev, len, Attrs::empty(), None, direction)?;
        let chunk = Chunk {
            dev,
            alloc: Some(alloc),
            unit_bytes,
            space,
            aside: 0,
        };
        match place.and_then(|index| self.pools.get_mut(index)) {
            Some(empty) => *empty = chunk,
            None => self.pools.push(chunk),
        }
        Ok(())
    }

    /// Allocates zeroed coherent memory without sleeping: from the device's pool alone.
    ///
    /// # Context
    /// Does not sleep, if the layer's heap does not. Giving the memory back may: it is zeroed
    /// then.
    ///
    /// # Errors
    /// `NoMemory` with `AtomicPool`; `Invalid` for length zero.
    pub fn alloc_coherent_atomic(&mut self, dev: P::Device, len: u64) -> Result<Alloc<P>, Error> {
        let len = self.checked_len(len)?;
        let mut longest = 0u64;
        for (index, chunk) in self.pools.iter_mut().enumerate() {
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
            let addr = whole.home.as_ref().map(|home| home.addr);
            let (Ok(segments), Some(addr)) = (
                part_of(&whole.segments, offset, len),
                addr.and_then(|addr| addr.checked_add(offset)),
            ) else {
                let _ = chunk.space.give_back(unit, units);
                return Err(super::heap_exhausted(size_of::<Segment>()));
            };
            let caching = whole.caching;
            self.live.allocs = self.live.allocs.saturating_add(1);
            // Its bytes count as allocated since the pool was filled.
            return Ok(Alloc {
                owner: self.id,
                backing: Backing::Pool { chunk: index, unit },
                segments,
                len,
                granule: unit_bytes,
                caching,
                home: Some(Home {
                    dev,
                    addr,
                    iova: None,
                    needs_sync: false,
                }),
            });
        }
        Err(no_pages(Constraint::AtomicPool, len, longest))
    }

    /// Zeroes and takes back a part of a pool. What cannot be zeroed is not handed out again.
    pub(super) fn give_to_pool(&mut self, index: usize, unit: u64, len: u64) {
        let Some(chunk) = self.pools.get_mut(index) else {
            return;
        };
        // All the device saw, which may be more than was asked for.
        let offset = unit.saturating_mul(chunk.unit_bytes);
        let clean = chunk.alloc.as_ref().is_some_and(|whole| {
            parts_of(&whole.segments, offset, offset.saturating_add(len))
                .all(|part| self.platform.zero(part, whole.caching).is_ok())
        });
        if !clean || chunk.space.give_back(unit, len / chunk.unit_bytes).is_err() {
            chunk.aside = chunk.aside.saturating_add(1);
        }
    }

    /// Gives the pool of `dev` back, with what could not be zeroed.
    ///
    /// # Errors
    /// `Busy` while part of it is allocated. Nothing has changed.
    pub fn drain_atomic_pool(&mut self, dev: P::Device) -> Result<(), Error> {
        let mut chunks = self.pools.iter().filter(|chunk| chunk.dev == dev);
        if chunks.any(|chunk| chunk.alloc.is_some() && chunk.space.live() > chunk.aside) {
            return Err(Error::Busy);
        }
        for index in 0..self.pools.len() {
            let taken = self
                .pools
                .get_mut(index)
                .filter(|chunk| chunk.dev == dev)
                .and_then(|chunk| chunk.alloc.take());
            if let Some(alloc) = taken {
                self.free_alloc(alloc);
            }
        }
        Ok(())
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
        &mut self,
        alloc: &Alloc<P>,
        offset: u64,
        len: u64,
    ) -> Result<P::Mmap, Error> {
        match &alloc.backing {
            Backing::Pages(pages) => self.platform.mmap(pages, offset, len),
            Backing::Region { .. } => {
                let memory = alloc.segments.first().ok_or(Error::Invalid)?;
                let addr = memory.addr.checked_add(offset).ok_or(Error::Invalid)?;
                self.platform.mmap_physical(Segment {
                    addr,
                    len,
                    kind: memory.kind,
                })
            }
            &Backing::Pool { chunk, unit } => {
                let chunk = self.pools.get(chunk).ok_or(Error::Invalid)?;
                let first = unit.saturating_mul(chunk.unit_bytes);
                let within = first.checked_add(offset).ok_or(Error::Invalid)?;
                match chunk.alloc.as_ref().map(|whole| &whole.backing) {
                    Some(Backing::Pages(pages)) => self.platform.mmap(pages, within, len),
                    _ => self.mmap_pool_region(alloc, offset, len),
                }
            }
        }
    }

    /// A pool that was filled from the device's own memory.
    fn mmap_pool_region(
        &mut self,
        alloc: &Alloc<P>,
        offset: u64,
        len: u64,
    ) -> Result<P::Mmap, Error> {
        let memory = alloc.segments.first().ok_or(Error::Invalid)?;
        let addr = memory.addr.checked_add(offset).ok_or(Error::Invalid)?;
        self.platform.mmap_physical(Segment {
            addr,
            len,
            kind: memory.kind,
        })
    }
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
