//! Calls that lock: flock, and the lock commands of fcntl.

use vb3_host::{Caller, Errno};

use crate::descriptors::{LockCall, Owner, Record, Refused, Target, Wanted, is_deadlock};
use crate::kernel::{Borrowed, raw};
use crate::process::{Notif, Reply};
use crate::service::host::Call;
use crate::service::serve::{Server, Verdict};
use crate::tree::field;
use crate::waiting::{Kind, Waiting};

/// The commands of fcntl that lock.
pub(crate) const COMMANDS: [i32; 6] = [
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_GETLK,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
];
pub(crate) const FLOCK_BYTES: usize = 32;

/// A program's `struct flock`, the same on every 64-bit architecture.
#[derive(Clone, Copy, Debug)]
struct Asked {
    kind: i32,
    whence: i32,
    start: i64,
    len: i64,
    pid: i32,
}

impl Asked {
    fn read(call: &Call<'_>, at: u64) -> Result<Self, Errno> {
        let bytes: [u8; FLOCK_BYTES] = call.read_bytes(at)?;
        Ok(Self {
            kind: i16::from_ne_bytes(field(&bytes, 0)).into(),
            whence: i16::from_ne_bytes(field(&bytes, 2)).into(),
            start: i64::from_ne_bytes(field(&bytes, 8)),
            len: i64::from_ne_bytes(field(&bytes, 16)),
            pid: i32::from_ne_bytes(field(&bytes, 24)),
        })
    }

    /// Writes the answer of `F_GETLK`.
    fn write(call: &Call<'_>, at: u64, held: Option<&Record>) -> Result<(), Errno> {
        // CAST: small numbers.
        let kind = |kind: i32| (kind as i16).to_ne_bytes();
        let Some(held) = held else {
            return call.write(at, &kind(libc::F_UNLCK));
        };
        let len = match held.last {
            i64::MAX => 0,
            last => last - held.first + 1,
        };
        let pid = match held.owner {
            Owner::Table(_) => held.pid.cast_signed(),
            Owner::File(_) => -1,
        };
        let write = if held.write {
            libc::F_WRLCK
        } else {
            libc::F_RDLCK
        };
        call.write(at, &kind(write))?;
        call.write(at + 2, &kind(libc::SEEK_SET))?;
        call.write(at + 8, &held.first.to_ne_bytes())?;
        call.write(at + 16, &len.to_ne_bytes())?;
        call.write(at + 24, &pid.to_ne_bytes())
    }

    /// Returns the first and the last byte. A device has no size, and its position is 0.
    ///
    /// Source: Linux 7.2 fs/locks.c `flock64_to_posix_lock`.
    fn range(&self) -> Result<(i64, i64), Errno> {
        let whences = [libc::SEEK_SET, libc::SEEK_CUR, libc::SEEK_END];
        if !whences.contains(&self.whence) || self.start < 0 {
            return Err(Errno(libc::EINVAL));
        }
        if self.len < 0 {
            let first = self.start.checked_add(self.len).filter(|&first| first >= 0);
            return Ok((first.ok_or(Errno(libc::EINVAL))?, self.start - 1));
        }
        let last = match self.len {
            0 => Some(i64::MAX),
            len => self.start.checked_add(len - 1),
        };
        Ok((self.start, last.ok_or(Errno(libc::EOVERFLOW))?))
    }

    /// Returns true for a write lock, false for a read lock, `None` for an unlock.
    fn write_wanted(&self) -> Result<Option<bool>, Errno> {
        match self.kind {
            libc::F_RDLCK => Ok(Some(false)),
            libc::F_WRLCK => Ok(Some(true)),
            libc::F_UNLCK => Ok(None),
            _ => Err(Errno(libc::EINVAL)),
        }
    }
}

impl Server<'_> {
    pub(crate) fn flock(&mut self, n: &Notif) -> Result<Verdict, Errno> {
        let Some(Target::Device(file)) = self.named(n, 0) else {
            return Ok(Verdict::native());
        };
        let Some(node) = self.table.node_of(file) else {
            return Ok(Verdict::native());
        };
        let op = n.int(1);
        let write = match op & !libc::LOCK_NB {
            libc::LOCK_SH => Some(false),
            libc::LOCK_EX => Some(true),
            libc::LOCK_UN => None,
            _ => return Err(Errno(libc::EINVAL)),
        };
        let wanted = Wanted::Whole { write };
        self.lock(n, LockCall { node, file, wanted }, op & libc::LOCK_NB == 0)
    }

    /// fcntl with a lock command.
    pub(crate) fn record_lock(&mut self, n: &Notif) -> Result<Verdict, Errno> {
        let call = Call::new(&self.host, n);
        let Ok(look) = call.look(n.int(0)) else {
            return Ok(Verdict::native());
        };
        let target = self.target(look.id);
        if !matches!(target, Target::Device(_) | Target::Buffer(_)) {
            return Ok(Verdict::native());
        }
        let by_file = matches!(
            n.int(1),
            libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW
        );
        let asks = matches!(n.int(1), libc::F_GETLK | libc::F_OFD_GETLK);
        let asked = Asked::read(&call, n.arg(2))?;
        let write = asked.write_wanted()?;
        let (first, last) = asked.range()?;
        if (by_file && asked.pid != 0) || (asks && !by_file && write.is_none()) {
            return Err(Errno(libc::EINVAL));
        }
        let access = look.flags()? & libc::O_ACCMODE;
        let unwanted = match write {
            Some(true) => libc::O_RDONLY,
            _ => libc::O_WRONLY,
        };
        if !asks && write.is_some() && access == unwanted {
            return Err(Errno(libc::EBADF));
        }
        let file = match target {
            Target::Device(file) => self.table.node_of(file).map(|node| (node, file)),
            _ => None,
        };
        let Some((node, file)) = file else {
            // No other process has this file. A lock on its own memory would report a conflict.
            if asks {
                Asked::write(&call, n.arg(2), None)?;
            }
            return Ok(Verdict::value(0));
        };
        let task = (!by_file).then(|| self.host.task(n.tid));
        let wanted = Wanted::Record {
            task,
            pid: call.pid(),
            write,
            first,
            last,
        };
        let lock = LockCall { node, file, wanted };
        if asks {
            self.forget_ended();
            let record = self.record_of(&lock);
            let held = record.and_then(|record| self.table.locks.blocker(node, &record));
            Asked::write(&Call::new(&self.host, n), n.arg(2), held.as_ref())?;
            return Ok(Verdict::value(0));
        }
        let waits = matches!(n.int(1), libc::F_SETLKW | libc::F_OFD_SETLKW);
        self.lock(n, lock, waits)
    }

    fn lock(&mut self, n: &Notif, lock: LockCall, waits: bool) -> Result<Verdict, Errno> {
        let mut done = self.try_lock(&lock);
        if done.is_err() {
            // The holder may have ended.
            self.forget_ended();
            done = self.try_lock(&lock);
        }
        match done {
            Ok(()) => {
                self.retry_locks();
                Ok(Verdict::value(0))
            }
            Err(Errno(libc::EAGAIN)) if waits => {
                self.check_deadlock(&lock)?;
                let hold = Call::new(&self.host, n).look(n.int(0))?.fd;
                let hold = hold.and_then(Borrowed::into_owned);
                let kind = Kind::Lock(lock);
                Ok(Verdict::Wait(Box::new(Waiting::new(n, kind, hold))))
            }
            Err(e) => Err(e),
        }
    }

    /// Returns the record lock that a call is about.
    fn record_of(&self, lock: &LockCall) -> Option<Record> {
        let Wanted::Record {
            task,
            pid,
            write,
            first,
            last,
        } = lock.wanted
        else {
            return None;
        };
        let owner = match task {
            Some(task) => Owner::Table(self.table.locks.table_of(task, shares)),
            None => Owner::File(lock.file),
        };
        Some(Record {
            owner,
            write: write.unwrap_or_default(),
            first,
            last,
            pid,
        })
    }

    /// Locks or unlocks without waiting.
    fn try_lock(&mut self, lock: &LockCall) -> Result<(), Errno> {
        let (node, file) = (lock.node, lock.file);
        let owner = self.record_of(lock);
        let locks = &mut self.table.locks;
        let refused = match lock.wanted {
            Wanted::Whole { write } => {
                let is_free = locks.flock(node, file, write);
                return is_free.then_some(()).ok_or(Errno(libc::EAGAIN));
            }
            Wanted::Record { write, task, .. } => {
                let Some(mut record) = owner else {
                    return Ok(());
                };
                if let (Some(task), Some(_)) = (task, write) {
                    record.owner = Owner::Table(locks.table_for(task, shares));
                }
                match write {
                    Some(_) => locks.set((node, file), record),
                    None => locks.unset(node, record),
                }
            }
        };
        refused.map_err(|refused| match refused {
            Refused::Held(_) => Errno(libc::EAGAIN),
            Refused::Full => Errno(libc::ENOLCK),
        })
    }

    /// Retries a waiting lock.
    pub(crate) fn lock_again(&mut self, lock: &LockCall) -> Option<Reply> {
        match self.try_lock(lock) {
            Ok(()) => Some(Reply::Value(0)),
            Err(Errno(libc::EAGAIN)) => None,
            Err(e) => Some(e.into()),
        }
    }

    /// Checks that a wait closes no cycle.
    ///
    /// # Errors
    /// EDEADLK: the tables would wait for each other forever.
    fn check_deadlock(&self, lock: &LockCall) -> Result<(), Errno> {
        let wait_of = |lock: &LockCall| {
            let record = self.record_of(lock)?;
            let blocker = self.table.locks.blocker(lock.node, &record)?;
            Some((record.owner, blocker.owner))
        };
        let waits: Vec<(Owner, Owner)> = self.pending.locks().filter_map(wait_of).collect();
        match wait_of(lock) {
            Some((owner @ Owner::Table(_), blocker)) if is_deadlock(owner, blocker, &waits) => {
                Err(Errno(libc::EDEADLK))
            }
            _ => Ok(()),
        }
    }

    /// Releases the locks of processes that have ended.
    fn forget_ended(&mut self) {
        self.process_ends();
        let has_ended = |task: &u32| {
            let found = raw::stat(format!("/proc/{task}"), 0);
            !self.host.procs.remembers(*task) && found.is_err()
        };
        let ended: Vec<u32> = self.table.locks.tasks().filter(has_ended).collect();
        ended.into_iter().for_each(|task| self.task_ended(task));
    }

    /// Records the end of a process or thread, and releases the locks of a descriptor table that ends
    /// with it.
    pub(crate) fn task_ended(&mut self, task: u32) {
        if self.table.ended(task) {
            self.retry_locks();
        }
    }
}

/// Returns whether two tasks are known to share a descriptor table.
pub(crate) fn shares(a: u32, b: u32) -> bool {
    a == b || raw::share_table(a, b).unwrap_or_default()
}
