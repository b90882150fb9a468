//! The registry of memories and dma-bufs for a host without a kernel below it.

mod fences;

use crate::fence::{Fences, Owner, Reservation};
use crate::file::sync_flags;
use crate::ids::{BufId, MemoryId};
use crate::shared::imports::Import;
use crate::{
    Attachment, Backing, Cx, Error, Observer, Placer, Shared, Slab, SlabKey, Spec, Table, UserKind,
};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use portable_atomic::AtomicU64;
use vb3_dma::{Direction, DmaOps, DmaSegment, Locks, NoLocks};

/// The registry's kind of shared memory.
type SharedMemory<O> = Shared<O, Slab<Attachment<O>>>;

/// A memory of the registry, and the accesses to it.
struct Registered<O: DmaOps> {
    memory: SharedMemory<O>,
    reservation: Reservation<Owner<O::Device>>,
}

/// One counted reference to a dma-buf, for example that of its file.
#[must_use = "a reference goes back through `put_buf`"]
#[derive(Debug, PartialEq, Eq)]
pub struct BufRef {
    id: BufId,
    memory: MemoryId,
}

impl BufRef {
    /// Returns the dma-buf's id.
    #[must_use]
    pub const fn id(&self) -> BufId {
        self.id
    }

    /// Returns the id of the dma-buf's memory.
    #[must_use]
    pub const fn memory(&self) -> MemoryId {
        self.memory
    }
}

/// One mapping of a memory or dma-buf into a program, which the registry counts.
///
/// A `Vma` cannot be copied, so a mapping cannot be ended twice.
///
/// ```compile_fail,E0382
/// use vb3_dmabuf::{Buffers, Vma, Observer};
/// fn twice<O: vb3_dma::DmaOps, W: Observer<O>>(buffers: &Buffers<O, W>, vma: Vma) {
///     buffers.vma_close(vma);
///     buffers.vma_close(vma);
/// }
/// ```
#[must_use = "a mapping ends through `vma_close`"]
#[derive(Debug, PartialEq, Eq)]
pub struct Vma {
    memory: MemoryId,
    /// The mapped dma-buf, which the mapping keeps alive; `None` if the memory itself was mapped.
    buf: Option<BufId>,
}

impl Vma {
    /// Returns the id of the mapped memory.
    #[must_use]
    pub const fn memory(&self) -> MemoryId {
        self.memory
    }
}

/// A device attached to a memory of the registry, or a plane's share of such an attachment (an import).
#[must_use = "an attachment goes back through `detach`"]
#[derive(Debug, PartialEq, Eq)]
pub struct AttachRef {
    memory: MemoryId,
    key: SlabKey,
}

impl AttachRef {
    /// Returns the id of the memory.
    #[must_use]
    pub const fn memory(&self) -> MemoryId {
        self.memory
    }

    /// Returns the attachment's key in the memory ([`Shared::attachments`]).
    #[must_use]
    pub const fn key(&self) -> SlabKey {
        self.key
    }
}

/// An import in the registry's list.
struct Imported<D> {
    dev: D,
    memory: MemoryId,
    key: SlabKey,
}

/// A dma-buf of the registry.
struct Buf {
    memory: MemoryId,
    /// Number of references, including mappings in programs.
    refs: u32,
}

/// Resources in use. All zero when everything is released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Memories.
    pub memories: u64,
    /// Sum of the memories' lengths in bytes.
    pub bytes: u64,
    /// dma-bufs.
    pub bufs: u64,
    /// References to dma-bufs, including mappings in programs.
    pub buf_refs: u64,
    /// Attached devices.
    pub attachments: u64,
    /// Attached devices that are mapped.
    pub mapped: u64,
    /// Mappings in programs.
    pub program_mappings: u64,
    /// Imports: one for each device and direction of a dma-buf.
    pub imports: u64,
    /// Pinned ranges of programs, which the crate `vb3-plane` counts.
    pub user_planes: u64,
}

impl Live {
    /// Returns whether everything is released.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The memories that have changed since the host's last query.
#[derive(Debug, Default)]
struct Changes {
    count: u64,
    memories: Vec<MemoryId>,
    /// Whether there were changes that are not in the list.
    more: bool,
}

impl Changes {
    /// Maximum number of memories in the list.
    const MAX_MEMORIES: usize = 64;

    /// Records a change of memory `id`, or, if `id` is `None`, a change outside the registry.
    fn note(&mut self, id: Option<MemoryId>) {
        self.count = self.count.wrapping_add(1);
        let list = &mut self.memories;
        match id {
            Some(id) if list.last() == Some(&id) => {}
            Some(id) if list.len() < Self::MAX_MEMORIES && list.try_reserve(1).is_ok() => {
                list.push(id);
            }
            _ => self.more = true,
        }
    }
}

/// The registry of memories and dma-bufs over a DMA layer.
///
/// A dma-buf keeps its memory alive; each export makes another dma-buf. The host keeps the map from a file's
/// identity to a [`BufId`], one [`BufRef`] for each open file, and one [`Vma`] for each mapping in a program.
///
/// Threads share the registry by reference: each memory has its own lock, made by `L`. No lock is held while memory
/// is allocated or freed; a list of fences may grow under a lock. See [lock order](crate#locks).
pub struct Buffers<O: DmaOps, W, L: Locks = NoLocks> {
    ops: O,
    observer: W,
    /// The time that the host set, in nanoseconds of its clock.
    now_ns: AtomicU64,
    memories: Table<Registered<O>, L>,
    bufs: Table<Buf, L>,
    imports: Table<Imported<O::Device>, L>,
    fences: L::Lock<Fences<Owner<O::Device>>>,
    /// Number of imported fences of all memories, including ended ones.
    imported_fences: AtomicUsize,
    /// Number of accesses that devices have begun, and number of those that ended without a fence.
    accesses: (AtomicU64, AtomicU64),
    changes: L::Lock<Changes>,
    placer: Option<Box<dyn Placer<O> + Send + Sync>>,
}

impl<O: DmaOps, W: Observer<O>> Buffers<O, W> {
    /// Makes an empty registry without locks, for one thread.
    pub fn new(ops: O, observer: W) -> Self {
        Self::with_locks(ops, observer)
    }
}

impl<O: DmaOps, W: Observer<O>, L: Locks> Buffers<O, W, L> {
    /// Maximum number of memories, and of dma-bufs.
    pub const LIMIT: u32 = 1 << 20;
    /// Maximum number of attachments of one memory.
    pub const ATTACHMENT_LIMIT: u32 = 1 << 16;

    /// Makes an empty registry with locks of type `L`.
    pub fn with_locks(ops: O, observer: W) -> Self {
        Self {
            ops,
            observer,
            now_ns: AtomicU64::new(0),
            memories: Table::new(Self::LIMIT),
            bufs: Table::new(Self::LIMIT),
            imports: Table::new(Self::LIMIT),
            fences: L::new_lock(Fences::new()),
            imported_fences: AtomicUsize::new(0),
            accesses: (AtomicU64::new(0), AtomicU64::new(0)),
            changes: L::new_lock(Changes::default()),
            placer: None,
        }
    }

    /// Sets the placer of memory of a [lazy](crate::Backing::Lazy) backing. Without one, such memory
    /// cannot be allocated.
    pub fn set_placer(&mut self, placer: Box<dyn Placer<O> + Send + Sync>) {
        self.placer = Some(placer);
    }

    /// Returns the DMA layer.
    pub const fn ops(&self) -> &O {
        &self.ops
    }

    /// Returns the DMA layer, mutably.
    pub const fn ops_mut(&mut self) -> &mut O {
        &mut self.ops
    }

    /// Returns the host's observer.
    pub const fn observer(&self) -> &W {
        &self.observer
    }

    /// Returns the context for calls on memory that the host keeps outside the registry.
    pub fn cx(&self) -> Cx<'_, O, W> {
        Cx {
            ops: &self.ops,
            observer: &self.observer,
            now_ns: self.now_ns.load(Relaxed),
        }
    }

    /// Sets the time, in nanoseconds of the host's clock, for the records of later events.
    pub fn set_now(&self, now_ns: u64) {
        self.now_ns.store(now_ns, Relaxed);
    }

    /// Calls `act` with a memory, which is locked meanwhile. `act` must not access the same memory through
    /// the registry.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a memory that does not exist, and the errors of `act`.
    pub fn with_memory<R>(
        &self,
        id: MemoryId,
        act: impl FnOnce(&mut SharedMemory<O>, &Cx<'_, O, W>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let cx = self.cx();
        let done = self.locked(id, |memory| act(memory, &cx));
        done.unwrap_or(Err(Error::Invalid))
    }

    /// Calls `look` with a memory, which is locked meanwhile; `None` if the memory does not exist.
    pub fn inspect<R>(&self, id: MemoryId, look: impl FnOnce(&SharedMemory<O>) -> R) -> Option<R> {
        self.locked(id, |memory| look(memory))
    }

    fn locked<R>(&self, id: MemoryId, act: impl FnOnce(&mut SharedMemory<O>) -> R) -> Option<R> {
        self.memories.with(id.0, |entry| act(&mut entry.memory))
    }

    /// Returns the ids of all memories.
    pub fn memories(&self) -> impl Iterator<Item = MemoryId> + '_ {
        self.memories.keys().map(MemoryId)
    }

    /// Returns the number of memories.
    #[must_use]
    pub fn memory_count(&self) -> usize {
        self.memories.len()
    }

    /// Returns how often a memory, a handle or an attachment was added or removed. A caller that lists a
    /// memory's users lists them again when this number has changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        L::with(&self.changes, |changes| changes.count)
    }

    /// Returns the ids of memories that changed since the last call; an id may repeat. Changes of a memory
    /// are its creation, its removal, and changes of its handles or attachments. `None` after more than 64
    /// changes or a change outside the registry; any memory may have changed then.
    pub fn take_changed(&self) -> Option<Vec<MemoryId>> {
        L::with(&self.changes, |changes| {
            let memories = core::mem::take(&mut changes.memories);
            (!core::mem::take(&mut changes.more)).then_some(memories)
        })
    }

    /// Records that memory outside the registry, such as a program's, has gained or lost a user.
    pub fn note_change_elsewhere(&self) {
        L::with(&self.changes, |changes| changes.note(None));
    }

    /// Records a change that has already been made, so that a caller that sees the record also sees the change.
    fn note_change(&self, id: MemoryId) {
        L::with(&self.changes, |changes| changes.note(Some(id)));
    }

    /// Allocates a memory with one user: a queue's plane.
    ///
    /// # Errors
    /// As [`Shared::allocate`]; `TableFull` (ENOMEM).
    pub fn allocate(&self, spec: Spec<O::Device>) -> Result<MemoryId, Error> {
        let list = Slab::new(Self::ATTACHMENT_LIMIT);
        let cx = self.cx();
        let mut memory = match (spec.backing, &self.placer) {
            (Backing::Lazy { .. }, Some(placer)) => {
                Shared::allocate_lazy(&cx, spec, list, placer.as_ref())?
            }
            _ => Shared::allocate(&cx, spec, list)?,
        };
        match memory.add_user(UserKind::Plane) {
            Ok(()) => self.insert(memory),
            Err(e) => {
                memory.release(&cx);
                Err(e)
            }
        }
    }

    /// Puts a memory into the table; releases it if the table is full.
    fn insert(&self, memory: SharedMemory<O>) -> Result<MemoryId, Error> {
        let entry = Registered {
            memory,
            reservation: Reservation::EMPTY,
        };
        match self.memories.insert(entry).map_err(|entry| entry.memory) {
            Ok(key) => {
                let id = MemoryId(key);
                self.locked(id, |memory| memory.set_tag(id.get()));
                self.note_change(id);
                Ok(id)
            }
            Err(memory) => {
                memory.release(&self.cx());
                Err(Error::table_full(self.memories.len()))
            }
        }
    }

    /// Places lazily placed memory where all attached devices can use it.
    ///
    /// # Errors
    /// As [`Shared::place`]; `Invalid` without a placer.
    pub fn place(&self, id: MemoryId) -> Result<u64, Error> {
        let placer = self.placer.as_ref().ok_or(Error::Invalid)?;
        self.with_memory(id, |memory, cx| memory.place(cx, placer.as_ref()))
    }

    /// Makes a dma-buf from another driver's memory, which is `len_bytes` long (whole pages). `memory` is the
    /// DMA layer's allocation of that memory. The memory lives as long as the dma-buf.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM), and the DMA layer's error if it cannot describe the memory to devices. An error
    /// frees the allocation.
    pub fn adopt(&self, memory: O::Memory, len_bytes: u64) -> Result<BufRef, Error> {
        let list = Slab::new(Self::ATTACHMENT_LIMIT);
        let id = self.insert(Shared::adopt(memory, len_bytes, list))?;
        let exported = self.export(id);
        if exported.is_err() {
            // If the export failed before it counted a user, the memory has no user whose end would free it.
            self.release(self.memories.remove(id.0));
        }
        exported
    }

    /// Frees memory that was taken out of the table.
    fn release(&self, entry: Option<Registered<O>>) {
        if let Some(mut entry) = entry {
            self.end_fences(&mut entry.reservation);
            entry.memory.release(&self.cx());
        }
    }

    /// Attaches a device to a memory. [`map`](Self::map) then maps the memory for the device.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a memory that does not exist; as [`Shared::attach`].
    pub fn attach(&self, memory: MemoryId, dev: O::Device) -> Result<AttachRef, Error> {
        let key = self.with_memory(memory, |memory, cx| memory.attach(cx, dev))?;
        self.note_change(memory);
        Ok(AttachRef { memory, key })
    }

    /// Attaches a device that follows moves of the memory.
    ///
    /// # Errors
    /// As [`attach`](Self::attach), and as [`Shared::attach_dynamic`].
    pub fn attach_dynamic(&self, memory: MemoryId, dev: O::Device) -> Result<AttachRef, Error> {
        let key = self.with_memory(memory, |memory, cx| memory.attach_dynamic(cx, dev))?;
        self.note_change(memory);
        Ok(AttachRef { memory, key })
    }

    /// Maps an attached device's memory, with the necessary cache maintenance and copies. Returns the segments that the
    /// device sees. Each map needs its own [`unmap`](Self::unmap).
    ///
    /// # Errors
    /// As [`Shared::map`]; `NoMemory` (ENOMEM) for the list. Nothing is mapped after an error.
    pub fn map(&self, at: &AttachRef, direction: Direction) -> Result<Vec<DmaSegment>, Error> {
        self.with_memory(at.memory, |memory, cx| {
            memory.map(cx, at.key, direction)?;
            let mut segments = Vec::new();
            let next = |index| memory.segment(cx.ops, at.key, index);
            let listed = (0..).map_while(next).try_for_each(|segment| {
                let room = segments.try_reserve(1);
                room.map_err(|_| Error::table_full(segments.len()))?;
                segments.push(segment);
                Ok(())
            });
            listed
                .inspect_err(|_| memory.unmap(cx, at.key))
                .map(|()| segments)
        })
    }

    /// Undoes one [`map`](Self::map); the last call removes the mapping.
    pub fn unmap(&self, at: &AttachRef) {
        let unmapped = self.with_memory(at.memory, |memory, cx| {
            memory.unmap(cx, at.key);
            Ok(())
        });
        // Fails only for memory that is gone, and its mappings with it.
        let _ = unmapped;
    }

    /// Gives up the handle that [`allocate`](Self::allocate) returned. The memory lives until its mappings in programs
    /// and its exports have ended, too.
    pub fn free(&self, memory: MemoryId) {
        self.drop_user(memory, UserKind::Plane);
    }

    /// Detaches a device, and removes its mapping if there still is one. For an import, ends one plane's use of it.
    pub fn detach(&self, attachment: AttachRef) {
        let AttachRef { memory: id, key } = attachment;
        let cx = self.cx();
        let ended = self.locked(id, |memory| {
            if memory.is_import(key) {
                return memory.put_import(&cx, key).map(Some);
            }
            memory.detach(&cx, key);
            Some(None)
        });
        if let Some(entry) = ended.flatten() {
            entry.map(|entry| self.imports.remove(entry));
            self.note_change(id);
        }
    }

    /// Attaches a device to a dma-buf for a plane, or joins the import of another plane of this device and direction.
    /// The caller maps the attachment. After the last plane, the import is idle: it stays attached and mapped,
    /// because the same dma-buf may return in another plane. It ends with the dma-buf, or by
    /// [`end_idle_imports`](Self::end_idle_imports).
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn get_import(
        &self,
        buf: &BufRef,
        dev: O::Device,
        direction: Direction,
    ) -> Result<AttachRef, Error> {
        let (memory, buf) = (buf.memory, buf.id);
        let join = |memory: &mut SharedMemory<O>| memory.join_import(dev, direction, buf);
        if let Some(key) = self.with_memory(memory, |memory, _| join(memory))? {
            return Ok(AttachRef { memory, key });
        }
        // Two threads may both find no import and both make one. That only costs an attachment.
        let attachment = self.attach_dynamic(memory, dev)?;
        let key = attachment.key;
        let Ok(entry) = self.imports.insert(Imported { dev, memory, key }) else {
            self.detach(attachment);
            return Err(Error::table_full(self.imports.len()));
        };
        let import = Import {
            direction,
            buf,
            planes: 1,
            is_gone: false,
            entry,
        };
        self.with_memory(memory, |memory, _| {
            memory.set_import(key, import);
            Ok(())
        })?;
        Ok(AttachRef { memory, key })
    }

    /// Ends the idle imports of a device, and returns their number. Hosts call this when the device's driver has freed
    /// its buffers, or when the device runs out of I/O addresses.
    pub fn end_idle_imports(&self, dev: O::Device) -> usize {
        let cx = self.cx();
        let end = |entry| {
            let of_dev = |import: &mut Imported<_>| {
                (import.dev == dev).then_some((import.memory, import.key))
            };
            let (id, key) = self.imports.with(entry, of_dev)??;
            let ended = self.locked(id, |memory| memory.end_idle(&cx, key));
            self.forget_import(id, ended?);
            ended?
        };
        self.imports.keys().filter_map(end).count()
    }

    /// Removes an import that has ended from the list.
    fn forget_import(&self, memory: MemoryId, entry: Option<SlabKey>) {
        if let Some(entry) = entry {
            self.imports.remove(entry);
            self.note_change(memory);
        }
    }

    /// Drops one user of a memory. Dropping the last user frees the memory.
    pub fn drop_user(&self, id: MemoryId, kind: UserKind) {
        let cx = self.cx();
        let last = |entry: &mut Registered<O>| entry.memory.drop_user(&cx, kind);
        self.release(self.memories.remove_if(id.0, last));
        self.note_change(id);
    }

    /// Counts a mapping of a memory that a program made with the queue's mmap offset.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a memory that is gone.
    pub fn vma_open(&self, memory: MemoryId) -> Result<Vma, Error> {
        self.with_memory(memory, |memory, _| memory.add_user(UserKind::Mapping))?;
        self.note_change(memory);
        Ok(Vma { memory, buf: None })
    }

    /// Ends a mapping. A mapping of a dma-buf has a reference to it, which this call drops. Returns true if
    /// that was the dma-buf's last reference, so that the dma-buf no longer exists.
    pub fn vma_close(&self, vma: Vma) -> bool {
        let Vma { memory, buf } = vma;
        self.drop_user(memory, UserKind::Mapping);
        buf.is_some_and(|id| self.put_buf(BufRef { id, memory }))
    }

    /// Counts a program's mapping of a dma-buf. The mapping keeps the dma-buf alive.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone.
    pub fn vma_open_buf(&self, id: BufId) -> Result<Vma, Error> {
        let reference = self.get_buf(id)?;
        let opened = self.vma_open(reference.memory);
        if opened.is_err() {
            self.put_buf(reference);
        }
        let buf = Some(id);
        opened.map(|vma| Vma { buf, ..vma })
    }

    /// Exports a memory as a new dma-buf. The host keeps the access mode of the dma-buf's file, and its name.
    ///
    /// # Errors
    /// `Invalid` for a memory that does not exist, `Revoked`, `Quarantined`, `TableFull` (ENOMEM), and the
    /// DMA layer's error if it cannot describe the memory to devices.
    pub fn export(&self, memory: MemoryId) -> Result<BufRef, Error> {
        self.with_memory(memory, |memory, cx| {
            memory.prepare_export(cx)?;
            memory.add_user(UserKind::Export)
        })?;
        self.note_change(memory);
        let inserted = self.bufs.insert(Buf { memory, refs: 1 });
        let Ok(id) = inserted.map(BufId) else {
            self.drop_user(memory, UserKind::Export);
            return Err(Error::table_full(self.bufs.len()));
        };
        Ok(BufRef { id, memory })
    }

    /// Takes a reference to a dma-buf (`dma_buf_get`).
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone, `TableFull` (ENOMEM) when the count is at its maximum.
    pub fn get_buf(&self, id: BufId) -> Result<BufRef, Error> {
        let counted = self.bufs.with(id.0, |buf| {
            let full = Error::table_full(buf.refs);
            buf.refs = buf.refs.checked_add(1).ok_or(full)?;
            Ok(buf.memory)
        });
        let memory = counted.unwrap_or(Err(Error::Invalid))?;
        Ok(BufRef { id, memory })
    }

    /// Drops a reference; true if it was the last one and the dma-buf no longer exists.
    pub fn put_buf(&self, reference: BufRef) -> bool {
        let BufRef { id, memory } = reference;
        let gone = self.bufs.remove_if(id.0, |buf| {
            buf.refs = buf.refs.saturating_sub(1);
            buf.refs == 0
        });
        if gone.is_some() {
            let cx = self.cx();
            let end = |shared: &mut SharedMemory<O>| shared.end_import_of(&cx, id);
            while let Some(entry) = self.locked(memory, end).flatten() {
                self.forget_import(memory, Some(entry));
            }
            self.drop_user(memory, UserKind::Export);
        }
        gone.is_some()
    }

    /// Returns the memory of a dma-buf.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone.
    pub fn memory_of(&self, id: BufId) -> Result<MemoryId, Error> {
        self.bufs.with(id.0, |buf| buf.memory).ok_or(Error::Invalid)
    }

    /// Returns the number of references to a dma-buf, including mappings in programs; 0 if it is gone.
    #[must_use]
    pub fn references(&self, id: BufId) -> u32 {
        self.bufs.with(id.0, |buf| buf.refs).unwrap_or(0)
    }

    /// Describes `len_bytes` from `offset` of a dma-buf for mapping into a program.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) past the end or for a dma-buf that is gone.
    pub fn mmap_buf(&self, id: BufId, offset: u64, len_bytes: u64) -> Result<O::Mmap, Error> {
        let memory = self.memory_of(id)?;
        self.with_memory(memory, |memory, cx| memory.mmap(cx.ops, offset, len_bytes))
    }

    /// Handles `DMA_BUF_IOCTL_SYNC` with a program's flags, which are checked here.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for unknown bits, no direction, or a dma-buf that is gone; `Dma` as
    /// [`Shared::begin_cpu_access`] and [`Shared::end_cpu_access`].
    pub fn sync(&self, id: BufId, flags: u64) -> Result<(), Error> {
        let (direction, end) = sync_flags(flags)?;
        let memory = self.memory_of(id)?;
        self.with_memory(memory, |memory, cx| {
            if end {
                memory.end_cpu_access(cx, direction)
            } else {
                memory.begin_cpu_access(cx, direction)
            }
        })
    }

    /// Takes a memory back from all attached devices. The fences of devices that use it end with ENODEV,
    /// because later accesses fail. Does nothing for a memory that no longer exists.
    ///
    /// # Errors
    /// As [`Shared::revoke`].
    pub fn revoke(&self, id: MemoryId) -> Result<(), Error> {
        let cx = self.cx();
        let revoked = self.memories.with(id.0, |entry| {
            let revoked = entry.memory.revoke(&cx);
            let outcome = Err(Error::Revoked.errno());
            for access in entry.reservation.end_all() {
                self.count_ended(access, outcome);
            }
            revoked
        });
        self.note_change(id);
        revoked.unwrap_or(Ok(()))
    }

    /// Returns the resources in use.
    #[must_use]
    pub fn live(&self) -> Live {
        let mut live = Live {
            memories: u64::try_from(self.memories.len()).unwrap_or(u64::MAX),
            bufs: u64::try_from(self.bufs.len()).unwrap_or(u64::MAX),
            imports: u64::try_from(self.imports.len()).unwrap_or(u64::MAX),
            ..Live::default()
        };
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        for key in self.bufs.keys() {
            let refs = self.bufs.with(key, |buf| u64::from(buf.refs));
            add(&mut live.buf_refs, refs.unwrap_or(0));
        }
        for key in self.memories.keys() {
            self.locked(MemoryId(key), |memory| {
                let mappings = memory.users(UserKind::Mapping);
                add(&mut live.bytes, memory.len_bytes());
                add(&mut live.program_mappings, mappings.into());
                for attachment in memory.attached() {
                    add(&mut live.attachments, 1);
                    add(&mut live.mapped, attachment.direction().is_some().into());
                }
            });
        }
        live
    }
}
