//! Constants and flags of a dma-buf's file operations.

use crate::Error;
use vb3_dma::Direction;

/// `DMA_BUF_IOCTL_SYNC`. Its argument is one `u64`, which [`sync_flags`] decodes.
///
/// `Buffers::export_fences` and `Buffers::import_fences` serve
/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE` and `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`.
pub const IOCTL_SYNC: u32 = 0x4008_6200;

/// Flag of `DMA_BUF_IOCTL_SYNC`: the CPU reads the memory.
const SYNC_READ: u64 = 1 << 0;
/// Flag of `DMA_BUF_IOCTL_SYNC`: the CPU writes the memory.
const SYNC_WRITE: u64 = 1 << 1;
/// Flag of `DMA_BUF_IOCTL_SYNC`: the access ends. Without this flag, the access begins.
const SYNC_END: u64 = 1 << 2;

/// Checks a program's flags of `DMA_BUF_IOCTL_SYNC`. Returns the direction, and true if the access ends.
///
/// # Errors
/// `Invalid` (EINVAL) for unknown bits or no direction.
pub const fn sync_flags(raw: u64) -> Result<(Direction, bool), Error> {
    let direction = match raw & !SYNC_END {
        SYNC_READ => Direction::FromDevice,
        SYNC_WRITE => Direction::ToDevice,
        raw if raw == SYNC_READ | SYNC_WRITE => Direction::Bidirectional,
        _ => return Err(Error::Invalid),
    };
    Ok((direction, raw & SYNC_END != 0))
}
