//! A sample that was written only from the crates' documentation: two devices, a ring, and a capture queue whose
//! buffers an interrupt completes.

use crate::host::{Host, PAGE};
use alloc::{rc::Rc, vec::Vec};
use core::cell::RefCell;
use vb3_dma::mapped::{FromDevice, ToDevice};
use vb3_dma::{DmaOps, Error, Mapper};
use vb3_plane::{Cookie, Device, Planes};
use vb3_queue::{
    Active, Coherency, Completion, Completions, Config, DoneState, Driver, DriverError, MAX_PLANES,
    Memory, PlaneRequest, PlaneSizes, Prepare, Queue, QueueBuffer, QueueType,
};

/// Maps a frame for two devices, and writes its address into a ring of one device.
pub(crate) fn ring(dma: &Mapper<Host>) -> Result<(), Error> {
    let (camera, display) = (dma.device(0)?, dma.device(1)?);
    let ring = camera.alloc_coherent(PAGE)?;
    let frame = dma.alloc_virtual(4 * PAGE)?;
    let filled = camera.map(&frame, FromDevice)?;
    let shown = display.map(&frame, ToDevice)?;
    ring.write(0, &filled.addr().get().to_le_bytes())?;
    drop((ring, filled, shown));
    dma.free(frame);
    dma.live().is_empty().then_some(()).ok_or(Error::Busy)
}

/// Puts buffers into the simulated hardware: a list that the interrupt handler empties.
struct Camera(Rc<RefCell<Vec<Active<Cookie>>>>);

impl Driver for Camera {
    type Cookie = Cookie;

    fn queue_setup(&mut self, _: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        PlaneSizes::new(&[PAGE]).ok_or(DriverError(22))
    }
    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        buffer.payloads.copy_from_slice(buffer.lengths);
        Ok(())
    }
    fn buf_queue(&mut self, buffer: Active<Cookie>) {
        self.0.borrow_mut().push(buffer);
    }
    fn stop_streaming(&mut self) {
        self.0.borrow_mut().clear();
    }
}

/// Captures a frame, which an interrupt completes.
pub(crate) fn capture(dma: Mapper<Host>) -> Result<(), vb3_queue::Error> {
    let memory = Planes::new(dma, ());
    let mut queue = Queue::new(Config::new(Device::contig(0), QueueType::Capture))?;
    let finished = RefCell::new(Completions::new(queue.config().max_num_buffers)?);
    let hardware = Rc::default();
    let mut camera = Camera(Rc::clone(&hardware));
    let interrupt = || {
        for token in hardware.borrow_mut().drain(..) {
            let done = Completion::new(DoneState::Done, 0);
            let _stale = finished.borrow_mut().push(token, done);
        }
    };
    let mut session = queue.session(&memory, &mut camera);
    session.reqbufs(Memory::Mmap, 1, Coherency::Coherent)?;
    let mut buffer = QueueBuffer::new(0, Memory::Mmap);
    let _ = buffer.push_plane(PlaneRequest::mmap(0));
    session.qbuf(buffer)?;
    session.streamon()?;
    interrupt();
    session.collect(|| finished.borrow_mut().pop());
    session.dqbuf(MAX_PLANES)?;
    session.release();
    Ok(())
}
