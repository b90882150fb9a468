//! Structures of the API, as a program makes them.

use crate::program::BASE;

/// Where a call's structure lies.
pub(super) const ARG: u64 = BASE + 0x100;
/// Where arrays are.
pub(super) const ARRAY: u64 = BASE + 0x1000;

/// A structure of the API.
#[derive(Debug)]
pub(super) struct Arg(pub(super) Vec<u8>);

impl Arg {
    pub(super) fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    /// What a request's number says of its size.
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
