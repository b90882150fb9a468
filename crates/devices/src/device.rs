//! A device of either kind, for hosts that keep all of theirs in one table.

use crate::spec::{DeviceKind, DeviceSpec};
use crate::{Camera, Display, Failure, Place};
use std::os::fd::BorrowedFd;
use vb3_queue::{Active, Driver, DriverError, PlaneSizes, Prepare};
use vb3_v4l2::{
    Bus, ControlSpec, ControlValue, EventKinds, Flow, Format, Fraction, FrameIntervals, FrameSizes,
    Identity, PixelFormat, Planarity, Port, Progress, QueuePolicy, Statistics, VideoDriver,
};

/// A camera or a display.
#[derive(Debug)]
pub enum Device<C> {
    /// A CAPTURE device.
    Camera(Camera<C>),
    /// An OUTPUT device.
    Display(Display<C>),
}

/// The same call on either kind.
macro_rules! either {
    ($device:expr, $inner:ident => $call:expr) => {
        match $device {
            Device::Camera($inner) => $call,
            Device::Display($inner) => $call,
        }
    };
}

impl<C> Device<C> {
    /// Makes the device of a SPEC.
    ///
    /// # Errors
    /// A sentence, for a clip that cannot be played or a recording that cannot be written.
    pub fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        match spec.kind {
            DeviceKind::Camera { .. } => Camera::new(spec, place).map(Self::Camera),
            DeviceKind::Display { .. } => Display::new(spec, place).map(Self::Display),
        }
    }

    /// Readable when the device waits for something outside and it has come; `None` where it
    /// does not wait. Calls for a [`tick`](VideoDriver::tick).
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        either!(self, device => device.wake_fd())
    }

    /// Finishes what the device records, waiting until it is written. To be called once, at the
    /// end of a run; gives what went wrong with the recording.
    pub fn finish(&mut self) -> Option<Failure> {
        match self {
            Self::Camera(_) => None,
            Self::Display(display) => display.finish().failure,
        }
    }

    /// What failed outside: why streaming did not start, or broke down.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        either!(self, device => device.failure())
    }
}

impl<C> Driver for Device<C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        either!(self, device => device.queue_setup(create))
    }

    fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError> {
        either!(self, device => device.buffer_count(offered))
    }

    fn prepare_streaming(&mut self) -> Result<(), DriverError> {
        either!(self, device => device.prepare_streaming())
    }

    fn unprepare_streaming(&mut self) {
        either!(self, device => device.unprepare_streaming());
    }

    fn buf_init(&mut self, index: u32) -> Result<(), DriverError> {
        either!(self, device => device.buf_init(index))
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        either!(self, device => device.buf_prepare(buffer))
    }

    fn buf_finish(&mut self, index: u32) {
        either!(self, device => device.buf_finish(index));
    }

    fn buf_cleanup(&mut self, index: u32) {
        either!(self, device => device.buf_cleanup(index));
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        either!(self, device => device.buf_queue(buffer));
    }

    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        either!(self, device => device.start_streaming(queued))
    }

    fn stop_streaming(&mut self) {
        either!(self, device => device.stop_streaming());
    }
}

impl<C> VideoDriver for Device<C> {
    fn identity(&self) -> &Identity {
        either!(self, device => device.identity())
    }

    fn flow(&self) -> Flow {
        either!(self, device => device.flow())
    }

    fn planarity(&self) -> Planarity {
        either!(self, device => device.planarity())
    }

    fn formats(&self) -> &[&'static PixelFormat] {
        either!(self, device => device.formats())
    }

    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes {
        either!(self, device => device.frame_sizes(pixel))
    }

    fn frame_intervals(&self, pixel: &PixelFormat, width: u32, height: u32) -> FrameIntervals {
        either!(self, device => device.frame_intervals(pixel, width, height))
    }

    fn format(&self) -> Format {
        either!(self, device => device.format())
    }

    fn try_format(&self, wanted: &Format) -> Format {
        either!(self, device => device.try_format(wanted))
    }

    fn set_format(&mut self, format: &Format) -> Result<(), DriverError> {
        either!(self, device => device.set_format(format))
    }

    fn interval(&self) -> Fraction {
        either!(self, device => device.interval())
    }

    fn set_interval(&mut self, wanted: Fraction) -> Fraction {
        either!(self, device => device.set_interval(wanted))
    }

    fn ports(&self) -> &[Port] {
        either!(self, device => device.ports())
    }

    fn port(&self) -> u32 {
        either!(self, device => device.port())
    }

    fn set_port(&mut self, index: u32) -> Result<(), DriverError> {
        either!(self, device => device.set_port(index))
    }

    fn controls(&self) -> Vec<ControlSpec> {
        either!(self, device => device.controls())
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        either!(self, device => device.set_control(id, value))
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        either!(self, device => device.volatile_control(id))
    }

    fn events(&self) -> EventKinds {
        either!(self, device => device.events())
    }

    fn queue_policy(&self) -> QueuePolicy {
        either!(self, device => device.queue_policy())
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        either!(self, device => device.tick(now_ns, bus, progress));
    }

    fn next_tick(&self) -> Option<u64> {
        either!(self, device => device.next_tick())
    }

    fn statistics(&self) -> Statistics {
        either!(self, device => device.statistics())
    }
}
