//! A read() or write() that moves its bytes in pieces.
//!
//! A caller that must not delay others moves a large transfer in pieces, and does other work between them.
//! Until the transfer ends, no other call moves bytes of this queue. The buffer's position changes only after
//! the last piece. So a transfer that fails leaves the position unchanged, as in Linux after EFAULT.

use crate::queue::{Current, UnderWay};
use crate::{Busy, Error, Queue};
use vb3_plane::MemOps;

/// Identifies a read() or write(), and limits the size of its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// Number of the call, the same for each of its pieces.
    pub call: u64,
    /// Maximum number of bytes in a piece.
    pub most_bytes: u64,
}

impl UnderWay {
    /// Returns the length of the next piece in bytes.
    pub(crate) fn piece(&self, pieces: Pieces) -> u64 {
        let left = self.count.saturating_sub(self.done);
        left.min(pieces.most_bytes.max(1))
    }
}

impl<M: MemOps> Queue<M> {
    /// Returns the number of the read() or write() that has moved a piece and is not finished: more pieces follow.
    #[must_use]
    pub fn transfer_under_way(&self) -> Option<u64> {
        let under_way = self.fileio.as_ref()?.under_way?;
        Some(under_way.call)
    }

    /// Abandons a read() or write() that is in progress. Its bytes count as not moved.
    pub fn end_transfer(&mut self, call: u64) {
        if let Some(fileio) = &mut self.fileio {
            fileio.under_way.take_if(|known| known.call == call);
        }
    }

    /// Begins a transfer of `len_bytes`, but not past the end of the buffer `current`.
    pub(crate) fn begin_transfer(&mut self, call: u64, current: Current, len_bytes: u64) {
        if let Some(fileio) = &mut self.fileio {
            fileio.current = Some(current);
            fileio.under_way = Some(UnderWay {
                call,
                count: len_bytes.min(current.left()),
                done: 0,
            });
        }
    }

    /// Returns the state of `call` if it is in progress: the buffer's position, and the bytes moved since.
    pub(crate) fn transfer_of(&self, call: u64) -> Result<(Current, UnderWay), Error> {
        let fileio = self.fileio.as_ref();
        fileio
            .and_then(|fileio| fileio.current.zip(fileio.under_way))
            .filter(|(_, under_way)| under_way.call == call)
            .ok_or(Busy::Waiting.into())
    }
}
