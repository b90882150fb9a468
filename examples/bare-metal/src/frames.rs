//! Physical pages: allocation, and the CPU's view of them.

use alloc::vec::Vec;
use vb3_dma::iopt::TableMemory;
use vb3_dma::{Constraint, Error, PhysAddr, Reason};

pub(crate) const PAGE: u64 = 4096;

/// The pages of a range of RAM that no other code uses. The CPU sees each at its physical address.
pub(crate) struct Frames {
    first: u64,
    used: Vec<bool>,
    /// Index of the page where the next search for free pages begins.
    next: usize,
}

impl Frames {
    /// # Safety
    /// No other code uses the RAM from `first` to `end`, which are page-aligned; the CPU sees it at
    /// its physical address.
    pub(crate) unsafe fn new(first: u64, end: u64) -> Self {
        let pages = usize::try_from((end - first) / PAGE).unwrap_or(0);
        Self {
            first,
            used: alloc::vec![false; pages],
            next: 0,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.used.len() as u64 * PAGE
    }

    fn full(&self, pages: usize) -> Error {
        let free = self.used.iter().filter(|&&used| !used).count();
        Error::NoMemory(Reason::new(
            Constraint::Ram,
            pages as u64 * PAGE,
            free as u64 * PAGE,
        ))
    }

    /// Allocates `pages` contiguous pages, zeroed.
    pub(crate) fn take(&mut self, pages: usize) -> Result<PhysAddr, Error> {
        let mut starts = (0..self.used.len()).map(|n| (n + self.next) % self.used.len());
        let is_free = |&start: &usize| {
            let run = self.used.get(start..start + pages);
            run.is_some_and(|run| run.iter().all(|&used| !used))
        };
        let start = starts.find(is_free).ok_or_else(|| self.full(pages))?;
        self.used[start..start + pages].fill(true);
        // Leaves one page free, so that the pages of successive calls are not contiguous.
        self.next = start + pages + 1;
        let addr = PhysAddr::new(self.first + start as u64 * PAGE);
        // SAFETY: the pages are RAM, were free until now, and are ours.
        unsafe { view(addr).write_bytes(0, pages * PAGE as usize) };
        Ok(addr)
    }

    pub(crate) fn give(&mut self, addr: PhysAddr, len: u64) {
        let start = ((addr.get() - self.first) / PAGE) as usize;
        let run = &mut self.used[start..start + (len / PAGE) as usize];
        assert!(run.iter().all(|&used| used), "pages given back twice");
        run.fill(false);
    }

    fn entry(&self, at: PhysAddr) -> *mut u64 {
        let inside = at.get() - self.first < self.bytes() && at.is_aligned(8);
        assert!(inside, "no page table at {at}");
        view(at).cast::<u64>()
    }
}

/// Returns the CPU's pointer to a physical address.
pub(crate) fn view(addr: PhysAddr) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(addr.get() as usize)
}

impl TableMemory for Frames {
    fn alloc_table(&mut self, len: u64) -> Result<PhysAddr, Error> {
        self.take((len / PAGE) as usize)
    }

    fn free_table(&mut self, table: PhysAddr, len: u64) {
        self.give(table, len);
    }

    fn read_entry(&self, at: PhysAddr) -> u64 {
        // SAFETY: inside our RAM and aligned, as just checked.
        unsafe { self.entry(at).read_volatile() }
    }

    fn write_entry(&mut self, at: PhysAddr, entry: u64) {
        // SAFETY: as above; the mapping layer writes only its tables, which no other code uses.
        unsafe { self.entry(at).write_volatile(entry) }
    }
}
