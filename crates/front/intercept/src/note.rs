//! Notes for the user about a run.

use core::fmt;

use crate::kernel::nr;
use vb3_frontend::Errno;

/// A note about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Each reported call costs two wake-ups of another CPU (before Linux 6.6).
    NoSyncWakeUp,
    /// Threads cannot be stopped (PTRACE_SEIZE refused), so buffers cannot be mapped.
    NoPtrace(Errno),
    /// The supervisor is not allowed to read this process's memory, so the process sees no devices.
    Unreadable(u32),
    /// Descriptors of programs cannot be borrowed (pidfd_getfd and ptrace refused). Epoll does not
    /// work on device files. A poll of device files and other descriptors sees the device files only.
    NoPidfdGetfd(Errno),
    /// A buffer could not be mapped, since the calling thread cannot be stopped.
    MapRefused {
        /// The thread.
        tid: u32,
        /// The errno of PTRACE_SEIZE; EPERM if strace or a debugger is attached.
        errno: Errno,
    },
    /// This thread did not reach the expected ptrace stop while its mmap was rewritten.
    MapLost(u32),
    /// The directory with the generated files for /sys could not be made.
    NoSysfs(Errno),
    /// The program asked for an io_uring, whose calls would bypass the devices.
    NoIoUring,
    /// A device has a descriptor whose number is not reserved. At this number, read and write fail (EINVAL),
    /// because the filter does not report them.
    OrdinaryNumber {
        /// The process.
        pid: u32,
        /// The descriptor's number, 3 or more.
        number: u32,
    },
    /// This process of a 32-bit program opens files. It sees the system's devices instead of the simulated ones.
    OtherCalls(u32),
    /// Calls of a process are blocked by a page (userfaultfd) or a file system (FUSE) that a program serves.
    Stalled {
        /// The process.
        pid: u32,
        /// The number of the system call.
        nr: i64,
        /// How many calls of the process block.
        calls: usize,
    },
    /// All threads of the supervisor are blocked in calls. New calls wait for a free thread.
    NobodyServes {
        /// How many calls block.
        calls: usize,
        /// The process whose call has blocked longest.
        pid: u32,
        /// The number of this system call.
        nr: i64,
    },
    /// A process still runs although the program has ended.
    LeftOver {
        /// The process.
        pid: u32,
        /// The process's name, truncated by the kernel and padded with zeros.
        name: [u8; 16],
        /// Whether the run ends it. Otherwise the run waits for it.
        is_ended: bool,
    },
    /// Close events cannot be received, so closes are noticed by regular checks.
    NoInotify(Errno),
}

impl Note {
    /// Returns whether the note concerns all programs. If so, it is shown even after many notes about single
    /// programs.
    #[must_use]
    pub const fn is_of_all_programs(self) -> bool {
        matches!(self, Self::NobodyServes { .. })
    }

    /// Returns whether the note matters to a user who only wants the program to run.
    #[must_use]
    pub const fn is_warning(self) -> bool {
        !matches!(
            self,
            Self::NoSyncWakeUp | Self::NoIoUring | Self::OrdinaryNumber { .. } | Self::NoInotify(_)
        )
    }
}

/// `{:#}` leaves the numbers of processes and threads out. These numbers differ between runs that are otherwise
/// equal.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_general = f.alternate();
        let who = |what: &str, id: u32| match is_general {
            true => format!("a {what}"),
            false => format!("{what} {id}"),
        };
        match *self {
            Self::NoSyncWakeUp => f.write_str(
                "calls on devices are slow: Linux 6.6 or newer makes them ten times faster",
            ),
            Self::NoPidfdGetfd(errno) => write!(
                f,
                "epoll on devices, and polls of devices together with sockets or other events, do \
                 not work here: pidfd_getfd is refused: {errno} (in a container, --cap-add SYS_PTRACE)"
            ),
            Self::NoPtrace(errno) => write!(
                f,
                "buffers of devices cannot be mapped here: ptrace is refused: {errno} (in a container, \
                 --cap-add SYS_PTRACE; or let the program use read() or user pointers)"
            ),
            Self::Unreadable(pid) => write!(
                f,
                "{} sees no devices: its memory may not be read (the program has no read \
                 permission, changed its user or made itself undumpable)",
                who("process", pid)
            ),
            Self::MapRefused { tid, errno } => write!(
                f,
                "a buffer was not mapped: {} cannot be stopped: {errno} (strace or a \
                 debugger is attached, or ptrace is forbidden; attach after the buffers are \
                 mapped, or use read() or user pointers)",
                who("thread", tid)
            ),
            Self::MapLost(tid) => write!(
                f,
                "a buffer was not mapped: {} ended or was stopped during the call",
                who("thread", tid)
            ),
            Self::NoSysfs(errno) => write!(
                f,
                "programs find no devices with udev or in /sys: no directory for generated files can \
                 be made in TMPDIR or elsewhere: {errno} (set TMPDIR to a writable directory)"
            ),
            Self::NoIoUring => {
                f.write_str("io_uring is refused (ENOSYS): its calls would not reach the devices")
            }
            Self::OrdinaryNumber { pid, number } => write!(
                f,
                "{} has a device at descriptor {number}: read and write fail there (EINVAL); ioctl, mmap, \
                 poll, select and epoll work (let it keep its limit of open files and the number that open \
                 returned, or copy the device to standard input)",
                who("process", pid)
            ),
            Self::OtherCalls(pid) => write!(
                f,
                "{} is a 32-bit program: it sees this system's own devices instead of the \
                 simulated ones (use a 64-bit build)",
                who("process", pid)
            ),
            Self::Stalled { pid, nr, calls } => write!(
                f,
                "{} blocks itself: {calls} of its calls (first {}) wait for its own \
                 memory, or for a file system that does not answer; other processes continue",
                who("process", pid),
                name_of(nr)
            ),
            Self::NobodyServes { calls, pid, nr } => write!(
                f,
                "{calls} calls, the most at one time, wait for their programs' own memory or file \
                 systems: all other calls wait until one of those programs continues or is killed; \
                 {} has waited longest (in {})",
                who("process", pid),
                name_of(nr)
            ),
            Self::LeftOver {
                pid,
                name,
                is_ended,
            } => {
                let name: Vec<u8> = name.into_iter().take_while(|&byte| byte != 0).collect();
                let name = String::from_utf8_lossy(&name);
                let done = if is_ended { "ends it" } else { "waits for it" };
                write!(
                    f,
                    "the program has ended; {name} ({}), which it started, still runs; vb3 {done}",
                    who("process", pid)
                )
            }
            Self::NoInotify(errno) => write!(
                f,
                "closed files are noticed late: inotify is refused: {errno}"
            ),
        }
    }
}

fn name_of(nr: i64) -> std::borrow::Cow<'static, str> {
    let names = [
        (libc::SYS_ioctl, "ioctl"),
        (libc::SYS_mmap, "mmap"),
        (libc::SYS_openat, "openat"),
        (libc::SYS_newfstatat, "newfstatat"),
        (libc::SYS_statx, "statx"),
        (libc::SYS_readlinkat, "readlinkat"),
        (libc::SYS_ppoll, "ppoll"),
        (libc::SYS_pselect6, "pselect6"),
        (libc::SYS_epoll_ctl, "epoll_ctl"),
        (libc::SYS_read, "read"),
        (libc::SYS_write, "write"),
        (nr::OPEN, "open"),
        (nr::STAT, "stat"),
        (nr::POLL, "poll"),
        (nr::SELECT, "select"),
        (nr::ACCESS, "access"),
    ];
    names
        .into_iter()
        .find(|&(number, _)| number == nr)
        .map_or_else(|| format!("call {nr}").into(), |(_, name)| name.into())
}

#[cfg(test)]
mod tests {
    use super::Note;

    #[test]
    fn a_report_needs_no_numbers_of_processes() {
        let note = Note::Unreadable(7);
        assert!(note.to_string().starts_with("process 7 sees"));
        assert!(format!("{note:#}").starts_with("a process sees"));
    }
}
