//! The I/O address allocator, compared with a sorted list of live ranges.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use std::collections::BTreeMap;
use vb3_dma::{Error, IommuInfo, Iova, IovaAlign, IovaAllocator};

#[derive(Arbitrary, Debug)]
enum Step {
    Alloc {
        len: u64,
        limit: u64,
        natural: bool,
    },
    /// Allocates a length that probably fits.
    Small {
        granules: u8,
        limit_bits: u8,
        natural: bool,
    },
    Free {
        which: u8,
    },
    /// Frees a range that was not allocated, or with another length.
    Bad {
        at: u64,
        len: u64,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    granule: u8,
    first: u64,
    last: u64,
    low: bool,
    steps: Vec<Step>,
}

vb3_fuzz::target!(|input: Input| {
    let granule = [1 << 12, 1 << 14, 1 << 16][usize::from(input.granule % 3)];
    let info = IommuInfo {
        page_sizes: granule,
        first: Iova::new(input.first),
        last: Iova::new(input.last),
    };
    let Ok(mut space) = IovaAllocator::new(&info) else {
        return;
    };
    if input.low {
        space.prefer_low();
    }
    // By address: length in granules, and the requested length.
    let mut live: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let take = |space: &mut IovaAllocator, live: &mut BTreeMap<_, _>, len: u64, limit, natural| {
        let align = if natural {
            IovaAlign::Natural
        } else {
            IovaAlign::Preferred
        };
        let Ok(at) = space.alloc(len, limit, align) else {
            return;
        };
        let at = at.get();
        let size = len.next_multiple_of(granule);
        assert!(at != 0 && at % granule == 0 && at >= input.first);
        let last = at.checked_add(size - 1).expect("inside 64 bits");
        assert!(last <= limit && last <= input.last, "{at:#x} {size:#x}");
        if natural {
            assert_eq!(
                at % (size / granule).next_power_of_two().saturating_mul(granule),
                0
            );
        }
        let below = live.range(..=last).next_back();
        let free =
            below.is_none_or(|(&start, &(size, _)): (&u64, &(u64, u64))| start + (size - 1) < at);
        assert!(free, "{at:#x} was given already");
        live.insert(at, (size, len));
    };
    for step in input.steps.iter().take(512) {
        match *step {
            Step::Alloc {
                len,
                limit,
                natural,
            } => {
                take(&mut space, &mut live, len, limit, natural);
            }
            Step::Small {
                granules,
                limit_bits,
                natural,
            } => {
                let limit = u64::MAX >> (limit_bits % 52);
                let len = u64::from(granules) * granule;
                take(&mut space, &mut live, len, limit, natural);
            }
            Step::Free { which } => {
                let Some(&at) = live.keys().nth(usize::from(which) % live.len().max(1)) else {
                    continue;
                };
                let Some((_, len)) = live.remove(&at) else {
                    continue;
                };
                assert_eq!(space.free(Iova::new(at), len), Ok(()));
            }
            Step::Bad { at, len } => {
                let known = live
                    .get(&at)
                    .is_some_and(|&(size, _)| len.checked_next_multiple_of(granule) == Some(size));
                if !known {
                    assert_eq!(space.free(Iova::new(at), len), Err(Error::Invalid));
                }
            }
        }
        let sum: u64 = live.values().map(|&(size, _)| size).sum();
        assert_eq!((space.used_bytes(), space.live()), (sum, live.len() as u64));
    }
    for (at, (_, len)) in live {
        space.free(Iova::new(at), len).expect("was given");
    }
    assert_eq!((space.live(), space.used_bytes()), (0, 0));
});
