//! Resource limits of a worker process.
//!
//! Before a worker reads input, it is confined: it keeps only the few system calls that codec libraries need.
//! It can then start no threads, so a decoder starts its threads before. x265 starts threads at set-up. So a worker
//! with x265 is first set up, with checked settings, and then confined (`Kind::is_set_up_once`).

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Largest address space, in bytes: several times the size of 16 pictures of the maximum size.
const ADDRESS_SPACE: u64 = 2 << 30;
/// Largest CPU time of one job or one of its pictures, in seconds.
const JOB_SECONDS: u64 = 20;
/// Shortest interval between two readings of the CPU time. A job that begins earlier does not get a new limit: its
/// CPU time then includes what the process has used since the last reading.
const READ_INTERVAL: Duration = Duration::from_millis(100);

fn lower(resource: Resource, limit: u64) -> Result<(), Errno> {
    let before = getrlimit(resource);
    let limit = before.maximum.map_or(limit, |most| most.min(limit));
    let both = Some(limit);
    setrlimit(
        resource,
        Rlimit {
            current: both,
            maximum: both,
        },
    )
}

/// Signals that a user or a service manager sends to all processes of a run, which may still need the worker, and
/// SIGTTOU, which stops a background process that writes to the terminal.
const IGNORED: [libc::c_int; 5] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGTTOU,
];

/// Limits this process permanently: it dies with its parent, and not by users' signals. It writes no core
/// file and gains no privileges.
#[expect(unsafe_code, reason = "ignores signals, which rustix cannot")]
pub(crate) fn apply() -> Result<(), Errno> {
    for signal in IGNORED {
        // SAFETY: SIG_IGN installs no handler, so no code of this process runs when the signal comes.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    lower(Resource::Core, 0)?;
    lower(Resource::As, ADDRESS_SPACE)?;
    // The size of files is not limited: the process can open none, and a limit would apply to standard error.
    Ok(())
}

/// Confines all threads of this process permanently. They can open no files, start no processes or
/// threads, and use no network. Call it before reading untrusted input.
pub(crate) fn confine() -> Result<(), Errno> {
    // seccompiler does not support all architectures. Where it does not, there is no filter.
    match filter() {
        Some(program) => apply_filter_all_threads(&program).map_err(|_| Errno::PERM),
        None => Ok(()),
    }
}

/// The allowed system calls: on the process's memory, socket, threads and time, and exit.
const CALLS: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    // A thread that is still starting makes this call. If the call failed, glibc would end the process.
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_set_robust_list,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Returns the seccomp filter. Calls outside [`CALLS`] fail with EPERM, except prlimit64 and tgkill on this
/// process.
fn filter() -> Option<BpfProgram> {
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let own = u64::from(std::process::id());
    for (call, who) in [(libc::SYS_prlimit64, 0), (libc::SYS_tgkill, own)] {
        let on_itself =
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, who).ok()?;
        rules.insert(call, vec![SeccompRule::new(vec![on_itself]).ok()?]);
    }
    let refuse = SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs());
    let arch = std::env::consts::ARCH.try_into().ok()?;
    let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch).ok()?;
    filter.try_into().ok()
}

/// Gives the next job or picture its CPU time. When it has been used up, SIGXCPU ends the process.
pub(crate) fn begin_job() {
    /// When the CPU time was last read, and its seconds.
    static READ: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    // Needs no system call, unlike the CPU time.
    let now = Instant::now();
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if read.is_some_and(|(at, _)| now - at < READ_INTERVAL) {
        return;
    }
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    let used = u64::try_from(used).unwrap_or(0);
    let before = read.replace((now, used));
    if before.is_some_and(|(_, before)| before == used) {
        return;
    }
    let maximum = getrlimit(Resource::Cpu).maximum;
    let until = used.saturating_add(JOB_SECONDS);
    let current = Some(maximum.map_or(until, |most| most.min(until)));
    let _ = setrlimit(Resource::Cpu, Rlimit { current, maximum });
}
