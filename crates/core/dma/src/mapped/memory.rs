//! Memory that a guard owns or borrows while the memory is mapped.

use super::device::MapperRef;
use crate::mapper::Facts;
use crate::{
    Attrs, Caching, Direction, DmaOps, Error, Locks, Mapper, Mapping, Memory, Platform, Segment,
    SegmentKind, Vmap,
};
use core::fmt;

mod sealed {
    use crate::mapper::Extent;
    use crate::{Attrs, Platform, Segment};

    /// Where the memory of a mapping is.
    #[derive(Debug)]
    #[expect(private_interfaces, reason = "only this crate names the type")]
    pub enum Source<'a> {
        Run(Segment),
        /// Memory, and whether a device may write to it.
        Memory(&'a Extent, bool),
        Freed,
    }

    /// Memory that a mapping holds until it ends: a type that implements [`Mappable`](super::Mappable), or
    /// [`InRuns`](super::InRuns) around a value of such a type.
    pub trait Held<P: Platform> {
        /// Whether the memory's owner may reuse it as soon as the mapping ends.
        const IS_RAW: bool = false;
        /// Attributes of the mapping.
        const ATTRS: Attrs = Attrs::ONE_RUN;

        fn source(&self) -> Source<'_>;
    }
}

pub(super) use sealed::{Held, Source};

impl Source<'_> {
    pub(super) fn map<P: Platform, L: Locks>(
        &self,
        mapper: &Mapper<P, L>,
        facts: &Facts<P::Device>,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Mapping<P>, Error> {
        match *self {
            Self::Memory(memory, writable) if writable || !direction.device_writes() => {
                mapper.map_memory(facts, memory, direction, attrs)
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

/// Memory that [`DmaDevice::map`](super::DmaDevice::map) takes: [`OwnedMemory`], `&OwnedMemory` and `&Memory`. After
/// `map`, the device sees it as one run of addresses.
pub trait Mappable<P: Platform>: Held<P> {}

impl<P: Platform> Mappable<P> for Raw {}
impl<P: Platform> Mappable<P> for &Memory<P> {}
impl<H: MapperRef> Mappable<H::Platform> for OwnedMemory<H> {}
impl<H: MapperRef> Mappable<H::Platform> for &OwnedMemory<H> {}

/// Memory that [`map_runs`](super::DmaDevice::map_runs) maps, and that a device may see as several runs of addresses.
#[derive(Debug)]
pub struct InRuns<M>(pub M);

impl<P: Platform, M: Mappable<P>> Held<P> for InRuns<M> {
    const IS_RAW: bool = M::IS_RAW;
    const ATTRS: Attrs = Attrs::empty();

    fn source(&self) -> Source<'_> {
        self.0.source()
    }
}

/// A run of memory that the caller of [`map_raw`](super::DmaDevice::map_raw) keeps allocated.
#[derive(Clone, Copy, Debug)]
pub struct Raw(pub(super) Segment);

impl<P: Platform> Held<P> for Raw {
    const IS_RAW: bool = true;

    #[inline]
    fn source(&self) -> Source<'_> {
        Source::Run(self.0)
    }
}

impl<P: Platform> Held<P> for &Memory<P> {
    fn source(&self) -> Source<'_> {
        Source::Memory(&self.extent, self.is_writable())
    }
}

/// Memory that a mapper allocated or pinned. The last handle, mapping or view of the memory frees or unpins it when it
/// is dropped. [`share`](Self::share) makes another handle, for a structure that maps the memory for several devices.
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
/// // Two mappings can own the same memory.
/// let shown = display.map(memory.share()?, ToDevice)?;
/// let filled = camera.map(memory, FromDevice)?;
/// drop((filled, shown));
/// assert!(dma.live().is_empty());
/// # Ok::<(), vb3_dma::Error>(())
/// ```
#[must_use = "memory is freed when its last handle is dropped"]
pub struct OwnedMemory<H: MapperRef> {
    host: H,
    /// `None` only during the drop.
    memory: Option<Memory<H::Platform>>,
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
        if let Some(memory) = self.memory.take() {
            self.host.mapper().free(memory);
        }
    }
}

impl<H: MapperRef> OwnedMemory<H> {
    pub(super) const fn new(host: H, memory: Memory<H::Platform>) -> Self {
        let memory = Some(memory);
        Self { host, memory }
    }

    /// Makes another handle of the memory.
    ///
    /// # Errors
    /// As [`Mapper::share`].
    pub fn share(&self) -> Result<Self, Error> {
        let memory = self.memory.as_ref().ok_or(Error::Invalid)?;
        let memory = self.host.mapper().share(memory)?;
        Ok(Self::new(self.host.clone(), memory))
    }

    /// Returns the length in bytes. Allocated memory consists of whole pages.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.memory.as_ref().map_or(0, Memory::len_bytes)
    }

    /// Returns the physical runs, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.memory.as_ref().map_or(&[], Memory::segments)
    }

    pub(super) fn platform(&self) -> &H::Platform {
        self.host.mapper().platform()
    }

    pub(super) const fn handle(&self) -> Option<&Memory<H::Platform>> {
        self.memory.as_ref()
    }
}

impl<H: MapperRef> Held<H::Platform> for OwnedMemory<H> {
    fn source(&self) -> Source<'_> {
        match &self.memory {
            Some(memory) => Source::Memory(&memory.extent, memory.is_writable()),
            None => Source::Freed,
        }
    }
}

impl<H: MapperRef> Held<H::Platform> for &OwnedMemory<H> {
    fn source(&self) -> Source<'_> {
        Held::source(*self)
    }
}
