//! The checking wrapper.

use super::objects::{Ended, Id, Objects};
use super::{Claim, Ledger, MappingKind, Report, Sink, Site, Violation};
use crate::{
    Attrs, Caching, Coherency, Direction, DmaAddr, DmaOps, DmaSegment, Error, Limits, Lock, Locks,
    NoLocks, SyncFor,
};
use core::fmt;
use core::panic::Location;

/// Checks how a driver uses a [`DmaOps`], and reports each misuse. It passes every call on
/// unchanged.
///
/// Bounded, like Linux's: beyond `capacity` live segments, it reports that and stops checking.
///
/// `L` makes the lock around its ledger. Unlike the mapper's own locks, this one is held while the
/// ledger allocates and while the sink takes a report. The sink must not call the wrapper.
///
/// # Examples
/// ```
/// use vb3_dma::wrap::{Checked, Report};
/// # fn with<O: vb3_dma::DmaOps>(ops: O, dev: O::Device) {
/// let sink = |report: Report<O::Device>| eprintln!("{report}");
/// # extern crate std; use std::eprintln;
/// let ops = Checked::new(ops, sink, 65536);
/// ops.set_tag("camera0");
/// // ... use it as any other DmaOps ...
/// ops.remove_device(dev); // reports what was leaked
/// # }
/// ```
///
/// Source: Linux 7.2 kernel/dma/debug.c.
pub struct Checked<O: DmaOps, S, L: Locks = NoLocks> {
    ops: O,
    book: L::Lock<Book<O::Device, S>>,
}

/// The lists of live objects, and the receiver of reports.
struct Book<D, S> {
    ledger: Ledger<D>,
    objects: Objects,
    tag: &'static str,
    sink: S,
}

impl<O: DmaOps, S, L: Locks> fmt::Debug for Checked<O, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").finish_non_exhaustive()
    }
}

/// An allocation, with the claim made at its allocation.
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

impl<D> Home<D> {
    fn claim(self, by: Site) -> Claim<D> {
        Claim {
            dev: self.dev,
            kind: MappingKind::Allocation,
            direction: self.direction,
            attrs: self.attrs,
            by,
        }
    }
}

impl<A, D> CheckedAlloc<A, D> {
    /// Returns the value of the layer below.
    pub fn inner(&self) -> &A {
        &self.inner
    }
}

/// A table, with the allocation it describes.
#[derive(Clone, Debug)]
#[must_use = "goes back through DmaOps::free_table"]
pub struct CheckedTable<T> {
    inner: T,
    object: Option<Id>,
}

impl<T> CheckedTable<T> {
    /// Returns the value of the layer below.
    pub fn inner(&self) -> &T {
        &self.inner
    }
}

/// A mapping, with the claim made when it was mapped.
#[derive(Clone, Debug)]
#[must_use = "goes back through DmaOps::unmap"]
pub struct CheckedMapping<M, D> {
    inner: M,
    dev: D,
    direction: Direction,
    table: Option<Id>,
}

impl<M, D> CheckedMapping<M, D> {
    /// Returns the value of the layer below.
    pub fn inner(&self) -> &M {
        &self.inner
    }
}

impl<D: Copy + Eq, S: Sink<Report<D>>> Book<D, S> {
    fn here(&self, location: &'static Location<'static>) -> Site {
        Site {
            location,
            tag: self.tag,
        }
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
}

impl<O: DmaOps, S: Sink<Report<O::Device>>> Checked<O, S> {
    /// Makes a checker of `ops` for one thread that tracks up to `capacity` segments (Linux:
    /// 65536).
    pub fn new(ops: O, sink: S, capacity: usize) -> Self {
        Self::with_locks(ops, sink, capacity)
    }
}

impl<O: DmaOps, S: Sink<Report<O::Device>>, L: Locks> Checked<O, S, L> {
    /// As [`new`](Checked::new), for several threads, with locks of type `L`.
    pub fn with_locks(ops: O, sink: S, capacity: usize) -> Self {
        let book = L::Lock::new(Book {
            ledger: Ledger::new(capacity),
            objects: Objects::new(capacity),
            tag: "",
            sink,
        });
        Self { ops, book }
    }

    /// Returns the layer below.
    pub fn inner(&self) -> &O {
        &self.ops
    }

    /// Returns the layer below, mutably.
    pub fn inner_mut(&mut self) -> &mut O {
        &mut self.ops
    }

    /// Returns the layer below, without the checker.
    pub fn into_inner(self) -> O {
        self.ops
    }

    /// Returns the number of segments mapped or allocated now.
    pub fn live_segments(&self) -> usize {
        self.book.with(|book| book.ledger.len())
    }

    /// Sets the caller's name in reports of later calls.
    pub fn set_tag(&self, tag: &'static str) {
        self.book.with(|book| book.tag = tag);
    }

    /// Sets the limits of `dev`, for the rules about segments.
    pub fn set_limits(&self, dev: O::Device, limits: Limits) {
        self.book.with(|book| book.ledger.set_limits(dev, limits));
    }

    /// Removes a device: reports each mapping and allocation that it still has.
    #[track_caller]
    pub fn remove_device(&self, dev: O::Device) {
        let at = Location::caller();
        self.book.with(|book| {
            let by = book.here(at);
            book.ledger.remove_device(dev, by, &mut book.sink);
        });
    }

    #[track_caller]
    fn check_alive(&self, object: Option<Id>) {
        let at = Location::caller();
        self.book.with(|book| {
            let by = book.here(at);
            book.check_alive(object, by);
        });
    }

    /// Checks an unmap before it is done.
    #[track_caller]
    fn note_unmap(&self, mapping: &CheckedMapping<O::Mapping, O::Device>, attrs: Attrs) {
        let at = Location::caller();
        let (mut count, mut len) = (0u64, 0u64);
        for segment in segments(&self.ops, &mapping.inner) {
            count = count.saturating_add(1);
            len = len.saturating_add(segment.len);
        }
        let first = self.ops.segment(&mapping.inner, 0);
        self.book.with(|book| {
            let claim = Claim {
                dev: mapping.dev,
                kind: MappingKind::Streaming,
                direction: mapping.direction,
                attrs,
                by: book.here(at),
            };
            if let Some(first) = first {
                book.ledger.unmap(claim, first, count, len, &mut book.sink);
            }
            if let Some(id) = mapping.table {
                book.objects.release(id);
            }
        });
    }

    #[track_caller]
    fn adopt(
        &self,
        inner: O::Alloc,
        dev: Option<O::Device>,
        len: u64,
        (direction, attrs): (Direction, Attrs),
    ) -> CheckedAlloc<O::Alloc, O::Device> {
        let at = Location::caller();
        let home = dev
            .zip(self.ops.alloc_dma_addr(&inner))
            .map(|(dev, addr)| Home {
                dev,
                segment: DmaSegment { addr, len },
                direction,
                attrs,
            });
        let object = self.book.with(|book| {
            let by = book.here(at);
            if let Some(home) = home {
                let part = core::iter::once(home.segment);
                book.ledger.map(home.claim(by), part, &mut book.sink);
            }
            book.objects.add(None, by)
        });
        CheckedAlloc {
            inner,
            home,
            object,
        }
    }

    #[track_caller]
    fn table(&self, inner: O::Table, shows: Option<Id>) -> CheckedTable<O::Table> {
        let at = Location::caller();
        let object = self.book.with(|book| {
            let by = book.here(at);
            book.objects.add(shows, by)
        });
        CheckedTable { inner, object }
    }
}

fn segments<O: DmaOps>(ops: &O, mapping: &O::Mapping) -> impl Iterator<Item = DmaSegment> {
    (0..usize::MAX).map_while(|index| ops.segment(mapping, index))
}

impl<O: DmaOps, S: Sink<Report<O::Device>>, L: Locks> DmaOps for Checked<O, S, L> {
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
        &self,
        dev: Self::Device,
        len_bytes: u64,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        let inner = self.ops.alloc_coherent(dev, len_bytes, attrs)?;
        let said = (Direction::Bidirectional, attrs);
        Ok(self.adopt(inner, Some(dev), len_bytes, said))
    }

    #[track_caller]
    fn alloc_noncontiguous(
        &self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        let inner = self
            .ops
            .alloc_noncontiguous(dev, len_bytes, direction, attrs)?;
        Ok(self.adopt(inner, Some(dev), len_bytes, (direction, attrs)))
    }

    #[track_caller]
    fn alloc_virtual(&self, len_bytes: u64) -> Result<Self::Alloc, Error> {
        let inner = self.ops.alloc_virtual(len_bytes)?;
        let said = (Direction::Bidirectional, Attrs::empty());
        Ok(self.adopt(inner, None, len_bytes, said))
    }

    #[track_caller]
    fn free(&self, alloc: Self::Alloc) {
        let at = Location::caller();
        self.book.with(|book| {
            let by = book.here(at);
            if let Some(home) = alloc.home {
                let len = home.segment.len;
                let claim = home.claim(by);
                book.ledger
                    .unmap(claim, home.segment, 1, len, &mut book.sink);
            }
            book.end_object(alloc.object, by);
        });
        self.ops.free(alloc.inner);
    }

    fn alloc_dma_addr(&self, alloc: &Self::Alloc) -> Option<DmaAddr> {
        self.ops.alloc_dma_addr(&alloc.inner)
    }

    #[track_caller]
    fn sync_alloc(&self, alloc: &Self::Alloc, direction: Direction, sync: SyncFor) -> bool {
        let at = Location::caller();
        self.book.with(|book| {
            let by = book.here(at);
            book.check_alive(alloc.object, by);
            if let Some(home) = alloc.home {
                let claim = Claim {
                    direction,
                    ..home.claim(by)
                };
                book.ledger.sync(claim, home.segment, &mut book.sink);
            }
        });
        self.ops.sync_alloc(&alloc.inner, direction, sync)
    }

    fn alloc_caching(&self, alloc: &Self::Alloc) -> Caching {
        self.ops.alloc_caching(&alloc.inner)
    }

    #[track_caller]
    fn table_of(&self, alloc: &Self::Alloc) -> Result<Self::Table, Error> {
        self.check_alive(alloc.object);
        let inner = self.ops.table_of(&alloc.inner)?;
        Ok(self.table(inner, alloc.object))
    }

    #[track_caller]
    fn pin_user(
        &self,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Table, Error> {
        let inner = self.ops.pin_user(user, addr, len_bytes, direction)?;
        Ok(self.table(inner, None))
    }

    fn is_current(&self, table: &Self::Table, user: &Self::User, addr: u64) -> bool {
        self.ops.is_current(&table.inner, user, addr)
    }

    #[track_caller]
    fn free_table(&self, table: Self::Table, device_wrote: bool) {
        let at = Location::caller();
        self.book.with(|book| {
            let by = book.here(at);
            book.end_object(table.object, by);
        });
        self.ops.free_table(table.inner, device_wrote);
    }

    fn table_len(&self, table: &Self::Table) -> u64 {
        self.ops.table_len(&table.inner)
    }

    #[track_caller]
    fn map(
        &self,
        dev: Self::Device,
        table: &Self::Table,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Mapping, Error> {
        let at = Location::caller();
        self.check_alive(table.object);
        let inner = self.ops.map(dev, &table.inner, direction, attrs)?;
        self.book.with(|book| {
            let claim = Claim {
                dev,
                kind: MappingKind::Streaming,
                direction,
                attrs,
                by: book.here(at),
            };
            let parts = segments(&self.ops, &inner);
            book.ledger.map(claim, parts, &mut book.sink);
            if let Some(id) = table.object {
                book.objects.acquire(id);
            }
        });
        Ok(CheckedMapping {
            inner,
            dev,
            direction,
            table: table.object,
        })
    }

    #[track_caller]
    fn unmap(&self, mapping: Self::Mapping, attrs: Attrs) {
        self.note_unmap(&mapping, attrs);
        self.ops.unmap(mapping.inner, attrs);
    }

    #[track_caller]
    fn try_unmap(&self, mapping: Self::Mapping, attrs: Attrs) -> Result<(), Error> {
        self.note_unmap(&mapping, attrs);
        self.ops.try_unmap(mapping.inner, attrs)
    }

    #[track_caller]
    fn sync(&self, mapping: &Self::Mapping, direction: Direction, sync: SyncFor) -> bool {
        let at = Location::caller();
        self.book.with(|book| {
            let claim = Claim {
                dev: mapping.dev,
                kind: MappingKind::Streaming,
                direction,
                attrs: Attrs::empty(),
                by: book.here(at),
            };
            for part in segments(&self.ops, &mapping.inner) {
                // One report for each call.
                if !book.ledger.sync(claim, part, &mut book.sink) {
                    break;
                }
            }
        });
        self.ops.sync(&mapping.inner, direction, sync)
    }

    fn segment(&self, mapping: &Self::Mapping, index: usize) -> Option<DmaSegment> {
        self.ops.segment(&mapping.inner, index)
    }

    fn bounces(&self, mapping: &Self::Mapping) -> bool {
        self.ops.bounces(&mapping.inner)
    }

    #[track_caller]
    fn vmap_alloc(&self, alloc: &Self::Alloc) -> Result<Self::Vmap, Error> {
        self.check_alive(alloc.object);
        self.ops.vmap_alloc(&alloc.inner)
    }

    #[track_caller]
    fn vmap_table(&self, table: &Self::Table) -> Result<Self::Vmap, Error> {
        self.check_alive(table.object);
        self.ops.vmap_table(&table.inner)
    }

    fn vunmap(&self, vmap: Self::Vmap) {
        self.ops.vunmap(vmap);
    }

    fn vmap_read(&self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.ops.vmap_read(vmap, offset, out)
    }

    fn vmap_write(&self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.ops.vmap_write(vmap, offset, data)
    }

    #[track_caller]
    fn mmap(&self, alloc: &Self::Alloc, offset: u64, len_bytes: u64) -> Result<Self::Mmap, Error> {
        self.check_alive(alloc.object);
        self.ops.mmap(&alloc.inner, offset, len_bytes)
    }
}
