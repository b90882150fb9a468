//! Places a scatter table's segments in a run of I/O virtual addresses, and lists the device's segments.
//!
//! There are two modes. *Contiguous* places segments one after the other, with gaps only where page tables
//! require them. *Compatible* pads up to the device's DMA boundary if a segment would cross it, and reports
//! segments as Linux does.
//!
//! Source: Linux 7.2 drivers/iommu/dma-iommu.c `iommu_dma_map_sg`, `__finalise_sg`; differs: the padding is
//! not mapped. Linux maps the padding to the memory that follows the segment, which exposes other owners'
//! memory to the device.

use super::List;
use super::{granule_error, round_up, total_len};
use crate::{
    Constraint, DmaAddr, DmaSegment, Error, Limits, PhysAddr, Reason, Segment, SegmentMode,
};

/// Builds the list of device segments.
#[derive(Debug)]
pub(super) struct Output {
    limits: Limits,
    mode: SegmentMode,
    pub(super) segments: List<DmaSegment>,
    /// Whether the last segment may still grow. Used in compatible mode.
    open: bool,
}

impl Output {
    /// Makes an empty list. The limits must be [valid](Limits::is_valid).
    pub(super) fn new(mode: SegmentMode, limits: Limits) -> Self {
        Self {
            limits,
            mode,
            segments: List::new(),
            open: false,
        }
    }

    /// Appends a placed segment of the range that starts at `base`.
    pub(super) fn push_placed(&mut self, base: u64, placed: &Placed) -> Result<(), Error> {
        let addr = base.checked_add(placed.start).ok_or(Error::Invalid)?;
        match self.mode {
            SegmentMode::Contiguous => self.push(DmaAddr::new(addr), placed.len),
            SegmentMode::Compatible => self.push_compatible(DmaAddr::new(addr), placed),
        }
    }

    /// Appends a run of bus addresses: joins it to an adjacent run, and splits it at the device's limits.
    pub(super) fn push(&mut self, addr: DmaAddr, len: u64) -> Result<(), Error> {
        let limits = &self.limits;
        let fits =
            (1..=limits.max_segment).contains(&len) && len <= to_boundary(addr, limits.boundary);
        if self.segments.is_empty() && fits {
            return push_counted(&mut self.segments, limits, addr, len);
        }
        let (mut at, mut left) = (addr, len);
        while left > 0 {
            let done = match self.extend(at, left) {
                0 => {
                    let limits = &self.limits;
                    let take = left.min(limits.max_segment);
                    let take = take.min(to_boundary(at, limits.boundary));
                    push_counted(&mut self.segments, limits, at, take)?;
                    take
                }
                done => done,
            };
            left = left.saturating_sub(done);
            match at.checked_add(done) {
                Some(next) => at = next,
                None if left == 0 => break,
                None => return Err(Error::Invalid),
            }
        }
        Ok(())
    }

    /// Extends the last segment by an adjacent run; returns the number of bytes added, or 0.
    fn extend(&mut self, at: DmaAddr, len: u64) -> u64 {
        let limits = self.limits;
        let Some(last) = self.segments.last_mut() else {
            return 0;
        };
        if last.addr.checked_add(last.len) != Some(at) || starts_block(at, limits.boundary) {
            return 0;
        }
        let room = limits.max_segment.saturating_sub(last.len);
        let take = len.min(room).min(to_boundary(at, limits.boundary));
        last.len = last.len.saturating_add(take);
        take
    }

    /// Appends a placed segment as Linux does; `addr` is the address of its first byte.
    fn push_compatible(&mut self, addr: DmaAddr, placed: &Placed) -> Result<(), Error> {
        let offset = placed.start - placed.base;
        let on_boundary = addr.get() & self.limits.boundary == 0;
        let grows = self.open && !placed.after_gap && offset == 0 && !on_boundary;
        let max_segment = self.limits.max_segment;
        let last = self
            .segments
            .last_mut()
            .filter(|last| grows && compatible_room(max_segment, last.len) >= placed.len);
        match last {
            Some(last) => last.len = last.len.saturating_add(placed.len),
            None => push_counted(&mut self.segments, &self.limits, addr, placed.len)?,
        }
        self.open = offset.checked_add(placed.len) == Some(placed.mapped);
        Ok(())
    }
}

/// Returns the number of bytes from `at` to the end of its block of `boundary + 1` bytes.
pub(super) const fn to_boundary(at: DmaAddr, boundary: u64) -> u64 {
    ((at.get() | boundary) - at.get()).saturating_add(1)
}

const fn starts_block(at: DmaAddr, boundary: u64) -> bool {
    boundary != u64::MAX && at.get() & boundary == 0
}

/// Place of a segment. Offsets are in bytes from the start of the range of I/O virtual addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Offset of the first mapped granule.
    pub(super) base: u64,
    /// Physical address of that granule.
    pub(super) phys: PhysAddr,
    /// Number of mapped bytes, whole granules.
    pub(super) mapped: u64,
    /// Offset of the segment's first byte.
    pub(super) start: u64,
    /// Length of the segment in bytes.
    pub(super) len: u64,
    /// Whether there is a gap between the previous segment and this one.
    pub(super) after_gap: bool,
}

/// Assigns each segment its offset in a range of I/O virtual addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layouter {
    granule: u64,
    /// The device's boundary mask in compatible mode; `None` in contiguous mode.
    boundary: Option<u64>,
    /// Length of the range so far, in bytes.
    pub(super) total: u64,
    end: Option<u64>,
}

impl Layouter {
    pub(super) const fn new(granule: u64, mode: SegmentMode, limits: &Limits) -> Self {
        Self {
            granule,
            boundary: match mode {
                SegmentMode::Contiguous => None,
                SegmentMode::Compatible => Some(limits.boundary),
            },
            total: 0,
            end: None,
        }
    }

    pub(super) fn place(&mut self, segment: Segment) -> Result<Placed, Error> {
        let offset = segment.addr.get() & (self.granule - 1);
        let mapped = offset
            .checked_add(segment.len)
            .and_then(|len| round_up(len, self.granule))
            .ok_or(Error::Invalid)?;
        if let Some(mask) = self.boundary {
            // Pads up to the next multiple of the boundary if the segment would cross it.
            let pad = mask.wrapping_sub(self.total).wrapping_add(1) & mask;
            if pad != 0 && pad < mapped.saturating_sub(1) {
                self.total = self.total.checked_add(pad).ok_or(Error::Invalid)?;
            }
        }
        let base = self.total;
        self.total = base.checked_add(mapped).ok_or(Error::Invalid)?;
        let start = base.checked_add(offset).ok_or(Error::Invalid)?;
        let end = start.checked_add(segment.len).ok_or(Error::Invalid)?;
        let after_gap = self.end.is_some_and(|before| before != start);
        self.end = Some(end);
        Ok(Placed {
            base,
            phys: PhysAddr::new(segment.addr.get() - offset),
            mapped,
            start,
            len: segment.len,
            after_gap,
        })
    }
}

/// Refuses segments that a page table cannot map as one run. The error has the offset in a granule at which one of
/// them ends or starts.
pub(super) fn check_one_run(segments: &[Segment], granule: u64, page: u64) -> Result<(), Error> {
    for pair in segments.windows(2) {
        let [before, after] = pair else { continue };
        let end = before.addr.get().wrapping_add(before.len) & (granule - 1);
        let start = after.addr.get() & (granule - 1);
        // Reports the end of the first run, or the start of the second if the end is aligned.
        let found = if end != 0 { end } else { start };
        if found != 0 {
            return Err(granule_error(granule, page, found));
        }
    }
    Ok(())
}

/// Returns how many bytes a segment may grow, in compatible mode.
///
/// Source: Linux 7.2 `__finalise_sg`, `max_len - cur_len`. Both are `unsigned int`, so the difference
/// wraps, and a segment longer than the device's maximum may grow further.
fn compatible_room(max_segment: u64, len: u64) -> u64 {
    let max = u32::try_from(max_segment).unwrap_or(u32::MAX);
    // CAST: truncated like Linux's counter.
    u64::from(max.wrapping_sub(len as u32))
}

/// Fails if a device that accepts only one segment refuses `len` bytes at `addr` after segment `before`.
pub(super) fn check_one_segment(
    limits: &Limits,
    before: Option<&DmaSegment>,
    addr: DmaAddr,
    len: u64,
) -> Result<(), Error> {
    if limits.max_segments != 1 {
        return Ok(());
    }
    let first = before.map_or(addr, |before| before.addr).get();
    let touches = before.is_none_or(|before| before.addr.checked_add(before.len) == Some(addr));
    let run = before.map_or(0, |before| before.len).saturating_add(len);
    let differing = first ^ first.saturating_add(run.saturating_sub(1));
    let (constraint, wanted, found) = if !touches {
        (Constraint::Contiguous, run, run.saturating_sub(len))
    } else if run > limits.max_segment {
        (Constraint::MaxSegment, run, limits.max_segment)
    } else if differing > limits.boundary {
        // The smallest boundary that the run would not cross.
        let mask = u64::MAX.checked_shr(differing.leading_zeros());
        (Constraint::Boundary, mask.unwrap_or(0), limits.boundary)
    } else {
        return Ok(());
    };
    let reason = Reason::new(constraint, wanted, found);
    Err(Error::Unmappable(reason))
}

/// Sets the wanted bytes of a one-segment error to the length of the whole memory.
pub(super) fn with_whole_length(err: Error, segments: &[Segment]) -> Error {
    let Error::Unmappable(mut reason) = err else {
        return err;
    };
    if let Constraint::Contiguous | Constraint::MaxSegment = reason.constraint {
        reason.wanted = total_len(segments).unwrap_or(reason.wanted);
    }
    Error::Unmappable(reason)
}

/// Appends a segment if the device accepts one more. For a device that accepts only one, the error
/// names the exceeded limit.
pub(super) fn push_counted(
    list: &mut List<DmaSegment>,
    limits: &Limits,
    addr: DmaAddr,
    len: u64,
) -> Result<(), Error> {
    check_one_segment(limits, list.last(), addr, len)?;
    // CAST: a vector's length fits 64 bits.
    let count = (list.len() as u64).saturating_add(1);
    let most = u64::from(limits.max_segments);
    if count > most {
        let reason = Reason::new(Constraint::SegmentCount, count, most);
        return Err(Error::Unmappable(reason));
    }
    super::append(list, DmaSegment { addr, len })
}

#[cfg(test)]
mod tests;
