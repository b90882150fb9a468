//! The page table against a map of single pages.

use super::{BadRange, PageTable};
use proptest::prelude::*;
use std::collections::BTreeMap;
use vb3_dma::Prot;

const PAGE: u64 = 4096;
const SIZES: u64 = 1 << 12 | 1 << 21 | 1 << 30;

#[derive(Clone, Debug)]
enum Op {
    Map { iova: u64, phys: u64, pages: u64 },
    Unmap(usize),
    Flush,
}

/// Addresses in few places, so that ranges meet; some on 2 MiB, so that large pages form.
fn place() -> impl Strategy<Value = u64> {
    prop_oneof![
        (0u64..2048).prop_map(|p| p * PAGE),
        (0u64..6).prop_map(|p| p << 21)
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let pages = prop_oneof![1u64..20, Just(512u64), Just(1024), 500u64..600];
    prop_oneof![
        4 => (place(), place(), pages)
            .prop_map(|(iova, phys, pages)| Op::Map { iova, phys, pages }),
        3 => any::<usize>().prop_map(Op::Unmap),
        2 => Just(Op::Flush),
    ]
}

proptest! {
    #[test]
    fn it_agrees_with_a_map_of_pages(ops in prop::collection::vec(op(), 1..40)) {
        let mut table = PageTable::new(SIZES, 39);
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut live: Vec<(u64, u64)> = Vec::new();
        for op in ops {
            match op {
                Op::Map { iova, phys, pages } => {
                    let free = (0..pages).all(|p| !model.contains_key(&(iova + p * PAGE)));
                    let mapped = table.map(iova, phys, pages * PAGE, Prot::READ);
                    prop_assert_eq!(mapped, if free { Ok(()) } else { Err(BadRange) });
                    if free {
                        model.extend((0..pages).map(|p| (iova + p * PAGE, phys + p * PAGE)));
                        live.push((iova, pages));
                    }
                }
                Op::Unmap(which) => {
                    if live.is_empty() {
                        continue;
                    }
                    let (iova, pages) = live.swap_remove(which % live.len());
                    table.unmap(iova, pages * PAGE);
                    model.retain(|&at, _| !(iova..iova + pages * PAGE).contains(&at));
                }
                Op::Flush => table.flush(),
            }
            for (&iova, &phys) in model.iter().step_by(17) {
                let found = table.translate(iova + 5).unwrap();
                prop_assert_eq!(found.phys.get(), phys + 5);
                prop_assert!(found.len <= (1 << 30) && found.len % PAGE == PAGE - 5);
            }
        }
        table.flush();
        for page in 0..3072 {
            let (iova, expected) = (page * PAGE, model.get(&(page * PAGE)));
            let found = table.translate(iova).map(|t| t.phys.get());
            prop_assert_eq!(found, expected.copied());
        }
        for (iova, pages) in live {
            table.unmap(iova, pages * PAGE);
        }
        prop_assert_eq!(table.pages(), 0);
        prop_assert_eq!(table.root.used, 0, "no table is left without entries");
    }
}

#[test]
fn large_pages_are_used_where_both_addresses_allow() {
    let mut table = PageTable::new(SIZES, 48);
    table.map(1 << 30, 2 << 30, 1 << 30, Prot::READ).unwrap();
    assert_eq!(table.pages(), 1);
    table
        .map(0x20_0000, 0x40_0000, 0x20_1000, Prot::READ)
        .unwrap();
    assert_eq!(table.pages(), 3);
    // The physical address is not aligned as well.
    table.map(0x80_0000, 0x1000, 0x20_0000, Prot::READ).unwrap();
    assert_eq!(table.pages(), 3 + 512);
    let found = table.translate((1 << 30) + 0x1234_5678).unwrap();
    assert_eq!(found.phys.get(), (2 << 30) + 0x1234_5678);
    assert_eq!(found.len, (1 << 30) - 0x1234_5678);
}

#[test]
fn a_removed_page_works_until_the_flush() {
    let mut table = PageTable::new(SIZES, 32);
    table.map(PAGE, 9 * PAGE, PAGE, Prot::READ).unwrap();
    table.unmap(PAGE, PAGE);
    assert_eq!(
        table.translate(PAGE + 1).map(|t| t.phys.get()),
        Some(9 * PAGE + 1)
    );
    assert_eq!(table.pages(), 0);
    table.flush();
    assert_eq!(table.translate(PAGE + 1), None);
}

#[test]
fn ranges_that_make_no_sense_are_refused_whole() {
    let mut table = PageTable::new(SIZES, 32);
    let cases = [
        (1, 0, PAGE),
        (0, 1, PAGE),
        (0, 0, PAGE + 1),
        (0, 0, 0),
        (u64::MAX - PAGE + 1, 0, PAGE),
        (0, u64::MAX - PAGE + 1, PAGE),
        (1 << 48, 0, PAGE),
    ];
    for (iova, phys, len) in cases {
        assert_eq!(
            table.map(iova, phys, len, Prot::READ),
            Err(BadRange),
            "{iova:x} {len:x}"
        );
    }
    table.map(4 * PAGE, 0, PAGE, Prot::READ).unwrap();
    assert_eq!(table.map(PAGE, 0, 8 * PAGE, Prot::READ), Err(BadRange));
    assert_eq!(
        table.pages(),
        1,
        "what was entered before the clash is gone again"
    );
    assert_eq!(table.translate(PAGE), None);
    assert_eq!(table.translate(u64::MAX), None);
}
