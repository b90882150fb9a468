//! Constants, flags and names of a dma-buf's file operations.

use crate::Error;
use bitflags::bitflags;
use core::fmt;
use vb3_dma::Direction;

/// `DMA_BUF_IOCTL_SYNC`. Its argument is one `u64` of [`SyncFlags`].
///
/// [`Fences::export`](crate::fence::Fences::export) and [`Fences::import`](crate::fence::Fences::import) serve
/// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE` and `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`.
pub const IOCTL_SYNC: u32 = 0x4008_6200;

bitflags! {
    /// The flags of `DMA_BUF_IOCTL_SYNC`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct SyncFlags: u64 {
        /// The CPU reads the memory.
        const READ = 1 << 0;
        /// The CPU writes the memory.
        const WRITE = 1 << 1;
        /// The access ends. Without this flag, the access begins.
        const END = 1 << 2;
    }
}

impl SyncFlags {
    /// Checks a program's flags. Returns the direction, and true if the access ends.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for unknown bits or no direction.
    pub fn decode(raw: u64) -> Result<(Direction, bool), Error> {
        let flags = Self::from_bits(raw).ok_or(Error::Invalid)?;
        let direction = match (flags.contains(Self::READ), flags.contains(Self::WRITE)) {
            (true, true) => Direction::Bidirectional,
            (true, false) => Direction::FromDevice,
            (false, true) => Direction::ToDevice,
            (false, false) => return Err(Error::Invalid),
        };
        Ok((direction, flags.contains(Self::END)))
    }
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
