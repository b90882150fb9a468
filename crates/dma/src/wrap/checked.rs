//! The wrapper that checks.

use super::objects::{Ended, Id, Objects};
use super::{Claim, Kind, Ledger, Report, Sink, Site, Violation};
use crate::{
    Attrs, Caching, Coherency, Direction, DmaAddr, DmaOps, DmaSegment, Error, Limits, SyncFor,
};

/// Checks how a [`DmaOps`] is used, and reports what is done wrong. It changes nothing: every call
/// goes through.
///
/// Bounded, like Linux's: with more than `capacity` live segments it ends, and says so.
///
/// # Examples
/// ```
/// use vb3_dma::wrap::{Checked, Report};
/// # fn with<O: vb3_dma::DmaOps>(ops: O, dev: O::Device) {
/// let sink = |report: Report<O::Device>| eprintln!("{report}");
/// # extern crate std; use std::eprintln;
/// let mut ops = Checked::new(ops, sink, 65536);
/// ops.set_tag("camera0");
/// // ... use it as any other DmaOps ...
/// ops.remove_device(dev); // reports what was leaked
/// # }
/// ```
///
/// Source: Linux 7.2 kernel/dma/debug.c.
#[derive(Debug)]
pub struct Checked<O: DmaOps, S> {
    ops: O,
    sink: S,
    ledger: Ledger<O::Device>,
    objects: Objects,
    tag: &'static str,
}

/// An allocation, with what was said when it was made.
#[derive(Clone, Debug)]
#[must_use = "goes back through DmaOps::free"]
pub struct CheckedAlloc<A, D> {
    inner: A,
    home: Option<Home<D>>,
    object: Option<Id>,
}

#[derive(Clone, Copy, Debug)]
struct Home<D> {
    dev: D,
    segment: DmaSegment,
    direction: Direction,
    attrs: Attrs,
}

impl<A, D> CheckedAlloc<A, D> {
    /// What the layer below gave.
    pub fn inner(&self) -> &A {
        &self.inner
    }
}

/// A table, with what it shows.
#[derive(Clone, Debug)]
#[must_use = "goes back through DmaOps::free_table"]
pub struct CheckedTable<T> {
    inner: T,
    object: Option<Id>,
}

impl<T> CheckedTable<T> {
    /// What the layer below gave.
    pub fn inner(&self) -> &T {
        &self.inner
    }
}

/// A mapping, with what was said when it was made.
#[derive(Clone, Debug)]
#[must_use = "goes back through DmaOps::unmap"]
pub struct CheckedMapping<M, D> {
    inner: M,
    dev: D,
    direction: Direction,
    table: Option<Id>,
}

impl<M, D> CheckedMapping<M, D> {
    /// What the layer below gave.
    pub fn inner(&self) -> &M {
        &self.inner
    }
}

impl<O: DmaOps, S: Sink<Report<O::Device>>> Checked<O, S> {
    /// Checks `ops`, keeping track of up to `capacity` segments (Linux: 65536).
    pub fn new(ops: O, sink: S, capacity: usize) -> Self {
        Self {
            ops,
            sink,
            ledger: Ledger::new(capacity),
            objects: Objects::new(capacity),
            tag: "",
        }
    }

    /// The layer below.
    pub fn inner(&self) -> &O {
        &self.ops
    }

    /// The layer below, to be changed.
    pub fn inner_mut(&mut self) -> &mut O {
        &mut self.ops
    }

    /// Gives the layer below back.
    pub fn into_inner(self) -> O {
        self.ops
    }

    /// What is kept track of.
    pub fn ledger(&self) -> &Ledger<O::Device> {
        &self.ledger
    }

    /// Names who calls from now on, for reports.
    pub fn set_tag(&mut self, tag: &'static str) {
        self.tag = tag;
    }

    /// Says what `dev` can address, for the rules about segments.
    pub fn set_limits(&mut self, dev: O::Device, limits: Limits) {
        self.ledger.set_limits(dev, limits);
    }

    /// The device goes: what is still mapped or allocated for it is reported.
    #[track_caller]
    pub fn remove_device(&mut self, dev: O::Device) {
        let by = Site::here(self.tag);
        self.ledger.remove_device(dev, by, &mut self.sink);
    }

    fn complain(&mut self, violation: Violation, by: Site, mapped_by: Option<Site>) {
        self.sink.take(Report {
            violation,
            dev: None,
            addr: None,
            len: 0,
            by,
            mapped_by,
        });
    }

    fn end_object(&mut self, object: Option<Id>, by: Site) {
        match object.map(|id| self.objects.end(id)) {
            None | Some(Ended::Well) => {}
            Some(Ended::InUse { users, made_by }) => {
                self.complain(Violation::FreedInUse { users }, by, Some(made_by));
            }
            Some(Ended::Already) => self.complain(Violation::UsedAfterFree, by, None),
        }
    }

    fn check_alive(&mut self, object: Option<Id>, by: Site) {
        if object.is_some_and(|id| !self.objects.is_alive(id)) {
            self.complain(Violation::UsedAfterFree, by, None);
        }
    }

    /// Checks an unmap that is about to be made.
    #[track_caller]
    fn note_unmap(&mut self, mapping: &CheckedMapping<O::Mapping, O::Device>, attrs: Attrs) {
        let by = Site::here(self.tag);
        let claim = Claim {
            dev: mapping.dev,
            kind: Kind::Streaming,
            direction: mapping.direction,
            attrs,
            by,
        };
        let (mut count, mut len) = (0u64, 0u64);
        for segment in segments(&self.ops, &mapping.inner) {
            count = count.saturating_add(1);
            len = len.saturating_add(segment.len);
        }
        if let Some(first) = self.ops.segment(&mapping.inner, 0) {
            self.ledger.unmap(claim, first, count, len, &mut self.sink);
        }
        if let Some(id) = mapping.table {
            self.objects.release(id);
        }
    }

    fn adopt(
        &mut self,
        inner: O::Alloc,
        dev: Option<O::Device>,
        len: u64,
        (direction, attrs): (Direction, Attrs),
        by: Site,
    ) -> CheckedAlloc<O::Alloc, O::Device> {
        let object = self.objects.add(None, by);
        let addr = self.ops.alloc_dma_addr(&inner);
        let home = dev.zip(addr).map(|(dev, addr)| {
            let segment = DmaSegment { addr, len };
            let claim = Claim {
                dev,
                kind: Kind::Allocation,
                direction,
                attrs,
                by,
            };
            self.ledger
                .map(claim, core::iter::once(segment), &mut self.sink);
            Home {
                dev,
                segment,
                direction,
                attrs,
            }
        });
        CheckedAlloc {
            inner,
            home,
            object,
        }
    }
}

fn segments<O: DmaOps>(ops: &O, mapping: &O::Mapping) -> impl Iterator<Item = DmaSegment> {
    (0..usize::MAX).map_while(|index| ops.segment(mapping, index))
}

impl<O: DmaOps, S: Sink<Report<O::Device>>> DmaOps for Checked<O, S> {
    type Device = O::Device;
    type User = O::User;
    type Alloc = CheckedAlloc<O::Alloc, O::Device>;
    type Table = CheckedTable<O::Table>;
    type Mapping = CheckedMapping<O::Mapping, O::Device>;
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

    #[track_caller]
    fn alloc_coherent(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        let by = Site::here(self.tag);
        let inner = self.ops.alloc_coherent(dev, len_bytes, attrs)?;
        let said = (Direction::Bidirectional, attrs);
        Ok(self.adopt(inner, Some(dev), len_bytes, said, by))
    }

    #[track_caller]
    fn alloc_noncontiguous(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        let by = Site::here(self.tag);
        let inner = self
            .ops
            .alloc_noncontiguous(dev, len_bytes, direction, attrs)?;
        Ok(self.adopt(inner, Some(dev), len_bytes, (direction, attrs), by))
    }

    #[track_caller]
    fn alloc_virtual(&mut self, len_bytes: u64) -> Result<Self::Alloc, Error> {
        let by = Site::here(self.tag);
        let inner = self.ops.alloc_virtual(len_bytes)?;
        let said = (Direction::Bidirectional, Attrs::empty());
        Ok(self.adopt(inner, None, len_bytes, said, by))
    }

    #[track_caller]
    fn free(&mut self, alloc: Self::Alloc) {
        let by = Site::here(self.tag);
        if let Some(home) = alloc.home {
            let claim = Claim {
                dev: home.dev,
                kind: Kind::Allocation,
                direction: home.direction,
                attrs: home.attrs,
                by,
            };
            self.ledger
                .unmap(claim, home.segment, 1, home.segment.len, &mut self.sink);
        }
        self.end_object(alloc.object, by);
        self.ops.free(alloc.inner);
    }

    fn alloc_dma_addr(&self, alloc: &Self::Alloc) -> Option<DmaAddr> {
        self.ops.alloc_dma_addr(&alloc.inner)
    }

    #[track_caller]
    fn sync_alloc(&mut self, alloc: &Self::Alloc, direction: Direction, sync: SyncFor) -> bool {
        let by = Site::here(self.tag);
        self.check_alive(alloc.object, by);
        if let Some(home) = alloc.home {
            let claim = Claim {
                dev: home.dev,
                kind: Kind::Allocation,
                direction,
                attrs: home.attrs,
                by,
            };
            self.ledger.sync(claim, home.segment, &mut self.sink);
        }
        self.ops.sync_alloc(&alloc.inner, direction, sync)
    }

    fn alloc_caching(&self, alloc: &Self::Alloc) -> Caching {
        self.ops.alloc_caching(&alloc.inner)
    }

    #[track_caller]
    fn table_of(&mut self, alloc: &Self::Alloc) -> Result<Self::Table, Error> {
        let by = Site::here(self.tag);
        self.check_alive(alloc.object, by);
        let inner = self.ops.table_of(&alloc.inner)?;
        let object = self.objects.add(alloc.object, by);
        Ok(CheckedTable { inner, object })
    }

    #[track_caller]
    fn pin_user(
        &mut self,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Table, Error> {
        let by = Site::here(self.tag);
        let inner = self.ops.pin_user(user, addr, len_bytes, direction)?;
        let object = self.objects.add(None, by);
        Ok(CheckedTable { inner, object })
    }

    fn is_current(&self, table: &Self::Table, user: &Self::User, addr: u64) -> bool {
        self.ops.is_current(&table.inner, user, addr)
    }

    #[track_caller]
    fn free_table(&mut self, table: Self::Table, device_wrote: bool) {
        let by = Site::here(self.tag);
        self.end_object(table.object, by);
        self.ops.free_table(table.inner, device_wrote);
    }

    fn table_len(&self, table: &Self::Table) -> u64 {
        self.ops.table_len(&table.inner)
    }

    #[track_caller]
    fn map(
        &mut self,
        dev: Self::Device,
        table: &Self::Table,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Mapping, Error> {
        let by = Site::here(self.tag);
        self.check_alive(table.object, by);
        let inner = self.ops.map(dev, &table.inner, direction, attrs)?;
        let claim = Claim {
            dev,
            kind: Kind::Streaming,
            direction,
            attrs,
            by,
        };
        self.ledger
            .map(claim, segments(&self.ops, &inner), &mut self.sink);
        if let Some(id) = table.object {
            self.objects.acquire(id);
        }
        Ok(CheckedMapping {
            inner,
            dev,
            direction,
            table: table.object,
        })
    }

    #[track_caller]
    fn unmap(&mut self, mapping: Self::Mapping, attrs: Attrs) {
        self.note_unmap(&mapping, attrs);
        self.ops.unmap(mapping.inner, attrs);
    }

    #[track_caller]
    fn try_unmap(&mut self, mapping: Self::Mapping, attrs: Attrs) -> Result<(), Error> {
        self.note_unmap(&mapping, attrs);
        self.ops.try_unmap(mapping.inner, attrs)
    }

    #[track_caller]
    fn sync(&mut self, mapping: &Self::Mapping, direction: Direction, sync: SyncFor) -> bool {
        let claim = Claim {
            dev: mapping.dev,
            kind: Kind::Streaming,
            direction,
            attrs: Attrs::empty(),
            by: Site::here(self.tag),
        };
        for part in segments(&self.ops, &mapping.inner) {
            // One report for one call.
            if !self.ledger.sync(claim, part, &mut self.sink) {
                break;
            }
        }
        self.ops.sync(&mapping.inner, direction, sync)
    }

    fn segment(&self, mapping: &Self::Mapping, index: usize) -> Option<DmaSegment> {
        self.ops.segment(&mapping.inner, index)
    }

    fn bounces(&self, mapping: &Self::Mapping) -> bool {
        self.ops.bounces(&mapping.inner)
    }

    #[track_caller]
    fn vmap_alloc(&mut self, alloc: &Self::Alloc) -> Result<Self::Vmap, Error> {
        self.check_alive(alloc.object, Site::here(self.tag));
        self.ops.vmap_alloc(&alloc.inner)
    }

    #[track_caller]
    fn vmap_table(&mut self, table: &Self::Table) -> Result<Self::Vmap, Error> {
        self.check_alive(table.object, Site::here(self.tag));
        self.ops.vmap_table(&table.inner)
    }

    fn vunmap(&mut self, vmap: Self::Vmap) {
        self.ops.vunmap(vmap);
    }

    fn vmap_read(&mut self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.ops.vmap_read(vmap, offset, out)
    }

    fn vmap_write(&mut self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.ops.vmap_write(vmap, offset, data)
    }

    #[track_caller]
    fn mmap(
        &mut self,
        alloc: &Self::Alloc,
        offset: u64,
        len_bytes: u64,
    ) -> Result<Self::Mmap, Error> {
        self.check_alive(alloc.object, Site::here(self.tag));
        self.ops.mmap(&alloc.inner, offset, len_bytes)
    }
}
