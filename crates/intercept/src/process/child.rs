//! The child process between fork and execve: only async-signal-safe calls, no allocation, no locks.

use std::ffi::CString;
use std::os::fd::RawFd;

use crate::kernel::raw;
use crate::process::filter::PASS;
use crate::process::inherited::Inherited;
use rustix::process::{Resource, Rlimit, setrlimit};
use vb3_host::Errno;

const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
const FLAG_WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;

/// Everything that the child needs, made before the fork.
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
fn say(socket: RawFd, kind: u8, number: i32, fd: Option<RawFd>) {
    let [a, b, c, d] = number.to_ne_bytes();
    let mut text = [kind, a, b, c, d];
    let mut iov = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    let mut control = [0u64; 8];
    // SAFETY: zero is a valid msghdr; the message names live buffers; the control buffer has room
    // for one descriptor.
    unsafe {
        let mut msg: libc::msghdr = core::mem::zeroed();
        msg.msg_iov = &raw mut iov;
        msg.msg_iovlen = 1;
        if let Some(fd) = fd {
            msg.msg_control = control.as_mut_ptr().cast();
            msg.msg_controllen = libc::CMSG_SPACE(4) as usize;
            let head = libc::CMSG_FIRSTHDR(&raw const msg);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(4) as usize;
            core::ptr::write_unaligned(libc::CMSG_DATA(head).cast(), fd);
        }
        libc::sendmsg(socket, &raw const msg, libc::MSG_NOSIGNAL);
    }
}

pub(crate) fn child(p: &Prepared<'_>, socket: RawFd) -> ! {
    // SAFETY: only async-signal-safe calls, on memory that was made before the fork.
    unsafe {
        if let Err(e) = set_up(p) {
            say(socket, SAYS_NO_SETUP, e, None);
            libc::_exit(125);
        }
        let (listener, killable) = match install(&p.filter) {
            Ok(installed) => installed,
            Err(e) => {
                say(socket, SAYS_NO_FILTER, e, None);
                libc::_exit(125);
            }
        };
        say(socket, SAYS_READY, killable.into(), Some(listener));
        libc::close(listener);
        // On this call, the supervisor tries out its `Powers`. The kernel never executes the call.
        libc::syscall(libc::SYS_execve, 0, 0, 0, 0, 0, 0);
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

/// Sets the program's limits and signals.
fn set_up(p: &Prepared<'_>) -> Result<(), i32> {
    // SAFETY: async-signal-safe calls with valid arguments.
    unsafe {
        let fail = |ret: libc::c_int| {
            if ret < 0 {
                Err(*libc::__errno_location())
            } else {
                Ok(())
            }
        };
        p.inherited.set();
        setrlimit(Resource::Nofile, p.limit).map_err(rustix::io::Errno::raw_os_error)?;
        // Without the supervisor every open fails, so the program is killed when the supervisor ends.
        fail(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        if libc::getppid() != p.parent {
            libc::_exit(125);
        }
        fail(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    }
}

/// Installs the filter. Returns the listener, and whether waiting calls ignore non-fatal signals.
fn install(filter: &[libc::sock_filter]) -> Result<(RawFd, bool), i32> {
    let Ok(len) = libc::c_ushort::try_from(filter.len()) else {
        return Err(libc::EINVAL);
    };
    let prog = libc::sock_fprog {
        len,
        filter: filter.as_ptr().cast_mut(),
    };
    for flags in [
        FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV,
        FLAG_NEW_LISTENER,
    ] {
        // SAFETY: `prog` names a live program, which the kernel copies.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                core::ptr::from_ref(&prog),
            )
        };
        if let Ok(fd) = RawFd::try_from(fd)
            && fd >= 0
        {
            return Ok((fd, flags & FLAG_WAIT_KILLABLE_RECV != 0));
        }
        match raw::errno() {
            Errno(libc::EINVAL) => {}
            Errno(e) => return Err(e),
        }
    }
    Err(libc::EINVAL)
}
