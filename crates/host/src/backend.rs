//! The devices' side.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::{CallId, Caller, Errno, FdIdentity, FileId, Hotplug, Node, NodeId, Tag};

/// POLLIN and POLLOUT.
const POLL_IN: i16 = 1;
const POLL_OUT: i16 = 4;

/// The result of a call.
#[derive(Debug)]
pub enum CallOutcome {
    /// Return this value (not negative).
    Done(i64),
    /// Fail.
    Fail(Errno),
    /// The call must wait. The front end makes it again after [`Backend::tick`] or another call, until
    /// it has another result, the file is closed, or a signal ends it.
    Wait,
    /// A read() or write() has moved this many bytes (not 0), and more remain.
    ///
    /// The front end lets other calls run, then continues with [`Backend::resume`]. The call's value is
    /// the sum. If it stops instead, it calls [`Backend::abandon`], and none of the bytes count. Until
    /// then, other reads and writes of the same file return [`Wait`](Self::Wait).
    Part(i64),
}

/// Bytes that one call of a [`Backend`] copies at most, roughly. A longer copy would delay other calls.
/// A frame of 640x480 in 4:2:2 fits.
pub const PIECE_BYTES: u64 = 640 << 10;

/// A call that returns 0 if it does not fail.
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
    /// Byte offset.
    pub offset: u64,
    /// Length in bytes, as asked.
    pub len: u64,
    /// PROT_* bits.
    pub prot: i32,
    /// MAP_* bits.
    pub flags: i32,
}

/// The memory to map: a memfd.
#[derive(Debug)]
pub struct Map {
    /// A memfd. The program maps a new open file description of it, with the access mode of its device
    /// descriptor.
    pub fd: OwnedFd,
    /// Offset in it, page-aligned.
    pub offset: u64,
    /// [`Backend::tag_ended`] reports it when the mapping and all parts and copies of it (fork, mremap) have
    /// ended, also if the kernel refused the mapping.
    pub tag: Tag,
}

/// A host of devices.
///
/// Calls come one at a time, from any thread. A call must not block, since it would delay all others. A
/// call that has to wait returns [`CallOutcome::Wait`].
pub trait Backend: Send {
    /// Returns all nodes, including those that may appear later. Called once, at the start. All are
    /// present until [`take_hotplug`](Self::take_hotplug) reports otherwise.
    fn nodes(&self) -> Vec<Node>;

    /// Opens a node. `flags` are open's O_* bits. The front end makes the descriptor.
    ///
    /// # Errors
    /// ENODEV, EBUSY, EMFILE.
    fn open(&mut self, node: NodeId, flags: i32, caller: &dyn Caller) -> Result<FileId, Errno>;

    /// Releases a file: its last descriptor and mapping have ended (also after SIGKILL).
    ///
    /// [`tag_ended`](Self::tag_ended) has reported mappings of the file before. Called once for every successful
    /// [`open`](Self::open) and [`Caller::install_file`].
    fn release(&mut self, file: FileId);

    /// Reports the end of a mapping or descriptor that a program got under `tag` ([`Map`],
    /// [`Caller::install`]).
    fn tag_ended(&mut self, tag: Tag);

    /// ioctl on a device file, of V4L2 or of media devices.
    ///
    /// After [`Wait`](CallOutcome::Wait) on an O_NONBLOCK file, the front end repeats the call at once with
    /// `nonblocking`; it must then not wait. On other files, it repeats the call, with the same
    /// [`Caller::call`], when the file may be ready.
    fn ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome;

    /// Returns whether closes and unmaps by other calls can change the result of this ioctl. The front
    /// end then collects them before the call, else soon after.
    fn needs_fresh_closes(&self, file: FileId, request: u32) -> bool {
        let _ = (file, request);
        true
    }

    /// Cancels a waiting or unfinished call (signal; its thread or file has ended).
    fn abandon(&mut self, file: FileId, call: CallId);

    /// mmap of a device file.
    ///
    /// # Errors
    /// EINVAL and the device's errors.
    fn mmap(&mut self, file: FileId, args: &Mmap, caller: &dyn Caller) -> Result<Map, Errno>;

    /// poll by a program. Returns which of POLLIN, POLLPRI, POLLOUT, POLLERR and POLLHUP hold now, for
    /// a caller interested in `events`. POLLERR and POLLHUP are reported without being requested.
    fn poll(&mut self, file: FileId, events: i16) -> i16;

    /// Returns what [`poll`](Self::poll) would, without its side effects: it does not start read()
    /// streaming on a file without buffers. The front end calls it for itself.
    fn peek(&mut self, file: FileId, events: i16) -> i16;

    /// A caller waits for `events` after [`poll`](Self::poll) or [`peek`](Self::peek) reported none of
    /// them.
    fn poll_waits(&mut self, file: FileId, events: i16) {
        let _ = (file, events);
    }

    /// read() of `len` bytes to `addr`. Devices have no file position.
    fn read(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome;

    /// write() of `len` bytes from `addr`.
    fn write(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome;

    /// Continues the read() or write() (same [`Caller::call`]) that returned [`CallOutcome::Part`], at
    /// `addr`.
    ///
    /// An error ends the call, except [`Errno::NOT_GATHERED`].
    fn resume(&mut self, file: FileId, addr: u64, caller: &dyn Caller) -> CallOutcome {
        let _ = (file, addr, caller);
        CallOutcome::Fail(Errno::EINVAL)
    }

    /// Returns whether a file is one of the backend's exported buffers (dma-bufs).
    fn is_buffer(&self, id: FdIdentity) -> bool;

    /// ioctl on an exported buffer (`DMA_BUF_IOCTL_*`).
    fn buffer_ioctl(
        &mut self,
        id: FdIdentity,
        request: u32,
        arg: u64,
        caller: &dyn Caller,
    ) -> CallOutcome;

    /// poll on an exported buffer. Returns which of POLLIN (no writer) and POLLOUT (no user) hold now,
    /// among `events`.
    fn buffer_poll(&mut self, id: FdIdentity, events: i16) -> i16 {
        let _ = id;
        events & (POLL_IN | POLL_OUT)
    }

    /// Returns whether waiting calls and polls on exported buffers may now have another result. Clears
    /// the flag.
    fn take_buffers_changed(&mut self) -> bool {
        false
    }

    /// Returns the size of an exported buffer in bytes.
    fn buffer_len(&self, id: FdIdentity) -> u64;

    /// Process `pid` is about to map an exported buffer by its own descriptor. The mapping counts as a
    /// use of that descriptor: [`tag_ended`](Self::tag_ended) waits for its end.
    ///
    /// # Errors
    /// EINVAL for memory that programs must not map, and other errors of mmap.
    fn buffer_mapped(&mut self, id: FdIdentity, pid: u32) -> Result<(), Errno> {
        let _ = (id, pid);
        Ok(())
    }

    /// Returns whether a file is another driver's buffer that the backend holds.
    ///
    /// Its own driver answers every call on it. The front end calls
    /// [`foreign_ioctl`](Self::foreign_ioctl) or [`buffer_mapped`](Self::buffer_mapped) first.
    fn is_foreign(&self, id: FdIdentity) -> bool {
        let _ = id;
        false
    }

    /// A program is about to make a dma-buf ioctl on another driver's buffer.
    fn foreign_ioctl(&mut self, id: FdIdentity, request: u32, arg: u64, caller: &dyn Caller) {
        let _ = (id, request, arg, caller);
    }

    /// Returns the generated files that describe a node, by absolute path: under /sys
    /// (`/sys/class/video4linux/video0/name`, …) and in udev's database (`/run/udev/data/c81:0`).
    ///
    /// Called at the start and whenever the node appears. The front end adds `dev`, `uevent` and
    /// `subsystem` of the node, and its device, unless they are in the list.
    fn files(&self, node: NodeId) -> Vec<(PathBuf, Vec<u8>)>;

    /// Returns the symbolic links among a node's generated files: absolute path and target, such as
    /// `/dev/v4l/by-path/…` and the node. Called when [`files`](Self::files) is.
    fn links(&self, node: NodeId) -> Vec<(PathBuf, PathBuf)> {
        let _ = node;
        Vec::new()
    }

    /// Returns nodes that have appeared or disappeared since the last call, in order. Files of a node
    /// that disappeared stay open, and every call on them fails with ENODEV.
    fn take_hotplug(&mut self) -> Vec<Hotplug> {
        Vec::new()
    }

    /// Programs now see the changes that [`take_hotplug`](Self::take_hotplug) returned.
    fn hotplug_shown(&mut self) {}

    /// Returns files whose memory has been revoked, each once. Programs must get SIGBUS in existing
    /// mappings of them. The backend itself refuses later mappings.
    fn take_revoked(&mut self) -> Vec<FdIdentity> {
        Vec::new()
    }

    /// Mappings of the files that [`take_revoked`](Self::take_revoked) returned now fault. A program
    /// waiting in a call faults after the call. Programs that cannot be stopped do not fault.
    fn revoked_shown(&mut self) {}

    /// Returns whether an ioctl allocates memory that other users may just have released. The front end
    /// must then collect all releases before the call, at any cost.
    fn takes_memory(&self, request: u32) -> bool {
        let _ = request;
        false
    }

    /// Returns the time until the next [`tick`](Self::tick); `None` for never. Called often.
    fn next_tick(&self) -> Option<Duration>;

    /// Returns whether a tick must run before the next call. Work that a tick has begun and later ticks
    /// continue does not count: calls run in between.
    fn is_due(&self) -> bool {
        self.next_tick().is_some_and(|due| due.is_zero())
    }

    /// Runs device work: time has passed, or one of [`wake_fds`](Self::wake_fds) has become readable.
    fn tick(&mut self);

    /// Returns descriptors that need a [`tick`](Self::tick) when readable (frames from a decoder).
    ///
    /// Called at the start and after every open, release and tick. If a number now belongs to another
    /// file, the front end must register it again.
    fn wake_fds(&self) -> Vec<BorrowedFd<'_>>;

    /// Returns whether the backend started this child process and waits for it itself. A front end that
    /// adopts programs' orphans reaps all other children.
    fn is_own_child(&self, pid: u32) -> bool {
        let _ = pid;
        false
    }

    /// Returns files whose poll state or pending calls may have changed since the last call.
    fn take_changed(&mut self) -> Vec<FileId>;
}
