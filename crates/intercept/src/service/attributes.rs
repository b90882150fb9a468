//! Calls that change or watch a node by its path.

use rustix::fs::inotify::{self, WatchFlags};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::kernel::{Borrowed, MayBlock, nr, raw};
use crate::process::{Notif, Reply};
use crate::service::host::Call;
use crate::service::places::{Place, int, path_args};
use crate::service::serve::{Served, Verdict};
use crate::service::supervisor::Supervisor;
use crate::tree::Links;
use vb3_host::Errno;

impl Supervisor<'_> {
    /// Serves getxattr, lgetxattr, listxattr and llistxattr. Nodes have no extended attributes.
    pub(crate) fn xattr(&self, may: &mut MayBlock, n: &Notif) -> Served {
        let keep = matches!(n.nr, libc::SYS_lgetxattr | libc::SYS_llistxattr);
        let links = if keep { Links::Keep } else { Links::Follow };
        let call = Call::new(&self.host, n);
        self.place(may, &call, libc::AT_FDCWD, n.arg(0), links)?;
        match n.nr {
            libc::SYS_listxattr | libc::SYS_llistxattr => Ok(Verdict::value(0)),
            _ => Err(Reply::Fail(libc::ENODATA)),
        }
    }

    /// Serves chmod, chown, utimensat and their variants. Root owns all nodes, and all programs may use them.
    /// The calls change nothing: they succeed for root and fail with EPERM for others.
    pub(crate) fn change_attributes(&self, may: &mut MayBlock, n: &Notif) -> Served {
        let (dir, path, rest) = path_args(n);
        let flags = match n.nr {
            nr::CHMOD | nr::CHOWN | libc::SYS_fchmodat => 0,
            nr::LCHOWN => libc::AT_SYMLINK_NOFOLLOW,
            libc::SYS_fchownat => int(rest, 2),
            _ => int(rest, 1),
        };
        let links = Links::of(flags, libc::AT_SYMLINK_NOFOLLOW);
        let call = Call::new(&self.host, n);
        self.place(may, &call, dir, path, links)?;
        // The owner of the thread's directory in /proc is its effective user.
        match raw::stat(format!("/proc/{}", n.tid), 0)?.st_uid {
            0 => Ok(Verdict::value(0)),
            _ => Err(Reply::Fail(libc::EPERM)),
        }
    }

    /// Serves inotify_add_watch. A node reports no events.
    pub(crate) fn add_watch(&self, may: &mut MayBlock, n: &Notif) -> Served {
        // CAST: a 32-bit mask in the kernel.
        let mask = n.arg(2) as u32;
        let keep = if mask & libc::IN_DONT_FOLLOW == 0 {
            Links::Follow
        } else {
            Links::Keep
        };
        let call = Call::new(&self.host, n);
        let path = match self.place(may, &call, libc::AT_FDCWD, n.arg(1), keep)? {
            Place::Sys(real) => PathBuf::from(std::ffi::OsStr::from_bytes(&real)),
            Place::Node(node) => {
                let reference = self.reference(may, node)?;
                format!("/proc/self/fd/{}", reference.as_raw_fd()).into()
            }
        };
        let Some(set) = self.borrowed(may, &call, n.int(0))? else {
            return Ok(Verdict::Answered);
        };
        let mask = WatchFlags::from_bits_retain(mask);
        let watch = inotify::add_watch(&set, path, mask).map_err(raw::err)?;
        Ok(Verdict::value(watch.into()))
    }

    /// Returns a duplicate of the caller's descriptor. Returns `None` if the thread was asked to send one:
    /// its call has then been answered, and the thread repeats it.
    ///
    /// # Errors
    /// EBADF; EPERM if the supervisor cannot get a duplicate.
    pub(crate) fn borrowed(
        &self,
        may: &mut MayBlock,
        call: &Call<'_>,
        fd: i32,
    ) -> Result<Option<Borrowed>, Errno> {
        if let Some(fd) = call.look(fd)?.fd {
            return Ok(Some(fd));
        }
        match call.lent(fd) {
            Err(_) if self.lend(may, call.notif) => Ok(None),
            lent => lent.map(Some).map_err(|_| Errno(libc::EPERM)),
        }
    }
}
