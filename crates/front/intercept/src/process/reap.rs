//! Reaps ended processes: the program itself, and orphans that became children of the supervisor.

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::kernel::{MayBlock, procs, raw};
use crate::process::guard::{SESSION, stat_field};
use crate::program::ExitReport;

/// Reaps `pidfd`'s process, and returns how it ended; `None` if it still runs or is not a child.
pub(crate) fn try_reap(pidfd: &OwnedFd) -> Option<ExitReport> {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), ended).ok()??;
    ExitReport::of(status.exit_status(), status.terminating_signal())
}

/// Reaps ended children that ran under the run's seccomp filter, except those for which `spares` is true.
///
/// Most are orphans. Some never made a call that the filter reports, so the supervisor does not know them.
/// Others ended while they still had another parent. Before Linux 6.11, an ended process keeps its filter
/// until it is reaped. Until then, the kernel does not report that no program is left. Children without the
/// filter are left to the code that started them.
pub(crate) fn sweep(spares: impl Fn(u32) -> bool) {
    let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, looks), Ok(Some(_))) {
        return;
    }
    let own = filters("self").unwrap_or(0);
    for pid in procs::children("self") {
        if filters(pid).is_some_and(|filters| filters > own)
            && !spares(pid)
            && let Ok(pid) = raw::pid_of(pid)
        {
            let exited = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            // An error means that another thread has reaped the child.
            waitid(WaitId::Pid(pid), exited).ok();
        }
    }
}

/// A running process of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) pid: u32,
    /// The id of its session, or 0 if the session began outside this pid namespace.
    pub(crate) session: u32,
}

/// Returns the programs' running processes: descendants with more seccomp filters than this process.
/// Skips processes for which `spares` is true, and their descendants.
pub(crate) fn programs(
    may: &mut MayBlock,
    mut spares: impl FnMut(&mut MayBlock, u32) -> bool,
) -> Vec<Left> {
    let own = filters("self").unwrap_or(0);
    let is_meant = |pid| filters(pid).is_some_and(|filters| filters > own) && !spares(may, pid);
    let left = |pid| session(pid).map(|session| Left { pid, session });
    let programs = procs::descendants(is_meant).into_iter();
    programs.filter_map(left).collect()
}

/// Returns a process's session id, or `None` if the process has ended.
pub(crate) fn session(pid: impl Display) -> Option<u32> {
    let of = |path: String| {
        let stat = raw::proc_text(&path).ok()?;
        u32::try_from(stat_field(&stat, SESSION)?).ok()
    };
    of(format!("/proc/{pid}/stat")).or_else(|| {
        // The first thread may end before the others.
        let mut threads = raw::proc_numbers(&format!("/proc/{pid}/task")).into_iter();
        threads.find_map(|thread| of(format!("/proc/{pid}/task/{thread}/stat")))
    })
}

/// Returns a process's name, padded with zeros.
pub(crate) fn name_of(pid: u32) -> [u8; 16] {
    let mut name = [0; 16];
    let text = raw::proc_text(&format!("/proc/{pid}/comm")).unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    for (to, from) in name.iter_mut().zip(text) {
        *to = *from;
    }
    name
}

/// Returns whether a thread has a seccomp filter besides the run's. Such a filter may reject the calls that
/// the thread executes for the supervisor.
pub(crate) fn has_filter_of_its_own(tid: u32) -> bool {
    let own = filters("self").unwrap_or(0);
    filters(tid).is_none_or(|filters| filters > own + 1)
}

fn filters(pid: impl Display) -> Option<u64> {
    procs::status(pid, "Seccomp_filters:").ok()
}
