//! Ids of nodes, files and calls, and tags of mappings and descriptors.

/// A device node, e.g. `/dev/video0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// One open file description of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u64);

/// Identity of the file behind a descriptor of the calling program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdIdentity {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// One system call of a program, from its first try to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// The backend's name for a mapping or descriptor that a program got.
///
/// [`Backend::tag_ended`](crate::Backend::tag_ended) reports its end, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);
