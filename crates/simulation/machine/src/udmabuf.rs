//! Real dma-bufs over the machine's memory, where the kernel offers `/dev/udmabuf`.
//!
//! A program's GPU or other hardware can import such a buffer, but not a memfd.
#![allow(unsafe_code, reason = "makes an ioctl that no crate wraps")]

use rustix::fs::{Mode, OFlags, open};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct udmabuf_create` of `linux/udmabuf.h`.
#[repr(C)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

/// `UDMABUF_FLAGS_CLOEXEC`.
const CLOEXEC: u32 = 1;

// SAFETY: the opcode is UDMABUF_CREATE, whose argument is `struct udmabuf_create`; the kernel only reads it,
// and returns a new descriptor.
unsafe impl Ioctl for Create {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::write::<Self>(b'u', 0x42)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut *self).cast()
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<OwnedFd> {
        // SAFETY: the kernel has just made this descriptor for this call, and no other code owns
        // it.
        Ok(unsafe { OwnedFd::from_raw_fd(out) })
    }
}

/// The kernel's device for making dma-bufs from memfds.
#[derive(Debug)]
pub struct Udmabuf {
    device: OwnedFd,
}

impl Udmabuf {
    /// Opens `/dev/udmabuf`; `None` if it is missing or not permitted.
    #[must_use]
    pub fn open() -> Option<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let device = open("/dev/udmabuf", flags, Mode::empty()).ok()?;
        Some(Self { device })
    }

    /// Returns a dma-buf of the first `len` bytes of a memfd of the machine ([`crate::Mmap::fd`]). It is open
    /// for reading and writing.
    ///
    /// # Errors
    /// The kernel's errors: EINVAL beyond its size limit (64 MiB by default), ENOMEM.
    pub fn export(&self, memfd: BorrowedFd<'_>, len: u64) -> io::Result<OwnedFd> {
        let memfd = u32::try_from(memfd.as_raw_fd()).map_err(|_| rustix::io::Errno::BADF)?;
        let create = Create {
            memfd,
            flags: CLOEXEC,
            offset: 0,
            size: len,
        };
        // SAFETY: see the implementation of `Ioctl`.
        Ok(unsafe { ioctl(&self.device, create) }?)
    }
}

/// Counts the descriptors and mappings of a dma-buf in all processes, including `fd`. `None` if `fd` is not a
/// dma-buf.
#[must_use]
pub fn dmabuf_holders(fd: BorrowedFd<'_>) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let info = std::fs::read_to_string(path).ok()?;
    let count = info.lines().find_map(|line| line.strip_prefix("count:"))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::MemfdFlags;
    use std::os::fd::AsFd;

    #[test]
    fn a_memfd_is_no_dmabuf() {
        let memfd = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(dmabuf_holders(memfd.as_fd()), None);
    }

    #[test]
    fn a_dmabuf_of_machine_memory_counts_its_holders() {
        let Some(udmabuf) = Udmabuf::open() else {
            vb3_skip::elsewhere("/dev/udmabuf cannot be opened here");
            return;
        };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memfd = rustix::fs::memfd_create("test", flags).unwrap();
        rustix::fs::ftruncate(&memfd, 8192).unwrap();
        rustix::fs::fcntl_add_seals(&memfd, rustix::fs::SealFlags::SHRINK).unwrap();
        let fd = udmabuf.export(memfd.as_fd(), 8192).unwrap();
        assert_eq!(dmabuf_holders(fd.as_fd()), Some(1));
        let second = fd.try_clone().unwrap();
        assert_eq!(dmabuf_holders(fd.as_fd()), Some(2));
        drop(second);
        assert_eq!(dmabuf_holders(fd.as_fd()), Some(1));
    }
}
