//! Fences of a run: which devices wait for them, and which accesses should have waited.

use crate::deadlock::Deadlocks;
use crate::observer::Early;
use crate::{Run, summary};
use vb3_dmabuf::fence::{Owner, Usage};
use vb3_report::EarlyAccess;
use vb3_v4l2::{Flow, Role, VideoDriver as _, Waiter};

/// The state of two checks: for fences that have ended, and for devices that wait for each other's fences.
#[derive(Debug, Default)]
pub(super) struct FenceWatch {
    /// How many fences had begun and ended at the last check for waiters.
    known: (u64, u64),
    pub(super) deadlocks: Deadlocks,
}

const fn verb(usage: Usage) -> &'static str {
    match usage {
        Usage::Read => "read",
        Usage::Write => "write",
    }
}

impl Run {
    /// Gives devices the buffers whose fences have ended. Wakes programs that poll dma-bufs or sync files.
    pub(super) fn settle_fences(&mut self) {
        // A device that gets a buffer may drop it, which ends another fence. The chain is at most
        // as long as the number of devices.
        for _ in 0..=self.nodes.len() {
            let counts = self.memory.buffers().fence_counts();
            let known = core::mem::replace(&mut self.fences.known, counts);
            self.waits.buffers_changed |= known.0 != counts.0;
            if known.1 == counts.1 {
                return;
            }
            self.waits
                .changed
                .extend(self.files.sync_files.take_ended(&self.memory));
            self.waits.buffers_changed = true;
            let now_ns = self.clock.now_ns();
            for node in self.nodes.iter_mut() {
                node.video.settle_queues(&mut self.memory, now_ns);
            }
        }
    }

    /// Asks displays and loopbacks to return buffers that they keep longer than necessary.
    /// Called when a caller waits for fences.
    ///
    /// Source: Linux 7.2 `dma_fence_ops::enable_signaling`; differs: all these devices are asked,
    /// whichever fence the caller waits for.
    pub(super) fn want_buffers_back(&mut self) {
        let outputs = self.nodes.iter_mut();
        outputs
            .filter(|node| matches!(node.video.role(), Role::Output | Role::Duplex))
            .flat_map(|node| node.video.contexts_mut())
            .for_each(|context| {
                context
                    .driver_mut()
                    .note_waiter(Flow::Output, Waiter::Waits)
            });
    }

    /// Records which program or driver accessed a buffer while a device had it.
    pub(super) fn note_early_accesses(&mut self) {
        for (early, times) in self.memory.host().take_early() {
            let row = self.early_access(early, times);
            self.report.access_early(row);
        }
    }

    fn early_access(&self, early: Early, times: u64) -> EarlyAccess {
        let node = |dma| format!("/dev/{}", self.device_name(dma));
        let (mut place, mut owner) = (summary::place(&self.nodes, early.memory.get()), None);
        let ((by, access), (used_by, owner_access)) = (early.by, early.during);
        if let Owner::Device(dma) = used_by {
            owner = Some(node(dma));
            place = place.or_else(|| summary::import_place(&self.nodes, early.memory, dma));
        }
        let (by, process, call) = match by {
            Owner::Device(dma) => (node(dma), 0, "QBUF"),
            Owner::Driver => (String::new(), 0, "QBUF"),
            Owner::Program(process) => {
                let process = u32::try_from(process).unwrap_or(0);
                (String::new(), process, "DMA_BUF_IOCTL_SYNC")
            }
        };
        EarlyAccess {
            owner: owner.unwrap_or_default(),
            owner_access: verb(owner_access).to_owned(),
            by,
            process,
            access: verb(access).to_owned(),
            call: call.to_owned(),
            times,
            ..place.unwrap_or_default().early()
        }
    }
}
