//! A device of either kind, for hosts that keep all of theirs in one table.

use crate::inject::{Fault, Inject};
use crate::spec::{DeviceKind, DeviceSpec};
use crate::{Camera, Display, Failure, Place};
use std::os::fd::BorrowedFd;
use vb3_queue::{Active, Driver, DriverError, PlaneSizes, Prepare};
use vb3_v4l2::{
    Bus, ControlSpec, ControlValue, EventKinds, Flow, Format, Fraction, FrameIntervals, FrameSizes,
    Identity, PixelFormat, Planarity, Port, Progress, QueuePolicy, Statistics, VideoDriver,
};

/// A camera or a display, with the faults a program may ask for.
#[derive(Debug)]
pub struct Device<C> {
    kind: Kind<C>,
    inject: Inject,
}

#[derive(Debug)]
enum Kind<C> {
    Camera(Camera<C>),
    Display(Display<C>),
}

/// The same call on either kind.
macro_rules! either {
    ($device:expr, $inner:ident => $call:expr) => {
        match $device {
            Kind::Camera($inner) => $call,
            Kind::Display($inner) => $call,
        }
    };
}

impl<C> Device<C> {
    /// Makes the device of a SPEC.
    ///
    /// # Errors
    /// A sentence, for a clip that cannot be played or a recording that cannot be written.
    pub fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let kind = match spec.kind {
            DeviceKind::Camera { .. } => Kind::Camera(Camera::new(spec, place)?),
            DeviceKind::Display { .. } => Kind::Display(Display::new(spec, place)?),
        };
        let inject = Inject::new(spec.inject);
        Ok(Self { kind, inject })
    }

    /// Readable when the device waits for something outside and it has come; `None` where it
    /// does not wait. Calls for a [`tick`](VideoDriver::tick).
    #[must_use]
    pub fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        either!(&self.kind, device => device.wake_fd())
    }

    /// Finishes what the device records, waiting until it is written. To be called once, at the
    /// end of a run; gives what went wrong with the recording.
    pub fn finish(&mut self) -> Option<Failure> {
        match &mut self.kind {
            Kind::Camera(_) => None,
            Kind::Display(display) => display.finish().failure,
        }
    }

    /// What failed outside: why streaming did not start, or broke down.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        either!(&self.kind, device => device.failure())
    }
}

impl<C> Driver for Device<C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        self.inject.check(Fault::Setup)?;
        either!(&mut self.kind, device => device.queue_setup(create))
    }

    fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError> {
        either!(&mut self.kind, device => device.buffer_count(offered))
    }

    fn prepare_streaming(&mut self) -> Result<(), DriverError> {
        either!(&mut self.kind, device => device.prepare_streaming())
    }

    fn unprepare_streaming(&mut self) {
        either!(&mut self.kind, device => device.unprepare_streaming());
    }

    fn buf_init(&mut self, index: u32) -> Result<(), DriverError> {
        either!(&mut self.kind, device => device.buf_init(index))
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        self.inject.check(Fault::Prepare)?;
        either!(&mut self.kind, device => device.buf_prepare(buffer))
    }

    fn buf_finish(&mut self, index: u32) {
        either!(&mut self.kind, device => device.buf_finish(index));
    }

    fn buf_cleanup(&mut self, index: u32) {
        either!(&mut self.kind, device => device.buf_cleanup(index));
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        either!(&mut self.kind, device => device.buf_queue(buffer));
    }

    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        let asked = self.inject.check(Fault::Start);
        if let Err(e) = asked.and_then(|()| self.inject.check(Fault::Absent)) {
            // Gives its tokens back.
            either!(&mut self.kind, device => device.stop_streaming());
            return Err(e);
        }
        either!(&mut self.kind, device => device.start_streaming(queued))
    }

    fn stop_streaming(&mut self) {
        either!(&mut self.kind, device => device.stop_streaming());
    }
}

impl<C> VideoDriver for Device<C> {
    fn identity(&self) -> &Identity {
        either!(&self.kind, device => device.identity())
    }

    fn flow(&self) -> Flow {
        either!(&self.kind, device => device.flow())
    }

    fn planarity(&self) -> Planarity {
        either!(&self.kind, device => device.planarity())
    }

    fn formats(&self) -> &[&'static PixelFormat] {
        either!(&self.kind, device => device.formats())
    }

    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes {
        either!(&self.kind, device => device.frame_sizes(pixel))
    }

    fn frame_intervals(&self, pixel: &PixelFormat, width: u32, height: u32) -> FrameIntervals {
        either!(&self.kind, device => device.frame_intervals(pixel, width, height))
    }

    fn format(&self) -> Format {
        either!(&self.kind, device => device.format())
    }

    fn try_format(&self, wanted: &Format) -> Format {
        either!(&self.kind, device => device.try_format(wanted))
    }

    fn set_format(&mut self, format: &Format) -> Result<(), DriverError> {
        either!(&mut self.kind, device => device.set_format(format))
    }

    fn interval(&self) -> Fraction {
        either!(&self.kind, device => device.interval())
    }

    fn set_interval(&mut self, wanted: Fraction) -> Fraction {
        either!(&mut self.kind, device => device.set_interval(wanted))
    }

    fn ports(&self) -> &[Port] {
        either!(&self.kind, device => device.ports())
    }

    fn port(&self) -> u32 {
        either!(&self.kind, device => device.port())
    }

    fn set_port(&mut self, index: u32) -> Result<(), DriverError> {
        either!(&mut self.kind, device => device.set_port(index))
    }

    fn controls(&self) -> Vec<ControlSpec> {
        let mut controls = either!(&self.kind, device => device.controls());
        controls.extend(self.inject.controls());
        controls
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        if self.inject.press(id) {
            return Ok(());
        }
        either!(&mut self.kind, device => device.set_control(id, value))
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        either!(&self.kind, device => device.volatile_control(id))
    }

    fn events(&self) -> EventKinds {
        either!(&self.kind, device => device.events())
    }

    fn queue_policy(&self) -> QueuePolicy {
        either!(&self.kind, device => device.queue_policy())
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        if self.inject.strikes(Fault::Queue) {
            progress.broken = true;
        }
        either!(&mut self.kind, device => device.tick(now_ns, bus, progress));
    }

    fn next_tick(&self) -> Option<u64> {
        if self.inject.wants(Fault::Queue) {
            return Some(0);
        }
        either!(&self.kind, device => device.next_tick())
    }

    fn statistics(&self) -> Statistics {
        either!(&self.kind, device => device.statistics())
    }
}
