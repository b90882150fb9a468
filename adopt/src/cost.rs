//! What mapping costs a driver, in instructions: `Hal` over the mapping layer, beside one that gives
//! the device addresses as they are, as the examples of `virtio-drivers` do.
//!
//! Means something under `-icount shift=0` alone, where the time-stamp counter counts instructions.

use crate::hal::OnDma;
use crate::machine::{Dma, run_of};
use crate::port::{say, ticks};
use crate::vtd::Bdf;
use crate::{Outcome, PATIENCE};
use alloc::{format, vec};
use core::hint::black_box;
use core::ptr::NonNull;
use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::transport::DeviceType;
use virtio_drivers::{BufferDirection, Hal};

/// A device that is none: mapping for it takes no hardware but the IOMMU.
const NOBODY: Bdf = Bdf(0xff);
const OURS: usize = 2;
const DISK: usize = 3;

const ROUNDS: u64 = 1000;

/// Gives the device addresses as they are.
struct AsTheyAre;

// SAFETY: memory is allocated by `OnDma`; the rest is what the trait asks for where the device sees
// memory as the CPU does.
unsafe impl Hal for AsTheyAre {
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

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> u64 {
        run_of(buffer).addr.get()
    }

    unsafe fn unshare(_addr: u64, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

/// Counts the instructions of an average round.
fn count(mut round: impl FnMut()) -> u64 {
    (0..ROUNDS / 10).for_each(|_| round());
    let start = ticks();
    (0..ROUNDS).for_each(|_| round());
    (ticks() - start) / ROUNDS
}

fn map_and_unmap<H: Hal>(memory: &mut [u8]) -> u64 {
    let buffer = NonNull::from(memory);
    count(|| {
        // SAFETY: the buffer is ours; no device is told the address.
        unsafe {
            let direction = BufferDirection::DeviceToDriver;
            let addr = black_box(H::share(black_box(buffer), direction));
            H::unshare(addr, black_box(buffer), direction);
        }
    })
}

/// The driver's own instructions in reading 4 KiB: without those in which it waits.
fn read<H: Hal>(dma: &'static Dma) -> Outcome<u64> {
    let (device, transport) = crate::virtio::<DISK>(dma, DeviceType::Block)?;
    let mut disk = VirtIOBlk::<H, _>::new(transport)
        .map_err(|err| format!("the disk's driver does not start: {err}"))?;
    let mut data = vec![0; 4096];
    let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
    let mut spent = 0;
    for _ in 0..ROUNDS {
        let start = ticks();
        // SAFETY: none of the buffers is touched until the request is completed.
        let token = unsafe { disk.read_blocks_nb(0, &mut request, &mut data, &mut response) };
        spent += ticks() - start;
        let token = token.map_err(|err| format!("the request is not taken: {err}"))?;
        if !(0..PATIENCE).any(|_| disk.peek_used() == Some(token)) {
            return Err("the disk does not answer".into());
        }
        let start = ticks();
        // SAFETY: the same buffers.
        let done = unsafe { disk.complete_read_blocks(token, &request, &mut data, &mut response) };
        spent += ticks() - start;
        done.map_err(|err| format!("the disk cannot be read: {err}"))?;
    }
    drop(disk);
    crate::finish::<DISK>(dma, device)?;
    Ok(spent / ROUNDS)
}

/// Prints `ours`, `theirs` and how many times theirs ours is.
fn compare(what: &str, ours: u64, theirs: u64) {
    let tenths = (ours * 10 + theirs / 2) / theirs.max(1);
    let (times, tenth) = (tenths / 10, tenths % 10);
    say!(
        "cost: {what}: {ours} instructions, {theirs} with addresses as they are: {times}.{tenth} times"
    );
}

/// Counts and prints.
pub(crate) fn measure(dma: &'static Dma) -> Outcome {
    OnDma::<OURS>::attach(dma, NOBODY)
        .map_err(|err| format!("the device does not attach: {err}"))?;
    // As a queue is: without it, every mapping would be the device's first and its last.
    let queue = OnDma::<OURS>::dma_alloc(1, BufferDirection::Both);
    let mut memory = vec![0; 65536];
    for len in [16, 4096, 65536] {
        let memory = &mut memory[..len];
        let ours = map_and_unmap::<OnDma<OURS>>(memory);
        let theirs = map_and_unmap::<AsTheyAre>(memory);
        compare(&format!("map and unmap {len} bytes"), ours, theirs);
    }
    // SAFETY: taken above, and nobody uses it.
    unsafe { OnDma::<OURS>::dma_dealloc(queue.0, queue.1, 1) };
    crate::finish::<OURS>(dma, NOBODY)?;
    if !dma.platform().translates() {
        compare(
            "read 4096 bytes",
            read::<OnDma<DISK>>(dma)?,
            read::<AsTheyAre>(dma)?,
        );
    }
    Ok(())
}
