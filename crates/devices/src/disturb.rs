//! What a host does to a device without the device's doing.

use crate::Device;
use crate::fault::{FaultHit, FaultPlan, FrameFaults};
use vb3_v4l2::{Bus, DriverEvent, Flow, Format, Progress, VideoDriver, pixfmt};

/// What happens to a device and its frames without its doing.
pub(crate) struct Plan<C> {
    pub(crate) frames: FaultPlan<C>,
    /// The size that the source has changed to.
    pub(crate) source: Option<(u32, u32)>,
    pub(crate) is_streaming: bool,
    /// What is not told of yet.
    pub(crate) events: Vec<DriverEvent>,
}

/// `V4L2_EVENT_SRC_CH_RESOLUTION`.
const RESOLUTION: u32 = 1;
/// `V4L2_IN_ST_NO_SIGNAL`.
pub(crate) const NO_SIGNAL: u32 = 2;

impl<C> Plan<C> {
    fn change_source(&mut self) {
        self.events.push(DriverEvent::SourceChange {
            port: 0,
            changes: RESOLUTION,
        });
    }
}

impl<C: 'static> Device<C> {
    /// Lets a host disturb the device from now on: it has `V4L2_EVENT_SOURCE_CHANGE`, and frames
    /// are counted.
    pub fn disturb(&mut self) {
        self.plan.get_or_insert_with(|| Plan {
            frames: FaultPlan::default(),
            source: None,
            is_streaming: false,
            events: Vec::new(),
        });
    }

    /// Plans a fault of CAPTURE frames, for a device that may be
    /// [disturbed](Self::disturb).
    pub fn plan_fault(&mut self, faults: FrameFaults) {
        if let Some(plan) = &mut self.plan {
            plan.frames.add(faults);
        }
    }

    /// CAPTURE frames that the device has finished, whether they reached the program or not; 0 for
    /// one that may not be disturbed.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.plan.as_ref().map_or(0, |plan| plan.frames.frames())
    }

    /// The faults that frames had since the last call.
    pub fn take_fault_hits(&mut self) -> Vec<FaultHit> {
        let plan = self.plan.as_mut();
        plan.map_or_else(Vec::new, |plan| plan.frames.take_hits())
    }

    /// The source loses or finds its signal: ENUMINPUT says so, programs hear of it as a change of
    /// the source, and no frames come without.
    pub fn set_signal(&mut self, has_signal: bool) {
        if let Some(plan) = &mut self.plan
            && plan.frames.has_signal() != has_signal
        {
            plan.frames.set_signal(has_signal);
            plan.change_source();
        }
    }

    /// The source has another size from now on. A stream that runs gets no more frames; the format
    /// of the next one has that size.
    pub fn resize_source(&mut self, width: u32, height: u32) {
        let Some(plan) = &mut self.plan else {
            return;
        };
        plan.source = Some((width, height));
        plan.change_source();
    }

    /// Whether the source can have such a size.
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

    /// Whether frames of a stream are of a source that is no longer so.
    fn is_outdated(&self) -> bool {
        let wanted = self.plan.as_ref().and_then(|plan| plan.source);
        let format = self.inner.format(Flow::Capture);
        wanted.is_some_and(|size| size != (format.width, format.height))
    }

    /// Whether the format is that of the source, and the device does not have it yet.
    pub(crate) fn is_between_sources(&self) -> bool {
        let streams = self.plan.as_ref().is_some_and(|plan| plan.is_streaming);
        !streams && self.is_outdated()
    }

    /// The format of the source, with lines as they come.
    pub(crate) fn source_format(&self) -> Format {
        let format = self.inner.format(Flow::Capture);
        let source = self.plan.as_ref().and_then(|plan| plan.source);
        let (width, height) = source.unwrap_or((format.width, format.height));
        let pixel = pixfmt::lookup(format.fourcc);
        let fresh = pixel.and_then(|pixel| Format::new(pixel, width, height));
        self.try_format(Flow::Capture, &fresh.unwrap_or(format))
    }

    /// Takes the format of the source, once no stream has the one before.
    pub(crate) fn follow_source(&mut self) {
        if self.is_between_sources() {
            let format = self.source_format();
            // One that was found to be possible.
            let _ = self.inner.set_format(Flow::Capture, &format, false);
        }
    }

    /// What happens to the frames of a tick.
    pub(crate) fn disturb_frames(
        &mut self,
        now_ns: u64,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) {
        let is_outdated = self.is_outdated();
        let Some(plan) = &mut self.plan else {
            return;
        };
        progress.events.append(&mut plan.events);
        let mut back = Vec::new();
        if is_outdated {
            let frames = progress.finished.drain(..);
            back.extend(frames.map(|frame| frame.token));
        }
        plan.frames
            .apply(now_ns, bus, &mut progress.finished, &mut back);
        for token in back {
            self.inner.queue_driver(Flow::Capture).buf_queue(token);
        }
    }
}
