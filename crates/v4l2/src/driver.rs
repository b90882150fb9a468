//! The seam to a video device: what it tells of itself, and what it is told.

use crate::{
    Bus, ControlSpec, ControlValue, Format, Fraction, FrameIntervals, FrameSizes, PixelFormat,
    Planarity,
};
use bitflags::bitflags;
use vb3_queue::{Active, Completion, Driver, DriverError, TimestampKind};

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

/// Which way pictures go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// From the device to the program.
    Capture,
    /// From the program to the device.
    Output,
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
    /// Events besides those of controls that a device raises.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct EventKinds: u8 {
        /// `V4L2_EVENT_FRAME_SYNC`.
        const FRAME_SYNC = 1 << 0;
        /// `V4L2_EVENT_EOS`.
        const EOS = 1 << 1;
        /// `V4L2_EVENT_SOURCE_CHANGE`.
        const SOURCE_CHANGE = 1 << 2;
        /// `V4L2_EVENT_VSYNC`.
        const VSYNC = 1 << 3;
    }
}

/// Something that happened in a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverEvent {
    /// A frame begins.
    FrameSync {
        /// Its sequence number.
        sequence: u32,
    },
    /// A vertical sync.
    Vsync {
        /// `V4L2_FIELD_*` of the field that follows.
        field: u8,
    },
    /// There is no more to come.
    Eos,
    /// The picture's format changed at the source.
    SourceChange {
        /// Which input.
        port: u32,
        /// `V4L2_EVENT_SRC_CH_*`.
        changes: u32,
    },
    /// The device itself changed a control.
    Control {
        /// Which.
        id: u32,
        /// To what.
        value: ControlValue,
    },
}

/// What a tick of a device brought about.
#[derive(Debug)]
pub struct Progress<C> {
    /// Buffers the device is finished with.
    pub finished: Vec<(Active<C>, Completion)>,
    /// What else happened.
    pub events: Vec<DriverEvent>,
    /// The device broke down: queue error until STREAMOFF (`vb2_queue_error`).
    pub broken: bool,
}

impl<C> Default for Progress<C> {
    fn default() -> Self {
        Self {
            finished: Vec::new(),
            events: Vec::new(),
            broken: false,
        }
    }
}

/// What a device counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that found no buffer (CAPTURE) or were not shown (OUTPUT).
    pub dropped: u64,
    /// Bus faults the device ran into.
    pub bus_faults: u64,
}

/// How the queue of a device is to be.
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
        }
    }
}

/// A video device with one queue, as the V4L2 layer sees it.
///
/// Every method answers at once. What a program may set is checked and adjusted here; whether it
/// may be set now (buffers exist, another file has priority) is decided by the caller.
pub trait VideoDriver: Driver {
    /// Who the device is.
    fn identity(&self) -> &Identity;

    /// Which way pictures go.
    fn flow(&self) -> Flow;

    /// Which of the two kinds of buffer types it takes.
    fn planarity(&self) -> Planarity;

    /// Its pixel formats, in the order of ENUM_FMT; the first is the default.
    fn formats(&self) -> &[&'static PixelFormat];

    /// Sizes offered for a format of [`formats`](Self::formats).
    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes;

    /// Intervals offered for a format and an offered size.
    fn frame_intervals(&self, pixel: &PixelFormat, width: u32, height: u32) -> FrameIntervals;

    /// The format now.
    fn format(&self) -> Format;

    /// What would be set for `wanted`; never fails ([`Format::negotiate`] does it for most).
    fn try_format(&self, wanted: &Format) -> Format;

    /// Sets a format that [`try_format`](Self::try_format) answered. Never called while buffers
    /// exist.
    ///
    /// # Errors
    /// Passed to the caller.
    fn set_format(&mut self, format: &Format) -> Result<(), DriverError>;

    /// Seconds per frame now.
    fn interval(&self) -> Fraction;

    /// Sets the nearest offered interval, and answers it. A zero numerator or denominator asks
    /// for the default.
    fn set_interval(&mut self, wanted: Fraction) -> Fraction;

    /// Inputs (CAPTURE) or outputs (OUTPUT), at least one.
    fn ports(&self) -> &[Port];

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

    /// What controls there are. Asked once.
    fn controls(&self) -> Vec<ControlSpec> {
        Vec::new()
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

    /// How the queue is to be. Asked once.
    fn queue_policy(&self) -> QueuePolicy {
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

    /// When the next tick is due, on the monotonic clock; `None` while there is nothing to do.
    fn next_tick(&self) -> Option<u64>;

    /// What it counted.
    fn statistics(&self) -> Statistics {
        Statistics::default()
    }
}
