//! Names of ours in the listings of directories that are not ours: `/dev`, `/sys/class`.
//!
//! They come before the directory's own, in the answer to the first getdents64.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::files;
use crate::host::Call;
use crate::listener::Notif;
use crate::raw;
use crate::serve::Verdict;
use crate::supervisor::Supervisor;
use crate::tree::Tree;
use vb3_host::{Access, Caller, Errno, FdIdentity, Node, NodeKind};

/// What one getdents64 is answered with, at most.
const MOST: u64 = 64 << 10;

/// Entries that directories lack.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    by_dir: HashMap<FdIdentity, Vec<u8>>,
}

impl Listings {
    pub(crate) fn new(nodes: &[Node], tree: Option<&Tree>) -> Self {
        let mut this = Self::default();
        for node in nodes {
            let dir = tree.and_then(|tree| tree.directory_of(&node.path));
            let kind = match node.kind {
                NodeKind::File => libc::DT_REG,
                _ => libc::DT_CHR,
            };
            this.add(dir, &node.path, kind, files::inode(node));
        }
        if let Some(tree) = tree {
            for (ino, (top, kind)) in (0x7662_1000..).zip(tree.tops()) {
                this.add(None, top, kind, ino);
            }
        }
        this
    }

    /// Adds a name to a directory of the system, or to one that was generated, by its real path.
    fn add(&mut self, generated: Option<CString>, path: &Path, kind: u8, ino: u64) {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return;
        };
        let c = |path: &Path| CString::new(path.as_os_str().as_bytes()).ok();
        let (Some(c_dir), Some(c_path)) = (c(dir), c(path)) else {
            return;
        };
        let c_dir = generated.unwrap_or(c_dir);
        let Ok(stat) = raw::fstatat(libc::AT_FDCWD, &c_dir, 0) else {
            return;
        };
        // What is there already is listed already.
        if raw::fstatat(libc::AT_FDCWD, &c_path, libc::AT_SYMLINK_NOFOLLOW).is_ok() {
            return;
        }
        let entries = self.by_dir.entry(raw::identity(&stat)).or_default();
        entries.extend(entry(name.as_bytes(), kind, ino));
    }
}

/// One `struct linux_dirent64`.
fn entry(name: &[u8], kind: u8, ino: u64) -> Vec<u8> {
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

impl Supervisor<'_> {
    pub(crate) fn getdents(&self, n: &Notif) -> Result<Verdict, Errno> {
        let shown = self.shown();
        if shown.listings.by_dir.is_empty() {
            return Ok(Verdict::native());
        }
        let call = Call::new(&self.host, n);
        let Ok(look) = call.look(n.int(0)) else {
            return Ok(Verdict::native());
        };
        let Some(ours) = shown.listings.by_dir.get(&look.id) else {
            return Ok(Verdict::native());
        };
        let Ok(fd) = look.fd.map_or_else(|| call.lent(n.int(0)), Ok) else {
            return Ok(if self.lend(n) {
                Verdict::Answered
            } else {
                Verdict::native()
            });
        };
        // SAFETY: takes integers only.
        let at = unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_CUR) };
        // CAST: a C unsigned int in the kernel.
        let room = u64::from(n.arg(2) as u32).min(MOST) as usize;
        // Before the position moves on: no call that is put off has done anything.
        let buffer = [(n.arg(1), room)];
        if !n.gathered.may_access(n.tid, buffer, Access::Write) {
            return Ok(Verdict::Answered);
        }
        let Some(native) = room
            .checked_sub(ours.len())
            .filter(|&left| left >= 280 && at == 0)
        else {
            return Ok(Verdict::native());
        };
        let mut out = ours.clone();
        let theirs = native_entries(&fd, native)?;
        out.extend(theirs);
        call.write(n.arg(1), &out)?;
        Ok(Verdict::value(out.len() as i64))
    }
}

/// The directory's own entries; the position moves on for the program, too.
fn native_entries(fd: &OwnedFd, room: usize) -> Result<Vec<u8>, Errno> {
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
    out.truncate(usize::try_from(raw::check_long(n)?).unwrap_or(0));
    Ok(out)
}
