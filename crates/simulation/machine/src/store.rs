//! Bytes of memory in this process: memfds that others can map, and private memory.
//!
//! `unsafe` is also used in `foreign.rs` and `udmabuf.rs`.
#![allow(unsafe_code, reason = "maps memory and copies to and from it")]

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Bytes per step of a copy. The C library copies longer pieces by one instruction (`rep movsb`). This instruction is
/// slower here, and it may write past the cache, so that the next reader of the bytes waits for memory.
const STEP: usize = 2 << 10;
const READ_WRITE: ProtFlags = ProtFlags::READ.union(ProtFlags::WRITE);

/// Copies bytes in steps.
///
/// # Safety
/// As of [`ptr::copy_nonoverlapping`].
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    for at in (0..len).step_by(STEP) {
        // SAFETY: as the caller promises; `at` is within both ranges.
        unsafe { ptr::copy_nonoverlapping(from.add(at), to.add(at), STEP.min(len - at)) };
    }
}

/// A mapping of this process, unmapped on drop.
///
/// # Invariants
/// `base` is the start of a mapping of `len` bytes that stays in place while the value lives.
#[derive(Debug)]
pub(crate) struct Mapped {
    base: NonNull<u8>,
    pub(crate) len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and its last owner unmaps it.
unsafe impl Send for Mapped {}
// SAFETY: a shared reference gives only addresses, and `read` and `write`, which allow concurrent accesses.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the first `len` bytes of a file, or zeroed private memory if there is none. `len` must not be zero.
    pub(crate) fn new(len: u64, prot: ProtFlags, file: Option<&OwnedFd>) -> Result<Self, Errno> {
        let len = usize::try_from(len).map_err(|_| Errno::NOMEM)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe {
            match file {
                Some(fd) => mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, fd, 0),
                None => {
                    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
                    mmap_anonymous(ptr::null_mut(), len, prot, flags)
                }
            }
        }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { base, len })
    }

    /// Returns the address of byte `offset`, if `len` bytes from there lie inside.
    pub(crate) fn at(&self, offset: u64, len: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(offset).ok()?;
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset` is within the mapping.
        Some(unsafe { self.base.add(offset) })
    }

    /// Copies bytes in; `None` outside the memory.
    ///
    /// # Safety
    /// This process must be able to write every byte of the mapping, as those of [`Shared`].
    unsafe fn write(&self, offset: u64, data: &[u8]) -> Option<()> {
        let to = self.at(offset, data.len())?;
        // SAFETY: as in `read`, in the other direction.
        unsafe { copy(data.as_ptr(), to.as_ptr(), data.len()) };
        Some(())
    }

    /// Copies bytes out; `None` outside the memory.
    ///
    /// # Safety
    /// This process must be able to read every byte of the mapping, as those of [`Shared`].
    unsafe fn read(&self, offset: u64, out: &mut [u8]) -> Option<()> {
        let from = self.at(offset, out.len())?;
        // SAFETY:
        // 1. `from` is valid for `out.len()` bytes of reads; `out` is an exclusive slice of our
        //    own, so the two do not overlap.
        // 2. Another process or thread may write these bytes at the same time. No reference to them
        //    exists, and bytes of any value are valid: the copy may then be a mixture, as on
        //    real hardware.
        unsafe { copy(from.as_ptr(), out.as_mut_ptr(), out.len()) };
        Some(())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: by the invariant this is a whole mapping of `len` bytes, which no code uses after
        // the value is dropped.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Memory that programs may also map: a memfd of fixed size and its mapping.
///
/// Its bytes are only copied and never borrowed, since a program may write them at any time. All of them can be
/// read and written.
#[derive(Debug)]
pub(crate) struct Shared {
    fd: OwnedFd,
    mapped: Arc<Mapped>,
}

/// Bytes of shared memory that any thread may read and write.
///
/// They stay mapped, even after the memory was freed. Revoked memory reads as zeroes.
#[derive(Debug)]
pub struct SharedBytes {
    mapped: Arc<Mapped>,
    start: u64,
    len: u64,
}

impl SharedBytes {
    /// Copies out the bytes from `offset`; `false` beyond their end.
    #[must_use]
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        let Some(start) = self.start_of(offset, out.len()) else {
            return false;
        };
        // SAFETY: the mapping is that of `Shared`.
        unsafe { self.mapped.read(start, out) }.is_some()
    }

    /// Copies bytes in from `offset` on; `false` beyond their end.
    #[must_use]
    pub fn write(&self, offset: u64, data: &[u8]) -> bool {
        let Some(start) = self.start_of(offset, data.len()) else {
            return false;
        };
        // SAFETY: the mapping is that of `Shared`.
        unsafe { self.mapped.write(start, data) }.is_some()
    }

    /// Returns the offset of a range in the mapping; `None` beyond the end of these bytes.
    fn start_of(&self, offset: u64, len: usize) -> Option<u64> {
        let end = offset.checked_add(len as u64)?;
        self.start.checked_add(offset).filter(|_| end <= self.len)
    }
}

impl Shared {
    /// Makes a memfd of `len` zeroed bytes with a fixed size. `len` must not be zero.
    pub(crate) fn new(len: u64) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = match memfd_create("vb3", flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => memfd_create("vb3", flags)?,
            other => other?,
        };
        ftruncate(&fd, len)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // The seals fix the file's size, so the file has memory for every byte of the mapping.
        let mapped = Mapped::new(len, READ_WRITE, Some(&fd))?;
        Ok(Self {
            fd,
            mapped: Arc::new(mapped),
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Returns `len` bytes from `start`, which any thread may read and write.
    pub(crate) fn bytes(&self, start: u64, len: u64) -> SharedBytes {
        let mapped = Arc::clone(&self.mapped);
        SharedBytes { mapped, start, len }
    }

    /// Copies bytes out; `None` outside the memory.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> Option<()> {
        // SAFETY: this process can read all of the mapping.
        unsafe { self.mapped.read(offset, out) }
    }

    /// Copies bytes in; `None` outside the memory.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Option<()> {
        // SAFETY: this process can write all of the mapping.
        unsafe { self.mapped.write(offset, data) }
    }

    /// Copies from other shared memory; `None` if a range is outside its memory.
    pub(crate) fn copy_from(
        &mut self,
        offset: u64,
        from: &Self,
        start: u64,
        len: u64,
    ) -> Option<()> {
        let len = usize::try_from(len).ok()?;
        let (to, source) = (self.mapped.at(offset, len)?, from.mapped.at(start, len)?);
        // SAFETY: `source` is valid for `len` bytes of reads and `to` for `len` bytes of writes, and `copy`
        // allows them to overlap. Concurrent writes by others are as in `Mapped::read`.
        unsafe { ptr::copy(source.as_ptr(), to.as_ptr(), len) };
        Some(())
    }

    /// Zeroes all of the memory and returns its pages to the system.
    ///
    /// All mappings, including this process's, then show zeroes, and get new pages when written. Pages that
    /// another party has pinned are zeroed in place.
    pub(crate) fn scrub(&mut self) {
        let len = self.mapped.len as u64;
        self.zero(0, len);
        // The bytes are zero now, even if the pages cannot be returned.
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = fallocate(&self.fd, punch, 0, len);
    }

    /// Zeroes a range; `None` outside the memory.
    pub(crate) fn zero(&mut self, offset: u64, len: u64) -> Option<()> {
        let len = usize::try_from(len).ok()?;
        let to = self.mapped.at(offset, len)?;
        // SAFETY: `to` is valid for `len` bytes of writes; no reference to them exists.
        unsafe { ptr::write_bytes(to.as_ptr(), 0, len) };
        Some(())
    }
}

/// Zeroed private memory of this process, for the bytes that devices see if they do not see the CPU's caches.
#[derive(Debug)]
pub(crate) struct Private(Mapped);

impl Private {
    /// Makes private memory of `len` zeroed bytes. `len` must not be zero.
    pub(crate) fn new(len: u64) -> io::Result<Self> {
        Ok(Self(Mapped::new(len, READ_WRITE, None)?))
    }

    pub(crate) fn all(&self) -> &[u8] {
        // SAFETY: the mapping is private, readable for `len` bytes, and borrowed with `self`.
        unsafe { std::slice::from_raw_parts(self.0.base.as_ptr(), self.0.len) }
    }

    pub(crate) fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is private, writable for `len` bytes, and exclusively borrowed
        // with `self`.
        unsafe { std::slice::from_raw_parts_mut(self.0.base.as_ptr(), self.0.len) }
    }

    /// Returns `len` bytes from `offset`; `None` outside the memory.
    pub(crate) fn slice(&self, offset: u64, len: u64) -> Option<&[u8]> {
        self.all().get(range(offset, len)?)
    }

    /// Returns `len` writable bytes from `offset`; `None` outside the memory.
    pub(crate) fn slice_mut(&mut self, offset: u64, len: u64) -> Option<&mut [u8]> {
        self.all_mut().get_mut(range(offset, len)?)
    }
}

fn range(offset: u64, len: u64) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(usize::try_from(len).ok()?)?)
}
