//! Layout of a page table: the geometry of its levels, and the entries of its format.

use super::entry::{Bits, ENTRY_SHIFT, Entry};
use super::{arm, vtd};
use crate::{Error, IommuInfo, PhysAddr, Prot};

/// Maximum number of levels of any format.
pub(super) const MAX_LEVELS: usize = 5;

/// Format of a page table, which depends on the IOMMU that walks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Arm VMSAv8-64 stage 1, with a granule of 4, 16 or 64 KiB.
    ///
    /// A device that may write to memory may also read it, because the format has no write-only entries. The walker's
    /// register `MAIR` must hold the value [`MAIR`](super::MAIR).
    ArmLpaeS1,
    /// Arm VMSAv8-64 stage 2, with a granule of 4, 16 or 64 KiB.
    ///
    /// Up to sixteen tables are concatenated at the root if that saves a level and rules out no block size.
    ArmLpaeS2,
    /// Intel VT-d second-stage tables of three, four or five levels.
    ///
    /// [`Prot::COHERENT`] has no effect, because each request of a device says whether it snoops. This crate never
    /// sets an entry's bit `SNP`, which would make all requests snoop: hardware without snoop control reserves this
    /// bit. Linux sets `SNP` only for virtual machines.
    VtdSecondStage,
}

impl Format {
    /// All formats.
    pub const ALL: &[Self] = &[Self::VtdSecondStage, Self::ArmLpaeS1, Self::ArmLpaeS2];

    /// Returns the name in machine profiles, such as `vt-d`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArmLpaeS1 => "arm-lpae-s1",
            Self::ArmLpaeS2 => "arm-lpae-s2",
            Self::VtdSecondStage => "vt-d",
        }
    }

    /// Returns the mask of entry sizes for a granule of `1 << granule_bits`; 0 for an unsupported granule.
    #[must_use]
    pub const fn page_sizes(self, granule_bits: u32) -> u64 {
        match (self, granule_bits) {
            (_, 12) => 1 << 12 | 1 << 21 | 1 << 30,
            (Self::ArmLpaeS1 | Self::ArmLpaeS2, 14) => 1 << 14 | 1 << 25,
            (Self::ArmLpaeS1 | Self::ArmLpaeS2, 16) => 1 << 16 | 1 << 29,
            _ => 0,
        }
    }

    /// Returns the maximum number of bits of an input address.
    #[must_use]
    pub const fn max_input_bits(self) -> u32 {
        match self {
            Self::ArmLpaeS1 | Self::ArmLpaeS2 => 48,
            Self::VtdSecondStage => 57,
        }
    }

    /// Returns the maximum number of bits of an output address.
    const fn max_output_bits(self) -> u32 {
        match self {
            Self::ArmLpaeS1 | Self::ArmLpaeS2 => 48,
            Self::VtdSecondStage => 52,
        }
    }

    /// Returns the manual's name of the entries of a level.
    pub(super) const fn level_name(self, level: u32) -> &'static str {
        match (self, level) {
            (Self::ArmLpaeS1 | Self::ArmLpaeS2, 0) => "level 0",
            (Self::ArmLpaeS1 | Self::ArmLpaeS2, 1) => "level 1",
            (Self::ArmLpaeS1 | Self::ArmLpaeS2, 2) => "level 2",
            (Self::ArmLpaeS1 | Self::ArmLpaeS2, _) => "level 3",
            (Self::VtdSecondStage, 5) => "SS-PML5E",
            (Self::VtdSecondStage, 4) => "SS-PML4E",
            (Self::VtdSecondStage, 3) => "SS-PDPE",
            (Self::VtdSecondStage, 2) => "SS-PDE",
            (Self::VtdSecondStage, _) => "SS-PTE",
        }
    }
}

/// Settings of a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Format of the table.
    pub format: Format,
    /// Entry sizes: bit `n` set for `2^n` bytes. The smallest is the granule. Between the smallest
    /// and the largest, all sizes of the format must be set.
    pub page_sizes: u64,
    /// Number of bits of an input address.
    pub input_bits: u32,
    /// Number of bits of an output address.
    pub output_bits: u32,
}

impl From<&Config> for IommuInfo {
    /// Describes an address space that contains all input addresses of the table.
    fn from(config: &Config) -> Self {
        Self::new(config.page_sizes, config.input_bits)
    }
}

/// The shape of a table.
///
/// Inside this module, levels are counted by height. The last level of a walk has height zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) format: Format,
    pub(super) granule_bits: u32,
    pub(super) index_bits: u32,
    pub(super) levels: u32,
    root_index_bits: u32,
    /// Maximum height of a leaf that `map` writes.
    pub(super) max_leaf: u32,
    /// Maximum height of a leaf in this format.
    max_block: u32,
    pub(super) bits: &'static Bits,
    pub(super) input_bits: u32,
    pub(super) output_bits: u32,
}

impl Geometry {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let (format, page_sizes) = (config.format, config.page_sizes);
        let granule_bits = page_sizes.trailing_zeros();
        let offered = format.page_sizes(granule_bits);
        // Must equal `whole`: all sizes of the format up to the largest requested one.
        let wanted = offered & page_sizes;
        let top = 63u32.saturating_sub(wanted.leading_zeros());
        let whole = offered & (u64::MAX >> 63u32.saturating_sub(top));
        let fits = (granule_bits.saturating_add(1)..=format.max_input_bits())
            .contains(&config.input_bits)
            && (granule_bits..=format.max_output_bits()).contains(&config.output_bits);
        if offered == 0 || wanted != page_sizes || wanted != whole || !fits {
            return Err(Error::Invalid);
        }
        let index_bits = granule_bits.saturating_sub(ENTRY_SHIFT);
        let (levels, root_index_bits) = match format {
            Format::VtdSecondStage => (vtd_levels(config.input_bits), index_bits),
            Format::ArmLpaeS1 => arm_levels(config.input_bits, granule_bits, index_bits),
            Format::ArmLpaeS2 => {
                let (levels, root) = arm_levels(config.input_bits, granule_bits, index_bits);
                // A root of up to sixteen entries can be replaced by as many adjacent tables of the next
                // level, which saves a level. This is not done if the root may have block entries.
                if levels > wanted.count_ones() && root <= 4 {
                    (levels - 1, root + index_bits)
                } else {
                    (levels, root)
                }
            }
        };
        let max_leaf = (wanted.count_ones() - 1).min(levels - 1);
        Ok(Self {
            format,
            granule_bits,
            index_bits,
            levels,
            root_index_bits,
            max_leaf,
            max_block: offered.count_ones() - 1,
            bits: match format {
                Format::ArmLpaeS1 | Format::ArmLpaeS2 => &arm::BITS,
                Format::VtdSecondStage => &vtd::BITS,
            },
            input_bits: config.input_bits,
            output_bits: config.output_bits,
        })
    }

    pub(super) const fn granule(&self) -> u64 {
        1 << self.granule_bits
    }

    /// Returns the size of the root in bytes: a granule, or several if tables are concatenated.
    pub(super) fn root_bytes(&self) -> u64 {
        self.granule()
            .max(1 << (self.root_index_bits + ENTRY_SHIFT))
    }

    /// Returns the first address beyond the input addresses.
    pub(super) const fn input_end(&self) -> u64 {
        1 << self.input_bits
    }

    /// Returns the base-2 logarithm of the bytes that an entry of this height covers; at most 57.
    pub(super) const fn shift(&self, height: u32) -> u32 {
        self.granule_bits + self.index_bits * height
    }

    /// Returns the bytes that an entry of this height covers.
    pub(super) const fn size(&self, height: u32) -> u64 {
        1 << self.shift(height)
    }

    /// Returns the number of entries of a table below the root.
    pub(super) const fn entries(&self) -> u64 {
        1 << self.index_bits
    }

    /// Returns the mask of an index into a table below the root.
    pub(super) const fn index_mask(&self) -> u64 {
        self.entries() - 1
    }

    /// Returns the height of the largest entry that fits `len` and the alignment of both addresses.
    #[inline]
    pub(super) fn leaf_height(&self, iova: u64, phys: u64, len: u64) -> u32 {
        let mut height = self.max_leaf;
        while height > 0 {
            let size = self.size(height);
            if (iova | phys) & (size - 1) == 0 && len >= size {
                break;
            }
            height -= 1;
        }
        height
    }

    /// Returns how many whole entries the `len` bytes from `iova` on take in the table that has the first of them. A
    /// root may be larger than other tables. It counts as several tables of their size, side by side.
    #[inline]
    pub(super) fn run(&self, iova: u64, height: u32, len: u64) -> u64 {
        let left = self.entries() - (iova >> self.shift(height) & self.index_mask());
        left.min(len >> self.shift(height))
    }

    /// Returns the manual's number of the level at this height.
    pub(super) const fn level(&self, height: u32) -> u32 {
        match self.format {
            Format::ArmLpaeS1 | Format::ArmLpaeS2 => 3u32.saturating_sub(height),
            Format::VtdSecondStage => height + 1,
        }
    }

    pub(super) const fn is_empty(&self, entry: u64) -> bool {
        entry & self.bits.used == 0
    }

    #[inline]
    pub(super) fn decode(&self, height: u32, entry: u64) -> Entry {
        let bits = self.bits;
        let addr = entry & bits.addr;
        if self.is_empty(entry) {
            Entry::Empty
        } else if height > 0 && entry & bits.kind == bits.table & bits.kind {
            Entry::Table(PhysAddr::new(addr & !(self.granule() - 1)))
        } else if height > self.max_block || height == 0 && entry & bits.page != bits.page {
            Entry::Malformed
        } else {
            Entry::Leaf(addr & !(self.size(height) - 1))
        }
    }

    pub(super) const fn table(&self, next: PhysAddr) -> u64 {
        next.get() & self.bits.addr | self.bits.table
    }

    /// Returns the attributes of a leaf that allows `prot`.
    #[inline]
    pub(super) fn attributes_for(&self, prot: Prot) -> u64 {
        match self.format {
            Format::ArmLpaeS1 => arm::s1_attributes(prot),
            Format::ArmLpaeS2 => arm::s2_attributes(prot),
            Format::VtdSecondStage => vtd::from_prot(prot),
        }
    }

    #[inline]
    pub(super) const fn leaf(&self, height: u32, phys: u64, attributes: u64) -> u64 {
        let kind = if height == 0 {
            self.bits.page
        } else {
            self.bits.block
        };
        phys | attributes | kind
    }

    pub(super) fn prot(&self, entry: u64) -> Prot {
        match self.format {
            Format::ArmLpaeS1 => arm::s1_prot(entry),
            Format::ArmLpaeS2 => arm::s2_prot(entry),
            Format::VtdSecondStage => vtd::prot(entry),
        }
    }
}

/// Returns the number of levels for the smallest sufficient guest address width: 39, 48 or 57 bits.
const fn vtd_levels(input_bits: u32) -> u32 {
    match input_bits {
        0..=39 => 3,
        40..=48 => 4,
        _ => 5,
    }
}

/// Returns the number of levels, and the number of bits that index the root.
const fn arm_levels(input_bits: u32, granule_bits: u32, index_bits: u32) -> (u32, u32) {
    let bits = input_bits - granule_bits;
    let levels = bits.div_ceil(index_bits);
    (levels, bits - index_bits * (levels - 1))
}
