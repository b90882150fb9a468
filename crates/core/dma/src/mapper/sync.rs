//! Hands memory over between the CPU and devices: cache maintenance and bounce copies.

use super::bounce::Bounced;
use super::mapping::Runs;
use super::{Mapper, Mapping};
use crate::{Coherency, Direction, Error, Locks, Platform, Segment, SegmentKind, SyncFor};

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Hands a mapping over to the CPU or the device, and counts that. Returns whether work was necessary, or the
    /// error of [`sync_runs`](Self::sync_runs).
    pub(crate) fn try_sync(
        &self,
        mapping: &Mapping<P>,
        direction: Direction,
        sync: SyncFor,
    ) -> Result<bool, Error> {
        let (due, result) = self.sync_runs(mapping, direction, sync);
        if due {
            self.count_sync(mapping.slot, sync);
        }
        result.map(|()| due)
    }

    /// Hands a mapping over to the CPU or the device. Returns whether work was necessary, and the platform's
    /// first error for a bounced run. All other runs are copied nevertheless.
    #[inline(never)]
    pub(super) fn sync_runs(
        &self,
        mapping: &Mapping<P>,
        direction: Direction,
        sync: SyncFor,
    ) -> (bool, Result<(), Error>) {
        let mut due =
            mapping.needs_sync && maintain(&self.platform, mapping.runs.direct(), direction, sync);
        let mut result = Ok(());
        let copies = match sync {
            SyncFor::Device => direction.device_reads(),
            SyncFor::Cpu => direction.device_writes(),
        };
        let parts = match &mapping.runs {
            Runs::List(parts) if copies => parts,
            _ => return (due, result),
        };
        due |= !parts[0].bounced.is_empty();
        let device = (mapping.slot, parts[0].coherency);
        for run in &parts[0].bounced {
            result = result.and(self.copy_run(device, run, sync));
        }
        (due, result)
    }

    /// Copies one bounced run into the bounce pool, or back to its memory.
    ///
    /// Before a copy back, drops the cache lines of the pool only for a device that is not coherent. For a coherent
    /// device, the lines must stay, because they may have the only copy of what the device wrote. After a copy into the
    /// pool, cleans the lines for any device, which costs nothing on a coherent machine.
    pub(super) fn copy_run(
        &self,
        (slot, coherency): (usize, Coherency),
        run: &Bounced,
        sync: SyncFor,
    ) -> Result<(), Error> {
        if sync == SyncFor::Cpu && coherency == Coherency::NonCoherent {
            self.platform.cache_invalidate(run.at, run.len);
        }
        let mut copied = 0u64;
        let result = run.sources.iter().try_for_each(|source| {
            let copy = run.at.checked_add(copied).ok_or(Error::Invalid)?;
            match sync {
                SyncFor::Device => self.platform.bounce_in(copy, source.addr, source.len)?,
                SyncFor::Cpu => self.platform.bounce_out(copy, source.addr, source.len)?,
            }
            copied = copied.saturating_add(source.len);
            Ok(())
        });
        if sync == SyncFor::Device && result.is_ok() {
            self.platform.cache_clean(run.at, run.len);
        }
        self.with_slot(slot, |state| {
            let bounced = &mut state.counters.bytes_bounced;
            *bounced = bounced.saturating_add(copied);
        });
        result
    }

    pub(super) fn count_sync(&self, slot: usize, sync: SyncFor) {
        self.with_slot(slot, |state| state.count_sync(sync));
    }
}

/// Cleans or invalidates caches. Returns whether that was necessary.
///
/// Before the device's access, cleans the caches even if the device only writes. Otherwise a dirty line that
/// is written back later would overwrite the device's data.
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
