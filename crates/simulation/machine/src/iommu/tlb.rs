//! A device's translation buffer.

use std::cell::Cell;
use vb3_dma::DmaAddr;
use vb3_dma::iopt::Leaf;

/// Number of translations in a device's buffer, a power of two.
const SLOTS: usize = 64;
/// Maximum number of removed pages that a device continues to use. When it is reached, all removed pages are
/// dropped.
const MAX_STALE: usize = 1 << 16;

/// The translations that a device may use between the removal of a page and the flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Staleness {
    /// Every removed page, used before or not: the worst possible translation buffer. If another page is
    /// mapped at the same address, the device uses the new page at once.
    #[default]
    Everything,
    /// Recently used pages, as in hardware. If another page is mapped at such an address, the device does *not* use
    /// the new page before the flush.
    Cached,
}

/// The translation buffer of one device.
#[derive(Debug)]
pub(crate) struct Tlb {
    staleness: Staleness,
    slots: Box<[Cell<Option<Leaf>>; SLOTS]>,
    /// Removed pages. Pages with consecutive I/O addresses are one entry if their physical addresses are
    /// consecutive, too.
    removed: Vec<Leaf>,
    shift: u32,
}

impl Tlb {
    pub(super) fn new(granule: u64) -> Self {
        Self {
            staleness: Staleness::default(),
            slots: Box::new([const { Cell::new(None) }; SLOTS]),
            removed: Vec::new(),
            shift: granule.trailing_zeros(),
        }
    }

    pub(crate) fn set_staleness(&mut self, staleness: Staleness) {
        self.flush();
        self.staleness = staleness;
    }

    fn slot(&self, iova: DmaAddr) -> &Cell<Option<Leaf>> {
        // CAST: below the number of slots.
        &self.slots[(iova.get() >> self.shift) as usize % SLOTS]
    }

    /// Finds the stored translation of an address.
    pub(super) fn find(&self, iova: DmaAddr) -> Option<Leaf> {
        let held = self.slot(iova).get()?;
        held.at(iova).map(|_| held)
    }

    /// Stores the result of a walk for `iova`.
    pub(super) fn fill(&self, iova: DmaAddr, leaf: Leaf) {
        self.slot(iova).set(Some(leaf));
    }

    /// Records pages of a range that are about to be removed, if the device may still use them.
    pub(super) fn remove(&mut self, iova: u64, len: u64, pages: impl Iterator<Item = Leaf>) {
        if self.staleness == Staleness::Cached {
            return;
        }
        let end = iova.saturating_add(len);
        for slot in self.slots.iter() {
            let overlaps = slot.get().is_some_and(|held| {
                held.iova.get() < end && iova < held.iova.get().saturating_add(held.len)
            });
            if overlaps {
                slot.set(None);
            }
        }
        for page in pages {
            if (self.removed.last_mut()).is_some_and(|last| extend(last, &page)) {
                continue;
            }
            if self.removed.len() >= MAX_STALE {
                self.removed.clear();
            }
            self.removed.push(page);
        }
    }

    /// Finds a removed page that the device may still use.
    pub(super) fn find_removed(&self, iova: DmaAddr) -> Option<Leaf> {
        let reaches = |page: &&Leaf| page.at(iova).is_some();
        self.removed.iter().rev().find(reaches).copied()
    }

    pub(super) fn flush(&mut self) {
        self.removed.clear();
        self.slots.iter().for_each(|slot| slot.set(None));
    }
}

/// Adds a page to a range of pages, if it continues the range. Returns whether it does.
fn extend(range: &mut Leaf, page: &Leaf) -> bool {
    let continues = range.iova.get().checked_add(range.len) == Some(page.iova.get())
        && range.phys.get().checked_add(range.len) == Some(page.phys.get())
        && (range.prot, range.level) == (page.prot, page.level);
    if continues {
        range.len += page.len;
    }
    continues
}
