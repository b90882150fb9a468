//! The mappings of a process, as /proc tells of them: where they lie and what they allow.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::kernel::raw;
use vb3_host::{Access, Errno};

/// One mapping: a line of a process's `maps` file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping<'a> {
    pub(crate) start: u64,
    pub(crate) end: u64,
    perms: &'a [u8],
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) name: &'a [u8],
}

impl<'a> Mapping<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let (start, end) = split_hex(words.next()?, b'-')?;
        let perms = words.next()?;
        let _offset = words.next()?;
        let (major, minor) = split_hex(words.next()?, b':')?;
        let ino = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let name = words.next().unwrap_or_default();
        let dev = libc::makedev(u32::try_from(major).ok()?, u32::try_from(minor).ok()?);
        Some(Self {
            start,
            end,
            perms,
            dev,
            ino,
            name,
        })
    }

    /// What it allows, as PROT_* bits.
    pub(crate) fn prot(&self) -> i32 {
        let bits = [libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC];
        let has = |(at, letter): (usize, &u8)| self.perms.get(at) == Some(letter);
        let given = bits.into_iter().zip(b"rwx".iter().enumerate());
        given
            .filter(|(_, perm)| has(*perm))
            .fold(0, |all, (bit, _)| all | bit)
    }

    /// Who sees what is written: MAP_SHARED or MAP_PRIVATE.
    pub(crate) fn kind(&self) -> i32 {
        match self.perms.get(3) {
            Some(b's') => libc::MAP_SHARED,
            _ => libc::MAP_PRIVATE,
        }
    }

    pub(crate) fn allows(&self, access: Access) -> bool {
        let read = self.perms.first() == Some(&b'r');
        let write = self.perms.get(1) == Some(&b'w');
        match access {
            Access::Read => read,
            Access::Write => write,
        }
    }
}

fn split_hex(word: &[u8], at: u8) -> Option<(u64, u64)> {
    let mut parts = word.splitn(2, |&b| b == at);
    let mut hex = || u64::from_str_radix(std::str::from_utf8(parts.next()?).ok()?, 16).ok();
    Some((hex()?, hex()?))
}

/// How many bytes from `addr` on, at most `len`, thread `tid` itself may access so.
///
/// # Errors
/// ESRCH, EACCES: its mappings cannot be read.
pub(crate) fn accessible(tid: u32, addr: u64, len: u64, access: Access) -> Result<u64, Errno> {
    let Some(end) = addr.checked_add(len) else {
        return Ok(0);
    };
    let maps = raw::open(&raw::c_path(&format!("/proc/{tid}/maps"))?, libc::O_RDONLY)?;
    let mut at = addr;
    while at < end {
        match Query::at(&maps, at, access) {
            Ok(next) => at = next,
            Err(Errno(libc::ENOENT)) => break,
            // Before Linux 6.11.
            Err(_) => return by_text(&maps, at, end, access).map(|at| at.min(end) - addr),
        }
    }
    Ok(at.min(end) - addr)
}

/// The end of what may be accessed from `at` on, by the lines of a `maps` file.
fn by_text(maps: &OwnedFd, mut at: u64, end: u64, access: Access) -> Result<u64, Errno> {
    let mut text = Vec::new();
    let mut chunk = [0u8; 4096];
    // Bounded: a process has some 65,530 mappings at most, and the file ends.
    loop {
        let n = raw::read(maps.as_fd(), &mut chunk)?;
        text.extend_from_slice(chunk.get(..n).unwrap_or_default());
        let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        let lines: Vec<u8> = text.drain(..whole).collect();
        for map in lines.split(|&b| b == b'\n').filter_map(Mapping::parse) {
            if map.end <= at {
                continue;
            }
            if map.start > at || !map.allows(access) {
                return Ok(at);
            }
            at = map.end;
            if at >= end {
                return Ok(at);
            }
        }
        if n == 0 {
            return Ok(at);
        }
    }
}

/// `struct procmap_query`.
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

const PROCMAP_QUERY: libc::c_ulong =
    3 << 30 | (size_of::<Query>() as libc::c_ulong) << 16 | (b'f' as libc::c_ulong) << 8 | 17;

impl Query {
    /// The end of the mapping around `at`.
    ///
    /// # Errors
    /// ENOENT where there is none with that permission; ENOTTY before Linux 6.11.
    fn at(maps: &OwnedFd, at: u64, access: Access) -> Result<u64, Errno> {
        let mut query = Self {
            size: size_of::<Self>() as u64,
            // PROCMAP_QUERY_VMA_READABLE, _WRITABLE.
            flags: match access {
                Access::Read => 1,
                Access::Write => 2,
            },
            addr: at,
            ..Self::default()
        };
        // SAFETY: the request carries the structure's size, and the structure is live.
        raw::check(unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) })?;
        Ok(query.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages that may be read and written, only read, not touched, and read and written.
    struct Pages(*mut libc::c_void, u64);

    impl Pages {
        fn new() -> Self {
            let page = crate::kernel::arch::page_size();
            let len = usize::try_from(page * 4).expect("small");
            let rw = libc::PROT_READ | libc::PROT_WRITE;
            let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping at an address of the kernel's choice.
            let at = unsafe { libc::mmap(core::ptr::null_mut(), len, rw, kind, -1, 0) };
            assert_ne!(at, libc::MAP_FAILED);
            for (i, prot) in [(1, libc::PROT_READ), (2, libc::PROT_NONE)] {
                let page = usize::try_from(page).expect("small");
                // SAFETY: a page of the mapping made above, which nobody uses.
                let ret = unsafe { libc::mprotect(at.wrapping_byte_add(i * page), page, prot) };
                assert_eq!(ret, 0);
            }
            Self(at, page)
        }

        fn addr(&self, page: u64) -> u64 {
            self.0.expose_provenance() as u64 + page * self.1
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: the mapping made in `new`.
            unsafe { libc::munmap(self.0, usize::try_from(self.1 * 4).unwrap_or(0)) };
        }
    }

    #[test]
    fn protections_are_told_to_the_byte_by_query_and_by_text() {
        let pages = Pages::new();
        let (tid, page) = (std::process::id(), pages.1);
        let maps = || {
            raw::open(
                &raw::c_path("/proc/self/maps").expect("path"),
                libc::O_RDONLY,
            )
            .expect("maps")
        };
        let by_text = |at: u64, len: u64, access| {
            by_text(&maps(), at, at + len, access)
                .expect("text")
                .min(at + len)
                - at
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
}
