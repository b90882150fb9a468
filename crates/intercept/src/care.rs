//! Serving a call without ever waiting for its program: what the last threads do while all others
//! stall.
//!
//! Pages are asked for before they are copied, paths before they are looked up ([`crate::walk`]):
//! both are there, or the kernel fetches them by itself. What may wait is put off. A program that
//! takes a page away between the look and the copy makes one thread wait: its further calls are held
//! back from then on, as of every program that stalls.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::arch;
use crate::memory::Way;
use crate::pool::May;
use crate::vma::Mapping;
use crate::walk::Mounts;
use vb3_host::Access;

/// Entries of a page map read at a time.
const AT_ONCE: usize = 512;
/// Bits of an entry. Source: Linux Documentation/admin-guide/mm/pagemap.rst.
const PRESENT: u64 = 1 << 63;
const OF_A_FILE: u64 = 1 << 61;
const WRITE_IS_WATCHED: u64 = 1 << 57;

/// What may be done for a call, and whether that was too little.
#[derive(Debug, Default)]
pub(crate) struct Care {
    may: AtomicU8,
    put_off: AtomicBool,
}

impl Care {
    /// From now on this may be done for the call.
    pub(crate) fn allow(&self, may: May) {
        // CAST: the enum's own number.
        self.may.store(may as u8, Ordering::Relaxed);
        self.put_off.store(false, Ordering::Relaxed);
    }

    /// Whether its program may be waited for.
    pub(crate) fn may_wait(&self) -> bool {
        self.may.load(Ordering::Relaxed) == May::Wait as u8
    }

    /// Whether its thread may be stopped, which takes as long as the scheduler does. Puts the call off
    /// if not.
    pub(crate) fn may_stop(&self) -> bool {
        let may = self.may.load(Ordering::Relaxed) != May::Neither as u8;
        if !may {
            self.put_off();
        }
        may
    }

    /// The call may wait for its program: it is put off, whatever its verdict.
    pub(crate) fn put_off(&self) {
        self.put_off.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_put_off(&self) -> bool {
        self.put_off.load(Ordering::Relaxed)
    }
}

/// Whether a thread's memory can be accessed so without waiting for anyone. False where that is not
/// known, and for what is not mapped.
pub(crate) fn is_there(tid: u32, addr: u64, len: u64, access: Access) -> bool {
    len == 0 || is_present(tid, addr, len, access) || fills_by_itself(tid, addr, len)
}

/// Whether all pages are there.
fn is_present(tid: u32, addr: u64, len: u64, access: Access) -> bool {
    let Ok(map) = std::fs::File::open(format!("/proc/{tid}/pagemap")) else {
        // Who may not read this may not read the memory, either, and hears that at once.
        return true;
    };
    let page = arch::page_size();
    let Some(end) = addr.checked_add(len) else {
        return true;
    };
    let (mut at, last) = (addr / page, end.div_ceil(page));
    let mut entries = [0; AT_ONCE * 8];
    while at < last {
        let count = usize::try_from(last - at).map_or(AT_ONCE, |left| left.min(AT_ONCE));
        let Some(part) = entries.get_mut(..count * 8) else {
            return false;
        };
        if map.read_exact_at(part, at * 8).is_err() {
            return false;
        }
        let (entries, _) = part.as_chunks::<8>();
        if !entries
            .iter()
            .all(|entry| allows(u64::from_ne_bytes(*entry), access))
        {
            return false;
        }
        at += count as u64;
    }
    true
}

/// Whether a page is there, and to write also nobody is asked: neither who watches writes nor, as
/// may be for a page of a file, a file system.
const fn allows(entry: u64, access: Access) -> bool {
    let wanted = match access {
        Access::Read => PRESENT,
        Access::Write => PRESENT | OF_A_FILE | WRITE_IS_WATCHED,
    };
    entry & wanted == PRESENT
}

/// Whether the kernel fills what is missing of a range without asking anyone.
fn fills_by_itself(tid: u32, addr: u64, len: u64) -> bool {
    let Ok(smaps) = std::fs::read(format!("/proc/{tid}/smaps")) else {
        return false;
    };
    covered(&smaps, &Mounts::now(), addr, addr.saturating_add(len))
}

/// Whether a range lies in mappings that nobody watches (userfaultfd) or serves.
fn covered(smaps: &[u8], mounts: &Mounts, addr: u64, end: u64) -> bool {
    let (mut at, mut map) = (addr, None);
    for line in smaps.split(|&b| b == b'\n') {
        let Some(flags) = line.strip_prefix(b"VmFlags:") else {
            map = Mapping::parse(line).or(map);
            continue;
        };
        let Some(map) = map.take().filter(|map| map.end > at) else {
            continue;
        };
        let mut flags = flags.split(|&b| b == b' ');
        let is_watched = flags.any(|flag| matches!(flag, b"um" | b"uw" | b"ui"));
        let in_memory = map.ino == 0 || map.name.starts_with(b"/memfd:");
        if map.start > at || is_watched || !in_memory && !mounts.is_own_device(map.dev) {
            return false;
        }
        at = map.end;
        if at >= end {
            return true;
        }
    }
    false
}

/// Whether a string of at most `max` bytes can be read so.
pub(crate) fn string_is_there(way: Way, tid: u32, addr: u64, max: usize) -> bool {
    let page = arch::page_size();
    let (mut at, end) = (addr, addr.saturating_add(max as u64));
    while at < end {
        let next = (at & !(page - 1)).saturating_add(page).min(end);
        if !is_there(tid, at, next - at, Access::Read) {
            return false;
        }
        let mut part = vec![0; usize::try_from(next - at).unwrap_or(0)];
        match way.copy_in(tid, at, &mut part) {
            Ok(()) if !part.contains(&0) => at = next,
            _ => return true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// New memory without pages; never given back.
    fn fresh(flags: i32, len: usize) -> *mut u8 {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(core::ptr::null_mut(), len, prot, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        at.cast()
    }

    #[test]
    fn pages_are_there_once_they_were_touched() {
        let page = arch::page_size();
        let size = usize::try_from(page).expect("small");
        let at = fresh(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, 2 * size);
        let (addr, own) = (at.expose_provenance() as u64, std::process::id());
        let there = |addr, len, access| is_present(own, addr, len, access);
        assert!(!there(addr, 1, Access::Read));
        // SAFETY: the first page of the mapping.
        unsafe { at.write_volatile(1) };
        assert!(there(addr, page, Access::Read) && there(addr, page, Access::Write));
        assert!(!there(addr, page + 1, Access::Read), "the second is not");
        assert!(!there(addr + page - 1, 2, Access::Write));
        assert!(!there(8, 1, Access::Read), "nothing is mapped there");
        // Nobody watches them.
        assert!(is_there(own, addr, 2 * page, Access::Write));
        assert!(string_is_there(Way::Calls, own, addr, 2 * size));
        assert!(!is_there(own, 8, 1, Access::Read));
        assert!(!string_is_there(Way::Calls, own, 8, size));
    }

    #[test]
    fn a_page_that_others_share_may_be_watched() {
        let at = fresh(libc::MAP_SHARED | libc::MAP_ANONYMOUS, 1);
        // SAFETY: the mapping's first byte.
        unsafe { at.write_volatile(1) };
        let addr = at.expose_provenance() as u64;
        assert!(is_present(std::process::id(), addr, 1, Access::Read));
        assert!(!is_present(std::process::id(), addr, 1, Access::Write));
    }
}
