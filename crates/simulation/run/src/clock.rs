//! The clock of a run.

use std::fmt;
use std::str::FromStr;
use vb3_report::trace::OwnTime;

/// Returns nanoseconds of the system's monotonic clock.
pub(super) fn since_boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// How fast the devices' time passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// The same as the system's time.
    #[default]
    Real,
    /// This many times as fast as the system's time.
    Fast(u32),
    /// Jumps to the next event when a program waits for a device, and otherwise stands still.
    Virtual,
    /// Stands still until an order advances it.
    Steps,
}

/// Highest allowed `fast=N`.
const MAX_RATE: u32 = 1000;

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = text.strip_prefix("fast=").and_then(|n| n.parse().ok());
        match (text, rate) {
            ("real", _) => Ok(Self::Real),
            ("virtual", _) => Ok(Self::Virtual),
            ("steps", _) => Ok(Self::Steps),
            (_, Some(rate)) if (1..=MAX_RATE).contains(&rate) => Ok(Self::Fast(rate)),
            _ => Err(format!(
                "real, virtual, steps, or fast=N for a clock N times as fast (1 to {MAX_RATE})"
            )),
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real => f.write_str("real"),
            Self::Fast(rate) => write!(f, "fast={rate}"),
            Self::Virtual => f.write_str("virtual"),
            Self::Steps => f.write_str("steps"),
        }
    }
}

/// The devices' time.
#[derive(Default)]
pub(super) struct Clock {
    /// Returns the time in nanoseconds that the clock follows, for repeatable runs. With `None`, the clock
    /// follows the system's monotonic clock.
    given: Option<Box<dyn Fn() -> u64 + Send>>,
    /// Nanoseconds that the clock stood still in all stops before the latest one.
    behind_ns: u64,
    /// When the latest stop began and when it ends, in the source's time.
    stop: Option<(u64, u64)>,
    pace: Pace,
    /// The devices' time when the pace was set.
    origin_ns: u64,
    /// The current time under `Pace::Virtual` and `Pace::Steps`.
    virtual_ns: u64,
}

impl Clock {
    /// Makes a clock that reads time from a function. The function's values must never decrease.
    pub(super) fn given(now_ns: impl Fn() -> u64 + Send + 'static) -> Self {
        Self {
            given: Some(Box::new(now_ns)),
            ..Self::default()
        }
    }

    /// Changes the pace from now on.
    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.origin_ns = self.now_ns();
        if matches!(pace, Pace::Virtual | Pace::Steps) {
            // Whole microseconds: a timeval then rounds every timestamp the same way in each run.
            self.origin_ns = self.origin_ns.next_multiple_of(1000);
        }
        self.virtual_ns = self.origin_ns;
        self.pace = pace;
    }

    /// Returns a virtual clock's start and current time, or `None` at other paces.
    pub(super) fn own(&self) -> Option<OwnTime> {
        self.is_virtual().then_some(OwnTime {
            origin_ns: self.origin_ns,
            now_ns: self.virtual_ns,
        })
    }

    /// Returns whether time only passes by [`jump`](Self::jump).
    pub(super) const fn is_virtual(&self) -> bool {
        matches!(self.pace, Pace::Virtual | Pace::Steps)
    }

    /// Returns whether time jumps to the next event when a program waits for a device.
    pub(super) const fn follows_programs(&self) -> bool {
        matches!(self.pace, Pace::Virtual)
    }

    const fn rate(&self) -> u64 {
        match self.pace {
            // CAST: widening.
            Pace::Fast(rate) => rate as u64,
            Pace::Real | Pace::Virtual | Pace::Steps => 1,
        }
    }

    /// Returns the time in nanoseconds. It never decreases.
    pub(super) fn now_ns(&self) -> u64 {
        self.at(|| self.real_ns())
    }

    /// Returns the time at the source's time `real_ns`, for which a virtual clock does not ask.
    fn at(&self, real_ns: impl FnOnce() -> u64) -> u64 {
        if self.is_virtual() {
            return self.virtual_ns;
        }
        let now = real_ns();
        let stood = match self.stop {
            Some((from, until)) => now.min(until).saturating_sub(from),
            None => 0,
        };
        let now = now.saturating_sub(self.behind_ns).saturating_sub(stood);
        let passed = now.saturating_sub(self.origin_ns);
        let passed = passed.saturating_mul(self.rate());
        self.origin_ns.saturating_add(passed)
    }

    /// Returns the source's time, for everything that concerns programs and not devices.
    pub(super) fn real_ns(&self) -> u64 {
        let given = self.given.as_ref();
        given.map_or_else(since_boot_ns, |now_ns| now_ns())
    }

    /// Advances virtual time to `to_ns`.
    pub(super) fn jump(&mut self, to_ns: u64) {
        self.virtual_ns = self.virtual_ns.max(to_ns);
    }

    /// Stops the clock for a span of the source's time, or lengthens the current stop by that span.
    pub(super) fn stop(&mut self, for_ns: u64) {
        let now = self.real_ns();
        self.stop = match self.stop {
            Some((from, until)) if now < until => Some((from, until.saturating_add(for_ns))),
            past => {
                let stood = past.map_or(0, |(from, until)| until.saturating_sub(from));
                self.behind_ns = self.behind_ns.saturating_add(stood);
                Some((now, now.saturating_add(for_ns)))
            }
        };
    }

    /// Returns how long to wait until `due_ns`, in nanoseconds of the source's time.
    pub(super) fn until(&self, due_ns: u64) -> u64 {
        let real = self.real_ns();
        let now = self.at(|| real);
        let stands = self.stop.map_or(0, |(_, until)| until.saturating_sub(real));
        match due_ns.saturating_sub(now) {
            0 => 0,
            left => left.div_ceil(self.rate()).saturating_add(stands),
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
    #[test]
    fn a_fast_clock_is_exact() {
        let time = Arc::new(AtomicU64::new(1000));
        let source = Arc::clone(&time);
        let mut clock = Clock::given(move || source.load(Ordering::Relaxed));
        clock.set_pace("fast=10".parse().unwrap());
        assert_eq!((clock.now_ns(), clock.until(1025)), (1000, 3));
        time.store(1003, Ordering::Relaxed);
        assert_eq!((clock.now_ns(), clock.until(1025)), (1030, 0));
        clock.stop(5);
        time.store(1010, Ordering::Relaxed);
        assert_eq!((clock.now_ns(), clock.until(1051)), (1050, 1));
        for wrong in ["fast", "fast=0", "fast=1001", "fast=-1", "slow", ""] {
            assert!(wrong.parse::<Pace>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn virtual_clock_never_goes_back() {
        let mut clock = Clock::given(|| 7);
        clock.set_pace(Pace::Virtual);
        clock.jump(1100);
        clock.jump(50);
        assert_eq!((clock.now_ns(), clock.real_ns()), (1100, 7));
        let own = OwnTime {
            origin_ns: 1000,
            now_ns: 1100,
        };
        assert_eq!(clock.own(), Some(own));
    }
}
