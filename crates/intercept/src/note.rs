//! What a person may want to know about a run.

use core::fmt;

use crate::kernel::nr;

/// A remark on a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Every notified call costs two wake-ups across CPUs (Linux before 6.6).
    NoSyncWakeUp,
    /// Threads cannot be stopped (PTRACE_SEIZE refused): buffers cannot be mapped.
    NoStop {
        /// What the kernel said.
        errno: i32,
    },
    /// The memory of a program may not be read: it sees no devices.
    Unreadable {
        /// The process.
        pid: u32,
    },
    /// Descriptors of programs cannot be borrowed (pidfd_getfd and ptrace refused): no epoll on
    /// device files, and polls of device files together with others see the device files only.
    NoBorrow {
        /// What the kernel said.
        errno: i32,
    },
    /// What a process does to memory that it has given to a device is not seen: the device reaches
    /// it by address.
    NoPins {
        /// The process.
        pid: u32,
        /// What the kernel said.
        errno: i32,
    },
    /// A buffer could not be mapped: the calling thread cannot be stopped.
    MapRefused {
        /// The thread.
        tid: u32,
        /// What PTRACE_SEIZE said; EPERM where strace or a debugger is attached.
        errno: i32,
    },
    /// A mapping was begun and the thread did not come to where it was expected.
    MapLost {
        /// The thread.
        tid: u32,
    },
    /// Mappings of revoked memory stay as they are: a process cannot be made to put others there.
    MappingsStay {
        /// The process.
        pid: u32,
        /// What the kernel said; EPERM also for one with a seccomp filter of its own.
        errno: i32,
    },
    /// The generated tree for /sys could not be made.
    NoSysfs {
        /// What the system said.
        errno: i32,
    },
    /// The program asked for an io_uring, by which its calls would pass the devices by.
    NoIoUring,
    /// A program copies a device's descriptor to a number at which not every call on it is seen.
    OrdinaryNumber {
        /// The process.
        pid: u32,
        /// The copy's number, 3 or more.
        number: u32,
    },
    /// A 32-bit program opens files: it sees no devices, and those that the machine has are not
    /// hidden from it.
    OtherCalls {
        /// The process.
        pid: u32,
    },
    /// Calls of a process take long in what is the program's own: a page that nobody fills, a file
    /// system that does not answer.
    Stalled {
        /// The process.
        pid: u32,
        /// The number of the system call.
        nr: i64,
        /// How many of its calls stand so.
        calls: usize,
    },
    /// As many calls stall as there may be threads: all others wait until one of them goes on.
    NobodyServes {
        /// How many.
        calls: usize,
        /// The process of the one that has stalled longest.
        pid: u32,
        /// The number of its system call.
        nr: i64,
    },
    /// A process is still running although the program has ended.
    LeftOver {
        /// Which.
        pid: u32,
        /// Its name, cut by the kernel and ended with zeros.
        name: [u8; 16],
        /// It will be ended; the run waits for it otherwise.
        is_ended: bool,
    },
    /// Close events are lost; closes are looked for by the clock.
    NoInotify {
        /// What the kernel said.
        errno: i32,
    },
}

impl Note {
    /// Whether it tells of all programs, so that it is worth hearing after any number about single ones.
    #[must_use]
    pub const fn is_of_all_programs(self) -> bool {
        matches!(self, Self::NobodyServes { .. })
    }

    /// Whether it matters to someone who only wants the program to run.
    #[must_use]
    pub const fn is_warning(self) -> bool {
        matches!(
            self,
            Self::LeftOver { .. }
                | Self::OtherCalls { .. }
                | Self::Stalled { .. }
                | Self::NobodyServes { .. }
                | Self::MapRefused { .. }
                | Self::MapLost { .. }
                | Self::MappingsStay { .. }
                | Self::NoStop { .. }
                | Self::NoBorrow { .. }
                | Self::NoSysfs { .. }
                | Self::Unreadable { .. }
        )
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |errno| std::io::Error::from_raw_os_error(errno);
        match *self {
            Self::NoSyncWakeUp => f.write_str(
                "calls on devices are slow: Linux 6.6 or newer makes them ten times faster",
            ),
            Self::NoBorrow { errno } => write!(
                f,
                "epoll on devices, and polls of devices together with sockets or other events, do \
                 not work here, pidfd_getfd is refused: {} (in a container, --cap-add SYS_PTRACE)",
                text(errno)
            ),
            Self::NoStop { errno } => write!(
                f,
                "buffers of devices cannot be mapped here, ptrace is refused: {} (in a container, \
                 --cap-add SYS_PTRACE; or let the program use read() or user pointers)",
                text(errno)
            ),
            Self::Unreadable { pid } => write!(
                f,
                "process {pid} sees no devices, its memory may not be read (a program without \
                 read permission, or one that changed its user or made itself undumpable)"
            ),
            Self::NoPins { pid, errno } => write!(
                f,
                "process {pid} gives memory of its own to a device, which is reached by address here, \
                 userfaultfd is refused: {}; what the program maps there before the device is done \
                 is overwritten",
                text(errno)
            ),
            Self::MapRefused { tid, errno } => write!(
                f,
                "a buffer was not mapped: thread {tid} cannot be stopped: {} (strace or a \
                 debugger attached to it, or ptrace forbidden here; attach after the buffers \
                 are mapped, or use read() or user pointers)",
                text(errno)
            ),
            Self::MapLost { tid } => {
                write!(
                    f,
                    "a buffer was not mapped: thread {tid} ended or was stopped meanwhile"
                )
            }
            Self::MappingsStay { pid, errno } => write!(
                f,
                "process {pid} reads zeroes in revoked memory and does not fault: it cannot be stopped: \
                 {} (strace or a debugger attached to it, a seccomp filter of its own, or ptrace \
                 forbidden here)",
                text(errno)
            ),
            Self::NoSysfs { errno } => write!(
                f,
                "programs that look for devices by udev or /sys find none: no directory can be made \
                 for generated files, in TMPDIR or elsewhere: {} (set TMPDIR to one that can be \
                 written)",
                text(errno)
            ),
            Self::NoIoUring => f.write_str(
                "io_uring is refused (ENOSYS): calls made through it would not reach the devices",
            ),
            Self::OrdinaryNumber { pid, number } => write!(
                f,
                "process {pid} copies a device to descriptor {number}: read and write fail there \
                 (EINVAL), ioctl, mmap, poll, select and epoll work (let it copy to standard input, \
                 or use the number that open gave)"
            ),
            Self::OtherCalls { pid } => write!(
                f,
                "process {pid} is a 32-bit program: it sees none of the devices here, and those \
                 that this machine has itself (use a 64-bit build of it)"
            ),
            Self::Stalled { pid, nr, calls } => write!(
                f,
                "process {pid} waits for itself: {calls} of its calls ({} first) wait for its own \
                 memory or a file system that does not answer; others go on",
                name_of(nr)
            ),
            Self::NobodyServes { calls, pid, nr } => write!(
                f,
                "{calls} calls wait for their programs' own memory or file systems, as many as can \
                 be served at a time: calls of all others wait until one of those programs goes on \
                 or is ended, such as process {pid}, which has waited longest (in {})",
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
                    "the program has ended; {name} ({pid}), which it started, still runs; vb3 {done}"
                )
            }
            Self::NoInotify { errno } => {
                write!(
                    f,
                    "closed files are noticed late, inotify is refused: {}",
                    text(errno)
                )
            }
        }
    }
}

/// A system call's name, of those that may stall.
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
