//! The devices of a run.

use crate::clock::Clock;
use crate::hotplug::Plugs;
use crate::memory::RunMemory;
use crate::node::Node;
use crate::schedule::Schedule;
use std::ops::Deref;
use vb3_devices::spec::Presence;

/// Duration of a tick, in nanoseconds, after which it lets no further device work. Programs' calls come
/// first.
pub(super) const TURN_NS: u64 = 300_000;

/// The devices' nodes, by number, and which of them are plugged in.
pub(super) struct Nodes {
    all: Vec<Node>,
    /// The node that the next tick starts with.
    next_turn: usize,
    pub(super) plugs: Plugs,
    schedule: Schedule,
}

impl Deref for Nodes {
    type Target = [Node];

    fn deref(&self) -> &[Node] {
        &self.all
    }
}

impl Nodes {
    /// Sorts the nodes by number. `cards` says when display cards' monitors are plugged in; `now_ns` is the start of
    /// the run.
    pub(super) fn new(
        mut all: Vec<Node>,
        cards: impl Iterator<Item = Presence>,
        now_ns: u64,
    ) -> Self {
        all.sort_by_key(Node::number);
        Node::share_priorities(&mut all);
        Self {
            plugs: Plugs::new(&all, cards, now_ns),
            schedule: Schedule::new(all.len()),
            all,
            next_turn: 0,
        }
    }

    /// Returns a node, which may then have other work.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Node> {
        self.schedule.note(at);
        self.all.get_mut(at)
    }

    /// Iterates over all nodes, which may then have other work.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.schedule.note_all();
        self.all.iter_mut()
    }

    /// Calls `each` with every node that may have news since the last call.
    pub(super) fn ask_changed(&mut self, mut each: impl FnMut(usize, &mut Node)) {
        for &at in self.schedule.open() {
            if let Some(node) = self.all.get_mut(at) {
                each(at, node);
            }
        }
        self.schedule.settle(&self.all);
    }

    /// Returns when a node's work is due next, in real time.
    pub(super) fn next_tick(&self) -> Option<u64> {
        self.schedule.next_tick(&self.all)
    }

    /// Returns when a device must next begin new work. Work that has begun and only continues does not count.
    pub(super) fn next_beginning(&self) -> Option<u64> {
        self.schedule.next_beginning(&self.all)
    }

    /// Returns the number of a display card. `at` is its index among all devices, which counts the nodes of
    /// video devices first, and then the cards.
    pub(super) fn card_number(&self, at: usize) -> Option<usize> {
        at.checked_sub(self.all.len())
    }

    /// Lets each device work. If this tick's time runs out, the next tick follows immediately and begins with
    /// the devices that had no turn.
    pub(super) fn tick(&mut self, memory: &mut RunMemory, now_ns: u64, clock: &Clock) {
        self.schedule.note_all();
        let began = clock.real_ns();
        // Virtual time advances in the same steps in every run.
        let is_virtual = clock.is_virtual();
        let has_time = || is_virtual || clock.real_ns().saturating_sub(began) < TURN_NS;
        let (first, count) = (self.next_turn, self.all.len());
        for at in (first..count).chain(0..first) {
            let Some(node) = self.all.get_mut(at) else {
                continue;
            };
            if !node.tick(memory, now_ns, &has_time) {
                self.next_turn = at;
                return;
            }
            if !has_time() {
                self.next_turn = (at + 1) % count;
                return;
            }
        }
    }
}
