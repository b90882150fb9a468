//! What the module holds and did, for all devices together.

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

    /// Adds.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// Now.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Bytes allocated.
pub static BYTES: Count = Count::new();
/// Allocations, pinned ranges and imports.
pub static OBJECTS: Count = Count::new();
/// Devices attached to our memory, and our attachments to others'.
pub static ATTACHMENTS: Count = Count::new();
/// Tables mapped for a device.
pub static MAPPINGS: Count = Count::new();
/// Hand-overs that were synced.
pub static SYNCS: Count = Count::new();
/// Hand-overs whose sync a program's hint left out.
pub static SKIPPED: Count = Count::new();
/// Ranges laid over mappings in pieces.
pub static LINKS: Count = Count::new();
/// Refusals with a reason.
pub static REFUSALS: Count = Count::new();

/// Counts.
#[derive(Default)]
pub struct Ledger {
    /// Syncs done through this one.
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

/// What is held: bytes, objects, attachments, mappings. All zero when all was given back.
pub fn held() -> [i64; 4] {
    [
        BYTES.get(),
        OBJECTS.get(),
        ATTACHMENTS.get(),
        MAPPINGS.get(),
    ]
}
