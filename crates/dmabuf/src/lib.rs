#![doc = include_str!("../README.md")]
//! # How the parts work together
//!
//! [`Shared`] is the exporter: memory that several handles name (a queue's plane, program
//! mappings, exported dma-bufs) with one lifetime, and the devices attached to it. [`Importer`]
//! is the interface of an importing queue. [`Buffers`] (feature `alloc`) is the registry for a host
//! without a kernel: it numbers memories and dma-bufs and implements the file operations of a
//! dma-buf.
//!
//! # Who syncs when
//!
//! The exporter syncs, for all its mapped attachments and for its device:
//!
//! * *Mapping* an attachment hands the memory to its device, with the necessary cache
//!   maintenance and bounce copy; *unmapping* hands it back.
//! * *CPU access* is bracketed by [`Shared::begin_cpu_access`] and [`Shared::end_cpu_access`]
//!   (`DMA_BUF_IOCTL_SYNC` for programs). Each mapped attachment and the exporter's device is
//!   synced in the part of the requested direction that its mapping allows.
//! * *Device to device*, with the mapping kept over many cycles, is [`Shared::hand_to_device`] and
//!   [`Shared::take_from_device`]. The CPU's caches have no part when one device reads from memory
//!   what another wrote to memory, so there is no cache maintenance. It would cost time, and a
//!   program would not notice that it forgot its SYNC. The copy of a bounced mapping *is* necessary,
//!   because its device sees a copy of the memory.
//!
//! A CPU access without its bracket therefore reads or leaves stale bytes here as it would on a
//! board. Such facts go to [`Observer::missing_sync`].
//!
//! # Attach, map, pin
//!
//! *Attaching* puts a device into the memory's list; it allocates and maps nothing. *Mapping* is
//! counted: the first one maps for the device, the last unmap takes the mapping away. Detaching
//! unmaps what is still mapped. While a device that was [attached](Shared::attach) is mapped, its
//! addresses stay: the memory is *pinned*. One that was attached
//! [dynamically](Shared::attach_dynamic) pins it only while it uses it; otherwise
//! [`Shared::place`] may take its mapping away and move the memory, and it is mapped again, at
//! other addresses, before its next use. [`Shared::revoke`] ignores pins: the exporter takes the
//! memory back, mappings end, behind an IOMMU accesses fault, and all later calls fail with ENODEV.
//!
//! # When an unmap fails
//!
//! An unmap may fail ([`DmaOps::try_unmap`](vb3_dma::DmaOps::try_unmap)). The device may then reach
//! the memory as long as the machine runs, so the memory is *quarantined*
//! ([`Shared::is_quarantined`]). Existing holders keep it. Attaching, a first mapping, exporting and
//! moving fail with [`Error::Quarantined`]. After the last handle, the DMA layer does not allocate the
//! memory again. [`Observer::quarantined`] reports the device and the length.
//!
//! # Lazy placement
//!
//! Memory of [`Backing::Lazy`] has bytes, handles and attachments from the beginning, and no
//! addresses. [`Shared::place`] gives it some when it is first mapped: the host's [`Placer`] gets
//! all devices that are attached by then and finds a place for them with [`solve`]. If a device
//! attaches later and cannot use that place, the memory moves, once.
//!
//! The place suits the demands of all attached devices. A device without a place changes nothing for
//! the others. The length and the lines of a picture stay as the owner's program set them, so a device
//! with another stride is refused. The allocation promises an amount of memory, not an address:
//! placing can still fail with ENOMEM if the free memory is in pieces or out of reach.
//!
//! # Context
//!
//! [`Shared`] takes no lock, allocates nothing and does not block: the host serialises calls on one,
//! in a kernel by the reservation lock. Its DMA layer, observer and placer may sleep.
//!
//! # Locks
//!
//! Threads share [`Buffers`] by reference. The host brings its locks ([`vb3_dma::Locks`]). They must
//! be mutexes, and no call may come from an interrupt handler: a memory's lock is held while the DMA
//! layer works, which may sleep. While a thread holds a lock it takes only locks further down:
//!
//! | order | lock | held during |
//! |---|---|---|
//! | 1 | of one memory | [`Buffers::with_memory`], [`Buffers::inspect`], each call that names the memory |
//! | 2 | of all fences | [`Buffers::with_fences`] |
//! | 3 | of one dma-buf's entry, of the clock, of the list of changes, of vacant slots | a few instructions |
//! | 4 | of the host: in its placer, its observer and the DMA layer | what they do |
//!
//! No thread holds two of one row, but for those of the host. Allocating memory and freeing it hold
//! none, so that an allocation that sleeps delays no other thread. `tests/loom.rs` tries the orders of
//! two threads.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "alloc")]
mod buffers;
mod error;
pub mod fence;
mod file;
#[cfg(feature = "alloc")]
mod ids;
mod importer;
mod observer;
mod shared;
#[cfg(feature = "alloc")]
mod slab;
pub mod solve;
mod store;
#[cfg(feature = "alloc")]
mod table;
#[cfg(all(test, feature = "alloc"))]
mod tests;

#[cfg(feature = "alloc")]
pub use buffers::{AttachRef, BufInfo, BufRef, Buffers, Live, Memory, Vma};
pub use error::Error;
pub use file::{Access, IOCTL_SYNC, Name, SyncFlags};
#[cfg(feature = "alloc")]
pub use ids::{BufId, MemoryId};
pub use importer::Importer;
pub use observer::{Cx, MissingSync, Observer, SyncKind};
pub use shared::{
    Attachment, Backing, Closed, Holder, HolderKind, Holders, Placer, Shared, Spec, UserKind,
    intersect,
};
#[cfg(feature = "alloc")]
pub use slab::{Slab, SlabKey};
pub use store::Store;
#[cfg(feature = "alloc")]
pub use table::Table;
