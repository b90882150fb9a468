//! The calling program, as the ioctl layer needs it.

use crate::file::FileHandle;
use crate::{Errno, Error};
use vb3_plane::{ExportAccess, MemOps};
use vb3_queue::RequestId;

/// The program behind one call: its memory and its file descriptors.
///
/// What is read can change at any time: each byte is read once, then judged.
pub trait Program<M: MemOps> {
    /// Copies from the program's memory; all of it or nothing counts.
    ///
    /// # Errors
    /// EFAULT unless all of it is readable.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;

    /// Told before reads that lie in `len_bytes` from `addr`, in pieces: a program whose memory
    /// takes time to reach can be read at once.
    ///
    /// # Errors
    /// It cannot be read now, and the call is to end: nothing has been changed yet.
    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        let _ = (addr, len_bytes);
        Ok(())
    }

    /// Copies to the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is writable.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;

    /// The program's memory, for pinning `len_bytes` at `addr`. A program that cannot be reached has
    /// memory that faults.
    ///
    /// # Errors
    /// What [`prepare_read`](Self::prepare_read) says: the call is made anew.
    fn user(&self, addr: u64, len_bytes: u64) -> Result<M::User, Errno>;

    /// Takes a reference to the dma-buf behind a descriptor of the program.
    ///
    /// # Errors
    /// EBADF for no descriptor, EINVAL for one that is no dma-buf (the queue answers EINVAL to
    /// both).
    fn resolve_dmabuf(&self, mem: &mut M, fd: i32) -> Result<M::DmaBuf, Errno>;

    /// Which media request of the device a descriptor of the program names, as the device calls
    /// it; `None` for any other.
    fn resolve_request(&self, fd: i32) -> Option<RequestId> {
        let _ = fd;
        None
    }

    /// Installs a descriptor for a dma-buf in the program; the descriptor then owns `buf`.
    ///
    /// # Errors
    /// EMFILE and what the host says; `buf` comes back.
    fn install_dmabuf(
        &self,
        mem: &mut M,
        buf: M::DmaBuf,
        cloexec: bool,
        access: ExportAccess,
    ) -> Result<i32, (Errno, M::DmaBuf)>;
}

/// Who calls, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallContext {
    /// The file the call is made on.
    pub file: FileHandle,
    /// Whether the file is O_NONBLOCK now.
    pub nonblocking: bool,
    /// The call: no other has this number, and it keeps it when it is made again after
    /// [`Outcome::Wait`].
    pub call: u64,
    /// The monotonic clock.
    pub now_ns: u64,
    /// Bytes of a read() or write() that are moved at a time, at most ([`Outcome::Part`]).
    pub piece_bytes: u64,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returns this value, not negative.
    Done(i64),
    /// It fails.
    Fail(Error),
    /// Nothing yet: to be made again when [`VideoDevice::take_woken`](crate::VideoDevice::take_woken) says so.
    Wait,
    /// So many bytes of a read() or write() have been moved. The next are moved by
    /// [`VideoDevice::go_on`](crate::VideoDevice::go_on), until it says otherwise, or the call is given
    /// up ([`VideoDevice::abandon`](crate::VideoDevice::abandon)).
    Part(i64),
}

impl From<Result<Option<i64>, Error>> for Outcome {
    fn from(result: Result<Option<i64>, Error>) -> Self {
        match result {
            Ok(Some(value)) => Self::Done(value),
            Ok(None) => Self::Wait,
            Err(error) => Self::Fail(error),
        }
    }
}
