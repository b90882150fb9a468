//! A page table, the memory for tables, and the path to an entry.

use super::entry::{ENTRY_SHIFT, Entry};
use super::layout::{Config, Geometry, MAX_LEVELS};
use crate::{DmaAddr, Error, PhysAddr};

/// Memory for tables.
///
/// # Requirements on the implementer
/// * An allocated table is zeroed, for the CPU and for the walker, and aligned to its length.
/// * Entries are read and written as one 64-bit access, little endian.
#[expect(unused_variables, reason = "the default methods do nothing")]
pub trait TableMemory {
    /// Allocates a table of `len` bytes: one granule, or up to sixteen at the root of Arm stage 2.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM).
    fn alloc_table(&mut self, len: u64) -> Result<PhysAddr, Error>;

    /// Frees a table. `len` is the number of bytes that was allocated. The table's content may be anything.
    fn free_table(&mut self, table: PhysAddr, len: u64);

    /// Reads an entry of an allocated table.
    fn read_entry(&self, at: PhysAddr) -> u64;

    /// Writes an entry of an allocated table.
    fn write_entry(&mut self, at: PhysAddr, entry: u64);

    /// Reads up to `count` consecutive entries of one table, until `goes_on` returns false. Returns the number of
    /// entries for which it returned true.
    ///
    /// The default reads each entry by itself. A host that has to search for a table implements this with one search.
    fn read_while(&self, first: PhysAddr, count: u64, mut goes_on: impl FnMut(u64) -> bool) -> u64 {
        let mut entries = (0..count).map(|index| self.read_entry(nth(first, index)));
        entries
            .position(|entry| !goes_on(entry))
            .map_or(count, |read| read as u64)
    }

    /// Writes `count` consecutive entries of one table: what `next` returns, in order.
    ///
    /// The default writes each entry by itself. See [`read_while`](Self::read_while).
    fn write_each(&mut self, first: PhysAddr, count: u64, mut next: impl FnMut() -> u64) {
        (0..count).for_each(|index| self.write_entry(nth(first, index), next()));
    }

    /// Makes written entries visible to a walker that does not snoop, before any later write. `len` is in
    /// bytes.
    fn publish(&mut self, at: PhysAddr, len: u64) {}

    /// Makes a walker forget its cached translation of a block of `len` bytes. Called after the block's
    /// removal and before a table replaces the block, for architectures that require break-before-make.
    fn break_block(&mut self, iova: DmaAddr, len: u64) {}
}

/// Returns the address of the entry `index` entries after another.
pub(super) const fn nth(first: PhysAddr, index: u64) -> PhysAddr {
    PhysAddr::new(first.get() + (index << ENTRY_SHIFT))
}

/// A page table in memory.
///
/// [`free`](Self::free) releases the memory. Dropping this value leaks the memory.
#[derive(Debug)]
#[must_use = "a page table is freed only by `PageTable::free`"]
pub struct PageTable {
    pub(super) geometry: Geometry,
    root: PhysAddr,
    /// Tables unlinked since the last `take_retired`. The first word of each is the aligned address of the next.
    /// Every format treats such a word as an invalid entry, so a walker that still reads it finds no translation.
    pub(super) retired: Chain,
    pub(super) tables: u64,
    pub(super) leaves: u64,
}

/// Tables that a [`PageTable`] no longer uses. A walker may still use them until a flush.
///
/// Dropping this value leaks the tables.
#[derive(Debug)]
#[must_use = "retired tables are freed only by `Retired::free`, after a flush"]
pub struct Retired {
    tables: Chain,
    /// Size of each table in bytes.
    bytes: u64,
}

impl Retired {
    /// Frees the tables. The caller must have flushed the translation buffers since
    /// [`take_retired`](PageTable::take_retired).
    pub fn free(mut self, mem: &mut impl TableMemory) {
        self.tables.free(mem, self.bytes);
    }
}

/// Unlinked tables, chained by their first word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chain {
    first: u64,
    len: u64,
}

impl Chain {
    pub(super) fn push(&mut self, mem: &mut impl TableMemory, table: PhysAddr) {
        mem.write_entry(table, self.first);
        mem.publish(table, 8);
        self.first = table.get();
        self.len += 1;
    }

    pub(super) fn pop(&mut self, mem: &mut impl TableMemory) -> Option<PhysAddr> {
        if self.len == 0 {
            return None;
        }
        let table = PhysAddr::new(self.first);
        self.first = mem.read_entry(table);
        self.len -= 1;
        mem.write_entry(table, 0);
        mem.publish(table, 8);
        Some(table)
    }

    fn free(&mut self, mem: &mut impl TableMemory, bytes: u64) {
        while let Some(table) = self.pop(mem) {
            mem.free_table(table, bytes);
        }
    }
}

/// The path from the root to an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// Address of the entry at each height, from `height` up.
    entries: [PhysAddr; MAX_LEVELS],
    pub(super) height: u32,
    pub(super) entry: u64,
}

impl Path {
    /// Returns the address of the entry of this height; `None` above the root.
    #[inline]
    pub(super) fn at(&self, height: u32) -> Option<PhysAddr> {
        self.entries
            .get(height as usize)
            .copied()
            .filter(|at| at.get() != u64::MAX)
    }

    /// Returns the address of the entry at the end of the path.
    #[inline]
    pub(super) fn end(&self) -> PhysAddr {
        self.at(self.height).unwrap_or(PhysAddr::new(0))
    }
}

impl PageTable {
    /// Makes an empty table.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a configuration that the format does not support; the error of `mem`.
    pub fn new(mem: &mut impl TableMemory, config: &Config) -> Result<Self, Error> {
        let geometry = Geometry::new(config)?;
        let root = mem.alloc_table(geometry.root_bytes())?;
        Ok(Self {
            geometry,
            root,
            retired: Chain::default(),
            tables: 1,
            leaves: 0,
        })
    }

    /// Returns the address of the root, for the IOMMU's base register or context entry.
    #[must_use]
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// Returns the level of the root, numbered as in the architecture's manual.
    #[must_use]
    pub fn start_level(&self) -> u32 {
        self.geometry.level(self.geometry.levels - 1)
    }

    /// Returns the manual's name of the entries of a level.
    #[must_use]
    pub fn level_name(&self, level: u32) -> &'static str {
        self.geometry.format.level_name(level)
    }

    /// Returns the number of tables in use, including the root.
    #[must_use]
    pub fn tables(&self) -> u64 {
        self.tables
    }

    /// Returns the number of mapped pages and blocks.
    #[must_use]
    pub fn leaf_count(&self) -> u64 {
        self.leaves
    }

    /// Returns the tables that earlier calls unlinked. The host flushes, and then frees them.
    pub fn take_retired(&mut self) -> Retired {
        Retired {
            tables: core::mem::take(&mut self.retired),
            bytes: self.geometry.granule(),
        }
    }

    /// Frees all tables. The caller must make sure that no walker uses them.
    pub fn free(mut self, mem: &mut impl TableMemory) {
        self.take_retired().free(mem);
        let geo = self.geometry;
        // Frees from the bottom up, one whole height at a time.
        for height in 1..geo.levels {
            let mut at = 0u64;
            while at < geo.input_end() {
                let path = self.descend(mem, at, height);
                if let (true, Entry::Table(table)) =
                    (path.height == height, geo.decode(path.height, path.entry))
                {
                    mem.write_entry(path.end(), 0);
                    mem.free_table(table, geo.granule());
                }
                let size = geo.size(path.height);
                at = (at & !(size - 1)) + size;
            }
        }
        mem.free_table(self.root, geo.root_bytes());
    }

    /// Walks down to the entry for `iova` at height `stop`, or to an earlier entry that points to no table.
    /// `iova` must be below the table's `input_end`.
    pub(super) fn descend(&self, mem: &impl TableMemory, iova: u64, stop: u32) -> Path {
        let geo = &self.geometry;
        let mut path = Path {
            entries: [PhysAddr::new(u64::MAX); MAX_LEVELS],
            height: geo.levels - 1,
            entry: 0,
        };
        let mut table = self.root;
        let mut shift = geo.shift(path.height);
        // Input addresses have no bits above the root's index.
        let mut index = iova >> shift;
        loop {
            let at = PhysAddr::new(table.get() | index << ENTRY_SHIFT);
            if let Some(slot) = path.entries.get_mut(path.height as usize) {
                *slot = at;
            }
            path.entry = mem.read_entry(at);
            if path.height <= stop {
                return path;
            }
            match geo.decode(path.height, path.entry) {
                Entry::Table(next) => table = next,
                Entry::Empty | Entry::Leaf(_) | Entry::Malformed => return path,
            }
            path.height -= 1;
            shift -= geo.index_bits;
            index = iova >> shift & geo.index_mask();
        }
    }

    /// Allocates this number of tables, or none.
    #[inline]
    pub(super) fn take_tables(
        &self,
        mem: &mut impl TableMemory,
        tables: u64,
    ) -> Result<Chain, Error> {
        let mut spare = Chain::default();
        if tables == 0 {
            return Ok(spare);
        }
        let bytes = self.geometry.granule();
        for _ in 0..tables {
            match mem.alloc_table(bytes) {
                Ok(table) => spare.push(mem, table),
                Err(err) => {
                    spare.free(mem, bytes);
                    return Err(err);
                }
            }
        }
        Ok(spare)
    }

    /// Changes the number of used entries of the path's table at `height`. Returns the new number; `None` for
    /// the root, which has no such count.
    pub(super) fn recount(
        &self,
        mem: &mut impl TableMemory,
        path: &Path,
        height: u32,
        change: impl FnOnce(u64) -> u64,
    ) -> Option<u64> {
        let geo = &self.geometry;
        let at = path.at(height + 1)?;
        let entry = mem.read_entry(at);
        let count = change(geo.bits.count(entry));
        mem.write_entry(at, geo.bits.with_count(entry, count));
        mem.publish(at, 8);
        Some(count)
    }

    /// Checks that a range is whole granules inside the input addresses.
    #[inline]
    pub(super) fn check_range(&self, iova: DmaAddr, len: u64) -> Result<u64, Error> {
        let end = iova.get().checked_add(len).ok_or(Error::Invalid)?;
        let inside = self.geometry.granule() - 1;
        if len == 0 || (iova.get() | len) & inside != 0 || end > self.geometry.input_end() {
            return Err(Error::Invalid);
        }
        Ok(end)
    }
}
