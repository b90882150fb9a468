//! `VirtIOBlk`: reads and writes a disk, and reads it once while a page table entry is missing.

use crate::TestResult;
use crate::faults;
use crate::hal::OnDma;
use crate::machine::Dma;
use crate::port::say;
use alloc::{format, vec};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use vb3_dma::DmaAddr;
use virtio_drivers::device::blk::{BlkReq, BlkResp, SECTOR_SIZE, VirtIOBlk};
use virtio_drivers::transport::DeviceType;
use virtio_drivers::{BufferDirection, Hal};

/// Sectors per request: less than a page, one page, more, many.
const LENGTHS: [usize; 4] = [1, 8, 15, 200];

/// The disk's number among the devices.
const DISK: usize = 0;

/// Reads the first half of the disk, writes it inverted to the second half, and reads that back.
pub(crate) fn copy(dma: &'static Dma) -> TestResult {
    let (_, transport) = crate::virtio::<DISK>(dma, DeviceType::Block)?;
    let mut disk = VirtIOBlk::<OnDma<DISK>, _>::new(transport)
        .map_err(|err| format!("the disk's driver does not start: {err}"))?;
    let half = usize::try_from(disk.capacity() / 2).unwrap_or(0);
    let mut buffer = vec![0; LENGTHS[3] * SECTOR_SIZE + 1];
    let mut again = vec![0; LENGTHS[3] * SECTOR_SIZE];
    let (mut at, mut requests) = (0, 0usize);
    while at < half {
        let sectors = LENGTHS[requests % LENGTHS.len()].min(half - at);
        // The data begins at an odd address, so that the mapping has partial pages.
        let data = &mut buffer[1..][..sectors * SECTOR_SIZE];
        let again = &mut again[..sectors * SECTOR_SIZE];
        disk.read_blocks(at, data)
            .map_err(|err| format!("sector {at} cannot be read: {err}"))?;
        data.iter_mut().for_each(|byte| *byte = !*byte);
        disk.write_blocks(half + at, data)
            .map_err(|err| format!("sector {} cannot be written: {err}", half + at))?;
        disk.read_blocks(half + at, again)
            .map_err(|err| format!("sector {} cannot be read: {err}", half + at))?;
        if again != data {
            return Err(format!("sector {} is not what was written", half + at));
        }
        at += sectors;
        requests += 1;
    }
    disk.flush()
        .map_err(|err| format!("the disk does not flush: {err}"))?;
    drop(disk);
    let maps = crate::finish(dma, OnDma::<DISK>::driven())?;
    say!("virtio disk: {half} sectors read, written and read again; {maps} maps, all undone");
    Ok(())
}

/// Length in bytes of a buffer. [`Breaking`] removes an entry of its mapping.
const BROKEN: usize = 9 * SECTOR_SIZE;
/// The device's address of that buffer's second page.
static BROKEN_AT: AtomicU64 = AtomicU64::new(0);

/// [`OnDma`] with a mistake: the entry for a buffer's second page is missing.
struct Breaking;

// SAFETY: `OnDma` does all the work; the device only reaches less memory.
unsafe impl Hal for Breaking {
    fn dma_alloc(pages: usize, direction: BufferDirection) -> (u64, NonNull<u8>) {
        OnDma::<DISK>::dma_alloc(pages, direction)
    }

    unsafe fn dma_dealloc(addr: u64, seen: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: by the caller.
        unsafe { OnDma::<DISK>::dma_dealloc(addr, seen, pages) }
    }

    unsafe fn mmio_phys_to_virt(addr: u64, size: usize) -> NonNull<u8> {
        // SAFETY: by the caller.
        unsafe { OnDma::<DISK>::mmio_phys_to_virt(addr, size) }
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> u64 {
        // SAFETY: by the caller.
        let addr = unsafe { OnDma::<DISK>::share(buffer, direction) };
        if buffer.len() == BROKEN {
            let second = (addr & !4095) + 4096;
            OnDma::<DISK>::driven()
                .break_entry(DmaAddr::new(second))
                .expect("no entry to break");
            BROKEN_AT.store(second, Ordering::Relaxed);
        }
        addr
    }

    unsafe fn unshare(addr: u64, buffer: NonNull<[u8]>, direction: BufferDirection) {
        // SAFETY: by the caller.
        unsafe { OnDma::<DISK>::unshare(addr, buffer, direction) }
    }
}

/// Reads sectors while the entry for a page of their buffer is missing. Then runs [`copy`] again.
pub(crate) fn read_broken(dma: &'static Dma) -> TestResult {
    let (device, transport) = crate::virtio::<DISK>(dma, DeviceType::Block)?;
    let mut disk = VirtIOBlk::<Breaking, _>::new(transport)
        .map_err(|err| format!("the disk's driver does not start: {err}"))?;
    let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
    let mut data = vec![0; BROKEN];
    // SAFETY: no code accesses the buffers until the device is reset.
    unsafe { disk.read_blocks_nb(0, &mut request, &mut data, &mut response) }
        .map_err(|err| format!("the driver refuses the request: {err}"))?;
    let addr = BROKEN_AT.load(Ordering::Relaxed);
    let fault = faults::wait(dma);
    // The drop resets the device.
    drop(disk);
    faults::only(dma, fault, device, addr)?;
    // The part of the buffer in the page without an entry. It is zero unless the device has written
    // there, because the disk contains no page of zeros.
    let hidden = 4096 - data.as_ptr().addr() % 4096;
    let hidden = &data[hidden..][..4096.min(BROKEN - hidden)];
    if let Some(place) = hidden.iter().position(|&byte| byte != 0) {
        return Err(format!(
            "the device wrote to byte {place} of a page it cannot reach"
        ));
    }
    crate::finish(dma, OnDma::<DISK>::driven())?;
    copy(dma)
}
