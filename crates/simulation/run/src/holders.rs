//! The processes that hold memory.

use std::collections::BTreeSet;
use vb3_dmabuf::{MemoryId, Vma};
use vb3_machine::Device;

/// Maximum number of processes that are recorded as mapping one file.
pub(super) const MAX_MAPPERS: usize = 64;

/// How a process holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HeldBy {
    /// The process with this id has mapped the memory.
    Mapping(u32),
    /// The process with this id received a descriptor.
    Descriptor(u32),
    /// This device has pinned pages of the process with this id.
    Pages(u32, Device),
}

/// Returns the processes that have mapped a file, each as a holder of the file's memory.
pub(super) fn mapped_by(
    vma: &Vma,
    pids: &BTreeSet<u32>,
) -> impl Iterator<Item = (MemoryId, HeldBy)> {
    let memory = vma.memory();
    pids.iter().map(move |pid| (memory, HeldBy::Mapping(*pid)))
}
