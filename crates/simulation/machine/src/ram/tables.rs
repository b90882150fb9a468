//! Memory of page tables: frames of RAM that only the walker and the IOMMU's driver access.

use super::{FRAME, Ram};
use std::collections::HashMap;
use std::ops::Range;
use vb3_dma::iopt::TableMemory;
use vb3_dma::{Error, PhysAddr};

const WORDS: usize = FRAME as usize / 8;

/// The bytes of all tables, frame by frame.
#[derive(Debug, Default)]
pub(crate) struct TableFrames {
    frames: HashMap<u64, Box<[u64; WORDS]>>,
}

impl TableFrames {
    /// Returns the bytes of RAM that hold tables.
    pub(crate) fn bytes(&self) -> u64 {
        self.frames.len() as u64 * FRAME
    }

    /// Returns whether a physical address is in a table.
    pub(crate) fn holds(&self, addr: u64) -> bool {
        self.frames.contains_key(&(addr / FRAME))
    }

    /// Returns up to `count` aligned words of one frame from a physical address on; none outside the tables.
    fn words(&self, addr: u64, count: u64) -> &[u64] {
        let frame = self.frames.get(&(addr / FRAME));
        let words = frame.and_then(|frame| frame.get(part_of(addr, count)));
        words.unwrap_or_default()
    }

    fn words_mut(&mut self, addr: u64, count: u64) -> &mut [u64] {
        let frame = self.frames.get_mut(&(addr / FRAME));
        let words = frame.and_then(|frame| frame.get_mut(part_of(addr, count)));
        words.unwrap_or_default()
    }

    /// Returns the aligned word at a physical address; `None` outside the tables.
    pub(crate) fn word(&self, addr: u64) -> Option<u64> {
        let frame = self.frames.get(&(addr / FRAME))?;
        frame.get((addr % FRAME / 8) as usize).copied()
    }

    /// Overwrites a word; `false` outside the tables.
    pub(crate) fn set_word(&mut self, addr: u64, word: u64) -> bool {
        let frame = self.frames.get_mut(&(addr / FRAME));
        let to = frame.and_then(|frame| frame.get_mut((addr % FRAME / 8) as usize));
        to.map(|to| *to = word).is_some()
    }
}

/// Returns the indices in its frame of `count` words from a physical address on.
fn part_of(addr: u64, count: u64) -> Range<usize> {
    let first = (addr % FRAME / 8) as usize;
    first..WORDS.min(first.saturating_add(count as usize))
}

impl TableMemory for Ram {
    fn alloc_table(&mut self, len: u64) -> Result<PhysAddr, Error> {
        self.check_free(len)?;
        let first = self.take_table(len / FRAME)?;
        for frame in first..first + len / FRAME {
            self.tables.frames.insert(frame, Box::new([0; WORDS]));
        }
        Ok(PhysAddr::new(first * FRAME))
    }

    fn free_table(&mut self, table: PhysAddr, len: u64) {
        let (first, count) = (table.get() / FRAME, len / FRAME);
        for frame in first..first + count {
            self.tables.frames.remove(&frame);
        }
        self.give(&[(first, count)]);
    }

    fn read_entry(&self, at: PhysAddr) -> u64 {
        // A pointer to an address outside the tables reads as an empty entry.
        self.tables.word(at.get()).unwrap_or(0)
    }

    fn write_entry(&mut self, at: PhysAddr, entry: u64) {
        self.tables.set_word(at.get(), entry);
    }

    fn read_while(&self, first: PhysAddr, count: u64, mut goes_on: impl FnMut(u64) -> bool) -> u64 {
        let mut read = 0;
        loop {
            let words = self.tables.words(first.get() + 8 * read, count - read);
            let good = words.iter().take_while(|word| goes_on(**word)).count();
            read += good as u64;
            // A table may have several frames.
            if good < words.len() || words.is_empty() {
                return read;
            }
        }
    }

    fn write_each(&mut self, first: PhysAddr, count: u64, mut next: impl FnMut() -> u64) {
        let mut written = 0;
        loop {
            let words = self
                .tables
                .words_mut(first.get() + 8 * written, count - written);
            words.iter_mut().for_each(|word| *word = next());
            written += words.len() as u64;
            if words.is_empty() {
                return;
            }
        }
    }
}
