//! Virtual time stands still while a device prepares data in a process or thread of its own: however
//! long that takes, the device is never late.

use crate::World;
use crate::node::Node;
use crate::summary;
use std::time::Duration;
use vb3_report::DeviceFailure;

/// Longest wait without a frame from any device, by the system's clock. A device that is still
/// preparing by then has stopped working.
const LONGEST: Duration = Duration::from_secs(60);

/// Since when time has stood still: the system's clock, and how many buffers were done by then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standstill(Option<(u64, u64)>);

impl Standstill {
    /// The wait that is left.
    fn left(self, real_ns: u64) -> Duration {
        let since = self.0.map_or(real_ns, |(since, _)| since);
        LONGEST.saturating_sub(Duration::from_nanos(real_ns.saturating_sub(since)))
    }
}

impl World {
    /// The longest that virtual time still waits for devices; `None` where none prepares data.
    pub(super) fn standstill(&self) -> Option<Duration> {
        let prepares = self.nodes.iter().any(Node::is_preparing);
        prepares.then(|| self.standstill.left(self.clock.real_ns()))
    }

    /// Whether virtual time may go on: no device prepares data, or one has stopped working.
    pub(super) fn may_pass(&mut self) -> bool {
        let Some(node) = self.nodes.iter().find(|node| node.is_preparing()) else {
            self.standstill = Standstill::default();
            return true;
        };
        let queues = self.nodes.iter().flat_map(summary::queues);
        let done = queues.map(|(_, queue)| queue.statistics().done).sum();
        let real_ns = self.clock.real_ns();
        match self.standstill.0 {
            Some((_, before)) if before == done => {}
            _ => self.standstill.0 = Some((real_ns, done)),
        }
        if !self.standstill.left(real_ns).is_zero() {
            return false;
        }
        self.report.fail(DeviceFailure {
            device: node.path.display().to_string(),
            sentence: format!(
                "it has prepared data for {} seconds and has none; the virtual clock goes on \
                 without it",
                LONGEST.as_secs()
            ),
            recording: false,
            times: 1,
        });
        true
    }
}
