//! The seam's methods.

use super::{
    FAULT, Fake, FakeAlloc, FakeDevice, FakeMapping, FakeMmap, FakeTable, FakeUser, FakeVmap,
    Mapped, PAGE, State, at,
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
        &self,
        dev: FakeDevice,
        len_bytes: u64,
        _: Attrs,
    ) -> Result<FakeAlloc, Error> {
        let state = &mut *self.state();
        let block = state.block(len_bytes, dev.coherent, false)?;
        state.live.allocs += 1;
        Ok(FakeAlloc {
            block,
            dev: Some(dev),
            addr: DmaAddr::new(State::phys(block)),
        })
    }

    fn alloc_noncontiguous(
        &self,
        dev: FakeDevice,
        len_bytes: u64,
        _: Direction,
        attrs: Attrs,
    ) -> Result<FakeAlloc, Error> {
        let state = &mut *self.state();
        state.attrs.push(attrs);
        let block = state.block(len_bytes, true, false)?;
        state.live.allocs += 1;
        Ok(FakeAlloc {
            block,
            dev: Some(dev),
            addr: DmaAddr::new(State::phys(block)),
        })
    }

    fn alloc_virtual(&self, len_bytes: u64) -> Result<FakeAlloc, Error> {
        let state = &mut *self.state();
        let block = state.block(len_bytes, true, true)?;
        state.live.allocs += 1;
        Ok(FakeAlloc {
            block,
            dev: None,
            addr: DmaAddr::new(0),
        })
    }

    fn free(&self, alloc: FakeAlloc) {
        let state = &mut *self.state();
        state.live.allocs -= 1;
        assert!(state.blocks[alloc.block].live, "freed twice");
        assert!(
            state
                .mapped
                .iter()
                .all(|m| m.block != alloc.block || m.stuck),
            "freed while mapped"
        );
        // What a device may still reach is kept.
        state.blocks[alloc.block].live = state.mapped.iter().any(|m| m.block == alloc.block);
    }

    fn alloc_dma_addr(&self, alloc: &FakeAlloc) -> Option<DmaAddr> {
        alloc.dev.map(|_| alloc.addr)
    }

    fn sync_alloc(&self, alloc: &FakeAlloc, direction: Direction, sync: SyncFor) -> bool {
        let state = &mut *self.state();
        let Some(dev) = alloc.dev.filter(|dev| !dev.coherent) else {
            return false;
        };
        let done = state.maintain(alloc.block, direction, sync);
        if done {
            state.syncs.push((dev.id, direction, sync));
        }
        done
    }

    fn alloc_caching(&self, alloc: &FakeAlloc) -> Caching {
        let state = &mut *self.state();
        if state.blocks[alloc.block].cached {
            Caching::Cached
        } else {
            Caching::Uncached
        }
    }

    fn table_of(&self, alloc: &FakeAlloc) -> Result<FakeTable, Error> {
        let state = &mut *self.state();
        if state.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        state.live.tables += 1;
        Ok(FakeTable {
            block: alloc.block,
            offset: 0,
            len: state.blocks[alloc.block].cpu.len() as u64,
            version: 0,
        })
    }

    fn pin_user(
        &self,
        user: &FakeUser,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<FakeTable, Error> {
        let state = &mut *self.state();
        assert!(
            addr.checked_add(len_bytes).is_some(),
            "checked by the caller"
        );
        if state.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        if let Some(errno) = state.pin_errno {
            return Err(Error::Pin { errno });
        }
        let block = &state.blocks[user.block];
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
        state.live.tables += 1;
        Ok(FakeTable {
            block: user.block,
            offset,
            len: len_bytes,
            version: block.version,
        })
    }

    fn is_current(&self, table: &FakeTable, user: &FakeUser, addr: u64) -> bool {
        let state = &mut *self.state();
        table.block == user.block
            && table.version == state.blocks[user.block].version
            && addr.wrapping_sub(FakeUser::BASE) == table.offset
    }

    fn free_table(&self, _: FakeTable, _: bool) {
        let state = &mut *self.state();
        state.live.tables -= 1;
    }

    fn table_len(&self, table: &FakeTable) -> u64 {
        table.len
    }

    fn map(
        &self,
        dev: FakeDevice,
        table: &FakeTable,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<FakeMapping, Error> {
        let state = &mut *self.state();
        if state.fault() {
            return Err(Error::Unmappable(FAULT));
        }
        state.next_id += 1;
        let id = state.next_id;
        let segments = state.segments(dev, table, dev.bounces);
        let start = at(table.offset);
        let copy = || state.blocks[table.block].cpu[start..start + at(table.len)].to_vec();
        state.mapped.push(Mapped {
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
            state.sync_mapped(id, direction, SyncFor::Device);
        }
        state.live.mappings += 1;
        Ok(FakeMapping { id })
    }

    fn unmap(&self, mapping: FakeMapping, attrs: Attrs) {
        let _ = self.try_unmap(mapping, attrs);
    }

    fn try_unmap(&self, mapping: FakeMapping, attrs: Attrs) -> Result<(), Error> {
        let state = &mut *self.state();
        state.live.mappings -= 1;
        let index = state.mapped.iter().position(|m| m.id == mapping.id);
        let index = index.expect("unmapped twice");
        if !attrs.contains(Attrs::SKIP_CPU_SYNC) {
            let direction = state.mapped[index].direction;
            state.sync_mapped(mapping.id, direction, SyncFor::Cpu);
        }
        if state.unmap_fails {
            state.mapped[index].stuck = true;
            return Err(Error::Unsupported);
        }
        state.mapped.remove(index);
        Ok(())
    }

    fn sync(&self, mapping: &FakeMapping, direction: Direction, sync: SyncFor) -> bool {
        let state = &mut *self.state();
        let found = state.mapped.iter().find(|m| m.id == mapping.id);
        let mapped = found.expect("synced after unmap");
        assert!(
            mapped.direction == direction || mapped.direction == Direction::Bidirectional,
            "synced in a direction it is not mapped for"
        );
        let dev = mapped.dev.id;
        let done = state.sync_mapped(mapping.id, direction, sync);
        if done {
            state.syncs.push((dev, direction, sync));
        }
        done
    }

    fn segment(&self, mapping: &FakeMapping, index: usize) -> Option<DmaSegment> {
        let state = &mut *self.state();
        let found = state.mapped.iter().find(|m| m.id == mapping.id);
        found?.segments.get(index).copied()
    }

    fn bounces(&self, mapping: &FakeMapping) -> bool {
        let state = &mut *self.state();
        let found = state.mapped.iter().find(|m| m.id == mapping.id);
        found.is_some_and(|m| m.slot.is_some())
    }

    fn vmap_alloc(&self, alloc: &FakeAlloc) -> Result<FakeVmap, Error> {
        let state = &mut *self.state();
        if state.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        state.live.vmaps += 1;
        Ok(FakeVmap {
            block: alloc.block,
            offset: 0,
            len: state.blocks[alloc.block].cpu.len() as u64,
        })
    }

    fn vmap_table(&self, table: &FakeTable) -> Result<FakeVmap, Error> {
        let state = &mut *self.state();
        if state.fault() {
            return Err(Error::NoMemory(FAULT));
        }
        state.live.vmaps += 1;
        Ok(FakeVmap {
            block: table.block,
            offset: table.offset,
            len: table.len,
        })
    }

    fn vunmap(&self, _: FakeVmap) {
        let state = &mut *self.state();
        state.live.vmaps -= 1;
    }

    fn vmap_read(&self, vmap: &FakeVmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let state = &mut *self.state();
        let len = out.len() as u64;
        if offset > vmap.len || len > vmap.len - offset {
            return Err(Error::NoSuchMemory(FAULT));
        }
        out.copy_from_slice(&state.cpu_read(vmap.block, vmap.offset + offset, len));
        Ok(())
    }

    fn vmap_write(&self, vmap: &FakeVmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        let state = &mut *self.state();
        if offset > vmap.len || data.len() as u64 > vmap.len - offset {
            return Err(Error::NoSuchMemory(FAULT));
        }
        state.cpu_write(vmap.block, vmap.offset + offset, data);
        Ok(())
    }

    fn mmap(&self, alloc: &FakeAlloc, offset: u64, len_bytes: u64) -> Result<FakeMmap, Error> {
        let state = &mut *self.state();
        if state.fault() {
            return Err(Error::NoSuchMemory(FAULT));
        }
        Ok(FakeMmap {
            block: alloc.block,
            offset,
            len: len_bytes,
        })
    }
}
