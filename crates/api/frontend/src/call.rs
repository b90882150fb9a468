//! A call and its result, as plain data.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use crate::{CallId, Errno, FdIdentity, FileId, Gathered, Need, Origin, Tag, Write};

/// The file or buffer that a call is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// A file that was opened, or made by [`Made::File`].
    File(FileId),
    /// A buffer of the devices that was exported ([`Made::Memory`]).
    Buffer(FdIdentity),
    /// Another driver's buffer. That driver answers the call; the devices only learn of it.
    Foreign(FdIdentity),
}

/// The operation of a call. Addresses are the program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// An ioctl. `arg` is mostly the address of a structure.
    Ioctl {
        /// The request, with direction and size.
        request: u32,
        /// The argument.
        arg: u64,
    },
    /// Reads at most `len` bytes to address `addr`. Device files have no position.
    Read {
        /// Address for the first byte.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Writes the `len` bytes at address `addr`.
    Write {
        /// Address of the first byte.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Continues a read or write that has moved only a part of its bytes so far ([`Outcome::Part`]).
    Resume {
        /// The program's address for the first byte not yet moved.
        addr: u64,
    },
}

/// One call of a program or guest, as plain data. A step cannot reach the program or guest.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Every retry of a call has the same id.
    pub id: CallId,
    /// The caller.
    pub origin: Origin,
    /// The file or buffer.
    pub on: On,
    /// The operation.
    pub op: Op,
    /// Whether the call must not wait.
    pub nonblocking: bool,
    /// The data that was gathered from the program.
    pub have: &'a Gathered,
}

/// The result of a step.
#[derive(Debug)]
pub enum Outcome {
    /// These bytes or descriptors are missing, and nothing has changed. The front end gathers them without the
    /// lock, and makes the step again. A call usually needs at most three such rounds: one for its structure, one
    /// for the arrays that the structure points to, and one for the memory that these arrays point to.
    Need(Need),
    /// The call is not ready. The front end makes the step again after a tick or another call, until the
    /// outcome differs, the file is closed, or a signal ends the wait ([`Devices::abandon`]).
    ///
    /// [`Devices::abandon`]: crate::Devices::abandon
    Wait,
    /// A read or write has moved this many bytes (not 0), and more remain. The front end carries out the
    /// effects, lets other calls run, and continues with [`Op::Resume`]. The program gets the sum of all
    /// pieces.
    Part(i64, Effects),
    /// The call is over, with a value that is not negative, or an errno. The front end carries out the effects
    /// of a failed call, too, because some calls then write which part of their argument was wrong.
    Done(Result<i64, Errno>, Effects),
}

/// The work that remains to be done in the program. The front end carries it out without the lock of the
/// devices: first all writes, then the installs.
#[derive(Debug, Default)]
pub struct Effects {
    /// Memory to write, in order: a later write may overwrite bytes of an earlier one.
    pub writes: Vec<Write>,
    /// Descriptors to make, in order. After the first failure of a necessary write or of an install, the front
    /// end makes no further descriptors, and the program gets the errno of this failure. For each descriptor
    /// that was not made, the front end reports the end of the file behind it ([`Made`]).
    pub installs: Vec<Install>,
}

impl Effects {
    /// Returns whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.installs.is_empty()
    }
}

/// Where the program reads the number of its new descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberAt {
    /// The call returns it.
    Result,
    /// At this address, as 32 bits. The step has also put these bytes into [`Effects::writes`]. So if the
    /// program's memory cannot be written, the call fails before the descriptor exists.
    Address(u64),
}

/// The access mode of a descriptor of a dma-buf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// `O_RDONLY`.
    ReadOnly,
    /// `O_WRONLY`.
    WriteOnly,
    /// `O_RDWR`.
    ReadWrite,
}

impl FileAccess {
    /// Returns the access mode and `O_CLOEXEC` of a program's `O_*` flags; `None` if there are other flags. As in Linux,
    /// the fourth value of `O_ACCMODE` means reading and writing.
    #[must_use]
    pub const fn of(flags: u32) -> Option<(Self, bool)> {
        const O_ACCMODE: u32 = 3;
        const O_CLOEXEC: u32 = 0o2_000_000;
        let access = match flags & O_ACCMODE {
            0 => Self::ReadOnly,
            1 => Self::WriteOnly,
            _ => Self::ReadWrite,
        };
        match flags & !(O_CLOEXEC | O_ACCMODE) {
            0 => Some((access, flags & O_CLOEXEC != 0)),
            _ => None,
        }
    }
}

/// The file behind a new descriptor.
#[derive(Debug)]
pub enum Made {
    /// Memory. For a memfd, the program gets a new open file description with `fd`'s access mode. The front end calls
    /// [`Devices::tag_ended`](crate::Devices::tag_ended) when the description's last descriptor and mapping have ended
    /// in all processes, or if no descriptor could be made. Any other file (a dma-buf of the kernel) is installed
    /// unchanged, and the front end reports its end only if it could not be installed.
    Memory {
        /// The memfd or dma-buf.
        fd: OwnedFd,
        /// The name of the open file description.
        tag: Tag,
    },
    /// A file of the devices that was not opened by a path. Calls on it reach the devices as [`On::File`]. The
    /// front end calls [`Devices::release`](crate::Devices::release) when it has ended or could not be made.
    File {
        /// The devices' name of the file.
        file: FileId,
        /// The name that `/proc/PID/fd` shows.
        name: &'static CStr,
    },
}

/// A descriptor to make in the program.
#[derive(Debug)]
pub struct Install {
    /// The file behind it.
    pub made: Made,
    /// Whether it is closed on exec.
    pub cloexec: bool,
    /// Where the program reads its number.
    pub number: NumberAt,
}
