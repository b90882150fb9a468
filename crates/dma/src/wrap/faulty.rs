//! The wrapper that fails.

use super::{Hooked, Hooks};
use crate::{Constraint, Error, Reason};

/// Which of the calls that may fail do fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Faults {
    /// None.
    #[default]
    Off,
    /// The n-th from now, counted from zero; no other.
    Nth(u64),
    /// Each with this probability, in millionths.
    Random {
        /// Failures in a million calls.
        per_million: u32,
        /// The seed of the dice. The same one makes the same calls fail.
        seed: u64,
    },
}

/// Makes calls fail with `NoMemory`, before they reach the layer below.
pub type Faulty<O> = Hooked<O, Fail>;

/// The hook of [`Faulty`].
#[derive(Debug)]
pub struct Fail {
    faults: Faults,
    dice: u64,
    calls: u64,
    hits: u64,
}

impl<O> Faulty<O> {
    /// Fails nothing, until [`set_faults`](Self::set_faults).
    pub const fn new(ops: O) -> Self {
        Self::with(ops, Fail::by(Faults::Off))
    }

    /// Sets which calls fail, and starts counting anew.
    pub const fn set_faults(&mut self, faults: Faults) {
        *self.hooks_mut() = Fail::by(faults);
    }

    /// Calls that could have failed since then.
    pub const fn calls(&self) -> u64 {
        self.hooks().calls
    }

    /// Calls that were made to fail since then.
    pub const fn hits(&self) -> u64 {
        self.hooks().hits
    }
}

impl Fail {
    const fn by(faults: Faults) -> Self {
        let dice = match faults {
            Faults::Random { seed, .. } => seed,
            Faults::Off | Faults::Nth(_) => 0,
        };
        Self {
            faults,
            dice,
            calls: 0,
            hits: 0,
        }
    }

    /// The next number of the dice (splitmix64).
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl<D> Hooks<D> for Fail {
    fn before(&mut self) -> Result<(), Error> {
        let call = self.calls;
        self.calls = self.calls.saturating_add(1);
        let fails = match self.faults {
            Faults::Off => false,
            Faults::Nth(n) => n == call,
            Faults::Random { per_million, .. } => self.roll() % 1_000_000 < u64::from(per_million),
        };
        if !fails {
            return Ok(());
        }
        self.hits = self.hits.saturating_add(1);
        Err(Error::NoMemory(Reason {
            constraint: Constraint::InjectedFault,
            wanted: call,
            found: 0,
        }))
    }
}
