//! Coherent memory for a device and the CPU, such as a descriptor ring: whole pages, or blocks of a pool.

use super::Bidirectional;
use super::device::{DmaDevice, MapperRef};
use super::guard::CpuView;
use super::memory::OwnedMemory;
use crate::error::check_within;
use crate::platform::zero_with;
use crate::ranges::{RangeAllocator, RangeRoom};
use crate::{Attrs, Constraint, Direction, DmaAddr, DmaOps, Error, Lock, Locks, Segment};
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

    /// Allocates `len_bytes` of coherent memory, to be divided into blocks. `unit` is the smallest block in
    /// bytes, a power of two.
    ///
    /// # Errors
    /// As [`alloc_coherent`](Self::alloc_coherent); `Invalid` for a unit that is no power of two or
    /// longer than a page.
    pub fn coherent_pool(&self, len_bytes: u64, unit: u64) -> Result<CoherentPool<H>, Error> {
        if !unit.is_power_of_two() || unit > self.mapper().page_size() {
            return Err(Error::Invalid);
        }
        let memory = self.alloc_coherent(len_bytes)?;
        let first = memory.addr().get();
        let last = first.saturating_add(memory.len_bytes().saturating_sub(1));
        let space = RangeAllocator::new(Constraint::CoherentRegion, unit, first, last)?;
        Ok(CoherentPool {
            memory,
            unit,
            space: <H::Locks as Locks>::Lock::new(space),
        })
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

/// Coherent memory that is divided into blocks, for small objects and for callers that may not sleep.
///
/// Source: Linux 7.2 mm/dmapool.c and kernel/dma/pool.c, differs: the pool's size is fixed, and its blocks
/// may have any length.
///
/// # Examples
/// ```
/// use vb3_dma_test::fake::Setup;
///
/// let dma = Setup::direct().mapper();
/// let pool = dma.device(0)?.coherent_pool(4096, 64)?;
/// let (command, answer) = (pool.take(40)?, pool.take(64)?);
/// assert_ne!(command.addr(), answer.addr());
/// command.write(0, b"go")?;
/// # Ok::<(), vb3_dma::Error>(())
/// ```
pub struct CoherentPool<H: MapperRef> {
    memory: Coherent<H>,
    unit: u64,
    /// The device's addresses of the memory.
    space: <H::Locks as Locks>::Lock<RangeAllocator>,
}

impl<H: MapperRef> fmt::Debug for CoherentPool<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoherentPool")
            .field("memory", &self.memory)
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}

impl<H: MapperRef> CoherentPool<H> {
    /// Takes a zeroed block of at least `len` bytes. If possible, the address is a multiple of the length
    /// rounded up to a power of two.
    ///
    /// # Errors
    /// `Invalid` for length zero or overflow. `NoMemory` (ENOMEM) with `CoherentRegion`, the bytes wanted and
    /// the longest free block. Errors of [`Coherent::write`].
    ///
    /// # Context
    /// Does not sleep if neither the layer's heap nor the host's `vmap_write` sleeps.
    pub fn take(&self, len: u64) -> Result<CoherentBlock<'_, H>, Error> {
        let taken = RangeRoom::retry(|room| {
            self.space
                .with(|space| space.take_with(room, len, 1, u64::MAX))
        });
        let block = CoherentBlock {
            pool: self,
            start: taken?,
            len: len.next_multiple_of(self.unit),
        };
        // The new owner must not see the block's previous content.
        zero_with(block.len, |at, zeroes| block.write(at, zeroes))?;
        Ok(block)
    }
}

/// A block of a [`CoherentPool`]. Dropping the block returns it to the pool.
#[must_use = "a block returns to its pool when it is dropped"]
pub struct CoherentBlock<'a, H: MapperRef> {
    pool: &'a CoherentPool<H>,
    /// The device's address.
    start: u64,
    len: u64,
}

impl<H: MapperRef> fmt::Debug for CoherentBlock<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoherentBlock")
            .field("addr", &self.addr())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl<H: MapperRef> Drop for CoherentBlock<'_, H> {
    fn drop(&mut self) {
        // If the range is not allocated, this fails and changes nothing.
        let _ = (self.pool.space).with(|space| space.give_back(self.start, self.len));
    }
}

impl<H: MapperRef> CoherentBlock<'_, H> {
    /// Converts an offset in the block into one in the pool's memory. Fails if `len` bytes there exceed the block.
    fn place(&self, offset: u64, len: usize) -> Result<u64, Error> {
        check_within(self.len, offset, len as u64)?;
        // No overflow: the block lies in the memory.
        let first = self.pool.memory.addr.get();
        Ok(self.start.saturating_sub(first).saturating_add(offset))
    }

    /// Returns the device's address of the first byte.
    #[must_use]
    pub fn addr(&self) -> DmaAddr {
        DmaAddr::new(self.start)
    }

    /// Returns the length in bytes, a multiple of the pool's unit.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Copies bytes of the block into `out`, starting at byte `offset` of the block.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) outside the block.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let place = self.place(offset, out.len())?;
        self.pool.memory.read(place, out)
    }

    /// Copies `data` into the block, starting at byte `offset` of the block.
    ///
    /// # Errors
    /// `NoSuchMemory` (ENXIO) outside the block.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let place = self.place(offset, data.len())?;
        self.pool.memory.write(place, data)
    }
}
