//! Signals that are sent to the supervisor, processes that outlive the program, and the end of a run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::kernel::{MayBlock, raw};
use crate::note::Note;
use crate::process::{LeftProcess as Left, reap};
use crate::program::Leftover;
use crate::service::{Server, Supervisor};

/// Time for leftover processes to end by themselves, before a note to the user names them.
const EXIT_GRACE: Duration = Duration::from_millis(500);
/// Time from the end of the session's last process to SIGTERM for daemons, and from SIGTERM to SIGKILL.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest interval of checks for leftover processes.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The interval is at least this many times the duration of a check.
const TIME_SHARE: u32 = 20;
/// Maximum number of leftover processes that notes name.
const MAX_NAMED: usize = 8;

/// How long the supervisor keeps a signal before it passes the signal on. Within this time, a sender such as
/// pkill has signalled all its targets, so that the supervisor knows which other processes got the signal.
const GROUP_TIME: Duration = Duration::from_millis(50);

/// Signals that wait until it is known whether the process group has got them, each with the end of its wait.
pub(crate) type Undecided = VecDeque<(i32, Instant)>;

const fn is_for_main(signal: i32) -> bool {
    matches!(signal, libc::SIGUSR1 | libc::SIGUSR2 | libc::SIGALRM)
}

/// The progress of a run's end.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    wish: Leftover,
    /// When the supervisor noticed the program's end.
    since: Option<Instant>,
    /// When the last process of the program's session was seen to have ended.
    detached_since: Option<Instant>,
    /// The treatment that the last notes announced for the leftover processes.
    named: Option<Fate>,
    /// The last signal sent to leftover processes, and the time of sending.
    sent: Option<(i32, Instant)>,
    /// Whether SIGTERM or SIGINT was passed on to all programs.
    asked: bool,
    /// Signals to pass on to all programs.
    pub(crate) to_pass: Vec<i32>,
    next_look: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Awaited,
    Ended,
}

impl Ending {
    pub(crate) fn new(wish: Leftover) -> Self {
        Self {
            wish,
            ..Self::default()
        }
    }

    /// Returns how to treat leftover processes. `in_session`: some belong to the program's session.
    fn fate(&self, in_session: bool) -> Fate {
        match self.wish {
            Leftover::Kill => Fate::Ended,
            Leftover::Session if !in_session => Fate::Ended,
            Leftover::Session | Leftover::Wait => Fate::Awaited,
        }
    }

    /// Returns the next action for leftover processes, and records it as done.
    fn take_due(&mut self, now: Instant, in_session: bool) -> Due {
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        let since = *self.since.get_or_insert(now);
        let fate = self.fate(in_session);
        let since = match fate {
            Fate::Ended => *self.detached_since.get_or_insert(now),
            Fate::Awaited => since,
        };
        let signal = match self.sent {
            // Sent again and again: a process forked since the last signal did not get it.
            Some((_, at)) if is_over(at, STEP_TIMEOUT) => libc::SIGKILL,
            Some(_) => return (None, None),
            None if self.wish == Leftover::Kill => libc::SIGTERM,
            None if fate == Fate::Ended && is_over(since, STEP_TIMEOUT) => libc::SIGTERM,
            None if self.named != Some(fate) && is_over(since, EXIT_GRACE) => {
                self.named = Some(fate);
                return (Some(fate), None);
            }
            None => return (None, None),
        };
        let is_named = self.named.replace(fate) == Some(fate);
        self.sent = Some((signal, now));
        ((!is_named).then_some(fate), Some(signal))
    }
}

/// The treatment to tell the user with the processes' names, and then the signal to send.
type Due = (Option<Fate>, Option<i32>);

impl Supervisor<'_> {
    /// After the main program's end, names leftover processes to the user, or signals them to end.
    pub(crate) fn look_after_leftovers(&self, may: &mut MayBlock) {
        let start = Instant::now();
        let is_due = |server: &Server<'_>| {
            let next = server.ending.next_look;
            server.ended.is_some() && next.is_none_or(|next| next <= start)
        };
        if !is_due(&self.server(may)) {
            return;
        }
        let left = self.programs(may);
        let session = reap::session("self");
        let in_session = |left: &Left| Some(left.session) == session || left.session == self.main;
        let now = Instant::now();
        let (unnamed, signal) = {
            let ending = &mut self.server(may).ending;
            ending.next_look = Some(now + CHECK_INTERVAL.max((now - start) * TIME_SHARE));
            match left.is_empty() {
                true => (None, None),
                false => ending.take_due(now, left.iter().any(in_session)),
            }
        };
        unnamed.into_iter().for_each(|fate| self.name(&left, fate));
        signal.into_iter().for_each(|signal| send(&left, signal));
    }

    /// Sends the signals recorded by `pass_on` to every process of the run.
    pub(crate) fn pass_signals_on(&self, may: &mut MayBlock) {
        let signals = core::mem::take(&mut self.server(may).ending.to_pass);
        for signal in signals {
            send(&self.programs(may), signal);
        }
    }

    /// Returns the programs' running processes, without the backend's own children.
    fn programs(&self, may: &mut MayBlock) -> Vec<Left> {
        reap::programs(may, |may, pid| self.server(may).backend.is_own_child(pid))
    }

    fn name(&self, left: &[Left], fate: Fate) {
        for left in left.iter().take(MAX_NAMED) {
            self.host.note(Note::LeftOver {
                pid: left.pid,
                name: reap::name_of(left.pid),
                is_ended: fate == Fate::Ended,
            });
        }
    }
}

impl Server<'_> {
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
            let is_of_group = self.host.guard.is_of_group(signal, 2 * GROUP_TIME);
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

    /// Records a signal for all programs. A second SIGTERM or SIGINT becomes SIGKILL.
    fn pass_on(&mut self, signal: i32) {
        let ends = matches!(signal, libc::SIGTERM | libc::SIGINT);
        let again = ends && self.ending.asked;
        self.ending.asked |= ends;
        if ends {
            // From now on, processes that outlive the main program are killed.
            self.ending.wish = Leftover::Kill;
        }
        let signal = if again { libc::SIGKILL } else { signal };
        self.ending.to_pass.push(signal);
    }
}

fn send(left: &[Left], signal: i32) {
    for left in left {
        raw::kill(left.pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_named_or_ended_each_once() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        for in_session in [true, false] {
            let mut waits = Ending::new(Leftover::Wait);
            let mut due = |ms| waits.take_due(after(ms), in_session);
            assert_eq!((due(0), due(499)), ((None, None), (None, None)));
            assert_eq!(due(500), (Some(Fate::Awaited), None));
            assert_eq!(due(60_000), (None, None));
            let mut kills = Ending::new(Leftover::Kill);
            let mut due = |ms| kills.take_due(after(ms), in_session);
            assert_eq!(due(0), (Some(Fate::Ended), Some(libc::SIGTERM)));
            assert_eq!(due(1999), (None, None));
            assert_eq!(due(2000), (None, Some(libc::SIGKILL)));
            assert_eq!(due(3999), (None, None));
            assert_eq!(due(4000), (None, Some(libc::SIGKILL)));
        }
    }

    #[test]
    fn daemons_outlive_the_session_by_two_seconds() {
        let start = Instant::now();
        let mut ending = Ending::new(Leftover::Session);
        let mut due =
            |ms, in_session| ending.take_due(start + Duration::from_millis(ms), in_session);
        assert_eq!(due(0, true), (None, None));
        assert_eq!(due(9000, true), (Some(Fate::Awaited), None));
        assert_eq!(due(9100, true), (None, None));
        assert_eq!(due(9200, false), (None, None));
        assert_eq!(due(9700, false), (Some(Fate::Ended), None));
        assert_eq!(due(11_199, false), (None, None));
        assert_eq!(due(11_200, false), (None, Some(libc::SIGTERM)));
        assert_eq!(due(13_200, false), (None, Some(libc::SIGKILL)));
    }
}
