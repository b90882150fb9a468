//! Handing memory over: cache maintenance and bounce copies.

use super::bounce::Bounced;
use super::{Alloc, Mapper, Mapping};
use crate::{Direction, Error, Locks, Platform, Segment, SegmentKind, SyncFor};

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Hands a mapping over. Returns whether work was necessary and all of it was done.
    pub(super) fn sync_mapping(
        &self,
        mapping: &Mapping<P>,
        direction: Direction,
        sync: SyncFor,
    ) -> bool {
        self.try_sync(mapping, direction, sync) == Ok(true)
    }

    /// Hands a mapping over. Returns whether work was necessary.
    ///
    /// # Errors
    /// The platform's error for a bounce copy. All other copies were made.
    pub(crate) fn try_sync(
        &self,
        mapping: &Mapping<P>,
        direction: Direction,
        sync: SyncFor,
    ) -> Result<bool, Error> {
        let mut due =
            mapping.needs_sync && maintain(&self.platform, &mapping.direct, direction, sync);
        let mut result = Ok(());
        let copies = match sync {
            SyncFor::Device => direction.device_reads(),
            SyncFor::Cpu => direction.device_writes(),
        };
        if copies && !mapping.bounced.is_empty() {
            due = true;
            for run in mapping.bounced.iter() {
                result = result.and(self.copy_run(mapping.at.slot, run, sync));
            }
        }
        if due {
            self.count_sync(mapping.at.slot, sync);
        }
        result.map(|()| due)
    }

    /// Hands over `len` bytes from `offset` of a mapping: only these are maintained or copied.
    ///
    /// Returns whether work was necessary and all of it was done.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for length zero, a range outside the mapping, or a mapping of another
    /// mapper.
    ///
    /// # Context
    /// Does not sleep.
    pub fn sync_range(
        &self,
        mapping: &Mapping<P>,
        offset: u64,
        len: u64,
        direction: Direction,
        sync: SyncFor,
    ) -> Result<bool, Error> {
        if !self.is_own(mapping.owner) {
            return Err(Error::Invalid);
        }
        let total = super::total_len(&mapping.direct)?.saturating_add(mapping.bounced_bytes());
        let end = offset
            .checked_add(len)
            .filter(|&end| len > 0 && end <= total)
            .ok_or(Error::Invalid)?;
        let due = match sync {
            SyncFor::Device => direction.device_reads(),
            SyncFor::Cpu => direction.device_writes(),
        };
        let (mut done, mut failed, mut at) = (false, false, 0u64);
        let (mut direct, mut bounced) = (mapping.direct.iter(), mapping.bounced.iter().peekable());
        // The parts in the order of the table; those that do not bounce are direct.
        while at < end {
            if let Some(run) = bounced.next_if(|run| run.offset == at) {
                let (from, to) = (offset.max(at), end.min(at.saturating_add(run.len)));
                if due && from < to {
                    done = true;
                    failed |= self
                        .copy_part(mapping.at.slot, run, from - at, to - from, sync)
                        .is_err();
                }
                at = at.saturating_add(run.len);
                continue;
            }
            let Some(part) = direct.next() else { break };
            let (from, to) = (offset.max(at), end.min(at.saturating_add(part.len)));
            if mapping.needs_sync && from < to {
                let addr = part.addr.checked_add(from - at).ok_or(Error::Invalid)?;
                let part = Segment {
                    addr,
                    len: to - from,
                    kind: part.kind,
                };
                done |= maintain(&self.platform, &[part], direction, sync);
            }
            at = at.saturating_add(part.len);
        }
        if done {
            self.count_sync(mapping.at.slot, sync);
        }
        Ok(done && !failed)
    }

    /// Copies one bounced run in or out.
    ///
    /// Syncs the caches for every device, because coherent and other devices share the pool. On a
    /// coherent machine, the calls cost nothing.
    pub(super) fn copy_run(&self, slot: usize, run: &Bounced, sync: SyncFor) -> Result<(), Error> {
        self.copy_part(slot, run, 0, run.len, sync)
    }

    /// Copies `len` bytes from `offset` of a bounced run in or out.
    fn copy_part(
        &self,
        slot: usize,
        run: &Bounced,
        offset: u64,
        len: u64,
        sync: SyncFor,
    ) -> Result<(), Error> {
        let mut copied = 0u64;
        let result = self.copy_part_counting(run, (offset, len), sync, &mut copied);
        self.count(slot, |c| c.count_bounced(copied));
        result
    }

    pub(super) fn copy_part_counting(
        &self,
        run: &Bounced,
        (offset, len): (u64, u64),
        sync: SyncFor,
        copied: &mut u64,
    ) -> Result<(), Error> {
        let first = run.at.checked_add(offset).ok_or(Error::Invalid)?;
        let end = offset.checked_add(len).ok_or(Error::Invalid)?;
        if sync == SyncFor::Cpu {
            self.platform.cache_invalidate(first, len);
        }
        let mut at = 0u64;
        for source in run.sources.iter() {
            let next = at.checked_add(source.len).ok_or(Error::Invalid)?;
            let (from, to) = (offset.max(at), end.min(next));
            if from < to {
                let copy = run.at.checked_add(from).ok_or(Error::Invalid)?;
                let memory = source.addr.checked_add(from - at).ok_or(Error::Invalid)?;
                match sync {
                    SyncFor::Device => self.platform.bounce_in(copy, memory, to - from)?,
                    SyncFor::Cpu => self.platform.bounce_out(copy, memory, to - from)?,
                }
                *copied = copied.saturating_add(to - from);
            }
            at = next;
        }
        if sync == SyncFor::Device {
            self.platform.cache_clean(first, len);
        }
        Ok(())
    }

    /// Cleans the caches of parts that do not bounce, for a first hand-over.
    pub(super) fn maintain_direct(&self, mapping: &Mapping<P>) -> bool {
        maintain(
            &self.platform,
            &mapping.direct,
            mapping.direction,
            SyncFor::Device,
        )
    }

    pub(super) fn sync_allocation(
        &self,
        alloc: &Alloc<P>,
        direction: Direction,
        sync: SyncFor,
    ) -> bool {
        let Some(own) = &alloc.own else {
            return false;
        };
        if !own.needs_sync || !maintain(&self.platform, &alloc.segments, direction, sync) {
            return false;
        }
        self.count_sync(own.at.slot, sync);
        true
    }

    pub(super) fn count_sync(&self, slot: usize, sync: SyncFor) {
        self.count(slot, |c| match sync {
            SyncFor::Device => c.syncs_for_device = c.syncs_for_device.saturating_add(1),
            SyncFor::Cpu => c.syncs_for_cpu = c.syncs_for_cpu.saturating_add(1),
        });
    }
}

/// Cleans or invalidates caches. Returns whether that was necessary.
///
/// Cleans lines for every direction: a dirty line that is written back later would overwrite the
/// device's data.
pub(super) fn maintain<P: Platform>(
    platform: &P,
    segments: &[Segment],
    direction: Direction,
    sync: SyncFor,
) -> bool {
    if sync == SyncFor::Cpu && !direction.device_writes() {
        return false;
    }
    let mut due = false;
    for segment in segments.iter().filter(|s| s.kind == SegmentKind::Pages) {
        due = true;
        match sync {
            SyncFor::Device => platform.cache_clean(segment.addr, segment.len),
            SyncFor::Cpu => platform.cache_invalidate(segment.addr, segment.len),
        }
    }
    due
}
