//! A wrapper that asks before each call, and tells after it: what others are made of.

use super::{Call, CallKind};
use crate::{Attrs, Caching, Coherency, Direction, DmaAddr, DmaOps, DmaSegment, Error, SyncFor};

/// What is done around the calls that change something or may fail; `D` is the device.
///
/// # Examples
/// ```
/// use vb3_dma::wrap::{Call, Hooked, Hooks};
///
/// #[derive(Default)]
/// struct Bytes(u64);
///
/// impl<D> Hooks<D> for Bytes {
///     fn after(&mut self, call: Call<D>) {
///         self.0 += call.len;
///     }
/// }
/// # fn with<O: vb3_dma::DmaOps>(ops: O) {
///
/// let mut ops = Hooked::with(ops, Bytes::default());
/// // ... use it as any other DmaOps ...
/// let bytes = ops.hooks().0;
/// # }
/// ```
pub trait Hooks<D> {
    /// Before a call that may fail.
    ///
    /// # Errors
    /// What the call shall fail with. It does not reach the layer below.
    fn before(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// After a call, also after one that failed.
    fn after(&mut self, call: Call<D>) {
        let _ = call;
    }
}

/// A [`DmaOps`] with hooks around it. Queries go through without them.
#[derive(Debug)]
pub struct Hooked<O, H> {
    ops: O,
    hooks: H,
}

impl<O, H> Hooked<O, H> {
    /// Puts hooks around `ops`.
    pub const fn with(ops: O, hooks: H) -> Self {
        Self { ops, hooks }
    }

    /// The hooks.
    pub const fn hooks(&self) -> &H {
        &self.hooks
    }

    /// The hooks, to be changed.
    pub const fn hooks_mut(&mut self) -> &mut H {
        &mut self.hooks
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

impl<O: DmaOps, H: Hooks<O::Device>> Hooked<O, H> {
    /// Makes a call that cannot fail.
    fn make<T>(&mut self, call: Call<O::Device>, make: impl FnOnce(&mut O) -> T) -> T {
        let made = make(&mut self.ops);
        self.hooks.after(call);
        made
    }

    /// Makes a call that may fail.
    fn attempt<T>(
        &mut self,
        call: Call<O::Device>,
        make: impl FnOnce(&mut O) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let addr = call.addr;
        self.attempt_at(call, make, |_, _| addr)
    }

    /// Makes a call that may fail, and has an address only afterwards.
    fn attempt_at<T>(
        &mut self,
        call: Call<O::Device>,
        make: impl FnOnce(&mut O) -> Result<T, Error>,
        addr: impl FnOnce(&O, &T) -> Option<DmaAddr>,
    ) -> Result<T, Error> {
        let result = self.hooks.before().and_then(|()| make(&mut self.ops));
        let (addr, told) = match &result {
            Ok(made) => (addr(&self.ops, made), Ok(())),
            Err(err) => (call.addr, Err(*err)),
        };
        self.hooks.after(Call {
            addr,
            result: told,
            ..call
        });
        result
    }
}

fn first<O: DmaOps>(ops: &O, mapping: &O::Mapping) -> Option<DmaAddr> {
    ops.segment(mapping, 0).map(|segment| segment.addr)
}

impl<O: DmaOps, H: Hooks<O::Device>> DmaOps for Hooked<O, H> {
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
        let call = Call {
            dev: Some(dev),
            len: len_bytes,
            attrs,
            ..Call::new(CallKind::AllocCoherent)
        };
        let make = |ops: &mut O| ops.alloc_coherent(dev, len_bytes, attrs);
        self.attempt_at(call, make, O::alloc_dma_addr)
    }

    fn alloc_noncontiguous(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        let call = Call {
            dev: Some(dev),
            len: len_bytes,
            direction: Some(direction),
            attrs,
            ..Call::new(CallKind::AllocNoncontiguous)
        };
        let make = |ops: &mut O| ops.alloc_noncontiguous(dev, len_bytes, direction, attrs);
        self.attempt_at(call, make, O::alloc_dma_addr)
    }

    fn alloc_virtual(&mut self, len_bytes: u64) -> Result<Self::Alloc, Error> {
        let call = Call {
            len: len_bytes,
            ..Call::new(CallKind::AllocVirtual)
        };
        self.attempt(call, |ops| ops.alloc_virtual(len_bytes))
    }

    fn free(&mut self, alloc: Self::Alloc) {
        let call = Call {
            addr: self.ops.alloc_dma_addr(&alloc),
            ..Call::new(CallKind::Free)
        };
        self.make(call, |ops| ops.free(alloc));
    }

    fn alloc_dma_addr(&self, alloc: &Self::Alloc) -> Option<DmaAddr> {
        self.ops.alloc_dma_addr(alloc)
    }

    fn sync_alloc(&mut self, alloc: &Self::Alloc, direction: Direction, sync: SyncFor) -> bool {
        let call = Call {
            addr: self.ops.alloc_dma_addr(alloc),
            direction: Some(direction),
            sync: Some(sync),
            ..Call::new(CallKind::SyncAlloc)
        };
        self.make(call, |ops| ops.sync_alloc(alloc, direction, sync))
    }

    fn alloc_caching(&self, alloc: &Self::Alloc) -> Caching {
        self.ops.alloc_caching(alloc)
    }

    fn table_of(&mut self, alloc: &Self::Alloc) -> Result<Self::Table, Error> {
        let call = Call {
            addr: self.ops.alloc_dma_addr(alloc),
            ..Call::new(CallKind::TableOf)
        };
        self.attempt(call, |ops| ops.table_of(alloc))
    }

    fn pin_user(
        &mut self,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Table, Error> {
        let call = Call {
            len: len_bytes,
            direction: Some(direction),
            ..Call::new(CallKind::PinUser)
        };
        self.attempt(call, |ops| ops.pin_user(user, addr, len_bytes, direction))
    }

    fn is_current(&self, table: &Self::Table, user: &Self::User, addr: u64) -> bool {
        self.ops.is_current(table, user, addr)
    }

    fn free_table(&mut self, table: Self::Table, device_wrote: bool) {
        let call = Call {
            len: self.ops.table_len(&table),
            ..Call::new(CallKind::FreeTable)
        };
        self.make(call, |ops| ops.free_table(table, device_wrote));
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
        let call = Call {
            dev: Some(dev),
            len: self.ops.table_len(table),
            direction: Some(direction),
            attrs,
            ..Call::new(CallKind::Map)
        };
        let make = |ops: &mut O| ops.map(dev, table, direction, attrs);
        self.attempt_at(call, make, first)
    }

    fn unmap(&mut self, mapping: Self::Mapping, attrs: Attrs) {
        let call = Call {
            addr: first(&self.ops, &mapping),
            attrs,
            ..Call::new(CallKind::Unmap)
        };
        self.make(call, |ops| ops.unmap(mapping, attrs));
    }

    fn try_unmap(&mut self, mapping: Self::Mapping, attrs: Attrs) -> Result<(), Error> {
        let call = Call {
            addr: first(&self.ops, &mapping),
            attrs,
            ..Call::new(CallKind::Unmap)
        };
        // No hook makes it fail: that would leave the mapping with nobody.
        let result = self.ops.try_unmap(mapping, attrs);
        self.hooks.after(Call { result, ..call });
        result
    }

    fn sync(&mut self, mapping: &Self::Mapping, direction: Direction, sync: SyncFor) -> bool {
        let call = Call {
            addr: first(&self.ops, mapping),
            direction: Some(direction),
            sync: Some(sync),
            ..Call::new(CallKind::Sync)
        };
        self.make(call, |ops| ops.sync(mapping, direction, sync))
    }

    fn segment(&self, mapping: &Self::Mapping, index: usize) -> Option<DmaSegment> {
        self.ops.segment(mapping, index)
    }

    fn bounces(&self, mapping: &Self::Mapping) -> bool {
        self.ops.bounces(mapping)
    }

    fn vmap_alloc(&mut self, alloc: &Self::Alloc) -> Result<Self::Vmap, Error> {
        let call = Call {
            addr: self.ops.alloc_dma_addr(alloc),
            ..Call::new(CallKind::VmapAlloc)
        };
        self.attempt(call, |ops| ops.vmap_alloc(alloc))
    }

    fn vmap_table(&mut self, table: &Self::Table) -> Result<Self::Vmap, Error> {
        let call = Call {
            len: self.ops.table_len(table),
            ..Call::new(CallKind::VmapTable)
        };
        self.attempt(call, |ops| ops.vmap_table(table))
    }

    fn vunmap(&mut self, vmap: Self::Vmap) {
        self.make(Call::new(CallKind::Vunmap), |ops| ops.vunmap(vmap));
    }

    fn vmap_read(&mut self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let call = Call {
            // CAST: usize is at most 64 bits wide wherever this builds.
            len: out.len() as u64,
            ..Call::new(CallKind::VmapRead)
        };
        self.attempt(call, |ops| ops.vmap_read(vmap, offset, out))
    }

    fn vmap_write(&mut self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        let call = Call {
            // CAST: usize is at most 64 bits wide wherever this builds.
            len: data.len() as u64,
            ..Call::new(CallKind::VmapWrite)
        };
        self.attempt(call, |ops| ops.vmap_write(vmap, offset, data))
    }

    fn mmap(
        &mut self,
        alloc: &Self::Alloc,
        offset: u64,
        len_bytes: u64,
    ) -> Result<Self::Mmap, Error> {
        let call = Call {
            addr: self.ops.alloc_dma_addr(alloc),
            len: len_bytes,
            ..Call::new(CallKind::Mmap)
        };
        self.attempt(call, |ops| ops.mmap(alloc, offset, len_bytes))
    }
}
