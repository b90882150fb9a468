//! The node of v4l2loopback, which writers and readers share.

use super::state::Settings;
use super::{Link, LoopbackCapture, LoopbackOutput};
use crate::Failure;
use crate::hosted::{HostedDevice, NO_SIGNAL};
use crate::settings::Settings as NodeSettings;
use vb3_queue::{Driver, DriverError, forward};
use vb3_v4l2::{
    Bus, ControlSpec, ControlValue, DriverEvent, Flow, Format, FourCc, Fraction, FrameIntervals,
    FrameSizes, Identity, PixelFormat, Planarity, Port, Progress, QueuePolicy, Role, Statistics,
    VideoDriver, Waiter, WakeFd,
};

/// The part of the node that one open file has: a writer and a reader of the loopback.
///
/// The first file with buffers for writing is the writer. All files with buffers for reading are readers. The
/// controls belong to the loopback, not to a file.
pub(crate) struct LoopbackNode<C> {
    writer: LoopbackOutput<C>,
    reader: LoopbackCapture<C>,
    link: Link,
    /// The controls' values that the program knows: those at its open(), or those in the latest event.
    announced: Settings,
}

impl<C: Send + 'static> LoopbackNode<C> {
    /// Makes the part of the node for a new file.
    /// Fails with EBUSY if the node has too many open files.
    pub(crate) fn new(
        settings: &NodeSettings,
        link: &Link,
        exclusive: bool,
    ) -> Result<Self, Failure> {
        let announced = link.lock().open().ok_or_else(|| {
            let limit =
                "the loopback is open as often as max_openers in its sysfs directory allows";
            Failure::new(limit).with_errno(16)
        })?;
        Ok(Self {
            writer: LoopbackOutput::new(settings, link, true),
            reader: LoopbackCapture::new(settings, link, exclusive),
            link: link.clone(),
            announced,
        })
    }

    fn side(&self, flow: Flow) -> &dyn VideoDriver<Cookie = C> {
        match flow {
            Flow::Capture => &self.reader,
            Flow::Output => &self.writer,
        }
    }

    fn side_mut(&mut self, flow: Flow) -> &mut dyn VideoDriver<Cookie = C> {
        match flow {
            Flow::Capture => &mut self.reader,
            Flow::Output => &mut self.writer,
        }
    }

    fn has_news(&self) -> bool {
        let changed = |settings: Settings| settings.changes(self.announced).next().is_some();
        self.link.lock().settings.is_some_and(changed)
    }

    /// Returns whether the size is fixed, by `keep_format` or by another file that uses the node.
    ///
    /// Source: v4l2loopback 0.13.2 `vidioc_enum_framesizes`.
    fn is_fixed(&self) -> bool {
        let own = [self.writer.stream.formats.id, self.reader.stream.formats.id];
        let shared = self.link.lock();
        shared.keeps_format() || shared.is_used_beside(own)
    }
}

impl<C> Drop for LoopbackNode<C> {
    fn drop(&mut self) {
        let mut shared = self.link.lock();
        shared.parties.remove(&self.writer.stream.formats.id);
        shared.parties.remove(&self.reader.stream.formats.id);
        shared.close();
    }
}

impl<C: Send + 'static> VideoDriver for LoopbackNode<C> {
    type Cookie = C;

    forward! { self.reader =>
        fn identity(&self) -> &Identity;
        fn ports(&self) -> &[Port];
        fn wake_fd(&self) -> Option<WakeFd<'_>>;
    }

    fn role(&self) -> Role {
        Role::Duplex
    }

    /// Source: v4l2loopback 0.13.2 `check_buffer_capability`.
    fn announces(&self, flow: Flow) -> bool {
        let shared = self.link.lock();
        let is_camera = shared.is_camera();
        !self.reader.stream.formats.exclusive
            || match flow {
                Flow::Capture => is_camera || shared.has_buffers(self.reader.stream.formats.id),
                Flow::Output => !is_camera || shared.has_buffers(self.writer.stream.formats.id),
            }
    }

    fn planarity(&self) -> Planarity {
        Planarity::Single
    }

    forward! { self.side_mut(flow) =>
        fn with_queue_driver(&mut self, flow: Flow, act: &mut dyn FnMut(&mut dyn Driver<Cookie = C>));
        fn set_format(&mut self, flow: Flow, format: &Format, busy: bool) -> Result<(), DriverError>;
        fn note_waiter(&mut self, flow: Flow, waiter: Waiter);
    }

    forward! { self.side(flow) =>
        fn formats(&self, flow: Flow) -> &[&'static PixelFormat];
        fn refuses_format(&self, flow: Flow, fourcc: FourCc) -> bool;
        fn format(&self, flow: Flow) -> Format;
        fn try_format(&self, flow: Flow, wanted: &Format) -> Format;
        fn interval(&self, flow: Flow) -> Option<Fraction>;
        fn queue_policy(&self, flow: Flow) -> QueuePolicy;
    }

    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes<'_> {
        match self.is_fixed() {
            true => self.reader.frame_sizes(pixel),
            false => self.writer.frame_sizes(pixel),
        }
    }

    fn frame_intervals(&self, pixel: &PixelFormat, w: u32, h: u32) -> Option<FrameIntervals<'_>> {
        match self.is_fixed() {
            true => self.reader.frame_intervals(pixel, w, h),
            false => self.writer.frame_intervals(pixel, w, h),
        }
    }

    fn set_interval(&mut self, _: Flow, wanted: Fraction) {
        self.writer.set_interval(Flow::Output, wanted);
    }

    /// Source: v4l2loopback 0.13.2 `vidioc_enum_input`.
    fn input_status(&self) -> u32 {
        match self.link.lock().is_camera() {
            true => 0,
            false => NO_SIGNAL,
        }
    }

    fn controls(&self) -> Vec<ControlSpec> {
        self.announced.controls()
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        if let Some(settings) = &mut self.link.lock().settings {
            settings.set(id, value.number());
        }
        self.announced.set(id, value.number());
        Ok(())
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let now = self.link.lock().settings.unwrap_or_default();
        let changes = now.changes(self.announced);
        progress
            .events
            .extend(changes.map(|(id, value)| DriverEvent::Control {
                id,
                value: ControlValue::Number(value),
            }));
        self.announced = now;
        self.writer.tick(now_ns, bus, progress);
        self.reader.tick(now_ns, bus, progress);
    }

    fn next_tick(&self) -> Option<u64> {
        let news = self.has_news().then_some(0);
        let sides = [self.writer.next_tick(), self.reader.next_tick(), news];
        sides.into_iter().flatten().min()
    }

    fn has_begun(&self) -> bool {
        self.reader.has_begun() && self.writer.next_tick().is_none()
    }

    fn statistics(&self) -> Statistics {
        let mut sum = self.reader.statistics();
        sum.add(self.writer.statistics());
        sum
    }
}

impl<C: Send + 'static> HostedDevice for LoopbackNode<C> {
    fn work_at_once(&mut self) {
        self.writer.work_at_once();
        self.reader.work_at_once();
    }

    fn failure(&self) -> Option<&Failure> {
        self.reader.failure().or_else(|| self.writer.failure())
    }

    fn is_preparing(&self) -> bool {
        self.reader.is_preparing()
    }
}
