//! Lookup of I/O addresses in page tables.

use super::entry::Entry;
use super::table::{PageTable, Path, TableMemory, nth};
use crate::{DmaAddr, PhysAddr, Prot};

/// A page or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// First input address.
    pub iova: DmaAddr,
    /// Physical address of the first byte.
    pub phys: PhysAddr,
    /// Length in bytes.
    pub len: u64,
    /// Allowed accesses. Arm's stage 1 allows reads wherever it allows writes.
    pub prot: Prot,
    /// Level of the leaf's entry in the manual's numbering, where the last level is 3 on Arm and 1 on VT-d.
    pub level: u32,
}

impl Leaf {
    /// Returns the physical address of `iova`, and the bytes from there to the leaf's end; `None` outside the leaf.
    #[must_use]
    pub fn at(&self, iova: DmaAddr) -> Option<(PhysAddr, u64)> {
        let offset = iova.get().checked_sub(self.iova.get())?;
        let left = self.len.checked_sub(offset).filter(|&left| left > 0)?;
        Some((self.phys.checked_add(offset)?, left))
    }
}

/// Maximum number of entries that are read ahead.
const AHEAD: usize = 64;

/// Entries of one table that were read ahead, so that not each page needs a walk from the root.
struct Ahead {
    height: u32,
    entries: [u64; AHEAD],
    /// Indices of the next entry, and of the end of those read.
    next: usize,
    end: usize,
}

impl Ahead {
    const NONE: Self = Self {
        height: 0,
        entries: [0; AHEAD],
        next: 0,
        end: 0,
    };

    /// Reads the entries that follow a path's last one. `count` is how many of the table, with that one, may be read.
    fn after(path: &Path, count: u64, mem: &impl TableMemory) -> Self {
        let mut ahead = Self {
            height: path.height,
            ..Self::NONE
        };
        let most = count.saturating_sub(1).min(AHEAD as u64);
        mem.read_while(nth(path.end(), 1), most, |entry| {
            let slot = ahead.entries.get_mut(ahead.end);
            ahead.end += usize::from(slot.is_some());
            slot.map(|slot| *slot = entry).is_some()
        });
        ahead
    }

    fn next(&mut self) -> Option<u64> {
        if self.next >= self.end {
            return None;
        }
        let entry = self.entries.get(self.next).copied();
        self.next += 1;
        entry
    }
}

impl PageTable {
    /// Looks up an address as the IOMMU does for a device's access. `None` if no page or block is mapped there;
    /// [`end_level`](Self::end_level) then says where the IOMMU stopped.
    pub fn translate(&self, mem: &impl TableMemory, iova: DmaAddr) -> Option<Leaf> {
        self.walk(mem, iova).ok()
    }

    /// Returns the level at which the IOMMU's walk for an address ends, mapped or not, in the manual's numbering: from 0
    /// to 3 on Arm, from 5 to 1 on VT-d. [`level_name`](Self::level_name) names it.
    pub fn end_level(&self, mem: &impl TableMemory, iova: DmaAddr) -> u32 {
        match self.walk(mem, iova) {
            Ok(leaf) => leaf.level,
            Err(level) => level,
        }
    }

    /// Returns the leaf of an address, or the level at which the walk ended without one.
    fn walk(&self, mem: &impl TableMemory, iova: DmaAddr) -> Result<Leaf, u32> {
        let geo = &self.geometry;
        if iova.get() >= geo.input_end() {
            return Err(self.start_level());
        }
        let path = self.descend(mem, iova.get(), 0);
        match geo.decode(path.height, path.entry) {
            Entry::Leaf(phys) => {
                let base = iova.get() & !(geo.size(path.height) - 1);
                Ok(self.leaf((path.height, path.entry), base, phys))
            }
            Entry::Empty | Entry::Table(_) | Entry::Malformed => Err(geo.level(path.height)),
        }
    }

    /// Iterates in order over all pages and blocks that overlap the addresses `first` to `last`.
    pub fn leaves(
        &self,
        mem: &impl TableMemory,
        first: DmaAddr,
        last: DmaAddr,
    ) -> impl Iterator<Item = Leaf> {
        let geo = &self.geometry;
        let mut next = first.get();
        // No overflow below: the last input address lies below 2^57.
        let end = geo.input_end().min(last.get().saturating_add(1));
        let mut ahead = Ahead::NONE;
        core::iter::from_fn(move || {
            while next < end {
                let (height, entry) = match ahead.next() {
                    Some(entry) => (ahead.height, entry),
                    None => {
                        let path = self.descend(mem, next, 0);
                        let count = geo.run(next, path.height, end - next);
                        ahead = Ahead::after(&path, count, mem);
                        (path.height, path.entry)
                    }
                };
                let len = geo.size(height);
                let base = next & !(len - 1);
                match geo.decode(height, entry) {
                    // An entry that was read ahead: its table is walked next.
                    Entry::Table(_) => ahead = Ahead::NONE,
                    Entry::Leaf(phys) => {
                        next = base + len;
                        return Some(self.leaf((height, entry), base, phys));
                    }
                    Entry::Empty | Entry::Malformed => next = base + len,
                }
            }
            None
        })
    }

    /// Describes the page or block of an entry.
    fn leaf(&self, (height, entry): (u32, u64), iova: u64, phys: u64) -> Leaf {
        let geo = &self.geometry;
        Leaf {
            iova: DmaAddr::new(iova),
            phys: PhysAddr::new(phys),
            len: geo.size(height),
            prot: geo.prot(entry),
            level: geo.level(height),
        }
    }
}
