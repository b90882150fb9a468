//! Simulated memory, and the CPU's cache lines of it.

use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a cache line.
pub const LINE: u64 = 64;
/// Value of every byte of memory that was never zeroed, or was freed.
pub const DIRT: u8 = 0xa5;

/// A line of the CPU's cache.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    is_dirty: bool,
}

/// Memory, with a write-back cache in front unless every device snoops.
#[derive(Debug, Default)]
pub(super) struct CachedMemory {
    pages: BTreeMap<u64, Vec<u8>>,
    lines: BTreeMap<u64, Line>,
    /// Pages that the CPU accesses without its cache.
    uncached: BTreeSet<u64>,
    has_cache: bool,
}

/// Calls `part` for each piece of a range, divided at multiples of `block` bytes.
fn pieces(addr: u64, len: u64, block: u64, mut part: impl FnMut(u64, core::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let at = addr + done;
        let here = (len - done).min(block - at % block);
        part(at, done as usize..(done + here) as usize);
        done += here;
    }
}

impl CachedMemory {
    pub(super) fn new(has_cache: bool) -> Self {
        Self {
            has_cache,
            ..Self::default()
        }
    }

    /// Sets whether the CPU uses its cache for some pages. `addr` and `len` are whole pages.
    pub(super) fn set_cached(&mut self, addr: u64, len: u64, is_cached: bool) {
        for page in (addr..addr + len).step_by(PAGE as usize) {
            if is_cached {
                self.uncached.remove(&page);
            } else {
                self.uncached.insert(page);
            }
        }
    }

    fn is_cached(&self, addr: u64) -> bool {
        self.has_cache && !self.uncached.contains(&(addr & !(PAGE - 1)))
    }

    fn page(&mut self, addr: u64) -> &mut Vec<u8> {
        let dirt = || vec![DIRT; PAGE as usize];
        self.pages.entry(addr & !(PAGE - 1)).or_insert_with(dirt)
    }

    /// Reads memory, not the cache, like a device that does not snoop.
    pub(super) fn read(&mut self, addr: u64, len: u64) -> Vec<u8> {
        let mut out = vec![0; len as usize];
        pieces(addr, len, PAGE, |at, range| {
            let start = (at % PAGE) as usize;
            let end = start + range.len();
            out[range].copy_from_slice(&self.page(at)[start..end]);
        });
        out
    }

    /// Writes memory, not the cache. The CPU's lines do not change.
    pub(super) fn write(&mut self, addr: u64, data: &[u8]) {
        pieces(addr, data.len() as u64, PAGE, |at, range| {
            let start = (at % PAGE) as usize;
            let end = start + range.len();
            self.page(at)[start..end].copy_from_slice(&data[range]);
        });
    }

    fn line(&mut self, addr: u64) -> &mut Line {
        let first = addr & !(LINE - 1);
        if !self.lines.contains_key(&first) {
            let bytes = self.read(first, LINE);
            let is_dirty = false;
            self.lines.insert(first, Line { bytes, is_dirty });
        }
        self.lines.get_mut(&first).expect("just put there")
    }

    /// Reads as the CPU does: from its cache, which fetches missing lines.
    pub(super) fn cpu_read(&mut self, addr: u64, len: u64) -> Vec<u8> {
        let mut out = vec![0; len as usize];
        pieces(addr, len, LINE, |at, range| {
            if !self.is_cached(at) {
                out[range.clone()].copy_from_slice(&self.read(at, range.len() as u64));
                return;
            }
            let start = (at % LINE) as usize;
            let end = start + range.len();
            out[range].copy_from_slice(&self.line(at).bytes[start..end]);
        });
        out
    }

    /// Writes as the CPU does: into its cache, not to memory.
    pub(super) fn cpu_write(&mut self, addr: u64, data: &[u8]) {
        pieces(addr, data.len() as u64, LINE, |at, range| {
            if !self.is_cached(at) {
                return self.write(at, &data[range]);
            }
            let start = (at % LINE) as usize;
            let end = start + range.len();
            let line = self.line(at);
            line.bytes[start..end].copy_from_slice(&data[range]);
            line.is_dirty = true;
        });
    }

    /// Returns the number of bytes that differ between the CPU's cache and memory.
    pub(super) fn stale(&mut self, addr: u64, len: u64) -> u64 {
        let memory = self.read(addr, len);
        let differ = |(at, byte): (u64, &u8)| {
            let line = self.lines.get(&(at & !(LINE - 1)));
            line.is_some_and(|line| line.bytes[(at % LINE) as usize] != *byte)
        };
        (addr..).zip(&memory).filter(|&pair| differ(pair)).count() as u64
    }

    fn lines_of(&self, addr: u64, len: u64) -> Vec<u64> {
        let first = addr & !(LINE - 1);
        let range = self.lines.range(first..addr.saturating_add(len));
        range.map(|(&at, _)| at).collect()
    }

    fn write_back(&mut self, at: u64) {
        if let Some(line) = self.lines.get_mut(&at) {
            if line.is_dirty {
                line.is_dirty = false;
                let bytes = line.bytes.clone();
                self.write(at, &bytes);
            }
        }
    }

    /// Writes whole dirty lines back, even over bytes that a device wrote meanwhile.
    pub(super) fn clean(&mut self, addr: u64, len: u64) {
        for at in self.lines_of(addr, len) {
            self.write_back(at);
        }
    }

    /// Drops lines, which loses the CPU's writes in them. Lines partly outside the range are written back
    /// first.
    pub(super) fn invalidate(&mut self, addr: u64, len: u64) {
        for at in self.lines_of(addr, len) {
            if at < addr || at + LINE > addr + len {
                self.write_back(at);
            }
            self.lines.remove(&at);
        }
    }

    /// Evicts all lines, as a cache may do at any time: writes dirty lines back, and drops all lines.
    pub(super) fn evict(&mut self) {
        for at in self.lines_of(0, u64::MAX) {
            self.write_back(at);
            self.lines.remove(&at);
        }
    }

    /// Sets memory and drops its cache lines, for memory that changes its owner.
    pub(super) fn set(&mut self, addr: u64, data: &[u8]) {
        for at in self.lines_of(addr, data.len() as u64) {
            self.lines.remove(&at);
        }
        self.write(addr, data);
    }
}
