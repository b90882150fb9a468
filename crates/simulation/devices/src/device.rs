//! A device of any kind, so that hosts can keep all devices in one table.

mod disturb;
mod events;
mod shots;
mod shown;

use crate::hosted::{HostedDevice, NO_SIGNAL};
use crate::inject::{Fault, Inject};
use crate::node::NodeSpec;
use crate::registry;
use crate::sink::Shots;
use crate::source::NextSource;
use crate::{Failure, HostSettings, PlayError};
use disturb::Plan;
pub use events::DeviceEvent;
use vb3_queue::{Active, Driver, DriverError, PlaneSizes, Prepare, forward};
use vb3_v4l2::{
    Bus, Command, CommandSet, ControlSpec, ControlValue, EventKinds, Flow, Format, FormatFlags,
    FourCc, Fraction, FrameIntervals, FrameSizes, Identity, MediaGraph, PixelFormat, Planarity,
    Port, Progress, QueuePolicy, Receiver, Rect, Role, SelectionFlags, SelectionTarget, Statistics,
    Timings, VideoDriver, Waiter, WakeFd,
};

/// A device of any kind, with the faults that programs and hosts request.
pub struct Device<C> {
    pub(crate) inner: Box<dyn HostedDevice<Cookie = C> + Send>,
    inject: Inject,
    /// The disturbances that the host has planned; `None` if there are none.
    pub(crate) plan: Option<Plan<C>>,
    /// Thumbnails of the frames that the device delivers, if the host wants them.
    pub(crate) shots: Option<Shots>,
    /// Events for the host, if it records them.
    pub(crate) events: Option<Vec<DeviceEvent>>,
    /// The failure that `take_failure` returned last.
    told: Option<Failure>,
}

impl<C> std::fmt::Debug for Device<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("identity", self.inner.identity())
            .finish_non_exhaustive()
    }
}

impl<C: Send + 'static> Device<C> {
    /// Makes the device that a SPEC (the text that requests a device) describes. For a memory-to-memory
    /// device, makes the part that one open file has.
    ///
    /// # Errors
    /// Fails, with a message for the user, if a clip cannot be played or a recording cannot be written.
    pub fn new(spec: &NodeSpec, host: &HostSettings) -> Result<Self, Failure> {
        let inner = registry::make(spec, host)?;
        let inject = Inject::new(spec.inject);
        Ok(Self {
            inner,
            inject,
            plan: None,
            shots: None,
            events: None,
            told: None,
        })
    }

    /// Makes the device work only within ticks (calls by the host) from now on, except for the work of other
    /// processes.
    ///
    /// This is for a virtual clock. The clock stands still during a tick, so a long tick makes no frame late.
    /// Without this call, a thread converts large pictures, and [`wake_fd`](VideoDriver::wake_fd) becomes
    /// readable when a picture is ready.
    pub fn work_at_once(&mut self) {
        self.inner.work_at_once();
    }

    /// Finishes the device's recording and waits until it is written.
    /// Returns the failure if the recording failed. Call this once, at the end of a run.
    pub fn finish(&mut self) -> Option<Failure> {
        self.inner.sink()?.finish().failure
    }

    /// Returns whether the device waits for its own process or thread. If so, a virtual clock stands still.
    #[must_use]
    pub fn is_preparing(&self) -> bool {
        self.inner.is_preparing()
    }

    /// Returns whether the device must be unplugged now, at the end of a clip. Returns true only once.
    pub fn take_unplug(&mut self) -> bool {
        self.inner.take_unplug()
    }

    /// Plays another source, from the frame that `next` names. If `next` names no frame, plays the source as
    /// soon as it has a picture. If the camera does not stream, plays the source from the first frame of the
    /// camera's next stream.
    ///
    /// # Errors
    /// Fails with a [`PlayError`] that says why the source is not played.
    pub fn play(&mut self, next: NextSource) -> Result<(), PlayError> {
        self.inner.play(next)
    }

    /// Returns whether the next source has a picture, or no source is awaited. Until then,
    /// [`wake_fd`](VideoDriver::wake_fd) becomes readable when the source may have a picture.
    ///
    /// # Errors
    /// Fails once, with a message for the user, if the source cannot be played. The camera keeps its current
    /// source.
    pub fn is_next_ready(&mut self) -> Result<bool, Failure> {
        self.inner.is_next_ready()
    }

    /// Stops the source at its current picture, which all further frames show, or continues it. Returns
    /// whether the device has a source.
    pub fn pause(&mut self, paused: bool) -> bool {
        self.inner.pause(paused)
    }

    /// Returns a failure that is new since the last call. The failure is outside the device, and is the
    /// reason why streaming did not start or has ended.
    pub fn take_failure(&mut self) -> Option<Failure> {
        let failure = self.inner.failure();
        if failure == self.told.as_ref() {
            return None;
        }
        self.told = failure.cloned();
        self.told.clone()
    }
}

/// The driver of a queue with requested faults.
/// It also records, in the plan and in the host's events, that streams start or stop.
struct Faulty<'a, C> {
    flow: Flow,
    inner: &'a mut dyn Driver<Cookie = C>,
    inject: &'a mut Inject,
    plan: Option<&'a mut Plan<C>>,
    events: Option<&'a mut Vec<DeviceEvent>>,
}

impl<C> Driver for Faulty<'_, C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        self.inject.check(Fault::Setup)?;
        self.inner.queue_setup(create)
    }

    forward! { self.inner =>
        fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError>;
        fn prepare_streaming(&mut self) -> Result<(), DriverError>;
        fn unprepare_streaming(&mut self);
        fn buf_init(&mut self, index: u32) -> Result<(), DriverError>;
        fn buf_finish(&mut self, index: u32);
        fn buf_cleanup(&mut self, index: u32);
        fn buf_queue(&mut self, buffer: Active<C>);
        fn buffers_withdrawn(&mut self);
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        self.inject.check(Fault::Prepare)?;
        self.inner.buf_prepare(buffer)
    }

    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        let asked = self.inject.check(Fault::Start);
        if let Err(e) = asked.and_then(|()| self.inject.check(Fault::Absent)) {
            // A device that does not start must return its buffers.
            self.inner.stop_streaming();
            return Err(e);
        }
        self.inner.start_streaming(queued)?;
        if let Some(plan) = &mut self.plan {
            plan.is_streaming |= self.flow == Flow::Capture;
        }
        if let Some(events) = &mut self.events {
            events.push(DeviceEvent::Start(self.flow));
        }
        Ok(())
    }

    fn stop_streaming(&mut self) {
        if let Some(plan) = &mut self.plan {
            plan.stop(self.flow);
        }
        self.inner.stop_streaming();
    }
}

impl<C: 'static> VideoDriver for Device<C> {
    type Cookie = C;

    forward! { self.inner =>
        fn identity(&self) -> &Identity;
        fn role(&self) -> Role;
        fn announces(&self, flow: Flow) -> bool;
        fn may_stop(&mut self, flow: Flow) -> bool;
        fn end(&mut self);
        fn planarity(&self) -> Planarity;
        fn stored_as(&self, code: u32) -> Option<Option<FourCc>>;
        fn take_ranges(&mut self) -> Vec<(ControlSpec, i64)>;
        fn subdevice(&self) -> Option<(&MediaGraph, usize)>;
        fn formats(&self, flow: Flow) -> &[&'static PixelFormat];
        fn format_flags(&self, flow: Flow, pixel: &PixelFormat) -> FormatFlags;
        fn refuses_format(&self, flow: Flow, fourcc: FourCc) -> bool;
        fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes<'_>;
        fn frame_intervals(&self, pixel: &PixelFormat, w: u32, h: u32) -> Option<FrameIntervals<'_>>;
        fn set_format(&mut self, flow: Flow, to: &Format, peer_busy: bool) -> Result<(), DriverError>;
        fn interval(&self, flow: Flow) -> Option<Fraction>;
        fn set_interval(&mut self, flow: Flow, wanted: Fraction);
        fn ports(&self) -> &[Port];
        fn receiver(&self) -> Option<&Receiver>;
        fn set_timings(&mut self, mode: &Timings);
        fn set_edid(&mut self, edid: Vec<u8>);
        fn has_selection(&self) -> bool;
        fn sets_selection(&self) -> bool;
        fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect>;
        fn set_selection(
            &mut self, flow: Flow, target: SelectionTarget, wanted: Rect, flags: SelectionFlags,
        ) -> Result<Rect, DriverError>;
        fn commands(&self) -> Option<CommandSet>;
        fn command(&mut self, command: Command) -> Result<(), DriverError>;
        fn try_control(&self, id: u32, value: &ControlValue) -> Result<(), DriverError>;
        fn is_grabbed(&self, id: u32) -> bool;
        fn volatile_control(&self, id: u32) -> Option<ControlValue>;
        fn queue_policy(&self, flow: Flow) -> QueuePolicy;
        fn has_begun(&self) -> bool;
        fn wake_fd(&self) -> Option<WakeFd<'_>>;
        fn statistics(&self) -> Statistics;
    }

    fn with_queue_driver(&mut self, flow: Flow, act: &mut dyn FnMut(&mut dyn Driver<Cookie = C>)) {
        if self.plan.is_some() {
            self.follow_source();
        }
        if !self.inject.offered && self.plan.is_none() && self.events.is_none() {
            return self.inner.with_queue_driver(flow, act);
        }
        let (inject, mut plan, mut events) =
            (&mut self.inject, self.plan.as_mut(), self.events.as_mut());
        self.inner.with_queue_driver(flow, &mut |inner| {
            act(&mut Faulty {
                flow,
                inner,
                inject,
                plan: plan.as_deref_mut(),
                events: events.as_deref_mut(),
            });
        });
    }

    fn format(&self, flow: Flow) -> Format {
        match self.is_between_sources() {
            true => self.source_format(),
            false => self.inner.format(flow),
        }
    }

    fn try_format(&self, flow: Flow, wanted: &Format) -> Format {
        let source = self.plan.as_ref().and_then(|plan| plan.source);
        let Some((width, height)) = source.filter(|_| flow == Flow::Capture) else {
            return self.inner.try_format(flow, wanted);
        };
        let wanted = Format {
            width,
            height,
            ..*wanted
        };
        self.inner.try_format(flow, &wanted)
    }

    fn controls(&self) -> Vec<ControlSpec> {
        let mut controls = self.inner.controls();
        controls.extend(self.inject.controls());
        controls
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        if self.inject.press(id) {
            return Ok(());
        }
        self.inner.set_control(id, value)
    }

    fn input_status(&self) -> u32 {
        match &self.plan {
            Some(plan) if !plan.frames.has_signal => NO_SIGNAL,
            _ => self.inner.input_status(),
        }
    }

    fn events(&self) -> EventKinds {
        let own = self.inner.events();
        match &self.plan {
            Some(_) if self.inner.role() == Role::Capture => own | EventKinds::SOURCE_CHANGE,
            _ => own,
        }
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        if self.inject.strikes(Fault::Queue) {
            progress.broken = true;
        }
        self.inner.tick(now_ns, bus, progress);
        self.disturb_frames(now_ns, bus, progress);
        self.look_at_frames(bus, progress);
        self.record_frames(progress);
    }

    fn note_waiter(&mut self, flow: Flow, waiter: Waiter) {
        // If a fault delays a frame, the program waits for that frame, not for a new one.
        if self.next_late_frame().is_none() {
            self.inner.note_waiter(flow, waiter);
        }
    }

    fn next_tick(&self) -> Option<u64> {
        if self.inject.wants(Fault::Queue) || self.plan.as_ref().is_some_and(Plan::has_events) {
            return Some(0);
        }
        let emptied = self.plan.as_ref().and_then(Plan::next_emptied);
        let planned = self.next_late_frame().into_iter().chain(emptied);
        planned.chain(self.inner.next_tick()).min()
    }
}

#[cfg(test)]
mod tests;
