//! The memory of a plane: allocated memory, a program's memory, or an imported dma-buf.
// UNSAFETY: this file calls the kernel, as `linux.rs` does. SOUNDNESS.md lists the conditions.

use crate::attachments::{Key, List};
use crate::device::{Dev, Use};
use crate::import::Import;
use crate::kernel::{Errno, Locked};
use crate::ledger::{Count, Ledger};
use crate::linux::{Alloc, AllocatedAs, Linux};
use crate::sys::{self, SgTable};
use crate::user::User;
use core::ffi::{c_int, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};
use vb3_dma::{Attrs, Direction, DmaAddr, DmaOps};
use vb3_dmabuf::{Attachment, Cx, Error, Shared, Spec};
use vb3_plane::{contig, due};

/// Allocated memory, with the devices attached to it.
pub type Exporter = Shared<Linux, List<Attachment<Linux>>>;

/// Calls `f` with the context for calls of `dma`, `dmabuf` and `plane`.
pub(crate) fn with_cx<R>(f: impl FnOnce(&Cx<'_, Linux, Ledger>) -> R) -> R {
    with_request(&Linux::PLAIN, 0, f)
}

/// As [`with_cx`], with the parameters of a request, and with the time.
pub(crate) fn with_request<R>(
    ops: &Linux,
    now_ns: u64,
    f: impl FnOnce(&Cx<'_, Linux, Ledger>) -> R,
) -> R {
    f(&Cx {
        ops,
        observer: &Ledger::default(),
        now_ns,
    })
}

/// The memory of one plane.
pub enum Object {
    /// Allocated by this module (MMAP).
    Allocated(Allocated),
    /// A program's memory (USERPTR).
    User(User),
    /// A dma-buf (DMABUF).
    Import(Import),
}

/// Allocated memory, with everything that its users need.
pub struct Allocated {
    shared: Locked<Exporter>,
    dev: Dev,
    vaddr: AtomicPtr<c_void>,
    /// Whether a driver asked for memory without a kernel mapping.
    no_vaddr: bool,
    pub(crate) kind: AllocatedAs,
    pub(crate) direction: Direction,
}

impl Allocated {
    /// Makes an object in its payload, in place, because the object is large.
    ///
    /// Returns the memory's address for the device (`None` for the CPU's memory) and the table of
    /// non-coherent memory.
    ///
    /// # Errors
    /// Returns EINVAL for length zero, else ENOMEM. The payload stays empty.
    ///
    /// # Safety
    /// `payload` must be an empty payload that no other code has yet.
    #[inline(always)]
    pub unsafe fn make(
        payload: NonNull<c_void>,
        ops: &Linux,
        dev: Dev,
        spec: Spec<Dev>,
    ) -> Result<(Option<DmaAddr>, *mut SgTable), Errno> {
        let made = with_request(ops, 0, |cx| Exporter::allocate(cx, spec, List::new()));
        let made = made.map_err(contig::alloc_error);
        let shared = made.map_err(|e| dev.refused("an allocation", e.reason(), e.errno()))?;
        let addr = Linux::PLAIN.alloc_dma_addr(shared.memory());
        let alloc = *shared.memory().alloc().ok_or(Errno::EINVAL)?;
        let is_mapped = alloc.kind != AllocatedAs::NonCoherent;
        let no_vaddr = is_mapped && spec.attrs.contains(Attrs::NO_KERNEL_MAPPING);
        let vaddr = match is_mapped && !no_vaddr {
            true => alloc.at.as_ptr(),
            false => ptr::null_mut(),
        };
        let object = Object::Allocated(Self {
            dev,
            // SAFETY: the object is stored in the payload, which no other code has yet.
            shared: unsafe { Locked::new(payload, shared) },
            vaddr: AtomicPtr::new(vaddr),
            no_vaddr,
            kind: alloc.kind,
            direction: spec.direction,
        });
        // SAFETY: the payload is large enough and aligned like u64 (asserted in `entry.rs`).
        unsafe { payload.cast::<Object>().write(object) };
        let sgt = alloc.sgt().map_or(ptr::null_mut(), NonNull::as_ptr);
        Ok((addr, sgt))
    }

    /// Returns the kernel's mapping, or NULL. For non-coherent memory, the first call makes it.
    pub fn vaddr(&self) -> *mut c_void {
        if self.no_vaddr {
            return ptr::null_mut();
        }
        self.shared.mapped_once(&self.vaddr, |shared| {
            // Only non-coherent memory gets here: other memory is always mapped.
            // SAFETY: the allocation exists.
            let vmap = |alloc| unsafe { sys::vb3_memory_vmap(alloc) };
            shared.memory().alloc().map_or(ptr::null_mut(), vmap)
        })
    }

    /// Prepares an export. Returns the length in bytes.
    ///
    /// # Errors
    /// Fails if no table can describe the memory to other devices.
    pub fn export(&self) -> Result<u64, Errno> {
        let done = self.shared.with(|shared| {
            with_cx(|cx| shared.prepare_export(cx))?;
            Ok(shared.len_bytes())
        });
        done.map_err(|e: Error| self.dev.refused("an export", e.reason(), e.errno()))
    }

    /// Returns the memory to map into a program.
    ///
    /// # Errors
    /// Returns ENXIO for a range beyond the memory.
    pub fn mmap(&self, offset: u64, len_bytes: u64) -> Result<Alloc, Errno> {
        self.shared
            .with(|shared| shared.mmap(&Linux::PLAIN, offset, len_bytes))
            .map_err(|_| Errno::ENXIO)
    }

    /// Attaches a device.
    ///
    /// # Errors
    /// Returns ENOMEM.
    ///
    /// # Safety
    /// As [`List::provide`].
    pub unsafe fn attach(&self, dev: Dev, room: NonNull<c_void>) -> Result<(), Errno> {
        let attached = self.shared.with(|shared| {
            // SAFETY: the caller guarantees this.
            unsafe { shared.attachments().provide(room) };
            // SAFETY: the call has no condition.
            with_request(&Linux::PLAIN, unsafe { sys::vb3_now_ns() }, |cx| {
                shared.attach(cx, dev)
            })
        });
        attached.map_err(|e| dev.refused("an attachment", e.reason(), e.errno()))?;
        Count::Attachments.add(1);
        Ok(())
    }

    /// Detaches a device.
    pub fn detach(&self, key: Key) {
        if self
            .shared
            .with(|shared| with_cx(|cx| shared.detach(cx, key)))
        {
            Count::Attachments.add(-1);
        }
    }

    /// Maps the memory for an attached device, `dev`. Returns the table for the importer.
    /// An importer of this module records its device's use in `told`. For other importers, `told` always says that
    /// the device uses the memory.
    ///
    /// # Errors
    /// Returns EBUSY while the memory is mapped in a direction that excludes `direction`; ENOMEM; EIO.
    ///
    /// # Safety
    /// `told` must outlive the attachment.
    pub unsafe fn map(
        &self,
        dev: Dev,
        key: Key,
        told: NonNull<Use>,
        direction: Direction,
    ) -> Result<*mut SgTable, Errno> {
        let ops = Linux {
            told: Some(told),
            ..Linux::PLAIN
        };
        let mapped = self.shared.with(|shared| {
            with_request(&ops, 0, |cx| shared.map(cx, key, direction))?;
            let mapping = shared.mapping(key).ok_or(Error::Invalid)?;
            Ok(mapping.sgt.as_ptr())
        });
        mapped.map_err(|e: Error| dev.refused("a shared buffer", e.reason(), e.errno()))
    }

    /// Undoes one map for an attached device.
    pub fn unmap(&self, key: Key) {
        self.shared
            .with(|shared| with_cx(|cx| shared.unmap(cx, key)));
    }

    /// Begins or ends an access by the CPU. Returns the number of syncs.
    /// Syncs for the owner and for all devices that have mapped the memory.
    pub fn cpu_access(&self, direction: Direction, begin: bool) -> u32 {
        self.shared.with(|shared| {
            with_cx(|cx| {
                // Linux's syncs cannot fail.
                let _ = match begin {
                    true => shared.begin_cpu_access(cx, direction),
                    false => shared.end_cpu_access(cx, direction),
                };
                cx.observer.syncs.get()
            })
        })
    }

    /// Calls `show` for each attached device.
    pub fn each_attached(&self, show: impl FnMut(&Attachment<Linux>)) {
        self.shared
            .with(|shared| shared.attachments().iter().for_each(show));
    }

    /// Returns whether the kernel has the memory mapped.
    pub fn is_vmapped(&self) -> bool {
        !self.vaddr.load(Ordering::Relaxed).is_null()
    }

    /// Returns the length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.shared.with(|shared| shared.len_bytes())
    }

    /// Detaches all devices and frees the memory in place, since the object is large.
    ///
    /// # Safety
    /// No code, the caller included, may use the object afterwards.
    pub unsafe fn end(&mut self) {
        with_cx(|cx| {
            let vaddr = *self.vaddr.get_mut();
            let shared = self.shared.get_mut();
            shared.close(cx);
            let is_view = self.kind == AllocatedAs::NonCoherent && !vaddr.is_null();
            if let Some(alloc) = shared.memory().alloc().filter(|_| is_view) {
                // SAFETY: `vaddr` made this mapping, which ends here.
                unsafe { sys::vb3_memory_vunmap(alloc, vaddr) };
            }
            // SAFETY: nothing uses the object after the move, and its other fields need no drop.
            unsafe { ptr::read(shared) }.release(cx);
        });
    }
}

impl Object {
    /// Returns the steps whose sync is due, unless a cache hint omits it: 1 for prepare, 2 for finish.
    /// Neither memory nor direction ever changes.
    pub fn syncs(&self) -> c_int {
        let (needs_sync, direction) = match self {
            Self::Allocated(a) => (matches!(a.kind, AllocatedAs::NonCoherent), a.direction),
            Self::User(u) => (true, u.memory.direction()),
            Self::Import(i) => (false, i.direction),
        };
        let (prepare, finish) = due(needs_sync, direction);
        c_int::from(prepare) | (c_int::from(finish) << 1)
    }
}
