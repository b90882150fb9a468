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
            for run in &mapping.bounced {
                failed |= self.copy_run(mapping.dev, run, sync).is_err();
            }
        }
        if due {
            self.count_sync(mapping.dev, sync);
        }
        due && !failed
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
        let mut copied = 0u64;
        let result = self.copy_run_counting(run, sync, &mut copied);
        self.count(dev, |c| {
            c.bytes_bounced = c.bytes_bounced.saturating_add(copied);
            c.bytes_copied = c.bytes_copied.saturating_add(copied);
        });
        result
    }

    fn copy_run_counting(
        &mut self,
        run: &Bounced,
        sync: SyncFor,
        copied: &mut u64,
    ) -> Result<(), Error> {
        if sync == SyncFor::Cpu {
            self.platform.cache_invalidate(run.at, run.len);
        }
        for source in &run.sources {
            let slot = run.at.checked_add(*copied).ok_or(Error::Invalid)?;
            match sync {
                SyncFor::Device => self.platform.bounce_in(slot, source.addr, source.len)?,
                SyncFor::Cpu => self.platform.bounce_out(slot, source.addr, source.len)?,
            }
            *copied = copied.saturating_add(source.len);
        }
        if sync == SyncFor::Device {
            self.platform.cache_clean(run.at, run.len);
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
