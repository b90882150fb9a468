//! The processes and guests that hold memory.

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
