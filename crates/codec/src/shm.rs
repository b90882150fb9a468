//! Memory that two processes share: a sealed memfd and its mapping.
#![expect(
    unsafe_code,
    reason = "mapping memory, and reading it while another process may write it"
)]

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// Seals that fix a memfd's size: access within it cannot fault.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// A mapped memfd whose size can no longer change.
#[derive(Debug)]
pub(crate) struct Shared {
    file: File,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value and is bound to no thread.
unsafe impl Send for Shared {}
// SAFETY: through `&Shared` memory is only read, never written.
unsafe impl Sync for Shared {}

impl Shared {
    /// Makes and maps `len` bytes of zeroes; pages are used as they are touched.
    pub(crate) fn new(len: usize) -> Result<Self, Errno> {
        let file = memfd_create(
            c"vb3-codec",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?;
        ftruncate(&file, len as u64)?;
        fcntl_add_seals(&file, SIZE_SEALS | SealFlags::SEAL)?;
        Self::map(file.into(), len)
    }

    /// Maps what the other side made.
    ///
    /// # Errors
    /// EINVAL if its size is not fixed or less than `len`.
    pub(crate) fn open(file: OwnedFd, len: usize) -> Result<Self, Errno> {
        let file = File::from(file);
        let found = file.metadata().map_err(|_| Errno::INVAL)?.len();
        if !fcntl_get_seals(&file)?.contains(SIZE_SEALS) || found < len as u64 {
            return Err(Errno::INVAL);
        }
        Self::map(file, len)
    }

    fn map(file: File, len: usize) -> Result<Self, Errno> {
        if len == 0 {
            return Err(Errno::INVAL);
        }
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            mmap(
                core::ptr::null_mut(),
                len,
                prot,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { file, start, len })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// `len` bytes at `offset`; `None` outside.
    pub(crate) fn bytes(&self, offset: usize, len: usize) -> Option<&[u8]> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: the range was checked and is mapped as long as `self` lives; the seals keep its
        // pages from going away. The other process writes a slot only before it says that the slot
        // is ready and after it was told that the slot is free. One that breaks this rule changes
        // bytes of which every value is valid, and nobody takes a decision on their staying equal.
        Some(unsafe { core::slice::from_raw_parts(self.start.as_ptr().add(offset), len) })
    }

    /// `len` bytes at `offset` to write; `None` outside.
    pub(crate) fn bytes_mut(&mut self, offset: usize, len: usize) -> Option<&mut [u8]> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: as for `bytes`; `&mut self` makes it the only slice of this mapping.
        Some(unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr().add(offset), len) })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map`; no slice outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
