//! The rule for syncs: which work is due before and after a device uses a plane. No other module decides
//! this.

use crate::HintSkip;
use vb3_dma::{Coherency, Direction};

/// Kind of a plane's memory, as the rule for syncs distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemoryKind {
    /// Allocated for the device (MMAP).
    Allocated(Coherency),
    /// Allocated as scattered pages and mapped for the device (MMAP, dma-sg).
    Scattered,
    /// A program's memory, mapped for the device (USERPTR).
    User,
    /// Imported from another driver, attached and mapped (DMABUF).
    Imported,
    /// Allocated or imported, accessed by a driver through the CPU.
    Virtual,
    /// A program's memory, accessed by a driver through the CPU.
    UserVirtual,
}

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
/// Source: Linux 7.2 `vb2_dc_prepare`, `vb2_dc_finish`, `vb2_dma_sg_prepare`, `vb2_dma_sg_finish`, differs:
/// stores no cache hints.
#[must_use]
pub const fn due(memory: MemoryKind, direction: Direction, skip: HintSkip) -> (Due, Due) {
    match memory {
        MemoryKind::Allocated(Coherency::Coherent)
        | MemoryKind::Imported
        | MemoryKind::Virtual
        | MemoryKind::UserVirtual => (Due::Nothing, Due::Nothing),
        MemoryKind::Allocated(Coherency::NonCoherent)
        | MemoryKind::Scattered
        | MemoryKind::User => {
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
    }
}
