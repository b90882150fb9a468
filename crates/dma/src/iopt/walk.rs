//! Looking things up.

use super::layout::Entry;
use super::{PageTable, TableMemory};
use crate::{Iova, PhysAddr, Prot};

/// A page or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its first address.
    pub iova: Iova,
    /// What that leads to.
    pub phys: PhysAddr,
    /// Length in bytes.
    pub len: u64,
    /// Allowed accesses. Arm's stage 1 allows reads in all places that allow writes.
    pub prot: Prot,
    /// The level its entry stands at, as the manual counts: down to 3 on Arm, down to 1 on VT-d.
    pub level: u32,
}

impl Leaf {
    /// Returns the physical address of an address inside, and the number of contiguous bytes from
    /// there; `None` outside.
    #[must_use]
    pub fn at(&self, iova: Iova) -> Option<(PhysAddr, u64)> {
        let offset = iova.checked_sub(self.iova)?;
        let left = self.len.checked_sub(offset).filter(|&left| left > 0)?;
        Some((self.phys.checked_add(offset)?, left))
    }
}

/// Why a walk found no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCause {
    /// The address has more bits than go in.
    InputSize,
    /// An entry is not valid.
    NotPresent,
    /// An entry has bits that the manual reserves.
    Malformed,
}

/// Where a walk ended without a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The level of the entry, as the manual counts: from 0 to 3 on Arm, from 5 to 1 on VT-d. See
    /// [`Format::level_name`](super::Format::level_name).
    pub level: u32,
    /// Why.
    pub cause: FaultCause,
}

impl PageTable {
    /// Looks an address up as a walker does.
    ///
    /// # Errors
    /// [`Fault`] with the level at which the walk ended.
    pub fn translate<M: TableMemory + ?Sized>(&self, mem: &M, iova: Iova) -> Result<Leaf, Fault> {
        let geo = &self.geometry;
        if iova.get() >= geo.input_end() {
            let cause = FaultCause::InputSize;
            let level = self.start_level();
            return Err(Fault { level, cause });
        }
        let path = self.descend(mem, iova.get(), 0);
        let level = geo.level(path.height);
        let len = geo.size(path.height);
        match geo.decode(path.height, path.entry) {
            Entry::Leaf(phys) => Ok(Leaf {
                iova: Iova::new(iova.get() & !(len - 1)),
                phys: PhysAddr::new(phys),
                len,
                prot: geo.prot(path.entry),
                level,
            }),
            Entry::Empty => Err(Fault {
                level,
                cause: FaultCause::NotPresent,
            }),
            Entry::Table(_) | Entry::Malformed => Err(Fault {
                level,
                cause: FaultCause::Malformed,
            }),
        }
    }

    /// All pages and blocks that reach into the addresses from `first` to `last`, in order.
    pub fn leaves<'a, M: TableMemory + ?Sized>(
        &'a self,
        mem: &'a M,
        first: Iova,
        last: Iova,
    ) -> Leaves<'a, M> {
        let end = self.geometry.input_end();
        Leaves {
            table: self,
            mem,
            next: first.get(),
            // The last input address lies below 2^57.
            end: end.min(last.get().saturating_add(1)),
        }
    }
}

/// The pages and blocks of a range, in order.
#[derive(Debug)]
pub struct Leaves<'a, M: ?Sized> {
    table: &'a PageTable,
    mem: &'a M,
    next: u64,
    end: u64,
}

impl<M: TableMemory + ?Sized> Iterator for Leaves<'_, M> {
    type Item = Leaf;

    fn next(&mut self) -> Option<Leaf> {
        let geo = &self.table.geometry;
        while self.next < self.end {
            let at = self.next;
            let path = self.table.descend(self.mem, at, 0);
            let len = geo.size(path.height);
            let base = at & !(len - 1);
            self.next = base + len;
            if let Entry::Leaf(phys) = geo.decode(path.height, path.entry) {
                return Some(Leaf {
                    iova: Iova::new(base),
                    phys: PhysAddr::new(phys),
                    len,
                    prot: geo.prot(path.entry),
                    level: geo.level(path.height),
                });
            }
        }
        None
    }
}
