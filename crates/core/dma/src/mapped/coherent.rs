//! Coherent memory for a device and the CPU, such as a descriptor ring.

use super::Bidirectional;
use super::device::{DmaDevice, MapperRef};
use super::guard::CpuView;
use super::memory::OwnedMemory;
use crate::error::check_within;
use crate::{Attrs, Direction, DmaAddr, DmaOps, Error, Segment};
use core::fmt;
use core::sync::atomic::AtomicU8;

/// Zeroed memory that a device and the CPU use without syncs. Dropping this value frees the memory. It is `Send`
/// and `Sync` if the reference to the mapper and the platform's memory are.
///
/// # Examples
/// ```
/// use vb3_dma_test::fake::Setup;
///
/// let dma = Setup::iommu(32).mapper();
/// let ring = dma.device(0)?.alloc_coherent(4096)?;
/// ring.write(16, b"descriptor")?;
/// let at = ring.addr().checked_add(16).ok_or(vb3_dma::Error::Invalid)?;
/// assert_eq!(dma.platform().dev_read(at, 10).unwrap(), b"descriptor");
/// drop(ring);
/// assert!(dma.live().is_empty());
/// # Ok::<(), vb3_dma::Error>(())
/// ```
/// The memory does not outlive its mapper:
/// ```compile_fail,E0505
/// # use vb3_dma_test::fake::Setup;
/// let dma = Setup::direct().mapper();
/// let ring = dma.device(0).unwrap().alloc_coherent(4096).unwrap();
/// drop(dma);
/// drop(ring);
/// ```
#[must_use = "coherent memory is freed when it is dropped"]
pub struct Coherent<H: MapperRef> {
    /// `None` if the host has no CPU views. Dropped before the memory.
    view: Option<CpuView<H, Bidirectional>>,
    memory: OwnedMemory<H>,
    addr: DmaAddr,
}

impl<H: MapperRef> fmt::Debug for Coherent<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coherent")
            .field("addr", &self.addr)
            .field("len", &self.len_bytes())
            .finish_non_exhaustive()
    }
}

impl<H: MapperRef> DmaDevice<H> {
    /// Allocates `len_bytes` of coherent memory, rounded up to pages.
    ///
    /// The memory has the alignment of [`DmaOps::alloc_coherent`].
    ///
    /// # Errors
    /// As [`DmaOps::alloc_coherent`], and as the platform's `vmap`. On a host without views, the allocation has no
    /// view, so [`read`](Coherent::read) and [`write`](Coherent::write) fail. On such a host, a device with
    /// [its own memory](crate::Mapper::declare_coherent) gets `Unsupported` (EOPNOTSUPP), because the host cannot zero
    /// this memory.
    ///
    /// # Context
    /// May sleep.
    pub fn alloc_coherent(&self, len_bytes: u64) -> Result<Coherent<H>, Error> {
        self.alloc_coherent_with(len_bytes, Attrs::empty())
    }

    /// Allocates as [`alloc_coherent`](Self::alloc_coherent), with attributes such as
    /// [`Attrs::FORCE_CONTIGUOUS`].
    ///
    /// # Errors
    /// As [`alloc_coherent`](Self::alloc_coherent).
    pub fn alloc_coherent_with(&self, len_bytes: u64, attrs: Attrs) -> Result<Coherent<H>, Error> {
        let (host, mapper) = (&self.host, self.mapper());
        let both = Direction::Bidirectional;
        let alloc = mapper.alloc_for(self.facts.at, len_bytes, attrs, None, both)?;
        let addr = mapper.alloc_dma_addr(&alloc).unwrap_or(DmaAddr::new(0));
        // From here on, dropping `memory` frees the allocation.
        let memory = OwnedMemory::new(host.clone(), alloc);
        let view = match mapper.vmap(memory.handle().ok_or(Error::Invalid)?) {
            Ok(vmap) => Some(CpuView::new(host.clone(), vmap)),
            Err(Error::Unsupported) => None,
            Err(err) => return Err(err),
        };
        Ok(Coherent { view, memory, addr })
    }
}

impl<H: MapperRef> Coherent<H> {
    /// Returns the device's address of the first byte.
    #[must_use]
    pub fn addr(&self) -> DmaAddr {
        self.addr
    }

    /// Returns the length in bytes, whole pages.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.memory.len_bytes()
    }

    pub(super) fn platform(&self) -> &H::Platform {
        self.memory.platform()
    }

    /// Returns the physical runs of the memory.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        self.memory.segments()
    }

    fn view(&self) -> Result<&CpuView<H, Bidirectional>, Error> {
        self.view.as_ref().ok_or(Error::Unsupported)
    }

    /// Returns the bytes without a copy, if the host supports that. The device may write them at any time.
    #[must_use]
    pub fn bytes(&self) -> Option<&[AtomicU8]> {
        self.view.as_ref()?.bytes()
    }

    /// Copies bytes of the memory into `out`, starting at byte `offset`.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) outside the memory; `Unsupported` if the host has no views.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        check_within(self.len_bytes(), offset, out.len() as u64)?;
        self.view()?.read(offset, out)
    }

    /// Copies `data` into the memory, starting at byte `offset`.
    ///
    /// The device may see several writes in any order. [`Ring::publish`](super::Ring::publish) orders them.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        check_within(self.len_bytes(), offset, data.len() as u64)?;
        self.view()?.write(offset, data)
    }
}
