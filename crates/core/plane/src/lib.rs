#![doc = include_str!("../README.md")]
//! # How the parts work together
//!
//! [`MemOps`] is the interface that a queue calls (vb2's `mem_ops`). [`contig`] and [`UserMemory`] keep
//! no list of buffers and use no heap, so a kernel module can use them with its own objects. [`Planes`]
//! (feature `alloc`) combines them with a registry of dma-bufs and implements [`MemOps`] for a process.
//!
//! # Who syncs when
//!
//! [`due`] decides for each buffer who syncs. The decision depends on the memory and the direction. The cache hint of
//! the buffer's QBUF can omit a sync. *Prepare* runs before the device uses the buffer, *finish* after:
//!
//! | memory | prepare | finish | a cache hint |
//! |---|---|---|---|
//! | allocated, coherent | nothing | nothing | has no effect |
//! | allocated, non-coherent | sync for device | sync for CPU, but nothing for TO_DEVICE | omits the sync |
//! | allocated, scattered (sg) | sync for device | sync for CPU, but nothing for TO_DEVICE | omits the sync |
//! | a program's (USERPTR) | sync for device | sync for CPU, but nothing for TO_DEVICE | omits the sync |
//! | imported dma-buf | exporter hands memory to the device | exporter takes it back | has no effect |
//! | vmalloc, allocated or imported | begin CPU access | end CPU access | has no effect |
//! | vmalloc, a program's | nothing | nothing | has no effect |
//!
//! *Imported* memory stays mapped while it is queued many times. If its mapping bounces, the exporter copies
//! the data at each hand-over. No hand-over does cache maintenance ([reason](vb3_dmabuf#who-syncs-when)).
//! Mapping does sync, but an import is mapped only before its first use.
//!
//! *vmalloc* memory is for a driver that reads and writes with the CPU. Other devices may have mapped
//! the memory. So prepare begins a CPU access and finish ends it. The driver of an OUTPUT queue
//! (TO_DEVICE) *reads* the memory, so the access has the opposite direction.
//!
//! A hint applies to one QBUF only. This crate does not store it.
//!
//! # Locks
//!
//! Queues on several threads share [`Planes`] by reference. The host provides the lock type
//! ([`vb3_dma::Locks`]). As for [`Buffers`](vb3_dmabuf::Buffers), locks must be mutexes that a thread
//! may hold while it sleeps in the DMA layer. A thread that holds a lock takes only locks of later rows:
//!
//! | order | lock of | held during |
//! |---|---|---|
//! | 1 | one pinned range | its sync and copy |
//! | 2 | [`vb3_dmabuf`](vb3_dmabuf#locks) | see there |
//! | 3 | vacant slots of pinned ranges | a few instructions |
//!
//! No thread holds two locks of row 1. A thread holds no lock while the host allocates, pins or frees, so one
//! queue's allocation does not delay other queues. `tests/loom.rs` runs two threads in all orders with at
//! most two preemptions, and checks that these rules hold.
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
mod user;

pub use due::due;
pub use memops::{Allocator, HintSkip, MemOps, PlaneError};
#[cfg(feature = "alloc")]
pub use planes::{Cookie, Device, Plane, Planes, View};
pub use user::UserMemory;
pub use vb3_dma::{Caching, Coherency, Constraint, Direction, Reason};
