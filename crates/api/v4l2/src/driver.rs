//! The interface to a video device's driver.

use crate::codec::{Command, CommandSet};
use crate::selection::{Rect, SelectionFlags, SelectionTarget};
use crate::{
    Bus, ControlSpec, ControlValue, EventKinds, Flow, Format, FourCc, Fraction, FrameIntervals,
    FrameSizes, MediaGraph, PixelFormat, Planarity, Progress, Receiver, Statistics, Timings,
    WakeFd,
};
use bitflags::bitflags;
use vb3_queue::{Driver, DriverError, Requests};

/// Identity of a device for QUERYCAP and its media device. Texts are truncated to 15, 31, 31 and 39 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name of the driver.
    pub driver: String,
    /// Name of the device.
    pub card: String,
    /// Location, such as `platform:vb3-000`.
    pub bus_info: String,
    /// Serial number; empty if the device has none.
    pub serial: String,
    /// Hardware revision, as the driver numbers it.
    pub revision: u32,
    /// Capabilities of the device's other nodes (`V4L2_CAP_*`).
    pub other_caps: u32,
}

/// Direction of a device, which decides its queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// One CAPTURE queue.
    Capture,
    /// One OUTPUT queue.
    Output,
    /// Both queues: OUTPUT buffers are processed into CAPTURE buffers.
    /// Each open file has its own queues, formats and controls.
    MemToMem,
    /// Both queues: frames from one file's OUTPUT queue reach the CAPTURE queues of other files.
    /// Each open file has its own queues.
    Duplex,
    /// No queue: an entity of a media graph, with a node and pads.
    Subdevice,
}

impl Role {
    /// Returns the directions of the queues.
    #[must_use]
    pub const fn flows(self) -> &'static [Flow] {
        match self {
            Self::Capture => &[Flow::Capture],
            Self::Output => &[Flow::Output],
            Self::MemToMem | Self::Duplex => &[Flow::Capture, Flow::Output],
            Self::Subdevice => &[],
        }
    }
}

/// An input or output of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name, at most 31 bytes.
    pub name: &'static str,
    /// `V4L2_INPUT_TYPE_CAMERA` (2) or `V4L2_OUTPUT_TYPE_ANALOG` (2), for example.
    pub kind: u32,
}

bitflags! {
    /// Flags of a format in ENUM_FMT (`V4L2_FMT_FLAG_*`), except the one for compressed formats.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct FormatFlags: u32 {
        /// A decoder accepts pieces of the stream of any size.
        const CONTINUOUS_BYTESTREAM = 4;
        /// A decoder follows resolution changes in the stream.
        const DYN_RESOLUTION = 8;
        /// An encoder's CAPTURE frame interval is separate from the OUTPUT one.
        const ENC_CAP_FRAME_INTERVAL = 16;
    }
}

/// A device's settings for a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Whether user pointers are offered, if `MemOps` supports them.
    pub userptr: bool,
    /// Whether dma-buf import is offered.
    pub dmabuf: bool,
    /// Whether read() or write() is offered, if the format has one plane.
    pub file_io: bool,
    /// Whether cache hints are obeyed (`allow_cache_hints`).
    pub cache_hints: bool,
    /// Maximum number of buffers, 32 to 32768.
    pub max_buffers: u32,
    /// Minimum number of buffers that REQBUFS allocates.
    pub min_reqbufs: u32,
    /// Number of buffers that must be queued before streaming starts.
    pub min_queued: u32,
    /// Whether the driver copies timestamps from OUTPUT buffers to CAPTURE buffers. Otherwise, it takes them from the
    /// monotonic clock.
    pub copy_timestamps: bool,
    /// Timestamps are taken at the start of a frame (`V4L2_BUF_FLAG_TSTAMP_SRC_SOE`), not at its end.
    /// An OUTPUT device may set this only if it copies timestamps.
    pub start_of_exposure: bool,
    /// S_PARM fails with EBUSY while the queue streams, as in uvcvideo.
    pub fixes_interval: bool,
    /// Whether REMOVE_BUFS is offered.
    pub removes_buffers: bool,
    /// OUTPUT: a payload of zero bytes means an empty frame. If false, such a payload means a full buffer.
    pub allow_zero_bytesused: bool,
    /// OUTPUT: STREAMON without buffers succeeds and does nothing, for a program that calls write() next.
    ///
    /// Source: v4l2loopback up to 0.13.
    pub starts_empty: bool,
    /// OUTPUT of a memory-to-memory device: whether buffers are queued by media requests with controls.
    ///
    /// The driver gets one buffer at a time: the V4L2 layer waits until the previous buffer has finished and a
    /// CAPTURE buffer is available, sets the request's controls, and then gives the driver the buffer. `min_queued`
    /// must be 0.
    pub requests: Requests,
    /// OUTPUT of a memory-to-memory device: whether a program may tell the device to hold a CAPTURE buffer.
    ///
    /// The program does this by a flag of an OUTPUT buffer (`V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF`, in
    /// `Active::frame_flags`). The device then keeps the CAPTURE buffer of this OUTPUT buffer. If the next OUTPUT
    /// buffer has the same timestamp, the device also writes the result of that buffer into the kept CAPTURE buffer.
    pub holds_capture: bool,
    /// REQBUFS and CREATE_BUFS make all buffers or none (ENOMEM), instead of as many as fit in memory.
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
            copy_timestamps: false,
            start_of_exposure: false,
            fixes_interval: false,
            removes_buffers: true,
            allow_zero_bytesused: false,
            starts_empty: false,
            requests: Requests::None,
            holds_capture: false,
            admission: false,
        }
    }
}

/// The behaviour of a caller that found no finished buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// The caller continues, and may try again: O_NONBLOCK, poll() without a timeout, QUERYBUF.
    GoesOn,
    /// The caller waits until a buffer is finished.
    Waits,
}

/// A video device's driver, or one open file's part of the driver of a memory-to-memory or duplex device.
///
/// No method waits. The driver checks and adjusts values that a program sets. The V4L2 layer decides whether
/// these values may be set now: not while buffers exist or another file has priority. A `flow` argument is
/// always one of the directions of [`role`](Self::role).
#[expect(unused_variables, reason = "default methods ignore their arguments")]
pub trait VideoDriver {
    /// The location of a plane's memory for the device (`MemOps::Cookie`).
    type Cookie;

    /// Returns the device's identity.
    fn identity(&self) -> &Identity;

    /// Returns the device's role.
    fn role(&self) -> Role;

    /// Returns whether programs see a queue of [`role`](Self::role) now.
    /// A hidden queue has no capability, no buffer type and no ports. A queue with buffers must stay visible.
    fn announces(&self, flow: Flow) -> bool {
        true
    }

    /// Returns whether the device's buffer types are single- or multi-planar.
    fn planarity(&self) -> Planarity;

    /// Calls `act` once, with the driver of one queue. [`with_queue_driver`] also returns what `act` returns.
    fn with_queue_driver(
        &mut self,
        flow: Flow,
        act: &mut dyn FnMut(&mut dyn Driver<Cookie = Self::Cookie>),
    );

    /// Returns whether STREAMOFF of a queue can take all its buffers back now.
    ///
    /// A driver returns false if something outside of this process, such as a codec process, still writes to a
    /// buffer. STREAMOFF then waits, and calls this method again after each tick, so the driver must have a tick when
    /// that write has finished. For a file with O_NONBLOCK, STREAMOFF does not call this method, and the driver must
    /// take the buffers back in any case.
    fn may_stop(&mut self, flow: Flow) -> bool {
        true
    }

    /// Ends the work of the driver, because the last file of its queues is closed. Their buffers are taken back
    /// next.
    fn end(&mut self) {}

    /// Returns pixel formats in the order of ENUM_FMT. The first is the default.
    fn formats(&self, flow: Flow) -> &[&'static PixelFormat];

    /// Returns further flags of a format of [`formats`](Self::formats) for ENUM_FMT.
    fn format_flags(&self, flow: Flow, pixel: &PixelFormat) -> FormatFlags {
        FormatFlags::empty()
    }

    /// Returns the sizes offered for a format of [`formats`](Self::formats).
    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes<'_>;

    /// Returns the intervals offered for a format and size; `None` if the device does not time its frames.
    fn frame_intervals(
        &self,
        pixel: &PixelFormat,
        width: u32,
        height: u32,
    ) -> Option<FrameIntervals<'_>>;

    /// Returns the current format.
    fn format(&self, flow: Flow) -> Format;

    /// Returns whether TRY_FMT and S_FMT fail with EINVAL for this pixel format, rather than adjust it.
    fn refuses_format(&self, flow: Flow, fourcc: FourCc) -> bool {
        false
    }

    /// Returns the format that would be set for `wanted`. It never fails; [`Format::negotiate`] does
    /// most of the work.
    fn try_format(&self, flow: Flow, wanted: &Format) -> Format;

    /// Sets a result of [`try_format`](Self::try_format).
    ///
    /// Never called while the queue has buffers. `peer_busy` says whether the other queue has buffers.
    ///
    /// # Errors
    /// Passed to the caller: EBUSY if the other queue's format would have to change.
    fn set_format(
        &mut self,
        flow: Flow,
        format: &Format,
        peer_busy: bool,
    ) -> Result<(), DriverError>;

    /// Returns the current frame interval in seconds; `None` if a queue has none.
    fn interval(&self, flow: Flow) -> Option<Fraction>;

    /// Sets the nearest offered interval, if any. A zero numerator or denominator selects the default.
    fn set_interval(&mut self, flow: Flow, wanted: Fraction) {}

    /// Returns the pixel format in which a video node stores pictures that reach it with this media bus code
    /// (`V4L2_CAP_IO_MC`).
    ///
    /// The inner `None` means that no pixel format stores pictures with this code. The outer `None` means that the
    /// device has no media graph.
    fn stored_as(&self, code: u32) -> Option<Option<FourCc>> {
        None
    }

    /// Takes the controls whose ranges or values have followed a change of the format or of another control.
    /// Each control comes with its value.
    fn take_ranges(&mut self) -> Vec<(ControlSpec, i64)> {
        Vec::new()
    }

    /// Returns a subdevice's graph, and the index of its entity in this graph.
    fn subdevice(&self) -> Option<(&MediaGraph, usize)> {
        None
    }

    /// Returns the inputs (CAPTURE) or outputs (OUTPUT); none for memory-to-memory devices.
    fn ports(&self) -> &[Port] {
        &[]
    }

    /// Returns the status of an input's signal: `V4L2_IN_ST_*`, 0 if it is good.
    fn input_status(&self) -> u32 {
        0
    }

    /// Returns the receiver of an input with DV timings (`V4L2_IN_CAP_DV_TIMINGS`).
    fn receiver(&self) -> Option<&Receiver> {
        None
    }

    /// Sets one of the receiver's modes, and changes the format accordingly.
    /// Never called while the queue has buffers.
    fn set_timings(&mut self, mode: &Timings) {}

    /// Replaces the receiver's EDID; an empty one hides the receiver from the source.
    fn set_edid(&mut self, edid: Vec<u8>) {}

    /// Returns whether the selection calls are offered.
    fn has_selection(&self) -> bool {
        false
    }

    /// Returns whether the selection calls that set a rectangle are offered, too.
    fn sets_selection(&self) -> bool {
        self.has_selection()
    }

    /// Returns a rectangle of the picture; `None` for an unsupported target.
    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        None
    }

    /// Sets a rectangle, after moving and resizing it to the nearest possible one.
    ///
    /// # Errors
    /// Passed to the caller: EINVAL for a read-only target, EBUSY while the rectangle cannot change, ERANGE
    /// if `flags` forbid the adjustment.
    fn set_selection(
        &mut self,
        flow: Flow,
        target: SelectionTarget,
        wanted: Rect,
        flags: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        Err(DriverError::EINVAL)
    }

    /// Returns the codec commands that the device supports.
    fn commands(&self) -> Option<CommandSet> {
        None
    }

    /// Executes a command of [`commands`](Self::commands).
    ///
    /// # Errors
    /// Passed to the caller: EBUSY while draining.
    fn command(&mut self, command: Command) -> Result<(), DriverError> {
        Err(DriverError::ENOTTY)
    }

    /// Returns the controls. Called once.
    fn controls(&self) -> Vec<ControlSpec> {
        Vec::new()
    }

    /// Checks whether a control could be set to a value in its range, now or by a media request.
    ///
    /// # Errors
    /// Passed to the caller of S_CTRL, S_EXT_CTRLS and TRY_EXT_CTRLS.
    ///
    /// Source: Linux 7.2 `v4l2_ctrl_ops::try_ctrl`, differs: the value is not adjusted.
    fn try_control(&self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        Ok(())
    }

    /// Sets a control to a value in its range.
    ///
    /// # Errors
    /// Passed to the caller; the control keeps its old value.
    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        Ok(())
    }

    /// Returns whether the driver has grabbed a control: programs cannot set it now (EBUSY).
    fn is_grabbed(&self, id: u32) -> bool {
        false
    }

    /// Returns the current value of a volatile control; `None` keeps the last value.
    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        None
    }

    /// Returns the events that the device raises, besides control events.
    fn events(&self) -> EventKinds {
        EventKinds::empty()
    }

    /// Returns the settings of a queue. Called once.
    fn queue_policy(&self, flow: Flow) -> QueuePolicy {
        QueuePolicy::default()
    }

    /// Moves pixels through `bus`, and reports finished buffers and events.
    ///
    /// `now_ns` is the monotonic clock. Work that is not due yet stays for a later tick. If no buffer is
    /// queued at a frame's time, the frame is dropped and counted.
    fn tick(
        &mut self,
        now_ns: u64,
        bus: &mut dyn Bus<Self::Cookie>,
        progress: &mut Progress<Self::Cookie>,
    );

    /// Notes that a caller found no finished buffer in a queue.
    ///
    /// The caller is a program in DQBUF, QUERYBUF, poll(), read() or write(), or a party that waits for the
    /// release of a buffer's memory. A device that keeps buffers longer than necessary can respond in a
    /// [`tick`](Self::tick).
    fn note_waiter(&mut self, flow: Flow, waiter: Waiter) {}

    /// Returns the time of the next tick on the monotonic clock (ns); `None` while idle.
    ///
    /// For a memory-to-memory device, this time changes only if another method of the same driver is called. For a
    /// duplex device, this time also changes if a method of the driver of another file of the device is called.
    fn next_tick(&self) -> Option<u64>;

    /// Returns whether the next tick only continues work that an earlier tick has begun.
    /// An example is a large picture that is moved in pieces. Programs' calls need not wait for such a tick.
    fn has_begun(&self) -> bool {
        false
    }

    /// Returns a descriptor that becomes readable when an awaited external event has occurred.
    /// The driver then needs a [`tick`](Self::tick). `None` if the driver awaits no event.
    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        None
    }

    /// Returns the device's counters.
    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}

/// Calls `act` with the driver of one queue, and returns its result. `None` if the device did not call `act`.
pub fn with_queue_driver<D: VideoDriver + ?Sized, T>(
    device: &mut D,
    flow: Flow,
    act: impl FnOnce(&mut dyn Driver<Cookie = D::Cookie>) -> T,
) -> Option<T> {
    let (mut act, mut done) = (Some(act), None);
    device.with_queue_driver(flow, &mut |driver| {
        if let Some(act) = act.take() {
            done = Some(act(driver));
        }
    });
    done
}
