//! Removal of address ranges, and splitting of blocks that extend beyond them.

use super::entry::{ENTRY_SHIFT, Entry};
use super::map::Missing;
use super::table::{Chain, PageTable, Path, TableMemory};
use crate::{DmaAddr, Error};

impl PageTable {
    /// Removes all mappings in a range. Splits a block that extends beyond the range, and keeps the
    /// part outside. Returns the number of bytes that were mapped.
    ///
    /// A walker may use removed entries until its translation buffers are flushed.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) unless the range is whole granules of input addresses. The error of `mem` if it
    /// lacks tables for splitting (at most two for each level). An error changes nothing. A range that
    /// splits no block never needs memory.
    pub fn unmap(
        &mut self,
        mem: &mut impl TableMemory,
        iova: DmaAddr,
        len: u64,
    ) -> Result<u64, Error> {
        let end = self.check_range(iova, len)?;
        // Most ranges consist of pages in one table, and split no block.
        let mut removed = 0;
        let path = self.descend(mem, iova.get(), 0);
        let pages = len >> self.geometry.shift(0);
        if path.height == 0 && self.geometry.run(iova.get(), 0, len) == pages {
            let (passed, leaves) = self.clear(mem, &path, pages);
            removed = leaves << self.geometry.shift(0);
            if passed == pages {
                return Ok(removed);
            }
        }
        Ok(removed + self.unmap_any(mem, iova.get(), end)?)
    }

    /// Unmaps, as [`unmap`](Self::unmap), a range that has blocks or lies in several tables.
    #[inline(never)]
    fn unmap_any(
        &mut self,
        mem: &mut impl TableMemory,
        start: u64,
        end: u64,
    ) -> Result<u64, Error> {
        let missing = self.tables_to_split(mem, start, end);
        let mut spare = self.take_tables(mem, missing)?;
        let geo = self.geometry;
        let (mut at, mut removed) = (start, 0u64);
        while at < end {
            let path = self.descend(mem, at, 0);
            let size = geo.size(path.height);
            let base = at & !(size - 1);
            match geo.decode(path.height, path.entry) {
                Entry::Leaf(phys) if base < at || size > end - base => {
                    self.split(mem, &path, (base, phys), &mut spare)?;
                }
                Entry::Leaf(_) => {
                    let (passed, leaves) =
                        self.clear(mem, &path, geo.run(at, path.height, end - at));
                    removed += leaves << geo.shift(path.height);
                    at += passed << geo.shift(path.height);
                }
                Entry::Empty | Entry::Table(_) | Entry::Malformed => at = base + size,
            }
        }
        Ok(removed)
    }

    /// Returns the number of tables needed to split blocks at both ends of a range.
    fn tables_to_split(&self, mem: &impl TableMemory, start: u64, end: u64) -> u64 {
        let geo = &self.geometry;
        let mut missing = Missing::NONE;
        for cut in [start, end] {
            // A cut at a boundary of the largest block, or after the last address, splits nothing.
            if cut >= geo.input_end() || cut & (geo.size(geo.max_leaf) - 1) == 0 {
                continue;
            }
            let path = self.descend(mem, cut, 0);
            if !matches!(geo.decode(path.height, path.entry), Entry::Leaf(_)) {
                continue;
            }
            let splits = |height: &u32| cut & (geo.size(height + 1) - 1) != 0;
            missing.add(geo, cut, (0..path.height).filter(splits));
        }
        missing.count
    }

    /// Replaces a block by a table of smaller entries.
    fn split(
        &mut self,
        mem: &mut impl TableMemory,
        path: &Path,
        (base, phys): (u64, u64),
        spare: &mut Chain,
    ) -> Result<(), Error> {
        let geo = self.geometry;
        let below = path.height.checked_sub(1).ok_or(Error::Invalid)?;
        let table = spare.pop(mem).ok_or(Error::Invalid)?;
        let attributes = geo.bits.attributes(path.entry);
        let entries = geo.entries();
        let mut part = phys;
        mem.write_each(table, entries, || {
            let leaf = geo.leaf(below, part, attributes);
            part = part.wrapping_add(geo.size(below));
            leaf
        });
        mem.publish(table, entries << ENTRY_SHIFT);
        let at = path.end();
        mem.write_entry(at, 0);
        mem.publish(at, 8);
        mem.break_block(DmaAddr::new(base), geo.size(path.height));
        mem.write_entry(at, geo.bits.with_count(geo.table(table), entries));
        mem.publish(at, 8);
        self.tables += 1;
        self.leaves += entries - 1;
        Ok(())
    }

    /// Clears up to `most` entries of one table, but stops at an entry that points to a table. Unlinks the
    /// table if it is then empty. Returns the number of entries visited, and how many of them were leaves.
    fn clear(&mut self, mem: &mut impl TableMemory, path: &Path, most: u64) -> (u64, u64) {
        let geo = self.geometry;
        let first = path.end();
        let mut leaves = 0u64;
        let passed = mem.read_while(first, most, |entry| {
            let entry = geo.decode(path.height, entry);
            leaves += u64::from(matches!(entry, Entry::Leaf(_)));
            matches!(entry, Entry::Leaf(_) | Entry::Empty)
        });
        mem.write_each(first, passed, || 0);
        mem.publish(first, passed << ENTRY_SHIFT);
        self.leaves -= leaves;
        let left = self.recount(mem, path, path.height, |count| count.saturating_sub(leaves));
        if left == Some(0) {
            self.take_out(mem, path);
        }
        (passed, leaves)
    }

    /// Unlinks the empty table at the end of a path, and each higher table that becomes empty as a result.
    fn take_out(&mut self, mem: &mut impl TableMemory, path: &Path) {
        let geo = self.geometry;
        let mut height = path.height;
        while let Some(at) = path.at(height + 1) {
            let Entry::Table(table) = geo.decode(height + 1, mem.read_entry(at)) else {
                return;
            };
            mem.write_entry(at, 0);
            mem.publish(at, 8);
            self.retired.push(mem, table);
            self.tables -= 1;
            height += 1;
            if self.recount(mem, path, height, |count| count.saturating_sub(1)) != Some(0) {
                return;
            }
        }
    }
}
