//! A machine whose own work takes almost no time: flat memory, and page tables as a VT-d unit would walk
//! them.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use vb3_dma::iopt::{Config, Format, PageTable, TableMemory};
use vb3_dma::{
    BounceMode, DeviceInfo, DmaAddr, Error, IommuInfo, Limits, PageRequest, PhysAddr, Platform,
    Prot, Segment,
};

pub(crate) const PAGE: u64 = 4096;
/// The device behind the IOMMU, and the one that bounces everything.
pub(crate) const TRANSLATED: u32 = 0;
pub(crate) const BOUNCED: u32 = 1;
/// A device that uses physical addresses.
const DIRECT: u32 = 2;
const POOL: u64 = 0x1000_0000;
const POOL_BYTES: u64 = 32 << 20;
/// Address of the memory after the pool. Its first bytes can be copied.
pub(crate) const RAM: u64 = POOL + POOL_BYTES;
const RAM_BYTES: u64 = 32 << 20;

/// Tables in one vector. The address of a table is its offset in the vector, in bytes.
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
        // A table's offset is a multiple of its length. The first page is not used.
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

const fn config(page_sizes: u64) -> Config {
    Config {
        format: Format::VtdSecondStage,
        page_sizes,
        input_bits: 48,
        output_bits: 48,
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
        let table = PageTable::new(&mut memory, &config(page_sizes)).expect("a table");
        Self { memory, table }
    }

    pub(crate) fn map(&mut self, iova: u64, phys: PhysAddr, len: u64) -> Result<(), Error> {
        let prot = Prot::READ | Prot::WRITE;
        self.table
            .map(&mut self.memory, DmaAddr::new(iova), phys, len, prot)
    }

    pub(crate) fn unmap(&mut self, iova: u64, len: u64) {
        let gone = self.table.unmap(&mut self.memory, DmaAddr::new(iova), len);
        black_box(gone.expect("mapped"));
    }

    pub(crate) fn flush(&mut self) {
        self.table.take_retired().free(&mut self.memory);
    }
}

/// The machine. `RefCell` stands for its locks; the layer's own are not needed here.
#[derive(Debug)]
pub(crate) struct Bench {
    page_sizes: u64,
    pub(crate) table: RefCell<Table>,
    pub(crate) bytes: RefCell<Vec<u8>>,
    /// Time that a flush takes.
    pub(crate) flush_wait: Duration,
    pub(crate) flushes: Cell<u64>,
}

impl Bench {
    pub(crate) fn new(page_sizes: u64) -> Self {
        Self {
            page_sizes,
            table: RefCell::new(Table::new(page_sizes)),
            bytes: RefCell::new(Vec::new()),
            flush_wait: Duration::ZERO,
            flushes: Cell::new(0),
        }
    }

    /// Adds memory that can be copied.
    pub(crate) fn with_memory(mut self) -> Self {
        self.bytes = RefCell::new(vec![1; (POOL_BYTES + RAM_BYTES) as usize]);
        self
    }

    fn copy(&self, to: PhysAddr, from: PhysAddr, len: u64) {
        let from = (from.get() - POOL) as usize;
        let to = (to.get() - POOL) as usize;
        let mut bytes = self.bytes.borrow_mut();
        bytes.copy_within(from..from + len as usize, to);
    }
}

/// Returns the layer's description of a device.
pub(crate) fn info(page_sizes: u64, dev: u32) -> DeviceInfo {
    let info = DeviceInfo::new(Limits {
        mask: u64::MAX,
        max_segment: u64::MAX,
        ..Limits::default()
    });
    match dev {
        TRANSLATED => info.with_iommu(Some(IommuInfo::from(&config(page_sizes)))),
        BOUNCED => info.with_bounce(BounceMode::Always),
        _ => info,
    }
}

impl Platform for Bench {
    type Device = u32;
    type Pages = ();

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn device_info(&self, dev: u32) -> Option<DeviceInfo> {
        Some(info(self.page_sizes, dev))
    }

    fn alloc_pages(&self, _: PageRequest<u32>) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn free_pages(&self, (): ()) {}

    fn pages_segment(&self, (): &(), _: usize) -> Option<Segment> {
        None
    }

    fn iommu_map(
        &self,
        _: u32,
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        _: Prot,
    ) -> Result<(), Error> {
        self.table.borrow_mut().map(iova.get(), phys, len)
    }

    fn iommu_unmap(&self, _: u32, iova: DmaAddr, len: u64) -> Result<(), Error> {
        self.table.borrow_mut().unmap(iova.get(), len);
        Ok(())
    }

    fn iommu_flush(&self, _: u32) -> Result<(), Error> {
        self.flushes.set(self.flushes.get() + 1);
        if !self.flush_wait.is_zero() {
            let begin = Instant::now();
            while begin.elapsed() < self.flush_wait {
                std::hint::spin_loop();
            }
        }
        self.table.borrow_mut().flush();
        Ok(())
    }

    fn bounce_pool(&self) -> Option<Segment> {
        Some(Segment::pages(PhysAddr::new(POOL), POOL_BYTES))
    }

    fn bounce_in(&self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        self.copy(slot, from, len);
        Ok(())
    }

    fn bounce_out(&self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        self.copy(to, slot, len);
        Ok(())
    }

    fn bounce_zero(&self, slot: PhysAddr, len: u64) {
        let at = (slot.get() - POOL) as usize;
        self.bytes.borrow_mut()[at..at + len as usize].fill(0);
    }

    vb3_dma::without!(caches, users, views);
}

/// Padded to 128 bytes against false sharing.
#[repr(align(128))]
pub(crate) struct Apart(Mutex<Table>);

/// Devices, each with its own page table and lock. If the list is empty, devices have no IOMMU.
pub(crate) struct Devices(Vec<Apart>);

impl Devices {
    pub(crate) fn new(count: usize) -> Self {
        let table = |_| Apart(Mutex::new(Table::new(PAGE)));
        Self((0..count).map(table).collect())
    }

    fn with<R>(&self, dev: u32, act: impl FnOnce(&mut Table) -> R) -> R {
        act(&mut self.0[dev as usize]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }
}

impl Platform for Devices {
    type Device = u32;
    type Pages = ();

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn device_info(&self, _: u32) -> Option<DeviceInfo> {
        let has_iommu = !self.0.is_empty();
        Some(info(PAGE, if has_iommu { TRANSLATED } else { DIRECT }))
    }

    fn device_number(&self, dev: u32) -> Option<usize> {
        usize::try_from(dev).ok()
    }

    fn alloc_pages(&self, _: PageRequest<u32>) -> Result<(), Error> {
        Err(Error::Unsupported)
    }

    fn free_pages(&self, (): ()) {}

    fn pages_segment(&self, (): &(), _: usize) -> Option<Segment> {
        None
    }

    fn iommu_map(
        &self,
        dev: u32,
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        _: Prot,
    ) -> Result<(), Error> {
        self.with(dev, |table| table.map(iova.get(), phys, len))
    }

    fn iommu_unmap(&self, dev: u32, iova: DmaAddr, len: u64) -> Result<(), Error> {
        self.with(dev, |table| table.unmap(iova.get(), len));
        Ok(())
    }

    fn iommu_flush(&self, dev: u32) -> Result<(), Error> {
        self.with(dev, Table::flush);
        Ok(())
    }

    vb3_dma::without!(caches, bounce, users, views);
}
