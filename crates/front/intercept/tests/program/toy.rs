//! A backend with two trivial devices.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vb3_frontend::{
    Call, CallId, CallOutcome, Detail, Devices, Errno, FdIdentity, FileId, Install, Made, Map,
    Mmap, Node, NodeId, NumberAt, On, Op, Origin, Outcome, ProcessFiles, Step, Tag, WakeFd,
};

const fn request(nr: u64) -> u64 {
    3 << 30 | 4 << 16 | (b'V' as u64) << 8 | nr
}

/// The number of VIDIOC_QUERYCAP.
pub(crate) const QUERYCAP: u64 = 0x8068_5600;
/// Counts its calls. Returns the new count.
pub(crate) const COUNT: u64 = request(192);
/// Waits for this many milliseconds, then counts.
pub(crate) const WAIT: u64 = request(193);
/// Sets the poll state immediately.
pub(crate) const STATE: u64 = request(194);
/// Sets the poll state immediately, without a wake.
pub(crate) const QUIET: u64 = request(210);
/// Sets POLLIN after this many milliseconds.
pub(crate) const ARM: u64 = request(195);
/// Exports buffer n. Returns the descriptor.
pub(crate) const EXPORT: u64 = request(196);
/// Returns how many opens are not released.
pub(crate) const OPENS: u64 = request(197);
/// Returns how many mappings and descriptors have not ended.
pub(crate) const GIVEN: u64 = request(198);
/// Returns an exported buffer's length, if the descriptor is one.
pub(crate) const IMPORT: u64 = request(199);
/// Returns how many calls were abandoned.
pub(crate) const ABANDONED: u64 = request(200);
/// Returns how many bytes of user memory at the address in the u64 at arg a device could write.
pub(crate) const PROBE: u64 = request(201);
/// Makes a file without a path. Returns its descriptor.
pub(crate) const MAKE: u64 = request(202);
/// Makes a descriptor that wakes the supervisor when it is readable. With 0, closes the descriptor.
pub(crate) const WAKE_FD: u64 = request(203);
/// Succeeds if no other file is open. The supervisor looks for closed files only if it fails.
pub(crate) const ALONE: u64 = request(204);
/// Exports buffer n while the supervisor can open no file.
pub(crate) const EXPORT_WHEN_FULL: u64 = request(205);
/// Returns how often the supervisor has asked for the next tick: a few times for each wake of its clock.
pub(crate) const ASKED: u64 = request(206);
/// Returns how many calls wait on the file.
pub(crate) const WAITING: u64 = request(208);
/// Returns how often waits were tried.
pub(crate) const TRIED: u64 = request(211);
/// Completes all calls that wait on the file. Returns their number.
pub(crate) const FREE: u64 = request(209);
/// Returns how often polls have begun to wait.
pub(crate) const POLLED: u64 = request(212);
/// From now on, the file polls as readable once another file was released.
pub(crate) const TELL_ENDS: u64 = request(213);
/// On a buffer: doubles a number.
pub(crate) const BUFFER_DOUBLE: u64 = 3 << 30 | 4 << 16 | (b'b' as u64) << 8 | 1;

/// Length of each buffer.
pub(crate) const LEN: usize = 12288;
/// Cookie of buffer n.
pub(crate) const fn cookie(n: u64) -> u64 {
    n * 0x8000
}
/// Returns the byte that fills buffer n.
pub(crate) fn pattern(n: u64) -> u8 {
    0xa0 + u8::try_from(n).expect("few buffers")
}
pub(crate) const FRAME: &[u8] = b"a frame of the toy";

#[derive(Default)]
struct Open {
    state: i16,
    armed: Option<Instant>,
    waits: HashMap<CallId, Instant>,
    flags: i32,
    tells_ends: bool,
}

/// A backend with two trivial devices.
pub(crate) struct Toy {
    files: HashMap<FileId, Open>,
    buffers: Vec<(OwnedFd, FdIdentity)>,
    given: HashMap<Tag, u64>,
    next: u64,
    changed: Vec<FileId>,
    wake: Option<(OwnedFd, u64)>,
    asked: AtomicU32,
    /// The limit of descriptors before an export that cannot be installed.
    limit: Option<u64>,
    tried: u32,
    polled: u32,
    pub(crate) count: u32,
    pub(crate) opened: u32,
    pub(crate) released: u32,
    pub(crate) gone: u32,
    pub(crate) abandoned: u32,
    pub(crate) written: Vec<u8>,
    /// Children that count as started by the backend.
    pub(crate) children: Vec<u32>,
    /// The number of opens from which on further ones are refused.
    pub(crate) most: usize,
}

fn memfd(name: &CStr) -> OwnedFd {
    // SAFETY: the name is NUL-terminated; the new descriptor is ours.
    unsafe { OwnedFd::from_raw_fd(libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC)) }
}

/// Sets this process's limit of descriptors. Returns the previous limit.
fn limit_descriptors(limit: u64) -> u64 {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is live.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) };
    let before = std::mem::replace(&mut limits.rlim_cur, limit);
    // SAFETY: the structure is live.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) };
    assert_eq!((got, set), (0, 0), "{}", std::io::Error::last_os_error());
    before
}

/// Makes a descriptor after the step, and writes its number to `arg`.
fn install(step: &Step<'_>, made: Made, arg: u64) {
    step.install(Install {
        made,
        cloexec: true,
        number: NumberAt::Address(arg),
    });
}

impl Toy {
    pub(crate) fn new() -> Self {
        let buffers = (0..3).map(|n| {
            let fd = memfd(c"toy-buffer");
            let mut file = File::from(fd.try_clone().expect("dup"));
            file.write_all(&[pattern(n); LEN]).expect("memory");
            let stat = file.metadata().expect("stat");
            (
                fd,
                FdIdentity {
                    dev: stat.dev(),
                    ino: stat.ino(),
                },
            )
        });
        Self {
            files: HashMap::new(),
            buffers: buffers.collect(),
            given: HashMap::new(),
            next: 0,
            changed: Vec::new(),
            wake: None,
            asked: AtomicU32::new(0),
            limit: None,
            tried: 0,
            polled: 0,
            count: 0,
            opened: 0,
            released: 0,
            gone: 0,
            abandoned: 0,
            written: Vec::new(),
            children: Vec::new(),
            most: 200,
        }
    }

    pub(crate) fn assert_nothing_held(&self) {
        assert_eq!(self.files.len(), 0, "files not released");
        assert_eq!(self.opened, self.released, "each open is released once");
        assert_eq!(self.given, HashMap::new(), "given and not gone");
    }

    fn give(&mut self, n: u64) -> Tag {
        self.next += 1;
        self.given.insert(Tag(self.next), n);
        Tag(self.next)
    }

    fn numbers(
        &mut self,
        file: FileId,
        request: u64,
        (n, arg): (u32, u64),
        step: &Step<'_>,
    ) -> Result<u32, i32> {
        let open = self.files.get_mut(&file).ok_or(libc::EBADF)?;
        match request {
            COUNT => self.count += 1,
            STATE | QUIET => {
                open.state = i16::try_from(n).expect("poll bits");
                self.changed.extend((request == STATE).then_some(file));
            }
            TELL_ENDS => open.tells_ends = true,
            ARM => open.armed = Some(Instant::now() + Duration::from_millis(n.into())),
            FREE => {
                let now = Instant::now();
                open.waits.values_mut().for_each(|due| *due = now);
                self.changed.push(file);
            }
            _ => {}
        }
        let waiting = open.waits.len();
        Ok(match request {
            COUNT => self.count,
            STATE | QUIET | ARM | TELL_ENDS => n,
            WAKE_FD => {
                static MADE: AtomicU64 = AtomicU64::new(0);
                self.wake = (n > 0).then(|| {
                    // SAFETY: takes integers; the new descriptor is ours.
                    let fd = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
                    (fd, MADE.fetch_add(1, Ordering::Relaxed))
                });
                n
            }
            ALONE if self.files.len() > 1 => return Err(libc::EBUSY),
            ALONE => n,
            OPENS => u32::try_from(self.files.len()).expect("few"),
            GIVEN => u32::try_from(self.given.len()).expect("few"),
            ABANDONED => self.abandoned,
            TRIED => self.tried,
            POLLED => self.polled,
            WAITING | FREE => u32::try_from(waiting).expect("few"),
            ASKED => self.asked.load(Ordering::Relaxed),
            IMPORT => {
                let known = step.descriptor(n.cast_signed(), Detail::Name);
                if self.is_buffer(known.map_err(|e| e.0)?.id) {
                    LEN as u32
                } else {
                    return Err(libc::EINVAL);
                }
            }
            EXPORT | EXPORT_WHEN_FULL => {
                let (fd, _) = self.buffers.get(n as usize).ok_or(libc::EINVAL)?;
                let fd = fd.try_clone().expect("dup");
                if request == EXPORT_WHEN_FULL {
                    // The supervisor reports the end of what it cannot install.
                    self.limit = Some(limit_descriptors(0));
                }
                let tag = self.give(n.into());
                install(step, Made::Memory { fd, tag }, arg);
                n
            }
            MAKE => {
                self.next += 1;
                let file = FileId(self.next);
                self.opened += 1;
                self.files.insert(file, Open::default());
                let name = c"toy-made";
                install(step, Made::File { file, name }, arg);
                n
            }
            _ => return Err(libc::ENOTTY),
        })
    }

    fn ioctl(&mut self, file: FileId, request: u64, arg: u64, step: &Step<'_>) -> CallOutcome {
        if request == QUERYCAP {
            let mut cap = [0u8; 104];
            cap[..3].copy_from_slice(b"toy");
            cap[16..19].copy_from_slice(b"Toy");
            cap[48..59].copy_from_slice(b"virtual:toy");
            cap[84..88].copy_from_slice(&0x8520_0001u32.to_ne_bytes());
            cap[88..92].copy_from_slice(&0x0520_0001u32.to_ne_bytes());
            step.write(arg, &cap);
            return CallOutcome::Done(0);
        }
        if request == PROBE {
            let mut addr = [0; 8];
            let range = step.read(arg, &mut addr);
            let range = range.and_then(|()| step.range(u64::from_ne_bytes(addr), LEN as u64));
            return range.map_or_else(CallOutcome::Fail, |range| {
                CallOutcome::Done(range.writable.cast_signed())
            });
        }
        let mut n = [0; 4];
        if let Err(e) = step.read(arg, &mut n) {
            return CallOutcome::Fail(e);
        }
        let n = u32::from_ne_bytes(n);
        if request == WAIT {
            return self.wait(file, n, step.of().nonblocking, step.call());
        }
        match self.numbers(file, request, (n, arg), step) {
            Ok(n) => {
                if !matches!(request, EXPORT | EXPORT_WHEN_FULL | MAKE) {
                    step.write(arg, &n.to_ne_bytes());
                }
                CallOutcome::Done(0)
            }
            Err(e) => CallOutcome::Fail(Errno(e)),
        }
    }

    fn read(&mut self, file: FileId, (addr, len): (u64, u64), step: &Step<'_>) -> CallOutcome {
        let Some(open) = self.files.get_mut(&file) else {
            return CallOutcome::Fail(Errno(libc::EBADF));
        };
        if open.armed.is_some() && open.state & libc::POLLIN == 0 {
            return match step.of().nonblocking {
                true => CallOutcome::Fail(Errno(libc::EAGAIN)),
                false => CallOutcome::Wait,
            };
        }
        let frame = &FRAME[..FRAME.len().min(usize::try_from(len).expect("64 bit"))];
        step.write(addr, frame);
        CallOutcome::Done(frame.len() as i64)
    }

    fn write(&mut self, (addr, len): (u64, u64), step: &Step<'_>) -> CallOutcome {
        let mut bytes = vec![0; usize::try_from(len.min(1 << 16)).expect("small")];
        match step.read(addr, &mut bytes) {
            Ok(()) => {
                self.written.extend(&bytes);
                CallOutcome::Done(bytes.len() as i64)
            }
            Err(e) => CallOutcome::Fail(e),
        }
    }

    fn wait(&mut self, file: FileId, millis: u32, nonblocking: bool, call: CallId) -> CallOutcome {
        self.tried += 1;
        let Some(open) = self.files.get_mut(&file) else {
            return CallOutcome::Fail(Errno(libc::EBADF));
        };
        if nonblocking {
            open.waits.remove(&call);
            return CallOutcome::Fail(Errno(libc::EAGAIN));
        }
        let now = Instant::now();
        let due = *open
            .waits
            .entry(call)
            .or_insert(now + Duration::from_millis(millis.into()));
        if now < due {
            return CallOutcome::Wait;
        }
        open.waits.remove(&call);
        self.count += 1;
        CallOutcome::Done(self.count.into())
    }
}

impl Devices for Toy {
    fn nodes(&self) -> Vec<Node> {
        [(0, "/dev/video90", 90), (1, "/dev/video91", 91)]
            .map(|(id, path, minor)| Node::video(NodeId(id), path, minor))
            .into()
    }

    fn open(&mut self, node: NodeId, flags: i32, _: Origin) -> Result<FileId, Errno> {
        // The second node can be open only once at a time.
        let busy = node == NodeId(1) && self.files.values().any(|open| open.flags < 0);
        if busy || self.files.len() >= self.most {
            return Err(Errno(libc::EBUSY));
        }
        self.next += 1;
        self.opened += 1;
        let flags = if node == NodeId(1) { -1 } else { flags };
        self.files.insert(
            FileId(self.next),
            Open {
                flags,
                ..Open::default()
            },
        );
        Ok(FileId(self.next))
    }

    fn release(&mut self, file: FileId) {
        self.released += 1;
        assert!(self.files.remove(&file).is_some(), "released twice");
        for (other, open) in self.files.iter_mut().filter(|(_, open)| open.tells_ends) {
            open.state |= libc::POLLIN;
            self.changed.push(*other);
        }
    }

    fn tag_ended(&mut self, tag: Tag) {
        self.limit.take().map(limit_descriptors);
        self.gone += 1;
        assert!(self.given.remove(&tag).is_some(), "gone twice");
    }

    fn abandon(&mut self, file: FileId, call: CallId) {
        self.abandoned += 1;
        if let Some(open) = self.files.get_mut(&file) {
            assert!(
                open.waits.remove(&call).is_some(),
                "abandoned and not waiting"
            );
        }
    }

    fn mmap(&mut self, _: FileId, args: &Mmap, _: Origin) -> Result<Map, Errno> {
        let n = usize::try_from(args.offset / cookie(1)).expect("small");
        let fits = args.offset.is_multiple_of(cookie(1)) && args.len <= LEN as u64;
        if args.flags & libc::MAP_SHARED == 0 || !fits || n >= self.buffers.len() {
            return Err(Errno(libc::EINVAL));
        }
        let tag = self.give(n as u64);
        let fd = self.buffers[n].0.try_clone().expect("dup");
        Ok(Map { fd, offset: 0, tag })
    }

    fn poll(&mut self, file: FileId, events: i16) -> i16 {
        let state = self
            .files
            .get(&file)
            .map_or(libc::POLLHUP, |open| open.state);
        state & (events | libc::POLLERR | libc::POLLHUP)
    }

    fn peek(&mut self, file: FileId, events: i16) -> i16 {
        self.poll(file, events)
    }

    fn poll_waits(&mut self, _: FileId, _: i16) {
        self.polled += 1;
    }

    fn next_tick(&self) -> Option<Duration> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let armed = self.files.values().filter_map(|open| open.armed);
        let waits = self
            .files
            .values()
            .flat_map(|open| open.waits.values().copied());
        let next = armed.chain(waits).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for (&file, open) in &mut self.files {
            if open.armed.is_some_and(|armed| armed <= now) {
                open.armed = None;
                open.state |= libc::POLLIN;
                self.changed.push(file);
            }
            if open.waits.values().any(|&due| due <= now) {
                self.changed.push(file);
            }
        }
    }

    fn wake_fds(&self) -> Vec<WakeFd<'_>> {
        let wake = self.wake.iter();
        wake.map(|(wake, id)| WakeFd {
            fd: wake.as_fd(),
            id: *id,
        })
        .collect()
    }

    fn take_changed(&mut self, files: &mut Vec<FileId>) {
        files.append(&mut self.changed);
    }

    fn call(&mut self, call: &Call<'_>) -> Outcome {
        let step = Step::new(call);
        let done = match (call.on, call.op) {
            (On::File(file), Op::Ioctl { request, arg }) => {
                self.ioctl(file, request.into(), arg, &step)
            }
            (On::File(file), Op::Read { addr, len }) => self.read(file, (addr, len), &step),
            (On::File(_), Op::Write { addr, len }) => self.write((addr, len), &step),
            (On::Buffer(_), Op::Ioctl { request, arg }) if u64::from(request) == BUFFER_DOUBLE => {
                let mut n = [0; 4];
                let read = step.read(arg, &mut n);
                step.write(arg, &u32::from_ne_bytes(n).wrapping_mul(2).to_ne_bytes());
                read.into()
            }
            _ => CallOutcome::Fail(Errno(libc::ENOTTY)),
        };
        step.end(done)
    }
}

impl ProcessFiles for Toy {
    fn is_buffer(&self, id: FdIdentity) -> bool {
        self.buffers.iter().any(|&(_, known)| known == id)
    }

    fn buffer_len(&self, _: FdIdentity) -> u64 {
        LEN as u64
    }

    fn needs_fresh_closes(&self, _: FileId, request: Option<u32>, _: &[u8]) -> bool {
        request.map(u64::from) != Some(ALONE)
    }

    fn files(&self, node: NodeId) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        if node != NodeId(0) {
            return Vec::new();
        }
        vec![("/sys/class/video4linux/video90/name".into(), "Toy\n".into())]
    }

    fn is_own_child(&self, pid: u32) -> bool {
        self.children.contains(&pid)
    }
}
