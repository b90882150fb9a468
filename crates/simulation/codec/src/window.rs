//! Maps one plane of lent memory into this process, so that a codec library can decode into the plane.
//!
//! A library writes more lines than the visible ones (whole macroblocks), and may access some bytes after
//! them. In the host's buffer, these bytes may belong to another plane. So after the plane's last whole page,
//! the mapping continues with private memory of this process. The end of the picture is there, and
//! [`Window::copy_last_page`] copies it to the buffer.
//!
//! [`Window::detach`] replaces the shared pages by private copies at the same addresses. The library can
//! still read the picture there. Its writes no longer reach the buffer.
#![expect(unsafe_code, reason = "maps memory over other memory")]

use crate::shm::Shared;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap, mmap_anonymous, mremap_fixed, munmap};
use std::cell::Cell;
use std::ptr::NonNull;

/// Mapped memory around a plane. The plane's whole pages are shared, the rest is private.
#[derive(Debug)]
pub(crate) struct Window {
    base: NonNull<u8>,
    /// Length of the mapping in bytes.
    len: usize,
    /// Offset of the plane's first byte in the memory.
    offset_in_memory: usize,
    /// Bytes from the base to the plane's first byte.
    skip: usize,
    /// Bytes of the plane's visible rows, including their padding.
    extent: usize,
    /// Length in bytes of the part that is shared with the buffer. This part begins at `base`.
    shared: Cell<usize>,
}

impl Window {
    /// Maps a plane: the `extent` bytes at `offset` of a memory. At least `room` bytes from the plane's first
    /// byte on are accessible.
    ///
    /// # Errors
    /// EINVAL if the plane exceeds the memory; else the system's error.
    pub(crate) fn new(
        memory: &Shared,
        offset: usize,
        extent: usize,
        room: usize,
    ) -> Result<Self, Errno> {
        let page = page_bytes().ok_or(Errno::INVAL)?;
        let end = offset.checked_add(extent).ok_or(Errno::INVAL)?;
        if end > memory.len() || extent == 0 {
            return Err(Errno::INVAL);
        }
        let first = offset - offset % page;
        let skip = offset - first;
        // The plane's last page may contain other bytes after the plane, so it is not shared.
        let shared = (end - end % page).saturating_sub(first);
        let len = skip
            .checked_add(room.max(extent))
            .and_then(|len| len.checked_next_multiple_of(page)?.checked_add(page))
            .ok_or(Errno::INVAL)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let base = unsafe { mmap_anonymous(core::ptr::null_mut(), len, prot, flags)? };
        let window = Self {
            base: NonNull::new(base.cast()).ok_or(Errno::NOMEM)?,
            len,
            offset_in_memory: offset,
            skip,
            extent,
            shared: Cell::new(shared),
        };
        if shared > 0 {
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            // SAFETY: `shared` is at most `len`, so it replaces pages of the mapping just made, which
            // is not in use. The memory has these pages: `end` was checked, and its size is sealed.
            unsafe { mmap(base, shared, prot, flags, memory.fd(), first as u64)? };
        }
        Ok(window)
    }

    /// Returns the address of the plane's first byte.
    ///
    /// While this window lives, [`room`](Self::room) bytes from this address on may be read and written.
    /// Other processes may read them at the same time.
    pub(crate) const fn start(&self) -> *mut u8 {
        // SAFETY: `skip` is less than `len`.
        unsafe { self.base.as_ptr().add(self.skip) }
    }

    /// Returns the number of bytes from the plane's first one to the end of the mapping.
    pub(crate) const fn room(&self) -> usize {
        self.len - self.skip
    }

    /// Copies the end of the picture, after the last shared page, to the buffer. Returns the number of bytes.
    /// `None` if the buffer is too short. Must not be called after [`detach`](Self::detach).
    pub(crate) fn copy_last_page(&self, memory: &Shared) -> Option<usize> {
        let end = self.skip + self.extent;
        let from = self.shared.get().max(self.skip);
        let len = end.checked_sub(from)?;
        // SAFETY: `from` and `len` lie in the mapping, in pages that only this process has. The library
        // may write there, but runs in this thread and does not run now.
        let bytes = unsafe { core::slice::from_raw_parts(self.base.as_ptr().add(from), len) };
        let to = self.offset_in_memory + (from - self.skip);
        memory.put(to, bytes).then_some(len)
    }

    /// Replaces the shared memory by a copy. Later writes do not reach the buffer.
    ///
    /// # Errors
    /// The system's error. Later writes then still reach the buffer.
    pub(crate) fn detach(&self) -> Result<(), Errno> {
        let shared = self.shared.get();
        if shared == 0 {
            return Ok(());
        }
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let copy = unsafe { mmap_anonymous(core::ptr::null_mut(), shared, prot, flags)? };
        let base = self.base.as_ptr();
        // SAFETY: both have `shared` bytes. Other processes may write the source meanwhile, and every
        // byte value is valid.
        unsafe { core::ptr::copy_nonoverlapping(base, copy.cast::<u8>(), shared) };
        let flags = MremapFlags::MAYMOVE;
        // SAFETY: the copy replaces the first `shared` bytes of the mapping, to which no reference
        // exists. A library's pointers to it stay valid.
        unsafe { mremap_fixed(copy, shared, shared, flags, base.cast())? };
        self.shared.set(0);
        Ok(())
    }
}

fn page_bytes() -> Option<usize> {
    // SAFETY: the call takes no pointer.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, and the library does not use it any more.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests;
