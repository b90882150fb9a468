//! The DMA mapping layer: addresses, scatter tables, constraints and mapping.
//!
//! The crate has two interfaces. The host below it (a simulated machine, a Rust operating system or a
//! VFIO container) implements [`Platform`]. Buffer code above it calls [`DmaOps`]. [`Mapper`] implements
//! [`DmaOps`] over a [`Platform`]. An operating system with its own DMA layer implements [`DmaOps`]
//! directly.
//!
//! The crate starts no threads, and reads no clock and no file: the host chooses the [locks](Locks) and reports the
//! time. Values from outside never cause a panic, and sizes use checked arithmetic.
#![doc = include_str!("../README.md")]
#![doc = include_str!("reference.md")]
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod addr;
mod counters;
mod error;
pub mod iopt;
mod lock;
#[cfg(feature = "alloc")]
pub mod mapped;
#[cfg(feature = "alloc")]
mod mapper;
mod ops;
mod platform;
#[cfg(feature = "alloc")]
mod ranges;
mod types;

pub use addr::{DmaAddr, PhysAddr};
pub use counters::{Counters, Live};
pub use error::{Constraint, Error, Reason};
pub use lock::{Locks, NoLocks};
#[cfg(feature = "alloc")]
pub use mapper::{Mapper, Mapping, Memory, Vmap};
pub use ops::{DmaOps, first_run};
pub use platform::{BounceMode, DeviceInfo, IommuInfo, PageRequest, Platform, Prot};
#[cfg(feature = "alloc")]
pub use ranges::RangeAllocator;
pub use types::{
    Attrs, Caching, Coherency, Direction, DmaSegment, FlushPolicy, Limits, Protected, Segment,
    SegmentKind, SegmentMode, SyncFor,
};
