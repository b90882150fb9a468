//! The seam to a device: what it gives a queue, and what it gets.

use crate::{Active, MAX_PLANES, RequestId, Timecode};
use core::fmt;

/// `V4L2_FIELD_NONE`.
const FIELD_NONE: u32 = 1;

/// Plane sizes of a buffer, in bytes, and the devices that the planes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlaneSizes {
    count: usize,
    bytes: [u64; MAX_PLANES],
    alloc_devs: [u32; MAX_PLANES],
}

impl PlaneSizes {
    /// Takes the sizes; `None` for no plane, too many, or a size of zero.
    #[must_use]
    pub fn new(bytes: &[u64]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > MAX_PLANES || bytes.contains(&0) {
            return None;
        }
        let mut sizes = Self {
            count: bytes.len(),
            bytes: [0; MAX_PLANES],
            alloc_devs: [0; MAX_PLANES],
        };
        for (to, from) in sizes.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        Some(sizes)
    }

    /// Says which device a plane is for: 0 for the queue's own
    /// ([`Config::device`](crate::Config::device)), n for the nth of
    /// [`Config::alloc_devs`](crate::Config::alloc_devs). A plane that is not there changes
    /// nothing.
    ///
    /// Source: Linux 7.2 `queue_setup`, argument `alloc_devs`, differs: devices are named by
    /// number, and the choice holds for the buffers that the call makes.
    #[must_use]
    pub fn with_alloc_dev(mut self, plane: usize, number: u32) -> Self {
        if let Some(place) = self.alloc_devs.get_mut(plane) {
            *place = number;
        }
        self
    }

    /// Number of the device that a plane is for.
    pub(crate) fn alloc_dev(&self, plane: usize) -> u32 {
        self.alloc_devs.get(plane).copied().unwrap_or(0)
    }

    /// The sizes.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        self.bytes.get(..self.count).unwrap_or(&[])
    }
}

/// An error a driver gives, as an errno; it is passed to the caller unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverError(pub i32);

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "driver error, errno {}", self.0)
    }
}

impl core::error::Error for DriverError {}

/// What QBUF or PREPARE_BUF shows the driver of a buffer, and lets it set.
#[derive(Debug)]
pub struct Prepare<'a> {
    /// Buffer index.
    pub index: u32,
    /// Bytes each plane can hold.
    pub lengths: &'a [u64],
    /// Bytes used in each plane: given by the program on OUTPUT, set by the driver on CAPTURE.
    pub payloads: &'a mut [u64],
    /// First byte of the data in each plane: given by the program on OUTPUT, set by the driver
    /// on CAPTURE. Cut to the payload.
    pub data_offsets: &'a mut [u64],
    /// `V4L2_FIELD_*`, passed through.
    pub field: &'a mut u32,
}

/// A device, as its queue sees it.
///
/// All methods are called with the queue borrowed by the caller; a driver never calls back.
/// It keeps the [`Active`] tokens it is given and hands each one back to
/// [`Session::complete`](crate::Session::complete), through its host, or from another context to
/// [`Completions::push`](crate::Completions::push), or drops it, which returns the buffer as an
/// error.
///
/// # Context
/// May sleep, but for what the host's memory forbids.
///
/// Source: Linux `struct vb2_ops`, differs: ownership is the token.
pub trait Driver {
    /// Where the memory of a plane is, as the device sees it (`MemOps::Cookie`).
    type Cookie;

    /// Planes and sizes for new buffers. `create` holds the sizes asked for by CREATE_BUFS;
    /// a driver checks that they are large enough for the format.
    ///
    /// # Errors
    /// Passed to the caller (EINVAL for sizes that are too small).
    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError>;

    /// How many buffers to make when `offered` are asked for. Asked again with the number that
    /// could be made where memory ran out; naming more than that then refuses them all.
    ///
    /// # Errors
    /// Passed to the caller.
    fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError> {
        Ok(offered)
    }

    /// A buffer has got its memory (again).
    ///
    /// # Errors
    /// Passed to the caller; the memory is released without `buf_cleanup`.
    fn buf_init(&mut self, index: u32) -> Result<(), DriverError> {
        let _ = index;
        Ok(())
    }

    /// Checks a buffer before it may be queued; on CAPTURE sets the payloads.
    ///
    /// # Errors
    /// Passed to the caller; the buffer stays dequeued.
    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError>;

    /// A prepared buffer returns to the program.
    fn buf_finish(&mut self, index: u32) {
        let _ = index;
    }

    /// A buffer is about to lose its memory. Balanced with `buf_init`.
    fn buf_cleanup(&mut self, index: u32) {
        let _ = index;
    }

    /// The device gets a buffer.
    fn buf_queue(&mut self, buffer: Active<Self::Cookie>);

    /// A buffer has left its media request: the device has finished it, or the queue was
    /// cancelled. The host removes it from its [`Request`](crate::Request) by
    /// [`Request::unbind`](crate::Request::unbind), now or after the call. Not called for
    /// buffers that [`Session::req_release`](crate::Session::req_release) returns.
    fn buf_request_complete(&mut self, index: u32, request: RequestId) {
        let _ = (index, request);
    }

    /// STREAMON, before it is known whether enough buffers are queued to start.
    ///
    /// # Errors
    /// Passed to the caller.
    fn prepare_streaming(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    /// The end of what `prepare_streaming` began, after `stop_streaming` if it was started.
    fn unprepare_streaming(&mut self) {}

    /// Streaming begins; `queued` buffers have been given by `buf_queue` before.
    ///
    /// # Errors
    /// Passed to the caller; the driver drops its tokens, and the buffers are queued again.
    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError>;

    /// Streaming ends: the driver drops or has completed all its tokens.
    fn stop_streaming(&mut self);
}

/// A borrowed driver is a driver.
impl<D: Driver + ?Sized> Driver for &mut D {
    type Cookie = D::Cookie;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        (**self).queue_setup(create)
    }

    fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError> {
        (**self).buffer_count(offered)
    }

    fn buf_init(&mut self, index: u32) -> Result<(), DriverError> {
        (**self).buf_init(index)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        (**self).buf_prepare(buffer)
    }

    fn buf_finish(&mut self, index: u32) {
        (**self).buf_finish(index);
    }

    fn buf_cleanup(&mut self, index: u32) {
        (**self).buf_cleanup(index);
    }

    fn buf_queue(&mut self, buffer: Active<Self::Cookie>) {
        (**self).buf_queue(buffer);
    }

    fn buf_request_complete(&mut self, index: u32, request: RequestId) {
        (**self).buf_request_complete(index, request);
    }

    fn prepare_streaming(&mut self) -> Result<(), DriverError> {
        (**self).prepare_streaming()
    }

    fn unprepare_streaming(&mut self) {
        (**self).unprepare_streaming();
    }

    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        (**self).start_streaming(queued)
    }

    fn stop_streaming(&mut self) {
        (**self).stop_streaming();
    }
}

/// How a device finished with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Done, or the data is bad.
    pub outcome: DoneState,
    /// Bytes used in each plane; `None` keeps what was there. Cut to the plane's length.
    pub payloads: Option<[u64; MAX_PLANES]>,
    /// CAPTURE: first byte of the data in each plane, for a device that puts a header before it;
    /// `None` keeps what was there. Cut to the payload.
    pub data_offsets: Option<[u64; MAX_PLANES]>,
    /// Nanoseconds on the monotonic clock; `None` keeps the one given by the program.
    pub timestamp_ns: Option<u64>,
    /// Frame sequence number.
    pub sequence: u32,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// The last buffer (`V4L2_BUF_FLAG_LAST`).
    pub last: bool,
    /// The timecode of the OUTPUT buffer that a CAPTURE buffer was made from; `None` keeps what
    /// was there.
    pub timecode: Option<Timecode>,
    /// The description of the frame, passed through; `None` keeps the old one.
    pub frame_flags: Option<u32>,
}

impl Completion {
    /// Frame `sequence`, progressive; everything else stays as it was.
    #[must_use]
    pub const fn new(outcome: DoneState, sequence: u32) -> Self {
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

/// The two states in which a buffer can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoneState {
    /// Filled, or shown.
    Done,
    /// The contents are not to be trusted.
    Error,
}
