//! The bounce pool: copies of memory that a device cannot reach, in memory that the device reaches.
//!
//! Neighbouring segments that bounce share one run of slots if the pool has a run that long, so the copies
//! are contiguous. All other bytes of the run are zeroed.
//!
//! If memory does not fill whole granules, and the device must not see the rest (see `iommu`), only the ends
//! of the memory bounce. The middle is mapped directly.
//!
//! Source: Linux 7.2 kernel/dma/swiotlb.c, differs: only the pool limits a run's length unless the platform
//! sets a limit, and every copied byte is counted.

use super::List;
use super::{Facts, Mapper, granule_error, join_segment, round_up, total_len};
use crate::ranges::{RangeAllocator, RangeRoom};
use crate::{
    Attrs, BounceMode, Constraint, Error, Locks, PhysAddr, Platform, Reason, Segment, SegmentKind,
};
use core::num::NonZeroU64;

/// Size of a slot in bytes.
pub(super) const SLOT: u64 = 2048;

/// A run of slots that the device uses in place of some segments.
#[derive(Debug)]
pub(super) struct Bounced {
    /// Address of the copy.
    pub(super) at: PhysAddr,
    /// Length of the copy in bytes.
    pub(super) len: u64,
    /// Segments to copy, in order.
    pub(super) sources: List<Segment>,
    /// Address and length of the slots.
    slots: (u64, u64),
}

/// The mapping plan of a scatter table: which parts bounce and which do not.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// Segments for the device, in order; used only if a part bounces.
    pub(super) targets: List<Segment>,
    /// The parts that do not bounce.
    pub(super) direct: &'a mut List<Segment>,
    /// The parts that bounce.
    pub(super) bounced: &'a mut List<Bounced>,
}

impl Plan<'_> {
    /// Returns the segments for the device, in order.
    pub(super) fn targets(&self) -> &[Segment] {
        if self.bounced.is_empty() {
            self.direct
        } else {
            &self.targets
        }
    }
}

/// Rule for the parts of a granule that a device must not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guard {
    granule: u64,
    /// Size in bytes, smaller than the granule. The device may see each whole aligned block of this size that
    /// the memory touches.
    unit: u64,
    untrusted: bool,
    /// Whether a bounce pool can hide the rest of a granule.
    pool: bool,
}

/// How a segment gets to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Direct,
    /// As a copy with the same address bits in `mask`.
    Copied {
        mask: u64,
    },
    /// The ends, which do not fill a granule, as copies, and the middle directly.
    Split(Ends),
}

/// Lengths of a segment's parts, divided at whole granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    /// Bytes before the first whole granule, or all bytes if there is no whole granule.
    head: u64,
    /// Bytes of whole granules.
    middle: u64,
    /// Bytes after the last whole granule.
    tail: u64,
}

impl Ends {
    fn of(segment: Segment, guard: Guard) -> Self {
        let (inside, unit) = (guard.granule - 1, guard.unit - 1);
        // `start` and `end` are offsets from the start of the segment's first granule.
        let start = segment.addr.get() & inside;
        let end = start.saturating_add(segment.len);
        let first = if start & !unit == 0 {
            start
        } else {
            guard.granule
        };
        let last = match end & inside {
            // The last unit reaches the granule's end, so the device may see the rest.
            rest if rest > 0 && (rest - 1) | unit == inside => end,
            rest => end - rest,
        };
        match last.checked_sub(first) {
            Some(middle) => Self {
                head: first - start,
                middle,
                tail: end - last,
            },
            None => Self {
                head: segment.len,
                middle: 0,
                tail: 0,
            },
        }
    }

    /// Returns the number of bytes outside whole granules.
    const fn bytes(self) -> u64 {
        self.head.saturating_add(self.tail)
    }
}

/// Returns the allocator of slots in the platform's pool; `None` if there is no pool.
pub(super) fn slots<P: Platform>(platform: &P) -> Result<Option<RangeAllocator>, Error> {
    let Some(pool) = platform.bounce_pool() else {
        return Ok(None);
    };
    let page = platform.page_size();
    if !pool.addr.is_aligned(page) || pool.len % page != 0 || page % SLOT != 0 {
        return Err(Error::Invalid);
    }
    let Some(last) = pool.len.checked_sub(1) else {
        return Ok(None);
    };
    let last = pool.addr.checked_add(last).ok_or(Error::Invalid)?;
    RangeAllocator::new(Constraint::BouncePool, SLOT, pool.addr.get(), last.get()).map(Some)
}

fn no_slots(wanted: u64, found: u64) -> Error {
    Error::Unmappable(Reason::new(Constraint::BouncePool, wanted, found))
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Returns whether a segment must bounce. Mapping fails later if the memory can neither bounce nor be
    /// reached.
    fn must_bounce(&self, facts: &Facts<P::Device>, segment: Segment) -> bool {
        if segment.kind == SegmentKind::Physical {
            return false;
        }
        match facts.info.bounce {
            BounceMode::Always => true,
            BounceMode::WhenNeeded => {
                let beyond = facts.granule.is_none() && self.bus_run(facts, segment).is_err();
                beyond || self.platform.is_private(facts.at.dev, segment)
            }
            BounceMode::Never => false,
        }
    }

    /// Returns the rule for granules that also hold other memory; `None` if the device may see all of them.
    /// `owned` is an alignment: the memory's owner also owns the bytes around the memory, out to multiples
    /// of `owned`.
    ///
    /// The rest of a granule larger than a page belongs to other programs and the kernel. Without the rule,
    /// a driver's mistake, or a frame larger than agreed, would reach that memory.
    fn guard(&self, facts: &Facts<P::Device>, owned: u64) -> Option<Guard> {
        let granule = facts.granule?.get();
        let unit = owned.max(facts.shared);
        (unit < granule).then(|| Guard {
            granule,
            unit,
            untrusted: facts.shared == 1,
            pool: facts.info.bounce != BounceMode::Never && self.bounce.is_some(),
        })
    }

    /// Decides how a segment gets to the device. Refuses memory that would have to bounce, but cannot.
    fn treatment(
        &self,
        facts: &Facts<P::Device>,
        guard: Option<Guard>,
        segment: Segment,
    ) -> Result<Treatment, Error> {
        let has_pages = segment.kind == SegmentKind::Pages;
        if self.must_bounce(facts, segment) {
            return Ok(Treatment::Copied { mask: 0 });
        }
        if has_pages && self.platform.is_private(facts.at.dev, segment) {
            return Err(refusal(segment.len));
        }
        let Some(guard) = guard else {
            return Ok(Treatment::Direct);
        };
        let (ends, mask) = (Ends::of(segment, guard), guard.granule - 1);
        let page = self.platform.page_size();
        if ends.bytes() == 0 {
            Ok(Treatment::Direct)
        } else if !(guard.untrusted || guard.pool && has_pages) {
            let last = if ends.head > 0 { 0 } else { segment.len };
            let found = segment.addr.get().wrapping_add(last) & mask;
            Err(granule_error(guard.granule, page, found))
        } else if !has_pages {
            // Memory without pages cannot be copied.
            Err(refusal(ends.bytes()))
        } else if ends.middle == 0 && guard.granule > page {
            Ok(Treatment::Copied { mask })
        } else {
            Ok(Treatment::Split(ends))
        }
    }

    /// Fills an empty plan: decides which parts bounce, and takes their slots. A failure releases all slots.
    pub(super) fn plan(
        &self,
        facts: &Facts<P::Device>,
        (segments, owned): (&[Segment], u64),
        attrs: Attrs,
        plan: &mut Plan<'_>,
    ) -> Result<(), Error> {
        let refuses = attrs.intersects(Attrs::NO_BOUNCE | Attrs::REQUIRE_COHERENT);
        let guard = self.guard(facts, owned);
        let mut wanted = 0u64;
        for &segment in segments {
            let usable = self.platform.check_use(facts.at.dev, segment);
            usable.map_err(Error::Unmappable)?;
            let bounced = match self.treatment(facts, guard, as_mapped(segment, attrs))? {
                Treatment::Direct => 0,
                Treatment::Copied { .. } => segment.len,
                Treatment::Split(ends) => ends.bytes(),
            };
            wanted = wanted.saturating_add(bounced);
        }
        if wanted > 0 && refuses {
            return Err(refusal(wanted));
        }
        let result = if wanted == 0 {
            plan_direct(segments, attrs, plan.direct)
        } else {
            self.plan_bounced(facts, (segments, guard), plan)
        };
        if result.is_err() {
            self.release_slots(&core::mem::take(plan.bounced));
        }
        result
    }

    fn plan_bounced(
        &self,
        facts: &Facts<P::Device>,
        (segments, guard): (&[Segment], Option<Guard>),
        plan: &mut Plan<'_>,
    ) -> Result<(), Error> {
        let treat = |segment: &Segment| self.treatment(facts, guard, *segment);
        for group in segments.chunk_by(|one, next| treat(one) == treat(next)) {
            match group.first().map_or(Err(Error::Invalid), treat)? {
                Treatment::Direct => {
                    plan_direct(group, Attrs::empty(), &mut plan.targets)?;
                    plan_direct(group, Attrs::empty(), plan.direct)?;
                }
                Treatment::Copied { mask } => self.plan_group(facts, group, mask, plan)?,
                Treatment::Split(ends) => {
                    for &segment in group {
                        self.plan_ends(facts, segment, ends, plan)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Bounces a group of segments in one run of slots, or else in one run for each segment.
    fn plan_group(
        &self,
        facts: &Facts<P::Device>,
        group: &[Segment],
        mask: u64,
        plan: &mut Plan<'_>,
    ) -> Result<(), Error> {
        let Err(err) = self.bounce_run(facts, group, mask, plan) else {
            return Ok(());
        };
        if group.len() == 1 {
            return Err(err);
        }
        // If a segment does not fit either, the error for the whole group is more useful.
        group
            .chunks(1)
            .try_for_each(|segment| self.bounce_run(facts, segment, mask, plan))
            .map_err(|_| err)
    }

    /// Bounces a segment's head and tail, which do not fill a granule. Maps its middle directly.
    fn plan_ends(
        &self,
        facts: &Facts<P::Device>,
        segment: Segment,
        ends: Ends,
        plan: &mut Plan<'_>,
    ) -> Result<(), Error> {
        let mask = facts.granule.map_or(0, |granule| granule.get() - 1);
        let mut at = segment.addr;
        for (len, bounces) in [(ends.head, true), (ends.middle, false), (ends.tail, true)] {
            if len == 0 {
                continue;
            }
            let (addr, kind) = (at, segment.kind);
            let part = Segment { addr, len, kind };
            if bounces {
                self.bounce_run(facts, &[part], mask, plan)?;
            } else {
                // Not joined to the copy of the head, even if the addresses are adjacent by chance.
                super::append(&mut plan.targets, part)?;
                super::append(plan.direct, part)?;
            }
            // If the segment ends at the last address, this wraps to 0, and no later part uses it.
            at = PhysAddr::new(at.get().wrapping_add(len));
        }
        Ok(())
    }

    /// Gives a group of segments one run of slots. After a failure, no slots are taken.
    fn bounce_run(
        &self,
        facts: &Facts<P::Device>,
        group: &[Segment],
        mask: u64,
        plan: &mut Plan<'_>,
    ) -> Result<(), Error> {
        let len = total_len(group)?;
        let mut sources = List::new();
        for &segment in group {
            if !join_segment(sources.last_mut(), segment)? {
                super::append(&mut sources, segment)?;
            }
        }
        let keep = group.first().map_or(0, |first| first.addr.get() & mask);
        // Reserves list entries first, so that a failure need not release slots.
        super::reserve(&mut plan.targets, 1)?;
        super::reserve(plan.bounced, 1)?;
        let (at, slots) = self.take_slots(facts, (keep, mask), len)?;
        // Not joined to a previous run: another device's slots must never be part of a segment.
        super::append(&mut plan.targets, Segment::pages(at, len))?;
        plan.bounced.push(Bounced {
            at,
            len,
            sources,
            slots,
        });
        Ok(())
    }

    /// Takes a run of slots for `len` bytes, which start `keep` bytes into the run. The run is aligned to
    /// `mask + 1` bytes or more. Returns the address of the bytes, and the slots.
    fn take_slots(
        &self,
        facts: &Facts<P::Device>,
        (keep, mask): (u64, u64),
        len: u64,
    ) -> Result<(PhysAddr, (u64, u64)), Error> {
        let Some(pool) = &self.bounce else {
            return Err(no_slots(len, 0));
        };
        let longest = self.platform.bounce_run_bytes().saturating_sub(keep);
        if len > longest {
            return Err(no_slots(len, longest));
        }
        // Behind an IOMMU, the device sees whole granules, so a run consists of whole granules.
        let granule = facts.granule.map_or(SLOT, NonZeroU64::get).max(SLOT);
        // Without an IOMMU, the device sees the copy's own address.
        let align = granule.max(mask.saturating_add(1)).max(facts.align);
        let whole = keep.checked_add(len).and_then(|n| round_up(n, granule));
        let whole = whole.ok_or(Error::Invalid)?;
        let taken = RangeRoom::retry(|room| {
            L::with(pool, |slots| slots.take_with(room, whole, align, u64::MAX))
        });
        let start = taken.map_err(|err| match err.reason() {
            Some(reason) if reason.constraint == Constraint::BouncePool => {
                no_slots(len, reason.found)
            }
            _ => err,
        })?;
        // No overflow: the whole run lies in the pool.
        let at = start.saturating_add(keep);
        let rest = whole.saturating_sub(keep).saturating_sub(len);
        for (from, len) in [(start, keep), (at.saturating_add(len), rest)] {
            if len > 0 {
                self.platform.bounce_zero(PhysAddr::new(from), len);
            }
        }
        Ok((PhysAddr::new(at), (start, whole)))
    }

    /// Releases slots without copying their bytes back. No device may reach them.
    pub(super) fn release_slots(&self, runs: &[Bounced]) {
        let Some(pool) = &self.bounce else { return };
        for run in runs {
            let (start, len) = run.slots;
            // If the slots are not taken, this fails and changes nothing.
            let _ = L::with(pool, |slots| slots.give_back(start, len));
        }
    }
}

fn refusal(bytes: u64) -> Error {
    Error::Unmappable(Reason::new(Constraint::NoBounce, bytes, 0))
}

/// Appends segments, as physical ranges if `attrs` has `MMIO`.
fn plan_direct(segments: &[Segment], attrs: Attrs, list: &mut List<Segment>) -> Result<(), Error> {
    super::reserve(list, segments.len())?;
    // Not joined: two segments at adjacent addresses may have a bounced segment between them in the table.
    list.extend(segments.iter().map(|&segment| as_mapped(segment, attrs)));
    Ok(())
}

/// Returns a segment as a physical range if `attrs` has `MMIO`.
fn as_mapped(mut segment: Segment, attrs: Attrs) -> Segment {
    if attrs.contains(Attrs::MMIO) {
        segment.kind = SegmentKind::Physical;
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::{Ends, Guard, PhysAddr, Segment};
    use alloc::vec::Vec;

    /// Compares with the rule, for each place in granules of 16 bytes: a granule is mapped directly if the memory
    /// touches all its units, because the device may see each unit that the memory touches.
    #[test]
    fn granules_with_all_units_touched_are_direct() {
        for (unit, (start, len)) in [1, 4, 8].into_iter().flat_map(|unit| {
            let places = (0..16).flat_map(|start| (1..64).map(move |len| (start, len)));
            places.map(move |place| (unit, place))
        }) {
            let guard = Guard {
                granule: 16,
                unit,
                untrusted: unit == 1,
                pool: true,
            };
            let segment = Segment::pages(PhysAddr::new(32 + start), len);
            let end = start + len;
            let touches = |unit_at: u64| start < unit_at + unit && unit_at < end;
            let is_whole =
                |granule: u64| (0..16 / unit).all(|index| touches(granule + index * unit));
            let whole: Vec<_> = (0..5).map(|n| n * 16).filter(|at| is_whole(*at)).collect();
            let ends = Ends::of(segment, guard);
            let (head, middle) = match (whole.first(), whole.last()) {
                (Some(first), Some(last)) => {
                    let first = start.max(*first);
                    (first - start, end.min(last + 16) - first)
                }
                _ => (ends.head, 0),
            };
            let tail = len - head - middle;
            let expected = Ends { head, middle, tail };
            assert_eq!(ends, expected, "unit {unit}, {start}..{end}");
        }
    }
}
