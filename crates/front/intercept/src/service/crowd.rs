//! Calls that were received and wait for the receiver, while programs make more calls than it can serve at once.
//!
//! The kernel hands calls over in their order of arrival. If a program makes many long calls, such as polls of many
//! files by many threads, every other call would wait for all of them. So the receiver, after a long call, takes all
//! calls that have arrived, and chooses the next: each process has its turn, and ioctls, by which programs get their
//! frames in time, come before other calls.
//!
//! While hundreds of programs start, it takes many milliseconds to take all their calls. If one of the calls that the
//! receiver has taken is an ioctl, the receiver takes further calls for at most a millisecond, then serves the ioctl,
//! and takes the remaining calls afterwards.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::process::Notif;

/// A call that took this long may have let others wait.
pub(crate) const LONG: Duration = Duration::from_micros(200);
/// Maximum number of calls in the crowd. Further ones wait in the kernel.
const MAX_CALLS: usize = 4096;
/// If an ioctl waits in the crowd, the receiver takes no further calls once it has taken calls for this long.
const MAX_IOCTL_DELAY: Duration = Duration::from_millis(1);
/// Number of ioctls that are served before another call, if one waits.
const IOCTLS_IN_A_ROW: usize = 16;

/// The calls of several processes.
#[derive(Debug)]
struct Turns<T> {
    calls: HashMap<u32, VecDeque<T>>,
    /// The processes that have calls here, in the order of their turns.
    order: VecDeque<u32>,
}

impl<T> Turns<T> {
    fn add(&mut self, pid: u32, call: T) {
        let calls = self.calls.entry(pid).or_default();
        if calls.is_empty() {
            self.order.push_back(pid);
        }
        calls.push_back(call);
    }

    /// Takes the oldest call of the next process.
    fn next(&mut self) -> Option<T> {
        let pid = self.order.pop_front()?;
        let calls = self.calls.get_mut(&pid)?;
        let call = calls.pop_front();
        if calls.is_empty() {
            self.calls.remove(&pid);
        } else {
            self.order.push_back(pid);
        }
        call
    }
}

/// Calls that wait for the receiver.
#[derive(Debug)]
pub(crate) struct Crowd<T = Notif> {
    ioctls: Turns<T>,
    others: Turns<T>,
    len: usize,
    /// Number of ioctls served since the last other call.
    in_a_row: usize,
}

impl<T> Default for Crowd<T> {
    fn default() -> Self {
        let none = || Turns {
            calls: HashMap::new(),
            order: VecDeque::new(),
        };
        Self {
            ioctls: none(),
            others: none(),
            len: 0,
            in_a_row: 0,
        }
    }
}

impl<T> Crowd<T> {
    /// Returns whether the receiver should take a further call before it serves one. `elapsed` is the time for which
    /// the receiver has taken calls without serving one.
    pub(crate) fn wants_more(&self, elapsed: Duration) -> bool {
        let has_ioctl = !self.ioctls.order.is_empty();
        self.len < MAX_CALLS && (!has_ioctl || elapsed < MAX_IOCTL_DELAY)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a call of process `pid`. `nr` is the number of the system call.
    pub(crate) fn add(&mut self, pid: u32, nr: i64, call: T) {
        let turns = match nr == libc::SYS_ioctl {
            true => &mut self.ioctls,
            false => &mut self.others,
        };
        turns.add(pid, call);
        self.len += 1;
    }

    /// Takes the call that is to be served next.
    pub(crate) fn next(&mut self) -> Option<T> {
        let ioctl = match self.in_a_row < IOCTLS_IN_A_ROW || self.others.order.is_empty() {
            true => self.ioctls.next(),
            false => None,
        };
        self.in_a_row = match &ioctl {
            Some(_) => self.in_a_row + 1,
            None => 0,
        };
        let call = ioctl.or_else(|| self.others.next());
        self.len -= usize::from(call.is_some());
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(crowd: &mut Crowd<u32>) -> Vec<u32> {
        std::iter::from_fn(|| crowd.next()).collect()
    }

    #[test]
    fn each_process_has_its_turn() {
        let mut crowd = Crowd::default();
        for call in 0..3 {
            crowd.add(1, libc::SYS_ppoll, call);
        }
        crowd.add(2, libc::SYS_ppoll, 10);
        crowd.add(2, libc::SYS_ppoll, 11);
        crowd.add(3, libc::SYS_ppoll, 20);
        assert_eq!(served(&mut crowd), [0, 10, 20, 1, 11, 2]);
        assert!(crowd.is_empty() && crowd.wants_more(MAX_IOCTL_DELAY));
    }

    #[test]
    fn ioctls_come_first_but_not_for_ever() {
        let mut crowd = Crowd::default();
        crowd.add(1, libc::SYS_openat, 100);
        crowd.add(1, libc::SYS_openat, 101);
        (0..20).for_each(|call| crowd.add(2, libc::SYS_ioctl, call));
        let served = served(&mut crowd);
        let at = |call| served.iter().position(|other| *other == call);
        assert_eq!([at(0), at(100), at(19), at(101)], [0, 16, 20, 21].map(Some));
    }

    #[test]
    fn the_crowd_has_a_limit() {
        let mut crowd = Crowd::default();
        (0..MAX_CALLS as u32).for_each(|call| crowd.add(call, libc::SYS_ioctl, call));
        assert!(!crowd.wants_more(Duration::ZERO));
        assert!(crowd.next().is_some() && crowd.wants_more(Duration::ZERO));
    }

    #[test]
    fn an_ioctl_does_not_wait_for_all_calls() {
        let mut crowd = Crowd::default();
        crowd.add(1, libc::SYS_openat, 0);
        assert!(crowd.wants_more(MAX_IOCTL_DELAY));
        crowd.add(2, libc::SYS_ioctl, 1);
        assert!(crowd.wants_more(Duration::ZERO) && !crowd.wants_more(MAX_IOCTL_DELAY));
        assert_eq!(crowd.next(), Some(1));
        assert!(crowd.wants_more(MAX_IOCTL_DELAY));
    }
}
