//! Adds generated names to listings of system directories: `/dev`, `/sys/class`.
//!
//! The generated names come before the directory's own names, in the answer to the first getdents64. Each
//! run keeps its generated files in a tree of directories. The names of these trees are removed from
//! listings, so that a program that walks /dev does not find the files twice.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::descriptors::files;
use crate::kernel::{Borrowed, MayBlock, may_block, raw};
use crate::tree::{Tree, folder, of_path};
use rustix::fs::SeekFrom;
use vb3_frontend::{Errno, FdIdentity, Node, NodeKind};

/// Maximum number of bytes of one answer to getdents64.
pub(crate) const MAX_LISTED: u64 = 64 << 10;

/// Size in bytes of the longest directory entry.
const ROOM: usize = 280;

/// The generated entries to add to listings, by directory.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    pub(crate) by_dir: HashMap<FdIdentity, Vec<u8>>,
    /// The directory that contains the generated trees. The trees' names are removed from its listing.
    pub(crate) hides_trees: Option<FdIdentity>,
}

impl Listings {
    pub(crate) fn new(may: &MayBlock, nodes: &[Node], tree: Option<&Tree>) -> Self {
        let mut this = Self::default();
        for node in nodes {
            let dir = tree.and_then(|tree| tree.directory_of(&node.path));
            let kind = match node.kind {
                NodeKind::File => libc::DT_REG,
                _ => libc::DT_CHR,
            };
            this.add(may, dir, &node.path, kind, files::inode(node));
        }
        if let Some(tree) = tree {
            this.hides_trees = tree.lies_in(may);
            for (ino, (top, kind)) in (0x7662_1000..).zip(tree.tops()) {
                this.add(may, None, top, kind, ino);
            }
        }
        this
    }

    /// Adds the name of `path` to the listing of its directory, or of directory `generated` if it is given.
    pub(crate) fn add(
        &mut self,
        may: &MayBlock,
        generated: Option<Vec<u8>>,
        path: &Path,
        kind: u8,
        ino: u64,
    ) {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return;
        };
        let dir = generated.as_deref().unwrap_or(dir.as_os_str().as_bytes());
        let Some(dir) = of_path(may, dir) else {
            return;
        };
        // Adds no name that exists, since the directory itself lists it.
        if may_block::stat(may, path, libc::AT_SYMLINK_NOFOLLOW).is_ok() {
            return;
        }
        let entries = self.by_dir.entry(dir).or_default();
        entries.extend(entry(name.as_bytes(), kind, ino));
    }
}

pub(crate) fn entry(name: &[u8], kind: u8, ino: u64) -> Vec<u8> {
    let len = (19 + name.len() + 1).next_multiple_of(8);
    let mut out = Vec::with_capacity(len);
    out.extend(ino.to_ne_bytes());
    out.extend(0u64.to_ne_bytes());
    out.extend(u16::try_from(len).unwrap_or(u16::MAX).to_ne_bytes());
    out.push(kind);
    out.extend(name);
    out.resize(len, 0);
    out
}

/// Splits the result of getdents64 into entries.
pub(crate) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let len = bytes.get(16..18)?.try_into().map_or(0, u16::from_ne_bytes);
        let (entry, rest) = bytes.split_at_checked(len.into()).filter(|_| len > 18)?;
        bytes = rest;
        Some(entry)
    })
}

/// While the generated names of a directory are being listed, the position of the program's descriptor is this
/// number plus the bytes that are listed already. The kernel's own entries have no such positions.
const AMONG_OURS: u64 = 0x7662_3300 << 32;

/// Returns the generated entries `ours` that come next and fit in `room` bytes. If the kernel's entries do not fit
/// behind them, also moves the position of the program's descriptor, and returns true. Fails with EINVAL if not
/// even one entry fits.
pub(crate) fn list_ours(fd: &Borrowed, ours: &[u8], room: usize) -> Result<(Vec<u8>, bool), Errno> {
    let Ok(at) = rustix::fs::tell(fd) else {
        return Ok((Vec::new(), false));
    };
    let listed = at
        .checked_sub(AMONG_OURS)
        .and_then(|at| usize::try_from(at).ok());
    let from = match (at, listed) {
        (0, _) => 0,
        (_, Some(listed)) if listed <= ours.len() => listed,
        _ => return Ok((Vec::new(), false)),
    };
    let seek = |to| {
        let moved = rustix::fs::seek(fd, SeekFrom::Start(to));
        moved.map(drop).map_err(raw::err)
    };
    let left = ours.get(from..).unwrap_or_default();
    if left.is_empty() || room >= left.len() + ROOM {
        if at != 0 {
            seek(0)?;
        }
        return Ok((left.to_vec(), false));
    }
    let mut out = Vec::new();
    for entry in entries(left) {
        if out.len() + entry.len() > room {
            break;
        }
        out.extend(entry);
    }
    if out.is_empty() && !left.is_empty() {
        return Err(Errno(libc::EINVAL));
    }
    // Where positions cannot be moved so far, the directory keeps its own names only.
    match seek(AMONG_OURS + (from + out.len()) as u64) {
        Ok(()) => Ok((out, true)),
        Err(_) => Ok((Vec::new(), false)),
    }
}

/// Returns whether an entry's name is that of a run's generated tree.
pub(crate) fn is_tree(entry: &[u8]) -> bool {
    let name = entry.get(19..).unwrap_or_default();
    name.starts_with(folder::PREFIX.as_bytes())
}

/// Reads the directory's own entries. This also advances the position of the program's descriptor.
pub(crate) fn native_entries(_: &MayBlock, fd: &Borrowed, room: usize) -> Result<Vec<u8>, Errno> {
    let mut out = vec![0u8; room];
    // SAFETY: the length is the buffer's.
    let n = unsafe {
        libc::syscall(
            libc::SYS_getdents64,
            fd.as_raw_fd(),
            out.as_mut_ptr(),
            out.len(),
        )
    };
    out.truncate(usize::try_from(raw::check(n)?).unwrap_or(0));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// musl reads 2048 bytes at a time.
    #[test]
    fn names_come_in_parts_that_fit() {
        let may = MayBlock::of_this_thread();
        let names = (0..40).map(|n| format!("video{n}"));
        let ours: Vec<u8> = names
            .flat_map(|name| entry(name.as_bytes(), libc::DT_CHR, 1))
            .collect();
        let dir = std::fs::File::open("/dev").expect("a directory");
        let dir = Borrowed::from(std::os::fd::OwnedFd::from(dir));
        if rustix::fs::seek(&dir, SeekFrom::Start(AMONG_OURS)).is_err() {
            return vb3_skip::skip("positions of /dev are small");
        }
        for room in [32, 300, 600, 2048] {
            rustix::fs::seek(&dir, SeekFrom::Start(0)).expect("rewound");
            let (mut listed, mut parts) = (Vec::new(), 0);
            loop {
                let (part, goes_on) = list_ours(&dir, &ours, room).expect("listed");
                assert!(part.len() <= room);
                listed.extend(part);
                parts += 1;
                if !goes_on {
                    break;
                }
            }
            assert_eq!(listed, ours, "{room}");
            assert_eq!(parts > 1, room < ours.len() + ROOM, "{room}");
            let theirs = native_entries(&may, &dir, 4096).expect("the directory's own");
            assert!(entries(&theirs).count() > 2, "they follow");
        }
        rustix::fs::seek(&dir, SeekFrom::Start(0)).expect("rewound");
        assert_eq!(list_ours(&dir, &ours, 31), Err(Errno(libc::EINVAL)));
    }

    #[test]
    fn trees_are_hidden_among_entries() {
        let names: [&[u8]; 4] = [b"vb3-sys-a1B2", b"x", b"vb3-sys", b"sem.vb3-sys-1"];
        let mut bytes: Vec<u8> = names
            .iter()
            .flat_map(|name| entry(name, libc::DT_DIR, 1))
            .collect();
        let hidden: Vec<bool> = entries(&bytes).map(is_tree).collect();
        assert_eq!(hidden, [true, false, false, false]);
        // An incomplete entry, which a kernel never writes, ends the list.
        bytes.truncate(30);
        assert_eq!(entries(&bytes).count(), 0);
        assert_eq!(entries(&[0; 40]).count(), 0);
    }
}
