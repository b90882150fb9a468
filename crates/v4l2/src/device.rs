//! A video device: its files, its ioctls, its queue and its driver.

use crate::control::Handler;
use crate::driver::Flow;
use crate::file::{File, FileHandle};
use crate::refusal::{Refusal, Refusals};
use crate::request;
use crate::{Error, Program, QueuePolicy, Statistics, VideoDriver, sys};
use std::collections::BTreeMap;
use vb3_plane::MemOps;
use vb3_queue::{Config, IoModes, Queue, QueueType, TimestampKind};

/// Most files open at a time.
pub(crate) const MAX_FILES: usize = 1 << 16;

/// Who calls, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallContext {
    /// The file the call is made on.
    pub file: FileHandle,
    /// Whether the file is O_NONBLOCK now.
    pub nonblocking: bool,
    /// Whether an earlier try of this very call was answered with [`Outcome::Wait`].
    pub retry: bool,
    /// The monotonic clock.
    pub now_ns: u64,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returns this value, not negative.
    Done(i64),
    /// It fails.
    Fail(Error),
    /// Nothing yet: to be made again, as a retry, when [`VideoDevice::take_wake`] says so.
    Wait,
}

impl From<Result<Option<i64>, Error>> for Outcome {
    fn from(result: Result<Option<i64>, Error>) -> Self {
        match result {
            Ok(Some(value)) => Self::Done(value),
            Ok(None) => Self::Wait,
            Err(error) => Self::Fail(error),
        }
    }
}

/// What a device counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStatistics {
    /// The queue's.
    pub queue: vb3_queue::Statistics,
    /// The driver's.
    pub driver: Statistics,
}

/// A video device.
///
/// # Invariants
/// `owner` is an open file, and there is one whenever the queue is busy.
pub struct VideoDevice<M: MemOps, D> {
    pub(crate) driver: D,
    pub(crate) queue: Queue<M>,
    pub(crate) controls: Handler,
    pub(crate) files: BTreeMap<FileHandle, File>,
    next_file: u64,
    pub(crate) owner: Option<FileHandle>,
    /// The file that waits in DQBUF, read() or write().
    pub(crate) waiting: Option<FileHandle>,
    /// By buffer index: the frame-type flags a program gave to an OUTPUT buffer.
    pub(crate) frame_flags: Vec<u32>,
    /// `V4L2_BUF_FLAG_TIMESTAMP_*` and `_TSTAMP_SRC_*` of all buffers.
    pub(crate) timestamp_flags: u32,
    refusals: Refusals,
    /// Something happened that those who wait may have waited for.
    pub(crate) wake: bool,
}

impl<M: MemOps, D> core::fmt::Debug for VideoDevice<M, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VideoDevice")
            .field("files", &self.files.len())
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl<M, D> VideoDevice<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Makes a device of a driver. `device` is whose memory constraints hold for the planes.
    ///
    /// # Errors
    /// EINVAL for a queue policy that makes no sense, ENOMEM.
    pub fn new(mem: &M, driver: D, device: M::Device) -> Result<Self, Error> {
        let policy = driver.queue_policy();
        let mut modes = IoModes::MMAP;
        modes.set(IoModes::USERPTR, policy.userptr && mem.supports_userptr());
        modes.set(IoModes::DMABUF, policy.dmabuf);
        let (queue_type, file_io) = match driver.flow() {
            Flow::Capture => (QueueType::Capture, IoModes::READ),
            Flow::Output => (QueueType::Output, IoModes::WRITE),
        };
        modes.set(file_io, policy.file_io);
        let config = Config {
            io_modes: modes,
            max_num_buffers: policy.max_buffers,
            min_queued_buffers: policy.min_queued,
            min_reqbufs_allocation: policy.min_reqbufs,
            allow_cache_hints: policy.cache_hints,
            timestamps: policy.timestamps,
            ..Config::new(device, queue_type)
        };
        let controls = Handler::new(&driver.controls());
        Ok(Self {
            queue: Queue::new(config)?,
            controls,
            driver,
            files: BTreeMap::new(),
            next_file: 0,
            owner: None,
            waiting: None,
            frame_flags: Vec::new(),
            timestamp_flags: timestamp_flags(&policy),
            refusals: Refusals::default(),
            wake: false,
        })
    }

    /// Opens the device once more.
    ///
    /// # Errors
    /// EMFILE when 65,536 files are open.
    pub fn open(&mut self) -> Result<FileHandle, Error> {
        if self.files.len() >= MAX_FILES {
            return Err(Error::TooManyFiles);
        }
        let handle = FileHandle(self.next_file);
        self.next_file = self.next_file.wrapping_add(1);
        self.files.insert(handle, File::new());
        Ok(handle)
    }

    /// A file is closed for good. Its buffers are freed, its waiting calls forgotten.
    pub fn release(&mut self, mem: &mut M, file: FileHandle) {
        if self.files.remove(&file).is_none() {
            return;
        }
        self.abandon(file);
        if self.owner == Some(file) {
            self.queue.release(mem, &mut self.driver);
            self.owner = None;
        }
        self.wake = true;
    }

    /// Whether a file is open.
    #[must_use]
    pub fn is_open(&self, file: FileHandle) -> bool {
        self.files.contains_key(&file)
    }

    /// The driver.
    #[must_use]
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// The driver.
    pub fn driver_mut(&mut self) -> &mut D {
        &mut self.driver
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue<M> {
        &self.queue
    }

    /// What was counted so far.
    #[must_use]
    pub fn statistics(&self) -> DeviceStatistics {
        DeviceStatistics {
            queue: self.queue.statistics(),
            driver: self.driver.statistics(),
        }
    }

    /// The refusals since the last call, oldest first, at most 256.
    pub fn take_refusals(&mut self) -> Vec<Refusal> {
        self.refusals.take()
    }

    /// Whether poll states or waiting calls may have changed since the last call.
    pub fn take_wake(&mut self) -> bool {
        let queue = self.queue.take_wake();
        core::mem::take(&mut self.wake) || queue
    }

    pub(crate) fn file_mut(&mut self, file: FileHandle) -> Result<&mut File, Error> {
        self.files.get_mut(&file).ok_or(Error::NoFile)
    }

    /// Whether read() or write() is offered.
    pub(crate) fn offers_file_io(&self) -> bool {
        self.queue
            .config()
            .io_modes
            .intersects(IoModes::READ | IoModes::WRITE)
    }

    pub(crate) fn record(&mut self, call: &'static str, error: Error) {
        self.refusals.record(call, error);
    }

    /// Answers an ioctl. `arg` is an address in the program.
    pub fn ioctl(
        &mut self,
        mem: &mut M,
        cx: CallContext,
        request: u32,
        arg: u64,
        program: &dyn Program<M>,
    ) -> Outcome {
        if !self.is_open(cx.file) {
            return Outcome::Fail(Error::NoFile);
        }
        let Some(request) = request::lookup(request) else {
            return Outcome::Fail(Error::NotTty);
        };
        let result = self.run(mem, cx, request, arg, program);
        let shortfall = self.queue.take_shortfall();
        match (result, shortfall) {
            (Err(error), _) => self.record(request.name, error),
            // It succeeded, with less than it was asked for.
            (Ok(_), Some(reason)) => self.refusals.record_shortfall(request.name, reason),
            (Ok(_), None) => {}
        }
        result.into()
    }
}

fn timestamp_flags(policy: &QueuePolicy) -> u32 {
    let kind = match policy.timestamps {
        TimestampKind::Monotonic => sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
        TimestampKind::Copy => sys::V4L2_BUF_FLAG_TIMESTAMP_COPY,
    };
    let source = if policy.start_of_exposure {
        sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE
    } else {
        sys::V4L2_BUF_FLAG_TSTAMP_SRC_EOF
    };
    kind | source
}
