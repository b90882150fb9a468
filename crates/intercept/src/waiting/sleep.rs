//! How long the clock sleeps, and who need not wake it.

use std::time::{Duration, Instant};

/// What the clock may be late by, rather than be woken.
const SLACK: Duration = Duration::from_micros(50);

/// When the clock wakes by itself.
#[derive(Debug, Default)]
pub(crate) struct Sleep {
    until: Option<Instant>,
}

impl Sleep {
    /// Plans to sleep until something is due, or it is time to look again whatever is due. Gives when
    /// that is.
    pub(crate) fn plan(
        &mut self,
        due: Option<Instant>,
        look_again: Option<Instant>,
    ) -> Option<Instant> {
        self.until = due.into_iter().chain(look_again).min();
        self.until
    }

    /// Whether the clock is to be woken for what is `due`: it would sleep past it. True once.
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
