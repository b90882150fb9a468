//! A userfaultfd that reports changes of mappings and handles no faults.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::ioctl::Opcode;
use rustix::ioctl::opcode::{read, read_write};

use crate::kernel::raw;
use vb3_frontend::Errno;

/// Flags of the userfaultfd call: closed at exec, non-blocking, and only for faults in user mode
/// (`UFFD_USER_MODE_ONLY`), so that the call needs no privilege.
pub(crate) const CREATE_FLAGS: u64 = (libc::O_CLOEXEC | libc::O_NONBLOCK) as u64 | 1;

const API: u64 = 0xaa;
/// The features that this userfaultfd needs. They are `UFFD_FEATURE_EVENT_REMAP`, `EVENT_REMOVE`,
/// `EVENT_UNMAP`, `PAGEFAULT_FLAG_WP` and `WP_HUGETLBFS_SHMEM`. The kernel can watch a range in several
/// modes. Only write protection raises no faults, as long as no page is protected.
const FEATURES: u64 = 1 << 2 | 1 << 3 | 1 << 6 | 1 | 1 << 12;
/// `UFFDIO_REGISTER_MODE_WP`.
const MODE: u64 = 2;

const UFFDIO_API: Opcode = read_write::<[u64; 3]>(0xaa, 0x3f);
const UFFDIO_REGISTER: Opcode = read_write::<[u64; 4]>(0xaa, 0);
const UFFDIO_UNREGISTER: Opcode = read::<[u64; 2]>(0xaa, 1);
const UFFDIO_WRITEPROTECT: Opcode = read_write::<[u64; 3]>(0xaa, 6);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// mremap moved `len` bytes.
    Moved { from: u64, to: u64, len: u64 },
    /// munmap removed the range, or madvise dropped its pages.
    Gone { start: u64, end: u64 },
}

/// A userfaultfd. See the module's documentation.
#[derive(Debug)]
pub(crate) struct Fault(OwnedFd);

impl Fault {
    /// Initialises the userfaultfd. Returns EINVAL if the kernel lacks one of the features.
    pub(crate) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let fault = Self(fd);
        fault.control(UFFDIO_API, &mut [API, FEATURES, 0])?;
        Ok(fault)
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    fn control<const N: usize>(&self, request: Opcode, arg: &mut [u64; N]) -> Result<(), Errno> {
        // SAFETY: every caller passes as many words as the request's number says.
        raw::check(unsafe { libc::ioctl(self.0.as_raw_fd(), request.into(), arg.as_mut_ptr()) })?;
        Ok(())
    }

    /// Returns whether the address space still exists. It ends with an exec, or with its last process.
    pub(crate) fn is_alive(&self) -> bool {
        // For an unwatched page, the kernel returns ENOENT as long as the address space exists.
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

    /// Reads the next report, or returns `None` if none is pending.
    pub(crate) fn next(&self) -> Option<Event> {
        loop {
            // struct uffd_msg: one word with the event in its first byte, then three words.
            let mut msg = [0u8; 32];
            if retry_on_intr(|| rustix::io::read(&self.0, &mut msg)) != Ok(32) {
                return None;
            }
            let (words, _) = msg.as_chunks::<8>();
            let [kind, a, b, c] = *words else {
                return None;
            };
            let [a, b, len] = [a, b, c].map(u64::from_ne_bytes);
            match kind[0] {
                0x14 => {
                    return Some(Event::Moved {
                        from: a,
                        to: b,
                        len,
                    });
                }
                0x15 | 0x16 => return Some(Event::Gone { start: a, end: b }),
                // A fault on a page that other code has protected: removes the protection.
                0x12 => {
                    let page = crate::kernel::page_size();
                    let at = b & !(page - 1);
                    self.control(UFFDIO_WRITEPROTECT, &mut [at, page, 0]).ok();
                }
                _ => {}
            }
        }
    }
}
