//! One open of the device by the guest.

use std::collections::BTreeMap;

use crate::protocol::PLANE_BYTES;
use uuid::Uuid;
use vb3_frontend::FileId;
use vb3_v4l2::sys;

/// The buffers of a queue that the device holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queued {
    /// Whether the queue streams. A queue that does not stream returns no buffers.
    pub(crate) is_streaming: bool,
    /// Number of buffers that are queued.
    pub(crate) count: u32,
    /// `V4L2_MEMORY_*` of the last one.
    pub(crate) memory: u32,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) file: FileId,
    /// Whether the guest has closed the session. A closed session remains as long as it has mappings.
    pub(crate) is_closed: bool,
    /// Whether the guest wants events.
    pub(crate) is_subscribed: bool,
    /// Queues that stream or have queued buffers, by buffer type.
    pub(crate) queued: BTreeMap<u32, Queued>,
    /// Buffer type, and length in bytes, of each buffer or plane, by its offset for mmap.
    pub(crate) lengths: BTreeMap<u32, (u32, u32)>,
    /// Placeholders for dma-bufs of queued buffers, by buffer type and index.
    pub(crate) placeholders: BTreeMap<(u32, u32), Vec<u32>>,
    /// Dma-bufs that the session has exported. They end with the session, because the guest has no command that
    /// ends a dma-buf.
    pub(crate) exported: Vec<Uuid>,
}

/// Reads a number at a place that is inside the bytes.
pub(crate) fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_ne_bytes)
}

/// Returns a field of a structure.
macro_rules! field {
    ($bytes:expr, $ty:ident . $name:ident) => {
        $crate::session::number($bytes, core::mem::offset_of!(vb3_v4l2::sys::$ty, $name))
    };
}
pub(crate) use field;

/// Returns whether a buffer of this type has an array of planes.
pub(crate) const fn is_multiplanar(type_: u32) -> bool {
    matches!(
        type_,
        sys::V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE | sys::V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
    )
}

impl Session {
    pub(crate) const fn new(file: FileId) -> Self {
        Self {
            file,
            is_closed: false,
            is_subscribed: false,
            queued: BTreeMap::new(),
            lengths: BTreeMap::new(),
            placeholders: BTreeMap::new(),
            exported: Vec::new(),
        }
    }

    /// Notes the result of a successful ioctl: its structure and its array. Adds at most `room` buffer offsets to
    /// those that are kept already.
    pub(crate) fn note(&mut self, request: u32, structure: &[u8], array: &[u8], room: usize) {
        match request {
            sys::VIDIOC_QUERYBUF => self.note_offsets(structure, array, room),
            sys::VIDIOC_QBUF => {
                let type_ = field!(structure, v4l2_buffer.type_);
                let queued = self.queued.entry(type_).or_default();
                queued.count = queued.count.saturating_add(1);
                queued.memory = field!(structure, v4l2_buffer.memory);
            }
            sys::VIDIOC_STREAMON => {
                let queued = self.queued.entry(number(structure, 0)).or_default();
                queued.is_streaming = true;
            }
            sys::VIDIOC_STREAMOFF => {
                self.queued.remove(&number(structure, 0));
            }
            sys::VIDIOC_REQBUFS => {
                let freed = field!(structure, v4l2_requestbuffers.type_);
                self.queued.remove(&freed);
                self.lengths.retain(|_, (type_, _)| *type_ != freed);
            }
            sys::VIDIOC_SUBSCRIBE_EVENT => self.is_subscribed = true,
            _ => {}
        }
    }

    fn note_offsets(&mut self, structure: &[u8], array: &[u8], room: usize) {
        let (type_, most) = (
            field!(structure, v4l2_buffer.type_),
            self.lengths.len() + room,
        );
        let mut add = |offset: u32, len: u32| {
            if self.lengths.len() < most {
                self.lengths.insert(offset, (type_, len));
            }
        };
        if !is_multiplanar(type_) {
            let len = field!(structure, v4l2_buffer.length);
            return add(field!(structure, v4l2_buffer.m), len);
        }
        // The answer's number of planes; the array may be longer.
        let count = field!(structure, v4l2_buffer.length) as usize;
        for plane in array.chunks_exact(PLANE_BYTES).take(count) {
            let len = field!(plane, v4l2_plane.length);
            add(field!(plane, v4l2_plane.m), len);
        }
    }
}
