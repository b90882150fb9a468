//! The program's side during one call.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::{CallId, Errno, FdIdentity, FileId, Tag};

/// The kind of access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write.
    Write,
}

/// The calling thread and its process during one call.
pub trait Caller {
    /// Returns the process (thread group) id, in the supervisor's pid namespace.
    fn pid(&self) -> u32;
    /// Returns the thread's id, in the same namespace.
    fn tid(&self) -> u32 {
        self.pid()
    }
    /// Returns the id of this call. Every retry of a call has the same id.
    fn call(&self) -> CallId;
    /// Copies from the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is readable.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
    /// Announces [`read`](Self::read)s within `len_bytes` from `addr`. A front end that must not wait
    /// for the program during a call gathers all these bytes before it repeats the call.
    ///
    /// # Errors
    /// [`Errno::NOT_GATHERED`]: end the call without changes; the front end repeats it.
    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        let _ = (addr, len_bytes);
        Ok(())
    }
    /// Copies to the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is writable.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;
    /// Returns the identity of the file behind a descriptor of the program.
    ///
    /// # Errors
    /// EBADF.
    fn identify(&self, fd: i32) -> Result<FdIdentity, Errno>;
    /// Returns the supervisor's own descriptor for a file that the program has open.
    ///
    /// # Errors
    /// EBADF; EPERM if the kernel refuses.
    fn borrow_fd(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let _ = fd;
        Err(Errno::EPERM)
    }

    /// Installs a descriptor in the program and returns its number. This must be the last step of a
    /// call that can fail.
    ///
    /// The program gets a new open file description of the memfd `fd`, with `fd`'s access mode. When
    /// its last descriptor and mapping have ended in all processes, the front end calls
    /// [`Backend::tag_ended`](crate::Backend::tag_ended) with `tag`. A failed call leaves nothing behind and
    /// reports nothing. A descriptor that is not a memfd is installed unchanged, and its end is not
    /// reported.
    ///
    /// # Errors
    /// EMFILE when the program's table is full.
    fn install(&self, fd: BorrowedFd<'_>, cloexec: bool, tag: Tag) -> Result<i32, Errno>;
    /// Installs a descriptor of a backend file that was not opened by a path.
    ///
    /// `file` names it from then on: calls on it reach the backend like those on device files, and its
    /// end is reported by [`Backend::release`](crate::Backend::release). Returns its number and the
    /// identity that [`identify`](Self::identify) will give. This must be the last step of a call that
    /// can fail.
    ///
    /// # Errors
    /// EMFILE; ENOSYS if the front end has no such files. A failed call leaves nothing behind.
    fn install_file(
        &self,
        file: FileId,
        name: &CStr,
        cloexec: bool,
    ) -> Result<(i32, FdIdentity), Errno> {
        let _ = (file, name, cloexec);
        Err(Errno::ENOSYS)
    }
    /// Returns a handle to the program's memory that outlives the call (user pointers).
    ///
    /// # Errors
    /// EFAULT when the program's memory is unreachable.
    fn memory(&self) -> Result<Arc<dyn ProcessMemory>, Errno>;
    /// Returns a handle to the program's memory, for a device that will use `len_bytes` from `addr`.
    ///
    /// The front end makes [`pin`](ProcessMemory::pin) work where it can, and makes the pages present.
    /// So a device's access does not wait for page faults that a program resolves.
    ///
    /// # Errors
    /// As [`memory`](Self::memory). [`Errno::NOT_GATHERED`]: end the call without changes; the front
    /// end repeats it.
    fn memory_to_pin(&self, addr: u64, len_bytes: u64) -> Result<Arc<dyn ProcessMemory>, Errno> {
        let _ = (addr, len_bytes);
        self.memory()
    }
}

/// The memory of a process, while it runs the same program.
///
/// The handle is bound to the address space. After an exec or the end of the process, reads and writes
/// fail, even if another process has got its number.
pub trait ProcessMemory: fmt::Debug + Send + Sync {
    /// Returns the process's id.
    fn pid(&self) -> u32;
    /// Copies from the program's memory at `addr`.
    ///
    /// # Errors
    /// EFAULT unless all of it is mapped and the program is still the same.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
    /// Copies to the program's memory at `addr`, even if it is read-only.
    ///
    /// [`probe`](Self::probe) with [`Access::Write`] checks permission beforehand, as for memory that a
    /// device has pinned.
    ///
    /// # Errors
    /// EFAULT unless all of it is mapped and the program is still the same.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;
    /// Returns how many bytes from `addr` on, at most `len`, are ordinary memory mapped with the needed
    /// permission.
    ///
    /// Memory of a device (a buffer mapped from a device file or from an exported buffer) ends the
    /// range, since a device cannot pin it. A process that has ended has no memory.
    ///
    /// # Errors
    /// EFAULT when the list of the process's mappings cannot be read.
    fn probe(&self, addr: u64, len: u64, access: Access) -> Result<u64, Errno>;
    /// Returns the file that all `len` bytes from `addr` map; `None` for several files or other memory.
    fn file_at(&self, addr: u64, len: u64) -> Option<FdIdentity> {
        let _ = (addr, len);
        None
    }
    /// Returns whether the program has a file mapped; `false` for a program that has ended.
    fn maps_file(&self, id: FdIdentity) -> bool;
    /// Pins `len` bytes at `addr` while the returned value lives.
    ///
    /// The returned value reaches these bytes by their current addresses, even after the program moves
    /// them. Accesses fail once the program unmaps them, even if it maps other memory there. `None` if
    /// memory can be reached by address only.
    fn pin(&self, addr: u64, len: u64) -> Option<Arc<dyn ProcessMemory>> {
        let _ = (addr, len);
        None
    }
    /// Returns whether all bytes of a [`pin`](Self::pin) are still at their original addresses.
    fn is_where_it_was(&self) -> bool {
        true
    }
}
