//! Calls that change, watch or list files by path, or that set the working directory.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::inotify::{self, WatchFlags};
use vb3_frontend::Errno;

use crate::kernel::{Borrowed, MayBlock, may_block, raw};
use crate::process::{Reply, rewrite};
use crate::service::places::Place;
use crate::service::{Call, Served, Supervisor, Verdict};
use crate::tree::{MAX_LISTED, entries, is_tree, list_ours, native_entries};

impl Supervisor<'_> {
    /// Serves getxattr, lgetxattr, listxattr and llistxattr. Nodes have no extended attributes.
    pub(crate) fn xattr(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        self.place(may, n)?;
        match n.nr {
            libc::SYS_listxattr | libc::SYS_llistxattr => Ok(Verdict::value(0)),
            _ => Err(Reply::Fail(libc::ENODATA)),
        }
    }

    /// Serves chmod, chown, utimensat and their variants. Root owns all nodes, and all programs may use them.
    /// The calls change nothing: they succeed for root and fail with EPERM for others.
    pub(crate) fn change_attributes(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        self.place(may, n)?;
        // The owner of a thread's directory in /proc is the thread's effective user.
        match raw::stat(format!("/proc/{}", n.tid), 0)?.st_uid {
            0 => Ok(Verdict::value(0)),
            _ => Err(Reply::Fail(libc::EPERM)),
        }
    }

    /// Serves inotify_add_watch. A node reports no events.
    pub(crate) fn add_watch(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let path = match self.place(may, n)? {
            Place::Sys(real) => PathBuf::from(OsStr::from_bytes(&real)),
            Place::Node(node) => {
                let reference = self.reference(may, node)?;
                format!("/proc/self/fd/{}", reference.as_raw_fd()).into()
            }
        };
        let Some(set) = self.borrowed(may, n)? else {
            return Ok(Verdict::Answered);
        };
        let mask = WatchFlags::from_bits_retain(n.int(2).cast_unsigned());
        let watch = inotify::add_watch(&set, path, mask).map_err(raw::err)?;
        Ok(Verdict::value(watch.into()))
    }

    /// Returns a duplicate of the descriptor in the first argument. Returns `None` if the thread was asked to send
    /// the descriptor: the thread's call has then been answered, and the thread repeats it. Fails with EBADF; EPERM
    /// if the supervisor cannot get a duplicate.
    fn borrowed(&self, may: &mut MayBlock, n: &Call<'_>) -> Result<Option<Borrowed>, Errno> {
        if let Some(fd) = n.look(n.int(0))?.fd {
            return Ok(Some(fd));
        }
        match n.lent(n.int(0)) {
            Err(_) if self.lend(may, n) => Ok(None),
            lent => lent.map(Some).map_err(|_| Errno(libc::EPERM)),
        }
    }

    /// Serves chdir. The kernel cannot resolve a generated path, so the thread makes an fchdir instead.
    pub(crate) fn chdir(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        match self.place(may, n)? {
            Place::Node(_) => Err(Reply::Fail(libc::ENOTDIR)),
            Place::Sys(path) => {
                let stopped = match rewrite::seize(n.tid) {
                    Ok(stopped) => stopped,
                    Err(_) => return Err(Reply::Fail(libc::EPERM)),
                };
                let opened = may_block::open(may, &path, libc::O_RDONLY | libc::O_DIRECTORY);
                let installed =
                    opened.and_then(|fd| self.host.listener.add_fd(n.id, fd.as_fd(), None, true));
                self.call_instead(may, n, stopped, installed, |fd| {
                    (libc::SYS_fchdir, [fd, 0, 0, 0, 0, 0])
                });
                Ok(Verdict::Answered)
            }
        }
    }

    /// Serves getcwd. For a generated directory, returns the path that programs know.
    pub(crate) fn getcwd(&self, may: &MayBlock, n: &Call<'_>) -> Served {
        let real = raw::readlink(format!("/proc/{}/cwd", n.tid));
        let known = real.ok().and_then(|real| self.as_programs_know(&real));
        let mut known = known.ok_or(Reply::Native)?;
        known.push(0);
        if n.arg(1) < known.len() as u64 {
            return Err(Reply::Fail(libc::ERANGE));
        }
        n.copy_out(may, n.arg(0), &known)?;
        Ok(Verdict::value(known.len() as i64))
    }

    pub(crate) fn getdents(&self, may: &mut MayBlock, n: &Call<'_>) -> Served {
        let shown = self.shown(may);
        let listings = &shown.listings;
        if listings.by_dir.is_empty() && listings.hides_trees.is_none() {
            return Ok(Verdict::native());
        }
        let look = n.look(n.int(0)).map_err(|_| Reply::Native)?;
        let ours = listings.by_dir.get(&look.id);
        let hides_trees = listings.hides_trees == Some(look.id);
        if ours.is_none() && !hides_trees {
            return Ok(Verdict::native());
        }
        let Some(fd) = self.borrowed(may, n).map_err(|_| Reply::Native)? else {
            return Ok(Verdict::Answered);
        };
        let room = u64::from(n.uint(2)).min(MAX_LISTED) as usize;
        let (mut out, goes_on) = list_ours(&fd, ours.map_or(&[][..], Vec::as_slice), room)?;
        if out.is_empty() && !hides_trees {
            return Ok(Verdict::native());
        }
        if goes_on {
            n.copy_out(may, n.arg(1), &out)?;
            return Ok(Verdict::value(out.len() as i64));
        }
        let begin = out.len();
        // Continues to read if all names so far are hidden: an empty result would mean the directory's end.
        while out.len() == begin {
            let theirs = native_entries(may, &fd, room - begin)?;
            if theirs.is_empty() {
                break;
            }
            match hides_trees {
                true => out.extend(entries(&theirs).filter(|entry| !is_tree(entry)).flatten()),
                false => out.extend(theirs),
            }
        }
        n.copy_out(may, n.arg(1), &out)?;
        Ok(Verdict::value(out.len() as i64))
    }
}
