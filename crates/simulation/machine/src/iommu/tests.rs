//! Compares the IOMMU with a map of single pages.

use super::{Iommu, Staleness};
use crate::profile::{IommuProfile, Profile};
use crate::ram::Ram;
use proptest::prelude::*;
use std::collections::BTreeMap;
use vb3_dma::iopt::Format;
use vb3_dma::{DmaAddr, Error, PhysAddr, Prot};

const PAGE: u64 = 4096;
const SIZES: u64 = 1 << 12 | 1 << 21 | 1 << 30;

/// One IOMMU, with RAM for its tables.
struct Bench {
    ram: Ram,
    iommu: Iommu,
}

impl Bench {
    fn new(format: Format, aperture_bits: u32, page_sizes: u64) -> Self {
        let text = "name = \"t\"\nram = \"64MiB\"\ncoherent = true\ndma_mask = 32\n";
        let (mut ram, _) = Ram::new(&Profile::parse(text).unwrap(), 1);
        let profile = IommuProfile {
            format,
            page_sizes,
            aperture_bits,
            reserved: Vec::new(),
            flush: vb3_dma::FlushPolicy::Strict,
            segments: vb3_dma::SegmentMode::Contiguous,
        };
        let iommu = Iommu::new(&mut ram, &profile).unwrap();
        Self { ram, iommu }
    }

    fn map(&mut self, iova: u64, phys: u64, len: u64) -> Result<(), Error> {
        let (iova, phys) = (DmaAddr::new(iova), PhysAddr::new(phys));
        let table = &mut self.iommu.table;
        table.map(&mut self.ram, iova, phys, len, Prot::READ)
    }

    fn unmap(&mut self, iova: u64, len: u64) {
        let iova = DmaAddr::new(iova);
        self.iommu.unmap(&mut self.ram, iova, len).unwrap();
    }

    fn flush(&mut self) {
        self.iommu.flush(&mut self.ram);
    }

    /// Returns the physical address, and the bytes from there to the end of the page.
    fn translate(&self, iova: u64) -> Option<(u64, u64)> {
        let iova = DmaAddr::new(iova);
        let (phys, len) = self.iommu.translate(&self.ram, iova).ok()?.at(iova)?;
        Some((phys.get(), len))
    }
}

/// Generates a format, and the shift from the machine's page size to the format's smallest page.
fn format() -> impl Strategy<Value = (Format, u32)> {
    prop_oneof![
        Just((Format::VtdSecondStage, 0)),
        Just((Format::ArmLpaeS1, 0)),
        Just((Format::ArmLpaeS2, 0)),
        Just((Format::ArmLpaeS1, 2)),
        Just((Format::ArmLpaeS1, 4)),
        Just((Format::ArmLpaeS2, 4)),
    ]
}

#[derive(Clone, Debug)]
enum Op {
    Map { iova: u64, phys: u64, pages: u64 },
    Unmap(usize),
    Flush,
}

/// Generates a few different addresses, so that ranges overlap. Some are multiples of 2 MiB, for large pages.
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
    fn it_agrees_with_a_map_of_pages(
        (format, shift) in format(),
        ops in prop::collection::vec(op(), 1..40),
    ) {
        // The addresses below are scaled by the page size.
        let page = PAGE << shift;
        let mut table = Bench::new(format, 39, format.page_sizes(12 + shift));
        let free_at_first = table.ram.free_bytes();
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut live: Vec<(u64, u64)> = Vec::new();
        for op in ops {
            match op {
                Op::Map { iova, phys, pages } => {
                    let (iova, phys) = (iova << shift, phys << shift);
                    let free = (0..pages).all(|p| !model.contains_key(&(iova + p * page)));
                    let mapped = table.map(iova, phys, pages * page);
                    prop_assert_eq!(mapped, if free { Ok(()) } else { Err(Error::Invalid) });
                    if free {
                        model.extend((0..pages).map(|p| (iova + p * page, phys + p * page)));
                        live.push((iova, pages));
                    }
                }
                Op::Unmap(which) => {
                    if live.is_empty() {
                        continue;
                    }
                    let (iova, pages) = live.swap_remove(which % live.len());
                    table.unmap(iova, pages * page);
                    model.retain(|&at, _| !(iova..iova + pages * page).contains(&at));
                }
                Op::Flush => table.flush(),
            }
            for (&iova, &phys) in model.iter().step_by(17) {
                let found = table.translate(iova + 5).unwrap();
                prop_assert_eq!(found.0, phys + 5);
                prop_assert!(found.1 <= (1 << 30) && found.1 % page == page - 5);
            }
        }
        table.flush();
        for n in 0..3072 {
            let (iova, expected) = (n * page, model.get(&(n * page)));
            let found = table.translate(iova).map(|(phys, _)| phys);
            prop_assert_eq!(found, expected.copied());
        }
        for (iova, pages) in live {
            table.unmap(iova, pages * page);
        }
        table.flush();
        prop_assert_eq!(table.iommu.table.leaf_count(), 0);
        prop_assert_eq!(table.ram.free_bytes(), free_at_first, "no table is left without entries");
    }
}

#[test]
fn large_pages_are_used_where_both_addresses_allow() {
    let mut table = Bench::new(Format::ArmLpaeS1, 48, SIZES);
    table.map(1 << 30, 2 << 30, 1 << 30).unwrap();
    assert_eq!(table.iommu.table.leaf_count(), 1);
    table.map(0x20_0000, 0x40_0000, 0x20_1000).unwrap();
    assert_eq!(table.iommu.table.leaf_count(), 3);
    // A large page also needs an aligned physical address.
    table.map(0x80_0000, 0x1000, 0x20_0000).unwrap();
    assert_eq!(table.iommu.table.leaf_count(), 3 + 512);
    let found = table.translate((1 << 30) + 0x1234_5678).unwrap();
    assert_eq!(found.0, (2 << 30) + 0x1234_5678);
    assert_eq!(found.1, (1 << 30) - 0x1234_5678);

    let mut table = Bench::new(Format::ArmLpaeS1, 48, 1 << 16 | 1 << 29);
    table.map(1 << 30, 3 << 29, (1 << 29) + (1 << 16)).unwrap();
    assert_eq!(table.iommu.table.leaf_count(), 2);
    let found = table.translate((1 << 30) + 0x1234_5678).unwrap();
    assert_eq!(found.0, (3 << 29) + 0x1234_5678);
    assert_eq!(found.1, (1 << 29) - 0x1234_5678);
    for (iova, phys, len) in [(PAGE, 0, 1 << 16), (0, PAGE, 1 << 16), (0, 0, PAGE)] {
        assert_eq!(table.map(iova, phys, len), Err(Error::Invalid));
    }
    assert_eq!(table.iommu.table.leaf_count(), 2);
}

#[test]
fn a_removed_page_works_until_the_flush() {
    let mut table = Bench::new(Format::VtdSecondStage, 32, SIZES);
    table.map(PAGE, 9 * PAGE, PAGE).unwrap();
    table.unmap(PAGE, PAGE);
    assert_eq!(
        table.translate(PAGE + 1).map(|(phys, _)| phys),
        Some(9 * PAGE + 1)
    );
    assert_eq!(table.iommu.table.leaf_count(), 0);
    table.flush();
    assert_eq!(table.translate(PAGE + 1), None);
}

#[test]
fn used_iotlb_entries_outlive_table_changes() {
    let mut table = Bench::new(Format::VtdSecondStage, 32, SIZES);
    table.iommu.tlb.set_staleness(Staleness::Cached);
    table.map(PAGE, 9 * PAGE, 2 * PAGE).unwrap();
    table.translate(PAGE).unwrap();
    table.unmap(PAGE, 2 * PAGE);
    // The second page was never used, so the translation buffer does not have it.
    assert_eq!(table.translate(2 * PAGE), None);
    table.map(PAGE, 20 * PAGE, PAGE).unwrap();
    let phys = |table: &Bench| table.translate(PAGE).map(|(phys, _)| phys / PAGE);
    assert_eq!(phys(&table), Some(9), "the new page is not seen yet");
    table.flush();
    assert_eq!(phys(&table), Some(20));
    // With `Everything`, the device uses every removed page until another is mapped there.
    table.iommu.tlb.set_staleness(Staleness::Everything);
    table.translate(PAGE).unwrap();
    table.unmap(PAGE, PAGE);
    assert_eq!(phys(&table), Some(20));
    table.map(PAGE, 30 * PAGE, PAGE).unwrap();
    assert_eq!(phys(&table), Some(30));
}

#[test]
fn ranges_that_make_no_sense_are_refused_whole() {
    let mut table = Bench::new(Format::VtdSecondStage, 32, SIZES);
    let cases = [
        (1, 0, PAGE),
        (0, 1, PAGE),
        (0, 0, PAGE + 1),
        (0, 0, 0),
        (u64::MAX - PAGE + 1, 0, PAGE),
        (1 << 48, 0, PAGE),
    ];
    for (iova, phys, len) in cases {
        assert_eq!(
            table.map(iova, phys, len),
            Err(Error::Invalid),
            "{iova:x} {len:x}"
        );
    }
    let beyond = table.map(0, u64::MAX - PAGE + 1, PAGE);
    assert!(matches!(beyond, Err(Error::Unmappable(_))), "{beyond:?}");
    table.map(4 * PAGE, 0, PAGE).unwrap();
    assert_eq!(table.map(PAGE, 0, 8 * PAGE), Err(Error::Invalid));
    assert_eq!(
        table.iommu.table.leaf_count(),
        1,
        "what was entered before the clash is gone again"
    );
    assert_eq!(table.translate(PAGE), None);
    assert_eq!(table.translate(u64::MAX), None);
}

#[test]
fn table_without_ram_changes_nothing() {
    let mut table = Bench::new(Format::ArmLpaeS2, 48, SIZES);
    let free = table.ram.free_bytes();
    let mut hoard = Vec::new();
    while table.ram.free_bytes() > 2 * PAGE {
        hoard.push(table.ram.take_table(1).unwrap());
    }
    let err = table.map(PAGE, PAGE, PAGE).unwrap_err();
    assert_eq!(err.errno(), 12);
    assert_eq!(
        (table.ram.free_bytes(), table.ram.tables.bytes()),
        (2 * PAGE, PAGE)
    );
    for frame in hoard {
        table.ram.give(&[(frame, 1)]);
    }
    assert_eq!(table.ram.free_bytes(), free);
    table.map(PAGE, PAGE, PAGE).unwrap();
}
