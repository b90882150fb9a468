// Simulated RAM and device accesses. An operating system would use the real hardware instead.
use crate::platform::Os;
use alloc::{vec, vec::Vec};
use vb3_dma::iopt::TableMemory;
use vb3_dma::{Constraint, DmaAddr, Error, Iova, PhysAddr, Prot, Reason};

pub(crate) const PAGE: u64 = 4096;
pub(crate) const PAGES: usize = 1024;

pub(crate) struct Ram {
    bytes: Vec<u8>,
    pub(crate) used: [bool; PAGES],
}

impl Ram {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; PAGES * PAGE as usize],
            used: [false; PAGES],
        }
    }

    /// Takes a free page frame and zeroes it. Takes odd numbers first, so that frames are not contiguous.
    pub(crate) fn take(&mut self) -> Result<u64, Error> {
        let order = (1..PAGES).step_by(2).chain((0..PAGES).step_by(2));
        let constraint = Constraint::Ram;
        let (wanted, found) = (PAGE, 0);
        let full = Error::NoMemory(Reason {
            constraint,
            wanted,
            found,
        });
        let frame = order.into_iter().find(|&f| !self.used[f]).ok_or(full)?;
        self.used[frame] = true;
        self.at(frame as u64 * PAGE, PAGE).fill(0);
        Ok(frame as u64)
    }

    pub(crate) fn at(&mut self, phys: u64, len: u64) -> &mut [u8] {
        &mut self.bytes[phys as usize..][..len as usize]
    }

    pub(crate) fn in_use(&self) -> usize {
        self.used.iter().filter(|&&used| used).count()
    }
}

impl TableMemory for Ram {
    fn alloc_table(&mut self, _len: u64) -> Result<PhysAddr, Error> {
        Ok(PhysAddr::new(self.take()? * PAGE)) // `len` is one page with these tables
    }
    fn free_table(&mut self, table: PhysAddr, _len: u64) {
        self.used[(table.get() / PAGE) as usize] = false;
    }
    fn read_entry(&self, at: PhysAddr) -> u64 {
        let word = self.bytes[at.get() as usize..].first_chunk();
        u64::from_le_bytes(*word.unwrap_or(&[0; 8]))
    }
    fn write_entry(&mut self, at: PhysAddr, entry: u64) {
        self.at(at.get(), 8).copy_from_slice(&entry.to_le_bytes());
    }
}

impl Os {
    /// Writes as a device does, through its page table. `None` means a fault.
    pub(crate) fn device_write(&self, dev: u8, addr: DmaAddr, data: &[u8]) -> Option<()> {
        for (offset, byte) in (0u64..).zip(data) {
            let iova = Iova::new(addr.checked_add(offset)?.get());
            let mut ram = self.ram.borrow_mut();
            let leaf = self.table(dev).ok()?.borrow().translate(&*ram, iova).ok()?;
            let (phys, _) = leaf.at(iova).filter(|_| leaf.prot.contains(Prot::WRITE))?;
            ram.at(phys.get(), 1)[0] = *byte;
        }
        Some(())
    }
}
