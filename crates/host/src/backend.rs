//! The devices' side.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::{CallId, Caller, Errno, FdIdentity, FileId, Hotplug, Node, NodeId, Tag};

/// POLLIN and POLLOUT.
const POLL_IN: i16 = 1;
const POLL_OUT: i16 = 4;

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
    /// Of a read() or write(): so many bytes (not 0) have been moved, and there is more. The front end
    /// lets others call, then has the next bytes moved by [`Backend::go_on`]; the call's value is the
    /// sum. One that it does not go on with it gives up ([`Backend::abandon`]), and none of its bytes
    /// count. Until either, other calls that read or write the same file say [`Wait`](Self::Wait).
    Part(i64),
}

/// Bytes that one call of a [`Backend`] copies, about: what takes long enough that others would notice,
/// and holds a frame of 640x480 in 4:2:2.
pub const PIECE_BYTES: u64 = 640 << 10;

/// A call that returns 0 if it does not fail.
impl From<Result<(), Errno>> for Outcome {
    fn from(done: Result<(), Errno>) -> Self {
        match done {
            Ok(()) => Self::Done(0),
            Err(e) => Self::Fail(e),
        }
    }
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
/// Calls come one at a time, from any thread. A call must not block, as all others stand behind
/// it: one that has to wait answers [`Outcome::Wait`].
pub trait Backend: Send {
    /// The nodes there are and those that may come; asked once, at the start. All are present until
    /// [`take_hotplug`](Self::take_hotplug) says otherwise.
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

    /// Whether what programs let go of, other than by this one's own calls, may change what an ioctl
    /// that succeeds does: a front end then looks for that before the call, else as soon as it can.
    fn minds_ends(&self, file: FileId, request: u32) -> bool {
        let _ = (file, request);
        true
    }

    /// A call that waited, or was under way, was given up (signal, thread or file gone).
    fn abandon(&mut self, file: FileId, call: CallId);

    /// mmap of a device file.
    ///
    /// # Errors
    /// EINVAL and what the device says.
    fn mmap(&mut self, file: FileId, args: &Mmap, caller: &dyn Caller) -> Result<Map, Errno>;

    /// poll by a program: which of POLLIN, POLLPRI, POLLOUT, POLLERR, POLLHUP hold now, for a caller
    /// interested in `events`. POLLERR and POLLHUP are reported unasked.
    fn poll(&mut self, file: FileId, events: i16) -> i16;

    /// Returns what [`poll`](Self::poll) would. The front end looks by itself: nothing starts that a
    /// program's own poll would start, such as read() on a file without buffers.
    fn peek(&mut self, file: FileId, events: i16) -> i16;

    /// A caller that [`poll`](Self::poll) or [`peek`](Self::peek) has just told nothing of `events` waits
    /// for them, and did not only look.
    fn poll_waits(&mut self, file: FileId, events: i16) {
        let _ = (file, events);
    }

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

    /// More of the read() or write() (the same [`Caller::call`]) that has answered
    /// [`Outcome::Part`], whose next bytes are at `addr`. A call that fails is over, unless something
    /// of the program's was not gathered ([`Errno::NOT_GATHERED`]).
    fn go_on(&mut self, file: FileId, addr: u64, caller: &dyn Caller) -> Outcome {
        let _ = (file, addr, caller);
        Outcome::Fail(Errno::EINVAL)
    }

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

    /// poll on an exported buffer: which of POLLIN (nobody writes it) and POLLOUT (nobody has it)
    /// hold now, of those in `events`.
    fn buffer_poll(&mut self, id: FdIdentity, events: i16) -> i16 {
        let _ = id;
        events & (POLL_IN | POLL_OUT)
    }

    /// Whether calls on exported buffers that wait, and polls of them, may find something else
    /// than at the last look. Cleared by the call.
    fn take_buffers_changed(&mut self) -> bool {
        false
    }

    /// Size in bytes of an exported buffer.
    fn buffer_len(&self, id: FdIdentity) -> u64;

    /// Process `pid` is about to map an exported buffer by its own descriptor. The mapping counts as
    /// a use of that descriptor: its end is part of what [`gone`](Self::gone) reports.
    ///
    /// # Errors
    /// The mapping's: EINVAL for memory that programs do not map.
    fn buffer_mapped(&mut self, id: FdIdentity, pid: u32) -> Result<(), Errno> {
        let _ = (id, pid);
        Ok(())
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

    /// Content of generated files that tell of a node, by absolute path: under /sys
    /// (`/sys/class/video4linux/video0/name`, …) and in udev's database (`/run/udev/data/c81:0`).
    /// Asked at the start and whenever the node has come. `dev`, `uevent` and `subsystem` of the
    /// node, and the device it belongs to, are made by the front end unless given here.
    fn files(&self, node: NodeId) -> Vec<(PathBuf, String)>;

    /// Symbolic links among the generated files of a node, by absolute path, and the path that
    /// each leads to (`/dev/v4l/by-path/…` to the node). Asked as [`files`](Self::files).
    fn links(&self, node: NodeId) -> Vec<(PathBuf, PathBuf)> {
        let _ = node;
        Vec::new()
    }

    /// Nodes that have come or gone since the last look, in this order. Files of a node that has
    /// gone stay open, and every call on them fails with ENODEV.
    fn take_hotplug(&mut self) -> Vec<Hotplug> {
        Vec::new()
    }

    /// Programs see now what [`take_hotplug`](Self::take_hotplug) told of.
    fn hotplug_shown(&mut self) {}

    /// Files whose memory was taken away, and on whose mappings programs are to fault from now on.
    /// Each is told of once. Mappings that are made of them later are the backend's to refuse.
    fn take_revoked(&mut self) -> Vec<FdIdentity> {
        Vec::new()
    }

    /// Programs fault where they had mapped what [`take_revoked`](Self::take_revoked) told of; those that
    /// wait in a call, when they go on. Those that cannot be stopped do not.
    fn revoked_shown(&mut self) {}

    /// Whether an ioctl takes memory that other things may have had until a moment ago: all that has
    /// ended before the call is to be known by then, whatever that costs.
    fn takes_memory(&self, request: u32) -> bool {
        let _ = request;
        false
    }

    /// Time until the next [`tick`](Self::tick) is due; `None` for never. Asked often.
    fn next_tick(&self) -> Option<Duration>;

    /// Whether something is due that a call is to come after. What a tick has begun and others only
    /// go on with is none: a call comes in between.
    fn is_due(&self) -> bool {
        self.next_tick().is_some_and(|due| due.is_zero())
    }

    /// Time has passed, or [`wake_fds`](Self::wake_fds) became readable.
    fn tick(&mut self);

    /// Descriptors whose readability calls for a [`tick`](Self::tick) (frames from a decoder).
    /// Asked at the start and after every open, release and tick; a descriptor must be in the list anew if its
    /// number has been used for another file.
    fn wake_fds(&self) -> Vec<BorrowedFd<'_>>;

    /// Whether a child of this process was started by the backend, which waits for it itself.
    /// A front end that programs' orphans fall to takes other children for such, and reaps them.
    fn is_own_child(&self, pid: u32) -> bool {
        let _ = pid;
        false
    }

    /// Files whose poll state or pending calls may have changed since the last look. Cleared by
    /// the call.
    fn take_changed(&mut self) -> Vec<FileId>;
}
