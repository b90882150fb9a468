//! Starting the program under the filter.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use crate::backend::Errno;
use crate::error::{Error, Feature};
use crate::filter::{self, FdRange};
use crate::program::Program;
use crate::raw;

const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
const FLAG_WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;

/// A program under the filter, its execve under way or done.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) listener: OwnedFd,
    pub(crate) wait_killable: bool,
    pub(crate) range: FdRange,
}

/// What the child process needs, made before the fork: it may not allocate afterwards.
struct Prepared {
    paths: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    dir: Option<CString>,
    stdio: [RawFd; 3],
    filter: Vec<libc::sock_filter>,
    limit: Option<libc::rlimit>,
    parent: libc::pid_t,
    _strings: Vec<CString>,
}

/// What the child says on its way to the program. The listener travels with the first kind.
const SAYS_READY: u8 = 1;
const SAYS_NO_FILTER: u8 = 2;
const SAYS_NO_EXEC: u8 = 3;
const SAYS_NO_SETUP: u8 = 4;

fn system(call: &'static str) -> impl Fn(Errno) -> Error {
    move |Errno(errno)| Error::System { call, errno }
}

fn c_string(s: &OsStr) -> Result<CString, Error> {
    CString::new(s.as_bytes()).map_err(|_| Error::Nul)
}

/// The files that may be meant by the program's name, in the order they are tried.
fn candidates(program: &Program) -> Result<Vec<CString>, Error> {
    if program.name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(&program.name)?]);
    }
    if program.name.is_empty() {
        return Err(Error::NotFound);
    }
    let path = program
        .env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.clone());
    let path = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path)
        .map(|dir| c_string(dir.join(&program.name).as_os_str()))
        .collect()
}

fn terminated(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr())
        .chain([core::ptr::null()])
        .collect()
}

fn prepare(
    program: &Program,
    range: FdRange,
    limit: Option<libc::rlimit>,
) -> Result<Prepared, Error> {
    let mut args = vec![c_string(&program.name)?];
    for arg in &program.args {
        args.push(c_string(arg)?);
    }
    let mut env = Vec::new();
    for (name, value) in &program.env {
        let mut entry = name.clone();
        entry.push("=");
        entry.push(value);
        env.push(c_string(&entry)?);
    }
    let (argv, envp) = (terminated(&args), terminated(&env));
    args.append(&mut env);
    let fd = |i: usize| {
        program
            .stdio
            .get(i)
            .and_then(Option::as_ref)
            .map_or(-1, AsRawFd::as_raw_fd)
    };
    Ok(Prepared {
        paths: candidates(program)?,
        argv,
        envp,
        dir: program
            .dir
            .as_ref()
            .map(|dir| c_string(dir.as_os_str()))
            .transpose()?,
        stdio: [fd(0), fd(1), fd(2)],
        filter: filter::program(range),
        limit,
        // SAFETY: takes nothing.
        parent: unsafe { libc::getpid() },
        _strings: args,
    })
}

/// The descriptor limit that programs get, and the range below it that devices use.
pub(crate) fn limits() -> (libc::rlimit, FdRange) {
    let mut limit = libc::rlimit {
        rlim_cur: 1024,
        rlim_max: 1024,
    };
    // SAFETY: the kernel fills the structure.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (limit, FdRange::below(limit.rlim_cur))
}

/// Starts the program.
///
/// `limit` is the descriptor limit it shall have, if this process has changed its own.
pub(crate) fn spawn(
    program: &Program,
    range: FdRange,
    limit: Option<libc::rlimit>,
) -> Result<Child, Error> {
    let prepared = prepare(program, range, limit)?;
    let (ours, theirs) = socket_pair()?;
    // SAFETY: the child only makes async-signal-safe calls on memory made before, and ends by
    // execve or _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: in the child of a fork; `prepared` lives in its copy of our memory.
        unsafe { child(&prepared, theirs.as_raw_fd()) }
    }
    let pid = raw::check(pid).map_err(system("fork"))?.cast_unsigned();
    drop(theirs);
    let started = raw::pidfd_open(pid)
        .map_err(system("pidfd_open"))
        .and_then(|pidfd| {
            let (listener, wait_killable) = handshake(&ours)?;
            Ok(Child {
                pid,
                pidfd,
                listener,
                wait_killable,
                range,
            })
        });
    if started.is_err() {
        reap(pid);
    }
    started
}

/// Ends and reaps a child that did not get as far as the program.
fn reap(pid: u32) {
    let pid = pid.cast_signed();
    // SAFETY: our own child, not yet reaped.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        while libc::waitpid(pid, core::ptr::null_mut(), 0) < 0 && raw::errno().0 == libc::EINTR {}
    }
}

fn socket_pair() -> Result<(OwnedFd, OwnedFd), Error> {
    let mut fds = [-1; 2];
    // SAFETY: room for two descriptors.
    raw::check(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            fds.as_mut_ptr(),
        )
    })
    .map_err(system("socketpair"))?;
    let own = |fd| raw::owned(fd).map_err(system("socketpair"));
    Ok((own(fds[0])?, own(fds[1])?))
}

/// One message of the child: its kind, a number, and a descriptor if one came along.
fn receive(socket: &OwnedFd) -> Result<Option<(u8, i32, Option<OwnedFd>)>, Error> {
    let mut text = [0u8; 5];
    let mut iov = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    let mut control = [0u64; 8];
    // SAFETY: a structure of integers and pointers, for which zero is a value.
    let mut msg: libc::msghdr = unsafe { core::mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = size_of_val(&control);
    let n = loop {
        // SAFETY: the message names live buffers with their sizes.
        let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut msg, libc::MSG_CMSG_CLOEXEC) };
        if n >= 0 {
            break n;
        }
        let e = raw::errno();
        if e.0 != libc::EINTR {
            return Err(system("recvmsg")(e));
        }
    };
    if n < 5 {
        return Ok(None);
    }
    // SAFETY: the kernel has filled `msg` and the control buffer it names.
    let fd = unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const msg);
        if !head.is_null() && (*head).cmsg_type == libc::SCM_RIGHTS {
            let fd: i32 = core::ptr::read_unaligned(libc::CMSG_DATA(head).cast());
            raw::owned(fd).ok()
        } else {
            None
        }
    };
    let [kind, number @ ..] = text;
    Ok(Some((kind, i32::from_ne_bytes(number), fd)))
}

/// Follows the child to its execve.
fn handshake(socket: &OwnedFd) -> Result<(OwnedFd, bool), Error> {
    let gone = Error::System {
        call: "start of the child",
        errno: libc::ECHILD,
    };
    let (listener, killable) = match receive(socket)?.ok_or(gone)? {
        (SAYS_READY, killable, Some(listener)) => (listener, killable != 0),
        (SAYS_NO_FILTER, errno, _) => {
            let feature = if errno == libc::EBUSY {
                Feature::Nested
            } else {
                Feature::Listener
            };
            return Err(Error::Kernel { feature, errno });
        }
        (_, errno, _) => {
            return Err(Error::System {
                call: "start of the child",
                errno,
            });
        }
    };
    // The socket closes by itself when execve succeeds.
    match receive(socket)? {
        None => Ok((listener, killable)),
        Some((SAYS_NO_EXEC, libc::ENOENT, _)) => Err(Error::NotFound),
        Some((_, errno, _)) => Err(Error::Exec { errno }),
    }
}

/// Sends a message from the child; nothing can be done if it fails.
///
/// # Safety
/// Only between fork and execve.
unsafe fn say(socket: RawFd, kind: u8, number: i32, fd: Option<RawFd>) {
    let [a, b, c, d] = number.to_ne_bytes();
    let mut text = [kind, a, b, c, d];
    let mut iov = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    let mut control = [0u64; 8];
    // SAFETY: zero is a value of msghdr; the message names live buffers; the control buffer has
    // room for one descriptor.
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

/// The child's way from fork to execve.
///
/// # Safety
/// Only in the child of a fork.
unsafe fn child(p: &Prepared, socket: RawFd) -> ! {
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
        let mut error = libc::ENOENT;
        for path in &p.paths {
            libc::execve(path.as_ptr(), p.argv.as_ptr(), p.envp.as_ptr());
            let e = *libc::__errno_location();
            // As the shell: a file that is there but cannot be executed is the better reason.
            if e != libc::ENOENT && e != libc::ENOTDIR {
                error = e;
            }
        }
        say(socket, SAYS_NO_EXEC, error, None);
        libc::_exit(127);
    }
}

/// Directory, descriptors, limits and signals of the program.
///
/// # Safety
/// Only in the child of a fork.
unsafe fn set_up(p: &Prepared) -> Result<(), i32> {
    // SAFETY: async-signal-safe calls with valid arguments.
    unsafe {
        let fail = |ret: libc::c_int| {
            if ret < 0 {
                Err(*libc::__errno_location())
            } else {
                Ok(())
            }
        };
        let mut none: libc::sigset_t = core::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        fail(libc::sigprocmask(
            libc::SIG_SETMASK,
            &raw const none,
            core::ptr::null_mut(),
        ))?;
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        for (i, &fd) in p.stdio.iter().enumerate() {
            if fd >= 0 {
                fail(libc::dup2(fd, i as libc::c_int))?;
            }
        }
        if let Some(dir) = &p.dir {
            fail(libc::chdir(dir.as_ptr()))?;
        }
        if let Some(limit) = &p.limit {
            fail(libc::setrlimit(libc::RLIMIT_NOFILE, limit))?;
        }
        // Without the supervisor every open fails: better that the program ends with it.
        fail(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        if libc::getppid() != p.parent {
            libc::_exit(125);
        }
        fail(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    }
}

/// Installs the filter; gives the listener and whether waiting calls ignore signals.
///
/// # Safety
/// Only in the child of a fork.
unsafe fn install(filter: &[libc::sock_filter]) -> Result<(RawFd, bool), i32> {
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
        // SAFETY: `prog` names a live program; the kernel copies it.
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
        // SAFETY: reads this thread's errno.
        let e = unsafe { *libc::__errno_location() };
        if e != libc::EINVAL {
            return Err(e);
        }
    }
    Err(libc::EINVAL)
}

/// Whether a process may be reaped by us at all is the kernel's business: takes the exit status
/// of `pidfd`'s process if it is our child and has ended.
pub(crate) fn try_reap(pidfd: &OwnedFd) -> Option<Ended> {
    // SAFETY: zero is a value of siginfo_t, and the kernel fills it.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let fd = libc::id_t::try_from(pidfd.as_fd().as_raw_fd()).ok()?;
    // SAFETY: `info` is live.
    let ret = unsafe {
        libc::waitid(
            libc::P_PIDFD,
            fd,
            &raw mut info,
            libc::WEXITED | libc::WNOHANG,
        )
    };
    if ret != 0 {
        return None;
    }
    // SAFETY: waitid has filled the SIGCHLD fields, or left them zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    (pid != 0).then(|| match info.si_code {
        libc::CLD_EXITED => Ended::Status(status),
        _ => Ended::Signal(status),
    })
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By exit.
    Status(i32),
    /// By a signal.
    Signal(i32),
}
