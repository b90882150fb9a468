//! The table that threads share.

use crate::{Slab, SlabKey, Store, Table};
use alloc::vec::Vec;
use std::thread;
use vb3_dma::NoLocks;
use vb3_dma_test::fake::Mutexes;

/// Adds, removes and looks up entries in both tables alike.
#[test]
fn table_agrees_with_slab() {
    let (table, mut slab) = (Table::<u32, NoLocks>::new(70), Slab::new(70));
    assert!(table.is_empty());
    let mut keys: Vec<(SlabKey, SlabKey)> = Vec::new();
    let mut random = 1_u32;
    for value in 0..2000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let pick = usize::try_from(random >> 16).unwrap();
        if pick % 3 == 0 && !keys.is_empty() {
            let (ours, theirs) = keys.swap_remove(pick % keys.len());
            assert_eq!(table.remove(ours), slab.get(theirs).copied());
            assert!(slab.remove(theirs));
            assert_eq!(table.with(ours, |_| ()), None, "a key names one value");
        } else {
            match (table.insert(value), slab.insert(value)) {
                (Ok(ours), Ok(theirs)) => keys.push((ours, theirs)),
                refused => assert_eq!(refused, (Err(value), Err(value))),
            }
        }
        assert_eq!(table.len(), slab.len());
        assert_eq!(table.is_empty(), keys.is_empty());
        for (ours, theirs) in &keys {
            assert_eq!(
                table.with(*ours, |value| *value),
                slab.get(*theirs).copied()
            );
        }
    }
    let mut left: Vec<SlabKey> = keys.iter().map(|(ours, _)| *ours).collect();
    let mut listed: Vec<SlabKey> = table.keys().collect();
    left.sort_unstable();
    listed.sort_unstable();
    assert_eq!(left, listed);
}

#[test]
fn entries_never_move() {
    let table = Table::<u8, NoLocks>::new(1000);
    let key = table.insert(1).unwrap();
    let place = table.with(key, |value| core::ptr::from_mut(value).addr());
    for _ in 1..1000 {
        table.insert(2).unwrap();
    }
    assert_eq!(table.insert(3), Err(3), "full");
    let now = table.with(key, |value| core::ptr::from_mut(value).addr());
    assert_eq!(place, now);
}

#[test]
fn remove_if_leaves_what_it_is_refused() {
    let table = Table::<u8, NoLocks>::new(1);
    let key = table.insert(1).unwrap();
    assert_eq!(table.remove_if(key, |value| *value > 1), None);
    assert_eq!(table.remove_if(key, |value| *value == 1), Some(1));
    assert_eq!(table.remove_if(key, |_| true), None, "gone");
    let other = table.insert(2).unwrap();
    assert_ne!(key, other);
    assert_eq!(table.remove(key), None, "an older key");
    assert_eq!(
        table.find_map(|found, value| Some((found, *value))),
        Some((other, 2))
    );
}

#[test]
fn one_entry_in_use_delays_no_other() {
    let table = Table::<u32, Mutexes>::new(200);
    let key = table.insert(0).unwrap();
    table.with(key, |_| {
        // The other threads end while this entry is locked. The table grows in the meantime.
        thread::scope(|scope| {
            for first in [1, 100] {
                let table = &table;
                scope.spawn(move || {
                    let keys: Vec<SlabKey> = (first..first + 99)
                        .map(|value| table.insert(value).unwrap())
                        .collect();
                    for (key, value) in keys.into_iter().zip(first..) {
                        assert_eq!(table.remove(key), Some(value));
                    }
                });
            }
        });
    });
    assert_eq!(table.len(), 1);
    assert_eq!(table.remove(key), Some(0));
}
