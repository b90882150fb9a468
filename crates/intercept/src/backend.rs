//! The seam to the devices.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::ProcessMemory;

/// A Linux errno, positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

/// A device node, e.g. `/dev/video0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// One open file description of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u64);

/// The major number of video devices.
const VIDEO_MAJOR: u32 = 81;

/// Identity of the file behind a descriptor of the calling program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdIdentity {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// One system call of a program, from its first try to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// The backend's own name for something it gave to a program: a mapping or a descriptor.
///
/// Its end is reported by [`Backend::gone`], once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u64);

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
    /// Which call this is: the same value for every retry of one call.
    fn call(&self) -> CallId;
    /// Copies from the program's memory. EFAULT unless all of it is readable.
    ///
    /// # Errors
    /// EFAULT.
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno>;
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
        Err(Errno(libc::EPERM))
    }
    /// Installs a descriptor in the program; returns its number. The last step of a call that
    /// can fail: nothing afterwards may.
    ///
    /// The program gets an open file description of its own of the memfd `fd`, with the access
    /// mode of `fd`. Once installed, [`Backend::gone`] is called with `tag` when the last
    /// descriptor and mapping of that description are gone, in whatever process. A failed call
    /// leaves nothing behind and reports nothing. A descriptor that is no memfd is installed as
    /// it is, and its end is not reported.
    ///
    /// # Errors
    /// EMFILE when the program's table is full.
    fn install(&self, fd: BorrowedFd<'_>, cloexec: bool, tag: Tag) -> Result<i32, Errno>;
    /// Installs a descriptor of a file of the backend that was not opened by a path, and is known
    /// as `file` from then on: calls on it come to the backend as those on device files do, and
    /// its end as [`Backend::release`]. Its number, and by what [`identify`](Self::identify) will
    /// know it. The last step of a call that can fail.
    ///
    /// # Errors
    /// EMFILE; ENOSYS where the front end has no such files. Nothing is left behind.
    fn install_file(
        &self,
        file: FileId,
        name: &std::ffi::CStr,
        cloexec: bool,
    ) -> Result<(i32, FdIdentity), Errno> {
        let _ = (file, name, cloexec);
        Err(Errno(libc::ENOSYS))
    }
    /// A handle to the program's memory that outlives the call (user pointers).
    ///
    /// # Errors
    /// EFAULT when the program's memory cannot be reached.
    fn memory(&self) -> Result<ProcessMemory, Errno>;
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Outcome {
    /// Return this value (not negative).
    Done(i64),
    /// Fail.
    Fail(Errno),
    /// Nothing yet: the same call is made again when something has happened ([`Backend::tick`]
    /// or another call), until it says otherwise, the file is closed or a signal ends it.
    Wait,
}

/// The arguments of an mmap of a device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mmap {
    /// Byte offset.
    pub offset: u64,
    /// Length in bytes, as asked.
    pub len: u64,
    /// PROT_* bits.
    pub prot: i32,
    /// MAP_* bits.
    pub flags: i32,
}

/// What to map instead: a file of ordinary memory.
#[derive(Debug)]
pub struct Map {
    /// A memfd. The program maps a fresh open file description of it, with the access mode of
    /// its device descriptor.
    pub fd: OwnedFd,
    /// Offset in it, page-aligned.
    pub offset: u64,
    /// Reported by [`Backend::gone`] when the mapping is gone, parts and copies of it (fork,
    /// mremap) included; also when the kernel refused to make it.
    pub tag: Tag,
}

/// A host of devices.
///
/// All calls come from one thread, one at a time. A call must not block: one that has to wait
/// answers [`Outcome::Wait`].
pub trait Backend {
    /// The nodes there are; asked once, at the start.
    fn nodes(&self) -> Vec<Node>;

    /// Opens a node. `flags` are the O_* bits of open. The front end makes the descriptor.
    ///
    /// # Errors
    /// ENODEV, EBUSY, EMFILE.
    fn open(&mut self, node: NodeId, flags: i32, caller: &dyn Caller) -> Result<FileId, Errno>;

    /// The last descriptor and mapping of a file is gone (also after SIGKILL). Mappings made
    /// through the file have been reported by [`gone`](Self::gone) before. Called once for every
    /// [`open`](Self::open) and [`Caller::install_file`] that succeeded.
    fn release(&mut self, file: FileId);

    /// What was given to a program under `tag` ([`Map`], [`Caller::install`]) is gone.
    fn gone(&mut self, tag: Tag);

    /// ioctl on a device file, of V4L2 or of media devices. One that says `Wait` is made again at
    /// once with `nonblocking` where the file is O_NONBLOCK, and must then not wait; else it is
    /// made again, as the same [`Caller::call`], when the file may be ready.
    fn ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> Outcome;

    /// A call that waited was given up (signal, thread or file gone).
    fn abandon(&mut self, file: FileId, call: CallId);

    /// mmap of a device file.
    ///
    /// # Errors
    /// EINVAL and what the device says.
    fn mmap(&mut self, file: FileId, args: &Mmap, caller: &dyn Caller) -> Result<Map, Errno>;

    /// poll: which of POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP hold now, for a caller
    /// interested in `events`. POLLERR and POLLHUP are reported unasked.
    fn poll(&mut self, file: FileId, events: i16) -> i16;

    /// read() of `len` bytes to `addr`; positions do not exist on devices.
    fn read(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> Outcome;

    /// write() of `len` bytes from `addr`.
    fn write(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> Outcome;

    /// Whether a file is one of the backend's exported buffers (dma-bufs).
    fn is_buffer(&self, id: FdIdentity) -> bool;

    /// ioctl on an exported buffer (`DMA_BUF_IOCTL_*`).
    fn buffer_ioctl(
        &mut self,
        id: FdIdentity,
        request: u32,
        arg: u64,
        caller: &dyn Caller,
    ) -> Outcome;

    /// Size in bytes of an exported buffer.
    fn buffer_len(&self, id: FdIdentity) -> u64;

    /// A program is about to map an exported buffer by its own descriptor. The mapping counts as
    /// a use of that descriptor: its end is part of what [`gone`](Self::gone) reports.
    fn buffer_mapped(&mut self, id: FdIdentity) {
        let _ = id;
    }

    /// Whether a file is a buffer of another driver that the backend holds. Its own driver answers
    /// every call on it; [`foreign_ioctl`](Self::foreign_ioctl) and
    /// [`buffer_mapped`](Self::buffer_mapped) come before.
    fn is_foreign(&self, id: FdIdentity) -> bool {
        let _ = id;
        false
    }

    /// A program is about to make an ioctl of dma-bufs on a buffer of another driver.
    fn foreign_ioctl(&mut self, id: FdIdentity, request: u32, arg: u64, caller: &dyn Caller) {
        let _ = (id, request, arg, caller);
    }

    /// Content of generated files under /sys (`/sys/class/video4linux/video0/name`, …); asked
    /// once, at the start. `dev`, `uevent` and `subsystem` of every node are made by the front
    /// end unless given here.
    fn sysfs(&self) -> Vec<(std::path::PathBuf, String)>;

    /// Time until the next [`tick`](Self::tick) is due; `None` for never. Asked often.
    fn next_tick(&self) -> Option<Duration>;

    /// Time has passed, or [`wake_fds`](Self::wake_fds) became readable.
    fn tick(&mut self);

    /// Descriptors whose readability calls for a [`tick`](Self::tick) (frames from a decoder).
    /// Asked after every open, release and tick; a descriptor must be in the list anew if its
    /// number has been used for another file.
    fn wake_fds(&self) -> Vec<BorrowedFd<'_>>;

    /// Whether a child of this process was started by the backend, which waits for it itself.
    /// Other children that are under a filter of system calls are taken for orphans of programs,
    /// and reaped.
    fn is_own_child(&self, pid: u32) -> bool {
        let _ = pid;
        false
    }

    /// Files whose poll state or pending calls may have changed since the last look. Cleared by
    /// the call.
    fn take_changed(&mut self) -> Vec<FileId>;
}

/// A kind of nodes: where it stands in /sys, and its major number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// `/dev/videoN`, in the class video4linux; the major is 81.
    Video,
    /// `/dev/mediaN`, on the bus of media devices.
    Media {
        /// Major number. Linux hands one out as it starts.
        major: u32,
    },
}

/// A node the backend offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// What it is.
    pub kind: NodeKind,
    /// Absolute path, e.g. `/dev/video0`.
    pub path: std::path::PathBuf,
    /// Minor number.
    pub minor: u32,
    /// Name under `/sys/devices/platform` of the device it belongs to; by it programs find the
    /// media node of a video node. A media node without has none in /sys.
    pub device: Option<String>,
}

impl Node {
    /// A video node of no device that programs could look up.
    #[must_use]
    pub fn video(id: NodeId, path: impl Into<std::path::PathBuf>, minor: u32) -> Self {
        Self {
            id,
            kind: NodeKind::Video,
            path: path.into(),
            minor,
            device: None,
        }
    }

    /// Major number.
    #[must_use]
    pub const fn major(&self) -> u32 {
        match self.kind {
            NodeKind::Video => VIDEO_MAJOR,
            NodeKind::Media { major } => major,
        }
    }

    /// Its inode number.
    pub(crate) fn inode(&self) -> u64 {
        let base = match self.kind {
            NodeKind::Video => 0x7662_0000,
            NodeKind::Media { .. } => 0x7662_0800,
        };
        base + u64::from(self.minor)
    }

    /// Whether `path` names this node.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }
}
