//! Revokes memory. Devices may have its addresses, and programs may have mapped its file.

use crate::backing::Backing;
use crate::front::Machine;
use crate::machine::Pages;
use crate::memory::Object;
use vb3_dma::Segment;

/// A handle to memory of the machine that can be revoked. The memory may have been freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnMemory(u64);

impl Machine {
    /// Finds an allocation to revoke: by its pages, or by its segments if it has no pages (a device's coherent
    /// memory). `None` for memory of another driver or program, which the machine cannot revoke.
    #[must_use]
    pub fn own_memory(&self, pages: Option<&Pages>, segments: &[Segment]) -> Option<OwnMemory> {
        let state = self.state.borrow();
        let id = match (pages, segments) {
            (Some(pages), _) => pages.id,
            (None, [part, ..]) => *state.claimed.get(&part.addr.get())?,
            (None, []) => return None,
        };
        state.memory.get(id)?.backing.own().map(|_| OwnMemory(id))
    }

    /// Returns the inode of the file that programs map; `None` for freed memory.
    #[cfg(test)]
    pub(crate) fn inode_of(&self, memory: OwnMemory) -> Option<u64> {
        let state = self.state.borrow();
        let store = state.memory.get(memory.0)?.backing.own()?;
        Some(rustix::fs::fstat(store.fd()).unwrap().st_ino)
    }

    /// Zeroes memory for the CPU, programs and devices.
    pub fn wipe(&self, memory: OwnMemory) {
        let mut state = self.state.borrow_mut();
        if let Some(object) = state.memory.get_mut(memory.0) {
            object.wipe();
        }
    }

    /// Revokes memory permanently.
    ///
    /// Accesses of devices and drivers then fault. Programs that have it mapped read zeroes, and their writes
    /// do not reach a device. The RAM stays allocated until the memory is freed.
    pub fn withdraw(&self, memory: OwnMemory) {
        let mut state = self.state.borrow_mut();
        if let Some(object) = state.memory.get_mut(memory.0) {
            object.wipe();
            object.withdrawn = true;
            state.memory.note_change();
        }
    }
}

impl Object {
    fn wipe(&mut self) {
        if let Backing::Shared(store) = &mut self.backing {
            store.scrub();
        }
        if let Some(dram) = &mut self.dram {
            dram.wipe();
        }
    }

    /// Zeroes revoked memory again. Returns whether it was revoked.
    pub(crate) fn wipe_withdrawn(&mut self) -> bool {
        if self.withdrawn {
            self.wipe();
        }
        self.withdrawn
    }
}
