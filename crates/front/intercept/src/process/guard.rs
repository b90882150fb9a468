//! Ends a run whose supervisor was killed.
//!
//! Without the supervisor, no process answers the programs' calls: each fails with ENOSYS, and a
//! shell in a loop would try for ever. A guard process waits for the supervisor's end, kills every
//! process that the supervisor knew, and prints a message. It allocates nothing, and has two descriptors:
//! standard error, and a pipe whose other end the kernel closes when the supervisor ends.
//!
//! The guard also notes signals, and has a child, the *outsider*, that does so in a process group of its own. A
//! signal that the guard gets and the outsider does not was sent to the supervisor's whole process group, so
//! the programs have it already. If both get it, it was sent to all processes, or by name (pkill).
//!
//! When the supervisor ends, the kernel itself kills the program's first process, unless this process has
//! changed its user. So the guard is forked once another thread makes a call, or the first process has made
//! more than [`MAX_UNGUARDED`] calls.

#![expect(
    clippy::disallowed_methods,
    reason = "waits only for the supervisor's own children"
)]

use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::kernel::{lock, raw};
use crate::process::launch::{await_child, fork};
use crate::process::signal::{CAUGHT, with_signals_blocked};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::pipe::{PipeFlags, pipe_with};
use vb3_frontend::Errno;

/// Maximum number of recorded threads. The index of a thread's entry is its id modulo this number, and a
/// later thread replaces an earlier one with the same index.
const PLACES: u32 = 1 << 16;

/// Number of calls of the program's first process after which the guard starts.
const MAX_UNGUARDED: u64 = 256;

const FAREWELL: &str = "vb3: was killed; the programs of its run are ended with it\n";

/// A thread that made a call: its id, and its start time in ticks since boot. If the thread with this id
/// has another start time, the id was reused. A start time of 0 is not known yet.
#[derive(Debug, Default)]
struct ThreadEntry {
    tid: AtomicU64,
    start: AtomicU64,
}

/// Memory that the supervisor and the guard share.
#[derive(Debug)]
struct Shared {
    threads: [ThreadEntry; PLACES as usize],
    guard: Noted,
    outsider: Noted,
}

/// The signals that a process got.
#[derive(Debug)]
struct Noted {
    /// The process's id, once it notes signals.
    pid: AtomicU32,
    /// The time of the last signal of each number, as of [`now`]; 0 for none.
    times: [AtomicU64; 32],
}

impl Noted {
    /// Returns whether the process got a signal in the last time `within`, or has the signal pending. `None` if the
    /// process does not note signals yet.
    fn has_got(&self, signal: i32, within: Duration) -> Option<bool> {
        let pid = Some(self.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)?;
        let at = self.times.get(usize::try_from(signal).ok()?)?;
        let is_pending = raw::pending_signals(pid) >> (signal - 1) & 1 != 0;
        let at = at.load(Ordering::Acquire);
        let is_recent = at != 0 && u128::from(now().saturating_sub(at)) <= within.as_nanos();
        Some(is_pending || is_recent)
    }
}

impl Shared {
    /// Kills the recorded threads' processes. Returns whether any was running. Async-signal-safe.
    fn kill_all(&self) -> bool {
        let mut found = false;
        for place in &self.threads {
            let tid = u32::try_from(place.tid.load(Ordering::Acquire)).unwrap_or(0);
            let start = place.start.load(Ordering::Acquire);
            if tid > 1 && start_of(tid).is_some_and(|of_this| start == 0 || of_this == start) {
                found = true;
                raw::kill(tid, libc::SIGKILL);
            }
        }
        found
    }
}

/// Returns the time in nanoseconds of a clock that all processes share. Async-signal-safe.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (secs, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    secs * 1_000_000_000 + nanos
}

/// Returns a running thread's start time in ticks since boot. Async-signal-safe: allocates nothing.
fn start_of(tid: u32) -> Option<u64> {
    let mut path = [0; 40];
    // The thread's own file, because for the process's file the kernel adds up the times of all threads.
    write!(path.as_mut_slice(), "/proc/{tid}/task/{tid}/stat").ok()?;
    let file = raw::open_any(CStr::from_bytes_until_nul(&path).ok()?, libc::O_RDONLY).ok()?;
    let mut text = [0; 1024];
    let len = raw::read(file.as_fd(), &mut text).ok()?;
    stat_field(text.get(..len)?, START)
}

/// Positions of fields in a stat file, counted from the field after the state.
pub(crate) const SESSION: usize = 2;
const START: usize = 18;

/// Parses a number in a stat file; `None` if it is missing, or if the state says that the thread has ended.
/// Async-signal-safe.
pub(crate) fn stat_field(text: &[u8], field: usize) -> Option<u64> {
    // The process's name, in parentheses, may itself contain a parenthesis.
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let mut fields = text.get(end + 2..)?.split(|&byte| byte == b' ');
    if matches!(fields.next()?, b"Z" | b"X") {
        return None;
    }
    let digits = fields.nth(field)?;
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The guard of a run. Dropping it ends the guard process and leaves the programs alone.
#[derive(Debug)]
pub(crate) struct Guard {
    shared: &'static Shared,
    /// Once started: the guard process, and the writing end of its pipe. The guard process waits until this end is
    /// closed.
    process: OnceLock<Mutex<Option<(libc::pid_t, OwnedFd)>>>,
}

impl Guard {
    /// Prepares a guard. Fails with ENOMEM if the system has no memory left.
    pub(crate) fn new() -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        let bytes = size_of::<Shared>();
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe { mmap_anonymous(core::ptr::null_mut(), bytes, prot, flags) };
        let at = at.map_err(raw::err)?;
        Ok(Self {
            // SAFETY: zeroed, page-aligned memory of this size, which is unmapped with the guard.
            shared: unsafe { &*at.cast::<Shared>() },
            process: OnceLock::new(),
        })
    }

    /// Records a thread that makes call number `call`. Starts the guard process if it is needed now.
    pub(crate) fn add(&self, tid: u32, is_main: bool, call: u64) {
        self.record(tid);
        if !is_main || call > MAX_UNGUARDED {
            self.process.get_or_init(|| self.start().ok().into());
        }
    }

    fn place(&self, tid: u32) -> &ThreadEntry {
        &self.shared.threads[(tid % PLACES) as usize]
    }

    /// Records the id of a thread whose call will be served soon. [`add`](Self::add) then records its start time, which
    /// takes longer, because a file must be read.
    pub(crate) fn announce(&self, tid: u32) {
        let place = self.place(tid);
        if place.tid.load(Ordering::Relaxed) != u64::from(tid) {
            place.tid.store(0, Ordering::Release);
            place.start.store(0, Ordering::Release);
            place.tid.store(tid.into(), Ordering::Release);
        }
    }

    fn record(&self, tid: u32) {
        let place = self.place(tid);
        let is_known = place.tid.load(Ordering::Relaxed) == u64::from(tid);
        if !is_known || place.start.load(Ordering::Relaxed) == 0 {
            place.tid.store(0, Ordering::Release);
            if let Some(start) = start_of(tid) {
                place.start.store(start, Ordering::Release);
                place.tid.store(tid.into(), Ordering::Release);
            }
        }
    }

    /// Forgets an ended thread: another one may get its id.
    pub(crate) fn remove(&self, tid: u32) {
        let (id, order) = (tid.into(), Ordering::Relaxed);
        let place = self.place(tid);
        place.tid.compare_exchange(id, 0, order, order).ok();
    }

    /// Records the thread that has this id now. The recorded one has ended.
    pub(crate) fn renew(&self, tid: u32) {
        self.remove(tid);
        self.record(tid);
    }

    /// Returns whether a signal of the last time `within` was sent to the whole process group; `None` if the guard
    /// and the outsider do not note signals yet.
    pub(crate) fn is_of_group(&self, signal: i32, within: Duration) -> Option<bool> {
        let in_group = self.shared.guard.has_got(signal, within)?;
        let outside = self.shared.outsider.has_got(signal, within)?;
        Some(in_group && !outside)
    }

    /// Starts the guard process. Fails if the system has no descriptor or process left.
    fn start(&self) -> Result<(libc::pid_t, OwnedFd), Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(raw::err)?;
        // The child gets no signal before it can note it.
        let pid = with_signals_blocked(|| {
            // SAFETY: the child makes only async-signal-safe calls.
            unsafe { fork(|| wait_for_end(self.shared, reader.as_raw_fd())) }
        });
        Ok((pid?, writer))
    }

    /// Kills the processes of all recorded threads, and ends the guard.
    pub(crate) fn end_programs(&self) {
        self.shared.kill_all();
        self.end();
    }

    fn end(&self) {
        let process = self.process.get();
        let Some((pid, writer)) = process.and_then(|process| lock(process).take()) else {
            return;
        };
        // The guard exits without killing any process if it reads a byte.
        rustix::io::write(&writer, b"!").ok();
        await_child(pid);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
        let at = core::ptr::from_ref(self.shared);
        // SAFETY: the guard's own mapping, to which no other reference exists.
        unsafe { libc::munmap(at.cast_mut().cast(), size_of::<Shared>()) };
    }
}

/// The record of this process, if it notes signals.
static NOTED: AtomicPtr<Noted> = AtomicPtr::new(core::ptr::null_mut());

extern "C" fn note_signal(signal: libc::c_int) {
    // SAFETY: shared memory that the process never unmaps.
    let noted = unsafe { NOTED.load(Ordering::Relaxed).as_ref() };
    if let Some(at) = noted.and_then(|noted| noted.times.get(usize::try_from(signal).ok()?)) {
        at.store(now(), Ordering::Release);
    }
}

/// Makes this process note signals that the supervisor passes on, and block all others.
fn note_signals(noted: &Noted) {
    NOTED.store(core::ptr::from_ref(noted).cast_mut(), Ordering::Relaxed);
    // SAFETY: async-signal-safe calls with live arguments; so is the handler.
    unsafe {
        let mut others: libc::sigset_t = core::mem::zeroed();
        libc::sigfillset(&raw mut others);
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = note_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        for signal in CAUGHT {
            if libc::sigaction(signal, &raw const action, core::ptr::null_mut()) == 0 {
                libc::sigdelset(&raw mut others, signal);
            }
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const others, core::ptr::null_mut());
        let pid = libc::getpid().cast_unsigned();
        noted.pid.store(pid, Ordering::Release);
    }
}

/// Starts the outsider, which ends with the guard. Returns its process id, or −1. Async-signal-safe.
fn start_outsider(noted: &Noted) -> libc::c_long {
    // SAFETY: the child makes only async-signal-safe calls.
    unsafe {
        let guard = libc::getpid();
        let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
        if child == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            libc::setpgid(0, 0);
            libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
            note_signals(noted);
            while libc::getppid() == guard {
                libc::pause();
            }
            libc::_exit(0);
        }
        child
    }
}

fn wait_for_end(shared: &Shared, pipe: RawFd) -> ! {
    // SAFETY: async-signal-safe calls with live arguments.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"vb3-guard".as_ptr());
        let outsider = start_outsider(&shared.outsider);
        note_signals(&shared.guard);
        // Only the supervisor may keep a copy of the pipe's other end.
        let (first, last) = (pipe.cast_unsigned(), libc::c_uint::MAX);
        libc::syscall(libc::SYS_close_range, 0, 1, 0);
        libc::syscall(libc::SYS_close_range, 3, first - 1, 0);
        libc::syscall(libc::SYS_close_range, first + 1, last, 0);
        let mut byte = 0u8;
        let read = loop {
            let read = libc::read(pipe, (&raw mut byte).cast(), 1);
            if read >= 0 || *libc::__errno_location() != libc::EINTR {
                break read;
            }
        };
        if read == 0 && shared.kill_all() {
            libc::write(2, FAREWELL.as_ptr().cast(), FAREWELL.len());
        }
        if let Ok(outsider) = libc::pid_t::try_from(outsider)
            && outsider > 0
        {
            libc::kill(outsider, libc::SIGKILL);
            libc::waitpid(outsider, core::ptr::null_mut(), 0);
        }
        libc::_exit(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::time::Instant;

    fn sleeper() -> std::process::Child {
        Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep starts")
    }

    #[test]
    fn programs_end_with_the_pipe_and_not_with_the_guard() {
        let _alone = crate::kernel::alone();
        let (mut known, mut announced, mut other) = (sleeper(), sleeper(), sleeper());
        let guard = Guard::new().expect("a guard");
        guard.add(other.id(), true, 1);
        assert!(guard.process.get().is_none(), "the kernel ends the first");
        guard.add(known.id(), false, 2);
        guard.announce(announced.id());
        // Makes the entry look as if another thread had this id before.
        let place = guard.place(other.id());
        place.start.fetch_add(1, Ordering::Relaxed);
        // Closes the pipe, as the kernel does when the supervisor ends.
        let process = guard.process.get().expect("it was started");
        let (pid, writer) = lock(process).take().expect("it runs");
        drop(writer);
        for ended in [&mut known, &mut announced] {
            let status = ended.wait().expect("it has ended");
            assert_eq!(status.signal(), Some(libc::SIGKILL));
        }
        await_child(pid);
        assert!(other.try_wait().expect("a child").is_none());
        let guard = Guard::new().expect("a guard");
        guard.add(other.id(), true, MAX_UNGUARDED);
        assert!(guard.process.get().is_none(), "it made few calls");
        guard.add(other.id(), true, MAX_UNGUARDED + 1);
        assert!(guard.process.get().is_some());
        drop(guard);
        assert!(other.try_wait().expect("a child").is_none());
        other.kill().expect("it runs");
        other.wait().expect("it has ended");
    }

    #[test]
    fn signals_to_the_group_are_told_from_others() {
        const HOUR: Duration = Duration::from_secs(3600);
        let _alone = crate::kernel::alone();
        let guard = Guard::new().expect("a guard");
        assert_eq!(guard.is_of_group(libc::SIGINT, HOUR), None);
        let started = guard.start().expect("it starts");
        guard.process.get_or_init(|| Some(started).into());
        until("it runs", || {
            guard.is_of_group(libc::SIGINT, HOUR).is_some()
        });
        let pids = [&guard.shared.guard, &guard.shared.outsider];
        let [inside, outsider] = pids.map(|noted| noted.pid.load(Ordering::Relaxed));
        let groups = [inside, outsider].map(|pid| {
            let pid = i32::try_from(pid).expect("a process");
            // SAFETY: the calls take numbers only. (rustix panics if the group's leader is outside the pid namespace.)
            unsafe { libc::getpgid(pid) == libc::getpgrp() }
        });
        assert_eq!(groups, [true, false]);
        raw::kill(inside, libc::SIGINT);
        let is_of_group = || guard.is_of_group(libc::SIGINT, HOUR);
        until("the guard gets the signal", || is_of_group() == Some(true));
        assert_eq!(guard.is_of_group(libc::SIGTERM, HOUR), Some(false));
        raw::kill(outsider, libc::SIGINT);
        until("the outsider gets it", || is_of_group() == Some(false));
    }

    /// Waits for a condition, much longer than it takes.
    fn until(what: &str, is_met: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_met() {
            assert!(start.elapsed() < Duration::from_secs(60), "not met: {what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_later_process_with_the_same_id_is_recorded() {
        let tid = std::process::id();
        let guard = Guard::new().expect("a guard");
        let place = guard.place(tid);
        guard.announce(tid);
        assert_eq!(place.start.load(Ordering::Relaxed), 0);
        guard.add(tid, true, 1);
        assert_eq!(Some(place.start.load(Ordering::Relaxed)), start_of(tid));
        guard.announce(tid);
        let start = place.start.fetch_add(1, Ordering::Relaxed);
        guard.remove(tid + PLACES);
        assert_eq!(place.tid.load(Ordering::Relaxed), u64::from(tid));
        guard.add(tid, true, 1);
        assert_ne!(place.start.load(Ordering::Relaxed), start);
        guard.renew(tid);
        assert_eq!(place.start.load(Ordering::Relaxed), start);
        assert_eq!(place.tid.load(Ordering::Relaxed), u64::from(tid));
    }

    #[test]
    fn start_times_are_found_after_any_name() {
        let text = b"7 (a) Z 1) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20\n";
        assert_eq!(stat_field(text, START), Some(4711));
        assert_eq!(stat_field(text, SESSION), Some(3));
        assert_eq!(
            stat_field(
                b"7 (a) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
                START
            ),
            None
        );
        for text in [&b""[..], b"7", b"7 (a)", b"7 (a) S 1 2"] {
            assert_eq!(stat_field(text, START), None);
        }
        let own = start_of(std::process::id());
        assert!(own.is_some_and(|ticks| ticks > 0), "{own:?}");
    }
}
