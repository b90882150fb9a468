//! Memory shared by two processes: a sealed memfd and its mapping.
#![expect(
    unsafe_code,
    reason = "maps memory, and reads it while another process may write it"
)]

use rustix::fs::{
    MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create,
};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::Builder;

/// Seals that fix a memfd's size, so that access within it cannot fault.
const SIZE_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// Maximum number of bytes that are populated: more than the largest picture has. The other process may wait meanwhile.
const MAX_POPULATED: usize = 64 << 20;

/// A mapped memfd whose size can no longer change.
#[derive(Debug)]
pub(crate) struct Shared {
    file: File,
    start: NonNull<u8>,
    len: usize,
    /// Whether this process made the memory, rather than the other one.
    is_own: bool,
    /// Whether [`populate`](Self::populate) was called.
    is_populated: AtomicBool,
}

// SAFETY: the mapping belongs to this value and to no thread.
unsafe impl Send for Shared {}
// SAFETY: methods with `&self` read, use atomics, or write bytes that no slice covers (`put`).
unsafe impl Sync for Shared {}

impl Shared {
    /// Makes and maps `len` zeroed bytes. Pages are allocated at first use.
    pub(crate) fn new(len: usize) -> Result<Self, Errno> {
        let file = memfd_create(
            c"vb3-codec",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?;
        ftruncate(&file, len as u64)?;
        fcntl_add_seals(&file, SIZE_SEALS | SealFlags::SEAL)?;
        let mut made = Self::map(file.into(), len)?;
        made.is_own = true;
        Ok(made)
    }

    /// Maps the first `len` bytes of a memfd of the other process.
    ///
    /// # Errors
    /// EINVAL if the memory is shorter than `len`, or its size is not fixed.
    pub(crate) fn open(file: OwnedFd, len: usize) -> Result<Self, Errno> {
        let file = File::from(file);
        let found = file.metadata().map_err(|_| Errno::INVAL)?.len();
        if !fcntl_get_seals(&file)?.contains(SIZE_SEALS) || found < len as u64 {
            return Err(Errno::INVAL);
        }
        Self::map(file, len)
    }

    /// Maps a whole memfd of the other process.
    ///
    /// # Errors
    /// EINVAL if the memory's size is not fixed.
    pub(crate) fn open_whole(file: OwnedFd) -> Result<Self, Errno> {
        let file = File::from(file);
        let found = file.metadata().map_err(|_| Errno::INVAL)?.len();
        let len = usize::try_from(found).map_err(|_| Errno::INVAL)?;
        Self::open(file.into(), len)
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
        Ok(Self {
            file,
            start,
            len,
            is_own: false,
            is_populated: AtomicBool::new(false),
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Returns `len` bytes at `offset`; `None` outside the memory.
    pub(crate) fn bytes(&self, offset: usize, len: usize) -> Option<&[u8]> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: the range was checked and is mapped as long as `self` lives. The seals keep its pages. The
        // other process writes a picture's slot only while the slot is free. If the process breaks this rule,
        // bytes change while we read them. Every value is valid, and no decision needs two reads to give the
        // same value.
        Some(unsafe { core::slice::from_raw_parts(self.start.as_ptr().add(offset), len) })
    }

    /// Copies `data` to `offset`, even while others read and write. Returns false outside the memory.
    pub(crate) fn put(&self, offset: usize, data: &[u8]) -> bool {
        let end = offset.checked_add(data.len());
        if end.is_none_or(|end| end > self.len) {
            return false;
        }
        // SAFETY: the range was checked and is mapped as long as `self` lives. The seals keep its
        // pages. No reference to these bytes exists, and every value is valid. A simultaneous reader
        // sees a mixture, as on hardware.
        unsafe {
            let to = self.start.as_ptr().add(offset);
            core::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len());
        }
        true
    }

    /// Makes the system allocate and map all pages now, at the first call. This needs less time than a page fault for
    /// each. Does nothing for long memory, of which a picture uses only a part.
    pub(crate) fn populate(&self) {
        if self.len > MAX_POPULATED || self.is_populated.swap(true, Ordering::Relaxed) {
            return;
        }
        // SAFETY: the range is this mapping, and the advice changes no byte. If madvise fails, as it does on Linux
        // before 5.14, the system maps each page at its first use instead.
        let _ = unsafe {
            madvise(
                self.start.as_ptr().cast(),
                self.len,
                Advice::LinuxPopulateWrite,
            )
        };
    }

    /// Returns the word at byte `offset`; `None` if it is unaligned or outside the memory.
    pub(crate) fn word(&self, offset: usize) -> Option<&AtomicU32> {
        if offset.checked_add(size_of::<u32>())? > self.len || !offset.is_multiple_of(4) {
            return None;
        }
        // SAFETY: the word was checked to lie inside the mapping, which starts at a page and lasts as
        // long as `self`. Both processes use only atomic operations on it.
        Some(unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) })
    }

    /// Returns `len` writable bytes at `offset`; `None` outside the memory.
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
        // The kernel needs 100 ms to free a decoder's input, and the owner may hold a lock.
        let is_slow = self.is_own && self.len >= LARGE;
        let rest = Rest {
            start: self.start,
            len: self.len,
            _file: is_slow.then(|| self.file.try_clone().ok()).flatten(),
        };
        if is_slow {
            let thread = Builder::new().name("codec-memory".to_owned());
            // If no thread can be started, this one frees the memory.
            drop(thread.spawn(move || drop(rest)));
        }
    }
}

/// Own memory of this length or longer is freed by a thread, which is started for it.
const LARGE: usize = 1 << 20;

/// The mapping of dropped memory. The file, if any, keeps the memory until this value is dropped, too.
struct Rest {
    start: NonNull<u8>,
    len: usize,
    _file: Option<File>,
}

// SAFETY: the mapping belongs to this value and to no thread.
unsafe impl Send for Rest {}

impl Drop for Rest {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `Shared::map`; no slice outlives the `Shared`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn populated_memory_has_all_its_pages() {
        let pages = |memory: &Shared| memory.file.metadata().unwrap().blocks() * 512 / 4096;
        let memory = Shared::new(16 * 4096).unwrap();
        assert!(memory.put(5000, &[7]));
        assert_eq!(pages(&memory), 1);
        memory.populate();
        assert_eq!(pages(&memory), 16);
        assert_eq!(memory.bytes(4999, 3), Some(&[0, 7, 0][..]));
        let long = Shared::new(MAX_POPULATED + 4096).unwrap();
        long.populate();
        assert_eq!(pages(&long), 0);
    }
}
