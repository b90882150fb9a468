//! Signals that are sent to the supervisor.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::kernel::raw;

/// How long a signal waits before it is passed on. A sender such as pkill needs this time at most to signal other
/// processes, before the supervisor or after it.
const GROUP_TIME: Duration = Duration::from_millis(50);

/// Signals that wait until it is known whether the process group has got them, each with the end of its wait.
pub(crate) type Undecided = VecDeque<(i32, Instant)>;

/// Returns whether a signal is passed on to the main program only.
const fn is_for_main(signal: i32) -> bool {
    matches!(signal, libc::SIGUSR1 | libc::SIGUSR2 | libc::SIGALRM)
}

impl crate::service::serve::Server<'_> {
    /// Takes the signals that the supervisor has caught. For SIGCHLD, reaps ended children.
    pub(crate) fn take_signals(&mut self) {
        let Some(forward) = &self.forward else { return };
        let (children, mut signals): (Vec<_>, Vec<_>) = forward
            .take()
            .into_iter()
            .partition(|(signal, _)| *signal == libc::SIGCHLD);
        if !children.is_empty() {
            self.sweep();
        }
        // A signal of the terminal reaches the programs, too, but not their daemons, which may be all
        // that is left after the main program's end.
        let is_over = self.ended.is_some();
        signals.retain(|(signal, from_process)| {
            if is_for_main(*signal) {
                !is_over
            } else {
                *from_process || is_over
            }
        });
        let until = Instant::now() + GROUP_TIME;
        let signals = signals.into_iter().map(|(signal, _)| (signal, until));
        self.undecided.extend(signals);
    }

    /// Passes signals on, except those that the whole process group has got.
    pub(crate) fn pass_signals(&mut self) {
        while let Some(&(signal, until)) = self.undecided.front() {
            let guard = self.host.guard.as_ref();
            let is_of_group = guard.and_then(|guard| guard.is_of_group(signal, 2 * GROUP_TIME));
            let is_over = self.ended.is_some();
            if !is_over && is_of_group.is_some() && Instant::now() < until {
                return;
            }
            self.undecided.pop_front();
            if is_of_group == Some(true) && !is_over {
                continue;
            }
            match is_for_main(signal) {
                true if is_over => {}
                true => raw::kill(self.main.0, signal),
                false => self.pass_on(signal),
            }
        }
    }
}
