//! Which inode is which device file.

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
    /// Index of its node; `None` where it was not opened by a path.
    pub(crate) node: Option<usize>,
    /// Descriptors are left.
    pub(crate) open: bool,
    /// Mappings that are left.
    pub(crate) maps: u32,
}

/// What a descriptor names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A device file.
    Device(FileId),
    /// A node that was not opened (O_PATH), by index.
    Node(usize),
    /// A buffer of the backend.
    Buffer(FdIdentity),
    /// Nothing of ours.
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

    /// The node a file was opened on.
    pub(crate) fn node_of(&self, id: FileId) -> Option<usize> {
        self.all.get(&id)?.node
    }

    /// The last descriptor of a file is gone.
    pub(crate) fn close(&mut self, id: FileId) {
        if let Some(file) = self.all.get_mut(&id) {
            file.open = false;
            self.by_inode.remove(&file.inode);
        }
    }

    /// Forgets a file if nothing is left of it; true if so.
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

    /// Whether a descriptor could be ours at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn all(&self) -> Vec<FileId> {
        self.all.keys().copied().collect()
    }

    /// The device file or node behind an inode.
    pub(crate) fn find(&self, inode: FdIdentity) -> Option<Target> {
        if let Some(&file) = self.by_inode.get(&inode) {
            return Some(Target::Device(file));
        }
        self.references
            .iter()
            .position(|&(_, id)| id == inode)
            .map(Target::Node)
    }

    /// A description of the memfd that stands for a node.
    pub(crate) fn reopen_reference(&self, node: usize) -> Result<OwnedFd, Errno> {
        let (fd, _) = self.references.get(node).ok_or(Errno(libc::ENODEV))?;
        raw::reopen(fd.as_fd(), libc::O_RDONLY)
    }
}

/// The inode number of a node.
pub(crate) fn inode(node: &Node) -> u64 {
    let base = match node.kind {
        NodeKind::Video => 0x7662_0000,
        NodeKind::Media { .. } => 0x7662_0800,
        NodeKind::Class { .. } => 0x7662_0c00,
        NodeKind::File => 0x7662_0e00,
    };
    base + u64::from(node.minor)
}

/// A file for one open of a node.
pub(crate) fn empty_node(node: &Node) -> Result<OwnedFd, Errno> {
    let name = node.path.file_name().unwrap_or_default();
    let name = CString::new(name.as_bytes()).map_err(|_| Errno(libc::EINVAL))?;
    empty_file(&name)
}

/// A memfd that cannot be written to: what a native read or write that no one catches finds.
pub(crate) fn empty_file(name: &CStr) -> Result<OwnedFd, Errno> {
    let fd = raw::memfd(name)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(raw::err)?;
    Ok(fd)
}

/// What stands in programs' sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Watched {
    /// A device file.
    Device(FileId),
    /// A buffer of the backend.
    Buffer(FdIdentity),
}

impl Watched {
    /// What a descriptor names, if that can stand in a set.
    pub(crate) const fn of(target: Target) -> Option<Self> {
        match target {
            Target::Device(file) => Some(Self::Device(file)),
            Target::Buffer(id) => Some(Self::Buffer(id)),
            Target::Node(_) | Target::Other => None,
        }
    }
}
