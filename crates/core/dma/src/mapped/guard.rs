//! Mapped memory with its direction and owner.

use super::MapDirection;
use super::device::{MapperOf, MapperRef};
use super::memory::{Held, Mappable};
use crate::{Attrs, DmaAddr, DmaOps, DmaSegment, Error, Mapping, Platform, SyncFor, Vmap};
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::sync::atomic::AtomicU8;

/// Mapped memory whose bytes the device owns: `M` is the memory, owned or borrowed, `D` the direction of transfer.
/// Dropping the guard unmaps, and then drops the memory.
///
/// It is `Send` and `Sync` if the reference to the mapper, the memory and the platform's devices
/// are.
#[must_use = "memory is unmapped when its `Mapped` is dropped"]
pub struct Mapped<H: MapperRef, M: Held<H::Platform>, D: MapDirection> {
    host: H,
    /// `None` only during `unmap` or a hand-over.
    held: Option<(M, Mapping<H::Platform>)>,
    kind: PhantomData<fn() -> D>,
}

/// Mapped memory whose bytes the CPU owns until [`into_device`](Self::into_device). Otherwise as [`Mapped`].
#[must_use = "memory is unmapped when its `CpuOwned` is dropped"]
pub struct CpuOwned<H: MapperRef, M: Held<H::Platform>, D: MapDirection>(Mapped<H, M, D>);

/// A failed hand-over between CPU and device. The memory's owner has not changed.
#[derive(Debug)]
pub struct NotHandedOver<M> {
    /// The error.
    pub error: Error,
    /// The unchanged mapping.
    pub mapping: M,
}

impl<M> fmt::Display for NotHandedOver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "memory not handed over: {}", self.error)
    }
}

impl<M: fmt::Debug> core::error::Error for NotHandedOver<M> {}

/// Drops the mapping, which unmaps the memory.
impl<M> From<NotHandedOver<M>> for Error {
    fn from(refused: NotHandedOver<M>) -> Self {
        refused.error
    }
}

impl<H: MapperRef, M: Held<H::Platform>, D: MapDirection> fmt::Debug for Mapped<H, M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.held.as_ref().map(|(_, mapping)| mapping.device());
        f.debug_struct("Mapped")
            .field("device", &device)
            .field("direction", &D::DIRECTION)
            .field("segments", &self.runs())
            .finish_non_exhaustive()
    }
}

impl<H: MapperRef, M: Held<H::Platform>, D: MapDirection> Drop for Mapped<H, M, D> {
    #[inline]
    fn drop(&mut self) {
        let mapper = self.host.mapper();
        let is_plain = self.held.as_ref().is_some_and(|(_, mapping)| {
            mapper.check_own(mapping.owner()).is_ok() && mapper.end_plain(mapping)
        });
        // The memory is dropped last.
        if let Some((_memory, mapping)) = self.held.take() {
            // Without heap memory, the mapping is neither moved nor dropped, which would cost as much as its end.
            let mapping = ManuallyDrop::new(mapping);
            if !is_plain {
                // On failure, the layer quarantines the memory and counts it.
                let _ = self.end(ManuallyDrop::into_inner(mapping), Attrs::empty());
            }
        }
    }
}

impl<H: MapperRef, M: Held<H::Platform>, D: MapDirection> Mapped<H, M, D> {
    #[inline]
    pub(super) const fn new(host: H, memory: M, mapping: Mapping<H::Platform>) -> Self {
        Self {
            host,
            held: Some((memory, mapping)),
            kind: PhantomData,
        }
    }

    #[inline]
    fn runs(&self) -> &[DmaSegment] {
        self.held
            .as_ref()
            .map_or(&[], |(_, mapping)| mapping.segments())
    }

    #[inline]
    fn end(&self, mapping: Mapping<H::Platform>, attrs: Attrs) -> Result<(), Error> {
        // After `map_raw`, the caller may reuse the memory at once, so this must flush. Other memory is
        // flushed when it is freed.
        let now = M::IS_RAW;
        let mapper = self.host.mapper();
        mapper.check_own(mapping.owner())?;
        mapper.end_mapping(mapping, attrs, now)
    }

    /// Unmaps, and returns the memory.
    ///
    /// # Errors
    /// As [`DmaOps::try_unmap`](crate::DmaOps::try_unmap): the device may still reach the memory. Owned memory is then
    /// quarantined.
    pub fn unmap(mut self) -> Result<M, Error> {
        self.take(Attrs::empty())
    }

    /// Unmaps with these attributes, and returns the memory.
    fn take(&mut self, attrs: Attrs) -> Result<M, Error> {
        let (memory, mapping) = self.held.take().ok_or(Error::Invalid)?;
        self.end(mapping, attrs)?;
        Ok(memory)
    }

    /// Hands the bytes over to the device or the CPU.
    fn sync(&self, sync: SyncFor) -> Result<(), Error> {
        let mapper = self.host.mapper();
        let (_, mapping) = self.held.as_ref().ok_or(Error::Invalid)?;
        mapper.check_own(mapping.owner())?;
        mapper.try_sync(mapping, D::DIRECTION, sync).map(|_| ())
    }
}

impl<H: MapperRef, M: Mappable<H::Platform>, D: MapDirection> Mapped<H, M, D> {
    /// Returns the device's address of the first byte. The other bytes follow it, in one run.
    #[must_use]
    #[inline]
    pub fn addr(&self) -> DmaAddr {
        self.runs().first().map_or(DmaAddr::new(0), |run| run.addr)
    }
}

impl<H: MapperRef, M: Held<H::Platform>, D: MapDirection> Mapped<H, M, D> {
    /// Returns the runs that the device sees, in order.
    #[must_use]
    pub fn segments(&self) -> &[DmaSegment] {
        self.runs()
    }

    /// Hands the memory to the CPU, which then sees the device's bytes.
    ///
    /// # Errors
    /// [`NotHandedOver`] returns the mapping and the error of [`bounce_out`](crate::Platform::bounce_out) if a
    /// copy failed, such as `BadUserMemory` (EFAULT).
    ///
    /// # Context
    /// Does not sleep.
    pub fn into_cpu(self) -> Result<CpuOwned<H, M, D>, NotHandedOver<Self>> {
        match self.sync(SyncFor::Cpu) {
            Ok(()) => Ok(CpuOwned(self)),
            Err(error) => Err(NotHandedOver {
                error,
                mapping: self,
            }),
        }
    }
}

impl<H: MapperRef, M: Held<H::Platform>, D: MapDirection> fmt::Debug for CpuOwned<H, M, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CpuOwned").field(&self.0).finish()
    }
}

/// Attributes for unmapping memory that was handed to the CPU before. A second copy out of a bounce slot would overwrite
/// what the CPU has written since.
const UNMAP_FROM_CPU: Attrs = Attrs::SKIP_CPU_SYNC;

impl<H: MapperRef, M: Held<H::Platform>, D: MapDirection> Drop for CpuOwned<H, M, D> {
    fn drop(&mut self) {
        // After an `unmap` or a hand-over, nothing is left to unmap. On failure, the layer quarantines the memory.
        let _ = self.0.take(UNMAP_FROM_CPU);
    }
}

impl<H: MapperRef, M: Held<H::Platform>, D: MapDirection> CpuOwned<H, M, D> {
    /// Unmaps, and returns the memory.
    ///
    /// # Errors
    /// As [`Mapped::unmap`].
    pub fn unmap(mut self) -> Result<M, Error> {
        self.0.take(UNMAP_FROM_CPU)
    }

    /// Hands the memory to the device, which then sees the CPU's bytes.
    ///
    /// # Errors
    /// [`NotHandedOver`] returns the mapping and the error of [`bounce_in`](crate::Platform::bounce_in) if a
    /// copy failed, such as `BadUserMemory` (EFAULT).
    ///
    /// # Context
    /// Does not sleep.
    pub fn into_device(mut self) -> Result<Mapped<H, M, D>, NotHandedOver<Self>> {
        let done = self.0.sync(SyncFor::Device);
        match (done, self.0.held.take()) {
            (Ok(()), Some((memory, mapping))) => {
                Ok(Mapped::new(self.0.host.clone(), memory, mapping))
            }
            (done, held) => {
                self.0.held = held;
                let error = done.err().unwrap_or(Error::Invalid);
                let mapping = self;
                Err(NotHandedOver { error, mapping })
            }
        }
    }

    /// Returns the CPU's view of the memory.
    ///
    /// # Errors
    /// As the platform's `vmap`; `Unsupported` (EOPNOTSUPP) for a raw run without pages.
    ///
    /// # Context
    /// May sleep.
    pub fn view(&self) -> Result<CpuView<&MapperOf<H>, D>, Error> {
        let mapper = self.0.host.mapper();
        let (memory, _) = self.0.held.as_ref().ok_or(Error::Invalid)?;
        Ok(CpuView::new(mapper, memory.source().view(mapper)?))
    }
}

/// The CPU's view of mapped memory that the CPU owns. Dropping this value removes the view.
pub struct CpuView<H: MapperRef, D: MapDirection> {
    host: H,
    /// `None` only during the drop.
    vmap: Option<Vmap<H::Platform>>,
    kind: PhantomData<fn() -> D>,
}

impl<H: MapperRef, D: MapDirection> fmt::Debug for CpuView<H, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuView").finish_non_exhaustive()
    }
}

impl<H: MapperRef, D: MapDirection> Drop for CpuView<H, D> {
    fn drop(&mut self) {
        if let Some(vmap) = self.vmap.take() {
            self.host.mapper().vunmap(vmap);
        }
    }
}

impl<H: MapperRef, D: MapDirection> CpuView<H, D> {
    pub(super) const fn new(host: H, vmap: Vmap<H::Platform>) -> Self {
        Self {
            host,
            vmap: Some(vmap),
            kind: PhantomData,
        }
    }

    /// Returns the bytes without a copy, if the host supports that. They are atomic because programs that
    /// have mapped the memory may write them at any time.
    #[must_use]
    pub fn bytes(&self) -> Option<&[AtomicU8]> {
        let platform = self.host.mapper().platform();
        platform.vmap_bytes(self.vmap.as_ref()?.host())
    }

    /// Copies bytes out of the memory, starting at byte `offset`.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) outside the memory; `Unsupported`.
    /// It does not compile if the device only reads the memory.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        const {
            assert!(
                D::DIRECTION.device_writes(),
                "the CPU reads only what a device writes"
            )
        };
        let vmap = self.vmap.as_ref().ok_or(Error::Invalid)?;
        self.host.mapper().vmap_read(vmap, offset, out)
    }

    /// Copies bytes into the memory for the device, starting at byte `offset`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    /// It does not compile if the device only writes the memory.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        const {
            assert!(
                D::DIRECTION.device_reads(),
                "the CPU writes only what a device reads"
            )
        };
        let vmap = self.vmap.as_ref().ok_or(Error::Invalid)?;
        self.host.mapper().vmap_write(vmap, offset, data)
    }
}
