//! A node that a program reads from.

use super::Link;
use super::link::Frame;
use crate::Failure;
use crate::device::Outside;
use crate::place::{Place, identity, policy};
use crate::spec::{DeviceKind, DeviceSpec};
use crate::surface::{EINVAL, EIO, FIELD_NONE, Surface, Trouble};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use vb3_queue::{
    Active, Completion, DoneState, Driver, DriverError, MAX_PLANES, PlaneSizes, Prepare,
};
use vb3_v4l2::{
    Bus, Flow, Format, Fraction, FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity,
    Port, Progress, QueuePolicy, Role, Statistics, VideoDriver, pixfmt,
};

/// Most frames of one tick, so that a tick ends.
const FRAMES_PER_TICK: u32 = 8;

const PORTS: &[Port] = &[Port {
    name: "Loopback",
    kind: 2,
}];

/// A CAPTURE node of a loopback.
///
/// It has the writer's format and no other. A reader gets the newest frame there is when it starts,
/// and each one after it; one that is too slow misses frames, which are counted and leave a gap in
/// the sequence. When the writer goes, readers wait for the next. With `exclusive-caps=on` there is
/// no format and no streaming (EIO) while nobody writes, so that programs pass the node over.
#[derive(Debug)]
pub struct LoopbackCapture<C> {
    identity: Identity,
    policy: QueuePolicy,
    link: Link,
    exclusive: bool,
    tokens: VecDeque<Active<C>>,
    stream: Option<Stream>,
    statistics: Statistics,
}

/// From STREAMON to STREAMOFF.
#[derive(Debug)]
struct Stream {
    /// The number of the frame that has sequence 0; `None` before it.
    first: Option<u64>,
    /// The number of the frame to take next.
    next: u64,
}

impl<C> LoopbackCapture<C> {
    /// Makes the node of a SPEC of [`DeviceSpec::nodes`].
    ///
    /// # Errors
    /// A sentence, for another device.
    pub fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let DeviceKind::LoopbackCapture { link, exclusive } = &spec.kind else {
            return Err(Failure::new("this is no CAPTURE node of a loopback"));
        };
        Ok(Self {
            identity: identity(spec, place, "Loopback"),
            policy: policy(spec, place),
            link: link.clone(),
            exclusive: *exclusive,
            tokens: VecDeque::new(),
            stream: None,
            statistics: Statistics::default(),
        })
    }

    /// Whether programs are to see a camera.
    fn is_there(&self) -> bool {
        !self.exclusive || self.link.lock().is_written
    }

    /// Writes a frame to a buffer; answers the bytes of each plane.
    fn write(
        frame: &Frame,
        token: &Active<C>,
        bus: &mut dyn Bus<C>,
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        let mut payloads = [0; MAX_PLANES];
        for (index, (bytes, payload)) in frame.planes.iter().zip(&mut payloads).enumerate() {
            let plane = token.plane(index).map_err(|_| Trouble::Stale)?;
            let plane = plane.ok_or(Trouble::TooSmall)?;
            // CAST: widening.
            let len = bytes.len() as u64;
            if len > plane.length_bytes {
                return Err(Trouble::TooSmall);
            }
            bus.write(&plane.cookie, 0, bytes)
                .map_err(|_| Trouble::Fault)?;
            *payload = len;
        }
        Ok(payloads)
    }
}

impl<C> Driver for LoopbackCapture<C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        Surface(&self.link.lock().format).queue_setup(create)
    }

    fn buf_init(&mut self, _: u32) -> Result<(), DriverError> {
        let held = &mut self.link.lock().reader_buffers;
        *held = held.checked_add(1).ok_or(EINVAL)?;
        Ok(())
    }

    fn buf_cleanup(&mut self, _: u32) {
        let held = &mut self.link.lock().reader_buffers;
        *held = held.saturating_sub(1);
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        Surface(&self.link.lock().format).prepare(buffer, Flow::Capture)
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.tokens.push_back(buffer);
    }

    fn start_streaming(&mut self, _queued: u32) -> Result<(), DriverError> {
        if !self.is_there() {
            self.tokens.clear();
            return Err(EIO);
        }
        let next = self.link.lock().newest();
        self.stream = Some(Stream { first: None, next });
        Ok(())
    }

    fn stop_streaming(&mut self) {
        self.stream = None;
        self.tokens.clear();
    }
}

impl<C> VideoDriver for LoopbackCapture<C> {
    type Cookie = C;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        Role::Capture
    }

    fn queue_driver(&mut self, _: Flow) -> Box<dyn Driver<Cookie = C> + '_> {
        Box::new(self)
    }

    fn planarity(&self) -> Planarity {
        Planarity::Single
    }

    fn formats(&self, _: Flow) -> &[&'static PixelFormat] {
        if !self.is_there() {
            return &[];
        }
        let fourcc = self.link.lock().format.fourcc;
        let at = pixfmt::TABLE
            .iter()
            .position(|pixel| pixel.fourcc == fourcc);
        at.and_then(|at| pixfmt::TABLE.get(at..=at))
            .unwrap_or_default()
    }

    fn frame_sizes(&self, _: &PixelFormat) -> FrameSizes<'_> {
        let format = self.link.lock().format;
        FrameSizes::One(format.width, format.height)
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        Some(FrameIntervals::One(self.link.lock().interval))
    }

    fn format(&self, _: Flow) -> Format {
        self.link.lock().format
    }

    fn try_format(&self, _: Flow, _: &Format) -> Format {
        self.link.lock().format
    }

    fn set_format(&mut self, _: Flow, _: &Format, _: bool) -> Result<(), DriverError> {
        Ok(())
    }

    fn interval(&self, _: Flow) -> Option<Fraction> {
        Some(self.link.lock().interval)
    }

    fn ports(&self) -> &[Port] {
        PORTS
    }

    fn queue_policy(&self, _: Flow) -> QueuePolicy {
        self.policy
    }

    fn tick(&mut self, _: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.tokens.retain(|token| !token.is_stale());
        for _ in 0..FRAMES_PER_TICK {
            let Some(stream) = &mut self.stream else {
                return;
            };
            if self.tokens.is_empty() {
                return;
            }
            let Some(frame) = self.link.lock().from(stream.next) else {
                return;
            };
            let Some(token) = self.tokens.pop_front() else {
                return;
            };
            let first = *stream.first.get_or_insert(frame.number);
            let missed = frame.number.saturating_sub(stream.next.max(first));
            self.statistics.dropped = self.statistics.dropped.saturating_add(missed);
            let (outcome, payloads) = match Self::write(&frame, &token, bus) {
                Ok(payloads) => (DoneState::Done, payloads),
                Err(Trouble::Stale) => continue,
                Err(Trouble::Fault | Trouble::TooSmall) => {
                    self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
                    (DoneState::Error, [0; MAX_PLANES])
                }
            };
            stream.next = frame.number.saturating_add(1);
            let copied = &mut self.statistics.bytes_copied;
            *copied = copied.saturating_add(payloads.iter().sum());
            let completion = Completion {
                outcome,
                payloads: Some(payloads),
                data_offsets: None,
                timestamp_ns: Some(frame.time_ns),
                // A sequence wraps, as V4L2's does.
                sequence: u32::try_from((frame.number - first) & u64::from(u32::MAX))
                    .unwrap_or_default(),
                field: FIELD_NONE,
                last: false,
                timecode: None,
                frame_flags: None,
            };
            progress.finish(Flow::Capture, token, completion);
        }
    }

    fn next_tick(&self) -> Option<u64> {
        let stream = self.stream.as_ref().filter(|_| !self.tokens.is_empty())?;
        self.link.lock().from(stream.next).map(|_| 0)
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}

impl<C> Outside for LoopbackCapture<C> {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn failure(&self) -> Option<&Failure> {
        None
    }
}
