//! The fences of planes: one timeline for each plane, one fence for each access of its device.
//!
//! A queue may finish its buffers in any order. On a shared timeline, fences would end out of order.
//! Therefore each plane has its own timeline.

use super::{Plane, Planes};
use vb3_dma::{DmaOps, Locks};
use vb3_dmabuf::Observer;
use vb3_dmabuf::fence::{Fences, Owner};

/// `ECANCELED`: the plane was released during its device's access.
const CANCELED: i32 = 125;

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Calls `act` with exclusive access to all fences, and with the time.
    pub fn with_fences<R>(&self, act: impl FnOnce(&mut Fences<Owner<O::Device>>, u64) -> R) -> R {
        self.buffers.with_fences(act)
    }

    pub(super) fn close_access(&self, plane: &mut Plane<O::Device>) {
        if let Some(timeline) = plane.access.take() {
            let outcome = Err(CANCELED);
            self.with_fences(|fences, now_ns| fences.close(timeline, outcome, now_ns));
        }
    }
}
