//! Counters of each device.

use alloc::vec::Vec;
use vb3_dma::{DmaOps, Locks, SyncFor};
use vb3_dmabuf::fence::{Owner, Usage};
use vb3_dmabuf::{MemoryId, Observer};

/// Counters of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Hand-overs to the device that did cache maintenance or a bounce copy.
    pub syncs_for_device: u64,
    /// Hand-overs to the CPU that did cache maintenance or a bounce copy.
    pub syncs_for_cpu: u64,
    /// Hand-overs to the device whose maintenance was skipped at the user's request.
    pub skipped_for_device: u64,
    /// Hand-overs to the CPU whose maintenance was skipped at the user's request.
    pub skipped_for_cpu: u64,
    /// Mappings made of imported, user, scattered and lazily placed memory.
    pub maps: u64,
    /// Mappings removed.
    pub unmaps: u64,
    /// Bytes copied by read() and write() emulation and by drivers that use the CPU.
    pub copied_bytes: u64,
    /// Bytes copied because memory allocated for the device was moved.
    pub moved_bytes: u64,
    /// Bytes that the device may still reach after an unmap that failed.
    pub quarantined_bytes: u64,
    /// Bytes allocated now.
    pub bytes: u64,
    /// Maximum number of bytes allocated at one time.
    pub peak_bytes: u64,
}

/// Counters of all devices; every event also goes to the host's observer.
pub(super) struct CounterTable<D, H, L: Locks> {
    pub(super) host: H,
    counters: L::Lock<Vec<(D, Counters)>>,
}

/// Maximum number of devices with counters.
const LIMIT: usize = 4096;

impl<D: Copy + Eq, H, L: Locks> CounterTable<D, H, L> {
    pub(super) fn new(host: H) -> Self {
        Self {
            host,
            counters: L::new_lock(Vec::new()),
        }
    }

    pub(super) fn get(&self, dev: D) -> Counters {
        L::with(&self.counters, |list| {
            let found = list.iter().find(|(d, _)| *d == dev);
            found.map_or_else(Counters::default, |(_, counters)| *counters)
        })
    }

    /// Counts an event. Ignores the event if there is no memory for the device's counters.
    fn count(&self, dev: D, what: impl Fn(&mut Counters)) {
        let counted = |list: &mut Vec<(D, Counters)>| {
            let found = list.iter_mut().find(|(d, _)| *d == dev);
            found.map(|(_, counters)| what(counters)).is_some()
        };
        let (is_done, len) = L::with(&self.counters, |list| (counted(list), list.len()));
        if is_done || len >= LIMIT {
            return;
        }
        // Allocates without the lock.
        let mut room = Vec::new();
        if room.try_reserve_exact(len.saturating_add(8)).is_err() {
            return;
        }
        let _former = L::with(&self.counters, |list| {
            // Another thread may have added this device, or others, meanwhile.
            if counted(list) {
                return room;
            }
            if list.len() == list.capacity() && room.capacity() > list.len() {
                room.append(list);
                core::mem::swap(list, &mut room);
            }
            if list.len() < list.capacity() {
                let mut counters = Counters::default();
                what(&mut counters);
                list.push((dev, counters));
            }
            room
        });
    }

    /// Adds to the counter that `which` selects.
    fn add(&self, dev: D, count: u64, which: impl Fn(&mut Counters) -> &mut u64) {
        self.count(dev, |c| {
            let counter = which(c);
            *counter = counter.saturating_add(count);
        });
    }

    pub(super) fn copied(&self, dev: D, len: u64) {
        self.add(dev, len, |c| &mut c.copied_bytes);
    }

    pub(super) fn skipped(&self, dev: D, sync: SyncFor) {
        self.add(dev, 1, |c| match sync {
            SyncFor::Device => &mut c.skipped_for_device,
            SyncFor::Cpu => &mut c.skipped_for_cpu,
        });
    }
}

impl<O: DmaOps, H: Observer<O>, L: Locks> Observer<O> for CounterTable<O::Device, H, L> {
    fn synced(&self, dev: O::Device, sync: SyncFor) {
        self.add(dev, 1, |c| match sync {
            SyncFor::Device => &mut c.syncs_for_device,
            SyncFor::Cpu => &mut c.syncs_for_cpu,
        });
        self.host.synced(dev, sync);
    }

    fn allocated(&self, dev: O::Device, len_bytes: u64) {
        self.count(dev, |c| {
            c.bytes = c.bytes.saturating_add(len_bytes);
            c.peak_bytes = c.peak_bytes.max(c.bytes);
        });
        self.host.allocated(dev, len_bytes);
    }

    fn freed(&self, dev: O::Device, len_bytes: u64) {
        self.count(dev, |c| c.bytes = c.bytes.saturating_sub(len_bytes));
        self.host.freed(dev, len_bytes);
    }

    fn mapped(&self, dev: O::Device) {
        self.add(dev, 1, |c| &mut c.maps);
        self.host.mapped(dev);
    }

    fn unmapped(&self, dev: O::Device) {
        self.add(dev, 1, |c| &mut c.unmaps);
        self.host.unmapped(dev);
    }

    fn quarantined(&self, dev: O::Device, len_bytes: u64) {
        self.add(dev, len_bytes, |c| &mut c.quarantined_bytes);
        self.host.quarantined(dev, len_bytes);
    }

    fn moved(&self, dev: O::Device, len_bytes: u64) {
        self.add(dev, len_bytes, |c| &mut c.moved_bytes);
        self.host.moved(dev, len_bytes);
    }

    fn stale_bytes(&self, ops: &O, memory: &O::Memory) -> Option<u64> {
        self.host.stale_bytes(ops, memory)
    }

    fn missing_sync(&self, dev: O::Device, tag: u64, sync: SyncFor, stale_bytes: Option<u64>) {
        self.host.missing_sync(dev, tag, sync, stale_bytes);
    }

    fn early_access(
        &self,
        memory: MemoryId,
        by: (Owner<O::Device>, Usage),
        during: (Owner<O::Device>, Usage),
    ) {
        self.host.early_access(memory, by, during);
    }

    fn refused_import(&self, dev: O::Device, memory: MemoryId, len_bytes: u64) {
        self.host.refused_import(dev, memory, len_bytes);
    }
}
