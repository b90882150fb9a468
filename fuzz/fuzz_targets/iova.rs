//! The allocator of address ranges, compared with a sorted list of live ranges.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use std::collections::BTreeMap;
use vb3_dma::{Constraint, Error, RangeAllocator};

#[derive(Arbitrary, Debug)]
enum Step {
    Take {
        units: u64,
        align: u64,
        limit: u64,
    },
    /// Takes a length that probably fits.
    Small {
        units: u8,
        align_bits: u8,
        limit_bits: u8,
    },
    Free {
        which: u8,
    },
    /// Frees a range that was not taken, or with another length.
    Bad {
        at: u64,
        units: u64,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    first: u64,
    last: u64,
    steps: Vec<Step>,
}

vb3_fuzz::target!(|input: Input| {
    let Ok(mut space) = RangeAllocator::new(Constraint::IovaSpace, 1, input.first, input.last)
    else {
        return;
    };
    // Length by first unit.
    let mut live: BTreeMap<u64, u64> = BTreeMap::new();
    let take = |space: &mut RangeAllocator, live: &mut BTreeMap<_, _>, units, align, limit| {
        let Ok(at) = space.take(units, align, limit) else {
            return;
        };
        assert!(units > 0 && at % align == 0 && at >= input.first);
        let last = at.checked_add(units - 1).expect("inside 64 bits");
        assert!(last <= limit && last <= input.last, "{at:#x} {units:#x}");
        let below = live.range(..=last).next_back();
        let free = below.is_none_or(|(&start, &len): (&u64, &u64)| start + (len - 1) < at);
        assert!(free, "{at:#x} was given already");
        live.insert(at, units);
    };
    for step in input.steps.iter().take(512) {
        match *step {
            Step::Take {
                units,
                align,
                limit,
            } => take(&mut space, &mut live, units, align, limit),
            Step::Small {
                units,
                align_bits,
                limit_bits,
            } => {
                let (align, limit) = (1 << (align_bits % 12), u64::MAX >> (limit_bits % 52));
                take(&mut space, &mut live, units.into(), align, limit);
            }
            Step::Free { which } => {
                let Some(&at) = live.keys().nth(usize::from(which) % live.len().max(1)) else {
                    continue;
                };
                let Some(units) = live.remove(&at) else {
                    continue;
                };
                assert_eq!(space.give_back(at, units), Ok(()));
            }
            Step::Bad { at, units } => {
                if live.get(&at) != Some(&units) {
                    assert_eq!(space.give_back(at, units), Err(Error::Invalid));
                }
            }
        }
        let sum: u64 = live.values().sum();
        assert_eq!(space.used_bytes(), sum);
    }
    for (at, units) in live {
        space.give_back(at, units).expect("was taken");
    }
    assert_eq!(space.used_bytes(), 0);
});
