//! What a program sees of the file system where that is not what the supervisor sees: after a
//! chroot, or in a mount name space of its own. A place of ours is there if the directory that it
//! lies in is there.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{OFlags, ResolveFlags};

use crate::host::Call;
use crate::may_block::{self, MayBlock};
use crate::path::{Links, Place, base_link, normalise, split_last};
use crate::raw;
use crate::supervisor::Supervisor;
use vb3_host::FdIdentity;

/// Symbolic links followed at most.
const HOPS: u32 = 16;
/// SYSFS_MAGIC: each network name space has a sysfs of its own, with the same devices.
const SYSFS: u64 = 0x6265_6572;

/// Another view than the supervisor's.
pub(crate) struct View {
    root: OwnedFd,
}

fn of_path(may: &MayBlock, path: &str) -> Option<FdIdentity> {
    let stat = may_block::stat(may, &raw::c_path(path).ok()?, 0).ok()?;
    Some(raw::identity(&stat))
}

fn of_dir(may: &MayBlock, dir: BorrowedFd<'_>) -> Option<FdIdentity> {
    may_block::fstat(may, dir)
        .ok()
        .map(|stat| raw::identity(&stat))
}

impl View {
    /// What thread `tid` sees; none where that is what we see, or where we may not know.
    pub(crate) fn of(may: &MayBlock, tid: u32) -> Option<Self> {
        let differs = |theirs: &str, ours: &str| {
            let theirs = of_path(may, &format!("/proc/{tid}/{theirs}"));
            theirs.is_some() && theirs != of_path(may, ours)
        };
        if !differs("root", "/") && !differs("ns/mnt", "/proc/self/ns/mnt") {
            return None;
        }
        let root = raw::c_path(&format!("/proc/{tid}/root")).ok()?;
        let root = may_block::open(may, &root, libc::O_PATH | libc::O_DIRECTORY).ok()?;
        Some(Self { root })
    }

    /// A directory: by a path from the root, or from another directory where it is relative.
    fn dir(&self, may: &MayBlock, from: BorrowedFd<'_>, path: &[u8]) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let absolute = path.first() == Some(&b'/');
        let (from, how) = if absolute {
            (self.root.as_fd(), ResolveFlags::IN_ROOT)
        } else {
            (from, ResolveFlags::empty())
        };
        let path = if path.is_empty() { b"." } else { path };
        may_block::openat2(may, from, path, flags, how)
    }

    /// Whether the part of the system that a generated path lies in is there.
    fn shows(&self, may: &MayBlock, path: &[u8]) -> bool {
        let Some(first) = path.split(|&b| b == b'/').nth(1) else {
            return false;
        };
        let top = [b"/", first].concat();
        let Some(dir) = self.dir(may, self.root.as_fd(), &top) else {
            return false;
        };
        if first == b"sys" {
            return may_block::kind_of_system(may, &dir) == Some(SYSFS);
        }
        let ours = std::str::from_utf8(&top)
            .ok()
            .and_then(|top| of_path(may, top));
        of_dir(may, dir.as_fd()) == ours
    }
}

impl Supervisor<'_> {
    /// What a path names in another view than ours.
    pub(crate) fn place_in(
        &self,
        may: &mut MayBlock,
        view: &View,
        call: &Call<'_>,
        dir: i32,
        path: &[u8],
        links: Links,
    ) -> Place {
        if path.first() == Some(&b'/') {
            let whole = normalise(b"", path);
            if let Some(place) = self.generated(may, call, &whole, links) {
                return if view.shows(may, &whole) {
                    place
                } else {
                    Place::Native
                };
            }
            if let Some(place) = self.descriptor(may, call, &whole, links) {
                return place;
            }
        }
        self.node_in(may, view, call, dir, path, links)
            .map_or(Place::Native, |node| self.node_place(node))
    }

    /// The node that a path leads to, link by link.
    fn node_in(
        &self,
        may: &MayBlock,
        view: &View,
        call: &Call<'_>,
        dir: i32,
        path: &[u8],
        links: Links,
    ) -> Option<usize> {
        let base = raw::c_path(&base_link(call.notif.tid, dir)).ok()?;
        let mut from = match path.first() {
            Some(b'/') => view.root.try_clone().ok()?,
            _ => may_block::open(may, &base, libc::O_PATH | libc::O_DIRECTORY).ok()?,
        };
        let mut path = path.to_vec();
        for _ in 0..HOPS {
            let (parent, name) = match split_last(&path) {
                (b"", name) if path.first() == Some(&b'/') => (&b"/"[..], name),
                parts => parts,
            };
            let parent = view.dir(may, from.as_fd(), parent)?;
            let id = of_dir(may, parent.as_fd())?;
            if let Some(node) = self.node_at(may, id, name) {
                return Some(node);
            }
            if links == Links::Keep {
                return None;
            }
            path =
                may_block::readlinkat(may, parent.as_raw_fd(), &CString::new(name).ok()?).ok()?;
            from = parent;
        }
        None
    }

    /// The node of this name in this directory.
    fn node_at(&self, may: &MayBlock, dir: FdIdentity, name: &[u8]) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let named = node.path.file_name().is_some_and(|n| n.as_bytes() == name);
            let parent = || of_path(may, node.path.parent()?.to_str()?);
            named && parent() == Some(dir)
        })
    }
}
