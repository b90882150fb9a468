//! Storage of tree nodes in chunks. Each chunk is as long as all chunks before it together. A node never
//! moves, and a new chunk can be allocated before a lock is taken.

use super::node::Node;
use super::tree::NONE;
use crate::Error;
use crate::error::heap_exhausted;
use alloc::vec::Vec;

/// Maximum number of chunks.
const MAX_CHUNKS: usize = 25;
/// Number of nodes in the first chunk.
const FIRST: usize = 4;
/// Number of low bits of a node's number that hold its index in the chunk. The bits above hold the chunk's number.
const INDEX_BITS: u32 = 27;
/// Maximum number of attempts to add room in one call: other contexts may use the added room first.
const MAX_ROUNDS: u32 = 32;

/// Tree nodes. Each has a number.
#[derive(Debug)]
pub(super) struct Nodes {
    chunks: Vec<Vec<Node>>,
    room: usize,
    /// Number of the first unused node.
    unused: u32,
    /// Number of nodes that still fit.
    vacant: usize,
}

impl Nodes {
    /// Makes an empty storage, with room for the list of all chunks.
    pub(super) fn new() -> Result<Self, Error> {
        let mut chunks = Vec::new();
        let room = chunks.try_reserve_exact(MAX_CHUNKS);
        room.map_err(|_| heap_exhausted(MAX_CHUNKS * size_of::<Vec<Node>>()))?;
        Ok(Self {
            chunks,
            room: 0,
            unused: NONE,
            vacant: 0,
        })
    }

    /// Returns the number of a node's chunk, and the node's index in the chunk.
    #[inline]
    const fn place(number: u32) -> (usize, usize) {
        // CAST: 32 bits.
        let index = number & ((1 << INDEX_BITS) - 1);
        ((number >> INDEX_BITS) as usize, index as usize)
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

    /// Stores a node and returns its number. The caller must have made [room](Self::add) for the node.
    pub(super) fn acquire(&mut self, node: Node) -> u32 {
        self.vacant = self.vacant.saturating_sub(1);
        let unused = self.unused;
        if let Some(vacant) = self.get_mut(unused) {
            let next = vacant.next_unused();
            *vacant = node;
            self.unused = next;
            return unused;
        }
        let mut chunks = (0u32..).zip(&mut self.chunks);
        let Some((number, chunk)) = chunks.find(|(_, chunk)| chunk.len() < chunk.capacity()) else {
            return NONE;
        };
        // CAST: a chunk has fewer than `2^INDEX_BITS` nodes.
        let index = chunk.len() as u32;
        chunk.push(node);
        number << INDEX_BITS | index
    }

    /// Makes a node unused.
    pub(super) fn release(&mut self, index: u32) {
        let next = self.unused;
        if let Some(node) = self.get_mut(index) {
            node.set_next_unused(next);
            self.unused = index;
            self.vacant = self.vacant.saturating_add(1);
        }
    }

    /// Returns the number of nodes in use.
    #[cfg(test)]
    pub(super) const fn used(&self) -> usize {
        self.room - self.vacant
    }

    /// Returns the size of all chunks in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.room.saturating_mul(size_of::<Node>())
    }

    /// Makes sure that `count` more nodes fit. If not, adds the chunk in `room`. Fails if that is too short;
    /// `room.lacks` is then the necessary length.
    #[inline]
    pub(super) fn add(&mut self, room: &mut RangeRoom, count: usize) -> Result<(), Error> {
        while self.vacant < count {
            let len = self.room.max(FIRST);
            if self.chunks.len() >= MAX_CHUNKS || room.chunk.capacity() < len {
                room.lacks = len;
                return Err(heap_exhausted(len.saturating_mul(size_of::<Node>())));
            }
            self.chunks.push(core::mem::take(&mut room.chunk));
            self.room = self.room.saturating_add(len);
            self.vacant = self.vacant.saturating_add(len);
        }
        Ok(())
    }
}

/// Heap memory for nodes of a [`RangeAllocator`](super::RangeAllocator), allocated while no lock is held.
///
/// The room is empty at first. A call that lacks room fails with `NoMemory`, and records here how
/// much it lacks. The caller fills the room and calls again.
#[derive(Debug, Default)]
pub(crate) struct RangeRoom {
    chunk: Vec<Node>,
    /// Number of nodes that the last call lacked.
    lacks: usize,
    rounds: u32,
}

impl RangeRoom {
    /// Repeats a call as long as the call lacks room and the heap can provide it.
    #[inline(always)]
    pub(crate) fn retry<R, E>(mut call: impl FnMut(&mut Self) -> Result<R, E>) -> Result<R, E> {
        let mut room = Self::default();
        loop {
            let done = call(&mut room);
            if done.is_ok() || !room.fill() {
                return done;
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
