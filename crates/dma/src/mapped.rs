//! Mappings whose types state the direction of transfer and the memory's owner. They unmap when
//! dropped.
//!
//! They use the plain calls of [`Mapper`]. Hosts that track their mappings themselves can call
//! those directly.
//!
//! # Examples
//! ```
//! use vb3_dma::DmaOps;
//! use vb3_dma::fake::Setup;
//! use vb3_dma::mapped::FromDevice;
//!
//! let dma = Setup::direct().non_coherent().mapper();
//! let camera = dma.device(0)?;
//! let memory = dma.alloc_virtual(4096)?;
//! let frame = camera.map(&memory, FromDevice)?;
//! dma.platform().dev_write(frame.addr(), b"a frame");
//! let frame = frame.into_cpu().map_err(|refused| refused.error)?;
//! let mut seen = [0; 7];
//! frame.view()?.read(0, &mut seen)?;
//! assert_eq!(&seen, b"a frame");
//! drop(frame);
//! dma.free(memory);
//! assert!(dma.live().is_empty());
//! # Ok::<(), vb3_dma::Error>(())
//! ```
//! While the CPU owns the memory, the mapping has no address for the device:
//! ```compile_fail,E0599
//! # use vb3_dma::fake::{Setup, ram};
//! # use vb3_dma::mapped::FromDevice;
//! # let dma = Setup::direct().mapper();
//! let frame = dma.device(0).unwrap().map_raw(ram(0, 4096), FromDevice).unwrap();
//! let frame = frame.into_cpu().ok().unwrap();
//! frame.addr();
//! ```
//! While the device owns the memory, the CPU has no view:
//! ```compile_fail,E0599
//! # use vb3_dma::fake::{Setup, ram};
//! # use vb3_dma::mapped::FromDevice;
//! # let dma = Setup::direct().mapper();
//! let frame = dma.device(0).unwrap().map_raw(ram(0, 4096), FromDevice).unwrap();
//! frame.view();
//! ```
//! The CPU cannot read back memory that the device only reads:
//! ```compile_fail,E0277
//! # use vb3_dma::fake::{Setup, ram};
//! # use vb3_dma::mapped::ToDevice;
//! # let dma = Setup::direct().mapper();
//! let frame = dma.device(0).unwrap().map_raw(ram(0, 4096), ToDevice).unwrap();
//! let frame = frame.into_cpu().ok().unwrap();
//! frame.view().unwrap().read(0, &mut [0; 4]);
//! ```
//! Memory is not freed while it is mapped:
//! ```compile_fail,E0505
//! # use vb3_dma::{DmaOps, fake::Setup};
//! # use vb3_dma::mapped::ToDevice;
//! # let dma = Setup::direct().mapper();
//! let memory = dma.alloc_virtual(4096).unwrap();
//! let frame = dma.device(0).unwrap().map(&memory, ToDevice).unwrap();
//! dma.free(memory);
//! drop(frame);
//! ```
//! A mapping does not outlive its mapper:
//! ```compile_fail,E0505
//! # use vb3_dma::fake::{Setup, ram};
//! # use vb3_dma::mapped::ToDevice;
//! let dma = Setup::direct().mapper();
//! let frame = dma.device(0).unwrap().map_raw(ram(0, 4096), ToDevice).unwrap();
//! drop(dma);
//! drop(frame);
//! ```

#![expect(
    clippy::result_large_err,
    reason = "the error returns the mapping; allocating a Box for it could fail"
)]

mod coherent;

pub use coherent::{Coherent, CoherentBlock, CoherentPool};

use crate::mapper::{At, Facts};
use crate::{
    Alloc, Attrs, Caching, Direction, DmaAddr, DmaOps, DmaSegment, Error, Locks, Mapper, Mapping,
    NoLocks, Platform, Segment, SegmentKind, SyncFor, Table, Vmap,
};
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU8;

mod sealed {
    pub trait Sealed {}
}

/// A direction of transfer, as a type.
pub trait MapDirection: sealed::Sealed {
    /// The direction.
    const DIRECTION: Direction;
}

/// A direction with data from the CPU to the device.
pub trait CpuWrites: MapDirection {}

/// A direction with data from the device to the CPU.
pub trait CpuReads: MapDirection {}

/// The device reads what the CPU wrote.
#[derive(Clone, Copy, Debug)]
pub struct ToDevice;
/// The CPU reads what the device wrote.
#[derive(Clone, Copy, Debug)]
pub struct FromDevice;
/// CPU and device both read what the other wrote.
#[derive(Clone, Copy, Debug)]
pub struct Bidirectional;

impl sealed::Sealed for ToDevice {}
impl sealed::Sealed for FromDevice {}
impl sealed::Sealed for Bidirectional {}

impl MapDirection for ToDevice {
    const DIRECTION: Direction = Direction::ToDevice;
}
impl MapDirection for FromDevice {
    const DIRECTION: Direction = Direction::FromDevice;
}
impl MapDirection for Bidirectional {
    const DIRECTION: Direction = Direction::Bidirectional;
}
impl CpuWrites for ToDevice {}
impl CpuWrites for Bidirectional {}
impl CpuReads for FromDevice {}
impl CpuReads for Bidirectional {}

/// Owner of mapped memory: [`Cpu`] or [`Device`].
pub trait Owner: sealed::Sealed {
    /// Attributes for unmapping.
    const UNMAP: Attrs;
}

/// The CPU owns the memory.
#[derive(Clone, Copy, Debug)]
pub struct Cpu;
/// The device owns the memory.
#[derive(Clone, Copy, Debug)]
pub struct Device;

impl sealed::Sealed for Cpu {}
impl sealed::Sealed for Device {}

impl Owner for Cpu {
    // It was handed over already. A second copy would overwrite the CPU's later writes.
    const UNMAP: Attrs = Attrs::SKIP_CPU_SYNC;
}
impl Owner for Device {
    const UNMAP: Attrs = Attrs::empty();
}

/// A driver's handle of one device of a mapper.
///
/// It is `Send` and `Sync` if the mapper is `Sync`. After the device was
/// [removed](Mapper::remove_device) its calls fail with [`Error::Removed`].
pub struct DmaDevice<'m, P: Platform, L: Locks = NoLocks> {
    mapper: &'m Mapper<P, L>,
    at: At<P::Device>,
    facts: Facts,
}

impl<P: Platform, L: Locks> Clone for DmaDevice<'_, P, L> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform, L: Locks> Copy for DmaDevice<'_, P, L> {}

impl<P: Platform, L: Locks> fmt::Debug for DmaDevice<'_, P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DmaDevice").field(&self.at.dev).finish()
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Returns a handle of `dev`. It caches the host's description of the device, so that mapping
    /// need not query it. A driver that changes the device's limits must get a new handle.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a nonexistent device; `Busy` (EBUSY) if the mapper has no room for
    /// it.
    pub fn device(&self, dev: P::Device) -> Result<DmaDevice<'_, P, L>, Error> {
        Ok(DmaDevice {
            mapper: self,
            at: self.at(dev)?,
            facts: self.facts(dev)?,
        })
    }
}

impl<'m, P: Platform, L: Locks> DmaDevice<'m, P, L> {
    /// Returns the host's identifier of the device.
    #[must_use]
    pub fn id(&self) -> P::Device {
        self.at.dev
    }

    /// Returns the mapper.
    #[must_use]
    pub fn mapper(&self) -> &'m Mapper<P, L> {
        self.mapper
    }

    /// Maps an allocation and hands it to the device. The allocation must outlive the mapping.
    ///
    /// # Errors
    /// As [`Mapper::map`](crate::DmaOps::map); `Removed` (ENODEV).
    ///
    /// # Context
    /// May sleep if the platform's `iommu_map` does.
    pub fn map<'a, D: MapDirection>(
        &self,
        memory: &'a Alloc<P>,
        direction: D,
    ) -> Result<Mapped<'a, P, L, D, Device>, Error>
    where
        'm: 'a,
    {
        let _ = direction;
        let mapping =
            self.mapper
                .map_alloc((self.at, &self.facts), memory, D::DIRECTION, Attrs::empty())?;
        Ok(Mapped::new(self.mapper, Memory::Alloc(memory), mapping))
    }

    /// Maps one run of physically contiguous, cached memory and hands it to the device. Does not
    /// allocate if the device accepts the run of pages directly; only the address space may
    /// allocate, to track live ranges.
    ///
    /// **Dangerous**: nothing keeps the memory allocated. The device reaches these physical
    /// addresses, and the caller guarantees that they stay the same memory until the mapping ends.
    /// [`map`](Self::map) and [`map_table`](Self::map_table) borrow the memory instead. The end of
    /// this mapping always flushes, with any policy.
    ///
    /// # Errors
    /// As [`Mapper::map`](crate::DmaOps::map); `Invalid` for an empty run or one that wraps;
    /// `Removed` (ENODEV).
    ///
    /// # Context
    /// May sleep if the platform's `iommu_map` does.
    ///
    /// Source: Linux `dma_map_single`.
    pub fn map_raw<D: MapDirection>(
        &self,
        memory: Segment,
        direction: D,
    ) -> Result<Mapped<'m, P, L, D, Device>, Error> {
        let _ = direction;
        let last = memory.len.checked_sub(1).ok_or(Error::Invalid)?;
        memory.addr.checked_add(last).ok_or(Error::Invalid)?;
        let runs = (&[memory][..], 1);
        let mapping = self.mapper.map_segments(
            (self.at, &self.facts),
            runs,
            Caching::Cached,
            D::DIRECTION,
            Attrs::empty(),
        )?;
        Ok(Mapped::new(self.mapper, Memory::Raw(memory), mapping))
    }

    /// Maps a table and hands it to the device. The table must outlive the mapping.
    ///
    /// # Errors
    /// As [`Mapper::map`](crate::DmaOps::map); `Removed` (ENODEV).
    pub fn map_table<'t, D: MapDirection>(
        &self,
        table: &'t Table<P>,
        direction: D,
        attrs: Attrs,
    ) -> Result<Mapped<'t, P, L, D, Device>, Error>
    where
        'm: 't,
    {
        let _ = direction;
        let mapping = self
            .mapper
            .map_for((self.at, &self.facts), table, D::DIRECTION, attrs)?;
        Ok(Mapped::new(self.mapper, Memory::Table(table), mapping))
    }
}

/// The mapped memory.
enum Memory<'m, P: Platform> {
    /// Memory that only the caller knows.
    Raw(Segment),
    Alloc(&'m Alloc<P>),
    Table(&'m Table<P>),
}

impl<P: Platform> Clone for Memory<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform> Copy for Memory<'_, P> {}

/// Mapped memory: `D` is the direction of transfer, `O` the owner. Unmaps when it is dropped.
///
/// It is `Send` and `Sync` if the mapper is `Sync` and the platform's devices are.
#[must_use = "unmaps when it is dropped"]
pub struct Mapped<'m, P: Platform, L: Locks, D: MapDirection, O: Owner> {
    mapper: &'m Mapper<P, L>,
    memory: Memory<'m, P>,
    /// `None` only while it is dropped or changes its owner.
    mapping: Option<Mapping<P>>,
    kind: PhantomData<fn() -> (D, O)>,
}

/// A failed hand-over. The owner has not changed.
#[derive(Debug)]
pub struct NotHandedOver<M> {
    /// The error.
    pub error: Error,
    /// The unchanged mapping.
    pub mapping: M,
}

impl<P: Platform, L: Locks, D: MapDirection, O: Owner> fmt::Debug for Mapped<'_, P, L, D, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("device", &self.mapping.as_ref().map(Mapping::device))
            .field("direction", &D::DIRECTION)
            .field("segments", &self.runs())
            .finish_non_exhaustive()
    }
}

impl<P: Platform, L: Locks, D: MapDirection, O: Owner> Drop for Mapped<'_, P, L, D, O> {
    fn drop(&mut self) {
        // On failure, the layer quarantines the memory and counts it.
        let _ = self.end();
    }
}

impl<'m, P: Platform, L: Locks, D: MapDirection, O: Owner> Mapped<'m, P, L, D, O> {
    fn new(mapper: &'m Mapper<P, L>, memory: Memory<'m, P>, mapping: Mapping<P>) -> Self {
        Self {
            mapper,
            memory,
            mapping: Some(mapping),
            kind: PhantomData,
        }
    }

    fn runs(&self) -> &[DmaSegment] {
        self.mapping.as_ref().map_or(&[], Mapping::segments)
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(mapping) = self.mapping.take() else {
            return Ok(());
        };
        // The caller may reuse it at once. Other memory is flushed when it is freed.
        let now = matches!(self.memory, Memory::Raw(_));
        self.mapper.end_mapping(&mapping, O::UNMAP, now)
    }

    /// Unmaps, and returns an error if the device may still reach the memory.
    ///
    /// # Errors
    /// As [`Mapper::try_unmap`]: the device may still reach the memory.
    pub fn unmap(mut self) -> Result<(), Error> {
        self.end()
    }

    /// Hands the memory over to owner `T`.
    fn hand_over<T: Owner>(
        mut self,
        sync: SyncFor,
    ) -> Result<Mapped<'m, P, L, D, T>, NotHandedOver<Self>> {
        let done = match &self.mapping {
            Some(mapping) => self.mapper.try_sync(mapping, D::DIRECTION, sync),
            None => Err(Error::Invalid),
        };
        match (done, self.mapping.take()) {
            (Ok(_), Some(mapping)) => Ok(Mapped::new(self.mapper, self.memory, mapping)),
            (done, mapping) => {
                self.mapping = mapping;
                let error = done.err().unwrap_or(Error::Invalid);
                let mapping = self;
                Err(NotHandedOver { error, mapping })
            }
        }
    }
}

impl<'m, P: Platform, L: Locks, D: MapDirection> Mapped<'m, P, L, D, Device> {
    /// Returns the first address that the device sees.
    #[must_use]
    pub fn addr(&self) -> DmaAddr {
        self.runs().first().map_or(DmaAddr::new(0), |run| run.addr)
    }

    /// Returns the runs that the device sees, in order.
    #[must_use]
    pub fn segments(&self) -> &[DmaSegment] {
        self.runs()
    }

    /// Hands the memory to the CPU, which then sees the device's bytes.
    ///
    /// # Errors
    /// [`NotHandedOver`] returns the mapping and the error (`NoSuchMemory`, ENXIO) if a bounced copy
    /// could not be made.
    ///
    /// # Context
    /// Does not sleep.
    pub fn into_cpu(self) -> Result<Mapped<'m, P, L, D, Cpu>, NotHandedOver<Self>> {
        self.hand_over(SyncFor::Cpu)
    }
}

impl<'m, P: Platform, L: Locks, D: MapDirection> Mapped<'m, P, L, D, Cpu> {
    /// Hands the memory to the device, which then sees the CPU's bytes.
    ///
    /// # Errors
    /// [`NotHandedOver`] returns the mapping and the error (`NoSuchMemory`, ENXIO) if a bounced copy
    /// could not be made.
    ///
    /// # Context
    /// Does not sleep.
    pub fn into_device(self) -> Result<Mapped<'m, P, L, D, Device>, NotHandedOver<Self>> {
        self.hand_over(SyncFor::Device)
    }

    /// Returns the CPU's view of the memory.
    ///
    /// # Errors
    /// As the platform's `vmap`; `Unsupported` (EOPNOTSUPP) for a raw run without pages.
    ///
    /// # Context
    /// May sleep.
    pub fn view(&self) -> Result<CpuView<'_, P, L, D>, Error> {
        let mapper = self.mapper;
        let vmap = match self.memory {
            Memory::Raw(memory) if memory.kind == SegmentKind::Pages => {
                mapper.vmap_segments(&[memory], Caching::Cached)?
            }
            Memory::Raw(_) => return Err(Error::Unsupported),
            Memory::Alloc(alloc) => mapper.vmap_alloc(alloc)?,
            Memory::Table(table) => mapper.vmap_table(table)?,
        };
        Ok(CpuView {
            mapper,
            vmap: Some(vmap),
            kind: PhantomData,
        })
    }
}

/// The CPU's view of mapped memory that the CPU owns. Dropping it unmaps the view.
pub struct CpuView<'a, P: Platform, L: Locks, D: MapDirection> {
    mapper: &'a Mapper<P, L>,
    vmap: Option<Vmap<P>>,
    kind: PhantomData<fn() -> D>,
}

impl<P: Platform, L: Locks, D: MapDirection> fmt::Debug for CpuView<'_, P, L, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuView").finish_non_exhaustive()
    }
}

impl<P: Platform, L: Locks, D: MapDirection> Drop for CpuView<'_, P, L, D> {
    fn drop(&mut self) {
        if let Some(vmap) = self.vmap.take() {
            self.mapper.vunmap(vmap);
        }
    }
}

impl<P: Platform, L: Locks, D: MapDirection> CpuView<'_, P, L, D> {
    /// Returns the bytes in place, if the host can. They are atomic because programs that have
    /// mapped the memory may write them at any time.
    #[must_use]
    pub fn bytes(&self) -> Option<&[AtomicU8]> {
        self.mapper
            .platform()
            .vmap_bytes(self.vmap.as_ref()?.host())
    }

    /// Copies the device's bytes, starting at byte `offset`.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) outside the memory; `Unsupported`.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error>
    where
        D: CpuReads,
    {
        let vmap = self.vmap.as_ref().ok_or(Error::Invalid)?;
        self.mapper.vmap_read(vmap, offset, out)
    }

    /// Copies bytes into the memory for the device, starting at byte `offset`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error>
    where
        D: CpuWrites,
    {
        let vmap = self.vmap.as_ref().ok_or(Error::Invalid)?;
        self.mapper.vmap_write(vmap, offset, data)
    }
}
