//! A driver that finishes one buffer in every tick.

use crate::pixfmt::lookup;
use crate::{
    Bus, CompoundType, ControlFlags, ControlKind, ControlSpec, ControlValue, DriverEvent,
    EventKinds, Flow, Format, FourCc, Fraction, FrameIntervals, FrameSizes, Identity, MediaGraph,
    NoTimings, PixelFormat, Planarity, Port, Progress, QueuePolicy, Receiver, Rect, Role,
    SelectionFlags, SelectionTarget, Timings, VideoDriver, Waiter, sys,
};
use std::collections::VecDeque;
use vb3_queue::{Active, Completion, Driver, DriverError, MAX_PLANES, PlaneSizes, Prepare};

pub(crate) const BUTTON: u32 = sys::V4L2_CID_USER_BASE | 0x1001;
pub(crate) const STRUCTURE: u32 = sys::V4L2_CID_USER_BASE | 0x1002;
pub(crate) const WIDE: u32 = sys::V4L2_CID_USER_BASE | 0x1003;
pub(crate) const MASK: u32 = sys::V4L2_CID_USER_BASE | 0x1004;
pub(crate) const NUMBERS: u32 = sys::V4L2_CID_USER_BASE | 0x1005;
pub(crate) const AUTO: u32 = sys::V4L2_CID_AUTO_WHITE_BALANCE;
/// A control that is inactive while [`AUTO`] is on.
pub(crate) const GOVERNED: u32 = sys::V4L2_CID_WHITE_BALANCE_TEMPERATURE;
pub(crate) const GRABBED: u32 = sys::V4L2_CID_USER_BASE | 0x1006;

pub(crate) struct TestDriver {
    pub(super) identity: Identity,
    flow: Flow,
    formats: Vec<&'static PixelFormat>,
    planarity: Planarity,
    format: Format,
    interval: Fraction,
    pub(crate) held: VecDeque<Active<u64>>,
    pub(crate) sequence: u32,
    /// Calls of buf_init minus calls of buf_cleanup.
    pub(crate) balance: i32,
    pub(crate) start_errno: i32,
    pub(crate) prepare_errno: i32,
    pub(crate) control_errno: i32,
    pub(crate) grabbed: Vec<u32>,
    pub(crate) broken: bool,
    pub(crate) outdated: bool,
    pub(crate) last: bool,
    /// Events that the next tick raises.
    pub(crate) pending: Vec<DriverEvent>,
    pub(crate) written: Vec<(u32, ControlValue)>,
    /// Payload length and first byte of each shown OUTPUT buffer.
    pub(crate) shown: Vec<(u64, u8)>,
    pub(crate) exposure: i64,
    /// Controls whose ranges have changed, with their values.
    pub(crate) ranges: Vec<(ControlSpec, i64)>,
    /// Number of callers that found no finished buffer and continued, and number of those that wait.
    pub(crate) waiters: [u32; 2],
    /// Whether a worker writes to a buffer, so that STREAMOFF has to wait.
    pub(crate) is_writing: bool,
    /// Calls of buffers_withdrawn.
    pub(crate) withdrawn: u32,
    pub(crate) policy: QueuePolicy,
    pub(crate) receiver: Option<Receiver>,
    /// The graph of a subdevice, and the index of its entity.
    pub(crate) subdevice: Option<(MediaGraph, usize)>,
    /// The pixel format that S_FMT refuses.
    pub(crate) refused: Option<FourCc>,
    /// The rectangle that the selection calls set: crop of CAPTURE, compose of OUTPUT.
    pub(crate) selected: Option<Rect>,
    /// Whether there are no controls and no events.
    pub(crate) is_plain: bool,
}

impl TestDriver {
    pub(crate) fn format_now(&self) -> Format {
        self.format
    }

    /// Offers only this format.
    pub(crate) fn with_format(mut self, fourcc: FourCc) -> Self {
        self.formats = lookup(fourcc).into_iter().collect();
        self.format = Format::new(self.formats[0], 64, 32).unwrap();
        self
    }

    pub(crate) fn new(flow: Flow, planarity: Planarity) -> Self {
        let codes = match planarity {
            Planarity::Single | Planarity::Meta => vec![FourCc::YUYV, FourCc::NV12, FourCc::GREY],
            Planarity::Multi => vec![FourCc::NV12M, FourCc::YUYV],
        };
        let formats: Vec<_> = codes.into_iter().filter_map(lookup).collect();
        Self {
            identity: Identity {
                driver: "test".to_owned(),
                card: "A card with a name that is far too long".to_owned(),
                bus_info: "platform:test".to_owned(),
                ..Identity::default()
            },
            flow,
            planarity,
            format: Format::new(formats[0], 64, 32).unwrap(),
            formats,
            interval: Fraction::new(1, 30),
            held: VecDeque::new(),
            sequence: 0,
            balance: 0,
            start_errno: 0,
            prepare_errno: 0,
            control_errno: 0,
            grabbed: Vec::new(),
            broken: false,
            outdated: false,
            last: false,
            pending: Vec::new(),
            written: Vec::new(),
            shown: Vec::new(),
            exposure: 5,
            ranges: Vec::new(),
            waiters: [0; 2],
            is_writing: false,
            withdrawn: 0,
            subdevice: None,
            refused: None,
            selected: None,
            is_plain: false,
            receiver: None,
            policy: QueuePolicy {
                max_buffers: 32,
                ..QueuePolicy::default()
            },
        }
    }
}

fn errno(code: i32) -> Result<(), DriverError> {
    if code == 0 { Ok(()) } else { Err(code.into()) }
}

impl Driver for TestDriver {
    type Cookie = u64;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        let needed: Vec<u64> = self
            .format
            .layouts()
            .iter()
            .map(|l| l.sizeimage.into())
            .collect();
        if let Some(create) = create {
            let given = create.as_slice();
            if given.len() != needed.len() || given.iter().zip(&needed).any(|(g, n)| g < n) {
                return Err(DriverError::EINVAL);
            }
            return Ok(*create);
        }
        PlaneSizes::new(&needed).ok_or(DriverError::EINVAL)
    }

    fn buf_init(&mut self, _: u32) -> Result<(), DriverError> {
        self.balance += 1;
        Ok(())
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        errno(self.prepare_errno)?;
        if self.flow == Flow::Capture {
            for (payload, layout) in buffer.payloads.iter_mut().zip(self.format.layouts()) {
                *payload = layout.sizeimage.into();
            }
        }
        Ok(())
    }

    fn buf_cleanup(&mut self, _: u32) {
        self.balance -= 1;
    }

    fn buf_queue(&mut self, buffer: Active<u64>) {
        self.held.push_back(buffer);
    }

    fn start_streaming(&mut self, _: u32) -> Result<(), DriverError> {
        if self.start_errno != 0 {
            self.held.clear();
        }
        errno(self.start_errno)
    }

    fn stop_streaming(&mut self) {
        self.held.clear();
    }

    fn buffers_withdrawn(&mut self) {
        self.withdrawn += 1;
    }
}

impl VideoDriver for TestDriver {
    type Cookie = u64;

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn role(&self) -> Role {
        match self.flow {
            _ if self.subdevice.is_some() => Role::Subdevice,
            Flow::Capture => Role::Capture,
            Flow::Output => Role::Output,
        }
    }

    fn subdevice(&self) -> Option<(&MediaGraph, usize)> {
        let (graph, entity) = self.subdevice.as_ref()?;
        Some((graph, *entity))
    }

    fn may_stop(&mut self, _: Flow) -> bool {
        !self.is_writing
    }

    fn with_queue_driver(&mut self, _: Flow, act: &mut dyn FnMut(&mut dyn Driver<Cookie = u64>)) {
        act(self);
    }

    fn planarity(&self) -> Planarity {
        self.planarity
    }

    fn formats(&self, _: Flow) -> &[&'static PixelFormat] {
        &self.formats
    }

    fn frame_sizes(&self, pixel: &PixelFormat) -> FrameSizes<'_> {
        if pixel.fourcc == FourCc::GREY {
            return FrameSizes::Discrete(&[(640, 480), (320, 240)]);
        }
        let step = if pixel.fourcc == FourCc::NV12 { 1 } else { 2 };
        FrameSizes::Stepwise {
            width: (2, 4096, step),
            height: (2, 2304, step),
        }
    }

    fn frame_intervals(&self, pixel: &PixelFormat, _: u32, _: u32) -> Option<FrameIntervals<'_>> {
        let (min, max) = (Fraction::new(1, 120), Fraction::new(1, 1));
        Some(match pixel.fourcc {
            FourCc::YUYV => FrameIntervals::Discrete(&[Fraction {
                numerator: 1,
                denominator: 30,
            }]),
            FourCc::NV12 => FrameIntervals::Continuous { min, max },
            _ => FrameIntervals::Stepwise {
                min,
                max,
                step: Fraction::new(1, 120),
            },
        })
    }

    fn format(&self, _: Flow) -> Format {
        self.format
    }

    fn try_format(&self, _: Flow, wanted: &Format) -> Format {
        let sizes = self.frame_sizes(self.formats[0]);
        Format::negotiate(wanted, &self.formats, sizes, self.flow == Flow::Output)
            .unwrap_or(self.format)
    }

    fn set_format(&mut self, _: Flow, format: &Format, _: bool) -> Result<(), DriverError> {
        self.format = *format;
        Ok(())
    }

    fn interval(&self, _: Flow) -> Option<Fraction> {
        Some(self.interval)
    }

    fn set_interval(&mut self, _: Flow, wanted: Fraction) {
        let valid = wanted.numerator != 0 && wanted.denominator != 0;
        self.interval = if valid { wanted } else { Fraction::new(1, 30) };
    }

    fn take_ranges(&mut self) -> Vec<(ControlSpec, i64)> {
        core::mem::take(&mut self.ranges)
    }

    fn ports(&self) -> &[Port] {
        &[
            Port {
                name: "Left",
                kind: 2,
            },
            Port {
                name: "Right",
                kind: 2,
            },
        ]
    }

    fn receiver(&self) -> Option<&Receiver> {
        self.receiver.as_ref()
    }

    fn has_selection(&self) -> bool {
        self.selected.is_some()
    }

    fn selection(&self, flow: Flow, target: SelectionTarget) -> Option<Rect> {
        use SelectionTarget as Target;
        match (flow, target) {
            (Flow::Capture, Target::Crop) | (Flow::Output, Target::Compose) => self.selected,
            (Flow::Capture, Target::CropDefault | Target::CropBounds)
            | (Flow::Output, Target::ComposeDefault | Target::ComposeBounds) => {
                Some(Rect::whole(64, 32))
            }
            _ => None,
        }
    }

    fn set_selection(
        &mut self,
        _: Flow,
        _: SelectionTarget,
        wanted: Rect,
        _: SelectionFlags,
    ) -> Result<Rect, DriverError> {
        self.selected = Some(wanted);
        Ok(wanted)
    }

    fn set_timings(&mut self, mode: &Timings) {
        if let Some(receiver) = &mut self.receiver {
            receiver.timings = *mode;
        }
    }

    fn set_edid(&mut self, edid: Vec<u8>) {
        if let Some(receiver) = &mut self.receiver {
            receiver.found = match edid.is_empty() {
                true => Err(NoTimings::NoSignal),
                false => Ok(receiver.modes[0]),
            };
            receiver.edid = edid;
        }
    }

    fn controls(&self) -> Vec<ControlSpec> {
        if self.is_plain {
            return Vec::new();
        }
        let of = ControlSpec::new;
        let exposure =
            ControlSpec::integer(sys::V4L2_CID_EXPOSURE_ABSOLUTE, "Exposure", (1, 99, 1), 5);
        vec![
            exposure.with(ControlFlags::READ_ONLY | ControlFlags::VOLATILE),
            ControlSpec::integer(sys::V4L2_CID_BRIGHTNESS, "Brightness", (0, 255, 1), 128),
            ControlSpec::integer(sys::V4L2_CID_CONTRAST, "Contrast", (-10, 100, 5), 50)
                .with(ControlFlags::SLIDER),
            ControlSpec::boolean(sys::V4L2_CID_HFLIP, "Mirror", false),
            ControlSpec::menu(sys::V4L2_CID_COLORFX, "Effect", &["None", "", "Sepia"], 0),
            ControlSpec::boolean(AUTO, "Auto", true),
            ControlSpec::integer(GOVERNED, "Governed", (0, 9, 1), 5).governed_by(AUTO, 0),
            ControlSpec::button(BUTTON, "Push"),
            ControlSpec::compound(STRUCTURE, "Structure", CompoundType::H264Pps),
            of(
                WIDE,
                "Wide",
                ControlKind::Integer64 {
                    min: i64::MIN,
                    max: i64::MAX,
                    step: 1,
                    default: -1,
                },
            )
            .with(ControlFlags::HAS_WHICH_MIN_MAX),
            of(
                MASK,
                "Mask",
                ControlKind::Bitmask {
                    mask: 0x8000_000f,
                    default: 0x8000_0001,
                },
            ),
            of(
                NUMBERS,
                "Numbers",
                ControlKind::IntegerMenu {
                    first: 0,
                    items: &[Some(10), Some(1 << 40)],
                    default: 1,
                },
            ),
            ControlSpec::menu(GRABBED, "Grabbed", &["Only"], 0).with(ControlFlags::GRABBED),
        ]
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        errno(self.control_errno)?;
        self.written.push((id, value.clone()));
        Ok(())
    }

    fn is_grabbed(&self, id: u32) -> bool {
        self.grabbed.contains(&id)
    }

    fn volatile_control(&self, id: u32) -> Option<ControlValue> {
        (id == sys::V4L2_CID_EXPOSURE_ABSOLUTE).then_some(ControlValue::Number(self.exposure))
    }

    fn events(&self) -> EventKinds {
        match self.is_plain {
            true => EventKinds::empty(),
            false => EventKinds::FRAME_SYNC | EventKinds::EOS | EventKinds::SOURCE_CHANGE,
        }
    }

    fn refuses_format(&self, _: Flow, fourcc: FourCc) -> bool {
        self.refused == Some(fourcc)
    }

    fn queue_policy(&self, _: Flow) -> QueuePolicy {
        self.policy
    }

    fn note_waiter(&mut self, flow: Flow, waiter: Waiter) {
        assert_eq!(flow, self.flow);
        self.waiters[usize::from(waiter == Waiter::Waits)] += 1;
    }

    fn tick(&mut self, now_ns: u64, bus: &mut dyn Bus<u64>, progress: &mut Progress<u64>) {
        progress.broken = core::mem::take(&mut self.broken);
        progress.outdated = core::mem::take(&mut self.outdated);
        progress.events.append(&mut self.pending);
        let Some(token) = self.held.pop_front() else {
            return;
        };
        let mut payloads = [0; MAX_PLANES];
        let sequence = self.sequence;
        self.sequence += 1;
        let mut first = [0];
        for (payload, view) in payloads
            .iter_mut()
            .zip(token.planes().into_iter().flatten())
        {
            if self.flow == Flow::Capture {
                let byte = u8::try_from(sequence % 251).unwrap() + 1;
                let len = usize::try_from(view.length_bytes).unwrap();
                bus.write(&view.cookie, 0, &vec![byte; len]).unwrap();
                *payload = view.length_bytes;
            } else {
                bus.read(&view.cookie, 0, &mut first).unwrap();
                self.shown.push((view.payload_bytes, first[0]));
                *payload = view.payload_bytes;
            }
        }
        let completion = Completion {
            outcome: Ok(()),
            payloads: Some(payloads),
            data_offsets: None,
            timestamp_ns: (!self.policy.copy_timestamps).then_some(now_ns),
            sequence,
            field: 1,
            last: self.last,
            timecode: None,
            frame_flags: None,
        };
        progress.finish(self.flow, token, completion);
        if self.flow == Flow::Capture {
            progress.events.push(DriverEvent::FrameSync { sequence });
        }
    }

    fn next_tick(&self) -> Option<u64> {
        (!self.held.is_empty()).then_some(0)
    }
}
