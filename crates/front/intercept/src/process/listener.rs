//! The seccomp listener: receives programs' calls, answers them and installs descriptors in callers.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::kernel::raw;
use crate::memory::Gathered;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::Opcode;
use rustix::ioctl::opcode::{read_write, write};
use vb3_frontend::Errno;

const RECV: Opcode = read_write::<libc::seccomp_notif>(b'!', 0);
const SEND: Opcode = read_write::<libc::seccomp_notif_resp>(b'!', 1);
const ID_VALID: Opcode = write::<u64>(b'!', 2);
const ADDFD: Opcode = write::<libc::seccomp_notif_addfd>(b'!', 3);
const SET_FLAGS: Opcode = write::<u64>(b'!', 4);

const FLAG_SYNC_WAKE_UP: u64 = 1;
// CAST: the flags of seccomp's structures are 32-bit.
const FLAG_CONTINUE: u32 = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
const FLAG_SETFD: u32 = libc::SECCOMP_ADDFD_FLAG_SETFD as u32;

/// Makes the kernel repeat the interrupted call, whether or not a handler ran.
pub(crate) const ERESTARTNOINTR: i32 = 513;
/// Makes the kernel repeat the call unless a handler without SA_RESTART ran.
pub(crate) const ERESTARTSYS: i32 = 512;
/// Makes the kernel continue the call with `restart_syscall`, only if no handler ran.
pub(crate) const ERESTART_RESTARTBLOCK: i32 = 516;
/// Makes the kernel repeat the call only if no handler ran.
pub(crate) const ERESTARTNOHAND: i32 = 514;

#[derive(Clone, Debug)]
pub(crate) struct Notif {
    /// The listener's identifier of the call.
    pub(crate) id: u64,
    pub(crate) tid: u32,
    /// The call's architecture, as in `AUDIT_ARCH_*`.
    pub(crate) arch: u32,
    pub(crate) nr: i64,
    pub(crate) args: [u64; 6],
    /// Copies of the program's memory, and other data collected for this call.
    pub(crate) gathered: Arc<Gathered>,
}

impl Notif {
    pub(crate) fn int(&self, i: usize) -> i32 {
        self.uint(i).cast_signed()
    }

    pub(crate) fn uint(&self, i: usize) -> u32 {
        // CAST: the kernel, too, uses only the lower half.
        self.arg(i) as u32
    }

    /// Returns argument `i`, counted from 0; 0 if `i` is above 5.
    pub(crate) fn arg(&self, i: usize) -> u64 {
        self.args.get(i).copied().unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Value(i64),
    /// The call fails with this errno, or one of the kernel's restart codes.
    Fail(i32),
    /// The kernel executes the call unchanged.
    Native,
}

impl From<Errno> for Reply {
    fn from(e: Errno) -> Self {
        Self::Fail(e.0)
    }
}

#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    /// Wraps a listener. Returns whether the kernel supports wake-ups on the same CPU.
    pub(crate) fn new(fd: OwnedFd) -> (Self, bool) {
        let this = Self(fd);
        // SAFETY: this request takes its flags by value.
        let sync =
            unsafe { libc::ioctl(this.0.as_raw_fd(), SET_FLAGS.into(), FLAG_SYNC_WAKE_UP) } == 0;
        (this, sync)
    }

    fn ioctl<T>(&self, request: Opcode, arg: &mut T) -> Result<i32, Errno> {
        // SAFETY: every request here contains the size of the structure that its callers pass.
        until_uninterrupted(|| unsafe {
            libc::ioctl(self.0.as_raw_fd(), request.into(), core::ptr::from_mut(arg))
        })
    }

    /// Returns whether no thread is left that could make a call.
    pub(crate) fn is_over(&self) -> bool {
        self.look(Some(Duration::ZERO)) & (libc::POLLHUP | libc::POLLERR) != 0
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "polls the supervisor's own descriptor"
    )]
    /// Waits for a call at most `timeout`, or without limit if `None`, and returns the poll events.
    pub(crate) fn look(&self, timeout: Option<Duration>) -> i16 {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let polled = poll(&mut fds, timeout.as_ref());
        let [fd] = fds;
        polled.map_or(0, |_| fd.revents().bits().cast_signed())
    }

    /// Receives the oldest new call. Blocks if there is none. Returns ENOENT if the calling thread was killed
    /// meanwhile. `room` is memory of an earlier call for the new call's data; without it, this allocates memory.
    pub(crate) fn recv(&self, room: Option<Arc<Gathered>>) -> Result<Notif, Errno> {
        // SAFETY: a structure of plain integers.
        let mut n: libc::seccomp_notif = unsafe { core::mem::zeroed() };
        self.ioctl(RECV, &mut n)?;
        Ok(Notif {
            id: n.id,
            tid: n.pid,
            arch: n.data.arch,
            nr: n.data.nr.into(),
            args: n.data.args,
            gathered: room.unwrap_or_default(),
        })
    }

    /// Answers a call. Returns ENOENT if the thread no longer waits for the answer.
    pub(crate) fn send(&self, id: u64, reply: Reply) -> Result<(), Errno> {
        let (val, error, flags) = match reply {
            Reply::Value(val) => (val, 0, 0),
            Reply::Fail(e) => (0, -e, 0),
            Reply::Native => (0, 0, FLAG_CONTINUE),
        };
        let mut resp = libc::seccomp_notif_resp {
            id,
            val,
            error,
            flags,
        };
        self.ioctl(SEND, &mut resp).map(drop)
    }

    /// Returns whether the thread still waits for the answer.
    pub(crate) fn is_valid(&self, id: u64) -> bool {
        let mut id = id;
        self.ioctl(ID_VALID, &mut id).is_ok()
    }

    /// Answers a call like `send`, but ignores errors, because the thread may have been killed.
    pub(crate) fn answer(&self, id: u64, reply: Reply) {
        self.send(id, reply).ok();
    }

    /// Installs a descriptor in the calling process, and returns its number: `at` or the lowest free one.
    /// A descriptor that exists at `at` is replaced.
    ///
    /// `SECCOMP_ADDFD_FLAG_SEND`, which also answers the call, is not used: if SIGSTOP interrupts the supervisor, the
    /// call may return 0 without a descriptor.
    /// Source: Linux 7.2 kernel/seccomp.c `seccomp_notify_addfd`.
    ///
    /// # Errors
    /// Returns EMFILE, EBADF (`at` is above the limit), or ENOENT (the thread no longer waits).
    pub(crate) fn add_fd(
        &self,
        id: u64,
        fd: BorrowedFd<'_>,
        at: Option<u32>,
        cloexec: bool,
    ) -> Result<i32, Errno> {
        let mut add = libc::seccomp_notif_addfd {
            id,
            flags: if at.is_some() { FLAG_SETFD } else { 0 },
            srcfd: fd.as_raw_fd().cast_unsigned(),
            newfd: at.unwrap_or(0),
            newfd_flags: if cloexec {
                libc::O_CLOEXEC.cast_unsigned()
            } else {
                0
            },
        };
        self.ioctl(ADDFD, &mut add)
    }
}

/// Repeats a call until no signal interrupts it. If another thread uses the listener, a signal to the supervisor can
/// interrupt even an answer. Without the repetition, the program would wait for its answer for ever.
///
/// Source: Linux 7.2 kernel/seccomp.c `seccomp_notify_send`.
fn until_uninterrupted(mut call: impl FnMut() -> i32) -> Result<i32, Errno> {
    let call = || raw::check(call()).map_err(|e| rustix::io::Errno::from_raw_os_error(e.0));
    rustix::io::retry_on_intr(call).map_err(raw::err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_lose_no_answer() {
        let fails_with = |errno| {
            // SAFETY: the calling thread's errno.
            unsafe { *libc::__errno_location() = errno };
            -1
        };
        let mut left = 3;
        let done = until_uninterrupted(|| {
            left -= 1;
            if left > 0 { fails_with(libc::EINTR) } else { 7 }
        });
        assert_eq!((done, left), (Ok(7), 0));
        let failed = until_uninterrupted(|| fails_with(libc::ENOENT));
        assert_eq!(failed, Err(Errno(libc::ENOENT)));
    }
}
