//! Fences: when the accesses of devices to a memory end.
//!
//! A fence stands for one piece of work in progress. It belongs to a context, whose fences end
//! in the order of their sequence numbers. It ends exactly once, with or without an error. A
//! *reservation* lists the fences of one memory's writers and readers. A *sync file* is
//! a set of fences that a program holds.
//!
//! A device's fence is made only when the device gets a buffer. So only the device itself can delay the work
//! that ends the fence. Fences that a program imports into a reservation are marked: a queue withholds a
//! buffer from its device for imported fences, and for no others.
//!
//! Source: Linux 6.12 drivers/dma-buf/dma-fence.c, dma-resv.c, sync_file.c; differs: a reservation
//! distinguishes imported fences from those of devices, because Linux's V4L2 neither adds fences nor waits
//! for them; fences are numbered entries of one table, not objects with counted references; no fence signals
//! itself.

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
