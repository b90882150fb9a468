//! Interface between a queue and the driver of its device.

use crate::{Active, DriverError, MAX_PLANES, RequestId};

/// `V4L2_FIELD_NONE`.
const FIELD_NONE: u32 = 1;

/// Plane sizes of a buffer, in bytes. There is at least one plane, and no size is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneSizes {
    count: usize,
    bytes: [u64; MAX_PLANES],
}

impl PlaneSizes {
    /// Makes plane sizes; `None` for no plane, too many planes, or a size of zero.
    #[must_use]
    pub fn new(bytes: &[u64]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > MAX_PLANES || bytes.contains(&0) {
            return None;
        }
        Some(Self {
            count: bytes.len(),
            bytes: core::array::from_fn(|plane| bytes.get(plane).copied().unwrap_or(0)),
        })
    }

    /// Returns the sizes in bytes, one for each plane.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        self.bytes.get(..self.count).unwrap_or(&[])
    }
}

/// A buffer in QBUF or PREPARE_BUF, as the driver sees it and may change it.
#[derive(Debug)]
pub struct Prepare<'a> {
    /// Buffer index.
    pub index: u32,
    /// Bytes that each plane can hold.
    pub lengths: &'a [u64],
    /// Bytes used in each plane: the program's value on OUTPUT, set by the driver on CAPTURE.
    pub payloads: &'a mut [u64],
    /// Offset of the first data byte in each plane: the program's value on OUTPUT, set by the
    /// driver on CAPTURE. Limited to the payload.
    pub data_offsets: &'a mut [u64],
    /// `V4L2_FIELD_*`, passed through.
    pub field: &'a mut u32,
}

/// A device, as its queue sees it.
///
/// The caller of each method has borrowed the queue, so a driver must not call the queue. A driver keeps each
/// [`Active`] token until the device has finished the buffer. Then code that has access to the queue passes
/// the token to [`Session::complete`](crate::Session::complete); an interrupt handler or another thread
/// passes it to [`Completions::push`](crate::Completions::push). Dropping a token returns its buffer with an
/// error, except after a failed start: the buffer then stays queued.
///
/// # Context
/// Methods may sleep, unless the host calls the queue in a context that forbids its `MemOps` to sleep.
///
/// Source: Linux `struct vb2_ops`, differs: a token stands for the ownership of a buffer.
#[expect(unused_variables, reason = "default methods ignore their arguments")]
pub trait Driver {
    /// How the driver reaches a plane's memory (`MemOps::Cookie`).
    type Cookie;

    /// Returns planes and sizes for new buffers. `create` holds the sizes that CREATE_BUFS
    /// requests; the driver checks that they are large enough for the format.
    ///
    /// # Errors
    /// The queue returns the error to its caller (EINVAL for sizes that are too small).
    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError>;

    /// Returns how many buffers to make if `offered` are requested. If memory ran out, the queue
    /// calls this again with the number that it could make. If the second result is larger than that
    /// number, REQBUFS or CREATE_BUFS fails and makes no buffers.
    ///
    /// # Errors
    /// The queue returns the error to its caller.
    fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError> {
        Ok(offered)
    }

    /// Initialises a buffer that got its first memory or new memory.
    ///
    /// # Errors
    /// The queue releases the memory without `buf_cleanup`, and returns the error to its caller.
    fn buf_init(&mut self, index: u32) -> Result<(), DriverError> {
        Ok(())
    }

    /// Checks a buffer before it may be queued; on CAPTURE sets the payloads. The default method accepts each buffer,
    /// and sets payloads of zero to the planes' lengths.
    ///
    /// # Errors
    /// The queue returns the error to its caller; the buffer stays dequeued.
    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        for (payload, length) in buffer.payloads.iter_mut().zip(buffer.lengths) {
            if *payload == 0 {
                *payload = *length;
            }
        }
        Ok(())
    }

    /// Finishes a prepared buffer that returns to the program.
    fn buf_finish(&mut self, index: u32) {}

    /// Cleans up a buffer before it loses its memory. Pairs with `buf_init`.
    fn buf_cleanup(&mut self, index: u32) {}

    /// Passes a buffer to the device.
    fn buf_queue(&mut self, buffer: Active<Self::Cookie>);

    /// Reports that a buffer has left its media request: the device has finished the buffer, or the queue
    /// was cancelled. The host removes the buffer from its [`Request`](crate::Request) with
    /// [`Request::unbind`](crate::Request::unbind), now or after the call. Not called for buffers that
    /// [`Session::req_release`](crate::Session::req_release) returns.
    fn buf_request_complete(&mut self, index: u32, request: RequestId) {}

    /// Prepares for streaming (STREAMON). At this call, fewer buffers may be queued than the driver
    /// needs to start.
    ///
    /// # Errors
    /// The queue returns the error to its caller.
    fn prepare_streaming(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    /// Undoes `prepare_streaming`. The queue calls `stop_streaming` first if the driver was started.
    fn unprepare_streaming(&mut self) {}

    /// Starts streaming. The queue has already passed `queued` buffers to `buf_queue`. As in Linux, a device
    /// whose buffers need no start may leave this out.
    ///
    /// # Errors
    /// The queue returns the error to its caller. Before that, the driver drops its tokens; the buffers
    /// stay queued.
    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        Ok(())
    }

    /// Stops streaming. The driver completes or drops all its tokens.
    fn stop_streaming(&mut self);

    /// Stops all accesses to the buffers whose tokens have become stale: see
    /// [`Session::withdraw`](crate::Session::withdraw).
    fn buffers_withdrawn(&mut self) {}
}

/// Defines methods that pass their arguments on to the methods of `$to` with the same names.
#[doc(hidden)]
#[macro_export]
macro_rules! forward {
    ($to:expr => $(
        fn $name:ident(&$($this:ident)+ $(, $arg:ident: $type:ty)* $(,)?) $(-> $result:ty)?;
    )*) => {
        $(fn $name(&$($this)+ $(, $arg: $type)*) $(-> $result)? {
            $to.$name($($arg),*)
        })*
    };
}

/// Forwards to the borrowed driver.
impl<D: Driver + ?Sized> Driver for &mut D {
    type Cookie = D::Cookie;

    forward! { (**self) =>
        fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError>;
        fn buffers_withdrawn(&mut self);
        fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError>;
        fn buf_init(&mut self, index: u32) -> Result<(), DriverError>;
        fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError>;
        fn buf_finish(&mut self, index: u32);
        fn buf_cleanup(&mut self, index: u32);
        fn buf_queue(&mut self, buffer: Active<Self::Cookie>);
        fn buf_request_complete(&mut self, index: u32, request: RequestId);
        fn prepare_streaming(&mut self) -> Result<(), DriverError>;
        fn unprepare_streaming(&mut self);
        fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError>;
        fn stop_streaming(&mut self);
    }
}

/// Result of the device's work on a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Success, or the device's error. After an error, the data is unreliable: the program gets the buffer with its
    /// error flag, and the fences of the device's access end with the error's errno.
    pub outcome: Result<(), DriverError>,
    /// Bytes used in each plane; `None` keeps the old values. Limited to the plane's length.
    pub payloads: Option<[u64; MAX_PLANES]>,
    /// CAPTURE: offset of the first data byte in each plane, for a device that puts a header before the data;
    /// `None` keeps the old values. Limited to the payload.
    pub data_offsets: Option<[u64; MAX_PLANES]>,
    /// Nanoseconds of the monotonic clock; `None` keeps the program's timestamp.
    pub timestamp_ns: Option<u64>,
    /// Frame sequence number.
    pub sequence: u32,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// Whether this is the last buffer (`V4L2_BUF_FLAG_LAST`).
    pub last: bool,
    /// Timecode of the OUTPUT buffer that a CAPTURE buffer was made from; `None` keeps the old timecode.
    pub timecode: Option<[u8; 16]>,
    /// Frame flags, passed through; `None` keeps the buffer's old flags.
    pub frame_flags: Option<u32>,
}

impl Completion {
    /// Makes the completion of the good progressive frame `sequence`. The buffer keeps its payloads and timestamp.
    #[must_use]
    pub const fn done(sequence: u32) -> Self {
        Self::new(Ok(()), sequence)
    }

    /// Makes the completion of the progressive frame `sequence`. The buffer keeps its payloads and timestamp.
    #[must_use]
    pub const fn new(outcome: Result<(), DriverError>, sequence: u32) -> Self {
        Self {
            outcome,
            payloads: None,
            data_offsets: None,
            timestamp_ns: None,
            sequence,
            field: FIELD_NONE,
            last: false,
            timecode: None,
            frame_flags: None,
        }
    }
}
