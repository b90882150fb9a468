//! vmalloc: a plane is memory for a driver that reads and writes with the CPU.

use crate::AllocArgs;
use vb3_dma::{Attrs, Direction};
use vb3_dmabuf::{Backing, Spec};

/// What to allocate for a plane. Coherency means nothing to memory without a device.
#[must_use]
pub const fn spec<D: Copy>(dev: D, args: AllocArgs) -> Spec<D> {
    Spec {
        backing: Backing::Virtual(dev),
        len_bytes: args.len_bytes,
        direction: args.direction,
        attrs: Attrs::empty(),
    }
}

/// The CPU's access that a driver's use of a plane amounts to: what a "device" that is a program
/// reads, the CPU reads.
#[must_use]
pub const fn cpu_access(direction: Direction) -> Direction {
    match direction {
        Direction::ToDevice => Direction::FromDevice,
        Direction::FromDevice => Direction::ToDevice,
        Direction::Bidirectional => Direction::Bidirectional,
    }
}
