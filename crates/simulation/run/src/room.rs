//! Measures free memory after a failed call of a device that allocates all buffers of a call or none.

use crate::memory::RunMemory;
use crate::node::Node;
use crate::placer::runs;
use vb3_devices::spec::Allocator;
use vb3_dma::{Constraint, PhysAddr, Platform as _, Segment};
use vb3_report::{Refusal, Room};
use vb3_v4l2::Shortage;

/// Constraints that do not depend on free RAM, but on a device's own memory or I/O addresses.
const NOT_OF_RAM: [Constraint; 3] = [
    Constraint::CoherentRegion,
    Constraint::IovaSpace,
    Constraint::SizeLimit,
];

/// Returns how many buffers of a failed call would have fit, and how much of the memory for them is free.
/// Call this after the failed call has released its memory.
pub(super) fn find(node: &Node, memory: &RunMemory, refusal: &Refusal, short: Shortage) -> Room {
    let mut room = Room {
        wanted: short.wanted,
        fits: short.found,
        ..Room::default()
    };
    let mut elsewhere = NOT_OF_RAM.iter().map(|constraint| constraint.name());
    if node.sram > 0 || elsewhere.any(|name| name == refusal.constraint) {
        return room;
    }
    let machine = memory.ops().platform();
    let free = machine.free_memory();
    let info = machine.device_info(node.dma);
    let translated = info.is_some_and(|info| info.iommu.is_some());
    let contiguous = machine.profile().cma > 0;
    let all: Vec<Segment> = match (node.allocator, node.planes.lazy) {
        (Allocator::Contig, true) => free.ordinary.into_iter().chain(free.contiguous).collect(),
        (Allocator::Contig, false) if contiguous && !translated => free.contiguous,
        _ => free.ordinary,
    };
    let reach = info.filter(|_| !translated && node.allocator != Allocator::Vmalloc);
    let last = reach.map(|info| machine.phys_limit(node.dma, info.limits.mask));
    let left = runs(&all, last.map_or(u64::MAX, PhysAddr::get), 0);
    room.free_bytes = left.iter().map(|run| run.len).sum();
    room.longest_bytes = left.iter().map(|run| run.len).max().unwrap_or(0);
    room.runs = left.len() as u64;
    room
}
