//! The rule for syncs: which work is due before and after a device uses a plane. No other module decides
//! this.

use crate::HintSkip;
use vb3_dma::Direction;

/// Cache maintenance that is due when memory passes to the device (prepare) or back (finish).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Due {
    /// None by this crate: the memory needs none, or its exporter or a CPU access does the maintenance.
    Nothing,
    /// By this crate, through the DMA layer.
    Sync,
    /// Necessary, but the user asked to omit it.
    Skipped,
}

/// Returns the maintenance before the device uses the memory (prepare), and after it (finish).
///
/// `needs_sync` says whether this crate syncs the memory. It does so for non-coherent and for scattered memory that was
/// allocated for the device, and for a program's memory that is mapped for the device. Coherent memory needs no sync. The
/// exporter syncs imported memory, and a CPU access syncs memory of a driver that uses the CPU.
///
/// Source: Linux 7.2 `vb2_dc_prepare`, `vb2_dc_finish`, `vb2_dma_sg_prepare`, `vb2_dma_sg_finish`, differs:
/// stores no cache hints.
#[must_use]
pub const fn due(needs_sync: bool, direction: Direction, skip: HintSkip) -> (Due, Due) {
    if !needs_sync {
        return (Due::Nothing, Due::Nothing);
    }
    let prepare = if skip.contains(HintSkip::PREPARE) {
        Due::Skipped
    } else {
        Due::Sync
    };
    let finish = if !direction.device_writes() {
        Due::Nothing
    } else if skip.contains(HintSkip::FINISH) {
        Due::Skipped
    } else {
        Due::Sync
    };
    (prepare, finish)
}
