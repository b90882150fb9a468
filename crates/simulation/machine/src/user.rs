//! The machine's access to the memory of programs.

use std::fmt;
use std::sync::Arc;

/// Part of a program's memory is unreachable: unmapped, read-only, or the program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFault {
    /// The first unreachable address, or the start of the range.
    pub addr: u64,
}

impl fmt::Display for UserFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no such memory in the program at {:#x}", self.addr)
    }
}

impl std::error::Error for UserFault {}

/// Access to the memory of one program, by the program's addresses.
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

    /// Returns how many of the `len` bytes from `addr` are readable, and writable if `write` is true. Counting stops
    /// at the first byte that does not meet this.
    fn probe(&self, addr: u64, len: u64, write: bool) -> u64;

    /// Pins `len` bytes from `addr` for a device.
    ///
    /// The returned value accesses these bytes by the same addresses, even after the program moves them. It
    /// never accesses other memory that the program maps in their place. `None` if this implementation cannot
    /// pin.
    fn pin(&self, addr: u64, len: u64) -> Option<User> {
        let _ = (addr, len);
        None
    }

    /// Returns whether all bytes of a [`pin`](Self::pin) are still at their original addresses.
    fn is_where_it_was(&self) -> bool {
        true
    }

    /// Returns the device and inode number of the file that all `len` bytes map; `None` for other memory.
    fn file_at(&self, addr: u64, len: u64) -> Option<(u64, u64)> {
        let _ = (addr, len);
        None
    }

    /// Returns an id of the address space. Two values have the same id if and only if they access the same
    /// address space.
    fn id(&self) -> u64;
}

/// A program's memory, shared by its pins.
pub type User = Arc<dyn UserMemory>;
