//! The fences of planes: one timeline for each plane, one fence for each time its device has it.
//!
//! A queue need not finish its buffers in the order in which it got them, so that buffers do not
//! share a timeline: on one of a single plane, fences end in order whatever a driver does.

use super::{Kind, Plane, Planes};
use vb3_dma::{DmaOps, Locks};
use vb3_dmabuf::fence::{Fences, Outcome, Owner, Usage};
use vb3_dmabuf::{MemoryId, Observer};

/// `ECANCELED`: the plane goes while its device has it.
const CANCELED: i32 = 125;

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// The fences of all memories.
    pub const fn fences(&self) -> &Fences<Owner<O::Device>> {
        self.buffers.fences()
    }

    /// The fences of all memories, and the time.
    pub const fn fences_mut(&mut self) -> (&mut Fences<Owner<O::Device>>, u64) {
        self.buffers.fences_mut()
    }

    /// The memory that a plane is, or is imported from; none for a program's.
    pub fn memory_of(&self, plane: &Plane<O::Device>) -> Option<MemoryId> {
        match plane.kind {
            Kind::Allocated { memory, .. } | Kind::ImportedVirtual { memory, .. } => Some(memory),
            Kind::Imported { import, .. } => self.import_memory(import),
            Kind::User(_) => None,
        }
    }

    pub(super) fn begin_fence(&mut self, plane: &mut Plane<O::Device>) {
        let Some(memory) = self.memory_of(plane) else {
            return;
        };
        let (fences, _) = self.buffers.fences_mut();
        let owner = Owner::Device(plane.dev.dma);
        let timeline = (plane.access).get_or_insert_with(|| fences.timeline(owner));
        // Without room for a fence the device still works; nobody can wait for it.
        let _no_room = fences.begin_access(memory, timeline, Usage::of(plane.direction));
    }

    pub(super) fn end_fence(&mut self, plane: &mut Plane<O::Device>, outcome: Outcome) {
        let (fences, now_ns) = self.buffers.fences_mut();
        if let Some(timeline) = &mut plane.access {
            fences.end_oldest(timeline, outcome, now_ns);
        }
    }

    pub(super) fn waits_for_fences(&self, plane: &Plane<O::Device>) -> bool {
        self.memory_of(plane).is_some_and(|memory| {
            self.fences()
                .is_held_back(memory, Usage::of(plane.direction))
        })
    }

    pub(super) fn close_access(&mut self, plane: &mut Plane<O::Device>) {
        let (fences, now_ns) = self.buffers.fences_mut();
        if let Some(timeline) = plane.access.take() {
            fences.close(timeline, Outcome::Failed(CANCELED), now_ns);
        }
    }
}
