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

impl Pieces {
    /// Moves all bytes in one piece.
    pub(crate) const WHOLE: Self = Self {
        call: 0,
        most_bytes: u64::MAX,
    };
}

/// The result of a piece of a read() or write().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The call has ended with a piece of this many bytes; a read() of several pieces ends with 0.
    Last(u64),
    /// A piece of this many bytes was moved, and more pieces follow.
    Part(u64),
}

impl Moved {
    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::Last(bytes) | Self::Part(bytes) => bytes,
        }
    }
}

impl UnderWay {
    /// Returns the length of the next piece in bytes.
    pub(crate) fn piece(&self, pieces: Pieces) -> u64 {
        let left = self.count.saturating_sub(self.done);
        left.min(pieces.most_bytes.max(1))
    }
}

impl<M: MemOps> Queue<M> {
    /// Returns the number of the read() or write() that has moved a piece and is not finished.
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

    pub(crate) fn check_under_way(&self, call: u64) -> Result<(), Error> {
        match self.transfer_under_way() {
            Some(other) if other != call => Err(Busy::Waiting.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn begin_transfer(&mut self, call: u64, count: u64) {
        if let Some(fileio) = &mut self.fileio {
            fileio.under_way = Some(UnderWay {
                call,
                count,
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

    /// Records a moved piece. Returns `None` if it ends the call.
    pub(crate) fn note_piece(
        &mut self,
        mut under_way: UnderWay,
        bytes: u64,
        is_over: bool,
    ) -> Option<Moved> {
        under_way.done = under_way.done.saturating_add(bytes);
        if let Some(fileio) = &mut self.fileio {
            fileio.under_way = (!is_over).then_some(under_way);
        }
        (!is_over).then_some(Moved::Part(bytes))
    }
}
