//! Fences: when the accesses of devices to a memory end.
//!
//! A fence stands for one piece of work in progress. It belongs to a context, whose fences end
//! in the order of their sequence numbers. It ends exactly once, with or without an error. A
//! *reservation* lists the fences of one memory's writers and readers. A *sync file* is
//! a set of fences that a program holds.
//!
//! A device's fence is made only when the device gets a buffer, after all waits for that buffer. From then
//! on, only the device itself can delay the fence's end. A queue withholds a buffer from its device only for
//! pending *imported* fences, which a program or another driver has added to the buffer's reservation.
//!
//! Source: Linux 6.12 drivers/dma-buf/dma-fence.c, dma-resv.c, sync_file.c. Differs: in Linux,
//! V4L2 devices neither add fences nor wait for them. Here they add fences, and their queues wait only for
//! imported ones, so a reservation distinguishes the two. Fences are numbered entries of one table, not
//! separate objects, and end only through calls.

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
pub use sync_file::SyncFile;
#[cfg(feature = "alloc")]
pub use table::{FenceCounts, FenceId, FenceInfo, Fences};
#[cfg(feature = "alloc")]
pub use timeline::Timeline;
