//! Faults that programs request by button controls, to test how the programs handle these faults.
//!
//! Source: Linux 7.2 drivers/media/test-drivers/vivid, its "Inject" controls; differs: a device has them only
//! with `inject=on` in its SPEC.

use crate::surface::EINVAL;
use vb3_queue::DriverError;
use vb3_v4l2::{ControlSpec, cid};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// REQBUFS or CREATE_BUFS fails in `queue_setup`.
    Setup,
    /// QBUF or PREPARE_BUF fails in `buf_prepare`.
    Prepare,
    /// STREAMON, or the QBUF that starts the stream, fails in `start_streaming`.
    Start,
    /// The queue has a fatal error until STREAMOFF.
    Queue,
    /// `start_streaming` fails with ENXIO, as if the hardware were missing.
    Absent,
}

/// First id of the buttons, above the user-class ids that devices of this crate use.
const FIRST: u32 = cid::DRIVERS_OWN + 0x10;

/// The buttons' names, in the order of [`Fault`].
const BUTTONS: [&str; 5] = [
    "Inject Setup Error",
    "Inject Prepare Error",
    "Inject Start Error",
    "Inject Fatal Queue Error",
    "Inject Absent Hardware",
];

/// Requested faults, which have not occurred yet.
#[derive(Debug, Default)]
pub(crate) struct Inject {
    /// Whether the device has the buttons.
    pub(crate) offered: bool,
    pending: [bool; BUTTONS.len()],
}

impl Inject {
    pub(crate) fn new(offered: bool) -> Self {
        Self {
            offered,
            ..Self::default()
        }
    }

    pub(crate) fn controls(&self) -> Vec<ControlSpec> {
        let buttons = (FIRST..).zip(BUTTONS).filter(|_| self.offered);
        buttons
            .map(|(id, name)| ControlSpec::button(id, name))
            .collect()
    }

    /// Requests the fault of a button. Returns whether `id` is the id of a button.
    pub(crate) fn press(&mut self, id: u32) -> bool {
        let mut faults = (FIRST..).zip(&mut self.pending).filter(|_| self.offered);
        let found = faults.find(|(known, _)| *known == id);
        found.map(|(_, pending)| *pending = true).is_some()
    }

    pub(crate) fn wants(&self, fault: Fault) -> bool {
        self.pending[fault as usize]
    }

    /// Returns whether a fault is requested, and clears the request.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        core::mem::take(&mut self.pending[fault as usize])
    }

    /// Fails if the fault is requested, and clears the request.
    /// The error is EINVAL, or ENXIO for missing hardware.
    pub(crate) fn check(&mut self, fault: Fault) -> Result<(), DriverError> {
        match fault {
            _ if !self.strikes(fault) => Ok(()),
            Fault::Absent => Err(DriverError::ENXIO),
            _ => Err(EINVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_once_and_only_where_offered() {
        let mut inject = Inject::new(true);
        assert_eq!(inject.controls().len(), BUTTONS.len());
        assert!(inject.press(FIRST) && !inject.press(FIRST + 5));
        assert_eq!(inject.check(Fault::Prepare), Ok(()));
        assert_eq!(inject.check(Fault::Setup), Err(EINVAL));
        assert_eq!(inject.check(Fault::Setup), Ok(()));
        assert!(inject.press(FIRST + 4));
        assert_eq!(inject.check(Fault::Absent), Err(DriverError::ENXIO));
        let mut none = Inject::new(false);
        assert!(none.controls().is_empty() && !none.press(FIRST));
    }
}
