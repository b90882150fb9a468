//! The processes and guests that hold memory.

use std::collections::BTreeSet;
use vb3_dmabuf::{MemoryId, Vma};
use vb3_frontend::Client;
use vb3_machine::Device;

/// Maximum number of processes that are recorded as mapping one file.
pub(super) const MAX_MAPPERS: usize = 64;

/// How a process holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HeldBy {
    /// This client has mapped the memory.
    Mapping(Client),
    /// This client received a descriptor.
    Descriptor(Client),
    /// This device has pinned pages of this client.
    Pages(Client, Device),
}

/// Returns the processes that have mapped a file, each as a holder of the file's memory.
pub(super) fn mapped_by(
    vma: &Vma,
    clients: &BTreeSet<Client>,
) -> impl Iterator<Item = (MemoryId, HeldBy)> {
    let memory = vma.memory();
    clients
        .iter()
        .map(move |client| (memory, HeldBy::Mapping(*client)))
}
