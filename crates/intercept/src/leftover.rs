//! What is still running when the program itself has ended, and the end of a whole run.

use std::time::{Duration, Instant};

use crate::note::Note;
use crate::reap;
use crate::serve::Server;

/// How long children may take to end by themselves before they are named.
const GRACE: Duration = Duration::from_millis(500);
/// How long they may take to end by SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most that are named.
const NAMED: usize = 8;

/// What becomes of processes that outlive the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leftover {
    /// The run goes on until they end.
    #[default]
    Wait,
    /// They are sent SIGTERM, and after two seconds SIGKILL.
    Kill,
}

/// How far the end of a run is.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    wish: Leftover,
    /// When the program was seen to have ended.
    since: Option<Instant>,
    named: bool,
    /// The last signal sent to what is left.
    sent: Option<(i32, Instant)>,
    /// A signal to end was passed on to all programs.
    asked: bool,
}

impl Ending {
    pub(crate) fn new(wish: Leftover) -> Self {
        Self {
            wish,
            ..Self::default()
        }
    }

    /// What is due for those that are left.
    fn due(&mut self, now: Instant) -> Due {
        let since = *self.since.get_or_insert(now);
        match self.sent {
            Some((libc::SIGKILL, _)) => Due::Nothing,
            Some((_, at)) if now.saturating_duration_since(at) >= PATIENCE => {
                Due::Send(libc::SIGKILL)
            }
            Some(_) => Due::Nothing,
            None if self.wish == Leftover::Kill => Due::Send(libc::SIGTERM),
            None if !self.named && now.saturating_duration_since(since) >= GRACE => Due::Name,
            None => Due::Nothing,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Nothing,
    Name,
    Send(i32),
}

impl Server<'_> {
    /// Processes of programs that have not ended.
    fn programs(&self) -> Vec<u32> {
        reap::programs(|pid| self.backend.is_own_child(pid))
    }

    /// Once the program has ended: names what it has left, or ends it.
    pub(crate) fn look_after_leftovers(&mut self) {
        let now = Instant::now();
        match self.ending.due(now) {
            Due::Nothing => {}
            Due::Name => {
                self.ending.named = true;
                self.name(&self.programs());
            }
            Due::Send(signal) => {
                let left = self.programs();
                if signal == libc::SIGTERM {
                    self.name(&left);
                }
                self.ending.sent = Some((signal, now));
                send(&left, signal);
            }
        }
    }

    fn name(&self, left: &[u32]) {
        for &pid in left.iter().take(NAMED) {
            self.host.note(Note::LeftOver {
                pid,
                name: reap::name_of(pid),
            });
        }
    }

    /// Passes a signal that was sent to the supervisor on to every program. One that asks to end
    /// and comes a second time kills them.
    pub(crate) fn pass_on(&mut self, signal: i32) {
        let ends = matches!(signal, libc::SIGTERM | libc::SIGINT);
        let again = ends && self.ending.asked;
        self.ending.asked |= ends;
        if ends {
            // What outlives the program now is not waited for.
            self.ending.wish = Leftover::Kill;
        }
        send(&self.programs(), if again { libc::SIGKILL } else { signal });
    }
}

fn send(pids: &[u32], signal: i32) {
    for &pid in pids {
        // SAFETY: takes two integers; our own descendants.
        unsafe { libc::kill(pid.cast_signed(), signal) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_named_or_ended_each_once() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut waits = Ending::new(Leftover::Wait);
        assert_eq!(waits.due(after(0)), Due::Nothing);
        assert_eq!(waits.due(after(499)), Due::Nothing);
        assert_eq!(waits.due(after(500)), Due::Name);
        waits.named = true;
        assert_eq!(waits.due(after(60_000)), Due::Nothing);
        let mut kills = Ending::new(Leftover::Kill);
        assert_eq!(kills.due(after(0)), Due::Send(libc::SIGTERM));
        kills.sent = Some((libc::SIGTERM, after(0)));
        assert_eq!(kills.due(after(1999)), Due::Nothing);
        assert_eq!(kills.due(after(2000)), Due::Send(libc::SIGKILL));
        kills.sent = Some((libc::SIGKILL, after(2000)));
        assert_eq!(kills.due(after(60_000)), Due::Nothing);
    }
}
