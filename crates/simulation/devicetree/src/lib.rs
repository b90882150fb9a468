//! Reads a board's memory, buses and video devices from its device tree.
//!
//! [`Board::read`] takes a flattened device tree (`.dtb`). [`Board::profile`] writes the profile of a
//! machine, and each line names the node and property that it comes from. [`Board::specs`] lists the devices
//! that `vb3 run` can offer in place of the board's devices, with their limits. [`Board::not_taken`] lists
//! the parts of the tree that neither the profile nor the devices can express.
//!
//! A tree does not contain everything: drivers set the DMA masks. `drivers.toml` has the masks, each with its
//! source.
//!
//! Trees are untrusted input: sizes, depths and counts are bounded, and arithmetic is checked. Invalid
//! and circular references are ignored.

#![forbid(unsafe_code)]

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod areas;
mod blob;
mod boards;
mod bus;
mod device;
mod drivers;
mod error;
mod iommu;
mod memory;
mod profile;
mod source;
#[cfg(test)]
mod tests;
mod tree;

pub use boards::{BOARDS, Shipped};
pub use bus::Window;
pub use device::{Device, Iommu, Sensor};
pub use drivers::{
    Allocator, Codec, Driver, KERNEL, Kind, SensorDriver, Sourced, drivers, sensors,
};
pub use error::{Damage, Error};
pub use memory::{Range, Reserved, ReservedKind, Sram};
pub use source::{compile, is_source};

use tree::Tree;

/// Largest accepted tree, in bytes. The largest in Linux 6.12 has 0.4 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// A board as its device tree describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// `model` of the root.
    pub model: String,
    /// `compatible` of the root, most specific first.
    pub compatible: Vec<String>,
    /// Memory ranges in the tree. Empty if the boot loader fills them in.
    pub memory: Vec<Range>,
    /// Children of `/reserved-memory`.
    pub reserved: Vec<Reserved>,
    /// On-chip memory (`mmio-sram`).
    pub srams: Vec<Sram>,
    /// Enabled video devices whose driver is known.
    pub devices: Vec<Device>,
    /// Parts of the tree that neither the profile nor the devices can express, one sentence each.
    pub not_taken: Vec<String>,
}

impl Board {
    /// Reads a flattened device tree.
    ///
    /// # Errors
    /// [`Error`]: the bytes are not a tree, are damaged, or exceed the bounds. The message names
    /// the damaged part and its byte offset, the expected value, and a remedy.
    pub fn read(dtb: &[u8]) -> Result<Self, Error> {
        let tree = Tree::read(dtb)?;
        let mut not_taken = Vec::new();
        let devices = device::find(&tree, &mut not_taken);
        Ok(Self {
            model: tree.text(Tree::ROOT, "model").unwrap_or_default(),
            compatible: tree
                .texts(Tree::ROOT, "compatible")
                .map(str::to_owned)
                .collect(),
            memory: memory::ram(&tree),
            reserved: memory::reserved(&tree, &mut not_taken),
            srams: memory::srams(&tree),
            devices,
            not_taken,
        })
    }
}
