//! The lower interface: the trait that a host implements for the mapping layer.
//!
//! Every method takes `&self`. A host that several contexts call needs locks, as any page allocator does.
//! The layer holds no lock while it calls the host.
#![expect(unused_variables, reason = "the default methods do nothing or refuse")]

use crate::{Caching, Coherency, DmaAddr, Error, Limits, PhysAddr, Reason, Segment};
use bitflags::bitflags;
use core::sync::atomic::{AtomicU8, Ordering, fence};

/// When a device's memory goes through the bounce pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BounceMode {
    /// Never. Memory that the device does not reach is refused.
    Never,
    /// If the memory lies beyond the device's reach.
    WhenNeeded,
    /// For every streaming mapping, at any address.
    Always,
}

/// The I/O address space of a device behind an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IommuInfo {
    /// Sizes that one page-table entry can map: bit `n` set for `2^n` bytes. The smallest is the granule,
    /// which may be larger than the CPU's page.
    pub page_sizes: u64,
    /// Lowest address that may be allocated. (Zero is never allocated.)
    pub first: DmaAddr,
    /// Highest address that may be allocated.
    pub last: DmaAddr,
}

impl IommuInfo {
    /// Describes a space that has all addresses of `bits` bits.
    #[must_use]
    pub const fn new(page_sizes: u64, bits: u32) -> Self {
        let last = match 1u64.checked_shl(bits) {
            Some(end) => end.wrapping_sub(1),
            None => u64::MAX,
        };
        Self {
            page_sizes,
            first: DmaAddr::new(0),
            last: DmaAddr::new(last),
        }
    }

    /// Returns the size of the smallest page in bytes; `None` if `page_sizes` is zero.
    #[must_use]
    pub const fn granule(&self) -> Option<u64> {
        1u64.checked_shl(self.page_sizes.trailing_zeros())
    }
}

/// Properties of a device that the mapping layer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Addresses and segments that a device can use.
    pub limits: Limits,
    /// Whether the device sees the CPU's caches.
    pub coherency: Coherency,
    /// Alignment in bytes that user memory handed to the device must have: a cache line; 1 if coherent.
    pub cache_alignment: u64,
    /// The device's I/O address space; `None` without an IOMMU.
    pub iommu: Option<IommuInfo>,
    /// When the device's memory goes through the bounce pool.
    pub bounce: BounceMode,
}

impl DeviceInfo {
    /// Returns the description of a device that sees the CPU's caches, uses physical addresses and never
    /// bounces.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            coherency: Coherency::Coherent,
            cache_alignment: 1,
            iommu: None,
            bounce: BounceMode::Never,
        }
    }

    /// Returns the description of a device that does not see the CPU's caches. User memory handed to the
    /// device must begin and end on multiples of `cache_alignment` bytes.
    #[must_use]
    pub const fn non_coherent(mut self, cache_alignment: u64) -> Self {
        self.coherency = Coherency::NonCoherent;
        self.cache_alignment = cache_alignment;
        self
    }

    /// Returns the description with this IOMMU, or without an IOMMU.
    #[must_use]
    pub const fn with_iommu(mut self, iommu: Option<IommuInfo>) -> Self {
        self.iommu = iommu;
        self
    }

    /// Returns the description with this bounce mode.
    #[must_use]
    pub const fn with_bounce(mut self, bounce: BounceMode) -> Self {
        self.bounce = bounce;
        self
    }

    /// Returns whether memory can meet the limits at all: [`Limits::is_valid`] holds, and the IOMMU, if there
    /// is one, has at least one page size.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.limits.is_valid() && self.iommu.is_none_or(|iommu| iommu.page_sizes != 0)
    }
}

/// A mapper's request to allocate pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest<D> {
    /// Length in bytes, a non-zero multiple of the granule.
    pub len: u64,
    /// Start and length of each physical run are multiples of this power of two, in bytes: the CPU's page
    /// size, or the smallest page size of an IOMMU with larger pages.
    pub granule: u64,
    /// Whether the pages must form one physical run. Otherwise, they may have any addresses.
    pub contiguous: bool,
    /// Highest physical address that a byte of the pages may have.
    pub max_addr: PhysAddr,
    /// How the CPU maps the pages.
    pub caching: Caching,
    /// The device that must reach the pages without bouncing, if they are allocated for a device. A
    /// confidential machine then makes them shared (unencrypted).
    pub device: Option<D>,
}

bitflags! {
    /// Accesses that a page-table entry allows.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Prot: u8 {
        /// Reads.
        const READ = 1 << 0;
        /// Writes.
        const WRITE = 1 << 1;
        /// Snooping the CPU's caches.
        const COHERENT = 1 << 2;
        /// The target is not RAM.
        const MMIO = 1 << 3;
    }
}

/// A host of the mapping layer: a simulated machine, an operating system, or a user-space driver over VFIO.
///
/// Every host has memory and devices. [`without!`](crate::without) writes the methods of the parts that a host lacks.
/// A VFIO driver does not know physical addresses. It passes addresses of its own process instead, and its devices are
/// always behind an IOMMU.
///
/// # Requirements on the implementer
/// * Physical ranges of live allocations and pins never overlap, and stay valid until freed.
/// * Every allocated page is zeroed, for the CPU and for devices, and belongs to one allocation only.
/// * A call that fails changes nothing.
/// * Calls without a `Result` succeed. If one cannot, the implementer never reuses the memory.
///
/// # Context
/// | methods | context |
/// |---|---|
/// | `alloc_pages`, `free_pages`, and those of programs and of views except `barrier` | may sleep |
/// | `iommu_map`, `iommu_unmap`, `iommu_flush`, `iommu_map_done` | the host decides which may sleep; the layer calls them in its caller's context, also to unmap |
/// | `cache_clean`, `cache_invalidate`, `bounce_in`, `bounce_out`, `barrier` | do not sleep; may be called in interrupt context |
/// | all others | do not sleep |
pub trait Platform {
    /// A device that does DMA.
    type Device: Copy + Eq + core::fmt::Debug;
    /// An allocation of pages, which [`free_pages`](Self::free_pages) frees.
    type Pages;
    /// The memory of one program.
    type User: Clone;
    /// Pinned user memory, which [`unpin_user`](Self::unpin_user) releases.
    type Pinned;
    /// A mapping for the CPU, which [`vunmap`](Self::vunmap) releases.
    type Vmap;
    /// A description of memory that a front end can map into a program.
    type Mmap;

    /// Whether the host can maintain its caches. If not, the layer refuses devices that do not see them.
    const HAS_CACHE_MAINTENANCE: bool = true;

    /// Returns the size of a CPU page in bytes, a power of two.
    fn page_size(&self) -> u64;

    /// Describes `dev`; `None` if there is no such device.
    fn device_info(&self, dev: Self::Device) -> Option<DeviceInfo>;

    /// Returns the device's stable, unique index, below the mapper's capacity
    /// ([`Mapper::with_locks`](crate::Mapper::with_locks)). The mapper then finds the device's state without a
    /// shared lock. A host returns an index for all its devices, or `None` for all.
    fn device_number(&self, dev: Self::Device) -> Option<usize> {
        None
    }

    /// Allocates zeroed pages.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) with the constraint that could not be met (`ContiguousPool`, `Contiguous`, `Ram`,
    /// `Mask`).
    fn alloc_pages(&self, request: PageRequest<Self::Device>) -> Result<Self::Pages, Error>;

    /// Frees pages. The caller has removed all device mappings of the pages.
    fn free_pages(&self, pages: Self::Pages);

    /// Returns physical run `index` of the pages, in order; `None` past the last. The runs must cover exactly
    /// the requested length, in whole granules; the layer refuses other runs.
    fn pages_segment(&self, pages: &Self::Pages, index: usize) -> Option<Segment>;

    /// Returns the size of RAM, in bytes. The layer refuses larger requests without asking the host.
    fn ram_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Returns the granule in bytes of allocations for no device (`PageRequest::device` is `None`): a power of
    /// two, at least the page size. A machine whose IOMMU has larger pages than the CPU returns the IOMMU's
    /// granule, so that devices behind the IOMMU can share this memory.
    fn unmapped_granule(&self) -> u64 {
        self.page_size()
    }

    /// Returns the bus address at which a device without an IOMMU sees `len` bytes at `addr`; `None` unless the
    /// device sees all of them at consecutive bus addresses. `len` is not zero, and the range does not overflow.
    fn bus_addr(&self, dev: Self::Device, addr: PhysAddr, len: u64) -> Option<DmaAddr> {
        Some(DmaAddr::new(addr.get()))
    }

    /// Returns the highest physical address that a device without an IOMMU reaches, if its bus addresses end at
    /// `mask`. A host that implements [`bus_addr`](Self::bus_addr) also implements this method.
    ///
    /// Source: Linux 7.2 kernel/dma/direct.c `dma_direct_optimal_gfp_mask`.
    fn phys_limit(&self, dev: Self::Device, mask: u64) -> PhysAddr {
        PhysAddr::new(mask)
    }

    /// Returns the alignment in bytes that `dev` needs for a mapping's address, a power of two.
    fn min_address_align(&self, dev: Self::Device) -> u64 {
        1
    }

    /// Checks whether `dev` may use memory at all. Reasons for a refusal: the memory is protected, has no
    /// pages, or is cached while the device's driver never syncs.
    ///
    /// # Errors
    /// The reason. The call that maps then fails with [`Error::Unmappable`] (EIO).
    fn check_use(&self, dev: Self::Device, memory: Segment) -> Result<(), Reason> {
        Ok(())
    }

    // The CPU's caches.

    /// Writes the CPU's dirty lines of `len` bytes at `addr` back, so that devices see them.
    fn cache_clean(&self, addr: PhysAddr, len: u64);

    /// Drops the CPU's lines of `len` bytes at `addr`, so that the CPU sees the devices' bytes.
    fn cache_invalidate(&self, addr: PhysAddr, len: u64);

    // I/O page tables. The layer never calls these methods for a device whose `DeviceInfo::iommu` is `None`.

    /// Returns the device whose page table `dev` uses: itself, or the representative of a group of devices
    /// that the IOMMU cannot tell apart. The layer passes the returned device to the methods that map, unmap
    /// and flush. The answer never changes.
    ///
    /// Source: Linux `struct iommu_group`.
    fn iommu_group(&self, dev: Self::Device) -> Self::Device {
        dev
    }

    /// Maps `len` bytes at `iova` to `phys` in the device's page table, with entries of any size. Addresses and
    /// length are multiples of the granule. Nothing is mapped in the range yet.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) if page-table memory ran out. An error leaves the whole range unmapped.
    fn iommu_map(
        &self,
        dev: Self::Device,
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error>;

    /// Removes a range from the device's page table. The range may have been mapped by several calls, and may
    /// have gaps.
    ///
    /// # Errors
    /// The hardware's error: the device may still reach part of the range. The layer then never reuses the
    /// addresses, and never frees or unpins the memory
    /// ([`Live::quarantined_bytes`](crate::Live::quarantined_bytes)).
    fn iommu_unmap(&self, dev: Self::Device, iova: DmaAddr, len: u64) -> Result<(), Error>;

    /// Flushes removed entries from the device's translation buffer. From then on, accesses to the removed
    /// addresses fault.
    ///
    /// # Errors
    /// The hardware's error ([`Error::hardware`]): the device may still use removed entries. The layer then treats
    /// the addresses and the memory as after a failed [`iommu_unmap`](Self::iommu_unmap), or keeps them until a
    /// later flush succeeds.
    fn iommu_flush(&self, dev: Self::Device) -> Result<(), Error>;

    /// Makes the entries that were added since the last call visible to the device. Hardware that caches the
    /// absence of an entry needs this call.
    ///
    /// # Errors
    /// The hardware's error. The entries stay in the page table.
    fn iommu_map_done(&self, dev: Self::Device, iova: DmaAddr, len: u64) -> Result<(), Error> {
        Ok(())
    }

    /// Returns reserved region `index` of `dev`, with its first and last address; `None` past the last
    /// region. The layer never maps memory there, and refuses more than
    /// [`MAX_RESERVED`](crate::RangeAllocator::MAX_RESERVED) regions. The answer never changes.
    fn reserved_iova(&self, dev: Self::Device, index: usize) -> Option<(DmaAddr, DmaAddr)> {
        None
    }

    /// Returns whether `dev` is untrusted: it must not see bytes that only share a page with mapped memory. For the
    /// device and its group, memory that does not fill whole granules then bounces, and unmaps are always flushed
    /// at once. An untrusted device's first use fails with `Busy` (EBUSY) while its group has memory mapped that
    /// shares a page with other bytes. The answer never changes. If a granule is larger than a page, its other pages
    /// are hidden even from trusted devices.
    fn is_untrusted(&self, dev: Self::Device) -> bool {
        false
    }

    // Bouncing: copies of memory for devices that do not reach the memory itself.

    /// Returns the memory for bouncing, which every device of the machine reaches; `None` if there is none. Address and
    /// length are multiples of the page size. The answer never changes.
    fn bounce_pool(&self) -> Option<Segment> {
        None
    }

    /// Returns the longest run of the bounce pool that one segment can take, in bytes (Linux: 256 KiB).
    fn bounce_run_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Returns true if `dev` cannot access a range although the mask of `dev` covers the range. An example is
    /// private memory of a confidential machine.
    fn is_private(&self, dev: Self::Device, segment: Segment) -> bool {
        false
    }

    /// Copies `len` bytes from memory into a bounce slot, as the CPU sees both.
    ///
    /// # Errors
    /// `BadUserMemory` (EFAULT) if the program's memory is gone.
    fn bounce_in(&self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error>;

    /// Copies `len` bytes from a bounce slot to memory, as the CPU sees both.
    ///
    /// # Errors
    /// As [`bounce_in`](Self::bounce_in).
    fn bounce_out(&self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error>;

    /// Zeroes `len` bytes of the bounce pool, for the CPU and for devices.
    fn bounce_zero(&self, slot: PhysAddr, len: u64);

    // The memory of programs.

    /// Pins `len` bytes of a program's memory at `addr`. `len` is not zero, and the range does not overflow.
    ///
    /// # Errors
    /// `BadUserMemory` (EFAULT) with the bytes wanted and found.
    fn pin_user(
        &self,
        user: &Self::User,
        addr: u64,
        len: u64,
        device_writes: bool,
    ) -> Result<Self::Pinned, Error>;

    /// Ends a pin. `dirty` means that a device wrote to the memory.
    fn unpin_user(&self, pinned: Self::Pinned, dirty: bool);

    /// Returns physical run `index` of pinned memory, in order; `None` past the last. The first run starts at
    /// the same offset in its page as the pinned `addr`. All runs together have the pinned length.
    fn pinned_segment(&self, pinned: &Self::Pinned, index: usize) -> Option<Segment>;

    /// Returns whether `addr` of `user` still leads to the first pinned byte.
    fn pin_is_current(&self, pinned: &Self::Pinned, user: &Self::User, addr: u64) -> bool {
        false
    }

    // Views: mappings of memory for the CPU, and into programs.

    /// Maps physical runs for the CPU, at consecutive addresses.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM); `NoSuchMemory` (ENXIO) for runs that have no CPU address; `Unsupported`
    /// (EOPNOTSUPP).
    fn vmap(&self, segments: &[Segment], caching: Caching) -> Result<Self::Vmap, Error> {
        Err(Error::Unsupported)
    }

    /// Removes a CPU mapping.
    fn vunmap(&self, vmap: Self::Vmap) {}

    /// Returns the bytes of a CPU mapping without a copy, if they are contiguous and stay valid while the
    /// mapping exists. They are atomic because devices and programs may write them at any time.
    fn vmap_bytes<'a>(&'a self, vmap: &'a Self::Vmap) -> Option<&'a [AtomicU8]> {
        None
    }

    /// Copies bytes out of a CPU mapping, from `offset` on. Copies 1, 2, 4 or 8 aligned bytes by one access.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) outside the mapping; `Unsupported` (EOPNOTSUPP) if mappings cannot be read
    /// through this interface.
    fn vmap_read(&self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Copies bytes into a CPU mapping, from `offset` on. Copies 1, 2, 4 or 8 aligned bytes by one access.
    ///
    /// # Errors
    /// As [`vmap_read`](Self::vmap_read).
    fn vmap_write(&self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    /// Orders the CPU's accesses to coherent memory: devices and the CPU see all earlier accesses before all later
    /// ones. The default method suits machines whose devices take part in the CPU's memory order, such as a PC.
    ///
    /// # Context
    /// Does not sleep; may be called in interrupt context.
    fn barrier(&self) {
        fence(Ordering::SeqCst);
    }

    /// Describes `len` bytes at `offset` of an allocation, so that they can be mapped into a program. The range
    /// lies inside the allocation.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO), `Unsupported` (EOPNOTSUPP).
    fn mmap(&self, pages: &Self::Pages, offset: u64, len: u64) -> Result<Self::Mmap, Error> {
        Err(Error::Unsupported)
    }

    /// Describes a physical range that has no pages, so that it can be mapped into a program uncached.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO), `Unsupported` (EOPNOTSUPP).
    fn mmap_physical(&self, range: Segment) -> Result<Self::Mmap, Error> {
        Err(Error::Unsupported)
    }

    /// Claims a part of a device's declared coherent memory, and zeroes the part.
    ///
    /// # Errors
    /// As [`zero`](Self::zero). After an error, the part is not claimed.
    fn claim_physical(&self, range: Segment) -> Result<(), Error> {
        self.zero(range, Caching::Uncached)
    }

    /// Ends the use of a claimed part of a device's coherent memory.
    fn release_physical(&self, range: Segment) {}

    /// Zeroes a physical range for the CPU and for devices.
    ///
    /// # Errors
    /// As [`vmap`](Self::vmap) and [`vmap_write`](Self::vmap_write).
    fn zero(&self, range: Segment, caching: Caching) -> Result<(), Error> {
        let vmap = self.vmap(&[range], caching)?;
        let result = zero_with(range.len, |at, zeroes| self.vmap_write(&vmap, at, zeroes));
        self.vunmap(vmap);
        if result.is_ok() && caching == Caching::Cached {
            self.cache_clean(range.addr, range.len);
        }
        result
    }
}

/// Zeroes `len` bytes by calls of `write`, which gets an offset and up to 512 zeroes.
fn zero_with(
    len: u64,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    const ZEROES: [u8; 512] = [0; 512];
    let mut done = 0;
    while done < len {
        // CAST: at most 512.
        let part = (len - done).min(ZEROES.len() as u64) as usize;
        write(done, ZEROES.get(..part).unwrap_or(&[]))?;
        done += part as u64;
    }
    Ok(())
}

/// Writes the methods of the parts that a host lacks, inside its `impl Platform`: `caches`, `iommu`, `bounce`, `users`,
/// `views`.
///
/// A new host lacks all five. If your host has a part, such as a bounce pool, write the methods of this part yourself,
/// and do not name the part here. For caches, the IOMMU and bouncing, [`Platform::device_info`] must also report the
/// ability for each device. Calls that need a missing part fail with `Unsupported` (EOPNOTSUPP).
///
/// # Examples
/// A host with pages and CPU views of them. The crate's README has a complete host.
/// ```
/// # use vb3_dma::{DeviceInfo, Error, PageRequest, Platform, Segment};
/// struct Host;
///
/// impl Platform for Host {
///     // ...
/// #   type Device = u8;
/// #   type Pages = Segment;
/// #   fn page_size(&self) -> u64 { 4096 }
/// #   fn device_info(&self, _: u8) -> Option<DeviceInfo> { None }
/// #   fn alloc_pages(&self, _: PageRequest<u8>) -> Result<Segment, Error> { Err(Error::Unsupported) }
/// #   fn free_pages(&self, _: Segment) {}
/// #   fn pages_segment(&self, pages: &Segment, _: usize) -> Option<Segment> { Some(*pages) }
///
///     type Vmap = Segment;
///     type Mmap = ();
///     // vmap, vmap_read, vmap_write
///
///     vb3_dma::without!(caches, iommu, bounce, users);
/// }
/// ```
#[macro_export]
macro_rules! without {
    ($($lacks:ident),+ $(,)?) => {
        $($crate::without!(@$lacks);)+
    };
    (@caches) => {
        const HAS_CACHE_MAINTENANCE: bool = false;
        fn cache_clean(&self, _: $crate::PhysAddr, _: u64) {}
        fn cache_invalidate(&self, _: $crate::PhysAddr, _: u64) {}
    };
    (@iommu) => {
        fn iommu_map(
            &self,
            _: Self::Device,
            _: $crate::DmaAddr,
            _: $crate::PhysAddr,
            _: u64,
            _: $crate::Prot,
        ) -> ::core::result::Result<(), $crate::Error> {
            Err($crate::Error::Unsupported)
        }
        fn iommu_unmap(
            &self,
            _: Self::Device,
            _: $crate::DmaAddr,
            _: u64,
        ) -> ::core::result::Result<(), $crate::Error> {
            Err($crate::Error::Unsupported)
        }
        fn iommu_flush(&self, _: Self::Device) -> ::core::result::Result<(), $crate::Error> {
            Err($crate::Error::Unsupported)
        }
    };
    (@bounce) => {
        fn bounce_in(
            &self,
            _: $crate::PhysAddr,
            _: $crate::PhysAddr,
            _: u64,
        ) -> ::core::result::Result<(), $crate::Error> {
            Err($crate::Error::Unsupported)
        }
        fn bounce_out(
            &self,
            _: $crate::PhysAddr,
            _: $crate::PhysAddr,
            _: u64,
        ) -> ::core::result::Result<(), $crate::Error> {
            Err($crate::Error::Unsupported)
        }
        fn bounce_zero(&self, _: $crate::PhysAddr, _: u64) {}
    };
    (@users) => {
        type User = ();
        type Pinned = ();
        fn pin_user(
            &self,
            _: &(),
            _: u64,
            _: u64,
            _: bool,
        ) -> ::core::result::Result<(), $crate::Error> {
            Err($crate::Error::Unsupported)
        }
        fn unpin_user(&self, _: (), _: bool) {}
        fn pinned_segment(&self, _: &(), _: usize) -> ::core::option::Option<$crate::Segment> {
            None
        }
    };
    (@views) => {
        type Vmap = ();
        type Mmap = ();
    };
}

#[cfg(test)]
mod tests {
    use super::zero_with;
    use alloc::vec::Vec;

    #[test]
    fn zeroes_end_where_the_range_ends() {
        let mut parts = Vec::new();
        let write = |at, zeroes: &[u8]| {
            parts.push((at, zeroes.len()));
            Ok(())
        };
        assert_eq!(zero_with(1_100, write), Ok(()));
        assert_eq!(parts, [(0, 512), (512, 512), (1_024, 76)]);
    }
}
