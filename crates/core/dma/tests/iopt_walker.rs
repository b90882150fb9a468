//! I/O page tables, checked with a separate walker.
//!
//! The walker of `iopt/manual.rs` is written from the manuals' figures of entries (Arm ARM D8.3, VT-d 9.8).
//! It shares nothing with the code under test, and repeats the bit numbers on purpose. A map of single pages
//! is the third party of the comparison. All three must agree after every step.

mod iopt {
    pub(crate) mod manual;
    pub(crate) mod memory;
}

use iopt::manual::{Kind, Seen, Walker};
use iopt::memory::Tables;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use vb3_dma::iopt::{Config, Format, PageTable};
use vb3_dma::{Constraint, DmaAddr, Error, PhysAddr, Prot};

const K: u64 = 1 << 10;
const M: u64 = 1 << 20;
const G: u64 = 1 << 30;

/// A configuration, and the start of its walk according to the manual.
#[derive(Clone, Copy, Debug)]
struct Case {
    format: Format,
    granule: u64,
    input_bits: u32,
    start_level: u32,
    root_bytes: u64,
}

const fn case(format: Format, granule: u64, input_bits: u32, start_level: u32, root: u64) -> Case {
    Case {
        format,
        granule,
        input_bits,
        start_level,
        root_bytes: root,
    }
}

use Format::{ArmLpaeS1 as S1, ArmLpaeS2 as S2, VtdSecondStage as Vtd};

/// Every format and granule, with the start levels of the manuals' tables. Stage 2 concatenates up to sixteen
/// tables if that saves a level and rules out no block size.
const CASES: &[Case] = &[
    case(S1, 4 * K, 48, 0, 4 * K),
    case(S1, 4 * K, 40, 0, 4 * K),
    case(S1, 4 * K, 39, 1, 4 * K),
    case(S1, 4 * K, 32, 1, 4 * K),
    case(S1, 4 * K, 30, 2, 4 * K),
    case(S1, 16 * K, 48, 0, 16 * K),
    case(S1, 16 * K, 47, 1, 16 * K),
    case(S1, 16 * K, 36, 2, 16 * K),
    case(S1, 64 * K, 48, 1, 64 * K),
    case(S1, 64 * K, 42, 2, 64 * K),
    case(S1, 64 * K, 32, 2, 64 * K),
    case(S2, 4 * K, 48, 0, 4 * K),
    case(S2, 4 * K, 43, 1, 64 * K),
    case(S2, 4 * K, 40, 1, 8 * K),
    case(S2, 4 * K, 39, 1, 4 * K),
    case(S2, 4 * K, 32, 1, 4 * K),
    case(S2, 16 * K, 48, 1, 32 * K),
    case(S2, 16 * K, 40, 2, 256 * K),
    case(S2, 16 * K, 36, 2, 16 * K),
    case(S2, 64 * K, 48, 1, 64 * K),
    case(S2, 64 * K, 46, 2, 1024 * K),
    case(S2, 64 * K, 32, 2, 64 * K),
    case(Vtd, 4 * K, 32, 3, 4 * K),
    case(Vtd, 4 * K, 39, 3, 4 * K),
    case(Vtd, 4 * K, 48, 4, 4 * K),
    case(Vtd, 4 * K, 57, 5, 4 * K),
];

impl Case {
    fn config(&self) -> Config {
        Config {
            format: self.format,
            page_sizes: self.page_sizes(),
            input_bits: self.input_bits,
            output_bits: 48,
        }
    }

    /// The sizes of the manuals' tables, without the blocks that need 52-bit addresses.
    fn page_sizes(&self) -> u64 {
        match self.granule {
            0x1000 => (4 * K) | (2 * M) | G,
            0x4000 => (16 * K) | (32 * M),
            _ => (64 * K) | (512 * M),
        }
    }

    fn block(&self) -> u64 {
        match self.granule {
            0x1000 => 2 * M,
            0x4000 => 32 * M,
            _ => 512 * M,
        }
    }

    fn walker(&self, table: &PageTable) -> Walker {
        Walker {
            kind: match self.format {
                Format::ArmLpaeS1 => Kind::Stage1,
                Format::ArmLpaeS2 => Kind::Stage2,
                _ => Kind::Vtd,
            },
            granule: self.granule,
            input_bits: self.input_bits,
            start_level: self.start_level,
            root: table.root().get(),
        }
    }

    /// Returns the accesses that entries for `prot` allow.
    fn rights(&self, prot: Prot) -> Prot {
        let mut prot = prot;
        if self.format == Format::ArmLpaeS1 {
            prot |= Prot::READ;
        }
        if prot.contains(Prot::MMIO) || self.format == Format::VtdSecondStage {
            prot -= Prot::COHERENT;
        }
        prot
    }
}

/// The table, the pages it should have, and the memory.
struct Bench {
    case: Case,
    mem: Tables,
    table: PageTable,
    model: BTreeMap<u64, (u64, Prot)>,
}

impl Bench {
    fn new(case: Case) -> Self {
        let mut mem = Tables::default();
        let table = PageTable::new(&mut mem, &case.config()).unwrap();
        assert_eq!(table.start_level(), case.start_level, "{case:?}");
        assert_eq!(mem.len_of(table.root().get()), case.root_bytes, "{case:?}");
        let model = BTreeMap::new();
        Self {
            case,
            mem,
            table,
            model,
        }
    }

    fn pages(&self, iova: u64, len: u64) -> impl Iterator<Item = u64> + use<> {
        (0..len / self.case.granule)
            .zip(std::iter::repeat((iova, self.case.granule)))
            .map(|(index, (iova, granule))| iova + index * granule)
    }

    /// Calls `act` with the n-th allocation of a table failing, for each n until `act` succeeds. A failure
    /// must leave every byte as it was.
    fn with_every_failure<T>(
        &mut self,
        mut act: impl FnMut(&mut PageTable, &mut Tables) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for n in 0..64 {
            let before = self.mem.clone();
            let numbers = (self.table.tables(), self.table.leaf_count());
            self.mem.fail_at = Some(n);
            let result = act(&mut self.table, &mut self.mem);
            self.mem.fail_at = None;
            match result {
                Err(Error::NoMemory(_)) => {
                    assert!(before.same_bytes(&self.mem), "left something behind");
                    assert_eq!(numbers, (self.table.tables(), self.table.leaf_count()));
                }
                Err(other) => {
                    assert!(before.same_bytes(&self.mem), "left something behind");
                    return Err(other);
                }
                Ok(value) => return Ok(value),
            }
        }
        panic!("more than 64 tables for one call");
    }

    fn map(&mut self, iova: u64, phys: u64, len: u64, prot: Prot) {
        let free = self.pages(iova, len).all(|p| !self.model.contains_key(&p));
        let leaves = self.table.leaf_count();
        let result = self.with_every_failure(|table, mem| {
            table.map(mem, DmaAddr::new(iova), PhysAddr::new(phys), len, prot)
        });
        assert_eq!(result, if free { Ok(()) } else { Err(Error::Invalid) });
        if !free {
            return;
        }
        let fewest = fewest_leaves(self.case.page_sizes(), iova, phys, len);
        let entered = self.table.leaf_count() - leaves;
        assert_eq!(entered, fewest, "not the largest blocks");
        let rights = self.case.rights(prot);
        for page in self.pages(iova, len) {
            self.model.insert(page, (phys + (page - iova), rights));
        }
    }

    fn unmap(&mut self, iova: u64, len: u64) {
        let removed = self
            .with_every_failure(|table, mem| table.unmap(mem, DmaAddr::new(iova), len))
            .unwrap();
        let before = self.model.len();
        self.model
            .retain(|&at, _| !(iova..iova + len).contains(&at));
        let gone = (before - self.model.len()) as u64;
        assert_eq!(removed, gone * self.case.granule);
    }

    /// Checks that the table, the walker and the map of pages agree.
    fn check(&self) {
        let walker = self.case.walker(&self.table);
        let (seen, tables) = walker.everything(&self.mem);
        let mut pages = 0u64;
        for leaf in &seen {
            for page in self.pages(leaf.iova, leaf.len) {
                let expected = self.model.get(&page).copied();
                let found = (leaf.phys + (page - leaf.iova), prot_of(leaf));
                assert_eq!(expected, Some(found), "{page:#x} in {leaf:x?}");
                pages += 1;
            }
        }
        assert_eq!(
            pages,
            self.model.len() as u64,
            "pages the walker does not see"
        );
        assert_eq!(seen.len() as u64, self.table.leaf_count());
        assert_eq!(tables.len() as u64, self.table.tables());
        for &(table, used) in &tables {
            assert!(
                used > 0 || table == self.table.root().get(),
                "an empty table"
            );
        }
        let all = self
            .table
            .leaves(&self.mem, DmaAddr::new(0), DmaAddr::new(u64::MAX));
        let ours: Vec<Seen> = all
            .map(|leaf| Seen {
                iova: leaf.iova.get(),
                len: leaf.len,
                phys: leaf.phys.get(),
                level: leaf.level,
                read: leaf.prot.contains(Prot::READ),
                write: leaf.prot.contains(Prot::WRITE),
                cached: leaf.prot.contains(Prot::COHERENT),
                device: leaf.prot.contains(Prot::MMIO),
            })
            .collect();
        assert_eq!(ours, seen);
    }

    /// Compares the results of table, walker and map for single addresses, mapped or not.
    fn probe(&self, addresses: impl IntoIterator<Item = u64>) {
        let walker = self.case.walker(&self.table);
        for at in addresses {
            let ours = self.table.translate(&self.mem, DmaAddr::new(at));
            let theirs = walker.walk(&self.mem, at);
            match (ours, theirs) {
                (Some(leaf), Ok(seen)) => {
                    assert_eq!(leaf.phys.get(), seen.phys);
                    assert_eq!((leaf.iova.get(), leaf.len), (seen.iova, seen.len));
                    let page = at & !(self.case.granule - 1);
                    let inside = leaf.at(DmaAddr::new(page)).map(|(phys, _)| phys.get());
                    assert_eq!(inside, self.model.get(&page).map(|&(phys, _)| phys));
                }
                (None, Err(level)) => {
                    let end = self.table.end_level(&self.mem, DmaAddr::new(at));
                    assert_eq!(end, level, "at {at:#x}");
                }
                other => panic!("{other:?} at {at:#x}"),
            }
        }
    }

    fn finish(mut self) {
        self.table.take_retired().free(&mut self.mem);
        self.table.free(&mut self.mem);
        assert_eq!(self.mem.live(), 0, "tables are left");
    }
}

fn prot_of(leaf: &Seen) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, leaf.read);
    prot.set(Prot::WRITE, leaf.write);
    prot.set(Prot::COHERENT, leaf.cached);
    prot.set(Prot::MMIO, leaf.device);
    prot
}

/// Returns the number of entries for a range if each is as large as possible.
fn fewest_leaves(sizes: u64, iova: u64, phys: u64, len: u64) -> u64 {
    let (mut done, mut count) = (0u64, 0u64);
    while done < len {
        let size = (0..64)
            .rev()
            .map(|bit| 1u64 << bit)
            .find(|&size| {
                sizes & size != 0
                    && (iova + done) % size == 0
                    && (phys + done) % size == 0
                    && len - done >= size
            })
            .unwrap();
        done += size;
        count += 1;
    }
    count
}

#[derive(Clone, Debug)]
enum Op {
    Map {
        at: (u64, u64),
        phys: (u64, u64),
        len: Len,
        prot: Prot,
    },
    Unmap {
        at: (u64, u64),
        len: Len,
    },
    Reclaim,
}

#[derive(Clone, Copy, Debug)]
enum Len {
    Granules(u64),
    /// A number of blocks, and a number of granules to add (or, below zero, to subtract).
    Blocks(u64, i64),
}

impl Len {
    fn bytes(self, case: &Case) -> u64 {
        match self {
            Self::Granules(n) => n * case.granule,
            Self::Blocks(n, more) => {
                (n * case.block()).saturating_add_signed(more * case.granule as i64)
            }
        }
    }
}

/// Generates a block near the start or the end of the addresses, and the number of a granule in it.
fn place() -> impl Strategy<Value = (u64, u64)> {
    let block = prop_oneof![0u64..3, Just(u64::MAX), Just(u64::MAX - 1)];
    let inside = prop_oneof![3 => Just(0u64), 2 => 0u64..5, 1 => 500u64..513];
    (block, inside)
}

fn len() -> impl Strategy<Value = Len> {
    prop_oneof![
        4 => (1u64..6).prop_map(Len::Granules),
        3 => (1u64..3, -2i64..3).prop_map(|(n, more)| Len::Blocks(n, more)),
        2 => Just(Len::Blocks(1, 0)),
    ]
}

fn prot() -> impl Strategy<Value = Prot> {
    let rights = prop_oneof![
        Just(Prot::READ),
        Just(Prot::WRITE),
        Just(Prot::READ | Prot::WRITE)
    ];
    let kind = prop_oneof![Just(Prot::empty()), Just(Prot::COHERENT), Just(Prot::MMIO)];
    (rights, kind).prop_map(|(rights, kind)| rights | kind)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (place(), place(), len(), prot())
            .prop_map(|(at, phys, len, prot)| Op::Map { at, phys, len, prot }),
        4 => (place(), len()).prop_map(|(at, len)| Op::Unmap { at, len }),
        1 => Just(Op::Reclaim),
    ]
}

impl Case {
    fn address(&self, (block, granules): (u64, u64), end: u64) -> u64 {
        let blocks = end / self.block();
        // Numbers just below 2^64 count blocks from the end.
        (block.wrapping_add(blocks) % blocks) * self.block() + granules * self.granule
    }
}

fn run(case: Case, ops: &[Op]) {
    let mut bench = Bench::new(case);
    let end = 1u64 << case.input_bits;
    for op in ops {
        match *op {
            Op::Map {
                at,
                phys,
                len,
                prot,
            } => {
                let (iova, phys) = (case.address(at, end), case.address(phys, 1 << 48));
                let len = len.bytes(&case);
                if iova + len <= end && phys + len <= 1 << 48 {
                    bench.map(iova, phys, len, prot);
                }
            }
            Op::Unmap { at, len } => {
                let (iova, len) = (case.address(at, end), len.bytes(&case));
                if iova + len <= end {
                    bench.unmap(iova, len);
                }
            }
            Op::Reclaim => bench.table.take_retired().free(&mut bench.mem),
        }
        bench.check();
        bench.probe((0..3).flat_map(|b| [b * case.block(), b * case.block() + case.granule + 7]));
        bench.probe([end - 1, end - case.granule, end - case.block()]);
    }
    bench.finish();
}

/// Sets the number of runs of each case, which `PROPTEST_CASES` changes.
fn config() -> ProptestConfig {
    let set = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if set {
            ProptestConfig::default().cases
        } else {
            32
        },
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn random_steps_agree_with_the_manual(
        which in 0..CASES.len(),
        ops in prop::collection::vec(op(), 1..14),
    ) {
        run(CASES[which], &ops);
    }
}

#[test]
fn every_format_cuts_a_block_at_each_place() {
    for &case in CASES {
        let (block, granule) = (case.block(), case.granule);
        for (cut, len) in [
            (0, granule),
            (block - granule, granule),
            (granule, block - 2 * granule),
            (block / 2, granule * 3),
            (0, block - granule),
        ] {
            let mut bench = Bench::new(case);
            bench.map(0, block, block, Prot::READ | Prot::WRITE);
            assert_eq!(bench.table.leaf_count(), 1, "{case:?}");
            bench.unmap(cut, len);
            assert_eq!(bench.mem.broken, [(0, block)], "broken before it was made");
            bench.check();
            bench.unmap(0, block);
            bench.check();
            assert_eq!(bench.table.tables(), 1, "the root alone is left");
            bench.finish();
        }
    }
}

#[test]
fn a_block_of_1_gib_is_cut_twice_at_one_page() {
    for format in [S1, S2, Vtd] {
        let case = *CASES
            .iter()
            .find(|c| c.format == format && c.input_bits == 48)
            .unwrap();
        let mut bench = Bench::new(case);
        let phys = PhysAddr::new(7 * G);
        bench
            .table
            .map(&mut bench.mem, DmaAddr::new(G), phys, G, Prot::READ)
            .unwrap();
        assert_eq!(bench.table.leaf_count(), 1);
        let hole = G + 100 * 2 * M + 5 * 4 * K;
        let removed = bench
            .with_every_failure(|table, mem| table.unmap(mem, DmaAddr::new(hole), 4 * K))
            .unwrap();
        assert_eq!(removed, 4 * K);
        assert_eq!(bench.table.leaf_count(), 511 + 511);
        let walker = case.walker(&bench.table);
        let (seen, _) = walker.everything(&bench.mem);
        assert_eq!(seen.iter().map(|leaf| leaf.len).sum::<u64>(), G - 4 * K);
        for leaf in seen {
            assert_eq!(leaf.phys - leaf.iova, 6 * G, "{leaf:x?}");
            assert!(leaf.read && (!leaf.write), "rights survive the cut");
        }
        assert!(walker.walk(&bench.mem, hole).is_err());
        let removed = bench
            .table
            .unmap(&mut bench.mem, DmaAddr::new(G), G)
            .unwrap();
        assert_eq!((removed, bench.table.tables()), (G - 4 * K, 1));
        bench.finish();
    }
}

#[test]
fn the_edges_of_64_bits_are_refused_or_reached() {
    for &case in CASES {
        let mut bench = Bench::new(case);
        let (g, end) = (case.granule, 1u64 << case.input_bits);
        let last = 1u64 << 48;
        let refused = [
            (0, 0, 0),
            (0, 0, u64::MAX),
            (0, 0, !(g - 1)),
            (!(g - 1), 0, g),
            (end, 0, g),
            (end - g, 0, 2 * g),
            (1, 0, g),
            (0, 1, g),
            (0, 0, g + 1),
            (0, 0, g / 2),
            (g / 2, g / 2, g / 2),
        ];
        for (iova, phys, len) in refused {
            let (iova, phys) = (DmaAddr::new(iova), PhysAddr::new(phys));
            let result = bench.table.map(&mut bench.mem, iova, phys, len, Prot::READ);
            assert_eq!(result, Err(Error::Invalid), "{iova} {phys} {len:#x}");
        }
        for (iova, len) in [
            (0, 0),
            (1, g),
            (0, g - 1),
            (g / 2, g / 2),
            (!(g - 1), g),
            (end, g),
        ] {
            let result = bench.table.unmap(&mut bench.mem, DmaAddr::new(iova), len);
            assert_eq!(result, Err(Error::Invalid), "{iova:#x} {len:#x}");
        }
        for phys in [last, last - g, !(g - 1), (!(g - 1)) - g] {
            let (iova, phys) = (DmaAddr::new(0), PhysAddr::new(phys));
            let err = bench
                .table
                .map(&mut bench.mem, iova, phys, 2 * g, Prot::READ)
                .unwrap_err();
            assert!(
                matches!(err, Error::Unmappable(r) if r.constraint == Constraint::Mask),
                "{err:?}"
            );
        }
        let nothing = bench.table.map(
            &mut bench.mem,
            DmaAddr::new(0),
            PhysAddr::new(0),
            g,
            Prot::COHERENT,
        );
        assert_eq!(nothing, Err(Error::Invalid), "no right at all");
        bench.check();
        bench.map(end - g, last - g, g, Prot::READ | Prot::WRITE);
        bench.map(0, 0, g, Prot::READ | Prot::WRITE);
        bench.check();
        bench.probe([0, g, end - 1, end - g]);
        for outside in [end, u64::MAX] {
            let outside = DmaAddr::new(outside);
            assert_eq!(bench.table.translate(&bench.mem, outside), None);
            let level = bench.table.end_level(&bench.mem, outside);
            assert_eq!(level, case.start_level);
        }
        bench.finish();
    }
}

#[test]
fn configurations_no_manual_has_are_refused() {
    let good = CASES[0].config();
    let bad = [
        Config {
            page_sizes: 0,
            ..good
        },
        Config {
            page_sizes: 2 * M,
            ..good
        },
        Config {
            page_sizes: 8 * K,
            ..good
        },
        // The sizes have a gap: a block of 1 GiB could not be split.
        Config {
            page_sizes: (4 * K) | G,
            ..good
        },
        Config {
            page_sizes: (4 * K) | (64 * K),
            ..good
        },
        Config {
            input_bits: 49,
            ..good
        },
        Config {
            input_bits: 12,
            ..good
        },
        Config {
            input_bits: u32::MAX,
            ..good
        },
        Config {
            output_bits: 49,
            ..good
        },
        Config {
            output_bits: 0,
            ..good
        },
        Config {
            format: Vtd,
            page_sizes: 16 * K,
            ..good
        },
        Config {
            format: Vtd,
            input_bits: 58,
            ..good
        },
    ];
    let mut mem = Tables::default();
    for config in bad {
        let result = PageTable::new(&mut mem, &config);
        assert!(matches!(result, Err(Error::Invalid)), "{config:?}");
        assert_eq!(mem.live(), 0);
    }
}

#[test]
fn each_format_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = Format::ALL.iter().map(|format| format.name()).collect();
    assert_eq!(names.len(), Format::ALL.len());
    assert!(names.iter().all(|name| name.len() > 3), "{names:?}");
}

#[test]
fn root_tables_are_adjacent_if_no_block_is_lost() {
    // In the first case, 20 bits are too many for level 3. So level 2 has four tables instead of a level 1.
    let wide = [
        (4 * K, 32, 2, 16 * K),
        (4 * K, 24, 3, 32 * K),
        (64 * K, 32, 3, 512 * K),
    ];
    for (sizes, input_bits, start_level, root_bytes) in wide {
        let config = Config {
            format: S2,
            page_sizes: sizes,
            input_bits,
            output_bits: 48,
        };
        let mut mem = Tables::default();
        let mut table = PageTable::new(&mut mem, &config).unwrap();
        let root = mem.len_of(table.root().get());
        assert_eq!((table.start_level(), root), (start_level, root_bytes));
        let last = (1 << input_bits) - sizes;
        for at in [0, (last / 2) & !(sizes - 1), last] {
            let (iova, phys) = (DmaAddr::new(at), PhysAddr::new(at + (1 << 40)));
            table.map(&mut mem, iova, phys, sizes, Prot::WRITE).unwrap();
            let walker = Walker {
                kind: Kind::Stage2,
                granule: sizes,
                input_bits,
                start_level: table.start_level(),
                root: table.root().get(),
            };
            assert_eq!(walker.walk(&mem, at).unwrap().phys, phys.get());
        }
        table.free(&mut mem);
        assert_eq!(mem.live(), 0);
    }
}

#[test]
fn entries_of_reserved_bits_fault_and_lead_nowhere() {
    // A block at a level where Arm has none, a large page where VT-d has none, and then a table that points
    // to itself: every walk ends.
    let arm = CASES[0];
    for (format_case, level_of, entry) in [(arm, 0, 0b01u64), (CASES[24], 4, 1 << 7 | 0b11)] {
        let mut bench = Bench::new(format_case);
        let root = bench.table.root();
        bench.mem.poke(root.get(), entry);
        let first = DmaAddr::new(0);
        assert_eq!(bench.table.translate(&bench.mem, first), None);
        assert_eq!(bench.table.end_level(&bench.mem, first), level_of);
        assert_eq!(
            bench.table.map(
                &mut bench.mem,
                DmaAddr::new(0),
                PhysAddr::new(0),
                4 * K,
                Prot::READ
            ),
            Err(Error::Invalid)
        );
        bench.mem.poke(root.get(), root.get() | 0b11);
        // At the last level the same bits are a page.
        let looped = bench.table.translate(&bench.mem, DmaAddr::new(0)).unwrap();
        assert_eq!((looped.phys, looped.len), (root, 4 * K));
        assert!(
            bench
                .table
                .leaves(&bench.mem, DmaAddr::new(0), DmaAddr::new(64 * K))
                .count()
                < 64
        );
    }
}

/// An entry with reserved bits stays, and the pages on both sides of it are removed.
#[test]
fn unmap_passes_an_entry_of_reserved_bits() {
    let mut bench = Bench::new(CASES[0]);
    bench.map(0, 0, 12 * K, Prot::READ);
    let walker = bench.case.walker(&bench.table);
    let (_, tables) = walker.everything(&bench.mem);
    let &(lowest, _) = tables.iter().find(|&&(_, used)| used == 3).unwrap();
    let page = bench.mem.peek(lowest + 8);
    bench.mem.poke(lowest + 8, page & !0b10);
    let removed = bench.table.unmap(&mut bench.mem, DmaAddr::new(0), 12 * K);
    assert_eq!((removed, bench.table.leaf_count()), (Ok(8 * K), 1));
    bench.mem.poke(lowest + 8, page);
    bench.model.retain(|&at, _| at == 4 * K);
    bench.finish();
}

#[test]
fn empty_tables_await_the_flush() {
    let case = CASES[0];
    let mut bench = Bench::new(case);
    let counts = |bench: &Bench| (bench.table.tables(), bench.mem.live());
    bench.map(0, 0, 4 * K, Prot::READ);
    bench.unmap(0, 4 * K);
    assert_eq!(counts(&bench), (1, 4), "a walker may still be there");
    let retired = bench.table.take_retired();
    // A flush does not cover entries that are removed while it runs.
    bench.map(2 * M, 0, 4 * K, Prot::READ);
    bench.unmap(2 * M, 4 * K);
    assert_eq!(counts(&bench), (1, 7));
    retired.free(&mut bench.mem);
    assert_eq!(counts(&bench), (1, 4));
    bench.table.take_retired().free(&mut bench.mem);
    assert_eq!(counts(&bench), (1, 1));
    bench.map(0, 0, 2 * M, Prot::READ);
    assert_eq!(bench.table.leaf_count(), 1);
    bench.finish();
}

#[test]
fn what_is_written_is_published_before_it_is_linked() {
    let case = CASES[0];
    let mut bench = Bench::new(case);
    bench.mem.watch = true;
    bench.map(4 * K, 4 * K, 3 * M, Prot::READ);
    bench.unmap(8 * K, 4 * K);
    bench.unmap(0, 4 * M);
    // A block that becomes a table.
    bench.map(2 * M, 2 * M, 2 * M, Prot::READ);
    bench.unmap(3 * M, 4 * K);
    bench.unmap(2 * M, 2 * M);
    assert_eq!(bench.mem.unpublished(), 0, "entries a walker may not see");
    bench.finish();
}
