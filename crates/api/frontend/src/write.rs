//! Bytes that a call writes to the program's memory.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Maximum length of [`Bytes::Few`]. A `v4l2_buffer` has 88 bytes.
const FEW: usize = 96;

/// Bytes for a program's memory.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// The first bytes of the array, as many as the number says: at most 96. So most structures need no allocation.
    Few(u8, [u8; FEW]),
    /// The bytes themselves.
    Own(Vec<u8>),
    /// A part of memory that others use, too.
    Shared(Arc<Vec<u8>>, Range<usize>),
}

impl Bytes {
    /// Copies some bytes.
    #[must_use]
    pub fn copy(data: &[u8]) -> Self {
        let mut few = [0; FEW];
        match (few.get_mut(..data.len()), u8::try_from(data.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(data);
                Self::Few(len, few)
            }
            _ => Self::Own(data.to_vec()),
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Few(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Own(bytes) => bytes,
            Self::Shared(bytes, part) => bytes.get(part.clone()).unwrap_or_default(),
        }
    }
}

/// A write to the program's memory.
#[derive(Clone, Debug)]
pub struct Write {
    /// The program's address.
    pub addr: u64,
    /// The bytes.
    pub bytes: Bytes,
    /// Whether the call fails with EFAULT if the bytes cannot be written.
    pub is_needed: bool,
}
