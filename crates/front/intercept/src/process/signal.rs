//! Signals: those that a waiting thread should handle, and those sent to the supervisor.
//!
//! While a call waits for the supervisor's answer, the kernel withholds all but fatal signals from
//! the thread, so that no call runs twice. The supervisor must therefore check for signals, and end
//! the wait when the kernel would. No event announces a signal to another process: a listener and a pidfd report
//! ends only, waitid reports stops only, and a tracer would keep debuggers away. So the supervisor reads
//! `/proc/TID/status` at intervals.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use crate::kernel::{field, raw};
use rustix::pipe::{PipeFlags, pipe_with};
use vb3_frontend::Errno;

/// Number of checks after which a pending process-wide signal counts as one for the waiting thread. Another
/// thread that could take the signal would do so within microseconds.
const MAX_LOOKS: u8 = 3;

/// Whether a waiting thread has a signal to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    None,
    /// The kernel will look for signals when this thread's call ends, so restart codes are safe.
    Certain,
    /// A process-wide signal that no other thread has taken so far. The kernel may have chosen another thread
    /// for it, and would then not look for signals when this thread's call ends.
    ///
    /// Source: Linux 7.2 kernel/signal.c `complete_signal`.
    Shared,
    /// A signal that only this call's own mask unblocks.
    Masked,
}

/// Interval of checks of a waiting thread for signals.
pub(crate) const LOOK: Duration = Duration::from_millis(4);
/// Interval if a signal is pending, or has recently interrupted the thread. In the first case, another thread may
/// take the signal soon.
pub(crate) const LOOK_OFTEN: Duration = Duration::from_micros(500);
/// Interval for a thread without handlers: a signal can only stop it, or end it with a core dump.
const LOOK_SELDOM: Duration = Duration::from_millis(50);
/// How long the state of a process's first thread counts as known.
const REMEMBERED: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct Signals {
    tid: u32,
    /// Blocked signals during this call, if the call has its own mask (ppoll, pselect6).
    pub(crate) mask: Option<u64>,
    seen: u8,
    /// Whether the thread may have a handler for an unblocked signal.
    pub(crate) handles: bool,
    /// The process that traces the thread, other than the supervisor; 0 for none.
    pub(crate) tracer: u64,
}

impl Signals {
    pub(crate) fn new(tid: u32) -> Self {
        Self {
            tid,
            mask: None,
            seen: 0,
            handles: true,
            tracer: 0,
        }
    }

    pub(crate) fn look_interval(&self) -> Duration {
        match (self.seen, self.handles) {
            (0, true) => LOOK,
            (0, false) => LOOK_SELDOM,
            _ => LOOK_OFTEN,
        }
    }

    pub(crate) fn look(&mut self, last: &mut Leader) -> Verdict {
        let Ok(text) = raw::proc_record(&format!("/proc/{}/status", self.tid)) else {
            return Verdict::None;
        };
        let tracer = field(&text, "TracerPid:", 10).filter(|tracer| *tracer != 0);
        let is_own = |tid: &u64| raw::known_at(&format!("/proc/self/task/{tid}")).is_ok();
        self.tracer = tracer.filter(|tid| !is_own(tid)).unwrap_or(0);
        let mut look = SignalState::parse(&text);
        let leader = field(&text, "Tgid:", 10).filter(|leader| *leader != self.tid.into());
        if leader.is_some_and(|leader| last.is_stopped(leader)) {
            return Verdict::Certain;
        }
        self.handles = look.handled & !self.mask.unwrap_or(look.blocked) != 0;
        if let Some(mask) = self.mask {
            if (look.own | look.shared) & look.blocked & !mask & !look.ignored != 0 {
                return Verdict::Masked;
            }
            look.blocked |= mask;
        }
        look.verdict(&mut self.seen)
    }
}

/// The process whose first thread was last checked, when, and whether it had stopped. If many threads of one
/// process wait, one check serves them all.
#[derive(Debug, Default)]
pub(crate) struct Leader(Option<(u64, Instant, bool)>);

impl Leader {
    fn is_stopped(&mut self, leader: u64) -> bool {
        match self.0 {
            Some((of, at, known)) if of == leader && at.elapsed() < REMEMBERED => known,
            _ => {
                let found = is_stopped(leader);
                self.0 = Some((leader, Instant::now(), found));
                found
            }
        }
    }
}

/// Returns whether a process's first thread has stopped with its process. Then the kernel has told every other
/// thread to stop, too. It is enough to look at the first thread, because the kernel offers a signal to the
/// process to this thread first, unless this thread blocks the signal.
///
/// Source: Linux 7.2 kernel/signal.c `do_signal_stop`.
fn is_stopped(leader: u64) -> bool {
    // Unlike the process's file, the thread's does not add up all threads' times.
    let path = format!("/proc/{leader}/task/{leader}/stat");
    let stat = raw::proc_record(&path).unwrap_or_default();
    let name_end = stat.iter().rposition(|&byte| byte == b')').unwrap_or(0);
    stat.get(name_end..)
        .is_some_and(|rest| rest.starts_with(b") T"))
}

/// Signals that do nothing to a thread without a handler. Such a signal may still be pending briefly,
/// if another thread blocks it or is traced.
///
/// Source: Linux 6.12 kernel/signal.c `sig_ignored`, include/linux/signal.h `SIG_KERNEL_IGNORE_MASK`.
/// Differs: SIGCONT is not in this list, so a call is repeated after it.
const UNHEEDED: u64 =
    1 << (libc::SIGCHLD - 1) | 1 << (libc::SIGURG - 1) | 1 << (libc::SIGWINCH - 1);

/// The signal lines of a thread's status file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SignalState {
    own: u64,
    shared: u64,
    blocked: u64,
    ignored: u64,
    handled: u64,
    threads: u64,
}

impl SignalState {
    fn parse(text: &[u8]) -> Self {
        let hex = |key| field(text, key, 16).unwrap_or(0);
        let handled = hex("SigCgt:");
        Self {
            own: hex("SigPnd:"),
            shared: hex("ShdPnd:"),
            blocked: hex("SigBlk:"),
            ignored: hex("SigIgn:") | UNHEEDED & !handled,
            handled,
            threads: field(text, "Threads:", 10).unwrap_or(1),
        }
    }

    fn verdict(self, seen: &mut u8) -> Verdict {
        let wanted = !self.blocked & !self.ignored;
        if self.own & wanted != 0 {
            return Verdict::Certain;
        }
        if self.shared & wanted == 0 {
            *seen = 0;
            return Verdict::None;
        }
        if self.threads <= 1 {
            return Verdict::Certain;
        }
        *seen = seen.saturating_add(1);
        if *seen >= MAX_LOOKS {
            Verdict::Shared
        } else {
            Verdict::None
        }
    }
}

/// Makes the kernel look for signals when the call of a thread with a debugger or strace ends. Sends the thread a
/// signal that does nothing. If the thread is traced, the kernel queues this signal; otherwise, the kernel drops
/// it. Returns whether the signal was queued.
///
/// Source: Linux 7.2 kernel/signal.c `sig_ignored`.
pub(crate) fn nudge(pid: u32, tid: u32) -> bool {
    let state = || {
        let text = raw::proc_record(&format!("/proc/{tid}/status"));
        SignalState::parse(&text.unwrap_or_default())
    };
    let has = |set: u64, signal: i32| set >> (signal - 1) & 1 != 0;
    let before = state();
    let mut harmless = [libc::SIGURG, libc::SIGWINCH].into_iter();
    let signal = harmless.find(|signal| !has(before.handled | before.blocked, *signal));
    signal.is_some_and(|signal| {
        raw::kill_thread(pid, tid, signal);
        has(state().own, signal)
    })
}

/// Calls a function while all signals of this thread are blocked, and then restores the mask.
pub(crate) fn with_signals_blocked<T>(call: impl FnOnce() -> T) -> T {
    // SAFETY: live sets of this thread.
    unsafe {
        let (mut all, mut before) = (core::mem::zeroed(), core::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let result = call();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut());
        result
    }
}

/// The end of the pipe that the handler writes to, or -1 if no run reads it.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Signals that the supervisor catches. It passes some to all programs of the run, and some to the
/// first program only. SIGCHLD makes it reap children.
pub(crate) const CAUGHT: [libc::c_int; 8] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCHLD,
];

/// Signals by which a user ends the supervisor.
const ENDING: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Catches signals sent to the supervisor, as long as this value exists.
///
/// After its drop, the next of the [`ENDING`] signals does nothing, so that the caller can finish its files. Many
/// users send a second signal just when the first one has ended the programs.
pub(crate) struct Forward {
    reader: OwnedFd,
    _writer: OwnedFd,
    before: Vec<(libc::c_int, libc::sigaction)>,
}

extern "C" fn on_signal(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid siginfo to a handler with SA_SIGINFO; write and the errno
    // location are async-signal-safe.
    unsafe {
        let saved = *libc::__errno_location();
        // A signal of the terminal goes to the whole foreground group, so the program has it already.
        let from_process = !info.is_null() && (*info).si_code <= 0;
        let text = [u8::try_from(signal).unwrap_or(0), from_process.into()];
        libc::write(
            PIPE.load(Ordering::Relaxed),
            text.as_ptr().cast(),
            text.len(),
        );
        *libc::__errno_location() = saved;
    }
}

impl Forward {
    /// Starts to catch signals, except ignored ones. Catches none if another `Forward` does already.
    pub(crate) fn begin() -> Result<Self, Errno> {
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (reader, writer) = pipe_with(flags).map_err(raw::err)?;
        let number = writer.as_raw_fd();
        let mut this = Self {
            reader,
            _writer: writer,
            before: Vec::new(),
        };
        let order = Ordering::Relaxed;
        if PIPE.compare_exchange(-1, number, order, order).is_err() {
            return Ok(this);
        }
        for signal in CAUGHT {
            // SAFETY: zero is a valid sigaction; both structures are live; the handler is
            // async-signal-safe.
            unsafe {
                let mut action: libc::sigaction = core::mem::zeroed();
                action.sa_sigaction = on_signal as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_NOCLDSTOP;
                let mut before: libc::sigaction = core::mem::zeroed();
                if libc::sigaction(signal, core::ptr::null(), &raw mut before) == 0
                    && before.sa_sigaction != libc::SIG_IGN
                    && libc::sigaction(signal, &raw const action, core::ptr::null_mut()) == 0
                {
                    this.before.push((signal, before));
                }
            }
        }
        Ok(this)
    }

    pub(crate) fn event_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Takes the caught signals, each with whether a process sent it (and not the kernel).
    pub(crate) fn take(&self) -> Vec<(i32, bool)> {
        let mut text = [0u8; 128];
        let n = raw::read(self.reader.as_fd(), &mut text).unwrap_or(0);
        let pairs = text.get(..n).unwrap_or_default().chunks_exact(2);
        pairs
            .filter_map(|p| Some((i32::from(*p.first()?), *p.get(1)? != 0)))
            .collect()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        if !self.before.is_empty() {
            PIPE.store(-1, Ordering::Relaxed);
        }
        for (signal, before) in &mut self.before {
            if before.sa_sigaction == libc::SIG_DFL && ENDING.contains(signal) {
                // Without a pipe, the handler does nothing.
                before.sa_sigaction = on_signal as *const () as usize;
                before.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_RESETHAND;
            }
            // SAFETY: sets the action that the kernel reported before, or one with the same handler as now.
            unsafe { libc::sigaction(*signal, before, core::ptr::null_mut()) };
        }
    }
}

/// Ends this process by SIGINT. Returns if SIGINT is blocked.
///
/// Shells end a loop or script at ^C only if SIGINT ended the command. The status 130 is not enough.
pub fn end_by_interrupt() {
    // SAFETY: restores the default action, which calls no function.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(own: u64, shared: u64, blocked: u64, threads: u64) -> SignalState {
        SignalState {
            own,
            shared,
            blocked,
            ignored: 8,
            handled: 0,
            threads,
        }
    }

    #[test]
    fn only_own_handled_signals_end_a_wait() {
        let once = |look: SignalState| look.verdict(&mut 0);
        assert_eq!(once(look(0, 0, 0, 1)), Verdict::None);
        assert_eq!(once(look(1, 0, 0, 9)), Verdict::Certain);
        assert_eq!(once(look(1, 0, 1, 9)), Verdict::None);
        assert_eq!(once(look(8, 8, 0, 1)), Verdict::None);
        assert_eq!(once(look(0, 2, 0, 1)), Verdict::Certain);
        let mut seen = 0;
        let shared = look(0, 2, 0, 9);
        assert_eq!(shared.verdict(&mut seen), Verdict::None);
        assert_eq!(shared.verdict(&mut seen), Verdict::None);
        assert_eq!(shared.verdict(&mut seen), Verdict::Shared);
    }

    #[test]
    fn a_childs_end_ends_a_wait_only_where_it_is_handled() {
        let pending = 1u64 << (libc::SIGCHLD - 1);
        for (handled, verdict) in [(0, Verdict::None), (pending, Verdict::Certain)] {
            let text = format!("Threads:\t1\nShdPnd:\t{pending:016x}\nSigCgt:\t{handled:016x}\n");
            assert_eq!(SignalState::parse(text.as_bytes()).verdict(&mut 0), verdict);
        }
    }

    #[test]
    fn a_status_file_is_understood() {
        let text = b"Threads:\t3\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\n\
                     SigBlk:\t0000000000000004\nSigIgn:\t0000000000000008\n\
                     SigCgt:\t0000000008410010\n";
        assert_eq!(
            SignalState::parse(text),
            SignalState {
                own: 1,
                shared: 2,
                blocked: 4,
                ignored: 8,
                handled: 0x0841_0010,
                threads: 3,
            }
        );
    }
}
