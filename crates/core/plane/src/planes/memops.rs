//! Implements [`MemOps`] for a process.

use super::copy::Bytes;
use super::mapping::{Attached, memory_error};
use super::users::Pinned;
use super::{Cookie, Device, Kind, Plane, Planes, View, Viewed};
use crate::{Allocator, HintSkip, MemOps, PlaneError, UserMemory, contig, due};
use vb3_dma::{Attrs, Coherency, Direction, DmaOps, Locks, SyncFor};
use vb3_dmabuf::fence::{ECANCELED, Owner, Usage};
use vb3_dmabuf::{Backing, BufRef, Error, MemoryId, Observer, Shared, SlabKey, Spec};

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Begins or ends a driver's access by the CPU. Does nothing if the access has already begun or ended.
    fn bracket(&self, plane: &mut Plane<O::Device>, begin: bool) -> Result<(), Error> {
        // A driver reads a TO_DEVICE plane, which for the CPU is the direction `FromDevice`.
        let access = match plane.direction {
            Direction::ToDevice => Direction::FromDevice,
            Direction::FromDevice => Direction::ToDevice,
            Direction::Bidirectional => Direction::Bidirectional,
        };
        let Kind::Virtual {
            memory,
            is_own,
            open,
            ..
        } = &mut plane.kind
        else {
            return Ok(());
        };
        if core::mem::replace(open, begin) == begin {
            return Ok(());
        }
        let done = self.buffers.with_memory(*memory, |memory, cx| {
            if !begin {
                // A device that uses a copy gets the CPU's bytes, or the error, at its next use.
                let _ = memory.end_cpu_access(cx, access);
                return Ok(());
            }
            if *is_own {
                // A program writes to its mapping without a sync; QBUF ends the write.
                memory.write_back(cx)?;
            }
            memory.begin_cpu_access(cx, access)
        });
        if done.is_err() {
            *open = false;
        }
        done
    }

    fn sync_user(&self, key: SlabKey, sync: SyncFor) -> Result<(), PlaneError> {
        let cx = self.cx();
        self.with_user(key, |user| user.sync(&cx, sync))
            .unwrap_or(Ok(()))
    }

    fn hand_over(
        &self,
        plane: &mut Plane<O::Device>,
        skip: HintSkip,
        sync_for: SyncFor,
    ) -> Result<(), PlaneError> {
        let allocator = plane.dev.allocator;
        let needs_sync = match &plane.kind {
            Kind::Allocated { coherency, .. } => {
                allocator == Allocator::Sg || *coherency == Coherency::NonCoherent
            }
            Kind::User(_) => allocator != Allocator::Vmalloc,
            Kind::Imported { .. } | Kind::Virtual { .. } => false,
        };
        let (prepare, finish) = due(needs_sync, plane.direction);
        let (is_due, hint) = match sync_for {
            SyncFor::Device => (prepare, HintSkip::PREPARE),
            SyncFor::Cpu => (finish, HintSkip::FINISH),
        };
        let sync = is_due && !skip.contains(hint);
        if is_due && !sync {
            self.report_skip(plane.dev.dma, sync_for);
        }
        match &mut plane.kind {
            Kind::Allocated { memory, own, .. } => {
                self.hand_own((*memory, own.as_ref()), sync_for, sync)
            }
            Kind::User(key) if sync => self.sync_user(*key, sync_for),
            Kind::User(_) => Ok(()),
            Kind::Imported {
                import,
                mapped,
                handed,
            } => {
                let at = Attached::from(&*import);
                // `hand_import` and `take_import` count the access in the memory. `hand_import` fails once the memory
                // is revoked.
                let addr = mapped.ok_or(PlaneError::Invalid(None))?;
                match sync_for {
                    SyncFor::Device => {
                        self.hand_import(at, addr)?;
                        *handed = handed.saturating_add(1);
                    }
                    SyncFor::Cpu => self.take_import(at, handed)?,
                }
                Ok(())
            }
            Kind::Virtual { .. } => self
                .bracket(plane, sync_for == SyncFor::Device)
                .map_err(memory_error),
        }
    }

    /// Prepares new memory for the device that it was allocated for.
    fn own(
        &self,
        memory: MemoryId,
        dev: Device<O::Device>,
        direction: Direction,
        coherency: Coherency,
    ) -> Result<Kind, Error> {
        let own = match dev.allocator {
            Allocator::Contig if dev.lazy => Some((self.buffers).attach_dynamic(memory, dev.dma)?),
            Allocator::Contig => None,
            Allocator::Sg => {
                let own = (self.buffers).attach_dynamic(memory, dev.dma)?;
                self.buffers
                    .with_memory(memory, |shared, cx| shared.map(cx, own.key(), direction))?;
                Some(own)
            }
            Allocator::Vmalloc => {
                self.vmap(memory)?;
                return Ok(Kind::Virtual {
                    memory,
                    is_own: true,
                    mapped: true,
                    open: false,
                });
            }
        };
        let addr = |memory: &Shared<O, _>| self.ops().alloc_dma_addr(memory.memory());
        let addr = match own {
            None => self.buffers.inspect(memory, addr).flatten(),
            Some(_) => None,
        };
        Ok(Kind::Allocated {
            memory,
            coherency,
            own,
            addr,
        })
    }

    fn vmap(&self, id: MemoryId) -> Result<(), Error> {
        self.ensure_placed(id)?;
        self.buffers
            .with_memory(id, |memory, cx| memory.vmap(cx.ops).map(|_| ()))
    }

    fn vunmap(&self, id: MemoryId) {
        // Freed memory has no mapping.
        let _gone = self.buffers.with_memory(id, |memory, cx| {
            memory.vunmap(cx.ops);
            Ok(())
        });
    }
}

impl<O: DmaOps, H: Observer<O>, L: Locks> MemOps for Planes<O, H, L> {
    type Device = Device<O::Device>;
    type User = O::User;
    type Plane = Plane<O::Device>;
    type DmaBuf = BufRef;
    type Cookie = Cookie;
    /// The memory to pass to [`Buffers::vma_open`](vb3_dmabuf::Buffers::vma_open) after mapping, and the DMA layer's
    /// description of the mapping.
    type Mmap = (MemoryId, O::Mmap);

    fn supports_userptr(&self) -> bool {
        true
    }

    fn page_shift(&self) -> u32 {
        self.ops().page_size().trailing_zeros()
    }

    fn alloc(
        &self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        coherency: Coherency,
    ) -> Result<Self::Plane, PlaneError> {
        let device = dev.dma;
        let spec = |backing| Spec {
            backing,
            len_bytes,
            direction,
            attrs: Attrs::empty(),
        };
        let spec = match dev.allocator {
            Allocator::Contig if dev.lazy => spec(Backing::Lazy { device, coherency }),
            Allocator::Contig => contig::spec(device, len_bytes, direction, coherency, dev.attrs),
            Allocator::Sg => spec(Backing::Scattered(device)),
            Allocator::Vmalloc => spec(Backing::Virtual(device)),
        };
        let memory = self.buffers.allocate(spec).map_err(contig::alloc_error)?;
        let kind = self.own(memory, dev, direction, coherency).map_err(|e| {
            self.buffers.free(memory);
            PlaneError::NoMemory(e.reason())
        })?;
        Ok(Plane::new(dev, direction, len_bytes, kind))
    }

    fn get_userptr(
        &self,
        dev: Self::Device,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Plane, PlaneError> {
        let device = (dev.dma, dev.allocator);
        let memory = UserMemory::pin(&self.cx(), device, user, addr, len_bytes, direction)?;
        let key = self.keep_user(Pinned {
            memory,
            user: user.clone(),
            device: dev.dma,
            addresses: addr..addr.saturating_add(len_bytes),
        })?;
        Ok(Plane::new(dev, direction, len_bytes, Kind::User(key)))
    }

    fn is_current(&self, plane: &Self::Plane, user: &Self::User, addr: u64) -> bool {
        let Kind::User(key) = plane.kind else {
            return false;
        };
        self.with_user(key, |memory| memory.is_current(self.ops(), user, addr))
            .unwrap_or(false)
    }

    fn attach_dmabuf(
        &self,
        dev: Self::Device,
        buf: &Self::DmaBuf,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Plane, PlaneError> {
        match self.import(dev, buf, len_bytes, direction) {
            Ok(kind) => Ok(Plane::new(dev, direction, len_bytes, kind)),
            Err(e) => {
                self.host().refused_import(dev.dma, buf.memory(), len_bytes);
                Err(e)
            }
        }
    }

    fn map_dmabuf(&self, plane: &mut Self::Plane) -> Result<(), PlaneError> {
        match &mut plane.kind {
            Kind::Imported {
                import,
                mapped: None,
                ..
            } => {
                let at = Attached::from(&*import);
                self.map_plane(plane, at, None)
            }
            Kind::Virtual {
                memory,
                is_own: false,
                mapped: mapped @ false,
                ..
            } => {
                self.vmap(*memory).map_err(|e| match e {
                    Error::Revoked => PlaneError::Revoked,
                    e => PlaneError::Fault(e.reason()),
                })?;
                *mapped = true;
                Ok(())
            }
            Kind::Imported { .. } | Kind::Virtual { is_own: false, .. } => Ok(()),
            Kind::Allocated { .. } | Kind::Virtual { .. } | Kind::User(_) => {
                Err(PlaneError::Invalid(None))
            }
        }
    }

    fn unmap_dmabuf(&self, plane: &mut Self::Plane) {
        // Ends an access that a cancelled queue left open. If the memory was freed, there is no access to
        // end.
        let _gone = self.bracket(plane, false);
        match &mut plane.kind {
            Kind::Imported {
                import,
                mapped,
                handed,
            } => {
                // No program waits for these bytes, because the buffer was released or cancelled.
                let _ = self.take_import(Attached::from(&*import), handed);
                *mapped = None;
            }
            Kind::Virtual { memory, mapped, .. } => {
                if core::mem::take(mapped) {
                    self.vunmap(*memory);
                }
            }
            Kind::Allocated { .. } | Kind::User(_) => {}
        }
    }

    fn put(&self, mut plane: Self::Plane) {
        self.unmap_dmabuf(&mut plane);
        self.end_access(&mut plane, Err(ECANCELED));
        match plane.kind {
            Kind::Allocated { memory, own, .. } => {
                if let Some(own) = own {
                    self.buffers.detach(own);
                }
                self.buffers.free(memory);
            }
            Kind::Virtual { memory, is_own, .. } => {
                if is_own {
                    self.buffers.free(memory);
                }
            }
            Kind::User(key) => self.put_user(key),
            Kind::Imported { import, .. } => self.buffers.detach(import),
        }
    }

    fn place(&self, plane: &mut Self::Plane) -> Result<(), PlaneError> {
        let memory = plane.used_memory();
        if memory.and_then(|id| self.buffers.inspect(id, Shared::is_revoked)) == Some(true) {
            return Err(PlaneError::Revoked);
        }
        self.map_in_place(plane)
    }

    fn prepare(&self, plane: &mut Self::Plane, skip: HintSkip) -> Result<(), PlaneError> {
        self.hand_over(plane, skip, SyncFor::Device)
    }

    fn finish(&self, plane: &mut Self::Plane, skip: HintSkip) -> Result<(), PlaneError> {
        self.hand_over(plane, skip, SyncFor::Cpu)
    }

    fn begin_access(&self, plane: &mut Self::Plane) {
        let Some(memory) = plane.used_memory() else {
            return;
        };
        let (by, usage) = (Owner::Device(plane.dev.dma), Usage::of(plane.direction));
        // Without room for a fence, the device still works, but others cannot wait for its access.
        plane.access = self.buffers.begin_access(memory, by, usage).ok();
    }

    fn end_access(&self, plane: &mut Self::Plane, outcome: Result<(), i32>) {
        if let (Some(memory), Some(access)) = (plane.used_memory(), plane.access.take()) {
            self.buffers.end_access(memory, access, outcome);
        }
    }

    fn is_held_back(&self, plane: &Self::Plane) -> bool {
        let usage = Usage::of(plane.direction);
        let memory = plane.used_memory();
        memory.is_some_and(|memory| self.buffers.is_held_back(memory, usage))
    }

    fn cookie(&self, plane: &Self::Plane) -> Option<Self::Cookie> {
        let is_sg = plane.dev.allocator == Allocator::Sg;
        let sg = |segments| Some(Cookie::Sg(View(segments)));
        match &plane.kind {
            Kind::Allocated {
                own: None, addr, ..
            } => addr.map(Cookie::Dma),
            Kind::Allocated { own: Some(own), .. } if is_sg => sg(Viewed::Attached(own.into())),
            Kind::Allocated { own: Some(own), .. } => {
                let first = self.attached_segment(own.into(), 0)?;
                Some(Cookie::Dma(first.addr))
            }
            Kind::User(key) if is_sg => sg(Viewed::User(*key)),
            Kind::User(key) => match self.with_user(*key, |user| user.dma_addr(self.ops()))? {
                Some(addr) => Some(Cookie::Dma(addr)),
                None => Some(Cookie::Cpu(View(Viewed::User(*key)))),
            },
            Kind::Imported { mapped: None, .. } | Kind::Virtual { mapped: false, .. } => None,
            Kind::Imported { import, .. } if is_sg => sg(Viewed::Attached(import.into())),
            Kind::Imported { mapped, .. } => mapped.map(Cookie::Dma),
            Kind::Virtual { memory, .. } => Some(Cookie::Cpu(View(Viewed::Memory(*memory)))),
        }
    }

    fn num_users(&self, plane: &Self::Plane) -> u32 {
        let users = |id| self.buffers.inspect(id, Shared::num_users).unwrap_or(0);
        plane.memory().map_or(1, users)
    }

    fn mmap(&self, plane: &Self::Plane, len_bytes: u64) -> Result<Self::Mmap, PlaneError> {
        let memory = plane.memory().ok_or(PlaneError::Invalid(None))?;
        let mmap = self
            .buffers
            .with_memory(memory, |m, cx| m.mmap(cx.ops, 0, len_bytes));
        let mmap = mmap.map_err(memory_error)?;
        Ok((memory, mmap))
    }

    fn export(&self, plane: &Self::Plane) -> Result<Self::DmaBuf, PlaneError> {
        let memory = plane.memory().ok_or(PlaneError::Invalid(None))?;
        self.buffers.export(memory).map_err(PlaneError::from)
    }

    fn dmabuf_len(&self, buf: &Self::DmaBuf) -> u64 {
        let size = self.buffers.inspect(buf.memory(), Shared::len_bytes);
        size.unwrap_or(0)
    }

    fn same_dmabuf(&self, a: &Self::DmaBuf, b: &Self::DmaBuf) -> bool {
        a.id() == b.id()
    }

    fn clone_dmabuf(&self, buf: &Self::DmaBuf) -> Result<Self::DmaBuf, PlaneError> {
        self.buffers
            .get_buf(buf.id())
            .map_err(|e| PlaneError::NoMemory(e.reason()))
    }

    fn put_dmabuf(&self, buf: Self::DmaBuf) {
        self.buffers.put_buf(buf);
    }

    fn end_imports(&self, dev: Self::Device) {
        self.buffers.end_idle_imports(dev.dma);
    }

    fn copy_from(
        &self,
        plane: &mut Self::Plane,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), PlaneError> {
        self.copy(plane, offset, Bytes::Out(out))
    }

    fn copy_to(&self, plane: &mut Self::Plane, offset: u64, data: &[u8]) -> Result<(), PlaneError> {
        self.copy(plane, offset, Bytes::In(data))
    }
}
