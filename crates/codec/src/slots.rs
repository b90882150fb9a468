//! Slots of shared memory that pictures and packets come in.

use crate::job::Planes;
use crate::shm::Shared;
use crate::socket::Socket;
use crate::wire::{Message, Op};
use crate::{MAX_HEIGHT, MAX_WIDTH, OUTPUT_SLOTS};
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most slots whose release waits for room in the socket.
const MAX_BACKLOG: usize = 4 * OUTPUT_SLOTS;

/// The parent's end, shared by the worker's handle and what came from it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: Socket,
    backlog: Mutex<Vec<Message>>,
}

impl Link {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            backlog: Mutex::default(),
        }
    }

    fn release(&self, generation: u64, slot: u32) {
        let message = Message::new(Op::Release, &[generation, u64::from(slot)]);
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        if backlog.len() < MAX_BACKLOG {
            backlog.push(message);
        }
        self.send_backlog(&mut backlog);
    }

    /// Sends what the socket had no room for.
    pub(crate) fn catch_up(&self) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        self.send_backlog(&mut backlog);
    }

    fn send_backlog(&self, backlog: &mut Vec<Message>) {
        backlog.retain(|message| self.socket.send(message, None, false) == Err(Errno::AGAIN));
    }
}

/// Memory for [`OUTPUT_SLOTS`] pictures or packets.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) memory: Shared,
    pub(crate) generation: u64,
    pub(crate) slot_len: usize,
    held: AtomicU32,
    link: Arc<Link>,
}

impl Ring {
    pub(crate) fn new(link: &Arc<Link>, generation: u64, slot_len: usize) -> Result<Self, Errno> {
        let slot_len = slot_len.next_multiple_of(4096);
        Ok(Self {
            memory: Shared::new(slot_len * OUTPUT_SLOTS)?,
            generation,
            slot_len,
            held: AtomicU32::new(0),
            link: Arc::clone(link),
        })
    }

    /// Takes a slot that the worker says it filled; `None` if it cannot have.
    pub(crate) fn take(self: &Arc<Self>, slot: u64, len: u64) -> Option<Held> {
        let slot = u32::try_from(slot).ok()?;
        let len = usize::try_from(len).ok()?;
        if slot as usize >= OUTPUT_SLOTS || len > self.slot_len {
            return None;
        }
        let before = self.held.fetch_or(1 << slot, Ordering::Relaxed);
        (before & (1 << slot) == 0).then(|| Held {
            ring: Arc::clone(self),
            slot,
            len,
        })
    }
}

/// A slot that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    ring: Arc<Ring>,
    slot: u32,
    len: usize,
}

impl Held {
    fn bytes(&self) -> &[u8] {
        let offset = self.slot as usize * self.ring.slot_len;
        // Slot and length were checked when the slot was taken.
        self.ring.memory.bytes(offset, self.len).unwrap_or_default()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.ring
            .held
            .fetch_and(!(1 << self.slot), Ordering::Relaxed);
        self.ring.link.release(self.ring.generation, self.slot);
    }
}

/// An encoded picture; its memory goes back to the worker when dropped.
#[derive(Debug)]
pub struct Packet(pub(crate) Held);

impl Packet {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// A decoded picture: I420. Its memory goes back to the worker when dropped; it outlives the
/// [`Worker`](crate::Worker) if kept.
#[derive(Debug)]
pub struct Picture {
    pub(crate) held: Held,
    pub(crate) layout: Layout,
}

impl Picture {
    /// Its pixels.
    #[must_use]
    pub fn planes(&self) -> Planes<'_> {
        let bytes = self.held.bytes();
        let (y, rest) = bytes.split_at(self.layout.luma.min(bytes.len()));
        let (u, v) = rest.split_at(self.layout.chroma.min(rest.len()));
        Planes {
            width: self.layout.width,
            height: self.layout.height,
            data: [y, u, v],
            strides: self.layout.strides(),
        }
    }
}

/// Where the planes of an I420 picture without gaps lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Bytes of Y.
    pub(crate) luma: usize,
    /// Bytes of U, and of V.
    pub(crate) chroma: usize,
}

impl Layout {
    /// `None` for an empty picture or one that is too large.
    pub(crate) fn new(width: u32, height: u32) -> Option<Self> {
        let fits = (1..=MAX_WIDTH).contains(&width) && (1..=MAX_HEIGHT).contains(&height);
        fits.then_some(Self {
            width,
            height,
            luma: width as usize * height as usize,
            chroma: width.div_ceil(2) as usize * height.div_ceil(2) as usize,
        })
    }

    /// Bytes of the picture.
    pub(crate) const fn len(&self) -> usize {
        self.luma + 2 * self.chroma
    }

    pub(crate) const fn strides(&self) -> [usize; 3] {
        let half = self.width.div_ceil(2) as usize;
        [self.width as usize, half, half]
    }

    /// Columns and rows of a plane.
    pub(crate) const fn plane(&self, plane: usize) -> (usize, usize) {
        if plane == 0 {
            (self.width as usize, self.height as usize)
        } else {
            (
                self.width.div_ceil(2) as usize,
                self.height.div_ceil(2) as usize,
            )
        }
    }

    /// The planes of a picture in memory; `None` if it is too short.
    pub(crate) fn split_mut<'a>(&self, bytes: &'a mut [u8]) -> Option<[&'a mut [u8]; 3]> {
        let (y, rest) = bytes.split_at_mut_checked(self.luma)?;
        let (u, rest) = rest.split_at_mut_checked(self.chroma)?;
        Some([y, u, rest.get_mut(..self.chroma)?])
    }

    /// The planes of a picture in memory; `None` if it is too short.
    pub(crate) fn split<'a>(&self, bytes: &'a [u8]) -> Option<[&'a [u8]; 3]> {
        let (y, rest) = bytes.split_at_checked(self.luma)?;
        let (u, rest) = rest.split_at_checked(self.chroma)?;
        Some([y, u, rest.get(..self.chroma)?])
    }
}

/// Copies a picture to where it has no gaps; false if either is too small for `layout`.
pub(crate) fn copy(layout: &Layout, from: &Planes<'_>, to: [&mut [u8]; 3]) -> bool {
    for (plane, to) in to.into_iter().enumerate() {
        let (columns, rows) = layout.plane(plane);
        let (Some(from), Some(&stride)) = (from.data.get(plane), from.strides.get(plane)) else {
            return false;
        };
        let last = rows.saturating_sub(1).checked_mul(stride);
        let needs = last.and_then(|last| last.checked_add(columns));
        if stride < columns || needs.is_none_or(|needs| needs > from.len()) {
            return false;
        }
        if to.len() < columns * rows {
            return false;
        }
        for (from, to) in from.chunks(stride).zip(to.chunks_exact_mut(columns)) {
            to.copy_from_slice(from.get(..columns).unwrap_or_default());
        }
    }
    true
}

#[cfg(test)]
mod tests;
