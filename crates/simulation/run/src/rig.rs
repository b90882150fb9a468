//! Methods of [`Run`] for programs that simulate the whole stack in one process, such as tests: they look into the
//! run and change it without an order or a program's call.

use crate::Run;
use crate::kinds::VideoFiles;
use crate::memory::Shared;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use vb3_frontend::NodeId;
use vb3_machine::Machine;
use vb3_picture::Frame;
use vb3_report::Held;
use vb3_v4l2::{Context, VideoDriver as _};

/// Memory and mappings that are still held. All fields are zero if a run has released everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOver {
    /// The report's counts, without descriptors of this process.
    pub held: Held,
    /// The machine's counts, without pages of I/O page tables.
    pub machine: vb3_machine::Held,
    /// Number of buffers' memories that the run has not freed.
    pub memories: u64,
    /// Number of fences that have begun and not ended, or that ended more than once.
    pub fences: u64,
    /// The mapping layer's counts.
    pub mapper: vb3_dma::Live,
}

impl Run {
    /// Returns the machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        self.memory.ops().platform()
    }

    /// Returns the machine, for changes of its planned faults and its trace.
    pub fn machine_mut(&mut self) -> &mut Machine {
        self.memory.ops_mut().platform_mut()
    }

    /// From now on, gives programs a memfd for each buffer that they export, even if the kernel could make a real
    /// dma-buf.
    pub fn export_memfds(&mut self) {
        self.shares.get_mut().export_memfds();
    }

    /// Returns each video node's number and the name of its device's kind.
    pub fn devices(&self) -> impl Iterator<Item = (u32, &str)> {
        let nodes = self.nodes.iter();
        let nodes = nodes.filter(|node| node.is_listed());
        nodes.map(|node| (node.number(), node.kind.as_str()))
    }

    /// Returns the id of the video node or subdevice with this minor number. If no node has this minor number,
    /// returns an id that belongs to no node.
    #[must_use]
    pub fn video_node(&self, number: u32) -> NodeId {
        let at = self.nodes.iter().position(|node| node.number() == number);
        let id = at.and_then(|at| self.kinds.node_id(VideoFiles::NAME, at));
        id.unwrap_or(NodeId(u32::MAX))
    }

    /// Returns how many pictures a display card has shown, and the picture that it showed last. A card keeps its
    /// last picture only from the first call of this method on, so the first call returns no picture.
    pub fn screen(&mut self, card: usize) -> Option<(u64, Option<Arc<Frame>>)> {
        let card = self.cards.all.get_mut(card)?;
        let last = card.last_shown().map(|(_, frame)| frame);
        Some((card.frames(), last))
    }

    /// Plugs or unplugs the device of the node with this number.
    ///
    /// # Errors
    /// Fails with a message for the user: the device does not exist, or is plugged or unplugged already.
    pub fn plug_device(&mut self, number: u32, comes: bool) -> Result<(), String> {
        self.plug_by_name(&number.to_string(), comes).map(drop)
    }

    /// Revokes the buffer that has this number in the list of `vb3 ctl buffers`.
    ///
    /// # Errors
    /// Fails with a message for the user: the buffer does not exist, was revoked already, or lies in memory of a
    /// program or of another driver, which only they can take back.
    pub fn revoke_buffer(&mut self, number: &str) -> Result<(), String> {
        self.revoke_by_name(number)
    }

    /// Returns whether a device still maps revoked memory, except quarantined memory, whose unmap failed.
    #[must_use]
    pub fn has_mapped_revoked(&self) -> bool {
        let buffers = self.memory.buffers();
        let is_mapped = |memory: &Shared| {
            let mut attached = memory.attachments().iter();
            memory.is_revoked()
                && !memory.is_quarantined()
                && attached.any(|(_, attachment)| attachment.direction().is_some())
        };
        let mut all = buffers.memories();
        all.any(|id| buffers.inspect(id, is_mapped) == Some(true))
    }

    /// Returns a descriptor for each process or thread that prepares data for a device. It becomes readable
    /// when the data is ready.
    pub fn preparing(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let contexts = self
            .nodes
            .iter()
            .flat_map(|node| node.video.contexts_at_work());
        let drivers = contexts
            .map(Context::driver)
            .filter(|driver| driver.is_preparing());
        drivers.filter_map(|driver| Some(driver.wake_fd()?.fd))
    }

    /// Returns what is still held. Call this once the last program is gone.
    pub fn left_over(&mut self) -> LeftOver {
        let held = Held {
            fds: 0,
            ..self.report().held
        };
        let counts = self.memory.buffers().fence_counts();
        LeftOver {
            held,
            machine: self.machine().held(),
            memories: self.memory.buffers().memories().count() as u64,
            fences: counts.0.abs_diff(counts.1),
            mapper: self.memory.ops().live(),
        }
    }
}
