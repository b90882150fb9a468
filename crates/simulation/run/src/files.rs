//! Calls on files of video devices.

use crate::memory::WorldMemory;
use crate::plain::PlainFile;
use crate::program::{Call, Ioctl, outcome};
use crate::watch::Video;
use crate::{Run, lines, refusals, summary, uvc};
use vb3_frontend::{CallOutcome, Caller, Errno, FileId, Map, Mmap, PIECE_BYTES};
use vb3_queue::{MapAccess, Queue};
use vb3_v4l2::sys::{VIDIOC_CREATE_BUFS, VIDIOC_REQBUFS, VIDIOC_S_FMT, VIDIOC_STREAMOFF};
use vb3_v4l2::{CallContext, FileHandle, Flow, POLL_IN, POLL_OUT, POLL_PRI};

const POLLERR: i16 = 8;
/// The poll events of a file whose device was unplugged.
///
/// Source: Linux 7.2 drivers/media/v4l2-core/v4l2-dev.c `v4l2_poll`.
const POLL_GONE: i16 = POLLERR | 0x10 | POLL_PRI;
const MAP_SHARED: i32 = 1;
const MAP_TYPE: i32 = 0xf;
const PROT_READ: i32 = 1;
const PROT_WRITE: i32 = 2;

/// The device, file and memory that a call uses.
pub(super) struct Target<'a> {
    pub(super) video: &'a mut Video,
    pub(super) memory: &'a mut WorldMemory,
}

impl Run {
    /// Returns an unused file identifier.
    pub(super) fn new_file(&mut self) -> FileId {
        self.next_file = self.next_file.wrapping_add(1);
        FileId(self.next_file)
    }

    /// Returns a file's poll events. `ask` returns them for a video device's file.
    pub(super) fn poll_by(
        &mut self,
        file: FileId,
        events: i16,
        ask: impl FnOnce(&mut Video, &mut WorldMemory, FileHandle, i16, u64) -> i16,
    ) -> i16 {
        if self.media.has(file) {
            let found = self.media_poll(file, events);
            self.note_wait(file, found == 0);
            return found;
        }
        if self.sync_files.has(file) {
            let found = self.sync_file_poll(file, events);
            self.note_wait(file, found == 0);
            if found == 0 {
                self.want_buffers_back();
            }
            return found;
        }
        if self.plain_files.contains_key(&file) {
            // Linux reports files without a poll operation as ready.
            return (POLL_IN | POLL_OUT) & events;
        }
        let Ok((at, handle)) = self.file(file) else {
            // Source: Linux 7.2 drivers/media/mc/mc-devnode.c `media_poll`.
            let is_media = self.plugs.is_gone_media(file);
            return if is_media {
                POLL_GONE & !POLL_PRI
            } else {
                POLL_GONE
            };
        };
        let now_ns = self.set_now();
        let Some(node) = self.nodes.get_mut(at) else {
            return POLLERR;
        };
        let found = ask(&mut node.video, &mut self.memory, handle, events, now_ns);
        self.after_call();
        self.note_wait(file, found == 0);
        found
    }

    pub(super) fn file(&self, file: FileId) -> Result<(usize, FileHandle), Errno> {
        self.files.get(&file).copied().ok_or(Errno::ENODEV)
    }

    /// Answers a call on a device file.
    pub(super) fn call(
        &mut self,
        file: FileId,
        nonblocking: bool,
        caller: &dyn Caller,
        make: impl FnOnce(&mut Target<'_>, CallContext, &Call<'_>) -> vb3_v4l2::V4l2Outcome,
    ) -> CallOutcome {
        let (at, handle) = match self.file(file) {
            Ok(found) => found,
            Err(e) => return CallOutcome::Fail(e),
        };
        let now_ns = self.set_now();
        let Some(node) = self.nodes.get_mut(at) else {
            return CallOutcome::Fail(Errno::ENODEV);
        };
        let context = CallContext {
            file: handle,
            nonblocking,
            call: caller.call().0,
            now_ns,
            // With virtual time, work is not split into pieces, since time would pass between them.
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
        node.watch.look(&mut node.video, now_ns);
        let imports = &mut self.shares.get_mut().imports;
        self.is_accounted = caller.lacks();
        let reasons = imports.take_refused();
        let refused = |reason| refusals::for_reason(&node.path, "QBUF", Errno::EINVAL, reason);
        let refused: Vec<_> = reasons.into_iter().map(refused).collect();
        self.is_accounted |= !refused.is_empty();
        refused.into_iter().for_each(|refused| self.refuse(refused));
        self.after_call();
        let result = outcome(result);
        match result {
            CallOutcome::Wait | CallOutcome::Fail(Errno::EAGAIN) => self.note_wait(file, true),
            _ => self.end_wait(file),
        }
        result
    }

    /// Returns the errno of an ioctl that only USB webcams support, or `None` for other ioctls and
    /// devices.
    fn usb_refusal(&self, file: FileId, call: Ioctl<'_>) -> Option<Errno> {
        let (at, _) = self.file(file).ok()?;
        let is_usb = self.nodes.get(at)?.location.is_usb();
        is_usb.then(|| uvc::refusal(call)).flatten()
    }

    /// Answers an ioctl on a file of another kind than a video device.
    pub(super) fn other_ioctl(&mut self, file: FileId, call: Ioctl<'_>) -> Option<CallOutcome> {
        self.is_accounted = false;
        let outcome = if self.media.has(file) {
            self.media_ioctl(file, call)
        } else if self.sync_files.has(file) {
            self.sync_file_ioctl(file, call)
        } else if let Some(plain) = self.plain_files.get(&file) {
            match *plain {
                PlainFile::Heap(number) => self.heap_ioctl(number, call),
                PlainFile::Udmabuf => self.udmabuf_ioctl(call),
                PlainFile::Timeline(_) => self.timeline_ioctl(file, call),
                PlainFile::Attribute(_) => CallOutcome::Fail(Errno::ENOTTY),
            }
        } else if self.plugs.is_gone_media(file) {
            return Some(CallOutcome::Fail(Errno::EIO));
        } else {
            return None;
        };
        if let CallOutcome::Fail(errno) = outcome {
            self.note_refused_other(file, call.request, errno);
        }
        Some(outcome)
    }

    /// Answers an ioctl on a video device.
    pub(super) fn video_ioctl(
        &mut self,
        file: FileId,
        call: Ioctl<'_>,
        nonblocking: bool,
    ) -> CallOutcome {
        let Ioctl { request, arg, .. } = call;
        if let Ok((at, _)) = self.file(file)
            && let Some(errno) = self.meet_call(at, request, call.caller.call())
        {
            return CallOutcome::Fail(errno);
        }
        if let Some(errno) = self.usb_refusal(file, call) {
            return CallOutcome::Fail(errno);
        }
        if matches!(request, VIDIOC_REQBUFS | VIDIOC_CREATE_BUFS) {
            // If programs have just closed exports, this frees the exports' memory.
            self.shares.get_mut().look(&mut self.memory);
        }
        if request == VIDIOC_STREAMOFF {
            self.show_begun(file);
        }
        let asked = match request {
            VIDIOC_S_FMT => lines::asked(call),
            _ => None,
        };
        let outcome = self.call(
            file,
            nonblocking,
            call.caller,
            |target, context, program| {
                target
                    .video
                    .ioctl(target.memory, context, request, arg, program)
            },
        );
        if let (Some(asked), CallOutcome::Done(_), Ok((at, _))) = (asked, &outcome, self.file(file))
        {
            self.note_line(at, asked);
        }
        if let CallOutcome::Fail(errno) = outcome {
            self.note_refused_ioctl(file, call, errno);
        }
        outcome
    }

    /// Answers read() (CAPTURE) or write() (OUTPUT) of a video device's file. Fails with EINVAL for files of
    /// other kinds.
    pub(super) fn transfer(
        &mut self,
        file: FileId,
        flow: Flow,
        range: (u64, u64),
        nonblocking: bool,
        caller: &dyn Caller,
    ) -> CallOutcome {
        let has_no_read = self.media.has(file) || self.plugs.is_gone_media(file);
        if has_no_read || self.sync_files.has(file) || self.plain_files.contains_key(&file) {
            return CallOutcome::Fail(Errno::EINVAL);
        }
        let outcome = self.call(file, nonblocking, caller, |target, context, program| {
            let memory = &mut *target.memory;
            (target.video).transfer(memory, context, flow, range, program)
        });
        if let CallOutcome::Fail(errno) = outcome {
            let name = match flow {
                Flow::Capture => "read",
                Flow::Output => "write",
            };
            self.note_refusal(file, name, errno);
        }
        outcome
    }

    /// Maps a buffer of a video device.
    pub(super) fn map_file(
        &mut self,
        file: FileId,
        args: &Mmap,
        caller: &dyn Caller,
    ) -> Result<Map, Errno> {
        // A media device has no memory to map. This returns ENODEV, since its file is not a video
        // device's.
        let (at, handle) = self.file(file)?;
        let now_ns = self.set_now();
        self.is_accounted = false;
        let node = self.nodes.get_mut(at).ok_or(Errno::ENODEV)?;
        let access = MapAccess {
            // MAP_SHARED_VALIDATE contains the bit of MAP_SHARED.
            shared: args.flags & MAP_TYPE & MAP_SHARED != 0,
            read: args.prot & PROT_READ != 0,
            write: args.prot & PROT_WRITE != 0,
        };
        let memory = &mut self.memory;
        let video = &mut node.video;
        let mapped = video.mmap(memory, handle, args.offset, args.len, access, now_ns);
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
        self.after_call();
        if let Err(errno) = result {
            self.note_refusal(file, "mmap", errno);
        }
        result
    }

    /// Closes a file of a video device.
    pub(super) fn release_video(&mut self, file: FileId, now: u64) {
        let Some((at, handle)) = self.files.remove(&file) else {
            self.plugs.forget(file);
            return;
        };
        self.numbers.remove(&(at, handle));
        if let Some(node) = self.nodes.get_mut(at) {
            // A display first shows the frames that were written and due before the close.
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
        self.after_call();
    }
}
