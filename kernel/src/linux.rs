//! Linux's DMA API as [`DmaOps`].
// UNSAFETY: this file, `kernel.rs` and `entry.rs` call the kernel. SOUNDNESS.md lists the
// conditions.

use crate::kernel::{Errno, pointer};
use crate::link::Laid;
use crate::sys;

use crate::device::attrs_to_c;
pub use crate::device::{Dev, attrs_from_c, direction_from_c, direction_to_c};
use core::cell::Cell;
use core::ffi::{c_int, c_uint, c_ulong, c_void};
use core::ptr::{self, NonNull};
use vb3_dma::{
    Attrs, Caching, Coherency, Constraint, Direction, DmaAddr, DmaOps, DmaSegment, Error, Reason,
    SyncFor,
};

/// Linux's DMA API.
#[derive(Debug)]
pub struct Linux;

impl Linux {
    /// Syncs a table.
    ///
    /// # Safety
    /// It must be mapped for the device in this direction.
    ///
    /// # Context
    /// Does not sleep.
    pub unsafe fn sync_table(
        self,
        dev: Dev,
        sgt: NonNull<sys::SgTable>,
        direction: Direction,
        sync: SyncFor,
    ) {
        let (raw, for_cpu) = (direction_to_c(direction), sync == SyncFor::Cpu);
        // SAFETY: the caller's promise.
        unsafe { sys::vb3_sync(dev.raw(), sgt.as_ptr(), raw, for_cpu, ptr::null_mut(), 0) };
    }
}

/// The address of coherent memory.
#[derive(Clone, Copy)]
pub struct Coherent {
    dev: Dev,
    len: usize,
    cookie: NonNull<c_void>,
    addr: u64,
    attrs: c_ulong,
}

/// The address of non-coherent memory.
#[derive(Clone, Copy)]
pub struct NonCoherent {
    dev: Dev,
    len: usize,
    sgt: NonNull<sys::SgTable>,
    direction: Direction,
}

/// The address of memory for the CPU.
#[derive(Clone, Copy)]
pub struct Virtual {
    at: NonNull<c_void>,
    len: usize,
}

/// Allocated memory.
pub enum Alloc {
    /// `dma_alloc_attrs`.
    Coherent(Coherent),
    /// `dma_alloc_noncontiguous`.
    NonCoherent(NonCoherent),
    /// `vmalloc_user`.
    Virtual(Virtual),
}

/// A scatter table for the CPU.
pub struct Table {
    sgt: NonNull<sys::SgTable>,
    len: u64,
    kind: TableKind,
}

enum TableKind {
    /// Made for this table.
    Owned,
    /// Made for this table, of memory that the CPU does not cache.
    Uncached,
    /// The table of a non-coherent allocation.
    Borrowed,
    /// Pinned user memory. The first mapping uses the table itself.
    Pinned(NonNull<sys::FrameVector>, Cell<bool>),
    /// A physical range without struct pages: the table has the length, but no page.
    PageLess(u64),
}

/// A scatter table mapped for a device.
pub struct Mapping {
    dev: Dev,
    sgt: NonNull<sys::SgTable>,
    direction: Direction,
    kind: MappingKind,
    /// Whether the device is given a bounced copy.
    bounces: bool,
    /// Whether no sync has an effect. The memory may not be in the kernel's own mapping, through
    /// which a sync of a non-coherent device cleans caches.
    needs_no_sync: bool,
    /// One range over it, if the table is mapped as scattered pieces.
    laid: Laid,
    cursor: Cursor,
}

/// Which table a mapping uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MappingKind {
    /// The CPU's table itself.
    Own,
    /// A copy.
    Copy,
    /// A copy of a table without struct pages, mapped by physical address.
    PageLess,
}

impl Table {
    /// Returns the table.
    pub const fn sgt(&self) -> *mut sys::SgTable {
        self.sgt.as_ptr()
    }

    /// Describes a kernel mapping that [`DmaOps::vmap_table`] made, by its address.
    pub const fn vmapped(&self, at: NonNull<c_void>) -> Vmap {
        Vmap {
            at,
            unmap: match self.kind {
                TableKind::Pinned(pinned, _) => Unmap::Pinned(pinned),
                _ => Unmap::Never,
            },
        }
    }
}

impl Mapping {
    /// Returns the table for a dma-buf's importer.
    pub const fn sgt(&self) -> *mut sys::SgTable {
        self.sgt.as_ptr()
    }

    /// Returns whether the importer has synced the bounced copy since its device used it. The memory
    /// may be newer.
    fn is_up_to_date(&self) -> bool {
        self.bounces && self.dev.is_idle()
    }
}

/// Iterates over the segments of a mapped table, and remembers its position.
pub struct Cursor(Cell<(c_uint, *mut sys::Scatterlist)>);

impl Cursor {
    pub(crate) const fn new() -> Self {
        Self(Cell::new((0, ptr::null_mut())))
    }

    /// Returns segment `index` of `sgt`.
    ///
    /// # Safety
    /// `sgt` must be a mapped table, the same at each call.
    pub(crate) unsafe fn segment(
        &self,
        sgt: NonNull<sys::SgTable>,
        index: usize,
    ) -> Option<DmaSegment> {
        let index = c_uint::try_from(index).ok()?;
        let (mut known, mut at) = self.0.get();
        let (mut addr, mut len) = (0, 0);
        // SAFETY: the table exists, and `at` is null or one of its entries; the rest can be
        // written.
        let found = unsafe {
            sys::vb3_sgt_segment(
                sgt.as_ptr(),
                index,
                &raw mut at,
                &raw mut known,
                &raw mut addr,
                &raw mut len,
            )
        };
        self.0.set((known, at));
        found.then_some(DmaSegment {
            addr: DmaAddr::new(addr),
            len: u64::from(len),
        })
    }
}

/// The kernel's mapping of an allocation, or of a program's memory.
pub struct Vmap {
    at: NonNull<c_void>,
    unmap: Unmap,
}

/// How a kernel mapping ends.
enum Unmap {
    /// With the allocation.
    Never,
    /// As a mapping of this device's non-coherent memory.
    NonCoherent(Dev),
    /// As a mapping of pinned memory.
    Pinned(NonNull<sys::FrameVector>),
}

impl Vmap {
    /// Returns its address.
    pub const fn get(&self) -> NonNull<c_void> {
        self.at
    }
}

/// The memory that is mapped into a program.
#[derive(Clone, Copy)]
pub enum Mmap {
    /// Coherent memory.
    Coherent(Coherent),
    /// Non-coherent memory.
    NonCoherent(NonCoherent),
    /// Memory for the CPU.
    Virtual(Virtual),
}

impl Mmap {
    /// Maps the memory, starting at the VMA's offset.
    ///
    /// # Errors
    /// Returns the DMA layer's error, and ENXIO out of range.
    ///
    /// # Safety
    /// The caller is mapping `vma`; the allocation must exist.
    pub unsafe fn map(self, vma: *mut sys::Vma) -> c_int {
        match self {
            // SAFETY: the values are those of the allocation.
            Self::Coherent(c) => unsafe {
                sys::vb3_mmap_coherent(c.dev.raw(), vma, c.cookie.as_ptr(), c.addr, c.len, c.attrs)
            },
            // SAFETY: the values are those of the allocation.
            Self::NonCoherent(n) => unsafe {
                sys::vb3_mmap_noncontiguous(n.dev.raw(), vma, n.len, n.sgt.as_ptr())
            },
            // SAFETY: the value is that of the allocation.
            Self::Virtual(v) => unsafe { sys::vb3_virtual_mmap(vma, v.at.as_ptr()) },
        }
    }
}

impl NonCoherent {
    /// Returns the table that is mapped for the device.
    pub const fn sgt(&self) -> *mut sys::SgTable {
        self.sgt.as_ptr()
    }

    /// Syncs the whole memory and its kernel mapping for a hand-over.
    ///
    /// # Context
    /// Does not sleep.
    pub fn sync(&self, direction: Direction, sync: SyncFor, vaddr: *mut c_void) {
        // SAFETY: table, length and device are those of the allocation; the caller holds it.
        unsafe {
            sys::vb3_sync(
                self.dev.raw(),
                self.sgt.as_ptr(),
                direction_to_c(direction),
                sync == SyncFor::Cpu,
                vaddr,
                self.len,
            );
        }
    }
}

const fn no_memory(constraint: Constraint, wanted: u64, found: u64) -> Error {
    Error::NoMemory(Reason {
        constraint,
        wanted,
        found,
    })
}

/// Largest length in bytes that is tried without a check of the available memory.
const SMALL_BYTES: u64 = 16 << 20;

/// Converts a length for the kernel.
fn size(dev: Dev, len_bytes: u64) -> Result<usize, Error> {
    if len_bytes == 0 {
        return Err(Error::Invalid);
    }
    let limit = if len_bytes <= SMALL_BYTES {
        SMALL_BYTES
    } else {
        // SAFETY: the device exists.
        unsafe { sys::vb3_size_limit(dev.raw()) }
    };
    match usize::try_from(len_bytes) {
        Ok(len) if len_bytes <= limit => Ok(len),
        _ => Err(no_memory(Constraint::SizeLimit, len_bytes, limit)),
    }
}

impl DmaOps for Linux {
    type Device = Dev;
    /// Only the current program's memory can be pinned.
    type User = ();
    type Alloc = Alloc;
    type Table = Table;
    type Mapping = Mapping;
    type Vmap = Vmap;
    type Mmap = Mmap;

    fn page_size(&self) -> u64 {
        // SAFETY: no condition.
        u64::from(unsafe { sys::vb3_page_size() })
    }

    fn cache_alignment(&self, _dev: Dev) -> u64 {
        // SAFETY: no condition.
        u64::from(unsafe { sys::vb3_cache_alignment() })
    }

    fn coherency(&self, _dev: Dev) -> Coherency {
        // The kernel decides at each sync whether it has an effect.
        Coherency::NonCoherent
    }

    fn alloc_coherent(&self, dev: Dev, len_bytes: u64, attrs: Attrs) -> Result<Alloc, Error> {
        let len = size(dev, len_bytes)?;
        // Without a kernel mapping, the memory would not be cleared.
        let attrs = attrs_to_c(attrs.difference(Attrs::NO_KERNEL_MAPPING)) | dev.attrs;
        let mut addr = 0;
        // SAFETY: the device exists; the length is not zero.
        let cookie =
            unsafe { sys::vb3_alloc_coherent(dev.raw(), len, dev.gfp, attrs, &raw mut addr) };
        let cookie =
            NonNull::new(cookie).ok_or(no_memory(Constraint::ContiguousPool, len_bytes, 0))?;
        Ok(Alloc::Coherent(Coherent {
            dev,
            len,
            cookie,
            addr,
            attrs,
        }))
    }

    fn alloc_noncontiguous(
        &self,
        dev: Dev,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Alloc, Error> {
        let len = size(dev, len_bytes)?;
        // The call accepts only this attribute and warns about all others.
        let attrs = attrs_to_c(attrs.intersection(Attrs::ALLOC_SINGLE_PAGES));
        // SAFETY: the device exists; the length is not zero.
        let sgt = unsafe {
            sys::vb3_alloc_noncontiguous(dev.raw(), len, direction_to_c(direction), dev.gfp, attrs)
        };
        let sgt = NonNull::new(sgt).ok_or(no_memory(Constraint::Ram, len_bytes, 0))?;
        Ok(Alloc::NonCoherent(NonCoherent {
            dev,
            len,
            sgt,
            direction,
        }))
    }

    fn alloc_virtual(&self, len_bytes: u64) -> Result<Alloc, Error> {
        // SAFETY: nothing is allocated for a device.
        let len = size(unsafe { Dev::of_cpu(ptr::null_mut()) }, len_bytes)?;
        // SAFETY: the length is not zero.
        let at = unsafe { sys::vb3_virtual_alloc(len) };
        let at = NonNull::new(at).ok_or(no_memory(Constraint::Ram, len_bytes, 0))?;
        Ok(Alloc::Virtual(Virtual { at, len }))
    }

    fn free(&self, alloc: Alloc) {
        match alloc {
            // SAFETY: the values are those of the allocation, which ends here.
            Alloc::Coherent(c) => unsafe {
                sys::vb3_free_coherent(c.dev.raw(), c.len, c.cookie.as_ptr(), c.addr, c.attrs);
            },
            // SAFETY: the values are those of the allocation, which ends here.
            Alloc::NonCoherent(n) => unsafe {
                sys::vb3_free_noncontiguous(
                    n.dev.raw(),
                    n.len,
                    n.sgt.as_ptr(),
                    direction_to_c(n.direction),
                );
            },
            // SAFETY: the value is that of the allocation, which ends here.
            Alloc::Virtual(v) => unsafe { sys::vb3_virtual_free(v.at.as_ptr()) },
        }
    }

    fn alloc_dma_addr(&self, alloc: &Alloc) -> Option<DmaAddr> {
        match alloc {
            Alloc::Coherent(c) => Some(DmaAddr::new(c.addr)),
            Alloc::NonCoherent(n) => {
                // SAFETY: the allocation's table is mapped as long as the allocation exists.
                unsafe { Cursor::new().segment(n.sgt, 0) }.map(|first| first.addr)
            }
            Alloc::Virtual(_) => None,
        }
    }

    fn sync_alloc(&self, alloc: &Alloc, direction: Direction, sync: SyncFor) -> bool {
        match alloc {
            Alloc::Coherent(_) | Alloc::Virtual(_) => false,
            Alloc::NonCoherent(n) => {
                n.sync(direction, sync, ptr::null_mut());
                true
            }
        }
    }

    fn alloc_caching(&self, alloc: &Alloc) -> Caching {
        match alloc {
            Alloc::Coherent(_) => Caching::Uncached,
            Alloc::NonCoherent(_) | Alloc::Virtual(_) => Caching::Cached,
        }
    }

    fn table_of(&self, alloc: &Alloc) -> Result<Table, Error> {
        match alloc {
            Alloc::Coherent(c) => {
                let len = u64::try_from(c.len).unwrap_or(u64::MAX);
                let mut phys = u64::MAX;
                let none = Reason {
                    constraint: Constraint::PagesBehind,
                    wanted: len,
                    found: 0,
                };
                // SAFETY: the values are those of the allocation; `phys` can be written.
                let sgt = unsafe {
                    sys::vb3_get_sgtable(
                        c.dev.raw(),
                        c.cookie.as_ptr(),
                        c.addr,
                        c.len,
                        c.attrs,
                        &raw mut phys,
                    )
                };
                Ok(Table {
                    sgt: NonNull::new(sgt).ok_or(Error::NoSuchMemory(none))?,
                    len,
                    kind: match phys {
                        // SAFETY: the device exists.
                        u64::MAX if unsafe { sys::vb3_caches_coherent(c.dev.raw()) } => {
                            TableKind::Owned
                        }
                        u64::MAX => TableKind::Uncached,
                        phys => TableKind::PageLess(phys),
                    },
                })
            }
            Alloc::NonCoherent(n) => Ok(Table {
                sgt: n.sgt,
                len: u64::try_from(n.len).unwrap_or(u64::MAX),
                kind: TableKind::Borrowed,
            }),
            Alloc::Virtual(v) => {
                // SAFETY: the values are those of the allocation.
                let sgt = unsafe { sys::vb3_virtual_sgtable(v.at.as_ptr(), v.len) };
                let len = u64::try_from(v.len).unwrap_or(u64::MAX);
                Ok(Table {
                    sgt: NonNull::new(sgt).ok_or(no_memory(Constraint::Ram, len, 0))?,
                    len,
                    kind: TableKind::Owned,
                })
            }
        }
    }

    fn pin_user(
        &self,
        _user: &(),
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Table, Error> {
        let bad = Reason {
            constraint: Constraint::UserPages,
            wanted: len_bytes,
            found: 0,
        };
        let mut sgt = ptr::null_mut();
        // SAFETY: pinning checks the range; `sgt` is written on success.
        let pinned =
            unsafe { sys::vb3_pin(addr, len_bytes, direction.device_writes(), &raw mut sgt) };
        let pinned = match pointer(pinned) {
            Ok(pinned) => pinned,
            Err(Errno::NO_MEMORY) => return Err(Error::NoMemory(bad)),
            Err(Errno::FAULT) => return Err(Error::BadUserMemory(bad)),
            Err(e) => return Err(Error::Pin { errno: e.get() }),
        };
        Ok(Table {
            sgt: NonNull::new(sgt).ok_or(Error::BadUserMemory(bad))?,
            len: len_bytes,
            kind: TableKind::Pinned(pinned, Cell::new(false)),
        })
    }

    fn is_current(&self, _table: &Table, _user: &(), _addr: u64) -> bool {
        true
    }

    fn free_table(&self, table: Table, device_wrote: bool) {
        match table.kind {
            // SAFETY: the table was made by `table_of`, and ends here.
            TableKind::Owned | TableKind::Uncached | TableKind::PageLess(_) => unsafe {
                sys::vb3_sgt_free(table.sgt.as_ptr());
            },
            TableKind::Borrowed => {}
            // SAFETY: both were made by `pin_user`, and end here.
            TableKind::Pinned(pinned, _) => unsafe {
                sys::vb3_unpin(pinned.as_ptr(), table.sgt.as_ptr(), device_wrote);
            },
        }
    }

    fn table_len(&self, table: &Table) -> u64 {
        table.len
    }

    fn map(
        &self,
        dev: Dev,
        table: &Table,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Mapping, Error> {
        // A table stores the addresses of one mapping only.
        let kind = match &table.kind {
            TableKind::Pinned(_, mapped) if !mapped.replace(true) => MappingKind::Own,
            TableKind::PageLess(_) => MappingKind::PageLess,
            _ => MappingKind::Copy,
        };
        let sgt = if kind == MappingKind::Own {
            table.sgt
        } else {
            // SAFETY: the table exists.
            NonNull::new(unsafe { sys::vb3_sgt_copy(table.sgt.as_ptr()) }).ok_or(no_memory(
                Constraint::Ram,
                table.len,
                0,
            ))?
        };
        let mut mapping = Mapping {
            dev,
            sgt,
            direction,
            kind,
            bounces: false,
            needs_no_sync: matches!(table.kind, TableKind::Uncached | TableKind::PageLess(_)),
            laid: Laid::Pieces,
            cursor: Cursor::new(),
        };
        let skip = attrs.contains(Attrs::SKIP_CPU_SYNC) || mapping.needs_no_sync;
        let raw = direction_to_c(direction);
        let ret = match table.kind {
            // SAFETY: no other code maps this table, which has one entry.
            TableKind::PageLess(phys) => unsafe {
                sys::vb3_map_resource(dev.raw(), sgt.as_ptr(), phys, raw)
            },
            // SAFETY: no other code maps this table.
            _ => unsafe { sys::vb3_sgt_map(dev.raw(), sgt.as_ptr(), raw, skip) },
        };
        if ret == 0 {
            // SAFETY: mapped above, and all of the table has struct pages.
            mapping.bounces = kind != MappingKind::PageLess
                && unsafe { sys::vb3_sgt_bounces(dev.raw(), sgt.as_ptr()) };
            dev.set_bounces(mapping.bounces);
            match table.kind {
                TableKind::Pinned(..) if !dev.in_pieces => {
                    // SAFETY: mapped above, and unmapped after this value is dropped.
                    mapping.laid =
                        unsafe { Laid::new(dev, ptr::null_mut(), sgt, table.len, direction) };
                }
                // A bounced copy needs syncs.
                TableKind::Uncached if mapping.bounces => {
                    mapping.needs_no_sync = false;
                    self.sync(&mapping, direction, SyncFor::Device);
                }
                _ => {}
            }
            return Ok(mapping);
        }
        let reason = unmappable(dev, table);
        if kind != MappingKind::Own {
            // SAFETY: the copy made above; it is not mapped.
            unsafe { sys::vb3_sgt_free(sgt.as_ptr()) };
        }
        Err(match Errno::from_c(ret) {
            Errno::NO_MEMORY => Error::NoMemory(reason),
            Errno::INVALID => Error::Invalid,
            _ => Error::Unmappable(reason),
        })
    }

    fn unmap(&self, mapping: Mapping, attrs: Attrs) {
        mapping.dev.set_bounces(false);
        let skip = attrs.contains(Attrs::SKIP_CPU_SYNC)
            || mapping.needs_no_sync
            || mapping.is_up_to_date();
        let direction = direction_to_c(mapping.direction);
        drop(mapping.laid);
        let (dev, sgt) = (mapping.dev.raw(), mapping.sgt.as_ptr());
        match mapping.kind {
            // SAFETY: mapped by `map` with these values, and ends here.
            MappingKind::PageLess => unsafe { sys::vb3_unmap_resource(dev, sgt, direction) },
            // SAFETY: as above.
            _ => unsafe { sys::vb3_sgt_unmap(dev, sgt, direction, skip) },
        }
        if mapping.kind != MappingKind::Own {
            // SAFETY: the copy made by `map`, which no other code uses any more.
            unsafe { sys::vb3_sgt_free(sgt) };
        }
    }

    fn sync(&self, mapping: &Mapping, direction: Direction, sync: SyncFor) -> bool {
        if mapping.needs_no_sync || (sync == SyncFor::Cpu && mapping.is_up_to_date()) {
            return false;
        }
        // SAFETY: the table is mapped.
        unsafe {
            sys::vb3_sync(
                mapping.dev.raw(),
                mapping.sgt.as_ptr(),
                direction_to_c(direction),
                sync == SyncFor::Cpu,
                ptr::null_mut(),
                0,
            );
        }
        true
    }

    fn bounces(&self, mapping: &Mapping) -> bool {
        mapping.bounces
    }

    fn segment(&self, mapping: &Mapping, index: usize) -> Option<DmaSegment> {
        if let Some(whole) = mapping.laid.whole() {
            return (index == 0).then_some(whole);
        }
        // SAFETY: the table is mapped, and a mapping always uses one table.
        unsafe { mapping.cursor.segment(mapping.sgt, index) }
    }

    fn vmap_alloc(&self, alloc: &Alloc) -> Result<Vmap, Error> {
        match alloc {
            Alloc::Coherent(c) => Ok(Vmap {
                at: c.cookie,
                unmap: Unmap::Never,
            }),
            Alloc::Virtual(v) => Ok(Vmap {
                at: v.at,
                unmap: Unmap::Never,
            }),
            Alloc::NonCoherent(n) => {
                // SAFETY: the values are those of the allocation.
                let at = unsafe { sys::vb3_vmap_noncontiguous(n.dev.raw(), n.len, n.sgt.as_ptr()) };
                let len = u64::try_from(n.len).unwrap_or(u64::MAX);
                Ok(Vmap {
                    at: NonNull::new(at).ok_or(no_memory(Constraint::Ram, len, 0))?,
                    unmap: Unmap::NonCoherent(n.dev),
                })
            }
        }
    }

    fn vmap_table(&self, table: &Table) -> Result<Vmap, Error> {
        let TableKind::Pinned(pinned, _) = table.kind else {
            return Err(Error::Unsupported);
        };
        // SAFETY: both were made by `pin_user`.
        let at = unsafe { sys::vb3_pinned_map(pinned.as_ptr(), table.sgt.as_ptr()) };
        Ok(Vmap {
            at: NonNull::new(at).ok_or(no_memory(Constraint::Ram, table.len, 0))?,
            unmap: Unmap::Pinned(pinned),
        })
    }

    fn vunmap(&self, vmap: Vmap) {
        let at = vmap.at.as_ptr();
        match vmap.unmap {
            Unmap::Never => {}
            // SAFETY: mapped by `vmap_alloc`, and ends here.
            Unmap::NonCoherent(dev) => unsafe { sys::vb3_vunmap_noncontiguous(dev.raw(), at) },
            // SAFETY: mapped by `vmap_table`, and ends here, before the memory is unpinned.
            Unmap::Pinned(pinned) => unsafe { sys::vb3_pinned_unmap(pinned.as_ptr(), at) },
        }
    }

    fn mmap(&self, alloc: &Alloc, _offset: u64, _len_bytes: u64) -> Result<Mmap, Error> {
        Ok(match alloc {
            Alloc::Coherent(c) => Mmap::Coherent(*c),
            Alloc::NonCoherent(n) => Mmap::NonCoherent(*n),
            Alloc::Virtual(v) => Mmap::Virtual(*v),
        })
    }
}

/// Returns the likely reason why a table could not be mapped.
fn unmappable(dev: Dev, table: &Table) -> Reason {
    // SAFETY: the device exists.
    let mask = unsafe { sys::vb3_dma_mask(dev.raw()) };
    let len = table.len;
    let top = match table.kind {
        TableKind::PageLess(phys) => phys.saturating_add(len.saturating_sub(1)),
        // SAFETY: the table exists, and all of it has struct pages.
        _ => unsafe { sys::vb3_sgt_top(table.sgt.as_ptr()) },
    };
    if top > mask {
        return Reason {
            constraint: Constraint::Mask,
            wanted: top,
            found: mask,
        };
    }
    Reason {
        constraint: Constraint::IovaSpace,
        wanted: len,
        found: 0,
    }
}
