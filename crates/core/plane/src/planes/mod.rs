//! [`Planes`]: the plane memory of a process, with allocators, dma-bufs and imports.

mod copy;
mod imports;
mod mapping;
mod memops;
#[cfg(test)]
mod tests;
mod users;

use crate::{Allocator, PlaneError};
use alloc::boxed::Box;
use core::fmt;
use mapping::Attached;
use vb3_dma::{Attrs, Coherency, Direction, DmaAddr, DmaOps, Locks, NoLocks, SyncFor};
use vb3_dmabuf::{AttachRef, Buffers, Cx, Live, MemoryId, SlabKey};
use vb3_dmabuf::{Observer, Placer, Table, Vma};

/// A device, and the settings of its planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device<D> {
    /// The device.
    pub dma: D,
    /// Its allocator.
    pub allocator: Allocator,
    /// Attributes of its coherent allocations (`dma_attrs`).
    pub attrs: Attrs,
    /// Whether contiguous planes are placed at their first use, and move if another device needs another place.
    /// Needs [`Planes::set_placer`].
    pub lazy: bool,
}

impl<D> Device<D> {
    /// Makes a device with contiguous planes, no attributes and no lazy placement.
    pub const fn contig(dma: D) -> Self {
        Self::with_allocator(dma, Allocator::Contig)
    }

    /// Makes a device with scattered planes, no attributes and no lazy placement.
    pub const fn sg(dma: D) -> Self {
        Self::with_allocator(dma, Allocator::Sg)
    }

    /// Makes a device whose driver uses the CPU, with no attributes and no lazy placement.
    pub const fn vmalloc(dma: D) -> Self {
        Self::with_allocator(dma, Allocator::Vmalloc)
    }

    const fn with_allocator(dma: D, allocator: Allocator) -> Self {
        Self {
            dma,
            allocator,
            attrs: Attrs::empty(),
            lazy: false,
        }
    }
}

/// How a driver reaches a plane's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The first address of one run for the device.
    Dma(DmaAddr),
    /// Segments, as the argument of [`Planes::sg_segment`] and [`Planes::sg_find`].
    Sg(View),
    /// A CPU mapping, as the argument of [`Planes::cpu_read`] and [`Planes::cpu_write`].
    Cpu(View),
}

/// Identifies the segments or the CPU mapping of a plane. Valid while the plane is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View(Viewed);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Viewed {
    /// The CPU mapping of a memory.
    Memory(MemoryId),
    /// The segments of a device's mapping.
    Attached(Attached),
    /// A program's memory, mapped for a device or for the CPU.
    User(SlabKey),
}

/// A plane's memory.
#[must_use = "plane memory goes back through `put`"]
#[derive(Debug)]
pub struct Plane<D> {
    dev: Device<D>,
    direction: Direction,
    len_bytes: u64,
    kind: Kind,
    /// The number of the device's access in progress.
    access: Option<u64>,
}

#[derive(Debug)]
enum Kind {
    /// Allocated for the device.
    Allocated {
        memory: MemoryId,
        coherency: Coherency,
        /// The device's attachment (sg and lazily placed planes).
        own: Option<AttachRef>,
        /// The device's address of memory that never moves.
        addr: Option<DmaAddr>,
    },
    User(SlabKey),
    /// Imported for the device.
    Imported {
        import: AttachRef,
        /// The memory's first address for the device; `None` before it is mapped.
        mapped: Option<DmaAddr>,
        /// Number of hand-overs to the device that have not ended.
        handed: u32,
    },
    /// Memory for a driver that uses the CPU (vmalloc).
    Virtual {
        memory: MemoryId,
        /// Whether the memory was allocated for the plane, not imported.
        is_own: bool,
        mapped: bool,
        /// Whether the driver's access is in progress.
        open: bool,
    },
}

impl<D> Plane<D> {
    const fn new(dev: Device<D>, direction: Direction, len_bytes: u64, kind: Kind) -> Self {
        Self {
            dev,
            direction,
            len_bytes,
            kind,
            access: None,
        }
    }

    /// Returns the length that the queue requested, in bytes.
    #[must_use]
    pub const fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Returns the memory of an allocated plane; `None` for USERPTR and DMABUF.
    #[must_use]
    pub const fn memory(&self) -> Option<MemoryId> {
        match self.kind {
            Kind::Allocated { memory, .. }
            | Kind::Virtual {
                memory,
                is_own: true,
                ..
            } => Some(memory),
            _ => None,
        }
    }

    /// Returns the memory that the plane owns or imports; `None` for a program's memory.
    #[must_use]
    pub const fn used_memory(&self) -> Option<MemoryId> {
        match self.kind {
            Kind::Allocated { memory, .. } | Kind::Virtual { memory, .. } => Some(memory),
            Kind::Imported { ref import, .. } => Some(import.memory()),
            Kind::User(_) => None,
        }
    }
}

/// All plane memory of a process, over a DMA layer.
///
/// Implements [`MemOps`](crate::MemOps) for any number of queues, which share it by reference. `H`
/// observes events; `L` makes the locks ([lock order](crate#locks)).
pub struct Planes<O: DmaOps, H, L: Locks = NoLocks> {
    buffers: Buffers<O, H, L>,
    users: Table<users::Pinned<O>, L>,
}

impl<O: DmaOps, H, L: Locks> fmt::Debug for Planes<O, H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planes")
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

impl<O: DmaOps, H: Observer<O>> Planes<O, H> {
    /// Makes an object without planes and without locks, for one thread.
    pub fn new(ops: O, host: H) -> Self {
        Self::with_locks(ops, host)
    }
}

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Makes an object without planes, with the host's locks.
    pub fn with_locks(ops: O, host: H) -> Self {
        Self {
            buffers: Buffers::with_locks(ops, host),
            users: Table::new(Buffers::<O, H, L>::LIMIT),
        }
    }

    /// Sets the placer for devices with [`Device::lazy`]. Without one, their planes cannot be
    /// allocated.
    pub fn set_placer(&mut self, placer: Box<dyn Placer<O> + Send + Sync>) {
        self.buffers.set_placer(placer);
    }

    /// Returns the DMA layer.
    pub const fn ops(&self) -> &O {
        self.buffers.ops()
    }

    /// Returns the DMA layer, mutably.
    pub const fn ops_mut(&mut self) -> &mut O {
        self.buffers.ops_mut()
    }

    /// Returns the host's observer.
    pub const fn host(&self) -> &H {
        self.buffers.observer()
    }

    /// Returns the resources in use.
    pub fn live(&self) -> Live {
        let user_planes = u64::try_from(self.users.len()).unwrap_or(u64::MAX);
        Live {
            user_planes,
            ..self.buffers.live()
        }
    }

    /// Returns the registry of memories and dma-bufs.
    ///
    /// Through the registry, hosts list holders, set names and the time of records, and count references and mappings
    /// in programs. A mapping ends with [`vma_close`](Self::vma_close), and a reference with
    /// [`put_dmabuf`](crate::MemOps::put_dmabuf).
    pub const fn buffers(&self) -> &Buffers<O, H, L> {
        &self.buffers
    }

    fn cx(&self) -> Cx<'_, O, H> {
        self.buffers.cx()
    }

    /// Ends a program's mapping of a plane or of a dma-buf.
    pub fn vma_close(&self, vma: Vma) {
        self.buffers.vma_close(vma);
    }

    /// Revokes memory from all devices that imported it, and ends their fences with ENODEV. The memory
    /// can no longer be queued, mapped or exported. The host itself must revoke the access of the device
    /// that the memory was allocated for, and of programs.
    ///
    /// # Errors
    /// `Io` (EIO): an unmap failed, so a device may still reach the memory.
    pub fn revoke(&self, memory: MemoryId) -> Result<(), PlaneError> {
        let revoked = self.buffers.revoke(memory);
        revoked.map_err(|e| PlaneError::Io(e.reason()))
    }

    /// Reports a skipped sync, unless the device is coherent and needs none.
    fn report_skip(&self, dev: O::Device, sync: SyncFor) {
        if self.ops().coherency(dev) == Coherency::NonCoherent {
            self.host().skipped(dev, sync);
        }
    }
}
