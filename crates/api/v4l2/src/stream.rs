//! One queue of a device, with its V4L2 state.

use crate::driver::{QueuePolicy, Role};
use crate::file::FileHandle;
use crate::flow::Flow;
use crate::program::CallContext;
use crate::{Error, sys};
use vb3_plane::MemOps;
use vb3_queue::{BufferInfo, Config, IoModes, Queue, QueueType, Requests, Wait};

/// A queue of a device.
///
/// # Invariants
/// `owner`, if any, is an open file. A queue with buffers has an owner.
pub(crate) struct Stream<M: MemOps> {
    pub(crate) queue: Queue<M>,
    pub(crate) owner: Option<FileHandle>,
    /// The call that waits in DQBUF, read() or write(), and its file.
    waiting: Option<(u64, FileHandle, Wait)>,
    /// The queue's event count at the last wake-up.
    seen_events: u64,
    /// Whether the device obeys `V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF`.
    holds_capture: bool,
    /// Whether REMOVE_BUFS is offered.
    pub(crate) removes_buffers: bool,
    /// Whether STREAMON without buffers succeeds.
    pub(crate) starts_empty: bool,
    /// `V4L2_BUF_FLAG_TIMESTAMP_*` and `V4L2_BUF_FLAG_TSTAMP_SRC_*` of all buffers.
    timestamp_flags: u32,
}

impl<M: MemOps> Stream<M> {
    /// Makes the queue. `device` gives the memory constraints of its planes.
    pub(crate) fn new(
        mem: &M,
        flow: Flow,
        policy: &QueuePolicy,
        role: Role,
        device: M::Device,
    ) -> Result<Self, Error> {
        let is_mem_to_mem = role == Role::MemToMem;
        let mut modes = IoModes::MMAP;
        modes.set(IoModes::USERPTR, policy.userptr && mem.supports_userptr());
        modes.set(IoModes::DMABUF, policy.dmabuf);
        let (queue_type, file_io) = match flow {
            Flow::Capture => (QueueType::Capture, IoModes::READ),
            Flow::Output => (QueueType::Output, IoModes::WRITE),
        };
        modes.set(file_io, policy.file_io);
        let mut config = Config::new(device, queue_type);
        config.io_modes = modes;
        config.max_num_buffers = policy.max_buffers;
        config.min_queued_buffers = policy.min_queued;
        config.min_reqbufs_allocation = policy.min_reqbufs;
        config.allow_cache_hints = policy.cache_hints;
        config.copy_timestamps = policy.copy_timestamps;
        config.allow_zero_bytesused = policy.allow_zero_bytesused;
        config.requests = match flow {
            Flow::Output if is_mem_to_mem && policy.min_queued == 0 => policy.requests,
            _ => Requests::None,
        };
        config.m2m_capture = role.flows().len() > 1 && flow == Flow::Capture;
        config.page_shift = mem.page_shift();
        config.admission = policy.admission;
        Ok(Self {
            queue: Queue::new(config)?,
            owner: None,
            waiting: None,
            seen_events: 0,
            holds_capture: policy.holds_capture && is_mem_to_mem && flow == Flow::Output,
            removes_buffers: policy.removes_buffers,
            starts_empty: policy.starts_empty && flow == Flow::Output,
            timestamp_flags: timestamp_flags(policy),
        })
    }

    /// Returns whether read() or write() is offered.
    pub(crate) fn offers_file_io(&self) -> bool {
        self.queue
            .config()
            .io_modes
            .intersects(IoModes::READ | IoModes::WRITE)
    }

    /// Checks that no other file owns the queue. EBUSY if one does.
    pub(crate) fn check_owner(&self, file: FileHandle) -> Result<(), Error> {
        match self.owner {
            Some(owner) if owner != file => Err(Error::Busy),
            _ => Ok(()),
        }
    }

    /// Updates the owner after a call of `file` that may have made or freed buffers.
    ///
    /// Source: Linux `vb2_ioctl_reqbufs` and others, differs: an unused queue never has an owner.
    pub(crate) fn update_owner(&mut self, file: FileHandle) {
        if !self.queue.is_busy() {
            self.owner = None;
        } else if self.owner.is_none() {
            self.owner = Some(file);
        }
    }

    /// Ends the wait of a call, so that the caller can repeat the call.
    pub(crate) fn wake_up(&mut self, call: u64) {
        self.waiting.take_if(|(waiting, ..)| *waiting == call);
    }

    /// Ends the wait of the file's call, because the file closes.
    pub(crate) fn end_wait_of(&mut self, file: FileHandle) {
        self.waiting.take_if(|(_, waiting, _)| *waiting == file);
    }

    /// Returns whether the queue has had an event since this method was last called. Such an event may end a wait.
    pub(crate) fn take_events(&mut self) -> bool {
        let seen = core::mem::replace(&mut self.seen_events, self.queue.event_count());
        seen != self.seen_events
    }

    /// Returns whether buffers may be queued by media requests.
    pub(crate) fn offers_requests(&self) -> bool {
        self.queue.config().requests != Requests::None
    }

    /// Returns the queue's capabilities (`V4L2_BUF_CAP_*`).
    pub(crate) fn buf_caps(&self) -> u32 {
        let config = self.queue.config();
        let mut caps = sys::V4L2_BUF_CAP_SUPPORTS_ORPHANED_BUFS;
        if self.removes_buffers {
            caps |= sys::V4L2_BUF_CAP_SUPPORTS_REMOVE_BUFS;
        }
        for (mode, cap) in [
            (IoModes::MMAP, sys::V4L2_BUF_CAP_SUPPORTS_MMAP),
            (IoModes::USERPTR, sys::V4L2_BUF_CAP_SUPPORTS_USERPTR),
            (IoModes::DMABUF, sys::V4L2_BUF_CAP_SUPPORTS_DMABUF),
        ] {
            if config.io_modes.contains(mode) {
                caps |= cap;
            }
        }
        if self.offers_requests() {
            caps |= sys::V4L2_BUF_CAP_SUPPORTS_REQUESTS;
        }
        if self.holds_capture {
            caps |= sys::V4L2_BUF_CAP_SUPPORTS_M2M_HOLD_CAPTURE_BUF;
        }
        if config.allow_cache_hints && config.io_modes.contains(IoModes::MMAP) {
            caps |= sys::V4L2_BUF_CAP_SUPPORTS_MMAP_CACHE_HINTS;
        }
        caps
    }

    /// Makes a failed call wait (`None`) if it lacks a buffer and may block. Otherwise returns the error.
    pub(crate) fn sleep<T>(
        &mut self,
        cx: CallContext,
        error: vb3_queue::Error,
    ) -> Result<Option<T>, Error> {
        if error != vb3_queue::Error::WouldBlock || cx.nonblocking {
            return Err(error.into());
        }
        self.waiting = Some((cx.call, cx.file, self.queue.wait()?));
        Ok(None)
    }

    /// Returns those `V4L2_BUF_FLAG_*` of a buffer that depend on the device: the flags of its frame, and the kind
    /// and source of its timestamp. All other flags depend on the state of the queue.
    pub(crate) fn buffer_flags(&self, info: &BufferInfo) -> u32 {
        let mut kept = info.frame_flags;
        if !self.holds_capture {
            kept &= !sys::V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF;
        }
        let policy = self.timestamp_flags;
        // If timestamps are copied, the program also determines their source.
        let src = sys::V4L2_BUF_FLAG_TSTAMP_SRC_MASK;
        let copies =
            policy & sys::V4L2_BUF_FLAG_TIMESTAMP_MASK == sys::V4L2_BUF_FLAG_TIMESTAMP_COPY;
        if copies {
            policy & !src | kept
        } else {
            policy | kept & !src
        }
    }
}

fn timestamp_flags(policy: &QueuePolicy) -> u32 {
    let kind = match policy.copy_timestamps {
        false => sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
        true => sys::V4L2_BUF_FLAG_TIMESTAMP_COPY,
    };
    let source = if policy.start_of_exposure {
        sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE
    } else {
        sys::V4L2_BUF_FLAG_TSTAMP_SRC_EOF
    };
    kind | source
}
