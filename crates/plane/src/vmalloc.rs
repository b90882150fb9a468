//! vmalloc: a plane is memory for a driver that reads and writes it with the CPU.

use crate::AllocArgs;
use vb3_dma::{Attrs, Direction};
use vb3_dmabuf::{Backing, Spec};

/// Returns the allocation request for a plane. Ignores coherency, since no device accesses the
/// memory.
#[must_use]
pub const fn spec<D: Copy>(dev: D, args: AllocArgs) -> Spec<D> {
    Spec {
        backing: Backing::Virtual(dev),
        len_bytes: args.len_bytes,
        direction: args.direction,
        attrs: Attrs::empty(),
    }
}

/// Returns the direction of the CPU's access for a driver that uses the CPU. Such a driver reads a TO_DEVICE
/// plane, which for the CPU is the direction `FromDevice`.
#[must_use]
pub const fn cpu_access(direction: Direction) -> Direction {
    match direction {
        Direction::ToDevice => Direction::FromDevice,
        Direction::FromDevice => Direction::ToDevice,
        Direction::Bidirectional => Direction::Bidirectional,
    }
}
