//! The node that a program writes to.

use super::{Link, formats};
use crate::Failure;
use crate::device::Outside;
use crate::mode::{INTERVALS, SIZES};
use crate::place::{Place, identity, policy};
use crate::spec::{DeviceKind, DeviceSpec};
use crate::surface::{EBUSY, FIELD_NONE, Surface, Trouble, align_lines};
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use vb3_queue::{Active, Completion, DoneState, Driver, DriverError, PlaneSizes, Prepare};
use vb3_v4l2::{
    Bus, Flow, Format, Fraction, FrameIntervals, FrameSizes, Identity, PixelFormat, Planarity,
    Port, Progress, QueuePolicy, Role, Statistics, VideoDriver,
};

/// Most frames of one tick, so that a tick ends.
const FRAMES_PER_TICK: u32 = 8;

const PORTS: &[Port] = &[Port {
    name: "Loopback",
    kind: 2,
}];

/// The OUTPUT node of a loopback. It takes buffers as they come: the program sets the pace.
#[derive(Debug)]
pub struct LoopbackOutput<C> {
    identity: Identity,
    policy: QueuePolicy,
    link: Link,
    formats: Vec<&'static PixelFormat>,
    stride: u32,
    default_interval: Fraction,
    tokens: VecDeque<Active<C>>,
    sequence: Option<u32>,
    statistics: Statistics,
}

impl<C> LoopbackOutput<C> {
    /// Makes the node of a SPEC of [`DeviceSpec::nodes`].
    ///
    /// # Errors
    /// A sentence, for another device.
    pub fn new(spec: &DeviceSpec, place: &Place) -> Result<Self, Failure> {
        let DeviceKind::LoopbackOutput { link } = &spec.kind else {
            return Err(Failure::new("this is no OUTPUT node of a loopback"));
        };
        let default_interval = link.lock().interval;
        Ok(Self {
            identity: identity(spec, place, "Loopback"),
            policy: policy(spec, place),
            link: link.clone(),
            formats: formats(),
            stride: spec.stride.unwrap_or(1),
            default_interval,
            tokens: VecDeque::new(),
            sequence: None,
            statistics: Statistics::default(),
        })
    }

    /// Reads what a buffer holds, into memory that a frame had before.
    fn read(
        token: &Active<C>,
        format: &Format,
        mut planes: Vec<Vec<u8>>,
        bus: &mut dyn Bus<C>,
    ) -> Result<Vec<Vec<u8>>, Trouble> {
        planes.resize_with(format.num_planes, Vec::new);
        for (index, bytes) in planes.iter_mut().enumerate() {
            let plane = token.plane(index).map_err(|_| Trouble::Stale)?;
            let plane = plane.ok_or(Trouble::TooSmall)?;
            let end = plane.payload_bytes.min(plane.length_bytes);
            let len = end
                .checked_sub(plane.data_offset)
                .ok_or(Trouble::TooSmall)?;
            // CAST: no longer than a buffer that was allocated.
            bytes.resize(len as usize, 0);
            bus.read(&plane.cookie, plane.data_offset, bytes)
                .map_err(|_| Trouble::Fault)?;
        }
        Ok(planes)
    }
}

impl<C> Driver for LoopbackOutput<C> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        Surface(&self.link.lock().format).queue_setup(create)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        Surface(&self.link.lock().format).prepare(buffer, Flow::Output)
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.tokens.push_back(buffer);
    }

    fn start_streaming(&mut self, _queued: u32) -> Result<(), DriverError> {
        self.sequence = Some(0);
        self.link.lock().is_written = true;
        Ok(())
    }

    fn stop_streaming(&mut self) {
        self.sequence = None;
        self.link.lock().end();
        self.tokens.clear();
    }
}

impl<C> VideoDriver for LoopbackOutput<C> {
    type Cookie = C;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        Role::Output
    }

    fn queue_driver(&mut self, _: Flow) -> Box<dyn Driver<Cookie = C> + '_> {
        Box::new(self)
    }

    fn planarity(&self) -> Planarity {
        Planarity::Single
    }

    fn formats(&self, _: Flow) -> &[&'static PixelFormat] {
        &self.formats
    }

    fn frame_sizes(&self, _: &PixelFormat) -> FrameSizes<'_> {
        SIZES
    }

    fn frame_intervals(&self, _: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        Some(INTERVALS)
    }

    fn format(&self, _: Flow) -> Format {
        self.link.lock().format
    }

    fn try_format(&self, _: Flow, wanted: &Format) -> Format {
        let made = Format::negotiate(wanted, &self.formats, SIZES, true);
        let made = made.and_then(|format| align_lines(format, &self.formats, self.stride));
        made.unwrap_or_else(|| self.link.lock().format)
    }

    /// EBUSY for another format while a reader has buffers, which hold this one.
    fn set_format(&mut self, _: Flow, format: &Format, _: bool) -> Result<(), DriverError> {
        let mut shared = self.link.lock();
        // What colours mean changes no buffer.
        let held = Format {
            color: format.color,
            ..shared.format
        };
        if shared.reader_buffers > 0 && held != *format {
            return Err(EBUSY);
        }
        shared.format = *format;
        Ok(())
    }

    fn interval(&self, _: Flow) -> Option<Fraction> {
        Some(self.link.lock().interval)
    }

    fn set_interval(&mut self, _: Flow, wanted: Fraction) {
        const LEAST: u64 = 1_000_000_000 / crate::spec::MAX_FPS as u64;
        let wanted = match (wanted.numerator, wanted.as_nanos()) {
            (0, _) | (_, None) => self.default_interval,
            (_, Some(..LEAST)) => Fraction::new(1, crate::spec::MAX_FPS),
            (_, Some(1_000_000_001..)) => Fraction::new(1, 1),
            _ => wanted,
        };
        self.link.lock().interval = wanted;
    }

    fn ports(&self) -> &[Port] {
        PORTS
    }

    fn queue_policy(&self, _: Flow) -> QueuePolicy {
        self.policy
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.tokens.retain(|token| !token.is_stale());
        for _ in 0..FRAMES_PER_TICK {
            let (Some(sequence), Some(token)) = (&mut self.sequence, self.tokens.pop_front())
            else {
                return;
            };
            let mut shared = self.link.lock();
            let planes = shared.spare();
            let outcome = match Self::read(&token, &shared.format, planes, bus) {
                Ok(planes) => {
                    let bytes: usize = planes.iter().map(Vec::len).sum();
                    // CAST: widening.
                    let copied = &mut self.statistics.bytes_copied;
                    *copied = copied.saturating_add(bytes as u64);
                    shared.push(planes, now_ns);
                    DoneState::Done
                }
                Err(Trouble::Stale) => continue,
                Err(Trouble::Fault | Trouble::TooSmall) => {
                    self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
                    DoneState::Error
                }
            };
            let completion = Completion {
                outcome,
                payloads: None,
                data_offsets: None,
                timestamp_ns: Some(now_ns),
                sequence: *sequence,
                field: FIELD_NONE,
                last: false,
                timecode: None,
                frame_flags: None,
            };
            *sequence = sequence.wrapping_add(1);
            progress.finish(Flow::Output, token, completion);
        }
    }

    fn next_tick(&self) -> Option<u64> {
        (self.sequence.is_some() && !self.tokens.is_empty()).then_some(0)
    }

    fn statistics(&self) -> Statistics {
        self.statistics
    }
}

impl<C> Outside for LoopbackOutput<C> {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn failure(&self) -> Option<&Failure> {
        None
    }
}
