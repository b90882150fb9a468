//! Decides how long the clock thread sleeps, and when other threads must wake it.

use std::time::{Duration, Instant};

/// Work may be this late if that saves waking the clock.
const SLACK: Duration = Duration::from_micros(50);

/// The time at which the clock thread wakes by itself, or `None` for never.
#[derive(Debug, Default)]
pub(crate) struct Sleep {
    until: Option<Instant>,
}

impl Sleep {
    /// Plans a sleep until `due` or `look_again`, whichever comes first. Returns this time.
    pub(crate) fn plan(
        &mut self,
        due: Option<Instant>,
        look_again: Option<Instant>,
    ) -> Option<Instant> {
        self.until = due.into_iter().chain(look_again).min();
        self.until
    }

    /// Returns whether the clock must be woken, because it would sleep past `due`. If so, records that it
    /// wakes at `due`, so that the next call for the same time returns false.
    pub(crate) fn is_cut_short_by(&mut self, due: Instant) -> bool {
        let sooner = self.until.is_none_or(|until| due + SLACK < until);
        if sooner {
            self.until = Some(due);
        }
        sooner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nobody_wakes_it_for_what_it_will_see_by_itself() {
        let (now, mut sleep) = (Instant::now(), Sleep::default());
        assert_eq!(sleep.plan(None, Some(now + 4 * MS)), Some(now + 4 * MS));
        assert!(!sleep.is_cut_short_by(now + 5 * MS));
        assert!(sleep.is_cut_short_by(now + 2 * MS));
        assert!(!sleep.is_cut_short_by(now + 2 * MS), "it was woken");
        assert_eq!(
            sleep.plan(Some(now + MS), Some(now + 4 * MS)),
            Some(now + MS)
        );
        assert!(!sleep.is_cut_short_by(now + 4 * MS));
    }

    #[test]
    fn where_it_sleeps_for_ever_anything_wakes_it() {
        let (now, mut sleep) = (Instant::now(), Sleep::default());
        assert_eq!(sleep.plan(None, None), None);
        assert!(sleep.is_cut_short_by(now + 1000 * MS));
    }
}
