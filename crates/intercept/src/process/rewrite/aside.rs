//! Makes a stopped thread execute calls, whether or not it is inside a call.

use super::{InStead, Left, PTRACE_INTERRUPT, STOPS, Stop, Stopped, TraceeState, ptrace};
use crate::kernel::MayBlock;
use crate::process::reap::Ended;

/// The state of a thread that was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The thread has not stopped yet. It cannot run the program's code before it stops.
    OnItsWay,
    Stopped,
    /// The thread has ended. The exit status is missing if another thread has reaped it.
    Gone(Option<Ended>),
}

impl Stopped {
    /// Returns the thread's state. If the thread stopped at a signal, lets it run to the requested stop.
    pub(crate) fn find(&mut self) -> Found {
        match self.look() {
            TraceeState::Nothing => Found::OnItsWay,
            TraceeState::Gone => Found::Gone(self.ended),
            TraceeState::Stop(Stop::Signal(signal)) => {
                self.go_on_to_a_stop(signal);
                Found::OnItsWay
            }
            TraceeState::Stop(_) => Found::Stopped,
        }
    }

    /// Makes a stopped thread execute calls with a system call instruction in its memory.
    ///
    /// All signals are blocked meanwhile, and the thread's registers are restored afterwards. If the stop
    /// interrupted a call of the thread, that call continues after the release and does not return EINTR.
    ///
    /// Source: Linux 6.12 arch/x86/kernel/signal.c `arch_do_signal_or_restart`: after the stop, the kernel
    /// decides from the registers whether a call restarts. arch/arm64/kernel/signal.c `do_signal`: the kernel
    /// decides before the stop, so a call with a timeout starts over, with its whole timeout.
    pub(crate) fn aside<T>(
        &mut self,
        may: &MayBlock,
        instruction: u64,
        calls: impl FnOnce(&mut InStead<'_>) -> Option<T>,
    ) -> Option<T> {
        let before = self.regs()?;
        self.hold_signals()?;
        let again = before.at(instruction);
        let done = calls(&mut InStead {
            may,
            thread: self,
            again,
        });
        // The thread is at the exit of its last call. It continues to a requested stop, like the one at which
        // this function found it.
        self.go_on_to_a_stop(0);
        for _ in 0..STOPS {
            match self.next_stop(may)? {
                Stop::Event => break,
                Stop::Signal(signal) => self.go_on_to_a_stop(signal),
                Stop::Call => self.go_on_to_a_stop(0),
            }
        }
        self.set_regs(&before)?;
        done
    }

    fn go_on_to_a_stop(&mut self, signal: i32) {
        // This fails if the thread has ended, and the next look reports its end. If the thread stops
        // for another reason first, the caller requests this stop again.
        let _asked = ptrace(PTRACE_INTERRUPT, self.tid, 0, 0);
        let _gone_on = self.resume(libc::PTRACE_CONT, signal);
    }

    /// Releases a stopped thread.
    pub(crate) fn free(self) -> Left {
        self.leave(0)
    }

    /// Returns the thread's number.
    pub(crate) fn tid(&self) -> u32 {
        self.tid.unsigned_abs()
    }
}
