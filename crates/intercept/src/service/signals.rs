//! Signals that are sent to the supervisor.

use crate::kernel::raw;

impl crate::service::serve::Server<'_> {
    /// Passes a signal on to the program, as long as it runs.
    fn pass_to_main(&self, signal: i32) {
        if self.ended.is_none() {
            raw::kill(self.main.0, signal);
        }
    }

    /// Passes on signals to the supervisor, and reaps the children that they report.
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
            // The terminal sends its signal to the programs, too, but not to their daemons. Those may
            // be left after the program's end.
            if from_process || self.ended.is_some() {
                self.pass_on(signal);
            }
        }
    }
}
