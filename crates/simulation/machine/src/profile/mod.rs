//! Machine profiles, which are built in or come from a TOML file.

mod check;
mod fields;
mod read;

pub use fields::FIELDS;
pub use read::{Size, parse_size};

use serde::Deserialize;
use std::fmt;
use vb3_dma::iopt::Format;
use vb3_dma::{BounceMode, Coherency, FlushPolicy, SegmentMode};

/// Default page size in bytes.
pub const PAGE_SIZE: u64 = 4096;
/// Possible page sizes in bytes, and the longest run of ordinary memory for each. The runs follow from a
/// `MAX_PAGE_ORDER` of 10, 11 and 13.
///
/// Source: Linux 7.2 `arch/arm64/Kconfig` `ARCH_FORCE_MAX_ORDER`.
const PAGE_SIZES: [(u64, u64); 3] = [
    (PAGE_SIZE, 4 << 20),
    (16 << 10, 32 << 20),
    (64 << 10, 512 << 20),
];
/// Bytes at address zero that are never allocated.
pub(crate) const RESERVED: u64 = 1 << 20;
/// Start of the hole in RAM for devices' addresses.
pub(crate) const HOLE: u64 = 3 << 30;
/// Cache line of machines without coherent caches, in bytes.
pub const CACHE_LINE: u64 = 64;

/// The IOMMU of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IommuProfile {
    /// Format of its page tables.
    #[serde(default = "read::usual_format", deserialize_with = "read::format")]
    pub format: Format,
    /// Page sizes: bit `n` set for `2^n` bytes.
    #[serde(deserialize_with = "read::page_sizes")]
    pub page_sizes: u64,
    /// Bits of an I/O virtual address.
    #[serde(rename = "aperture")]
    pub aperture_bits: u32,
    /// Ranges of addresses that are never assigned, each with first and last address.
    #[serde(default)]
    pub reserved: Vec<(u64, u64)>,
    /// When the IOMMU drops removed translations from its cache.
    #[serde(default, with = "read::Flush")]
    pub flush: FlushPolicy,
    /// How scatter tables are laid out.
    #[serde(default, with = "read::Segments")]
    pub segments: SegmentMode,
}

impl IommuProfile {
    /// Returns the bytes of the IOMMU's smallest page.
    #[must_use]
    pub fn granule(&self) -> u64 {
        1 << self.page_sizes.trailing_zeros().min(63)
    }

    /// Returns the highest I/O virtual address.
    #[must_use]
    pub fn last(&self) -> u64 {
        mask_of(self.aperture_bits)
    }
}

/// A named part of memory that is reserved for physically contiguous buffers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AreaProfile {
    /// The area's name, which is also the name of its dma-heap. It is the key of the area's table.
    #[serde(skip)]
    pub name: String,
    /// Length in bytes.
    #[serde(rename = "size", deserialize_with = "read::size")]
    pub bytes: u64,
    /// Whether the area has struct pages. If not, it is on-chip memory (SRAM) among devices' addresses, and
    /// uncached.
    #[serde(default = "read::yes")]
    pub pages: bool,
    /// Whether the memory is protected: the CPU and devices without permission cannot access it.
    #[serde(default)]
    pub protected: bool,
}

/// The bounce pool of a machine, and its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BounceProfile {
    /// When devices use the pool.
    #[serde(with = "read::Bounce")]
    pub mode: BounceMode,
    /// Bytes of the pool; zero for none.
    #[serde(deserialize_with = "read::size")]
    pub pool: u64,
}

impl Default for BounceProfile {
    fn default() -> Self {
        let (mode, pool) = (BounceMode::Never, 0);
        Self { mode, pool }
    }
}

/// A plane allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allocator {
    /// Memory that is contiguous for the device (dma-contig).
    #[default]
    Contig,
    /// Memory that is contiguous for the CPU (vmalloc).
    Vmalloc,
}

/// The description of a machine.
///
/// [`Profile::parse`] reads and checks it. Its `Deserialize` alone does not check values.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// A short name.
    pub name: String,
    /// A description in one sentence.
    #[serde(default)]
    pub description: String,
    /// Bytes of a page of the CPU: 4, 16 or 64 KiB. A program's own pages have the host's size.
    #[serde(default = "read::usual_page", deserialize_with = "read::size")]
    pub page_size: u64,
    /// Bytes of RAM.
    #[serde(deserialize_with = "read::size")]
    pub ram: u64,
    /// Bytes of RAM reserved for contiguous memory; zero for none.
    #[serde(default, deserialize_with = "read::size")]
    pub cma: u64,
    /// Second name of the contiguous memory's dma-heap. Kernels before 6.17 know only this name, such as `linux,cma`
    /// or `reserved`; later ones keep it with CONFIG_DMABUF_HEAPS_CMA_LEGACY.
    #[serde(default)]
    pub cma_heap: Option<String>,
    /// Further reserved memory, by name. Devices do not allocate from it. Programs do, by dma-heaps, and lazy
    /// placement may choose it.
    #[serde(default, deserialize_with = "read::areas")]
    pub areas: Vec<AreaProfile>,
    /// Whether devices see the CPU's caches. If not, a cache line has [`CACHE_LINE`] bytes.
    pub coherent: bool,
    /// The IOMMU; `None` if bus addresses are physical addresses.
    #[serde(default, deserialize_with = "read::optional")]
    pub iommu: Option<IommuProfile>,
    /// Further IOMMUs by name, for devices that name one of them.
    #[serde(default, deserialize_with = "read::iommus")]
    pub iommus: Vec<(String, IommuProfile)>,
    /// Address bits of a device.
    #[serde(rename = "dma_mask")]
    pub dma_mask_bits: u32,
    /// Longest segment of a device, in bytes.
    #[serde(default = "read::unlimited", deserialize_with = "read::size_or_none")]
    pub max_segment: u64,
    /// Boundary that segments do not cross, as a mask; all ones for none.
    #[serde(default = "read::unlimited", deserialize_with = "read::boundary")]
    pub boundary: u64,
    /// The bounce pool, and when devices use it.
    #[serde(default, deserialize_with = "read::bounce")]
    pub bounce: BounceProfile,
    /// Whether devices reach only memory that the confidential machine has shared with them.
    #[serde(default)]
    pub private_memory: bool,
    /// Whether devices are untrusted: the pages of their memory must not contain other data.
    #[serde(default)]
    pub untrusted: bool,
    /// Bytes of each device's own coherent memory; zero for none.
    #[serde(default, deserialize_with = "read::size")]
    pub sram: u64,
    /// Whether the machine scatters single pages deliberately.
    #[serde(default = "read::yes")]
    pub scattered: bool,
    /// Whether devices offer USERPTR by default; `None` leaves it to the allocator.
    pub userptr: Option<bool>,
    /// The allocator of devices that name none.
    #[serde(default)]
    pub allocator: Allocator,
    /// The machine's devices, as in `vb3 run --device`; none if the user names them.
    #[serde(default)]
    pub devices: Vec<String>,
}

impl Profile {
    /// Returns the default DMA mask of devices.
    #[must_use]
    pub fn mask(&self) -> u64 {
        mask_of(self.dma_mask_bits)
    }

    /// Returns the index of a further IOMMU in [`iommus`](Self::iommus).
    #[must_use]
    pub fn iommu_named(&self, name: &str) -> Option<usize> {
        self.iommus.iter().position(|(known, _)| known == name)
    }

    /// Returns the bytes of the longest run of ordinary memory, like a buddy allocator's.
    #[must_use]
    pub fn max_ordinary_run(&self) -> u64 {
        let row = PAGE_SIZES.iter().find(|(page, _)| *page == self.page_size);
        row.map_or(self.page_size, |&(_, run)| run)
    }

    /// Returns the largest of the smallest page sizes of the machine and its IOMMUs, in bytes.
    pub(crate) fn granule(&self) -> u64 {
        let further = self.iommus.iter().map(|(_, iommu)| iommu);
        let all = self.iommu.iter().chain(further);
        all.map(IommuProfile::granule)
            .fold(self.page_size, u64::max)
    }

    /// Returns the devices' coherency as the mapping layer's type.
    #[must_use]
    pub fn coherency(&self) -> Coherency {
        if self.coherent {
            Coherency::Coherent
        } else {
            Coherency::NonCoherent
        }
    }

    /// Parses and checks a profile in TOML.
    ///
    /// # Errors
    /// [`ProfileError`] with the field and the line.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        check::parse(text)
    }

    /// Returns the built-in profile with this name; `None` if there is none.
    #[must_use]
    pub fn builtin(name: &str) -> Option<Self> {
        let (_, text) = BUILTINS.iter().find(|(known, _)| *known == name)?;
        // A test parses every built-in profile.
        Self::parse(text).ok()
    }
}

/// Returns the line number of a byte position in a text, counted from 1.
#[must_use]
pub fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().iter().take(at);
    before.filter(|&&byte| byte == b'\n').count() + 1
}

macro_rules! builtin {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../profiles/", $name, ".toml")),
        )
    };
}

/// The built-in profiles: name and TOML text, with a comment on each field.
pub const BUILTINS: &[(&str, &str)] = &[
    builtin!("pc"),
    builtin!("pc-untrusted"),
    builtin!("soc-64k"),
    builtin!("soc-boundary"),
    builtin!("soc-cma"),
    builtin!("soc-iommu"),
    builtin!("soc-noncoherent"),
    builtin!("soc-sram"),
    builtin!("vm-bounce"),
];

/// An error in a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// The line number, counted from 1.
    pub line: usize,
    /// The field, if the error belongs to one; a field of a table as `table.field`.
    pub field: Option<String>,
    /// The description, without field and line.
    pub message: String,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ProfileError {}

/// `2^bits - 1`.
const fn mask_of(bits: u32) -> u64 {
    match 1u64.checked_shl(bits) {
        Some(end) => end - 1,
        None => u64::MAX,
    }
}

/// Formats a size for people.
fn show(bytes: u64) -> String {
    for (shift, unit) in [(30u32, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes != 0 && bytes % (1 << shift) == 0 {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests;
