//! Changing a call in flight with ptrace: only for the thread concerned, only for the time of the
//! call, with its signals held back so that no handler comes between.
//!
//! The thread is seized while it waits for the answer to its call. The answer makes the kernel
//! restart the call; on its way it stops for us.

use core::time::Duration;
use std::time::Instant;

use crate::backend::Errno;
use crate::filter::MMAP_PASS;
use crate::launch::Ended;
use crate::raw;

/// How long a thread may take from one stop to the next. All programs of a run wait meanwhile.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Length of the `syscall` instruction.
const INSTRUCTION: u64 = 2;

const PTRACE_SEIZE: libc::c_uint = 0x4206;
const PTRACE_INTERRUPT: libc::c_uint = 0x4207;
const PTRACE_GETSIGMASK: libc::c_uint = 0x420a;
const PTRACE_SETSIGMASK: libc::c_uint = 0x420b;
const EVENT_STOP: i32 = 128;

/// Which argument of a call is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    First,
    Second,
}

/// What became of a mapping.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mapped {
    pub(crate) mapped: bool,
    pub(crate) lost: bool,
    pub(crate) ended: Option<Ended>,
}

/// A thread that stops for us on its way from its call; let go when dropped.
#[derive(Debug)]
pub(crate) struct Stopped {
    tid: libc::pid_t,
    done: bool,
    ended: Option<Ended>,
}

/// Where a thread has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// At the entry or exit of a call.
    Call,
    /// As asked, or in a group stop.
    Event,
    /// Before a signal is delivered.
    Signal(i32),
}

fn ptrace(request: libc::c_uint, tid: libc::pid_t, addr: usize, data: usize) -> Result<i64, Errno> {
    // SAFETY: every caller passes addresses of live structures of the size the request needs, or
    // plain numbers.
    raw::check_long(unsafe { libc::ptrace(request, tid, addr, data) })
}

/// Takes hold of a thread that waits for an answer.
///
/// # Errors
/// EPERM when it is traced already or may not be; ESRCH when it is gone.
pub(crate) fn seize(tid: u32) -> Result<Stopped, Errno> {
    let tid = libc::pid_t::try_from(tid).map_err(|_| Errno(libc::ESRCH))?;
    let options = usize::try_from(libc::PTRACE_O_TRACESYSGOOD).unwrap_or(1);
    ptrace(PTRACE_SEIZE, tid, 0, options)?;
    let stopped = Stopped {
        tid,
        done: false,
        ended: None,
    };
    ptrace(PTRACE_INTERRUPT, tid, 0, 0)?;
    Ok(stopped)
}

impl Stopped {
    /// Waits for the next stop.
    fn next_stop(&mut self) -> Option<Stop> {
        let began = Instant::now();
        let mut pause = Duration::from_micros(20);
        let mut tries = 0u32;
        while began.elapsed() < PATIENCE {
            let mut status = 0;
            // SAFETY: `status` is live.
            let got =
                unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL | libc::WNOHANG) };
            if got == self.tid {
                return self.understand(status);
            }
            if got < 0 && raw::errno().0 != libc::EINTR {
                self.done = true;
                return None;
            }
            // A stop is a matter of microseconds: stand by first, then sleep.
            tries += 1;
            if tries < 200 {
                std::thread::yield_now();
            } else {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(2));
            }
        }
        None
    }

    fn understand(&mut self, status: i32) -> Option<Stop> {
        if libc::WIFEXITED(status) {
            self.end(Ended::Status(libc::WEXITSTATUS(status)));
            return None;
        }
        if libc::WIFSIGNALED(status) {
            self.end(Ended::Signal(libc::WTERMSIG(status)));
            return None;
        }
        if status >> 16 == EVENT_STOP {
            return Some(Stop::Event);
        }
        match libc::WSTOPSIG(status) {
            signal if signal == libc::SIGTRAP | 0x80 => Some(Stop::Call),
            signal => Some(Stop::Signal(signal)),
        }
    }

    fn end(&mut self, ended: Ended) {
        self.ended = Some(ended);
        self.done = true;
    }

    fn resume(&mut self, request: libc::c_uint, signal: i32) -> Option<()> {
        let signal = usize::try_from(signal).unwrap_or(0);
        ptrace(request, self.tid, 0, signal).ok().map(drop)
    }

    /// Runs to the next entry or exit of a call.
    fn to_call(&mut self) -> Option<()> {
        self.resume(libc::PTRACE_SYSCALL, 0)?;
        // Group stops come in between; signals are held back, but for SIGSTOP.
        for _ in 0..16 {
            match self.next_stop()? {
                Stop::Call => return Some(()),
                Stop::Event => self.resume(libc::PTRACE_SYSCALL, 0)?,
                Stop::Signal(signal) => self.resume(libc::PTRACE_SYSCALL, signal)?,
            }
        }
        None
    }

    fn regs(&self) -> Option<libc::user_regs_struct> {
        // SAFETY: a structure of plain integers.
        let mut regs: libc::user_regs_struct = unsafe { core::mem::zeroed() };
        let at = (&raw mut regs).expose_provenance();
        ptrace(libc::PTRACE_GETREGS, self.tid, 0, at).ok()?;
        Some(regs)
    }

    fn set_regs(&self, regs: &libc::user_regs_struct) -> Option<()> {
        let at = core::ptr::from_ref(regs).expose_provenance();
        ptrace(libc::PTRACE_SETREGS, self.tid, 0, at).ok().map(drop)
    }

    fn mask(&self) -> Option<u64> {
        let mut mask = 0u64;
        let at = (&raw mut mask).expose_provenance();
        ptrace(PTRACE_GETSIGMASK, self.tid, 8, at).ok()?;
        Some(mask)
    }

    fn set_mask(&self, mask: u64) -> Option<()> {
        let at = (&raw const mask).expose_provenance();
        ptrace(PTRACE_SETSIGMASK, self.tid, 8, at).ok().map(drop)
    }

    fn detach(&mut self, signal: i32) {
        if !self.done {
            self.done = true;
            let signal = usize::try_from(signal).unwrap_or(0);
            ptrace(libc::PTRACE_DETACH, self.tid, 0, signal).ok();
        }
    }

    /// Waits for the first stop and lets the thread go on as it is.
    pub(crate) fn let_go(mut self) -> Option<Ended> {
        match self.next_stop() {
            Some(Stop::Signal(signal)) => self.detach(signal),
            _ => self.detach(0),
        }
        self.ended
    }

    /// Runs the mmap with another descriptor and offset, and closes that descriptor.
    pub(crate) fn map(mut self, fd: i32, offset: u64) -> Mapped {
        let mut out = Mapped::default();
        let done = self.map_at_stop(fd, offset);
        out.lost = done.is_none();
        out.mapped = done.is_some_and(|value| !(-4095..0).contains(&value.cast_signed()));
        self.detach(0);
        out.ended = self.ended;
        out
    }

    fn map_at_stop(&mut self, fd: i32, offset: u64) -> Option<u64> {
        match self.next_stop()? {
            Stop::Signal(signal) => {
                self.detach(signal);
                return None;
            }
            Stop::Event | Stop::Call => {}
        }
        let mask = self.mask()?;
        self.set_mask(u64::MAX)?;
        let before = self.regs()?;
        let mut regs = before;
        regs.r8 = u64::from(fd.cast_unsigned()) | u64::from(MMAP_PASS) << 32;
        regs.r9 = offset;
        let mapped = self
            .set_regs(&regs)
            .and_then(|()| self.run_and_close(fd, &before));
        if self.ended.is_none() {
            self.set_mask(mask);
        }
        mapped
    }

    /// From the first stop over the restarted call to its exit; then a close by the same
    /// instruction; then the registers as they were, but for the result.
    fn run_and_close(&mut self, fd: i32, before: &libc::user_regs_struct) -> Option<u64> {
        self.to_call()?; // entry
        self.to_call()?; // exit
        let after = self.regs()?;
        let mut close = after;
        close.rax = libc::SYS_close.cast_unsigned();
        close.rdi = u64::from(fd.cast_unsigned());
        close.rip = after.rip.wrapping_sub(INSTRUCTION);
        close.orig_rax = u64::MAX;
        self.set_regs(&close)?;
        self.to_call()?;
        self.to_call()?;
        let mut restored = after;
        restored.r8 = before.r8;
        restored.r9 = before.r9;
        restored.orig_rax = u64::MAX;
        self.set_regs(&restored)?;
        Some(after.rax)
    }

    /// Runs the restarted call with one argument changed, and puts it back at its exit, before
    /// the kernel delivers a signal.
    pub(crate) fn run_with(mut self, arg: Arg, value: u64) -> Option<Ended> {
        let signal = self.run_with_at_stop(arg, value).unwrap_or(0);
        self.detach(signal);
        self.ended
    }

    fn run_with_at_stop(&mut self, arg: Arg, value: u64) -> Option<i32> {
        if let Stop::Signal(signal) = self.next_stop()? {
            return Some(signal);
        }
        let before = self.regs()?;
        let mut regs = before;
        match arg {
            Arg::First => regs.rdi = value,
            Arg::Second => regs.rsi = value,
        }
        self.set_regs(&regs)?;
        for exit in [false, true] {
            self.resume(libc::PTRACE_SYSCALL, 0)?;
            match self.next_stop()? {
                Stop::Call => {}
                // Something else is due first: the call restarts as it was.
                stop => {
                    let mut now = self.regs()?;
                    (now.rdi, now.rsi) = (before.rdi, before.rsi);
                    self.set_regs(&now)?;
                    return Some(if let Stop::Signal(signal) = stop {
                        signal
                    } else {
                        0
                    });
                }
            }
            if exit {
                let mut now = self.regs()?;
                (now.rdi, now.rsi) = (before.rdi, before.rsi);
                self.set_regs(&now)?;
            }
        }
        Some(0)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.detach(0);
    }
}
