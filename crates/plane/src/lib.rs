#![doc = include_str!("../README.md")]
//! # How the parts work together
//!
//! [`MemOps`] is the seam to the queue above (vb2's `mem_ops`). [`contig`], [`sg`],
//! [`vmalloc`] and [`UserMemory`] are the allocators themselves: no heap, no tables, usable in a kernel.
//! [`Planes`] (feature `alloc`) puts them together with a registry of dma-bufs and implements
//! [`MemOps`] for a process.
//!
//! # Who syncs when
//!
//! Decided in [`due`], once, from the kind of memory, the direction, and the hint of this QBUF:
//!
//! | memory | prepare | finish | hint |
//! |---|---|---|---|
//! | allocated, coherent | nothing | nothing | no effect |
//! | allocated, non-coherent | sync for device | sync for CPU, unless TO_DEVICE | leaves it out |
//! | allocated, scattered (sg) | sync for device | sync for CPU, unless TO_DEVICE | leaves it out |
//! | a program's (USERPTR) | sync for device | sync for CPU, unless TO_DEVICE | leaves it out |
//! | imported dma-buf | the exporter's hand-over | the exporter's taking back | no effect |
//! | vmalloc, allocated or imported | begin CPU access | end CPU access | no effect |
//! | vmalloc, a program's | nothing | nothing | no effect |
//!
//! *Imported* memory that stays mapped over many cycles goes from device to device. The importer
//! asks the exporter for the work between devices, which is the copy of a bounced mapping. There is
//! no cache maintenance: the CPU's caches have no part when one device reads what another device
//! wrote to memory. A program that reads or writes an imported buffer with the CPU must announce it
//! (`DMA_BUF_IOCTL_SYNC`); the exporter then syncs for all mapped attachments. If the importer
//! cleaned caches at each QBUF, a program that forgot its SYNC would work here and fail on a board.
//! The *first* map of an import does sync, as every map does.
//!
//! *vmalloc* memory is for a driver that reads and writes with the CPU. Other devices may have the
//! memory mapped, so prepare and finish bracket the driver's access as one by the CPU. The direction
//! is the opposite one: the driver of an OUTPUT queue (TO_DEVICE) reads.
//!
//! A hint lasts for the call it is given to; nothing here remembers it.
//!
//! # Locks
//!
//! Queues on several threads share [`Planes`] by reference. The host brings its locks
//! ([`vb3_dma::Locks`]), which must be mutexes as for [`Buffers`](vb3_dmabuf::Buffers): some are held
//! while the DMA layer works. While a thread holds a lock it takes only locks further down:
//!
//! | order | lock | held during |
//! |---|---|---|
//! | 1 | of one import, of one pinned range | its map, unmap, hand-over and copy |
//! | 2 | those of [`vb3_dmabuf`](vb3_dmabuf#locks) | what is said there |
//! | 3 | of the counters, of what is kept of all planes together | a few instructions |
//!
//! No thread holds two of row 1. While the host allocates, pins or frees, the thread holds no lock,
//! so that one queue's allocation delays no other queue. `tests/loom.rs` tries the orders of
//! two threads.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod contig;
mod due;
mod memops;
#[cfg(feature = "alloc")]
mod planes;
#[cfg(feature = "alloc")]
mod reserve;
pub mod sg;
mod user;
pub mod vmalloc;

pub use due::{Due, Memory, due};
pub use memops::{AllocArgs, ExportAccess, HintSkip, MemOps, PlaneError};
#[cfg(feature = "alloc")]
pub use planes::{
    Allocator, Cookie, Counters, CpuView, Device, Live, Plane, PlaneMmap, Planes, RefusedImport,
    SgView, UserId, UserRange,
};
#[cfg(feature = "alloc")]
pub use reserve::{Short, reserve};
pub use user::UserMemory;
pub use vb3_dma::{Caching, Coherency, Constraint, Direction, Reason};
pub use vb3_dmabuf::fence::Outcome;
