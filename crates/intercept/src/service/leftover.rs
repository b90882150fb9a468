//! What is still running when the program itself has ended, and the end of a whole run.

use std::time::{Duration, Instant};

use crate::kernel::MayBlock;
use crate::kernel::raw;
use crate::note::Note;
use crate::process::{LeftProcess as Left, reap};
use crate::program::Leftover;
use crate::service::serve::Server;
use crate::service::supervisor::Supervisor;

/// How long processes may take to end by themselves before they are named.
const GRACE: Duration = Duration::from_millis(500);
/// How long daemons outlive the session, and how long SIGTERM is given to work.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the end of processes is looked for, at most.
const PAUSE: Duration = Duration::from_millis(100);
/// A look takes at most one part in so many of the time.
const SHARE: u32 = 20;
/// Most that are named.
const NAMED: usize = 8;

/// How far the end of a run is.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    wish: Leftover,
    /// When the program was seen to have ended.
    since: Option<Instant>,
    /// When none of its session was left.
    detached_since: Option<Instant>,
    /// What the processes named last were told to expect.
    named: Option<Fate>,
    /// The last signal sent to what is left.
    sent: Option<(i32, Instant)>,
    /// A signal to end was passed on to all programs.
    asked: bool,
    /// Signals to pass on to all programs.
    pub(crate) to_pass: Vec<i32>,
    next_look: Option<Instant>,
}

/// What is done about a process that is left.
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

    /// What is done about those that are left; `in_session`: some are of the program's session.
    fn fate(&self, in_session: bool) -> Fate {
        match self.wish {
            Leftover::Kill => Fate::Ended,
            Leftover::Session if !in_session => Fate::Ended,
            Leftover::Session | Leftover::Wait => Fate::Awaited,
        }
    }

    /// Returns what is due for those that are left, and notes that it is done.
    fn take_due(&mut self, now: Instant, in_session: bool) -> Due {
        let is_over = |since: Instant, time| now.saturating_duration_since(since) >= time;
        let since = *self.since.get_or_insert(now);
        let fate = self.fate(in_session);
        let since = match fate {
            Fate::Ended => *self.detached_since.get_or_insert(now),
            Fate::Awaited => since,
        };
        let signal = match self.sent {
            // A process that was forked meanwhile has not had the last one.
            Some((_, at)) if is_over(at, CHANGE_TIMEOUT) => libc::SIGKILL,
            Some(_) => return Due::Nothing,
            None if self.wish == Leftover::Kill => libc::SIGTERM,
            None if fate == Fate::Ended && is_over(since, CHANGE_TIMEOUT) => libc::SIGTERM,
            None if self.named != Some(fate) && is_over(since, GRACE) => {
                self.named = Some(fate);
                return Due::Name(fate);
            }
            None => return Due::Nothing,
        };
        let is_named = self.named.replace(fate) == Some(fate);
        self.sent = Some((signal, now));
        Due::Send(signal, (!is_named).then_some(fate))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Name(Fate),
    /// A signal, and before it their names, unless they were named.
    Send(i32, Option<Fate>),
}

impl Supervisor<'_> {
    /// Once the program has ended: names what it has left, or ends it.
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
        let due = {
            let ending = &mut self.server(may).ending;
            ending.next_look = Some(now + PAUSE.max((now - start) * SHARE));
            match left.is_empty() {
                true => Due::Nothing,
                false => ending.take_due(now, left.iter().any(in_session)),
            }
        };
        match due {
            Due::Nothing => {}
            Due::Name(fate) => self.name(&left, fate),
            Due::Send(signal, unnamed) => {
                unnamed.into_iter().for_each(|fate| self.name(&left, fate));
                send(&left, signal);
            }
        }
    }

    /// Passes signals that were sent to the supervisor on to every program. One that asks to end and
    /// comes a second time kills them.
    pub(crate) fn pass_signals_on(&self, may: &mut MayBlock) {
        let signals = core::mem::take(&mut self.server(may).ending.to_pass);
        for signal in signals {
            send(&self.programs(may), signal);
        }
    }

    /// The processes of programs, those of the backend aside.
    fn programs(&self, may: &mut MayBlock) -> Vec<Left> {
        reap::programs(may, |may, pid| self.server(may).backend.is_own_child(pid))
    }

    fn name(&self, left: &[Left], fate: Fate) {
        for left in left.iter().take(NAMED) {
            self.host.note(Note::LeftOver {
                pid: left.pid,
                name: reap::name_of(left.pid),
                is_ended: fate == Fate::Ended,
            });
        }
    }
}

impl Server<'_> {
    /// Notes a signal for [`pass_signals_on`](Supervisor::pass_signals_on).
    pub(crate) fn pass_on(&mut self, signal: i32) {
        let ends = matches!(signal, libc::SIGTERM | libc::SIGINT);
        let again = ends && self.ending.asked;
        self.ending.asked |= ends;
        if ends {
            // What outlives the program now is not waited for.
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
            assert_eq!((due(0), due(499)), (Due::Nothing, Due::Nothing));
            assert_eq!(due(500), Due::Name(Fate::Awaited));
            assert_eq!(due(60_000), Due::Nothing);
            let mut kills = Ending::new(Leftover::Kill);
            let mut due = |ms| kills.take_due(after(ms), in_session);
            assert_eq!(due(0), Due::Send(libc::SIGTERM, Some(Fate::Ended)));
            assert_eq!(due(1999), Due::Nothing);
            assert_eq!(due(2000), Due::Send(libc::SIGKILL, None));
            assert_eq!(due(3999), Due::Nothing);
            assert_eq!(due(4000), Due::Send(libc::SIGKILL, None));
        }
    }

    #[test]
    fn daemons_outlive_the_session_by_two_seconds() {
        let start = Instant::now();
        let mut ending = Ending::new(Leftover::Session);
        let mut due =
            |ms, in_session| ending.take_due(start + Duration::from_millis(ms), in_session);
        assert_eq!(due(0, true), Due::Nothing);
        assert_eq!(due(9000, true), Due::Name(Fate::Awaited));
        assert_eq!(due(9100, true), Due::Nothing);
        assert_eq!(due(9200, false), Due::Nothing);
        assert_eq!(due(9700, false), Due::Name(Fate::Ended));
        assert_eq!(due(11_199, false), Due::Nothing);
        assert_eq!(due(11_200, false), Due::Send(libc::SIGTERM, None));
        assert_eq!(due(13_200, false), Due::Send(libc::SIGKILL, None));
    }
}
