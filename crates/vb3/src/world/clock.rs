//! The clock of a run.

/// Where the world has its time from.
#[derive(Default)]
enum Source {
    /// The monotonic clock of the system.
    #[default]
    Monotonic,
    /// Nanoseconds by whoever owns the world, for runs that can be repeated.
    Given(Box<dyn Fn() -> u64 + Send>),
}

impl Source {
    fn now_ns(&self) -> u64 {
        match self {
            Self::Monotonic => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
                let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
                seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
            }
            Self::Given(now_ns) => now_ns(),
        }
    }
}

/// The time of devices: the system's, but for the times that it stood still.
#[derive(Default)]
pub(super) struct Clock {
    source: Source,
    /// Nanoseconds that it has stood still before the last stop.
    behind_ns: u64,
    /// The last stop: when it began and when it ends, by the source.
    stop: Option<(u64, u64)>,
}

impl Clock {
    /// A clock by whoever owns the world. It must never go back.
    pub(super) fn given(now_ns: impl Fn() -> u64 + Send + 'static) -> Self {
        Self {
            source: Source::Given(Box::new(now_ns)),
            ..Self::default()
        }
    }

    /// The time in nanoseconds. It never goes back.
    pub(super) fn now_ns(&self) -> u64 {
        let now = self.source.now_ns();
        let stood = match self.stop {
            Some((from, until)) => now.min(until).saturating_sub(from),
            None => 0,
        };
        now.saturating_sub(self.behind_ns).saturating_sub(stood)
    }

    /// Stands still for a time of the source; longer, if it stands still already.
    pub(super) fn stop(&mut self, for_ns: u64) {
        let now = self.source.now_ns();
        self.stop = match self.stop {
            Some((from, until)) if now < until => Some((from, until.saturating_add(for_ns))),
            past => {
                let stood = past.map_or(0, |(from, until)| until.saturating_sub(from));
                self.behind_ns = self.behind_ns.saturating_add(stood);
                Some((now, now.saturating_add(for_ns)))
            }
        };
    }

    /// How long to wait, in nanoseconds of the source, until it is that late.
    pub(super) fn until(&self, due_ns: u64) -> u64 {
        let now = self.source.now_ns();
        let stands = self.stop.map_or(0, |(_, until)| until.saturating_sub(now));
        match due_ns.saturating_sub(self.now_ns()) {
            0 => 0,
            left => left.saturating_add(stands),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn a_clock_that_was_stopped_goes_on_where_it_stood() {
        let time = Arc::new(AtomicU64::new(1000));
        let source = Arc::clone(&time);
        let mut clock = Clock::given(move || source.load(Ordering::Relaxed));
        let set = |now| time.store(now, Ordering::Relaxed);
        clock.stop(50);
        assert_eq!((clock.now_ns(), clock.until(1010)), (1000, 60));
        assert_eq!(clock.until(1000), 0, "what is due already is due");
        set(1040);
        assert_eq!((clock.now_ns(), clock.until(1010)), (1000, 20));
        clock.stop(100);
        set(1150);
        assert_eq!(clock.now_ns(), 1000);
        set(1160);
        assert_eq!((clock.now_ns(), clock.until(1015)), (1010, 5));
        clock.stop(7);
        set(1200);
        assert_eq!(clock.now_ns(), 1043);
    }
}
