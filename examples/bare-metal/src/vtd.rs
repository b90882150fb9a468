//! Intel's IOMMU: its registers, and the page table of each device.
//!
//! Source: Intel Virtualization Technology for Directed I/O, chapters 9 (root and context entries)
//! and 10 (registers).

use crate::frames::{Frames, view};
use alloc::vec::Vec;
use vb3_dma::iopt::{Config, Format, PageTable, TableMemory};
use vb3_dma::{DmaAddr, Error, IommuInfo, PhysAddr, Prot};

/// The address of the registers in QEMU's q35, as in its ACPI table DMAR.
pub(crate) const REGISTERS: u64 = 0xfed9_0000;

const VERSION: u64 = 0x00;
const CAPABILITY: u64 = 0x08;
const EXTENDED_CAPABILITY: u64 = 0x10;
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
const ROOT_TABLE: u64 = 0x20;
const CONTEXT_COMMAND: u64 = 0x28;
const FAULT_STATUS: u64 = 0x34;

/// `GCMD`, and the same bits in `GSTS`.
const TRANSLATE: u32 = 1 << 31;
const SET_ROOT_TABLE: u32 = 1 << 30;
/// `CCMD`: invalidates everything.
const CONTEXT_ALL: u64 = 1 << 63 | 1 << 61;
/// `IOTLB_REG`: invalidates one domain, and drains reads and writes.
const IOTLB_DOMAIN: u64 = 1 << 63 | 2 << 60 | 1 << 49 | 1 << 48;
/// `FSTS`: a fault is recorded; a fault was lost because the records were full.
const FAULT_PENDING: u32 = 1 << 1;
const FAULT_OVERFLOW: u32 = 1 << 0;

/// Maximum number of reads of a register until a command must be complete.
const MAX_READS: u32 = 1_000_000;

/// A device's identifier in its requests: bus, device and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bdf(pub(crate) u16);

/// A refused access, as the hardware recorded it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) device: Bdf,
    /// The I/O address of the page.
    pub(crate) addr: u64,
    pub(crate) reason: u8,
}

impl Fault {
    /// The page-table entry does not allow writes. (If it does not allow reads, the reason is 6.)
    pub(crate) const NO_WRITE: u8 = 5;
}

/// Intel's IOMMU with translation enabled: a device without a page table reaches nothing.
pub(crate) struct Vtd {
    base: u64,
    capability: u64,
    extended: u64,
    root: PhysAddr,
    /// The devices, with their page tables. A domain's number is its index in this list plus one.
    domains: Vec<(Bdf, PageTable)>,
}

impl Vtd {
    /// # Safety
    /// The registers of such an IOMMU must be at `base`, and no other code may use them.
    ///
    /// # Errors
    /// `Unsupported` if no IOMMU answers at `base`, or if the IOMMU does not complete a command; `NoMemory`
    /// if there is no page for the root table.
    pub(crate) unsafe fn start(base: u64, frames: &mut Frames) -> Result<Self, Error> {
        let mut vtd = Self {
            base,
            capability: 0,
            extended: 0,
            root: frames.take(1)?,
            domains: Vec::new(),
        };
        let version = vtd.read32(VERSION);
        if version == 0 || version == u32::MAX {
            return Err(Error::Unsupported);
        }
        vtd.capability = vtd.read64(CAPABILITY);
        vtd.extended = vtd.read64(EXTENDED_CAPABILITY);
        vtd.write64(ROOT_TABLE, vtd.root.get());
        vtd.write32(COMMAND, SET_ROOT_TABLE);
        vtd.wait(|vtd| vtd.read32(STATUS) & SET_ROOT_TABLE != 0)?;
        vtd.flush_contexts()?;
        vtd.flush_domain(0)?;
        vtd.write32(COMMAND, TRANSLATE);
        vtd.wait(|vtd| vtd.read32(STATUS) & TRANSLATE != 0)?;
        Ok(vtd)
    }

    /// Makes a page table for a device, unless it has one.
    pub(crate) fn attach(&mut self, device: Bdf, frames: &mut Frames) -> Result<(), Error> {
        if self.domain(device).is_ok() {
            return Ok(());
        }
        let (input_bits, width) = self.input();
        let config = Config {
            format: Format::VtdSecondStage,
            page_sizes: self.page_sizes(),
            input_bits,
            output_bits: 39,
        };
        let table = PageTable::new(frames, &config)?;
        let domain = self.domains.len() as u64 + 1;
        // The root table has one entry of 16 bytes per bus. It points to a table with one entry per
        // function.
        let bus = PhysAddr::new(self.root.get() + u64::from(device.0 >> 8) * 16);
        let contexts = match frames.read_entry(bus) & !4095 {
            0 => frames.take(1)?,
            at => PhysAddr::new(at),
        };
        let context = contexts.get() + u64::from(device.0 & 0xff) * 16;
        frames.write_entry(PhysAddr::new(context + 8), domain << 8 | width);
        frames.write_entry(PhysAddr::new(context), table.root().get() | 1);
        frames.write_entry(bus, contexts.get() | 1);
        self.domains.push((device, table));
        self.flush_contexts()?;
        self.flush_domain(domain)
    }

    /// Describes the IOMMU for the mapping layer.
    pub(crate) fn info(&self) -> IommuInfo {
        IommuInfo::new(self.page_sizes(), self.input().0)
    }

    pub(crate) fn map(
        &mut self,
        frames: &mut Frames,
        device: Bdf,
        (iova, phys, len): (DmaAddr, PhysAddr, u64),
        prot: Prot,
    ) -> Result<(), Error> {
        let (_, table) = self.domain(device)?;
        table.map(frames, iova, phys, len, prot)
    }

    pub(crate) fn unmap(
        &mut self,
        frames: &mut Frames,
        device: Bdf,
        iova: DmaAddr,
        len: u64,
    ) -> Result<(), Error> {
        let (_, table) = self.domain(device)?;
        table.unmap(frames, iova, len).map(|_removed| ())
    }

    /// Invalidates the hardware's cached translations of a device, and frees the retired tables.
    pub(crate) fn flush(&mut self, frames: &mut Frames, device: Bdf) -> Result<(), Error> {
        let (domain, table) = self.domain(device)?;
        let retired = table.take_retired();
        self.flush_domain(domain)?;
        retired.free(frames);
        Ok(())
    }

    /// Returns whether the hardware caches the absence of a page table entry.
    pub(crate) fn keeps_absence(&self) -> bool {
        self.capability & 1 << 7 != 0
    }

    /// Returns how many pages are mapped for a device.
    pub(crate) fn pages(&self, device: Bdf) -> u64 {
        let found = self.domains.iter().find(|(known, _)| *known == device);
        found.map_or(0, |(_, table)| table.leaf_count())
    }

    /// Takes the oldest fault that the hardware recorded.
    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        let status = self.read32(FAULT_STATUS);
        if status & FAULT_PENDING == 0 {
            return None;
        }
        let records = (self.capability >> 24 & 0x3ff) * 16;
        let at = records + u64::from(status >> 8 & 0xff) * 16;
        let (low, high) = (self.read64(at), self.read64(at + 8));
        self.write32(at + 12, 1 << 31);
        self.write32(FAULT_STATUS, FAULT_OVERFLOW);
        Some(Fault {
            device: Bdf((high & 0xffff) as u16),
            addr: low & !4095,
            reason: (high >> 32 & 0xff) as u8,
        })
    }

    fn domain(&mut self, device: Bdf) -> Result<(u64, &mut PageTable), Error> {
        let found = (1..).zip(&mut self.domains);
        let mut found = found.filter(|(_, (known, _))| *known == device);
        let (number, (_, table)) = found.next().ok_or(Error::Invalid)?;
        Ok((number, table))
    }

    /// Returns the width of input addresses, and the context entry's code for it.
    fn input(&self) -> (u32, u64) {
        if self.capability & 1 << 10 != 0 {
            (48, 2)
        } else {
            (39, 1)
        }
    }

    fn page_sizes(&self) -> u64 {
        let large = self.capability >> 34;
        1 << 12 | (large & 1) << 21 | (large & 2) << 29
    }

    fn flush_contexts(&self) -> Result<(), Error> {
        self.write64(CONTEXT_COMMAND, CONTEXT_ALL);
        self.wait(|vtd| vtd.read64(CONTEXT_COMMAND) >> 63 == 0)
    }

    fn flush_domain(&self, domain: u64) -> Result<(), Error> {
        let register = (self.extended >> 8 & 0x3ff) * 16 + 8;
        self.write64(register, IOTLB_DOMAIN | domain << 32);
        self.wait(|vtd| vtd.read64(register) >> 63 == 0)
    }

    fn wait(&self, done: impl Fn(&Self) -> bool) -> Result<(), Error> {
        let is_done = (0..MAX_READS).any(|_| done(self));
        if is_done {
            Ok(())
        } else {
            Err(Error::hardware())
        }
    }

    fn register(&self, offset: u64) -> *mut u8 {
        view(PhysAddr::new(self.base + offset))
    }

    fn read32(&self, offset: u64) -> u32 {
        // SAFETY: a register, by the contract of `start`.
        unsafe { self.register(offset).cast::<u32>().read_volatile() }
    }

    fn read64(&self, offset: u64) -> u64 {
        // SAFETY: a register, by the contract of `start`.
        unsafe { self.register(offset).cast::<u64>().read_volatile() }
    }

    fn write32(&self, offset: u64, value: u32) {
        // SAFETY: a register, by the contract of `start`. If the write makes the hardware read memory, it
        // reads tables of this module.
        unsafe { self.register(offset).cast::<u32>().write_volatile(value) }
    }

    fn write64(&self, offset: u64, value: u64) {
        // SAFETY: as above.
        unsafe { self.register(offset).cast::<u64>().write_volatile(value) }
    }
}
