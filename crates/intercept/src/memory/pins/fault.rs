//! A userfaultfd that tells of changes and catches nothing.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::kernel::raw;
use vb3_host::Errno;

/// How a thread makes one: closed at exec, never waited for, for faults of the program itself
/// (`UFFD_USER_MODE_ONLY`), which needs no privilege.
pub(crate) const CREATE_FLAGS: u64 = (libc::O_CLOEXEC | libc::O_NONBLOCK) as u64 | 1;

const API: u64 = 0xaa;
/// `UFFD_FEATURE_`: `EVENT_REMAP`, `EVENT_REMOVE`, `EVENT_UNMAP`, `PAGEFAULT_FLAG_WP` and
/// `WP_HUGETLBFS_SHMEM`: watching for writes is the kind of watch that catches nothing unless asked.
const FEATURES: u64 = 1 << 2 | 1 << 3 | 1 << 6 | 1 | 1 << 12;
/// `UFFDIO_REGISTER_MODE_WP`.
const MODE: u64 = 2;

const fn ioctl(dir: u64, nr: u64, size: usize) -> libc::c_ulong {
    dir << 30 | (size as u64) << 16 | 0xaa << 8 | nr
}
const UFFDIO_API: libc::c_ulong = ioctl(3, 0x3f, 24);
const UFFDIO_REGISTER: libc::c_ulong = ioctl(3, 0, 32);
const UFFDIO_UNREGISTER: libc::c_ulong = ioctl(2, 1, 16);
const UFFDIO_WRITEPROTECT: libc::c_ulong = ioctl(3, 6, 24);

/// What a program has done to memory that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// mremap: `len` bytes are elsewhere now.
    Moved { from: u64, to: u64, len: u64 },
    /// munmap, or madvise that drops pages.
    Gone { start: u64, end: u64 },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Fault(OwnedFd);

impl Fault {
    /// # Errors
    /// EINVAL where the kernel does not tell of all that is to be told.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let fault = Self(fd);
        fault.control(UFFDIO_API, &mut [API, FEATURES, 0])?;
        Ok(fault)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    fn control<const N: usize>(
        &self,
        request: libc::c_ulong,
        arg: &mut [u64; N],
    ) -> Result<(), Errno> {
        // SAFETY: every caller passes as many words as the request's number says.
        raw::check(unsafe { libc::ioctl(self.0.as_raw_fd(), request, arg.as_mut_ptr()) })?;
        Ok(())
    }

    /// Whether the address space is still in use: after an exec, or the end of its last process, it
    /// is not.
    pub(crate) fn is_alive(&self) -> bool {
        // A page that is not watched: ENOENT as long as there is anything to look in.
        let page = crate::kernel::page_size();
        let asked = self.control(UFFDIO_WRITEPROTECT, &mut [page << 8, page, 0]);
        asked != Err(Errno(libc::ESRCH))
    }

    pub(crate) fn register(&self, start: u64, end: u64) -> Result<(), Errno> {
        self.control(UFFDIO_REGISTER, &mut [start, end - start, MODE, 0])
    }

    pub(crate) fn unregister(&self, start: u64, end: u64) {
        self.control(UFFDIO_UNREGISTER, &mut [start, end - start])
            .ok();
    }

    /// What has happened next, if anything has.
    pub(crate) fn next(&self) -> Option<Event> {
        loop {
            // struct uffd_msg: the event in the first byte, then three words.
            let mut msg = [0u64; 4];
            let size = size_of_val(&msg);
            // SAFETY: the length is the buffer's.
            let n = unsafe { libc::read(self.0.as_raw_fd(), msg.as_mut_ptr().cast(), size) };
            if n < 0 && raw::errno() == Errno(libc::EINTR) {
                continue;
            }
            if usize::try_from(n) != Ok(size) {
                return None;
            }
            let [kind, first, second, third] = msg;
            match kind.to_ne_bytes()[0] {
                0x14 => {
                    return Some(Event::Moved {
                        from: first,
                        to: second,
                        len: third,
                    });
                }
                0x15 | 0x16 => {
                    return Some(Event::Gone {
                        start: first,
                        end: second,
                    });
                }
                // A fault, of a page that somebody else has protected: not to be caught here.
                0x12 => {
                    let page = crate::kernel::page_size();
                    let at = second & !(page - 1);
                    self.control(UFFDIO_WRITEPROTECT, &mut [at, page, 0]).ok();
                }
                _ => {}
            }
        }
    }
}
