//! The memory of programs, as the machine reaches it.

use std::fmt;
use std::sync::Arc;

/// Part of a program's memory could not be reached: it is not mapped, not writable, or the
/// program is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFault {
    /// The first address that could not be reached, or the start of the range.
    pub addr: u64,
}

impl fmt::Display for UserFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such memory in the program at {:#x}", self.addr)
    }
}

impl std::error::Error for UserFault {}

/// The memory of one program, reached by its addresses.
///
/// A front end implements it with `process_vm_readv` and `process_vm_writev`.
pub trait UserMemory: fmt::Debug + Send + Sync {
    /// Reads `out.len()` bytes at `addr`.
    ///
    /// # Errors
    /// [`UserFault`]; `out` may be partly written.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), UserFault>;

    /// Writes `data` at `addr`.
    ///
    /// # Errors
    /// [`UserFault`]; part of `data` may have arrived.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), UserFault>;

    /// How many of the `len` bytes from `addr` can be read (and written, if `write`), counted
    /// from the start.
    fn probe(&self, addr: u64, len: u64, write: bool) -> u64;

    /// Follows `len` bytes from `addr` for a device that uses them: what is given back reaches
    /// those bytes by the same addresses, wherever the program moves them, and none that it maps in
    /// their place. `None` where memory is reached by address alone.
    fn pin(&self, addr: u64, len: u64) -> Option<User> {
        let _ = (addr, len);
        None
    }

    /// Of what [`pin`](Self::pin) gave: whether all of it is where it was then.
    fn is_where_it_was(&self) -> bool {
        true
    }

    /// Device and inode number of the file that all of `len` bytes from `addr` are a mapping of; `None`
    /// for other memory.
    fn file_at(&self, addr: u64, len: u64) -> Option<(u64, u64)> {
        let _ = (addr, len);
        None
    }

    /// Tells programs apart: equal for two values exactly if they are the same address space.
    fn id(&self) -> u64;
}

/// A program's memory, shared by all who pin from it.
pub type User = Arc<dyn UserMemory>;
