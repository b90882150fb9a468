//! What mapping costs a driver, in instructions: the adapters over the mapping layer, beside ones
//! that give the device addresses as they are, as drivers' examples do.
//!
//! Means something under `-icount shift=0` alone, where the time-stamp counter counts instructions.

mod plain;

use crate::dma_op::OpOnDma;
use crate::hal::OnDma;
use crate::machine::Dma;
use crate::port::{say, ticks};
use crate::vtd::Bdf;
use crate::{Outcome, PATIENCE};
use alloc::{format, vec};
use core::hint::black_box;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use dma_api::{CpuDmaBuffer, DeviceDma, DmaDirection};
use plain::{AsTheyAre, DISK};
use spin::Once;
use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::transport::DeviceType;
use virtio_drivers::{BufferDirection, Hal};

/// Devices that are none: mapping for them takes no hardware but the IOMMU.
const NOBODY: Bdf = Bdf(0xff);
const NOBODY_ELSE: Bdf = Bdf(0xfe);
const OURS: usize = 2;

const ROUNDS: u64 = 1000;

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

/// The same by `dma-api`, and what a request's buffer of a page costs there.
fn by_dma_api(device: &DeviceDma, memory: &mut [u8]) -> (u64, u64) {
    let page = NonZeroUsize::new(4096).unwrap_or(NonZeroUsize::MIN);
    let direction = DmaDirection::FromDevice;
    let mapped = count(|| {
        let mapped = device.map_streaming_slice(black_box(&mut *memory), 1, direction);
        drop(black_box(mapped.expect("a mapping")));
    });
    let taken = count(|| {
        let taken = CpuDmaBuffer::new_zero(device, black_box(page), 4096, direction);
        drop(black_box(taken.expect("a page")));
    });
    (mapped, taken)
}

/// The driver's own instructions in reading 4 KiB: without those in which it waits.
fn read<H: Hal>(dma: &'static Dma) -> Outcome<u64> {
    let (_, transport) = crate::virtio::<DISK>(dma, DeviceType::Block)?;
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
    crate::finish(dma, OnDma::<DISK>::driven())?;
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
        compare(&format!("virtio, map and unmap {len} bytes"), ours, theirs);
    }
    // SAFETY: taken above, and nobody uses it.
    unsafe { OnDma::<OURS>::dma_dealloc(queue.0, queue.1, 1) };
    crate::finish(dma, OnDma::<OURS>::driven())?;
    static OP: Once<OpOnDma> = Once::new();
    let op = OP
        .try_call_once(|| OpOnDma::attach(dma, NOBODY_ELSE))
        .map_err(|err| format!("the device does not attach: {err}"))?;
    let device = op.device_dma(dma.platform().translates());
    let queue = op.driven.alloc(4096).ok_or("no memory")?;
    let ours = by_dma_api(&device, &mut memory[..4096]);
    op.driven.free(queue.0);
    let theirs = by_dma_api(
        &DeviceDma::new(device.info(), &AsTheyAre),
        &mut memory[..4096],
    );
    compare("dma-api, map and unmap 4096 bytes", ours.0, theirs.0);
    compare("dma-api, take and give back 4096 bytes", ours.1, theirs.1);
    crate::finish(dma, &op.driven)?;
    if !dma.platform().translates() {
        let (ours, theirs) = (read::<OnDma<DISK>>(dma)?, read::<AsTheyAre>(dma)?);
        compare("virtio, read 4096 bytes", ours, theirs);
    }
    Ok(())
}
