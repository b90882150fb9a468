//! Changes a thread's call with ptrace, without an effect on other threads or on later calls.
//!
//! The supervisor seizes the thread while it waits for its call's answer. The answer makes the kernel
//! restart the call, and the thread stops before the restart. All signals but SIGSTOP are blocked
//! during the changed calls, so that no handler runs between them.

#![expect(
    clippy::disallowed_methods,
    reason = "waitpid with WNOHANG returns at once"
)]

use core::time::Duration;
use std::time::Instant;

use crate::kernel::{MayBlock, Regs, may_block, raw};
use crate::process::PASS;
use crate::program::ExitReport;
use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};
use vb3_frontend::Errno;

/// How long a thread may take from one stop to the next. The time for which this process itself is
/// stopped does not count.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time between two checks that counts towards the timeout. If more time has passed, the supervisor
/// itself was stopped meanwhile.
const STEP: Duration = Duration::from_millis(5);
/// Time limit of a call that a pending signal should interrupt immediately. The call runs into the limit if
/// another thread has taken the signal.
const FINDS_SIGNAL: Duration = Duration::from_millis(20);

/// Interval of attempts to release a thread that has not stopped.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Maximum number of stops within one call. Each SIGSTOP and SIGCONT adds one, and slow machines have many.
/// Giving up early would leave the program inside a call that it did not make.
const STOPS: u32 = 10_000;

/// A seized thread that stops before its call restarts.
#[derive(Debug)]
pub(crate) struct Stopped {
    tid: libc::pid_t,
    done: bool,
    ended: Option<ExitReport>,
    /// The thread's own signal mask, while the supervisor blocks all signals.
    mask: Option<u64>,
    /// The signal at which the thread stopped first, until it is delivered; 0 for none.
    due: i32,
}

pub(crate) enum TraceeState {
    /// The thread has not stopped yet. It cannot run the program's code before it stops.
    OnItsWay,
    Stop(Stop),
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Call,
    /// A requested stop, or a group stop.
    Event,
    Signal(i32),
}

impl Stop {
    /// Returns the signal at which the thread stopped; 0 for none.
    const fn signal(self) -> i32 {
        match self {
            Self::Signal(signal) => signal,
            Self::Call | Self::Event => 0,
        }
    }
}

fn ptrace(request: libc::c_uint, tid: libc::pid_t, addr: usize, data: usize) -> Result<i64, Errno> {
    // SAFETY: every caller passes plain numbers, or addresses of live structures of the request's
    // size.
    raw::check(unsafe { libc::ptrace(request, tid, addr, data) })
}

/// Seizes a thread that waits for an answer, and requests a stop. Returns EPERM if the thread is traced already
/// or tracing it is forbidden, and ESRCH if it has ended.
pub(crate) fn seize(tid: u32) -> Result<Stopped, Errno> {
    let tid = libc::pid_t::try_from(tid).map_err(|_| Errno(libc::ESRCH))?;
    let options = usize::try_from(libc::PTRACE_O_TRACESYSGOOD).unwrap_or(1);
    ptrace(libc::PTRACE_SEIZE, tid, 0, options)?;
    let stopped = Stopped {
        tid,
        done: false,
        ended: None,
        mask: None,
        due: 0,
    };
    ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
    Ok(stopped)
}

/// A stopped thread that executes the supervisor's calls before it repeats its own call.
pub(crate) struct InStead<'a> {
    thread: &'a mut Stopped,
    may: &'a MayBlock,
    /// The registers with which the thread repeats its own call.
    again: Regs,
}

impl InStead<'_> {
    /// Makes the thread execute a call. Returns the call's result, or `None` if the thread ended.
    pub(crate) fn call(&mut self, nr: libc::c_long, args: [u64; 6]) -> Option<Result<u64, Errno>> {
        self.again.make_call(nr, args).give(self.thread.tid)?;
        self.thread.run_to_call(self.may)?;
        self.thread.run_to_call(self.may)?;
        Some(Regs::of(self.thread.tid)?.result())
    }

    pub(crate) fn close(&mut self, fd: u64) -> Option<()> {
        self.call(libc::SYS_close, [fd, 0, 0, 0, 0, 0]).map(drop)
    }
}

impl Stopped {
    fn next_stop(&mut self, may: &MayBlock) -> Option<Stop> {
        self.next_stop_within(may, STOP_TIMEOUT)
    }

    fn next_stop_within(&mut self, may: &MayBlock, patience: Duration) -> Option<Stop> {
        let mut waited = Duration::ZERO;
        let mut last = Instant::now();
        let mut pause = Duration::from_micros(20);
        let mut tries = 0u32;
        loop {
            match self.look() {
                TraceeState::Stop(stop) => return Some(stop),
                TraceeState::Gone => return None,
                TraceeState::OnItsWay if waited >= patience => return None,
                TraceeState::OnItsWay => {}
            }
            // A stop takes microseconds, so the first 200 checks come without a sleep in between.
            tries += 1;
            if tries < 200 {
                std::thread::yield_now();
            } else {
                may_block::sleep(may, pause);
                pause = (pause * 2).min(Duration::from_millis(2));
            }
            let now = Instant::now();
            waited += (now - last).min(STEP);
            last = now;
        }
    }

    fn look(&mut self) -> TraceeState {
        // CAST: a flag in the sign bit.
        let all = WaitOptions::from_bits_retain(libc::__WALL as u32);
        match waitpid(Pid::from_raw(self.tid), all | WaitOptions::NOHANG) {
            Ok(Some((_, status))) => self.understand(status),
            Ok(None) | Err(rustix::io::Errno::INTR) => TraceeState::OnItsWay,
            Err(_) => {
                self.done = true;
                TraceeState::Gone
            }
        }
    }

    fn understand(&mut self, status: WaitStatus) -> TraceeState {
        const CALL: i32 = libc::SIGTRAP | 0x80;
        self.ended = ExitReport::of(status.exit_status(), status.terminating_signal());
        match status.stopping_signal() {
            Some(_) if status.as_raw() >> 16 == libc::PTRACE_EVENT_STOP => {
                TraceeState::Stop(Stop::Event)
            }
            Some(CALL) => TraceeState::Stop(Stop::Call),
            Some(signal) => TraceeState::Stop(Stop::Signal(signal)),
            None => {
                self.done = true;
                TraceeState::Gone
            }
        }
    }

    fn resume(&mut self, request: libc::c_uint, signal: i32) -> Option<()> {
        let signal = usize::try_from(signal).unwrap_or(0);
        ptrace(request, self.tid, 0, signal).ok().map(drop)
    }

    /// Lets the thread run to the next entry or exit of a call.
    fn run_to_call(&mut self, may: &MayBlock) -> Option<()> {
        let due = core::mem::take(&mut self.due);
        self.resume(libc::PTRACE_SYSCALL, due)?;
        // Group stops may come in between. All signals but SIGSTOP are blocked.
        for _ in 0..STOPS {
            match self.next_stop(may)? {
                Stop::Call => return Some(()),
                stop => self.resume(libc::PTRACE_SYSCALL, stop.signal())?,
            }
        }
        None
    }

    fn set_mask(&self, mask: u64) -> Option<()> {
        let at = (&raw const mask).expose_provenance();
        ptrace(libc::PTRACE_SETSIGMASK, self.tid, 8, at)
            .ok()
            .map(drop)
    }

    /// Blocks all signals of the thread.
    fn hold_signals(&mut self) -> Option<()> {
        let mut mask = 0u64;
        let at = (&raw mut mask).expose_provenance();
        ptrace(libc::PTRACE_GETSIGMASK, self.tid, 8, at).ok()?;
        self.set_mask(u64::MAX)?;
        self.mask = Some(mask);
        Some(())
    }

    /// Restores the thread's signal mask. While the thread runs, this fails; its release tries again.
    fn free_signals(&mut self) {
        if let Some(mask) = self.mask
            && self.ended.is_none()
            && self.set_mask(mask).is_some()
        {
            self.mask = None;
        }
    }

    fn detach(&mut self, signal: i32) {
        self.free_signals();
        if !self.done {
            // A signal is still due if the thread has not run since it stopped for that signal.
            let signal = if self.due == 0 { signal } else { self.due };
            // This fails while the thread runs.
            self.done = self.resume(libc::PTRACE_DETACH, signal).is_some();
        }
    }

    /// Releases the thread, once it has stopped. Returns how it ended, if it did.
    fn leave(mut self, may: &MayBlock, signal: i32) -> Option<ExitReport> {
        self.detach(signal);
        self.due = 0;
        while !self.done {
            may_block::sleep(may, RETRY_INTERVAL);
            if let TraceeState::Stop(stop) = self.look() {
                self.detach(stop.signal());
            }
        }
        self.ended
    }

    /// Waits for the first stop and releases the thread unchanged.
    pub(crate) fn release(mut self, may: &MayBlock) -> Option<ExitReport> {
        let signal = self.next_stop(may).map_or(0, Stop::signal);
        self.leave(may, signal)
    }

    /// Makes the thread execute another call instead of its own, and then close a descriptor. The thread's
    /// own call returns the other call's result. Returns `None` if the thread did not reach an expected stop.
    pub(crate) fn replace(
        self,
        may: &MayBlock,
        (nr, args): (libc::c_long, [u64; 6]),
        fd: i32,
    ) -> (Option<()>, Option<ExitReport>) {
        self.with_signals_held(may, |thread, before| {
            let _in_registers = thread.call(nr, args)?;
            let mut after = Regs::of(thread.thread.tid)?;
            thread.close(fd.cast_unsigned().into())?;
            for i in 0..6 {
                after.put_back(before, i);
            }
            after.forget_call();
            after.give(thread.thread.tid)
        })
    }

    /// Makes the thread close descriptors, and then repeat its call.
    pub(crate) fn close(self, may: &MayBlock, fds: &[i32]) -> Option<ExitReport> {
        let (_, ended) = self.in_its_stead(may, |thread| {
            let mut fds = fds.iter();
            fds.try_for_each(|fd| thread.close(fd.cast_unsigned().into()))
        });
        ended
    }

    /// Makes the thread execute other calls before it repeats its own, with all signals blocked.
    pub(crate) fn in_its_stead<T>(
        self,
        may: &MayBlock,
        calls: impl FnOnce(&mut InStead<'_>) -> Option<T>,
    ) -> (Option<T>, Option<ExitReport>) {
        self.with_signals_held(may, |thread, _| {
            let done = calls(thread);
            // Whether or not the calls succeeded, the thread then repeats its own call.
            let _ended = thread.again.give(thread.thread.tid);
            done
        })
    }

    /// Makes `calls` at the first stop, with all signals blocked, and releases the thread. If the thread stopped
    /// at a signal, the kernel queues this signal again when the thread continues, and delivers it after the
    /// calls.
    ///
    /// Source: Linux 6.12 kernel/signal.c `ptrace_signal`.
    fn with_signals_held<T>(
        mut self,
        may: &MayBlock,
        calls: impl FnOnce(&mut InStead<'_>, &Regs) -> Option<T>,
    ) -> (Option<T>, Option<ExitReport>) {
        let done = self.next_stop(may).and_then(|stop| {
            self.due = stop.signal();
            let before = Regs::of(self.tid)?;
            self.hold_signals()?;
            let (thread, again) = (&mut self, before.again());
            calls(&mut InStead { thread, may, again }, &before)
        });
        (done, self.leave(may, 0))
    }

    /// Runs the restarted ppoll or pselect6 without descriptors: argument `i`, their count, is zero. Restores
    /// the arguments at the call's exit, before the kernel delivers a signal.
    pub(crate) fn run_without(mut self, may: &MayBlock, i: usize) -> Option<ExitReport> {
        let signal = self.run_without_at_stop(may, i).unwrap_or(0);
        self.leave(may, signal)
    }

    fn run_without_at_stop(&mut self, may: &MayBlock, i: usize) -> Option<i32> {
        if let Stop::Signal(signal) = self.next_stop(may)? {
            return Some(signal);
        }
        self.resume(libc::PTRACE_SYSCALL, 0)?;
        let stop = self.next_stop(may)?;
        if stop != Stop::Call {
            // The thread stopped before the call's entry: the call restarts unchanged.
            return Some(stop.signal());
        }
        // If the call is restarted later, the kernel uses the first argument that it saved before this stop. So
        // a change of this argument affects only the present call.
        let before = Regs::of(self.tid)?;
        let mut regs = before;
        regs.set_arg(i, 0);
        if i == 0 {
            // On arm64, the filter still gets the first argument's old value. So the mark is in the address of
            // the first set, which the kernel does not use without descriptors.
            regs.set_arg(1, u64::from(PASS) << 32);
        }
        regs.give(self.tid)?;
        self.resume(libc::PTRACE_SYSCALL, 0)?;
        let mut stop = self.next_stop_within(may, FINDS_SIGNAL);
        if stop.is_none() && !self.done {
            // Another thread took the signal. Without descriptors, nothing else ends this call soon. The
            // interrupt makes the thread repeat the original call.
            ptrace(libc::PTRACE_INTERRUPT, self.tid, 0, 0).ok()?;
            stop = self.next_stop(may);
        }
        let stop = stop?;
        let mut now = Regs::of(self.tid)?;
        now.put_back(&before, 0);
        now.put_back(&before, 1);
        now.give(self.tid)?;
        Some(stop.signal())
    }
}

#[cfg(test)]
mod tests;
