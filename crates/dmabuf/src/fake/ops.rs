//! The seam's methods.

use super::{
    FAULT, Fake, FakeAlloc, FakeDevice, FakeMapping, FakeMmap, FakeTable, FakeUser, FakeVmap,
    Mapped, PAGE, at,
};
use vb3_dma::{
    Attrs, Caching, Coherency, Constraint, Direction, DmaAddr, DmaOps, DmaSegment, Error, Reason,
    SyncFor,
};

impl DmaOps for Fake {
    type Device = FakeDevice;
    type User = FakeUser;
    type Alloc = FakeAlloc;
    type Table = FakeTable;
    type Mapping = FakeMapping;
    type Vmap = FakeVmap;
    type Mmap = FakeMmap;

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn cache_alignment(&self, dev: FakeDevice) -> u64 {
        dev.cache_alignment
    }

    fn coherency(&self, dev: FakeDevice) -> Coherency {
        if dev.coherent {
            Coherency::Coherent
        } else {
            Coherency::NonCoherent
        }
    }

    fn alloc_coherent(
        &mut self,
        dev: FakeDevice,
        len_bytes: u64,
        _: Attrs,
    ) -> Result<FakeAlloc, Error> {
        let block = self.block(len_bytes, dev.coherent, false)?;
        self.live.allocs += 1;
        Ok(FakeAlloc {
            block,
            dev: Some(dev),
            addr: DmaAddr::new(Self::phys(block)),
        })
    }

    fn alloc_noncontiguous(
        &mut self,
        dev: FakeDevice,
        len_bytes: u64,
        _: Direction,
        attrs: Attrs,
    ) -> Result<FakeAlloc, Error> {
        self.attrs.push(attrs);
        let block = self.block(len_bytes, true, false)?;
        self.live.allocs += 1;
        Ok(FakeAlloc {
            block,
            dev: Some(dev),
            addr: DmaAddr::new(Self::phys(block)),
        })
    }

    fn alloc_virtual(&mut self, len_bytes: u64) -> Result<FakeAlloc, Error> {
        let block = self.block(len_bytes, true, true)?;
        self.live.allocs += 1;
        Ok(FakeAlloc {
            block,
            dev: None,
            addr: DmaAddr::new(0),
        })
    }

    fn free(&mut self, alloc: FakeAlloc) {
        self.live.allocs -= 1;
        assert!(self.blocks[alloc.block].live, "freed twice");
        assert!(
            self.mapped
                .iter()
                .all(|m| m.block != alloc.block || m.stuck),
            "freed while mapped"
        );
        // What a device may still reach is kept.
        self.blocks[alloc.block].live = self.mapped.iter().any(|m| m.block == alloc.block);
    }

    fn alloc_dma_addr(&self, alloc: &FakeAlloc) -> Option<DmaAddr> {
        alloc.dev.map(|_| alloc.addr)
    }

    fn sync_alloc(&mut self, alloc: &FakeAlloc, direction: Direction, sync: SyncFor) -> bool {
        let Some(dev) = alloc.dev.filter(|dev| !dev.coherent) else {
            return false;
        };
        let done = self.maintain(alloc.block, direction, sync);
        if done {
            self.syncs.push((dev.id, direction, sync));
        }
        done
    }

    fn alloc_caching(&self, alloc: &FakeAlloc) -> Caching {
        if self.blocks[alloc.block].cached {
            Caching::Cached
        } else {
            Caching::Uncached
        }
    }

    fn table_of(&mut self, alloc: &FakeAlloc) -> Result<FakeTable, Error> {
        if self.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        self.live.tables += 1;
        Ok(FakeTable {
            block: alloc.block,
            offset: 0,
            len: self.blocks[alloc.block].cpu.len() as u64,
            version: 0,
        })
    }

    fn pin_user(
        &mut self,
        user: &FakeUser,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<FakeTable, Error> {
        assert!(
            addr.checked_add(len_bytes).is_some(),
            "checked by the caller"
        );
        if self.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        if let Some(errno) = self.pin_errno {
            return Err(Error::Pin { errno });
        }
        let block = &self.blocks[user.block];
        let len = block.cpu.len() as u64;
        let offset = addr.wrapping_sub(FakeUser::BASE);
        let there = offset <= len && len_bytes <= len - offset;
        if !there || (block.read_only && direction.device_writes()) {
            return Err(Error::BadUserMemory(Reason {
                constraint: Constraint::UserPages,
                wanted: len_bytes,
                found: len.saturating_sub(offset),
            }));
        }
        self.live.tables += 1;
        Ok(FakeTable {
            block: user.block,
            offset,
            len: len_bytes,
            version: block.version,
        })
    }

    fn is_current(&self, table: &FakeTable, user: &FakeUser, addr: u64) -> bool {
        table.block == user.block
            && table.version == self.blocks[user.block].version
            && addr.wrapping_sub(FakeUser::BASE) == table.offset
    }

    fn free_table(&mut self, _: FakeTable, _: bool) {
        self.live.tables -= 1;
    }

    fn table_len(&self, table: &FakeTable) -> u64 {
        table.len
    }

    fn map(
        &mut self,
        dev: FakeDevice,
        table: &FakeTable,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<FakeMapping, Error> {
        if self.fault() {
            return Err(Error::Unmappable(FAULT));
        }
        self.next_id += 1;
        let id = self.next_id;
        let segments = self.segments(dev, table, dev.bounces);
        let start = at(table.offset);
        let copy = || self.blocks[table.block].cpu[start..start + at(table.len)].to_vec();
        self.mapped.push(Mapped {
            id,
            dev,
            block: table.block,
            offset: table.offset,
            direction,
            slot: dev.bounces.then(copy),
            segments,
            stuck: false,
        });
        if !attrs.contains(Attrs::SKIP_CPU_SYNC) {
            self.sync_mapped(id, direction, SyncFor::Device);
        }
        self.live.mappings += 1;
        Ok(FakeMapping { id })
    }

    fn unmap(&mut self, mapping: FakeMapping, attrs: Attrs) {
        let _ = self.try_unmap(mapping, attrs);
    }

    fn try_unmap(&mut self, mapping: FakeMapping, attrs: Attrs) -> Result<(), Error> {
        self.live.mappings -= 1;
        let index = self.mapped.iter().position(|m| m.id == mapping.id);
        let index = index.expect("unmapped twice");
        if !attrs.contains(Attrs::SKIP_CPU_SYNC) {
            let direction = self.mapped[index].direction;
            self.sync_mapped(mapping.id, direction, SyncFor::Cpu);
        }
        if self.unmap_fails {
            self.mapped[index].stuck = true;
            return Err(Error::Unsupported);
        }
        self.mapped.remove(index);
        Ok(())
    }

    fn sync(&mut self, mapping: &FakeMapping, direction: Direction, sync: SyncFor) -> bool {
        let found = self.mapped.iter().find(|m| m.id == mapping.id);
        let mapped = found.expect("synced after unmap");
        assert!(
            mapped.direction == direction || mapped.direction == Direction::Bidirectional,
            "synced in a direction it is not mapped for"
        );
        let dev = mapped.dev.id;
        let done = self.sync_mapped(mapping.id, direction, sync);
        if done {
            self.syncs.push((dev, direction, sync));
        }
        done
    }

    fn segment(&self, mapping: &FakeMapping, index: usize) -> Option<DmaSegment> {
        let found = self.mapped.iter().find(|m| m.id == mapping.id);
        found?.segments.get(index).copied()
    }

    fn bounces(&self, mapping: &FakeMapping) -> bool {
        let found = self.mapped.iter().find(|m| m.id == mapping.id);
        found.is_some_and(|m| m.slot.is_some())
    }

    fn vmap_alloc(&mut self, alloc: &FakeAlloc) -> Result<FakeVmap, Error> {
        if self.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        self.live.vmaps += 1;
        Ok(FakeVmap {
            block: alloc.block,
            offset: 0,
            len: self.blocks[alloc.block].cpu.len() as u64,
        })
    }

    fn vmap_table(&mut self, table: &FakeTable) -> Result<FakeVmap, Error> {
        if self.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        self.live.vmaps += 1;
        Ok(FakeVmap {
            block: table.block,
            offset: table.offset,
            len: table.len,
        })
    }

    fn vunmap(&mut self, _: FakeVmap) {
        self.live.vmaps -= 1;
    }

    fn vmap_read(&mut self, vmap: &FakeVmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let len = out.len() as u64;
        if offset > vmap.len || len > vmap.len - offset {
            return Err(Error::NoSuchMemory(FAULT));
        }
        out.copy_from_slice(&self.cpu_read(vmap.block, vmap.offset + offset, len));
        Ok(())
    }

    fn vmap_write(&mut self, vmap: &FakeVmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        if offset > vmap.len || data.len() as u64 > vmap.len - offset {
            return Err(Error::NoSuchMemory(FAULT));
        }
        self.cpu_write(vmap.block, vmap.offset + offset, data);
        Ok(())
    }

    fn mmap(&mut self, alloc: &FakeAlloc, offset: u64, len_bytes: u64) -> Result<FakeMmap, Error> {
        if self.fault() {
            return Err(Error::NoSuchMemory(FAULT));
        }
        Ok(FakeMmap {
            block: alloc.block,
            offset,
            len: len_bytes,
        })
    }
}
