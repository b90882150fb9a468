//! A wrapper that checks the calls of a `DmaOps`.

use super::book::{Book, Claim, Id};
use super::{Report, Sink, Site};
use core::fmt;
use core::panic::Location;
use vb3_dma::{
    Attrs, Caching, Coherency, Direction, DmaAddr, DmaOps, DmaSegment, Error, Limits, Locks,
    NoLocks, SyncFor,
};

/// Checks how a driver uses a [`DmaOps`] (the layer below), and reports each misuse. The wrapper passes every
/// call to that layer unchanged.
///
/// The number of tracked segments is limited, as in Linux. Beyond `capacity` live segments, or about twice as
/// many memories and mappings, the wrapper reports `TrackingEnded` and stops checking.
///
/// `L` provides the lock around the list of live objects. The wrapper holds this lock also while it allocates
/// memory for the list, and while the sink takes a report. The locks of a [`Mapper`](vb3_dma::Mapper) are never
/// held so long. The sink must not call the wrapper.
///
/// # Examples
/// ```
/// use vb3_dma_test::check::{Checked, Report};
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

impl<O: DmaOps, S, L: Locks> fmt::Debug for Checked<O, S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").finish_non_exhaustive()
    }
}

/// A value of the layer below, and its entry in the checker's list.
#[derive(Clone, Debug)]
#[must_use = "goes back through the call of DmaOps that releases it"]
pub struct Tracked<T> {
    inner: T,
    id: Option<Id>,
}

impl<T> core::ops::Deref for Tracked<T> {
    type Target = T;

    /// Returns the value of the layer below.
    fn deref(&self) -> &T {
        &self.inner
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
        let book = L::new_lock(Book::new(sink, capacity));
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

    /// Discards the checker, and returns the layer below.
    pub fn into_inner(self) -> O {
        self.ops
    }

    /// Returns the number of segments that are mapped or allocated now.
    pub fn live_segments(&self) -> usize {
        L::with(&self.book, |book| book.live_segments())
    }

    /// Sets the caller's name for the reports of later calls.
    pub fn set_tag(&self, tag: &'static str) {
        L::with(&self.book, |book| book.tag = tag);
    }

    /// Sets the limits against which segments of `dev` are checked.
    pub fn set_limits(&self, dev: O::Device, limits: Limits) {
        L::with(&self.book, |book| book.set_limits(dev, limits));
    }

    /// Forgets a device, and reports each mapping and allocation that the device still has.
    #[track_caller]
    pub fn remove_device(&self, dev: O::Device) {
        self.note(|book, by| book.remove_device(dev, by));
    }

    /// Calls `act` with the list and the site of the caller.
    #[track_caller]
    fn note<R>(&self, act: impl FnOnce(&mut Book<O::Device, S>, Site) -> R) -> R {
        let at = Location::caller();
        L::with(&self.book, |book| {
            let by = book.site(at);
            act(book, by)
        })
    }

    #[track_caller]
    fn adopt(
        &self,
        inner: O::Memory,
        dev: Option<O::Device>,
        len: u64,
        (direction, attrs): (Direction, Attrs),
    ) -> Tracked<O::Memory> {
        let seen = dev.zip(self.ops.alloc_dma_addr(&inner));
        let id = self.note(|book, by| match seen {
            Some((dev, addr)) => {
                let claim = Claim {
                    dev,
                    is_streaming: false,
                    direction,
                    attrs,
                };
                let run = core::iter::once(DmaSegment { addr, len });
                book.add_seen(claim, run, None, by)
            }
            None => book.add(None, by),
        });
        Tracked { inner, id }
    }
}

fn segments<O: DmaOps>(ops: &O, mapping: &O::Mapping) -> impl Iterator<Item = DmaSegment> {
    (0..usize::MAX).map_while(|index| ops.segment(mapping, index))
}

/// Forwards calls to the layer below, and keeps the caller's source location.
macro_rules! forward {
    ($(fn $name:ident(&self $(, $arg:ident: $ty:ty)*) $(-> $ret:ty)?;)*) => {
        $(
            #[track_caller]
            fn $name(&self $(, $arg: $ty)*) $(-> $ret)? {
                self.ops.$name($($arg),*)
            }
        )*
    };
}

impl<O: DmaOps, S: Sink<Report<O::Device>>, L: Locks> DmaOps for Checked<O, S, L> {
    type Device = O::Device;
    type User = O::User;
    type Memory = Tracked<O::Memory>;
    type Mapping = Tracked<O::Mapping>;
    type Vmap = O::Vmap;
    type Mmap = O::Mmap;

    forward! {
        fn page_size(&self) -> u64;
        fn cache_alignment(&self, dev: Self::Device) -> u64;
        fn coherency(&self, dev: Self::Device) -> Coherency;
        fn alloc_dma_addr(&self, memory: &Self::Memory) -> Option<DmaAddr>;
        fn alloc_caching(&self, memory: &Self::Memory) -> Caching;
        fn is_current(&self, memory: &Self::Memory, user: &Self::User, addr: u64) -> bool;
        fn memory_len(&self, memory: &Self::Memory) -> u64;
        fn flush(&self) -> Result<(), Error>;
        fn segment(&self, mapping: &Self::Mapping, index: usize) -> Option<DmaSegment>;
        fn bounces(&self, mapping: &Self::Mapping) -> bool;
        fn vunmap(&self, vmap: Self::Vmap);
        fn vmap_read(&self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error>;
        fn vmap_write(&self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error>;
    }

    #[track_caller]
    fn alloc_coherent(
        &self,
        dev: Self::Device,
        len_bytes: u64,
        attrs: Attrs,
    ) -> Result<Self::Memory, Error> {
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
    ) -> Result<Self::Memory, Error> {
        let inner = self
            .ops
            .alloc_noncontiguous(dev, len_bytes, direction, attrs)?;
        Ok(self.adopt(inner, Some(dev), len_bytes, (direction, attrs)))
    }

    #[track_caller]
    fn alloc_virtual(&self, len_bytes: u64) -> Result<Self::Memory, Error> {
        let inner = self.ops.alloc_virtual(len_bytes)?;
        let said = (Direction::Bidirectional, Attrs::empty());
        Ok(self.adopt(inner, None, len_bytes, said))
    }

    #[track_caller]
    fn alloc_scattered(&self, dev: Self::Device, len_bytes: u64) -> Result<Self::Memory, Error> {
        let inner = self.ops.alloc_scattered(dev, len_bytes)?;
        let said = (Direction::Bidirectional, Attrs::empty());
        Ok(self.adopt(inner, None, len_bytes, said))
    }

    #[track_caller]
    fn free(&self, memory: Self::Memory) {
        self.note(|book, by| book.free(memory.id, by));
        self.ops.free(memory.inner);
    }

    #[track_caller]
    fn sync_alloc(&self, memory: &Self::Memory, direction: Direction, sync: SyncFor) -> bool {
        self.note(|book, by| book.sync(memory.id, direction, by));
        self.ops.sync_alloc(&memory.inner, direction, sync)
    }

    #[track_caller]
    fn describe(&self, memory: &mut Self::Memory) -> Result<(), Error> {
        self.note(|book, by| book.check_alive(memory.id, by));
        self.ops.describe(&mut memory.inner)
    }

    #[track_caller]
    fn pin_user(
        &self,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Memory, Error> {
        let inner = self.ops.pin_user(user, addr, len_bytes, direction)?;
        let id = self.note(|book, by| book.add(None, by));
        Ok(Tracked { inner, id })
    }

    #[track_caller]
    fn map(
        &self,
        dev: Self::Device,
        memory: &Self::Memory,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Mapping, Error> {
        self.note(|book, by| book.check_alive(memory.id, by));
        let inner = self.ops.map(dev, &memory.inner, direction, attrs)?;
        let id = self.note(|book, by| {
            let claim = Claim {
                dev,
                is_streaming: true,
                direction,
                attrs,
            };
            book.add_seen(claim, segments(&self.ops, &inner), memory.id, by)
        });
        Ok(Tracked { inner, id })
    }

    #[track_caller]
    fn unmap(&self, mapping: Self::Mapping, attrs: Attrs) {
        self.note(|book, by| book.unmap(mapping.id, attrs, by));
        self.ops.unmap(mapping.inner, attrs);
    }

    #[track_caller]
    fn try_unmap(&self, mapping: Self::Mapping, attrs: Attrs) -> Result<(), Error> {
        self.note(|book, by| book.unmap(mapping.id, attrs, by));
        self.ops.try_unmap(mapping.inner, attrs)
    }

    #[track_caller]
    fn sync(
        &self,
        mapping: &Self::Mapping,
        direction: Direction,
        sync: SyncFor,
    ) -> Result<bool, Error> {
        self.note(|book, by| book.sync(mapping.id, direction, by));
        self.ops.sync(&mapping.inner, direction, sync)
    }

    #[track_caller]
    fn vmap(&self, memory: &Self::Memory) -> Result<Self::Vmap, Error> {
        self.note(|book, by| book.check_alive(memory.id, by));
        self.ops.vmap(&memory.inner)
    }

    #[track_caller]
    fn mmap(
        &self,
        memory: &Self::Memory,
        offset: u64,
        len_bytes: u64,
    ) -> Result<Self::Mmap, Error> {
        self.note(|book, by| book.check_alive(memory.id, by));
        self.ops.mmap(&memory.inner, offset, len_bytes)
    }
}
