//! What a plane's memory is: allocated, a program's, or imported.

use crate::attachments::{Key, List};
use crate::import::{Attached, Buf};
use crate::kernel::{DeviceRef, Errno, Locked, Serial, now_ns};
use crate::ledger::{self, Ledger};
use crate::linux::{Alloc, Dev, Linux, Mmap, NonCoherent};
use crate::sys::DmaBuf;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use vb3_dma::{Attrs, Coherency, Direction, DmaAddr, DmaOps, SyncFor};
use vb3_dmabuf::{Attachment, Closed, Cx, Error, Holder, Importer, Shared, Spec, Store, UserKind};
use vb3_plane::{AllocArgs, Due, HintSkip, Memory, PlaneError, UserMemory, contig, due, vmalloc};

/// Memory with the devices attached to it.
pub type Exporter = Shared<Linux, List<Attachment<Linux>>>;

/// Runs `f` with what a call of our crates needs.
fn with_cx<R>(now_ns: u64, f: impl FnOnce(&mut Cx<'_, Linux, Ledger>) -> R) -> R {
    let (mut ops, mut observer) = (Linux, Ledger::default());
    f(&mut Cx {
        ops: &mut ops,
        observer: &mut observer,
        now_ns,
    })
}

fn errno(e: PlaneError) -> Errno {
    Errno::new(e.errno())
}

/// Tells the log which device was refused what, and why.
fn refused(dev: Dev, what: &'static str, e: Error) -> Errno {
    dev.refused(what, e.reason());
    Errno::new(e.errno())
}

/// The memory of one plane.
#[expect(
    clippy::large_enum_variant,
    reason = "allocated memory is the common kind, and the object is moved once"
)]
pub enum Object {
    /// MMAP.
    Allocated(Allocated),
    /// USERPTR.
    User(User),
    /// DMABUF.
    Import(Import),
}

/// How memory was allocated, with what a hand-over needs: it may not sleep, so it does not take the
/// lock.
enum Kind {
    Coherent,
    NonCoherent(NonCoherent),
    /// For the CPU.
    Virtual,
}

/// What allocated memory is, for people.
#[derive(Clone, Copy)]
pub enum AllocatedAs {
    /// For a device.
    Device(Coherency),
    /// For the CPU.
    Virtual,
}

/// Allocated memory, and everybody who uses it.
pub struct Allocated {
    shared: Locked<Exporter>,
    kind: Kind,
    direction: Direction,
    dev: Dev,
    vaddr: AtomicPtr<c_void>,
    /// A driver has asked for memory without a kernel mapping.
    no_vaddr: bool,
    /// Goes last: freeing needs the device.
    _keeps: DeviceRef,
}

impl Allocated {
    /// Allocates for a device; gives where the device finds the memory.
    ///
    /// # Errors
    /// ENOMEM whatever the cause; EINVAL for length zero.
    ///
    /// # Safety
    /// As [`Locked::new`].
    pub unsafe fn contig(
        payload: NonNull<c_void>,
        dev: Dev,
        args: AllocArgs,
        attrs: Attrs,
    ) -> Result<(Self, DmaAddr), Errno> {
        // SAFETY: the caller's promise.
        let made = unsafe { Self::new(payload, dev, contig::spec(dev, args, attrs), attrs) }?;
        let addr = made
            .shared
            .with(|shared| Linux.alloc_dma_addr(shared.alloc()));
        match addr {
            Some(addr) => Ok((made, addr)),
            None => {
                made.end();
                Err(Errno::NO_MEMORY)
            }
        }
    }

    /// Allocates for the CPU; the device, if there is one, only names the owner.
    ///
    /// # Errors
    /// As [`contig`](Self::contig).
    ///
    /// # Safety
    /// As [`Locked::new`].
    pub unsafe fn of_cpu(
        payload: NonNull<c_void>,
        dev: Dev,
        args: AllocArgs,
    ) -> Result<Self, Errno> {
        // SAFETY: the caller's promise.
        unsafe { Self::new(payload, dev, vmalloc::spec(dev, args), Attrs::empty()) }
    }

    /// # Safety
    /// As [`Locked::new`].
    unsafe fn new(
        payload: NonNull<c_void>,
        dev: Dev,
        spec: Spec<Dev>,
        attrs: Attrs,
    ) -> Result<Self, Errno> {
        let keeps = DeviceRef::new(dev);
        let now = now_ns();
        let made = with_cx(now, |cx| Exporter::allocate(cx, spec, List::new()));
        let mut shared = made.map_err(|e| {
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
        let no_vaddr = is_mapped && attrs.contains(Attrs::NO_KERNEL_MAPPING);
        let mut vaddr = ptr::null_mut();
        if is_mapped && !no_vaddr {
            // It is mapped already: this cannot fail.
            if let Ok(vmap) = shared.vmap(&mut Linux, now) {
                vaddr = vmap.get().as_ptr();
            }
        }
        if shared.add_user(UserKind::Plane, now).is_err() {
            with_cx(now, |cx| shared.release(cx));
            return Err(Errno::NO_MEMORY);
        }
        ledger::OBJECTS.add(1);
        Ok(Self {
            // SAFETY: the caller's promise.
            shared: unsafe { Locked::new(payload, shared) },
            kind,
            direction: spec.direction,
            dev,
            vaddr: AtomicPtr::new(vaddr),
            no_vaddr,
            _keeps: keeps,
        })
    }

    /// The kernel's mapping, made when first asked for; NULL if there is none.
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
            let made = shared.vmap(&mut Linux, now_ns());
            let at = made.map_or(ptr::null_mut(), |vmap| vmap.get().as_ptr());
            self.vaddr.store(at, Ordering::Release);
            at
        })
    }

    /// Gets ready to be exported.
    ///
    /// # Errors
    /// Memory that cannot be described to other devices.
    pub fn prepare_export(&self) -> Result<u64, Errno> {
        let done = self
            .shared
            .with(|shared| with_cx(0, |cx| shared.prepare_export(cx)).map(|()| shared.len_bytes()));
        done.map_err(|e| refused(self.dev, "an export", e))
    }

    /// Counts a user.
    pub fn add_user(&self, kind: UserKind) {
        // The count that decides is the shim's; this one tells who they are, up to 2^32 of them.
        let _full = self.shared.with(|shared| shared.add_user(kind, now_ns()));
    }

    /// Counts a user less.
    pub fn drop_user(&self, kind: UserKind) {
        self.shared
            .with(|shared| with_cx(0, |cx| shared.drop_user(cx, kind)));
    }

    /// What to map into a program.
    ///
    /// # Errors
    /// ENXIO out of range.
    pub fn mmap(&self, offset: u64, len_bytes: u64) -> Result<Mmap, Errno> {
        self.shared
            .with(|shared| shared.mmap(&mut Linux, offset, len_bytes))
            .map_err(|_| Errno::NO_SUCH)
    }

    /// Attaches a device.
    ///
    /// # Errors
    /// ENOMEM.
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

    /// Maps for an attached device; gives the table the importer reads.
    ///
    /// # Errors
    /// EBUSY while mapped in a direction that excludes this one; ENOMEM; EIO.
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

    /// Begins or ends an access by the CPU: syncs for the own and all mapped devices; gives how
    /// many.
    pub fn cpu_access(&self, direction: Direction, begin: bool) -> u32 {
        self.shared.with(|shared| {
            with_cx(0, |cx| {
                if begin {
                    shared.begin_cpu_access(cx, direction);
                } else {
                    shared.end_cpu_access(cx, direction);
                }
                cx.observer.syncs
            })
        })
    }

    /// Shows who holds the memory, in turn.
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

    /// Bytes, direction and kind of the memory.
    pub fn facts(&self) -> (u64, Direction, AllocatedAs) {
        let bytes = self.shared.with(|shared| shared.len_bytes());
        (bytes, self.direction, self.allocated_as())
    }

    /// Takes the memory away from all devices; [`Self::release`] is what is left to do.
    pub fn close(&mut self) -> Closed {
        with_cx(0, |cx| self.shared.get_mut().close(cx))
    }

    /// Gives closed memory back.
    pub fn release(self, closed: Closed) {
        with_cx(0, |cx| self.shared.into_inner().free(cx, closed));
        ledger::OBJECTS.add(-1);
    }

    /// Closes and gives back.
    fn end(mut self) {
        let closed = self.close();
        self.release(closed);
    }
}

/// A program's memory.
pub struct User {
    memory: UserMemory<Linux>,
    direction: Direction,
}

impl User {
    /// Pins and maps for a device.
    ///
    /// # Errors
    /// EINVAL for alignment or length zero; EFAULT for memory that is missing, read-only or
    /// scattered; ENOMEM; EIO.
    pub fn contig(
        dev: Dev,
        at: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<(Self, DmaAddr), Errno> {
        let made = with_cx(0, |cx| {
            UserMemory::contig(cx, dev, &(), at, len_bytes, direction)
        });
        let this = Self::of(dev, direction, made)?;
        let addr = this.memory.dma_addr().unwrap_or(DmaAddr::new(0));
        Ok((this, addr))
    }

    /// Pins and maps for the CPU.
    ///
    /// # Errors
    /// EINVAL for length zero; EFAULT for memory that is missing or read-only; ENOMEM.
    pub fn of_cpu(dev: Dev, at: u64, len_bytes: u64, direction: Direction) -> Result<Self, Errno> {
        let made = with_cx(0, |cx| {
            UserMemory::vmalloc(cx, dev, &(), at, len_bytes, direction)
        });
        Self::of(dev, direction, made)
    }

    fn of(
        dev: Dev,
        direction: Direction,
        made: Result<UserMemory<Linux>, PlaneError>,
    ) -> Result<Self, Errno> {
        let memory = made.map_err(|e| {
            dev.refused("user memory", e.reason());
            errno(e)
        })?;
        ledger::OBJECTS.add(1);
        Ok(Self { memory, direction })
    }

    /// The kernel's mapping; NULL for memory mapped for a device.
    pub fn vaddr(&self) -> *mut c_void {
        let vmap = self.memory.vmap();
        vmap.map_or(ptr::null_mut(), |vmap| vmap.get().as_ptr())
    }

    /// Bytes, and which way they go.
    pub fn facts(&self) -> (u64, Direction) {
        (Linux.table_len(self.memory.table()), self.direction)
    }

    /// Unmaps and unpins.
    pub fn put(self) {
        with_cx(0, |cx| self.memory.put(cx));
        ledger::OBJECTS.add(-1);
    }
}

/// Somebody else's memory.
pub struct Import {
    /// There until it is detached, and never where only the CPU uses the memory. For `map`,
    /// `unmap` and `detach`, which the queue's lock makes one after another.
    attached: Serial<Option<Attached>>,
    /// Whether only the CPU uses the memory.
    of_cpu: bool,
    /// The dma-buf, with the kernel's mapping of it.
    buf: Locked<Buf>,
    vaddr: AtomicPtr<c_void>,
    raw: *mut DmaBuf,
    is_mapped: AtomicBool,
    dev: Dev,
    direction: Direction,
    len_bytes: u64,
}

impl Import {
    /// Attaches a device.
    ///
    /// # Errors
    /// EFAULT for a dma-buf that is too small; what the exporter says.
    ///
    /// # Safety
    /// As [`Locked::new`].
    pub unsafe fn contig(
        payload: NonNull<c_void>,
        dev: Dev,
        buf: Buf,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self, Errno> {
        let attached = contig::attach(&mut Linux, &buf, dev, len_bytes)
            .map_err(|e| {
                dev.refused("a dma-buf", e.reason());
                errno(e)
            })?
            .wanting(len_bytes);
        let asked = (len_bytes, direction);
        // SAFETY: the caller's promise.
        Ok(unsafe { Self::of(payload, dev, buf, Some(attached), asked) })
    }

    /// Takes it for the CPU.
    ///
    /// # Errors
    /// EFAULT for a dma-buf that is too small; EINVAL for length zero.
    ///
    /// # Safety
    /// As [`Locked::new`].
    pub unsafe fn of_cpu(
        payload: NonNull<c_void>,
        dev: Dev,
        buf: Buf,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self, Errno> {
        contig::fits(Linux.size(&buf), len_bytes).map_err(|e| {
            dev.refused("a dma-buf", e.reason());
            errno(e)
        })?;
        // SAFETY: the caller's promise.
        Ok(unsafe { Self::of(payload, dev, buf, None, (len_bytes, direction)) })
    }

    /// # Safety
    /// As [`Locked::new`].
    unsafe fn of(
        payload: NonNull<c_void>,
        dev: Dev,
        buf: Buf,
        attached: Option<Attached>,
        (len_bytes, direction): (u64, Direction),
    ) -> Self {
        ledger::OBJECTS.add(1);
        Self {
            of_cpu: attached.is_none(),
            attached: Serial::new(attached),
            raw: buf.raw(),
            // SAFETY: the caller's promise.
            buf: unsafe { Locked::new(payload, buf) },
            vaddr: AtomicPtr::new(ptr::null_mut()),
            is_mapped: AtomicBool::new(false),
            dev,
            direction,
            len_bytes,
        }
    }

    /// Maps as one run; where it is mapped already, gives the address it has. For the CPU, maps for
    /// the CPU, and gives no address.
    ///
    /// # Errors
    /// EINVAL when mapping fails; EFAULT when it is scattered, or cannot be mapped for the CPU.
    ///
    /// # Safety
    /// As [`Serial::with`].
    pub unsafe fn map(&self) -> Result<DmaAddr, Errno> {
        let map = |attached: &mut Option<Attached>| {
            let attached = attached.as_mut().ok_or(PlaneError::Invalid(None))?;
            if attached.direction().is_some() {
                let first = Importer::segment(&Linux, attached, 0);
                return first.map(|s| s.addr).ok_or(PlaneError::Invalid(None));
            }
            contig::map(&mut Linux, attached, self.direction, self.len_bytes)
        };
        let mapped = if self.of_cpu {
            let is_mapped = !self.vaddr().is_null();
            is_mapped
                .then_some(DmaAddr::new(0))
                .ok_or(PlaneError::Fault(None))
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.attached.with(map) }
        };
        self.is_mapped.store(mapped.is_ok(), Ordering::Relaxed);
        mapped.map_err(|e: PlaneError| {
            self.dev.refused("a dma-buf", e.reason());
            errno(e)
        })
    }

    /// Bytes, which way they go, and the dma-buf.
    pub fn facts(&self) -> (u64, Direction, *mut DmaBuf) {
        (self.len_bytes, self.direction, self.raw)
    }

    /// The device, and which way it has the dma-buf mapped; `None` while it has not.
    pub fn mapped(&self) -> (Dev, Option<Direction>) {
        let is_mapped = self.is_mapped.load(Ordering::Relaxed);
        (self.dev, is_mapped.then_some(self.direction))
    }

    /// Unmaps, for kernel and device.
    ///
    /// # Safety
    /// As [`Serial::with`].
    pub unsafe fn unmap(&self) {
        if !self.vaddr.load(Ordering::Acquire).is_null() {
            self.buf.with(|buf| {
                self.vaddr.store(ptr::null_mut(), Ordering::Relaxed);
                Importer::vunmap(&mut Linux, buf);
            });
        }
        let unmap = |attached: &mut Option<Attached>| {
            if let Some(attached) = attached {
                Importer::unmap(&mut Linux, attached);
            }
        };
        // SAFETY: the caller's promise.
        unsafe { self.attached.with(unmap) };
        self.is_mapped.store(false, Ordering::Relaxed);
    }

    /// The kernel's mapping, made when first asked for; NULL if there is none.
    pub fn vaddr(&self) -> *mut c_void {
        let known = self.vaddr.load(Ordering::Acquire);
        if !known.is_null() {
            return known;
        }
        self.buf.with(|buf| {
            if buf.vaddr().is_null() && Importer::vmap(&mut Linux, buf).is_err() {
                return ptr::null_mut();
            }
            self.vaddr.store(buf.vaddr(), Ordering::Release);
            buf.vaddr()
        })
    }

    /// Unmaps and detaches. Called once.
    ///
    /// # Safety
    /// As [`Serial::with`].
    pub unsafe fn detach(&self) {
        // SAFETY: the caller's promise.
        let attached = unsafe {
            self.unmap();
            self.attached.with(Option::take)
        };
        if let Some(attached) = attached {
            Linux.detach(attached);
            ledger::OBJECTS.add(-1);
        } else if self.of_cpu {
            ledger::OBJECTS.add(-1);
        }
    }
}

impl Object {
    fn memory(&self) -> (Memory, Direction) {
        match self {
            Self::Allocated(a) => match a.allocated_as() {
                AllocatedAs::Device(coherency) => (Memory::Allocated(coherency), a.direction),
                AllocatedAs::Virtual => (Memory::Virtual, a.direction),
            },
            Self::User(u) if u.memory.vmap().is_some() => (Memory::UserVirtual, u.direction),
            Self::User(u) => (Memory::User, u.direction),
            Self::Import(i) if i.of_cpu => (Memory::Virtual, i.direction),
            Self::Import(i) => (Memory::Imported, i.direction),
        }
    }

    /// Whether a hand-over can have anything to do.
    pub fn is_handed_over(&self) -> bool {
        let (memory, direction) = self.memory();
        let (prepare, finish) = due(memory, direction, HintSkip::empty());
        prepare == Due::Sync || finish == Due::Sync
    }

    /// Hands the memory to the device or back, with the sync that is due; gives what came of it.
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
                // Pinned memory cannot be taken away: a copy to bounce slots does not fail.
                let _done = with_cx(0, |cx| u.memory.sync(cx, sync));
            }
            (_, Due::Skipped) => ledger::SKIPPED.add(1),
            _ => {}
        }
        step
    }
}
