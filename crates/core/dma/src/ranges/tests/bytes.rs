//! Tests of addresses in bytes: edges, preference, reserved regions, caches.

use super::RangeAllocator;
use crate::{Constraint, Error};
use std::vec::Vec;

const G: u64 = 1 << 12;

const fn natural(len: u64) -> u64 {
    match len.checked_next_power_of_two() {
        Some(align) => align,
        None => 1 << 63,
    }
}

fn space(last: u64) -> RangeAllocator {
    RangeAllocator::new(Constraint::IovaSpace, G, 1, last).unwrap()
}

#[test]
fn address_zero_is_never_given_and_every_other_is() {
    for granule_bits in [12, 14, 16] {
        let granule = 1u64 << granule_bits;
        let mut space =
            RangeAllocator::new(Constraint::IovaSpace, granule, 1, 16 * granule - 1).unwrap();
        let mut got: Vec<u64> = (0..15)
            .map(|_| space.take(1, 1, u64::MAX).unwrap())
            .collect();
        let from_the_top: Vec<u64> = (1..16).rev().map(|unit| unit * granule).collect();
        assert_eq!(got, from_the_top);
        let err = space.take(1, 1, u64::MAX).unwrap_err();
        let reason = err.reason().unwrap();
        assert_eq!(
            (err.errno(), reason.constraint),
            (12, Constraint::IovaSpace)
        );
        assert_eq!((reason.wanted, reason.found), (1, 0));
        got.drain(..)
            .for_each(|at| space.give_back(at, granule).unwrap());
        assert_eq!(space.used_bytes(), 0);
    }
}

#[test]
fn sums_at_the_end_of_the_address_space_do_not_wrap() {
    // CVE-2023-52910: a sum over the last page frame wrapped and the search never ended.
    let mut all = space(u64::MAX);
    let top = all.take(G, 1, u64::MAX).unwrap();
    assert_eq!(top, u64::MAX - (G - 1));
    for len in [0, u64::MAX, u64::MAX - G + 2] {
        let err = all.take(len, natural(len), u64::MAX).unwrap_err();
        assert_eq!(err, Error::Invalid, "{len:#x}");
    }
    let err = all
        .take(u64::MAX - G + 1, natural(u64::MAX - G + 1), u64::MAX)
        .unwrap_err();
    assert_eq!(err.errno(), 12);
    assert_eq!(
        all.give_back(top, 2 * G),
        Err(Error::Invalid),
        "past the end"
    );
    assert_eq!(all.give_back(top + 1, G), Err(Error::Invalid));
    assert_eq!(all.give_back(top, 0), Err(Error::Invalid));
    all.give_back(top, G).unwrap();
    assert_eq!(all.give_back(top, G), Err(Error::Invalid), "twice");
    for limit in [0, 1, G - 1, G, 2 * G - 2] {
        let err = all.take(1, 1, limit).unwrap_err();
        assert_eq!(err.reason().unwrap().found, 0, "limit {limit}");
    }
    let only = all.take(1, 1, 2 * G - 1).unwrap();
    assert_eq!(only, G);
    for (first, last) in [(1, 0), (1, G - 1), (2 * G, G)] {
        assert!(RangeAllocator::new(Constraint::IovaSpace, G, first, last).is_err());
    }
    for granule in [0, 3, u64::MAX] {
        let refused = RangeAllocator::new(Constraint::IovaSpace, granule, 1, 1 << 20);
        assert_eq!(refused.err(), Some(Error::Invalid), "{granule}");
    }
}

#[test]
fn natural_alignment_is_kept_or_refused() {
    let mut space = space(64 * G - 1);
    for (units, align) in [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (16, 16)] {
        let at = space.take(units * G, natural(units * G), u64::MAX).unwrap();
        assert_eq!(at % (align * G), 0, "{units}: {at}");
    }
    let err = space.take(17 * G, natural(17 * G), u64::MAX);
    assert!(err.is_err(), "no place on a multiple of 32 is left");
    space.take(9 * G, 1, u64::MAX).unwrap();
    for align in [0, 3] {
        assert_eq!(space.take(G, align, u64::MAX), Err(Error::Invalid));
    }
}

#[test]
fn reserved_addresses_stay_out() {
    let mut space = space((1 << 32) - 1);
    // The interrupt window of a PC, and a region that overlaps the window.
    space.reserve(0xfee0_0000, 0xfeef_ffff).unwrap();
    space.reserve(0xfeef_f800, 0xfef0_07ff).unwrap();
    for _ in 0..70_000 {
        let at = space.take(G, 1, u64::MAX).unwrap();
        assert!(!(0xfee0_0000..=0xfef0_0fff).contains(&at), "{at:#x}");
        if at < 0xfe00_0000 {
            break;
        }
    }
    assert_eq!(space.give_back(0xfee0_0000, 0x10_0000), Err(Error::Invalid));
    assert_eq!(space.reserve(1, 0), Err(Error::Invalid));
}
