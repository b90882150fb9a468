//! Where nodes lie: in chunks, each twice as long as the one before, so that a node never moves and
//! a new chunk can be allocated before a lock is taken.

use super::inner::Inner;
use super::leaf::Leaf;
use super::{RangeAllocator, RangeError};
use alloc::vec::Vec;

/// Maximum number of chunks of a kind.
const MAX_CHUNKS: usize = 24;
/// Maximum number of times that one call asks the heap: others may take what it added.
const MAX_ROUNDS: u32 = 32;

/// Nodes of a kind, by number. The first `2^FIRST` are one chunk.
#[derive(Debug)]
pub(super) struct Nodes<T, const FIRST: u32> {
    chunks: Vec<Vec<T>>,
    count: usize,
    room: usize,
}

pub(super) type Leaves = Nodes<Leaf, 2>;
pub(super) type Inners = Nodes<Inner, 3>;

impl<T, const FIRST: u32> Nodes<T, FIRST> {
    /// No nodes, and room for the list of all chunks.
    ///
    /// # Errors
    /// [`RangeError::Heap`].
    pub(super) fn new() -> Result<Self, RangeError> {
        let mut chunks = Vec::new();
        chunks
            .try_reserve_exact(MAX_CHUNKS)
            .map_err(|_| RangeError::Heap)?;
        Ok(Self {
            chunks,
            count: 0,
            room: 0,
        })
    }

    /// The chunk of a node and its place there.
    #[inline]
    const fn place(index: usize) -> (usize, usize) {
        let low = (1 << FIRST) - 1;
        let bits = (index | low).ilog2();
        // CAST: at most 63. The first chunk begins at zero.
        let start = (1 << bits) & !low;
        ((bits + 1 - FIRST) as usize, index - start)
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (chunk, place) = Self::place(index);
        self.chunks.get(chunk)?.get(place)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let (chunk, place) = Self::place(index);
        self.chunks.get_mut(chunk)?.get_mut(place)
    }

    /// Appends a node and returns its number. The list must have capacity for it.
    pub(super) fn push(&mut self, node: T) -> usize {
        let index = self.count;
        if let Some(chunk) = self.chunks.get_mut(Self::place(index).0) {
            chunk.push(node);
        }
        self.count = index.saturating_add(1);
        index
    }

    /// Returns the number of nodes that fit, including existing ones.
    pub(super) const fn capacity(&self) -> usize {
        self.room
    }

    /// Nodes of the chunk to be added next, if there is no room for `more` nodes; else none.
    fn lacks(&self, more: usize) -> usize {
        let lacks = self.room.saturating_sub(self.count) < more;
        let next = self.room.max(1 << FIRST);
        if lacks { next } else { 0 }
    }

    /// Adds a chunk if it is as long as the next one has to be.
    fn add(&mut self, chunk: &mut Vec<T>) {
        let len = self.room.max(1 << FIRST);
        if chunk.capacity() >= len && self.chunks.len() < MAX_CHUNKS {
            self.chunks.push(core::mem::take(chunk));
            self.room = self.room.saturating_add(len);
        }
    }
}

/// Heap for the bookkeeping of a [`RangeAllocator`], to be asked for while no lock is held.
///
/// It is empty at first. A call that lacks room fails with [`RangeError::Heap`], and remembers here
/// how much; after [`fill`](Self::fill) it is called again.
#[derive(Debug, Default)]
pub(crate) struct RangeRoom {
    leaves: Vec<Leaf>,
    inners: Vec<Inner>,
    /// Leaves and inner nodes that are lacking.
    lacks: (usize, usize),
    rounds: u32,
}

impl RangeRoom {
    pub(crate) const fn new() -> Self {
        Self {
            leaves: Vec::new(),
            inners: Vec::new(),
            lacks: (0, 0),
            rounds: 0,
        }
    }

    /// Repeats a call as long as it fails for lack of room that the heap has.
    pub(crate) fn retry<R, E>(mut call: impl FnMut(&mut Self) -> Result<R, E>) -> Result<R, E> {
        let mut room = Self::new();
        loop {
            match call(&mut room) {
                Err(_) if room.fill() => {}
                done => return done,
            }
        }
    }

    /// Gets what the last call lacked; returns whether it is worth another try.
    pub(crate) fn fill(&mut self) -> bool {
        let (leaves, inners) = core::mem::take(&mut self.lacks);
        self.rounds = self.rounds.saturating_add(1);
        (leaves, inners) != (0, 0)
            && self.rounds <= MAX_ROUNDS
            && self.leaves.try_reserve_exact(leaves).is_ok()
            && self.inners.try_reserve_exact(inners).is_ok()
    }
}

impl RangeAllocator {
    /// Takes room that was made, if it is needed for `ranges` more ranges.
    ///
    /// # Errors
    /// [`RangeError::Heap`] if there is too little; `room` then knows what is lacking.
    pub(super) fn add_room(
        &mut self,
        room: &mut RangeRoom,
        ranges: usize,
    ) -> Result<(), RangeError> {
        let (leaves, inners) = self.needs(ranges);
        if self.leaves.lacks(leaves) > 0 {
            self.leaves.add(&mut room.leaves);
        }
        if self.inners.lacks(inners) > 0 {
            self.inners.add(&mut room.inners);
        }
        room.lacks = (self.leaves.lacks(leaves), self.inners.lacks(inners));
        if room.lacks == (0, 0) {
            Ok(())
        } else {
            Err(RangeError::Heap)
        }
    }

    /// Gets room for `ranges` more ranges from the heap.
    pub(super) fn make_room(&mut self, ranges: usize) -> Result<(), RangeError> {
        RangeRoom::retry(|room| self.add_room(room, ranges))
    }

    /// Leaves and inner nodes that some more ranges can need.
    const fn needs(&self, ranges: usize) -> (usize, usize) {
        // Each border of a range needs a leaf, and an inner node a level; the root besides.
        let borders = ranges.saturating_mul(2);
        let inners = borders.saturating_mul(self.height as usize);
        (borders, inners.saturating_add(1))
    }
}
