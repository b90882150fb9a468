//! The CPU's store of memory: a memfd, a program's memory or a dma-buf.

use crate::foreign::Foreign;
use crate::store::Shared;
use crate::user::{User, UserFault};

/// Bytes per step of an indirect copy.
pub(crate) const CHUNK: u64 = 64 << 10;

/// The reason why an access did not reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// No memory at this physical address.
    Nothing(u64),
    /// The program's memory is gone.
    User(UserFault),
}

#[derive(Debug)]
pub(crate) enum Backing {
    Shared(Shared),
    User {
        user: User,
        base: u64,
    },
    /// A dma-buf of another driver.
    Foreign(Foreign),
}

impl Backing {
    /// Returns the memfd of the machine's own memory.
    pub(crate) fn own(&self) -> Option<&Shared> {
        match self {
            Self::Shared(store) => Some(store),
            Self::User { .. } | Self::Foreign(_) => None,
        }
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Miss> {
        match self {
            Self::Shared(store) => store.read(offset, out).ok_or(Miss::Nothing(offset)),
            Self::User { user, base } => user
                .read(base.saturating_add(offset), out)
                .map_err(Miss::User),
            Self::Foreign(foreign) => foreign.read(offset, out).ok_or(Miss::Nothing(offset)),
        }
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), Miss> {
        match self {
            Self::Shared(store) => store.write(offset, data).ok_or(Miss::Nothing(offset)),
            Self::User { user, base } => user
                .write(base.saturating_add(offset), data)
                .map_err(Miss::User),
            Self::Foreign(foreign) => foreign.write(offset, data).ok_or(Miss::Nothing(offset)),
        }
    }
}
