//! OFD locks, which show whether an open file description still exists.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use vb3_frontend::{Errno, FdIdentity};

use crate::kernel::raw;

/// The OFD locks of all files at one time.
#[derive(Debug)]
pub(crate) struct LockTable {
    /// For each file, the first byte of each lock on it.
    pub(super) of: HashMap<FdIdentity, HashSet<i64>>,
    /// When the reading of the list began.
    pub(super) begun: Instant,
    pub(super) took: Duration,
}

impl LockTable {
    /// Reads the kernel's list. This takes milliseconds with thousands of locks, so the caller must hold
    /// no lock of the supervisor.
    pub(crate) fn read() -> Self {
        let begun = Instant::now();
        let text = raw::proc_string("/proc/locks");
        let mut of: HashMap<FdIdentity, HashSet<i64>> = HashMap::new();
        for (id, byte, _) in text.lines().filter_map(listed_lock) {
            of.entry(id).or_default().insert(byte);
        }
        let took = begun.elapsed();
        Self { of, begun, took }
    }
}

/// Returns the OFD locks of a description of a memfd: for each the file, and the first and last byte.
pub(super) fn own_locks(description: BorrowedFd<'_>) -> Vec<(FdIdentity, i64, i64)> {
    let info = raw::proc_string(&format!("/proc/self/fdinfo/{}", description.as_raw_fd()));
    let lines = info.lines().filter_map(|line| line.strip_prefix("lock:"));
    lines.filter_map(listed_lock).collect()
}

/// Parses the line of an OFD lock in /proc/locks or fdinfo: the file, and the first and last byte.
fn listed_lock(line: &str) -> Option<(FdIdentity, i64, i64)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    (words.next()? == "OFDLCK").then_some(())?;
    let mut file = words.nth(3)?.split(':');
    let major = u32::from_str_radix(file.next()?, 16).ok()?;
    let minor = u32::from_str_radix(file.next()?, 16).ok()?;
    let ino = file.next()?.parse().ok()?;
    let dev = libc::makedev(major, minor);
    let first = words.next()?.parse().ok()?;
    // The last byte is "EOF" for a lock without an end.
    let last = words.next()?.parse().unwrap_or(i64::MAX);
    Some((FdIdentity { dev, ino }, first, last))
}

/// Returns a range of `len` bytes for a lock; 0 stands for all bytes that follow.
pub(super) fn range(kind: libc::c_int, first: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: first,
        l_len: len,
        l_pid: 0,
    }
}

pub(super) fn lock(fd: BorrowedFd<'_>, flags: i32, byte: i64) -> Result<(), Errno> {
    let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
    let kind = if writable {
        libc::F_WRLCK
    } else {
        libc::F_RDLCK
    };
    raw::ofd_lock(fd, libc::F_OFD_SETLK, &mut range(kind, byte, 1))
}

/// Adds the bytes of the sorted `run` that are no longer locked to `unlocked`. One query covers many
/// neighbours that ended together, since the kernel searches all locks of the file for each query.
pub(super) fn find_unlocked(probe: BorrowedFd<'_>, run: &[i64], unlocked: &mut HashSet<i64>) {
    let mut runs = vec![run];
    while let Some(run) = runs.pop() {
        let (Some(&first), Some(&last)) = (run.first(), run.last()) else {
            continue;
        };
        let Some(byte) = locked_in(probe, first, last) else {
            unlocked.extend(run);
            continue;
        };
        // The kernel reports any locked byte of the range, not always the first.
        let before = run.partition_point(|&other| other < byte);
        let (before, rest) = run.split_at(before);
        runs.extend([before, rest.strip_prefix(&[byte]).unwrap_or(rest)]);
    }
}

/// Returns one locked byte in `first..=last`, or `None` if none is locked.
fn locked_in(probe: BorrowedFd<'_>, first: i64, last: i64) -> Option<i64> {
    let mut lock = range(libc::F_WRLCK, first, last - first + 1);
    let asked = raw::ofd_lock(probe, libc::F_OFD_GETLK, &mut lock);
    let is_locked = asked.is_ok() && lock.l_type != libc::F_UNLCK as libc::c_short;
    is_locked.then_some(lock.l_start.clamp(first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_list_line_is_parsed() {
        let line = "7: OFDLCK ADVISORY  WRITE -1 00:01:1035 12 12";
        let id = FdIdentity {
            dev: libc::makedev(0, 1),
            ino: 1035,
        };
        assert_eq!(listed_lock(line), Some((id, 12, 12)));
        let waits = "7: -> OFDLCK ADVISORY  WRITE -1 00:01:1035 12 12";
        assert_eq!(listed_lock(waits), None);
        assert_eq!(
            listed_lock("1: POSIX  ADVISORY  WRITE 9 00:01:7 0 EOF"),
            None
        );
    }
}
