//! Structures of the API, as a program makes them.

use crate::program::BASE;

/// Address of a call's structure.
pub(super) const ARG: u64 = BASE + 0x100;
/// Address of arrays.
pub(super) const ARRAY: u64 = BASE + 0x1000;

/// A structure of the API.
#[derive(Debug)]
pub(super) struct Arg(pub(super) Vec<u8>);

impl Arg {
    pub(super) fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    /// Makes a zeroed structure of the size in the request's number.
    pub(super) fn of(request: u32) -> Self {
        Self::new((request >> 16 & 0x3fff) as usize)
    }

    pub(super) fn with(mut self, at: usize, value: u32) -> Self {
        if let Some(to) = self.0.get_mut(at..at + 4) {
            to.copy_from_slice(&value.to_ne_bytes());
        }
        self
    }

    pub(super) fn pointer(self, at: usize, value: u64) -> Self {
        self.with(at, value as u32)
            .with(at + 4, (value >> 32) as u32)
    }
}
