//! The rule for syncs: which work is due before and after a device uses a plane. No other module decides
//! this.

use vb3_dma::Direction;

/// Returns whether this crate must do cache maintenance before the device uses the memory (prepare), and after it
/// (finish). A cache hint ([`HintSkip`](crate::HintSkip)) omits maintenance that is due.
///
/// `needs_sync` says whether this crate syncs the memory. It does so for non-coherent and for scattered memory that was
/// allocated for the device, and for a program's memory that is mapped for the device. Coherent memory needs no sync. The
/// exporter syncs imported memory, and a CPU access syncs memory of a driver that uses the CPU.
///
/// Source: Linux 7.2 `vb2_dc_prepare`, `vb2_dc_finish`, `vb2_dma_sg_prepare`, `vb2_dma_sg_finish`, differs:
/// stores no cache hints.
#[must_use]
pub const fn due(needs_sync: bool, direction: Direction) -> (bool, bool) {
    (needs_sync, needs_sync && direction.device_writes())
}
