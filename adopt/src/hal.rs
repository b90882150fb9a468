//! `virtio_drivers::Hal` over the mapping layer.

use crate::frames::view;
use crate::lock::{Spin, SpinLocks};
use crate::machine::{Dma, Machine, run_of, view_of};
use crate::vtd::Bdf;
use alloc::vec::Vec;
use core::ptr::NonNull;
use spin::Once;
use vb3_dma::mapped::{
    Bidirectional, Device, DmaDevice, FromDevice, MapDirection, Mapped, ToDevice,
};
use vb3_dma::{Alloc, Attrs, Error, Iova, Lock as _, PhysAddr};
use virtio_drivers::{BufferDirection, Hal};

type Mapping<D> = Mapped<'static, Machine, SpinLocks, D, Device>;

/// A buffer that the device has.
enum Shared {
    Read(Mapping<ToDevice>),
    Written(Mapping<FromDevice>),
    Both(Mapping<Bidirectional>),
}

/// One device, with all that its driver has taken. The trait gives nothing but addresses back, so
/// it is kept under those.
struct Driven {
    device: DmaDevice<'static, Machine, SpinLocks>,
    memory: Spin<Vec<(u64, Alloc<Machine>)>>,
    shared: Spin<Vec<(u64, Shared)>>,
}

/// Most devices. The trait's functions have no `self`: a type stands for each device.
const DEVICES: usize = 4;

static DRIVEN: [Once<Driven>; DEVICES] = [const { Once::new() }; DEVICES];

/// What the driver of device `N` calls.
pub(crate) struct OnDma<const N: usize>;

impl<const N: usize> OnDma<N> {
    /// Lets `device` do DMA, as number `N`.
    pub(crate) fn attach(dma: &'static Dma, device: Bdf) -> Result<(), Error> {
        dma.platform().attach(device)?;
        let device = dma.device(device)?;
        DRIVEN[N].call_once(|| Driven {
            device,
            memory: Spin::holding(Vec::new()),
            shared: Spin::holding(Vec::new()),
        });
        Ok(())
    }

    /// Takes back what the driver left with the device, which was reset. Returns how many buffers.
    pub(crate) fn reclaim() -> usize {
        let left = Self::driven().shared.with(core::mem::take);
        left.len()
    }

    /// Removes a page behind the layer's back.
    pub(crate) fn break_entry(iova: Iova) -> Result<(), Error> {
        let device = Self::driven().device;
        device.mapper().platform().break_entry(device.id(), iova)
    }

    fn driven() -> &'static Driven {
        DRIVEN[N]
            .get()
            .expect("no device is attached under this number")
    }
}

fn take<T>(list: &Spin<Vec<(u64, T)>>, addr: u64) -> Option<T> {
    list.with(|list| {
        let place = list.iter().rposition(|(at, _)| *at == addr)?;
        Some(list.swap_remove(place).1)
    })
}

fn map<D: MapDirection>(driven: &Driven, memory: NonNull<[u8]>, direction: D) -> Mapping<D> {
    // The trait has no way to refuse, and no address is harmless without an IOMMU.
    let mapped = driven.device.map(run_of(memory), direction);
    mapped.unwrap_or_else(|err| panic!("cannot map {} bytes: {err}", memory.len()))
}

// SAFETY: what the layer allocates is zeroed RAM in whole pages, nobody else's until it is freed,
// and the CPU sees it where it lies.
unsafe impl<const N: usize> Hal for OnDma<N> {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (u64, NonNull<u8>) {
        let driven = Self::driven();
        let dma = driven.device.mapper();
        let len = pages as u64 * dma.page_size();
        // Together in memory, too: the CPU sees it where it lies.
        let memory = dma.alloc_coherent(driven.device.id(), len, Attrs::FORCE_CONTIGUOUS);
        let found = memory.ok().and_then(|memory| {
            let addr = dma.alloc_dma_addr(&memory)?.get();
            let seen = view_of(memory.segments().first()?)?;
            driven.memory.with(|list| list.push((addr, memory)));
            Some((addr, seen))
        });
        // Zero is the trait's word for failure.
        found.unwrap_or((0, NonNull::dangling()))
    }

    unsafe fn dma_dealloc(addr: u64, _seen: NonNull<u8>, _pages: usize) -> i32 {
        let driven = Self::driven();
        match take(&driven.memory, addr) {
            Some(memory) => driven.device.mapper().free(memory),
            None => return -1,
        }
        0
    }

    unsafe fn mmio_phys_to_virt(addr: u64, size: usize) -> NonNull<u8> {
        let is_seen = addr.checked_add(size as u64) <= Some(crate::boot::MAPPED);
        assert!(is_seen, "registers at {addr:#x} lie beyond what is mapped");
        NonNull::new(view(PhysAddr::new(addr))).expect("registers at address zero")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> u64 {
        let driven = Self::driven();
        let (addr, shared) = match direction {
            BufferDirection::DriverToDevice => {
                let mapped = map(driven, buffer, ToDevice);
                (mapped.addr(), Shared::Read(mapped))
            }
            BufferDirection::DeviceToDriver => {
                let mapped = map(driven, buffer, FromDevice);
                (mapped.addr(), Shared::Written(mapped))
            }
            BufferDirection::Both => {
                let mapped = map(driven, buffer, Bidirectional);
                (mapped.addr(), Shared::Both(mapped))
            }
        };
        driven.shared.with(|list| list.push((addr.get(), shared)));
        addr.get()
    }

    unsafe fn unshare(addr: u64, _buffer: NonNull<[u8]>, _direction: BufferDirection) {
        let unmapped = match take(&Self::driven().shared, addr) {
            Some(Shared::Read(mapped)) => mapped.unmap(),
            Some(Shared::Written(mapped)) => mapped.unmap(),
            Some(Shared::Both(mapped)) => mapped.unmap(),
            None => panic!("{addr:#x} was never shared"),
        };
        // The caller uses the memory for something else next.
        unmapped.unwrap_or_else(|err| panic!("the device may still reach {addr:#x}: {err}"));
    }
}
