//! A device's IOMMU. It walks page tables in memory, entry by entry, and caches translations.

mod memory;
mod tlb;

pub(crate) use memory::{TableFrames, Tables};
pub use tlb::Staleness;

use crate::profile::IommuProfile;
use tlb::Tlb;
use vb3_dma::iopt::{Config, PageTable};
use vb3_dma::{Error, Iova, PhysAddr, Prot};

/// Bits of a physical address of the machine.
const OUTPUT_BITS: u32 = 48;

/// The result of a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    pub(crate) phys: PhysAddr,
    /// Bytes from the address to the end of the page.
    pub(crate) len: u64,
    pub(crate) prot: Prot,
}

/// One device's view of the IOMMU.
#[derive(Debug)]
pub(crate) struct Iommu {
    pub(crate) table: PageTable,
    tlb: Tlb,
}

impl Iommu {
    /// Makes an IOMMU that maps nothing.
    pub(crate) fn new(mem: &mut Tables<'_>, profile: &IommuProfile) -> Result<Self, Error> {
        let config = Config {
            format: profile.format,
            page_sizes: without_gaps(profile),
            input_bits: profile.aperture_bits,
            output_bits: OUTPUT_BITS,
        };
        let table = PageTable::new(mem, &config)?;
        let tlb = Tlb::new(1 << config.page_sizes.trailing_zeros());
        Ok(Self { table, tlb })
    }

    pub(crate) fn set_staleness(&mut self, staleness: Staleness) {
        self.tlb.set_staleness(staleness);
    }

    /// Removes the mappings of a range. The device may use them until a flush.
    ///
    /// # Errors
    /// As [`PageTable::unmap`]. Memory can run out only if a large page extends beyond the range.
    pub(crate) fn unmap(
        &mut self,
        mem: &mut Tables<'_>,
        iova: Iova,
        len: u64,
    ) -> Result<(), Error> {
        let last = Iova::new(iova.get().saturating_add(len.saturating_sub(1)));
        let pages = self.table.leaves(&*mem.frames, iova, last);
        self.tlb.remove(iova.get(), len, pages);
        self.table.unmap(mem, iova, len).map(|_| ())
    }

    /// Ends the device's use of removed mappings, and frees empty tables.
    pub(crate) fn flush(&mut self, mem: &mut Tables<'_>) {
        let retired = self.table.take_retired();
        self.tlb.flush();
        retired.free(mem);
    }

    /// Translates an address as the device sees it now.
    ///
    /// # Errors
    /// The name of the entry that ended the walk.
    pub(crate) fn translate(
        &self,
        frames: &TableFrames,
        iova: u64,
    ) -> Result<Translation, &'static str> {
        let leaf = match self.tlb.find(iova) {
            Some(leaf) => leaf,
            None => match self.table.translate(frames, Iova::new(iova)) {
                Ok(leaf) => {
                    self.tlb.fill(iova, leaf);
                    leaf
                }
                Err(fault) => self.tlb.find_removed(iova).ok_or(fault.name)?,
            },
        };
        let (phys, len) = leaf.at(Iova::new(iova)).ok_or("")?;
        let prot = leaf.prot;
        Ok(Translation { phys, len, prot })
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
