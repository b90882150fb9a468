//! Carries out orders from a run's [socket](crate::control).

pub(crate) mod events;
mod job;
mod parse;
mod push;
#[cfg(test)]
pub(crate) mod schema;
mod shown;
mod sources;

use crate::control::{ClientId, Control, EventKind, Subscription};
use crate::node::Node;
use crate::script::{Action, Step, StepDevice, When};
use crate::{Run, TURN_NS};
use events::main_flow;
use job::{Job, Running};
use parse::{Order, OrderRequest, Refused, VERSION};
use push::Push;
use serde_json::{Map, Value, json};
use shown::PictureFile;
use vb3_devices::source::NextSource;
use vb3_devices::spec::did_you_mean;
use vb3_v4l2::{Role, WakeFd};

/// Maximum number of orders of one client that a tick carries out. Further orders wait for the next tick.
const MAX_ROUNDS: usize = 16;

/// Fields of an answer, or why the order is refused.
type Answer = Result<Map<String, Value>, Refused>;

/// The result of starting an order: done, or not yet.
enum Done {
    Now(Map<String, Value>),
    /// The order is answered when this condition is met.
    Later(Awaited),
}

/// The condition that completes an order.
#[derive(Debug)]
enum Awaited {
    /// The device has finished this frame.
    Frame { at: usize, frame: u64 },
    /// A virtual clock shows this time.
    Time(u64),
    /// The camera's next source is open.
    Source { at: usize, opening: Job<NextSource> },
    /// A camera's next source has a picture.
    Picture { at: usize },
    /// The display has shown its next picture.
    Shown { at: usize, file: PictureFile },
    /// Each streaming reader of a loopback has got the frame.
    Push(Push),
    /// The picture is written to its file.
    Written(Job<Map<String, Value>>),
}

/// An order whose condition is not met yet.
#[derive(Debug)]
struct Waiting {
    client: ClientId,
    id: Option<Value>,
    awaited: Awaited,
}

/// The socket for orders, and the orders that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// The socket for orders.
    pub(super) control: Option<Control>,
    /// Whether a new client may wait at the socket.
    pub(super) may_accept: bool,
    waiting: Vec<Waiting>,
    /// Threads of these orders, and of orders whose clients have gone.
    running: Running,
    /// Whether a client wants events of any device's streams or frames.
    watches_devices: bool,
    /// Whether a client was answered outside a tick. It may have sent its next order since.
    are_answered: bool,
}

impl Orders {
    /// Returns descriptors that become readable when an awaited source is open, a picture is written or a frame is
    /// read.
    pub(super) fn fds(&self) -> impl Iterator<Item = WakeFd<'_>> {
        self.waiting
            .iter()
            .filter_map(|order| match &order.awaited {
                Awaited::Source { opening, .. } => Some(opening.wake_fd()),
                Awaited::Written(job) => Some(job.wake_fd()),
                Awaited::Push(push) => push.job().map(Job::wake_fd),
                _ => None,
            })
    }

    /// Returns the earliest time that an order waits for on a virtual clock.
    pub(super) fn next_time(&self) -> Option<u64> {
        let times = self
            .waiting
            .iter()
            .filter_map(|order| match &order.awaited {
                Awaited::Time(ns) => Some(*ns),
                Awaited::Push(push) => push.due_ns(),
                _ => None,
            });
        times.min()
    }
}

/// Formats an answer as a line of JSON.
fn line(id: Option<Value>, answer: Answer) -> String {
    let mut fields = Map::new();
    fields.extend(id.map(|id| ("id".to_owned(), id)));
    fields.insert("ok".to_owned(), answer.is_ok().into());
    match answer {
        Ok(more) => fields.extend(more),
        Err(refused) => {
            let error = json!({ "field": refused.field, "message": refused.message });
            fields.insert("error".to_owned(), error);
        }
    }
    format!("{}\n", Value::Object(fields))
}

fn fields<const N: usize>(list: [(&str, Value); N]) -> Map<String, Value> {
    let list = list.into_iter();
    list.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns a function that turns a message into a refusal of this field.
fn of(field: &'static str) -> impl Fn(String) -> Refused {
    move |message| Refused::new(field, message)
}

impl Run {
    /// Carries out the orders that have come; only ticks call this. Each order is answered when programs see
    /// its effect.
    pub(super) fn serve_control(&mut self) {
        self.orders.are_answered = false;
        self.report_events();
        let may_accept = std::mem::take(&mut self.orders.may_accept) || self.clock.is_virtual();
        if let Some(control) = &mut self.orders.control {
            control.recover();
            if may_accept {
                control.accept();
            }
            control.flush();
        }
        self.serve_clients();
        self.watch_devices();
    }

    fn serve_clients(&mut self) {
        let began = self.clock.real_ns();
        let has_time = |run: &Self| run.clock.real_ns().saturating_sub(began) < TURN_NS;
        for round in 0..MAX_ROUNDS {
            if round > 0 && !self.clock.is_virtual() && !has_time(self) {
                return;
            }
            let orders = self.orders.control.as_mut().map(Control::orders);
            let orders = orders.unwrap_or_default();
            for (client, order) in &orders {
                self.serve(*client, parse::request(order));
            }
            self.answer_waiting();
            let are_shown = self.answer_shown();
            if orders.is_empty() || !are_shown {
                return;
            }
        }
    }

    /// Sends prepared answers if programs have seen all effects of orders.
    pub(super) fn answer_control(&mut self) {
        self.answer_shown();
    }

    /// Returns whether a client's next order may have come, and programs see all earlier effects.
    pub(super) fn has_orders(&self) -> bool {
        let has_lines = self.orders.control.as_ref().is_some_and(Control::has_lines);
        (has_lines || self.orders.are_answered) && !self.is_unseen()
    }

    fn is_unseen(&self) -> bool {
        self.nodes.plugs.unseen.is_any()
    }

    /// Sends prepared answers if programs see all effects. Returns whether they do.
    fn answer_shown(&mut self) -> bool {
        if self.is_unseen() {
            return false;
        }
        if let Some(control) = &mut self.orders.control {
            self.orders.are_answered |= control.answer();
        }
        true
    }

    fn serve(&mut self, client: ClientId, request: OrderRequest) {
        let OrderRequest { id, order } = request;
        let obeyed = order.and_then(|order| match order {
            Order::Watch { kinds, device } => {
                let subscribed = self.watch(client, kinds, device.as_deref());
                subscribed.map(|()| Done::Now(Map::new()))
            }
            order => self.obey(order),
        });
        let answer = match obeyed {
            Ok(Done::Later(awaited)) => {
                return self.orders.waiting.push(Waiting {
                    client,
                    id,
                    awaited,
                });
            }
            Ok(Done::Now(fields)) => Ok(fields),
            Err(refused) => Err(refused),
        };
        self.prepare_answer(client, id, answer);
    }

    fn prepare_answer(&mut self, client: ClientId, id: Option<Value>, answer: Answer) {
        if let Some(control) = &mut self.orders.control {
            control.prepare(client, line(id, answer));
        }
    }

    /// Prepares answers to orders whose condition is met. Drops the orders of clients that have gone.
    fn answer_waiting(&mut self) {
        for mut order in std::mem::take(&mut self.orders.waiting) {
            let is_there = |control: &Control| control.has(order.client);
            if !self.orders.control.as_ref().is_some_and(is_there) {
                continue;
            }
            match self.look_at(&mut order.awaited) {
                Some(answer) => self.prepare_answer(order.client, order.id, answer),
                None => self.orders.waiting.push(order),
            }
        }
    }

    /// Returns the answer to an order if its condition is met.
    fn look_at(&mut self, awaited: &mut Awaited) -> Option<Answer> {
        match awaited {
            Awaited::Frame { at, frame } => {
                let done = self.finished_frames(*at);
                let is_card = self.nodes.card_number(*at).is_some();
                let is_plugged = is_card || self.nodes.plugs.is_present(*at);
                match (done > *frame, is_plugged) {
                    (true, _) => Some(Ok(fields([("frames", done.into())]))),
                    (false, true) => None,
                    (false, false) => {
                        let message = format!("the device was unplugged after {done} frames");
                        Some(Err(Refused::new("device", message)))
                    }
                }
            }
            Awaited::Time(ns) => {
                let now = self.clock.now_ns();
                (now >= *ns).then(|| Ok(fields([("time_ns", now.into())])))
            }
            Awaited::Source { at, opening } => {
                let opened = opening.take()?.map_err(of("source"));
                if let Err(refused) = opened.and_then(|next| self.play_next(*at, next)) {
                    return Some(Err(refused));
                }
                *awaited = Awaited::Picture { at: *at };
                self.look_at(awaited)
            }
            Awaited::Picture { at } => match self.is_next_ready(*at) {
                Ok(is_ready) => is_ready.then(|| Ok(Map::new())),
                Err(refused) => Some(Err(refused)),
            },
            Awaited::Shown { at, file } => match self.find_next_shown(*at, file)? {
                Ok(found) => {
                    *awaited = found;
                    self.look_at(awaited)
                }
                Err(refused) => Some(Err(refused)),
            },
            Awaited::Push(push) => self.look_at_push(push),
            Awaited::Written(job) => shown::written(job),
        }
    }

    /// Replaces a client's subscription. The new one begins with the answer to this order.
    fn watch(
        &mut self,
        client: ClientId,
        kinds: Vec<EventKind>,
        device: Option<&str>,
    ) -> Result<(), Refused> {
        let device = device.map(|name| self.named(name)).transpose();
        let device = device.map_err(of("device"))?;
        if let Some(control) = &mut self.orders.control {
            control.subscribe(client, Subscription { kinds, device });
        }
        Ok(())
    }

    /// Carries out one order.
    fn obey(&mut self, order: Order) -> Result<Done, Refused> {
        let device = of("device");
        match order {
            Order::State => return Ok(Done::Now(self.state())),
            Order::Buffers => {
                let list = self.list_buffers();
                let buffers = json!(list.buffers);
                return Ok(Done::Now(fields([
                    ("buffers", buffers),
                    ("left_out", list.left_out.into()),
                ])));
            }
            Order::Plug(name) => {
                self.plug_by_name(&name, true).map_err(device)?;
            }
            Order::Unplug {
                device: name,
                revoke: false,
            } => {
                self.plug_by_name(&name, false).map_err(device)?;
            }
            Order::Unplug {
                device: name,
                revoke: true,
            } => self.unplug_and_revoke(&name).map_err(device)?,
            Order::Revoke(buffer) => self.revoke_by_name(&buffer).map_err(of("buffer"))?,
            Order::Fail {
                device: name,
                request,
                errno,
                times,
            } => self.order_step(&name, times, Action::Fail { request, errno })?,
            Order::Signal {
                device: name,
                signal,
            } => self.order_step(&name, 1, Action::Signal(signal))?,
            Order::Set {
                device: name,
                control,
                value,
            } => {
                return self
                    .set_control_value(&name, &control, value)
                    .map(Done::Now);
            }
            Order::Play {
                device: name,
                source,
                at,
            } => return self.open_source(&name, source, at).map(Done::Later),
            Order::Reset(name) => return self.reset(&name).map(Done::Later),
            Order::Pause {
                device: name,
                paused,
            } => {
                let at = self.named(&name).map_err(&device)?;
                let node = self.nodes.get_mut(at);
                let camera = node.filter(|node| node.video.role() == Role::Capture);
                let is_camera = camera.is_some();
                let mut contexts = camera
                    .into_iter()
                    .flat_map(|node| node.video.contexts_mut());
                if !(is_camera && contexts.all(|context| context.driver_mut().pause(paused))) {
                    return Err(device(format!("{name} is no camera")));
                }
            }
            Order::Wait {
                device: name,
                frame,
            } => {
                let at = self.named(&name).map_err(device)?;
                return Ok(Done::Later(Awaited::Frame { at, frame }));
            }
            Order::Push {
                device: name,
                path,
                after_ns,
            } => return self.push_frame(&name, path, after_ns).map(Done::Later),
            Order::Advance { ns } => return self.advance_clock(ns).map(Done::Later),
            Order::Shown { device, file } => {
                return self.find_shown(&device, file).map(Done::Later);
            }
            Order::Watch { .. } => {}
        }
        Ok(Done::Now(Map::new()))
    }

    fn advance_clock(&self, ns: u64) -> Result<Awaited, Refused> {
        if !self.clock.is_virtual() {
            let message = "only a virtual clock can be advanced (`vb3 run --clock virtual` or `--clock steps`)";
            return Err(Refused::new("do", message));
        }
        Ok(Awaited::Time(self.clock.now_ns().saturating_add(ns)))
    }

    /// Makes an action begin on a device now, as a step of a script does.
    fn order_step(&mut self, name: &str, count: u64, action: Action) -> Result<(), Refused> {
        let at = self.named(name).map_err(of("device"))?;
        let video = |node: &Node| StepDevice::Video(node.number());
        let card = self.nodes.card_number(at).map(StepDevice::Card);
        let step = Step {
            line: 0,
            device: card.or_else(|| self.nodes.get(at).map(video)),
            when: When::Start,
            count,
            every: 1,
            action,
        };
        self.add_step(step, at).map_err(of("device"))
    }

    fn set_control_value(&mut self, name: &str, control: &str, value: i64) -> Answer {
        let at = self.named(name).map_err(of("device"))?;
        let now = self.clock.now_ns();
        let node = self.nodes.get_mut(at);
        let mut set = None;
        for context in node.into_iter().flat_map(|node| node.video.contexts_mut()) {
            let Some(known) = context.set_control(control, value, now) else {
                let names = context.control_names();
                let guess = did_you_mean(control, names.iter().map(String::as_str));
                let names = names.join(", ");
                let message = format!("{name} has no control {control:?}{guess} It has {names}");
                return Err(Refused::new("control", message));
            };
            let known = known.map_err(|e| {
                Refused::new("value", format!("{control} cannot be set to {value}: {e}"))
            })?;
            set = Some(known);
        }
        let message = "a codec or converter has controls for each open file, not for the device";
        let set = set.ok_or_else(|| Refused::new("device", message))?;
        Ok(fields([("value", set.into())]))
    }

    /// Returns the number of frames that a device has finished.
    fn finished_frames(&self, at: usize) -> u64 {
        if let Some(card) = self.card(at) {
            return card.frames();
        }
        let node = self.nodes.get(at);
        node.map_or(0, |node| {
            let flow = main_flow(node.video.role());
            node.video.statistics(flow).queue.done
        })
    }

    fn state(&self) -> Map<String, Value> {
        let nodes = self.nodes.iter().enumerate();
        let own = nodes.filter(|(_, node)| node.is_listed());
        let devices = own.map(|(at, node)| {
            json!({
                "path": node.path,
                "kind": node.kind,
                "plugged": self.nodes.plugs.is_present(at),
                "frames": self.finished_frames(at),
            })
        });
        let cards = self.cards.all.iter().map(|card| {
            json!({
                "path": card.path,
                "kind": "kms",
                "plugged": card.has_monitor(),
                "frames": card.frames(),
            })
        });
        let devices: Vec<Value> = devices.chain(cards).collect();
        fields([
            ("version", VERSION.into()),
            ("time_ns", self.clock.now_ns().into()),
            ("devices", devices.into()),
        ])
    }
}
