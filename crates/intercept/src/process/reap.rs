//! Ends of processes: the program's own, and orphans that have become our children.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::kernel::MayBlock;
use crate::kernel::field;
use crate::kernel::raw;

/// Takes the exit status of `pidfd`'s process, if it is our child and has ended; whether it is,
/// the kernel knows.
pub(crate) fn try_reap(pidfd: &OwnedFd) -> Option<Ended> {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), ended).ok()??;
    let by_exit = status.exit_status().map(Ended::Status);
    by_exit.or_else(|| status.terminating_signal().map(Ended::Signal))
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By exit.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

/// Reaps ended children that ran under the filter, orphans above all: those that were never seen
/// calling, and those whose end was seen while they had another parent.
///
/// Before Linux 6.11 a process that has ended and was not reaped still counts as one that may
/// call. Children of other kinds are left to whoever started them, and so are those that `spares`
/// names.
pub(crate) fn sweep(spares: impl Fn(u32) -> bool) {
    let own = filters("self").unwrap_or(0);
    for pid in children("self") {
        if filters(&pid).is_some_and(|filters| filters > own)
            && let Ok(pid) = pid.parse::<u32>()
            && !spares(pid)
            && let Ok(pid) = raw::pid_of(pid)
        {
            let exited = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            // It may have been reaped by now.
            waitid(WaitId::Pid(pid), exited).ok();
        }
    }
}

/// Most processes that are looked for.
const MOST: usize = 1 << 16;

/// A process of a program that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) pid: u32,
    /// Its session; 0 for one that began outside this pid namespace.
    pub(crate) session: u32,
}

/// Processes of programs that have not ended: descendants of this one that are under a filter
/// more than it is. Children that `spares` names are left out, with what they have started.
pub(crate) fn programs(
    may: &mut MayBlock,
    mut spares: impl FnMut(&mut MayBlock, u32) -> bool,
) -> Vec<Left> {
    let own = filters("self").unwrap_or(0);
    let mut found = Vec::new();
    let mut todo = vec!["self".to_owned()];
    while let Some(parent) = todo.pop() {
        let children = children(&parent);
        for child in children {
            let ours = filters(&child).is_some_and(|filters| filters > own);
            let Some(pid) = child.parse().ok().filter(|&pid| ours && !spares(may, pid)) else {
                continue;
            };
            if found.len() < MOST {
                found.extend(session(&child).map(|session| Left { pid, session }));
                todo.push(child);
            }
        }
    }
    found
}

/// The children of all threads of a process.
fn children(pid: &str) -> Vec<String> {
    let threads = raw::proc_numbers(&format!("/proc/{pid}/task"));
    let lists = threads
        .into_iter()
        .map(|tid| raw::proc_string(&format!("/proc/{pid}/task/{tid}/children")));
    lists
        .flat_map(|list| {
            let pids = list.split_ascii_whitespace().map(str::to_owned);
            pids.collect::<Vec<_>>()
        })
        .collect()
}

/// The session of a process that has not ended.
pub(crate) fn session(pid: &str) -> Option<u32> {
    let stat =
        String::from_utf8_lossy(&raw::proc_text(&format!("/proc/{pid}/stat")).ok()?).into_owned();
    // The name before may hold anything, also a parenthesis.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let has_ended = fields.next()?.starts_with(['Z', 'X']);
    let (_parent, _group) = (fields.next(), fields.next());
    fields.next()?.parse().ok().filter(|_| !has_ended)
}

/// The name of a process, ended with zeros.
pub(crate) fn name_of(pid: u32) -> [u8; 16] {
    let mut name = [0; 16];
    let text = raw::proc_text(&format!("/proc/{pid}/comm")).unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    for (to, from) in name.iter_mut().zip(text) {
        *to = *from;
    }
    name
}

/// Whether a thread is under a filter that is neither ours nor one that we are under: it may not
/// expect calls that we would have it make.
pub(crate) fn has_filter_of_its_own(tid: u32) -> bool {
    let own = filters("self").unwrap_or(0);
    filters(&tid.to_string()).is_none_or(|filters| filters > own + 1)
}

/// How many seccomp filters a process has.
fn filters(pid: &str) -> Option<u64> {
    let file = raw::open(
        &raw::c_path(&format!("/proc/{pid}/status")).ok()?,
        libc::O_RDONLY,
    )
    .ok()?;
    field(
        &raw::read_small(file.as_fd(), 4096).ok()?,
        "Seccomp_filters:",
        10,
    )
}
