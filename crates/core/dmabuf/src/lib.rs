#![doc = include_str!("../README.md")]
//! # How the parts work together
//!
//! [`Shared`] is the exporter: one memory, its handles, and the devices attached to it. Handles are a
//! queue's plane, program mappings and exported dma-bufs. The memory exists as long as any handle does.
//! [`Buffers`] (feature `alloc`) is the registry for a host without a kernel. It numbers memories and
//! dma-bufs, and implements the file operations of a dma-buf.
//!
//! # Who syncs when
//!
//! The exporter syncs for all its mapped attachments, and for the device that it allocated the memory for:
//!
//! * *Mapping* an attachment gives the memory to its device, with the necessary cache maintenance and
//!   bounce copy. *Unmapping* returns it.
//! * A *CPU access* begins with [`Shared::begin_cpu_access`] and ends with [`Shared::end_cpu_access`]
//!   (`DMA_BUF_IOCTL_SYNC` for programs). Each mapped attachment and the exporter's device is synced in the
//!   part of the requested direction that its mapping allows. Bytes that the CPU wrote always leave its
//!   cache.
//! * A *device's use* of a mapping begins with [`Shared::hand_to_device`] and ends with
//!   [`Shared::take_from_device`]. A mapping can be used many times. These calls copy the data of
//!   bounced mappings and do no cache maintenance. If one device writes to memory and another reads it,
//!   the data never passes the CPU's caches. Cache maintenance would also hide a program's missing SYNC.
//!
//! As on real hardware, a CPU access without these calls may read stale bytes, or leave stale bytes for a device.
//! [`Observer::missing_sync`] reports such an access.
//!
//! # Attach, map, pin
//!
//! *Attaching* adds a device to the memory's list. It allocates and maps nothing. *Mapping* is
//! counted: the first call maps for the device, and the last unmap removes the mapping. Detaching also
//! unmaps.
//!
//! A mapped device *pins* the memory: its addresses cannot change. A device that was attached
//! [dynamically](Shared::attach_dynamic) pins the memory only during a use. At other times
//! [`Shared::place`] may remove its mapping and move the memory. The device must then be mapped again,
//! at other addresses, before its next use.
//!
//! [`Shared::revoke`] ignores pins and removes all mappings. Accesses by devices behind an IOMMU then fault,
//! and later calls fail with ENODEV.
//!
//! # When an unmap fails
//!
//! An unmap may fail ([`DmaOps::try_unmap`](vb3_dma::DmaOps::try_unmap)). The device may then reach the
//! memory as long as the machine runs, so the memory is *quarantined* ([`Shared::is_quarantined`]). Existing
//! handles and mappings stay valid. Attaching, a first mapping, exporting and moving fail with
//! [`Error::Quarantined`]. The DMA layer never allocates the memory again, even after the last handle is
//! closed. [`Observer::quarantined`] reports the device and the length.
//!
//! # Lazy placement
//!
//! Memory of [`Backing::Lazy`] has a length, handles and attachments from the beginning, but no
//! addresses. When it is first mapped, [`Shared::place`] passes all attached devices to the host's
//! [`Placer`], which finds a place for them. If a device attaches later and cannot use
//! that place, the memory moves to a place that suits this device, too.
//!
//! The place suits the demands of all attached devices. If no place suits a further device, only that
//! device is refused. Placing does not change a buffer's length and stride, so a device that needs
//! another stride is refused. Allocation reserves an amount of memory, not an address. Placing can still
//! fail with ENOMEM if the free memory is in pieces or out of a device's reach.
//!
//! # Context
//!
//! [`Shared`] takes no lock, allocates nothing and does not block. The host serialises the calls on each
//! `Shared`; a kernel uses the reservation lock. The host's DMA layer, observer and placer may sleep.
//!
//! # Locks
//!
//! Threads share [`Buffers`] by reference. The host provides the lock type ([`vb3_dma::Locks`]). Locks
//! must be mutexes, and interrupt handlers must not call `Buffers`: a thread holds a memory's lock while
//! the DMA layer works, which may sleep. A thread that holds a lock takes only locks of later rows:
//!
//! | order | lock of | held during |
//! |---|---|---|
//! | 1 | one memory | [`Buffers::with_memory`], [`Buffers::inspect`], each call that names the memory |
//! | 2 | all sync files and timelines | [`Buffers::with_fences`]. A device's access to a memory takes this lock only if a program has asked for its fence |
//! | 3 | one entry for a dma-buf or an import; the list of changes; vacant slots | a few instructions |
//! | 4 | the host's placer, observer and DMA layer | their own work |
//!
//! No thread holds two locks of one row, except in row 4. A thread holds no lock while memory is allocated or
//! freed, so an allocation that sleeps does not delay other threads. `tests/loom.rs` runs two threads in all
//! orders with at most two preemptions, and checks that these rules hold.
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
mod observer;
mod shared;
#[cfg(feature = "alloc")]
mod slab;
mod store;
#[cfg(feature = "alloc")]
mod table;
#[cfg(all(test, feature = "alloc"))]
mod tests;

#[cfg(feature = "alloc")]
pub use buffers::{AttachRef, BufRef, Buffers, Live, Vma};
pub use error::Error;
pub use file::{IOCTL_SYNC, sync_flags};
#[cfg(feature = "alloc")]
pub use ids::{BufId, MemoryId};
pub use observer::{Cx, Observer};
#[cfg(feature = "managed")]
pub use shared::Placer;
pub use shared::{Attachment, Backing, Shared, Spec, UserKind, intersect};
#[cfg(feature = "alloc")]
pub use slab::{Slab, SlabKey};
pub use store::Store;
#[cfg(feature = "alloc")]
pub use table::Table;
