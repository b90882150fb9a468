//! Sends events to the clients that subscribed to them.

use crate::Run;
use crate::control::EventKind;
use crate::kinds::CardDevice;
use crate::node::Node;
use serde_json::{Map, Value};
use vb3_devices::DeviceEvent;
use vb3_report::Refusal;
use vb3_report::sentence::errno_name;
use vb3_v4l2::{Flow, Role};

/// Returns the queue direction whose frames are counted as the device's frames.
pub(super) const fn main_flow(role: Role) -> Flow {
    match role {
        Role::Output => Flow::Output,
        _ => Flow::Capture,
    }
}

const fn flow_name(flow: Flow) -> &'static str {
    match flow {
        Flow::Capture => "capture",
        Flow::Output => "output",
    }
}

impl Run {
    /// Returns whether a client wants events of a kind and device.
    fn wants_event(&self, kind: EventKind, device: Option<usize>) -> bool {
        let control = self.orders.control.as_ref();
        control.is_some_and(|control| control.wants(kind, device))
    }

    /// Sends an event to the clients that want it.
    fn send_event<const N: usize>(
        &mut self,
        kind: EventKind,
        (device, path): (Option<usize>, &str),
        more: [(&str, Value); N],
    ) {
        let now = self.clock.now_ns();
        let Some(control) = &mut self.orders.control else {
            return;
        };
        let mut event = Map::new();
        event.insert("event".to_owned(), kind.name().into());
        event.insert("device".to_owned(), path.into());
        event.insert("time_ns".to_owned(), now.into());
        event.extend(more.map(|(name, value)| (name.to_owned(), value)));
        control.send_event(kind, device, &format!("{}\n", Value::Object(event)));
    }

    /// Reports that a program opened a device.
    pub(crate) fn report_open(&mut self, at: usize, pid: u32) {
        if self.wants_event(EventKind::Open, Some(at)) {
            let path = self.path_of(at);
            self.send_event(EventKind::Open, (Some(at), &path), [("pid", pid.into())]);
        }
    }

    /// Returns the display card with this index among all devices.
    pub(crate) fn card(&self, at: usize) -> Option<&CardDevice> {
        self.cards.all.get(self.nodes.card_number(at)?)
    }

    /// Returns the path of the device with this index, or an empty string without such a device.
    pub(crate) fn path_of(&self, at: usize) -> String {
        let node = self.nodes.get(at).map(|node| &node.path);
        let path = node.or_else(|| self.card(at).map(|card| &card.path));
        path.cloned().unwrap_or_default()
    }

    /// Adds a refusal to the report, and sends its event.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        let mut nodes = self.nodes.iter();
        let at = nodes.position(|node| node.path == refusal.device);
        if self.wants_event(EventKind::Refusal, at) {
            let errno = match refusal.errno {
                // The call got fewer buffers.
                0 => String::new(),
                errno => errno_name(errno),
            };
            let more = [
                ("call", refusal.call.clone().into()),
                ("errno", errno.into()),
                ("constraint", refusal.constraint.clone().into()),
                ("wanted", refusal.wanted.into()),
                ("found", refusal.found.into()),
            ];
            self.send_event(EventKind::Refusal, (at, &refusal.device), more);
        }
        self.report.refuse(refusal);
    }

    /// Makes devices record their streams and frames if, and as long as, a client wants these
    /// events.
    pub(super) fn watch_devices(&mut self) {
        let mut is_any = false;
        for at in 0..self.nodes.len() {
            let wants = |kind| self.wants_event(kind, Some(at));
            let is_watched = wants(EventKind::Frame) || wants(EventKind::Start);
            let is_other = |node: &Node| node.is_watched() != is_watched;
            if self.nodes.get(at).is_some_and(is_other)
                && let Some(node) = self.nodes.get_mut(at)
            {
                node.set_watched(is_watched);
            }
            is_any |= is_watched;
        }
        self.orders.watches_devices = is_any;
    }

    /// Reports the streams and frames since the last call.
    pub(crate) fn report_events(&mut self) {
        if !self.orders.watches_devices {
            return;
        }
        for at in 0..self.nodes.len() {
            if !self.nodes.get(at).is_some_and(Node::is_watched) {
                continue;
            }
            let events = self.nodes.get_mut(at).map(Node::take_events);
            let events = events.unwrap_or_default();
            if !events.is_empty() {
                self.report_events_of(at, &events);
            }
        }
    }

    fn report_events_of(&mut self, at: usize, events: &[DeviceEvent]) {
        let path = self.path_of(at);
        let role = self.nodes.get(at).map(|node| node.video.role());
        let main = main_flow(role.unwrap_or(Role::Capture));
        let is_frame = |event: &&DeviceEvent| matches!(event, DeviceEvent::Frame { flow, .. } if *flow == main);
        // CAST: widening.
        let count = events.iter().filter(is_frame).count() as u64;
        let mut frame = self.finished_frames(at).saturating_sub(count);
        for event in events {
            match *event {
                DeviceEvent::Start(flow) if self.wants_event(EventKind::Start, Some(at)) => {
                    let more = [("queue", flow_name(flow).into())];
                    self.send_event(EventKind::Start, (Some(at), &path), more);
                }
                DeviceEvent::Frame {
                    flow,
                    sequence,
                    time_ns,
                } if flow == main => {
                    let time = time_ns.unwrap_or_else(|| self.clock.now_ns());
                    let more = [
                        ("frame", frame.into()),
                        ("sequence", sequence.into()),
                        ("time_ns", time.into()),
                    ];
                    frame = frame.saturating_add(1);
                    self.send_event(EventKind::Frame, (Some(at), &path), more);
                }
                _ => {}
            }
        }
    }
}
