//! Counters of the module's memory and calls, for all devices together.

use crate::device::Dev;
use crate::linux::Linux;
use core::cell::Cell;
use core::sync::atomic::{AtomicI64, Ordering::Relaxed};
use vb3_dma::SyncFor;
use vb3_dmabuf::Observer;

/// Counters, in the order of debugfs.
#[derive(Clone, Copy)]
pub enum Count {
    /// Bytes allocated.
    Bytes,
    /// Allocations, pinned ranges and imports.
    Objects,
    /// Attachments of devices to this module's memory, and of this module to other drivers' memory.
    Attachments,
    /// Tables mapped for a device.
    Mappings,
    /// Syncs; those of hand-overs are counted by C.
    Syncs,
    /// Hand-overs whose sync a program's cache hint omitted.
    #[expect(dead_code, reason = "C counts them")]
    Skipped,
    /// Ranges of addresses that are laid over scattered mappings (see `link.rs`).
    Links,
    /// Refusals with a reason.
    Refusals,
}

/// The counters. C's `atomic64_t` has the same layout.
// SAFETY: no other symbol has this name.
#[unsafe(export_name = "vb3_rs_counts")]
static COUNTS: [AtomicI64; 8] = [const { AtomicI64::new(0) }; 8];

impl Count {
    /// Adds a number to the counter; the number may be negative.
    pub fn add(self, by: i64) {
        if let Some(count) = COUNTS.get(self as usize) {
            count.fetch_add(by, Relaxed);
        }
    }
}

/// The counters of one call.
#[derive(Default)]
pub struct Ledger {
    /// Number of syncs in this call.
    pub syncs: Cell<u32>,
}

impl Observer<Linux> for Ledger {
    fn synced(&self, _dev: Dev, _sync: SyncFor) {
        Count::Syncs.add(1);
        self.syncs.set(self.syncs.get().saturating_add(1));
    }

    fn allocated(&self, _dev: Dev, len_bytes: u64) {
        Count::Bytes.add(i64::try_from(len_bytes).unwrap_or(i64::MAX));
    }

    fn freed(&self, _dev: Dev, len_bytes: u64) {
        Count::Bytes.add(i64::try_from(len_bytes).unwrap_or(i64::MAX).wrapping_neg());
    }

    fn mapped(&self, _dev: Dev) {
        Count::Mappings.add(1);
    }

    fn unmapped(&self, _dev: Dev) {
        Count::Mappings.add(-1);
    }
}
