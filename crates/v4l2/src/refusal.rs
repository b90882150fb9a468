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
}

impl Refusal {
    /// The constraint's name as it stands in reports.
    #[must_use]
    pub const fn constraint(&self) -> &'static str {
        self.reason.constraint.name()
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
        });
    }

    /// Keeps why a call that succeeded gave less than it was asked for.
    pub(crate) fn record_shortfall(&mut self, call: &'static str, reason: Reason) {
        self.push(Refusal {
            call,
            errno: 0,
            reason,
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
