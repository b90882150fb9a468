//! Disturbances that the host plans for a device.

use super::Device;
use crate::fault::{FaultPlan, FaultSchedule};
use crate::hdmi::{Hdmi, Signal};
use crate::hosted::RESIZED;
use std::collections::VecDeque;
use vb3_queue::Active;
use vb3_v4l2::{
    Bus, DriverEvent, Flow, Format, Fraction, Progress, Role, VideoDriver, pixfmt,
    with_queue_driver,
};

/// The planned disturbances of a device and its frames.
pub(crate) struct Plan<C> {
    pub(crate) frames: FaultPlan<C>,
    /// The new size of the source, if it has changed.
    pub(crate) source: Option<(u32, u32)>,
    pub(crate) is_streaming: bool,
    /// Events that are not reported yet.
    pub(crate) events: Vec<DriverEvent>,
    /// Events that must wait for frames that are late.
    behind: Vec<DriverEvent>,
    /// Buffers of lost frames, each with the time when the device gets it back.
    emptied: VecDeque<(u64, Active<C>)>,
    /// Whether the device fills each buffer at once. If all its frames are lost, it must not fill the same
    /// buffer again and again at one time.
    is_free: bool,
}

impl<C> Plan<C> {
    /// Returns whether there is an event that need not wait for a late frame.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.behind.is_empty() && self.frames.next_tick().is_none()
    }

    /// Returns the time when the device gets the buffer of a lost frame back.
    pub(crate) fn next_emptied(&self) -> Option<u64> {
        self.emptied.front().map(|(due_ns, _)| *due_ns)
    }

    /// Drops what belongs to a queue that was stopped.
    pub(crate) fn stop(&mut self, flow: Flow) {
        self.frames.stop(flow);
        if flow == Flow::Capture {
            self.is_streaming = false;
            self.emptied.clear();
        }
    }

    /// Holds back events on a stream's end or next format until earlier frames have been delivered.
    fn hold_events(&mut self, events: &mut Vec<DriverEvent>) {
        let is_behind = |event: &DriverEvent| {
            matches!(event, DriverEvent::Eos | DriverEvent::SourceChange { .. })
        };
        if self.frames.next_tick().is_none() {
            self.behind.append(events);
            std::mem::swap(&mut self.behind, events);
            return;
        }
        let (behind, now) = events.drain(..).partition(is_behind);
        *events = now;
        self.behind.extend::<Vec<_>>(behind);
    }
}

impl<C: 'static> Device<C> {
    /// Lets a host disturb the device from now on.
    ///
    /// A capture device then offers the event `V4L2_EVENT_SOURCE_CHANGE`. The schedule counts the device's
    /// frames. All open files of the device share the schedule.
    pub fn disturb(&mut self, schedule: &FaultSchedule) {
        let is_m2m = self.inner.role() == Role::MemToMem;
        let is_free = self.inner.role() == Role::Capture && self.inner.is_free();
        self.plan.get_or_insert_with(|| Plan {
            frames: FaultPlan::new(schedule.clone(), is_m2m),
            source: None,
            is_streaming: false,
            events: Vec::new(),
            behind: Vec::new(),
            emptied: VecDeque::new(),
            is_free,
        });
    }

    /// Returns the time of the next delayed frame, in nanoseconds of the host's clock.
    #[must_use]
    pub fn next_late_frame(&self) -> Option<u64> {
        self.plan.as_ref()?.frames.next_tick()
    }

    /// Sets the source's signal. ENUMINPUT reports it, and programs get a source-change event. There are no
    /// frames without a signal, or while an HDMI source has another mode than the program has set.
    pub fn set_signal(&mut self, signal: Signal) {
        let Some(plan) = &mut self.plan else {
            return;
        };
        let is_new = match self.inner.hdmi() {
            Some(hdmi) => {
                plan.events.push(Hdmi::power_event(signal));
                hdmi.set_signal(signal)
            }
            None => {
                let has_signal = signal != Signal::Lost;
                std::mem::replace(&mut plan.frames.has_signal, has_signal) != has_signal
            }
        };
        if is_new {
            plan.events.push(RESIZED);
        }
    }

    /// Returns whether the device has an HDMI input.
    #[must_use]
    pub fn is_hdmi(&self) -> bool {
        self.inner.receiver().is_some()
    }

    /// Changes the size of the source. A running stream gets no more frames, and the next stream's
    /// format has the new size.
    pub fn resize_source(&mut self, width: u32, height: u32) {
        let Some(plan) = &mut self.plan else {
            return;
        };
        plan.source = Some((width, height));
        plan.events.push(RESIZED);
    }

    /// Returns whether the source supports this size.
    #[must_use]
    pub fn takes_size(&self, width: u32, height: u32) -> bool {
        let format = self.inner.format(Flow::Capture);
        let wanted = Format {
            width,
            height,
            ..format
        };
        let found = self.inner.try_format(Flow::Capture, &wanted);
        (found.width, found.height) == (width, height)
    }

    /// Returns whether the device's format still has the source's previous size.
    fn is_outdated(&self) -> bool {
        let wanted = self.plan.as_ref().and_then(|plan| plan.source);
        let format = self.inner.format(Flow::Capture);
        wanted.is_some_and(|size| size != (format.width, format.height))
    }

    /// Returns true if the source's new format is still to be set, and no stream uses the previous one.
    pub(crate) fn is_between_sources(&self) -> bool {
        let streams = self.plan.as_ref().is_some_and(|plan| plan.is_streaming);
        !streams && self.is_outdated()
    }

    /// Returns the format that the source has now, with the default stride.
    pub(crate) fn source_format(&self) -> Format {
        let format = self.inner.format(Flow::Capture);
        let source = self.plan.as_ref().and_then(|plan| plan.source);
        let (width, height) = source.unwrap_or((format.width, format.height));
        let pixel = pixfmt::lookup(format.fourcc);
        let fresh = pixel.and_then(|pixel| Format::new(pixel, width, height));
        self.try_format(Flow::Capture, &fresh.unwrap_or(format))
    }

    /// Sets the source's new format, once no stream uses the previous one.
    pub(crate) fn follow_source(&mut self) {
        if self.is_between_sources() {
            let format = self.source_format();
            // The new size was checked before, so this succeeds.
            let _ = self.inner.set_format(Flow::Capture, &format, false);
        }
    }

    /// Applies the planned faults to the frames of a tick (a call by the host). The device gets the
    /// buffers of lost frames back immediately. A device that fills each buffer as soon as it arrives gets
    /// them back after a frame's interval.
    pub(crate) fn disturb_frames(
        &mut self,
        now_ns: u64,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) {
        let is_outdated = self.is_outdated();
        let interval = self.inner.interval(Flow::Capture);
        let Some(plan) = &mut self.plan else {
            return;
        };
        let mut back = Vec::new();
        if is_outdated {
            let frames = progress.finished.drain(..);
            back.extend(frames.map(|frame| frame.token));
        }
        plan.frames
            .apply(now_ns, bus, &mut progress.finished, &mut back);
        plan.hold_events(&mut progress.events);
        progress.events.append(&mut plan.events);
        let interval_ns = interval
            .filter(|_| plan.is_free)
            .and_then(Fraction::as_nanos);
        let due_ns = now_ns.saturating_add(interval_ns.unwrap_or(0));
        (plan.emptied).extend(back.into_iter().map(|token| (due_ns, token)));
        let is_due = |(due_ns, _): &mut (u64, _)| *due_ns <= now_ns;
        while let Some((_, token)) = plan.emptied.pop_front_if(is_due) {
            with_queue_driver(&mut *self.inner, Flow::Capture, |driver| {
                driver.buf_queue(token)
            });
        }
    }
}
