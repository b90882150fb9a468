//! Injected faults in the machine's fallible calls.

use rand_core::Rng;
use rand_pcg::Pcg32;
use vb3_dma::{Constraint, Error, Reason};

/// A plan of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Faults {
    /// No faults.
    #[default]
    Off,
    /// Only the n-th call from now fails, counted from zero.
    Nth(u64),
    /// Each call fails with this probability, in millionths.
    Random {
        /// Failures in a million calls.
        per_million: u32,
        /// Seed of the random numbers.
        seed: u64,
    },
}

/// A plan of faults with its counters.
#[derive(Debug)]
pub(crate) struct Injector {
    plan: Faults,
    /// Calls since the plan was set.
    pub(crate) calls: u64,
    /// Faults since the plan was set.
    pub(crate) hits: u64,
    dice: Pcg32,
}

impl Injector {
    pub(crate) fn new(plan: Faults) -> Self {
        let seed = match plan {
            Faults::Random { seed, .. } => seed,
            Faults::Off | Faults::Nth(_) => 0,
        };
        Self {
            plan,
            calls: 0,
            hits: 0,
            dice: Pcg32::new(seed, 0x6661_756c),
        }
    }

    /// Decides whether the current call fails. Every fallible call begins with this.
    ///
    /// # Errors
    /// `NoMemory`, with the call's number.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        let call = self.calls;
        self.calls += 1;
        let fails = match self.plan {
            Faults::Off => false,
            Faults::Nth(n) => n == call,
            Faults::Random { per_million, .. } => self.dice.next_u32() % 1_000_000 < per_million,
        };
        if !fails {
            return Ok(());
        }
        self.hits += 1;
        let constraint = Constraint::InjectedFault;
        Err(Error::NoMemory(Reason::new(constraint, call, 0)))
    }
}
