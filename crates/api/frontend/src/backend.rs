//! The interface of a host of devices, and the results of calls on device files.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::{Call, CallId, Errno, FdIdentity, FileId, Hotplug, Node, NodeId, Origin, Outcome, Tag};

/// POLLIN and POLLOUT.
const POLL_IN: i16 = 1;
const POLL_OUT: i16 = 4;

/// How a call ends, without its effects. [`Step::end`](crate::Step::end) makes an [`Outcome`] of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The call returns this value, which is not negative.
    Done(i64),
    /// The call fails with this errno.
    Fail(Errno),
    /// The call must wait ([`Outcome::Wait`]).
    Wait,
    /// A read() or write() has moved this many bytes, and more remain ([`Outcome::Part`]).
    Part(i64),
}

/// Approximate maximum number of bytes that one call of [`Devices`] copies. A longer copy would delay other
/// calls. A frame of 640x480 in 4:2:2 (600 KiB) fits into one piece.
pub const PIECE_BYTES: u64 = 640 << 10;

/// Converts the result of a call that returns 0 on success.
impl From<Result<(), Errno>> for CallOutcome {
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
    /// Offset in bytes. It selects one of the device file's buffers.
    pub offset: u64,
    /// Length in bytes, as the program requests it.
    pub len: u64,
    /// PROT_* bits.
    pub prot: i32,
    /// MAP_* bits.
    pub flags: i32,
}

impl Mmap {
    /// Returns whether the program shares the mapping, rather than getting a private copy.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        // MAP_SHARED; MAP_SHARED_VALIDATE contains its bit.
        self.flags & 1 != 0
    }
}

/// The memory that a program maps through a device file.
#[derive(Debug)]
pub struct Map {
    /// A memfd. The program maps a new open file description of it, with the access mode of its device
    /// descriptor.
    pub fd: OwnedFd,
    /// Offset in the memfd in bytes, page-aligned.
    pub offset: u64,
    /// Tag that the front end passes to [`Devices::tag_ended`] when the mapping ends.
    ///
    /// A mapping ends when the last part of its last copy is unmapped; fork and mremap make copies. The front end
    /// also reports the end if the kernel refuses to make the mapping.
    pub tag: Tag,
}

/// A descriptor of the devices. Whenever it is readable, the front end must call [`tick`](Devices::tick).
#[derive(Clone, Copy, Debug)]
pub struct WakeFd<'a> {
    /// The descriptor.
    pub fd: BorrowedFd<'a>,
    /// Unique number of the descriptor's file, never reused. It distinguishes the file from an earlier one
    /// whose descriptor had the same number.
    pub id: u64,
}

/// Devices, to which a front end passes the calls of programs or guests.
///
/// The front end calls methods one at a time, from any thread. A method must not block, since it would
/// delay all other calls.
pub trait Devices: Send {
    /// Returns all nodes, including nodes that may appear later. Each call returns the same nodes in the same order.
    /// The front end treats each node as present until [`take_hotplug`](Self::take_hotplug) reports its
    /// disappearance.
    fn nodes(&self) -> Vec<Node>;

    /// Opens a node. `flags` are the O_* bits of open. The front end makes the program's descriptor.
    ///
    /// # Errors
    /// ENODEV, EBUSY, EMFILE.
    fn open(&mut self, node: NodeId, flags: i32, origin: Origin) -> Result<FileId, Errno>;

    /// Releases a file whose last descriptor and mapping have ended (also after SIGKILL).
    ///
    /// The front end calls this once for every successful [`open`](Self::open) and [`Made::File`](crate::Made),
    /// after [`tag_ended`](Self::tag_ended) for each mapping of the file.
    fn release(&mut self, file: FileId);

    /// Reports that a program's [`Map`] or [`Made::Memory`](crate::Made) has ended, or could not be made.
    fn tag_ended(&mut self, tag: Tag);

    /// Makes one step of a call, with what the front end has gathered so far.
    ///
    /// After [`Outcome::Wait`] on an O_NONBLOCK file, the front end makes the step again immediately, with
    /// `nonblocking` set; the outcome must then not be `Wait`. DRM ioctls and STREAMOFF are the exceptions: they wait
    /// on such files, too. The front end ignores the outcome of a call on another driver's buffer, except
    /// [`Outcome::Need`].
    fn call(&mut self, call: &Call<'_>) -> Outcome;

    /// Reports the result of a call's [`installs`](crate::Effects::installs) before the program gets the answer.
    ///
    /// `done` has the numbers of the new descriptors, or the errno with which the call fails because one of them
    /// could not be made. The front end does not call this method if the program has ended.
    fn installed(&mut self, call: CallId, done: Result<&[i32], Errno>) {
        let _ = (call, done);
    }

    /// Cancels a waiting or unfinished call, because of a signal or the end of its thread or file.
    fn abandon(&mut self, file: FileId, call: CallId);

    /// Returns the memory for a program's mmap of a device file.
    ///
    /// # Errors
    /// EINVAL, and further errors of the device.
    fn mmap(&mut self, file: FileId, args: &Mmap, origin: Origin) -> Result<Map, Errno>;

    /// Answers a program's poll for `events`. Returns which of POLLIN, POLLPRI, POLLOUT, POLLERR and POLLHUP
    /// hold now. POLLERR and POLLHUP are reported even if `events` lacks them.
    fn poll(&mut self, file: FileId, events: i16) -> i16;

    /// Returns the same as [`poll`](Self::poll), for the front end's own checks. A poll for input on a file
    /// without buffers starts read() streaming; a peek has no such side effect.
    fn peek(&mut self, file: FileId, events: i16) -> i16;

    /// Reports that a program waits for `events`. [`poll`](Self::poll) or [`peek`](Self::peek) has just
    /// returned none of them.
    fn poll_waits(&mut self, file: FileId, events: i16) {
        let _ = (file, events);
    }

    /// Returns the time until the next [`tick`](Self::tick), or `None` if none is needed. Called often.
    fn next_tick(&self) -> Option<Duration>;

    /// Returns whether a tick must run before the next call. False if the tick would only continue work that
    /// an earlier tick has begun: calls may run in between.
    fn is_due(&self) -> bool {
        self.next_tick().is_some_and(|due| due.is_zero())
    }

    /// Reports that the descriptor of [`wake_fds`](Self::wake_fds) with this id is readable. The front end calls
    /// [`tick`](Self::tick) next.
    fn woken(&mut self, id: u64) {
        let _ = id;
    }

    /// Runs device work: time has passed, or one of [`wake_fds`](Self::wake_fds) has become readable.
    fn tick(&mut self);

    /// Continues work that an earlier tick has begun. May make several ticks at once, until a program can see a
    /// change, or until `is_wanted` returns true because a program's call waits.
    fn continue_work(&mut self, is_wanted: &dyn Fn() -> bool) {
        let _ = is_wanted;
        self.tick();
    }

    /// Returns descriptors, such as a decoder's socket. Whenever one of them is readable, the front end calls
    /// [`woken`](Self::woken) and then [`tick`](Self::tick).
    ///
    /// The front end calls this method at the start and after every open, release and tick.
    fn wake_fds(&self) -> Vec<WakeFd<'_>>;

    /// Returns nodes that have appeared or disappeared since the last call, in order. Files of a node
    /// that disappeared stay open, and every call on them fails with ENODEV.
    fn take_hotplug(&mut self) -> Vec<Hotplug> {
        Vec::new()
    }

    /// Reports that programs or guests now see `count` more of the changes of [`take_hotplug`](Self::take_hotplug).
    fn hotplug_shown(&mut self, count: usize) {
        let _ = count;
    }

    /// Adds to `files` those whose poll state or pending calls may have changed since the last query.
    fn take_changed(&mut self, files: &mut Vec<FileId>);
}

/// The part of devices that only processes need: files that the kernel knows by their inode, mappings, and the
/// files that describe devices.
pub trait ProcessFiles {
    /// Returns whether a file is one of the backend's exported buffers (dma-bufs).
    fn is_buffer(&self, id: FdIdentity) -> bool;

    /// Answers a poll of an exported buffer. Returns those of `events` that hold now: POLLIN if no device
    /// writes the buffer, POLLOUT if no device uses it.
    fn buffer_poll(&mut self, id: FdIdentity, events: i16) -> i16 {
        let _ = id;
        events & (POLL_IN | POLL_OUT)
    }

    /// Returns whether results of calls or polls on exported buffers may have changed since the last query.
    fn take_buffers_changed(&mut self) -> bool {
        false
    }

    /// Returns the size of an exported buffer in bytes.
    fn buffer_len(&self, id: FdIdentity) -> u64;

    /// Reports that a process is about to map an exported buffer through its descriptor.
    /// [`Devices::tag_ended`] is called for this descriptor only when the mapping has ended, too.
    ///
    /// # Errors
    /// EINVAL for memory that programs must not map, and other errors of mmap.
    fn buffer_mapped(&mut self, id: FdIdentity, origin: Origin) -> Result<(), Errno> {
        let _ = (id, origin);
        Ok(())
    }

    /// Returns whether a file is another driver's buffer that the backend holds.
    ///
    /// That driver answers every call on the buffer. Before an ioctl or mmap, the front end calls
    /// [`Devices::call`] or [`buffer_mapped`](Self::buffer_mapped).
    fn is_foreign(&self, id: FdIdentity) -> bool {
        let _ = id;
        false
    }

    /// Returns whether earlier closes and unmaps can change the result of this ioctl, or of a poll if `request` is
    /// `None`. If so, the front end reports the end of those files and mappings before the call, otherwise soon
    /// after it, or if the call fails with another errno than EAGAIN, before a second attempt. `argument` has the bytes of
    /// the ioctl's argument; it is empty if the front end does not know them yet.
    fn needs_fresh_closes(&self, file: FileId, request: Option<u32>, argument: &[u8]) -> bool {
        let _ = (file, request, argument);
        true
    }

    /// Returns whether an ioctl allocates memory. Other programs may just have released some. So before such an
    /// ioctl, the front end must report all earlier ends of files and mappings, even if that takes long.
    fn takes_memory(&self, request: u32) -> bool {
        let _ = request;
        false
    }

    /// Returns the generated files that describe a node, by absolute path: under /sys
    /// (`/sys/class/video4linux/video0/name`, …) and in udev's database (`/run/udev/data/c81:0`).
    ///
    /// Called at the start and whenever the node appears. The front end itself adds the node's `dev`,
    /// `uevent` and `subsystem`, and the entries of its devices, unless the returned list contains them.
    fn files(&self, node: NodeId) -> Vec<(PathBuf, Vec<u8>)>;

    /// Returns a node's symbolic links, each as its absolute path and its target. A link has the path
    /// `/dev/v4l/by-path/…` and the node's path as target, for example. Called together with
    /// [`files`](Self::files).
    fn links(&self, node: NodeId) -> Vec<(PathBuf, PathBuf)> {
        let _ = node;
        Vec::new()
    }

    /// Returns the node of a file that was not opened by a path but made by a call, if programs expect this file to
    /// look like an opened node. Such a file is the file of a DRM lease, whose node is that of the display card.
    fn node_of(&self, file: FileId) -> Option<NodeId> {
        let _ = file;
        None
    }

    /// Returns whether the backend itself started child process `pid` and reaps it. A front end that adopts
    /// programs' orphans reaps all other children.
    fn is_own_child(&self, pid: u32) -> bool {
        let _ = pid;
        false
    }
}

/// Devices for programs that run as processes.
pub trait Backend: Devices + ProcessFiles {}

impl<T: Devices + ProcessFiles + ?Sized> Backend for T {}
