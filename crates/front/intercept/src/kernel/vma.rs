//! The mappings of a process, as /proc lists them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::SeekFrom;
use rustix::ioctl::Opcode;
use rustix::ioctl::opcode::read_write;

use crate::kernel::raw;
use vb3_frontend::{Errno, FdIdentity};

/// The kind of access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// One mapping: a line of a process's `maps` file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping<'a> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The mapping's permissions as PROT_* bits.
    pub(crate) prot: i32,
    pub(crate) file: FdIdentity,
    pub(crate) name: &'a [u8],
}

impl<'a> Mapping<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let (start, end) = split_hex(words.next()?, b'-')?;
        let perms = words.next()?;
        let bits = [libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC];
        let given = perms.iter().zip(b"rwx").zip(bits);
        let given = given.filter(|((perm, letter), _)| perm == letter);
        let _offset = words.next()?;
        let (major, minor) = split_hex(words.next()?, b':')?;
        let ino = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let name = words.next().unwrap_or_default();
        let dev = libc::makedev(u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
        Some(Self {
            start,
            end,
            prot: given.fold(0, |all, (_, bit)| all | bit),
            file: FdIdentity { dev, ino },
            name,
        })
    }

    pub(crate) fn allows(&self, access: Access) -> bool {
        let needed = match access {
            Access::Read => libc::PROT_READ,
            Access::Write => libc::PROT_WRITE,
        };
        self.prot & needed != 0
    }
}

fn split_hex(word: &[u8], at: u8) -> Option<(u64, u64)> {
    let mut parts = word.splitn(2, |&b| b == at);
    let mut hex = || u64::from_str_radix(std::str::from_utf8(parts.next()?).ok()?, 16).ok();
    Some((hex()?, hex()?))
}

/// Returns how many of the `len` bytes at `addr`, up to the first gap, the thread may access in this way.
/// Returns ESRCH or EACCES if the list of mappings cannot be read.
pub(crate) fn accessible(tid: u32, addr: u64, len: u64, access: Access) -> Result<u64, Errno> {
    let maps = raw::open(format!("/proc/{tid}/maps"), libc::O_RDONLY)?;
    covered(&maps, addr, len, |map| map.allows(access))
}

/// Returns how many of the `len` bytes at `addr`, up to the first gap, are mapped as `is_good` accepts. Returns
/// ESRCH if the process has ended.
pub(crate) fn covered(
    maps: &impl AsFd,
    addr: u64,
    len: u64,
    is_good: impl Fn(&Mapping<'_>) -> bool,
) -> Result<u64, Errno> {
    let Some(end) = addr.checked_add(len) else {
        return Ok(0);
    };
    let mut at = addr;
    if len > 0 {
        visit(maps.as_fd(), addr, |map| {
            let goes_on = map.start <= at && is_good(map);
            if goes_on {
                at = map.end;
            }
            goes_on && at < end
        })?;
    }
    Ok(at.min(end) - addr)
}

/// Visits the mappings that end after `at`, in order, until `visit` returns false. `maps` is a process's `maps`
/// file. Before Linux 6.11, reads the file's text, which lists every mapping. Returns ESRCH if the process has
/// ended.
pub(crate) fn visit(
    maps: BorrowedFd<'_>,
    mut at: u64,
    mut visit: impl FnMut(&Mapping<'_>) -> bool,
) -> Result<(), Errno> {
    let mut name = [0; NAME_MAX];
    loop {
        match Query::next(maps, at, &mut name) {
            Ok(query) => {
                if !visit(&query.mapping(&name)) {
                    return Ok(());
                }
                at = query.end;
            }
            Err(Errno(libc::ENOENT)) => return Ok(()),
            Err(Errno(libc::ENOTTY)) => return visit_text(maps, at, visit),
            Err(e) => return Err(e),
        }
    }
}

/// Visits mappings like `visit`, but always reads the text of the `maps` file from its start.
pub(crate) fn visit_text(
    maps: BorrowedFd<'_>,
    at: u64,
    mut visit: impl FnMut(&Mapping<'_>) -> bool,
) -> Result<(), Errno> {
    rustix::fs::seek(maps, SeekFrom::Start(0)).map_err(raw::err)?;
    let mut text = Vec::new();
    let mut chunk = [0u8; 4096];
    // The loop is bounded, since a process has at most about 65,530 mappings.
    loop {
        let n = raw::read(maps, &mut chunk)?;
        text.extend_from_slice(chunk.get(..n).unwrap_or_default());
        let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        let lines: Vec<u8> = text.drain(..whole).collect();
        let mut found = lines.split(|&b| b == b'\n').filter_map(Mapping::parse);
        let goes_on = found.all(|map| map.end <= at || visit(&map));
        if n == 0 || !goes_on {
            return Ok(());
        }
    }
}

/// Bytes for a mapping's name with its NUL. The kernel returns no path that is longer than this.
const NAME_MAX: usize = 4096;

#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    flags: u64,
    addr: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    dev: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

const PROCMAP_QUERY: Opcode = read_write::<Query>(b'f', 17);
/// The flag that asks for the mapping that contains an address, or the next mapping if there is none.
const COVERING_OR_NEXT: u64 = 0x10;

/// `PROCMAP_QUERY_VMA_READABLE`, `_WRITABLE` and `_EXECUTABLE`, which equal PROT_*.
const PERMISSIONS: u64 = 7;

impl Query {
    /// Returns the mapping that contains `at`, or the next mapping. Returns ENOENT if there is neither, and
    /// ENOTTY before Linux 6.11.
    fn next(maps: BorrowedFd<'_>, at: u64, name: &mut [u8; NAME_MAX]) -> Result<Self, Errno> {
        let mut query = Self {
            size: size_of::<Self>() as u64,
            flags: COVERING_OR_NEXT,
            addr: at,
            // CAST: a small constant.
            name_size: NAME_MAX as u32,
            name: name.as_mut_ptr().expose_provenance() as u64,
            ..Self::default()
        };
        // SAFETY: the request contains the structure's size; the structure and the name's buffer
        // are live.
        raw::check(unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY.into(), &raw mut query) })?;
        Ok(query)
    }

    fn mapping<'a>(&self, name: &'a [u8; NAME_MAX]) -> Mapping<'a> {
        let name_len = usize::try_from(self.name_size).unwrap_or(0);
        let [major, minor] = self.dev;
        Mapping {
            start: self.start,
            end: self.end,
            // CAST: three bits.
            prot: (self.vma_flags & PERMISSIONS) as i32,
            file: FdIdentity {
                dev: libc::makedev(major, minor),
                ino: self.inode,
            },
            // The kernel's length counts the NUL.
            name: name.get(..name_len.saturating_sub(1)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

    /// Consecutive pages: their address, the size of one, and their number.
    struct Pages(*mut libc::c_void, u64, u64);

    impl Pages {
        fn new(protections: &[i32]) -> Self {
            let page = crate::kernel::arch::page_size();
            let count = protections.len() as u64;
            let len = usize::try_from(page * count).expect("small");
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping at an address that the kernel chooses.
            let at = unsafe { libc::mmap(core::ptr::null_mut(), len, READ_WRITE, kind, -1, 0) };
            assert_ne!(at, libc::MAP_FAILED);
            for (i, prot) in protections.iter().enumerate() {
                let page = usize::try_from(page).expect("small");
                // SAFETY: a page of the mapping made above, which no other code uses.
                let ret = unsafe { libc::mprotect(at.wrapping_byte_add(i * page), page, *prot) };
                assert_eq!(ret, 0);
            }
            Self(at, page, count)
        }

        fn addr(&self, page: u64) -> u64 {
            self.0.expose_provenance() as u64 + page * self.1
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: the mapping made in `new`.
            unsafe { libc::munmap(self.0, usize::try_from(self.1 * self.2).unwrap_or(0)) };
        }
    }

    #[test]
    fn query_and_text_give_exact_protections() {
        let pages = Pages::new(&[READ_WRITE, libc::PROT_READ, libc::PROT_NONE, READ_WRITE]);
        let (tid, page) = (std::process::id(), pages.1);
        let maps = || raw::open("/proc/self/maps", libc::O_RDONLY).expect("maps");
        let by_text = |addr: u64, len: u64, access| {
            let mut at = addr;
            let visited = visit_text(maps().as_fd(), addr, |map| {
                let goes_on = map.start <= at && map.allows(access);
                at = if goes_on { map.end } else { at };
                goes_on && at < addr + len
            });
            visited.expect("text");
            at.min(addr + len) - addr
        };
        let rows = [
            (0, page * 4, Access::Read, page * 2),
            (0, page * 4, Access::Write, page),
            (1, 8, Access::Write, 0),
            (2, 8, Access::Read, 0),
            (3, 8, Access::Write, 8),
        ];
        for (at, len, access, want) in rows {
            let addr = pages.addr(at);
            assert_eq!(accessible(tid, addr, len, access), Ok(want), "{at}");
            assert_eq!(by_text(addr, len, access), want, "text, {at}");
        }
        let late = pages.addr(1) - 5;
        assert_eq!(accessible(tid, late, 10, Access::Write), Ok(5));
        assert_eq!(accessible(tid, u64::MAX, 1, Access::Read), Ok(0));
        assert_eq!(accessible(tid, 0, 16, Access::Read), Ok(0));
    }

    /// The text of these mappings has about 10,000 bytes.
    #[test]
    fn long_text_is_read_to_its_end() {
        let pages = Pages::new(&[READ_WRITE, libc::PROT_READ].repeat(100));
        let maps = raw::open("/proc/self/maps", libc::O_RDONLY).expect("maps");
        let mut found = Vec::new();
        let visited = visit_text(maps.as_fd(), pages.addr(0), |map| {
            found.push(map.start);
            map.end < pages.addr(200)
        });
        visited.expect("text");
        // The kernel may have merged the first page with another thread's mapping at a lower address.
        assert!(found[0] <= pages.addr(0));
        let wanted: Vec<u64> = (1..200).map(|page| pages.addr(page)).collect();
        assert_eq!(found[1..], wanted);
    }

    #[test]
    fn queries_and_text_name_the_same_mappings() {
        let maps = raw::open("/proc/self/maps", libc::O_RDONLY).expect("maps");
        let code = (queries_and_text_name_the_same_mappings as fn()) as usize as u64;
        let seen = |map: &Mapping<'_>| {
            let name = map.name.split(|&b| b == b' ').next().unwrap_or_default();
            let of = (map.start, map.end, map.prot);
            (of, map.file, name.to_vec())
        };
        // Compares only the mapping of this code, since other threads change other mappings.
        let (mut by_query, mut by_text) = (Vec::new(), Vec::new());
        let visited = visit(maps.as_fd(), code, |map| {
            by_query.push(seen(map));
            false
        });
        visited.expect("visited");
        let visited = visit_text(maps.as_fd(), code, |map| {
            by_text.push(seen(map));
            false
        });
        visited.expect("text");
        assert_eq!(by_query, by_text);
        assert_eq!(by_query.len(), 1);
    }
}
