//! Reports devices that wait for each other's fences.
//!
//! A buffer gets its fence when it is passed to a device. A buffer that still waits for another fence has
//! none, so two buffers never wait for each other. But a device may need its next buffer before it completes
//! the current one. Device A then holds buffer 1 until it gets buffer 2, buffer 2 waits for a fence of device
//! B, and B waits for buffer 1. The run cannot predict this, so it reports waits that have lasted.

use crate::{Run, summary};
use std::collections::{BTreeMap, BTreeSet};
use vb3_dmabuf::fence::{FenceId, Owner, Usage};
use vb3_report::DeviceFailure;
use vb3_v4l2::Flow;

/// How long devices wait for each other before the run reports it, by the host's clock.
const REPORT_AFTER_NS: u64 = 2_000_000_000;

/// A buffer that waits for another device's fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wait {
    /// The node index of the device that waits.
    at: usize,
    buffer: u32,
    fence: FenceId,
    /// The node index of the device that signals the fence.
    to: usize,
}

/// The waits for fences as of the last check.
#[derive(Debug, Default)]
pub(super) struct Deadlocks {
    watching: bool,
    /// Since when each wait has lasted, by the host's clock.
    waits: BTreeMap<Wait, u64>,
    /// Waits that have been reported.
    named: BTreeSet<Wait>,
}

impl Deadlocks {
    /// Starts checking, because a program imported fences. Checking stops when no imported fence is left.
    pub(super) const fn watch(&mut self) {
        self.watching = true;
    }

    /// Returns whether imported fences must be checked.
    pub(super) const fn is_watching(&self) -> bool {
        self.watching
    }

    /// Records the current waits. Returns each circular wait once, when it has lasted long enough.
    fn take_new(&mut self, waits: Vec<Wait>, now_ns: u64) -> Vec<Wait> {
        let since = |wait: &Wait| self.waits.get(wait).copied().unwrap_or(now_ns);
        self.waits = waits.iter().map(|wait| (*wait, since(wait))).collect();
        self.named.retain(|wait| self.waits.contains_key(wait));
        let is_old = |since: u64| now_ns.saturating_sub(since) >= REPORT_AFTER_NS;
        let old = self.waits.iter().filter(|(_, since)| is_old(**since));
        let old: Vec<Wait> = old.map(|(wait, _)| *wait).collect();
        let circular = old.iter().filter(|wait| leads_to(&old, wait.to, wait.at));
        let new: Vec<Wait> = circular
            .filter(|wait| !self.named.contains(wait))
            .copied()
            .collect();
        self.named.extend(&new);
        new
    }
}

/// Returns whether the device at `from` waits for the one at `to`, directly or through others.
fn leads_to(waits: &[Wait], from: usize, to: usize) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut todo = vec![from];
    while let Some(at) = todo.pop() {
        if at == to {
            return true;
        }
        let next = waits.iter().filter(|wait| wait.at == at);
        todo.extend(next.map(|wait| wait.to).filter(|to| seen.insert(*to)));
    }
    false
}

impl Run {
    /// Reports devices that have waited too long for each other's fences.
    pub(super) fn name_deadlocks(&mut self, now_ns: u64) {
        if !self.fences.deadlocks.watching {
            return;
        }
        self.fences.deadlocks.watching = self.memory.buffers().has_imports();
        let waits = self.fence_waits();
        for wait in self.fences.deadlocks.take_new(waits, now_ns) {
            let (device, other) = (self.path_of(wait.at), self.path_of(wait.to));
            let circle = match wait.at == wait.to {
                true => "its own fence".to_owned(),
                false => format!("a fence of {other}, which waits for one of {device}"),
            };
            let sentence = format!(
                "buffer {} has waited for {} s for {circle}: a device that needs its next buffer to \
                 complete the current one waits for ever; end a stream (STREAMOFF), or import \
                 only fences of other devices",
                wait.buffer,
                REPORT_AFTER_NS / 1_000_000_000,
            );
            self.report.fail(DeviceFailure {
                device,
                sentence,
                recording: false,
                times: 1,
            });
        }
    }

    /// Returns the first waiting buffer of each queue and the devices that it waits for.
    fn fence_waits(&self) -> Vec<Wait> {
        let memory = &self.memory;
        let mut waits = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            for (flow, queue) in summary::queues(node) {
                let usage = match flow {
                    Flow::Capture => Usage::Write,
                    Flow::Output => Usage::Read,
                };
                let held = queue.first_held_back(memory);
                let Some((buffer, id)) =
                    held.and_then(|(buffer, plane)| Some((buffer, plane.used_memory()?)))
                else {
                    continue;
                };
                memory.buffers().held_back_by(id, usage, |fence, owner| {
                    let Owner::Device(dma) = owner else { return };
                    let to = self.nodes.iter().position(|node| node.dma == dma);
                    waits.extend(to.map(|to| Wait {
                        at,
                        buffer,
                        fence,
                        to,
                    }));
                });
            }
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_dmabuf::fence::Fences;

    fn waits(edges: &[(usize, usize)]) -> Vec<Wait> {
        let mut fences = Fences::new();
        let mut timeline = fences.timeline(());
        let file = fences.sync_file_at(&mut timeline, 1, 0).unwrap();
        let wait = |&(at, to)| Wait {
            at,
            buffer: 0,
            fence: file.fences()[0],
            to,
        };
        edges.iter().map(wait).collect()
    }

    #[test]
    fn lasting_deadlocks_are_reported_once() {
        let mut deadlocks = Deadlocks::default();
        // Device 4 waits for the circle, but is not part of it.
        let all = waits(&[(0, 1), (1, 2), (2, 0), (3, 3), (4, 0), (5, 6)]);
        assert_eq!(deadlocks.take_new(all.clone(), 5), []);
        assert_eq!(deadlocks.take_new(all.clone(), REPORT_AFTER_NS), []);
        let told = deadlocks.take_new(all.clone(), REPORT_AFTER_NS + 5);
        assert_eq!(told, all[..4]);
        assert_eq!(deadlocks.take_new(all.clone(), REPORT_AFTER_NS + 6), []);
        // A deadlock that ended and came back must last for the full time again.
        assert_eq!(deadlocks.take_new(Vec::new(), REPORT_AFTER_NS + 7), []);
        assert_eq!(deadlocks.take_new(all.clone(), REPORT_AFTER_NS + 8), []);
        let again = deadlocks.take_new(all.clone(), 2 * REPORT_AFTER_NS + 8);
        assert_eq!(again, all[..4]);
    }
}
