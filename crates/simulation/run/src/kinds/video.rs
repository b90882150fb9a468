//! Files of video devices, metadata nodes and subdevices.

use super::{Answer, FileCall, Kind, uvc};
use crate::memory::RunMemory;
use crate::node::Node;
use crate::program::{Call, answer};
use crate::refusals::{Refused, is_probe, short_name};
use crate::watch::Video;
use crate::{Run, lines, summary};
use std::collections::BTreeMap;
use vb3_frontend::{CallId, Errno, FileId, Ioctl, Map, Mmap, NodeId, Op, Origin, PIECE_BYTES};
use vb3_queue::{Direction, Queue};
use vb3_sysfs::{File, Link};
use vb3_v4l2::sys::{VIDIOC_CREATE_BUFS, VIDIOC_REQBUFS, VIDIOC_S_FMT, VIDIOC_STREAMOFF};
use vb3_v4l2::{CallContext, FileHandle, Flow, Role};

const PROT_READ: i32 = 1;
const PROT_WRITE: i32 = 2;

/// The open files of video devices.
#[derive(Debug, Default)]
pub(crate) struct Videos {
    /// The device's index among the nodes, and the device's handle.
    files: BTreeMap<FileId, (usize, FileHandle)>,
    ids: BTreeMap<(usize, FileHandle), FileId>,
}

impl Videos {
    /// Returns a file's device, by its index among the nodes, and the device's handle.
    pub(crate) fn get(&self, file: FileId) -> Option<(usize, FileHandle)> {
        self.files.get(&file).copied()
    }

    /// Returns the id of a device's open file.
    pub(crate) fn id(&self, at: usize, handle: FileHandle) -> Option<FileId> {
        self.ids.get(&(at, handle)).copied()
    }

    /// Returns the open files of a device.
    pub(crate) fn of(&self, at: usize) -> Vec<FileId> {
        let own = self.files.iter().filter(|(_, (of, _))| *of == at);
        own.map(|(id, _)| *id).collect()
    }

    fn insert(&mut self, file: FileId, at: usize, handle: FileHandle) {
        self.files.insert(file, (at, handle));
        self.ids.insert((at, handle), file);
    }

    fn remove(&mut self, file: FileId) -> Option<(usize, FileHandle)> {
        let found = self.files.remove(&file)?;
        self.ids.remove(&found);
        Some(found)
    }
}

/// The device and memory that a call uses.
struct Target<'a> {
    video: &'a mut Video,
    memory: &'a mut RunMemory,
}

/// The kind of the nodes of video devices. Their files are in [`OpenFiles::videos`](super::OpenFiles).
pub(crate) struct VideoFiles;

impl VideoFiles {
    pub(crate) const NAME: &str = "video";
}

impl Kind for VideoFiles {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn nodes(&self, run: &Run) -> Vec<vb3_frontend::Node> {
        let node = |node: &Node| vb3_frontend::Node {
            devices: node.location.devices(),
            ..vb3_frontend::Node::video(NodeId(0), node.path.clone(), node.number())
        };
        run.nodes.iter().map(node).collect()
    }

    fn is_present(&self, run: &Run, node: usize) -> bool {
        run.nodes.plugs.is_present(node)
    }

    fn files(&self, run: &Run, node: usize) -> Vec<File> {
        let node = run.nodes.get(node);
        node.map_or_else(Vec::new, |node| node.sysfs().files())
    }

    fn links(&self, run: &Run, node: usize) -> Vec<Link> {
        let node = run.nodes.get(node);
        node.map_or_else(Vec::new, |node| node.sysfs().links())
    }

    fn open(
        &mut self,
        run: &mut Run,
        at: usize,
        file: FileId,
        origin: Origin,
    ) -> Result<(), Refused> {
        let node = run.nodes.get_mut(at).ok_or(Errno::ENODEV)?;
        let handle = node.open(&run.memory).map_err(|e| {
            let refused = Refused::from(Errno(e.errno()));
            refused.by(|| node.path.clone(), Some("open"))
        })?;
        run.files.videos.insert(file, at, handle);
        run.report_open(at, origin.pid());
        Ok(())
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let (at, _) = run.files.videos.get(call.file).ok_or(Errno::ENODEV)?;
        let (name, done) = match call.op {
            Op::Ioctl { request, arg } => {
                let ioctl = Ioctl::new(request, arg, call.caller);
                let done = run.video_ioctl(at, call, ioctl);
                let is_probe = done.is_err() && is_probe(ioctl);
                (short_name(request).filter(|_| !is_probe), done)
            }
            Op::Read { addr, len } => {
                let range = (Flow::Capture, (addr, len));
                (Some("read"), run.video_transfer(call, range))
            }
            Op::Write { addr, len } => {
                let range = (Flow::Output, (addr, len));
                (Some("write"), run.video_transfer(call, range))
            }
            Op::Resume { addr } => {
                let done = run.video_call(call, |target, context, program| {
                    target.video.resume(target.memory, context, addr, program)
                });
                (Some("read or write"), done)
            }
        };
        done.map_err(|refused| refused.by(|| run.path_of(at), name))
    }

    fn map(
        &mut self,
        run: &mut Run,
        file: FileId,
        args: &Mmap,
        origin: Origin,
    ) -> Result<Map, Refused> {
        let (at, handle) = run.files.videos.get(file).ok_or(Errno::ENODEV)?;
        let mapped = run.map_video(at, handle, args, origin);
        mapped.map_err(|errno| Refused::from(errno).by(|| run.path_of(at), Some("mmap")))
    }

    fn poll(&mut self, run: &mut Run, file: FileId, events: i16, is_peek: bool) -> i16 {
        let now_ns = run.set_now();
        let Some((video, memory, handle)) = run.video_of(file) else {
            return super::gone::POLL_GONE;
        };
        match is_peek {
            true => video.peek(memory, handle, events, now_ns),
            false => video.poll(memory, handle, events, now_ns),
        }
    }

    fn poll_waits(&mut self, run: &mut Run, file: FileId, events: i16) {
        if let Some((video, _, handle)) = run.video_of(file) {
            video.poll_waits(handle, events);
        }
    }

    fn abandon(&mut self, run: &mut Run, file: FileId, call: CallId) {
        if let Some((video, _, handle)) = run.video_of(file) {
            video.abandon(handle, call.0);
        }
    }

    fn needs_closes(&self, run: &Run, file: FileId, request: Option<u32>, argument: &[u8]) -> bool {
        let passes_own = || {
            let (at, handle) = run.files.videos.get(file)?;
            let node = run.nodes.get(at)?;
            Some(node.video.passes_own_buffers(handle, request, argument))
        };
        !passes_own().unwrap_or(false)
    }

    fn release(&mut self, run: &mut Run, file: FileId) {
        let now = run.set_now();
        let Some((at, handle)) = run.files.videos.remove(file) else {
            return;
        };
        let Some(node) = run.nodes.get_mut(at) else {
            return;
        };
        // A display first shows the frames that were written and due before the close.
        let writes =
            |(flow, queue): (Flow, &Queue<_>)| flow == Flow::Output && queue.fileio_active();
        let is_due = node.video.next_tick().is_some_and(|due| due <= now);
        if is_due && summary::queues(node).any(writes) {
            node.tick(&mut run.memory, now, &|| true);
            node.finish_begun(&mut run.memory, now);
        }
        node.video.release(&mut run.memory, handle);
        run.shares.get_mut().staging.close(file);
    }
}

impl Run {
    fn video_of(&mut self, file: FileId) -> Option<(&mut Video, &mut RunMemory, FileHandle)> {
        let (at, handle) = self.files.videos.get(file)?;
        let node = self.nodes.get_mut(at)?;
        Some((&mut node.video, &mut self.memory, handle))
    }

    /// Counts a call for the script's steps. Returns an errno if a step makes the call fail.
    pub(super) fn meet(&mut self, call: FileCall<'_>) -> Option<Errno> {
        let (at, _) = self.files.videos.get(call.file)?;
        match call.op {
            Op::Ioctl { request, .. } => self.meet_call(at, request, call.caller.call()),
            Op::Read { .. } | Op::Write { .. } | Op::Resume { .. } => None,
        }
    }

    /// Answers an ioctl on a video device.
    fn video_ioctl(
        &mut self,
        at: usize,
        call: FileCall<'_>,
        ioctl: Ioctl<'_>,
    ) -> Result<Answer, Refused> {
        let Ioctl { request, arg, .. } = ioctl;
        let is_usb = self.nodes.get(at).is_some_and(|n| n.location.is_usb());
        if let Some(errno) = is_usb.then(|| uvc::refusal(ioctl)).flatten() {
            return Err(errno.into());
        }
        if matches!(request, VIDIOC_REQBUFS | VIDIOC_CREATE_BUFS) {
            // If programs have just closed exports, this frees the exports' memory.
            self.shares.get_mut().look(&mut self.memory);
        }
        if request == VIDIOC_STREAMOFF {
            self.show_begun(at);
        }
        let asked = match request {
            VIDIOC_S_FMT => lines::asked(ioctl),
            _ => None,
        };
        let done = self.video_call(call, |target, context, program| {
            let memory = &mut *target.memory;
            target.video.ioctl(memory, context, request, arg, program)
        });
        if let (Some(asked), Ok(Answer::Done(_))) = (asked, &done) {
            self.note_line(at, asked);
        }
        done
    }

    /// Answers read() (CAPTURE) or write() (OUTPUT).
    fn video_transfer(
        &mut self,
        call: FileCall<'_>,
        (flow, range): (Flow, (u64, u64)),
    ) -> Result<Answer, Refused> {
        self.video_call(call, |target, context, program| {
            let memory = &mut *target.memory;
            (target.video).transfer(memory, context, flow, range, program)
        })
    }

    /// Passes a call to its video device.
    fn video_call(
        &mut self,
        call: FileCall<'_>,
        make: impl FnOnce(&mut Target<'_>, CallContext, &Call<'_>) -> vb3_v4l2::V4l2Outcome,
    ) -> Result<Answer, Refused> {
        let (at, handle) = self.files.videos.get(call.file).ok_or(Errno::ENODEV)?;
        let now_ns = self.set_now();
        let node = self.nodes.get_mut(at).ok_or(Errno::ENODEV)?;
        let context = CallContext {
            file: handle,
            nonblocking: call.nonblocking,
            call: call.caller.call().0,
            now_ns,
            // With virtual time, work is not split into pieces, since time would pass between them.
            piece_bytes: match self.clock.is_virtual() {
                true => u64::MAX,
                false => PIECE_BYTES,
            },
        };
        let program = Call::new(
            call.caller,
            call.file,
            &self.shares,
            self.files.media.names(at),
        );
        let mut target = Target {
            video: &mut node.video,
            memory: &mut self.memory,
        };
        let result = make(&mut target, context, &program);
        node.watch.look(&mut node.video, now_ns);
        let reasons = self.shares.get_mut().imports.take_refused();
        let reason = reasons.first().copied();
        answer(result).map_err(|errno| Refused::for_reason(errno, reason))
    }

    /// Maps a buffer of a video device.
    fn map_video(
        &mut self,
        at: usize,
        handle: FileHandle,
        args: &Mmap,
        origin: Origin,
    ) -> Result<Map, Errno> {
        let now_ns = self.set_now();
        let node = self.nodes.get_mut(at).ok_or(Errno::ENODEV)?;
        let access = match (args.prot & PROT_READ != 0, args.prot & PROT_WRITE != 0) {
            _ if !args.is_shared() => None,
            (false, false) => None,
            (true, false) => Some(Direction::FromDevice),
            (false, true) => Some(Direction::ToDevice),
            (true, true) => Some(Direction::Bidirectional),
        };
        let memory = &mut self.memory;
        let mapped = (node.video).mmap(memory, handle, args.offset, args.len, access, now_ns);
        let (id, map) = mapped.map_err(|error| Errno(error.errno()))?;
        let tag = (self.shares.get_mut()).map(&mut self.memory, id, origin.client)?;
        Ok(Map {
            fd: map.fd,
            offset: map.offset,
            tag,
        })
    }

    /// Lets a display finish and show the frame that it has begun to read, because its stream ends.
    fn show_begun(&mut self, at: usize) {
        let now = self.set_now();
        if let Some(node) = self.nodes.get_mut(at)
            && matches!(node.video.role(), Role::Output | Role::Duplex)
        {
            node.finish_begun(&mut self.memory, now);
        }
    }
}
