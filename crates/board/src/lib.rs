//! What a board's device tree says of its memory, its buses and its video devices.
//!
//! [`Board::read`] takes a flattened device tree (`.dtb`). [`Board::profile`] writes the profile of a
//! machine from it, each line with the node and property that it comes from, and
//! [`Board::specs`] the devices that `vb3 run` can offer in place of the board's, with their limits.
//! What the tree has and neither can say is in [`Board::not_taken`].
//!
//! A tree does not tell everything: DMA masks live in drivers. `drivers.toml` has them, each row
//! with its source.
//!
//! Trees come from outside: sizes, depths and counts are bounded, arithmetic is checked, and a
//! reference that leads nowhere or in a circle is passed over.

#![forbid(unsafe_code)]

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
pub use device::{Device, Iommu};
pub use drivers::{Allocator, Codec, Driver, KERNEL, Kind, Said, drivers};
pub use error::{Damage, Error};
pub use memory::{Range, Reserved, ReservedKind, Sram};
pub use source::{compile, is_source};

use tree::Tree;

/// Largest tree taken, in bytes. The largest in Linux 6.12 has 0.4 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// A board, as its device tree describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// `model` of the root.
    pub model: String,
    /// `compatible` of the root, most specific first.
    pub compatible: Vec<String>,
    /// Memory that the tree names. Empty where the boot loader fills it in.
    pub memory: Vec<Range>,
    /// Children of `/reserved-memory`.
    pub reserved: Vec<Reserved>,
    /// Memory of the chip (`mmio-sram`).
    pub srams: Vec<Sram>,
    /// Enabled video devices whose driver is known.
    pub devices: Vec<Device>,
    /// What was found and not understood, a sentence each.
    pub not_taken: Vec<String>,
}

impl Board {
    /// Reads a flattened device tree.
    ///
    /// # Errors
    /// [`Error`]: no tree, a damaged one, or one beyond the bounds. Its sentence says what is damaged,
    /// at which byte, what was expected, and what to do.
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
