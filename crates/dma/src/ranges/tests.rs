//! The allocator against a map of single units.

use super::{RangeAllocator, RangeError};
use proptest::prelude::*;
use std::vec::Vec;

const UNITS: usize = 96;
const FIRST: u64 = 3;

/// One flag a unit: slow and plainly right.
struct Model {
    taken: [bool; UNITS],
}

impl Model {
    fn free_at(&self, at: u64, units: u64) -> bool {
        let (start, end) = ((at - FIRST) as usize, (at - FIRST + units) as usize);
        end <= UNITS && self.taken[start..end].iter().all(|taken| !taken)
    }

    fn set(&mut self, at: u64, units: u64, taken: bool) {
        let start = (at - FIRST) as usize;
        self.taken[start..start + units as usize].fill(taken);
    }

    /// The highest place, tried one by one.
    fn best(&self, units: u64, align: u64, limit: u64) -> Option<u64> {
        let last = (FIRST + UNITS as u64 - 1).min(limit);
        (FIRST..=last)
            .rev()
            .filter(|at| at % align == 0 && at + units - 1 <= last)
            .find(|&at| self.free_at(at, units))
    }

    fn largest(&self, limit: u64) -> u64 {
        let last = (FIRST + UNITS as u64 - 1).min(limit);
        let (mut best, mut run) = (0, 0);
        for at in FIRST..=last {
            run = if self.free_at(at, 1) { run + 1 } else { 0 };
            best = best.max(run);
        }
        best
    }
}

#[derive(Clone, Debug)]
enum Op {
    Take {
        units: u64,
        align_bits: u32,
        limit: u64,
    },
    Give {
        which: usize,
    },
    GiveWrong {
        at: u64,
        units: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1u64..20, 0u32..4, 0u64..130)
            .prop_map(|(units, align_bits, limit)| Op::Take { units, align_bits, limit }),
        3 => any::<usize>().prop_map(|which| Op::Give { which }),
        1 => (0u64..120, 0u64..20).prop_map(|(at, units)| Op::GiveWrong { at, units }),
    ]
}

proptest! {
    #[test]
    fn it_agrees_with_a_map_of_units(ops in prop::collection::vec(op(), 1..200)) {
        let last = FIRST + UNITS as u64 - 1;
        let mut real = RangeAllocator::new(FIRST, last).unwrap();
        let mut model = Model { taken: [false; UNITS] };
        let mut live: Vec<(u64, u64)> = Vec::new();
        for op in ops {
            match op {
                Op::Take { units, align_bits, limit } => {
                    let align = 1 << align_bits;
                    match (real.take(units, align, limit), model.best(units, align, limit)) {
                        (Ok(at), Some(expected)) => {
                            prop_assert_eq!(at, expected);
                            model.set(at, units, true);
                            live.push((at, units));
                        }
                        (Err(RangeError::Exhausted(found)), None) => {
                            prop_assert_eq!(found, model.largest(limit));
                        }
                        (got, expected) => prop_assert!(false, "{:?} for {:?}", got, expected),
                    }
                }
                Op::Give { which } => {
                    if live.is_empty() {
                        continue;
                    }
                    let (at, units) = live.swap_remove(which % live.len());
                    prop_assert_eq!(real.give_back(at, units), Ok(()));
                    model.set(at, units, false);
                }
                Op::GiveWrong { at, units } => {
                    let inside = at >= FIRST && units > 0 && at + units - 1 <= last;
                    let all_taken = inside
                        && (at..at + units).all(|unit| !model.free_at(unit, 1));
                    if !all_taken {
                        prop_assert_eq!(real.give_back(at, units), Err(RangeError::Invalid));
                    }
                }
            }
            let used = model.taken.iter().filter(|taken| **taken).count();
            prop_assert_eq!(real.used(), used as u64);
            prop_assert_eq!(real.live(), live.len());
            prop_assert_eq!(real.largest_free(u64::MAX), model.largest(u64::MAX));
        }
        for (at, units) in live {
            prop_assert_eq!(real.give_back(at, units), Ok(()));
        }
        prop_assert_eq!(real.largest_free(u64::MAX), UNITS as u64);
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    assert_eq!(
        RangeAllocator::new(0, u64::MAX).err(),
        Some(RangeError::Invalid)
    );
    assert_eq!(RangeAllocator::new(2, 1).err(), Some(RangeError::Invalid));
    let mut all = RangeAllocator::new(1, u64::MAX).unwrap();
    assert_eq!(all.take(0, 1, u64::MAX), Err(RangeError::Invalid));
    assert_eq!(all.take(1, 3, u64::MAX), Err(RangeError::Invalid));
    assert_eq!(all.take(u64::MAX, 1, u64::MAX), Ok(1));
    assert_eq!(all.take(1, 1, u64::MAX), Err(RangeError::Exhausted(0)));
    assert_eq!(all.give_back(1, 0), Err(RangeError::Invalid));
    assert_eq!(all.give_back(u64::MAX, 2), Err(RangeError::Invalid));
    assert_eq!(all.give_back(1, u64::MAX), Ok(()));
    assert_eq!(all.give_back(1, 1), Err(RangeError::Invalid));
}
