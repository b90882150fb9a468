//! Page tables of every format, compared with a separate table walker of `vb3-dma`'s tests. Table
//! allocations fail, and bytes of tables change without the knowledge of `PageTable`.
#![cfg_attr(feature = "libfuzzer", no_main)]

use arbitrary::Arbitrary;
use manual::{Kind, Walker};
use memory::Tables;
use std::collections::BTreeMap;
use vb3_dma::iopt::{Config, Format, PageTable};
use vb3_dma::{DmaAddr, Error, PhysAddr, Prot};

#[path = "../../crates/core/dma/tests/iopt/manual.rs"]
mod manual;
#[allow(dead_code, reason = "only the tests use the rest")]
#[allow(
    clippy::manual_is_multiple_of,
    reason = "the file must build with Rust 1.85, too"
)]
#[path = "../../crates/core/dma/tests/iopt/memory.rs"]
mod memory;

#[derive(Arbitrary, Debug)]
enum Step {
    Map {
        iova: u64,
        phys: u64,
        len: u64,
        prot: u8,
        fail_at: Option<u8>,
    },
    /// Addresses near the borders of ranges and blocks.
    Near {
        block: u8,
        granules: u8,
        phys: u8,
        len: u16,
        prot: u8,
        fail_at: Option<u8>,
    },
    Unmap {
        block: u8,
        granules: u8,
        len: u16,
        fail_at: Option<u8>,
    },
    UnmapAny {
        iova: u64,
        len: u64,
    },
    Reclaim,
}

#[derive(Arbitrary, Debug)]
struct Input {
    format: u8,
    granule: u8,
    input_bits: u8,
    sizes: u8,
    steps: Vec<Step>,
    /// Words that overwrite table entries after all steps. A walk must still end.
    vandal: Vec<(u16, u64)>,
}

/// Mapped ranges: start, bytes, target.
type Model = BTreeMap<u64, (u64, u64)>;

fn overlaps(model: &Model, iova: u64, len: u64) -> bool {
    model
        .range(..iova + len)
        .next_back()
        .is_some_and(|(&at, &(size, _))| at + size > iova)
}

fn cut(model: &mut Model, iova: u64, len: u64) -> u64 {
    let (end, mut removed) = (iova + len, 0);
    let hit: Vec<_> = model.range(..end).map(|(&at, &run)| (at, run)).collect();
    for (at, (size, phys)) in hit
        .into_iter()
        .rev()
        .take_while(|&(at, (size, _))| at + size > iova)
    {
        model.remove(&at);
        let (from, to) = (at.max(iova), (at + size).min(end));
        removed += to - from;
        if at < from {
            model.insert(at, (from - at, phys));
        }
        if to < at + size {
            model.insert(to, (at + size - to, phys + (to - at)));
        }
    }
    removed
}

vb3_fuzz::target!(|input: Input| {
    let format = match input.format % 3 {
        0 => Format::ArmLpaeS1,
        1 => Format::ArmLpaeS2,
        _ => Format::VtdSecondStage,
    };
    let bits = [12, 14, 16][usize::from(input.granule % 3)];
    let all = format.page_sizes(bits);
    let mut sizes = all;
    for _ in 0..input.sizes % 3 {
        let top = 1u64
            .checked_shl(63 - sizes.leading_zeros().min(63))
            .unwrap_or(0);
        if sizes != top {
            sizes &= !top;
        }
    }
    let config = Config {
        format,
        page_sizes: sizes,
        input_bits: input.input_bits.into(),
        output_bits: 48,
    };
    let mut mem = Tables::default();
    let Ok(mut table) = PageTable::new(&mut mem, &config) else {
        assert_eq!(mem.live(), 0);
        return;
    };
    if table.start_level() == 3 && config.input_bits < bits + 3 {
        // The processors' manuals define no table with so few entries, so there is nothing to compare.
        return table.free(&mut mem);
    }
    let (granule, end) = (1u64 << bits, 1u64 << config.input_bits);
    let block = {
        let larger = all & all.wrapping_sub(1);
        larger & larger.wrapping_neg()
    };
    let walker = Walker {
        kind: match format {
            Format::ArmLpaeS1 => Kind::Stage1,
            Format::ArmLpaeS2 => Kind::Stage2,
            Format::VtdSecondStage => Kind::Vtd,
        },
        granule,
        input_bits: config.input_bits,
        start_level: table.start_level(),
        root: table.root().get(),
    };
    let mut model = Model::new();
    for step in input.steps.iter().take(24) {
        let near = |place: u8, granules: u8| {
            let base = if place < 128 {
                u64::from(place) * block
            } else {
                end
            };
            base.wrapping_add(u64::from(granules) * granule)
                .wrapping_sub(if place < 128 {
                    0
                } else {
                    u64::from(place - 127) * block
                })
        };
        let (before, counts) = (mem.clone(), (table.tables(), table.leaf_count()));
        let failed = match *step {
            Step::Map {
                iova,
                phys,
                len,
                prot,
                fail_at,
            } => {
                // A range of terabytes in small pages would take too long.
                let large = sizes & block != 0 && iova % block == phys % block;
                let len = len % if large { 8 << 30 } else { 16 << 20 };
                map(
                    &mut table,
                    &mut mem,
                    &mut model,
                    (iova, phys, len, prot, fail_at),
                    (granule, end),
                )
                .is_err()
            }
            Step::Near {
                block: place,
                granules,
                phys,
                len,
                prot,
                fail_at,
            } => {
                let (iova, phys) = (near(place, granules), u64::from(phys) * (block / 2));
                let len = u64::from(len % 2048) * granule;
                map(
                    &mut table,
                    &mut mem,
                    &mut model,
                    (iova, phys, len, prot, fail_at),
                    (granule, end),
                )
                .is_err()
            }
            Step::Unmap {
                block: place,
                granules,
                len,
                fail_at,
            } => {
                let (iova, len) = (near(place, granules), u64::from(len) * granule);
                unmap(&mut table, &mut mem, &mut model, (iova, len, fail_at)).is_err()
            }
            Step::UnmapAny { iova, len } => unmap(
                &mut table,
                &mut mem,
                &mut model,
                (iova, len % (1 << 40), None),
            )
            .is_err(),
            Step::Reclaim => {
                table.take_retired().free(&mut mem);
                false
            }
        };
        if failed {
            assert!(before.same_bytes(&mem), "a failure left something behind");
            assert_eq!(counts, (table.tables(), table.leaf_count()));
        }
    }
    let (seen, tables) = walker.everything(&mem);
    assert_eq!(seen.len() as u64, table.leaf_count());
    assert_eq!(tables.len() as u64, table.tables());
    let total: u64 = seen.iter().map(|leaf| leaf.len).sum();
    assert_eq!(total, model.values().map(|&(len, _)| len).sum::<u64>());
    for leaf in &seen {
        let (&at, &(len, phys)) = model
            .range(..=leaf.iova)
            .next_back()
            .expect("mapped by nobody");
        assert!(leaf.iova + leaf.len <= at + len);
        assert_eq!(leaf.phys, phys + (leaf.iova - at));
    }
    let ours = table
        .leaves(&mem, DmaAddr::new(0), DmaAddr::new(u64::MAX))
        .count();
    assert_eq!(ours, seen.len());
    for at in [0, granule, block, end - 1, end, u64::MAX] {
        let ours = table.translate(&mem, DmaAddr::new(at));
        let ours = ours.ok_or_else(|| table.end_level(&mem, DmaAddr::new(at)));
        let theirs = walker.walk(&mem, at);
        assert_eq!(
            ours.map(|leaf| (leaf.iova.get(), leaf.phys.get())),
            theirs.map(|seen| (seen.iova, seen.phys)),
            "at {at:#x}"
        );
    }
    if input.vandal.is_empty() {
        table.take_retired().free(&mut mem);
        table.free(&mut mem);
        assert_eq!(mem.live(), 0);
        return;
    }
    // If an entry points outside the tables, reads there return empty entries. No walk is longer
    // than the number of levels.
    for &(place, word) in input.vandal.iter().take(16) {
        let (at, _) = tables[usize::from(place) % tables.len()];
        mem.poke(at + 8 * u64::from(place % 512), word);
    }
    let lenient = lenient::Lenient(&mem);
    for at in [0, granule, block, end - 1] {
        let _ = table.translate(&lenient, DmaAddr::new(at));
    }
});

mod lenient {
    use super::memory::Tables;
    use vb3_dma::iopt::TableMemory;
    use vb3_dma::{Error, PhysAddr};

    /// Table memory whose reads outside the tables return empty entries.
    pub(crate) struct Lenient<'a>(pub(crate) &'a Tables);

    impl TableMemory for Lenient<'_> {
        fn alloc_table(&mut self, _len: u64) -> Result<PhysAddr, Error> {
            Err(Error::Unsupported)
        }
        fn free_table(&mut self, _table: PhysAddr, _len: u64) {}
        fn read_entry(&self, at: PhysAddr) -> u64 {
            self.0.try_peek(at.get()).unwrap_or(0)
        }
        fn write_entry(&mut self, _at: PhysAddr, _entry: u64) {}
    }
}

fn map(
    table: &mut PageTable,
    mem: &mut Tables,
    model: &mut Model,
    (iova, phys, len, prot, fail_at): (u64, u64, u64, u8, Option<u8>),
    (granule, end): (u64, u64),
) -> Result<(), Error> {
    mem.fail_at = fail_at.map(u64::from);
    let prot = Prot::from_bits_truncate(prot);
    let result = table.map(mem, DmaAddr::new(iova), PhysAddr::new(phys), len, prot);
    mem.fail_at = None;
    let aligned = (iova | phys | len) % granule == 0 && len > 0;
    let inside = iova.checked_add(len).is_some_and(|last| last <= end)
        && phys.checked_add(len).is_some_and(|last| last <= 1 << 48);
    let fits = aligned && inside && prot.intersects(Prot::READ | Prot::WRITE);
    let good = fits && !overlaps(model, iova, len);
    match result {
        Ok(()) => {
            assert!(good, "an invalid request succeeded");
            model.insert(iova, (len, phys));
        }
        Err(Error::NoMemory(_)) => assert!(good && fail_at.is_some()),
        Err(_) => assert!(!good, "a valid request failed"),
    }
    result
}

fn unmap(
    table: &mut PageTable,
    mem: &mut Tables,
    model: &mut Model,
    (iova, len, fail_at): (u64, u64, Option<u8>),
) -> Result<(), Error> {
    mem.fail_at = fail_at.map(u64::from);
    let result = table.unmap(mem, DmaAddr::new(iova), len);
    mem.fail_at = None;
    let removed = result?;
    assert_eq!(removed, cut(model, iova, len));
    Ok(())
}
