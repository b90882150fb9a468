//! The address allocator, with and without caches, against a sorted list of what is live.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use std::collections::BTreeMap;
use vb3_dma::{CachedIova, Error, IommuInfo, Iova, IovaAlign, IovaAllocator};

#[derive(Arbitrary, Debug)]
enum Step {
    Alloc {
        len: u64,
        limit: u64,
        natural: bool,
    },
    /// Lengths that are likely to fit.
    Small {
        granules: u8,
        limit_bits: u8,
        natural: bool,
        cpu: bool,
    },
    Free {
        which: u8,
        cpu: bool,
    },
    /// What was not given, or not so.
    Bad {
        at: u64,
        len: u64,
    },
    Flush,
}

#[derive(Arbitrary, Debug)]
struct Input {
    granule: u8,
    first: u64,
    last: u64,
    low: bool,
    cached: bool,
    steps: Vec<Step>,
}

enum Space {
    Plain(IovaAllocator),
    Cached(Box<CachedIova<2>>),
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
    let mut space = if input.cached {
        Space::Cached(Box::new(CachedIova::new(space)))
    } else {
        Space::Plain(space)
    };
    // Length in granules and length asked for, by address.
    let mut live: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let take = |space: &mut Space, live: &mut BTreeMap<_, _>, len: u64, limit, natural, cpu| {
        let align = if natural {
            IovaAlign::Natural
        } else {
            IovaAlign::Preferred
        };
        let found = match space {
            Space::Plain(space) => space.alloc(len, limit, align),
            Space::Cached(space) => space.alloc(cpu, len, limit),
        };
        let Ok(at) = found else { return };
        let at = at.get();
        let size = len.next_multiple_of(granule);
        assert!(at != 0 && at % granule == 0 && at >= input.first);
        let last = at.checked_add(size - 1).expect("inside 64 bits");
        assert!(last <= limit && last <= input.last, "{at:#x} {size:#x}");
        if natural && matches!(space, Space::Plain(_)) {
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
                take(&mut space, &mut live, len, limit, natural, 0);
            }
            Step::Small {
                granules,
                limit_bits,
                natural,
                cpu,
            } => {
                let limit = u64::MAX >> (limit_bits % 52);
                let len = u64::from(granules) * granule;
                take(&mut space, &mut live, len, limit, natural, cpu.into());
            }
            Step::Free { which, cpu } => {
                let Some(&at) = live.keys().nth(usize::from(which) % live.len().max(1)) else {
                    continue;
                };
                let Some((_, len)) = live.remove(&at) else {
                    continue;
                };
                let freed = match &mut space {
                    Space::Plain(space) => space.free(Iova::new(at), len),
                    Space::Cached(space) => space.free(cpu.into(), Iova::new(at), len),
                };
                assert_eq!(freed, Ok(()));
            }
            Step::Bad { at, len } => {
                // Only the plain one looks at once.
                if let Space::Plain(space) = &mut space {
                    let known = live.get(&at).is_some_and(|&(size, _)| {
                        len.checked_next_multiple_of(granule) == Some(size)
                    });
                    if !known {
                        assert_eq!(space.free(Iova::new(at), len), Err(Error::Invalid));
                    }
                }
            }
            Step::Flush => {
                if let Space::Cached(space) = &mut space {
                    space.flush();
                }
            }
        }
        if let Space::Plain(space) = &space {
            let sum: u64 = live.values().map(|&(size, _)| size).sum();
            assert_eq!((space.used_bytes(), space.live()), (sum, live.len() as u64));
        }
    }
    for (at, (_, len)) in live {
        match &mut space {
            Space::Plain(space) => space.free(Iova::new(at), len),
            Space::Cached(space) => space.free(1, Iova::new(at), len),
        }
        .expect("was given");
    }
    let space = match space {
        Space::Plain(space) => space,
        Space::Cached(mut space) => {
            space.flush();
            assert_eq!(space.space().live(), 0);
            return;
        }
    };
    assert_eq!((space.live(), space.used_bytes()), (0, 0));
});
