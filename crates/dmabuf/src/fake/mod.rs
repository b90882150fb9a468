//! A DMA layer that is not there, for tests: two stores for cached memory, scattered pages,
//! optional IOMMU and bouncing per device, and a fault at any call.

mod ops;
mod placer;

pub use placer::FakePlacer;

use alloc::vec;
use alloc::vec::Vec;
use std::sync::{Mutex, MutexGuard};
use vb3_dma::{Attrs, Constraint, Direction, DmaAddr, DmaSegment, Error, Reason, SyncFor};

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// What a device is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeDevice {
    /// Tells devices apart.
    pub id: u8,
    /// Whether it sees the CPU's caches.
    pub coherent: bool,
    /// Whether scattered memory becomes one run for it.
    pub iommu: bool,
    /// Whether its streaming mappings are copies.
    pub bounces: bool,
    /// Bytes of a cache line.
    pub cache_alignment: u64,
}

impl FakeDevice {
    /// A device that is not coherent, behind an IOMMU.
    #[must_use]
    pub const fn new(id: u8) -> Self {
        Self {
            id,
            coherent: false,
            iommu: true,
            bounces: false,
            cache_alignment: 64,
        }
    }
}

/// A program: its memory begins at [`FakeUser::BASE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeUser {
    block: usize,
}

impl FakeUser {
    /// Where the program's memory begins.
    pub const BASE: u64 = 0x1_0000;
}

#[derive(Debug)]
struct Block {
    cpu: Vec<u8>,
    /// What the CPU's view was when it was last the same as memory.
    clean: Vec<u8>,
    dram: Vec<u8>,
    cached: bool,
    scattered: bool,
    live: bool,
    read_only: bool,
    /// Raised when the program maps something else there.
    version: u32,
}

/// An allocation.
#[derive(Debug)]
pub struct FakeAlloc {
    /// Number for [`Fake::cpu_read`] and its like.
    pub block: usize,
    dev: Option<FakeDevice>,
    addr: DmaAddr,
}

/// A table.
#[derive(Debug)]
pub struct FakeTable {
    block: usize,
    offset: u64,
    len: u64,
    version: u32,
}

/// A mapping.
#[derive(Debug)]
pub struct FakeMapping {
    id: u64,
}

#[derive(Debug)]
struct Mapped {
    id: u64,
    dev: FakeDevice,
    block: usize,
    offset: u64,
    direction: Direction,
    segments: Vec<DmaSegment>,
    /// Its unmap failed: the device goes on reaching it.
    stuck: bool,
    slot: Option<Vec<u8>>,
}

/// A CPU mapping.
#[derive(Debug)]
pub struct FakeVmap {
    block: usize,
    offset: u64,
    len: u64,
}

/// A range for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeMmap {
    /// Which memory.
    pub block: usize,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// What is held. All zero when all has been given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FakeLive {
    /// Allocations.
    pub allocs: u32,
    /// Tables.
    pub tables: u32,
    /// Mappings.
    pub mappings: u32,
    /// CPU mappings.
    pub vmaps: u32,
}

/// The DMA layer.
#[derive(Debug, Default)]
pub struct Fake(Mutex<State>);

impl Fake {
    /// Its memory, its faults and its records.
    ///
    /// # Panics
    /// While another call or caller has them.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.try_lock().expect("one user at a time")
    }

    /// Reads `len` bytes as the CPU does.
    #[must_use]
    pub fn cpu_read(&self, block: usize, offset: u64, len: u64) -> Vec<u8> {
        self.state().cpu_read(block, offset, len)
    }

    /// Writes bytes as the CPU does.
    pub fn cpu_write(&self, block: usize, offset: u64, data: &[u8]) {
        self.state().cpu_write(block, offset, data);
    }

    /// Reads `len` bytes as a device does; `None` if it faults.
    #[must_use]
    pub fn dev_read(&self, dev: FakeDevice, addr: DmaAddr, len: u64) -> Option<Vec<u8>> {
        self.state().dev_read(dev, addr, len)
    }

    /// Writes as a device does; false if it faults.
    pub fn dev_write(&self, dev: FakeDevice, addr: DmaAddr, data: &[u8]) -> bool {
        self.state().dev_write(dev, addr, data)
    }
}

/// What the DMA layer has.
#[derive(Debug, Default)]
pub struct State {
    blocks: Vec<Block>,
    mapped: Vec<Mapped>,
    next_id: u64,
    /// The next address behind an IOMMU.
    pub next_iova: u64,
    /// How many calls that can fail still succeed; the one after them fails, once.
    pub fail_after: Option<u32>,
    /// Page tables let go of nothing.
    pub unmap_fails: bool,
    /// Every pinning fails with this errno.
    pub pin_errno: Option<i32>,
    /// What is held.
    pub live: FakeLive,
    /// Syncs that did something.
    pub syncs: Vec<(u8, Direction, SyncFor)>,
    /// Attributes that allocations of non-coherent memory were asked for.
    pub attrs: Vec<Attrs>,
}

fn at(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

const FAULT: Reason = Reason {
    constraint: Constraint::InjectedFault,
    wanted: 1,
    found: 0,
};

impl Block {
    fn clean_range(&mut self) {
        for i in 0..self.cpu.len() {
            if self.cpu[i] != self.clean[i] {
                self.dram[i] = self.cpu[i];
                self.clean[i] = self.cpu[i];
            }
        }
    }

    fn invalidate(&mut self) {
        self.cpu.clone_from(&self.dram);
        self.clean.clone_from(&self.dram);
    }
}

impl State {
    fn fault(&mut self) -> bool {
        match self.fail_after {
            Some(0) => {
                self.fail_after = None;
                true
            }
            Some(n) => {
                self.fail_after = Some(n - 1);
                false
            }
            None => false,
        }
    }

    fn block(&mut self, len: u64, cached: bool, scattered: bool) -> Result<usize, Error> {
        if len == 0 {
            return Err(Error::Invalid);
        }
        if self.fault() || len > 1 << 24 {
            return Err(Error::NoMemory(FAULT));
        }
        let zeroes = vec![0; at(len)];
        self.blocks.push(Block {
            cpu: zeroes.clone(),
            clean: zeroes.clone(),
            dram: zeroes,
            cached,
            scattered,
            live: true,
            read_only: false,
            version: 0,
        });
        Ok(self.blocks.len() - 1)
    }

    fn phys(block: usize) -> u64 {
        (block as u64 + 1) << 32
    }

    /// A program with `len` bytes of scattered memory.
    ///
    /// # Panics
    /// For a length of zero.
    pub fn user(&mut self, len: u64, read_only: bool) -> FakeUser {
        let fail_after = self.fail_after.take();
        let block = self.block(len, true, true).expect("length");
        self.fail_after = fail_after;
        self.blocks[block].read_only = read_only;
        FakeUser { block }
    }

    /// The program maps something else at the same address.
    pub fn remap_user(&mut self, user: FakeUser) {
        self.blocks[user.block].version += 1;
    }

    /// The number of a program's memory.
    #[must_use]
    pub fn user_block(&self, user: FakeUser) -> usize {
        user.block
    }

    /// Whether memory is allocated, or kept because a device may still reach it.
    #[must_use]
    pub fn is_kept(&self, block: usize) -> bool {
        self.blocks[block].live
    }

    fn cpu_read(&self, block: usize, offset: u64, len: u64) -> Vec<u8> {
        self.blocks[block].cpu[at(offset)..at(offset + len)].to_vec()
    }

    fn cpu_write(&mut self, block: usize, offset: u64, data: &[u8]) {
        let block = &mut self.blocks[block];
        let range = at(offset)..at(offset) + data.len();
        block.cpu[range.clone()].copy_from_slice(data);
        if !block.cached {
            block.clean[range.clone()].copy_from_slice(data);
            block.dram[range].copy_from_slice(data);
        }
    }

    /// Bytes that differ between the CPU's view and memory.
    #[must_use]
    pub fn stale(&self, block: usize) -> u64 {
        let block = &self.blocks[block];
        let differ = block.cpu.iter().zip(&block.dram).filter(|(a, b)| a != b);
        differ.count() as u64
    }

    /// Finds what `dev` reaches at an address: which mapping or memory, and where in it.
    fn translate(&self, dev: FakeDevice, addr: DmaAddr) -> Option<(Option<usize>, usize, u64)> {
        for (index, mapped) in self.mapped.iter().enumerate() {
            let mut offset = 0;
            for segment in &mapped.segments {
                if let Some(into) = addr.checked_sub(segment.addr) {
                    if mapped.dev.id == dev.id && into < segment.len {
                        return Some((Some(index), mapped.block, mapped.offset + offset + into));
                    }
                }
                offset += segment.len;
            }
        }
        None
    }

    fn dev_read(&self, dev: FakeDevice, addr: DmaAddr, len: u64) -> Option<Vec<u8>> {
        let (mapping, block, offset) = self.translate(dev, addr).or_else(|| self.own(addr))?;
        if let Some(slot) = mapping.and_then(|m| self.mapped[m].slot.as_ref()) {
            let start = at(offset - self.mapped[mapping?].offset);
            return slot.get(start..start + at(len)).map(<[u8]>::to_vec);
        }
        let block = &self.blocks[block];
        let store = if dev.coherent {
            &block.cpu
        } else {
            &block.dram
        };
        store.get(at(offset)..at(offset + len)).map(<[u8]>::to_vec)
    }

    fn dev_write(&mut self, dev: FakeDevice, addr: DmaAddr, data: &[u8]) -> bool {
        let Some((mapping, block, offset)) = self.translate(dev, addr).or_else(|| self.own(addr))
        else {
            return false;
        };
        if let Some(mapped) = mapping.map(|m| &mut self.mapped[m]) {
            if let Some(slot) = mapped.slot.as_mut() {
                let start = at(offset - mapped.offset);
                slot[start..start + data.len()].copy_from_slice(data);
                return true;
            }
        }
        let block = &mut self.blocks[block];
        let range = at(offset)..at(offset) + data.len();
        block.dram[range.clone()].copy_from_slice(data);
        if dev.coherent || !block.cached {
            block.cpu[range.clone()].copy_from_slice(data);
            block.clean[range].copy_from_slice(data);
        }
        true
    }

    /// An allocation reached by its own device.
    fn own(&self, addr: DmaAddr) -> Option<(Option<usize>, usize, u64)> {
        let block = at(addr.get() >> 32).checked_sub(1)?;
        let found = self.blocks.get(block)?;
        (found.live && !found.scattered).then_some((None, block, addr.get() & 0xffff_ffff))
    }

    fn maintain(&mut self, block: usize, direction: Direction, sync: SyncFor) -> bool {
        let block = &mut self.blocks[block];
        if !block.cached {
            return false;
        }
        match sync {
            SyncFor::Device => block.clean_range(),
            SyncFor::Cpu if direction.device_writes() => block.invalidate(),
            SyncFor::Cpu => return false,
        }
        true
    }

    fn sync_mapped(&mut self, id: u64, direction: Direction, sync: SyncFor) -> bool {
        let Some(mapped) = self.mapped.iter_mut().find(|m| m.id == id) else {
            return false;
        };
        let block = mapped.block;
        let Some(slot) = mapped.slot.as_mut() else {
            return !mapped.dev.coherent && self.maintain(block, direction, sync);
        };
        let start = at(mapped.offset);
        let range = start..start + slot.len();
        match sync {
            SyncFor::Device if direction.device_reads() => {
                slot.copy_from_slice(&self.blocks[block].cpu[range]);
                true
            }
            SyncFor::Cpu if direction.device_writes() => {
                let slot = slot.clone();
                let offset = mapped.offset;
                self.cpu_write(block, offset, &slot);
                true
            }
            _ => false,
        }
    }

    fn segments(&mut self, dev: FakeDevice, table: &FakeTable, bounced: bool) -> Vec<DmaSegment> {
        let len = table.len;
        if dev.iommu || bounced {
            let addr = DmaAddr::new(self.next_iova);
            self.next_iova += len.next_multiple_of(PAGE) + PAGE;
            return vec![DmaSegment { addr, len }];
        }
        let base = Self::phys(table.block) + table.offset;
        if !self.blocks[table.block].scattered {
            let addr = DmaAddr::new(base);
            return vec![DmaSegment { addr, len }];
        }
        let mut segments = Vec::new();
        let mut done = 0;
        while done < len {
            let here = (PAGE - (table.offset + done) % PAGE).min(len - done);
            let addr = DmaAddr::new(base + done + (table.offset + done) / PAGE * PAGE);
            segments.push(DmaSegment { addr, len: here });
            done += here;
        }
        segments
    }
}
