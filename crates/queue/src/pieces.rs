//! A read() or write() whose bytes are moved in pieces.
//!
//! A caller that is not to keep others waiting moves a large one in pieces, and does other things
//! between two of them. The queue is that call's meanwhile: no other one moves bytes, and the
//! buffer's position stays where it was until all are moved, as a kernel leaves it where the
//! program's memory fails.

use crate::queue::{Current, UnderWay};
use crate::{Busy, Error, Queue};
use vb3_plane::MemOps;

/// Whose read() or write() it is, and how much of it is moved at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    /// The call: the same number for each piece of it.
    pub call: u64,
    /// Bytes of a piece, at most.
    pub most_bytes: u64,
}

impl Pieces {
    /// All bytes at once.
    pub(crate) const WHOLE: Self = Self {
        call: 0,
        most_bytes: u64::MAX,
    };
}

/// The result of a piece of a read() or write().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The last one, and its bytes: the call is over. None are left where a read() was several.
    Last(u64),
    /// Its bytes; more follow.
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
    /// Bytes of the next piece.
    pub(crate) fn piece(&self, pieces: Pieces) -> u64 {
        let left = self.count.saturating_sub(self.done);
        left.min(pieces.most_bytes.max(1))
    }
}

impl<M: MemOps> Queue<M> {
    /// The read() or write() that has moved a piece, and has more to move.
    #[must_use]
    pub fn transfer_under_way(&self) -> Option<u64> {
        let under_way = self.fileio.as_ref()?.under_way?;
        Some(under_way.call)
    }

    /// A read() or write() is given up, if it is under way. None of its bytes count.
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

    /// The buffer that a call is at, and how far it is.
    pub(crate) fn transfer_of(&self, call: u64) -> Result<(Current, UnderWay), Error> {
        let fileio = self.fileio.as_ref();
        fileio
            .and_then(|fileio| fileio.current.zip(fileio.under_way))
            .filter(|(_, under_way)| under_way.call == call)
            .ok_or(Busy::Waiting.into())
    }

    /// A piece has been moved; none where the call is over.
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
