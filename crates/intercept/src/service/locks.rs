//! flock of device files: all opens of a node exclude each other, as they do on a device, which has
//! one inode.
//!
//! Here each open has an inode of its own. A file that locks gets a description of the node's one
//! reference besides, which locks in its place, and ends with it.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};

use vb3_host::{Errno, FileId};

use crate::descriptors::Target;
use crate::kernel::Borrowed;
use crate::kernel::raw;
use crate::process::{Notif, Reply};
use crate::service::host::Call;
use crate::service::serve::{Server, Verdict};
use crate::waiting::{Kind, Waiting};

/// What stands for files that have locked.
#[derive(Debug, Default)]
pub(crate) struct Locks(HashMap<FileId, OwnedFd>);

impl Locks {
    /// A file is no more; true if others may get its lock.
    pub(crate) fn forget(&mut self, file: FileId) -> bool {
        self.0.remove(&file).is_some()
    }
}

impl Server<'_> {
    pub(crate) fn flock(&mut self, n: &Notif) -> Result<Verdict, Errno> {
        let Some(Target::Device(file)) = self.named(n, 0) else {
            return Ok(Verdict::native());
        };
        let op = n.int(1);
        match self.lock_file(file, op) {
            Ok(reply) => {
                self.retry_locks();
                Ok(Verdict::Reply(reply))
            }
            Err(Errno(libc::EWOULDBLOCK)) if op & libc::LOCK_NB == 0 => {
                let hold = Call::new(&self.host, n).look(n.int(0))?.fd;
                let hold = hold.and_then(Borrowed::into_owned);
                let kind = Kind::Lock { file, op };
                Ok(Verdict::Wait(Box::new(Waiting::new(n, kind, hold))))
            }
            Err(e) => Err(e),
        }
    }

    /// Locks or unlocks without waiting.
    fn lock_file(&mut self, file: FileId, op: i32) -> Result<Reply, Errno> {
        let Some(node) = self.files.node_of(file) else {
            return Ok(Reply::Native);
        };
        if !self.locks.0.contains_key(&file) {
            let own = self.files.reopen_reference(node)?;
            self.locks.0.insert(file, own);
        }
        let own = self.locks.0.get(&file).ok_or(Errno(libc::ENOLCK))?;
        // SAFETY: takes integers.
        raw::check(unsafe { libc::flock(own.as_raw_fd(), op | libc::LOCK_NB) })?;
        Ok(Reply::Value(0))
    }

    /// Tries a waiting flock once more.
    pub(crate) fn lock_again(&mut self, file: FileId, op: i32) -> Option<Reply> {
        match self.lock_file(file, op) {
            Ok(reply) => Some(reply),
            Err(Errno(libc::EWOULDBLOCK)) => None,
            Err(e) => Some(e.into()),
        }
    }
}
