//! What a card needs of its host: memory, fences, and the calling program.

use crate::Errno;

/// The host's number of a memory. Two dma-bufs of the same memory have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u64);

/// The host's number of a set of fences that a program passed (a sync file).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FenceId(pub u64);

/// Number of an open file of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u64);

/// The host's memory and fences, which a card needs at calls and at vblanks.
pub trait Memory {
    /// Releases the card's reference to a memory.
    fn release(&mut self, buffer: BufferId);

    /// Returns whether a pending fence announces a write to the memory, for which scan-out must wait.
    fn is_written(&self, buffer: BufferId) -> bool;

    /// Returns whether a set of fences is pending.
    fn is_pending(&self, fence: FenceId) -> bool;

    /// Releases a set of fences.
    fn release_fence(&mut self, fence: FenceId);

    /// Signals the fences of a timeline up to this sequence number. The timelines are numbered: first comes one for
    /// each CRTC, then one for each CRTC's writeback connector.
    fn signal(&mut self, timeline: usize, seqno: u64);
}

/// The calling program and the host's memory, during one call.
///
/// If [`read`](Self::read), [`import`](Self::import) or [`sync_file`](Self::sync_file) fails with
/// [`Errno::NOT_GATHERED`], the call changes nothing, and the host repeats it.
pub trait Program {
    /// Returns the host's memory and fences.
    fn memory(&mut self) -> &mut dyn Memory;

    /// Copies from the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is readable.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;

    /// Announces that parts of the `len_bytes` at `addr` will be read. The host can then fetch several arrays at once.
    ///
    /// # Errors
    /// [`Errno::NOT_GATHERED`] if the host must fetch the bytes first. The caller can announce further arrays, but
    /// must then end the call without a change; the host repeats the call when it has the bytes.
    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        let _ = (addr, len_bytes);
        Ok(())
    }

    /// Copies to the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is writable.
    fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), Errno>;

    /// Returns the process's id.
    fn pid(&self) -> u32;

    /// Returns whether the process has CAP_SYS_ADMIN now: it may have given up root since it opened the card.
    fn is_root(&self) -> bool;

    /// Allocates zeroed memory of `len_bytes` (whole pages) that the card can scan out.
    ///
    /// # Errors
    /// ENOMEM.
    fn allocate(&mut self, len_bytes: u64) -> Result<BufferId, Errno>;

    /// Imports a dma-buf by a program's descriptor, for scan-out. Returns the memory's number and its length in
    /// bytes. The card then has one reference to the memory, which one [`Memory::release`] drops. If the card has a
    /// reference already, because it allocated or imported the memory before, this call adds none.
    ///
    /// # Errors
    /// EBADF; EINVAL for a descriptor of something else, or memory that the card cannot reach.
    fn import(&mut self, fd: i32) -> Result<(BufferId, u64), Errno>;

    /// Exports the memory as a dma-buf: installs a descriptor of the dma-buf in the program. The program expects the
    /// descriptor's number at its address `at`. The card writes the returned value there. A host that knows the
    /// number only after the call may return any value, and must then write the number to `at` itself.
    ///
    /// # Errors
    /// EMFILE and the host's errors.
    fn export(&mut self, buffer: BufferId, cloexec: bool, at: u64) -> Result<i32, Errno>;

    /// Takes a reference to the fences of a program's sync file.
    ///
    /// # Errors
    /// EINVAL for any other descriptor.
    fn sync_file(&mut self, fd: i32) -> Result<FenceId, Errno>;

    /// Installs a descriptor of a sync file in the program. The sync file signals when [`Memory::signal`] has
    /// brought the timeline to `seqno`. The number's place `at` and the returned value are as for
    /// [`export`](Self::export).
    ///
    /// # Errors
    /// EMFILE and the host's errors.
    fn out_fence(&mut self, timeline: usize, seqno: u64, at: u64) -> Result<i32, Errno>;

    /// Installs a descriptor of a new file of the card in the program. The number's place `at` and the returned
    /// value are as for [`export`](Self::export).
    ///
    /// # Errors
    /// EMFILE and the host's errors.
    fn install_file(&mut self, file: FileId, cloexec: bool, at: u64) -> Result<i32, Errno>;
}
