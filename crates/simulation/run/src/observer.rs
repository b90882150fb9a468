//! What the memory layers report during a run.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use vb3_dma::{Mapper, SyncFor};
use vb3_dmabuf::fence::{Owner, Usage};
use vb3_dmabuf::{MemoryId, Observer};
use vb3_machine::{Device, Machine};

/// A missing sync: which memory, and which of the two syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missed {
    /// The memory's number.
    pub(super) memory: u64,
    /// Which sync the driver left out.
    pub(super) sync: SyncFor,
    /// How often the driver left it out.
    pub(super) times: u64,
}

/// Maximum number of missing syncs kept until they are reported.
const MAX_MISSED: usize = 4096;

/// A device or a program, and its access to a memory.
type Party = (Owner<Device>, Usage);

/// An access to memory while another device used it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Early {
    pub(super) memory: MemoryId,
    /// The party that accessed the memory.
    pub(super) by: Party,
    /// The device that used the memory.
    pub(super) during: Party,
}

/// Maximum number of different early accesses kept until they are reported.
const MAX_EARLY: usize = 1024;

/// A dma-buf that a device could not use.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusedImport {
    pub(super) device: Device,
    /// The memory of the dma-buf.
    pub(super) memory: MemoryId,
    /// Length of the plane that would have used it, in bytes.
    pub(super) len_bytes: u64,
}

/// Work of the memory layers for one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Hand-overs to the device that did cache maintenance or a bounce copy.
    pub(super) syncs_for_device: u64,
    /// Hand-overs to the CPU that did cache maintenance or a bounce copy.
    pub(super) syncs_for_cpu: u64,
    /// Mappings made of imported, user, scattered and lazily placed memory.
    pub(super) maps: u64,
    /// Mappings removed.
    pub(super) unmaps: u64,
    /// Bytes copied by read() and write() emulation and by drivers that use the CPU.
    pub(super) copied_bytes: u64,
    /// Bytes copied because memory allocated for the device was moved.
    pub(super) moved_bytes: u64,
    /// Bytes allocated now.
    bytes: u64,
    /// Maximum number of bytes allocated at one time.
    pub(super) peak_bytes: u64,
}

impl Counters {
    fn allocated(&mut self, len_bytes: u64) {
        self.bytes = self.bytes.saturating_add(len_bytes);
        self.peak_bytes = self.peak_bytes.max(self.bytes);
    }

    fn freed(&mut self, len_bytes: u64) {
        self.bytes = self.bytes.saturating_sub(len_bytes);
    }
}

/// Counts the work for each device. Records missing syncs, early accesses and the last refused import. Also tells the
/// planes how many bytes of a memory are stale.
#[derive(Debug, Default)]
pub(super) struct RunObserver {
    counters: RefCell<BTreeMap<Device, Counters>>,
    missed: RefCell<Vec<Missed>>,
    /// Early accesses, each with how often it happened.
    early: RefCell<Vec<(Early, u64)>>,
    refused: Cell<Option<RefusedImport>>,
}

impl RunObserver {
    /// Returns the counters of a device.
    pub(super) fn counters(&self, dev: Device) -> Counters {
        let all = self.counters.borrow();
        all.get(&dev).copied().unwrap_or_default()
    }

    fn count(&self, dev: Device, what: impl FnOnce(&mut Counters)) {
        what(self.counters.borrow_mut().entry(dev).or_default());
    }

    /// Adds to the counter that `which` selects.
    fn add(&self, dev: Device, count: u64, which: impl FnOnce(&mut Counters) -> &mut u64) {
        self.count(dev, |counters| {
            let counter = which(counters);
            *counter = counter.saturating_add(count);
        });
    }

    /// Takes the missing syncs since the last call.
    pub(super) fn take_missed(&self) -> Vec<Missed> {
        self.missed.take()
    }

    /// Takes the early accesses since the last call, each with how often it happened.
    pub(super) fn take_early(&self) -> Vec<(Early, u64)> {
        self.early.take()
    }

    /// Takes the last refused import; `None` if there was none since the last call.
    pub(super) fn take_refused_import(&self) -> Option<RefusedImport> {
        self.refused.take()
    }
}

impl Observer<Mapper<Machine>> for RunObserver {
    fn synced(&self, dev: Device, sync: SyncFor) {
        self.add(dev, 1, |c| match sync {
            SyncFor::Device => &mut c.syncs_for_device,
            SyncFor::Cpu => &mut c.syncs_for_cpu,
        });
    }

    fn allocated(&self, dev: Device, len_bytes: u64) {
        self.count(dev, |c| c.allocated(len_bytes));
    }

    fn freed(&self, dev: Device, len_bytes: u64) {
        self.count(dev, |c| c.freed(len_bytes));
    }

    fn mapped(&self, dev: Device) {
        self.add(dev, 1, |c| &mut c.maps);
    }

    fn unmapped(&self, dev: Device) {
        self.add(dev, 1, |c| &mut c.unmaps);
    }

    fn moved(&self, dev: Device, len_bytes: u64) {
        self.add(dev, len_bytes, |c| &mut c.moved_bytes);
    }

    fn copied(&self, dev: Device, len_bytes: u64) {
        self.add(dev, len_bytes, |c| &mut c.copied_bytes);
    }

    fn stale_bytes(&self, ops: &Mapper<Machine>, alloc: &vb3_dma::Memory<Machine>) -> Option<u64> {
        let pages = alloc.pages()?;
        Some(ops.platform().stale_bytes_of(pages))
    }

    fn missing_sync(&self, _: Device, tag: u64, sync: SyncFor, _: Option<u64>) {
        let missed = &mut *self.missed.borrow_mut();
        let is_same = |m: &&mut Missed| m.memory == tag && m.sync == sync;
        if let Some(same) = missed.iter_mut().find(is_same) {
            same.times = same.times.saturating_add(1);
        } else if missed.len() < MAX_MISSED {
            missed.push(Missed {
                memory: tag,
                sync,
                times: 1,
            });
        }
    }

    fn early_access(&self, memory: MemoryId, by: Party, during: Party) {
        let new = Early { memory, by, during };
        let all = &mut *self.early.borrow_mut();
        if let Some((_, times)) = all.iter_mut().find(|(early, _)| *early == new) {
            *times = times.saturating_add(1);
        } else if all.len() < MAX_EARLY {
            all.push((new, 1));
        }
    }

    fn refused_import(&self, device: Device, memory: MemoryId, len_bytes: u64) {
        self.refused.set(Some(RefusedImport {
            device,
            memory,
            len_bytes,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn peak_bytes_are_the_most_at_one_time() {
        let mut counters = Counters::default();
        counters.allocated(8);
        counters.allocated(8);
        counters.freed(8);
        counters.allocated(4);
        assert_eq!((counters.bytes, counters.peak_bytes), (12, 16));
    }
}
