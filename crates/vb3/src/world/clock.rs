//! The clock of a run.

/// Where the world has its time from.
#[derive(Default)]
pub(super) enum Clock {
    /// The monotonic clock of the system.
    #[default]
    Monotonic,
    /// Nanoseconds by whoever owns the world, for runs that can be repeated.
    Given(Box<dyn Fn() -> u64 + Send>),
}

impl Clock {
    /// The time in nanoseconds. It never goes back.
    pub(super) fn now_ns(&self) -> u64 {
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
