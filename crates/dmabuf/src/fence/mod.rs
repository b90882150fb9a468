//! Fences: when the accesses of devices to a memory end.
//!
//! A fence stands for one piece of work in progress. It belongs to a context, whose fences end
//! in the order of their sequence numbers. It ends exactly once, with or without an error. A
//! *reservation* lists the fences of one memory: who writes it and who reads it. A *sync file* is
//! a set of fences that a program holds.
//!
//! Fences of devices are made when a device gets a buffer and not before, so that nothing can hold
//! back the work that ends them but the device itself. Those that a program imports into a
//! reservation are marked: a queue holds a buffer back for them, and only for them.
//!
//! Source: Linux 6.12 drivers/dma-buf/dma-fence.c, dma-resv.c, sync_file.c; differs: a reservation
//! tells imported fences from those of devices, as Linux's V4L2 neither adds nor waits for any;
//! fences are one table with numbers in place of counted references; no fence signals itself.

mod kinds;
#[cfg(feature = "alloc")]
mod reservation;
#[cfg(feature = "alloc")]
mod sync_file;
#[cfg(feature = "alloc")]
mod table;
#[cfg(all(test, feature = "alloc"))]
mod tests;
#[cfg(feature = "alloc")]
mod timeline;

pub use kinds::{FenceOutcome, Owner, Status, Usage};
#[cfg(feature = "alloc")]
pub use reservation::{Early, EarlyAccess};
#[cfg(feature = "alloc")]
pub use sync_file::{FenceInfo, SyncFile};
#[cfg(feature = "alloc")]
pub use table::{FenceCounts, FenceId, Fences};
#[cfg(feature = "alloc")]
pub use timeline::Timeline;
