//! The lower interface: the traits that a host implements for the mapping layer, one for each
//! ability.
//!
//! Every host implements [`PageSource`], which has five required methods. Hosts with these
//! abilities also implement [`Caches`], [`Iommu`], [`Bounce`], [`UserPages`] and [`KernelViews`];
//! the default methods do nothing or refuse. [`without!`](crate::without) implements the traits
//! that a host lacks.
//!
//! Every method takes `&self`. A host that is called from several contexts needs locks, as for any
//! page allocator. The layer holds no lock while it calls the host.

use crate::{Caching, Coherency, DmaAddr, Error, Iova, Limits, PhysAddr, Reason, Segment};
use bitflags::bitflags;
use core::sync::atomic::AtomicU8;

/// When a device's memory goes through the bounce pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BounceMode {
    /// Never. Memory that the device does not reach is refused.
    Never,
    /// Where the device's mask does not reach the memory.
    WhenNeeded,
    /// Every streaming mapping, at any address.
    Always,
}

/// The I/O address space of a device behind an IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IommuInfo {
    /// Sizes one entry of the page table can have: bit `n` set for `2^n` bytes.
    ///
    /// The smallest is the granule, which may be larger than the CPU's page.
    pub page_sizes: u64,
    /// Lowest address that may be allocated. (Zero is never allocated.)
    pub first: Iova,
    /// Highest address that may be given out.
    pub last: Iova,
}

impl IommuInfo {
    /// Bytes of the smallest page; `None` if there is none at all.
    #[must_use]
    pub const fn granule(&self) -> Option<u64> {
        if self.page_sizes == 0 {
            None
        } else {
            Some(1 << self.page_sizes.trailing_zeros())
        }
    }
}

/// Properties of a device that the mapping layer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Addresses and segments that a device can use.
    pub limits: Limits,
    /// Whether it sees the CPU's caches.
    pub coherency: Coherency,
    /// Bytes of a cache line, for user memory handed to the device; 1 if coherent.
    pub cache_alignment: u64,
    /// Its I/O address space; `None` where bus addresses are physical addresses.
    pub iommu: Option<IommuInfo>,
    /// When its memory goes through the bounce pool.
    pub bounce: BounceMode,
}

impl DeviceInfo {
    /// Returns the description of a device that sees the CPU's caches and uses physical addresses;
    /// memory out of its reach is refused. Set fields for other devices.
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

    /// The same for a device that does not see the CPU's caches. Its buffers begin and end on
    /// multiples of `cache_alignment` bytes.
    #[must_use]
    pub const fn non_coherent(mut self, cache_alignment: u64) -> Self {
        self.coherency = Coherency::NonCoherent;
        self.cache_alignment = cache_alignment;
        self
    }

    /// The same behind an IOMMU, or without one.
    #[must_use]
    pub const fn with_iommu(mut self, iommu: Option<IommuInfo>) -> Self {
        self.iommu = iommu;
        self
    }

    /// The same with bounces when `bounce` says.
    #[must_use]
    pub const fn with_bounce(mut self, bounce: BounceMode) -> Self {
        self.bounce = bounce;
        self
    }

    /// Returns whether memory can meet the limits at all: [`Limits::is_valid`], and an IOMMU has a
    /// page size.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        self.limits.is_valid()
            && match &self.iommu {
                Some(iommu) => iommu.page_sizes != 0,
                None => true,
            }
    }
}

/// Physical layout of an allocation's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// One physical run.
    Contiguous,
    /// Anywhere.
    Scattered,
}

/// A request for pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest<D> {
    /// Bytes, a non-zero multiple of the granule.
    pub len: u64,
    /// Start and length of each physical run are multiples of this power of two: the page size, or
    /// the page size of an IOMMU with larger pages.
    pub granule: u64,
    /// Physical layout of the pages.
    pub layout: Layout,
    /// Highest physical address a byte may have.
    pub max_addr: PhysAddr,
    /// How the CPU sees them.
    pub caching: Caching,
    /// The device that must reach the pages without bouncing; `None` if only the CPU uses them.
    ///
    /// A confidential machine makes pages shared for it.
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
        /// The target is no RAM.
        const MMIO = 1 << 3;
    }
}

/// Memory set aside for bouncing. Every device of the machine reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BouncePool {
    /// First byte, page aligned.
    pub base: PhysAddr,
    /// Bytes, a multiple of the page size.
    pub len: u64,
}

/// Memory and devices, which every host has.
///
/// A simulated machine, an operating system's page allocator or a user-space driver over VFIO can
/// implement it. The last has no physical addresses and uses its process's addresses instead,
/// always behind an IOMMU.
///
/// # What the implementer owes
/// * Physical ranges of live allocations and pins never overlap, and stay valid until freed.
/// * Every page it gives is zeroed, for the CPU and for devices, and holds nothing else.
/// * A call that fails has changed nothing.
/// * Calls without a `Result` succeed, or the implementer keeps the memory from being reused.
///
/// # Context
/// `alloc_pages` and `free_pages` may sleep. Queries do not.
pub trait PageSource {
    /// A device that does DMA.
    type Device: Copy + Eq + core::fmt::Debug;
    /// An allocation of pages. Only [`free_pages`](Self::free_pages) frees it; a dropped one stays
    /// allocated.
    type Pages;

    /// Bytes of a CPU page, a power of two.
    fn page_size(&self) -> u64;

    /// Describes `dev`; `None` if there is no such device.
    fn device_info(&self, dev: Self::Device) -> Option<DeviceInfo>;

    /// Returns a stable, unique index, smaller than the mapper's capacity
    /// ([`Mapper::with_locks`](crate::Mapper::with_locks)). The mapper then finds the device's
    /// state without a shared lock. A host must return an index for all its devices, or `None`, the
    /// default, for all. It must also do so for a device that the mapper does not know yet.
    fn device_number(&self, dev: Self::Device) -> Option<usize> {
        let _ = dev;
        None
    }

    /// Allocates pages that are zeroed for the CPU and for every device.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) with the pool that ran out (`ContiguousPool`, `Contiguous`, `Ram`,
    /// `Mask`).
    fn alloc_pages(&self, request: PageRequest<Self::Device>) -> Result<Self::Pages, Error>;

    /// Frees pages. The caller has removed all device mappings of them.
    fn free_pages(&self, pages: Self::Pages);

    /// Returns physical run `index` of the pages, in order; `None` past the last.
    ///
    /// The runs must cover exactly the requested length, in whole granules; the layer refuses
    /// others.
    fn pages_segment(&self, pages: &Self::Pages, index: usize) -> Option<Segment>;

    /// Returns the size of RAM, in bytes. The layer refuses larger requests at once.
    fn ram_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Returns the size of the pieces of memory that belongs to no device: a power of two, at least
    /// the page size.
    ///
    /// An IOMMU with pages larger than the CPU's cannot map smaller pieces. A machine with such an
    /// IOMMU returns its granule here, so that devices can share this memory.
    fn unmapped_granule(&self) -> u64 {
        self.page_size()
    }

    /// The bus address of a physical address for a device without IOMMU; `None` if it has none.
    fn bus_addr(&self, dev: Self::Device, addr: PhysAddr) -> Option<DmaAddr> {
        let _ = dev;
        Some(DmaAddr::new(addr.get()))
    }

    /// Bytes that the address of a mapping must be a multiple of for `dev`, a power of two.
    fn min_address_align(&self, dev: Self::Device) -> u64 {
        let _ = dev;
        1
    }

    /// Checks whether `dev` may use memory at all, with any kind of mapping. Reasons against it:
    /// the memory is protected, has no pages, or is cached while the device's driver never syncs.
    ///
    /// # Errors
    /// The [`Reason`] against it; the call that maps fails with EIO ([`Error::Unmappable`]).
    fn check_use(&self, dev: Self::Device, memory: Segment) -> Result<(), Reason> {
        let _ = (dev, memory);
        Ok(())
    }
}

/// The CPU's caches. A host where every device sees them has nothing to do.
///
/// # Context
/// Does not sleep; may be called in interrupt context.
pub trait Caches {
    /// Writes the CPU's dirty lines of `len` bytes at `addr` back, so that devices see them.
    fn cache_clean(&self, addr: PhysAddr, len: u64) {
        let _ = (addr, len);
    }

    /// Drops the CPU's lines of `len` bytes at `addr`, so that the CPU sees the devices' bytes.
    fn cache_invalidate(&self, addr: PhysAddr, len: u64) {
        let _ = (addr, len);
    }
}

/// I/O page tables. The layer never calls a host whose [`DeviceInfo::iommu`] is `None`.
///
/// # Context
/// As the host says. The layer unmaps in its caller's context.
pub trait Iommu: PageSource {
    /// The device whose page table `dev` uses: itself, or the one that stands for a group of
    /// devices that the IOMMU cannot tell apart. All calls here name the latter. Never changes.
    ///
    /// Source: Linux `struct iommu_group`.
    fn iommu_group(&self, dev: Self::Device) -> Self::Device {
        dev
    }

    /// Enters `len` bytes at `iova` into the device's page table. All are multiples of the granule.
    ///
    /// Nothing is mapped there; the entry sizes are the implementer's choice.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) for page-table memory. Nothing of the range is mapped then.
    fn iommu_map(
        &self,
        dev: Self::Device,
        iova: Iova,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        let _ = (dev, iova, phys, len, prot);
        Err(Error::Unsupported)
    }

    /// Removes a range from the device's page table: one that was mapped whole, possibly by
    /// several calls, or with gaps.
    ///
    /// # Errors
    /// The hardware's error. The device may go on reaching part of the range, so the layer
    /// never gives its addresses out again, nor frees or unpins memory that lay there
    /// ([`Live::quarantined_bytes`](crate::Live::quarantined_bytes)).
    fn iommu_unmap(&self, dev: Self::Device, iova: Iova, len: u64) -> Result<(), Error> {
        let _ = (dev, iova, len);
        Err(Error::Unsupported)
    }

    /// Makes removals seen by the device: afterwards accesses there fault.
    fn iommu_flush(&self, dev: Self::Device) {
        let _ = dev;
    }

    /// Makes entries seen by the device that were added since the last call, where the hardware
    /// keeps the absence of an entry.
    ///
    /// # Errors
    /// The hardware's error. The entries stay.
    fn iommu_map_done(&self, dev: Self::Device, iova: Iova, len: u64) -> Result<(), Error> {
        let _ = (dev, iova, len);
        Ok(())
    }

    /// Whether addresses below 4 GiB are tried first for `dev`, as Linux does for PCI devices.
    fn prefers_low_iova(&self, dev: Self::Device) -> bool {
        let _ = dev;
        false
    }

    /// Region `index` that is never given to `dev` as an address, both ends included; `None` past
    /// the last. At most [`MAX_RESERVED`](crate::RangeAllocator::MAX_RESERVED) count. Never
    /// changes.
    fn reserved_iova(&self, dev: Self::Device, index: usize) -> Option<(Iova, Iova)> {
        let _ = (dev, index);
        None
    }

    /// Returns whether `dev` is untrusted and must not see other bytes in its memory's pages.
    /// Memory that does not fill whole granules then bounces, and the device and its group are
    /// never flushed lazily. The answer never changes.
    ///
    /// What shares a granule, but not a page, with its memory is kept from every device.
    fn is_untrusted(&self, dev: Self::Device) -> bool {
        let _ = dev;
        false
    }
}

/// Bouncing: copies for devices that do not reach the memory itself.
pub trait Bounce: PageSource {
    /// The memory for bouncing, if there is any. Never changes.
    fn bounce_pool(&self) -> Option<BouncePool> {
        None
    }

    /// Longest run of the bounce pool that one segment can take, in bytes (Linux: 256 KiB).
    fn bounce_run_bytes(&self) -> u64 {
        u64::MAX
    }

    /// Whether `dev` is kept from a physical range by more than its mask (private memory of a
    /// confidential machine).
    fn is_private(&self, dev: Self::Device, segment: Segment) -> bool {
        let _ = (dev, segment);
        false
    }

    /// Copies `len` bytes from memory into a bounce slot, in the CPU's view of both.
    ///
    /// # Errors
    /// `BadUserMemory` (EFAULT) if the program's memory is gone.
    ///
    /// # Context
    /// Does not sleep; may be called in interrupt context.
    fn bounce_in(&self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        let _ = (slot, from, len);
        Err(Error::Unsupported)
    }

    /// Copies `len` bytes from a bounce slot to memory, in the CPU's view of both.
    ///
    /// # Errors
    /// As [`bounce_in`](Self::bounce_in).
    ///
    /// # Context
    /// Does not sleep; may be called in interrupt context.
    fn bounce_out(&self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        let _ = (slot, to, len);
        Err(Error::Unsupported)
    }

    /// Zeroes `len` bytes of the bounce pool, as the CPU and devices see it.
    ///
    /// # Context
    /// Does not sleep.
    fn bounce_zero(&self, slot: PhysAddr, len: u64) {
        let _ = (slot, len);
    }
}

/// The memory of programs. A host without programs writes `type User = (); type Pinned = ();`.
///
/// # Context
/// May sleep.
pub trait UserPages {
    /// The memory of some program.
    type User: Clone;
    /// Pinned user memory. [`unpin_user`](Self::unpin_user) releases it.
    type Pinned;

    /// Pins `len` bytes (not zero, no overflow) of a program's memory from `addr`.
    ///
    /// # Errors
    /// `BadUserMemory` (EFAULT) with the bytes wanted and found.
    fn pin_user(
        &self,
        user: &Self::User,
        addr: u64,
        len: u64,
        device_writes: bool,
    ) -> Result<Self::Pinned, Error> {
        let _ = (user, addr, len, device_writes);
        Err(Error::Unsupported)
    }

    /// Ends a pin; `dirty` if a device wrote to it.
    fn unpin_user(&self, pinned: Self::Pinned, dirty: bool) {
        let _ = (pinned, dirty);
    }

    /// Physical run `index` of pinned memory, in order; `None` past the last.
    ///
    /// The first run starts at `addr`'s offset in its page; the runs cover exactly the length.
    fn pinned_segment(&self, pinned: &Self::Pinned, index: usize) -> Option<Segment> {
        let _ = (pinned, index);
        None
    }

    /// Returns whether the pinned bytes are still the memory at `addr` of `user`.
    fn pin_is_current(&self, pinned: &Self::Pinned, user: &Self::User, addr: u64) -> bool {
        let _ = (pinned, user, addr);
        false
    }
}

/// The CPU's own view of memory, and programs' views of it. A host without says
/// `type Vmap = (); type Mmap = ();`.
///
/// # Context
/// May sleep.
pub trait KernelViews: PageSource + Caches {
    /// A mapping for the CPU. [`vunmap`](Self::vunmap) releases it.
    type Vmap;
    /// A description of memory that a front end can map into a program.
    type Mmap;

    /// Maps physical runs for the CPU, one behind the other.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM); `NoSuchMemory` (ENXIO) for runs that have no CPU address; `Unsupported`
    /// (EOPNOTSUPP).
    fn vmap(&self, segments: &[Segment], caching: Caching) -> Result<Self::Vmap, Error> {
        let _ = (segments, caching);
        Err(Error::Unsupported)
    }

    /// Drops a CPU mapping.
    fn vunmap(&self, vmap: Self::Vmap) {
        let _ = vmap;
    }

    /// Returns the bytes of a CPU mapping in place, if they are contiguous and stay valid while the
    /// mapping lives. They are atomic because devices and programs may write them at any time.
    fn vmap_bytes<'a>(&'a self, vmap: &'a Self::Vmap) -> Option<&'a [AtomicU8]> {
        let _ = vmap;
        None
    }

    /// Copies bytes from `offset` on out of a CPU mapping.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) outside the mapping; `Unsupported` (EOPNOTSUPP) where it is read in
    /// another way.
    fn vmap_read(&self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let _ = (vmap, offset, out);
        Err(Error::Unsupported)
    }

    /// Copies bytes to `offset` on in a CPU mapping.
    ///
    /// # Errors
    /// As [`vmap_read`](Self::vmap_read).
    fn vmap_write(&self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        let _ = (vmap, offset, data);
        Err(Error::Unsupported)
    }

    /// Describes `len` bytes from `offset` of an allocation for mapping into a program.
    ///
    /// The range lies inside the allocation.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO), `Unsupported` (EOPNOTSUPP).
    fn mmap(&self, pages: &Self::Pages, offset: u64, len: u64) -> Result<Self::Mmap, Error> {
        let _ = (pages, offset, len);
        Err(Error::Unsupported)
    }

    /// Describes a physical range without pages for mapping into a program, uncached.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO), `Unsupported` (EOPNOTSUPP).
    fn mmap_physical(&self, range: Segment) -> Result<Self::Mmap, Error> {
        let _ = range;
        Err(Error::Unsupported)
    }

    /// Takes part of a device's own memory (that which was declared for it) into use, zeroed.
    ///
    /// # Errors
    /// As [`zero`](Self::zero). The part is not in use then.
    fn claim_physical(&self, range: Segment) -> Result<(), Error> {
        self.zero(range, Caching::Uncached)
    }

    /// A part that was claimed is no longer in use.
    fn release_physical(&self, range: Segment) {
        let _ = range;
    }

    /// Zeroes a physical range for the CPU and for devices.
    ///
    /// # Errors
    /// As [`vmap`](Self::vmap) and [`vmap_write`](Self::vmap_write).
    fn zero(&self, range: Segment, caching: Caching) -> Result<(), Error> {
        const ZEROES: [u8; 512] = [0; 512];
        let vmap = self.vmap(&[range], caching)?;
        let mut done = 0u64;
        let mut result = Ok(());
        while result.is_ok() && done < range.len {
            // CAST: at most 512.
            let part = range.len.saturating_sub(done).min(ZEROES.len() as u64) as usize;
            result = self.vmap_write(&vmap, done, ZEROES.get(..part).unwrap_or(&[]));
            done = done.saturating_add(part as u64);
        }
        self.vunmap(vmap);
        if result.is_ok() && caching == Caching::Cached {
            self.cache_clean(range.addr, range.len);
        }
        result
    }
}

/// A host of the mapping layer: all traits of this module.
///
/// It is implemented for every type that has them; [`without!`](crate::without) implements those that
/// a host lacks.
pub trait Platform: PageSource + Caches + Iommu + Bounce + UserPages + KernelViews {}

impl<T: PageSource + Caches + Iommu + Bounce + UserPages + KernelViews> Platform for T {}

/// Declares which of [`Caches`], [`Iommu`], [`Bounce`], [`UserPages`] and [`KernelViews`] a host
/// lacks.
///
/// A host begins with [`PageSource`] and lacks all five. To add one, remove its name from the list
/// and implement the trait; nothing else changes. Calls that need a missing trait are refused, or
/// do nothing.
///
/// # Examples
/// A host with pages and views of them. The crate's README has one in full.
/// ```
/// # use vb3_dma::{DeviceInfo, Error, KernelViews, Mapper, PageRequest, PageSource, Segment};
/// struct Host;
///
/// impl PageSource for Host {
///     // ...
/// #   type Device = u8;
/// #   type Pages = Segment;
/// #   fn page_size(&self) -> u64 { 4096 }
/// #   fn device_info(&self, _: u8) -> Option<DeviceInfo> { None }
/// #   fn alloc_pages(&self, _: PageRequest<u8>) -> Result<Segment, Error> { Err(Error::Unsupported) }
/// #   fn free_pages(&self, _: Segment) {}
/// #   fn pages_segment(&self, pages: &Segment, _: usize) -> Option<Segment> { Some(*pages) }
/// }
///
/// impl KernelViews for Host {
///     type Vmap = Segment;
///     type Mmap = ();
///     // vmap, vmap_read, vmap_write
/// }
///
/// vb3_dma::without!(Host: Caches, Iommu, Bounce, UserPages);
/// # Mapper::new(Host)?;
/// # Ok::<(), Error>(())
/// ```
#[macro_export]
macro_rules! without {
    ($host:ty: $($lacks:ident),+ $(,)?) => {
        $($crate::without!(@$lacks $host);)+
    };
    (@UserPages $host:ty) => {
        impl $crate::UserPages for $host {
            type User = ();
            type Pinned = ();
        }
    };
    (@KernelViews $host:ty) => {
        impl $crate::KernelViews for $host {
            type Vmap = ();
            type Mmap = ();
        }
    };
    (@$lacks:ident $host:ty) => {
        impl $crate::$lacks for $host {}
    };
}
