#![doc = include_str!("../README.md")]
//! # How it works
//!
//! [`Machine`] is a [`vb3_dma::Platform`]. Its physical addresses are fictitious. Only allocated memory
//! has bytes, each allocation in a separate memfd, so that programs can map it. Devices reach memory
//! only by bus addresses ([`Machine::bus_read`], [`Machine::bus_write`]), through their page table if
//! there is an IOMMU. Without coherent caches, the CPU and devices see different bytes until a cache
//! sync.
//!
//! The same profile, seed and calls give the same trace, byte for byte.
#![deny(unsafe_code)]

mod backing;
mod bus;
mod device;
mod dram;
mod faults;
mod foreign;
mod freeing;
mod front;
mod iommu;
mod machine;
mod memory;
mod placed;
mod platform;
pub mod profile;
mod proven;
mod ram;
mod runs;
pub mod solve;
mod store;
mod trace;
mod udmabuf;
mod user;
mod withdraw;

pub use device::{BusFault, BusLines, BusSpan, Device, FaultKind, HostSpan};
pub use faults::Faults;
pub use foreign::{Foreign, is_dmabuf};
pub use front::Machine;
pub use iommu::Staleness;
pub use machine::{BusWindow, Demands, DeviceLimits, Held, Mmap, Pages, Pinned};
pub use memory::InPlace;
pub use platform::Vmap;
pub use profile::{Profile, ProfileError};
pub use ram::{FreeMemory, Spot};
pub use store::SharedBytes;
pub use trace::{Event, Trace};
pub use udmabuf::{Udmabuf, dmabuf_holders};
pub use user::{User, UserFault, UserMemory};
pub use withdraw::OwnMemory;
