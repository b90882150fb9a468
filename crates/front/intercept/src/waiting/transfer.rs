//! read and write in all their forms. Devices have no file position, so pread is the same as read.
//!
//! A large transfer runs in steps ([`CallOutcome::Part`]): a thread of the pool copies a piece from or to the
//! program without the lock, and the device then moves it under the lock. Meanwhile the call stays in the
//! table of waiting calls, so that it is dropped when its thread ends.

use crate::process::Notif;
use vb3_frontend::{Errno, FileId, PIECE_BYTES};

/// Maximum number of segments of one call (the kernel's UIO_MAXIOV).
pub(crate) const MAX_SEGMENTS: u64 = 1024;
/// Maximum number of bytes of one call (the kernel's MAX_RW_COUNT).
pub(crate) const MAX_BYTES: u64 = 0x7fff_f000;

#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) file: FileId,
    pub(crate) write: bool,
    pub(crate) segments: Vec<(u64, u64)>,
    pub(crate) nonblocking: bool,
    /// The progress, once a piece was transferred and more follow.
    pub(crate) progress: Option<Progress>,
}

/// The position of a transfer between two pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Index of the current segment.
    pub(crate) segment: usize,
    /// Bytes transferred in the segments before it.
    pub(crate) done: i64,
    /// Bytes transferred in the current segment.
    pub(crate) moved: u64,
}

impl Transfer {
    /// Returns whether a piece was transferred and more follow.
    pub(crate) const fn is_under_way(&self) -> bool {
        self.progress.is_some()
    }

    /// Requests copies of the next segments together, as many as one step transfers.
    pub(crate) fn prepare(&self, n: &Notif) -> Result<(), Errno> {
        let next = self.progress.unwrap_or_default().segment;
        let (mut missing, mut left) = (Ok(()), PIECE_BYTES);
        for &(addr, len) in self.segments.iter().skip(next) {
            let Some(rest) = left.checked_sub(len) else {
                break;
            };
            left = rest;
            missing = missing.and(n.gathered.prepare(addr, len));
        }
        missing
    }
}
