//! How a guest's device reaches the run's devices.

use vb3_frontend::{CallId, Errno, FileId, Gathered, Map, Mmap, NodeId, Op, Origin, Outcome, Tag};

/// One step of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) id: CallId,
    pub(crate) origin: Origin,
    pub(crate) file: FileId,
    pub(crate) op: Op,
}

/// The run's devices. No method waits for a program, a guest or a codec.
pub(crate) trait Link {
    /// Opens a node.
    ///
    /// # Errors
    /// As [`vb3_frontend::Devices::open`]; ENODEV if the run has ended.
    fn open(&self, node: NodeId, origin: Origin) -> Result<FileId, Errno>;
    /// Releases a file.
    fn release(&self, file: FileId);
    /// Makes a step that must not wait. Returns also what was gathered.
    fn step(&self, ask: Ask, have: Gathered) -> (Outcome, Gathered);
    /// Returns a buffer's memory.
    ///
    /// # Errors
    /// As [`vb3_frontend::Devices::mmap`]; ENODEV if the run has ended.
    fn mmap(&self, file: FileId, args: Mmap, origin: Origin) -> Result<Map, Errno>;
    /// Reports the end of a mapping.
    fn tag_ended(&self, tag: Tag);
    /// Reports that the guest waits for a file's buffers and events, of which there are none.
    fn waits(&self, file: FileId);
}
