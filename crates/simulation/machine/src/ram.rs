//! Physical memory as a map of frames. Only allocated memory has bytes.
//!
//! The layout, from address zero: the first MiB, which is never allocated; the contiguous memory area; the
//! bounce pool; reserved areas; the rest. At 3 GiB is a hole of 1 GiB, and RAM continues after it. The hole
//! contains the chip's memory: areas without struct pages first, then devices' own memory.

mod tables;

use crate::profile::{HOLE, Profile, RESERVED};
use crate::runs::Runs;
use rand_pcg::Pcg32;
use std::ops::Range;
use tables::TableFrames;
use vb3_dma::{Constraint, Error, PhysAddr, Reason, Segment, SegmentKind};

/// Where memory is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In one run that begins at this address.
    Run(PhysAddr),
    /// Anywhere in free ordinary RAM between two addresses, in aligned pieces of `granule` bytes.
    Pieces {
        /// Bytes of a piece: a power of two, and at least a page.
        granule: u64,
        /// First byte that may be used.
        first: PhysAddr,
        /// Last byte that may be used.
        last: PhysAddr,
    },
}

/// Bytes of a frame: the smallest possible page. Larger pages are aligned runs of frames.
pub(crate) const FRAME: u64 = 4096;
const BEHIND_HOLE: u64 = 4 << 30;
/// Base-2 logarithm of the largest alignment of an allocation in the contiguous area, in pages.
///
/// Source: Linux 7.2 kernel/dma/contiguous.c `cma_alloc_aligned`, with the default `CONFIG_CMA_ALIGNMENT`.
const MAX_CMA_ORDER: u32 = 8;

/// Frames of the smallest large allocation: 4 MiB.
const LARGE: u64 = 1024;
/// Base-2 logarithm of the largest piece of a large allocation, in frames: an IOMMU's block of 2 MiB.
const MAX_PIECE_ORDER: u32 = 9;
/// Smallest number of pieces of a large allocation.
const MIN_PIECES: u64 = 4;

/// The free frames, area by area.
///
/// A frame's number is its address divided by its length. The hole is never free.
#[derive(Debug)]
pub(crate) struct Ram {
    pub(crate) bytes: u64,
    page: u64,
    cma_bytes: u64,
    cma_end: u64,
    cma: Runs,
    /// Largest simultaneous use of the contiguous area by devices, in bytes.
    pub(crate) cma_peak: u64,
    /// Frames of the contiguous area that simulated other users occupy.
    occupied: FrameRuns,
    areas: Vec<Area>,
    general: Runs,
    /// The frames of ordinary RAM that hold page tables.
    pub(crate) tables: TableFrames,
    hole: Runs,
    longest_run: u64,
    scattered: bool,
    rng: Pcg32,
    /// Bytes outside reserved areas that are reserved but not placed.
    pub(crate) promised: u64,
}

/// A named reserved part of RAM or of the chip's memory.
#[derive(Debug)]
pub(crate) struct Area {
    bytes: Range<u64>,
    runs: Runs,
    kind: SegmentKind,
    protected: bool,
}

/// The free memory of a machine, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreeMemory {
    /// Free runs of the contiguous memory area.
    pub contiguous: Vec<Segment>,
    /// Free runs of ordinary RAM.
    pub ordinary: Vec<Segment>,
    /// Free runs of each reserved area, in the order of the profile.
    pub areas: Vec<Vec<Segment>>,
}

/// Allocated frames: runs of (first frame, number of frames), in order.
pub(crate) type FrameRuns = Vec<(u64, u64)>;

impl Ram {
    /// Returns the frames of a profile's machine, and the address of its bounce pool.
    pub(crate) fn new(profile: &Profile, seed: u64) -> (Self, Option<PhysAddr>) {
        let mut cma = Runs::default();
        let cma_end = RESERVED + profile.cma;
        cma.give(RESERVED / FRAME, profile.cma / FRAME);
        let bounce = (profile.bounce.pool > 0).then_some(PhysAddr::new(cma_end));
        let mut start = cma_end + profile.bounce.pool;
        let mut hole_start = HOLE;
        let areas = profile.areas.iter().map(|area| {
            let (from, kind) = match area.pages {
                true => (&mut start, SegmentKind::Pages),
                false => (&mut hole_start, SegmentKind::Physical),
            };
            let mut runs = Runs::default();
            runs.give(*from / FRAME, area.bytes / FRAME);
            let first = *from;
            *from += area.bytes;
            Area {
                bytes: first..*from,
                runs,
                kind,
                protected: area.protected,
            }
        });
        let areas: Vec<Area> = areas.collect();
        let mut general = Runs::default();
        let low = profile.ram.min(HOLE).saturating_sub(start);
        general.give(start / FRAME, low / FRAME);
        let high = profile.ram.saturating_sub(HOLE);
        general.give(BEHIND_HOLE / FRAME, high / FRAME);
        let mut hole = Runs::default();
        hole.give(hole_start / FRAME, (BEHIND_HOLE - hole_start) / FRAME);
        let ram = Self {
            bytes: profile.ram,
            page: profile.page_size,
            cma_bytes: profile.cma,
            cma_end,
            cma,
            cma_peak: 0,
            occupied: FrameRuns::new(),
            areas,
            general,
            tables: TableFrames::default(),
            hole,
            longest_run: profile.max_ordinary_run(),
            scattered: profile.scattered,
            rng: Pcg32::new(seed, 0x7261_6d00),
            promised: 0,
        };
        (ram, bounce)
    }

    /// Returns the bytes that the machine's devices use of the contiguous area.
    pub(crate) fn cma_used(&self) -> u64 {
        self.cma_bytes - self.cma.frames() * FRAME - self.occupied_bytes()
    }

    /// Returns the bytes that simulated other users occupy.
    pub(crate) fn occupied_bytes(&self) -> u64 {
        self.occupied.iter().map(|(_, frames)| frames * FRAME).sum()
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        let areas: u64 = self.areas.iter().map(|area| area.runs.frames()).sum();
        areas * FRAME + self.unreserved_bytes()
    }

    /// Returns the number of free bytes outside reserved areas.
    pub(crate) fn unreserved_bytes(&self) -> u64 {
        (self.cma.frames() + self.general.frames()) * FRAME
    }

    /// Fails if fewer than `len` bytes outside reserved areas are free, not counting the promised ones. If nothing
    /// is promised, this does not fail: then the allocation itself fails, with a more exact error.
    pub(crate) fn check_free(&self, len: u64) -> Result<(), Error> {
        match self.promised {
            0 => Ok(()),
            _ => self.check_promise(len),
        }
    }

    /// As [`check_free`](Self::check_free), for a promise, which allocates nothing.
    pub(crate) fn check_promise(&self, len: u64) -> Result<(), Error> {
        let left = self.unreserved_bytes().saturating_sub(self.promised);
        if len > left {
            return Err(Error::NoMemory(Reason::new(Constraint::Ram, len, left)));
        }
        Ok(())
    }

    /// Takes a run of a reserved area. `area` is the area's number in the profile.
    pub(crate) fn take_area(&mut self, area: usize, len: u64) -> Result<FrameRuns, Error> {
        let frames = len / FRAME;
        let runs = &mut self.areas.get_mut(area).ok_or(Error::Invalid)?.runs;
        if runs.frames() < frames {
            return Err(short(Constraint::ContiguousPool, frames, runs.frames()));
        }
        Ok(vec![(take_anywhere(runs, frames)?, frames)])
    }

    pub(crate) fn area_at(&self, addr: u64) -> Option<&Area> {
        self.areas.iter().find(|area| area.bytes.contains(&addr))
    }

    /// Returns the kind of frames, which must all be in one area. Outside areas, all memory has struct pages.
    pub(crate) fn kind_of(&self, frames: &[(u64, u64)]) -> SegmentKind {
        let first = frames.first();
        let area = first.and_then(|&(first, _)| self.area_at(first * FRAME));
        area.map_or(SegmentKind::Pages, |area| area.kind)
    }

    /// Returns whether the memory at an address is protected.
    pub(crate) fn is_protected(&self, addr: u64) -> bool {
        self.area_at(addr).is_some_and(|area| area.protected)
    }

    /// Returns the free frames of the part of memory that contains this address.
    fn part_of(&mut self, addr: u64) -> &mut Runs {
        let is_in = |area: &&mut Area| area.bytes.contains(&addr);
        if addr < self.cma_end {
            &mut self.cma
        } else if let Some(area) = self.areas.iter_mut().find(is_in) {
            &mut area.runs
        } else if (HOLE..BEHIND_HOLE).contains(&addr) {
            &mut self.hole
        } else {
            &mut self.general
        }
    }

    /// Takes frames for `len` bytes at or below `max_addr`, in aligned pieces of `granule` bytes.
    ///
    /// `granule` is a power of two of at least a frame, and divides `len`. Contiguous frames start at a
    /// multiple of `align` bytes.
    pub(crate) fn take(
        &mut self,
        (len, granule): (u64, u64),
        (contiguous, align): (bool, u64),
        max_addr: PhysAddr,
    ) -> Result<FrameRuns, Error> {
        let (frames, piece) = (len / FRAME, granule / FRAME);
        let align = align.div_ceil(FRAME).max(piece);
        let end = end_of(max_addr);
        match contiguous {
            false => self.take_scattered(frames, piece, 0..end),
            true if self.cma_bytes > 0 && frames > piece => self.take_cma((frames, align), end),
            true => self.take_ordinary((frames, align), piece, end),
        }
    }

    /// Takes frames for `len` bytes at the wanted position.
    pub(crate) fn take_at(&mut self, len: u64, spot: Spot) -> Result<FrameRuns, Error> {
        let frames = len / FRAME;
        match spot {
            Spot::Pieces {
                granule,
                first,
                last,
            } => {
                let first = first.get().div_ceil(FRAME);
                self.take_scattered(frames, granule / FRAME, first..end_of(last))
            }
            Spot::Run(at) => {
                let first = at.get() / FRAME;
                let is_cma = at.get() < self.cma_end;
                if !self.part_of(at.get()).take_these(first, frames) {
                    return Err(short(Constraint::Contiguous, frames, 0));
                }
                if is_cma {
                    self.cma_peak = self.cma_peak.max(self.cma_used());
                }
                Ok(vec![(first, frames)])
            }
        }
    }

    fn take_scattered(
        &mut self,
        frames: u64,
        piece: u64,
        within: Range<u64>,
    ) -> Result<FrameRuns, Error> {
        let free = self.general.frames_within(piece, within.clone());
        if free < frames {
            return Err(short(Constraint::Ram, frames, free));
        }
        let taken = if self.scattered {
            self.take_separated(frames, piece, within)
        } else {
            self.general.take_lowest(frames, piece, within)
        };
        taken.ok_or(short(Constraint::Ram, frames, free))
    }

    /// Takes pieces of which no two lie side by side. As with Linux's allocators, a large allocation consists of the
    /// largest pieces that there are, so that its cost, and that of its page tables, does not grow with each page.
    ///
    /// Source: Linux 7.2 drivers/iommu/dma-iommu.c `__iommu_dma_alloc_pages`, drivers/dma-buf/heaps/system_heap.c
    /// `orders`.
    fn take_separated(&mut self, frames: u64, piece: u64, within: Range<u64>) -> Option<FrameRuns> {
        let (general, rng) = (&mut self.general, &mut self.rng);
        let mut take = |general: &mut Runs, len, piece| {
            let firsts = general.take_scattered(rng, (len, piece), within.clone())?;
            let runs = firsts.into_iter().map(|first| (first, piece));
            Some(runs.collect::<FrameRuns>())
        };
        let (mut runs, mut left, mut large) = (FrameRuns::new(), frames, large_piece(frames));
        while large > piece {
            let part = left - left % large;
            let Some(more) = take(general, part, large) else {
                break;
            };
            runs.extend(more);
            left -= part;
            large /= 2;
        }
        let rest = take(general, left, piece);
        if rest.is_none() {
            runs.iter()
                .for_each(|&(first, frames)| general.give(first, frames));
        }
        runs.extend(rest?);
        Some(runs)
    }

    /// Returns the alignment of `len` bytes from the contiguous area's start, in bytes.
    pub(crate) fn cma_align(&self, len: u64) -> u64 {
        let pages = len.div_ceil(self.page).next_power_of_two();
        pages.min(1 << MAX_CMA_ORDER) * self.page
    }

    /// Takes a run of the contiguous area, at a multiple of `align` frames.
    ///
    /// The alignment that Linux itself demands counts from the area's start here, and not from address 0. On a real
    /// machine, an area starts at a larger multiple than this area does, so the alignment loses no memory at the
    /// area's start.
    fn take_cma(&mut self, (frames, align): (u64, u64), end: u64) -> Result<FrameRuns, Error> {
        let own = self.cma_align(frames * FRAME) / FRAME;
        let start = RESERVED / FRAME;
        // The area's start is a multiple of the usual alignments of devices. Multiples of a larger alignment count
        // from address 0.
        let origin = if align <= start { start } else { 0 };
        let size = (frames, align.max(own));
        if let Some(first) = self.cma.take_run(origin, size, end) {
            self.cma_peak = self.cma_peak.max(self.cma_used());
            return Ok(vec![(first, frames)]);
        }
        let free = self.cma.frames();
        if free < frames {
            return Err(short(Constraint::ContiguousPool, frames, free));
        }
        // There may be free memory that is out of the device's reach.
        let anywhere = u64::MAX / FRAME;
        Err(match self.cma.take_run(origin, size, anywhere) {
            Some(first) => {
                self.cma.give(first, frames);
                Error::NoMemory(Reason::new(
                    Constraint::Mask,
                    ((first + frames) * FRAME).saturating_sub(1),
                    end.saturating_mul(FRAME).saturating_sub(1),
                ))
            }
            // Only a device's alignment is reported as a separate reason.
            None if align > own => unplaced((frames, align), self.cma.largest(0, 1, end)),
            None => {
                // Linux aligns an allocation of fewer pages less, so it may fit where this one does not.
                let fits = (0..=MAX_CMA_ORDER).map(|order| {
                    let own = (self.page / FRAME) << order;
                    let longest = self.cma.largest(origin, align.max(own), end);
                    longest.min(if order < MAX_CMA_ORDER { own } else { u64::MAX })
                });
                short(Constraint::Contiguous, frames, fits.max().unwrap_or(0))
            }
        })
    }

    /// Occupies frames of the contiguous area until no free run is longer than `longest` frames. Returns the
    /// number of bytes taken.
    pub(crate) fn occupy_cma(&mut self, longest: u64) -> u64 {
        let before = self.occupied_bytes();
        self.occupied.extend(self.cma.shorten(longest));
        self.occupied_bytes() - before
    }

    /// Frees the frames that simulated other users occupy. Returns the number of bytes.
    pub(crate) fn vacate_cma(&mut self) -> u64 {
        let bytes = self.occupied_bytes();
        let runs = core::mem::take(&mut self.occupied);
        self.give(&runs);
        bytes
    }

    fn take_ordinary(
        &mut self,
        (frames, align): (u64, u64),
        piece: u64,
        end: u64,
    ) -> Result<FrameRuns, Error> {
        let longest = self.general.largest(0, 1, end);
        let longest = longest.min(self.longest_run / FRAME);
        if frames <= longest {
            if frames == piece && align <= piece {
                return self.take_scattered(piece, piece, 0..end);
            }
            if let Some(first) = self.general.take_run(0, (frames, align), end) {
                return Ok(vec![(first, frames)]);
            }
        }
        Err(unplaced((frames, align), longest))
    }

    /// Takes frames for a page table (a power of two), aligned to their length, at the highest address.
    pub(crate) fn take_table(&mut self, frames: u64) -> Result<u64, Error> {
        let found = self.general.frames();
        self.general
            .take_highest(frames)
            .ok_or(short(Constraint::Ram, frames, found))
    }

    /// Takes a run of the hole, for memory of the chip. Returns its first frame.
    pub(crate) fn take_hole(&mut self, len: u64) -> Result<u64, Error> {
        take_anywhere(&mut self.hole, len / FRAME)
    }

    /// Returns the free runs of the contiguous area and of ordinary RAM.
    pub(crate) fn free(&self) -> FreeMemory {
        let segments = |runs: &Runs, kind| {
            let runs = runs.iter().map(|(first, frames)| Segment {
                addr: PhysAddr::new(first * FRAME),
                len: frames * FRAME,
                kind,
            });
            runs.collect()
        };
        let areas = self.areas.iter();
        FreeMemory {
            contiguous: segments(&self.cma, SegmentKind::Pages),
            ordinary: segments(&self.general, SegmentKind::Pages),
            areas: areas.map(|area| segments(&area.runs, area.kind)).collect(),
        }
    }

    pub(crate) fn give(&mut self, runs: &[(u64, u64)]) {
        for &(first, count) in runs {
            self.part_of(first * FRAME).give(first, count);
        }
    }
}

/// Returns how many frames the largest pieces of an allocation of `frames` frames have: one, or more if the
/// allocation is large.
fn large_piece(frames: u64) -> u64 {
    match frames {
        0..LARGE => 1,
        LARGE.. => 1 << (frames / MIN_PIECES).ilog2().min(MAX_PIECE_ORDER),
    }
}

/// Returns the first frame whose last byte is above an address.
fn end_of(max_addr: PhysAddr) -> u64 {
    let end = max_addr.checked_add(1);
    end.map_or(u64::MAX / FRAME, |end| end.get() / FRAME)
}

fn take_anywhere(runs: &mut Runs, frames: u64) -> Result<u64, Error> {
    let end = u64::MAX / FRAME;
    let first = runs.take_run(0, (frames, 1), end);
    first.ok_or_else(|| unplaced((frames, 1), runs.largest(0, 1, end)))
}

/// Returns ENOMEM with its reason: too few contiguous frames, or no run with this alignment.
fn unplaced((frames, align): (u64, u64), longest: u64) -> Error {
    if frames <= longest {
        return short(Constraint::Alignment, align, 1);
    }
    short(Constraint::Contiguous, frames, longest)
}

fn short(constraint: Constraint, wanted_frames: u64, found_frames: u64) -> Error {
    Error::NoMemory(Reason::new(
        constraint,
        wanted_frames.saturating_mul(FRAME),
        found_frames.saturating_mul(FRAME),
    ))
}
