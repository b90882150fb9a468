//! The bounce pool: a copy of what the device cannot reach, kept in memory it can.
//!
//! Neighbouring segments that bounce share one run of slots if the pool has one that long, so
//! scattered memory becomes contiguous on the way. Slots hold nothing but the bytes of their
//! segment: what lies around them in the run is zeroed.
//!
//! Source: Linux 7.2 kernel/dma/swiotlb.c, differs: no upper bound on a run but the pool, and
//! every byte is counted.

use super::{Mapper, push, push_segment, total_len};
use crate::ranges::{RangeAllocator, RangeError};
use crate::{
    Attrs, BounceMode, BouncePool, Constraint, DeviceInfo, Error, PhysAddr, Platform, Reason,
    Segment, SegmentKind,
};
use alloc::vec::Vec;

/// Bytes of a slot.
const SLOT: u64 = 2048;

/// A run of slots that stands in for some segments.
#[derive(Debug)]
pub(super) struct Bounced {
    /// First byte of the copy; also the first byte of the first slot.
    pub(super) at: PhysAddr,
    /// Bytes of the copy.
    pub(super) len: u64,
    /// What is copied, in order.
    pub(super) sources: Vec<Segment>,
    first_slot: u64,
    slots: u64,
}

/// Which parts of a table go where.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What the device will be shown, in order.
    pub(super) targets: Vec<Segment>,
    /// The parts that do not bounce.
    pub(super) direct: Vec<Segment>,
    /// The parts that do.
    pub(super) bounced: Vec<Bounced>,
}

/// The slots of the platform's pool.
pub(super) fn slots<P: Platform>(platform: &P) -> Result<Option<RangeAllocator>, Error> {
    let Some(pool) = platform.bounce_pool() else {
        return Ok(None);
    };
    let page = platform.page_size();
    if !pool.base.is_aligned(page) || pool.len % page != 0 || page % SLOT != 0 {
        return Err(Error::Invalid);
    }
    let Some(last) = (pool.len / SLOT).checked_sub(1) else {
        return Ok(None);
    };
    match RangeAllocator::new(0, last) {
        Ok(slots) => Ok(Some(slots)),
        Err(RangeError::Invalid) => Err(Error::Invalid),
        Err(_) => Err(no_slots(SLOT, 0)),
    }
}

fn no_slots(wanted: u64, found: u64) -> Error {
    Error::Unmappable(Reason {
        constraint: Constraint::BouncePool,
        wanted,
        found,
    })
}

impl<P: Platform> Mapper<P> {
    /// Whether a segment must bounce. What cannot bounce and cannot be reached fails later.
    fn must_bounce(&self, dev: P::Device, info: &DeviceInfo, segment: Segment) -> bool {
        if segment.kind == SegmentKind::Physical {
            return false;
        }
        let beyond = info.iommu.is_none() && self.bus_run(dev, info, segment).is_err();
        match info.bounce {
            BounceMode::Always => true,
            BounceMode::WhenNeeded => beyond || self.platform.is_private(dev, segment),
            BounceMode::Never => false,
        }
    }

    /// Decides what bounces, takes the slots and copies in. All or nothing.
    pub(super) fn plan(
        &mut self,
        dev: P::Device,
        info: &DeviceInfo,
        segments: &[Segment],
        attrs: Attrs,
    ) -> Result<Plan, Error> {
        let refuses = attrs.intersects(Attrs::NO_BOUNCE | Attrs::REQUIRE_COHERENT);
        let mut wanted = 0u64;
        for &segment in segments {
            if attrs.contains(Attrs::MMIO) {
                continue;
            }
            if self.must_bounce(dev, info, segment) {
                wanted = wanted.saturating_add(segment.len);
            } else if segment.kind == SegmentKind::Pages && self.platform.is_private(dev, segment) {
                return Err(refusal(segment.len));
            }
        }
        if wanted > 0 && refuses {
            return Err(refusal(wanted));
        }
        let mut plan = Plan::default();
        let result = if wanted == 0 {
            self.plan_direct(segments, attrs, &mut plan)
        } else {
            self.plan_bounced(dev, info, segments, &mut plan)
        };
        match result {
            Ok(()) => Ok(plan),
            Err(err) => {
                self.release_slots(plan.bounced);
                Err(err)
            }
        }
    }

    fn plan_direct(
        &self,
        segments: &[Segment],
        attrs: Attrs,
        plan: &mut Plan,
    ) -> Result<(), Error> {
        for &segment in segments {
            let mut segment = segment;
            if attrs.contains(Attrs::MMIO) {
                segment.kind = SegmentKind::Physical;
            }
            push_segment(&mut plan.targets, segment)?;
            push_segment(&mut plan.direct, segment)?;
        }
        Ok(())
    }

    fn plan_bounced(
        &mut self,
        dev: P::Device,
        info: &DeviceInfo,
        segments: &[Segment],
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let mut rest = segments;
        while let Some(&first) = rest.first() {
            let bounces = self.must_bounce(dev, info, first);
            let count = rest
                .iter()
                .take_while(|&&segment| self.must_bounce(dev, info, segment) == bounces)
                .count();
            let Some((group, tail)) = rest.split_at_checked(count.max(1)) else {
                break;
            };
            if !bounces {
                self.plan_direct(group, Attrs::empty(), plan)?;
            } else if let Err(err) = self.bounce_run(info, group, plan) {
                if group.len() == 1 {
                    return Err(err);
                }
                // Piece by piece it may still fit; if not, the whole tells more than a piece.
                for segment in group.chunks(1) {
                    self.bounce_run(info, segment, plan).map_err(|_| err)?;
                }
            }
            rest = tail;
        }
        Ok(())
    }

    /// Gives a group of segments one run of slots. Nothing is held if it fails.
    fn bounce_run(
        &mut self,
        info: &DeviceInfo,
        group: &[Segment],
        plan: &mut Plan,
    ) -> Result<(), Error> {
        let len = total_len(group)?;
        let mut sources = Vec::new();
        for &segment in group {
            push_segment(&mut sources, segment)?;
        }
        let Some(pool) = self.platform.bounce_pool() else {
            return Err(no_slots(len, 0));
        };
        let bounced = self.take_slots(info, pool, len, sources)?;
        let target = Segment {
            addr: bounced.at,
            len,
            kind: SegmentKind::Pages,
        };
        // Not joined to a run before it: another device's slots must never be part of a segment.
        if let Err(err) = push(&mut plan.targets, target) {
            self.release_run(&bounced);
            return Err(err);
        }
        if plan.bounced.try_reserve(1).is_err() {
            plan.targets.pop();
            self.release_run(&bounced);
            return Err(super::heap_exhausted(size_of::<Bounced>()));
        }
        plan.bounced.push(bounced);
        Ok(())
    }

    fn take_slots(
        &mut self,
        info: &DeviceInfo,
        pool: BouncePool,
        len: u64,
        sources: Vec<Segment>,
    ) -> Result<Bounced, Error> {
        // Behind an IOMMU whole granules become visible, so a run owns whole granules.
        let align = info
            .iommu
            .and_then(|iommu| iommu.granule())
            .unwrap_or(SLOT)
            .max(SLOT)
            / SLOT;
        let slots = len
            .div_ceil(SLOT)
            .checked_next_multiple_of(align)
            .ok_or(Error::Invalid)?;
        let Some(space) = &mut self.bounce else {
            return Err(no_slots(len, 0));
        };
        let first_slot = match space.take(slots, align, u64::MAX) {
            Ok(slot) => slot,
            Err(RangeError::Exhausted(found)) => {
                return Err(no_slots(len, found.saturating_mul(SLOT)));
            }
            Err(_) => return Err(no_slots(len, 0)),
        };
        let bytes = slots.saturating_mul(SLOT);
        self.live.bounce_bytes = self.live.bounce_bytes.saturating_add(bytes);
        let at = first_slot
            .checked_mul(SLOT)
            .and_then(|offset| pool.base.checked_add(offset));
        let bounced = Bounced {
            at: at.unwrap_or(pool.base),
            len,
            sources,
            first_slot,
            slots,
        };
        if at.is_none() {
            self.release_run(&bounced);
            return Err(Error::Invalid);
        }
        if let Some(behind) = bounced.at.checked_add(len) {
            self.platform.bounce_zero(behind, bytes.saturating_sub(len));
        }
        Ok(bounced)
    }

    fn release_run(&mut self, bounced: &Bounced) {
        let Some(space) = &mut self.bounce else {
            return;
        };
        if space.give_back(bounced.first_slot, bounced.slots).is_ok() {
            let bytes = bounced.slots.saturating_mul(SLOT);
            self.live.bounce_bytes = self.live.bounce_bytes.saturating_sub(bytes);
        }
    }

    /// Gives slots back without copying anything.
    pub(super) fn release_slots(&mut self, runs: Vec<Bounced>) {
        for run in &runs {
            self.release_run(run);
        }
    }
}

fn refusal(bytes: u64) -> Error {
    Error::Unmappable(Reason {
        constraint: Constraint::NoBounce,
        wanted: bytes,
        found: 0,
    })
}
