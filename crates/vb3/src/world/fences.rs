//! Fences of a run: who waits for them.

use super::World;

impl World {
    /// Gives devices the buffers whose fences have ended, and has those who poll look again.
    pub(super) fn settle_fences(&mut self) {
        // A device that gets a buffer may drop it, and end its fence with that: not more often
        // than there are devices in a row.
        for _ in 0..=self.nodes.len() {
            let ended = self.memory.fences().counts().ended;
            if core::mem::replace(&mut self.fences_ended, ended) == ended {
                return;
            }
            self.changed
                .extend(self.sync_files.take_ended(&self.memory));
            self.buffers_changed = true;
            for node in &mut self.nodes {
                node.video.settle_queues(&mut self.memory);
            }
        }
    }
}
