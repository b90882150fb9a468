//! What was done, per device.

use crate::HintSkip;
use alloc::vec::Vec;
use vb3_dma::{DmaOps, SyncFor};
use vb3_dmabuf::{MissingSync, Observer};

/// What was done for one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Hand-overs to the device that took cache maintenance or a bounce copy.
    pub syncs_for_device: u64,
    /// Hand-overs to the CPU that did.
    pub syncs_for_cpu: u64,
    /// Hand-overs to the device whose maintenance the user left out.
    pub skipped_for_device: u64,
    /// Hand-overs to the CPU whose maintenance the user left out.
    pub skipped_for_cpu: u64,
    /// Mappings made of imported and user memory.
    pub maps: u64,
    /// Mappings taken away.
    pub unmaps: u64,
    /// Bytes copied by read() and write() emulation and by drivers that use the CPU.
    pub copied_bytes: u64,
    /// Bytes copied because memory allocated for the device was moved.
    pub moved_bytes: u64,
    /// Bytes that the device may still reach after an unmap that failed.
    pub quarantined_bytes: u64,
    /// Bytes allocated now.
    pub bytes: u64,
    /// Most bytes allocated at one time.
    pub peak_bytes: u64,
}

/// Counters of all devices; every event also goes to the host's observer.
#[derive(Debug)]
pub(super) struct CounterTable<D, H> {
    pub(super) host: H,
    counters: Vec<(D, Counters)>,
}

/// Devices that are counted.
const LIMIT: usize = 4096;

impl<D: Copy + Eq, H> CounterTable<D, H> {
    pub(super) const fn new(host: H) -> Self {
        Self {
            host,
            counters: Vec::new(),
        }
    }

    pub(super) fn get(&self, dev: D) -> Counters {
        self.counters
            .iter()
            .find(|(d, _)| *d == dev)
            .map_or_else(Counters::default, |(_, c)| *c)
    }

    /// Counts, as long as there is memory to count in.
    fn count(&mut self, dev: D, what: impl FnOnce(&mut Counters)) {
        if let Some((_, counters)) = self.counters.iter_mut().find(|(d, _)| *d == dev) {
            what(counters);
            return;
        }
        if self.counters.len() >= LIMIT || self.counters.try_reserve(1).is_err() {
            return;
        }
        let mut counters = Counters::default();
        what(&mut counters);
        self.counters.push((dev, counters));
    }

    pub(super) fn copied(&mut self, dev: D, len: u64) {
        self.count(dev, |c| c.copied_bytes = c.copied_bytes.saturating_add(len));
    }

    pub(super) fn skipped(&mut self, dev: D, skip: HintSkip) {
        self.count(dev, |c| {
            if skip.contains(HintSkip::PREPARE) {
                c.skipped_for_device = c.skipped_for_device.saturating_add(1);
            }
            if skip.contains(HintSkip::FINISH) {
                c.skipped_for_cpu = c.skipped_for_cpu.saturating_add(1);
            }
        });
    }
}

impl<O: DmaOps, H: Observer<O>> Observer<O> for CounterTable<O::Device, H> {
    fn synced(&mut self, dev: O::Device, sync: SyncFor) {
        self.count(dev, |c| match sync {
            SyncFor::Device => c.syncs_for_device = c.syncs_for_device.saturating_add(1),
            SyncFor::Cpu => c.syncs_for_cpu = c.syncs_for_cpu.saturating_add(1),
        });
        self.host.synced(dev, sync);
    }

    fn allocated(&mut self, dev: O::Device, len_bytes: u64) {
        self.count(dev, |c| {
            c.bytes = c.bytes.saturating_add(len_bytes);
            c.peak_bytes = c.peak_bytes.max(c.bytes);
        });
        self.host.allocated(dev, len_bytes);
    }

    fn freed(&mut self, dev: O::Device, len_bytes: u64) {
        self.count(dev, |c| c.bytes = c.bytes.saturating_sub(len_bytes));
        self.host.freed(dev, len_bytes);
    }

    fn mapped(&mut self, dev: O::Device) {
        self.count(dev, |c| c.maps = c.maps.saturating_add(1));
        self.host.mapped(dev);
    }

    fn unmapped(&mut self, dev: O::Device) {
        self.count(dev, |c| c.unmaps = c.unmaps.saturating_add(1));
        self.host.unmapped(dev);
    }

    fn quarantined(&mut self, dev: O::Device, len_bytes: u64) {
        self.count(dev, |c| {
            c.quarantined_bytes = c.quarantined_bytes.saturating_add(len_bytes);
        });
        self.host.quarantined(dev, len_bytes);
    }

    fn moved(&mut self, dev: O::Device, len_bytes: u64) {
        self.count(dev, |c| {
            c.moved_bytes = c.moved_bytes.saturating_add(len_bytes);
        });
        self.host.moved(dev, len_bytes);
    }

    fn stale_bytes(&mut self, ops: &O, alloc: &O::Alloc) -> Option<u64> {
        self.host.stale_bytes(ops, alloc)
    }

    fn missing_sync(&mut self, fact: MissingSync<O::Device>) {
        self.host.missing_sync(fact);
    }
}
