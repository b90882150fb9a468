//! When the devices' work is due, so that a call need not ask each device.

use crate::node::Node;
use std::collections::BTreeSet;

/// When a device's work is due, by the run's clock in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Due {
    /// Any work.
    tick: Option<u64>,
    /// New work, but not the continuation of work that has begun.
    beginning: Option<u64>,
}

impl Due {
    fn of(node: &Node) -> Self {
        Self {
            tick: node.video.next_tick(),
            beginning: node.video.next_beginning(),
        }
    }
}

/// The due times of all devices.
///
/// The due time of a device changes only with a mutable borrow of its node, unless the device shares state with
/// another node or with a thread. Such a device is *restless*, and is asked each time.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// By node.
    known: Vec<Due>,
    ticks: BTreeSet<(u64, usize)>,
    beginnings: BTreeSet<(u64, usize)>,
    /// In ascending order.
    restless: Vec<usize>,
    /// The nodes that were borrowed mutably since the last [`settle`](Self::settle), each once.
    changed: Vec<usize>,
    /// By node: whether it is in `changed`.
    is_changed: Vec<bool>,
}

impl Schedule {
    /// Makes the schedule of `count` nodes, all of which must be asked.
    pub(super) fn new(count: usize) -> Self {
        Self {
            known: vec![Due::default(); count],
            changed: (0..count).collect(),
            is_changed: vec![true; count],
            ..Self::default()
        }
    }

    /// Records that a node is borrowed mutably.
    pub(super) fn note(&mut self, at: usize) {
        if let Some(is_changed) = self.is_changed.get_mut(at)
            && !core::mem::replace(is_changed, true)
        {
            self.changed.push(at);
        }
    }

    /// Records that all nodes are borrowed mutably.
    pub(super) fn note_all(&mut self) {
        (0..self.known.len()).for_each(|at| self.note(at));
    }

    /// Lists the nodes that must be asked, in ascending order.
    pub(super) fn open(&mut self) -> &[usize] {
        while let Some(at) = self.restless.pop() {
            self.note(at);
        }
        self.changed.sort_unstable();
        &self.changed
    }

    /// Records the due times of the nodes that [`open`](Self::open) has listed.
    pub(super) fn settle(&mut self, nodes: &[Node]) {
        for at in self.changed.drain(..) {
            let parts = (nodes.get(at), self.known.get_mut(at));
            let ((Some(node), Some(known)), Some(is_changed)) =
                (parts, self.is_changed.get_mut(at))
            else {
                continue;
            };
            *is_changed = false;
            if node.is_restless() {
                self.restless.push(at);
            }
            let due = Due::of(node);
            let before = core::mem::replace(known, due);
            plan(&mut self.ticks, at, before.tick, due.tick);
            plan(&mut self.beginnings, at, before.beginning, due.beginning);
        }
    }

    /// Returns when the next tick is due.
    pub(super) fn next_tick(&self, nodes: &[Node]) -> Option<u64> {
        self.first(&self.ticks, nodes, |due| due.tick)
    }

    /// Returns when a tick that begins work is due next.
    pub(super) fn next_beginning(&self, nodes: &[Node]) -> Option<u64> {
        self.first(&self.beginnings, nodes, |due| due.beginning)
    }

    fn first(
        &self,
        planned: &BTreeSet<(u64, usize)>,
        nodes: &[Node],
        part: impl Fn(Due) -> Option<u64>,
    ) -> Option<u64> {
        let asked = |at: &usize| part(Due::of(nodes.get(*at)?));
        let is_changed = |at| self.is_changed.get(at) == Some(&true);
        let is_known = |at| !is_changed(at) && self.restless.binary_search(&at).is_err();
        let known = planned.iter().find(|(_, at)| is_known(*at));
        let open = self.restless.iter().chain(&self.changed).filter_map(asked);
        open.chain(known.map(|(due, _)| *due)).min()
    }
}

fn plan(planned: &mut BTreeSet<(u64, usize)>, at: usize, before: Option<u64>, now: Option<u64>) {
    if before != now {
        before.map(|due| planned.remove(&(due, at)));
        planned.extend(now.map(|due| (due, at)));
    }
}
