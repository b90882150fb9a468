//! Lookup of I/O addresses in page tables.

use super::entry::Entry;
use super::table::{PageTable, Path, TableMemory};
use crate::{Iova, PhysAddr, Prot};

/// A page or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// First input address.
    pub iova: Iova,
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
    pub fn at(&self, iova: Iova) -> Option<(PhysAddr, u64)> {
        let offset = iova.get().checked_sub(self.iova.get())?;
        let left = self.len.checked_sub(offset).filter(|&left| left > 0)?;
        Some((self.phys.checked_add(offset)?, left))
    }
}

/// A walk that found no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Level at which the walk ended, in the manual's numbering: from 0 to 3 on Arm, from 5 to 1 on VT-d.
    pub level: u32,
    /// The manual's name of the level's entries.
    pub name: &'static str,
}

impl PageTable {
    /// Looks up an address as the IOMMU does for a device's access.
    ///
    /// # Errors
    /// [`Fault`] with the level at which the walk ended.
    pub fn translate(&self, mem: &impl TableMemory, iova: Iova) -> Result<Leaf, Fault> {
        let geo = &self.geometry;
        let fault = |level| Fault {
            level,
            name: geo.format.level_name(level),
        };
        if iova.get() >= geo.input_end() {
            return Err(fault(self.start_level()));
        }
        let path = self.descend(mem, iova.get(), 0);
        match geo.decode(path.height, path.entry) {
            Entry::Leaf(phys) => {
                let base = iova.get() & !(geo.size(path.height) - 1);
                Ok(self.leaf(&path, base, phys))
            }
            Entry::Empty | Entry::Table(_) | Entry::Malformed => Err(fault(geo.level(path.height))),
        }
    }

    /// Iterates in order over all pages and blocks that overlap the addresses `first` to `last`.
    pub fn leaves(
        &self,
        mem: &impl TableMemory,
        first: Iova,
        last: Iova,
    ) -> impl Iterator<Item = Leaf> {
        let geo = &self.geometry;
        let mut next = first.get();
        // No overflow below: the last input address lies below 2^57.
        let end = geo.input_end().min(last.get().saturating_add(1));
        core::iter::from_fn(move || {
            while next < end {
                let path = self.descend(mem, next, 0);
                let len = geo.size(path.height);
                let base = next & !(len - 1);
                next = base + len;
                if let Entry::Leaf(phys) = geo.decode(path.height, path.entry) {
                    return Some(self.leaf(&path, base, phys));
                }
            }
            None
        })
    }

    /// Describes the page or block at the end of a path.
    fn leaf(&self, path: &Path, iova: u64, phys: u64) -> Leaf {
        let geo = &self.geometry;
        Leaf {
            iova: Iova::new(iova),
            phys: PhysAddr::new(phys),
            len: geo.size(path.height),
            prot: geo.prot(path.entry),
            level: geo.level(path.height),
        }
    }
}
