//! The child process before its execve: only async-signal-safe calls, no allocation, no locks. It shares the
//! supervisor's memory.

use std::ffi::CString;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use rustix::thread::set_no_new_privs;
use vb3_frontend::Errno;

use crate::kernel::raw;
use crate::process::{Inherited, PASS};

/// Everything that the child needs, made before its start.
pub(crate) struct Prepared<'a> {
    pub(crate) paths: Vec<CString>,
    pub(crate) argv: Vec<*const libc::c_char>,
    pub(crate) envp: Vec<*const libc::c_char>,
    pub(crate) filter: Vec<libc::sock_filter>,
    pub(crate) limit: Rlimit,
    pub(crate) inherited: &'a Inherited,
    pub(crate) parent: libc::pid_t,
    /// Owns the strings that the pointers refer to.
    pub(crate) _strings: Vec<CString>,
}

/// Kinds of messages that the child sends. SAYS_READY carries the listener, the others an errno.
pub(crate) const SAYS_READY: u8 = 1;
pub(crate) const SAYS_NO_FILTER: u8 = 2;
pub(crate) const SAYS_NO_EXEC: u8 = 3;
const SAYS_NO_SETUP: u8 = 4;

/// Sends a message to the supervisor. Ignores errors, because the child could not report them.
fn say(socket: BorrowedFd<'_>, kind: u8, number: i32, fd: Option<BorrowedFd<'_>>) {
    let [a, b, c, d] = number.to_ne_bytes();
    let text = [kind, a, b, c, d];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(
        socket,
        &[IoSlice::new(&text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .ok();
}

pub(crate) fn child(p: &Prepared<'_>, socket: BorrowedFd<'_>) -> ! {
    // SAFETY: only async-signal-safe calls, on memory that was made before the child's start.
    unsafe {
        if let Err(e) = set_up(p) {
            say(socket, SAYS_NO_SETUP, e.raw_os_error(), None);
            libc::_exit(125);
        }
        let listener = match install(&p.filter) {
            Ok(listener) => listener,
            Err(Errno(e)) => {
                say(socket, SAYS_NO_FILTER, e, None);
                libc::_exit(125);
            }
        };
        say(socket, SAYS_READY, 0, Some(listener.as_fd()));
        drop(listener);
        // On this call, the supervisor tries out its `Powers`. The kernel never executes the call. Zeroes of
        // 32 bits would leave the upper half of the last argument undefined, and the filter could find PASS
        // there.
        libc::syscall(libc::SYS_execve, 0u64, 0u64, 0u64, 0u64, 0u64, 0u64);
        let mut error = libc::ENOENT;
        for path in &p.paths {
            // The supervisor answers no further call before the program runs, so PASS makes the filter
            // allow this execve.
            let pass = u64::from(PASS) << 32;
            let (argv, envp) = (p.argv.as_ptr(), p.envp.as_ptr());
            libc::syscall(libc::SYS_execve, path.as_ptr(), argv, envp, 0, 0, pass);
            let e = *libc::__errno_location();
            // Like a shell, prefers the error of an existing file that cannot be executed.
            if e != libc::ENOENT && e != libc::ENOTDIR {
                error = e;
            }
        }
        say(socket, SAYS_NO_EXEC, error, None);
        libc::_exit(127);
    }
}

fn set_up(p: &Prepared<'_>) -> rustix::io::Result<()> {
    p.inherited.set();
    setrlimit(Resource::Nofile, p.limit)?;
    // Without the supervisor every open fails, so the program is killed when the supervisor ends.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // SAFETY: async-signal-safe calls without arguments in memory.
    unsafe {
        if libc::getppid() != p.parent {
            libc::_exit(125);
        }
    }
    set_no_new_privs(true)
}

/// Installs the filter, and returns the listener. While a call waits for its answer, only fatal signals
/// interrupt it. Returns EINVAL before Linux 5.19, which lacks this option.
fn install(filter: &[libc::sock_filter]) -> Result<OwnedFd, Errno> {
    let prog = libc::sock_fprog {
        len: libc::c_ushort::try_from(filter.len()).map_err(|_| Errno(libc::EINVAL))?,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: `prog` names a live program, which the kernel copies.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
            core::ptr::from_ref(&prog),
        )
    };
    // SAFETY: a new descriptor, which nothing else owns. CAST: descriptors are small.
    raw::check(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
