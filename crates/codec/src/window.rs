//! A plane of a picture in memory that is lent, mapped so that a codec library may decode there.
//!
//! A library writes more lines than are shown (whole macroblocks) and may touch some bytes after
//! the last: in the buffer these bytes may be another plane's. So whatever lies after the last
//! whole page of the plane is memory of this process, and [`Window::settle`] copies what the last
//! page has of the picture. [`Window::detach`] makes all of it memory of this process, at the same
//! addresses: a library that still reads the picture finds it, and what it writes reaches nobody.
#![expect(unsafe_code, reason = "maps memory over other memory")]

use crate::shm::Shared;
use rustix::io::Errno;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap, mmap_anonymous, mremap_fixed, munmap};
use std::cell::Cell;
use std::ptr::NonNull;

/// Memory around a plane: shared as far as whole pages are the plane's, then this process's.
#[derive(Debug)]
pub(crate) struct Window {
    base: NonNull<u8>,
    /// Bytes mapped.
    len: usize,
    /// Of the plane's first byte.
    offset_in_memory: usize,
    /// From the base to the plane's first byte.
    skip: usize,
    /// Bytes of the plane that are shown, lines' padding included.
    extent: usize,
    /// Bytes from the base that are shared.
    shared: Cell<usize>,
}

impl Window {
    /// Maps `extent` bytes at `offset` of a memory, and makes room for `room` bytes in all.
    ///
    /// # Errors
    /// EINVAL if the plane does not lie in the memory; else what the system says.
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
        // The page in which the plane ends has other bytes, too.
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
            // nobody has seen. The memory has these pages: `end` was checked, and its size is sealed.
            unsafe { mmap(base, shared, prot, flags, memory.fd(), first as u64)? };
        }
        Ok(window)
    }

    /// The plane's first byte. [`room`](Self::room) bytes may be read and written from there while
    /// this lives, by whoever knows that others may look.
    pub(crate) const fn start(&self) -> *mut u8 {
        // SAFETY: `skip` is less than `len`.
        unsafe { self.base.as_ptr().add(self.skip) }
    }

    /// Bytes from the plane's first to the end of the mapping.
    pub(crate) const fn room(&self) -> usize {
        self.len - self.skip
    }

    /// Copies to the memory what the last page has of the picture; gives how many bytes these are.
    /// `None` where the memory has no room for them. Not after [`detach`](Self::detach).
    pub(crate) fn settle(&self, memory: &Shared) -> Option<usize> {
        let end = self.skip + self.extent;
        let from = self.shared.get().max(self.skip);
        let len = end.checked_sub(from)?;
        // SAFETY: `from` and `len` lie in the mapping, in pages that only this process has; the
        // library, which may write there, runs in this thread and does not now.
        let bytes = unsafe { core::slice::from_raw_parts(self.base.as_ptr().add(from), len) };
        let to = self.offset_in_memory + (from - self.skip);
        memory.put(to, bytes).then_some(len)
    }

    /// Goes on with a copy: nothing that is written here reaches the memory any more.
    ///
    /// # Errors
    /// What the system says; then it still does.
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
        // SAFETY: both have `shared` bytes; others may write the one meanwhile, and bytes of any
        // value are valid.
        unsafe { core::ptr::copy_nonoverlapping(base, copy.cast::<u8>(), shared) };
        let flags = MremapFlags::MAYMOVE;
        // SAFETY: the copy takes the place of the first `shared` bytes of the mapping, to which no
        // reference exists; pointers to it that a library has stay good.
        unsafe { mremap_fixed(copy, shared, shared, flags, base.cast())? };
        self.shared.set(0);
        Ok(())
    }
}

fn page_bytes() -> Option<usize> {
    // SAFETY: asks for a number that the process was started with.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`; the library has let go of it.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests;
