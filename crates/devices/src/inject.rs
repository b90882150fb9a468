//! Faults that a program can request by buttons, to test its handling of them.
//!
//! Source: Linux 7.2 drivers/media/test-drivers/vivid, its "Inject" controls; differs: only with
//! `inject=on` in the SPEC.

use crate::surface::EINVAL;
use vb3_queue::DriverError;
use vb3_v4l2::{ControlSpec, cid};

const ENXIO: DriverError = DriverError(6);

/// A call that fails once, or a failing queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `queue_setup`: REQBUFS or CREATE_BUFS.
    Setup,
    /// `buf_prepare`: QBUF or PREPARE_BUF.
    Prepare,
    /// `start_streaming`: STREAMON, or the QBUF that starts.
    Start,
    /// A fatal queue error, until STREAMOFF.
    Queue,
    /// `start_streaming` without the hardware: ENXIO.
    Absent,
}

/// In the user class, after the free control ids and those used here.
const FIRST: u32 = cid::DRIVERS_OWN + 0x10;

const FAULTS: [(Fault, &str); 5] = [
    (Fault::Setup, "Inject Setup Error"),
    (Fault::Prepare, "Inject Prepare Error"),
    (Fault::Start, "Inject Start Error"),
    (Fault::Queue, "Inject Fatal Queue Error"),
    (Fault::Absent, "Inject Absent Hardware"),
];

/// Requested faults that have not occurred yet.
#[derive(Debug, Default)]
pub(crate) struct Inject {
    offered: bool,
    pending: [bool; FAULTS.len()],
}

impl Inject {
    pub(crate) fn new(offered: bool) -> Self {
        Self {
            offered,
            ..Self::default()
        }
    }

    /// Whether there are buttons.
    pub(crate) const fn is_on(&self) -> bool {
        self.offered
    }

    fn numbered() -> impl Iterator<Item = (u32, Fault, &'static str)> {
        (FIRST..)
            .zip(FAULTS)
            .map(|(id, (fault, name))| (id, fault, name))
    }

    /// The buttons.
    pub(crate) fn controls(&self) -> Vec<ControlSpec> {
        Self::numbered()
            .filter(|_| self.offered)
            .map(|(id, _, name)| ControlSpec::button(id, name))
            .collect()
    }

    /// Presses a button. Returns whether `id` is one.
    pub(crate) fn press(&mut self, id: u32) -> bool {
        let found = Self::numbered().find(|(known, ..)| self.offered && *known == id);
        let Some((_, fault, _)) = found else {
            return false;
        };
        self.pending[fault as usize] = true;
        true
    }

    /// Returns whether a fault is requested.
    pub(crate) fn wants(&self, fault: Fault) -> bool {
        self.pending[fault as usize]
    }

    /// Returns whether a fault was requested, and clears the request.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        core::mem::take(&mut self.pending[fault as usize])
    }

    /// Fails once if requested.
    ///
    /// # Errors
    /// EINVAL; ENXIO for missing hardware.
    pub(crate) fn check(&mut self, fault: Fault) -> Result<(), DriverError> {
        match fault {
            _ if !self.strikes(fault) => Ok(()),
            Fault::Absent => Err(ENXIO),
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
        assert_eq!(inject.controls().len(), FAULTS.len());
        assert!(inject.press(FIRST) && !inject.press(FIRST + 5));
        assert_eq!(inject.check(Fault::Prepare), Ok(()));
        assert_eq!(inject.check(Fault::Setup), Err(EINVAL));
        assert_eq!(inject.check(Fault::Setup), Ok(()));
        let mut none = Inject::new(false);
        assert!(none.controls().is_empty() && !none.press(FIRST));
    }
}
