//! A device's I/O page table: a radix tree with 512 entries a level, walked at every access.

use vb3_dma::{PhysAddr, Prot};

const BITS: u32 = 9;
const ENTRIES: usize = 1 << BITS;
/// Most removed pages a device goes on using; beyond that, its translation buffer is empty.
const MAX_STALE: usize = 1 << 16;

/// One entry of a table.
#[derive(Debug, Default)]
enum Entry {
    #[default]
    Empty,
    Table(Box<Table>),
    Page {
        phys: u64,
        prot: Prot,
    },
}

#[derive(Debug)]
struct Table {
    entries: Vec<Entry>,
    used: usize,
}

impl Table {
    fn new() -> Self {
        let mut entries = Vec::new();
        entries.resize_with(ENTRIES, Entry::default);
        Self { entries, used: 0 }
    }
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Translation {
    pub(crate) phys: PhysAddr,
    /// Bytes to the end of the page.
    pub(crate) len: u64,
    pub(crate) prot: Prot,
}

/// A removed range that the device may still hold in its translation buffer.
#[derive(Clone, Copy, Debug)]
struct Stale {
    iova: u64,
    size: u64,
    phys: u64,
    prot: Prot,
}

/// The page table of one device.
#[derive(Debug)]
pub(crate) struct PageTable {
    page_sizes: u64,
    granule_bits: u32,
    levels: u32,
    root: Table,
    stale: Vec<Stale>,
    pages: u64,
}

/// The range is not aligned, not inside the aperture, or partly mapped already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadRange;

impl PageTable {
    /// An empty table for addresses below `2^aperture_bits`. `page_sizes` is not zero.
    pub(crate) fn new(page_sizes: u64, aperture_bits: u32) -> Self {
        let granule_bits = page_sizes.trailing_zeros();
        let levels = aperture_bits
            .saturating_sub(granule_bits)
            .div_ceil(BITS)
            .max(1);
        Self {
            page_sizes,
            granule_bits,
            levels,
            root: Table::new(),
            stale: Vec::new(),
            pages: 0,
        }
    }

    /// Entries in use.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Bits below which an entry of `level` (zero is the last) says nothing.
    const fn shift(&self, level: u32) -> u32 {
        self.granule_bits + BITS * level
    }

    const fn index(&self, iova: u64, level: u32) -> usize {
        // CAST: masked to nine bits.
        ((iova >> self.shift(level)) & (ENTRIES as u64 - 1)) as usize
    }

    /// The first address the table cannot hold; `None` if it holds all.
    fn end(&self) -> Option<u64> {
        1u64.checked_shl(self.shift(self.levels))
    }

    /// The level of the largest page that fits at both addresses.
    fn level_for(&self, iova: u64, phys: u64, len: u64) -> u32 {
        (0..self.levels)
            .rev()
            .find(|&level| {
                let size = 1u64 << self.shift(level);
                self.page_sizes & size != 0 && (iova | phys) & (size - 1) == 0 && len >= size
            })
            .unwrap_or(0)
    }

    /// Maps a range. All or nothing.
    pub(crate) fn map(
        &mut self,
        iova: u64,
        phys: u64,
        len: u64,
        prot: Prot,
    ) -> Result<(), BadRange> {
        let inside = (1u64 << self.granule_bits) - 1;
        let end = iova.checked_add(len).ok_or(BadRange)?;
        if (iova | phys | len) & inside != 0 || len == 0 || phys.checked_add(len).is_none() {
            return Err(BadRange);
        }
        if self.end().is_some_and(|limit| end > limit) {
            return Err(BadRange);
        }
        let mut done = 0;
        while done < len {
            let level = self.level_for(iova + done, phys + done, len - done);
            if !self.enter(iova + done, phys + done, level, prot) {
                self.remove(iova, done, false);
                return Err(BadRange);
            }
            done += 1u64 << self.shift(level);
        }
        Ok(())
    }

    fn enter(&mut self, iova: u64, phys: u64, level: u32, prot: Prot) -> bool {
        if self.occupied(iova, level) {
            return false;
        }
        let indices: Vec<usize> = (level..self.levels)
            .rev()
            .map(|l| self.index(iova, l))
            .collect();
        let Some((&last, path)) = indices.split_last() else {
            return false;
        };
        let mut table = &mut self.root;
        for &index in path {
            let entry = &mut table.entries[index];
            if matches!(entry, Entry::Empty) {
                *entry = Entry::Table(Box::new(Table::new()));
                table.used += 1;
            }
            match &mut table.entries[index] {
                Entry::Table(next) => table = next,
                Entry::Empty | Entry::Page { .. } => return false,
            }
        }
        table.entries[last] = Entry::Page { phys, prot };
        table.used += 1;
        self.pages += 1;
        true
    }

    /// Whether anything is mapped in the page of `level` at `iova`.
    fn occupied(&self, iova: u64, level: u32) -> bool {
        let mut table = &self.root;
        for l in (level..self.levels).rev() {
            match &table.entries[self.index(iova, l)] {
                Entry::Empty => return false,
                Entry::Page { .. } => return true,
                Entry::Table(next) => table = next,
            }
        }
        // A table without entries is taken out at once, so one that is left maps something.
        true
    }

    /// Removes what is mapped in a range, whole pages. The device may go on using it until a
    /// flush.
    pub(crate) fn unmap(&mut self, iova: u64, len: u64) {
        self.remove(iova, len, true);
    }

    fn remove(&mut self, iova: u64, len: u64, was_seen: bool) {
        let end = iova.saturating_add(len);
        let mut at = iova;
        while at < end {
            let (removed, step) = self.remove_at(at);
            if let (Some((size, phys, prot)), true) = (removed, was_seen) {
                if self.stale.len() >= MAX_STALE {
                    self.stale.clear();
                }
                self.stale.push(Stale {
                    iova: at & !(size - 1),
                    size,
                    phys,
                    prot,
                });
            }
            // On to the end of the entry, whatever it was.
            match (at & !(step - 1)).checked_add(step) {
                Some(next) => at = next,
                None => break,
            }
        }
    }

    /// Removes the page at an address; returns it, and the bytes its entry covers.
    fn remove_at(&mut self, iova: u64) -> (Option<(u64, u64, Prot)>, u64) {
        let top = self.levels - 1;
        let (granule_bits, indices) = (self.granule_bits, self.path(iova));
        let found = remove_below(&mut self.root, &indices, granule_bits + BITS * top);
        if found.0.is_some() {
            self.pages -= 1;
        }
        found
    }

    fn path(&self, iova: u64) -> Vec<usize> {
        (0..self.levels)
            .rev()
            .map(|l| self.index(iova, l))
            .collect()
    }

    /// Makes removals take effect.
    pub(crate) fn flush(&mut self) {
        self.stale.clear();
    }

    /// Where an address leads, as the device sees it now.
    pub(crate) fn translate(&self, iova: u64) -> Option<Translation> {
        if self.end().is_some_and(|limit| iova >= limit) {
            return None;
        }
        let mut table = &self.root;
        for level in (0..self.levels).rev() {
            match &table.entries[self.index(iova, level)] {
                Entry::Empty => break,
                Entry::Table(next) => table = next,
                Entry::Page { phys, prot } => {
                    return Some(within(iova, 1 << self.shift(level), *phys, *prot));
                }
            }
        }
        let held = self
            .stale
            .iter()
            .rev()
            .find(|s| iova & !(s.size - 1) == s.iova)?;
        Some(within(iova, held.size, held.phys, held.prot))
    }
}

fn within(iova: u64, size: u64, phys: u64, prot: Prot) -> Translation {
    let offset = iova & (size - 1);
    Translation {
        phys: PhysAddr::new(phys + offset),
        len: size - offset,
        prot,
    }
}

/// Removes the page that `path` leads to, and tables that are empty then. The depth is bounded
/// by the length of `path`.
fn remove_below(table: &mut Table, path: &[usize], shift: u32) -> (Option<(u64, u64, Prot)>, u64) {
    let size = 1u64 << shift;
    let Some((&index, rest)) = path.split_first() else {
        return (None, size);
    };
    match &mut table.entries[index] {
        Entry::Empty => (None, size),
        Entry::Page { phys, prot } => {
            let page = (size, *phys, *prot);
            table.entries[index] = Entry::Empty;
            table.used -= 1;
            (Some(page), size)
        }
        Entry::Table(next) => {
            let found = remove_below(next, rest, shift.saturating_sub(BITS));
            if next.used == 0 {
                table.entries[index] = Entry::Empty;
                table.used -= 1;
            }
            found
        }
    }
}

#[cfg(test)]
mod tests;
