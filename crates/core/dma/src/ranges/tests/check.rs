//! Checks the tree's invariants, for tests.

use super::super::RangeAllocator;
use super::super::node::{Best, Marks};
use super::super::tree::{NONE, Tree, child_bits, inside};
use std::vec::Vec;

/// Free runs, each with its first and last place.
type Free = Vec<(u64, u64)>;

/// Returns all free runs, by units. Panics if the tree is inconsistent.
pub(super) fn free_runs(space: &RangeAllocator) -> Free {
    let tree = &space.tree;
    let mut nodes = 0;
    let mut free = check(tree, tree.root, tree.height, 0, &mut nodes);
    assert_eq!(tree.nodes.used(), nodes, "nodes without a parent");
    assert_eq!(tree.best, best(&free));
    if tree.covered() < tree.end {
        push(&mut free, (tree.covered() + 1, tree.end));
    }
    let units = |&(first, last): &(u64, u64)| (space.flip - last, space.flip - first);
    free.iter().rev().map(units).collect()
}

/// Returns 1 + the order of the largest aligned block.
fn largest_block(first: u64, last: u64) -> Best {
    let fits = |order: &u8| {
        let start = first.checked_next_multiple_of(1 << order);
        start
            .and_then(|start| start.checked_add((1 << order) - 1))
            .is_some_and(|end| end <= last)
    };
    (0..64u8).rev().find(fits).map_or(0, |order| order + 1)
}

/// Appends a free run above all others.
fn push(free: &mut Free, (first, last): (u64, u64)) {
    match free.last_mut() {
        Some(run) if run.1 + 1 == first => run.1 = last,
        _ => free.push((first, last)),
    }
}

/// Checks a node. Returns its free runs, and counts it and the nodes below.
fn check(tree: &Tree, node: u32, level: u32, base: u64, nodes: &mut usize) -> Free {
    *nodes += 1;
    let mut all = Free::new();
    let node = tree.nodes.get(node).unwrap();
    // The highest root's other children have numbers of more than 64 bits.
    for index in 0..if level == 10 { 16 } else { 64 } {
        let first = base + (u64::from(index) << child_bits(level));
        let whole = (first, first + inside(level));
        let Marks { free, ends } = node.marks;
        let (is_free, is_end) = (free >> index & 1 == 1, ends >> index & 1 == 1);
        let child = node.child(index);
        let mut part = Free::new();
        if level == 1 {
            let Marks { free, ends } = node.word(index);
            assert_eq!(free & ends, 0, "{first}: wrong end");
            for bit in (0..64).filter(|bit| free >> bit & 1 == 1) {
                push(&mut part, (first + bit, first + bit));
            }
        } else if child != NONE {
            assert!(!is_free && !is_end, "{first}: a marked child has a node");
            part = check(tree, child, level - 1, first, nodes);
        } else if is_free {
            part.push(whole);
        }
        assert!(!is_free || !is_end, "{first}: wrong end");
        assert_eq!(node.best_of(index), best(&part), "{first}: best");
        assert_eq!(is_free, part == [whole], "{first}: free");
        part.into_iter().for_each(|run| push(&mut all, run));
    }
    all
}

fn best(free: &Free) -> Best {
    let blocks = free.iter().map(|&(first, last)| largest_block(first, last));
    blocks.max().unwrap_or(0)
}
