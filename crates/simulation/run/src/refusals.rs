//! Decides which failed calls are refusals, and adds them to the report.

use crate::plain::PlainFile;
use crate::program::{Ioctl, read};
use crate::{Run, summary, udmabuf};
use vb3_dma::Reason;
use vb3_dmabuf::BufId;
use vb3_frontend::{Errno, FileId};
use vb3_report::Refusal;
use vb3_v4l2::decode;
use vb3_v4l2::sys::{VIDIOC_CREATE_BUFS, VIDIOC_EXPBUF, VIDIOC_REQBUFS};

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EPIPE: i32 = 32;

/// Prefixes of calls whose errors are ordinary answers. Most of these calls ask, for example, where a list
/// ends or whether a control exists. Some set a crop, without which programs work, too.
const QUESTIONS: [&str; 10] = [
    "ENUM",
    "QUERY",
    "G_",
    "TRY_",
    "CROPCAP",
    "S_CROP",
    "S_SELECTION",
    "DQEVENT",
    "SUBSCRIBE_EVENT",
    "UNSUBSCRIBE_EVENT",
];

/// Returns whether a failed call is a refusal. `call` is the call's name without `VIDIOC_`.
///
/// These are no refusals: questions; calls that a device does not support (ENOTTY), that find nothing yet
/// (EAGAIN), or that come after the device was unplugged (ENODEV). Nor is DQBUF at the end of a stream
/// (EPIPE) or after the stream broke (EIO), since the report has the cause.
fn is_refusal(call: &str, errno: Errno) -> bool {
    match errno {
        Errno::EAGAIN | Errno::ENOTTY | Errno::ENODEV | Errno::NOT_GATHERED | Errno(EINTR) => false,
        Errno(EPIPE | EIO) if call == "DQBUF" => false,
        _ => {
            let call = call.strip_prefix("SUBDEV_").unwrap_or(call);
            !QUESTIONS.iter().any(|begin| call.starts_with(begin))
        }
    }
}

/// Returns the offset and the value of the field with which a call is only a query. Such a call allocates no
/// buffers, or exports a buffer that cannot exist.
const fn probe(request: u32) -> Option<(u64, u32)> {
    match request {
        VIDIOC_REQBUFS => Some((0, 0)),
        VIDIOC_CREATE_BUFS => Some((4, 0)),
        VIDIOC_EXPBUF => Some((4, u32::MAX)),
        _ => None,
    }
}

/// Makes the report's entry of a call that was refused for a memory reason.
pub(super) fn for_reason(device: &str, call: &str, errno: Errno, reason: Reason) -> Refusal {
    Refusal {
        device: device.to_owned(),
        call: call.to_owned(),
        errno: errno.0,
        constraint: reason.constraint.name().to_owned(),
        wanted: reason.wanted,
        found: reason.found,
        times: 1,
        ..Refusal::default()
    }
}

/// Returns a call's name without the prefix that all calls of its device kind share.
fn short_name(request: u32) -> Option<&'static str> {
    let name = decode::name(request)?;
    let short = ["VIDIOC_", "MEDIA_IOC_"].iter();
    let mut short = short.filter_map(|prefix| name.strip_prefix(prefix));
    Some(short.next().unwrap_or(name))
}

impl Run {
    /// Counts a failed call on a file if it is a refusal that the report does not have yet.
    pub(super) fn note_refusal(&mut self, file: FileId, call: &str, errno: Errno) {
        if let Some(&(at, _)) = self.files.get(&file) {
            self.note_refusal_at(at, call, errno);
        }
    }

    /// Counts a failed call on the device with this index, if the report does not have the refusal yet.
    pub(super) fn note_refusal_at(&mut self, at: usize, call: &str, errno: Errno) {
        if let Some(node) = self.nodes.get(at) {
            let device = node.path.clone();
            self.note_refusal_by(device, call, errno);
        }
    }

    fn note_refusal_by(&mut self, device: String, call: &str, errno: Errno) {
        if !self.is_accounted && is_refusal(call, errno) {
            self.refuse(Refusal {
                device,
                call: call.to_owned(),
                errno: errno.0,
                times: 1,
                ..Refusal::default()
            });
        }
    }

    /// Counts a failed ioctl on a video device, unless the call only asked what the device supports.
    pub(super) fn note_refused_ioctl(&mut self, file: FileId, call: Ioctl<'_>, errno: Errno) {
        let asks = probe(call.request).is_some_and(|(at, value)| {
            let number = call.arg.checked_add(at).map(|at| read(call.caller, at));
            number.is_some_and(|number| number == Ok(value.to_ne_bytes()))
        });
        if let Some(name) = short_name(call.request).filter(|_| !asks) {
            self.note_refusal(file, name, errno);
        }
    }

    /// Counts a failed ioctl on a file of another kind than a video device.
    pub(super) fn note_refused_other(&mut self, file: FileId, request: u32, errno: Errno) {
        let called = match self.plain_files.get(&file) {
            Some(PlainFile::Heap(number)) => {
                self.heaps.path(*number).zip(Some("DMA_HEAP_IOCTL_ALLOC"))
            }
            Some(PlainFile::Udmabuf) => Some((udmabuf::PATH.into(), "UDMABUF_CREATE")),
            Some(PlainFile::Timeline(_) | PlainFile::Attribute(_)) => None,
            None if self.sync_files.has(file) => Some(("sync_file".into(), "SYNC_IOC_MERGE")),
            None => self.media_path(file).zip(short_name(request)),
        };
        if let Some((path, name)) = called {
            self.note_refusal_by(path, name, errno);
        }
    }

    /// Counts a failed ioctl on a dma-buf, as a refusal of the device that the buffer belongs to.
    pub(super) fn note_refused_buffer(&mut self, buf: BufId, request: u32, errno: Errno) {
        let memory = self.memory.buffers().buf(buf).map(|buf| buf.memory);
        let place = memory.and_then(|memory| summary::place(&self.nodes, memory.get()));
        let device = place.map_or_else(|| "dma-buf".to_owned(), |place| place.device);
        if let Some(name) = short_name(request) {
            self.note_refusal_by(device, name, errno);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_waiting_are_no_refusals() {
        for (call, errno) in [
            ("ENUM_FMT", 22),
            ("ENUMINPUT", 22),
            ("SUBDEV_ENUM_MBUS_CODE", 22),
            ("QUERYCTRL", 22),
            ("QUERYBUF", 22),
            ("G_CTRL", 22),
            ("TRY_FMT", 22),
            ("SUBSCRIBE_EVENT", 22),
            ("DQEVENT", 2),
            ("DQBUF", 11),
            ("DQBUF", 32),
            ("DQBUF", 5),
            ("S_SELECTION", 22),
            ("QBUF", 19),
            ("QBUF", 4095),
        ] {
            assert!(!is_refusal(call, Errno(errno)), "{call} {errno}");
        }
    }

    #[test]
    fn what_changes_something_and_fails_is_refused() {
        for (call, errno) in [
            ("QBUF", 22),
            ("QBUF", 5),
            ("DQBUF", 22),
            ("S_FMT", 16),
            ("SUBDEV_S_FMT", 16),
            ("SETUP_LINK", 22),
            ("S_CTRL", 34),
            ("STREAMON", 32),
            ("REQBUFS", 12),
            ("write", 22),
            ("mmap", 22),
        ] {
            assert!(is_refusal(call, Errno(errno)), "{call} {errno}");
        }
    }

    #[test]
    fn probes_lie_where_linux_has_them() {
        use std::mem::offset_of;
        use vb3_v4l2::sys::{v4l2_create_buffers, v4l2_exportbuffer, v4l2_requestbuffers};
        let offsets = [
            offset_of!(v4l2_requestbuffers, count),
            offset_of!(v4l2_create_buffers, count),
            offset_of!(v4l2_exportbuffer, index),
        ];
        let known = [VIDIOC_REQBUFS, VIDIOC_CREATE_BUFS, VIDIOC_EXPBUF].map(probe);
        let known = known.map(|probe| probe.map(|(at, _)| at));
        assert_eq!(known, offsets.map(|at| Some(at as u64)));
    }
}
