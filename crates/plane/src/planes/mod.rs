//! The planes of a process: allocators, dma-bufs and imports in one host object.

mod copy;
mod counters;
mod fences;
mod imports;
mod lazy;
mod memops;
mod scatter;
#[cfg(test)]
mod tests;
mod users;

pub use counters::Counters;
pub use users::{UserId, UserRange};

use crate::{HintSkip, PlaneError};
use alloc::boxed::Box;
use core::fmt;
use counters::CounterTable;
use imports::{Import, ImportKey};
use vb3_dma::{Attrs, Coherency, Direction, DmaAddr, DmaOps, Lock, Locks, NoLocks};
use vb3_dmabuf::fence::{Owner, Timeline};
use vb3_dmabuf::{BufId, BufInfo, BufRef, Buffers, Cx, Error, MemoryId, Name, SlabKey};
use vb3_dmabuf::{Observer, Placer, Table, Vma};

/// Which allocator serves a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allocator {
    /// dma-contig: one run of addresses for the device.
    Contig,
    /// dma-sg: scattered pages, as a list of segments for the device.
    Sg,
    /// vmalloc: memory for a driver that uses the CPU.
    Vmalloc,
}

/// A device, and how its planes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<D> {
    /// The device.
    pub dma: D,
    /// Its allocator.
    pub allocator: Allocator,
    /// Attributes of its coherent allocations (`dma_attrs`).
    pub attrs: Attrs,
    /// Places contiguous planes at their first use, and moves them if another device needs it; see
    /// [`Planes::set_placer`].
    pub lazy: bool,
}

impl<D> Device<D> {
    /// A device with contiguous planes.
    pub const fn contig(dma: D) -> Self {
        Self {
            dma,
            allocator: Allocator::Contig,
            attrs: Attrs::empty(),
            lazy: false,
        }
    }

    /// A device with scattered planes.
    pub const fn sg(dma: D) -> Self {
        Self {
            dma,
            allocator: Allocator::Sg,
            attrs: Attrs::empty(),
            lazy: false,
        }
    }

    /// A device whose driver uses the CPU.
    pub const fn vmalloc(dma: D) -> Self {
        Self {
            dma,
            allocator: Allocator::Vmalloc,
            attrs: Attrs::empty(),
            lazy: false,
        }
    }
}

/// A plane's place for its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// An address of the device's.
    Dma(DmaAddr),
    /// Segments: [`Planes::sg_segment`] and [`Planes::sg_find`] take it.
    Sg(SgView),
    /// A CPU mapping: [`Planes::cpu_read`] and [`Planes::cpu_write`] take it.
    Cpu(CpuView),
}

/// Names the CPU mapping of a plane for as long as the plane is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuView(View);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Memory(MemoryId),
    User(SlabKey),
}

/// Names the segments of a plane for as long as the plane is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SgView(Segments);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segments {
    /// Allocated memory, and the attachment of the device it was allocated for.
    Own(MemoryId, SlabKey),
    User(SlabKey),
    Import(ImportKey),
}

/// How to map a plane into a program, and whose mapping to count.
#[derive(Debug)]
pub struct PlaneMmap<M> {
    /// For [`Planes::vma_open`], once the mapping is made.
    pub memory: MemoryId,
    /// What to map.
    pub mmap: M,
}

/// A plane's memory.
#[must_use = "plane memory goes back through `put`"]
pub struct Plane<D> {
    dev: Device<D>,
    direction: Direction,
    len_bytes: u64,
    kind: Kind,
    /// What its device does to the memory, once it has had it.
    access: Option<Timeline<Owner<D>>>,
}

#[derive(Debug)]
enum Kind {
    Allocated {
        memory: MemoryId,
        coherency: Coherency,
        /// A driver's access is under way (vmalloc).
        open: bool,
        /// The attachment of the plane's device (sg, and planes that are placed lazily).
        own: Option<SlabKey>,
    },
    User(SlabKey),
    Imported {
        import: ImportKey,
        /// Where it begins, once it is mapped.
        mapped: Option<DmaAddr>,
        /// Uses that the device was handed and did not end.
        handed: u32,
    },
    ImportedVirtual {
        memory: MemoryId,
        mapped: bool,
        open: bool,
    },
}

impl<D: fmt::Debug> fmt::Debug for Plane<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane")
            .field("dev", &self.dev)
            .field("direction", &self.direction)
            .field("len_bytes", &self.len_bytes)
            .field("kind", &self.kind)
            .finish()
    }
}

impl<D> Plane<D> {
    /// Bytes, as the queue asked for.
    #[must_use]
    pub const fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The memory of an allocated plane.
    #[must_use]
    pub const fn memory(&self) -> Option<MemoryId> {
        match self.kind {
            Kind::Allocated { memory, .. } => Some(memory),
            _ => None,
        }
    }
}

/// A dma-buf that a device could not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedImport<D> {
    /// The device.
    pub device: D,
    /// The memory behind the dma-buf.
    pub memory: MemoryId,
    /// Bytes of the plane that it was to be.
    pub len_bytes: u64,
}

/// Resources in use. All zero when everything is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Memories, dma-bufs, attachments, mappings in programs.
    pub buffers: vb3_dmabuf::Live,
    /// Pinned ranges of programs.
    pub user_planes: u64,
    /// Imported dma-bufs, per device and direction.
    pub imports: u64,
}

impl Live {
    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// All plane memory of a process, over a DMA layer.
///
/// Implements [`MemOps`](crate::MemOps) for any number of queues, which share it by reference. `H`
/// observes missing syncs; `L` makes the locks ([lock order](crate#locks)).
pub struct Planes<O: DmaOps, H, L: Locks = NoLocks> {
    buffers: Buffers<O, CounterTable<O::Device, H, L>, L>,
    users: Table<users::Pinned<O>, L>,
    imports: Table<Import<O::Device>, L>,
    facts: L::Lock<Facts<O::Device>>,
}

/// State of all planes together.
struct Facts<D> {
    /// How often a pinned range has come or gone.
    user_changes: u64,
    /// At the last [`take_changed`](Planes::take_changed).
    user_changes_seen: u64,
    /// Counts uses of imports, to find the one unused longest.
    import_uses: u64,
    refused: Option<RefusedImport<D>>,
}

impl<O: DmaOps, H, L: Locks> fmt::Debug for Planes<O, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planes")
            .field("users", &self.users.len())
            .field("imports", &self.imports.len())
            .finish_non_exhaustive()
    }
}

impl<O: DmaOps, H: Observer<O>> Planes<O, H> {
    /// No planes yet, for one thread.
    pub fn new(ops: O, host: H) -> Self {
        Self::with_locks(ops, host)
    }
}

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// No planes yet.
    pub fn with_locks(ops: O, host: H) -> Self {
        Self {
            buffers: Buffers::with_locks(ops, CounterTable::new(host)),
            users: Table::new(Buffers::<O, CounterTable<O::Device, H, L>, L>::LIMIT),
            imports: Table::new(Buffers::<O, CounterTable<O::Device, H, L>, L>::LIMIT),
            facts: L::Lock::new(Facts {
                user_changes: 0,
                user_changes_seen: 0,
                import_uses: 0,
                refused: None,
            }),
        }
    }

    /// Sets who places planes of devices that want it ([`Device::lazy`]). Without, they get none.
    pub fn set_placer(&mut self, placer: Box<dyn Placer<O> + Send + Sync>) {
        self.buffers.set_placer(placer);
    }

    /// The DMA layer.
    pub const fn ops(&self) -> &O {
        self.buffers.ops()
    }

    /// The DMA layer.
    pub const fn ops_mut(&mut self) -> &mut O {
        self.buffers.ops_mut()
    }

    /// The host's observer.
    pub fn host(&self) -> &H {
        &self.buffers.observer().host
    }

    /// Sets the clock for what is recorded from now on, in nanoseconds.
    pub fn set_now(&self, now_ns: u64) {
        self.buffers.set_now(now_ns);
    }

    /// Returns the counters of a device.
    pub fn counters(&self, dev: O::Device) -> Counters {
        self.buffers.observer().get(dev)
    }

    /// The dma-buf that a device was refused last, since this was asked last.
    pub fn take_refused_import(&self) -> Option<RefusedImport<O::Device>> {
        self.facts.with(|facts| facts.refused.take())
    }

    /// Returns the resources in use.
    pub fn live(&self) -> Live {
        Live {
            buffers: self.buffers.live(),
            user_planes: u64::try_from(self.users.len()).unwrap_or(u64::MAX),
            imports: u64::try_from(self.imports.len()).unwrap_or(u64::MAX),
        }
    }

    /// Memories and dma-bufs, to look at: holders, names, counts.
    pub const fn buffers(&self) -> &Buffers<O, impl Observer<O>, L> {
        &self.buffers
    }

    fn cx(&self) -> Cx<'_, O, CounterTable<O::Device, H, L>> {
        self.buffers.cx()
    }

    fn note_refused(&self, device: O::Device, memory: MemoryId, len_bytes: u64) {
        self.facts.with(|facts| {
            facts.refused = Some(RefusedImport {
                device,
                memory,
                len_bytes,
            });
        });
    }

    /// Counts a program's mapping of an allocated plane ([`PlaneMmap::memory`]). Until
    /// [`vma_close`](Self::vma_close) the memory lives on, orphaned if its queue lets go.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for memory that is gone.
    pub fn vma_open(&self, memory: MemoryId) -> Result<Vma, Error> {
        self.buffers.vma_open(memory)
    }

    /// Counts a program's mapping of a dma-buf, which keeps the dma-buf.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone.
    pub fn vma_open_buf(&self, buf: BufId) -> Result<Vma, Error> {
        self.buffers.vma_open_buf(buf)
    }

    /// Ends a program's mapping of a plane or of a dma-buf.
    pub fn vma_close(&self, vma: Vma) {
        if self.buffers.vma_close(vma) {
            self.forget_gone();
        }
    }

    /// Takes a reference to a dma-buf, for example when a program hands its file to a queue.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone.
    pub fn get_buf(&self, buf: BufId) -> Result<BufRef, Error> {
        self.buffers.get_buf(buf)
    }

    /// Makes a dma-buf of memory of `len_bytes` (a multiple of pages) that another driver made,
    /// as an allocation of the DMA layer. Devices import it as they do exports of our own.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM), and what the DMA layer says. The allocation has then been freed.
    pub fn adopt(&self, alloc: O::Alloc, len_bytes: u64) -> Result<BufRef, Error> {
        self.buffers.adopt(alloc, len_bytes, Name::default())
    }

    /// Returns the description of a dma-buf.
    pub fn buf(&self, buf: BufId) -> Option<BufInfo> {
        self.buffers.buf(buf)
    }

    /// Describes `len` bytes from `offset` of a dma-buf for mapping into a program.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) past the end.
    pub fn mmap_buf(&self, buf: BufId, offset: u64, len: u64) -> Result<O::Mmap, Error> {
        self.buffers.mmap_buf(buf, offset, len)
    }

    /// `DMA_BUF_IOCTL_SYNC` with the flags as they came.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for unknown bits or no direction.
    pub fn sync_buf(&self, buf: BufId, flags: u64) -> Result<(), Error> {
        self.buffers.sync(buf, flags)
    }

    /// `DMA_BUF_SET_NAME`.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone.
    pub fn set_buf_name(&self, buf: BufId, name: Name) -> Result<(), Error> {
        self.buffers.set_name(buf, name)
    }

    /// Takes a memory back from all devices that imported it, and ends their fences with ENODEV; it
    /// is queued, mapped and exported no more. What its own device and programs have of it is the
    /// host's to take.
    ///
    /// # Errors
    /// `Io` (EIO) where an unmap failed: a device may still reach the memory.
    pub fn revoke(&self, memory: MemoryId) -> Result<(), PlaneError> {
        let revoked = self.buffers.revoke(memory);
        revoked.map_err(|e| PlaneError::Io(e.reason()))
    }

    /// Whether cache maintenance would have been due for a hint to leave out.
    fn count_skip(&self, dev: O::Device, skip: HintSkip) {
        if self.ops().coherency(dev) == Coherency::NonCoherent {
            self.buffers.observer().skipped(dev, skip);
        }
    }
}
