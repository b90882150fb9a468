//! `nvme-driver`: reads and writes an NVMe disk, and reads it once while a page table entry is
//! missing.

use crate::dma_op::OpOnDma;
use crate::faults;
use crate::frames::view;
use crate::machine::Dma;
use crate::port::{Config as Ports, say};
use crate::vtd::Bdf;
use crate::{MAX_POLLS, TestResult};
use alloc::boxed::Box;
use alloc::vec::Vec;
use alloc::{format, vec};
use core::num::NonZeroUsize;
use core::ptr::NonNull;
use dma_api::{CpuDmaBuffer, DeviceDma, DmaDirection};
use mmio_api::{MapError, MmioAddr, MmioOp, MmioRaw};
use nvme_driver::{Config, Nvme, NvmeBlockDriver, NvmeIntxSource};
use rdif_block::{
    BatchSubmitResult, BlockController, CompletedRequest, CompletionSink, ControllerEvent,
    ControllerState, ControllerUpdate, HardIrqHandler, HardwareQueue, OwnedRequest,
    OwnedRequestBatch, RequestFlags, RequestId, RequestOp, SubmissionSink,
};
use spin::Once;
use vb3_dma::{DmaAddr, PhysAddr};
use virtio_drivers::transport::pci::bus::{Command, DeviceFunction, PciRoot, Status};

/// Blocks per request: less than a page, one page, more than two, and a long list of pages.
const LENGTHS: [u64; 4] = [1, 8, 17, 200];
const PAGE: usize = 4096;

static OP: Once<OpOnDma> = Once::new();

/// Maps registers at their physical addresses.
struct Registers;

impl MmioOp for Registers {
    fn ioremap(&self, addr: MmioAddr, size: usize) -> Result<MmioRaw, MapError> {
        let end = addr.as_usize().checked_add(size);
        let is_seen = end.is_some_and(|end| end as u64 <= crate::boot::MAPPED);
        let seen = view(PhysAddr::new(addr.as_usize() as u64));
        let seen = NonNull::new(seen)
            .filter(|_| is_seen)
            .ok_or(MapError::Invalid)?;
        // SAFETY: all of the device's registers are mapped at their physical addresses.
        Ok(unsafe { MmioRaw::new(addr, seen, size) })
    }

    fn iounmap(&self, _mmio: &MmioRaw) {}
}

/// The interrupt line. It is polled in configuration space, because the CPU takes no interrupts here.
#[derive(Clone, Copy)]
struct Line(DeviceFunction);

impl NvmeIntxSource for Line {
    fn is_asserted(&self) -> bool {
        let (status, _) = PciRoot::new(Ports).get_status_command(self.0);
        status.contains(Status::INTERRUPT_STATUS)
    }
}

/// A running disk, with the state that a kernel's block layer would keep.
struct Disk {
    controller: NvmeBlockDriver,
    line: Line,
    handlers: Vec<(usize, Box<dyn HardIrqHandler>)>,
    queues: Vec<Box<dyn HardwareQueue>>,
}

impl Disk {
    fn start(nvme: Nvme, line: Line) -> TestResult<Self> {
        let mut disk = Self {
            controller: NvmeBlockDriver::from_nvme(nvme).with_intx_source(line),
            line,
            handlers: Vec::new(),
            queues: Vec::new(),
        };
        let mut state = disk.advance(ControllerEvent::Start { target_queues: 1 })?;
        for _ in 0..MAX_POLLS {
            state = match state {
                ControllerState::Ready => return Ok(disk),
                ControllerState::RegisterPending { .. } => {
                    disk.advance(ControllerEvent::RegisterRetry)?
                }
                _ => disk.interrupt(&mut Vec::new())?.unwrap_or(state),
            };
        }
        Err("the controller is not ready in time".into())
    }

    fn advance(&mut self, event: ControllerEvent) -> TestResult<ControllerState> {
        let update = self.controller.advance(event);
        let mut update: ControllerUpdate =
            update.map_err(|err| format!("the controller refuses {event:?}: {err:?}"))?;
        self.queues.extend(update.take_queues());
        for end in update.take_irq_endpoints() {
            // A later handler replaces an earlier one of the same source.
            self.handlers
                .retain(|(source, _)| *source != end.source_id());
            self.handlers.push((end.source_id(), end.into_handler()));
        }
        Ok(update.controller_state())
    }

    /// Handles an interrupt if the line is raised. Adds completed requests to `done`.
    fn interrupt(
        &mut self,
        done: &mut Vec<CompletedRequest>,
    ) -> TestResult<Option<ControllerState>> {
        if !self.line.is_asserted() {
            return Ok(None);
        }
        let acks = self.handlers.iter_mut().map(|(_, handler)| handler.ack());
        let acks: Vec<_> = acks.filter(|ack| !ack.is_spurious()).collect();
        let mut state = None;
        for ack in acks {
            for queue in &mut self.queues {
                if ack.queues().contains(queue.id()) {
                    queue
                        .drain_completions(&mut Done(done))
                        .map_err(|err| format!("the queue cannot be drained: {err:?}"))?;
                }
            }
            let control = ack.control_event();
            let source_id = control.source_id();
            if !control.is_empty() {
                state = Some(self.advance(ControllerEvent::Irq(control))?);
            }
            self.advance(ControllerEvent::Rearm { source_id })?;
        }
        Ok(state)
    }

    /// Runs one request to its end.
    fn run(&mut self, request: OwnedRequest) -> TestResult<Option<CpuDmaBuffer>> {
        let what = format!(
            "{:?} of {} blocks at {}",
            request.op, request.block_count, request.lba
        );
        let queue = self
            .queues
            .first_mut()
            .ok_or("the controller has no queue")?;
        let mut batch: OwnedRequestBatch = [request].into_iter().collect();
        let taken: BatchSubmitResult = queue.submit_batch_owned(&mut batch, &mut Taken);
        if taken.accepted() != 1 {
            return Err(format!("refused {what}: {:?}", taken.disposition()));
        }
        queue
            .commit_submissions()
            .map_err(|err| format!("{what} is not submitted: {err:?}"))?;
        let mut done = Vec::new();
        for _ in 0..MAX_POLLS {
            self.interrupt(&mut done)?;
            if let Some(done) = done.pop() {
                done.result
                    .map_err(|err| format!("{what} fails: {err:?}"))?;
                return Ok(done.data.map(|data| data.into_cpu_buffer()));
            }
        }
        Err(format!("{what} does not end"))
    }

    fn stop(mut self) -> TestResult {
        self.advance(ControllerEvent::QuiesceIrqs)?;
        let mut state = self.advance(ControllerEvent::Shutdown)?;
        for _ in 0..MAX_POLLS {
            if state == ControllerState::Shutdown {
                let (queues, mut left) = (&mut self.queues, Vec::new());
                let stopped = queues
                    .iter_mut()
                    .try_for_each(|q| q.shutdown(&mut Done(&mut left)));
                return stopped.map_err(|err| format!("the queue does not stop: {err:?}"));
            }
            state = self.advance(ControllerEvent::RegisterRetry)?;
        }
        Err("the controller does not stop".into())
    }
}

struct Taken;

impl SubmissionSink for Taken {
    fn accepted(&mut self, _id: RequestId) {}
}

struct Done<'a>(&'a mut Vec<CompletedRequest>);

impl CompletionSink for Done<'_> {
    fn complete(&mut self, request: CompletedRequest) {
        self.0.push(request);
    }
}

fn request(op: RequestOp, lba: u64, blocks: u64, data: Option<CpuDmaBuffer>) -> OwnedRequest {
    OwnedRequest {
        op,
        lba,
        block_count: blocks as u32,
        data: data.map(CpuDmaBuffer::prepare_for_device),
        flags: RequestFlags::NONE,
    }
}

fn buffer(dma: &DeviceDma, bytes: usize) -> TestResult<CpuDmaBuffer> {
    let len = NonZeroUsize::new(bytes).ok_or("no bytes")?;
    CpuDmaBuffer::new_zero(dma, len, PAGE, DmaDirection::Bidirectional)
        .map_err(|err| format!("no buffer of {bytes} bytes: {err}"))
}

fn find() -> TestResult<(DeviceFunction, Bdf, u64, usize)> {
    let mut bus = PciRoot::new(Ports);
    let is_nvme = |class: u8, subclass: u8| class == 1 && subclass == 8;
    let mut found = bus.enumerate_bus(0);
    let found = found.find(|(_, info)| is_nvme(info.class, info.subclass));
    let (place, _) = found.ok_or("there is no NVMe device")?;
    let registers = bus
        .bar_info(place, 0)
        .map_err(|err| format!("the disk's registers cannot be found: {err}"))?;
    let registers = registers.and_then(|bar| bar.memory_address_size());
    let (addr, size) = registers.ok_or("the disk has no registers")?;
    bus.set_command(place, Command::MEMORY_SPACE | Command::BUS_MASTER);
    Ok((place, crate::bdf_of(place), addr, size as usize))
}

/// Reads the first half of the disk, writes it inverted to the second half, and reads that back.
/// With `breaks`, also reads blocks while the page table entry for a page of their buffer is missing.
pub(crate) fn copy(dma: &'static Dma, breaks: bool) -> TestResult {
    let (place, device, registers, size) = find()?;
    let op = OP
        .try_call_once(|| OpOnDma::attach(dma, device))
        .map_err(|err| format!("the device does not attach: {err}"))?;
    let memory = op.device_dma(dma.platform().translates());
    let config = Config::intx(PAGE);
    let nvme = Nvme::new(registers, size, memory.clone(), &Registers, config)
        .map_err(|err| format!("the disk's driver does not start: {err:?}"))?;
    let mut disk = Disk::start(nvme, Line(place))?;
    let info = disk.controller.device_info();
    let (half, block) = (info.num_blocks / 2, info.logical_block_size);
    let (mut at, mut requests) = (0, 0usize);
    let mut again = vec![0; LENGTHS[3] as usize * block];
    while at < half {
        let blocks = LENGTHS[requests % LENGTHS.len()].min(half - at);
        let bytes = blocks as usize * block;
        let data = buffer(&memory, bytes)?;
        let data = disk.run(request(RequestOp::Read, at, blocks, Some(data)))?;
        let mut data = data.ok_or("a read returns no buffer")?;
        let inverted = &mut again[..bytes];
        inverted.copy_from_slice(data.as_slice_cpu());
        inverted.iter_mut().for_each(|byte| *byte = !*byte);
        data.copy_from_slice_cpu(inverted);
        disk.run(request(RequestOp::Write, half + at, blocks, Some(data)))?;
        let data = buffer(&memory, bytes)?;
        let data = disk.run(request(RequestOp::Read, half + at, blocks, Some(data)))?;
        if data.is_none_or(|data| data.as_slice_cpu() != inverted) {
            return Err(format!("block {} is not what was written", half + at));
        }
        at += blocks;
        requests += 1;
    }
    disk.run(request(RequestOp::Flush, 0, 0, None))?;
    if breaks {
        faults::none(dma)?;
        read_broken(&mut disk, &memory, dma, op)?;
    }
    disk.stop()?;
    crate::finish(dma, &op.driven)?;
    say!("nvme disk: {half} blocks of {block} bytes read, written and read again");
    Ok(())
}

/// Reads into a buffer of two pages while the page table entry for the second page is missing.
fn read_broken(disk: &mut Disk, memory: &DeviceDma, dma: &'static Dma, op: &OpOnDma) -> TestResult {
    let data = buffer(memory, 2 * PAGE)?;
    let second = data.dma_addr().as_u64() + PAGE as u64;
    op.driven
        .break_entry(DmaAddr::new(second))
        .map_err(|err| format!("no entry to break: {err}"))?;
    let blocks = (2 * PAGE / disk.controller.device_info().logical_block_size) as u64;
    let read = disk.run(request(RequestOp::Read, 0, blocks, Some(data)));
    faults::only(dma, faults::wait(dma), op.driven.bdf(), second)?;
    // A device that reports the failure returns no data to check.
    let Ok(Some(data)) = read else {
        return Ok(());
    };
    match data.as_slice_cpu()[PAGE..].iter().any(|&byte| byte != 0) {
        true => Err("the device wrote to a page that it cannot reach".into()),
        false => Ok(()),
    }
}
