//! A page-table walker, written only from the manuals' figures of entries.

use super::memory::Tables;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stage1,
    Stage2,
    Vtd,
}

/// A page or block as the walker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) iova: u64,
    pub(crate) len: u64,
    pub(crate) phys: u64,
    pub(crate) level: u32,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) cached: bool,
    pub(crate) device: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Walker {
    pub(crate) kind: Kind,
    pub(crate) granule: u64,
    pub(crate) input_bits: u32,
    pub(crate) start_level: u32,
    pub(crate) root: u64,
}

enum Next {
    Nothing,
    Table(u64),
    Page(Seen),
}

/// Returns bits `high..=low` of a word, in place.
fn field(word: u64, high: u32, low: u32) -> u64 {
    word >> low << low & (u64::MAX >> (63 - high))
}

/// Returns bits `high..=low` of a word, shifted down to bit 0.
fn value(word: u64, high: u32, low: u32) -> u64 {
    field(word, high, low) >> low
}

impl Walker {
    /// Returns the highest and the lowest address bit that index a level.
    fn bits(&self, level: u32) -> (u32, u32) {
        let (high, low) = match (self.kind, self.granule, level) {
            (Kind::Vtd, _, 5) => (56, 48),
            (Kind::Vtd, _, 4) => (47, 39),
            (Kind::Vtd, _, 3) => (38, 30),
            (Kind::Vtd, _, 2) => (29, 21),
            (Kind::Vtd, _, 1) => (20, 12),
            (_, 0x1000, 0) => (47, 39),
            (_, 0x1000, 1) => (38, 30),
            (_, 0x1000, 2) => (29, 21),
            (_, 0x1000, 3) => (20, 12),
            (_, 0x4000, 0) => (47, 47),
            (_, 0x4000, 1) => (46, 36),
            (_, 0x4000, 2) => (35, 25),
            (_, 0x4000, 3) => (24, 14),
            (_, 0x1_0000, 1) => (47, 42),
            (_, 0x1_0000, 2) => (41, 29),
            (_, 0x1_0000, 3) => (28, 16),
            other => panic!("no level {other:?}"),
        };
        // The first level is indexed by all remaining bits: fewer than another level, or more if root tables
        // are concatenated.
        if level == self.start_level {
            (self.input_bits.max(low + 1) - 1, low)
        } else {
            (high, low)
        }
    }

    fn last_level(&self) -> u32 {
        if self.kind == Kind::Vtd { 1 } else { 3 }
    }

    fn below(&self, level: u32) -> u32 {
        if self.kind == Kind::Vtd {
            level - 1
        } else {
            level + 1
        }
    }

    fn entry(&self, level: u32, iova: u64, word: u64) -> Next {
        if self.kind == Kind::Vtd {
            self.vtd_entry(level, iova, word)
        } else {
            self.arm_entry(level, iova, word)
        }
    }

    /// Decodes an entry by the figure "VMSAv8-64 Table, Block and Page descriptors".
    fn arm_entry(&self, level: u32, iova: u64, word: u64) -> Next {
        let low = self.bits(level).1;
        let granule_low = self.granule.trailing_zeros();
        match (value(word, 1, 0), level) {
            (0b00 | 0b10, _) => return Next::Nothing,
            (0b11, 0..=2) => {
                // NSTable, APTable, XNTable and PXNTable are not needed for devices.
                assert_eq!(value(word, 63, 59), 0, "hierarchical rights in {word:#x}");
                assert_eq!(value(word, 50, 48), 0, "RES0 in {word:#x}");
                if granule_low > 12 {
                    assert_eq!(value(word, granule_low - 1, 12), 0, "RES0 in {word:#x}");
                }
                return Next::Table(field(word, 47, granule_low));
            }
            (0b01, 1) => assert_eq!(self.granule, 0x1000, "a block at level 1"),
            (0b01, 2) | (0b11, 3) => {}
            other => panic!("reserved encoding {other:?} in {word:#x}"),
        }
        assert_eq!(value(word, 50, 48), 0, "RES0 in {word:#x}");
        if low > 12 {
            // Bits below the address are RES0, and in a block also nT.
            assert_eq!(value(word, low - 1, 12), 0, "RES0 in {word:#x}");
        }
        assert_eq!(value(word, 10, 10), 1, "AF would fault");
        assert_eq!(value(word, 52, 51), 0, "DBM and Contiguous are not used");
        assert_eq!(value(word, 63, 55), 0, "nothing is said there");
        let shareability = value(word, 9, 8);
        let (read, write, cached, device) = if self.kind == Kind::Stage1 {
            assert_eq!(value(word, 54, 53), 0b11, "UXN, PXN");
            assert_eq!(value(word, 5, 5), 0, "NS");
            // Attribute n is byte n of the crate's MAIR.
            let attribute = vb3_dma::iopt::MAIR >> (8 * value(word, 4, 2)) & 0xff;
            let (cached, device) = match attribute {
                0x44 => (false, false),
                0xff => (true, false),
                0x04 => (false, true),
                other => panic!("attribute {other:#x}"),
            };
            // AP[2:1]: 01 read and write for all, 11 read-only for all.
            match value(word, 7, 6) {
                0b01 => (true, true, cached, device),
                0b11 => (true, false, cached, device),
                other => panic!("AP {other:#b} keeps devices out"),
            }
        } else {
            assert_eq!(value(word, 54, 53), 0b10, "XN");
            assert_eq!(value(word, 11, 11), 0, "FnXS and nG are not used");
            let (cached, device) = match value(word, 5, 2) {
                0b0101 => (false, false),
                0b1111 => (true, false),
                0b0001 => (false, true),
                other => panic!("MemAttr {other:#b}"),
            };
            let s2ap = value(word, 7, 6);
            (s2ap & 1 != 0, s2ap & 2 != 0, cached, device)
        };
        assert_eq!(shareability, if cached { 0b11 } else { 0b10 });
        Next::Page(Seen {
            iova: field(iova, 63, low),
            len: 1 << low,
            phys: field(word, 47, low),
            level,
            read,
            write,
            cached,
            device,
        })
    }

    /// Decodes an entry by the tables "Format of SS-PML5E" to "Format of SS-PTE".
    fn vtd_entry(&self, level: u32, iova: u64, word: u64) -> Next {
        let low = self.bits(level).1;
        let (read, write) = (value(word, 0, 0) != 0, value(word, 1, 1) != 0);
        if !read && !write {
            return Next::Nothing;
        }
        assert_eq!(value(word, 2, 2), 0, "X is reserved without its capability");
        assert_eq!(value(word, 51, 48), 0, "above the host address width");
        let is_page = level == 1 || value(word, 7, 7) != 0;
        if !is_page {
            assert!(read && write, "the way to a page allows everything");
            return Next::Table(field(word, 47, 12));
        }
        assert!(level <= 3, "PS is reserved at level {level}");
        if low > 12 {
            assert_eq!(value(word, low - 1, 12), 0, "reserved in a large page");
        }
        assert_eq!(value(word, 62, 52), 0, "nothing is said there");
        assert_eq!(value(word, 11, 11), 0, "SNP needs snoop control");
        Next::Page(Seen {
            iova: field(iova, 63, low),
            len: 1 << low,
            phys: field(word, 47, low),
            level,
            read,
            write,
            cached: false,
            // EMT uncached, with IPAT.
            device: value(word, 6, 3) == 0b1000,
        })
    }

    /// Walks the table for an address. Returns its entry, or the level where the walk ended.
    pub(crate) fn walk(&self, mem: &Tables, iova: u64) -> Result<Seen, u32> {
        if iova >> self.input_bits != 0 {
            return Err(self.start_level);
        }
        let (mut table, mut level) = (self.root, self.start_level);
        loop {
            let (high, low) = self.bits(level);
            let at = table + 8 * value(iova, high, low);
            match self.entry(level, iova, mem.peek(at)) {
                Next::Nothing => return Err(level),
                Next::Page(seen) => return Ok(seen),
                Next::Table(next) => table = next,
            }
            assert_ne!(level, self.last_level());
            level = self.below(level);
        }
    }

    /// Returns all pages in order, and all tables with the numbers of their used entries.
    pub(crate) fn everything(&self, mem: &Tables) -> (Vec<Seen>, Vec<(u64, usize)>) {
        let (mut pages, mut tables) = (Vec::new(), Vec::new());
        self.visit(
            mem,
            (self.root, self.start_level, 0),
            &mut pages,
            &mut tables,
        );
        (pages, tables)
    }

    fn visit(
        &self,
        mem: &Tables,
        (table, level, base): (u64, u32, u64),
        pages: &mut Vec<Seen>,
        tables: &mut Vec<(u64, usize)>,
    ) {
        let (high, low) = self.bits(level);
        // VT-d's first table has entries for addresses that no mapping may use.
        let entries = 1u64 << (high + 1 - low);
        let mut used = 0;
        let place = tables.len();
        tables.push((table, 0));
        for index in 0..entries {
            let iova = base | index << low;
            match self.entry(level, iova, mem.peek(table + 8 * index)) {
                Next::Nothing => continue,
                Next::Page(seen) => pages.push(seen),
                Next::Table(next) => {
                    self.visit(mem, (next, self.below(level), iova), pages, tables)
                }
            }
            used += 1;
        }
        tables[place].1 = used;
    }
}
