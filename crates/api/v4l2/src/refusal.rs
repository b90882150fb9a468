//! Refused calls and their reasons.

use crate::Error;
use std::collections::VecDeque;
use vb3_plane::Reason;

/// Maximum number of refusals kept until the host takes them.
pub(crate) const MAX_REFUSALS: usize = 256;

/// A call that failed because of a constraint of the machine or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The call, e.g. `VIDIOC_QBUF`.
    pub call: &'static str,
    /// The Linux errno of the failure, positive; zero for a partial success.
    pub errno: i32,
    /// The constraint that the call violated.
    pub reason: Reason,
    /// Numbers of buffers, if memory was too short for all of them.
    pub shortage: Option<Shortage>,
}

/// Buffers of one REQBUFS or CREATE_BUFS call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Number of buffers that the call or the driver needed.
    pub wanted: u64,
    /// Number of buffers that fitted into memory.
    pub found: u64,
}

/// Returns the numbers of wanted and possible buffers, if the error is a shortage.
const fn shortage(error: Error) -> Option<Shortage> {
    match error {
        Error::Queue(vb3_queue::Error::NoMemory { wanted, found, .. }) => {
            Some(Shortage { wanted, found })
        }
        _ => None,
    }
}

/// The latest refusals, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Refusals(VecDeque<Refusal>);

impl Refusals {
    /// Stores an error that has a reason. If the list is full, the oldest refusal is dropped.
    pub(crate) fn record(&mut self, call: &'static str, error: Error) {
        let Some(reason) = error.reason() else { return };
        self.push(Refusal {
            call,
            errno: error.errno(),
            reason,
            shortage: shortage(error),
        });
    }

    /// Stores the reason for a success with fewer buffers than requested.
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
