//! Signals that are sent to the supervisor.

use crate::kernel::raw;

impl crate::service::serve::Server<'_> {
    /// Passes a signal on to the main program, unless it has ended.
    fn pass_to_main(&self, signal: i32) {
        if self.ended.is_none() {
            raw::kill(self.main.0, signal);
        }
    }

    /// Passes on the signals that the supervisor has caught. For SIGCHLD, reaps ended children instead.
    pub(crate) fn forward_signals(&mut self) {
        let Some(forward) = &self.forward else { return };
        let (children, signals): (Vec<_>, Vec<_>) = forward
            .take()
            .into_iter()
            .partition(|(signal, _)| *signal == libc::SIGCHLD);
        if !children.is_empty() {
            self.sweep();
        }
        for (signal, from_process) in signals {
            if matches!(signal, libc::SIGUSR1 | libc::SIGUSR2 | libc::SIGALRM) {
                self.pass_to_main(signal);
                continue;
            }
            // A signal of the terminal reaches the programs, too, but not their daemons, which may be all
            // that is left after the main program's end.
            if from_process || self.ended.is_some() {
                self.pass_on(signal);
            }
        }
    }
}
