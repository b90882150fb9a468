//! The calling program, as the ioctl layer needs it.

use crate::file::FileHandle;
use crate::{Errno, Error};
use vb3_frontend::FileAccess;
use vb3_plane::MemOps;
use vb3_queue::RequestId;

/// The program behind one call: its memory and its file descriptors.
///
/// The memory can change at any time. So each byte is read only once, and the copy is checked.
#[expect(unused_variables, reason = "default methods ignore their arguments")]
pub trait Program<M: MemOps> {
    /// Copies from the program's memory. On an error, `out` may be partly written, and the caller does not use it.
    ///
    /// # Errors
    /// EFAULT unless all of it is readable.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;

    /// Announces that parts of the `len_bytes` at `addr` will be read. The host can then fetch all at once.
    ///
    /// # Errors
    /// An errno if the host has not fetched the memory yet. The call must then end without changes; the host repeats
    /// it.
    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        Ok(())
    }

    /// Returns whether the host repeats the call because something was missing. The call must then end without
    /// changes.
    fn lacks(&self) -> bool {
        false
    }

    /// Copies to the program's memory.
    ///
    /// # Errors
    /// EFAULT unless all of it is writable.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno>;

    /// Returns the `len_bytes` of the program's memory at `addr`, which a device will use (USERPTR). The result
    /// includes the bytes that the memory has now. If the program cannot be reached, the device's accesses to this
    /// memory fault.
    ///
    /// # Errors
    /// As [`prepare_read`](Self::prepare_read).
    fn user(&self, addr: u64, len_bytes: u64) -> Result<M::User, Errno>;

    /// Reports that the program gets the `len_bytes` at `addr` back, with the bytes that the device has written.
    fn give_back(&self, addr: u64, len_bytes: u64) {}

    /// Reports that a queue no longer uses the `len_bytes` at `addr`, and that the program does not get what the
    /// device has written there: STREAMOFF drops the pictures that wait for DQBUF.
    fn discard(&self, addr: u64, len_bytes: u64) {}

    /// Takes a reference to the dma-buf of a program's descriptor.
    ///
    /// # Errors
    /// EBADF for an unused number, EINVAL for a descriptor of something else. The queue answers EINVAL to
    /// both.
    fn resolve_dmabuf(&self, mem: &mut M, fd: i32) -> Result<M::DmaBuf, Errno>;

    /// Returns the media request of this device that a program's descriptor stands for.
    /// `None` for any other descriptor.
    fn resolve_request(&self, fd: i32) -> Option<RequestId> {
        None
    }

    /// Makes a descriptor for a dma-buf in the program. The program reads the descriptor's number, 32 bits, at the
    /// address `export.number_at`.
    ///
    /// The descriptor then owns `buf`. The host may make the descriptor after the call, because no later part of the
    /// call can fail.
    ///
    /// # Errors
    /// EMFILE and the host's errors. `buf` is returned with the error.
    fn install_dmabuf(
        &self,
        mem: &mut M,
        buf: M::DmaBuf,
        export: Export,
    ) -> Result<(), (Errno, M::DmaBuf)>;
}

/// How a dma-buf is given to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Export {
    /// Whether the descriptor is closed on exec.
    pub cloexec: bool,
    /// The descriptor's access mode.
    pub access: FileAccess,
    /// Where the program reads the descriptor's number.
    pub number_at: u64,
}

/// The circumstances of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallContext {
    /// The file of the call.
    pub file: FileHandle,
    /// Whether the file has O_NONBLOCK now.
    pub nonblocking: bool,
    /// Number of the call. It is unique, and a retry after [`V4l2Outcome::Wait`] has the same one.
    pub call: u64,
    /// The time on the monotonic clock.
    pub now_ns: u64,
    /// Maximum number of bytes that one piece of a read() or write() moves ([`V4l2Outcome::Part`]).
    pub piece_bytes: u64,
}

/// A call, with the memory layer and the program that it uses besides the device.
pub(crate) struct Run<'a, M: MemOps> {
    pub(crate) mem: &'a mut M,
    pub(crate) cx: CallContext,
    pub(crate) program: &'a dyn Program<M>,
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum V4l2Outcome {
    /// The call returns this value, which is not negative.
    Done(i64),
    /// The call fails.
    Fail(Error),
    /// The call waits.
    /// Repeat it when [`VideoDevice::take_woken`](crate::VideoDevice::take_woken) names its file.
    Wait,
    /// This many bytes of a read() or write() have been moved, and more remain.
    ///
    /// Repeat [`VideoDevice::resume`](crate::VideoDevice::resume) until it returns another result, or
    /// call [`VideoDevice::abandon`](crate::VideoDevice::abandon).
    Part(i64),
}

impl From<Result<Option<i64>, Error>> for V4l2Outcome {
    fn from(result: Result<Option<i64>, Error>) -> Self {
        match result {
            Ok(Some(value)) => Self::Done(value),
            Ok(None) => Self::Wait,
            Err(error) => Self::Fail(error),
        }
    }
}
