//! What was refused, and why.

use crate::Error;
use std::collections::VecDeque;
use vb3_plane::Reason;

/// Most refusals kept until they are taken.
pub(crate) const MAX_REFUSALS: usize = 256;

/// A call that failed for a constraint of the machine or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The call, e.g. `VIDIOC_QBUF`.
    pub call: &'static str,
    /// The Linux errno it failed with, positive; zero for a call that succeeded in part.
    pub errno: i32,
    /// Why.
    pub reason: Reason,
    /// Where a call could not make all buffers that it needed: how many.
    pub shortage: Option<Shortage>,
}

/// Buffers of one call of REQBUFS or CREATE_BUFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Buffers that were to be made.
    pub wanted: u64,
    /// Buffers that there was memory for.
    pub found: u64,
}

impl Refusal {
    /// The constraint's name as it stands in reports.
    #[must_use]
    pub const fn constraint(&self) -> &'static str {
        self.reason.constraint.name()
    }
}

/// How many buffers were to be made, and how many there is memory for.
const fn shortage(error: Error) -> Option<Shortage> {
    match error {
        Error::Queue(vb3_queue::Error::NoMemory { wanted, found, .. }) => {
            Some(Shortage { wanted, found })
        }
        _ => None,
    }
}

/// The last refusals, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Refusals(VecDeque<Refusal>);

impl Refusals {
    /// Keeps an error that has a reason. The oldest goes where there are too many.
    pub(crate) fn record(&mut self, call: &'static str, error: Error) {
        let Some(reason) = error.reason() else { return };
        self.push(Refusal {
            call,
            errno: error.errno(),
            reason,
            shortage: shortage(error),
        });
    }

    /// Keeps why a call that succeeded gave less than it was asked for.
    pub(crate) fn record_shortfall(&mut self, call: &'static str, reason: Reason) {
        self.push(Refusal {
            call,
            errno: 0,
            reason,
            shortage: None,
        });
    }

    fn push(&mut self, refusal: Refusal) {
        if self.0.len() >= MAX_REFUSALS {
            self.0.pop_front();
        }
        self.0.push_back(refusal);
    }

    pub(crate) fn take(&mut self) -> Vec<Refusal> {
        self.0.drain(..).collect()
    }
}
