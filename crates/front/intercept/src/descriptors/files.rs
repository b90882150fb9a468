//! The memfds that represent device files and nodes in programs.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use crate::kernel::raw;
use rustix::fs::SealFlags;
use vb3_frontend::{Errno, Node, NodeKind};

/// Returns the inode number that stat reports for a node.
pub(crate) fn inode(node: &Node) -> u64 {
    let base = match node.kind {
        NodeKind::Video => 0x7662_0000,
        NodeKind::Media { .. } => 0x7662_0800,
        NodeKind::Class { .. } => 0x7662_0c00,
        NodeKind::File => 0x7662_0e00,
    };
    base + u64::from(node.minor)
}

/// Makes a memfd for one open of a node.
pub(crate) fn empty_node(node: &Node) -> Result<OwnedFd, Errno> {
    let name = node.path.file_name().unwrap_or_default();
    let name = CString::new(name.as_bytes()).map_err(|_| Errno(libc::EINVAL))?;
    empty_file(&name)
}

/// Makes a memfd that refuses writes. Calls that the seccomp filter does not report act on this file.
pub(crate) fn empty_file(name: &CStr) -> Result<OwnedFd, Errno> {
    let fd = raw::memfd(name)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(raw::err)?;
    Ok(fd)
}
