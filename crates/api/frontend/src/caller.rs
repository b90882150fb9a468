//! Access to the calling program: its memory and its descriptors.

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
    /// Returns the process (thread group) id, in the front end's pid namespace.
    fn pid(&self) -> u32;
    /// Returns the thread's id, in the front end's pid namespace.
    fn tid(&self) -> u32 {
        self.pid()
    }
    /// Returns the id of this call. Every retry of a call has the same id.
    fn call(&self) -> CallId;
    /// Returns whether the front end ignores the call's result and repeats the call, because a method has
    /// returned [`Errno::NOT_GATHERED`].
    fn lacks(&self) -> bool {
        false
    }
    /// Copies from the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of the range is readable.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
    /// Announces [`read`](Self::read)s of parts of the `len_bytes` bytes at `addr`. If the front end must not
    /// wait for the program during a call, it gathers all these bytes and then repeats the call.
    ///
    /// # Errors
    /// [`Errno::NOT_GATHERED`]: the backend must end the call without changes; the front end repeats it.
    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        let _ = (addr, len_bytes);
        Ok(())
    }
    /// Copies to the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of the range is writable.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;
    /// Returns the identity of the file behind a descriptor of the program.
    ///
    /// # Errors
    /// EBADF.
    fn identify(&self, fd: i32) -> Result<FdIdentity, Errno>;
    /// Returns a duplicate of the program's descriptor `fd` of a memfd or dma-buf. No call on such a file
    /// waits for a program.
    ///
    /// # Errors
    /// EBADF; EINVAL for any other file; EPERM if the kernel refuses to duplicate it.
    fn borrow_fd(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let _ = fd;
        Err(Errno::EPERM)
    }

    /// Returns the tag of the [`install`](Self::install)ed description behind the program's descriptor `fd`,
    /// or `None` for any other description, also of the same file.
    ///
    /// # Errors
    /// Errors of [`borrow_fd`](Self::borrow_fd).
    fn tag_of(&self, fd: i32) -> Result<Option<Tag>, Errno>;

    /// Installs a descriptor in the program and returns its number. The backend must do this last: no later
    /// step of the program's call may fail.
    ///
    /// The program gets a new open file description of the memfd `fd`, with `fd`'s access mode. When the
    /// last descriptor and mapping of this description have ended in all processes, the front end calls
    /// [`Backend::tag_ended`](crate::Backend::tag_ended) with `tag`. On an error, nothing is installed and
    /// no end is reported. A descriptor that is not a memfd is installed unchanged, without a report of
    /// its end.
    ///
    /// # Errors
    /// EMFILE if the program's descriptor table is full.
    fn install(&self, fd: BorrowedFd<'_>, cloexec: bool, tag: Tag) -> Result<i32, Errno>;
    /// Installs a descriptor of a backend file that was not opened by a path.
    ///
    /// Calls on the descriptor reach the backend as calls on `file`, like those on a device file. The front
    /// end calls [`Backend::release`](crate::Backend::release) when the file ends. Returns the number and the
    /// identity that [`identify`](Self::identify) will return. The backend must do this last: no later step
    /// of the call may fail.
    ///
    /// # Errors
    /// EMFILE; ENOSYS if the front end does not support such files. On an error, nothing is installed.
    fn install_file(
        &self,
        file: FileId,
        name: &CStr,
        cloexec: bool,
    ) -> Result<(i32, FdIdentity), Errno> {
        let _ = (file, name, cloexec);
        Err(Errno::ENOSYS)
    }
    /// Returns a handle to the program's memory that stays valid after the call, for user pointers (USERPTR).
    ///
    /// # Errors
    /// EFAULT if the front end cannot access the program's memory.
    fn memory(&self) -> Result<Arc<dyn ProcessMemory>, Errno>;
    /// Returns a handle to the program's memory, for a device that will use `len_bytes` bytes from `addr` on.
    ///
    /// The front end prepares for [`pin`](ProcessMemory::pin) if it can, and makes the pages present. If a
    /// page were missing, a device's access might wait for a page fault that a program resolves
    /// (userfaultfd).
    ///
    /// # Errors
    /// The errors of [`memory`](Self::memory). [`Errno::NOT_GATHERED`]: the backend must end the call
    /// without changes; the front end repeats it.
    fn memory_to_pin(&self, addr: u64, len_bytes: u64) -> Result<Arc<dyn ProcessMemory>, Errno> {
        let _ = (addr, len_bytes);
        self.memory()
    }
}

/// The memory of a process, as long as the process runs the same program.
///
/// The handle is bound to the address space. After an exec or the end of the process, reads and writes
/// fail, even if a new process has got its process id.
pub trait ProcessMemory: fmt::Debug + Send + Sync {
    /// Returns the process's id.
    fn pid(&self) -> u32;
    /// Copies from the program's memory at `addr`.
    ///
    /// # Errors
    /// EFAULT unless all of it is mapped and the program is still the same.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
    /// Copies to the program's memory at `addr`, even if the memory is read-only.
    ///
    /// The backend checks permission beforehand, by [`probe`](Self::probe) with [`Access::Write`]. Linux,
    /// too, checks permission only once, when it pins the memory for a device.
    ///
    /// # Errors
    /// EFAULT unless all of it is mapped and the program is still the same.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;
    /// Returns how many of the `len` bytes at `addr`, from the first on, can be pinned for `access`.
    ///
    /// A device can pin ordinary memory with the needed permission. It cannot pin memory of a device
    /// (mapped from a device file or an exported buffer). Returns 0 for a process that has ended.
    ///
    /// # Errors
    /// EFAULT if the list of the process's mappings cannot be read.
    fn probe(&self, addr: u64, len: u64, access: Access) -> Result<u64, Errno>;
    /// Returns the file that is mapped at all `len` bytes from `addr`, or `None` if no single file is.
    fn file_at(&self, addr: u64, len: u64) -> Option<FdIdentity> {
        let _ = (addr, len);
        None
    }
    /// Returns whether the program has a file mapped; `false` for a program that has ended.
    fn maps_file(&self, id: FdIdentity) -> bool;
    /// Pins `len` bytes at `addr` while the returned value lives.
    ///
    /// The value accesses these bytes even after the program moves them (mremap). Reads of bytes that were
    /// unmapped after the pin fail, even if other memory is mapped there. `None` if moves and unmaps cannot
    /// be tracked.
    fn pin(&self, addr: u64, len: u64) -> Option<Arc<dyn ProcessMemory>> {
        let _ = (addr, len);
        None
    }
    /// Returns whether all bytes of a [`pin`](Self::pin) are still at their original addresses.
    fn is_where_it_was(&self) -> bool {
        true
    }
}
