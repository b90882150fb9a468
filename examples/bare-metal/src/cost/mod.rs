//! Cost of mapping for a driver, in instructions. Compares our adapters, which use the mapping
//! layer, with plain adapters. These give devices CPU addresses, as the drivers' examples do.
//!
//! Only meaningful under QEMU's `-icount shift=0`, where the time-stamp counter counts
//! instructions.

mod plain;

use crate::dma_op::OpOnDma;
use crate::hal::OnDma;
use crate::machine::Dma;
use crate::port::{say, ticks};
use crate::vtd::Bdf;
use crate::{MAX_POLLS, TestResult};
use alloc::{format, vec};
use core::hint::black_box;
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use dma_api::{CpuDmaBuffer, DeviceDma, DmaDirection};
use plain::{DISK, PlainAdapter};
use spin::Once;
use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};
use virtio_drivers::transport::DeviceType;
use virtio_drivers::{BufferDirection, Hal};

/// Numbers of devices that do not exist. Mapping memory needs the IOMMU, but no device.
const FIRST_UNUSED: Bdf = Bdf(0xff);
const SECOND_UNUSED: Bdf = Bdf(0xfe);
const OURS: usize = 2;

const ROUNDS: u64 = 1000;

/// Returns the average number of instructions of a round.
fn count(mut round: impl FnMut()) -> u64 {
    (0..ROUNDS / 10).for_each(|_| round());
    let start = ticks();
    (0..ROUNDS).for_each(|_| round());
    (ticks() - start) / ROUNDS
}

fn map_and_unmap<H: Hal>(memory: &mut [u8]) -> u64 {
    let buffer = NonNull::from(memory);
    count(|| {
        // SAFETY: the buffer is ours; no device gets the address.
        unsafe {
            let direction = BufferDirection::DeviceToDriver;
            let addr = black_box(H::share(black_box(buffer), direction));
            H::unshare(addr, black_box(buffer), direction);
        }
    })
}

/// Returns two counts of instructions by `dma-api`: map and unmap a page; allocate, zero and free one.
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

/// Returns the number of instructions that the driver needs to read 4 KiB, without its wait for the disk.
fn read<H: Hal>(dma: &'static Dma) -> TestResult<u64> {
    let (_, transport) = crate::virtio::<DISK>(dma, DeviceType::Block)?;
    let mut disk = VirtIOBlk::<H, _>::new(transport)
        .map_err(|err| format!("the disk's driver does not start: {err}"))?;
    let mut data = vec![0; 4096];
    let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
    let mut spent = 0;
    for _ in 0..ROUNDS {
        let start = ticks();
        // SAFETY: nothing accesses the buffers until the request is completed.
        let token = unsafe { disk.read_blocks_nb(0, &mut request, &mut data, &mut response) };
        spent += ticks() - start;
        let token = token.map_err(|err| format!("the driver refuses the request: {err}"))?;
        if !(0..MAX_POLLS).any(|_| disk.peek_used() == Some(token)) {
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

/// Prints both counts and the ratio of `ours` to `theirs`.
fn compare(what: &str, ours: u64, theirs: u64) {
    let tenths = (ours * 10 + theirs / 2) / theirs.max(1);
    let (times, tenth) = (tenths / 10, tenths % 10);
    say!("cost: {what}: {ours} instructions, {theirs} with CPU addresses: {times}.{tenth} times");
}

/// Counts the instructions of all operations and prints them.
pub(crate) fn measure(dma: &'static Dma) -> TestResult {
    OnDma::<OURS>::attach(dma, FIRST_UNUSED)
        .map_err(|err| format!("the device does not attach: {err}"))?;
    // Like a driver, keeps a queue mapped. Without the queue, each measured mapping would be the
    // device's only one, which costs more.
    let queue = OnDma::<OURS>::dma_alloc(1, BufferDirection::Both);
    let mut memory = vec![0; 65536];
    for len in [16, 4096, 65536] {
        let memory = &mut memory[..len];
        let ours = map_and_unmap::<OnDma<OURS>>(memory);
        let theirs = map_and_unmap::<PlainAdapter>(memory);
        compare(&format!("virtio, map and unmap {len} bytes"), ours, theirs);
    }
    // SAFETY: allocated above, and not in use.
    unsafe { OnDma::<OURS>::dma_dealloc(queue.0, queue.1, 1) };
    crate::finish(dma, OnDma::<OURS>::driven())?;
    static OP: Once<OpOnDma> = Once::new();
    let op = OP
        .try_call_once(|| OpOnDma::attach(dma, SECOND_UNUSED))
        .map_err(|err| format!("the device does not attach: {err}"))?;
    let device = op.device_dma(dma.platform().translates());
    let queue = op.driven.alloc(4096).ok_or("no memory")?;
    let ours = by_dma_api(&device, &mut memory[..4096]);
    op.driven.free(queue.0);
    let theirs = by_dma_api(
        &DeviceDma::new(device.info(), &PlainAdapter),
        &mut memory[..4096],
    );
    compare("dma-api, map and unmap 4096 bytes", ours.0, theirs.0);
    compare("dma-api, allocate and free 4096 bytes", ours.1, theirs.1);
    crate::finish(dma, &op.driven)?;
    if !dma.platform().translates() {
        let (ours, theirs) = (read::<OnDma<DISK>>(dma)?, read::<PlainAdapter>(dma)?);
        compare("virtio, read 4096 bytes", ours, theirs);
    }
    Ok(())
}
