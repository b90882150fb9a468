//! Selects the handler of each call. Contains the handlers of ioctl and lseek.

use crate::descriptors::{Target, Watched};
use crate::kernel::{Borrowed, lock, nr, procs, vma};
use crate::note::Note;
use crate::process::{Notif, Reply};
use crate::service::transfers::Moves;
use crate::service::{Call, Host, Served, Server, Verdict};
use crate::tree::monitor;
use crate::waiting::{Kind, Waiting};
use vb3_frontend::{Access, Backend, CallOutcome, Caller, Errno};

/// ioctls that every descriptor supports. They clear and set the descriptor's close-on-exec flag.
const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;

/// Returns whether the call's descriptor shows that its file is not the supervisor's.
/// This check borrows no file, since closing a borrowed file could take long.
pub(crate) fn is_of_another(host: &Host, n: &Notif) -> bool {
    let by_descriptor = matches!(
        n.nr,
        libc::SYS_ioctl
            | libc::SYS_lseek
            | libc::SYS_flock
            | libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_fallocate
            | libc::SYS_ftruncate
    );
    let fd = n.int(0);
    (by_descriptor || Moves::of(n.nr).is_some())
        && !host.range.has(fd)
        && (fd < 0 || procs::may_be_of_ours(n.tid, fd) == Some(false))
}

/// Checks, before the lock is taken, whether an ioctl of a dma-buf or a sync file can write its result.
/// If it cannot return the number of a new descriptor, it must not install one.
///
/// Source: Linux 7.2 drivers/dma-buf/dma-buf.c `dma_buf_export_sync_file`, sync_file.c
/// `sync_file_ioctl_merge`.
pub(crate) fn look_ahead(n: &Notif) {
    const READS_AND_WRITES: u32 = 3;
    let request = n.uint(1);
    let (direction, len) = (request >> 30, u64::from(request >> 16 & 0x3fff));
    let of_buffers = matches!((request >> 8) as u8, b'b' | b'>');
    if n.nr == libc::SYS_ioctl
        && of_buffers
        && direction == READS_AND_WRITES
        && vma::accessible(n.tid, n.arg(2), len, Access::Write).is_ok_and(|there| there < len)
    {
        n.gathered.data().installs_none = true;
    }
}

impl Server<'_> {
    /// Calls the handler of a call on a descriptor. `Supervisor` handles calls on paths.
    pub(crate) fn dispatch(&mut self, n: &Call<'_>) -> Served {
        match n.nr {
            libc::SYS_ioctl => self.ioctl(n),
            nr::POLL | libc::SYS_ppoll => self.poll(n, None),
            nr::SELECT | libc::SYS_pselect6 => self.select(n),
            libc::SYS_epoll_ctl => self.epoll_ctl(n),
            libc::SYS_close | libc::SYS_close_range => Ok(self.close(n)),
            nr::DUP2 | libc::SYS_dup3 => self.dup_onto(n),
            libc::SYS_dup => Ok(self.dup(n)),
            libc::SYS_flock => self.flock(n),
            libc::SYS_fcntl => self.fcntl(n),
            libc::SYS_fsync
            | libc::SYS_fdatasync
            | libc::SYS_fallocate
            | libc::SYS_ftruncate
            | libc::SYS_sendfile
            | libc::SYS_splice
            | libc::SYS_copy_file_range => self.not_for_devices(n),
            libc::SYS_restart_syscall => self.restart(n),
            // Programs then use system calls instead, which the supervisor can answer.
            libc::SYS_io_uring_setup => {
                self.host.note_once(Note::NoIoUring);
                Err(Reply::Fail(libc::ENOSYS))
            }
            libc::SYS_execve | libc::SYS_execveat => Ok(self.exec(n)),
            number if monitor::CALLS.contains(&number) => self.monitor_call(n),
            libc::SYS_lseek => self.lseek(n),
            number => match Moves::of(number) {
                Some(moves) => self.transfer(n, moves),
                None => Err(Reply::Native),
            },
        }
    }

    fn ioctl(&mut self, n: &Call<'_>) -> Served {
        let fd = n.int(0);
        let (request, arg) = (n.uint(1), n.arg(2));
        if matches!(request, FIOCLEX | FIONCLEX) {
            return Ok(Verdict::native());
        }
        // If there is no such descriptor, the kernel executes the call, and refuses it.
        let id = Call::with_table(&self.host, n, &self.table)
            .identify(fd)
            .map_err(|_| Reply::Native)?;
        let kind = (request >> 8) as u8;
        let target = self.target(id);
        if Watched::of(target).is_some() {
            self.host.note_number(fd);
        }
        let call = Call::with_table(&self.host, n, &self.table);
        let is_known = match target {
            Target::Other => {
                if kind == b'b' && self.backend.is_foreign(id) {
                    self.backend.foreign_ioctl(id, request, arg, &call);
                }
                return Ok(Verdict::native());
            }
            Target::Node(_) => return Err(Reply::Fail(libc::EBADF)),
            Target::Device(_) => matches!(kind, b'V' | b'|' | b'H' | b'u' | b'>' | b'W' | b'd'),
            Target::Buffer(_) => kind == b'b',
        };
        let Some(on) = Watched::of(target).filter(|_| is_known) else {
            return Err(Reply::Fail(libc::ENOTTY));
        };
        let backend = &mut self.backend;
        let mut done = control(*backend, (on, request, arg), &call);
        // Borrows the file, to keep it open, only for an ioctl that would wait: most do not.
        let mut hold = None;
        if matches!(done, CallOutcome::Wait) {
            let look = call.look(fd).and_then(|look| Ok((look.flags()?, look.fd)));
            let (flags, file) = look.inspect_err(|_| {
                if let Watched::Device(file) = on {
                    backend.abandon(file, call.call());
                }
            })?;
            hold = file.and_then(Borrowed::into_memory);
            // DRM's ioctls wait for vblanks on O_NONBLOCK files, too.
            if let Watched::Device(file) = on
                && flags & libc::O_NONBLOCK != 0
                && kind != b'd'
            {
                done = backend.ioctl(file, request, arg, true, &call);
            }
        }
        let made = core::mem::take(&mut *lock(&self.host.made));
        for (file, inode) in made {
            self.table.add_file(file, inode, None);
        }
        match on {
            Watched::Device(file) => self.refresh(file),
            Watched::Buffer(_) => self.backend_changed(),
        }
        Ok(verdict(done, || {
            Waiting::new(n, Kind::Ioctl(on, request, arg), hold)
        }))
    }

    /// Serves execve and execveat. The kernel closes the descriptors with FD_CLOEXEC.
    fn exec(&mut self, n: &Call<'_>) -> Verdict {
        let process = n.pid();
        let threads = self.host.procs.threads_of(process);
        self.table.exec(n.tid, process, &threads);
        Verdict::native()
    }

    /// Serves lseek. A device has no position; a buffer returns its size, as dma-bufs do.
    ///
    /// Source: Linux 7.2 drivers/dma-buf/dma-buf.c `dma_buf_llseek`.
    fn lseek(&mut self, n: &Call<'_>) -> Served {
        let target = self.named(n, 0).ok_or(Reply::Native)?;
        match (target, n.int(2), n.arg(1)) {
            (Target::Device(_), ..) => Err(Reply::Fail(libc::ESPIPE)),
            (Target::Buffer(_), libc::SEEK_SET, 0) => Ok(Verdict::value(0)),
            (Target::Buffer(id), libc::SEEK_END, 0) => {
                let len = i64::try_from(self.backend.buffer_len(id));
                Ok(Verdict::value(len.map_err(|_| Errno(libc::EOVERFLOW))?))
            }
            (Target::Buffer(_), ..) => Err(Reply::Fail(libc::EINVAL)),
            (Target::Node(_) | Target::Other, ..) => Ok(Verdict::native()),
        }
    }

    /// Returns whether the descriptor in an argument refers to a device or a buffer.
    pub(crate) fn is_ours(&self, n: &Call<'_>, arg: usize) -> bool {
        self.named(n, arg).and_then(Watched::of).is_some()
    }

    /// Returns the file that the descriptor in an argument refers to, if it is open.
    pub(crate) fn named(&self, n: &Call<'_>, arg: usize) -> Option<Target> {
        let look = n.look(n.int(arg)).ok()?;
        Some(self.target(look.id))
    }

    pub(crate) fn ioctl_again(
        &mut self,
        n: &Call<'_>,
        (on, request, arg): (Watched, u32, u64),
    ) -> Option<Reply> {
        let call = Call::with_table(&self.host, n, &self.table);
        let done = control(self.backend, (on, request, arg), &call);
        if let Watched::Device(file) = on {
            self.refresh(file);
        }
        reply(done)
    }
}

fn control(
    backend: &mut dyn Backend,
    (on, request, arg): (Watched, u32, u64),
    call: &Call<'_>,
) -> CallOutcome {
    match on {
        Watched::Device(file) => backend.ioctl(file, request, arg, false, call),
        Watched::Buffer(id) => backend.buffer_ioctl(id, request, arg, call),
    }
}

/// Returns the answer in an outcome, or `None` if the call waits or is not finished.
pub(crate) fn reply(outcome: CallOutcome) -> Option<Reply> {
    match outcome {
        CallOutcome::Done(value) => Some(Reply::Value(value)),
        CallOutcome::Fail(e) => Some(e.into()),
        CallOutcome::Wait | CallOutcome::Part(_) => None,
    }
}

/// Converts an outcome to a verdict. `wait` makes the table entry of a call that waits or is not finished.
pub(crate) fn verdict(outcome: CallOutcome, wait: impl FnOnce() -> Waiting) -> Verdict {
    match reply(outcome) {
        Some(reply) => Verdict::Reply(reply),
        None => Verdict::Wait(Box::new(wait())),
    }
}
