//! Implements [`MemOps`] for a process.

use super::copy::Bytes;
use super::lazy::own_error;
use super::{
    Allocator, Cookie, CpuView, Device, Kind, Plane, PlaneMmap, Planes, Segments, SgView, View,
};
use crate::{
    AllocArgs, Due, ExportAccess, HintSkip, MemOps, MemoryKind, PlaneError, UserMemory, contig,
    due, sg, vmalloc,
};
use vb3_dma::{Direction, DmaOps, Locks, SyncFor};
use vb3_dmabuf::fence::{FenceOutcome, Owner, Usage};
use vb3_dmabuf::{
    AttachKind, BufRef, Error, Importer, MemoryId, Name, Observer, Shared, SharedMemory, SlabKey,
    UserKind,
};

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    fn due(plane: &Plane<O::Device>, skip: HintSkip) -> (Due, Due) {
        let memory = match (&plane.kind, plane.dev.allocator) {
            (Kind::Allocated { coherency, .. }, Allocator::Contig) => {
                MemoryKind::Allocated(*coherency)
            }
            (Kind::Allocated { .. }, Allocator::Sg) => MemoryKind::Scattered,
            (Kind::User(_), Allocator::Contig | Allocator::Sg) => MemoryKind::User,
            (Kind::User(_), Allocator::Vmalloc) => MemoryKind::UserVirtual,
            (Kind::Imported { .. }, _) => MemoryKind::Imported,
            (Kind::Allocated { .. }, Allocator::Vmalloc) | (Kind::ImportedVirtual { .. }, _) => {
                MemoryKind::Virtual
            }
        };
        due(memory, plane.direction, skip)
    }

    /// Begins or ends a driver's access by the CPU. Does nothing if the access has already begun or ended.
    fn bracket(&self, plane: &mut Plane<O::Device>, begin: bool) -> Result<(), Error> {
        let access = vmalloc::cpu_access(plane.direction);
        let is_own = matches!(plane.kind, Kind::Allocated { .. });
        let (Kind::Allocated { memory, open, .. } | Kind::ImportedVirtual { memory, open, .. }) =
            &mut plane.kind
        else {
            return Ok(());
        };
        if *open == begin {
            return Ok(());
        }
        *open = begin;
        self.buffers.with_memory(*memory, |memory, cx| {
            if begin {
                if is_own {
                    // A program writes to its mapping without a sync; QBUF ends the write.
                    memory.write_back(cx);
                }
                memory.begin_cpu_access(cx, access);
            } else {
                memory.end_cpu_access(cx, access);
            }
            Ok(())
        })
    }

    fn sync_user(&self, key: SlabKey, sync: SyncFor) -> Result<(), PlaneError> {
        let cx = self.cx();
        let synced = self.with_user(key, |user| user.sync(&cx, sync).map(|_due| ()));
        synced.unwrap_or(Ok(()))
    }

    /// Passes memory to the device that it was allocated for, or back to the CPU.
    fn owner(&self, id: MemoryId, sync_for: SyncFor, sync: bool) {
        // The plane uses the memory, so the memory exists.
        let _there = self.buffers.with_memory(id, |memory, cx| {
            match sync_for {
                SyncFor::Device => memory.owner_to_device(cx, sync),
                SyncFor::Cpu => memory.owner_from_device(cx, sync),
            };
            Ok(())
        });
    }

    fn hand_over(
        &self,
        plane: &mut Plane<O::Device>,
        step: Due,
        sync_for: SyncFor,
    ) -> Result<(), PlaneError> {
        if step == Due::Skipped {
            self.count_skip(plane.dev.dma, sync_for);
        }
        match (&mut plane.kind, step) {
            (Kind::Imported { mapped: None, .. }, _) => Err(PlaneError::Invalid(None)),
            (
                Kind::Imported {
                    import,
                    handed,
                    mapped: Some(addr),
                },
                _,
            ) => {
                // The import counts the accesses of its planes, and refuses revoked memory.
                match sync_for {
                    SyncFor::Device => {
                        self.hand_import(*import, *addr)?;
                        *handed = handed.saturating_add(1);
                    }
                    SyncFor::Cpu => {
                        (0..core::mem::take(handed)).for_each(|_| self.take_back(*import));
                    }
                }
                Ok(())
            }
            (_, Due::CpuAccess) => self
                .bracket(plane, sync_for == SyncFor::Device)
                .map_err(own_error),
            (
                Kind::Allocated {
                    memory,
                    own: Some(key),
                    ..
                },
                step,
            ) => self.hand_own((*memory, *key), sync_for, step == Due::Sync),
            (Kind::Allocated { memory, .. }, step) => {
                self.owner(*memory, sync_for, step == Due::Sync);
                Ok(())
            }
            (Kind::User(key), Due::Sync) => self.sync_user(*key, sync_for),
            (Kind::User(_) | Kind::ImportedVirtual { .. }, _) => Ok(()),
        }
    }

    /// Attaches without a device: a vmalloc plane only needs a CPU mapping.
    fn import_virtual(
        &self,
        dev: Device<O::Device>,
        buf: &BufRef,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Plane<O::Device>, PlaneError> {
        contig::fits(self.buffers.size(buf), len_bytes)?;
        let kind = Kind::ImportedVirtual {
            memory: buf.memory(),
            mapped: false,
            open: false,
        };
        Ok(Plane::new(dev, direction, len_bytes, kind))
    }

    fn vmap(&self, id: MemoryId) -> Result<(), Error> {
        self.ensure_placed(id)?;
        self.buffers
            .with_memory(id, |memory, cx| memory.vmap(cx.ops, cx.now_ns).map(|_| ()))
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
    type Mmap = PlaneMmap<O::Mmap>;

    fn supports_userptr(&self) -> bool {
        true
    }

    fn page_shift(&self) -> u32 {
        self.ops().page_size().trailing_zeros()
    }

    fn alloc(&self, dev: Self::Device, args: AllocArgs) -> Result<Self::Plane, PlaneError> {
        let spec = match dev.allocator {
            Allocator::Contig if dev.lazy => contig::lazy_spec(dev.dma, args),
            Allocator::Contig => contig::spec(dev.dma, args, dev.attrs),
            Allocator::Sg => sg::spec(dev.dma, args),
            Allocator::Vmalloc => vmalloc::spec(dev.dma, args),
        };
        let memory = self.buffers.allocate(spec).map_err(contig::alloc_error)?;
        let own = match dev.allocator {
            Allocator::Contig if dev.lazy => self
                .buffers
                .with_memory(memory, |shared, cx| {
                    shared.attach(cx, dev.dma, AttachKind::Dynamic)
                })
                .map(Some),
            Allocator::Contig => Ok(None),
            Allocator::Sg => self.map_own(memory, dev.dma, args.direction).map(Some),
            Allocator::Vmalloc => self.vmap(memory).map(|()| None),
        };
        let own = own.map_err(|e| {
            self.buffers.drop_user(memory, UserKind::Plane);
            PlaneError::NoMemory(e.reason())
        })?;
        let kind = Kind::Allocated {
            memory,
            coherency: args.coherency,
            open: false,
            own,
        };
        Ok(Plane::new(dev, args.direction, args.len_bytes, kind))
    }

    fn get_userptr(
        &self,
        dev: Self::Device,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Plane, PlaneError> {
        let cx = self.cx();
        let pin = match dev.allocator {
            Allocator::Contig => UserMemory::contig,
            Allocator::Sg => UserMemory::sg,
            Allocator::Vmalloc => UserMemory::vmalloc,
        };
        let memory = pin(&cx, dev.dma, user, addr, len_bytes, direction)?;
        let key = self.keep_user(memory, user, (addr, len_bytes))?;
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
        let plane = match dev.allocator {
            Allocator::Contig | Allocator::Sg => self.import(dev, buf, len_bytes, direction),
            Allocator::Vmalloc => self.import_virtual(dev, buf, len_bytes, direction),
        };
        if plane.is_err() {
            self.note_refused(dev.dma, buf.memory(), len_bytes);
        }
        plane
    }

    fn map_dmabuf(&self, plane: &mut Self::Plane) -> Result<(), PlaneError> {
        let len_bytes = plane.len_bytes;
        match &mut plane.kind {
            Kind::Imported {
                import,
                mapped: mapped @ None,
                ..
            } => {
                let addr = self.map_import(*import, plane.dev.allocator, len_bytes);
                if addr.is_err() {
                    self.note_refused_import(*import, plane.dev.dma, len_bytes);
                }
                *mapped = Some(addr?);
                Ok(())
            }
            Kind::ImportedVirtual {
                memory,
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
            Kind::Imported { .. } | Kind::ImportedVirtual { .. } => Ok(()),
            Kind::Allocated { .. } | Kind::User(_) => Err(PlaneError::Invalid(None)),
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
                (0..core::mem::take(handed)).for_each(|_| self.take_back(*import));
                *mapped = None;
            }
            Kind::ImportedVirtual { memory, mapped, .. } => {
                if core::mem::take(mapped) {
                    self.vunmap(*memory);
                }
            }
            Kind::Allocated { .. } | Kind::User(_) => {}
        }
    }

    fn put(&self, mut plane: Self::Plane) {
        self.unmap_dmabuf(&mut plane);
        self.close_access(&mut plane);
        match plane.kind {
            Kind::Allocated { memory, own, .. } => {
                if plane.dev.allocator == Allocator::Vmalloc {
                    self.vunmap(memory);
                }
                if let Some(key) = own {
                    self.unmap_own(memory, key);
                }
                self.buffers.drop_user(memory, UserKind::Plane);
            }
            Kind::User(key) => self.put_user(key),
            Kind::Imported { import, .. } => self.put_import(import),
            Kind::ImportedVirtual { .. } => {}
        }
    }

    fn place(&self, plane: &mut Self::Plane) -> Result<(), PlaneError> {
        let memory = self.memory_of(plane);
        if memory.and_then(|id| self.buffers.inspect(id, Shared::is_revoked)) == Some(true) {
            return Err(PlaneError::Revoked);
        }
        self.map_in_place(plane)
    }

    fn prepare(&self, plane: &mut Self::Plane, skip: HintSkip) -> Result<(), PlaneError> {
        let (step, _) = Self::due(plane, skip);
        self.hand_over(plane, step, SyncFor::Device)
    }

    fn finish(&self, plane: &mut Self::Plane, skip: HintSkip) {
        let (_, step) = Self::due(plane, skip);
        // This fails only for a plane that is no longer mapped, which needs no work.
        let _unmapped = self.hand_over(plane, step, SyncFor::Cpu);
    }

    fn begin_access(&self, plane: &mut Self::Plane) {
        let Some(memory) = self.memory_of(plane) else {
            return;
        };
        let (owner, access) = (Owner::Device(plane.dev.dma), &mut plane.access);
        self.with_fences(|fences, _| {
            let timeline = access.get_or_insert_with(|| fences.timeline(owner));
            // Without room for a fence, the device still works, but others cannot wait for its
            // access.
            let _no_room = fences.begin_access(memory, timeline, Usage::of(plane.direction));
        });
    }

    fn end_access(&self, plane: &mut Self::Plane, outcome: FenceOutcome) {
        if let Some(timeline) = &mut plane.access {
            self.with_fences(|fences, now_ns| fences.end_oldest(timeline, outcome, now_ns));
        }
    }

    fn is_held_back(&self, plane: &Self::Plane) -> bool {
        self.memory_of(plane).is_some_and(|memory| {
            self.with_fences(|fences, _| fences.is_held_back(memory, Usage::of(plane.direction)))
        })
    }

    fn cookie(&self, plane: &Self::Plane) -> Option<Self::Cookie> {
        match plane.kind {
            Kind::Allocated { memory, .. } if plane.dev.allocator == Allocator::Vmalloc => {
                Some(Cookie::Cpu(CpuView(View::Memory(memory))))
            }
            Kind::Allocated {
                memory,
                own: Some(key),
                ..
            } if plane.dev.lazy => self.own_addr(memory, key).map(Cookie::Dma),
            Kind::Allocated {
                memory,
                own: Some(key),
                ..
            } => Some(Cookie::Sg(SgView(Segments::Own(memory, key)))),
            Kind::Allocated { memory, .. } => {
                let addr = |memory: &SharedMemory<O>| self.ops().alloc_dma_addr(memory.alloc());
                self.buffers.inspect(memory, addr)?.map(Cookie::Dma)
            }
            Kind::User(key) if plane.dev.allocator == Allocator::Sg => {
                Some(Cookie::Sg(SgView(Segments::User(key))))
            }
            Kind::User(key) => match self.with_user(key, UserMemory::dma_addr)? {
                Some(addr) => Some(Cookie::Dma(addr)),
                None => Some(Cookie::Cpu(CpuView(View::User(key)))),
            },
            Kind::Imported { import, mapped, .. } if plane.dev.allocator == Allocator::Sg => {
                mapped.map(|_| Cookie::Sg(SgView(Segments::Import(import))))
            }
            Kind::Imported { mapped, .. } => mapped.map(Cookie::Dma),
            Kind::ImportedVirtual { memory, mapped, .. } => {
                mapped.then_some(Cookie::Cpu(CpuView(View::Memory(memory))))
            }
        }
    }

    fn num_users(&self, plane: &Self::Plane) -> u32 {
        match plane.kind {
            Kind::Allocated { memory, .. } => {
                self.buffers.inspect(memory, Shared::num_users).unwrap_or(0)
            }
            _ => 1,
        }
    }

    fn mmap(&self, plane: &Self::Plane, len_bytes: u64) -> Result<Self::Mmap, PlaneError> {
        let memory = plane.memory().ok_or(PlaneError::Invalid(None))?;
        let mmap = self
            .buffers
            .with_memory(memory, |m, cx| m.mmap(cx.ops, 0, len_bytes));
        let mmap = mmap.map_err(own_error)?;
        Ok(PlaneMmap { memory, mmap })
    }

    fn export(
        &self,
        plane: &Self::Plane,
        access: ExportAccess,
    ) -> Result<Self::DmaBuf, PlaneError> {
        let memory = plane.memory().ok_or(PlaneError::Invalid(None))?;
        self.buffers
            .export(memory, access, Name::default())
            .map_err(PlaneError::from)
    }

    fn dmabuf_len(&self, buf: &Self::DmaBuf) -> u64 {
        self.buffers.size(buf)
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
        if self.buffers.put_buf(buf) {
            self.forget_gone();
        }
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
