//! Implements the front end's interface: passes each call to the part that owns the file.

use crate::Run;
use crate::control::Control;
use crate::kinds::FileCall;
use std::path::PathBuf;
use std::time::Duration;
use vb3_frontend::{
    Call, CallId, CallOutcome, Devices, Errno, FdIdentity, FileId, Hotplug, Ioctl, Map, Mmap,
    NodeId, On, Op, Origin, Outcome, ProcessFiles, Step, Tag, WakeFd,
};
use vb3_v4l2::VideoDriver as _;
use vb3_v4l2::sys::{VIDIOC_CREATE_BUFS, VIDIOC_REQBUFS};

impl Devices for Run {
    fn nodes(&self) -> Vec<vb3_frontend::Node> {
        self.all_nodes()
    }

    fn open(&mut self, node: NodeId, _: i32, origin: Origin) -> Result<FileId, Errno> {
        self.open_node(node, origin)
    }

    fn release(&mut self, file: FileId) {
        self.release_file(file);
    }

    fn tag_ended(&mut self, tag: Tag) {
        self.set_now();
        self.shares.get_mut().tag_ended(&mut self.memory, tag);
        self.after_call();
    }

    fn call(&mut self, call: &Call<'_>) -> Outcome {
        let step = Step::new(call);
        let done = match (call.on, call.op) {
            (On::File(file), op) => self.call_file(FileCall {
                file,
                op,
                nonblocking: call.nonblocking,
                caller: &step,
            }),
            (On::Buffer(id), Op::Ioctl { request, arg }) => {
                self.call_buffer(id, Ioctl::new(request, arg, &step))
            }
            (On::Foreign(id), Op::Ioctl { request, arg }) => {
                self.sync_foreign(id, Ioctl::new(request, arg, &step));
                CallOutcome::Done(0)
            }
            (On::Buffer(_) | On::Foreign(_), _) => CallOutcome::Fail(Errno::EINVAL),
        };
        step.end(done)
    }

    fn abandon(&mut self, file: FileId, call: CallId) {
        self.abandon_call(file, call);
    }

    fn mmap(&mut self, file: FileId, args: &Mmap, origin: Origin) -> Result<Map, Errno> {
        self.map_file(file, args, origin)
    }

    fn poll(&mut self, file: FileId, events: i16) -> i16 {
        self.poll_file(file, events, false)
    }

    fn peek(&mut self, file: FileId, events: i16) -> i16 {
        self.poll_file(file, events, true)
    }

    fn poll_waits(&mut self, file: FileId, events: i16) {
        self.poll_file_waits(file, events);
    }

    fn next_tick(&self) -> Option<Duration> {
        self.until_next_tick()
    }

    fn is_due(&self) -> bool {
        self.is_tick_due()
    }

    fn woken(&mut self, id: u64) {
        let control = self.orders.control.as_ref();
        self.orders.may_accept |= control.is_some_and(|control| control.listens_at(id));
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
        let control = self.orders.control.iter().flat_map(Control::fds);
        let cards = self.cards.wake_fds();
        let all = devices.chain(control).chain(self.orders.fds()).chain(cards);
        all.map(|wake| WakeFd {
            fd: wake.fd,
            id: wake.id.number(),
        })
        .collect()
    }

    fn take_hotplug(&mut self) -> Vec<Hotplug> {
        self.nodes.plugs.unseen.take()
    }

    fn hotplug_shown(&mut self, count: usize) {
        self.nodes.plugs.unseen.shown(count);
        self.answer_control();
    }

    fn take_changed(&mut self, files: &mut Vec<FileId>) {
        self.waits.take_changed(files);
    }
}

impl ProcessFiles for Run {
    fn is_buffer(&self, id: FdIdentity) -> bool {
        self.shares.borrow().buf(id).is_some()
    }

    fn buffer_poll(&mut self, id: FdIdentity, events: i16) -> i16 {
        self.poll_buffer(id, events)
    }

    fn take_buffers_changed(&mut self) -> bool {
        std::mem::take(&mut self.waits.buffers_changed)
    }

    fn buffer_len(&self, id: FdIdentity) -> u64 {
        self.shares.borrow().len_bytes(id)
    }

    fn buffer_mapped(&mut self, id: FdIdentity, origin: Origin) -> Result<(), Errno> {
        self.set_now();
        let shares = self.shares.get_mut();
        let mapped = shares.mapped(&mut self.memory, id, origin.client);
        self.follow_holders();
        mapped
    }

    fn is_foreign(&self, id: FdIdentity) -> bool {
        self.shares.borrow().imports.buf(id).is_some()
    }

    fn needs_fresh_closes(&self, file: FileId, request: Option<u32>, argument: &[u8]) -> bool {
        let needs = || {
            self.of_file(file, |kind| {
                kind.needs_closes(self, file, request, argument)
            })
        };
        // With virtual time, a run must be repeatable, so every call waits until earlier closes are known. At
        // other paces, DQBUF and polls of own streams need not wait, nor QBUF of the device's own buffers.
        self.clock.is_virtual() || needs().unwrap_or(true)
    }

    fn takes_memory(&self, request: u32) -> bool {
        matches!(request, VIDIOC_REQBUFS | VIDIOC_CREATE_BUFS)
    }

    fn files(&self, node: NodeId) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.of_node(node, |kind, index| kind.files(self, index));
        files.unwrap_or_default()
    }

    fn links(&self, node: NodeId) -> Vec<(PathBuf, PathBuf)> {
        let links = self.of_node(node, |kind, index| kind.links(self, index));
        links.unwrap_or_default()
    }

    fn node_of(&self, file: FileId) -> Option<NodeId> {
        self.card_node_of(file)
    }

    fn is_own_child(&self, pid: u32) -> bool {
        vb3_codec::is_worker(pid)
    }
}
