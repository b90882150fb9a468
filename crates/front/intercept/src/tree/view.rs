//! A program's view of the file system, if it differs from the supervisor's: after a chroot or in
//! another mount namespace. A simulated path exists in a view if the view has the path's directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, ResolveFlags};
use rustix::path::Arg;

use crate::kernel::{MayBlock, may_block, raw};
use vb3_frontend::FdIdentity;

/// SYSFS_MAGIC. Each network namespace has its own sysfs, with the same devices but another identity.
const SYSFS: u64 = 0x6265_6572;

/// A view that differs from the supervisor's, by its root directory.
pub(crate) struct View {
    root: OwnedFd,
}

pub(crate) fn of_path(may: &MayBlock, path: impl Arg) -> Option<FdIdentity> {
    let stat = may_block::stat(may, path, 0).ok()?;
    Some(raw::identity(&stat))
}

impl View {
    /// Returns thread `tid`'s view, or `None` if the view is the supervisor's or cannot be opened.
    pub(crate) fn of(may: &MayBlock, tid: u32) -> Option<Self> {
        let differs = |theirs: &str, ours: &str| {
            let theirs = of_path(may, format!("/proc/{tid}/{theirs}"));
            theirs.is_some() && theirs != of_path(may, ours)
        };
        if !differs("root", "/") && !differs("ns/mnt", "/proc/self/ns/mnt") {
            return None;
        }
        let root = format!("/proc/{tid}/root");
        let root = may_block::open(may, root, libc::O_PATH | libc::O_DIRECTORY).ok()?;
        Some(Self { root })
    }

    /// Returns the path of a directory below the view's root; `None` for a directory outside.
    pub(crate) fn place_of(&self, dir: BorrowedFd<'_>) -> Option<Vec<u8>> {
        let (root, dir) = (raw::link_of(&self.root)?, raw::link_of(dir)?);
        let rest = dir.strip_prefix(root.strip_suffix(b"/").unwrap_or(&root))?;
        (rest.is_empty() || rest.first() == Some(&b'/')).then(|| rest.to_owned())
    }

    /// Returns whether the view has the system directory (/sys, /dev, /run) that contains a generated path.
    pub(crate) fn shows(&self, may: &MayBlock, path: &[u8]) -> bool {
        let Some(first) = path.split(|&b| b == b'/').nth(1) else {
            return false;
        };
        let top = [b"/", first].concat();
        let (root, how) = (self.root.as_fd(), ResolveFlags::IN_ROOT);
        let Ok(dir) = may_block::openat2(may, root, &top, OFlags::DIRECTORY, how) else {
            return false;
        };
        if first == b"sys" {
            return may_block::kind_of_system(may, &dir) == Some(SYSFS);
        }
        raw::known(dir.as_fd()).ok().map(|(id, _)| id) == of_path(may, top)
    }
}
