//! Plays a script: finds its due steps, runs them and records their results.

use crate::Run;
use crate::kinds::CardDevice;
use crate::node::Node;
use crate::script::{Action, Script, ScriptError, Step, StepDevice, When, call_name};
use anyhow::{Result, bail};
use std::collections::VecDeque;
use vb3_devices::{Device, FaultSchedule, FrameFault, FrameFaults};
use vb3_frontend::{CallId, Errno};
use vb3_plane::Cookie;
use vb3_report::sentence;
use vb3_report::{DeviceReport, MissedStep, ScriptEvent};
use vb3_v4l2::{Flow, Role, decode};

/// Number of recent calls that are remembered, so that a repeated call is not counted again.
const MAX_CALLS: usize = 1024;
/// Maximum number of a run's steps that have not happened yet, including those of orders.
const MAX_PLAYED: usize = 4096;

/// A step and its progress.
struct Playing {
    step: Step,
    /// The device's index in the node table.
    node: Option<usize>,
    /// Whether the step has begun.
    begun: bool,
    /// Calls that the step has counted.
    calls: u64,
    /// How often the step took effect.
    times: u64,
}

impl Playing {
    /// Returns whether the step came from the run's socket, not from its script.
    const fn is_ordered(&self) -> bool {
        self.step.line == 0
    }

    /// Returns whether the step came from the socket and has happened as often as it should.
    const fn is_done_order(&self) -> bool {
        self.is_ordered() && self.times >= self.step.count
    }
}

/// The script of a run; empty for most runs.
#[derive(Default)]
pub(super) struct Play {
    steps: Vec<Playing>,
    started_ns: u64,
    recent: VecDeque<CallId>,
    /// The highest number of a call that is no longer in `recent`.
    forgotten: Option<u64>,
}

impl Play {
    /// Returns the time of the next timed step.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let waiting = self.steps.iter().filter(|playing| !playing.begun);
        let due = waiting.filter_map(|playing| match playing.step.when {
            When::Time(at) => Some(self.started_ns.saturating_add(at)),
            _ => None,
        });
        due.min()
    }

    /// Removes the steps that orders have planned for a device.
    pub(super) fn forget_orders(&mut self, node: usize) {
        let is_of = |playing: &Playing| playing.is_ordered() && playing.node == Some(node);
        self.steps.retain(|playing| !is_of(playing));
    }

    /// Returns whether a call is new: not a repetition of an earlier call, such as one that waited.
    fn is_new(&mut self, call: CallId) -> bool {
        // The kernel numbers calls in ascending order.
        if self.recent.contains(&call) || self.forgotten.is_some_and(|last| call.0 <= last) {
            return false;
        }
        if self.recent.len() >= MAX_CALLS {
            let oldest = self.recent.pop_front().map(|call| call.0);
            self.forgotten = self.forgotten.max(oldest);
        }
        self.recent.push_back(call);
        true
    }
}

/// Describes a fault's parameter, if it has one.
fn say_fault(fault: FrameFault) -> String {
    match fault {
        FrameFault::Late { by_ns } => sentence::time(by_ns),
        FrameFault::Short { len } | FrameFault::Corrupt { len } => sentence::bytes(len),
        FrameFault::Twice | FrameFault::Torn | FrameFault::Flagged | FrameFault::Lost => {
            String::new()
        }
    }
}

/// Checks that a step's device supports the step.
fn check(run: &Run, step: &Step, node: Option<usize>) -> Result<()> {
    let machine = run.memory.ops().platform();
    if let Some(card) = node.and_then(|at| run.nodes.card_number(at)) {
        return check_card(step, card);
    }
    if let Action::Fail { request, .. } = &step.action
        && decode::name(*request).is_none()
    {
        let name = call_name(*request);
        bail!(
            "{name} is an ioctl of a display card; write, for example, device = \"/dev/dri/card0\""
        );
    }
    let Some(node) = node.and_then(|at| run.nodes.get(at)) else {
        if matches!(step.action, Action::OccupyCma { .. }) && machine.profile().cma == 0 {
            bail!(
                "machine {} has no contiguous memory area; choose a machine with one, such as \
                 --machine soc-cma",
                machine.profile().name
            );
        }
        if matches!(step.action, Action::StopClock { .. }) && run.clock.is_virtual() {
            bail!(
                "stop_clock has no effect on a virtual clock, which does not follow real time; use \
                 --clock real"
            );
        }
        return Ok(());
    };
    let path = &node.path;
    let is_capture = node.video.role() == Role::Capture;
    let mut contexts = node.video.contexts();
    let is_hdmi = contexts.any(|context| context.driver().is_hdmi());
    match &step.action {
        Action::Frame(_) if node.video.role() == Role::Output => bail!(
            "{} needs a device that delivers frames (camera, loopback, codec, converter), but \
             {path} is a {}",
            step.action.name(),
            node.kind
        ),
        Action::Source { .. } | Action::Signal(_) if !is_capture => bail!(
            "{} needs a camera or a loopback with two nodes, but {path} is a {}",
            step.action.name(),
            node.kind
        ),
        Action::Signal(signal) if signal.is_of_hdmi() && !is_hdmi => bail!(
            "signal = \"{signal}\" needs an HDMI input (--device hdmi), but {path} is a {}",
            node.kind
        ),
        Action::Source { width, height } => {
            let mut contexts = node.video.contexts();
            if !contexts.all(|context| context.driver().takes_size(*width, *height)) {
                bail!(
                    "{path} does not support pictures of {width}x{height}; `sizes=` of --device lists more"
                );
            }
        }
        Action::IommuFault if !node.has_iommu(machine) => bail!(
            "{path} has no IOMMU on machine {}; choose a machine with one, such as --machine \
             soc-iommu",
            machine.profile().name
        ),
        _ => {}
    }
    Ok(())
}

/// Checks that a display card supports a step.
fn check_card(step: &Step, card: usize) -> Result<()> {
    let name = step.action.name();
    match &step.action {
        Action::Fail { request, .. } if vb3_drm::name(*request).is_some() => Ok(()),
        Action::Fail { request, .. } => {
            bail!("{} is no ioctl of display cards", call_name(*request))
        }
        Action::Frame(FrameFault::Late { .. }) if step.count > 1 => {
            bail!("late delays one commit of a display card; leave out count")
        }
        Action::Frame(_) if step.every > 1 => {
            bail!("a display card loses vblanks in a row; leave out every")
        }
        Action::Frame(FrameFault::Late { .. } | FrameFault::Lost) | Action::Plug(_) => Ok(()),
        _ => bail!(
            "{name} does nothing to /dev/dri/card{card}; it has fail, late, lose, plug and unplug"
        ),
    }
}

/// Returns why a step never took effect. `frames` is the number of frames that the step's device finished.
fn missed(playing: &Playing, frames: u64) -> String {
    let called = |what: &str| match playing.calls {
        0 => format!("{what} was never called"),
        1 => format!("{what} was called only once"),
        n => format!("{what} was called only {n} times"),
    };
    let ioctl = |request: u32| called(call_name(request));
    let Step { when, action, .. } = &playing.step;
    match (action, when) {
        (Action::Fail { request, .. }, _) if playing.begun => {
            format!("{} after it began", ioctl(*request))
        }
        (Action::Fail { request, .. }, When::Call { .. }) => ioctl(*request),
        (
            _,
            When::Call {
                request: Some(request),
                ..
            },
        ) => ioctl(*request),
        (_, When::Call { .. }) => called("the device"),
        (Action::Frame(_), _) | (_, When::Frame(_)) => match frames {
            0 => "the device delivered no frame".to_owned(),
            1 => "the device delivered only one frame".to_owned(),
            n => format!("the device delivered only {n} frames"),
        },
        (_, When::Start | When::Time(_)) => "the run ended earlier".to_owned(),
    }
}

impl Run {
    /// Returns the index of a step's device among all devices.
    fn index_of(&self, device: StepDevice) -> Option<usize> {
        match device {
            StepDevice::Video(number) => {
                let is_it = |node: &Node| node.number() == number && !node.is_subdevice();
                self.nodes.iter().position(is_it)
            }
            StepDevice::Card(number) => {
                (number < self.cards.all.len()).then_some(self.nodes.len() + number)
            }
        }
    }

    /// Starts a script.
    ///
    /// # Errors
    /// Fails if a device is missing or does not support its step.
    pub fn play(&mut self, script: &Script) -> Result<(), ScriptError> {
        let mut steps = Vec::new();
        for step in &script.steps {
            let find = |device| {
                let missing = || {
                    let paths: Vec<&str> = self.nodes.iter().map(|node| &*node.path).collect();
                    let paths = paths.join(", ");
                    step.error(format!("there is no {device}; the devices are {paths}"))
                };
                self.index_of(device).ok_or_else(missing)
            };
            let node = step.device.map(find).transpose()?;
            check(self, step, node).map_err(|e| step.error(e.to_string()))?;
            steps.push(Playing {
                step: step.clone(),
                node,
                begun: false,
                calls: 0,
                times: 0,
            });
        }
        for at in steps.iter().filter_map(|playing| playing.node) {
            self.nodes.get_mut(at).map(Node::disturb);
        }
        self.play = Play {
            steps,
            started_ns: self.clock.now_ns(),
            recent: VecDeque::new(),
            forgotten: None,
        };
        // A step that begins at a frame is passed to its device now, because devices count their own frames.
        for at in 0..self.play.steps.len() {
            let playing = &self.play.steps[at];
            if let Some(StepDevice::Card(_)) = playing.step.device {
                continue;
            }
            let first = match (&playing.step.action, &playing.step.when) {
                (Action::Frame(_), When::Frame(first)) => *first,
                (Action::Frame(_), When::Start) => 0,
                _ => continue,
            };
            self.plan_frames(at, first);
        }
        self.advance();
        Ok(())
    }

    /// Records the time of the run's start, to which the times of events are relative.
    pub(super) fn start_play(&mut self) {
        if self.play.steps.is_empty() {
            self.play.started_ns = self.clock.now_ns();
        }
    }

    /// Adds a step that begins now.
    ///
    /// # Errors
    /// Fails with a message for the user: the device does not support the step, or there are too many steps.
    pub(super) fn add_step(&mut self, step: Step, node: usize) -> Result<(), String> {
        self.play.steps.retain(|playing| !playing.is_done_order());
        if self.play.steps.len() >= MAX_PLAYED {
            return Err(format!(
                "{MAX_PLAYED} such orders have not happened yet; this run accepts no more"
            ));
        }
        check(self, &step, Some(node)).map_err(|e| e.to_string())?;
        if let Some(node) = self.nodes.get_mut(node) {
            node.disturb();
        }
        let begins = matches!(step.action, Action::Fail { .. });
        self.play.steps.push(Playing {
            step,
            node: Some(node),
            begun: begins,
            calls: 0,
            times: 0,
        });
        self.advance();
        Ok(())
    }

    fn each_device(&mut self, at: usize, act: impl Fn(&mut Device<Cookie>)) {
        let node = self.nodes.get_mut(at);
        for context in node.into_iter().flat_map(|node| node.video.contexts_mut()) {
            act(context.driver_mut());
        }
    }

    /// Passes a step's frame faults to its device.
    fn plan_frames(&mut self, at: usize, first: u64) {
        let Some(playing) = self.play.steps.get_mut(at) else {
            return;
        };
        let (Action::Frame(fault), Some(node)) = (&playing.step.action, playing.node) else {
            return;
        };
        playing.begun = true;
        let faults = FrameFaults {
            // CAST: scripts have at most `MAX_STEPS` steps.
            step: at as u32,
            fault: *fault,
            first,
            every: playing.step.every,
            count: playing.step.count,
        };
        if let Some(node) = self.nodes.get_mut(node) {
            node.disturb().add(faults);
        }
    }

    /// Returns how many frames a device has finished.
    fn frames_of(&self, at: usize) -> u64 {
        let Some(node) = self.nodes.get(at) else {
            return self.card(at).map_or(0, CardDevice::frames);
        };
        match (node.video.role(), &node.faults) {
            (Role::Capture | Role::MemToMem | Role::Duplex, Some(faults)) => faults.frames(),
            _ => node.video.statistics(Flow::Output).queue.done,
        }
    }

    /// Begins steps whose time or frame has come, and records which faults hit frames.
    pub(super) fn advance(&mut self) {
        if self.play.steps.is_empty() {
            return;
        }
        self.note_frames();
        let now = self.clock.now_ns();
        for at in 0..self.play.steps.len() {
            let playing = &self.play.steps[at];
            let is_due = !playing.begun
                && match playing.step.when {
                    When::Start => true,
                    When::Time(time) => now >= self.play.started_ns.saturating_add(time),
                    When::Frame(frame) => playing.node.is_some_and(|n| self.frames_of(n) >= frame),
                    When::Call { .. } => false,
                };
            if is_due {
                self.begin(at);
            }
        }
    }

    /// Records the faults that devices injected into frames.
    fn note_frames(&mut self) {
        for at in 0..self.nodes.len() {
            let faults = self.nodes[at].faults.as_ref();
            for hit in faults.map_or_else(Vec::new, FaultSchedule::take_hits) {
                let value = match self
                    .play
                    .steps
                    .get(hit.step as usize)
                    .map(|p| &p.step.action)
                {
                    Some(Action::Frame(fault)) => say_fault(*fault),
                    _ => String::new(),
                };
                self.happened(hit.step as usize, value, Some(hit.frame), None);
            }
        }
    }

    /// Begins a step.
    fn begin(&mut self, at: usize) {
        let Some(playing) = self.play.steps.get_mut(at) else {
            return;
        };
        playing.begun = true;
        let (action, node) = (playing.step.action.clone(), playing.node);
        let (device, count) = (playing.step.device, playing.step.count);
        let dma = node.and_then(|n| self.nodes.get(n)).map(|node| node.dma);
        let now = self.clock.now_ns();
        let machine = self.memory.ops_mut().platform_mut();
        let value = match action {
            // `meet_call` makes the calls fail when they arrive.
            Action::Fail { .. } => return,
            Action::Frame(fault) if matches!(device, Some(StepDevice::Card(_))) => {
                if let Some(card) = node.and_then(|node| self.card_at(node)) {
                    card.disturb(fault, count);
                }
                say_fault(fault)
            }
            Action::Frame(fault) => {
                let frames = node.map_or(0, |node| self.frames_of(node));
                // A torn frame shows part of the frame before, which the program must have seen.
                let first = frames + u64::from(fault == FrameFault::Torn);
                return self.plan_frames(at, first);
            }
            Action::Source { width, height } => {
                let device = node.unwrap_or_default();
                self.each_device(device, |device| device.resize_source(width, height));
                format!("{width}x{height}")
            }
            Action::Signal(signal) => {
                let device = node.unwrap_or_default();
                self.each_device(device, |device| device.set_signal(signal));
                signal.to_string()
            }
            Action::Plug(comes) => match node.is_some_and(|node| self.plug_if_room(node, comes)) {
                true => String::new(),
                false => "nothing changed".to_owned(),
            },
            Action::OccupyCma { longest } => {
                let taken = machine.occupy_cma(longest);
                let (taken, longest) = (sentence::bytes(taken), sentence::bytes(longest));
                format!("took {taken}; the longest free run is now {longest}")
            }
            Action::FreeCma => sentence::bytes(machine.vacate_cma()),
            Action::IommuFault => {
                if let Some(dma) = dma {
                    machine.fault_next_access(dma);
                }
                String::new()
            }
            Action::StopClock { for_ns } => {
                self.clock.stop(for_ns);
                sentence::time(for_ns)
            }
        };
        self.happened_at(now, at, value, None, None);
    }

    /// Returns the steps that never took effect.
    pub(super) fn missed_steps(&self) -> Vec<MissedStep> {
        let all = (1..).zip(&self.play.steps);
        let missed = all.filter(|(_, playing)| playing.times == 0 && !playing.is_ordered());
        let say = |(step, playing): (u64, &Playing)| MissedStep {
            step,
            line: playing.step.line as u64,
            action: playing.step.action.name().to_owned(),
            why: self::missed(playing, playing.node.map_or(0, |node| self.frames_of(node))),
        };
        missed.map(say).collect()
    }

    /// Subtracts from a node's lost frames those that the script caused. They were marked as bad, met an
    /// injected IOMMU fault, or had no buffer because late frames kept the buffers.
    pub(super) fn forgive_scripted(&self, node: usize, device: &mut DeviceReport) {
        let steps = self.play.steps.iter();
        for playing in steps.filter(|playing| playing.node == Some(node)) {
            for queue in &mut device.queues {
                let each = match playing.step.action {
                    Action::Frame(FrameFault::Flagged) | Action::IommuFault => 1,
                    Action::Frame(FrameFault::Late { by_ns }) => {
                        let interval_ns = queue.span_ns / queue.frames.max(1);
                        1 + by_ns / interval_ns.max(1_000_000)
                    }
                    _ => 0,
                };
                queue.lost = (queue.lost).saturating_sub(playing.times.saturating_mul(each));
            }
        }
    }

    /// Counts an ioctl for the script's steps. Returns an errno if a step makes the call fail.
    pub(super) fn meet_call(&mut self, node: usize, request: u32, call: CallId) -> Option<Errno> {
        if self.play.steps.is_empty() || !self.play.is_new(call) {
            return None;
        }
        let mut answer = None;
        for at in 0..self.play.steps.len() {
            let playing = &mut self.play.steps[at];
            if playing.node != Some(node) {
                continue;
            }
            let failing = match playing.step.action {
                Action::Fail { request, errno } => Some((request, errno)),
                _ => None,
            };
            let counted = match (&playing.step.when, failing) {
                (_, Some((failing, _))) => Some(failing),
                (When::Call { request, .. }, None) => *request,
                _ => continue,
            };
            if counted.is_some_and(|counted| counted != request) {
                continue;
            }
            // If an earlier step already makes this call fail, the step of an order does not count the call.
            // This step then makes a later call fail.
            if answer.is_some() && failing.is_some() && playing.is_ordered() {
                continue;
            }
            let first = match playing.step.when {
                When::Call { number, .. } => number,
                _ if !playing.begun => continue,
                _ => 1,
            };
            playing.calls = playing.calls.saturating_add(1);
            let Some(since) = playing.calls.checked_sub(first) else {
                continue;
            };
            let Some((_, errno)) = failing else {
                if !playing.begun {
                    self.begin(at);
                }
                continue;
            };
            playing.begun = true;
            let (every, count) = (playing.step.every, playing.step.count);
            if answer.is_none() && since.is_multiple_of(every) && since / every < count {
                answer = Some(Errno(errno));
                let calls = playing.calls;
                let name = decode::name(request).unwrap_or_else(|| call_name(request));
                let value = format!("{name} with {}", sentence::errno_name(errno));
                self.happened(at, value, None, Some(calls));
            }
        }
        answer
    }

    /// Records an event of a step at the current time.
    fn happened(&mut self, at: usize, value: String, frame: Option<u64>, call: Option<u64>) {
        self.happened_at(self.clock.now_ns(), at, value, frame, call);
    }

    fn happened_at(
        &mut self,
        now_ns: u64,
        at: usize,
        value: String,
        frame: Option<u64>,
        call: Option<u64>,
    ) {
        let at_ns = now_ns.saturating_sub(self.play.started_ns);
        let Some(playing) = self.play.steps.get_mut(at) else {
            return;
        };
        playing.times = playing.times.saturating_add(1);
        let (line, node) = (playing.step.line as u64, playing.node);
        let action = playing.step.action.name().to_owned();
        let device = node.map(|node| self.path_of(node)).unwrap_or_default();
        self.report.play(ScriptEvent {
            line,
            device,
            action,
            value,
            at_ns,
            frame,
            call,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_waits_for_long_is_counted_once() {
        let mut play = Play::default();
        for call in 0..5000 {
            assert!(play.is_new(CallId(call)), "{call}");
            assert!(!play.is_new(CallId(0)) && !play.is_new(CallId(call)));
        }
    }
}
