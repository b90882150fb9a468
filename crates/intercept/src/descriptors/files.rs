//! Maps inodes to device files and nodes.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::kernel::raw;
use rustix::fs::SealFlags;
use vb3_host::{Errno, FdIdentity, FileId, Node, NodeKind};

/// One open of a node.
#[derive(Debug)]
pub(crate) struct DeviceFile {
    pub(crate) inode: FdIdentity,
    /// Index of its node; `None` if the file was not opened by a path.
    pub(crate) node: Option<usize>,
    /// Whether programs have descriptors of it.
    pub(crate) open: bool,
    /// Number of mappings.
    pub(crate) maps: u32,
}

/// The file that a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A device file.
    Device(FileId),
    /// A node that was not opened (O_PATH), by its index.
    Node(usize),
    /// A buffer of the backend.
    Buffer(FdIdentity),
    /// A file that is not the supervisor's.
    Other,
}

/// The nodes and the files open on them.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) nodes: Vec<Node>,
    /// One memfd per node, for descriptors that only refer to it.
    references: Vec<(OwnedFd, FdIdentity)>,
    by_inode: HashMap<FdIdentity, FileId>,
    all: HashMap<FileId, DeviceFile>,
}

impl Files {
    pub(crate) fn new(nodes: Vec<Node>) -> Result<Self, Errno> {
        let mut references = Vec::new();
        for node in &nodes {
            let fd = empty_node(node)?;
            let id = raw::identity(&raw::fstat(fd.as_fd())?);
            references.push((fd, id));
        }
        Ok(Self {
            nodes,
            references,
            by_inode: HashMap::new(),
            all: HashMap::new(),
        })
    }

    pub(crate) fn insert(&mut self, id: FileId, inode: FdIdentity, node: Option<usize>) {
        self.by_inode.insert(inode, id);
        self.all.insert(
            id,
            DeviceFile {
                inode,
                node,
                open: true,
                maps: 0,
            },
        );
    }

    pub(crate) fn get_mut(&mut self, id: FileId) -> Option<&mut DeviceFile> {
        self.all.get_mut(&id)
    }

    /// Returns the node that a file was opened on.
    pub(crate) fn node_of(&self, id: FileId) -> Option<usize> {
        self.all.get(&id)?.node
    }

    /// Records that a file's last descriptor has gone.
    pub(crate) fn close(&mut self, id: FileId) {
        if let Some(file) = self.all.get_mut(&id) {
            file.open = false;
            self.by_inode.remove(&file.inode);
        }
    }

    /// Forgets a file without descriptors and mappings; returns true if so.
    pub(crate) fn remove_if_gone(&mut self, id: FileId) -> bool {
        let gone = self
            .all
            .get(&id)
            .is_some_and(|file| !file.open && file.maps == 0);
        if gone {
            self.all.remove(&id);
        }
        gone
    }

    /// Returns whether no device file is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn all(&self) -> Vec<FileId> {
        self.all.keys().copied().collect()
    }

    /// Returns the device file or node behind an inode.
    pub(crate) fn find(&self, inode: FdIdentity) -> Option<Target> {
        if let Some(&file) = self.by_inode.get(&inode) {
            return Some(Target::Device(file));
        }
        self.references
            .iter()
            .position(|&(_, id)| id == inode)
            .map(Target::Node)
    }

    /// Returns a new description of the memfd that represents a node.
    pub(crate) fn reopen_reference(&self, node: usize) -> Result<OwnedFd, Errno> {
        let (fd, _) = self.references.get(node).ok_or(Errno(libc::ENODEV))?;
        raw::reopen(fd.as_fd(), libc::O_RDONLY)
    }
}

/// Returns the inode number of a node.
pub(crate) fn inode(node: &Node) -> u64 {
    let base = match node.kind {
        NodeKind::Video => 0x7662_0000,
        NodeKind::Media { .. } => 0x7662_0800,
        NodeKind::Class { .. } => 0x7662_0c00,
        NodeKind::File => 0x7662_0e00,
    };
    base + u64::from(node.minor)
}

/// Makes a file for one open of a node.
pub(crate) fn empty_node(node: &Node) -> Result<OwnedFd, Errno> {
    let name = node.path.file_name().unwrap_or_default();
    let name = CString::new(name.as_bytes()).map_err(|_| Errno(libc::EINVAL))?;
    empty_file(&name)
}

/// Makes a memfd that refuses writes. An unsupervised read or write reaches this file.
pub(crate) fn empty_file(name: &CStr) -> Result<OwnedFd, Errno> {
    let fd = raw::memfd(name)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(raw::err)?;
    Ok(fd)
}

/// A file that can be a member of programs' epoll sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Watched {
    /// A device file.
    Device(FileId),
    /// A buffer of the backend.
    Buffer(FdIdentity),
}

impl Watched {
    /// Returns the file if it can be a member of an epoll set.
    pub(crate) const fn of(target: Target) -> Option<Self> {
        match target {
            Target::Device(file) => Some(Self::Device(file)),
            Target::Buffer(id) => Some(Self::Buffer(id)),
            Target::Node(_) | Target::Other => None,
        }
    }
}
