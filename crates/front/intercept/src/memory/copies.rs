//! Copies from and to a program's memory, with process_vm calls or through `/proc`.

#![expect(
    clippy::disallowed_methods,
    reason = "a Copier borrows a MayBlock token; pages for a device were touched before"
)]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use crate::descriptors::Held;
use crate::kernel::{Mapping, MayBlock, lock, raw, vma};
use vb3_frontend::{Access, Errno};

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

    /// Reads a byte of every page of a range. Stops at a missing page. Returns whether there was none.
    pub(crate) fn touch(self, addr: u64, len: u64) -> bool {
        let page = crate::kernel::page_size();
        // The files in /proc are opened once for the whole range.
        let file = match (self.method, usize::try_from(len)) {
            (CopyMethod::Files, Ok(len)) => match Opened::new(self.tid, addr, len, Access::Read) {
                Ok(file) if file.len == len => Some(file),
                _ => return len == 0,
            },
            _ => None,
        };
        let end = addr.saturating_add(len);
        let (mut at, mut byte) = (addr, [0]);
        let mut is_read = |at| match &file {
            Some(file) => read_at(&file.mem, at, &mut byte) == 1,
            None => self.copy_in(at, &mut byte).is_ok(),
        };
        while at < end && is_read(at) {
            at = (at & !(page - 1)).saturating_add(page);
        }
        at >= end
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
    pub(crate) fn copy_all_out(self, pieces: &[(u64, Vec<u8>)]) -> bool {
        let to = pieces.iter().map(|(addr, data)| remote(*addr, data.len()));
        let to = to.collect::<Result<Vec<_>, Errno>>();
        let (CopyMethod::Calls, Ok(to)) = (self.method, to) else {
            return false;
        };
        let data = || pieces.iter().map(|(_, data)| data);
        let from = data().map(|data| local(data.as_ptr().cast_mut(), data.len()));
        let from: Vec<_> = from.collect();
        let bytes = data().map(Vec::len).sum();
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

/// A process's files in /proc. After an exec, they still refer to the old memory.
#[derive(Debug)]
pub(crate) struct ProcFiles {
    pub(super) pid: u32,
    mem: File,
    pub(super) maps: OwnedFd,
    /// The files given to programs. Mappings of them are device memory.
    held: Arc<Mutex<Held>>,
}

impl ProcFiles {
    pub(crate) fn open(pid: u32, held: Arc<Mutex<Held>>) -> Result<Self, Errno> {
        let open = |name: &str, flags| raw::open(format!("/proc/{pid}/{name}"), flags);
        Ok(Self {
            pid,
            mem: open("mem", libc::O_RDWR)?.into(),
            maps: open("maps", libc::O_RDONLY)?,
            held,
        })
    }

    pub(super) fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let read = self.mem.read_exact_at(out, addr);
        read.map_err(|_| Errno(libc::EFAULT))
    }

    pub(super) fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let written = self.mem.write_all_at(data, addr);
        written.map_err(|_| Errno(libc::EFAULT))
    }

    pub(super) fn is_device(&self, map: &Mapping<'_>) -> bool {
        let special = map.name.starts_with(b"/dev/")
            && !map.name.starts_with(b"/dev/zero")
            && !map.name.starts_with(b"/dev/shm/")
            && !map.name.starts_with(b"/dev/hugepages");
        special
            || map.name.starts_with(b"[v")
            || map.name.starts_with(b"/dmabuf:")
            || map.name.starts_with(b"anon_inode:")
            || (map.file.ino != 0 && lock(&self.held).knows(map.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::UserMemory;
    use std::os::fd::AsRawFd;
    use vb3_frontend::ProcessMemory;

    fn files() -> ProcFiles {
        ProcFiles::open(std::process::id(), Arc::new(Held::new().into())).expect("own memory")
    }

    fn own() -> UserMemory {
        UserMemory::new(files(), None)
    }

    #[test]
    fn reads_and_writes_at_addresses() {
        let mut data = vec![1u8, 2, 3, 4];
        let addr = data.as_mut_ptr().expose_provenance() as u64;
        let mut out = [0u8; 2];
        own().read(addr + 1, &mut out).expect("mapped");
        assert_eq!(out, [2, 3]);
        own().write(addr + 3, &[9]).expect("mapped");
        assert_eq!(std::hint::black_box(&data)[3], 9);
        assert_eq!(own().read(8, &mut out), Err(Errno(libc::EFAULT)));
        assert_eq!(own().read(u64::MAX, &mut out), Err(Errno(libc::EFAULT)));
    }

    #[test]
    fn a_mapped_file_is_found_by_its_identity() {
        let fd = raw::memfd(c"mapped").expect("memfd");
        let id = raw::identity(&raw::fstat(std::os::fd::AsFd::as_fd(&fd)).expect("stat"));
        assert!(!own().maps_file(id));
        // SAFETY: a new mapping at an address that the kernel chooses, and no code accesses it.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_NONE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        assert!(own().maps_file(id));
        // SAFETY: the mapping made above.
        unsafe { libc::munmap(at, 4096) };
        assert!(!own().maps_file(id));
    }

    #[test]
    fn probe_stops_at_first_gap_or_missing_permission() {
        let text = b"00001000-00003000 rw-p 00000000 00:00 0 \n\
                     00003000-00004000 r--s 00000000 00:01 77 /memfd:x (deleted)\n";
        let maps: Vec<_> = text
            .split(|&b| b == b'\n')
            .filter_map(Mapping::parse)
            .collect();
        assert_eq!(maps.len(), 2);
        assert!(maps[0].allows(Access::Write) && !maps[1].allows(Access::Write));
        assert_eq!((maps[1].file.ino, maps[1].name), (77, &b"/memfd:x"[..]));
        let stack = 0u64;
        let addr = (&raw const stack).expose_provenance() as u64;
        assert_eq!(own().probe(addr, 8, Access::Write), Ok(8));
        assert_eq!(own().probe(16, 8, Access::Read), Ok(0));
        assert_eq!(own().probe(addr, u64::MAX, Access::Read), Ok(0));
        let code = (probe_stops_at_first_gap_or_missing_permission as fn()) as usize as u64;
        assert_eq!(own().probe(code, 1, Access::Read), Ok(1));
        assert_eq!(own().probe(code, 1, Access::Write), Ok(0));
    }

    #[test]
    fn large_pages_are_memory_and_device_files_are_not() {
        let is_device = |name: &str| {
            let line = format!("00001000-00003000 rw-s 00000000 00:20 77 {name}");
            files().is_device(&Mapping::parse(line.as_bytes()).expect("a mapping"))
        };
        for name in [
            "/dev/hugepages/pool",
            "/dev/shm/pool",
            "/dev/zero",
            "/anon_hugepage",
        ] {
            assert!(!is_device(name), "{name}");
        }
        assert!(is_device("/dev/dri/renderD128") && is_device("[vvar]"));
    }

    #[test]
    fn pages_are_touched_up_to_the_first_missing_one() {
        let may = MayBlock::of_this_thread();
        let data = vec![1u8; 3 * 4096];
        let addr = data.as_ptr().expose_provenance() as u64;
        for method in [CopyMethod::Calls, CopyMethod::Files] {
            let own = Copier::new(&may, method, std::process::id());
            let touch = |addr, len| own.touch(addr, len);
            assert!(touch(addr, data.len() as u64) && touch(addr, 1));
            assert!(!touch(16, 8) && !touch(addr, 1 << 50));
        }
    }

    /// A program may have 65,000 mappings, and all devices wait while the supervisor looks one up.
    #[test]
    fn a_look_at_a_range_reads_no_list_of_mappings() {
        let files = Arc::new(files());
        let own = UserMemory::new(Arc::clone(&files), None);
        let memory = [0u8; 16];
        let addr = memory.as_ptr().expose_provenance() as u64;
        assert_eq!(own.probe(addr, 16, Access::Read), Ok(16));
        assert_eq!(own.file_at(addr, 16), None);
        let maps = raw::open("/proc/self/maps", libc::O_RDONLY).expect("maps");
        // SAFETY: PROCMAP_QUERY without a structure: EFAULT if the kernel supports it.
        let asked = unsafe { libc::ioctl(maps.as_raw_fd(), 0xc068_6611, 0) };
        assert_eq!(asked, -1);
        if raw::errno() == Errno(libc::ENOTTY) {
            vb3_skip::skip("before Linux 6.11");
            return;
        }
        assert_eq!(rustix::fs::tell(&files.maps), Ok(0));
    }
}
