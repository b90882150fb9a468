//! Handing memory over: cache maintenance and bounce copies.

use super::bounce::Bounced;
use super::{Alloc, Mapper, Mapping};
use crate::{Direction, Error, Platform, Segment, SegmentKind, SyncFor};

impl<P: Platform> Mapper<P> {
    /// Hands a mapping over. Returns whether something was due and all of it was done.
    pub(super) fn sync_mapping(
        &mut self,
        mapping: &Mapping<P>,
        direction: Direction,
        sync: SyncFor,
    ) -> bool {
        let mut due =
            mapping.needs_sync && maintain(&mut self.platform, &mapping.direct, direction, sync);
        let mut failed = false;
        let copies = match sync {
            SyncFor::Device => direction.device_reads(),
            SyncFor::Cpu => direction.device_writes(),
        };
        if copies && !mapping.bounced.is_empty() {
            due = true;
            for run in mapping.bounced.iter() {
                failed |= self.copy_run(mapping.dev, run, sync).is_err();
            }
        }
        if due {
            self.count_sync(mapping.dev, sync);
        }
        due && !failed
    }

    /// Hands over `len` bytes from `offset` of a mapping: only these are maintained or copied.
    ///
    /// Returns whether something was due and all of it was done.
    ///
    /// # Errors
    /// `Invalid` for length zero, a range outside the mapping, or a mapping of another mapper.
    ///
    /// # Context
    /// Does not sleep.
    pub fn sync_range(
        &mut self,
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
        // The parts, in the order of the table: what is not bounced is direct.
        while at < end {
            if let Some(run) = bounced.next_if(|run| run.offset == at) {
                let (from, to) = (offset.max(at), end.min(at.saturating_add(run.len)));
                if due && from < to {
                    done = true;
                    failed |= self
                        .copy_part(mapping.dev, run, from - at, to - from, sync)
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
                done |= maintain(&mut self.platform, &[part], direction, sync);
            }
            at = at.saturating_add(part.len);
        }
        if done {
            self.count_sync(mapping.dev, sync);
        }
        Ok(done && !failed)
    }

    /// Copies one bounced run in or out.
    ///
    /// The caches are kept in step whatever the device: the pool serves coherent and other
    /// devices alike, and on a coherent machine the calls cost nothing.
    pub(super) fn copy_run(
        &mut self,
        dev: P::Device,
        run: &Bounced,
        sync: SyncFor,
    ) -> Result<(), Error> {
        self.copy_part(dev, run, 0, run.len, sync)
    }

    /// Copies `len` bytes from `offset` of a bounced run in or out.
    fn copy_part(
        &mut self,
        dev: P::Device,
        run: &Bounced,
        offset: u64,
        len: u64,
        sync: SyncFor,
    ) -> Result<(), Error> {
        let mut copied = 0u64;
        let result = self.copy_part_counting(run, (offset, len), sync, &mut copied);
        self.count(dev, |c| c.count_bounced(copied));
        result
    }

    pub(super) fn copy_part_counting(
        &mut self,
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
                let slot = run.at.checked_add(from).ok_or(Error::Invalid)?;
                let memory = source.addr.checked_add(from - at).ok_or(Error::Invalid)?;
                match sync {
                    SyncFor::Device => self.platform.bounce_in(slot, memory, to - from)?,
                    SyncFor::Cpu => self.platform.bounce_out(slot, memory, to - from)?,
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

    /// Cleans what does not bounce, for a first hand-over.
    pub(super) fn maintain_direct(&mut self, mapping: &Mapping<P>) -> bool {
        maintain(
            &mut self.platform,
            &mapping.direct,
            mapping.direction,
            SyncFor::Device,
        )
    }

    pub(super) fn sync_allocation(
        &mut self,
        alloc: &Alloc<P>,
        direction: Direction,
        sync: SyncFor,
    ) -> bool {
        let Some(home) = &alloc.home else {
            return false;
        };
        if !home.needs_sync || !maintain(&mut self.platform, &alloc.segments, direction, sync) {
            return false;
        }
        self.count_sync(home.dev, sync);
        true
    }

    pub(super) fn count_sync(&mut self, dev: P::Device, sync: SyncFor) {
        self.count(dev, |c| match sync {
            SyncFor::Device => c.syncs_for_device = c.syncs_for_device.saturating_add(1),
            SyncFor::Cpu => c.syncs_for_cpu = c.syncs_for_cpu.saturating_add(1),
        });
    }
}

/// Cleans or invalidates. Returns whether anything was due.
///
/// Lines are cleaned for every direction: a dirty line written back later would overwrite what
/// the device wrote.
fn maintain<P: Platform>(
    platform: &mut P,
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
