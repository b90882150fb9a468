//! Linux's DMA API as [`DmaOps`].
// UNSAFETY: this file, `kernel.rs` and `entry.rs` call the kernel. SOUNDNESS.md lists the
// conditions.

use crate::device::{Dev, Use, attrs_to_c, direction_to_c};
use crate::kernel::{Errno, pointer};
use crate::link::{Laid, run};
use crate::sys;
use core::cell::Cell;
use core::ffi::{c_uint, c_ulong, c_void};
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;
use vb3_dma::{
    Attrs, Caching, Coherency, Constraint, Direction, DmaAddr, DmaOps, DmaSegment, Error, Reason,
    SyncFor,
};

/// Linux's DMA API, with the parameters that one request adds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linux {
    /// `gfp_flags` of the queue.
    pub(crate) gfp: c_uint,
    /// `dma_attrs` of the queue.
    pub(crate) attrs: c_ulong,
    /// Record of the importing device's use, which only importers of this module update.
    pub(crate) told: Option<NonNull<Use>>,
}

impl Linux {
    /// The DMA API without parameters of a request.
    pub const PLAIN: Self = Self {
        gfp: 0,
        attrs: 0,
        told: None,
    };

    /// Returns the likely reason why the kernel did not allocate memory for a device.
    fn exhausted(&self, dev: Dev, len_bytes: u64) -> Error {
        // SAFETY: the device exists.
        let available = unsafe { sys::vb3_size_limit(dev, u64::MAX) };
        if available < len_bytes {
            no_memory(Constraint::Ram, len_bytes, available)
        } else if dev.is_translated() {
            no_memory(Constraint::IovaSpace, len_bytes, 0)
        } else {
            no_memory(Constraint::ContiguousPool, len_bytes, 0)
        }
    }
}

/// Syncs a table.
///
/// # Safety
/// The table must be mapped for the device in this direction.
///
/// # Context
/// Does not sleep.
unsafe fn sync_table(dev: Dev, sgt: NonNull<sys::SgTable>, direction: Direction, sync: SyncFor) {
    let (raw, for_cpu) = (direction_to_c(direction), sync == SyncFor::Cpu);
    // SAFETY: the caller has the table mapped for this device and direction.
    unsafe { sys::vb3_sync(dev, sgt, raw, for_cpu) };
}

/// How memory was allocated: the first values of the kinds in module/buffer.h.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AllocatedAs {
    /// By `dma_alloc_attrs`.
    Coherent,
    /// By `dma_alloc_noncontiguous`.
    NonCoherent,
}

/// `struct vb3_memory` of module/buffer.h: allocated memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Alloc {
    dev: Dev,
    len: usize,
    /// The memory's address for the kernel. For non-coherent memory, the address of its table.
    pub(crate) at: NonNull<c_void>,
    addr: u64,
    /// The `DMA_ATTR_*` flags, which fit in 32 bits.
    attrs: u32,
    direction: u8,
    /// How the memory was allocated.
    pub(crate) kind: AllocatedAs,
}

const _: () = assert!(size_of::<Alloc>() == 40 && offset_of!(Alloc, direction) == 36);

impl Alloc {
    /// Returns the table of non-coherent memory, which is mapped for the device.
    pub fn sgt(&self) -> Option<NonNull<sys::SgTable>> {
        (self.kind == AllocatedAs::NonCoherent).then_some(self.at.cast())
    }
}

/// Memory that can be mapped for a device.
pub enum Memory {
    /// Allocated memory, and its table once it is described.
    Allocated(Alloc, Option<Table>),
    /// A program's memory, its length in bytes, and whether a device may write to it.
    Pinned(Table, u64, bool),
}

impl Memory {
    /// Returns the allocation; `None` for a program's memory.
    pub const fn alloc(&self) -> Option<&Alloc> {
        match self {
            Self::Allocated(alloc, _) => Some(alloc),
            Self::Pinned(..) => None,
        }
    }

    /// Returns the table; `None` for an allocation that is not described.
    const fn table(&self) -> Option<&Table> {
        match self {
            Self::Allocated(_, table) => table.as_ref(),
            Self::Pinned(table, ..) => Some(table),
        }
    }

    /// Returns the scatter table.
    ///
    /// # Errors
    /// Returns EINVAL for an allocation that is not described.
    pub fn sgt(&self) -> Result<NonNull<sys::SgTable>, Errno> {
        Ok(self.table().ok_or(Errno::EINVAL)?.sgt)
    }

    /// Describes a kernel mapping that [`DmaOps::vmap`] made, by its address.
    pub const fn vmapped(&self, at: NonNull<c_void>) -> Option<Vmap> {
        match self.table() {
            Some(Table {
                kind: TableKind::Pinned(pinned, _),
                ..
            }) => Some(Vmap {
                at,
                pinned: *pinned,
            }),
            _ => None,
        }
    }
}

/// A scatter table that is not mapped for a device.
pub struct Table {
    pub(crate) sgt: NonNull<sys::SgTable>,
    kind: TableKind,
}

enum TableKind {
    /// The table was made for this value.
    Owned,
    /// The table was made for this value. The CPU does not cache its memory.
    Uncached,
    /// As [`Uncached`](Self::Uncached), for memory of a device's own pool. The kernel cannot copy this memory,
    /// because its own mapping of all memory may lack it.
    Pool,
    /// The table belongs to a non-coherent allocation.
    Borrowed,
    /// The table has pinned user memory. The first mapping uses the table itself, not a copy.
    Pinned(NonNull<sys::FrameVector>, Cell<bool>),
    /// The table has no page. It has the length of a physical range without struct pages, at this address.
    PageLess(u64),
}

/// A scatter table mapped for a device.
pub struct Mapping {
    dev: Dev,
    pub(crate) sgt: NonNull<sys::SgTable>,
    direction: Direction,
    kind: MappingKind,
    /// Whether the device has a bounced copy.
    bounces: bool,
    /// Whether syncs are omitted. For a non-coherent device, a sync cleans caches through the kernel's own
    /// mapping of all memory, in which this memory may be absent.
    needs_no_sync: bool,
    /// The layout of a mapping that must be contiguous.
    laid: Option<Laid>,
    told: Option<NonNull<Use>>,
}

/// Which table a mapping uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MappingKind {
    /// The `Table`'s own scatter table, which then stores the addresses of this mapping.
    Own,
    /// A copy of the `Table`'s scatter table.
    Copy,
    /// A copy of a table without struct pages, mapped by physical address.
    PageLess,
}

impl Mapping {
    /// Records for the importer whether its device has a bounced copy.
    fn tell(&self, bounces: bool) {
        if let Some(told) = self.told {
            // SAFETY: the record outlives the importer's attachment, and so this mapping.
            let told = unsafe { told.as_ref() };
            told.bounces.store(u32::from(bounces), Ordering::Relaxed);
        }
    }

    /// Returns whether the importer has synced the bounced copy since its device used it.
    /// The memory itself may be newer than the copy.
    fn is_up_to_date(&self) -> bool {
        // SAFETY: the record outlives the importer's attachment, and so this mapping.
        let told = self.told.map(|told| unsafe { told.as_ref() });
        self.bounces && told.is_some_and(|told| told.in_use.load(Ordering::Acquire) == 0)
    }
}

/// A kernel mapping of pinned memory. [`DmaOps::vunmap`] removes it.
pub struct Vmap {
    pub(crate) at: NonNull<c_void>,
    pinned: NonNull<sys::FrameVector>,
}

const fn no_memory(constraint: Constraint, wanted: u64, found: u64) -> Error {
    Error::NoMemory(Reason::new(constraint, wanted, found))
}

/// Checks and converts a length for the kernel.
fn size(dev: Dev, len_bytes: u64) -> Result<usize, Error> {
    if len_bytes == 0 {
        return Err(Error::Invalid);
    }
    // SAFETY: the device exists.
    let limit = unsafe { sys::vb3_size_limit(dev, len_bytes) };
    match usize::try_from(len_bytes) {
        Ok(len) if len_bytes <= limit => Ok(len),
        _ => Err(no_memory(Constraint::SizeLimit, len_bytes, limit)),
    }
}

impl DmaOps for Linux {
    type Device = Dev;
    /// There is no choice: only the current program's memory can be pinned.
    type User = ();
    type Memory = Memory;
    type Mapping = Mapping;
    type Vmap = Vmap;
    type Mmap = Alloc;

    fn page_size(&self) -> u64 {
        // SAFETY: the call has no condition.
        1u64.wrapping_shl(unsafe { sys::vb3_page_shift() })
    }

    fn cache_alignment(&self, _dev: Dev) -> u64 {
        // SAFETY: the call has no condition.
        u64::from(unsafe { sys::vb3_cache_alignment() })
    }

    fn coherency(&self, _dev: Dev) -> Coherency {
        // The kernel decides at each sync whether there is something to do.
        Coherency::NonCoherent
    }

    fn alloc_coherent(&self, dev: Dev, len_bytes: u64, attrs: Attrs) -> Result<Memory, Error> {
        let len = size(dev, len_bytes)?;
        // Without a kernel mapping, the DMA layer could not clear the memory.
        let kept = attrs_to_c(attrs.difference(Attrs::NO_KERNEL_MAPPING));
        let attrs = kept | (self.attrs & !attrs_to_c(Attrs::all()));
        let mut addr = 0;
        // SAFETY: the device exists; the length is not zero.
        let at = unsafe { sys::vb3_alloc_coherent(dev, len, self.gfp, attrs, &mut addr) };
        let alloc = Alloc {
            dev,
            len,
            at: at.ok_or_else(|| self.exhausted(dev, len_bytes))?,
            addr,
            attrs: u32::try_from(attrs).unwrap_or(u32::MAX),
            direction: 0,
            kind: AllocatedAs::Coherent,
        };
        Ok(Memory::Allocated(alloc, None))
    }

    fn alloc_noncontiguous(
        &self,
        dev: Dev,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Memory, Error> {
        let len = size(dev, len_bytes)?;
        // `dma_alloc_noncontiguous` accepts only this attribute, and warns about all others.
        let attrs = attrs_to_c(attrs.intersection(Attrs::ALLOC_SINGLE_PAGES));
        let raw = direction_to_c(direction);
        // SAFETY: the device exists; the length is not zero.
        let sgt = unsafe { sys::vb3_alloc_noncontiguous(dev, len, raw, self.gfp, attrs) };
        let sgt = sgt.ok_or_else(|| self.exhausted(dev, len_bytes))?;
        let alloc = Alloc {
            dev,
            len,
            at: sgt.cast(),
            // SAFETY: the table is mapped.
            addr: unsafe { run(sgt, 0) }.addr.get(),
            attrs: 0,
            direction: u8::try_from(raw).unwrap_or(0),
            kind: AllocatedAs::NonCoherent,
        };
        Ok(Memory::Allocated(alloc, None))
    }

    fn alloc_virtual(&self, _len_bytes: u64) -> Result<Memory, Error> {
        // The module allocates memory for devices only.
        Err(Error::Unsupported)
    }

    #[inline(never)]
    fn free(&self, memory: Memory) {
        match memory {
            Memory::Allocated(alloc, table) => {
                if let Some(table) =
                    table.filter(|table| !matches!(table.kind, TableKind::Borrowed))
                {
                    // SAFETY: `describe` made the table, which ends here.
                    unsafe { sys::vb3_sgt_free(table.sgt) };
                }
                // SAFETY: this is the end of the allocation.
                unsafe { sys::vb3_memory_free(&alloc) };
            }
            Memory::Pinned(table, _, writes) => {
                if let TableKind::Pinned(pinned, _) = table.kind {
                    // SAFETY: `pin_user` made both, and they end here.
                    unsafe { sys::vb3_unpin(pinned, table.sgt, writes) };
                }
            }
        }
    }

    fn alloc_dma_addr(&self, memory: &Memory) -> Option<DmaAddr> {
        Some(DmaAddr::new(memory.alloc()?.addr))
    }

    fn sync_alloc(&self, memory: &Memory, direction: Direction, sync: SyncFor) -> bool {
        let Some((alloc, sgt)) = memory.alloc().and_then(|alloc| Some((alloc, alloc.sgt()?)))
        else {
            return false;
        };
        // SAFETY: table and device are those of the allocation.
        unsafe { sync_table(alloc.dev, sgt, direction, sync) };
        true
    }

    fn alloc_caching(&self, memory: &Memory) -> Caching {
        match memory.alloc().map(|alloc| alloc.kind) {
            Some(AllocatedAs::Coherent) => Caching::Uncached,
            Some(AllocatedAs::NonCoherent) | None => Caching::Cached,
        }
    }

    fn describe(&self, memory: &mut Memory) -> Result<(), Error> {
        let Memory::Allocated(alloc, table @ None) = memory else {
            return Ok(());
        };
        let len = u64::try_from(alloc.len).unwrap_or(u64::MAX);
        let mut phys = u64::MAX;
        // SAFETY: the allocation exists.
        let sgt = unsafe { sys::vb3_memory_table(alloc, &mut phys) };
        let missing = match alloc.kind {
            AllocatedAs::Coherent => {
                Error::NoSuchMemory(Reason::new(Constraint::PagesBehind, len, 0))
            }
            _ => Error::no_ram(len),
        };
        *table = Some(Table {
            sgt: sgt.ok_or(missing)?,
            kind: match (alloc.kind, phys) {
                (AllocatedAs::NonCoherent, _) => TableKind::Borrowed,
                // SAFETY: the device exists.
                (_, u64::MAX) if unsafe { sys::vb3_has_pool(alloc.dev) } => TableKind::Pool,
                // SAFETY: the device exists.
                (_, u64::MAX) if unsafe { sys::vb3_caches_coherent(alloc.dev) } => TableKind::Owned,
                (_, u64::MAX) => TableKind::Uncached,
                (_, phys) => TableKind::PageLess(phys),
            },
        });
        Ok(())
    }

    fn pin_user(
        &self,
        _user: &(),
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Memory, Error> {
        let bad = Reason::new(Constraint::UserPages, len_bytes, 0);
        let mut sgt = None;
        // SAFETY: the call checks the range, and writes `sgt` on success.
        let pinned = unsafe { sys::vb3_pin(addr, len_bytes, direction.device_writes(), &mut sgt) };
        let pinned = pointer(pinned).map_err(|errno| match errno {
            Errno::ENOMEM => Error::NoMemory(bad),
            Errno::EFAULT => Error::BadUserMemory(bad),
            Errno(errno) => Error::Pin { errno },
        })?;
        let table = Table {
            sgt: sgt.ok_or(Error::BadUserMemory(bad))?,
            kind: TableKind::Pinned(pinned, Cell::new(false)),
        };
        Ok(Memory::Pinned(table, len_bytes, direction.device_writes()))
    }

    fn is_current(&self, _memory: &Memory, _user: &(), _addr: u64) -> bool {
        true
    }

    fn memory_len(&self, memory: &Memory) -> u64 {
        match memory {
            Memory::Allocated(alloc, _) => u64::try_from(alloc.len).unwrap_or(u64::MAX),
            Memory::Pinned(_, len, _) => *len,
        }
    }

    fn map(
        &self,
        dev: Dev,
        memory: &Memory,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Mapping, Error> {
        let (table, len) = (
            memory.table().ok_or(Error::Invalid)?,
            self.memory_len(memory),
        );
        // A scatter table can store the addresses of only one mapping, so other mappings use copies.
        let kind = match &table.kind {
            TableKind::Pinned(_, mapped) if !mapped.replace(true) => MappingKind::Own,
            TableKind::PageLess(_) => MappingKind::PageLess,
            _ => MappingKind::Copy,
        };
        let sgt = if kind == MappingKind::Own {
            table.sgt
        } else {
            // SAFETY: the table exists.
            unsafe { sys::vb3_sgt_copy(table.sgt) }.ok_or(Error::no_ram(len))?
        };
        let mut mapping = Mapping {
            dev,
            sgt,
            direction,
            kind,
            bounces: false,
            needs_no_sync: matches!(
                table.kind,
                TableKind::Uncached | TableKind::Pool | TableKind::PageLess(_)
            ),
            laid: None,
            told: self.told,
        };
        let skip = attrs.contains(Attrs::SKIP_CPU_SYNC) || mapping.needs_no_sync;
        let raw = direction_to_c(direction);
        let may_bounce = !matches!(table.kind, TableKind::Pool);
        let ret = match table.kind {
            // SAFETY: no other code maps this table, which has one entry.
            TableKind::PageLess(phys) => unsafe { sys::vb3_map_resource(dev, sgt, phys, raw) },
            // SAFETY: no other code maps this table.
            _ => unsafe { sys::vb3_sgt_map(dev, sgt, raw, skip, may_bounce) },
        };
        if ret == 0 {
            // SAFETY: the table was mapped above, and all of it has struct pages.
            mapping.bounces =
                kind != MappingKind::PageLess && unsafe { sys::vb3_sgt_bounces(dev, sgt) };
            mapping.tell(mapping.bounces);
            match table.kind {
                TableKind::Pinned(..) => {
                    // SAFETY: the table was mapped above, and is unmapped only after the layout is removed.
                    let laid = unsafe { Laid::new(dev, ptr::null_mut(), sgt, len, direction) };
                    mapping.laid = Some(laid);
                }
                // Uncached memory needs no syncs, but a bounced copy does.
                TableKind::Uncached if mapping.bounces => {
                    mapping.needs_no_sync = false;
                    self.sync(&mapping, direction, SyncFor::Device)?;
                }
                _ => {}
            }
            return Ok(mapping);
        }
        let reason = unmappable(dev, table, len);
        if kind != MappingKind::Own {
            // SAFETY: the table is the copy made above, and is not mapped.
            unsafe { sys::vb3_sgt_free(sgt) };
        }
        Err(match Errno(ret.wrapping_neg()) {
            Errno::ENOMEM => Error::NoMemory(reason),
            Errno::EINVAL => Error::Invalid,
            _ => Error::Unmappable(reason),
        })
    }

    // Not inlined: four callers share it.
    #[inline(never)]
    fn unmap(&self, mapping: Mapping, attrs: Attrs) {
        mapping.tell(false);
        let skip = attrs.contains(Attrs::SKIP_CPU_SYNC)
            || mapping.needs_no_sync
            || mapping.is_up_to_date();
        let direction = direction_to_c(mapping.direction);
        if let Some(laid) = mapping.laid {
            laid.remove();
        }
        let (dev, sgt) = (mapping.dev, mapping.sgt);
        match mapping.kind {
            // SAFETY: `map` mapped the table with these values, and the mapping ends here.
            MappingKind::PageLess => unsafe { sys::vb3_unmap_resource(dev, sgt, direction) },
            // SAFETY: as for the call above.
            _ => unsafe { sys::vb3_sgt_unmap(dev, sgt, direction, skip) },
        }
        if mapping.kind != MappingKind::Own {
            // SAFETY: the table is the copy that `map` made, and no other code uses it any more.
            unsafe { sys::vb3_sgt_free(sgt) };
        }
    }

    #[inline]
    fn sync(&self, mapping: &Mapping, direction: Direction, sync: SyncFor) -> Result<bool, Error> {
        if mapping.needs_no_sync || (sync == SyncFor::Cpu && mapping.is_up_to_date()) {
            return Ok(false);
        }
        // SAFETY: the table is mapped.
        unsafe { sync_table(mapping.dev, mapping.sgt, direction, sync) };
        Ok(true)
    }

    fn bounces(&self, mapping: &Mapping) -> bool {
        mapping.bounces
    }

    fn segment(&self, mapping: &Mapping, index: usize) -> Option<DmaSegment> {
        // Callers need only the first run.
        let laid = mapping.laid.as_ref().filter(|_| index == 0);
        laid.map(|laid| laid.first)
    }

    fn vmap(&self, memory: &Memory) -> Result<Vmap, Error> {
        // Objects map their allocations themselves.
        let Some(&Table {
            sgt,
            kind: TableKind::Pinned(pinned, _),
        }) = memory.table()
        else {
            return Err(Error::Unsupported);
        };
        // SAFETY: `pin_user` made both.
        let at = unsafe { sys::vb3_pinned_map(pinned, sgt) };
        Ok(Vmap {
            at: at.ok_or(Error::no_ram(self.memory_len(memory)))?,
            pinned,
        })
    }

    fn vunmap(&self, vmap: Vmap) {
        // SAFETY: `vmap` made this mapping, which ends here, before the memory is unpinned.
        unsafe { sys::vb3_pinned_unmap(vmap.pinned, vmap.at) };
    }

    fn mmap(&self, memory: &Memory, _offset: u64, _len_bytes: u64) -> Result<Alloc, Error> {
        memory.alloc().copied().ok_or(Error::Invalid)
    }
}

/// Returns the likely reason for a table that could not be mapped.
fn unmappable(dev: Dev, table: &Table, len: u64) -> Reason {
    // SAFETY: the device exists.
    let last = unsafe { sys::vb3_last_address(dev) };
    let top = match table.kind {
        TableKind::PageLess(phys) => phys.saturating_add(len.saturating_sub(1)),
        // SAFETY: the table exists, and all of it has struct pages.
        _ => unsafe { sys::vb3_sgt_top(table.sgt) },
    };
    if top > last {
        return Reason::new(Constraint::Mask, top, last);
    }
    let constraint = match table.kind {
        TableKind::Pool if !dev.is_translated() => Constraint::NoBounce,
        _ => no_room(dev),
    };
    Reason::new(constraint, len, 0)
}

/// Returns the constraint that too many mappings for the device violate: I/O addresses or bounce memory.
fn no_room(dev: Dev) -> Constraint {
    match dev.is_translated() {
        true => Constraint::IovaSpace,
        false => Constraint::BouncePool,
    }
}
