//! Times of single operations: medians and tails, without the clock's own cost.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Nanoseconds of many operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    ns: Vec<f64>,
}

/// A median, a mean and a 99th percentile, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) mean: f64,
    pub(crate) p99: f64,
}

impl Times {
    pub(crate) fn push(&mut self, ns: f64) {
        self.ns.push(ns);
    }

    pub(crate) fn summary(&mut self) -> Summary {
        self.ns.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let index = (self.ns.len() as f64 * part) as usize;
            self.ns
                .get(index.min(self.ns.len().saturating_sub(1)))
                .copied()
        };
        Summary {
            median: at(0.5).unwrap_or(f64::NAN),
            mean: self.ns.iter().sum::<f64>() / self.ns.len() as f64,
            p99: at(0.99).unwrap_or(f64::NAN),
        }
    }
}

/// Returns the cost of reading the clock twice, in nanoseconds.
pub(crate) fn clock_cost() -> f64 {
    let mut times = Times::default();
    for _ in 0..10_000 {
        let start = Instant::now();
        times.push(black_box(start).elapsed().as_nanos() as f64);
    }
    times.summary().median
}

/// Runs `act` up to `most` times or for `limit`, and times each run.
pub(crate) fn time(most: usize, limit: Duration, clock: f64, mut act: impl FnMut()) -> Summary {
    time_with(most, limit, clock, || (), |()| act())
}

/// Times runs as [`time`] does, but calls `prepare` before each run, untimed, and passes its result to `act`.
pub(crate) fn time_with<T>(
    most: usize,
    limit: Duration,
    clock: f64,
    mut prepare: impl FnMut() -> T,
    mut act: impl FnMut(T),
) -> Summary {
    let begin = Instant::now();
    let mut times = Times::default();
    for _ in 0..most {
        let ready = black_box(prepare());
        let start = Instant::now();
        act(ready);
        let ns = start.elapsed().as_nanos() as f64;
        times.push((ns - clock).max(0.0));
        if begin.elapsed() > limit {
            break;
        }
    }
    times.summary()
}

/// A small generator of pseudo-random numbers, which are the same in each run.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}
