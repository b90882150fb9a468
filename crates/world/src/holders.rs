//! Who holds memory.

use std::collections::BTreeSet;
use vb3_dmabuf::{MemoryId, Vma};
use vb3_machine::Device;

/// Most processes named that have mapped one file.
pub(super) const MAX_MAPPERS: usize = 64;

/// In what way a process holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HeldBy {
    /// It has mapped it.
    Mapping(u32),
    /// It was given a descriptor.
    Descriptor(u32),
    /// A device has pinned its pages.
    Pages(u32, Device),
}

/// The processes that have mapped a file, each as a holder of its memory.
pub(super) fn mapped_by(
    vma: &Vma,
    pids: &BTreeSet<u32>,
) -> impl Iterator<Item = (MemoryId, HeldBy)> {
    let memory = vma.memory();
    pids.iter().map(move |pid| (memory, HeldBy::Mapping(*pid)))
}
