//! Checks the IOMMU's faults.

use crate::machine::Dma;
use crate::port::say;
use crate::vtd::{Bdf, Fault};
use crate::{MAX_POLLS, TestResult};
use alloc::format;
use core::iter;

/// Fails if the IOMMU has recorded a fault.
pub(crate) fn none(dma: &Dma) -> TestResult {
    match dma.platform().take_fault() {
        Some(fault) => Err(format!("the IOMMU refused an access: {fault:?}")),
        None => Ok(()),
    }
}

/// Waits for a fault.
pub(crate) fn wait(dma: &Dma) -> Option<Fault> {
    (0..MAX_POLLS).find_map(|_| dma.platform().take_fault())
}

/// Fails unless `first` and all later faults are a device's writes to one page. The device may try
/// several times.
pub(crate) fn only(dma: &Dma, first: Option<Fault>, device: Bdf, page: u64) -> TestResult {
    let expected = Fault {
        device,
        addr: page,
        reason: Fault::NO_WRITE,
    };
    let mut seen = first.into_iter();
    let mut seen = seen
        .by_ref()
        .chain(iter::from_fn(|| dma.platform().take_fault()));
    let wrong = match seen.next() {
        Some(first) if first == expected => seen.find(|fault| *fault != expected),
        other => return Err(format!("expected the fault {expected:?}, found {other:?}")),
    };
    if wrong.is_some() {
        return Err(format!("expected the fault {expected:?}, found {wrong:?}"));
    }
    let Bdf(bdf) = device;
    say!("broken entry: the IOMMU refused device {bdf:#06x} page {page:#x}");
    Ok(())
}
