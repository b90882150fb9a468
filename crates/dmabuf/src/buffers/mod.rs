//! The registry of memories and dma-bufs of a home without a kernel below it.

mod importer;

use crate::fence::{Fences, Outcome, Owner};
use crate::file::{Access, Name, SyncFlags};
use crate::ids::{BufId, MemoryId};
use crate::{
    Attachment, Backing, Cx, Error, Observer, Placer, Shared, Slab, SlabKey, Spec, Store, UserKind,
};
use alloc::boxed::Box;
use alloc::vec::Vec;
use vb3_dma::DmaOps;

/// The registry's kind of shared memory.
pub type Memory<O> = Shared<O, Slab<Attachment<O>>>;

/// One counted reference to a dma-buf, for example that of its file.
#[must_use = "a reference goes back through `put_buf`"]
#[derive(Debug, PartialEq, Eq)]
pub struct BufRef {
    id: BufId,
    memory: MemoryId,
}

impl BufRef {
    /// Which dma-buf.
    #[must_use]
    pub const fn id(&self) -> BufId {
        self.id
    }

    /// Which memory it shows.
    #[must_use]
    pub const fn memory(&self) -> MemoryId {
        self.memory
    }
}

/// One mapping in a program, of a memory or of a dma-buf, as the registry counts it.
///
/// It is no number that can be copied: a mapping ends once.
///
/// ```compile_fail,E0382
/// use vb3_dmabuf::{Buffers, Vma, Observer};
/// fn twice<O: vb3_dma::DmaOps, W: Observer<O>>(buffers: &mut Buffers<O, W>, vma: Vma) {
///     buffers.vma_close(vma);
///     buffers.vma_close(vma);
/// }
/// ```
#[must_use = "a mapping ends through `vma_close`"]
#[derive(Debug, PartialEq, Eq)]
pub struct Vma {
    memory: MemoryId,
    /// The dma-buf that was mapped, which the mapping keeps.
    buf: Option<BufId>,
}

impl Vma {
    /// Which memory is mapped.
    #[must_use]
    pub const fn memory(&self) -> MemoryId {
        self.memory
    }
}

/// A device attached to a dma-buf of the registry.
#[must_use = "an attachment goes back through `detach`"]
#[derive(Debug, PartialEq, Eq)]
pub struct AttachRef {
    memory: MemoryId,
    key: SlabKey,
}

/// What there is to know of a dma-buf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufInfo {
    /// The memory it shows.
    pub memory: MemoryId,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Access mode of its file.
    pub access: Access,
    /// Its name.
    pub name: Name,
    /// References, and mappings in programs.
    pub refs: u32,
    /// When it was exported, host's clock.
    pub since_ns: u64,
}

#[derive(Debug)]
struct Buf {
    memory: MemoryId,
    access: Access,
    name: Name,
    refs: u32,
    since_ns: u64,
}

/// What is held at the moment. All zero when everything has been given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Memories.
    pub memories: u64,
    /// Their bytes.
    pub bytes: u64,
    /// dma-bufs.
    pub bufs: u64,
    /// References to them, with mappings in programs.
    pub buf_refs: u64,
    /// Attached devices.
    pub attachments: u64,
    /// Attached devices that are mapped.
    pub mapped: u64,
    /// Mappings in programs.
    pub program_mappings: u64,
}

/// The memories that have changed since a host asked last.
#[derive(Debug)]
struct Changes {
    count: u64,
    memories: Vec<MemoryId>,
    /// There were more than are noted.
    more: bool,
}

impl Changes {
    /// Most that are noted.
    const MOST: usize = 64;

    const fn new() -> Self {
        Self {
            count: 0,
            memories: Vec::new(),
            more: false,
        }
    }

    fn note(&mut self, id: MemoryId) {
        self.count = self.count.wrapping_add(1);
        if self.memories.last() == Some(&id) {
            return;
        }
        if self.memories.len() < Self::MOST && self.memories.try_reserve(1).is_ok() {
            self.memories.push(id);
        } else {
            self.more = true;
        }
    }

    fn take(&mut self) -> Option<Vec<MemoryId>> {
        let memories = core::mem::take(&mut self.memories);
        (!core::mem::take(&mut self.more)).then_some(memories)
    }
}

/// Memories and dma-bufs by number, over a DMA layer.
///
/// A dma-buf keeps its memory alive; each export makes a dma-buf of its own. The host keeps the
/// map from a file's identity to a [`BufId`], one [`BufRef`] for each open file, and opens
/// and closes a [`Vma`] for each mapping in a program.
pub struct Buffers<O: DmaOps, W> {
    ops: O,
    observer: W,
    now_ns: u64,
    memories: Slab<Memory<O>>,
    bufs: Slab<Buf>,
    fences: Fences<Owner<O::Device>>,
    attachment_limit: u32,
    changes: Changes,
    placer: Option<Box<dyn Placer<O> + Send>>,
}

impl<O: DmaOps, W: Observer<O>> Buffers<O, W> {
    /// Most memories and most dma-bufs.
    pub const LIMIT: u32 = 1 << 20;
    /// Most attachments of one memory.
    pub const ATTACHMENT_LIMIT: u32 = 1 << 16;

    /// An empty registry.
    pub const fn new(ops: O, observer: W) -> Self {
        Self {
            ops,
            observer,
            now_ns: 0,
            memories: Slab::new(Self::LIMIT),
            bufs: Slab::new(Self::LIMIT),
            fences: Fences::new(),
            attachment_limit: Self::ATTACHMENT_LIMIT,
            changes: Changes::new(),
            placer: None,
        }
    }

    /// Sets who places memory of a [lazy](crate::Backing::Lazy) backing. Without, there is none.
    pub fn set_placer(&mut self, placer: Box<dyn Placer<O> + Send>) {
        self.placer = Some(placer);
    }

    /// The DMA layer.
    pub const fn ops(&self) -> &O {
        &self.ops
    }

    /// The DMA layer.
    pub const fn ops_mut(&mut self) -> &mut O {
        &mut self.ops
    }

    /// The host's observer.
    pub const fn observer(&self) -> &W {
        &self.observer
    }

    /// What calls on objects of the host's own need.
    pub const fn cx(&self) -> Cx<'_, O, W> {
        Cx {
            ops: &self.ops,
            observer: &self.observer,
            now_ns: self.now_ns,
        }
    }

    /// Sets the clock for what is recorded from now on.
    pub const fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// The fences of all memories.
    #[must_use]
    pub const fn fences(&self) -> &Fences<Owner<O::Device>> {
        &self.fences
    }

    /// The fences of all memories, and the time.
    pub const fn fences_mut(&mut self) -> (&mut Fences<Owner<O::Device>>, u64) {
        (&mut self.fences, self.now_ns)
    }

    /// Runs `with` on a memory.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a memory that is gone, and what `with` says.
    pub fn with_memory<R>(
        &mut self,
        id: MemoryId,
        with: impl FnOnce(&mut Memory<O>, &Cx<'_, O, W>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let memory = self.memories.get_mut(id.0).ok_or(Error::Invalid)?;
        let cx = Cx {
            ops: &self.ops,
            observer: &self.observer,
            now_ns: self.now_ns,
        };
        with(memory, &cx)
    }

    /// A memory.
    #[must_use]
    pub fn memory(&self, id: MemoryId) -> Option<&Memory<O>> {
        self.memories.get(id.0)
    }

    /// All memories.
    pub fn memories(&self) -> impl Iterator<Item = (MemoryId, &Memory<O>)> {
        self.memories.iter().map(|(key, m)| (MemoryId(key), m))
    }

    /// How many memories there are.
    #[must_use]
    pub fn memory_count(&self) -> usize {
        self.memories.len()
    }

    /// How often a memory, a handle or an attachment has come or gone: who follows holders looks
    /// again when the number has changed.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes.count
    }

    /// The memories that came or went since the last call, or of which a handle or an attachment did,
    /// each at least once; `None` where they were more than 64, so that any may have changed.
    pub fn take_changed(&mut self) -> Option<Vec<MemoryId>> {
        self.changes.take()
    }

    /// Allocates a memory with one user: a queue's plane.
    ///
    /// # Errors
    /// As [`Shared::allocate`]; `TableFull` (ENOMEM).
    pub fn allocate(&mut self, spec: Spec<O::Device>) -> Result<MemoryId, Error> {
        let list = Slab::new(self.attachment_limit);
        let cx = Cx {
            ops: &self.ops,
            observer: &self.observer,
            now_ns: self.now_ns,
        };
        let mut memory = match (spec.backing, &mut self.placer) {
            (Backing::Lazy { .. }, Some(placer)) => {
                Shared::allocate_lazy(&cx, spec, list, placer.as_mut())?
            }
            _ => Shared::allocate(&cx, spec, list)?,
        };
        let counted = memory.add_user(UserKind::Plane, self.now_ns);
        let key = match counted {
            Ok(()) => self.memories.insert(memory),
            Err(_) => Err(memory),
        };
        match key {
            Ok(key) => {
                self.changes.note(MemoryId(key));
                if let Some(memory) = self.memories.get_mut(key) {
                    memory.set_tag(key.get());
                }
                Ok(MemoryId(key))
            }
            Err(memory) => {
                self.release(memory);
                Err(Error::TableFull {
                    entries: u64::try_from(self.memories.len()).unwrap_or(u64::MAX),
                })
            }
        }
    }

    /// Places lazily placed memory where all attached devices can use it.
    ///
    /// # Errors
    /// As [`Shared::place`]; `Invalid` without a placer.
    pub fn place(&mut self, id: MemoryId) -> Result<u64, Error> {
        let placer = self.placer.as_mut().ok_or(Error::Invalid)?;
        let memory = self.memories.get_mut(id.0).ok_or(Error::Invalid)?;
        let cx = Cx {
            ops: &self.ops,
            observer: &self.observer,
            now_ns: self.now_ns,
        };
        memory.place(&cx, placer.as_mut())
    }

    /// Makes a dma-buf of memory of `len_bytes` (a multiple of pages) that another driver made,
    /// as an allocation of the DMA layer. It lives as long as the dma-buf.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM), and what the DMA layer says when the memory cannot be shown to
    /// devices. The allocation has then been freed.
    pub fn adopt(&mut self, alloc: O::Alloc, len_bytes: u64, name: Name) -> Result<BufRef, Error> {
        let memory = Shared::adopt(alloc, len_bytes, Slab::new(self.attachment_limit));
        let key = match self.memories.insert(memory) {
            Ok(key) => key,
            Err(memory) => {
                self.release(memory);
                return Err(Error::TableFull {
                    entries: u64::try_from(self.memories.len()).unwrap_or(u64::MAX),
                });
            }
        };
        if let Some(memory) = self.memories.get_mut(key) {
            memory.set_tag(key.get());
        }
        let exported = self.export(MemoryId(key), Access::ReadWrite, name);
        if exported.is_err() {
            // Where its first user could not be counted, nobody frees it.
            if let Some(memory) = self.memories.remove(key) {
                self.release(memory);
            }
        }
        exported
    }

    fn release(&mut self, memory: Memory<O>) {
        self.fences
            .forget_memory(MemoryId(SlabKey::from_raw(memory.tag)));
        memory.release(&self.cx());
    }

    /// Drops one user of a memory; the last frees it.
    pub fn drop_user(&mut self, id: MemoryId, kind: UserKind) {
        self.changes.note(id);
        let last = self.with_memory(id, |memory, cx| Ok(memory.drop_user(cx, kind)));
        if last == Ok(true) {
            if let Some(memory) = self.memories.remove(id.0) {
                self.release(memory);
            }
        }
    }

    /// Counts a program's mapping of a memory by its queue's cookie.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a memory that is gone.
    pub fn vma_open(&mut self, id: MemoryId) -> Result<Vma, Error> {
        self.changes.note(id);
        self.with_memory(id, |memory, cx| {
            memory.add_user(UserKind::Mapping, cx.now_ns)
        })?;
        Ok(Vma {
            memory: id,
            buf: None,
        })
    }

    /// Ends a mapping. That of a dma-buf drops its reference; true when that was the last one
    /// and the dma-buf is gone.
    pub fn vma_close(&mut self, vma: Vma) -> bool {
        let Vma { memory, buf } = vma;
        self.drop_user(memory, UserKind::Mapping);
        buf.is_some_and(|id| self.put_buf(BufRef { id, memory }))
    }

    /// Counts a program's mapping of a dma-buf, which keeps the dma-buf.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone.
    pub fn vma_open_buf(&mut self, id: BufId) -> Result<Vma, Error> {
        let reference = self.get_buf(id)?;
        match self.vma_open(reference.memory) {
            Ok(vma) => Ok(Vma {
                buf: Some(id),
                ..vma
            }),
            Err(e) => {
                self.put_buf(reference);
                Err(e)
            }
        }
    }

    /// Exports a memory as a new dma-buf.
    ///
    /// # Errors
    /// `Invalid` for a memory that is gone, `Revoked`, `Quarantined`, `TableFull` (ENOMEM), what
    /// the DMA layer says when the memory cannot be shown to other devices.
    pub fn export(
        &mut self,
        memory: MemoryId,
        access: Access,
        name: Name,
    ) -> Result<BufRef, Error> {
        self.changes.note(memory);
        self.with_memory(memory, |memory, cx| {
            memory.prepare_export(cx)?;
            memory.add_user(UserKind::Export, cx.now_ns)
        })?;
        let inserted = self.bufs.insert(Buf {
            memory,
            access,
            name,
            refs: 1,
            since_ns: self.now_ns,
        });
        match inserted {
            Ok(key) => Ok(BufRef {
                id: BufId(key),
                memory,
            }),
            Err(_refused) => {
                self.drop_user(memory, UserKind::Export);
                Err(Error::TableFull {
                    entries: u64::try_from(self.bufs.len()).unwrap_or(u64::MAX),
                })
            }
        }
    }

    /// Takes a reference to a dma-buf (`dma_buf_get`).
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone, `TableFull` (ENOMEM) when the count is at its
    /// end.
    pub fn get_buf(&mut self, id: BufId) -> Result<BufRef, Error> {
        let buf = self.bufs.get_mut(id.0).ok_or(Error::Invalid)?;
        let Some(refs) = buf.refs.checked_add(1) else {
            return Err(Error::TableFull {
                entries: u64::from(buf.refs),
            });
        };
        buf.refs = refs;
        Ok(BufRef {
            id,
            memory: buf.memory,
        })
    }

    /// Drops a reference; true when it was the last and the dma-buf is gone.
    pub fn put_buf(&mut self, reference: BufRef) -> bool {
        let BufRef { id, memory } = reference;
        let Some(buf) = self.bufs.get_mut(id.0) else {
            return false;
        };
        buf.refs = buf.refs.saturating_sub(1);
        if buf.refs > 0 {
            return false;
        }
        self.bufs.remove(id.0);
        self.drop_user(memory, UserKind::Export);
        true
    }

    /// What there is to know of a dma-buf.
    #[must_use]
    pub fn buf(&self, id: BufId) -> Option<BufInfo> {
        let buf = self.bufs.get(id.0)?;
        Some(BufInfo {
            memory: buf.memory,
            len_bytes: self.memory(buf.memory)?.len_bytes(),
            access: buf.access,
            name: buf.name,
            refs: buf.refs,
            since_ns: buf.since_ns,
        })
    }

    /// Describes `len_bytes` from `offset` of a dma-buf for mapping into a program.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) past the end or for a dma-buf that is gone.
    pub fn mmap_buf(&mut self, id: BufId, offset: u64, len_bytes: u64) -> Result<O::Mmap, Error> {
        let memory = self.bufs.get(id.0).ok_or(Error::Invalid)?.memory;
        self.with_memory(memory, |memory, cx| memory.mmap(cx.ops, offset, len_bytes))
    }

    /// `DMA_BUF_IOCTL_SYNC` with the flags as they came.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for unknown bits, no direction, or a dma-buf that is gone.
    pub fn sync(&mut self, id: BufId, flags: u64) -> Result<(), Error> {
        let (direction, end) = SyncFlags::decode(flags)?;
        let memory = self.bufs.get(id.0).ok_or(Error::Invalid)?.memory;
        self.with_memory(memory, |memory, cx| {
            if end {
                memory.end_cpu_access(cx, direction);
            } else {
                memory.begin_cpu_access(cx, direction);
            }
            Ok(())
        })
    }

    /// `DMA_BUF_SET_NAME`.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a dma-buf that is gone. Longer names do not make a [`Name`].
    pub fn set_name(&mut self, id: BufId, name: Name) -> Result<(), Error> {
        self.bufs.get_mut(id.0).ok_or(Error::Invalid)?.name = name;
        Ok(())
    }

    /// Takes a memory back from all attached devices. The fences of devices that have it end with
    /// ENODEV: what they still do to it reaches it no more. One that is gone is attached to
    /// nothing.
    ///
    /// # Errors
    /// As [`Shared::revoke`].
    pub fn revoke(&mut self, id: MemoryId) -> Result<(), Error> {
        self.changes.note(id);
        if self.memory(id).is_none() {
            return Ok(());
        }
        let revoked = self.with_memory(id, |memory, cx| memory.revoke(cx));
        let outcome = Outcome::Failed(Error::Revoked.errno());
        self.fences.end_accesses(id, outcome, self.now_ns);
        revoked
    }

    /// What is held at the moment.
    #[must_use]
    pub fn live(&self) -> Live {
        let mut live = Live {
            memories: u64::try_from(self.memories.len()).unwrap_or(u64::MAX),
            bufs: u64::try_from(self.bufs.len()).unwrap_or(u64::MAX),
            ..Live::default()
        };
        for (_, buf) in self.bufs.iter() {
            live.buf_refs = live.buf_refs.saturating_add(u64::from(buf.refs));
        }
        for (_, memory) in self.memories.iter() {
            live.bytes = live.bytes.saturating_add(memory.len_bytes());
            let mappings = memory.user_count(UserKind::Mapping).count;
            live.program_mappings = live.program_mappings.saturating_add(u64::from(mappings));
            for (_, attachment) in memory.attachments().iter() {
                live.attachments = live.attachments.saturating_add(1);
                let mapped = u64::from(attachment.direction().is_some());
                live.mapped = live.mapped.saturating_add(mapped);
            }
        }
        live
    }
}
