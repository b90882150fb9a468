//! The world as the front end sees it.

use crate::control::Control;
use crate::memory::Memory;
use crate::program::{Call, outcome};
use crate::sw_sync::Timelines;
use crate::sync_file::{EXPORT_SYNC_FILE, IMPORT_SYNC_FILE};
use crate::watch::Video;
use crate::{World, lines, summary, udev, usb};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;
use vb3_dmabuf::{IOCTL_SYNC, Name};
use vb3_host::{
    Backend, CallId, Caller, Errno, FdIdentity, FileId, Hotplug, Map, Mmap, NodeId, Outcome,
    PIECE_BYTES, Tag,
};
use vb3_queue::{MapAccess, Queue};
use vb3_report::Refusal;
use vb3_v4l2::sys::{VIDIOC_CREATE_BUFS, VIDIOC_REQBUFS, VIDIOC_S_FMT, VIDIOC_STREAMOFF};
use vb3_v4l2::{CallContext, FileHandle, Flow, POLL_IN, POLL_OUT, POLL_PRI, VideoDriver as _};

const POLLERR: i16 = 8;
/// What holds on a file whose device has gone.
///
/// Source: Linux 7.2 drivers/media/v4l2-core/v4l2-dev.c `v4l2_poll`.
const POLL_GONE: i16 = POLLERR | 0x10 | POLL_PRI;
const MAP_SHARED: i32 = 1;
const MAP_TYPE: i32 = 0xf;
const PROT_READ: i32 = 1;
const PROT_WRITE: i32 = 2;
/// `DMA_BUF_SET_NAME` in its two sizes.
const SET_NAME: [u32; 2] = [0x4004_6201, 0x4008_6201];

/// How often some real dma-bufs are looked at, whose end nothing tells of.
const LOOK_NS: u64 = 50_000_000;

/// How often drivers of other buffers are asked whether their work has ended.
const ASK: Duration = Duration::from_millis(1);

impl World {
    /// The clock, told to all who keep time.
    pub(super) fn set_now(&mut self) -> u64 {
        let now = self.clock.now_ns();
        self.memory.set_now(now);
        self.memory.ops_mut().platform_mut().set_now_ns(now);
        now
    }

    /// A name for a new file.
    pub(super) fn new_file(&mut self) -> FileId {
        self.next_file = self.next_file.wrapping_add(1);
        FileId(self.next_file)
    }

    /// When real dma-bufs are to be looked at again.
    fn next_look_ns(&self) -> u64 {
        self.last_look_ns.saturating_add(LOOK_NS)
    }

    /// When there is something to do next, on a clock that does not pass by itself.
    fn next_event(&self) -> Option<u64> {
        let now = self.clock.now_ns();
        let ticks = self.nodes.iter().filter_map(|node| node.next_event(now));
        ticks
            .chain(self.play.next_ns())
            .chain(self.plugs.next_due())
            .min()
    }

    /// Whether a program that asked a file found nothing, and so waits for time to pass.
    fn note_wait(&mut self, file: FileId, found_nothing: bool) {
        match found_nothing && self.clock.is_virtual() {
            true => self.waiting.insert(file),
            false => self.waiting.remove(&file),
        };
    }

    /// Whether a program waits for time to pass.
    fn somebody_waits(&self) -> bool {
        !self.waiting.is_empty() || self.waits_for_buffers
    }

    /// Whether a file is of a kind that has no poll, and no read and write either.
    fn knows_no_poll(&self, file: FileId) -> bool {
        self.heaps.has(file) || self.udmabufs.has(file) || self.timelines.has(file)
    }

    /// What holds on a file; `ask` is how a video device is asked.
    fn poll_by(
        &mut self,
        file: FileId,
        events: i16,
        ask: impl FnOnce(&mut Video, &mut Memory, FileHandle, i16) -> i16,
    ) -> i16 {
        if self.media.has(file) {
            return self.media_poll(file, events);
        }
        if self.sync_files.has(file) {
            let found = self.sync_file_poll(file, events);
            self.note_wait(file, found == 0);
            if found == 0 {
                self.want_buffers_back();
            }
            return found;
        }
        if self.knows_no_poll(file) {
            // As files that know no poll.
            return (POLL_IN | POLL_OUT) & events;
        }
        let Ok((at, handle)) = self.file(file) else {
            return POLL_GONE;
        };
        self.set_now();
        let Some(node) = self.nodes.get_mut(at) else {
            return POLLERR;
        };
        let found = ask(&mut node.video, &mut self.memory, handle, events);
        self.look_around();
        self.note_wait(file, found == 0);
        found
    }

    /// An ioctl on a file that is none of a video device.
    fn other_ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        caller: &dyn Caller,
    ) -> Option<Outcome> {
        if self.media.has(file) {
            Some(self.media_ioctl(file, request, arg, caller))
        } else if self.heaps.has(file) {
            Some(self.heap_ioctl(file, request, arg, caller))
        } else if self.udmabufs.has(file) {
            Some(self.udmabuf_ioctl(request, arg, caller))
        } else if self.sync_files.has(file) {
            Some(self.sync_file_ioctl(file, request, arg, caller))
        } else if self.timelines.has(file) {
            Some(self.timeline_ioctl(file, request, arg, caller))
        } else {
            None
        }
    }

    fn file(&self, file: FileId) -> Result<(usize, FileHandle), Errno> {
        self.files.get(&file).copied().ok_or(Errno::ENODEV)
    }

    /// The errno of an ioctl that only USB webcams have; `None` for other ioctls and devices.
    fn usb_refusal(
        &self,
        file: FileId,
        request: u32,
        arg: u64,
        caller: &dyn Caller,
    ) -> Option<Errno> {
        let (at, _) = self.file(file).ok()?;
        let is_usb = self.nodes.get(at)?.location.is_usb();
        is_usb.then(|| usb::refusal(request, arg, caller)).flatten()
    }

    /// A call on a device file.
    fn call(
        &mut self,
        file: FileId,
        nonblocking: bool,
        caller: &dyn Caller,
        make: impl FnOnce(&mut Target<'_>, CallContext, &Call<'_>) -> vb3_v4l2::Outcome,
    ) -> Outcome {
        let (at, handle) = match self.file(file) {
            Ok(found) => found,
            Err(e) => return Outcome::Fail(e),
        };
        let now_ns = self.set_now();
        let Some(node) = self.nodes.get_mut(at) else {
            return Outcome::Fail(Errno::ENODEV);
        };
        let context = CallContext {
            file: handle,
            nonblocking,
            call: caller.call().0,
            now_ns,
            // Time that programs wait for passes between two pieces: there are none.
            piece_bytes: match self.clock.is_virtual() {
                true => u64::MAX,
                false => PIECE_BYTES,
            },
        };
        let program = Call::new(caller, &self.shares, self.media.names(at));
        let mut target = Target {
            video: &mut node.video,
            memory: &mut self.memory,
        };
        let result = make(&mut target, context, &program);
        let lacks = program.lacks.get();
        node.watch.look(&mut node.video, now_ns);
        let imports = &mut self.shares.get_mut().imports;
        self.is_accounted = lacks || std::mem::take(&mut imports.lacks);
        for reason in imports.take_refused() {
            self.is_accounted = true;
            self.report.refuse(Refusal {
                device: node.path.display().to_string(),
                call: "QBUF".to_owned(),
                errno: Errno::EINVAL.0,
                constraint: reason.constraint.name().to_owned(),
                wanted: reason.wanted,
                found: reason.found,
                times: 1,
                remedy: None,
                room: None,
            });
        }
        self.look_around();
        let result = outcome(result);
        let found_nothing = matches!(result, Outcome::Wait | Outcome::Fail(Errno::EAGAIN));
        self.note_wait(file, found_nothing);
        result
    }
}

/// What a call works on.
struct Target<'a> {
    video: &'a mut Video,
    memory: &'a mut crate::memory::Memory,
}

impl Backend for World {
    fn nodes(&self) -> Vec<vb3_host::Node> {
        self.nodes
            .iter()
            .map(|node| vb3_host::Node {
                devices: node.location.devices(),
                ..vb3_host::Node::video(NodeId(node.number()), node.path.clone(), node.number())
            })
            .chain(self.media.nodes())
            .chain(self.heaps.nodes())
            .chain(self.udmabufs.node())
            .chain([Timelines::node()])
            .collect()
    }

    fn open(&mut self, node: NodeId, _: i32, caller: &dyn Caller) -> Result<FileId, Errno> {
        if !self.is_plugged(node) {
            return Err(Errno::ENODEV);
        }
        let id = self.new_file();
        let is_other = self.media.open(node, id)
            || self.heaps.open(node, id)
            || self.udmabufs.open(node, id)
            || (self.timelines).open(node, id, &mut self.memory, caller);
        if is_other {
            return Ok(id);
        }
        let at = self
            .nodes
            .iter()
            .position(|n| n.number() == node.0)
            .ok_or(Errno::ENODEV)?;
        let node = self.nodes.get_mut(at).ok_or(Errno::ENODEV)?;
        let handle = match node.open(&self.memory) {
            Ok(handle) => handle,
            Err(e) => {
                self.is_accounted = false;
                self.note_refusal_at(at, "open", Errno(e.errno()));
                return Err(Errno(e.errno()));
            }
        };
        self.files.insert(id, (at, handle));
        self.numbers.insert((at, handle), id);
        Ok(id)
    }

    fn release(&mut self, file: FileId) {
        let now = self.set_now();
        let is_other = self.release_media(file)
            || self.heaps.release(file)
            || self.udmabufs.release(file)
            || self.release_sync_file(file);
        if is_other {
            return;
        }
        if self.timelines.release(file, &mut self.memory) {
            self.look_around();
            return;
        }
        let Some((at, handle)) = self.files.remove(&file) else {
            self.plugs.forget(file);
            return;
        };
        self.numbers.remove(&(at, handle));
        if let Some(node) = self.nodes.get_mut(at) {
            // A display shows what was written and due before the close.
            let writes =
                |(flow, queue): (Flow, &Queue<_>)| flow == Flow::Output && queue.fileio_active();
            let is_due = node.video.next_tick().is_some_and(|due| due <= now);
            if is_due && summary::queues(node).any(writes) {
                node.tick(&mut self.memory, now, &|| true);
                node.finish_begun(&mut self.memory, now);
            }
            node.video.release(&mut self.memory, handle);
        }
        self.changed.remove(&file);
        self.waiting.remove(&file);
        self.look_around();
    }

    fn gone(&mut self, tag: Tag) {
        self.set_now();
        self.shares.get_mut().gone(&mut self.memory, tag);
        self.look_around();
    }

    fn ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> Outcome {
        self.is_accounted = false;
        if let Some(outcome) = self.other_ioctl(file, request, arg, caller) {
            if let Outcome::Fail(errno) = outcome {
                self.note_refused_other(file, request, errno);
            }
            return outcome;
        }
        if let Ok((at, _)) = self.file(file)
            && let Some(errno) = self.meet_call(at, request, caller.call())
        {
            return Outcome::Fail(errno);
        }
        if let Some(errno) = self.usb_refusal(file, request, arg, caller) {
            return Outcome::Fail(errno);
        }
        if matches!(request, VIDIOC_REQBUFS | VIDIOC_CREATE_BUFS) {
            // Memory of exports that were closed a moment ago is to be had again.
            self.shares.get_mut().look(&mut self.memory);
        }
        if request == VIDIOC_STREAMOFF {
            self.show_begun(file);
        }
        let asked = match request {
            VIDIOC_S_FMT => lines::asked(arg, caller),
            _ => None,
        };
        let outcome = self.call(file, nonblocking, caller, |target, context, program| {
            target
                .video
                .ioctl(target.memory, context, request, arg, program)
        });
        if let (Some(asked), Outcome::Done(_), Ok((at, _))) = (asked, &outcome, self.file(file)) {
            self.note_line(at, asked);
        }
        if let Outcome::Fail(errno) = outcome {
            self.note_refused_ioctl(file, (request, arg), errno, caller);
        }
        outcome
    }

    fn minds_ends(&self, file: FileId, request: u32) -> bool {
        let passes_own = || {
            let (at, handle) = self.file(file).ok()?;
            let node = self.nodes.get(at)?;
            Some(node.video.passes_own_buffers(handle, request))
        };
        // Where time is simulated, all comes in the order of the calls.
        self.clock.is_virtual() || !passes_own().unwrap_or(false)
    }

    fn abandon(&mut self, file: FileId, call: CallId) {
        let Ok((at, handle)) = self.file(file) else {
            return;
        };
        self.waiting.remove(&file);
        if let Some(node) = self.nodes.get_mut(at) {
            node.video.abandon(handle, call.0);
        }
        self.look_around();
    }

    fn mmap(&mut self, file: FileId, args: &Mmap, caller: &dyn Caller) -> Result<Map, Errno> {
        // A media device has no memory to map: ENODEV, as its file is none of these.
        let (at, handle) = self.file(file)?;
        self.set_now();
        self.is_accounted = false;
        let node = self.nodes.get_mut(at).ok_or(Errno::ENODEV)?;
        let access = MapAccess {
            // MAP_SHARED_VALIDATE is shared too.
            shared: args.flags & MAP_TYPE & MAP_SHARED != 0,
            read: args.prot & PROT_READ != 0,
            write: args.prot & PROT_WRITE != 0,
        };
        let mapped = node
            .video
            .mmap(&mut self.memory, handle, args.offset, args.len, access);
        let result = match mapped {
            Ok(map) => self
                .shares
                .get_mut()
                .map(&mut self.memory, map.memory, caller.pid())
                .map(|tag| Map {
                    fd: map.mmap.fd,
                    offset: map.mmap.offset,
                    tag,
                }),
            Err(error) => Err(Errno(error.errno())),
        };
        self.look_around();
        if let Err(errno) = result {
            self.note_refusal(file, "mmap", errno);
        }
        result
    }

    fn poll(&mut self, file: FileId, events: i16) -> i16 {
        let waits = self.waiting.contains(&file);
        let found = self.poll_by(file, events, Video::poll);
        // A program that looks for events while a buffer is done does not wait. It may dequeue next,
        // and time must not pass before.
        if found == 0 && !waits && self.clock.is_virtual() {
            self.peek(file, POLL_IN | POLL_OUT | POLL_PRI);
        }
        found
    }

    fn peek(&mut self, file: FileId, events: i16) -> i16 {
        self.poll_by(file, events, Video::peek)
    }

    fn poll_waits(&mut self, file: FileId, events: i16) {
        self.note_wait(file, true);
        let Ok((at, handle)) = self.file(file) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(at) {
            node.video.poll_waits(handle, events);
        }
    }

    fn read(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> Outcome {
        if self.media.has(file) || self.sync_files.has(file) || self.knows_no_poll(file) {
            return Outcome::Fail(Errno::EINVAL);
        }
        let outcome = self.call(file, nonblocking, caller, |target, context, program| {
            target
                .video
                .read(target.memory, context, addr, len, program)
        });
        if let Outcome::Fail(errno) = outcome {
            self.note_refusal(file, "read", errno);
        }
        outcome
    }

    fn write(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> Outcome {
        if self.media.has(file) || self.sync_files.has(file) || self.knows_no_poll(file) {
            return Outcome::Fail(Errno::EINVAL);
        }
        let outcome = self.call(file, nonblocking, caller, |target, context, program| {
            target
                .video
                .write(target.memory, context, addr, len, program)
        });
        if let Outcome::Fail(errno) = outcome {
            self.note_refusal(file, "write", errno);
        }
        outcome
    }

    fn go_on(&mut self, file: FileId, addr: u64, caller: &dyn Caller) -> Outcome {
        let outcome = self.call(file, false, caller, |target, context, program| {
            target.video.go_on(target.memory, context, addr, program)
        });
        if let Outcome::Fail(errno) = outcome {
            self.note_refusal(file, "read or write", errno);
        }
        outcome
    }

    fn is_buffer(&self, id: FdIdentity) -> bool {
        self.shares.borrow().buf(id).is_some()
    }

    fn buffer_ioctl(
        &mut self,
        id: FdIdentity,
        request: u32,
        arg: u64,
        caller: &dyn Caller,
    ) -> Outcome {
        let Some(buf) = self.shares.borrow().buf(id) else {
            return Outcome::Fail(Errno::ENOTTY);
        };
        self.set_now();
        self.is_accounted = false;
        let done = match request {
            IOCTL_SYNC => {
                let mut flags = [0; 8];
                let read = caller.read(arg, &mut flags);
                let flags = u64::from_ne_bytes(flags);
                if read.is_ok() && self.sync_waits(buf, flags, caller) {
                    self.waits_for_buffers = true;
                    self.want_buffers_back();
                    return Outcome::Wait;
                }
                let sync = |()| {
                    self.memory
                        .sync_buf(buf, flags)
                        .map_err(|e| Errno(e.errno()))
                };
                read.and_then(sync)
            }
            EXPORT_SYNC_FILE => self.export_sync_file(buf, arg, caller),
            IMPORT_SYNC_FILE => {
                self.buffers_changed = true;
                self.import_sync_file(buf, arg, caller)
            }
            request if SET_NAME.contains(&request) => read_name(arg, caller).and_then(|name| {
                self.memory
                    .set_buf_name(buf, name)
                    .map_err(|e| Errno(e.errno()))
            }),
            _ => Err(Errno::ENOTTY),
        };
        self.look_around();
        if let Err(errno) = done {
            self.note_refused_buffer(buf, request, errno);
        }
        done.into()
    }

    fn buffer_poll(&mut self, id: FdIdentity, events: i16) -> i16 {
        let asked = (POLL_IN | POLL_OUT) & events;
        let buf = self.shares.borrow().buf(id);
        let found = buf.map_or(asked, |buf| self.dmabuf_poll(buf, events));
        if found == 0 && asked != 0 {
            self.waits_for_buffers = true;
            self.want_buffers_back();
        }
        found
    }

    fn take_buffers_changed(&mut self) -> bool {
        std::mem::take(&mut self.buffers_changed)
    }

    fn buffer_len(&self, id: FdIdentity) -> u64 {
        self.shares.borrow().len_bytes(id)
    }

    fn buffer_mapped(&mut self, id: FdIdentity, pid: u32) -> Result<(), Errno> {
        self.set_now();
        if self.faults(id) {
            return Err(Errno::ENODEV);
        }
        let mapped = self.shares.get_mut().mapped(&mut self.memory, id, pid);
        self.follow_holders();
        mapped
    }

    fn is_foreign(&self, id: FdIdentity) -> bool {
        self.shares.borrow().imports.buf(id).is_some()
    }

    fn foreign_ioctl(&mut self, id: FdIdentity, request: u32, arg: u64, caller: &dyn Caller) {
        let Some(buf) = self.shares.borrow().imports.buf(id) else {
            return;
        };
        self.set_now();
        let mut flags = [0; 8];
        if request == IOCTL_SYNC && caller.read(arg, &mut flags).is_ok() {
            // What the flags are worth the buffer's own driver says.
            let flags = u64::from_ne_bytes(flags);
            let _ = self.sync_waits(buf, flags, caller);
            let _ = self.memory.sync_buf(buf, flags);
        }
        self.look_around();
    }

    fn files(&self, node: NodeId) -> Vec<(PathBuf, String)> {
        let video = self.nodes.iter().find(|n| n.number() == node.0);
        video.map_or_else(|| self.media.files(node), udev::files)
    }

    fn links(&self, node: NodeId) -> Vec<(PathBuf, PathBuf)> {
        let video = self.nodes.iter().find(|n| n.number() == node.0);
        video.map_or_else(|| self.media.links(node), udev::links)
    }

    fn take_hotplug(&mut self) -> Vec<Hotplug> {
        self.plugs.unseen.take()
    }

    fn hotplug_shown(&mut self) {
        self.plugs.unseen.shown();
        self.answer_control();
    }

    fn take_revoked(&mut self) -> Vec<FdIdentity> {
        self.revoked.unseen.take()
    }

    fn revoked_shown(&mut self) {
        self.revoked.unseen.shown();
        self.answer_control();
    }

    fn next_tick(&self) -> Option<Duration> {
        let looks = self.shares.borrow().wants_looks() || self.deadlocks.is_watching();
        let look = looks.then(|| {
            let left = self.next_look_ns().saturating_sub(self.clock.real_ns());
            Duration::from_nanos(left)
        });
        let due = if self.clock.is_virtual() {
            let now = self.clock.now_ns();
            let standstill = self.standstill();
            let waits = self.somebody_waits();
            let due = self.next_event();
            match due.filter(|due| waits && standstill.is_none() || *due <= now) {
                Some(_) => Some(Duration::ZERO),
                None => standstill.filter(|_| waits),
            }
        } else {
            let ticks = self.nodes.iter().filter_map(|node| node.video.next_tick());
            let due = ticks
                .chain(self.play.next_ns())
                .chain(self.plugs.next_due())
                .min();
            due.map(|due| Duration::from_nanos(self.clock.until(due)))
        };
        // Whether another driver's work has ended is only known by asking.
        let asks = self.shares.borrow().imports.has_pending();
        let ask = asks.then_some(ASK);
        due.into_iter().chain(look).chain(ask).min()
    }

    fn takes_memory(&self, request: u32) -> bool {
        matches!(request, VIDIOC_REQBUFS | VIDIOC_CREATE_BUFS)
    }

    fn is_due(&self) -> bool {
        if self.clock.is_virtual() {
            return self.next_tick().is_some_and(|due| due.is_zero());
        }
        let begins = self.nodes.iter();
        let begins = begins.filter_map(|node| node.video.next_beginning());
        let others = [self.play.next_ns(), self.plugs.next_due()];
        let due = begins.chain(others.into_iter().flatten()).min();
        due.is_some_and(|due| self.clock.until(due) == 0)
    }

    fn tick(&mut self) {
        if self.clock.is_virtual() && self.somebody_waits() {
            if self.may_pass()
                && let Some(due) = self.next_event()
            {
                self.clock.jump(due);
            }
            // Who still waits says so again, and time goes on.
            self.changed.append(&mut self.waiting);
            self.buffers_changed |= std::mem::take(&mut self.waits_for_buffers);
        }
        let now = self.set_now();
        self.memory.ops_mut().tick(now);
        self.tick_nodes(now);
        let real = self.clock.real_ns();
        if real >= self.next_look_ns() {
            self.last_look_ns = real;
            self.shares.get_mut().look_at_some(&mut self.memory);
            self.name_deadlocks(real);
            if self.deadlocks.is_watching() {
                self.want_buffers_back();
            }
        }
        self.plug_on_time(now);
        self.serve_control();
        self.look_around();
    }

    fn wake_fds(&self) -> Vec<BorrowedFd<'_>> {
        let devices = self
            .nodes
            .iter()
            .flat_map(|node| node.video.contexts_at_work())
            .filter_map(|context| context.driver().wake_fd());
        let control = self.control.iter().flat_map(Control::fds);
        devices.chain(control).collect()
    }

    fn is_own_child(&self, pid: u32) -> bool {
        vb3_codec::is_worker(pid)
    }

    fn take_changed(&mut self) -> Vec<FileId> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }
}

/// A name of a dma-buf from the program: at most 31 bytes before its NUL.
fn read_name(addr: u64, caller: &dyn Caller) -> Result<Name, Errno> {
    let mut bytes = [0u8; Name::MAX + 1];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let mut one = [0];
        caller.read(addr.wrapping_add(at as u64), &mut one)?;
        let [value] = one;
        *byte = value;
        if value == 0 {
            return Name::new(bytes.get(..at).unwrap_or(&[])).map_err(|e| Errno(e.errno()));
        }
    }
    Err(Errno::EINVAL)
}
