//! Calls that lock: flock, and the lock commands of fcntl.

use rustix::fs::FlockOperation;
use std::os::fd::AsFd;
use vb3_frontend::Errno;

use crate::descriptors::{LockCall, Owner, Target, Wanted, is_deadlock};
use crate::kernel::raw;
use crate::process::Reply;
use crate::service::{Call, Served, Server, Verdict};
use crate::tree::field;
use crate::waiting::{Kind, On, Waiting};

pub(crate) const COMMANDS: [i32; 6] = [
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
];
/// Size in bytes of a program's `struct flock`, the same on every 64-bit architecture.
pub(crate) const FLOCK_BYTES: usize = 32;

fn read_range(call: &Call<'_>, at: u64) -> Result<libc::flock, Errno> {
    let bytes: [u8; FLOCK_BYTES] = call.read_bytes(at)?;
    Ok(libc::flock {
        l_type: i16::from_ne_bytes(field(&bytes, 0)),
        l_whence: i16::from_ne_bytes(field(&bytes, 2)),
        l_start: i64::from_ne_bytes(field(&bytes, 8)),
        l_len: i64::from_ne_bytes(field(&bytes, 16)),
        l_pid: i32::from_ne_bytes(field(&bytes, 24)),
    })
}

fn write_range(call: &Call<'_>, at: u64, range: &libc::flock) -> Result<(), Errno> {
    call.gathered.write(at, &range.l_type.to_ne_bytes());
    call.gathered.write(at + 2, &range.l_whence.to_ne_bytes());
    call.gathered.write(at + 8, &range.l_start.to_ne_bytes());
    call.gathered.write(at + 16, &range.l_len.to_ne_bytes());
    call.gathered.write(at + 24, &range.l_pid.to_ne_bytes());
    Ok(())
}

impl Server<'_> {
    pub(crate) fn flock(&mut self, n: &Call<'_>) -> Served {
        let Some(Target::Device(file)) = self.named(n, 0) else {
            return Ok(Verdict::native());
        };
        let node = self.table.node_of(file).ok_or(Reply::Native)?;
        let op = n.int(1);
        let wanted = Wanted::Whole(match op & !libc::LOCK_NB {
            libc::LOCK_SH => FlockOperation::NonBlockingLockShared,
            libc::LOCK_EX => FlockOperation::NonBlockingLockExclusive,
            libc::LOCK_UN => FlockOperation::Unlock,
            _ => return Err(Reply::Fail(libc::EINVAL)),
        });
        self.lock(n, LockCall { node, file, wanted }, op & libc::LOCK_NB == 0)
    }

    pub(crate) fn record_lock(&mut self, n: &Call<'_>) -> Served {
        let look = n.look(n.int(0)).map_err(|_| Reply::Native)?;
        let target = self.target(look.id);
        if !matches!(target, Target::Device(_) | Target::Buffer(_)) {
            return Ok(Verdict::native());
        }
        let command = n.int(1);
        let by_file = matches!(
            command,
            libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW
        );
        let asks = matches!(command, libc::F_GETLK | libc::F_OFD_GETLK);
        let mut range = read_range(n, n.arg(2))?;
        let kind = i32::from(range.l_type);
        if (by_file && range.l_pid != 0) || (asks && !by_file && kind == libc::F_UNLCK) {
            return Err(Reply::Fail(libc::EINVAL));
        }
        range.l_pid = 0;
        let access = look.flags()? & libc::O_ACCMODE;
        if !asks
            && (kind == libc::F_WRLCK && access == libc::O_RDONLY
                || kind == libc::F_RDLCK && access == libc::O_WRONLY)
        {
            return Err(Reply::Fail(libc::EBADF));
        }
        let file = match target {
            Target::Device(file) => self.table.node_of(file).map(|node| (node, file)),
            _ => None,
        };
        let Some((node, file)) = file else {
            // A dma-buf cannot be opened a second time, so no other open file's lock conflicts. But on the
            // buffer's memfd, the supervisor's own locks would conflict. So the kernel checks the call on a
            // new memfd.
            let nobodys = raw::memfd(c"vb3-locks")?;
            let like = match asks {
                true => libc::F_OFD_GETLK,
                false => libc::F_OFD_SETLK,
            };
            raw::ofd_lock(nobodys.as_fd(), like, &mut range)?;
            if asks {
                write_range(n, n.arg(2), &range)?;
            }
            return Ok(Verdict::value(0));
        };
        let task = (!by_file).then(|| self.host.task(n.tid));
        let pid = n.pid();
        if asks {
            self.forget_ended();
            let owner = self.owner_for(task, file);
            let found = self.table.locks.get((node, file), owner, range)?;
            write_range(n, n.arg(2), &found)?;
            return Ok(Verdict::value(0));
        }
        let wanted = Wanted::Record { task, pid, range };
        let waits = matches!(command, libc::F_SETLKW | libc::F_OFD_SETLKW);
        self.lock(n, LockCall { node, file, wanted }, waits)
    }

    fn lock(&mut self, n: &Call<'_>, lock: LockCall, waits: bool) -> Served {
        let mut done = self.try_lock(&lock);
        if done == Err(Errno(libc::EAGAIN)) {
            // The conflicting lock's owner may have ended. So this releases the locks of ended processes, and
            // retries.
            self.forget_ended();
            done = self.try_lock(&lock);
        }
        match done {
            Ok(()) => {
                self.retry_on(On::Locks);
                Ok(Verdict::value(0))
            }
            Err(Errno(libc::EAGAIN)) if waits => {
                self.check_deadlock(&lock)?;
                let waiting = Waiting::new(n, Kind::Lock(lock), n.hold(n.int(0)));
                Ok(Verdict::Wait(Box::new(waiting)))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Returns the owner of a new record lock: the descriptor table of `task`, or the file if `None`.
    fn owner_for(&mut self, task: Option<u32>, file: vb3_frontend::FileId) -> Owner {
        match task {
            Some(task) => Owner::Table(self.table.locks.table_for(task, shares)),
            None => Owner::File(file),
        }
    }

    /// Locks or unlocks without waiting. EAGAIN if the lock conflicts with another owner's.
    fn try_lock(&mut self, lock: &LockCall) -> Result<(), Errno> {
        let at = (lock.node, lock.file);
        match lock.wanted {
            Wanted::Whole(operation) => self.table.locks.flock(at, operation),
            Wanted::Record { task, pid, range } => {
                let owner = self.owner_for(task, lock.file);
                self.table.locks.set(at, (owner, pid), range)
            }
        }
    }

    /// Retries a waiting lock. Returns `None` if it still conflicts.
    pub(crate) fn lock_again(&mut self, lock: &LockCall) -> Option<Reply> {
        if !self.table.has_descriptors(lock.file) {
            // Nothing would release this lock.
            return Some(Reply::Fail(libc::EBADF));
        }
        match self.try_lock(lock) {
            Ok(()) => Some(Reply::Value(0)),
            Err(Errno(libc::EAGAIN)) => None,
            Err(e) => Some(e.into()),
        }
    }

    /// Checks that a wait for this lock would not complete a cycle of waiting descriptor tables. Fails with
    /// EDEADLK if the tables would wait for each other forever.
    fn check_deadlock(&self, lock: &LockCall) -> Result<(), Errno> {
        let locks = &self.table.locks;
        let wait_of = |lock: &LockCall| {
            let Wanted::Record {
                task: Some(task),
                range,
                ..
            } = lock.wanted
            else {
                return None;
            };
            let owner = Owner::Table(locks.table_of(task, shares));
            Some((owner, locks.blocker(lock.node, owner, range)?))
        };
        let waits: Vec<(Owner, Owner)> = self.pending.locks().filter_map(wait_of).collect();
        match wait_of(lock) {
            Some((owner, blocker)) if is_deadlock(owner, blocker, &waits) => {
                Err(Errno(libc::EDEADLK))
            }
            _ => Ok(()),
        }
    }

    fn forget_ended(&mut self) {
        self.process_ends();
        let has_ended = |task: &u32| {
            let found = raw::stat(format!("/proc/{task}"), 0);
            !self.host.procs.remembers(*task) && found.is_err()
        };
        let ended: Vec<u32> = self.table.locks.tasks().filter(has_ended).collect();
        ended.into_iter().for_each(|task| self.task_ended(task));
    }

    /// Records the end of a process or thread. If its descriptor table ends too, releases the table's locks.
    pub(crate) fn task_ended(&mut self, task: u32) {
        if self.table.ended(task) {
            self.retry_on(On::Locks);
        }
    }
}

/// Returns whether two tasks share a descriptor table; false if the kernel does not tell.
pub(crate) fn shares(a: u32, b: u32) -> bool {
    a == b || raw::share_table(a, b).unwrap_or_default()
}
