//! Memory for page tables, which asserts that tables are used correctly.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use vb3_dma::iopt::TableMemory;
use vb3_dma::{Constraint, DmaAddr, Error, PhysAddr, Reason};

#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// Length in bytes of each table, by address.
    tables: BTreeMap<u64, u64>,
    /// Words that are not zero, by address.
    words: HashMap<u64, u64>,
    next: u64,
    /// Number of tables to allocate until an allocation fails.
    pub(crate) fail_at: Option<u64>,
    pub(crate) taken: u64,
    /// Calls of `break_block`: addresses and lengths.
    pub(crate) broken: Vec<(u64, u64)>,
    /// Whether to check that a table is published before it is linked.
    pub(crate) watch: bool,
    dirty: BTreeSet<u64>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            tables: BTreeMap::new(),
            words: HashMap::new(),
            next: 0x1_0000_0000,
            fail_at: None,
            taken: 0,
            broken: Vec::new(),
            watch: false,
            dirty: BTreeSet::new(),
        }
    }
}

impl Tables {
    pub(crate) fn live(&self) -> usize {
        self.tables.len()
    }

    pub(crate) fn len_of(&self, table: u64) -> u64 {
        self.tables[&table]
    }

    pub(crate) fn same_bytes(&self, other: &Self) -> bool {
        self.tables == other.tables && self.words == other.words
    }

    pub(crate) fn unpublished(&self) -> usize {
        self.dirty.len()
    }

    pub(crate) fn peek(&self, at: u64) -> u64 {
        assert!(at % 8 == 0, "an entry at {at:#x}");
        let Some(word) = self.try_peek(at) else {
            panic!("{at:#x} lies in no live table");
        };
        word
    }

    pub(crate) fn try_peek(&self, at: u64) -> Option<u64> {
        let (&start, &len) = self.tables.range(..=at).next_back()?;
        (at - start < len).then(|| self.words.get(&at).copied().unwrap_or(0))
    }

    pub(crate) fn poke(&mut self, at: u64, word: u64) {
        self.peek(at);
        match word {
            0 => self.words.remove(&at),
            _ => self.words.insert(at, word),
        };
    }
}

impl TableMemory for Tables {
    fn alloc_table(&mut self, len: u64) -> Result<PhysAddr, Error> {
        if let Some(left) = &mut self.fail_at {
            if *left == 0 {
                return Err(Error::NoMemory(Reason {
                    constraint: Constraint::InjectedFault,
                    wanted: len,
                    found: 0,
                }));
            }
            *left -= 1;
        }
        assert!(len.is_power_of_two());
        let at = self.next.next_multiple_of(len);
        // Addresses are never used twice, so that a stale pointer is noticed.
        self.next = at + len;
        self.tables.insert(at, len);
        self.taken += 1;
        Ok(PhysAddr::new(at))
    }

    fn free_table(&mut self, table: PhysAddr, len: u64) {
        let (at, end) = (table.get(), table.get() + len);
        assert_eq!(self.tables.remove(&at), Some(len), "freed twice or cut");
        self.words.retain(|word, _| !(at..end).contains(word));
        self.dirty.retain(|word| !(at..end).contains(word));
    }

    fn read_entry(&self, at: PhysAddr) -> u64 {
        self.peek(at.get())
    }

    fn write_entry(&mut self, at: PhysAddr, entry: u64) {
        let table = entry & ((1 << 48) - 1) & !0xfff;
        if self.watch && self.tables.contains_key(&table) && at.get() & !0xfff != table {
            let len = self.tables[&table];
            let waiting = self.dirty.range(table..table + len).count();
            assert_eq!(waiting, 0, "linked before it was published");
        }
        self.poke(at.get(), entry);
        if self.watch {
            self.dirty.insert(at.get());
        }
    }

    fn publish(&mut self, at: PhysAddr, len: u64) {
        let range = at.get()..at.get() + len;
        self.dirty.retain(|word| !range.contains(word));
    }

    fn break_block(&mut self, iova: DmaAddr, len: u64) {
        self.broken.push((iova.get(), len));
    }
}
