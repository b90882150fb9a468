//! A driver of videobuf2 (`struct vb2_ops`) as `queue` sees it.
// UNSAFETY: calls the C side.

use crate::shared::Shared;
use crate::sys::{self, Core};
use core::ffi::c_int;
use vb3_queue::{Active, Driver, DriverError, MAX_PLANES, PlaneSizes, Prepare};

/// The driver of the queue of `core`.
pub struct KernelDriver {
    pub core: *mut Core,
    pub shared: *const Shared,
}

fn checked(ret: c_int) -> Result<(), DriverError> {
    if ret < 0 {
        return Err(DriverError(ret.wrapping_neg()));
    }
    Ok(())
}

const INVALID: DriverError = DriverError(22);

impl Driver for KernelDriver {
    type Cookie = ();

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        let mut sizes = [0_u32; MAX_PLANES];
        let mut count = 0;
        if let Some(wanted) = create {
            for (to, from) in sizes.iter_mut().zip(wanted.as_slice()) {
                *to = u32::try_from(*from).map_err(|_| INVALID)?;
                count += 1;
            }
        }
        // SAFETY: the queue is there; the sizes are as many as there can be planes.
        checked(unsafe {
            sys::vb3core_c_queue_setup(self.core, create.is_some(), sizes.as_mut_ptr(), &mut count)
        })?;
        let mut bytes = [0_u64; MAX_PLANES];
        for (to, from) in bytes.iter_mut().zip(sizes) {
            *to = u64::from(from);
        }
        let planes = usize::try_from(count).unwrap_or(0);
        let sizes = bytes.get(..planes).and_then(PlaneSizes::new);
        sizes.ok_or(INVALID)
    }

    fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError> {
        let mut count = offered;
        // SAFETY: the queue is there.
        checked(unsafe { sys::vb3core_c_buffer_count(self.core, offered, &mut count) })?;
        Ok(count)
    }

    fn buf_init(&mut self, index: u32) -> Result<(), DriverError> {
        // SAFETY: the queue is there.
        checked(unsafe { sys::vb3core_c_buf_init(self.core, index) })
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        let payload = buffer.payloads.first().copied().unwrap_or(0);
        // SAFETY: the queue is there.
        checked(unsafe { sys::vb3core_c_buf_prepare(self.core, buffer.index, payload) })
    }

    fn buf_finish(&mut self, index: u32) {
        // SAFETY: the queue is there.
        unsafe { sys::vb3core_c_buf_finish(self.core, index) };
    }

    fn buf_cleanup(&mut self, index: u32) {
        // SAFETY: the queue is there.
        unsafe { sys::vb3core_c_buf_cleanup(self.core, index) };
    }

    fn buf_queue(&mut self, buffer: Active<()>) {
        let index = buffer.index();
        // SAFETY: it lives as long as the queue's state, of which this is a part.
        unsafe { &*self.shared }.keep(buffer);
        // SAFETY: the queue is there.
        unsafe { sys::vb3core_c_buf_queue(self.core, index) };
    }

    fn prepare_streaming(&mut self) -> Result<(), DriverError> {
        // SAFETY: the queue is there.
        checked(unsafe { sys::vb3core_c_prepare_streaming(self.core) })
    }

    fn unprepare_streaming(&mut self) {
        // SAFETY: the queue is there.
        unsafe { sys::vb3core_c_unprepare_streaming(self.core) };
    }

    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        // SAFETY: the queue is there.
        checked(unsafe { sys::vb3core_c_start_streaming(self.core, queued) })
    }

    fn stop_streaming(&mut self) {
        // SAFETY: the queue is there.
        unsafe { sys::vb3core_c_stop_streaming(self.core) };
    }
}
