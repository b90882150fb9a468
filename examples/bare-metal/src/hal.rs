//! `virtio_drivers::Hal` over the mapping layer.

use crate::driven::Driven;
use crate::frames::view;
use crate::machine::Dma;
use crate::vtd::Bdf;
use core::ptr::NonNull;
use spin::Once;
use vb3_dma::{Direction, Error, PhysAddr};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE};

/// Maximum number of devices. The trait's functions have no `self`, so each device has its own type.
const DEVICES: usize = 4;

static DRIVEN: [Once<Driven>; DEVICES] = [const { Once::new() }; DEVICES];

/// The adapter for the driver of device `N`.
pub(crate) struct OnDma<const N: usize>;

impl<const N: usize> OnDma<N> {
    /// Lets `device` use DMA, as number `N`.
    pub(crate) fn attach(dma: &'static Dma, device: Bdf) -> Result<(), Error> {
        DRIVEN[N].try_call_once(|| Driven::attach(dma, device))?;
        Ok(())
    }

    pub(crate) fn driven() -> &'static Driven {
        let driven = DRIVEN[N].get();
        driven.expect("no device is attached under this number")
    }
}

// SAFETY: the layer allocates zeroed RAM in whole pages, which no other code uses until it is
// freed, and the CPU sees it at its physical address.
unsafe impl<const N: usize> Hal for OnDma<N> {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (u64, NonNull<u8>) {
        let memory = Self::driven().alloc(pages * PAGE_SIZE);
        // Zero means failure in this trait.
        memory.unwrap_or((0, NonNull::dangling()))
    }

    unsafe fn dma_dealloc(addr: u64, _seen: NonNull<u8>, _pages: usize) -> i32 {
        if Self::driven().free(addr) { 0 } else { -1 }
    }

    unsafe fn mmio_phys_to_virt(addr: u64, size: usize) -> NonNull<u8> {
        let is_seen = addr.checked_add(size as u64) <= Some(crate::boot::MAPPED);
        assert!(is_seen, "registers at {addr:#x} lie beyond what is mapped");
        NonNull::new(view(PhysAddr::new(addr))).expect("registers at address zero")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> u64 {
        let direction = match direction {
            BufferDirection::DriverToDevice => Direction::ToDevice,
            BufferDirection::DeviceToDriver => Direction::FromDevice,
            BufferDirection::Both => Direction::Bidirectional,
        };
        // The trait cannot return an error, and any other address would be wrong: without an IOMMU,
        // the device would access the memory there.
        let shared = Self::driven().share(buffer, direction);
        shared.unwrap_or_else(|err| panic!("cannot map {} bytes: {err}", buffer.len()))
    }

    unsafe fn unshare(addr: u64, _buffer: NonNull<[u8]>, _direction: BufferDirection) {
        Self::driven().unshare(addr);
    }
}
