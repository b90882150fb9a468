//! Stops virtual time while a device prepares data in another process or thread, so that the device
//! is never late.

use crate::Run;
use crate::node::Node;
use crate::summary;
use std::time::Duration;
use vb3_report::DeviceFailure;

/// Longest wait without a frame from any device, by the system's clock. A device that is still preparing by
/// then is taken to have stopped working.
const LONGEST: Duration = Duration::from_secs(60);

/// When virtual time stopped, by the system's clock, and how many buffers were done by then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standstill {
    since: Option<(u64, u64)>,
    /// Whether the report names this standstill.
    is_reported: bool,
}

impl Standstill {
    /// Returns how much of the longest wait is left at the time `real_ns`.
    fn left(self, real_ns: u64) -> Duration {
        let since = self.since.map_or(real_ns, |(since, _)| since);
        LONGEST.saturating_sub(Duration::from_nanos(real_ns.saturating_sub(since)))
    }
}

impl Run {
    /// Returns how long virtual time still waits for devices, or `None` if none prepares data.
    pub(super) fn standstill(&self) -> Option<Duration> {
        let is_preparing = self.nodes.iter().any(Node::is_preparing);
        is_preparing.then(|| self.waits.standstill.left(self.clock.real_ns()))
    }

    /// Returns whether virtual time may advance: no device prepares data, or one has stopped
    /// working.
    pub(super) fn may_pass(&mut self) -> bool {
        let Some(node) = self.nodes.iter().find(|node| node.is_preparing()) else {
            self.waits.standstill = Standstill::default();
            return true;
        };
        let queues = self.nodes.iter().flat_map(summary::queues);
        let done = queues.map(|(_, queue)| queue.statistics().done).sum();
        let real_ns = self.clock.real_ns();
        if self
            .waits
            .standstill
            .since
            .is_none_or(|(_, before)| before != done)
        {
            self.waits.standstill = Standstill {
                since: Some((real_ns, done)),
                is_reported: false,
            };
        }
        if !self.waits.standstill.left(real_ns).is_zero() {
            return false;
        }
        if std::mem::replace(&mut self.waits.standstill.is_reported, true) {
            return true;
        }
        self.report.fail(DeviceFailure {
            device: node.path.clone(),
            sentence: format!(
                "it has prepared data for {} seconds without a result; the virtual clock continues \
                 without it",
                LONGEST.as_secs()
            ),
            recording: false,
            times: 1,
        });
        true
    }
}
