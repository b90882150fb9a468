//! Tests of the allocator against a map of single units.

mod bytes;
mod check;

use super::RangeAllocator;
use crate::{Constraint, Error, Reason};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// A model with one flag for each unit: slow and obviously correct.
#[derive(Clone)]
struct Model {
    first: u64,
    taken: Vec<bool>,
}

impl Model {
    fn new(first: u64, last: u64) -> Self {
        Self {
            first,
            taken: vec![false; (last - first + 1) as usize],
        }
    }

    fn last(&self) -> u64 {
        self.first + self.taken.len() as u64 - 1
    }

    fn range(&self, at: u64, units: u64) -> Option<core::ops::Range<usize>> {
        let start = at.checked_sub(self.first)? as usize;
        let end = start.checked_add(units as usize)?;
        (end <= self.taken.len()).then_some(start..end)
    }

    fn is_free(&self, at: u64, units: u64) -> bool {
        self.range(at, units)
            .is_some_and(|range| self.taken[range].iter().all(|taken| !taken))
    }

    fn set(&mut self, at: u64, units: u64, taken: bool) {
        let range = self.range(at, units).unwrap();
        self.taken[range].fill(taken);
    }

    /// Returns whether any place suits, and the start of the highest naturally aligned block.
    fn places(&self, units: u64, align: u64, limit: u64) -> (bool, Option<u64>) {
        let limit = limit.min(self.last());
        let block = units.next_power_of_two().max(align);
        let mut any = false;
        let mut run = 0u64;
        let mut best = None;
        for at in (self.first..=limit).rev() {
            run = if self.is_free(at, 1) { run + 1 } else { 0 };
            if run >= units && at % align == 0 {
                any = true;
            }
            if run >= block && at % block == 0 && best.is_none() {
                best = Some(at);
            }
        }
        (any, best)
    }

    fn largest(&self, limit: u64) -> u64 {
        let (mut best, mut run) = (0, 0);
        for at in self.first..=limit.min(self.last()) {
            run = if self.is_free(at, 1) { run + 1 } else { 0 };
            best = best.max(run);
        }
        best
    }
}

/// Makes an allocator of granules of one byte.
fn units_of(first: u64, last: u64) -> Result<RangeAllocator, Error> {
    RangeAllocator::new(Constraint::IovaSpace, 1, first, last)
}

/// Returns the result of a call that finds no free run of `wanted` bytes.
fn exhausted(wanted: u64, found: u64) -> Result<u64, Error> {
    let reason = Reason::new(Constraint::IovaSpace, wanted, found);
    Err(Error::NoMemory(reason))
}

/// Returns the longest free run at or below a limit.
fn largest_free(space: &mut RangeAllocator, limit: u64) -> u64 {
    match space.take(u64::MAX, 1, limit) {
        Err(Error::NoMemory(reason)) => reason.found,
        other => panic!("{other:?}"),
    }
}

/// An allocator and its model, which do the same steps and are compared after each.
struct Pair {
    space: RangeAllocator,
    model: Model,
    live: Vec<(u64, u64)>,
}

impl Pair {
    fn new(first: u64, last: u64) -> Self {
        Self {
            space: units_of(first, last).unwrap(),
            model: Model::new(first, last),
            live: Vec::new(),
        }
    }

    fn take(&mut self, units: u64, align: u64, limit: u64) {
        let (any, best) = self.model.places(units, align, limit);
        match self.space.take(units, align, limit) {
            Ok(at) => {
                assert_eq!(at % align, 0);
                assert!(at + units - 1 <= limit, "{at} + {units} above {limit}");
                assert!(self.model.is_free(at, units), "{at} + {units} is taken");
                if best.is_some() {
                    assert_eq!(Some(at), best, "{units} units: the highest block");
                }
                self.model.set(at, units, true);
                self.live.push((at, units));
            }
            Err(Error::NoMemory(Reason { found, .. })) => {
                assert!(
                    !any,
                    "{units} units aligned to {align} would fit below {limit}"
                );
                assert_eq!(found, self.model.largest(limit));
            }
            Err(other) => panic!("{other:?}"),
        }
        self.compare();
    }

    fn give(&mut self, which: usize) {
        if self.live.is_empty() {
            return;
        }
        let (at, units) = self.live.swap_remove(which % self.live.len());
        self.space.give_back(at, units).unwrap();
        self.model.set(at, units, false);
        self.compare();
        assert_eq!(
            self.space.give_back(at, units),
            Err(Error::Invalid),
            "given back twice"
        );
        self.compare();
    }

    fn largest(&mut self, limit: u64) {
        assert_eq!(
            largest_free(&mut self.space, limit),
            self.model.largest(limit)
        );
    }

    fn give_wrong(&mut self, at: u64, units: u64) {
        if self.live.contains(&(at, units)) {
            return;
        }
        assert_eq!(self.space.give_back(at, units), Err(Error::Invalid));
        self.compare();
    }

    fn compare(&self) {
        let used: u64 = self.live.iter().map(|&(_, units)| units).sum();
        assert_eq!(self.space.used_bytes(), used);
        let mut expected = Vec::new();
        let mut at = self.model.first;
        for run in self.model.taken.chunk_by(|a, b| a == b) {
            let last = at + run.len() as u64 - 1;
            if !run[0] {
                expected.push((at, last));
            }
            at = last + 1;
        }
        assert_eq!(check::free_runs(&self.space), expected);
    }

    fn empty(mut self) {
        while !self.live.is_empty() {
            self.give(0);
        }
        let all = self.model.last() - self.model.first + 1;
        assert_eq!(largest_free(&mut self.space, u64::MAX), all);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Take(u64, u32, u64),
    Give(usize),
    GiveWrong(u64, u64),
    Largest(u64),
}

fn op(units: u64) -> impl Strategy<Value = Op> {
    let size = prop_oneof![4 => 1u64..8, 2 => 1u64..100, 1 => 1..=units, 1 => Just(64u64)];
    let limit = prop_oneof![Just(u64::MAX), 0..units + 10];
    prop_oneof![
        4 => (size.clone(), prop_oneof![3 => Just(0u32), 1 => 0u32..9], limit)
            .prop_map(|(n, align, limit)| Op::Take(n, align, limit)),
        3 => any::<usize>().prop_map(Op::Give),
        1 => (0..units + 10, size).prop_map(|(at, n)| Op::GiveWrong(at, n)),
    ]
}

fn play(first: u64, last: u64, ops: Vec<Op>) {
    let mut pair = Pair::new(first, last);
    for op in ops {
        match op {
            Op::Take(units, align_bits, limit) => pair.take(units, 1 << align_bits, limit),
            Op::Give(which) => pair.give(which),
            Op::GiveWrong(at, units) => pair.give_wrong(at, units),
            Op::Largest(limit) => pair.largest(limit),
        }
    }
    pair.empty();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn small_spaces_agree_with_the_model(ops in prop::collection::vec(op(200), 1..80)) {
        play(3, 202, ops);
    }

    #[test]
    fn spaces_at_another_place_agree(ops in prop::collection::vec(op(1200), 1..60)) {
        play(3500, 4700, ops.into_iter().map(|op| match op {
            Op::Take(n, align, limit) => Op::Take(n, align, limit.saturating_add(3500)),
            Op::GiveWrong(at, n) => Op::GiveWrong(at + 3500, n),
            other => other,
        }).collect());
    }

    #[test]
    fn large_units_agree_with_small_ones(ops in prop::collection::vec(op(300), 1..60)) {
        // Each unit of the model is a block of 1024: all numbers are scaled, and nothing else changes.
        let mut pair = Pair::new(1, 300);
        let mut large = units_of(1024, 301 * 1024 - 1).unwrap();
        for op in ops {
            match op {
                Op::Take(units, align_bits, limit) => {
                    let scaled = limit.saturating_add(1).saturating_mul(1024).saturating_sub(1);
                    let before = pair.live.len();
                    pair.take(units, 1 << align_bits, limit);
                    let found = large.take(units * 1024, 1024 << align_bits, scaled);
                    if pair.live.len() > before {
                        prop_assert_eq!(found, Ok(pair.live[before].0 * 1024));
                    } else {
                        prop_assert!(found.is_err());
                    }
                }
                Op::Give(which) if !pair.live.is_empty() => {
                    let (at, units) = pair.live[which % pair.live.len()];
                    pair.give(which);
                    large.give_back(at * 1024, units * 1024).unwrap();
                }
                _ => {}
            }
            prop_assert_eq!(large.used_bytes(), pair.space.used_bytes() * 1024);
        }
    }
}

/// Operations on few ranges, short and long.
fn few() -> impl Strategy<Value = Op> {
    let size = prop_oneof![6 => 1u64..200, 2 => 1u64..5000, 1 => Just(4096u64)];
    let limit = prop_oneof![4 => Just(u64::MAX), 1 => 0u64..13_000];
    prop_oneof![
        4 => (size.clone(), limit.clone()).prop_map(|(n, limit)| Op::Take(n, 0, limit)),
        4 => any::<usize>().prop_map(Op::Give),
        1 => (0u64..13_000, size).prop_map(|(at, n)| Op::GiveWrong(at, n)),
        2 => limit.prop_map(Op::Largest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn large_spaces_agree_with_the_model(ops in prop::collection::vec(few(), 1..40)) {
        play(0, 3 * 4096 - 1, ops);
    }
}

/// Plays all orders of four takes and their returns in a space where not all ranges fit at once.
#[test]
fn every_order_of_a_few_operations_agrees() {
    let sizes = [5u64, 3, 8, 6];
    let mut orders = vec![Vec::new()];
    for step in 0..8usize {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..8)
                    .filter(|op| !order.contains(op))
                    // A range is taken before it is returned.
                    .filter(|op| *op < 4 || order.contains(&(op - 4)))
                    .map(|op| order.iter().copied().chain([op]).collect())
                    .collect::<Vec<Vec<usize>>>()
            })
            .collect();
        assert!(orders.iter().all(|order| order.len() == step + 1));
    }
    assert_eq!(orders.len(), 2520);
    for order in orders {
        let mut pair = Pair::new(1, 18);
        let mut held = [None; 4];
        for op in order {
            if op < 4 {
                let before = pair.live.len();
                pair.take(sizes[op], 1, u64::MAX);
                held[op] = pair.live.get(before).copied();
            } else if let Some(range) = held[op - 4] {
                let which = pair.live.iter().position(|&r| r == range).unwrap();
                pair.give(which);
            }
        }
        pair.empty();
    }
}

#[test]
fn the_ends_of_the_number_space_hold() {
    let top = (1u64 << 54) - 1;
    for (first, last) in [(2, 1), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        assert_eq!(units_of(first, last).err(), Some(Error::Invalid));
    }
    let mut space = units_of(1, top).unwrap();
    for (units, align) in [(0, 1), (1, 0), (1, 3), (0, 0)] {
        assert_eq!(space.take(units, align, u64::MAX), Err(Error::Invalid));
    }
    for units in [u64::MAX, 1 << 63, top + 1] {
        assert_eq!(space.take(units, 1, u64::MAX), exhausted(units, top));
    }
    assert_eq!(space.take(1, 1 << 63, u64::MAX), exhausted(1, top));
    for (at, units) in [
        (0, 1),
        (u64::MAX, 1),
        (u64::MAX, u64::MAX),
        (1, u64::MAX),
        (1, 0),
        (top, 2),
    ] {
        assert_eq!(space.give_back(at, units), Err(Error::Invalid));
    }
    assert_eq!(space.take(1, 1, u64::MAX), Ok(top));
    assert_eq!(space.take(top - 1, 1, u64::MAX), Ok(1), "all that is left");
    assert_eq!(space.take(1, 1, u64::MAX), exhausted(1, 0));
    space.give_back(1, top - 1).unwrap();
    space.give_back(top, 1).unwrap();
    assert_eq!(space.used_bytes(), 0);
    assert_eq!(largest_free(&mut space, u64::MAX), top);
    assert_eq!(largest_free(&mut space, 0), 0);
    assert_eq!(largest_free(&mut space, 5), 5);
}

#[test]
fn limits_cut_blocks_short() {
    let mut space = units_of(1, (1 << 36) - 1).unwrap();
    for bits in 1..36 {
        let limit = (1u64 << bits) - 1;
        let at = space.take(1, 1, limit).unwrap();
        assert_eq!(at, limit);
        assert_eq!(space.take(2, 1, limit).is_ok(), bits > 2, "{bits}");
    }
    assert_eq!(space.take(1, 1, 0), exhausted(1, 0));
}

#[test]
fn only_what_was_handed_out_comes_back() {
    let mut space = units_of(0, 1 << 20).unwrap();
    let first = space.take(4, 4, u64::MAX).unwrap();
    let second = space.take(4, 4, u64::MAX).unwrap();
    assert_eq!(second + 4, first, "neighbours");
    for (at, units, what) in [
        (first, 3, "without its tail"),
        (first + 1, 3, "without its head"),
        (first + 1, 2, "from its middle"),
        (second, 8, "two at once"),
        (second + 2, 4, "over a joint"),
        (first, 5, "with a free one"),
    ] {
        assert_eq!(space.give_back(at, units), Err(Error::Invalid), "{what}");
    }
    let large = space.take(3 << 12, 1 << 12, u64::MAX).unwrap();
    for (at, units) in [
        (large, 1 << 12),
        (large, 2 << 12),
        (large + (1 << 12), 2 << 12),
        (large + 64, 3 << 12),
    ] {
        assert_eq!(space.give_back(at, units), Err(Error::Invalid));
    }
    space.give_back(large, 3 << 12).unwrap();
    space.give_back(first, 4).unwrap();
    space.give_back(second, 4).unwrap();
    assert_eq!(space.used_bytes(), 0);
}

#[test]
fn reserved_regions_are_never_allocated_or_freed() {
    let mut space = units_of(1, 999).unwrap();
    space.reserve(900, 5000).unwrap();
    // Regions may overlap: firmware's and a bridge's window.
    space.reserve(890, 910).unwrap();
    space.reserve(0, 10).unwrap();
    space.reserve(2000, 3000).unwrap();
    assert_eq!(space.reserve(20, 19), Err(Error::Invalid));
    assert_eq!(largest_free(&mut space, u64::MAX), 879);
    for at in 11..890 {
        let _ = at;
        let got = space.take(1, 1, u64::MAX).unwrap();
        assert!((11..890).contains(&got));
    }
    assert_eq!(space.take(1, 1, u64::MAX), exhausted(1, 0));
    assert_eq!(space.reserve(500, 501), Err(Error::Invalid), "in use");
    for (at, units) in [(900, 100), (890, 10), (890, 1), (1, 10), (1, 1), (10, 2)] {
        assert_eq!(space.give_back(at, units), Err(Error::Invalid));
    }
    for at in 11..890 {
        space.give_back(at, 1).unwrap();
    }
    assert_eq!(space.used_bytes(), 0);
    let mut many = units_of(1, 999).unwrap();
    let before = many.metadata_bytes();
    for n in 0..RangeAllocator::MAX_RESERVED as u64 {
        many.reserve(2 * n + 1, 2 * n + 1).unwrap();
    }
    let listed = many.metadata_bytes() - before;
    assert!(listed >= RangeAllocator::MAX_RESERVED * size_of::<(u64, u64)>());
    assert_eq!(many.reserve(500, 500), Err(Error::Invalid), "bounded");
    assert_eq!(many.give_back(3, 1), Err(Error::Invalid), "reserved");
    many.reserve(3, 3).unwrap();
    // A region that joins others makes room for one more.
    many.reserve(3, 5).unwrap();
    many.reserve(500, 500).unwrap();
    assert_eq!(many.reserve(600, 600), Err(Error::Invalid), "bounded");
}

/// The joined region covers whole children of nodes, of which the earlier regions had covered parts.
#[test]
fn regions_that_join_leave_no_node_behind() {
    const LAST: u64 = (1 << 30) - 1;
    let mut space = units_of(0, LAST).unwrap();
    for (first, last) in [(70, 90), (5000, 300_000), (LAST - 5000, LAST - 70)] {
        space.reserve(first, last).unwrap();
        check::free_runs(&space);
    }
    space.reserve(50, LAST - 50).unwrap();
    assert_eq!(check::free_runs(&space), [(0, 49), (LAST - 49, LAST)]);
}

/// Nodes are reused, so their number depends on the maximum number of live ranges.
#[test]
fn bookkeeping_does_not_grow_with_time() {
    let mut space = units_of(1, (1 << 36) - 1).unwrap();
    let mut sizes = Vec::new();
    for _ in 0..20 {
        let held: Vec<u64> = (0..5000)
            .map(|_| space.take(3, 1, u64::MAX).unwrap())
            .collect();
        held.iter().for_each(|&at| space.give_back(at, 3).unwrap());
        sizes.push(space.metadata_bytes());
    }
    assert!(sizes.iter().all(|&bytes| bytes == sizes[0]), "{sizes:?}");
    assert!((5000..64 << 10).contains(&sizes[0]), "{sizes:?}");
}

/// Each IOMMU group, bounce pool and device's memory has a space.
#[test]
fn a_space_with_one_range_takes_little_memory() {
    for bits in [10, 36, 52] {
        let mut space = units_of(1, (1 << bits) - 1).unwrap();
        space.take(1, 1, u64::MAX).unwrap();
        let bytes = space.metadata_bytes();
        assert!((1000..5 << 10).contains(&bytes), "{bits}: {bytes}");
    }
}

/// Operations around the borders of leaves and of the nodes above, where ranges share no node below the root.
#[test]
fn ranges_over_borders_of_nodes_agree() {
    for bits in [12u32, 18, 24] {
        let middle = 1u64 << bits;
        let mut space = units_of(0, 2 * middle - 1).unwrap();
        // All but ten units on both sides of the border.
        let above = space.take(middle - 10, 1, u64::MAX);
        let upper = match above {
            Ok(at) => at,
            Err(err) => panic!("{err:?}"),
        };
        assert_eq!(upper, middle, "{bits}");
        let lower = space.take(middle - 10, 1, middle - 1).unwrap();
        assert_eq!(lower, 0, "{bits}");
        assert_eq!(check::free_runs(&space).len(), 2, "{bits}");
        space.give_back(upper, middle - 10).unwrap();
        // A run over the border, which contains no aligned block of its length.
        let run = space.take(middle + 10, 1, u64::MAX).unwrap();
        assert_eq!(run, middle - 10, "{bits}");
        check::free_runs(&space);
        for (at, units) in [(run, middle + 9), (run + 1, middle + 9), (middle, middle)] {
            assert_eq!(space.give_back(at, units), Err(Error::Invalid));
        }
        space.give_back(run, middle + 10).unwrap();
        space.give_back(lower, middle - 10).unwrap();
        assert_eq!(check::free_runs(&space), [(0, 2 * middle - 1)]);
    }
}

#[test]
fn a_limit_cuts_the_last_unit_of_a_leaf() {
    let mut space = units_of(0, 2 * 4096 - 1).unwrap();
    assert_eq!(space.take(4096, 1, u64::MAX), Ok(4096));
    assert_eq!(space.take(1, 1, u64::MAX), Ok(4095));
    space.give_back(4095, 1).unwrap();
    assert_eq!(space.take(1, 1, 4094), Ok(4094));
    assert_eq!(space.take(1, 1, 4095), Ok(4095));
}

/// Places above 2^64 do not exist.
#[test]
fn the_largest_space_has_no_more_than_its_units() {
    const HALF: u64 = 1 << 63;
    let mut space = units_of(0, u64::MAX - 1).unwrap();
    assert_eq!(space.take(u64::MAX, 1, u64::MAX), Ok(0));
    space.give_back(0, u64::MAX).unwrap();
    assert_eq!(space.take(HALF, 1, u64::MAX), Ok(0));
    assert_eq!(space.take(HALF, 1, u64::MAX), exhausted(HALF, HALF - 1));
    assert_eq!(space.take(HALF - 1, 1, u64::MAX), Ok(HALF));
    assert_eq!(check::free_runs(&space), []);
    space.give_back(0, HALF).unwrap();
    assert_eq!(check::free_runs(&space), [(0, HALF - 1)]);
}

#[test]
fn a_range_and_many_others_are_not_one_range() {
    let mut space = units_of(0, 4 * 4096 - 1).unwrap();
    for _ in 0..4096 {
        space.take(1, 1, u64::MAX).unwrap();
    }
    let at = space.take(4096, 1, u64::MAX).unwrap();
    assert_eq!(space.give_back(at, 8192), Err(Error::Invalid));
    space.give_back(at, 4096).unwrap();
}

#[test]
fn a_range_needs_no_more_nodes_than_expected() {
    let mut exact = 0;
    for (last, units, limit) in [
        (u64::MAX - 1, 1 << 60, u64::MAX),
        ((1 << 36) - 2, 1, 1 << 34),
        ((1 << 36) - 2, 5000, 1 << 20),
        // Begins and ends inside nodes.
        ((1 << 36) - 2, (1 << 35) + 5, (1 << 35) + (1 << 34) - 3),
        ((1 << 24) + 77, 300, (1 << 24) - 3),
    ] {
        let [mut probe, mut space] = [0, 1].map(|_| units_of(1, last).unwrap());
        let at = probe.take(units, 1, limit).unwrap();
        let (need, before) = (space.tree.need(space.flip - at, 2), space.tree.nodes.used());
        assert_eq!(space.take(units, 1, limit), Ok(at));
        let used = space.tree.nodes.used() - before;
        assert!(used <= need, "{last}: {used} of {need}");
        exact += usize::from(used == need);
        check::free_runs(&space);
    }
    assert!(exact > 0, "no range needs all");
}
