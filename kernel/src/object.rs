//! The memory of a plane: allocated, a program's, or imported.

use crate::attachments::{Key, List};
use crate::imported::Import;
use crate::kernel::{Errno, Locked, now_ns};
use crate::ledger::{self, Ledger};
use crate::linux::{Alloc, Dev, Linux, Mmap, NonCoherent};
use crate::sys::SgTable;
use crate::user::User;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use vb3_dma::{Attrs, Coherency, Direction, DmaAddr, DmaOps, SyncFor};
use vb3_dmabuf::{Attachment, Cx, Error, Holder, Shared, Spec, Store, UserKind};
use vb3_plane::{AllocArgs, Due, HintSkip, MemoryKind, PlaneError, contig, due, vmalloc};

/// Memory with the devices attached to it.
pub type Exporter = Shared<Linux, List<Attachment<Linux>>>;

/// Calls `f` with the context for calls of `dma`, `dmabuf` and `plane`.
pub(crate) fn with_cx<R>(now_ns: u64, f: impl FnOnce(&Cx<'_, Linux, Ledger>) -> R) -> R {
    f(&Cx {
        ops: &Linux,
        observer: &Ledger::default(),
        now_ns,
    })
}

pub(crate) fn errno(e: PlaneError) -> Errno {
    Errno::new(e.errno())
}

/// Logs which device was refused, what it asked for, and why.
fn refused(dev: Dev, what: &'static str, e: Error) -> Errno {
    dev.refused(what, e.reason());
    Errno::new(e.errno())
}

/// The memory of one plane.
#[expect(
    clippy::large_enum_variant,
    reason = "the largest variant is the most common, and an object moves only once"
)]
pub enum Object {
    /// MMAP.
    Allocated(Allocated),
    /// USERPTR.
    User(User),
    /// DMABUF.
    Import(Import),
}

/// How memory was allocated, with the data for hand-overs, which must not take the lock since they
/// must not sleep.
enum Kind {
    Coherent,
    NonCoherent(NonCoherent),
    /// For the CPU.
    Virtual,
}

/// How memory was allocated, for debugfs.
#[derive(Clone, Copy)]
pub enum AllocatedAs {
    /// For a device.
    Device(Coherency),
    /// For the CPU.
    Virtual,
}

/// Allocated memory, and its users.
pub struct Allocated {
    shared: Locked<Exporter>,
    kind: Kind,
    direction: Direction,
    dev: Dev,
    vaddr: AtomicPtr<c_void>,
    /// Whether a driver asked for memory without a kernel mapping.
    no_vaddr: bool,
}

impl Allocated {
    /// Allocates contiguous memory in a payload. Returns its address for the device.
    ///
    /// # Errors
    /// Returns ENOMEM for any cause but length zero (EINVAL). The payload stays empty.
    ///
    /// # Safety
    /// `payload` must be an empty payload that no other code has yet.
    pub unsafe fn contig(
        payload: NonNull<c_void>,
        dev: Dev,
        args: AllocArgs,
        attrs: Attrs,
    ) -> Result<DmaAddr, Errno> {
        // SAFETY: the caller's promise.
        let made = unsafe { Self::make(payload, dev, contig::spec(dev, args, attrs), attrs) }?;
        match Linux.alloc_dma_addr(made.shared.get_mut().alloc()) {
            Some(addr) => Ok(addr),
            None => {
                // SAFETY: no other code has it, and the payload is empty from here on.
                unsafe { made.end() };
                Err(Errno::NO_MEMORY)
            }
        }
    }

    /// Allocates scattered memory, mapped for a device, in a payload. Returns the table.
    ///
    /// # Errors
    /// As [`contig`](Self::contig).
    ///
    /// # Safety
    /// As there.
    pub unsafe fn sg(
        payload: NonNull<c_void>,
        dev: Dev,
        args: AllocArgs,
    ) -> Result<*mut SgTable, Errno> {
        // The shim's non-coherent memory is scattered there, and needs the same syncs.
        let args = AllocArgs {
            coherency: Coherency::NonCoherent,
            ..args
        };
        let spec = contig::spec(dev, args, Attrs::empty());
        // SAFETY: the caller's promise.
        let made = unsafe { Self::make(payload, dev, spec, Attrs::empty()) }?;
        Ok(match &made.kind {
            Kind::NonCoherent(own) => own.sgt(),
            Kind::Coherent | Kind::Virtual => ptr::null_mut(),
        })
    }

    /// Allocates memory for the CPU in a payload. A device only names the owner.
    ///
    /// # Errors
    /// As [`contig`](Self::contig).
    ///
    /// # Safety
    /// As there.
    pub unsafe fn of_cpu(payload: NonNull<c_void>, dev: Dev, args: AllocArgs) -> Result<(), Errno> {
        // SAFETY: the caller's promise.
        unsafe { Self::make(payload, dev, vmalloc::spec(dev, args), Attrs::empty()) }.map(|_| ())
    }

    /// Makes an object in its payload. It is large, so it is written once, in place.
    ///
    /// # Safety
    /// `payload` must be an empty payload with this mutex; no other code has it meanwhile.
    #[inline(always)]
    unsafe fn make<'a>(
        payload: NonNull<c_void>,
        dev: Dev,
        spec: Spec<Dev>,
        attrs: Attrs,
    ) -> Result<&'a mut Self, Errno> {
        let now = now_ns();
        let made = with_cx(now, |cx| Exporter::allocate(cx, spec, List::new()));
        let shared = made.map_err(|e| {
            let e = contig::alloc_error(e);
            dev.refused("an allocation", e.reason());
            errno(e)
        })?;
        let kind = match shared.alloc() {
            Alloc::Coherent(_) => Kind::Coherent,
            Alloc::NonCoherent(n) => Kind::NonCoherent(*n),
            Alloc::Virtual(_) => Kind::Virtual,
        };
        let is_mapped = !matches!(kind, Kind::NonCoherent(_));
        let object = Object::Allocated(Self {
            // SAFETY: the caller's promise.
            shared: unsafe { Locked::new(payload, shared) },
            kind,
            direction: spec.direction,
            dev,
            vaddr: AtomicPtr::new(ptr::null_mut()),
            no_vaddr: is_mapped && attrs.contains(Attrs::NO_KERNEL_MAPPING),
        });
        let at = payload.cast::<Object>();
        // SAFETY: large enough (`vb3_rs_bytes`) and aligned like u64 (asserted in `entry.rs`).
        unsafe { at.write(object) };
        ledger::OBJECTS.add(1);
        // SAFETY: written above; the caller's promise.
        let Object::Allocated(made) = (unsafe { &mut *at.as_ptr() }) else {
            return Err(Errno::INVALID);
        };
        let (is_mapped, shared) = (is_mapped && !made.no_vaddr, made.shared.get_mut());
        if is_mapped {
            // It is mapped already, so this cannot fail.
            if let Ok(vmap) = shared.vmap(&Linux, now) {
                *made.vaddr.get_mut() = vmap.get().as_ptr();
            }
        }
        if shared.add_user(UserKind::Plane, now).is_err() {
            // SAFETY: no other code has it, and the payload is empty from here on.
            unsafe { made.end() };
            return Err(Errno::NO_MEMORY);
        }
        Ok(made)
    }

    /// Returns the kernel's mapping, made at the first call, or NULL if there is none.
    pub fn vaddr(&self) -> *mut c_void {
        let known = self.vaddr.load(Ordering::Acquire);
        if !known.is_null() || self.no_vaddr {
            return known;
        }
        self.shared.with(|shared| {
            let known = self.vaddr.load(Ordering::Relaxed);
            if !known.is_null() {
                return known;
            }
            let made = shared.vmap(&Linux, now_ns());
            let at = made.map_or(ptr::null_mut(), |vmap| vmap.get().as_ptr());
            self.vaddr.store(at, Ordering::Release);
            at
        })
    }

    /// Prepares an export and counts it as a user. Returns the length in bytes.
    ///
    /// # Errors
    /// Fails for memory that cannot be described to other devices.
    pub fn export(&self) -> Result<u64, Errno> {
        let done = self.shared.with(|shared| {
            with_cx(0, |cx| shared.prepare_export(cx))?;
            // As in `add_user`.
            let _full = shared.add_user(UserKind::Export, now_ns());
            Ok(shared.len_bytes())
        });
        done.map_err(|e| refused(self.dev, "an export", e))
    }

    /// Counts one more user.
    pub fn add_user(&self, kind: UserKind) {
        // The shim's count decides. This one records the kinds of users, up to 2^32 of them.
        let _full = self.shared.with(|shared| shared.add_user(kind, now_ns()));
    }

    /// Counts one user less.
    pub fn drop_user(&self, kind: UserKind) {
        self.shared
            .with(|shared| with_cx(0, |cx| shared.drop_user(cx, kind)));
    }

    /// Returns the memory to map into a program.
    ///
    /// # Errors
    /// Returns ENXIO out of range.
    pub fn mmap(&self, offset: u64, len_bytes: u64) -> Result<Mmap, Errno> {
        self.shared
            .with(|shared| shared.mmap(&Linux, offset, len_bytes))
            .map_err(|_| Errno::NO_SUCH)
    }

    /// Attaches a device.
    ///
    /// # Errors
    /// Returns ENOMEM.
    pub fn attach(&self, dev: Dev) -> Result<Key, Errno> {
        let key = self
            .shared
            .with(|shared| with_cx(now_ns(), |cx| shared.attach(cx, dev)))
            .map_err(|e| refused(dev, "an attachment", e))?;
        ledger::ATTACHMENTS.add(1);
        Ok(key)
    }

    /// Detaches a device.
    pub fn detach(&self, key: Key) {
        let gone = self
            .shared
            .with(|shared| with_cx(0, |cx| shared.detach(cx, key)));
        if gone {
            ledger::ATTACHMENTS.add(-1);
        }
    }

    /// Maps the memory for an attached device. Returns the table for the importer.
    ///
    /// # Errors
    /// Returns EBUSY while mapped in a direction that excludes this one; ENOMEM; EIO.
    pub fn map(&self, key: Key, direction: Direction) -> Result<*mut crate::sys::SgTable, Errno> {
        let (importer, mapped) = self.shared.with(|shared| {
            let importer = shared.attachments().get(key).map(Attachment::device);
            let mapped = with_cx(0, |cx| shared.map(cx, key, direction)).and_then(|()| {
                let mapping = shared.mapping(key).ok_or(Error::Invalid)?;
                Ok(crate::linux::Mapping::sgt(mapping))
            });
            (importer, mapped)
        });
        mapped.map_err(|e| refused(importer.unwrap_or(self.dev), "a shared buffer", e))
    }

    /// Undoes one map.
    pub fn unmap(&self, key: Key) {
        self.shared
            .with(|shared| with_cx(0, |cx| shared.unmap(cx, key)));
    }

    /// Begins or ends an access by the CPU: syncs for the owner and all mapped devices. Returns how
    /// many.
    pub fn cpu_access(&self, direction: Direction, begin: bool) -> u32 {
        self.shared.with(|shared| {
            with_cx(0, |cx| {
                if begin {
                    shared.begin_cpu_access(cx, direction);
                } else {
                    shared.end_cpu_access(cx, direction);
                }
                cx.observer.syncs.get()
            })
        })
    }

    /// Calls `show` for each holder of the memory.
    pub fn each_holder(&self, mut show: impl FnMut(Holder<Dev>)) {
        self.shared.with(|shared| {
            for holder in shared.holders() {
                show(holder);
            }
        });
    }

    const fn allocated_as(&self) -> AllocatedAs {
        match self.kind {
            Kind::Coherent => AllocatedAs::Device(Coherency::Coherent),
            Kind::NonCoherent(_) => AllocatedAs::Device(Coherency::NonCoherent),
            Kind::Virtual => AllocatedAs::Virtual,
        }
    }

    /// Returns bytes, direction and kind of the memory.
    pub fn facts(&self) -> (u64, Direction, AllocatedAs) {
        let bytes = self.shared.with(|shared| shared.len_bytes());
        (bytes, self.direction, self.allocated_as())
    }

    /// Detaches all devices and frees the memory in place, since the object is large.
    ///
    /// # Safety
    /// No code may use the object afterwards, including the caller.
    pub unsafe fn end(&mut self) {
        let closed = with_cx(0, |cx| self.shared.get_mut().close(cx));
        // SAFETY: no code uses the moved-out value.
        let gone = unsafe { ptr::read(self) };
        with_cx(0, |cx| gone.shared.into_inner().free(cx, closed));
        ledger::OBJECTS.add(-1);
    }
}

impl Object {
    fn memory(&self) -> (MemoryKind, Direction) {
        match self {
            Self::Allocated(a) => match a.allocated_as() {
                AllocatedAs::Device(coherency) => (MemoryKind::Allocated(coherency), a.direction),
                AllocatedAs::Virtual => (MemoryKind::Virtual, a.direction),
            },
            Self::User(u) if u.memory.vmap().is_some() => (MemoryKind::UserVirtual, u.direction),
            Self::User(u) => (MemoryKind::User, u.direction),
            Self::Import(i) if i.of_cpu => (MemoryKind::Virtual, i.direction),
            // As the C module does: the exporter may not sync anything itself.
            Self::Import(i) if i.in_pieces => (MemoryKind::Scattered, i.direction),
            Self::Import(i) => (MemoryKind::Imported, i.direction),
        }
    }

    /// Returns whether a hand-over may need a sync.
    pub fn is_handed_over(&self) -> bool {
        let (memory, direction) = self.memory();
        let (prepare, finish) = due(memory, direction, HintSkip::empty());
        prepare == Due::Sync || finish == Due::Sync
    }

    /// Hands the memory to the device or back, with the necessary sync. Returns the result.
    ///
    /// # Context
    /// Does not sleep.
    pub fn hand_over(&self, sync: SyncFor, skip: bool) -> Due {
        let skip = if skip {
            HintSkip::all()
        } else {
            HintSkip::empty()
        };
        let (memory, direction) = self.memory();
        let (prepare, finish) = due(memory, direction, skip);
        let step = match sync {
            SyncFor::Device => prepare,
            SyncFor::Cpu => finish,
        };
        match (self, step) {
            (Self::Allocated(a), Due::Sync) => {
                if let Kind::NonCoherent(own) = &a.kind {
                    own.sync(direction, sync, a.vaddr.load(Ordering::Acquire));
                    ledger::SYNCS.add(1);
                }
            }
            (Self::User(u), Due::Sync) => {
                // Pinned memory cannot be revoked, and a copy to bounce slots does not fail.
                let _done = with_cx(0, |cx| u.memory.sync(cx, sync));
            }
            (Self::Import(i), Due::Sync) => i.sync(sync),
            (_, Due::Skipped) => ledger::SKIPPED.add(1),
            _ => {}
        }
        step
    }
}
