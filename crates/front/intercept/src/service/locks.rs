//! The lock commands of fcntl: record locks on devices, and locks without effect on buffers.

use std::os::fd::AsFd;
use vb3_frontend::Errno;

use crate::descriptors::{CheckScope, LockCall, Target, Watched};
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
    pub(crate) fn record_lock(&mut self, n: &Call<'_>) -> Served {
        let target = self.named(n, 0);
        let target = target.filter(|target| Watched::of(*target).is_some());
        let target = target.ok_or(Reply::Native)?;
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
        let flags = match target {
            Target::Device(file) => self.flags_of(n, (file, n.int(0)))?,
            _ => n.look(n.int(0))?.flags()?,
        };
        let access = flags & libc::O_ACCMODE;
        if !asks
            && (kind == libc::F_WRLCK && access == libc::O_RDONLY
                || kind == libc::F_RDLCK && access == libc::O_WRONLY)
        {
            return Err(Reply::Fail(libc::EBADF));
        }
        let file = match target {
            Target::Device(file) if !by_file => self
                .table
                .device(file)
                .and_then(|of| Some((of.node?, file))),
            _ => None,
        };
        let Some((node, file)) = file else {
            // This lock belongs to one open file (OFD), or is a lock on a buffer. It conflicts with no lock of
            // another open file. But on a buffer's memfd, it could conflict with the supervisor's own locks. So
            // the kernel checks the call on a new memfd.
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
        let process = n.pid();
        // From now on, the end of the process is reported.
        self.host.thread(process).ok();
        let lock = LockCall {
            node,
            file,
            process,
            range,
        };
        if asks {
            self.forget_ended();
            let found = self.table.locks.get(&lock)?;
            write_range(n, n.arg(2), &found)?;
            return Ok(Verdict::value(0));
        }
        self.lock(n, lock, command == libc::F_SETLKW)
    }

    fn lock(&mut self, n: &Call<'_>, lock: LockCall, waits: bool) -> Served {
        let mut done = self.table.locks.set(&lock);
        if done == Err(Errno(libc::EAGAIN)) {
            // The conflicting lock's owner may have ended. So this releases the locks of ended processes, and
            // retries.
            self.forget_ended();
            done = self.table.locks.set(&lock);
        }
        match done {
            Ok(()) => {
                self.retry_on(On::Locks);
                Ok(Verdict::value(0))
            }
            Err(Errno(libc::EAGAIN)) if waits => {
                let waiting = Waiting::new(n, Kind::Lock(lock), None);
                Ok(Verdict::Wait(Box::new(waiting)))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Retries a waiting lock. Returns `None` if it still conflicts.
    pub(crate) fn lock_again(&mut self, lock: &LockCall) -> Option<Reply> {
        if !self.table.has_descriptors(lock.file) {
            // The file has no descriptor left, so nothing would release this lock later.
            return Some(Reply::Fail(libc::EBADF));
        }
        match self.table.locks.set(lock) {
            Ok(()) => Some(Reply::Value(0)),
            Err(Errno(libc::EAGAIN)) => None,
            Err(e) => Some(e.into()),
        }
    }

    fn forget_ended(&mut self) {
        self.process_ends(CheckScope::Due);
        let has_ended = |process: &u32| {
            let found = raw::stat(format!("/proc/{process}"), 0);
            !self.host.procs.remembers(*process) && found.is_err()
        };
        let ended: Vec<u32> = self.table.locks.processes().filter(has_ended).collect();
        ended.into_iter().for_each(|task| self.task_ended(task));
    }

    /// Records the end of a process or thread. Releases a process's locks.
    pub(crate) fn task_ended(&mut self, task: u32) {
        self.table.numbers.ended(task);
        if self.table.locks.process_ended(task) {
            self.retry_on(On::Locks);
        }
    }
}
