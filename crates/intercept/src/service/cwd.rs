//! chdir and getcwd, for directories of the generated tree.

use std::os::fd::AsFd;

use crate::kernel::{MayBlock, may_block, raw};
use crate::process::{Notif, Reply, rewrite};
use crate::service::host::Call;
use crate::service::places::Place;
use crate::service::serve::{Served, Verdict};
use crate::service::supervisor::Supervisor;
use crate::tree::Links;

impl Supervisor<'_> {
    /// Serves chdir. The kernel cannot resolve a generated path, so the thread makes an fchdir instead.
    pub(crate) fn chdir(&self, may: &mut MayBlock, n: &Notif) -> Served {
        let call = Call::new(&self.host, n);
        match self.place(may, &call, libc::AT_FDCWD, n.arg(0), Links::Follow)? {
            Place::Node(_) => Err(Reply::Fail(libc::ENOTDIR)),
            Place::Sys(path) => {
                let stopped = match rewrite::seize(n.tid) {
                    Ok(stopped) => stopped,
                    Err(_) if self.stops_first(n) => return Ok(Verdict::Answered),
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
    pub(crate) fn getcwd(&self, may: &MayBlock, n: &Notif) -> Served {
        let real = raw::readlink(format!("/proc/{}/cwd", n.tid));
        let known = real.ok().and_then(|real| self.as_programs_know(&real));
        let mut known = known.ok_or(Reply::Native)?;
        known.push(0);
        if n.arg(1) < known.len() as u64 {
            return Err(Reply::Fail(libc::ERANGE));
        }
        Call::new(&self.host, n).copy_out(may, n.arg(0), &known)?;
        Ok(Verdict::value(known.len() as i64))
    }
}
