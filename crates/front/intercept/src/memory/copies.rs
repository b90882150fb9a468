//! Copies from and to a program's memory, with process_vm calls or through `/proc`.

#![expect(
    clippy::disallowed_methods,
    reason = "a Copier borrows a MayBlock token"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::kernel::{Access, MayBlock, raw, vma};
use vb3_frontend::{Errno, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyMethod {
    /// With process_vm_readv and process_vm_writev.
    Calls,
    /// Through `/proc/TID/mem`, if a container's profile refuses the process_vm calls. This file ignores
    /// page protections, so the supervisor checks them first.
    Files,
}

/// Copies from and to the memory of thread `tid`. Each copy may wait for the program.
#[derive(Clone, Copy)]
pub(crate) struct Copier<'m> {
    _may: &'m MayBlock,
    method: CopyMethod,
    tid: u32,
}

impl<'m> Copier<'m> {
    pub(crate) const fn new(may: &'m MayBlock, method: CopyMethod, tid: u32) -> Self {
        Self {
            _may: may,
            method,
            tid,
        }
    }

    /// Tests the method on a word in a process's memory, by reading and rewriting its value. Returns the
    /// kernel's error, or EIO if the word read is not `word`.
    pub(crate) fn try_on(self, addr: u64, word: u64) -> Result<(), Errno> {
        let mut bytes = [0; 8];
        if self.method == CopyMethod::Files {
            // Opens the file only to return the open's own errno.
            raw::open(format!("/proc/{}/mem", self.tid), libc::O_RDWR)?;
        }
        self.copy_in(addr, &mut bytes)?;
        if u64::from_ne_bytes(bytes) != word {
            return Err(Errno(libc::EIO));
        }
        self.copy_out(addr, &bytes)
    }

    /// Copies from the memory. Returns EFAULT unless all of it is readable, and EPERM if the kernel forbids reads
    /// of the program's memory.
    pub(crate) fn copy_in(self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let is_whole = self.copy_in_some(addr, out)? == out.len();
        is_whole.then_some(()).ok_or(Errno(libc::EFAULT))
    }

    /// Copies up to the first unreadable byte. Returns the number of bytes copied. Errors: see `copy_in`.
    pub(crate) fn copy_in_some(self, addr: u64, out: &mut [u8]) -> Result<usize, Errno> {
        if out.is_empty() {
            return Ok(0);
        }
        let remote = remote(addr, out.len())?;
        if self.method == CopyMethod::Files {
            let file = Opened::new(self.tid, addr, out.len(), Access::Read)?;
            let part = out.get_mut(..file.len).unwrap_or_default();
            return Ok(read_at(&file.mem, addr, part));
        }
        let local = local(out.as_mut_ptr(), out.len());
        vm_call(libc::process_vm_readv, self.tid, &[local], &[remote])
    }

    /// Copies to the memory. Returns EFAULT unless all of it is writable, and EPERM if the kernel forbids writes to
    /// the program's memory.
    pub(crate) fn copy_out(self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        if data.is_empty() {
            return Ok(());
        }
        let remote = remote(addr, data.len())?;
        let is_whole = if self.method == CopyMethod::Files {
            let file = Opened::new(self.tid, addr, data.len(), Access::Write)?;
            let allowed = data.get(..file.len).unwrap_or_default();
            file.mem.write_all_at(allowed, addr).is_ok() && file.len == data.len()
        } else {
            let local = local(data.as_ptr().cast_mut(), data.len());
            vm_call(libc::process_vm_writev, self.tid, &[local], &[remote])? == data.len()
        };
        is_whole.then_some(()).ok_or(Errno(libc::EFAULT))
    }

    /// Copies several pieces to the memory in order, with one system call. Returns false if the call did not copy
    /// all of them. It may still have copied some pieces, and a part of one.
    pub(crate) fn copy_all_out(self, pieces: &[Write]) -> bool {
        if let [write] = pieces {
            return self.copy_out(write.addr, &write.bytes).is_ok();
        }
        let to = pieces
            .iter()
            .map(|write| remote(write.addr, write.bytes.len()));
        let to = to.collect::<Result<Vec<_>, Errno>>();
        let (CopyMethod::Calls, Ok(to)) = (self.method, to) else {
            return false;
        };
        let data = || pieces.iter().map(|write| &*write.bytes);
        let from = data().map(|data| local(data.as_ptr().cast_mut(), data.len()));
        let from: Vec<_> = from.collect();
        let bytes = data().map(<[u8]>::len).sum();
        vm_call(libc::process_vm_writev, self.tid, &from, &to) == Ok(bytes)
    }

    /// Reads a NUL-terminated string of at most `max` bytes, without the NUL. Fails with EFAULT, EPERM, and
    /// ENAMETOOLONG if the first `max` bytes contain no NUL.
    pub(crate) fn copy_in_str(self, addr: u64, max: usize) -> Result<Vec<u8>, Errno> {
        let mut out = Vec::new();
        let mut at = addr;
        let mut chunk = [0u8; 256];
        while out.len() < max {
            // Never reads beyond a page of the smallest size, since the next page may be missing.
            let to_page_end = 4096 - (at & 4095);
            let want = chunk.len().min(usize::try_from(to_page_end).unwrap_or(1));
            let part = chunk.get_mut(..want).ok_or(Errno(libc::EFAULT))?;
            self.copy_in(at, part)?;
            if let Some(end) = part.iter().position(|&b| b == 0) {
                out.extend_from_slice(part.get(..end).unwrap_or_default());
                return Ok(out);
            }
            out.extend_from_slice(part);
            at = at.checked_add(want as u64).ok_or(Errno(libc::EFAULT))?;
        }
        Err(Errno(libc::ENAMETOOLONG))
    }
}

type VmCall = unsafe extern "C" fn(
    libc::pid_t,
    *const libc::iovec,
    libc::c_ulong,
    *const libc::iovec,
    libc::c_ulong,
    libc::c_ulong,
) -> isize;

/// Copies between this process's memory and that of thread `tid`. Returns the number of bytes copied, EPERM if
/// the kernel forbids access (EPERM, ENOSYS), and EFAULT for other errors.
fn vm_call(
    call: VmCall,
    tid: u32,
    local: &[libc::iovec],
    remote: &[libc::iovec],
) -> Result<usize, Errno> {
    let pid = libc::pid_t::try_from(tid).map_err(|_| Errno(libc::ESRCH))?;
    let (count, of_remote) = (local.len() as libc::c_ulong, remote.len() as libc::c_ulong);
    // SAFETY: each of `local` names live memory, which is only read for a writev; the kernel checks the remote
    // ranges, and refuses too many pieces.
    let n = unsafe { call(pid, local.as_ptr(), count, remote.as_ptr(), of_remote, 0) };
    usize::try_from(n).map_err(|_| match raw::errno() {
        Errno(libc::EPERM | libc::ENOSYS) => Errno(libc::EPERM),
        _ => Errno(libc::EFAULT),
    })
}

/// A `mem` file, opened for one access only. After an exec, an open file would still refer to the old memory,
/// which another process may use: a parent that waits in vfork.
struct Opened {
    mem: File,
    /// Number of bytes from the requested address on that the program itself may read or write.
    len: usize,
}

impl Opened {
    fn new(tid: u32, addr: u64, len: usize, access: Access) -> Result<Self, Errno> {
        let fault = |e| match e {
            Errno(libc::EACCES | libc::EPERM) => Errno(libc::EPERM),
            _ => Errno(libc::EFAULT),
        };
        let allowed = vma::accessible(tid, addr, len as u64, access).map_err(fault)?;
        let flags = match access {
            Access::Read => libc::O_RDONLY,
            Access::Write => libc::O_WRONLY,
        };
        let mem = raw::open(format!("/proc/{tid}/mem"), flags);
        Ok(Self {
            mem: mem.map_err(fault)?.into(),
            len: usize::try_from(allowed).unwrap_or(len).min(len),
        })
    }
}

/// Reads from a `mem` file up to the first unreadable page. Returns how many bytes were read.
///
/// Source: Linux 7.2 fs/proc/base.c `mem_rw`, which reads all pages in one call.
fn read_at(mem: &File, addr: u64, out: &mut [u8]) -> usize {
    mem.read_at(out, addr).unwrap_or(0)
}

fn local(at: *mut u8, iov_len: usize) -> libc::iovec {
    let iov_base = at.cast();
    libc::iovec { iov_base, iov_len }
}

/// Returns a range of a program's memory. Fails with EFAULT for a range that no program can have.
fn remote(addr: u64, iov_len: usize) -> Result<libc::iovec, Errno> {
    let end = addr.checked_add(iov_len as u64);
    if end.is_none_or(|end| end > 1 << 56) {
        return Err(Errno(libc::EFAULT));
    }
    // CAST: addresses have the size of pointers.
    let iov_base = core::ptr::without_provenance_mut(addr as usize);
    Ok(libc::iovec { iov_base, iov_len })
}
