//! A device's IOMMU. It walks page tables in memory, entry by entry, and caches translations.

mod tlb;

pub use tlb::Staleness;

use crate::profile::IommuProfile;
use crate::ram::Ram;
use tlb::Tlb;
use vb3_dma::iopt::{Config, Leaf, PageTable};
use vb3_dma::{DmaAddr, Error};

/// Bits of a physical address of the machine.
const OUTPUT_BITS: u32 = 48;

/// One device's view of the IOMMU.
#[derive(Debug)]
pub(crate) struct Iommu {
    pub(crate) table: PageTable,
    pub(crate) tlb: Tlb,
}

impl Iommu {
    /// Makes an IOMMU that maps nothing.
    pub(crate) fn new(ram: &mut Ram, profile: &IommuProfile) -> Result<Self, Error> {
        let config = Config {
            format: profile.format,
            page_sizes: without_gaps(profile),
            input_bits: profile.aperture_bits,
            output_bits: OUTPUT_BITS,
        };
        let table = PageTable::new(ram, &config)?;
        let tlb = Tlb::new(1 << config.page_sizes.trailing_zeros());
        Ok(Self { table, tlb })
    }

    /// Removes the mappings of a range. The device may use them until a flush.
    ///
    /// # Errors
    /// As [`PageTable::unmap`]. Memory can run out only if a large page extends beyond the range.
    pub(crate) fn unmap(&mut self, ram: &mut Ram, iova: DmaAddr, len: u64) -> Result<(), Error> {
        let last = DmaAddr::new(iova.get().saturating_add(len.saturating_sub(1)));
        let pages = self.table.leaves(ram, iova, last);
        self.tlb.remove(iova.get(), len, pages);
        self.table.unmap(ram, iova, len).map(|_| ())
    }

    /// Ends the device's use of removed mappings, and frees empty tables.
    pub(crate) fn flush(&mut self, ram: &mut Ram) {
        let retired = self.table.take_retired();
        self.tlb.flush();
        retired.free(ram);
    }

    /// Finds the page of an address as the device sees it now.
    ///
    /// # Errors
    /// The name of the entry that ended the walk.
    pub(crate) fn translate(&self, ram: &Ram, iova: DmaAddr) -> Result<Leaf, &'static str> {
        if let Some(leaf) = self.tlb.find(iova) {
            return Ok(leaf);
        }
        match self.table.translate(ram, iova) {
            Some(leaf) => {
                self.tlb.fill(iova, leaf);
                Ok(leaf)
            }
            None => {
                let removed = self.tlb.find_removed(iova);
                removed.ok_or_else(|| self.table.level_name(self.table.end_level(ram, iova)))
            }
        }
    }
}

/// Returns the profile's page sizes that are smaller than the first gap in the profile's sizes.
/// The gap is the smallest size that the format has and the profile lacks. A larger page could not be split
/// into pages of that size.
fn without_gaps(profile: &IommuProfile) -> u64 {
    let offered = profile
        .format
        .page_sizes(profile.page_sizes.trailing_zeros());
    let missing = offered & !profile.page_sizes;
    // The mask has all bits below the lowest missing size.
    let below = missing.wrapping_sub(1) & !missing;
    profile.page_sizes & below
}

#[cfg(test)]
mod tests;
