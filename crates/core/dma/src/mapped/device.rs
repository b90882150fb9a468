//! A driver's handle of a device. The handle, and the guards that its calls return, refer to the mapper.

use super::MapDirection;
use super::guard::Mapped;
use super::memory::{Held, InRuns, Mappable, OwnedMemory, Raw};
use crate::mapper::{Facts, Wanted};
use crate::{Attrs, Caching, DmaOps as _, Error, Locks, Mapper, Platform, Segment};
use alloc::sync::Arc;
use core::fmt;

/// Reference to a mapper that each guard keeps: `&Mapper`, or `Arc<Mapper>` in a driver's own structures.
///
/// A host with its own reference-counted pointers implements this trait for them. Each clone must refer to
/// the same mapper. A mapper refuses guards that another mapper made, and does not release their resources.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use vb3_dma_test::fake::{Fake, Mutexes, Setup};
/// use vb3_dma::mapped::{Coherent, CpuOwned, DmaDevice, FromDevice, OwnedMemory};
/// use vb3_dma::{Error, Mapper};
///
/// type Host = Arc<Mapper<Fake, Mutexes>>;
///
/// struct Camera {
///     ring: Coherent<Host>,
///     frame: CpuOwned<Host, OwnedMemory<Host>, FromDevice>,
/// }
///
/// let host: Host = Arc::new(Mapper::with_locks(Fake::new(Setup::direct()), 1)?);
/// let device = DmaDevice::new(Arc::clone(&host), 0)?;
/// let frame = device.map(device.alloc(4096)?, FromDevice)?;
/// let camera = Camera { ring: device.alloc_coherent(256)?, frame: frame.into_cpu()? };
/// std::thread::scope(|scope| scope.spawn(|| camera.ring.write(0, b"start")).join()).unwrap()?;
/// drop(camera);
/// assert!(host.live().is_empty());
/// # Ok::<(), Error>(())
/// ```
pub trait MapperRef: Clone {
    /// The host below the mapper.
    type Platform: Platform;
    /// The host's locks.
    type Locks: Locks;

    /// Returns the mapper that this value refers to.
    fn mapper(&self) -> &Mapper<Self::Platform, Self::Locks>;
}

impl<P: Platform, L: Locks> MapperRef for &Mapper<P, L> {
    type Platform = P;
    type Locks = L;

    #[inline]
    fn mapper(&self) -> &Mapper<P, L> {
        self
    }
}

impl<P: Platform, L: Locks> MapperRef for Arc<Mapper<P, L>> {
    type Platform = P;
    type Locks = L;

    #[inline]
    fn mapper(&self) -> &Mapper<P, L> {
        self
    }
}

/// The host's identifier of a device.
pub(super) type DeviceOf<H> = <<H as MapperRef>::Platform as crate::Platform>::Device;

/// The mapper that a reference refers to.
pub(super) type MapperOf<H> = Mapper<<H as MapperRef>::Platform, <H as MapperRef>::Locks>;

/// A driver's handle of one device of a mapper.
///
/// It is `Send` and `Sync` if the reference to the mapper is. After the device was
/// [removed](Mapper::remove_device), the handle's calls fail with [`Error::Removed`].
#[derive(Clone, Copy)]
pub struct DmaDevice<H: MapperRef> {
    pub(super) host: H,
    pub(super) facts: Facts<DeviceOf<H>>,
}

impl<H: MapperRef> fmt::Debug for DmaDevice<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DmaDevice")
            .field(&self.facts.at.dev)
            .finish()
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Returns a handle of `dev` that borrows this mapper.
    ///
    /// # Errors
    /// As [`DmaDevice::new`].
    pub fn device(&self, dev: P::Device) -> Result<DmaDevice<&Self>, Error> {
        DmaDevice::new(self, dev)
    }
}

impl<H: MapperRef> DmaDevice<H> {
    /// Returns a handle of `dev`. The handle caches the host's description of the device, so that mapping
    /// need not query the host. A driver that changes the device's limits must get a new handle.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a nonexistent device; `Busy` (EBUSY) if the mapper has no room for it.
    pub fn new(host: H, dev: DeviceOf<H>) -> Result<Self, Error> {
        let facts = host.mapper().facts(dev)?;
        Ok(Self { host, facts })
    }

    /// Returns the host's identifier of the device.
    #[must_use]
    pub fn id(&self) -> DeviceOf<H> {
        self.facts.at.dev
    }

    /// Returns the mapper that manages the device.
    #[must_use]
    pub fn mapper(&self) -> &MapperOf<H> {
        self.host.mapper()
    }

    /// Maps memory as one run of the device's addresses, and hands it to the device. The memory is an
    /// [`OwnedMemory`], borrowed or owned, or a borrowed [`Memory`](crate::Memory).
    ///
    /// # Errors
    /// As [`Mapper::map`](crate::DmaOps::map); `Removed` (ENODEV); `Unmappable` (EIO) with `Contiguous` for memory
    /// that the device would see in several runs ([`map_runs`](Self::map_runs) maps it); `Invalid` (EINVAL) if the
    /// device writes, and the memory was pinned for reading. An error frees owned memory.
    ///
    /// # Context
    /// May sleep if the platform's `iommu_map` does.
    #[inline]
    pub fn map<M, D>(&self, memory: M, _direction: D) -> Result<Mapped<H, M, D>, Error>
    where
        M: Mappable<H::Platform>,
        D: MapDirection,
    {
        self.map_any(memory)
    }

    /// Maps memory for a device that takes a list of segments ([`Mapped::segments`]), and hands it to the device.
    ///
    /// # Errors
    /// As [`map`](Self::map), but the memory may have any number of runs.
    ///
    /// # Context
    /// As [`map`](Self::map).
    pub fn map_runs<M, D>(&self, memory: M, _direction: D) -> Result<Mapped<H, InRuns<M>, D>, Error>
    where
        M: Mappable<H::Platform>,
        D: MapDirection,
    {
        self.map_any(InRuns(memory))
    }

    fn map_any<M, D>(&self, memory: M) -> Result<Mapped<H, M, D>, Error>
    where
        M: Held<H::Platform>,
        D: MapDirection,
    {
        let (mapper, facts) = (self.mapper(), &self.facts);
        let mapping = memory.source().map(mapper, facts, D::DIRECTION, M::ATTRS)?;
        Ok(Mapped::new(self.host.clone(), memory, mapping))
    }

    /// Maps one run of physically contiguous, cached memory and hands it to the device. If the device accepts
    /// the run unchanged, this allocates heap memory only for the record of live I/O addresses.
    ///
    /// **Dangerous**: nothing keeps the memory allocated. The device reaches these physical addresses until
    /// the mapping ends, and the caller guarantees that the memory there is not reused before that. Because the caller
    /// may reuse it afterwards, the end of this mapping always flushes.
    ///
    /// # Errors
    /// As [`Mapper::map`](crate::DmaOps::map); `Invalid` for an empty run or one that wraps;
    /// `Removed` (ENODEV); `StillReachable` (EIO) if the device may still reach the memory, as after a failed
    /// [`unmap`](Mapped::unmap). [`Mapper::stuck_memory`] lists such memory, also if the guard was dropped. After any
    /// other error, the device does not reach the memory.
    ///
    /// # Context
    /// May sleep if the platform's `iommu_map` does.
    ///
    /// Source: Linux `dma_map_single`.
    #[inline]
    pub fn map_raw<D: MapDirection>(
        &self,
        memory: Segment,
        _direction: D,
    ) -> Result<Mapped<H, Raw, D>, Error> {
        let last = memory.len.checked_sub(1).ok_or(Error::Invalid)?;
        memory.addr.checked_add(last).ok_or(Error::Invalid)?;
        let wanted = Wanted::new(Caching::Cached, D::DIRECTION, Attrs::ONE_RUN);
        match self.mapper().map_run(&self.facts, (&memory, 1), wanted) {
            Ok(mapping) => Ok(Mapped::new(self.host.clone(), Raw(memory), mapping)),
            Err(err) => {
                if let Error::StillReachable(_) = err {
                    self.mapper().keep_lent(&[memory], &self.facts);
                }
                Err(err)
            }
        }
    }

    /// Allocates zeroed, cached memory that the device reaches without bouncing.
    ///
    /// The call does not map the memory. [`map`](Self::map) can map it as one run of the device's addresses. The memory
    /// consists of whole pages of the CPU and of the device's IOMMU.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM); `Removed` (ENODEV).
    ///
    /// # Context
    /// May sleep.
    pub fn alloc(&self, len_bytes: u64) -> Result<OwnedMemory<H>, Error> {
        self.alloc_as(len_bytes, self.facts.needs_contiguous())
    }

    /// Allocates as [`alloc`](Self::alloc), but the memory may be scattered, for [`map_runs`](Self::map_runs).
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc).
    ///
    /// # Context
    /// May sleep.
    pub fn alloc_runs(&self, len_bytes: u64) -> Result<OwnedMemory<H>, Error> {
        self.alloc_as(len_bytes, false)
    }

    fn alloc_as(&self, len_bytes: u64, contiguous: bool) -> Result<OwnedMemory<H>, Error> {
        self.mapper().check_present(self.facts.at)?;
        let memory = self
            .mapper()
            .alloc_reached(&self.facts, len_bytes, contiguous)?;
        Ok(OwnedMemory::new(self.host.clone(), memory))
    }

    /// Pins `len_bytes` of a program's memory at `addr`.
    ///
    /// # Errors
    /// As [`DmaOps::pin_user`](crate::DmaOps::pin_user).
    ///
    /// # Context
    /// May sleep.
    pub fn pin<D: MapDirection>(
        &self,
        user: &<H::Platform as crate::Platform>::User,
        addr: u64,
        len_bytes: u64,
        _direction: D,
    ) -> Result<OwnedMemory<H>, Error> {
        let mapper = self.mapper();
        let memory = mapper.pin_user(user, addr, len_bytes, D::DIRECTION)?;
        Ok(OwnedMemory::new(self.host.clone(), memory))
    }
}
