//! A capture queue, whose buffers an interrupt handler completes.

#[path = "../../dma/examples/host/mod.rs"]
mod host;

extern crate alloc;

use alloc::{sync::Arc, vec::Vec};
use vb3_dma::Mapper;
use vb3_plane::{Cookie, Device, Planes};
use vb3_queue::{
    Active, Completion, Completions, Config, Driver, DriverError, PlaneSizes, Queue, QueueBuffer,
};

/// The buffers that the hardware fills.
type Hardware = Arc<spin::Mutex<Vec<Active<Cookie>>>>;
struct Camera(Hardware);

impl Driver for Camera {
    type Cookie = Cookie;

    fn queue_setup(&mut self, _: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        PlaneSizes::new(&[640 * 480]).ok_or(DriverError::EINVAL)
    }
    fn buf_queue(&mut self, buffer: Active<Cookie>) {
        self.0.lock().push(buffer); // A driver writes the plane's address to a register.
    }
    fn stop_streaming(&mut self) {
        self.0.lock().clear();
    }
}

/// The interrupt handler: the hardware has filled its first buffer. A kernel's lock also disables interrupts.
fn interrupt(hardware: &Hardware, finished: &spin::Mutex<Completions<Cookie>>, frame: u32) {
    let filled = hardware.lock().drain(..1).next();
    let _stale = filled.map(|token| finished.lock().push(token, Completion::done(frame)));
}

pub(crate) fn main() -> Result<(), alloc::boxed::Box<dyn core::error::Error>> {
    let dma = Mapper::<_, host::SpinLocks>::with_locks(host::Host::new()?, 1)?;
    let memory = Planes::<_, _, host::SpinLocks>::with_locks(dma, ());
    let mut queue = Queue::new(Config::capture(Device::contig(0)))?;
    let finished = spin::Mutex::new(Completions::new(queue.config().max_num_buffers)?);
    let hardware = Hardware::default();
    let mut camera = Camera(Arc::clone(&hardware));

    let mut session = queue.session(&memory, &mut camera);
    for index in session.reqbufs_mmap(3)? {
        session.qbuf(QueueBuffer::mmap(index))?;
    }
    session.streamon()?;
    for frame in 0..10 {
        interrupt(&hardware, &finished, frame);
        session.collect(|| finished.lock().pop());
        let index = session.dqbuf()?.index;
        session.qbuf(QueueBuffer::mmap(index))?;
    }
    session.release();
    Ok(())
}
