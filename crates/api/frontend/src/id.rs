//! Ids of nodes, files and calls, and tags of mappings and descriptors.

/// The backend's id of a node, such as `/dev/video0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// The backend's id of one open of a node (an open file description).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u64);

/// Identity of the file behind a descriptor of the calling program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FdIdentity {
    /// Device number of the file system, as in `st_dev`.
    pub dev: u64,
    /// Inode number, as in `st_ino`.
    pub ino: u64,
}

/// The id of one system call of a program, from its first attempt to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// The backend's id of a mapping or descriptor that a program got.
///
/// The front end calls [`Devices::tag_ended`](crate::Devices::tag_ended) once, when this mapping or
/// descriptor has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);
