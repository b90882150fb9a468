//! Memory that a guard owns or borrows while the memory is mapped.

use super::device::MapperRef;
use crate::mapper::{Facts, Memory};
use crate::{
    Alloc, Attrs, Caching, Direction, DmaOps, Error, Locks, Mapper, Mapping, Platform, Segment,
    SegmentKind, Table, Vmap,
};
use core::fmt;

mod sealed {
    use crate::mapper::Memory;
    use crate::{Platform, Segment};

    /// The memory behind a [`Mappable`](super::Mappable).
    #[derive(Debug)]
    #[expect(private_interfaces, reason = "only this crate names the type")]
    pub enum Source<'a> {
        Run(Segment),
        /// Memory, and whether a device may write to it.
        Memory(&'a Memory, bool),
        Freed,
    }

    pub trait Sealed<P: Platform> {
        /// Whether the memory's owner may reuse it as soon as the mapping ends.
        const IS_RAW: bool = false;

        fn source(&self) -> Source<'_>;
    }
}

pub(super) use sealed::Source;

impl Source<'_> {
    pub(super) fn map<P: Platform, L: Locks>(
        &self,
        mapper: &Mapper<P, L>,
        facts: &Facts<P::Device>,
        direction: Direction,
    ) -> Result<Mapping<P>, Error> {
        match *self {
            Self::Memory(memory, writable) if writable || !direction.device_writes() => {
                mapper.map_memory(facts, memory, direction, Attrs::empty())
            }
            // Only `map_raw` maps a run, because only its callers know that they must keep the memory.
            Self::Memory(..) | Self::Run(_) | Self::Freed => Err(Error::Invalid),
        }
    }

    pub(super) fn view<P: Platform, L: Locks>(
        &self,
        mapper: &Mapper<P, L>,
    ) -> Result<Vmap<P>, Error> {
        match *self {
            Self::Run(run) if run.kind == SegmentKind::Pages => {
                mapper.vmap_segments(&[run], Caching::Cached)
            }
            Self::Run(_) => Err(Error::Unsupported),
            Self::Memory(memory, _) => mapper.vmap_memory(memory),
            Self::Freed => Err(Error::Invalid),
        }
    }
}

/// Memory that [`DmaDevice::map`](super::DmaDevice::map) takes: `&Alloc`, `&Table`, [`OwnedMemory`] and
/// `&OwnedMemory`.
pub trait Mappable<P: Platform>: sealed::Sealed<P> {}

impl<P: Platform, M: sealed::Sealed<P>> Mappable<P> for M {}

/// A run of memory that the caller of [`map_raw`](super::DmaDevice::map_raw) keeps allocated.
#[derive(Clone, Copy, Debug)]
pub struct Raw(pub(super) Segment);

impl<P: Platform> sealed::Sealed<P> for Raw {
    const IS_RAW: bool = true;

    #[inline]
    fn source(&self) -> Source<'_> {
        Source::Run(self.0)
    }
}

impl<P: Platform> sealed::Sealed<P> for &Alloc<P> {
    fn source(&self) -> Source<'_> {
        Source::Memory(&self.memory, true)
    }
}

impl<P: Platform> sealed::Sealed<P> for &Table<P> {
    fn source(&self) -> Source<'_> {
        Source::Memory(&self.memory, self.is_writable())
    }
}

/// Memory that a mapper allocated or pinned. Dropping this value frees or unpins the memory.
///
/// # Examples
/// ```
/// use vb3_dma_test::fake::Setup;
/// use vb3_dma::mapped::{FromDevice, ToDevice};
///
/// let dma = Setup { devices: 2, ..Setup::direct() }.mapper();
/// let (camera, display) = (dma.device(0)?, dma.device(1)?);
/// let memory = camera.alloc(4096)?;
/// camera.map(&memory, FromDevice)?.unmap()?;
/// // A mapping can own its memory, and gives it back.
/// let memory = display.map(memory, ToDevice)?.unmap()?;
/// assert_eq!(memory.len_bytes(), 4096);
/// drop(memory);
/// assert!(dma.live().is_empty());
/// # Ok::<(), vb3_dma::Error>(())
/// ```
#[must_use = "is freed when it is dropped"]
pub struct OwnedMemory<H: MapperRef> {
    host: H,
    kind: Kind<H::Platform>,
}

enum Kind<P: Platform> {
    Allocated(Alloc<P>),
    /// Memory of a program.
    Pinned(Table<P>),
    /// No memory; only during the drop.
    Freed,
}

impl<H: MapperRef> fmt::Debug for OwnedMemory<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedMemory")
            .field("len", &self.len_bytes())
            .finish_non_exhaustive()
    }
}

impl<H: MapperRef> Drop for OwnedMemory<H> {
    fn drop(&mut self) {
        let mapper = self.host.mapper();
        match core::mem::replace(&mut self.kind, Kind::Freed) {
            Kind::Allocated(alloc) => mapper.free(alloc),
            Kind::Pinned(table) => {
                let wrote = table.is_writable();
                mapper.free_table(table, wrote);
            }
            Kind::Freed => {}
        }
    }
}

impl<H: MapperRef> OwnedMemory<H> {
    pub(super) const fn allocated(host: H, alloc: Alloc<H::Platform>) -> Self {
        let kind = Kind::Allocated(alloc);
        Self { host, kind }
    }

    pub(super) const fn pinned(host: H, table: Table<H::Platform>) -> Self {
        let kind = Kind::Pinned(table);
        Self { host, kind }
    }

    fn memory(&self) -> Option<&Memory> {
        match &self.kind {
            Kind::Allocated(alloc) => Some(&alloc.memory),
            Kind::Pinned(table) => Some(&table.memory),
            Kind::Freed => None,
        }
    }

    /// Returns the length in bytes. Allocated memory consists of whole pages.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.len)
    }

    /// Returns the physical runs, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.memory().map_or(&[], |memory| &memory.segments)
    }

    /// Returns the allocation; `None` for pinned memory.
    pub(super) fn as_alloc(&self) -> Option<&Alloc<H::Platform>> {
        match &self.kind {
            Kind::Allocated(alloc) => Some(alloc),
            Kind::Pinned(..) | Kind::Freed => None,
        }
    }
}

impl<H: MapperRef> sealed::Sealed<H::Platform> for OwnedMemory<H> {
    fn source(&self) -> Source<'_> {
        match &self.kind {
            Kind::Allocated(alloc) => Source::Memory(&alloc.memory, true),
            Kind::Pinned(table) => Source::Memory(&table.memory, table.is_writable()),
            Kind::Freed => Source::Freed,
        }
    }
}

impl<H: MapperRef> sealed::Sealed<H::Platform> for &OwnedMemory<H> {
    fn source(&self) -> Source<'_> {
        sealed::Sealed::source(*self)
    }
}
