//! Storage of tree nodes in chunks. Each chunk is as long as all chunks before it together. A node never
//! moves, and a new chunk can be allocated before a lock is taken.

use super::RangeError;
use super::tree::Node;
use alloc::vec::Vec;

/// Maximum number of chunks.
const MAX_CHUNKS: usize = 24;
/// The first `2^FIRST` nodes are one chunk.
const FIRST: u32 = 3;
/// Maximum number of attempts to add room in one call: other contexts may use the added room first.
const MAX_ROUNDS: u32 = 32;

/// Tree nodes, each of which has a number.
#[derive(Debug)]
pub(super) struct Nodes {
    chunks: Vec<Vec<Node>>,
    count: usize,
    room: usize,
}

impl Nodes {
    /// Makes an empty storage, with room for the list of all chunks.
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

    /// Returns the number of a node's chunk, and the node's index in the chunk.
    #[inline]
    const fn place(index: u32) -> (usize, usize) {
        let low = (1 << FIRST) - 1;
        let bits = (index | low).ilog2();
        // `& !low` makes this zero for the first chunk.
        let start = (1 << bits) & !low;
        // CAST: 32 bits.
        ((bits + 1 - FIRST) as usize, (index - start) as usize)
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&Node> {
        let (chunk, place) = Self::place(index);
        self.chunks.get(chunk)?.get(place)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Node> {
        let (chunk, place) = Self::place(index);
        self.chunks.get_mut(chunk)?.get_mut(place)
    }

    /// Appends a node and returns its number. The caller must have made [room](Self::add) for the node.
    pub(super) fn push(&mut self, node: Node) -> u32 {
        // CAST: the chunks hold fewer than 2^32 nodes.
        let index = self.count as u32;
        if let Some(chunk) = self.chunks.get_mut(Self::place(index).0) {
            chunk.push(node);
        }
        self.count = self.count.saturating_add(1);
        index
    }

    /// Returns the size of all chunks in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.room.saturating_mul(size_of::<Node>())
    }

    /// Makes sure that one more node fits. If all chunks are full, adds the chunk in `room`. Fails if that is too
    /// short; `room.lacks` is then the necessary length.
    pub(super) fn add(&mut self, room: &mut RangeRoom) -> Result<(), RangeError> {
        if self.count < self.room {
            return Ok(());
        }
        let len = self.room.max(1 << FIRST);
        if self.chunks.len() >= MAX_CHUNKS || room.chunk.capacity() < len {
            room.lacks = len;
            return Err(RangeError::Heap);
        }
        self.chunks.push(core::mem::take(&mut room.chunk));
        self.room = self.room.saturating_add(len);
        Ok(())
    }
}

/// Heap memory for nodes of a [`RangeAllocator`](super::RangeAllocator), allocated while no lock is held.
///
/// The room is empty at first. A call that lacks room fails with [`RangeError::Heap`], and records here how
/// much it lacks. The caller fills the room and calls again.
#[derive(Debug, Default)]
pub(crate) struct RangeRoom {
    chunk: Vec<Node>,
    /// Number of nodes that the last call lacked.
    lacks: usize,
    rounds: u32,
}

impl RangeRoom {
    pub(crate) const fn new() -> Self {
        Self {
            chunk: Vec::new(),
            lacks: 0,
            rounds: 0,
        }
    }

    /// Repeats a call as long as the call lacks room and the heap can provide it.
    pub(crate) fn retry<R, E>(mut call: impl FnMut(&mut Self) -> Result<R, E>) -> Result<R, E> {
        let mut room = Self::new();
        loop {
            match call(&mut room) {
                Err(_) if room.fill() => {}
                done => return done,
            }
        }
    }

    /// Allocates the room that the last call lacked. Returns whether the caller should call again.
    pub(crate) fn fill(&mut self) -> bool {
        let lacks = core::mem::take(&mut self.lacks);
        self.rounds = self.rounds.saturating_add(1);
        lacks != 0 && self.rounds <= MAX_ROUNDS && self.chunk.try_reserve_exact(lacks).is_ok()
    }
}
