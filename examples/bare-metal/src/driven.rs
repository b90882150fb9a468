//! Records of one driver's memory and mappings. The traits that drivers use pass only addresses
//! back, so the records are found by address.

use crate::lock::Spin;
use crate::machine::{Dma, run_of, view_of};
use crate::vtd::Bdf;
use alloc::vec::Vec;
use core::ptr::NonNull;
use vb3_dma::mapped::{Bidirectional, Coherent, DmaDevice, FromDevice, Mapped, Raw, ToDevice};
use vb3_dma::{Attrs, Direction, DmaAddr, Error};

type Mapping<D> = Mapped<&'static Dma, Raw, D>;

/// A buffer that the device uses.
enum Shared {
    Read(Mapping<ToDevice>),
    Written(Mapping<FromDevice>),
    Both(Mapping<Bidirectional>),
}

impl Shared {
    fn addr(&self) -> u64 {
        match self {
            Self::Read(mapped) => mapped.addr().get(),
            Self::Written(mapped) => mapped.addr().get(),
            Self::Both(mapped) => mapped.addr().get(),
        }
    }

    fn unmap(self) -> Result<(), Error> {
        match self {
            Self::Read(mapped) => mapped.unmap(),
            Self::Written(mapped) => mapped.unmap(),
            Self::Both(mapped) => mapped.unmap(),
        }
        .map(drop)
    }
}

/// One device, with all memory that its driver uses.
pub(crate) struct Driven {
    device: DmaDevice<&'static Dma>,
    memory: Spin<Vec<(u64, Coherent<&'static Dma>)>>,
    shared: Spin<Vec<(u64, Shared)>>,
}

impl Driven {
    /// Lets `device` use DMA.
    pub(crate) fn attach(dma: &'static Dma, device: Bdf) -> Result<Self, Error> {
        dma.platform().attach(device, u64::MAX)?;
        Ok(Self {
            device: dma.device(device)?,
            memory: Spin::holding(Vec::new()),
            shared: Spin::holding(Vec::new()),
        })
    }

    pub(crate) fn bdf(&self) -> Bdf {
        self.device.id()
    }

    /// Allocates zeroed memory. Returns its address for the device and its address for the CPU.
    /// Devices here see the CPU's caches, so drivers that ask for cached memory get the same
    /// memory.
    pub(crate) fn alloc(&self, len: usize) -> Option<(u64, NonNull<u8>)> {
        // Physically contiguous, too, since the CPU uses physical addresses.
        let attrs = Attrs::FORCE_CONTIGUOUS;
        let memory = self.device.alloc_coherent_with(len as u64, attrs).ok()?;
        let seen = view_of(memory.segments().first()?)?;
        let addr = memory.addr().get();
        self.memory.with(|list| list.push((addr, memory)));
        Some((addr, seen))
    }

    /// Frees memory. Returns whether it existed.
    pub(crate) fn free(&self, addr: u64) -> bool {
        take(&self.memory, addr).map(drop).is_some()
    }

    /// Hands a buffer to the device. Returns the device's address of the buffer.
    pub(crate) fn share(&self, buffer: NonNull<[u8]>, direction: Direction) -> Result<u64, Error> {
        let (device, run) = (&self.device, run_of(buffer));
        let shared = match direction {
            Direction::ToDevice => Shared::Read(device.map_raw(run, ToDevice)?),
            Direction::FromDevice => Shared::Written(device.map_raw(run, FromDevice)?),
            Direction::Bidirectional => Shared::Both(device.map_raw(run, Bidirectional)?),
        };
        let addr = shared.addr();
        self.shared.with(|list| list.push((addr, shared)));
        Ok(addr)
    }

    /// Takes a buffer back from the device. Panics if this fails: the device must not see the caller's
    /// later writes to the buffer, and the drivers' traits cannot return an error.
    pub(crate) fn unshare(&self, addr: u64) {
        let unmapped = take(&self.shared, addr)
            .ok_or(Error::Invalid)
            .and_then(Shared::unmap);
        unmapped.unwrap_or_else(|err| panic!("{addr:#x} is not unmapped: {err}"));
    }

    /// Takes back the buffers that the driver left with the device, after the device was reset.
    pub(crate) fn reclaim(&self) {
        drop(self.shared.with(core::mem::take));
    }

    /// Removes a page table entry without the mapping layer's knowledge.
    pub(crate) fn break_entry(&self, iova: DmaAddr) -> Result<(), Error> {
        let machine = self.device.mapper().platform();
        machine.break_entry(self.bdf(), iova)
    }
}

fn take<T>(list: &Spin<Vec<(u64, T)>>, addr: u64) -> Option<T> {
    list.with(|list| {
        let place = list.iter().rposition(|(at, _)| *at == addr)?;
        Some(list.swap_remove(place).1)
    })
}
