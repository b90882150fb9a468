//! Another driver's memory: a dma-buf of the real kernel, used as memory of the machine.
//!
//! This process maps the memory, but never accesses it by its own instructions. The kernel copies the
//! bytes, and reports missing pages. An exporter may remove pages at any time (an unplugged device, a
//! truncated file). The access then fails without a signal.
#![allow(unsafe_code, reason = "maps memory and lets the kernel copy it")]

use crate::store::Mapped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FsWord, SeekFrom, fstatfs, seek};
use rustix::io::Errno;
use rustix::ioctl::{Setter, ioctl, opcode};
use rustix::mm::ProtFlags;
use std::cell::Cell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

/// `DMA_BUF_MAGIC` of `linux/magic.h`.
const DMA_BUF_MAGIC: FsWord = 0x444d_4142;
/// `DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW`.
const SYNC_START_RW: u64 = 3;
/// `DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW`.
const SYNC_END_RW: u64 = 4 | 3;
const IOCTL_SYNC: rustix::ioctl::Opcode = opcode::write::<u64>(b'b', 0);

/// Returns whether a descriptor names a dma-buf of the kernel.
#[must_use]
pub fn is_dmabuf(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|stat| stat.f_type == DMA_BUF_MAGIC)
}

/// A dma-buf of another driver, mapped into this process.
///
/// [`Machine::import`](crate::Machine::import) turns it into memory of the machine.
#[derive(Debug)]
pub struct Foreign {
    fd: Arc<OwnedFd>,
    /// Only the kernel reads and writes it. No reference to it exists, and this process never accesses it.
    mapped: Mapped,
    /// Whether an access has been announced to the exporter and not ended.
    begun: Cell<bool>,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.end();
    }
}

impl Foreign {
    /// Maps a whole dma-buf, read-only if its descriptor is.
    ///
    /// # Errors
    /// The exporter's errors for its size or the mapping; EINVAL for an empty buffer.
    pub fn map(fd: Arc<OwnedFd>) -> io::Result<Self> {
        let len = seek(&*fd, SeekFrom::End(0))?;
        Self::map_first(fd, len)
    }

    /// Maps the first `len` bytes of a dma-buf, or of the memfd that it was made from.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_first(fd: Arc<OwnedFd>, len: u64) -> io::Result<Self> {
        let mapped = match Mapped::new(len, ProtFlags::READ | ProtFlags::WRITE, Some(&fd)) {
            Err(Errno::ACCESS) => Mapped::new(len, ProtFlags::READ, Some(&fd)),
            other => other,
        }?;
        Ok(Self {
            fd,
            mapped,
            begun: Cell::new(false),
        })
    }

    /// Returns the length of the memory in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.mapped.len as u64
    }

    /// Announces CPU accesses to the exporter, once for all accesses until `end`.
    ///
    /// The kernel's call waits until other devices have finished with the buffer. V4L2 importers do not wait
    /// for those devices, so this does nothing while other devices work on the buffer.
    fn begin(&self) {
        if self.begun.get() {
            return;
        }
        let mut fds = [PollFd::new(&*self.fd, PollFlags::OUT)];
        if poll(&mut fds, Some(&Timespec::default())) == Ok(1) {
            self.begun.set(self.sync(SYNC_START_RW));
        }
    }

    /// Announces the end of CPU accesses to the exporter.
    pub(crate) fn end(&self) {
        if self.begun.take() {
            self.sync(SYNC_END_RW);
        }
    }

    fn sync(&self, flags: u64) -> bool {
        // SAFETY: the request is DMA_BUF_IOCTL_SYNC, which reads one 64-bit word of flags.
        let request = unsafe { Setter::<IOCTL_SYNC, u64>::new(flags) };
        // SAFETY: as above.
        unsafe { ioctl(&*self.fd, request) }.is_ok()
    }

    /// Lets the kernel copy between `ours` and the bytes of the dma-buf from `offset` on. The call
    /// `process_vm_writev` copies to `ours`, and `process_vm_readv` copies from `ours`. Returns `None`
    /// outside the memory, or if not all bytes were copied.
    ///
    /// # Safety
    /// `ours` must be valid for `len` bytes of such accesses.
    unsafe fn copy(&self, offset: u64, ours: *mut u8, len: usize, call: CopyCall) -> Option<()> {
        let theirs = self.mapped.at(offset, len)?;
        self.begin();
        let bytes_at = |at: *mut u8| libc::iovec {
            iov_base: at.cast(),
            iov_len: len,
        };
        let (theirs, ours) = (bytes_at(theirs.as_ptr()), bytes_at(ours));
        // SAFETY:
        // 1. `ours` is valid, as the caller promises. `theirs` is mapped for that length; others may write it
        //    at the same time, and no reference to it exists.
        // 2. If a page of the mapping is unavailable or read-only, the kernel's copy stops there and returns
        //    fewer bytes. This raises no signal, since no instruction of this process touched the page.
        let copied = unsafe { call(own(), &raw const theirs, 1, &raw const ours, 1, 0) };
        (usize::try_from(copied) == Ok(len)).then_some(())
    }

    /// Copies bytes out; `None` outside the memory, or if the exporter has no page.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> Option<()> {
        let (ours, len) = (out.as_mut_ptr(), out.len());
        // SAFETY: the call writes only `out`, an exclusive slice of our own.
        unsafe { self.copy(offset, ours, len, libc::process_vm_writev) }
    }

    /// Copies bytes in; `None` outside the memory, if it is read-only, or if the exporter has no page.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Option<()> {
        let (ours, len) = (data.as_ptr().cast_mut(), data.len());
        // SAFETY: the call only reads `data`.
        unsafe { self.copy(offset, ours, len, libc::process_vm_readv) }
    }
}

/// The type of `process_vm_readv` and `process_vm_writev`.
type CopyCall = unsafe extern "C" fn(
    libc::pid_t,
    *const libc::iovec,
    libc::c_ulong,
    *const libc::iovec,
    libc::c_ulong,
    libc::c_ulong,
) -> libc::ssize_t;

fn own() -> libc::pid_t {
    rustix::process::getpid().as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::os::fd::AsFd;

    fn memfd(len: u64) -> Arc<OwnedFd> {
        let fd = memfd_create("foreign", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, len).unwrap();
        Arc::new(fd)
    }

    #[test]
    fn bytes_go_both_ways_and_not_beyond_the_end() {
        let fd = memfd(8192);
        let foreign = Foreign::map(fd.clone()).unwrap();
        assert_eq!(foreign.len_bytes(), 8192);
        assert!(foreign.write(4094, &[1, 2, 3, 4]).is_some());
        let mut seen = [0; 4];
        rustix::io::pread(&*fd, &mut seen, 4094).unwrap();
        assert_eq!(seen, [1, 2, 3, 4]);
        let mut out = [9; 2];
        assert!(foreign.read(4096, &mut out).is_some());
        assert_eq!(out, [3, 4]);
        assert!(foreign.read(8191, &mut out).is_none() && foreign.write(u64::MAX, &[1]).is_none());
        assert!(foreign.write(8192, &[]).is_some(), "nothing fits anywhere");
    }

    #[test]
    fn lost_pages_fail_the_access_without_signal() {
        let fd = memfd(8192);
        let foreign = Foreign::map(fd.clone()).unwrap();
        ftruncate(&*fd, 4096).unwrap();
        let mut out = [9; 8];
        assert!(foreign.read(4088, &mut out).is_some() && foreign.write(0, &[1]).is_some());
        assert!(foreign.read(4096, &mut out).is_none() && foreign.write(4096, &[1]).is_none());
        assert!(foreign.read(4092, &mut out).is_none() && foreign.write(4092, &[1; 8]).is_none());
    }

    #[test]
    fn unmappable_fd_is_refused_read_only_fd_is_read() {
        let null = Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
        assert!(Foreign::map(null).is_err());
        assert!(Foreign::map(memfd(0)).is_err());
        let fd = memfd(4096);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&*fd));
        let read_only = OwnedFd::from(std::fs::File::open(path).unwrap());
        let foreign = Foreign::map(Arc::new(read_only)).unwrap();
        assert!(foreign.read(0, &mut [0; 16]).is_some() && foreign.write(0, &[1]).is_none());
    }

    #[test]
    fn a_memfd_is_no_dmabuf_and_takes_no_sync() {
        let fd = memfd(4096);
        assert!(!is_dmabuf(fd.as_fd()));
        let foreign = Foreign::map(fd).unwrap();
        assert!(foreign.read(0, &mut [0; 1]).is_some() && !foreign.begun.get());
    }

    #[test]
    fn a_real_dmabuf_is_known_and_bracketed() {
        let Some(udmabuf) = crate::Udmabuf::open() else {
            vb3_skip::elsewhere("/dev/udmabuf cannot be opened here");
            return;
        };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memfd = memfd_create("foreign", flags).unwrap();
        ftruncate(&memfd, 8192).unwrap();
        rustix::fs::fcntl_add_seals(&memfd, rustix::fs::SealFlags::SHRINK).unwrap();
        let fd = Arc::new(udmabuf.export(memfd.as_fd(), 8192).unwrap());
        assert!(is_dmabuf(fd.as_fd()));
        let foreign = Foreign::map(fd.clone()).unwrap();
        assert!(foreign.write(4096, b"seen").is_some() && foreign.begun.get());
        foreign.end();
        let mut seen = [0; 4];
        rustix::io::pread(&memfd, &mut seen, 4096).unwrap();
        assert_eq!((&seen, foreign.begun.get()), (b"seen", false));
        assert_eq!(crate::dmabuf_holders(fd.as_fd()), Some(2));
    }
}
