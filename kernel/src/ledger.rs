//! Counters of the module's memory and calls, for all devices together.

use crate::linux::{Dev, Linux};
use core::cell::Cell;
use core::sync::atomic::{AtomicI64, Ordering::Relaxed};
use vb3_dma::SyncFor;
use vb3_dmabuf::Observer;

/// A running count.
pub struct Count(AtomicI64);

impl Count {
    const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Adds a number, which may be negative.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// Returns the current count.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Bytes allocated.
pub static BYTES: Count = Count::new();
/// Allocations, pinned ranges and imports.
pub static OBJECTS: Count = Count::new();
/// Devices attached to this module's memory, and its attachments to other drivers' memory.
pub static ATTACHMENTS: Count = Count::new();
/// Tables mapped for a device.
pub static MAPPINGS: Count = Count::new();
/// Hand-overs that were synced.
pub static SYNCS: Count = Count::new();
/// Hand-overs whose sync a program's cache hint omitted.
pub static SKIPPED: Count = Count::new();
/// Linked ranges over scattered mappings.
pub static LINKS: Count = Count::new();
/// Refusals with a reason.
pub static REFUSALS: Count = Count::new();

/// Counts for one call.
#[derive(Default)]
pub struct Ledger {
    /// Syncs made with this ledger.
    pub syncs: Cell<u32>,
}

impl Observer<Linux> for Ledger {
    fn synced(&self, _dev: Dev, _sync: SyncFor) {
        SYNCS.add(1);
        self.syncs.set(self.syncs.get().saturating_add(1));
    }

    fn allocated(&self, _dev: Dev, len_bytes: u64) {
        BYTES.add(i64::try_from(len_bytes).unwrap_or(i64::MAX));
    }

    fn freed(&self, _dev: Dev, len_bytes: u64) {
        BYTES.add(i64::try_from(len_bytes).unwrap_or(i64::MAX).wrapping_neg());
    }

    fn mapped(&self, _dev: Dev) {
        MAPPINGS.add(1);
    }

    fn unmapped(&self, _dev: Dev) {
        MAPPINGS.add(-1);
    }
}
