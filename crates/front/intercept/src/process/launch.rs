//! Starts the program under the run's seccomp filter.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::net::{RecvFlags, SocketFlags, SocketType};
use rustix::process::{Pid, Resource, Rlimit, WaitOptions, getrlimit, waitpid};

use crate::error::Error;
use crate::kernel::{MayBlock, raw};
use crate::process::child::{Prepared, SAYS_NO_EXEC, SAYS_NO_FILTER, SAYS_READY, child};
use crate::process::filter;
use crate::process::signal::with_signals_blocked;
use crate::process::{FdRange, Inherited, Listener, Powers};
use crate::program::Program;
use vb3_frontend::Errno;

/// Bytes of the child's stack until its execve. Its frames are few and small.
const STACK: usize = 64 << 10;

/// What a child uses of this process's memory until its execve.
struct Shared<'a> {
    prepared: Prepared<'a>,
    socket: RawFd,
    stack: Vec<u128>,
}

/// A child under the filter. It uses memory of this value until its execve or its end.
pub(crate) struct Child<'a> {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) listener: Listener,
    /// Whether answers wake the caller on its own CPU.
    pub(crate) sync: bool,
    /// The child's end of the socket, as a number in the child.
    pub(crate) their_socket: RawFd,
    /// The supervisor's end. A successful execve closes the child's.
    socket: OwnedFd,
    _shared: Box<Shared<'a>>,
}

fn c_string(s: &OsStr) -> Result<CString, Error> {
    CString::new(s.as_bytes()).map_err(|_| Error::Nul)
}

/// Returns the paths to try for the program's name, in order (a search in PATH if it has no slash).
fn candidates(program: &Program) -> Result<Vec<CString>, Error> {
    if program.name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string(&program.name)?]);
    }
    if program.name.is_empty() {
        return Err(Error::NotFound);
    }
    let path = program.env.iter().find(|(name, _)| name == "PATH");
    let usual = OsStr::new("/usr/local/bin:/usr/bin:/bin");
    let path = path.map_or(usual, |(_, value)| value.as_os_str());
    // Like a shell, skips directories that this process has no permission to search.
    std::env::split_paths(path)
        .map(|dir| dir.join(&program.name))
        .filter(|file| file.is_relative() || file.exists())
        .map(|file| c_string(file.as_os_str()))
        .collect()
}

fn terminated(strings: &[CString]) -> Vec<*const libc::c_char> {
    let pointers = strings.iter().map(|s| s.as_ptr());
    pointers.chain([core::ptr::null()]).collect()
}

fn prepare<'a>(
    program: &Program,
    (limit, range): (Rlimit, FdRange),
    inherited: &'a Inherited,
) -> Result<Prepared<'a>, Error> {
    let mut args = vec![c_string(&program.name)?];
    for arg in &program.args {
        args.push(c_string(arg)?);
    }
    let mut env = Vec::new();
    for (name, value) in &program.env {
        env.push(c_string(&[&**name, value].join(OsStr::new("=")))?);
    }
    let (argv, envp) = (terminated(&args), terminated(&env));
    args.append(&mut env);
    Ok(Prepared {
        paths: candidates(program)?,
        argv,
        envp,
        filter: filter::program(range),
        limit,
        inherited,
        parent: std::process::id().cast_signed(),
        _strings: args,
    })
}

/// Returns the descriptor limit for programs, and the range below it that devices use.
pub(crate) fn limits() -> (Rlimit, FdRange) {
    let limit = getrlimit(Resource::Nofile);
    let range = FdRange::below(limit.current.unwrap_or(u64::MAX));
    (limit, range)
}

/// Starts a child, which installs the filter. The child then waits in a first reported call, before it runs the
/// program. The caller keeps the returned value until the child's execve, or reaps the child.
pub(crate) fn start<'a>(
    program: &Program,
    limits: (Rlimit, FdRange),
    inherited: &'a Inherited,
) -> Result<Child<'a>, Error> {
    let pair = raw::socket_pair(SocketType::SEQPACKET, SocketFlags::empty());
    let (ours, theirs) = pair.map_err(Error::of("socketpair"))?;
    let mut shared = Box::new(Shared {
        prepared: prepare(program, limits, inherited)?,
        socket: theirs.as_raw_fd(),
        stack: Vec::with_capacity(STACK / size_of::<u128>()),
    });
    // SAFETY: this function and its callers keep `shared` until the child's execve or end, and never change it.
    let pid = unsafe { share(&mut shared) }.map_err(Error::of("clone"))?;
    drop(theirs);
    let listens = || {
        let pidfd = raw::pidfd_open(pid).map_err(Error::of("pidfd_open"))?;
        Ok((pidfd, Listener::new(first_word(&ours)?)))
    };
    let (pidfd, (listener, sync)) = listens().inspect_err(|_| reap(pid))?;
    Ok(Child {
        pid,
        pidfd,
        listener,
        sync,
        their_socket: shared.socket,
        socket: ours,
        _shared: shared,
    })
}

/// Starts a process that runs [`child`], and returns its id. Like a child of vfork, it shares this process's
/// memory until its execve: copying the page tables, and the faults afterwards, would take longer than the rest
/// of the start. Unlike vfork, this process goes on, since it answers the child's first call.
///
/// # Safety
/// `shared` stays unchanged until the child's execve or end.
unsafe fn share(shared: &mut Shared<'_>) -> Result<u32, Errno> {
    extern "C" fn run(shared: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the parent keeps the value; the descriptor is open in the child.
        unsafe {
            let shared = &*shared.cast::<Shared<'_>>();
            child(&shared.prepared, BorrowedFd::borrow_raw(shared.socket))
        }
    }
    let stack = shared.stack.spare_capacity_mut().as_mut_ptr_range().end;
    // SAFETY: the stack is unused memory, aligned to 16 bytes. The child makes only async-signal-safe calls. It
    // resets the handlers of signals before it unblocks them, so no handler uses the shared memory. Both processes
    // have one errno, but only the child makes calls that fail: execve, while this process waits for its outcome.
    let pid = with_signals_blocked(|| unsafe {
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        libc::clone(run, stack.cast(), flags, (&raw mut *shared).cast())
    });
    raw::check(pid).map(libc::pid_t::cast_unsigned)
}

/// Starts a child, tries the supervisor's powers on it, and waits until it has executed the program.
pub(crate) fn spawn<'a>(
    may: &MayBlock,
    program: &Program,
    limits: (Rlimit, FdRange),
    inherited: &'a Inherited,
) -> Result<(Child<'a>, Powers), Error> {
    let child = start(program, limits, inherited)?;
    let mut powers = Powers::untried();
    powers.try_on(may, &child, false);
    let executed = powers.suffice().and_then(|()| executed(&child.socket));
    executed.inspect_err(|_| reap(child.pid))?;
    Ok((child, powers))
}

/// Forks, and returns the child's process id. The child runs `in_child` and exits.
///
/// # Safety
/// `in_child` makes only async-signal-safe calls, on memory that was made before.
pub(crate) unsafe fn fork(in_child: impl FnOnce()) -> Result<libc::pid_t, Errno> {
    // SAFETY: as the caller promises.
    unsafe {
        let pid = raw::check(libc::fork())?;
        if pid == 0 {
            in_child();
            libc::_exit(0);
        }
        Ok(pid)
    }
}

/// Kills and reaps a child that the supervisor cannot serve.
pub(crate) fn reap(pid: u32) {
    raw::kill(pid, libc::SIGKILL);
    await_child(pid.cast_signed());
}

/// Waits for a child of this process that was killed or told to end.
#[expect(
    clippy::disallowed_methods,
    reason = "waits for the supervisor's own child, which was killed or told to end"
)]
pub(crate) fn await_child(pid: libc::pid_t) {
    let pid = Pid::from_raw(pid);
    while waitpid(pid, WaitOptions::empty()).is_err_and(|e| e == rustix::io::Errno::INTR) {}
}

/// Receives a message from the child: kind, number, optional descriptor. `None` if the socket was closed.
fn receive(socket: &OwnedFd) -> Result<Option<(u8, i32, Option<OwnedFd>)>, Error> {
    let mut text = [0u8; 5];
    let received = raw::receive(socket.as_fd(), &mut text, 1, RecvFlags::empty());
    let (len, mut fds) = received.map_err(Error::of("recvmsg"))?;
    if len < text.len() {
        return Ok(None);
    }
    let [kind, number @ ..] = text;
    Ok(Some((kind, i32::from_ne_bytes(number), fds.pop())))
}

/// Receives a child's first message: its listener, or why it has none.
fn first_word(socket: &OwnedFd) -> Result<OwnedFd, Error> {
    let failed = |errno| Error::System {
        call: "start of the child",
        errno,
    };
    match receive(socket)?.ok_or(failed(libc::ECHILD))? {
        (SAYS_READY, _, Some(listener)) => Ok(listener),
        (SAYS_NO_FILTER, errno, _) => Err(Error::of_filter(Errno(errno))),
        (_, errno, _) => Err(failed(errno)),
    }
}

/// Waits until the child's execve succeeds or fails.
fn executed(socket: &OwnedFd) -> Result<(), Error> {
    // A successful execve closes the socket.
    match receive(socket)? {
        None => Ok(()),
        Some((SAYS_NO_EXEC, libc::ENOENT, _)) => Err(Error::NotFound),
        Some((_, errno, _)) => Err(Error::Exec { errno }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::alone;

    #[test]
    fn child_copies_no_memory_before_its_execve() {
        const KCMP_VM: libc::c_long = 1;
        let _alone = alone();
        let inherited = Inherited::take(&[]);
        let child = start(&Program::new("/"), limits(), &inherited).expect("a child");
        // SAFETY: the call has no pointers.
        let order =
            unsafe { libc::syscall(libc::SYS_kcmp, libc::getpid(), child.pid, KCMP_VM, 0, 0) };
        reap(child.pid);
        // Negative where the system forbids the comparison.
        assert!(order <= 0, "{order}");
    }
}
