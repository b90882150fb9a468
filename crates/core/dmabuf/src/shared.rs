//! Memory with several handles and one lifetime: the exporter.

mod access;
mod attach;
#[cfg(feature = "managed")]
mod handover;
#[cfg(feature = "alloc")]
pub(crate) mod imports;
#[cfg(feature = "managed")]
mod managed;
#[cfg(feature = "managed")]
mod placing;
#[cfg(feature = "managed")]
mod state;
#[cfg(not(feature = "managed"))]
mod unmanaged;

pub use access::intersect;
pub use attach::Attachment;
#[cfg(feature = "managed")]
pub use placing::Placer;

use crate::{Cx, Error, Observer, Store};
#[cfg(feature = "managed")]
use state::State;
#[cfg(not(feature = "managed"))]
use unmanaged::State;
use vb3_dma::{Attrs, Coherency, Constraint, Direction, DmaOps, Reason};

/// How memory is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backing<D> {
    /// Device and CPU see the same bytes without syncs.
    Coherent(D),
    /// Cached memory, one run of addresses for the device; needs syncs.
    NonCoherent(D),
    /// Cached memory that is contiguous for the CPU, but not for devices (`vmalloc_user`). The device here only
    /// names the owner.
    Virtual(D),
    /// Cached pages that the device reaches, contiguous for the CPU alone (videobuf2-dma-sg).
    Scattered(D),
    /// Memory that is placed when it is first mapped, so that it suits all devices attached by that time. It
    /// moves if a later device needs another place ([`Placer`](crate::Placer)). The device only names the
    /// owner, which is attached like the others.
    Lazy {
        /// The owner.
        device: D,
        /// Whether owner and CPU see each other's writes without syncs.
        coherency: Coherency,
    },
    /// Cached memory that another driver made. It belongs to no device of this host.
    Foreign,
}

impl<D: Copy> Backing<D> {
    /// Returns the device that the memory was made for; `None` for memory of another driver.
    #[must_use]
    pub const fn device(self) -> Option<D> {
        match self {
            Self::Coherent(device)
            | Self::NonCoherent(device)
            | Self::Virtual(device)
            | Self::Scattered(device)
            | Self::Lazy { device, .. } => Some(device),
            Self::Foreign => None,
        }
    }
}

/// A request for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec<D> {
    /// The kind of memory, and its device.
    pub backing: Backing<D>,
    /// Length in bytes, which is rounded up to pages.
    pub len_bytes: u64,
    /// Direction in which the owner's device accesses the memory.
    pub direction: Direction,
    /// Attributes of the allocation.
    pub attrs: Attrs,
}

impl<D: Copy> Spec<D> {
    /// Returns the request for cached memory of `dev`, which both `dev` and the CPU may read and write.
    #[must_use]
    pub const fn cached(dev: D, len_bytes: u64) -> Self {
        Self {
            backing: Backing::NonCoherent(dev),
            len_bytes,
            direction: Direction::Bidirectional,
            attrs: Attrs::empty(),
        }
    }

    /// Returns the request with its length rounded up to pages.
    pub(crate) fn in_pages(self, page_bytes: u64) -> Result<Self, Error> {
        let len_bytes = page_align(self.len_bytes, page_bytes)?;
        Ok(Self { len_bytes, ..self })
    }
}

/// The handles that count as users of memory (`num_users`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UserKind {
    /// The plane of the queue that allocated it.
    Plane,
    /// A mapping in a program.
    Mapping,
    /// An exported dma-buf.
    Export,
}

/// Memory that several handles name, and the devices attached to it.
///
/// The host stores the object and counts its handles with [`add_user`](Self::add_user) and
/// [`drop_user`](Self::drop_user). It calls [`release`](Self::release) once `drop_user` returns true. `L` is
/// the host's list of attachments.
///
/// # Invariants
/// Held mappings were made from `memory`. They are freed first, `memory` last.
///
/// Source: Linux 7.2 `videobuf2-dma-contig.c` `vb2_dc_buf` and its dma-buf ops, differs: all exports of the
/// memory share one list of attachments, a sync reaches all attachments, and an attachment keeps no mapping
/// after its last unmap.
#[must_use = "memory goes back through `release`"]
#[derive(Debug)]
pub struct Shared<O: DmaOps, L> {
    pub(crate) memory: O::Memory,
    pub(crate) list: L,
    pub(crate) spec: Spec<O::Device>,
    pub(crate) state: State<O::Device, O::Vmap>,
}

/// Rounds a length up to pages.
fn page_align(len_bytes: u64, page: u64) -> Result<u64, Error> {
    if len_bytes == 0 || !page.is_power_of_two() {
        return Err(Error::Invalid);
    }
    let mask = page.wrapping_sub(1);
    let reason = Reason::new(Constraint::SizeLimit, len_bytes, !mask);
    let sum = len_bytes.checked_add(mask);
    Ok(sum.ok_or(vb3_dma::Error::NoMemory(reason))? & !mask)
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Allocates zeroed memory. It has no users yet.
    ///
    /// # Errors
    /// `Invalid` for length zero or `Backing::Foreign`. `NoMemory` (ENOMEM) with the shortage, also for a
    /// length that overflows when rounded to pages.
    // Inlined because the result is large: the caller knows its destination, which saves a copy.
    #[inline(always)]
    pub fn allocate<W: Observer<O>>(
        cx: &Cx<'_, O, W>,
        spec: Spec<O::Device>,
        list: L,
    ) -> Result<Self, Error> {
        let ops = cx.ops;
        let spec = spec.in_pages(ops.page_size())?;
        let len_bytes = spec.len_bytes;
        let memory = match spec.backing {
            Backing::Coherent(dev) => ops.alloc_coherent(dev, len_bytes, spec.attrs)?,
            Backing::NonCoherent(dev) => {
                ops.alloc_noncontiguous(dev, len_bytes, spec.direction, spec.attrs)?
            }
            Backing::Virtual(_) => ops.alloc_virtual(len_bytes)?,
            Backing::Scattered(dev) => ops.alloc_scattered(dev, len_bytes)?,
            Backing::Lazy { .. } | Backing::Foreign => return Err(Error::Invalid),
        };
        if let Some(dev) = spec.backing.device() {
            cx.observer.allocated(dev, len_bytes);
        }
        Ok(Self::new(memory, spec, list))
    }

    /// Makes shared memory from another driver's memory, which is `len_bytes` long (whole pages). `memory` is the
    /// DMA layer's allocation of that memory. The result has no users yet, and is freed like allocated memory.
    pub fn adopt(memory: O::Memory, len_bytes: u64, list: L) -> Self {
        let spec = Spec {
            backing: Backing::Foreign,
            len_bytes,
            direction: Direction::Bidirectional,
            attrs: Attrs::empty(),
        };
        Self::new(memory, spec, list)
    }

    #[inline(always)]
    pub(crate) fn new(memory: O::Memory, spec: Spec<O::Device>, list: L) -> Self {
        Self {
            memory,
            list,
            spec,
            state: State::default(),
        }
    }

    /// Removes all devices' mappings and frees the memory. The host must not use handles that still exist.
    /// [Quarantined](Self::is_quarantined) memory also returns to the DMA layer, which does not use it again.
    #[inline]
    pub fn release<W: Observer<O>>(mut self, cx: &Cx<'_, O, W>) {
        self.close(cx);
        cx.ops.free(self.memory);
        if let Some(dev) = self.spec.backing.device() {
            cx.observer.freed(dev, self.spec.len_bytes);
        }
    }

    /// Detaches all devices and removes the kernel mapping, as the first part of [`Self::release`]. A host that frees
    /// a large object calls this before, where the object lies, so that the object moves only to be freed.
    pub fn close<W: Observer<O>>(&mut self, cx: &Cx<'_, O, W>) {
        #[cfg(feature = "managed")]
        self.report_unread(cx);
        while let Some(key) = self.list.next(None) {
            if !self.detach(cx, key) {
                break;
            }
        }
        #[cfg(feature = "managed")]
        if let Some((vmap, _)) = self.state.vmap.take() {
            cx.ops.vunmap(vmap);
        }
    }

    /// Returns the length in bytes, a multiple of pages.
    pub fn len_bytes(&self) -> u64 {
        self.spec.len_bytes
    }

    /// Returns the device that the memory was made for; `None` for memory of another driver.
    pub fn device(&self) -> Option<O::Device> {
        self.spec.backing.device()
    }

    /// Returns how the memory was allocated.
    pub fn backing(&self) -> Backing<O::Device> {
        self.spec.backing
    }

    /// Returns the direction in which the owner's device accesses the memory.
    pub fn direction(&self) -> Direction {
        self.spec.direction
    }

    /// Returns the DMA layer's allocation.
    pub fn memory(&self) -> &O::Memory {
        &self.memory
    }

    /// Returns the host's list of attached devices.
    pub fn attachments(&self) -> &L {
        &self.list
    }

    /// Describes `len_bytes` from `offset` for mapping into a program. The host then makes the mapping and
    /// counts it with [`add_user`](Self::add_user).
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for an offset that is not page-aligned, a length of zero, or a range outside the
    /// memory; `Revoked` (ENODEV).
    pub fn mmap(&self, ops: &O, offset: u64, len_bytes: u64) -> Result<O::Mmap, Error> {
        self.state.check_revoked()?;
        let end = page_align(len_bytes, ops.page_size())
            .ok()
            .and_then(|len| offset.checked_add(len))
            .ok_or(Error::Invalid)?;
        if offset & ops.page_size().wrapping_sub(1) != 0 || end > self.spec.len_bytes {
            return Err(Error::Invalid);
        }
        Ok(ops.mmap(&self.memory, offset, len_bytes)?)
    }
}
