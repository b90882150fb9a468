//! read and write in all their forms. Devices have no position: pread is read.
//!
//! A large one is made in steps ([`Outcome::Part`]): a thread of the pool copies a piece out of the
//! program, or into it, while the lock is free, and the next is moved under it. The call is among
//! those that wait meanwhile, so that its thread's end is its own.

use vb3_host::{Caller, Errno, FileId, PIECE_BYTES};

/// UIO_MAXIOV.
pub(crate) const MAX_SEGMENTS: u64 = 1024;
/// MAX_RW_COUNT: what one call moves at most.
pub(crate) const MAX_BYTES: u64 = 0x7fff_f000;

/// A read or write of a device file.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) file: FileId,
    pub(crate) write: bool,
    pub(crate) segments: Vec<(u64, u64)>,
    pub(crate) nonblocking: bool,
    /// How far it is, where it is under way.
    pub(crate) progress: Option<Progress>,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The segment it is at, and bytes of those before.
    pub(crate) segment: usize,
    pub(crate) done: i64,
    /// Bytes of that segment which have been moved.
    pub(crate) moved: u64,
}

impl Transfer {
    /// Whether a piece was moved, and the rest is to be.
    pub(crate) const fn is_under_way(&self) -> bool {
        self.progress.is_some()
    }

    /// Has the next short segments of a vector gathered together, as much as one step moves: else
    /// each would be gathered by itself.
    pub(crate) fn prepare(&self, call: &impl Caller) -> Result<(), Errno> {
        let next = self.progress.unwrap_or_default().segment;
        let (mut missing, mut left) = (Ok(()), PIECE_BYTES);
        for &(addr, len) in self.segments.iter().skip(next) {
            let Some(rest) = left.checked_sub(len) else {
                break;
            };
            left = rest;
            missing = missing.and(call.prepare_read(addr, len));
        }
        missing
    }
}
