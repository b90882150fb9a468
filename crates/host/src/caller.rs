//! The program's side, for the length of one call.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::{CallId, Errno, FdIdentity, FileId, Tag};

/// How memory is to be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and written.
    Write,
}

/// The calling thread and its process, for the length of one call.
pub trait Caller {
    /// The process (thread group) id, in the supervisor's pid namespace.
    fn pid(&self) -> u32;
    /// The thread's id, in the same namespace.
    fn tid(&self) -> u32 {
        self.pid()
    }
    /// Which call this is: the same value for every retry of one call.
    fn call(&self) -> CallId;
    /// Copies from the program's memory. EFAULT unless all of it is readable.
    ///
    /// # Errors
    /// EFAULT.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
    /// Told before [`read`](Self::read)s that lie in `len_bytes` from `addr`. A front end that
    /// cannot wait for the program during a call gathers all of it before the call is made anew.
    ///
    /// # Errors
    /// [`Errno::NOT_GATHERED`]: the call ends and is made anew; nothing has been changed yet.
    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        let _ = (addr, len_bytes);
        Ok(())
    }
    /// Copies to the program's memory. EFAULT unless all of it is writable.
    ///
    /// # Errors
    /// EFAULT.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;
    /// Which file a descriptor of the program names.
    ///
    /// # Errors
    /// EBADF.
    fn identify(&self, fd: i32) -> Result<FdIdentity, Errno>;
    /// A descriptor of our own of the file that a descriptor of the program names.
    ///
    /// # Errors
    /// EBADF; EPERM where the kernel lends none.
    fn borrow_fd(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let _ = fd;
        Err(Errno::EPERM)
    }

    /// Installs a descriptor in the program; returns its number. The last step of a call that
    /// can fail: nothing afterwards may.
    ///
    /// The program gets an open file description of its own of the memfd `fd`, with the access
    /// mode of `fd`. Once installed, [`Backend::gone`](crate::Backend::gone) is called with `tag` when the last
    /// descriptor and mapping of that description are gone, in whatever process. A failed call
    /// leaves nothing behind and reports nothing. A descriptor that is no memfd is installed as
    /// it is, and its end is not reported.
    ///
    /// # Errors
    /// EMFILE when the program's table is full.
    fn install(&self, fd: BorrowedFd<'_>, cloexec: bool, tag: Tag) -> Result<i32, Errno>;
    /// Installs a descriptor of a file of the backend that was not opened by a path, and is known
    /// as `file` from then on: calls on it come to the backend as those on device files do, and
    /// its end as [`Backend::release`](crate::Backend::release). Its number, and by what [`identify`](Self::identify) will
    /// know it. The last step of a call that can fail.
    ///
    /// # Errors
    /// EMFILE; ENOSYS where the front end has no such files. Nothing is left behind.
    fn install_file(
        &self,
        file: FileId,
        name: &CStr,
        cloexec: bool,
    ) -> Result<(i32, FdIdentity), Errno> {
        let _ = (file, name, cloexec);
        Err(Errno::ENOSYS)
    }
    /// A handle to the program's memory that outlives the call (user pointers).
    ///
    /// # Errors
    /// EFAULT when the program's memory cannot be reached.
    fn memory(&self) -> Result<Arc<dyn ProcessMemory>, Errno>;
    /// The same, of `len_bytes` from `addr` that a device will use: its [`pin`](ProcessMemory::pin)
    /// works where the front end can have that, and the pages are there, so that a device's access
    /// does not wait for who fills them.
    ///
    /// # Errors
    /// As [`memory`](Self::memory); [`Errno::NOT_GATHERED`]: the call ends and is made anew; nothing
    /// has been changed yet.
    fn memory_to_pin(&self, addr: u64, len_bytes: u64) -> Result<Arc<dyn ProcessMemory>, Errno> {
        let _ = (addr, len_bytes);
        self.memory()
    }
}

/// The memory of a process, for as long as the process runs the same program.
///
/// The handle is bound to the address space: after an exec or the end of the process, and
/// whatever process gets its number later, reads and writes fail.
pub trait ProcessMemory: fmt::Debug + Send + Sync {
    /// The process's id.
    fn pid(&self) -> u32;
    /// Copies from the program's memory at `addr`.
    ///
    /// # Errors
    /// EFAULT unless all of it is mapped and the program is still the same.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
    /// Copies to the program's memory at `addr`, whatever its protection: [`probe`](Self::probe)
    /// with [`Access::Write`] decides beforehand, as for memory that a device has pinned.
    ///
    /// # Errors
    /// EFAULT unless all of it is mapped and the program is still the same.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;
    /// How many bytes from `addr` on, at most `len`, are mapped with the needed permission and
    /// are ordinary memory. Memory of a device (a buffer mapped from a device file or from an
    /// exported buffer) is not: it ends the run, as a device cannot pin it.
    ///
    /// # Errors
    /// EFAULT when the process's table cannot be read; a process that is gone has no memory.
    fn probe(&self, addr: u64, len: u64, access: Access) -> Result<u64, Errno>;
    /// The file that all of `len` bytes from `addr` are a mapping of; `None` for other memory, and for
    /// several files.
    fn file_at(&self, addr: u64, len: u64) -> Option<FdIdentity> {
        let _ = (addr, len);
        None
    }
    /// Whether the program has a file mapped; `false` for one that is gone.
    fn maps_file(&self, id: FdIdentity) -> bool;
    /// Follows `len` bytes at `addr` as long as the value given back lives, by which they are
    /// reached, still under the addresses they have now: where the program moves them later, and
    /// not at all where it unmaps them, whatever it maps in their place. `None` where they are
    /// reached by address alone.
    fn pin(&self, addr: u64, len: u64) -> Option<Arc<dyn ProcessMemory>> {
        let _ = (addr, len);
        None
    }
    /// Of what [`pin`](Self::pin) gave: whether all of it is where it was then.
    fn is_where_it_was(&self) -> bool {
        true
    }
}
