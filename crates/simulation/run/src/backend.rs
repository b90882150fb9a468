//! Implements the front end's interface: passes each call to the part that owns the file.

use crate::Run;
use crate::control::Control;
use crate::plain::PlainFile;
use crate::program::Ioctl;
use crate::sw_sync;
use crate::watch::Video;
use std::path::PathBuf;
use std::time::Duration;
use vb3_frontend::{
    Backend, CallId, CallOutcome, Caller, Errno, FdIdentity, FileId, Hotplug, Map, Mmap, NodeId,
    Tag, WakeFd,
};
use vb3_v4l2::sys::{VIDIOC_CREATE_BUFS, VIDIOC_REQBUFS};
use vb3_v4l2::{Flow, POLL_IN, POLL_OUT, POLL_PRI, VideoDriver as _};

impl Backend for Run {
    fn nodes(&self) -> Vec<vb3_frontend::Node> {
        self.nodes
            .iter()
            .map(|node| vb3_frontend::Node {
                devices: node.location.devices(),
                ..vb3_frontend::Node::video(NodeId(node.number()), node.path.clone(), node.number())
            })
            .chain(self.media.nodes())
            .chain(self.heaps.nodes())
            .chain(self.udmabufs.node())
            .chain([sw_sync::node()])
            .chain(self.attributes.nodes())
            .collect()
    }

    fn open(&mut self, node: NodeId, _: i32, caller: &dyn Caller) -> Result<FileId, Errno> {
        if !self.is_plugged(node) {
            return Err(Errno::ENODEV);
        }
        let id = self.new_file();
        if self.media.open(node, id) {
            return Ok(id);
        }
        let plain = (self.heaps.open(node))
            .or_else(|| self.udmabufs.open(node))
            .or_else(|| self.attributes.open(node))
            .or_else(|| self.open_timeline(node, id, caller));
        if let Some(plain) = plain {
            self.plain_files.insert(id, plain);
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
        self.report_open(at, caller.pid());
        Ok(id)
    }

    fn release(&mut self, file: FileId) {
        let now = self.set_now();
        match self.plain_files.remove(&file) {
            Some(PlainFile::Timeline(open)) => self.close_timeline(open),
            Some(_) => {}
            None if self.release_media(file) || self.release_sync_file(file) => {}
            None => self.release_video(file, now),
        }
    }

    fn tag_ended(&mut self, tag: Tag) {
        self.set_now();
        self.shares.get_mut().tag_ended(&mut self.memory, tag);
        self.after_call();
    }

    fn ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome {
        let call = Ioctl::new(request, arg, caller);
        self.other_ioctl(file, call)
            .unwrap_or_else(|| self.video_ioctl(file, call, nonblocking))
    }

    fn needs_fresh_closes(&self, file: FileId, request: u32) -> bool {
        let passes_own = || {
            let (at, handle) = self.file(file).ok()?;
            let node = self.nodes.get(at)?;
            Some(node.video.passes_own_buffers(handle, request))
        };
        // With virtual time, a run must be repeatable, so every call waits until earlier closes are known. At
        // other paces, DQBUF need not wait, nor QBUF of the device's own buffers.
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
        self.after_call();
    }

    fn mmap(&mut self, file: FileId, args: &Mmap, caller: &dyn Caller) -> Result<Map, Errno> {
        self.map_file(file, args, caller)
    }

    fn poll(&mut self, file: FileId, events: i16) -> i16 {
        let waits = self.waiting.contains(&file);
        let found = self.poll_by(file, events, Video::poll);
        // `poll_by` has marked the program as waiting. If the file is ready for another event, `peek`
        // removes the mark. The next call may be DQBUF, so time must not advance before it.
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
    ) -> CallOutcome {
        if let Some(done) = self.read_attribute(file, (addr, len), caller) {
            return done;
        }
        self.transfer(file, Flow::Capture, (addr, len), nonblocking, caller)
    }

    fn write(
        &mut self,
        file: FileId,
        addr: u64,
        len: u64,
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome {
        if let Some(done) = self.write_attribute(file, (addr, len), caller) {
            return done;
        }
        self.transfer(file, Flow::Output, (addr, len), nonblocking, caller)
    }

    fn resume(&mut self, file: FileId, addr: u64, caller: &dyn Caller) -> CallOutcome {
        let outcome = self.call(file, false, caller, |target, context, program| {
            target.video.resume(target.memory, context, addr, program)
        });
        if let CallOutcome::Fail(errno) = outcome {
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
    ) -> CallOutcome {
        self.dmabuf_ioctl(id, Ioctl::new(request, arg, caller))
    }

    fn buffer_poll(&mut self, id: FdIdentity, events: i16) -> i16 {
        self.poll_buffer(id, events)
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
        self.sync_foreign(id, Ioctl::new(request, arg, caller));
    }

    fn files(&self, node: NodeId) -> Vec<(PathBuf, Vec<u8>)> {
        let video = self.nodes.iter().find(|n| n.number() == node.0);
        video.map_or_else(
            || self.media.files(&self.nodes, node),
            |n| n.sysfs().files(),
        )
    }

    fn links(&self, node: NodeId) -> Vec<(PathBuf, PathBuf)> {
        let video = self.nodes.iter().find(|n| n.number() == node.0);
        video.map_or_else(|| self.media.links(node), |n| n.sysfs().links())
    }

    fn take_hotplug(&mut self) -> Vec<Hotplug> {
        self.plugs.unseen.take()
    }

    fn hotplug_shown(&mut self, count: usize) {
        self.plugs.unseen.shown(count);
        self.answer_control();
    }

    fn take_revoked(&mut self) -> Vec<FdIdentity> {
        self.revoked.unseen.take()
    }

    fn revoked_shown(&mut self, count: usize) {
        self.revoked.unseen.shown(count);
        self.answer_control();
    }

    fn next_tick(&self) -> Option<Duration> {
        self.until_next_tick()
    }

    fn takes_memory(&self, request: u32) -> bool {
        matches!(request, VIDIOC_REQBUFS | VIDIOC_CREATE_BUFS)
    }

    fn is_due(&self) -> bool {
        self.is_tick_due()
    }

    fn woken(&mut self, id: u64) {
        let control = self.control.as_ref();
        self.may_accept |= control.is_some_and(|control| control.listens_at(id));
    }

    fn tick(&mut self) {
        self.pass_time();
    }

    fn continue_work(&mut self, is_wanted: &dyn Fn() -> bool) {
        match self.clock.is_virtual() {
            true => self.pass_time(),
            false => self.move_pieces(is_wanted),
        }
    }

    fn wake_fds(&self) -> Vec<WakeFd<'_>> {
        let devices = self
            .nodes
            .iter()
            .flat_map(|node| node.video.contexts_at_work())
            .filter_map(|context| context.driver().wake_fd());
        let control = self.control.iter().flat_map(Control::fds);
        let all = devices.chain(control).chain(self.orders.fds());
        all.map(|wake| WakeFd {
            fd: wake.fd,
            id: wake.id.number(),
        })
        .collect()
    }

    fn is_own_child(&self, pid: u32) -> bool {
        vb3_codec::is_worker(pid)
    }

    fn take_changed(&mut self) -> Vec<FileId> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }
}
