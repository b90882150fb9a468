//! Fences, which signal when the accesses of devices to a memory end.
//!
//! A fence stands for one piece of work in progress. It belongs to a context, whose fences end
//! in the order of their sequence numbers. It ends exactly once, with or without an error. A
//! *reservation* lists the fences of one memory's writers and readers. [`Buffers`](crate::Buffers) keeps one for
//! each memory. A *sync file* is a set of fences that a program holds.
//!
//! A device's fence is made only when the device gets a buffer, after all waits for that buffer. From then
//! on, only the device itself can delay the fence's end. A queue withholds a buffer from its device only for
//! pending *imported* fences, which a program or another driver has added to the buffer's reservation.
//!
//! Source: Linux 6.12 drivers/dma-buf/dma-fence.c, dma-resv.c, sync_file.c. Differs: in Linux,
//! V4L2 devices neither add fences nor wait for them. Here they add fences, and their queues wait only for
//! imported ones, so a reservation distinguishes the two. Fences are numbered entries of one table, not
//! separate objects, and end only through calls. A device's access gets an entry in the table only when a sync
//! file is made of the memory's fences. So two queues share no lock as long as no program asks for a sync file.

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

#[cfg(feature = "alloc")]
pub(crate) use reservation::Reservation;
#[cfg(feature = "alloc")]
pub use sync_file::SyncFile;
#[cfg(feature = "alloc")]
pub use table::{FenceId, FenceInfo, Fences};
#[cfg(feature = "alloc")]
pub use timeline::Timeline;
use vb3_dma::Direction;

/// The errno of a fence whose memory is released before the access has ended.
pub const ECANCELED: i32 = 125;

/// The party that ends a fence, or that accesses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner<D> {
    /// A device. It ends its fence when it has finished with a buffer.
    Device(D),
    /// A program. The host chooses the number: for a fence, that of the timeline; for an access, that of the process.
    Program(u64),
    /// Another driver. This crate only learns when the driver's work has ended.
    Driver,
}

/// The access that a fence protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Usage {
    /// The memory is being written.
    Write,
    /// The memory is being read.
    Read,
}

impl Usage {
    /// Returns the access of a device to memory with this direction.
    #[must_use]
    pub const fn of(direction: Direction) -> Self {
        match direction {
            Direction::ToDevice => Self::Read,
            Direction::FromDevice | Direction::Bidirectional => Self::Write,
        }
    }

    /// Returns whether an access of this kind must wait for one of kind `other`: readers wait for writers,
    /// writers wait for all accesses.
    #[must_use]
    pub const fn waits_for(self, other: Self) -> bool {
        matches!((self, other), (Self::Write, _) | (_, Self::Write))
    }
}

/// Whether a fence has ended, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The work continues.
    Pending,
    /// The work has ended.
    Ended {
        /// Success, or the errno of the failure, positive.
        outcome: Result<(), i32>,
        /// When the work ended, by the host's clock.
        at_ns: u64,
    },
}
