//! System calls that the standard library lacks, with owned descriptors and errno values.
//!
//! A program "serves" a file if the file is in a FUSE file system. Calls on other files do not block.

#![expect(
    clippy::disallowed_methods,
    reason = "wrappers for may_block, and for /proc, which never blocks"
)]

use std::ffi::{CStr, CString};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::kernel::field;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, MemfdFlags, Mode, OFlags, SeekFrom, Stat, StatxFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::path::Arg;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process};
use vb3_frontend::{Errno, FdIdentity};

/// The flag of `pidfd_open` for a single thread (Linux 6.9).
const PIDFD_THREAD: u32 = libc::O_EXCL.cast_unsigned();

pub(crate) fn errno() -> Errno {
    of_io(&std::io::Error::last_os_error())
}

/// Returns the errno of an error of the standard library, or EIO if it has none.
pub(crate) fn of_io(e: &std::io::Error) -> Errno {
    Errno(e.raw_os_error().unwrap_or(libc::EIO))
}

pub(crate) fn err(e: rustix::io::Errno) -> Errno {
    Errno(e.raw_os_error())
}

pub(crate) fn pid_of(pid: u32) -> Result<Pid, Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or(Errno(libc::ESRCH))
}

/// Sends a signal to a descendant process. Does nothing if it has ended.
pub(crate) fn kill(pid: u32, signal: i32) {
    if let (Ok(pid), Some(signal)) = (pid_of(pid), Signal::from_named_raw(signal)) {
        kill_process(pid, signal).ok();
    }
}

/// Sends a signal to one thread of a process. Ignores errors: the thread may have ended.
pub(crate) fn kill_thread(pid: u32, tid: u32, signal: i32) {
    // SAFETY: takes integers.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) };
}

/// Turns −1 into the errno.
pub(crate) fn check<T: PartialOrd + From<i8>>(ret: T) -> Result<T, Errno> {
    if ret < T::from(0) {
        Err(errno())
    } else {
        Ok(ret)
    }
}

/// Opens a process's pidfd. Returns ESRCH if there is no such process, or EINVAL/ENOENT if `pid` is
/// not a process leader.
pub(crate) fn pidfd_open(pid: u32) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_open(pid_of(pid)?, PidfdFlags::empty()).map_err(err)
}

/// Opens the pidfd of a single thread. Returns EINVAL before Linux 6.9.
pub(crate) fn pidfd_open_thread(tid: u32) -> Result<OwnedFd, Errno> {
    let flags = PidfdFlags::from_bits_retain(PIDFD_THREAD);
    rustix::process::pidfd_open(pid_of(tid)?, flags).map_err(err)
}

pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: i32) -> Result<OwnedFd, Errno> {
    rustix::process::pidfd_getfd(pidfd, fd, PidfdGetfdFlags::empty()).map_err(err)
}

pub(crate) fn socket_pair(
    kind: SocketType,
    flags: SocketFlags,
) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = flags | SocketFlags::CLOEXEC;
    rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None).map_err(err)
}

/// Receives a message. Returns the length of its text, and its first `most` descriptors.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    text: &mut [u8],
    most: usize,
    flags: RecvFlags,
) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(most))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let mut text = [IoSliceMut::new(text)];
    let receive = || rustix::net::recvmsg(socket, &mut text, &mut control, flags);
    let message = rustix::io::retry_on_intr(receive).map_err(err)?;
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    Ok((message.bytes, fds))
}

/// Returns the present poll events of a descriptor whose poll no program serves.
pub(crate) fn poll_now(fd: BorrowedFd<'_>, events: i16) -> i16 {
    poll_all_now([(fd, events)].into_iter()).pop().unwrap_or(0)
}

/// Returns the present poll events of several descriptors whose poll no program serves.
pub(crate) fn poll_all_now<'a>(fds: impl Iterator<Item = (BorrowedFd<'a>, i16)>) -> Vec<i16> {
    let asked = |events: i16| PollFlags::from_bits_retain(events.cast_unsigned());
    let polled = fds.map(|(fd, events)| PollFd::from_borrowed_fd(fd, asked(events)));
    let mut polled: Vec<PollFd<'_>> = polled.collect();
    if polled.is_empty() {
        return Vec::new();
    }
    // If poll fails, all descriptors are reported as not ready.
    rustix::event::poll(&mut polled, Some(&Timespec::default())).ok();
    let found = polled.iter().map(|fd| fd.revents().bits().cast_signed());
    found.collect()
}

/// Waits for events of an epoll set, without limit if there is no timeout. Returns ENOSYS or EPERM if the system
/// refuses this call, which measures the time in nanoseconds.
pub(crate) fn epoll_wait<'e>(
    set: BorrowedFd<'_>,
    events: &'e mut [libc::epoll_event],
    timeout: Option<&Timespec>,
) -> Result<&'e [libc::epoll_event], Errno> {
    let room = i32::try_from(events.len()).unwrap_or(i32::MAX);
    let time = timeout.map_or(core::ptr::null(), core::ptr::from_ref);
    let (none, size) = (core::ptr::null::<libc::sigset_t>(), 0usize);
    // SAFETY: live structures, and room for so many events; a null mask changes no signals.
    let count = check(unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            set.as_raw_fd(),
            events.as_mut_ptr(),
            room,
            time,
            none,
            size,
        )
    })?;
    let count = usize::try_from(count).unwrap_or(0);
    Ok(events.get(..count).unwrap_or_default())
}

/// Compares what two processes have. May wait for an exec of one of them.
pub(crate) fn kcmp(
    (a, b): (u32, u32),
    kind: i32,
    (of_a, of_b): (i32, i32),
) -> Result<libc::c_long, Errno> {
    // SAFETY: takes integers.
    check(unsafe { libc::syscall(libc::SYS_kcmp, a, b, kind, of_a, of_b) })
}

/// Returns the metadata of an open file that no program serves.
pub(crate) fn fstat(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    rustix::fs::fstat(fd).map_err(err)
}

/// Returns the identity and mode of an open file from the kernel's cache. Calls no file system in user space.
pub(crate) fn known(fd: BorrowedFd<'_>) -> Result<(FdIdentity, u32), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    of_statx(rustix::fs::statx(fd, "", flags, KNOWN))
}

/// Returns the identity and mode of the file at a path, like [`known`].
pub(crate) fn known_at(path: &str) -> Result<(FdIdentity, u32), Errno> {
    let flags = AtFlags::STATX_DONT_SYNC;
    of_statx(rustix::fs::statx(rustix::fs::CWD, path, flags, KNOWN))
}

const KNOWN: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::MODE)
    .union(StatxFlags::INO);

fn of_statx(stat: rustix::io::Result<rustix::fs::Statx>) -> Result<(FdIdentity, u32), Errno> {
    let stat = stat.map_err(err)?;
    let id = FdIdentity {
        dev: libc::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        ino: stat.stx_ino,
    };
    Ok((id, stat.stx_mode.into()))
}

/// Returns the metadata of a path in a file system that no program serves.
pub(crate) fn stat(path: impl Arg, flags: i32) -> Result<Stat, Errno> {
    assert_is_the_kernels(&path);
    stat_any(path, flags)
}

/// Returns the metadata of any path. May block, so only `may_block` may use this.
pub(crate) fn stat_any(path: impl Arg, flags: i32) -> Result<Stat, Errno> {
    let flags = AtFlags::from_bits_retain(flags.cast_unsigned());
    rustix::fs::statat(rustix::fs::CWD, path, flags).map_err(err)
}

pub(crate) fn identity(stat: &Stat) -> FdIdentity {
    FdIdentity {
        dev: stat.st_dev,
        ino: stat.st_ino,
    }
}

/// Asserts that a path is in a file system that no program serves.
fn assert_is_the_kernels(path: &impl Arg) {
    debug_assert!(
        ["/proc/", "/sys/"]
            .iter()
            .any(|top| path.to_string_lossy().starts_with(top)),
        "{} may have to be waited for",
        path.to_string_lossy()
    );
}

/// Opens a path in a file system that no program serves.
pub(crate) fn open(path: impl Arg, flags: i32) -> Result<OwnedFd, Errno> {
    assert_is_the_kernels(&path);
    open_any(path, flags)
}

pub(crate) fn proc_text(path: &str) -> Result<Vec<u8>, Errno> {
    read_until(path, |n| n == 0)
}

/// As [`proc_text`], with one system call less, for a file whose text the kernel makes at once: `status`, `stat`.
///
/// Source: Linux 7.2 fs/seq_file.c `seq_read_iter`.
pub(crate) fn proc_record(path: &str) -> Result<Vec<u8>, Errno> {
    read_until(path, |n| n < CHUNK)
}

const CHUNK: usize = 4096;

fn read_until(path: &str, is_last: impl Fn(usize) -> bool) -> Result<Vec<u8>, Errno> {
    let file = open(path, libc::O_RDONLY)?;
    let (mut text, mut chunk) = (Vec::new(), [0; CHUNK]);
    loop {
        let n = read(file.as_fd(), &mut chunk)?;
        text.extend_from_slice(chunk.get(..n).unwrap_or_default());
        if is_last(n) {
            return Ok(text);
        }
    }
}

/// Returns the text of a file in /proc as a string, or an empty string if it cannot be read.
pub(crate) fn proc_string(path: &str) -> String {
    String::from_utf8(proc_text(path).unwrap_or_default()).unwrap_or_default()
}

/// Returns the target of a descriptor's link in /proc: the file's path, or a name such as [`EPOLL_SET`].
pub(crate) fn link_of(fd: impl AsFd) -> Option<Vec<u8>> {
    readlink(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).ok()
}

pub(crate) const EPOLL_SET: &[u8] = b"anon_inode:[eventpoll]";
pub(crate) const SIGNALFD: &[u8] = b"anon_inode:[signalfd]";

/// Returns the signals of a signalfd as a bit mask, whose lowest bit is signal 1.
pub(crate) fn signals_of(fd: BorrowedFd<'_>) -> Option<u64> {
    let text = proc_text(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    field(&text, "sigmask:", 16)
}

/// Returns the signals that are pending for a thread or its process.
pub(crate) fn pending_signals(tid: u32) -> u64 {
    let text = proc_text(&format!("/proc/{tid}/status")).unwrap_or_default();
    let signals = |key| field(&text, key, 16).unwrap_or(0);
    signals("SigPnd:") | signals("ShdPnd:")
}

/// The kinds of character devices that poll distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CharacterDevice {
    /// /dev/null, /dev/zero or /dev/full, which are always ready.
    Memory,
    /// A device that a program serves (CUSE).
    Cuse,
    Other,
}

/// Returns the kind of a character device.
///
/// Source: Linux 7.2 fs/fuse/cuse.c `cuse_process_init_reply`, which adds a device to the class `cuse`;
/// drivers/char/mem.c `devlist`, whose `null_fops`, `zero_fops` and `full_fops` have no poll.
pub(crate) fn character_device(fd: BorrowedFd<'_>) -> CharacterDevice {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let Ok(stat) = rustix::fs::statx(fd, "", flags, StatxFlags::TYPE) else {
        return CharacterDevice::Other;
    };
    let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
    if let (1, 3 | 5 | 7) = (major, minor) {
        return CharacterDevice::Memory;
    }
    let device = readlink(format!("/sys/dev/char/{major}:{minor}"));
    match device.is_ok_and(|device| is_of_cuse(&device)) {
        true => CharacterDevice::Cuse,
        false => CharacterDevice::Other,
    }
}

/// Returns whether this link from /sys/dev/char leads to a device of CUSE.
fn is_of_cuse(device: &[u8]) -> bool {
    let top = b"../../devices/virtual/cuse/";
    device.starts_with(top)
}

/// Returns the names in a directory in /proc that are decimal numbers, such as process ids.
pub(crate) fn proc_numbers(path: &str) -> Vec<u32> {
    debug_assert!(path.starts_with("/proc/"), "{path}");
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Opens any path. May block, so only `may_block` may use this.
pub(crate) fn open_any(path: impl Arg, flags: i32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::from_bits_retain(flags.cast_unsigned()) | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(err)
}

/// Returns whether the kernel accepts the options (`open_how`) of an openat2. It checks them before it reads
/// the path, whose address here is invalid.
///
/// Source: Linux 7.2 fs/open.c `do_sys_openat2`.
pub(crate) fn accepts_options(how: &[u8]) -> bool {
    let path = core::ptr::without_provenance::<libc::c_char>(usize::MAX);
    let (at, len) = (how.as_ptr(), how.len());
    // SAFETY: the kernel reads `len` bytes of `how`, and refuses the path's address.
    let ret = unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path, at, len) };
    check(ret) == Err(Errno(libc::EFAULT))
}

/// Opens the file behind `fd` again, as a new open file description.
pub(crate) fn reopen(fd: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    open(path, flags | libc::O_NOCTTY)
}

/// Sets a description's position to the highest possible one. At this position, reads and writes fail
/// with EINVAL, as on a device without read and write. At position 0, a read would return 0.
///
/// Source: Linux 6.12 fs/read_write.c `rw_verify_area`.
pub(crate) fn seek_past_all(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let last = SeekFrom::Start(i64::MAX.unsigned_abs());
    rustix::fs::seek(fd, last).map(drop).map_err(err)
}

pub(crate) fn descriptor_limit(tid: u32) -> Result<u64, Errno> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let kind = libc::RLIMIT_NOFILE;
    // SAFETY: sets no limit; the structure is live.
    check(unsafe { libc::prlimit64(tid.cast_signed(), kind, core::ptr::null(), &raw mut limit) })?;
    Ok(limit.rlim_cur)
}

pub(crate) fn status_flags(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(err)?;
    Ok(flags.bits().cast_signed())
}

/// Makes an fcntl call for OFD locks, which rustix lacks. `command` must not be one that waits.
pub(crate) fn ofd_lock(
    fd: BorrowedFd<'_>,
    command: i32,
    lock: &mut libc::flock,
) -> Result<(), Errno> {
    // SAFETY: the structure is live.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), command, core::ptr::from_mut(lock)) }).map(drop)
}

pub(crate) fn memfd(name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    rustix::fs::memfd_create(name, flags).map_err(err)
}

/// Returns whether a file is a memfd or another file in memory (tmpfs).
///
/// Source: Linux 7.2 mm/memfd.c `memfd_fcntl`.
pub(crate) fn is_memfd(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fcntl_get_seals(fd).is_ok()
}

/// Returns the target of a link in a file system that no program serves.
pub(crate) fn readlink(path: impl Arg) -> Result<Vec<u8>, Errno> {
    assert_is_the_kernels(&path);
    readlinkat(rustix::fs::CWD, path)
}

/// Returns the target of any symbolic link. May block, so only `may_block` may use this.
pub(crate) fn readlinkat(dir: BorrowedFd<'_>, name: impl Arg) -> Result<Vec<u8>, Errno> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new());
    target.map(CString::into_bytes).map_err(err)
}

/// Reads from a descriptor. Returns 0 at the end, and the error EAGAIN if no data has come yet.
pub(crate) fn read(fd: BorrowedFd<'_>, out: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::read(fd, out).map_err(err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuse_devices_are_known_by_their_class() {
        let null = std::fs::File::open("/dev/null").expect("/dev/null");
        assert_eq!(character_device(null.as_fd()), CharacterDevice::Memory);
        let memory = memfd(c"memory").expect("a memfd");
        assert_eq!(character_device(memory.as_fd()), CharacterDevice::Other);
        assert!(is_of_cuse(b"../../devices/virtual/cuse/camera"));
        assert!(!is_of_cuse(b"../../devices/virtual/mem/null"));
    }
}
