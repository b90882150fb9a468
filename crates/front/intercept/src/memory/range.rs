//! Memory that a program offers to a device (USERPTR), copied for one call.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use crate::descriptors::Held;
use crate::kernel::{Access, Mapping, lock, raw, vma};
use crate::memory::copies::Copier;
use vb3_frontend::{Errno, FdIdentity, MAX_GATHERED, UserRange};

/// Copies the `len` bytes at `addr` of process `pid`, and looks at what is mapped there. May wait for the program.
/// A process that has ended has no memory.
pub(crate) fn user_range(
    memory: Copier<'_>,
    pid: u32,
    held: &Mutex<Held>,
    (addr, len): (u64, u64),
) -> UserRange {
    let look = || -> Result<UserRange, Errno> {
        let maps = raw::open(format!("/proc/{pid}/maps"), libc::O_RDONLY)?;
        let file = Cell::new(Some(None));
        let reach = |access| {
            vma::covered(&maps, addr, len, |map| {
                let same = file
                    .get()
                    .filter(|before| before.is_none_or(|id| id == map.file));
                file.set(same.map(|_| Some(map.file)));
                map.allows(access) && !is_device(map, held)
            })
        };
        let (readable, writable) = (reach(Access::Read)?, reach(Access::Write)?);
        // A range that is too long for a copy is refused later, or its device's accesses fault.
        let mut bytes = vec![0; usize::try_from(readable.min(MAX_GATHERED)).unwrap_or(0)];
        let got = memory.copy_in_some(addr, &mut bytes).unwrap_or(0);
        // Memory may be mapped and yet missing: memfd_secret, or memory past a file's end.
        let is_whole = got == bytes.len();
        bytes.truncate(got);
        let there = if is_whole { u64::MAX } else { got as u64 };
        let file = file
            .get()
            .flatten()
            .filter(|file| file.ino != 0 && readable == len);
        Ok(UserRange {
            readable: readable.min(there),
            writable: writable.min(there),
            file,
            bytes: Arc::new(bytes),
        })
    };
    look().unwrap_or_default()
}

/// Returns whether process `pid` has a file mapped; `false` for a process that has ended.
pub(crate) fn maps_file(pid: u32, id: FdIdentity) -> bool {
    let Ok(maps) = raw::open(format!("/proc/{pid}/maps"), libc::O_RDONLY) else {
        return false;
    };
    let mut is_mapped = false;
    // Reads the list as text, which is cheaper than one query per mapping.
    let visited = vma::visit_text(maps.as_fd(), 0, |map| {
        is_mapped = map.file == id;
        !is_mapped
    });
    visited.is_ok() && is_mapped
}

/// Returns whether a mapping is memory of a device, which no other device can use.
fn is_device(map: &Mapping<'_>, held: &Mutex<Held>) -> bool {
    let special = map.name.starts_with(b"/dev/")
        && !map.name.starts_with(b"/dev/zero")
        && !map.name.starts_with(b"/dev/shm/")
        && !map.name.starts_with(b"/dev/hugepages");
    special
        || map.name.starts_with(b"[v")
        || map.name.starts_with(b"/dmabuf:")
        || map.name.starts_with(b"anon_inode:")
        || (map.file.ino != 0 && lock(held).knows(map.file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::MayBlock;
    use crate::memory::CopyMethod;
    use std::os::fd::AsRawFd;

    fn range(addr: u64, len: u64) -> UserRange {
        let may = MayBlock::of_this_thread();
        let pid = std::process::id();
        let memory = Copier::new(&may, CopyMethod::Calls, pid);
        user_range(memory, pid, &Held::new().into(), (addr, len))
    }

    fn reach(addr: u64, len: u64) -> (u64, u64) {
        let range = range(addr, len);
        (range.readable, range.writable)
    }

    #[test]
    fn a_mapped_file_is_found_by_its_identity() {
        let fd = raw::memfd(c"mapped").expect("memfd");
        rustix::fs::ftruncate(&fd, 4096).expect("size");
        let id = raw::identity(&raw::fstat(fd.as_fd()).expect("stat"));
        let pid = std::process::id();
        assert!(!maps_file(pid, id));
        // SAFETY: a new mapping at an address that the kernel chooses, and no code accesses it.
        let at = unsafe {
            let (prot, flags) = (libc::PROT_READ, libc::MAP_SHARED);
            libc::mmap(std::ptr::null_mut(), 8192, prot, flags, fd.as_raw_fd(), 0)
        };
        assert_ne!(at, libc::MAP_FAILED);
        assert!(maps_file(pid, id));
        let addr = at.expose_provenance() as u64;
        assert_eq!(range(addr, 4096).file, Some(id));
        assert_eq!(reach(addr, 4096), (4096, 0), "read-only");
        assert_eq!(reach(addr, 8192), (4096, 0), "past the file's end");
        // SAFETY: the mapping made above.
        unsafe { libc::munmap(at, 8192) };
        assert!(!maps_file(pid, id));
    }

    #[test]
    fn range_stops_at_first_gap_or_missing_permission() {
        let text = b"00001000-00003000 rw-p 00000000 00:00 0 \n\
                     00003000-00004000 r--s 00000000 00:01 77 /memfd:x (deleted)\n";
        let maps: Vec<_> = text
            .split(|&b| b == b'\n')
            .filter_map(Mapping::parse)
            .collect();
        assert_eq!(maps.len(), 2);
        assert!(maps[0].allows(Access::Write) && !maps[1].allows(Access::Write));
        assert_eq!((maps[1].file.ino, maps[1].name), (77, &b"/memfd:x"[..]));
        let stack = 7u64;
        let addr = (&raw const stack).expose_provenance() as u64;
        let own = range(addr, 8);
        assert_eq!((own.readable, own.writable, own.file), (8, 8, None));
        assert_eq!(*own.bytes, std::hint::black_box(stack).to_ne_bytes());
        assert_eq!(reach(16, 8), (0, 0));
        assert_eq!(reach(addr, u64::MAX), (0, 0));
        let code = (range_stops_at_first_gap_or_missing_permission as fn()) as usize as u64;
        assert_eq!(reach(code, 1), (1, 0));
    }

    #[test]
    fn large_pages_are_memory_and_device_files_are_not() {
        let is_device = |name: &str| {
            let line = format!("00001000-00003000 rw-s 00000000 00:20 77 {name}");
            let map = Mapping::parse(line.as_bytes()).expect("a mapping");
            super::is_device(&map, &Held::new().into())
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
}
