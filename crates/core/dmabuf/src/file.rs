//! Constants, flags and names of a dma-buf's file operations.

use crate::Error;
use core::fmt;
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

/// The access mode of a dma-buf's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// O_RDONLY.
    ReadOnly,
    /// O_WRONLY.
    WriteOnly,
    /// O_RDWR.
    ReadWrite,
}

/// A dma-buf's name: at most 31 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Name {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Name {
    /// Longest name in bytes, without the NUL.
    pub const MAX: usize = 31;

    /// Copies a name.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for more than 31 bytes or a NUL.
    pub fn new(name: &[u8]) -> Result<Self, Error> {
        let mut bytes = [0; Self::MAX];
        let len = u8::try_from(name.len()).map_err(|_| Error::Invalid)?;
        let room = bytes.get_mut(..name.len()).ok_or(Error::Invalid)?;
        if name.contains(&0) {
            return Err(Error::Invalid);
        }
        room.copy_from_slice(name);
        Ok(Self { bytes, len })
    }

    /// Returns the name's bytes, without a NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}
