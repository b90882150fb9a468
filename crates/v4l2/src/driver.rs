//! The interface to a video device's driver.

use crate::codec::{Command, CommandSet};
use crate::selection::{Rect, SelectionFlags, SelectionTarget};
use crate::{
    Bus, ControlSpec, ControlValue, EventKinds, Flow, Format, Fraction, FrameIntervals, FrameSizes,
    PixelFormat, Planarity, Progress, Statistics,
};
use bitflags::bitflags;
use std::os::fd::BorrowedFd;
use vb3_queue::{Driver, DriverError, Requests, TimestampKind};

/// Who a device is, as QUERYCAP says. Texts are cut at 15, 31 and 31 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the driver.
    pub driver: String,
    /// Name of the device.
    pub card: String,
    /// Where it is, e.g. `platform:vb3-000`.
    pub bus_info: String,
}

/// What a device does, and so which queues it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// One CAPTURE queue.
    Capture,
    /// One OUTPUT queue.
    Output,
    /// Both: what is queued at OUTPUT comes back, worked on, at CAPTURE. Each open file has its
    /// own queues, formats and controls.
    MemToMem,
}

impl Role {
    /// The queues.
    #[must_use]
    pub const fn flows(self) -> &'static [Flow] {
        match self {
            Self::Capture => &[Flow::Capture],
            Self::Output => &[Flow::Output],
            Self::MemToMem => &[Flow::Capture, Flow::Output],
        }
    }
}

/// An input or output of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name, at most 31 bytes.
    pub name: &'static str,
    /// `V4L2_INPUT_TYPE_CAMERA` (2) or `V4L2_OUTPUT_TYPE_ANALOG` (2), …
    pub kind: u32,
}

bitflags! {
    /// What a device says of a format in ENUM_FMT (`V4L2_FMT_FLAG_*`), besides whether it is
    /// compressed.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FormatFlags: u32 {
        /// A decoder takes the stream in pieces of any size.
        const CONTINUOUS_BYTESTREAM = 4;
        /// A decoder follows changes of resolution in the stream.
        const DYN_RESOLUTION = 8;
        /// An encoder's CAPTURE frame interval can be set apart from the OUTPUT one.
        const ENC_CAP_FRAME_INTERVAL = 16;
    }
}

/// How a queue of a device is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Offer user pointers, where the memory allows it.
    pub userptr: bool,
    /// Offer dma-buf import.
    pub dmabuf: bool,
    /// Offer read() or write(), where the format has one plane.
    pub file_io: bool,
    /// Take cache hints (`allow_cache_hints`).
    pub cache_hints: bool,
    /// Most buffers, 32 to 32768.
    pub max_buffers: u32,
    /// Fewest buffers REQBUFS allocates.
    pub min_reqbufs: u32,
    /// Buffers that must be queued before streaming starts.
    pub min_queued: u32,
    /// Where timestamps come from.
    pub timestamps: TimestampKind,
    /// Timestamps are taken when a frame begins (`V4L2_BUF_FLAG_TSTAMP_SRC_SOE`), not at its end.
    /// Not for an OUTPUT device, unless it copies timestamps.
    pub start_of_exposure: bool,
    /// OUTPUT: a payload of zero bytes is one, and does not stand for the whole buffer.
    pub allow_zero_bytesused: bool,
    /// OUTPUT of a memory-to-memory device: whether buffers are queued by media requests, which
    /// carry controls. The driver gets them one at a time, each when the one before is finished,
    /// there is a CAPTURE buffer, and its controls have been set. Never where `min_queued` is set.
    pub requests: Requests,
    /// OUTPUT of a memory-to-memory device: whether a program may ask that the CAPTURE buffer stays
    /// with the device after an OUTPUT buffer, for one that follows with the same timestamp
    /// (`V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF`, in `Active::frame_flags`).
    pub holds_capture: bool,
    /// REQBUFS and CREATE_BUFS make all buffers or none (ENOMEM), instead of as many as there is
    /// memory for.
    pub admission: bool,
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            userptr: true,
            dmabuf: true,
            file_io: true,
            cache_hints: true,
            max_buffers: 64,
            min_reqbufs: 2,
            min_queued: 0,
            timestamps: TimestampKind::Monotonic,
            start_of_exposure: false,
            allow_zero_bytesused: false,
            requests: Requests::None,
            holds_capture: false,
            admission: false,
        }
    }
}

/// What becomes of one who looks for a buffer that is done and finds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// It goes on, and looks again or not: O_NONBLOCK, poll() without a timeout, QUERYBUF.
    GoesOn,
    /// It waits until there is one.
    Waits,
}

/// A video device, or what one open file of a memory-to-memory device has of it, as the V4L2
/// layer sees it.
///
/// Every method answers at once. What a program may set is checked and adjusted here; whether it
/// may be set now (buffers exist, another file has priority) is decided by the caller. A `flow`
/// passed in is one that [`role`](Self::role) has.
pub trait VideoDriver {
    /// Where the memory of a plane is, as the device sees it (`MemOps::Cookie`).
    type Cookie;

    /// Who the device is.
    fn identity(&self) -> &Identity;

    /// What it does.
    fn role(&self) -> Role;

    /// Which of the two kinds of buffer types it takes.
    fn planarity(&self) -> Planarity;

    /// The driver of one queue, for one call.
    fn queue_driver(&mut self, flow: Flow) -> Box<dyn Driver<Cookie = Self::Cookie> + '_>;

    /// Pixel formats, in the order of ENUM_FMT; the first is the default.
    fn formats(&self, flow: Flow) -> &[&'static PixelFormat];

    /// What else ENUM_FMT says of a format of [`formats`](Self::formats).
    fn format_flags(&self, flow: Flow, pixel: &PixelFormat) -> FormatFlags {
        let _ = (flow, pixel);
        FormatFlags::empty()
    }

    /// Sizes offered for a format of [`formats`](Self::formats).
    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes<'_>;

    /// Intervals offered for a format and an offered size; `None` where frames have no time of
    /// their own.
    fn frame_intervals(
        &self,
        pixel: &PixelFormat,
        width: u32,
        height: u32,
    ) -> Option<FrameIntervals<'_>>;

    /// The format now.
    fn format(&self, flow: Flow) -> Format;

    /// What would be set for `wanted`; never fails ([`Format::negotiate`] does it for most).
    fn try_format(&self, flow: Flow, wanted: &Format) -> Format;

    /// Sets a format that [`try_format`](Self::try_format) answered. Never called while the
    /// queue has buffers; `peer_busy` tells whether the other queue has.
    ///
    /// # Errors
    /// Passed to the caller: EBUSY where the other queue's format would have to change.
    fn set_format(
        &mut self,
        flow: Flow,
        format: &Format,
        peer_busy: bool,
    ) -> Result<(), DriverError>;

    /// Seconds per frame now; `None` where a queue has no frame interval.
    fn interval(&self, flow: Flow) -> Option<Fraction>;

    /// Sets the nearest offered interval, where there is one. A zero numerator or denominator
    /// asks for the default.
    fn set_interval(&mut self, flow: Flow, wanted: Fraction) {
        let _ = (flow, wanted);
    }

    /// Inputs (CAPTURE) or outputs (OUTPUT); none for memory-to-memory devices.
    fn ports(&self) -> &[Port] {
        &[]
    }

    /// Index of the port in use.
    fn port(&self) -> u32 {
        0
    }

    /// Chooses a port that exists.
    ///
    /// # Errors
    /// Passed to the caller.
    fn set_port(&mut self, index: u32) -> Result<(), DriverError> {
        let _ = index;
        Ok(())
    }

    /// What an input says of what comes in: `V4L2_IN_ST_*`, 0 where all is well.
    fn input_status(&self) -> u32 {
        0
    }

    /// Whether the selection calls are offered.
    fn has_selection(&self) -> bool {
        false
    }

    /// A rectangle of the picture; `None` for a target that the queue does not have.
    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        let _ = (flow, target);
        None
    }

    /// Sets a rectangle, moved and sized to what is possible.
    ///
    /// # Errors
    /// Passed to the caller: EINVAL for a target that cannot be set, EBUSY while it cannot
    /// change, ERANGE where `flags` forbid what would have to be changed.
    fn set_selection(
        &mut self,
        flow: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        let _ = (flow, target, wanted, flags);
        Err(DriverError(22))
    }

    /// Which commands of codecs it takes.
    fn commands(&self) -> Option<CommandSet> {
        None
    }

    /// A command of [`commands`](Self::commands).
    ///
    /// # Errors
    /// Passed to the caller: EBUSY while draining.
    fn command(&mut self, command: Command) -> Result<(), DriverError> {
        let _ = command;
        Err(DriverError(25))
    }

    /// What controls there are. Asked once.
    fn controls(&self) -> Vec<ControlSpec> {
        Vec::new()
    }

    /// Whether a control could be set to a value in its range, now or with a media request.
    ///
    /// # Errors
    /// Passed to the caller of S_CTRL, S_EXT_CTRLS and TRY_EXT_CTRLS.
    ///
    /// Source: Linux 7.2 `v4l2_ctrl_ops::try_ctrl`, differs: it changes nothing.
    fn try_control(&self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        let _ = (id, value);
        Ok(())
    }

    /// A control was set to a value in its range.
    ///
    /// # Errors
    /// Passed to the caller; the control keeps its old value.
    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        let _ = (id, value);
        Ok(())
    }

    /// The value of a volatile control now; `None` leaves the last one.
    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        let _ = id;
        None
    }

    /// Events besides those of controls.
    fn events(&self) -> EventKinds {
        EventKinds::empty()
    }

    /// How a queue is to be. Asked once.
    fn queue_policy(&self, flow: Flow) -> QueuePolicy {
        let _ = flow;
        QueuePolicy::default()
    }

    /// Time has passed: moves pixels by `bus`, and reports buffers finished and events.
    ///
    /// `now_ns` is the monotonic clock. What is not due is left for later; a frame that finds no
    /// buffer in its time is dropped and counted.
    fn tick(
        &mut self,
        now_ns: u64,
        bus: &mut dyn Bus<Self::Cookie>,
        progress: &mut Progress<Self::Cookie>,
    );

    /// Somebody looks for a buffer of a queue that is done, and there is none: a program by DQBUF,
    /// QUERYBUF, poll(), read() or write(), or whoever waits until the device lets go of a buffer's
    /// memory. For devices that keep buffers longer than they must. What comes of it comes with a
    /// [`tick`](Self::tick).
    fn note_waiter(&mut self, flow: Flow, waiter: Waiter) {
        let _ = (flow, waiter);
    }

    /// When the next tick is due, on the monotonic clock; `None` while there is nothing to do. Of a
    /// memory-to-memory device this changes only with a call of another method.
    fn next_tick(&self) -> Option<u64>;

    /// Whether the next tick only goes on with what another has begun, such as a large picture that
    /// is moved in pieces. No call need come after that.
    fn has_begun(&self) -> bool {
        false
    }

    /// Readable when the driver waits for something outside and it has come; `None` where it
    /// does not wait. Calls for a [`tick`](Self::tick).
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What it counted.
    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}
