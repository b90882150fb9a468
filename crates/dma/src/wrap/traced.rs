//! The wrapper that tells.

use super::Sink;
use crate::{Attrs, Caching, Coherency, Direction, DmaAddr, DmaOps, DmaSegment, Error, SyncFor};

/// Which call was made.
#[allow(missing_docs, reason = "named after the methods of DmaOps")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    AllocCoherent,
    AllocNoncontiguous,
    AllocVirtual,
    Free,
    SyncAlloc,
    TableOf,
    PinUser,
    FreeTable,
    Map,
    Unmap,
    Sync,
    VmapAlloc,
    VmapTable,
    Vunmap,
    VmapRead,
    VmapWrite,
    Mmap,
}

/// A call, told after it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<D> {
    /// Which.
    pub kind: CallKind,
    /// For which device, where the call says so.
    pub dev: Option<D>,
    /// The first address a device sees, where there is one.
    pub addr: Option<DmaAddr>,
    /// Bytes, where the call says so.
    pub len: u64,
    /// Which way, where the call says so.
    pub direction: Option<Direction>,
    /// The attributes.
    pub attrs: Attrs,
    /// To whom memory was handed, where it was.
    pub sync: Option<SyncFor>,
    /// How it went.
    pub result: Result<(), Error>,
}

impl<D> Call<D> {
    const fn new(kind: CallKind) -> Self {
        Self {
            kind,
            dev: None,
            addr: None,
            len: 0,
            direction: None,
            attrs: Attrs::empty(),
            sync: None,
            result: Ok(()),
        }
    }
}

/// Tells a sink of every call that changes something or may fail. Queries are not told.
#[derive(Debug)]
pub struct Traced<O, S> {
    ops: O,
    sink: S,
}

impl<O, S> Traced<O, S> {
    /// Tells `sink` of the calls to `ops`.
    pub const fn new(ops: O, sink: S) -> Self {
        Self { ops, sink }
    }

    /// The layer below.
    pub const fn inner(&self) -> &O {
        &self.ops
    }

    /// The layer below, to be changed.
    pub const fn inner_mut(&mut self) -> &mut O {
        &mut self.ops
    }

    /// Gives the layer below back.
    pub fn into_inner(self) -> O {
        self.ops
    }
}

impl<O: DmaOps, S> Traced<O, S> {
    fn first(&self, mapping: &O::Mapping) -> Option<DmaAddr> {
        self.ops.segment(mapping, 0).map(|segment| segment.addr)
    }
}

fn told<T>(result: &Result<T, Error>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(err) => Err(*err),
    }
}

impl<O: DmaOps, S: Sink<Call<O::Device>>> DmaOps for Traced<O, S> {
    type Device = O::Device;
    type User = O::User;
    type Alloc = O::Alloc;
    type Table = O::Table;
    type Mapping = O::Mapping;
    type Vmap = O::Vmap;
    type Mmap = O::Mmap;

    fn page_size(&self) -> u64 {
        self.ops.page_size()
    }

    fn cache_alignment(&self, dev: Self::Device) -> u64 {
        self.ops.cache_alignment(dev)
    }

    fn coherency(&self, dev: Self::Device) -> Coherency {
        self.ops.coherency(dev)
    }

    fn alloc_coherent(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        let result = self.ops.alloc_coherent(dev, len_bytes, attrs);
        let addr = result
            .as_ref()
            .ok()
            .and_then(|made| self.ops.alloc_dma_addr(made));
        self.sink.take(Call {
            dev: Some(dev),
            len: len_bytes,
            attrs,
            addr,
            result: told(&result),
            ..Call::new(CallKind::AllocCoherent)
        });
        result
    }

    fn alloc_noncontiguous(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        let result = self
            .ops
            .alloc_noncontiguous(dev, len_bytes, direction, attrs);
        let addr = result
            .as_ref()
            .ok()
            .and_then(|made| self.ops.alloc_dma_addr(made));
        self.sink.take(Call {
            dev: Some(dev),
            len: len_bytes,
            attrs,
            direction: Some(direction),
            addr,
            result: told(&result),
            ..Call::new(CallKind::AllocNoncontiguous)
        });
        result
    }

    fn alloc_virtual(&mut self, len_bytes: u64) -> Result<Self::Alloc, Error> {
        let result = self.ops.alloc_virtual(len_bytes);
        self.sink.take(Call {
            len: len_bytes,
            result: told(&result),
            ..Call::new(CallKind::AllocVirtual)
        });
        result
    }

    fn free(&mut self, alloc: Self::Alloc) {
        let addr = self.ops.alloc_dma_addr(&alloc);
        self.ops.free(alloc);
        self.sink.take(Call {
            addr,
            ..Call::new(CallKind::Free)
        });
    }

    fn alloc_dma_addr(&self, alloc: &Self::Alloc) -> Option<DmaAddr> {
        self.ops.alloc_dma_addr(alloc)
    }

    fn sync_alloc(&mut self, alloc: &Self::Alloc, direction: Direction, sync: SyncFor) -> bool {
        let addr = self.ops.alloc_dma_addr(alloc);
        let done = self.ops.sync_alloc(alloc, direction, sync);
        self.sink.take(Call {
            addr,
            direction: Some(direction),
            sync: Some(sync),
            ..Call::new(CallKind::SyncAlloc)
        });
        done
    }

    fn alloc_caching(&self, alloc: &Self::Alloc) -> Caching {
        self.ops.alloc_caching(alloc)
    }

    fn table_of(&mut self, alloc: &Self::Alloc) -> Result<Self::Table, Error> {
        let addr = self.ops.alloc_dma_addr(alloc);
        let result = self.ops.table_of(alloc);
        self.sink.take(Call {
            addr,
            result: told(&result),
            ..Call::new(CallKind::TableOf)
        });
        result
    }

    fn pin_user(
        &mut self,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Table, Error> {
        let result = self.ops.pin_user(user, addr, len_bytes, direction);
        self.sink.take(Call {
            len: len_bytes,
            direction: Some(direction),
            result: told(&result),
            ..Call::new(CallKind::PinUser)
        });
        result
    }

    fn is_current(&self, table: &Self::Table, user: &Self::User, addr: u64) -> bool {
        self.ops.is_current(table, user, addr)
    }

    fn free_table(&mut self, table: Self::Table, device_wrote: bool) {
        let len = self.ops.table_len(&table);
        self.ops.free_table(table, device_wrote);
        self.sink.take(Call {
            len,
            ..Call::new(CallKind::FreeTable)
        });
    }

    fn table_len(&self, table: &Self::Table) -> u64 {
        self.ops.table_len(table)
    }

    fn map(
        &mut self,
        dev: Self::Device,
        table: &Self::Table,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Mapping, Error> {
        let len = self.ops.table_len(table);
        let result = self.ops.map(dev, table, direction, attrs);
        let addr = result.as_ref().ok().and_then(|made| self.first(made));
        self.sink.take(Call {
            dev: Some(dev),
            len,
            direction: Some(direction),
            attrs,
            addr,
            result: told(&result),
            ..Call::new(CallKind::Map)
        });
        result
    }

    fn unmap(&mut self, mapping: Self::Mapping, attrs: Attrs) {
        let addr = self.first(&mapping);
        self.ops.unmap(mapping, attrs);
        self.sink.take(Call {
            addr,
            attrs,
            ..Call::new(CallKind::Unmap)
        });
    }

    fn sync(&mut self, mapping: &Self::Mapping, direction: Direction, sync: SyncFor) -> bool {
        let addr = self.first(mapping);
        let done = self.ops.sync(mapping, direction, sync);
        self.sink.take(Call {
            addr,
            direction: Some(direction),
            sync: Some(sync),
            ..Call::new(CallKind::Sync)
        });
        done
    }

    fn segment(&self, mapping: &Self::Mapping, index: usize) -> Option<DmaSegment> {
        self.ops.segment(mapping, index)
    }

    fn bounces(&self, mapping: &Self::Mapping) -> bool {
        self.ops.bounces(mapping)
    }

    fn vmap_alloc(&mut self, alloc: &Self::Alloc) -> Result<Self::Vmap, Error> {
        let addr = self.ops.alloc_dma_addr(alloc);
        let result = self.ops.vmap_alloc(alloc);
        self.sink.take(Call {
            addr,
            result: told(&result),
            ..Call::new(CallKind::VmapAlloc)
        });
        result
    }

    fn vmap_table(&mut self, table: &Self::Table) -> Result<Self::Vmap, Error> {
        let len = self.ops.table_len(table);
        let result = self.ops.vmap_table(table);
        self.sink.take(Call {
            len,
            result: told(&result),
            ..Call::new(CallKind::VmapTable)
        });
        result
    }

    fn vunmap(&mut self, vmap: Self::Vmap) {
        self.ops.vunmap(vmap);
        self.sink.take(Call::new(CallKind::Vunmap));
    }

    fn vmap_read(&mut self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        // CAST: usize is at most 64 bits wide wherever this builds.
        let len = out.len() as u64;
        let result = self.ops.vmap_read(vmap, offset, out);
        self.sink.take(Call {
            len,
            result: told(&result),
            ..Call::new(CallKind::VmapRead)
        });
        result
    }

    fn vmap_write(&mut self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        // CAST: usize is at most 64 bits wide wherever this builds.
        let len = data.len() as u64;
        let result = self.ops.vmap_write(vmap, offset, data);
        self.sink.take(Call {
            len,
            result: told(&result),
            ..Call::new(CallKind::VmapWrite)
        });
        result
    }

    fn mmap(
        &mut self,
        alloc: &Self::Alloc,
        offset: u64,
        len_bytes: u64,
    ) -> Result<Self::Mmap, Error> {
        let addr = self.ops.alloc_dma_addr(alloc);
        let result = self.ops.mmap(alloc, offset, len_bytes);
        self.sink.take(Call {
            addr,
            len: len_bytes,
            result: told(&result),
            ..Call::new(CallKind::Mmap)
        });
        result
    }
}
