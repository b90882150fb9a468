//! A machine that costs nothing: flat memory, and page tables as a VT-d unit would walk them.

use std::hint::black_box;
use std::time::{Duration, Instant};
use vb3_dma::iopt::{Config, EmptyTables, Format, PageTable, TableMemory};
use vb3_dma::{
    BounceMode, BouncePool, Caching, Coherency, DeviceInfo, Error, IommuInfo, Iova, Limits,
    PageRequest, PhysAddr, Platform, Prot, Segment,
};

pub(crate) const PAGE: u64 = 4096;
/// The device behind the IOMMU, and the one that bounces everything.
pub(crate) const TRANSLATED: u32 = 0;
pub(crate) const BOUNCED: u32 = 1;
const POOL: u64 = 0x1000_0000;
const POOL_BYTES: u64 = 32 << 20;
/// Memory behind the pool, as far as it can be copied.
pub(crate) const RAM: u64 = POOL + POOL_BYTES;
const RAM_BYTES: u64 = 32 << 20;

/// Tables in one vector; the address of a table is its place.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    words: Vec<u64>,
    spare: Vec<u64>,
}

impl TableMemory for Tables {
    fn alloc_table(&mut self, len: u64) -> Result<PhysAddr, Error> {
        if let Some(at) = self.spare.pop() {
            let first = (at / 8) as usize;
            self.words[first..first + len as usize / 8].fill(0);
            return Ok(PhysAddr::new(at));
        }
        // A table's place is a multiple of its length; the first is left out.
        let at = (self.words.len() as u64 * 8).max(PAGE);
        self.words.resize((at + len) as usize / 8, 0);
        Ok(PhysAddr::new(at))
    }

    fn free_table(&mut self, table: PhysAddr, _: u64) {
        self.spare.push(table.get());
    }

    fn read_entry(&self, at: PhysAddr) -> u64 {
        self.words[(at.get() / 8) as usize]
    }

    fn write_entry(&mut self, at: PhysAddr, entry: u64) {
        self.words[(at.get() / 8) as usize] = entry;
    }
}

/// A page table and its memory.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) memory: Tables,
    pub(crate) table: PageTable,
}

impl Table {
    pub(crate) fn new(page_sizes: u64) -> Self {
        let mut memory = Tables::default();
        let config = Config {
            format: Format::VtdSecondStage,
            page_sizes,
            input_bits: 48,
            output_bits: 48,
            empty_tables: EmptyTables::Free,
        };
        let table = PageTable::new(&mut memory, &config).expect("a table");
        Self { memory, table }
    }

    pub(crate) fn map(&mut self, iova: u64, phys: PhysAddr, len: u64) -> Result<(), Error> {
        let prot = Prot::READ | Prot::WRITE;
        self.table
            .map(&mut self.memory, Iova::new(iova), phys, len, prot)
    }

    pub(crate) fn unmap(&mut self, iova: u64, len: u64) {
        let gone = self.table.unmap(&mut self.memory, Iova::new(iova), len);
        black_box(gone.expect("mapped"));
    }

    pub(crate) fn flush(&mut self) {
        self.table.reclaim(&mut self.memory);
    }
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Bench {
    page_sizes: u64,
    pub(crate) table: Table,
    pub(crate) bytes: Vec<u8>,
    /// How long a flush is waited for.
    pub(crate) flush_wait: Duration,
    pub(crate) flushes: u64,
}

impl Bench {
    pub(crate) fn new(page_sizes: u64) -> Self {
        Self {
            page_sizes,
            table: Table::new(page_sizes),
            bytes: Vec::new(),
            flush_wait: Duration::ZERO,
            flushes: 0,
        }
    }

    /// With memory that can be copied.
    pub(crate) fn with_memory(mut self) -> Self {
        self.bytes = vec![1; (POOL_BYTES + RAM_BYTES) as usize];
        self
    }

    fn copy(&mut self, to: PhysAddr, from: PhysAddr, len: u64) {
        let from = (from.get() - POOL) as usize;
        let to = (to.get() - POOL) as usize;
        self.bytes.copy_within(from..from + len as usize, to);
    }
}

impl Platform for Bench {
    type Device = u32;
    type User = ();
    type Pages = ();
    type Pinned = ();
    type Vmap = ();
    type Mmap = ();

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn ram_bytes(&self) -> u64 {
        1 << 40
    }

    fn device_info(&self, dev: u32) -> Option<DeviceInfo> {
        Some(DeviceInfo {
            limits: Limits {
                mask: u64::MAX,
                max_segment: u64::MAX,
                ..Limits::default()
            },
            coherency: Coherency::Coherent,
            cache_alignment: 1,
            iommu: (dev == TRANSLATED).then_some(IommuInfo {
                page_sizes: self.page_sizes,
                first: Iova::new(0),
                last: Iova::new((1 << 48) - 1),
            }),
            bounce: if dev == BOUNCED {
                BounceMode::Always
            } else {
                BounceMode::Never
            },
        })
    }

    fn alloc_pages(&mut self, _: PageRequest<u32>) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn free_pages(&mut self, (): ()) {}

    fn pages_segment(&self, (): &(), _: usize) -> Option<Segment> {
        None
    }

    fn pin_user(&mut self, (): &(), _: u64, _: u64, _: bool) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn unpin_user(&mut self, (): (), _: bool) {}

    fn pinned_segment(&self, (): &(), _: usize) -> Option<Segment> {
        None
    }

    fn pin_is_current(&self, (): &(), (): &(), _: u64) -> bool {
        true
    }

    fn cache_clean(&mut self, _: PhysAddr, _: u64) {}

    fn cache_invalidate(&mut self, _: PhysAddr, _: u64) {}

    fn iommu_map(
        &mut self,
        _: u32,
        iova: Iova,
        phys: PhysAddr,
        len: u64,
        _: Prot,
    ) -> Result<(), Error> {
        self.table.map(iova.get(), phys, len)
    }

    fn iommu_unmap(&mut self, _: u32, iova: Iova, len: u64) {
        self.table.unmap(iova.get(), len);
    }

    fn iommu_flush(&mut self, _: u32) {
        self.flushes += 1;
        if !self.flush_wait.is_zero() {
            let begin = Instant::now();
            while begin.elapsed() < self.flush_wait {
                std::hint::spin_loop();
            }
        }
        self.table.flush();
    }

    fn bounce_pool(&self) -> Option<BouncePool> {
        Some(BouncePool {
            base: PhysAddr::new(POOL),
            len: POOL_BYTES,
        })
    }

    fn bounce_in(&mut self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        self.copy(slot, from, len);
        Ok(())
    }

    fn bounce_out(&mut self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        self.copy(to, slot, len);
        Ok(())
    }

    fn bounce_zero(&mut self, slot: PhysAddr, len: u64) {
        let at = (slot.get() - POOL) as usize;
        self.bytes[at..at + len as usize].fill(0);
    }

    fn vmap(&mut self, _: &[Segment], _: Caching) -> Result<(), Error> {
        Ok(())
    }

    fn vunmap(&mut self, (): ()) {}

    fn mmap(&mut self, (): &(), _: u64, _: u64) -> Result<(), Error> {
        Ok(())
    }
}
