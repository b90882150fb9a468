//! Calls by a thread that was stopped wherever it was: in a call of its own, or in none.

use super::{InStead, Left, Look, PTRACE_INTERRUPT, STOPS, Stop, Stopped, ptrace};
use crate::kernel::MayBlock;
use crate::process::reap::Ended;

/// How a thread is found that was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Not stopped yet. It comes back to the program's own code only when it has stopped for us.
    OnItsWay,
    Stopped,
    /// It has ended, and how, if nobody else was told.
    Gone(Option<Ended>),
}

impl Stopped {
    /// How the thread is found now. A signal that is due is given to it first.
    pub(crate) fn find(&mut self) -> Found {
        match self.look() {
            Look::Nothing => Found::OnItsWay,
            Look::Gone => Found::Gone(self.ended),
            Look::Stop(Stop::Signal(signal)) => {
                self.go_on_to_a_stop(signal);
                Found::OnItsWay
            }
            Look::Stop(_) => Found::Stopped,
        }
    }

    /// Has a stopped thread make calls by an instruction of its memory that makes calls, with all
    /// signals held back. Afterwards it is stopped as it was. A call of its own that was interrupted
    /// goes on when it is let go: of its interruption it hears nothing.
    ///
    /// Source: Linux 6.12 arch/x86/kernel/signal.c `arch_do_signal_or_restart`: whether a call is made
    /// again is judged by the registers after the stop. arch/arm64/kernel/signal.c `do_signal` has
    /// judged before: there a call with a timeout begins anew.
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
        // From the exit of the last call to a stop of the kind at which it was found.
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
        // What fails here has ended: the next look says so. A stop before asked for another.
        let _asked = ptrace(PTRACE_INTERRUPT, self.tid, 0, 0);
        let _gone_on = self.resume(libc::PTRACE_CONT, signal);
    }

    /// Lets a stopped thread go.
    pub(crate) fn free(self) -> Left {
        self.leave(0)
    }

    /// Which thread it is.
    pub(crate) fn tid(&self) -> u32 {
        self.tid.unsigned_abs()
    }
}
